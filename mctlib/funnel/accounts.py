"""Shares of users who sit in accounts: what that does to their intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.contract import MISSING
from mctlib.funnel.counts import Rule

Floats: TypeAlias = NDArray[np.float64]
CLOSED, OPEN, ANY = range(3)  # attempts by account: first ones by their window, the deepest ones


class Share(NamedTuple):
    """A share with its interval, and how many independent users know as much."""

    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    n: float = np.nan


def by_account(table: pd.DataFrame, name: str, *places: tuple[Any, int]) -> Floats:
    """Counts of a column added up by account (first users without one) and by further places.

    ``places``: for each further axis the rows' places on it, and its length.
    """
    code = pd.factorize(table["account"].where(table["account"] != MISSING))[0]
    shape = (int(code.max(initial=-1)) + 2, *(length for _, length in places))
    return stats.dense(table[name], code + 1, *(at for at, _ in places), shape=shape)


def account_share(k: Floats, n: Floats) -> stats.ClusterRate:
    """`stats.cluster_rate` of counts as in `by_account`; no design effect below 10 clusters."""
    # not by name: sums must round alike whatever the accounts are called
    order = 1 + np.lexsort((k[1:], n[1:]))
    found = stats.cluster_rate(k[order], n[order], alone=(k[0], n[0]))
    known = found.n_clusters >= stats.MIN_CLUSTERS
    return found._replace(design_effect=np.where(known, found.design_effect, np.nan))


@dataclass(frozen=True)
class Clusters:
    """What accounts do to the shares of one segment, from users by account, step and attempt."""

    n: NDArray[Any] | None  # (1 + accounts, steps, CLOSED to ANY), the first without an account

    @classmethod
    def of(cls, passed: pd.DataFrame, rule: Rule) -> Clusters:
        """Clusters of the table "passed"."""
        if not rule.accounts:
            return cls(None)
        names = ("n_closed", "n_open", "n_reached")
        place = (passed["step"] - 1, rule.n_steps)
        return cls(np.stack([by_account(passed, name, place) for name in names], axis=-1))

    def _entered(self, closed: bool) -> tuple[Floats, float]:
        assert self.n is not None
        users = self.n[:, 0, CLOSED] if closed else self.n[:, 0, :ANY].sum(axis=1)
        return users[1:], float(users[0])

    def alike(self, closed: bool = False) -> float:
        """The design effect if colleagues all did the same, of first entries (closed windows)."""
        if self.n is None:
            return np.nan
        n, alone = self._entered(closed)
        return float(stats.rate(n @ n + alone, n.sum() + alone))

    @property
    def n_clusters(self) -> float:
        """Clusters that the first entries tell as much as (`stats.count_clusters`)."""
        if self.n is None:
            return np.nan
        return float(stats.count_clusters(*self._entered(False), alike=False))

    @property
    def n_accounts(self) -> float:
        """Accounts in which first entries sit."""
        return np.nan if self.n is None else float(np.count_nonzero(self._entered(False)[0]))

    def design(self, step: int, base: int) -> tuple[float, float]:
        """Of those at ``base`` who got to ``step``, windows closed: design effect and clusters."""
        if self.n is None:
            return np.nan, np.nan
        found = account_share(self.n[:, step - 1, CLOSED], self.n[:, base - 1, CLOSED])
        return float(found.design_effect), float(found.n_clusters)

    def share(self, k: int, n: int, step: int, base: int, attempts: int) -> Share:
        """Those of the n at ``base`` who got to ``step``: all of them were watched to the end."""
        if self.n is None:
            low, high = stats.wilson(k, n)
        else:
            users = self.n[:, :, attempts]
            low, high, *_ = account_share(users[:, step - 1], users[:, base - 1])
        return Share(float(stats.rate(k, n)), float(low), float(high))
