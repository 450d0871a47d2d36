WITH entries AS (
  SELECT
    runs.task_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.run_id,
    runs.status,
    runs.logs_url,
    logs.level,
    COALESCE(logs.timestamp, runs.started_at, runs.created_at) AS moment,
    logs.message,
    logs.id
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
), ranked AS (
  SELECT
    entries.*,
    ROW_NUMBER() OVER (
      PARTITION BY entries.task_id, entries.node, entries.level
      ORDER BY entries.moment DESC NULLS LAST, entries.id DESC NULLS LAST
    ) AS place
  FROM entries
)
SELECT
  ranked.task_id,
  ranked.node AS node_id,
  ranked.run_id,
  ranked.status,
  ranked.level,
  ranked.moment,
  ranked.message,
  ranked.logs_url,
  tasks.name AS task_name
FROM ranked
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = ranked.task_id
WHERE
  TRUE
