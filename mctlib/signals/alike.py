"""From counts to a comparison: users of one kind with and without, and what later users add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.eventlog.journeys import number
from mctlib.results import MIN_USERS
from mctlib.signals.counts import COUNTS

LATER = 0.3  # of the users at risk, at least so many make the later ones, by whole months
FEW = 5  # successes, or failures, of a side at everybody's rate; below, nothing is compared


class Sides(NamedTuple):
    """Counts (buckets, exposed or not, strata) and what the strata are.

    x: of the strata, months among them · base: without months, for later users · late: strata of
    later users · at_risk: users without and with the signal, of all kinds.
    """

    n: np.ndarray
    y: np.ndarray
    yy: np.ndarray
    x: np.ndarray
    base: np.ndarray
    late: np.ndarray
    at_risk: np.ndarray

    @property
    def comparable(self) -> float:
        """Share of the users at risk of whose kind both sides have some."""
        return float(self.n.sum() / self.at_risk.sum())

    @property
    def enough(self) -> bool:
        """Whether the sides can be compared at all."""
        size, rate = self.n.sum(axis=(0, 2)), self.y.sum() / max(self.n.sum(), 1)
        share = min(rate, 1 - rate) if binary(self.y, self.yy) else 1.0
        least = max(stats.MIN_USERS, stats.MIN_SHARE * size.sum())
        return bool(size.min() >= least and size.min() * share >= FEW)


class Cells:
    """A table of counts by kinds of users (`counts.ALIKE`) and bucket, and what the kinds are.

    See `counts.count_landmarks`; ``columns``: of the ``strata``.
    """

    def __init__(self, table: pd.DataFrame, strata: pd.DataFrame, columns: Sequence[str]) -> None:
        code, numbers = pd.factorize(table["stratum"])
        rest = {name: table[name].to_numpy() for name in ("cohort", "activity")}
        self.table = table
        place, self.kinds = number(stratum=code, **rest)
        named = strata.drop_duplicates("stratum").set_index("stratum").reindex(numbers)
        stratum = self.kinds.pop("stratum")
        self.kinds = {c: named[c].to_numpy()[stratum] for c in columns} | self.kinds
        self._cell = table["bucket"].to_numpy() * len(stratum) + place
        self.everyone = [self.dense(table[name]) for name in COUNTS if name in table]

    def dense(self, counts: pd.Series) -> np.ndarray:
        """A column of the table, or what stands in its place, by bucket and kind."""
        shape = (stats.N_BUCKETS, len(self.kinds["cohort"]))
        return np.bincount(self._cell, counts, shape[0] * shape[1]).reshape(shape)


def of_signal(table: pd.DataFrame, k: int) -> list[pd.Series]:
    """The counts of those who had a signal."""
    return [table[f"{name}_{k}"] for name in COUNTS if name in table]


def sides_of(cells: Cells, exposed: Sequence[pd.Series]) -> Sides:
    """The counts of those who had one signal, and of the others of all in the cells.

    Values of a column that fewer than 30 users at risk have, or 5 with the outcome or without it,
    are taken as one; kinds of users of whom no one had the signal, or everyone, are left out.
    """
    counts = []
    for everyone, mine in zip(cells.everyone, map(cells.dense, exposed)):
        counts.append(np.stack([everyone - mine, mine], axis=1))
    size = counts[0].sum(axis=0)
    # of what is had or not the squares are the sums
    good = counts[1].sum(axis=(0, 1)) if binary(counts[1], counts[-1]) else None
    levels = {name: _levels(value, size.sum(axis=0), good) for name, value in cells.kinds.items()}
    kept = np.ones(size.shape[1], bool)
    for level in levels.values():
        both = [np.bincount(level, size[side]) > 0 for side in (0, 1)]
        kept &= (both[0] & both[1])[level]
    if not kept.all():
        counts = [np.compress(kept, each, axis=2) for each in counts]
    shown = {name: level[kept] for name, level in levels.items()}
    others = [_dummies(level, size[:, kept]) for name, level in shown.items() if name != "cohort"]
    month = _dummies(shown["cohort"], size[:, kept])
    late = late_of(cells.kinds["cohort"][kept], size[:, kept].sum(axis=0))
    base = np.column_stack([*others, np.zeros((int(kept.sum()), 0))])
    return Sides(
        counts[0],
        counts[1],
        counts[-1],
        np.column_stack([base, month]),
        base,
        late,
        size.sum(axis=1),
    )


def binary(y: np.ndarray, yy: np.ndarray) -> bool:
    """Whether the outcome is had or not, by its sums and its squares'."""
    return bool(y.sum() == yy.sum())


def _levels(values: np.ndarray, users: np.ndarray, good: np.ndarray | None) -> np.ndarray:
    """A number for each value; rare ones share one, with the most frequent where they are few.

    ``good``: of the users, who had the outcome.
    """
    level, _ = pd.factorize(values)
    size = np.bincount(level, users)
    rare = size < stats.MIN_USERS
    if good is not None:
        hit = np.bincount(level, good)
        rare |= np.minimum(hit, size - hit) < FEW
    if rare.any():
        alone = rare.all() or size[rare].sum() >= stats.MIN_USERS
        shared = np.flatnonzero(rare)[0] if alone else int(np.where(rare, 0, size).argmax())
        level = np.where(rare[level], shared, level)
    return np.asarray(pd.factorize(level)[0])


def _dummies(level: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A column for each level but that of most users."""
    users = np.bincount(level, size.sum(axis=0))
    others = [k for k in np.flatnonzero(users) if k != users.argmax()] if len(users) else []
    return np.asarray(level[:, None] == np.asarray(others, int)[None, :], float)


def late_of(cohort: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Strata of the last months that hold enough users; all but the first month at most."""
    months = np.unique(cohort)
    late = np.zeros(len(cohort), bool)
    for month in months[:0:-1]:
        late |= cohort == month
        if users[late].sum() >= LATER * users.sum():
            break
    return late


def crude(sides: Sides) -> Sides:
    """The same, nothing made alike."""
    n, y, yy = (a.sum(axis=2, keepdims=True) for a in sides[:3])
    none = np.zeros((1, 0))
    return Sides(n, y, yy, none, none, np.zeros(1, bool), n.sum(axis=(0, 2)))


def naive(ever: pd.DataFrame, k: int, n_accounts: float, logistic: bool) -> dict[str, Any]:
    """Ever against never, of all whose time is over."""
    at = {"shape": (stats.N_BUCKETS,)}
    n, y = (
        np.stack([stats.dense(c, ever["bucket"], **at) for c in (ever[name] - had, had)], axis=1)[
            :, :, None
        ]
        for name, had in zip(COUNTS, of_signal(ever, k)[:2])
    )
    sides = crude(Sides(n, y, y, *[np.empty(0)] * 4))
    ratio = stats.NOT_KNOWN
    if sides.at_risk.min() >= MIN_USERS:
        ratio = standardised(sides, n_accounts, logistic).ratio
    return interval_columns("naive_risk_ratio", *ratio)


def standardised(sides: Sides, n_accounts: float, logistic: bool) -> stats.Standardised:
    """Both sides over the kinds of all."""
    return stats.standardise(sides.n, sides.y, sides.x, n_accounts=n_accounts, logistic=logistic)


def measures(sides: Sides, n_accounts: float, logistic: bool) -> dict[str, Any]:
    """What a row of `Signals.signals` says of a signal, but for its names and verdict."""
    fair = standardised(sides, n_accounts, logistic)
    same_time = standardised(crude(sides), n_accounts, logistic)
    later = stats.later(
        sides.n, sides.y, sides.yy, sides.base, sides.late, n_accounts=n_accounts, logistic=logistic
    )
    ratio = fair.ratio
    limit = ratio.low if ratio.value > 1 else ratio.high
    sure = ratio.low > 1 or ratio.high < 1
    told = {
        "exposed_rate": fair.exposed,
        "unexposed_rate": fair.unexposed,
        "landmark_risk_ratio": same_time.ratio,
        "risk_ratio": ratio,
        "risk_difference": fair.difference,
        "out_of_time_gain": later.gain,
    }
    row: dict[str, Any] = {}
    for name, values in told.items():
        row |= interval_columns(name, *values)
    return row | {
        "pvalue": fair.pvalue,
        "e_value": stats.e_value(ratio.value) if sure else 1.0,
        "e_value_limit": stats.e_value(limit) if sure else 1.0,
        "calibration_ratio": later.ratio,
        "calibration_slope": later.slope,
    }
