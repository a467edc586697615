"""What is quoted from the database: what waits, what was learned, what is left; on both databases."""

import json
from datetime import datetime, timedelta

import pytest

from api_schemas.submissions import Submission
from tests.integration.storage.conftest import NOW, Store, a_result, new_job
from worker.domain.attempts import Succeeded
from worker.domain.hosts import Host, HostModel, LoadedModel
from worker.domain.jobs import Priority
from worker.door.intake import Intake
from worker.errors import InputRefused
from worker.explain.explained import explain
from worker.quote.quote import Quoted, Tally, quote_batch, quote_input, tally
from worker.storage.ahead import open_jobs
from worker.storage.batches import get_batch
from worker.storage.engine import Database
from worker.storage.hosts import add_host, drain_host, record_probe, record_resident, record_unreachable
from worker.storage.leases import take_host
from worker.storage.models import model_facts
from worker.storage.paces import StoredPace, save_paces
from worker.storage.runs import close_run, loaded_run, open_run

QWEN, LLAMA = "qwen3:8b num_ctx=4096", "llama3.2:3b num_ctx=4096"
HERE = (
    HostModel("qwen3:8b", "d", False, 40960, size=8 * 10**9),
    HostModel("llama3.2:3b", "e", False, 40960, size=3 * 10**9),
)


class At:
    """A clock that stands."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()


@pytest.fixture
def store(database: Database) -> Store:
    """gpu-1 has both models and two slots, gpu-2 the small one and one slot."""
    with database.write() as conn:
        for name, slots, models in (("gpu-1", 2, HERE), ("gpu-2", 1, HERE[1:])):
            add_host(conn, Host(name, f"http://{name}:11434", slots=slots), now=NOW)
            record_probe(conn, name, version="0.30.1", models=models, now=NOW)
            take_host(conn, host=name, token=name, now=NOW, until=NOW + timedelta(hours=1))
    return Store(database)


def asked(store: Store, *lines: dict[str, object]) -> Tally:
    with store.database.read() as conn:
        known = model_facts(conn)
    return tally(Intake(Submission(), model_facts=known), (json.dumps(line) for line in lines), known)


def learned(store: Store, *seen: StoredPace) -> None:
    with store.database.write() as conn:
        save_paces(conn, seen, now=NOW)


def of_batch(store: Store, batch: int | None, **more: object) -> Quoted:
    with store.database.read() as conn:
        return quote_batch(conn, batch, now=store.now, **more)  # type: ignore[arg-type]


def jobs(n: int, model: str = "qwen3:8b", **more: object) -> list[dict[str, object]]:
    return [{"prompt": f"Say {i}.", "model": model, **more} for i in range(n)]


def test_on_the_first_day_it_guesses_and_says_so(store: Store) -> None:
    found = quote_input(store.database, asked(store, *jobs(20, options={"num_predict": 200})), clock=At(NOW))

    assert found.guessed == (QWEN,)
    # a load of 2 s and 1 s for each GB, then 20 answers of 200 tokens at 40 tokens/s in two slots
    assert found.quote.expected == pytest.approx(2 + 8 + 10 * 5)
    assert found.quote.high / found.quote.low > 8
    assert [(host.host, host.jobs) for host in found.hosts] == [("gpu-1", 20), ("gpu-2", 0)]


def test_texts_of_a_model_that_only_makes_vectors_are_not_guessed_like_answers(store: Store) -> None:
    embedding = HostModel("nomic:1", "f", False, 2048, size=3 * 10**8, capabilities=("embedding",))
    with store.database.write() as conn:
        record_probe(conn, "gpu-1", version="0.30.1", models=(*HERE, embedding), now=NOW)

    texts = [dict[str, object](kind="embed", model="nomic:1", input=f"{n}") for n in range(1000)]

    found = quote_input(store.database, asked(store, *texts), clock=At(NOW))

    # a load, then 1,000 texts of 0.05 s in two slots
    assert found.quote.expected == pytest.approx(2 + 0.3 + 500 * 0.05)


def test_what_was_learned_replaces_the_guess_and_narrows_it(store: Store) -> None:
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, None, None, 400))

    found = quote_input(store.database, asked(store, *jobs(20)), clock=At(NOW))

    assert found.guessed == ()
    assert found.quote.expected == pytest.approx(6 + 10 * 4)
    assert found.quote.high / found.quote.low < 1.6


def test_another_window_of_the_model_tells_its_pace_too(store: Store) -> None:
    learned(store, StoredPace("gpu-1", "qwen3:8b num_ctx=8192", 6.0, 4.0, None, None, 400))

    found = quote_input(store.database, asked(store, *jobs(20)), clock=At(NOW))

    assert found.guessed == ()
    assert found.quote.expected == pytest.approx(46)


def test_a_slot_that_was_found_not_to_be_there_does_not_count(store: Store) -> None:
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, 1, None, 400))

    found = quote_input(store.database, asked(store, *jobs(20)), clock=At(NOW))

    assert found.quote.expected == pytest.approx(6 + 20 * 4)


def test_a_runner_that_is_loaded_costs_no_load(store: Store) -> None:
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, None, None, 400))
    with store.database.write() as conn:
        record_resident(conn, "gpu-1", QWEN, now=NOW)

    found = quote_input(store.database, asked(store, *jobs(20)), clock=At(NOW))

    assert found.quote.loads == 0
    assert found.quote.expected == pytest.approx(40)


def test_what_waits_at_a_higher_or_the_same_priority_counts_and_a_lower_one_does_not(store: Store) -> None:
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, None, None, 400))
    store.submit(*(new_job(seq, runner_key=QWEN, priority=Priority.HIGH) for seq in range(1, 11)))
    store.submit(*(new_job(seq, runner_key=QWEN) for seq in range(1, 6)))
    store.submit(*(new_job(seq, runner_key=QWEN, priority=Priority.BULK) for seq in range(1, 100)))

    found = quote_input(store.database, asked(store, *jobs(20)), clock=At(NOW))

    assert (found.jobs, found.before, found.beside) == (20, 10, 5)
    assert found.quote.expected == pytest.approx(6 + (10 + 5 + 20) / 2 * 4, abs=4)


def test_a_host_that_takes_nothing_or_does_not_answer_is_left_out(store: Store) -> None:
    with store.database.write() as conn:
        drain_host(conn, "gpu-2", now=NOW)

    found = quote_input(store.database, asked(store, *jobs(4, "llama3.2:3b")), clock=At(NOW))
    assert [host.host for host in found.hosts] == ["gpu-1"]

    with store.database.write() as conn:
        record_unreachable(conn, "gpu-1", message="refused", now=NOW, token="gpu-1")
    none = quote_input(store.database, asked(store, *jobs(4, "llama3.2:3b")), clock=At(NOW))
    assert none.quote.unplaced == (LLAMA,)
    assert not none.meets(NOW + timedelta(days=9))


def test_jobs_that_are_done_already_are_not_done_again(store: Store) -> None:
    found = quote_input(
        store.database, asked(store, *jobs(20)), clock=At(NOW), less={"qwen3:8b num_ctx>=4096": 15, "x:1": 3}
    )

    assert found.jobs == 5


def test_the_rest_of_a_batch_is_quoted_and_ends_with_it(store: Store) -> None:
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, None, None, 400))
    other = store.submit(*(new_job(seq, runner_key=QWEN) for seq in range(1, 3)))
    batch = store.submit(*(new_job(seq, runner_key=QWEN) for seq in range(1, 11)))

    assert (of_batch(store, batch).jobs, of_batch(store, batch).beside) == (10, 2)
    alone = of_batch(store, batch, alone=True)
    assert alone.beside == 0
    assert alone.quote.expected == pytest.approx(6 + 5 * 4)
    assert of_batch(store, None).jobs == 12

    for job in store.claim(12, runner_key=QWEN):
        store.finish(job, Succeeded(a_result()))
    assert of_batch(store, batch).jobs == 0
    assert of_batch(store, batch).quote.expected == 0
    with store.database.read() as conn:
        assert open_jobs(conn) == []
        assert get_batch(conn, other).deadline is None


def test_an_input_that_is_wrong_is_refused_and_stores_nothing(store: Store) -> None:
    with pytest.raises(InputRefused, match="prompt"):
        asked(store, {"prompt": "", "model": "qwen3:8b"})
    with store.database.read() as conn:
        assert open_jobs(conn) == []


def test_prompts_that_end_alike_are_told_to_begin_alike(store: Store) -> None:
    document = "The whole of the contract. " * 40
    lines: list[dict[str, object]] = [
        {"prompt": f"{n}. What of clause {n}?\n{document}", "model": "qwen3:8b"} for n in range(10)
    ]

    found = quote_input(store.database, asked(store, *lines), clock=At(NOW))

    assert found.advice is not None
    assert found.advice.startswith("nothing shared")


def test_explain_names_what_costs_a_batch_its_time(store: Store) -> None:
    batch = store.submit(*(new_job(seq, runner_key=QWEN) for seq in range(1, 9)))
    store.submit(*(new_job(seq, runner_key=QWEN, priority=Priority.HIGH) for seq in range(1, 4)))
    learned(store, StoredPace("gpu-1", QWEN, 6.0, 4.0, 1, None, 400))
    with store.database.write() as conn:
        for seconds in (20, 30):
            run = open_run(conn, host="gpu-1", runner_key=QWEN, reason="r", now=store.now)
            loaded_run(conn, run, load_time=timedelta(seconds=seconds))
            store.later(50)
            close_run(conn, run, now=store.now)
    for job in store.claim(10, runner_key=QWEN)[3:9]:
        store.finish(job, Succeeded(a_result(reasoning="x" * 900, answer="y" * 100, total_seconds=9.0)))
    half = [LoadedModel("qwen3:8b", "d", 4096, 10**10, 5 * 10**9), LoadedModel("other:1", "f", 4096, 10, 0)]

    told = explain(store.database, str(batch), clock=At(store.now), loaded=lambda: {"gpu-1": half}).sentences

    beginnings = [
        "jobs of others come before it: 3 of batch",
        "loading took 50% of the hosts' time (2 loads, 50 s)",
        "50% of qwen3:8b is on the CPU of gpu-1",
        "gpu-1 gives 1 answer of qwen3:8b at once, its slots are 2",
        "90% of what qwen3:8b writes is reasoning: --no-think",
    ]
    assert [one for one in beginnings if not any(line.startswith(one) for line in told)] == [], told


def test_hosts_are_asked_what_they_hold_only_while_a_batch_runs(store: Store) -> None:
    batch = store.submit(new_job(1, runner_key=QWEN))
    asked_hosts = []

    explain(store.database, str(batch), clock=At(NOW), loaded=lambda: asked_hosts.append(1) or {})  # type: ignore[func-returns-value]
    assert asked_hosts == []

    store.claim(1, runner_key=QWEN)
    explain(store.database, str(batch), clock=At(NOW), loaded=lambda: asked_hosts.append(1) or {})  # type: ignore[func-returns-value]
    assert asked_hosts == [1]
