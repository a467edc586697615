"""What a host has written so far reaches who waits for it in another process."""

import threading

import simulator
from tests.integration.serving.test_serve import MODELS, add, counts, serve, simulated, submit
from tests.waiting import wait_until
from worker.clock import Clock
from worker.domain.jobs import JobState
from worker.storage.drafts import ask_for_draft, end_draft, read_draft
from worker.storage.engine import Database


def test_a_draft_grows_while_the_host_writes_and_only_where_somebody_looks(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated(time_scale=0.5)) as (running,):
        host = add(database, clock, running)
        job = {"model": MODELS[0], "prompt": "Tell me all.", "priority": "interactive"}
        seen, unseen = (submit(database, clock, [job], key=key) for key in ("seen", "unseen"))
        with database.write() as conn:
            ask_for_draft(conn, seen.id)

        def draft(batch_id: int) -> str:
            with database.read() as conn:
                return read_draft(conn, batch_id)

        serving = threading.Thread(target=serve, args=(database, clock, host))
        serving.start()
        wait_until(lambda: draft(seen.id) != "", description="a draft")
        early = draft(seen.id)
        wait_until(lambda: draft(seen.id) != early, description="a longer draft")
        later = draft(seen.id)
        serving.join(60)

        assert later.startswith(early)
        assert draft(unseen.id) == ""
        assert counts(database, seen) == counts(database, unseen) == {JobState.SUCCEEDED: 1}
        with database.write() as conn:
            end_draft(conn, seen.id)
        assert draft(seen.id) == ""


def test_drafts_that_a_dead_process_left_behind_go_with_the_next_question(
    database: Database, clock: Clock
) -> None:
    with simulator.running(simulated()) as (running,):
        host = add(database, clock, running)
        batch = submit(database, clock, [{"model": MODELS[0], "prompt": "Why?"}])
        with database.write() as conn:
            ask_for_draft(conn, batch.id)
        serve(database, clock, host)

        with database.write() as conn:
            ask_for_draft(conn, batch.id)
            left = conn.exec_driver_sql("SELECT count(*) FROM drafts").scalar()

    assert left == 0
