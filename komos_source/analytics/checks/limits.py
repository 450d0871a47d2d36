"""When a check fails: all limits, with their units."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from komos_source.config import check_number, setting
from komos_source.exceptions import ConfigurationError, UsageError

_SECTION = "checks"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the checks; docs/health.md describes each check.

    Attributes:
        window_gap_hours: Window gaps found within so many hours count.
        rejected_share: Share of the entries of the last `rejected_hours` that may have been
            rejected.
        rejected_hours: Hours of loads in which `rejected_share` is counted.
        freshness_hours: Maximum age of the last load.
        retired_days: A pipeline without a load for so many days counts as retired.
        failed_loads: So many loads in a row must be incomplete.
        learned_days: Days of history without which nothing counts as new.
        new_hours: What was first seen within so many hours counts as new.
        new_error_runs: A new error must be in so many runs.
        silent_intervals: How often a task's usual longest interval it must be without a run.
        silent_hours: Hours that it must be without a run, however short its intervals are.
        silent_runs: Intervals without which none is usual.
        silent_days: Days of silence, beyond the limit, after which a task counts as retired.
        volume_weeks: Same weekdays that a day is compared with, at most; half of them at least.
        volume_spreads: How many of its usual spreads a day must be off.
        volume_factor: How many times more, or fewer, runs or entries than usual there must be.
        duration_days: Days that the last two are compared with.
        duration_runs: Runs without which a day is not compared with; the last two days need twice
            as many in all.
        duration_spreads: How many of their usual spreads the daily medians must be higher.
        duration_factor: How many times longer than usual the runs must take.
    """

    window_gap_hours: float = 24
    rejected_share: float = 0.001
    rejected_hours: float = 24
    freshness_hours: float = 1
    retired_days: float = 7
    failed_loads: float = 3
    learned_days: float = 7
    new_hours: float = 48
    new_error_runs: float = 2
    silent_intervals: float = 2.5
    silent_hours: float = 1
    silent_runs: float = 8
    silent_days: float = 30
    volume_weeks: float = 8
    volume_spreads: float = 6
    volume_factor: float = 2
    duration_days: float = 14
    duration_runs: float = 3
    duration_spreads: float = 4
    duration_factor: float = 1.5


def configured_limits() -> Limits:
    """The limits, with those of the section ``[sources.komos.checks]`` in place of the defaults.

    Raises:
        ConfigurationError: There is no such limit, or its value is not a positive number.
    """
    names = [field.name for field in fields(Limits)]
    section: Any = setting(_SECTION)
    for name in section if isinstance(section, dict) else ():
        if name not in names:
            raise ConfigurationError(
                f"[sources.komos.checks] has no limit {name!r}: it has {', '.join(names)}"
            )
    found = {name: setting(f"{_SECTION}.{name}") for name in names}
    return replace(
        Limits(),
        **{name: _number(name, value) for name, value in found.items() if value is not None},
    )


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
        check_number(name, number, 1e-9)
    except (TypeError, ValueError, UsageError) as error:
        raise ConfigurationError(
            f"{name} in [sources.komos.checks] must be a number above 0, not {value!r}"
        ) from error
    return number
