"""Answers that somebody should look at: how many are cut, empty or given to a part of the prompt."""

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.cli.main import app
from worker.domain.answers import AnswerCounts, AnswerFilter
from worker.domain.attempts import Failed, Succeeded
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code
from worker.maintenance.number import number_all
from worker.policy.answers import advice, drifted, mixed, unproved
from worker.storage.actions import retry_some
from worker.storage.answers import answer_counts, count_statement, room_needed, weights_of
from worker.storage.batches import finish_batches, promote_sealed
from worker.storage.ids import job_id
from worker.storage.keeping import prune_some
from worker.storage.results import model_figures


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
    with store.database.read() as conn:
        assert [row.unproved for row in model_figures(conn, batch)] == [1]
    assert unproved(0, batch) == []
    assert f"caravan results {batch} --prompt-fit unknown" in "".join(unproved(1, batch))


def test_nothing_is_proposed_for_answers_that_are_asked_again_already(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    batch = store.submit(new_job(1), new_job(2))
    for job in store.claim():
        store.finish(job, Succeeded(a_result(cut=True)))

    def status() -> str:
        return CliRunner().invoke(app, ["status", str(batch)]).output

    before = status()
    with store.database.write() as conn:
        again = Selection(batch, frozenset({job_id(batch, 1)}), states=frozenset({JobState.SUCCEEDED}))
        retry_some(conn, again, now=store.now, limit=10)
    half = status()
    with store.database.write() as conn:
        retry_some(conn, Selection(batch, states=frozenset({JobState.SUCCEEDED})), now=store.now, limit=10)

    assert f"2 answers were cut by num_predict or a full window: caravan retry {batch} --cut" in before
    assert f"1 answer was cut by num_predict or a full window: caravan retry {batch} --cut" in half
    assert "asked again already: 1 cut" in half
    assert "caravan retry" not in status()
    assert (
        f"asked again already: 2 cut; the old answers stay until new ones are stored: caravan watch {batch}"
        in status()
    )


def test_a_text_to_embed_that_is_too_long_is_proposed_to_be_cut_and_a_prompt_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARAVAN_DATABASE_URL", store.database.url.render_as_string(hide_password=False))
    for kind in ("generate", "embed"):
        batch = store.submit(new_job(1, kind=kind))
        store.finish(store.claim()[0], Failed(Code.CONTEXT_OVERFLOW, "9,000 tokens"))
        command = f"caravan run --from {batch} --code context_overflow --truncate"

        for words in (["status", str(batch)], ["explain", str(batch)], ["explain", f"{batch}:c1"]):
            assert (command in CliRunner().invoke(app, words).output) is (kind == "embed"), words


def test_a_model_that_was_pulled_anew_while_its_jobs_ran_is_named(store: Store) -> None:
    batch = store.submit(*(new_job(n) for n in range(1, 4)))
    for job, digest in zip(store.claim(), ("old", "new", "old"), strict=True):
        store.finish(job, digest=digest)

    with store.database.read() as conn:
        [row] = model_figures(conn, batch)
        weights = weights_of(conn, batch)
        ends = weights_of(conn, batch, read=2)
    assert row.digests == 2
    assert [(one.model, one.digest, one.answers) for one in weights] == [
        (row.model, "new", 1),
        (row.model, "old", 2),
    ]
    assert [(one.digest, one.answers) for one in ends] == [("old", 2)]
    assert [line.split(",")[0] for line in mixed(weights)[1:]] == ["new: 1 answer", "old: 2 answers"]
    assert mixed(ends) == []
    assert drifted(row.model, row.digests)[0].startswith(f"{row.model} was not the same for all answers: 2 ")
    assert drifted(row.model, 1) == []


def test_an_answer_that_is_a_failure_for_being_cut_counts_with_the_failures(store: Store) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job, Failed(Code.CUT, "the answer was cut", result=a_result(cut=True, output_tokens=5000)))

    assert counted(store, batch) == AnswerCounts()
    with store.database.read() as conn:
        assert room_needed(conn, batch).num_predict == 16_384, "more than it had"


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("qwen3:8b num_ctx=4096", " --set num_predict=4096 --set num_ctx=8192"),
        ("qwen3:8b num_ctx=32768", " --set num_predict=4096"),
        ("qwen3:8b num_ctx>=4096", " --set num_predict=4096"),
    ],
)
def test_an_answer_that_filled_the_window_that_was_set_needs_a_larger_one(
    store: Store, key: str, options: str
) -> None:
    batch = store.submit(new_job(1, runner_key=key))
    [job] = store.claim(runner_key=key)
    store.finish(job, Succeeded(a_result(cut=True, prompt_tokens=3000, output_tokens=1096)))

    with store.database.read() as conn:
        room = room_needed(conn, batch)
        lines = advice(AnswerCounts(cut=2, unfit=1), batch, room)
    assert room.for_cut == options
    assert ["--prompt-fit no" in lines[0], lines[1].endswith(f"--cut{options}")] == [True, True], (
        "in this order, which asks each answer once"
    )


def shown(store: Store, query: str) -> list[tuple[object, ...]]:
    with store.database.read() as conn:
        return [tuple(row) for row in conn.execute(text(query))]


def flawed(store: Store) -> int:
    """A batch whose answers are cut, cut and empty, unfit, and as they should be, all with their numbers."""
    batch = store.submit(*(new_job(n) for n in range(1, 5)))
    cut, empty, unfit, whole = store.claim()
    store.finish(cut, Succeeded(a_result(cut=True)))
    store.finish(empty, Succeeded(a_result(cut=True, answer=" ")))
    store.finish(unfit, Succeeded(a_result(prompt_fit="no")))
    store.finish(whole)
    number_all(store.database)
    return batch


def test_the_views_tell_how_many_answers_of_a_batch_and_of_a_day_are_to_be_looked_at(store: Store) -> None:
    flawed(store)

    assert shown(store, "SELECT cut, empty, unfit FROM report_batches") == [(2, 1, 1)]
    assert shown(store, "SELECT results, cut, empty, unfit FROM report_models_daily") == [(4, 2, 1, 1)]


def test_an_answer_that_was_replaced_counts_no_more_and_what_was_done_in_a_day_still_does(
    store: Store,
) -> None:
    batch = flawed(store)
    with store.database.write() as conn:
        retry_some(conn, Selection(batch, answers=AnswerFilter(cut=True)), now=store.now, limit=10)
        promote_sealed(conn, limit=10, now=store.now)
    assert counted(store, batch) == AnswerCounts(2, 1, 1)
    for job in store.claim():
        store.finish(job)
    number_all(store.database)

    assert counted(store, batch) == AnswerCounts(0, 0, 1)
    assert shown(store, "SELECT cut, empty, unfit FROM report_batches") == [(0, 0, 1)]
    assert shown(store, "SELECT results, cut, empty, unfit FROM report_models_daily") == [(6, 2, 1, 1)]


def test_answers_that_were_pruned_are_counted_as_before(store: Store) -> None:
    batch = flawed(store)
    with store.database.write() as conn:
        finish_batches(conn, now=store.now)
        assert prune_some(conn, batch, limit=2).jobs == 2
    assert counted(store, batch) == AnswerCounts(2, 1, 1)
    with store.database.write() as conn:
        prune_some(conn, batch, limit=10)

    assert counted(store, batch) == AnswerCounts(2, 1, 1)
    assert shown(store, "SELECT pruned, cut, empty, unfit FROM report_batches") == [(4, 2, 1, 1)]


def test_answers_are_counted_along_their_index_and_not_over_the_batch(store: Store) -> None:
    batch = flawed(store)
    explain = "EXPLAIN QUERY PLAN" if store.database.dialect == "sqlite" else "EXPLAIN"
    with store.database.write() as conn:
        if store.database.dialect == "postgresql":
            conn.execute(text("SET LOCAL enable_seqscan = off"))
        queries = (
            str(count_statement(store.database.dialect)).replace(":batch", str(batch)),
            f"SELECT unfit FROM report_batches WHERE batch = {batch}",
        )
        for query in queries:
            plan = "\n".join(str(row) for row in conn.execute(text(f"{explain} {query}")))
            assert "ix_results_flawed" in plan, plan
