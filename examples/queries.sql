-- Queries to begin with, for SQLite (3.38 or newer) and PostgreSQL alike. "The newest batch" is easily replaced:
-- put the number that `caravan status` shows in place of (SELECT max(id) FROM batches).
--
--   sqlite3 ~/.local/share/caravan/caravan.db < examples/queries.sql
--   psql "$CARAVAN_DATABASE_URL" -f examples/queries.sql

-- How far is the newest batch?
SELECT state, count(*) AS jobs
FROM jobs
WHERE batch_id = (SELECT max(id) FROM batches)
GROUP BY state
ORDER BY jobs DESC;

-- The answers of the newest batch, in the order of the input, with a field of each job's metadata.
SELECT r.custom_id, r.model, p.metadata ->> 'kind' AS kind, r.answer
FROM results r
JOIN payloads p ON p.job_id = r.job_id
WHERE r.batch_id = (SELECT max(id) FROM batches) AND r.state = 'succeeded'
ORDER BY r.job_id;

-- What each model did: jobs, failures, answers that were cut, tokens, and tokens per second while it generated.
SELECT model,
       count(*) AS jobs,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE cut) AS cut,
       sum(prompt_tokens) AS prompt_tokens,
       sum(output_tokens) AS output_tokens,
       round(CAST(sum(output_tokens) / NULLIF(sum(eval_seconds), 0) AS numeric), 1) AS tokens_per_second
FROM results
WHERE batch_id = (SELECT max(id) FROM batches)
GROUP BY model
ORDER BY jobs DESC;

-- What each host did, over all batches.
SELECT host,
       count(*) AS jobs,
       sum(output_tokens) AS output_tokens,
       round(CAST(sum(total_seconds) AS numeric), 1) AS host_seconds,
       max(finished_at) AS last_answer
FROM results
GROUP BY host
ORDER BY host;

-- Why jobs failed, the most frequent reason first, each with an example.
SELECT error_code, count(*) AS jobs, min(custom_id) AS example, min(error_message) AS message
FROM results
WHERE state = 'failed'
GROUP BY error_code
ORDER BY jobs DESC;

-- Answers to look at again: cut short, empty, or given to half a prompt.
SELECT custom_id, model, done_reason, cut, prompt_fit, output_tokens
FROM results
WHERE state = 'succeeded' AND (cut OR answer = '' OR prompt_fit = 'no')
ORDER BY job_id;

-- How much of its text a reasoning model spends on reasoning.
SELECT model,
       count(*) AS jobs,
       round(CAST(avg(length(reasoning)) AS numeric), 0) AS reasoning_characters,
       round(CAST(avg(length(answer)) AS numeric), 0) AS answer_characters
FROM results
WHERE reasoning IS NOT NULL
GROUP BY model;

-- Model loads, the newest first: what was loaded where, why, how long it took, and how many jobs it served.
SELECT host, runner_key, started_at, load_seconds, jobs, reason, error
FROM runs
ORDER BY id DESC
LIMIT 50;

-- Jobs that took more than one try, and how each try ended.
SELECT j.custom_id, a.attempt, a.host, a.outcome, a.charged, a.error_code, a.error_message
FROM attempts a
JOIN jobs j ON j.id = a.job_id
WHERE j.attempt > 1
ORDER BY j.id, a.attempt;

-- What is parked, and what it waits for.
SELECT b.name AS batch, j.custom_id, j.model, j.hold_code, j.hold_reason
FROM jobs j
JOIN batches b ON b.id = j.batch_id
WHERE j.state = 'held'
ORDER BY j.id;
