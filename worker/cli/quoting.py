"""A quote in words: when it is done, on which hosts, and whether that is in time."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from worker.cli.render import Console, duration, one_line, output_console, plain_table, span_between
from worker.domain.numbers import count_of, names_of
from worker.domain.runners import RunnerKey
from worker.explain.reasons import moment
from worker.quote.quote import Quoted

MOST_HOSTS = 24


def print_quote(quoted: Quoted, deadline: datetime | None, *, sampling: str | None = None) -> None:
    """For people, on standard output. ``sampling``: the command that would know better."""
    console = output_console()
    for line in _head(quoted):
        console.print(line)
    if quoted.hosts and quoted.jobs:
        console.print(_table(quoted))
    for line in summary(quoted, deadline, sampling=sampling):
        console.print(line)


def _head(quoted: Quoted) -> Iterator[str]:
    loads, hosts = count_of(quoted.quote.loads, "load"), count_of(len(quoted.hosts), "host")
    yield f"{count_of(quoted.jobs, 'job')}, {loads}, {hosts}"
    if quoted.before:
        yield f"{count_of(quoted.before, 'job')} of a higher priority {'comes' if quoted.before == 1 else 'come'} before"
    if quoted.beside:
        yield f"{count_of(quoted.beside, 'job')} of the same priority {'waits' if quoted.beside == 1 else 'wait'} already"


def _table(quoted: Quoted) -> Any:
    table = plain_table(
        "host", "jobs", "loads", "busy", "models", right=("jobs", "loads", "busy"), cut=("host", "models")
    )
    for host in quoted.hosts[:MOST_HOSTS]:
        models = dict.fromkeys(RunnerKey.parse(part.runner_key).model for part in host.parts)
        table.add_row(
            one_line(host.host),
            f"{host.jobs:,}",
            f"{host.loads:,}",
            duration(host.busy_seconds) if host.parts else "–",
            one_line(", ".join(models) or "–"),
        )
    if len(quoted.hosts) > MOST_HOSTS:
        table.add_row(one_line(f"… {len(quoted.hosts) - MOST_HOSTS} more"), "", "", "", "")
    return table


def summary(quoted: Quoted, deadline: datetime | None, *, sampling: str | None = None) -> Iterator[str]:
    """When it is done, whether that is in time, how sure that is, and what would make it shorter."""
    if quoted.quote.unplaced:
        names = _models(quoted.quote.unplaced)
        yield f"Never: no host has, or can hold, {names}; caravan models says which host has what"
    if quoted.jobs and len(quoted.quote.unplaced) < _keys_needed(quoted):
        yield f"Expected {expected(quoted)}"
    if deadline is not None:
        yield whether_in_time(quoted, deadline)
    if quoted.guessed:
        names = _models(quoted.guessed)
        hint = f"; {sampling} runs ten of the jobs to know better" if sampling else ""
        yield f"This is a guess: nobody has seen {names} at work here{hint}"
    if quoted.advice:
        yield quoted.advice[:1].upper() + quoted.advice[1:]


def _keys_needed(quoted: Quoted) -> int:
    return len(quoted.quote.unplaced) + (1 if quoted.hosts and quoted.quote.expected else 0)


def expected(quoted: Quoted) -> str:
    """``at 03:10:00, in 2 h 4 min (1.7–2.9 h)``"""
    at = moment(quoted.expected, quoted.at)
    low, seconds, high = (
        (there - quoted.at).total_seconds() for there in (quoted.low, quoted.expected, quoted.high)
    )
    between = span_between(low, high)
    window = "" if quoted.hours is None else f", within {quoted.hours.text}"
    return f"at {at}, in {duration(seconds)}{f' ({between})' if '–' in between else ''}{window}"


def whether_in_time(quoted: Quoted, deadline: datetime) -> str:
    """One sentence about a deadline."""
    by = moment(deadline, quoted.at)
    left = (deadline - quoted.expected).total_seconds()
    if quoted.quote.unplaced:
        return f"Not in time for {by}: some of it cannot be done at all"
    if left < 0:
        sure = "cannot be met" if quoted.low > deadline else "will be missed, as it looks"
        return f"The deadline {by} {sure}: {duration(-left)} too late"
    if quoted.high > deadline:
        return f"In time for {by}, with {duration(left)} to spare, if all goes as expected"
    return f"In time for {by}, with {duration(left)} to spare"


def _models(runner_keys: Sequence[str]) -> str:
    return names_of(list(dict.fromkeys(RunnerKey.parse(key).model for key in runner_keys)))


def warn_of_deadline(console: Console, quoted: Quoted, deadline: datetime) -> None:
    """For a batch on its way: whether it is in time."""
    if not quoted.jobs or not quoted.hosts:
        return
    guess = " (a guess: nobody has seen these models at work here)" if quoted.guessed else ""
    text = whether_in_time(quoted, deadline) + guess
    console.print(text, style=None if quoted.meets(deadline) else "yellow")
