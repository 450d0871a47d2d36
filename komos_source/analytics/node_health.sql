-- node_health: how often the runs that visited a node had a warning or an error there.
--
-- One row per task and node. The unit is the finished run that visited the node (wrote at least one
-- entry from it), since entries of one run hang together. Entries without a node are the line
-- '(no node)'.
--
--   task_id            the task
--   node_id            the node; '(no node)' for entries without one
--   runs               runs that visited the node
--   runs_with_warning  of them, runs with at least one warning from it
--   runs_with_error    of them, runs with at least one error from it
--   warning_rate       share of runs_with_warning, from 0 to 1
--   warning_rate_low   lower bound of warning_rate (Wilson, 95 %)
--   warning_rate_high  upper bound of warning_rate
--   error_rate         share of runs_with_error, from 0 to 1
--   error_rate_low     lower bound of error_rate (Wilson, 95 %)
--   error_rate_high    upper bound of error_rate
--   entries            all entries of the node: a volume, not a rate
--   warnings           of them, warnings
--   errors             of them, errors
--   first_seen         earliest timestamp of its entries (UTC)
--   last_seen          latest timestamp of its entries (UTC)
--   only_on_trouble    it wrote nothing but warnings and errors, so runs that went well are not
--                      among its visitors: its rates are shares of runs_of_task instead of runs
--   coverage_complete  no run of the task is still to be read, and none may have been missed
--   runs_of_task       finished runs of the task, whether or not they visited the node
--   task_name          name of the task; null where it is not in the table of tasks
WITH task_coverage AS (
    SELECT
        runs.task_id,
        SUM(CASE WHEN HAS_ENDED(runs.status) THEN 1 ELSE 0 END) AS runs_of_task,
        MIN(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 1 ELSE 0 END) AS all_read
    FROM task_runs AS runs
    LEFT JOIN task_run_log_loads AS loads ON loads.run_id = runs.id
    WHERE COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id
),

task_gaps AS (
    SELECT gaps.task_id, COUNT(*) AS gaps
    FROM task_run_window_gaps AS gaps
    WHERE COALESCE(gaps.oldest_visible_at, gaps.detected_at) >= :since
        AND COALESCE(gaps.newest_known_at, gaps.detected_at) < :until
    GROUP BY gaps.task_id
),

visits AS (
    SELECT
        runs.task_id,
        logs.run_id,
        logs.node_id,
        COUNT(*) AS entries,
        SUM(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
        SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS errors,
        MIN(logs.timestamp) AS first_seen,
        MAX(logs.timestamp) AS last_seen
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id, logs.run_id, logs.node_id
),

nodes AS (
    SELECT
        visits.task_id,
        COALESCE(visits.node_id, '(no node)') AS node,
        COUNT(*) AS runs,
        SUM(CASE WHEN visits.warnings > 0 THEN 1 ELSE 0 END) AS runs_with_warning,
        SUM(CASE WHEN visits.errors > 0 THEN 1 ELSE 0 END) AS runs_with_error,
        SUM(visits.entries) AS all_entries,
        SUM(visits.warnings) AS all_warnings,
        SUM(visits.errors) AS all_errors,
        MIN(visits.first_seen) AS earliest,
        MAX(visits.last_seen) AS latest
    FROM visits
    GROUP BY visits.task_id, COALESCE(visits.node_id, '(no node)')
),

shares AS (
    SELECT
        nodes.task_id,
        nodes.node,
        nodes.runs,
        nodes.runs_with_warning,
        nodes.runs_with_error,
        nodes.all_entries,
        nodes.all_warnings,
        nodes.all_errors,
        nodes.earliest,
        nodes.latest,
        CAST(nodes.all_entries = nodes.all_warnings + nodes.all_errors AS BOOLEAN)
            AS only_on_trouble,
        CAST(task_coverage.all_read = 1 AND task_gaps.gaps IS NULL AS BOOLEAN)
            AS coverage_complete,
        task_coverage.runs_of_task,
        CAST(
            CASE
                WHEN nodes.all_entries = nodes.all_warnings + nodes.all_errors
                    THEN task_coverage.runs_of_task
                ELSE nodes.runs
            END AS DOUBLE
        ) AS n
    FROM nodes
    INNER JOIN task_coverage ON task_coverage.task_id = nodes.task_id
    LEFT JOIN task_gaps ON task_gaps.task_id = nodes.task_id
),

rates AS (
    SELECT
        shares.*,
        shares.runs_with_warning / shares.n AS warning_rate,
        shares.runs_with_error / shares.n AS error_rate,
        Z_SQUARED() / shares.n AS k
    FROM shares
)

SELECT
    rates.task_id,
    rates.node AS node_id,
    rates.runs,
    CAST(rates.runs_with_warning AS BIGINT) AS runs_with_warning,
    CAST(rates.runs_with_error AS BIGINT) AS runs_with_error,
    rates.warning_rate,
    WILSON_LOW(rates.warning_rate, rates.k) AS warning_rate_low,
    WILSON_HIGH(rates.warning_rate, rates.k) AS warning_rate_high,
    rates.error_rate,
    WILSON_LOW(rates.error_rate, rates.k) AS error_rate_low,
    WILSON_HIGH(rates.error_rate, rates.k) AS error_rate_high,
    CAST(rates.all_entries AS BIGINT) AS entries,
    CAST(rates.all_warnings AS BIGINT) AS warnings,
    CAST(rates.all_errors AS BIGINT) AS errors,
    rates.earliest AS first_seen,
    rates.latest AS last_seen,
    rates.only_on_trouble,
    rates.coverage_complete,
    CAST(rates.runs_of_task AS BIGINT) AS runs_of_task,
    tasks.name AS task_name
FROM rates
LEFT JOIN tasks ON tasks.id = rates.task_id
WHERE rates.task_id = :task_id
    AND rates.node = :node_id
