-- run_outcomes: how each run ended, and where its first error came from.
--
-- One row per run, finished or not; a run that is known only by its log (loaded by id, so that the
-- API was not asked for the run itself) has no task and no status.
--
--   task_id               the task
--   run_id                the run
--   status                status of the run
--   trigger_type          what started it
--   created_at            when it was created (UTC)
--   started_at            when it started (UTC)
--   finished_at           when it ended (UTC); null before
--   duration_seconds      from started_at to finished_at; null while it runs
--   entries               its entries
--   warnings              of them, warnings
--   errors                of them, errors
--   entries_without_time  entries whose timestamp the API left out
--   first_error_at        when the first error was written, by place in the log (UTC); null where
--                         there was none
--   first_error_node      the node that wrote it; '(no node)' for none
--   first_error_message   its message
--   task_name             name of the task; null where it is not in the table of tasks
WITH volumes AS (
    SELECT
        logs.run_id,
        COUNT(*) AS entries,
        SUM(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
        SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS errors,
        SUM(CASE WHEN logs.timestamp IS NULL THEN 1 ELSE 0 END) AS entries_without_time,
        MIN(logs.timestamp) AS first_seen
    FROM task_run_logs AS logs
    WHERE logs.run_id = :run_id
    GROUP BY logs.run_id
),

-- Entries that came by webhook have no position until the run is polled: they are its newest.
errors_in_order AS (
    SELECT
        logs.run_id,
        logs.timestamp AS moment,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.message,
        ROW_NUMBER() OVER (
            PARTITION BY logs.run_id
            ORDER BY
                CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END,
                logs.position,
                logs.timestamp,
                logs.id
        ) AS place
    FROM task_run_logs AS logs
    WHERE logs.level = 'error'
        AND logs.run_id = :run_id
)

SELECT
    runs.task_id,
    COALESCE(runs.id, volumes.run_id) AS run_id,
    runs.status,
    runs.trigger_type,
    runs.created_at,
    runs.started_at,
    runs.finished_at,
    DATE_DIFF('millisecond', runs.started_at, runs.finished_at) / CAST(1000 AS DOUBLE)
        AS duration_seconds,
    CAST(COALESCE(volumes.entries, 0) AS BIGINT) AS entries,
    CAST(COALESCE(volumes.warnings, 0) AS BIGINT) AS warnings,
    CAST(COALESCE(volumes.errors, 0) AS BIGINT) AS errors,
    CAST(COALESCE(volumes.entries_without_time, 0) AS BIGINT) AS entries_without_time,
    first_error.moment AS first_error_at,
    first_error.node AS first_error_node,
    first_error.message AS first_error_message,
    tasks.name AS task_name
FROM task_runs AS runs
FULL JOIN volumes ON volumes.run_id = runs.id
LEFT JOIN tasks ON tasks.id = runs.task_id
LEFT JOIN errors_in_order AS first_error
    ON first_error.run_id = volumes.run_id AND first_error.place = 1
WHERE COALESCE(runs.started_at, runs.created_at, volumes.first_seen) >= :since
    AND COALESCE(runs.started_at, runs.created_at, volumes.first_seen) < :until
    AND runs.task_id = :task_id
    AND COALESCE(runs.id, volumes.run_id) = :run_id
