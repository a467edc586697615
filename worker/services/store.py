"""Outcomes on their way to the database: stored in groups, kept while it is away, spooled before they could be lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from worker.clock import Clock
from worker.domain.attempts import Finish, Succeeded
from worker.errors import DatabaseFailure
from worker.observability.events import emit, emit_failure
from worker.services.spool import Spool
from worker.storage.engine import Database
from worker.storage.finishes import finish_jobs

AT_MOST = 200
"""Finishes in one transaction."""
RETRY_SECONDS = 1.0


class Store:
    """The one writer of a host's outcomes.

    Text that a host generated is expensive: when the database is away or refuses them, finishes stay here and go to the spool at
    once; when it is back they are stored through the fence like all others.
    """

    def __init__(self, database: Database, host: str, *, clock: Clock, spool: Spool | None = None) -> None:
        self._database = database
        self._host = host
        self._clock = clock
        self._spool = spool
        self._pending: list[Finish] = []
        self._groups: Iterator[Sequence[Finish]] = iter(())
        self._left: Sequence[Finish] = ()
        """The group of what earlier workers left in the spool that is to be stored next."""
        self._unread = False
        """A disk did not give all of it: the file stays for who reads it next."""
        self._retry_at = float("-inf")
        self.accepted = 0
        self.output_tokens = 0
        if spool is not None:
            self._unread = True
            with self._spooling():
                self._groups = spool.groups(AT_MOST)
                self._unread = False
            self._next_group()

    @property
    def held(self) -> frozenset[int]:
        """Ids of the jobs whose outcomes are not stored yet, without those of earlier workers. From any thread."""
        return frozenset(finish.job_id for finish in tuple(self._pending))

    def add(self, finishes: Sequence[Finish]) -> None:
        self._pending += finishes

    def flush(self) -> bool:
        """Store what is pending; False while the database does not take it."""
        if not self._pending and not self._left:
            return True
        if self._clock.monotonic() < self._retry_at:
            self._keep()
            return False
        try:
            while self._left:
                self._store(self._left)
                self._next_group()
            while self._pending:
                self._store(self._pending[:AT_MOST])
                del self._pending[:AT_MOST]
        except DatabaseFailure as error:
            emit_failure(error, host=self._host)
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            self._keep()
            return False
        if self._spool is not None and not self._unread:
            with self._spooling():
                self._spool.clear()
        return True

    def close(self) -> None:
        """One last try; what is left waits in the spool for the next worker of this host."""
        self._retry_at = float("-inf")
        self.flush()

    def _store(self, group: Sequence[Finish]) -> None:
        finished = self._database.transact(lambda conn: finish_jobs(conn, group, now=self._clock.now()))
        self.accepted += len(finished.accepted)
        self.output_tokens += sum(
            finish.outcome.result.output_tokens for finish in group if isinstance(finish.outcome, Succeeded)
        )
        emit("job.finished", host=self._host, accepted=len(finished.accepted), refused=len(finished.refused))
        if finished.refused:
            emit("lease.lost", host=self._host, jobs=list(finished.refused))

    def _keep(self) -> None:
        if self._spool is not None:
            with self._spooling():
                # what it does not take stays in memory and is tried again with the next flush
                if kept := self._spool.write(self._pending):
                    emit("job.spooled", host=self._host, jobs=kept)

    def _next_group(self) -> None:
        self._left = ()
        whole, self._unread = not self._unread, True
        with self._spooling():
            self._left = next(self._groups, ())
            self._unread = not whole

    @contextmanager
    def _spooling(self) -> Iterator[None]:
        """A disk that fails is told, and stops nothing else."""
        try:
            yield
        except OSError as error:
            emit("database.unavailable", host=self._host, message=f"spool: {error}")
