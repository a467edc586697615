"""Claims, releases and recovers the jobs of this worker."""

import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta

from worker.domain.jobs import ClaimedJob
from worker.errors import DatabaseFailure
from worker.observability.events import emit, emit_failure
from worker.policy.facts import RunJobs
from worker.serving.outbox import Outbox
from worker.serving.reuse import Reuse
from worker.serving.session import HostSession
from worker.serving.slots import Slots
from worker.storage.claims import claim_jobs, claim_suspect
from worker.storage.engine import Connection
from worker.storage.leases import release_jobs, release_strays


class Claims:
    """The jobs that bear the token of ``session``. Only the serving thread calls the methods, but for ``held`` and ``doubt``."""

    def __init__(self, session: HostSession, slots: Slots, outbox: Outbox, reuse: Reuse) -> None:
        self._session, self._context = session, session.context
        self._slots, self._outbox, self._reuse = slots, outbox, reuse
        self._strays = threading.Event()
        """There may be jobs that bear our token and that nobody here knows of."""

    def held(self) -> frozenset[int]:
        """Jobs whose leases have to be kept: in a slot, before one, or ended and not stored yet. From any thread."""
        return self._slots.held | self._outbox.held

    def doubt(self) -> None:
        """The database did not answer: a claim may have been committed all the same, a release not. From any thread."""
        self._strays.set()

    def claim(self, decision: RunJobs, runner_keys: Sequence[str], *, limit: int) -> Sequence[ClaimedJob]:
        """Take up to ``limit`` jobs of the ``runner_keys`` that the decision's runner serves; those that may take a
        stored answer, and have one by now, are not among them. Raises DatabaseFailure."""
        while claimed := self._claim(decision, runner_keys, limit=limit):
            unanswered = [job for job in claimed if job.id not in self._reuse.hits]
            if len(unanswered) < len(claimed):
                self._reuse.look_ahead({job.model for job in claimed})
            if unanswered:
                emit(
                    "job.claimed",
                    host=self._session.host,
                    runner_key=decision.runner_key,
                    jobs=len(unanswered),
                )
                return unanswered
        return ()

    def _claim(self, decision: RunJobs, runner_keys: Sequence[str], *, limit: int) -> Sequence[ClaimedJob]:
        now = self._context.clock.now()

        def claim(conn: Connection) -> Sequence[ClaimedJob]:
            claimed = claim_jobs(
                conn,
                host=self._session.host,
                runner_keys=runner_keys,
                limit=limit,
                token=self._session.token,
                now=now,
                lease_until=now + timedelta(seconds=self._context.timings.lease),
                priorities=decision.priorities,
                batch_id=self._context.batch_id,
                order=decision.order,
            )
            self._reuse.answer_claimed(conn, claimed)
            return claimed

        return self._context.database.transact(claim)

    def claim_suspect(self, runner_keys: Sequence[str]) -> Sequence[ClaimedJob]:
        """Take one job that has to run alone; the slots are dry. Raises DatabaseFailure."""
        now = self._context.clock.now()
        claimed = self._context.database.transact(
            lambda conn: claim_suspect(
                conn,
                host=self._session.host,
                runner_keys=runner_keys,
                token=self._session.token,
                now=now,
                lease_until=now + timedelta(seconds=self._context.timings.lease),
                batch_id=self._context.batch_id,
            )
        )
        for job in claimed:
            emit(
                "job.suspected",
                host=self._session.host,
                job=job.id,
                custom_id=job.custom_id,
                losses=job.losses,
            )
        return claimed

    def give_back(self) -> None:
        """Release what no slot has taken."""
        self._release(self._slots.take_back())

    def answer_alike(self, job_ids: Iterable[int]) -> None:
        """These jobs have ended. Jobs that ask the same and have no slot yet take their answers, where they have any."""
        keys = self._reuse.forget(job_ids)
        alike = self._slots.take_back(keys) if keys else []
        if not alike:
            return
        try:
            alike = list(self._reuse.answer(alike))
        except DatabaseFailure:
            self.doubt()  # what was committed is no longer ours, and the others are released as strays
            raise
        self._release(alike)

    def _release(self, unstarted: Sequence[ClaimedJob]) -> None:
        if not unstarted:
            return
        self._reuse.forget(job.id for job in unstarted)
        try:
            self._context.database.transact(
                lambda conn: release_jobs(
                    conn,
                    token=self._session.token,
                    job_ids=[job.id for job in unstarted],
                    now=self._context.clock.now(),
                )
            )
        except DatabaseFailure as error:
            self.doubt()
            emit_failure(error, host=self._session.host)
            return
        emit("job.released", host=self._session.host, jobs=len(unstarted))

    def release_strays(self) -> None:
        """Release jobs that bear our token and are in nobody's hands, where there may be any. Raises DatabaseFailure."""
        if not self._strays.is_set():
            return
        self._strays.clear()  # before the look: a doubt that comes up meanwhile is looked into the next time
        try:
            jobs = self._context.database.transact(
                lambda conn: release_strays(
                    conn, token=self._session.token, keep=self.held(), now=self._context.clock.now()
                )
            )
        except BaseException:
            self.doubt()
            raise
        if jobs:
            emit("job.released", host=self._session.host, jobs=jobs)
