-- api_values: which fields, levels, statuses and kinds of events the API has sent, and since when.
--
-- One row per kind and name. Undocumented fields of entries and runs are in their column extra; a
-- documented field is always there and is no row. A webhook of an unknown type is in
-- task_run_logs_rejected.
--
--   kind         'entry field', 'run field', 'level', 'run status', 'trigger type' or 'event type'
--   name         the name of the field, or the value; of an event type, the reason it was rejected
--   runs         in how many runs
--   first_seen   when the first and, in last_seen, the last of them started (UTC); of an event, when
--                it came
WITH shown_runs AS (
    SELECT
        runs.id,
        runs.status,
        runs.trigger_type,
        runs.extra,
        COALESCE(runs.started_at, runs.created_at) AS moment
    FROM task_runs AS runs
    WHERE COALESCE(runs.started_at, runs.created_at) >= :since
        AND COALESCE(runs.started_at, runs.created_at) < :until
),

levels AS (
    SELECT logs.run_id, COALESCE(logs.level, '(none)') AS name, shown_runs.moment
    FROM task_run_logs AS logs
    INNER JOIN shown_runs ON shown_runs.id = logs.run_id
    GROUP BY logs.run_id, COALESCE(logs.level, '(none)'), shown_runs.moment
),

entry_fields AS (
    SELECT logs.run_id, names.field AS name, shown_runs.moment
    FROM task_run_logs AS logs
    INNER JOIN shown_runs ON shown_runs.id = logs.run_id
    CROSS JOIN UNNEST(JSON_KEYS(logs.extra)) AS names(field)
    WHERE logs.extra IS NOT NULL
    GROUP BY logs.run_id, names.field, shown_runs.moment
),

run_fields AS (
    SELECT names.field AS name, shown_runs.moment
    FROM shown_runs
    CROSS JOIN UNNEST(JSON_KEYS(shown_runs.extra)) AS names(field)
    WHERE shown_runs.extra IS NOT NULL
),

found AS (
    SELECT 'level' AS kind, levels.name, levels.moment
    FROM levels
    UNION ALL
    SELECT 'entry field' AS kind, entry_fields.name, entry_fields.moment
    FROM entry_fields
    UNION ALL
    SELECT 'run field' AS kind, run_fields.name, run_fields.moment
    FROM run_fields
    UNION ALL
    SELECT 'run status' AS kind, shown_runs.status AS name, shown_runs.moment
    FROM shown_runs
    WHERE shown_runs.status IS NOT NULL
    UNION ALL
    SELECT 'trigger type' AS kind, shown_runs.trigger_type AS name, shown_runs.moment
    FROM shown_runs
    WHERE shown_runs.trigger_type IS NOT NULL
    UNION ALL
    SELECT 'event type' AS kind, rejected.reason AS name, rejected.seen_at AS moment
    FROM task_run_logs_rejected AS rejected
    WHERE rejected.reason LIKE 'a webhook %'
        AND rejected.seen_at >= :since
        AND rejected.seen_at < :until
)

SELECT
    found.kind,
    found.name,
    COUNT(*) AS runs,
    MIN(found.moment) AS first_seen,
    MAX(found.moment) AS last_seen
FROM found
GROUP BY found.kind, found.name
