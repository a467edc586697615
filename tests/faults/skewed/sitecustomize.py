"""On PYTHONPATH this sets the clock of a Python process off by SKEW seconds, before anything else has looked at it."""

import datetime
import os
import time
from typing import Any

_SKEW = float(os.environ["SKEW"])
_real: Any = datetime.datetime
_time = time.time


class _AnyDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _real)


class _Skewed(_real, metaclass=_AnyDatetime):  # type: ignore[misc]
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _real.now(tz) + datetime.timedelta(seconds=_SKEW)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)


datetime.datetime = _Skewed  # type: ignore[misc]
time.time = lambda: _time() + _SKEW
