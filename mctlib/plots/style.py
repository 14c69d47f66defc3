"""Tables to pictures, in one house style: one palette, labels beside the data instead of legends, units on the axes, intervals drawn."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, PercentFormatter

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


def _nothing(ax: Axes, words: str) -> Axes:
    """A picture of nothing, and why."""
    ax.set_axis_off()
    ax.text(0, 0.5, words, color=MUTED)
    return ax


def _ticks(days: pd.Series) -> list[float]:
    """The windows that an axis has room to name."""
    return [d for d, after in zip(days, [*days[1:], np.inf]) if after - d > 0.04 * days.max()]
