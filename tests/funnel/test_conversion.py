"""The funnel: hand counts, a recomputation user by user, published intervals, cuts of a constant
truth, and the demo's planted truth."""

from itertools import permutations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from scipy.stats import t as student

from mctlib import phrases, plots, stats
from mctlib.contract import ParameterError
from mctlib.eventlog import event_log as log_module
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import tally
from mctlib.eventlog.steps import ANY, Exclusion, Step
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.plots.style import HATCH
from mctlib.results import suppress
from tests.support.logs import log_of
from tests.support.walks import CASES, attempt, first_entry_only, log_of_case

matplotlib.use("Agg")
DAY = pd.Timedelta("1D")
STEPS = ["signed_up", "profile_completed", "interview_scheduled"]


def row(result, step, segment="all"):
    return result.steps.set_index(["segment", "step"]).loc[(segment, step)]


# -------------------------------------------------------------------------------------- hand counts

SIX = [
    ("ann", "signed_up", "2026-01-01"),
    ("ann", "profile_completed", "2026-01-02"),
    ("ann", "interview_scheduled", "2026-01-04"),
    ("bob", "signed_up", "2026-01-01"),
    ("bob", "profile_completed", "2026-01-05"),
    ("cem", "signed_up", "2026-01-10"),
]


def test_six_rows_by_hand():
    """Five days, seen up to 13 January, 0 h: cem has three days of the window behind him and is
    pending. A microsecond less, and he is not there when ann goes on after three."""
    before = diagnose_funnel(log_of(SIX), STEPS, window="5d", as_of="2026-01-12")
    assert before.steps["conversion_rate"].tolist() == [1, 1, 0.5]
    result = diagnose_funnel(log_of(SIX), STEPS, window="5d", as_of="2026-01-13T00:00:00Z")
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
        "step_rate",
        "step_rate_ci_lower",
        "step_rate_ci_upper",
        "p25_days",
        "median_days",
        "p75_days",
        "p90_days",
    ]
    assert result.steps["n_reached"].tolist() == [3, 2, 1] and result.steps[
        "n_pending"
    ].tolist() == [0, 1, 1]
    assert result.steps["naive_rate"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    # step 2: ann after 1 day (3 at risk), cem leaves after 3, bob after 4 (1 at risk): 1 - 2/3 * 0
    assert row(result, 2)["conversion_rate"] == 1
    # step 3: ann after 3 days, of 3 at risk; Greenwood (2/3)^2 / (3 * 2), so the effective size is
    # (2/9) / (2/27) = 3: Wilson of 1 in 3
    step = row(result, 3)
    assert step[
        ["conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper"]
    ].tolist() == pytest.approx([1 / 3, 0.06149194, 0.79234040], abs=1e-7)
    assert result.steps["step_rate"].tolist()[1:] == [
        1,
        0.5,
    ]  # ann and bob have their five days behind them
    assert result.steps["median_days"].tolist()[1:] == [
        4,
        2,
    ]  # S: 2/3 after 1 day, 0 after 4 · bob's window leaves him 1 day, ann needs 2
    assert any("1 user (33.3 %)" in c for c in result.caveats)
    assert (
        result.steps[["design_effect", "n_accounts", "horizon_days", "horizon_rate"]]
        .isna()
        .all(axis=None)
    )  # no accounts, and fewer than 10 entrants
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
    result = diagnose_funnel(log_of(SIX), STEPS, window="30d", as_of="2026-01-12")
    assert (
        result.steps["conversion_rate"].isna().tolist() == [False, True, True]
        and result.steps["step_rate"].isna().all()
    )
    assert "is not known yet" in result.finding and result.steps["n_reached"].tolist() == [3, 2, 1]


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
        and result.finding.startswith("Of 1 user with a, 100.0 %")
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
        nobody.finding
        == "An exclusion takes out the first attempt of everyone with a, so there is no rate."
    )
    assert nobody.rule == "steps in order, 5 days from a user's first entry."
    plots.plot_funnel(nobody.steps)
    plots.plot_funnel_times(nobody.times)
    matplotlib.pyplot.close("all")


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
        and "By segment" not in result.finding
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


# ------------------------------------------------------------------------------ user by user, naive


def aalen_johansen(spans, endings, end):
    """Share reached by ``end``, and the first time each share is reached; users one by one.

    endings: "reached", "left" or "waiting".
    """
    share, still, times = 0.0, 1.0, []
    for t in sorted({s for s in spans if s <= end}):
        here = [e for s, e in zip(spans, endings) if s == t]
        n = sum(s >= t for s in spans)
        share += still * here.count("reached") / n
        still *= 1 - (here.count("reached") + here.count("left")) / n
        times.append((t, share))
    return share, lambda q: next((t for t, f in times if f >= q - 1e-12), np.nan)


def by_accounts(pairs, account):
    """Design effect, accounts, and the interval, of users (who, success) of a share, accounts one
    by one; users without an account stand alone."""
    groups = {}
    for who, success in pairs:
        groups.setdefault(account[who] or f"user {who}", []).append(success)
    n, g = len(pairs), len(groups)
    p = sum(success for _, success in pairs) / n
    variance = g / (g - 1) * sum((sum(y) - p * len(y)) ** 2 for y in groups.values()) / n**2
    accounts = len({account[who] for who, _ in pairs if account[who]})
    counted = (
        max(accounts, n**2 / sum(len(y) ** 2 for y in groups.values()))
        if g > accounts
        else accounts
    )
    half = student.ppf(0.975, counted - 1) * np.sqrt(variance) / (p * (1 - p))
    return (
        variance / (p * (1 - p) / n),
        g,
        [1 / (1 + np.exp(-(np.log(p / (1 - p)) + sign * half))) for sign in (-1, 1)],
    )


@pytest.mark.parametrize("seed", range(8))
def test_every_number_user_by_user(seed, monkeypatch):
    """Random logs on whole hours, seen up to the middle; in small chunks of users, which must not
    matter. Users may leave, and sit in accounts, in every second."""
    monkeypatch.setattr(log_module, "CHUNK_ROWS", 97)
    rng = np.random.default_rng(seed)
    n, window, hours, leaving, nested = 900, 36, 24 * 10, seed % 2 == 1, seed % 4 > 1
    frame = pd.DataFrame(
        {
            "user": rng.integers(0, 70, n),
            "event": rng.choice(["a", "b", "c", "x"], n, p=[0.3, 0.35, 0.25, 0.1]),
            "hour": rng.integers(0, hours, n),
            "platform": rng.choice(["web", "ios"], n),
        }
    )
    start, as_of = pd.Timestamp("2026-01-01"), 24 * 6
    account = [f"acc{u % 17}" if nested and u % 5 else None for u in range(70)]
    log = EventLog.from_frame(
        frame.assign(
            user_id=frame["user"].map("u{}".format),
            timestamp=start + pd.to_timedelta(frame["hour"], unit="h"),
        ).drop(columns=["user", "hour"]),
        people=pd.DataFrame({"user_id": [f"u{u}" for u in range(70)], "account_id": account})
        if nested
        else None,
    )
    asked = {
        "window": f"{window}h",
        "as_of": str(start + pd.Timedelta(hours=as_of)),
        "by": "platform",
        "competing": "x" if leaving else None,
    }
    result = diagnose_funnel(log, ["a", "b", "c"], **asked)
    deepest, first, exits = [], {}, {}
    for u in range(70):
        mine = frame[(frame["user"] == u) & (frame["hour"] <= as_of)].sort_values(["hour", "event"])
        events = [
            (h, {"abc".index(e) + 1}, set())
            for h, e in zip(mine["hour"], mine["event"])
            if e != "x"
        ]
        if found := attempt(events, 3, window):
            deepest.append(found[0])
            times = attempt(first_entry_only(events, window, "ordered"), 3, window)[0]
            exits[u] = min(
                [
                    h
                    for h, e in zip(mine["hour"], mine["event"])
                    if e == "x" and h >= times[0] and leaving
                ],
                default=np.inf,
            )
            first[u] = [t if t is not None and t <= exits[u] else None for t in times]

    def expected(k):
        reached = {u: t[k] is not None for u, t in first.items()}
        left = {u: not reached[u] and exits[u] <= t[0] + window for u, t in first.items()}
        ending = {u: "reached" if reached[u] else "left" if left[u] else "waiting" for u in first}
        stop = {
            u: t[k] if reached[u] else min(as_of, t[0] + window, exits[u]) for u, t in first.items()
        }
        conversion, _ = aalen_johansen(
            [stop[u] - t[0] for u, t in first.items()], list(ending.values()), window
        )
        before = [u for u, t in first.items() if k and t[k - 1] is not None]
        over = [u for u in before if first[u][0] + window <= as_of]
        _, quantile = aalen_johansen(
            [stop[u] - first[u][k - 1] for u in before], [ending[u] for u in before], window
        )
        got = row(result, k + 1)
        if nested and k:
            matured = [u for u, t in first.items() if t[0] + window <= as_of]
            effect, _, _ = by_accounts([(u, reached[u]) for u in matured], account)
            assert (got["design_effect"], got["n_accounts"]) == (
                pytest.approx(effect),
                len({account[u] for u in first if account[u]}),
            )
            _, _, ends = by_accounts([(u, reached[u]) for u in over], account)
            assert got[["step_rate_ci_lower", "step_rate_ci_upper"]].tolist() == pytest.approx(ends)
        return [
            sum(t[k] is not None for t in deepest),
            sum(e == "waiting" and first[u][0] + window > as_of for u, e in ending.items()),
            sum(left.values()),
            conversion if k else 1,
            sum(t[k] is not None for t in deepest) / len(deepest),
            np.mean([reached[u] for u in over]) if k else np.nan,
            *(quantile(q) / 24 if k else np.nan for q in (0.25, 0.5, 0.75, 0.9)),
        ]

    columns = [
        "n_reached",
        "n_pending",
        "n_competing",
        "conversion_rate",
        "naive_rate",
        "step_rate",
        "p25_days",
        "median_days",
        "p75_days",
        "p90_days",
    ]
    got = result.steps.query("segment == 'all'")[columns].to_numpy(float)
    np.testing.assert_allclose(got, [expected(k) for k in range(3)], atol=1e-9)
    by_segment = (
        result.steps.query("segment != 'all'")
        .groupby("step")[["n_reached", "n_pending", "n_competing"]]
        .sum()
    )
    assert by_segment.to_numpy().tolist() == got[:, :3].tolist()
    assert (got[1:, 2] > 0).all() == leaving


@pytest.mark.parametrize("leaving", [False, True])
def test_durations_are_exact(leaving, monkeypatch):
    """Random microseconds, seen up to the middle, against lifelines and, where users leave, the
    loop above; and as a large log has them, to 5 minutes."""
    rng = np.random.default_rng(11)
    n, window, start, as_of = (
        400,
        14 * 86_400_000_000,
        pd.Timestamp("2026-01-01"),
        20 * 86_400_000_000,
    )
    entry, wait, gone = (
        rng.integers(0, 25 * 86_400_000_000, n),
        rng.exponential(8 * 86_400e6, n).astype(int),
        rng.exponential(20 * 86_400e6, n).astype(int),
    )

    def at(us):
        return start + pd.to_timedelta(us, unit="us")

    name = np.array([f"u{i}" for i in range(n)])
    frame = pd.concat(
        [
            pd.DataFrame({"user_id": name, "event": e, "timestamp": at(us)})
            for e, us in (("a", entry), ("b", entry + wait), ("x", entry + gone))
        ]
    )
    asked = {
        "window": "14d",
        "as_of": str(at(as_of)) + "+00:00",
        "competing": "x" if leaving else None,
    }
    result = diagnose_funnel(EventLog.from_frame(frame), ["a", "b"], **asked)
    last, seen = row(result, 2), entry <= as_of
    entry, wait, gone = (v[seen] for v in (entry, wait, gone if leaving else np.full(n, 1 << 60)))
    stop = np.minimum.reduce([wait, gone, as_of - entry, np.full(len(wait), window)])
    ending = np.where(
        wait == stop, "reached", np.where((gone == stop) & (wait != stop), "left", "waiting")
    )
    if leaving:
        share, quantile = aalen_johansen(stop.tolist(), ending.tolist(), window)
        assert last["conversion_rate"] == pytest.approx(share, abs=1e-12)
    else:
        fitted = KaplanMeierFitter().fit(stop, ending == "reached")
        assert last["conversion_rate"] == pytest.approx(1 - fitted.predict(window), abs=1e-9)

        def quantile(q):
            return fitted.percentile(1 - q)

        shown = result.times["days"].to_numpy() * 86_400e6
        np.testing.assert_allclose(
            result.times["reached_rate"], 1 - fitted.predict(np.round(shown)).to_numpy(), atol=1e-9
        )
    for column, q in (("p25_days", 0.25), ("median_days", 0.5)):
        assert last[column] == pytest.approx(quantile(q) / 86_400e6, abs=1e-12)
    assert (
        last["n_pending"]
        == (ending == "waiting").sum() - ((ending == "waiting") & (stop == window)).sum()
        and "times to" not in result.rule
    )
    monkeypatch.setattr("mctlib.eventlog.event_log.EXACT_EVENTS", 1000)
    large = diagnose_funnel(EventLog.from_frame(frame), ["a", "b"], **asked)
    assert 0 < abs(row(large, 2)["median_days"] - last["median_days"]) <= 5 / 1440 and row(
        large, 2
    )["median_days"] * 288 == pytest.approx(round(row(large, 2)["median_days"] * 288))
    assert "times to 5 minutes, 95 % intervals" in large.rule


def test_a_duration_of_years_in_thousands_of_segments_is_exact():
    """30 years in microseconds times 3,000 segments is more than an integer holds.

    Every second user's wait is the last user's.
    """
    at = np.arange(3000)
    given = {"segment": at, "outcome": at % 3, "closed": at % 5 > 2, "ticks": at % 2 + 9 * 10**14}
    found = tally(**given)
    assert (found.pop("n_users") == 1).all()
    assert {name: column.tolist() for name, column in found.items()} == {
        name: column.tolist() for name, column in given.items()
    }


# --------------------------------------------------------------------- leaving, accounts, any order


def test_who_leaves_first_does_not_convert_by_hand():
    """ann leaves before b, bob at the very moment of his b, cem after three days; dee's exit lies
    before her entry; fay is seen for two days of her five."""
    rows = [
        ("ann", "a", "2026-01-01"),
        ("ann", "gone", "2026-01-02"),
        ("ann", "b", "2026-01-03"),
        ("bob", "a", "2026-01-01"),
        ("bob", "gone", "2026-01-02"),
        ("bob", "b", "2026-01-02"),
        ("cem", "a", "2026-01-01"),
        ("cem", "gone", "2026-01-04"),
        ("dee", "gone", "2025-12-31"),
        ("dee", "a", "2026-01-01"),
        ("dee", "b", "2026-01-03"),
        ("fay", "a", "2026-01-10"),
    ]
    result = diagnose_funnel(
        log_of(rows), ["a", "b"], window="5d", as_of="2026-01-12T00:00:00Z", competing="gone"
    )
    # after 1 day 5 at risk: bob in, ann out, share 1/5, 3/5 still waiting; after 2 days 3 at risk:
    # dee in, + 3/5 * 1/3
    assert row(result, 2)[
        ["n_reached", "n_pending", "n_competing", "conversion_rate"]
    ].tolist() == [3, 1, 2, pytest.approx(0.4)]
    assert (
        row(result, 2)["step_rate"] == 2 / 4
    )  # ann, bob, cem and dee have their five days behind them
    assert "leaving by gone ends the wait" in result.rule
    without = diagnose_funnel(log_of(rows), ["a", "b"], window="5d", as_of="2026-01-12T00:00:00Z")
    assert row(without, 2)[["n_competing", "conversion_rate"]].tolist() == [
        0,
        pytest.approx(1 / 5 + 4 / 5 * 2 / 4),
    ]  # cem waits his five days: 1 of 5, then 2 of 4


def nested_log(n_accounts, rng, users=20, icc=0.1, p=0.3, spread=0):
    """Users of accounts that share a beta-distributed rate; all enter within ``spread`` days,
    converters one day later."""
    each = rng.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), n_accounts).repeat(users)
    name = [f"u{i}" for i in range(len(each))]
    entry = pd.Timestamp("2026-01-01") + pd.to_timedelta(
        rng.uniform(0, spread, len(each)), unit="D"
    )
    rows = [
        *zip(name, ["a"] * len(name), entry),
        *((u, "b", t + DAY) for u, t, y in zip(name, entry, rng.random(len(each)) < each) if y),
    ]
    return log_of(
        rows,
        people=pd.DataFrame(
            {"user_id": name, "account_id": [f"acc{i // users}" for i in range(len(name))]}
        ),
    )


def test_users_of_one_account_count_for_less():
    """Design effect of 40 accounts of 20 users with an intra-account correlation of 0.1:
    1 + 19 * 0.1 = 2.9 (Kish)."""
    log = nested_log(40, np.random.default_rng(4))
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    last = row(result, 2)
    assert last["n_accounts"] == 40 and last["design_effect"] == pytest.approx(2.9, abs=1.0)
    assert last[["conversion_rate_ci_lower", "conversion_rate_ci_upper"]].tolist() == pytest.approx(
        last[["step_rate_ci_lower", "step_rate_ci_upper"]].tolist()
    )
    low, high = stats.wilson([last["n_reached"]], [800])
    assert last["conversion_rate_ci_upper"] - last["conversion_rate_ci_lower"] > 1.4 * (
        high[0] - low[0]
    )
    assert f"in 40 accounts (design effect {last['design_effect']:.1f})" in result.rule and any(
        "Users of one account act alike" in c for c in result.caveats
    )
    band = result.times.iloc[-1]
    assert band["reached_rate_ci_upper"] - band["reached_rate_ci_lower"] > 1.4 * (high[0] - low[0])


def test_below_ten_accounts_there_is_no_interval():
    result = diagnose_funnel(
        nested_log(9, np.random.default_rng(4)), ["a", "b"], window="3d", as_of="2026-02-01"
    )
    last = row(result, 2)
    assert last["n_accounts"] == 9 and 0 < last["conversion_rate"] < 1
    assert (
        last.filter(like="_ci_").isna().all() and result.times["reached_rate_ci_upper"].isna().all()
    )
    assert (
        "Too few accounts to say how far accounts differ, so no interval is given."
        in result.caveats
        and "too few accounts for intervals" in result.rule
    )


@pytest.mark.parametrize(
    ("n_accounts", "alone", "given"), [(3, 30, False), (12, 0, True), (3, 2000, True)]
)
def test_a_few_large_accounts_beside_users_without_one(n_accounts, alone, given):
    """Accounts of 100. (3, 30): the 330 users tell as much as 330^2 / 30,030 = 3.6 clusters;
    (3, 2000): as 2300^2 / 32,000 = 165. Printed are the accounts alone."""
    rng = np.random.default_rng(6)
    n = 100 * n_accounts + alone
    name, account = (
        [f"u{i}" for i in range(n)],
        [f"acc{i // 100}" if i < 100 * n_accounts else None for i in range(n)],
    )
    went = (rng.random(n) < 0.3) | (np.arange(n) % 100 < 10 * (np.arange(n) // 100 % 3)) & (
        np.arange(n) < 100 * n_accounts
    )
    log = log_of(
        [(u, "a", "2026-01-01") for u in name]
        + [(u, "b", "2026-01-02") for u, y in zip(name, went) if y],
        people=pd.DataFrame({"user_id": name, "account_id": account}),
    )
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    last = row(result, 2)
    k, m = (
        np.bincount(np.arange(n_accounts).repeat(100), weights=w[: 100 * n_accounts])
        for w in (went, np.ones(n))
    )
    low, high, effect, counted = stats.cluster_rate(
        k, m, alone=(went[100 * n_accounts :].sum(), alone)
    )
    assert last["n_accounts"] == n_accounts and (counted >= 10) == given
    for rate in ("conversion_rate", "step_rate", "naive_rate"):
        assert last[[f"{rate}_ci_lower", f"{rate}_ci_upper"]].tolist() == pytest.approx(
            [float(low), float(high)], nan_ok=True
        )
    assert any(c.startswith("Too few accounts to say") for c in result.caveats) != given
    assert (
        any(f"Theirs are {n_accounts} accounts" in c for c in result.caveats) == given
        and (f"in {n_accounts} accounts (design effect {effect:.1f})" in result.rule) == given
    )


def test_accounts_may_also_make_a_rate_surer():
    """20 accounts of 15, of whom 5 to 7 convert: steadier than 300 strangers would be. All
    intervals are the ratio's, and nobody is said to act alike."""
    n = 300
    name, went = [f"u{i}" for i in range(n)], np.arange(n) // 20 < 5 + np.arange(n) % 20 % 3
    log = log_of(
        [(u, "a", "2026-01-01") for u in name]
        + [(u, "b", "2026-01-02") for u, y in zip(name, went) if y],
        people=pd.DataFrame({"user_id": name, "account_id": [f"acc{i % 20}" for i in range(n)]}),
    )
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01")
    low, high, effect, _ = stats.cluster_rate(
        np.bincount(np.arange(n) % 20, weights=went), np.full(20, 15)
    )
    last = row(result, 2)
    assert last["design_effect"] == pytest.approx(effect) and effect < 0.2 and result.caveats == ()
    for rate in ("conversion_rate", "step_rate", "naive_rate", "horizon_rate"):
        assert last[[f"{rate}_ci_lower", f"{rate}_ci_upper"]].tolist() == pytest.approx(
            [float(low), float(high)]
        )


def test_a_segment_without_accounts_has_none():
    name = [f"u{i}" for i in range(240)]
    people = pd.DataFrame(
        {
            "user_id": name,
            "account_id": [f"acc{i % 12}" if i < 120 else None for i in range(240)],
            "plan": ["team" if i < 120 else "free" for i in range(240)],
        }
    )
    log = log_of(
        [(u, "a", "2026-01-01") for u in name] + [(u, "b", "2026-01-02") for u in name[::3]],
        people=people,
    )
    steps = (
        diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01", by="plan")
        .steps.query("step == 2")
        .set_index("segment")
    )
    assert steps["n_accounts"].to_dict() == {"all": 12, "free": 0, "team": 12}
    low, high, effect, _ = stats.cluster_rate(np.empty(0), np.empty(0), alone=(40, 120))
    assert steps.loc[
        "free", ["conversion_rate_ci_lower", "conversion_rate_ci_upper", "design_effect"]
    ].tolist() == pytest.approx([float(low), float(high), float(effect)])


def test_open_windows_borrow_the_design_effect_and_a_share_of_nought_keeps_an_interval():
    log = nested_log(40, np.random.default_rng(4), spread=12)
    result = diagnose_funnel(log, ["a", "b", "c"], window="5d", as_of="2026-01-09", by="week")
    first, last, whole = row(result, 2, "2025-12-29"), row(result, 2, "2026-01-05"), row(result, 2)
    assert (
        first["design_effect"] > 1
        and np.isnan(last["design_effect"])
        and np.isnan(last["conversion_rate"])
        and last["n_accounts"] == 40
    )
    ends = [
        stats.cluster_interval(
            last["horizon_rate"], row(result, 1, "2026-01-05")["n_reached"], effect, 40
        )
        for effect in (1, 1.5 * whole["design_effect"])
    ]
    (inner_low, inner_high), (outer_low, outer_high) = (
        ends  # more than independent users, less than the larger accounts of both weeks
    )
    assert (
        outer_low
        < last["horizon_rate_ci_lower"]
        < inner_low
        < last["horizon_rate"]
        < inner_high
        < last["horizon_rate_ci_upper"]
        < outer_high
    )
    never = row(result, 3)
    assert never["conversion_rate"] == 0 and np.isnan(never["design_effect"])
    matured = diagnose_funnel(log, ["a", "b", "c"], window="5d", as_of="2026-02-01")
    (low,), (high,) = stats.wilson(
        [0], [800 / row(matured, 2)["design_effect"]]
    )  # worth no more users than the step before
    assert row(matured, 3)[
        ["conversion_rate_ci_lower", "conversion_rate_ci_upper"]
    ].tolist() == pytest.approx([float(low), float(high)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"exclude": [Exclusion("x", 1, 4)]},
        {"hold": "platform"},
        {"by": "week"},
        {"order": "strict", "competing": "x"},
        {"optional": [2]},
    ],
)
def test_the_count_in_any_order_is_of_who_ever_did_all_of_them(options):
    """Users with step 1 and, ever, each required step up to this one, in a plain loop; sparse and
    busy users, with exclusions, held properties and other events between."""
    rng = np.random.default_rng(7)
    n = 2000
    frame = pd.DataFrame(
        {
            "user_id": np.where(rng.random(n) < 0.05, 0, rng.integers(0, 600, n)),
            "event": rng.choice(["a", "b", "c", "d", "x"], n),
            "platform": rng.choice(["web", "ios"], n),
            "timestamp": pd.Timestamp("2026-01-01")
            + pd.to_timedelta(rng.integers(0, 24 * 20, n), unit="h"),
        }
    )
    log = EventLog.from_frame(frame.assign(user_id=frame["user_id"].map("u{}".format)))
    seen = frame[frame["timestamp"] < "2026-01-19"].groupby("user_id")["event"].agg(set)
    needs = [
        {"a"},
        {"a", "b"},
        {"a", "c"} if "optional" in options else {"a", "b", "c"},
        {"a", "c", "d"} if "optional" in options else {"a", "b", "c", "d"},
    ]
    found = diagnose_funnel(
        log, ["a", "b", "c", "d"], **{"window": "50h", "as_of": "2026-01-18"} | options
    )
    table = (
        found.steps.query("segment == 'all'")
        if "by" not in options
        else found.steps.query("segment != 'all'")
        .groupby("step", as_index=False)[["n_any_order", "n_reached"]]
        .sum()
    )
    lost = found.checks.loc[found.checks["check"] == "taken out by an exclusion", "n_users"].sum()
    naive = [sum(need <= did for did in seen) for need in needs]
    assert table["n_any_order"].iloc[0] == naive[0] - lost
    assert table["n_any_order"].tolist() == naive or "exclude" in options
    assert (table["n_any_order"] >= table["n_reached"]).all() and table["n_any_order"].iloc[
        -1
    ] > table["n_reached"].iloc[-1]


@pytest.mark.parametrize(
    "steps",
    [
        ["a", "a"],
        ["a", "b", "a"],
        ["a", "a", "b", "a"],
        ["a", ["a", "b"], ["b", "c"]],
        ["a", ["a", "b"], ["a", "b", "c"], "c"],
    ],
)
def test_in_any_order_too_one_event_fills_one_step(steps):
    """Users of up to five events, all ways to give their events to the steps tried; skipped steps
    by events that fit no step up to the skipped one."""
    rng = np.random.default_rng(12)
    did = [["a"]] * 8 + [list(rng.choice(list("abc"), rng.integers(1, 6))) for _ in range(150)]
    rows = [
        (f"u{u}", e, pd.Timestamp("2026-01-01") + pd.Timedelta(hours=h))
        for u, events in enumerate(did)
        for h, e in enumerate(events)
    ]
    result = diagnose_funnel(log_of(rows), steps, window="9d", as_of="2026-02-01")

    def fits(events, k):
        return any(all(e in s for e, s in zip(some, steps)) for some in permutations(events, k))

    assert result.steps["n_any_order"].tolist() == [
        sum(fits(events, k) for events in did) for k in range(1, len(steps) + 1)
    ]
    assert (result.steps["n_any_order"] >= result.steps["n_reached"]).all()
    for k in range(2, len(steps)):
        later = set().union(*steps[k:]) - set().union(*steps[:k])
        naive = sum(
            "a" in events
            and any(e in later for e in events)
            and not any(e in steps[k - 1] for e in events)
            for events in did
        )
        assert result.checks.query("check == 'a later step, but never this one' and step == @k")[
            "n_users"
        ].tolist() == [naive]


def test_checks_say_whom_the_counts_leave_out():
    """Two exclusions: x takes out ann, y takes out bob, either of them eva. gil's profile is on
    another platform, hal skips b, ida ties, joe comes back later."""
    day = "2026-01-0{}".format

    def path(user, *events):
        return [(user, e, t, p) for e, t, p in events]

    rows = [
        *path("ann", ("a", day(1), "web"), ("x", day(2), "web"), ("b", day(3), "web")),
        *path(
            "bob",
            ("a", day(1), "web"),
            ("b", day(2), "web"),
            ("y", day(3), "web"),
            ("c", day(4), "web"),
        ),
        *path(
            "eva",
            ("a", day(1), "web"),
            ("x", day(2), "web"),
            ("b", day(3), "web"),
            ("y", day(4), "web"),
            ("c", day(5), "web"),
        ),
        *path("gil", ("a", day(1), "web"), ("b", day(2), "ios"), ("c", day(3), "ios")),
        *path("hal", ("a", day(1), "web"), ("c", day(2), "web")),
        *path("ida", ("a", day(1), "web"), ("b", day(1), "web"), ("c", day(2), "web")),
        *path(
            "joe",
            ("a", day(1), "web"),
            ("a", "2026-01-20", "web"),
            ("b", "2026-01-21", "web"),
            ("c", "2026-01-22", "web"),
        ),
        *path("kim", ("a", "2026-01-30", "web")),
    ]
    log = log_of(rows, "platform")
    checks = diagnose_funnel(
        log,
        ["a", "b", "c"],
        window="9d",
        as_of="2026-02-01",
        exclude=[Exclusion("x", 1, 2), Exclusion("y", 2, 3)],
        hold="platform",
    ).checks
    assert [tuple(None if pd.isna(v) else v for v in r) for r in checks.to_numpy(object)] == [
        ("window still open, step not reached", 3, "c", 1),
        ("reached only on a later attempt", 3, "c", 1),
        ("taken out by an exclusion", 2, "x after step 1", 2),
        ("taken out by an exclusion", 3, "y after step 2", 2),
        ("taken out by an exclusion", None, "any of these", 3),
        ("taken out by an exclusion on the first attempt only", None, "", 0),
        ("reached, but not with the same platform", 3, "c", 1),
        ("two steps at the very same time", None, "", 1),
        ("a later step, but never this one", 2, "b", 1),
    ]


def test_times_are_the_curve_of_everybody_who_might_go_on():
    """40 users do b after 1, 2, ..., 40 hours, 40 never; from hour 31 on fewer than 10 of them are
    left to go, 50 are at risk."""
    rows = [(f"u{i}", "a", "2026-01-01") for i in range(80)] + [
        (f"u{i}", "b", pd.Timestamp("2026-01-01") + pd.Timedelta(hours=i + 1)) for i in range(40)
    ]
    result = diagnose_funnel(log_of(rows), ["a", "b"], window="3d", as_of="2026-02-01")
    assert row(result, 2)[["p25_days", "median_days", "p75_days"]].tolist() == [
        20 / 24,
        40 / 24,
        pytest.approx(np.nan, nan_ok=True),
    ]
    times = result.times
    assert times["days"].iloc[0] == 0 and times["days"].iloc[-1] == 3 and len(times) <= 122
    hours = np.round(times["days"] * 24).astype(int)
    assert times["reached_rate"].tolist() == pytest.approx(np.minimum(hours, 40) / 80)
    assert times["n_at_risk"].tolist() == [
        80 - min(max(h - 1, 0), 40) for h in hours
    ]  # at risk at an hour: those not there an hour before


def test_the_horizon_is_as_far_as_ten_were_followed():
    """One enters a day, twelve in all, seen up to the end of the twelfth: the tenth longest was
    followed for 3 days but for a microsecond. Six do b after two days."""
    rows = [(f"u{d}", "a", f"2026-01-{d:02d}") for d in range(1, 13)] + [
        (f"u{d}", "b", f"2026-01-{d + 2:02d}") for d in range(1, 7)
    ]
    early = row(diagnose_funnel(log_of(rows), ["a", "b"], window="20d", as_of="2026-01-12"), 2)
    assert early["horizon_days"] == pytest.approx(3 - 1e-6 / 86400, abs=1e-12) and np.isnan(
        early["conversion_rate"]
    )
    assert early["horizon_rate"] == pytest.approx(
        6 / 10
    )  # the last two were seen for less than two days, the eleventh by a microsecond
    late = row(diagnose_funnel(log_of(rows), ["a", "b"], window="20d", as_of="2026-02-12"), 2)
    assert late["horizon_days"] == 20 and late["horizon_rate"] == late["conversion_rate"] == 0.5
    assert late["horizon_rate_ci_upper"] == late["conversion_rate_ci_upper"]


# ----------------------------------------------------------------------------------------- maturity


def test_cutting_the_data_does_not_move_the_rate_but_the_naive_one_falls():
    """3,000 users over 60 days, 40 % of whom convert, after an exponential time of mean 4 days.
    Truth within 14 days: 0.4 (1 - exp(-3.5))."""
    rng = np.random.default_rng(5)
    n, truth = 3000, 0.4 * (1 - np.exp(-14 / 4))
    start = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.uniform(0, 60, n), unit="D")
    done = start + pd.to_timedelta(rng.exponential(4, n), unit="D")
    user, converts = [f"u{i}" for i in range(n)], rng.random(n) < 0.4
    log = log_of(
        [*zip(user, ["a"] * n, start), *((u, "b", t) for u, t, c in zip(user, done, converts) if c)]
    )
    cuts = [
        row(diagnose_funnel(log, ["a", "b"], window="14d", as_of=f"2026-{day}"), 2)
        for day in ("01-20", "02-01", "02-15", "03-01", "04-15")
    ]
    for cut in cuts:
        assert cut["conversion_rate_ci_lower"] < truth < cut["conversion_rate_ci_upper"]
        assert (
            cut["conversion_rate_ci_lower"]
            < cuts[-1]["conversion_rate"]
            < cut["conversion_rate_ci_upper"]
        )
    naive = [cut["naive_rate"] for cut in cuts]
    assert (
        naive[:3] == sorted(naive[:3])
        and naive[0] < cuts[0]["conversion_rate_ci_lower"]
        and naive[0] < cuts[-1]["conversion_rate_ci_lower"]
    )
    assert cuts[-1]["n_pending"] == 0 and cuts[-1]["conversion_rate"] == pytest.approx(
        cuts[-1]["naive_rate"]
    )
    widths = [cut["conversion_rate_ci_upper"] - cut["conversion_rate_ci_lower"] for cut in cuts]
    assert widths == sorted(widths, reverse=True)  # an early look knows less and says so


def test_weekly_cohorts_do_not_move_wherever_the_data_are_cut():
    """The same truth, cut at the end of every third day: what is said of a week never depends on
    where the data end, the naive rate does."""
    rng = np.random.default_rng(8)
    n, curve = 6000, lambda days: 0.4 * (1 - np.exp(-days / 4))
    start = pd.Timestamp("2026-01-05") + pd.to_timedelta(rng.uniform(0, 56, n), unit="D")
    done = start + pd.to_timedelta(rng.exponential(4, n), unit="D")
    user, converts = [f"u{i}" for i in range(n)], rng.random(n) < 0.4
    log = log_of(
        [*zip(user, ["a"] * n, start), *((u, "b", t) for u, t, c in zip(user, done, converts) if c)]
    )
    final = (
        diagnose_funnel(log, ["a", "b"], window="14d", as_of="2026-03-31", by="week")
        .steps.query("step == 2")
        .set_index("segment")
    )
    cuts = [
        diagnose_funnel(
            log, ["a", "b"], window="14d", as_of=str(day.date()), by="week"
        ).steps.query("step == 2")
        for day in pd.date_range("2026-01-14", "2026-03-16", freq="3D")
    ]
    seen = pd.concat(cuts).dropna(subset="horizon_rate")
    target = seen["segment"].map(final["conversion_rate"])

    def within(value, rate):
        return (seen[f"{rate}_ci_lower"] <= value) & (value <= seen[f"{rate}_ci_upper"])

    known, everyone = seen["conversion_rate"].notna(), seen["segment"] == "all"
    assert (
        within(target, "conversion_rate")[known & everyone].all()
        and within(target, "conversion_rate")[known & ~everyone].mean() > 0.97
    )
    assert (within(curve(14), "conversion_rate")[known].mean() > 0.93) and within(
        curve(seen["horizon_days"]), "horizon_rate"
    ).mean() > 0.93
    mature = seen["horizon_days"] == 14
    assert (
        (seen["horizon_rate"] == seen["conversion_rate"])[mature].all()
        and mature.sum() > 80
        and (~mature).sum() > 20
    )
    partly = known & (seen["n_pending"] > 0)
    assert (seen["naive_rate"] < seen["conversion_rate"])[partly].all()
    young = seen["horizon_days"] <= 7
    assert (
        young.sum() > 10 and (seen["naive_rate"] < 0.75 * curve(14))[young].all()
    )  # what a plain weekly table would show of them


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
            '"a" occurs, but never with platform = fridge.',
        ),
        (
            [Step(["a", "b"], {"nocolumn": 3, "platform": ["web", "tv"]}), "b"],
            {},
            "steps: step 1 (a or b [nocolumn=3] [platform=['web', 'tv']]) matches no event; "
            '"a" and "b" occur, but never with nocolumn = 3 and platform = web or tv.',
        ),
        (
            [Step(ANY, {"nocolumn": ANY}), "b"],
            {},
            "matches no event; other events occur, but never with nocolumn = any value.",
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
            "give its name, a list of names (any of them), or ANY for every event.",
        ),
        (["a", 3], {}, "steps: 3 is not an event"),
        (["a", Step([])], {}, "steps: [] is not an event"),
        (["a", ["b", 3]], {}, "steps: ['b', 3] is not an event"),
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
            "steps: nobody did any of them up to 2026-01-05. "
            'The event "aa" does not occur in frame. Did you mean "a"? The event "bb" does not',
        ),
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

PATH = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]


def test_the_demos_rates_are_recovered(product):
    """The truth is counted on users whose window has closed and before 1 % are left out for lack of
    consent; tracking loss is in `tracked_rate`."""
    log, truth = product
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-07-05", by="channel").steps
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
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-07-05", by="platform")
    axes = plots.plot_funnel(result.steps)
    words = " ".join(t.get_text() for t in axes.texts)
    assert (
        f"{row(result, 4)['n_reached']:,} users" in words
        and "pending" in words
        and len(axes.get_yticks()) == 4
    )
    axes = plots.plot_funnel_segments(result.steps)
    assert {t.get_text().split(" ")[0] for t in axes.get_yticklabels()} == {"web", "ios", "android"}
    plots.plot_funnel_segments(result.steps[result.steps["segment"] != "all"])
    axes = plots.plot_funnel_times(result.times)
    assert [t.get_text()[3:] for t in sorted(axes.texts, key=lambda t: t.get_text())] == PATH[
        1:
    ] and axes.get_xlabel() == "days since the step before"
    short = diagnose_funnel(log, PATH, window="60min", as_of="2026-07-05")
    assert plots.plot_funnel_times(short.times).get_xlabel() == "minutes since the step before"
    weeks = diagnose_funnel(log, PATH, window="14d", as_of="2026-07-05", by="week").steps
    axes = plots.plot_funnel_cohorts(weeks)
    so_far = [t.get_text() for t in axes.texts if not t.get_text().startswith("all users")]
    open_ = weeks.query("step == 4 and horizon_days < 14")
    assert (
        len(axes.patches) == 26
        and [patch.get_hatch() for patch in axes.patches].count(HATCH)
        == len(so_far)
        == len(open_)
        == 2
    )
    assert (
        so_far[-1] == f"{open_.set_index('segment')['horizon_days'].loc['2026-06-29']:.1f}"
        and "hatched: so far" in axes.get_xlabel()
    )
    matplotlib.pyplot.close("all")


def test_pictures_leave_out_what_the_tables_hide():
    """40 users in each segment and week, of whom 30, 10, 9, 1 and none go the whole way; 9 more
    users sit in a segment of their own and all do."""
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
    steps = {
        by: diagnose_funnel(log, STEPS, window="1d", as_of="2026-03-01", by=by).steps
        for by in ("channel", "week")
    }
    drawn = {
        "channel": [
            t.get_text().removesuffix(" (40)")
            for t in plots.plot_funnel_segments(steps["channel"]).get_yticklabels()
        ],
        "week": [bar.get_height() for bar in plots.plot_funnel_cohorts(steps["week"]).patches],
    }
    assert sorted(drawn["channel"]) == ["seg 0", "seg 10", "seg 30"] and drawn["week"] == [
        30 / 40,
        10 / 40,
        0,
    ]
    for by, table in steps.items():
        masked = suppress(
            table.query("step == 3 and segment != 'all'")[
                ["segment", "n_reached", "conversion_rate"]
            ]
        )[1]
        assert len(drawn[by]) == (~masked).sum(), by
    for draw, by, words in (
        (plots.plot_funnel_segments, "channel", "No segment has 10"),
        (plots.plot_funnel_cohorts, "week", "No cohort has 10"),
    ):
        assert (
            draw(steps[by][steps[by]["segment"].isin(["seg 9", "2026-01-19", "few", "all"])])
            .texts[0]
            .get_text()
            .startswith(words)
        )
    matplotlib.pyplot.close("all")
