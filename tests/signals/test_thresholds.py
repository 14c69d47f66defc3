"""Thresholds: counts by hand, a planted one, and how often a search finds what is not there."""

import numpy as np
import pandas as pd
import pytest

from mctlib import scan_thresholds
from mctlib.contract import ParameterError, interval_columns
from mctlib.signals.narrative import worth
from tests.support.logs import log_of, people_of

ASK = {"horizon": "40d", "as_of": "2026-12-31", "start": "start"}


def crowd(seed, effect, n=1500, days=100, accounts=0):
    """Users who begin over some days and act 0 to 8 times in their first week; those with 3 or more
    win oftener by ``effect``."""
    rng = np.random.default_rng(seed)
    began, acts = rng.uniform(0, days, n), rng.integers(0, 9, n)
    won = rng.random(n) < 0.2 + effect * (acts >= 3)
    rows = [(f"u{i}", "start", began[i]) for i in range(n)]
    rows += [
        (f"u{i}", "act", began[i] + day) for i in range(n) for day in rng.uniform(0, 7, acts[i])
    ]
    rows += [(f"u{i}", "won", began[i] + 35) for i in np.flatnonzero(won)]
    tables = {"people": people_of(n, account_id=np.arange(n) % accounts)} if accounts else {}
    return log_of(rows, unit="D", since="2025-01-01", **tables), acts


def test_a_planted_threshold_is_found_and_holds_for_later_users():
    log, acts = crowd(1, 0.3)
    result = scan_thresholds(log, "act", "won", **ASK)
    table = result.thresholds.set_index(["at_least", "within_days"])
    assert table.loc[(3, 7), "n_exposed"] == (acts >= 3).sum()
    assert table.loc[(3, 30), ["n_exposed", "n_unexposed"]].to_list() == [
        (acts >= 3).sum(),
        (acts < 3).sum(),
    ]
    best = result.thresholds[result.thresholds["best"]]
    assert len(best) == 1, "of those that sort users alike the shortest"
    assert (best["at_least"] == 3).all() and (best["pvalue"] < 0.01).all()
    row = best.iloc[0]
    assert row["late_difference_rate_ci_lower"] < 0.3 < row["late_difference_rate_ci_upper"]
    assert result.finding.startswith("Users with 3 or more “act” in ")


def test_of_few_accounts_nothing_can_be_tried():
    log, _ = crowd(1, 0.3, 600, accounts=9)
    result = scan_thresholds(log, "act", "won", **ASK)
    assert result.thresholds.empty
    assert result.finding == "No threshold of “act” can be tried: too few users or accounts."


@pytest.mark.parametrize(("days", "one_month"), [(20, True), (100, False)])
def test_where_no_later_users_are_known_it_is_said(days, one_month):
    log, _ = crowd(1, 0.3, 300, days=days)
    told = scan_thresholds(log, "act", "won", **ASK).details[0]
    assert ("all began in one month" in told) == one_month and "nan" not in told
    assert "(p below 0.001, the search allowed for)" in told


@pytest.mark.parametrize(
    ("early", "late", "said"),
    [
        (0.1, 0.04, "look 6.0 points too strong"),
        (-0.1, -0.04, "look 6.0 points too strong"),
        (-0.1, -0.12, "which is 2.0 points stronger"),
        (0.1, -0.02, "look 12.0 points too strong"),
    ],
)
def test_what_the_search_added_is_told_in_the_direction_of_the_best(early, late, said):
    ends = interval_columns("early_difference_rate", early, np.nan, np.nan)
    ends |= interval_columns("late_difference_rate", late, np.nan, np.nan)
    assert worth(pd.Series(ends)).endswith(said)


def test_one_that_turns_round_does_not_hold():
    """Who acts wins oftener if they began by day 75, later less often."""
    rng = np.random.default_rng(2)
    n = 3000
    began, acts = rng.uniform(0, 120, n), rng.random(n) < 0.5
    won = rng.random(n) < 0.3 + 0.15 * acts * np.where(began > 75, -1, 1)
    rows = [(f"u{i}", "start", began[i]) for i in range(n)]
    rows += [(f"u{i}", "act", began[i] + 1) for i in np.flatnonzero(acts)]
    rows += [(f"u{i}", "won", began[i] + 35) for i in np.flatnonzero(won)]
    log = log_of(rows, unit="D", since="2025-01-01")
    result = scan_thresholds(log, "act", "won", **ASK)
    best = result.thresholds[result.thresholds["best"]].iloc[0]
    assert best["pvalue"] < 0.05 and best["late_difference_rate_ci_upper"] < 0
    assert result.finding.startswith("No threshold of “act” holds: the best, 1 or more “act” in ")
    assert result.finding.endswith("days, turns round for later users.")
    assert result.tells["thresholds"].endswith("no threshold holds")


def test_what_cannot_be_made_alike_is_said():
    log, _ = crowd(1, 0.3, 300)
    said = str(scan_thresholds(log, "act", "won", **ASK).caveats)
    assert "Activity could not be made alike" in said


def test_a_search_among_nothing_says_so():
    """Of 8 data sets without an effect a plain test of the best of all finds one too often."""
    called, plain = 0, 0
    for seed in range(8):
        log, _ = crowd(100 + seed, 0.0, 600)
        table = scan_thresholds(log, "act", "won", **ASK).thresholds
        called += table["pvalue"].min() <= 0.05
        ends = table["early_difference_rate_ci_lower"] * table["early_difference_rate_ci_upper"]
        plain += bool((ends > 0).any())
    assert called <= 2 and plain >= called


def test_what_cannot_be_asked():
    log, _ = crowd(3, 0.0, 100)
    with pytest.raises(ParameterError, match='event: event "atc" does not occur'):
        scan_thresholds(log, "atc", "won", **ASK)
    for event, more in (("won", {}), ("start", {}), ("act", {"competing": "act"})):
        with pytest.raises(ParameterError, match=f"event: “{event}” can have no threshold"):
            scan_thresholds(log, event, "won", **ASK | more)
    with pytest.raises(ParameterError, match="outcome: users' time begins with “start”"):
        scan_thresholds(log, "act", "start", **ASK)
    back = {"returns": "act", "period": "1w", "in_period": 2}
    assert len(scan_thresholds(log, "act", back, **ASK).thresholds)
    with pytest.raises(ParameterError, match="cannot be held against thresholds"):
        scan_thresholds(log, "act", "won", **ASK | {"horizon": "3d"})
