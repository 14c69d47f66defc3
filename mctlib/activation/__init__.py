"""notebooks/activation.ipynb: how long users wait for first value, and who comes back."""

from mctlib.activation.landmark import Landmark, landmark_activation
from mctlib.activation.returning import Retention, retention
from mctlib.activation.time_to_event import Activation, time_to_activation, waits_of

__all__ = [
    "Activation",
    "Landmark",
    "Retention",
    "landmark_activation",
    "retention",
    "time_to_activation",
    "waits_of",
]
