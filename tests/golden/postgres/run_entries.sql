WITH placed AS (
  SELECT
    logs.run_id,
    ROW_NUMBER() OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS place,
    logs.timestamp AS moment,
    logs.level,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.message
  FROM komos.task_run_logs AS logs
  WHERE
    TRUE
)
SELECT
  placed.run_id,
  placed.place,
  placed.moment,
  placed.level,
  placed.node AS node_id,
  placed.message
FROM placed
WHERE
  TRUE
