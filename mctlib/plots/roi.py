"""Pictures of notebooks/roi.ipynb."""

from __future__ import annotations

from functools import partial

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mctlib.plots.style import (
    ACCENT,
    INK,
    MUTED,
    PALE,
    WARN,
    axes,
    forest,
    label_ends,
    percent,
    short,
    short_axis,
    style,
)


def plot_before_after(
    path: pd.DataFrame,
    placebos: pd.DataFrame | None = None,
    money: pd.DataFrame | None = None,
    *,
    change_at: str,
    metric: str = "",
    kind: str = "",
) -> Figure:
    """`BeforeAfter.path`: observed weeks against the counterfactual, and the gap between them.

    The gap lies before the `BeforeAfter.placebos` in grey; added up to money it is held against the
    cost (`BeforeAfter.money`). The panels that a comparison has nothing for (plain before/after, no
    value given) are left out. ``metric``: in words; ``kind``: "rate" for axes in per cent.
    """
    panels = [
        partial(_draw_observed, kind=kind),
        *([partial(_draw_gap, placebos=placebos, kind=kind)] if path["gap"].notna().any() else []),
        *([partial(_draw_gain, money=money)] if path["gain_amount"].notna().any() else []),
    ]
    style()
    fig, grid = plt.subplots(
        len(panels),
        sharex=True,
        squeeze=False,
        figsize=(8, 2 + 1.9 * len(panels)),
        height_ratios=[3, 2.4, 2.4][: len(panels)],
    )
    change, day = pd.Timestamp(change_at), mdates.date2num(pd.to_datetime(path["day"]))
    for draw, ax in zip(panels, grid[:, 0]):
        draw(ax, day, path)
        ax.axvline(change, color=WARN, lw=1.2)
    top, bottom = grid[0, 0], grid[-1, 0]
    top.annotate(
        f"change {change:%Y-%m-%d}",
        (mdates.date2num(change), 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, 3),
        textcoords="offset points",
        color=WARN,
        fontsize=9,
    )
    bottom.xaxis.set_major_formatter(mdates.ConciseDateFormatter(bottom.xaxis.get_major_locator()))
    bottom.set_xlabel("week beginning (UTC)")
    metric = metric.removeprefix("the ")
    top.set_title(metric[:1].upper() + metric[1:], pad=18)  # above the label of the change
    return fig


def _draw_observed(ax: Axes, day: np.ndarray, path: pd.DataFrame, *, kind: str) -> None:
    ax.fill_between(
        day,
        path["counterfactual_ci_lower"],
        path["counterfactual_ci_upper"],
        color=PALE,
        alpha=0.45,
        lw=0,
    )
    ax.plot(day, path["counterfactual"], color=ACCENT, lw=1.6, ls="--", alpha=0.8)
    ax.plot(day, path["observed"], color=INK, lw=2, marker="o", ms=4)
    label_ends(
        ax,
        [
            (day[-1], path[column].iloc[-1], text, colour)
            for column, text, colour in [
                ("observed", "observed", INK),
                ("counterfactual", "without\nthe change", ACCENT),
            ]
            if path[column].notna().iloc[-1]
        ],
        gap=0.14,
    )
    if kind == "rate":
        percent(ax.yaxis)


def _draw_gap(
    ax: Axes, day: np.ndarray, path: pd.DataFrame, *, placebos: pd.DataFrame | None, kind: str
) -> None:
    ends = [(day[-1], path["gap"].iloc[-1], "gap", INK)]
    for _, line in () if placebos is None else placebos.groupby("placebo", sort=False):
        ax.plot(
            mdates.date2num(pd.to_datetime(line["day"])),
            line["gap"],
            color=MUTED,
            lw=0.9,
            alpha=0.45,
        )
        ends = [*ends[:1], (day[-1], 0.0, "nothing\nchanged", MUTED)]
    ax.fill_between(day, path["gap_ci_lower"], path["gap_ci_upper"], color=PALE, alpha=0.45, lw=0)
    ax.hlines(0, day[0], day[-1], color=MUTED, lw=1)
    ax.plot(day, path["gap"], color=INK, lw=2)
    rate = kind == "rate"
    if rate:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.0f}" if v else "0"))
    ax.set_title(
        f"Observed less counterfactual{', percentage points' if rate else ''}",
        fontsize=10,
        weight="normal",
    )
    label_ends(ax, ends, gap=0.2)


def _draw_gain(
    ax: Axes, day: np.ndarray, path: pd.DataFrame, *, money: pd.DataFrame | None
) -> None:
    after = path["gain_amount"].notna().to_numpy()
    end = np.r_[day[after][0], day[after] + 7]  # what a week brought is there at its end
    gain, low, high = (
        np.r_[0.0, path.loc[after, f"gain_amount{side}"]] for side in ("", "_ci_lower", "_ci_upper")
    )
    ax.fill_between(end, low, high, color=PALE, alpha=0.45, lw=0)
    ax.plot(end, gain, color=ACCENT, lw=2)
    cost, paid = 0.0, np.nan
    if money is not None:
        cost, paid = money["cost_amount"].iloc[0], money["payback_days"].iloc[0]
    ends = [(end[-1], gain[-1], f"brought\n{short(gain[-1])}", ACCENT)]
    if cost > 0:
        ax.hlines(cost, day[0], end[-1], color=WARN, lw=1, ls="--")
        ax.annotate(
            f"cost {short(cost)}",
            (day[0], cost),
            (0, 4),
            textcoords="offset points",
            color=WARN,
            fontsize=9,
        )
    if paid == paid:
        ax.plot(end[0] + paid, cost, "o", color=WARN, ms=6)
        told = "paid back on" if gain[-1] >= cost else "covered its cost by"  # and lost it again
        ax.annotate(
            f"{told} day {paid:.0f}",
            (end[0] + paid, cost),
            (-8, 6),
            textcoords="offset points",
            ha="right",
            color=WARN,
            fontsize=9,
        )
    ax.axhline(0, color=MUTED, lw=1)
    ax.set_title("Gap times users, added up to money", fontsize=10, weight="normal")
    short_axis(ax.yaxis)
    label_ends(ax, ends)


def plot_rungs(rungs: pd.DataFrame, *, kind: str = "", ax: Axes | None = None) -> Axes:
    """`BeforeAfter.rungs`: effect by comparison with its interval, weakest at the top.

    One the data do not support is drawn hollow, plain before/after red. ``kind``: "rate" for
    percentage points.
    """
    rungs = rungs[rungs["effect"].notna()]
    ax = forest(
        axes(ax, size=(8, 0.6 * len(rungs) + 1.2)),
        rungs,
        label="rung",
        value="effect",
        colour=ACCENT,
    )
    for y, row in zip(range(len(rungs))[::-1], rungs.itertuples()):
        naive = row.rung == "before/after"
        if naive:
            ax.hlines(y, row.effect_ci_lower, row.effect_ci_upper, color=WARN, lw=2)
        if not row.supported:
            ax.plot(row.effect, y, "o", color="white", mec=WARN if naive else ACCENT, ms=6)
            ax.annotate(
                "no evidence" if naive else "not supported",
                (1, y),
                xycoords=("axes fraction", "data"),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=WARN if naive else MUTED,
                fontsize=9,
            )
    if kind == "rate":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.0f}" if v else "0"))
        ax.set_xlabel("effect, percentage points (95 % interval)")
    else:
        ax.set_xlabel("effect, in units of the metric (95 % interval)")
    return ax
