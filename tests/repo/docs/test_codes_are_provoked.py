"""Every failure code comes about in some test, against a host or a database that behaves so."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repo.docs.pages import ROOT
from worker.errors import Code

PLACES = ("integration", "acceptance", "faults", "contract", "unit/ollama")
NOT_HERE = {"test_stored_codes.py"}
"""Tests that go through all codes provoke none."""


def _named(path: Path) -> Iterator[str]:
    """The codes that assertions and expectations of a test module name, as ``Code.NAME`` or by their text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="Code"), attr=name) if name in Code.__members__:
                yield Code[name]
            case ast.Constant(value=str(text)):
                yield from (word for word in text.split() if word in set(Code))


@pytest.fixture(scope="module")
def provoked() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for place in PLACES:
        for path in (ROOT / "tests" / place).rglob("test_*.py"):
            if path.name not in NOT_HERE:
                for code in _named(path):
                    found.setdefault(code, set()).add(path.name)
    return found


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_provoked_by_a_test(code: Code, provoked: dict[str, set[str]]) -> None:
    assert provoked.get(code), f"no test brings {code} about"
