"""What happened when: a timeline's entries in a picture over time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import dates
from matplotlib.axes import Axes

from mctlib import phrases
from mctlib.plots import style

mdates: Any = dates  # which has no types
# by the kind of an entry: its sign, the colours of its words and of its line
SIGNS = {
    "competitor": ("\u25c6", style.ACT, style.WARN),
    "release": ("\u25a0", style.GREY, style.GREY),
    "intervention": ("\u25b2", style.ACCENT, style.ACCENT),
}
OTHER = ("\u25cf", style.GREY, style.GREY)
LANES, LINES = 4, 8  # so many are named above a picture, else so many below it
LANE, LIFT = 17, 13  # its height; that of a number, points
LETTERS, LETTER = 44, 9  # of a name below the axis, a line; how wide one is above it, bold, pixels
NEAR = 0.05  # of an axis: numbers that are so near are written one above the other


def of_steps(timeline: pd.DataFrame, steps: Iterable[Any]) -> pd.DataFrame:
    """The entries that name one of these steps, each a name or several; where none does, all."""
    wanted = {name for step in steps for name in ([step] if isinstance(step, str) else step)}
    named = timeline["micro_conversions"].fillna("").str.split(r"\s*,\s*", regex=True)
    mine = named.map(lambda words: not wanted.isdisjoint(words)).astype(bool)
    return timeline[mine] if mine.any() else timeline


def draw(ax: Axes, timeline: pd.DataFrame) -> None:
    """Dotted lines at the days of a picture; named above it, where there are few and it is wide.

    Else they are numbered, and named below the axis.
    """
    first, last = (pd.Timestamp(mdates.num2date(edge)).tz_localize(None) for edge in ax.get_xlim())
    days = pd.to_datetime(timeline["day"])
    table = timeline.assign(at=days)[days.between(first, last)].sort_values("at")
    lanes = not style.narrow() and len(table) <= LANES
    below, beside, up = [], -np.inf, False
    for k, row in enumerate(table.itertuples()):
        sign, ink, line = SIGNS.get(row.kind, OTHER)
        ax.axvline(row.at, color=line, lw=1.2, ls=":", zorder=1)
        looks: dict[str, Any] = {"within": style.EDGE, "color": ink, "weight": "bold"}
        if lanes:
            before = (row.at - first) / (last - first)
            side, room = ("left", 1 - before) if before < 0.5 else ("right", before)
            label = _shortened(row.label, int(room * style.WIDE / LETTER))
            place = (-4 if side == "left" else 4, 4 + LANE * (len(table) - 1 - k))
            words = f"{sign} {label}" if side == "left" else f"{label} {sign}"
            style.write(ax, words, (row.at, 1), place, ha=side, **looks)
        else:
            at = (row.at - first) / (last - first)
            up = at - beside < NEAR and not up  # else two numbers would read as one
            style.write(ax, f"{k + 1}", (row.at, 1), (0, 3 + LIFT * up), ha="center", **looks)
            beside = at
            words = f"{k + 1} {sign} {row.at.day} {row.at:%b}: {phrases.called(row.label)}"
            rest: dict[str, Any] = {"max_lines": 2, "placeholder": " \u2026"}
            below.append(textwrap.fill(words, LETTERS, subsequent_indent="\u2003", **rest))
    if below:
        more = [f"and {len(below) - LINES} more"] if len(below) > LINES else []
        words, under = "\n".join([*below[:LINES], *more]), {"va": "top", "linespacing": 1.4}
        down = 62 if ax.get_xlabel() else 44  # below the months, their year and what axis it is
        style.write(ax, words, (0, 0), (-36, -down), within="axes fraction", **under)


def _shortened(label: Any, letters: int) -> str:
    return textwrap.shorten(phrases.called(str(label)), max(letters, 8), placeholder=" \u2026")


def months(ax: Axes, *, beside: int = 1) -> None:
    """Name months on the axis, as many as there is room for, the year where it begins.

    ``beside``: how many such axes share the width.
    """
    first, last = mdates.num2date(ax.get_xlim())
    every = -(-int((last - first).days / 30.4) // (5 if style.narrow() else 9 // beside)) or 1
    every = next((n for n in (1, 2, 3, 6) if n >= every), 12)
    ax.xaxis.set_major_locator(mdates.MonthLocator(range(1, 13, every)))
    ax.xaxis.set_major_formatter(
        lambda x, at: f"{mdates.num2date(x):%b}" + _year(mdates.num2date(x), at)
    )


def _year(day: pd.Timestamp, at: float | None) -> str:
    return f"\n{day:%Y}" if day.month == 1 or at == 0 else ""


def hover(ax: Axes, x: Iterable, y: Iterable, words: Iterable[str]) -> None:
    """Words under the mouse at points that are not drawn."""
    for at, height, text in zip(x, y, words):
        (point,) = ax.plot([at], [height], "o", ms=14, alpha=0)
        point.set_gid(f"hover:{text}")
