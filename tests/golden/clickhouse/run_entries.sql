WITH placed AS (
  SELECT
    logs.run_id AS run_id,
    ROW_NUMBER() OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS place,
    logs.timestamp AS moment,
    logs.level AS level,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.message AS message
  FROM komos.task_run_logs AS logs
  WHERE
    TRUE
)
SELECT
  placed.run_id AS run_id,
  placed.place AS place,
  placed.moment AS moment,
  placed.level AS level,
  placed.node AS node_id,
  placed.message AS message
FROM placed
WHERE
  TRUE
SETTINGS join_use_nulls = 1
