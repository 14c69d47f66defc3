"""Pictures of notebooks/funnel.ipynb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mctlib import phrases
from mctlib.plots import marks, style

PARTS = {"mix": style.PALETTE[5], "behaviour": style.ACCENT, "tracking": style.WARN}  # of a change
UNKNOWN: dict[str, Any] = {
    "color": "white",
    "edgecolor": style.ACCENT,
    "hatch": style.HATCH,
    "lw": 0,
}
HIDES = 1.02  # times as many: from here on lost events are drawn
DOT = "  ·  "  # between two things said of a row


def plot_funnel(steps: pd.DataFrame) -> Axes:
    """`Funnel.steps` of all users, one bar a step: reached, not known yet (hatched), the rest."""
    table = steps[steps["segment"] == "all"]
    ax = style.axes(height=0.9 + 0.52 * len(table))
    y = style.rows(ax, [f"{step}  {event}" for step, event in zip(table["step"], table["event"])])
    reached = table["n_reached"].to_numpy()
    entered = reached[0]
    pending = np.minimum(table["n_pending"], entered - reached).to_numpy()
    ax.barh(y, entered, color=style.GRID, height=style.thick(), alpha=0.6)
    ax.barh(y, pending, left=reached, height=style.thick(), **UNKNOWN)
    ax.barh(y, reached, color=style.ACCENT, height=style.thick())
    for at, (_, row) in zip(y, table.iterrows()):
        words = [phrases.users(row["n_reached"])]
        if row["n_pending"]:
            words.append(f"{row['n_pending']:,} pending")
        if row["step"] > 1:
            words.append(_share_within(row))
        style.write_right(ax, at, DOT.join(words[-1:] if style.narrow() else words), x=1.01)
    ax.set_xticks([])  # every bar says its number
    ax.grid(visible=False)
    ax.set_xlim(0, max(entered, 1))
    hatched = "; hatched, pending: window still open" if pending.any() else ""
    within = f"within {phrases.duration(table['window_days'].iloc[0])} of the first entry"
    ax.set_xlabel(f"users there by any attempt{hatched}\nper cent: of all who entered, {within}")
    return ax


def _share_within(row: pd.Series) -> str:
    """The share within the window; where that is not known yet, so far."""
    if pd.notna(row["conversion_rate"]):
        return phrases.share(row, "conversion_rate")
    if pd.isna(row["horizon_rate"]):
        return "not known yet"
    so_far = phrases.duration(row["horizon_days"])
    return f"{phrases.share(row, 'horizon_rate')} so far, within {so_far}"


def _large_segments(steps: pd.DataFrame, rate: str) -> pd.DataFrame:
    """The segments' rows of the last step, where enough users entered."""
    last = steps["step"] == steps["step"].max()
    table = steps[last & (steps["segment"] != "all") & steps[rate].notna()]
    return table[table["n_entered"] >= style.MIN_USERS]


def plot_funnel_segments(steps: pd.DataFrame, *, most: int = 12) -> Axes:
    """`Funnel.steps` by segment: share reaching the last step, the highest on top.

    The ``most`` largest segments with their intervals, hollow where they may differ from the others
    by chance; all users as a line.
    """
    last = steps[steps["step"] == steps["step"].max()]
    event = last["event"].iloc[0]
    table = _large_segments(steps, "conversion_rate").nlargest(most, "n_entered")
    table = table.sort_values("conversion_rate", ascending=False)
    ax = style.axes(height=1.1 + 0.38 * max(len(table), 1))
    if table.empty:
        few = f"No segment has {style.MIN_USERS} users or more"
        return style.nothing(f"{few} who were followed for the whole window.", ax)
    names = [f"{name} ({n:,})" for name, n in zip(table["segment"], table["n_entered"])]
    y = style.forest(
        ax, table.assign(label=names), label="label", value="conversion_rate", zero=None
    )
    for everyone in last.loc[last["segment"] == "all", "conversion_rate"]:
        ax.axvline(everyone, color=style.MUTED, lw=1, ls="--", zorder=0)
        words = f"all users {100 * everyone:.1f} %"
        style.write(ax, words, (everyone, 1), (4, 2), color=style.MUTED, within=style.EDGE)
    for at, rate, differs in zip(y, table["conversion_rate"], table["differs"]):
        style.write_right(ax, at, f"{100 * rate:.1f} %")
        if not differs:
            style.hollow(ax, rate, at)
    style.percent(ax.xaxis)
    ax.set_xlim(0, None)
    hollow = "" if table["differs"].all() else "; hollow: may be chance"
    ax.set_xlabel(f"share reaching {event} (95 % interval), users who entered in brackets{hollow}")
    return ax


def plot_funnel_weeks(
    steps: pd.DataFrame,
    timeline: pd.DataFrame,
    asked: Sequence[Any],
    *,
    course: pd.DataFrame | None = None,
    target: float | None = None,
) -> Axes:
    """`Funnel.steps` by week or month: the course of the share reaching the last step.

    With its band, as far as cohorts had their whole window.

    Parameters
    ----------
    steps, timeline : DataFrame
        `Funnel.steps`; entries of it that name one of the steps ``asked`` for are marked.
    course : DataFrame, optional
        `Change.course` of the same steps: where lost events hide something, the share with these
        put back is dashed.
    target : float, optional
        `Funnel.target_rate`.
    """
    table = _large_segments(steps, "conversion_rate").sort_values("segment")
    ax = style.axes(height=4.6)
    if len(table) < 2:
        return style.nothing("Fewer than two cohorts had their whole window yet.", ax)
    days, rate = pd.to_datetime(table["segment"].str[:10]), table["conversion_rate"]
    low, high = style.ends_of(table, "conversion_rate")
    style.band(ax, days, low, high, style.ACCENT)
    ax.plot(days, rate, color=style.ACCENT, lw=2.4)
    told = zip(days, rate, low, high)
    words = (f"From {d.day} {d:%b}: {r:.1%} ({a:.1%} to {b:.1%})" for d, r, a, b in told)
    marks.hover(ax, days, rate, words)
    top = [*high, *rate, 0.01]
    if course is not None:
        mended = rate * _put_back(table["segment"], course)
        top += list(mended)
        _draw_mended(ax, days, mended, rate)
    if target is not None:
        top.append(target)
        ax.axhline(target, color=style.MUTED, lw=1, ls="--", zorder=0)
        goal = f"target {100 * target:.0f} %"
        style.write(ax, goal, (days.iloc[0], target), (4, 3), color=style.MUTED)
    ax.set(xlim=(days.iloc[0], days.iloc[-1]), ylim=(0, 1.08 * np.nanmax(top)))
    ax.set_xlabel("band: range")
    style.percent(ax.yaxis)
    marks.months(ax)
    marks.draw(ax, marks.of_steps(timeline, asked))
    return ax


def _put_back(cohorts: pd.Series, course: pd.DataFrame) -> np.ndarray:
    """By how much lost events, put back, raise each cohort's share: 1 where they hide nothing."""
    table = course.set_index("cohort").reindex(cohorts)
    more = (table["mended_rate"] / table["reached_rate"]).to_numpy()
    return np.where(more >= HIDES, more, 1.0)


def _draw_mended(ax: Axes, days: pd.Series, mended: pd.Series, rate: pd.Series) -> None:
    """The share with lost events put back, where it lies above the one recorded; their names."""
    hidden = (mended > rate).to_numpy()
    if not hidden.any():
        return
    joined = hidden | np.r_[hidden[1:], False] | np.r_[False, hidden[:-1]]
    ax.plot(days, mended.where(joined), color=style.WARN, lw=2, ls=(0, (4, 2)))
    first = days[hidden].iloc[0]
    late = first > days.iloc[0] + (days.iloc[-1] - days.iloc[0]) / 2
    at, side = (days.iloc[-1], "right") if late else (first, "left")
    above, below = mended[hidden].max(), rate[hidden].min()
    looks = {"ha": side, "weight": "bold"}
    style.write(ax, "with lost events put back", (at, above), (0, 12), color=style.ACT, **looks)
    style.write(ax, "as recorded", (at, below), (0, -34), color=style.ACCENT, **looks)


def plot_funnel_times(times: pd.DataFrame) -> Axes:
    """`Funnel.times`: share going on to each step by the time since the step before.

    One line a step with its band; the axis in days, hours, minutes or seconds.
    """
    ax = style.axes(height=4.2)
    per_day = style.durations(ax, times["days"].max(), "the step before")
    last = times["days"].max() * per_day
    ends = []
    for k, ((step, event), line) in enumerate(times.groupby(["step", "event"], sort=False)):
        x, colour = line["days"] * per_day, style.PALETTE[k % len(style.PALETTE)]
        ax.plot(x, line["reached_rate"], color=colour, lw=1.8, drawstyle=style.stairs(len(x)))
        style.band(ax, x, *style.ends_of(line, "reached_rate"), colour)
        ends.append(style.End(last, line["reached_rate"].iloc[-1], f"{step}  {event}", colour))
    top = times[["reached_rate", "reached_rate_ci_upper"]].max(axis=None)
    ax.set(xlim=(0, last or 1), ylim=(0, 1.1 * top or 1), ylabel="share who have gone on")
    style.percent(ax.yaxis)
    style.label_ends(ax, ends)
    return ax


def plot_change(parts: pd.DataFrame, *, most: int = 8) -> Axes:
    """`Change.parts`: what mix, behaviour and tracking add to the change, with intervals.

    In all and in the ``most`` largest segments.
    """
    large = parts[["n_before", "n_after"]].min(axis=1) >= style.MIN_USERS
    segments = list(parts.loc[large, "segment"].unique())[: most + 1]
    ax = style.axes(height=1.2 + 0.62 * len(segments))
    ax.axvline(0, color=style.MUTED, lw=1)
    y = style.rows(ax, segments)
    for shift, (part, colour) in zip((0.24, 0.0, -0.24), PARTS.items()):
        table = parts[parts["part"] == part].set_index("segment").reindex(segments)
        style.interval_bars(ax, y + shift, table, "effect_rate", colour)
        first = table.iloc[0]
        known = pd.notna(first["effect_rate"])
        right = first["effect_rate_ci_upper"] if known else 0
        words = part if known else f"{part} not known"
        style.write(ax, words, (right, y[0] + shift), (6, 0), va="center", color=colour)
    ax.margins(x=0.12)
    style.percentage_points(ax.xaxis, 1)
    ax.set_xlabel("added to the conversion rate, percentage points (95 % interval)")
    return ax


def plot_change_steps(steps: pd.DataFrame) -> Axes:
    """`Change.steps` as a waterfall, from the rate before to the rate after, with intervals.

    By mix and by what behaviour and tracking of each step add; parts that are not known are left
    out: behaviour holds them. The axis need not begin at 0: lengths are to be compared, not places.
    """
    before, after = steps.drop_duplicates("step")[["before_rate", "after_rate"]].prod()
    parts = steps[steps["total_effect_rate"].notna()]
    effect = parts["total_effect_rate"].to_numpy()
    low, high = style.ends_of(parts, "total_effect_rate")
    ends = before + effect.cumsum()
    starts = ends - effect
    ax = style.axes(height=1.2 + 0.34 * (len(parts) + 2))
    names, told = [], []
    for row, lowest, highest in zip(parts.itertuples(), low, high):
        of_mix = row.part == "mix"
        names.append("mix of those who enter" if of_mix else f"{row.step}  {row.event}: {row.part}")
        words = style.signed(100 * row.total_effect_rate)
        if not np.isnan(lowest):
            words += f" ({style.signed(100 * lowest)} to {style.signed(100 * highest)})"
        told.append(words)
    y = style.rows(ax, ["rate before", *names, "rate after"])
    colours = [PARTS[part] for part in parts["part"]]
    ax.barh(y[1:-1], effect, left=starts, height=style.thick(), alpha=0.75, color=colours)
    ax.hlines(y[1:-1], starts + low, starts + high, color=style.INK, lw=1.4)
    ax.vlines([before, *ends], y[1:], y[:-1], color=style.MUTED, lw=0.8)
    ax.plot([before, after], y[[0, -1]], "D", color=style.INK, ms=7)
    for at, text in zip(y, [f"{100 * before:.1f} %", *told, f"{100 * after:.1f} %"]):
        style.write_right(ax, at, text, x=1.01)
    # the axis may be short: as many decimals as its ticks need
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    ax.set_xlabel("conversion rate; at the right percentage points added (95 % interval)")
    return ax


def plot_rules(counts: pd.DataFrame) -> Axes:
    """`RuleComparison.counts` at the last step: the share that each tool's rule counts.

    With its interval; our own on top and as a line, unverified rules hollow.
    """
    last = counts[counts["step"] == counts["step"].max()]
    ax = style.axes(height=1.1 + 0.4 * len(last))
    y = style.forest(ax, last, label="tool", value="reached_rate", zero=None)
    ours = last.iloc[0]
    ax.axvline(ours["reached_rate"], color=style.MUTED, lw=1, ls="--", zorder=0)
    for at, row in zip(y, last.itertuples()):
        more = row.n_reached - ours["n_reached"]
        beyond = f" ({style.signed(more, 0)})" if more else ""
        words = [f"{100 * row.reached_rate:.1f} %", f"{phrases.users(row.n_reached)}{beyond}"]
        if not row.status.startswith("verified"):
            words.append("not verified")
            style.hollow(ax, row.reached_rate, at)
        style.write_right(ax, at, DOT.join(words[:1] if style.narrow() else words))
    style.percent(ax.xaxis)
    ax.set_xlim(0, min(1.0, 1.15 * last[["reached_rate", "reached_rate_ci_upper"]].max(axis=None)))
    ax.set_xlabel(
        f"plain count at {ours['event']} (95 % interval): any attempt, open windows as not there"
    )
    return ax


def plot_drivers(drivers: pd.DataFrame, *, most: int = 12) -> Axes:
    """`Drivers.drivers`: the adjusted difference of the share going on, the best on top.

    The ``most`` surest with their intervals, hollow where they may be chance.
    """
    table = drivers.dropna(subset="adjusted_difference_rate").head(most)
    table = table.sort_values("adjusted_difference_rate", ascending=False)
    ax = style.axes(height=1.2 + 0.4 * max(len(table), 1))
    if table.empty:
        return style.nothing("No driver has enough users on both sides to be tested.", ax)
    y = style.forest(ax, table, label="driver", value="adjusted_difference_rate")
    for at, row in zip(y, table.itertuples()):
        if not row.differs:
            style.hollow(ax, row.adjusted_difference_rate, at)
        of = "" if style.narrow() else f" of {row.n_with:,} with it"
        words = f"{100 * row.with_rate:.0f} %{of}, {100 * row.without_rate:.0f} % without"
        style.write_right(ax, at, words)
    style.percentage_points(ax.xaxis)
    ax.set_xlabel(
        "share going on, difference in percentage points among like users "
        "(95 % interval); hollow: may be chance"
    )
    return ax
