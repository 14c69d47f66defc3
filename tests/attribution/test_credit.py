"""Ranks, their agreement and draws of credit, against what a few loops find."""

import numpy as np
import pytest

from mctlib import stats
from mctlib.attribution.credit_rules import Credit, kendall_tau, ranks, stability


@pytest.fixture
def parts():
    """Credit by bucket, rule, window and partner; whole numbers, so that some are equal."""
    return np.random.default_rng(4).poisson(0.05, (100, 2, 3, 7)).astype(float)


def test_ranks_count_who_has_more(parts):
    credit = parts.sum(axis=0)
    for row, found in zip(credit.reshape(-1, 7), ranks(credit).reshape(-1, 7)):
        assert found.tolist() == [1 + sum(other > mine for other in row) for mine in row]


def test_kendalls_tau_b_is_the_correlation_of_all_pairs(parts):
    credit = parts.sum(axis=0)
    pairs = [(i, j) for i in range(7) for j in range(i)]
    for by, found in zip(credit, kendall_tau(credit, 1)):
        signs = np.array([[np.sign(w[i] - w[j]) for i, j in pairs] for w in by])
        expected = signs @ signs[1] / np.sqrt((signs**2).sum(axis=1) * (signs[1] ** 2).sum())
        assert found.tolist() == pytest.approx(expected.tolist())


def test_draws_of_one_rule_are_those_of_all(parts):
    credit = Credit(np.array(list("abcdefg")), parts, seed=3)
    drawn = stats.bucket_draws(parts, seed=3)
    assert np.array_equal(credit.drawn, drawn)
    assert np.array_equal(credit.by(1).drawn, drawn[:, 1])
    table = stability(credit, ["first", "last"], np.array([1.0, 7.0, 30.0]), 1)
    top = credit.found.argmax(axis=-1)
    assert table["top_rate"].tolist() == pytest.approx(
        (drawn.argmax(axis=-1) == top).mean(axis=0).ravel().tolist()
    )
