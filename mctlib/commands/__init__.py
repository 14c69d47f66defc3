"""The commands of `python -m mctlib` beside run and start; each wraps a function."""
