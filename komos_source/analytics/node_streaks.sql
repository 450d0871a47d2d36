-- node_streaks: the finished runs that visited a node in the order of their start, as streaks.
--
-- One row per unbroken sequence of runs of one day that all have an entry of the levels asked for at
-- the node, or that all have none. So runs keep their order, and few rows come back: with all runs of
-- a day alike, one.
--
--   day               the day the runs started on, in the time zone asked for
--   first_run_at      start of the first and, in last_run_at, of the last run of the streak (UTC)
--   runs              how many runs it holds
--   hits              of them those with such an entry: all or none
--   only_on_trouble   the node wrote nothing but warnings and errors, so runs that went well are not
--                     among its visitors: all runs of its task count
WITH visits AS (
    SELECT
        runs.task_id,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.run_id,
        COALESCE(runs.started_at, runs.created_at) AS moment,
        MAX(CASE WHEN logs.level IN (:levels) THEN 1 ELSE 0 END) AS hit,
        MAX(CASE WHEN logs.level IN ('warning', 'error') THEN 0 ELSE 1 END) AS has_other
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY
        runs.task_id,
        COALESCE(logs.node_id, '(no node)'),
        logs.run_id,
        COALESCE(runs.started_at, runs.created_at)
),

quiet_nodes AS (
    SELECT visits.task_id, visits.node
    FROM visits
    GROUP BY visits.task_id, visits.node
    HAVING MAX(visits.has_other) = 0
),

outcomes AS (
    SELECT
        visits.task_id, visits.node, visits.run_id, visits.moment, visits.hit, 0 AS is_quiet
    FROM visits
    LEFT JOIN quiet_nodes
        ON quiet_nodes.task_id = visits.task_id AND quiet_nodes.node = visits.node
    WHERE quiet_nodes.node IS NULL

    UNION ALL

    SELECT
        quiet_nodes.task_id,
        quiet_nodes.node,
        runs.id AS run_id,
        COALESCE(runs.started_at, runs.created_at) AS moment,
        COALESCE(visits.hit, 0) AS hit,
        1 AS is_quiet
    FROM quiet_nodes
    INNER JOIN task_runs AS runs ON runs.task_id = quiet_nodes.task_id
    LEFT JOIN visits
        ON visits.task_id = quiet_nodes.task_id
            AND visits.node = quiet_nodes.node
            AND visits.run_id = runs.id
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

-- The two numbers of a run differ by the same amount until a run of the other outcome comes between.
numbered AS (
    SELECT
        outcomes.task_id,
        outcomes.node,
        outcomes.moment,
        outcomes.hit,
        outcomes.is_quiet,
        ROW_NUMBER() OVER (
            PARTITION BY outcomes.task_id, outcomes.node
            ORDER BY outcomes.moment, outcomes.run_id
        )
        - ROW_NUMBER() OVER (
            PARTITION BY outcomes.task_id, outcomes.node, outcomes.hit
            ORDER BY outcomes.moment, outcomes.run_id
        ) AS streak
    FROM outcomes
)

SELECT
    numbered.task_id,
    numbered.node AS node_id,
    DAY_OF(numbered.moment) AS day,
    MIN(numbered.moment) AS first_run_at,
    MAX(numbered.moment) AS last_run_at,
    COUNT(*) AS runs,
    CAST(SUM(numbered.hit) AS BIGINT) AS hits,
    CAST(MAX(numbered.is_quiet) = 1 AS BOOLEAN) AS only_on_trouble
FROM numbered
GROUP BY numbered.task_id, numbered.node, numbered.hit, numbered.streak, DAY_OF(numbered.moment)
