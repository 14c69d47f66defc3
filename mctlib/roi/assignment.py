"""Who is in which arm of a test, and what these users did: the kernel of `compare_arms`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib.contract import BETWEEN, MISSING
from mctlib.eventlog.journeys import NOWHERE, Journeys, first_rows, lines_of
from mctlib.phrases import DAY_US
from mctlib.results import MIN_USERS
from mctlib.roi.arms import Side

Tables: TypeAlias = Mapping[str, pd.DataFrame]
FEW_SPLIT = 0.05  # share of accounts in several arms above which arms were drawn user by user


def count_users(j: Journeys, *, change: int, window: int, tick: int) -> dict[str, pd.DataFrame]:
    """Kernel: users of each arm, known before the change or not; matcher 0 is ``of``, 1 the event.

    The first dim is the arm, a second one the account. Tables: users (whose window is over), by
    whether they ever had the event before, how often in as long a time as the window and in the
    window (after), and cluster: the account, or a hundredth of those without one · waits (of the
    new), by ticks until the first event, or the end of window or data · days, by the day from
    which they are counted · clusters.
    """
    arm, *accounts = j.dims
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    known = j.time[entry] < change
    start = np.maximum(j.time[entry], change)
    row = np.flatnonzero(j.has(1))
    line = lines_of(j.user[row], j.user[entry])
    row, line = row[line != NOWHERE], line[line != NOWHERE]
    since = j.time[row] - start[line]
    earlier = known[line] & (since < 0)
    before = earlier & (since >= -window)
    # the start itself is no success; a window that begins with a day ends before one
    after = (since >= 0) & (since <= window - known[line]) & (row != entry[line])
    n_after = np.bincount(line[after], minlength=len(entry))
    followed = np.minimum(j.as_of - start, window)
    first = followed.copy()
    np.minimum.at(first, line[after], since[after])
    closed = known | (followed == window)
    everyone = pd.DataFrame(
        {
            "segment": j.segment(entry, [arm]),
            "known": known,
            "cluster": _clusters(j, entry, accounts),
            "ever": (np.bincount(line[earlier], minlength=len(entry)) > 0).astype(int),
            "before": np.bincount(line[before], minlength=len(entry)),
            "after": n_after,
            "ticks": first // tick,
            # as in a series of shares; of a span of days that all have at once, its last
            "day": (start + known * (window - 1)) // DAY_US,
            "n_users": 1,
            "n_closed": closed.astype(int),
            "n_reached": (n_after > 0).astype(int),
            "n_waiting": (n_after == 0).astype(int),
        }
    )

    def counted(rows: pd.DataFrame, keys: list[str], n: list[str]) -> pd.DataFrame:
        return rows.groupby(["segment", "known", *keys], as_index=False)[n].sum()

    return {
        "users": counted(everyone[closed], ["cluster", "ever", "before", "after"], ["n_users"]),
        "waits": counted(everyone[~known], ["ticks"], ["n_reached", "n_waiting"]),
        "days": counted(everyone, ["day"], ["n_users", "n_closed"]),
        "clusters": counted(everyone, ["cluster"], ["n_users"]),
    }


def _clusters(j: Journeys, rows: NDArray[np.int64], accounts: Sequence[str]) -> NDArray[Any] | str:
    if not accounts:
        return MISSING
    account = j.segment(rows, accounts)
    alone = account == MISSING
    account[alone] = [f"{MISSING} {bucket}" for bucket in j.bucket_of(j.user[rows[alone]])]
    return account


@dataclass(frozen=True)
class Group:
    """The users compared: the new ones, or those known before.

    tables: rows of `count_users` of these users, in arms · arms: n_users and n_closed (their
    window is over) of each arm of which so many are known that it can be told, the largest first ·
    small: names of the others · everyone: all users, by arm and whether new or known · n_without:
    users without an arm · n_others: in these arms, but not in the group.
    """

    known: bool
    tables: Tables
    arms: pd.DataFrame
    small: list[str]
    everyone: pd.Series
    n_without: int
    n_others: int

    @classmethod
    def of(cls, tables: Tables, known: bool) -> Group:
        """The new users, or the known ones, of all."""
        days = tables["days"]
        mine = days["known"] == known
        by_arm = days[mine & (days["segment"] != MISSING)].groupby("segment")
        sizes = by_arm[["n_users", "n_closed"]].sum()
        large = sizes["n_closed"] >= MIN_USERS
        arms = sizes[large].sort_values("n_users", ascending=False, kind="stable")
        inside = days["segment"].isin(arms.index)
        rows = {
            name: table[(table["known"] == known) & table["segment"].isin(arms.index)]
            for name, table in tables.items()
        }
        everyone = days.groupby(["segment", "known"])["n_users"].sum()
        everyone.index = pd.Index([cls.cell(*cell) for cell in everyone.index], dtype=object)
        without, others = days["segment"] == MISSING, inside & ~mine
        return cls(
            known,
            rows,
            arms,
            list(sizes.index[~large]),
            everyone,
            n_without=int(days.loc[without & mine, "n_users"].sum()),
            n_others=int(days.loc[others, "n_users"].sum()),
        )

    @staticmethod
    def cell(arm: str, known: bool) -> str:
        """The name in `everyone` of an arm's new or known users."""
        return f"{arm}{BETWEEN}{'known' if known else 'new'}"

    @property
    def n_left_out(self) -> int:
        """Users who are not in these arms."""
        return int(self.everyone.sum() - self.sizes.sum())

    @property
    def sizes(self) -> pd.Series:
        """Users of each arm, the pending ones too."""
        return self.arms["n_users"]

    @property
    def is_share(self) -> bool:
        """Whether nobody has the event twice."""
        return not self.tables["users"]["after"].gt(1).any()

    @property
    def days(self) -> pd.DataFrame:
        """`Arms.days`."""
        rows = self.tables["days"][["day", "segment", "n_users"]]
        return rows.assign(day=pd.to_datetime(rows["day"], unit="D")).reset_index(drop=True)

    @property
    def weeks(self) -> float:
        """In which the users came."""
        day = self.tables["days"]["day"]
        return float(day.max() - day.min() + 1) / 7

    @cached_property
    def _accounts(self) -> pd.DataFrame:
        rows = self.tables["clusters"]
        return rows[~rows["cluster"].str.startswith(MISSING)]

    @property
    def n_accounts(self) -> float:
        """Accounts in which the users sit, NaN where nobody sits in any."""
        return float(self._accounts["cluster"].nunique() or np.nan)

    @property
    def by_account(self) -> bool:
        """Whether arms were drawn for accounts as wholes: hardly one has users of two arms."""
        of = self._accounts.groupby("cluster")["n_users"].agg(n_arms="size", n_users="sum")
        several = of[of["n_users"] > 1]
        return len(several) > 0 and (several["n_arms"] > 1).mean() <= FEW_SPLIT

    def sample_ratio(self, planned: pd.Series) -> float:
        """P-value of arms of these sizes, by their ``planned`` shares.

        What was drawn is counted: users; or accounts, and users without one.
        """
        from scipy.stats import chisquare

        drawn = self.sizes
        if self.by_account:
            of = self._accounts.groupby("segment")["n_users"].agg(["size", "sum"])
            drawn = drawn.add(of["size"] - of["sum"], fill_value=0)
        return float(chisquare(drawn, drawn.sum() * planned[drawn.index]).pvalue)

    def side(self, arm: str, is_share: bool) -> Side:
        """The users of an arm; of a share it counts whether they have an event, not how many."""
        users, waits = self.tables["users"], self.tables["waits"]
        counts = users.assign(cluster=pd.factorize(users["cluster"])[0])[users["segment"] == arm]
        if is_share:
            counts = counts.assign(**counts[["before", "after"]].clip(upper=1))
        return Side(counts, None if self.known else waits[waits["segment"] == arm])
