"""Weekly numbers of metrics in which nothing happens, or a fall that is planted."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mctlib.stats.monitoring import weekly_alerts

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


def opened(table: pd.DataFrame, metric: str = "m") -> list[int]:
    """The weeks in which an alert is news."""
    rows = table[table["alert"] & (table["metric"] == metric)]
    return ((rows["week"] - MONDAY).dt.days // 7).tolist()


WORLDS = (
    {"phi": 1},
    {"phi": 2, "season": 0.12},
    {"phi": 4, "trend": -0.004, "growth": 0.01},
    {"phi": 1, "season": 0.12, "holiday": 0.25, "trend": 0.004},
)


def false_alarms(n: int) -> tuple[float, float]:
    """Of the quiet worlds: new alerts a metric and week, and weeks with any of 12."""
    each, weeks = [], []
    for k, kind in enumerate(WORLDS):
        for seed in range(n):
            found = weekly_alerts(world(np.random.default_rng([k, seed]), **kind))
            judged = found[found["week"] >= MONDAY + pd.Timedelta(weeks=12)]
            each.append(judged["alert"].mean())
            weeks.append(judged.groupby("week")["alert"].any().mean())
    return float(np.mean(each)), float(np.mean(weeks))


def found_in_time(n: int, **kind: float) -> float:
    """Share of falls of 15 % found in their first two weeks, where they are detectable."""
    hits = []
    for seed in range(n):
        rng = np.random.default_rng([9, seed])
        table = world(rng, metrics=1, fall=0.15, n=(8_000, 60_000), **kind)
        found = weekly_alerts(table)
        before = found.iloc[44]
        if before["detectable_fall"] <= 0.15 and before["state"] in ("", "may be chance"):
            hits.append(any(week in (45, 46) for week in opened(found, "m00")))
    assert len(hits) > n / 5
    return float(np.mean(hits))


def found_at_once(n: int, times: float, **kind: float) -> float:
    """Share of falls, ``times`` as large as the detectable one is said to be, found in their week.

    8 in 10 where ``times`` is 1: where the share crosses them, the detectable fall is.
    """
    size = {"season": 0.0, "n": (4_000, 4_001), "rate": (0.2, 0.2001), "metrics": 1}
    quiet = [world(np.random.default_rng([3, seed]), **size, **kind) for seed in range(n)]
    said = [weekly_alerts(table)["detectable_fall"].iloc[45] for table in quiet]
    hits = []
    for seed in range(n):
        rng = np.random.default_rng([4, seed])
        rows = weekly_alerts(world(rng, **size, **kind, fall=times * float(np.mean(said))))
        if rows["state"].iloc[44] in ("", "may be chance"):
            hits.append(rows["state"].iloc[45] == "open")
    return float(np.mean(hits))
