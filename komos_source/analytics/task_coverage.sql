-- task_coverage: how many runs of a task are known, and what of them may be missing.
--
-- One row per task.
--
--   runs               runs that began in the period; of them finished_runs have ended, and
--                      failed_runs and cancelled_runs ended so
--   unread_runs        runs whose log has not been read to its end: still growing, or not fetched
--   window_gaps        times when runs may have slipped by between two loads
--   rejected_entries   entries that could not be rows (in task_run_logs_rejected)
--   first_run_at       when the first and, in last_run_at, the last of them began (UTC)
--   last_checked_at    when one of their logs was last read
WITH rejected AS (
    SELECT task_run_logs_rejected.run_id, COUNT(*) AS entries
    FROM task_run_logs_rejected
    GROUP BY task_run_logs_rejected.run_id
),

task_gaps AS (
    SELECT gaps.task_id, COUNT(*) AS gaps
    FROM task_run_window_gaps AS gaps
    WHERE COALESCE(gaps.oldest_visible_at, gaps.detected_at) >= :since
        AND COALESCE(gaps.newest_known_at, gaps.detected_at) < :until
    GROUP BY gaps.task_id
),

totals AS (
    SELECT
        runs.task_id,
        COUNT(*) AS runs,
        SUM(CASE WHEN HAS_ENDED(runs.status) THEN 1 ELSE 0 END) AS finished_runs,
        SUM(CASE WHEN runs.status = 'FAILED' THEN 1 ELSE 0 END) AS failed_runs,
        SUM(CASE WHEN runs.status = 'CANCELLED' THEN 1 ELSE 0 END) AS cancelled_runs,
        SUM(CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 0 ELSE 1 END) AS unread_runs,
        SUM(COALESCE(rejected.entries, 0)) AS rejected_entries,
        MIN(COALESCE(runs.started_at, runs.created_at)) AS first_run_at,
        MAX(COALESCE(runs.started_at, runs.created_at)) AS last_run_at,
        MAX(loads.checked_at) AS last_checked_at
    FROM task_runs AS runs
    LEFT JOIN task_run_log_loads AS loads ON loads.run_id = runs.id
    LEFT JOIN rejected ON rejected.run_id = runs.id
    WHERE COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id
)

SELECT
    totals.task_id,
    totals.runs,
    CAST(totals.finished_runs AS BIGINT) AS finished_runs,
    CAST(totals.failed_runs AS BIGINT) AS failed_runs,
    CAST(totals.cancelled_runs AS BIGINT) AS cancelled_runs,
    CAST(totals.unread_runs AS BIGINT) AS unread_runs,
    COALESCE(task_gaps.gaps, 0) AS window_gaps,
    CAST(totals.rejected_entries AS BIGINT) AS rejected_entries,
    totals.first_run_at,
    totals.last_run_at,
    totals.last_checked_at,
    tasks.name AS task_name
FROM totals
LEFT JOIN task_gaps ON task_gaps.task_id = totals.task_id
LEFT JOIN tasks ON tasks.id = totals.task_id
WHERE totals.task_id = :task_id
