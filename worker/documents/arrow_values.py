"""Values of Arrow as JSON has them, also those that Python does not have: years before 1 and after 9999, nanoseconds, and
time zones that this machine does not know. Imported only where a Parquet file is read: pyarrow is heavy."""

import math
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIXED = re.compile(r"([+-])(\d\d):?(\d\d)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400


def plain_column(column: Any) -> list[Any]:
    """Every value of an array: times in ISO 8601, decimals and spans of time as text, NaN as null, infinity as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _of_dictionary(column)
    if _holds_times(kind):
        column = column.cast(_counted(kind))
    return [_plain(value, kind) for value in column.to_pylist()]


def _of_dictionary(column: Any) -> list[Any]:
    """Each distinct value is made once: a file of 600 bytes may hold a text of 4 MB a thousand times."""
    indices = column.indices.to_pylist()
    used = sorted({index for index in indices if index is not None})
    values = dict(zip(used, plain_column(column.dictionary.take(pa.array(used, pa.int64()))), strict=True))
    return [None if index is None else values[index] for index in indices]


def _is_time(kind: Any) -> bool:
    return bool(pa.types.is_temporal(kind)) and not pa.types.is_interval(kind)


def _holds_times(kind: Any) -> bool:
    return _is_time(kind) or any(_holds_times(kind.field(at).type) for at in range(kind.num_fields))


def _counted(kind: Any) -> Any:
    """The type with whole numbers in place of times, which Python always has."""
    if _is_time(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if not _holds_times(kind):
        return kind
    if pa.types.is_struct(kind):
        return pa.struct(
            [kind.field(at).with_type(_counted(kind.field(at).type)) for at in range(kind.num_fields)]
        )
    if pa.types.is_map(kind):
        return pa.map_(_counted(kind.key_type), _counted(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_counted(kind.value_type), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(_counted(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_counted(kind.value_type))
    return kind


def _plain(value: Any, kind: Any) -> Any:
    """A value that came of ``kind``, with whole numbers in place of its times."""
    if value is None:
        return None
    if _is_time(kind):
        return _time_text(value, kind) if isinstance(value, int) else str(value)
    if isinstance(value, dict):
        return {str(name): _plain(item, kind.field(name).type) for name, item in value.items()}
    if isinstance(value, list | tuple):
        if pa.types.is_map(kind):
            pairs = {str(_plain(key, kind.key_type)): _plain(item, kind.item_type) for key, item in value}
            if len(pairs) < len(value):
                raise ValueError("a map has the same key twice, and a JSON object cannot")
            return pairs
        inner = kind.value_type if hasattr(kind, "value_type") else pa.null()
        return [_plain(item, inner) for item in value]
    match value:
        case str() | bool() | int():
            return value
        case float():
            if math.isnan(value):
                return None
            return value if math.isfinite(value) else str(value)
        case Decimal():
            return format(value, "f")
        case _:
            return str(value)


def _time_text(count: int, kind: Any) -> str:
    if pa.types.is_date32(kind):
        return date_text(count)
    if pa.types.is_date64(kind):
        return date_text(count // (_DAY * 1000))
    per_second = _PER_SECOND[kind.unit]
    if pa.types.is_time(kind):
        return _clock(*divmod(count, per_second), per_second)
    if pa.types.is_duration(kind):
        days, rest = divmod(count, _DAY * per_second)
        clock = _clock(*divmod(rest, per_second), per_second).removeprefix("0")
        return f"{days} {'day' if abs(days) == 1 else 'days'}, {clock}" if days else clock
    return _timestamp_text(count, per_second, kind.tz)


def _timestamp_text(count: int, per_second: int, zone: str | None) -> str:
    seconds, fraction = divmod(count, per_second)
    offset, shown = 0, ""
    if zone is not None:
        offset, shown = _offset(seconds, _zone(zone))
    days, rest = divmod(seconds + offset, _DAY)
    return f"{date_text(days)}T{_clock(rest, fraction, per_second)}{shown}"


def _clock(seconds: int, fraction: int, per_second: int) -> str:
    """As ``time.isoformat``, with nine digits where there are nanoseconds."""
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    nanoseconds = fraction * (1_000_000_000 // per_second)
    if not nanoseconds:
        return f"{hour:02}:{minute:02}:{second:02}"
    tail = f"{nanoseconds:09}" if nanoseconds % 1000 else f"{nanoseconds // 1000:06}"
    return f"{hour:02}:{minute:02}:{second:02}.{tail}"


def date_text(days: int) -> str:
    """Days since 1970 as an ISO 8601 date, in the Gregorian calendar of any year.

    >>> date_text(0), date_text(2932897), date_text(-719163)
    ('1970-01-01', '10000-01-01', '0000-12-31')
    """
    cycles, day = divmod(
        days + 719_468, 146_097
    )  # Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
    year_of = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day_of_year = day - (365 * year_of + year_of // 4 - year_of // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of + cycles * 400 + (month <= 2)
    return (
        f"{'-' if year < 0 else ''}{abs(year):04}-{month:02}-{day_of_year - (153 * shifted + 2) // 5 + 1:02}"
    )


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    """The zone of this name; UTC, in which the time is the same, where this machine does not know it."""
    fixed = _FIXED.fullmatch(name)
    if fixed:
        minutes = int(fixed[2]) * 60 + int(fixed[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=minutes if fixed[1] == "+" else -minutes))
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return UTC


def _offset(seconds: int, zone: tzinfo) -> tuple[int, str]:
    """Seconds that the zone is ahead of UTC at a moment, and how that is written; UTC where Python has no such year."""
    try:
        moment = (_EPOCH + timedelta(seconds=seconds)).astimezone(zone)
    except OverflowError:
        return 0, "+00:00"
    offset = moment.utcoffset() or timedelta()
    return int(offset.total_seconds()), moment.isoformat()[
        -6:
    ] if offset.seconds % 60 == 0 else moment.strftime("%z")
