"""Caravan in Python: a client that can do the main job too."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Unpack

from worker.client import BatchHandle, Client, Fields, Jobs, OnProgress, submission_of
from worker.client.fields import shows_fields
from worker.client.progress import display_progress
from worker.errors import SettingsRefused
from worker.hosts.registry import models_check
from worker.stack.main_job import work_to_the_end, workplace


class Caravan(Client):
    """Submit jobs, wait for them, read their results; or ``run`` them here.

    >>> with Caravan() as caravan:  # doctest: +SKIP
    ...     batch = caravan.run(["Say hello."], hosts=["http://gpu-1:11434"], model="qwen3:8b")
    ...     print(next(batch.results())["answer"])
    """

    @shows_fields
    def run(
        self,
        jobs: Jobs,
        *,
        hosts: Sequence[str] | None = None,
        slots: int | None = None,
        callback: OnProgress | None = None,
        progress_bar: bool = False,
        poll: float = 0.25,
        wait_hosts: float = 120.0,
        **fields: Unpack[Fields],
    ) -> BatchHandle:
        """Submit as ``submit`` does, and serve ``hosts`` from threads of this process until nothing can move.

        ``hosts`` are URLs, or names of hosts that were added; None: all that were added, else the one at OLLAMA_HOST.
        ``slots``: requests each serves at a time; None: as it was added, else 1. ``callback`` gets the progress
        every ``poll`` seconds, and ``progress_bar`` shows it on standard error. Where ``caravan up`` serves this home,
        ``hosts`` are added to it, and it does the work while this waits.

        Interrupted, running calls may end (a second Ctrl-C cuts them; those of ``caravan up`` go on); the same call goes
        on where it stopped. Raises NoHost where no host answers, at the start or for ``wait_hosts`` seconds, or
        ``caravan up`` is gone for so long; AlreadyRunning where another ``run`` serves this home; SettingsRefused where a
        broker is set: there a fleet serves; else as ``submit``, InputRefused also for a model that none of the hosts has.
        """
        if self.settings.broker_url:
            raise SettingsRefused(
                "broker_url: a fleet serves here, so nothing runs in this process; use submit()"
            )
        submission = submission_of(**fields)
        shown = (
            display_progress(submission.name or "batch", callback) if progress_bar else nullcontext(callback)
        )
        with shown as on_progress, workplace(self.settings, hosts, slots) as place:
            receipt = self.submit_jobs(jobs, submission, check_models=models_check(place.models))
            work_to_the_end(place, receipt, on_progress, wait_hosts=wait_hosts, poll=poll)
        return self.handle(receipt.batch)
