"""Looks every minute whether all is well, and tells whoever asked to be told.

It stands apart from the tick: a mail server that hangs holds up nothing, and a beat that is dead does not silence it.
"""

import platform
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from worker.clock import SystemClock
from worker.domain.health import Finding, HealthLimits, Kind, Pulse, Telling
from worker.errors import DatabaseFailure, SettingsRefused, in_words
from worker.health.facts import Place, gather
from worker.health.findings import findings
from worker.health.letters import Letter, Mailed, next_letter
from worker.notify.bounded import DeliveryError
from worker.notify.listener import listen_address, listening
from worker.notify.mail import MailServer, mail_addresses, mail_server, send_mail
from worker.notify.ping import ping, ping_url
from worker.observability.events import emit
from worker.ollama.secrets import resolved
from worker.records import record
from worker.storage.engine import open_database
from worker.storage.pulses import read_pulses, take_turn

if TYPE_CHECKING:
    from api_schemas.output.installation import HealthOutput

EVERY = 60.0
FRESH = 2.0
"""Seconds for which one look answers everybody who asks."""
_WATCH = "health"


@record
class Verdict:
    """How it is, at one moment."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        return not any(finding.bad for finding in self.findings)

    @property
    def output(self) -> "HealthOutput":
        """As ``/healthz`` and ``caravan health --json`` say it."""
        from api_schemas.output.installation import FindingOutput, HealthOutput

        findings = [FindingOutput(**asdict(finding)) for finding in self.findings]
        return HealthOutput(well=self.well, at=self.at, findings=findings)


def look(place: Place, limits: HealthLimits, *, held: bool = False) -> Verdict:
    """Look now. Never raises for what is wrong."""
    facts = gather(place, held=held)
    return Verdict(facts.now, tuple(findings(facts, limits)))


class Teller:
    """The addressees. Raises SettingsRefused for an invalid address, before the first message."""

    def __init__(self, telling: Telling) -> None:
        self._ping = ping_url(telling.ping_url) if telling.ping_url else None
        server = mail_server(telling.smtp_url) if telling.smtp_url else None
        self._to = mail_addresses(telling.mail_to)
        self._server: MailServer | None = server if self._to else None  # it may be there for batches alone

    @property
    def mails(self) -> bool:
        return self._server is not None

    @property
    def pings(self) -> bool:
        return self._ping is not None

    @property
    def to(self) -> tuple[str, ...]:
        return self._to

    def mail(self, letter: Letter) -> None:
        """Raises DeliveryError."""
        if self._server is None:
            return
        try:
            secret = self._server.secret
            password = None if secret is None else resolved(secret)
        except SettingsRefused as error:
            raise DeliveryError(str(error)) from error
        send_mail(self._server, self._to, subject=letter.subject, text=letter.text, password=password)

    def ping(self, *, well: bool) -> None:
        """Raises DeliveryError."""
        if self._ping is not None:
            ping(self._ping, well=well)


class Watch:
    """Looks and tells until it is stopped. Of many that watch one database, one tells at a time."""

    def __init__(
        self,
        place: Place,
        limits: HealthLimits,
        telling: Telling,
        *,
        held: Callable[[], bool] = lambda: False,
        every: float = EVERY,
    ) -> None:
        self._place, self._limits, self._held, self._every = place, limits, held, every
        self._clock = SystemClock()
        self._teller = Teller(telling)
        self._address = listen_address(telling.address) if telling.address else None
        self._lock = threading.Lock()
        self._latest: tuple[float, Verdict] | None = None
        self._alone: Mailed | None = None
        self._away = 0
        """Looks in a row at which the database was away."""

    def run(self, stop: threading.Event) -> None:
        """Watch until ``stop`` is set."""
        with ExitStack() as stack:
            bound = self._address is None
            while True:
                if not bound:
                    bound = self._listen(stack)
                self.once()
                if stop.wait(self._every):
                    return

    def _listen(self, stack: ExitStack) -> bool:
        assert self._address is not None
        try:
            url = stack.enter_context(listening(self._address, self.answer))
        except OSError as error:  # whoever had it may still be about to end
            emit("health.address_in_use", address=":".join(map(str, self._address)), message=str(error))
            return False
        emit("health.listening", url=url)
        return True

    def answer(self) -> tuple[bool, Mapping[str, Any]]:
        """What ``/healthz`` says. Many who ask at once share one look."""
        with self._lock:
            now = self._clock.monotonic()
            if self._latest is None or now - self._latest[0] > FRESH:
                self._latest = (now, self._look())
            verdict = self._latest[1]
        from api_schemas.output.base import plain

        return verdict.well, plain(verdict.output)

    def once(self) -> Verdict:
        """Look once, and tell what is to be told. Never raises for what it finds, nor for whom it cannot reach."""
        with self._lock:
            verdict = self._look()
            self._latest = (self._clock.monotonic(), verdict)
        if self._teller.mails or self._teller.pings:
            self._tell(verdict)
        return verdict

    def _look(self) -> Verdict:
        try:
            return look(self._place, self._limits, held=self._held())
        except Exception as error:  # whatever it is, not to be able to look is not to be well
            emit("health.failed", message=in_words(error)[:300])
            message = f"health could not be looked at: {in_words(error)}"
            finding = Finding(Kind.DATABASE, "look", message, "look at the log")
            return Verdict(self._clock.now(), (finding,))

    def _tell(self, verdict: Verdict) -> None:
        if any(finding.kind is Kind.DATABASE for finding in verdict.findings):
            self._tell_alone(verdict)
            return
        self._away = 0
        try:
            self._tell_together(verdict)
        except DatabaseFailure as error:
            emit("health.failed", message=str(error)[:300])

    def _tell_together(self, verdict: Verdict) -> None:
        """One of all that watch this database has its turn, and remembers in it what was mailed."""
        database = open_database(self._place.database, pool_size=1)
        try:
            now = database.clock().now()
            with database.read() as conn:
                pulse = read_pulses(conn).get(_WATCH)
            if pulse is not None and 0 <= (now - pulse.at).total_seconds() < 0.9 * self._every:
                return
            before = Mailed.parse(pulse.detail if pulse is not None else {})
            if self._alone is not None:  # what was mailed while the database was away is not in it
                before |= self._alone
            letter, after = next_letter(before, verdict.findings, now=now, place=platform.node())
            with database.write() as conn:
                if not take_turn(conn, _WATCH, last=pulse, now=now, detail=after.stored):
                    return
            self._alone = None
            self._ping(verdict)
            if letter is None or self._mail(letter):
                return
            ours = Pulse(_WATCH, now, {})
            with database.write() as conn:  # the next turn tries again
                take_turn(conn, _WATCH, last=ours, now=now, detail=before.stored)
        finally:
            database.close()

    def _tell_alone(self, verdict: Verdict) -> None:
        """The database is away, and with it what others have told: from the second look on everybody tells."""
        self._ping(verdict)
        self._away += 1
        if self._away < 2:
            return
        before = self._alone or Mailed()
        letter, after = next_letter(before, verdict.findings, now=verdict.at, place=platform.node())
        self._alone = after if letter is None or self._mail(letter) else before

    def _mail(self, letter: Letter) -> bool:
        try:
            self._teller.mail(letter)
        except DeliveryError as error:
            emit("health.message_failed", channel="mail", message=str(error))
            return False
        if self._teller.mails:
            emit("health.message_sent", channel="mail", subject=letter.subject)
        return True

    def _ping(self, verdict: Verdict) -> None:
        try:
            self._teller.ping(well=verdict.well)
        except DeliveryError as error:
            emit("health.message_failed", channel="ping", message=str(error))


def chosen(verdict: Verdict, kinds: frozenset[Kind]) -> Verdict:
    """The verdict on these kinds alone; on all where none is named."""
    if not kinds:
        return verdict
    return replace(verdict, findings=tuple(finding for finding in verdict.findings if finding.kind in kinds))
