"""Micro-conversion tracking: a small helper package behind the notebooks. The public names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mctlib.activation import (
        Activation,
        Landmark,
        Retention,
        landmark_activation,
        retention,
        time_to_activation,
    )
    from mctlib.attribution import RULES, Attribution, attribution_windows
    from mctlib.audit import Audit, audit_events
    from mctlib.contract import DataError, ParameterError
    from mctlib.eventlog.daily_metric import Count, DailyMetric, Mean, Rate, Ratio, daily_metric
    from mctlib.eventlog.event_log import EventLog
    from mctlib.eventlog.journeys import Journeys
    from mctlib.eventlog.spark import SparkLog
    from mctlib.eventlog.steps import ANY, Exclusion, Step
    from mctlib.funnel import (
        Change,
        Drivers,
        Funnel,
        RuleComparison,
        compare_rules,
        diagnose_funnel,
        drop_off_drivers,
        explain_change,
    )
    from mctlib.roi import (
        Arms,
        BeforeAfter,
        Money,
        Speed,
        compare_arms,
        compare_before_after,
        value_of_speed,
    )
    from mctlib.runner.run import RunRecord, run_pack
    from mctlib.scorecard import Scorecard, weekly_scorecard
    from mctlib.signals import (
        Definitions,
        Signals,
        Thresholds,
        compare_definitions,
        scan_thresholds,
        signal_value,
    )
    from mctlib.sources.dataset import open_log

_HOME = {  # a name is loaded when it is first used: importing the package costs nothing
    "mctlib.activation": (
        "Activation",
        "Landmark",
        "Retention",
        "landmark_activation",
        "retention",
        "time_to_activation",
    ),
    "mctlib.attribution": ("Attribution", "RULES", "attribution_windows"),
    "mctlib.audit": ("Audit", "audit_events"),
    "mctlib.contract": ("DataError", "ParameterError"),
    "mctlib.eventlog.daily_metric": (
        "Count",
        "DailyMetric",
        "Mean",
        "Rate",
        "Ratio",
        "daily_metric",
    ),
    "mctlib.eventlog.event_log": ("EventLog",),
    "mctlib.eventlog.journeys": ("Journeys",),
    "mctlib.eventlog.spark": ("SparkLog",),
    "mctlib.eventlog.steps": ("ANY", "Exclusion", "Step"),
    "mctlib.funnel": (
        "Change",
        "Drivers",
        "Funnel",
        "RuleComparison",
        "compare_rules",
        "diagnose_funnel",
        "drop_off_drivers",
        "explain_change",
    ),
    "mctlib.roi": (
        "Arms",
        "BeforeAfter",
        "Money",
        "Speed",
        "compare_arms",
        "compare_before_after",
        "value_of_speed",
    ),
    "mctlib.runner.run": ("RunRecord", "run_pack"),
    "mctlib.scorecard": ("Scorecard", "weekly_scorecard"),
    "mctlib.signals": (
        "Definitions",
        "Signals",
        "Thresholds",
        "compare_definitions",
        "scan_thresholds",
        "signal_value",
    ),
    "mctlib.sources.dataset": ("open_log",),
}
_PLACE = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_PLACE)


def __getattr__(name: str) -> Any:
    if name == "plots":
        return import_module("mctlib.plots")
    if name not in _PLACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACE[name]), name)


def __dir__() -> list[str]:
    return __all__
