"""Users' events as sorted arrays, and the kernels that walk them.

Everything here is numpy on whole users: no Python loop over users, no files, no statistics. A row carries a bit mask that says which of
the question's matchers (steps, exclusions, touches, ...) it satisfies, so one event may serve several of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

NOWHERE = np.int64(-1)  # "no such row"
NEVER = np.iinfo(np.int64).min  # "at no time"


@dataclass(frozen=True)
class Journeys:
    """Rows of whole users, sorted by (user, time). All arrays have one entry a row.

    user: integers, in a store dense · time: int64, microseconds since 1970 UTC · mask: unsigned integers, bit i set = the row matches matcher i ·
    dims: name -> int codes into ``levels[name]`` · bucket_of: users -> their `bucket` · value: float64, NaN where missing ·
    as_of: int64, last observed microsecond.
    """

    user: np.ndarray
    time: np.ndarray
    mask: np.ndarray
    as_of: int
    dims: Mapping[str, np.ndarray] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    bucket_of: Callable[[np.ndarray], np.ndarray] | None = None
    value: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: np.ndarray) -> Journeys:
        """The journeys of some rows (a mask or an index array that keeps users whole or cuts the same rule from all)."""
        return replace(
            self,
            user=self.user[rows],
            time=self.time[rows],
            mask=self.mask[rows],
            value=None if self.value is None else self.value[rows],
            dims={k: v[rows] for k, v in self.dims.items()},
        )

    @property
    def bucket(self) -> np.ndarray:
        """0-99, a hash of each row's account, or of the user where there is none; looked up when asked for."""
        return self.bucket_of(self.user)

    def has(self, bit: int) -> np.ndarray:
        """Rows that match matcher ``bit``."""
        return self.mask & self.mask.dtype.type(1 << bit) != 0

    def segments(
        self, rows: np.ndarray, by: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows' values over some dims (None: all): a code each, and the codes' labels, values joined with " · "; without dims all are "all"."""
        by = tuple(self.dims) if by is None else by
        key, sizes = np.zeros(len(rows), np.int64), [len(self.levels[name]) for name in by]
        for name, size in zip(by, sizes):
            key = key * size + self.dims[name][rows]
        if np.prod(sizes, dtype=float) <= max(len(rows), 1000):
            present = np.flatnonzero(np.bincount(key))
            code = (
                np.searchsorted(present, key) if len(present) > 1 else np.zeros(len(rows), np.int64)
            )
        else:
            present, code = np.unique(key, return_inverse=True)
        if not sizes:
            return code, np.array(["all"] * len(present), dtype=object)
        words = [
            np.asarray(self.levels[name], dtype=object)[at]
            for name, at in zip(by, np.unravel_index(present, sizes))
        ]
        return code, np.array([" · ".join(row) for row in zip(*words)], dtype=object)

    def segment(self, rows: np.ndarray, by: Sequence[str] | None = None) -> np.ndarray:
        """Label of each row over some dims (see `segments`)."""
        code, labels = self.segments(rows, by)
        return labels[code]


def first_rows(*keys: np.ndarray) -> np.ndarray:
    """Row index of each user's first row, ascending; of several keys, of each run of equal ones."""
    if not len(keys[0]):
        return np.empty(0, np.int64)
    new = np.zeros(len(keys[0]), bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def ranges(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each user's first row and the row after the last; of several keys, of runs of equal ones."""
    first = first_rows(*keys)
    return first, np.r_[first[1:], len(keys[0])][: len(first)]


def user_lines(user: np.ndarray) -> np.ndarray:
    """Which of the users, counted from 0, each row is of."""
    begin, end = ranges(user)
    return np.repeat(np.arange(len(begin)), end - begin)


def next_row(j: Journeys, after: np.ndarray, bit: int, *, strictly: bool = False) -> np.ndarray:
    """For each row in ``after``: the user's first row that matches ``bit`` at the same time or later (another row; -1 = none).

    ``strictly`` asks for a later time.
    """
    moment = np.zeros(len(j), np.int64)  # number of each row's (user, time)
    np.cumsum((j.user[1:] != j.user[:-1]) | (j.time[1:] != j.time[:-1]), out=moment[1:])
    rows = np.flatnonzero(j.has(bit))
    n_before = np.zeros(
        moment[-1] + 2 if len(j) else 1, np.int64
    )  # matching rows before each moment
    np.cumsum(np.bincount(moment[rows], minlength=len(n_before) - 1), out=n_before[1:])
    at = n_before[moment[after] + strictly]
    rows = np.r_[rows, NOWHERE, NOWHERE]
    found = rows[at]
    itself = np.flatnonzero(found == after)
    found[itself] = rows[at[itself] + 1]
    found[j.user[found] != j.user[after]] = NOWHERE
    return found
