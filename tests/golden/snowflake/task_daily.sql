WITH volumes AS (
  SELECT
    logs.run_id,
    COUNT(*) AS entries
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    TRUE
  GROUP BY
    logs.run_id
), counts AS (
  SELECT
    runs.task_id,
    CAST(CONVERT_TIMEZONE('UTC', COALESCE(runs.started_at, runs.created_at)) AS DATE) AS day,
    COUNT(*) AS runs,
    SUM(COALESCE(volumes.entries, 0)) AS entries
  FROM komos.task_runs AS runs
  LEFT JOIN volumes
    ON volumes.run_id = runs.id
  WHERE
    TRUE
  GROUP BY
    runs.task_id,
    CAST(CONVERT_TIMEZONE('UTC', COALESCE(runs.started_at, runs.created_at)) AS DATE)
), durations AS (
  SELECT
    runs.task_id,
    CAST(CONVERT_TIMEZONE('UTC', COALESCE(runs.started_at, runs.created_at)) AS DATE) AS day,
    DATEDIFF(MILLISECOND, runs.started_at, runs.finished_at) AS milliseconds
  FROM komos.task_runs AS runs
  WHERE
    runs.status = 'COMPLETED'
    AND NOT runs.started_at IS NULL
    AND NOT runs.finished_at IS NULL
), ranked AS (
  SELECT
    durations.task_id,
    durations.day,
    durations.milliseconds,
    ROW_NUMBER() OVER (PARTITION BY durations.task_id, durations.day ORDER BY durations.milliseconds) AS place,
    COUNT(*) OVER (PARTITION BY durations.task_id, durations.day) AS timed_runs
  FROM durations
), medians AS (
  SELECT
    ranked.task_id,
    ranked.day,
    MAX(ranked.timed_runs) AS timed_runs,
    MIN(CASE WHEN ranked.place * 2 >= ranked.timed_runs THEN ranked.milliseconds END) / CAST(1000 AS DOUBLE) AS median_seconds
  FROM ranked
  GROUP BY
    ranked.task_id,
    ranked.day
)
SELECT
  counts.task_id,
  counts.day,
  counts.runs,
  CAST(counts.entries AS BIGINT) AS entries,
  CAST(COALESCE(medians.timed_runs, 0) AS BIGINT) AS timed_runs,
  medians.median_seconds,
  tasks.status AS task_status,
  tasks.name AS task_name
FROM counts
LEFT JOIN medians
  ON medians.task_id = counts.task_id AND medians.day = counts.day
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = counts.task_id
