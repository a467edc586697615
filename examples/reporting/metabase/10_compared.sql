-- name: Answers side by side
-- display: table
-- description: Two answers to each input of a batch that asks the rows of another. Asks for the number of the later batch.
-- parameter: batch number 2
SELECT custom_id, from_model, model, from_answer, answer, is_same
FROM report_comparisons
WHERE batch = {{batch}}
ORDER BY job_id
LIMIT 2000
