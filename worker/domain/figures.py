"""What was spent: a cell per batch, hour, model and host, the loads, and what a host draws."""

from datetime import datetime

from worker.records import record


@record
class Cell:
    """What the results of one batch, hour, model and host come to. Seconds of a GPU: slots of a host share them."""

    batch_id: int
    hour: datetime
    model: str
    host: str
    results: int = 0
    succeeded: int = 0
    failed: int = 0
    cut: int = 0
    empty: int = 0
    unfit: int = 0
    """Given to a part of the prompt."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    eval_seconds: float = 0.0
    gpu_seconds: float = 0.0


@record
class Load:
    """A load that succeeded, and how long what it loaded stayed (``ended_at`` None: it is there still)."""

    host: str
    model: str
    started_at: datetime
    seconds: float
    ended_at: datetime | None = None


@record
class Power:
    """Power of a host in watts: at work or loading, and idle where it is known."""

    watts: float
    idle_watts: float | None = None
