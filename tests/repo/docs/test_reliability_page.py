"""Each of the faults has its test, or a line that says why not."""

from tests.faults.catalogue import FAULTS
from tests.faults.marked import provoked_by


def test_the_faults_are_numbered_from_one_without_a_gap() -> None:
    assert list(FAULTS) == list(range(1, len(FAULTS) + 1))


def test_every_fault_is_provoked_by_a_test_or_says_why_not() -> None:
    tests = provoked_by()

    assert tests
    assert [n for n, fault in FAULTS.items() if bool(tests.get(n)) == bool(fault.untested)] == []


def test_no_test_bears_the_mark_of_a_fault_that_is_not_in_the_catalogue() -> None:
    assert set(provoked_by()) <= set(FAULTS)
