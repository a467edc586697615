from collections.abc import Iterator

from worker.documents.row import Row
from worker.documents.sample import chosen


def table(count: int) -> list[Row]:
    return [Row(line, {"n": line}, None) for line in range(2, count + 2)]


def lines(rows: Iterator[Row]) -> list[int]:
    return [row.line for row in rows]


def test_everything_is_chosen_where_nothing_is_asked() -> None:
    assert list(chosen(table(5), limit=None, sample=None, seed=0)) == table(5)


def test_a_limit_takes_the_first_rows_and_reads_no_further() -> None:
    def endless() -> Iterator[Row]:
        yield from table(3)
        raise AssertionError("read too far")

    assert lines(chosen(endless(), limit=3, sample=None, seed=0)) == [2, 3, 4]


def test_blank_lines_count_for_no_limit_and_no_sample() -> None:
    rows = [Row(1, None, b"{}"), Row(2, None, b""), Row(3, None, b" "), Row(4, None, b"{}")]

    assert lines(chosen(rows, limit=2, sample=None, seed=0)) == [1, 4]
    assert lines(chosen(rows, limit=None, sample=2, seed=0)) == [1, 4]


def test_a_sample_comes_in_input_order_and_again_with_its_seed() -> None:
    once = lines(chosen(table(1000), limit=None, sample=20, seed=7))

    assert once == sorted(once)
    assert len(set(once)) == 20
    assert once == lines(chosen(table(1000), limit=None, sample=20, seed=7))
    assert once != lines(chosen(table(1000), limit=None, sample=20, seed=8))


def test_a_larger_sample_contains_the_smaller() -> None:
    small = lines(chosen(table(1000), limit=None, sample=20, seed=7))
    large = lines(chosen(table(1000), limit=None, sample=50, seed=7))

    assert set(small) < set(large)


def test_a_sample_takes_all_where_there_are_fewer() -> None:
    assert lines(chosen(table(3), limit=None, sample=20, seed=7)) == [2, 3, 4]
    assert lines(chosen(table(3), limit=None, sample=0, seed=7)) == []


def test_a_sample_with_a_limit_is_one_of_the_first_rows() -> None:
    assert max(lines(chosen(table(1000), limit=30, sample=10, seed=7))) <= 31


def test_every_row_is_as_likely_as_any_other() -> None:
    counts = dict.fromkeys(range(2, 12), 0)

    for seed in range(2000):
        for line in lines(chosen(table(10), limit=None, sample=3, seed=seed)):
            counts[line] += 1

    assert all(500 < count < 700 for count in counts.values())


def test_rows_that_belong_together_count_as_one_and_are_taken_whole() -> None:
    letters = "aabcccd"

    def letter(row: Row) -> str:
        return letters[row.line - 2]

    def taken(*, limit: int | None = None, sample: int | None = None) -> str:
        return "".join(map(letter, chosen(table(7), limit=limit, sample=sample, seed=0, together=letter)))

    assert [taken(limit=n) for n in (1, 2, 3, 9)] == ["aa", "aab", "aabccc", "aabcccd"]
    for n in range(1, 5):
        found = taken(sample=n)
        assert len(set(found)) == n
        assert all(found.count(one) == letters.count(one) for one in found)
