"""Small groups are hidden, and so is whatever gives them back by subtraction on a page."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import BETWEEN, DataError
from mctlib.groups import MIN_USERS, PARTS, TINY, Groups, given_back

TOTALS = ("all", "total", "everyone", "(all)")
# Columns that say how many users a row is about, where others stand before them.
BASES = ("n_users", "n_entered")
# Columns that name a row although their name or type looks like a value.
KEYS = ("step", "day", "week", "window_days", "landmark_days")


@dataclass
class Number:
    """Of how many users something is told, or is not."""

    n: float
    words: frozenset[str]  # the values that name them; of all users none
    tables: set[str]  # that tell it
    population: str = ""  # whose it is, where a result declares it


class Sum(NamedTuple):
    """Numbers that add up to another one.

    Where that is not named it is any of so many users that words of theirs name, and no others.
    """

    parts: tuple[int, ...]
    total: int | None
    n: float = 0.0
    words: frozenset[str] = frozenset()
    guess: bool = False  # for numbers of other users may happen to be equal


class Page:
    """The tables of one report, none of which gives back a small group that another one hides.

    A table is a list of numbers of users. Of a result that declares its groups it is known which of
    them add up: groups to all, those of a finer key to those of a coarser one, those told together
    to their name. Of other tables the numbers decide: rows that differ in one key add up to their
    total where they do, be it a row of theirs or stand elsewhere; a row of as many users by the
    same words is the same number in every table.

    Not seen is what no key tells: weeks against months, numbers cut into bins in two ways, users of
    two populations of which neither holds the other, all users of one less all of another.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self, n_users: float = 0) -> None:
        """Forget the tables of the report before; ``n_users``: all of them, told at its head."""
        self._numbers: list[Number] = []
        self._by_size: dict[float, list[int]] = {}
        self._by_name: dict[tuple[str, Hashable, float], int] = {}
        self._sums: dict[str, list[Sum]] = {}  # by table
        self._within: dict[str, str] = {}  # by population
        if n_users >= MIN_USERS:
            self._new(n_users, frozenset(), {"header"})

    def publish(
        self, name: str, frame: pd.DataFrame, groups: Sequence[Groups], min_users: int = MIN_USERS
    ) -> tuple[pd.DataFrame, pd.Series]:
        """The table without the numbers of small groups, and which of its rows were masked.

        Nothing that follows from its base counts, those of tables published before and of all users
        may be about fewer than ``min_users``: no group, and no sum of groups. Where it would be,
        the smallest row that gives it away is masked too.

        A table that declares nothing and gives one back whatever is shown of it is hidden whole.

        Raises DataError: of a result's groups one is given back, whatever is hidden of the table.
        """
        frame = frame.reset_index(drop=True)
        columns = list(dict.fromkeys(each.column for each in groups if each.column in frame))
        keys = [c for c in frame if c in columns or _is_key(frame, c)]
        self._forget(name)
        if any(0 < each.sizes.sum() < min_users for each in groups):
            return _emptied(frame, pd.Series(True, frame.index), keys)
        named = [self._declare(name, each) for each in groups]
        rows: list[list[int]] = [[] for _ in frame.index]
        for each, numbers in zip(groups, named):
            for row, value in zip(rows, frame.get(each.column, ())):
                row += [numbers[str(value)]] if str(value) in numbers else []
        # whether a row is about users of another, or one of several populations
        apart = pd.Series(len({each.population for each in groups}) > len(columns) > 0, frame.index)
        if len(columns) == 1 or len({each.key for each in groups}) == 1 and columns:
            apart |= ~_whole(frame[columns]).any(axis=1) & np.array([not row for row in rows], bool)
        elif columns or not groups:
            rows = self._read(name, frame, min_users)
        hidden = self._hidden(name, rows, bool(groups), min_users)
        few = (_base(frame) > 0) & (_base(frame) < min_users)
        masked = apart & few | np.array([not hidden.isdisjoint(row) for row in rows], bool)
        # that nobody is there may be the clue
        for each in (each for each in groups if hidden and each.column in columns):
            masked |= frame[each.column].isin(each.sizes.index[each.sizes == 0])
        return _emptied(frame, masked, keys)

    def _new(self, n: float, words: frozenset[str], tables: Iterable[str] = ()) -> int:
        self._numbers.append(Number(n, words, set(tables)))
        self._by_size.setdefault(round(n, 6), []).append(len(self._numbers) - 1)
        return len(self._numbers) - 1

    def _forget(self, table: str) -> None:
        """A table that is shown again is not held against itself."""
        self._sums.pop(table, None)
        for number in self._numbers:
            number.tables.discard(table)

    # ------------------------------------------------------------------- what a result declares

    def _declare(self, table: str, groups: Groups) -> dict[str, int]:
        """Name -> its number, and what adds up to what; all users are told, be it in a sentence."""
        sums = self._sums.setdefault(table, [])
        sizes = groups.sizes[groups.sizes > 0]
        cells = {g: frozenset(zip(groups.columns, groups.values(g))) for g in sizes.index}

        def number(cell: Hashable, of: Sequence[str], words: Iterable[str]) -> int:
            return self._number(groups.population, cell, float(sizes[of].sum()), words)

        alone = {g: number(cell, [g], dict(cell).values()) for g, cell in cells.items()}
        for some in chain(*(combinations(groups.columns, k) for k in range(len(groups.columns)))):
            coarse = {g: frozenset(p for p in cell if p[0] in some) for g, cell in cells.items()}
            for cell in dict.fromkeys(coarse.values()):
                of = [g for g in coarse if coarse[g] == cell]
                total = number(cell, of, dict(cell).values())
                sums.append(Sum(tuple(alone[g] for g in of), total))
        self._numbers[number(frozenset(), list(sizes.index), ())].tables.add(table)
        found = {}
        for name, members in groups.members.items():
            if of := [g for g in members if g in alone]:
                found[name] = alone[of[0]]
            if len(of) > 1:
                found[name] = number(frozenset(cells[g] for g in of), of, [name])
                sums.append(Sum(tuple(alone[g] for g in of), found[name]))
        found = alone | found  # of a table that tells a group by its own name, too
        # perhaps a row of a table that declared nothing
        for i in {*found.values(), *(each.total for each in sums if each.total is not None)}:
            sums.append(Sum((i,), None, self._numbers[i].n, self._numbers[i].words, guess=True))
        self._within |= {groups.population: groups.within} if groups.within else {}
        for inner, outer in self._within.items():
            sums += self._outside(inner, outer)
        return found

    def _outside(self, inner: str, outer: str) -> Iterator[Sum]:
        """Users of a population who are not in one that it holds, group by group.

        Where they are few in all, the two totals tell it already.
        """
        mine, whole = (
            {cell: i for (population, cell, _), i in self._by_name.items() if population == of}
            for of in (inner, outer)
        )
        more = {
            c: self._numbers[whole[c]].n - self._numbers[i].n for c, i in mine.items() if c in whole
        }
        if more.get(frozenset(), 0) < MIN_USERS:
            return
        for cell, n in more.items():
            if cell and n > 0:
                rest = self._number(f"{outer}, without {inner}", cell, n, ("",))
                yield Sum((mine[cell], rest), whole[cell])

    def _number(self, population: str, cell: Hashable, n: float, words: Iterable[str]) -> int:
        """That of a cell of a population."""
        place = population, cell, n
        if place not in self._by_name:
            self._by_name[place] = self._new(n, frozenset(words))
            self._numbers[self._by_name[place]].population = population
        return self._by_name[place]

    # ------------------------------------------------------------------- what a table says itself

    def _read(self, table: str, frame: pd.DataFrame, min_users: int) -> list[list[int]]:
        """The number of each row, and what adds up as far as the numbers say so."""
        users, named = _base(frame), _named(frame)
        parts_of_all = [c for c in named if c.split(BETWEEN)[0] == PARTS]
        total = _whole(named)
        numbers: dict[int, int] = {}
        for row, (n, values, whole) in enumerate(zip(users, named.to_numpy(), total.to_numpy())):
            if n > 0:
                told = BETWEEN.join(values[~whole.astype(bool)])
                words = frozenset(told.split(BETWEEN) if told else ())
                numbers[row] = self._row(float(n), words, numbers.values())
        keys = _telling(named)
        held = [list(some) for k in range(len(keys)) for some in combinations(keys, k)]
        for equal in (*held, *([c] for c in named if c not in keys)):
            apart = [key for key in keys if key not in equal]
            alike = named.groupby(equal, sort=False).indices.values() if equal else [named.index]
            n_whole = total[apart].sum(axis=1).to_numpy()
            for rows in alike:
                here = [int(row) for row in rows if row in numbers]
                parts = [numbers[row] for row in here if n_whole[row] == 0]
                totals = [numbers[row] for row in here if n_whole[row] == len(apart)]
                least = min_users if apart == parts_of_all and equal in held else np.inf
                self._add_up(table, parts, totals, least)
        return [[numbers[row]] if row in numbers else [] for row in frame.index]

    def _row(self, n: float, words: frozenset[str], taken: Iterable[int]) -> int:
        """A number that is known, by the same words or by some of them, or a new one."""
        free = [i for i in self._by_size.get(round(n, 6), ()) if i not in taken]
        for i in sorted(free, key=lambda i: self._numbers[i].words != words):
            if _alike(self._numbers[i].words, words):
                return i
        return self._new(n, words)

    def _add_up(self, table: str, parts: list[int], totals: list[int], least: float) -> None:
        """Rows that differ in some keys alone, and what stands beside them as their total.

        ``least``: from so many users on they have a total that is told elsewhere.
        """
        if not parts:
            return
        sums = self._sums.setdefault(table, [])
        n = sum(self._numbers[i].n for i in parts)
        words = frozenset.intersection(*(self._numbers[i].words for i in parts))
        sums.append(Sum(tuple(parts), None, n, words, guess=True))
        for total in totals:
            rest = self._numbers[total].n - n
            if rest > TINY:  # of whom the table has no row
                sums.append(Sum((*parts, self._new(rest, frozenset({""}))), total))
            elif rest > -TINY:
                sums.append(Sum(tuple(parts), total))
        if not totals and n >= least:
            sums.append(Sum(tuple(parts), self._new(n, words, {table})))
        for i in parts:  # a total whose name is not known as one
            if len(parts) > 2 and abs(2 * self._numbers[i].n - n) < TINY and n >= 2 * MIN_USERS:
                sums.append(Sum(tuple(part for part in parts if part != i), i, guess=True))
                sums.append(Sum((i,), self._row(self._numbers[i].n, words, parts), guess=True))

    # ------------------------------------------------------------------------ what must be hidden

    def _hidden(self, name: str, rows: list[list[int]], declared: bool, least: int) -> set[int]:
        """The numbers of a table that are not shown, the fewest users first."""
        mine = set(chain.from_iterable(rows))
        shown = {i for i in mine if self._numbers[i].n >= least}
        while leaks := self._giving(shown, least):
            spare = [[i for i in leak & shown if not self._numbers[i].tables] for leak in leaks]
            if some := next(filter(None, spare), None):
                totals = self._coarse()
                shown.remove(min(some, key=lambda i: (i in totals, self._numbers[i].n)))
            elif not declared:  # hidden whole it tells nothing, nor what of it adds up to what
                self._sums.pop(name, None)
                return mine
            elif not self._unguess(leaks[0], shown):
                raise DataError(
                    f'table "{name}": whatever of it is hidden, the tables before it give back a '
                    f"group of fewer than {least} users; take one of them out."
                )
        for i in shown:
            self._numbers[i].tables.add(name)
        return mine - shown

    def _coarse(self) -> set[int]:
        """Totals, which are hidden last; not those with a name of their own, such as others."""
        words = [number.words for number in self._numbers]
        return {t for each, t in self._added() if all(words[t] <= words[i] for i in each.parts)}

    def _unguess(self, giving: set[int], shown: set[int]) -> bool:
        """Drop the guesses that say such numbers alone, else all of them; whether any were."""
        told = shown | {i for i, number in enumerate(self._numbers) if number.tables}
        guesses = [(s, told & {*s.parts, total}) for s, total in self._added() if s.guess]
        wrong = {s for s, of in guesses if of and of <= giving}
        wrong = wrong or {s for s, of in guesses if of & giving}
        for table, sums in self._sums.items():
            self._sums[table] = [each for each in sums if each not in wrong]
        return bool(wrong)

    def _totals(self, of: Sum) -> list[int]:
        """Every number that is, or may be, the total."""
        if of.total is not None:
            return [of.total]
        equal = [i for i in self._by_size.get(round(of.n, 6), ()) if i not in of.parts]
        words = {i: self._numbers[i].words for i in equal}
        if self._numbers[of.parts[0]].population:
            return [
                i for i in equal if _alike(words[i], of.words) and not self._numbers[i].population
            ]
        return [i for i in equal if words[i] <= of.words]

    def _added(self) -> Iterator[tuple[Sum, int]]:
        """All sums of the page, with every number that is, or may be, the total."""
        for each in dict.fromkeys(chain.from_iterable(self._sums.values())):
            yield from ((each, total) for total in self._totals(each))

    def _giving(self, shown: set[int], min_users: int) -> list[set[int]]:
        """Numbers that are told, or shown, and together give back fewer users."""
        numbers = self._numbers
        hidden = {i for i, each in enumerate(numbers) if not each.tables and i not in shown}
        if all(numbers[i].n >= min_users for i in hidden):
            return []
        sums = [(s.parts, t) for s, t in self._added() if not hidden.isdisjoint((*s.parts, t))]
        used = {i for parts, total in sums for i in (*parts, total)}
        order = sorted(used, key=lambda i: (i not in hidden, numbers[i].n < min_users))
        n_hidden = len(used & hidden)
        n_large = sum(numbers[i].n >= min_users for i in order[:n_hidden])
        if n_large == n_hidden:
            return []
        place = {i: k for k, i in enumerate(order)}
        table = np.zeros((len(sums), len(order)))
        for row, (parts, total) in enumerate(sums):
            table[row, [place[i] for i in parts]] = 1
            table[row, place[total]] -= 1
        n = np.array([numbers[i].n for i in order[n_large:n_hidden]])
        groups = list(np.unique(table[:, n_large:n_hidden] > 0, axis=0).astype(float))
        return [
            {order[k] for k in np.flatnonzero(np.abs(told) > TINY) if k >= n_hidden}
            for told in given_back(table, n_large, n, groups, min_users)
        ]


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether words name the same users, one of them perhaps more fully."""
    return one == other or bool(one and other and (one <= other or other <= one))


def suppress(frame: pd.DataFrame, *, min_users: int = MIN_USERS) -> tuple[pd.DataFrame, pd.Series]:
    """Empty the numbers of small rows, and of neighbours where subtraction would tell them.

    The base of a row is `BASES`, else its first ``n_*`` column, where that is 0 its largest one.
    Segments always have a total: where it is no row here, another table or the finding shows it.
    Returned are the table, and which rows were masked.
    """
    return Page().publish("", frame, (), min_users)


def _base(frame: pd.DataFrame) -> NDArray[np.float64]:
    """How many users each row is about; 0 where nothing says so."""
    counts = [str(c) for c in frame if str(c).startswith("n_")]
    if not counts:
        return np.zeros(len(frame))
    users = frame[next((c for c in BASES if c in frame), counts[0])].fillna(0)
    numeric = [c for c in counts if pd.api.types.is_numeric_dtype(frame[c])]
    could = frame[numeric].max(axis=1).fillna(0)  # of nobody who got there, those who could have
    return np.asarray(users.where(users != 0, could), float)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """What names the rows, each key in columns of its own, those that may be numbers last.

    Numbers and times that stand before the base name a row where nothing else tells it apart.
    """
    texts = [c for c in frame if _is_key(frame, c)]
    counts = [k for k, column in enumerate(frame) if str(column).startswith("n_")]
    left = frame.columns[: counts[0] if counts else 0]
    named: dict[str, pd.Series] = {}
    for column in (*texts, *(c for c in left if c not in texts)):
        values = frame[column].astype(str)
        parts = values.str.split(BETWEEN, regex=False)
        for k in range(int(parts.str.len().max()) if column in texts and len(parts) else 1):
            # a name that stands for several keys at once is one of each
            part = parts.str[k].where(parts.str.len() > k, values)
            named[f"{column}{BETWEEN}{k}" if k else str(column)] = part
    whole = pd.DataFrame(named, index=frame.index)
    telling = _telling(whole)
    return whole[[c for c in whole if c in telling or c.split(BETWEEN)[0] in texts]]


def _whole(named: pd.DataFrame) -> pd.DataFrame:
    """Where a row is about all groups of a key."""
    return named.apply(lambda column: column.astype(str).str.lower().isin(TOTALS))


def _telling(named: pd.DataFrame) -> list[str]:
    """The columns that tell rows apart, without those that only describe what the others name."""
    keys = list(named)
    for column in reversed(keys[:]):
        rest = [key for key in keys if key != column]
        described = column.split(BETWEEN)[0] != PARTS and rest
        if described and not named[rest].duplicated().any():
            keys = rest
    return keys


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
    is_time, is_number = pd.api.types.is_datetime64_any_dtype, pd.api.types.is_numeric_dtype
    return column in KEYS or not (is_number(frame[column]) or is_time(frame[column]))
