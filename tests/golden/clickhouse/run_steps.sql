WITH placed AS (
  SELECT
    logs.run_id AS run_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.level AS level,
    logs.timestamp AS moment,
    ROW_NUMBER() OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS place
  FROM komos.task_run_logs AS logs
  WHERE
    TRUE
), changes AS (
  SELECT
    placed.*,
    CASE
      WHEN placed.node = lag(placed.node) OVER (PARTITION BY placed.run_id ORDER BY placed.place)
      THEN 0
      ELSE 1
    END AS is_change
  FROM placed
), numbered AS (
  SELECT
    changes.*,
    SUM(changes.is_change) OVER (
      PARTITION BY changes.run_id
      ORDER BY changes.place NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS step
  FROM changes
), steps AS (
  SELECT
    numbered.run_id AS run_id,
    numbered.step AS step,
    numbered.node AS node,
    COUNT(*) AS entries,
    SUM(CASE WHEN numbered.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
    SUM(CASE WHEN numbered.level = 'error' THEN 1 ELSE 0 END) AS errors,
    MIN(numbered.moment) AS first_at,
    MAX(numbered.moment) AS last_at
  FROM numbered
  GROUP BY
    numbered.run_id,
    numbered.step,
    numbered.node
), followed AS (
  SELECT
    steps.*,
    runs.task_id AS task_id,
    runs.started_at AS started_at,
    runs.created_at AS created_at,
    CASE
      WHEN steps.step = MAX(steps.step) OVER (PARTITION BY steps.run_id)
      THEN runs.finished_at
      ELSE lead(steps.first_at) OVER (PARTITION BY steps.run_id ORDER BY steps.step NULLS FIRST)
    END AS next_at
  FROM steps
  LEFT JOIN komos.task_runs AS runs
    ON runs.id = steps.run_id
)
SELECT
  followed.run_id AS run_id,
  CAST(followed.step AS Nullable(Int64)) AS step,
  followed.node AS node_id,
  followed.entries AS entries,
  CAST(followed.warnings AS Nullable(Int64)) AS warnings,
  CAST(followed.errors AS Nullable(Int64)) AS errors,
  followed.first_at AS first_at,
  followed.last_at AS last_at,
  CASE
    WHEN followed.next_at >= followed.first_at
    THEN DATE_DIFF(MILLISECOND, followed.first_at, followed.next_at) / CAST(1000 AS Nullable(Float64))
  END AS seconds,
  followed.task_id AS task_id,
  tasks.name AS task_name
FROM followed
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = followed.task_id
WHERE
  TRUE
SETTINGS join_use_nulls = 1
