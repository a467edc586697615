"""``docs/architecture.md`` against the folders and the layers."""

import re
import tomllib
from collections.abc import Iterable

from tests.repo.docs.pages import ROOT, blocks, read

WORKER = ROOT / "worker"


def _rooms() -> set[str]:
    """The packages and modules directly inside ``worker``, but for the migrations that a wheel puts there."""
    names = {path.stem for path in WORKER.glob("*.py") if path.stem != "__init__"}
    return names | {path.parent.name for path in WORKER.glob("*/__init__.py")}


def test_every_room_of_the_house_is_explained() -> None:
    explained = set(
        re.findall(
            r"^\| `worker/(\w+)(?:\.py|/)?` \|",
            read("architecture.md"),
            flags=re.MULTILINE,
        )
    )

    assert explained == _rooms()


def test_the_layers_are_drawn_as_the_contract_has_them() -> None:
    drawn = next(
        block for block in blocks(ROOT / "docs" / "architecture.md", "text") if "celery" in block.text
    )
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")

    assert _rooms_by_layer(drawn.text.splitlines()) == _rooms_by_layer(layers)


def _rooms_by_layer(lines: Iterable[str]) -> list[set[str]]:
    """The rooms that stand in each layer; what is not built yet is left out."""
    found = [set(re.findall(r"\w+", line)) & _rooms() for line in lines]
    return [names for names in found if names]
