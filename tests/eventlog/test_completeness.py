"""Completeness of an event: counted by hand on a few users, and naively, user by user, on many."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from mctlib.eventlog import completeness as tracking
from mctlib.eventlog.steps import as_step
from tests.support.logs import frame_of, log_of, numbered

DAY = 86_400_000_000
EVENTS = ["join", "profile", "resume", "interview"]
IMPLIED = {1: [2, 3], 2: [3]}


def make_log(rows, server):
    """Rows of (user, event, days after 1 January)."""
    return log_of(rows, unit="D", backend=frame_of(server, unit="D") if server else None)


def checks(log, event, user, since, until, names=("ann", "bob", "cid", "dan", "eve")):
    """did, tracked of some users, by their place in ``names``, between two days."""
    matchers = [as_step(e) for e in EVENTS]
    proof = tracking.proofs(log, matchers, implied=IMPLIED)[event]
    (j,) = log.journeys(events=matchers)
    number = np.array([numbered(names).index(name) for name in names])[np.asarray(user)]
    order = np.argsort(number)
    at = [
        pd.Timestamp("2026-01-01").value // 1000
        + np.broadcast_to(np.asarray(days) * DAY, len(user)).astype(np.int64)[order]
        for days in (since, until)
    ]
    found = tracking.check(j, event, proof, user=number[order], since=at[0], until=at[1])
    return proof, *(values[np.argsort(order)] for values in found)


ROWS = [
    ("ann", "join", 0),
    ("ann", "profile", 1),
    ("ann", "interview", 3),
    ("bob", "join", 0),
    ("bob", "interview", 2),
    ("cid", "join", 0),
    ("cid", "resume", 9),
    ("dan", "profile", 0),
    ("dan", "join", 1),
    ("dan", "resume", 2),
    ("eve", "join", 0),
    ("eve", "profile", 9),
]


def test_the_servers_records_by_hand():
    """Within days 0 to 5 the server knows profiles of ann, bob and eve, too late one of cid. Ann's
    was tracked, eve's event comes after the span."""
    server = [
        ("ann", "profile", 1),
        ("bob", "profile", 1),
        ("cid", "profile", 6),
        ("eve", "profile", 5),
        ("eve", "profile", 5),
    ]
    proof, did, tracked = checks(make_log(ROWS, server), 1, range(5), 0, 5)
    assert (
        proof.source == "backend"
        and did.tolist() == [True, True, False, False, True]
        and tracked.tolist() == [True, False, False, False, False]
    )


def test_later_events_by_hand():
    """An interview or a résumé within days 0 to 5 proves a profile of ann, bob and dan; dan's came
    before day 1, where his span begins, which is fine."""
    proof, did, tracked = checks(make_log(ROWS, []), 1, range(5), [0, 0, 0, 1, 0], 5)
    assert (
        proof.source == "implied"
        and did.tolist() == [True, True, False, True, False]
        and tracked.tolist() == [True, False, False, True, False]
    )


def test_the_best_proof_of_each_event():
    """The backend has résumés, so a later interview is not needed; profiles are implied; nothing
    proves the others. The backend holds no properties to filter by."""
    log = make_log(ROWS, [("ann", "resume", 2)])
    found = tracking.proofs(
        log,
        [
            as_step(e)
            for e in [
                *EVENTS,
                {"event": "resume", "where": {"platform": "web"}},
                ["resume", "profile"],
            ]
        ],
        implied=IMPLIED,
    )
    assert [p.source for p in found] == ["none", "implied", "backend", "none", "none", "backend"]
    assert [list(p.later) for p in found] == [[], [2, 3], [], [], [], []]
    proof, did, _ = checks(log, 3, range(5), 0, 9)
    assert proof.source == "none" and not did.any()


@pytest.mark.parametrize("event", [1, 2])
@pytest.mark.parametrize("with_server", [True, False])
def test_many_users_one_by_one(event, with_server):
    rng = np.random.default_rng(event)

    def some(n):
        drawn = zip(rng.integers(0, 300, n), rng.integers(0, 4, n), rng.integers(0, 40, n))
        return [(f"u{u:03d}", EVENTS[e], d) for u, e, d in drawn]

    rows, server = some(1200), some(700)
    log = make_log(rows, server if with_server else [])
    names = sorted({u for u, *_ in rows + (server if with_server else [])})
    user = np.sort(rng.choice(len(names), 200, replace=False))  # not everybody is asked about
    since = rng.integers(0, 20, 200)
    until = since + rng.integers(0, 20, 200)
    _, did, tracked = checks(log, event, user, since, until, names)
    expected = []
    for u, a, b in zip(user, since, until):
        mine = [(e, d) for who, e, d in rows if who == names[u]]
        if with_server:
            sure = any(
                e == EVENTS[event] and a <= d <= b for who, e, d in server if who == names[u]
            )
            there = any(e == EVENTS[event] and a <= d <= b for e, d in mine)
        else:
            sure = any(e in EVENTS[event + 1 :] and a <= d <= b for e, d in mine)
            there = any(e == EVENTS[event] and d <= b for e, d in mine)
        expected.append((sure, sure and there))
    assert list(zip(did.tolist(), tracked.tolist())) == expected
    assert 20 < did.sum() < 180 and 5 < tracked.sum() < did.sum()


def test_completeness_is_a_rate_with_wilsons_interval():
    keys, checked, tracked = (
        pd.DataFrame({"segment": ["a", "b", "c"]}),
        np.array([[20, 3, 0], [30, 0, 0]]),
        np.array([[14, 3, 0], [20, 0, 0]]),
    )
    table = tracking.completeness(keys, checked, tracked, n_accounts=np.nan)
    assert table["n_checked"].tolist() == [50, 3, 0] and table["n_tracked"].tolist() == [34, 3, 0]
    assert table["completeness_rate"].tolist() == pytest.approx([0.68, 1, np.nan], nan_ok=True)
    low, high = proportion_confint([34, 3], [50, 3], method="wilson")
    np.testing.assert_allclose(
        table.loc[:1, ["completeness_rate_ci_lower", "completeness_rate_ci_upper"]],
        np.c_[low, high],
        rtol=1e-12,
    )
    assert table.iloc[2, 3:].isna().all()


def test_completeness_of_users_in_accounts_goes_by_bucket():
    """Twelve buckets of ten users, whose events are there for all or for none of them: worth twelve
    users, not 120."""
    checked, tracked = np.full((12, 1), 10), np.repeat([[10], [0]], [9, 3], axis=0)
    table = tracking.completeness(pd.DataFrame({"segment": ["a"]}), checked, tracked, n_accounts=12)
    assert table["completeness_rate"].item() == 0.75
    # without a bucket of the nine: 80 of 110; without one of the three: 90 of 110
    there, gone = np.log((80 / 30) / 3), np.log((90 / 20) / 3)
    half = stats.t.ppf(0.975, 11) * np.sqrt(11 / 12 * (9 * there**2 + 3 * gone**2))
    ends = [1 / (1 + np.exp(-(np.log(3) + sign * half))) for sign in (-1, 1)]
    assert table[["completeness_rate_ci_lower", "completeness_rate_ci_upper"]].iloc[
        0
    ].tolist() == pytest.approx(ends)
