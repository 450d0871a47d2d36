"""Finds warnings that precede failures more often than chance explains."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from komos_source.analytics import statistics
from komos_source.analytics.database import SqlSource
from komos_source.analytics.queries import query

_COLUMNS = [
    *("task_id", "template"),
    *("runs_with", "failed_with", "runs_without", "failed_without"),
    *("odds_ratio", "odds_ratio_low", "odds_ratio_high"),
    *("p_value", "p_adjusted"),
    "example",
]


def failure_precursors(
    source: SqlSource,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    minimum_support: int = 5,
) -> pd.DataFrame:
    """Tests which warning templates, before a run's first error, are associated with FAILED runs.

    For each task and template, runs are counted in a table of two by two: with the warning or
    without, failed or completed. Cancelled runs are left out. An association need not be a cause.

    Args:
        source: What `open_database` returns, a dlt pipeline, or anything else with its
            ``sql_client()``.
        since: Leaves out runs that started before.
        until: Leaves out runs that started at this time or later.
        minimum_support: Leaves out templates in fewer runs than this, which prove nothing.

    Returns:
        A row per task and template, in the order of their p-values: the four counts, the odds ratio
        with its 95 % interval, Fisher's one-sided p-value of the association, and that value
        adjusted for the number of templates (Benjamini–Hochberg), which is significant up to 0.05.
    """
    found = query(source, "warning_outcomes", since=since, until=until)
    found = found[found["runs_with"] >= minimum_support]
    if found.empty:
        return pd.DataFrame(columns=_COLUMNS)
    found["runs_without"] = found["runs"] - found["runs_with"]
    found["failed_without"] = found["failed"] - found["failed_with"]
    cells = [
        found[name].to_numpy()
        for name in ("failed_with", "runs_with", "failed_without", "runs_without")
    ]
    found["odds_ratio"], found["odds_ratio_low"], found["odds_ratio_high"] = statistics.odds_ratio(
        *cells
    )
    found["p_value"] = statistics.fisher_greater(*cells)
    found["p_adjusted"] = statistics.benjamini_hochberg(found["p_value"].to_numpy())
    found = found.sort_values(["p_value", "odds_ratio_low"], ascending=[True, False])
    return found[_COLUMNS].reset_index(drop=True)
