-- Queries to begin with, for SQLite (3.38 or newer) and PostgreSQL alike. They read the report views, which keep their
-- columns from one version to the next; docs/howto/reporting.md describes each. "The newest batch" is easily replaced: put the
-- number that `caravan status` shows in place of (SELECT max(batch) FROM report_batches).
--
--   sqlite3 ~/.local/share/caravan/caravan.db < examples/queries.sql
--   psql "$CARAVAN_DATABASE_URL" -f examples/queries.sql

-- How far is the newest batch?
SELECT batch, batch_name, state, jobs, succeeded, failed, held, queued + scheduled + waiting AS waiting, running, eta_at
FROM report_batches
WHERE batch = (SELECT max(batch) FROM report_batches);

-- The answers of the newest batch, in the order of the input, with a field of each job's metadata.
SELECT custom_id, model, metadata ->> 'kind' AS kind, answer
FROM report_results
WHERE batch = (SELECT max(batch) FROM report_batches) AND state = 'succeeded'
ORDER BY job_id;

-- What each model did: results, failures, answers that were cut, tokens, and tokens per second while it generated.
SELECT model,
       count(*) AS results,
       count(*) FILTER (WHERE state = 'failed') AS failed,
       count(*) FILTER (WHERE cut) AS cut,
       sum(prompt_tokens) AS prompt_tokens,
       sum(output_tokens) AS output_tokens,
       round(CAST(sum(output_tokens) / NULLIF(sum(eval_seconds), 0) AS numeric), 1) AS tokens_per_second
FROM report_results
WHERE batch = (SELECT max(batch) FROM report_batches)
GROUP BY model
ORDER BY results DESC;

-- What each host did, over all batches.
SELECT host,
       count(*) AS results,
       sum(output_tokens) AS output_tokens,
       round(CAST(sum(total_seconds) AS numeric), 1) AS host_seconds,
       max(finished_at) AS last_answer
FROM report_results
GROUP BY host
ORDER BY host;

-- Why jobs failed, the most frequent reason first, each with an example.
SELECT error_code, sum(failures) AS failures, min(example_message) AS example
FROM report_failures
GROUP BY error_code
ORDER BY failures DESC;

-- Batches with answers to look at again: cut short, empty, or given to a part of the prompt.
SELECT batch, batch_name, succeeded, cut, empty, unfit
FROM report_batches
WHERE cut > 0 OR empty > 0 OR unfit > 0
ORDER BY batch;

-- These answers themselves. `caravan retry BATCH --cut --set num_predict=4096` asks again what was cut.
SELECT custom_id, model, done_reason, cut, empty, prompt_fit, output_tokens
FROM report_results
WHERE state = 'succeeded' AND (cut OR empty OR prompt_fit = 'no')
ORDER BY job_id;

-- How much of its text a reasoning model spends on reasoning.
SELECT model,
       count(*) AS results,
       round(CAST(avg(length(reasoning)) AS numeric), 0) AS reasoning_characters,
       round(CAST(avg(length(answer)) AS numeric), 0) AS answer_characters
FROM report_results
WHERE reasoning IS NOT NULL
GROUP BY model;

-- Model loads, the newest first: what was loaded where, why, how long it took, and how many jobs it served.
SELECT host, runner_key, started_at, load_seconds, jobs, reason, error
FROM report_runs
ORDER BY run DESC
LIMIT 50;

-- Jobs that took more than one try. `caravan explain BATCH:CUSTOM_ID` says how each try ended.
SELECT batch, custom_id, model, state, attempts, host
FROM report_results
WHERE attempts > 1
ORDER BY job_id;

-- Batches with parked jobs. `caravan explain BATCH` says what these wait for.
SELECT batch, batch_name, held
FROM report_batches
WHERE held > 0
ORDER BY batch;
