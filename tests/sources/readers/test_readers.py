"""The registry, and what no reader lets pass."""

import shutil

import duckdb
import pytest

from mctlib import open_log
from mctlib.sources.readers import READERS
from tests.sources.reading import EXPORTS, stored
from tests.support.stores import store_of


def test_every_reader_has_a_fixture_and_a_docstring():
    assert {path.name for path in EXPORTS.iterdir() if path.is_dir()} == set(READERS)
    assert all(reader.read.__doc__ for reader in READERS.values())


@pytest.mark.parametrize(
    "format", ["mixpanel", "amplitude", "segment", "posthog", "ga4", "snowplow"]
)
def test_no_address_reaches_a_store(project, format):
    shutil.copytree(EXPORTS / format, "in")
    open_log(project(f'events: {{path: "in/*", format: {format}}}'))
    rejected = duckdb.sql("FROM 'outputs/store/x.rejected.parquet'").fetchall()
    events = stored(store_of("x"))["events"]
    kept = str(events.to_dict("records")) + str(rejected)
    for word in ("Ada", 'example.org"', "203.0.113", "u-100", "ada@", "ben@", "cem@"):
        assert word not in kept
