"""Series of known noise, as weeks around a change."""

import numpy as np
import pandas as pd


def ar1(rng, shape, phi):
    """Stationary AR(1) noise along the last axis, innovations of variance 1."""
    e = rng.normal(size=shape)
    e[..., 0] /= np.sqrt(1 - phi**2)
    for t in range(1, shape[-1]):
        e[..., t] += phi * e[..., t - 1]
    return e


def weeks_of(y, n_pre, **more):
    return pd.DataFrame(
        {"y": np.asarray(y, float), "weight": 1.0, "n": 1.0, **more},
        index=np.arange(len(y)) - n_pre,
    )


def panel_of_factors(rng, n_units, n_pre, n_post):
    load, factor = rng.uniform(0, 1, (n_units, 2)), ar1(rng, (2, n_pre + n_post), 0.7)
    return (load @ factor + rng.normal(0, 0.5, (n_units, n_pre + n_post))).T


def as_weeks(y, n_pre):
    return weeks_of(y[:, 0], n_pre, **{f"donor {j}": y[:, j] for j in range(1, y.shape[1])}), [
        f"donor {j}" for j in range(1, y.shape[1])
    ]
