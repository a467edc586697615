"""What one document is asked: its job line, or those of its parts and of what is made of their answers.

A document that is too long is split. Its parts are asked first; a second template makes one answer of theirs, in levels where
they are too many for one prompt.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from worker.documents.encodings import is_unusual
from worker.documents.read import Document
from worker.documents.split import Part, split
from worker.documents.templates import Template, prompt_template
from worker.errors import DocumentCode, DocumentRefused, InputRefused, Problem
from worker.policy.context_window import IMAGE_TOKENS, OVERHEAD, answer_tokens, estimate_tokens
from worker.records import record
from worker.storage.models import ModelFacts

LONGEST_ID = 200

Long = Literal["refuse", "split"]
"""What is done with a document that does not fit the window."""

UNKNOWN_WINDOW = 8192
"""Tokens: where no host knows the model, and documents are to be split."""

SMALLEST_PART = 256
"""Tokens of a part; with less room than that beside its template, a document is refused."""

FILLED = 0.75
"""Of the room, by parts: tables and numbers have more tokens than an estimate, and a part that overflows costs its document."""

FEWEST_COMBINED = 4
"""Answers of parts in one prompt, at least."""


@record
class Window:
    """How much room there is for a prompt."""

    tokens: int
    """Of the window, the answer included."""
    answer: int

    @property
    def prompt(self) -> int:
        return self.tokens - self.answer - OVERHEAD


@record
class Templates:
    """What a document is asked."""

    prompt: Template
    system: Template | None = None
    combine: str | None = None
    """The template that makes one answer of those of its parts, checked."""


def window_of(models: Sequence[ModelFacts], request: Mapping[str, Any], *, long: Long) -> Window | None:
    """How much of a document fits: the requested window, else the smallest that the hosts report for the models.

    ``request``: options, think and format of its jobs. None: nobody knows, and nothing is too long.
    """
    answer = answer_tokens(request, thinking=any(model.thinking for model in models))
    size = (request.get("options") or {}).get("num_ctx")
    if not isinstance(size, int):
        trained = [model.trained_context for model in models if model.trained_context]
        size = min(trained, default=UNKNOWN_WINDOW if long == "split" else None)
    return None if size is None else Window(size, min(answer, size // 2))


def job_lines(
    document: Document, templates: Templates, window: Window | None, *, long: Long
) -> list[dict[str, Any]]:
    """The document's job line; of one that is too long those of its parts, of their combinations and, last, of the whole.

    Raises DocumentRefused: it does not fit, or a template cannot be filled.
    """
    lines = list(own_lines(document, templates, window, long=long))
    if len(lines) > 1 and templates.combine is not None and window is not None:
        beside = estimate_tokens(templates.combine) + estimate_tokens(lines[0].get("system") or "")
        fitting = answers_that_fit(window, beside)
        lines += combinations(document, lines, templates.combine, fitting)
    return lines


def combine_template(text: str, *, source: str) -> str:
    """A template that takes the answers of parts. Raises InputRefused for one that does not."""
    if "parts" not in prompt_template(text, source=source).variables:
        loop = "{% for part in parts %}{{ part.answer }}{% endfor %}"
        message = f"{source}: does not use the answers; write {loop}"
        raise InputRefused([Problem(0, "--combine", "no_variable", message)])
    return text


def custom_id_of(name: str) -> str:
    """The name, or its beginning and a hash where it is too long for an id.

    >>> custom_id_of("a/b.pdf"), len(custom_id_of("x" * 300))
    ('a/b.pdf', 200)
    """
    if len(name) <= LONGEST_ID - 20:  # room for "#part-12"
        return name
    return f"{name[: LONGEST_ID - 36]}~{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:35]}"


def part_id(name: str, part: Part) -> str:
    return f"{custom_id_of(name)[: LONGEST_ID - 16]}#part-{part.number}"


def answers_that_fit(window: Window, beside: int) -> int:
    """How many answers, each as long as it may become, fit a prompt with ``beside`` tokens of its own; at least
    ``FEWEST_COMBINED``, for most answers are shorter.

    >>> answers_that_fit(Window(8192, 256), 100), answers_that_fit(Window(8192, 4096), 100)
    (22, 4)
    """
    return max(FEWEST_COMBINED, int(window.prompt * FILLED - beside) // max(1, window.answer))


def combinations(
    document: Document, parts: Sequence[dict[str, Any]], template: str, fitting: int
) -> Iterator[dict[str, Any]]:
    """Job lines that make one answer of those of the parts, at most ``fitting`` in one; in levels where there are more.

    The last one is the document's own.
    """
    level, number = list(parts), 0
    while len(level) > fitting:
        number += 1
        groups = _even(level, -(-len(level) // fitting))
        level = [
            _combination(document, group, template, level=number, place=(n, len(groups)))
            for n, group in enumerate(groups, start=1)
        ]
        yield from level
    yield _combination(document, level, template)


def _even(lines: Sequence[dict[str, Any]], count: int) -> list[Sequence[dict[str, Any]]]:
    """``count`` groups of neighbours, as large as each other but for one.

    >>> [len(group) for group in _even([{}] * 10, 3)]
    [4, 3, 3]
    """
    size, more = divmod(len(lines), count)
    ends = [n * size + min(n, more) for n in range(count + 1)]
    return [lines[begin:end] for begin, end in itertools.pairwise(ends)]


def _shared(first: Sequence[str], last: Sequence[str]) -> list[str]:
    """
    >>> _shared(["A", "B", "C"], ["A", "B", "D"])
    ['A', 'B']
    """
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return [heading for heading, _ in pairs]


def _combination(
    document: Document,
    answers: Sequence[Mapping[str, Any]],
    template: str,
    *,
    level: int = 0,
    place: tuple[int, int] = (1, 1),
) -> dict[str, Any]:
    """The job line that makes one answer of these, once they are there: of a level, or the document's own."""
    about: dict[str, Any] = {}
    custom_id = custom_id_of(document.name)
    if level:
        first, last = (answers[at]["metadata"]["part"] for at in (0, -1))
        about["part"] = {
            "number": place[0],
            "of": place[1],
            "level": level,
            "start": first["start"],
            "end": last["end"],
            "pages": None if first["pages"] is None else [first["pages"][0], last["pages"][1]],
            "headings": _shared(first["headings"], last["headings"]),
        }
        custom_id = f"{custom_id[: LONGEST_ID - 24]}#combined-{level}-{place[0]}"
    line = {
        "custom_id": custom_id,
        "prompt": template,
        "after": [answer["custom_id"] for answer in answers],
        "combine": {"document": {**_variables(document, ""), "text": ""}},
        "metadata": metadata_of(document) | about,
    }
    if answers[0].get("system"):
        line["system"] = answers[0]["system"]
    return line


def own_lines(
    document: Document, templates: Templates, window: Window | None, *, long: Long
) -> Iterator[dict[str, Any]]:
    """The document's job line, or those of its parts. Raises DocumentRefused."""
    line = _line(document, templates, document.text, None)
    room = None if window is None else window.prompt
    tokens, pictures = _tokens(line), 0
    if room is not None and long == "split":
        room, pictures = int(room * FILLED), IMAGE_TOKENS * len(document.image_pages)
    if room is None or tokens + pictures <= room or not document.text:
        yield _with_pictures(line, document, document.image_pages)
        return
    if long == "refuse":
        message = (
            f"about {tokens:,} tokens, there is room for {max(room, 0):,}; --long split asks it in parts, "
            "--set num_ctx=N opens a larger window"
        )
        raise DocumentRefused(document.path, "too_large", message)
    beside = tokens - estimate_tokens(document.text)
    for part, pages in _parts(document, room - beside):
        if part.text.strip():
            yield _with_pictures(_line(document, templates, part.text, part), document, pages)


def _parts(document: Document, room: int) -> list[tuple[Part, tuple[int, ...]]]:
    """Parts that fit, each with the pages that are shown beside it. Raises DocumentRefused."""
    shown_beside = 0
    while True:
        left = room - IMAGE_TOKENS * shown_beside
        if left < SMALLEST_PART:
            message = (
                f"beside its template{' and pictures' if shown_beside else ''} there is room for {max(left, 0):,} tokens "
                "of it; open a larger window"
            )
            raise DocumentRefused(document.path, "too_large", message)
        parts = [
            (part, _pictures_of(part, document)) for part in split(document.text, left, pages=document.pages)
        ]
        most = max(len(pictures) for _, pictures in parts)
        if most <= shown_beside:
            return parts
        shown_beside = most


def _pictures_of(part: Part, document: Document) -> tuple[int, ...]:
    if part.pages is None:
        return ()
    first, last = part.pages
    return tuple(page for page in document.image_pages if first <= page <= last)


def _with_pictures(line: dict[str, Any], document: Document, pages: Sequence[int]) -> dict[str, Any]:
    """The line with these pages rendered: only now, for a document that did not change is not asked. Raises DocumentRefused."""
    if not pages or document.render is None:
        return line
    return {**line, "images": list(document.render(pages))}


def _line(document: Document, templates: Templates, text: str, part: Part | None) -> dict[str, Any]:
    values = values_of(document, text)
    if part is not None:
        values["document"]["part"] = _provenance(part)
    line: dict[str, Any] = {
        "custom_id": custom_id_of(document.name) if part is None else part_id(document.name, part),
        "prompt": _rendered(templates.prompt, values, document.path),
        "metadata": metadata_of(document) | ({} if part is None else {"part": _provenance(part)}),
    }
    if templates.system is not None:
        system = _rendered(templates.system, values, document.path, blank=True)
        if system.strip():
            line["system"] = system
    return line


def _tokens(line: Mapping[str, Any]) -> int:
    return estimate_tokens(line["prompt"]) + estimate_tokens(line.get("system") or "")


def _rendered(template: Template, values: Mapping[str, Any], path: str, *, blank: bool = False) -> str:
    text = template.render(values, line=0, blank=blank)
    if isinstance(text, Problem):
        code: DocumentCode = "too_large" if text.code == "too_large" else "template_error"
        raise DocumentRefused(path, code, text.message)
    return text


def values_of(document: Document, text: str) -> dict[str, Any]:
    """What a template may say of it, with ``text`` as what it says: ``document`` and, of a row, its columns."""
    return {**(document.metadata if document.row else {}), "document": _variables(document, text)}


def _variables(document: Document, text: str) -> dict[str, Any]:
    return {
        "text": text,
        "name": document.name,
        "path": document.path,
        "metadata": dict(document.metadata),
        "pages": len(document.pages) if document.pages is not None else None,
        "sha256": document.sha256,
        "media_type": document.media_type,
        "part": None,
    }


def metadata_of(document: Document) -> dict[str, Any]:
    """The metadata of its job."""
    about: dict[str, Any] = {
        "path": document.path,
        "sha256": document.sha256,
        "media_type": document.media_type,
    }
    if document.pages is not None:
        about["pages"] = len(document.pages)
    if is_unusual(document.encoding):
        about["encoding"] = document.encoding
    return {**document.metadata, **about}


def _provenance(part: Part) -> dict[str, Any]:
    return {
        "number": part.number,
        "of": part.of,
        "start": part.start,
        "end": part.end,
        "pages": None if part.pages is None else list(part.pages),
        "headings": list(part.headings),
    }
