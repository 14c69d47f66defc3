"""Sources by query, and what they are refused with."""

import json

import pytest

from mctlib.contract import DataError
from tests.sources import reading

PASSWORD = "Kanarienvogel@7/gelb"
# as a URL must write it
WRITTEN = "Kanarienvogel%407%2Fgelb"
GOOD = "SELECT 'ada' AS user_id, 'x' AS event, timestamptz '2026-01-05Z' AS timestamp"


def source(query, table="events", **more):
    fields = {"query": query, "connection": "WAREHOUSE_URL"} | more
    # JSON is YAML
    return f"{table}: {json.dumps(fields)}"


def read(query, table="events", **more):
    """The rows of one query as dicts without their empty values."""
    return reading.read(table, query=query, connection="WAREHOUSE_URL", **more)[table]


def refusal(call, *arguments, **more):
    with pytest.raises(DataError) as error:
        call(*arguments, **more)
    assert error.value.__suppress_context__ or error.value.__cause__ is None
    return str(error.value)


def literal(value):
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"
