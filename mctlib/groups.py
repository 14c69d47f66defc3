"""Groups of users: how many are in each, and small ones told together with others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import BETWEEN

MIN_USERS = 10  # of fewer users nothing is told: they are joined to others, or hidden
OTHERS = "others"  # name of small groups that are told together
TIME = ("week", "month")  # keys whose groups follow each other
TINY = 1e-6  # of numbers of users: only rounding
PARTS = "segment"  # column whose groups are all users, be their total a row or not


@dataclass(frozen=True)
class Groups:
    """Into which groups the users of a result's tables fall: population, key and base counts.

    Every user is in one group. Groups of fewer than 10 users are told together with others.

    Attributes
    ----------
    population : str
        Who all of them are; the same words stand for the same users.
    key : str
        By what they are divided, such as ``"channel"``, or ``"channel · plan"``, whose groups add
        up to those of ``"channel"``; "" where they are not.
    sizes : Series
        Users of each group (the base count of its rows), small groups too.
    names : mapping
        Group -> the name under which it is told, where that is another one.
    column : str
        Column of the tables that holds these names. A row without one is about all users; one with
        several tells of each group if they have one key, else of those in all of them.
    within : str
        Another population that holds this one, such as a year's users those of a month; "" for
        none. The others of each of its groups are a group too.
    """

    population: str
    key: str
    sizes: pd.Series
    names: Mapping[str, str] = field(default_factory=dict)
    column: str = PARTS
    within: str = ""

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

    @property
    def columns(self) -> list[str]:
        """What the key is made of."""
        return self.key.split(BETWEEN) if self.key else []

    def values(self, group: str) -> list[str]:
        """The group's value of each column."""
        columns = self.columns
        return str(group).split(BETWEEN) if len(columns) > 1 else [str(group)] * len(columns)


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


def given_back(
    table: NDArray[np.float64],
    n_large: int,
    sizes: NDArray[np.float64],
    groups: Sequence[NDArray[np.float64]] = (),
    min_users: int = MIN_USERS,
) -> Iterator[NDArray[np.float64]]:
    """Sums of the numbers that are of 1 to ``min_users`` - 1 users, and follow.

    ``table``: what is known, how often each number is counted in it (and told ones after them) ·
    ``n_large``: numbers that stand first, each large enough by itself · ``sizes``: of the small
    ones that follow · ``groups``: some of these, of which it is asked too.
    """
    end = n_large + len(sizes)
    for known in _of_small_alone(table.copy(), n_large, end, groups):
        group = known[n_large:end]
        counted = np.abs(group) > TINY
        alike = counted.any() and np.abs(group[counted] - 1).max() < TINY
        if alike and sizes[counted].sum() < min_users:
            yield known


def _of_small_alone(
    table: NDArray[np.float64],
    n_large: int,
    n_hidden: int,
    groups: Sequence[NDArray[np.float64]],
) -> Iterator[NDArray[np.float64]]:
    """What sums say of small hidden numbers and told ones, in its simplest forms.

    The columns are the large hidden numbers, which are eliminated first (Gauss and Jordan), the
    small hidden ones, and those told, which go along. ``groups``: small ones of which it is asked.
    """
    pivots: list[int] = []
    for column in range(n_hidden):
        top = len(pivots)
        if top == len(table):
            break
        row = top + int(np.abs(table[top:, column]).argmax())
        if abs(table[row, column]) < TINY:
            continue
        table[[top, row]] = table[[row, top]]
        table[top] /= table[top, column]
        some = np.flatnonzero(np.abs(table[:, column]) > TINY)
        some = some[some != top]
        table[some] -= np.outer(table[some, column], table[top])
        pivots.append(column)
    known = [table[row] for row, column in enumerate(pivots) if column >= n_large]
    yield from known
    yield from map(sum, combinations(known, 2))
    small = [column - n_large for column in pivots if column >= n_large]
    for group in groups:
        told = group[small] @ np.array(known).reshape(-1, table.shape[1])
        if group.any() and np.abs(told[n_large:n_hidden] - group).max() < TINY:
            yield told
