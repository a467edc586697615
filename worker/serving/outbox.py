"""Outcomes on their way to the database: stored in groups, kept while it is away, spooled before they could be lost."""

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from worker.clock import Clock
from worker.domain.attempts import Finish, Succeeded
from worker.errors import DatabaseFailure, DatabaseRefused, DatabaseUnavailable, in_words
from worker.observability.events import emit, emit_failure
from worker.records import record
from worker.serving.spool import REJECTED, Spool, spool_path
from worker.storage.engine import Connection, Database
from worker.storage.finishes import Finished, finish_jobs

_log = logging.getLogger("caravan")

AT_MOST = 512
"""Finishes in one transaction."""
RETRY_SECONDS = 1.0


class _DiskFailure(Exception):
    """An answer that the database does not take could not be set aside."""


class _Leftovers:
    """What earlier workers of this host left in its spool, a group at a time."""

    def __init__(self, spool: Spool, host: str) -> None:
        self._host = host
        self._groups: Iterator[Sequence[Finish]] = iter(())
        self.group: list[Finish] = []
        """The finishes that are to be stored next; empty where none are left."""
        self.whole = False
        """The disk gave all that was read so far. Where it did not, the file stays for who reads it next."""
        with reporting_disk(host):
            self._groups = spool.groups(AT_MOST)
            self.whole = True
        self.read_group()

    def read_group(self) -> None:
        self.group = []
        whole, self.whole = self.whole, False
        with reporting_disk(self._host):
            self.group = list(next(self._groups, ()))
            self.whole = whole


@contextmanager
def reporting_disk(host: str) -> Iterator[None]:
    """A disk that fails is reported, and stops nothing else."""
    try:
        yield
    except OSError as error:
        emit("database.unavailable", host=host, message=f"spool: {error}")


class Outbox:
    """The one writer of a host's outcomes.

    Text that a host generated is expensive: when the database is away or refuses them, finishes stay here and go to the spool at
    once; when it is back they are stored through the fence like all others. One that cannot be stored for a reason of its
    own, a defect, is set aside in ``Spool.rejected``, and its neighbours are stored.
    """

    def __init__(self, database: Database, host: str, *, clock: Clock, spool: Spool | None = None) -> None:
        self._database, self._host, self._clock = database, host, clock
        self._spool = spool
        self._leftovers = None if spool is None else _Leftovers(spool, host)
        self._pending: list[Finish] = []
        self._retry_at = float("-inf")
        self.accepted = 0
        self.output_tokens = 0
        self.refusal: DatabaseUnavailable | None = None
        """Why nothing could be stored the last time; None since something was."""

    @property
    def held(self) -> frozenset[int]:
        """Ids of the jobs whose outcomes are not stored yet, without those of earlier workers. From any thread."""
        return frozenset(finish.job_id for finish in tuple(self._pending))

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be stored."""
        return not self._pending and not (self._leftovers and self._leftovers.group)

    def add(self, finishes: Sequence[Finish]) -> None:
        """Take outcomes in; ``flush`` stores them."""
        self._pending += finishes

    def flush(self) -> bool:
        """Store what is pending; False while the database does not take it."""
        if self.is_empty:
            return True
        if self._clock.monotonic() < self._retry_at:
            self._keep()
            return False
        try:
            while self._leftovers and self._leftovers.group:
                self._store_group(self._leftovers.group)
                if not self._leftovers.group:
                    self._leftovers.read_group()
            while self._pending:
                self._store_group(self._pending)
        except (DatabaseFailure, _DiskFailure) as error:
            if isinstance(error, DatabaseFailure):
                emit_failure(error, host=self._host)
            self.refusal = error if isinstance(error, DatabaseUnavailable) else None
            self._retry_at = self._clock.monotonic() + RETRY_SECONDS
            self._keep()
            return False
        self.refusal = None
        if self._spool is not None and self._leftovers is not None and self._leftovers.whole:
            with reporting_disk(self._host):
                self._spool.clear()
        return True

    def close(self) -> None:
        """One last try; what is left waits in the spool for the next worker of this host."""
        self._retry_at = float("-inf")
        self.flush()

    def _store_group(self, waiting: list[Finish]) -> None:
        """Store the first of ``waiting`` and take them out of it."""
        group = waiting[:AT_MOST]
        try:
            self._store(group)
        except DatabaseRefused:
            if len(group) == 1:
                raise
            for finish in group:  # too slow together, perhaps, and not alone
                self._store([finish])
                del waiting[0]
        except DatabaseFailure:
            raise
        except (
            Exception
        ):  # a defect, or a value that no column holds: which of them has it is seen one by one
            self._keep()
            for finish in group:
                self._store_alone(finish)
                del waiting[0]
        else:
            del waiting[: len(group)]

    def _store_alone(self, finish: Finish) -> None:
        try:
            self._store([finish])
        except DatabaseFailure:
            raise
        except Exception as error:
            self._set_aside(finish, error)

    def _set_aside(self, finish: Finish, error: Exception) -> None:
        """Its job is asked again once its lease is over. Raises _DiskFailure where the disk does not take it: then it stays."""
        file = None
        if self._spool is not None:
            file = self._spool.rejected
            try:
                file.write([finish])
            except OSError as failure:
                emit("database.unavailable", host=self._host, message=f"spool: {failure}")
                raise _DiskFailure from failure
        _log.error("defect: an answer cannot be stored", exc_info=error)
        emit(
            "job.set_aside",
            host=self._host,
            job=finish.job_id,
            file=None if file is None else str(file.path),
            message=in_words(error)[:300],
        )

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
            with reporting_disk(self._host):
                # what it does not take stays in memory and is tried again with the next flush
                if kept := self._spool.write(self._pending):
                    emit("job.spooled", host=self._host, jobs=kept)


def store_spools(database: Database, home: Path, *, clock: Clock, but: Collection[str] = ()) -> int:
    """Store what earlier workers of this home could not, of all hosts but those that are served; how many were accepted.

    A host that was removed, or is served elsewhere now, has nobody else to read its file. What the fence refuses was
    answered by others meanwhile. Raises nothing for a database that is away: the files stay.
    """
    served = {spool_path(home, host) for host in but}
    accepted = 0
    for path in sorted((home / "spool").glob("*.jsonl")):
        if path in served:
            continue
        outbox = Outbox(database, path.stem, clock=clock, spool=Spool(path))
        outbox.flush()
        accepted += outbox.accepted
    return accepted


@record
class RetriedSpools:
    """What came of the answers that were set aside: how many were stored, how many are no longer wanted since their jobs
    went on without them, how many still cannot be stored, and the files that hold these two."""

    stored: int
    unwanted: int
    failed: int
    files: tuple[Path, ...]


def retry_rejected(database: Database, home: Path, *, clock: Clock) -> RetriedSpools:
    """Try to store each answer that was set aside on this home. What is not stored stays in its file.

    Raises DatabaseFailure, OSError; an answer that was stored before is refused by the fence the next time.
    """
    stored = unwanted = failed = 0
    files = []
    for path in sorted((home / "spool" / REJECTED).glob("*.jsonl")):
        rejected = Spool(path)
        left = []
        for finish in rejected.read():
            try:
                finished = database.transact(partial(_finish, finish=finish, clock=clock))
            except DatabaseFailure:
                raise
            except Exception:
                failed += 1
                left.append(finish)
                continue
            if finished.accepted:
                stored += 1
            else:
                unwanted += 1
                left.append(finish)
        rejected.replace(left)
        if left:
            files.append(path)
    return RetriedSpools(stored, unwanted, failed, tuple(files))


def _finish(conn: Connection, *, finish: Finish, clock: Clock) -> Finished:
    return finish_jobs(conn, [finish], now=clock.now())
