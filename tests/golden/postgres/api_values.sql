WITH shown_runs AS (
  SELECT
    runs.id,
    runs.status,
    runs.trigger_type,
    runs.extra,
    COALESCE(runs.started_at, runs.created_at) AS moment
  FROM komos.task_runs AS runs
  WHERE
    TRUE
), levels AS (
  SELECT
    logs.run_id,
    COALESCE(logs.level, '(none)') AS name,
    shown_runs.moment
  FROM komos.task_run_logs AS logs
  INNER JOIN shown_runs
    ON shown_runs.id = logs.run_id
  GROUP BY
    logs.run_id,
    COALESCE(logs.level, '(none)'),
    shown_runs.moment
), entry_fields AS (
  SELECT
    logs.run_id,
    names.field AS name,
    shown_runs.moment
  FROM komos.task_run_logs AS logs
  INNER JOIN shown_runs
    ON shown_runs.id = logs.run_id
  CROSS JOIN JSONB_OBJECT_KEYS(CAST(logs.extra AS JSONB)) AS names(field)
  WHERE
    NOT logs.extra IS NULL
  GROUP BY
    logs.run_id,
    names.field,
    shown_runs.moment
), run_fields AS (
  SELECT
    names.field AS name,
    shown_runs.moment
  FROM shown_runs
  CROSS JOIN JSONB_OBJECT_KEYS(CAST(shown_runs.extra AS JSONB)) AS names(field)
  WHERE
    NOT shown_runs.extra IS NULL
), found AS (
  SELECT
    'level' AS kind,
    levels.name,
    levels.moment
  FROM levels
  UNION ALL
  SELECT
    'entry field' AS kind,
    entry_fields.name,
    entry_fields.moment
  FROM entry_fields
  UNION ALL
  SELECT
    'run field' AS kind,
    run_fields.name,
    run_fields.moment
  FROM run_fields
  UNION ALL
  SELECT
    'run status' AS kind,
    shown_runs.status AS name,
    shown_runs.moment
  FROM shown_runs
  WHERE
    NOT shown_runs.status IS NULL
  UNION ALL
  SELECT
    'trigger type' AS kind,
    shown_runs.trigger_type AS name,
    shown_runs.moment
  FROM shown_runs
  WHERE
    NOT shown_runs.trigger_type IS NULL
  UNION ALL
  SELECT
    'event type' AS kind,
    rejected.reason AS name,
    rejected.seen_at AS moment
  FROM komos.task_run_logs_rejected AS rejected
  WHERE
    rejected.reason LIKE 'a webhook %'
)
SELECT
  found.kind,
  found.name,
  COUNT(*) AS runs,
  MIN(found.moment) AS first_seen,
  MAX(found.moment) AS last_seen
FROM found
GROUP BY
  found.kind,
  found.name
