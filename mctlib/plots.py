"""Tables to pictures, in one house style: one palette, labels beside the data instead of legends, units on the axes, intervals drawn."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

INK, MUTED, GRID = "#1f2933", "#66717d", "#dfe4ea"
ACCENT, WARN, PALE = "#1b5e8c", "#c0392b", "#b9cfe0"
PALETTE = [
    ACCENT,
    "#d9822b",
    "#2a8f6b",
    "#8456a8",
    "#b5446e",
    "#6b7785",
    "#3aa6b9",
    "#9c7a3c",
]  # told apart with the common colour deficiencies
MIN_USERS = 10  # smaller groups are not drawn: a picture must not tell what a table hides
HATCH = "////"  # what is not known yet


def style() -> None:
    """Set the house style for this session (seaborn theme, palette, fonts that every machine has)."""
    import seaborn as sns

    sns.set_theme(
        style="white",
        palette=PALETTE,
        rc={
            "figure.figsize": (8, 4.2),
            "figure.dpi": 110,
            "savefig.dpi": 144,
            "figure.constrained_layout.use": True,
            "axes.edgecolor": GRID,
            "axes.labelcolor": MUTED,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.titlesize": 12,
            "axes.labelsize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.spines.left": False,
            "axes.grid": True,
            "axes.grid.axis": "y",
            "grid.color": GRID,
            "text.color": INK,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "svg.hashsalt": "mctlib",
            "text.parse_math": False,  # "$10k-$20k" is no formula
        },
    )


def axes(ax: Axes | None = None, *, size: tuple[float, float] | None = None) -> Axes:
    """The given axes, or new ones in the house style."""
    if ax is not None:
        return ax
    style()
    return plt.subplots(figsize=size)[1]


def percent(axis, decimals: int | None = 0) -> None:
    """Write an axis of shares (0-1) in per cent."""
    axis.set_major_formatter(PercentFormatter(1, decimals, symbol=" %"))


def short(number: float) -> str:
    """A number a person can read at a glance: 950, 1.2 k, 3.4 M."""
    for size, unit in ((1e9, " bn"), (1e6, " M"), (1e4, " k")):
        if abs(number) >= size:
            return f"{number / (1e3 if unit == ' k' else size):.3g}{unit}"
    return f"{number:,.0f}"


def short_axis(axis) -> None:
    """Write an axis of counts or money with `short`."""
    axis.set_major_formatter(FuncFormatter(lambda v, _: short(v)))


def label_ends(
    ax: Axes, ends: Sequence[tuple[float, float, str, str]], *, gap: float = 0.055
) -> None:
    """Write each line's name beside its last point (x, y, text, colour), pushed apart so that no two overlap."""
    low, high = ax.get_ylim()
    step, last = gap * (high - low), -np.inf
    for x, y, text, colour in sorted(ends, key=lambda e: e[1]):
        last = max(y, last + step)
        ax.annotate(
            text,
            (x, y),
            xytext=(
                ax.transData.inverted().transform(ax.transData.transform((x, last)) + [6, 0])[0],
                last,
            ),
            color=colour,
            va="center",
            fontsize=9,
            annotation_clip=False,
        )


def forest(
    ax: Axes,
    table: pd.DataFrame,
    *,
    label: str,
    value: str,
    colour: str = ACCENT,
    zero: float | None = 0.0,
) -> Axes:
    """Points with their intervals, one a row from top to bottom; ``value`` names the column, its interval is value_ci_lower/_upper."""
    y = np.arange(len(table))[::-1]
    x = table[value].to_numpy(float)
    low, high = (table[f"{value}_ci_{side}"].to_numpy(float) for side in ("lower", "upper"))
    if zero is not None:
        ax.axvline(zero, color=MUTED, lw=1)
    ax.hlines(y, low, high, color=colour, lw=2, alpha=0.6)
    ax.plot(x, y, "o", color=colour, ms=6)
    ax.set_yticks(y, table[label])
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    return ax


def plot_activation_curves(
    curve: pd.DataFrame, summary: pd.DataFrame, *, ax: Axes | None = None
) -> Axes:
    """Share activated by day, one step line a segment with its band and whether it has gone flat; below, how many users are still waiting at each tick.

    ``curve``: segment, days, activated_rate + ci, n_at_risk. ``summary``: segment, plateau, never_rate. Draws the first 8 segments (the largest), and
    says so when there are more.
    """
    state = summary.set_index("segment")
    names = list(curve["segment"].unique())
    shown = names[: len(PALETTE)]
    ax = axes(ax, size=(7.2, 4 + 0.2 * len(shown)))
    if not shown:
        return _nothing(ax, f"No segment has {MIN_USERS} users.")
    last, ends = curve["days"].max(), []
    ticks = MaxNLocator(nbins=6, steps=[1, 1.5, 2, 3, 5, 7, 10]).tick_values(0, last)
    ticks = ticks[(ticks >= 0) & (ticks <= last)]
    for i, (name, colour) in enumerate(zip(shown, PALETTE)):
        line = curve[curve["segment"] == name]
        ax.step(line["days"], line["activated_rate"], where="post", color=colour, lw=1.8)
        ax.fill_between(
            line["days"],
            line["activated_rate_ci_lower"],
            line["activated_rate_ci_upper"],
            step="post",
            color=colour,
            alpha=0.15,
            lw=0,
        )
        words = {
            "flat": f"flat, {100 * state.loc[name, 'never_rate']:.0f} % never",
            "still rising": "still rising",
        }.get(state.loc[name, "plateau"])
        ends.append(
            (
                last,
                line["activated_rate"].iloc[-1],
                ": ".join(filter(None, (len(shown) > 1 and str(name), words))),
                colour,
            )
        )
        below = {
            "textcoords": "offset points",
            "xycoords": ("data", "axes fraction"),
            "color": colour,
            "fontsize": 9,
            "va": "top",
            "annotation_clip": False,
        }
        if len(shown) > 1:
            ax.annotate(str(name), (0, 0), (-22, -58 - 13 * i), ha="right", **below)
        for tick in ticks[ticks <= line["days"].iloc[-1]]:
            waiting = line["n_at_risk"].iloc[np.searchsorted(line["days"], tick)]
            ax.annotate(
                short(waiting) if waiting >= MIN_USERS else f"< {MIN_USERS}",
                (tick, 0),
                (0, -58 - 13 * i),
                ha="center",
                **below,
            )
    ax.annotate("users still waiting and in view", (0, 0), (-9, -44), **below | {"color": MUTED})
    ax.set(
        xticks=ticks, xlim=(0, last), ylim=(0, None), xlabel="days since start", ylabel="activated"
    )
    ax.xaxis.labelpad = 2
    percent(ax.yaxis)
    label_ends(ax, ends)
    if len(names) > len(shown):
        ax.set_title(
            f"The {len(shown)} largest of {len(names)} segments",
            fontsize=9,
            color=MUTED,
            weight="normal",
        )
    return ax


def plot_contrasts(contrasts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Days each segment spends unactivated beyond its reference, with intervals; the slowest on top.

    ``contrasts``: segment, reference, horizon_days, rmst_difference_days + ci. Segments without an interval are left out.
    """
    table = contrasts.dropna(subset=["rmst_difference_days_ci_lower"]).sort_values(
        "rmst_difference_days", ascending=False
    )
    ax = axes(ax, size=(7.2, 1.3 + 0.45 * max(len(table), 1)))
    if table.empty:
        return _nothing(ax, "No two segments can be compared.")
    forest(ax, table, label="segment", value="rmst_difference_days")
    for y, value in zip(range(len(table))[::-1], table["rmst_difference_days"]):
        ax.annotate(
            f"{value:+.1f}".replace("-", "\u2212"),
            (value, y),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=9,
        )
    ax.set_xlabel(
        f"days not activated, of the first {table['horizon_days'].max():.3g}: more (+) or fewer (\u2212) than {table['reference'].iloc[0]}"
    )
    return ax


def plot_landmark(signals: pd.DataFrame, *, ax: Axes | None = None, most: int = 12) -> Axes:
    """`Landmark.signals` of the first landmark: what users with each early signal activate more, after the landmark and (hollow) by the ever/never figure.

    Draws the ``most`` signals that save the most days, the best on top; each with its interval, the days beside it.
    """
    table = signals[
        (signals["landmark_days"] == signals["landmark_days"].iloc[:1].max())
        & signals["effect_rate_ci_lower"].notna()
    ].head(most)
    ax = axes(ax, size=(8, 1.3 + 0.5 * max(len(table), 1)))
    if table.empty:
        return _nothing(ax, "No early micro-conversion can be compared.")
    forest(ax, table, label="signal", value="effect_rate")
    y = np.arange(len(table))[::-1]
    ax.plot(table["naive_effect_rate"], y, "o", color="white", mec=WARN, ms=6, zorder=1)
    for at, days in zip(y, table["rmst_difference_days"]):
        ax.annotate(
            f"{days:+.1f} days".replace("-", "\u2212"),
            (1.01, at),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    ax.annotate(
        "waiting after the landmark",
        (1.01, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        color=MUTED,
        fontsize=9,
        annotation_clip=False,
    )
    ax.annotate(
        "\u25cf by landmark",
        (0, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        color=ACCENT,
        fontsize=9,
    )
    ax.annotate(
        "\u25cb ever against never (misleading)",
        (0, 1),
        (90, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        color=WARN,
        fontsize=9,
    )
    ax.tick_params(axis="y", labelcolor=INK)
    ax.margins(x=0.08)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.0f}" if v else "0"))
    ax.set_xlabel(
        "activated: with the early signal minus without, percentage points (95 % interval)"
    )
    return ax


def plot_before_after(
    path: pd.DataFrame, placebos: pd.DataFrame | None = None, *, change_at: str
) -> Figure:
    """`BeforeAfter.path`: observed weeks against the counterfactual; below, the gap before the `BeforeAfter.placebos` in grey, and the gap added up to money.

    The panels that a comparison has nothing for (plain before/after, no value given) are left out. ``path.attrs``: kind, metric, cost_amount, payback_days.
    """
    panels = [
        _draw_observed,
        *([_draw_gap] if path["gap"].notna().any() else []),
        *([_draw_gain] if path["gain_amount"].notna().any() else []),
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
        draw(ax, day, path, placebos)
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
    metric = path.attrs.get("metric", "").removeprefix("the ")
    top.set_title(metric[:1].upper() + metric[1:], pad=18)  # above the label of the change
    return fig


def _draw_observed(ax: Axes, day: np.ndarray, path: pd.DataFrame, _: pd.DataFrame | None) -> None:
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
    if path.attrs.get("kind") == "rate":
        percent(ax.yaxis)


def _draw_gap(ax: Axes, day: np.ndarray, path: pd.DataFrame, placebos: pd.DataFrame | None) -> None:
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
    rate = path.attrs.get("kind") == "rate"
    if rate:
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.0f}" if v else "0"))
    ax.set_title(
        f"Observed less counterfactual{', percentage points' if rate else ''}",
        fontsize=10,
        weight="normal",
    )
    label_ends(ax, ends, gap=0.2)


def _draw_gain(ax: Axes, day: np.ndarray, path: pd.DataFrame, _: pd.DataFrame | None) -> None:
    after = path["gain_amount"].notna().to_numpy()
    end = np.r_[day[after][0], day[after] + 7]  # what a week brought is there at its end
    gain, low, high = (
        np.r_[0.0, path.loc[after, f"gain_amount{side}"]] for side in ("", "_ci_lower", "_ci_upper")
    )
    ax.fill_between(end, low, high, color=PALE, alpha=0.45, lw=0)
    ax.plot(end, gain, color=ACCENT, lw=2)
    cost, paid = path.attrs.get("cost_amount", 0), path.attrs.get("payback_days", np.nan)
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


def plot_rungs(rungs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """`BeforeAfter.rungs`: effect by comparison with its interval, weakest at the top; one the data do not support is drawn hollow, plain before/after red."""
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
    if rungs.attrs.get("kind") == "rate":
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:+.0f}" if v else "0"))
        ax.set_xlabel("effect, percentage points (95 % interval)")
    else:
        ax.set_xlabel("effect, in units of the metric (95 % interval)")
    return ax


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
    day, window = pd.to_datetime(table["segment"]), steps.attrs["window_days"]
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


def _nothing(ax: Axes, words: str) -> Axes:
    """A picture of nothing, and why."""
    ax.set_axis_off()
    ax.text(0, 0.5, words, color=MUTED)
    return ax


def _ticks(days: pd.Series) -> list[float]:
    """The windows that an axis has room to name."""
    return [d for d, after in zip(days, [*days[1:], np.inf]) if after - d > 0.04 * days.max()]


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
