"""What signals promise, on worlds of `tests.support.signals`.

A cause, a harm, and what only looks good by immortal time, activity or reverse causation; with
users alone and in accounts.

A quarter of the data sets that are asked for: each is a whole log, and null tests are five a log.
"""

import numpy as np

from mctlib import signal_value
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
        rows.append(at_least("the causal signal is first", truth, first, 0.95))
        rows.append(at_least("the causal signal is called one", truth, called, 0.95))
        held = np.array([_holds(table.loc["cause"], 2.0) for table in tables])
        rows.append(coverage("ratio among like users", truth, held))
        for name in (*NULLS, "asked"):
            named = np.array([table.loc[name, "verdict"] == "signal" for table in tables])
            naive = np.mean([table.loc[name, "naive_risk_ratio_ci_lower"] > 1 for table in tables])
            beside = f"plainly good in {naive:.0%}"
            rows.append(_beside(at_most(f"{name} called a signal", truth, named), beside))
    return rows


def null_tests(n: int) -> list[Row]:
    """False positives at 5 % of the ratio among like users, where nothing is a cause."""
    rows = []
    for where, accounts in (("users alone", 0), ("60 accounts", 60)):
        tables = [_table(1000 + seed, accounts, 1.0) for seed in range(n // 4)]
        found = np.array([table.loc[["cause", *NULLS], "pvalue"] < 0.05 for table in tables])
        wide = max(0.015, 2.5 * np.sqrt(0.05 * 0.95 / found.size))
        share, truth = float(found.mean()), f"{where}, no cause"
        rows.append(Row("landmark test, false positives", truth, share, 0.05 - wide, 0.05 + wide))
        held = [_holds(table.loc[name], 1.0) for table in tables for name in ("cause", "dummy")]
        rows.append(coverage("ratio among like users", f"{where}, 1", np.array(held)))
    return rows


def _beside(row: Row, words: str) -> Row:
    return Row(row.estimator, row.truth, row.measured, row.low, row.high, words)


def _holds(row, truth: float) -> bool:
    return bool(row["risk_ratio_ci_lower"] <= truth <= row["risk_ratio_ci_upper"])


def _table(seed: int, accounts: int, cause: float):
    log = world(seed, users=3000, accounts=accounts, cause=cause)
    return signal_value(log, NAMES, "renewed", **ASK, adjust="plan").signals.set_index("signal")


ALL = (signals, null_tests)
