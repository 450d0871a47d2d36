WITH rejected AS (
  SELECT
    task_run_logs_rejected.run_id,
    COUNT(*) AS entries
  FROM komos.task_run_logs_rejected AS task_run_logs_rejected
  GROUP BY
    task_run_logs_rejected.run_id
), task_gaps AS (
  SELECT
    gaps.task_id,
    COUNT(*) AS gaps
  FROM komos.task_run_window_gaps AS gaps
  WHERE
    TRUE
  GROUP BY
    gaps.task_id
), totals AS (
  SELECT
    runs.task_id,
    COUNT(*) AS runs,
    SUM(CASE WHEN runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN 1 ELSE 0 END) AS finished_runs,
    SUM(CASE WHEN runs.status = 'FAILED' THEN 1 ELSE 0 END) AS failed_runs,
    SUM(CASE WHEN runs.status = 'CANCELLED' THEN 1 ELSE 0 END) AS cancelled_runs,
    SUM(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 0 ELSE 1 END) AS unread_runs,
    SUM(COALESCE(rejected.entries, 0)) AS rejected_entries,
    MIN(COALESCE(runs.started_at, runs.created_at)) AS first_run_at,
    MAX(COALESCE(runs.started_at, runs.created_at)) AS last_run_at,
    MAX(loads.checked_at) AS last_checked_at
  FROM komos.task_runs AS runs
  LEFT JOIN komos.task_run_log_loads AS loads
    ON loads.run_id = runs.id
  LEFT JOIN rejected
    ON rejected.run_id = runs.id
  WHERE
    TRUE
  GROUP BY
    runs.task_id
)
SELECT
  totals.task_id,
  totals.runs,
  CAST(totals.finished_runs AS BIGINT) AS finished_runs,
  CAST(totals.failed_runs AS BIGINT) AS failed_runs,
  CAST(totals.cancelled_runs AS BIGINT) AS cancelled_runs,
  CAST(totals.unread_runs AS BIGINT) AS unread_runs,
  COALESCE(task_gaps.gaps, 0) AS window_gaps,
  CAST(totals.rejected_entries AS BIGINT) AS rejected_entries,
  totals.first_run_at,
  totals.last_run_at,
  totals.last_checked_at,
  tasks.name AS task_name
FROM totals
LEFT JOIN task_gaps
  ON task_gaps.task_id = totals.task_id
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = totals.task_id
WHERE
  TRUE
