"""Ninety nights of one schedule: documents come, change, move, go and fail, processes die, models and templates change.

The zone has both changes of clocks within them (Morocco leaves summer time for Ramadan). After each night the folder of answers,
the database and the sources agree, and nothing that is stored was asked twice.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from tests.clocks import FakeClock
from tests.integration.schedules.nights import NAME, Nights
from tests.integration.storage.conftest import a_result
from tests.maintenance import tidy
from worker.domain.attempts import Finish, Outcome, Succeeded
from worker.domain.jobs import ClaimedJob
from worker.domain.schedules import FiringState
from worker.maintenance.keeping import prune
from worker.policy.schedules import fire_times
from worker.policy.zones import zone_of
from worker.schedules.fire import LEASE
from worker.schedules.reading import ReadDocument, read_documents
from worker.storage.claims import claim_jobs
from worker.storage.engine import Database

ZONE = "Africa/Casablanca"
NIGHTS = 90
TEMPLATES = ("Summarise: {{ document.text }}", "In one line: {{ document.text }}")
QUIET = (2, 89)
"""Nights on which nothing happens: the second is to cost no more than the first."""


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


@dataclass
class Ninety(Nights):
    """The nights, with what was asked of the host and what the sources say."""

    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Prompt and weights → times that a host answered it."""
    of_batch: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    """Name → text of what can be read."""
    broken: set[str] = field(default_factory=set)
    template_now: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(90))
    dies_in: int | None = None
    """Statements until the process that sends them is killed; None: it lives."""
    deaths: int = 0
    deaths_storing: int = 0
    """Of workers that had answers and were about to store them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        event.listen(self.database._engine, "before_cursor_execute", self._statement)

    def _statement(self, *_: object) -> None:
        if self.dies_in is None:
            return
        self.dies_in -= 1
        if self.dies_in <= 0:
            raise Killed

    def killed(self, do: Callable[[], None], *, before: int) -> bool:
        """Do it, and die before one of its statements; whether it did not come so far."""
        self.dies_in = before
        try:
            do()
        except Killed:
            self.deaths += 1
            return True
        finally:
            self.dies_in = None
        return False

    def store(self, endings: Sequence[Finish]) -> None:
        """The worker dies while it stores: the next one finds the answers in the spool, sometimes after the leases are over."""
        while self.killed(lambda: super(Ninety, self).store(endings), before=self.chance.randrange(1, 20)):
            self.clock.advance(self.chance.choice((30, 400)))
            tidy(self.database, clock=self.clock)
            self.tick()
            self.deaths_storing += 1

    def _ending(self, job: ClaimedJob, outcome: Outcome | None) -> Finish:
        key = job.prompt, self.weights
        self.asked[key] += 1
        self.of_batch.setdefault(job.batch_id, []).append(key)
        return super()._ending(job, Succeeded(a_result(answer=f"answer to {job.prompt}")))

    def prompt_of(self, words: str) -> str:
        return TEMPLATES[self.template_now].replace("{{ document.text }}", words)

    def put(self, name: str, words: str | None) -> None:
        """A document that can be read; None: it is there and cannot be."""
        (self.folder / "inbox" / f"{name}.txt").write_text(" " if words is None else words)
        self.said.pop(name, None)
        self.broken.discard(name)
        if words is None:
            self.broken.add(name)
        else:
            self.said[name] = words

    def take_away(self, name: str) -> str | None:
        (self.folder / "inbox" / f"{name}.txt").unlink()
        self.broken.discard(name)
        return self.said.pop(name, None)

    def forget(self, batch_id: int) -> None:
        """Its jobs are pruned: what they were answered may be asked again for another document."""
        prune(self.database, [batch_id], clock=self.clock)
        for key in self.of_batch.pop(batch_id, ()):
            del self.asked[key]


@pytest.fixture
def nights(database: Database, tmp_path: Path) -> Ninety:
    return Ninety(database, FakeClock(datetime(2026, 1, 31, 12, tzinfo=UTC)), tmp_path / "work")


def befall(nights: Ninety, chance: random.Random, night: int) -> None:
    """What happens by day."""
    for _ in range(chance.randint(1, 3)):
        names = sorted(nights.said)
        match chance.randrange(6):
            case 0 | 1:
                nights.put(f"n{night}-{chance.randrange(10**6)}", f"Text {chance.randrange(10**9)}.")
            case 2 if names:
                nights.put(chance.choice(names), f"Changed {chance.randrange(10**9)}.")
            case 3 if names:
                words = nights.take_away(chance.choice(names))
                nights.put(f"moved{night}-{chance.randrange(10**6)}", words)
            case 4 if len(names) > 4:
                nights.take_away(chance.choice(names))
            case 5 if names and len(nights.broken) < 2:
                nights.put(chance.choice(names), None)
            case _:
                pass
    for name in sorted(nights.broken):
        if chance.random() < 0.3:
            nights.put(name, f"Mended {chance.randrange(10**9)}.")
    if night % 20 == 15:
        nights.model_has(f"sha256:{night}")
    if night % 20 in (5, 8):  # changed, and three nights later changed back
        nights.template_now = 1 - nights.template_now
        nights.template(TEMPLATES[nights.template_now])
    if night % 10 == 9:
        old = [one.batch_id for one in nights.firings() if one.batch_id is not None][8:]
        for batch_id in old:
            if batch_id in nights.of_batch:
                nights.forget(batch_id)


def fire(nights: Ninety, chance: random.Random, at: datetime) -> None:
    """The night itself, with somebody dying at a random point of it."""
    nights.until(at)
    dies = chance.randrange(4)
    if dies == 0:  # beat is away for some hours
        nights.clock.advance(chance.randrange(3600, 4 * 3600))
    nights.tick()
    if dies == 1:  # control is killed while it reads
        after = chance.randrange(len(nights.said) + 1)

        def killed(spec: Any, **more: Any) -> Iterator[ReadDocument]:
            for number, document in enumerate(read_documents(spec, **more)):
                if number == after:
                    break
                yield document
            raise Killed

        with pytest.raises(Killed):
            nights.work(reading=killed)
        nights.clock.advance(LEASE.total_seconds() + 1)
        nights.tick()
    while nights.killed(
        nights.work, before=chance.randrange(1, 120)
    ):  # control dies between any two statements
        nights.clock.advance(LEASE.total_seconds() + 1)
        nights.tick()
    nights.work()
    if dies == 2:  # a worker dies over what it has claimed
        with nights.database.write() as conn:
            claim_jobs(
                conn,
                host="gpu-1",
                runner_keys=["qwen3:8b"],
                limit=2,
                token="dead",
                now=nights.clock.now(),
                lease_until=nights.clock.now(),
            )
        nights.clock.advance(400)
        nights.tick()
    for _ in range(3):
        nights.answer()
        nights.clock.advance(120)
        nights.tick()
    tidy(nights.database, clock=nights.clock)
    if (
        dies == 3
    ):  # whoever settles and writes files dies between any two statements, and another comes after the lease
        nights.killed(nights.settle, before=chance.randrange(1, 60))
        nights.clock.advance(LEASE.total_seconds() + 1)
    nights.settle()


def agree(nights: Ninety, report: dict[str, Any], night: int) -> None:
    """Folder = database = sources."""
    expected = {f"{name}.txt": f"answer to {nights.prompt_of(words)}" for name, words in nights.said.items()}
    with nights.database.read() as conn:
        rows = conn.execute(text("SELECT * FROM report_documents WHERE gone_at IS NULL")).all()
    readable = {row.custom_id: row for row in rows if row.error_code is None}
    assert {name: row.answer for name, row in readable.items()} == expected, night
    assert all(row.is_current for row in readable.values()), night
    assert {row.custom_id for row in rows} - set(readable) == {f"{name}.txt" for name in nights.broken}, night
    for name, answer in expected.items():
        file = (nights.folder / "answers" / f"{name}.answer.md").read_text()
        assert file.endswith(f"---\n\n{answer}\n"), (night, name)
    asked = report["new"] + report["changed"] + report["retried"]
    assert report["matches"] == asked + report["reused"] + report["failed"] == len(rows), night
    assert (report["answered"], report["left"], report["failed"]) == (asked, 0, len(nights.broken)), night
    assert report["state"] == FiringState.FINISHED, night
    assert not report["files"]["problems"], night
    doubled = {key: n for key, n in nights.asked.items() if n > 1}
    assert not doubled, night


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_ninety_nights_keep_folder_database_and_sources_in_step(nights: Ninety) -> None:
    chance = nights.chance
    nights.template(TEMPLATES[0])
    for n in range(5):
        nights.put(f"d{n}", f"Document {n}.")
    nights.schedule(cron="30 2 * * *", tz=ZONE, output="answers")
    times = fire_times("30 2 * * *", zone_of(ZONE), after=nights.clock.now())
    statements: list[str] = []
    quiet: list[int] = []
    seconds: list[float] = []
    engine = nights.database._engine
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    offsets: list[object] = []

    for night in range(1, NIGHTS + 1):
        at = next(times)
        offset = at.astimezone(zone_of(ZONE)).utcoffset()
        offsets += [offset] if not offsets or offsets[-1] != offset else []
        if night in QUIET:
            nights.until(at)
            nights.tick()
            begun, spent = len(statements), time.process_time()
            nights.work()
            quiet.append(len(statements) - begun)
            seconds.append(time.process_time() - spent)
            nights.settle()
        else:
            if night > 1:
                befall(nights, chance, night)
            fire(nights, chance, at)
        agree(nights, nights.report(), night)

    assert len(nights.firings()) >= 20
    with nights.database.read() as conn:
        fired = conn.scalar(text(f"SELECT count(*) FROM report_firings WHERE schedule = '{NAME}'"))
        done = conn.scalar(text("SELECT count(*) FROM report_firings WHERE state = 'finished'"))
    assert (fired, done) == (NIGHTS, NIGHTS)
    assert offsets[0] != offsets[1] != offsets[2] == offsets[0], "the clocks go back and forward again"
    assert len(offsets) == 3
    assert nights.deaths > 30
    assert nights.deaths_storing > 5
    assert quiet[1] <= quiet[0] + 5
    print(f"night 2 took {seconds[0]:.3f} s of CPU, night 89 {seconds[1]:.3f} s")
    assert seconds[1] <= 2 * seconds[0] + 0.1
