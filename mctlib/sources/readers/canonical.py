"""Any CSV, JSON lines or Parquet whose headers are canonical, or are mapped in the YAML."""

from mctlib.contract import CANONICAL, TABLES
from mctlib.eventlog.sql import sql_name
from mctlib.sources.readers.reader import Reader, Selects, refusals, same_person, survey
from mctlib.sources.staging import Stage


def read(table: str, rows: Stage) -> Selects:
    """Headers are canonical already, or are mapped in the YAML."""
    bag = rows.bag
    if "properties" in CANONICAL[table] and bag in rows.headers:
        rows.open(f"as_object({sql_name(rows.headers[bag])})", bag)
    refused = refusals(table, rows)
    found = survey(table, rows) if table == "surveys" else {table: rows.select(table)}
    return found | same_person(rows) | refused


READER = Reader(read, {"rows": ()}, TABLES, timezone=None)
