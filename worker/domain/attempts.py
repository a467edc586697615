"""How one try of a job on one host ended."""

from datetime import datetime

from worker.domain.replies import Result
from worker.errors import Code
from worker.records import record


@record
class Succeeded:
    """A ``done:true`` record came; the result is stored."""

    result: Result


@record
class Failed:
    """Trying again would not help, or the attempts are used up."""

    code: Code
    message: str
    partial: str = ""
    result: Result | None = None
    """The text that was generated all the same (``cut`` with ``--fail-on-cut``)."""


@record
class Retried:
    """The job goes back and is eligible again at ``at``; ``charged`` counts it against ``max_attempts``."""

    code: Code
    message: str
    at: datetime
    charged: bool
    partial: str = ""
    runner_key: str | None = None
    """The larger window it goes to, once."""
    lost: bool = False
    """The host or its runner died or fell silent: nobody is charged, but it is remembered of the job."""


@record
class Held:
    """Parked for an operator."""

    code: Code
    message: str


@record
class Cancelled:
    """Its producer asked for that while it ran."""

    partial: str = ""


Outcome = Succeeded | Failed | Retried | Held | Cancelled


@record
class Finish:
    """An outcome on its way to the database, with the fence it has to pass."""

    job_id: int
    batch_id: int
    token: str
    attempt: int
    host: str
    started_at: datetime
    ended_at: datetime
    outcome: Outcome
    digest: str | None = None
    """The weights that answered; the result's context belongs to them."""
    run_id: int | None = None
