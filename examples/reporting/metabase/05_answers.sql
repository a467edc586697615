-- name: Answers of a batch
-- display: table
-- description: What was asked and what came of it. Asks for the number of a batch.
-- parameter: batch number 1
SELECT custom_id, model, state, prompt, answer, error_code, output_tokens, tokens_per_second, finished_at
FROM report_results
WHERE batch = {{batch}}
ORDER BY job_id
LIMIT 2000
