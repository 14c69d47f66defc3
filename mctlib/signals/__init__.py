"""notebooks/signals.ipynb: which micro-conversions matter, which are vanity."""

from mctlib.signals.value import Signals, signal_value

__all__ = ["Signals", "signal_value"]
