-- name: Documents of schedules
-- display: table
-- description: The latest answer of each document, those that fail first.
SELECT schedule, path, model, change, is_current, error_code, error_at, answered_at, answer
FROM report_documents
WHERE gone_at IS NULL
ORDER BY CASE WHEN error_code IS NULL THEN 1 ELSE 0 END, path
LIMIT 2000
