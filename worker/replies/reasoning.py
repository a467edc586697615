"""Which part of a reply is the answer, and which the reasoning before it.

A host sends reasoning in one of five ways, and nothing in the reply says in which:

1. apart, in ``thinking``: the host knows the model's tags. Whatever stands in ``response`` is the answer.
2. inline, ``<think>…</think>answer``: the host does not know the tags, or ``think`` was false and the model
   did it anyway.
3. inline without the opening tag, ``…</think>answer``: the template had opened it in the prompt.
4. cut inside, ``<think>…`` or, where the template had opened it, just text: all of it is reasoning, the
   answer is empty.
5. none at all.

An answer may speak about such tags (``Close it with </think>.``), so a tag alone proves nothing. What
decides:

- An opening tag counts only at the very start. Without a closing tag it counts where the reply was cut
  (``length``), where the model is expected to reason, or where a line break follows it, as it does in a
  model's own reasoning.
- A closing tag without an opening one counts never where no reasoning is expected; where it is, if it is not
  quoted; where nothing is known, if besides a line (or the text) ends with it and it stands outside of a code
  block.
- Text without any tag is the answer, unless it was cut and reasoning is expected: a model that would have
  closed its reasoning did not get there. The text is kept as reasoning, and ``open`` says so.

White space around the tags goes, the rest stays as it came: the same text as from a host that splits by
itself (``thinking/parser.go``).
"""

import re
from dataclasses import dataclass

PAIRS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
)
"""Tags of reasoning: DeepSeek-R1, Qwen and most others; some fine-tunes; Magistral; Kimi."""

_QUOTES = "`'\"“”‘’「」『』"


@dataclass(frozen=True, slots=True)
class Split:
    """``open``: the reply ended inside the reasoning, so ``answer`` is empty."""

    answer: str
    reasoning: str | None = None
    open: bool = False


def split_reasoning(
    response: str,
    thinking: str,
    *,
    done_reason: str | None,
    expects_reasoning: bool | None,
) -> Split:
    """Split one reply by the rule above.

    ``expects_reasoning``: True where ``think`` was asked for, the model is known to be capable and its own
    template was used; False where ``think`` was false, the host says that the model cannot, or a ``format``
    left no room for tags; None where that is not known.

    >>> split_reasoning("<think>\\nhm</think>\\n\\nBlue.", "", done_reason="stop", expects_reasoning=None)
    Split(answer='Blue.', reasoning='hm', open=False)
    >>> split_reasoning("Close it with </think>.", "", done_reason="stop", expects_reasoning=False)
    Split(answer='Close it with </think>.', reasoning=None, open=False)
    """
    if thinking:
        return Split(
            response,
            thinking.strip() or None,
            open=not response.strip() and bool(thinking.strip()),
        )
    cut = done_reason == "length"
    text = response.lstrip()
    for opening, closing in PAIRS:
        if text.startswith(opening):
            return _opened(response, text[len(opening) :], closing, cut, expects_reasoning)
    if expects_reasoning is False:
        return Split(response)
    for opening, closing in PAIRS:
        at = _unmatched(text, opening, closing, strict=expects_reasoning is None)
        if at is not None:
            return _parts(text[:at], text[at + len(closing) :])
    if cut and _is_start_of_tag(text):
        return Split("", None, open=True)
    if cut and expects_reasoning:
        return Split("", _without_torn_tag(text).strip() or None, open=True)
    return Split(response)


def _opened(response: str, body: str, closing: str, cut: bool, expects_reasoning: bool | None) -> Split:
    at = _closing(body, closing)
    if at is not None:
        return _parts(body[:at], body[at + len(closing) :])
    if cut or expects_reasoning or body[:1] in ("\n", "\r", ""):
        return Split("", _without_torn_tag(body).strip() or None, open=True)
    return Split(response)


def _parts(reasoning: str, answer: str) -> Split:
    return Split(answer.lstrip(), reasoning.strip() or None)


def _closing(body: str, closing: str) -> int | None:
    """Where the reasoning is closed: the first closing tag that is not quoted."""
    at = body.find(closing)
    while at >= 0:
        if not _is_quoted(body, at, at + len(closing)):
            return at
        at = body.find(closing, at + len(closing))
    return None


def _unmatched(text: str, opening: str, closing: str, *, strict: bool) -> int | None:
    """Where the first closing tag stands that no opening tag before it belongs to, or None."""
    if closing not in text:
        return None
    depth = 0
    for tag in re.finditer(f"{re.escape(opening)}|{re.escape(closing)}", text):
        if _is_quoted(text, tag.start(), tag.end()):
            continue
        if tag.group() == opening:
            depth += 1
        elif depth:
            depth -= 1
        elif strict and (
            text[tag.end() : tag.end() + 1] not in ("", "\n", "\r") or _in_code(text, tag.start())
        ):
            return None
        else:
            return tag.start()
    return None


def _is_quoted(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return bool(before) and bool(after) and before in _QUOTES and after in _QUOTES


def _in_code(text: str, at: int) -> bool:
    return text.count("```", 0, at) % 2 == 1


def _is_start_of_tag(text: str) -> bool:
    return len(text) > 1 and any(opening.startswith(text) for opening, _ in PAIRS)


def _without_torn_tag(text: str) -> str:
    """``text`` without a closing tag that was cut in two (``…</thi``)."""
    for _, closing in PAIRS:
        for length in range(len(closing) - 1, 1, -1):
            if text.endswith(closing[:length]):
                return text[:-length]
    return text
