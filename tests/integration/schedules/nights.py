"""A schedule, a folder of documents, a clock that a test moves, and hosts that answer when told."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.clocks import FakeClock
from tests.integration.storage.conftest import a_result
from tests.maintenance import tick, tidy
from worker.domain.attempts import Failed, Finish, Outcome, Succeeded
from worker.domain.hosts import Host, HostModel
from worker.domain.jobs import ClaimedJob
from worker.domain.schedules import Firing, Schedule
from worker.policy.schedules import next_fire
from worker.policy.zones import zone_of
from worker.schedules.open import open_due
from worker.schedules.report import report_of
from worker.schedules.spec import spec_of
from worker.schedules.work import work_firings
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database
from worker.storage.finishes import finish_jobs
from worker.storage.firings import list_firings
from worker.storage.hosts import add_host, record_probe
from worker.storage.reuse import reuse_waiting
from worker.storage.schedules import add_schedule, find_schedule, replace_schedule
from worker.storage.tables import jobs

MODEL = "qwen3:8b"
NAME = "nightly"


@dataclass
class Nights:
    """What a week is made of."""

    database: Database
    clock: FakeClock
    folder: Path
    weights: str = ""

    def __post_init__(self) -> None:
        (self.folder / "inbox").mkdir(parents=True, exist_ok=True)
        self.template("Summarise: {{ document.text }}")
        with self.database.write() as conn:
            add_host(conn, Host("gpu-1", "http://gpu-1:11434"), now=self.clock.now())
        self.model_has("sha256:one")

    def model_has(self, digest: str) -> None:
        self.weights = digest
        with self.database.write() as conn:
            found = [HostModel(MODEL, digest, False, 8192)]
            record_probe(conn, "gpu-1", version="0.24.0", models=found, now=self.clock.now())

    def template(self, text: str) -> None:
        (self.folder / "summary.j2").write_text(text)

    def write(self, **documents: str | None) -> None:
        """Documents by name; None takes one away."""
        for name, text in documents.items():
            path = self.folder / "inbox" / f"{name}.txt"
            if text is None:
                path.unlink()
            else:
                path.write_text(text)

    def schedule(self, **said: Any) -> Schedule:
        """The schedule as it is said now."""
        given = {
            "cron": "0 2 * * *",
            "tz": "Europe/Berlin",
            "documents": ["inbox/*.txt"],
            "template": "summary.j2",
            "models": [MODEL],
            **said,
        }
        spec = spec_of(given, base=self.folder)
        now = self.clock.now()
        next_at = next_fire(spec.cron, zone_of(spec.tz), after=now)
        with self.database.write() as conn:
            change = add_schedule if find_schedule(conn, NAME) is None else replace_schedule
            return change(conn, NAME, spec, next_at=next_at, now=now)

    def until(self, at: datetime) -> None:
        self.clock.advance((at - self.clock.now()).total_seconds())

    def tick(self) -> None:
        tick(self.database, clock=self.clock)
        open_due(self.database, clock=self.clock)

    def work(self, **more: Any) -> None:
        work_firings(self.database, clock=self.clock, **more)

    def answer(self, limit: int = 1000, outcome: Outcome | None = None) -> list[str]:
        """Have the host answer what it may, some minutes later; custom_ids of what it was given."""
        with self.database.read() as conn:
            keys = sorted(set(conn.scalars(select(jobs.c.runner_key))))
        taken: list[ClaimedJob] = []
        now = self.clock.now()
        with self.database.write() as conn:
            reuse_waiting(conn, MODEL, self.weights, now=now, limit=1000)
        for key in keys:
            if len(taken) < limit:
                with self.database.write() as conn:
                    taken += claim_jobs(
                        conn,
                        host="gpu-1",
                        runner_keys=[key],
                        limit=limit - len(taken),
                        token="t",
                        now=now,
                        lease_until=now + timedelta(minutes=5),
                    )
        self.clock.advance(60 * len(taken))
        if taken:
            self.store([self._ending(job, outcome) for job in taken])
        return sorted(job.custom_id for job in taken)

    def store(self, endings: Sequence[Finish]) -> None:
        """What the host answered, through the fence."""
        with self.database.write() as conn:
            finish_jobs(conn, endings, now=self.clock.now())

    def _ending(self, job: ClaimedJob, outcome: Outcome | None) -> Finish:
        return Finish(
            job_id=job.id,
            batch_id=job.batch_id,
            token=job.token,
            attempt=job.attempt,
            host="gpu-1",
            started_at=self.clock.now(),
            ended_at=self.clock.now(),
            digest=self.weights,
            outcome=outcome or Succeeded(a_result(answer=f"of {job.prompt[11:]}")),
        )

    def settle(self) -> None:
        """Whatever chores there are."""
        tidy(self.database, clock=self.clock)
        self.work()

    def night(self, at: datetime) -> dict[str, Any]:
        """A whole night from its time on: its report."""
        self.until(at)
        self.tick()
        self.work()
        self.answer()
        self.settle()
        return self.report()

    def firings(self) -> list[Firing]:
        with self.database.read() as conn:
            schedule = find_schedule(conn, NAME)
            assert schedule is not None
            return list_firings(conn, schedule.id)

    def report(self) -> dict[str, Any]:
        """Of the newest firing."""
        return report_of(self.database, self.firings()[0], now=self.clock.now())


def counts(report: dict[str, Any]) -> dict[str, int]:
    """What is not nothing."""
    names = ("new", "changed", "retried", "reused", "pending", "gone", "failed", "answered", "left")
    return {name: report[name] for name in names if report[name]}


__all__ = ["MODEL", "NAME", "Failed", "Nights", "counts"]
