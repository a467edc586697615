"""``report_contexts``: context tokens as SQL reads them."""

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from tests.integration.storage.conftest import Store, a_result, new_job
from worker.domain.attempts import Succeeded

_LAST = {
    "sqlite": "SELECT value FROM report_contexts, json_each(tokens) WHERE job_id = :job ORDER BY key DESC LIMIT 1",
    "postgresql": "SELECT CAST(tokens ->> -1 AS bigint) FROM report_contexts WHERE job_id = :job",
}


@pytest.mark.parametrize(
    "tokens", [(151644, 0, 7), (), tuple(range(199_900, 200_100)), (1_000_000, 7), (7, 2**32 - 1)]
)
def test_context_tokens_are_a_list_in_sql(store: Store, tokens: Sequence[int]) -> None:
    batch = store.submit(new_job(1))
    [job] = store.claim()
    store.finish(job, Succeeded(a_result(context=tuple(tokens))), digest="sha256:abc")

    with store.database.read() as conn:
        query = text(
            "SELECT job_id, batch, digest, context_length, CAST(tokens AS text) FROM report_contexts"
        )
        row = conn.execute(query).one()
        last = conn.scalar(text(_LAST[store.database.dialect]), {"job": job.id})

    assert tuple(row[:4]) == (job.id, batch, "sha256:abc", len(tokens))
    assert row[4].replace(" ", "") == str(list(tokens)).replace(" ", "")
    assert last == (tokens[-1] if tokens else None)


def test_a_result_without_a_context_has_no_row(store: Store) -> None:
    store.submit(new_job(1), new_job(2))
    for job, context in zip(store.claim(limit=2), (None, (-1,)), strict=True):
        store.finish(job, Succeeded(a_result(context=context)))

    with store.database.read() as conn:
        assert conn.execute(text("SELECT * FROM report_contexts")).all() == []
        assert conn.scalars(text("SELECT context_length FROM results")).all() == [None, None]
