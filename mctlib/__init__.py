"""Micro-conversion tracking: a small helper package behind the notebooks. The public names, nothing else."""

from mctlib.activation import Activation, time_to_activation
from mctlib.arms import Arms, compare_arms
from mctlib.attribution import RULES, Attribution, attribution_windows
from mctlib.change import Change, explain_change
from mctlib.funnel import Funnel, diagnose_funnel
from mctlib.journeys import ANY, Exclusion, Journeys, Step
from mctlib.log import EventLog
from mctlib.store import DataError, ParameterError
from mctlib.metric import Count, Mean, Rate, daily_metric
from mctlib.roi import BeforeAfter, compare_before_after
from mctlib.run import RunRecord, run_pack
from mctlib.sources import open_log
from mctlib.spark import SparkLog
from mctlib.speed import Speed, value_of_speed

__all__ = [
    "ANY", "RULES", "Activation", "Arms", "Attribution", "BeforeAfter", "Change", "Count", "DataError", "EventLog", "Exclusion", "Funnel", "Journeys", "Mean",
    "ParameterError", "Rate", "RunRecord", "SparkLog", "Speed", "Step", "attribution_windows", "compare_arms", "compare_before_after", "daily_metric", "diagnose_funnel", "explain_change",
    "open_log", "run_pack", "time_to_activation", "value_of_speed",
]
