"""The columns of a table, and how it becomes CSV.

A spreadsheet takes a cell that begins with ``=`` for a formula, and answers are texts of a stranger: such cells are
told from formulas by an apostrophe before them (OWASP, CSV injection). Every text is quoted; but a spreadsheet of a
country that ends cells at ``;`` ends one there within the quotes of a second column too, and a line likewise. So what
stands behind such a separator within a text gets an apostrophe too, where it could compute or call something.
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, TextIO

from worker.domain.numbers import count_of, plain_number
from worker.exports.targets import AS_USUAL, CsvForm
from worker.records import record
from worker.replies.vectors import vector_values

Kind = Literal["text", "integer", "number", "truth", "time", "vector"]

_FORMULA = frozenset("=+-@＝＋－＠")
_CONTROL = frozenset("\t\r\n\0")
_BEFORE = "".join(chr(n) for n in range(33)) + "\x7f\u00a0\ufeff\u200b\u2060\u3000"
"""What a spreadsheet may pass over before a formula: control signs, spaces of all widths, marks that are not seen."""
_NUMBER = re.compile(r"[+-]?(\d[\d.,'’ \u00a0\u202f()]*|[.,]\d+)([eE][+-]?\d+)?\s?%?")
"""A number as people write it: -5.30, -5,30, -1 234, +49 (30) 901820. One of two signs is computed: +1-202-555-0143."""
_WITHIN = (
    r"([{separators}][\s\"'\0\ufeff\u200b\u2060]{{0,32}}+)(?=[=＝]|[-+@－＋＠][^;\t\r\n]{{0,1000}}?[(!|])"
)
"""Behind a separator: ``=``, or a sign with what a call, another sheet or another program needs. A list of lines that
begin with ``-`` stays as it is."""
_PLAIN_NAME = re.compile(r"[\w .]*")
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


@record
class Column:
    """A column of a table; ``kind`` is its type in Parquet."""

    name: str
    kind: Kind
    size: int | None = None
    """Of vectors: the numbers that each has, where all have as many."""
    own: bool = False
    """It came with the input."""
    numerals: bool = False
    """Its texts are all numbers or empty."""


Say = Callable[[str], object]
"""Is told, in whole sentences, what a reader of a file should know."""


def write_csv(
    out: TextIO,
    columns: Sequence[Column],
    rows: Iterable[Sequence[Any]],
    *,
    form: CsvForm = AS_USUAL,
    say: Say | None = None,
) -> int:
    """A header and the rows; returns how many rows. ``out`` must leave line ends as they are."""
    delimiter, names = form.delimiter or ",", [column.name for column in columns]
    # "\r\n" and not "\n": before Python 3.13 the writer quotes a lone carriage return only where the line end has one
    plain = all(_PLAIN_NAME.fullmatch(name) for name in names)
    head = csv.writer(
        out, delimiter=delimiter, lineterminator="\r\n", quoting=csv.QUOTE_MINIMAL if plain else csv.QUOTE_ALL
    )
    quoting: Literal[2, 0] = csv.QUOTE_NONNUMERIC if form.safe else csv.QUOTE_MINIMAL
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n", quoting=quoting)
    if form.bom:
        out.write("\ufeff")
    shown: Callable[[Any], Any] = partial(_safe_cell, _behind(delimiter)) if form.safe else plain_text
    head.writerow([shown(name) for name in names])
    own = [at for at, column in enumerate(columns) if column.own] if form.safe else []
    count = changed = 0
    for row in rows:
        cells = [shown(value) for value in row]
        changed += sum(cells[at] != row[at] and isinstance(row[at], str) for at in own)
        writer.writerow(cells)
        count += 1
    if changed and say is not None:
        say(
            f"In {count_of(changed, 'cell')} of the input's columns there is now a ' before what a spreadsheet would calculate; "
            "--raw leaves them as they came."
        )
    return count


class _Plain(float):
    """A number that the writer of CSV writes without an exponent."""

    def __str__(self) -> str:
        return plain_number(self)


def plain_text(value: Any) -> str | None:
    """A value as one text: ``true``, ``0.5``, a time in ISO 8601, nested ones as JSON. None stays None.

    >>> plain_text({"天": [1, None]})
    '{"天": [1, null]}'
    """
    match value:
        case None | str():
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case bytes():
            return json.dumps(vector_values(value))
        case float() if math.isfinite(value):
            return plain_number(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def json_line(value: Any) -> str:
    """A line of JSON lines: no sign in it that some readers take for the end of a line, as ``str.splitlines`` does.

    >>> json_line({"a": "x\u2028ä"})
    '{"a": "x\\\\u2028ä"}\\n'
    """
    line = json.dumps(value, ensure_ascii=False)
    return f"{line if line.isascii() else _LINE_ENDS.sub(_escaped, line)}\n"


def _escaped(sign: re.Match[str]) -> str:
    return f"\\u{ord(sign[0]):04x}"


def _behind(delimiter: str) -> re.Pattern[str]:
    """Formulas behind what ends a cell or a line elsewhere than in a file of this delimiter."""
    return re.compile(_WITHIN.format(separators=";\t\r\n" if delimiter == "," else ",;\t\r\n"))


def _safe_cell(within: re.Pattern[str], value: Any) -> str | float | None:
    """As ``plain_text``, and no formula.

    >>> within = _behind(",")
    >>> [_safe_cell(within, value) for value in ("=1+1", "-5,30", -5, " =1+1", "- a\\n- list", "a;=b", None)]
    ["'=1+1", '-5,30', -5, "' =1+1", "'- a\\n- list", "a;'=b", None]
    """
    if isinstance(value, str):
        begins = value[:1] in _CONTROL or value.lstrip(_BEFORE)[:1] in _FORMULA
        risky = begins and not _NUMBER.fullmatch(value.strip(" "))
        text = within.sub(r"\1'", value)
        return f"'{text}" if risky else text
    if isinstance(value, int | float) and not isinstance(value, bool):  # written without quotes
        if not isinstance(value, float):
            return value
        return _Plain(value) if math.isfinite(value) else plain_text(value)
    return plain_text(value)
