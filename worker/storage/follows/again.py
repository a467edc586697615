"""Which jobs are asked again with others, and those that wait for them once more."""

from collections.abc import Collection

from sqlalchemy import Select, or_, select, update
from sqlalchemy.engine import Connection

from worker.domain.jobs import JobState
from worker.errors import Code
from worker.storage.follows.links import follow
from worker.storage.slices import slices
from worker.storage.tables import follows, jobs, results


def wait_again(conn: Connection, job_ids: Collection[int]) -> None:
    """Those of these jobs, which the caller has just made ``scheduled``, that follow others wait until the others are
    looked at."""
    for ids in slices(sorted(job_ids)):
        parents = conn.execute(
            select(follows.c.job_id, follows.c.parent_id).where(follows.c.job_id.in_(ids))
        ).all()
        mine = sorted({row.job_id for row in parents})
        if mine:
            there = set(
                conn.scalars(select(jobs.c.id).where(jobs.c.id.in_({row.parent_id for row in parents})))
            )
            mine = [
                job for job in mine if any(row.parent_id in there for row in parents if row.job_id == job)
            ]
            follow(conn, mine)
            conn.execute(update(jobs).where(jobs.c.id.in_(sorted(there))).values(followed=True))


def failed_for(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs of the same batches that failed because one of these had, those that failed because of them, and so on."""
    followers = (
        select(follows.c.job_id)
        .join(jobs, jobs.c.id == follows.c.job_id)
        .join(results, results.c.job_id == follows.c.job_id)
        .where(jobs.c.state == JobState.FAILED, results.c.error_code == str(Code.PARENT_FAILED))
    )
    return _descendants(conn, parents, followers)


def going_on_from(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs whose requests hold the answers of these, as context or as parts, and those that hold theirs, and so on."""
    followers = (
        select(follows.c.job_id)
        .join(jobs, jobs.c.id == follows.c.job_id)
        .where(or_(follows.c.combines, jobs.c.carries))
    )
    return _descendants(conn, parents, followers)


def _descendants(conn: Connection, parents: Collection[int], followers: Select[tuple[int]]) -> list[int]:
    """The followers of these jobs, those of the followers, and so on, without the jobs themselves."""
    reached = set(parents)
    latest = sorted(reached)
    while latest:
        new: set[int] = set()
        for ids in slices(latest):
            new.update(conn.scalars(followers.where(follows.c.parent_id.in_(ids))))
        latest = sorted(new - reached)
        reached |= new
    return sorted(reached - set(parents))
