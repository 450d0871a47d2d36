"""SQL of `komos prune`, in what DuckDB and Postgres have in common. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from komos_source import settings
from komos_source.loading.statement import Qualified, Statement
from komos_source.tables import NODE_HEALTH_HISTORY, PRUNED_RUNS

_ENDED = ", ".join(f"'{status}'" for status in sorted(settings.TERMINAL_STATUSES))
_GOES_ON = ", ".join(f"'{status}'" for status in sorted(settings.OTHER_STATUSES))


@dataclass(frozen=True, slots=True)
class PruneChoice:
    """Which runs are pruned.

    Attributes:
        ended_before: Those that ended before this time.
        task_ids: Only those of these tasks; None for all.
        keep_failed: But those that failed.
        keep_errors: But those with an entry of the level ``error``.
    """

    ended_before: datetime
    task_ids: Sequence[str] | None = None
    keep_failed: bool = False
    keep_errors: bool = False


@dataclass(frozen=True, slots=True)
class BatchStatements:
    """The statements that prune one batch of runs, in their order, within one transaction.

    Attributes:
        note_runs: Chooses the runs, and notes them in ``pruned_runs``.
        count: Counts them and their entries.
        add_history: Adds the daily rates of their nodes to ``node_health_history``.
        delete: Delete their rows.
    """

    note_runs: Statement
    count: Statement
    add_history: Statement
    delete: Sequence[Statement]


def count_runs(choice: PruneChoice, qualified: Qualified) -> Statement:
    """Counts the runs to be pruned and their entries."""
    runs = _runs_to_prune(choice, qualified)
    logs = qualified("task_run_logs")
    return Statement(
        f"WITH runs AS ({runs.sql}) SELECT (SELECT COUNT(*) FROM runs), "  # noqa: S608 - constant names, values are parameters
        f"(SELECT COUNT(*) FROM {logs} WHERE run_id IN (SELECT run_id FROM runs))",
        runs.parameters,
    )


def prune_batch(
    choice: PruneChoice, moment: datetime, zone: str, qualified: Qualified
) -> BatchStatements:
    """The statements that prune the next batch.

    Args:
        choice: Which runs are pruned.
        moment: When; it marks the batch.
        zone: IANA name of the time zone that days are counted in.
        qualified: Returns the qualified name of a table.
    """
    pruned = qualified(PRUNED_RUNS.name)
    in_batch = f"(SELECT run_id FROM {pruned} WHERE pruned_at = %s)"  # noqa: S608 - constant names, values are parameters
    columns = (
        ("task_run_logs", "run_id"),
        ("task_run_logs_rejected", "run_id"),
        ("task_run_log_loads", "run_id"),
        ("task_runs", "id"),
    )
    return BatchStatements(
        _note_runs(choice, moment, qualified),
        Statement(
            f"SELECT COUNT(*), (SELECT COUNT(*) FROM {qualified('task_run_logs')} "  # noqa: S608 - constant names, values are parameters
            f"WHERE run_id IN {in_batch}) FROM {pruned} WHERE pruned_at = %s",
            (moment, moment),
        ),
        _add_history(moment, zone, qualified),
        [
            Statement(f"DELETE FROM {qualified(table)} WHERE {column} IN {in_batch}", (moment,))  # noqa: S608 - constant names, values are parameters
            for table, column in columns
        ],
    )


def _runs_to_prune(choice: PruneChoice, qualified: Qualified) -> Statement:
    """All runs to be pruned.

    A run without a row in ``task_runs`` (loaded by its id) counts as ended with its last entry.
    """
    runs, loads = qualified("task_runs"), qualified("task_run_log_loads")
    # A run that has ended before it was created, such as in 1970, has an end that means nothing.
    parameters: list[Any] = [choice.ended_before, choice.ended_before]
    conditions = [
        f"(runs.status IN ({_ENDED}) OR "
        f"(runs.finished_at IS NOT NULL AND COALESCE(runs.status, '') NOT IN ({_GOES_ON})))",
        "COALESCE(runs.finished_at, runs.started_at, runs.created_at) < %s",
        "COALESCE(runs.created_at, runs.started_at, runs.finished_at) < %s",
    ]
    if choice.task_ids is not None:
        conditions.append(f"runs.task_id IN ({', '.join(['%s'] * len(choice.task_ids))})")
        parameters += choice.task_ids
    if choice.keep_failed:
        conditions.append("COALESCE(runs.status, '') <> 'FAILED'")
    without_errors = "TRUE"
    if choice.keep_errors:
        logs = qualified("task_run_logs")
        without_errors = (
            "NOT EXISTS (SELECT 1 FROM {logs} AS logs "
            "WHERE logs.level = 'error' AND logs.run_id = {run})"
        ).replace("{logs}", logs)
    by_runs = (
        "SELECT runs.id AS run_id, runs.task_id, runs.created_at, "  # noqa: S608 - constant names, values are parameters
        "COALESCE(runs.finished_at, runs.started_at, runs.created_at) AS ended_at, "
        "COALESCE(runs.started_at, runs.created_at) AS began, "
        "COALESCE(loads.entries, 0) AS entries, runs.place FROM (SELECT each_run.*, "
        "RANK() OVER (PARTITION BY each_run.task_id ORDER BY each_run.created_at DESC) AS place "
        f"FROM {runs} AS each_run) AS runs "
        f"LEFT JOIN {loads} AS loads ON loads.run_id = runs.id "
        f"WHERE {' AND '.join(conditions)} AND {without_errors.replace('{run}', 'runs.id')}"
    )
    if choice.task_ids is not None:
        return Statement(by_runs, parameters)
    by_logs = (
        "SELECT loads.run_id, NULL, NULL, loads.last_timestamp, loads.last_timestamp, "  # noqa: S608 - constant names, values are parameters
        f"COALESCE(loads.entries, 0), 1 FROM {loads} AS loads "
        f"WHERE loads.last_timestamp < %s AND NOT EXISTS (SELECT 1 FROM {runs} AS runs "
        f"WHERE runs.id = loads.run_id) AND {without_errors.replace('{run}', 'loads.run_id')}"
    )
    return Statement(f"{by_runs} UNION ALL {by_logs}", [*parameters, choice.ended_before])


def _note_runs(choice: PruneChoice, moment: datetime, qualified: Qualified) -> Statement:
    """Notes the oldest of the runs, up to a number of them and of their entries."""
    runs = _runs_to_prune(choice, qualified)
    return Statement(
        f"INSERT INTO {qualified(PRUNED_RUNS.name)} "  # noqa: S608 - constant names, values are parameters
        "(run_id, task_id, created_at, ended_at, may_be_listed, pruned_at) "
        "SELECT run_id, task_id, created_at, ended_at, place <= %s, %s FROM (SELECT runs.*, "
        "ROW_NUMBER() OVER (ORDER BY began, run_id) AS number, SUM(entries) OVER "
        "(ORDER BY began, run_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS earlier "
        f"FROM ({runs.sql}) AS runs) AS numbered "
        "WHERE number <= %s AND COALESCE(earlier, 0) < %s",
        (
            settings.RUNS_WINDOW,
            moment,
            *runs.parameters,
            settings.PRUNED_RUNS_AT_ONCE,
            settings.PRUNED_ENTRIES_AT_ONCE,
        ),
    )


def _add_history(moment: datetime, zone: str, qualified: Qualified) -> Statement:
    """Adds the rates as ``node_health_daily`` has them.

    Not those of a run that was pruned before: a pipeline of one's own may have loaded it again.
    """
    pruned = qualified(PRUNED_RUNS.name)
    return Statement(
        f"""
        INSERT INTO {qualified(NODE_HEALTH_HISTORY.name)} (
            task_id, day, node_id, runs, runs_with_warning, runs_with_error, entries, warnings,
            errors, first_seen, last_seen, first_started_at, last_started_at, all_read, pruned_at
        )
        WITH runs AS (
            SELECT
                each_run.id,
                each_run.task_id,
                COALESCE(each_run.started_at, each_run.created_at) AS began,
                CAST(
                    COALESCE(each_run.started_at, each_run.created_at) AT TIME ZONE %s AS DATE
                ) AS day,
                CASE WHEN each_run.status IN ({_ENDED}) THEN 1 ELSE 0 END AS is_counted,
                CASE WHEN loads.settled AND loads.outcome = 'ok' THEN 1 ELSE 0 END AS is_read
            FROM {qualified("task_runs")} AS each_run
            LEFT JOIN {qualified("task_run_log_loads")} AS loads ON loads.run_id = each_run.id
            WHERE each_run.id IN (SELECT run_id FROM {pruned} WHERE pruned_at = %s)
                AND each_run.id NOT IN (SELECT run_id FROM {pruned} WHERE pruned_at < %s)
        ),
        visits AS (
            SELECT
                runs.task_id,
                runs.day,
                runs.began,
                logs.run_id,
                COALESCE(logs.node_id, '(no node)') AS node,
                COUNT(*) AS entries,
                SUM(CASE WHEN logs.level = 'warning' THEN 1 ELSE 0 END) AS warnings,
                SUM(CASE WHEN logs.level = 'error' THEN 1 ELSE 0 END) AS errors,
                MIN(logs.timestamp) AS first_seen,
                MAX(logs.timestamp) AS last_seen
            FROM {qualified("task_run_logs")} AS logs
            INNER JOIN runs ON runs.id = logs.run_id
            WHERE runs.is_counted = 1
            GROUP BY runs.task_id, runs.day, runs.began, logs.run_id,
                COALESCE(logs.node_id, '(no node)')
        )
        SELECT
            runs.task_id, runs.day, NULL, SUM(runs.is_counted), 0, 0, 0, 0, 0,
            CAST(NULL AS timestamptz), CAST(NULL AS timestamptz),
            MIN(runs.began), MAX(runs.began), MIN(runs.is_read), CAST(%s AS timestamptz)
        FROM runs
        GROUP BY runs.task_id, runs.day
        UNION ALL
        SELECT
            visits.task_id, visits.day, visits.node, COUNT(*),
            SUM(CASE WHEN visits.warnings > 0 THEN 1 ELSE 0 END),
            SUM(CASE WHEN visits.errors > 0 THEN 1 ELSE 0 END),
            SUM(visits.entries), SUM(visits.warnings), SUM(visits.errors),
            MIN(visits.first_seen), MAX(visits.last_seen), MIN(visits.began), MAX(visits.began),
            1, CAST(%s AS timestamptz)
        FROM visits
        GROUP BY visits.task_id, visits.day, visits.node
        """,  # noqa: S608 - constant names, values are parameters
        (zone, moment, moment, moment, moment),
    )
