"""Reads a reply in the channels of gpt-oss, which a host sends as text where it does not know the model.

``<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…``: ``final`` is the answer, and
``analysis`` the reasoning. ``commentary`` is what is said beside calls of tools.
"""

import re

from worker.records import record

_CHANNELS = "analysis|commentary|final"
_HEAD = re.compile(
    rf"\s*(?:<\|start\|>[^<]{{0,80}})?(?:<\|channel\|>\s*)?(?P<channel>{_CHANNELS})\b[^<]{{0,200}}"
    r"(?:<\|constrain\|>[^<]{0,80})?<\|message\|>",
    re.IGNORECASE,
)
_BEGINNING = re.compile(r"\s*(?:<\|start\|>[^<]{0,80})?<\|channel\|>", re.IGNORECASE)
_TORN_HEAD = re.compile(
    r"\s*(?:<\|start\|>[^<]{0,80})?<\|channel\|>?[^<]{0,80}(?:<\|?[a-z]*\|?)?\Z", re.IGNORECASE
)
_END = re.compile(r"<\|(?:end|return|call)\|>|(?=<\|start\|>[^<]{0,80}<\|channel\|>)|(?=<\|channel\|>)")
_END_OF_FINAL = re.compile(r"<\|(?:end|return)\|>\s*(?=\Z|<\|start\|>)")
_TORN_END = re.compile(r"<(?:\|(?:e|en|end|end\|)?)?\Z")
_WITHOUT_TOKENS = re.compile(
    r"\s*analysis(?P<reasoning>(?![a-z]).*?)assistantfinal(?P<answer>.*)\Z", re.DOTALL
)
"""Where the special tokens were dropped on the way, the names of roles and channels are left."""


@record
class Channels:
    """``answer`` is None where the reply ended before the final channel."""

    reasoning: str
    answer: str | None


def read_channels(text: str, *, cut: bool = False) -> Channels | None:
    """The channels of ``text``; None where it does not begin with one. ``cut``: it may end within a mark.

    >>> read_channels("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Blue.")
    Channels(reasoning='Hm.', answer='Blue.')
    """
    if not (_BEGINNING.match(text) or _HEAD.match(text)):
        plain = _WITHOUT_TOKENS.match(text)
        return None if plain is None else Channels(plain["reasoning"].strip(), plain["answer"])
    reasoning: list[str] = []
    comments: list[str] = []
    answers: list[str] = []
    at = 0
    while head := _HEAD.match(text, at):
        channel = head["channel"].lower()
        end = (_END_OF_FINAL if channel == "final" else _END).search(text, head.end())
        part = text[head.end() : len(text) if end is None else end.start()]
        at = len(text) if end is None else end.end()
        kept = {"final": answers, "commentary": comments}.get(channel, reasoning)
        kept.append(part if channel == "final" or end is not None else _TORN_END.sub("", part))
    rest = text[at:]
    if not at and not (cut and _TORN_HEAD.fullmatch(rest)):
        return None
    if rest.strip() and not _TORN_HEAD.fullmatch(rest):
        answers.append(rest.lstrip())
    if answers:
        reasoning = [*reasoning, *comments]
    elif comments and at == len(text) and text.rstrip().lower().endswith(("<|end|>", "<|return|>")):
        answers = comments
    else:
        reasoning = [*reasoning, *comments]
    thought = "\n\n".join(part.strip() for part in reasoning if part.strip())
    return Channels(thought, "".join(answers) if answers else None)
