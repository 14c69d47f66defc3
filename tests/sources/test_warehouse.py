"""Tables by query, as far as no server is needed; see postgresql/ for the rest."""

import datetime as dt
import json
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from mctlib import open_log
from mctlib.sources import warehouse
from mctlib.sources.files import File
from mctlib.sources.staging import Stage
from mctlib.sources.workbench import workbench
from tests.sources.postgresql.asking import GOOD, PASSWORD, WRITTEN, refusal, source


def test_capital_names_and_nanoseconds_as_snowflake_sends_them():
    """Its types by its driver's documentation, made here: TIMESTAMP_TZ, and NUMBER as a decimal.

    1767607200 s = 2026-01-05 10:00 UTC.
    """
    at = pa.array([1767607200_123456789], pa.timestamp("ns", "America/New_York"))
    sent = pa.table(
        {
            "USER_ID": ["ada"],
            "EVENT": ["x"],
            "TIMESTAMP": at,
            "N": pa.array([7], pa.decimal128(38, 0)),
        }
    )
    with workbench(None) as (con, _):
        con.register("sent", sent)
        stage = Stage(
            con, [File(Path("sent"), "sent", "arrow", tuple(sent.column_names))], "staged_0", {}
        )
        row = con.sql(
            f"SELECT user_id, event, timestamp, properties FROM ({stage.select('events')})"
        ).fetchall()[0]
    assert row == ("ada", "x", dt.datetime(2026, 1, 5, 10, 0, 0, 123456), '{"N":"7"}')


def test_a_secret_in_what_a_server_says_is_struck_out():
    said = f"ERROR: for {PASSWORD} and {WRITTEN} and t0ken\nmore"
    url = f"postgresql://analyst:{WRITTEN}@host/db?sslmode=require&access_token=t0ken"
    assert warehouse.without_secrets(ValueError(said), url) == "for *** and *** and ***"


def test_a_variable_that_is_not_set(project, monkeypatch):
    monkeypatch.delenv("WAREHOUSE_URL", raising=False)
    monkeypatch.setenv("WAREHOUSE_URI", "postgresql://host/db")
    assert refusal(open_log, project(source(GOOD))) == (
        'The environment variable "WAREHOUSE_URL" is not set; a query needs the warehouse\'s URL'
        ' in it. Did you mean "WAREHOUSE_URI"?'
    )


def test_a_driver_that_is_not_installed(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_snowflake", None)
    monkeypatch.setenv("WAREHOUSE_URL", "snowflake://joe:Zebrafink@account/db/schema")
    assert refusal(open_log, project(source(GOOD))) == (
        "The query of events at WAREHOUSE_URL needs a driver that is not installed. Install it"
        " with: python -m pip install adbc-driver-snowflake"
    )


BAD_YAML = {
    "a URL": (
        source(GOOD, connection="postgresql://joe:Zebrafink@host/db"),
        "data.x.yaml: connection of events must be the name of an environment"
        " variable that holds the URL, never the URL itself: passwords do not belong in files.",
    ),
    "no connection": (
        f"events: {{query: {json.dumps(GOOD)}}}",
        "data.x.yaml: events needs both a query and a connection, or neither.",
    ),
    "no query": (
        "events: {path: e.csv, connection: WAREHOUSE_URL}",
        "data.x.yaml: events needs both a query and a connection, or neither.",
    ),
    "both": (source(GOOD, path="e.csv"), "data.x.yaml: events needs either a path or a query."),
    "an empty query": (source(""), "data.x.yaml: events needs either a path or a query."),
    "the URL in a field of its own": (
        source(GOOD, url="postgresql://joe:Zebrafink@host/db"),
        'data.x.yaml: "events.url" is not a field.',
    ),
}


@pytest.mark.parametrize(("yaml", "sentence"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_bad_yaml_gives_one_sentence_without_the_password(project, yaml, sentence):
    there = "user_id,event,timestamp\nada,x,2026-01-05\n"
    assert refusal(open_log, project(yaml, e__csv=there)) == sentence


@pytest.mark.parametrize(
    ("url", "handed"),
    [
        (
            "snowflake://joe:pw@account/db/schema?warehouse=WH",
            {"uri": "joe:pw@account/db/schema?warehouse=WH"},
        ),
        (
            "bigquery://project/ds?location=EU",
            {
                "db_kwargs": {
                    "adbc.bigquery.sql.project_id": "project",
                    "adbc.bigquery.sql.dataset_id": "ds",
                    "adbc.bigquery.sql.location": "EU",
                },
                "autocommit": True,
            },
        ),
        (
            "bigquery://project",
            {"db_kwargs": {"adbc.bigquery.sql.project_id": "project"}, "autocommit": True},
        ),
    ],
)
def test_what_the_other_drivers_are_handed(url, handed):
    """The names are those of the drivers' documentation; no such warehouse is asked here."""
    _, arguments = warehouse.DRIVERS[url.partition("://")[0]]
    assert arguments(url) == handed
