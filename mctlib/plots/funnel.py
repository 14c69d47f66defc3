"""Pictures of notebooks/funnel.ipynb."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from mctlib.plots.style import (
    ACCENT,
    GRID,
    HATCH,
    INK,
    MIN_USERS,
    MUTED,
    PALE,
    PALETTE,
    WARN,
    _nothing,
    axes,
    forest,
    label_ends,
    percent,
)


def plot_funnel(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Funnel.steps` of all users: one bar a step, of the users who entered: reached, not known yet (hatched), and the rest (pale)."""
    table = steps[steps["segment"] == "all"]
    ax = axes(ax, size=(9, 0.9 + 0.52 * len(table)))
    y, entered = np.arange(len(table))[::-1], table["n_reached"].iloc[0]
    reached, pending = (
        table["n_reached"].to_numpy(),
        np.minimum(table["n_pending"], entered - table["n_reached"]).to_numpy(),
    )
    ax.barh(y, entered, color=GRID, height=0.62, alpha=0.6)
    ax.barh(
        y, pending, left=reached, color="white", edgecolor=ACCENT, hatch=HATCH, height=0.62, lw=0
    )
    ax.barh(y, reached, color=ACCENT, height=0.62)
    for row, at in zip(table.itertuples(), y):
        known = row.conversion_rate == row.conversion_rate
        share = (
            f"{100 * row.conversion_rate:.1f} % ({100 * row.conversion_rate_ci_lower:.1f} to {100 * row.conversion_rate_ci_upper:.1f})"
            if known
            else "not known yet"
        )
        words = [
            f"{row.n_reached:,} users",
            *([share] if row.step > 1 else []),
            *([f"{row.n_pending:,} pending"] if row.n_pending else []),
        ]
        ax.annotate(
            "  ·  ".join(words),
            (1.01, at),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    ax.set_yticks(y, [f"{k}  {event}" for k, event in zip(table["step"], table["event"])])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_xticks([])  # every bar says its number
    ax.grid(visible=False)
    ax.set(
        xlim=(0, max(entered, 1)),
        xlabel="users" + (" (hatched: window still open)" if pending.any() else ""),
    )
    return ax


def _large_segments(steps: pd.DataFrame, rate: str) -> pd.DataFrame:
    """The segments' rows of the last step; not where too few entered or a few reached it: the rate would give away their number."""
    table = steps[
        (steps["step"] == steps["step"].max()) & (steps["segment"] != "all") & steps[rate].notna()
    ]
    return table[
        (table["n_entered"] >= MIN_USERS)
        & ~table["n_reached"].between(0, MIN_USERS, inclusive="neither")
    ]


def plot_funnel_segments(steps: pd.DataFrame, *, ax: Axes | None = None, most: int = 12) -> Axes:
    """`Funnel.steps` by segment: share reaching the last step with its interval, the highest on top, all users as a line; the ``most`` largest segments."""
    last = steps[steps["step"] == steps["step"].max()]
    table = (
        _large_segments(steps, "conversion_rate")
        .nlargest(most, "n_entered")
        .sort_values("conversion_rate", ascending=False)
    )
    ax = axes(ax, size=(8, 1.1 + 0.38 * max(len(table), 1)))
    if table.empty:
        return _nothing(
            ax, f"No segment has {MIN_USERS} users or more who reached {last['event'].iloc[0]}."
        )
    forest(
        ax,
        table.assign(label=[f"{s} ({n:,})" for s, n in zip(table["segment"], table["n_entered"])]),
        label="label",
        value="conversion_rate",
        zero=None,
    )
    for everyone in last.loc[last["segment"] == "all", "conversion_rate"]:
        ax.axvline(everyone, color=MUTED, lw=1, ls="--", zorder=0)
        ax.annotate(
            f"all users {100 * everyone:.1f} %",
            (everyone, 1),
            (4, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            color=MUTED,
            fontsize=9,
        )
    for y, value in zip(range(len(table))[::-1], table["conversion_rate"]):
        ax.annotate(
            f"{100 * value:.1f} %",
            (value, y),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    percent(ax.xaxis)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set(
        xlim=(0, None),
        xlabel=f"share reaching {last['event'].iloc[0]} (95 % interval); users who entered in brackets",
    )
    return ax


def plot_funnel_cohorts(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Funnel.steps` by week or month: share of each cohort reaching the last step with its interval, all users as a line; what is not yet the whole window is hatched."""
    last = steps[steps["step"] == steps["step"].max()]
    table = _large_segments(steps, "horizon_rate").sort_values("segment").reset_index(drop=True)
    ax = axes(ax, size=(9, 4.2))
    if table.empty:
        return _nothing(
            ax, f"No cohort has {MIN_USERS} users or more who reached {last['event'].iloc[0]}."
        )
    day, window = pd.to_datetime(table["segment"]), steps["window_days"].iloc[0]
    x, rate = np.arange(len(table)), table["horizon_rate"].to_numpy()
    low, high = (table[f"horizon_rate_ci_{side}"].to_numpy() for side in ("lower", "upper"))
    early = (table["horizon_days"] < window).to_numpy()
    ax.bar(x[~early], rate[~early], width=0.7, color=PALE)
    ax.bar(x[early], rate[early], width=0.7, color="white", edgecolor=ACCENT, hatch=HATCH, lw=0)
    ax.vlines(x, low, high, color=ACCENT, lw=2)
    ax.plot(x, rate, "o", color=ACCENT, ms=4)
    for everyone in last.loc[last["segment"] == "all", "conversion_rate"].dropna():
        ax.axhline(everyone, color=MUTED, lw=1, ls="--", zorder=0)
        ax.annotate(
            f"all users\n{100 * everyone:.1f} %",
            (1, everyone),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=MUTED,
            fontsize=9,
            annotation_clip=False,
        )
    for at in np.flatnonzero(early):
        days = table["horizon_days"][at]
        ax.annotate(
            f"{days:.2g}" if days < 10 else f"{np.floor(days):.0f}",
            (x[at], np.nanmax([high[at], rate[at]])),
            (0, 4),
            textcoords="offset points",
            ha="center",
            color=ACCENT,
            fontsize=8,
        )
    shown = x[:: max(1, -(-len(x) // 9))]
    ax.set_xticks(
        shown,
        [
            f"{day[i]:%d %b}"
            + (f"\n{day[i]:%Y}" if n == 0 or day[i].year != day[shown[n - 1]].year else "")
            for n, i in enumerate(shown)
        ],
    )
    percent(ax.yaxis)
    ax.set(
        xlim=(-0.6, len(table) - 0.4),
        ylim=(0, 1.12 * np.nanmax([*high, *rate, 0.01])),
        ylabel=f"reached {last['event'].iloc[0]}",
        xlabel="users who entered from this day on (UTC)"
        + (f"; hatched: so far, within the days above of {window:g}" if early.any() else ""),
    )
    return ax


def plot_funnel_times(times: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Funnel.times`: share going on to each step by the time since the step before, one line a step with its band; the axis in days, hours or minutes."""
    last = times["days"].max()
    unit, scale = next(
        (
            (name, per)
            for name, per in (("days", 1), ("hours", 24), ("minutes", 1440))
            if last * per >= 3
        ),
        ("seconds", 86400),
    )
    ax, ends = axes(ax, size=(7.6, 4.2)), []
    for (step, event), colour in zip(
        dict.fromkeys(zip(times["step"], times["event"])),
        PALETTE * (len(times) // len(PALETTE) + 1),
    ):
        line = times[times["step"] == step]
        x = line["days"] * scale
        ax.step(x, line["reached_rate"], where="post", color=colour, lw=1.8)
        ax.fill_between(
            x,
            line["reached_rate_ci_lower"],
            line["reached_rate_ci_upper"],
            step="post",
            color=colour,
            alpha=0.15,
            lw=0,
        )
        ends.append((last * scale, line["reached_rate"].iloc[-1], f"{step}  {event}", colour))
    ax.set(
        xlim=(0, last * scale or 1),
        ylim=(0, 1.1 * times[["reached_rate", "reached_rate_ci_upper"]].max(axis=None) or 1),
        xlabel=f"{unit} since the step before",
        ylabel="share who have gone on",
    )
    percent(ax.yaxis)
    label_ends(ax, ends)
    return ax


def plot_change(parts: pd.DataFrame, *, ax: Axes | None = None, most: int = 8) -> Axes:
    """`Change.parts`: what mix, behaviour and tracking add to the change, in all and in the ``most`` largest segments, with intervals."""
    segments = list(
        dict.fromkeys(parts.loc[parts[["n_before", "n_after"]].min(axis=1) >= MIN_USERS, "segment"])
    )[: most + 1]
    ax = axes(ax, size=(8, 1.2 + 0.62 * len(segments)))
    ax.axvline(0, color=MUTED, lw=1)
    for part, shift, colour in (
        ("mix", 0.24, PALETTE[5]),
        ("behaviour", 0.0, ACCENT),
        ("tracking", -0.24, WARN),
    ):
        rows = parts[parts["part"] == part].set_index("segment").reindex(segments)
        y = np.arange(len(segments))[::-1] + shift
        ax.hlines(
            y,
            rows["effect_rate_ci_lower"],
            rows["effect_rate_ci_upper"],
            color=colour,
            lw=2,
            alpha=0.6,
        )
        ax.plot(rows["effect_rate"], y, "o", color=colour, ms=5)
        first = rows.iloc[0]
        at, words = (
            (first["effect_rate_ci_upper"], part)
            if first["effect_rate"] == first["effect_rate"]
            else (0, f"{part} not known")
        )
        ax.annotate(
            words,
            (at, y[0]),
            (6, 0),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=9,
        )
    ax.set_yticks(np.arange(len(segments))[::-1], segments)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.margins(x=0.12)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.1f}" if v else "0"))
    ax.set_xlabel("added to the conversion rate, percentage points (95 % interval)")
    return ax


def plot_change_steps(steps: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`Change.steps` as a waterfall: from the rate before to the rate after by mix and by what behaviour and tracking of each step add, with intervals.

    Parts that are not known are left out: behaviour holds them. The axis need not begin at 0: lengths are to be compared, not places.
    """
    before, after = steps.drop_duplicates("step")[["before_rate", "after_rate"]].prod()
    parts = steps[steps["total_effect_rate"].notna()]
    effect, low, high = (
        parts[f"total_effect_rate{end}"].to_numpy() for end in ("", "_ci_lower", "_ci_upper")
    )
    ends = before + effect.cumsum()
    starts = ends - effect
    ax = axes(ax, size=(9, 1.2 + 0.34 * (len(parts) + 2)))
    y = np.arange(len(parts) + 2)[::-1]
    ax.barh(
        y[1:-1],
        effect,
        left=starts,
        height=0.6,
        alpha=0.75,
        color=[
            {"mix": PALETTE[5], "behaviour": ACCENT, "tracking": WARN}[p] for p in parts["part"]
        ],
    )
    ax.hlines(y[1:-1], starts + low, starts + high, color=INK, lw=1.4)
    ax.vlines([before, *ends], y[1:], y[:-1], color=MUTED, lw=0.8)
    ax.plot([before, after], y[[0, -1]], "D", color=INK, ms=7)
    points = [
        (f"{100 * e:+.1f}" + (f" ({100 * a:+.1f} to {100 * b:+.1f})" if a == a else "")).replace(
            "-", "\u2212"
        )
        for e, a, b in zip(effect, low, high)
    ]
    for at, text in zip(y, [f"{100 * before:.1f} %", *points, f"{100 * after:.1f} %"]):
        ax.annotate(
            text,
            (1.01, at),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    names = [
        "mix of those who enter" if r.part == "mix" else f"{r.step}  {r.event}: {r.part}"
        for r in parts.itertuples()
    ]
    ax.set_yticks(y, ["rate before", *names, "rate after"])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.4g} %"))
    ax.set_xlabel("conversion rate; at the right percentage points added (95 % interval)")
    return ax


def plot_rules(counts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`RuleComparison.counts` at the last step: the share that each tool's rule counts, with its interval; our own on top and as a line, unverified rules hollow."""
    last = counts[counts["step"] == counts["step"].max()]
    ax = forest(
        axes(ax, size=(9, 1.1 + 0.4 * len(last))),
        last,
        label="tool",
        value="reached_rate",
        zero=None,
    )
    ours = last.iloc[0]
    ax.axvline(ours["reached_rate"], color=MUTED, lw=1, ls="--", zorder=0)
    for y, row in zip(range(len(last))[::-1], last.itertuples()):
        more, verified = row.n_reached - ours["n_reached"], row.status.startswith("verified")
        words = [
            f"{100 * row.reached_rate:.1f} %",
            f"{row.n_reached:,} users" + f" ({more:+,})".replace("-", "\u2212") * bool(more),
            *([] if verified else ["not verified"]),
        ]
        ax.annotate(
            "  ·  ".join(words),
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
        if not verified:
            ax.plot(row.reached_rate, y, "o", color="white", mec=ACCENT, ms=6)
    percent(ax.xaxis)
    ax.set_xlim(0, min(1.0, 1.15 * last[["reached_rate", "reached_rate_ci_upper"]].max(axis=None)))
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_xlabel(f"share counted at {ours['event']} (95 % interval)")
    return ax


def plot_drivers(drivers: pd.DataFrame, *, ax: Axes | None = None, most: int = 12) -> Axes:
    """`Drivers.drivers`: the adjusted difference of the share going on, with its interval, the best on top; the ``most`` surest, hollow where q > 0.1."""
    table = (
        drivers.dropna(subset="adjusted_difference_rate")
        .head(most)
        .sort_values("adjusted_difference_rate", ascending=False)
    )
    ax = axes(ax, size=(9, 1.2 + 0.4 * max(len(table), 1)))
    if table.empty:
        ax.set_axis_off()
        ax.text(0, 0.5, "No driver has enough users on both sides to be tested.", color=MUTED)
        return ax
    forest(ax, table, label="driver", value="adjusted_difference_rate")
    for y, row in zip(range(len(table))[::-1], table.itertuples()):
        if not row.qvalue <= 0.1:
            ax.plot(row.adjusted_difference_rate, y, "o", color="white", mec=ACCENT, ms=6)
        words = f"{100 * row.with_rate:.0f} % of {row.n_with:,} with it, {100 * row.without_rate:.0f} % without"
        ax.annotate(
            words,
            (1.02, y),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    ax.tick_params(axis="y", labelcolor=INK)
    ax.xaxis.set_major_formatter(
        FuncFormatter(lambda v, _: f"{100 * v:+.0f}".replace("-", "\u2212") if v else "0")
    )
    ax.set_xlabel(
        "share going on, difference in percentage points among like users (95 % interval); hollow: may be chance"
    )
    return ax
