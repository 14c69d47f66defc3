"""Pictures of notebooks/activation.ipynb."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mctlib.plots.style import (
    ACCENT,
    INK,
    MIN_USERS,
    MUTED,
    PALETTE,
    WARN,
    _nothing,
    axes,
    forest,
    label_ends,
    percent,
    short,
)


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
