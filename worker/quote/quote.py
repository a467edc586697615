"""When will it be done, and what does it take? What is asked, what waits already and what was learned, put together."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime, timedelta
from statistics import fmean
from typing import TYPE_CHECKING

from worker.clock import Clock
from worker.domain.hosts import HostModel
from worker.domain.jobs import NewJob, Priority
from worker.domain.runners import RunnerKey
from worker.kinds.registry import kind_of
from worker.policy.coalesce import Group, coalesce
from worker.policy.prefix import SAMPLE, sharing
from worker.policy.quote import HostQuote, Need, Pace, Place, Quote, quote
from worker.policy.windows import Windows, fit, stored_windows
from worker.records import mutable_record, record
from worker.serving.pace import BYTES_PER_SECOND, LOAD_PRIOR, UNKNOWN_SIZE, VECTOR_PRIOR, Paces
from worker.storage.ahead import OpenJobs, open_jobs
from worker.storage.engine import Connection, Database
from worker.storage.host_rows import Disk, HostRow, read_hosts
from worker.storage.models import ModelFacts
from worker.storage.paces import StoredPace, read_paces
from worker.storage.reports import list_models
from worker.storage.windows import batch_windows

if TYPE_CHECKING:  # ``watch`` reads no input
    from worker.door.intake import Intake
    from worker.door.rows import InputLine
    from worker.hosts.registry import HostLook

TOKENS_PER_SECOND = 40.0
"""Of one answer, where nobody has seen the model answer."""
ANSWER_TOKENS = 200
"""Of an answer of which nothing is known."""
MOST_TOKENS = 512
"""Few answers use all that num_predict allows."""


@record
class Tally:
    """An input, read and not stored."""

    jobs: Mapping[tuple[str, Priority], int]
    """(runner key as it would be queued, priority) → jobs."""
    answers: Mapping[str, float]
    """Runner key → expected tokens of an answer, on average."""
    models: Mapping[str, int]
    """Each model, and the first line that asks it."""
    advice: str | None = None
    """What to change about the prompts, for the hosts' prefix caches to serve."""

    @property
    def total(self) -> int:
        return sum(self.jobs.values())


@record
class Machines:
    """The hosts that count, and what each has: None where nobody has looked."""

    reports: Sequence[HostRow]
    models: Mapping[str, Mapping[str, HostModel] | None]


@record
class Quoted:
    """When some jobs will be done, as far as is known at ``at``."""

    at: datetime
    jobs: int
    before: int
    """Others' jobs of a higher priority."""
    beside: int
    """Others' jobs of the same priority."""
    quote: Quote
    guessed: tuple[str, ...] = ()
    """Runner keys of the quoted jobs that nobody has seen at work."""
    advice: str | None = None
    hours: Windows | None = None
    """In which the quoted jobs may start; None: at any time."""

    @property
    def low(self) -> datetime:
        return self._done_at(self.quote.low)

    @property
    def expected(self) -> datetime:
        return self._done_at(self.quote.expected)

    @property
    def high(self) -> datetime:
        return self._done_at(self.quote.high)

    def _done_at(self, seconds: float) -> datetime:
        in_windows = None if self.hours is None else fit(self.hours, self.at, seconds).done_at
        return in_windows or self.at + timedelta(seconds=seconds)

    @property
    def hosts(self) -> tuple[HostQuote, ...]:
        return self.quote.hosts

    def meets(self, deadline: datetime) -> bool:
        """Whether it is expected to be done by then, all of it."""
        return not self.quote.unplaced and self.expected <= deadline


def tally(
    intake: "Intake", lines: "Iterable[bytes | str | InputLine]", model_facts: Mapping[str, ModelFacts]
) -> Tally:
    """Read the whole input and store nothing. Raises InputRefused with everything that is wrong with it."""
    jobs: Counter[tuple[str, Priority]] = Counter()
    tokens: Counter[str] = Counter()
    prompts: list[str] = []
    nothing = ModelFacts()
    for job in intake.read(lines):
        jobs[job.runner_key, job.priority] += 1
        tokens[job.runner_key] += _answer(job, model_facts.get(job.model, nothing))
        if len(prompts) < SAMPLE:
            prompts.append(job.prompt)
    intake.check_whole()
    intake.problems.check()
    by_key: Counter[str] = Counter()
    for (key, _), n in jobs.items():
        by_key[key] += n
    answers = {key: tokens[key] / n for key, n in by_key.items()}
    return Tally(dict(jobs), answers, dict(intake.models), sharing(prompts).advice)


def _answer(job: NewJob, model: ModelFacts) -> int:
    expected = kind_of(job.kind).expected(job.prompt, job.request, thinking=model.thinking)
    return min(expected.answer, MOST_TOKENS)


def quote_input(
    database: Database,
    counts: Tally,
    *,
    clock: Clock,
    machines: Machines | None = None,
    less: Mapping[str, int] | None = None,
    besides: int | None = None,
    hours: Windows | None = None,
) -> Quoted:
    """What to expect of an input behind what waits already.

    ``machines``: None for the hosts of the database. ``less``: runner key → jobs that are done already. ``besides``: a
    batch that holds part of the input, and is not in its own way. ``hours``: when its jobs may start.
    """
    now = clock.now()
    own: Counter[tuple[str, Priority]] = Counter(counts.jobs)
    for key, done in (less or {}).items():
        for place in sorted(own):
            if place[0] == key and done > 0:
                taken = min(done, own[place])
                own[place] -= taken
                done -= taken
    with database.read() as conn:
        rivals = [job for job in open_jobs(conn) if job.batch_id != besides]
        input_quote = _quoted(conn, +own, rivals, now, machines=machines, answers=counts.answers)
    return replace(input_quote, advice=counts.advice, hours=hours)


def quote_batch(
    conn: Connection,
    batch_id: int | None,
    *,
    now: datetime,
    among: Collection[str] | None = None,
    alone: bool = False,
) -> Quoted:
    """What to expect of the rest of a batch; of everything that waits where ``batch_id`` is None.

    ``among`` names the hosts that count; None: all that were added. ``alone``: nothing else is worked on.
    """
    everything = open_jobs(conn)
    own: Counter[tuple[str, Priority]] = Counter()
    for entry in everything:
        if batch_id is None or entry.batch_id == batch_id:
            own[entry.runner_key, entry.priority] += entry.jobs if batch_id is not None else entry.eligible
    rivals = (
        [] if alone or batch_id is None else [entry for entry in everything if entry.batch_id != batch_id]
    )
    machines = machines_of(conn, now, among=among)
    hours = None if batch_id is None else stored_windows(batch_windows(conn, batch_id))
    return replace(_quoted(conn, +own, rivals, now, machines=machines), hours=hours)


def machines_of(conn: Connection, now: datetime, *, among: Collection[str] | None = None) -> Machines:
    """The hosts of the database that take work and answer; of ``among`` where that is given, else those added for good."""
    reports = [
        report
        for report in read_hosts(conn, now)
        if (report.kept if among is None else report.host.name in among)
        and not report.host.draining
        and report.error is None
    ]
    models: dict[str, Mapping[str, HostModel] | None] = {
        report.host.name: {} if report.looked else None for report in reports
    }
    for model in list_models(conn):
        known = models.get(model.host)
        if known is not None:
            models[model.host] = {
                **known,
                model.name: HostModel(
                    model.name,
                    model.digest,
                    model.thinking,
                    model.trained_context,
                    model.size,
                    capabilities=model.capabilities,
                ),
            }
    return Machines(reports, models)


def machines_of_looks(conn: Connection, looks: "Sequence[HostLook]", now: datetime) -> Machines:
    """The hosts that were looked at just now and answered; what they hold, as far as the database knows it."""
    known = {report.host.name: report for report in read_hosts(conn, now)}
    reports, models = [], {}
    for look in looks:
        if look.error is not None:
            continue
        name = look.host.name
        there = {model.name: model for model in look.models}
        before = known.get(name)
        if before is None or before.host.url != look.host.url:
            before = HostRow(
                look.host,
                now,
                kept=False,
                added_at=now,
                version=look.version,
                last_seen_at=now,
                disk=Disk(
                    now,
                    frozenset(there),
                    {model.name: model.weights for model in look.models if model.weights},
                ),
            )
        reports.append(replace(before, host=look.host))
        models[name] = there
    return Machines(reports, models)


def _quoted(
    conn: Connection,
    own: Mapping[tuple[str, Priority], int],
    rivals: Sequence[OpenJobs],
    now: datetime,
    *,
    machines: Machines | None = None,
    answers: Mapping[str, float] | None = None,
) -> Quoted:
    machines = machines or machines_of(conn, now)
    learned = _Learned(read_paces(conn))
    least = max((priority for _, priority in own), default=Priority.BULK)
    ahead = [rival for rival in rivals if rival.eligible and rival.priority <= least]
    groups = _grouped(machines, [*(key for key, _ in own), *(entry.runner_key for entry in ahead)])
    needs = [_need(group, own, ahead, least, machines, learned, answers or {}) for group in groups]
    places = [
        Place(report.host.name, frozenset({*report.residents, report.resident or ""} - {""}))
        for report in machines.reports
    ]
    return Quoted(
        at=now,
        jobs=sum(own.values()),
        before=sum(need.before for need in needs),
        beside=sum(need.beside for need in needs),
        quote=quote(needs, places),
        guessed=tuple(need.runner_key for need in needs if need.jobs and need.paces and not need.samples),
    )


def _grouped(machines: Machines, keys: Sequence[str]) -> list[Group]:
    """The runners that serve these keys, somewhere in the fleet."""
    resident = {
        key
        for report in machines.reports
        for key in (*report.residents, report.resident, report.intent)
        if key
    }
    weights: dict[str, str] = {}
    for report in machines.reports:
        weights |= report.weights
    return coalesce(list(dict.fromkeys(keys)), elsewhere=resident, weights=weights)


def _need(
    group: Group,
    own: Mapping[tuple[str, Priority], int],
    ahead: Sequence[OpenJobs],
    least: Priority,
    machines: Machines,
    learned: "_Learned",
    answers: Mapping[str, float],
) -> Need:
    members = frozenset(group.members)
    mine = {priority for key, priority in own if key in members}
    until = max(mine, default=least)
    waiting = [entry for entry in ahead if entry.runner_key in members]
    expected = [answers[key] for key in group.members if key in answers]
    return Need(
        group.runner_key,
        _paces(group, machines, learned, fmean(expected) if expected else ANSWER_TOKENS),
        jobs=sum(n for (key, _), n in own.items() if key in members),
        before=sum(entry.eligible for entry in waiting if entry.priority < until),
        beside=sum(entry.eligible for entry in waiting if entry.priority == until),
        samples=learned.jobs(group.runner_key),
    )


def _paces(group: Group, machines: Machines, learned: "_Learned", tokens: float) -> dict[str, Pace]:
    names = {RunnerKey.parse(key).model for key in (group.runner_key, *group.members)}
    paces: dict[str, Pace] = {}
    for report in machines.reports:
        models = machines.models.get(report.host.name)
        size, guess = None, max(tokens / TOKENS_PER_SECOND, VECTOR_PRIOR)
        if models is not None:
            there = [models[name] for name in sorted(names) if name in models]
            if not there:
                continue
            size = there[0].size or None
            if there[0].only_embeds:
                guess = VECTOR_PRIOR
        if report.host.memory is not None and size is not None and size > report.host.memory:
            continue
        paces[report.host.name] = learned.pace(
            report.host.name, report.host.slots, group.runner_key, size, guess
        )
    return paces


@mutable_record
class _Learned:
    """How fast what is, as far as anybody saw it; of a window that nobody saw, as of the model's others."""

    rows: Sequence[StoredPace]
    paces: Paces = field(default_factory=Paces)

    def __post_init__(self) -> None:
        self.paces.learn(self.rows)

    def jobs(self, key: str) -> int:
        """How many jobs its pace was learned from."""
        return sum(max(1, row.jobs) for row in self._rows(key) if row.service_seconds is not None)

    def pace(self, host: str, slots: int, key: str, size: int | None, guess: float) -> Pace:
        """On ``host``; a guess where nobody saw it: by the ``size`` in bytes for the load, ``guess`` seconds for a job."""
        rows = self._rows(key)
        here = [row for row in rows if row.host == host]
        speed = self.paces.speed(host)
        service = [row.service_seconds for row in here if row.service_seconds is not None] or [
            row.service_seconds * self.paces.speed(row.host) / speed
            for row in rows
            if row.service_seconds is not None
        ]
        loads = [row.load_seconds for row in here if row.load_seconds is not None] or [
            row.load_seconds for row in rows if row.load_seconds is not None
        ]
        at_once = next((row.slots for row in here if row.slots is not None), slots)
        return Pace(
            fmean(loads) if loads else LOAD_PRIOR + (size or UNKNOWN_SIZE) / BYTES_PER_SECOND,
            fmean(service) if service else guess / speed,
            slots=at_once,
            load_is_guess=not loads,
        )

    def _rows(self, key: str) -> list[StoredPace]:
        exact = [row for row in self.rows if row.runner_key == key]
        if any(row.service_seconds is not None for row in exact):
            return exact
        model = RunnerKey.parse(key).model
        return [row for row in self.rows if RunnerKey.parse(row.runner_key).model == model]
