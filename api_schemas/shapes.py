"""What a job line of each kind looks like: its fields, and what is checked beyond their types."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from api_schemas.job_line import CARAVAN_FIELDS, IGNORED_FIELDS, JobLine
from api_schemas.job_problems import LineProblem

if TYPE_CHECKING:
    from api_schemas.chat import ChatLine
    from api_schemas.embed import EmbedLine


def _no_texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return iter(())


def _nothing(request: Mapping[str, Any], line: int) -> list[LineProblem]:
    return []


@dataclass(frozen=True, eq=False)
class LineShape:
    """The lines of one kind."""

    kind: str
    load: Callable[[], type[BaseModel]]
    """Imports ``line``: a file of prompts has no use for the fields of a chat, which take 5 ms to define."""
    text: Callable[[Mapping[str, Any], Mapping[str, Any]], str]
    """The readable text of a job, made of the fields of its line and of its request: it is shown and searched."""
    apart: frozenset[str] = frozenset()
    """Fields that ``text`` says whole, so that they are no part of the request."""
    marks: tuple[str, ...] = ()
    """Fields that make a line one of this kind where it names none."""
    defaults: tuple[str, ...] = ()
    """Which defaults of the whole file reach such a line; model and options reach all."""
    texts: Callable[[Mapping[str, Any]], Iterator[tuple[str, str]]] = _no_texts
    """The texts of a line that are bounded as a prompt is, by the names of their fields."""
    models: tuple[str, ...] = ()
    """Fields that are lists of models of pydantic."""
    system: Callable[[dict[str, Any], str, bool], None] | None = None
    """Puts the system message of the whole file into a request that has none; or, if true, in place of its own."""
    conflicts: Callable[[Mapping[str, Any], int], list[LineProblem]] = _nothing
    """What of a request contradicts itself, on which line."""
    carries: Literal["context", "turns"] | None = "context"
    """What a job that follows another goes on with."""

    @cached_property
    def line(self) -> type[BaseModel]:
        """A model of pydantic with the fields of ``CaravanFields`` and ``kind``."""
        return self.load()

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields that such a line may have."""
        return tuple(self.line.model_fields)

    @cached_property
    def request(self) -> tuple[str, ...]:
        """Those of them that are kept as the request."""
        aside = {*CARAVAN_FIELDS, *IGNORED_FIELDS, *self.apart, "model"}
        return tuple(name for name in self.fields if name not in aside)

    @cached_property
    def mark_bytes(self) -> tuple[bytes, ...]:
        """The marks as they stand in a line."""
        return tuple(f'"{name}"'.encode() for name in self.marks)

    def line_fields(self, text: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of the line that a job with this text and request was made of."""
        named = (
            {}
            if self.kind == "generate" or any(name in request for name in self.marks)
            else {"kind": self.kind}
        )
        return {**named, **dict.fromkeys(self.apart, text), **request}

    @cached_property
    def read(self) -> Callable[[bytes | str], BaseModel]:
        """Validates a line. Raises ValidationError."""
        return self.line.__pydantic_validator__.validate_json


def _conflicts(request: Mapping[str, Any], line: int) -> list[LineProblem]:
    problems: list[LineProblem] = []
    if not (request.get("raw") or "context" in request or "top_logprobs" in request):
        return problems
    excluded = [name for name in ("system", "template", "context") if request.get(name)]
    if request.get("raw") and excluded:
        message = f"raw: sends the prompt as it is, which excludes {', '.join(excluded)}"
        problems.append(LineProblem(line, "raw", "conflict", message))
    if "top_logprobs" in request and not request.get("logprobs"):
        message = 'top_logprobs: means nothing without "logprobs": true'
        problems.append(LineProblem(line, "top_logprobs", "conflict", message))
    if request.get("context") and "context_digest" not in request:
        message = (
            "context_digest: missing; say which weights the context came from "
            "(digest of the model in /api/tags): token ids of others kill older servers"
        )
        problems.append(LineProblem(line, "context_digest", "missing", message))
    return problems


def shape_of(value: Mapping[str, Any], shapes: Sequence[LineShape]) -> LineShape | None:
    """The shape of a line, by the kind that it names or by a field that only such lines have; None: no such kind."""
    kind = value.get("kind")
    if kind is not None:
        return next((shape for shape in shapes if shape.kind == kind), None)
    return next((shape for shape in shapes if any(name in value for name in shape.marks)), shapes[0])


def _prompt_texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return (
        (name, fields[name])
        for name in ("prompt", "system", "template", "suffix")
        if fields[name] is not None
    )


GENERATE = LineShape(
    "generate",
    lambda: JobLine,
    lambda fields, request: str(fields["prompt"]),
    apart=frozenset({"prompt"}),
    defaults=(
        "system",
        "format",
        "repairs",
        "allow_empty",
        "think",
        "keep_alive",
        "truncate",
    ),
    texts=_prompt_texts,
    conflicts=_conflicts,
)


def transcript(messages: Sequence[Mapping[str, Any]]) -> str:
    r"""A conversation as one text; a single message of the user is its own text.

    >>> transcript([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    'system: Be brief.\n\nuser: Why?'
    """
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0].get("content") or "[image]")
    return "\n\n".join(f"{message['role']}: {_text_of(message)}" for message in messages)


def _text_of(message: Mapping[str, Any]) -> str:
    parts = [message.get("content") or ""]
    for call in message.get("tool_calls", ()):
        function = call["function"]
        parts.append(f"{function['name']}({json.dumps(function['arguments'], ensure_ascii=False)})")
    parts += ["[image]" for _ in message.get("images", ())]
    return " ".join(part for part in parts if part)


def _message_texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return (
        (f"messages[{place}].content", message.content)
        for place, message in enumerate(fields["messages"])
        if message.content is not None
    )


def _with_system(request: dict[str, Any], text: str, instead: bool) -> None:
    messages = request["messages"]
    has_one = bool(messages) and messages[0]["role"] == "system"
    if has_one and not instead:
        return
    request["messages"] = [{"role": "system", "content": text}, *messages[has_one:]]


def _chat_conflicts(request: Mapping[str, Any], line: int) -> list[LineProblem]:
    problems = []
    names = [tool["function"]["name"] for tool in request.get("tools", ())]
    choice = request.get("tool_choice")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        problems.append(LineProblem(line, "tools", "conflict", f"tools: {twice} is there twice"))
    if choice not in (None, "auto", "none") and not names:
        problems.append(
            LineProblem(line, "tool_choice", "conflict", "tool_choice: means nothing without tools")
        )
    elif isinstance(choice, Mapping) and choice["name"] not in names:
        message = f"tool_choice: no tool {choice['name'][:100]!r}; the tools are {', '.join(names)[:300]}"
        problems.append(LineProblem(line, "tool_choice", "invalid_value", message))
    if names and request.get("format") and choice != "none":
        message = "format: beside tools hosts make no call; leave tools out, or say tool_choice: none"
        problems.append(LineProblem(line, "format", "conflict", message))
    if "top_logprobs" in request and not request.get("logprobs"):
        message = 'top_logprobs: means nothing without "logprobs": true'
        problems.append(LineProblem(line, "top_logprobs", "conflict", message))
    return problems


def _chat_line() -> "type[ChatLine]":
    from api_schemas.chat import ChatLine

    return ChatLine


CHAT = LineShape(
    "chat",
    _chat_line,
    lambda fields, request: transcript(request["messages"]),
    marks=("messages",),
    defaults=("format", "repairs", "allow_empty", "think", "keep_alive"),
    texts=_message_texts,
    models=("messages", "tools"),
    carries="turns",
    system=_with_system,
    conflicts=_chat_conflicts,
)


def _embed_line() -> "type[EmbedLine]":
    from api_schemas.embed import EmbedLine

    return EmbedLine


EMBED = LineShape(
    "embed",
    _embed_line,
    lambda fields, request: str(fields["input"]),
    apart=frozenset({"input"}),
    defaults=("keep_alive", "truncate"),
    texts=lambda fields: iter([("input", fields["input"])]),
    carries=None,
)
