"""The recorded models and servers, as settings of the simulator."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulator import HostSettings, Line, Script, SimulatedModel
from simulator.durations import parse_duration
from tests.contract.recording import Scene, scripted_models

TRAINED_CONTEXT = 8_192

SPEED: Mapping[Line, Mapping[str, tuple[float, float, float]]] = {
    # Seconds to load, to read a token, to say a token: medians of the recordings.
    "O": {
        "plain": (0.300, 0.0050, 0.0047),
        "think": (0.300, 0.0040, 0.0055),
        "think-jinja": (0.300, 0.0040, 0.0044),
        "loop": (0.305, 0.0270, 0.0221),
        "repeat": (0.290, 0.0040, 0.0036),
        "slow": (0.550, 0.1500, 0.1450),
        "tool": (0.300, 0.0050, 0.0047),
        "tool-two": (0.300, 0.0050, 0.0047),
        "minilm": (0.370, 0.0190, 0.0050),
    },
    "H": {
        "plain": (0.256, 0.0010, 0.0007),
        "think": (0.256, 0.0003, 0.0005),
        "think-jinja": (0.256, 0.0003, 0.0005),
        "loop": (0.258, 0.0008, 0.0039),
        "repeat": (0.256, 0.0003, 0.0005),
        "slow": (0.510, 0.0088, 0.0191),
        "tool": (0.256, 0.0010, 0.0007),
        "tool-two": (0.256, 0.0010, 0.0007),
        "minilm": (0.260, 0.0010, 0.0010),
    },
}


LATER_MODELS = frozenset({"tool", "tool-two", "minilm", "gemma", "smol"})
"""Models that were made for the second set of scenes."""
NOT_THERE = frozenset({("H", "chat", "loop")})
"""Models that a server did not have when a scene was recorded."""
WRITTEN_BY_O = frozenset({("H", "models")})
"""Scenes whose weights files were made by the other version: their digests are those of its own recordings."""
DIGESTS = {
    "plain": "e487",
    "loop": "e0c2",
    "think": "919c",
    "think-jinja": "d216",
    "repeat": "ca24",
    "slow": "91fe",
}
"""How the digests of weights begin: of runners with equal keep_alive the lowest goes first."""
LATER_SCENES = frozenset({"chat", "chat-tools", "chat-window", "embed", "models", "openai"})


def host_settings(recorded: Scene) -> HostSettings:
    """A server as it was started for a scene: two CPU cores, no GPU, hardly any memory to count on."""
    line, env = recorded.line, recorded.env
    later = recorded.name in LATER_SCENES
    return HostSettings(
        name="recorded",
        registry="127.0.0.1:5001",
        models=tuple(
            replace(one, written_by="O") if (line, recorded.name) in WRITTEN_BY_O else one
            for one in recorded_models(line)
            if (later or one.name not in LATER_MODELS) and (line, recorded.name, one.name) not in NOT_THERE
        ),
        line=line,
        version="0.0.0",
        max_loaded_models=int(env.get("OLLAMA_MAX_LOADED_MODELS", "3")),
        num_parallel=int(env.get("OLLAMA_NUM_PARALLEL", "1")),
        max_queue=int(env.get("OLLAMA_MAX_QUEUE", "512")),
        keep_alive=parse_duration(env.get("OLLAMA_KEEP_ALIVE", "5m")),
        load_timeout=parse_duration(env.get("OLLAMA_LOAD_TIMEOUT", "5m")),
        memory_bytes=8 * 2**30,
        gpu=False,
        slot_cost=0.7,
    )


def recorded_models(line: Line) -> tuple[SimulatedModel, ...]:
    """The models of ``models.json``."""
    described = scripted_models()
    models = (_model(line, name, one, described["weights"]) for name, one in described["models"].items())
    return (*models, *LISTED_MODELS)


LISTED_MODELS = (
    SimulatedModel(
        "gemma",
        size_bytes=253_113_588,
        family="gemma3",
        parameter_size="268.10M",
        quantization="Q4_K_M",
        trained_context=32_768,
        embedding_length=640,
    ),
    SimulatedModel(
        "smol",
        size_bytes=98_363_059,
        family="llama",
        parameter_size="134.52M",
        quantization="Q4_1",
        trained_context=8_192,
        embedding_length=576,
    ),
)
"""Models that the servers of the second set of scenes had besides. No scene asks them: they are as lists describe them."""


def _model(line: Line, name: str, described: Mapping[str, Any], weights: Mapping[str, Any]) -> SimulatedModel:
    blob = described["weights"]
    if blob is None:
        return _embedding_model(line, name, described)
    tables = weights["think" if blob == "think-jinja" else blob]
    load, read, say = SPEED[line][blob]
    script = Script(
        pieces={int(token): text for token, text in tables["pieces"].items()},
        following={int(token): after for token, after in tables["next"].items()},
        first=tables["first"],
    )
    return SimulatedModel(
        name,
        weights=f"{DIGESTS.get(blob, 'f')}-{blob}",
        size_bytes={2: 6_400_000, 6: 32_057_408}.get(tables["layers"], 200_000_000),
        parameter_size="3.17M",
        quantization="F16",
        layers=tables["layers"],
        embedding_length=512,
        feed_forward_length=256,
        kv_width=512,
        vocabulary_size=max(script.pieces) + 1,
        trained_context=TRAINED_CONTEXT,
        template=described["template"],
        untemplated=described["template"] is None,
        parameters=described["parameters"],
        load_seconds=load,
        prompt_tokens_per_second=1 / read,
        tokens_per_second=1 / say,
        script=script,
    )


def _embedding_model(line: Line, name: str, described: Mapping[str, Any]) -> SimulatedModel:
    load, read, _ = SPEED[line][name]
    return SimulatedModel(
        name,
        size_bytes=45_900_000,
        family="bert",
        parameter_size="22.57M",
        quantization="F16",
        layers=6,
        embedding_length=described["dimensions"],
        trained_context=described["trained_context"],
        untemplated=True,
        parameters=described["parameters"],
        capabilities=tuple(described["capabilities"]),
        load_seconds=load,
        prompt_tokens_per_second=1 / read,
    )
