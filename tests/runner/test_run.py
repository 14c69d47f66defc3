"""The runner: what it refuses, what it publishes, what it keeps from being published."""

import errno
import html
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
import pytest
import yaml
from click.testing import CliRunner

from mctlib.__main__ import main
from mctlib.contract import ParameterError
from mctlib.runner import execute, publish, run
from mctlib.runner.record import Report, RunRecord
from tests.support.project import NOTEBOOKS, SCRIPT, make_project, mctlib

# ---- a good run, then a failing one of the same day (see conftest.runs)


ENDS = ("csv", "parquet")


@pytest.mark.integration
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
        *(f"tables/{name}/events.{end}" for name in ("good", "variant") for end in ENDS),
        *(f"figures/{name}/users-by-event.svg" for name in ("good", "variant")),
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
        "how_sure": [],
        "details": [""],
        "rules": [],
        "caveats": ["A fixture, not an analysis."],
    }
    (headline,) = good["headlines"]
    assert (headline["name"], headline["value"], headline["verdict"]) == ("steps", 2, "")
    (action,) = good["actions"]
    assert action["text"] == "Do nothing." and action["role"] == "Analyst"
    assert good["title"] == "Do steps follow each other?"


@pytest.mark.integration
def test_a_failed_run_neither_replaces_the_good_one_nor_moves_latest(runs):
    assert runs.failed.returncode == 1
    assert (runs.home / "latest").readlink() == Path("2026-03-31")
    assert json.loads((runs.home / "latest/run.json").read_text())["status"] == "good"
    assert json.loads((runs.failed_folder / "run.json").read_text())["status"] == "failed"
    assert not list(runs.home.glob(".*.tmp"))


@pytest.mark.integration
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


@pytest.mark.integration
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


@pytest.mark.integration
def test_the_page_is_self_contained_and_without_code(runs):
    page = (runs.good_folder / "good.html").read_text()
    assert (
        '<html lang="en">' in page
        and "<title>Do steps follow each other? · 31 March 2026</title>" in page
    )
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(
        r"<script|<link|@import|<iframe|https?://(?!www\.w3\.org/)|url\((?!#)|src=", page
    )
    assert "report.table" not in page and "import report" not in page
    drawings = re.findall(r'<svg (?=[^>]*role="img")[^>]*aria-label="([^"]*)"', page)
    assert drawings == ["Users by event: two events"] * 2, "for a desk, and for a phone"
    finding = page.index("2 steps were read within 14d.")
    assert finding < page.index('<li class="tile') < page.index("Do nothing.")
    part, analyst = (page.index(f"<h2>{name}</h2>") for name in ("Picture", "For the analyst"))
    assert page.index("Do nothing.") < part < page.index(drawings[0]) < analyst
    assert "two events" in page[part : page.index("</summary>", part)]


@pytest.mark.integration
def test_a_script_in_an_event_name_stays_text(runs):
    assert SCRIPT in (runs.good_folder / "tables/good/events.csv").read_text()
    for page in runs.good_folder.glob("*.html"):
        assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (runs.good_folder / "good.html").read_text()


@pytest.mark.integration
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
    """A run folder as `publish` finds it."""
    folder = home / f".{as_of}.tmp"
    folder.mkdir(parents=True)
    record = RunRecord(
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
        publish.publish(*finished(home, as_of, status), home, 2)
    assert sorted(p.name for p in home.iterdir()) == [
        "2026-03-15",
        "2026-03-22",
        "2026-03-29.failed",
        "latest",
    ]
    assert (home / "latest").readlink() == Path("2026-03-22")
    publish.publish(*finished(home, "2026-03-29"), home, 2)
    assert sorted(p.name for p in home.iterdir()) == ["2026-03-22", "2026-03-29", "latest"]
    assert (home / "latest").readlink() == Path("2026-03-29")


def test_a_reader_never_sees_a_run_without_its_record(tmp_path):
    home, missing, done = tmp_path / "weekly", [], threading.Event()
    publish.publish(*finished(home, "2026-03-01"), home, None)

    def read():
        while not done.is_set():
            if not (home / "latest/run.json").exists():
                missing.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        publish.publish(*finished(home, "2026-03-01"), home, None)
    done.set()
    reader.join()
    assert not missing


FOREIGN = {
    "half": b'{"pack": "weekly"',
    "list": b"[]",
    "no JSON": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "other fields": b'{"name": "somebody"}',
    "other pack": b"weekly -> monthly",
    "copied folder": b"as it is",
    "no day": b"2026-03-01 -> 2026/03/01",
    "a way out": b"[] -> ../../exports",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_record_is_skipped_and_said_and_its_folder_stays(tmp_path, content):
    home = tmp_path / "weekly"
    publish.publish(*finished(home, "2026-03-08"), home, 1)
    record, folder = finished(home, "2026-03-01")
    if b"->" in content or content == b"as it is":
        old, _, new = content.decode().partition(" -> ")
        facts = vars(record)
        if "way" in new or "exports" in new:
            facts["notebooks"] = [vars(Report(new, "notebooks/x.ipynb", {}))]
        text = json.dumps(facts)
        (folder / "run.json").write_text(text.replace(old, new) if new else text)
    else:
        (folder / "run.json").write_bytes(content)
    foreign = home / ("2026-03-01" if content != b"as it is" else "2026-03-01 (copy)")
    folder.rename(foreign)
    runs, notes = publish.runs_of(home)
    assert [run.as_of for run in runs] == ["2026-03-08"]
    (note,) = notes
    assert note.startswith(f"weekly/{foreign.name}/run.json was skipped")
    publish.publish(*finished(home, "2026-03-15"), home, 1)
    assert foreign.exists() and not (home / "2026-03-08").exists()
    assert html.escape(note) in (tmp_path / "index.html").read_text()


def test_what_somebody_laid_beside_a_run_stays(tmp_path):
    home = tmp_path / "weekly"
    publish.publish(*finished(home, "2026-03-01"), home, 1)
    (home / "2026-03-01/notes.txt").write_text("mine")
    publish.publish(*finished(home, "2026-03-01"), home, 1)
    assert (home / "2026-03-01/notes.txt").read_text() == "mine"
    publish.publish(*finished(home, "2026-03-08"), home, 1)
    assert [p.name for p in (home / "2026-03-01").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("name", ["weekly/2026-03-31", "weekly/latest", "index.html"])
def test_what_stands_in_the_place_of_a_run_and_is_none_is_set_aside(
    tmp_path, monkeypatch, name, atomic
):
    if not atomic:
        monkeypatch.setattr(publish.ctypes, "CDLL", lambda _: None)  # a system that cannot
    home, mine = tmp_path / "weekly", tmp_path / name
    mine.parent.mkdir(exist_ok=True)
    if name != "index.html":
        mine.mkdir()
        mine /= "run.json"
    mine.write_text("mine")
    record = publish.publish(*finished(home, "2026-03-31"), home, 1)
    assert record.notes == [
        f"{tmp_path / name} was made by no run; it is kept as {Path(name).name}.kept."
    ]
    kept = Path(f"{tmp_path / name}.kept")
    assert (kept if kept.is_file() else kept / "run.json").read_text() == "mine"
    assert json.loads((home / "latest/run.json").read_text())["status"] == "good"
    assert not list(home.glob(".*"))


def test_a_run_is_published_though_the_index_of_all_runs_cannot_be_written(tmp_path):
    home = tmp_path / "weekly"
    (tmp_path / "index.html").mkdir()
    record = publish.publish(*finished(home, "2026-03-31"), home, 1)
    assert record.notes == [
        "The run is published, but latest and the index may be old: "
        f"{tmp_path}/index.html: Is a directory."
    ]
    assert json.loads((home / "latest/run.json").read_text())["as_of"] == "2026-03-31"
    (tmp_path / "index.html").rmdir()
    assert not publish.publish(*finished(home, "2026-03-31"), home, 1).notes
    assert "2026-03-31" in (tmp_path / "index.html").read_text()


def test_leftovers_of_runs_go_and_other_hidden_files_stay(tmp_path):
    home = tmp_path / "weekly"
    _, folder = finished(home, "2026-03-01")
    folder.rename(home / ".2026-03-01.77.old.tmp")  # killed between the two renames of a swap
    for name in (".2026-03-08.77.tmp", ".mine.tmp"):
        (home / name).mkdir()
    (home / ".index.77.tmp").touch()
    publish.remove_leftovers(home)
    assert sorted(path.name for path in home.iterdir()) == [".mine.tmp", "2026-03-01"]


def test_a_second_run_of_the_pack_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    hold = (
        "import sys, time, pathlib; from mctlib.runner.publish import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"held\n"
        with (
            pytest.raises(
                ParameterError,
                match=f"is being run already, by process {other.pid}; this run did not start",
            ),
            publish.locked(tmp_path),
        ):
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with publish.locked(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_a_worker_starts_without_what_only_the_run_or_nobody_needs():
    """A second each: the grammar behind jsonschema, and the event log with its database."""
    code = "import sys, mctlib.runner.execute; print(sys.modules.keys() & {'lark', 'duckdb'})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"


# ---- runs that are stopped, killed, or out of room


@pytest.fixture
def running(tmp_path):
    """A run whose only notebook sleeps, its kernel started.

    The project, the process and all processes below it.
    """
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


@pytest.mark.integration
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


@pytest.mark.integration
def test_a_stopped_run_says_so_and_leaves_nothing(running):
    root, runner, below = running
    runner.send_signal(signal.SIGTERM)
    assert runner.communicate(timeout=30)[1] == "Stopped; nothing was published.\n"
    assert runner.returncode == 130
    assert not psutil.wait_procs(below, timeout=10)[1]
    assert [p.name for p in (root / "outputs/weekly").iterdir()] == [".lock"]


ENDLESS = {
    "time": ("import time; time.sleep(60)", "it took longer than 5s (the timeout of the pack)"),
    "deaf": (
        "import signal; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]\nwhile True: pass",
        "it took longer than 5s (the timeout of the pack)",
    ),
    "output": ("while True: print('x' * 100_000)", "it wrote more than 32 MB of output"),
}


@pytest.mark.integration
def test_a_notebook_without_an_end_is_ended_and_told(tmp_path):
    """One of them at a time: on a busy machine even a kernel's start takes seconds."""
    root = make_project(tmp_path / "project")
    text = (NOTEBOOKS / "silent.ipynb").read_text()
    for name, (source, _) in ENDLESS.items():
        code = text.replace("print('no finding')", json.dumps(source)[1:-1])
        assert code != text
        (root / f"notebooks/{name}.ipynb").write_text(code)
    limit = {"time": "5s", "deaf": "5s", "output": "60s"}
    for name, (_, said) in ENDLESS.items():
        pack = f"dataset: tiny\ntimeout: {limit[name]}\nnotebooks:\n  {name}:\n"
        (root / "params/weekly.yaml").write_text(pack)
        ended = mctlib(root, "run", "params/weekly.yaml")
        assert ended.returncode == 1 and f"{said} and was ended" in " ".join(ended.stdout.split())
        written = root / f"outputs/weekly/2026-03-31.failed/{name}.ipynb"
        assert written.stat().st_size < 1 << 20
    with publish.locked(root / "outputs/weekly"):
        pass  # nobody holds it any more


def test_half_a_notebook_is_a_failed_report(tmp_path):
    report = Report("good", "notebooks/good.ipynb", {})
    (tmp_path / "good.ipynb").write_text('{"cells": [')
    execute.judge(report, tmp_path)
    assert report.status == "failed"
    assert report.error == "the notebook was not written to its end"
    record, _ = finished(tmp_path / "weekly", "2026-03-31", "failed")
    record.notebooks = [report]
    publish.write_pages(record, tmp_path)
    assert report.error in (tmp_path / "index.html").read_text()
    assert not (tmp_path / "good.ipynb").exists()


@pytest.mark.parametrize(("free", "begins"), [(run.ROOM - 1, False), (run.ROOM, True)])
def test_a_run_begins_only_where_there_is_room(project, tmp_path, monkeypatch, free, begins):
    began = []
    monkeypatch.setattr(run.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    monkeypatch.setattr(execute, "execute_all", lambda *_: began.append(1) or 1 / 0)
    result = CliRunner().invoke(main, ["run", "params/weekly.yaml", "--outputs", str(tmp_path)])
    assert (result.exit_code, len(began)) == (2, begins)
    if not begins:
        said = f"Error: {tmp_path / 'weekly'}: less than 100 MB are free; nothing was run.\n"
        assert result.stderr == said
        assert not (tmp_path / "weekly").exists()


@pytest.mark.integration
def test_a_full_disk_is_said_and_the_last_run_stands(project, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(publish, "write_pages", full)
    refused_for_want_of_room(tmp_path)


@pytest.mark.integration
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_for_a_table_is_said_too(project, tmp_path):
    text = (NOTEBOOKS / "silent.ipynb").read_text()
    write = "open('/dev/full', 'w', buffering=1).write('a table\\\\n')"
    (project / "notebooks/full.ipynb").write_text(text.replace("print('no finding')", write))
    (project / "params/weekly.yaml").write_text("dataset: tiny\nnotebooks:\n  full:\n")
    refused_for_want_of_room(tmp_path)


def refused_for_want_of_room(tmp_path):
    home = tmp_path / "weekly"
    publish.publish(*finished(home, "2026-03-31"), home, None)
    before = (home / "latest/run.json").read_text()
    result = CliRunner().invoke(main, ["run", "params/weekly.yaml", "--outputs", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (2, "")
    last = result.stderr.splitlines()[-1]
    assert last == f"Error: {home}: the disk is full; nothing was published."
    assert "Traceback" not in result.stderr
    assert (home / "latest/run.json").read_text() == before
    assert sorted(p.name for p in home.iterdir()) == [".lock", "2026-03-31", "latest"]


@pytest.mark.integration
def test_past_runs_fill_the_course_and_what_is_too_early_is_said(tmp_path):
    root = make_project(tmp_path / "project")
    said = {
        "2026-03-09": "Tried.",
        "2026-03-10": "Mended.",
        "2026-04-06": "Held.",
        "2026-04-07": "",
    }
    pack = {
        "dataset": "tiny",
        "notebooks": {"good": {"note": said}, "variant": {"notebook": "good"}},
    }
    (root / "params/weekly.yaml").write_text(yaml.safe_dump(pack))
    done = mctlib(root, "run", "params/weekly.yaml", "--back", "5w", "--as-of", "2026-03-30")
    assert done.returncode == 0, done.stderr
    days = ["2026-03-02", "2026-03-09", "2026-03-16", "2026-03-23"]
    assert done.stdout.splitlines()[:4] == [f"{day}: good" for day in days]
    assert "2026-02-23: not run." in done.stderr and "lies outside the data" in done.stderr
    made = {path.name for path in (root / "outputs/weekly").glob("2026-*")}
    assert made == {*days, "2026-03-30"}
    assert (root / "outputs/weekly/latest").resolve().name == "2026-03-30"
    notes = []
    for day in (*days, "2026-03-30"):
        record = json.loads((root / f"outputs/weekly/{day}/run.json").read_text())
        notes.append([*record["notebooks"][0]["note"].values()])
    both = ["Tried.", "Mended."]
    assert notes == [["Tried."], both, both, both, [*both, "Held."]], "of a week after each day"


def test_weeks_back_must_be_weeks(project):
    with pytest.raises(ParameterError, match='back: "3 months" must be a number of weeks, such as'):
        run.past_days("params/weekly.yaml", "3 months")


@pytest.mark.integration
def test_a_note_of_the_analyst_stands_under_the_sentence(tmp_path):
    root = make_project(tmp_path / "project")
    (root / "params/weekly.yaml").write_text(
        'dataset: tiny\nnotebooks: {good: {note: {"2026-05-30": "Mended <b>on Friday</b>."}}}\n'
    )
    done = mctlib(root, "run", "params/weekly.yaml")
    assert done.returncode == 0, done.stderr
    page = (root / "outputs/weekly/latest/good.html").read_text()
    assert '<time datetime="2026-05-30">30 May 2026</time>: Mended &lt;b&gt;on Friday' in page
    (root / "params/weekly.yaml").write_text(
        "dataset: tiny\nnotebooks: {good: {note: {Friday: Mended.}}}\n"
    )
    done = mctlib(root, "run", "params/weekly.yaml")
    assert done.returncode == 2
    assert "params/weekly.yaml, good: note" in done.stderr and "Friday" in done.stderr
