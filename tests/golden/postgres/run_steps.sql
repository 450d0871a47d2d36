WITH placed AS (
  SELECT
    logs.run_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.level,
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
      WHEN placed.node = LAG(placed.node) OVER (PARTITION BY placed.run_id ORDER BY placed.place)
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
    numbered.run_id,
    numbered.step,
    numbered.node,
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
)
SELECT
  steps.run_id,
  CAST(steps.step AS BIGINT) AS step,
  steps.node AS node_id,
  steps.entries,
  CAST(steps.warnings AS BIGINT) AS warnings,
  CAST(steps.errors AS BIGINT) AS errors,
  steps.first_at,
  steps.last_at
FROM steps
WHERE
  TRUE
