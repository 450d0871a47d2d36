"""Checks of the loaded data, for `komos health`, any scheduler, and alerts.

from komos_source.analytics import open_database, run_checks

for result in run_checks(open_database()):
    print(result)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase

from komos_source.analytics.checks.api import new_fields
from komos_source.analytics.checks.limits import Limits, configured_limits
from komos_source.analytics.checks.loads import (
    failed_loads,
    freshness,
    rejected_share,
    window_gaps,
)
from komos_source.analytics.checks.nodes import incidents, new_error_templates, regressions
from komos_source.analytics.checks.result import CheckContext, CheckResult, Finding
from komos_source.analytics.checks.tasks import duration, silent_tasks, volume
from komos_source.analytics.database import SqlSource, connected
from komos_source.analytics.known_problems import KnownProblem, match, read_known_problems
from komos_source.config import time_zone as configured_time_zone
from komos_source.exceptions import ConfigurationError, UsageError
from komos_source.settings import KNOWN_PROBLEMS_FILE

__all__ = ["CHECKS", "CheckResult", "Finding", "Limits", "run_checks"]

CHECKS: Mapping[str, Callable[[CheckContext], CheckResult]] = {
    "window_gaps": window_gaps,
    "rejected_share": rejected_share,
    "freshness": freshness,
    "failed_loads": failed_loads,
    "regressions": regressions,
    "incidents": incidents,
    "new_error_templates": new_error_templates,
    "silent_tasks": silent_tasks,
    "volume": volume,
    "duration": duration,
    "new_fields": new_fields,
}


def run_checks(
    source: SqlSource,
    only: Sequence[str] | None = None,
    *,
    limits: Limits | None = None,
    known: Sequence[KnownProblem] | None = None,
    as_of: datetime | None = None,
    time_zone: str | None = None,
) -> list[CheckResult]:
    """Runs the checks.

    Args:
        source: What `open_database` returns, a dlt pipeline that no load uses (a load empties its
            working directory), or anything else with its ``sql_client()``.
        only: Names of the checks to run; all if None.
        limits: When a check fails; as configured in ``[sources.komos.checks]`` if None.
        known: Known problems, which do not fail a check; those in ``komos.toml`` if None.
        as_of: The time that counts as now, to look at the past; a time without an offset is UTC.
        time_zone: IANA name of the time zone that days are counted in; as configured if None.

    Returns:
        A result per check, in their order.

    Raises:
        UsageError: There is no check of that name.
        ConfigurationError: ``komos.toml`` or a limit cannot be used.
        KomosError: The destination cannot be read.
    """
    names = list(CHECKS) if only is None else only
    if unknown := sorted(set(names) - CHECKS.keys()):
        raise UsageError(f"there is no check {unknown[0]!r}; there are {', '.join(CHECKS)}")
    limits = configured_limits() if limits is None else limits
    problems = read_known_problems() if known is None else known
    for problem in problems:
        if not any(fnmatchcase(name, problem.check) for name in CHECKS):
            raise ConfigurationError(
                f"a known problem in {KNOWN_PROBLEMS_FILE} is of the check {problem.check!r}, "
                f"which does not exist; there are {', '.join(CHECKS)}"
            )
    with connected(source) as shared:
        context = CheckContext(shared, limits, as_of, time_zone or configured_time_zone())
        return [_without_known(CHECKS[name](context), problems, context.as_of) for name in names]


def _without_known(
    result: CheckResult, problems: Sequence[KnownProblem], now: datetime
) -> CheckResult:
    """Moves findings that are known problems from `findings` to `known`."""
    matched = [(finding, match(finding, problems, now)) for finding in result.findings]
    known = [replace(finding, reason=problem.shown) for finding, problem in matched if problem]
    if not known:
        return result
    findings = [finding for finding, problem in matched if not problem]
    detail = result.detail if findings else f"nothing but known problems ({len(known)})"
    return replace(result, detail=detail, findings=findings, known=known)
