"""Renders a query's file in the dialect of a database: table names, bounds and macros filled in.

The files are written in the SQL that DuckDB and most warehouses share. sqlglot translates them;
what it lacks is added here. Pure: no database is connected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import sqlglot
from sqlglot import expressions as exp

from komos_source.exceptions import UsageError
from komos_source.tables import NODE_HEALTH_HISTORY

_DIRECTORY = Path(__file__).parent
QUERIES = tuple(sorted({file.stem for file in _DIRECTORY.glob("*.sql")} - {"macros"}))
"""Names of all queries: the names of their files without ``.sql``."""
DIALECTS = ("duckdb", "postgres", "clickhouse", "bigquery", "snowflake")
"""sqlglot's names of the dialects that the rendered queries are tested in."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the queries; `filters` names those that a query has.

    Attributes:
        since: Leaves out runs that started before; None for no bound.
        until: Leaves out runs that started at this time or later; None for no bound.
        time_zone: IANA name of the time zone that days are counted in.
        recent_days: A template counts as new if it was first seen in this number of last days.
        new_since: A template counts as new if it was first seen then or later; None for the above.
        levels: Only templates, or entries, of these levels; None for all.
        task_id: Only this task; None for all, as for the next two.
        node_id: Only this node.
        run_id: Only this run.
        limit: Maximum number of entries or steps; None for all.
        history: Whether the dataset has ``node_health_history``: `komos prune` creates it.
    """

    since: datetime | None = None
    until: datetime | None = None
    time_zone: str = "UTC"
    recent_days: int = 2
    new_since: datetime | None = None
    levels: Sequence[str] | None = None
    task_id: str | None = None
    node_id: str | None = None
    run_id: str | None = None
    limit: int | None = None
    history: bool = False


def filters(name: str) -> tuple[str, ...]:
    """Names of the options that a query has.

    ``time_zone`` is not among them: a query that returns no days is the same in all time zones.

    Raises:
        UsageError: There is no such query.
    """
    found = {placeholder.name for placeholder in _parsed(name).find_all(exp.Placeholder)}
    return tuple(field.name for field in fields(Options) if field.name in found - {"time_zone"})


def reads_history(name: str) -> bool:
    """Whether a query reads ``node_health_history``."""
    return any(
        table.name == NODE_HEALTH_HISTORY.name for table in _parsed(name).find_all(exp.Table)
    )


def render(
    name: str, dialect: str, options: Options, qualified: Callable[[str], str] = lambda name: name
) -> str:
    """Returns the text of a query in a dialect.

    Args:
        name: One of `QUERIES`.
        dialect: sqlglot's name of the dialect.
        options: Bounds and filters.
        qualified: Returns the qualified name of a table, quoted for that dialect.

    Raises:
        UsageError: There is no such query.
    """
    query = _parsed(name)
    if not options.history:
        _drop_history(query)
    _expand_macros(query)
    _fill_in(query, options, dialect)
    _qualify(query, qualified, dialect)
    _adapt(query, dialect)
    text = query.sql(
        dialect, pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    # Otherwise ClickHouse fills what a join does not find with zeros and empty strings.
    return f"{text}\nSETTINGS join_use_nulls = 1" if dialect == "clickhouse" else text


def _parsed(name: str) -> exp.Expr:
    if name not in QUERIES:
        raise UsageError(f"there is no query {name!r}; there are {', '.join(QUERIES)}")
    return sqlglot.parse_one((_DIRECTORY / f"{name}.sql").read_text("utf-8"), read="duckdb")


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
    """Replaces calls of macros by their bodies."""
    calls = [call for call in query.find_all(exp.Anonymous) if call.name.lower() in _macros()]
    for call in reversed(calls):  # nested calls come after the calls that hold them
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
    """Replaces placeholders by values; removes conditions on options that are not set."""
    for placeholder in list(query.find_all(exp.Placeholder)):
        value = getattr(options, placeholder.name)
        if value is None and isinstance(placeholder.parent, exp.Coalesce):
            placeholder.parent.replace(placeholder.parent.expressions[0])
        elif value is None:
            _drop_condition(placeholder.parent)
        elif isinstance(value, datetime):
            placeholder.replace(_timestamp(value, dialect))
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


def _drop_history(query: exp.Expr) -> None:
    """Removes the branches of a UNION ALL that read ``node_health_history``."""
    for table in list(query.find_all(exp.Table)):
        if table.name == NODE_HEALTH_HISTORY.name:
            branch = table.find_ancestor(exp.Select)
            union = branch and branch.parent
            assert isinstance(union, exp.Union), "the history is a branch of a union"  # noqa: S101 - our own files
            union.replace(union.left if branch is union.right else union.right)


def _timestamp(value: datetime, dialect: str) -> exp.Expr:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)  # as timestamps in logs
    text = exp.Literal.string(aware.astimezone(UTC).isoformat(timespec="microseconds"))
    if dialect == "clickhouse":
        return exp.Anonymous(
            this="parseDateTime64BestEffort",
            expressions=[text, exp.Literal.number(6), exp.Literal.string("UTC")],
        )
    return exp.cast(text, exp.DataType.Type.TIMESTAMPTZ)


def _qualify(query: exp.Expr, qualified: Callable[[str], str], dialect: str) -> None:
    """Replaces table names by qualified ones; CTEs keep theirs."""
    own = {cte.alias for cte in query.find_all(exp.CTE)}
    for table in list(query.find_all(exp.Table)):
        if table.name not in own:
            full = exp.to_table(qualified(table.name), dialect=dialect)
            table.replace(exp.alias_(full, table.alias_or_name, table=True))


def _adapt(query: exp.Expr, dialect: str) -> None:
    """Translates what sqlglot does not."""
    for replace in reversed(list(query.find_all(exp.RegexpReplace))):
        if dialect in {"bigquery", "snowflake"}:  # they replace all matches and have no flag 'g'
            replace.set("modifiers", None)
        elif dialect == "clickhouse":
            arguments = [replace.this, replace.expression, replace.args["replacement"]]
            replace.replace(exp.Anonymous(this="replaceRegexpAll", expressions=arguments))
    if dialect == "clickhouse":  # in a join it names a column "nodes.task_id"
        for select in query.find_all(exp.Select):
            for column in select.expressions:
                if isinstance(column, exp.Column) and not isinstance(column.this, exp.Star):
                    column.replace(exp.alias_(column.copy(), column.name))
    for keys in list(query.find_all(exp.JSONKeys)):
        _adapt_keys(query, keys, dialect)
    for difference in list(query.find_all(exp.DateDiff)):
        start, end = difference.expression, difference.this
        if dialect == "bigquery":  # DATE_DIFF is for dates only
            unit = difference.args["unit"]
            difference.replace(exp.TimestampDiff(this=end, expression=start, unit=unit))
        elif dialect == "postgres":  # sqlglot's depends on the session's time zone
            seconds = exp.Extract(this=exp.var("EPOCH"), expression=exp.paren(end - start))
            difference.replace(exp.cast(seconds * 1000, exp.DataType.Type.BIGINT))


def _adapt_keys(query: exp.Expr, keys: exp.JSONKeys, dialect: str) -> None:
    """Translates a join with ``UNNEST(JSON_KEYS(column)) AS alias(name)``."""
    unnest = keys.parent
    assert isinstance(unnest, exp.Unnest), "as documented"  # noqa: S101 - our own files
    alias = unnest.args["alias"]
    if dialect == "postgres":
        value = exp.cast(keys.this, exp.DataType.Type.JSONB)
        function = exp.Anonymous(this="JSONB_OBJECT_KEYS", expressions=[value])
        unnest.replace(exp.Table(this=function, alias=alias))
    elif dialect == "clickhouse":
        (name,) = alias.columns
        for column in list(query.find_all(exp.Column)):
            if column.table == alias.name:
                column.replace(exp.column(name.copy()))
        text = exp.func("COALESCE", keys.this, exp.Literal.string("{}"))  # no array may be null
        function = exp.Anonymous(this="JSONExtractKeys", expressions=[text])
        joined = exp.Join(this=exp.alias_(function, name), kind="ARRAY")
        assert unnest.parent is not None, "it is joined"  # noqa: S101 - our own files
        unnest.parent.replace(joined)
