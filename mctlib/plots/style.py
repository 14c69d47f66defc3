"""One house style, and one way to draw each thing that pictures have in common.

Labels stand beside the data instead of in legends, units on the axes, intervals are drawn.
"""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from mctlib import phrases

INK, MUTED, GRID, PAPER = "#1b2430", "#525e6b", "#d8dfe6", "#ffffff"
ACCENT, GREY = "#0b5c96", "#626e7a"
MIDDLE, PALE = "#6ba3cc", "#c3d6e5"  # lighter blues, of bars
ACT, WARN = "#a34100", "#d55e00"  # of words and of lines: somebody must act
VIOLET, ROSE, TEAL, BROWN = "#8456a8", "#b5446e", "#0f7586", "#7f6124"
# told apart with the common colour deficiencies
PALETTE = [ACCENT, WARN, GREY, VIOLET, ROSE, TEAL, BROWN, INK]
# what a page may set otherwise, by day and by night
NAMES = {INK: "ink", MUTED: "quiet", GRID: "line", PAPER: "bg", ACCENT: "blue", GREY: "grey"}
NAMES |= {ACT: "orange", WARN: "orange-mark", MIDDLE: "middle", PALE: "pale"}
NAMES |= {VIOLET: "violet", ROSE: "rose", TEAL: "teal", BROWN: "brown"}
MIN_USERS = 10  # smaller groups are not drawn: a picture must not tell what a table hides
HATCH = "////"  # what is not known yet
EDGE = ("data", "axes fraction")  # of places along x, at the upper (1) or lower (0) edge
ABOVE, ROW = 9, 46  # on a phone: where a row's words stand, and how high it is
LETTERS = 34  # of a panel's title on a phone, a line
MANY = 60  # points of a curve: its steps are too small to be seen
SMALL = 13  # size of the words inside a picture
PIXELS = 72  # an inch: a picture's unit is a pixel of the page
WIDE, NARROW = 700, 350  # pixels, on a desk and on a phone
_width = [WIDE]  # of the pictures drawn now


class End(NamedTuple):
    """The last point of a line, and the words to write beside it."""

    x: float
    y: float
    text: str
    colour: str


@contextlib.contextmanager
def drawn_at(width: int) -> Iterator[None]:
    """Draw pictures of that width, in pixels."""
    _width.append(width)
    try:
        yield
    finally:
        _width.pop()


def narrow() -> bool:
    """Whether pictures are drawn for a phone."""
    return _width[-1] < WIDE


def use() -> None:
    """Set the house style for this session: seaborn's theme, palette, a font every machine has."""
    import seaborn as sns

    rc = {
        "figure.figsize": (WIDE / PIXELS, 4.2),
        "figure.dpi": 100,
        "savefig.dpi": 144,
        "figure.constrained_layout.use": True,
        "axes.edgecolor": GRID,
        "axes.labelcolor": MUTED,
        "axes.titlecolor": INK,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlesize": SMALL,
        "axes.labelsize": SMALL,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
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
        "font.size": SMALL,
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "mctlib",
        "text.parse_math": False,  # "$10k-$20k" is no formula
    }
    sns.set_theme(style="white", palette=PALETTE, rc=rc)


def size(height: float) -> tuple[float, float]:
    """Of a picture as wide as pictures are drawn now, inches."""
    return _width[-1] / PIXELS, height


def axes(*, height: float = 4.2) -> Axes:
    """Axes in the house style, ``height`` inches high."""
    use()
    return plt.subplots(figsize=size(height))[1]


def _set_height(ax: Axes, inches: float) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.set_figheight(inches)


def nothing(words: str, ax: Axes | None = None) -> Axes:
    """A picture of nothing, and why."""
    ax = ax or axes()
    _set_height(ax, 0.8)
    ax.set_axis_off()
    ax.text(0, 0.5, words, color=MUTED)
    return ax


# ---- axes that say their unit


def percent(axis: Axis) -> None:
    """Write an axis of shares (0-1) in per cent."""
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(PercentFormatter(1, 0, symbol=" %"))


def percentage_points(axis: Axis, decimals: int = 0) -> None:
    """Write an axis of differences of shares in percentage points with their sign."""
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: signed(100 * value, decimals) if value else "0")
    )


def money_or_counts(axis: Axis) -> None:
    """Write an axis of counts or money with `short`."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def durations(ax: Axes, longest: float, since: str) -> int:
    """Name the unit of a horizontal axis that ends after ``longest`` days; how many make a day."""
    unit = phrases.unit_of(longest)
    ax.set_xlabel(f"{unit.name}s since {since}")
    return unit.per_day


# ---- numbers


def short(number: float) -> str:
    """A number a person can read at a glance: 950, 12 k, 3.4 M."""
    for least, size, unit in ((1e9, 1e9, " bn"), (1e6, 1e6, " M"), (1e4, 1e3, " k")):
        if abs(number) >= least:
            return f"{number / size:.3g}{unit}"
    return f"{number:,.0f}"


def signed(number: float, decimals: int = 1) -> str:
    """A number with its sign, a true minus: +1.2."""
    return phrases.nought(f"{number:+,.{decimals}f}").replace("-", "\u2212")


# ---- words beside the data


def ink_of(colour: str) -> str:
    """The colour of words about a line of a colour, dark enough to be read."""
    return ACT if colour == WARN else colour


def write(
    ax: Axes,
    text: str,
    at: tuple[float, float],
    shift: tuple[float, float] = (0, 0),
    *,
    within: Any = "data",
    **looks: Any,
) -> None:
    """Small words ``shift`` points away from a place; ``within`` says what its numbers mean."""
    ax.annotate(
        text,
        at,
        shift,
        xycoords=within,
        textcoords="offset points",
        annotation_clip=False,
        **{"fontsize": SMALL, **looks, "color": ink_of(looks.get("color", INK))},
    )


def write_right(
    ax: Axes, y: float, text: str, *, x: float = 1.02, shift: float = 0, **looks: Any
) -> None:
    """Words about the height ``y`` at the right of the axes, on a phone at its edge above."""
    within = ("axes fraction", "data")
    if narrow():
        write(ax, text, (1, y), (0, ABOVE), within=within, va="bottom", ha="right", **looks)
    else:
        write(ax, text, (x, y), (shift, 0), within=within, va="center", **looks)


def folded(title: str) -> str:
    """A panel's title in as many lines as a phone needs."""
    return textwrap.fill(title, LETTERS) if narrow() else title


def label_ends(ax: Axes, ends: Sequence[End], *, gap: float = 0.055) -> None:
    """Write each line's name beside its last point, pushed apart so that no two overlap."""
    low, high = ax.get_ylim()
    to_pixels, from_pixels = ax.transData, ax.transData.inverted()
    least = -np.inf
    for end in sorted(ends, key=lambda end: end.y):
        y = max(end.y, least)
        least = y + gap * (high - low)
        beside = from_pixels.transform(to_pixels.transform((end.x, y)) + [6, 0])
        ax.annotate(
            phrases.called(end.text),
            (end.x, end.y),
            (beside[0], y),
            color=ink_of(end.colour),
            va="center",
            fontsize=SMALL,
            annotation_clip=False,
        )


# ---- estimates and their intervals


def ends_of(table: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The interval of a column, by the names of the column grammar."""
    low, high = table[f"{column}_ci_lower"], table[f"{column}_ci_upper"]
    return low.to_numpy(float), high.to_numpy(float)


def band(
    ax: Axes, x: Any, low: Any, high: Any, colour: str, *, alpha: float = 0.15, **how: Any
) -> None:
    """The interval of a line, as a shade."""
    ax.fill_between(x, low, high, color=colour, alpha=alpha, lw=0, **how)


def rows_high(n_rows: int) -> float:
    """Of a picture with so many rows on a phone, inches."""
    return (ROW * n_rows + 50) / PIXELS


def rows(ax: Axes, names: Iterable[Any]) -> np.ndarray:
    """Name the rows of a picture from top to bottom, in words; where each of them lies."""
    names = [phrases.called(str(name)) for name in names]
    y = np.arange(len(names))[::-1]
    ax.set_yticks(y, names)
    ax.tick_params(axis="y", labelcolor=INK)
    if narrow():  # a name stands above its row
        _set_height(ax, rows_high(len(names)))
        ax.tick_params(axis="y", left=False, labelleft=False)
        for at, name in zip(y, names):
            words = textwrap.shorten(name, 32, placeholder=" \u2026")
            write(ax, words, (0, at), (0, ABOVE), within=("axes fraction", "data"), va="bottom")
    ax.set_ylim(-0.6, len(names) - (0.1 if narrow() else 0.4))
    ax.grid(axis="x")
    ax.grid(visible=False, axis="y")
    return y


def interval_bars(
    ax: Axes, y: np.ndarray, table: pd.DataFrame, value: str, colour: str, *, size: float = 5
) -> None:
    """Points with their intervals at the heights ``y``, a row of the table each."""
    low, high = ends_of(table, value)
    ax.hlines(y, low, high, color=colour, lw=2, alpha=0.6)
    ax.plot(table[value].to_numpy(float), y, "o", color=colour, ms=size)


def forest(
    ax: Axes, table: pd.DataFrame, *, label: str, value: str, zero: float | None = 0.0
) -> np.ndarray:
    """Points with their intervals, one a row from top to bottom; where each row lies."""
    if zero is not None:
        ax.axvline(zero, color=MUTED, lw=1)
    y = rows(ax, table[label])
    interval_bars(ax, y, table, value, ACCENT, size=6)
    return y


def stairs(n_points: int) -> str:
    """How a curve of so many points is drawn: by steps, where these can be seen."""
    return "steps-post" if n_points < MANY else "default"


def thick() -> float:
    """How high a bar is, of its row."""
    return 0.3 if narrow() else 0.62


def hollow(ax: Axes, x: Any, y: Any, colour: str = ACCENT, **looks: Any) -> None:
    """A point that is not sure."""
    ax.plot(x, y, "o", color="white", mec=colour, ms=6, **looks)
