"""How often a host was asked for a job. ``jobs.attempt`` counts claims, also those that were given back unasked."""

from sqlalchemy import ColumnElement, ScalarSelect, and_, case, func, select

from worker.storage.tables import attempts, jobs


def ended_tries(*conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """The attempts of the query's job on record: a claim that was given back unasked left none."""
    of_job = attempts.c.job_id == jobs.c.id
    query = select(func.count()).select_from(attempts).where(of_job, *conditions)
    return query.correlate(jobs).scalar_subquery()


def tries() -> ColumnElement[int]:
    """The same, and the one that a host is at work on."""
    return ended_tries() + case((and_(jobs.c.state == "running", jobs.c.asked), 1), else_=0)


def earlier_tries() -> ColumnElement[int]:
    """Tries before the current claim; nothing is looked up for a job that was claimed once."""
    return case((jobs.c.attempt > 1, ended_tries(attempts.c.attempt < jobs.c.attempt)), else_=0)
