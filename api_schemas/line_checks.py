"""What contradicts itself on a job line, and what is too large: looked at once the line is read."""

import json
from collections.abc import Mapping
from typing import Any

from api_schemas.job_problems import (
    LineProblem,
)
from api_schemas.shapes import LineShape

CHAIN_FIELDS = frozenset({"carry", "after_failed", "combine"})


def parents_of(after: str | int | list[str | int] | None) -> tuple[str | int, ...]:
    """The jobs that a line waits for, each once."""
    if after is None:
        return ()
    return tuple(dict.fromkeys(after)) if isinstance(after, list) else (after,)


def chain_problems(
    shape: LineShape,
    fields: Mapping[str, Any],
    request: Mapping[str, Any],
    after: tuple[str | int, ...],
    line: int,
) -> list[LineProblem]:
    """What contradicts itself of a job that follows another."""
    if not after:
        name = next(
            option for option in ("carry", "after_failed", "combine") if fields.get(option) is not None
        )
        return [LineProblem(line, name, "conflict", f"{name}: means nothing without after")]
    if (fields["custom_id"] or f"line-{line}") in after:
        return [LineProblem(line, "after", "conflict", "after: a job cannot wait for itself")]
    if fields.get("combine") is not None:
        if fields["carry"] != "context":
            return []
        message = "combine: the prompt is made of answers, which excludes carry: context"
        return [LineProblem(line, "combine", "conflict", message)]
    if shape.carries is None and fields["carry"] == "context":
        message = f"carry: {shape.kind} has nothing to go on with; leave carry out, it only waits"
        return [LineProblem(line, "carry", "conflict", message)]
    if fields["carry"] == "none" or shape.carries is None:
        return []
    if len(after) > 1:
        if fields["carry"] is None:
            return []
        message = f"carry: {len(after)} jobs have {len(after)} contexts; only one can be gone on from"
        return [LineProblem(line, "carry", "conflict", message)]
    excluded = [name for name in ("raw", "context") if request.get(name)]
    if excluded:
        message = (
            f"after: goes on from the context of that job, which excludes {' and '.join(excluded)}; "
            "carry none only waits for it"
        )
        return [LineProblem(line, "after", "conflict", message)]
    return []


def too_large(shape: LineShape, fields: Mapping[str, Any], limit: int, line: int) -> list[LineProblem]:
    """Texts of more than ``limit`` bytes."""
    problems = []
    for name, text in shape.texts(fields):
        if len(text) * 4 > limit and (size := len(text.encode())) > limit:
            message = (
                f"{name}: {size:,} bytes, at most {limit:,} are allowed; split the text or raise the limit"
            )
            problems.append(LineProblem(line, name, "too_large", message))
    return problems


def too_much_metadata(metadata: Mapping[str, Any], limit: int, line: int) -> list[LineProblem]:
    """Metadata of more than ``limit`` bytes."""
    size = len(json.dumps(metadata, ensure_ascii=False).encode())
    if size <= limit:
        return []
    message = f"metadata: {size:,} bytes, at most {limit:,} are allowed; it is kept with every result"
    return [LineProblem(line, "metadata", "too_large", message)]
