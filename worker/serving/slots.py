"""The slots of a host: threads that each ask one job at a time, and hand back how it ended."""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from worker.clock import Clock
from worker.domain.jobs import ClaimedJob, Priority
from worker.errors import Code
from worker.ollama.client import Call
from worker.policy.streams import next_job
from worker.serving.attempt import Ending

Attempt = Callable[[ClaimedJob, str, Call], Ending]
"""A job, the runner key that serves it, and the call to be aborted by."""

MOST_FAILURES = 20
"""Jobs that fail one after another before the slots halt, for the brakes to be looked at."""
OVERCOMMIT = 1
"""Slots more than there are, for interactive jobs alone: theirs is then the next answer, whatever runs."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended, on which runner, and how many were asked at once when it began, itself included."""

    ending: Ending
    runner_key: str
    at_once: int


class Slots:
    """Up to ``limit`` jobs at a time, of those that were claimed. Only the serving thread calls the methods.

    A job is *unstarted* until a slot takes it: unstarted jobs can be given back, the others end by themselves or are
    aborted.
    """

    def __init__(
        self, limit: int, attempt: Attempt, *, name: str, clock: Clock, leased_until: float = float("inf")
    ) -> None:
        """``leased_until`` is on the monotonic clock of ``clock``; see ``renewed``."""
        self._limit = limit
        self._attempt, self._name = attempt, name
        self._clock, self._leased_until = clock, leased_until
        self._changed = threading.Condition(threading.Lock())
        self._waiting: list[ClaimedJob] = []
        self._runner_of: dict[int, str] = {}
        """Of every job handed over whose ending has not been taken."""
        self._running: dict[int, ClaimedJob] = {}
        self._calls: dict[int, Call] = {}
        self._endings: queue.SimpleQueue[Ended | None] = queue.SimpleQueue()
        self._untaken = 0
        self._halted = self._closed = False
        self._failures = 0
        self._threads: list[threading.Thread] = []
        self.failure: Exception | None = None
        """A defect that ended a job without an outcome."""

    @property
    def limit(self) -> int:
        """Jobs that are asked at a time."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._changed:
            self._limit = limit
            self._changed.notify_all()

    @property
    def leased(self) -> bool:
        """Whether the leases of what was handed over still hold, as far as is known."""
        with self._changed:
            return self._clock.monotonic() < self._leased_until

    @property
    def unfinished(self) -> int:
        """Jobs handed over whose ending has not been taken."""
        return len(self._runner_of)

    @property
    def held(self) -> frozenset[int]:
        """Ids of the jobs handed over whose ending has not been taken. May be read from any thread."""
        with self._changed:
            return frozenset(self._runner_of)

    @property
    def running(self) -> frozenset[int]:
        """Ids of the jobs that a slot has taken and that have not ended. May be read from any thread."""
        with self._changed:
            return frozenset(self._running)

    @property
    def in_flight(self) -> Counter[str]:
        """Runner key → its jobs that are asked, or wait for a slot."""
        with self._changed:
            return Counter(self._runner_of.values())

    @property
    def ready(self) -> int:
        """Jobs no slot has taken yet."""
        return len(self._waiting)

    @property
    def fresh(self) -> bool:
        """Whether a job waits that begins otherwise than all that run: for the next slot that is done with its prefix."""
        with self._changed:
            at = {job.prefix_group for job in self._running.values()}
            return any(job.prefix_group not in at for job in self._waiting)

    def hand_over(self, jobs: Iterable[ClaimedJob], runner_key: str) -> None:
        """Jobs that were claimed, in the order they are to be run in; ``runner_key`` is resident."""
        self.resume()
        with self._changed:
            for job in jobs:
                self._runner_of[job.id] = runner_key
                self._waiting.append(job)
            wanted = min(len(self._runner_of), self._limit + OVERCOMMIT) - len(self._threads)
            self._changed.notify_all()
        for _ in range(wanted):
            thread = threading.Thread(
                target=self._work, name=f"{self._name}-slot-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def resume(self) -> None:
        """Go on after a halt. Not before the endings that led to the halt have been taken."""
        with self._changed:
            if self._halted and not self._untaken:
                self._halted, self._failures = False, 0
                self._changed.notify_all()

    def renewed(self, lost: Collection[int], leased_until: float) -> None:
        """The leases of the jobs hold until then, but those of the jobs that are ``lost`` were ended by others: they are
        not asked any more. May be called from any thread.

        A process that was stopped, or whose machine slept, wakes with jobs that somebody else has answered meanwhile;
        so no job is begun on a lease that may have run out.
        """
        with self._changed:
            self._leased_until = leased_until
            gone = [job for job in self._waiting if job.id in lost]
            self._waiting = [job for job in self._waiting if job.id not in lost]
            for job in gone:
                del self._runner_of[job.id]
            self._changed.notify_all()
        if gone:
            self.nudge()

    def take_back(self, alike: Collection[bytes] | None = None) -> list[ClaimedJob]:
        """The jobs that no slot has taken yet, of ``alike`` those that ask one of these; they are nobody's then and have
        to be released."""
        with self._changed:
            unstarted = [job for job in self._waiting if alike is None or job.reuse_key in alike]
            if alike is None:
                self._waiting = []
            elif unstarted:
                self._waiting = [job for job in self._waiting if job.reuse_key not in alike]
            for job in unstarted:
                del self._runner_of[job.id]
        return unstarted

    def endings(self, wait: float) -> list[Ended]:
        """All endings that are there; waits up to ``wait`` seconds for the first. ``nudge`` cuts the wait short."""
        taken: list[Ended] = []
        try:
            ended = self._endings.get(timeout=wait) if wait > 0 else self._endings.get_nowait()
            while True:
                if ended is not None:
                    taken.append(ended)
                ended = self._endings.get_nowait()
        except queue.Empty:
            pass
        with self._changed:
            self._untaken -= len(taken)
            for one in taken:
                self._runner_of.pop(one.ending.finish.job_id, None)
        return taken

    def nudge(self) -> None:
        """Wake whoever waits in ``endings``. May be called from any thread."""
        self._endings.put(None)

    def abort(self, job_ids: Iterable[int] | None = None, *, code: Code = Code.CANCELLED) -> None:
        """Cut the connections of these running jobs, or of all. May be called from any thread."""
        with self._changed:
            calls = (
                list(self._calls.values())
                if job_ids is None
                else [self._calls[job_id] for job_id in job_ids if job_id in self._calls]
            )
        for call in calls:
            call.abort(code)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        ran: int | None = None
        while (taken := self._take(ran)) is not None:
            job, runner_key, call, at_once = taken
            ran = job.prefix_group
            try:
                ending = self._attempt(job, runner_key, call)
            except Exception as error:
                self._drop(job, error)
            else:
                self._put(job, runner_key, ending, at_once)

    def _take(self, ran: int | None) -> tuple[ClaimedJob, str, Call, int] | None:
        """Wait for a job and take it; None when the slots are closed."""
        with self._changed:
            while not self._closed:
                if self._waiting and not self._halted and self._clock.monotonic() < self._leased_until:
                    at = {job.prefix_group for job in self._running.values()}
                    place = next_job(self._waiting, ran, at)
                    job = self._waiting[place]
                    over = OVERCOMMIT if job.priority == Priority.INTERACTIVE else 0
                    if len(self._running) < self._limit + over:
                        del self._waiting[place]
                        self._running[job.id] = job
                        call = self._calls[job.id] = Call()
                        return job, self._runner_of[job.id], call, len(self._running)
                self._changed.wait()
            return None

    def _drop(self, job: ClaimedJob, failure: Exception) -> None:
        """A defect ended the job, and nothing is known of its outcome: its lease runs out, which counts as a loss. The slots
        halt, for the serving thread to end the pass."""
        with self._changed:
            self._calls.pop(job.id, None)
            self._running.pop(job.id, None)
            self._runner_of.pop(job.id, None)
            self._halted = True
            self.failure = failure
        self.nudge()

    def _put(self, job: ClaimedJob, runner_key: str, ending: Ending, at_once: int) -> None:
        with self._changed:
            self._calls.pop(job.id, None)
            self._running.pop(job.id, None)
            self._failures = self._failures + 1 if ending.has_failed else 0
            if ending.is_the_hosts or self._failures >= MOST_FAILURES:
                # Until the serving thread has taken this in, a host that refuses connections, or a template that
                # no model understands, would be handed, and fail, every job that waits here.
                self._halted = True
            self._untaken += 1
            self._endings.put(Ended(ending, runner_key, at_once))
        # nobody is woken: the slot that is free now is this thread's, and it takes the next job itself
