"""What intervals and tests promise, by simulation:   python -m tests.calibration --n 2000

It prints the table and writes it, in plain words, to outputs/calibration/index.html.

Every function takes the number of data sets and returns rows of one table; the suite runs them
with 400. Seeds are fixed. Bands: for coverage 93 to 97 % (with 400 data sets, whose share has a
standard error of 1.1 %, 91.5 to 98 %); for false positives the level and 2.5 standard errors of
such a share.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from operator import methodcaller
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit
from scipy.stats import binom

from mctlib import stats
from mctlib.activation.differences import compare_days, compare_shares, risk_ratio
from mctlib.activation.hazards import compare_hazards, logrank
from mctlib.activation.survival_groups import Cells, Group
from mctlib.funnel.accounts import Clusters
from mctlib.funnel.counts import Rule
from mctlib.funnel.drivers import compare, surest_first
from mctlib.funnel.rates import Counts, Waits, against_others, step_rows
from mctlib.roi import estimators as cf
from mctlib.roi.response_time import trend_and_gaps
from tests import (
    calibration_arms,
    calibration_attribution,
    calibration_audit,
    calibration_roi,
    calibration_scorecard,
    calibration_signals,
)
from tests.support.calibration import Row, coverage, page_of, rejections, within
from tests.support.clusters import UNLIKE
from tests.support.series import ar1, weeks_of
from tests.support.weeks import false_alarms, found_at_once, found_in_time

N_ACCOUNTS = 40
PAGE = Path(__file__).parents[1] / "outputs/calibration/index.html"


def group(
    days: np.ndarray,
    status: np.ndarray,
    entry: np.ndarray | None = None,
    account: np.ndarray | None = None,
) -> Group:
    """Users (0 censored, 1 activated, 2 exit) as a Group, one row a user."""
    late = np.array([]) if entry is None else entry[entry > 0]
    hit, out, seen = (np.r_[status == k, np.zeros(len(late))] for k in (1, 2, 0))
    steps = stats.incidence(
        np.r_[days, late],
        hit,
        seen,
        out if out.any() else None,
        np.r_[np.zeros(len(days)), np.ones(len(late))],
    )
    cells = None
    if account is not None:
        row = np.searchsorted(steps["time"], days)
        cells = Cells(
            row, np.full(len(days), -1), np.array([2, 0, 1])[status], account, np.ones(len(days))
        )
    ends = {"activated": 1, "competing": 2, "censored": 0}
    n = {end: int((status == k).sum()) for end, k in ends.items()} | {"not_activated": 0}
    return Group(
        "x",
        n,
        0,
        0,
        steps,
        float(steps["time"].iloc[-1]),
        cells,
        0 if account is None else N_ACCOUNTS,
    )


def wilson(n: int) -> list[Row]:
    """All outcomes weighted by their probability, true rates .01 to .99; exact, whatever ``n``.

    Brown, Cai & DasGupta 2001.
    """
    rows, p = [], np.linspace(0.01, 0.99, 99)[:, None]
    for size, least in ((30, 0.88), (100, 0.92), (500, 0.92)):
        k = np.arange(size + 1)
        low, high = stats.wilson(k, np.full(size + 1, size))
        covered = (binom.pmf(k, size, p) * ((low <= p) & (p <= high))).sum(axis=1)
        rows += [
            Row("Wilson, mean coverage (exact)", f"n {size}", float(covered.mean()), 0.945, 0.955),
            Row("Wilson, least coverage (exact)", f"n {size}", float(covered.min()), least, 1),
        ]
    return rows


def newcombe(n: int) -> list[Row]:
    """15 pairs of rates and sizes, all outcomes weighted by their probability; exact."""
    shares = []
    for size, size_0 in ((50, 50), (100, 300), (400, 400)):
        k, k_0 = (side.ravel() for side in np.meshgrid(np.arange(size + 1), np.arange(size_0 + 1)))
        low, high = stats.newcombe(k, np.full(len(k), size), k_0, np.full(len(k), size_0))
        for p, p_0 in ((0.05, 0.05), (0.05, 0.1), (0.2, 0.3), (0.5, 0.5), (0.9, 0.8)):
            shares.append(
                (
                    binom.pmf(k, size, p)
                    * binom.pmf(k_0, size_0, p_0)
                    * ((low <= p - p_0) & (p - p_0 <= high))
                ).sum()
            )
    return [
        Row(
            f"Newcombe, {word} coverage (exact)",
            "15 pairs, n 50 to 400",
            float(of(shares)),
            0.94,
            0.98,
        )
        for word, of in (("least", min), ("greatest", max))
    ]


def clustered_rate(n: int) -> list[Row]:
    """Beta-binomial accounts, of 20 users or of unlike sizes, correlation .1, rate .3.

    The interval of a share by account, and the one that ignores accounts.
    """
    rows = []
    for sizes in (*(np.full(g, 20) for g in (10, 20, 40, 200)), UNLIKE, UNLIKE[:20]):
        n_accounts = len(sizes)
        rng = np.random.default_rng(n_accounts)
        k = rng.binomial(sizes, rng.beta(0.3 * 9, 0.7 * 9, (n, n_accounts)))
        users = np.broadcast_to(sizes, k.shape)
        by_account, naive = (
            ((low <= 0.3) & (high >= 0.3))
            for low, high in (
                stats.cluster_rate(k.T, users.T)[:2],
                stats.wilson(k.sum(axis=1), users.sum(axis=1)),
            )
        )
        size = "20" if sizes[0] == sizes[-1] == 20 else f"{sizes.min()} to {sizes.max()}"
        truth = f"{n_accounts} accounts of {size}, correlation .1"
        rows += [
            coverage("Share by account", truth, by_account),
            Row("Share, accounts ignored", truth, float(naive.mean()), 0.0, 0.85),
        ]  # what the clustering is for
    return rows


def buckets(n: int) -> list[Row]:
    """Beta-binomial accounts, correlation .1, rate .3, hashed into 100 buckets.

    The share, and the difference, where there is none, for a segment of whole accounts (a third of
    them) and for an event that users do one by one, over two strata that go on at 25 and 35 %.
    """
    rows, rng = [], np.random.default_rng(12)
    for n_accounts, sizes in ((20, 20), (40, 20), (240, 20), (60, UNLIKE)):
        account = np.arange(n_accounts).repeat(sizes)
        stratum = rng.integers(0, 2, (n, len(account)))
        y = rng.random((n, len(account))) < rng.beta(0.3 * 9, 0.7 * 9, (n, n_accounts))[
            :, account
        ] + 0.1 * (stratum - 0.5)
        cell = (
            np.arange(n)[:, None] * stats.N_BUCKETS
            + rng.integers(0, stats.N_BUCKETS, (n, n_accounts))[:, account]
        ) * 2 + stratum

        def count(some, cell=cell):
            found = np.bincount(cell[some], minlength=n * stats.N_BUCKETS * 2)
            return found.reshape(n, -1, 2).swapaxes(0, 1)

        everyone = np.full(y.shape, True)
        size = "1 to 119" if sizes is UNLIKE else sizes
        truth = f"{n_accounts} accounts of {size}, correlation .1"
        low, high, _ = stats.share_interval(
            count(y).sum(axis=2), count(everyone).sum(axis=2), n_accounts=n_accounts
        )
        rows.append(coverage("Share by bucket", truth, (low <= 0.3) & (high >= 0.3)))
        for name, side in (
            ("segment of whole accounts", everyone & (account < n_accounts // 3)),
            ("event of single users", rng.random(y.shape) < 0.2),
        ):
            if n_accounts == 20 and name.startswith("segment"):
                continue  # on one side always in fewer than 10 buckets
            sides = count(y & side), count(side), count(y & ~side), count(~side)
            total = [a.sum(axis=0) for a in sides]
            _, low, high, pvalue = stats.mantel_haenszel(
                *total, design=stats.difference_design(*sides)
            )
            known = ~np.isnan(low)
            rows += [
                coverage(f"Difference by bucket, {name}", truth, ((low <= 0) & (high >= 0))[known]),
                rejections(f"Test by bucket, {name}", truth, pvalue[known]),
            ]
            if name.startswith("segment"):
                naive = stats.mantel_haenszel(*total)[3]
                rows.append(
                    Row(
                        f"Test of a {name}, accounts ignored, false positives",
                        truth,
                        float((naive < 0.05).mean()),
                        0.15,
                        1.0,
                    )
                )  # what the clustering is for
    return rows


def kaplan_meier(n: int) -> list[Row]:
    """Weibull times, uniform follow-up, 120 users: share at day 10, median, mean within 20 days.

    And the share where half the users come into view late.
    """
    rng, shape, scale = np.random.default_rng(2), 1.3, 12.0
    share, median = 1 - np.exp(-((10 / scale) ** shape)), scale * np.log(2) ** (1 / shape)
    grid = np.linspace(0, 20, 20_001)
    mean = float(np.trapezoid(np.exp(-((grid / scale) ** shape)), grid))
    hits = np.zeros((n, 4), bool)
    for k in range(n):
        life, view = scale * rng.weibull(shape, 120), rng.uniform(5, 45, 120)
        g = group(np.minimum(life, view), (life <= view).astype(int))
        hits[k, 0] = within(share, g.rate(10)[1:])
        high, low = (stats.quantile(g.steps, 0.5, f"rate_ci_{side}") for side in ("lower", "upper"))
        hits[k, 1] = low <= median <= (high if high == high else np.inf)
        value, se = g.mean(20)
        hits[k, 2] = abs(value - mean) <= stats.Z * se
        life, entry = (
            scale * rng.weibull(shape, 240),
            np.where(np.arange(240) % 2, rng.uniform(0, 15, 240), 0),
        )
        seen = life > entry
        life, entry, view = life[seen], entry[seen], entry[seen] + rng.uniform(5, 30, seen.sum())
        hits[k, 3] = within(
            share, group(np.minimum(life, view), (life <= view).astype(int), entry).rate(10)[1:]
        )
    truth = "Weibull, uniform follow-up, n 120"
    return [
        coverage(name, told, h)
        for name, told, h in zip(
            (
                "Kaplan-Meier log-log",
                "Median by inversion",
                "Restricted mean",
                "Kaplan-Meier, delayed entry",
            ),
            (truth, truth, truth, "Weibull, half in view late, n 240"),
            hits.T,
        )
    ]


def exits(n: int) -> list[Row]:
    """Exponential activation and exit, uniform follow-up, 2 x 150 users.

    Aalen-Johansen's share at day 20, the difference of the means within 20 days, and the difference
    and the ratio of the shares.
    """
    rng, tau, (a, a_0), leave = np.random.default_rng(11), 20.0, (0.05, 0.09), 0.03

    def lost(h):
        return h / (h + leave) * (tau - (1 - np.exp(-(h + leave) * tau)) / (h + leave))

    truth = lost(a_0) - lost(a)
    share, share_0 = (h / (h + leave) * (1 - np.exp(-(h + leave) * tau)) for h in (a, a_0))
    hits = np.zeros((n, 4), bool)
    for k in range(n):
        pair = []
        for hazard in (a, a_0):
            hit, out, view = (
                rng.exponential(1 / hazard, 150),
                rng.exponential(1 / leave, 150),
                rng.uniform(5, 40, 150),
            )
            days = np.minimum(np.minimum(hit, out), view)
            pair.append(group(days, np.select([hit == days, out == days], [1, 2], 0)))
        hits[k] = (
            within(share, pair[0].rate(tau)[1:]),
            within(truth, compare_days([tuple(pair)], tau)[1:3]),
            within(share - share_0, compare_shares([tuple(pair)], tau)[1:3]),
            within(share / share_0, risk_ratio([tuple(pair)], tau)[1:]),
        )
    names = ("Aalen-Johansen log-log", "Difference of restricted means", "Difference of shares")
    return [
        coverage(name, "exponential activation and exit, 2 x 150", h)
        for name, h in zip((*names, "Risk ratio"), hits.T)
    ]


def hazards(n: int) -> list[Row]:
    """Exponential times by the day (many ties), 2 x 120 users.

    The log-rank test where nothing differs, Cox's interval where the hazard ratio is 1.5.
    """
    rng, pvalue, hits = np.random.default_rng(3), np.zeros(n), np.zeros(n, bool)
    for k in range(n):
        for ratio in (1.0, 1.5):
            pair = []
            for hazard in (0.06 * ratio, 0.06):
                life, view = rng.exponential(1 / hazard, 120), rng.uniform(5, 40, 120)
                pair.append(
                    group(np.floor(np.minimum(life, view) * 4), (life <= view).astype(int)).steps
                )
            found = compare_hazards([tuple(pair)])
            if ratio == 1:
                pvalue[k] = found["logrank_pvalue"]
            else:
                hits[k] = within(
                    1.5, (found["hazard_ratio_ci_lower"], found["hazard_ratio_ci_upper"])
                )
    return [
        rejections("Log-rank", "exponential, 2 x 120, no difference", pvalue),
        coverage("Cox", "hazard ratio 1.5, quarter days, 2 x 120", hits),
    ]


def accounts(n: int) -> list[Row]:
    """40 accounts of 4 to 16 users who share their hazard (gamma, variance 0.3), 20 on a side.

    No difference: days, hazard ratio, score test, share, risk ratio.
    """
    rng, hits, pvalue = np.random.default_rng(4), np.zeros((n, 5), bool), np.zeros(n)
    share = 1 - (1 + 0.3 * 0.08 * 10) ** (
        -1 / 0.3
    )  # the gamma mixture of exponential times at day 10
    for k in range(n):
        size = rng.integers(4, 17, N_ACCOUNTS)
        account = np.repeat(np.arange(N_ACCOUNTS), size)
        life, view = (
            rng.exponential(1 / (0.08 * rng.gamma(1 / 0.3, 0.3, N_ACCOUNTS)[account])),
            rng.uniform(5, 40, len(account)),
        )
        days, status = np.minimum(life, view), (life <= view).astype(int)
        sides = account < 20, account >= 20
        pair = [group(days[m], status[m], account=account[m]) for m in sides]
        plain = [group(days[m], status[m]) for m in sides]
        found = compare_hazards([tuple(g.steps for g in pair)], [tuple(pair)])
        pvalue[k] = found["logrank_pvalue"]
        hits[k] = (
            within(0, compare_days([tuple(pair)], 20)[1:3]),
            within(1, (found["hazard_ratio_ci_lower"], found["hazard_ratio_ci_upper"])),
            within(share, pair[0].rate(10)[1:]),
            within(0, compare_days([tuple(plain)], 20)[1:3]),
            within(1, risk_ratio([tuple(pair)], 10)[1:]),
        )
    truth = "20 + 20 accounts, shared hazard"
    naive = Row(
        "Difference of means, accounts ignored", truth, float(hits[:, 3].mean()), 0.0, 0.92
    )  # what the clustering is for
    return [
        *(
            coverage(name, truth, h)
            for name, h in zip(
                (
                    "Difference of means by account",
                    "Cox by account",
                    "Kaplan-Meier by account",
                    "Risk ratio by account",
                ),
                hits.T[[0, 1, 2, 4]],
            )
        ),
        rejections("Robust score test", truth, pvalue),
        naive,
    ]


def early_signal(n: int) -> list[Row]:
    """A signal that changes nothing, on users who leave.

    The landmark comparison's test and the ever/never test of the same users.
    """
    rng, pvalue, naive = np.random.default_rng(5), np.zeros(n), np.zeros(n)
    for k in range(n):
        hit, out, signal = (rng.exponential(mean, 400) for mean in (15, 15, 10))
        days = np.minimum(np.minimum(hit, out), 30)
        status = np.select([hit == days, out == days], [1, 2], 0)
        waiting = days > 3
        pair = [
            group(days[m] - 3, status[m]).steps
            for m in (waiting & (signal <= 3), waiting & (signal > 3))
        ]
        pvalue[k] = compare_hazards([tuple(pair)])["logrank_pvalue"]
        ever = signal < np.minimum(out, 30)
        low, high = stats.newcombe(
            (status[ever] == 1).sum(), ever.sum(), (status[~ever] == 1).sum(), (~ever).sum()
        )
        naive[k] = 0.0 if low > 0 or high < 0 else 1.0
    return [
        rejections("Landmark comparison", "idle signal, users leave", pvalue),
        Row(
            "Ever against never, false positives",
            "the same users",
            float((naive < 0.05).mean()),
            0.5,
            1.0,
        ),
    ]


def small_sides(n: int) -> list[Row]:
    """A signal that changes nothing and that 40 of 1,000 users have, in three strata.

    The rarer an activation, the oftener none of the 40 has one: the test of the days, by which a
    signal is named, and that of the share.
    """
    rows = []
    for share in (0.03, 0.3, 0.9):
        rng, pvalue, days = np.random.default_rng(31), np.zeros((n, 2)), 27.0
        for k in range(n):
            life = rng.exponential(-days / np.log(1 - share), 1000)
            view = np.where(rng.random(1000) < 0.5, days, rng.uniform(3, days, 1000))
            stratum, has = rng.integers(0, 3, 1000), rng.permutation(1000) < 40
            sides = [
                [group(np.minimum(life, view)[m], (life <= view)[m].astype(int)) for m in pair]
                for pair in ((has & (stratum == j), ~has & (stratum == j)) for j in range(3))
            ]
            until = [stats.supported_until(g.steps) for pair in sides for g in pair]
            day = min(days, np.nanmin(until))
            pairs = [tuple(pair) for pair in sides if min(g.n_users for g in pair) >= 10]
            pvalue[k] = [of(pairs, day).pvalue for of in (compare_days, compare_shares)]
        truth = f"idle signal of 40 of 1,000 users, {share:.0%} activate"
        rows += [
            rejections(name, truth, p)
            for name, p in zip(
                ("Days with and without a signal", "Share with and without"), pvalue.T
            )
        ]
    return rows


def idle_segments(n: int) -> list[Row]:
    """Five segments of 60 to 800 users that do not differ, against a sixth: how many are named."""
    rng, named, holds = np.random.default_rng(32), np.zeros(n), np.zeros(n)
    for k in range(n):
        groups = []
        for size in (800, 60, 120, 250, 500, 800):
            life, view = rng.exponential(40, size), rng.uniform(5, 120, size)
            groups.append(group(np.minimum(life, view), (life <= view).astype(int)))
        found = [
            compare_days([(g, groups[0])], min(60, *(stats.supported_until(x.steps) for x in pair)))
            for g in groups[1:]
            for pair in [(g, groups[0])]
        ]
        q = stats.fdr(np.array([f.pvalue for f in found]))
        clear = [f.low * f.high > 0 for f in found]
        named[k] = np.mean((q < 0.05) & clear)
        holds[k] = logrank(groups).pvalue
    truth = "five segments of 60 to 800 users, no difference"
    most = 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / n)
    return [
        Row("Segments named", truth, float(named.mean()), 0.0, most),
        Row("Any segment named", truth, float((named > 0).mean()), 0.0, most),
        rejections("Log-rank of all segments", truth, holds),
    ]


def waits_so_far(n: int) -> list[Row]:
    """500 users of the last fortnight and a few of long ago, waits of 40 days on average.

    Coverage of share and mean at the day to which the curve may be read. With 15, on whose word
    everything beyond the fortnight stands, the mean's interval covers in 88 % and is not shown.
    """
    rows = []
    for n_old in (1, 9, 15, 30):
        rng, hits = np.random.default_rng(n_old), np.zeros((n, 2), bool)
        for k in range(n):
            life = rng.exponential(40, 500 + n_old)
            view = np.where(np.arange(len(life)) < 500, 14.0, 120.0)
            g = group(np.minimum(life, view), (life <= view).astype(int))
            day = min(90.0, stats.supported_until(g.steps))
            hits[k, 0] = within(1 - np.exp(-day / 40), g.rate(day)[1:])
            mean, se = g.mean(day)
            hits[k, 1] = abs(mean - 40 * (1 - np.exp(-day / 40))) <= stats.Z * se
        truth = f"500 users seen for 14 days, {n_old} for 120"
        rows += [
            coverage(f"{what} where the curve may be read", truth, h)
            for what, h in zip(("Share", "Restricted mean"), hits.T)
            if n_old != 15 or what == "Share"
        ]
    return rows


def false_discoveries(n: int) -> list[Row]:
    """200 segments without, 20 with a difference of three standard errors; q-values below 10 %."""
    rng, shares = np.random.default_rng(6), np.zeros(n)
    for k in range(n):
        z = rng.normal(np.repeat([0.0, 3.0], [200, 20]))
        found = stats.fdr(2 * ndtr(-np.abs(z))) < 0.1
        shares[k] = found[:200].sum() / max(found.sum(), 1)
    return [
        Row(
            "Benjamini-Hochberg, false discovery rate",
            "200 nulls, 20 at 3 standard errors",
            float(shares.mean()),
            0.0,
            0.11,
        )
    ]


def support(n: int) -> list[Row]:
    """500 users of the last fortnight, exponential waits of 40 days, beside a few of long ago.

    These are all there early, or one of them still waits: the share that is told is that within the
    14 days told with it, not within the window of 90.
    """
    rng, rows = np.random.default_rng(21), []
    rule = Rule(2, 90, "ordered", (), (), (), False, (), 1, (), ())  # a tick is a day
    for truth, old, there in (("15 early ones", 15, True), ("one who waits", 1, False)):
        hits, told = np.zeros(n, bool), np.zeros(n)
        for k in range(n):
            wait = np.ceil(rng.exponential(40, 500)).astype(int)
            wait = np.r_[wait, np.ceil(rng.uniform(0, 10, old)) if there else [91] * old]
            seen = np.repeat([14, 90], [500, old])
            ticks, ends = np.minimum(wait, seen), (wait <= seen, seen == 90)
            users = [ends[0], np.zeros(len(wait)), ~ends[0] & ends[1], ~ends[0] & ~ends[1]]
            waits = Waits(ticks.astype(int), *(end.astype(int) for end in users))
            n_there = int(ends[0].sum())
            n_old = [old, old if there else 0], [500, 500]
            nobody = Clusters(None)
            counts = Counts([500 + old, n_there], [0, 0], *n_old, [waits] * 2, [waits] * 2, nobody)
            last = step_rows(counts, "all", ["start", "active"], rule)[-1]
            told[k] = last["conversion_rate"] == last["conversion_rate"]
            days = last["horizon_days"] * 86_400e6
            # all that is known of the old ones is part of the truth
            share = (500 * (1 - np.exp(-days / 40)) + (wait[500:] <= days).sum()) / (500 + old)
            hits[k] = days == 14 and within(
                share, (last["horizon_rate_ci_lower"], last["horizon_rate_ci_upper"])
            )
        truth = f"500 users seen for 14 days and {truth}"
        rows.append(coverage("Share so far, within the days told", truth, hits))
        rows.append(Row("Share of the whole window told", truth, float(told.mean()), 0.0, 0.0))
    return rows


def named_segments(n: int) -> list[Row]:
    """Segments of 60 to 400 users of which none differs, or one by 12 points: what is named."""
    rng, rows = np.random.default_rng(22), []
    for n_segments, effect in ((2, 0.0), (5, 0.0), (5, 0.12)):
        size = rng.integers(60, 400, (n, n_segments))
        size[:, 0] = 300
        p = rng.binomial(size, 0.3 + effect * (np.arange(n_segments) == 0)) / size
        total = size.sum(axis=1)
        size = np.c_[total, size]
        p = np.c_[(size[:, 1:] * p).sum(axis=1) / total, p]
        table = pd.DataFrame(
            {
                "segment": np.tile(["all", *(f"s{i}" for i in range(n_segments))], n),
                "step": np.repeat(np.arange(n) + 2, n_segments + 1),  # a data set a step
                "n_entered": size.ravel(),
                "conversion_rate": p.ravel(),
                "n_effective": size.ravel().astype(float),
            }
        )
        rows += _named(
            against_others(table).assign(world=table["step"], own=table["segment"] == "s0"),
            "difference_rate",
            f"Segment against the others, {n_segments} of them",
            effect,
        )
    return rows


def named_drivers(n: int) -> list[Row]:
    """Random splits of 600 users in one stratum or three, of which none differs, or one does."""
    rng, rows = np.random.default_rng(23), []
    for n_splits, n_strata, effect in ((1, 1, 0.0), (12, 3, 0.0), (12, 3, 0.16)):
        found = []
        for world in range(n):
            stratum = rng.integers(0, n_strata, 600)
            sides = rng.random((n_splits, 600)) < 0.5
            on = rng.random(600) < 0.3 + 0.1 * stratum / n_strata + effect * sides[0]
            counted = []
            for who, names in (
                (sides, [f"d{i}" for i in range(n_splits)]),
                (sides[:1] | True, ["all"]),
            ):
                cell = np.arange(len(who))[:, None] * n_strata + stratum
                cells = {"driver": np.repeat(names, n_strata), "bucket": 0}
                cells |= {"stratum": np.tile(np.arange(n_strata), len(who))}
                for column, some in (("n_users", who), ("n_on", who & on)):
                    cells[column] = np.bincount(cell[some], minlength=len(who) * n_strata)
                counted.append(pd.DataFrame(cells))
            names = [f"d{i}" for i in range(n_splits)]
            tested = compare("segment", *counted, names, np.nan)[0]
            found.append(surest_first([tested], np.nan).assign(world=world))
        table = pd.concat(found)
        rows += _named(
            table.assign(own=table["driver"] == "d0"),
            "adjusted_difference_rate",
            f"Driver, {n_splits} of them, {n_strata} strata",
            effect,
        )
    return rows


def _named(table: pd.DataFrame, rate: str, what: str, effect: float) -> list[Row]:
    """Data sets in which anything is named although nothing differs; those in which it is found.

    And how often the interval beside a name holds no effect: never.
    """
    own = table[table["own"]] if effect else table
    share = float(own.groupby("world")["differs"].any().mean())
    ends = table[table["differs"]]
    over = float((ends[f"{rate}_ci_lower"] * ends[f"{rate}_ci_upper"] <= 0).sum())
    n = table["world"].nunique()
    limits = (0.5, 1.0) if effect else (0.0, 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / n))
    truth = f"one by {100 * effect:.0f} points" if effect else "none differs"
    return [
        Row(f"{what}, named", truth, share, *limits),
        Row(f"{what}, named with an interval over 0", truth, over, 0.0, 0.0),
    ]


def placebo_dates(n: int) -> list[Row]:
    """Exchangeable noise without a change: how often the real date is among the most extreme."""

    def welch(weeks):
        y, after = weeks["y"].to_numpy(), weeks.index.to_numpy() >= 0
        a, b = y[after], y[~after]
        apart = abs(a.mean() - b.mean()) / np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        weights = after / len(a) - ~after / len(b)
        return cf.Estimate(0, 0, 0, -apart, y, y, y, 0, 0.0, weights, np.eye(len(y)))

    rng, rows = np.random.default_rng(3), []
    for n_pre in (50, 100):
        rank = np.zeros(n, int)
        for k in range(n):
            weeks = weeks_of(rng.normal(size=n_pre + 8), n_pre)
            own, tried = (
                welch(weeks),
                [p for _, p in cf.placebo_dates(weeks, welch, min_pre=12, min_post=6, wanted=20)],
            )
            rank[k] = sum(p.pvalue <= own.pvalue for p in tried)
        pvalues = cf.placebo_pvalues(
            own, tried
        )  # the same for all: the dates' weights do not depend on the noise
        level = float(
            pvalues[pvalues <= 0.05].max(initial=pvalues[0])
        )  # 5 %, or the smallest there is
        rows.append(
            rejections(
                "Placebo dates",
                f"exchangeable noise, {n_pre} weeks before, 8 after, p of {level:.3f} or less",
                pvalues[rank] - 1e-9,
                level,
            )
        )
    return rows


def money(n: int) -> list[Row]:
    """Fieller's sets of a ratio; an unbounded one may leave out a stretch in its middle."""
    rows = []
    for cv in (0.05, 0.2, 0.35):
        rng = np.random.default_rng(int(100 * cv))
        value, cost = rng.normal(150, 20, n), rng.normal(100, 100 * cv, n)
        beside = (value - 1.5 * cost) ** 2 > stats.Z**2 * (20**2 + 1.5**2 * (100 * cv) ** 2)
        ends = [stats.fieller(v, 20**2, c, (100 * cv) ** 2, stats.Z) for v, c in zip(value, cost)]
        rows.append(
            coverage(
                "Fieller",
                f"cost known to {100 * cv:.0f} %",
                np.array(
                    [
                        not out if np.isnan(low) else low <= 1.5 <= high
                        for (low, high), out in zip(ends, beside)
                    ]
                ),
            )
        )
    return rows


def alerts(n: int) -> list[Row]:
    """12 quiet metrics over 60 weeks, in four kinds of worlds; falls of 15 % that can be seen.

    A twentieth of ``n`` worlds of each kind: a world holds some 600 weeks of metrics.
    """
    few = max(n // 20, 20)
    each, weeks = false_alarms(few)
    rows = [
        Row(
            "Weekly alert, false ones a metric and week",
            "variance 1, 2 and 4 x, seasons of 6 and 12 %, trends, growth, a holiday",
            each,
            0.0,
            0.0065,
        ),
        Row("Weekly alert, weeks with any of 12", "the same", weeks, 0.0, 0.08),
    ]
    for kind in ({}, {"phi": 2}, {"phi": 4}, {"trend": -0.004, "growth": 0.005}):
        truth = f"a fall of 15 % that is called detectable, variance {kind.get('phi', 1)} x"
        truth += ", a trend and growth" * ("trend" in kind)
        share = found_in_time(5 * few, **kind)
        rows.append(Row("Weekly alert, found within two weeks", truth, share, 0.85, 1.0))
    return rows


def detectable_falls(n: int) -> list[Row]:
    """A fall of nine and of eleven tenths of what is printed: found less and more than 8 in 10.

    Under a trend it is relative to the forecast of the line.
    """
    rows = []
    for kind in ({}, {"phi": 2, "trend": -0.005}, {"phi": 2, "trend": 0.006}):
        truth = f"variance {kind.get('phi', 1)} x, trend {100 * kind.get('trend', 0):+.1f} % a week"
        for times, low, high in ((0.9, 0.5, 0.8), (1.1, 0.8, 1.0)):
            share = found_at_once(n, times, **kind)
            what = f"Found in its week: {times} x the detectable fall"
            rows.append(Row(what, truth, share, low, high))
    return rows


def slowness(n: int) -> list[Row]:
    """A fall of 20 a day for a week before it is noticed, noise with rho 0.3."""
    noise, hits = 5 * ar1(np.random.default_rng(8), (n, 24), 0.3), np.zeros(n, bool)
    for k, e in enumerate(noise):
        weeks = pd.DataFrame(
            {"value": 200 + np.arange(24) + e - 20 * (np.arange(24) >= 17), "n": 7.0},
            index=np.arange(24) - 17,
        )
        fit = trend_and_gaps(weeks)
        lost, se, _ = fit.contrast(np.r_[0, 0, -7, np.zeros(6)])
        hits[k] = abs(lost - 140) <= stdtrit(fit.df, 0.975) * se
    return [coverage("Loss until noticed", "20 a day for a week", hits)]


ALL = (
    wilson,
    newcombe,
    clustered_rate,
    buckets,
    kaplan_meier,
    exits,
    hazards,
    accounts,
    early_signal,
    small_sides,
    idle_segments,
    waits_so_far,
    false_discoveries,
    support,
    named_segments,
    named_drivers,
    placebo_dates,
    money,
    slowness,
    alerts,
    detectable_falls,
    *calibration_arms.ALL,
    *calibration_attribution.ALL,
    *calibration_audit.ALL,
    *calibration_roi.ALL,
    *calibration_scorecard.ALL,
    *calibration_signals.ALL,
)  # a new estimator: one function, one name here


def main() -> None:
    """Print the table and write its page; exit code 1 when a line does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000, help="data sets a line")
    n = parser.parse_args().n
    with ProcessPoolExecutor() as pool:  # functions share nothing, each has a seed of its own
        rows = [row for found in pool.map(methodcaller("__call__", n), ALL) for row in found]
    print(
        pd.DataFrame(
            [
                {
                    "estimator": r.estimator,
                    "truth": r.truth,
                    "measured": f"{r.measured:.3f}",
                    "target": f"{r.low:.3f} to {r.high:.3f}",
                    "verdict": "holds" if r.holds else "FAILS",
                    "beside": r.beside,
                }
                for r in rows
            ]
        ).to_string(index=False)
    )
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page_of(rows, n), "utf-8")
    print(f"\n{PAGE}")
    raise SystemExit(not all(r.holds for r in rows))


if __name__ == "__main__":
    main()
