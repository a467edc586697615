"""``--documents`` of ``run`` and ``submit``: documents instead of FILE."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from worker.cli.groups import option
from worker.cli.streams import say
from worker.domain.numbers import count_of
from worker.errors import InputRefused, Problem
from worker.records import record

if TYPE_CHECKING:
    from api_schemas.submissions import Submission
    from worker.cli.render import Console
    from worker.door.document_lines import Window
    from worker.door.documents import Asking, Prepared
    from worker.door.rows import RowFile
    from worker.exports.outputs import Outputs
    from worker.settings import Settings

PANEL = "Documents"
"""Tokens, where --long split is asked and no host has told of the model yet."""


@record
class DocumentRules:
    """How documents are read."""

    root: Annotated[
        list[Path] | None,
        option(
            "--root", "Read nothing outside of this folder. Default: that of PATTERN.", PANEL, metavar="DIR"
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        option("--exclude", "Leave these files out, e.g. '*.tmp', drafts; repeat.", PANEL, metavar="PATTERN"),
    ] = None
    long: Annotated[
        Literal["refuse", "split"],
        option("--long", "Refuse documents that do not fit the window, or split them.", PANEL),
    ] = "refuse"
    combine: Annotated[
        Path | None,
        option(
            "--combine",
            "Template that merges the answers to the parts of a split document.",
            PANEL,
            metavar="T.j2",
        ),
    ] = None
    pages_as_images: Annotated[
        bool, option("--pages-as-images", "Send the pages as images (PNG) to a model with vision.", PANEL)
    ] = False
    scans: Annotated[
        Literal["refuse", "skip", "images"],
        option(
            "--scans",
            "Pages without text: refuse the document, skip them, or send them as images.",
            PANEL,
        ),
    ] = "skip"
    rows: Annotated[
        bool,
        option("--rows", "Read each row of a workbook (.xlsx, .ods) as a document, not each sheet.", PANEL),
    ] = False
    extract: Annotated[
        str | None,
        option(
            "--extract",
            "Command that prints a file as Markdown; {} stands for the file. Default: it comes last.",
            PANEL,
            metavar="COMMAND",
        ),
    ] = None


@record
class DocumentOptions:
    """Documents, instead of a file of rows."""

    documents: Annotated[
        list[str] | None,
        option(
            "--documents", "Ask about documents, e.g. 'inbox/**/*.pdf'; repeat.", PANEL, metavar="PATTERN"
        ),
    ] = None
    rules: DocumentRules = DocumentRules()


def from_documents(
    settings: "Settings",
    submission: "Submission",
    options: DocumentOptions,
    *,
    show: int | None,
    output: Path | None = None,
    outputs: "Outputs | None" = None,
) -> "tuple[RowFile, Submission, int]":
    """The documents as a file of jobs, its submission, and how many documents were left out. With ``show`` prompts are printed
    and the command ends. Raises InputRefused.
    """
    if submission.prompt is None:
        message = "--documents needs a prompt: --template T.j2 or --prompt 'Sum up: {{ document.text }}'"
        raise InputRefused([Problem(0, "--documents", "no_prompt", message)])
    from worker.cli.render import error_console
    from worker.documents.cache import TextCache
    from worker.documents.encodings import read_text
    from worker.documents.read import Rules
    from worker.documents.sources import absolute, roots_of
    from worker.door.documents import Asking, prepare
    from worker.door.rows import RowFile

    documents, rules = options.documents or [], options.rules
    here = Path.cwd()
    allowed_roots = tuple(absolute(str(root), here) for root in rules.root or ()) or roots_of(documents, here)
    asking = Asking(
        patterns=tuple(absolute(pattern, here) for pattern in documents),
        roots=allowed_roots,
        template=submission.prompt,
        template_source=submission.prompt_source,
        system=submission.system,
        rules=Rules(
            submission.encoding,
            as_images=rules.pages_as_images,
            scans=rules.scans,
            extract=rules.extract,
            rows=rules.rows,
        ),
        long=rules.long,
        combine=None if rules.combine is None else read_text(rules.combine),
        combine_source=str(rules.combine),
        models=submission.models,
        exclude=tuple(rules.exclude or ()),
    )
    window = _window(settings, submission, rules.long)
    if show is not None:
        _show(asking, window, show)
        raise typer.Exit(0)
    console = error_console()
    folder = settings.home / "input"
    texts = None if rules.extract is None else TextCache(settings.home / "texts")  # ours are quick
    prepared = prepare(asking, folder, window, texts=texts)
    _say(console, prepared, _keep_refused(prepared, output, outputs))
    plain = submission.model_copy(
        update={"prompt": None, "system": None, "id_column": None, "encoding": None}
    )
    rows = RowFile(prepared.path, name=documents[0][:200], by_document=True)
    return rows, plain, len(prepared.refused)


def _window(
    settings: "Settings", submission: "Submission", long: Literal["refuse", "split"]
) -> "Window | None":
    """The window of the request, else the smallest that the hosts report for the models."""
    from worker.domain.runners import normalise_model
    from worker.door.document_lines import window_of

    request: dict[str, Any] = {
        "options": dict(submission.options or {}),
        "think": submission.think,
        "format": submission.format,
    }
    known = _model_facts(settings)
    models = [known[name] for model in submission.models if (name := normalise_model(model)) in known]
    return window_of(models, request, long=long)


def _model_facts(settings: "Settings") -> dict[str, Any]:
    from worker.cli.settings import opened
    from worker.storage.models import model_facts

    with opened(settings) as database, database.read() as conn:
        return model_facts(conn)


def _show(asking: "Asking", window: "Window | None", count: int) -> None:
    from worker.cli.prompts import show_prompt
    from worker.door.documents import Remarks, first_prompts

    remarks = Remarks(asking.rules.encoding)
    for name, system, prompt in first_prompts(asking, window, count, remarks):
        show_prompt(name, system, prompt)
    for remark in remarks.lines():
        say(remark)


def _keep_refused(prepared: "Prepared", output: Path | None, outputs: "Outputs | None") -> Path | None:
    """Beside the output, or here: which documents were left out and why, one JSON line each."""
    import json

    from worker.exports.rejects import rejects_path
    from worker.exports.targets import replacing

    if not prepared.refused:
        return None
    path = rejects_path(output, Path("documents.jsonl"))
    if outputs is not None:
        outputs.check(path)
    with replacing(path) as out:
        for refusal in prepared.refused:
            plain = {
                "path": refusal.path,
                "code": refusal.code,
                "message": refusal.message,
                "pages": list(refusal.pages),
            }
            out.write(json.dumps(plain, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    if outputs is not None:
        outputs.remember(path)
    return path


def _say(console: "Console", prepared: "Prepared", rejects: Path | None) -> None:
    from worker.documents.leave_out import omissions

    count = prepared.documents
    omitted = omissions(prepared.left_out)
    less = f"; left out: {omitted}" if omitted else ""
    console.print(f"{count_of(count, 'document')} read{less}", highlight=False)
    for incomplete in prepared.incomplete[:10]:
        console.print(str(incomplete), style="yellow", markup=False, highlight=False)
    if prepared.incomplete:
        text = (
            f"{len(prepared.incomplete):,} asked without pages that have no text (metadata: pages_without_text); "
            "--scans images shows these pages to a vision model"
        )
        console.print(text, style="yellow", markup=False, highlight=False)
    for remark in prepared.remarks:
        console.print(remark, style="yellow", highlight=False)
    for refusal in prepared.refused[:10]:
        console.print(f"left out: {refusal} ({refusal.code})", style="yellow")
    if prepared.refused:
        console.print(
            f"{len(prepared.refused):,} left out; they are in {rejects}",
            style="yellow",
            highlight=False,
        )
    sys.stderr.flush()
