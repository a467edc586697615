"""Every code that a failed, held or retried job is stored with is one of the published table, on both databases."""

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.integration.storage.conftest import NOW, Store, new_job
from worker.domain.attempts import Cancelled, Failed, Held, Outcome, Retried
from worker.domain.jobs import JobState
from worker.domain.selection import Selection
from worker.errors import CODES, Code, HostError
from worker.exports.results import result_lines
from worker.policy.retry import after_failure
from worker.storage.rescues import rescue_stale
from worker.storage.tables import attempts, jobs, results

codes = st.sampled_from(list(Code))
texts = st.text(max_size=20)
outcomes = st.one_of(
    st.builds(Failed, codes, texts, partial=texts),
    st.builds(Held, codes, texts),
    st.builds(Retried, codes, texts, st.just(NOW), charged=st.booleans(), partial=texts, lost=st.booleans()),
    st.builds(Cancelled, partial=texts),
    st.builds(
        after_failure,
        st.builds(HostError, codes, texts, partial=texts),
        charged=st.integers(0, 3),
        losses=st.integers(0, 3),
        max_attempts=st.just(3),
        now=st.just(NOW),
        jitter=st.just(0.0),
    ),
)


@dataclass
class Stored:
    results: set[str | None]
    attempts: set[str | None]
    held: set[str | None]


def stored(store: Store) -> Stored:
    with store.database.read() as conn:
        return Stored(
            set(conn.scalars(select(results.c.error_code))),
            set(conn.scalars(select(attempts.c.error_code))),
            set(conn.scalars(select(jobs.c.hold_code))),
        )


@settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(ends=st.lists(outcomes, min_size=1, max_size=6))
def test_every_code_that_an_outcome_is_stored_with_is_published(store: Store, ends: list[Outcome]) -> None:
    batch = store.submit(*(new_job(seq) for seq in range(1, len(ends) + 1)))

    for job, outcome in zip(store.claim(), ends, strict=True):
        store.finish(job, outcome)

    found = stored(store)
    assert (found.results | found.attempts | found.held) - {None} <= set(CODES)
    for line in result_lines(store.database, Selection(batch)):
        unhappy = line["state"] in (JobState.FAILED, JobState.HELD, JobState.CANCELLED)
        assert (line["error"] is not None) is unhappy
        assert line["error"] is None or line["error"]["code"] in CODES


@pytest.mark.parametrize("losses", [1, 2, 3])
def test_a_rescued_job_has_a_published_code_however_often_it_was_lost(store: Store, losses: int) -> None:
    store.submit(new_job(1))

    for n in range(losses):
        store.claim(token=f"t{n}") or store.claim_suspect(token=f"t{n}")
        store.later(1000)
        with store.database.write() as conn:
            rescue_stale(conn, now=store.now)
        store.later(1000)
        with store.database.write() as conn:
            conn.execute(jobs.update().where(jobs.c.state == "scheduled").values(state="queued"))

    found = stored(store)
    assert found.attempts | found.held <= {None, Code.WORKER_LOST}
    assert Code.WORKER_LOST in found.attempts
