"""Result tables in words: a heading for every column, a text for every cell."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mctlib import phrases
from mctlib.contract import ENDS

DASH = "\u2013"  # for a value that is not known
HEADINGS = {"n": "Users", "n_reference": "Users of the reference", "p_positive": "P(ROI > 0)"}
HEADINGS |= {"partner_id": "Partner", "completeness_rate": "Recorded"}
WORDS = {
    "roi": "ROI",
    "utm": "UTM",
    "id": "ID",
    "p90": "P90",
    "pvalue": "p-value",
    "qvalue": "q-value",
    "rmst": "mean wait",
    "ph": "proportionality",
    "ci": "interval",
    "rel": "relative",
}
# days that are asked for, not found: whole ones as they are
SPANS = ("window_days", "landmark_days", "horizon_days")


class View(NamedTuple):
    """Columns of a table that are read together, and of which rows (a query).

    "x ±" is x with its interval, "" the table's first column.
    """

    table: str
    columns: tuple[str, ...]
    rows: str = ""

    def of(self, table: pd.DataFrame) -> pd.DataFrame:
        """These of the table, as far as anything is known; an interval stays with its estimate."""
        table = table.query(self.rows) if self.rows else table
        wanted: list[str] = []
        for column in self.columns:
            stem = column.removesuffix(" ±") or str(table.columns[0])
            if stem in table and table[stem].notna().any():
                wanted += [stem + end for end in (ENDS if column.endswith("±") else ENDS[:1])]
        return table[[column for column in wanted if column in table]]


class Course(NamedTuple):
    """The last weeks of a number and its months before, for a small picture in its row.

    told: the same in words.
    """

    told: str
    weeks: tuple[float, ...]
    months: tuple[float, ...]

    def __str__(self) -> str:
        return self.told


def readable(
    frame: pd.DataFrame, masked: pd.Series, points: Sequence[str] = ()
) -> tuple[pd.DataFrame, set[str]]:
    """The table in words, and which of its columns are right-aligned.

    An interval joins its estimate, in the column that stands first under their name, and the
    currency the heading of every amount. A metric's name is for programs where its label stands.
    A `Course` stays one: who shows it draws it.
    """
    currency = ", ".join(filter(None, frame["currency"].unique())) if "currency" in frame else ""
    base = next((column for column in frame if str(column).startswith("n_")), None)
    columns: dict[str, list[str]] = {}
    numeric, joined = set(), set()
    unread = {"currency", *(("metric",) if "label" in frame else ())}
    for column in map(str, frame.columns):
        if column in unread or re.search(r"_ci_(lower|upper)$", column):
            continue
        if frame[column].map(lambda value: isinstance(value, Course)).any():
            columns[heading(column)] = frame[column].tolist()
            continue
        stems = (column, column.rpartition("_")[0])
        stem = next((s for s in stems if f"{s}_ci_lower" in frame and s not in joined), "")
        sides = [f"{stem}_ci_lower", f"{stem}_ci_upper"] if stem else []
        joined.add(stem)
        title, values = heading(column), frame[[column, *sides]]
        if currency and column.endswith("_amount"):
            title += f", {currency}"
        if column.endswith("_days") and column not in SPANS:
            longest = values.abs().max(axis=None)
            unit = phrases.unit_of(longest) if longest > 0 else phrases.UNITS[0]
            title = re.sub(", days$", f", {unit.name}s", title)
            values = values * unit.per_day
        name = "effect_rate" if column in points else column
        texts = [_with_interval(name, *row) for row in values.itertuples(index=False, name=None)]
        if column == base:
            texts = ["hidden" if hide else text for text, hide in zip(texts, masked)]
        columns[title] = texts
        kind = pd.api.types
        if kind.is_numeric_dtype(frame[column]) and not kind.is_bool_dtype(frame[column]):
            numeric.add(title)
    return pd.DataFrame(columns, dtype=object), numeric


def heading(column: str) -> str:
    """Words of a column: `n_reached`: Reached; `median_days`: Median, days; `roi`: ROI."""
    if column in HEADINGS:
        return HEADINGS[column]
    stem = column.removeprefix("n_").removesuffix("_amount")
    words = [WORDS.get(word, word) for word in stem.split("_") if word]
    if len(words) > 1 and words[-1] == "days":
        words[-2:] = [f"{words[-2]}, days"]
    text = " ".join(words)
    return text if text.startswith(("p-", "q-")) else text[:1].upper() + text[1:]


def cell(column: str, value: Any) -> str:
    """One value in its column's unit, short enough to read."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or DASH
    if pd.isna(value):
        return DASH
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (pd.Timestamp, np.datetime64)) or column == "day":
        return day(value)
    if isinstance(value, (int, float, np.number)):
        return _number(column, float(value))
    text = str(value)
    whole = column in ("since", "until")  # a day by itself; a cohort's is not broken over lines
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text) and not whole:
        text = text.replace("-", "\u2011")
    say = phrases.titled if column == "partner_id" else phrases.called
    return say(text) if whole or text.isidentifier() else text  # ids of alerts as written


def day(moment: Any) -> str:
    """5 July 2026, with the time where one was given."""
    at = pd.Timestamp(moment)
    time = "" if at == at.normalize() or at.ceil("s") == at.ceil("D") else f" {at:%H:%M}"
    return f"{at.day} {at:%B %Y}{time}"


def count(number: float) -> str:
    """A whole number: 1,234,567."""
    return f"{number:,.0f}"


def _number(column: str, value: float) -> str:
    if not np.isfinite(value):
        return "no limit"
    say = next(say for pattern, say in UNITS if re.search(pattern, column))
    return phrases.nought(say(value)).replace("-", "\u2212")


def _probability(value: float) -> str:
    if value > 0.999:
        return "> 0.999"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _money(value: float) -> str:
    for size, unit in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            decimals = 1 if abs(value) < 100 * size else 0
            return f"{value / size:.{decimals}f}\u00a0{unit}"
    return f"{value:.0f}"


def _any(value: float) -> str:
    if value.is_integer() or abs(value) >= 1000:
        return count(value)
    return f"{value:.3g}"


UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (  # the first whose pattern fits
    ("^rel_", lambda value: f"{100 * value:+.1f}\u00a0%"),
    ("(effect|difference|change)_(rate|share)$", lambda value: f"{100 * value:+.1f}\u00a0pp"),
    ("(^|_)(rate|share)$|^roi$", lambda value: f"{100 * value:.1f}\u00a0%"),
    ("(^|_)ratio$", lambda value: f"{value:.2f}"),
    ("[pq]value$|^p_positive$", _probability),
    (f"^({'|'.join(SPANS)})$", lambda value: f"{value:.1f}".removesuffix(".0")),
    ("_days$", lambda value: f"{value:.1f}"),
    ("amount$", _money),
    ("", _any),
)


def _with_interval(column: str, value: Any, low: Any = None, high: Any = None) -> str:
    """`12.3 % (11.0–13.7)`: an estimate and its ends, the unit said once."""
    text = cell(column, value)
    if text == DASH or pd.isna(low) or pd.isna(high):
        return text
    ends = [re.sub("\u00a0(%|pp)$", "", cell(column, end)) for end in (low, high)]
    between = " to " if any(end.startswith(("+", "\u2212")) for end in ends) else DASH
    return f"{text} ({between.join(ends)})"
