-- name: Model loads
-- display: table
-- description: What was loaded where, why, how long it took, and how many jobs it served.
SELECT host, runner_key, reason, count(*) AS loads, sum(load_seconds) AS load_seconds, sum(jobs) AS jobs
FROM report_runs
GROUP BY host, runner_key, reason
ORDER BY load_seconds DESC
