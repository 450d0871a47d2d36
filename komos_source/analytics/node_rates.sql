-- Warning and error rates per task and node: the share of the finished runs that visited the node
-- (wrote at least one entry from it) in which it wrote at least one entry of that level.
WITH visits AS (
    SELECT
        runs.task_id,
        COALESCE(logs.node_id, '(no node)') AS node_id,
        logs.run_id,
        MAX(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS has_warning,
        MAX(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS has_error
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
    GROUP BY runs.task_id, COALESCE(logs.node_id, '(no node)'), logs.run_id
)

SELECT
    COALESCE(tasks.name, visits.task_id) AS task,
    visits.node_id,
    COUNT(*) AS runs,
    AVG(visits.has_warning * 1.0) AS warning_rate,
    AVG(visits.has_error * 1.0) AS error_rate
FROM visits
LEFT JOIN tasks ON tasks.id = visits.task_id
GROUP BY COALESCE(tasks.name, visits.task_id), visits.node_id
ORDER BY error_rate DESC, warning_rate DESC, task, node_id
