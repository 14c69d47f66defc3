"""notebooks/signals.ipynb: which micro-conversions matter, and whose definition of a word holds."""

from mctlib.signals.definitions import Definitions, compare_definitions
from mctlib.signals.thresholds import Thresholds, scan_thresholds
from mctlib.signals.value import Signals, signal_value

__all__ = [
    "Definitions",
    "Signals",
    "Thresholds",
    "compare_definitions",
    "scan_thresholds",
    "signal_value",
]
