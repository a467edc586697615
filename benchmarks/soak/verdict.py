"""What came of it all? Read from the database and the diaries, said as figures, and judged."""

import math
import re
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.soak.history import Again, Generation, GivenUp, Waste


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds at the end."""

    states: Mapping[str, int]
    failures: Mapping[str, int]
    """Failed jobs by code."""
    reruns: Mapping[str, int]
    """Attempts that were followed by another one of the same job, by what ended them."""
    late: int
    """Answers that the fence refused, as somebody else had the job by then."""
    doubled: Sequence[str]
    """Jobs with more than one row, result or successful attempt."""
    custom_ids: Collection[str]
    unfinished: Sequence[str]
    """Jobs that are neither finished nor held."""
    hosts: Mapping[str, str]
    """Custom id → the host whose answer is stored."""
    crcs: Mapping[str, int]
    """Custom id → the CRC of the stored answer, of models that do not reason."""
    given_up: Sequence[GivenUp] = ()


def read_stored(url: str, reasoning: Collection[str]) -> Stored:
    """``reasoning`` are the models whose answers are not what the host said word for word."""
    with psycopg.connect(url) as conn:
        states: dict[str, int] = dict(
            conn.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        )
        failures = conn.execute(
            "SELECT error_code, count(*) FROM results WHERE state = 'failed' GROUP BY error_code"
        ).fetchall()
        reruns = conn.execute(
            "SELECT a.outcome || coalesce(' ' || a.error_code, ''), count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id "
            "WHERE a.attempt < j.attempt GROUP BY 1"
        ).fetchall()
        late = conn.execute("SELECT count(*) FROM attempts WHERE outcome = 'late'").fetchone()
        doubled = conn.execute(
            "SELECT custom_id FROM jobs GROUP BY custom_id HAVING count(*) > 1 "
            "UNION SELECT custom_id FROM results GROUP BY custom_id HAVING count(*) > 1 "
            "UNION SELECT min(custom_id) FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE outcome = 'succeeded' "
            "GROUP BY a.job_id HAVING count(*) > 1"
        ).fetchall()
        unfinished = conn.execute(
            "SELECT custom_id FROM jobs WHERE finished_at IS NULL AND state <> 'held' ORDER BY id"
        ).fetchall()
        ids = [row[0] for row in conn.execute("SELECT custom_id FROM jobs")]
        hosts, crcs = {}, {}
        answers = conn.execute("SELECT custom_id, host, model, answer FROM results WHERE state = 'succeeded'")
        for custom_id, host, model, answer in answers:
            hosts[custom_id] = host
            if model not in reasoning:
                crcs[custom_id] = zlib.crc32(answer.encode())
        given_up = conn.execute(
            "SELECT j.custom_id, a.host, extract(epoch FROM a.started_at)::float8, extract(epoch FROM a.ended_at)::float8 "
            "FROM attempts a JOIN jobs j ON j.id = a.job_id "
            "WHERE a.started_at IS NOT NULL AND a.error_code IS NOT NULL AND a.outcome <> 'rescued'"
        ).fetchall()
    return Stored(
        states,
        dict(failures),
        dict(reruns),
        0 if late is None else late[0],
        [row[0] for row in doubled],
        ids,
        [row[0] for row in unfinished],
        hosts,
        crcs,
        [GivenUp(*row) for row in given_up],
    )


_DEFECT = re.compile(r"raised unexpected|Exception in thread|defect while|code=internal")


def defects(logs: Path) -> list[str]:
    """What in these logs is Caravan's own fault."""
    return [
        f"{path.stem}: {line[:300]}"
        for path in sorted(logs.glob("*.log"))
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if _DEFECT.search(line)
    ]


@dataclass(slots=True)
class Soaked:
    """One run, as it is told and judged."""

    seed: int
    submitted: Collection[str]
    seconds: float
    troubles: Counter[str]
    restarts: int
    stored: Stored
    generations: Sequence[Generation]
    again: Sequence[Again]
    waste: Waste
    held: int
    """Jobs that were held when all trouble was over, and let go once."""
    checker: str
    """What ``caravan db check`` said against it; empty where nothing."""
    finished: bool
    defects: Sequence[str]
    """Lines of logs that tell of an exception nobody had thought of."""
    notes: list[str] = field(default_factory=list)

    @property
    def lost(self) -> list[str]:
        return sorted(set(self.submitted) - set(self.stored.custom_ids)) + list(self.stored.unfinished)

    @property
    def reached(self) -> list[Again]:
        return [one for one in self.again if one.reached]

    @property
    def mixed_up(self) -> list[str]:
        """Jobs whose stored answer no host gave to them. A host that is killed may take with it that it had answered."""
        said: dict[str, set[int]] = {}
        untold: set[tuple[str, str]] = set()
        for one in self.generations:
            if one.whole:
                said.setdefault(one.job, set()).add(one.crc)
            elif math.isinf(one.ended):
                untold.add((one.job, one.host))
        return [
            job
            for job, crc in self.stored.crcs.items()
            if crc not in said.get(job, ()) and (job, self.stored.hosts[job]) not in untold
        ]

    def wrong(self) -> list[str]:
        """Why this run fails, in words; empty where it does not."""
        told = []
        if self.lost:
            told.append(f"{len(self.lost)} jobs lost: {_some(self.lost)}")
        if self.stored.doubled:
            told.append(f"{len(self.stored.doubled)} jobs done twice: {_some(self.stored.doubled)}")
        if self.mixed_up:
            told.append(f"{len(self.mixed_up)} answers that no host gave: {_some(self.mixed_up)}")
        if self.reached:
            worst = [f"{one.first.job} by {one.first.host}, {one.ran:.1f} s" for one in self.reached]
            told.append(
                f"{len(self.reached)} answers that a living worker had, generated again: {_some(worst)}"
            )
        if self.checker:
            told.append(f"caravan db check: {self.checker}")
        if self.defects:
            told.append(f"{len(self.defects)} defects in the logs: {_some(self.defects)}")
        if not self.finished:
            told.append("it did not come to an end")
        return told

    def figures(self) -> str:
        """For people, in some twenty lines."""
        stored, made = self.stored, self.generations
        whole = sum(one.whole for one in made)
        told = {
            "jobs": _counts(stored.states),
            "failed": _counts(stored.failures),
            "trouble": f"{sum(self.troubles.values())}: {_counts(self.troubles)}",
            "restarts": f"{self.restarts} processes",
            "re-runs": f"{sum(stored.reruns.values())}: {_counts(stored.reruns)}",
            "held": f"{self.held} when the trouble was over; let go once",
            "late": f"{stored.late} answers refused by the fence",
            "generated": f"{len(made):,} times, {whole:,} of them to the end",
            "again": f"{len(self.again)}, {len(self.reached)} of them though a living worker had the answer",
            "wasted": f"{self.waste.wasted:.0f} of {self.waste.seconds:.0f} s of generation, {self.waste.share:.1%}",
            "verdict": f"lost {len(self.lost)}, double {len(stored.doubled)}, mixed up {len(self.mixed_up)}, "
            f"checker {'NOT clean' if self.checker else 'clean'}",
        }
        lines = [f"seed {self.seed}: {len(self.submitted):,} jobs in {self.seconds:.0f} s"]
        lines += [f"  {name:<10}{what}" for name, what in told.items()]
        return "\n".join(lines + [f"  note      {note}" for note in self.notes])


def _counts(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {n:,}" for name, n in ordered) or "none"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
