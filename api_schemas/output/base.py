"""What all shapes that are shown share: ``batch`` and ``job`` are numbers everywhere, and times are in UTC with a Z."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

Time = AwareDatetime
BatchNumber = Annotated[int, Field(description="Number of the batch.")]
JobNumber = Annotated[int, Field(description="Number of the job.")]
CustomId = Annotated[str, Field(description="The custom_id of the job.")]
HostName = Annotated[str, Field(description="Name of the host.")]
ModelName = Annotated[str, Field(description="Name of the model.")]
JobsByState = Annotated[
    dict[str, int], Field(description="Number of jobs by state; a state without jobs is left out.")
]


class Output(BaseModel):
    """A shape that is shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def from_value(cls, value: object, **fields: Any) -> Self:
        """The shape with these fields; its others are the attributes of ``value`` of their names."""
        rest = {name: getattr(value, name) for name in cls.model_fields if name not in fields}
        return cls(**rest, **fields)


_ANY: TypeAdapter[Any] = TypeAdapter(Any)


def plain(value: Any) -> Any:
    """A value for JSON: of shapes and dataclasses their fields, of times ISO 8601 in UTC with a Z.

    Raises ValueError for a time without a time zone.

    >>> plain({"at": datetime(2026, 12, 1, 8, tzinfo=UTC), "done": {2, 1}})
    {'at': '2026-12-01T08:00:00Z', 'done': [1, 2]}
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no time zone")
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value))
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return _ANY.dump_python(value, mode="json")
