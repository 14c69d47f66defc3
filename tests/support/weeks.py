"""Weekly numbers of metrics in which nothing happens, or a fall that is planted."""

from __future__ import annotations

import numpy as np
import pandas as pd

MONDAY = pd.Timestamp("2025-01-06")


def world(
    rng: np.random.Generator,
    *,
    metrics: int = 12,
    weeks: int = 60,
    phi: float = 1.0,
    season: float = 0.06,
    trend: float = 0.0,
    growth: float = 0.0,
    holiday: float = 0.0,
    n: tuple[float, float] = (1_500, 20_000),
    rate: tuple[float, float] = (0.05, 0.4),
    fall: float = 0.0,
    at: int = 45,
) -> pd.DataFrame:
    """metric, week, n, n_success, and the true level of the metric.

    phi: variance over the binomial's · season: amplitude of the year's course, shared; each metric
    follows a part of it · trend, growth: of rates and users, a week · holiday: fall of everything
    in one week · fall: of metric m00 from week ``at`` on.
    """
    week = np.arange(weeks)
    year = season * np.sin(2 * np.pi * (week / 52 + rng.random()))
    free = np.where(week == rng.integers(weeks), 1 - holiday, 1.0)
    tables = []
    for k in range(metrics):
        size = np.exp(rng.uniform(*np.log(n)))
        users = rng.poisson(size * (1 + growth) ** week)
        level = np.exp(rng.uniform(*np.log(rate)))
        level = level * (1 + rng.uniform(0.5, 1) * year) * (1 + trend) ** week * free
        if k == 0:
            level = level * np.where(week >= at, 1 - fall, 1.0)
        level = np.clip(level, 0.001, 0.95)
        if phi > 1:
            spread = (users - 1) / (phi - 1) - 1  # of the beta, so that the variance is phi times
            drawn = rng.beta(level * spread, (1 - level) * spread)
        else:
            drawn = level
        tables.append(
            pd.DataFrame(
                {
                    "metric": f"m{k:02d}",
                    "week": MONDAY + pd.to_timedelta(7 * week, unit="D"),
                    "n": users,
                    "n_success": rng.binomial(users, drawn),
                    "level": level,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def hand_made(values: list[float], *, n: int = 100_000, metric: str = "m") -> pd.DataFrame:
    """A rate whose weeks are these, each half a per cent up and down."""
    value = np.array(values) * (1 + 0.005 * (-1.0) ** np.arange(len(values)))
    week = MONDAY + pd.to_timedelta(7 * np.arange(len(values)), unit="D")
    success = np.minimum(np.round(n * value), n).astype(int)
    return pd.DataFrame({"metric": metric, "week": week, "n": n, "n_success": success})
