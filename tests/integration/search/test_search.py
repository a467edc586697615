"""What is found by its words, on both databases, and what is found no more."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text

from tests.clocks import FakeClock
from tests.integration.storage.conftest import Store, a_result, new_job
from tests.maintenance import run_services
from worker.dispatch.services import fleet_services
from worker.domain.attempts import Succeeded
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Conflict, InputRefused
from worker.maintenance.keeping import delete_jobs, prune
from worker.maintenance.number import number_all
from worker.search.search import SearchResult, catch_up, index_texts, jobs_matching, search
from worker.settings import load_settings
from worker.storage.actions import retry_some
from worker.storage.batches import finish_batches
from worker.storage.copy import copied_tables
from worker.storage.search import forget
from worker.storage.tables import searchable


def answered(store: Store, *said: tuple[str, str], **fields: Any) -> int:
    """A batch with these prompts and answers, that can be searched."""
    batch = store.submit(
        *(new_job(n, prompt=prompt, **fields) for n, (prompt, _) in enumerate(said, start=1))
    )
    for job in store.claim(len(said)):
        answer = said[(job.id & 0xFFFFFF) - 1][1]
        store.finish(job, Succeeded(a_result(answer=answer)))
    with store.database.write() as conn:
        finish_batches(conn, now=store.now)
    catch_up(store.database, clock=FakeClock(store.now), most_seconds=None)
    return batch


def places(found: SearchResult) -> list[int]:
    return [hit.text.job_id & 0xFFFFFF for hit in found.hits]


def rows(store: Store) -> list[int]:
    with store.database.read() as conn:
        return list(conn.scalars(select(searchable.c.job_id).order_by(searchable.c.job_id)))


SAID = (
    ("显卡驱动怎么装？", "先下载驱动，然后重启。如果显存不足，请换一个小模型。"),
    ("How do I install the driver?", "Out of memory: use a smaller model, e.g. qwen3:8b at 3.14 GB."),
    ("Où est le café?", "The CAFÉ is on the left. Memory out of reach."),
    ("存不存在", "不足为奇"),
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("显存", [1]),
        ("显存不足", [1]),
        ("驱动", [1]),
        ("足", [4, 1]),
        ("奇", [4]),
        ("。", None),
        ("driver", [2]),
        ("DRIVER", [2]),
        ("drive", []),
        ("driv*", [2]),
        ("cafe", [3]),
        ("ＣＡＦÉ", [3]),
        ("memory", [3, 2]),
        ('"out of memory"', [2]),
        ("memory -café", [2]),
        ("memory -smaller -cafe", []),
        ("3.14", [2]),
        ("3.1", []),
        ("qwen3:8b", [2]),
        ("模型 -driver", [1]),
        ("memory 显存", []),
        ("' | !x & driver", None),
    ],
)
def test_words_are_found_as_they_are_meant(store: Store, words: str, expected: list[int] | None) -> None:
    answered(store, *SAID)

    if expected is None:
        with pytest.raises(InputRefused):
            search(store.database, words)
    else:
        assert places(search(store.database, words)) == expected


def test_pairs_that_stand_elsewhere_are_no_hit(store: Store) -> None:
    answered(store, ("a", "显存和存不下，也不足"))  # 显存, 存不 and 不足 are there

    assert places(search(store.database, "显存不足")) == []


def test_a_hit_is_shown_and_marked_in_the_text_as_it_is_written(store: Store) -> None:
    answered(store, *SAID)

    assert "[显存]不足" in search(store.database, "显存").hits[0].snippet
    assert search(store.database, "cafe").hits[0].snippet.startswith("The [CAFÉ] is on")


def test_a_field_a_model_and_a_batch_narrow_the_search(store: Store) -> None:
    first = answered(store, ("apple", "pear"))
    second = answered(store, ("pear", "apple"))

    def found(**more: Any) -> list[int]:
        return [hit.text.batch_id for hit in search(store.database, "apple", **more).hits]

    assert found() == [second, first]
    assert found(fields=["prompt"]) == [first]
    assert found(fields=["answer"]) == [second]
    assert found(batch_id=first) == [first]
    assert found(models=["llama3.2:latest"]) == []


def test_a_word_that_is_not_wanted_is_looked_for_in_the_fields_asked(store: Store) -> None:
    answered(store, ("apple", "pear"))

    assert places(search(store.database, "apple -pear")) == []
    assert places(search(store.database, "apple -pear", fields=["prompt"])) == [1]


def test_a_search_goes_on_through_all_candidates_and_says_that_there_are_more(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.search.search.CANDIDATES", 2)
    answered(store, *((f"apple {n}", "yes") for n in range(1, 6)))

    assert places(search(store.database, "apple")) == [5, 4, 3, 2, 1]
    few = search(store.database, "apple", limit=3)
    assert (places(few), few.more) == ([5, 4, 3], True)
    assert search(store.database, "apple", limit=5).more is False


def test_a_search_says_what_it_has_not_taken_in(store: Store) -> None:
    answered(store, ("apple", "pear"))
    store.submit(new_job(1, prompt="apple"))
    store.finish(store.claim()[0])

    before = search(store.database, "apple")
    catch_up(store.database, clock=FakeClock(store.now))
    after = search(store.database, "apple")

    assert (len(before.hits), before.progress.behind) == (1, 1)
    assert (len(after.hits), after.progress.behind) == (2, 0)


def test_the_chores_take_in_what_came(store: Store) -> None:
    answered(store, ("apple", "pear"))
    with store.database.write() as conn:
        conn.execute(text("UPDATE searching SET last = 0"))
        conn.execute(text("DELETE FROM searchable"))

    [searching] = [
        service for service in fleet_services(load_settings()).services if service.name == "search"
    ]
    done = run_services(store.database, FakeClock(store.now), [searching])

    assert (done["indexed"], len(rows(store))) == (1, 1)


def test_taking_in_goes_on_where_it_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(store, *((f"apple {n}", "yes") for n in range(1, 6)))
    monkeypatch.setattr("worker.search.search.AT_ONCE", 2)
    with store.database.write() as conn:
        conn.execute(text("UPDATE searching SET last = 0"))

    taken = [index_texts(store.database, clock=FakeClock(store.now), most_seconds=-1) for _ in range(4)]

    assert taken == [2, 2, 1, 0]


def test_what_lies_beyond_the_limit_of_a_text_is_not_found(store: Store) -> None:
    store.submit(new_job(1, prompt="apple " + "x " * 50 + "pear"))
    store.finish(store.claim()[0])
    catch_up(store.database, clock=FakeClock(store.now), most_seconds=0)
    with store.database.write() as conn:
        conn.execute(text("UPDATE searching SET last = 0"))

    index_texts(store.database, clock=FakeClock(store.now), most=20)

    assert places(search(store.database, "apple")) == [1]
    assert places(search(store.database, "pear")) == []


def test_a_job_that_is_asked_anew_is_found_by_its_new_answer(store: Store) -> None:
    batch = answered(store, ("apple", "pear"))
    with store.database.write() as conn:
        conn.execute(text("UPDATE results SET state = 'failed', error_code = 'unsupported'"))
        conn.execute(text("UPDATE jobs SET state = 'failed'"))
        retry_some(conn, Selection(batch), now=store.now, limit=10)
    gone = places(search(store.database, "pear"))
    with store.database.write() as conn:
        conn.execute(text("UPDATE jobs SET state = 'queued', eligible_at = NULL"))
    store.finish(store.claim(token="t2")[0], Succeeded(a_result(answer="plum")), token="t2")
    catch_up(store.database, clock=FakeClock(store.now))

    assert gone == []
    assert places(search(store.database, "plum")) == [1]
    assert places(search(store.database, "pear")) == []


def test_nothing_is_kept_of_what_is_deleted_or_pruned(store: Store) -> None:
    first = answered(store, ("apple one", "pear"), ("apple two", "pear"))
    second = answered(store, ("apple three", "pear"))
    clock = FakeClock(store.now + timedelta(days=1))

    delete_jobs(
        store.database, [Selection(first, custom_ids=frozenset({"c1"}))], clock=clock, rest=lambda _: None
    )
    assert rows(store) == [first * 2**24 + 2, second * 2**24 + 1]
    prune(store.database, [second], clock=clock, rest=lambda _: None)

    assert rows(store) == [first * 2**24 + 2]
    assert [hit.text.batch_id for hit in search(store.database, "apple").hits] == [first]


def test_the_index_is_whole_after_rows_went(store: Store) -> None:
    first = answered(store, *SAID)
    with store.database.write() as conn:
        forget(conn, [first * 2**24 + 1])

    assert places(search(store.database, "显存")) == []
    if store.database.dialect == "sqlite":
        with store.database.write() as conn:  # raises where the index and the table differ
            conn.execute(text("INSERT INTO search_index (search_index, rank) VALUES ('integrity-check', 1)"))


def test_jobs_are_chosen_by_their_words_before_they_have_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.search.search.CANDIDATES", 2)
    batch = store.submit(*(new_job(n, prompt="苹果 apple" if n % 2 else "pear") for n in range(1, 6)))

    def ids(chosen: Selection, words: str, **more: Any) -> list[int]:
        return [
            job & 0xFFFFFF
            for one in jobs_matching(store.database, [chosen], words, **more)
            for job in sorted(one.job_ids or ())
        ]

    assert ids(Selection(batch), "苹果") == [1, 3, 5]
    assert ids(Selection(batch, custom_ids=frozenset({"c3", "c4"})), "apple") == [3]
    assert ids(Selection(batch, states=frozenset({JobState.FAILED})), "apple") == []
    with pytest.raises(Conflict, match="more than 2 jobs"):
        ids(Selection(batch), "apple", most=2)


def test_a_copy_takes_what_texts_are_found_by_along() -> None:
    assert {"searchable", "searching"} <= {table.name for table in copied_tables()}


def test_of_long_texts_only_their_beginnings_are_read_for_the_index(store: Store) -> None:
    long = "word " * 20_000
    store.submit(new_job(1, prompt=f"early {long} late"))
    (job,) = store.claim()
    store.finish(job, Succeeded(a_result(answer=f"first {long} last")))
    read: list[int] = []

    def seen(conn: Any, cursor: Any, statement: str, *_: object) -> None:
        if "payloads" in statement and statement.startswith("SELECT"):
            for row in conn.connection.cursor().execute(statement, _[0]).fetchall():
                read.append(sum(len(value) for value in row if isinstance(value, str)))

    engine = store.database._engine
    event.listen(engine, "after_cursor_execute", seen)
    try:
        number_all(store.database)
        index_texts(store.database, clock=FakeClock(store.now), most_seconds=None, most=100)
    finally:
        event.remove(engine, "after_cursor_execute", seen)

    assert found_words(store, "early first") == 1
    assert found_words(store, "late") == 0
    assert len(read) == 1
    assert max(read) < 500


def found_words(store: Store, words: str) -> int:
    return len(search(store.database, words).hits)
