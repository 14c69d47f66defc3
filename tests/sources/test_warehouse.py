"""Tables by query, against a real PostgreSQL server that the tests start and stop; only its binaries must be there.

The same rows go into the database and into CSV files, so what files give (see test_sources.py) is the reference. Values that
only a database has, and the sentences, are written by hand.
"""

import csv
import datetime as dt
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from glob import glob
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from mctlib import diagnose_funnel
from mctlib.contract import DataError
from mctlib.sources import dataset as sources
from mctlib.sources import warehouse
from mctlib.sources.files import File
from mctlib.sources.staging import Stage, workbench
from tests.conftest import make_project, mctlib

PASSWORD, WRITTEN = (
    "Kanarienvogel@7/gelb",
    "Kanarienvogel%407%2Fgelb",
)  # as it is, and as a URL must write it
BINARIES = shutil.which("initdb") or max(
    glob("/usr/lib/postgresql/*/bin/initdb"), default="", key=lambda p: int(p.split("/")[4])
)

pytestmark = pytest.mark.skipif(
    not BINARIES, reason="no PostgreSQL server is installed (Debian: apt-get install postgresql)"
)


@pytest.fixture(scope="module")
def server():
    """A PostgreSQL server on a free loopback port, with a password: run(sql), and its URL."""
    pytest.importorskip(
        "adbc_driver_postgresql",
        reason="the driver is not installed: pip install adbc-driver-postgresql",
    )
    bin, home = Path(BINARIES).resolve().parent, Path(tempfile.mkdtemp(prefix="mct-pg-"))
    who = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        names = {user.pw_name for user in pwd.getpwall()}
        user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
        os.chown(home, user.pw_uid, user.pw_gid)
        who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (home / "password").write_text(PASSWORD)
    (home / "password").chmod(0o644)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"

    def server_command(*command):
        out = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
        }  # a pipe would be held open by the server
        subprocess.run(
            [bin / command[0], "-D", home / "data", *command[1:]],
            check=True,
            cwd=home,
            timeout=60,
            **out,
            **who,
        )

    try:
        server_command(
            "initdb",
            "-U",
            "analyst",
            "-A",
            "scram-sha-256",
            "--pwfile",
            home / "password",
            "-E",
            "UTF8",
            "--no-sync",
        )
        server_command("pg_ctl", "-w", "-o", options, "-l", home / "log", "start")
        url = f"postgresql://analyst:{WRITTEN}@127.0.0.1:{port}/postgres"

        def run(*statements):
            from adbc_driver_postgresql import dbapi

            with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)

        yield SimpleNamespace(url=url, port=port, run=run)
    finally:
        if (home / "data/postmaster.pid").exists():
            server_command("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(home)


@pytest.fixture
def project(tmp_path, monkeypatch, server):
    """write(yaml, name) writes a data YAML into an empty project, the working directory; the URL is in WAREHOUSE_URL."""
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAREHOUSE_URL", server.url)
    monkeypatch.setenv("MCT_SALT", "the same in both stores")

    def write(yaml, name="x"):
        Path(f"params/data.{name}.yaml").write_text(f"name: {name}\n{yaml}\n", encoding="utf-8")
        return name

    return write


def source(query, table="events", **more):
    fields = {"query": query, "connection": "WAREHOUSE_URL"} | more
    return f"{table}: {json.dumps(fields)}"  # JSON is YAML


def read(query, table="events", **more):
    """The rows of one query as dicts without their empty values."""
    with workbench(None) as (con, folder):
        asked = sources.Source(query=query, connection="WAREHOUSE_URL", **more)
        relation = con.sql(
            sources.read_source(con, asked, table, root=folder, folder=folder)[table]
        )
        return [
            {k: v for k, v in zip(relation.columns, row) if v is not None}
            for row in relation.fetchall()
        ]


def refusal(call, *arguments, **more):
    with pytest.raises(DataError) as error:
        call(*arguments, **more)
    assert error.value.__suppress_context__ or error.value.__cause__ is None
    return str(error.value)


# ------------------------------------------------------------------------------------------------ the same as through a file

EVENTS = (
    "user_id",
    "anonymous_id",
    "event",
    "timestamp",
    "event_id",
    "platform",
    "utm_source",
    "minutes",
    "score",
    "tested",
    "properties",
)
TYPES = "text, text, text, timestamptz, uuid, text, text, double precision, numeric(9,2), boolean, jsonb".split(
    ", "
)


def rows_of_a_product():
    """300 users sign up; 200 of them complete their profile, 100 schedule an interview; a twin row, odd texts, a personal datum."""
    rows = []
    for user in range(300):
        start = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC) + dt.timedelta(
            hours=user, microseconds=user * 7
        )
        names = ["signed_up", "profile_completed", "interview_scheduled"][
            : 3 if user % 3 == 0 else 2 if user % 3 == 1 else 1
        ]
        for step, event in enumerate(names):
            rows.append({
                "user_id": f"u{user}", "anonymous_id": f"a{user}" if step == 0 else None, "event": event,
                "timestamp": start + dt.timedelta(days=step), "event_id": f"00000000-0000-4000-8000-{user * 10 + step:012d}",
                "platform": ["web", "iOS", "Ünï, \"quoted\"", "it's;"][user % 4], "utm_source": "creator" if user % 5 == 0 else None,
                "minutes": user / 8 if step else None, "score": f"{user}.50", "tested": "true" if user % 2 == 0 else "false",
                "properties": json.dumps({"a": [1, None, "x"], "to": f"mail u{user}@example.org now", "work_phone": "030 123"}) if user % 7 == 0 else None,
            })  # fmt: skip
    return [*rows, rows[5]]


def literal(value):
    return "NULL" if value is None else "'" + str(value).replace("'", "''") + "'"


@pytest.fixture
def both(server, project):
    """The names of two datasets, one from CSV files and one by query, of the same events, people and spend."""
    people = [
        {
            "user_id": f"u{i}",
            "signed_up_at": f"2026-01-05 09:00:0{i % 10}+00",
            "plan": "growth",
            "revenue": f"{i}.25",
            "consent": i != 7,
        }
        for i in range(300)
    ]
    spend = [
        {"day": f"2026-01-{day:02d}", "amount": f"{day}.10", "channel": "creator"}
        for day in range(1, 29)
    ]
    tables = {
        "events": (rows_of_a_product(), dict(zip(EVENTS, TYPES))),
        "people": (people, {"user_id": "text", "signed_up_at": "timestamptz", "plan": "varchar(20)", "revenue": "numeric", "consent": "boolean"}),
        "spend": (spend, {"day": "date", "amount": "numeric(9,2)", "channel": "text"}),
    }  # fmt: skip
    by_file, by_query = [], []
    for table, (rows, types) in tables.items():
        with open(f"{table}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, types)
            writer.writeheader()
            writer.writerows(rows)
        columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
        values = ", ".join("(" + ", ".join(map(literal, row.values())) + ")" for row in rows)
        server.run("CREATE SCHEMA IF NOT EXISTS product", f"DROP TABLE IF EXISTS product.{table}", f"CREATE TABLE product.{table} ({columns})",
                   f"INSERT INTO product.{table} VALUES {values}")  # fmt: skip
        by_file.append(f"{table}: {{path: {table}.csv}}")
        by_query.append(source(f"SELECT * FROM product.{table}", table))
    return project("\n".join(by_file), "files"), project("\n".join(by_query), "queries")


def test_a_query_gives_the_same_store_as_a_file_cell_by_cell(both):
    by_file, by_query = map(sources.open_log, both)
    tables = [
        row[0]
        for row in by_file._con.sql(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store' ORDER BY 1"
        ).fetchall()
    ]
    assert {"events", "people", "spend", "users"} <= set(tables)
    for table in set(tables) - {"load"}:
        one, other = (
            log._con.sql(f"FROM store.{table} ORDER BY ALL").df() for log in (by_file, by_query)
        )
        pd.testing.assert_frame_equal(one, other, obj=table)
        assert len(one) or table in ("surveys", "backend", "timeline", "responses")
    # 600 rows of 300 users (300 + 200 + 100), a twin among them and user 7 without consent, who signed up and completed.
    assert by_query.load["tables"]["events"] == by_file.load["tables"]["events"]
    assert by_query.load["tables"]["events"] == {
        "n_read": 601,
        "n_rejected": {"same event_id again": 1, "no consent": 2},
        "n_kept": 598,
    }
    properties = by_query._con.sql(
        "SELECT properties FROM events WHERE properties LIKE '%mail%' LIMIT 1"
    ).fetchall()[0][0]
    assert "[e-mail removed]" in properties and "030" not in properties and "@" not in properties


def test_a_query_gives_the_same_funnel_as_a_file(both):
    asked = {
        "steps": ["signed_up", "profile_completed", "interview_scheduled"],
        "window": "14d",
        "as_of": "2026-02-28",
    }
    by_file, by_query = (diagnose_funnel(sources.open_log(name), **asked) for name in both)
    pd.testing.assert_frame_equal(by_file.steps, by_query.steps)
    # Without user 7: 299 sign up, 199 complete, 100 schedule.
    assert list(by_query.steps["n_reached"]) == [299, 199, 100]
    assert by_query.finding == by_file.finding


# ----------------------------------------------------------------------------------------------------- what only a database has


def test_timestamps_with_and_without_a_zone(project):
    rows = "SELECT 'ada' AS user_id, 'signed_up' AS event, {} AS timestamp"
    # 10:00 in Berlin is 09:00 UTC in winter, 08:00 in summer; a timestamptz knows, whatever `timezone` says.
    for zone in (None, "Europe/Berlin"):
        assert read(rows.format("timestamptz '2026-01-05 10:00:00.25+01'"), timezone=zone)[0][
            "timestamp"
        ] == dt.datetime(2026, 1, 5, 9, 0, 0, 250000)
    for day, hour in ("2026-01-05", 9), ("2026-07-05", 8):
        naive = rows.format(f"timestamp '{day} 10:00:00'")
        assert read(naive, timezone="Europe/Berlin")[0]["timestamp"] == dt.datetime.fromisoformat(
            f"{day} {hour:02d}:00:00"
        )
    assert refusal(read, naive) == (
        'The query of events at WAREHOUSE_URL: the times in "timestamp" carry no time zone, for example "2026-07-05 10:00:00".'
        " Add to this source the line  timezone: UTC  (or the IANA name of the zone they were written in)."
    )


def test_columns_are_mapped_and_typed_values_become_properties_without_regulated_keys(
    project, server
):
    server.run("DROP TYPE IF EXISTS mood", "CREATE TYPE mood AS ENUM ('good', 'bad')")
    query = """SELECT 7 AS member, 'viewed' AS what, timestamptz '2026-01-05 09:00Z' AS "When", 'good'::mood AS mood, 1.50::numeric AS score,
        ARRAY['x','y'] AS tags, date '2026-01-04' AS since, ARRAY[date '2026-01-04'] AS days, timestamptz 'infinity' AS until, 'a@example.org' AS email, NULL::text AS nothing,
        '{"Email": "a@example.org", "deep": {"user_name": "Ada", "kept": 1}}'::jsonb AS details,
        '{"note": "write to ada@example.org", "ip": "10.0.0.1", "n": 2}'::jsonb AS properties"""
    row = read(query, columns={"user_id": "member", "event": "what", "timestamp": "when"})[0]
    assert (row["user_id"], row["event"], row["timestamp"]) == (
        "7",
        "viewed",
        dt.datetime(2026, 1, 5, 9),
    )
    assert json.loads(row["properties"]) == {
        "mood": "good",
        "score": "1.50",
        "tags": ["x", "y"],
        "since": "2026-01-04",
        "days": ["2026-01-04"],
        "details": {"deep": {"kept": 1}},
        "note": "write to [e-mail removed]",
        "n": 2,
    }


def test_a_tool_synced_to_the_warehouse_is_read_by_its_own_reader(project):
    query = """SELECT 's1' AS id, 'anon-1' AS anonymous_id, 'u-1' AS user_id, 'signed_up' AS event, now() AS received_at,
        timestamptz '2026-01-05 10:00Z' AS timestamp, 'spring' AS context_campaign_name"""
    row = read(query, format="segment")[0]
    assert (row["event_id"], row["anonymous_id"], row["utm_campaign"], row["timestamp"]) == (
        "s1",
        "anon-1",
        "spring",
        dt.datetime(2026, 1, 5, 10),
    )


def test_capital_names_and_nanoseconds_as_snowflake_sends_them():
    """Its types by its driver's documentation, made here: TIMESTAMP_TZ, and NUMBER as a decimal. 1767607200 s = 2026-01-05 10:00 UTC."""
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


def test_nothing_a_query_does_stays(project, server):
    server.run(
        "DROP TABLE IF EXISTS kept",
        "CREATE TABLE kept AS SELECT 'ada' AS user_id, 'x' AS event, now() AS timestamp",
    )
    for _ in range(2):
        assert refusal(read, "DELETE FROM kept RETURNING *, 1/0")
        assert len(read("SELECT * FROM kept")) == 1
    assert (
        refusal(read, "CREATE TABLE made (a int)")
        == "The query of events at WAREHOUSE_URL gives no columns. Write a SELECT."
    )
    assert "does not exist" in refusal(read, "SELECT * FROM made")


# --------------------------------------------------------------------------------------------------------------- one sentence

GOOD = "SELECT 'ada' AS user_id, 'x' AS event, timestamptz '2026-01-05Z' AS timestamp"
BAD_QUERIES = {
    "no such table": ("SELECT * FROM evnets", 'The query of events at WAREHOUSE_URL fails: relation "evnets" does not exist.'),
    "syntax": ("SELEKT 1", 'The query of events at WAREHOUSE_URL fails: syntax error at or near "SELEKT".'),
    "two statements": (f"{GOOD}; {GOOD}", "The query of events at WAREHOUSE_URL fails: cannot insert multiple commands into a prepared statement."),
    "fails late": (f"SELECT *, 1 / (90000 - n) FROM ({GOOD}) e, generate_series(1, 90000) n", "The query of events at WAREHOUSE_URL fails: division by zero."),
    "fails late, about JSON": (f"SELECT *, (CASE WHEN n = 9 THEN '{{' END)::jsonb FROM ({GOOD}) e, generate_series(1, 9) n",
                               "The query of events at WAREHOUSE_URL fails: invalid input syntax for type json."),
    "no rows": (f"{GOOD} WHERE false", "The query of events at WAREHOUSE_URL gives no rows."),
    "no event": ("SELECT 'ada' AS user_id, 'x' AS evnt, now() AS timestamp", 'The query of events at WAREHOUSE_URL has no column "event" for events. Did you mean "evnt"?'
                 ' Map it with columns: {event: "its header"}.'),
    "a column twice": ("SELECT 1 AS n, 2 AS n", 'The query of events at WAREHOUSE_URL has the column "n" twice. Rename or remove one of them.'),
    "an address": (f"SELECT *, inet '10.0.0.1' AS host FROM ({GOOD}) e", 'The query of events at WAREHOUSE_URL has the column "host" of type inet.'
                   " Cast it in the query, to text or numeric."),
    "money": (f"SELECT *, '12.30'::money AS fee FROM ({GOOD}) e", 'The query of events at WAREHOUSE_URL has the column "fee" of type money.'
              " Cast it in the query, to text or numeric."),
}  # fmt: skip


@pytest.mark.parametrize(("query", "sentence"), BAD_QUERIES.values(), ids=BAD_QUERIES)
def test_a_bad_query_gives_one_sentence_and_keeps_the_old_store(project, query, sentence):
    sources.open_log(project(source(GOOD)))
    before = Path("outputs/store/x.duckdb").read_bytes()
    assert refusal(sources.open_log, project(source(query))) == sentence
    assert Path("outputs/store/x.duckdb").read_bytes() == before
    assert sorted(path.name for path in Path("outputs/store").iterdir()) == [
        "x.duckdb",
        "x.load.json",
        "x.rejected.parquet",
    ]


def test_a_mapped_column_that_the_query_lacks(project):
    assert refusal(read, GOOD, columns={"channel": "evnt"}) == (
        'The query of events at WAREHOUSE_URL has no column "evnt", mapped to channel. Did you mean "event"?'
    )


REACHED = "WAREHOUSE_URL: the warehouse is not reached or refuses the login: "
BAD_URLS = {  # every one of these is repeated in part by the driver or the server; {port} is the running server's
    "wrong password": ("postgresql://analyst:Zebrafink@127.0.0.1:{port}/postgres", REACHED + 'password authentication failed for user "***".'),
    "no password": ("postgresql://analyst@127.0.0.1:{port}/postgres", REACHED + 'connection to server at "***", port *** failed: fe_sendauth: no password supplied.'),
    "no such database": ("postgresql://analyst:%s@127.0.0.1:{port}/produkt" % WRITTEN, REACHED + 'database "***" does not exist.'),
    "no server": ("postgresql://analyst:Zebrafink@127.0.0.1:1/postgres", REACHED + 'connection to server at "***", port 1 failed: Connection refused.'),
    "a % in the password": ("postgresql://analyst:Zebra%zzfink@127.0.0.1/postgres", REACHED + 'invalid percent-encoded token: "***".'),
    "an @ in the password": ("postgresql://analyst:Zebra@fink@127.0.0.1/postgres", REACHED + 'could not translate host name "***" to address: '),
    "a / in the password": ("postgresql://analyst:Ze/brafink@127.0.0.1/postgres", REACHED + 'invalid integer value "***" for connection option "port".'),
    "a password as an option": ("postgresql://127.0.0.1:{port}/postgres?user=analyst&passwrd=Zebrafink", REACHED + 'invalid URI query parameter: "***".'),
    "SQLAlchemy's scheme": ("postgresql+psycopg2://analyst:Zebrafink@127.0.0.1/postgres", 'WAREHOUSE_URL: the scheme "postgresql+psycopg2" is not known.'
                            ' Did you mean "postgresql"? Known are: postgresql://, postgres://, snowflake://, bigquery://.'),
    "another database": ("mysql://analyst:Zebrafink@127.0.0.1/postgres", 'WAREHOUSE_URL: the scheme "mysql" is not known.'),
    "no URL": ("Zebrafink", "WAREHOUSE_URL: it holds no URL. Known are: postgresql://, postgres://, snowflake://, bigquery://."),
    "no URL, or half of one": ("analyst:Zebrafink@127.0.0.1://", "WAREHOUSE_URL: it holds no URL."),
}  # fmt: skip


@pytest.mark.parametrize(("url", "sentence"), BAD_URLS.values(), ids=BAD_URLS)
def test_a_bad_url_gives_one_sentence_without_the_password(
    project, server, monkeypatch, url, sentence
):
    monkeypatch.setenv("WAREHOUSE_URL", url.replace("{port}", str(server.port)))
    said = refusal(sources.open_log, project(source(GOOD)))
    assert said.startswith(sentence) and "\n" not in said
    assert not any(piece in said for piece in ("Zebra", "fink", '"Ze"', "Kanarien", "gelb"))


def test_a_secret_in_what_a_server_says_is_struck_out():
    said = f"ERROR: for {PASSWORD} and {WRITTEN} and t0ken\nmore"
    url = f"postgresql://analyst:{WRITTEN}@host/db?sslmode=require&access_token=t0ken"
    assert warehouse._said(ValueError(said), url) == "for *** and *** and ***"


def test_a_variable_that_is_not_set(project, monkeypatch):
    monkeypatch.delenv("WAREHOUSE_URL")
    monkeypatch.setenv("WAREHOUSE_URI", "postgresql://host/db")
    assert refusal(sources.open_log, project(source(GOOD))) == (
        'The environment variable "WAREHOUSE_URL" is not set; a query needs the warehouse\'s URL in it. Did you mean "WAREHOUSE_URI"?'
    )


def test_a_driver_that_is_not_installed(project, monkeypatch):
    monkeypatch.setitem(sys.modules, "adbc_driver_snowflake", None)
    monkeypatch.setenv("WAREHOUSE_URL", "snowflake://joe:Zebrafink@account/db/schema")
    assert refusal(sources.open_log, project(source(GOOD))) == (
        "The query of events at WAREHOUSE_URL needs a driver that is not installed. Install it with: python -m pip install adbc-driver-snowflake"
    )


BAD_YAML = {
    "a URL": (source(GOOD, connection="postgresql://joe:Zebrafink@host/db"), "data.x.yaml: connection of events must be the name of an environment"
              " variable that holds the URL, never the URL itself: passwords do not belong in files."),
    "no connection": (f"events: {{query: {json.dumps(GOOD)}}}", "data.x.yaml: events needs both a query and a connection, or neither."),
    "no query": ("events: {path: e.csv, connection: WAREHOUSE_URL}", "data.x.yaml: events needs both a query and a connection, or neither."),
    "both": (source(GOOD, path="e.csv"), "data.x.yaml: events needs either a path or a query."),
    "an empty query": (source(""), "data.x.yaml: events needs either a path or a query."),
    "the URL in a field of its own": (source(GOOD, url="postgresql://joe:Zebrafink@host/db"), 'data.x.yaml: "events.url" is not a field.'),
}  # fmt: skip


@pytest.mark.parametrize(("yaml", "sentence"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_bad_yaml_gives_one_sentence_without_the_password(project, yaml, sentence):
    assert refusal(sources.open_log, project(yaml)) == sentence


# ------------------------------------------------------------------------------------------------------------- when it is asked


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
    users = lambda **how: sources.open_log(name, **how).load["n_users"]  # noqa: E731
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
    """A pack is loaded by query and run, notebooks and all; then a run that fails. No file and no line holds the password."""
    monkeypatch.setenv("WAREHOUSE_URL", server.url)
    root = make_project(tmp_path / "project")
    (root / "params/weekly.yaml").write_text("dataset: tiny\nnotebooks:\n  good:\n")
    with open(root / "exports/events.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["timestamp"] != "not a time"]
    rows.append(
        {
            "user_id": None,
            "event": "nobody_s",
            "timestamp": "2026-03-02T08:00:00Z",
            "platform": None,
        }
    )  # rejected, with its source
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
    con = duckdb.connect()  # what a store or a Parquet file says may be compressed in it
    con.execute(f"ATTACH '{root}/outputs/store/tiny.duckdb' AS store (READ_ONLY)")
    tables = [
        row[0]
        for row in con.sql(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'"
        ).fetchall()
    ]
    said += "".join(str(con.sql(f"FROM store.{table}").fetchall()) for table in tables)
    said += str(con.sql(f"FROM '{root}/outputs/store/tiny.rejected.parquet'").fetchall())
    assert "query at WAREHOUSE_URL" in said and "profile_completed" in said
    for secret in (PASSWORD, WRITTEN, "Kanarien"):
        assert secret not in said
        assert [path for path in files if secret.encode() in path.read_bytes()] == []


# ------------------------------------------------------------------------------------------------------------- the other drivers


@pytest.mark.parametrize(
    ("url", "handed"),
    [
        ("snowflake://joe:pw@account/db/schema?warehouse=WH", {"uri": "joe:pw@account/db/schema?warehouse=WH"}),
        ("bigquery://project/ds?location=EU", {"db_kwargs": {"adbc.bigquery.sql.project_id": "project", "adbc.bigquery.sql.dataset_id": "ds",
                                                             "adbc.bigquery.sql.location": "EU"}, "autocommit": True}),
        ("bigquery://project", {"db_kwargs": {"adbc.bigquery.sql.project_id": "project"}, "autocommit": True}),
    ],
)  # fmt: skip
def test_what_the_other_drivers_are_handed(url, handed):
    """The names are those of the drivers' documentation; no such warehouse is asked here."""
    _, arguments = warehouse.DRIVERS[url.partition("://")[0]]
    assert arguments(url) == handed
