"""Pictures of notebooks/audit.ipynb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mctlib.phrases import PLATFORMS
from mctlib.plots import marks, style

NAMES = PLATFORMS | {"web": "Web"}  # alone, as a title
DASHES = ("-", "--", ":", "-.")  # so many lines are told apart
WITNESSES = ("back end", "implied")
ARRIVED = 0.99  # of a week's events: from here on it is drawn


def plot_completeness(
    completeness: pd.DataFrame, verdicts: pd.DataFrame, labels: Mapping[str, str]
) -> Figure:
    """Of what is known to have happened, the share that was recorded, by week and platform.

    A panel a platform, a line a micro-conversion by its best witness; those that lost something in
    orange, with the week in which that began.

    Parameters
    ----------
    completeness, verdicts, labels : DataFrame, DataFrame, mapping
        Of `Audit`.
    """
    weeks, lost = _weeks(completeness), verdicts[verdicts["moves_rate"] < 0]
    style.use()
    platforms = [p for p in weeks["platform"].unique() if p in NAMES] or ["(none)"]
    n_rows, n_columns = (len(platforms), 1) if style.narrow() else (1, len(platforms))
    fig, grid = plt.subplots(
        n_rows,
        n_columns,
        sharex=True,
        sharey=True,
        squeeze=False,
        figsize=style.size(1.0 + 2.0 * n_rows if style.narrow() else 4.4),
    )
    if weeks.empty:
        grid[0, 0].remove()
        style.nothing("Nothing shows what should have been recorded.", fig.add_subplot())
        return fig
    for ax, platform in zip(grid.flat, platforms):
        _draw(ax, weeks[weeks["platform"] == platform], lost[lost["platform"] == platform], labels)
        ax.set_title(NAMES.get(platform, "All"))
    top = grid.flat[0]
    style.percent(top.yaxis)
    top.set_ylim(max(0, min(0.9, weeks["completeness_rate"].min() - 0.08)), 1.03)
    for ax in grid[-1]:
        marks.months(ax, beside=n_columns)
    return fig


def _weeks(completeness: pd.DataFrame) -> pd.DataFrame:
    """The rows a week and platform of each micro-conversion's best witness, of enough users.

    Without weeks of which more than 1 % has not arrived, which would look like a loss.
    """
    table = completeness[completeness["witness"].isin(WITNESSES)]
    best = table.groupby("micro_conversion")["witness"].transform("min")  # "back end" comes first
    table = table[(table["witness"] == best) & (table["app_version"] == "all")]
    table = table[(table["week"] != "all") & (table["platform"] != "all")]
    table = table[table["n_users"] >= style.MIN_USERS]
    due = table["completeness_rate"] * table["n_checked"]  # were all in
    table = table[table["n_tracked"] >= ARRIVED * due]
    return table.assign(day=pd.to_datetime(table["week"])).sort_values(["platform", "day"])


def _draw(ax: Axes, weeks: pd.DataFrame, lost: pd.DataFrame, labels: Mapping[str, str]) -> None:
    bad = set(lost["micro_conversion"])
    ends = []
    for place, (name, line) in enumerate(weeks.groupby("micro_conversion")):
        looks: dict[str, Any] = {"color": style.WARN if name in bad else style.ACCENT, "lw": 1.8}
        looks["zorder"] = 3 if name in bad else 2
        ax.plot(line["day"], line["completeness_rate"], ls=DASHES[place % len(DASHES)], **looks)
        if name in bad:
            low, high = style.ends_of(line, "completeness_rate")
            told = zip(line["day"], line["completeness_rate"], low, high)
            words = (
                f"Week of {d.day} {d:%b}: {100 * r:.0f} % ({100 * a:.0f} to {100 * b:.0f})"
                for d, r, a, b in told
            )
            marks.hover(ax, line["day"], line["completeness_rate"], words)
            ends.append(f"{DASHES[place % len(DASHES)]}  {labels.get(str(name), name)}")
    for week in sorted({w for w in lost["since"] if w}):
        ax.axvline(pd.Timestamp(week), color=style.WARN, lw=1.2, ls=":", zorder=1)
        row = lost[lost["since"] == week].iloc[0]
        version = f"{row['app_version']}, " if row["app_version"] else ""
        text = f"{version}{pd.Timestamp(week).day} {pd.Timestamp(week):%B}"
        style.write(
            ax,
            text,
            (pd.Timestamp(week), 0),
            (-4, 6),
            within=style.EDGE,
            ha="right",
            color=style.ACT,
            weight="bold",
        )
    if ends:
        style.write(ax, "\n".join(ends), (0.02, 0.2), within="axes fraction", color=style.ACT)
