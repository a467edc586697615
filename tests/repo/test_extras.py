"""Extras: the code, the metadata and the pages name the same packages, and a base install needs none of them."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import ExtraMissing
from worker.extras import DISTRIBUTION, EXTRAS, missing_from, require

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PACKAGES = ("worker", "api_schemas", "simulator", "caravan", "migrations", "benchmarks")


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=;! ]", requirement)[0] for requirement in requirements}


def test_the_extras_of_the_code_are_those_of_the_metadata() -> None:
    declared = {extra: _names(packages) for extra, packages in PROJECT["optional-dependencies"].items()}
    everything = declared.pop("all")
    assert {extra: set(brought.values()) for extra, brought in EXTRAS.items()} == declared
    assert everything == {DISTRIBUTION} == {PROJECT["name"]}
    assert f"[{','.join(sorted(EXTRAS))}]" in PROJECT["optional-dependencies"]["all"][0]


def test_no_package_is_both_of_the_base_and_of_an_extra() -> None:
    base = _names(PROJECT["dependencies"])
    assert not base & {package for brought in EXTRAS.values() for package in brought.values()}


def test_a_missing_package_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(EXTRAS, "made_up", {"no_such_module": "no-such-package", "json": "json"})
    with pytest.raises(ExtraMissing) as failure:
        require("made_up", "made-up work")
    message = str(failure.value)
    assert "no-such-package" in message
    assert "json" not in message
    assert "pip install 'caravan-ollama[made_up]'" in message
    require("made_up", "made-up work", "json")


def test_no_file_tells_people_to_install_the_package_of_others() -> None:
    """``caravan`` on the package index belongs to other people."""
    installs = re.compile(
        r"(?:pip3?|pipx|uv tool|uv|uvx)(?: +(?:install|add|run))?(?: +-\S+)* +['\"]?caravan(?![\w-])"
    )
    brackets = re.compile(r"\bcaravan\[[a-z]")
    read, bad = 0, []
    for path in _texts():
        text = path.read_text(encoding="utf-8", errors="replace")
        read += DISTRIBUTION in text
        bad += [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for pattern in (installs, brackets)
            for match in pattern.finditer(text)
        ]
    assert read
    assert not bad


def _texts() -> Iterator[Path]:
    """Every page, source and build file of the repository."""
    for folder in (ROOT, *(ROOT / name for name in ("docs", "examples", *PACKAGES))):
        pattern = "*" if folder == ROOT else "**/*"
        for path in folder.glob(pattern):
            if path.is_file() and path.suffix in {
                "",
                ".md",
                ".py",
                ".toml",
                ".yaml",
                ".yml",
                ".service",
                ".ipynb",
            }:
                yield path


def test_a_package_that_was_imported_already_is_not_missing() -> None:
    import kombu

    assert kombu.__spec__ is None
    assert missing_from("fleet") == []
