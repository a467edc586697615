"""Every error Caravan raises on purpose, and what each failure code means.

::

    CaravanError
    ├── InputRefused          the producer's input cannot be taken; carries one problem per line
    ├── SettingsRefused       a setting is unknown or out of range
    ├── ExtraMissing          an optional package is not installed; the message has the command that installs it
    ├── NotFound              no batch, job or host of that name
    ├── Conflict              the thing exists already, or is in another state
    ├── UnreadableRow         a stored row cannot be read by this version, or on this machine; it is passed over
    ├── PassIncomplete        a periodic service did its work, but for the items that it names
    ├── DatabaseFailure       the database did not do what it was asked
    │   ├── DatabaseUnavailable  it is away or full: wait, it may come back
    │   │   ├── DatabaseContended  another transaction was in the way: the same one, begun again, may succeed
    │   │   └── SchemaOutdated     the database has not been upgraded to this version
    │   └── DatabaseRefused   it refused the statement, or the statement took too long: waiting does not help
    ├── AlreadyRunning        another process holds this CARAVAN_HOME
    ├── NoHost                no host can serve what is asked
    ├── HostLost              another worker serves the host by now: nothing may be written for it
    ├── DocumentRefused       a document has no text that could be asked about; its code says why
    └── HostError             one request to a host gave no result; its code says whose fault that was

Nothing else escapes a service. A message says where and what; the class or the code says what to do.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from worker.records import record


class CaravanError(Exception):
    """Root of everything raised on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one line of input: ``line`` counts from 1 (0: the whole file), ``field`` may be empty."""

    line: int
    field: str
    code: str
    message: str

    @property
    def mistake(self) -> "Mistake":
        """What is wrong, wherever it is."""
        return self.field, self.code, self.message

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        return f"{place}{self.message}"


MOST_ALIKE = 5
"""Lines of which one and the same mistake is kept; of the others only how many they are."""
Mistake = tuple[str, str, str]
"""Field, code and message of a problem, wherever it stands."""


class InputRefused(CaravanError):
    """The producer's input cannot be taken; ``problems`` says where and what was expected.

    ``more_problems`` counts the problems that are not among them, ``alike`` those of them that are like some of them.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        *,
        more_problems: int = 0,
        alike: Mapping[Mistake, int] | None = None,
    ) -> None:
        self.problems = tuple(problems)
        self.more_problems = more_problems
        self.alike = dict(alike or {})
        super().__init__("; ".join(str(problem) for problem in self.problems[:5]))


class SettingsRefused(CaravanError):
    """A setting is unknown, out of range or of the wrong type."""


class ExtraMissing(CaravanError, ImportError):
    """An optional package is not installed. ``extra`` names the extra of the distribution that brings it."""

    def __init__(self, extra: str, message: str) -> None:
        self.extra = extra
        super().__init__(message)


class NotFound(CaravanError):
    """No batch, job or host of that name."""


class Conflict(CaravanError):
    """The thing exists already, or is in a state that does not allow what was asked."""


class UnreadableRow(CaravanError):
    """A stored row cannot be read: by a newer version, or of something that this machine does not know."""

    def __init__(self, table: str, key: str, reason: str) -> None:
        self.table, self.key, self.reason = table, key, reason
        super().__init__(f"{table} {key}: {reason}")


class PassIncomplete(CaravanError):
    """A periodic service did its work, but for some items; ``failures`` are their names with the errors."""

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
        super().__init__("; ".join(failures[:3]) + more)


class DatabaseFailure(CaravanError):
    """The database did not do what it was asked: ``reason`` names the database and says why, ``advice`` what to do."""

    def __init__(self, reason: str, advice: str = "") -> None:
        self.reason, self.advice = reason, advice
        super().__init__(f"{reason}; {advice}" if advice else reason)


class DatabaseUnavailable(DatabaseFailure):
    """The database is away or full. Waiting helps: work goes on by itself when it is back."""


class DatabaseContended(DatabaseUnavailable):
    """Another transaction was in the way (deadlock, lock timeout, serialization, a busy SQLite file).

    ``Database.transact`` begins such a transaction again by itself; whoever still gets this error tries later.
    """


class DatabaseRefused(DatabaseFailure):
    """The database refused a statement or cancelled it because it took too long. Waiting does not help by itself.

    The message names the function that sent the statement: a defect of Caravan, of rights or of the server's settings.
    """


class SchemaOutdated(DatabaseUnavailable):
    """The database has not been upgraded to this version (``caravan db upgrade``)."""


class AlreadyRunning(CaravanError):
    """Another process holds this CARAVAN_HOME: ``command`` of caravan, where it told."""

    def __init__(self, message: str, *, command: str = "") -> None:
        super().__init__(message)
        self.command = command


class NoHost(CaravanError):
    """No host can serve what is asked."""


DocumentCode = Literal[
    "template_error",
    "unreadable",
    "unknown_format",
    "encrypted",
    "no_text",
    "empty",
    "too_large",
    "outside_root",
]


class HostLost(CaravanError):
    """Another worker serves the host by now: what this one knows of it is old, and nothing of that may be written."""


class DocumentRefused(CaravanError):
    """A document cannot be read, or holds no text, so that no model is asked to invent its content.

    ``pages`` are those it concerns, from 1; empty where it is the whole document.
    """

    def __init__(self, path: str, code: DocumentCode, message: str, *, pages: Sequence[int] = ()) -> None:
        self.path, self.code, self.message = path, code, message
        self.pages = tuple(pages)
        super().__init__(f"{path}: {message}")


class Code(StrEnum):
    """Why an attempt, or a job, ended without an answer. ``CODES`` says what each means."""

    HOST_UNREACHABLE = "host_unreachable"
    HOST_BUSY = "host_busy"
    HOST_ERROR = "host_error"
    LOAD_FAILED = "load_failed"
    OUT_OF_MEMORY = "out_of_memory"
    RUNNER_DIED = "runner_died"
    REPLY_CUT = "reply_cut"
    BAD_REPLY = "bad_reply"
    NO_FIRST_BYTE = "no_first_byte"
    REPLY_STALLED = "reply_stalled"
    MODEL_MISSING = "model_missing"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED = "unsupported"
    CONTEXT_OVERFLOW = "context_overflow"
    CONTEXT_MISMATCH = "context_mismatch"
    PARENT_FAILED = "parent_failed"
    REPEATED_OUTPUT = "repeated_output"
    REPLY_TOO_LONG = "reply_too_long"
    TOO_SLOW = "too_slow"
    BELOW_FLOOR = "below_floor"
    CUT = "cut"
    EMPTY_ANSWER = "empty_answer"
    INVALID_OUTPUT = "invalid_output"
    INVALID_TOOL_CALL = "invalid_tool_call"
    WORKER_LOST = "worker_lost"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    OUTSIDE_LIMIT = "outside_limit"
    INTERNAL = "internal"


Fault = Literal["job", "host", "runner", "caravan", "producer"]


@record
class CodeFacts:
    """One row of the table in ``docs/reference/errors.md``.

    ``fault`` says who pays: ``job`` counts against ``max_attempts``; ``host`` makes the host step back; ``runner``
    makes this runner key on this host step back; neither of the latter two charges the job.
    """

    meaning: str
    fault: Fault
    retried: bool
    advice: str


CODES: Mapping[Code, CodeFacts] = {
    Code.HOST_UNREACHABLE: CodeFacts(
        "the host refused or dropped the connection", "host", True, "check that Ollama runs there"
    ),
    Code.HOST_BUSY: CodeFacts(
        "the host's queue is full (503)", "host", True, "raise OLLAMA_MAX_QUEUE or keep others off it"
    ),
    Code.HOST_ERROR: CodeFacts("the host failed inside (5xx)", "job", True, "read the host's log"),
    Code.LOAD_FAILED: CodeFacts(
        "the model could not be loaded there", "runner", True, "read the host's log; try a smaller num_ctx"
    ),
    Code.OUT_OF_MEMORY: CodeFacts(
        "the model does not fit the host's memory",
        "runner",
        True,
        "use a smaller model or num_ctx, or a larger host",
    ),
    Code.RUNNER_DIED: CodeFacts("the runner died while it generated", "host", True, "read the host's log"),
    Code.REPLY_CUT: CodeFacts(
        "the reply ended without done:true", "host", True, "check the host and the network between"
    ),
    Code.BAD_REPLY: CodeFacts(
        "the reply was not what an Ollama server sends",
        "host",
        True,
        "check that the URL is an Ollama server",
    ),
    Code.NO_FIRST_BYTE: CodeFacts(
        "nothing came in time", "host", True, "look at the host's load; raise CARAVAN_FIRST_BYTE_SECONDS"
    ),
    Code.REPLY_STALLED: CodeFacts(
        "the host fell silent while it generated", "host", True, "the GPU may hang: restart the host's Ollama"
    ),
    Code.MODEL_MISSING: CodeFacts(
        "the host does not have the model", "runner", True, "caravan models pull it"
    ),
    Code.INVALID_REQUEST: CodeFacts(
        "the host refused the request", "job", False, "correct the job; the message names the field"
    ),
    Code.UNSUPPORTED: CodeFacts(
        "the model cannot do what was asked",
        "job",
        False,
        "drop think, suffix, images or tools, or use another model",
    ),
    Code.CONTEXT_OVERFLOW: CodeFacts(
        "the prompt does not fit the context window",
        "job",
        False,
        "raise num_ctx as far as the model takes it; beyond that shorten the prompt, or ask a model with a larger window",
    ),
    Code.CONTEXT_MISMATCH: CodeFacts(
        "the context tokens belong to other weights",
        "job",
        False,
        "send a context only to the model it came from",
    ),
    Code.PARENT_FAILED: CodeFacts(
        "the job that it follows has no answer, or no context to go on from",
        "job",
        False,
        "see why that one failed; caravan retry takes both",
    ),
    Code.REPEATED_OUTPUT: CodeFacts(
        "the model repeated one piece until the host stopped it",
        "job",
        True,
        "raise repeat_penalty or temperature",
    ),
    Code.REPLY_TOO_LONG: CodeFacts("the reply passed the size limit", "job", False, "lower num_predict"),
    Code.TOO_SLOW: CodeFacts(
        "the reply passed its deadline",
        "job",
        True,
        "lower num_predict or raise CARAVAN_REPLY_SECONDS",
    ),
    Code.BELOW_FLOOR: CodeFacts(
        "the host generated fewer tokens a second than CARAVAN_FLOOR_TOKENS_PER_SECOND",
        "host",
        True,
        "look at the host's GPU; lower the floor for a model that is slow by nature",
    ),
    Code.CUT: CodeFacts(
        "the answer was cut and --fail-on-cut was set", "job", False, "raise num_predict or num_ctx"
    ),
    Code.EMPTY_ANSWER: CodeFacts(
        "the model ended and answered nothing, or only reasoned",
        "job",
        True,
        "read the reasoning; ask in other words, try think false, or accept such answers with --allow-empty",
    ),
    Code.INVALID_OUTPUT: CodeFacts(
        "the answer is not the JSON that was asked for, and repairs did not help",
        "job",
        False,
        "read the answer; ask for JSON in the prompt, simplify the schema, raise num_predict",
    ),
    Code.INVALID_TOOL_CALL: CodeFacts(
        "the model called a tool in a way that cannot be used: unknown, cut, or with arguments that do not fit",
        "job",
        False,
        "read the message; describe the tools more plainly, raise num_predict, or force one by tool_choice",
    ),
    Code.WORKER_LOST: CodeFacts(
        "the worker died or lost its lease while the job ran", "caravan", True, "none; the job is tried again"
    ),
    Code.CANCELLED: CodeFacts("cancelled by its producer", "producer", False, "none"),
    Code.EXPIRED: CodeFacts(
        "its deadline passed", "producer", False, "submit earlier or set a later deadline"
    ),
    Code.OUTSIDE_LIMIT: CodeFacts(
        "the job lies outside of --limit or --sample",
        "producer",
        False,
        "give the same command without --limit and --sample",
    ),
    Code.INTERNAL: CodeFacts("a defect in Caravan", "caravan", True, "report it with the log"),
}


class HostError(CaravanError):
    """One request to a host gave no result. ``code`` says why, ``partial`` is text that had already come."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        status: int | None = None,
        partial: str = "",
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        self.code, self.message = code, message
        self.status, self.partial = status, partial
        self.numbers = dict(numbers or {})
        super().__init__(message)


def in_words(error: BaseException) -> str:
    """What happened, in one line for people: a message never has the names of Python's classes in it.

    >>> in_words(ValueError("row 7"))
    'row 7'
    >>> in_words(KeyError("options"))
    "key error: 'options'"
    >>> in_words(TimeoutError())
    'timeout error'
    >>> in_words(FileNotFoundError(2, "No such file or directory", "a.csv"))
    'a.csv: No such file or directory'
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split())
    if text and not isinstance(error, KeyError):
        return text
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", type(error).__name__).lower()
    return f"{kind}: {text}" if text else kind
