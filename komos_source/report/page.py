"""Fills in the page: changes first, then rates, messages, and what may be missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from komos_source.analytics import formatting
from komos_source.analytics.findings import LEVELS, Findings, Level
from komos_source.analytics.links import run_link
from komos_source.report import charts
from komos_source.text import printable

NODES_SHOWN = 60
"""Maximum number of nodes in the ranking and the heatmap."""
_ROWS_AT_FIRST = 15
"""Rows shown until "Show all" is clicked."""
_TEMPLATES_SHOWN = 60
_PRECURSORS_SHOWN = 10
_TRENDS_SHOWN = 9
_TRENDS_AT_LEAST = 6
_MESSAGE_SHOWN = 600
_CHANGED = ("regressed", "new", "incident", "resolved")
_NODE = ["task_id", "node_id"]
_MASK = re.compile("&lt;(text|url|uuid|time|selector|n)&gt;")
_FILES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as all sections link to it.

    Attributes:
        anchor: Id of its detail on the page.
        task_id: Of its task.
        task: Name of its task.
        node_id: Its own id.
    """

    anchor: str
    task_id: str
    task: str
    node_id: str


def render(findings: Findings) -> str:
    """The page as HTML that needs no other file and no network."""
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "percent": formatting.percent,
        "number": formatting.number,
        "p": formatting.chance,
        "day": formatting.short_day,
        "long_day": formatting.long_day,
        "timestamp": lambda value: formatting.timestamp(value, findings.zone),
        "shortened": _shortened,
        "template": _template,
        "name": _name,
        "link": lambda row: run_link(
            row.run_id, row.logs_url if isinstance(row.logs_url, str) else None
        ),
    }
    return environment.get_template("page.html.j2").render(
        style=Markup((_FILES / "page.css").read_text("utf-8")),  # noqa: S704 - own files
        script=Markup((_FILES / "page.js").read_text("utf-8")),  # noqa: S704
        formatting=formatting,
        charts=charts,
        rows_at_first=_ROWS_AT_FIRST,
        findings=findings,
        **_Page(findings).sections(),
    )


class _Page:
    """Derives the contents of the sections from the findings."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.health = findings.health.set_index(_NODE)
        self.ranked = {level: _ranked(findings.health, level) for level in LEVELS}
        self.changes = {level: _changed(findings.changes[level]) for level in LEVELS}
        self.templates = _templates(findings.templates)
        self.loaded_from = self._loaded_from()
        self.days = {
            level: {key: self._seen(rows) for key, rows in findings.hits[level].groupby(_NODE)}
            for level in LEVELS
        }
        shown = dict.fromkeys(
            key
            for frame in (
                *self.changes.values(),
                *self.ranked.values(),
                self.templates[:_TEMPLATES_SHOWN],
            )
            for key in zip(frame["task_id"], frame["node_id"], strict=True)
        )
        self.nodes = {
            key: Node(f"n{index}", key[0], findings.names.get(key[0], key[0]), key[1])
            for index, key in enumerate(shown)
        }

    def sections(self) -> dict[str, Any]:
        """The variables of the template."""
        findings = self.findings
        return {
            "tasks": sorted({(node.task, node.task_id) for node in self.nodes.values()}),
            "totals": self._totals(),
            "levels": [(level, self._level(level)) for level in LEVELS],
            "templates": self._with_nodes(self.templates[:_TEMPLATES_SHOWN]),
            "templates_title": formatting.templates_title(self.templates),
            "templates_left_out": max(0, len(self.templates) - _TEMPLATES_SHOWN),
            "precursors": self._with_tasks(findings.precursors.head(_PRECURSORS_SHOWN)),
            "task_findings": [
                (result.name, each)
                for result in findings.tasks
                for each in (*result.findings, *result.known)
            ],
            "coverage": self._coverage(),
            "details": [(node, self._detail(key)) for key, node in self.nodes.items()],
        }

    def _coverage(self) -> list[tuple[str, list[tuple[str, pd.Series]]]]:
        """Tables of tasks, with their titles: those that run, and those that run no longer."""
        findings = self.findings
        silent = findings.silent
        running = findings.coverage[~findings.coverage["task_id"].isin(silent["task_id"])]
        tables = [(formatting.coverage_title(running), running)]
        tables += [(formatting.silent_title(silent), silent)] if len(silent) else []
        return [(title, self._with_tasks(rows)) for title, rows in tables]

    def _with_tasks(self, rows: pd.DataFrame) -> list[tuple[str, pd.Series]]:
        """Rows with the name of their task, or else its id."""
        names = self.findings.names
        return [(names.get(row["task_id"], row["task_id"]), row) for _, row in rows.iterrows()]

    def _with_nodes(self, rows: pd.DataFrame) -> list[tuple[Node, pd.Series]]:
        """Rows with their node."""
        return [(self.nodes[row["task_id"], row["node_id"]], row) for _, row in rows.iterrows()]

    def _loaded_from(self) -> dict[str, date]:
        """The day of each task's first run: of the days before, nothing is known."""
        history, zone = self.findings.history, ZoneInfo(self.findings.zone)
        firsts = zip(history["task_id"], history["first_run_at"], strict=True)
        return {task_id: first.astimezone(zone).date() for task_id, first in firsts}

    def _totals(self) -> dict[str, int]:
        coverage, health = self.findings.coverage, self.findings.health
        errors = self.findings.changes["error"]
        return {
            **{name: int(coverage[name].sum()) for name in ("finished_runs", "failed_runs")},
            **{name: int(health[name].sum()) for name in ("entries", "warnings", "errors")},
            "nodes": len(health),
            "tasks": len(coverage),
            "regressed": int((errors["state"] == "regressed").sum()),
            "watched": int(errors["watch"].sum()),
            "new_templates": int(self.findings.templates["new_in_window"].sum()),
        }

    def _level(self, level: Level) -> dict[str, Any]:
        ranked, changes = self.ranked[level], self.changes[level]
        keys = list(zip(ranked["task_id"], ranked["node_id"], strict=True))
        hits = self.findings.hits[level].set_index(_NODE)
        states = self.findings.changes[level]["state"]
        names = self.findings.names
        return {
            "ranked": self._with_nodes(ranked),
            "ranking_title": formatting.ranking_title(ranked, level),
            "left_out": len(self.health) - len(ranked),
            "end": charts.axis_end(ranked[f"{level}_rate_high"].max() if len(ranked) else 0.0),
            "heat_title": formatting.heat_title(hits.loc[hits.index.isin(keys)], level),
            "heat": [(self.nodes[key], self._cells(level, key)) for key in keys],
            "changes": self._with_nodes(changes),
            "incidents": [
                (
                    ", ".join(names.get(task, task) for task in row["tasks"]),
                    ", ".join(dict.fromkeys(node for _, node in row["nodes"])),
                    row,
                )
                for _, row in self.findings.incidents[level].iterrows()
            ],
            "unchanged": {state: int((states == state).sum()) for state in ("ongoing", "quiet")},
            "not_compared": int((~formatting.was_comparable(self.findings.changes[level])).sum()),
            "trends": [
                (self.nodes[key], self._trend(level, key), self._description(level, key))
                for key in self._trend_nodes(level)
            ],
        }

    def _trend_nodes(self, level: Level) -> list[tuple[str, str]]:
        """Nodes that changed; if they are few, the first of the ranking as well."""
        changes, ranked = self.changes[level], self.ranked[level]
        hit = ranked[ranked[f"runs_with_{level}"] > 0]
        changed = list(zip(changes["task_id"], changes["node_id"], strict=True))
        first = list(zip(hit["task_id"], hit["node_id"], strict=True))[:_TRENDS_AT_LEAST]
        several = list(dict.fromkeys([*changed, *first]))
        return several[: max(_TRENDS_AT_LEAST, min(_TRENDS_SHOWN, len(changed)))]

    def _change(self, level: Level, key: tuple[str, str]) -> pd.Series | None:
        rows = self.findings.changes[level]
        found = rows[(rows["task_id"] == key[0]) & (rows["node_id"] == key[1])]
        return None if found.empty else found.iloc[0]

    def _description(self, level: Level, key: tuple[str, str]) -> str:
        change = self._change(level, key)
        return "not visited lately" if change is None else formatting.change(change, level)

    def _trend(self, level: Level, key: tuple[str, str]) -> Markup:
        change = self._change(level, key)
        changed_on = None if change is None else change["changed_on"]
        return charts.trend(
            self.findings.days,
            self.days[level].get(key, []),
            None if pd.isna(changed_on) else changed_on.date(),
        )

    def _cells(
        self, level: Level, key: tuple[str, str]
    ) -> list[tuple[date, charts.Day | None, bool]]:
        """Each day with its runs, and whether any run of the task is loaded up to that day."""
        seen = {day.index: day for day in self.days[level].get(key, [])}
        first = self.loaded_from[key[0]]
        return [
            (day, seen.get(index), day >= first) for index, day in enumerate(self.findings.days)
        ]

    def _seen(self, rows: pd.DataFrame) -> list[charts.Day]:
        first = pd.Timestamp(self.findings.days[0])
        return [
            charts.Day((day - first).days, runs, hits)
            for day, runs, hits in sorted(
                zip(rows["day"], rows["runs"].tolist(), rows["hits"].tolist(), strict=True)
            )
        ]

    def _detail(self, key: tuple[str, str]) -> dict[str, Any]:
        entries = self.findings.entries
        mine = entries[(entries["task_id"] == key[0]) & (entries["node_id"] == key[1])]
        return {
            "health": self.health.loc[key],
            "trends": [
                (level, self._trend(level, key), self._description(level, key)) for level in LEVELS
            ],
            "entries": [row for _, row in mine.sort_values("moment", ascending=False).iterrows()],
        }


def _ranked(health: pd.DataFrame, level: str) -> pd.DataFrame:
    """Nodes by the lower bound of their rate, so that a node with a single run does not lead."""
    order = [f"{level}_rate_low", f"{level}_rate", "runs"]
    in_order = health.sort_values(_NODE).sort_values(order, ascending=False, kind="stable")
    return in_order.head(NODES_SHOWN)


def _changed(changes: pd.DataFrame) -> pd.DataFrame:
    """Rows of `node_regressions` that need attention, up to the number that the page shows."""
    changed = changes["state"].isin(_CHANGED) & formatting.was_comparable(changes)
    return changes[changed | changes["watch"]].head(NODES_SHOWN)


def _templates(templates: pd.DataFrame) -> pd.DataFrame:
    """New ones first, then by number of runs."""
    in_order = templates.sort_values([*_NODE, "level", "template"])
    return in_order.sort_values(["new_in_window", "runs"], ascending=False, kind="stable")


def _shown(value: Any) -> Any:
    """Applied to all that the template prints: control characters are shown as escapes."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shortened(message: Any) -> str:
    if not isinstance(message, str) or not message:  # pandas has NaN for null
        return "(empty)"
    return message if len(message) <= _MESSAGE_SHOWN else f"{message[:_MESSAGE_SHOWN]} …"


def _template(text: str) -> Markup:
    """A template whose masks are in italics."""
    return Markup(_MASK.sub(r"<i>\1</i>", str(escape(printable(text)))))  # noqa: S704 - escaped


def _name(name: str) -> Markup:
    """A name on its own: its reading direction does not affect what stands beside it.

    A line may break after its underscores.
    """
    return Markup("<bdi>{}</bdi>").format(Markup("_<wbr>").join(printable(name).split("_")))
