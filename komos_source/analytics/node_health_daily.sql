-- node_health_daily: the rates of node_health for each day, in the time zone that
-- SOURCES__KOMOS__TIME_ZONE names (UTC by default; timestamps are stored in UTC).
--
-- One row per task, node and day on which a finished run visited the node. No row means that no run
-- visited it, which is not a rate of zero. A run counts on the day it started, with all its entries:
-- those written after midnight and those without a timestamp too. Runs that `komos prune` has
-- deleted are counted as node_health_history has them: in the time zone of that time, and in a period
-- only if all of a row's runs are. The columns are those of node_health, and
--
--   day                the day
--   runs_of_task       the task's finished runs that started on that day
--   only_on_trouble    judged over all days, not this one alone
--   coverage_complete  judged for this day alone
WITH task_days_of_runs AS (
    SELECT
        runs.task_id,
        DAY_OF(COALESCE(runs.started_at, runs.created_at)) AS day,
        SUM(CASE WHEN HAS_ENDED(runs.status) THEN 1 ELSE 0 END) AS runs_of_task,
        MIN(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 1 ELSE 0 END) AS all_read
    FROM task_runs AS runs
    LEFT JOIN task_run_log_loads AS loads ON loads.run_id = runs.id
    WHERE COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id, DAY_OF(COALESCE(runs.started_at, runs.created_at))
),

task_days AS (
    SELECT
        parts.task_id,
        parts.day,
        SUM(parts.runs_of_task) AS runs_of_task,
        MIN(parts.all_read) AS all_read
    FROM (
        SELECT
            task_days_of_runs.task_id,
            task_days_of_runs.day,
            CAST(task_days_of_runs.runs_of_task AS BIGINT) AS runs_of_task,
            CAST(task_days_of_runs.all_read AS BIGINT) AS all_read
        FROM task_days_of_runs
        UNION ALL
        SELECT history.task_id, history.day, history.runs AS runs_of_task, history.all_read
        FROM node_health_history AS history
        WHERE history.node_id IS NULL
            AND history.first_started_at >= :since
            AND history.last_started_at < :until
    ) AS parts
    GROUP BY parts.task_id, parts.day
),

gap_days AS (
    SELECT task_days.task_id, task_days.day, COUNT(*) AS gaps
    FROM task_days
    INNER JOIN task_run_window_gaps AS gaps ON gaps.task_id = task_days.task_id
    WHERE task_days.day >= DAY_OF(COALESCE(gaps.newest_known_at, gaps.detected_at))
        AND task_days.day <= DAY_OF(COALESCE(gaps.oldest_visible_at, gaps.detected_at))
    GROUP BY task_days.task_id, task_days.day
),

visits AS (
    SELECT
        runs.task_id,
        DAY_OF(COALESCE(runs.started_at, runs.created_at)) AS day,
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
    GROUP BY
        runs.task_id,
        DAY_OF(COALESCE(runs.started_at, runs.created_at)),
        logs.run_id,
        logs.node_id
),

node_days_of_runs AS (
    SELECT
        visits.task_id,
        COALESCE(visits.node_id, '(no node)') AS node,
        visits.day,
        COUNT(*) AS runs,
        SUM(CASE WHEN visits.warnings > 0 THEN 1 ELSE 0 END) AS runs_with_warning,
        SUM(CASE WHEN visits.errors > 0 THEN 1 ELSE 0 END) AS runs_with_error,
        SUM(visits.entries) AS all_entries,
        SUM(visits.warnings) AS all_warnings,
        SUM(visits.errors) AS all_errors,
        MIN(visits.first_seen) AS earliest,
        MAX(visits.last_seen) AS latest
    FROM visits
    GROUP BY visits.task_id, COALESCE(visits.node_id, '(no node)'), visits.day
),

node_days AS (
    SELECT
        parts.task_id,
        parts.node,
        parts.day,
        SUM(parts.runs) AS runs,
        SUM(parts.runs_with_warning) AS runs_with_warning,
        SUM(parts.runs_with_error) AS runs_with_error,
        SUM(parts.all_entries) AS all_entries,
        SUM(parts.all_warnings) AS all_warnings,
        SUM(parts.all_errors) AS all_errors,
        MIN(parts.earliest) AS earliest,
        MAX(parts.latest) AS latest
    FROM (
        SELECT
            node_days_of_runs.task_id,
            node_days_of_runs.node,
            node_days_of_runs.day,
            CAST(node_days_of_runs.runs AS BIGINT) AS runs,
            CAST(node_days_of_runs.runs_with_warning AS BIGINT) AS runs_with_warning,
            CAST(node_days_of_runs.runs_with_error AS BIGINT) AS runs_with_error,
            CAST(node_days_of_runs.all_entries AS BIGINT) AS all_entries,
            CAST(node_days_of_runs.all_warnings AS BIGINT) AS all_warnings,
            CAST(node_days_of_runs.all_errors AS BIGINT) AS all_errors,
            node_days_of_runs.earliest,
            node_days_of_runs.latest
        FROM node_days_of_runs
        UNION ALL
        SELECT
            history.task_id,
            history.node_id AS node,
            history.day,
            history.runs,
            history.runs_with_warning,
            history.runs_with_error,
            history.entries AS all_entries,
            history.warnings AS all_warnings,
            history.errors AS all_errors,
            history.first_seen AS earliest,
            history.last_seen AS latest
        FROM node_health_history AS history
        WHERE history.node_id IS NOT NULL
            AND history.first_started_at >= :since
            AND history.last_started_at < :until
    ) AS parts
    GROUP BY parts.task_id, parts.node, parts.day
),

quiet_nodes AS (
    SELECT node_days.task_id, node_days.node
    FROM node_days
    GROUP BY node_days.task_id, node_days.node
    HAVING SUM(node_days.all_entries) = SUM(node_days.all_warnings + node_days.all_errors)
),

shares AS (
    SELECT
        node_days.task_id,
        node_days.node,
        node_days.day,
        node_days.runs,
        node_days.runs_with_warning,
        node_days.runs_with_error,
        node_days.all_entries,
        node_days.all_warnings,
        node_days.all_errors,
        node_days.earliest,
        node_days.latest,
        CAST(quiet_nodes.node IS NOT NULL AS BOOLEAN) AS only_on_trouble,
        CAST(task_days.all_read = 1 AND gap_days.gaps IS NULL AS BOOLEAN) AS coverage_complete,
        task_days.runs_of_task,
        CAST(
            CASE WHEN quiet_nodes.node IS NULL THEN node_days.runs ELSE task_days.runs_of_task END
            AS DOUBLE
        ) AS n
    FROM node_days
    INNER JOIN task_days
        ON task_days.task_id = node_days.task_id AND task_days.day = node_days.day
    LEFT JOIN gap_days ON gap_days.task_id = node_days.task_id AND gap_days.day = node_days.day
    LEFT JOIN quiet_nodes
        ON quiet_nodes.task_id = node_days.task_id AND quiet_nodes.node = node_days.node
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
    rates.day,
    CAST(rates.runs AS BIGINT) AS runs,
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
