"""How long leases last, how often things are looked at. All are settings, so that tests run them at a tenth."""

from worker.records import record


@record
class Timings:
    """Seconds, all of them."""

    lease: float = 90.0
    """How long a claim, or the right to serve a host, holds without being renewed."""
    renew: float = 20.0
    """How often leases are renewed. Must be well under ``lease``."""
    cancel_poll: float = 2.0
    """How often a worker looks for cancel flags of the jobs it runs."""
    tick: float = 5.0
    """How often stale leases are rescued, retries promoted, idle hosts woken."""
    linger: float = 5.0
    """How long a host without work waits for more before its serving lease is given back."""
    idle_poll: float = 0.5
    """How often a lingering host looks for work."""
    group: float = 0.1
    """Outcomes of short calls wait up to this long to be stored together."""
    unload: float = 30.0
    """How long an unloaded model may take to leave ``/api/ps``."""
