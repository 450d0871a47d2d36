-- task_daily: how much a task did on each day, and how long its runs took.
--
-- One row per task and day on which a run started, in the time zone SOURCES__KOMOS__TIME_ZONE names
-- (UTC by default). A run counts on the day it started, with all its entries.
--
--   runs               runs that started, finished or not
--   entries            what they wrote
--   timed_runs         of them, runs that were completed and have both times
--   median_seconds     half of those took at most so long (nearest rank: an observed value); null
--                      where there are none
WITH volumes AS (
    SELECT logs.run_id, COUNT(*) AS entries
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE runs.task_id = :task_id
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY logs.run_id
),

counts AS (
    SELECT
        runs.task_id,
        DAY_OF(COALESCE(runs.started_at, runs.created_at)) AS day,
        COUNT(*) AS runs,
        SUM(COALESCE(volumes.entries, 0)) AS entries
    FROM task_runs AS runs
    LEFT JOIN volumes ON volumes.run_id = runs.id
    WHERE runs.task_id = :task_id
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id, DAY_OF(COALESCE(runs.started_at, runs.created_at))
),

durations AS (
    SELECT
        runs.task_id,
        DAY_OF(COALESCE(runs.started_at, runs.created_at)) AS day,
        DATE_DIFF('millisecond', runs.started_at, runs.finished_at) AS milliseconds
    FROM task_runs AS runs
    WHERE runs.status = 'COMPLETED'
        AND runs.started_at IS NOT NULL
        AND runs.finished_at IS NOT NULL
        AND runs.task_id = :task_id
        AND runs.started_at >= :since
        AND runs.started_at < :until
),

ranked AS (
    SELECT
        durations.task_id,
        durations.day,
        durations.milliseconds,
        ROW_NUMBER() OVER (
            PARTITION BY durations.task_id, durations.day ORDER BY durations.milliseconds
        ) AS place,
        COUNT(*) OVER (PARTITION BY durations.task_id, durations.day) AS timed_runs
    FROM durations
),

medians AS (
    SELECT
        ranked.task_id,
        ranked.day,
        MAX(ranked.timed_runs) AS timed_runs,
        MIN(CASE WHEN ranked.place * 2 >= ranked.timed_runs THEN ranked.milliseconds END)
        / CAST(1000 AS DOUBLE) AS median_seconds
    FROM ranked
    GROUP BY ranked.task_id, ranked.day
)

SELECT
    counts.task_id,
    counts.day,
    counts.runs,
    CAST(counts.entries AS BIGINT) AS entries,
    CAST(COALESCE(medians.timed_runs, 0) AS BIGINT) AS timed_runs,
    medians.median_seconds,
    tasks.status AS task_status,
    tasks.name AS task_name
FROM counts
LEFT JOIN medians ON medians.task_id = counts.task_id AND medians.day = counts.day
LEFT JOIN tasks ON tasks.id = counts.task_id
