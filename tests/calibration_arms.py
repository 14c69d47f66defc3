"""Randomised arms, how long to wait: lines of the table of `tests.calibration`."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.roi import estimators as cf
from mctlib.roi import segments as several
from mctlib.roi.arms import Side, of_means, of_shares
from mctlib.roi.experiment import effect_row
from mctlib.roi.power import detectable, more_weeks, weeks_to_wait
from tests.support.calibration import Row, coverage, rejections, within
from tests.support.clusters import UNLIKE
from tests.support.series import ar1, weeks_of


def known_users(n: int) -> list[Row]:
    """200 users an arm whose counts before and after correlate by 0.6."""
    rng, hits, ratio = np.random.default_rng(5), np.zeros(n, bool), np.zeros(n)
    for k in range(n):
        x = rng.normal(size=(2, 200))
        y = 0.6 * x + 0.8 * rng.normal(size=(2, 200)) + np.array([[0.0], [0.3]])
        found = effect_row(
            *(Side(pd.DataFrame({"before": x[i], "after": y[i], "n_users": 1})) for i in (1, 0))
        )
        hits[k] = within(0.3, (found["effect_ci_lower"], found["effect_ci_upper"]))
        ratio[k] = found["variance_ratio"]
    return [
        coverage("Arms, adjusted", "lift 0.3, correlation 0.6", hits),
        Row(
            "Arms, variance ratio - (1 - rho squared)",
            "the same",
            float(ratio.mean() - 0.64),
            -0.02,
            0.02,
        ),
    ]


def new_users(n: int) -> list[Row]:
    """Users of 28 days, seen until day 28, 80 : 20; waits of some days, a window of ten."""
    rng, rows = np.random.default_rng(6), []
    for lift in (0.0, 0.08):
        hits, pvalue = np.zeros((2, n), bool), np.zeros((2, n))
        for k in range(n):
            new = rng.random(1200) < 0.8
            ever = rng.random(1200) < np.where(new, 0.2 + lift, 0.2)
            wait = np.where(ever, rng.exponential(3, 1200), np.inf)
            follow = np.minimum(rng.uniform(0, 28, 1200), 10)
            reached, day = wait <= follow, np.minimum(wait, follow)
            waits = pd.DataFrame({"ticks": (1000 * day).astype(int), "n_reached": reached})
            waits["n_waiting"] = ~reached
            closed = pd.DataFrame({"before": 0, "after": reached, "n_users": 1})[follow == 10]
            shares = of_shares(*(Side(closed, waits[m]) for m in (new, ~new)), 10_000)
            often = rng.poisson(rng.exponential(1.5 + np.where(new, lift, 0)))
            closed["after"] = often[follow == 10]
            means = of_means(*(Side(closed[m[follow == 10]]) for m in (new, ~new)))
            truth = lift * (1 - np.exp(-10 / 3)), lift
            for i, (found, true) in enumerate(zip((shares, means), truth)):
                hits[i, k], pvalue[i, k] = within(true, found[1:3]), found.pvalue
        told = f"new users, 80 : 20, lift {lift:g}, a third pending"
        rows += [coverage(f"Arms, {w}", told, h) for w, h in zip(("shares", "means"), hits)]
        if not lift:
            rows += [rejections(f"Arms, {w}", told, p) for w, p in zip(("shares", "means"), pvalue)]
    return rows


def arms_of_accounts(n: int) -> list[Row]:
    """60 accounts of 1 to 119 users, correlation .1, rate .3, 70 : 30; and what they did before."""
    rng, rows = np.random.default_rng(7), []
    account = np.arange(60).repeat(UNLIKE)
    for unit, size in (("user by user", len(account)), ("account by account", 60)):
        hits, pvalue = np.zeros((2, n), bool), np.zeros((2, n))
        for k in range(n):
            new = rng.random(size) < 0.7
            new = new if size > 60 else new[account]
            keen = rng.beta(0.3 * 9, 0.7 * 9, 60)[account]
            counts = pd.DataFrame(
                {
                    "cluster": account,
                    "before": rng.random(len(account)) < keen,
                    "after": rng.random(len(account)) < keen,
                    "n_users": 1,
                }
            ).astype(int)
            keys = ["cluster", "before", "after"]
            sides = [
                Side(counts[m].groupby(keys, as_index=False)["n_users"].sum()) for m in (new, ~new)
            ]
            for i, found in enumerate(
                (
                    of_shares(*sides, 0, n_accounts=60),
                    of_means(*sides, adjust=True, n_accounts=60),
                )
            ):
                hits[i, k], pvalue[i, k] = within(0, found[1:3]), found.pvalue
        told = f"60 accounts of 1 to 119, drawn {unit}"
        for i, what in enumerate(("shares by account", "means by account, adjusted")):
            known = ~np.isnan(pvalue[i])
            rows += [
                coverage(f"Arms, {what}", told, hits[i, known]),
                rejections(f"Arms, {what}", told, pvalue[i, known]),
            ]
    return rows


def correlated_cost(n: int) -> list[Row]:
    """Fieller's sets of a gain and a cost that go along or against each other."""
    rows = []
    for rho in (-0.8, 0.8):
        rng = np.random.default_rng(9)
        one, other = rng.normal(size=(2, n))
        value, cost = 150 + 20 * one, 100 + 20 * (rho * one + np.sqrt(1 - rho**2) * other)
        ends = np.array(
            [
                stats.fieller(v, 20**2, c, 20**2, stats.Z, covariance=rho * 20**2)
                for v, c in zip(value, cost)
            ]
        )
        hits = (ends[:, 0] <= 1.5) & (ends[:, 1] >= 1.5)
        told = f"cost known to 20 %, correlation {rho} with the gain"
        rows.append(coverage("Fieller", told, hits[np.isfinite(ends[:, 0])]))
    return rows


Found = tuple[float, float, float, float]  # effect, standard error, degrees of freedom, rho


def line(y: np.ndarray, n_pre: int) -> Found:
    """An interrupted series."""
    found = cf.against_trend(weeks_of(y, n_pre)).widened(n_pre)
    return found.effect, found.se, found.df, found.rho


def level(y: np.ndarray, n_pre: int) -> Found:
    """A gap between two sides."""
    found = cf.against_level(weeks_of(y, n_pre))
    return found.effect, found.se, found.df, found.rho


def by_segment(y: np.ndarray, n_pre: int) -> Found:
    """6 + 14 segments."""
    change = y[:, n_pre:].mean(axis=1) - y[:, :n_pre].mean(axis=1)
    treated = np.arange(len(y)) < 6
    se, df = several.apart(change, np.where(treated, 1 / 6, 1 / 14), treated)
    return change[treated].mean() - change[~treated].mean(), se, df, 0.3


def outlook(n: int) -> list[Row]:
    """How often the effect is shown that typical weeks are said to detect with a power of 80 %.

    And one of three quarters of it after the further weeks that it is said to take. Where weeks
    resemble each other their error comes out a little too small, and the power with it.
    """
    return [
        *of_weeks(n, line, 52, 0.0),
        *of_weeks(n, line, 26, 0.3),
        *of_weeks(n, level, 26, 0.3),
        *of_weeks(n, by_segment, 26, 0.3),
        *of_more_users(n),
    ]


def of_weeks(n: int, ask: Callable[[np.ndarray, int], Found], n_pre: int, rho: float) -> list[Row]:
    """Of one way to compare, 8 weeks after the change."""
    shape = (20,) if ask is by_segment else ()

    def asked(n_post: int, effect: float) -> np.ndarray:
        noise = ar1(np.random.default_rng(n_pre), (n, *shape, n_pre + n_post), rho)
        changed = noise[:, :6] if shape else noise
        changed[..., n_pre:] += effect
        return np.array([ask(y, n_pre) for y in noise]).T

    def shown(found: np.ndarray) -> float:
        return float((stats.t_pvalue(*found[:3]) < 0.05).mean())

    _, se, df, rhos = asked(8, 0.0)
    reach = float(np.median([detectable(*each) for each in zip(se, df)]))
    name, told = ask.__doc__.rstrip("."), f"{n_pre} weeks before, 8 after, rho {rho}"
    power = shown(asked(8, reach))
    rows = [Row(f"{name}, power of what is detectable", told, power, 0.65, 0.9)]
    if ask is not line:  # of which later weeks tell ever less
        each = zip(se, df, rhos)
        waits = [weeks_to_wait(s, d, n_pre, 8, 0.75 * reach, rho=r) for s, d, r in each]
        more = int(np.median(waits))
        power, told = shown(asked(8 + more, 0.75 * reach)), f"{told}, and {more} more"
        rows.append(Row(f"{name}, power after the weeks to wait", told, power, 0.65, 0.9))
    return rows


def of_more_users(n: int) -> list[Row]:
    """New users of four weeks, a rate of 30 %, and of the weeks that half the effect takes."""
    rng = np.random.default_rng(3)

    def shown(n_users: int, lift: float) -> tuple[float, float]:
        k = rng.binomial(n_users, [0.3 + lift, 0.3], (n, 2))
        found = stats.mantel_haenszel(
            k[:, :1], np.full((n, 1), n_users), k[:, 1:], np.full((n, 1), n_users)
        )
        se = np.median((found.high - found.low) / 2 / stats.Z)
        return float((found.pvalue < 0.05).mean()), float(se)

    reach = detectable(shown(1000, 0.0)[1])
    weeks = 4 + more_weeks(reach, reach / 2, 4)
    return [
        Row(
            "Arms, power of what is detectable",
            "2 x 1,000 users",
            shown(1000, reach)[0],
            0.75,
            0.85,
        ),
        Row(
            "Arms, power after the weeks to wait",
            f"2 x 250 users a week, {weeks:.0f} weeks",
            shown(int(250 * weeks), reach / 2)[0],
            0.75,
            0.85,
        ),
    ]


ALL = (known_users, new_users, arms_of_accounts, correlated_cost, outlook)
