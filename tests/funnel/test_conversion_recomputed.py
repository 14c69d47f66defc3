"""The funnel recomputed user by user, and cuts of the data that must not move a rate."""

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from mctlib.eventlog import event_log as log_module
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import number
from mctlib.funnel.conversion import diagnose_funnel
from tests.support.clusters import share_by_cluster
from tests.support.logs import log_of
from tests.support.walks import attempt, first_entry_only, row


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


def known_until(spans, endings):
    """How far the share may be read: while ten are followed and waiting, and on while of those
    still waiting by the curve no more than 1 % of all are out of view."""
    if len(spans) < 10:
        return np.nan
    still, times = 1.0, sorted(set(spans))
    for t, later in zip(times, [*times[1:], np.inf]):
        n = sum(s >= t for s in spans)
        ended = sum(s == t and e != "waiting" for s, e in zip(spans, endings))
        still *= 1 - ended / n
        in_view = sum(s >= later for s in spans)
        if in_view < 10 and still - in_view / len(spans) > 0.01:
            return t
    return np.inf


def by_accounts(pairs, account):
    """Design effect, accounts, and the interval, of users (who, success) of a share, accounts one
    by one; users without an account stand alone."""
    whose = [account[who] or f"user {who}" for who, _ in pairs]
    _, ends, effect = share_by_cluster(whose, [success for _, success in pairs])
    return effect, len(set(whose)), ends


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
            times = attempt(first_entry_only(events), 3, window)[0]
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
        spans = [stop[u] - t[0] for u, t in first.items()]
        conversion, _ = aalen_johansen(spans, list(ending.values()), window)
        if known_until(spans, list(ending.values())) < window:
            conversion = np.nan
        before = [u for u, t in first.items() if k and t[k - 1] is not None]
        over = [u for u in before if first[u][0] + window <= as_of]
        waits = [stop[u] - first[u][k - 1] for u in before], [ending[u] for u in before]
        _, quantile = aalen_johansen(*waits, window)
        until = known_until(*waits)
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
            *(
                quantile(q) / 24 if k and quantile(q) <= until else np.nan
                for q in (0.25, 0.5, 0.75, 0.9)
            ),
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
    place, found = number(**given)
    assert place.tolist() == at.tolist()
    assert {name: column.tolist() for name, column in found.items()} == {
        name: column.tolist() for name, column in given.items()
    }


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
