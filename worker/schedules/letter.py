"""The report of a firing in words: a line for people, and a letter for a mail, a terminal or a file."""

from collections.abc import Iterator, Mapping
from typing import Any

from worker.documents.leave_out import omissions
from worker.domain.numbers import count_of, names_of
from worker.domain.pages import without_text
from worker.domain.schedules import FiringState

NAMED = 50
"""Documents of a kind that a letter names."""
_RARE = (("retried", "asked again"), ("pending", "still being asked"))
_FLAWS = (("cut", "cut"), ("empty", "empty"), ("unfit", "given to a part of the prompt"))


def headline(report: Mapping[str, Any]) -> str:
    """One line for people.

    >>> headline({"schedule": "nightly", "new": 1, "changed": 2, "retried": 0, "reused": 37, "gone": 1, "failed": 1,
    ...           "left": 0, "answered": 2, "pending": 0, "cut": 1})
    'nightly: 1 new, 2 changed, 37 reused, 1 gone, 1 failed; 2 answered (1 cut)'
    >>> headline({"schedule": "nightly", "new": 0, "changed": 0, "reused": 0, "gone": 0, "failed": 0, "answered": 0,
    ...           "left_out": {"unsettled": 7}})
    'nightly: 0 new, 0 changed, 0 reused, 0 gone, 0 failed; 0 answered, 7 left to the next time'
    >>> headline({"schedule": "nightly", "state": "skipped", "reason": "an earlier firing has not ended"})
    'nightly: skipped: an earlier firing has not ended'
    """
    if report.get("batch") is None and report.get("state") in (FiringState.SKIPPED, FiringState.FAILED):
        words = "could not begin" if report["state"] == FiringState.FAILED else "skipped"
        return f"{report['schedule']}: {words}{_because(report)}"
    parts = [f"{report['new']:,} new", f"{report['changed']:,} changed"]
    parts += [f"{report[name]:,} {words}" for name, words in _RARE if report.get(name)]
    parts += [f"{report[name]:,} {name}" for name in ("reused", "gone", "failed")]
    taken = report.get("taken") or 0
    notes = ", ".join(filter(None, (flaws_in_words(report), f"{taken:,} stored before" if taken else "")))
    answered = f"{report['answered']:,} answered{f' ({notes})' if notes else ''}"
    held = report.get("held") or 0
    left = (report.get("left") or 0) - held
    unsettled = (report.get("left_out") or {}).get("unsettled", 0)
    rest = ((held, "held"), (left, "left"), (unsettled, "left to the next time"))
    more = "".join(f", {n:,} {words}" for n, words in rest if n > 0)
    return f"{report['schedule']}: {', '.join(parts)}; {answered}{more}"


def _because(report: Mapping[str, Any]) -> str:
    return f": {report['reason']}" if report.get("reason") else ""


def flaws_in_words(counts: Mapping[str, Any]) -> str:
    """Answers that somebody should look at, by kind.

    >>> flaws_in_words({"cut": 6, "empty": 1, "unfit": 0})
    '6 cut, 1 empty'
    """
    return ", ".join(f"{counts[name]:,} {flaw}" for name, flaw in _FLAWS if counts.get(name))


def letter(report: Mapping[str, Any], *, most: int = NAMED) -> str:
    """The report with reasons and names. It names at most ``most`` documents of a kind and counts the others."""
    lines = [headline(report)]
    if report.get("reason") and report["reason"] not in lines[0]:
        lines.append(report["reason"])
    if report.get("missed"):
        lines.append(f"it stands for {report['missed']:,} more that nobody began in time")
    lines += _failures(report, most)
    lines += _flawed(report, most)
    lines += _held(report)
    lines += _incomplete(report, most)
    lines += _models(report)
    forecast = report.get("forecast") or {}
    if forecast.get("enough") is False:
        # reports that version 0.1 stored early say ``told``
        lines.append(f"the window is too short: {forecast.get('message') or forecast.get('told')}")
    window = report.get("window")
    if window and not window["open"]:
        lines.append(
            f"the window is closed ({window['hours']}); {report['left']:,} wait until {window['opens_at']}"
        )
    for problem in (report.get("files") or {}).get("problems", ()):
        lines.append(f"not written: {problem}")
    if report.get("left_out"):
        lines.append(f"left out: {omissions(report['left_out'])}")
    if report.get("output_tokens"):
        seconds = report.get("seconds", 0)
        lines.append(
            f"{report['prompt_tokens']:,} tokens read, {report['output_tokens']:,} generated, in {seconds:,.0f} s"
        )
    return "\n  ".join(lines)


def _failures(report: Mapping[str, Any], most: int) -> Iterator[str]:
    known = report.get("failed_known") or 0
    for code, n in sorted(report.get("failures", {}).items(), key=lambda failure: -failure[1]):
        yield f"{n:,} failed with {code}"
    if known:
        yield f"{known:,} of the {report['failed']:,} failed with the same code when they were tried before"
    listed = list(report.get("failed_documents") or report.get("unreadable") or ())
    groups: dict[tuple[str, str], list[str]] = {}
    for document in listed:
        name = named(document, models=len(report.get("models", {})))
        why = reason(str(document["code"]), str(document["message"]))
        # what is wrong with a template is the same for all documents, so one line names some of them
        groups.setdefault(("" if document["code"] == "template_error" else name, why), []).append(name)
    lines = list(groups.items())
    for (_, why), names in lines[:most]:
        yield f"{names_of(list(dict.fromkeys(names)), 3)}: {why}"
    rest = sum(len(names) for _, names in lines[most:]) + (report.get("failed_not_listed") or 0)
    if rest:
        yield f"and {rest:,} more that failed: caravan schedule history {report['schedule']} --json"


def reason(code: str, message: str) -> str:
    """Why a document failed, its code once.

    >>> reason("encrypted", "encrypted: it needs a password"), reason("too_large", "about 90,000 tokens")
    ('encrypted: it needs a password', 'too_large: about 90,000 tokens')
    """
    return message if message.startswith((f"{code}:", f"{code.replace('_', ' ')}:")) else f"{code}: {message}"


def named(row: Mapping[str, Any], *, models: int) -> str:
    """A document, with the model that was asked where the schedule has several ``models``.

    >>> named({"document": "a.log", "model": "qwen3:8b"}, models=2), named({"document": "a.log", "model": None}, models=2)
    ('a.log (qwen3:8b)', 'a.log')
    """
    return f"{row['document']} ({row['model']})" if models > 1 and row.get("model") else str(row["document"])


def _flawed(report: Mapping[str, Any], most: int) -> Iterator[str]:
    """Answers of this firing that somebody should look at, and those that were not asked for again."""
    listed = report.get("flawed_answers") or ()
    if listed:
        yield f"look at {flaws_in_words(report)}:"
        several = len(report.get("models", {}))
        for document in listed[:most]:
            flaws = {
                "cut": document["cut"],
                "empty": document["empty"],
                "unfit": document["prompt_fit"] == "no",
            }
            words = ", ".join(flaw for name, flaw in _FLAWS if flaws[name])
            yield f"{named(document, models=several)}: {words}"
        rest = max(0, _most_flawed(report) - len(listed[:most]))
        if rest:
            yield f"and at least {rest:,} more: caravan results {report['batch']} shows them"
        yield f"to ask them again: {_ask_again(report['batch'], report)}"
    reused = report.get("reused_flawed") or {}
    words = flaws_in_words(reused)
    if words:
        yield f"of the reused answers, {words}; they stay until they are asked for again:"
        for batch in reused.get("batches", ())[:3]:
            yield _ask_again(batch, reused)
        yield "--ask-cut-again on the schedule asks for them again every night"


def _most_flawed(report: Mapping[str, Any]) -> int:
    """At least so many answers are flawed; one may count as cut and as empty."""
    return max(int(report.get(name) or 0) for name, _ in _FLAWS)


def _ask_again(batch: object, counts: Mapping[str, Any]) -> str:
    options = {"cut": "--cut", "empty": "--empty", "unfit": "--prompt-fit no"}
    first = next((option for name, option in options.items() if counts.get(name)), "--cut")
    return f"caravan retry {batch} {first}"


def _held(report: Mapping[str, Any]) -> Iterator[str]:
    for document in report.get("held_documents") or ():
        why = f": {document['reason']}" if document["reason"] else ""
        batch = (
            document["batch"] if "batch" in document else document["batch_id"]
        )  # as earlier versions stored it
        yield f"{document['documents']:,} held ({document['model']}): {document['code']}{why}; caravan retry {batch} --state held"


def _incomplete(report: Mapping[str, Any], most: int) -> Iterator[str]:
    """Documents of which the model saw only some pages."""
    listed = report.get("incomplete") or ()
    for document in listed[:most]:
        yield f"{document['document']}: asked {without_text(document['pages'], document['of'])}"
    rest = len(listed[most:]) + (report.get("incomplete_not_listed") or 0)
    if rest:
        yield f"and {count_of(rest, 'more document')} asked without pages that have no text"


def _models(report: Mapping[str, Any]) -> Iterator[str]:
    for model in report.get("models_added") or ():
        yield f"{model} is asked for the first time: each document is new to it"
    for model, n in (report.get("models_dropped") or {}).items():
        yield f"{model} is asked no more: its {count_of(n, 'answer stays, and is', 'answers stay, and are')} not counted as gone"
    for model, about in report.get("models", {}).items():
        if about.get("answers_of_others"):
            yield (
                f"{model} has other weights now: "
                f"{count_of(about['answers_of_others'], 'answer kept is', 'answers kept are')} of the earlier ones"
            )
        if about.get("strays"):
            yield f"{count_of(about['strays'], 'answer')} of {model} came from weights that changed while the firing went on"
