-- name: Nights
-- display: table
-- description: What each firing of a schedule found, and what came of it.
SELECT fire_at, schedule, state, new, changed, reused, gone, answered, failed, cut, seconds, reason
FROM report_firings
ORDER BY fire_at DESC
LIMIT 500
