-- run_steps: a run as the sequence of its nodes.
--
-- One row for each unbroken row of entries from one node: a node that is come back to has several.
--
--   step              place in the run, from 1
--   entries           how many entries it holds, and of them warnings and errors
--   first_at          timestamp of the earliest and, in last_at, of the latest entry (UTC); null
--                     where the API left all of them out
WITH placed AS (
    SELECT
        logs.run_id,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.level,
        logs.timestamp AS moment,
        -- Entries that came by webhook have no position until the run is polled: they are its
        -- newest.
        ROW_NUMBER() OVER (
            PARTITION BY logs.run_id
            ORDER BY
                CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END,
                logs.position,
                logs.timestamp,
                logs.id
        ) AS place
    FROM task_run_logs AS logs
    WHERE logs.run_id = :run_id
),

changes AS (
    SELECT
        placed.*,
        CASE
            WHEN
                placed.node
                = LAG(placed.node) OVER (PARTITION BY placed.run_id ORDER BY placed.place)
                THEN 0
            ELSE 1
        END AS is_change
    FROM placed
),

numbered AS (
    SELECT
        changes.*,
        SUM(changes.is_change) OVER (
            PARTITION BY changes.run_id
            ORDER BY changes.place NULLS FIRST -- there are none; BigQuery takes no other
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS step
    FROM changes
),

steps AS (
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
    GROUP BY numbered.run_id, numbered.step, numbered.node
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
WHERE steps.step <= :limit
