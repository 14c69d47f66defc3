"""What a notebook shows: the data header, tables, pictures and the finding.

Used inside notebooks only. Everything that may come from data (event names, segments, captions) is escaped, so that no export can put live
HTML or Markdown into a page that other people open.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import HTML, display

from mctlib.contract import ParameterError
from mctlib.results import suppress

if TYPE_CHECKING:
    from mctlib.eventlog.event_log import EventLog

DASH = "\u2013"  # for a value that is not known
WORDS = {"roi": "ROI", "utm": "UTM", "pvalue": "p-value", "qvalue": "q-value", "rmst": "mean wait", "ph": "proportionality",
         "p90": "P90", "ci": "interval", "id": "ID", "rel": "relative"}  # fmt: skip
HEADINGS = {"n": "Users", "p_positive": "P(ROI > 0)"}
SPANS = (
    "window_days",
    "landmark_days",
    "horizon_days",
)  # days that are asked for, not found: whole ones as they are


def header(log: EventLog, *, rule: str, as_of: str) -> None:
    """Show what is asked of which data: source, period, users, events, the rule in words, and what loading left out."""
    events = log.load["tables"]["events"]
    rows = [
        (
            "Data",
            f"{log.name}: {_count(events['n_kept'])} events of {_count(log.load['n_users'])} users",
        ),
        (
            "Period",
            f"{_day(log.first_event.normalize())} to {_day(log.last_event.normalize())} in UTC, read up to {_day(as_of)}",
        ),
        ("Rule", rule),
    ]
    if left_out := _left_out(log.load):
        rows.append(("Left out", left_out))
    items = "".join(f"<dt>{name}</dt><dd>{html.escape(str(text))}</dd>" for name, text in rows)
    display(HTML(f'<dl class="mct-header">{items}</dl>'))


def table(
    frame: pd.DataFrame, name: str, *, caption: str, min_users: int = 10, points: Sequence[str] = ()
) -> None:
    """Show a result table for reading and keep it as CSV.

    Column names follow the column grammar (`n_*`, `*_rate`, `*_ci_lower/_ci_upper`, `*_days`, `rel_*`, `*_amount`, `pvalue`, `*_at`, `day`) and
    become words; an interval joins its estimate. Rows whose first `n_*` column counts fewer than `min_users` users are masked (see `suppress`).
    ``points`` names columns that hold differences of shares, to be read in percentage points, where the name does not say so.
    The masked table, with numbers unrounded, is written to `$MCT_TABLES/<name>.csv` where that variable names a folder.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise ParameterError(
            f'Table name "{name}" may hold only a-z, 0-9, "_" and "-": it becomes a file name.'
        )
    frame, masked = suppress(frame, min_users=min_users)
    if folder := os.environ.get("MCT_TABLES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        safe = frame.map(
            lambda v: f"'{v}" if isinstance(v, str) and v[:1] in "=+-@\t" and v else v
        )  # no formulas for Excel
        safe.to_csv(Path(folder) / f"{name}.csv", index=False)

    text, numeric = _readable(frame, masked, points)
    right = [f".col{i}" for i, column in enumerate(text) if column in numeric] or [".none"]
    if any(str(column).endswith("_ci_lower") for column in frame):
        caption = f"{caption.removesuffix('.')}. In brackets: 95 % intervals"
    if masked.any():
        caption = f"{caption.removesuffix('.')}. Rows under {min_users} users are hidden, and those that would give them away."
    styler = (
        text.style.hide(axis="index")
        .set_uuid(name)
        .set_caption(f"<span>{html.escape(caption)}</span>")
    )
    styler.format(escape="html").format_index(escape="html", axis=1)
    styler.set_table_styles([{"selector": "th, td", "props": "text-align: left; vertical-align: top"},
                             {"selector": ", ".join(right), "props": "text-align: right; font-variant-numeric: tabular-nums"},
                             {"selector": ", ".join(f"td{c}" for c in right), "props": "white-space: nowrap"},
                             {"selector": "caption", "props": "text-align: left; caption-side: top; font-weight: 600"}])  # fmt: skip
    page = styler.to_html()
    display(
        HTML(
            re.sub(
                r'<td (id="[^"]+_col0"[^>]*)>(.*?)</td>',
                r'<th scope="row" \1>\2</th>',
                page.replace("<th id=", '<th scope="col" id='),
            )
        )
    )


def figure(drawn: Any, *, alt: str) -> None:
    """Show a matplotlib or seaborn drawing (Axes, Figure or grid) as PNG with `alt`, the words for whoever cannot see it; then close it."""
    import matplotlib.pyplot as plt

    fig = drawn if hasattr(drawn, "savefig") and hasattr(drawn, "canvas") else drawn.figure
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=144, bbox_inches="tight", metadata={"Software": None})
    plt.close(fig)
    png = buffer.getvalue()
    width = (
        int.from_bytes(png[16:20], "big") * 96 // 144
    )  # the picture's pixels, drawn sharp on dense screens
    display({"image/png": base64.b64encode(png).decode(), "text/plain": alt}, raw=True,
            metadata={"image/png": {"alt": alt, "width": width}})  # fmt: skip


def finding(result: Any, *, next_step: str, owner: str, more: Sequence[Any] = ()) -> None:
    """Close the notebook: the finding first, its caveats, what to do next and who owns it.

    `result` and `more` are results of this package (`finding`, `caveats`); the first is the headline, its closing bracket the rule. The plain texts also go into the output's metadata,
    where a run finds them.
    """
    caveats = list(dict.fromkeys(caveat for each in (result, *more) for caveat in each.caveats))
    said = [
        re.fullmatch(r"(.*?)(?: \(([^()]*(?:\([^()]*\)[^()]*)*)\))?", each.finding, re.S).groups(
            default=""
        )
        for each in (result, *more)
    ]  # a closing bracket holds the rule
    (headline, rule), *others = said
    facts = {
        "finding": headline,
        "rule": rule,
        "more": [{"finding": text, "rule": how} for text, how in others],
        "caveats": caveats,
        "next_step": next_step,
        "owner": owner,
    }
    parts = [f"**{_markdown(headline)}**{_markdown(f' ({rule})' if rule else '')}", *(_markdown(each.finding) for each in more), "\n".join(f"- {_markdown(caveat)}" for caveat in caveats),
             f"**What to do next.** {_markdown(next_step)}", f"**Owner.** {_markdown(owner)}"]  # fmt: skip
    plain = "\n".join(each.finding for each in (result, *more))
    display(
        {"text/markdown": "\n\n".join(filter(None, parts)), "text/plain": plain},
        raw=True,
        metadata={"mctlib": facts},
    )


def _markdown(text: str) -> str:
    """Data as plain words: no HTML, no Markdown, no mathematics, no links."""
    text = html.escape(" ".join(str(text).splitlines()), quote=False)
    text = re.sub(r"([\\`*\[\]|~#])|(?<!\w)(_)|(_)(?!\w)", lambda m: f"\\{m[0]}", text).replace(
        "$", "&#36;"
    )
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text).replace("://", "&#58;//")


def _readable(
    frame: pd.DataFrame, masked: pd.Series, points: Sequence[str] = ()
) -> tuple[pd.DataFrame, set[str]]:
    """The table in words, and which of its columns are right-aligned."""
    base = next((c for c in frame if str(c).startswith("n_")), None)
    columns, numeric, used = {}, set(), set()
    for column in map(str, frame.columns):
        if column in used or re.search(r"_ci_(lower|upper)$", column):
            continue
        stem = next(
            (s for s in (column, column.rsplit("_", 1)[0]) if f"{s}_ci_lower" in frame), None
        )
        unit = "effect_rate" if column in points else column
        cells = [_cell(unit, value) for value in frame[column]]
        title, sides = _heading(column), [f"{stem}_ci_lower", f"{stem}_ci_upper"] if stem else []
        if column.endswith("_days") and column not in SPANS:
            word, per_day = _time_unit(frame[[column, *sides]].abs().max(axis=None))
            frame, title = (
                frame.assign(**{c: frame[c] * per_day for c in (column, *sides)}),
                re.sub(", days$", f", {word}", title),
            )
            cells = [_cell(unit, value) for value in frame[column]]
        if stem and stem not in used:
            used.add(stem)
            ends = zip(*(frame[side] for side in sides), strict=True)
            cells = [
                _with_interval(unit, cell, *pair) for cell, pair in zip(cells, ends, strict=True)
            ]
        if column == base:
            cells = ["hidden" if hide else cell for cell, hide in zip(cells, masked, strict=True)]
        columns[title] = cells
        if pd.api.types.is_numeric_dtype(frame[column]) and not pd.api.types.is_bool_dtype(
            frame[column]
        ):
            numeric.add(title)
    return pd.DataFrame(columns, dtype=object), numeric


def _time_unit(days: float) -> tuple[str, int]:
    """Unit for a column of durations up to ``days``, so that something is left of them in tenths; and how many make a day."""
    units = (("days", 1), ("hours", 24), ("minutes", 1440), ("seconds", 86_400))
    return next(
        (unit for unit in units if days * unit[1] >= 0.5), units[-1] if days > 0 else units[0]
    )


def _heading(column: str) -> str:
    """`n_reached` -> Reached; `median_days` -> Median, days; `rel_effect` -> Relative effect."""
    if column in HEADINGS:
        return HEADINGS[column]
    words = [
        WORDS.get(word, word)
        for word in column.removeprefix("n_").removesuffix("_amount").split("_")
        if word
    ]
    if len(words) > 1 and words[-1] == "days":
        words[-2:] = [f"{words[-2]}, days"]
    text = " ".join(words)
    return (
        text[:1].upper() + text[1:]
        if not text.startswith("p-") and not text.startswith("q-")
        else text
    )


def _cell(column: str, value: Any) -> str:
    """One value in its column's unit, short enough to read."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or DASH
    if pd.isna(value):
        return DASH
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (pd.Timestamp, np.datetime64)) or column == "day":
        return _day(value)
    if isinstance(value, pd.Timedelta):
        return f"{value / pd.Timedelta('1d'):.1f} days"
    if not isinstance(value, (int, float, np.number)):
        return (
            str(value).replace("-", "\u2011")
            if re.fullmatch(r"\d{4}-\d\d-\d\d", str(value))
            else str(value)
        )  # a cohort's day is not broken over lines
    if not np.isfinite(value):
        return "no limit"
    if column.startswith("rel_") or re.search(r"(effect|difference|change)_(rate|share)$", column):
        return _minus(
            f"{100 * value:+.1f}\u00a0{'%' if column.startswith('rel_') else 'pp'}"
        )  # percent of it, or percentage points
    if re.search(r"(^|_)(rate|share)$", column) or column == "roi":
        return _minus(f"{100 * value:.1f}\u00a0%")
    if re.search(r"_?[pq]value$", column) or column == "p_positive":
        return "> 0.999" if value > 0.999 else "< 0.001" if value < 0.001 else f"{value:.3f}"
    if column.endswith("_days") and column not in SPANS:
        return _minus(f"{value:.1f}")
    if column.endswith("amount"):
        size, unit = next(
            (
                (s, u)
                for s, u in ((1e9, "\u00a0bn"), (1e6, "\u00a0M"), (1e3, "\u00a0k"))
                if abs(value) >= s
            ),
            (1, ""),
        )
        return _minus(f"{value / size:.{int(bool(unit) and abs(value) < 100 * size)}f}{unit}")
    if float(value).is_integer():
        return _count(value)
    if column.endswith("_days"):
        return f"{value:.1f}"
    return _minus(f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}")


def _with_interval(column: str, cell: str, lower: float, upper: float) -> str:
    """`12.3 %` and its ends -> `12.3 % (11.0–13.7)`; the unit is said once."""
    if cell == DASH or pd.isna(lower) or pd.isna(upper):
        return cell
    low, high = (re.sub("\u00a0(%|pp)$", "", _cell(column, end)) for end in (lower, upper))
    between = " to " if low.startswith(("+", "\u2212")) else DASH
    return f"{cell} ({low}{between}{high})"


def _count(number: float) -> str:
    return _minus(f"{number:,.0f}")


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _day(moment: Any) -> str:
    """5 July 2026, with the time where one was given."""
    at = pd.Timestamp(moment)
    time = "" if at == at.normalize() or at.ceil("s") == at.ceil("D") else f" {at:%H:%M}"
    return f"{at.day} {at:%B %Y}{time}"


def _left_out(load: dict[str, Any]) -> str:
    """Rejected rows by reason and duplicates removed, in words; empty when nothing was left out."""
    tables = {
        name: counts for name, counts in load.get("tables", {}).items() if counts.get("n_rejected")
    }
    return "; ".join(
        f"{_count(n)} row{'s' * (n != 1)} of {name} ({reason})"
        for name, counts in tables.items()
        for reason, n in counts["n_rejected"].items()
    )
