"""Any CSV, JSON lines or Parquet of no known tool: its headers are mapped in the YAML."""

from mctlib.contract import TABLES, DataError
from mctlib.sources.readers import canonical
from mctlib.sources.readers.reader import Reader, Selects
from mctlib.sources.staging import Stage


def read(table: str, rows: Stage) -> Selects:
    """As canonical, with a map that must be there."""
    if not rows.columns:
        raise DataError(
            f"{rows.shown}: format columns needs a map, columns: {{canonical column: its header}}."
        )
    return canonical.read(table, rows)


READER = Reader(read, {"rows": ()}, TABLES, timezone=None)
