-- name: Answers to look at again
-- display: table
-- description: Cut short, empty, or given to half a prompt. Asks for the number of a batch.
-- parameter: batch number 1
SELECT custom_id, model, done_reason, prompt_fit, output_tokens, answer
FROM report_results
WHERE batch = {{batch}} AND state = 'succeeded' AND (cut OR empty OR prompt_fit = 'no')
ORDER BY job_id
LIMIT 2000
