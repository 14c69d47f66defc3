"""How a result, or a view of it, shows itself in a notebook's cell: one box, no id, no script."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import pandas as pd

from mctlib import cells
from mctlib.headlines import Headline

MOST_ROWS = 60  # of a view that are shown

LOOKS = """
.mct-r{font:14px/1.4 var(--jp-ui-font-family,system-ui,sans-serif);color:var(--jp-ui-font-color1)}
.mct-r p{margin:0 0 8px;max-width:90ch}.mct-r .f{font-size:17px}
.mct-r .q{color:var(--jp-ui-font-color2)}.mct-r .s{overflow-x:auto}
.mct-r .t{display:flex;flex-wrap:wrap;gap:8px 28px;margin:0 0 8px}
.mct-r .t p{margin:0;padding-left:10px;border-left:3px solid #626e7a;max-width:16em}
.mct-r .t strong{display:block;font-size:19px}
.mct-r .t .bad{border-color:#d55e00}.mct-r .t .good{border-color:#0b5c96}
.mct-r table{border-collapse:collapse;margin:0 0 8px;font-size:13px}
.mct-r caption{text-align:left;font-weight:600}.mct-r .l{text-align:left}.mct-r .r{text-align:right}
.mct-r th,.mct-r td{padding:3px 12px 3px 0;border-bottom:1px solid #8885;white-space:nowrap}
"""


def of(
    finding: str,
    headlines: Sequence[Headline],
    table: tuple[str, pd.DataFrame, set[str]],
    sure: Sequence[str],
    more: Sequence[str],
) -> str:
    """The box: a sentence, its tiles, a table, caveats, and the names of what else there is.

    ``table``: caption ("" for no table), `cells.readable` and its right-aligned columns.
    """
    caption, text, numeric = table
    parts = [f"<p class='f'>{html.escape(finding)}</p>"]
    tiles = "".join(map(_tile, headlines))
    parts.append(f"<div class='t'>{tiles}</div>" if tiles else "")
    parts.append(_table(caption, text, numeric) if caption else "")
    if sure:
        parts.append(f"<p><b>How sure?</b> {html.escape(' '.join(sure))}</p>")
    there = " \u00b7 ".join(map(html.escape, more))
    parts.append(f"<p class='q'>Tables: {there}</p>" if there else "")
    return _boxed("".join(parts))


class Shown(pd.DataFrame):
    """A table that a cell shows in words, an interval beside its estimate; else as any other."""

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return Shown  # of its first rows and such too

    def _repr_html_(self) -> str:
        rows = pd.DataFrame(self.head(MOST_ROWS))
        caption = f"{len(rows)} of {len(self)} rows" if len(self) > len(rows) else ""
        return _boxed(_table(caption, *cells.readable(rows, pd.Series(False, rows.index))))


def _boxed(inside: str) -> str:
    return f"<div class='mct-r'><style>{LOOKS}</style>{inside}</div>"


def _table(caption: str, text: pd.DataFrame, numeric: set[str]) -> str:
    sides = ["r" if name in numeric else "l" for name in text]
    lines = [_line("th", text.columns, sides)]
    lines += [_line("td", row, sides) for row in text.to_numpy()]
    head = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<div class='s'><table>{head}{''.join(lines)}</table></div>"


def _line(tag: str, texts: Iterable[str], sides: Sequence[str]) -> str:
    told = zip(map(html.escape, map(str, texts)), sides)
    cells = (f"<{tag} class='{side}'>{text}</{tag}>" for text, side in told)
    return f"<tr>{''.join(cells)}</tr>"


def _tile(headline: Headline) -> str:
    state = f" <b>{headline.mark} {headline.verdict}</b>" if headline.verdict else ""
    said = html.escape(headline.range or headline.beside)
    label, number = html.escape(headline.label), html.escape(headline.whole)
    return f"<p class='{headline.kind}'>{label}<strong>{number}</strong>{said}{state}</p>"
