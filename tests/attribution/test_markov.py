"""Chains of touches against published examples, another package, and chains solved by hand."""

import numpy as np
import pandas as pd
import pytest

from mctlib import attribution_windows, stats
from mctlib.attribution.markov import Moves, removal
from mctlib.eventlog.event_log import EventLog
from tests.support.partners import rows_to_frame, wide

BUCKETS = stats.N_BUCKETS


def chain(paths, buckets=BUCKETS):
    """Moves of paths, one a line: (partners, what it brings or None, bucket)."""
    names = sorted({p for path, _, _ in paths for p in path})
    number = {p: i for i, p in enumerate(names)}
    p, moves, brought = len(names), {}, np.zeros((buckets, 2, len(names)))
    for path, worth, bucket in paths:
        states = [p, *(number[x] for x in path), p + 2 if worth is None else p + 1]
        for x, y in zip(states, states[1:]):
            moves[bucket, x, y] = moves.get((bucket, x, y), 0) + 1
        if worth is not None:
            brought[bucket, :, number[path[-1]]] += [1, worth]
    lines = np.array(list(moves), np.int64)
    return names, Moves(*lines.T.copy(), np.array(list(moves.values()), float)), brought


def of_counts(*lines):
    """(path, conversions, others) -> paths."""
    return [
        (path, worth, 0)
        for path, n_paid, n_lost in lines
        for worth, n in ((1.0, n_paid), (None, n_lost))
        for _ in range(n)
    ]


def shared(paths):
    names, *asked = chain(paths)
    return dict(zip(names, removal(*asked).credit.sum(axis=0)[0]))


def test_published_examples():
    # analyzecore.com/2016/08/03/attribution-model-r-part-1: C1 > C2 > C3 buys, C1 and C2 > C3 do
    # not; removal effects 0.5, 1, 1
    paths = of_counts((["C1", "C2", "C3"], 1, 0), (["C1"], 0, 1), (["C2", "C3"], 0, 1))
    names, *asked = chain(paths)
    assert removal(*asked).effect.tolist() == pytest.approx([0.5, 1, 1])
    assert shared(paths) == pytest.approx({"C1": 0.2, "C2": 0.4, "C3": 0.4})
    # README of pychattr (a port of R's ChannelAttribution), 10,000 simulated walks: A 1.991106, B
    # 1.008894
    paths = of_counts((list("ABABBA"), 1, 0), (list("ABBAA"), 1, 0), (list("AA"), 1, 0))
    assert shared(paths) == pytest.approx({"A": 1.991106, "B": 1.008894}, abs=0.02)


def test_collapsing_repeats_changes_nothing():
    long = [("aabbb", 3, 0), ("abba", 0, 5), ("ccb", 2, 0), ("bbc", 0, 4)]
    short = [("".join(x for x, y in zip(p, " " + p) if x != y), *n) for p, *n in long]
    assert shared(of_counts(*long)) == pytest.approx(shared(of_counts(*short)), abs=1e-12)


# ChannelAttribution 2.2.5 (Python), which simulates: markov_model(paths, "path", "conv",
# var_value="value", var_null="null", order=1, nsim_start=2_000_000, max_step=1000, seed=1,
# conv_par=0.0015, out_more=True); exact to some thousandths
PATHS = [  # path, conv, value, null
    ("C1 C2 C3", 1, 10.0, 2),
    ("C1", 0, 0.0, 1),
    ("C2 C3", 0, 0.0, 1),
    ("C2 C1 C2", 3, 90.0, 4),
    ("C3 C1", 2, 20.0, 1),
    ("C1 C3 C2 C1", 1, 70.0, 2),
]
PEER = pd.DataFrame(
    {
        "total_conversions": [2.738382, 2.823845, 1.437772],
        "total_conversion_value": [77.571096, 79.550817, 32.878088],
        "removal_effects_conversion": [0.738920, 0.761981, 0.387966],
    },
    index=["C1", "C2", "C3"],
)


def rows_of(paths):
    """A touch a day from day 40 on, the conversion with its value on the day after the last."""
    rows, users = [("first", 0, "page", None, None)], 0
    for path, n_paid, value, n_lost in paths:
        for i in range(n_paid + n_lost):
            users += 1
            days = 40.5 + np.arange(len(path.split()) + 1)
            for day, partner in zip(days, path.split()):
                rows.append((f"u{users}", day, "visit", partner, None))
            if i < n_paid:
                rows.append((f"u{users}", days[-1], "paid", None, value / n_paid))
    frame = rows_to_frame([row[:4] for row in rows])
    return frame.assign(amount=[row[4] for row in rows])


def test_conversions_and_their_values_against_another_package():
    result = attribution_windows(
        EventLog.from_frame(rows_of(PATHS), observed_until="2026-04-30"),
        "paid",
        windows=["7d", "30d"],
        as_of="2026-04-30",
        rules=["markov", "last"],
        reference="7d",
        value="amount",
        seed=1,
    )
    partners = result.partners.set_index("partner_id").loc[PEER.index]
    for mine, theirs, near in (
        (wide(result, "markov", 7), "total_conversions", 0.005),
        (wide(result, "markov", 7, "credit_amount"), "total_conversion_value", 0.1),
        (partners["removal_effect"], "removal_effects_conversion", 0.001),
    ):
        assert mine.tolist() == pytest.approx(PEER[theirs].tolist(), abs=near), theirs
    # by hand: the last touches of 10, 90, 20 and 70 are C3, C2, C1 and C1
    assert wide(result, "last", 7, "credit_amount").to_dict() == {"C1": 90, "C2": 90, "C3": 10}


def random_paths(seed, n=400):
    rng = np.random.default_rng(seed)
    drawn = [
        rng.choice(list("abcde"), rng.integers(1, 6), p=[0.4, 0.3, 0.15, 0.1, 0.05])
        for _ in range(n)
    ]
    return [
        (list(path), rng.exponential(50) if rng.random() < 0.4 else None, int(rng.integers(100)))
        for path in drawn
    ]


def weighed(moves, brought, weight):
    """The chain with each bucket's users so many times."""
    return moves._replace(n=moves.n * weight[moves.bucket]), brought * weight[:, None, None]


@pytest.mark.parametrize("seed", range(5))
def test_parts_by_bucket_are_derivatives_that_add_up(seed):
    _, moves, brought = chain(random_paths(seed))
    found = removal(moves, brought)
    assert found.credit.sum(axis=(0, 2)).tolist() == pytest.approx(
        brought.sum(axis=(0, 2)).tolist()
    )
    assert found.effect_parts.sum(axis=0) == pytest.approx(np.zeros(5), abs=1e-12)
    for bucket in (0, 17, 99):
        more, less = (
            removal(*weighed(moves, brought, 1 + step * (np.arange(BUCKETS) == bucket)))
            for step in (1e-4, -1e-4)
        )
        slope = (more.credit.sum(axis=0) - less.credit.sum(axis=0)) / 2e-4
        assert found.credit[bucket] == pytest.approx(slope, rel=1e-5, abs=1e-6)
        slope = (more.effect - less.effect) / 2e-4
        assert found.effect_parts[bucket] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_first_order_draws_are_as_wide_as_draws_of_whole_chains():
    """Of draws in which every chain is solved anew, for partners large and small."""
    _, moves, brought = chain(random_paths(3, n=3000))
    found = removal(moves, brought)
    rng = np.random.default_rng(1)
    weights = rng.multinomial(BUCKETS, np.full(BUCKETS, 1 / BUCKETS), size=1000)
    anew = [removal(*weighed(moves, brought, w.astype(float))) for w in weights]
    for whole, parts, start in (
        (np.array([one.credit.sum(axis=0)[0] for one in anew]), found.credit[:, 0], 0),
        (np.array([one.effect for one in anew]), found.effect_parts, found.effect),
    ):
        ends, exact = (
            np.quantile(draws, [0.025, 0.975], axis=0) for draws in (start + weights @ parts, whole)
        )
        assert np.abs(ends - exact).max(axis=0) == pytest.approx(
            np.zeros(5), abs=0.05 * (exact[1] - exact[0]).min()
        )
