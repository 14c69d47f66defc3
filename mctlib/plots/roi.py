"""Pictures of notebooks/roi.ipynb."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mctlib import headlines
from mctlib.plots import marks, style

mdates: Any = matplotlib.dates  # which has no types


def plot_before_after(
    path: pd.DataFrame,
    placebos: pd.DataFrame | None = None,
    money: pd.DataFrame | None = None,
    *,
    change_at: str,
    metric: str = "",
    kind: str = "",
    course: str = "",
    gap: bool = True,
) -> Figure:
    """Observed weeks against the counterfactual; below, the gap, and the gap added up to money.

    The panels that a comparison has nothing for (plain before/after, no value given) are left out.

    Parameters
    ----------
    path : DataFrame
        `BeforeAfter.path`.
    placebos : DataFrame, optional
        `BeforeAfter.placebos`, drawn in grey behind the gap.
    money : DataFrame, optional
        `BeforeAfter.money`, whose cost the gain is held against.
    change_at : str
        Day of the change.
    metric : str
        What is observed, in words.
    kind : str
        "rate" for axes in per cent.
    course : str
        `BeforeAfter.course`, in words above the gap.
    gap : bool
        Whether the gap has a panel of its own.

    Returns
    -------
    Figure
        Up to three panels above each other.
    """
    rate = kind == "rate"
    panels: list[Callable[..., None]] = [partial(_draw_observed, rate=rate)]
    if gap and path["gap"].notna().any():
        told = f": the effect {course}" if course else ""
        panels.append(partial(_draw_gap, placebos=placebos, rate=rate, told=told))
    if path["gain_amount"].notna().any():
        panels.append(partial(_draw_gain, money=money))
    style.use()
    fig, grid = plt.subplots(
        len(panels),
        sharex=True,
        squeeze=False,
        figsize=style.size(2 + 1.9 * len(panels) if gap else 4.9),
        height_ratios=[3, *[2.4 if gap else 1.6] * (len(panels) - 1)],
    )
    change = pd.Timestamp(change_at)
    day = mdates.date2num(pd.to_datetime(path["day"]))
    for draw, ax in zip(panels, grid[:, 0]):
        draw(ax, day, path)
        ax.axvline(change, color=style.ACCENT, lw=1.2, ls=":")
    top, bottom = grid[0, 0], grid[-1, 0]
    _name_change(top, change)
    marks.months(bottom)
    if gap:
        bottom.set_xlabel("week beginning (UTC)")
        metric = metric.removeprefix("the ")
        metric = metric[:1].upper() + metric[1:]
        top.set_title(style.folded(metric), pad=18)  # above the label of the change
    return fig


def _name_change(ax: Axes, change: pd.Timestamp) -> None:
    """Words above the line of the change, at the side where there is room; the sign at the line."""
    sign, words, at = "\u25b2", f"the change, {change.day} {change:%B}", mdates.date2num(change)
    first, last = ax.get_xlim()
    left = (at - first) / (last - first) < (0.4 if style.narrow() else 0.7)
    words = f"{sign} {words}" if left else f"{words} {sign}"
    looks: dict[str, Any] = {"color": style.ACCENT, "within": style.EDGE, "weight": "bold"}
    looks["ha"] = "left" if left else "right"
    style.write(ax, words, (at, 1), (-4 if left else 4, 3), **looks)


def _draw_observed(ax: Axes, day: np.ndarray, path: pd.DataFrame, *, rate: bool) -> None:
    style.band(ax, day, *style.ends_of(path, "counterfactual"), style.GREY)
    ax.plot(day, path["counterfactual"], color=style.GREY, lw=1.8, ls="--")
    ax.plot(day, path["observed"], color=style.ACCENT, lw=2.4)
    last, without = path.iloc[-1], "without\nit" if style.narrow() else "without\nthe change"
    ends = [
        style.End(day[-1], last["observed"], "seen", style.ACCENT),
        style.End(day[-1], last["counterfactual"], without, style.GREY),
    ]
    style.label_ends(ax, [end for end in ends if not np.isnan(end.y)], gap=0.14)
    if rate:
        style.percent(ax.yaxis)


def _draw_gap(
    ax: Axes,
    day: np.ndarray,
    path: pd.DataFrame,
    *,
    placebos: pd.DataFrame | None,
    rate: bool,
    told: str,
) -> None:
    ends = [style.End(day[-1], path["gap"].iloc[-1], "gap", style.INK)]
    if placebos is not None and len(placebos):
        for _, line in placebos.groupby("placebo", sort=False):
            of_line = mdates.date2num(pd.to_datetime(line["day"]))
            ax.plot(of_line, line["gap"], color=style.MUTED, lw=0.9, alpha=0.45)
        ends.append(style.End(day[-1], 0.0, "nothing\nchanged", style.MUTED))
    style.band(ax, day, *style.ends_of(path, "gap"), style.PALE, alpha=0.45)
    ax.hlines(0, day[0], day[-1], color=style.MUTED, lw=1)
    ax.plot(day, path["gap"], color=style.INK, lw=2)
    title = "Observed less counterfactual"
    if rate:
        style.percentage_points(ax.yaxis)
        title += ", percentage points"
    ax.set_title(style.folded(title + told), weight="normal")
    style.label_ends(ax, ends, gap=0.2)


def _draw_gain(
    ax: Axes, day: np.ndarray, path: pd.DataFrame, *, money: pd.DataFrame | None
) -> None:
    after = path["gain_amount"].notna().to_numpy()
    of_change = day[after][0]
    end = np.r_[of_change, day[after] + 7]  # what a week brought is there at its end
    gain = np.r_[0.0, path.loc[after, "gain_amount"]]
    low, high = (np.r_[0.0, side] for side in style.ends_of(path[after], "gain_amount"))
    style.band(ax, end, low, high, style.ACCENT)
    ax.plot(end, gain, color=style.ACCENT, lw=2)
    cost, paid, currency, chance = 0.0, np.nan, "", ""
    if money is not None:
        cost, paid, currency = money[["cost_amount", "payback_days", "currency"]].iloc[0]
        chance = _may_be_chance(money.iloc[0])
    if cost > 0:
        ax.hlines(cost, day[0], end[-1], color=style.GREY, lw=1, ls="--")
        words = f"cost {headlines.money(cost, currency)}"
        style.write(ax, words, (day[0], cost), (0, 4), color=style.GREY)
    if not np.isnan(paid):
        ax.plot(of_change + paid, cost, "o", color=style.INK, ms=7)
        told = "paid back on" if gain[-1] >= cost else "covered its cost by"  # and lost it again
        at = (of_change + paid, cost)
        words = f"{told} day {paid:.0f}{chance}"
        if style.narrow():  # beside the words of the cost
            words = words.replace(" on ", "\non ").replace(" by ", "\nby ").replace(" (", "\n(")
        style.write(ax, words, at, (-8, 6), ha="right", color=style.INK)
    ax.axhline(0, color=style.MUTED, lw=1)
    room = 2.6 if style.narrow() else 1.4  # for the words at the cost, three lines or one
    ax.set_ylim(top=max(ax.get_ylim()[1], room * cost))
    title = "Gap times users, added up to money" + (f", {currency}" if currency else "")
    ax.set_title(title, weight="normal")
    style.money_or_counts(ax.yaxis)
    brought = f"brought\n{headlines.money(gain[-1], currency)}"
    style.label_ends(ax, [style.End(end[-1], gain[-1], brought, style.ACCENT)])


def _may_be_chance(money: pd.Series) -> str:
    """What stands behind the day on which it had paid, where the return is not clear."""
    if money["roi_ci_lower"] > 0:
        return ""
    soonest = money["payback_days_ci_lower"]
    return f" ({soonest:.0f} or later)" if np.isfinite(soonest) else " (may be chance)"


def plot_rungs(rungs: pd.DataFrame, *, kind: str = "") -> Axes:
    """`BeforeAfter.rungs`: the effect by each comparison with its interval, weakest at the top.

    One that the data do not support is drawn hollow, plain before/after red; beside the others
    stands whether they show an effect. ``kind``: "rate" for percentage points.
    """
    rungs = rungs[rungs["effect"].notna()]
    ax = style.axes(height=0.6 * len(rungs) + 1.2)
    y = style.forest(ax, rungs, label="rung", value="effect")
    for at, row in zip(y, rungs.itertuples()):
        naive, words, colour = row.rung == "before/after", row.verdict, style.INK
        if naive:
            ax.hlines(at, row.effect_ci_lower, row.effect_ci_upper, color=style.WARN, lw=2)
        if not row.supported:
            style.hollow(ax, row.effect, at, style.WARN if naive else style.ACCENT)
            words = "no evidence" if naive else "not supported"
            colour = style.WARN if naive else style.MUTED
        style.write_right(ax, at, words, x=1, shift=6, color=colour)
    unit = "in units of the metric"
    if kind == "rate":
        style.percentage_points(ax.xaxis)
        unit = "percentage points"
    ax.set_xlabel(f"effect, {unit} (95 % interval)")
    return ax
