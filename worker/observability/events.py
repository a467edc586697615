"""Which events are there, and what does each carry? Code emits facts; ``logging.py`` decides what a line looks like."""

import logging
from collections.abc import Mapping

from worker.errors import DatabaseContended, DatabaseFailure, DatabaseRefused

EVENTS: Mapping[str, str] = {
    "batch.submitted": "a batch was sealed: batch, jobs, seconds",
    "batch.refused": "a batch was refused at the door: batch, problems",
    "batch.extended": "a changed input was taken into its batch: batch, added, replaced",
    "batch.finished": "all jobs of a batch have ended: batch, name, jobs, succeeded, failed",
    "batch.cancelled": "a batch was cancelled: batch, jobs",
    "batch.paused": "a batch was paused by hand and its queued jobs taken back: batch, jobs",
    "batch.braked": "a batch paused by itself: batch, code, jobs",
    "batch.resumed": "a paused batch was resumed: batch",
    "batch.pruned": "prompts and answers of ended batches were pruned: batches, jobs",
    "batch.limited": "jobs outside of --limit or --sample were held: batch, jobs",
    "batch.retried": "jobs that had ended are asked again: batches, jobs",
    "job.claimed": "jobs were claimed: host, runner_key, jobs",
    "job.deleted": "jobs were deleted for good, with their requests and results: batches, jobs",
    "job.reused": "jobs took answers that were stored before, and no host was asked: host, jobs",
    "job.finished": "outcomes were stored, those of a minute in one line: host, accepted, refused, seconds",
    "job.released": "unstarted jobs were given back: host, jobs",
    "job.rescued": "stale leases were ended: retried, held, cancelled",
    "job.held": "jobs were held: runner_key, jobs, code",
    "job.followed": "jobs that waited for others were released, or ended: promoted, failed, cancelled",
    "job.unheld": "held jobs were released: batches, jobs",
    "job.cancelled": "some jobs were cancelled: batches, jobs, running",
    "job.prioritised": "jobs were made more or less urgent: batches, jobs, priority",
    "job.failed": "an attempt failed: host, job, custom_id, attempt, code, message",
    "job.suspected": "a job on which hosts or workers died runs alone: host, job, custom_id, losses",
    "job.set_aside": "an outcome cannot be stored for a reason of its own and lies in a file: host, job, file, message",
    "job.spooled": "outcomes went to the spool, the database is away: host, jobs",
    "host.serving": "a worker took a host's serving lease: host, slots",
    "host.joined": "a host that was added is served from now on: host",
    "host.changed": "the settings of a host changed, and it is served again: host",
    "host.left": "a worker gave the host back: host, jobs, loads",
    "host.paused": "a host gets no jobs for a while: host, seconds, code",
    "host.quarantined": "a host that does not generate is left alone for a while: host, seconds, reason",
    "host.recovered": "a host answered again after its quarantine: host",
    "host.slow": "a host generates much more slowly than it did: host, reason",
    "host.unreachable": "a host could not be looked at: host, message",
    "model.operated": "an operation on a model ended on a host: host, verb, model, state, message",
    "serving.failed": "a defect ended a pass over a host; what ran was stored, the rest given back: host, message",
    "runner.loading": "a load was decided: host, runner_key, reason",
    "runner.loaded": "a model was loaded: host, runner_key, seconds",
    "runner.reloaded": "a job met a runner that was not there any more, and loaded it: host, runner_key, seconds",
    "host.slots_learned": "a runner was seen to give more or fewer answers at once: host, runner_key, slots",
    "host.yielded": "a shared host steps back for other people: host, models, seconds",
    "runner.wedged": "a runner fell silent or drips: it is unloaded when the slots are dry: host, runner_key, code, message",
    "runner.load_failed": "a load failed: host, runner_key, code, message, seconds",
    "runner.unloaded": "a model was unloaded: host, model",
    "lease.lost": "a finish was refused by the fence: host, jobs",
    "database.backed_up": "a SQLite file was saved before its schema was upgraded: file, revision",
    "database.on_network": "SQLite lies on a network folder, where its write-ahead log cannot work: folder, kind",
    "database.unavailable": "the database is away or full; work waits for it: host, message",
    "database.contended": "a transaction met another one, also when it was begun again: host, message",
    "database.refused": "the database refused a statement, or it took too long: host, message",
    "database.views_outdated": "the report views of an older version stay: message",
    "broker.unavailable": "a wake-up could not be published: message",
    "secret.exposed": "a secret's file can be read by every user of the machine: reference",
    "health.listening": "the health is served at an address: url",
    "health.address_in_use": "the health address is in use; it is tried again: address, message",
    "health.message_sent": "a message about the health was sent: channel, subject",
    "health.message_failed": "a message about the health was not sent; it is tried again: channel, message",
    "health.failed": "the health could not be determined: message",
    "notice.delivered": "a message about the end of a batch or a firing was sent: batch, firing, channel",
    "notice.failed": "a notice was not delivered and is tried again: batch, firing, channel, tries, message",
    "notice.given_up": "a notice was not delivered, and is given up: batch, firing, channel, tries, message",
    "process.ended": "a process beside control ended unexpectedly and is started again: name, code, again_in",
    "process.hung": "a loop made no progress, and its process ends itself: name, seconds",
    "schedule.due": "the time of a schedule has come: schedule, fire_at, state",
    "schedule.fired": "the documents of a firing were read and what changed is asked: schedule, firing, jobs",
    "schedule.failed": "a firing could not begin: schedule, firing, message",
    "schedule.finished": "a firing has ended: schedule, firing, answered, failed, left",
    "worker.serving": "a worker has started and serves this host: host, url",
    "worker.waiting": "a worker has started for a host that nobody has added, and waits for it: host, message",
    "reader.died": "a child process died while it read a document: path, exit, message",
    "reader.unlimited": "this system takes no such limits; documents are bounded by time alone: limits",
    "window.closed": "a batch starts no more jobs until its window opens: batch, jobs",
    "window.opened": "a batch goes on: batch",
    "service.done": "a periodic service changed something: service, and what it counts",
    "service.failed": "a periodic service failed; the others go on: pool, service, message",
    "service.recovered": "a periodic service works again: pool, service",
}
"""Event → meaning and fields; ``docs/reference/events.md`` is compared with it."""

_log = logging.getLogger("caravan")

_WARNINGS = frozenset(
    {
        "batch.braked",
        "job.failed",
        "job.held",
        "job.rescued",
        "job.set_aside",
        "serving.failed",
        "job.spooled",
        "host.paused",
        "host.quarantined",
        "host.slow",
        "host.unreachable",
        "runner.load_failed",
        "runner.wedged",
        "runner.reloaded",
        "lease.lost",
        "database.backed_up",
        "database.on_network",
        "reader.died",
        "reader.unlimited",
        "database.unavailable",
        "database.contended",
        "database.refused",
        "database.views_outdated",
        "broker.unavailable",
        "secret.exposed",
        "health.address_in_use",
        "health.message_failed",
        "health.failed",
        "notice.failed",
        "notice.given_up",
        "process.ended",
        "process.hung",
        "schedule.failed",
        "worker.waiting",
        "service.failed",
    }
)


_DETAILS = frozenset({"job.claimed", "job.released", "service.done"})
"""Logged with the level debug only: several a second where much is done."""


def emit(event: str, **fields: object) -> None:
    """Say that ``event`` happened. Fields are ids, sizes and times: never a prompt, never an answer.

    Raises KeyError for an event that is not in ``EVENTS``.
    """
    if event not in EVENTS:
        raise KeyError(event)
    level = logging.WARNING if event in _WARNINGS else logging.DEBUG if event in _DETAILS else logging.INFO
    if _log.isEnabledFor(level):
        _log.log(level, "%s", event, extra={"event": event, "fields": fields})


def emit_failure(error: DatabaseFailure, *, host: str) -> None:
    """Say what the database did not do for ``host`` (or a pool of services), by the class of ``error``."""
    match error:
        case DatabaseRefused():
            emit("database.refused", host=host, message=str(error))
        case DatabaseContended():
            emit("database.contended", host=host, message=str(error))
        case _:
            emit("database.unavailable", host=host, message=str(error))
