"""One soak from beginning to end: jobs are submitted while everything breaks, then all is mended and counted."""

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.processes import clean_environ
from benchmarks.soak.history import generated_again, read_diary, waste
from benchmarks.soak.parts import caravan
from benchmarks.soak.plan import plan
from benchmarks.soak.stage import LEASE_SECONDS, REASONING, SLOTS, Stage, staged, write_jobs
from benchmarks.soak.trouble import Trouble
from benchmarks.soak.verdict import Soaked, defects, read_stored
from tests.servers.children import dies_with_parent

LOOK_SECONDS = 0.2
TELL_SECONDS = 10.0
PATIENCE_SECONDS = 300.0
"""After the trouble is over, for all that is left."""
ENOUGH = 0.98
"""No more trouble once this share of the jobs is done: there is nothing left to disturb."""
BATCHES: Sequence[tuple[float, float, str]] = (
    (0.0, 0.3, "normal"),
    (0.15, 0.25, "high"),
    (0.3, 0.25, "normal"),
    (0.5, 0.2, "bulk"),
)
"""When each batch is submitted as a share of the time of trouble, which share of the jobs it has, its priority."""


@dataclass
class Batch:
    """A file on its way into the database. The same input is the same batch, however often it takes."""

    file: Path
    jobs: list[str]
    due: float
    priority: str
    process: "subprocess.Popen[bytes] | None" = None
    tries: int = 0
    accepted: bool = False

    def turn(self, now: float, environ: dict[str, str]) -> None:
        """Submit it when it is due, and again until it was accepted."""
        if self.accepted or now < self.due:
            return
        if self.process is None:
            self.tries += 1
            with self.file.with_suffix(".log").open("ab") as log:
                self.process = subprocess.Popen(
                    caravan("submit", str(self.file), "--priority", self.priority),
                    env={**clean_environ(), **environ},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    preexec_fn=dies_with_parent,
                )
        elif self.process.poll() is not None:
            self.accepted = self.process.returncode == 0
            self.process, self.due = None, now + 1.0


@dataclass
class Progress:
    """What the database says, as far as it can be asked."""

    url: str
    states: dict[str, int] = field(default_factory=dict)

    def look(self) -> bool:
        """False where it cannot be asked now."""
        try:
            with psycopg.connect(self.url, connect_timeout=2) as conn:
                self.states = dict(conn.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())
        except psycopg.Error:
            return False
        return True

    @property
    def done(self) -> int:
        return sum(self.states.get(state, 0) for state in ("succeeded", "failed", "cancelled", "expired"))

    @property
    def held(self) -> int:
        return self.states.get("held", 0)


def soak(folder: Path, *, seed: int, jobs: int, minutes: float) -> Soaked:
    """Run it in ``folder``, which keeps the logs, the diaries and the journal."""
    with staged(folder, seed) as stage:
        trouble = Trouble(stage)
        began = time.time()
        batches = _batches(folder, jobs, minutes * 60)
        progress = Progress(stage.postgres.url)
        try:
            _disturb(stage, trouble, batches, progress, seed, minutes * 60)
        finally:
            trouble.end()
            _write_journal(folder / "journal.txt", trouble, began)
        finished, held, notes = _settle(stage, trouble, batches, progress, jobs)
        seconds = time.time() - began
        _write_journal(folder / "journal.txt", trouble, began)
        checker = _check(stage)
        stored = read_stored(stage.postgres.url, REASONING)
        spools = [str(path) for path in folder.glob("homes/*/spool/*.jsonl") if path.stat().st_size]
        if spools:
            notes.append(f"spools that were not emptied: {', '.join(spools)}")
        restarts = sum(part.starts - 1 for part in stage.everything())
    generations = [one for name in SLOTS for one in read_diary(folder / "diaries" / f"{name}.jsonl", name)]
    for batch in batches:
        if batch.tries > 1:
            notes.append(f"{batch.file.name} was submitted {batch.tries} times until it was accepted")
    return Soaked(
        seed,
        [name for batch in batches for name in batch.jobs],
        seconds,
        trouble.counts,
        restarts,
        stored,
        generations,
        generated_again(generations, trouble.presence, stored.given_up),
        waste(generations, stored.hosts, trouble.host_deaths),
        held,
        checker,
        finished,
        defects(folder / "logs"),
        notes,
    )


def _batches(folder: Path, jobs: int, seconds: float) -> list[Batch]:
    made, start = [], 0
    for number, (at, share, priority) in enumerate(BATCHES, start=1):
        count = jobs - start if number == len(BATCHES) else round(jobs * share)
        numbers = range(start, start + count)
        start += count
        file = write_jobs(folder / f"batch-{number}.jsonl", numbers)
        due = time.time() + at * seconds
        made.append(Batch(file, [f"job-{n:05d}" for n in numbers], due, priority))
    return made


def _disturb(
    stage: Stage, trouble: Trouble, batches: Sequence[Batch], progress: Progress, seed: int, seconds: float
) -> None:
    steps = plan(seed, seconds, stage.parts(), LEASE_SECONDS)
    began, told_at = time.time(), 0.0
    jobs = sum(len(batch.jobs) for batch in batches)
    while steps or time.time() - began < seconds:
        now = time.time()
        while steps and steps[0].at <= now - began:
            trouble.do(steps.pop(0))
        trouble.turn()
        for batch in batches:
            batch.turn(now, stage.environ)
        if now - told_at >= TELL_SECONDS and progress.look():
            told_at = now
            _say(f"{now - began:4.0f} s  {progress.states}")
            if progress.done + progress.held >= ENOUGH * jobs:
                return
        time.sleep(LOOK_SECONDS)


def _settle(
    stage: Stage, trouble: Trouble, batches: Sequence[Batch], progress: Progress, jobs: int
) -> tuple[bool, int, list[str]]:
    """Wait for all jobs; let those go once that are held. Returns whether it ended, how many were held, and notes."""
    began, told_at, held, let_go = time.time(), 0.0, 0, False
    notes: list[str] = []
    while time.time() - began < PATIENCE_SECONDS:
        now = time.time()
        for batch in batches:
            batch.turn(now, stage.environ)
        trouble.turn()
        if progress.look():
            if now - told_at >= TELL_SECONDS:
                told_at = now
                _say(f"       {progress.states}")
            if progress.done + progress.held >= jobs and all(batch.accepted for batch in batches):
                if not progress.held or let_go:
                    notes.append(f"all done {now - began:.0f} s after the end of the trouble")
                    return True, held, notes
                held, let_go = progress.held, True
                notes += [f"held: {why}" for why in _reasons(stage.postgres.url)]
                for number in _numbers(stage.postgres.url):
                    stage.must("retry", str(number), "--state", "held", "--yes")
        time.sleep(LOOK_SECONDS)
    return False, held, notes


def _reasons(url: str) -> list[str]:
    with psycopg.connect(url) as conn:
        rows = conn.execute(
            "SELECT hold_code, hold_reason, count(*) FROM jobs WHERE state = 'held' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 8"
        ).fetchall()
    return [f"{count} {code}: {reason}" for code, reason, count in rows]


def _numbers(url: str) -> list[int]:
    with psycopg.connect(url) as conn:
        return [row[0] for row in conn.execute("SELECT DISTINCT batch_id FROM jobs WHERE state = 'held'")]


def _check(stage: Stage) -> str:
    """What the checker has against the database; empty where nothing."""
    done = stage.run("db", "check")
    return "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:].strip()


def _write_journal(path: Path, trouble: Trouble, began: float) -> None:
    path.write_text("".join(f"{at:.3f} {at - began:7.2f} {what}\n" for at, what in trouble.journal))


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
