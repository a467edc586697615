"""Counts in messages: a noun behind a number is singular where the number is 1 (``worker.domain.numbers.count_of``)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOUNS = "jobs|rows|results|answers|lines|batches|documents|loads|models|fields|cells|prompts|files"
COUNT = re.compile(rf"^ (?!for |such )(?:\w+ )?(?:{NOUNS})\b(?!.*(?:at most|more than))")
LIMITS = re.compile(r"(?:more than|at most|up to|of) $")
MORE_THAN_ONE = {
    "documents were read as",
    "lines, the first is line",
    "lines;",
    "rows span several lines, the first is on line",
}
"""In branches for more than one."""


@pytest.mark.parametrize("package", ["worker", "caravan", "api_schemas"])
def test_no_message_has_a_plural_behind_any_number(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in plurals(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert found == []


def plurals(tree: ast.AST) -> list[tuple[int, str]]:
    """The lines of f-strings in which a plural follows a count written as ``{n:,}``."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        for before, value, after in zip(
            [ast.Constant(""), *node.values], node.values, node.values[1:], strict=False
        ):
            if not isinstance(value, ast.FormattedValue) or value.format_spec is None:
                continue
            text = after.value if isinstance(after, ast.Constant) else ""
            lead = before.value if isinstance(before, ast.Constant) else ""
            spec = ast.unparse(value.format_spec)
            if "," in spec and COUNT.match(str(text)) and not LIMITS.search(str(lead)):
                found += [] if str(text).strip() in MORE_THAN_ONE else [(value.lineno, str(text).strip())]
    return found
