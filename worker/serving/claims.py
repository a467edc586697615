"""Which jobs are in our hands? Claimed for the slots of a host, given back unstarted, and looked for when a commit's
answer was lost."""

import threading
from collections.abc import Iterable, Sequence
from datetime import timedelta

from worker.clock import Clock
from worker.domain.jobs import ClaimedJob
from worker.domain.timings import Timings
from worker.errors import DatabaseFailure
from worker.observability.events import emit, emit_failure
from worker.policy.facts import RunJobs
from worker.serving.reuse import Reuse
from worker.serving.slots import Slots
from worker.serving.store import Store
from worker.storage.claims import claim_jobs, claim_suspect, release_jobs, release_strays
from worker.storage.engine import Connection, Database


class Claims:
    """The jobs that bear ``token``. Only the serving thread calls the methods, ``held`` apart."""

    def __init__(
        self,
        database: Database,
        *,
        host: str,
        token: str,
        slots: Slots,
        store: Store,
        clock: Clock,
        timings: Timings,
        batch_id: int | None,
        reuse: Reuse | None = None,
    ) -> None:
        self._database, self._host, self._token = database, host, token
        self._slots, self._store = slots, store
        self._clock, self._timings, self._batch_id = clock, timings, batch_id
        self._reuse = reuse
        self._strays = threading.Event()
        """Set by the heartbeat's thread too."""

    def held(self) -> frozenset[int]:
        """Jobs whose leases have to be kept: in a slot, before one, or ended and not stored yet. From any thread."""
        return self._slots.held | self._store.held

    def doubted(self) -> None:
        """The database did not answer: a claim may have been committed all the same, a release not."""
        self._strays.set()

    def claim(self, decision: RunJobs, runner_keys: Sequence[str], *, limit: int) -> Sequence[ClaimedJob]:
        """Take up to ``limit`` jobs of the ``runner_keys`` that the decision's runner serves; those that may take a
        stored answer, and have one by now, are not among them. Raises DatabaseFailure."""
        while True:
            claimed = self._claim(decision, runner_keys, limit=limit)
            if self._reuse is None or not claimed:
                break
            asked = [job for job in claimed if job.id not in self._reuse.taken]
            if len(asked) < len(claimed):
                self._reuse.look_ahead({job.model for job in claimed})
            claimed = asked
            if claimed:
                break
        if claimed:
            emit("job.claimed", host=self._host, runner_key=decision.runner_key, jobs=len(claimed))
        return claimed

    def _claim(self, decision: RunJobs, runner_keys: Sequence[str], *, limit: int) -> Sequence[ClaimedJob]:
        now = self._clock.now()

        def claim(conn: Connection) -> Sequence[ClaimedJob]:
            claimed = claim_jobs(
                conn,
                host=self._host,
                runner_keys=runner_keys,
                limit=limit,
                token=self._token,
                now=now,
                lease_until=now + timedelta(seconds=self._timings.lease),
                priorities=decision.priorities,
                batch_id=self._batch_id,
                order=decision.order,
            )
            if self._reuse is not None:
                self._reuse.claimed(conn, claimed)
            return claimed

        return self._database.transact(claim)

    def claim_suspect(self, runner_keys: Sequence[str]) -> Sequence[ClaimedJob]:
        """Take one job that has to run alone; the slots are dry. Raises DatabaseFailure."""
        now = self._clock.now()
        claimed = self._database.transact(
            lambda conn: claim_suspect(
                conn,
                host=self._host,
                runner_keys=runner_keys,
                token=self._token,
                now=now,
                lease_until=now + timedelta(seconds=self._timings.lease),
                batch_id=self._batch_id,
            )
        )
        for job in claimed:
            emit("job.suspected", host=self._host, job=job.id, losses=job.losses)
        return claimed

    def give_back(self) -> None:
        """Release what no slot has taken."""
        self._release(self._slots.take_back())

    def answer_alike(self, job_ids: Iterable[int]) -> None:
        """These jobs have ended. What asks the same and has no slot yet takes their answers, where they have any."""
        keys = frozenset[bytes]() if self._reuse is None else self._reuse.ended(job_ids)
        alike = self._slots.take_back(keys) if keys else []
        if not alike or self._reuse is None:
            return
        try:
            alike = list(self._reuse.answer(alike))
        except DatabaseFailure:
            self._strays.set()  # what was committed is no longer ours, and the others are released as strays
            raise
        self._release(alike)

    def _release(self, unstarted: Sequence[ClaimedJob]) -> None:
        if not unstarted:
            return
        if self._reuse is not None:
            self._reuse.ended(job.id for job in unstarted)
        try:
            self._database.transact(
                lambda conn: release_jobs(
                    conn,
                    token=self._token,
                    job_ids=[job.id for job in unstarted],
                    now=self._clock.now(),
                )
            )
        except DatabaseFailure as error:
            self._strays.set()
            emit_failure(error, host=self._host)
            return
        emit("job.released", host=self._host, jobs=len(unstarted))

    def release_strays(self) -> None:
        """Release what bears our token and is in nobody's hands, where that may be. Raises DatabaseFailure."""
        if not self._strays.is_set():
            return
        self._strays.clear()  # before the look: a doubt that comes up meanwhile is looked into the next time
        try:
            jobs = self._database.transact(
                lambda conn: release_strays(conn, token=self._token, held=self.held(), now=self._clock.now())
            )
        except BaseException:
            self._strays.set()
            raise
        if jobs:
            emit("job.released", host=self._host, jobs=jobs)
