"""The views that reporting tools read. ``docs/reporting.md`` describes each column; a test compares the two.

They are part of what is promised: a column is added, never renamed or taken away, within one ``VERSION``.
"""

from collections.abc import Mapping

from worker.storage.tables import FLAWED

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

_FIGURE = {"sqlite": "json_extract(f.report, '$.{0}')", "postgresql": "(f.report ->> '{0}')"}
_FLAWS = {"cut": "cut", "empty": "empty", "unfit": "prompt_fit = 'no'"}
_STATES = ("scheduled", "waiting", "queued", "running", "held", "succeeded", "failed", "cancelled", "expired")


def views(dialect: str, *, stored_json: bool = False) -> Mapping[str, str]:
    """Name → query, in the words of the database. On PostgreSQL JSON is ``jsonb``, which can be compared and grouped;
    with ``stored_json`` it is as it is stored, with its keys in the order in which they were given."""

    def json(column: str) -> str:
        return column if stored_json or dialect == "sqlite" else f"CAST({column} AS jsonb)"

    def seconds(later: str, earlier: str) -> str:
        return _EPOCH[dialect].format(later, earlier)

    figures = ", ".join(
        f"CAST({_FIGURE[dialect].format(name)} AS integer) AS last_{name}"
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
        f"(SELECT count(*) FROM results WHERE batch_id = b.id AND {FLAWED} AND {condition}) + coalesce(g.{name}, 0) "
        f"AS {name}"
        for name, condition in _FLAWS.items()
    )
    left = "coalesce(c.scheduled + c.waiting + c.queued + c.running, 0)"
    eta = _LATER[dialect].format(
        now, f"{seconds('f.last_at', 'f.first_at')} * {left} / (f.results - f.reused - 1)"
    )
    elapsed = f"{lesser}(3600.0, {greater}(0.0, {seconds(now, 'h.hour')}))"
    # + 0: a row at a time by its key. Told that both sides are sorted alike, PostgreSQL merges them, and for the first
    # rows of a day reads every key from the beginning of time. Outer joins, so that it drops those that nobody reads.
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
       {json("r.logprobs")} AS logprobs
FROM results r
LEFT JOIN jobs j ON j.id = r.job_id + 0
LEFT JOIN payloads p ON p.job_id = r.job_id + 0
JOIN batches b ON b.id = r.batch_id
LEFT JOIN numbered_results n ON n.job_id = r.job_id + 0""",
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
        "report_models_daily": """
SELECT day, model, results, succeeded, failed, cut, empty, unfit, prompt_tokens, output_tokens, eval_seconds, gpu_seconds,
       CASE WHEN eval_seconds > 0 THEN output_tokens / eval_seconds END AS tokens_per_second
FROM model_days""",
        "report_hosts_hourly": f"""
SELECT h.hour, h.host, h.results, h.succeeded, h.failed, h.output_tokens,
       {lesser}(3600.0, h.gpu_seconds) AS busy_seconds, {lesser}(3600.0, h.load_seconds) AS loading_seconds, h.loads,
       {greater}(0.0, {elapsed} - h.gpu_seconds - h.load_seconds) AS idle_seconds
FROM host_hours h""",
        "report_runs": """
SELECT id AS run, host, runner_key, reason, started_at, load_seconds, ended_at, jobs, error
FROM runs""",
        "report_schedules": f"""
SELECT s.name AS schedule, {_SPEC[dialect]["cron"]} AS cron, coalesce({_SPEC[dialect]["tz"]}, 'UTC') AS tz, s.next_at,
       s.paused_at, s.paused_reason, s.added_at, s.changed_at, s.version,
       coalesce(d.documents, 0) AS documents, coalesce(d.answered, 0) AS answered, coalesce(d.failing, 0) AS failing,
       coalesce(d.gone, 0) AS gone,
       f.fire_at AS last_fire_at, f.began_at AS last_began_at, f.ended_at AS last_ended_at, f.state AS last_state,
       f.reason AS last_reason, f.batch_id AS last_batch, f.new AS last_new, f.changed AS last_changed,
       f.retried AS last_retried, f.reused AS last_reused, f.gone AS last_gone, f.unreadable AS last_unreadable,
       {figures}
FROM schedules s
LEFT JOIN (
  SELECT schedule_id, sum(CASE WHEN gone_at IS NULL THEN 1 ELSE 0 END) AS documents,
         sum(CASE WHEN gone_at IS NULL AND answered_at IS NOT NULL THEN 1 ELSE 0 END) AS answered,
         sum(CASE WHEN gone_at IS NULL AND error_code IS NOT NULL THEN 1 ELSE 0 END) AS failing,
         sum(CASE WHEN gone_at IS NULL THEN 0 ELSE 1 END) AS gone
  FROM schedule_documents
  GROUP BY schedule_id
) d ON d.schedule_id = s.id
LEFT JOIN firings f ON f.id = (
  SELECT l.id FROM firings l WHERE l.schedule_id = s.id ORDER BY l.fire_at DESC LIMIT 1
)""",
        # An answer of a batch that is not over is not kept with its document yet, and the view shows it all the same.
        "report_documents": f"""
SELECT s.name AS schedule, d.path, d.custom_id, d.model, d.change, d.sha256,
       CASE WHEN r.job_id IS NOT NULL THEN r.answer ELSE a.answer END AS answer,
       {json("CASE WHEN r.job_id IS NOT NULL THEN r.parsed ELSE a.parsed END")} AS parsed,
       CASE WHEN r.job_id IS NOT NULL THEN r.reasoning ELSE a.reasoning END AS reasoning,
       CASE WHEN r.job_id IS NOT NULL THEN r.finished_at ELSE d.answered_at END AS answered_at,
       CASE WHEN r.job_id IS NOT NULL THEN r.digest ELSE d.digest END AS digest,
       CASE WHEN r.job_id IS NOT NULL THEN d.change NOT IN ('failed', 'gone')
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


COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "report_results": {
        "job_id": ("integer", "the job; the order of the input within a batch"),
        "batch": ("integer", "number of the batch"),
        "batch_name": ("text", "its name"),
        "custom_id": ("text", "as given, or line-N"),
        "model": ("text", "the model that was asked"),
        "state": ("text", "`succeeded` or `failed`"),
        "answer": ("text", "without its reasoning; of a failed job what had come, if anything"),
        "reasoning": ("text", "what the model thought before it answered"),
        "parsed": ("json", "the answer as JSON, where a `format` was asked for and it fits"),
        "done_reason": ("text", "`stop`: the model ended; `length`: num_predict or the window was reached"),
        "cut": ("boolean", "the answer was ended by num_predict or a full window"),
        "empty": ("boolean", "the answer has no text"),
        "prompt_fit": ("text", "`yes`, `no` or `unknown`: whether the model saw the whole prompt"),
        "error_code": ("text", "a code of errors.md; null where it succeeded"),
        "error_message": ("text", "what the host said"),
        "host": ("text", "who answered"),
        "digest": ("text", "of the weights that answered"),
        "prompt_tokens": ("integer", "tokens of the prompt"),
        "output_tokens": ("integer", "tokens generated, reasoning included"),
        "tokens_per_second": ("number", "output_tokens by eval_seconds"),
        "total_seconds": ("number", "seconds on the host, from request to last token"),
        "load_seconds": ("number", "seconds until the runner was granted, waiting included"),
        "prompt_eval_seconds": ("number", "seconds of reading the prompt"),
        "eval_seconds": ("number", "seconds of generating"),
        "queued_seconds": ("number", "seconds from submission to the start of the last attempt"),
        "attempts": ("integer", "number of the attempt that ended it"),
        "submitted_at": ("time", "when it was submitted"),
        "started_at": ("time", "start of the last attempt"),
        "finished_at": ("time", "when the result was stored"),
        "day": ("date", "day of `finished_at`, UTC; indexed"),
        "prompt": ("text", "as it was sent, rendered"),
        "metadata": ("json", "as given; the other columns of a table"),
        "number": (
            "integer",
            "order in which results came to be seen; null for some seconds after it was stored",
        ),
        "reused_from": (
            "integer",
            "the job whose stored answer was taken: no host was asked, and what it took is null",
        ),
        "schedule": ("text", "name of the schedule that submitted it; null where none did"),
        "document": ("text", "path of the document it was made of; null where it was made of none"),
        "logprobs": ("json", "the log probability of each token as the host sent it, where it was requested"),
    },
    "report_batches": {
        "batch": ("integer", "number of the batch"),
        "batch_name": ("text", "its name"),
        "state": ("text", "`receiving`, `open`, `paused`, `finished` or `cancelled`"),
        "created_at": ("time", "when it began to be submitted"),
        "sealed_at": ("time", "when its last job was in"),
        "finished_at": ("time", "when its last job had ended"),
        "deadline": ("time", "by when it is wanted"),
        "jobs": ("integer", "jobs in it"),
        "scheduled": ("integer", "jobs that are not eligible yet"),
        "waiting": ("integer", "jobs that wait for another"),
        "queued": ("integer", "jobs that any host may take"),
        "running": ("integer", "jobs that a host works on"),
        "held": ("integer", "jobs parked with a reason"),
        "succeeded": ("integer", "jobs with an answer"),
        "failed": ("integer", "jobs without one for good"),
        "cancelled": ("integer", "jobs that were cancelled"),
        "expired": ("integer", "jobs whose deadline passed"),
        "progress": ("number", "share of the jobs that have ended, 0 to 1"),
        "eta_at": ("time", "when it will be done at the pace that it has had"),
        "prompt_tokens": ("integer", "tokens of all its prompts that were answered"),
        "output_tokens": ("integer", "tokens of all its answers"),
        "eval_seconds": ("number", "seconds of generating, slots added up"),
        "gpu_seconds": (
            "number",
            "what it cost: seconds of reading and generating, each shared by the slots of its host",
        ),
        "cut": ("integer", "answers that were ended by num_predict or a full window"),
        "empty": ("integer", "answers with nothing in them"),
        "unfit": ("integer", "answers to a part of the prompt: `prompt_fit` is `no`"),
        "first_at": ("time", "its first result"),
        "last_at": ("time", "its last result so far"),
        "reused": ("integer", "answers that were stored before; their tokens are not counted here"),
        "pruned": ("integer", "jobs that are counted here and whose texts are gone"),
        "pruned_at": ("time", "when the texts of all its jobs were gone"),
        "from_batch": (
            "integer",
            "the batch whose rows it asks again; null where it is of an input of its own",
        ),
        "schedule": ("text", "name of the schedule that submitted it; null where none did"),
    },
    "report_failures": {
        "batch": ("integer", "number of the batch"),
        "batch_name": ("text", "its name"),
        "day": ("date", "day on which they failed, UTC"),
        "model": ("text", "the model"),
        "host": ("text", "where they failed last"),
        "error_code": ("text", "a code of errors.md"),
        "failures": ("integer", "how many"),
        "example_message": ("text", "one of their messages"),
        "first_at": ("time", "the first of them"),
        "last_at": ("time", "the last of them"),
    },
    "report_models_daily": {
        "day": ("date", "UTC"),
        "model": ("text", "the model"),
        "results": ("integer", "jobs that ended with a result"),
        "succeeded": ("integer", "of them with an answer"),
        "failed": ("integer", "of them without"),
        "cut": ("integer", "answers that were ended by num_predict or a full window"),
        "empty": ("integer", "answers with nothing in them"),
        "unfit": ("integer", "answers to a part of the prompt"),
        "prompt_tokens": ("integer", "tokens read"),
        "output_tokens": ("integer", "tokens generated"),
        "eval_seconds": ("number", "seconds of generating, slots added up"),
        "gpu_seconds": ("number", "seconds of reading and generating, each shared by the slots of its host"),
        "tokens_per_second": ("number", "output_tokens by eval_seconds: the pace of one slot"),
    },
    "report_hosts_hourly": {
        "hour": ("time", "begin of the hour, UTC"),
        "host": ("text", "the host"),
        "results": ("integer", "jobs that ended there in this hour"),
        "succeeded": ("integer", "of them with an answer"),
        "failed": ("integer", "of them without"),
        "output_tokens": ("integer", "tokens of those that ended in this hour"),
        "busy_seconds": ("number", "seconds of reading and generating, by the number of slots"),
        "loading_seconds": ("number", "seconds of loads that ended in this hour"),
        "loads": ("integer", "loads that ended in this hour"),
        "idle_seconds": ("number", "what is left of the hour, or of what has passed of it"),
    },
    "report_runs": {
        "run": ("integer", "number of the run: what a host does between two loads"),
        "host": ("text", "the host"),
        "runner_key": ("text", "the model and its load-time options"),
        "reason": ("text", "why it was loaded"),
        "started_at": ("time", "when the load was decided"),
        "load_seconds": ("number", "seconds of the load; null where it failed"),
        "ended_at": ("time", "when it was left; null for what is loaded now"),
        "jobs": ("integer", "outcomes of jobs it served"),
        "error": ("text", "why the load failed"),
    },
    "report_schedules": {
        "schedule": ("text", "its name"),
        "cron": ("text", "when it fires"),
        "tz": ("text", "by which clock"),
        "next_at": ("time", "when it fires next; null: never"),
        "paused_at": ("time", "since when it is paused; null where it is not"),
        "paused_reason": ("text", "why, where somebody said so"),
        "added_at": ("time", "when it was added"),
        "changed_at": ("time", "when it was said anew last"),
        "version": ("integer", "how often it was said anew, from 1"),
        "documents": ("integer", "documents times models that are there"),
        "answered": ("integer", "of them with an answer, be it of an earlier text"),
        "failing": ("integer", "of them that could not be read or answered the last time"),
        "gone": ("integer", "documents times models that are not there any more"),
        "last_fire_at": ("time", "the time for which it fired last"),
        "last_began_at": ("time", "when that firing began"),
        "last_ended_at": ("time", "when it was over; null while it goes on"),
        "last_state": (
            "text",
            "`due`, `queued`, `reading`, `running`, `finished`, `skipped` or `failed`",
        ),
        "last_reason": ("text", "why it was skipped, or could not begin"),
        "last_batch": ("integer", "its batch; null where nothing had to be asked"),
        "last_new": ("integer", "documents times models that it saw for the first time"),
        "last_changed": ("integer", "that had changed"),
        "last_retried": ("integer", "that were asked again for want of an answer"),
        "last_reused": ("integer", "whose answers stay"),
        "last_gone": ("integer", "that were not there any more"),
        "last_unreadable": ("integer", "that could not be read"),
        "last_answered": ("integer", "that got an answer; like those below null while the firing goes on"),
        "last_failed": ("integer", "that could not be read, or got no answer"),
        "last_failed_known": (
            "integer",
            "of them that failed with the same code when they were tried before",
        ),
        "last_held": ("integer", "whose jobs were held when it ended"),
        "last_cut": ("integer", "answers of it that were cut; parts of long documents count too"),
        "last_empty": ("integer", "answers of it that are empty"),
        "last_unfit": ("integer", "answers of it that were given to a part of the prompt"),
    },
    "report_documents": {
        "schedule": ("text", "name of the schedule"),
        "path": ("text", "where the document lies; of a row of a table with `#` and its number"),
        "custom_id": ("text", "its path below the root"),
        "model": ("text", "the model that is asked"),
        "change": (
            "text",
            "what the last firing found: `new`, `changed`, `retried`, `reused`, `pending`, `gone`, `failed`",
        ),
        "sha256": ("text", "of its bytes, as they were asked last"),
        "answer": (
            "text",
            "the latest answer, be it of an earlier text; it stays when its job is pruned or deleted",
        ),
        "parsed": ("json", "the same as JSON, where a `format` was asked for and it fits"),
        "reasoning": ("text", "what the model thought before it answered"),
        "answered_at": ("time", "when that answer was stored"),
        "digest": ("text", "of the weights that gave it"),
        "is_current": (
            "boolean",
            "it answers the document, the template and the options as they were found last",
        ),
        "prompt_tokens": ("integer", "tokens of its prompt"),
        "output_tokens": ("integer", "tokens generated for it"),
        "job_id": ("integer", "the job that it answered"),
        "first_seen_at": ("time", "when a firing first found the document"),
        "last_seen_at": ("time", "when one last did"),
        "gone_at": ("time", "when one no longer did; null while it is there"),
        "error_code": ("text", "why it has no newer answer, a code of errors.md; null where all is well"),
        "error_message": ("text", "the same for people"),
        "error_at": ("time", "since when it fails with this code"),
        "metadata": (
            "json",
            "of the document: title, pages, the row's columns; of the text that was answered",
        ),
        "cut": ("boolean", "the answer was ended by num_predict or a full window"),
        "empty": ("boolean", "the answer holds nothing but white space"),
        "prompt_fit": ("text", "`yes`, `no` or `unknown`: whether the model saw the whole prompt"),
    },
}
"""View → column → type and meaning, in their order."""
