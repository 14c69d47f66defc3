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


def series_of(weekly, *, n=700, n_pre=None, start="2025-01-06", segment="all", kind="rate"):
    """A daily series whose weeks have these values, and the day of the change after n_pre weeks."""
    days = pd.date_range(start, periods=7 * len(weekly))
    value = np.repeat(np.asarray(weekly, float), 7)
    frame = pd.DataFrame({"day": days, "segment": segment, "n": n // 7, "value": value})
    if kind == "rate":
        frame["n_success"] = value * (n // 7)
    if kind == "count":
        frame["n"] = value
    return frame if n_pre is None else (frame, days[7 * n_pre])


def noise(seed, n, phi=0.0):
    e = np.random.default_rng(seed).normal(size=n + 60)
    for i in range(1, n + 60):
        e[i] += phi * e[i - 1]
    return e[60:]


def panel(seed, *, lift=0.15, n_pre=26, n_post=12, n=400, drift=0.004, controls="bcde", apart=0.0):
    """Daily binomial panel that drifts up; "a" gets the lift and drifts `apart` faster a week."""
    rng = np.random.default_rng(seed)
    days = pd.date_range("2025-01-06", periods=7 * (n_pre + n_post))
    week = np.arange(len(days)) // 7
    parts = []
    for s, level in zip("a" + controls, np.linspace(0.15, 0.35, 1 + len(controls))):
        p = level + drift * week + (apart * week + lift * (week >= n_pre) if s == "a" else 0)
        parts.append(
            pd.DataFrame(
                {"day": days, "segment": s, "n": n // 7, "n_success": rng.binomial(n // 7, p)}
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(value=frame["n_success"] / frame["n"]), days[7 * n_pre]
