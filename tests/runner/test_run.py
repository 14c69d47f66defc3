"""The runner: what it refuses, what it publishes, what it keeps from being published."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import nbformat
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from mctlib.__main__ import main
from mctlib.contract import DataError, ParameterError
from mctlib.runner import pack, run
from tests.conftest import GOOD, NOTEBOOKS, SCRIPT, make_project, mctlib

# ---- before any kernel


def good(**changes):
    """The pack's text with the settings of its report `good` replaced."""
    entry = json.dumps(changes)
    return f"dataset: tiny\nnotebooks:\n  good: {entry}\n"


WRONG = {
    "unknown key": (
        "dataset: tiny\nnotebook: {}\nnotebooks: {good: {}}\n",
        'params/weekly.yaml: unknown key "notebook". Did you mean "notebooks"?',
    ),
    "unknown key of a report": (
        good(parms="x.yaml"),
        'unknown key "notebooks, good, parms". Did you mean "params"?',
    ),
    "no notebooks": ("dataset: tiny\n", 'the key "notebooks" is missing'),
    "empty": ("", 'must hold "name: value" lines'),
    "not yaml": ("dataset: [tiny\nnotebooks: {}", "params/weekly.yaml, line 2: "),
    "twice": (
        "dataset: tiny\ndataset: tiny\nnotebooks: {good: }\n",
        'line 2: the key "dataset" stands here again',
    ),
    "dataset": (GOOD.replace("tiny", "tinny"), 'Did you mean "tiny"?'),
    "notebook": (
        good(notebook="god"),
        'there is no notebook "god" in notebooks/. Did you mean "good"?',
    ),
    "report name": ("dataset: tiny\nnotebooks: {../good: {}}\n", '"../good" cannot name a report'),
    "params file": (
        good(params="params/wekly.yaml"),
        "params/wekly.yaml cannot be read (No such file or directory). Did you mean params/weekly.yaml?",
    ),
    "parameter": (
        good(set={"windw": "7d"}),
        'params/weekly.yaml, good: notebooks/good.ipynb has no parameter "windw". Did you mean "window" or "windows"?',
    ),
    "type": (
        good(set={"min_users": "ten"}),
        'parameter "min_users" of good must be int, not "ten"',
    ),
    "type below a list": (
        good(set={"steps": ["signed_up", 2]}),
        'parameter "steps" of good must be list[str | list[str]], not ["signed_up", 2]',
    ),
    "a word is not a boolean": (
        "dataset: tiny\nnotebooks:\n  good: {set: {min_users: yes}}\n",
        'must be int, not "yes"',
    ),
    "window": (
        good(set={"window": "fortnight"}),
        '"fortnight" is not a duration; write a number with its unit',
    ),
    "negative window": (good(set={"window": "-3d"}), '"-3d" must be longer than nothing'),
    "window without unit": (
        good(set={"window": 14}),
        'parameter "window" of good must be str, not 14',
    ),
    "event": (
        good(set={"steps": ["signed_up", ["profile_complete"]]}),
        'event "profile_complete" does not occur in tiny. Did you mean "profile_completed"?',
    ),
    "one step": (good(set={"steps": ["signed_up"]}), "needs at least two steps"),
    "pack's own": (good(set={"as_of": "2026-03-02"}), '"as_of" is one for the whole pack'),
    "as_of before": (
        "as_of: 2026-02-28\n" + GOOD,
        "as_of 2026-02-28 lies outside the data, which run from 2026-03-01 to 2026-03-31",
    ),
    "as_of after": ("as_of: 2026-04-01\n" + GOOD, "as_of 2026-04-01 lies outside the data"),
    "as_of is a word": (
        "as_of: now\n" + GOOD,
        'params/weekly.yaml: as_of is "now"; write latest, a day like "2026-03-31" or a timestamp like "2026-03-31T12:00:00Z".',
    ),
    "as_of is a moving day": ("as_of: today\n" + GOOD, 'as_of is "today"; write latest'),
    "as_of is a month": ("as_of: 2026-03\n" + GOOD, 'as_of is "2026-03"; write latest'),
    "as_of in American": ('as_of: "03/11/2026"\n' + GOOD, 'as_of is "03/11/2026"; write latest'),
    "as_of without dashes": ("as_of: 20260311\n" + GOOD, 'as_of is "20260311"; write latest'),
    "as_of without a zone": (
        "as_of: 2026-03-11T12:00:00\n" + GOOD,
        'as_of is "2026-03-11T12:00:00"; write latest',
    ),
    "as_of is no day": ("as_of: 2026-02-30\n" + GOOD, 'as_of is "2026-02-30"; write latest'),
    "no such dataset": (GOOD.replace("tiny", "shop"), 'dataset: there is no "shop" in params/'),
    "no notebook at all": (
        "dataset: tiny\nnotebooks: {}\n",
        'params/weekly.yaml: "notebooks" names no notebook.',
    ),
    "notebook elsewhere": (
        good(notebook="../good"),
        'params/weekly.yaml, good: "../good" cannot name a notebook of notebooks/; use letters',
    ),
    "empty event": (
        good(set={"steps": ["signed_up", ""]}),
        '"" names no event; write a name, a list of names, or {event: name, where: {column: value}}',
    ),
    "empty list of events": (good(set={"steps": ["signed_up", []]}), "[] names no event"),
    "key of an event": (
        good(set={"steps_any": ["signed_up", {"event": "signed_up", "were": {"platform": "ios"}}]}),
        'not "were". Did you mean "where"?',
    ),
    "where without event": (
        good(set={"steps_any": ["signed_up", {"where": {"platform": "ios"}}]}),
        '{"where": {"platform": "ios"}} names no event',
    ),
    "where is a text": (
        good(set={"steps_any": [{"event": "signed_up", "where": "ios"}]}),
        '"where" holds "column: value" lines, not "ios"',
    ),
    "event below a mapping": (
        good(set={"steps_any": [{"event": "signd_up"}]}),
        'Did you mean "signed_up"?',
    ),
    "column": (
        good(set={"by": "platfrm"}),
        'parameter "by" of good: "platfrm" is neither a column of people or events',
    ),
    "one of several columns": (
        good(set={"columns": ["platform", "platfrm"]}),
        'parameter "columns" of good: "platfrm" is neither a column of people or events',
    ),
    "columns below a list": (
        good(set={"columns": [["platform"]]}),
        'parameter "columns" of good must be a column\'s name, not ["platform"].',
    ),
    "day": (
        good(set={"change_at": "yesterday"}),
        'parameter "change_at" of good is "yesterday"; write a day like "2026-03-31"',
    ),
    "day outside": (
        good(set={"change_at": "2026-04-01"}),
        "2026-04-01 lies outside the data, which run from 2026-03-01 to 2026-03-31.",
    ),
    "day as a number": (
        good(set={"period": [20260301]}),
        'parameter "period" of good is 20260301; write a day',
    ),
    "days backwards": (
        good(set={"period": ["2026-03-09", "2026-03-02"]}),
        "2026-03-09 comes after 2026-03-02; write the earlier day first.",
    ),
    "choice": (
        good(set={"rule": "linea"}),
        'parameter "rule" of good must be one of first, last, linear, not "linea". Did you mean "linear"?',
    ),
    "segment": (
        good(set={"by": "platform", "treated": "andriod"}),
        '"andriod" is no segment of "platform". Did you mean "android"?',
    ),
    "segments": (
        good(set={"by": "platform", "treated": ["ios", "web"]}),
        '"web" is no segment of "platform". It has android, ios.',
    ),
    "segment of nothing": (
        good(set={"treated": "ios"}),
        'parameter "treated" of good is "ios", but "by" names no column',
    ),
    "money": (
        good(set={"cost": -1.0}),
        'parameter "cost" of good is an amount of money; write a number of 0 or more, not -1',
    ),
    "endless money": (
        "dataset: tiny\nnotebooks:\n  good: {set: {cost: 1e999}}\n",
        "write a number of 0 or more",
    ),
    "no windows": (
        good(set={"windows": []}),
        'parameter "windows" of good names no duration; write at least one.',
    ),
    "start is activation": (
        good(set={"start": "profile_completed"}),
        "they must be different events",
    ),
    "credential in a value": (
        good(set={"by": "postgres://me:hunter2@host/db"}),
        'parameter "by" of good looks like a credential',
    ),
    "number or text": (
        "dataset: tiny\nnotebooks:\n  good: {set: {by: 1.10}}\n",
        '1.10 can be a number or a text: write 1.1 or "1.10"',
    ),
    "keep": (GOOD + "keep: 0\n", '"keep" is not right'),
}


@pytest.mark.parametrize(("text", "fragment"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_before_any_kernel_starts(project, text, fragment):
    (project / "params/weekly.yaml").write_text(text)
    with pytest.raises((ParameterError, DataError)) as error:
        pack.check_pack("params/weekly.yaml")
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"by": "", "treated": ""},
        {"by": None},
        {"by": "platform", "treated": "ios"},
        {"by": "platform", "treated": ["ios", "android"]},
        {"treated": []},
        {"change_at": ""},
        {"change_at": "2026-03-01"},
        {"change_at": "2026-03-31T23:00:00Z"},
        {"period": ["2026-03-02", "2026-03-02"]},
        {"columns": ["platform"]},
        {"activation": ""},
        {"start": "signed_up"},
        {"cost": 0},
        {
            "steps_any": [
                {"event": ["signed_up", "profile_completed"], "where": {"platform": "ios"}}
            ]
        },
    ],
)
def test_what_is_right_passes(project, settings):
    (project / "params/weekly.yaml").write_text(good(set=settings))
    pack.check_pack("params/weekly.yaml")


@pytest.mark.parametrize("as_of", ["2026-03-11", "2026-03-11T12:00:00Z", "2026-03-11T12:00+01:00"])
def test_a_day_and_a_timestamp_with_its_zone_are_read(project, as_of):
    (project / "params/weekly.yaml").write_text(f"as_of: {as_of}\n{GOOD}")
    assert pack.check_pack("params/weekly.yaml")[0].as_of == as_of


def test_parameters_merge_in_order(project):
    (project / "params/good.yaml").write_text(
        "dataset: other\nas_of: 2020-01-01\nwindow: 3d\nmin_users: 12\n"
    )
    (project / "params/weekly.yaml").write_text(
        good(params="params/good.yaml", set={"window": "7d"})
    )
    _, _, (report,) = pack.check_pack("params/weekly.yaml")
    assert report.parameters == {
        "dataset": "tiny",
        "as_of": "2026-03-31",
        "window": "7d",
        "min_users": 12,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-06-30", "2026-06-30"),
        ("no", "no"),
        ("12:30:00", "12:30:00"),
        ("1e3", 1000.0),
        ("0.5", 0.5),
        ("7", 7),
        ("-2", -2),
        ("true", True),
        ("~", None),
        ('"010"', "010"),
        ("14d", "14d"),
        ("2.0", 2.0),
        ("0o7", "0o7"),
        ("1_000", "1_000"),
    ],
)
def test_yaml_values_mean_what_they_look_like(tmp_path, text, value):
    (tmp_path / "x.yaml").write_text(f"x: {text}")
    read = pack.read_yaml(tmp_path / "x.yaml")["x"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["010", "1.10", "3.20", "1.", ".5"])
def test_yaml_values_that_would_change_are_refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(f"a: 1\nx: {text}")
    with pytest.raises(
        ParameterError,
        match=rf'line 2: {re.escape(text)} can be a number or a text: write .* or "{re.escape(text)}"',
    ):
        pack.read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("last", "day"),
    [
        ("2026-03-31 23:30", "2026-03-31"),
        ("2026-03-31 22:59", "2026-03-30"),
        ("2026-03-31 00:00", "2026-03-31"),
    ],
)
def test_latest_is_the_last_complete_day(last, day):
    data = SimpleNamespace(
        first_event=pd.Timestamp("2026-01-01", tz="UTC"), last_event=pd.Timestamp(last, tz="UTC")
    )
    assert pack._resolve("x.yaml", "latest", data) == day


# ---- a good run, then a failing one of the same day (see conftest.runs)


def test_a_good_run_leaves_everything_in_its_place(runs):
    assert runs.good.returncode == 0, runs.good.stderr
    names = {
        str(p.relative_to(runs.good_folder)) for p in runs.good_folder.rglob("*") if p.is_file()
    }
    reports = {f"{name}.{kind}" for name in ("good", "variant") for kind in ("html", "ipynb")}
    assert names == reports | {
        "index.html",
        "run.json",
        "log.txt",
        "tables/good/events.csv",
        "tables/variant/events.csv",
    }
    record = json.loads((runs.good_folder / "run.json").read_text())
    assert (record["status"], record["as_of"], record["dataset"], record["pack"]) == (
        "good",
        "2026-03-31",
        "tiny",
        "weekly",
    )
    assert record["versions"]["papermill"] and record["fingerprint"]
    good, variant = record["notebooks"]
    assert (variant["status"], variant["error"], variant["parameters"]["window"]) == (
        "good",
        None,
        "7d",
    )
    assert variant["finding"]["finding"] == "2 steps were read within 7d."
    assert good["finding"] == {
        "finding": "2 steps were read within 14d.",
        "rule": "",
        "more": [],
        "caveats": ["A fixture, not an analysis."],
        "next_step": "Nothing: this notebook only tests the runner.",
        "owner": "analyst",
    }
    assert good["title"] == "Do steps follow each other?"


def test_a_failed_run_neither_replaces_the_good_one_nor_moves_latest(runs):
    assert runs.failed.returncode == 1
    assert os.readlink(runs.home / "latest") == "2026-03-31"
    assert json.loads((runs.home / "latest/run.json").read_text())["status"] == "good"
    assert json.loads((runs.failed_folder / "run.json").read_text())["status"] == "failed"
    assert not list(runs.home.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("failing", "ZeroDivisionError: division by zero"),
        ("exits", "the notebook ended before its last cell (sys.exit?)"),
        ("dies", "the kernel died (out of memory?)"),
        ("silent", "the notebook hands out no finding (mctlib.report.finding)"),
    ],
)
def test_what_papermill_lets_pass_is_a_failure(runs, name, error):
    reports = {
        r["name"]: r for r in json.loads((runs.failed_folder / "run.json").read_text())["notebooks"]
    }
    assert (reports[name]["status"], reports[name]["error"]) == ("failed", error)
    assert reports["good"]["status"] == "good"
    assert f"{name}: FAILED - {error}" in runs.failed.stdout
    assert error in (runs.failed_folder / "index.html").read_text()
    assert error in (runs.failed_folder / "log.txt").read_text()


def test_the_partial_notebook_keeps_its_traceback(runs):
    notebook = nbformat.read(runs.failed_folder / "failing.ipynb", as_version=4)
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    assert "the traceback must be kept" in "".join(
        line for output in outputs for line in output.get("traceback", [])
    )
    page = (runs.failed_folder / "failing.html").read_text()
    assert "This report failed" in page and "ZeroDivisionError" in page


def test_the_page_is_self_contained_and_without_code(runs):
    page = (runs.good_folder / "good.html").read_text()
    assert (
        '<html lang="en">' in page
        and "<title>Do steps follow each other? - 31 March 2026</title>" in page
    )
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(
        r"<script|<link|@import|<iframe|https?://|url\(|src=\"(?!data:image/png;base64,)", page
    )
    assert "report.table" not in page and "import report" not in page
    assert re.findall(r"<img [^>]*alt=\"([^\"]*)\"", page) == ["Users by event"]
    finding = page.index("2 steps were read within 14d.")
    assert (
        finding
        < page.index('href="#Picture"')
        < page.index('<h2 id="Picture"')
        < page.index("<img")
    )


def test_a_script_in_an_event_name_stays_text(runs):
    assert SCRIPT in (runs.good_folder / "tables/good/events.csv").read_text()
    for page in runs.good_folder.glob("*.html"):
        assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (runs.good_folder / "good.html").read_text()


def test_the_index_lists_every_run(runs):
    page = (runs.root / "outputs/index.html").read_text()
    assert (
        'href="weekly/2026-03-31/index.html"' in page
        and 'href="weekly/2026-03-31.failed/index.html"' in page
    )
    assert "failed: failing, exits, dies, silent" in page
    assert not re.search(r"<script|<link|https?://", page)


# ---- publishing, without kernels


def finished(home, as_of, status="good"):
    """A run folder as `_publish` finds it."""
    folder = home / f".{as_of}.tmp"
    folder.mkdir(parents=True)
    record = run.RunRecord(
        "weekly", "tiny", as_of, status, "2026-04-01T06:00:00Z", 1.0, "", None, {}, []
    )
    (folder / "run.json").write_text(json.dumps(vars(record)))
    return record, folder


def test_latest_follows_the_newest_day_and_keep_lets_old_runs_go(tmp_path):
    home = tmp_path / "weekly"
    for as_of, status in [
        ("2026-03-01", "good"),
        ("2026-03-08", "failed"),
        ("2026-03-15", "good"),
        ("2026-03-29", "failed"),
        ("2026-03-22", "good"),
        ("2026-03-15", "good"),
    ]:
        run._publish(*finished(home, as_of, status), home, 2)
    assert sorted(p.name for p in home.iterdir()) == [
        "2026-03-15",
        "2026-03-22",
        "2026-03-29.failed",
        "latest",
    ]
    assert os.readlink(home / "latest") == "2026-03-22"
    run._publish(*finished(home, "2026-03-29"), home, 2)
    assert sorted(p.name for p in home.iterdir()) == ["2026-03-22", "2026-03-29", "latest"]
    assert os.readlink(home / "latest") == "2026-03-29"


def test_a_reader_never_sees_a_run_without_its_record(tmp_path):
    home, missing, done = tmp_path / "weekly", [], threading.Event()
    run._publish(*finished(home, "2026-03-01"), home, None)

    def read():
        while not done.is_set():
            if not os.path.exists(home / "latest/run.json"):
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        run._publish(*finished(home, "2026-03-01"), home, None)
    done.set()
    reader.join()
    assert not missing


def test_a_second_run_of_the_pack_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    hold = "import sys, time, pathlib; from mctlib.runner.run import _lock\nwith _lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(
                ParameterError,
                match=f"is being run already, by process {other.pid}; this run did not start",
            ),
            run._lock(tmp_path),
        ):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with run._lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


# ---- runs that are stopped, killed, or out of room


@pytest.fixture
def running(tmp_path):
    """A run whose only notebook sleeps, its kernel started: the project, the process and all processes below it."""
    root = make_project(tmp_path / "project")
    (root / "notebooks/slow.ipynb").write_text(
        (NOTEBOOKS / "silent.ipynb")
        .read_text()
        .replace("print('no finding')", "import time; time.sleep(60)")
    )
    (root / "params/weekly.yaml").write_text("dataset: tiny\nnotebooks:\n  slow:\n")
    runner = subprocess.Popen(
        [sys.executable, "-m", "mctlib", "run", "params/weekly.yaml"],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
    )
    below, end = [], time.monotonic() + 60
    while not any("ipykernel_launcher" in " ".join(process.cmdline()) for process in below):
        assert runner.poll() is None and time.monotonic() < end
        time.sleep(0.2)
        below = [
            p
            for p in psutil.Process(runner.pid).children(recursive=True)
            if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
        ]
    yield root, runner, below
    for process in (runner, *below):
        if process.is_running() if isinstance(process, psutil.Process) else process.poll() is None:
            process.kill()
    runner.communicate()


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells a process that its parent was killed"
)
def test_the_workers_of_a_killed_run_end_and_the_next_run_is_its_own(running):
    root, runner, below = running
    runner.kill()
    runner.wait()
    assert not psutil.wait_procs(below, timeout=10)[1]
    (orphan,) = (root / "outputs/weekly").glob(".2026-03-31.*.tmp")
    assert orphan.name == f".2026-03-31.{runner.pid}.tmp"
    (root / "params/weekly.yaml").write_text("dataset: tiny\nnotebooks:\n  good:\n")
    after = mctlib(root, "run", "params/weekly.yaml")
    assert after.returncode == 0, after.stderr
    assert sorted(p.name for p in (root / "outputs/weekly").iterdir()) == [
        ".lock",
        "2026-03-31",
        "latest",
    ]
    assert {p.stem for p in (root / "outputs/weekly/2026-03-31").glob("*.ipynb")} == {"good"}


def test_a_stopped_run_says_so_and_leaves_nothing(running):
    root, runner, below = running
    runner.send_signal(signal.SIGTERM)
    assert runner.communicate(timeout=30)[1] == "Stopped; nothing was published.\n"
    assert runner.returncode == 130
    assert not psutil.wait_procs(below, timeout=10)[1]
    assert [p.name for p in (root / "outputs/weekly").iterdir()] == [".lock"]


@pytest.fixture
def in_threads(monkeypatch):
    """Workers as threads, so that a test can replace what they do."""
    monkeypatch.setattr(run, "ProcessPoolExecutor", lambda n, *_, **__: ThreadPoolExecutor(n))


def test_half_a_notebook_is_a_failed_report(project, tmp_path, monkeypatch, in_threads):
    def half(report, folder, *_):
        (folder / f"{report.name}.ipynb").write_text('{"cells": [')
        return 1.0, None

    monkeypatch.setattr(run, "_execute", half)
    record = run.run_pack("params/weekly.yaml", outputs=tmp_path)
    assert {(r.status, r.error) for r in record.notebooks} == {
        ("failed", "the notebook was not written to its end")
    }
    assert os.path.exists(f"{record.folder}/index.html") and not os.path.exists(
        f"{record.folder}/good.ipynb"
    )


@pytest.mark.parametrize("step", ["_execute", "_export"])
def test_a_full_disk_is_said_and_the_last_run_stands(
    project, tmp_path, monkeypatch, in_threads, step
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run._publish(*finished(tmp_path / "weekly", "2026-03-31"), tmp_path / "weekly", None)
    before = (tmp_path / "weekly/latest/run.json").read_text()
    monkeypatch.setattr(run, "_execute", lambda *_: (1.0, "not of interest"))
    monkeypatch.setattr(run, step, full)
    result = CliRunner().invoke(main, ["run", "params/weekly.yaml", "--outputs", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert (
        result.stderr.splitlines()[-1]
        == f"Error: {tmp_path}/weekly: the disk is full; nothing was published."
    )
    assert "Traceback" not in result.stderr
    assert (tmp_path / "weekly/latest/run.json").read_text() == before
    assert sorted(p.name for p in (tmp_path / "weekly").iterdir()) == [
        ".lock",
        "2026-03-31",
        "latest",
    ]
