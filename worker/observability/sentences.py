"""Warnings in the words of a person who looks at a terminal."""

from collections.abc import Mapping

from worker.errors import CODES, Code

SENTENCES: Mapping[str, str] = {
    "batch.braked": "batch {batch} paused by itself, and the rest of it waits (jobs: {jobs}): caravan explain {batch}",
    "broker.unavailable": "the broker cannot be reached, so no worker was woken: {message}",
    "database.backed_up": "the database was saved to {file} before its upgrade",
    "database.contended": "the database is busy: {message}",
    "database.on_network": "the database lies on a network folder ({kind}), where SQLite cannot work safely: {folder}",
    "database.refused": "the database refused a statement: {message}",
    "database.unavailable": "work waits for the database: {message}",
    "database.views_outdated": "the report views stay those of an older version: {message}",
    "health.address_in_use": "the health address {address} is in use and is tried again: {message}",
    "health.failed": "the health could not be determined: {message}",
    "health.message_failed": "a message about the health was not sent ({channel}) and is tried again: {message}",
    "host.paused": "{host} gets no new jobs for {seconds} s: {code}",
    "host.quarantined": "{host} is left alone for {seconds} s: {reason}",
    "host.slow": "{host} generates much more slowly than it did: {reason}",
    "host.unreachable": "{host} cannot be reached: {message}",
    "job.failed": "an attempt at {custom_id} failed on {host}: {message}",
    "job.held": "jobs for {runner_key} are held (jobs: {jobs}): {code}",
    "job.rescued": "jobs of a process that died: {retried} are asked again, {held} are held, {cancelled} cancelled",
    "job.set_aside": "the answer to job {job} cannot be stored and lies in {file}: {message}",
    "job.spooled": "the database is away, and answers of {host} wait in a file (answers: {jobs})",
    "lease.lost": "answers of {host} came too late, other workers have their jobs",
    "notice.failed": "a notice ({channel}) was not delivered and is tried again: {message}",
    "notice.given_up": "a notice ({channel}) was not delivered after {tries} tries: {message}",
    "process.ended": "{name} ended unexpectedly ({code}) and is started again in {again_in} s",
    "process.hung": "{name} made no progress for {seconds} s, and its process ends itself",
    "reader.died": "the process that reads documents died at {path}: {message}",
    "reader.unlimited": "this system cannot limit how documents are read ({limits}), except by time",
    "runner.load_failed": "{host} could not load {runner_key}: {message}",
    "runner.reloaded": "{host} had unloaded {runner_key}, and loaded it again in {seconds} s",
    "runner.wedged": "{host} hangs with {runner_key}, which is unloaded: {message}",
    "schedule.failed": "the schedule {schedule} could not begin: {message}",
    "secret.exposed": "every user of this machine can read the secret {reference}",
    "service.failed": "{service} failed and is tried again: {message}",
    "serving.failed": "a defect interrupted the work on {host}, which goes on: {message}",
    "worker.waiting": "{message}",
}
"""Warning → the sentence, with its fields."""


def sentence(event: str, fields: Mapping[str, object]) -> str:
    """A warning for a person; an event without a sentence is its name and its fields.

    >>> sentence("host.paused", {"host": "gpu-1", "seconds": 2.0, "code": "host_busy"})
    "gpu-1 gets no new jobs for 2 s: the host's queue is full (503)"
    """
    code = fields.get("code")
    if code in set(Code):
        fields = {**fields, "code": CODES[Code(str(code))].meaning}
    words = {
        name: f"{value:.3g}" if isinstance(value, float) else str(value) for name, value in fields.items()
    }
    try:
        text = SENTENCES[event].format_map(words)
    except KeyError:
        text = " ".join([event, *(f"{name}={value}" for name, value in words.items())])
    return " ".join(text.split())
