"""What a host is, what it has, and what it has loaded."""

import re
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.errors import SettingsRefused
from worker.records import record

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_OURS = frozenset({"accept-encoding", "connection", "content-length", "content-type", "transfer-encoding"})
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(i)?b?|b)?", re.IGNORECASE)


@record
class Access:
    """What a host, or the proxy before it, wants to see first. No value is here, only where it stands.

    A reference is ``env:NAME`` or ``file:PATH``; it is looked up where the host is served, each time a session opens.
    ``basic_auth`` refers to ``USER:PASSWORD``. ``ca_file`` (PEM) replaces the authorities that are trusted.
    Raises SettingsRefused; the message never shows what stands where a reference should, which may be the secret.
    """

    basic_auth: str | None = None
    bearer: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    """Name and reference."""
    ca_file: str | None = None

    def __post_init__(self) -> None:
        if self.basic_auth is not None and self.bearer is not None:
            raise SettingsRefused("basic auth and a bearer token are both the Authorization header: give one")
        taken = {"authorization"} if self.basic_auth is not None or self.bearer is not None else set()
        for name, _ in self.headers:
            if not _HEADER.fullmatch(name):
                raise SettingsRefused(
                    "a header is NAME=env:VARIABLE or NAME=file:PATH; the name is not a valid header name"
                )
            if name.lower() in _OURS | taken:
                raise SettingsRefused(f"the header {name} is set already, and only once")
            taken.add(name.lower())
        for reference in (self.basic_auth, self.bearer, *(reference for _, reference in self.headers)):
            if reference is not None:
                _check_reference(reference)

    @property
    def stored(self) -> dict[str, Any] | None:
        """As it stands in the database; None for nothing.

        >>> Access(bearer="env:GPU_TOKEN").stored
        {'bearer': 'env:GPU_TOKEN'}
        """
        values: dict[str, Any] = {}
        for name in ("basic_auth", "bearer", "ca_file"):
            if (value := getattr(self, name)) is not None:
                values[name] = value
        if self.headers:
            values["headers"] = [list(header) for header in self.headers]
        return values or None

    @classmethod
    def parse(cls, stored: Mapping[str, Any] | None) -> "Access":
        """What ``stored`` gave.

        >>> Access.parse({"headers": [["X-Key", "file:/run/key"]]})
        Access(basic_auth=None, bearer=None, headers=(('X-Key', 'file:/run/key'),), ca_file=None)
        """
        if not stored:
            return cls()
        return cls(
            stored.get("basic_auth"),
            stored.get("bearer"),
            tuple((name, reference) for name, reference in stored.get("headers", ())),
            stored.get("ca_file"),
        )


def _check_reference(text: str) -> None:
    kind, _, place = text.partition(":")
    if kind not in ("env", "file") or not place or not place.isprintable() or len(place) > 1000:
        raise SettingsRefused(
            "give a reference to the secret instead of the secret itself: env:NAME (a variable) or file:PATH (a file's content)"
        )


def memory_bytes(text: str) -> int:
    """A size as people write it, in bytes. Raises SettingsRefused.

    >>> memory_bytes("24GB"), memory_bytes("24 GiB"), memory_bytes("1.5t")
    (24000000000, 25769803776, 1500000000000)
    """
    match = _SIZE.fullmatch(text.strip())
    size = 0
    if match is not None:
        number, unit, binary = match.groups()
        size = int(
            float(number) * (1024 if binary else 1000) ** ("kmgt".index(unit.lower()) + 1 if unit else 0)
        )
    if not 0 < size < 2**63:
        raise SettingsRefused(
            f"--memory: {text[:40]!r} is not a valid size; expected one such as 24GB or 24GiB"
        )
    return size


@record
class Host:
    """One Ollama server. ``slots`` is how many requests it serves at a time for a loaded model."""

    name: str
    url: str
    slots: int = 1
    access: Access = Access()
    models_at_once: int = 1
    """How many models it holds side by side (its OLLAMA_MAX_LOADED_MODELS)."""
    memory: int | None = None
    """Bytes for models, where the operator has set them."""
    shared: bool = False
    """Other people use it too: they get their turn, and what they have loaded is not pushed out."""
    auto_slots: bool = False
    """The operator has not set ``slots``: the worker measures how many there are."""
    draining: bool = field(default=False, compare=False)
    """It finishes what it runs and takes nothing new. The host is the same one, draining or not."""


@record
class HostModel:
    """A model that a host has on disk, as ``/api/tags`` and ``/api/show`` tell."""

    name: str
    digest: str
    thinking: bool
    trained_context: int | None
    size: int = 0
    vocabulary: int | None = None
    """Token ids are below this, where the host tells (``/api/show``)."""
    weights: str | None = None
    """What it shares with its other names: the files and the load-time parameters, where the host tells. Names with
    equal weights share a runner (``server/sched.go``: runners are known by the model's path)."""
    quantization: str | None = None
    parameters: str | None = None
    """How many it has, as the host writes it: ``8.2B``."""
    capabilities: tuple[str, ...] | None = None
    """What it can do, where the host tells."""

    @property
    def only_embeds(self) -> bool:
        """It makes vectors, and says nothing."""
        return self.capabilities is not None and "completion" not in self.capabilities


@record
class LoadedModel:
    """A line of ``/api/ps``: a model that is loaded, with the window it really has."""

    name: str
    digest: str
    context_length: int | None
    size: int
    size_vram: int
    expires_at: datetime | None = None
    """When the host unloads it, unless it is used before; far away where it stays for ever."""


class Health(StrEnum):
    """The state of a host, the gravest first."""

    DRAINING = "draining"
    """An operator wants nothing new started there."""
    CLOSED = "closed"
    """It is outside of its window."""
    QUARANTINED = "quarantined"
    """It answers, and does not generate: left alone for a while, then tried with one job at a time."""
    UNREACHABLE = "unreachable"
    """The last look at it failed."""
    SLOW = "slow"
    """It generates much more slowly than it did; its pace is what the planner counts with."""
    READY = "ready"


@record
class Run:
    """What a host did between two loads."""

    id: int
    host: str
    runner_key: str
    reason: str
    started_at: datetime
    load_time: timedelta | None
    ended_at: datetime | None
    jobs: int
    error: str | None
