WITH task_coverage AS (
  SELECT
    runs.task_id,
    SUM(CASE WHEN runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED') THEN 1 ELSE 0 END) AS runs_of_task,
    MIN(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 1 ELSE 0 END) AS all_read
  FROM komos.task_runs AS runs
  LEFT JOIN komos.task_run_log_loads AS loads
    ON loads.run_id = runs.id
  WHERE
    TRUE
  GROUP BY
    runs.task_id
), task_gaps AS (
  SELECT
    gaps.task_id,
    COUNT(*) AS gaps
  FROM komos.task_run_window_gaps AS gaps
  WHERE
    TRUE
  GROUP BY
    gaps.task_id
), visits AS (
  SELECT
    runs.task_id,
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
    logs.run_id,
    logs.node_id
), nodes AS (
  SELECT
    visits.task_id,
    COALESCE(visits.node_id, '(no node)') AS node,
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
    COALESCE(visits.node_id, '(no node)')
), shares AS (
  SELECT
    nodes.task_id,
    nodes.node,
    nodes.runs,
    nodes.runs_with_warning,
    nodes.runs_with_error,
    nodes.all_entries,
    nodes.all_warnings,
    nodes.all_errors,
    nodes.earliest,
    nodes.latest,
    CAST(nodes.all_entries = nodes.all_warnings + nodes.all_errors AS BOOLEAN) AS only_on_trouble,
    CAST(task_coverage.all_read = 1 AND task_gaps.gaps IS NULL AS BOOLEAN) AS coverage_complete,
    task_coverage.runs_of_task,
    CAST(CASE
      WHEN nodes.all_entries = nodes.all_warnings + nodes.all_errors
      THEN task_coverage.runs_of_task
      ELSE nodes.runs
    END AS DOUBLE) AS n
  FROM nodes
  INNER JOIN task_coverage
    ON task_coverage.task_id = nodes.task_id
  LEFT JOIN task_gaps
    ON task_gaps.task_id = nodes.task_id
), rates AS (
  SELECT
    shares.*,
    shares.runs_with_warning / shares.n AS warning_rate,
    shares.runs_with_error / shares.n AS error_rate,
    3.841458820694124 / shares.n AS k
  FROM shares
)
SELECT
  rates.task_id,
  rates.node AS node_id,
  rates.runs,
  CAST(rates.runs_with_warning AS BIGINT) AS runs_with_warning,
  CAST(rates.runs_with_error AS BIGINT) AS runs_with_error,
  rates.warning_rate,
  (
    (
      rates.warning_rate + rates.k / 2 - SQRT(
        rates.k * rates.warning_rate * (
          1 - rates.warning_rate
        ) + rates.k * rates.k / 4
      )
    ) / (
      1 + rates.k
    )
  ) AS warning_rate_low,
  LEAST(
    1,
    (
      rates.warning_rate + rates.k / 2 + SQRT(
        rates.k * rates.warning_rate * (
          1 - rates.warning_rate
        ) + rates.k * rates.k / 4
      )
    ) / (
      1 + rates.k
    )
  ) AS warning_rate_high,
  rates.error_rate,
  (
    (
      rates.error_rate + rates.k / 2 - SQRT(rates.k * rates.error_rate * (
        1 - rates.error_rate
      ) + rates.k * rates.k / 4)
    ) / (
      1 + rates.k
    )
  ) AS error_rate_low,
  LEAST(
    1,
    (
      rates.error_rate + rates.k / 2 + SQRT(rates.k * rates.error_rate * (
        1 - rates.error_rate
      ) + rates.k * rates.k / 4)
    ) / (
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
