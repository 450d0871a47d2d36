WITH visits AS (
  SELECT
    runs.task_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.run_id,
    COALESCE(runs.started_at, runs.created_at) AS moment,
    MAX(CASE WHEN TRUE THEN 1 ELSE 0 END) AS hit,
    MAX(CASE WHEN logs.level IN ('warning', 'error') THEN 0 ELSE 1 END) AS has_other
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
  GROUP BY
    runs.task_id,
    COALESCE(logs.node_id, '(no node)'),
    logs.run_id,
    COALESCE(runs.started_at, runs.created_at)
), quiet_nodes AS (
  SELECT
    visits.task_id,
    visits.node
  FROM visits
  GROUP BY
    visits.task_id,
    visits.node
  HAVING
    MAX(visits.has_other) = 0
), outcomes AS (
  SELECT
    visits.task_id,
    visits.node,
    visits.run_id,
    visits.moment,
    visits.hit,
    0 AS is_quiet
  FROM visits
  LEFT JOIN quiet_nodes
    ON quiet_nodes.task_id = visits.task_id AND quiet_nodes.node = visits.node
  WHERE
    quiet_nodes.node IS NULL
  UNION ALL
  SELECT
    quiet_nodes.task_id,
    quiet_nodes.node,
    runs.id AS run_id,
    COALESCE(runs.started_at, runs.created_at) AS moment,
    COALESCE(visits.hit, 0) AS hit,
    1 AS is_quiet
  FROM quiet_nodes
  INNER JOIN komos.task_runs AS runs
    ON runs.task_id = quiet_nodes.task_id
  LEFT JOIN visits
    ON visits.task_id = quiet_nodes.task_id
    AND visits.node = quiet_nodes.node
    AND visits.run_id = runs.id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
), numbered AS (
  SELECT
    outcomes.task_id,
    outcomes.node,
    outcomes.moment,
    outcomes.hit,
    outcomes.is_quiet,
    ROW_NUMBER() OVER (
      PARTITION BY outcomes.task_id, outcomes.node
      ORDER BY outcomes.moment NULLS LAST, outcomes.run_id NULLS LAST
    ) - ROW_NUMBER() OVER (
      PARTITION BY outcomes.task_id, outcomes.node, outcomes.hit
      ORDER BY outcomes.moment NULLS LAST, outcomes.run_id NULLS LAST
    ) AS streak
  FROM outcomes
)
SELECT
  numbered.task_id,
  numbered.node AS node_id,
  CAST(TIMESTAMP(DATETIME(numbered.moment, 'UTC')) AS DATE) AS day,
  MIN(numbered.moment) AS first_run_at,
  MAX(numbered.moment) AS last_run_at,
  COUNT(*) AS runs,
  CAST(SUM(numbered.hit) AS INT64) AS hits,
  CAST(MAX(numbered.is_quiet) = 1 AS BOOL) AS only_on_trouble
FROM numbered
GROUP BY
  numbered.task_id,
  numbered.node,
  numbered.hit,
  numbered.streak,
  CAST(TIMESTAMP(DATETIME(numbered.moment, 'UTC')) AS DATE)
