"""What does a serving host see? The facts for the next choice, as fresh as they have to be and no fresher."""

from collections.abc import Mapping
from datetime import datetime

from worker.clock import Clock
from worker.domain.hosts import Host, HostModel
from worker.serving.facts import Own, Seen, see
from worker.serving.pace import Paces
from worker.serving.session import HostSession
from worker.storage.backlog import read_due
from worker.storage.engine import Connection, Database
from worker.storage.paces import read_paces, save_paces

PACES_EVERY = 10.0
"""Seconds between two looks at how fast the other hosts are; a pace that was never known is told at once."""
DATED_EVERY = 2.0
"""Seconds between two counts of the jobs that have a deadline; longer where counting takes long."""


class Sight:
    """Reads the database for one host. Only the thread that serves it calls the methods."""

    def __init__(
        self,
        database: Database,
        session: HostSession,
        host: Host,
        paces: Paces,
        *,
        clock: Clock,
        batch_id: int | None,
    ) -> None:
        self._database, self._session, self._host, self._paces = database, session, host, paces
        self._clock, self._batch_id = clock, batch_id
        self._paces_at = self._dated_until = float("-inf")
        self._dated: dict[str, list[tuple[datetime, int]]] = {}
        self.models: Mapping[str, HostModel] = {}
        """What the host has on disk, as the last look found it."""

    def slots_of(self, runner_key: str | None) -> int:
        """Jobs of that key that are asked at a time."""
        return self._paces.slots(runner_key, told=self._host.slots, is_told=self._host.slots_told)

    def facts(self, in_flight: Mapping[str, int], used: str | None, conn: Connection | None = None) -> Seen:
        """The facts as they stand; within ``conn`` where a load is decided under the fleet's lock.

        A load is decided by what is known now: what another host learned of a key seconds ago may tell that its work
        is nearly done.
        """
        if conn is not None:
            self._paces.learn(read_paces(conn))
            return self._facts(in_flight, used, conn)
        with self._database.read() as read:
            return self._facts(in_flight, used, read)

    def _facts(self, in_flight: Mapping[str, int], used: str | None, conn: Connection) -> Seen:
        return see(
            conn,
            Own(self._host.name, in_flight, self.slots_of(used), self.models),
            paces=self._paces,
            now=self._clock.now(),
            dated=self._count_dated(conn),
            batch_id=self._batch_id,
        )

    def _count_dated(self, conn: Connection) -> dict[str, list[tuple[datetime, int]]]:
        began = self._clock.monotonic()
        if began >= self._dated_until:
            self._dated = read_due(conn, now=self._clock.now(), batch_id=self._batch_id)
            now = self._clock.monotonic()
            self._dated_until = now + max(DATED_EVERY, 20 * (now - began))
        return self._dated

    def keep_paces(self) -> None:
        """Write down what was learned of this host. Raises DatabaseFailure, HostLost."""
        seen = self._paces.unsaved()
        if seen:
            with self._session.write() as conn:
                save_paces(conn, seen, now=self._clock.now())

    def exchange_paces(self) -> None:
        """Tell the others how fast this host is, and hear it of them. Raises DatabaseFailure, HostLost."""
        now = self._clock.monotonic()
        if now - self._paces_at < PACES_EVERY and not self._paces.newly_known:
            return
        self.keep_paces()
        with self._database.read() as conn:
            self._paces.learn(read_paces(conn))
        self._paces_at = now
