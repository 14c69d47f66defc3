"""Accounts of unlike sizes; a share by leaving out one of them after the other."""

import numpy as np
from scipy.stats import t as student

UNLIKE = np.random.default_rng(0).geometric(1 / 20, 60)  # 60 accounts of 1 to 119 users


def share_by_cluster(cluster, success):
    """Share, its interval (a list), design effect; ``cluster`` and ``success`` have a user each."""
    cluster, success = np.asarray(cluster), np.asarray(success, float)
    names, sizes = np.unique(cluster, return_counts=True)
    n, g, p = len(success), len(names), success.mean()
    without = np.array([success[cluster != name].mean() for name in names])
    if without.min() > 0 and without.max() < 1:
        changes = np.log(without / (1 - without)) - np.log(p / (1 - p))
    else:
        changes = (without - p) / (p * (1 - p))
    variance = (g - 1) / g * (changes**2).sum()  # of the logit
    effective = max(n**2 / (sizes**2).sum(), min(g, 10))
    half = student.ppf(0.975, effective - 1) * np.sqrt(variance)
    ends = [1 / (1 + np.exp(-(np.log(p / (1 - p)) + sign * half))) for sign in (-1, 1)]
    return p, ends, variance * n * p * (1 - p)
