"""What a job line of each kind looks like: its fields, and what is checked beyond their types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

from pydantic import BaseModel

from api_schemas.job_line import CARAVAN_FIELDS, IGNORED_FIELDS, JobLine
from api_schemas.job_problems import LineProblem


def _nothing(request: Mapping[str, Any], line: int) -> list[LineProblem]:
    return []


@dataclass(frozen=True, eq=False)
class LineShape:
    """The lines of one kind. ``line`` is a model of pydantic with the fields of ``CaravanFields`` and ``kind``."""

    kind: str
    line: type[BaseModel]
    text: Callable[[Mapping[str, Any]], str]
    """The readable text of a job, made of the fields of its line: it is shown, searched and told apart by."""
    apart: frozenset[str] = frozenset()
    """Fields that ``text`` says whole, so that they are no part of the request."""
    marks: tuple[str, ...] = ()
    """Fields that make a line one of this kind where it names none."""
    defaults: tuple[str, ...] = ()
    """Which defaults of the whole file reach such a line; model and options reach all."""
    texts: tuple[str, ...] = ()
    """Fields that are bounded as a prompt is."""
    conflicts: Callable[[Mapping[str, Any], int], list[LineProblem]] = _nothing
    """What of a request contradicts itself, on which line."""

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields that such a line may have."""
        return tuple(self.line.model_fields)

    @cached_property
    def request(self) -> tuple[str, ...]:
        """Those of them that are kept as the request."""
        aside = {*CARAVAN_FIELDS, *IGNORED_FIELDS, *self.apart, "model"}
        return tuple(name for name in self.fields if name not in aside)

    def asked(self, text: str, request: Mapping[str, Any]) -> dict[str, Any]:
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


GENERATE = LineShape(
    "generate",
    JobLine,
    itemgetter("prompt"),
    apart=frozenset({"prompt"}),
    defaults=(
        "system",
        "template",
        "format",
        "repairs",
        "allow_empty",
        "think",
        "keep_alive",
        "truncate",
        "shift",
    ),
    texts=("prompt", "system", "template", "suffix"),
    conflicts=_conflicts,
)
