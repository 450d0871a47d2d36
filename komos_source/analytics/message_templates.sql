-- message_templates: the messages of nodes, with the parts that vary from run to run masked.
--
-- One row per task, node, level and template, over finished runs. A template is the message after
-- the masks of macros.sql: 'Waited 812 ms for #price' becomes 'Waited <n> ms for <selector>'.
--
--   task_id              the task
--   node_id              the node; '(no node)' for entries without one
--   level                level of the entries
--   template             the message with its varying parts masked
--   entries              entries with this template
--   runs                 runs that they are in
--   first_seen           when it was first written there (UTC; the start of the run where the entry
--                        has no timestamp)
--   last_seen            when it was last written there, likewise
--   new_in_window        first_seen_anywhere is :new_since or later, and task_first_run_at before
--                        it; :new_since is by default two days before the newest run
--   example              one of the messages, as written
--   masks_version        version of the masks
--   task_name            name of the task; null where it is not in the table of tasks
--   first_seen_anywhere  when the template was first written at that level in any task (UTC); null
--                        for the empty message, which is never new
--   task_first_run_at    when the task's first run started (UTC)
--
-- The last two refer to the whole history, also where :since leaves out earlier runs: so what is new
-- does not depend on the period that is shown.
WITH history AS (
    SELECT
        COALESCE(
            :new_since,
            MAX(COALESCE(runs.started_at, runs.created_at)) - INTERVAL :recent_days DAY
        ) AS recent
    FROM task_runs AS runs
    WHERE HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

task_starts AS (
    SELECT runs.task_id, MIN(COALESCE(runs.started_at, runs.created_at)) AS first_run_at
    FROM task_runs AS runs
    WHERE HAS_ENDED(runs.status)
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
        COALESCE(logs.timestamp, runs.started_at, runs.created_at) AS moment,
        CASE
            WHEN COALESCE(runs.started_at, runs.created_at) >= :since THEN 1
            ELSE 0
        END AS is_shown
    FROM task_run_logs AS logs
    INNER JOIN task_runs AS runs ON runs.id = logs.run_id
    WHERE logs.level IN (:levels)
        AND HAS_ENDED(runs.status)
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

templates AS (
    SELECT
        entries.task_id,
        entries.node,
        entries.level,
        entries.template,
        SUM(entries.is_shown) AS all_entries,
        COUNT(DISTINCT CASE WHEN entries.is_shown = 1 THEN entries.run_id END) AS runs,
        MIN(CASE WHEN entries.is_shown = 1 THEN entries.moment END) AS first_seen,
        MAX(CASE WHEN entries.is_shown = 1 THEN entries.moment END) AS last_seen,
        MIN(CASE WHEN entries.is_shown = 1 THEN entries.message END) AS example,
        MIN(entries.moment) AS debut
    FROM entries
    GROUP BY entries.task_id, entries.node, entries.level, entries.template
),

debuts AS (
    SELECT
        templates.level,
        templates.template,
        MIN(CASE WHEN templates.template <> '' THEN templates.debut END) AS first_seen
    FROM templates
    GROUP BY templates.level, templates.template
)

SELECT
    templates.task_id,
    templates.node AS node_id,
    templates.level,
    templates.template,
    CAST(templates.all_entries AS BIGINT) AS entries,
    templates.runs,
    templates.first_seen,
    templates.last_seen,
    CAST(
        CASE
            WHEN
                debuts.first_seen >= history.recent
                AND task_starts.first_run_at < history.recent
                THEN 1
            ELSE 0
        END = 1 AS BOOLEAN
    ) AS new_in_window,
    templates.example,
    MASKS_VERSION() AS masks_version,
    tasks.name AS task_name,
    debuts.first_seen AS first_seen_anywhere,
    task_starts.first_run_at AS task_first_run_at
FROM templates
INNER JOIN task_starts ON task_starts.task_id = templates.task_id
INNER JOIN debuts
    ON debuts.level = templates.level AND debuts.template = templates.template
LEFT JOIN tasks ON tasks.id = templates.task_id
CROSS JOIN history
WHERE templates.all_entries > 0
    AND templates.task_id = :task_id
    AND templates.node = :node_id
