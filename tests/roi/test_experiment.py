"""Randomised arms: hand counts, R, statsmodels. Coverage: tests/calibration.py."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from mctlib.contract import ParameterError
from mctlib.roi import compare_arms
from mctlib.roi.experiment import effect_of
from tests.support.logs import log_of

ASK = {"of": "start", "by": "arm", "change_at": "2026-03-10", "window": "5d", "as_of": "2026-03-31"}


def with_arms(rows, arm):
    return log_of([(*row, arm.get(row[0])) for row in rows], "arm")


def test_events_are_counted_on_both_sides_of_the_change():
    arm = {"a": "new", "b": "new", "c": "old", "d": "old", "e": "old", "f": "new"}
    rows = [(u, "start", "2026-03-01") for u in "abcd"] + [
        ("e", "start", "2026-03-10"),
        ("f", "start", "2026-03-09 23:59"),
    ]  # e came with the change
    rows += [
        ("a", "use", "2026-03-05 00:00"),
        ("a", "use", "2026-03-09 23:59:59"),
        ("a", "use", "2026-03-10 00:00"),
        ("a", "use", "2026-03-14 23:59:59"),
        ("b", "use", "2026-03-04 23:59:59"),
        ("b", "use", "2026-03-15 00:00"),
        ("c", "use", "2026-03-12"),
        ("c", "use", "2026-03-13"),
        ("e", "use", "2026-03-11"),
    ]
    row = compare_arms(with_arms(rows, arm), "use", **(ASK | {"by": "properties.arm"})).arms.iloc[0]
    assert row[["segment", "reference", "n_users", "n_reference"]].tolist() == ["old", "new", 2, 3]
    assert (
        row["mean_before"] == 0 and row["mean_after"] == 1
    )  # c 2, d 0; before the change only a: 2
    assert row["unadjusted_effect"] == pytest.approx(1 - 2 / 3)


MPG = [
    21,
    21,
    22.8,
    21.4,
    18.7,
    18.1,
    14.3,
    24.4,
    22.8,
    19.2,
    17.8,
    16.4,
    17.3,
    15.2,
    10.4,
    10.4,
    14.7,
    32.4,
    30.4,
    33.9,
    21.5,
    15.5,
    15.2,
    13.3,
    19.2,
    27.3,
    26,
    30.4,
    15.8,
    19.7,
    15,
    21.4,
]
CYL = [
    6,
    6,
    4,
    6,
    8,
    6,
    8,
    4,
    4,
    6,
    6,
    8,
    8,
    8,
    8,
    8,
    8,
    4,
    4,
    4,
    4,
    8,
    8,
    8,
    8,
    4,
    4,
    4,
    8,
    6,
    8,
    4,
]
MANUAL = [
    1,
    1,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    1,
    1,
    1,
    0,
    0,
    0,
    0,
    0,
    1,
    1,
    1,
    1,
    1,
    1,
    1,
]


def test_lins_estimator_has_the_numbers_of_r():
    # tests/reference/roi.R: lm(mpg ~ am * (cyl - mean(cyl))), HC2 by hand
    cars = pd.DataFrame({"before": CYL, "after": MPG, "manual": MANUAL, "n_users": 1})
    found = effect_of(*(cars[cars["manual"] == m] for m in (1, 0)))
    assert found["effect"] == pytest.approx(2.10000293, abs=1e-7)
    half = (found["effect_ci_upper"] - found["effect_ci_lower"]) / 2
    assert half == pytest.approx(0.71707731 * 2.048407, rel=1e-6)  # t with 28 degrees of freedom


def test_counted_users_are_users_one_by_one():
    rng = np.random.default_rng(0)
    x, treated = rng.poisson(1.5, 600), rng.random(600) < 0.5
    y = rng.poisson(0.5 + 0.6 * x + 0.4 * treated)
    rows = pd.DataFrame({"before": x, "after": y, "treated": treated})
    counts = rows.value_counts().reset_index(name="n_users")
    found = effect_of(*(counts[counts["treated"] == t] for t in (True, False)))
    z = x - x.mean()
    peer = sm.OLS(y, np.c_[np.ones(600), treated, z, treated * z]).fit(cov_type="HC2", use_t=True)
    assert [
        found["effect"],
        found["effect_ci_lower"],
        found["effect_ci_upper"],
        found["pvalue"],
    ] == pytest.approx([peer.params[1], *peer.conf_int()[1], peer.pvalues[1]])
    plain = sm.OLS(y, np.c_[np.ones(600), treated]).fit(cov_type="HC2", use_t=True)
    assert [found["unadjusted_effect"], found["unadjusted_effect_ci_lower"]] == pytest.approx(
        [plain.params[1], plain.conf_int()[1, 0]]
    )
    assert found["variance_ratio"] == pytest.approx((peer.bse[1] / plain.bse[1]) ** 2)


def world(n_new, n_old, lift, seed=1):
    """Users who all start on 1 March and use the product some days before and after 10 March."""
    rng = np.random.default_rng(seed)
    arm = {f"u{i}": "new" if i < n_new else "old" for i in range(n_new + n_old)}
    rows = [(u, "start", pd.Timestamp("2026-03-01")) for u in arm]
    for u, a in arm.items():
        taste = rng.gamma(2.0, 0.5)
        for start, rate in (("2026-03-05", taste), ("2026-03-10", taste + lift * (a == "new"))):
            rows += [
                (u, "use", pd.Timestamp(start) + pd.Timedelta(hours=h))
                for h in rng.uniform(0, 119, rng.poisson(rate))
            ]
    return with_arms(rows, arm)


def test_a_planted_lift_is_found_and_said():
    result = compare_arms(
        world(300, 300, 0.5), "use", **(ASK | {"by": "properties.arm", "reference": "old"})
    )
    row = result.arms.iloc[0]
    assert (
        row["effect_ci_lower"] < 0.5 < row["effect_ci_upper"]
        and row["pvalue"] < 0.001
        and row["variance_ratio"] < 0.9
    )
    assert (
        result.finding.startswith("The arm new made +0.")
        and "within 5 days of 2026-03-10, against old." in result.finding
        and result.rule.startswith("arms assigned by chance")
    )
    null = compare_arms(
        world(300, 300, 0.0), "use", **(ASK | {"by": "properties.arm", "reference": "old"})
    )
    assert null.finding.startswith("No effect of the arm new is shown:")


def test_arms_of_uneven_size_are_refused():
    result = compare_arms(world(300, 180, 0.5), "use", **(ASK | {"by": "properties.arm"}))
    assert result.finding.startswith(
        "Not supported: the arms hold new 300 users and old 180 users; "
        "chance alone does not make arms this uneven"
    )


def test_users_without_an_arm_are_no_arm():
    rows = [
        (f"{a}{i}", "start", "2026-03-01")
        for a, n in (("new", 5), ("old", 5), ("x", 20))
        for i in range(n)
    ]
    rows += [
        (f"{a}{i}", "use", "2026-03-11")
        for a in ("new", "old")
        for i in range(0, 5, 1 + (a == "old"))
    ]
    result = compare_arms(
        with_arms(rows, {u: u[:3] for u, *_ in rows if u[0] != "x"}),
        "use",
        **(ASK | {"by": "properties.arm"}),
    )
    assert result.arms[["segment", "reference", "n_users", "n_reference"]].to_numpy().tolist() == [
        ["old", "new", 5, 5]
    ]
    assert (
        result.arms["unadjusted_effect"].iloc[0] == pytest.approx(3 / 5 - 1)
        and "20 users without an arm are left out." in result.caveats
    )


def test_the_surest_arm_is_spoken_of():
    rows = [(f"{a}{i:02d}", "start", "2026-03-01") for a in "abc" for i in range(40)]
    rows += [(f"a{i:02d}", "use", "2026-03-11") for i in range(20)] + [
        (f"b{i:02d}", "use", "2026-03-11") for i in range(38)
    ]  # +0.45, surely
    rows += [
        ("c00", "use", f"2026-03-11 {k // 60:02d}:{k % 60:02d}") for k in range(400)
    ]  # +9.5, all by one user
    result = compare_arms(
        with_arms(rows, {u: u[0] for u, *_ in rows}),
        "use",
        **(ASK | {"by": "properties.arm", "reference": "a"}),
    )
    assert result.arms.set_index("segment")["effect"].to_dict() == pytest.approx(
        {"b": 0.45, "c": 9.5}
    )
    assert result.finding.startswith("The arm b made +0.45 use events per user")


def test_users_who_do_not_differ_say_nothing():
    rows = [(f"{a}{i}", "start", "2026-03-01") for a in "ab" for i in range(9)] + [
        ("z", "start", "2026-03-01"),
        ("z", "use", "2026-03-11"),
    ]
    result = compare_arms(
        with_arms(rows, {u: u[0] for u, *_ in rows if u != "z"}),
        "use",
        **(ASK | {"by": "properties.arm"}),
    )
    assert result.finding.startswith(
        "Not supported: users within the arms do not differ at all"
    ) and "nan" not in " ".join(result.caveats)
    assert "1 user without an arm is left out." in result.caveats


def test_errors_name_the_parameter():
    log = with_arms(
        [
            ("a", "start", "2026-03-01"),
            ("b", "start", "2026-03-01"),
            ("c", "start", "2026-03-02"),
            ("d", "start", "2026-03-02"),
            ("a", "use", "2026-03-12"),
        ],
        {"a": "new", "b": "old", "c": "new", "d": "old"},
    )
    for message, options in [
        ('reference: "nw" is not an arm.*Did you mean "new"', {"reference": "nw"}),
        ("window: 5 days after 2026-03-10 are not over", {"as_of": "2026-03-12"}),
        ("fewer than two arms", {"by": "event.event"}),
        ('"strt" does not occur', {"of": "strt"}),
    ]:
        with pytest.raises(ParameterError, match=message):
            compare_arms(log, "use", **(ASK | {"by": "properties.arm"} | options))


def test_without_arms_it_says_so():
    log = with_arms([("a", "start", "2026-03-01"), ("a", "use", "2026-03-12")], {"a": "new"})
    result = compare_arms(log, "use", **(ASK | {"by": ""}))
    assert result.finding == "No randomised arms were named." and result.arms.empty
