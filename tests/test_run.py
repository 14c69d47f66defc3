"""The runner: what it refuses, what it publishes, what it keeps from being published."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from tests.conftest import GOOD, SCRIPT

from mctlib import pack, run
from mctlib.store import DataError, ParameterError

# ---- before any kernel


def good(**changes):
    """The pack's text with the settings of its report `good` replaced."""
    entry = json.dumps(changes)
    return f"dataset: tiny\nnotebooks:\n  good: {entry}\n"


WRONG = {
    "unknown key": ("dataset: tiny\nnotebook: {}\nnotebooks: {good: {}}\n", 'params/weekly.yaml: unknown key "notebook". Did you mean "notebooks"?'),
    "unknown key of a report": (good(parms="x.yaml"), 'unknown key "notebooks, good, parms". Did you mean "params"?'),
    "no notebooks": ("dataset: tiny\n", 'the key "notebooks" is missing'),
    "empty": ("", 'must hold "name: value" lines'),
    "not yaml": ("dataset: [tiny\nnotebooks: {}", "params/weekly.yaml, line 2: "),
    "twice": ("dataset: tiny\ndataset: tiny\nnotebooks: {good: }\n", 'line 1: "dataset" stands here twice'),
    "dataset": (GOOD.replace("tiny", "tinny"), 'Did you mean "tiny"?'),
    "notebook": (good(notebook="god"), 'there is no notebook "god" in notebooks/. Did you mean "good"?'),
    "report name": ("dataset: tiny\nnotebooks: {../good: {}}\n", '"../good" cannot name a report'),
    "params file": (good(params="params/wekly.yaml"), 'params/wekly.yaml cannot be read (No such file or directory). Did you mean "weekly"?'),
    "parameter": (good(set={"windw": "7d"}), 'params/weekly.yaml, good: notebooks/good.ipynb has no parameter "windw". Did you mean "window"?'),
    "type": (good(set={"min_users": "ten"}), 'parameter "min_users" of good must be int, not "ten"'),
    "type below a list": (good(set={"steps": ["signed_up", 2]}), 'parameter "steps" of good must be list[str | list[str]], not ["signed_up", 2]'),
    "a word is not a boolean": ("dataset: tiny\nnotebooks:\n  good: {set: {min_users: yes}}\n", 'must be int, not "yes"'),
    "window": (good(set={"window": "fortnight"}), '"fortnight" is not a duration; write a number with its unit'),
    "negative window": (good(set={"window": "-3d"}), '"-3d" must be longer than nothing'),
    "window without unit": (good(set={"window": 14}), 'parameter "window" of good must be str, not 14'),
    "event": (good(set={"steps": ["signed_up", ["profile_complete"]]}), 'event "profile_complete" does not occur in tiny. Did you mean "profile_completed"?'),
    "one step": (good(set={"steps": ["signed_up"]}), "needs at least two steps"),
    "pack's own": (good(set={"as_of": "2026-03-02"}), '"as_of" is one for the whole pack'),
    "as_of before": ("as_of: 2026-02-28\n" + GOOD, "as_of 2026-02-28 lies outside the data, which run from 2026-03-01 to 2026-03-31"),
    "as_of after": ("as_of: 2026-04-01\n" + GOOD, "as_of 2026-04-01 lies outside the data"),
    "as_of unreadable": ("as_of: yesterdy\n" + GOOD, 'params/weekly.yaml: as_of is "yesterdy"; write a day like 2026-03-31, or latest'),
    "credential in a value": (good(set={"by": "postgres://me:hunter2@host/db"}), 'parameter "by" of good looks like a credential'),
    "number or text": ("dataset: tiny\nnotebooks:\n  good: {set: {by: 1.10}}\n", '1.10 can be a number or a text: write 1.1 or "1.10"'),
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


def test_parameters_merge_in_order(project):
    (project / "params/good.yaml").write_text("dataset: other\nas_of: 2020-01-01\nwindow: 3d\nmin_users: 12\n")
    (project / "params/weekly.yaml").write_text(good(params="params/good.yaml", set={"window": "7d"}))
    _, _, (report,) = pack.check_pack("params/weekly.yaml")
    assert report.parameters == {"dataset": "tiny", "as_of": "2026-03-31", "window": "7d", "min_users": 12}


@pytest.mark.parametrize(("text", "value"), [
    ("2026-06-30", "2026-06-30"), ("no", "no"), ("12:30:00", "12:30:00"), ("1e3", 1000.0), ("0.5", 0.5), ("7", 7), ("-2", -2), ("true", True),
    ("~", None), ('"010"', "010"), ("14d", "14d"), ("2.0", 2.0), ("0o7", "0o7"), ("1_000", "1_000"),
])  # fmt: skip
def test_yaml_values_mean_what_they_look_like(tmp_path, text, value):
    (tmp_path / "x.yaml").write_text(f"x: {text}")
    read = pack.read_yaml(tmp_path / "x.yaml")["x"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("text", ["010", "1.10", "3.20", "1.", ".5"])
def test_yaml_values_that_would_change_are_refused(tmp_path, text):
    (tmp_path / "x.yaml").write_text(f"a: 1\nx: {text}")
    with pytest.raises(ParameterError, match=rf'line 2: {re.escape(text)} can be a number or a text: write .* or "{re.escape(text)}"'):
        pack.read_yaml(tmp_path / "x.yaml")


@pytest.mark.parametrize(("last", "day"), [("2026-03-31 23:30", "2026-03-31"), ("2026-03-31 22:59", "2026-03-30"), ("2026-03-31 00:00", "2026-03-31")])
def test_latest_is_the_last_complete_day(last, day):
    data = SimpleNamespace(first_event=pd.Timestamp("2026-01-01", tz="UTC"), last_event=pd.Timestamp(last, tz="UTC"))
    assert pack._resolve("x.yaml", "latest", data) == day


# ---- a good run, then a failing one of the same day (see conftest.runs)


def test_a_good_run_leaves_everything_in_its_place(runs):
    assert runs.good.returncode == 0, runs.good.stderr
    names = {str(p.relative_to(runs.good_folder)) for p in runs.good_folder.rglob("*") if p.is_file()}
    reports = {f"{name}.{kind}" for name in ("good", "variant") for kind in ("html", "ipynb")}
    assert names == reports | {"index.html", "run.json", "log.txt", "tables/good/events.csv", "tables/variant/events.csv"}
    record = json.loads((runs.good_folder / "run.json").read_text())
    assert (record["status"], record["as_of"], record["dataset"], record["pack"]) == ("good", "2026-03-31", "tiny", "weekly")
    assert record["versions"]["papermill"] and record["fingerprint"]
    good, variant = record["notebooks"]
    assert (variant["status"], variant["error"], variant["parameters"]["window"]) == ("good", None, "7d")
    assert variant["finding"]["finding"] == "2 steps were read within 7d."
    assert good["finding"] == {"finding": "2 steps were read within 14d.", "rule": "", "more": [], "caveats": ["A fixture, not an analysis."],
                               "next_step": "Nothing: this notebook only tests the runner.", "owner": "analyst"}  # fmt: skip
    assert good["title"] == "Do steps follow each other?"


def test_a_failed_run_neither_replaces_the_good_one_nor_moves_latest(runs):
    assert runs.failed.returncode == 1
    assert os.readlink(runs.home / "latest") == "2026-03-31"
    assert json.loads((runs.home / "latest/run.json").read_text())["status"] == "good"
    assert json.loads((runs.failed_folder / "run.json").read_text())["status"] == "failed"
    assert not list(runs.home.glob(".*.tmp"))


@pytest.mark.parametrize(("name", "error"), [
    ("failing", "ZeroDivisionError: division by zero"), ("exits", "the notebook ended before its last cell (sys.exit?)"),
    ("dies", "the kernel died (out of memory?)"), ("silent", "the notebook hands out no finding (mctlib.report.finding)"),
])  # fmt: skip
def test_what_papermill_lets_pass_is_a_failure(runs, name, error):
    reports = {r["name"]: r for r in json.loads((runs.failed_folder / "run.json").read_text())["notebooks"]}
    assert (reports[name]["status"], reports[name]["error"]) == ("failed", error)
    assert reports["good"]["status"] == "good"
    assert f"{name}: FAILED - {error}" in runs.failed.stdout
    assert error in (runs.failed_folder / "index.html").read_text()
    assert error in (runs.failed_folder / "log.txt").read_text()


def test_the_partial_notebook_keeps_its_traceback(runs):
    notebook = nbformat.read(runs.failed_folder / "failing.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "the traceback must be kept" in "".join(line for output in outputs for line in output.get("traceback", []))
    page = (runs.failed_folder / "failing.html").read_text()
    assert "This report failed" in page and "ZeroDivisionError" in page


def test_the_page_is_self_contained_and_without_code(runs):
    page = (runs.good_folder / "good.html").read_text()
    assert '<html lang="en">' in page and "<title>Do steps follow each other? - 31 March 2026</title>" in page
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in page
    assert not re.search(r"<script|<link|@import|<iframe|https?://|url\(|src=\"(?!data:image/png;base64,)", page)
    assert "report.table" not in page and "import report" not in page
    assert re.findall(r"<img [^>]*alt=\"([^\"]*)\"", page) == ["Users by event"]
    finding = page.index("2 steps were read within 14d.")
    assert finding < page.index('href="#Picture"') < page.index('<h2 id="Picture"') < page.index("<img")


def test_a_script_in_an_event_name_stays_text(runs):
    assert SCRIPT in (runs.good_folder / "tables/good/events.csv").read_text()
    for page in runs.good_folder.glob("*.html"):
        assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (runs.good_folder / "good.html").read_text()


def test_the_index_lists_every_run(runs):
    page = (runs.root / "outputs/index.html").read_text()
    assert 'href="weekly/2026-03-31/index.html"' in page and 'href="weekly/2026-03-31.failed/index.html"' in page
    assert "failed: failing, exits, dies, silent" in page
    assert not re.search(r"<script|<link|https?://", page)


# ---- publishing, without kernels


def finished(home, as_of, status="good"):
    """A run folder as `_publish` finds it."""
    folder = home / f".{as_of}.tmp"
    folder.mkdir(parents=True)
    record = run.RunRecord("weekly", "tiny", as_of, status, "2026-04-01T06:00:00Z", 1.0, "", None, {}, [])
    (folder / "run.json").write_text(json.dumps(vars(record)))
    return record, folder


def test_latest_follows_the_newest_day_and_keep_lets_old_runs_go(tmp_path):
    home = tmp_path / "weekly"
    for as_of, status in [("2026-03-01", "good"), ("2026-03-08", "failed"), ("2026-03-15", "good"), ("2026-03-29", "failed"), ("2026-03-22", "good"), ("2026-03-15", "good")]:
        run._publish(*finished(home, as_of, status), home, 2)
    assert sorted(p.name for p in home.iterdir()) == ["2026-03-15", "2026-03-22", "2026-03-29.failed", "latest"]
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
    hold = "import sys, time, pathlib; from mctlib.run import _lock\nwith _lock(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ParameterError, match=f"is being run already, by process {other.pid}; this run did not start"), run._lock(tmp_path):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with run._lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"
