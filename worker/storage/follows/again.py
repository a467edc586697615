"""Which jobs are asked again with others, and those that wait for them once more."""

from collections.abc import Collection

from sqlalchemy import or_, select, update
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
                one for one in mine if any(row.parent_id in there for row in parents if row.job_id == one)
            ]
            follow(conn, mine)
            conn.execute(update(jobs).where(jobs.c.id.in_(sorted(there))).values(followed=True))


def failed_for(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs of the same batches that failed because one of these had, those that failed because of them, and so on."""
    found: set[int] = set()
    todo = sorted(parents)
    while todo:
        new: set[int] = set()
        for ids in slices(todo):
            new.update(
                conn.scalars(
                    select(follows.c.job_id)
                    .join(jobs, jobs.c.id == follows.c.job_id)
                    .join(results, results.c.job_id == follows.c.job_id)
                    .where(
                        follows.c.parent_id.in_(ids),
                        jobs.c.state == JobState.FAILED,
                        results.c.error_code == str(Code.PARENT_FAILED),
                    )
                )
            )
        todo = sorted(new - found - set(parents))
        found |= new
    return sorted(found - set(parents))


def going_on_from(conn: Connection, parents: Collection[int]) -> list[int]:
    """Jobs whose requests hold the answers of these, as context or as parts, and those that hold theirs, and so on."""
    found: set[int] = set()
    todo = sorted(parents)
    while todo:
        new: set[int] = set()
        for ids in slices(todo):
            new.update(
                conn.scalars(
                    select(follows.c.job_id)
                    .join(jobs, jobs.c.id == follows.c.job_id)
                    .where(follows.c.parent_id.in_(ids), or_(follows.c.combines, jobs.c.carries))
                )
            )
        todo = sorted(new - found - set(parents))
        found |= new
    return sorted(found - set(parents))
