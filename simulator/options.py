"""Which options a request ends up with, and which of them decide how a model is loaded.

Source: ``api/types.go Options.FromMap``; precedence: server defaults < Modelfile PARAMETER < request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from simulator.settings import Line

MIN_NUM_CTX: Final = 4
"""``server/sched.go GetRunner`` floors num_ctx to this."""


class BadOption(ValueError):
    """An option of the wrong type: Ollama answers 500 with this text."""


@dataclass(frozen=True, slots=True)
class RunnerOptions:
    """The load-time options. ``num_ctx_auto``: nobody asked for a window, the server chose."""

    num_ctx: int
    num_batch: int = 512
    num_gpu: int = -1
    main_gpu: int | None = 0
    use_mmap: bool | None = None
    num_thread: int = 0
    draft_num_predict: int = 0
    num_ctx_auto: bool = False
    num_batch_auto: bool = True


@dataclass(frozen=True, slots=True)
class Sampling:
    """The options of one request that the simulation honours; the rest is read, checked and has no effect."""

    num_predict: int = -1
    num_keep: int = 4
    seed: int = -1
    temperature: float = 0.8
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Options:
    """What a request was resolved to."""

    runner: RunnerOptions
    sampling: Sampling
    explicit: frozenset[str] = field(default_factory=frozenset)


_INTEGERS = frozenset(
    [
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    ]
)
_FLOATS = frozenset(
    ["top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"]
)
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


def checked(options: Mapping[str, Any], line: Line) -> dict[str, Any]:
    """Keep the options a server knows, with Go's conversions; unknown keys and nulls are dropped.

    >>> checked({"num_predict": 3.9, "temprature": 1, "seed": None}, "O")
    {'num_predict': 3}

    Raises:
        BadOption: a known option has the wrong type.
    """
    kept: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        if name in _INTEGERS or (name == "draft_num_predict" and line == "H"):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadOption(f'option "{name}" must be of type integer')
            kept[name] = int(value)
        elif name in _FLOATS:
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise BadOption(f'option "{name}" must be of type float32')
            kept[name] = float(value)
        elif name == "use_mmap":
            if not isinstance(value, bool):
                raise BadOption('option "use_mmap" must be of type boolean')
            kept[name] = value
        elif name == "stop":
            if not isinstance(value, list):
                raise BadOption('option "stop" must be of type array')
            if not all(isinstance(one, str) for one in value):
                raise BadOption('option "stop" must be of an array of strings')
            kept[name] = tuple(value)
    return kept


def resolved(
    modelfile: Mapping[str, Any],
    request: Mapping[str, Any] | None,
    *,
    line: Line,
    trained_context: int,
    default_num_ctx: int,
    default_is_auto: bool = True,
) -> Options:
    """Put the options of the model and the request over the server's defaults.

    The window is clamped to the trained context on H only: O compares what was asked for and clamps when it loads.

    Raises:
        BadOption: see :func:`checked`.
    """
    given = {**checked(modelfile, line), **checked(request or _NO_OPTIONS, line)}
    num_ctx = given.get("num_ctx", 0)
    auto = num_ctx == 0 and "num_ctx" not in given and default_is_auto
    if num_ctx == 0 and "num_ctx" not in given:
        num_ctx = min(default_num_ctx, trained_context)
    num_ctx = max(num_ctx, MIN_NUM_CTX)
    if line == "H":
        num_ctx = min(num_ctx, trained_context)
    runner = RunnerOptions(
        num_ctx=num_ctx,
        num_batch=given.get("num_batch", 512),
        num_gpu=given.get("num_gpu", -1),
        main_gpu=given.get("main_gpu", 0 if line == "O" else None),
        use_mmap=given.get("use_mmap"),
        num_thread=given.get("num_thread", 0),
        draft_num_predict=given.get("draft_num_predict", 0),
        num_ctx_auto=auto,
        num_batch_auto="num_batch" not in given,
    )
    sampling = Sampling(
        num_predict=given.get("num_predict", -1),
        num_keep=given.get("num_keep", 4),
        seed=given.get("seed", -1),
        temperature=given.get("temperature", 0.8),
        stop=given.get("stop", ()),
    )
    return Options(runner, sampling, frozenset(given))


def differ(loaded: RunnerOptions, needed: RunnerOptions, line: Line) -> bool:
    """Whether a loaded runner must be reloaded for what is wanted (``server/sched.go needsReload``).

    A negative num_gpu (the default) fits any loaded value. On H a window or batch nobody asked for fits another
    nobody asked for; otherwise the resolved values count.
    """
    if needed == loaded:
        return False
    same = needed
    if needed.num_gpu < 0:
        same = replace(same, num_gpu=loaded.num_gpu)
    if line == "H":
        if loaded.num_ctx_auto and needed.num_ctx_auto:
            same = replace(same, num_ctx=loaded.num_ctx)
        if loaded.num_batch_auto and needed.num_batch_auto:
            same = replace(same, num_batch=loaded.num_batch)
    same = replace(same, num_ctx_auto=loaded.num_ctx_auto, num_batch_auto=loaded.num_batch_auto)
    return same != loaded
