"""Charts as SVG and HTML. Pure: numbers in, markup out; colours are classes of the style sheet.

All text from data passes ``Markup.format``, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from markupsafe import Markup

from komos_source.analytics.formatting import percent, short_day

_STEPS = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Shares at which the colour of the heatmap changes."""
_ENDS = (0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 1.0)
"""Shares at which an axis may end: round numbers with round halves."""
_WIDTH, _HEIGHT = 340, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 8, 16, 22


@dataclass(frozen=True, slots=True)
class Day:
    """The runs that visited a node on one day. Days without runs have no such object.

    Attributes:
        index: Index of the day in the period.
        runs: Number of runs, more than 0.
        hits: Number of those with an error or warning.
    """

    index: int
    runs: int
    hits: int

    @property
    def share(self) -> float:
        """Share of runs with a hit."""
        return self.hits / self.runs


def axis_end(highest: float) -> float:
    """The end of an axis that shows shares up to this one."""
    return next((end for end in _ENDS if highest <= end), 1.0)


def heat(share: float) -> str:
    """Class of a heatmap's cell: h0 for none, h1 to h6 for shares up to 2, 5, 10, 25, 50, 100 %."""
    return f"h{1 + sum(share > step for step in _STEPS)}" if share else "h0"


def heat_steps() -> list[tuple[str, str]]:
    """The classes of a heatmap's cells with what they mean, for its legend."""
    return [("h0", "0"), *((heat(end), f"≤ {percent(end)}") for end in _STEPS)]


def interval(low: float, rate: float, high: float, end: float) -> Markup:
    """A share as a dot and its interval as a bar, on an axis from 0 to `end`."""
    return _bar("", *(100 * value / end for value in (low, rate, high)))


def odds(low: float, ratio: float, high: float) -> Markup:
    """An odds ratio and its interval, on a logarithmic axis from 1/32 to 32."""
    return _bar(" odds", *(50 + 10 * math.log2(max(value, 1 / 32)) for value in (low, ratio, high)))


def _bar(kind: str, *places: float) -> Markup:
    return Markup(
        '<span class="ci{}" style="--low:{:.2f}%;--at:{:.2f}%;--high:{:.2f}%"><i></i><b></b></span>'
    ).format(kind, *(min(100.0, index) for index in places))


def trend(days: Sequence[date], seen: Sequence[Day], changed_on: date | None) -> Markup:
    """Daily shares as dots, the larger the more runs, and as lines the shares before and after.

    Args:
        days: The x axis.
        seen: Days with runs.
        changed_on: The first day after the change; None if there was none.
    """
    frame = _Frame(days, axis_end(max((day.share for day in seen), default=0.0)))
    cut = days.index(changed_on) if changed_on in days else None
    edges = [0, len(days)] if cut is None else [0, cut, len(days)]
    means = [
        frame.mean([day for day in seen if first <= day.index < after])
        for first, after in pairwise(edges)
    ]
    most = max((day.runs for day in seen), default=1)
    dots = [frame.dot(day, most) for day in seen]
    marks = [] if cut is None else [frame.change(cut)]
    return Markup(
        '<svg class="trend" viewBox="0 0 {} {}" role="img" aria-label="Share of runs by day">'
        "{}</svg>"
    ).format(_WIDTH, _HEIGHT, Markup("").join([frame.axes(), *means, *dots, *marks]))


@dataclass(frozen=True, slots=True)
class _Frame:
    """Axes of a trend: days across, shares from 0 to `end` upwards."""

    days: Sequence[date]
    end: float

    def x(self, index: float) -> float:
        """The middle of a day, or with a half its edge."""
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (index + 0.5) / len(self.days)

    def y(self, share: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share / self.end

    def axes(self) -> Markup:
        lines = [
            Markup(
                '<path class="grid" d="M{} {:.1f}H{}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, self.y(at), _WIDTH - _RIGHT, _LEFT - 5, self.y(at) + 3.5, percent(at))
            for at in (0.0, self.end / 2, self.end)
        ]
        last = len(self.days) - 1
        labels = [
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                self.x(index), _HEIGHT - 6, anchor, short_day(self.days[index])
            )
            for index, anchor in {last // 2: "middle", last: "end", 0: "start"}.items()
        ]
        return Markup("").join([*lines, *labels])

    def mean(self, seen: Sequence[Day]) -> Markup:
        """The share over some days, as a line across them."""
        if not seen:
            return Markup("")
        share = sum(day.hits for day in seen) / sum(day.runs for day in seen)
        return Markup('<path class="mean" d="M{:.1f} {:.1f}H{:.1f}"/>').format(
            self.x(seen[0].index - 0.5), self.y(share), self.x(seen[-1].index + 0.5)
        )

    def dot(self, day: Day, most: int) -> Markup:
        return Markup(
            '<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="{:.1f}">'
            "<title>{}: {} of {} runs</title></circle>"
        ).format(
            self.x(day.index),
            self.y(day.share),
            1.5 + 2.5 * math.sqrt(day.runs / most),
            short_day(self.days[day.index]),
            day.hits,
            day.runs,
        )

    def change(self, cut: int) -> Markup:
        at = self.x(cut - 0.5)
        is_left = at < _WIDTH / 2
        return Markup(
            '<path class="change" d="M{:.1f} {}V{}"/>'
            '<text class="since" x="{:.1f}" y="{}" text-anchor="{}">since {}</text>'
        ).format(
            at,
            4,
            _HEIGHT - _BOTTOM,
            at + (5 if is_left else -5),
            11,
            "start" if is_left else "end",
            short_day(self.days[cut]),
        )
