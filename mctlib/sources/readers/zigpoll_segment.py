"""Zigpoll's answers as they arrive through Segment."""

from mctlib.sources.readers.reader import Reader, Selects, survey
from mctlib.sources.staging import Stage


def read(table: str, rows: Stage) -> Selects:
    """Without a user id the e-mail stands in anonymous_id, so only user_id or a map counts."""
    return survey(table, rows, submitted_at=rows.get("timestamp", "received_at"), tool="'zigpoll'")


READER = Reader(read, {"rows": ("event", "poll_id", "participant_id", "received_at")}, ("surveys",))
