-- newest_run: when the newest finished run began; null where there is none. "Recent" counts from it,
-- so that a database that was not loaded for a week is read as of its last load.
SELECT MAX(COALESCE(runs.started_at, runs.created_at)) AS newest
FROM task_runs AS runs
WHERE HAS_ENDED(runs.status)
    AND COALESCE(runs.started_at, runs.created_at) >= :since
    AND COALESCE(runs.started_at, runs.created_at) < :until
