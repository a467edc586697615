"""``--pull-missing``: begins a pull of models that no host has. Whoever serves the hosts carries it out."""

from collections.abc import Sequence

from worker.cli.actions import principal
from worker.cli.render import Console
from worker.hosts.models import begin_pull
from worker.hosts.registry import Pull
from worker.storage.engine import Database


def puller(database: Database, hosts: Sequence[str], console: Console) -> Pull:
    """Begins pulls onto these hosts, and says by which operations jobs get their models."""

    def pull(models: Sequence[str]) -> None:
        operations = begin_pull(database, models, hosts, clock=database.clock(), principal=principal())
        for operation in operations:
            names = ", ".join(dict.fromkeys(part.model for part in operation.parts))
            places = ", ".join(dict.fromkeys(part.host for part in operation.parts))
            console.print(
                f"operation {operation.id} pulls {names} onto {places}, and the jobs wait for it: "
                f"caravan models operations {operation.id}",
                markup=False,
                highlight=False,
            )

    return pull
