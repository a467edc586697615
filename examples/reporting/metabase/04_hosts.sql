-- name: Hosts by hour
-- display: area
-- description: Seconds of each hour that a host was busy, loading or idle.
SELECT hour, host, busy_seconds, loading_seconds, idle_seconds
FROM report_hosts_hourly
ORDER BY hour, host
