"""Days at risk after touches: recounted tick by tick, by hand, and with keen users.

Planted partners: `calibration.touches`.
"""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctlib import stats
from mctlib.attribution import attribution_windows
from mctlib.attribution.counting import Counts, Walk
from mctlib.attribution.incrementality import late_table, partner_excess, window_table
from mctlib.attribution.person_time import TENURE_DAYS
from mctlib.attribution.question import (
    Question,
    read_clock,
    read_events,
    read_rules,
    read_tags,
    read_windows,
    touch_steps,
)
from mctlib.contract import as_timestamp
from mctlib.eventlog.steps import ANY
from tests.support.logs import FIRST
from tests.support.partners import ArrayLog, random_frame, rows_to_frame

# ----------------------------------------------------------------------------------- a naive oracle


def recount(frame, windows, as_of, stride):
    """Days and conversions of lone partners and of placebo touches, as the docstrings say it.

    User by user and tick by tick (four a day).
    """

    def day(t):
        return (t - FIRST) / pd.Timedelta("1D")

    longest, end_of_log = max(windows), day(as_timestamp(as_of))
    calendar = np.arange(longest + 28, end_of_log, 28)
    out = {name: {} for name in ("alone_days", "alone_n", "placebo_days", "placebo_n")}

    def add(name, tenure, t, lag, amount, *more):
        stratum = sum(tenure >= e for e in TENURE_DAYS) * (len(calendar) + 1) + sum(
            t >= c for c in calendar
        )
        key = (stratum, sum(lag >= w for w in windows), *more)
        out[name][key] = out[name].get(key, 0) + amount

    for code, (_, f) in enumerate(
        frame.assign(user=pd.factorize(frame["user_id"])[0]).groupby("user")
    ):
        f = f[f["timestamp"] <= as_timestamp(as_of)]
        start, conv, leave = (
            min(map(day, f.loc[f["event"] == event, "timestamp"]), default=np.inf)
            for event in ("signed_up", "paid", "left")
        )
        if start == np.inf or start > conv:
            continue
        end, later = min(conv, leave, end_of_log), longest + longest * (code * stride % 100) / 100
        touches = [
            (day(t), p)
            for t, e, p in zip(f["timestamp"], f["event"], f["partner_id"])
            if p is not None and e != "paid" and day(t) <= end
        ]

        # a tick begins at t
        moments = [(t, 0.25, "days") for t in np.arange(max(start, longest), end, 0.25)]
        if longest <= conv <= leave and max(start, longest) < conv < np.inf:
            moments.append((conv, 1, "n"))
        for t, amount, name in moments:
            before = [(x, p) for x, p in touches if x <= t]
            near = {p for x, p in before if t - x < longest}
            if len(near) == 1:
                lag = t - max(x for x, _ in before)
                add(f"alone_{name}", t - start, t, lag, amount, near.pop())
            elif not near:
                moved = [x + later for x, _ in touches]
                shams = [x for x in moved if x <= t]
                if shams and t - max(shams) < longest:
                    add(f"placebo_{name}", t - start, t, t - max(shams), amount)
    return out


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_lone_partners_and_placebo_touches_against_a_naive_recount(seed):
    frame, windows, as_of = random_frame(seed), [1, 4, 10], "2026-02-06T00:00:00Z"
    log = ArrayLog(frame, stride=25)  # placebo touches then lie on the ticks too
    lengths = read_windows(["1d", "4d", "10d"], None)
    clock = read_clock(
        log, lengths, as_of=as_of, rules=read_rules("last"), half_life="1d", zones=()
    )
    tags = read_tags(log, "partner_id", ["partner_id"], None, clock.end)
    moments = read_events(log, conversion="paid", start="signed_up", competing="left")
    (touch,) = touch_steps(read_events(log, touches=ANY)["touches"], tags)
    question = Question(clock, tags, (*moments.values(), touch), False)
    tables = log.reduce(Walk(question), events=question.events, by=question.dims, as_of=as_of)
    counts = Counts(question, tables, np.array(sorted(set(tables["touches"]["partner"]))))
    for name, want in recount(frame, windows, as_of, 25).items():
        axes = ["stratum", "window", "partner"][: 3 if name.startswith("alone") else 2]
        got = counts.dense(name, *axes).sum(axis=0)
        dense = np.zeros_like(got)
        for (stratum, lag, *who), amount in want.items():
            dense[(stratum, lag, *(counts.names.tolist().index(p) for p in who))] = amount
        assert got == pytest.approx(dense, abs=1e-9), name


# ------------------------------------------------------------------------------------------ by hand


def test_late_converters_by_hand():
    # one stratum, bins of 10 and 20 days; untouched 5 conversions in 1,000 days; a partner 30 in
    # 1,000 days, then 20 in 1,000
    n, time = np.zeros((100, 1, 3)), np.zeros((100, 1, 3))
    n[:, 0], time[:, 0] = np.array([30, 20, 5]) / 100, np.array([1000, 1000, 1000]) / 100
    table = late_table(
        n, time, n[..., :2, None], time[..., :2, None], np.array([10.0, 30.0]), 30, 1
    )
    soon, all_ = 1 - np.exp(-10 * 0.025), 1 - np.exp(-10 * 0.025 - 20 * 0.015)
    assert table["n_converted"].tolist() == [30, 50] * 2 and table["group"].tolist() == [0, 0, 1, 1]
    for column in (
        "excess_rate",
        "excess_rate_ci_lower",
        "excess_rate_ci_upper",
    ):  # all buckets are alike, so there is no spread
        assert table[column].tolist() == pytest.approx([soon, all_] * 2, abs=1e-12)
    assert table["late_rate"].tolist() == pytest.approx([1 - soon / all_, 0] * 2, abs=1e-12)
    assert (
        late_table(n, time, n[..., :2, None], time[..., :2, None], np.array([10.0, 30.0]), 51, 1)[
            "late_rate"
        ]
        .isna()
        .all()
    )  # too few


def test_dilution_and_placebo_by_hand():
    # each of 100 buckets, one stratum: untouched 10 conversions in 1,000 days, so 0.01 a day; 20 in
    # 500 days up to 7 days after a touch, 10 in 500 more up to 30 days;
    # placebo touches 6 in 200 days, then 2 in 200: three times, in all twice what the background
    # brings in their days (2, in all 4)
    n, time = (
        np.repeat(np.array(x, float)[None, None], 100, axis=0)
        for x in ([20, 10, 10], [500, 500, 1000])
    )
    sham_n, sham_time = (
        np.repeat(np.array(x, float)[None, None], 100, axis=0) for x in ([6, 2], [200, 200])
    )
    table, _ = window_table(n, time, np.zeros_like(n), sham_n, sham_time, np.array([7.0, 30.0]), 1)
    assert table["n_attributed"].tolist() == [2000, 3000] and table["n_late"].tolist() == [1000, 0]
    assert table["n_excess"].tolist() == pytest.approx([2000 - 500, 3000 - 1000]) and table[
        "dilution_rate"
    ].tolist() == pytest.approx([5 / 20, 10 / 30])
    assert table["placebo_rate"].tolist() == pytest.approx([3 * 5 / 20, 2 * 10 / 30])
    assert table["placebo_rate_ci_lower"].tolist() == pytest.approx(
        table["placebo_rate_ci_upper"].tolist()
    )  # all buckets are alike
    assert table["admissible"].tolist() == [
        False,
        False,
    ]  # the second bin holds an excess, so 7 days are too few; and it is the last, so are 30


def test_an_empty_first_bin_of_placebo_touches_hides_no_later_one():
    n, time = (
        np.repeat(np.array(x, float)[None, None], 100, axis=0)
        for x in ([20, 10, 10], [500, 500, 1000])
    )
    sham_n, sham_time = (
        np.repeat(np.array(x, float)[None, None], 100, axis=0) for x in ([0, 2], [0, 200])
    )
    table, _ = window_table(n, time, np.zeros_like(n), sham_n, sham_time, np.array([7.0, 30.0]), 1)
    assert np.isnan(table["placebo_rate"][0]) and table["placebo_rate"][1] == pytest.approx(
        1 * 10 / 30
    )  # the placebo brings the 2 of the background


def test_draws_in_blocks_are_the_same_draws(monkeypatch):
    rng = np.random.default_rng(1)
    counts = [
        rng.poisson(3, shape).astype(float)
        for shape in ((100, 4), (100, 6), (100, 4, 2), (100, 2, 2))
    ]
    n, time, partner_time, overlap = (
        counts[1][:, :4],
        counts[0] + 50,
        counts[2],
        counts[3] + np.swapaxes(counts[3], 1, 2) + 40 * np.eye(2),
    )

    def ask():
        return partner_excess(n, time, counts[1][:, 4:], partner_time, overlap, 1)

    whole = ask()
    monkeypatch.setattr(stats, "BLOCK", 50)
    for a, b in zip(whole, ask()):
        assert a == pytest.approx(b, rel=1e-9)


# ------------------------------------------------------------------------------------ planted truth


def keen(seed, users=3000, days=240):
    """Half of the users convert three times as often as the others, and only they are touched.

    No touch causes anything.
    """
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 60, users)
    conv = start + rng.exponential(np.where(np.arange(users) % 2, 1 / 0.003, 1 / 0.001))
    who = np.repeat(np.arange(1, users, 2), rng.poisson(0.01 * (days - start[1::2])))
    paid = np.flatnonzero(conv < days)
    rows = [
        ("signed_up", np.arange(users), start, None),
        ("visit", who, rng.uniform(start[who], days), "a"),
        ("paid", paid, conv[paid], None),
    ]
    return ArrayLog(
        rows_to_frame([(u, t, event, p) for event, us, ts, p in rows for u, t in zip(us, ts)])
    )


@pytest.mark.simulation
def test_placebo_touches_see_through_touches_aimed_at_keen_users():
    # all of the credit would have come anyway; the comparison with all untouched users finds half
    # of that, the touched users' own later days find it
    shares = []
    for seed in range(8):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stats, "bucket_draws", partial(stats.bucket_draws, draws=20))
            w = attribution_windows(
                keen(seed),
                "paid",
                windows=["7d", "30d"],
                as_of="2026-08-28",
                rules=["linear"],
                seed=seed,
                start="signed_up",
            ).windows
        shares.append(w.loc[1, ["dilution_rate", "placebo_rate"]])
    dilution, placebo = np.mean(np.array(shares, float), axis=0)
    assert dilution < 0.75 and placebo == pytest.approx(1, abs=0.1), (dilution, placebo)
