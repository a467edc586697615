"""Which part of a reply is the answer, and which the reasoning before it.

A host sends reasoning in one of five ways, and nothing in the reply says in which:

1. apart, in ``thinking``: the host knows the model's tags. Whatever stands in ``response`` is the answer, unless that
   begins with a block of reasoning as well.
2. inline, ``<think>…</think>answer``: the host does not know the tags, or ``think`` was false and the model
   did it anyway. There may be several blocks before the answer. ``families`` has the tags of each family of models.
3. inline without the opening tag, ``…</think>answer``: the template had opened it in the prompt.
4. cut inside, ``<think>…`` or, where the template had opened it, just text: all of it is reasoning, the
   answer is empty.
5. none at all.

An answer may speak about such tags (``Close it with </think>.``), so a tag alone proves nothing. What
decides:

- An opening tag counts only at the very start, or right after another block. Without a closing tag it counts where the
  reply was cut (``length``), where the model is expected to reason, where a line break follows it, as it does in a
  model's own reasoning, or where nobody would write it in prose (``<|START_THINKING|>``).
- A closing tag without an opening one counts never where no reasoning is expected; where it is, if it is not
  quoted; where nothing is known, if besides a line (or the text) ends with it and it stands outside of a code
  block.
- Text without any tag is the answer, unless it was cut and reasoning is expected: a model that would have
  closed its reasoning did not get there. The text is kept as reasoning, and ``open`` says so.

White space around the tags goes, the rest stays as it came: the same text as from a host that splits by
itself (``thinking/parser.go``).
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from worker.domain.replies import is_blank
from worker.records import record
from worker.replies.families import FAMILIES, Marks

_QUOTES = "`'\"“”‘’「」『』"


@record
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
    families: Sequence[Marks] = FAMILIES,
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
    cut = done_reason == "length"
    if not thinking:
        return _split(response, cut, expects_reasoning, families)
    apart = thinking.strip()
    inline = _split(response, cut, False, families)
    parts = [part for part in (apart, inline.reasoning) if part]
    unanswered = inline.open or is_blank(inline.answer)
    return Split(inline.answer, "\n\n".join(parts) or None, open=unanswered and bool(parts))


def _split(response: str, cut: bool, expects_reasoning: bool | None, families: Sequence[Marks]) -> Split:
    channels = None
    if "<|" in response or "assistantfinal" in response:  # seven patterns that few models need
        from worker.replies.harmony import read_channels

        channels = read_channels(response, cut=cut)
    if channels is not None:
        is_open = channels.answer is None
        return Split("" if is_open else (channels.answer or "").lstrip(), channels.reasoning or None, is_open)
    lowered = response.lower()
    present = dict.fromkeys(
        marks for marks in families for mark in marks.lowered if mark in lowered
    )  # mostly none
    rest, marks = response, None
    blocks: list[str] = []
    while (opened := _family(rest, present)) is not None:
        body = rest.lstrip()[len(opened.opening) :]
        at = _closing(body, opened)
        if at is None:
            if opened.are_words:
                break
            is_special = opened.are_special and body[:1] != " "
            if cut or expects_reasoning or blocks or is_special or body[:1] in ("\n", "\r", ""):
                blocks.append(_without_torn_tag(body, families))
                return _joined("", blocks, is_open=True)
            break
        blocks.append(body[:at])
        rest, marks = body[at + len(opened.closing) :], opened
    if marks is not None:
        while _begins(rest.lstrip(), marks.closing):  # once more, before the answer
            rest = rest.lstrip()[len(marks.closing) :]
        return _joined(_unwrapped(rest, marks), blocks)
    text = response.lstrip()
    wrapped = next((one for one in present if one.answer_opening and _begins(text, one.answer_opening)), None)
    if wrapped is not None:
        return Split(_unwrapped(text, wrapped))
    if expects_reasoning is False:
        return Split(response)
    for one in present:
        if one.are_words:
            continue
        at = _unmatched(text, one, strict=expects_reasoning is None)
        if at is not None:
            after = _split(text[at + len(one.closing) :], cut, False, families)
            reasoning = [text[:at], *([] if after.reasoning is None else [after.reasoning])]
            return _joined(_unwrapped(after.answer, one), reasoning, is_open=after.open)
    if cut and _is_start_of_tag(text, families):
        return Split("", None, open=True)
    if cut and expects_reasoning:
        return Split("", _without_torn_tag(text, families).strip() or None, open=True)
    return Split(response)


def _joined(answer: str, blocks: Sequence[str], *, is_open: bool = False) -> Split:
    parts = [part for block in blocks if (part := block.strip())]
    return Split(answer.lstrip(), "\n\n".join(parts) or None, is_open)


def _family(text: str, families: Iterable[Marks]) -> Marks | None:
    """Whose opening tag the text begins with."""
    text = text.lstrip()
    return next((family for family in families if _begins(text, family.opening)), None)


def _begins(text: str, mark: str) -> bool:
    return text[: len(mark)].lower() == mark.lower()


def _unwrapped(answer: str, marks: Marks) -> str:
    """The answer without the family's own marks around it."""
    bare = answer.strip()
    if marks.answer_opening and _begins(bare, marks.answer_opening):
        bare = bare[len(marks.answer_opening) :].lstrip()
        if bare[-len(marks.answer_closing) :].lower() == marks.answer_closing.lower():
            bare = bare[: -len(marks.answer_closing)].rstrip()
        return bare
    return answer


def _closing(body: str, marks: Marks) -> int | None:
    """Where the reasoning is closed: the first closing tag that is not quoted."""
    for tag in re.finditer(re.escape(marks.closing), body, re.IGNORECASE):
        if not _is_quoted(body, tag.start(), tag.end()):
            return tag.start()
    return None


@cache
def _either(marks: Marks) -> re.Pattern[str]:
    """The opening or the closing mark."""
    opening = re.escape(marks.opening)
    if marks.opening[1].isalpha() and marks.opening.endswith(">"):
        opening = rf"{opening[:-1]}(?:\s[^<>]*)?>"  # with attributes it is an element of an answer in XML
    return re.compile(f"(?P<opening>{opening})|{re.escape(marks.closing)}", re.IGNORECASE)


def _unmatched(text: str, marks: Marks, *, strict: bool) -> int | None:
    """Where the first closing tag stands that no opening tag before it belongs to, or None."""
    depth = 0
    for tag in _either(marks).finditer(text):
        if _is_quoted(text, tag.start(), tag.end()):
            continue
        if tag["opening"]:
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


def _is_start_of_tag(text: str, families: Sequence[Marks]) -> bool:
    if len(text) < 2:
        return False
    start = text.lower()
    return "<|channel|>".startswith(start) or any(
        len(text) <= len(family.opening) and family.lowered[0].startswith(start) and not family.are_words
        for family in families
    )


def _without_torn_tag(text: str, families: Sequence[Marks]) -> str:
    """``text`` without a closing tag that was cut in two (``…</thi``)."""
    for family in families:
        if family.are_words:
            continue
        for length in range(len(family.closing) - 1, 1, -1):
            if text[-length:].lower() == family.closing[:length].lower():
                return text[:-length]
    return text
