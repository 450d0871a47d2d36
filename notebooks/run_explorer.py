# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Run explorer: one run, or two side by side, as a timeline of nodes with warnings and errors.

Open it with ``komos notebook run_explorer``, or run it as a script: ``python
notebooks/run_explorer.py``. Every query aggregates in the database and closes its connection, so
that no load is kept waiting.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="Run explorer")


@app.cell
def _():
    from datetime import timedelta

    import altair as alt
    import marimo as mo
    import pandas as pd

    from komos_source.analytics import findings, formatting, notebook, query

    # Charts carry their rows. marimo would keep them in a file that it deletes when the chart is
    # redrawn, at times before the browser has read it.
    _ = alt.data_transformers.enable("default")
    return alt, findings, formatting, mo, notebook, pd, query, timedelta


@app.cell
def _(findings, mo, notebook):
    with notebook.show_errors(mo):
        database = notebook.open_from_arguments(mo)
        task_names = database.task_names()
        _, newest = findings.run_span(database)
    return database, newest, task_names


@app.cell
def _(mo, notebook, task_names):
    task = mo.ui.dropdown(notebook.task_choices(task_names), value="all tasks", label="task")
    days = mo.ui.dropdown({"2 days": 2, "week": 7, "4 weeks": 28}, value="week", label="last")
    only_failed = mo.ui.switch(label="failed ones only")
    again = mo.ui.refresh(label="read again")
    mo.vstack(
        [
            mo.md("# Run explorer"),
            mo.hstack([task, days, only_failed, again], justify="start", gap=1.5, wrap=True),
        ]
    )
    return again, days, only_failed, task


@app.cell
def _(
    again,
    database,
    days,
    formatting,
    mo,
    newest,
    notebook,
    only_failed,
    query,
    task,
    task_names,
    timedelta,
):
    again  # reads again when pressed
    with notebook.show_errors(mo):
        runs = query(database, "run_outcomes", since=newest - timedelta(days=days.value))
    runs = runs[runs["task_id"] == task.value] if task.value else runs
    runs = runs[runs["status"] == "FAILED"] if only_failed.value else runs
    runs = runs.sort_values("started_at", ascending=False).head(1000).reset_index(drop=True)
    firsts = ["first_error_node", "first_error_message"]
    runs[firsts] = runs[firsts].fillna("")
    runs["started"] = [formatting.timestamp(moment, "UTC") for moment in runs["started_at"]]
    # Of a run that was loaded by its id alone, neither task nor status is known.
    runs["task"] = runs["task_id"].map(task_names).fillna(runs["task_id"]).fillna("unknown task")
    runs["status"] = runs["status"].fillna("unknown status")
    mo.stop(runs.empty, mo.callout("No such run: choose another task or a longer period."))
    return (runs,)


@app.cell
def _(mo, notebook, runs):
    # To begin with: the newest failed run, and the newest of the same task that went well.
    failed = runs[runs["status"] == "FAILED"].head(1)
    well = runs[(runs["status"] == "COMPLETED") & runs["task_id"].isin(failed["task_id"])].head(1)
    begin = [*failed.index, *well.index] or [0]
    table = notebook.table(
        mo,
        runs[
            [
                "started",
                "task",
                "status",
                "duration_seconds",
                "entries",
                "warnings",
                "errors",
                "first_error_node",
                "first_error_message",
                "run_id",
            ]
        ],
        initial_selection=begin,
        page_size=8,
    )
    mo.vstack([mo.md("Tick one run, or two to see them side by side."), table])
    return (table,)


@app.cell
def _(database, mo, notebook, query, runs, table):
    chosen = runs[runs["run_id"].isin(table.value["run_id"])].head(2)
    mo.stop(chosen.empty, mo.md("*No run is ticked.*"))
    with notebook.show_errors(mo):
        steps = {
            run_id: query(database, "run_steps", run_id=run_id, limit=1000).sort_values("step")
            for run_id in chosen["run_id"]
        }
        troubles = {
            run_id: query(
                database, "run_entries", run_id=run_id, levels=["warning", "error"], limit=500
            ).sort_values("place")
            for run_id in chosen["run_id"]
        }
    return chosen, steps, troubles


@app.cell
def _(alt, notebook, pd, steps, troubles):
    def since_start(moments: pd.Series, start: pd.Timestamp) -> pd.Series:
        """Seconds into the run."""
        return (pd.to_datetime(moments, utc=True) - start).dt.total_seconds()

    def timeline(run: pd.Series) -> alt.LayerChart:
        """Nodes as bars, from their first to their last entry, and warnings and errors on them."""
        seen = steps[run["run_id"]].dropna(subset=["first_at"])
        start = pd.Timestamp(seen["first_at"].min() if len(seen) else run["started_at"])
        bars = seen.assign(
            begin=since_start(seen["first_at"], start), end=since_start(seen["last_at"], start)
        )
        rows = troubles[run["run_id"]].dropna(subset=["moment"])
        rows = rows.assign(at=since_start(rows["moment"], start))
        y = alt.Y("node_id:N", sort=bars["node_id"].drop_duplicates().tolist(), title=None)
        return (
            alt.layer(
                alt.Chart(bars)
                .mark_bar(height=12, color=notebook.COLOURS["info"], cornerRadius=3, minBandSize=2)
                .encode(
                    x=alt.X("begin:Q", title="seconds into the run"),
                    x2="end:Q",
                    y=y,
                    tooltip=[
                        "node_id",
                        "step",
                        "seconds",
                        "entries",
                        "warnings",
                        "errors",
                        "begin",
                    ],
                ),
                alt.Chart(bars)
                .mark_tick(color=notebook.COLOURS["info"], height=12, thickness=2)
                .encode(x="begin:Q", y=y),
                alt.Chart(rows)
                .mark_point(filled=True, size=110, opacity=1)
                .encode(
                    x="at:Q",
                    y=y,
                    color=alt.Color(
                        "level:N",
                        scale=alt.Scale(
                            domain=["warning", "error"],
                            range=[notebook.COLOURS["warning"], notebook.COLOURS["error"]],
                        ),
                        legend=alt.Legend(orient="top", title=None),
                    ),
                    shape=alt.Shape(
                        "level:N",
                        scale=alt.Scale(
                            domain=["warning", "error"], range=["triangle-up", "circle"]
                        ),
                    ),
                    tooltip=["level", "message", "node_id", "moment"],
                ),
            )
            .properties(width="container", height=alt.Step(28))
            .configure(**notebook.CHART_STYLE)
        )

    return (timeline,)


@app.cell
def _(chosen, formatting, mo, notebook, pd, timeline, troubles):
    def title(run) -> str:
        """The outcome of a run, as a heading."""
        seconds = run["duration_seconds"]
        length = f" after {seconds:,.0f} s" if pd.notna(seconds) else ""
        first = f"; the first error at {run['first_error_node']}" if run["errors"] else ""
        return f"{run['task']}: {run['status'].lower()}{length}{first}"

    def shown(run):
        """One run: its outcome, its timeline, its warnings and errors."""
        untimed = run["entries_without_time"]
        rows = troubles[run["run_id"]][["moment", "level", "node_id", "message"]]
        return mo.vstack(
            [
                mo.md(notebook.heading(title(run))),
                mo.md(
                    notebook.paragraph(
                        f"{run['run_id']} · "
                        f"{formatting.counted(run['entries'], 'entry', 'entries')}"
                        + (f", {untimed} of them without a time and not drawn" if untimed else "")
                    )
                ),
                timeline(run),
                notebook.table(
                    mo,
                    rows.assign(
                        moment=[formatting.timestamp(moment, "UTC") for moment in rows["moment"]]
                    ),
                    selection=None,
                    wrapped_columns=["message"],
                )
                if len(rows)
                else mo.md("*It wrote no warning and no error.*"),
            ]
        )

    mo.Html(notebook.columns(*(shown(run) for _, run in chosen.iterrows())))
    return


if __name__ == "__main__":
    app.run()
