"""The faults that Caravan has to outlive, and what it does about each. ``docs/explanation/reliability.md`` is made from this
table and from the tests that bear ``@pytest.mark.fault(N)``."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    what: str
    behaviour: str
    untested: str = ""
    """Why no test provokes it, and what was done instead; empty where tests do."""


FAULTS: Mapping[int, Fault] = {
    1: Fault(
        "the process that serves a host is killed (SIGKILL, out of memory)",
        "its leases run out within 90 s, the next tick rescues its jobs, others ask them; one result each",
    ),
    2: Fault(
        "a whole worker, control or machine is gone",
        "as 1; other hosts take its jobs, and health finds a dead control or beat",
    ),
    3: Fault(
        "a worker sleeps through its lease and wakes",
        "it asks nothing it no longer owns; a late answer counts only if nobody has claimed the job since",
    ),
    4: Fault(
        "SIGTERM during a run, as at a deploy",
        "nothing new starts, unstarted jobs go back uncharged, running calls end and are stored",
    ),
    5: Fault(
        "the whole process group gets SIGTERM (systemd without KillMode=mixed)",
        "the child may be cut off at once: then as 1; the unit files say mixed",
    ),
    6: Fault(
        "Redis is down when jobs are submitted",
        "the batch is stored, submit returns within seconds and says so; the tick wakes the hosts later",
    ),
    7: Fault("Redis is killed while hosts generate", "generation goes on and is stored; workers reconnect"),
    8: Fault("Redis is flushed, or fails over to a stale replica", "nothing is lost; wake-ups are sent anew"),
    9: Fault(
        "a wake-up comes twice, or fifty times",
        "the second finds the host's serving lease taken and returns; slots are never exceeded",
    ),
    10: Fault(
        "two beats, or none for an hour", "ticks are idempotent; a beat that is gone is found by health"
    ),
    11: Fault(
        "the database restarts, or cuts its connections again and again",
        "generation goes on; outcomes wait in memory and in the spool and pass the fence later",
    ),
    12: Fault(
        "the database is full",
        "nothing is claimed, answers wait in the spool, health is red; it goes on by itself when there is room",
    ),
    13: Fault("SQLite is locked by somebody else", "writers wait up to 30 s; no job fails for it"),
    14: Fault("a reader keeps a transaction open for long", "claims and finishes go on beside it"),
    15: Fault(
        "a host swallows packets",
        "connecting is given up after 5 s, a silent call at its deadline; the host is unreachable, others answer",
    ),
    16: Fault(
        "Ollama crashes mid-stream",
        "a cut stream is no success; the partial text is kept in the attempt, the job is asked again",
    ),
    17: Fault(
        "an error, or no JSON, inside a 200 stream",
        "classified by its text; the job or the host answers for it",
    ),
    18: Fault(
        "503 or 429", "the host steps back, for as long as it asks for up to a bound; no job is charged"
    ),
    19: Fault(
        "a model is missing",
        "its jobs wait for hosts that have it, and are held with the reason where none has",
    ),
    20: Fault(
        "a model does not fit, or its runner dies while it loads",
        "this runner key is left alone on this host for 15 s to 10 min; after three tries everywhere its jobs are held",
    ),
    21: Fault(
        "a reply drips, or a runner hangs behind healthy endpoints",
        "the call is closed, the model unloaded, the host quarantined where that does not help",
    ),
    22: Fault(
        "an answer without end", "num_predict is always sent; a deadline and a size limit end what ignores it"
    ),
    23: Fault(
        "a job is cancelled at any phase, before its first byte too",
        "the connection is cut within seconds; the partial text is kept, a late finish refused",
    ),
    24: Fault("a cancel meets a finish", "one of them wins; state, result and counters agree"),
    25: Fault(
        "one job kills its host or worker each time",
        "it runs alone after two deaths and is held at the third; its neighbours are answered",
    ),
    26: Fault(
        "a prompt too long to be meant", "refused at the door by line, field and size; never cut in silence"
    ),
    27: Fault("an answer too long to be stored", "ended at the size limit as reply_too_long, its text kept"),
    28: Fault(
        "NUL, lone surrogates, NaN",
        "the same on both databases: U+FFFD in texts, refused in numbers",
    ),
    29: Fault(
        "a machine's clock is an hour off", "leases and times are the database's; waiting is monotonic"
    ),
    30: Fault("a worker's disk is full", "answers stay in memory, nothing escapes logging, health is red"),
    31: Fault(
        "the database has no connection to spare", "what needs one waits or skips a round; leases are kept"
    ),
    32: Fault(
        "workers of two versions on one database",
        "unknown columns and keys are passed over; a newer schema is refused at the start, not in the middle",
    ),
    33: Fault("a child forks with open connections", "it forgets them and opens its own"),
    34: Fault(
        "a process hangs without a sound",
        "its watchdog writes all stacks and ends it, to be started anew; health finds a host with work that nobody claims",
    ),
}
