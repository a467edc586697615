-- name: Batches
-- display: table
-- description: How far each batch is, when it will be done, and what it cost.
SELECT batch, batch_name, state, jobs, succeeded, failed, held, progress, eta_at, gpu_seconds, output_tokens
FROM report_batches
ORDER BY batch DESC
