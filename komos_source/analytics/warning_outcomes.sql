-- warning_outcomes: in how many runs a warning came before anything had failed, and how those ended.
--
-- One row per task and warning template (see message_templates), over runs that failed or completed;
-- runs that somebody cancelled say nothing either way. A warning counts if it came before its run's
-- first error, by place in the log, or if the run wrote no error.
--
--   runs_with, failed_with   runs with that warning, and of them those that failed
--   runs, failed             all of the task's runs, and of them those that failed
--   example                  one of the warnings, as written
WITH ended_runs AS (
    SELECT
        runs.id AS run_id,
        runs.task_id,
        CASE WHEN runs.status = 'FAILED' THEN 1 ELSE 0 END AS has_failed
    FROM task_runs AS runs
    WHERE runs.status IN ('COMPLETED', 'FAILED')
        AND runs.task_id = :task_id
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

totals AS (
    SELECT ended_runs.task_id, COUNT(*) AS runs, SUM(ended_runs.has_failed) AS failed
    FROM ended_runs
    GROUP BY ended_runs.task_id
),

troubles AS (
    SELECT
        logs.run_id,
        logs.level,
        COALESCE(logs.message, '') AS message,
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
    WHERE logs.level IN ('warning', 'error')
),

first_errors AS (
    SELECT troubles.run_id, MIN(troubles.place) AS place
    FROM troubles
    WHERE troubles.level = 'error'
    GROUP BY troubles.run_id
),

runs_with_template AS (
    SELECT
        ended_runs.task_id,
        troubles.run_id,
        ended_runs.has_failed,
        MASKED(troubles.message) AS template,
        MIN(troubles.message) AS example
    FROM troubles
    INNER JOIN ended_runs ON ended_runs.run_id = troubles.run_id
    LEFT JOIN first_errors ON first_errors.run_id = troubles.run_id
    WHERE troubles.level = 'warning'
        AND (first_errors.place IS NULL OR troubles.place < first_errors.place)
    GROUP BY
        ended_runs.task_id, troubles.run_id, ended_runs.has_failed, MASKED(troubles.message)
)

SELECT
    totals.task_id,
    runs_with_template.template,
    COUNT(*) AS runs_with,
    CAST(SUM(runs_with_template.has_failed) AS BIGINT) AS failed_with,
    MAX(totals.runs) AS runs,
    CAST(MAX(totals.failed) AS BIGINT) AS failed,
    MIN(runs_with_template.example) AS example
FROM runs_with_template
INNER JOIN totals ON totals.task_id = runs_with_template.task_id
GROUP BY totals.task_id, runs_with_template.template
