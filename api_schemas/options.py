"""Every option of ``POST /api/generate``: its type, its range and what it does.

Source: ``api/types.go Options, Runner, DefaultOptions`` of Ollama 0.24 and 0.33, and for the options that no
server reads any more the documentation that still lists them. An unknown option is ignored by a server, with
no more than a line in its log; here it is refused.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field

RUNNER_OPTIONS = (
    "num_ctx",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "num_thread",
    "draft_num_predict",
)
"""Load-time options: a request that changes one of them reloads it (``server/sched.go needsReload``)."""

MOST_STOPS = 64
Stop = Annotated[str, Field(min_length=1, max_length=1_000)]


class Options(BaseModel):
    """Model parameters of one request. Left out: the Modelfile's PARAMETER, else the server's default."""

    model_config = ConfigDict(
        defer_build=True, extra="forbid", strict=True, allow_inf_nan=False, title="Options"
    )

    # Load-time options: one that changes costs a reload.
    num_ctx: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Context window in tokens: prompt and answer together. Default: what the job needs, "
        "rounded up, not above what the model was trained for; a loaded window that is larger does too. One that is "
        "named is exact, and reloads the model when it changes.",
    )
    num_batch: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Prompt tokens evaluated at a time. Default 512. Reloads when it changes.",
    )
    num_gpu: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Layers put on the GPU; -1 (default) as many as fit, 0 none. Reloads when it changes.",
    )
    main_gpu: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="GPU that holds small tensors when there are several. Reloads when it changes.",
    )
    use_mmap: bool | None = Field(
        default=None,
        description="Map the weights from disk instead of reading them. Default: the server's choice. "
        "Reloads when it changes.",
    )
    num_thread: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="CPU threads; 0 (default) automatic. Reloads when it changes.",
    )
    draft_num_predict: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="Tokens drafted at a time by a draft model. Default 4 where the model has one. "
        "Servers before 0.30 ignore it. Reloads when it changes.",
    )

    # Per-request options.
    num_keep: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Prompt tokens kept at the front when the window is shifted; -1 all. Default 4.",
    )
    num_predict: Annotated[int, Field(ge=-2, le=2**31 - 1)] | None = Field(
        default=None,
        description="Most tokens to generate, reasoning included. Where nothing is said Caravan sends "
        "2,048, or 8,192 for a model that reasons; 0 or less means the rest of the window.",
    )
    seed: Annotated[int, Field(ge=-(2**53), le=2**53)] | None = Field(
        default=None,
        description="Seed of the sampler: the same seed, prompt and options give the same text on the same "
        "server version; -1 (default) random.",
    )
    temperature: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="Randomness of the sampler; 0 always takes the likeliest token. Default 0.8.",
    )
    top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None,
        description="Sample among this many likeliest tokens; 0 or -1 among all. Higher is more diverse. "
        "Default 40.",
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Sample among the likeliest tokens that together reach this probability. Default 0.9.",
    )
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Leave out tokens less likely than this share of the likeliest one's probability. "
        "Default 0.",
    )
    typical_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Locally typical sampling; 1 (default) switches it off. "
        "Servers before 0.30 ignore it for models of their newer engine.",
    )
    repeat_last_n: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = Field(
        default=None,
        description="How many last tokens the penalties look at; 0 none, -1 the whole window. Default 64.",
    )
    repeat_penalty: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Penalty on tokens that were just used; 1 has no effect. Default 1.1 on older servers, 1.0 "
        "since about 0.32: set it where hosts of several versions should agree.",
    )
    presence_penalty: float | None = Field(
        default=None,
        description="Penalty on tokens that occurred at all, usually -2 to 2; 0 (default) has no effect.",
    )
    frequency_penalty: float | None = Field(
        default=None,
        description="Penalty on tokens by how often they occurred, usually -2 to 2; 0 (default) has no effect.",
    )
    stop: Annotated[list[Stop], Field(max_length=MOST_STOPS, fail_fast=True)] | None = Field(
        default=None,
        description="Texts that end the answer where they appear; they are not part of it. A list: "
        '["User:"].',
    )

    # Still in documents and old job files; no server of today reads them.
    mirostat: Annotated[int, Field(ge=0, le=2)] | None = Field(
        default=None,
        description="No longer read by the server. Mirostat sampling against perplexity: 0 off (default), "
        "1 Mirostat, 2 Mirostat 2.0.",
        deprecated=True,
    )
    mirostat_eta: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="No longer read by the server. Learning rate of Mirostat: how fast it follows the text. "
        "Default 0.1.",
        deprecated=True,
    )
    mirostat_tau: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="No longer read by the server. Coherence (low) against diversity (high) under Mirostat. "
        "Default 5.0.",
        deprecated=True,
    )
    tfs_z: Annotated[float, Field(ge=0)] | None = Field(
        default=None,
        description="No longer read by the server. Tail-free sampling; 1 was off.",
        deprecated=True,
    )
    penalize_newline: bool | None = Field(
        default=None,
        description="No longer read by the server. Whether penalties applied to line ends.",
        deprecated=True,
    )
    numa: bool | None = Field(
        default=None,
        description="No longer read by the server. NUMA optimisation.",
        deprecated=True,
    )
    low_vram: bool | None = Field(
        default=None,
        description="No longer read by the server. Kept the scratch buffers off the GPU.",
        deprecated=True,
    )
    f16_kv: bool | None = Field(
        default=None,
        description="No longer read by the server (OLLAMA_KV_CACHE_TYPE now). Key-value cache in 16 bits.",
        deprecated=True,
    )
    logits_all: bool | None = Field(
        default=None,
        description="No longer read by the server. Logits of every token, not of the last alone.",
        deprecated=True,
    )
    vocab_only: bool | None = Field(
        default=None,
        description="No longer read by the server. Loaded the vocabulary without the weights.",
        deprecated=True,
    )
    use_mlock: bool | None = Field(
        default=None,
        description="No longer read by the server. Locked the weights in memory.",
        deprecated=True,
    )


NO_LONGER_READ = frozenset(name for name, field in Options.model_fields.items() if field.deprecated)
"""Options that today's servers ignore. They are taken, so that old files still run, and each is noted."""

INT_OPTIONS = frozenset(
    name
    for name, field in Options.model_fields.items()
    if any(part is int or int in get_args(part) for part in get_args(field.annotation))
)
"""Options that are whole numbers."""


def explicit_options(options: "Options | None") -> dict[str, object]:
    """The options that were given, in the order of the table; null is not given."""
    if options is None:
        return {}
    values = options.__dict__
    names = _in_order(frozenset(options.__pydantic_fields_set__))
    return {name: values[name] for name in names if values[name] is not None}


@lru_cache(maxsize=256)
def _in_order(names: frozenset[str]) -> tuple[str, ...]:
    """Options in the order of the table; few sets of them make up an input."""
    return tuple(name for name in Options.model_fields if name in names)


def ignored(options: Mapping[str, object]) -> list[str]:
    """The names among ``options`` that no server reads any more."""
    return [name for name in options if name in NO_LONGER_READ]


def with_whole_numbers(value: dict[str, Any]) -> dict[str, Any]:
    """A job line whose whole numbers are written without a point."""
    options = value.get("options")
    if isinstance(options, dict):
        for name in INT_OPTIONS & options.keys():
            options[name] = _whole(options[name])
    if "top_logprobs" in value:
        value["top_logprobs"] = _whole(value["top_logprobs"])
    return value


def _whole(value: Any) -> Any:
    """``value`` as an int where it is one written with a point, as spreadsheets and pandas do (4096.0)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
