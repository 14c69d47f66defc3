"""What a file is, however packed; every bad one against its one sentence."""

import gzip
import zipfile
from pathlib import Path

import duckdb
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from tests.sources.reading import EXPORTS, HEAD, ROW, pick, read


def test_packed_files_read_like_plain_ones(tmp_path):
    plain = EXPORTS / "canonical/events.csv"
    expected = read("events", path="canonical/events.csv")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "no_suffix").write_bytes(gzip.compress(plain.read_bytes()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(plain, "in/events.csv")
        archive.writestr("__MACOSX/._events.csv", b"\0")
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE t AS FROM read_csv('{plain}', all_varchar=true)")
        con.execute(f"COPY t TO '{tmp_path}/a.parquet' (FORMAT parquet)")
        con.execute(f"COPY t TO '{tmp_path}/a.jsonl' (FORMAT json)")
        con.execute(f"COPY t TO '{tmp_path}/array.json' (FORMAT json, ARRAY true)")
    for name in ("a.csv.gz", "no_suffix", "a.zip", "a.parquet", "a.jsonl", "array.json"):
        assert read("events", tmp_path, path=name) == expected, name


def test_files_of_one_source_may_differ_in_columns(tmp_path):
    (tmp_path / "1.csv").write_text("user_id,event,timestamp\nada,x,2026-01-05T00:00:00Z\n")
    (tmp_path / "2.csv").write_text(
        "timestamp;event;user_id;channel\n2026-01-06T00:00:00Z;y;bo;search\n"
    )
    rows = read("events", tmp_path, path=["1.csv", "2.csv", "*.csv"])[
        "events"
    ]  # a file named twice is read once
    assert pick(rows, "user_id", "event", "channel") == [("ada", "x", None), ("bo", "y", "search")]


TWO = [("ada", "x"), ("bo", "y")]
CSV = HEAD + "ada,x,2026-01-05T00:00:00Z\nbo,y,2026-01-06T00:00:00Z\n"
LINES = [
    '{"user_id":"ada","event":"x","timestamp":"2026-01-05T00:00:00Z"}',
    '{"user_id":"bo","event":"y","timestamp":"2026-01-06T00:00:00Z"}',
]
# Each is the same two rows.
WRITTEN = {
    "columns without a name": CSV.replace("Z\n", "Z,,\n").replace("stamp\n", "stamp,,\n"),
    "rows of nothing": CSV.replace("\nbo", "\n,,\n\n , ,\t\nbo") + '"","",""\n,,\n',
    "rows that end with a comma": CSV.replace("Z\n", "Z,\n"),
    "old Mac": CSV.replace("\n", "\r"),
    "Excel": "sep=;\r\n" + CSV.replace(",", ";").replace("\n", "\r\n"),
    "lines above": '# My "report"\n# 2026, January\n\n' + CSV,
    "tabs": CSV.replace(",", "\t"),
    "bars": CSV.replace(",", "|"),
    "backslashes": CSV.replace("stamp", "stamp,p").replace("Z\n", r'Z,"{\"a\": \"b, c\"}"' + "\n"),
    "JSON of one line": "".join(LINES),
    "a list of many lines": "[\n  " + ",\n  ".join(LINES) + "\n]\n",
    "a mark before a list": "\ufeff[" + ",".join(LINES) + "]",
    "a mark before lines": "\ufeff" + "\n".join(LINES),
    "two members": gzip.compress(CSV[:50].encode()) + gzip.compress(CSV[50:].encode()),
}


@pytest.mark.parametrize("content", WRITTEN.values(), ids=WRITTEN)
def test_files_as_tools_and_people_write_them(tmp_path, content):
    (tmp_path / "e").write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = read("events", tmp_path, path="e")["events"]
    assert pick(rows, "user_id", "event") == TWO


def test_what_stands_in_a_column_without_a_name_is_kept(tmp_path):
    (tmp_path / "e.csv").write_text(f",{HEAD}7,{ROW}")
    assert pick(read("events", tmp_path, path="e.csv")["events"], "properties") == [
        ('{"unnamed 1":"7"}',)
    ]


def test_what_is_left_out_is_noted(project):
    files = {"e_1__csv": "# Report\n\n" + CSV, "e_2__csv": HEAD, "e_3__csv": "", "e_4__json": "[]"}
    files["e_5__jsonl__gz"] = gzip.compress(b"\n")
    log = open_log(project('events: {path: "e_*"}', **files))
    assert log.load["tables"]["events"]["n_read"] == 2
    assert log.load["notes"] == [
        "e_3.csv and 2 more are empty.",
        "e_1.csv: the first 2 lines are above the header and left out.",
    ]


PACKED = gzip.compress(
    (HEAD + "".join(f"u{n},a,2026-01-05T00:00:{n % 60:02}Z\n" for n in range(5000))).encode()
)


MIXPANEL = '{"event":"a","properties":{"time":1767607200,"distinct_id":"u"}}\n'


BAD_FILES = {
    "missing": (
        "{path: evnts.csv}",
        {"events__csv": HEAD},
        'The file "evnts.csv" does not exist in {root}. Did you mean "events.csv"?',
    ),
    "glob": ('{path: "e/*.csv"}', {}, 'No file matches "e/*.csv" in {root}.'),
    "folder": ("{path: params}", {}, '"params" is a folder. Name its files, as in "params/*.csv".'),
    "empty": ("{path: e.csv}", {"e__csv": ""}, "e.csv is empty."),
    "empty gzip": ("{path: e.csv}", {"e__csv": gzip.compress(b"")}, "e.csv is empty."),
    "empty list": ("{path: e.json}", {"e__json": " [ ]\n"}, "e.json is empty."),
    "all empty": ('{path: "e*"}', {"e1": "", "e2": "{}"}, "e1 is empty."),
    "no line end": (
        "{path: e.csv}",
        {"e__csv": "a" * 300_000},
        "e.csv has no line end in its first 256 KB: it is no table.",
    ),
    "open quote in the header": (
        "{path: e.csv}",
        {"e__csv": '"' + HEAD + ROW},
        "e.csv has no header line, or a quote in it is never closed.",
    ),
    "no header": (
        "{path: e.csv}",
        {"e__csv": ROW},
        'e.csv has no header line: its first line holds values ("2026-01-05T00:00:00Z"). Put one'
        " with column names above it.",
    ),
    "line ends mixed": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,timestamp\r\n" + ROW + ROW.replace("\n", "\r\n")},
        "e.csv mixes kinds of line ends (\\r\\n, \\n, \\r). Save it with one kind.",
    ),
    "gzip and more": (
        "{path: e.csv.gz}",
        {"e__csv__gz": gzip.compress((HEAD + ROW).encode()) + b"\0" * 20},
        "e.csv.gz goes on after the end of its gzip stream with bytes that are no gzip."
        " Copy or export it again.",
    ),
    "short rows": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,timestamp,partner_id\n" + ROW},
        "e.csv has in line 2 3 columns instead of 4. Check the separators and quotes there.",
    ),
    "JSON with commas": (
        "{path: e.jsonl}",
        {"e__jsonl": ",\n".join(LINES) + ",\n"},
        "e.jsonl is not valid JSON: its rows end with commas. Remove these, or put [ ] around all"
        " rows.",
    ),
    "JSON with a last comma": (
        "{path: e.json}",
        {"e__json": "[" + ",".join(LINES) + ",\n]"},
        "e.json is not valid JSON: a comma stands after its last row. Remove it.",
    ),
    "JSON of lists": (
        "{path: e.json}",
        {"e__json": "\n".join(f"[{line}]" for line in LINES)},
        "e.json is not valid JSON: it has several lists. Write one list, or one row a line.",
    ),
    "JSON of single quotes": (
        "{path: e.json}",
        {"e__json": "{'user_id': 'ada'}\n"},
        'e.json is not valid JSON: its texts stand in single quotes. Write "double" ones.',
    ),
    "JSON of values": (
        "{path: e.json}",
        {"e__json": '[["user_id"], ["ada"]]'},
        "e.json is not valid JSON: the rows in its list do not name their values, as {{}} does.",
    ),
    "JSON around the rows": (
        "{path: e.json}",
        {"e__json": '{"next": null, "data": [' + ",".join(LINES) + "]}"},
        'e.json has no column "user_id" for events. Its rows stand inside "data": save that list'
        " alone.",
    ),
    "JSON keys alike": (
        "{path: e.json}",
        {"e__json": LINES[0][:-1] + ',"Event":"z"}'},
        'e.json has the key "Event" twice, with large and small letters.',
    ),
    "web page": (
        "{path: e.csv}",
        {
            "e__csv": '\n<!-- login -->\n<!DOCTYPE html><html lang="en"><body>Sign in</body></'
            "html>\n"
        },
        "e.csv is a web page (HTML), not an export. Download it again, signed in.",
    ),
    "header only": ("{path: e.csv}", {"e__csv": HEAD}, "e.csv has a header and no rows."),
    "column missing": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,time_stamp\n" + ROW},
        'e.csv has no column "timestamp" for events. Did you mean "time_stamp"?'
        ' Map it with columns: {{timestamp: "its header"}}.',
    ),
    "mapped column missing": (
        "{path: e.csv, format: columns, columns: {user_id: User Id}}",
        {"e__csv": "User_ID,event,timestamp\n" + ROW},
        'e.csv has no column "User Id", mapped to user_id. Did you mean "User_ID"?',
    ),
    "map to nowhere": (
        "{path: e.csv, format: columns, columns: {userid: user_id}}",
        {"e__csv": HEAD + ROW},
        'e.csv: "userid" in columns is not a column of events. Did you mean "user_id"?'
        " Every other column is kept by its own name: leave it out.",
    ),
    "no map": (
        "{path: e.csv, format: columns}",
        {"e__csv": HEAD + ROW},
        "e.csv: format columns needs a map, columns: {{canonical column: its header}}.",
    ),
    "column doubled": (
        "{path: e.csv}",
        {"e__csv": "user_id,event,timestamp,Event\nu,a,2026-01-05T00:00:00Z,b\n"},
        'e.csv has the column "Event" twice. Rename or remove one of them.',
    ),
    "ragged": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + "u,a\n"},
        "e.csv has in line 3 2 columns instead of 3. Check the separators and quotes there.",
    ),
    "open quote": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + 'u,"a,2026\nu,b,2026\n'},
        "e.csv has from line 3 a quote that is never closed.",
    ),
    "unreadable times": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW * 5 + "u,a,01/05/2026\n"},
        'e.csv: 1 of 6 values of "timestamp" cannot be read as times, for example "01/05/2026".'
        ' Which number is the day? Add to this source the line  date_format: "%d/%m/%Y"  or '
        ' date_format: "%m/%d/%Y".',
    ),
    "no zone": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,2026-01-05 10:00:00\n"},
        'e.csv: the times in "timestamp" carry no time zone, for example "2026-01-05 10:00:00".'
        " Add to this source the line"
        "  timezone: UTC  (or the IANA name of the zone they were written in).",
    ),
    "bare days": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,2026-01-05\n"},
        'e.csv: the times in "timestamp" carry no time zone, for example "2026-01-05". Add to'
        " this source the line"
        "  timezone: UTC  (or the IANA name of the zone they were written in).",
    ),
    "units mixed": (
        "{path: e.csv}",
        {"e__csv": HEAD + "u,a,1767607200\nu,a,1767607201\nu,b,1767607200000\n"},
        'e.csv: the times in "timestamp" mix seconds (2 rows) and milliseconds (1 rows). Split'
        " the file by unit.",
    ),
    "future": (
        "{path: e.csv}",
        {"e__csv": HEAD + ROW + "u,a,2101-01-05T00:00:00Z\n"},
        "e.csv: 1 of 2 rows of events have a timestamp in the future (for example"
        ' "2101-01-05T00:00:00Z");'
        " more than one row in ten wrong in one way means the file is misread, so nothing was"
        " loaded.",
    ),
    "not UTF-8": (
        "{path: e.csv}",
        {"e__csv": (HEAD + ROW + "José,a,2026-01-05T00:00:00Z\n").encode("latin-1")},
        "e.csv is not UTF-8 in line 3. Save it as UTF-8, or say what it is by the source's line"
        "  encoding: cp1252  (or another).",
    ),
    "not UTF-8 late": (
        "{path: e.csv}",
        {"e__csv": (HEAD + ROW * 5000 + "José,a,2026-01-05T00:00:00Z\n").encode("latin-1")},
        "e.csv is not UTF-8 in line 5002. Save it as UTF-8, or say what it is by the source's line"
        "  encoding: cp1252  (or another).",
    ),
    "gzip cut": (
        "{path: e.csv.gz}",
        {"e__csv__gz": PACKED[:-200]},
        "e.csv.gz is cut short: the gzip stream ends too early. Copy or export it again.",
    ),
    "zip cut": (
        "{path: e.zip}",
        {"e__zip": b"PK\x03\x04" + b"0" * 50},
        "e.zip is cut short or damaged: it is no complete zip archive. Copy or export it again.",
    ),
    "parquet cut": (
        "{path: e.parquet}",
        {"e__parquet": b"PAR1" + b"0" * 50},
        "e.parquet is not a complete Parquet file. Copy or export it again.",
    ),
    "JSON key doubled": (
        "{path: e.jsonl, format: mixpanel}",
        {"e__jsonl": MIXPANEL + '{"event":"a","event":"b"}\n'},
        'e.jsonl has in line 2 the key "event" twice.',
    ),
    "JSON cut": (
        "{path: e.jsonl, format: mixpanel}",
        {"e__jsonl": MIXPANEL * 2 + MIXPANEL[:30]},
        "e.jsonl is not valid JSON in line 3: the line is cut or damaged. Export it again or"
        " remove the line.",
    ),
    "Excel": (
        "{path: e.xlsx}",
        {},
        "e.xlsx is an Excel workbook or another Office file, and cannot be read. Save the sheet as"
        " CSV.",
    ),
    "wrong format": (
        "{path: e.csv, format: mixpannel}",
        {"e__csv": HEAD + ROW},
        'data.x.yaml: the format "mixpannel" of events is not known. Did you mean "mixpanel"?',
    ),
    "CSV for mixpanel": (
        "{path: e.csv, format: mixpanel}",
        {"e__csv": HEAD + ROW},
        'e.csv is no mixpanel export: "properties" is missing (of event, properties).'
        " It looks like format: canonical.",
    ),
    "amplitude for mixpanel": (
        "{path: e.json, format: mixpanel}",
        {"e__json": (EXPORTS / "amplitude/part_0.json").read_bytes()},
        'e.json is no mixpanel export: "event" is missing (of event, properties). It looks like'
        " format: amplitude.",
    ),
}


@pytest.mark.parametrize(("source", "files", "sentence"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_files_give_one_sentence(project, source, files, sentence):
    if "xlsx" in source:
        with zipfile.ZipFile("e.xlsx", "w") as archive:
            archive.writestr("[Content_Types].xml", "<Types/>")
    with pytest.raises(DataError) as error:
        open_log(project(f"events: {source}", **files))
    assert str(error.value) == sentence.format(root=project.root)
    assert not list(Path("outputs/store").glob(".staging*"))


def test_rows_in_which_nothing_stands_are_counted_and_no_rows(project):
    text = f"{HEAD}{ROW},,\n{ROW}\n , ,\t\n"
    load = open_log(project("events: {path: e.csv}", e__csv=text)).load
    assert load["tables"]["events"]["n_read"] == 2
    assert load["notes"] == ["e.csv: 2 rows in which nothing stands, left out."]


def test_a_timeline_that_was_begun_and_holds_nothing_is_empty(tmp_path):
    (tmp_path / "moves.csv").write_text("day,kind,label\n")
    assert read("timeline", tmp_path, path="moves.csv") == {"timeline": []}
