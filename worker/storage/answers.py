"""Counts the answers of a batch that were cut, are empty, or saw a part of the prompt only.

A partial index holds these answers and no others: they are counted along it, however long the batch is. Answers that were
pruned are counted in ``pruned_counts``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Row, TextClause, bindparam, text
from sqlalchemy.engine import Connection

from worker.domain.answers import AnswerCounts, Weights
from worker.domain.runners import RunnerKey
from worker.policy.answers import Room, room_for
from worker.policy.context_window import bucket
from worker.storage.models import ModelFacts, model_facts
from worker.storage.tables import FLAWED, FLAWED_RESULTS

_SUMS = (
    "coalesce(sum(CASE WHEN cut THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN empty THEN 1 ELSE 0 END), 0), "
    "coalesce(sum(CASE WHEN prompt_fit = 'no' THEN 1 ELSE 0 END), 0)"
)
_PRUNED = text(
    "SELECT coalesce(sum(cut), 0), coalesce(sum(empty), 0), coalesce(sum(unfit), 0) FROM pruned_counts "
    "WHERE batch_id = :batch"
)
_FLAWS = text(
    f"SELECT job_id, cut, empty, prompt_fit = 'no' AS unfit FROM results WHERE job_id IN :ids AND {FLAWED}"
).bindparams(bindparam("ids", expanding=True))


@cache
def count_statement(dialect: str) -> TextClause:
    """Counts what is wrong with the stored answers of ``:batch``."""
    return text(f"SELECT {_SUMS} FROM {FLAWED_RESULTS[dialect]} WHERE batch_id = :batch AND {FLAWED}")


def answer_counts(conn: Connection, batch_id: int) -> AnswerCounts:
    """Answers of the batch that somebody should look at, pruned ones included.

    A failed job has no answer: one that failed for being cut or empty counts with the failures. A job that is asked again
    counts with its old answer until a new one is stored.
    """
    total = AnswerCounts()
    for statement in (count_statement(conn.dialect.name), _PRUNED):
        cut, empty, unfit = conn.execute(statement, {"batch": batch_id}).one()
        total += AnswerCounts(int(cut), int(empty), int(unfit))
    return total


def stored_flaws(conn: Connection, batch_id: int) -> tuple[AnswerCounts, AnswerCounts]:
    """The same of answers that are stored: those that stand, and those whose jobs are asked again already."""
    counts = {True: AnswerCounts(), False: AnswerCounts()}
    for succeeded, cut, empty, unfit in conn.execute(_BY_STATE[conn.dialect.name], {"batch": batch_id}):
        counts[bool(succeeded)] = AnswerCounts(int(cut), int(empty), int(unfit))
    return counts[True], counts[False]


_BY_STATE = {
    dialect: text(
        f"SELECT CASE WHEN state = 'succeeded' THEN 1 ELSE 0 END AS succeeded, {_SUMS} FROM "
        f"(SELECT job_id, cut, empty, prompt_fit FROM {table} WHERE batch_id = :batch AND {FLAWED}) AS flawed "
        "JOIN jobs ON jobs.id = flawed.job_id GROUP BY 1"
    )
    for dialect, table in FLAWED_RESULTS.items()
}

_MOST = 1000
"""Answers, or failures, that are looked at for the longest of them."""
_CUT = {
    dialect: text(
        "SELECT model, runner_key, max(output_tokens) AS answer, max(prompt_tokens) AS prompt, "
        "max(prompt_tokens + output_tokens) AS together FROM jobs JOIN ("
        f"SELECT * FROM (SELECT job_id, prompt_tokens, output_tokens FROM {table} "
        f"WHERE batch_id = :batch AND {FLAWED} AND cut LIMIT {_MOST}) AS cut "
        "UNION ALL SELECT * FROM (SELECT job_id, prompt_tokens, output_tokens FROM results "
        f"WHERE batch_id = :batch AND state = 'failed' AND error_code = 'cut' LIMIT {_MOST}) AS failed"
        ") AS found ON jobs.id = found.job_id GROUP BY model, runner_key"
    )
    for dialect, table in FLAWED_RESULTS.items()
}
_EMBEDS = "CASE WHEN kind = 'embed' THEN 1 ELSE 0 END"
_TOO_LONG = {
    dialect: text(
        f"SELECT model, runner_key, max(estimate) AS tokens, max({_EMBEDS}) AS embeds FROM jobs "
        "WHERE id IN (SELECT job_id FROM (SELECT job_id FROM "
        f"{table} WHERE batch_id = :batch AND {FLAWED} AND prompt_fit = 'no' LIMIT {_MOST}) AS unfit "
        "UNION ALL SELECT job_id FROM (SELECT job_id FROM results WHERE batch_id = :batch AND state = 'failed' "
        f"AND error_code = 'context_overflow' LIMIT {_MOST}) AS overflown) GROUP BY model, runner_key"
    )
    for dialect, table in FLAWED_RESULTS.items()
}


_ONE = text(f"SELECT model, runner_key, estimate AS tokens, {_EMBEDS} AS embeds FROM jobs WHERE id = :job")


def room_needed(conn: Connection, batch_id: int, *, job_id: int | None = None) -> Room:
    """What the batch's answers that were cut, and its prompts that did not fit, need when they are asked again. ``job_id``:
    what this one needs, whose prompt did not fit."""
    if job_id is not None:
        cut, too_long = [], conn.execute(_ONE, {"job": job_id}).all()
    else:
        cut = list(conn.execute(_CUT[conn.dialect.name], {"batch": batch_id}))
        too_long = conn.execute(_TOO_LONG[conn.dialect.name], {"batch": batch_id}).all()
    full = [row for row in cut if row.together and row.together >= _set_window(row.runner_key)]
    known = model_facts(conn) if too_long or full else {}
    models = {
        row.model: facts for row in too_long if (facts := known.get(row.model)) and facts.trained_context
    }
    largest = min((facts.trained_context or 0 for facts in models.values()), default=None)
    room = room_for(
        answer=max((row.answer or 0 for row in cut), default=0),
        prompt=max((row.tokens for row in too_long), default=0),
        tried=max((_tried(row.runner_key, largest) for row in too_long), default=0),
        trained=largest,
    )
    if full:
        room = replace(room, window=_wider(full, room.num_predict, known))
    room = replace(room, embeds=any(row.embeds for row in too_long))
    return room if room.fits else replace(room, other=_larger_model(known, models, room.needed))


def _set_window(runner_key: str) -> float:
    """The window that somebody set for a job; infinite where Caravan chooses one, which grows with the answer."""
    key = RunnerKey.parse(runner_key)
    return math.inf if key.at_least else float(dict(key.options).get("num_ctx", math.inf))


def _wider(full: Sequence[Row[Any]], num_predict: int, known: Mapping[str, ModelFacts]) -> int | None:
    """The window in which answers have room that filled theirs; None where their models have none that is larger."""
    trained = [
        facts.trained_context for row in full if (facts := known.get(row.model)) and facts.trained_context
    ]
    window = bucket(max(row.prompt for row in full) + num_predict, trained=min(trained, default=None))
    return window if window > max(_set_window(row.runner_key) for row in full) else None


def _larger_model(
    known: Mapping[str, ModelFacts], models: Mapping[str, ModelFacts], tokens: int
) -> str | None:
    """The model with the smallest window that takes so many tokens and that can do what each of ``models`` can."""
    abilities = {ability for facts in models.values() for ability in facts.capabilities or ()}
    larger = [
        (facts.trained_context, name)
        for name, facts in known.items()
        if (facts.trained_context or 0) >= tokens and abilities <= (facts.capabilities or frozenset())
    ]
    return min(larger)[1] if larger else None


_READ = 20_000
"""Results of a batch whose digests are read, in a tenth of a second; of a longer batch the first and the last."""
_WEIGHTS = text(
    "SELECT model, digest, host, count(*) AS answers FROM ("
    "SELECT * FROM (SELECT model, digest, host FROM results WHERE batch_id = :batch "
    "ORDER BY job_id LIMIT :half) AS head "
    "UNION ALL SELECT * FROM (SELECT model, digest, host FROM results WHERE batch_id = :batch AND job_id > "
    "(SELECT job_id FROM results WHERE batch_id = :batch ORDER BY job_id LIMIT 1 OFFSET :half - 1) "
    "ORDER BY job_id DESC LIMIT :half) AS tail) AS found "
    "WHERE digest IS NOT NULL GROUP BY model, digest, host ORDER BY model, digest, host"
)


def weights_of(conn: Connection, batch_id: int, *, read: int = _READ) -> list[Weights]:
    """Which weights gave the answers of a batch, and where; of more than ``read`` results the first and the last half."""
    return [
        Weights(row.model, row.digest, row.host, int(row.answers))
        for row in conn.execute(_WEIGHTS, {"batch": batch_id, "half": max(1, read // 2)})
    ]


def _tried(runner_key: str, largest: int | None) -> int:
    """The window in which a job had no room: one that it did not name has grown as far as its model allows."""
    key = RunnerKey.parse(runner_key)
    return largest if key.at_least and largest else int(dict(key.options).get("num_ctx", 0))


def flaws_of(conn: Connection, job_ids: Sequence[int]) -> dict[int, AnswerCounts]:
    """By job what is wrong with its answer; jobs with nothing wrong are left out."""
    rows = conn.execute(_FLAWS, {"ids": list(job_ids)})
    return {
        row.job_id: AnswerCounts(int(bool(row.cut)), int(bool(row.empty)), int(bool(row.unfit)))
        for row in rows
    }
