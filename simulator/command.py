"""The command line of the simulator: ``caravan simulate`` and ``python -m simulator`` are the same command."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from simulator.catalog import demo_models, embedding_model, seeing_model
from simulator.faults import Fault
from simulator.fleet import serve
from simulator.mishaps import fault_list
from simulator.names import BadName, parse_name
from simulator.settings import HostSettings, Line, SimulatedModel

LINES: dict[str, Line] = {"0.24": "O", "0.33": "H"}
"""Version of Ollama → the recorded line that a host behaves as (v0.24.0, v0.33.0-rc2)."""


def simulate(
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:PORT",
            help="Host to simulate; repeat for more. Without a port, a free one is taken.",
        ),
    ] = None,
    ollama: Annotated[Literal["0.24", "0.33"], typer.Option(help="Version of Ollama to behave as.")] = "0.24",
    models: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Models that each host has, separated by commas. Default: three demo models.",
        ),
    ] = "",
    pullable: Annotated[
        str,
        typer.Option(
            metavar="NAMES", help="Models that the registry has, to be pulled, separated by commas."
        ),
    ] = "",
    registry: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Name of a registry that takes pushes from each host."),
    ] = "",
    slots: Annotated[int, typer.Option(min=1, help="OLLAMA_NUM_PARALLEL of each host.")] = 1,
    max_loaded: Annotated[int, typer.Option(min=1, help="OLLAMA_MAX_LOADED_MODELS of each host.")] = 1,
    max_queue: Annotated[int, typer.Option(min=1, help="OLLAMA_MAX_QUEUE of each host.")] = 512,
    memory: Annotated[float, typer.Option(min=0, metavar="GIB", help="Memory of each host, in GiB.")] = 24.0,
    time_scale: Annotated[
        float, typer.Option(min=0, help="1 is real time, 0.1 ten times as fast, 0 at once.")
    ] = 1.0,
    load_seconds: Annotated[
        float | None, typer.Option(min=0, help="Seconds that each load takes at --time-scale 1.")
    ] = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0, help="Speed of each model at --time-scale 1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of answers and times.")] = 0,
    bind: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON list of faults to play (docs/howto/simulator.md)."),
    ] = None,
    diary: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to append each generation to, in NAME.jsonl.")
    ] = None,
) -> None:
    """Simulate Ollama hosts for any client, until Ctrl-C.

    The answers are made up.

    Example: caravan simulate --host gpu-1:11501 --host gpu-2:11502 --time-scale 0.1
    """
    script = _faults(faults)
    demo = ",".join(model.name for model in demo_models())
    spoken = _models(models or demo, load_seconds, tokens_per_second)
    known = _models(pullable, load_seconds, tokens_per_second)
    settings = [
        HostSettings(
            name=name,
            port=port,
            bind=bind,
            models=spoken,
            pullable=known,
            registry=registry,
            line=LINES[ollama],
            num_parallel=slots,
            max_loaded_models=max_loaded,
            max_queue=max_queue,
            memory_bytes=int(memory * 2**30),
            time_scale=time_scale,
            seed=seed,
            faults=script,
            diary=None if diary is None else diary / f"{name}.jsonl",
        )
        for name, port in map(_name_and_port, host or ["simulated:11434"])
    ]
    try:
        serve(settings)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--host") from None


_HOST_NAME = re.compile(r"[\w.-]+")


def _name_and_port(text: str) -> tuple[str, int]:
    name, colon, port = text.partition(":")
    if not _HOST_NAME.fullmatch(name) or (colon and not (port.isdecimal() and int(port) < 65_536)):
        raise typer.BadParameter(f"{text!r}: expected NAME:PORT or NAME", param_hint="--host")
    return name, int(port or 0)


def _faults(file: Path | None) -> tuple[Fault, ...]:
    if file is None:
        return ()
    try:
        return fault_list(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--faults") from None
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}", param_hint="--faults") from None


def _models(
    names: str, load_seconds: float | None, tokens_per_second: float | None
) -> tuple[SimulatedModel, ...]:
    """A demo model under its name, one for embeddings under a name with ``embed`` in it, one that reads images under a name
    with ``llava`` in it, one that reasons under a name with ``r1`` in it, any other like the first demo model."""
    demo = {model.name: model for model in demo_models()}
    models = []
    for name in [part for piece in names.split(",") if (part := piece.strip())]:
        try:
            parse_name(name)
        except BadName:
            message = f"{name!r} is no name of a model; expected NAME:TAG, with commas between"
            raise typer.BadParameter(message, param_hint="--models") from None
        if "embed" in name:
            model = embedding_model(name)
        elif "llava" in name:
            model = seeing_model(name)
        else:
            like = demo["deepseek-r1:8b" if "r1" in name else "llama3.2:3b"]
            model = dataclasses.replace(demo.get(name, like), name=name)
        if load_seconds is not None:
            model = dataclasses.replace(model, load_seconds=load_seconds)
        if tokens_per_second is not None:
            model = dataclasses.replace(model, tokens_per_second=tokens_per_second)
        models.append(model)
    return tuple(models)
