"""The funnel walk against counts that public test suites assert, a state machine in plain Python,
and a search over all chains."""

from dataclasses import replace
from datetime import datetime
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctlib.contract import MISSING
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.walk import walk_attempts, walk_funnel
from tests.support.walks import CASES, attempt, attempt_in_any_order, first_entry_only, times_of

# public cases that pin a rule other than ours; they stay in the file so that the difference is on
# record
NOT_OURS = {
    "ch_strict_deduplication_stops_at_duplicate": (
        "only ClickHouse's strict_deduplication stops at a repeated event"
    ),
    "ch_strict_dedup_plus_strict_order": "the same mode",
    "ch_strict_increase_rejects_ties": (
        "we count events of one moment in step order, strict_increase refuses them"
    ),
    "ch_default_reuses_one_event_for_three_steps": "one event fills one step here",
    "ch_strict_order_reentry_breaks": (
        "a second step 1 starts a new attempt here, it does not end the search"
    ),
    "ch_allow_reentry": "after a second step 1 our strict attempt begins again",
}


def journeys(rows, **options):
    """Rows (user, time, mask), in any order, as Journeys; the mask as narrow as a log makes it."""
    narrow = np.min_scalar_type(max((int(r[2]) for r in rows), default=0) | 31)
    user, time, mask = (
        np.array([r[i] for r in rows], d) for i, d in enumerate((np.int64, np.int64, narrow))
    )
    order = np.lexsort((time, user))
    dims = {k: v[order] for k, v in options.pop("dims", {}).items()}
    return Journeys(user[order], time[order], mask[order], as_of=10**9, dims=dims, **options)


# --------------------------------------------------------------------------------- published counts


def of_case(case):
    users = sorted({e["user"] for e in case["events"]})
    bars = [x["event"] for x in case["exclusions"]]
    rows = []
    for e in case["events"]:
        bits = [k for k, name in enumerate(case["steps"] + bars) if name == e["event"]]
        when = datetime.fromisoformat(e["ts"].replace("Z", "+00:00")).timestamp()
        rows.append((users.index(e["user"]), round(when * 1e6), sum(1 << b for b in bits)))
    return walk_funnel(
        journeys(rows),
        len(case["steps"]),
        window=int(case["window_seconds"] * 1_000_000),
        order=case["mode"],
        exclude=[(x["from_step"] + 1, x["to_step"] + 1) for x in case["exclusions"]],
        optional=[k + 1 for k in case["optional_steps"]],
    )


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if c["portable"]])
def test_counts_and_times_that_public_suites_assert(name):
    case = CASES[name]
    walk = of_case(case)
    reached = (walk.rows >= 0).sum(axis=0)
    assert [n for n, known in zip(reached, case["expected_counts"]) if known is not None] == [
        n for n in case["expected_counts"] if n is not None
    ]
    gaps = np.diff(times_of(walk), axis=1) / 1e6
    for key, middle in (
        ("expected_mean_seconds", np.nanmean),
        ("expected_median_seconds", np.nanmedian),
    ):
        for k, seconds in enumerate(case.get(key) or []):
            if seconds is not None:
                assert middle(gaps[:, k - 1]) == pytest.approx(seconds, rel=1e-9)


@pytest.mark.parametrize("name", list(NOT_OURS))
def test_where_we_differ_from_a_public_suite_we_know_it(name):
    case = CASES[name]
    assert not case["portable"]
    assert (of_case(case).rows >= 0).sum(axis=0).tolist() != case["expected_counts"]


def test_every_published_case_is_either_held_or_refused():
    assert {n for n, c in CASES.items() if not c["portable"]} == set(NOT_OURS) and len(CASES) == 41


# -------------------------------------------------------------- the rule, one user, in plain Python


def check(rows, n, **rule):
    """Kernel and plain Python agree on every user: same times at every step, same users out."""
    j = journeys(rows)
    n_bars = len(rule.get("exclude", ()))
    walk = walk_funnel(j, n, **rule)
    got = {
        int(u): tuple(None if np.isnan(t) else int(t) for t in times)
        for u, times in zip(walk.user, times_of(walk))
    }
    want, out = {}, set()
    for u in np.unique(j.user):
        events = [
            (
                int(t),
                {s for s in range(1, n + 1) if int(m) >> (s - 1) & 1},
                {b for b in range(n_bars) if int(m) >> (n + b) & 1},
            )
            for t, m in zip(j.time[j.user == u], j.mask[j.user == u])
        ]
        if rule["order"] != "strict":
            events = [e for e in events if e[1] or e[2]]
        if rule.get("first_only") and rule["order"] != "unordered":
            events = first_entry_only(events)
        if rule["order"] == "unordered":
            same = {}
            for s in range(1, n + 1):
                same.setdefault(tuple(s in steps for _, steps, _ in events), set()).add(s)
            found = attempt_in_any_order(events, n, kinds=list(same.values()), **rule)
        else:
            found = attempt(events, n, **rule)
        if found and found[1]:
            out.add(u)
        elif found:
            want[int(u)] = found[0]
    for u in np.unique(j.user):
        assert got.get(int(u)) == want.get(int(u)), (
            rule,
            list(zip(j.time[j.user == u], j.mask[j.user == u])),
        )
    assert set(walk.excluded.tolist()) == out


def logs(masks, n_users=60, span=12):
    """Small logs with many equal moments and repeats; times are whole numbers, a window of 4 covers
    a third of them."""

    def rows(seed):
        rng = np.random.default_rng(seed)
        size = n_users * int(rng.integers(1, 14))
        return np.column_stack(
            [
                rng.integers(0, n_users, size),
                rng.integers(0, span + 1, size),
                rng.choice(list(masks), size),
            ]
        ).tolist()

    return st.integers(0, 2**32 - 1).map(rows)


THOUSANDS = settings(max_examples=40, deadline=None, derandomize=True)  # 2,400 users each
SINGLE = [0, 1, 2, 4]  # one step each, or nothing
OVERLAPPING = range(8)


@THOUSANDS
@given(logs(SINGLE), st.integers(0, 12), st.booleans())
def test_ordered(rows, window, first_only):
    check(rows, 3, window=window, order="ordered", first_only=first_only)


@THOUSANDS
@given(logs(OVERLAPPING), st.integers(0, 12), st.booleans())
def test_ordered_when_one_event_may_fill_several_steps(rows, window, first_only):
    check(rows, 3, window=window, order="ordered", first_only=first_only)


@THOUSANDS
@given(logs([0, 3, 3, 4]), st.integers(0, 12))
def test_a_repeated_event_needs_repeats(rows, window):
    check(rows, 3, window=window, order="ordered")


@THOUSANDS
@given(logs(OVERLAPPING), st.integers(0, 12), st.booleans())
def test_strict(rows, window, first_only):
    check(rows, 3, window=window, order="strict", first_only=first_only)


@THOUSANDS
@given(
    logs([0, 1, 2, 4, 8, 16]),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from(["ordered", "strict"]),
    st.sampled_from([[(1, 2), (2, 3)], [(1, 3), (1, 2)]]),
)
def test_exclusions(rows, window, first_only, order, exclude):
    check(rows, 3, window=window, order=order, exclude=exclude, first_only=first_only)


@THOUSANDS
@given(
    logs([0, 1, 2, 4, 8, 16]),
    st.integers(0, 12),
    st.booleans(),
    st.sampled_from([[2], [3], [2, 3], [4]]),
    st.sampled_from([[], [(1, 3)]]),
)
def test_optional_steps(rows, window, first_only, optional, exclude):
    check(
        rows,
        4,
        window=window,
        order="ordered",
        optional=optional,
        exclude=exclude,
        first_only=first_only,
    )


@THOUSANDS
@given(logs([0, 1, 2, 4, 8, 9]), st.integers(0, 12), st.booleans(), st.booleans())
def test_unordered(rows, window, first_only, exclude):
    check(
        rows,
        3,
        window=window,
        order="unordered",
        exclude=[(1, 3)] if exclude else [],
        first_only=first_only,
    )


@THOUSANDS
@given(logs([0, 3, 4]), st.integers(0, 12))
def test_unordered_with_a_step_wanted_twice(rows, window):
    check(rows, 3, window=window, order="unordered")


@THOUSANDS
@given(
    logs(SINGLE),
    st.integers(0, 2**32 - 1).map(Random),
    st.integers(0, 12),
    st.sampled_from(["ordered", "strict", "unordered"]),
    st.booleans(),
)
def test_hold_is_the_funnel_of_each_value_and_the_deepest_counts(
    rows, random, window, order, first_only
):
    role = np.array(random.choices(range(3), k=len(rows)))
    j = journeys(rows, dims={"role": role}, levels={"role": ["candidate", "recruiter", MISSING]})
    walk = walk_funnel(j, 3, window=window, order=order, hold=["role"], first_only=first_only)
    got = {
        int(u): ((r >= 0).sum(), t)
        for u, r, t in zip(walk.user, walk.rows, np.nanmax(times_of(walk), axis=1, initial=-1))
    }
    want = {}
    for u in np.unique(j.user):
        mine = [
            (
                int(j.time[i]),
                {s for s in (1, 2, 3) if int(j.mask[i]) >> (s - 1) & 1},
                set(),
                int(j.dims["role"][i]),
            )
            for i in np.flatnonzero(j.user == u)
            if j.dims["role"][i] != 2
        ]
        values = {v for *_, v in mine}
        if (
            first_only
        ):  # the moment of the user's very first entry decides which values are followed
            entries = [
                (t, v) for t, steps, _, v in mine if (steps if order == "unordered" else 1 in steps)
            ]
            values = {v for t, v in entries if t == entries[0][0]}
        for value in values:
            events = [e[:3] for e in mine if e[3] == value and (e[1] or order == "strict")]
            if order == "unordered":
                found = attempt_in_any_order(events, 3, window, [{1}, {2}, {3}], first_only)
            else:
                mine_alone = first_entry_only(events) if first_only else events
                found = attempt(mine_alone, 3, window, order)
            if found:
                times = [t for t in found[0] if t is not None]
                want.setdefault(int(u), []).append((-len(times), max(times)))
    assert got == {u: (-min(found)[0], min(found)[1]) for u, found in want.items()}


@THOUSANDS
@given(
    logs(range(16)),
    st.integers(0, 12),
    st.sampled_from(["ordered", "strict", "unordered"]),
    st.booleans(),
    st.booleans(),
)
def test_the_logs_own_order_within_a_moment_means_nothing(rows, window, order, first_only, exclude):
    rows = [(u, t, m if order != "unordered" else m & -m) for u, t, m in rows]
    rule = {
        "window": window,
        "order": order,
        "first_only": first_only,
        "exclude": [(1, 2)] if exclude else [],
    }
    there, back = (
        walk_funnel(journeys(rows), 3, **rule),
        walk_funnel(journeys(rows[::-1]), 3, **rule),
    )
    np.testing.assert_array_equal(times_of(there), times_of(back))
    np.testing.assert_array_equal(there.excluded, back.excluded)


# --------------------------------------------------- the ordered rule without a machine: all chains


@THOUSANDS
@given(
    st.sampled_from([[0, 1, 2, 4], [0, 1, 2, 6], [0, 3, 4], [0, 7]]).flatmap(
        lambda masks: logs(masks, n_users=20)
    ),
    st.integers(0, 12),
)
def test_the_depth_is_that_of_the_longest_chain_there_is(rows, window):
    """Search every way to fill steps 1, 2, ... with different events, times never falling, all
    within the window from the first."""
    j = journeys(rows)
    walk = walk_funnel(j, 3, window=window)
    depth = {int(u): int(d) for u, d in zip(walk.user, (walk.rows >= 0).sum(axis=1))}

    def longest(events, used, k, begin, last):
        best = k
        if k < 3:
            for i, (t, m) in enumerate(events):
                if (
                    i not in used
                    and m >> k & 1
                    and t >= last
                    and (begin is None or t - begin <= window)
                ):
                    best = max(
                        best, longest(events, used | {i}, k + 1, t if begin is None else begin, t)
                    )
        return best

    for u in np.unique(j.user):
        events = [(int(t), int(m)) for t, m in zip(j.time[j.user == u], j.mask[j.user == u])]
        assert depth.get(int(u), 0) == longest(events, frozenset(), 0, None, -1)


# ------------------------------------------------------------------------------------------ by hand


def test_a_later_entry_starts_a_new_attempt_and_deeper_steps_keep_their_start():
    a, b, c = 1, 2, 4
    late = walk_funnel(
        journeys([(1, 0, a), (1, 8, a), (1, 12, b)]), 3, window=10
    )  # the second a saves the b
    assert times_of(late).tolist()[0][:2] == [8, 12]
    kept = walk_funnel(
        journeys([(1, 0, a), (1, 1, b), (1, 9, a), (1, 10, c)]), 3, window=10
    )  # c belongs to the chain that has a b
    assert times_of(kept).tolist() == [[0, 1, 10]]
    first = walk_funnel(journeys([(1, 0, a), (1, 8, a), (1, 12, b)]), 3, window=10, first_only=True)
    assert (first.rows >= 0).sum() == 1


def test_no_events_no_users():
    for order in ("ordered", "strict", "unordered"):
        walk = walk_funnel(journeys([]), 2, window=5, order=order)
        assert walk.rows.shape == (0, 2) and len(walk.excluded) == 0


@THOUSANDS
@given(
    logs([0, 1, 2, 4, 8]),
    st.integers(0, 12),
    st.sampled_from(["ordered", "strict", "unordered"]),
    st.sampled_from([[], [(1, 3)]]),
    st.booleans(),
    st.booleans(),
)
def test_both_attempts_at_once_are_the_two_one_by_one(rows, window, order, exclude, optional, once):
    """``once``: nobody does step 1 twice, and one object stands for both."""
    seen = set()
    rows = [
        r for r in sorted(rows) if not (once and r[2] == 1 and (r[0] in seen or seen.add(r[0])))
    ]
    rule = {
        "window": window,
        "order": order,
        "exclude": exclude,
        "optional": [2] if optional and order != "unordered" else [],
    }
    both = walk_attempts(journeys(rows), 3, **rule)
    for walk, first_only in zip(both, (True, False)):
        alone = walk_funnel(journeys(rows), 3, **rule, first_only=first_only)
        alone = replace(
            alone, rows=alone.rows[~np.isin(alone.user, both[1].excluded)]
        )  # out of the deepest attempts, out of the first
        assert (
            walk.user.tolist() == alone.user.tolist()
            and walk.excluded.tolist() == alone.excluded.tolist()
        )
        np.testing.assert_array_equal(times_of(walk), times_of(alone))
    assert not once or order == "unordered" or both[0] is both[1]


def test_first_rows_are_where_the_user_changes():
    assert first_rows(np.array([3, 3, 5, 9, 9])).tolist() == [0, 2, 3]
    assert first_rows(np.array([], np.int64)).tolist() == []
