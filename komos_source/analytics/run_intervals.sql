-- run_intervals: how long it usually takes from the start of a task's run to that of the next.
--
-- One row per task that has a run.
--
--   runs               its runs, finished or not
--   median_seconds     half of the intervals between two runs are at most so long (nearest rank: an
--                      observed value), and
--   long_seconds       the third longest of them: of fewer than 30, the longest. Not a percentile:
--                      where many runs start at once, nearly all intervals are short
--   first_run_at       when the first and, in last_run_at, the last run started (UTC)
--   last_run_id        the last run
--   task_status        null where the task is not in the table of tasks
WITH starts AS (
    SELECT
        runs.task_id,
        runs.id AS run_id,
        COALESCE(runs.started_at, runs.created_at) AS moment,
        LAG(COALESCE(runs.started_at, runs.created_at)) OVER (
            PARTITION BY runs.task_id
            ORDER BY COALESCE(runs.started_at, runs.created_at), runs.id
        ) AS last_moment,
        ROW_NUMBER() OVER (
            PARTITION BY runs.task_id
            ORDER BY COALESCE(runs.started_at, runs.created_at) DESC, runs.id DESC
        ) AS newest_first
    FROM task_runs AS runs
    WHERE runs.task_id = :task_id
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

intervals AS (
    SELECT
        starts.task_id,
        DATE_DIFF('millisecond', starts.last_moment, starts.moment) AS milliseconds,
        ROW_NUMBER() OVER (
            PARTITION BY starts.task_id
            ORDER BY DATE_DIFF('millisecond', starts.last_moment, starts.moment)
        ) AS place,
        COUNT(*) OVER (PARTITION BY starts.task_id) AS all_intervals
    FROM starts
    WHERE starts.last_moment IS NOT NULL
),

usual AS (
    SELECT
        intervals.task_id,
        MIN(CASE WHEN intervals.place * 100 >= intervals.all_intervals * 50 THEN intervals.milliseconds END)
        / CAST(1000 AS DOUBLE) AS median_seconds,
        MIN(
            CASE
                WHEN intervals.place = intervals.all_intervals THEN intervals.milliseconds
                WHEN intervals.all_intervals >= 30 AND intervals.place = intervals.all_intervals - 2
                    THEN intervals.milliseconds
            END
        )
        / CAST(1000 AS DOUBLE) AS long_seconds
    FROM intervals
    GROUP BY intervals.task_id
),

totals AS (
    SELECT
        starts.task_id,
        COUNT(*) AS runs,
        MIN(starts.moment) AS first_run_at,
        MAX(starts.moment) AS last_run_at,
        MAX(CASE WHEN starts.newest_first = 1 THEN starts.run_id END) AS last_run_id
    FROM starts
    GROUP BY starts.task_id
)

SELECT
    totals.task_id,
    totals.runs,
    usual.median_seconds,
    usual.long_seconds,
    totals.first_run_at,
    totals.last_run_at,
    totals.last_run_id,
    tasks.status AS task_status,
    tasks.name AS task_name
FROM totals
LEFT JOIN usual ON usual.task_id = totals.task_id
LEFT JOIN tasks ON tasks.id = totals.task_id
