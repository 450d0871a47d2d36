WITH steps AS (
  SELECT
    runs.task_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.timestamp AS moment,
    LEAD(logs.timestamp) OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS next_moment
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
), lengths AS (
  SELECT
    steps.task_id,
    steps.node,
    CAST(EXTRACT(EPOCH FROM (
      steps.next_moment - steps.moment
    )) * 1000 AS BIGINT) AS milliseconds,
    COUNT(*) AS times
  FROM steps
  WHERE
    steps.next_moment >= steps.moment
  GROUP BY
    steps.task_id,
    steps.node,
    CAST(EXTRACT(EPOCH FROM (
      steps.next_moment - steps.moment
    )) * 1000 AS BIGINT)
), ranked AS (
  SELECT
    lengths.task_id,
    lengths.node,
    lengths.milliseconds,
    SUM(lengths.times) OVER (
      PARTITION BY lengths.task_id, lengths.node
      ORDER BY lengths.milliseconds NULLS FIRST
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    ) AS at_most_as_long,
    SUM(lengths.times) OVER (PARTITION BY lengths.task_id, lengths.node) AS gaps
  FROM lengths
)
SELECT
  ranked.task_id,
  ranked.node AS node_id,
  CAST(MAX(ranked.gaps) AS BIGINT) AS gaps,
  MIN(
    CASE
      WHEN ranked.at_most_as_long * 100 >= ranked.gaps * 50
      THEN ranked.milliseconds
    END
  ) / CAST(1000 AS DOUBLE PRECISION) AS p50_seconds,
  MIN(
    CASE
      WHEN ranked.at_most_as_long * 100 >= ranked.gaps * 95
      THEN ranked.milliseconds
    END
  ) / CAST(1000 AS DOUBLE PRECISION) AS p95_seconds,
  MAX(tasks.name) AS task_name
FROM ranked
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = ranked.task_id
GROUP BY
  ranked.task_id,
  ranked.node
