"""Whole datasets: loaded once, every row accounted for, every bad YAML against its one sentence."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from mctlib import contract, open_log
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.sources import dataset as sources
from mctlib.sources import snapshot, staging
from mctlib.sources.narrative import told
from tests.sources.reading import EXPORTS, HEAD, ROW
from tests.support.logs import us
from tests.support.stores import store_of

FILES = [".salt", "x.*.duckdb", "x.*.moments.arrow", "x.load.json", "x.rejected.parquet"]
CANONICAL = "\n".join(f"{table}: {{path: canonical/{table}.csv}}" for table in contract.TABLES)


def files_of_the_store():
    names = sorted(path.name for path in Path("outputs/store").iterdir())
    return [re.sub(r"[0-9a-f]{16}", "*", name) for name in names]


def test_aliases_mend_at_load_and_what_was_written_stays(project):
    rows = "u,a,2026-01-05,Ann-Lee,\nu,a,2026-01-06,ann,ANN\nv,a,2026-01-07,direct,bob\n"
    events = f"user_id,event,timestamp,utm_source,partner_id\n{rows}"
    spend = "day,amount,partner_id\n2026-01-05,3,ANN-LEE\n"
    described = "events: {path: e.csv, timezone: UTC}\nspend: {path: s.csv}"
    name = project(described, e__csv=events, s__csv=spend)
    assert sources.open_log(name).load["mended"] == {}
    described += "\naliases: {ann-lee: ann, Direct: ''}"
    log = sources.open_log(project(described, e__csv=events, s__csv=spend))
    columns = "utm_source::VARCHAR, utm_source_written, partner_id::VARCHAR"
    assert log.sql(f"SELECT {columns} FROM events ORDER BY timestamp").fillna(
        ""
    ).values.tolist() == [
        ["ann", "Ann-Lee", ""],
        ["ann", "", "ANN"],
        ["direct", "", "bob"],
    ]
    assert log.table("spend")["partner_id"].tolist() == ["ann"]
    load = json.loads(Path("outputs/store/x.load.json").read_text())
    assert load["aliases"] == log.aliases == {"ann-lee": "ann", "Direct": ""}
    assert load["mended"] == {
        "events.utm_source": {"Ann-Lee": 1},
        "spend.partner_id": {"ANN-LEE": 1},
    }
    assert "events.utm_source: 1 row with 1 spelling mended by aliases" in list(told(log.load))


def test_load_accounts_for_every_row(project):
    shutil.copytree(EXPORTS / "canonical", "canonical")
    opened = sources.open_log(project(CANONICAL))
    events = opened.load["tables"]["events"]
    # 11 rows: one unreadable time, one technical duplicate, dee (one event) refused consent.
    assert (events["n_read"], events["n_kept"]) == (11, 8)
    assert events["n_rejected"] == {
        "unreadable timestamp": 1,
        "same event_id again": 1,
        "no consent": 1,
    }
    for table in opened.load["tables"].values():
        assert table["n_read"] == table["n_kept"] + sum(table["n_rejected"].values())
    counts = dict(opened.describe()[["event", "n_users"]].itertuples(index=False, name=None))
    assert counts["signed_up"] == 3 and counts["job_viewed"] == 1
    assert opened.load["n_users"] == 3  # ada with her anonymous visit, bo, cy
    assert list(opened.table("surveys").answer) and len(opened.table("spend")) == 2


def test_same_inputs_no_work_changed_inputs_loaded_anew(project, monkeypatch):
    name = project(
        "events: {path: e.csv}", e__csv="user_id,event,timestamp\nu,a,2026-01-05T00:00:00Z\n"
    )
    sources.open_log(name)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "load", lambda *args, **kwargs: pytest.fail("loaded again"))
        assert sources.open_log(name).event_names == ["a"]
        assert sources.open_log(Path("params/data.x.yaml")).event_names == ["a"]
        assert sources.open_log(name).currency == ""
        described = Path("params/data.x.yaml")
        described.write_text(described.read_text() + "\ncurrency: EUR\n")
        assert sources.open_log(name).currency == "EUR"  # a word for the pages, no other data
    Path("e.csv").write_text("user_id,event,timestamp\nu,b,2026-01-05T00:00:00Z\n")
    assert sources.open_log(name).event_names == ["b"]
    assert files_of_the_store() == FILES


def test_a_damaged_store_is_loaded_again_and_said(project):
    name = project("events: {path: e.csv}", e__csv=HEAD + ROW)
    assert not sources.open_log(name).note
    said = "The store of x was damaged; it was loaded again from its sources."
    store_of("x").write_bytes(b"damaged")
    assert sources.open_log(name).note == said
    content = bytearray(store_of("x").read_bytes())
    content[-1000] ^= 1  # within the last block
    store_of("x").write_bytes(content)
    log = sources.open_log(name, verify=True)
    assert log.note == said and len(log.describe()) == 1
    assert not sources.open_log(name, verify=True).note
    assert files_of_the_store() == FILES


def test_changed_sources_leave_the_store_that_is_open(project):
    name = project("events: {path: e.csv}", e__csv=HEAD + ROW)
    log = sources.open_log(name)
    Path("e.csv").write_text(HEAD + ROW.replace(",a,", ",b,"))
    other = sources.open_log(name)
    assert (log.event_names, other.event_names) == (["a"], ["b"])
    assert log.path != other.path and EventLog.open(log.path).event_names == ["a"]
    log.close()
    sources.open_log(name)
    assert not log.path.exists() and other.path.exists()


def test_a_run_hands_its_store_on_whatever_becomes_of_the_sources(project, monkeypatch):
    name = project("events: {path: e.csv}\ncurrency: EUR", e__csv=HEAD + ROW)
    log = sources.open_log(name)
    monkeypatch.setenv("MCT_STORE", snapshot.handing(name, log))
    Path("e.csv").unlink()
    Path("params/data.x.yaml").write_text("name: [")
    handed = sources.open_log(name)
    assert (handed.path, handed.currency, handed.event_names) == (log.path, "EUR", ["a"])
    with pytest.raises(ParameterError):
        sources.open_log("y")


def test_a_store_that_was_replaced_is_not_the_one_that_was_handed(project, monkeypatch):
    name = project("events: {path: e.csv}", e__csv=HEAD + ROW)
    log = sources.open_log(name)
    told = snapshot.handing(name, log)
    log.close()
    sources.open_log(name, fresh=True)
    monkeypatch.setenv("MCT_STORE", told)
    with pytest.raises(DataError, match="was replaced during this run"):
        sources.open_log(name)


@pytest.mark.parametrize("written", ["2026-01-31", '"2026-01-31"'])
def test_a_yaml_says_how_long_collection_went_on(project, written):
    row = "user_id,event,timestamp\nu,a,2026-01-05T00:00:00Z\n"
    name = project("events: {path: e.csv}", e__csv=row)
    assert sources.open_log(name).as_of("2026-01-31") < us("2026-01-07T00:00:00Z")
    told = project(f"events: {{path: e.csv}}\nobserved_until: {written}", e__csv=row)
    log = sources.open_log(told)
    assert log.as_of("2026-01-31") == us("2026-02-01T00:00:00Z") - 1
    report = json.loads(Path("outputs/store/x.load.json").read_text())
    assert report["observed_until"] == "2026-01-31 23:59:59.999999"
    assert EventLog.open(store_of("x")).observed_until == log.observed_until


def test_demo(project):
    opened = sources.open_log(project("demo: {seed: 3, users: 300}"))
    assert "signed_up" in opened.event_names
    n_people = len(sources.demo.generate(300, 3)["people"])  # with those from before the log
    assert opened.load["tables"]["people"]["n_read"] == n_people >= 300


BAD_YAML = {
    "field": (
        "events: {path: e.csv, fromat: columns}",
        'data.x.yaml: "events.fromat" is not a field. Did you mean "format"?',
    ),
    "table": (
        "event: {path: e.csv}",
        'data.x.yaml: "event" is not a field. Did you mean "events"?',
    ),
    "type": (
        "events: {path: e.csv, columns: {user_id: 3}}",
        'data.x.yaml: "events.columns.user_id" must be a text',
    ),
    "no events": (
        "people: {path: e.csv}",
        "data.x.yaml: it names no events. Add  events: {path: ...}.",
    ),
    "no path": (
        "events: {format: mixpanel}",
        "data.x.yaml: events needs either a path or a query.",
    ),
    "zone": (
        "events: {path: e.csv, timezone: Europe/Berln}",
        'data.x.yaml: the timezone "Europe/Berln" of events is no IANA name. Did you mean "Europe/'
        'Berlin"',
    ),
    "observed_until": (
        "events: {path: e.csv}\nobserved_until: soon",
        'data.x.yaml: observed_until: "soon" is neither a day (2026-06-30) nor a timestamp',
    ),
    "earliest": (
        "events: {path: e.csv}\nearliest: once",
        'data.x.yaml: earliest: "once" is neither a day (2026-06-30) nor a timestamp',
    ),
    "aliases of two partners": (
        'events: {path: e.csv}\naliases: {Ann: a, " ann": b}',
        'data.x.yaml: " ann" in aliases means "a" and "b"; case does not matter.',
    ),
    "an alias of an alias": (
        "events: {path: e.csv}\naliases: {ann: anna, Anna: ann_lee}",
        'data.x.yaml: "ann" in aliases means "anna", which means "ann_lee": write that.',
    ),
    "an alias of nothing": (
        "events: {path: e.csv}\naliases: {'': a}",
        "data.x.yaml: aliases hold an empty name; what names nobody needs no alias.",
    ),
    "a currency": (
        "events: {path: e.csv}\ncurrency: banana",
        'data.x.yaml: the currency "banana" must be three capital letters such as EUR.',
    ),
    "a currency in small letters": (
        "events: {path: e.csv}\ncurrency: usd",
        'data.x.yaml: the currency "usd" must be three capital letters such as EUR. Did you mean "U'
        'SD"?',
    ),
    "a currency by its sign": (
        "events: {path: e.csv}\ncurrency: €",
        'data.x.yaml: the currency "€" must be three capital letters such as EUR. Did you mean "EUR'
        '"?',
    ),
    "an earliest that is no ISO day": (
        "events: {path: e.csv}\nearliest: 01.02.2026",
        'data.x.yaml: earliest: "01.02.2026" is neither a day (2026-06-30) nor a timestamp',
    ),
    "an end that is no ISO day": (
        "events: {path: e.csv}\nobserved_until: 05/04/2026",
        'data.x.yaml: observed_until: "05/04/2026" is neither a day (2026-06-30) nor a timestamp',
    ),
    "digits are no day": (
        "events: {path: e.csv}\nearliest: 20260201",
        'data.x.yaml: earliest: "20260201" is neither a day (2026-06-30) nor a timestamp',
    ),
    "date_format of another tool": (
        "events: {path: e.csv, date_format: DD.MM.YYYY HH:mm}",
        'data.x.yaml: the date_format "DD.MM.YYYY HH:mm" of events does not say year, month and day'
        ' as strptime does ("%d.%m.%Y %H:%M"). Did you mean "%d.%m.%Y %H:%M"?',
    ),
    "date_format of an unknown sign": (
        'events: {path: e.csv, date_format: ["%d/%m/%Y", "%d/%m/%Q"]}',
        'data.x.yaml: the date_format "%d/%m/%Q" of events holds a sign that strptime does not',
    ),
    "date_format of letters": (
        'events: {path: e.csv, date_format: "%d/%m/%Y %H:%M %Z"}',
        'data.x.yaml: the date_format "%d/%m/%Y %H:%M %Z" of events holds %Z, but letters such as',
    ),
    "two headers": (
        "events: {path: e.csv, columns: {event: [a, b]}}",
        'data.x.yaml: "event" in columns of events needs one header; only a time may have two, of',
    ),
    "wrong table": (
        "events: {path: e.csv}\npeople: {path: e.csv, format: ga4}",
        "data.x.yaml: format ga4 fills events or backend, not people.",
    ),
    "a key that is no text": (
        "~: 1\nevents: {path: e.csv}",
        'data.x.yaml: "None" is no name, which must be a text.',
    ),
    "not YAML": (
        "events: {path: e.csv",
        "data.x.yaml is not valid YAML in line 3: expected ',' or '}', but got '<stream end>'.",
    ),
}


@pytest.mark.parametrize(("yaml", "sentence"), BAD_YAML.values(), ids=BAD_YAML)
def test_a_bad_yaml_gives_one_sentence(project, yaml, sentence):
    with pytest.raises(DataError) as error:
        sources.open_log(project(yaml, e__csv=HEAD + ROW))
    assert str(error.value).startswith(sentence)


def test_all_that_is_wrong_is_told_at_once(project):
    yaml = "evnts: 1\nevents: {path: e.csv, formt: canonical}\ncurency: EUR"
    with pytest.raises(DataError) as error:
        open_log(project(yaml))
    assert str(error.value).splitlines() == [
        'data.x.yaml: "events.formt" is not a field. Did you mean "format" or "date_format"?',
        'data.x.yaml: "evnts" is not a field. Did you mean "events"?',
        'data.x.yaml: "curency" is not a field. Did you mean "currency"?',
    ]
    with pytest.raises(DataError) as error:
        open_log(project('curency: EUR\nevents: {path: ["a.csv", e.csv, "b*.csv"]}', e__csv=HEAD))
    assert [line.split()[:4] for line in str(error.value).splitlines()] == [
        ["data.x.yaml:", '"curency"', "is", "not"],
        ["The", "file", '"a.csv"', "does"],
        ["No", "file", "matches", '"b*.csv"'],
    ]
    yaml = """earliest: once
reporting_timezone: Mars
week_starts: moonday
currency: euro
events:
  - {path: e.csv, timezone: CET9, encoding: utf-99, date_format: D.M.Y, columns: {event: [a, b]}}
  - {path: e.csv, format: mixpenal}
  - {path: e.csv, formt: canonical}
people: {format: ga4}
"""
    with pytest.raises(DataError) as error:
        open_log(project(yaml, e__csv=HEAD + ROW))
    told = [line.removeprefix("data.x.yaml: ") for line in str(error.value).splitlines()]
    assert [" ".join(line.split()[:3]).strip('"') for line in told] == [
        'week_starts" must be',
        'events.2.formt" is not',
        'earliest: "once" is',
        'the reporting_timezone "Mars',
        'the currency "euro',
        'the timezone "CET9',
        'the encoding "utf-99',
        'event" in columns',
        'the date_format "D.M.Y',
        'the format "mixpenal',
        "people needs either",
        "format ga4 fills",
    ]


def test_all_files_that_are_not_there_are_told_at_once(project):
    yaml = 'events: [{path: e.csv}, {path: f.csv}]\npeople: {path: "p*.csv"}\nplan: params/no.yaml'
    with pytest.raises(DataError) as error:
        open_log(project(yaml))
    said = str(error.value).splitlines()
    assert len(said) == 4 and all(
        name in line for name, line in zip(("no.yaml", "e.csv", "f.csv", "p*.csv"), said)
    )


def test_all_questions_of_a_load_are_asked_at_once(project):
    people = 'user_id,signed_up_at,churned_at,revenue,consent\nu,01.02.2026,2026-01-05,"1,234",x\n'
    events = "usr,event,timestamp\nu,a,2026-01-05 00:00\n"
    with pytest.raises(DataError) as error:
        open_log(
            project("events: {path: e.csv}\npeople: {path: p.csv}", e__csv=events, p__csv=people)
        )
    for line, words in zip(
        str(error.value).splitlines(),
        (
            'e.csv has no column "user_id" for events.',
            'p.csv: 1 of 1 values of "signed_up_at" cannot be read as times',
            'p.csv: the times in "churned_at" carry no time zone',
            'p.csv: 1 of 1 values of "revenue" are one number with a decimal point and another',
            'p.csv: 1 of 1 values of "consent" are neither yes nor no',
        ),
        strict=True,
    ):
        assert line.startswith(words)


WHOLE_YAML = {
    "empty": ("", "data.x.yaml is empty. Write into it  name: ..., events: {path: ...}."),
    "a comment": (
        "# later\n",
        "data.x.yaml is empty. Write into it  name: ..., events: {path: ...}.",
    ),
    "name": (
        "name: a b\nevents: {path: e.csv}\n",
        'data.x.yaml: the name "a b" may hold only letters, digits, - and _, for it names the'
        " store.",
    ),
    "a list": (
        "- name: x\n",
        "data.x.yaml must be a mapping such as  name: ..., events: {path: ...}.",
    ),
    "key again": (
        "name: x\nevents: {path: e.csv}\nevents: {path: f.csv}\n",
        'data.x.yaml is not valid YAML in line 3: the key "events" stands here again.',
    ),
    "inner key again": (
        "name: x\nevents:\n  path: e.csv\n  path: f.csv\n",
        'data.x.yaml is not valid YAML in line 4: the key "path" stands here again.',
    ),
}


@pytest.mark.parametrize(("whole", "sentence"), WHOLE_YAML.values(), ids=WHOLE_YAML)
def test_a_bad_whole_yaml_gives_one_sentence(project, whole, sentence):
    Path("params/data.x.yaml").write_text(whole)
    Path("e.csv").write_text(HEAD + ROW)
    with pytest.raises(DataError) as error:
        sources.open_log("x")
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    "error",
    [
        duckdb.TransactionException(
            "Failed to commit: Could not write file: No space left on device"
        ),
        OSError(28, "No space left on device"),
    ],
    ids=["staging", "unpacking"],
)
def test_a_disk_that_fills_while_files_are_read_is_not_the_fault_of_the_files(
    project, monkeypatch, error
):
    def full(*args):
        raise error

    monkeypatch.setattr(staging.Stage, "select", full)
    with pytest.raises(DataError) as raised:
        sources.open_log(project("events: {path: e.csv}", e__csv=HEAD + ROW))
    path = project.root / "outputs/store"
    said = r"/x\.[0-9a-f]{16}\.duckdb: the disk is full, so the store could not be written\."
    assert re.fullmatch(re.escape(str(path)) + said, str(raised.value))
    assert [p.name for p in path.iterdir()] == [".salt"]


def test_a_killed_load_leaves_nothing_behind_after_the_next_one(project):
    name = project("events: {path: e.csv}", e__csv=HEAD + ROW)
    killed = (
        "import os, signal\nfrom mctlib.sources import dataset as sources\n"
        "sources.build_store = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)\n"
        "sources.open_log('x')"
    )
    subprocess.run([sys.executable, "-c", killed])
    assert len(list(Path("outputs/store").glob(".staging-*/staging.duckdb"))) == 1
    sources.open_log(name)
    assert files_of_the_store() == FILES


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ("talant", ' Did you mean "talent"?'),
        ("params/data.talant.yaml", ' Did you mean "talent"?'),
        ("nope", " Its datasets are: jobs, talent."),
    ],
)
def test_a_dataset_that_is_not_there(project, asked, advice):
    for name in ("talent", "jobs"):
        project("demo: {}", name)
    with pytest.raises(ParameterError) as error:
        sources.open_log(asked)
    assert (
        str(error.value) == f'dataset: there is no "{asked}" in params/ of {project.root}.{advice}'
    )


@pytest.mark.parametrize("file", ["data.y.yaml", "y.yaml"])
def test_a_dataset_is_called_as_its_file_is(project, file):
    project("events: {path: e.csv}", e__csv=HEAD + ROW)
    Path("params", file).write_text("name: x\nevents: {path: e.csv}\n")
    with pytest.raises(DataError) as error:
        sources.open_log(f"params/{file}")
    assert str(error.value) == (
        f'{file}: the name "x" is not that of the file.'
        " Write  name: y  or call the file data.x.yaml."
    )
    with pytest.raises(ParameterError, match='there is no "xx" in params/'):
        sources.open_log("xx")


@pytest.mark.parametrize(
    "asked", ["../x", "a/b", "../params/../data.x.yaml", "elsewhere/data.x.yaml"]
)
def test_a_dataset_outside_of_params_is_refused(project, asked):
    project("events: {path: e.csv}", e__csv=HEAD + ROW)
    for folder in (".", "elsewhere"):
        Path(folder).mkdir(exist_ok=True)
        Path(folder, "data.x.yaml").write_text("name: x\nevents: {path: e.csv}\n")
    with pytest.raises(ParameterError, match="is not in .*params, where datasets stand"):
        sources.open_log(asked)


def test_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="No project found"):
        sources.open_log("x")


def test_how_far_apart_is_said_in_the_yaml(project):
    rows = HEAD.replace("\n", ",event_id\n") + "".join(
        f"u,a,2026-01-{day:02d}T00:00:00Z,e1\n" for day in (1, 3, 9)
    )
    source = "events: {path: e.csv}"
    assert open_log(project(source, e__csv=rows)).load["tables"]["events"]["n_kept"] == 3
    within = project(f"{source}\nresent_within: 2d")
    assert open_log(within).load["tables"]["events"]["n_kept"] == 2
    with pytest.raises(DataError, match='data.x.yaml: resent_within: "2" is not a duration; write'):
        open_log(project(f"{source}\nresent_within: 2"))


@pytest.mark.parametrize(
    "header", ["Einwilligung", "Marketing consent", "opt-in", "GDPR consent at"]
)
def test_a_column_that_may_say_who_refused_is_not_passed_over_in_silence(project, header):
    files = {"e__csv": HEAD + ROW, "p__csv": f"user_id,{header}\nu,yes\n"}
    sources_of = "events: {path: e.csv}\npeople: {path: p.csv"
    (note,) = open_log(project(sources_of + "}", **files)).load["notes"]
    assert note.startswith(f'p.csv: "{header}" may say who refused, and nobody is left out by it.')
    mapped = f', format: columns, columns: {{consent: "{header}"}}}}'
    assert not open_log(project(sources_of + mapped, **files)).load["notes"]


@pytest.mark.parametrize("header", ["Opt-out", "unsubscribed", "do_not_track"])
def test_whose_yes_is_a_refusal_refuses_by_yes(project, header):
    rows = HEAD + ROW + ROW.replace("u,", "v,")
    files = {"e__csv": rows, "p__csv": f"user_id,{header}\nu,yes\nv,no\n"}
    sources_of = "events: {path: e.csv}\npeople: {path: p.csv"
    (note,) = open_log(project(sources_of + "}", **files)).load["notes"]
    assert f'"{header}" may say who refused' in note
    mapped = f', format: columns, columns: {{consent: "{header}"}}}}'
    tables = open_log(project(sources_of + mapped, **files)).load["tables"]
    assert tables["events"]["n_rejected"] == {"no consent": 1}
    assert tables["people"]["n_rejected"] == {"no consent": 1}


def test_a_table_that_lacks_what_its_like_has_is_no_part_of_the_source(project):
    files = {"e1__csv": HEAD + ROW, "e2__csv": HEAD.replace("user_id", "usr_id") + ROW}
    with pytest.raises(DataError) as error:
        open_log(project('events: {path: "e*.csv"}', **files))
    assert str(error.value) == (
        'e2.csv has no column "user_id", as e1.csv has. Did you mean "usr_id"?'
    )
    anonymous = {"e2__csv": HEAD.replace("user_id", "anonymous_id") + ROW}
    assert open_log(project('events: {path: "e*.csv"}', **(files | anonymous))).load["n_users"]


def test_people_of_whom_no_row_can_be_kept_are_no_people(project):
    lost = "user_id,plan\n1.23457E+17,free\n1.23457E+17,free\n"
    with pytest.raises(DataError, match="x: no row of people is left after loading; rejected"):
        open_log(
            project("events: {path: e.csv}\npeople: {path: p.csv}", e__csv=HEAD + ROW, p__csv=lost)
        )


def test_a_column_may_be_mapped_to_the_properties(project):
    rows = "user_id,event,timestamp,Meta Data\n"
    rows += 'u,a,2026-01-05T00:00:00Z,"{""role"": ""hr""}"\nu,b,2026-01-05T00:00:00Z,plain\n'
    mapped = '{path: e.csv, format: columns, columns: {properties: "meta data"}}'
    log = open_log(project(f"events: {mapped}", e__csv=rows))
    assert "hr" in log.segments("properties.role")
    (told,) = [
        sentence for sentence in log.load["notes"] + list(log.caveats()) if "JSON" in sentence
    ]
    assert "1" in told


@pytest.mark.parametrize("place", ["events", "backend", "surveys"])
def test_a_refusal_in_any_row_of_any_table_wins(project, place):
    """Of v nothing is kept, by whatever id, in whatever order; u and w say yes or nothing."""
    files = {
        "events": "user_id,anonymous_id,event,timestamp,consent\n",
        "backend": "user_id,event,timestamp,consent\n",
        "surveys": "user_id,micro_conversion,submitted_at,answer,consent\n",
    }
    says = {"u": "yes", "v": "false", "w": ""}
    day = "2026-01-05T00:00:00Z"
    for user in says:
        files["events"] += f"{user},{user}-1,a,{day},\n,{user}-1,b,{day},\n"
        files["backend"] += f"{user},a,{day},\n"
        files["surveys"] += f"{user},a,{day},yes,\n"
    last = {"events": ",{}-1,c,{},{}", "backend": "{},c,{},{}", "surveys": "{},c,{},yes,{}"}[place]
    for user, word in says.items():
        files[place] += last.format(user, day, word) + "\n"
    yaml = "\n".join(f"{table}: {{path: {table}.csv}}" for table in files)
    log = open_log(project(yaml, **{f"{table}__csv": text for table, text in files.items()}))
    assert log.load["n_users"] == 2 and not log.load["notes"]
    for table in files:
        counts = log.load["tables"][table]
        n = (2 if table == "events" else 1) + (table == place)
        assert (counts["n_kept"], counts["n_rejected"]) == (2 * n, {"no consent": n})
    with pytest.raises(ParameterError):
        log.segments("properties.consent")


def test_a_refusal_in_the_events_by_a_header_of_its_own_is_asked_for_and_mapped(project):
    rows = HEAD.strip() + ",Opt-out\n" + ROW.strip() + ",no\n" + ROW.replace("u,", "v,").strip()
    rows += ",yes\n"
    (note,) = open_log(project("events: {path: e.csv}", e__csv=rows)).load["notes"]
    assert note.endswith('If it does, map it by columns: {consent: "Opt-out"}.')
    mapped = 'events: {path: e.csv, format: columns, columns: {consent: "Opt-out"}}'
    log = open_log(project(mapped, e__csv=rows))
    assert log.load["tables"]["events"]["n_rejected"] == {"no consent": 1}
    with pytest.raises(DataError, match='"consent" are neither yes nor no, for example "maybe"'):
        open_log(project(mapped, e__csv=rows.replace("yes", "maybe")))


def test_names_with_spaces_around_them_are_one_and_that_is_told(project):
    rows = "user_id,event,timestamp,channel\n" + "".join(
        f"u{i},{event},2026-01-05T00:00:00Z,{channel}\n"
        for i, (event, channel) in enumerate(
            [
                ("done ", "ads"),
                (" done", " ads"),
                ("done\u00a0", ""),
                ("done", ""),
            ]
        )
    )
    log = open_log(project("events: {path: e.csv}", e__csv=rows))
    assert log.load["n_events"] == {"done": 4}
    assert log.load["notes"] == [
        'e.csv: 3 rows with spaces around the event, counted without them: " done" as "done".',
        'e.csv: 1 row with spaces around the channel, counted without them: " ads" as "ads".',
    ]


def test_people_s_own_columns_are_kept_and_a_load_tells_who_meets_whom(project):
    rows = "user_id,event,timestamp\n" + "".join(
        f"{user},{event},2026-01-05T00:00:00Z\n"
        for user, event in [("1", "a"), ("2.0", "a"), ("3", "A "), ("null", "a"), ("9", "a")]
    )
    people = (
        "user_id,Country,Seats,e-mail,churned_at,signed_up_at,consent\n"
        "1.0,DE\u00a0,5,ann@example.org,2025-12-31,2026-01-01,\n"
        "2,NULL,60.0,,,2026-01-01,\n"
        " 3 ,FR,,,,2026-01-01,\n"
        "4,FR,,,,2026-01-01,\n"
        "77,FR,,,,2026-01-01,no\n"
    )
    name = project(
        "events: {path: e.csv}\npeople: {path: p.csv, timezone: UTC}", e__csv=rows, p__csv=people
    )
    log = sources.open_log(name)
    assert log.load["tables"]["events"]["n_rejected"] == {'impossible user_id "null"': 1}
    own = log.table("people").iloc[:, -2:]
    assert own.columns.tolist() == ["Country", "Seats"]  # the address is no column
    assert sorted(own["Country"].fillna("")) == ["", "DE", "FR", "FR"]
    assert log.segments("Country") == ["(none)", "DE", "FR"]
    assert list(told(log.load)) == [
        "3 of 4 users of people have events",
        "3 of 4 users with events are among people",
        "1 of 1 people without consent meet no event: are their ids written as in the events? "
        "Else events of theirs are still there",
        'people: "Seats" is empty in 50 % of 4 rows',
        "people: churned_at lies before signed_up_at in 1 of 1 rows",
        'the event "A" (1 row) looks like "a" (3 rows) and is counted apart',
    ]
