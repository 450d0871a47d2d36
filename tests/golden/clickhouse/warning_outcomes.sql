WITH ended_runs AS (
  SELECT
    runs.id AS run_id,
    runs.task_id AS task_id,
    CASE WHEN runs.status = 'FAILED' THEN 1 ELSE 0 END AS has_failed
  FROM komos.task_runs AS runs
  WHERE
    runs.status IN ('COMPLETED', 'FAILED')
), totals AS (
  SELECT
    ended_runs.task_id AS task_id,
    COUNT(*) AS runs,
    SUM(ended_runs.has_failed) AS failed
  FROM ended_runs
  GROUP BY
    ended_runs.task_id
), troubles AS (
  SELECT
    logs.run_id AS run_id,
    logs.level AS level,
    COALESCE(logs.message, '') AS message,
    ROW_NUMBER() OVER (
      PARTITION BY logs.run_id
      ORDER BY CASE WHEN logs.position IS NULL THEN 1 ELSE 0 END, logs.position, logs.timestamp, logs.id
    ) AS place
  FROM komos.task_run_logs AS logs
  WHERE
    logs.level IN ('warning', 'error')
), first_errors AS (
  SELECT
    troubles.run_id AS run_id,
    MIN(troubles.place) AS place
  FROM troubles
  WHERE
    troubles.level = 'error'
  GROUP BY
    troubles.run_id
), runs_with_template AS (
  SELECT
    ended_runs.task_id AS task_id,
    troubles.run_id AS run_id,
    ended_runs.has_failed AS has_failed,
    replaceRegexpAll(
      replaceRegexpAll(
        replaceRegexpAll(
          replaceRegexpAll(
            replaceRegexpAll(
              replaceRegexpAll(
                replaceRegexpAll(
                  replaceRegexpAll(troubles.message, ':([0-9a-f]{10}|…[^] ]*)[]]', ']'),
                  '"[^"]*"|„[^“”]*[“”]|“[^”]*”|«[^»]*»|`[^`]*`',
                  '<text>'
                ),
                ' ''[^'']*''',
                ' <text>'
              ),
              '[a-z]+://[^ )>,;]+',
              '<url>'
            ),
            '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
            '<uuid>'
          ),
          '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?|[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?',
          '<time>'
        ),
        '//[a-zA-Z*][^ ]*|[a-zA-Z0-9*]*[[][^] ]*=[^]]*[]]|[a-zA-Z0-9]*#[a-zA-Z_][a-zA-Z0-9_-]*',
        '<selector>'
      ),
      '[0-9]+([.,][0-9]+)*',
      '<n>'
    ) AS template,
    MIN(troubles.message) AS example
  FROM troubles
  INNER JOIN ended_runs
    ON ended_runs.run_id = troubles.run_id
  LEFT JOIN first_errors
    ON first_errors.run_id = troubles.run_id
  WHERE
    troubles.level = 'warning'
    AND (
      first_errors.place IS NULL OR troubles.place < first_errors.place
    )
  GROUP BY
    ended_runs.task_id,
    troubles.run_id,
    ended_runs.has_failed,
    replaceRegexpAll(
      replaceRegexpAll(
        replaceRegexpAll(
          replaceRegexpAll(
            replaceRegexpAll(
              replaceRegexpAll(
                replaceRegexpAll(
                  replaceRegexpAll(troubles.message, ':([0-9a-f]{10}|…[^] ]*)[]]', ']'),
                  '"[^"]*"|„[^“”]*[“”]|“[^”]*”|«[^»]*»|`[^`]*`',
                  '<text>'
                ),
                ' ''[^'']*''',
                ' <text>'
              ),
              '[a-z]+://[^ )>,;]+',
              '<url>'
            ),
            '[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}',
            '<uuid>'
          ),
          '[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?|[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?',
          '<time>'
        ),
        '//[a-zA-Z*][^ ]*|[a-zA-Z0-9*]*[[][^] ]*=[^]]*[]]|[a-zA-Z0-9]*#[a-zA-Z_][a-zA-Z0-9_-]*',
        '<selector>'
      ),
      '[0-9]+([.,][0-9]+)*',
      '<n>'
    )
)
SELECT
  totals.task_id AS task_id,
  runs_with_template.template AS template,
  COUNT(*) AS runs_with,
  CAST(SUM(runs_with_template.has_failed) AS Nullable(Int64)) AS failed_with,
  MAX(totals.runs) AS runs,
  CAST(MAX(totals.failed) AS Nullable(Int64)) AS failed,
  MIN(runs_with_template.example) AS example
FROM runs_with_template
INNER JOIN totals
  ON totals.task_id = runs_with_template.task_id
GROUP BY
  totals.task_id,
  runs_with_template.template
SETTINGS join_use_nulls = 1
