SELECT
  MAX(COALESCE(runs.started_at, runs.created_at)) AS newest,
  MIN(COALESCE(runs.started_at, runs.created_at)) AS oldest
FROM komos.task_runs AS runs
WHERE
  runs.status IN ('COMPLETED', 'FAILED', 'CANCELLED')
