"""Micro-conversion tracking: a small helper package behind the notebooks. The public names, nothing else."""

from mctlib.activation import Activation, time_to_activation
from mctlib.arms import Arms, compare_arms
from mctlib.attribution import RULES, Attribution, attribution_windows
from mctlib.change import Change, explain_change
from mctlib.drivers import Drivers, drop_off_drivers
from mctlib.funnel import Funnel, diagnose_funnel
from mctlib.journeys import ANY, Exclusion, Journeys, Step
from mctlib.landmark import Landmark, landmark_activation
from mctlib.log import EventLog
from mctlib.store import DataError, ParameterError
from mctlib.metric import Count, Mean, Rate, daily_metric
from mctlib.roi import BeforeAfter, compare_before_after
from mctlib.rules import RuleComparison, compare_rules
from mctlib.run import RunRecord, run_pack
from mctlib.sources import open_log
from mctlib.spark import SparkLog
from mctlib.speed import Speed, value_of_speed

__all__ = [
    "ANY",
    "Activation",
    "Arms",
    "Attribution",
    "BeforeAfter",
    "Change",
    "Count",
    "DataError",
    "Drivers",
    "EventLog",
    "Exclusion",
    "Funnel",
    "Journeys",
    "Landmark",
    "Mean",
    "ParameterError",
    "RULES",
    "Rate",
    "RuleComparison",
    "RunRecord",
    "SparkLog",
    "Speed",
    "Step",
    "attribution_windows",
    "compare_arms",
    "compare_before_after",
    "compare_rules",
    "daily_metric",
    "diagnose_funnel",
    "drop_off_drivers",
    "explain_change",
    "landmark_activation",
    "open_log",
    "run_pack",
    "time_to_activation",
    "value_of_speed",
]
