"""Our side of the benchmarks, by public names only.

A job gets ready (not measured) and returns the work to measure, which returns its answer.
"""

import os
from collections.abc import Callable
from typing import Any

from mctlib import (
    RULES,
    EventLog,
    Rate,
    attribution_windows,
    audit_events,
    daily_metric,
    diagnose_funnel,
    open_log,
    signal_value,
    time_to_activation,
)
from mctlib.tracking_plan.plan import Plan
from mctlib.tracking_plan.reading import as_plan
from tests.benchmarks.data import AS_OF, BENCH, CONVERSION, DEEDS, SEGMENTS, STEPS


def _credit(log: EventLog, rules: tuple[str, ...], windows: str) -> dict[str, float]:
    """Shares under the last rule and window."""
    credit = attribution_windows(
        log, CONVERSION, rules=rules, windows=windows.split(), as_of=AS_OF, seed=1
    ).credit
    last = credit[
        (credit["rule"] == rules[-1]) & (credit["window_days"] == credit["window_days"].max())
    ]
    return dict(zip(last["partner_id"], last["credit_share"]))


def _activation(log: EventLog, by: str, activation: str) -> dict[str, float]:
    """Hazard ratios."""
    reference = SEGMENTS[0] if by == "channel" else None
    table = time_to_activation(
        log, start=STEPS[0], activation=activation, as_of=AS_OF, by=by, reference=reference
    ).contrasts
    return dict(zip(table["segment"], table["hazard_ratio"]))


def _plan() -> Plan:
    """Of the steps, each of which implies the one before."""
    pairs = zip(STEPS, [[], *([step] for step in STEPS)])
    return as_plan({"micro_conversions": {s: {"implies": before} for s, before in pairs}}, "plan")


QUESTIONS: dict[str, Callable[[EventLog], Any]] = {
    "load": lambda log: log.load["n_users"],
    "funnel": lambda log: (
        diagnose_funnel(log, STEPS, window="14d", as_of=AS_OF).steps["n_reached"].tolist()
    ),
    "grid": lambda log: _credit(log, RULES, "1d 3d 7d 14d 21d 28d 45d 60d"),
    "one": lambda log: _credit(log, ("last",), "60d"),
    "markov": lambda log: _credit(log, ("markov",), "30d"),
    "activation": lambda log: _activation(log, "platform", STEPS[2]),
    "contrasts": lambda log: _activation(log, "channel", STEPS[1]),
    "audit": lambda log: audit_events(log, _plan(), as_of=AS_OF).verdicts["n_checked"].tolist(),
    "signals": lambda log: (
        signal_value(
            log, DEEDS, CONVERSION, horizon="60d", as_of=AS_OF, start=STEPS[0], adjust="channel"
        )
        .signals["n_exposed"]
        .tolist()
    ),
    "metric": lambda log: int(
        daily_metric(log, Rate(STEPS[2], of=STEPS[0], window="14d"), as_of=AS_OF).table["n"].sum()
    ),
}


def in_place(question: str, name: str) -> Callable[[], Any]:
    """A question to the Parquet file where it lies; opening it is measured too."""
    return lambda: QUESTIONS[question](EventLog.from_parquet(BENCH / f"{name}.parquet"))


def ask(question: str, name: str, fresh: str = "") -> Callable[[], Any]:
    """A question to a store; to a ``fresh`` one: Parquet is loaded first, which is measured too."""
    os.chdir(BENCH)  # its params/ and stores
    log = None if fresh else open_log(name)
    return lambda: QUESTIONS[question](log or open_log(name, fresh=True))
