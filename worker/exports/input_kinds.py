"""What the columns of an input hold: the keys of the metadata of a batch, and its ids."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.exports.writers import Kind
from worker.storage.engine import Database
from worker.storage.results import iter_ids, iter_metadata

MOST_INPUT_COLUMNS = 500
"""JSON lines may name each key once; what is beyond stands in ``metadata`` alone."""

# What values a key of the metadata has, null aside. Big: beyond what a double holds exactly. Text: also what is nested,
# and whole numbers that no column of integers takes. Blank: an empty text. Numeral: a text that is a number.
_TRUTH, _INTEGER, _BIG, _NUMBER, _TEXT, _BLANK, _NUMERAL = 1, 2, 4, 8, 16, 32, 64
NUMERALS = frozenset({_NUMERAL, _NUMERAL | _BLANK})
"""Of a column whose cells are all numbers, or empty."""
_IS_NUMERAL = re.compile(r"(?!-0(?:\.0*)?$)-?(?=[0-9.]{1,12}$)(?:0|[1-9][0-9]*)(?:\.[0-9]+)?").fullmatch
"""A number that comes back as the same text: none of ``007``, ``1e5``, ``-0``, and no long row of digits, which is an id."""


def is_csv(source: str | None, recipe: Mapping[str, Any]) -> bool:
    """Whether a batch was read from a CSV or TSV, whose cells have no types."""
    if source == "-":
        return "columns" in recipe
    return not {".csv", ".tsv"}.isdisjoint(suffix.lower() for suffix in Path(source or "").suffixes)


def kinds_of_metadata(
    database: Database, batch_id: int | None, id_column: str | None = None
) -> tuple[dict[str, int], bool]:
    """The keys of a batch's metadata with what they hold, and whether these are all keys. Metadata has ``id_column`` only where
    an id is no text."""
    kinds: dict[str, int] = {}
    whole = True
    typed_ids = 0
    for own in iter_metadata(database, batch_id):
        typed_ids += id_column in own
        for key, value in own.items():
            if key in kinds:
                kinds[key] |= _kinds_of(value)
            elif len(kinds) < MOST_INPUT_COLUMNS:
                kinds[key] = _kinds_of(value)
            else:
                whole = False
    if (
        id_column in kinds
        and batch_id is not None
        and typed_ids < sum(1 for _ in iter_ids(database, batch_id))
    ):
        kinds[id_column] |= _TEXT
    return kinds, whole


def ids_are_numerals(database: Database, batch_id: int) -> bool:
    """Whether the id of each job of a batch is a number that comes back as the same text."""
    return all(_IS_NUMERAL(custom_id) for custom_id in iter_ids(database, batch_id))


def _kinds_of(value: Any) -> int:
    match value:
        case None:
            return 0
        case bool():
            return _TRUTH
        case int():
            if abs(value) <= 2**53:
                return _INTEGER
            return _BIG if -(2**63) <= value < 2**63 else _TEXT
        case float():
            return _NUMBER
        case "":
            return _BLANK
        case str() if _IS_NUMERAL(value):
            return _NUMERAL
        case _:
            return _TEXT


def column_kind(kinds: int) -> Kind:
    """The kind of a column of these values."""
    if kinds == _TRUTH:
        return "truth"
    if kinds in (_INTEGER, _BIG, _INTEGER | _BIG):
        return "integer"
    if kinds in (_NUMBER, _NUMBER | _INTEGER):
        return "number"
    return "text"
