"""The funnel: hand counts, its options, its errors, its pictures, and the demo's planted truth."""

from functools import partial

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mctlib import phrases, plots
from mctlib.contract import ParameterError
from mctlib.eventlog.steps import ANY, Aim, Exclusion, Step
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.plots import marks, style
from mctlib.results import Page
from tests.support.logs import log_of
from tests.support.walks import CASES, log_of_case, row

matplotlib.use("Agg")
STEPS = ["signed_up", "profile_completed", "interview_scheduled"]


# -------------------------------------------------------------------------------------- hand counts

SIX = [
    ("ann", "signed_up", "2026-01-01"),
    ("ann", "profile_completed", "2026-01-02"),
    ("ann", "interview_scheduled", "2026-01-04"),
    ("bob", "signed_up", "2026-01-01"),
    ("bob", "profile_completed", "2026-01-05"),
    ("cem", "signed_up", "2026-01-10"),
]


def ten_of(rows):
    """Every user ten times: what is read of a curve asks for ten who wait."""
    return [(f"{user} {i}", *rest) for user, *rest in rows for i in range(10)]


def test_six_rows_by_hand():
    """Five days, seen up to 13 January, 0 h, ten of each: cem has three days of the window behind
    him and is pending. A microsecond less, and he is not there when ann goes on after three."""
    log = log_of(ten_of(SIX))
    before = diagnose_funnel(log, STEPS, window="5d", as_of="2026-01-12")
    assert before.steps["conversion_rate"].tolist() == [1, 1, 0.5]
    result = diagnose_funnel(log, STEPS, window="5d", as_of="2026-01-13T00:00:00Z")
    assert list(result.steps.columns) == [
        "segment",
        "step",
        "event",
        "n_entered",
        "n_reached",
        "n_any_order",
        "n_pending",
        "n_competing",
        "conversion_rate",
        "conversion_rate_ci_lower",
        "conversion_rate_ci_upper",
        "difference_rate",
        "difference_rate_ci_lower",
        "difference_rate_ci_upper",
        "qvalue",
        "differs",
        "design_effect",
        "n_accounts",
        "window_days",
        "horizon_days",
        "horizon_rate",
        "horizon_rate_ci_lower",
        "horizon_rate_ci_upper",
        "naive_rate",
        "naive_rate_ci_lower",
        "naive_rate_ci_upper",
        "n_closed",
        "step_rate",
        "step_rate_ci_lower",
        "step_rate_ci_upper",
        "p25_days",
        "median_days",
        "p75_days",
        "p90_days",
    ]
    assert result.steps["n_reached"].tolist() == [30, 20, 10] and result.steps[
        "n_pending"
    ].tolist() == [0, 10, 10]
    assert result.steps["naive_rate"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    # step 2: ann after 1 day (30 at risk), cem leaves after 3, bob after 4 (10 at risk):
    # 1 - 2/3 * 0
    assert row(result, 2)["conversion_rate"] == 1
    # step 3: ann after 3 days, of 30 at risk; Greenwood (2/3)^2 * 10 / (30 * 20), so the effective
    # size is (2/9) / (2/270) = 30: Wilson of 10 in 30, statsmodels'
    # proportion_confint(10, 30, method="wilson")
    step = row(result, 3)
    assert step[
        ["conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper"]
    ].tolist() == pytest.approx([1 / 3, 0.19230498, 0.51219948], abs=1e-7)
    assert result.steps["step_rate"].tolist()[1:] == [
        1,
        0.5,
    ]  # ann and bob have their five days behind them
    assert result.steps["n_closed"].isna().tolist() == [True, False, False]
    assert result.steps["n_closed"].tolist()[1:] == [20, 20]  # no step lies before the first
    assert result.steps["median_days"].tolist()[1:] == [
        4,
        2,
    ]  # S: 2/3 after 1 day, 0 after 4 · bob's window leaves him 1 day, ann needs 2
    assert any("10 users (33.3 %)" in c for c in result.caveats)
    assert result.steps[["design_effect", "n_accounts"]].isna().all(axis=None)  # no accounts
    assert result.steps["horizon_days"].tolist() == [5, 5, 5]
    assert list(result.times.columns) == [
        "segment",
        "step",
        "event",
        "days",
        "reached_rate",
        "reached_rate_ci_lower",
        "reached_rate_ci_upper",
        "n_at_risk",
    ]
    assert list(result.checks.columns) == ["check", "step", "event", "n_users"]


def test_before_any_window_has_closed_the_rate_is_not_known():
    """Three users are too few to say anything; of thirty, ten are followed and still waiting for
    twelve days but for a microsecond: ann is there after three, and cem is seen for less."""
    few = diagnose_funnel(log_of(SIX), STEPS, window="30d", as_of="2026-01-12")
    result = diagnose_funnel(log_of(ten_of(SIX)), STEPS, window="30d", as_of="2026-01-12")
    assert few.steps["conversion_rate"].isna().tolist() == [False, True, True]
    # by the curve nobody waits for step 2 any more: bob was the last, after four days
    assert result.steps["conversion_rate"].isna().tolist() == [False, False, True]
    assert few.steps["step_rate"].isna().all() and result.steps["step_rate"].isna().all()
    assert "is not known yet" in few.details[0] and few.steps["n_reached"].tolist() == [3, 2, 1]
    assert few.steps[["horizon_days", "horizon_rate"]].iloc[1:].isna().all(axis=None)
    last = row(result, 3)
    assert last["horizon_days"] == pytest.approx(12 - 1e-6 / 86400, abs=1e-12)
    assert last["horizon_rate"] == 0.5  # cem has left when ann goes on
    assert (
        "50.0 % (29.9 to 70.1) reached interview_scheduled so far, within 12 days; too few "
        in (result.details[0])
    )


def test_the_windows_end_is_included_and_rows_after_as_of_are_not_read():
    rows = [
        ("ann", "a", "2026-01-01 10:00"),
        ("ann", "b", "2026-01-02 10:00"),
        ("bob", "a", "2026-01-01 10:00"),
        ("bob", "b", "2026-01-02 10:00:00.000001"),
    ]
    assert diagnose_funnel(log_of(rows), ["a", "b"], window="1d", as_of="2026-01-09").steps[
        "n_reached"
    ].tolist() == [2, 1]
    early = diagnose_funnel(log_of(rows), ["a", "b"], window="1d", as_of="2026-01-02T09:00:00Z")
    assert early.steps["n_reached"].tolist() == [2, 0] and early.steps["n_pending"].tolist() == [
        0,
        2,
    ]


def test_a_later_attempt_counts_as_reached_but_not_for_the_first_entry():
    rows = [
        ("ann", "a", "2026-01-01"),
        ("ann", "a", "2026-01-09"),
        ("ann", "b", "2026-01-10"),
        ("bob", "a", "2026-01-01"),
        ("bob", "b", "2026-01-02"),
    ]
    result = diagnose_funnel(log_of(rows), ["a", "b"], window="3d", as_of="2026-02-01")
    assert row(result, 2)[["n_reached", "naive_rate", "conversion_rate"]].tolist() == [2, 1, 0.5]
    assert (
        "Reached the last step only on a later attempt: 1 user. "
        "They are in n_reached and naive_rate, not in conversion_rate." in result.caveats
    )


def test_one_entry_each_and_nobody_pending_make_both_rates_one():
    rng = np.random.default_rng(3)
    rows = [(f"u{u}", "a", "2026-01-01") for u in range(200)] + [
        (f"u{u}", "b", "2026-01-02") for u in np.flatnonzero(rng.random(200) < 0.3)
    ]
    last = row(diagnose_funnel(log_of(rows), ["a", "b"], window="3d", as_of="2026-02-01"), 2)
    assert last["conversion_rate"] == pytest.approx(last["naive_rate"], abs=1e-12)
    assert last["conversion_rate"] == last["step_rate"] == pytest.approx(last["n_reached"] / 200)
    assert last["conversion_rate_ci_lower"] == pytest.approx(last["step_rate_ci_lower"], abs=1e-12)
    assert last["conversion_rate_ci_upper"] == pytest.approx(last["step_rate_ci_upper"], abs=1e-12)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_newcombe_1998(k, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson)."""
    rows = (
        [(f"u{u}", "a", "2026-01-01") for u in range(n)]
        + [(f"u{u}", "b", "2026-01-02") for u in range(k)]
        + [("x", "b", "2026-01-01")]
    )
    last = row(diagnose_funnel(log_of(rows), ["a", "b"], window="3d", as_of="2026-02-01"), 2)
    for name in ("conversion_rate", "step_rate"):
        assert (round(last[f"{name}_ci_lower"], 4), round(last[f"{name}_ci_upper"], 4)) == (
            low,
            high,
        )


# ------------------------------------------------------------------------------- the rule's options

OPTIONS = [
    ("ann", "a", "2026-01-01 08:00", "web"),
    ("ann", "x", "2026-01-01 09:00", "web"),
    ("ann", "b", "2026-01-01 10:00", "web"),
    ("ann", "c", "2026-01-01 11:00", "web"),
    ("bob", "a", "2026-01-01 08:00", "web"),
    ("bob", "b", "2026-01-01 09:00", "ios"),
    ("bob", "c", "2026-01-01 10:00", "web"),
    ("cem", "a", "2026-01-01 08:00", "ios"),
    ("cem", "c", "2026-01-01 09:00", "ios"),
    ("dee", "c", "2026-01-01 08:00", "web"),
    ("dee", "b", "2026-01-01 09:00", "web"),
    ("dee", "a", "2026-01-01 10:00", "web"),
]


@pytest.mark.parametrize(
    ("options", "n_reached"),
    [
        ({}, [4, 2, 2]),  # ann, bob; cem misses b, dee goes backwards
        ({"order": "strict"}, [4, 1, 1]),  # x stands between ann's a and b
        ({"order": "unordered"}, [4, 4, 3]),  # cem has two of three
        # what ann did before x is taken back
        ({"order": "unordered", "exclude": [Exclusion("x", 1, 3)]}, [4, 4, 2]),
        ({"optional": [2]}, [4, 2, 3]),  # cem may skip b
        ({"exclude": [Exclusion("x", 1, 2)]}, [3, 1, 1]),  # ann is out
        ({"exclude": [Exclusion("x", 2, 3)]}, [4, 2, 2]),  # x comes too early to matter
        ({"exclude": [{"event": "x"}]}, [3, 1, 1]),  # as YAML gives it
        ({"hold": "platform"}, [4, 1, 1]),  # bob's b is on another platform
    ],
)
def test_options_by_hand(options, n_reached):
    log = log_of(OPTIONS, "platform")
    result = diagnose_funnel(log, ["a", "b", "c"], window="1d", as_of="2026-01-05", **options)
    assert result.steps["n_reached"].tolist() == n_reached
    assert result.steps["conversion_rate"].tolist() == pytest.approx(
        np.array(n_reached) / n_reached[0]
    )  # everyone enters once, all windows closed
    assert ("Taken out by an exclusion: 1 user. They are in no count." in result.caveats) == (
        n_reached[0] == 3
    )


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c["portable"]])
def test_counts_that_public_suites_assert(name):
    case = CASES[name]
    result = diagnose_funnel(
        log_of_case(case),
        case["steps"],
        window=f"{case['window_seconds']}s",
        as_of="2024-12-31",
        order=case["mode"],
        optional=[k + 1 for k in case["optional_steps"]],
        exclude=[
            {"event": x["event"], "after": x["from_step"] + 1, "before": x["to_step"] + 1}
            for x in case["exclusions"]
        ],
    )
    assert [
        n
        for n, known in zip(result.steps["n_reached"], case["expected_counts"])
        if known is not None
    ] == [n for n in case["expected_counts"] if n is not None]


def test_whom_an_exclusion_takes_out_is_in_no_rate():
    """ann's first attempt ends at a, her deeper one is taken out by x: bob is everybody. cem's x
    spoils the first attempt but not the equally deep second: reached, no rate."""
    rows = [
        ("ann", "a", "2026-01-01"),
        ("ann", "a", "2026-01-21"),
        ("ann", "b", "2026-01-22"),
        ("ann", "x", "2026-01-23"),
        ("ann", "c", "2026-01-24"),
        ("bob", "a", "2026-01-01"),
        ("bob", "b", "2026-01-02"),
        ("bob", "c", "2026-01-03"),
    ]
    cem = [
        ("cem", "a", "2026-01-01"),
        ("cem", "b", "2026-01-02"),
        ("cem", "x", "2026-01-03"),
        ("cem", "a", "2026-01-21"),
        ("cem", "b", "2026-01-22"),
    ]
    rule = {"window": "5d", "as_of": "2026-03-01", "exclude": [Exclusion("x", 2, 3)]}
    result = diagnose_funnel(log_of(rows), ["a", "b", "c"], **rule)
    for column in ("conversion_rate", "naive_rate"):
        assert result.steps[column].tolist() == [1, 1, 1]
    assert (
        result.steps["step_rate"].tolist()[1:] == [1, 1]
        and result.steps["n_entered"].tolist() == [1, 1, 1]
        and result.details[0].startswith("Of 1 user with a, 100.0 %")
    )
    both = diagnose_funnel(log_of(rows + cem), ["a", "b", "c"], **rule)
    assert (
        both.steps["n_reached"].tolist() == [2, 2, 1]
        and both.steps["n_entered"].tolist() == [1, 1, 1]
        and both.steps["conversion_rate"].tolist() == [1, 1, 1]
    )
    assert (
        "Taken out by an exclusion on the first attempt, but not on the deepest: 1 user. "
        "They are in n_reached and naive_rate, not in conversion_rate and step_rate."
        in both.caveats
        and "Taken out by an exclusion: 1 user. They are in no count." in both.caveats
    )
    nobody = diagnose_funnel(
        log_of([r for r in rows if r[0] == "ann"]), ["a", "b", "c"], by="week", **rule
    )
    assert (
        nobody.steps["n_reached"].tolist()
        == nobody.steps["n_entered"].tolist()
        == nobody.steps["n_any_order"].tolist()
        == [0, 0, 0]
    )
    assert nobody.steps.filter(like="_rate").isna().all(axis=None) and nobody.caveats == (
        "Taken out by an exclusion: 1 user. They are in no count.",
    )
    assert (
        nobody.details[0]
        == "An exclusion takes out the first attempt of everyone with a, so there is no rate."
    )
    out = "users with x between steps 2 and 3 taken out"
    assert nobody.rule == f"steps in order, {out}, 5 days from a user's first entry."
    plots.plot_funnel(nobody.steps)
    plots.plot_funnel_times(nobody.times)
    matplotlib.pyplot.close("all")


def test_in_any_order_an_exclusion_takes_back_what_came_before_it():
    """ann has a, then x, then b and c: two of three, entered with b. bob's window of two days is
    over before his x. cem is left with nothing. dee has done all of it by then. eve's x lies at the
    moment of a step."""
    rows = [
        *(("ann", e, f"2026-01-0{d}") for d, e in ((1, "a"), (2, "b"), (3, "c"))),
        ("ann", "x", "2026-01-01 12:00"),
        *(("bob", e, f"2026-01-0{d}") for d, e in ((1, "a"), (2, "b"), (4, "x"), (5, "c"))),
        *(("cem", e, f"2026-01-0{d}") for d, e in ((1, "a"), (2, "b"), (3, "x"))),
        *(("dee", e, f"2026-01-0{d}") for d, e in ((1, "c"), (1, "b"), (2, "a"), (3, "x"))),
        *(("eve", e, f"2026-01-0{d}") for d, e in ((1, "a"), (2, "x"), (2, "b"), (3, "c"))),
    ]
    rule = {"window": "2d", "as_of": "2026-02-01", "exclude": [Exclusion("x", 1, 3)]}
    result = diagnose_funnel(log_of(rows), ["a", "b", "c"], order="unordered", **rule)
    assert result.steps["n_reached"].tolist() == result.steps["n_entered"].tolist()[:1] + [4, 2]
    assert row(result, 3)[["n_entered", "conversion_rate"]].tolist() == [4, 0.5]
    assert row(result, 2)["median_days"] == 1  # ann from b to c, bob, eve; dee at once
    counted = result.checks.set_index(["check", "event"])["n_users"]
    assert counted["taken out by an exclusion", "x"] == 1
    assert counted["set back by an exclusion", ""] == 1
    assert "steps in any order, x takes back the steps before it, 2 days" in result.rule
    assert any(c.startswith("Set back by an exclusion: 1 user.") for c in result.caveats)


def test_after_an_optional_step_the_rate_is_of_those_before_it():
    result = diagnose_funnel(
        log_of(OPTIONS, "platform"),
        ["a", "b", "c"],
        window="1d",
        as_of="2026-01-05",
        optional=[2],
    )
    assert result.steps["step_rate"].tolist()[1:] == [2 / 4, 3 / 4]
    assert row(result, 3)["median_days"] == pytest.approx(
        2 / 24
    )  # from a: cem 1 h, bob 2 h (that is half of them), ann 3 h, dee never


def test_segments_are_read_at_entry_and_add_up():
    result = diagnose_funnel(
        log_of(OPTIONS, "platform"),
        ["a", "b", "c"],
        window="1d",
        as_of="2026-01-05",
        by="platform",
    )
    assert list(dict.fromkeys(result.steps["segment"])) == ["all", "web", "ios"]
    assert result.steps.query("segment == 'web'")["n_reached"].tolist() == [
        3,
        2,
        2,
    ]  # bob entered on the web
    assert result.steps.query("segment == 'ios'")["n_reached"].tolist() == [1, 0, 0]
    assert (
        "Fewer than 30 users entered in web and ios: too few to compare." in result.caveats
        and "By segment" not in result.details[0]
    )


def test_a_segment_of_first_entries_alone_is_shown():
    """40 users enter in the first week and again, more deeply, in the second; 40 others in the
    second only."""
    day = "2026-01-{}".format
    rows = [
        (f"u{i}", e, t)
        for i in range(40)
        for e, t in (("a", day("01")), ("a", day("10")), ("b", day("11")))
    ] + [(f"w{i}", "a", day("10")) for i in range(40)]
    steps = diagnose_funnel(
        log_of(rows), ["a", "b"], window="5d", as_of="2026-03-01", by="week"
    ).steps.set_index(["segment", "step"])
    assert steps.loc[("2025-12-29", 2), ["n_entered", "n_reached", "conversion_rate"]].tolist() == [
        40,
        0,
        0,
    ] and np.isnan(steps.loc[("2025-12-29", 2), "naive_rate"])
    assert steps.loc[
        ("2026-01-05", 2), ["n_entered", "n_reached", "naive_rate", "conversion_rate"]
    ].tolist() == [40, 40, 0.5, 0]
    assert steps.loc[("all", 2), "n_entered"] == 80


def test_a_value_called_all_is_a_segment_of_its_own():
    log = log_of(
        [("ann", "a", "2026-01-01", "all"), ("bob", "a", "2026-01-01", "web")],
        "platform",
    )
    result = diagnose_funnel(log, ["a", "b"], window="1d", as_of="2026-01-05", by="platform")
    assert result.steps[["segment", "n_reached"]].to_numpy().tolist() == [
        ["all", 2],
        ["all", 0],
        ["all (platform)", 1],
        ["all (platform)", 0],
        ["web", 1],
        ["web", 0],
    ]


def test_the_rule_says_whether_windows_are_open():
    """All who entered are there after a day, though no window of 14 days has closed."""
    start = pd.Timestamp("2026-01-01")
    rows = [
        (f"u{i}", e, start + pd.Timedelta(days=i / 30 + d))
        for i in range(60)
        for d, e in enumerate("ab")
    ]
    young, old = (
        diagnose_funnel(log_of(rows), ["a", "b"], window="14d", as_of=day).rule
        for day in ("2026-01-05", "2026-03-05")
    )
    assert (
        "first entry, nobody is pending;" in young
        and "first entry, every window has closed;" in old
    )


def test_steps_may_be_any_of_several_events_with_properties():
    log = log_of(OPTIONS, "platform")
    result = diagnose_funnel(
        log, [Step("a", {"platform": "web"}), ["x", "c"]], window="1d", as_of="2026-01-05"
    )
    assert result.steps["n_reached"].tolist() == [3, 2] and result.steps["event"].tolist() == [
        "a [platform=web]",
        "x or c",
    ]


def test_caveats_name_ties_skipped_steps_and_names_that_do_not_occur():
    rows = [
        ("ann", "a", "2026-01-01"),
        ("ann", "b", "2026-01-01"),
        ("ann", "c", "2026-01-02"),
        ("bob", "a", "2026-01-01"),
        ("bob", "c", "2026-01-02"),
    ]
    result = diagnose_funnel(
        log_of(rows), ["a", "b", ["c", "cc_misspelt"]], window="3d", as_of="2026-02-01"
    )
    assert (
        "Two steps at the very same time: 1 user. These were read in the order of the steps."
        in result.caveats
    )
    assert (
        "A later step but never b (step 2): 1 user. "
        "Either it is not always needed or its tracking loses events." in result.caveats
    )
    assert any(
        c.startswith('The event "cc_misspelt" does not occur')
        and c.endswith("counts as never done.")
        for c in result.caveats
    )
    never = diagnose_funnel(log_of(rows), ["a", "interview"], window="3d", as_of="2026-02-01")
    assert row(never, 2)[["n_reached", "conversion_rate"]].tolist() == [0, 0]


# ------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("steps", "options", "words"),
    [
        (["a"], {}, "steps: a funnel needs at least two steps; give a list of event names."),
        ("ab", {}, "steps: a funnel needs at least two steps; give a list of event names."),
        (
            ["a", "b"],
            {"order": "orderd"},
            'order: "orderd" is not one of ordered, strict, unordered. '
            'Did you mean "ordered" or "unordered"?',
        ),
        (["a", "b"], {"window": "-1d"}, 'window: "-1d" must be longer than nothing.'),
        (["a", "b"], {"window": "a fortnight"}, "is not a duration"),
        (
            ["a", "b"],
            {"exclude": [Exclusion("x", 2, 2)]},
            'exclude: "x" lies after step 2 and before step 2; '
            "with 2 steps it must hold that 1 <= after < before <= 2.",
        ),
        (
            ["a", "b"],
            {"exclude": [Exclusion("x", 1, 3)]},
            "it must hold that 1 <= after < before <= 2.",
        ),
        (
            ["a", "b"],
            {"optional": [1]},
            "optional: step 1 cannot be optional; step 1 never can, and there are 2 steps.",
        ),
        (["a", "b"], {"optional": [3]}, "optional: step 3 cannot be optional"),
        (
            ["a", "b", "c"],
            {"exclude": [{"event": "x"}], "order": "unordered"},
            'exclude: with order "unordered" steps have no place of their own; give "after" 1 and '
            '"before" 3 for "x".',
        ),
        (
            ["a", "b"],
            {"optional": [2], "order": "unordered"},
            'optional: steps cannot be optional when order is "unordered".',
        ),
        (
            ["a", ["a", "b"]],
            {"order": "unordered"},
            'steps: one event could be both "a" and "a or b"',
        ),
        (["a", ANY], {"order": "unordered"}, 'steps: one event could be both "a" and "any event"'),
        (
            ["b", Step("a", {"n": 1}), Step("a", {"n": "1.0"})],
            {"order": "unordered"},
            "steps: one event could be both",
        ),
        (
            ["a_misspelt", "b"],
            {},
            'steps: step 1 cannot be reached, event "a_misspelt" does not occur in frame.',
        ),
        (
            [Step("a", {"platform": "fridge"}), "b"],
            {},
            "steps: step 1 (a [platform=fridge]) matches no event; "
            '"a" occurs, but never with platform=fridge.',
        ),
        (
            [Step(["a", "b"], {"nocolumn": 3, "platform": ["web", "tv"]}), "b"],
            {},
            "steps: step 1 (a or b [nocolumn=3] [platform=web or tv]) matches no event; "
            '"a" and "b" occur, but never with nocolumn=3 and platform=web or tv.',
        ),
        (
            [Step(ANY, {"nocolumn": ANY}), "b"],
            {},
            "matches no event; other events occur, but never with nocolumn=present.",
        ),
        (["a", "b"], {"as_of": "2025-01-01"}, "as_of: 2025-01-01 lies before the first event"),
        (["a", "b"], {"by": "platfrom"}, 'Did you mean "platform"?'),
        (None, {}, "steps: a funnel needs at least two steps; give a list of event names."),
        (
            ["a", {"evnt": "b"}],
            {},
            'steps: "evnt" is not one of event, where. Did you mean "event"?',
        ),
        (["a", {"where": {}}], {}, "steps: {'where': {}} says no event."),
        (
            ["a", None],
            {},
            "steps: None is not an event; "
            "give its name, {event: name, where: {column: value}}, a list of these (any of them), "
            "or ANY for every event.",
        ),
        (["a", 3], {}, "steps: 3 is not an event"),
        (["a", Step([])], {}, "steps: [] is not an event"),
        (["a", ["b", 3]], {}, "steps: 3 is not an event"),
        (
            ["a", Step("b", "ios")],
            {},
            "steps: where is 'ios'; it must map columns or properties to the values asked for",
        ),
        (["a", "b"], {"competing": 3}, "competing: 3 is not an event"),
        (["a", "b"], {"exclude": "x"}, "exclude: 'x' is not a list; give a list of exclusions."),
        (["a", "b"], {"exclude": Exclusion("x")}, "is not a list; give a list of exclusions."),
        (
            ["a", "b"],
            {"exclude": ["x"]},
            "exclude: 'x' is not an exclusion; "
            'give Exclusion("event", after=1, before=2) or a mapping of these.',
        ),
        (
            ["a", "b"],
            {"exclude": [{"event": "x", "aftr": 1}]},
            'exclude: "aftr" is not one of event, after, before, where. Did you mean "after"?',
        ),
        (["a", "b"], {"exclude": [{"after": 1}]}, "exclude: {'after': 1} says no event."),
        (
            ["a", "b"],
            {"exclude": [Exclusion("x", "1", 2)]},
            "it must hold that 1 <= after < before <= 2.",
        ),
        (["a", "b"], {"optional": 2}, "optional: 2 is not a list; give a list of step numbers."),
        (["a", "b"], {"optional": ["b"]}, "optional: step b cannot be optional"),
        (
            ["a", "b"],
            {"as_of": None},
            'as_of: "None" is neither a day (2026-06-30) nor a timestamp',
        ),
        (
            ["aa", "bb"],
            {"order": "unordered"},
            'steps: event "aa" does not occur in frame. Did you mean "a"?\n'
            'steps: event "bb" does not occur in frame. Did you mean "b"?',
        ),
        (
            ["none", "nothing"],
            {"order": "unordered"},
            "steps: nobody did any of them up to 2026-01-05. "
            'The event "none" does not occur in frame. The event "nothing" does not',
        ),
        (["a", "bb"], {}, 'steps: event "bb" does not occur in frame. Did you mean "b"?'),
        (["a", "b"], {"competing": "aa"}, 'competing: event "aa" does not occur in frame. Did'),
        (
            ["a", "b"],
            {"exclude": [{"event": "bb"}]},
            'exclude: event "bb" does not occur in frame. Did you mean "b"?',
        ),
        (["a"] * 65, {}, "65 steps, exclusions and other matchers are asked for at once; 64 is"),
        (
            ["a", "b"],
            {"competing": ["x", "b"]},
            'competing: one event could be both the exit "x or b" and the step "b"; '
            "name an event that is no step.",
        ),
    ],
)
def test_errors_say_what_to_do(steps, options, words):
    log = log_of(OPTIONS, "platform")
    with pytest.raises(ParameterError) as error:
        diagnose_funnel(log, steps, **{"window": "1d", "as_of": "2026-01-05", **options})
    assert words in str(error.value)


def test_durations_are_said_in_whole_units():
    said = {
        1: "1 microsecond",
        1500: "1.5 milliseconds",
        80_000_000: "80 seconds",
        90_000_000: "1.5 minutes",
        6_000_000_000: "100 minutes",
        129_600_000_000: "1.5 days",
        1_209_600_000_000: "14 days",
        86_400_000_000: "1 day",
        3_000_000: "3 seconds",
    }
    assert {us: phrases.window(us) for us in said} == said


def test_unordered_steps_may_be_equal_or_told_apart_by_a_property():
    log = log_of(OPTIONS, "platform")
    steps = [Step("b", {"platform": "web"}), Step("b", {"platform": ["ios", "android"]}), "c", "c"]
    assert diagnose_funnel(log, steps, window="1d", as_of="2026-01-05", order="unordered").steps[
        "n_reached"
    ].tolist() == [4, 3, 0, 0]


# -------------------------------------------------------------------------------- the planted truth

NOTHING = pd.DataFrame(columns=["day", "kind", "label", "micro_conversions"], dtype=object)
PATH = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]


def test_the_demos_rates_are_recovered(product):
    """The truth is counted on users whose window has closed and before 1 % are left out for lack of
    consent; tracking loss is in `tracked_rate`."""
    log, truth = product
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-11-29", by="channel").steps
    both = result.merge(
        truth["funnel"].drop(columns="conversion_rate"), on=["segment", "step", "event"]
    )
    assert len(both) == 24 and both["n_pending"].max() > 100
    steps = both[both["step"] > 1]
    assert (
        (steps["conversion_rate_ci_lower"] < steps["tracked_rate"])
        & (steps["tracked_rate"] < steps["conversion_rate_ci_upper"])
    ).all()
    assert result[result["step"] == 4].set_index("segment")["conversion_rate"].idxmin() == "creator"


# -------------------------------------------------------------------------------------------- plots


def test_plots_show_every_step_and_segment(product):
    log, _ = product
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-11-29", by="platform")
    axes = plots.plot_funnel(result.steps)
    words = " ".join(t.get_text() for t in axes.texts)
    assert (
        f"{row(result, 4)['n_reached']:,} users" in words
        and "pending" in words
        and len(axes.get_yticks()) == 4
    )
    axes = plots.plot_funnel_segments(result.steps)
    assert {t.get_text().split(" ")[0] for t in axes.get_yticklabels()} == {"web", "iOS", "Android"}
    plots.plot_funnel_segments(result.steps[result.steps["segment"] != "all"])
    axes = plots.plot_funnel_times(result.times)
    said = sorted(t.get_text()[3:] for t in axes.texts)
    assert (
        said == sorted(event.replace("_", " ") for event in PATH[1:])
        and axes.get_xlabel() == "days since the step before"
    )
    short = diagnose_funnel(log, PATH, window="60min", as_of="2026-11-29")
    assert plots.plot_funnel_times(short.times).get_xlabel() == "minutes since the step before"
    matplotlib.pyplot.close("all")


@pytest.mark.parametrize(
    ("n", "verdict", "note"),
    [
        (40, "sure", "30 points below the target: 50 %"),
        (110, "not clear", "5 points above the target: 50 %"),
        (150, "sure", "25 points above the target: 50 %"),
    ],
)
def test_the_plans_target_is_what_the_level_is_held_against(n, verdict, note):
    """Of 200 users n go on: 20, 55 and 75 %."""
    aim = Aim(0.5, "2026-12-31", Step("a"))
    steps = ["a", Step("b", within="7d", target=aim)]
    rows = [(f"u{i}", "a", "2026-01-01") for i in range(200)]
    rows += [(f"u{i}", "b", "2026-01-02") for i in range(n)]
    asked = {"as_of": "2026-03-01"}
    result = diagnose_funnel(log_of(rows), steps, window="7d", **asked)
    (level,) = result.headlines
    assert (level.against.kind, level.against.value) == ("target", 50)
    assert (level.verdict, level.note) == (verdict, note.replace(" %", "\u00a0%"))
    assert result.target_rate == 0.5 and "against" in level.places
    for other in (
        diagnose_funnel(log_of(rows), steps, window="6d", **asked),
        diagnose_funnel(log_of(rows), [Step(["a", "c"]), steps[1]], window="7d", **asked),
    ):
        assert other.target_rate is None and not other.headlines[0].verdict, "another question"


def test_groups_below_ten_users_are_told_with_others_in_tables_and_pictures():
    """40 users in each segment and week, of whom 30, 10, 9, 1 and none go the whole way; 9 more
    users sit in a segment of their own and all do. How many go is no secret of the 40."""
    done = {"2026-01-05": 30, "2026-01-12": 10, "2026-01-19": 9, "2026-01-26": 1, "2026-02-02": 0}
    rows = [
        (f"{day} {i}", event, pd.Timestamp(day), f"seg {k}")
        for day, k in done.items()
        for i in range(40)
        for event in STEPS[: 3 if i < k else 1]
    ]
    rows += [
        (f"few {i}", event, pd.Timestamp("2026-02-09"), "few") for i in range(9) for event in STEPS
    ]
    log = log_of(rows, "channel")
    found = {
        by: diagnose_funnel(log, STEPS, window="1d", as_of="2026-03-01", by=by)
        for by in ("channel", "week")
    }
    steps = {by: funnel.steps for by, funnel in found.items()}
    drawn = {
        "channel": [
            t.get_text().removesuffix(" (40)")
            for t in plots.plot_funnel_segments(steps["channel"]).get_yticklabels()
        ],
        "week": list(plots.plot_funnel_weeks(steps["week"], NOTHING, STEPS).lines[0].get_ydata()),
    }
    assert sorted(drawn["channel"]) == ["others (49)", "seg 1", "seg 10", "seg 30", "seg 9"]
    assert drawn["week"] == [30 / 40, 10 / 40, 9 / 40, 1 / 40, 9 / 49]
    for by, words in (
        ("channel", "few and seg 0 as others."),
        ("week", "2 February 2026 and 9 February 2026 as 2 February 2026 to 9 February 2026."),
    ):
        assert any(text.endswith(words) for text in found[by].caveats)
        assert not Page().publish(by, steps[by], found[by].groups)[1].any()
    for draw, by, words in (
        (plots.plot_funnel_segments, "channel", "No segment has 10"),
        (partial(plots.plot_funnel_weeks, timeline=NOTHING, asked=[]), "week", "Fewer than two"),
    ):
        few = steps[by].assign(n_entered=9)
        assert draw(few).texts[0].get_text().startswith(words)
    matplotlib.pyplot.close("all")


def test_cohorts_of_nobody_are_refused_as_nobody_is():
    log = log_of([("u1", "x", "2026-01-01"), ("u1", "a", "2026-01-20"), ("u1", "b", "2026-01-21")])
    with pytest.raises(ParameterError, match="nobody did step 1 .a. up to 2026-01-05"):
        diagnose_funnel(log, ["a", "b"], window="2d", as_of="2026-01-05", by="week")


def test_a_repeated_step_does_not_move_the_entry_of_an_unordered_attempt():
    """Three events of one moment: the attempt begins with the first of the log, in ios."""
    moment = "2026-01-01"
    rows = [("u1", "a", moment, "ios"), ("u1", "c", moment, "web"), ("u1", "a", moment, "web")]
    log = log_of([*rows, ("u2", "x", "2026-02-02", "ios")], "platform")
    ask = {"window": "2d", "as_of": "2026-01-31", "order": "unordered", "by": "platform"}
    for steps in (["c", "a"], ["c", "a", "a"]):
        table = diagnose_funnel(log, steps, **ask).steps
        assert set(table["segment"]) == {"all", "ios"}
        assert table["n_reached"].tolist() == [1] * 2 * len(steps)


def test_an_as_of_after_the_data_makes_nobody_fail():
    """40 enter at noon on each of 20 days, half of them go on ten days later.

    The export is of the 20th day. Of the 560 who entered in its last 14 days, 80 are there.
    """
    rows = [
        (f"u{i}", event, i % 20 + after)
        for i in range(800)
        for event, after in (("a", 0.5), ("b", 10.5))
        if event == "a" or (i < 400 and i % 20 + after < 20)
    ]
    log, went_on = (log_of(rows, unit="D", observed_until=day) for day in (None, "2026-03-01"))
    ask = {"steps": ["a", "b"], "window": "14d"}
    at_end = diagnose_funnel(log, **ask, as_of="2026-01-20")
    later = diagnose_funnel(log, **ask, as_of="2026-03-01")
    silent = diagnose_funnel(went_on, **ask, as_of="2026-03-01")
    assert [f.steps["n_pending"].iloc[1] for f in (at_end, later, silent)] == [480, 480, 0]
    late = "as_of 2026-03-01 lies after the end of the data and is read as 20 January 2026"
    assert later.caveats[0].startswith(late)
    assert "lies after" not in " ".join([*at_end.caveats, *silent.caveats])


def test_the_sign_of_an_event_stands_at_its_line():
    timeline = pd.DataFrame(
        {"day": ["2026-02-01", "2026-09-01"], "kind": "release", "label": ["early", "late"]}
    )
    ax = style.axes()
    ax.set_xlim(pd.Timestamp("2026-01-01"), pd.Timestamp("2026-10-01"))
    marks.draw(ax, timeline)
    assert [(t.get_text(), t.get_ha()) for t in ax.texts] == [
        ("\u25a0 early", "left"),
        ("late \u25a0", "right"),
    ]
