-- message_templates: the messages of nodes, with the parts that vary from run to run masked.
--
-- One row per task, node, level and template, over finished runs. A template is the message after
-- the masks of macros.sql: 'Waited 812 ms for #price' becomes 'Waited <n> ms for <selector>'.
--
--   entries, runs    how many entries have it, and in how many runs
--   first_seen       when it was first and, in last_seen, last said (UTC; the run's start where the
--                    entry has no timestamp)
--   new_in_window    first seen in the last two days of the history, there and anywhere else, from a
--                    task that had run before
--   example          one of the messages, as written
--   masks_version    by which version of the masks
WITH history AS (
    SELECT MAX(COALESCE(runs.started_at, runs.created_at)) - INTERVAL :recent_days DAY AS recent
    FROM task_runs AS runs
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

task_starts AS (
    SELECT runs.task_id, MIN(COALESCE(runs.started_at, runs.created_at)) AS first_run_at
    FROM task_runs AS runs
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
    GROUP BY runs.task_id
),

entries AS (
    SELECT
        runs.task_id,
        logs.run_id,
        COALESCE(logs.node_id, '(no node)') AS node,
        logs.level,
        MASKED(COALESCE(logs.message, '')) AS template,
        logs.message,
        COALESCE(logs.timestamp, runs.started_at, runs.created_at) AS moment
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE logs.level IN (:levels)
        AND HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

templates AS (
    SELECT
        entries.task_id,
        entries.node,
        entries.level,
        entries.template,
        COUNT(*) AS entries,
        COUNT(DISTINCT entries.run_id) AS runs,
        MIN(entries.moment) AS first_seen,
        MAX(entries.moment) AS last_seen,
        MIN(entries.message) AS example
    FROM entries
    GROUP BY entries.task_id, entries.node, entries.level, entries.template
),

debuts AS (
    SELECT templates.template, MIN(templates.first_seen) AS first_seen
    FROM templates
    GROUP BY templates.template
)

SELECT
    templates.task_id,
    templates.node AS node_id,
    templates.level,
    templates.template,
    templates.entries,
    templates.runs,
    templates.first_seen,
    templates.last_seen,
    CAST(
        debuts.first_seen >= history.recent AND task_starts.first_run_at < history.recent
        AS BOOLEAN
    ) AS new_in_window,
    templates.example,
    MASKS_VERSION() AS masks_version
FROM templates
INNER JOIN task_starts ON task_starts.task_id = templates.task_id
INNER JOIN debuts ON debuts.template = templates.template
CROSS JOIN history
