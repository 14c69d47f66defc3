"""What signals promise, on worlds of `tests.support.signals`.

A cause, and what only looks good or bad by immortal time, activity or reverse causation; with
users alone and in accounts.

A quarter of the data sets that are asked for, but for `ratios`: each is a whole log, and null tests
are five a log. First place, false signals and false positives have the promised shares as their
bands, without room for chance.
"""

import numpy as np
import pandas as pd

from mctlib import signal_value, stats
from mctlib.signals.alike import Cells, of_signal, sides_of, standardised
from mctlib.signals.parting import parted
from tests.support.calibration import Row, at_least, at_most, coverage
from tests.support.signals import world

NAMES = ["cause", "harm", "visit", "page", "asked", "dummy"]
NULLS = ("visit", "page", "dummy", "harm")
ASK = {"horizon": "60d", "as_of": "2025-06-30", "start": "start", "landmark": "7d"}


def signals(n: int) -> list[Row]:
    """3,000 users, risk ratio 2 of the cause; alone, and in 60 accounts whose users are alike."""
    rows = []
    for where, accounts in (("users alone", 0), ("60 accounts", 60)):
        tables = [_table(seed, accounts, 2.0) for seed in range(n // 4)]
        first = np.array([table.index[0] == "cause" for table in tables])
        called = np.array([table.loc["cause", "verdict"] == "signal" for table in tables])
        truth = f"{where}, ratio 2 of the cause"
        rows.append(Row("the causal signal is first", truth, float(first.mean()), 0.95, 1.0))
        rows.append(at_least("the causal signal is called one", truth, called, 0.95))
        held = np.array([_holds(table.loc["cause"], 2.0) for table in tables])
        rows.append(coverage("ratio among like users", truth, held))
        for name in (*NULLS, "asked"):
            named = np.array([table.loc[name, "verdict"] == "signal" for table in tables])
            naive = np.mean([table.loc[name, "naive_risk_ratio_ci_lower"] > 1 for table in tables])
            share, beside = float(named.mean()), f"plainly good in {naive:.0%}"
            rows.append(Row(f"{name} called a signal", truth, share, 0.0, 0.05, beside))
    return rows


def null_tests(n: int) -> list[Row]:
    """False positives at 5 % of the ratio among like users, where nothing is a cause."""
    rows = []
    for where, accounts in (("users alone", 0), ("60 accounts", 60)):
        tables = [_table(1000 + seed, accounts, 1.0) for seed in range(n // 4)]
        found = np.array([table.loc[["cause", *NULLS], "pvalue"] < 0.05 for table in tables])
        share, truth = float(found.mean()), f"{where}, no cause"
        rows.append(Row("landmark test, false positives", truth, share, 0.035, 0.065))
        held = [_holds(table.loc[name], 1.0) for table in tables for name in ("cause", "dummy")]
        rows.append(coverage("ratio among like users", f"{where}, 1", np.array(held)))
    return rows


def ratios(n: int) -> list[Row]:
    """The interval of the ratio at as many data sets as are asked for, without a log around it."""
    rows = []
    for where, accounts in (("users alone", 0), ("60 accounts", 60)):
        for ratio in (1.0, 2.0):
            found = [_ratio(seed, accounts, ratio) for seed in range(n)]
            held = np.array([low <= ratio <= high for _, low, high in found])
            rows.append(coverage("ratio among like users", f"{where}, {ratio:.0f}, no log", held))
    return rows


def _ratio(seed: int, accounts: int, ratio: float) -> stats.Estimate:
    """3,000 users of three plans, six months and five levels of activity, as `world` has them."""
    rng, n = np.random.default_rng([6, seed]), 3000
    kinds = {"stratum": rng.integers(3, size=n), "cohort": rng.integers(6, size=n)}
    kinds["activity"] = np.minimum(rng.poisson(0.7, n), 4)
    account = rng.integers(accounts, size=n) if accounts else np.arange(n)
    odds = np.exp(rng.normal(0, 0.6 if accounts else 0, (2, accounts or n)))[:, account]
    had = rng.random(n) < odds[1] / (3 + odds[1])
    share = 0.15 * odds[0] / (0.85 + 0.15 * odds[0]) * np.array([0.3, 0.5, 0.8])[kinds["stratum"]]
    good = rng.random(n) < np.minimum(share * np.where(had, ratio, 1.0), 0.95)
    users = pd.DataFrame(kinds | {"bucket": account % 100, "n_users": 1, "sum_outcome": good})
    users = users.assign(n_users_0=had, sum_outcome_0=good & had)
    table = users.groupby([*kinds, "bucket"], as_index=False).sum()
    cells = Cells(table, pd.DataFrame({"stratum": range(3), "plan": list("abc")}), ["plan"])
    sides = sides_of(cells, of_signal(table, 0))
    return standardised(sides, float(accounts or np.nan), True).ratio


def partings(n: int) -> list[Row]:
    """Three teams' definitions over twelve months, of which none moved, or one rose, or two."""
    rows = []
    for where, moved, best in (
        ("none moves", [0, 0, 0], ""),
        ("the first rises from month 8 on", [0.09, 0, 0], ""),
        ("the first rises from month 8 on, the third is best", [0.09, 0, 0], "c"),
    ):
        for accounts in (0, 60):
            told = [
                len(parted(_teams(s, moved, accounts), "abc", accounts or np.nan, best)) > 0
                for s in range(n // 4)
            ]
            truth = f"{where}, {accounts or 'no'} accounts"
            rows.append(at_most("definitions said to part", truth, np.array(told)))
    found = [
        set(parted(_teams(s, [0.09, 0, -0.04], 60), "abc", 60)["team"]) == set("ac")
        for s in range(n // 4)
    ]
    truth = "the first rises by 9 points, the third falls by 4"
    rows.append(Row("definitions said to part", truth, float(np.mean(found)), 0.8, 1.0))
    return rows


def _teams(seed: int, moved: list[float], accounts: int) -> pd.DataFrame:
    """24,000 users of twelve months; from the eighth on teams' shares are so much higher."""
    rng, n = np.random.default_rng([5, seed]), 24_000
    month, account = rng.integers(12, size=n), rng.integers(accounts or n, size=n)
    lean = rng.normal(0, 0.04 if accounts else 0, (3, accounts or 1))
    had = np.zeros(n, int)
    for k, (share, more) in enumerate(zip((0.3, 0.15, 0.22), moved)):
        rate = share + more * (month >= 7) + lean[k, account if accounts else 0]
        had |= (rng.random(n) < rate) << k
    table = pd.DataFrame({"had": had, "cohort": month, "bucket": account % 100})
    return table.value_counts().rename("n_users").reset_index()


def _holds(row, truth: float) -> bool:
    return bool(row["risk_ratio_ci_lower"] <= truth <= row["risk_ratio_ci_upper"])


def _table(seed: int, accounts: int, cause: float):
    log = world(seed, users=3000, accounts=accounts, cause=cause)
    return signal_value(log, NAMES, "renewed", **ASK, adjust="plan").signals.set_index("signal")


ALL = (signals, ratios, null_tests, partings)
