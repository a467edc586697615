"""A kind of request that the heart knows nothing of goes through a whole run: several jobs a call, one outcome for each."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text

import simulator
from tests.echo import JOBS_A_CALL, PATH
from tests.integration.serving.test_serve import MODELS, TENTH, add, counts, simulated, submit
from tests.maintenance import tick
from tests.waiting import wait_until
from worker.clock import Clock, OffsetClock
from worker.domain.attempts import Finish
from worker.domain.hosts import Host
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import Code, DatabaseUnavailable, HostError
from worker.exports.results import result_lines
from worker.ollama.client import Call, OllamaHost
from worker.replies.stream import Reader
from worker.serving.history import HostHistory
from worker.serving.loop import PassResult, serve_host
from worker.serving.outbox import Outbox
from worker.serving.pace import Paces
from worker.serving.session import ServingContext
from worker.serving.spool import Spool
from worker.storage.claims import claim_jobs
from worker.storage.engine import Connection, Database
from worker.storage.finishes import Finished
from worker.storage.leases import mark_in_slot
from worker.storage.results import list_attempts

T = TypeVar("T")
pytestmark = pytest.mark.usefixtures("echoes")


class EchoingHost(OllamaHost):
    """A host with one route more. It refuses the text ``unspeakable``, and cuts the connection at ``deadly``."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.url, slots=host.slots)
        self.calls: list[list[str]] = []

    def ask(
        self, path: str, body: Mapping[str, Any], reader: Reader[T], call: Call | None = None, **more: Any
    ) -> T:
        if path != PATH:
            return super().ask(path, body, reader, call, **more)
        texts = body["texts"]
        self.calls.append(texts)
        if "deadly" in texts:
            raise HostError(Code.REPLY_CUT, "the connection was cut")
        return {"echoes": [None if one == "unspeakable" else one for one in texts]}  # type: ignore[return-value]


def run(
    database: Database,
    clock: Clock,
    host: Host,
    *,
    outbox: Outbox | None = None,
    history: HostHistory | None = None,
) -> tuple[PassResult, EchoingHost]:
    gpu = EchoingHost(host)
    try:
        context = ServingContext(database, host, gpu, clock, timings=TENTH)
        return serve_host(context, outbox=outbox, history=history), gpu
    finally:
        gpu.close()


def echo(say: str, **more: Any) -> dict[str, Any]:
    return {"kind": "echo", "model": MODELS[0], "say": say, "custom_id": say, **more}


def test_jobs_share_calls_and_one_that_is_refused_takes_no_other_with_it(
    database: Database, clock: Clock
) -> None:
    said = [f"text {n}" for n in range(2 * JOBS_A_CALL)] + ["unspeakable"]
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [echo("loud", loud=True), *map(echo, said)])
        spoken = submit(database, clock, [{"model": MODELS[0], "prompt": "Say it."}], key="spoken")

        served, gpu = run(database, clock, host)

    assert (served.jobs, served.loads) == (len(said) + 2, 1)
    assert counts(database, batch) == {JobState.SUCCEEDED: len(said), JobState.FAILED: 1}
    assert counts(database, spoken) == {JobState.SUCCEEDED: 1}
    answers = {line["custom_id"]: line for line in result_lines(database, Selection(batch.id))}
    assert answers["loud"]["answer"] == "LOUD"
    assert answers["text 3"]["answer"] == "text 3"
    assert answers["unspeakable"]["error"]["code"] == "invalid_request"
    assert sum(map(len, gpu.calls)) == len(said) + 1
    assert max(map(len, gpu.calls)) == JOBS_A_CALL
    with database.read() as conn:
        kinds = conn.execute(text("SELECT kind, count(*) FROM jobs GROUP BY kind ORDER BY kind")).all()
    assert [tuple(row) for row in kinds] == [("echo", len(said) + 1), ("generate", 1)]


def test_what_a_call_brought_for_several_jobs_waits_in_the_spool_for_the_next_worker(
    database: Database, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(conn: Connection, group: list[Finish], **more: Any) -> Finished:
        raise DatabaseUnavailable("the database is away")

    spool = Spool(tmp_path / "gpu-1.jsonl")
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        history = HostHistory(Paces(host.name))
        submit(database, clock, [echo("quick")], key="how quick it is")
        run(database, clock, host, history=history)
        batch = submit(database, clock, [echo(f"text {n}") for n in range(JOBS_A_CALL)])
        with monkeypatch.context() as patch:
            patch.setattr("worker.serving.outbox.finish_jobs", away)
            outbox = Outbox(database, host.name, clock=clock, spool=spool)
            first = _crash_after(database, clock, host, outbox, history)
        assert first.calls == [[f"text {n}" for n in range(JOBS_A_CALL)]]

        outbox = Outbox(database, host.name, clock=clock, spool=Spool(spool.path))
        _, second = run(database, clock, host, outbox=outbox)

    assert second.calls == []
    assert counts(database, batch) == {JobState.SUCCEEDED: JOBS_A_CALL}
    assert [line["attempts"] for line in result_lines(database, Selection(batch.id))] == [1] * JOBS_A_CALL
    assert not spool.path.exists()


def _crash_after(
    database: Database, clock: Clock, host: Host, outbox: Outbox, history: HostHistory
) -> EchoingHost:
    """A worker that is stopped once its answers are in the spool, before anything is stored."""
    gpu, stop = EchoingHost(host), threading.Event()
    context = ServingContext(database, host, gpu, clock, timings=TENTH, stop=stop)
    thread = threading.Thread(target=lambda: serve_host(context, outbox=outbox, history=history))
    thread.start()
    wait_until(lambda: len(outbox.held) == JOBS_A_CALL, description="the answers wait in the outbox")
    stop.set()
    thread.join(20)
    gpu.close()
    return gpu


def test_a_worker_that_dies_within_a_call_costs_each_of_its_jobs_a_loss_and_they_are_asked_alone(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [echo("text 1"), echo("text 2")])
        with database.write() as conn:
            keys = list(conn.scalars(text("SELECT DISTINCT runner_key FROM jobs")))
            claimed = claim_jobs(
                conn,
                host=host.name,
                runner_keys=keys,
                limit=9,
                token="dead",
                now=clock.now(),
                lease_until=clock.now() + timedelta(seconds=9),
            )
            mark_in_slot(conn, token="dead", job_ids=[job.id for job in claimed])
        later = OffsetClock(clock.now() + timedelta(seconds=60))
        tick(database, clock=later)

        _, gpu = run(database, later, host)

    assert sorted(gpu.calls) == [["text 1"], ["text 2"]]
    assert counts(database, batch) == {JobState.SUCCEEDED: 2}


def test_a_host_that_fails_a_call_fails_each_of_its_jobs_once_and_is_blamed_once(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(num_parallel=1)) as (running,):
        host = add(database, clock, running, slots=1)
        batch = submit(database, clock, [echo("deadly"), echo("text 1"), echo("text 2")])

        _, gpu = run(database, clock, host)

    assert counts(database, batch).get(JobState.SUCCEEDED, 0) == 0
    tried = {one for texts in gpu.calls for one in texts}
    with database.read() as conn:
        lines = {line["custom_id"]: line["job"] for line in result_lines(database, Selection(batch.id))}
        attempts = {name: list_attempts(conn, job) for name, job in lines.items()}
    assert {name for name, made in attempts.items() if made} == tried
