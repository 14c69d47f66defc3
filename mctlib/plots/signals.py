"""Pictures of notebooks/signals.ipynb."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mctlib.phrases import nought
from mctlib.plots import marks, style

TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
FAR = 50.0  # times as many; what is counted plainly beyond is drawn here, with its number
MOST = 12
COLOURS = {"signal": style.ACCENT, "harmful": style.ACT}


def plot_signals(signals: pd.DataFrame, *, most: int = MOST) -> Axes:
    """`Signals.signals` of the first outcome: how many times as many with each as without it.

    Dot and bar are the fair comparison, the diamond is the plain one. Draws the ``most`` surest,
    the largest ratio on top.
    """
    table = signals[signals["outcome"] == signals["outcome"].iloc[:1].max()]
    table = table[table["risk_ratio_ci_lower"] > 0].head(most)
    table = table.sort_values("risk_ratio", ascending=False)
    ax = style.axes(height=1.2 + 0.36 * max(len(table), 1))
    if table.empty:
        return style.nothing("Nothing can be compared.", ax)
    ax.set_xscale("log")
    y = style.forest(ax, table, label="signal", value="risk_ratio", zero=1.0)
    plain = table["naive_risk_ratio"].to_numpy(float)
    drawn = np.clip(plain, 1 / FAR, FAR)
    ax.hlines(y, table["risk_ratio"], drawn, color=style.GREY, lw=1, ls=":", zorder=1)
    ax.plot(drawn, y, "D", color="white", mec=style.GREY, ms=6, zorder=1)
    for at, ratio, verdict in zip(y, plain, table["verdict"]):
        if ratio > FAR:
            words = f"{ratio:,.0f}\u00d7" if np.isfinite(ratio) else "no limit"
            style.write(ax, words, (FAR, at), (-8, -14), ha="right", color=style.MUTED)
        style.write_right(ax, at, verdict, color=COLOURS.get(verdict, style.MUTED))
    above = {"within": "axes fraction"}
    style.write(ax, "\u25cf like with like", (0, 1), (0, 4), color=style.ACCENT, **above)
    shift = (110, 4)
    style.write(ax, "\u25c7 ever against never", (0, 1), shift, color=style.MUTED, **above)
    _times(ax)
    ax.set_xlabel("times as many with it as without it (range)")
    return ax


def _times(ax: Axes) -> None:
    """Write an axis of ratios: 0.5x, 1x, 2x."""
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(FixedLocator([t for t in TICKS if low <= t <= high]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}\u00d7"))


def plot_overlap(overlap: pd.DataFrame) -> Axes:
    """`Definitions.overlap`: share of users by whose definitions they count, and their outcome."""
    table = overlap.sort_values("n_users", ascending=False)
    ax = style.axes(height=1.2 + 0.42 * max(len(table), 1))
    if table.empty:
        return style.nothing("Nobody can be told of.", ax)
    y = style.rows(ax, table["combination"])
    ax.barh(y, table["user_share"], style.thick(), color=style.MIDDLE)
    for at, rate in zip(y, table["outcome_rate"]):
        words = f"{nought(f'{100 * rate:.0f}')} %" if rate == rate else ""
        style.write_right(ax, at, words, color=style.INK)
    if not style.narrow():
        words = "then with the outcome"
        style.write(ax, words, (1.02, 1), (0, 4), within="axes fraction", color=style.MUTED)
    style.percent(ax.xaxis)
    ax.set_xlabel("of all users, by whose definition they count")
    return ax


def plot_meanings(months: pd.DataFrame) -> Axes:
    """`Definitions.months`: share of users who count, a line a team, by month of the start."""
    ax = style.axes()
    if months["month"].nunique() < 2:
        return style.nothing("All users began in one month.", ax)
    ends = []
    for (team, line), colour in zip(months.groupby("team", sort=False), style.PALETTE):
        x = marks.mdates.date2num(pd.to_datetime(line["month"].str[:10]))
        ax.plot(x, line["met_rate"], color=colour, lw=1.8)
        style.band(ax, x, *style.ends_of(line, "met_rate"), colour)
        last = line["met_rate"].iloc[-1]
        ends.append(style.End(x[-1], last, str(team), colour))
    ax.set(ylim=(0, None), xlabel="month of the start", ylabel="of its users count")
    marks.months(ax)
    style.percent(ax.yaxis)
    style.label_ends(ax, ends)
    return ax
