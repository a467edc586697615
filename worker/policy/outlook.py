"""Can anything of a batch still move? Whoever waits for it ends when the answer is no."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from worker.domain.batches import BatchProgress, BatchState


class Outlook(StrEnum):
    """What is to be expected of a batch."""

    GOING = "going"
    DONE = "done"
    """Every job has ended, or is held until somebody lets it go."""
    PAUSED = "paused"
    """Nothing runs, and nothing will before it is resumed."""
    NO_HOST = "no_host"
    """Every host has been away for longer than anybody wants to wait."""


def outlook(
    progress: BatchProgress,
    *,
    running: int,
    unreachable_since: Sequence[datetime | None],
    now: datetime,
    wait_hosts: timedelta,
) -> Outlook:
    """``running`` jobs are in slots now; ``unreachable_since`` has an entry for each host, None where it answers."""
    if not progress.open:
        return Outlook.DONE
    if running:
        return Outlook.GOING
    if progress.batch.state is BatchState.PAUSED:
        return Outlook.PAUSED
    if unreachable_since and all(
        since is not None and now - since >= wait_hosts for since in unreachable_since
    ):
        return Outlook.NO_HOST
    return Outlook.GOING
