"""How a job's id is made: by whoever submits, of its batch and its line, so that no insert has to ask for it."""

SEQ_BITS = 24
MOST_JOBS = 2**SEQ_BITS - 1
"""Input lines in one batch."""


def job_id(batch_id: int, seq: int) -> int:
    """The id of the job on line ``seq`` of a batch.

    >>> job_id(3, 7)
    50331655
    """
    return (batch_id << SEQ_BITS) + seq


def place_of(job: int) -> int:
    """The line of a job in its batch.

    >>> place_of(50331655)
    7
    """
    place: int = job & MOST_JOBS
    return place


def id_range(batch_id: int | None) -> dict[str, int]:
    """The ids of a batch's jobs, ``low`` up to but not ``high``; of all jobs where it is None.

    >>> id_range(3)
    {'low': 50331648, 'high': 67108864}
    """
    if batch_id is None:
        return {"low": 0, "high": 2**62}
    return {"low": job_id(batch_id, 0), "high": job_id(batch_id + 1, 0)}
