"""On PYTHONPATH this sets the clock of a Python process off, before anything else has looked at it: by the seconds that
the file SKEW says at that moment."""

import datetime
import os
import time
from pathlib import Path

RealDatetime = datetime.datetime
_file = Path(os.environ["SKEW"])
_time = time.time


def _skew() -> float:
    return float(_file.read_text())


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, RealDatetime)


class _Skewed(RealDatetime, metaclass=_AnyDatetime):
    __slots__ = ()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> RealDatetime:  # type: ignore[override]
        return RealDatetime.now(tz) + datetime.timedelta(seconds=_skew())

    @classmethod
    def utcnow(cls) -> RealDatetime:  # type: ignore[override]
        return cls.now(datetime.UTC).replace(tzinfo=None)


datetime.datetime = _Skewed  # type: ignore[misc]
time.time = lambda: _time() + _skew()
