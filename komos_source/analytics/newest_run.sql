-- newest_run: when the newest finished run began, and in oldest the first one; null where there is
-- none. "Recent" counts from the newest, so that a database that was not loaded for a week is read as
-- of its last load.
SELECT
    MAX(COALESCE(runs.started_at, runs.created_at)) AS newest,
    MIN(COALESCE(runs.started_at, runs.created_at)) AS oldest
FROM task_runs AS runs
WHERE HAS_ENDED(runs.status)
    AND COALESCE(runs.started_at, runs.created_at) >= :since
    AND COALESCE(runs.started_at, runs.created_at) < :until
