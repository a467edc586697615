"""How many answers of a batch were cut, are empty, or were given to a part of the prompt?"""

from sqlalchemy import text
from sqlalchemy.engine import Connection

from worker.domain.answers import AnswerCounts

FLAWED = "state = 'succeeded' AND (cut OR answer = '' OR prompt_fit = 'no')"
"""Of ``results``: an answer that is counted here."""

_COUNT = text(
    "SELECT coalesce(sum(CASE WHEN cut THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN answer = '' THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN prompt_fit = 'no' THEN 1 ELSE 0 END), 0) "
    f"FROM results WHERE batch_id = :batch AND {FLAWED}"
)


def answer_counts(conn: Connection, batch_id: int) -> AnswerCounts:
    """Answers of the batch that somebody should look at.

    A failed job has no answer: one that failed for being cut or empty counts with the failures.
    """
    cut, empty, unfit = conn.execute(_COUNT, {"batch": batch_id}).one()
    return AnswerCounts(int(cut), int(empty), int(unfit))
