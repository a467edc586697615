"""What does an event look like as a log line? One line each: time, event, its fields; or JSON for machines."""

import json
import logging
import math
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from worker.observability.sentences import sentence
from worker.observability.terminal import terminal_safe

MINUTE = 60.0
REPEAT_SECONDS = 60.0
"""Like lines of a log that a person looks at are one for this long."""


class LineFormatter(logging.Formatter):
    """``2026-11-23T05:40:00Z INFO runner.loaded host=gpu-1 runner_key='qwen3:8b' seconds=4.2``"""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = getattr(record, "fields", None) or {}
        text = " ".join([record.getMessage(), *(f"{name}={_plain(value)}" for name, value in fields.items())])
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return terminal_safe(f"{at} {record.levelname} {text}")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"at": at, "level": record.levelname, "event": record.getMessage(), "logger": record.name}
        line.update(getattr(record, "fields", None) or {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class SentenceFormatter(logging.Formatter):
    """``caravan: gpu-1 cannot be reached: connection refused``, for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        text = sentence(record.getMessage(), getattr(record, "fields", None) or {})
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return terminal_safe(f"caravan: {text}")


_FORMATTERS: Mapping[str, type[logging.Formatter]] = {
    "line": LineFormatter,
    "json": JsonFormatter,
    "sentence": SentenceFormatter,
}


def _plain(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ' "\n=') else text


class Repeats(logging.Filter):
    """Lets one of many like warnings through in so many seconds; the next that comes through says how many were left out."""

    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._last: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        fields = getattr(record, "fields", None) or {}
        what = fields.get("code") or fields.get("message")
        key = (record.getMessage(), fields.get("host"), str(what))
        last, dropped = self._last.get(key, (float("-inf"), 0))
        if record.created - last < self._seconds:
            self._last[key] = (last, dropped + 1)
            return False
        if dropped:
            record.fields = {**fields, "more_like_it": dropped}
        self._last[key] = (record.created, 0)
        return True


class Once(logging.Filter):
    """Lets each sentence through once: what holds for several hosts, such as a full disk, is said of none of them."""

    def __init__(self) -> None:
        super().__init__()
        self._past: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        text = sentence(record.getMessage(), getattr(record, "fields", None) or {})
        is_new = text not in self._past
        self._past.add(text)
        return is_new


class EachMinute(logging.Filter):
    """Adds up what was stored for a host, and lets a line of it through each minute."""

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[object, tuple[float, int, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.getMessage() != "job.finished":
            return True
        fields = getattr(record, "fields", None) or {}
        host = fields.get("host")
        since, accepted, refused = self._since.get(host, (record.created, 0, 0))
        accepted, refused = accepted + fields.get("accepted", 0), refused + fields.get("refused", 0)
        seconds = record.created - since
        if seconds < MINUTE:
            self._since[host] = (since, accepted, refused)
            return False
        self._since[host] = (record.created, 0, 0)
        record.fields = {"host": host, "accepted": accepted, "refused": refused, "seconds": round(seconds)}
        return True


def configure(level: str = "INFO", *, style: str = "line", repeats: bool = True) -> None:
    """Send Caravan's events to standard error. ``style`` is ``line``, ``json`` or ``sentence``; without ``repeats`` like
    warnings are one, for a minute or, as sentences, for good."""
    handler = logging.StreamHandler(sys.stderr)
    if level.lower() != "debug":
        handler.addFilter(EachMinute())
    if not repeats:
        handler.addFilter(Repeats(math.inf) if style == "sentence" else Repeats())
        if style == "sentence":
            handler.addFilter(Once())
    if style == "sentence":  # the failure before it is shown, and the display shows the pause
        handler.addFilter(lambda record: record.getMessage() != "host.paused")
    handler.setFormatter(_FORMATTERS[style]())
    root = logging.getLogger("caravan")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
