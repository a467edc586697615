"""Lines of progress that a host sends while it pulls, pushes or creates a model."""

from collections.abc import Callable

from worker.errors import Code, HostError
from worker.records import record
from worker.replies import bounds
from worker.replies.stream import parse_object
from worker.replies.wording import bad_reply, from_error_value, one_line

_MOST_LAYERS = 1000
_LONGEST_STEP = 200


@record
class Transfer:
    """What a host does now, and the bytes of all layers that are known of."""

    step: str
    completed: int = 0
    total: int = 0


class TransferReader:
    """A stream of such lines (``api/types.go ProgressResponse``). ``feed`` returns the last progress with the line that
    says ``success``; a line with an error raises HostError."""

    chunks = None
    partial = ""

    def __init__(self, hear: Callable[[Transfer], None]) -> None:
        self._hear = hear
        self._rest = b""
        self._layers: dict[str, tuple[int, int]] = {}
        self._last = Transfer("")

    def feed(self, data: bytes) -> Transfer | None:
        """Read ``data``. Raises HostError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > bounds.LINE_BYTES:
            raise bad_reply("an endless line of progress", self._rest[:200])
        for line in lines:
            if line.strip() and self._took(line):
                return self._last
        return None

    def end(self) -> Transfer:
        """The body ended. Raises HostError where nothing said ``success``."""
        if self._rest.strip() and self._took(self._rest):
            return self._last
        raise HostError(
            Code.REPLY_CUT, f"it ended before it was complete, at {self._last.step or 'its start'}"
        )

    def _took(self, line: bytes) -> bool:
        record = parse_object(line)
        if record.get("error") is not None:
            raise from_error_value(record["error"])
        digest = record.get("digest")
        if isinstance(digest, str) and (digest in self._layers or len(self._layers) < _MOST_LAYERS):
            self._layers[digest] = _number(record.get("completed")), _number(record.get("total"))
        self._last = Transfer(
            one_line(str(record.get("status") or ""))[:_LONGEST_STEP],
            sum(completed for completed, _ in self._layers.values()),
            sum(total for _, total in self._layers.values()),
        )
        self._hear(self._last)
        return self._last.step == "success"


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**62 else 0
