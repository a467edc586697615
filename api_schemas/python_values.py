"""Values of Python as JSON has them: what a program gives for jobs and options."""

from collections.abc import Mapping, Sequence
from typing import Any

from api_schemas.json_text import json_writer


def job_fields(job: Any, *, with_null: bool = False) -> dict[str, Any]:
    """A job as the fields of its line: a mapping, a pydantic model, or a text, which is its prompt. Raises TypeError.

    ``with_null``: fields of a model that are None are kept, as those of a row are.
    """
    if type(job) is dict:
        fields: dict[str, Any] = job
        if fields.get("format") is None:
            return fields
    if isinstance(job, str):
        return {"prompt": job}
    if hasattr(job, "model_dump"):
        job = job.model_dump(mode="json", exclude_none=not with_null)
    if not isinstance(job, Mapping):
        raise TypeError(f"expected a dictionary, a pydantic model or a text, got {type(job).__name__}")
    fields = dict(job)
    if fields.get("format") is not None:
        fields["format"] = schema_of(fields["format"])
    return fields


def json_text(value: Any) -> str:
    """``value`` as JSON. Raises TypeError that says what cannot be written."""
    try:
        return _encode(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"cannot be written as JSON: {error}") from error


def plain_value(value: Any) -> Any:
    """A value of numpy, a date, a pydantic model, a mapping or a sequence, as JSON knows it. Raises TypeError for others."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", exclude_none=True)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(value)
    raise TypeError(f"a value of type {type(value).__name__} has no form in JSON")


def schema_of(format: Any) -> Any:
    """``json`` or a schema as it is; of a pydantic class its JSON Schema."""
    return format.model_json_schema() if hasattr(format, "model_json_schema") else format


_encode = json_writer(separators=(", ", ": "), default=plain_value)
