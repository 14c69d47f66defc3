"""Pictures of notebooks/activation.ipynb."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator

from mctlib.plots import marks, style

LINE = 17  # of words below a picture
BANDS = 3  # more of them hide each other


def plot_activation_curves(
    curve: pd.DataFrame, summary: pd.DataFrame, *, waiting: bool = True
) -> Axes:
    """Share activated by day, one line a segment, with its band where they are few.

    Draws the largest segments, of weeks or months the newest, as many as there are colours, and
    says so when there are more.

    Parameters
    ----------
    curve : DataFrame
        `Activation.curve`: segment, days, activated_rate and its interval, n_at_risk.
    summary : DataFrame
        `Activation.summary`: segment, plateau, never_rate.
    waiting : bool
        Whether the numbers of users who still wait stand below.

    Returns
    -------
    Axes
        The picture.
    """
    names = list(curve["segment"].unique())
    days = pd.to_datetime(pd.Series(names, names), format="%Y-%m-%d", errors="coerce")
    newest = len(names) > 1 and days.notna().all()  # they are weeks or months
    names = sorted(names, reverse=True) if newest else names
    shown = names[: len(style.PALETTE)]
    called = _days_in_words(days) if newest else {name: str(name) for name in names}
    if not shown:
        return style.nothing(f"No segment has {style.MIN_USERS} users.")
    ax = style.axes(height=4.4 + 0.24 * len(shown) * waiting)
    state = summary.set_index("segment")
    last = curve["days"].max()
    locator = MaxNLocator(nbins=6, steps=[1, 1.5, 2, 3, 5, 7, 10])
    ticks = [tick for tick in locator.tick_values(0, last) if 0 <= tick <= last]
    ends = []
    for below, (name, colour) in enumerate(zip(shown, style.PALETTE)):
        line = curve[curve["segment"] == name]
        rate, stairs = line["activated_rate"], style.stairs(len(line))
        ax.plot(line["days"], rate, color=colour, lw=1.8, drawstyle=stairs)
        if len(shown) <= BANDS:
            style.band(ax, line["days"], *style.ends_of(line, "activated_rate"), colour)
        words = _plateau(state.loc[name]) if waiting else f"{100 * rate.iloc[-1]:.0f} %"
        if not waiting and line["days"].iloc[-1] < last:  # it ends where nobody was followed on
            words += f" by day {line['days'].iloc[-1]:.0f}"
        if len(shown) > 1:
            words = f"{called[name]}: {words}" if words and not style.narrow() else called[name]
        ends.append(style.End(last, line["activated_rate"].iloc[-1], words, colour))
        if waiting:
            _write_waiting(ax, line, ticks, below, colour)
    if waiting:
        _write_below(ax, "users still waiting and in view", 0, (-9, -44), color=style.MUTED)
    ax.set(xticks=ticks, xlim=(0, last), ylim=(0, None))
    ax.set(xlabel="days since start", ylabel="share who have it")
    ax.xaxis.labelpad = 2
    style.percent(ax.yaxis)
    style.label_ends(ax, ends)
    if len(names) > len(shown):
        most = f"newest of {len(names)}" if newest else f"largest of {len(names)} segments"
        title = f"The {len(shown)} {most}"
        ax.set_title(title, color=style.MUTED, weight="normal")
    return ax


def _days_in_words(days: pd.Series) -> dict[Any, str]:
    """Segments named by their first days: "Sep 2026" where they are months, else "7 Sep 2026"."""
    if (days.dt.day == 1).all():
        return {name: f"{day:%b %Y}" for name, day in days.items()}
    return {name: f"{day.day} {day:%b %Y}" for name, day in days.items()}


def _plateau(state: pd.Series) -> str:
    """Whether the curve has gone flat, in words; "" where too few were followed to say."""
    if state["plateau"] == "flat":
        return f"flat, {100 * state['never_rate']:.1f} % never"
    return "still rising" if state["plateau"] == "still rising" else ""


def _write_waiting(
    ax: Axes, line: pd.DataFrame, ticks: Iterable[float], below: int, colour: str
) -> None:
    """How many users of one segment still wait at each tick, in a line ``below`` the axis."""
    for tick in ticks:
        if tick > line["days"].iloc[-1]:
            break
        waiting = line["n_at_risk"].iloc[np.searchsorted(line["days"], tick)]
        words = style.short(waiting) if waiting >= style.MIN_USERS else f"< {style.MIN_USERS}"
        _write_below(ax, words, tick, (0, -62 - LINE * below), color=colour, ha="center")


def _write_below(ax: Axes, text: str, x: float, shift: tuple[float, float], **looks: Any) -> None:
    style.write(ax, text, (x, 0), shift, va="top", within=style.EDGE, **looks)


def plot_contrasts(contrasts: pd.DataFrame) -> Axes:
    """`Activation.contrasts`: days without activation beyond the reference's, the slowest on top.

    Segments without an interval are left out.
    """
    table = contrasts.dropna(subset=["rmst_difference_days_ci_lower"])
    table = table.sort_values("rmst_difference_days", ascending=False)
    ax = style.axes(height=1.3 + 0.45 * max(len(table), 1))
    if table.empty:
        return style.nothing("No two segments can be compared.", ax)
    if table["horizon_days"].nunique() > 1:
        told = [f"{s} (of {days:.3g})" for s, days in zip(table["segment"], table["horizon_days"])]
        table = table.assign(segment=told)
    y = style.forest(ax, table, label="segment", value="rmst_difference_days")
    for at, days in zip(y, table["rmst_difference_days"]):
        style.write(ax, style.signed(days), (days, at), (0, 5), ha="center")
    ax.set_xlabel(
        f"days not activated, of the first {table['horizon_days'].max():.3g}: "
        f"more (+) or fewer (\u2212) than {table['reference'].iloc[0]}"
    )
    return ax


def plot_landmark(signals: pd.DataFrame, *, most: int = 12) -> Axes:
    """`Landmark.signals` of the first landmark: how much more is activated with each early signal.

    After the landmark, with its interval, the days with theirs beside it, pale where they may be
    chance; hollow by the ever/never figure. Draws the ``most`` signals that save or cost the most
    days, the best on top.
    """
    first = signals["landmark_days"] == signals["landmark_days"].iloc[:1].max()
    table = signals[first & signals["effect_rate_ci_lower"].notna()]
    largest = table["rmst_difference_days"].abs().nlargest(most).index
    table = table[table.index.isin(largest)]
    ax = style.axes(height=1.3 + 0.5 * max(len(table), 1))
    if table.empty:
        return style.nothing("No early micro-conversion can be compared.", ax)
    y = style.forest(ax, table, label="signal", value="effect_rate")
    style.hollow(ax, table["naive_effect_rate"], y, style.GREY, zorder=1)
    low, high = style.ends_of(table, "rmst_difference_days")
    sure = (table["qvalue"].to_numpy() < 0.05) & (low * high > 0)
    for at, *days, is_sure in zip(y, table["rmst_difference_days"], low, high, sure):
        value, least, most_days = map(style.signed, days)
        colour = style.INK if is_sure else style.MUTED
        text = f"{value} days" + ("" if style.narrow() else f" ({least} to {most_days})")
        style.write_right(ax, at, text, x=1.01, color=colour)
    above = {"within": "axes fraction"}
    if not style.narrow():
        words = "waiting after the landmark"
        style.write(ax, words, (1.01, 1), (0, 4), color=style.MUTED, **above)
    style.write(ax, "\u25cf by landmark", (0, 1), (0, 4), color=style.ACCENT, **above)
    style.write(
        ax, "\u25cb ever against never (misleading)", (0, 1), (112, 4), color=style.MUTED, **above
    )
    ax.margins(x=0.08)
    style.percentage_points(ax.xaxis)
    ax.set_xlabel(
        "share who have it: with the early signal minus without, percentage points (95 % interval)"
    )
    return ax


def plot_retention(curve: pd.DataFrame) -> Axes:
    """`Retention.curve`: share of users who come back in each period, a line a segment."""
    ax = style.axes()
    if curve.empty:
        return style.nothing("Nobody can have come back yet.", ax)
    several = curve["segment"].nunique() > 1
    shown = [s for s in curve["segment"].unique() if s != "all" or not several]
    ends = []
    for name, colour in zip(shown, style.PALETTE):
        line = curve[curve["segment"] == name]
        ax.plot(line["period"], line["retained_rate"], color=colour, lw=1.8)
        if len(shown) <= BANDS:
            style.band(ax, line["period"], *style.ends_of(line, "retained_rate"), colour)
        words = str(name) if several else f"{100 * line['retained_rate'].iloc[-1]:.0f} %"
        ends.append(
            style.End(line["period"].iloc[-1], line["retained_rate"].iloc[-1], words, colour)
        )
    ax.set(ylim=(0, None), xlabel="periods since the start", ylabel="come back")
    style.percent(ax.yaxis)
    style.label_ends(ax, ends)
    return ax


def plot_retention_grid(curve: pd.DataFrame, *, most: int = 12) -> Axes:
    """`Retention.curve` by week or month: cohorts from top to bottom, periods from left to right.

    The darker, the more come back; a cell that is not over is blank.
    """
    table = curve[(curve["segment"] != "all") & (curve["period"] <= most)]
    grid = table.pivot(index="segment", columns="period", values="retained_rate").tail(most)
    ax = style.axes(height=1.2 + 0.32 * max(len(grid), 1))
    if grid.empty:
        return style.nothing("No cohort is through its first period.", ax)
    x, y = np.arange(len(grid.columns) + 1), np.arange(len(grid) + 1)
    blues = LinearSegmentedColormap.from_list("blues", [style.PAPER, style.MIDDLE])
    ax.pcolormesh(x, y, np.ma.masked_invalid(grid), cmap=blues, vmin=0, edgecolor=style.PAPER)
    for row, rates in enumerate(grid.to_numpy()):
        for column, rate in enumerate(rates):
            if rate == rate and not (style.narrow() and column % 3):
                place = (column + 0.5, row + 0.5)
                style.write(ax, f"{100 * rate:.0f}", place, ha="center", va="center")
    names = [name.partition(" to ")[0] for name in grid.index]
    ax.set_yticks(y[:-1] + 0.5, [f"{pd.Timestamp(n):%b %Y}" if _is_day(n) else n for n in names])
    ax.set_xticks(x[:-1] + 0.5, [f"{period:g}" for period in grid.columns])
    ax.set(xlabel="periods since the start; per cent who come back", ylim=(len(grid), 0))
    ax.grid(visible=False)
    return ax


def _is_day(name: str) -> bool:
    return bool(pd.notna(pd.to_datetime(name, format="%Y-%m-%d", errors="coerce")))


def plot_retention_course(curve: pd.DataFrame, period: int) -> Axes:
    """`Retention.curve` by week or month: the share of one period, over the cohorts."""
    line = curve[(curve["segment"] != "all") & (curve["period"] == period)]
    ax = style.axes()
    if len(line) < 2:
        return style.nothing(f"Fewer than two cohorts are through period {period}.", ax)
    x = pd.to_datetime(line["segment"].str[:10])
    ax.plot(x, line["retained_rate"], "o-", color=style.ACCENT, lw=1.8)
    style.band(ax, x, *style.ends_of(line, "retained_rate"), style.ACCENT)
    ax.set(ylim=(0, None), xlabel="start", ylabel=f"come back in period {period}")
    marks.months(ax)
    style.percent(ax.yaxis)
    return ax
