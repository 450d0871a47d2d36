-- run_entries: the entries of a run as they follow one another, the first :limit of them.
--
--   place    in the run's log, from 1, counted among the levels and the node asked for
--   moment   the entry's timestamp (UTC); null where the API left it out
WITH placed AS (
    SELECT
        logs.run_id,
        -- Entries that came by webhook have no position until the run is polled: they are its
        -- newest.
        ROW_NUMBER() OVER (
            PARTITION BY logs.run_id
            ORDER BY
                CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END,
                logs.position,
                logs.timestamp,
                logs.id
        ) AS place,
        logs.timestamp AS moment,
        logs.level,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.message
    FROM task_run_logs AS logs
    WHERE logs.run_id = :run_id
        AND logs.level IN (:levels)
        AND COALESCE(logs.node_id, '(no node)') = :node_id
)

SELECT placed.run_id, placed.place, placed.moment, placed.level, placed.node AS node_id, placed.message
FROM placed
WHERE placed.place <= :limit
