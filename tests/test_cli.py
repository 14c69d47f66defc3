"""The commands: thin, and without a traceback for a user's mistake."""

import fcntl
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from click.testing import CliRunner

from mctlib.__main__ import main
from mctlib.commands import alerting
from mctlib.eventlog.build import owner
from mctlib.runner.record import RunRecord
from tests.support.project import SCRIPT, pack_of
from tests.support.servers import http_server


def call(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def sentence(result):
    """The one sentence on stderr of a refused command."""
    assert result.exit_code == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    return line


@pytest.mark.integration
def test_run_prints_each_finding_and_where_the_index_is(runs):
    assert runs.good.returncode == 0
    assert runs.good.stdout == (
        "good: 2 steps were read within 14d.\nvariant: 2 steps were read within 7d.\n\n"
        + f"{runs.good_folder}/index.html\n"
    )
    assert re.fullmatch(
        r"\[1/2\] (good|variant): good, \d+\.\d s\n\[2/2\] (good|variant): good, \d+\.\d s\n",
        runs.good.stderr,
    )


@pytest.mark.integration
def test_run_ends_with_1_when_a_notebook_failed(runs):
    assert runs.failed.returncode == 1
    assert runs.failed.stdout.endswith(f"\n{runs.failed_folder}/index.html\n")
    assert "Traceback" not in runs.failed.stderr


def test_check_starts_nothing_and_writes_no_report(project):
    result = call("check", "params/weekly.yaml")
    assert result.exit_code == 0
    said = "params/weekly.yaml is good: good, variant on tiny as of 2026-03-31.\n"
    assert result.output == said
    assert not (project / "outputs/weekly").exists()


UNREADABLE = "cannot be read (No such file or directory). Did you mean params/weekly.yaml?"


@pytest.mark.parametrize(
    ("command", "fragment"),
    [
        ("run params/wekly.yaml", f"params/wekly.yaml {UNREADABLE}"),
        ("check params/wekly.yaml", "Did you mean params/weekly.yaml?"),
        ("run weekly", f"weekly {UNREADABLE}"),
        ("run elsewhere/monthly.yaml", "params/ holds data.tiny.yaml, "),
        ("load shop", 'dataset: there is no "shop" in params/'),
        ("load params/data.tinny.yaml", 'Did you mean "tiny"?'),
        ("load tinny", 'Did you mean "tiny"?'),
        ("check tinny", 'Did you mean "tiny"?'),
        ("forget tinny --user exports/events.csv", 'Did you mean "tiny"?'),
        ("forget tiny --user ids.txt", "ids.txt: No such file or directory."),
        (
            "new data tiny exports/events.csv",
            "data.tiny.yaml exists already; it is not overwritten.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(project, command, fragment):
    assert fragment in sentence(call(*command.split()))


def test_a_wrong_parameter_is_refused_before_anything_is_written(project):
    (project / "params/weekly.yaml").write_text(pack_of("funnel", window="-3d"))
    assert '"-3d" must be longer than nothing' in sentence(call("run", "params/weekly.yaml"))
    assert not (project / "outputs/weekly").exists()


def test_several_mistakes_are_a_line_each(project):
    (project / "params/weekly.yaml").write_text(pack_of("funnel", window="-3d", order="any"))
    result = call("check", "params/weekly.yaml")
    assert result.exit_code == 2 and not result.stdout
    window, order = result.stderr.splitlines()
    assert window.startswith('Error: params/weekly.yaml: parameter "') and '"-3d" must be' in window
    assert order.startswith('Error: params/weekly.yaml: parameter "') and "must be one of" in order


def test_outputs_that_cannot_be_written(project, tmp_path):
    (tmp_path / "file").touch()
    said = sentence(call("run", "params/weekly.yaml", "--outputs", tmp_path / "file/reports"))
    assert said == f"Error: {tmp_path}/file/reports/weekly: Not a directory."


def test_outputs_without_permission(project, monkeypatch):
    def refuse(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    # root, who may run these tests, may write anywhere
    monkeypatch.setattr(Path, "mkdir", refuse)
    said = sentence(call("run", "params/weekly.yaml", "--outputs", "/reports"))
    assert said == "Error: /reports/weekly: Permission denied."


def test_a_pack_that_is_running_is_left_alone(project, tmp_path):
    (tmp_path / "weekly").mkdir()
    with (tmp_path / "weekly/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = sentence(call("run", "params/weekly.yaml", "--outputs", tmp_path))
    assert 'The pack "weekly" is being run already' in said
    assert [p.name for p in (tmp_path / "weekly").iterdir()] == [".lock"]


def test_load_accounts_for_every_row(project):
    result = call("load", "tiny")
    assert result.exit_code == 0
    # 40 sign-ups, 20 profiles, 10 scripts, one late sign-up, and one row whose time cannot be read
    # (see tests.support.project)
    assert re.search(
        r"^events +72 rows read = 71 kept \+ 1 rejected \(unreadable timestamp\)$",
        result.output,
        re.M,
    )
    *_, users, events, period = result.output.splitlines()
    assert (users, period) == ("40 users", "2026-03-01 08:00 to 2026-03-31 23:30 UTC")
    assert events == f"Events: signed_up 41, profile_completed 20, {SCRIPT} 10"


@pytest.mark.parametrize(("command", "code"), [("load tiny", 0), ("--help", 0), ("load none", 2)])
def test_a_reader_who_leaves_changes_nothing(project, command, code):
    left, output = os.pipe()
    os.close(left)
    told = [sys.executable, "-m", "mctlib", *command.split()]
    both = command == "load none"
    ended = subprocess.run(
        told, cwd=project, stdout=output, stderr=output if both else subprocess.PIPE
    )
    os.close(output)
    assert (ended.returncode, ended.stderr) == (code, None if both else b"")


def test_new_data_drafts_a_dataset_that_loads(project):
    drafted = project / "params/data.mine.yaml"
    try:
        result = call("new", "data", "mine", "exports/events.csv")
        assert result.exit_code == 0, result.output
        assert call("load", "mine").exit_code == 0
    finally:
        drafted.unlink(missing_ok=True)


def test_new_data_asks_for_what_it_does_not_find(project):
    drafted = project / "params/data.mine.yaml"
    (project / "exports/odd.csv").write_text("user_id,event,moment\nu,x,1\n")
    (project / "exports/page.html").write_text("<html>")
    try:
        result = call("new", "data", "mine", "exports/odd.csv", "exports/page.html")
        assert result.exit_code == 0, result.output
        left_out, asked, _ = result.output.splitlines()
        assert left_out.startswith("left out: exports/page.html is a web page (HTML)")
        assert asked == '"timestamp": "?"  # not found: which of moment?'
        assert "which column is the timestamp? its columns are" in sentence(call("load", "mine"))
    finally:
        drafted.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "command",
    ["check tinny", "run params/wekly.yaml", "new data tiny x.csv", "forget tinny --user x"],
)
def test_any_next_command_removes_what_a_killed_one_staged(project, command):
    """The dead process has the number of this one, as it often has in a container."""
    folder = project / "outputs/store"
    folder.mkdir(parents=True, exist_ok=True)
    dead = f"{os.getpid()}@{platform.node()}!1767225600.tmp"
    (folder / f".staging-a.{dead}").mkdir()
    (folder / f".staging-a.{dead}/staging.duckdb").touch()
    (folder / f"tiny.{dead}.moments").touch()
    call(*command.split())
    assert not list(folder.glob("*.tmp*")) and not list(folder.glob(".staging*"))


STOPPED = """
import os, signal, sys
from pathlib import Path
import duckdb
from mctlib.__main__ import main
from mctlib.sources import dataset

def build_store(*args, con, **kwargs):
    assert list(Path("outputs/store").glob(".staging-*/staging.duckdb"))
    os.kill(os.getpid(), int(sys.argv[1]))
    try:
        con.execute("SELECT sum(hash(i)) FROM range(100_000_000_000) t(i)")
    except KeyboardInterrupt:
        raise RuntimeError("Query interrupted") from None

dataset.build_store = build_store
main(["load", "tiny", "--fresh"], prog_name="mctlib")
"""


def default_signals():
    """As in a terminal: a shell in the background, or nohup, has a child ignore some."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_load_that_is_stopped_leaves_nothing_behind(project, stop):
    stopped = subprocess.run(
        [sys.executable, "-c", STOPPED, str(int(stop))],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=default_signals,
    )
    assert (stopped.returncode, stopped.stdout) == (130, "")
    assert stopped.stderr == "Stopped; nothing was published.\n"
    assert not list((project / "outputs/store").glob("*.tmp*"))


def test_a_command_that_is_stopped_while_it_cleans_up_leaves_nothing(project, monkeypatch):
    folder = project / "outputs/store"

    def stopped(*_, **__):
        (folder / f".staging-a.{owner()}.tmp").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr("mctlib.sources.dataset.open_log", stopped)
    assert call("load", "tiny").exit_code == 130
    assert not list(folder.glob(".staging*"))


def test_forget_says_whom_it_met_and_that_addresses_are_masked(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    rows = "ann,mail a@b.org,2026-01-05T00:00:00Z\nbob,mail b@b.org,2026-01-05T00:00:00Z\n"
    Path("e.csv").write_text("user_id,event,timestamp\n" + rows)
    Path("params/data.shop.yaml").write_text("name: shop\nevents: {path: e.csv}\n")
    Path("ids.txt").write_text("bob\nbop\n")
    result = call("forget", "shop", "--user", "ids.txt")
    assert (result.exit_code, result.output.splitlines()) == (
        0,
        [
            "events                2 rows read = 1 kept + 1 rejected (forgotten)",
            "1 of 2 ids to be forgotten were met and left out; is one of the others misspelt?",
            "e-mail addresses or phone numbers were masked: 1 in events.event",
            "1 users",
            "Events: mail [e-mail removed] 1",
            "2026-01-05 00:00 to 2026-01-05 00:00 UTC",
        ],
    )


# ---------------------------------------------------------------------------- alerts, the timeline


def show(project, *alerts, pack="shown", state="open", as_of="2026-03-31", acted_on=None):
    """A run of a pack, whose scorecard shows these alerts."""
    folder = project / "outputs" / pack / as_of
    (folder / "tables/scorecard").mkdir(parents=True)
    record = RunRecord(pack, "tiny", as_of, "good", "2026-04-01", 1.0, "", None, {}, [])
    (folder / "run.json").write_text(json.dumps(asdict(record)))
    table = pd.DataFrame({"alert_id": alerts}, dtype=str).assign(
        state=state, acted_on=pd.Timestamp(acted_on), again_on=pd.NaT
    )
    table.to_parquet(folder / "tables/scorecard/alerts.parquet")
    return folder


def test_an_alert_that_never_was_is_refused(project):
    alert, acts = "job_saved-fall-2026-03-23", project / "outputs/alerts/tiny.csv"
    acts.unlink(missing_ok=True)
    assert "it has no run yet" in sentence(call("alerts", "ack", "tiny", alert))
    shown = show(project)
    try:
        assert "its runs showed none" in sentence(call("alerts", "close", "tiny", alert))
        show(project, "job_saved-fall-2026-03-16", pack="more")
        said = sentence(call("alerts", "snooze", "tiny", alert, "--until", "2126-04-30"))
        assert 'Did you mean "job_saved-fall-2026-03-16"?' in said
        assert not acts.exists()
    finally:
        shutil.rmtree(shown.parent)
        shutil.rmtree(project / "outputs/more", ignore_errors=True)


def test_an_act_is_written_down_of_an_alert_that_a_run_showed(project):
    alert = "profile_completed-fall-2026-03-23"
    shown = show(project, alert)
    done = call("alerts", "snooze", "tiny", alert, "--until", "2126-04-30", "--by", "ann")
    assert done.exit_code == 0, done.stderr
    first, second = done.stderr.splitlines()
    assert first == "Note: in the run of 2026-03-31 it was open."
    assert second.startswith("Note: the data of the newest run end on 2026-03-31; it counts once")
    shutil.rmtree(shown.parent)
    show(project, alert, state="recovered")
    assert "it was recovered, which acts do not" in call("alerts", "ack", "tiny", alert).stderr
    written = (project / "outputs/alerts/tiny.csv").read_text().splitlines()
    assert written[0] == "alert_id,day,act,until,by,role,what,week"
    assert [line.split(",")[2] for line in written[1:]] == ["snooze", "ack"]
    wrong = sentence(call("alerts", "close", "tiny", "profile_completed-fell-2026-03-23"))
    assert f'Did you mean "{alert}"?' in wrong
    assert "until: " in sentence(call("alerts", "snooze", "tiny", alert, "--until", "soon"))
    past = sentence(call("alerts", "snooze", "tiny", alert, "--until", "2026-04-30"))
    assert "until: 2026-04-30 is in the past" in past
    assert 'there is no "tny"' in sentence(call("alerts", "ack", "tny", alert))
    shutil.rmtree(shown.parent)


@pytest.mark.parametrize(
    ("before", "act", "shown", "said"),
    [
        ("", "ack", {}, []),
        ("ack", "ack", {}, ["it was acknowledged already on 2026-04-01 by ann."]),
        ("snooze", "ack", {}, ["it was snoozed on 2026-04-01 by ann."]),
        ("close", "ack", {}, ["it was closed on 2026-04-01 by ann; this opens it again."]),
        ("close", "close", {}, ["it was closed already on 2026-04-01 by ann."]),
        ("", "ack", {"state": "closed"}, []),
        (
            "",
            "ack",
            {"as_of": "2026-03-30"},
            ["it counts once they reach 2026-04-01, this machine's"],
        ),
        ("", "ack", {"as_of": "2026-06-30"}, []),  # a clock behind the data, and nothing later
        ("", "snooze", {"as_of": "2026-06-30"}, ["a snooze until 2026-04-30 is over there."]),
        ("", "ack", {"acted_on": "2026-04-02"}, ["counts for nothing: something later is known"]),
        ("", "ack", {"acted_on": "2026-04-01"}, []),
    ],
)
def test_what_an_act_does_is_said_where_it_does_not_go_without_saying(
    project, monkeypatch, before, act, shown, said
):
    """By a machine of 1 April 2026; the newest run's data end the day before."""
    alert = "profile_completed-fall-2026-03-23"
    clock = SimpleNamespace(strftime=lambda *_: "2026-04-01", gmtime=lambda: None)
    monkeypatch.setattr(alerting, "time", clock)
    acts = project / "outputs/alerts/tiny.csv"
    acts.unlink(missing_ok=True)
    folder = show(project, alert, **shown)
    until = {"snooze": ["--until", "2026-04-30"]}
    try:
        if before:
            call("alerts", before, "tiny", alert, *until.get(before, []), "--by", "ann")
        done = call("alerts", act, "tiny", alert, *until.get(act, []))
    finally:
        shutil.rmtree(folder.parent)
        acts.unlink(missing_ok=True)
    assert done.exit_code == 0, done.stderr
    stood, *more = done.stderr.splitlines()
    opens = "; this opens it again" if shown.get("state") == "closed" else ""
    of, state = shown.get("as_of", "2026-03-31"), shown.get("state", "open")
    assert stood == f"Note: in the run of {of} it was {state}{opens}."
    assert len(more) == len(said) and all(word in line for word, line in zip(said, more))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("alerts: {analyst: ALERT_URL}", 'alerts are found by the notebook "scorecard"'),
        ("alerts: {analyts: ALERT_URL}", '"analyts" is not among the plan\'s roles'),
        ("alerts: {analyst: 'https://x.example'}", "must be the name of an environment variable"),
        ("deliver: [{to: MAIL, pages: [god]}]", 'there is no page "god". Did you mean "good"?'),
        ("deliver: [{to: MAIL, sa: pdf}]", '"deliver.0.sa" is not a field.'),
    ],
)
def test_a_packs_targets_are_checked_before_anything_runs(project, lines, said):
    (project / "params/weekly.yaml").write_text(f"dataset: tiny\nnotebooks: {{good: }}\n{lines}\n")
    done = call("check", "params/weekly.yaml")
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_row_of_the_timeline_is_added_to_its_file(project):
    data = project / "params/data.tiny.yaml"
    before = data.read_text()
    try:
        add = ("timeline", "add", "tiny", "2026-03-09", "competitor", "instant, at once")
        assert "names no single CSV as its timeline" in sentence(call(*add))
        data.write_text(before + "timeline: {path: exports/moves.csv}\n")
        assert "begin one with day,kind,label" in sentence(call(*add))
        file = project / "exports/moves.csv"
        file.write_text("day,kind,label\n2026-03-02,release,5.1")  # no end of its last line
        assert call(*add).exit_code == 0
        assert file.read_text().splitlines()[1:] == [
            "2026-03-02,release,5.1",
            '2026-03-09,competitor,"instant, at once"',
        ]
        assert 'no column "note"' in sentence(call(*add, "--note", "seen by ann"))
        assert "neither a day" in sentence(call(*add[:3], "9 March", *add[4:]))
        kind = sentence(call(*add[:4], "campain", add[5]))
        assert kind.startswith('Error: kind: "campain" is none; it is competitor, release, ')
        assert kind.endswith('or holiday. Did you mean "campaign"?')
        assert call(*add[:5], "two\nlines").exit_code == 0
        assert file.read_text().splitlines()[3:] == ["2026-03-09,competitor,two lines"]
        file.write_bytes("day,kind,label\n2026-03-02,release,für".encode("latin-1"))
        assert "is not UTF-8" in sentence(call(*add))
    finally:
        data.write_text(before)


@pytest.mark.parametrize(("status", "beats"), [("good", 1), ("failed", 0)])
def test_a_heart_beats_after_a_good_run_alone(project, monkeypatch, status, beats):
    record = RunRecord("weekly", "tiny", "2026-03-31", status, "2026-04-01", 1.0, "", None, {}, [])
    monkeypatch.setattr("mctlib.runner.run.run_pack", lambda *_, **__: record)
    with http_server() as received:
        monkeypatch.setenv("HEARTBEAT_URL", received.address)
        done = call("run", "params/weekly.yaml", "--heartbeat", "HEARTBEAT_URL")
    assert (done.exit_code, received) == (0 if beats else 1, ["/hook"] * beats)
    monkeypatch.delenv("HEARTBEAT_URL")
    done = call("run", "params/weekly.yaml", "--heartbeat", "HEARTBEAT_URL")
    assert ("the heartbeat (HEARTBEAT_URL) could not be called" in done.stderr) == bool(beats)


def test_the_commands_of_the_schedules_are_commands():
    """Every line of params/schedules/ that calls this package is one that click can read."""
    folder = Path(__file__).parents[1] / "params/schedules"
    text = "\n".join(path.read_text() for path in sorted(folder.iterdir()))
    called = re.findall(r"python -m mctlib ([^\n\"]+)", text)
    called.append(" ".join(re.search(r"^CMD \[(.*)\]", text, re.M)[1].replace('"', "").split(", ")))
    assert len(called) >= 5
    weekly = "run params/weekly.yaml --fail-on undelivered"
    assert sum(line.startswith(weekly) for line in called) == 3, "cron, systemd and container agree"
    for line in called:
        words = line.rstrip(").").split()
        group = main
        while words and words[0] in getattr(group, "commands", {}):
            group = group.commands[words.pop(0)]
        group.make_context("mctlib", words)
