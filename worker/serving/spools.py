"""Who stores the answers that lie in a spool nobody serves? Whoever starts on this home, through the fence like all."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from worker.clock import Clock
from worker.domain.attempts import Finish
from worker.errors import DatabaseFailure
from worker.serving.spool import REJECTED, Spool, spool_path
from worker.serving.store import Store
from worker.storage.engine import Connection, Database
from worker.storage.finishes import Finished, finish_jobs


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
        store = Store(database, path.stem, clock=clock, spool=Spool(path))
        store.flush()
        accepted += store.accepted
    return accepted


@dataclass(frozen=True, slots=True)
class Retried:
    """What came of the answers that were set aside: how many were stored, how many are no longer wanted since their jobs
    went on without them, how many still cannot be stored, and the files that hold these two."""

    stored: int
    unwanted: int
    failed: int
    files: tuple[Path, ...]


def retry_rejected(database: Database, home: Path, *, clock: Clock) -> Retried:
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
    return Retried(stored, unwanted, failed, tuple(files))


def _finish(conn: Connection, *, finish: Finish, clock: Clock) -> Finished:
    return finish_jobs(conn, [finish], now=clock.now())
