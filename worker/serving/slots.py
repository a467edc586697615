"""The slots of a host: threads that each make one call at a time, for the jobs that it carries, and hand back how these ended."""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.domain.jobs import ClaimedJob, Priority
from worker.errors import Code
from worker.kinds.registry import together
from worker.ollama.client import Call
from worker.policy.streams import next_job
from worker.records import mutable_record, record
from worker.serving.attempt import Ending

Attempt = Callable[[Sequence[ClaimedJob], str, Call], Sequence[Ending]]
"""Jobs that one call carries, the runner key that serves them, and the call to be aborted by; an ending for each, in order."""

MOST_FAILURES = 20
"""Jobs that fail one after another before the slots halt, for the brakes to be looked at."""
OVERCOMMIT = 1
"""Slots more than there are, for interactive jobs alone: theirs is then the next answer, whatever runs."""


@dataclass(frozen=True, slots=True, eq=False)
class RunningCall:
    """The jobs that a slot has taken together."""

    jobs: tuple[ClaimedJob, ...]
    runner_key: str
    call: Call
    at_once: int
    """Calls that ran when this one began, itself included."""
    unwanted: set[int] = field(default_factory=set)
    """Jobs of the call that nobody wants any more. Their outcomes are refused when they are stored."""

    @property
    def prefix_group(self) -> int:
        return self.jobs[0].prefix_group


@record
class Completion:
    """A call that ended, and how each of its jobs did, in their order."""

    call: RunningCall
    endings: Sequence[Ending]


@mutable_record
class SlotQueue:
    """The jobs of the slots, without threads and locks: ``Slots`` holds a lock around each call."""

    limit: int
    leased_until: float
    waiting: list[ClaimedJob] = field(default_factory=list)
    """Jobs that no slot has taken."""
    runner_keys: dict[int, str] = field(default_factory=dict)
    """Job → its runner key, for every job handed over whose ending has not been taken."""
    running: list[RunningCall] = field(default_factory=list)
    untaken: int = 0
    """Endings that the serving thread has not taken."""
    failures: int = 0
    """Jobs that failed one after another."""
    halted: bool = False
    closed: bool = False

    def start_next(self, last_group: int | None, now: float) -> RunningCall | None:
        """Take the jobs of one call for a slot whose last job was of the prefix group ``last_group``; None where none may
        begin."""
        if not self.waiting or self.halted or now >= self.leased_until:
            return None
        first = next_job(self.waiting, last_group, self._groups())
        over = OVERCOMMIT if self.waiting[first].priority == Priority.INTERACTIVE else 0
        if len(self.running) >= self.limit + over:
            return None
        places = together(self.waiting, first, self.runner_keys)
        jobs = tuple(self.waiting[place] for place in places)
        for place in reversed(places):
            del self.waiting[place]
        started = RunningCall(jobs, self.runner_keys[jobs[0].id], Call(), at_once=len(self.running) + 1)
        self.running.append(started)
        return started

    def end(self, started: RunningCall, endings: Sequence[Ending]) -> None:
        """The call has ended. Slots halt after a fault of the host and after many failures, until the serving thread has
        taken that in: else a host that refuses connections, or a template that no model understands, would be handed, and
        fail, every job that waits here."""
        self.running.remove(started)
        for ending in endings:
            self.failures = self.failures + 1 if ending.has_failed else 0
            if ending.is_the_hosts or self.failures >= MOST_FAILURES:
                self.halted = True
        self.untaken += len(endings)

    def drop(self, started: RunningCall) -> None:
        """A defect ended the call, and nothing is known of its outcomes: the leases run out, which counts as a loss."""
        self.running.remove(started)
        for job in started.jobs:
            self.runner_keys.pop(job.id, None)
        self.halted = True

    def give_up(self, job_ids: Collection[int] | None) -> list[Call]:
        """Nobody wants these jobs any more, or none at all. Returns the calls that carry no other."""
        if job_ids is None:
            return [started.call for started in self.running]
        calls = []
        for started in self.running:
            mine = {job.id for job in started.jobs}
            started.unwanted.update(mine.intersection(job_ids))
            if started.unwanted == mine:
                calls.append(started.call)
        return calls

    def take_back(self, matches: Callable[[ClaimedJob], bool]) -> list[ClaimedJob]:
        """Remove waiting jobs, which are nobody's then."""
        removed = [job for job in self.waiting if matches(job)]
        if removed:
            self.waiting = [job for job in self.waiting if not matches(job)]
        for job in removed:
            del self.runner_keys[job.id]
        return removed

    @property
    def fresh(self) -> bool:
        """Whether a job waits that begins otherwise than all that run."""
        groups = self._groups()
        return any(job.prefix_group not in groups for job in self.waiting)

    def _groups(self) -> set[int]:
        return {job.prefix_group for started in self.running for job in started.jobs}


class Slots:
    """Up to ``limit`` jobs at a time, of those that were claimed. Only the serving thread calls the methods.

    A job is *unstarted* until a slot takes it: unstarted jobs can be given back, the others end by themselves or are
    aborted.
    """

    def __init__(
        self, limit: int, attempt: Attempt, *, name: str, clock: Clock, leased_until: float = float("inf")
    ) -> None:
        """``leased_until`` is on the monotonic clock of ``clock``; see ``renew``."""
        self._attempt, self._name, self._clock = attempt, name, clock
        self._changed = threading.Condition(threading.Lock())
        self._queue = SlotQueue(limit, leased_until)
        self._completions: queue.SimpleQueue[Sequence[Completion]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self.finished = 0
        """Jobs whose endings have been taken."""
        self.failure: Exception | None = None
        """A defect that ended a job without an outcome."""

    @property
    def limit(self) -> int:
        """Jobs that are asked at a time."""
        return self._queue.limit

    @limit.setter
    def limit(self, limit: int) -> None:
        with self._changed:
            self._queue.limit = limit
            self._changed.notify_all()

    @property
    def leased(self) -> bool:
        """Whether the leases of what was handed over still hold, as far as is known."""
        with self._changed:
            return self._clock.monotonic() < self._queue.leased_until

    @property
    def unfinished(self) -> int:
        """Jobs handed over whose ending has not been taken."""
        return len(self._queue.runner_keys)

    @property
    def held(self) -> frozenset[int]:
        """Ids of the jobs handed over whose ending has not been taken. May be read from any thread."""
        with self._changed:
            return frozenset(self._queue.runner_keys)

    @property
    def running(self) -> frozenset[int]:
        """Ids of the jobs that a slot has taken and that have not ended. May be read from any thread."""
        with self._changed:
            return frozenset(job.id for started in self._queue.running for job in started.jobs)

    @property
    def drafts(self) -> dict[int, str]:
        """Interactive job → what its host has written so far. May be read from any thread."""
        with self._changed:
            calls = {
                started.jobs[0].id: started.call.reader
                for started in self._queue.running
                if started.jobs[0].priority == Priority.INTERACTIVE and len(started.jobs) == 1
            }
        return {job: reader.partial for job, reader in calls.items() if reader is not None}

    @property
    def in_flight(self) -> Counter[str]:
        """Runner key → its jobs that are asked, or wait for a slot."""
        with self._changed:
            return Counter(self._queue.runner_keys.values())

    @property
    def ready(self) -> int:
        """Jobs that no slot has taken yet."""
        return len(self._queue.waiting)

    @property
    def fresh(self) -> bool:
        """Whether a job waits that begins otherwise than all that run: for the next slot that is done with its prefix."""
        with self._changed:
            return self._queue.fresh

    def hand_over(self, jobs: Sequence[ClaimedJob], runner_key: str) -> None:
        """Jobs that were claimed, in the order they are to be run in; ``runner_key`` is resident."""
        self.resume()
        with self._changed:
            self._queue.runner_keys.update((job.id, runner_key) for job in jobs)
            self._queue.waiting += jobs
            threads = min(self.unfinished, self.limit + OVERCOMMIT) - len(self._threads)
            self._changed.notify_all()
        for _ in range(threads):
            thread = threading.Thread(
                target=self._work, name=f"{self._name}-slot-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def resume(self) -> None:
        """Go on after a halt. Not before the endings that led to the halt have been taken."""
        with self._changed:
            if self._queue.halted and not self._queue.untaken:
                self._queue.halted, self._queue.failures = False, 0
                self._changed.notify_all()

    def renew(self, lost: Collection[int], leased_until: float) -> None:
        """The leases of the jobs hold until then, but those of the jobs that are ``lost`` were ended by others: they are
        not asked any more. May be called from any thread.

        A process that was stopped, or whose machine slept, wakes with jobs that somebody else has answered meanwhile;
        so no job is begun on a lease that may have run out.
        """
        with self._changed:
            self._queue.leased_until = leased_until
            removed = self._queue.take_back(lambda job: job.id in lost)
            self._changed.notify_all()
        if removed:
            self.nudge()

    def take_back(self, alike: Collection[bytes] | None = None) -> list[ClaimedJob]:
        """The jobs that no slot has taken yet, of ``alike`` those that ask one of these; they are nobody's then and have
        to be released."""
        with self._changed:
            return self._queue.take_back(lambda job: alike is None or job.reuse_key in alike)

    def completions(self, wait: float) -> list[Completion]:
        """All calls that have ended; waits up to ``wait`` seconds for the first. ``nudge`` cuts the wait short."""
        taken: list[Completion] = []
        try:
            taken += self._completions.get(timeout=wait) if wait > 0 else self._completions.get_nowait()
            while True:
                taken += self._completions.get_nowait()
        except queue.Empty:
            pass
        endings = [ending for completion in taken for ending in completion.endings]
        self.finished += len(endings)
        with self._changed:
            self._queue.untaken -= len(endings)
            for ending in endings:
                self._queue.runner_keys.pop(ending.finish.job_id, None)
        return taken

    def nudge(self) -> None:
        """Wake whoever waits in ``completions``. May be called from any thread."""
        self._completions.put(())

    def abort(self, job_ids: Iterable[int] | None = None) -> None:
        """Cut the connections of these running jobs, or of all; a call that carries others too goes on for them. May be
        called from any thread."""
        with self._changed:
            calls = self._queue.give_up(None if job_ids is None else frozenset(job_ids))
        for call in calls:
            call.abort(Code.CANCELLED)

    def close(self) -> None:
        """End the threads of the slots, once their jobs have ended."""
        with self._changed:
            self._queue.closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        last_group: int | None = None
        while (started := self._start_next(last_group)) is not None:
            last_group = started.prefix_group
            try:
                endings = self._attempt(started.jobs, started.runner_key, started.call)
            except Exception as error:
                self._drop(started, error)
            else:
                self._end(started, endings)

    def _start_next(self, last_group: int | None) -> RunningCall | None:
        """Wait for a job and take it; None when the slots are closed."""
        with self._changed:
            while not self._queue.closed:
                started = self._queue.start_next(last_group, self._clock.monotonic())
                if started is not None:
                    return started
                self._changed.wait()
            return None

    def _drop(self, started: RunningCall, failure: Exception) -> None:
        """The slots halt, for the serving thread to end the pass."""
        with self._changed:
            self._queue.drop(started)
            self.failure = failure
        self.nudge()

    def _end(self, started: RunningCall, endings: Sequence[Ending]) -> None:
        with self._changed:
            self._queue.end(started, endings)
            self._completions.put([Completion(started, endings)])
        # nobody is woken: the slot that is free now is this thread's, and it takes the next job itself
