WITH starts AS (
  SELECT
    runs.task_id,
    runs.id AS run_id,
    COALESCE(runs.started_at, runs.created_at) AS moment,
    LAG(COALESCE(runs.started_at, runs.created_at)) OVER (
      PARTITION BY runs.task_id
      ORDER BY COALESCE(runs.started_at, runs.created_at), runs.id
    ) AS last_moment,
    ROW_NUMBER() OVER (
      PARTITION BY runs.task_id
      ORDER BY COALESCE(runs.started_at, runs.created_at) DESC NULLS LAST, runs.id DESC NULLS LAST
    ) AS newest_first
  FROM komos.task_runs AS runs
  WHERE
    TRUE
), intervals AS (
  SELECT
    starts.task_id,
    DATEDIFF(MILLISECOND, starts.last_moment, starts.moment) AS milliseconds,
    ROW_NUMBER() OVER (
      PARTITION BY starts.task_id
      ORDER BY DATEDIFF(MILLISECOND, starts.last_moment, starts.moment)
    ) AS place,
    COUNT(*) OVER (PARTITION BY starts.task_id) AS all_intervals
  FROM starts
  WHERE
    NOT starts.last_moment IS NULL
), usual AS (
  SELECT
    intervals.task_id,
    MIN(
      CASE
        WHEN intervals.place * 100 >= intervals.all_intervals * 50
        THEN intervals.milliseconds
      END
    ) / CAST(1000 AS DOUBLE) AS median_seconds,
    MIN(
      CASE
        WHEN intervals.place = intervals.all_intervals
        THEN intervals.milliseconds
        WHEN intervals.all_intervals >= 30 AND intervals.place = intervals.all_intervals - 2
        THEN intervals.milliseconds
      END
    ) / CAST(1000 AS DOUBLE) AS long_seconds
  FROM intervals
  GROUP BY
    intervals.task_id
), totals AS (
  SELECT
    starts.task_id,
    COUNT(*) AS runs,
    MIN(starts.moment) AS first_run_at,
    MAX(starts.moment) AS last_run_at,
    MAX(CASE WHEN starts.newest_first = 1 THEN starts.run_id END) AS last_run_id
  FROM starts
  GROUP BY
    starts.task_id
)
SELECT
  totals.task_id,
  totals.runs,
  usual.median_seconds,
  usual.long_seconds,
  totals.first_run_at,
  totals.last_run_at,
  totals.last_run_id,
  tasks.status AS task_status,
  tasks.name AS task_name
FROM totals
LEFT JOIN usual
  ON usual.task_id = totals.task_id
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = totals.task_id
