"""The views that reporting tools read. ``docs/reference/views.md`` describes each column; a test compares the two.

They are part of what is promised: a column is added, never renamed or taken away, within one ``VERSION``.
"""

from collections.abc import Mapping

from worker.storage.tables import FLAWED, FLAWED_RESULTS

VERSION = 1

_EPOCH = {
    "sqlite": "((julianday({0}) - julianday({1})) * 86400.0)",
    "postgresql": "EXTRACT(EPOCH FROM ({0} - {1}))::double precision",
}
_NOW = {"sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", "postgresql": "now()"}
_LATER = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%fZ', julianday({0}) + ({1}) / 86400.0)",
    "postgresql": "({0} + make_interval(secs => {1}))",
}
_LESSER = {"sqlite": "min", "postgresql": "least"}
_GREATER = {"sqlite": "max", "postgresql": "greatest"}

_SPEC = {
    "sqlite": {name: f"json_extract(s.spec, '$.{name}')" for name in ("cron", "tz")},
    "postgresql": {name: f"(s.spec ->> '{name}')" for name in ("cron", "tz")},
}

_MODEL = {
    "sqlite": "CASE WHEN instr({0}, ' ') > 0 THEN substr({0}, 1, instr({0}, ' ') - 1) ELSE {0} END",
    "postgresql": "split_part({0}, ' ', 1)",
}
_WINDOW = {
    "sqlite": "CASE WHEN instr({0}, ' num_ctx=') > 0 THEN CAST(substr({0}, instr({0}, ' num_ctx=') + 9) AS integer) END",
    "postgresql": "CAST(substring({0} from ' num_ctx=([0-9]+)') AS integer)",
}
_DAY = {"sqlite": "substr({0}, 1, 10)", "postgresql": "CAST({0} AT TIME ZONE 'UTC' AS date)"}

# ``worker.replies.contexts`` says how they are stored. The list of SQLite counts a JSON array of as many zeros.
_TOKENS = {
    "sqlite": (
        "(SELECT json_group_array(CAST(hex(substr(t.bytes, 2 + key * t.width, t.width)) AS integer)) FROM json_each("
        "'[' || rtrim(replace(hex(zeroblob((length(t.bytes) - 1) / t.width)), '00', '0,'), ',') || ']'))"
    ),
    "postgresql": (
        "array_to_json(CAST(string_to_array(rtrim(regexp_replace(encode(substring(t.bytes FROM 2), 'hex'), "
        "'(.{' || 2 * t.width || '})', '\\1,', 'g'), ','), ',') AS bigint[]))"
    ),
}
_WIDTH = {
    "sqlite": "CAST(hex(substr(context, 1, 1)) AS integer) / 2",
    "postgresql": "CAST(encode(substring(context FROM 1 FOR 1), 'hex') AS integer) / 2",
}

_FIGURE = {"sqlite": "json_extract(f.report, '$.{0}')", "postgresql": "(f.report ->> '{0}')"}
_OF_DAYS = ("results", "succeeded", "failed", "cut", "empty", "unfit", "prompt_tokens", "output_tokens")
_FLAWS = {"cut": "cut", "empty": "empty", "unfit": "prompt_fit = 'no'"}
_STATES = ("scheduled", "waiting", "queued", "running", "held", "succeeded", "failed", "cancelled", "expired")


def views(dialect: str, *, stored_json: bool = False) -> Mapping[str, str]:
    """Name → query, in the words of the database. On PostgreSQL JSON is ``jsonb``, which can be compared and grouped;
    with ``stored_json`` it is as it is stored, with its keys in the order in which they were given."""

    def json(column: str) -> str:
        return column if stored_json or dialect == "sqlite" else f"CAST({column} AS jsonb)"

    def seconds(later: str, earlier: str) -> str:
        return _EPOCH[dialect].format(later, earlier)

    def figures(prefix: str) -> str:
        return ", ".join(
            f"CAST({_FIGURE[dialect].format(name)} AS integer) AS {prefix}{name}"
            for name in ("answered", "failed", "failed_known", "held", "cut", "empty", "unfit")
        )

    now, lesser, greater = _NOW[dialect], _LESSER[dialect], _GREATER[dialect]
    by_state = ", ".join(
        f"CAST(sum(CASE WHEN state = '{state}' THEN jobs ELSE 0 END) AS bigint) AS {state}"
        for state in _STATES
    )
    states = ", ".join(f"coalesce(c.{state}, 0) AS {state}" for state in _STATES)
    # sum() of bigint is numeric on PostgreSQL
    pruned = ", ".join(f"CAST(sum({name}) AS bigint) AS {name}" for name in ("jobs", *_FLAWS))
    flaws = ", ".join(
        f"(SELECT count(*) FROM {FLAWED_RESULTS[dialect]} WHERE batch_id = b.id AND {FLAWED} AND {condition}) "
        f"+ coalesce(g.{name}, 0) AS {name}"
        for name, condition in _FLAWS.items()
    )
    left = "coalesce(c.scheduled + c.waiting + c.queued + c.running, 0)"
    eta = _LATER[dialect].format(
        now, f"{seconds('f.last_at', 'f.first_at')} * {left} / (f.results - f.reused - 1)"
    )
    elapsed = f"{lesser}(3600.0, {greater}(0.0, {seconds(now, 'h.hour')}))"
    model, window = (by[dialect].format("r.runner_key") for by in (_MODEL, _WINDOW))
    day = _DAY[dialect].format("r.started_at")
    # as they are written: without statistics SQLite takes each row of one batch with each of the other
    in_order = "CROSS JOIN" if dialect == "sqlite" else "JOIN"
    # + 0: a row at a time by its key. Told that both sides are sorted alike, PostgreSQL merges them, and for the first
    # rows of a day reads every key from the beginning of time. Outer joins, so that it drops those that nobody reads.
    # || '': the jobs of the other batch are looked up by their custom_id, not the results of all batches by theirs.
    # Who reads on from a number begins at ``report_numbers``, which no such join is in the way of.
    return {
        "report_results": f"""
SELECT r.job_id, r.batch_id AS batch, b.name AS batch_name, r.custom_id, r.model, r.state, r.answer, r.reasoning,
       {json("r.parsed")} AS parsed, r.done_reason, r.cut, r.empty, r.prompt_fit, r.error_code, r.error_message,
       nullif(r.host, '') AS host, r.digest, r.prompt_tokens,
       r.output_tokens, r.tokens_per_second, r.total_seconds, r.load_seconds, r.prompt_eval_seconds, r.eval_seconds,
       {seconds("j.started_at", "j.submitted_at")} AS queued_seconds, r.attempts, j.submitted_at, j.started_at,
       r.finished_at, r.day, p.prompt, {json("p.metadata")} AS metadata, n.number, r.reused_from,
       CAST(b.schedule AS TEXT) AS schedule,
       CASE WHEN p.metadata ->> 'sha256' IS NOT NULL THEN p.metadata ->> 'path' END AS document,
       {json("r.logprobs")} AS logprobs, p.request ->> 'system' AS system, {json("p.request -> 'options'")} AS options,
       {json("p.request -> 'format'")} AS format, r.context_length, r.total_duration, r.load_duration,
       r.prompt_eval_duration, r.eval_duration, f.change,
       CASE WHEN p.metadata ->> 'sha256' IS NOT NULL THEN CAST(p.metadata -> 'part' ->> 'number' AS integer) END AS part,
       j.kind, {json("r.tool_calls")} AS tool_calls, r.embedding, r.created_at
FROM results r
LEFT JOIN jobs j ON j.id = r.job_id + 0
LEFT JOIN payloads p ON p.job_id = r.job_id + 0
JOIN batches b ON b.id = r.batch_id
LEFT JOIN numbered_results n ON n.job_id = r.job_id + 0
LEFT JOIN firing_changes f ON f.batch_id = r.batch_id AND f.model = r.model
  AND f.custom_id = coalesce(p.metadata ->> 'document', r.custom_id)""",
        "report_batches": f"""
SELECT b.id AS batch, b.name AS batch_name, b.state, b.created_at, b.sealed_at, b.finished_at, b.deadline, b.jobs,
       {states},
       CASE WHEN b.jobs > 0
            THEN CAST(coalesce(c.succeeded + c.failed + c.cancelled + c.expired, 0) AS double precision) / b.jobs
       END AS progress,
       CASE WHEN b.state = 'open' AND f.results - f.reused > 1 AND {left} > 0 THEN {eta} END AS eta_at,
       coalesce(f.prompt_tokens, 0) AS prompt_tokens, coalesce(f.output_tokens, 0) AS output_tokens,
       coalesce(f.eval_seconds, 0) AS eval_seconds, coalesce(f.gpu_seconds, 0) AS gpu_seconds,
       {flaws}, f.first_at, f.last_at, coalesce(f.reused, 0) AS reused,
       coalesce(g.jobs, 0) AS pruned, b.pruned_at, b.parent_id AS from_batch, b.schedule
FROM batches b
LEFT JOIN (
  SELECT batch_id, {by_state}
  FROM (SELECT batch_id, state, jobs FROM counts UNION ALL SELECT batch_id, state, jobs FROM count_deltas) t
  GROUP BY batch_id
) c ON c.batch_id = b.id
LEFT JOIN batch_figures f ON f.batch_id = b.id
LEFT JOIN (
  SELECT batch_id, {pruned} FROM pruned_counts GROUP BY batch_id
) g ON g.batch_id = b.id
WHERE b.state <> 'refused'""",
        "report_failures": """
SELECT r.batch_id AS batch, b.name AS batch_name, r.day, r.model, nullif(r.host, '') AS host, r.error_code, count(*) AS failures,
       min(r.error_message) AS example_message, min(r.finished_at) AS first_at, max(r.finished_at) AS last_at
FROM results r
JOIN batches b ON b.id = r.batch_id
WHERE r.state = 'failed'
GROUP BY r.batch_id, b.name, r.day, r.model, r.host, r.error_code""",
        "report_models_daily": f"""
SELECT day, model, {", ".join(f"CAST(sum({name}) AS bigint) AS {name}" for name in _OF_DAYS)},
       sum(eval_seconds) AS eval_seconds, sum(gpu_seconds) AS gpu_seconds,
       CASE WHEN sum(eval_seconds) > 0 THEN sum(output_tokens) / sum(eval_seconds) END AS tokens_per_second,
       CAST(sum(loads) AS bigint) AS loads, sum(loading_seconds) AS loading_seconds,
       CAST(sum(failed_loads) AS bigint) AS failed_loads, sum(failed_loading_seconds) AS failed_loading_seconds
FROM (
  SELECT day, model, {", ".join(_OF_DAYS)}, eval_seconds, gpu_seconds, 0 AS loads, 0.0 AS loading_seconds,
         0 AS failed_loads, 0.0 AS failed_loading_seconds
  FROM model_days
  UNION ALL
  SELECT {day}, {model}, {", ".join("0" for _ in _OF_DAYS)}, 0.0, 0.0,
         CASE WHEN r.load_seconds IS NULL THEN 0 ELSE 1 END, coalesce(r.load_seconds, 0.0),
         CASE WHEN r.load_seconds IS NULL AND r.error IS NOT NULL THEN 1 ELSE 0 END,
         CASE WHEN r.load_seconds IS NULL AND r.error IS NOT NULL
              THEN {seconds("r.ended_at", "r.started_at")} ELSE 0.0 END
  FROM runs r
) t
GROUP BY day, model""",
        "report_hosts_hourly": f"""
SELECT h.hour, h.host, h.results, h.succeeded, h.failed, h.output_tokens,
       {lesser}(3600.0, h.gpu_seconds) AS busy_seconds, {lesser}(3600.0, h.load_seconds) AS loading_seconds, h.loads,
       {greater}(0.0, {elapsed} - h.gpu_seconds - h.load_seconds) AS idle_seconds
FROM host_hours h""",
        "report_runs": f"""
SELECT r.id AS run, r.host, r.runner_key, r.reason, r.started_at, r.load_seconds, r.ended_at, r.jobs, r.error,
       {model} AS model, {window} AS window_tokens,
       CASE WHEN r.load_seconds IS NULL AND r.error IS NOT NULL THEN {seconds("r.ended_at", "r.started_at")}
       END AS failed_seconds
FROM runs r""",
        "report_contexts": f"""
SELECT t.job_id, t.batch_id AS batch, t.custom_id, t.model, t.digest, t.context_length,
       {json(_TOKENS[dialect])} AS tokens
FROM (
  SELECT job_id, batch_id, custom_id, model, digest, context_length, context AS bytes, {_WIDTH[dialect]} AS width
  FROM results
  WHERE context IS NOT NULL
) t""",
        "report_numbers": """
SELECT number, job_id, batch_id AS batch
FROM numbered_results""",
        "report_comparisons": f"""
SELECT c.parent_id AS from_batch, c.id AS batch, b.custom_id, a.model AS from_model, b.model,
       a.job_id AS from_job_id, b.job_id, a.state AS from_state, b.state, a.answer AS from_answer, b.answer,
       {json("a.parsed")} AS from_parsed, {json("b.parsed")} AS parsed, a.answer = b.answer AS is_same,
       a.cut AS from_cut, b.cut, a.output_tokens AS from_output_tokens, b.output_tokens,
       a.tokens_per_second AS from_tokens_per_second, b.tokens_per_second,
       a.total_seconds AS from_total_seconds, b.total_seconds
FROM batches c
{in_order} results b ON b.batch_id = c.id
{in_order} jobs j ON j.batch_id = c.parent_id AND j.custom_id = b.custom_id || ''
{in_order} results a ON a.job_id = j.id
UNION ALL
SELECT b.batch_id, b.batch_id, b.custom_id, a.model, b.model, a.job_id, b.job_id, a.state, b.state, a.answer, b.answer,
       {json("a.parsed")}, {json("b.parsed")}, a.answer = b.answer, a.cut, b.cut, a.output_tokens, b.output_tokens,
       a.tokens_per_second, b.tokens_per_second, a.total_seconds, b.total_seconds
FROM results b
{in_order} jobs j ON j.batch_id = b.batch_id AND j.custom_id = b.custom_id || '' AND j.model < b.model
{in_order} results a ON a.job_id = j.id""",
        "report_schedules": f"""
SELECT s.name AS schedule, {_SPEC[dialect]["cron"]} AS cron, coalesce({_SPEC[dialect]["tz"]}, 'UTC') AS tz, s.next_at,
       s.paused_at, s.paused_reason, s.added_at, s.changed_at, s.version,
       coalesce(d.documents, 0) AS documents, coalesce(d.answered, 0) AS answered, coalesce(d.failing, 0) AS failing,
       coalesce(d.gone, 0) AS gone,
       f.fire_at AS last_fire_at, f.began_at AS last_began_at, f.ended_at AS last_ended_at, f.state AS last_state,
       f.reason AS last_reason, f.batch_id AS last_batch, f.new AS last_new, f.changed AS last_changed,
       f.retried AS last_retried, f.reused AS last_reused, f.gone AS last_gone, f.unreadable AS last_unreadable,
       {figures("last_")}
FROM schedules s
LEFT JOIN (
  SELECT schedule_id, sum(CASE WHEN gone_at IS NULL THEN 1 ELSE 0 END) AS documents,
         sum(CASE WHEN gone_at IS NULL AND answered_at IS NOT NULL THEN 1 ELSE 0 END) AS answered,
         sum(CASE WHEN gone_at IS NULL AND error_code IS NOT NULL THEN 1 ELSE 0 END) AS failing,
         sum(CASE WHEN gone_at IS NULL OR change = 'dropped' THEN 0 ELSE 1 END) AS gone
  FROM schedule_documents
  GROUP BY schedule_id
) d ON d.schedule_id = s.id
LEFT JOIN firings f ON f.id = (
  SELECT l.id FROM firings l WHERE l.schedule_id = s.id ORDER BY l.fire_at DESC LIMIT 1
)""",
        "report_firings": f"""
SELECT f.id AS firing, s.name AS schedule, f.fire_at, f.by_hand, f.version, f.state, f.reason, f.batch_id AS batch,
       f.missed, f.began_at, f.ended_at, {seconds("f.ended_at", "f.began_at")} AS seconds,
       f.found, f.new, f.changed, f.retried, f.reused, f.pending, f.gone, f.unreadable,
       {figures("")}
FROM firings f
JOIN schedules s ON s.id = f.schedule_id""",
        "report_changes": """
SELECT s.name AS schedule, c.firing_id AS firing, f.fire_at, c.path, c.custom_id, c.model, c.change, c.batch_id AS batch,
       c.job_id, c.error_code
FROM firing_changes c
JOIN firings f ON f.id = c.firing_id
JOIN schedules s ON s.id = f.schedule_id""",
        # An answer of a batch that is not over is not kept with its document yet, and the view shows it all the same.
        "report_documents": f"""
SELECT s.name AS schedule, d.path, d.custom_id, d.model, d.change, d.sha256,
       CASE WHEN r.job_id IS NOT NULL THEN r.answer ELSE a.answer END AS answer,
       {json("CASE WHEN r.job_id IS NOT NULL THEN r.parsed ELSE a.parsed END")} AS parsed,
       CASE WHEN r.job_id IS NOT NULL THEN r.reasoning ELSE a.reasoning END AS reasoning,
       CASE WHEN r.job_id IS NOT NULL THEN r.finished_at ELSE d.answered_at END AS answered_at,
       CASE WHEN r.job_id IS NOT NULL THEN r.digest ELSE d.digest END AS digest,
       CASE WHEN r.job_id IS NOT NULL THEN d.change NOT IN ('failed', 'gone', 'dropped')
            ELSE coalesce(d.answered = d.fingerprint, false) AND d.change <> 'failed' END AS is_current,
       CASE WHEN r.job_id IS NOT NULL THEN r.prompt_tokens ELSE a.prompt_tokens END AS prompt_tokens,
       CASE WHEN r.job_id IS NOT NULL THEN r.output_tokens ELSE a.output_tokens END AS output_tokens,
       CASE WHEN r.job_id IS NOT NULL THEN r.job_id ELSE a.job_id END AS job_id,
       d.first_seen_at, d.last_seen_at, d.gone_at,
       CASE WHEN r.job_id IS NULL OR d.change = 'failed' THEN d.error_code END AS error_code,
       CASE WHEN r.job_id IS NULL OR d.change = 'failed' THEN d.error_message END AS error_message,
       CASE WHEN r.job_id IS NULL OR d.change = 'failed' THEN d.error_at END AS error_at, {json("a.metadata")} AS metadata,
       CASE WHEN r.job_id IS NOT NULL THEN r.cut ELSE a.cut END AS cut,
       CASE WHEN r.job_id IS NOT NULL THEN r.empty ELSE a.empty END AS empty,
       CASE WHEN r.job_id IS NOT NULL THEN r.prompt_fit ELSE a.prompt_fit END AS prompt_fit
FROM schedule_documents d
JOIN schedules s ON s.id = d.schedule_id
LEFT JOIN schedule_answers a
  ON a.schedule_id = d.schedule_id AND a.custom_id = d.custom_id AND a.model = d.model
LEFT JOIN results r ON r.job_id = d.asked_job AND r.state = 'succeeded'""",
    }
