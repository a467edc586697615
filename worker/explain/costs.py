"""What costs a batch its time? Each cost that is worth a change, with the change."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import datetime

from worker.domain.batches import Batch, BatchState
from worker.domain.hosts import LoadedModel
from worker.domain.jobs import Priority
from worker.domain.numbers import count_of
from worker.domain.runners import RunnerKey
from worker.explain.reasons import span
from worker.records import record
from worker.storage.ahead import OpenJobs, open_jobs
from worker.storage.batches import get_batch
from worker.storage.costs import Loading, Spent, loading_since, time_spent
from worker.storage.engine import Connection
from worker.storage.host_rows import read_hosts
from worker.storage.paces import read_paces

LOADING = 0.15
"""Share of the hosts' time; less than that is as good as none."""
FEW = 5
"""Answers that tell nothing yet."""
LONG_ANSWER = 1000
"""Tokens, on average."""
MOSTLY = 0.5
MOST_NAMED = 3


@record
class Rival:
    """Jobs of another batch that come before a batch's, or take turns with them."""

    batch_id: int
    name: str
    jobs: int
    before: bool


@record
class AtOnce:
    """A host that gives fewer answers at once than it has slots."""

    host: str
    model: str
    answers: int
    slots: int


@record
class Costs:
    """All that is looked at."""

    batch_id: int
    priority: Priority = Priority.NORMAL
    """Of its least urgent jobs."""
    spent: Sequence[Spent] = ()
    loading: Sequence[Loading] = ()
    at_once: Sequence[AtOnce] = ()
    rivals: Sequence[Rival] = ()
    loaded: Mapping[str, Sequence[LoadedModel]] = field(default_factory=dict)
    """Host → what it has loaded, where it was asked just now."""


def what_costs_time(costs: Costs) -> list[str]:
    """In sentences, each with its remedy; empty where nothing is worth a change."""
    return [
        *_rivals(costs),
        *_loading(costs),
        *_on_the_cpu(costs),
        *_at_once(costs),
        *(
            sentence
            for spent in costs.spent
            if spent.jobs >= FEW and spent.seconds > 0
            for sentence in _answers(spent)
        ),
    ]


def _rivals(costs: Costs) -> Iterator[str]:
    for before in (True, False):
        those = [other for other in costs.rivals if other.before is before]
        if not those:
            continue
        named = ", ".join(
            f"{other.jobs:,} of batch {other.batch_id} ({other.name})" for other in those[:MOST_NAMED]
        )
        more = f" and {len(those) - MOST_NAMED} more batches" if len(those) > MOST_NAMED else ""
        does = "come before it" if before else "take turns with it"
        yield f"jobs of others {does}: {named}{more}{_more_urgent(costs)}"


def _more_urgent(costs: Costs) -> str:
    if costs.priority is Priority.INTERACTIVE:
        return ""
    higher = Priority.HIGH if costs.priority > Priority.HIGH else Priority.INTERACTIVE
    return f"; caravan edit {costs.batch_id} --priority {higher.name.lower()}"


def _loading(costs: Costs) -> Iterator[str]:
    loads = sum(part.loads for part in costs.loading)
    seconds = sum(part.load_seconds for part in costs.loading)
    elapsed = sum(part.seconds for part in costs.loading)
    if loads < 2 or not elapsed or seconds / elapsed < LOADING:
        return
    host = max(costs.loading, key=lambda part: part.load_seconds).host
    yield (
        f"loading took {seconds / elapsed:.0%} of the hosts' time ({count_of(loads, 'load')}, {span(seconds)}): fewer models in "
        f"one batch, larger batches, or where two fit side by side: caravan hosts set {host} --models 2"
    )


def _on_the_cpu(costs: Costs) -> Iterator[str]:
    for host, models in sorted(costs.loaded.items()):
        for model in models:
            if not model.size or model.size_vram >= model.size:
                continue
            share = 1 - model.size_vram / model.size
            if not model.size_vram:
                yield f"{model.name} runs on the CPU of {host} alone: if it has a GPU, Ollama's log there says why not"
            else:
                yield (
                    f"{share:.0%} of {model.name} is on the CPU of {host}, which slows all of it down: a smaller num_ctx, "
                    f"fewer slots, or a smaller model; caravan hosts check {host} measures it"
                )


def _at_once(costs: Costs) -> Iterator[str]:
    for host in costs.at_once:
        yield (
            f"{host.host} gives {count_of(host.answers, 'answer')} of {host.model} at once, its slots are {host.slots}: "
            "start Ollama there with "
            f"OLLAMA_NUM_PARALLEL={host.slots}, unless the model or its memory allow no more"
        )


def _answers(spent: Spent) -> Iterator[str]:
    mean = spent.output_tokens / spent.jobs
    written = spent.reasoning_chars + spent.answer_chars
    reasoning = spent.reasoning_chars / written if written else 0.0
    if reasoning >= MOSTLY:
        yield f"{reasoning:.0%} of what {spent.model} writes is reasoning: --no-think, where that is good enough"
    elif mean >= LONG_ANSWER and spent.answer_seconds / spent.seconds >= MOSTLY:
        yield (
            f"answers of {spent.model} have {mean:,.0f} tokens on average, {spent.answer_seconds / spent.seconds:.0%} "
            f"of their time: ask for shorter ones; --set num_predict={round(mean / 2):d} ends them at half of that"
        )
    speaks = spent.output_tokens > 0  # a text whose vector is wanted has nothing but its reading
    if speaks and spent.prompt_seconds / spent.seconds >= MOSTLY:
        yield (
            f"reading the prompts takes {spent.prompt_seconds / spent.seconds:.0%} of {spent.model}'s time: put what "
            "prompts share (the document) first, and a host reads it once"
        )


def read_costs(
    conn: Connection,
    batch_id: int,
    *,
    now: datetime,
    runner_keys: Sequence[str],
    loaded: Mapping[str, Sequence[LoadedModel]] | None = None,
) -> Costs:
    """What costs a batch, or jobs with ``runner_keys``, their time. Raises NotFound."""
    batch = get_batch(conn, batch_id)
    models = {RunnerKey.parse(key).model for key in runner_keys}
    going = batch.state is BatchState.OPEN
    everything = open_jobs(conn) if going else []
    mine = [item.priority for item in everything if item.batch_id == batch.id]
    priority = max(mine, default=Priority.NORMAL)
    return Costs(
        batch_id,
        priority,
        spent=time_spent(conn, batch_id),
        loading=loading_since(conn, batch.created_at, until=batch.finished_at or now),
        at_once=_fewer(conn, models, now) if going else (),
        rivals=_read_rivals(conn, batch, everything, priority) if mine else (),
        loaded={
            host: [item for item in there if item.name in models] for host, there in (loaded or {}).items()
        },
    )


def _fewer(conn: Connection, models: set[str], now: datetime) -> list[AtOnce]:
    slots = {
        report.host.name: report.host.slots for report in read_hosts(conn, now) if not report.host.auto_slots
    }
    return [
        AtOnce(pace.host, model, pace.slots, slots[pace.host])
        for pace in read_paces(conn)
        if pace.slots is not None
        and pace.slots < slots.get(pace.host, 0)
        and (model := RunnerKey.parse(pace.runner_key).model) in models
    ]


def _read_rivals(
    conn: Connection, batch: Batch, everything: Sequence[OpenJobs], priority: Priority
) -> list[Rival]:
    jobs: dict[tuple[int, bool], int] = {}
    for one in everything:
        if one.batch_id != batch.id and one.eligible and one.priority <= priority:
            place = one.batch_id, one.priority < priority
            jobs[place] = jobs.get(place, 0) + one.eligible
    largest = sorted(jobs.items(), key=lambda item: (-item[1], item[0]))
    return [
        Rival(other, get_batch(conn, other).name, n, before)
        for (other, before), n in largest[: 2 * MOST_NAMED]
    ]
