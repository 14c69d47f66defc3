"""When a query is asked, and what a run of it leaves behind."""

import csv
import datetime as dt
from types import SimpleNamespace

import duckdb
import pytest

from mctlib.sources import dataset as sources
from tests.sources.postgresql.asking import PASSWORD, WRITTEN, literal, refusal, source
from tests.sources.reading import stored
from tests.support.project import make_project, mctlib
from tests.support.stores import store_of

pytestmark = pytest.mark.integration


def test_a_query_is_asked_again_when_it_changed_or_on_a_new_day_or_when_told(
    project, server, monkeypatch
):
    grow = "INSERT INTO growing SELECT 'u' || count(*), 'x', timestamptz '2026-01-05Z' FROM growing"
    server.run(
        "DROP TABLE IF EXISTS growing",
        "CREATE TABLE growing (user_id text, event text, timestamp timestamptz)",
        grow,
    )
    name = project(source("SELECT * FROM growing"))

    def users(**how):
        return sources.open_log(name, **how).load["n_users"]

    assert users() == 1
    server.run(grow)
    assert users() == 1
    assert users(fresh=True) == 2  # the old log is still open
    server.run(grow)
    monkeypatch.setenv("WAREHOUSE_URL", server.url + "?application_name=another")
    assert users() == 2  # another way to the same database
    project(source("SELECT * FROM growing -- now"))
    assert users() == 3
    server.run(grow)
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    monkeypatch.setattr(sources, "datetime", SimpleNamespace(now=lambda zone: tomorrow))
    assert users() == 4
    server.run("DROP DATABASE IF EXISTS staging", "CREATE DATABASE staging")
    monkeypatch.setenv("WAREHOUSE_URL", server.url.replace("/postgres", "/staging"))
    assert (
        refusal(users)
        == 'The query of events at WAREHOUSE_URL fails: relation "growing" does not exist.'
    )  # never the other's store


def test_the_password_is_nowhere(tmp_path, server, monkeypatch):
    """A pack is loaded by query and run, notebooks and all; then a run that fails.

    No file and no line holds the password.
    """
    monkeypatch.setenv("WAREHOUSE_URL", server.url)
    root = make_project(tmp_path / "project")
    (root / "params/weekly.yaml").write_text("dataset: tiny\nnotebooks:\n  good:\n")
    with (root / "exports/events.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["timestamp"] != "not a time"]
    # rejected, with its source
    nobody = {"user_id": None, "event": "nobody_s", "timestamp": "2026-03-02T08:00:00Z"}
    rows.append(nobody | {"platform": None})
    values = ", ".join("(" + ", ".join(map(literal, row.values())) + ")" for row in rows)
    server.run(
        "DROP TABLE IF EXISTS tiny",
        "CREATE TABLE tiny (user_id text, event text, timestamp timestamptz, platform text)",
        f"INSERT INTO tiny VALUES {values}",
    )
    (root / "params/data.tiny.yaml").write_text("name: tiny\n" + source("SELECT * FROM tiny"))
    loaded, ran = mctlib(root, "load", "tiny", "--fresh"), mctlib(root, "run", "params/weekly.yaml")
    assert (loaded.returncode, ran.returncode) == (0, 0), loaded.stderr + ran.stderr
    said = loaded.stdout + loaded.stderr + ran.stdout + ran.stderr
    for url in (
        server.url.replace("/postgres", "/none"),
        server.url.replace(str(server.port), "1"),
    ):
        monkeypatch.setenv("WAREHOUSE_URL", url)
        failed = mctlib(root, "load", "tiny", "--fresh")
        assert failed.returncode == 2 and failed.stderr.startswith(
            "Error: WAREHOUSE_URL: the warehouse is not reached"
        )
        said += failed.stdout + failed.stderr
    files = [path for path in root.rglob("*") if path.is_file()]
    assert {".duckdb", ".json", ".parquet", ".html", ".ipynb"} <= {path.suffix for path in files}
    # what a store or a Parquet file says may be compressed in it
    tables = stored(store_of("tiny", root)).values()
    said += "".join(str(table.to_dict("records")) for table in tables)
    said += str(duckdb.sql(f"FROM '{root}/outputs/store/tiny.rejected.parquet'").fetchall())
    assert "query at WAREHOUSE_URL" in said and "profile_completed" in said
    for secret in (PASSWORD, WRITTEN, "Kanarien"):
        assert secret not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []
