"""Messages are for people: none of them is made of the name of a Python class."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]


def class_names_in_messages(path: Path) -> list[int]:
    """Lines with ``f"{type(error).__name__}: …"``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        part.lineno
        for text in ast.walk(tree)
        if isinstance(text, ast.JoinedStr)
        for part in ast.walk(text)
        if isinstance(part, ast.Attribute) and part.attr == "__name__" and "error" in ast.unparse(part.value)
    ]


def test_no_message_is_made_of_the_name_of_an_exception() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in ("worker", "caravan")
        for path in sorted((ROOT / package).rglob("*.py"))
        for line in class_names_in_messages(path)
    ]

    assert found == [], "use worker.errors.in_words"
