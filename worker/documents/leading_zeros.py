"""Numbers that a spreadsheet shows with leading zeros, such as postal codes and ids: 8 that is shown as 0008."""

import operator
import re
from decimal import Decimal

from worker.records import record

_TOKEN = re.compile(
    r"""0 | "(?P<quoted>[^"]*)" | \\(?P<escaped>.) | (?P<plain>[- ():+]) | _. | \*.
    | \[\$(?P<currency>[^]-]*)(?:-[^]]*)?\] | \[(?:<=|>=|<>|[<>=])[^]]*\] | \[[A-Za-z0-9]+\]""",
    re.VERBOSE,
)
_CONDITION = re.compile(r"\[(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\]")
_COMPARE = {
    "<=": operator.le,
    ">=": operator.ge,
    "<>": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
_SECTION = re.compile(r'(?:"[^"]*"|\\.|\[[^]]*\]|[^;])+')


@record
class ZeroFormat:
    """A format of numbers that fills whole ones up with zeros."""

    sections: tuple[tuple[str, Decimal, tuple[str, ...]], ...]
    """Each with its condition. Its parts are a digit each (``0``) or a literal text, which begins with a quote; none: no
    zeros are filled up."""

    def text(self, number: int) -> str | None:
        """What is shown of the number; None where it is shown without zeros.

        >>> form = zero_format("[<=99999]00000;00000-0000")
        >>> form and (form.text(501), form.text(5010042))
        ('00501', '00501-0042')
        """
        parts = next((parts for sign, limit, parts in self.sections if _COMPARE[sign](number, limit)), ())
        if not parts:
            return None
        places = parts.count("0")
        digits = str(abs(number)).zfill(places)
        left = iter([digits[: len(digits) - places + 1], *digits[len(digits) - places + 1 :]])
        return ("-" if number < 0 else "") + "".join(
            next(left) if part == "0" else part[1:] for part in parts
        )


def zero_format(code: str) -> ZeroFormat | None:
    """A format code with a section that fills up with zeros; None for any other.

    >>> [bool(zero_format(code)) for code in ("00000", '"SKU-"0000', "0", "0.00", "#,##0", "yyyy", "[h]:mm")]
    [True, True, False, False, False, False, False]
    """
    sections = []
    for section in _SECTION.findall(code):
        condition = _CONDITION.search(section)
        sign, limit = (condition[1], Decimal(condition[2])) if condition else (">=", Decimal("-Infinity"))
        sections.append((sign, limit, _parts(section)))
    return ZeroFormat(tuple(sections)) if any(parts for _, _, parts in sections) else None


def _parts(section: str) -> tuple[str, ...]:
    """The digits and texts of one section; none where it shows other things than filled up whole numbers."""
    tokens = list(_TOKEN.finditer(section))
    if "".join(token[0] for token in tokens) != section or sum(token[0] == "0" for token in tokens) < 2:
        return ()
    parts = ("0" if token[0] == "0" else token.lastgroup and "'" + token[token.lastgroup] for token in tokens)
    return tuple(part for part in parts if part)
