"""Which tests provoke which fault? Read from the source, so that nothing has to be imported."""

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def provoked_by() -> dict[int, list[str]]:
    """Fault → the tests that bear its mark, as ``path::name`` from the repository's root."""
    found: dict[int, list[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        if "mark.fault" not in source:
            continue
        for name, number in _marks(ast.parse(source)):
            found.setdefault(number, []).append(f"{path.relative_to(TESTS.parent)}::{name}")
    return found


def _marks(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Above the test, or at one case of it."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in (inner for decorator in node.decorator_list for inner in ast.walk(decorator)):
            match mark:
                case ast.Call(func=ast.Attribute(attr="fault"), args=[ast.Constant(value=int(number))]):
                    yield node.name, number
