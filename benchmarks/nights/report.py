"""What did the nights show? As a markdown table, as missed targets, and as a section of ``benchmarks/RESULTS.md``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.nights.bounds import Work, lower_bound, work_of
from benchmarks.nights.contenders import Night
from benchmarks.nights.workloads import Workload

RATIO_TARGET = 4.0
BOUND_TARGET = 1.10
MARKER = "<!-- end to end -->"
SETTLED = 0.95
"""The plain worker's rate counts until this share is stored: its part is small, and its last jobs wait for each other."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One workload: Caravan's night, and the plain worker's on ``share`` of it, where that ran."""

    workload: Workload
    caravan: Night
    celery: Night | None
    share: float

    @property
    def rate(self) -> float:
        """Jobs a second, from the first that could be taken to the last that was stored."""
        return self.caravan.jobs / self.caravan.seconds

    @property
    def plain_rate(self) -> float | None:
        """Jobs a second of the plain worker while its queue was long."""
        return None if self.celery is None else self.celery.rate_until(SETTLED)

    @property
    def ratio(self) -> float | None:
        """How many times as many jobs a second."""
        return None if self.plain_rate is None else self.rate / self.plain_rate

    @property
    def work(self) -> list[Work]:
        tokens = {answer.custom_id: answer.output_tokens for answer in self.caravan.answers}
        return list(work_of(self.workload.fleet, self.workload.jobs, tokens).values())

    @property
    def bound(self) -> float:
        """Seconds that no schedule can do without."""
        return lower_bound(self.workload.fleet, self.work).seconds

    @property
    def loads(self) -> tuple[int, int]:
        """How many loads there were, and how many any schedule of that length needs."""
        return self.caravan.loads, lower_bound(self.workload.fleet, self.work).loads(
            self.work, self.caravan.seconds
        )

    def documents_read(self, night: Night) -> int:
        """How many prompts were read with their document, not from it on."""
        fleet = self.workload.fleet
        alone = self.workload.document_tokens / fleet.prompt_tokens_per_second * fleet.time_scale
        return night.read_whole(alone / 2)


def missed(found: Sequence[Compared]) -> list[str]:
    """The targets that were missed, in words."""
    misses = []
    for one in found:
        if one.ratio is not None and one.ratio < RATIO_TARGET:
            misses.append(
                f"{one.workload.name}: {one.ratio:.1f} times as fast as plain Celery, not {RATIO_TARGET:g}"
            )
        bound = one.caravan.seconds / one.bound
        if bound > BOUND_TARGET:
            misses.append(
                f"{one.workload.name}: {bound:.3f} times the shortest possible, more than {BOUND_TARGET:.2f}"
            )
    return misses


def markdown(found: Sequence[Compared]) -> str:
    """The tables."""
    return "\n".join([*_table(_speeds(found)), "", *_table(_spent(found))])


def _speeds(found: Sequence[Compared]) -> Iterator[Sequence[str]]:
    yield (
        "workload",
        "jobs",
        "caravan, jobs/s",
        "plain Celery, jobs/s",
        "ratio",
        "caravan, s",
        "bound, s",
        "T/LB",
    )
    for one in found:
        yield (
            f"{one.workload.name}: {one.workload.about}",
            f"{one.caravan.jobs:,}",
            f"{one.rate:.1f}",
            "–" if one.plain_rate is None else f"{one.plain_rate:.2f}",
            "–" if one.ratio is None else f"**{one.ratio:.1f}**",
            f"{one.caravan.seconds:.1f}",
            f"{one.bound:.1f}",
            f"**{one.caravan.seconds / one.bound:.3f}**",
        )


def _spent(found: Sequence[Compared]) -> Iterator[Sequence[str]]:
    yield (
        "workload",
        "caravan, loads",
        "needed",
        "plain Celery, loads for each of caravan's jobs",
        "caravan, documents read",
        "needed",
        "plain Celery, documents read",
        "caravan, jobs given in, s",
    )
    for one in found:
        loads, needed = one.loads
        plain = one.celery
        yield (
            one.workload.name,
            str(loads),
            str(needed),
            "–" if plain is None else f"{plain.loads / plain.jobs * one.caravan.jobs:,.0f}",
            *_documents(one),
            f"{one.caravan.before:.1f}",
        )


def _documents(one: Compared) -> Iterator[str]:
    if not one.workload.document_tokens:
        yield from ("–", "–", "–")
        return
    yield str(one.documents_read(one.caravan))
    yield str(len({job.prompt.split("\n", 1)[0] for job in one.workload.jobs}))
    yield (
        "–"
        if one.celery is None
        else f"{one.documents_read(one.celery) / one.celery.jobs * one.caravan.jobs:,.0f}"
    )


def _table(rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """Rows as markdown, the first column left, the others right."""
    for number, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if not number:
            yield f"|---|{'---:|' * (len(row) - 1)}"


def with_section(page: str, marker: str, body: str) -> str:
    """A page with ``body`` between two lines ``marker``: in place of what was there, or at its end.

    >>> with_section("# Results\\n", "<!-- x -->", "new")
    '# Results\\n\\n<!-- x -->\\nnew\\n<!-- x -->\\n'
    >>> with_section("a\\n<!-- x -->\\nold\\n<!-- x -->\\nb\\n", "<!-- x -->", "new")
    'a\\n<!-- x -->\\nnew\\n<!-- x -->\\nb\\n'
    """
    section = f"{marker}\n{body.strip()}\n{marker}\n"
    before, found, rest = page.partition(f"{marker}\n")
    if not found:
        return f"{page.rstrip()}\n\n{section}".lstrip()
    _, closed, after = rest.partition(f"{marker}\n")
    return before + section + (after if closed else rest)
