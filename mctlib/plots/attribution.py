"""Pictures of notebooks/attribution.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mctlib import phrases
from mctlib.plots import style

APPROACHES = {  # marks of the ways to know a user's partner
    "multi-touch": ("o", style.ACCENT),
    "last UTM": ("s", style.PALETTE[1]),
    "CRM record": ("D", style.PALETTE[2]),
    "kept by hand": ("v", style.PALETTE[4]),
    "survey answer": ("^", style.PALETTE[3]),
}

TITLE = 0.4  # height of a panel's title, inches
UNTOLD = {"color": "white", "edgecolor": style.GRID, "hatch": style.HATCH}


def plot_credit_surface(credit: pd.DataFrame, *, rule: str = "linear") -> Axes:
    """`Attribution.credit` under one rule: share of the conversions by partner and window.

    The largest partner at the longest window stands on top.
    """
    import seaborn as sns

    share = _by_window(credit[credit["rule"] == rule], "credit_share")
    share = share.sort_values(share.columns[-1], ascending=False)
    ax = style.axes(height=1.2 + 0.42 * len(share))
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
    wide = credit.pivot(index=credit.columns[0], columns="window_days", values=values)
    return wide.rename(index=phrases.called)


def plot_windows(windows: pd.DataFrame) -> Axes:
    """`Attribution.windows`: what is credited by window, and how much of it would have come anyway.

    From below: users whom a touch brought; what later touches bring beyond chance, with its
    interval; the rest, with its share of the bar, hatched where nothing can be told. Windows to use
    are shaded.
    """
    ax = style.axes(height=4.6)
    x, days = np.arange(len(windows)), windows["window_days"]
    whole, brought = (windows[column].to_numpy(float) for column in ("n_attributed", "n_brought"))
    known = windows["n_excess"].notna().to_numpy()
    base = brought + np.where(known, windows["n_excess"].clip(0, whole - brought), 0)
    bars: list[tuple[Any, np.ndarray, np.ndarray, dict[str, Any]]] = [
        (x, brought, 0 * base, {"color": style.ACCENT, "label": "brought the user"}),
        (
            x,
            base - brought,
            brought,
            {"color": style.MIDDLE, "label": "later touch, beyond chance"},
        ),
        (
            x[known],
            whole - base,
            base,
            {"color": style.PALE, "label": "would have come anyway, % of all"},
        ),
        (x[~known], whole - base, base, UNTOLD | {"label": "cannot be told"}),
    ]
    for some, height, bottom, looks in bars:
        if height[some].any():
            ax.bar(some, height[some], 0.6, bottom=bottom[some], lw=0, **looks)
    low, high = style.ends_of(windows, "n_excess")
    ax.vlines(x, brought + low, brought + high, color=style.INK, lw=1)
    for i in np.flatnonzero(known):
        share = f"{100 * (1 - base[i] / whole[i]):.0f} %" if whole[i] else ""
        style.write(ax, share, (x[i], whole[i]), (0, 3), ha="center", color=style.MUTED)
    _shade_usable(ax, windows)
    ax.set_xticks(x, [f"{day:g}" for day in days])
    ax.set(xlabel="attribution window, days", ylabel="conversions credited", ylim=(0, None))
    ax.set_xlim(-0.6, len(x) - 0.4)
    style.money_or_counts(ax.yaxis)
    _legend(ax, across=1)
    return ax


def _legend(ax: Axes, *, across: int = 2) -> None:
    """Names below the picture, where lines and bars have no end; on a phone so many ``across``."""
    handles, names = ax.get_legend_handles_labels()
    ax.figure.legend(
        handles,
        names,
        loc="outside lower left",
        ncols=across if style.narrow() else 4,
        columnspacing=0.9,
        fontsize=style.SMALL,
        handlelength=1.2,
        frameon=False,
        handletextpad=0.4,
        borderaxespad=0.2,
    )


def _shade_usable(ax: Axes, windows: pd.DataFrame) -> None:
    fit = np.flatnonzero(windows["usable"])
    if not len(fit):
        return
    ax.axvspan(fit[0] - 0.45, fit[-1] + 0.45, color=style.PALE, alpha=0.35, lw=0, zorder=0)
    middle, looks = (fit[0] + fit[-1]) / 2, {"va": "bottom", "color": style.ACCENT}
    words = "use one of these" if len(fit) > 1 else "use this one"
    style.write(ax, words, (middle, 1), (0, 8), ha="center", within=style.EDGE, **looks)


def plot_partners(partners: pd.DataFrame, brought: pd.DataFrame) -> Figure:
    """`Attribution.partners` and `brought`: what partners' touches do, and the users they bring.

    Left, of the conversions after its touches that can be compared with other times of the same
    users, the share beyond chance; right, how many points more of the users it brought convert than
    of users whom nobody brought. With 95 % intervals.
    """
    by = partners.columns[0]
    style.use()
    shape = (2, 1) if style.narrow() else (1, 2)  # below each other, on a phone
    n = len(partners)
    height = 2 * (style.rows_high(n) + TITLE) if style.narrow() else 1.3 + 0.42 * n
    fig, (left, right) = plt.subplots(*shape, figsize=style.size(height), sharey=True)
    columns = ["n_beyond_chance", "n_beyond_chance_ci_lower", "n_beyond_chance_ci_upper"]
    share = partners[columns].div(partners["n_compared"].replace(0, np.nan), axis=0).clip(upper=1)
    points = brought.set_index(by).reindex(partners[by]).reset_index()
    later, users = "Later touches: beyond chance", "Users brought: convert more"
    for ax, table, value, words, title, colour in (
        (left, share, "n_beyond_chance", "verdict", later, style.ACCENT),
        (right, points, "difference_share", "brings", users, style.PALETTE[2]),
    ):
        ax.axvline(0, color=style.MUTED, lw=1)
        y = style.rows(ax, partners[by].map(phrases.titled))
        style.interval_bars(ax, y, table, value, colour, size=6)
        for at, why in zip(y[table[value].isna()], partners[words][table[value].isna()]):
            style.write(ax, why, (0, at), (6, 0), va="center", color=style.MUTED)
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.set_title(title)
    fig.set_figheight(height)  # of both panels: each sets its own
    style.percent(left.xaxis)
    style.percentage_points(right.xaxis)
    left.set_xlabel("of the conversions compared")
    right.set_xlabel("points, against users nobody brought")
    return fig


def plot_late_converters(late: pd.DataFrame) -> Figure:
    """`Attribution.late`: of what follows a touch, the share still to come after each day.

    A panel a partner, the latest first, all partners dashed. Partners without a rate are left out.
    """
    by = late.columns[0]
    known = late.dropna(subset=["late_rate"])
    lines = {name: line for name, line in known.groupby(by, sort=False) if name != "all"}
    names = sorted(lines, key=lambda name: -lines[name]["late_rate"].mean())
    if not names:
        why = "brings enough conversions, surely, for a curve"
        nobody = style.nothing(f"No partner {why}.").get_figure(root=True)
        assert nobody is not None
        return nobody
    style.use()
    columns = 2 if style.narrow() else 4
    wide = min(columns, len(names))
    high = -(-len(names) // columns)
    size = style.size(2.1 * high + 0.4)
    fig, grid = plt.subplots(high, wide, figsize=size, sharex=True, sharey=True, squeeze=False)
    longest = late["window_days"].max()
    ticks = MaxNLocator(nbins=4, integer=True).tick_values(0, longest)
    for ax, name in zip(grid.flat, names):
        _draw_late(ax, known[known[by] == "all"], lines[name])
        ax.set_title(phrases.titled(name))
        ax.set(xlim=(0, longest), ylim=(0, 1.05), xticks=ticks)
        style.percent(ax.yaxis)
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    for ax in grid.flat[max(len(names) - wide, 0) : len(names)]:
        ax.tick_params(labelbottom=True)
    fig.supxlabel("days since the touch (dashed: any partner's)", color=style.MUTED)
    fig.supylabel("still to come", color=style.MUTED)
    return fig


def _draw_late(ax: Axes, everyone: pd.DataFrame, line: pd.DataFrame) -> None:
    """One partner's curve; on the day of the touch everything is still to come."""
    for rates, mark, colour in ((everyone, "--", style.MUTED), (line, "o-", style.ACCENT)):
        if len(rates):
            days, shares = np.r_[0, rates["window_days"]], np.r_[1, rates["late_rate"]]
            ax.plot(days, shares, mark, color=colour, lw=1.6, ms=3.5)
    low, high = style.ends_of(line, "late_rate")
    style.band(ax, np.r_[0, line["window_days"]], np.r_[1, low], np.r_[1, high], style.ACCENT)


def plot_budget(budget: pd.DataFrame, *, windows: Sequence[float]) -> Axes:
    """`Attribution.budget`: what each partner cost (diamond), and what windows would pay it.

    Parameters
    ----------
    budget : DataFrame
        The partners' column first, then window_days, spend_amount, budget_amount and its interval,
        currency.
    windows : sequence of float
        Days of the windows to draw; each shares out the same total.

    Returns
    -------
    Axes
        The picture, the dearest partner on top.
    """
    by = budget.columns[0]
    spent = budget.groupby(by)["spend_amount"].first().sort_values(ascending=False)
    windows = sorted(set(windows) & set(budget["window_days"]))
    ax = style.axes(height=1.3 + 0.62 * len(spent))
    y = style.rows(ax, spent.index.map(phrases.titled))
    y = y - 0.4 * style.narrow()  # there a name stands above its row
    ax.plot(spent, y + 0.32, "D", color=style.MUTED, ms=6)
    style.write(ax, "spent", (spent.iloc[0], y[0] + 0.32), (8, 0), va="center", color=style.MUTED)
    colours = (style.PALETTE[1], style.ACCENT, style.PALETTE[2], style.PALETTE[3])
    for shift, days, colour in zip(np.linspace(0.1, -0.32, len(windows)), windows, colours):
        paid = budget[budget["window_days"] == days].set_index(by).loc[spent.index]
        style.interval_bars(ax, y + shift, paid, "budget_amount", colour)
        right = paid[["budget_amount", "budget_amount_ci_upper"]].max(axis=1).iloc[0]
        style.write(ax, f"{days:g} days", (right, y[0] + shift), (6, 0), va="center", color=colour)
    ax.set(xlim=(0, None), ylim=(y[-1] - 0.6, None))
    currency = budget["currency"].iloc[0] or "in the currency of the spend table"
    ax.set_xlabel(f"money, {currency} (95 % interval)")
    style.money_or_counts(ax.xaxis)
    return ax


def plot_approaches(approaches: pd.DataFrame) -> Axes:
    """`Attribution.approaches`: conversions credited to each partner by each way of tracking."""
    partners = approaches[approaches["partner_id"] != "all"]
    table = partners.pivot(index="partner_id", columns="approach", values="n_credited")
    table = table.sort_values("multi-touch", ascending=False)
    ax = style.axes(height=1.3 + 0.5 * len(table))
    y = style.rows(ax, table.index.map(phrases.titled))
    ax.hlines(y, table.min(axis=1), table.max(axis=1), color=style.GRID, lw=5)
    for name, (mark, colour) in APPROACHES.items():
        if name in table:
            ax.plot(table[name], y, mark, color=colour, ms=7, label=name)
    ax.set(xlim=(0, None), xlabel="conversions credited")
    _legend(ax)
    return ax


def plot_rank_bump(credit: pd.DataFrame, *, rule: str = "linear") -> Axes:
    """`Attribution.credit` under one rule: the partners' ranks by window, 1 on top.

    Partners whose rank changes are coloured, those without a rank are left out.
    """
    table = _by_window(credit[(credit["rule"] == rule) & credit["rank"].notna()], "credit")
    if table.empty:
        return style.nothing("No partner has enough conversions for a rank.")
    rank = table.rank(ascending=False, method="first").sort_values(table.columns[-1]).astype(int)
    ax = style.axes(height=1.4 + 0.38 * len(rank))
    x = np.arange(rank.shape[1])
    colours = iter(style.PALETTE * len(rank))
    for name, ranks in rank.iterrows():
        colour = next(colours) if ranks.nunique() > 1 else style.MUTED
        ax.plot(x, ranks, "o-", color=colour, lw=2.2, ms=7)
        first, last = ranks.iloc[0], ranks.iloc[-1]
        looks = {"color": colour, "va": "center"}
        style.write(
            ax, f"{phrases.titled(name)}  {first}", (x[0], first), (-9, 0), ha="right", **looks
        )
        style.write(
            ax, f"{last}  {phrases.titled(name)}", (x[-1], last), (9, 0), ha="left", **looks
        )
    ax.set_xticks(x, [f"{days:g}" for days in rank.columns])
    ax.set(xlabel="attribution window, days", yticks=[], ylim=(len(rank) + 0.5, 0.5))
    ax.set_title(f"Rank of credit, {rule.replace('_', ' ')} rule")
    ax.grid(visible=False)
    return ax
