WITH history AS (
  SELECT
    MAX(COALESCE(runs.started_at, runs.created_at)) - INTERVAL '2 DAY' AS recent
  FROM komos.task_runs AS runs
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
), task_starts AS (
  SELECT
    runs.task_id,
    MIN(COALESCE(runs.started_at, runs.created_at)) AS first_run_at
  FROM komos.task_runs AS runs
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
  GROUP BY
    runs.task_id
), entries AS (
  SELECT
    runs.task_id,
    logs.run_id,
    COALESCE(logs.node_id, '(no node)') AS node,
    logs.level,
    REGEXP_REPLACE(
      REGEXP_REPLACE(
        REGEXP_REPLACE(
          REGEXP_REPLACE(
            REGEXP_REPLACE(
              REGEXP_REPLACE(
                REGEXP_REPLACE(
                  REGEXP_REPLACE(COALESCE(logs.message, ''), ':([0-9a-f]{10}|…[^] ]*)[]]', ']', 'g'),
                  '"[^"]*"|„[^“”]*[“”]|“[^”]*”|«[^»]*»|`[^`]*`',
                  '<text>',
                  'g'
                ),
                ' ''[^'']*''',
                ' <text>',
                'g'
              ),
              '[a-z]+://[^ )>,;]+',
              '<url>',
              'g'
            ),
            '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
            '<uuid>',
            'g'
          ),
          '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?|[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?',
          '<time>',
          'g'
        ),
        '//[a-zA-Z*][^ ]*|[a-zA-Z0-9*]*[[][^] ]*=[^]]*[]]|[a-zA-Z0-9]*#[a-zA-Z_][a-zA-Z0-9_-]*',
        '<selector>',
        'g'
      ),
      '[0-9]+([.,][0-9]+)*',
      '<n>',
      'g'
    ) AS template,
    logs.message,
    COALESCE(logs.timestamp, runs.started_at, runs.created_at) AS moment,
    CASE WHEN TRUE THEN 1 ELSE 0 END AS is_shown
  FROM komos.task_run_logs AS logs
  INNER JOIN komos.task_runs AS runs
    ON runs.id = logs.run_id
  WHERE
    runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
), templates AS (
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
  GROUP BY
    entries.task_id,
    entries.node,
    entries.level,
    entries.template
), debuts AS (
  SELECT
    templates.level,
    templates.template,
    MIN(CASE WHEN templates.template <> '' THEN templates.debut END) AS first_seen
  FROM templates
  GROUP BY
    templates.level,
    templates.template
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
  CAST(CASE
    WHEN debuts.first_seen >= history.recent AND task_starts.first_run_at < history.recent
    THEN 1
    ELSE 0
  END = 1 AS BOOLEAN) AS new_in_window,
  templates.example,
  2 AS masks_version,
  tasks.name AS task_name,
  debuts.first_seen AS first_seen_anywhere,
  task_starts.first_run_at AS task_first_run_at
FROM templates
INNER JOIN task_starts
  ON task_starts.task_id = templates.task_id
INNER JOIN debuts
  ON debuts.level = templates.level AND debuts.template = templates.template
LEFT JOIN komos.tasks AS tasks
  ON tasks.id = templates.task_id
CROSS JOIN history
WHERE
  templates.all_entries > 0
