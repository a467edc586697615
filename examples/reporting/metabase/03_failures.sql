-- name: Failures by code
-- display: row
-- description: Why jobs failed for good, each with an example.
SELECT error_code, sum(failures) AS failures, min(example_message) AS example
FROM report_failures
GROUP BY error_code
ORDER BY failures DESC
