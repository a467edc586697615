"""Front matter by YAML 1.2: what was written is what is kept."""

import pytest

from worker.documents.formats.front_matter import split_front_matter
from worker.documents.formats.limits import Refused


def values(text: str) -> object:
    found, rest = split_front_matter(f"---\n{text}\n---\nThe text.\n")
    assert rest == "The text.\n"
    return found


def test_no_value_becomes_another() -> None:
    text = """title: 1.10
country: NO
answer: yes
on: off
zip: 01234
time: 12:30:45
date: 2026-02-30
stamp: 2026-02-03 10:00:00
score: .nan
n: 1_000
hex: 0x1F
big: 123456789012345678901234567890
phone: +49 30 1
plus: +5
exponent: 1e3
quoted: '12'
tagged: !!str 12
odd: !thing x
merge: {<<: a}
2024: year"""

    assert values(text) == {
        "title": "1.10", "country": "NO", "answer": "yes", "on": "off", "zip": "01234", "time": "12:30:45",
        "date": "2026-02-30", "stamp": "2026-02-03 10:00:00", "score": ".nan", "n": "1_000", "hex": "0x1F",
        "big": "123456789012345678901234567890", "phone": "+49 30 1", "plus": "+5", "exponent": "1e3", "quoted": "12",
        "tagged": "12", "odd": "x", "merge": {"<<": "a"}, "2024": "year",
    }  # fmt: skip


def test_what_yaml_1_2_knows_keeps_its_type() -> None:
    text = "a: true\nb: False\nc: null\nd: ~\ne:\nf: 12\ng: -1.5\nh: [1, x]\ni: {j: 0}"

    expected = {
        "a": True,
        "b": False,
        "c": None,
        "d": None,
        "e": None,
        "f": 12,
        "g": -1.5,
        "h": [1, "x"],
        "i": {"j": 0},
    }
    assert values(text) == expected


@pytest.mark.parametrize("text", ["a: 1\na: 2", "[a, b]: c", "just words", "a: [open", "- item", "a: *b"])
def test_what_is_no_front_matter_stays_text(text: str) -> None:
    whole = f"---\n{text}\n---\nThe text.\n"

    assert split_front_matter(whole) == ({}, whole)


def test_aliases_that_make_much_of_little_are_refused() -> None:
    lines = ["a: &a [" + "x, " * 9 + "x]"]
    lines += [
        f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]"
        for before, name in zip("abcdef", "bcdefg", strict=True)
    ]

    with pytest.raises(Refused) as refused:
        values("\n".join(lines))

    assert refused.value.code == "too_large"


def test_aliases_that_hold_themselves_are_refused() -> None:
    with pytest.raises(Refused):
        values("a: &a [*a]")
