-- name: Hosts by hour
-- display: area
-- description: Seconds of each of the newest 1,000 hours of hosts that they were busy, loading or idle.
SELECT hour, host, busy_seconds, loading_seconds, idle_seconds
FROM (
  SELECT hour, host, busy_seconds, loading_seconds, idle_seconds
  FROM report_hosts_hourly
  ORDER BY hour DESC
  LIMIT 1000
) AS newest
ORDER BY hour, host
