"""What keeps a host from work that waits, by the rule that the host's own loop goes by.

``policy.serving.Situation``, from which the loop takes its next step, lies in the memory of the process that serves: jobs
before its slots, times of its looks. Who explains has the database alone. Both turn it into the policy's facts of a host
with ``serving.facts``, and ask ``policy.picture.obstacle`` of them. They differ in what waits: the loop knows all that is
queued, who explains a batch knows the runner keys of that batch.
"""

from collections.abc import Collection, Iterator

from worker.explain.situation import Situation
from worker.policy.facts import Work
from worker.policy.picture import Obstacle, obstacle
from worker.records import record
from worker.serving.facts import groups_of, host_facts, memory_of
from worker.storage.host_rows import HostRow


@record
class Barred:
    """A runner that the host does not load, or does not use."""

    runner_key: str
    queued: tuple[str, ...]
    """The runner keys that it would serve, as they are queued."""
    obstacle: Obstacle
    memory: int | None
    """Bytes that it takes, where known."""


def barred(situation: Situation, host: HostRow, keys: Collection[str]) -> Iterator[Barred]:
    """The runners of these queued keys that the host does not take jobs of."""
    facts = host_facts(host, slots=host.slots, resident=dict.fromkeys(host.residents, 0))
    others = [other for other in situation.hosts if other.name != host.name]
    for group in groups_of(sorted(keys), host, others, host.weights):
        key = group.runner_key
        model = key.split(" ", 1)[0]
        taken = situation.memory_use.get(key, {})
        memory = memory_of(taken.get(host.name), taken.values(), size=host.disk.sizes.get(model))
        bar = obstacle(facts, Work(key, {}, model=model, memory=memory), situation.at.timestamp())
        if bar is not None:
            yield Barred(key, group.members, bar, memory)
