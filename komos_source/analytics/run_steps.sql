-- run_steps: each run as the sequence of its nodes, and how long each of them took.
--
-- One row for each unbroken row of entries from one node: a node that is come back to has several.
--
--   run_id     the run
--   step       place in the run, from 1
--   node_id    the node; '(no node)' for entries without one
--   entries    entries of the step
--   warnings   of them, warnings
--   errors     of them, errors
--   first_at   timestamp of the earliest entry (UTC); null where the API left all of them out
--   last_at    timestamp of the latest entry (UTC), likewise
--   seconds    from first_at to that of the next step, for the last step to the end of the run: a
--              node is not seen before it writes, so this is an estimate of its duration; null
--              where either time is unknown
--   task_id    the task; null where a run is known only by its log
--   task_name  name of the task; null where it is not in the table of tasks
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
),

followed AS (
    SELECT
        steps.*,
        runs.task_id,
        runs.started_at,
        runs.created_at,
        CASE
            WHEN steps.step = MAX(steps.step) OVER (PARTITION BY steps.run_id)
                THEN runs.finished_at
            ELSE LEAD(steps.first_at) OVER (PARTITION BY steps.run_id ORDER BY steps.step NULLS FIRST)
        END AS next_at
    FROM steps
    LEFT JOIN task_runs AS runs ON runs.id = steps.run_id
)

SELECT
    followed.run_id,
    CAST(followed.step AS BIGINT) AS step,
    followed.node AS node_id,
    followed.entries,
    CAST(followed.warnings AS BIGINT) AS warnings,
    CAST(followed.errors AS BIGINT) AS errors,
    followed.first_at,
    followed.last_at,
    CASE
        WHEN followed.next_at >= followed.first_at
            THEN
                DATE_DIFF('millisecond', followed.first_at, followed.next_at)
                / CAST(1000 AS DOUBLE)
    END AS seconds,
    followed.task_id,
    tasks.name AS task_name
FROM followed
LEFT JOIN tasks ON tasks.id = followed.task_id
WHERE followed.step <= :limit
    AND followed.task_id = :task_id
    AND followed.node = :node_id
    AND COALESCE(followed.started_at, followed.created_at) >= :since
    AND COALESCE(followed.started_at, followed.created_at) < :until
