"""The event log: its store, and the one way to walk whole users over it."""
