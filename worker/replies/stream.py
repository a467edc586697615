"""Bytes as they come from a host → what they say. Pure: no I/O, no clock.

A kind of request has a reader of its own, made of these. Only a record with ``done:true`` makes a reply
(``server/routes.go``: a stream may also end with an error line, or just end). What is kept is the text; the lines are
dropped as they are read.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, NoReturn, Protocol, TypeVar

from worker.domain.numbers import count_of
from worker.domain.replies import Reply
from worker.errors import Code, HostError
from worker.replies import bounds
from worker.replies.wording import bad_reply, from_error_value

_REPEATS = 30
"""A server gives a reply up when one piece came more than 30 times in a row, white space apart, and says nothing of it
(``llm/server.go Completion``). It counts before it sends: 31 pieces arrive, of white space at the very start 30."""
_JOIN_EVERY = 4096
_INT64 = 2**63
_INT32 = 2**31


T_co = TypeVar("T_co", covariant=True)


class Reader(Protocol[T_co]):
    """Takes the body of one response as it comes, cut anywhere."""

    @property
    def chunks(self) -> int | None:
        """Records that came; None where the response is a single one, so that they say nothing of its pace."""
        ...

    @property
    def partial(self) -> str:
        """The text so far."""
        ...

    def feed(self, data: bytes) -> T_co | None:
        """Read ``data``; the reply, once it is whole. Raises HostError."""
        ...

    def end(self) -> T_co:
        """The body ended cleanly. Raises HostError where that is short of a reply."""
        ...


class ObjectReader:
    """A body that is one JSON object of at most ``limit`` bytes, read by ``loads`` where ``json`` is too slow."""

    chunks = None
    partial = ""

    def __init__(
        self,
        *,
        limit: int | None = None,
        depth: int | None = None,
        loads: Callable[[bytes | bytearray], Any] | None = None,
    ) -> None:
        self._loads, self._depth = loads, depth
        self._limit = bounds.PROBE_BYTES if limit is None else limit
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > self._limit:
            raise HostError(Code.BAD_REPLY, f"the host sent more than {self._limit:,} bytes")

    def end(self) -> dict[str, Any]:
        """The object. Raises HostError for anything else, and for an object that names an error."""
        record = parse_object(self._data, self._depth, self._loads)
        if record.get("error") is not None:
            raise from_error_value(record["error"])
        return record


class TextReader(ABC):
    """A stream of records with pieces of text. ``feed`` returns the reply with the record that ends it."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._response = _Text()
        self._thinking = _Text()
        self._logprobs: list[str] | None = None
        """Each record's share as JSON text: parsed, it takes ten times the memory."""
        self._logprob_bytes = 0
        self._tool_calls: list[Any] = []
        self._bytes = 0
        self._piece = ""
        self._repeats = 0
        self.chunks = 0

    @property
    def partial(self) -> str:
        """The text so far; reasoning that came apart stands before it between ``<think>`` tags."""
        response, thinking = well_formed(self._response.text()), well_formed(self._thinking.text())
        if not thinking:
            return response
        return f"<think>{thinking}</think>{response}" if response else f"<think>{thinking}"

    def feed(self, data: bytes) -> Reply | None:
        """Read ``data``. Raises HostError for an error line, for what is no reply, and for too much of it."""
        end = data.rfind(b"\n")
        if end < 0:
            self._rest += data
            self._check_line(len(self._rest))
            return None
        head = data[:end]
        if self._rest:
            head = bytes(self._rest) + head
        self._rest = bytearray(data[end + 1 :])
        for line in head.split(b"\n"):
            self._check_line(len(line))
            if line and not line.isspace() and (reply := self._record(line)) is not None:
                return reply
        return None

    def end(self) -> Reply:
        """The body ended cleanly. A last line needs no line break; anything short of a reply raises HostError."""
        rest = bytes(self._rest).strip()
        self._rest = bytearray()
        if rest:
            try:
                parse_object(rest)
            except HostError:
                if self.chunks or rest.startswith(b"{"):
                    self._cut()
                raise
            if (reply := self._record(rest)) is not None:
                return reply
        self._cut()
        return None

    def _cut(self) -> NoReturn:
        if self._repeats >= _REPEATS:
            raise HostError(
                Code.REPEATED_OUTPUT, f"the model said {self._piece[:80]!r} until the host stopped it"
            )
        raise HostError(
            Code.REPLY_CUT, f"the reply ended without done:true, after {count_of(self.chunks, 'chunk')}"
        )

    def _record(self, line: bytes) -> Reply | None:
        record = parse_object(line)
        error = record.get("error")
        if error is not None:
            raise from_error_value(error)
        response, thinking = ("" if piece is None else piece for piece in self._pieces(record, line))
        done = record.get("done")
        if type(response) is not str or type(thinking) is not str or type(done) is not bool:
            raise bad_reply("a record without text or done", line)
        self.chunks += 1
        self._count(response or thinking, len(response) + len(thinking))
        if response:
            self._response.add(response)
        if thinking:
            self._thinking.add(thinking)
        if record.get("logprobs") is not None:
            self._keep_logprobs(record["logprobs"], line)
        return self._reply(record, line) if done else None

    @abstractmethod
    def _pieces(self, record: dict[str, Any], line: bytes) -> tuple[Any, Any]:
        """The text of the answer and of the reasoning in a record, as sent. Raises HostError for what is no such record."""

    def _count(self, piece: str, length: int) -> None:
        self._bytes += length if piece.isascii() else 3 * length
        if self._bytes > bounds.REPLY_BYTES:
            raise HostError(Code.REPLY_TOO_LONG, f"the reply passed {bounds.REPLY_BYTES:,} bytes")
        piece = piece.strip()
        if piece == self._piece:
            self._repeats += 1
        else:
            self._piece, self._repeats = piece, 1

    def _keep_calls(self, calls: Any, line: bytes) -> None:
        """Calls of tools in a record."""
        if type(calls) is not list:
            raise bad_reply("tool_calls that are no list", line)
        self._count("", len(line))
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict) or type(function.get("name")) is not str:
                raise bad_reply("a call of a tool without a name", line)
            self._tool_calls.append(storable_json(call))

    def _keep_logprobs(self, entries: Any, line: bytes) -> None:
        if type(entries) is not list:
            raise bad_reply("logprobs that are no list", line)
        self._logprobs = self._logprobs or []
        if not entries:
            return
        text = json.dumps(storable_json(entries), separators=(",", ":"))
        self._logprob_bytes += len(text)
        if self._logprob_bytes > bounds.REPLY_BYTES:
            message = f"the log probabilities passed {bounds.REPLY_BYTES:,} bytes: lower top_logprobs"
            raise HostError(Code.REPLY_TOO_LONG, message)
        self._logprobs.append(text[1:-1])

    def _check_line(self, length: int) -> None:
        if length > bounds.LINE_BYTES:
            raise HostError(Code.BAD_REPLY, f"a line of more than {bounds.LINE_BYTES:,} bytes")

    def _reply(self, record: dict[str, Any], line: bytes) -> Reply:
        reason, context, model = record.get("done_reason"), record.get("context"), record.get("model")
        if (
            not (reason is None or type(reason) is str)
            or not (model is None or type(model) is str)
            or not (context is None or (type(context) is list and set(map(type, context)) <= {int}))
        ):
            raise bad_reply("a last record of wrong types", line)
        return Reply(
            model=well_formed(model or ""),
            response=well_formed(self._response.text()),
            thinking=well_formed(self._thinking.text()),
            done_reason=None if reason is None else well_formed(reason),
            context=None if context is None else tuple(context),
            total_duration=_number(record, "total_duration", _INT64, line),
            load_duration=_number(record, "load_duration", _INT64, line),
            prompt_eval_count=_number(record, "prompt_eval_count", _INT32, line),
            prompt_eval_duration=_number(record, "prompt_eval_duration", _INT64, line),
            eval_count=_number(record, "eval_count", _INT32, line),
            eval_duration=_number(record, "eval_duration", _INT64, line),
            chunks=self.chunks,
            logprobs=None if self._logprobs is None else json.loads(f"[{','.join(self._logprobs)}]"),
            tool_calls=tuple(self._tool_calls),
            created_at=_moment(record.get("created_at")),
        )


class _Text:
    """Pieces of text, joined now and then: a piece of three letters takes twenty times that while it stands alone."""

    def __init__(self) -> None:
        self._joined: list[str] = []
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _JOIN_EVERY:
            self._joined.append("".join(self._pieces))
            self._pieces.clear()

    def text(self) -> str:
        return "".join(self._joined) + "".join(self._pieces)


def _moment(value: Any) -> str | None:
    """A time as hosts write it, as times stand in SQLite; None for anything else: a text is worth more than that.

    >>> _moment("2026-11-29T18:52:43.046129497+01:00"), _moment("0001-01-01T00:00:00+14:00"), _moment("now"), _moment(7)
    ('2026-11-29T17:52:43.046129Z', None, None, None)
    """
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            return None
        moment = moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _number(record: dict[str, Any], name: str, bound: int, line: bytes) -> int:
    """A count or duration; 0 where it was left out or is null, and where it cannot be true (a text is worth more)."""
    value = record.get(name)
    if value is None:
        return 0
    if type(value) is not int:
        raise bad_reply(f"a {name} that is no whole number", line)
    return value if 0 <= value < bound else 0


def storable_json(value: Any) -> Any:
    """``value`` as every database can hold it: no NaN or infinity, no NUL, no lone surrogate."""
    match value:
        case str():
            return well_formed(value).replace("\0", "\ufffd")
        case float():
            return value if isfinite(value) else None
        case dict():
            return {storable_json(name): storable_json(item) for name, item in value.items()}
        case list():
            return [storable_json(item) for item in value]
        case _:
            return value


def parse_object(
    line: bytes | bytearray,
    depth: int | None = None,
    loads: Callable[[bytes | bytearray], Any] | None = None,
) -> dict[str, Any]:
    """The JSON object that ``line`` is. Raises HostError (BAD_REPLY) for anything else. ``depth``: of its levels, instead of
    the usual one; ``loads``: for a long line that is nearly all numbers."""
    depth = bounds.JSON_DEPTH if depth is None else depth
    if loads is None:
        crowded = line.count(b"[") + line.count(b"{") > depth or line.count(b'"') > bounds.JSON_NODES
    else:
        marks = ((b"[", depth), (b"{", depth), (b'"', bounds.JSON_NODES))
        crowded = any(_has_more(line, mark, most) for mark, most in marks)
    if crowded:
        _check_shape(line, depth)
    try:
        record = json.loads(line.decode()) if loads is None else loads(line)
    except (ValueError, RecursionError) as error:
        raise bad_reply("no JSON", line) from error
    if type(record) is not dict:
        raise bad_reply("no JSON object", line)
    return record


def _has_more(line: bytes | bytearray, mark: bytes, most: int) -> bool:
    """Whether ``mark`` is there more than ``most`` times: for a rare one a tenth of what ``count`` takes.

    >>> _has_more(b"[[1]]", b"[", 1), _has_more(b"[[1]]", b"[", 2)
    (True, False)
    """
    place = -1
    for _ in range(most + 1):
        place = line.find(mark, place + 1)
        if place < 0:
            return False
    return True


_NODE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""A string, also one that never ends (to look for its end from each of its escaped quotes would take for ever), or a
bracket."""


def _check_shape(line: bytes | bytearray, most: int) -> None:
    """Before it is parsed: three bytes of empty lists become sixty, and levels become a stack."""
    depth = 0
    for nodes, node in enumerate(_NODE.finditer(line), start=1):
        match node[0]:
            case b"[" | b"{":
                depth += 1
                if depth > most:
                    raise HostError(Code.BAD_REPLY, f"JSON nested more than {most} levels deep")
            case b"]" | b"}":
                depth -= 1
        if nodes > bounds.JSON_NODES:
            raise HostError(Code.BAD_REPLY, f"JSON of more than {bounds.JSON_NODES:,} texts and brackets")


def well_formed(text: str) -> str:
    """``text`` as it can be stored and sent: a surrogate pair that came in two pieces is one sign, a lone one U+FFFD.

    >>> well_formed("\\ud83d\\ude00 \\ud800") == "\\U0001f600 \\ufffd"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
