"""Answers that somebody should look at: how many are cut, empty or given to a part of the prompt."""

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.answers import AnswerCounts
from worker.domain.attempts import Failed, Succeeded
from worker.errors import Code
from worker.storage.answers import answer_counts


def counted(store: Store, batch: int) -> AnswerCounts:
    with store.database.read() as conn:
        return answer_counts(conn, batch)


def test_answers_that_are_cut_empty_or_unfit_are_counted_in_their_batch(store: Store) -> None:
    other = store.submit(new_job(1))
    store.finish(store.claim()[0], Succeeded(a_result(cut=True)))
    batch = store.submit(*(new_job(n) for n in range(1, 7)))
    cut, both, unfit, unknown, whole, _ = store.claim()
    store.finish(cut, Succeeded(a_result(cut=True)))
    store.finish(both, Succeeded(a_result(cut=True, answer="")))
    store.finish(unfit, Succeeded(a_result(prompt_fit="no")))
    store.finish(unknown, Succeeded(a_result(prompt_fit="unknown")))
    store.finish(whole)

    assert counted(store, batch) == AnswerCounts(cut=2, empty=1, unfit=1)
    assert counted(store, other) == AnswerCounts(cut=1)
    assert counted(store, 99) == AnswerCounts()


def test_an_answer_that_is_a_failure_for_being_cut_counts_with_the_failures(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job, Failed(Code.CUT, "the answer was cut", result=a_result(cut=True)))

    assert counted(store, batch) == AnswerCounts()
