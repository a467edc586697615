"""Prompts as hosts would get them, and what they are asked with."""

from api_schemas.submissions import Submission
from worker.cli.streams import machine_output, say
from worker.documents.encodings import encoding_label
from worker.door.intake import Intake
from worker.door.rows import RowFile
from worker.observability.terminal import terminal_safe
from worker.policy.context_window import NUM_PREDICT, NUM_PREDICT_THINKING


def in_force(submission: Submission) -> str:
    """What is asked where a row says nothing else: always seen, never guessed.

    >>> in_force(Submission())[:60]
    'In force: num_predict 2,048 (8,192 where a model reasons), t'
    """
    options = dict(submission.options or {})
    predict, window = options.pop("num_predict", None), options.pop("num_ctx", None)
    fits = "a window that fits" if window is None else f"window {window:,}"
    cut = "what does not fit is cut" if submission.truncate else "nothing is cut"
    if submission.embed:
        return f"In force: vectors, {fits}, {cut}."
    parts = [
        f"num_predict {predict:,}"
        if isinstance(predict, int)
        else f"num_predict {NUM_PREDICT:,} ({NUM_PREDICT_THINKING:,} where a model reasons)",
        "think where a model can"
        if submission.think is None
        else f"think {'on' if submission.think else 'off'}",
        fits,
    ]
    if submission.truncate:
        parts.append(cut)
    if submission.format is not None:
        parts.append("format json" if submission.format == "json" else "format by schema")
    if submission.repairs is not None:
        parts.append(f"repairs {submission.repairs}")
    if submission.allow_empty:
        parts.append("answers without text accepted")
    if submission.priority is not None:
        parts.append(f"priority {submission.priority}")
    parts.append(
        ", ".join(f"{name} {value}" for name, value in options.items())
        if options
        else "the model's own sampling"
    )
    rest = "whatever rows say" if submission.override else "where a row says nothing else"
    return f"In force: {', '.join(parts)}; {rest}."


def read_as(encoding: str) -> str:
    """What is said of an encoding that nobody named."""
    return f"read as {encoding_label(encoding)} by its bytes; --encoding names another"


def show_prompt(name: str, system: str | None, prompt: str) -> None:
    """Print a prompt as a host would get it; into a file or a pipe exactly."""
    with machine_output() as out:
        out.write(f"── {terminal_safe(name)}\n{f'[system] {system}{chr(10)}' if system else ''}{prompt}\n")


def show_prompts(rows: RowFile, submission: Submission, count: int) -> int:
    """Print ``count`` prompts as hosts would get them; sends nothing. Returns how many. Raises InputRefused."""
    models = submission.models[:1] or ("any",)
    intake = Intake(submission.model_copy(update={"models": models, "on_bad_line": None}))
    shown = 0
    lines = rows.open(submission)
    for job in intake.read(lines):
        if intake.problems or shown == count:
            break
        show_prompt(f"line {job.seq}: {job.custom_id}", job.request.get("system"), job.prompt)
        shown += 1
    intake.problems.check()
    detected = [read_as(lines.encoding)] if lines.encoding else []
    for remark in (*detected, *lines.remarks, *intake.notes.first, *intake.remarks()):
        say(remark)
    return shown
