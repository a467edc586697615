"""What does an event look like as a log line? One line each: time, event, its fields; or JSON for machines."""

import json
import logging
import sys
from datetime import UTC, datetime

from worker.observability.terminal import terminal_safe

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


def _plain(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ' "\n=') else text


class Repeats(logging.Filter):
    """Lets one of many like lines through in a minute; the next that comes through says how many were left out."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, "fields", None) or {}
        what = fields.get("code") or fields.get("message")
        key = (record.getMessage(), fields.get("host"), str(what))
        last, left_out = self._last.get(key, (float("-inf"), 0))
        if record.created - last < REPEAT_SECONDS:
            self._last[key] = (last, left_out + 1)
            return False
        if left_out:
            record.fields = {**fields, "more_like_it": left_out}
        self._last[key] = (record.created, 0)
        return True


def configure(level: str = "INFO", *, style: str = "line", repeats: bool = True) -> None:
    """Send Caravan's events to standard error. ``style`` is ``line`` or ``json``; without ``repeats`` like lines are one."""
    handler = logging.StreamHandler(sys.stderr)
    if not repeats:
        handler.addFilter(Repeats())
    handler.setFormatter(JsonFormatter() if style == "json" else LineFormatter())
    root = logging.getLogger("caravan")
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    root.propagate = False
