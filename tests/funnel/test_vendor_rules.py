"""One funnel under five rules: public cases, a log for every switch, and plain searches over all
chains."""

from functools import cache, partial

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mctlib import plots, stats
from mctlib.contract import ParameterError
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Journeys
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.funnel.vendor_rules import (
    STATUS,
    SWITCHES,
    TOGETHER,
    TOOLS,
    compare_rules,
    count_depths,
    tool_differences,
    user_depths,
)
from tests.support.clusters import share_by_cluster
from tests.support.logs import log_of
from tests.support.walks import CASES, log_of_case

matplotlib.use("Agg")
make_log = partial(log_of, unit="s")
HERE = {"posthog": "PostHog", "clickhouse windowFunnel default": "ClickHouse"}
# what compare_rules does not offer; tests/eventlog/test_journeys.py holds the walk to those that
# can walk
NOT_COMPARED = {
    "exclusions": lambda c: bool(c["exclusions"]),
    "optional steps": lambda c: bool(c["optional_steps"]),
    "another order of steps": lambda c: c["mode"] != "ordered",
    "a mode of windowFunnel, not its default": lambda c: c["dialect"] not in HERE,
}


def reached(result, tool):
    return result.counts.loc[result.counts["tool"] == tool, "n_reached"].tolist()


# --------------------------------------------------------------------------------- published counts


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if not any(out(c) for out in NOT_COMPARED.values())]
)
def test_what_the_tools_own_suites_assert_comes_out_under_their_rule(name):
    case = CASES[name]
    n = reached(
        compare_rules(
            log_of_case(case), case["steps"], window=f"{case['window_seconds']}s", as_of=None
        ),
        HERE[case["dialect"]],
    )
    assert [k for k, known in zip(n, case["expected_counts"]) if known is not None] == [
        k for k in case["expected_counts"] if k is not None
    ]


def test_every_published_case_is_held_or_left_out_for_a_reason():
    reasons = {n: [why for why, out in NOT_COMPARED.items() if out(c)] for n, c in CASES.items()}
    assert sum(not why for why in reasons.values()) == 14 and len(CASES) == 41
    kinds = (
        pd.Series([c["dialect"] for n, c in CASES.items() if not reasons[n]])
        .value_counts()
        .to_dict()
    )
    assert kinds == {"posthog": 9, "clickhouse windowFunnel default": 5}


# ------------------------------------------------------------------- a log where one switch matters

ALONE = {  # switch: steps, window in seconds, rows, tool, its counts, ours
    "reuse": (
        ["a", "a", "b"],
        10,
        [("u", "a", 0), ("u", "b", 1), ("v", "a", 0), ("v", "a", 1), ("v", "b", 2)],
        "ClickHouse",
        [2, 2, 2],
        [2, 1, 1],
    ),
    "first": (
        ["a", "b"],
        10,
        [("u", "a", 0), ("u", "a", 8), ("u", "b", 12), ("v", "a", 0), ("v", "b", 1)],
        "Mixpanel",
        [2, 1],
        [2, 2],
    ),
    "grace": (
        ["a", "b", "c"],
        10,
        [
            ("u", "b", 0),
            ("u", "a", 2),
            ("u", "c", 3),
            ("v", "b", 0),
            ("v", "a", 2.000001),
            ("v", "c", 3),
        ],
        "Mixpanel",
        [2, 1, 1],
        [2, 0, 0],
    ),
    "second": (
        ["a", "b"],
        10,
        [("u", "b", 0.6), ("u", "a", 1.4), ("v", "b", 0.4), ("v", "a", 0.6)],
        "Amplitude",
        [2, 1],
        [2, 0],
    ),  # 1 and 1; 0 and 1
    "repeats": (
        ["a", "a"],
        10,
        [("u", "a", 0.6), ("u", "a", 1.4), ("v", "a", 0.4), ("v", "a", 0.6)],
        "Amplitude",
        [2, 1],
        [2, 2],
    ),
}


@pytest.mark.parametrize("switch", ALONE)
def test_a_log_where_only_one_switch_matters(switch):
    steps, window, rows, tool, theirs, ours = ALONE[switch]
    result = compare_rules(make_log(rows), steps, window=f"{window}s", as_of=None)
    assert reached(result, tool) == theirs
    others = {t for t, switches in TOOLS.items() if switch not in switches} - (
        {"Mixpanel"} if switch == "second" else set()
    )  # two seconds' grace hold one second
    assert all(reached(result, t) == ours for t in others)
    mine = result.differences[result.differences["tool"] == tool]
    assert set(mine["reason"]) == {SWITCHES[switch]}
    assert (mine["n_gained"] - mine["n_lost"]).tolist() == [
        t - o for t, o in zip(theirs, ours) if t != o
    ]
    assert (
        f"{tool} {abs(theirs[-1] - ours[-1])} {'more' if theirs[-1] > ours[-1] else 'fewer'}"
        in result.details[0]
    )
    assert any(f"because {SWITCHES[s]}" in result.details[0] for s in (switch, "grace"))


def test_a_user_whom_no_single_switch_explains():
    """The first a is not followed in time, the second one is, by a b a second before it: Mixpanel's
    grace alone gives step 2, its first entry alone and both
    together step 1. Under c the two must meet: b before the first a, c too late for it but not for
    the second."""
    rows = [("u", "b", 0), ("u", "a", 1), ("u", "a", 9), ("u", "b", 10), ("u", "c", 14)]
    result = compare_rules(make_log(rows), ["a", "b", "c"], window="10s", as_of=None)
    assert reached(result, "Mixpanel") == [1, 1, 0] and reached(result, "PostHog") == [1, 1, 1]
    rows = [
        ("u", "c", 0),
        ("u", "b", 1),
        ("u", "a", 2),
        ("u", "a", 30),
        ("u", "b", 31),
    ]  # ours: step 2 of the second a; first alone: 1; grace alone: 3; both: 3
    mine = compare_rules(make_log(rows), ["a", "b", "c"], window="10s", as_of=None).differences
    assert mine[mine["tool"] == "Mixpanel"][
        ["reason", "step", "n_gained", "n_lost"]
    ].values.tolist() == [[SWITCHES["grace"], 3, 1, 0]]
    rows = [
        ("u", "b", 0),
        ("u", "a", 1),
        ("u", "a", 20),
        ("u", "b", 21),
        ("u", "c", 22),
        ("u", "d", 23),
    ]  # ours 4, first alone 1, grace alone 4, both 2
    mine = compare_rules(make_log(rows), ["a", "b", "c", "d"], window="10s", as_of=None).differences
    assert mine[mine["tool"] == "Mixpanel"][
        ["reason", "step", "n_gained", "n_lost"]
    ].values.tolist() == [[TOGETHER, 3, 0, 1], [TOGETHER, 4, 0, 1]]


# -------------------------------------------------------------- the same, by search over all chains


def longest(events, n, window, *, grace=0, first_only=False):
    """Steps of the longest chain of different events (time, mask): each not more than ``grace``
    before the last, all within the window of step 1."""
    starts = [i for i, (_, mask) in enumerate(events) if mask & 1]
    starts = [i for i in starts if not first_only or events[i][0] == events[starts[0]][0]]

    @cache
    def grow(chain):
        if len(chain) == n:
            return n
        begun, last = events[chain[0]][0], events[chain[-1]][0]
        fits = [
            i
            for i, (t, mask) in enumerate(events)
            if mask >> len(chain) & 1
            and i not in chain
            and t >= last - grace
            and t - begun <= window
        ]
        return max([grow((*chain, i)) for i in fits], default=len(chain))

    return max(grow((i,)) for i in starts)


def window_funnel(events, n, window):
    """ClickHouse's published algorithm: events by (time, condition), each condition remembers the
    start of the chain that last reached it."""
    begun = [None] * n
    for t, k in sorted((t, k) for t, mask in events for k in range(n) if mask >> k & 1):
        if k == 0:
            begun[0] = t
        elif begun[k - 1] is not None and t <= begun[k - 1] + window:
            begun[k] = begun[k - 1]
    return max(k + 1 for k in range(n) if begun[k] is not None)


def random_journeys(seed, masks, n_users=400, span=14):
    """Times in steps of a quarter second, with many ties and repeats."""
    rng = np.random.default_rng(seed)
    size = n_users * 6
    user, time, mask = (
        rng.integers(0, n_users, size),
        rng.integers(0, span * 4, size) * 250_000,
        rng.choice(masks, size).astype(np.uint8),
    )
    order = np.lexsort((time, user))
    return Journeys(user[order], time[order], mask[order], as_of=10**9)


SINGLE, REPEATED, SHARED = [1, 2, 4], [3, 4], [1, 2, 6]  # a > b > c; a > a > b; a > b or c > c
SEARCHED = [
    (tool, switches, masks)
    for tool, switches in [(s, (s,)) for s in SWITCHES] + list(TOOLS.items())
    for masks in (SINGLE, REPEATED, SHARED)
    if "grace" not in switches or masks == SINGLE
    # Mixpanel takes a step's first instance, not always the longest chain when one event fits two
]


@pytest.mark.parametrize(("tool", "switches", "masks"), SEARCHED)
def test_every_rule_against_a_plain_search(tool, switches, masks):
    j, window = random_journeys(len(tool), masks), 4_000_000
    got = dict(zip(*(a.tolist() for a in user_depths(j, 3, window, switches))))

    def rounded(t):
        return (t + 500_000) // 1_000_000 * 1_000_000

    want = {}
    for u in np.unique(j.user):
        events = [(int(t), int(m)) for t, m in zip(j.time[j.user == u], j.mask[j.user == u])]
        if "repeats" in switches:
            several = {}
            for t, m in events:
                several.setdefault((rounded(t), m) if m & (m - 1) else object(), (t, m))
            events = list(several.values())
        if "second" in switches:
            events = [(rounded(t), m) for t, m in events]
        if any(m & 1 for _, m in events):
            want[int(u)] = (
                window_funnel(events, 3, window)
                if "reuse" in switches
                else longest(
                    events,
                    3,
                    window,
                    grace=2_000_000 if "grace" in switches else 0,
                    first_only="first" in switches,
                )
            )
    assert got == want


def test_reasons_add_up_to_the_difference_and_users_add_up_over_chunks():
    parts = [random_journeys(seed, REPEATED) for seed in (1, 2)]
    whole = Journeys(
        np.r_[parts[0].user, parts[1].user + 1000],
        *(np.concatenate([getattr(p, c) for p in parts]) for c in ("time", "mask")),
        as_of=10**9,
    )
    ask = {"n_steps": 3, "window": 4_000_000}
    total = add_up([count_depths(whole, **ask)])
    added = add_up([count_depths(part, **ask) for part in parts])
    for name, table in total.items():
        pd.testing.assert_frame_equal(added[name], table)
    differences = tool_differences(total["depths"], ["a", "a", "b"])
    ours = user_depths(whole, 3, 4_000_000)[1]
    for tool, switches in TOOLS.items():
        theirs = user_depths(whole, 3, 4_000_000, switches)[1]
        mine = differences[differences["tool"] == tool]
        gain = (mine["n_gained"] - mine["n_lost"]).groupby(mine["step"]).sum()
        change = gain.reindex([2, 3], fill_value=0)
        assert change.tolist() == [(theirs >= k).sum() - (ours >= k).sum() for k in (2, 3)]


# --------------------------------------------------------------------------- tables, words, picture


def test_ours_is_the_funnels_count_and_step_1_is_everyones():
    rng = np.random.default_rng(3)
    log = make_log(
        list(
            zip(
                rng.integers(0, 50, 600).astype(str),
                rng.choice(list("abc"), 600),
                rng.integers(0, 400, 600),
            )
        )
    )
    result = compare_rules(log, ["a", "b", "c"], window="40s", as_of=None)
    funnel = diagnose_funnel(log, ["a", "b", "c"], window="40s", as_of=str(log.last_event)).steps
    assert (
        reached(result, "this workbook")
        == reached(result, "PostHog")
        == funnel["n_reached"].tolist()
    )
    assert result.counts[result.counts["step"] == 1]["n_reached"].nunique() == 1
    assert (
        result.counts["reached_rate"] == result.counts["n_reached"] / funnel["n_reached"][0]
    ).all()
    later = result.counts[result.counts["step"] > 1]  # nobody sits in an account
    np.testing.assert_array_equal(
        later[["reached_rate_ci_lower", "reached_rate_ci_upper"]].to_numpy().T,
        stats.wilson(later["n_reached"], funnel["n_reached"][0]),
    )
    assert result.counts[["design_effect", "n_accounts"]].isna().all(
        axis=None
    ) and result.rule.endswith("95 % intervals.")


def test_every_tool_states_every_aspect_with_a_public_page():
    rules = compare_rules(make_log([("u", "a", 0)]), ["a", "b"], window="1d", as_of=None).rules
    assert (
        rules.groupby("tool")["aspect"].nunique().to_dict() == dict.fromkeys(TOOLS, 4)
        and len(rules) == 20
    )
    assert rules.loc[rules["tool"] != "this workbook", "source"].str.startswith("https://").all()
    assert rules["rule"].str.endswith(".").all() and set(STATUS) == set(TOOLS)
    assert {s for switches in TOOLS.values() for s in switches} == set(SWITCHES)


def test_open_windows_and_knotted_moments_are_said():
    log = make_log([("u", "a", 0), ("u", "a", 5), ("u", "b", 5), ("v", "a", 90)])
    result = compare_rules(log, ["a", "a", "b"], window="10s", as_of="2026-01-01T00:01:31Z")
    assert reached(result, "this workbook") == [2, 1, 1]
    assert result.caveats[0].startswith(
        "Still inside the window of their first entry on 1 January 2026 and not at the last step: "
        "1 user."
    )
    assert result.caveats[1].startswith(
        "Different events at one moment, and events that fit several steps: 1 user."
    )
    assert "not asked" in result.caveats[2]


def crowded(n_accounts, seed=1):
    """Accounts of 12 users of whom about as many as their account is keen do b in time, some only
    from a later a on; five users have no account."""
    rng = np.random.default_rng(seed)
    account = [*np.repeat([f"acc{i}" for i in range(n_accounts)], 12), *[None] * 5]
    keen = np.r_[rng.beta(2, 2, n_accounts).repeat(12), rng.random(5)]
    users = pd.DataFrame(
        {
            "user": [f"u{i:04d}" for i in range(len(account))],
            "account": account,
            "on": rng.random(len(keen)) < keen,
            "later": rng.random(len(keen)) < 0.2,
        }
    )
    rows = [
        (u.user, event, at)
        for u in users.itertuples()
        for event, at in [
            ("a", 0),
            *([("a", 50)] if u.later else []),
            *([("b", 55 if u.later else 5)] if u.on else []),
        ]
    ]
    people = pd.DataFrame({"user_id": users["user"], "account_id": users["account"]})
    return make_log(rows, people=people), users


def test_users_of_one_account_count_together_by_a_loop_over_accounts():
    """Ours counts who is on, Mixpanel those of them who did not begin anew: the share of each by
    account; five users without an account are one each."""
    log, users = crowded(40)
    alone = users["account"].fillna(users["user"])
    result = compare_rules(log, ["a", "b"], window="10s", as_of=None)
    last = result.counts[result.counts["step"] == 2].set_index("tool")
    for tool, there in (
        ("this workbook", users["on"]),
        ("Mixpanel", users["on"] & ~users["later"]),
    ):
        p, ends, effect = share_by_cluster(alone, there)
        row = last.loc[tool]
        assert row[
            ["reached_rate", "reached_rate_ci_lower", "reached_rate_ci_upper"]
        ].tolist() == pytest.approx([p, *ends])
        assert row["design_effect"] == pytest.approx(effect) and row["n_reached"] == there.sum()
    assert (result.counts["n_accounts"] == 40).all()
    assert (
        "95 % intervals of users in 40 accounts (design effect "
        f"{last.loc['this workbook', 'design_effect']:.1f})" in result.rule
    )
    assert not any("account" in c for c in result.caveats) and not set(
        users["account"].dropna()
    ) & set(result.counts["tool"])


def test_below_ten_accounts_there_is_no_interval():
    result = compare_rules(crowded(4)[0], ["a", "b"], window="10s", as_of=None)
    assert (
        result.counts.loc[
            result.counts["step"] == 2,
            ["reached_rate_ci_lower", "reached_rate_ci_upper", "design_effect"],
        ]
        .isna()
        .all(axis=None)
    )
    assert (
        "Too few accounts (4) to say how far accounts differ, so no interval is given."
        in result.caveats
    )


def test_wrong_parameters_are_refused_and_unknown_events_named():
    log = make_log([("u", "a", 0)])
    with pytest.raises(ParameterError, match="at least two steps"):
        compare_rules(log, ["a"], window="1d", as_of=None)
    with pytest.raises(ParameterError, match='step 1 cannot be reached, event "x"'):
        compare_rules(log, ["x", "a"], window="1d", as_of=None)
    with pytest.raises(ParameterError, match="nobody did step 1"):
        compare_rules(
            log, [{"event": "a", "where": {"platform": "web"}}, "a"], window="1d", as_of=None
        )
    result = compare_rules(log, ["a", "x"], window="1d", as_of=None)
    assert (
        result.caveats[0].startswith('The event "x" does not occur')
        and "no user is counted differently" in result.details[0]
        and result.differences.empty
    )


def test_the_picture_draws_every_tool():
    steps, window, rows, *_ = ALONE["reuse"]
    many = [(f"{user}{i}", event, t) for i in range(20) for user, event, t in rows]
    ax = plots.plot_rules(
        compare_rules(make_log(many), steps, window=f"{window}s", as_of=None).counts
    )
    assert {label.get_text().split("\n")[0] for label in ax.get_yticklabels()} == set(TOOLS)
