"""What every analysis gives back: tables and the words that belong to them, fit to be shown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import pandas as pd

from mctlib import box, cells, phrases
from mctlib.contract import ParameterError, nearest
from mctlib.groups import MIN_USERS, OTHERS, TIME, Groups, together
from mctlib.headlines import Action, Headline
from mctlib.suppression import Page, suppress

__all__ = ["MIN_USERS", "OTHERS", "TIME", "Groups", "Page", "Result"]
__all__ += ["suppress", "together"]

SHOWN_ROWS = 8  # of a result that stands alone in a cell


@dataclass(frozen=True, kw_only=True, repr=False)
class Result:
    """Tidy tables (the fields of a subclass) and what they say.

    Attributes
    ----------
    finding : str
        What was found: one sentence of at most 25 everyday words.
    news : bool
        Something moved, so that on a page of several results this finding stands first.
    headlines : tuple of Headline
        The numbers behind it, at most four, the level first.
    actions : tuple of Action
        What to do about it and who, at most three, the largest loss first.
    rule : str
        How it was counted; "" where the finding needs no rule.
    details : tuple of str
        Further sentences, each whole in itself.
    tells : mapping
        What each table or picture tells, in a few words, by its name.
    how_sure : tuple of str
        The caveats that change the answer, in everyday words, at most three.
    caveats : tuple of str
        All that an analyst has to know.
    groups : tuple of Groups
        Of whom the tables are; of a result without any, every table is taken by itself.
    """

    finding: str
    news: bool = False
    headlines: tuple[Headline, ...] = ()
    actions: tuple[Action, ...] = ()
    rule: str = ""
    details: tuple[str, ...] = ()
    tells: Mapping[str, str] = field(default_factory=dict)
    how_sure: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    groups: tuple[Groups, ...] = ()

    main: ClassVar[str] = ""  # name of the table that a reader looks at first
    first: ClassVar[tuple[str, ...]] = ()  # its columns read first; (): of a view by its name, all
    views: ClassVar[Mapping[str, cells.View]] = {}

    def __post_init__(self) -> None:
        """Days are said as people say them in every sentence, whoever worded it."""
        for name in ("finding", "rule"):
            object.__setattr__(self, name, phrases.with_days(getattr(self, name)))
        for name in ("details", "how_sure", "caveats"):
            told = map(phrases.with_days, getattr(self, name))
            object.__setattr__(self, name, tuple(told))

    @property
    def published(self) -> Result:
        """The result as a page may tell it: of fewer than 10 users in all, nothing."""
        if not any(0 < group.sizes.sum() < MIN_USERS for group in self.groups):
            return self
        nothing = f"These are fewer than {MIN_USERS} users, of whom nothing is told."
        bare = dict.fromkeys(("headlines", "actions", "details", "how_sure", "caveats"), ())
        return replace(self, finding=nothing, news=False, rule="", tells={}, **bare)

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: table for name, table in found.items() if isinstance(table, pd.DataFrame)}

    def view(self, name: str) -> pd.DataFrame:
        """What a reader looks at together: a table's columns under a name, as far as known.

        A cell of a notebook shows it in words, its intervals joined.

        Raises ParameterError: it is none of ``views``.
        """
        if name not in self.views:
            near = nearest(name, self.views)
            raise ParameterError(f'"{name}" is no view of {type(self).__name__}.{near}')
        return box.Shown(self.views[name].of(self.tables[self.views[name].table]))

    def __repr__(self) -> str:
        told = self.published
        sizes = ", ".join(f"{name} ({len(table)})" for name, table in self.tables.items())
        finding = textwrap.shorten(told.finding, 200, placeholder=" ...")
        caveats = f"; {len(told.caveats)} caveats" if told.caveats else ""
        rule = f"\n  rule: {told.rule}" if told.rule else ""
        return f"{type(self).__name__}: {finding}{rule}\n  tables: {sizes}{caveats}"

    def _repr_html_(self) -> str:
        """Sentence, tiles, the main table's head, the first caveats, where the rest is."""
        of = self.published
        caption, (text, numeric) = "", (pd.DataFrame(), set[str]())
        table = self.tables.get(self.main)
        if table is not None:
            whole, masked = Page().publish(self.main, table, self.groups)
            view = self.views.get(self.main)
            first = self.first or (view.of(whole) if view else whole).columns
            head = whole[list(first)].head(SHOWN_ROWS)
            text, numeric = cells.readable(head, masked.head(SHOWN_ROWS))
            part = f" ({len(head)} of {len(whole)} rows)" if len(whole) > len(head) else ""
            caption = f"{self.main}{part}"
        more = [f".{name} {len(t)}\u00d7{t.shape[1]}" for name, t in self.tables.items()]
        more += [f".caveats {len(of.caveats)}"] if of.caveats else []
        more += [".rule"] if of.rule else []
        sure = of.how_sure or of.caveats[:1]
        return box.of(of.finding, of.headlines, (caption, text, numeric), sure, more)
