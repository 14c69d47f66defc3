"""Credit, windows and excess: a naive recomputation, and published Markov examples."""

from __future__ import annotations

from functools import partial
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mctlib import results, stats
from mctlib.attribution import RULES, attribution_windows, incrementality
from mctlib.contract import DataError, as_timestamp
from mctlib.eventlog.event_log import EventLog
from tests.support.logs import FIRST
from tests.support.partners import ArrayLog, random_frame, wide

# ----------------------------------------------------------------------------------- a naive oracle


def naive(frame, windows, as_of, half_life, reference, zone=None):
    """The docstring of attribution_windows, user by user and tick by tick.

    With a zone moments are days by its clock; else there are four a day.
    """
    instant = 1e-9 if zone is None else 1

    def day(t):
        if zone is None:
            return (t - FIRST) / pd.Timedelta("1D")
        return (t.astimezone(ZoneInfo(zone)).date() - FIRST.date()).days

    origin = day(frame["timestamp"].min()) + max(windows)
    end_of_log = day(as_timestamp(as_of))
    credit, money, paths = {}, {}, {w: [] for w in windows}
    reached, n_counted = {}, 0
    attributed = dict.fromkeys(windows, 0)
    for _, f in frame[frame["timestamp"] <= as_timestamp(as_of)].groupby("user_id"):
        start, conv, leave = (
            min(map(day, f.loc[f["event"] == event, "timestamp"]), default=np.inf)
            for event in ("signed_up", "paid", "left")
        )
        if start == np.inf or start > conv:
            continue
        end = min(conv, leave, end_of_log)
        counts = conv <= leave and origin <= conv < np.inf
        n_counted += counts
        paid = f[f["event"] == "paid"].sort_values("timestamp")["amount"]
        worth = 0.0 if paid.empty or np.isnan(paid.iloc[0]) else paid.iloc[0]
        touches = sorted(
            (day(t), p)
            for t, e, p in zip(f["timestamp"], f["event"], f["partner_id"])
            if p is not None and e != "paid" and day(t) <= end
        )
        for w in windows:
            path = [(t, p) for t, p in touches if counts and conv - t < w]
            attributed[w] += bool(path)
            if path:
                k, decay = len(path), [2 ** (-(conv - t) / half_life) for t, _ in path]
                ends = {1: [1], 2: [0.5, 0.5]}.get(k, [0.4, *[0.2 / max(k - 2, 1)] * (k - 2), 0.4])
                names = {p for _, p in path}
                for i, (_, p) in enumerate(path):
                    last_of_p = all(q != p for _, q in path[i + 1 :])
                    for rule, share in (
                        ("first", i == 0),
                        ("last", i == k - 1),
                        ("linear", 1 / k),
                        ("time_decay", decay[i] / sum(decay)),
                        ("position", ends[i]),
                        ("shapley", last_of_p / len(names)),
                    ):
                        credit[rule, w, p] = credit.get((rule, w, p), 0) + share
                        money[rule, w, p] = money.get((rule, w, p), 0) + share * worth
                paths[w].append(([p for _, p in path], worth))
            run = []
            others = [x for x in touches if x not in path]
            for i, (t, p) in enumerate(others):
                run.append(p)
                if i + 1 == len(others) or others[i + 1][0] - t >= w:
                    converted = conv <= leave and conv - t < w
                    if not converted and origin <= min(t + w - instant, leave) <= end_of_log:
                        paths[w].append((run, None))
                    run = []
        for p in {p for x, p in touches if counts and conv - x < reference}:
            reached[p] = reached.get(p, 0) + 1
    return credit, money, paths, attributed, reached, n_counted


def naive_markov(paths, names):
    """Removal effects by walking the chain for long, whole, and with every partner removed.

    Paths end in what the conversion is worth, None for none. Two dicts: of conversions and of what
    they bring, the shares of their sums, and the effects.
    """
    ends = [("paid after", p) for p in names]
    index = {x: i for i, x in enumerate(["start", *names, "lost", *ends])}
    counts, worth = np.zeros((len(index), len(index))), dict.fromkeys(names, 0.0)
    for path, outcome in paths:
        end = "lost" if outcome is None else ("paid after", path[-1])
        for x, y in zip(["start", *path], [*path, end]):
            counts[index[x], index[y]] += 1
        worth[path[-1]] += outcome or 0
    n = {p: counts[:, index["paid after", p]].sum() for p in names}
    each = {p: worth[p] / max(n[p], 1) for p in names}

    def ended(removed):
        m = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        if removed:
            m[:, index["lost"]] += m[:, index[removed]]
            m[:, index[removed]] = 0
        absorbing = [index["lost"], *(index[end] for end in ends)]
        m[absorbing] = np.eye(len(index))[absorbing]
        far = np.linalg.matrix_power(m, 2**20)[0]
        chance = {p: far[index["paid after", p]] for p in names}
        return sum(chance.values()), sum(chance[p] * each[p] for p in names)

    whole, effects, shares = ended(None), [], []
    for what, total in enumerate((sum(n.values()), sum(worth.values()))):
        effect = {p: 1 - ended(p)[what] / whole[what] if whole[what] else 0 for p in names}
        scale = total / sum(effect.values()) if sum(effect.values()) else 0
        effects.append(effect)
        shares.append({p: scale * e for p, e in effect.items()})
    return shares, effects


@given(st.integers(0, 10**6), st.sampled_from([None, "America/New_York", "Asia/Tokyo"]))
def test_against_a_naive_recomputation(seed, zone):
    frame, windows, as_of = random_frame(seed), [1, 4, 10], "2026-02-06T00:00:00Z"
    hours = (frame["timestamp"] - FIRST) / pd.Timedelta("1h")
    frame["amount"] = hours.where((frame["event"] == "paid") & (hours % 4 < 3))  # else unknown
    credit, money, paths, attributed, reached, n_counted = naive(frame, windows, as_of, 3, 4, zone)
    log = ArrayLog(frame)
    log.day_resolution = {"visit": [zone]} if zone else {}
    call = partial(
        attribution_windows,
        log,
        "paid",
        windows=["10d", "1d", "4d"],
        as_of=as_of,
        half_life="3d",
        seed=1,
        reference="4d",
        start="signed_up",
        competing="left",
        value="amount",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "bucket_draws", partial(stats.bucket_draws, draws=3))
        patch.setattr(results, "MIN_USERS", 1)  # else partners of few users become "others"
        if not n_counted:
            with pytest.raises(DataError):
                call()
            return
        try:
            result = call()
        except DataError:  # conversions, but no touch of anyone at risk
            assert not reached and not any(paths.values())
            return
    names = result.partners["partner_id"].tolist()
    for w in windows:
        assert result.windows.set_index("window_days")["n_attributed"][w] == attributed[w]
        assert (
            result.windows.set_index("window_days")["n_late"][w] == attributed[10] - attributed[w]
        )
        for rule in RULES:
            got, brings = wide(result, rule, w), wide(result, rule, w, "credit_amount")
            want, worth = ({p: x.get((rule, w, p), 0) for p in names} for x in (credit, money))
            if rule == "markov":
                (want, worth), effects = naive_markov(paths[w], names)
                if w == 4 and got.sum():
                    assert result.partners.set_index("partner_id")[
                        "removal_effect"
                    ].to_dict() == pytest.approx(effects[0], abs=1e-9)
            assert got.to_dict() == pytest.approx(want, abs=1e-9), (rule, w)
            assert brings.to_dict() == pytest.approx(worth, abs=1e-6), (rule, w)
            assert got.sum() == pytest.approx(attributed[w], abs=1e-9)
    assert result.partners["n_attributed"].tolist() == [reached.get(p, 0) for p in names]


def test_the_store_and_the_arrays_agree_and_a_seed_repeats(quick):
    frame = pd.concat(
        [random_frame(s).assign(user_id=lambda f, s=s: f["user_id"] + f"-{s}") for s in range(40)]
    )
    call = {"windows": ["1d", "4d", "10d"], "as_of": "2026-02-06", "seed": 3}
    call |= {"start": "signed_up", "competing": "left"}
    log = EventLog.from_frame(frame)
    store, again, arrays = (
        attribution_windows(x, "paid", **call) for x in (log, log, ArrayLog(frame))
    )
    for name in ("credit", "windows", "stability", "partners"):
        pd.testing.assert_frame_equal(getattr(store, name), getattr(again, name))
    pd.testing.assert_series_equal(store.credit["credit"], arrays.credit["credit"])
    counts = ["n_attributed", "n_compared", "n_brought"]  # intervals hang on who shares a bucket
    pd.testing.assert_frame_equal(store.partners[counts], arrays.partners[counts])


SHARES = ("credit_share", "removal_effect")  # beside the columns whose names say so


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=12),
    st.booleans(),
    st.sampled_from([None, "UTC"]),
)
def test_no_share_lies_outside_0_and_1(seeds, always, zone):
    """In any table of any log: of few users and many, with time to compare with and without."""
    frames = [random_frame(s).assign(user_id=lambda f, s=s: f["user_id"] + f"-{s}") for s in seeds]
    log = ArrayLog(pd.concat(frames))
    log.day_resolution = {"visit": [zone]} if zone else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stats, "bucket_draws", partial(stats.bucket_draws, draws=20))
        for name in ("FEW", "THIN", "HALF") if always else ():
            patch.setattr(incrementality, name, 0)  # partners are told of, however few convert
        try:
            result = attribution_windows(
                log,
                "paid",
                windows=["1d", "4d", "10d"],
                as_of="2026-02-06",
                seed=1,
                start="signed_up",
                competing="left",
            )
        except DataError:
            return
    for name, table in result.tables.items():
        for column in table:
            what = column.removesuffix("_ci_lower").removesuffix("_ci_upper")
            if what.endswith("_rate") or what in SHARES:
                known = table[column].dropna().astype(float)
                assert known.between(-1e-12, 1 + 1e-12).all(), (name, column, known)
