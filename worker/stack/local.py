"""The main job from Python: submit and serve in this process until it is done."""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from worker.client import BatchHandle, Client, Jobs, OnProgress
from worker.domain.address import host_address, host_name
from worker.domain.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.stack.embedded import Embedded


class Caravan(Client):
    """Submit jobs, wait for them, read their results; or ``run`` them here.

    >>> with Caravan() as caravan:  # doctest: +SKIP
    ...     batch = caravan.run(["Say hello."], hosts=["http://gpu-1:11434"], model="qwen3:8b")
    ...     print(next(batch.results())["answer"])
    """

    def __enter__(self) -> "Caravan":
        return self

    def run(
        self,
        jobs: Jobs,
        *,
        hosts: Sequence[str] = ("http://127.0.0.1:11434",),
        slots: int = 1,
        callback: OnProgress | None = None,
        poll: float = 0.25,
        **said: Any,
    ) -> BatchHandle:
        """Submit (``said`` as in ``submit``) and serve ``hosts`` from threads of this process until nothing can move.

        Interrupted, running calls may end; the same call goes on where it stopped. Raises AlreadyRunning where another
        process serves this home (use ``submit`` beside a ``caravan up``), NoHost where no host answers, InputRefused.
        """
        from worker.stack.embedded import join_hosts

        with self._serving() as stack:
            found = [Host(host_name(url), url, slots) for url in map(host_address, hosts)]
            join_hosts(stack, found)
            batch = self.submit(jobs, **said)
            stack.serve(found, batch_id=batch.id)
            batch.wait(callback, poll=poll)
        return batch

    @contextmanager
    def _serving(self) -> "Iterator[Embedded]":
        from worker.stack.embedded import embedded

        with embedded(self.settings, command="run") as stack:
            yield stack
