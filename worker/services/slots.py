"""The slots of a host: threads that each ask one job at a time, and hand back how it ended."""

import queue
import threading
from collections.abc import Callable, Iterable

from worker.domain.jobs import ClaimedJob
from worker.errors import Code
from worker.ollama.client import Call
from worker.services.attempt import Ending

Attempt = Callable[[ClaimedJob, Call], Ending]

MOST_FAILURES = 20
"""Jobs that fail one after another before the slots halt, for the brakes to be looked at."""


class Slots:
    """``count`` threads over one queue of claimed jobs. Only the serving thread calls the methods.

    A job is *unstarted* until a slot takes it: unstarted jobs can be given back, the others end by themselves or are
    aborted.
    """

    def __init__(self, count: int, attempt: Attempt, *, name: str) -> None:
        self.count = count
        self._attempt = attempt
        self._jobs: queue.SimpleQueue[ClaimedJob | None] = queue.SimpleQueue()
        self._passed_over: queue.SimpleQueue[ClaimedJob] = queue.SimpleQueue()
        self._endings: queue.SimpleQueue[Ending | None] = queue.SimpleQueue()
        self._halted = False
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._held: set[int] = set()
        self._failures = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-slot-{n}", daemon=True) for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def unfinished(self) -> int:
        """Jobs handed over whose ending has not been taken."""
        return len(self._held)

    @property
    def held(self) -> frozenset[int]:
        """Ids of the jobs handed over whose ending has not been taken. May be read from any thread."""
        with self._lock:
            return frozenset(self._held)

    @property
    def ready(self) -> int:
        """Jobs no slot has taken yet."""
        return self._jobs.qsize()

    def hand_over(self, jobs: Iterable[ClaimedJob]) -> None:
        self.resume()
        for job in jobs:
            with self._lock:
                self._held.add(job.id)
            self._jobs.put(job)

    def resume(self) -> None:
        """Go on after a halt, with what a slot passed over while ``take_back`` had just looked.

        Not before the endings that led to the halt have been taken.
        """
        if not self._halted or not self._endings.empty():
            return
        self._halted, self._failures = False, 0
        while True:
            try:
                self._jobs.put(self._passed_over.get_nowait())
            except queue.Empty:
                return

    def take_back(self) -> list[ClaimedJob]:
        """The jobs that no slot has taken yet; they are nobody's then and have to be released."""
        self._halted = True
        unstarted: list[ClaimedJob] = []
        for source in (self._jobs, self._passed_over):
            while True:
                try:
                    job = source.get_nowait()
                except queue.Empty:
                    break
                if job is not None:
                    unstarted.append(job)
        self._let_go(job.id for job in unstarted)
        return unstarted

    def endings(self, wait: float) -> list[Ending]:
        """All endings that are there; waits up to ``wait`` seconds for the first. ``nudge`` cuts the wait short."""
        taken: list[Ending] = []
        try:
            ending = self._endings.get(timeout=wait) if wait > 0 else self._endings.get_nowait()
            while True:
                if ending is not None:
                    taken.append(ending)
                ending = self._endings.get_nowait()
        except queue.Empty:
            pass
        self._let_go(ending.finish.job_id for ending in taken)
        return taken

    def nudge(self) -> None:
        """Wake whoever waits in ``endings``. May be called from any thread."""
        self._endings.put(None)

    def abort(self, job_ids: Iterable[int] | None = None, *, code: Code = Code.CANCELLED) -> None:
        """Cut the connections of these running jobs, or of all. May be called from any thread."""
        with self._lock:
            calls = (
                list(self._calls.values())
                if job_ids is None
                else [self._calls[job_id] for job_id in job_ids if job_id in self._calls]
            )
        for call in calls:
            call.abort(code)

    def _let_go(self, job_ids: Iterable[int]) -> None:
        with self._lock:
            self._held.difference_update(job_ids)

    def close(self) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._halted:
                self._passed_over.put(job)
                continue
            call = Call()
            with self._lock:
                self._calls[job.id] = call
            try:
                ending = self._attempt(job, call)
            finally:
                with self._lock:
                    self._calls.pop(job.id, None)
            self._failures = self._failures + 1 if ending.has_failed else 0
            if ending.is_the_hosts or self._failures >= MOST_FAILURES:
                # Until the serving thread has taken this in, a host that refuses connections, or a template that
                # no model understands, would be handed, and fail, every job that waits here.
                self._halted = True
            self._endings.put(ending)
