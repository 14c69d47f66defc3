"""From what witnesses say to a verdict: how complete, since when, and what to do with the number.

A share of what happened is constant, but for changes that a bootstrap is sure of (p <= .01), along
the weeks or along the versions of the app, whichever tells more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.audit.witnesses import BACKEND, COUNTS, IMPLIED, WHOLE, WITNESSES, YES
from mctlib.contract import interval_columns
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Bools, Ints
from mctlib.eventlog.late_start import ALL, BETWEEN
from mctlib.results import MIN_USERS, together
from mctlib.stats import FloatArray

TRUSTED, CORRECTABLE = "trusted", "correctable"
UNUSABLE, TOO_FEW = "not to be used", "too few to say"
LOST = 0.97  # sure to be lower: something is lost
WHOLE_ENOUGH = 0.95  # sure to be higher: nothing is, as far as a number tells
LEAST, WIDEST = 0.5, 1.5  # of a share that is corrected, and of its ends' ratio
DATED = 0.01  # the bootstrap's p from which on a change is dated
MOST_PARTS = 6
RIPE = 0.99  # of a week's records that have arrived: before that it is not judged
FELT = 0.01  # of a number that is missing: from here on it matters


@dataclass(frozen=True)
class Part:
    """A stretch of one platform in which the share is one: its first cell and the one after it."""

    platform: str
    n: int
    n_users: int
    share: stats.Spread
    app_version: str = ""
    since: int | None = None  # a week, days from 1970
    until: int | None = None
    until_version: str = ""

    @property
    def lost(self) -> bool:
        """Whether it is sure that something is missing."""
        return self.share.high < LOST

    @property
    def verdict(self) -> str:
        """What its number is good for."""
        if self.lost:
            known = self.share.low >= LEAST and self.share.high <= WIDEST * self.share.low
            return CORRECTABLE if known else UNUSABLE
        return TRUSTED if self.share.low > WHOLE_ENOUGH else TOO_FEW


class Cells(NamedTuple):
    """Records by week and version: checked, of these tracked and those that have arrived (ripe).

    week, version: places in their order, -1 for a version of which nobody knows when it came.
    """

    checked: FloatArray
    tracked: FloatArray
    ripe: FloatArray
    week: Ints
    version: Ints

    @classmethod
    def of(cls, rows: pd.DataFrame, order: Mapping[str, int]) -> Cells:
        """Of rows as in `tally`; ``order``: version -> its place."""
        checked, tracked, ripe = rows[["n_checked", "n_tracked", "sum_ripe"]].to_numpy(float).T
        week = np.unique(rows["week"], return_inverse=True)[1]
        version = np.array([order.get(name, -1) for name in rows["app_version"]], np.int64)
        return cls(checked, tracked, ripe, week, version)

    def take(self, rows: Bools) -> Cells:
        """Some of them."""
        sums = self.checked[rows], self.tracked[rows], self.ripe[rows]
        return Cells(*sums, self.week[rows], self.version[rows])

    @property
    def n(self) -> FloatArray:
        """Records that have arrived, or should have."""
        return np.maximum(self.ripe, self.tracked)


def share_of(cells: Cells, users: pd.DataFrame) -> stats.Spread:
    """The share over cells, as wide as their weeks vary, and ``users``: the same, less finely.

    In these a user's records stand together, as far as they can.
    """
    n = cells.checked.sum()
    if not n:
        return stats.quasi_binomial([], [])
    effect = float(_design(dict(zip(COUNTS, users[COUNTS].to_numpy(float).sum(axis=0)))))
    week = cells.week
    if (cells.ripe < cells.checked - 1e-9).any():  # young cells differ because they are
        week = np.zeros_like(week)
    sums = (np.bincount(week, column) for column in (cells.tracked, cells.checked))
    return stats.quasi_binomial(*sums, at_least=effect, ripe=float(cells.ripe.sum() / n))


def _design(sums: Any) -> Any:
    """How many records of the same users tell as much as one, 1 or more; sums as in `tally`."""
    n = sums["n_checked"]
    p = sums["n_tracked"] / n
    squares = sums["sum_tt"] - 2 * p * sums["sum_tn"] + p**2 * sums["sum_nn"]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.fmax(squares / (n * p * (1 - p)), 1.0)


def parts_of(
    rows: pd.DataFrame, platform: str, versions: Sequence[tuple[str, int]], seed: int
) -> list[Part]:
    """The stretches of one micro-conversion's records on one platform.

    ``rows``: at all levels · ``versions``: in their order, with the weeks they came.
    """
    whole = rows[rows["week"] == WHOLE]
    fine = rows[(rows["app_version"] != ALL) & (rows["week"] != WHOLE)]
    order = {version: place for place, (version, _) in enumerate(versions)}
    weeks = np.unique(fine["week"])
    cells = Cells.of(fine, order)
    known = cells.take(cells.version >= 0)
    by_version, by_week = _cuts(known, known.version, seed), _cuts(cells, cells.week, seed)
    # both told by the same cells, those of known versions
    better = _told(known, known.version, by_version) > _told(known, known.week, by_week)
    by_release = better and 2 * known.checked.sum() > cells.checked.sum()
    table, at, cuts = (
        (known, known.version, by_version) if by_release else (cells, cells.week, by_week)
    )
    place = whole["app_version"].map(order)
    found = []
    edges = [0, *cuts, 1 << 40]
    for low, high in zip(edges, edges[1:]):
        mine = (at >= low) & (at < high)
        version, since, until, until_version = "", None, None, ""
        if low:
            version, since = versions[low] if by_release else ("", int(weeks[low]))
        if high < edges[-1]:
            until_version, until = versions[high] if by_release else ("", int(weeks[high]))
        users = fine[mine] if not by_release else whole[place.between(low, high - 1)]
        if len(edges) == 2:
            users = whole[whole["app_version"] == ALL]
        n, n_users = int(table.checked[mine].sum()), int(users["n_users"].sum())
        share = share_of(table.take(mine), users)
        found.append(Part(platform, n, n_users, share, version, since, until, until_version))
    return found


def _cuts(cells: Cells, at: Ints, seed: int) -> list[int]:
    """Where the share changes along an axis, as far as it can be dated; ``at``: places on it."""
    k = np.bincount(at, cells.tracked)
    n = np.maximum(k, np.rint(np.bincount(at, cells.n)))
    found: list[int] = []
    spans = [(0, len(n))]
    while spans and len(found) < MOST_PARTS - 1:
        low, high = spans.pop(0)
        if high - low < 2 or k[low:high].sum() == n[low:high].sum():  # nothing is missing at all
            continue
        split = stats.change_point(k[low:high], n[low:high], seed=seed, draws=499)
        if split.pvalue <= DATED:
            found.append(low + split.at)
            spans += [(low, low + split.at), (low + split.at, high)]
    return sorted(found)


def _told(cells: Cells, at: Ints, cuts: Sequence[int]) -> float:
    """Log-likelihood of cells whose share is one between the cuts, less what each cut costs."""
    from scipy.special import xlogy

    part = np.searchsorted(np.asarray(cuts, float), at, side="right")
    k, n = (np.bincount(part, column) for column in (cells.tracked, cells.n))
    k, n = k[n > 0], n[n > 0]
    missed = np.maximum(n - k, 0)
    told = xlogy(k, k / n) + xlogy(missed, missed / n)
    return float(told.sum() - len(cuts) * np.log(max(len(at), 2)))


# ---------------------------------------------------------------------------------- the tables

Releases = Mapping[str, Sequence[tuple[str, int]]]


def judged(said: pd.DataFrame, releases: Releases, seed: int) -> dict[int, list[Said]]:
    """Micro-conversion (its bit) -> its verdicts, by its best witness."""
    found: dict[int, list[Said]] = {}
    for what, kind in best_witness(said).items():
        mine = _ripe(said[(said["what"] == what) & (said["kind"] == kind)])
        parts = [
            part
            for platform, rows in mine[mine["platform"] != ALL].groupby("platform")
            if (rows["week"] != WHOLE).any()
            for part in parts_of(rows, str(platform), releases.get(str(platform), ()), seed)
        ]
        found[what] = _verdicts(parts, mine, kind)
    return found


def _ripe(said: pd.DataFrame) -> pd.DataFrame:
    """The counts without the weeks of which more than 1 % is still under way, by platform."""
    by_week = (said["week"] != WHOLE) & (said["app_version"] == ALL)
    young = said[by_week & (said["sum_ripe"] < RIPE * said["n_checked"])]
    keys = ["platform", "week"]
    place, out = (pd.MultiIndex.from_frame(rows[keys]) for rows in (said, young))
    return said[~place.isin(out)]


ENOUGH = 30  # records of a witness that is heard before the next one


def best_witness(said: pd.DataFrame) -> dict[int, int]:
    """Micro-conversion -> the witness that decides: the server, else what later events imply.

    People's answers decide nothing: a wrong yes looks like a lost event.
    """
    whole = said[(said["platform"] == ALL) & said["kind"].isin([BACKEND, IMPLIED])]
    found: dict[int, int] = {}
    for row in whole.sort_values(["what", "kind"]).itertuples():
        if row.what not in found or (
            found[row.what] == BACKEND and _n(whole, row.what, BACKEND) < ENOUGH < row.n_checked
        ):
            found[row.what] = row.kind
    return found


def _n(whole: pd.DataFrame, what: int, kind: int) -> int:
    rows = whole[(whole["what"] == what) & (whole["kind"] == kind)]
    return int(rows["n_checked"].sum())


def joined(said: pd.DataFrame) -> pd.DataFrame:
    """The counts with small platforms and versions told together, under one name at every level.

    Weeks of fewer users than may be told are left out.
    """
    if (said["n_users"] >= MIN_USERS).all():
        return said
    found = []
    for _, rows in said.groupby(["what", said["kind"].clip(upper=YES)]):  # noes go with yeses
        rows = _together(rows, "platform", rows["app_version"] == ALL)
        for _, part in rows.groupby("platform"):
            found.append(_together(part, "app_version", part["app_version"] != ALL))
    told = pd.concat(found, ignore_index=True)
    return told[(told["week"] == WHOLE) | (told["n_users"] >= MIN_USERS)]


def _together(rows: pd.DataFrame, column: str, level: pd.Series) -> pd.DataFrame:
    whole = rows[level & (rows[column] != ALL) & (rows["week"] == WHOLE)]
    names = together(whole.groupby(column)["n_users"].sum(), column)
    return add_up([rows.assign(**{column: rows[column].replace(names)})]) if names else rows


def completeness_table(said: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`Audit.completeness`."""
    rows = said[said["kind"] < len(WITNESSES)]
    rate = np.minimum(stats.rate(rows["n_tracked"], rows["sum_ripe"]), 1)
    effect = _design(rows)
    low, high = stats.wilson(rows["n_tracked"] / effect, rows["n_checked"] / effect)
    ripe = rows["sum_ripe"] / rows["n_checked"]
    ends = (np.minimum(end / ripe, 1) for end in (low, high))
    week = pd.to_datetime(rows["week"].where(rows["week"] != WHOLE), unit="D")
    table = pd.DataFrame(
        {
            "micro_conversion": np.asarray(names, object)[rows["what"]],
            "witness": np.asarray(WITNESSES, object)[rows["kind"]],
            "platform": rows["platform"],
            "app_version": rows["app_version"],
            "week": week.dt.strftime("%Y-%m-%d").fillna(ALL),
            "n_users": rows["n_users"],
            "n_checked": rows["n_checked"],
            "n_tracked": rows["n_tracked"],
            **interval_columns("completeness_rate", rate, *ends),
        }
    )
    keys = ["micro_conversion", "witness", "platform", "app_version", "week"]
    return table.sort_values(keys, kind="stable", ignore_index=True)


class Said(NamedTuple):
    """A verdict, the stretch that it is about, what is missing from the whole, and who says so."""

    verdict: str
    part: Part
    moved: float = 0.0
    witness: str = ""


NOTHING = Said(TOO_FEW, Part(ALL, 0, 0, stats.quasi_binomial([], [])))


def _verdicts(parts: Sequence[Part], said: pd.DataFrame, kind: int) -> list[Said]:
    """Of a micro-conversion: every stretch in which a platform lost something, else the whole.

    Lost is what a number of that time feels: 1 % of it or more, of 10 users or more.
    """
    weeks = said[(said["app_version"] == ALL) & (said["week"] != WHOLE)]
    lost: list[Said] = []
    for part in sorted((p for p in parts if p.lost), key=lambda p: p.share.value):
        first, last = part.since or 0, part.until or 1 << 40
        then = weeks[(weeks["week"] >= first) & (weeks["week"] < last)]
        moved = part.n * (1 - part.share.value) / max(then["n_checked"].sum(), part.n)
        if moved >= FELT and part.n_users >= MIN_USERS and part.platform != BETWEEN:
            lost.append(Said(part.verdict, part, -float(moved), WITNESSES[kind]))
    if lost:
        return lost
    whole = said[(said["platform"] == ALL) & (said["week"] == WHOLE)]
    n, n_users = int(weeks["n_checked"].sum()), int(whole["n_users"].sum())
    part = Part(ALL, n, n_users, share_of(Cells.of(weeks, {}), whole))
    verdict = TRUSTED if part.share.low > WHOLE_ENOUGH else TOO_FEW
    return [Said(verdict, part, witness=WITNESSES[kind])]


def week_day(week: int | None) -> str:
    """The first day of a week; "" for none."""
    return "" if week is None else f"{pd.Timestamp(week, unit='D'):%Y-%m-%d}"


def verdicts_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """`Audit.verdicts`, what must be acted on first."""
    table = pd.DataFrame(rows)
    order = {UNUSABLE: 0, CORRECTABLE: 1, TOO_FEW: 2, TRUSTED: 3}
    place = table["verdict"].map(order)
    return table.assign(place=place).sort_values("place", kind="stable").drop(columns="place")
