"""Pictures of notebooks/attribution.ipynb."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mctlib.plots.style import (
    ACCENT,
    GRID,
    INK,
    MUTED,
    PALE,
    PALETTE,
    _nothing,
    _ticks,
    axes,
    label_ends,
    percent,
    short_axis,
    style,
)


def plot_credit_surface(
    credit: pd.DataFrame, *, rule: str = "linear", ax: Axes | None = None
) -> Axes:
    """Share of the attributed conversions by partner (rows, the largest at the longest window on top) and window (columns), under one rule.

    ``credit``: the partners' column first, then rule, window_days, credit_share.
    """
    import seaborn as sns

    share = credit[credit["rule"] == rule].pivot(
        index=credit.columns[0], columns="window_days", values="credit_share"
    )
    share = share.sort_values(share.columns[-1], ascending=False)
    ax = axes(ax, size=(2.6 + 0.75 * share.shape[1], 1.2 + 0.42 * len(share)))
    sns.heatmap(
        share,
        annot=share.map("{:.0%}".format).replace("%", " %", regex=True),
        fmt="",
        cmap=sns.light_palette(ACCENT, as_cmap=True),
        vmin=0,
        cbar=False,
        linewidths=2,
        ax=ax,
    )
    ax.set(
        xlabel="attribution window, days", ylabel="", xticklabels=[f"{d:g}" for d in share.columns]
    )
    ax.tick_params(axis="y", rotation=0)
    ax.set_title(f"Share of credit, {rule.replace('_', ' ')} rule")
    return ax


def plot_window_curve(windows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Conversions attributed, in excess of the background and too late for the window, by window; the admissible windows shaded.

    ``windows``: window_days, n_attributed, n_late, late_rate + ci, n_excess + ci, admissible.
    """
    ax = axes(ax)
    days, most = windows["window_days"], windows["n_attributed"].iloc[-1]
    lines = {
        "attributed": ("n_attributed", MUTED, None),
        "excess over background": ("n_excess", ACCENT, ("n_excess", 1)),
        "later than the window": ("n_late", PALETTE[1], ("late_rate", most)),
    }
    for column, colour, band in lines.values():
        ax.plot(days, windows[column], "o-", color=colour, lw=1.8, ms=4)
        if band:
            ax.fill_between(
                days,
                *(band[1] * windows[f"{band[0]}_ci_{side}"] for side in ("lower", "upper")),
                color=colour,
                alpha=0.15,
                lw=0,
            )
    fit = windows.loc[windows["admissible"], "window_days"]
    if len(fit):
        ax.axvspan(
            fit.iloc[0] - 0.01 * days.max(),
            fit.iloc[-1] + 0.01 * days.max(),
            color=PALE,
            alpha=0.5,
            lw=0,
            zorder=0,
        )
        ax.annotate(
            "admissible",
            ((fit.iloc[0] + fit.iloc[-1]) / 2, 1),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="bottom",
            color=ACCENT,
            fontsize=9,
        )
    ax.set(
        xlabel="attribution window, days", ylabel="conversions", xlim=(0, None), xticks=_ticks(days)
    )
    ax.set_ylim(bottom=min(0, windows[["n_excess", "n_excess_ci_lower"]].min(axis=None)))
    short_axis(ax.yaxis)
    label_ends(
        ax,
        [
            (days.iloc[-1], windows[column].iloc[-1], name, colour)
            for name, (column, colour, _) in lines.items()
        ],
    )
    return ax


def plot_dilution(windows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Share of the attributed conversions that would have happened anyway, by window: by the background rate and by placebo touches, with bands.

    ``windows``: window_days, dilution_rate + ci, placebo_rate + ci.
    """
    if windows["dilution_rate"].isna().all():
        return _nothing(
            axes(ax, size=(7.2, 0.8)), "There is too little untouched time to compare with."
        )
    ax = axes(ax, size=(7.6, 3.4))
    days, ends = windows["window_days"], []
    for column, name, colour in (
        ("dilution_rate", "by the background\nof untouched days", ACCENT),
        ("placebo_rate", "by placebo\ntouches", PALETTE[1]),
    ):
        ax.plot(days, windows[column], "o-", color=colour, lw=1.8, ms=4)
        ax.fill_between(
            days,
            *(windows[f"{column}_ci_{side}"].clip(0, 1) for side in ("lower", "upper")),
            color=colour,
            alpha=0.15,
            lw=0,
        )
        if windows[column].notna().any():
            ends.append((days.iloc[-1], windows[column].dropna().iloc[-1], name, colour))
    ax.set(
        xlabel="attribution window, days",
        ylabel="would have happened anyway",
        xlim=(0, None),
        ylim=(0, None),
        xticks=_ticks(days),
    )
    percent(ax.yaxis)
    label_ends(ax, ends, gap=0.16)
    return ax


def plot_late_converters(late: pd.DataFrame, *, columns: int = 4) -> Figure:
    """Of what follows a touch beyond the background within the longest window, the share still to come after each day; a panel a partner, all partners dashed.

    ``late``: the partners' column first ("all": any partner), then window_days, late_rate + ci. Partners without a rate are left out; the latest come first.
    """
    by, known = late.columns[0], late.dropna(subset=["late_rate"])
    lines = {name: line for name, line in known.groupby(by, sort=False) if name != "all"}
    names = sorted(lines, key=lambda name: -lines[name]["late_rate"].mean())
    if not names:
        return _nothing(
            axes(size=(7.2, 0.8)),
            "No partner has enough conversions beyond the background, or enough accounts, for a curve.",
        ).figure
    style()
    rows = -(-len(names) // columns)
    wide = min(columns, len(names))
    fig, panels = plt.subplots(
        rows,
        wide,
        figsize=(2.3 * wide + 0.5, 2.1 * rows + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    curve = lambda line, column, first: np.r_[first, line[column]]  # noqa: E731
    for ax, name in zip(panels.flat, names):
        for line, mark, colour in (
            (known[known[by] == "all"], "--", MUTED),
            (lines[name], "o-", ACCENT),
        ):
            if len(line):
                ax.plot(
                    curve(line, "window_days", 0),
                    curve(line, "late_rate", 1),
                    mark,
                    color=colour,
                    lw=1.6,
                    ms=3.5,
                )
        low, high = (curve(line, f"late_rate_ci_{side}", 1) for side in ("lower", "upper"))
        ax.fill_between(curve(line, "window_days", 0), low, high, color=ACCENT, alpha=0.15, lw=0)
        ax.set_title(name, fontsize=10)
        ax.set(
            xlim=(0, late["window_days"].max()),
            ylim=(0, 1.05),
            xticks=MaxNLocator(nbins=4, integer=True).tick_values(0, late["window_days"].max()),
        )
        percent(ax.yaxis)
    for ax in panels.flat[len(names) :]:
        ax.set_axis_off()
    for ax in panels.flat[max(len(names) - wide, 0) : len(names)]:
        ax.tick_params(labelbottom=True)
    fig.supxlabel("days since the touch (dashed: any partner's)", fontsize=10, color=MUTED)
    fig.supylabel("still to come", fontsize=10, color=MUTED)
    return fig


def plot_budget(budget: pd.DataFrame, *, windows: Sequence[float], ax: Axes | None = None) -> Axes:
    """What each partner cost (grey diamond) and what some ``windows`` (days) would pay it out of the same total, with intervals; the dearest on top.

    ``budget``: the partners' column first, then window_days, spend_amount, budget_amount + ci.
    """
    by = budget.columns[0]
    spent = budget.groupby(by)["spend_amount"].first().sort_values(ascending=False)
    windows = sorted(set(windows) & set(budget["window_days"]))
    ax = axes(ax, size=(8, 1.3 + 0.62 * len(spent)))
    y = np.arange(len(spent))[::-1]
    ax.plot(spent, y + 0.32, "D", color=MUTED, ms=6)
    for shift, days, colour in zip(
        np.linspace(0.1, -0.32, len(windows)), windows, (PALETTE[1], ACCENT, PALETTE[2], PALETTE[3])
    ):
        rows = budget[budget["window_days"] == days].set_index(by).loc[spent.index]
        ax.hlines(
            y + shift,
            rows["budget_amount_ci_lower"],
            rows["budget_amount_ci_upper"],
            color=colour,
            lw=2,
            alpha=0.6,
        )
        ax.plot(rows["budget_amount"], y + shift, "o", color=colour, ms=5)
        ax.annotate(
            f"{days:g} days",
            (rows[["budget_amount", "budget_amount_ci_upper"]].max(axis=1).iloc[0], y[0] + shift),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=9,
        )
    ax.annotate(
        "spent",
        (spent.iloc[0], y[0] + 0.32),
        (8, 0),
        textcoords="offset points",
        va="center",
        color=MUTED,
        fontsize=9,
    )
    ax.set_yticks(y, spent.index)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.set(
        xlim=(0, None),
        ylim=(-0.6, len(spent) - 0.4),
        xlabel="money, in the currency of the spend table (95 % interval)",
    )
    short_axis(ax.xaxis)
    return ax


def plot_approaches(approaches: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Conversions that each tracking approach credits to each partner, on the same users.

    ``approaches``: approach, partner_id ("all" is left out), n_credited.
    """
    table = approaches[approaches["partner_id"] != "all"].pivot(
        index="partner_id", columns="approach", values="n_credited"
    )
    table = table.sort_values("multi-touch", ascending=False)
    ax = axes(ax, size=(8, 1.3 + 0.5 * len(table)))
    y = np.arange(len(table))[::-1]
    ax.hlines(y, table.min(axis=1), table.max(axis=1), color=GRID, lw=5)
    marks = dict(
        zip(
            ("multi-touch", "last UTM", "CRM record", "survey answer"),
            (("o", ACCENT), ("s", PALETTE[1]), ("D", PALETTE[2]), ("^", PALETTE[3])),
        )
    )
    for name, (mark, colour) in marks.items():
        if name in table:
            ax.plot(table[name], y, mark, color=colour, ms=7, label=name)
    ax.set_yticks(y, table.index)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.set(xlim=(0, None), ylim=(-0.6, len(table) - 0.4), xlabel="conversions credited")
    ax.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=4,
        frameon=False,
        fontsize=9,
        handletextpad=0.2,
        borderaxespad=0,
        labelcolor="linecolor",
    )
    return ax


def plot_rank_bump(credit: pd.DataFrame, *, rule: str = "linear", ax: Axes | None = None) -> Axes:
    """Rank of every partner's credit by window under one rule, 1 on top; partners whose rank changes are coloured.

    ``credit``: the partners' column first, then rule, window_days, credit, rank; partners without a rank are left out.
    """
    table = credit[(credit["rule"] == rule) & credit["rank"].notna()].pivot(
        index=credit.columns[0], columns="window_days", values="credit"
    )
    if table.empty:
        return _nothing(axes(ax, size=(7.2, 0.8)), "No partner has enough conversions for a rank.")
    rank = table.rank(ascending=False, method="first").sort_values(table.columns[-1]).astype(int)
    ax = axes(ax, size=(7.2, 1.4 + 0.38 * len(rank)))
    at, colours = np.arange(rank.shape[1]), iter(PALETTE * len(rank))
    for name, ranks in rank.iterrows():
        colour = next(colours) if ranks.nunique() > 1 else MUTED
        ax.plot(at, ranks, "o-", color=colour, lw=2.2, ms=7)
        for x, text, side in (
            (at[0], f"{name}  {ranks.iloc[0]}", -1),
            (at[-1], f"{ranks.iloc[-1]}  {name}", 1),
        ):
            ax.annotate(
                text,
                (x, ranks.iloc[x]),
                (9 * side, 0),
                textcoords="offset points",
                color=colour,
                va="center",
                ha="right" if side < 0 else "left",
                fontsize=9,
                annotation_clip=False,
            )
    ax.set(
        xlabel="attribution window, days",
        xticks=at,
        xticklabels=[f"{d:g}" for d in rank.columns],
        yticks=[],
        ylim=(len(rank) + 0.5, 0.5),
    )
    ax.set_title(f"Rank of credit, {rule.replace('_', ' ')} rule")
    ax.grid(visible=False)
    return ax
