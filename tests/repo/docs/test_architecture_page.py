"""The description of the house against its folders and its layers."""

import re
import tomllib
from collections.abc import Iterable

from tests.repo.docs.pages import PAGES, ROOT, blocks_of, inline_code

WORKER = ROOT / "worker"


def _packages() -> set[str]:
    """The packages and modules directly inside ``worker``, but for the migrations that a wheel puts there."""
    names = {path.stem for path in WORKER.glob("*.py") if path.stem != "__init__"}
    return names | {path.parent.name for path in WORKER.glob("*/__init__.py")}


def test_every_package_of_the_worker_is_explained() -> None:
    named = {code.rstrip("/") for page in PAGES for code in inline_code(page)}

    assert {name for name in _packages() if not named & {f"worker/{name}", f"worker/{name}.py"}} == set()


def test_the_layers_are_drawn_as_the_contract_has_them() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")

    for drawn in blocks_of("text", containing="__main__ | celery"):
        assert _by_layer(drawn.text.splitlines()) == _by_layer(layers), drawn.place


def _by_layer(lines: Iterable[str]) -> list[set[str]]:
    """The packages in each layer; what is not built yet is left out."""
    layers = [set(re.findall(r"\w+", line)) & _packages() for line in lines]
    return [names for names in layers if names]
