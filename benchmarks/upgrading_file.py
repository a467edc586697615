"""``python -m benchmarks.upgrading_file --old PYTHON``: the SQLite file of an older version is upgraded while that works.

An older ``caravan up``, named by the Python of its environment, serves two hosts: a large batch waits, a smaller one runs, a
firing of a schedule is half done. The file is locked until answers lie in the spool; the older process is held, alive,
with that spool, while this version upgrades the schema; then it goes on and meets the new schema. Later it is killed with
a spool again, and this version does the rest. It says how long another writer waited, and whether a job was lost or has
two results.
"""

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import clean_environ
from benchmarks.soak.parts import Part
from benchmarks.upgrading import (
    DOCUMENTS,
    ENVIRON,
    LEFT,
    PATIENCE,
    SMALL_CHANGE,
    SPOOLED,
    Waits,
    measured,
    nightly,
    simulated_hosts,
    spooled,
    submissions,
    whole_answers,
    writing,
)
from tests.waiting import wait_until

LOCKED_SECONDS = 150.0
"""How long the file is locked at most: who waits for it gives up after 30 seconds."""
_OTHERS = "SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id WHERE coalesce(b.name, '') <> 'waits' AND j."


def main() -> int:
    return measured("benchmarks.upgrading_file", __doc__, upgrade)


def upgrade(folder: Path, old: str, jobs: int, serve: int) -> list[str]:
    stage = _Stage(folder, old)
    try:
        return list(stage.run(jobs, serve))
    finally:
        for part in reversed(stage.parts):
            part.kill()


class _Stage:
    """Both versions, on one file and two simulated hosts."""

    def __init__(self, folder: Path, old: str) -> None:
        self.folder, self.old, self.logs, self.home = folder, old, folder / "logs", folder / "home"
        self.file = self.home / "caravan.db"
        self.environ = {**ENVIRON, "CARAVAN_HOME": str(self.home)}
        self.parts: list[Part] = []
        self.logs.mkdir()

    def run(self, jobs: int, serve: int) -> Iterator[str]:
        hosts = simulated_hosts(self.folder, self.logs)
        self.parts += [part for _, part in hosts.values()]
        self._must(self.old, "db", "upgrade")
        for name, (url, _) in hosts.items():
            self._must(self.old, "hosts", "add", name, url, "--slots", "4")
        for arguments in submissions(self.folder, jobs, serve):
            self._must(self.old, *arguments)
        self._must(self.old, *nightly(self.folder))
        old = self._up(self.old, "old")
        self._until("the batch is under way", "state = 'succeeded'", 20)
        self._must(self.old, "schedule", "run", "nightly")
        self._until(
            "the firing is half done", "state = 'succeeded' AND b.name NOT IN ('works')", DOCUMENTS // 4
        )

        with self._locked():
            self._until_spooled("with the old process alive")
            old.signal(signal.SIGSTOP)
        waits = Waits()
        with writing(self._change_a_job, sqlite3.Error, waits):
            time.sleep(1.0)
            before, begun = max(waits.seconds), time.monotonic()
            self._must(sys.executable, "db", "upgrade")
            print(
                f"upgraded within {time.monotonic() - begun:.1f} s, {spooled(self.home)} answers in the spool"
            )
            time.sleep(1.0)
        print(f"another writer waited {max(waits.seconds):.2f} s at most, {before:.2f} s before")
        yield from (f"a write failed: {error}" for error in sorted(set(waits.errors)))

        stored = self._count("state = 'succeeded'")
        old.signal(signal.SIGCONT)
        time.sleep(15.0)
        more = self._count("state = 'succeeded'") - stored
        print(
            f"the old process stored {more} more answers within 15 s after it, {spooled(self.home)} in the spool"
        )
        if old.running:
            with self._locked(), contextlib.suppress(AssertionError):
                self._until_spooled("again")
            print(f"{spooled(self.home)} answers lie in its spool when it is killed")
        old.kill()

        new = self._up(sys.executable, "new")
        wait_until(
            lambda: self._count(LEFT) == 0, description=f"all is answered; {self.logs}", timeout=PATIENCE
        )
        finished = "SELECT count(*) FROM firings WHERE state = 'finished'"
        wait_until(lambda: self._number(finished) >= 1, description="the firing has ended", timeout=60)
        new.signal(signal.SIGTERM)
        if not new.wait(60):
            yield "the new process did not end within 60 s"
        yield from self._problems(jobs, serve)

    def _problems(self, jobs: int, serve: int) -> Iterator[str]:
        waiting = self._number(
            "SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id WHERE b.name = 'waits'"
        )
        if waiting != jobs:
            yield f"{waiting:,} of {jobs:,} waiting jobs are there"
        answered = self._number(
            "SELECT count(*) FROM results r JOIN jobs j ON j.id = r.job_id JOIN batches b ON b.id = j.batch_id "
            "WHERE b.name = 'works' AND r.answer <> ''"
        )
        if answered != serve:
            yield f"{answered} of {serve:,} jobs have an answer"
        if self._number("SELECT count(*) - count(DISTINCT job_id) FROM results"):
            yield "a job has two results"
        succeeded = self._number("SELECT count(*) FROM jobs WHERE state = 'succeeded'")
        given = whole_answers(self.folder)
        print(f"the hosts gave {given:,} whole answers for {succeeded:,} jobs: {given - succeeded} again")
        check = self._run(sys.executable, "db", "check")
        print(check.stdout.strip().splitlines()[-1])
        if check.returncode:
            yield f"caravan db check: exit {check.returncode}"

    # -- the file -----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else can write to the file."""
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None, timeout=60)) as conn:
            conn.execute("BEGIN IMMEDIATE")
            yield
            conn.execute("ROLLBACK")

    def _change_a_job(self) -> None:
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as conn, conn:
            conn.execute(SMALL_CHANGE)

    def _count(self, condition: str) -> int:
        """Jobs of the batch that is answered and of the firing."""
        return self._number(f"{_OTHERS}{condition}")

    def _number(self, query: str) -> int:
        with contextlib.closing(sqlite3.connect(self.file, timeout=60)) as conn:
            return int(conn.execute(query).fetchone()[0])

    def _until(self, description: str, condition: str, number: int) -> None:
        description = f"{description}; logs: {self.logs}"
        wait_until(lambda: self._count(condition) >= number, description=description, timeout=PATIENCE)

    def _until_spooled(self, when: str) -> None:
        enough = f"the spool has answers, {when}"
        wait_until(lambda: spooled(self.home) >= SPOOLED, description=enough, timeout=LOCKED_SECONDS)

    # -- processes ----------------------------------------------------------------------------------------------------

    def _up(self, python: str, version: str) -> Part:
        part = Part(f"{version} up", [python, "-m", "worker", "up"], self.logs, self.environ)
        self.parts.append(part)
        part.start()
        return part

    def _must(self, python: str, *arguments: str) -> None:
        done = self._run(python, *arguments)
        if done.returncode:
            raise RuntimeError(
                f"caravan {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-2000:]}"
            )

    def _run(self, python: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-m", "worker", *arguments],
            env={**clean_environ(), **self.environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )


if __name__ == "__main__":
    sys.exit(main())
