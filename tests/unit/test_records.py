"""Records: dataclasses by all that anybody sees, without their price."""

from dataclasses import asdict, astuple, field, fields, is_dataclass, replace
from functools import cached_property

import pytest

from worker.records import FEW, mutable_record, record


@record
class Point:
    """A point."""

    x: int
    y: int = 0
    note: str = field(default="", compare=False, repr=False)


@record
class Place(Point):
    """A point with names, the first of which is ``first``."""

    names: list[str] = field(default_factory=list)
    first: str = field(init=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", next(iter(self.names), ""))


@record
class Nothing:
    """No fields."""


@record
class Loud:
    """Has methods of its own."""

    word: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loud) and self.word.upper() == other.word.upper()

    def __hash__(self) -> int:
        return hash(self.word.upper())

    def __repr__(self) -> str:
        return self.word.upper()


class Far(Point):
    """A class that builds upon a record, without being one."""

    def __init__(self) -> None:
        super().__init__(99)


def test_it_is_made_of_values_by_place_by_name_and_by_default() -> None:
    assert (Point(1).y, Point(1, 2).y, Point(y=3, x=1).y) == (0, 2, 3)


def test_it_says_which_value_is_missing_or_unknown() -> None:
    with pytest.raises(TypeError, match=r"Point.__init__\(\) missing 1 required positional argument: 'x'"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        Point(1, z=2)  # type: ignore[call-arg]


def test_it_equals_and_is_hashed_by_what_is_compared() -> None:
    assert Point(1, 2, "a") == Point(1, 2, "b") != Point(2, 2, "a")
    assert hash(Point(1, 2, "a")) == hash(Point(1, 2, "b"))
    assert len({Point(1), Point(1), Point(2)}) == 2
    assert Nothing() == Nothing()


def test_its_first_instances_are_made_as_all_others() -> None:
    @record
    class Pair:
        first: int
        second: list[int] = field(default_factory=list)

    @record
    class Triple(Pair):
        third: int = 3

    for _ in range(FEW + 2):
        with pytest.raises(TypeError):
            Pair()  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            Pair(1, first=1)  # type: ignore[misc]
        assert Pair(1, [2]) == Pair(second=[2], first=1)
        assert (Triple(1).first, Triple(1).second, Triple(1, third=4).third) == (1, [], 4)


def test_a_mutable_one_takes_new_values_and_has_no_hash() -> None:
    @mutable_record
    class Tally:
        words: dict[str, int] = field(default_factory=dict)
        total: int = 0

    tally = Tally()
    tally.total += 1
    tally.words["a"] = 1

    assert tally == Tally({"a": 1}, 1) != Tally()
    with pytest.raises(TypeError, match="unhashable"):
        hash(tally)


def test_what_is_worked_out_later_is_kept() -> None:
    calls = []

    @record
    class Root:
        square: int

        @cached_property
        def root(self) -> int:
            calls.append(self.square)
            return self.square - 2

    four = Root(4)

    assert (four.root, four.root, calls) == (2, 2, [4])


def test_another_class_with_the_same_values_is_not_equal() -> None:
    assert Point(1) != Place(1)
    assert Point(1) != (1, 0)  # type: ignore[comparison-overlap]


def test_it_is_shown_by_its_values() -> None:
    assert repr(Point(1, 2, "a")) == "Point(x=1, y=2)"
    assert repr(Nothing()) == "Nothing()"


def test_a_record_of_a_record_has_the_fields_of_both() -> None:
    place = Place(1, names=["a", "b"])

    assert (place.x, place.y, place.names, place.first) == (1, 0, ["a", "b"], "a")
    assert Place(1).names is not Place(1).names


def test_methods_of_its_own_stay() -> None:
    assert Loud("a") == Loud("A")
    assert {Loud("a"), Loud("A")} == {Loud("A")}
    assert repr(Loud("a")) == "A"


def test_a_class_may_build_upon_one_that_was_never_made() -> None:
    assert Far().x == 99


def test_it_is_a_dataclass_to_those_who_ask() -> None:
    point = Point(1, 2, "a")

    assert is_dataclass(point)
    assert [entry.name for entry in fields(point)] == ["x", "y", "note"]
    assert replace(point, y=5) == Point(1, 5)
    assert asdict(point) == {"x": 1, "y": 2, "note": "a"}
    assert astuple(point) == (1, 2, "a")
    assert Point.__match_args__ == ("x", "y", "note")


def test_an_attribute_that_is_no_field_is_refused() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 1  # type: ignore[attr-defined]
