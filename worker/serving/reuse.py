"""Reuses stored answers for identical requests.

Waiting jobs are looked through before anything is loaded for them, and claimed jobs once more: the answer may have come
meanwhile, even to a job beside them.
"""

from collections.abc import Collection, Iterable, Sequence

from worker.domain.jobs import ClaimedJob
from worker.observability.events import emit
from worker.serving.machine import Machine
from worker.serving.session import HostSession
from worker.storage.engine import Connection
from worker.storage.reuse import LOOKED_UP, NEW, reuse_claimed, reuse_waiting, wants_reuse

CHUNK = 2000
"""Jobs in one transaction."""
LOOK_EVERY = 1.0
"""Seconds between two looks for jobs that nobody has looked at, while the slots are busy."""
AHEAD = 32
"""Jobs that are looked at again when one of them turned out to have an answer by now; twice as many each time that most
of them have."""
MOST_AHEAD = 4096


class Reuse:
    """Stored answers for the jobs of one host's models. Only the serving thread calls the methods."""

    def __init__(self, session: HostSession, machine: Machine) -> None:
        self._context, self._machine = session.context, machine
        self._cut = not session.context.fail_on_cut
        """A stored answer that was cut is good enough."""
        self._looked_at = float("-inf")
        self._ahead = 0
        """Jobs to be looked at again before the next claim."""
        self.hits: frozenset[int] = frozenset()
        """Of the jobs that were claimed last, those that have their answer."""
        self._keys: dict[int, bytes] = {}
        """Job in our hands → what it asks."""

    def look(self, *, dry: bool) -> int:
        """Answer what waits and has a stored answer; returns how many. ``dry``: nothing runs, and a load may be decided
        next, so it is looked for at once. Raises DatabaseUnavailable."""
        now = self._context.clock.monotonic()
        if not dry and now - self._looked_at < LOOK_EVERY:
            return 0
        self._looked_at = now
        digests = self._digests()
        with self._context.database.read() as conn:
            if not wants_reuse(conn, sorted(digests), batch_id=self._context.batch_id):
                return 0
        total = sum(self._answer_all(model, digest) for model, digest in sorted(digests.items()))
        if total:
            emit("job.reused", host=self._context.host.name, jobs=total)
        return total

    def _answer_all(self, model: str, digest: str) -> int:
        total = 0
        while not self._context.stop.is_set():
            looked, taken = self._chunk(model, digest, mark=NEW, limit=CHUNK)
            total += taken
            if looked < CHUNK:
                break
        return total

    def answer_claimed(self, conn: Connection, jobs: Sequence[ClaimedJob]) -> None:
        """Within the transaction of their claim: answer those that have an answer by now. ``hits`` names them."""
        self.hits = frozenset()
        if any(job.reuse_key is not None for job in jobs):
            self.hits = reuse_claimed(
                conn, jobs, self._digests(), now=self._context.clock.now(), cut=self._cut
            )
            self._ahead = max(AHEAD, self._ahead) if self.hits else 0

    def track(self, jobs: Sequence[ClaimedJob]) -> None:
        """These wait for a slot, or have one."""
        self._keys.update((job.id, job.reuse_key) for job in jobs if job.reuse_key is not None)

    def forget(self, job_ids: Iterable[int]) -> frozenset[bytes]:
        """These jobs have ended; what those of them asked that may have left an answer for others."""
        return frozenset(self._keys.pop(job) for job in job_ids if job in self._keys)

    def answer(self, jobs: Sequence[ClaimedJob]) -> Sequence[ClaimedJob]:
        """Jobs that were claimed and no slot has taken: those that have no answer even now. Raises
        DatabaseUnavailable."""
        taken = self._context.database.transact(
            lambda conn: reuse_claimed(
                conn, jobs, self._digests(), now=self._context.clock.now(), cut=self._cut
            )
        )
        if taken:
            emit("job.reused", host=self._context.host.name, jobs=len(taken))
        return [job for job in jobs if job.id not in taken]

    def look_ahead(self, models: Collection[str]) -> int:
        """Where claimed jobs had answers, those behind them may have some too. Raises DatabaseUnavailable."""
        if not self._ahead:
            return 0
        digests, limit, total = self._digests(), self._ahead, 0
        for model in sorted(models):
            if model in digests:
                total += self._chunk(model, digests[model], mark=LOOKED_UP, limit=limit)[1]
        self._ahead = min(MOST_AHEAD, 2 * limit) if 2 * total > limit else 0
        if total:
            emit("job.reused", host=self._context.host.name, jobs=total)
        return total

    def _chunk(self, model: str, digest: str, *, mark: int, limit: int) -> tuple[int, int]:
        with self._context.database.write() as conn:
            looked = reuse_waiting(
                conn,
                model,
                digest,
                now=self._context.clock.now(),
                limit=limit,
                mark=mark,
                cut=self._cut,
                batch_id=self._context.batch_id,
            )
        return looked.jobs, looked.hits

    def _digests(self) -> dict[str, str]:
        """Of the weights that this host answers with."""
        return {name: model.digest for name, model in self._machine.models.items() if model.digest}
