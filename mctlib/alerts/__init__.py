"""People's acts on alerts, and messages about them: the only place that sends anything."""
