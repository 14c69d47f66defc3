"""Where definitions part: from some month on more users count by one, and fewer by another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.results import MIN_USERS

SOON = 2  # months after a change in which it is looked for; and in all months after it
YEAR = 12  # months before it, at most
COLUMNS = [
    *("since", "until", "team", "n_before", "n_users", "before_rate", "after_rate"),
    *interval_columns("change_rate", 0, 0, 0),
]


class Span(NamedTuple):
    """Months by their places: from one on, up to another."""

    begin: int
    end: int


def parted(
    everyone: pd.DataFrame, teams: Sequence[str], n_accounts: float, best: str = ""
) -> pd.DataFrame:
    """`Definitions.parted`: where one surely moved and another surely moved the other way.

    First the month from which on a team's share moved most: the two months, or all, from it on
    against those before. Where that is sure (Bonferroni over all that were tried) the other teams
    are asked whether they moved the other way meanwhile: only the ``best`` team, where there is
    one. Their intervals must leave out 0, and the false discovery rate over all that are asked is
    5 %. The surest is told.

    ``everyone``: had (teams' definitions as bits), cohort (months), bucket, n_users.
    """
    months = np.unique(everyone["cohort"])
    n = len(months)
    spans = [Span(b, end) for b in range(1, n) for end in sorted({min(b + SOON, n), n})]
    counts = _Counts(everyone, months, len(teams), n_accounts)
    changes = {(span, k): counts.change(span, k) for span in spans for k in range(len(teams))}
    asked = []
    for span, mover in _movers(changes, len(teams)):
        for k in range(len(teams)):
            if k == mover or best not in ("", teams[k]):
                continue
            against = changes[span, k].value * changes[span, mover].value < 0
            p = float(changes[span, k].pvalue) / 2
            asked.append((span, k, mover, p if against else 1 - p))
    q = stats.fdr([p for *_, p in asked])
    sure = [
        (p, span, {k, mover})
        for (span, k, mover, p), each in zip(asked, q)
        if changes[span, k].low * changes[span, k].high > 0 and each <= stats.MAX_FALSE
    ]
    if not sure:
        return pd.DataFrame(columns=COLUMNS)
    _, span, two = min(sure)
    first, last = (f"{np.datetime64(int(months[at]), 'M')}-01" for at in (span.begin, span.end - 1))
    rows = []
    for k in sorted(two):
        met, n, met_0, n_0 = (side.sum() for side in counts.sides(span, k))
        about = {"since": first, "until": last, "team": teams[k], "n_before": n_0, "n_users": n}
        about |= {"before_rate": met_0 / n_0, "after_rate": met / n}
        change = changes[span, k]
        rows.append(about | interval_columns("change_rate", *map(float, change[:3])))
    return pd.DataFrame(rows, columns=COLUMNS)


def _movers(
    changes: dict[tuple[Span, int], stats.Difference], n_teams: int
) -> Iterator[tuple[Span, int]]:
    """Months from which on a team surely rose, and fell: those that more than chance tells best.

    Of such a month both spans in which the team moved.
    """
    for k in range(n_teams):
        mine = {span: change for (span, team), change in changes.items() if team == k}
        for sign in (1, -1):
            size = {
                span: sign * change.value / (change.high - change.low)
                for span, change in mine.items()
                if change.low * change.high > 0 and sign * change.value > 0
            }
            best = max(size, key=lambda span: size[span], default=None)
            if best and mine[best].pvalue * len(changes) <= stats.MAX_FALSE:
                yield from ((span, k) for span in size if span.begin == best.begin)


class _Counts:
    """Users by month and bucket, and of them those who meet each definition."""

    def __init__(
        self, everyone: pd.DataFrame, months: np.ndarray, n_teams: int, n_accounts: float
    ) -> None:
        self.n_accounts = np.inf if np.isnan(n_accounts) else n_accounts
        n, had = everyone["n_users"].to_numpy(float), everyone["had"].to_numpy()
        at = (np.searchsorted(months, everyone["cohort"]), everyone["bucket"])
        shape = (len(months), stats.N_BUCKETS)
        self.n = stats.dense(n, *at, shape=shape)
        self.met = [stats.dense(n * (had >> k & 1), *at, shape=shape) for k in range(n_teams)]

    def sides(self, span: Span, k: int) -> list[np.ndarray]:
        """By bucket: who meets a definition in a span and all of it, and the same before it."""
        after, before = slice(span.begin, span.end), slice(max(span.begin - YEAR, 0), span.begin)
        return [a[when].sum(axis=0) for when in (after, before) for a in (self.met[k], self.n)]

    def change(self, span: Span, k: int) -> stats.Difference:
        """Of the share who meet a definition, against the months before; unknown where few do."""
        sides = [side[:, None] for side in self.sides(span, k)]
        met, n, met_0, n_0 = (float(side.sum()) for side in sides)
        if min(met, n - met, met_0, n_0 - met_0) < MIN_USERS:
            nothing = np.array(np.nan)
            return stats.Difference(nothing, nothing, nothing, nothing)
        design = stats.difference_design(*sides, n_accounts=self.n_accounts)
        return stats.mantel_haenszel(*(side.sum(axis=0) for side in sides), design=design)
