"""What is a host, what does it have, what has it loaded? Answers of the small endpoints → domain values."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from worker.domain.hosts import HostModel, LoadedModel
from worker.domain.runners import RUNNER_OPTIONS, normalise_model
from worker.errors import Code, HostError
from worker.kinds.registry import KINDS, kind_of
from worker.ollama.limits import MOST_MODELS
from worker.records import record
from worker.replies.wording import bad_reply, one_line

Ask = Callable[[str, Mapping[str, object] | None], dict[str, Any]]
"""A path, and what to send to it (None: a GET) → the JSON object that came back."""


@record
class ModelDetails:
    """What a host says a model can do. One that says nothing may be able to generate."""

    thinking: bool = False
    trained_context: int | None = None
    vocabulary: int | None = None
    generates: bool = True
    weights: str | None = None
    """See ``HostModel.weights``."""
    capabilities: tuple[str, ...] | None = None


_LONGEST_NAME = 600
"""Characters: host, namespace, model and tag are bounded by a server too (``types/model/name.go``)."""
_AT_ONCE = 4
"""Models that a host is asked about together: an older server reads a file of megabytes for each."""
_OF_THE_HOST, _AWAY = (401, 407), (Code.HOST_BUSY, Code.HOST_UNREACHABLE)
"""What says nothing of a model, but of the host, or of a proxy before it."""
_LOAD_TIME = frozenset(RUNNER_OPTIONS) - {"num_ctx"}


def read_version(ask: Ask) -> str:
    version = ask("/api/version", None).get("version")
    if type(version) is not str:
        raise bad_reply("an invalid version")
    return one_line(version)[:50]


def read_loaded(ask: Ask) -> list[LoadedModel]:
    """A runner that died stays listed until the next request for it (``server/sched.go needsReload``)."""
    return [
        LoadedModel(
            name=normalise_model(_text(entry, "name", "model")),
            digest=_digest(entry),
            context_length=_positive(entry.get("context_length")),
            size=_positive(entry.get("size")) or 0,
            size_vram=_positive(entry.get("size_vram")) or 0,
            expires_at=_moment(entry.get("expires_at")),
        )
        for entry in _models(ask("/api/ps", None))
    ]


def read_models(ask: Ask, cache: dict[str, ModelDetails]) -> list[HostModel]:
    """What the host can work with by itself.

    Left out are models that it would pass on to a cloud (prompts would leave the house), models that say they
    can do nothing of what the kinds of requests need, and what is no model's name. Raises HostError too for more than
    ``MOST_MODELS``. ``cache`` keeps by digest what ``/api/show`` said; servers from 0.30 on say it in ``/api/tags``.
    """
    entries = [
        entry
        for entry in _models(ask("/api/tags", None))
        if not _is_remote(entry) and _is_name(_text(entry, "name", "model"))
    ]
    if len(entries) > MOST_MODELS:
        raise bad_reply(f"{len(entries):,} models, more than {MOST_MODELS:,}")
    models = []
    shown = _show_all(ask, entries, cache)
    for entry in entries:
        name, digest = _text(entry, "name", "model"), _digest(entry)
        details = cache.get(digest) or shown.get(name) or _details_of(entry) or ModelDetails()
        if details.generates:
            size = _positive(entry.get("size")) or 0
            models.append(
                HostModel(
                    normalise_model(name),
                    digest,
                    details.thinking,
                    details.trained_context,
                    size,
                    details.vocabulary,
                    details.weights,
                    _detail(entry, "quantization_level"),
                    _detail(entry, "parameter_size"),
                    details.capabilities,
                )
            )
    for digest in set(cache) - {_digest(entry) for entry in entries}:
        cache.pop(digest, None)
    return models


def _show_all(
    ask: Ask, entries: Sequence[Mapping[str, Any]], cache: dict[str, ModelDetails]
) -> dict[str, ModelDetails | None]:
    """What ``/api/show`` says of the models that are to be asked about, by name, some at a time; kept by digest too."""
    alike = Counter(_kind(entry) for entry in entries)
    unknown: dict[str, str] = {}  # a digest, or the name where there is none → a name
    for entry in entries:
        digest = _digest(entry)
        # asked too where another model could be the same one under another name
        if digest not in cache and (_details_of(entry) is None or alike[_kind(entry)] > 1):
            name = _text(entry, "name", "model")
            unknown.setdefault(digest or f"name {name}", name)
    with ThreadPoolExecutor(min(_AT_ONCE, len(unknown)) or 1) as threads:
        shown = dict(zip(unknown, threads.map(lambda name: _show(ask, name), unknown.values()), strict=True))
    cache.update({key: details for key, details in shown.items() if details and not key.startswith("name ")})
    return {unknown[key]: details for key, details in shown.items()}


def _details_of(entry: Mapping[str, Any]) -> ModelDetails | None:
    capabilities, details = entry.get("capabilities"), entry.get("details")
    trained = _positive(details.get("context_length")) if isinstance(details, dict) else None
    if not isinstance(capabilities, list) or not capabilities or trained is None:
        return None
    return ModelDetails(
        "thinking" in capabilities, trained, None, _can_work(capabilities), None, _words(capabilities)
    )


def _can_work(capabilities: list[Any]) -> bool:
    """Whether there is a kind of request that a model with these capabilities can be asked."""
    return any(kind_of(name).capability in capabilities for name in KINDS)


def _show(ask: Ask, name: str) -> ModelDetails | None:
    """What ``/api/show`` says; None where it is refused for this model alone: deleted meanwhile, damaged, or of a kind that the
    server is too old for; or where a proxy lets nobody ask."""
    try:
        answer = ask("/api/show", {"model": name})
    except HostError as error:
        if error.status is None or error.status in _OF_THE_HOST or error.code in _AWAY:
            raise
        return None
    capabilities, info = answer.get("capabilities"), answer.get("model_info")
    trained = vocabulary = None
    if isinstance(info, dict):
        architecture = info.get("general.architecture")
        trained = _positive(info.get(f"{architecture}.context_length"))
        vocabulary = _positive(info.get(f"{architecture}.vocab_size"))
    weights = _weights(answer.get("modelfile"))
    if not isinstance(capabilities, list) or not capabilities:
        return ModelDetails(False, trained, vocabulary, weights=weights)  # a server older than capabilities
    can_work = _can_work(capabilities)
    return ModelDetails(
        "thinking" in capabilities, trained, vocabulary, can_work, weights, _words(capabilities)
    )


def _words(values: list[Any]) -> tuple[str, ...]:
    """Short texts of a list, as a terminal may show them; nothing else of it."""
    return tuple(one_line(value)[:50] for value in values[:20] if type(value) is str)


def _detail(entry: Mapping[str, Any], name: str) -> str | None:
    details = entry.get("details")
    value = details.get(name) if isinstance(details, dict) else None
    return one_line(value)[:50] if type(value) is str and value else None


def _kind(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """What two names of one model have in common in a listing."""
    details = entry.get("details")
    fields = details if isinstance(details, dict) else {}
    return tuple(
        str(fields.get(field)) for field in ("format", "family", "parameter_size", "quantization_level")
    )


def _weights(modelfile: object) -> str | None:
    r"""A hash of what decides whether two names share a runner: files, adapters, load-time parameters.

    The window is not part of it: a job always names its own.

    >>> _weights("FROM /blobs/sha256-a\nPARAMETER top_k 3") == _weights("# x\nFROM /blobs/sha256-a")
    True
    """
    if not isinstance(modelfile, str):
        return None
    lines = [line.split() for line in modelfile.splitlines()]
    digests = sorted(
        " ".join(words)
        for words in lines
        if len(words) > 1
        and (
            words[0].upper() in ("FROM", "ADAPTER", "DRAFT")
            or (words[0].upper() == "PARAMETER" and words[1].lower() in _LOAD_TIME)
        )
    )
    if not any(digest.upper().startswith("FROM ") for digest in digests):
        return None
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]


def _models(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    models = answer.get("models")
    if models is None:
        models = []
    if not isinstance(models, list) or not all(isinstance(entry, dict) for entry in models):
        raise bad_reply("an invalid list of models")
    return models


def _is_name(text: str) -> bool:
    """Whether a job could name it, and a terminal show it."""
    return len(text) <= _LONGEST_NAME and text.isprintable()


def _is_remote(entry: Mapping[str, Any]) -> bool:
    name = _text(entry, "name", "model").lower()
    return bool(entry.get("remote_model") or entry.get("remote_host")) or name.endswith((":cloud", "-cloud"))


def _text(entry: Mapping[str, Any], *names: str, default: str | None = None) -> str:
    for name in names:
        value = entry.get(name)
        if type(value) is str and value:
            return value
    if default is None:
        raise bad_reply("a model without a name")
    return default


def _digest(entry: Mapping[str, Any]) -> str:
    """Its digits alone, as some servers write the algorithm before them; empty for what no terminal may show."""
    digest = _text(entry, "digest", default="").removeprefix("sha256:")
    return digest if _is_name(digest) else ""


def _moment(value: object) -> datetime | None:
    """A time as Go writes it (RFC 3339, up to nanoseconds); None for anything else.

    >>> _moment("2026-11-23T05:40:00.123456789+02:00")
    datetime.datetime(2026, 11, 23, 3, 40, 0, 123456, tzinfo=datetime.timezone.utc)
    >>> _moment("0001-01-01T00:00:00Z"), _moment(None)
    (None, None)
    """
    if type(value) is not str:
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None and at.year > 1 else None
    except (ValueError, OverflowError):
        return None


def _positive(value: object) -> int | None:
    return value if type(value) is int and 0 < value < 2**63 else None
