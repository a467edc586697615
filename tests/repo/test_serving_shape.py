"""The shape of the code that serves a host: no class that knows everything, no circle of imports."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_ATTRIBUTES = 10


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in sorted((ROOT / "worker" / "serving").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                yield f"{path.name}:{node.name}", node


def attributes_of(node: ast.ClassDef) -> set[str]:
    """The fields of the class, and what its methods assign on ``self``."""
    fields = {
        line.target.id
        for line in node.body
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name)
    }
    assigned = {
        target.attr
        for target in ast.walk(node)
        if isinstance(target, ast.Attribute)
        and isinstance(target.ctx, ast.Store)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    }
    return fields | assigned


@pytest.mark.parametrize(("name", "node"), [pytest.param(*found, id=found[0]) for found in classes()])
def test_no_class_that_serves_a_host_has_more_than_ten_attributes(name: str, node: ast.ClassDef) -> None:
    assert len(attributes_of(node)) <= MOST_ATTRIBUTES, sorted(attributes_of(node))


def imports_of(path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports as it is loaded itself; imports within functions come later."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            within = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
            found.update(within or {node.module})
        todo += ast.iter_child_nodes(node)
    return found & set(modules)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_of_the_worker_import_each_other_in_a_circle() -> None:
    modules = {module_name(path): path for path in (ROOT / "worker").rglob("*.py")}
    graph = {name: imports_of(path, modules) - {name} for name, path in modules.items()}

    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
