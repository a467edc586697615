"""What must be equal for two jobs to follow each other on a host without a reload."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from worker.records import record

RUNNER_OPTIONS = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)
"""Load-time options (``server/sched.go needsReload``); every other option never reloads."""


def normalise_model(name: str) -> str:
    """A model's name with its tag, as a host lists it; names match whatever their case (``types/model/name.go``).

    >>> normalise_model(" Qwen3 ")
    'qwen3:latest'
    >>> normalise_model("registry.ollama.ai/library/qwen3:8B")
    'qwen3:8b'
    """
    name = name.strip().lower()
    for prefix in ("registry.ollama.ai/library/", "registry.ollama.ai/", "library/"):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            break
    tail = name.rsplit("/", 1)[-1]
    return name if ":" in tail else f"{name}:latest"


@record
class RunnerKey:
    """A model and the load-time options that a host must have loaded to serve a job at once.

    Two jobs with equal keys follow each other for free; a different key costs a load, seconds to minutes.
    ``shift`` is part of it: servers from 0.30 on reload when it changes.
    """

    model: str
    options: tuple[tuple[str, int | bool], ...] = ()
    shift: bool = False
    at_least: bool = False
    """``num_ctx`` is what the job needs: a larger window serves it too. False where the producer named it."""

    @property
    def text(self) -> str:
        """The key as it stands in the database.

        >>> RunnerKey("qwen3:8b", (("num_ctx", 8192),)).text
        'qwen3:8b num_ctx=8192'
        """
        parts = [self.model]
        parts += [
            f"{name}{'>=' if self.at_least and name == 'num_ctx' else '='}"
            f"{str(value).lower() if isinstance(value, bool) else value}"
            for name, value in self.options
        ]
        if self.shift:
            parts.append("shift=true")
        return " ".join(parts)

    @classmethod
    def parse(cls, text: str) -> "RunnerKey":
        """The key that ``text`` was made from.

        >>> RunnerKey.parse("qwen3:8b use_mmap=true num_ctx>=8192").options
        (('use_mmap', True), ('num_ctx', 8192))
        """
        model, *parts = text.split(" ")
        options: list[tuple[str, int | bool]] = []
        shift = at_least = False
        for part in parts:
            name, _, value = part.partition("=")
            if name.endswith(">"):
                at_least, name = True, name.removesuffix(">")
            if name == "shift":
                shift = value == "true"
            else:
                options.append((name, value == "true" if value in ("true", "false") else int(value)))
        return cls(model, tuple(options), shift, at_least)


def covers(resident: RunnerKey, required: RunnerKey) -> bool:
    """Whether a job of ``required`` can be asked of ``resident`` without a reload.

    >>> loaded = RunnerKey("m:1", (("num_ctx", 8192),))
    >>> covers(loaded, RunnerKey.parse("m:1 num_ctx>=4096")), covers(loaded, RunnerKey.parse("m:1 num_ctx=4096"))
    (True, False)
    """
    if not required.at_least:
        return resident == required
    if resident.at_least or (resident.model, resident.shift) != (required.model, required.shift):
        return False
    there, required_options = dict(resident.options), dict(required.options)
    window, needed = there.pop("num_ctx", 0), required_options.pop("num_ctx", 0)
    return there == required_options and window >= needed


def concrete(key: RunnerKey) -> RunnerKey:
    """What is loaded for ``key``: the window it needs, exactly.

    >>> concrete(RunnerKey.parse("m:1 num_ctx>=4096")).text
    'm:1 num_ctx=4096'
    """
    return replace(key, at_least=False)


def runner_key(model: str, request: Mapping[str, Any], *, window: int | None = None) -> RunnerKey:
    """The runner key of a job that asks ``model`` with these generate fields; one that names no ``num_ctx`` needs a
    ``window`` of at least that many tokens, where given.

    >>> runner_key("qwen3", {"options": {"temperature": 0, "num_ctx": 4096}}).text
    'qwen3:latest num_ctx=4096'
    >>> runner_key("qwen3", {}, window=8192).text
    'qwen3:latest num_ctx>=8192'
    """
    options = request.get("options")
    chosen: tuple[tuple[str, int | bool], ...] = ()
    if options:
        chosen = tuple(
            (name, options[name] if isinstance(options[name], bool) else int(options[name]))
            for name in RUNNER_OPTIONS
            if options.get(name) is not None
        )
    at_least = window is not None and not any(name == "num_ctx" for name, _ in chosen)
    if at_least and window is not None:
        chosen = (("num_ctx", window), *chosen)
    return RunnerKey(normalise_model(model), chosen, shift=request.get("shift") is True, at_least=at_least)


def without_window(text: str) -> str:
    """A queued key as somebody who names no window would have asked it.

    >>> without_window("m:1 num_ctx>=4096 num_gpu=2"), without_window("m:1 num_ctx=4096")
    ('m:1 num_gpu=2', 'm:1 num_ctx=4096')
    """
    return " ".join(part for part in text.split(" ") if not part.startswith("num_ctx>="))


def serves(resident: str | None, queued: str) -> bool:
    """Whether a job queued under ``queued`` can be asked of the runner ``resident``, both as they stand in the database.

    >>> serves("m:1 num_ctx=8192", "m:1 num_ctx>=4096"), serves(None, "m:1")
    (True, False)
    """
    return resident is not None and covers(RunnerKey.parse(resident), RunnerKey.parse(queued))
