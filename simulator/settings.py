"""Settings of a simulated host: its models, its speed, its limits, its faults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from simulator.faults import Fault

Line = Literal["O", "H"]
"""The two families of servers: O is v0.24.0 with its own runners, H is v0.33.0-rc2 on ``llama-server``."""

VERSIONS: Mapping[Line, str] = {"O": "0.24.0", "H": "0.33.0-rc2"}

Thinking = Literal["tags", "inline", "none"]
"""``tags``: Ollama splits reasoning off by the template; ``inline``: the tags stay in the answer; ``none``."""


@dataclass(frozen=True, slots=True)
class Script:
    """Weights that speak from a table: each token has exactly one successor.

    ``pieces`` maps token ids (from 263) to their text, ``following`` a piece to the next token (2 ends the
    answer), ``first`` is said after anything that is no piece. Token ids are described in ``simulator/tokens.py``.
    """

    pieces: Mapping[int, str]
    following: Mapping[int, int]
    first: int


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model on a host's disk.

    Times are those of a machine at ``time_scale`` 1. ``weights`` names the blob: models that share it share one
    runner. A model without ``script`` speaks prose, English or Chinese after its prompt, ``answer_tokens`` long,
    the same for the same seed and prompt. ``template`` None is the usual template of ``thinking``;
    ``untemplated`` has none at all: O answers the bare prompt, H uses the chat template inside the weights.
    ``written_by`` is the line whose server wrote the weights file, where it is not the host's own.
    """

    name: str
    weights: str = ""
    size_bytes: int = 2_000_000_000
    family: str = "llama"
    parameter_size: str = "3.2B"
    quantization: str = "Q4_K_M"
    layers: int = 28
    embedding_length: int = 3_072
    feed_forward_length: int = 8_192
    kv_width: int = 1_024
    vocabulary_size: int = 128_256
    trained_context: int = 131_072
    template: str | None = None
    untemplated: bool = False
    system: str = ""
    license: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    parameters: Mapping[str, object] = field(default_factory=dict)
    thinking: Thinking = "none"
    capabilities: tuple[str, ...] = ()
    load_seconds: float = 3.0
    tokens_per_second: float = 60.0
    prompt_tokens_per_second: float = 1_500.0
    answer_tokens: tuple[int, int] = (24, 96)
    script: Script | None = None
    written_by: Line | None = None

    @property
    def blob(self) -> str:
        """The name of the weights file."""
        return self.weights or self.name


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One simulated host.

    ``port`` 0 takes a free one. Bound to loopback a host refuses foreign ``Host`` headers, as Ollama does.
    ``time_scale`` multiplies every duration of the machine (load, prompt, token, unload): 0.01 is a machine a
    hundred times as fast, 0 answers at once and reports the durations of scale 1.
    Durations a client names (``keep_alive``) are never scaled. ``keep_alive`` is in seconds.
    ``context_length`` 0 leaves the default window to the memory, as Ollama does. ``diary`` is a file to which each
    generation is appended (``simulator/diary.py``). ``pullable`` are the models of the registry it pulls from; ``registry`` is
    the address of one that takes pushes, shared by all hosts that run together and name it.
    """

    name: str
    models: tuple[SimulatedModel, ...]
    port: int = 0
    bind: str = "127.0.0.1"
    line: Line = "O"
    version: str = ""
    max_loaded_models: int = 1
    num_parallel: int = 1
    max_queue: int = 512
    keep_alive: float = 300.0
    context_length: int = 0
    load_timeout: float = 300.0
    memory_bytes: int = 24 * 2**30
    gpu: bool = True
    unload_seconds: float = 0.03
    memory_recovery_seconds: float = 0.0
    slot_cost: float = 0.25
    time_scale: float = 1.0
    pullable: tuple[SimulatedModel, ...] = ()
    registry: str = ""
    pull_bytes_per_second: float = 100e6
    seed: int = 0
    faults: tuple[Fault, ...] = ()
    diary: Path | None = None

    @property
    def reported_version(self) -> str:
        return self.version or VERSIONS[self.line]

    @property
    def is_older_than_truncate(self) -> bool:
        """Servers before 0.12.4 do not know ``truncate`` and ``shift``: they cut a prompt whatever was asked."""
        numbers = tuple(
            int(part) for part in self.reported_version.split("-")[0].split(".") if part.isdigit()
        )
        return (0,) < numbers < (0, 12, 4) and numbers != (0, 0, 0)
