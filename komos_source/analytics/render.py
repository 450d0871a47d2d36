"""A query's file as the text a database understands: tables, bounds, macros and dialect filled in.

The files are written in the SQL that DuckDB and most warehouses share; sqlglot transpiles, and what
it leaves to be done is done here. Pure: no database is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import sqlglot
from sqlglot import expressions as exp

from komos_source.exceptions import UsageError

_DIRECTORY = Path(__file__).parent
QUERIES = tuple(sorted({file.stem for file in _DIRECTORY.glob("*.sql")} - {"macros"}))
"""Names of all queries: those of their files, without ``.sql``."""
DIALECTS = ("duckdb", "postgres", "clickhouse", "bigquery", "snowflake")
"""sqlglot's names of the dialects whose texts are tested."""


@dataclass(frozen=True, slots=True)
class Options:
    """What can be asked of a query; each uses those it has a use for.

    Attributes:
        since: Runs that began before are left out; None for no bound.
        until: Runs that began at this time or later are left out; None for no bound.
        time_zone: IANA name of the time zone that days are counted in.
        recent_days: A template counts as new if it was first seen in the last so many days.
        levels: Only templates, or entries, of these levels; None for all.
        task_id: Only this task; None for all, as for the next two.
        node_id: Only this node.
        run_id: Only this run.
        limit: At most so many of what the query lists; None for all.
    """

    since: datetime | None = None
    until: datetime | None = None
    time_zone: str = "UTC"
    recent_days: int = 2
    levels: Sequence[str] | None = None
    task_id: str | None = None
    node_id: str | None = None
    run_id: str | None = None
    limit: int | None = None


def render(
    name: str, dialect: str, options: Options, qualified: Callable[[str], str] = lambda name: name
) -> str:
    """The text of a query in a dialect.

    Args:
        name: One of `QUERIES`.
        dialect: sqlglot's name of the dialect.
        options: Bounds and the like.
        qualified: Gives a table's name as it has to be written in that dialect.

    Raises:
        UsageError: There is no such query.
    """
    if name not in QUERIES:
        raise UsageError(f"there is no query {name!r}; there are {', '.join(QUERIES)}")
    query = sqlglot.parse_one((_DIRECTORY / f"{name}.sql").read_text("utf-8"), read="duckdb")
    _expand_macros(query)
    _fill_in(query, options, dialect)
    _qualify(query, qualified, dialect)
    _suit(query, dialect)
    text = query.sql(
        dialect, pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    # Otherwise ClickHouse fills what a join does not find with zeros and empty strings.
    return f"{text}\nSETTINGS join_use_nulls = 1" if dialect == "clickhouse" else text


@cache
def _macros() -> Mapping[str, tuple[tuple[str, ...], exp.Expr]]:
    """Parameters and body of each macro, by name."""
    found = {}
    for macro in sqlglot.parse((_DIRECTORY / "macros.sql").read_text("utf-8"), read="duckdb"):
        if isinstance(macro, exp.Create):
            parameters = tuple(each.name for each in macro.this.expressions)
            found[macro.this.this.name] = (parameters, macro.expression)
    return found


def _expand_macros(query: exp.Expr) -> None:
    """Bodies of macros in place of their calls."""
    calls = [call for call in query.find_all(exp.Anonymous) if call.name.lower() in _macros()]
    for call in reversed(calls):  # what is inside another call comes after it
        parameters, body = _macros()[call.name.lower()]
        given = dict(zip(parameters, call.expressions, strict=True))
        call.replace(_filled(body, given))


def _filled(body: exp.Expr, given: Mapping[str, exp.Expr]) -> exp.Expr:
    def fill(part: exp.Expr) -> exp.Expr:
        if isinstance(part, exp.Column) and part.name in given:
            return given[part.name].copy()
        return part

    filled = body.copy().transform(fill)
    return exp.paren(filled) if isinstance(filled, exp.Binary) else filled


def _fill_in(query: exp.Expr, options: Options, dialect: str) -> None:
    """Values in place of the placeholders; a condition on what is not set goes."""
    for placeholder in list(query.find_all(exp.Placeholder)):
        value = getattr(options, placeholder.name)
        if value is None:
            _drop_condition(placeholder.parent)
        elif isinstance(value, datetime):
            placeholder.replace(_moment(value, dialect))
        elif isinstance(value, list | tuple):
            placeholder.replace([exp.convert(each) for each in value])
        else:
            placeholder.replace(exp.convert(value))


def _drop_condition(condition: exp.Expr | None) -> None:
    assert condition is not None, "a bound stands in a comparison"  # noqa: S101 - our own files
    parent = condition.parent
    if isinstance(parent, exp.And):
        parent.replace(parent.left if condition is parent.right else parent.right)
    else:
        condition.replace(exp.true())


def _moment(moment: datetime, dialect: str) -> exp.Expr:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # as in the logs themselves
    text = exp.Literal.string(aware.astimezone(UTC).isoformat(timespec="microseconds"))
    if dialect == "clickhouse":
        return exp.Anonymous(
            this="parseDateTime64BestEffort",
            expressions=[text, exp.Literal.number(6), exp.Literal.string("UTC")],
        )
    return exp.cast(text, exp.DataType.Type.TIMESTAMPTZ)


def _qualify(query: exp.Expr, qualified: Callable[[str], str], dialect: str) -> None:
    """Full names in place of the tables' names; CTEs keep theirs."""
    own = {cte.alias for cte in query.find_all(exp.CTE)}
    for table in list(query.find_all(exp.Table)):
        if table.name not in own:
            full = exp.to_table(qualified(table.name), dialect=dialect)
            table.replace(exp.alias_(full, table.alias_or_name, table=True))


def _suit(query: exp.Expr, dialect: str) -> None:
    """What sqlglot leaves as it is though the dialect says it otherwise."""
    for replace in reversed(list(query.find_all(exp.RegexpReplace))):
        if dialect in {"bigquery", "snowflake"}:  # they replace all matches, and know no 'g'
            replace.set("modifiers", None)
        elif dialect == "clickhouse":
            arguments = [replace.this, replace.expression, replace.args["replacement"]]
            replace.replace(exp.Anonymous(this="replaceRegexpAll", expressions=arguments))
    if dialect == "clickhouse":  # in a join it calls a column nodes.task_id, dot and all
        for select in query.find_all(exp.Select):
            for column in select.expressions:
                if isinstance(column, exp.Column) and not isinstance(column.this, exp.Star):
                    column.replace(exp.alias_(column.copy(), column.name))
    for difference in list(query.find_all(exp.DateDiff)):
        start, end = difference.expression, difference.this
        if dialect == "bigquery":  # DATE_DIFF is for dates
            unit = difference.args["unit"]
            difference.replace(exp.TimestampDiff(this=end, expression=start, unit=unit))
        elif dialect == "postgres":  # sqlglot's goes through the session's time zone
            seconds = exp.Extract(this=exp.var("EPOCH"), expression=exp.paren(end - start))
            difference.replace(exp.cast(seconds * 1000, exp.DataType.Type.BIGINT))
