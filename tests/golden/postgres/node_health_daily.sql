WITH task_days_of_runs AS (
  SELECT
    runs.task_id,
    CAST(COALESCE(runs.started_at, runs.created_at) AT TIME ZONE 'UTC' AS DATE) AS day,
    SUM(CASE WHEN runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN 1 ELSE 0 END) AS runs_of_task,
    MIN(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 1 ELSE 0 END) AS all_read
  FROM komos.task_runs AS runs
  LEFT JOIN komos.task_run_log_loads AS loads
    ON loads.run_id = runs.id
  WHERE
    TRUE
  GROUP BY
    runs.task_id,
    CAST(COALESCE(runs.started_at, runs.created_at) AT TIME ZONE 'UTC' AS DATE)
), task_days AS (
  SELECT
    parts.task_id,
    parts.day,
    SUM(parts.runs_of_task) AS runs_of_task,
    MIN(parts.all_read) AS all_read
  FROM (
    SELECT
      task_days_of_runs.task_id,
      task_days_of_runs.day,
      CAST(task_days_of_runs.runs_of_task AS BIGINT) AS runs_of_task,
      CAST(task_days_of_runs.all_read AS BIGINT) AS all_read
    FROM task_days_of_runs
  ) AS parts
  GROUP BY
    parts.task_id,
    parts.day
), gap_days AS (
  SELECT
    task_days.task_id,
    task_days.day,
    COUNT(*) AS gaps
  FROM task_days
  INNER JOIN komos.task_run_window_gaps AS gaps
    ON gaps.task_id = task_days.task_id
  WHERE
    task_days.day >= CAST(COALESCE(gaps.newest_known_at, gaps.detected_at) AT TIME ZONE 'UTC' AS DATE)
    AND task_days.day <= CAST(COALESCE(gaps.oldest_visible_at, gaps.detected_at) AT TIME ZONE 'UTC' AS DATE)
  GROUP BY
    task_days.task_id,
    task_days.day
), visits AS (
  SELECT
    runs.task_id,
    CAST(COALESCE(runs.started_at, runs.created_at) AT TIME ZONE 'UTC' AS DATE) AS day,
    logs.run_id,
    logs.node_id,
    COUNT(*) AS entries,
    SUM(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
    SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS errors,
    MIN(logs.timestamp) AS first_seen,
    MAX(logs.timestamp) AS last_seen
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
  GROUP BY
    runs.task_id,
    CAST(COALESCE(runs.started_at, runs.created_at) AT TIME ZONE 'UTC' AS DATE),
    logs.run_id,
    logs.node_id
), node_days_of_runs AS (
  SELECT
    visits.task_id,
    COALESCE(visits.node_id, '(no node)') AS node,
    visits.day,
    COUNT(*) AS runs,
    SUM(CASE WHEN visits.warnings > 0 THEN 1 ELSE 0 END) AS runs_with_warning,
    SUM(CASE WHEN visits.errors > 0 THEN 1 ELSE 0 END) AS runs_with_error,
    SUM(visits.entries) AS all_entries,
    SUM(visits.warnings) AS all_warnings,
    SUM(visits.errors) AS all_errors,
    MIN(visits.first_seen) AS earliest,
    MAX(visits.last_seen) AS latest
  FROM visits
  GROUP BY
    visits.task_id,
    COALESCE(visits.node_id, '(no node)'),
    visits.day
), node_days AS (
  SELECT
    parts.task_id,
    parts.node,
    parts.day,
    SUM(parts.runs) AS runs,
    SUM(parts.runs_with_warning) AS runs_with_warning,
    SUM(parts.runs_with_error) AS runs_with_error,
    SUM(parts.all_entries) AS all_entries,
    SUM(parts.all_warnings) AS all_warnings,
    SUM(parts.all_errors) AS all_errors,
    MIN(parts.earliest) AS earliest,
    MAX(parts.latest) AS latest
  FROM (
    SELECT
      node_days_of_runs.task_id,
      node_days_of_runs.node,
      node_days_of_runs.day,
      CAST(node_days_of_runs.runs AS BIGINT) AS runs,
      CAST(node_days_of_runs.runs_with_warning AS BIGINT) AS runs_with_warning,
      CAST(node_days_of_runs.runs_with_error AS BIGINT) AS runs_with_error,
      CAST(node_days_of_runs.all_entries AS BIGINT) AS all_entries,
      CAST(node_days_of_runs.all_warnings AS BIGINT) AS all_warnings,
      CAST(node_days_of_runs.all_errors AS BIGINT) AS all_errors,
      node_days_of_runs.earliest,
      node_days_of_runs.latest
    FROM node_days_of_runs
  ) AS parts
  GROUP BY
    parts.task_id,
    parts.node,
    parts.day
), quiet_nodes AS (
  SELECT
    node_days.task_id,
    node_days.node
  FROM node_days
  GROUP BY
    node_days.task_id,
    node_days.node
  HAVING
    SUM(node_days.all_entries) = SUM(node_days.all_warnings + node_days.all_errors)
), shares AS (
  SELECT
    node_days.task_id,
    node_days.node,
    node_days.day,
    node_days.runs,
    node_days.runs_with_warning,
    node_days.runs_with_error,
    node_days.all_entries,
    node_days.all_warnings,
    node_days.all_errors,
    node_days.earliest,
    node_days.latest,
    CAST(NOT quiet_nodes.node IS NULL AS BOOLEAN) AS only_on_trouble,
    CAST(task_days.all_read = 1 AND gap_days.gaps IS NULL AS BOOLEAN) AS coverage_complete,
    task_days.runs_of_task,
    CAST(CASE
      WHEN quiet_nodes.node IS NULL
      THEN node_days.runs
      ELSE task_days.runs_of_task
    END AS DOUBLE PRECISION) AS n
  FROM node_days
  INNER JOIN task_days
    ON task_days.task_id = node_days.task_id AND task_days.day = node_days.day
  LEFT JOIN gap_days
    ON gap_days.task_id = node_days.task_id AND gap_days.day = node_days.day
  LEFT JOIN quiet_nodes
    ON quiet_nodes.task_id = node_days.task_id AND quiet_nodes.node = node_days.node
), rates AS (
  SELECT
    shares.*,
    CAST(shares.runs_with_warning AS DOUBLE PRECISION) / shares.n AS warning_rate,
    CAST(shares.runs_with_error AS DOUBLE PRECISION) / shares.n AS error_rate,
    CAST(3.841458820694124 AS DOUBLE PRECISION) / shares.n AS k
  FROM shares
)
SELECT
  rates.task_id,
  rates.node AS node_id,
  rates.day,
  CAST(rates.runs AS BIGINT) AS runs,
  CAST(rates.runs_with_warning AS BIGINT) AS runs_with_warning,
  CAST(rates.runs_with_error AS BIGINT) AS runs_with_error,
  rates.warning_rate,
  (
    CAST((
      rates.warning_rate + CAST(rates.k AS DOUBLE PRECISION) / 2 - SQRT(
        rates.k * rates.warning_rate * (
          1 - rates.warning_rate
        ) + CAST(rates.k * rates.k AS DOUBLE PRECISION) / 4
      )
    ) AS DOUBLE PRECISION) / (
      1 + rates.k
    )
  ) AS warning_rate_low,
  LEAST(
    1,
    CAST((
      rates.warning_rate + CAST(rates.k AS DOUBLE PRECISION) / 2 + SQRT(
        rates.k * rates.warning_rate * (
          1 - rates.warning_rate
        ) + CAST(rates.k * rates.k AS DOUBLE PRECISION) / 4
      )
    ) AS DOUBLE PRECISION) / (
      1 + rates.k
    )
  ) AS warning_rate_high,
  rates.error_rate,
  (
    CAST((
      rates.error_rate + CAST(rates.k AS DOUBLE PRECISION) / 2 - SQRT(
        rates.k * rates.error_rate * (
          1 - rates.error_rate
        ) + CAST(rates.k * rates.k AS DOUBLE PRECISION) / 4
      )
    ) AS DOUBLE PRECISION) / (
      1 + rates.k
    )
  ) AS error_rate_low,
  LEAST(
    1,
    CAST((
      rates.error_rate + CAST(rates.k AS DOUBLE PRECISION) / 2 + SQRT(
        rates.k * rates.error_rate * (
          1 - rates.error_rate
        ) + CAST(rates.k * rates.k AS DOUBLE PRECISION) / 4
      )
    ) AS DOUBLE PRECISION) / (
      1 + rates.k
    )
  ) AS error_rate_high,
  CAST(rates.all_entries AS BIGINT) AS entries,
  CAST(rates.all_warnings AS BIGINT) AS warnings,
  CAST(rates.all_errors AS BIGINT) AS errors,
  rates.earliest AS first_seen,
  rates.latest AS last_seen,
  rates.only_on_trouble,
  rates.coverage_complete,
  CAST(rates.runs_of_task AS BIGINT) AS runs_of_task,
  tasks.name AS task_name
FROM rates
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = rates.task_id
WHERE
  TRUE
