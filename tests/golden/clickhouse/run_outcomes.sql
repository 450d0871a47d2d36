WITH volumes AS (
  SELECT
    logs.run_id AS run_id,
    COUNT(*) AS entries,
    SUM(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
    SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS errors,
    SUM(CASE WHEN logs.timestamp IS NULL THEN 1 ELSE 0 END) AS entries_without_time,
    MIN(logs.timestamp) AS first_seen
  FROM komos.task_run_logs AS logs
  WHERE
    TRUE
  GROUP BY
    logs.run_id
), errors_in_order AS (
  SELECT
    logs.run_id AS run_id,
    logs.timestamp AS moment,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.message AS message,
    ROW_NUMBER() OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS place
  FROM komos.task_run_logs AS logs
  WHERE
    logs.level = 'error'
)
SELECT
  runs.task_id AS task_id,
  COALESCE(runs.id, volumes.run_id) AS run_id,
  runs.status AS status,
  runs.trigger_type AS trigger_type,
  runs.created_at AS created_at,
  runs.started_at AS started_at,
  runs.finished_at AS finished_at,
  DATE_DIFF(MILLISECOND, runs.started_at, runs.finished_at) / CAST(1000 AS Nullable(Float64)) AS duration_seconds,
  CAST(COALESCE(volumes.entries, 0) AS Nullable(Int64)) AS entries,
  CAST(COALESCE(volumes.warnings, 0) AS Nullable(Int64)) AS warnings,
  CAST(COALESCE(volumes.errors, 0) AS Nullable(Int64)) AS errors,
  CAST(COALESCE(volumes.entries_without_time, 0) AS Nullable(Int64)) AS entries_without_time,
  first_error.moment AS first_error_at,
  first_error.node AS first_error_node,
  first_error.message AS first_error_message,
  tasks.name AS task_name
FROM komos.task_runs AS runs
FULL JOIN volumes
  ON volumes.run_id = runs.id
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = runs.task_id
LEFT JOIN errors_in_order AS first_error
  ON first_error.run_id = volumes.run_id AND first_error.place = 1
WHERE
  TRUE
SETTINGS join_use_nulls = 1
