-- name: Tokens per day and model
-- display: bar
-- description: Tokens generated, by the day on which they were stored (UTC).
SELECT day, model, output_tokens
FROM report_models_daily
ORDER BY day, model
