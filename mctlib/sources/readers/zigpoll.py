"""Zigpoll's response CSV."""

from mctlib.sources.readers.reader import Reader, Selects, survey
from mctlib.sources.staging import Stage


def read(table: str, rows: Stage) -> Selects:
    """Its headers depend on the poll, so they are mapped."""
    return survey(table, rows, tool="'zigpoll'")


READER = Reader(read, {"rows": ()}, ("surveys",), timezone=None)
