"""What every analysis gives back: tables and the words that belong to them, fit to be shown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import box, cells
from mctlib.contract import DataError, ParameterError, nearest
from mctlib.headlines import Action, Headline

MIN_USERS = 10  # of fewer users nothing is told: they are joined to others, or hidden
OTHERS = "others"  # name of small groups that are told together
TIME = ("week", "month")  # keys whose groups follow each other
TOTALS = ("all", "total", "everyone", "(all)")
# Columns that say how many users a row is about, where others stand before them.
BASES = ("n_users", "n_entered")
# Columns that name a row although their name or type looks like a value.
KEYS = ("step", "day", "week", "window_days", "landmark_days")
SHOWN_ROWS = 8  # of a result that stands alone in a cell


@dataclass(frozen=True)
class Groups:
    """Into which groups the users of a result's tables fall: population, key and base counts.

    Every user is in one group. Groups of fewer than 10 users are told together with others.

    Attributes
    ----------
    population : str
        Who all of them are; the same words stand for the same users.
    key : str
        By what they are divided, such as ``"channel"``; "" where they are not.
    sizes : Series
        Users of each group (the base count of its rows), small groups too.
    names : mapping
        Group -> the name under which it is told, where that is another one.
    column : str
        Column of the tables that holds these names. A row without one is about all users.
    """

    population: str
    key: str
    sizes: pd.Series
    names: Mapping[str, str] = field(default_factory=dict)
    column: str = "segment"

    @classmethod
    def whole(cls, population: str, n_users: int) -> Groups:
        """One group of all."""
        return cls(population, "", pd.Series({"all": n_users}))

    @property
    def members(self) -> dict[str, list[str]]:
        """Name -> its groups."""
        found: dict[str, list[str]] = {}
        for group in self.sizes.index:
            found.setdefault(self.names.get(group, group), []).append(group)
        return found


def together(sizes: pd.Series | pd.DataFrame, key: str, keep: Iterable[str] = ()) -> dict[str, str]:
    """Under which names small groups are told: group -> name, where that is another one.

    Of weeks and months a small one goes to the next one, the last to the one before; other small
    groups become one, with the smallest large ones as long as they are too few (those to ``keep``
    come last). ``sizes``: users by group; where groups are told at several times, a column each.
    """
    table = pd.DataFrame(sizes)
    small = [group for group in table.index if _few(table.loc[group])]
    if not small or _few(table.sum()):  # all of them together would be too few
        return {}
    if key in TIME:
        return _to_the_next(table)
    large = table.drop(small).sum(axis=1).sort_values(kind="stable")
    spare = sorted(large.index, key=lambda group: group in set(keep))
    while spare and _few(table.loc[small].sum()):
        small.append(spare.pop(0))
    name = OTHERS if OTHERS in small or OTHERS not in table.index else f"{OTHERS}, joined"
    return dict.fromkeys(small, name)


def _few(n: pd.Series) -> bool:
    """Whether users are too few to be told, or nobody."""
    return bool(((n > 0) & (n < MIN_USERS)).any() or not n.any())


def _to_the_next(table: pd.DataFrame) -> dict[str, str]:
    runs: list[list[str]] = [[]]
    for group in sorted(table.index):
        runs[-1].append(group)
        if not _few(table.loc[runs[-1]].sum()):
            runs.append([])
    last = runs.pop()
    if runs:
        runs[-1] += last
    runs = [run for run in runs or [last] if len(run) > 1]
    return {group: f"{run[0]} to {run[-1]}" for run in runs for group in run}


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

        Raises ParameterError: it is none of ``views``.
        """
        if name not in self.views:
            near = nearest(name, self.views)
            raise ParameterError(f'"{name}" is no view of {type(self).__name__}.{near}')
        return self.views[name].of(self.tables[self.views[name].table])

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


class Page:
    """The tables of one report, none of which gives back a small group that another one hides."""

    def __init__(self) -> None:
        self._told: dict[str, list[tuple[Groups, str]]] = {}  # by table: names whose base is known

    def begin(self) -> None:
        """Forget the tables of the report before."""
        self._told.clear()

    def publish(
        self, name: str, frame: pd.DataFrame, groups: Sequence[Groups], min_users: int = MIN_USERS
    ) -> tuple[pd.DataFrame, pd.Series]:
        """The table without the numbers of small groups, and which of its rows were masked.

        Nothing that follows from the base counts of this table, of those published before and of
        all users (a group, those of a key that are hidden) may be about fewer than ``min_users``.
        Where it would be, the smallest group of the table is masked too. Where there are no
        ``groups``, the table is taken by itself, see `suppress`.

        Raises DataError: nothing is left to be hidden.
        """
        if not groups:
            return suppress(frame, min_users=min_users)
        frame = frame.reset_index(drop=True)
        masked = pd.Series(False, frame.index)
        self._told.pop(name, None)
        told: list[tuple[Groups, str]] = []
        for each in groups:
            if 0 < each.sizes.sum() < min_users:
                masked[:] = True
            elif each.column in frame:
                rows = frame[each.column].astype(str)
                here = [known for known in each.members if (rows == known).any()]
                shown = self._safe(name, each, here, min_users)
                masked |= rows.isin(set(here) - set(shown))
                told += [(each, known) for known in shown]
        self._told[name] = told
        columns = [each.column for each in groups]
        if sum(column in frame for column in columns) > 1:  # small ones where two keys meet
            masked |= suppress(frame, min_users=min_users)[1]
        return _emptied(frame, masked, [c for c in frame if c in columns or _is_key(frame, c)])

    def _safe(self, name: str, groups: Groups, here: list[str], min_users: int) -> list[str]:
        """Those of the names ``here`` that can be shown."""
        sizes, members = groups.sizes, groups.members

        def row(those: Iterable[str]) -> NDArray[np.float64]:
            return np.asarray(sizes.index.isin(list(those)), float)

        size = {known: sizes[members[known]].sum() for known in here}
        shown = sorted((n for n in here if not 0 < size[n] < min_users), key=lambda n: -size[n])
        known = [np.ones(len(sizes))]
        for told in self._told.values():
            for other, label in told:
                if (other.population, other.key) == (groups.population, groups.key):
                    known.append(row(other.members[label]))
        small = sizes.between(0, min_users, inclusive="neither").to_numpy()
        while True:
            rows = np.array([*known, *(row(members[label]) for label in shown)])
            alone = rows[rows.sum(axis=1) == 1].sum(axis=0) > 0
            sums = np.array([~alone, small & ~alone], float)
            sets = np.vstack([np.eye(len(sizes))[small], sums])
            if not given_back(rows, sets, sizes.to_numpy(float), min_users).any():
                return shown
            if not shown:
                raise DataError(
                    f'table "{name}": whatever of it is hidden, the tables before it give back a '
                    f"group of fewer than {min_users} users ({groups.key} of {groups.population}); "
                    "take one of them out."
                )
            shown.pop()


def given_back(
    known: NDArray[np.float64],
    sets: NDArray[np.float64],
    sizes: NDArray[np.float64],
    min_users: int = MIN_USERS,
) -> NDArray[np.bool_]:
    """Which of the sets are of 1 to ``min_users`` - 1 users and follow from what is known.

    A number follows where its row is a sum of multiples of the known rows. ``known``, ``sets``: how
    often each group is counted in a number (rows, groups) · ``sizes``: users of the groups.
    """
    n = sets @ sizes
    few = (n > 0) & (n < min_users)
    if few.any():
        _, weight, base = np.linalg.svd(known, full_matrices=False)
        base = base[weight > 1e-9 * max(weight.max(initial=0), 1)]
        beyond = sets - sets @ base.T @ base
        few &= np.abs(beyond).max(axis=1) < 1e-6
    return few


def suppress(frame: pd.DataFrame, *, min_users: int = MIN_USERS) -> tuple[pd.DataFrame, pd.Series]:
    """Empty the numbers of small rows, and of neighbours where subtraction would tell them.

    The base of a row is `BASES`, else its first ``n_*`` column, where that is 0 its largest one.
    Segments always have a total: where it is no row here, another table or the finding shows it.
    Returned are the table, and which rows were masked.
    """
    frame = frame.reset_index(drop=True)
    counts = [str(c) for c in frame if str(c).startswith("n_")]
    if not counts:
        return frame, pd.Series(False, index=frame.index)
    users = frame[next((c for c in BASES if c in frame), counts[0])].fillna(0)
    numeric = [c for c in counts if pd.api.types.is_numeric_dtype(frame[c])]
    could = frame[numeric].max(axis=1).fillna(0)  # of nobody who got there, those who could have
    users = users.where(users != 0, could).astype(float)
    masked = users.between(0, min_users, inclusive="neither")
    keys = [c for c in frame if _is_key(frame, c)]
    if masked.any():
        _mask_neighbours(_lines(frame, keys), users.to_numpy(), masked, min_users)
    return _emptied(frame, masked, keys)


def _emptied(
    frame: pd.DataFrame, masked: pd.Series, keys: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series]:
    if masked.any():
        numbers = [c for c in frame if c not in keys]
        emptied = frame[numbers].astype(object).where(~masked, np.nan)
        frame[numbers] = emptied.infer_objects()
    return frame, masked


def _is_key(frame: pd.DataFrame, column: str) -> bool:
    """Whether a column names the rows."""
    if column in KEYS:
        return True
    kind = pd.api.types
    return not (kind.is_numeric_dtype(frame[column]) or kind.is_datetime64_any_dtype(frame[column]))


def _lines(frame: pd.DataFrame, keys: Sequence[str]) -> NDArray[np.float64]:
    """Rows that add up: 1 for the parts, -1 for their total where it is a row of the table."""
    lines = []
    for key in keys:
        total = frame[key].astype(str).str.lower().isin(TOTALS).to_numpy()
        others = [c for c in keys if c != key]
        group = np.zeros(len(frame), int)
        if others:
            group = frame.groupby(others, dropna=False, observed=True).ngroup().to_numpy()
        for number in np.unique(group):
            mine = group == number
            if key == "segment" or total[mine].any():
                lines.append(np.where(total, -1.0, 1.0) * mine)
    return np.array(lines).reshape(-1, len(frame))


def _mask_neighbours(
    lines: NDArray[np.float64], users: NDArray[np.float64], masked: pd.Series, min_users: int
) -> None:
    """Mask the smallest row beside the masked ones as long as these, or a sum, are given back."""
    hidden, total = masked.to_numpy().copy(), (lines < 0).any(axis=0)
    # of so few that the total itself is told nowhere
    lines = lines[(lines < 0).any(axis=1) | (lines @ users >= min_users)]

    def beside(rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        there: NDArray[np.bool_] = (lines[(lines[:, rows] != 0).any(axis=1)] != 0).any(axis=0)
        return there & ~hidden & (users > 0)

    while True:
        known = lines[:, hidden]  # what is shown can be taken off
        of = users[hidden]
        sets = np.vstack([np.eye(len(of))[of < min_users], np.where(known > 0, known, 0)])
        leaks = np.zeros(len(users), bool)
        leaks[hidden] = sets[given_back(known, sets, of, min_users)].any(axis=0)
        if not leaks.any():
            break
        others = (beside(leaks) & ~total, beside(hidden) & ~total, beside(leaks))
        some = next((rows for rows in others if rows.any()), None)
        if some is None:
            break
        hidden[np.where(some, users, np.inf).argmin()] = True
    masked[:] = hidden
