-- node_gaps: how long it took from a node's entry to the next entry of the same run.
--
-- One row per task and node, over finished runs. A gap, not a duration: entries say when something
-- was written, not when a node began or ended, and the next entry may come from another node. An
-- entry that is the last of its run, or that has no timestamp on either side, makes no gap.
--
--   task_id      the task
--   node_id      the node; '(no node)' for entries without one
--   gaps         number of gaps
--   p50_seconds  half of them are at most so long (nearest rank: an observed value)
--   p95_seconds  95 % of them are at most so long
--   task_name    name of the task; null where it is not in the table of tasks
WITH steps AS (
    SELECT
        runs.task_id,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.timestamp AS moment,
        -- Entries that came by webhook have no position until the run is polled: they are its
        -- newest.
        LEAD(logs.timestamp) OVER (
            PARTITION BY logs.run_id
            ORDER BY
                CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END,
                logs.position,
                logs.timestamp,
                logs.id
        ) AS next_moment
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE HAS_ENDED(runs.status)
        AND runs.task_id = :task_id
        AND runs.id = :run_id
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

-- Gaps of one length are counted together: there are far fewer lengths than entries to be ranked.
lengths AS (
    SELECT
        steps.task_id,
        steps.node,
        DATE_DIFF('millisecond', steps.moment, steps.next_moment) AS milliseconds,
        COUNT(*) AS times
    FROM steps
    WHERE steps.next_moment >= steps.moment
        AND steps.node = :node_id
    GROUP BY
        steps.task_id,
        steps.node,
        DATE_DIFF('millisecond', steps.moment, steps.next_moment)
),

ranked AS (
    SELECT
        lengths.task_id,
        lengths.node,
        lengths.milliseconds,
        SUM(lengths.times) OVER (
            PARTITION BY lengths.task_id, lengths.node
            ORDER BY lengths.milliseconds NULLS FIRST -- there are none; BigQuery takes no other
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS at_most_as_long,
        SUM(lengths.times) OVER (PARTITION BY lengths.task_id, lengths.node) AS gaps
    FROM lengths
)

SELECT
    ranked.task_id,
    ranked.node AS node_id,
    CAST(MAX(ranked.gaps) AS BIGINT) AS gaps,
    MIN(CASE WHEN ranked.at_most_as_long * 100 >= ranked.gaps * 50 THEN ranked.milliseconds END)
    / CAST(1000 AS DOUBLE) AS p50_seconds,
    MIN(CASE WHEN ranked.at_most_as_long * 100 >= ranked.gaps * 95 THEN ranked.milliseconds END)
    / CAST(1000 AS DOUBLE) AS p95_seconds,
    MAX(tasks.name) AS task_name
FROM ranked
LEFT JOIN tasks ON tasks.id = ranked.task_id
GROUP BY ranked.task_id, ranked.node
