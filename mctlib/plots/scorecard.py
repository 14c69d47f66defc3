"""Pictures of notebooks/scorecard.ipynb."""

from __future__ import annotations

import io

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from mctlib.plots import marks, style

MOST = 2  # numbers in one picture
FINE = 0.05  # shares that lie closer are written with a decimal
LIFE = {
    "n_dormant": "not this week",
    "n_returning": "back again",
    "n_resurrected": "after a month",
    "n_new": "new",
}


def plot_weeks(weeks: pd.DataFrame, alerts: pd.DataFrame, timeline: pd.DataFrame) -> Figure:
    """The two numbers that moved last, by week, with alerts and the timeline's entries.

    Parameters
    ----------
    weeks : DataFrame
        `Scorecard.weeks`.
    alerts : DataFrame
        `Scorecard.alerts`: which numbers, and their weeks.
    timeline : DataFrame
        `Scorecard.timeline`; of each number the entries that concern it.

    Returns
    -------
    Figure
        A panel a number.
    """
    totals = weeks[weeks["segment"] == "all"]
    fell = alerts.loc[alerts["kind"] != "loss", "metric"]
    latest = [name for name in fell if name in set(totals["metric"])]
    names = list(dict.fromkeys([*latest, *totals["metric"]]))[:MOST]
    style.use()
    high = 6.2 if style.narrow() else 4.6  # on a phone the entries stand below each panel
    fig, grid = plt.subplots(
        max(len(names), 1), sharex=True, squeeze=False, figsize=style.size(high)
    )
    for name, ax in zip(names, grid[:, 0]):
        rows = totals[totals["metric"] == name]
        _draw(ax, rows, alerts[(alerts["metric"] == name) & (alerts["kind"] != "loss")])
        label = str(rows["label"].iloc[0])
        mine = [label in str(concerned).split(", ") for concerned in timeline["concerns"]]
        marks.draw(ax, timeline[np.array(mine, bool)].head(4))
        ax.set_title(style.folded(label), pad=32 if style.narrow() else 24)
    marks.months(grid[-1, 0])
    return fig


def _draw(ax: Axes, rows: pd.DataFrame, alerts: pd.DataFrame) -> None:
    """The line of one number, a point where an alert began, the newest value beside it."""
    day = matplotlib.dates.date2num(rows["week"])  # type: ignore[no-untyped-call]  # untyped
    ax.plot(day, rows["value"], color=style.ACCENT, lw=2.2)
    fell = rows["week"].isin(alerts["since"])
    ax.plot(day[fell], rows["value"][fell], "o", color=style.WARN, ms=7)
    last = rows.iloc[-1]
    is_rate = rows["value"].max() <= 1
    text = f"{100 * last['value']:.1f}\u00a0%" if is_rate else f"{last['value']:.1f}"
    style.label_ends(ax, [style.End(day[-1], last["value"], text, style.ACCENT)])
    low, high = rows["value"].min(), rows["value"].max()
    if is_rate:
        ax.yaxis.set_major_formatter(PercentFormatter(1, int(high - low < FINE), symbol=" %"))
    room = max(high - low, 0.02 * high) * 0.35
    ax.set_ylim(low - room, high + room)


def plot_lifecycle(lifecycle: pd.DataFrame) -> Axes:
    """Users of the last four weeks by what they did in the week, on top of each other.

    Parameters
    ----------
    lifecycle : DataFrame
        `Scorecard.lifecycle`.

    Returns
    -------
    Axes
        Of the picture.
    """
    if lifecycle.empty:
        return style.nothing("Less than five weeks of data")
    ax = style.axes(height=3.4)
    day = matplotlib.dates.date2num(lifecycle["week"])  # type: ignore[no-untyped-call]  # untyped
    colours = [style.PALE, style.ACCENT, style.GREY, style.WARN]
    ax.stackplot(day, [lifecycle[name] for name in LIFE], colors=colours, lw=0)
    height, ends = 0.0, []
    for (name, words), colour in zip(LIFE.items(), colours):
        n = float(lifecycle[name].iloc[-1])
        dark = (
            style.MUTED if colour == style.PALE else style.ACT if colour == style.WARN else colour
        )
        ends.append(style.End(day[-1], height + n / 2, words, dark))
        height += n
    style.label_ends(ax, ends)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    marks.months(ax)
    return ax


def picture_of(weeks: pd.DataFrame, alerts: pd.DataFrame) -> bytes:
    """The weeks as a PNG, for a mail, on white and in words that phones can read."""
    with style.drawn_at(style.WIDE):
        none = pd.DataFrame({"day": [], "kind": [], "label": [], "concerns": pd.Series(dtype=str)})
        fig = plot_weeks(weeks, alerts, none)
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=110, facecolor=style.PAPER)
    plt.close(fig)
    return file.getvalue()
