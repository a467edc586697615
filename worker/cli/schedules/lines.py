"""What the commands of ``caravan schedule`` say of a schedule and its firings, a line each."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.domain.schedules import Firing, Schedule


def next_firings(schedules: "Sequence[Schedule]") -> str:
    """Each with its next firing, in one line."""
    texts = [
        f"{schedule.name} {local_time(schedule.next_at, schedule.spec.tz) if schedule.paused_at is None else 'paused'}"
        for schedule in schedules
    ]
    more = f", and {len(texts) - 5:,} more" if len(texts) > 5 else ""
    return f"{', '.join(texts[:5])}{more}"


def next_firing(schedule: "Schedule", *, now: datetime) -> str:
    """When a schedule fires next, or why it does not."""
    if schedule.paused_at is not None:
        return "it is paused: caravan schedule resume lets it fire"
    if schedule.next_at is None:
        return "it never fires: no such time comes"
    return f"fires next {local_time(schedule.next_at, schedule.spec.tz)} {schedule.spec.tz}, {time_until(schedule.next_at, now)}"


def local_time(at: datetime | None, zone: str) -> str:
    """A moment by the clock of a time zone, with its day of the week."""
    from worker.policy.zones import zone_of

    return "never" if at is None else f"{at.astimezone(zone_of(zone)):%a %Y-%m-%d %H:%M}"


def time_until(at: datetime, now: datetime) -> str:
    """How long it is until ``at``, in words."""
    from worker.cli.render import duration

    return "now" if at <= now else f"in {duration((at - now).total_seconds())}"


def firing_line(firing: "Firing | None", report: dict[str, Any] | None, *, brief: bool = False) -> str:
    """What came of a firing, in one line."""
    from worker.schedules.letter import headline

    if firing is None or report is None:
        return "–"
    text = headline(report).partition(": ")[2]
    if firing.reason is not None:
        text = firing.reason
    if firing.missed:
        text += f"; stands for {firing.missed:,} missed before it"
    state = "" if firing.state == "finished" else f"{firing.state}: "
    return f"{state}{text}" if brief else f"{firing.fire_at:%Y-%m-%d} {state}{text}"
