"""Work that must not wait any longer because of its deadline.

Dated work comes first from when it needs ``deadline_share`` of what the fleet can do until then: at the last safe moment
every host would need it at once, and one long job, or one load, would be too much. What cannot be saved any more is not
promoted: it would only take others with it.
"""

from collections.abc import Sequence

from worker.domain.numbers import count_of
from worker.policy.claim_size import claim
from worker.policy.facts import Decision, HostFacts, LoadRunner, Work
from worker.policy.picture import Picture, can_hold, load_seconds, rate
from worker.records import record


@record
class Dated:
    """The jobs of a key that are to be done by ``at``, as far as they can be."""

    work: Work
    at: float
    jobs: int
    """Up to this deadline, earlier ones of the key included; only what the fleet could still save."""
    need: float
    """Seconds from now until they are done if those who hold the key go on, or one host loads it."""
    slack: float


def by_deadline(picture: Picture) -> Decision | None:
    """The most urgent of the critical work: run it where it is, load it where it is not and nobody suits better."""
    if not any(work.due for work in picture.facts.work):
        return None
    dated = _dated(picture)
    critical = _critical(picture, dated)
    mine = [due for due in dated if due.work.runner_key in picture.host.resident]
    for due in critical:
        key = due.work.runner_key
        if key in picture.host.resident:
            return claim(
                picture,
                due.work,
                f"deadline: {count_of(due.jobs, 'job')} due in {due.at - picture.now:.0f} s",
            )
        if not can_hold(picture.host, due.work, picture.now) or not _may_leave(picture, due, mine):
            continue
        if not picture.holders(key):
            if mine and _somebody_undated(picture, due.work):
                continue
            return _load(picture, due, "no host holds it")
        if due.slack <= 0 and not any(own in critical for own in mine) and _worth_joining(picture, due):
            return _load(picture, due, "those who hold it would be late")
    return None


def _load(picture: Picture, dated: Dated, why: str) -> LoadRunner:
    message = f"deadline: {count_of(dated.jobs, 'job')} due in {dated.at - picture.now:.0f} s, {why}"
    return LoadRunner(dated.work.runner_key, message, picture.setup(dated.work).evict)


@record
class _Able:
    """The hosts that could do a key's work: (seconds until it runs there, jobs per second) of each."""

    each: Sequence[tuple[float, float]]
    longest: float
    """The longest of the waits."""
    rate: float
    lost: float
    """Jobs per second of all, and the jobs that are not done while they wait."""

    def jobs_in(self, seconds: float) -> float:
        """What they could do in that time if they did nothing else."""
        if seconds >= self.longest:
            return seconds * self.rate - self.lost
        return sum((seconds - wait) * rate for wait, rate in self.each if wait < seconds)


def _able(hosts: Sequence[HostFacts], work: Work, now: float) -> _Able:
    key = work.runner_key
    each = [
        (0.0 if key in host.resident else load_seconds(host, work), rate(host, work))
        for host in hosts
        if can_hold(host, work, now)
    ]
    return _Able(
        each,
        longest=max((wait for wait, _ in each), default=0.0),
        rate=sum(each_rate for _, each_rate in each),
        lost=sum(wait * each_rate for wait, each_rate in each),
    )


def _dated(picture: Picture) -> list[Dated]:
    """Every key's deadlines that lie ahead and can be met, the earliest first."""
    hosts = [picture.host, *(other for other in picture.facts.peers if other.serving)]
    dated: list[Dated] = []
    for work in picture.facts.work:
        if not work.due or not (able := _able(hosts, work, picture.now)).each:
            continue
        load, together = _start(picture, work, able)
        jobs = 0
        for due in work.due:
            most = able.jobs_in(due.at - picture.now)
            if most >= 1:
                jobs = min(jobs + due.jobs, int(most))
                dated.append(_dated_of(picture, work, due.at, jobs, load + jobs / together))
    return sorted(dated, key=lambda one: (one.at, one.work.runner_key))


def _start(picture: Picture, work: Work, able: _Able) -> tuple[float, float]:
    """Seconds until somebody runs it, and the jobs per second of those who then do."""
    here = work.runner_key in picture.host.resident
    together = picture.served_rate(work) + (rate(picture.host, work) if here else 0.0)
    if together:
        return 0.0, together
    held = picture.holders(work.runner_key)
    fastest = max(each for _, each in able.each)
    return (0.0 if held else min(wait for wait, _ in able.each) + picture.drain(picture.host)), fastest


def _dated_of(picture: Picture, work: Work, at: float, jobs: int, seconds: float) -> Dated:
    limits = picture.parameters
    need = seconds + limits.deadline_tails * work.service_seconds
    slack = at - picture.now - need * (1 + limits.deadline_margin) - limits.deadline_seconds
    return Dated(work, at, jobs, need, slack)


def _critical(picture: Picture, dated: list[Dated]) -> list[Dated]:
    """Those that would be late, and those that take more than their share of the fleet's time until then."""
    speed = picture.host.speed + sum(other.speed for other in picture.facts.peers if other.serving)
    seconds: dict[str, float] = {}
    total, latest = 0.0, float("-inf")
    for due in dated:
        key = due.work.runner_key
        held = key in picture.host.resident or picture.holders(key)
        load = 0.0 if held else due.work.load_seconds
        needed = load + due.jobs * due.work.service_seconds / picture.host.slots
        total += needed - seconds.get(key, 0.0)
        seconds[key] = needed
        if total > picture.parameters.deadline_share * speed * (due.at - picture.now):
            latest = due.at
    return [due for due in dated if due.slack <= 0 or due.at <= latest]


def _may_leave(picture: Picture, dated: Dated, mine: list[Dated]) -> bool:
    """A host with dated work of its own leaves it for an earlier deadline, or where it is back in time."""
    if not mine:
        return True
    if dated.slack > 0:
        return False
    first = mine[0]
    away = picture.setup(dated.work).seconds + dated.need + load_seconds(picture.host, first.work)
    return dated.at < first.at or first.slack > away


def _somebody_undated(picture: Picture, work: Work) -> bool:
    """Whether a host without dated work of its own could take it."""
    return any(
        other.serving
        and other.loading is None
        and can_hold(other, work, picture.now)
        and not any(held in picture.work and picture.work[held].due for held in other.resident)
        for other in picture.facts.peers
    )


def _worth_joining(picture: Picture, dated: Dated) -> bool:
    setup = picture.setup(dated.work)
    theirs = picture.served_rate(dated.work)
    useful = (dated.jobs - theirs * setup.seconds) / (theirs + rate(picture.host, dated.work))
    return useful >= picture.parameters.payback_idle * (setup.seconds + setup.regret)
