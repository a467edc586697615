"""Refuses every statement of the application that changes ``jobs.state`` and was not built by ``storage/transitions.py``.

It listens to all engines of this process, so raw SQL is seen too. Statements of the tests themselves may do what they
like: they make the rows that a test begins with.
"""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from worker.storage.transitions import TRANSITIONS

ROOT = Path(__file__).resolve().parents[1]
refused: list[str] = []
"""What was refused since the test began: whoever made the statement may have caught the error."""

_TABLE = r'(?:\w+\.)?"?jobs"?(?![\w"])'
_SET = re.compile(
    rf"\b(?:UPDATE\s+(?:ONLY\s+)?{_TABLE}|INTO\s+{_TABLE}.*?\bDO\s+UPDATE).*?\bSET\b(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_WHOLE_ROWS = re.compile(
    rf"\b(?:REPLACE\s+INTO|INSERT\s+OR\s+REPLACE\s+INTO|MERGE\s+INTO)\s+{_TABLE}", re.IGNORECASE
)
_LIST = re.compile(r'\([^()]*(?<!\w)"?state"?(?!\w)[^()]*\)\s*=', re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_INNERMOST = re.compile(r"\([^()]*\)")
_ASSIGNMENT = re.compile(r'(?:^|,)\s*"?state"?\s*=', re.IGNORECASE)
_PARAMETER = re.compile(r":([a-z_]+)")


def changes_state(statement: str) -> bool:
    """Whether a statement writes the column ``state`` of rows of ``jobs`` that are there."""
    if _WHOLE_ROWS.search(statement):
        return True
    found = _SET.search(_COMMENT.sub(" ", statement))
    if found is None:
        return False
    rest = found["rest"]
    if _LIST.search(re.split(r"\bWHERE\b", rest, maxsplit=1, flags=re.IGNORECASE)[0]):
        return True
    while (shorter := _INNERMOST.sub(" ", rest)) != rest:
        rest = shorter
    return bool(_ASSIGNMENT.search(re.split(r"\bWHERE\b", rest, maxsplit=1, flags=re.IGNORECASE)[0]))


def _pattern(clause: str) -> str:
    """A SET clause as a driver is given it: a parameter is ``?``, or ``%(name)s`` with its type."""
    literal, pattern = 0, ""
    for parameter in _PARAMETER.finditer(clause):
        pattern += re.escape(clause[literal : parameter.start()]) + r"(?:\?|%\(\w+\)s(?:::[A-Z ]+)?)"
        literal = parameter.end()
    return pattern + re.escape(clause[literal:])


_BUILT = re.compile(
    r"\bSET (?:" + "|".join(_pattern(one.clause) for one in TRANSITIONS) + r")(?= FROM | WHERE )"
)


def is_built(statement: str) -> bool:
    """Whether the SET clause is one of the table of transitions, to the letter."""
    return bool(_BUILT.search(statement))


def _author(frame: FrameType | None) -> str:
    """The file of this repository that makes the statement, from its root."""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if (
            path.is_relative_to(ROOT)
            and "site-packages" not in path.parts
            and path != Path(__file__).resolve()
        ):
            return str(path.relative_to(ROOT))
        frame = frame.f_back
    return "tests/"


@event.listens_for(Engine, "before_cursor_execute")
def _look(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
    if "jobs" not in statement or not changes_state(statement) or is_built(statement):
        return
    author = _author(sys._getframe())
    if not author.startswith("tests/"):
        refused.append(f"{author} changes jobs.state: {statement}")
        raise AssertionError(refused[-1])
