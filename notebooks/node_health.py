# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Node health: which node fails, since when, and whether it is noise.

Open it with ``komos notebook``, or run it as a script: ``python notebooks/node_health.py``. Every
query aggregates in the database and closes its connection, so loads do not wait for it.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Node health")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import pandas as pd

    from komos_source.analytics import findings, formatting, notebook, query

    # Charts carry their rows. marimo would keep them in a file that it deletes when the chart is
    # redrawn, at times before the browser has read it. It accepts another transformer only if the
    # name begins with that of its own (marimo/_plugins/ui/_impl/altair_chart.py, _parse_spec).
    alt.data_transformers.register("marimo_rows", alt.default_data_transformer)
    _ = alt.data_transformers.enable("marimo_rows")
    return alt, findings, formatting, mo, notebook, pd, query


@app.cell
def _(mo, notebook):
    with notebook.show_errors(mo):
        database = notebook.open_from_arguments(mo)
        task_names = database.task_names()
    return database, task_names


@app.cell
def _(mo, notebook, task_names):
    level = mo.ui.radio({"errors": "error", "warnings": "warning"}, value="errors", inline=True)
    task = mo.ui.dropdown(notebook.task_choices(task_names), value="all tasks", label="task")
    days = mo.ui.dropdown(
        {"4 weeks": 28, "8 weeks": 56, "13 weeks": 91}, value="4 weeks", label="period"
    )
    zone = mo.ui.text(notebook.default_time_zone(), label="time zone")
    new_since = mo.ui.text(placeholder="2025-10-06", label="messages new since")
    again = mo.ui.refresh(label="read again")
    mo.vstack(
        [
            mo.md("# Node health"),
            mo.hstack(
                [level, task, days, zone, new_since, again], justify="start", gap=1.5, wrap=True
            ),
        ]
    )
    return again, days, level, new_since, task, zone


@app.cell
def _(again, database, days, findings, mo, new_since, notebook, zone):
    again  # reads again when pressed
    with notebook.show_errors(mo):
        found = findings.read_findings(database, days.value, zone.value, new_since.value)
    return (found,)


@app.cell
def _(formatting, found, level, pd, task):
    def of_task(rows: pd.DataFrame) -> pd.DataFrame:
        """The rows of the chosen task, with names for reading."""
        rows = rows[rows["task_id"] == task.value] if task.value else rows
        rows = rows.assign(task=rows["task_id"].map(found.names).fillna(rows["task_id"]))
        return (
            rows.assign(node=rows["node_id"] + " · " + rows["task"]) if "node_id" in rows else rows
        )

    # A chart gets no more nodes than it can draw: the first ones by the lower bound of their rate.
    kind, rate = level.value, f"{level.value}_rate"
    health = of_task(found.health).sort_values([f"{rate}_low", "runs"], ascending=False)
    ranked = health.head(40)
    hits = of_task(found.hits[kind]).assign(share=lambda rows: rows["hits"] / rows["runs"])
    hits = hits[hits["node"].isin(ranked["node"])]
    changes = of_task(found.changes[kind])
    changed = changes["state"].isin(["regressed", "new", "incident", "resolved"])
    attention = changes[(changed & formatting.was_comparable(changes)) | changes["watch"]]
    return attention, changes, health, hits, kind, of_task, rate, ranked


@app.cell
def _(changes, formatting, found, health, mo, notebook, of_task):
    coverage, silent = of_task(found.coverage), of_task(found.silent)
    running = coverage[~coverage["task_id"].isin(silent["task_id"])]
    notes = [
        formatting.first_day_note(len(found.days), found.days_asked),
        formatting.coverage_title(running),
        f"{formatting.silent_title(silent)}: {', '.join(silent['task'])}" if len(silent) else "",
        *(
            f"{finding.task_name or finding.task_id}: {finding.title}; {finding.detail}"
            for result in found.tasks
            for finding in result.findings
        ),
        *(f"Known problem: {each.shown}" for each in found.known),
    ]
    stale = formatting.age_of_data(found.newest, found.read_at)
    mo.vstack(
        [
            *([mo.callout(stale, kind="warn")] if stale else []),
            mo.md(notebook.heading(formatting.headline(of_task(found.changes["error"])))),
            mo.hstack(
                [
                    mo.stat(
                        formatting.number(coverage["finished_runs"].sum()),
                        label="finished runs",
                        caption=f"{coverage['failed_runs'].sum():,} failed",
                    ),
                    mo.stat(formatting.number(len(health)), label="nodes visited"),
                    mo.stat(
                        formatting.number((changes["state"] == "regressed").sum()),
                        label="regressed",
                        caption=f"{changes['watch'].sum()} more on watch",
                    ),
                    mo.stat(
                        formatting.number(health["entries"].sum()),
                        label="entries",
                        caption=f"{health['warnings'].sum():,} warnings, "
                        f"{health['errors'].sum():,} errors",
                    ),
                ],
                justify="start",
                wrap=True,
            ),
            *(mo.md(notebook.paragraph(note)) for note in notes if note),
        ]
    )
    return


@app.cell
def _(attention, changes, formatting, kind, mo, notebook):
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.changes_title(changes, kind))),
            notebook.table(
                mo,
                attention.assign(changed_on=attention["changed_on"].dt.date)[
                    [
                        "state",
                        "watch",
                        "node",
                        "changed_on",
                        "baseline_rate",
                        "recent_rate",
                        "p_value",
                        "p_adjusted",
                    ]
                ],
                selection=None,
                format_mapping={
                    "baseline_rate": "{:.1%}",
                    "recent_rate": "{:.1%}",
                    "p_value": "{:.3f}",
                    "p_adjusted": "{:.3f}",
                },
            )
            if len(attention)
            else mo.md("The last 2 days are compared with the 14 before."),
        ]
    )
    return


@app.cell
def _(formatting, found, kind, mo, notebook, task):
    bursts = found.incidents[kind]
    if task.value:
        bursts = bursts[[task.value in tasks for tasks in bursts["tasks"]]]
    shown = bursts.assign(
        began=[formatting.timestamp(moment, found.zone) for moment in bursts["started_at"]],
        ended=[formatting.timestamp(moment, found.zone) for moment in bursts["ended_at"]],
        tasks=[", ".join(found.names.get(each, each) for each in row) for row in bursts["tasks"]],
        nodes=[", ".join(dict.fromkeys(node for _, node in row)) for row in bursts["nodes"]],
    )
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.incidents_title(bursts))),
            notebook.table(
                mo,
                shown[["began", "ended", "runs", "tasks", "nodes", "template"]],
                selection=None,
                wrapped_columns=["nodes", "template"],
            ),
        ]
    ) if len(bursts) else None
    return


@app.cell
def _(alt, attention, changes, formatting, hits, kind, mo, notebook, pd, ranked):
    def trend(node: str) -> alt.LayerChart:
        """Daily shares of a node, its share before and after a change, and the change."""
        change = changes[changes["node"] == node]
        subtitle = formatting.change(change.iloc[0], kind) if len(change) else "not visited lately"
        cut = change["changed_on"].iloc[0] if len(change) else pd.NaT
        seen = hits[hits["node"] == node].sort_values("day")
        part = seen["day"] >= cut if pd.notna(cut) else pd.Series(False, seen.index)
        sums = seen.groupby(part)[["hits", "runs"]].transform("sum")
        seen = seen.assign(part=part, mean=sums["hits"] / sums["runs"])
        x = alt.X("day:T", title=None, axis=alt.Axis(format="%-d %b", tickCount=4))
        base = alt.Chart(seen).encode(x=x)
        y = alt.Y("share:Q", title="share of runs", axis=alt.Axis(format="%", tickCount=4))
        layers = [
            base.mark_circle(color=notebook.COLOURS[kind], opacity=0.5).encode(
                y=y,
                size=alt.Size("runs:Q", legend=None, scale=alt.Scale(range=[10, 70])),
                tooltip=["day", "hits", "runs"],
            ),
            base.mark_line(color=notebook.COLOURS[kind]).encode(y="mean:Q", detail="part:N"),
        ]
        if pd.notna(cut):
            mark = alt.Chart(pd.DataFrame({"day": [cut]}))
            layers.append(mark.mark_rule(strokeDash=[4, 3], size=2, color="#4477aa").encode(x=x))
        title = alt.Title(node, subtitle=subtitle, anchor="start")
        chart = alt.layer(*layers).properties(width=255, height=120, title=title)
        return chart.configure(**notebook.CHART_STYLE)

    worst = ranked.loc[ranked[f"runs_with_{kind}"] > 0, "node"]
    drawn = [
        node for node in dict.fromkeys([*attention["node"], *worst]) if node in set(hits["node"])
    ]
    mo.vstack(
        [
            mo.md("## What changed, and what fails most, day by day"),
            mo.hstack([trend(node) for node in drawn[:6]], justify="start", gap=1, wrap=True)
            if drawn
            else mo.md(f"No run had {kind}s."),
        ]
    )
    return


@app.cell
def _(alt, formatting, kind, mo, notebook, ranked, rate):
    chosen = alt.selection_point(fields=["task_id", "node_id"], name="chosen")
    axes = alt.Chart(ranked).encode(
        y=alt.Y("node:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
        tooltip=["node", "runs", alt.Tooltip(f"{rate}:Q", format=".1%"), "only_on_trouble"],
    )
    intervals = axes.mark_rule(strokeWidth=6, opacity=0.35, color=notebook.COLOURS[kind]).encode(
        x=alt.X(
            f"{rate}_low:Q",
            title=f"share of runs with {kind}s",
            axis=alt.Axis(format="%", tickCount=5),
        ),
        x2=f"{rate}_high:Q",
    )
    points = (
        axes.mark_circle(size=130, color=notebook.COLOURS[kind])
        .encode(x=f"{rate}:Q", opacity=alt.condition(chosen, alt.value(1), alt.value(0.4)))
        .add_params(chosen)
    )
    ranking = mo.ui.altair_chart(
        (intervals + points)
        .properties(width="container", height=alt.Step(20))
        .configure(**notebook.CHART_STYLE),
        chart_selection=False,
        legend_selection=False,
    )
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.ranking_title(ranked, kind))),
            ranking,
            mo.md("*Bars are 95 % intervals. Click a dot to read the node's entries.*"),
        ]
    )
    return (ranking,)


@app.cell
def _(alt, formatting, hits, kind, mo, notebook, ranked):
    squares = (
        alt.Chart(hits.assign(day=hits["day"].dt.strftime("%Y-%m-%d")))
        .mark_rect(stroke="#8886", strokeWidth=0.5)
        .encode(
            x=alt.X("day:O", timeUnit="yearmonthdate", title="day", axis=alt.Axis(format="%-d %b")),
            y=alt.Y(
                "node:N",
                sort=ranked["node"].tolist(),
                title=None,
                axis=alt.Axis(labelLimit=200),
            ),
            color=alt.Color(
                "share:Q",
                title="share of runs",
                scale=alt.Scale(
                    domain=[0, 0.5],
                    range=["rgba(140, 140, 140, 0.12)", notebook.COLOURS[kind]],
                    interpolate="rgb",
                    clamp=True,
                ),
                legend=alt.Legend(format="%", orient="top"),
            ),
            tooltip=["node", "day", "hits", "runs"],
        )
        .properties(width="container", height=alt.Step(18))
        .configure(**notebook.CHART_STYLE)
    )
    heatmap = mo.ui.altair_chart(squares, chart_selection="point", legend_selection=False)
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.heat_title(hits, kind))),
            heatmap,
            mo.md("*Blank is not zero: no run visited the node on that day.*"),
        ]
    )
    return (heatmap,)


@app.cell
def _(heatmap, mo, notebook, ranking):
    clicks = [rows for rows in (ranking.value, heatmap.value) if len(rows)]
    nodes = clicks[0][["task_id", "node_id"]].drop_duplicates() if clicks else None
    picked = None if nodes is None or len(nodes) != 1 else tuple(nodes.iloc[0])
    mo.md(
        notebook.heading(f"Entries of {picked[1]}, the newest 200")
        if picked
        else "## Entries\n*Click a dot or a square above to read the entries of its node.*"
    )
    return (picked,)


@app.cell
def _(database, formatting, found, kind, mo, notebook, picked, query):
    def entries_of(task_id: str, node_id: str) -> mo.ui.table:
        """A node's newest entries of the chosen level."""
        with notebook.show_errors(mo):
            entries = query(
                database, "node_entries", task_id=task_id, node_id=node_id, levels=[kind], limit=200
            )
        entries = entries.sort_values("moment", ascending=False)
        entries["moment"] = [
            formatting.timestamp(moment, found.zone) for moment in entries["moment"]
        ]
        return notebook.table(
            mo,
            entries[["moment", "level", "message", "run_id", "status"]],
            selection=None,
            wrapped_columns=["message"],
        )

    entries_of(*picked) if picked else None
    return


@app.cell
def _(formatting, found, mo, notebook, of_task):
    templates = of_task(found.templates).sort_values(["new_in_window", "runs"], ascending=False)
    for end in ("first_seen", "last_seen"):
        templates[end] = [
            formatting.timestamp(moment, found.zone)[:10] for moment in templates[end]
        ]
    templates = templates.reset_index(drop=True)
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.templates_title(templates))),
            notebook.table(
                mo,
                templates[
                    [
                        "new_in_window",
                        "level",
                        "template",
                        "node",
                        "runs",
                        "entries",
                        "first_seen",
                        "last_seen",
                        "example",
                    ]
                ],
                selection=None,
                wrapped_columns=["template"],
            ),
        ]
    )
    return


@app.cell
def _(formatting, found, mo, notebook, of_task):
    precursors = of_task(found.precursors).reset_index(drop=True)
    mo.vstack(
        [
            mo.md(notebook.heading(formatting.precursors_title(precursors))),
            notebook.table(
                mo,
                precursors[
                    [
                        "task",
                        "template",
                        "failed_with",
                        "runs_with",
                        "failed_without",
                        "runs_without",
                        "odds_ratio",
                        "odds_ratio_low",
                        "odds_ratio_high",
                        "p_adjusted",
                    ]
                ].round(3),
                selection=None,
                wrapped_columns=["template"],
            ),
        ]
    )
    return


if __name__ == "__main__":
    app.run()
