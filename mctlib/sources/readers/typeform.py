"""Typeform's response CSV."""

from mctlib.sources.readers.reader import Reader, Selects, survey
from mctlib.sources.staging import Stage


def read(table: str, rows: Stage) -> Selects:
    """Headers are the question texts, hidden fields are columns.

    Map each micro-conversion to its question.
    """
    return survey(table, rows, submitted_at=rows.get("Submit Date (UTC)"), tool="'typeform'")


READER = Reader(read, {"rows": ("#", "Submit Date (UTC)")}, ("surveys",))
