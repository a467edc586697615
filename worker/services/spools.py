"""Who stores the answers that lie in a spool nobody serves? Whoever starts on this home, through the fence like all."""

from collections.abc import Collection
from pathlib import Path

from worker.clock import Clock
from worker.services.spool import Spool, spool_path
from worker.services.store import Store
from worker.storage.engine import Database


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
