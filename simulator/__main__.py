"""``python -m simulator``: simulated hosts alone, until Ctrl-C."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from simulator.catalog import demo_models
from simulator.fleet import serve
from simulator.mishaps import fault_list
from simulator.settings import HostSettings, SimulatedModel


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the hosts named on the command line; prints ``NAME URL`` for each when it listens."""
    asked = _parser().parse_args(arguments)
    try:
        hosts = [_host(one, asked) for one in asked.host or ["gpu-1"]]
        serve(hosts, lambda name, url: print(f"{name} {url}", flush=True))
    except (OSError, ValueError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Simulated Ollama hosts.",
        epilog="example: python -m simulator --host gpu-1:11434 --host gpu-2:11435 --time-scale 0.05",
    )
    parser.add_argument(
        "--host", action="append", metavar="NAME[:PORT]", help="a host; again for another one"
    )
    parser.add_argument(
        "--time-scale", type=float, default=1.0, help="1 real time, 0.01 a hundred times as fast, 0 at once"
    )
    parser.add_argument("--line", choices=["O", "H"], default="O", help="v0.24.0 (O) or v0.33.0-rc2 (H)")
    parser.add_argument(
        "--bind", default="127.0.0.1", metavar="ADDRESS", help="0.0.0.0 to be reached from outside"
    )
    parser.add_argument("--slots", type=int, default=1, help="OLLAMA_NUM_PARALLEL")
    parser.add_argument("--max-loaded", type=int, default=1, help="OLLAMA_MAX_LOADED_MODELS")
    parser.add_argument("--max-queue", type=int, default=512, help="OLLAMA_MAX_QUEUE")
    parser.add_argument("--memory", type=float, default=24.0, metavar="GIB", help="memory of a host")
    parser.add_argument("--models", default="", help="names, comma-separated (default: the demo models)")
    parser.add_argument("--load-seconds", type=float, help="how long each load takes at time scale 1")
    parser.add_argument("--tokens-per-second", type=float, help="how fast each model speaks at time scale 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--diary", type=Path, metavar="DIR", help="append each generation to DIR/NAME.jsonl")
    parser.add_argument("--faults", type=Path, metavar="FILE", help="a JSON list of faults")
    return parser


def _host(text: str, asked: argparse.Namespace) -> HostSettings:
    name, _, port = text.partition(":")
    faults = fault_list(json.loads(asked.faults.read_text())) if asked.faults else ()
    return HostSettings(
        name=name,
        port=int(port or 0),
        bind=asked.bind,
        models=_models(asked),
        line=asked.line,
        num_parallel=asked.slots,
        max_loaded_models=asked.max_loaded,
        max_queue=asked.max_queue,
        memory_bytes=int(asked.memory * 2**30),
        time_scale=asked.time_scale,
        seed=asked.seed,
        faults=faults,
        diary=asked.diary and asked.diary / f"{name}.jsonl",
    )


def _models(asked: argparse.Namespace) -> tuple[SimulatedModel, ...]:
    """The demo models, or those named: a demo model under its name, any other name like the first of them."""
    demo = {model.name: model for model in demo_models()}
    names = [name.strip() for name in asked.models.split(",") if name.strip()] or list(demo)
    models = []
    for name in names:
        model = demo.get(name) or dataclasses.replace(
            next(iter(demo.values())), name=name, thinking="tags" if "r1" in name else "none"
        )
        changes: dict[str, float] = {}
        if asked.load_seconds is not None:
            changes["load_seconds"] = asked.load_seconds
        if asked.tokens_per_second is not None:
            changes["tokens_per_second"] = asked.tokens_per_second
        models.append(dataclasses.replace(model, **changes))  # type: ignore[arg-type]
    return tuple(models)


if __name__ == "__main__":
    sys.exit(main())
