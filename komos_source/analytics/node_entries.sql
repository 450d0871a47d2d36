-- node_entries: the newest entries of each node, to read what is behind a rate.
--
-- At most :limit rows per task, node and level, from finished runs.
--
--   moment   the entry's timestamp (UTC); the run's start where the API left it out
--   status   how its run ended
--   logs_url page of the run in Komos; null if the API gives none
WITH entries AS (
    SELECT
        runs.task_id,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.run_id,
        runs.status,
        runs.logs_url,
        logs.level,
        COALESCE(logs.timestamp, runs.started_at, runs.created_at) AS moment,
        logs.message,
        logs.id
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE logs.level IN (:levels)
        AND runs.task_id = :task_id
        AND runs.id = :run_id
        AND COALESCE(logs.node_id, '(no node)') = :node_id
        AND HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

ranked AS (
    SELECT
        entries.*,
        ROW_NUMBER() OVER (
            PARTITION BY entries.task_id, entries.node, entries.level
            ORDER BY entries.moment DESC, entries.id DESC
        ) AS place
    FROM entries
)

SELECT
    ranked.task_id,
    ranked.node AS node_id,
    ranked.run_id,
    ranked.status,
    ranked.level,
    ranked.moment,
    ranked.message,
    ranked.logs_url,
    tasks.name AS task_name
FROM ranked
LEFT JOIN tasks ON tasks.id = ranked.task_id
WHERE ranked.place <= :limit
