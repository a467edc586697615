"""Runs services one after the other, so that none can stop another, and reports what they did and which of them fail."""

import logging
from collections.abc import Mapping, Sequence

from worker.clock import Clock
from worker.errors import DatabaseContended, DatabaseFailure, in_words
from worker.maintenance.heart import Heart
from worker.maintenance.service import Counts, Service, is_away, no_counts
from worker.observability.events import emit, emit_failure
from worker.storage.engine import Database, retry_contended

_log = logging.getLogger("caravan")

REPORT_AGAIN = 600.0
"""Seconds after which a service that still fails with the same error is reported again."""
_LONGEST_ERROR = 300


class Runner:
    """The services of one pool. ``run_due`` is called again and again, by one thread at a time.

    A service that raises is counted, reported once (again after ``REPORT_AGAIN``, or when its error changes), and tried
    at its next pass; the services after it run all the same. Only a database that is away ends a pass, since every
    service needs it. The pulse of the pool names the services that fail, so that ``caravan health`` does.
    """

    def __init__(self, heart: Heart, services: Sequence[Service]) -> None:
        self.pool = heart.name
        self.failing: dict[str, str] = {}
        """Name of a service → the error of its last pass, for those that failed."""
        self._services = tuple(services)
        self._ran_at: dict[str, float] = {}
        self._reported: dict[str, tuple[str, float]] = {}
        self._heart = heart

    def run_due(self, database: Database, clock: Clock) -> Mapping[str, Counts]:
        """Run the services that are due, and beat; what each of them changed, by its name."""
        results: dict[str, Counts] = {}
        try:
            for service in self._services:
                if self._is_due(service, clock):
                    counts = self._run(service, database, clock)
                    if not no_counts(counts):
                        results[service.name] = counts
            self._heart.beat(database, clock, failing=self.failing)
        except DatabaseFailure as error:
            emit_failure(error, host=self.pool)
        return results

    def stop(self, database: Database) -> None:
        """The pool ends as intended and is not to be missed. Raises DatabaseFailure."""
        self._heart.stop(database)

    def _is_due(self, service: Service, clock: Clock) -> bool:
        now = clock.monotonic()
        if now - self._ran_at.get(service.name, float("-inf")) < service.every:
            return False
        self._ran_at[service.name] = now
        return True

    def _run(self, service: Service, database: Database, clock: Clock) -> Counts:
        try:
            counts = retry_contended(lambda: service.run_once(database, clock))
        except Exception as error:
            if is_away(error):
                raise
            self._failed(service.name, error, clock)
            return {}
        if self.failing.pop(service.name, None) is not None:
            del self._reported[service.name]
            emit("service.recovered", pool=self.pool, service=service.name)
        if not no_counts(counts):
            emit("service.done", service=service.name, **{name: n for name, n in counts.items() if n})
        return counts

    def _failed(self, name: str, error: Exception, clock: Clock) -> None:
        message = in_words(error)[:_LONGEST_ERROR]
        self.failing[name] = message
        before, at = self._reported.get(name, ("", float("-inf")))
        if message == before and clock.monotonic() - at < REPORT_AGAIN:
            return
        self._reported[name] = message, clock.monotonic()
        emit("service.failed", pool=self.pool, service=name, message=message)
        if message != before and not isinstance(error, DatabaseContended):
            _log.error("defect in the service %s; the others go on", name, exc_info=error)
