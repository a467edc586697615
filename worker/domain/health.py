"""Findings about an installation, since when, and who is notified."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from worker.records import record

DEFECTS = "defects "
"""What the names of pulses begin with under which defects of a serving loop are counted, one for each host."""
DEFECT_RETENTION = timedelta(days=1)
"""Older defects are not counted any more."""


class Kind(StrEnum):
    """What a finding is about; ``caravan health --only`` names them."""

    DATABASE = "database"
    BEAT = "beat"
    CONTROL = "control"
    SERVING = "serving"
    DISK = "disk"
    HOSTS = "hosts"
    JOBS = "jobs"
    SCHEDULES = "schedules"
    SPOOL = "spool"
    SERVICES = "services"


@record
class Finding:
    """One thing that is not as it should be."""

    kind: Kind
    about: str
    """What of that kind: a host's name, a path; with ``kind`` it tells one finding from another."""
    message: str
    remedy: str
    bad: bool = True
    """False for a note: it is worth a look, and nobody has to be woken for it."""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.about}"


@record
class Pulse:
    """A sign of life, and what went with it."""

    name: str
    at: datetime
    detail: Mapping[str, Any]


@record
class HealthLimits:
    """From when on something is wrong."""

    disk_free: int = 500_000_000
    """Bytes."""
    oldest_job: timedelta | None = timedelta(hours=24)
    """None: a job may wait for ever."""


@record
class Telling:
    """The addressees of the settings; may be empty."""

    smtp_url: str = ""
    mail_to: str = ""
    ping_url: str = ""
    address: str = ""
    """Where ``GET /healthz`` is answered."""

    @property
    def anybody(self) -> bool:
        return bool((self.smtp_url and self.mail_to) or self.ping_url or self.address)
