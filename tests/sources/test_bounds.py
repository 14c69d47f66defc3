"""What has no natural end is bounded: one sentence each, in a time that grows with the file."""

import gzip
import json
import re
import time
import zipfile
from pathlib import Path

import duckdb
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from mctlib.eventlog import store as stores
from mctlib.sources import bounds, unpack
from tests.sources.reading import HEAD, ROW


def refusal(project, yaml, **files):
    with pytest.raises(DataError) as error:
        open_log(project(yaml, **files))
    return str(error.value)


def test_more_names_of_events_than_a_column_of_words_holds(project, monkeypatch):
    monkeypatch.setattr(stores, "MOST_WORDS", 5)
    rows = "".join(f"u{n},e{n},2026-01-05T00:00:00Z\n" for n in range(20))
    log = open_log(project("events: {path: e.csv}", e__csv=HEAD + rows))
    assert log.event_names == sorted(f"e{n}" for n in range(20))
    assert log.counts(events=["e7"])["n_users"].tolist() == [1]


def test_names_that_carry_ids_are_refused(project, monkeypatch):
    monkeypatch.setattr(stores, "MOST_EVENTS", 9)
    rows = "".join(f"u,page_{n},2026-01-05T00:00:00Z\n" for n in range(10))
    said = refusal(project, "events: {path: e.csv}", e__csv=HEAD + rows)
    assert said.startswith(
        'The events have 10 different names, more than 9 (for example "page_9").'
    )


def test_the_time_of_a_load_is_linear_in_its_columns(project):
    """Four times the columns: a load whose time grew with their square would take 16 times."""
    seconds = []
    for n in (250, 1000):
        names = "".join(f",c{i}" for i in range(n))
        row = ROW.strip() + ",v" * (n - 1) + ',"{""k"": 1}"\n'
        name = project("events: {path: e.csv}", e__csv=HEAD.strip() + names + "\n" + row * 5)
        started = time.process_time()
        log = open_log(name)
        seconds.append(time.process_time() - started)
        (text,) = log.sql("SELECT DISTINCT properties FROM events")["properties"]
        assert len(json.loads(text)) == n and json.loads(text)[f"c{n - 1}"] == {"k": 1}
    assert seconds[1] < 9 * seconds[0]


@pytest.mark.parametrize("kind", ["nested", "ids", "people", "properties"])
def test_so_it_is_whatever_they_hold(project, kind):
    """Where each is planned by itself, four times as many take 16 times as long, or the memory."""
    row = {"user_id": "u", "event": "a", "timestamp": "2026-01-05T00:00:00Z"}
    seconds = []
    for n in (120, 480):
        more = {
            "nested": {f"k{i}": {"a": i} for i in range(n)},
            "ids": {f"k{i}_user_id": str(i) for i in range(n)},
            "people": {f"k{i}": f" v{i} " for i in range(n)},
            "properties": {"properties": {f"k{i}_user_id": str(i) for i in range(n)}},
        }[kind]
        yaml = "events: {path: e.jsonl}"
        files = {"e__jsonl": json.dumps(row | more) + "\n"}
        if kind == "people":
            yaml += "\npeople: {path: p.jsonl}"
            files = {"e__jsonl": json.dumps(row), "p__jsonl": json.dumps({"user_id": "u"} | more)}
        name = project(yaml, **files)
        started = time.process_time()
        log = open_log(name)
        seconds.append(time.process_time() - started)
        if kind == "people":
            last = f"k{n - 1}"
            assert log.sql(f"SELECT {last} FROM people")[last].tolist() == [f"v{n - 1}"]
            continue
        (text,) = log.sql("SELECT properties FROM events")["properties"]
        held = json.loads(text)
        assert held.keys() == more.get("properties", more).keys()
        last = held[max(held, key=lambda key: int(key[1:].split("_")[0]))]
        assert last == {"a": n - 1} if kind == "nested" else re.fullmatch("[0-9a-f]{16}", last)
    assert seconds[1] < 9 * seconds[0]


def test_too_many_columns(project, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_COLUMNS", 3)
    said = refusal(
        project, "events: {path: e.csv}", e__csv=HEAD.strip() + ",more\n" + ROW.strip() + ",1\n"
    )
    assert said.startswith("e.csv has 4 columns, more than 3.")


@pytest.mark.parametrize(
    "start", ["<!-- x -->" * 6500, "<!-- " * 12000, "<?xml " * 11000, " \t" * 30000]
)
def test_what_a_file_is_is_told_at_once_whatever_it_begins_with(project, start):
    page = next(pattern for pattern, what in unpack.FOREIGN.items() if "HTML" in what)
    started = time.process_time()
    assert not re.match(page, start.encode() + b"user_id")
    assert re.match(page, b" <!-- a --> <?xml b?>\n<!DOCTYPE html>")
    assert time.process_time() - started < 5


def test_lines_that_end_by_carriage_returns_alone(project):
    log = open_log(project("events: {path: e.csv}", e__csv=(HEAD + ROW * 2).replace("\n", "\r")))
    assert log.load["tables"]["events"]["n_kept"] == 2


def test_line_ends_that_change_within_a_file(project):
    said = refusal(project, "events: {path: e.csv}", e__csv=HEAD + (ROW * 2).replace("\n", "\r"))
    assert said.startswith("e.csv mixes kinds of line ends")


def test_a_header_longer_than_the_first_look_is_read_to_its_end(project):
    names = "".join(f",{'c' * 100}{n}" for n in range(800))
    row = ROW.strip() + ",v" * 800 + "\n"
    log = open_log(project("events: {path: e.csv}", e__csv=HEAD.strip() + names + "\n" + row))
    assert len(log.words.property_keys()) == 800


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_line_without_an_end(project, monkeypatch, kind):
    row = {"user_id": "u", "event": "x" * (1 << 25), "timestamp": "2026-01-05T00:00:00Z"}
    text = json.dumps(row) + "\n" if kind == "jsonl" else HEAD + ROW + "0" * (1 << 23)
    said = refusal(project, f"events: {{path: e.{kind}}}", **{f"e__{kind}": text})
    assert said.startswith(f"e.{kind} has a line, or one object of JSON, that is longer than")


@pytest.mark.parametrize("before", [0, 1000, (1 << 16) * 5])
def test_a_line_longer_than_any_buffer_is_seen_wherever_it_stands(tmp_path, monkeypatch, before):
    monkeypatch.setattr(bounds, "LONGEST_LINE", 1 << 16)
    path = tmp_path / "e.csv"
    path.write_text(ROW * before + "0" * (1 << 19))
    assert bounds.endless(path, False)
    path.write_text(ROW * before + (("0" * 60_000) + "\n") * 20)
    assert not bounds.endless(path, False)


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_line_without_an_end_is_seen_in_a_packed_file(project, kind):
    """Of a line longer than its buffers, at the end of a .gz, DuckDB says nothing."""
    row = {"user_id": "u", "event": "a", "timestamp": "2026-01-05T00:00:00Z"}
    text = json.dumps(row) + '\n{"user_id": "' if kind == "jsonl" else HEAD + ROW
    with gzip.open("e.gz", "wb", 1) as packed:
        packed.write(text.encode())
        for _ in range(100):
            packed.write(b"0" * (1 << 20))
    said = refusal(project, "events: {path: e.gz}")
    assert said.startswith("e.gz has a line, or one object of JSON, that is longer than")


@pytest.mark.parametrize("column", ["event", "properties"])
def test_a_value_of_parquet_without_an_end(project, column):
    columns = {"user_id": "'u'", "event": "'a'", "timestamp": "TIMESTAMPTZ '2026-01-05 00:00Z'"}
    columns[column] = f"repeat('\\x', {bounds.LONGEST_LINE // 2} + i)"
    row = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    for n in (1, 2):
        duckdb.sql(f"COPY (SELECT {row} FROM range({n}) t(i)) TO 'e.parquet'")
        if n == 1:
            assert open_log(project("events: {path: e.parquet}")).load["n_users"] == 1
    assert refusal(project, "events: {path: e.parquet}") == (
        f'e.parquet has in "{column}" a value that is longer than 4 MB. Leave it out of the export.'
    )


def bomb(kind):
    """Many equal rows, packed."""
    rows = {"user_id": "u", "event": "a", "timestamp": "2026-01-05T00:00:00Z"}
    lines = json.dumps(rows) + "\n" if kind == "jsonl.gz" else ROW
    text = (HEAD * (kind != "jsonl.gz") + lines * 20_000).encode()
    path = Path(f"e.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("e.csv", text)
    elif kind == "parquet":
        duckdb.sql(f"""
            COPY (SELECT 'u' AS user_id, 'a' AS event, TIMESTAMPTZ '2026-01-05 00:00Z' AS timestamp
            FROM range(1000000)) TO '{path}' (ROW_GROUP_SIZE 1000000)
        """)
    else:
        path.write_bytes(gzip.compress(text))
    return path


@pytest.mark.parametrize("kind", ["csv.gz", "jsonl.gz", "zip", "parquet"])
def test_what_a_few_bytes_unpack_to_has_a_bound(project, monkeypatch, kind):
    path = bomb(kind)
    monkeypatch.setattr(unpack, "NEVER_TOO_LARGE", 1 << 17)
    monkeypatch.setattr(unpack, "DENSEST", 10)
    monkeypatch.setattr(bounds, "LONGEST_LINE", 1 << 10)
    said = refusal(project, f"events: {{path: {path}}}")
    assert said.startswith(f"{path} unpacks to more than 1 GB and more than 250 times its size")
    assert not list(Path("outputs/store").glob(".staging*"))
    monkeypatch.setattr(unpack, "DENSEST", 100_000)
    monkeypatch.setattr(bounds, "LONGEST_LINE", 1 << 24)
    assert open_log("x").load["tables"]["events"]["n_kept"] >= 20_000


def test_objects_whose_keys_never_end(project, monkeypatch):
    monkeypatch.setattr(bounds, "MOST_COLUMNS", 30)
    rows = "".join(
        json.dumps(
            {"event": "a", "properties": {"time": 1767607200, "distinct_id": "u", f"k{n}": 1}}
        )
        + "\n"
        for n in range(40)
    )
    said = refusal(project, "events: {path: e.jsonl, format: mixpanel}", e__jsonl=rows)
    assert said.startswith("e.jsonl has 44 columns, more than 30.")


@pytest.mark.parametrize("depth", [200, 5000])
def test_json_without_a_floor(project, depth):
    text = '{"user_id": "u", "p": ' + "[" * depth + "]" * depth + "}\n"
    said = refusal(project, "events: {path: e.jsonl}", e__jsonl=text)
    assert said == "e.jsonl nests JSON deeper than 128 levels. Export it flatter."


def test_an_archive_that_does_not_fit(project, monkeypatch):
    with zipfile.ZipFile("e.zip", "w") as archive:
        for n in range(4):
            archive.writestr(f"{n}.csv", HEAD + ROW)
    monkeypatch.setattr(unpack, "MOST_MEMBERS", 3)
    said = refusal(project, "events: {path: e.zip}")
    assert said.startswith("e.zip holds 4 files of 0.0 GB when it is unpacked; there is room for")
    assert not list(Path("outputs/store").glob(".staging*"))


BOMB = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("events: " + "[" * 60 + "]" * 60, "in line 2: it is nested deeper than 50 levels."),
        ("events: " + "[" * 5000 + "]" * 5000, ": it is nested deeper than 50 levels."),
        ("events: &a [*a]", "in line 2: it is nested deeper than 50 levels."),
        (BOMB, "it holds more than 100,000 values."),
        ("#" + "x" * (1 << 20), "it is larger than 1 MB, so it is no such file."),
        ("observed_until: 2026-13-45", "a value cannot be read (month must be in 1..12)."),
        ('currency: "\\ud83d"', "in line 2: a text holds half a character"),
        ("currency: !!int abc", "a value cannot be read (invalid literal for int()"),
    ],
    ids=["deep", "very deep", "itself", "aliases", "large", "no date", "half", "no number"],
)
def test_a_yaml_without_bounds(project, yaml, sentence):
    said = refusal(project, yaml)
    assert said.startswith("data.x.yaml is not valid YAML") and sentence in said
    assert len(said.splitlines()) == 1
