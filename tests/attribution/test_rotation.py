"""Users against their own time: recomputed by turning each conversion round, and by hand."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctlib.attribution.counting import count, walk
from mctlib.attribution.own_time import Rotate, walk_again
from mctlib.attribution.person_time import SPELL, Pace, Paces, fit_pace
from mctlib.attribution.rotation import CALENDAR, COLUMNS, MOST, OTHER_DAYS, PLACES, VISITS
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.steps import ANY, Step
from mctlib.phrases import DAY_US
from tests.support.logs import FIRST
from tests.support.partners import ArrayLog, question_of, rows_to_frame

WINDOWS, NAMES = (1.0, 4.0, 10.0), ("a", "b", "c")
AS_OF = "2026-02-06T00:00:00Z"

# ----------------------------------------------------------------------------------- a naive oracle


def eventful_frame(seed, bare):
    """Few users with touches, pages, starts, exits and conversions, in visits of some minutes.

    Where days are bare, times are midnights.
    """
    rng = np.random.default_rng(seed)
    rows = [("u0", 0.0, "page", None)]
    for u in range(1, int(rng.integers(3, 9))):
        start = float(rng.integers(0, 12))
        rows.append((f"u{u}", start, "signed_up", rng.choice([None, "a", "b"])))
        if rng.random() < 0.8:
            rows.append(
                (f"u{u}", float(rng.integers(10, 36)) + rng.choice([0, 0.25]), "paid", None)
            )
        if rng.random() < 0.2:
            rows.append((f"u{u}", float(rng.integers(20, 36)), "left", None))
        for _ in range(rng.integers(1, 12)):  # visits: a touch, a page, or both and more
            at = rng.integers(0, 144) / 4
            for k in range(rng.integers(1, 4)):
                tag = rng.choice([None, *NAMES], p=[0.5, 0.2, 0.2, 0.1])
                event = "page" if tag is None else "visit"
                rows.append((f"u{u}", at + k * 20 / 1440, event, tag))
    frame = rows_to_frame(rows)
    return frame.assign(timestamp=frame["timestamp"].dt.floor("D")) if bare else frame


def amount(pace, start, a, b):
    """The pace's time between two moments (days), piece by piece."""
    if b <= a:
        return 0.0
    tenure, periods = pace.tenure / DAY_US, (pace.periods - FIRST.value // 1000) / DAY_US
    cuts = [a, *sorted({x for x in [*(start + tenure), *periods] if a < x < b}), b]
    whole = 0.0
    for x, y in pairwise(cuts):
        middle = (x + y) / 2
        band = sum(middle - start >= e for e in tenure)
        period = max(sum(middle >= p for p in periods) - 1, 0)
        whole += pace.by_tenure[band] * pace.by_period[period] * (y - x)
    return whole


def turned(touches, full, reach, ok=lambda near: True, steps=None):
    """How much of the circle has near touches (of whom: a set of partners) that are ``ok``.

    ``touches``: (place, partner); a moment s is near one when less than ``reach`` after it.
    """
    if steps:  # visits: whole places
        moments = [(s, 1.0) for s in range(int(full))]
    else:
        ends = {0.0, full, *(x for x, _ in touches), *((x + reach) % full for x, _ in touches)}
        moments = [((x + y) / 2, y - x) for x, y in pairwise(sorted(ends))]
    return sum(
        size
        for s, size in moments
        if ok({p for x, p in touches if reach >= full or (s - x) % full < reach})
    )


def sooner(touches, full, reach, most, mine, steps):
    """How much of the circle is near ``mine`` within reach, and near nobody else within most."""

    def near(s, x, span):
        return span >= full or (s - x) % full < span

    if steps:
        moments = [(s, 1.0) for s in range(int(full))]
    else:
        ends = {0.0, full, *((x + d) % full for x, _ in touches for d in (0, reach, most))}
        moments = [((x + y) / 2, y - x) for x, y in pairwise(sorted(ends))]
    return sum(
        size
        for s, size in moments
        if any(p in mine and near(s, x, reach) for x, p in touches)
        and not any(p not in mine and near(s, x, most) for x, p in touches)
    )


def add_later(sums, key, touches, full, reaches, nears, steps=None):
    """The longest window's users, by shorter ones: touched so soon, or not even within it."""
    if not touches or full <= 0:
        return
    for who in ["any", *{p for _, p in touches}]:
        mine = set(NAMES) if who == "any" else {who}
        whole = turned(touches, full, reaches[-1], bool, steps)
        room = turned(touches, full, reaches[-1], lambda some, m=mine: not some - m, steps)
        free = full - whole
        if not 1 - MOST < free / max(room, 1e-9) < 1 - 1e-9 or not nears[-1] <= mine:
            continue
        for w, (reach, near) in enumerate(zip(reaches, nears)):
            part = sooner(touches, full, reach, reaches[-1], mine, steps)
            if part > 1e-9 and (near or not nears[-1]):
                t = bool(near)
                row = np.array([t, t * free, (not t) * part, part + free]) / (part + free)
                row[0] = t
                sums[(*key, who, w)] = sums.get((*key, who, w), 0) + row


def chances(touches, full, reach, near, steps=None):
    """{partner or any: (touched, chance)} of one user; ``near``: partners within the window."""
    if not touches or full <= 0:
        return {}
    whole = turned(touches, full, reach, bool, steps)
    found = {"any": (bool(near), whole / full)}
    for p in {p for _, p in touches}:
        room = turned(touches, full, reach, lambda some, p=p: not some - {p}, steps)
        mine = turned(touches, full, reach, lambda some, p=p: some == {p}, steps)
        if near <= {p} and room > 1e-9:
            found[p] = (p in near, mine / room)
    return found


def add(sums, key, touched, chance):
    if 1e-9 < chance < MOST:
        row = np.array([touched, touched * (1 - chance), (not touched) * chance, 1])
        sums[key] = sums.get(key, 0) + row


def day(t):
    return (t - FIRST) / pd.Timedelta("1D")


def lives(frame):
    """Each user's rows, and the days of start, conversion and exit; who can convert, only."""
    for _, f in frame[frame["timestamp"] <= pd.Timestamp(AS_OF)].groupby("user_id"):
        start, conv, leave = (
            min(map(day, f.loc[f["event"] == event, "timestamp"]), default=np.inf)
            for event in ("signed_up", "paid", "left")
        )
        if start < np.inf and start <= conv:
            yield f, start, conv, leave


def naive(frame, paces, bare):
    """What `Rotate` counts, as its docstrings say it, user by user."""

    one, end = (1.0 if bare else 0.0), day(pd.Timestamp(AS_OF)) + (1 if bare else 0)
    begin = day(frame["timestamp"].min())
    origin, sums = begin + max(WINDOWS), {name: {} for name in PLACES}
    for f, start, conv, leave in lives(frame):
        rows = sorted(
            ((day(t), p, e) for t, e, p in zip(f["timestamp"], f["event"], f["partner_id"])),
            key=lambda row: (row[0], str(row[1])),
        )
        tagged = [(t, p) for t, p, e in rows if p is not None and e != "paid"]
        counted = origin <= conv <= leave and conv < np.inf
        stop_of_risk = min(conv + one, leave + one, end)
        low = max(start + one, origin)
        brought = [(t, p) for t, p in tagged if t <= start]
        before = [(t, p) for t, p in tagged if t <= min(conv, leave, end)]
        for w, window in enumerate(WINDOWS):
            if counted:
                near = {p for t, p in before if conv - t < window}
                for who in [*near, *(["any"] if near else [])]:
                    key = (who, w)
                    sums["reach"][key] = sums["reach"].get(key, 0) + np.array([1, 0, 0, 0, 0])
            if brought:
                t, p = brought[-1]
                within, until = counted and conv < t + window, min(t + window, stop_of_risk)
                exposed = low < until
                row = [0, within, exposed, exposed and within and low <= conv]
                row.append(amount(paces.others, start, low, until))
                for key in ((p, w), ("any", w)):
                    sums["reach"][key] = sums["reach"].get(key, 0) + np.array(row)
        if not brought and low < stop_of_risk:
            row = [counted and low <= conv, amount(paces.others, start, low, stop_of_risk)]
            sums["others"][0] = sums["others"].get(0, 0) + np.array(row)
        if not counted:
            continue

        # own time, from the start to the conversion
        own = [(t, p) for t, p in before if t > start]
        base, full = start + one, amount(paces.before, start, start + one, conv + one)
        places = [(amount(paces.before, start, base, t), p) for t, p in own]
        nears = [{p for t, p in own if conv - t < window} for window in WINDOWS]
        since = [max(base, conv + one - window) for window in WINDOWS]
        reaches = [amount(paces.before, start, t, conv + one) for t in since]
        add_later(sums["later"], (CALENDAR,), places, full, reaches, nears)
        for w, window in enumerate(WINDOWS):
            near, since, reach = nears[w], max(base, conv + one - window), reaches[w]
            for who, cell in chances(places, full, reach, near).items():
                add(sums["own"], (CALENDAR, who, w), *cell)
            if bare:
                near = {p for t, p in own if 1 <= conv - t < window}
                reach = amount(paces.before, start, since, conv)
                for who, cell in chances(places, full, reach, near).items():
                    add(sums["own"], (OTHER_DAYS, who, w), *cell)

        # visits
        conversion_row = next(i for i, (t, _, e) in enumerate(rows) if e == "paid")
        mine = [
            (t, p if e != "paid" else None, i == conversion_row)
            for i, (t, p, e) in enumerate(rows)
            if start < t <= conv
        ]
        visits = []
        for row in mine:
            gap = 0 if bare else 30 / 1440
            if not visits or row[0] - visits[-1][-1][0] > gap + 1e-12:
                visits.append([])
            visits[-1].append(row)
        n, firsts, spots = 0, [None] * len(WINDOWS), []
        for visit in visits:
            others = sum(p is None and not is_conversion for _, p, is_conversion in visit)
            touched = [p for _, p, _ in visit if p is not None]
            for w, window in enumerate(WINDOWS):
                if firsts[w] is None and any(conv - t < window for t, _, _ in visit):
                    firsts[w] = n
            spots += [(n, p) for p in touched]
            row = [len(touched), len(touched) * (others > 0), others]
            row += [bool(touched), len(touched) > 1]
            sums["kinds"][0] = sums["kinds"].get(0, 0) + np.array(row)
            last = visit[-1][0] == conv
            n += max(others, int(bool(touched) or last)) if bare else 1
        if visits:
            nears = [{p for x, p in spots if x >= first} for first in firsts]
            reaches = [n - first for first in firsts]
            add_later(sums["later"], (VISITS,), spots, n, reaches, nears, steps=True)
            for w, (near, reach) in enumerate(zip(nears, reaches)):
                for who, cell in chances(spots, n, reach, near, steps=True).items():
                    add(sums["own"], (VISITS, who, w), *cell)

        # looking back: touches after the conversion
        stop = leave + (one or 1e-11) if conv < leave < np.inf else end
        after = [(t, p) for t, p in tagged if conv < t < stop]
        base, full = conv + one, amount(paces.after, start, conv + one, stop)
        for k, (preceded, window) in enumerate([*zip(WINDOWS, WINDOWS), (WINDOWS[-1], 1.0)]):
            if any(conv - t < preceded for t, _ in before) or not after or full <= 0:
                continue
            reach = amount(paces.after, start, base, min(base + window, stop))
            places = [(amount(paces.after, start, base, t), "x") for t, _ in after]
            soon = after[0][0] - conv <= window  # of days, so many after the conversion's
            near = {"x"} if soon else set()
            add(sums["after"], k, *chances(places, full, reach, near)["any"])
    return sums


@given(st.integers(0, 10**6), st.booleans())
def test_against_a_conversion_turned_through_its_users_time(seed, bare):
    frame = eventful_frame(seed, bare)
    log = ArrayLog(frame)
    if bare:
        log.day_resolution = {event: ["UTC"] for event in set(frame["event"])}
    windows = [f"{days:.0f}d" for days in WINDOWS]
    try:
        question = question_of(log, "paid", windows, AS_OF, start="signed_up", competing="left")
    except ParameterError:  # nobody leaves, pays or is touched
        return
    clock, rng = question.clock, np.random.default_rng(seed)
    by_period = rng.uniform(0.5, 2, len(clock.periods))
    lengths = np.diff(clock.periods) / DAY_US
    before = np.r_[0.0, np.cumsum(lengths * by_period[:-1])]
    paces = Paces(
        *(
            Pace(clock.tenure, by_tenure, clock.periods, by_period, before)
            for by_tenure in rng.uniform(0.2, 3, (3, len(clock.tenure) + 1))
        )
    )
    walk = Rotate(question, NAMES, paces)
    steps = [*question.events, Step(ANY)]
    tables = log.reduce(walk, events=steps, by=question.dims, as_of=AS_OF)
    want = naive(frame, paces, bare)
    names = [*NAMES, "any"]
    for name in PLACES:
        *keys, last = PLACES[name]
        found = tables[name].groupby(keys)[list(COLUMNS[last])].sum()
        expected = {}
        for key, row in want[name].items():
            key = key if isinstance(key, tuple) else (key,)
            key = tuple(names.index(k) if isinstance(k, str) else k for k in key)
            expected[key if len(key) > 1 else key[0]] = np.asarray(row, float)
        got = {key: row.to_numpy(float) for key, row in found.iterrows() if row.any()}
        expected = {key: row for key, row in expected.items() if row.any()}
        assert got.keys() == expected.keys(), name
        for key, row in got.items():
            assert row == pytest.approx(expected[key], abs=2e-6), (name, key)


@given(st.integers(0, 10**6), st.booleans())
def test_the_paces_are_fitted_to_days_counted_one_by_one(seed, bare):
    """Ticks of a quarter of a day, or whole days; touches after the start of who never converts.

    Conversions of users whom nobody brought, and their days at risk.
    """
    frame = eventful_frame(seed, bare)
    log = ArrayLog(frame)
    if bare:
        log.day_resolution = {event: ["UTC"] for event in set(frame["event"])}
    windows = [f"{days:.0f}d" for days in WINDOWS]
    try:
        question = question_of(log, "paid", windows, AS_OF, start="signed_up", competing="left")
        tables = count(log, *walk(log, question, as_of=AS_OF)).tables
    except (DataError, ParameterError):
        return

    clock, one = question.clock, 1.0 if bare else 0.0
    periods = (clock.periods - FIRST.value // 1000) / DAY_US
    tenure, tick = clock.tenure / DAY_US, 1.0 if bare else 0.25
    end, origin = day(pd.Timestamp(AS_OF)) + one, day(frame["timestamp"].min()) + max(WINDOWS)
    want = {"touch_days": {}, "seen_days": {}, "other_days": {}}

    def put(name, cohort, start, t, n, days):
        t += one / 2
        band = sum(t - start >= e for e in tenure)
        key = (cohort, band, max(sum(t >= p for p in periods) - 1, 0))
        want[name][key] = want[name].get(key, 0) + np.array([n, days])

    for f, start, conv, leave in lives(frame):
        rows = zip(f["timestamp"], f["event"], f["partner_id"])
        tagged = [day(t) for t, e, p in rows if p is not None and e != "paid"]
        stop = min(conv + one, leave + one, end)
        if conv == np.inf:
            cohort, touched = max(sum(start + one / 2 >= p for p in periods) - 1, 0), []
            for t in np.arange(start + one, stop - 1e-9, tick):
                put("touch_days", cohort, start, t, 0, min(tick, stop - t))
            for t in tagged:
                if start < t < stop or t == leave:
                    put("touch_days", cohort, start, t, 1, 0)
                    touched.append(t)
            # bands of tenure that end a spell before the last touch, or earlier
            since = max(touched, default=start) - start - SPELL / DAY_US
            last = sum(since >= e for e in tenure)
            until = start + (tenure[last - 1] if last else 0)
            for t in np.arange(start + one, until - 1e-9, tick):
                put("seen_days", cohort * (len(tenure) + 1) + last, start, t, 0, tick)
            for t in touched:
                if t < until:
                    put("seen_days", cohort * (len(tenure) + 1) + last, start, t, 1, 0)
        if not any(t <= start for t in tagged):
            low = max(start + one, origin)
            for t in np.arange(low, stop - 1e-9, tick):
                put("other_days", 0, start, t, 0, min(tick, stop - t))
            if low <= conv < np.inf and origin <= conv <= leave and low < stop:
                put("other_days", 0, start, conv, 1, 0)
    for name, cells in want.items():
        table = tables[name].set_index(["cohort", "band", "period"])
        got = {key: row.to_numpy(float) for key, row in table.iterrows()}
        cells = {key: row for key, row in cells.items() if row.any()}
        assert got.keys() == cells.keys(), name
        for key, row in got.items():
            assert row == pytest.approx(cells[key], abs=1e-6), (name, key)


def test_a_pace_finds_tenure_and_season_whatever_the_level_of_a_cohort():
    # touches of two cohorts at level x band x period, exactly: (1, 3) x (4, 2, 1) x (1, 2, 1)
    level, by_tenure, by_period = (np.array(x, float) for x in ([1, 3], [4, 2, 1], [1, 2, 1]))
    days = np.random.default_rng(1).uniform(500, 1500, (2, 3, 3))
    n = days * level[:, None, None] * by_tenure[:, None] * by_period
    clock = type("Clock", (), {"periods": np.arange(3) * 7 * DAY_US, "tenure": np.arange(2)})

    def fitted(by_period=None):
        cohort, band, period = (at.ravel() for at in np.indices(n.shape))
        table = {"cohort": cohort, "band": band, "period": period}
        table |= {"n_rows": n.ravel(), "sum_days": days.ravel()}
        return fit_pace(pd.DataFrame(table), clock, by_period)

    pace = fitted()
    assert pace.by_tenure / pace.by_tenure[2] == pytest.approx([4, 2, 1], rel=1e-3)
    assert pace.by_period / pace.by_period[0] == pytest.approx([1, 2, 1], rel=1e-3)
    assert pace.before == pytest.approx([0, *np.cumsum(7 * pace.by_period[:2])])
    known = fitted(np.array([2.0, 4.0, 2.0]))
    assert known.by_period.tolist() == [2, 4, 2]
    assert known.by_tenure / known.by_tenure[2] == pytest.approx([4, 2, 1], rel=1e-3)
    days[:, 2], n[:, 2] = 0, 0  # a band of nobody goes on as the one before
    pace = fitted()
    assert pace.by_tenure[2] == pace.by_tenure[1]
    n *= 0
    days *= 0
    flat = fitted()  # nothing is known: time passes evenly
    assert np.ptp(flat.by_tenure) == 0 == np.ptp(flat.by_period)


# ------------------------------------------------------------------------------------------ by hand


def hand(*touches, other=(), events=()):
    """A user of 40 days whose conversion comes on day 60, touched so many days after the start."""
    rows = [("u0", 0, "page", None), ("u1", 20, "signed_up", None), ("u1", 60, "paid", None)]
    rows += [("u1", 20 + day, "visit", partner) for day, partner in touches]
    rows += [("u1", 20 + day, "page", None) for day in other]
    log = ArrayLog(rows_to_frame([*rows, *events]))
    question = question_of(log, "paid", ["10d"], "2026-03-31", start="signed_up")
    return walk_again(log, count(log, *walk(log, question, as_of="2026-03-31")), as_of="2026-03-31")


def cells(found, clock=CALENDAR):
    """Touched within the window, chance; by partner, any the last: NaN where not compared."""
    touched, room, chance, n = np.moveaxis(found.own[:, clock, :, 0].sum(axis=0), -1, 0)
    return [(t, 1 - r if t else c) if k else None for t, r, c, k in zip(touched, room, chance, n)]


def test_one_touch_covers_its_window_of_forty_days():
    assert cells(hand((35, "a"))) == [(1, pytest.approx(0.25)), (1, pytest.approx(0.25))]
    assert cells(hand((5, "a"))) == [(0, pytest.approx(0.25)), (0, pytest.approx(0.25))]


def test_touches_cover_what_their_windows_have_together():
    # a: days 3 to 17. b: 14 to 24, and 35 to 40 and on to 5, as the time is a circle: 7 and 8 days
    # that a does not cover. The conversion is near b only: a is not compared, b is, in the 26 days
    # free of a's windows
    found = cells(hand((3, "a"), (7, "a"), (14, "b"), (35, "b")))
    assert found[0] is None
    assert found[1] == (1, pytest.approx((7 + 8) / (40 - 14)))
    assert found[2] == (1, pytest.approx((14 + 7 + 8) / 40))
    # a touch near the end covers the first days too
    assert cells(hand((38, "a")))[0] == (1, pytest.approx(10 / 40))


def test_nobody_is_compared_with_no_other_time():
    assert cells(hand((1, "a"), (9, "a"), (18, "a"), (27, "a"), (36, "a"))) == [None, None]


def test_visits_pass_the_time_where_touches_come_with_visits():
    # visits after 3, 9, 20, 33 and 37 days and the conversion's own, of which 3 are in the last ten
    # days; a touch in the first of them and in the one after 33 days: covered 0, 1, 2 and 3, 4, 5
    found = hand((3.001, "a"), (33.001, "a"), other=(3, 9, 20, 33, 37))
    assert found.tied == 1 and found.clock == VISITS
    assert cells(found, VISITS) == [None, None]  # all of the time
    found = hand((33.001, "a"), other=(3, 9, 20, 33, 37))
    assert cells(found, VISITS) == [(1, pytest.approx(3 / 6))] * 2
    assert cells(found) == [(1, pytest.approx(10 / 40))] * 2
    # beside no other row touches come apart from visits
    assert hand((33.001, "a"), other=(3, 9, 20, 37)).clock == CALENDAR


def test_where_every_row_carries_a_tag_a_visit_begins_with_its_touch():
    stamped = [("u1", 20, "signed_up", "a"), ("u1", 60, "paid", "a")]
    rows = [("u0", 0, "page", None), *stamped]
    rows += [("u1", 20 + day, "page", "a") for day in (3, 3.001, 9, 9.001, 33, 33.001)]

    def tied(rows):
        log = ArrayLog(rows_to_frame(rows))
        question = question_of(log, "paid", ["10d"], "2026-03-31", start="signed_up")
        return walk_again(
            log, count(log, *walk(log, question, as_of="2026-03-31")), as_of="2026-03-31"
        ).tied

    assert tied(rows) == 1
    # touches that come twice are no visits where the start carries none
    assert tied([rows[0], ("u1", 20, "signed_up", None), *rows[2:]]) == 0
