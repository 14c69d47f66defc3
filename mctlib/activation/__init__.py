"""notebooks/activation.ipynb: how long users wait for first value."""

from mctlib.activation.landmark import Landmark, landmark_activation
from mctlib.activation.time_to_event import Activation, time_to_activation

__all__ = ["Activation", "Landmark", "landmark_activation", "time_to_activation"]
