"""People's acts on alerts, and messages about them: the only place that sends anything."""

from mctlib.alerts.acts import acts_of

__all__ = ["acts_of"]
