"""Users by which of several definitions they meet: what of it may be told, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.groups import given_back
from mctlib.results import MIN_USERS, OTHERS, together

NONE = "none of them"


class Told:
    """Counts of users by which definitions they meet, as far as no small group follows from them.

    A number is told only if, with all that are told before it, it gives back no combination (nor
    several together) of 1 to 9 users: all users, combinations, teams, pairs.
    """

    def __init__(self, everyone: pd.DataFrame, teams: Sequence[str], n_accounts: float) -> None:
        self.everyone, self.teams, self.n_accounts = everyone, list(teams), n_accounts
        n = len(self.teams)
        self._has = np.arange(2**n)[:, None] >> np.arange(n) & 1
        size = everyone.groupby("had")["n_users"].sum()
        self.sizes = size.reindex(range(2**n), fill_value=0).to_numpy(float)
        self.few = 0 < self.sizes.sum() < MIN_USERS  # then nothing at all is told
        by_size = [int(c) for c in np.argsort(-self.sizes, kind="stable")]
        shown = [c for c in by_size if self.sizes[c] >= MIN_USERS]
        while shown and 0 < self.sizes.sum() - self.sizes[shown].sum() < MIN_USERS:
            shown.pop()
        self._known = [np.ones(2**n)]
        self.shown = [c for c in shown if self._tell(np.arange(2**n) == c)]
        self._met = [self._tell(self._has[:, k] == 1) for k in range(n)]
        self._apart = {self._rest(None): self._tell(self._differ(range(n)))}

    @property
    def all_met(self) -> bool:
        """Whether of each team may be told how many users meet its definition."""
        return all(self._met)

    def _rest(self, pair: Any) -> str:
        return "all" if pair is None else " and ".join(self.teams[k] for k in pair)

    def _differ(self, teams: Any) -> np.ndarray:
        """Which combinations hold some of the teams, and not all."""
        some = self._has[:, list(teams)]
        return np.asarray(some.any(axis=1) & ~some.all(axis=1))

    def _tell(self, row: np.ndarray) -> bool:
        """Whether a number of these combinations may be told; then it is known."""
        there = [int(c) for c in np.argsort(-self.sizes, kind="stable") if self.sizes[c]]
        n_large = int((self.sizes >= MIN_USERS).sum())
        rows = np.array([*self._known, row.astype(float)])[:, there]
        safe = not any(True for _ in given_back(rows, n_large, self.sizes[there[n_large:]]))
        if safe:
            self._known.append(row.astype(float))
        return safe

    def _share(
        self, name: str, row: np.ndarray, part: pd.DataFrame | None = None
    ) -> dict[str, Any]:
        """n_users and a share of them with its interval."""
        table = self.everyone if part is None else part
        n = np.bincount(table["bucket"], table["n_users"])
        k = np.bincount(table["bucket"], table["n_users"] * row[table["had"]])[n > 0]
        n = n[n > 0]
        ends = map(float, stats.share_interval(k, n, n_accounts=self.n_accounts)[:2])
        return {"n_users": n.sum()} | interval_columns(name, k.sum() / n.sum(), *ends)

    def met(self, k: int) -> dict[str, Any]:
        """Who meets a team's definition; n_users alone where that must not be told."""
        row = self._has[:, k] == 1
        if not self._met[k]:
            return {} if self.few else {"n_users": self.sizes.sum()}
        return self._share("met_rate", row) | {"n_met": self.sizes[row].sum()}

    def overlap(self, cells: pd.DataFrame, *, binary: bool) -> pd.DataFrame:
        """`Definitions.overlap`."""
        rows = []
        rest = [c for c in range(len(self.sizes)) if c not in self.shown and self.sizes[c]]
        for group in [[c] for c in self.shown] + ([rest] if rest and not self.few else []):
            named = [team for team, has in zip(self.teams, self._has[group[0]]) if has]
            name = " + ".join(named) or NONE
            marks = {t: "yes" if h else "no" for t, h in zip(self.teams, self._has[group[0]])}
            if group is rest:
                name, marks = OTHERS, dict.fromkeys(self.teams, "\u2013")
            n_users = self.sizes[group].sum()
            row = {"combination": name} | marks
            row |= {"n_users": n_users, "user_share": n_users / self.sizes.sum()}
            mine = cells[cells["had"].isin(group)]
            n_at_risk = mine["n_users"].sum()
            if n_at_risk >= MIN_USERS and n_users - n_at_risk not in range(1, MIN_USERS):
                row |= {"n_at_risk": n_at_risk} | self._outcome(mine, binary)
            rows.append(row)
        columns = ["combination", *self.teams, "n_users", "user_share", "n_at_risk"]
        return pd.DataFrame(rows, columns=[*columns, *interval_columns("outcome_rate", 0, 0, 0)])

    def _outcome(self, mine: pd.DataFrame, binary: bool) -> dict[str, Any]:
        by_bucket = mine.groupby("bucket")[["sum_outcome", "n_users"]].sum()
        k, n = (by_bucket[c].to_numpy(float) for c in ("sum_outcome", "n_users"))
        ends = (np.nan, np.nan)
        if binary:
            low, high, _ = stats.share_interval(k, n, n_accounts=self.n_accounts)
            ends = (float(low), float(high))
        return interval_columns("outcome_rate", k.sum() / n.sum(), *ends)

    def disagreement(self) -> pd.DataFrame:
        """`Definitions.disagreement`."""
        rows = []
        everyone = self._differ(range(len(self.teams)))
        row: dict[str, Any] = {"between": "all"}
        rows.append(
            row | (self._share("disagreement_rate", everyone) if self._apart["all"] else {})
        )
        for a, b in combinations(range(len(self.teams)), 2):
            first, second = (self._has[:, k] == 1 for k in (a, b))
            row = {"between": self._rest((a, b))}
            row |= {} if self.few else {"n_users": self.sizes.sum()}
            sides = [first & ~second, second & ~first]
            if all(self._tell(side) for side in sides):
                counts = [self.sizes[side].sum() for side in sides]
                row |= self._share("disagreement_rate", first != second)
                row |= {"n_only_first": counts[0], "n_only_second": counts[1]}
                row |= {"kappa": kappa(self.sizes, first, second)}
            rows.append(row)
        rate = interval_columns("disagreement_rate", 0, 0, 0)
        columns = ["between", "n_users", "n_only_first", "n_only_second", *rate, "kappa"]
        return pd.DataFrame(rows, columns=columns)

    def lacking(self, best: str) -> tuple[str, str, float] | None:
        """The team of most users but ``best``, best, and the share whom only the former counts."""
        second = self._has[:, self.teams.index(best)] == 1
        others = [k for k, team in enumerate(self.teams) if team != best and self._met[k]]
        sizes = {k: self.sizes[self._has[:, k] == 1].sum() for k in others}
        if not any(sizes.values()):
            return None
        first = max(sizes, key=lambda k: sizes[k])
        only = (self._has[:, first] == 1) & ~second
        told = self._tell(only)
        return (self.teams[first], best, self.sizes[only].sum() / sizes[first]) if told else None

    def who(self, strata: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """`Definitions.who`."""
        rows, differ = [], self._differ(range(len(self.teams)))
        named = strata.drop_duplicates("stratum").set_index("stratum")
        for column in columns if self._apart["all"] else ():
            value = self.everyone["stratum"].map(named[column])
            sizes = self.everyone.groupby(value)["n_users"].sum()
            value = value.replace(together(sizes, column))
            for segment, part in self.everyone.groupby(value):
                row = {"column": column, "segment": segment}
                rows.append(row | self._share("disagreement_rate", differ, part))
        rate = interval_columns("disagreement_rate", 0, 0, 0)
        table = pd.DataFrame(rows, columns=["column", "segment", "n_users", *rate])
        return table.sort_values("disagreement_rate", ascending=False, ignore_index=True)

    def months(self) -> pd.DataFrame:
        """`Definitions.months`."""
        month = (np.datetime64("1970-01", "M") + self.everyone["cohort"].to_numpy()).astype(str)
        label = pd.Series(month, self.everyone.index) + "-01"
        sizes = self.everyone.groupby(label)["n_users"].sum()
        label = label.replace(together(sizes, "month"))
        rows = []
        for name, part in self.everyone.groupby(label):
            for k, team in enumerate(self.teams):
                if self._met[k]:
                    share = self._share("met_rate", self._has[:, k] == 1, part)
                    rows.append({"month": name, "team": team} | share)
        columns = ["month", "team", "n_users", *interval_columns("met_rate", 0, 0, 0)]
        return pd.DataFrame(rows, columns=columns)


def kappa(sizes: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Agreement of two definitions beyond chance (Cohen 1960); NaN where both always say one."""
    share = sizes / sizes.sum()
    same = share[first == second].sum()
    a, b = share[first].sum(), share[second].sum()
    chance = a * b + (1 - a) * (1 - b)
    return float((same - chance) / (1 - chance)) if chance < 1 else np.nan
