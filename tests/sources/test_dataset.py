"""Whole datasets: loaded once, every row accounted for, every bad YAML against its one sentence."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from mctlib import contract
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.sources import dataset as sources
from mctlib.sources import staging
from tests.sources.reading import EXPORTS, HEAD, ROW
from tests.support.logs import us

CANONICAL = "\n".join(f"{table}: {{path: canonical/{table}.csv}}" for table in contract.TABLES)


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
    Path("outputs/store/x.duckdb").write_bytes(b"damaged")
    assert sources.open_log(name).event_names == ["b"]
    assert sorted(p.name for p in Path("outputs/store").iterdir()) == [
        "x.duckdb",
        "x.load.json",
        "x.moments.arrow",
        "x.rejected.parquet",
    ]


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
    assert EventLog.open(Path("outputs/store/x.duckdb")).observed_until == log.observed_until


def test_demo(project):
    opened = sources.open_log(project("demo: {seed: 3, users: 300}"))
    assert "signed_up" in opened.event_names and opened.load["tables"]["people"]["n_read"] == 300


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
        'data.x.yaml: "events.columns.user_id" should be a valid string.',
    ),
    "no events": (
        "people: {path: e.csv}",
        "data.x.yaml names no events. Add  events: {path: ...}.",
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
    path = project.root / "outputs/store/x.duckdb"
    assert str(raised.value) == f"{path}: the disk is full, so the store could not be written."
    assert not list(path.parent.iterdir())


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
    assert sorted(p.name for p in Path("outputs/store").iterdir()) == [
        "x.duckdb",
        "x.load.json",
        "x.moments.arrow",
        "x.rejected.parquet",
    ]


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


def test_two_datasets_of_one_name_and_no_dataset(project):
    project("events: {path: e.csv}", e__csv=HEAD + ROW)
    Path("params/data.y.yaml").write_text("name: x\nevents: {path: e.csv}\n")
    with pytest.raises(DataError) as error:
        sources.open_log("x")
    assert (
        str(error.value) == 'Two datasets are named "x": data.x.yaml and data.y.yaml. Rename one.'
    )
    with pytest.raises(ParameterError, match='there is no "xx" in params/'):
        sources.open_log("xx")


def test_no_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParameterError, match="No project found"):
        sources.open_log("x")
