"""Pictures of notebooks/attribution.ipynb."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mctlib.plots import style

APPROACHES = {  # marks of the ways to know a user's partner
    "multi-touch": ("o", style.ACCENT),
    "last UTM": ("s", style.PALETTE[1]),
    "CRM record": ("D", style.PALETTE[2]),
    "survey answer": ("^", style.PALETTE[3]),
}


def plot_credit_surface(
    credit: pd.DataFrame, *, rule: str = "linear", ax: Axes | None = None
) -> Axes:
    """`Attribution.credit` under one rule: share of the conversions by partner and window.

    The largest partner at the longest window stands on top.
    """
    import seaborn as sns

    share = _by_window(credit[credit["rule"] == rule], "credit_share")
    share = share.sort_values(share.columns[-1], ascending=False)
    ax = style.axes(ax, size=(2.6 + 0.75 * share.shape[1], 1.2 + 0.42 * len(share)))
    words = share.map("{:.0%}".format).replace("%", " %", regex=True)
    colours = sns.light_palette(style.ACCENT, as_cmap=True)
    sns.heatmap(share, annot=words, fmt="", cmap=colours, vmin=0, cbar=False, linewidths=2, ax=ax)
    ax.set(xlabel="attribution window, days", ylabel="")
    ax.set_xticklabels([f"{days:g}" for days in share.columns])
    ax.tick_params(axis="y", rotation=0)
    ax.set_title(f"Share of credit, {rule.replace('_', ' ')} rule")
    return ax


def _by_window(credit: pd.DataFrame, values: str) -> pd.DataFrame:
    """A row a partner, whose column stands first, and a column a window."""
    return credit.pivot(index=credit.columns[0], columns="window_days", values=values)


def plot_window_curve(windows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Attribution.windows`: conversions attributed, beyond the background, and too late.

    The admissible windows are shaded.
    """
    ax = style.axes(ax)
    days, last = windows["window_days"], windows.iloc[-1]
    ends = []
    for column, name, colour in (
        ("n_attributed", "attributed", style.MUTED),
        ("n_excess", "excess over background", style.ACCENT),
        ("n_late", "later than the window", style.PALETTE[1]),
    ):
        ax.plot(days, windows[column], "o-", color=colour, lw=1.8, ms=4)
        ends.append(style.End(last["window_days"], last[column], name, colour))
    style.band(ax, days, *style.ends_of(windows, "n_excess"), style.ACCENT)
    low, high = style.ends_of(windows, "late_rate")
    style.band(ax, days, last["n_attributed"] * low, last["n_attributed"] * high, style.PALETTE[1])
    _shade_admissible(ax, windows)
    ax.set(xlabel="attribution window, days", ylabel="conversions")
    ax.set(xlim=(0, None), xticks=style.roomy(days))
    ax.set_ylim(bottom=min(0, windows[["n_excess", "n_excess_ci_lower"]].min(axis=None)))
    style.money_or_counts(ax.yaxis)
    style.label_ends(ax, ends)
    return ax


def _shade_admissible(ax: Axes, windows: pd.DataFrame) -> None:
    fit = windows.loc[windows["admissible"], "window_days"]
    if fit.empty:
        return
    first, last = fit.iloc[0], fit.iloc[-1]
    edge = 0.01 * windows["window_days"].max()
    ax.axvspan(first - edge, last + edge, color=style.PALE, alpha=0.5, lw=0, zorder=0)
    middle = (first + last) / 2
    style.write(
        ax,
        "admissible",
        (middle, 1),
        ha="center",
        va="bottom",
        color=style.ACCENT,
        within=style.EDGE,
    )


def plot_dilution(windows: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Attribution.windows`: share of the conversions that would have happened anyway.

    By the background rate and by placebo touches, with bands.
    """
    if windows["dilution_rate"].isna().all():
        return style.nothing("There is too little untouched time to compare with.", ax)
    ax = style.axes(ax, size=(7.6, 3.4))
    days = windows["window_days"]
    ends = []
    for column, name, colour in (
        ("dilution_rate", "by the background\nof untouched days", style.ACCENT),
        ("placebo_rate", "by placebo\ntouches", style.PALETTE[1]),
    ):
        ax.plot(days, windows[column], "o-", color=colour, lw=1.8, ms=4)
        low, high = style.ends_of(windows, column)
        style.band(ax, days, low.clip(0, 1), high.clip(0, 1), colour)
        known = windows[column].dropna()
        if len(known):
            ends.append(style.End(days.iloc[-1], known.iloc[-1], name, colour))
    ax.set(xlabel="attribution window, days", ylabel="would have happened anyway")
    ax.set(xlim=(0, None), ylim=(0, None), xticks=style.roomy(days))
    style.percent(ax.yaxis)
    style.label_ends(ax, ends, gap=0.16)
    return ax


def plot_late_converters(late: pd.DataFrame, *, columns: int = 4) -> Figure:
    """`Attribution.late`: of what follows a touch, the share still to come after each day.

    A panel a partner, the latest first, all partners dashed. Partners without a rate are left out.
    """
    by = late.columns[0]
    known = late.dropna(subset=["late_rate"])
    lines = {name: line for name, line in known.groupby(by, sort=False) if name != "all"}
    names = sorted(lines, key=lambda name: -lines[name]["late_rate"].mean())
    if not names:
        why = "has enough conversions beyond the background, or enough accounts, for a curve"
        nobody = style.nothing(f"No partner {why}.").get_figure(root=True)
        assert nobody is not None
        return nobody
    style.use()
    wide = min(columns, len(names))
    high = -(-len(names) // columns)
    size = (2.3 * wide + 0.5, 2.1 * high + 0.4)
    fig, grid = plt.subplots(high, wide, figsize=size, sharex=True, sharey=True, squeeze=False)
    longest = late["window_days"].max()
    ticks = MaxNLocator(nbins=4, integer=True).tick_values(0, longest)
    for ax, name in zip(grid.flat, names):
        _draw_late(ax, known[known[by] == "all"], lines[name])
        ax.set_title(name, fontsize=10)
        ax.set(xlim=(0, longest), ylim=(0, 1.05), xticks=ticks)
        style.percent(ax.yaxis)
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    for ax in grid.flat[max(len(names) - wide, 0) : len(names)]:
        ax.tick_params(labelbottom=True)
    fig.supxlabel("days since the touch (dashed: any partner's)", fontsize=10, color=style.MUTED)
    fig.supylabel("still to come", fontsize=10, color=style.MUTED)
    return fig


def _draw_late(ax: Axes, everyone: pd.DataFrame, line: pd.DataFrame) -> None:
    """One partner's curve; on the day of the touch everything is still to come."""
    for rates, mark, colour in ((everyone, "--", style.MUTED), (line, "o-", style.ACCENT)):
        if len(rates):
            days, shares = np.r_[0, rates["window_days"]], np.r_[1, rates["late_rate"]]
            ax.plot(days, shares, mark, color=colour, lw=1.6, ms=3.5)
    low, high = style.ends_of(line, "late_rate")
    style.band(ax, np.r_[0, line["window_days"]], np.r_[1, low], np.r_[1, high], style.ACCENT)


def plot_budget(budget: pd.DataFrame, *, windows: Sequence[float], ax: Axes | None = None) -> Axes:
    """`Attribution.budget`: what each partner cost (diamond), and what windows would pay it.

    Parameters
    ----------
    budget : DataFrame
        The partners' column first, then window_days, spend_amount, budget_amount and its interval.
    windows : sequence of float
        Days of the windows to draw; each shares out the same total.
    ax : Axes, optional
        Where to draw.

    Returns
    -------
    Axes
        The picture, the dearest partner on top.
    """
    by = budget.columns[0]
    spent = budget.groupby(by)["spend_amount"].first().sort_values(ascending=False)
    windows = sorted(set(windows) & set(budget["window_days"]))
    ax = style.axes(ax, size=(8, 1.3 + 0.62 * len(spent)))
    y = style.rows(ax, spent.index)
    ax.plot(spent, y + 0.32, "D", color=style.MUTED, ms=6)
    style.write(ax, "spent", (spent.iloc[0], y[0] + 0.32), (8, 0), va="center", color=style.MUTED)
    colours = (style.PALETTE[1], style.ACCENT, style.PALETTE[2], style.PALETTE[3])
    for shift, days, colour in zip(np.linspace(0.1, -0.32, len(windows)), windows, colours):
        paid = budget[budget["window_days"] == days].set_index(by).loc[spent.index]
        style.interval_bars(ax, y + shift, paid, "budget_amount", colour)
        right = paid[["budget_amount", "budget_amount_ci_upper"]].max(axis=1).iloc[0]
        style.write(ax, f"{days:g} days", (right, y[0] + shift), (6, 0), va="center", color=colour)
    ax.set(xlim=(0, None), ylim=(-0.6, len(spent) - 0.4))
    ax.set_xlabel("money, in the currency of the spend table (95 % interval)")
    style.money_or_counts(ax.xaxis)
    return ax


def plot_approaches(approaches: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Attribution.approaches`: conversions credited to each partner by each way of tracking."""
    partners = approaches[approaches["partner_id"] != "all"]
    table = partners.pivot(index="partner_id", columns="approach", values="n_credited")
    table = table.sort_values("multi-touch", ascending=False)
    ax = style.axes(ax, size=(8, 1.3 + 0.5 * len(table)))
    y = style.rows(ax, table.index)
    ax.hlines(y, table.min(axis=1), table.max(axis=1), color=style.GRID, lw=5)
    for name, (mark, colour) in APPROACHES.items():
        if name in table:
            ax.plot(table[name], y, mark, color=colour, ms=7, label=name)
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
    """`Attribution.credit` under one rule: the partners' ranks by window, 1 on top.

    Partners whose rank changes are coloured, those without a rank are left out.
    """
    table = _by_window(credit[(credit["rule"] == rule) & credit["rank"].notna()], "credit")
    if table.empty:
        return style.nothing("No partner has enough conversions for a rank.", ax)
    rank = table.rank(ascending=False, method="first").sort_values(table.columns[-1]).astype(int)
    ax = style.axes(ax, size=(7.2, 1.4 + 0.38 * len(rank)))
    x = np.arange(rank.shape[1])
    colours = iter(style.PALETTE * len(rank))
    for name, ranks in rank.iterrows():
        colour = next(colours) if ranks.nunique() > 1 else style.MUTED
        ax.plot(x, ranks, "o-", color=colour, lw=2.2, ms=7)
        first, last = ranks.iloc[0], ranks.iloc[-1]
        looks = {"color": colour, "va": "center"}
        style.write(ax, f"{name}  {first}", (x[0], first), (-9, 0), ha="right", **looks)
        style.write(ax, f"{last}  {name}", (x[-1], last), (9, 0), ha="left", **looks)
    ax.set_xticks(x, [f"{days:g}" for days in rank.columns])
    ax.set(xlabel="attribution window, days", yticks=[], ylim=(len(rank) + 0.5, 0.5))
    ax.set_title(f"Rank of credit, {rule.replace('_', ' ')} rule")
    ax.grid(visible=False)
    return ax
