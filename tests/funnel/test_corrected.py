"""A funnel's rate had nothing been lost: by the audit's verdicts, with a wider interval."""

import numpy as np
import pandas as pd
import pytest

from mctlib import audit_events, diagnose_funnel
from mctlib.contract import DataError, ParameterError
from mctlib.funnel import corrected
from mctlib.sources import demo
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import log_of
from tests.support.tracking import World, plan_of

AS_OF = "2026-05-24"
STEPS = ["signed_up", "profile", "interview"]


def funnel(log, verdicts, **rule):
    asked = {"window": "30d", "as_of": AS_OF} | rule
    return diagnose_funnel(log, STEPS, correct_for_loss=verdicts, **asked)


@pytest.fixture(scope="module")
def lossy():
    return World(kept=0.6).log(2)


@pytest.fixture(scope="module")
def verdicts(lossy):
    return audit_events(lossy, plan_of(), as_of=AS_OF).verdicts


def test_what_was_lost_comes_back(lossy, verdicts):
    """The same world without loss is the truth; half the width of an interval is granted."""
    whole = funnel(World(kept=1.0).log(2), None).steps
    found = funnel(lossy, verdicts)
    told = found.corrected.set_index("step")
    for step in (2, 3):
        row = told.loc[step]
        truth = whole.loc[whole["step"] == step, "conversion_rate"].item()
        assert row["corrected_rate_ci_lower"] < truth < row["corrected_rate_ci_upper"]
        assert row["conversion_rate_ci_upper"] < truth
        width = row["corrected_rate_ci_upper"] - row["corrected_rate_ci_lower"]
        assert width > row["conversion_rate_ci_upper"] - row["conversion_rate_ci_lower"]
        assert row["recorded_rate"] == pytest.approx(row["conversion_rate"] / row["corrected_rate"])
    assert "Corrected for what tracking lost" in found.details[-1]


def test_where_nothing_is_lost_nothing_is_told(lossy, verdicts):
    trusted = verdicts.assign(verdict="trusted")
    assert funnel(lossy, trusted).corrected.empty and funnel(lossy, None).corrected.empty


def test_what_is_not_to_be_used_is_not_corrected(lossy, verdicts):
    bad = verdicts.assign(verdict=verdicts["verdict"].replace("correctable", "not to be used"))
    found = funnel(lossy, bad)
    assert found.corrected["corrected_rate"].isna().all()
    assert "cannot be corrected" in found.details[-1]


def test_a_step_that_may_be_skipped_takes_nothing_from_the_next(lossy, verdicts):
    found = funnel(lossy, verdicts, optional=[2])
    assert found.corrected.empty and "(a step that may be skipped)" in found.caveats[-1]


def verdict(**known):
    """One row of an audit: of b half is recorded."""
    row = dict.fromkeys(corrected.TEXTS, "") | {"platform": "android", "verdict": "correctable"}
    row |= {"micro_conversion": "b", "completeness_rate": 0.5}
    row |= {"completeness_rate_ci_lower": 0.5 / 1.1, "completeness_rate_ci_upper": 0.5 * 1.1}
    return pd.DataFrame([row | known])


def of_groups(groups):
    """Users of each (platform, version, day) do a, and the first so many of them b."""
    rows = [
        (f"u{group}-{user}", event, day, platform, version)
        for group, ((platform, version, day), n, n_done) in enumerate(groups)
        for user in range(n)
        for event in "ab"[: 1 + (user < n_done)]
    ]
    return log_of(rows, "platform", "app_version")


@pytest.mark.parametrize(
    ("known", "met"),
    [
        ({"app_version": "4.9", "since": "2026-03-16"}, {0, 4}),
        ({"since": "2026-03-16", "until": "2026-04-06"}, {5, 6}),
        ({"platform": "all", "app_version": "4.9"}, {0, 2, 4}),
    ],
)
def test_versions_and_weeks_say_whom_a_loss_meets(known, met):
    """Of 256 users of each group another power of two did b: what is put back says of whom."""
    entries = [
        ("android", "4.10", "2026-02-02"),
        ("android", "4.8", "2026-04-06"),
        ("ios", "4.10", "2026-04-06"),
        ("android", None, "2026-04-06"),
        ("android", "5", "2026-03-09"),
        ("android", "1", "2026-03-16"),
        ("android", "1", "2026-03-30"),
    ]
    log = of_groups([(entry, 256, 2**k) for k, entry in enumerate(entries)])
    asked = {"window": "7d", "as_of": "2026-05-01", "correct_for_loss": verdict(**known)}
    (row,) = diagnose_funnel(log, ["a", "b"], **asked).corrected.to_dict("records")
    more = (row["corrected_rate"] - row["conversion_rate"]) * 256 * len(entries)
    assert more == pytest.approx(sum(2**k for k in met))


def test_verdicts_are_checked(lossy, verdicts):
    with pytest.raises(DataError, match='correct_for_loss: column "until" is missing'):
        funnel(lossy, verdicts.drop(columns="until"))
    with pytest.raises(ParameterError, match="correct_for_loss: steps need an order"):
        funnel(lossy, verdicts, order="unordered")


@pytest.mark.parametrize("how", [{}, {"dtype": str}])
def test_a_table_that_was_saved_says_the_same(lossy, verdicts, how, tmp_path):
    weeks = verdicts.assign(app_version="")  # versions as numbers are no versions
    weeks.to_csv(tmp_path / "verdicts.csv", index=False)
    saved = pd.read_csv(tmp_path / "verdicts.csv", **how)
    told = [funnel(lossy, table).corrected for table in (weeks, saved)]
    assert len(told[0]) and np.allclose(*(t["corrected_rate"] for t in told))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("app_version", 4.1),
        ("since", "16.03.2026"),
        ("completeness_rate_ci_lower", "much"),
        ("completeness_rate", 70.0),
    ],
)
def test_a_table_of_something_else_is_refused(verdicts, column, value):
    bad = verdicts.astype({column: object})
    bad[column] = value
    with pytest.raises(DataError, match=f'column "{column}" must'):
        corrected.read_verdicts(bad)
    with pytest.raises(DataError, match=f'column "{column}" is missing'):
        corrected.read_verdicts(verdicts.drop(columns=column))


def test_losses_meet_steps_by_what_the_plan_means():
    plan = {"done": {"events": [{"event": "b"}]}, "some": {"events": ["b", "cv"]}}
    plan["odd"] = {"events": [{"event": "b", "where": {"platform": "ios"}}]}
    meanings = as_plan({"micro_conversions": plan}, "plan").meanings()
    log = of_groups([(("android", "1", "2026-02-02"), 40, 20)])
    asked = {"window": "7d", "as_of": "2026-05-01"}

    def is_met(name):
        lost = verdict(micro_conversion=name)
        return len(diagnose_funnel(log, ["a", "b"], correct_for_loss=lost, **asked).corrected) > 0

    assert is_met("b") and not is_met("done")
    log.meanings.update(meanings)
    assert [is_met(name) for name in plan] == [True, True, False]


def test_what_is_not_put_back_is_said(lossy, verdicts):
    named = verdicts.assign(micro_conversion=verdicts["micro_conversion"] + "_done")
    for table, steps, why in (
        (named, STEPS, "profile_done (no step of this funnel)"),
        (verdicts, STEPS[1:], "profile (the first step)"),
    ):
        rule = {"window": "30d", "as_of": AS_OF, "correct_for_loss": table}
        found = diagnose_funnel(lossy, steps, **rule)
        assert found.corrected.empty
        assert f"What tracking lost is not put back of {why}." in found.caveats


def test_two_parts_by_hand():
    """200 of 400 and 100 of 400, of which one has half recorded: (0.5 + 0.25 / 0.5) / 2.

    Its variance is of both parts' shares, put together, and of the share recorded.
    """
    days = ("1", "2026-02-02")
    log = of_groups([(("ios", *days), 400, 200), (("android", *days), 400, 100)])
    asked = {"window": "7d", "as_of": "2026-05-01", "correct_for_loss": verdict()}
    found = diagnose_funnel(log, ["a", "b"], by="platform", **asked)
    (row,) = found.corrected.to_dict("records")
    assert row["corrected_rate"] == pytest.approx(0.5)
    assert row["recorded_rate"] == pytest.approx(0.75)
    parts = found.steps[found.steps["step"] == 2].set_index("segment")
    width = parts["conversion_rate_ci_upper"] - parts["conversion_rate_ci_lower"]
    of_shares = (width["ios"] / 4) ** 2 + (width["android"] / 4 / 0.5) ** 2
    half = np.sqrt(of_shares + (0.25 * np.log(1.1)) ** 2)
    assert row["corrected_rate_ci_upper"] == pytest.approx(0.5 + half)
    assert row["corrected_rate_ci_lower"] == pytest.approx(0.5 - half)


def test_the_demos_loss_is_put_back(demo_log):
    """Truth is of users whose 14 days are over, the estimate of all: half an interval is free."""
    steps = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]
    lost = audit_events(demo_log, as_of="2026-11-29").verdicts
    asked = {"window": "14d", "as_of": "2026-11-29", "correct_for_loss": lost}
    told = diagnose_funnel(demo_log, steps, **asked).corrected
    truth = demo.truth()["funnel"].query("segment == 'all' and step > 1")["conversion_rate"]
    off = abs(told["corrected_rate"].to_numpy() - truth.to_numpy())
    width = told["corrected_rate_ci_upper"] - told["corrected_rate_ci_lower"]
    assert (off < 0.75 * width).all()
    assert (told["conversion_rate_ci_upper"].to_numpy()[:2] < truth.to_numpy()[:2]).all()
