"""The main job: a batch is worked on until nothing of it can move any more, in this process, or by the ``caravan up`` that
holds this home. Commands and Python do it alike, and show each look in their own way."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from worker.clock import Clock
from worker.domain.batches import BatchProgress
from worker.domain.hosts import Host
from worker.door.submit import Receipt
from worker.errors import AlreadyRunning, DatabaseFailure, DatabaseUnavailable, InputRefused, NoHost, Problem
from worker.explain.reasons import why_nothing_moves
from worker.explain.situation import Server, Situation, situation
from worker.hosts.registry import HostLook, OpenHost, look_at_all, register
from worker.hosts.selection import permanent_hosts, select_hosts
from worker.maintenance.actions import bound_jobs
from worker.maintenance.hold import hold_unservable
from worker.maintenance.settle import settle
from worker.ollama.client import OllamaHost
from worker.policy.outlook import Outlook, outlook
from worker.records import record
from worker.settings import Settings
from worker.stack.embedded import Embedded, embedded, join_hosts
from worker.stack.home import holder, server_of
from worker.storage.changes import Changes
from worker.storage.counts import batch_progress
from worker.storage.engine import Database, open_database
from worker.storage.migrate import check_schema

LOOK_SECONDS = 0.25
SITUATION_SECONDS = 1.0
PATIENT = 1000
"""Times the CPU of the last read passes until the next: looking on takes a thousandth of the time, and no more."""
MOST_SECONDS = 3.0
"""What is shown is never older."""
FEW = 8
"""Jobs; with no more that are open the end is near, and is not to be missed. So it is with as many as end, at the pace so
far, within twice ``MOST_SECONDS``."""
SHORT_SECONDS = 0.5
"""For so long nothing but the progress of a run is read."""
EARLY_SECONDS = 10.0
"""For so long each look reads the database again: a person who has just begun wants to see that it moves."""
SAY_AFTER = 3.0
"""Seconds without a running job after which it is said why."""
DATABASE_SECONDS = 30.0
"""How long a database that is away is waited for."""

T = TypeVar("T")


@record
class Workplace:
    """Where a batch is worked on."""

    settings: Settings
    database: Database
    clock: Clock
    open_host: OpenHost
    looks: Sequence[HostLook]
    """The hosts that are meant, as they were looked at in the beginning."""
    began_at: datetime
    stack: Embedded | None = None
    """None: another process serves."""

    @property
    def hosts(self) -> list[str]:
        """Names of the hosts that count."""
        return [look.host.name for look in self.looks] if self.stack is None else self.stack.hosts

    @property
    def models(self) -> set[str]:
        """Models that any of the hosts has."""
        return {model.name for look in self.looks for model in look.models}

    @property
    def is_served(self) -> bool:
        """Whether the process that serves is still there. Of a fleet, nobody here can tell."""
        return (
            self.stack is not None or bool(self.settings.broker_url) or holder(self.settings.home) is not None
        )

    def read(self, batch_id: int) -> BatchProgress:
        """How far the batch is. Raises DatabaseFailure."""
        with self.database.read() as conn:
            return batch_progress(conn, batch_id)

    def stop(self, say: Callable[[str], None] = lambda _: None) -> None:
        """Stop serving: running calls may end, and a second Ctrl-C cuts them."""
        if self.stack is None:
            return
        self.stack.ask_to_stop()
        say("Stopping: running calls may end; Ctrl-C again stops now.")
        try:
            self.stack.join(self.settings.stop_grace_seconds)
        except KeyboardInterrupt:
            self.stack.abort()


@contextmanager
def workplace(
    settings: Settings,
    places: Sequence[str] | None,
    slots: int | None,
    *,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Workplace]:
    """Hosts to work on a batch: by URL or name, None all that were added, else the one at OLLAMA_HOST.

    They are served from this process. Where ``caravan up`` holds the home they are added to its own, and it serves.
    Raises NoHost where none of them answers; AlreadyRunning where anything else holds the home; InputRefused for ``slots``
    that mean nothing; ValueError for what is neither a name nor a URL.
    """
    with ExitStack() as exits:
        try:
            stack = exits.enter_context(embedded(settings))
        except AlreadyRunning as error:
            if error.command != "up":
                raise
        else:
            yield workplace_of(stack, select_hosts(stack.database, places, slots))
            return
    if slots is not None and not places:
        message = "caravan up serves here, with the slots its hosts have: caravan hosts set NAME --slots N"
        raise InputRefused([Problem(0, "--slots", "cannot_apply", message)])
    with closing(open_database(settings.database)) as database:
        check_schema(database)
        more = "; the hosts of --host are added to its own, and all of them take part" if places else ""
        say(f"caravan up serves here; this run joins it{more}")
        yield _beside_up(settings, database, places, slots)


def workplace_of(stack: Embedded, hosts: Sequence[Host]) -> Workplace:
    """This process, with these hosts. Raises NoHost where none of them answers."""
    began_at = stack.clock.now()
    looks = join_hosts(stack, hosts)
    return Workplace(stack.settings, stack.database, stack.clock, stack.open_host, looks, began_at, stack)


def elsewhere(settings: Settings, database: Database) -> Workplace:
    """Others serve, with the hosts that were added; this machine may not reach them."""
    clock = database.clock()

    def open_host(host: Host) -> OllamaHost:
        return OllamaHost.of(host, deadlines=settings.deadlines)

    looks = [HostLook(host, None, (), None) for host in permanent_hosts(database)]
    return Workplace(settings, database, clock, open_host, looks, clock.now())


def _beside_up(
    settings: Settings, database: Database, places: Sequence[str] | None, slots: int | None
) -> Workplace:
    place = elsewhere(settings, database)
    if places:
        looks = [
            register(database, host, open_host=place.open_host, clock=place.clock, reachable_only=True)
            for host in select_hosts(database, places, slots)
        ]
    else:
        looks = look_at_all([look.host for look in place.looks], open_host=place.open_host)
    if all(look.error is not None for look in looks):
        addresses = "; ".join(f"{look.host.url}: {look.error}" for look in looks)
        raise NoHost(
            f"no host that caravan up serves can be reached ({addresses})"
            if looks
            else "caravan up serves no host yet: name one, or caravan hosts add NAME URL"
        )
    return replace(place, looks=looks)


@record
class Look:
    """How things stand with a batch that is worked on."""

    progress: BatchProgress
    outlook: Outlook
    seconds: float
    """Since the work began."""
    situation: Situation | None = None
    """As it was read last; None before that."""
    reasons: Sequence[str] = ()
    """Why nothing moves, where nothing does."""
    away: DatabaseUnavailable | None = None
    """The database cannot be reached just now; everything else is as of the last time."""


def work(
    place: Workplace, receipt: Receipt, *, wait_hosts: float, poll: float = LOOK_SECONDS
) -> Generator[Look]:
    """Serve the batch where nobody else does, and look at it every ``poll`` seconds until nothing of it can change by
    itself any more: the last look says why.

    Jobs outside of the receipt's limit that come back without an answer are held. Raises KeyboardInterrupt, after which
    ``place.stop`` ends what runs; DatabaseFailure where the database is there and refuses for ``DATABASE_SECONDS``.
    """
    batch_id = receipt.batch.id
    watch = _Watch(place, receipt, wait_hosts)
    if place.stack is not None:
        place.stack.serve(
            [look.host for look in place.looks],
            batch_id=batch_id,
            follow=lambda report: report.kept and report.added_at >= place.began_at,
        )
    yield watch.last
    with closing(Changes(place.database)) as changes:
        while watch.last.outlook is Outlook.GOING:
            time.sleep(poll)  # noqa: TID251 - somebody waits for the batch
            yield watch.look(changed=changes.any())
    if place.stack is not None:
        hosts = set(place.stack.hosts)
        with suppress(DatabaseFailure):  # the work is done; whoever serves next settles the batch
            settle(place.database, place.clock)
            if watch.last.progress.open:
                hold_unservable(place.database, clock=place.clock, among=hosts, batch_id=batch_id)


def work_to_the_end(
    place: Workplace,
    receipt: Receipt,
    on_progress: Callable[[BatchProgress], None] | None,
    *,
    wait_hosts: float = 120.0,
    poll: float = LOOK_SECONDS,
) -> None:
    """``work`` for a program: ``on_progress`` gets each look. Raises NoHost where no host can serve the rest."""
    with closing(work(place, receipt, wait_hosts=wait_hosts, poll=poll)) as looks:
        try:
            for look in looks:
                if on_progress is not None:
                    on_progress(look.progress)
        except KeyboardInterrupt:
            place.stop()
            raise
    if look.outlook is Outlook.NO_HOST:
        raise NoHost(
            f"no host can serve the rest of batch {receipt.batch.id}: {'; '.join(look.reasons)}; "
            "the same call goes on with it"
        )


class _Watch:
    """Looks at a batch, and reads no more of the database than is worth its time."""

    def __init__(self, place: Workplace, receipt: Receipt, wait_hosts: float) -> None:
        self._place, self._receipt, self._wait_hosts = place, receipt, wait_hosts
        self._bounds = receipt.outside_running > 0
        # where another process serves, it is a caravan up, or the workers of a fleet
        self._server = Server.SELF if place.stack is not None else server_of(place.settings)
        self._progress_pace, self._situation_pace = _Pace(0.0), _Pace(min(SITUATION_SECONDS, wait_hosts))
        self._changed = True
        progress = patiently(lambda: place.read(receipt.batch.id))
        self._began = self._moved_at = self._read_at = time.monotonic()
        self._lost_at: float | None = None
        self._done_before = progress.done
        self.last = Look(progress, Outlook.GOING if progress.open else Outlook.DONE, 0.0)

    def look(self, *, changed: bool) -> Look:
        """``changed``: something of the database did, since the last look."""
        now = time.monotonic()
        self._changed = changed or self._changed
        last, away = self.last, None
        progress, facts, reasons, outcome = last.progress, last.situation, last.reasons, last.outlook
        try:
            if self._progress_pace.is_due(now, changed=self._changed, soon=self._is_worth_it(progress, now)):
                with self._progress_pace.reading():
                    progress = self._place.read(self._receipt.batch.id)
                self._changed, self._read_at = False, now
            soon = now - self._began < EARLY_SECONDS or not progress.open
            if not self._is_short(progress, now) and self._situation_pace.is_due(now, soon=soon):
                facts = self._situation(now)
                outcome, reasons = self._expected(progress, facts, now)
        except DatabaseUnavailable as error:  # the workers ride it out
            away = error
        except DatabaseFailure:
            if (
                now - self._read_at > DATABASE_SECONDS
            ):  # it is there and refuses: waiting longer does not help
                raise
        if away is None and self._place.stack is not None and progress.open:
            away = self._place.stack.refusal
        if not progress.open:
            outcome = Outlook.DONE
        if facts is not None and outcome not in (Outlook.GOING, Outlook.DONE):
            reasons = why_nothing_moves(facts, facts.at)
            if not self._place.is_served:
                reasons = ["caravan up has ended"]
        self.last = Look(progress, outcome, now - self._began, facts, reasons, away)
        return self.last

    def _is_short(self, progress: BatchProgress, now: float) -> bool:
        """Whether all is over, or may soon be, before how the hosts stand was read at all."""
        if self.last.situation is not None or self._bounds:
            return False
        return not progress.open or now - self._began < min(SHORT_SECONDS, self._wait_hosts)

    def _is_worth_it(self, progress: BatchProgress, now: float) -> bool:
        """The work has only begun, or its end is near."""
        if now - self._began < EARLY_SECONDS:
            return True
        pace = (progress.done - self._done_before) / max(now - self._began, LOOK_SECONDS)
        return progress.open <= max(FEW, 2 * MOST_SECONDS * pace)

    def _situation(self, now: float) -> Situation:
        place, receipt = self._place, self._receipt
        if self._bounds:
            self._bounds = bool(bound_jobs(place.database, receipt.batch.id, receipt.only, clock=place.clock))
        with self._situation_pace.reading():
            facts = situation(
                place.database, receipt.batch.id, clock=place.clock, among=place.hosts, server=self._server
            )
        if any(model.running for model in facts.models):
            self._moved_at = now
        if place.is_served:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        return facts

    def _lost_for(self, now: float) -> float:
        """Seconds since the process that serves was missed; less than 0 where it is there."""
        return -1.0 if self._lost_at is None else now - self._lost_at

    def _expected(
        self, progress: BatchProgress, situation: Situation, now: float
    ) -> tuple[Outlook, Sequence[str]]:
        expected = outlook(
            progress,
            running=sum(model.running for model in situation.models),
            unreachable_since=[host.unreachable_since for host in situation.concerned],
            now=situation.at,
            wait_hosts=timedelta(seconds=self._wait_hosts),
        )
        if expected is Outlook.GOING and self._lost_for(now) >= self._wait_hosts:
            expected = Outlook.NO_HOST
        quiet = now - self._moved_at >= SAY_AFTER
        return expected, why_nothing_moves(situation, situation.at) if quiet else ()


class _Pace:
    """When something is read again: the next time after a multiple of what the last time took."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._read_at = float("-inf")
        self._rest = least

    def is_due(self, now: float, *, changed: bool = True, soon: bool = False) -> bool:
        """``changed``: there may be something new; ``soon``: it is worth its time."""
        since = now - self._read_at
        if soon and changed:
            return since >= self._least
        return since >= (self._rest if changed else MOST_SECONDS)

    @contextmanager
    def reading(self) -> Iterator[None]:
        began = time.thread_time()
        try:
            yield
        finally:
            self._read_at = time.monotonic()
            self._rest = min(MOST_SECONDS, max(self._least, PATIENT * (time.thread_time() - began)))


def patiently(read: Callable[[], T]) -> T:
    """What ``read`` gives, tried for ``DATABASE_SECONDS``. Raises DatabaseFailure after that."""
    until = time.monotonic() + DATABASE_SECONDS
    while True:
        try:
            return read()
        except DatabaseFailure:
            if time.monotonic() > until:
                raise
            time.sleep(LOOK_SECONDS)  # noqa: TID251 - somebody waits for the database
