"""What a notebook shows: the data header, tables, pictures and the finding.

Used inside notebooks only. Everything that may come from data (event names, segments, captions) is
escaped, so that no export can put live HTML or Markdown into a page that other people open.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import display

from mctlib import cells
from mctlib.contract import ParameterError, as_timestamp
from mctlib.headlines import MOST_ACTIONS, Action, Headline, chosen
from mctlib.results import MIN_USERS, Page, Result

if TYPE_CHECKING:
    from mctlib.eventlog.event_log import EventLog

# what a spreadsheet computes, also behind signs that it does not show, and in their wide forms
FORMULA = re.compile(
    r"[\t\r\n]|[\s\u200b-\u200f\u2060\ufeff\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]"
)
BLUE, GREY = "var(--blue,#0b5c96)", "var(--grey,#626e7a)"  # of a page, else of anywhere
MORE = "How it was counted, and all caveats: `.rule`, `.details` and `.caveats` of each result."
MANY = 8  # columns that stand beside each other unbroken
PAGE = Page()  # the tables shown since the last header


def _show(data: dict[str, str], metadata: dict[str, Any] | None = None) -> None:
    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]  # untyped


def header(log: EventLog, *, rule: str, as_of: str) -> None:
    """Show what is asked of which data: source, period, the rule, and what loading left out.

    A report begins with it: what tables hide is hidden in all of them until the next header.
    """
    n_events, n_users = log.load["tables"]["events"]["n_kept"], log.load["n_users"]
    PAGE.begin(n_users)
    first, last = cells.day(log.first_event.normalize()), cells.day(log.last_event.normalize())
    until = min(as_timestamp(as_of), log.observed_until - pd.Timedelta("1us"))
    few = 0 < n_users < MIN_USERS
    users = f"fewer than {MIN_USERS}" if few else cells.count(n_users)
    rows = {
        "Data": f"{log.name}: {cells.count(n_events)} events of {users} users",
        "Period": f"{first} to {last} in UTC, read up to {cells.day(until)}",
        "Rule": rule,
        "Left out": _left_out(log.load),
    }
    items = [f"<dt>{name}</dt><dd>{html.escape(str(t))}</dd>" for name, t in rows.items() if t]
    _show({"text/html": f'<dl class="mct-header">{"".join(items)}</dl>'})


def _left_out(load: dict[str, Any]) -> str:
    """Rejected rows by reason and times left empty, in words; "" when nothing was left out."""
    said = []
    for name, counts in load.get("tables", {}).items():
        for reason, n in (counts.get("n_rejected") or {}).items():
            said.append(f"{cells.count(n)} row{'' if n == 1 else 's'} of {name} ({reason})")
        for column, n in counts.get("n_emptied", {}).items():
            said.append(f"{cells.count(n)} implausible {column} of {name}")
    return "; ".join(said)


def table(
    frame: pd.DataFrame,
    name: str,
    *,
    caption: str,
    tells: str = "",
    of: Result | None = None,
    min_users: int = MIN_USERS,
    points: Sequence[str] = (),
    shown: Sequence[str] = (),
    unfolded: bool = False,
) -> None:
    """Show a result table for reading and keep it as CSV.

    Column names follow the column grammar and become words; an interval joins its estimate. The
    masked table, with numbers unrounded, is written to `$MCT_TABLES/<name>.csv` and `.parquet`
    where that variable names a folder.

    Parameters
    ----------
    frame : DataFrame
        A table of a result.
    name : str
        Its file's name.
    caption, tells : str
        What it shows, and the answer it tells, which heads a page's section.
    of : Result, optional
        The result that the table was taken from: its groups say how many users a row is about, and
        which other tables of the report are about the same users. Else the table is taken by
        itself, see `mctlib.results.suppress`.
    min_users : int
        Rows about fewer users are masked, and those that would give them away.
    points : sequence of str
        Columns that hold differences of shares, to be read in percentage points, where their name
        does not say so.
    shown : sequence of str
        Columns for reading where there are too many; the files hold all.
    unfolded : bool
        Whether a page shows it without being asked, above what its section folds.

    Raises
    ------
    ParameterError
        The name cannot be a file's.
    DataError
        Whatever is masked, the tables before it give away fewer users than that.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        rule = 'may hold only a-z, 0-9, "_" and "-": it becomes a file name'
        raise ParameterError(f'Table name "{name}" {rule}.')
    frame, masked = PAGE.publish(name, frame, of.groups if of else (), min_users)
    if folder := os.environ.get("MCT_TABLES"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        inert = frame.map(_no_formula).rename(columns=_no_formula)
        # with both in the line's end, a cell with either is quoted
        inert.to_csv(Path(folder) / f"{name}.csv", index=False, lineterminator="\r\n")
        _typed(frame).to_parquet(Path(folder) / f"{name}.parquet", index=False)
    caption = caption.removesuffix(".")
    if frame.empty:  # a head without rows says nothing
        _show({"text/html": f"<p>{html.escape(caption)}.</p>"}, {"mctlib_shown": {"nothing": True}})
        return
    frame = frame[[*shown]] if shown else frame
    if any(str(column).endswith("_ci_lower") for column in frame):
        caption += f". In brackets: {'the range' if unfolded else '95 % intervals'}"
    if masked.any():
        hidden = f"Rows under {min_users} users are hidden, and those that would give them away"
        caption = f"{caption}. {hidden}."
    told = {"mctlib_shown": {"tells": tells, "unfolded": unfolded}} if tells else None
    _show({"text/html": _page(*cells.readable(frame, masked, points), name, caption)}, told)


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with columns of one type each: whatever is mixed becomes text."""
    kinds = {column: pd.api.types.infer_dtype(frame[column]) for column in frame}
    mixed = [column for column, kind in kinds.items() if kind.startswith("mixed")]
    text = {column: frame[column].map(str, na_action="ignore") for column in mixed}
    return frame.assign(**text).rename(columns=str)


def _no_formula(value: Any) -> Any:
    """A text that a spreadsheet would compute, as a text."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def _page(text: pd.DataFrame, numeric: set[str], name: str, caption: str) -> str:
    """A table as HTML, whose cells know their row and column."""
    right = [f".col{i}" for i, column in enumerate(text) if column in numeric] or [".none"]
    whole = right if text.shape[1] <= MANY else [".none"]  # of more an interval takes a line
    looks = {
        "th, td": "text-align: left; vertical-align: top",
        ", ".join(right): "text-align: right; font-variant-numeric: tabular-nums",
        ", ".join(f"td{column}" for column in whole): "white-space: nowrap",
        "caption": "text-align: left; caption-side: top; font-weight: 600",
    }
    styler = text.style.hide(axis="index").set_uuid(name)
    styler.set_caption(f"<span>{html.escape(caption)}</span>")
    drawn = [c for c in text if text[c].map(lambda value: isinstance(value, cells.Course)).any()]
    styler.format(dict.fromkeys(drawn, _drawn), escape="html").format_index(escape="html", axis=1)
    styler.set_table_styles([{"selector": where, "props": how} for where, how in looks.items()])
    page = styler.to_html().replace("<th id=", '<th scope="col" id=')
    first = r'<td (id="[^"]+_col0"[^>]*)>(.*?)</td>'
    page = re.sub(first, r'<th scope="row" \1>\2</th>', page)
    # of a cell only its column is asked for
    page = re.sub(r'(<t[hd][^>]*?) id="[^"]*"', r"\1", page)
    return re.sub(r'class="[^"]*\b(col\d+)"( (?=>))?', r'class="\1"', page)


def _drawn(course: Any) -> str:
    """Weeks and, beside them, months on one scale: a small picture in a cell."""
    if not isinstance(course, cells.Course):
        return ""
    known = [*course.weeks, *course.months]
    low, room = min(known), (max(known) - min(known)) or 1.0

    def points(values: Sequence[float], right: float) -> list[str]:
        step = 48 / max(len(values) - 1, 1)
        return [
            f"{right - step * k:.1f},{22 - 18 * (value - low) / room:.1f}"
            for k, value in enumerate(reversed(values))
        ]

    lines = {BLUE: points(course.weeks, 52), GREY: points(course.months, 116)}
    drawn = "".join(
        f'<polyline points="{" ".join(line)}" style="fill:none;stroke:{colour};stroke-width:2"/>'
        for colour, line in lines.items()
    )
    x, _, y = lines[BLUE][0].partition(",")
    size = 'width="120" height="26" viewBox="0 0 120 26"'
    told = f'role="img" aria-label="{html.escape(course.told, quote=True)}"'
    dot = f'<circle cx="{x}" cy="{y}" r="3" style="fill:{BLUE}"/>'
    return f"<svg {size} {told}>{drawn}{dot}</svg>"


def figure(
    draw: Callable[..., Any],
    *tables: Any,
    title: str,
    tells: str = "",
    hero: bool = False,
    of: Result | None = None,
    **options: Any,
) -> None:
    """Show a drawing as SVG, as wide as a page.

    Where `$MCT_FIGURES` names a folder, as in a run, it is kept there for slides, named by its
    title, and drawn as wide as a phone too.

    Parameters
    ----------
    draw : function
        Called with the tables and options; gives Axes, a Figure or seaborn's grid.
    title, tells : str
        What is shown, and the answer it tells: both are read to whoever cannot see it, and a page
        heads the section with the answer.
    hero : bool
        Whether it stands at the top of the page.
    of : Result, optional
        The result that the tables were taken from: of its groups those are drawn that the page may
        tell, and nothing where all of them are fewer than 10 users.
    """
    import matplotlib.pyplot as plt

    from mctlib.plots import style
    from mctlib.plots.svg import alone, as_svg

    if of is not None and of.published is not of:
        return
    if of is not None:
        tables = tuple(_told(table, f"{title} {k}", of) for k, table in enumerate(tables))
        options = {k: _told(option, f"{title} {k}", of) for k, option in options.items()}
    drawings, alt, small = {}, ": ".join(filter(None, [title, tells])), ""
    folder = os.environ.get("MCT_FIGURES")
    for width in (style.WIDE, style.NARROW) if folder else (style.WIDE,):
        with style.drawn_at(width):
            drawn = draw(*tables, **options)
        whole = drawn if hasattr(drawn, "savefig") and hasattr(drawn, "canvas") else drawn.figure
        if len(whole.axes) == 1:  # the axes' names stand above the picture
            (ax,) = whole.axes
            names = [text for text in (ax.get_ylabel(), ax.get_xlabel()) if text]
            small = "; ".join(names).replace("\n", "; ")
            ax.set(xlabel="", ylabel="")
        drawings[width] = as_svg(whole, alt)
        plt.close(whole)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60] or "figure"
        Path(folder, f"{name}.svg").write_text(alone(drawings[style.WIDE]), "utf-8")
    told = {
        "title": title,
        "small": small,
        "tells": tells,
        "narrow": drawings.get(style.NARROW, ""),
    }
    data = {"image/svg+xml": drawings[style.WIDE], "text/plain": alt}
    _show(data, {"mctlib_shown": told | {"hero": hero}})


def _told(table: Any, name: str, of: Result) -> Any:
    """A picture's table without the rows that the page hides."""
    if not isinstance(table, pd.DataFrame):
        return table
    masked = PAGE.publish(name, table, of.groups)[1].to_numpy()
    return table[~masked].reset_index(drop=True)


def finding(result: Result, *, more: Sequence[Result] = ()) -> None:
    """Close the notebook: the finding first, its numbers, what to do and who, then what is behind.

    The plain facts also go into the output's metadata, where a run finds them. Of several results
    the first with news speaks first; its page has at most four numbers and three actions.

    Parameters
    ----------
    result : Result
        Its level is the number that the run's index shows.
    more : sequence of Result
        Further results, in their order.
    """
    results = [each.published for each in (result, *more)]
    first = next((each for each in results if each.news), results[0])
    headlines = chosen([each.headlines for each in results])
    actions = _asked_for([each.actions for each in (first, *results)], headlines)
    told: dict[str, Any] = {
        "finding": first.finding,
        "headlines": [asdict(headline) for headline in headlines],
        "actions": [asdict(action) for action in actions],
        "how_sure": list(dict.fromkeys(s for each in results for s in each.how_sure))[:3],
        "details": [_behind(each, first) for each in results],
        "rules": [each.rule for each in results if each.rule],
        "caveats": list(dict.fromkeys(c for each in results for c in each.caveats)),
    }
    paragraphs = [
        f"**{_markdown(first.finding)}**",
        "\n".join(f"- {_markdown(_said(headline))}" for headline in headlines),
        "\n".join(f"- {_markdown(f'{a.text} {a.beside}')}" for a in actions),
        _markdown(" ".join(told["how_sure"])),
        MORE if told["rules"] or told["caveats"] else "",
    ]
    _show({"text/markdown": "\n\n".join(filter(None, paragraphs))}, {"mctlib": told})


def _asked_for(groups: Iterable[Sequence[Action]], headlines: Sequence[Headline]) -> list[Action]:
    """At most three actions, those that a number asks for before the others."""
    alike = dict.fromkeys(action for group in groups for action in group)
    bad = {headline.name for headline in headlines if headline.act}
    return sorted(alike, key=lambda action: action.about not in bad)[:MOST_ACTIONS]


def _behind(result: Result, first: Result) -> str:
    """What else a result says, its finding too where another one stands first."""
    own = [] if result is first else [result.finding]
    return " ".join([*own, *result.details])


def _said(headline: Headline) -> str:
    """A tile as a line: "label: 20.4 % (19.2 to 21.5), 16,861 users; sure, note"."""
    ends = f" ({headline.range})" if headline.range else ""
    beside = f", {headline.beside}" if headline.beside else ""
    state = ", ".join(dict.fromkeys(filter(None, [headline.state, headline.note])))
    return f"{headline.label}: {headline.whole}{ends}{beside}{state and f'; {state}'}"


def _markdown(text: str) -> str:
    """Data as plain words: no HTML, no Markdown, no mathematics, no links."""
    text = html.escape(" ".join(str(text).splitlines()), quote=False)
    signs = r"([\\`*\[\]|~#])|(?<!\w)(_)|(_)(?!\w)"
    text = re.sub(signs, lambda found: f"\\{found[0]}", text).replace("$", "&#36;")
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text).replace("://", "&#58;//")
