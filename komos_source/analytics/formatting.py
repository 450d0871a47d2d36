"""Numbers, days and findings as text, for the report and the notebooks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from komos_source.analytics.checks.result import CheckResult

_STALE = timedelta(days=2)
_Z_SQUARED = 3.841458820694124
"""As in ``macros.sql``, for Wilson's 95 % interval."""
_SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """A share in percent: one decimal below 10 %, unless it is zero."""
    hundredths = 100 * share
    exact = hundredths >= 9.95 or abs(hundredths - round(hundredths)) < 0.05  # noqa: PLR2004 - decimals
    return f"{hundredths:.{0 if exact else 1}f}{_SPACE}%"


def wilson_bounds(hits: float, runs: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, as in ``macros.sql``."""
    share, k = hits / runs, _Z_SQUARED / runs
    spread = (k * share * (1 - share) + k * k / 4) ** 0.5
    return (share + k / 2 - spread) / (1 + k), min(1.0, (share + k / 2 + spread) / (1 + k))


def number(count: float) -> str:
    """A count with separators between thousands."""
    return f"{count:,.0f}"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: 1 node, 2 nodes."""
    return f"{number(count)}{_SPACE}{one if count == 1 else many or one + 's'}"


def short_day(day: date) -> str:
    """A day without its year: 12 Oct."""
    return f"{day.day}{_SPACE}{day:%b}"


def long_day(day: date) -> str:
    """A day in full: 12 October 2025."""
    return f"{day.day} {day:%B %Y}"


def timestamp(value: datetime | None, zone: str) -> str:
    """A timestamp in a time zone, to the second; a dash for none."""
    if value is None or pd.isna(value):
        return "–"
    return f"{pd.Timestamp(value).tz_convert(zone):%Y-%m-%d %H:%M:%S}"


def chance(p_value: float) -> str:
    """A p-value, rounded."""
    if pd.isna(p_value):
        return "–"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"  # noqa: PLR2004 - decimals


def change(row: pd.Series, level: str) -> str:
    """A row of `node_regressions` in words."""
    has = f"of runs with {'an error' if level == 'error' else 'a warning'}"
    if not row["recent_runs"]:
        return f"{percent(row['baseline_rate'])} {has}; not visited in the last days"
    recent = percent(row["recent_rate"])
    if not row["baseline_runs"]:
        return f"{recent} {has}; not visited before"
    since = f", since {short_day(row['changed_on'])}" if pd.notna(row["changed_on"]) else ""
    before = percent(row["baseline_rate"])
    return f"{before if before == recent else f'{before} → {recent}'} {has}{since}"


def age_of_data(newest: datetime, read_at: datetime) -> str:
    """What has to be said before everything else if the data ends days ago; else nothing."""
    if read_at - newest <= _STALE:
        return ""
    ago = counted((read_at - newest).days, "day")
    day = long_day(newest.astimezone(read_at.tzinfo))
    return f"The data ends {ago} ago: the newest run started on {day}. All below is as of that day."


def first_day_note(days: int, asked: int) -> str:
    """What to say of a period that is shorter than asked for; else nothing."""
    return f"no older run is loaded: {days} of {asked} days" if days < asked else ""


def new_since_words(new_since: datetime | None) -> str:
    """Since when messages are new."""
    return "in the last 2 days" if new_since is None else f"since {new_since:%Y-%m-%d %H:%M}"


def was_comparable(changes: pd.DataFrame) -> pd.Series:
    """Which rows of `node_regressions` are of tasks that have runs in the days before, too.

    A node of another task is neither new nor unchanged: nothing is known of those days.
    """
    return changes.groupby("task_id")["baseline_runs"].transform("sum") > 0


def headline(errors: pd.DataFrame) -> str:
    """The first sentence of the page: which node regressed, if any."""
    compared = errors[was_comparable(errors)]
    if len(errors) and compared.empty:
        return "There is nothing to compare the last 2 days with: no earlier run is loaded"
    regressed = errors[errors["state"] == "regressed"]
    if len(regressed):
        first = regressed.iloc[0]
        more = f", and {counted(len(regressed) - 1, 'more node')}" if len(regressed) > 1 else ""
        return (
            f"{first['node_id']} fails in {percent(first['recent_rate'])} of its runs, up from "
            f"{percent(first['baseline_rate'])}, since about {short_day(first['changed_on'])}{more}"
        )
    bursts = int((errors["state"] == "incident").sum())
    if bursts:
        has = counted(bursts, "node has an incident", "nodes have incidents")
        return f"{has}; none fails more than it did for more than a day"
    new = compared[compared["state"] == "new"]
    if len(new):
        has = counted(len(new), "new node has", "new nodes have")
        return f"{has} errors; no known one got worse"
    return "No node fails more than it did, beyond what chance explains"


def changes_title(changes: pd.DataFrame, level: str) -> str:
    """Title of the changes: how many nodes changed."""
    compared = changes[was_comparable(changes)]
    if len(changes) and compared.empty:
        return f"Nodes with {level}s cannot be compared yet"
    counts = {
        f"{state} with {level}s": int((compared["state"] == state).sum())
        for state in ("regressed", "new", "incident", "resolved")
    }
    found = [f"{number(count)} {what}" for what, count in counts.items() if count]
    watched = int(compared["watch"].sum())
    watch = f"{number(watched)} on watch, which may be chance" if watched else ""
    if not found:
        calm = f"No node has {level}s more often or more rarely than before, beyond chance"
        return "; ".join(filter(None, [calm, watch]))
    return f"Nodes that changed: {'; '.join(filter(None, [', '.join(found), watch]))}"


def incidents_title(incidents: pd.DataFrame) -> str:
    """Title of the incidents: how many there are, and how many of them are open."""
    still_open = int(incidents["open"].sum())
    found = counted(len(incidents), "incident")
    return f"{found} in the last 2 days, {number(still_open) if still_open else 'none'} still open"


def ranking_title(ranked: pd.DataFrame, level: str) -> str:
    """Title of the ranking: its first row."""
    many = "errors" if level == "error" else "warnings"
    hit = ranked[ranked[f"runs_with_{level}"] > 0]
    if hit.empty:
        return f"No run had {many}"
    first = hit.iloc[0]
    return (
        f"{first['node_id']} leads: {many} in {percent(first[f'{level}_rate'])} of the runs that "
        f"visited it (95 % interval: {percent(first[f'{level}_rate_low'])} to "
        f"{percent(first[f'{level}_rate_high'])})"
    )


def heat_title(hits: pd.DataFrame, level: str) -> str:
    """Title of the heatmap: its worst day, by the lower bound of its share as nodes are ranked."""
    many = "errors" if level == "error" else "warnings"
    by_day = hits.groupby("day", as_index=False)[["runs", "hits"]].sum()
    if not by_day["hits"].sum():
        return f"No {many} on any day"
    share, k = by_day["hits"] / by_day["runs"], _Z_SQUARED / by_day["runs"]
    low = (share + k / 2 - (k * share * (1 - share) + k * k / 4) ** 0.5) / (1 + k)
    worst = by_day.iloc[int(low.argmax())]
    return (
        f"{many.capitalize()} were most frequent on {long_day(worst['day'])}: in "
        f"{percent(worst['hits'] / worst['runs'])} of {counted(worst['runs'], 'visit')}"
    )


def templates_title(templates: pd.DataFrame) -> str:
    """Title of the message templates: the first new one."""
    if templates.empty:
        return "No warnings, no errors"
    new = templates[templates["new_in_window"]]
    if len(new):
        first = new.iloc[0]
        more = f" and {len(new) - 1} more" if len(new) > 1 else ""
        return f"New: “{first['template']}” at {first['node_id']}{more}"
    return f"{counted(len(templates), 'message')}, none of them new"


def precursors_title(precursors: pd.DataFrame) -> str:
    """Title of the failure precursors: the most significant one."""
    sure = precursors[precursors["p_adjusted"] <= 0.05]  # noqa: PLR2004 - as node_regressions' alpha
    if sure.empty:
        return "No warning precedes failed runs more often than chance explains"
    first = sure.iloc[0]
    return (
        f"After “{first['template']}” {percent(first['failed_with'] / first['runs_with'])} of runs "
        f"fail, without it {percent(first['failed_without'] / max(1, first['runs_without']))}"
    )


def coverage_title(coverage: pd.DataFrame) -> str:
    """Title of the coverage: whether data may be missing."""
    notes = [
        counted(int(coverage[column].sum()), *words)
        for column, *words in (
            ("unread_runs", "run not read to its end", "runs not read to their end"),
            ("window_gaps", "gap between loads", "gaps between loads"),
            ("rejected_entries", "rejected entry", "rejected entries"),
        )
        if coverage[column].sum()
    ]
    return (
        "; ".join(notes) if notes else "Everything the API showed of tasks that run has been read"
    )


def tasks_title(results: Sequence[CheckResult]) -> str:
    """What the checks of tasks have found."""
    found = {result.name: len(result.findings) for result in results}
    silent, slower = found["silent_tasks"], found["duration"]
    if not silent and not slower:
        return "No task is silent or slower, but for what is known"
    parts = [counted(silent, "task is", "tasks are") + " silent"] if silent else []
    parts += [counted(slower, "task is", "tasks are") + " slower"] if slower else []
    return ", ".join(parts)


def silent_title(silent: pd.DataFrame) -> str:
    """Title of the tasks that run no longer."""
    return f"{counted(len(silent), 'task has', 'tasks have')} not run for a week or longer"
