"""Users' events as sorted arrays: what every kernel is given, and who is where in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numba import types
from numpy.typing import NDArray

from mctlib.contract import BETWEEN, MISSING

Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

NOWHERE = np.int64(-1)  # "no such row"
NEVER = np.iinfo(np.int64).min  # "at no time"
FOREVER = np.iinfo(np.int64).max  # the moment of what never comes, and the wait for it
ROWS = "int64[::1], int64[::1], uint64[::1]"  # in a kernel's signature: user, time, mask
# kernels are compiled for a mask of each width
MASKS = [
    types.Array(kind, 1, "C", readonly=True)
    for kind in (types.uint8, types.uint16, types.uint32, types.uint64)
]


def _no_buckets(user: Ints) -> Ints:
    raise ValueError("These journeys do not know their users' buckets.")


@dataclass(frozen=True)
class Journeys:
    """Rows of whole users, sorted by user and time. All arrays have one entry a row.

    Attributes
    ----------
    user : array
        Integers; in a store they are dense.
    time : array of int64
        Microseconds since 1970, UTC.
    mask : array of unsigned integers
        Bit i says that the row satisfies matcher i of the question (a step, an exclusion, a touch,
        ...), so that one event may serve several of them.
    as_of : int
        Last observed microsecond.
    dims, levels : dict
        Name of a column -> integer codes into its labels; name -> these labels.
    bucket_of : function
        Users -> their `bucket`.
    value : array of float64, optional
        A number of each event, NaN where missing.
    """

    user: NDArray[Any]
    time: Ints
    mask: NDArray[Any]
    as_of: int
    dims: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bucket_of: Callable[[Ints], Ints] = _no_buckets
    value: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[Any]) -> Journeys:
        """Journeys of some rows (a mask or indices): whole users, or cut by one rule for all."""
        return replace(
            self,
            user=self.user[rows],
            time=self.time[rows],
            mask=self.mask[rows],
            value=None if self.value is None else self.value[rows],
            dims={name: codes[rows] for name, codes in self.dims.items()},
        )

    @property
    def bucket(self) -> Ints:
        """0-99, a hash of each row's account, or of the user where there is none."""
        return self.bucket_of(self.user)

    @cached_property
    def ranges(self) -> tuple[Ints, Ints]:
        """Each user's first row, and the row after the last."""
        return ranges(self.user)

    @cached_property
    def bits(self) -> Ints:
        """The mask as kernels read it."""
        return self.mask.astype(np.int64)

    def has(self, bit: int) -> Bools:
        """Rows that match matcher ``bit``."""
        return self.mask & self.mask.dtype.type(1 << bit) != 0

    def segments(
        self, rows: NDArray[Any], by: Sequence[str] | None = None
    ) -> tuple[Ints, NDArray[Any]]:
        """The rows' values over some dims (None: all): a code each, and the labels of the codes.

        Of several dims the values are joined with " · "; without any dim all are "all".
        """
        by = tuple(self.dims) if by is None else tuple(by)
        if not by:
            labels = np.array(["all"] if len(rows) else [], object)
            return np.zeros(len(rows), np.int64), labels
        code, found = number(**{str(i): self.dims[name][rows] for i, name in enumerate(by)})
        words = [
            np.asarray(self.levels[name], object)[places]
            for name, places in zip(by, found.values())
        ]
        if len(by) > 1:  # so that a label has as many parts as there are dims
            words = [[str(word).replace(BETWEEN, " - ") for word in each] for each in words]
        return code, np.array([BETWEEN.join(row) for row in zip(*words)], object)

    def segment(self, rows: NDArray[Any], by: Sequence[str] | None = None) -> NDArray[Any]:
        """Label of each row over some dims (see `segments`)."""
        code, labels = self.segments(rows, by)
        return labels[code]

    def accounts(self, rows: NDArray[Any], by: Sequence[str]) -> pd.DataFrame:
        """account, n_users of the rows, one a user; MISSING are users without one.

        ``by`` is `EventLog.accounts`; where it is empty the table is, for there are none.
        """
        if not by:
            return pd.DataFrame({"account": pd.Series(dtype=object), "n_users": 0})
        code, names = self.segments(rows, by)
        n_users = np.bincount(code, minlength=len(names))
        return pd.DataFrame({"account": names, "n_users": n_users})


def first_rows(*keys: NDArray[Any]) -> Ints:
    """Row index of each user's first row, ascending; of several keys, of each run of equal ones."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = False
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def ranges(*keys: NDArray[Any]) -> tuple[Ints, Ints]:
    """Each user's first row and the row after the last; of several keys, of runs of equal ones."""
    begin = first_rows(*keys)
    return begin, np.append(begin, len(keys[0]))[1:]


def user_lines(*keys: NDArray[Any]) -> Ints:
    """Which of the users (or runs of equal keys), counted from 0, each row is of."""
    begin, end = ranges(*keys)
    return np.repeat(np.arange(len(begin)), end - begin)


def lines_of(owner: NDArray[Any], user: NDArray[Any]) -> Ints:
    """Where each owner stands among the users (ascending), NOWHERE where it is none of them."""
    line = np.searchsorted(user, owner)
    # the last place is for owners beyond the last user
    return np.where(np.r_[user, NOWHERE][line] == owner, line, NOWHERE)


def count_accounts(accounts: pd.DataFrame) -> float:
    """How many there are in `Journeys.accounts`, NaN where nothing says so."""
    return int((accounts["account"] != MISSING).sum()) if len(accounts) else np.nan


def number(**columns: NDArray[Any]) -> tuple[Ints, dict[str, NDArray[Any]]]:
    """Number the distinct rows of some columns: each row's number, and the distinct rows in order.

    The columns hold integers (or booleans), one row a user.
    """
    least = [int(column.min()) if len(column) else 0 for column in columns.values()]
    given = tuple(c.astype(np.int64, copy=False) - low for c, low in zip(columns.values(), least))
    shape = [int(column.max(initial=0)) + 1 for column in given]
    place = np.zeros(len(given[0]), np.int64)
    if np.prod(shape, dtype=float) <= 16 * len(place) + 100_000:
        cell = np.ravel_multi_index(given, shape)
        cells = np.flatnonzero(np.bincount(cell))
        lookup = np.zeros(cells.max(initial=0) + 1, np.int64)
        lookup[cells] = np.arange(len(cells))
        place = lookup[cell]
        rows = np.unravel_index(cells, shape)
    else:
        order = np.lexsort(given[::-1])
        ordered = [column[order] for column in given]
        place[order] = user_lines(*ordered)
        begin = first_rows(*ordered)
        rows = tuple(column[begin] for column in ordered)
    found = {
        name: (row + low).astype(column.dtype)
        for (name, column), row, low in zip(columns.items(), rows, least)
    }
    return place, found
