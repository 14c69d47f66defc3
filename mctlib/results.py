"""What every analysis gives back: tables and the words that belong to them, fit to be shown."""

from __future__ import annotations

import html
import textwrap
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import pandas as pd

MIN_USERS = 10  # smaller groups are hidden wherever a table is shown
TOTALS = ("all", "total", "everyone", "(all)")
# Columns that name a row although their name or type looks like a value.
KEYS = ("step", "day", "week", "window_days", "landmark_days")
SHOWN_ROWS, SHOWN_CAVEATS = 8, 3  # of a result that stands alone in a cell


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """Tidy tables (the fields of a subclass) and what they say.

    Attributes
    ----------
    finding : str
        What was found, in the words of a report.
    rule : str
        How it was counted; "" where the finding needs no rule.
    details : tuple of str
        Further sentences, each whole in itself.
    caveats : tuple of str
        What a reader has to know before acting on it.
    """

    finding: str
    rule: str = ""
    details: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    main: ClassVar[str] = ""  # name of the table that a reader looks at first

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: table for name, table in found.items() if isinstance(table, pd.DataFrame)}

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} ({len(table)})" for name, table in self.tables.items())
        finding = textwrap.shorten(self.finding, 200, placeholder=" ...")
        caveats = f"; {len(self.caveats)} caveats" if self.caveats else ""
        rule = f"\n  rule: {self.rule}" if self.rule else ""
        return f"{type(self).__name__}: {finding}{rule}\n  tables: {sizes}{caveats}"

    def _repr_html_(self) -> str:
        parts = [f"<p><b>{html.escape(self.finding)}</b></p>"]
        if self.rule:
            parts.append(f"<p><small>{html.escape(self.rule)}</small></p>")
        table = self.tables.get(self.main)
        if table is not None:
            head = suppress(table)[0].head(SHOWN_ROWS)
            parts.append(head.to_html(index=False, float_format="{:.3g}".format, border=0))
            if len(table) > len(head):
                parts.append(f"<p><small>{len(head)} of {len(table)} rows of .{self.main}</small>")
        told = "".join(f"<li>{html.escape(text)}</li>" for text in self.caveats[:SHOWN_CAVEATS])
        parts.append(f"<ul>{told}</ul>" if told else "")
        return "".join(parts)


def suppress(frame: pd.DataFrame, *, min_users: int = MIN_USERS) -> tuple[pd.DataFrame, pd.Series]:
    """Empty the numbers of small rows, and of one neighbour where subtraction would tell them.

    The base of a row is its first ``n_*`` column, where that is 0 its largest one. Segments always
    have a total: where it is no row here, another table or the finding shows it.

    Parameters
    ----------
    frame : DataFrame
        A result table whose columns follow the column grammar.
    min_users : int
        Rows of fewer users are masked.

    Returns
    -------
    table : DataFrame
        The frame with masked numbers missing.
    masked : Series of bool
        True where a row was masked.
    """
    frame = frame.reset_index(drop=True)
    counts = [str(c) for c in frame if str(c).startswith("n_")]
    if not counts:
        return frame, pd.Series(False, index=frame.index)
    users = frame[counts[0]].fillna(0)
    numeric = [c for c in counts if pd.api.types.is_numeric_dtype(frame[c])]
    could = frame[numeric].max(axis=1).fillna(0)  # of nobody who got there, those who could have
    users = users.where(users != 0, could)
    masked = users.between(0, min_users, inclusive="neither")
    keys = [c for c in frame if _names_a_row(frame, c)]
    before = -1
    while masked.sum() != before:  # a mask along one key can leave a single one along another
        before = masked.sum()
        for key in keys:
            _mask_neighbours(frame, key, keys, users, masked)
    if masked.any():
        numbers = [c for c in frame if c not in keys]
        emptied = frame[numbers].astype(object).where(~masked, np.nan)
        frame[numbers] = emptied.infer_objects()
    return frame, masked


def _names_a_row(frame: pd.DataFrame, column: str) -> bool:
    if column in KEYS:
        return True
    kind = pd.api.types
    return not (kind.is_numeric_dtype(frame[column]) or kind.is_datetime64_any_dtype(frame[column]))


def _mask_neighbours(
    frame: pd.DataFrame, key: str, keys: list[str], users: pd.Series, masked: pd.Series
) -> None:
    """Where one row along ``key`` is masked alone, mask the smallest one shown beside it too."""
    total = frame[key].astype(str).str.lower().isin(TOTALS)
    if key != "segment" and not total.any():
        return
    others = [c for c in keys if c != key]
    group = pd.Series(0, frame.index)
    if others:
        group = frame.groupby(others, dropna=False, observed=True).ngroup()
    for number in group.unique():
        rows = frame.index[group == number]
        parts = [i for i in rows if not total[i] and users[i] > 0]
        hidden = [i for i in parts if masked[i]]
        shown = [i for i in parts if not masked[i]]
        if len(hidden) == 1 and shown and (key == "segment" or total[rows].any()):
            masked[min(shown, key=lambda i: users[i])] = True
