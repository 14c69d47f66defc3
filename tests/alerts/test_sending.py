"""From a run of a pack to its messages, by the command line; and the look of every day."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib

import pandas as pd
import pytest
import yaml
from packaging.specifiers import SpecifierSet

from mctlib.alerts import acts, delivery, sending
from mctlib.scorecard import weekly_scorecard
from tests.scorecard.conftest import LAST, PLAN, RIVAL, product
from tests.support.browser import CHROMIUM
from tests.support.project import ROOT, mctlib
from tests.support.servers import http_server, mail_server

PACK = """dataset: tiny
as_of: latest
notebooks:
  scorecard: {set: {by: channel}}
alerts: {response_coordinator: ALERT_URL_TEST}
base_url: REPORT_BASE_URL
deliver: [{to: REPORT_MAIL, pages: [scorecard]}]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A project whose bookings fell by 30 % in the last week, near a rival's move."""
    root = tmp_path_factory.mktemp("sending") / "project"
    (root / "params").mkdir(parents=True)
    (root / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks/scorecard.ipynb", root / "notebooks")
    log = product(fall=0.3)
    events = log.sql(
        "SELECT 'u' || e.user AS user_id, event, timestamp, platform, channel FROM events e"
    )
    events.to_csv(root / "events.csv", index=False)
    backend = log.table("backend").rename(columns={"user": "user_id"})
    backend["user_id"] = "u" + backend["user_id"].astype(str)
    backend.to_csv(root / "backend.csv", index=False)
    RIVAL.to_csv(root / "timeline.csv", index=False)
    tables = {name: {"path": f"{name}.csv"} for name in ("events", "backend", "timeline")}
    for name in ("events", "backend"):
        tables[name]["timezone"] = "UTC"
    data = {"name": "tiny", "observed_until": "2026-05-24", **tables}
    (root / "params/data.tiny.yaml").write_text(yaml.safe_dump(data))
    (root / "params/plan.tiny.yaml").write_text(yaml.safe_dump(PLAN))
    (root / "params/weekly.yaml").write_text(PACK)
    return root


def by_cron(root, command, table="params/schedules/cron", **environment):
    """What cron makes of the line of a table with this command, in this project.

    Addresses stand in a file; of the environment there is what cron gives.
    """
    (root / ".venv/bin").mkdir(parents=True, exist_ok=True)
    python = root / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (root / "mctlib.env").write_text("".join(f"{k}={v}\n" for k, v in environment.items()))
    lines = (ROOT / table).read_text("utf-8").splitlines()
    (line,) = (line for line in lines if line[:1].isdigit() and f"mctlib {command}" in line)
    assert "%" not in line, "cron makes line ends of them"
    line = line.split(maxsplit=5)[5].replace("/srv/workbook", str(root))
    line = line.replace("/etc/mctlib.env", "./mctlib.env").replace("/tmp/mct.lock", "./lock")
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(root), "TMPDIR": str(root)}
    return subprocess.run(
        ["/bin/sh", "-c", line], cwd="/", env=bare, capture_output=True, text=True, timeout=300
    )


@pytest.mark.integration
def test_a_run_tells_once_and_ends_as_it_was_asked(root, monkeypatch):
    monkeypatch.delenv("REPORT_MAIL", raising=False)
    base = "https://reports.example.com/"
    monkeypatch.setenv("REPORT_BASE_URL", base)
    with http_server() as received, http_server() as heart:
        monkeypatch.setenv("ALERT_URL_TEST", received.address)
        first = mctlib(root, "run", "params/weekly.yaml", "--fail-on", "alerts")
        assert first.returncode == 3, first.stderr
        told = {"ALERT_URL_TEST": received.address, "REPORT_BASE_URL": base}
        old = (
            root / "outputs/alerts/undelivered/tiny.2026-05-17.REPORT_MAIL.report-weekly+index.html"
        )
        old.mkdir()
        again = by_cron(root, "run", HEARTBEAT_URL=heart.address, **told)
        assert f"{old.name} waits: the pack does not mail these pages" in again.stderr
        assert again.returncode == 4, "the pages have no address"
        assert "REPORT_MAIL is not set" in again.stderr
        assert heart == ["/hook"], "the run is good all the same"
        past = mctlib(root, "run", "params/weekly.yaml", "--as-of", "2026-05-17")
        assert "Nothing is sent of 2026-05-17: the data go on to 2026-05-24." in past.stderr
        look = by_cron(root, "alerts check", **told)
        assert look.returncode == 0, look.stderr
        assert "“Booked” fell 30" in look.stdout
        assert len(received) == 1, "the weekly run told it"
        sample = mctlib(root, "alerts", "test", "params/weekly.yaml", "response_coordinator")
        assert sample.returncode == 0, sample.stderr
    message, tried = received
    assert tried["subject"] == "[test] A sample for response_coordinator"
    assert message["items"][0]["alert_id"] == f"booked-fall-{LAST}"
    page = "https://reports.example.com/weekly/2026-05-24/scorecard.html"
    assert message["link"] == page
    shown = (root / "outputs/weekly/2026-05-24/scorecard.html").read_text("utf-8")
    assert re.findall(r'<section class="sight" aria-label="(.*?)">', shown) == ["The board"]
    assert not re.search(r"<details[^>]* open>", shown), "all else is folded"
    facts = json.loads((root / "outputs/weekly/2026-05-24/run.json").read_text())
    assert (facts["n_alerts"], facts["n_undelivered"]) == (0, 2), "it was told by the first run"
    closed = mctlib(root, "alerts", "close", "tiny", f"booked-fall-{LAST}")
    assert closed.returncode == 0, closed.stderr


# What an image of python:slim has: a shell and its tools, a Python, and no make before apt-get
# brought it. The Python's venv is this one, of which pip says whether it holds what is required.
IMAGE = {
    "apt-get": """[ "$1" = update ] && exec /usr/bin/touch {tools}/lists
test -e {tools}/lists && shift || exit 100
for name; do case "$name" in -*) ;; *) /bin/ln -s "/usr/bin/$name" {tools} ;; esac; done""",
    "rm": """test "$1" = -rf && shift || exit 1
for path; do case "$path" in /var/lib/apt/lists/*) ;; *) exit 1 ;; esac; done""",
    "touch": 'exec /usr/bin/touch "$@"',
    "python3": """[ "$1 $2" = "-m venv" ] || exec {python} "$@"
test "$3 $4" = "--clear .venv" && /bin/mkdir -p .venv/bin || exit 1
exec /bin/ln -s {tools}/venv .venv/bin/python""",
    "venv": """case "$*" in
"-m pip install "*" -r "*) exec {python} "$@" --dry-run --no-index ;;
"-m pip install "*" -e .") exec {python} -c 'import tomllib, pathlib
project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
assert all(pathlib.Path(path).exists() for path in (project["readme"], project["name"]))' ;;
*) exec {python} "$@" ;; esac""",
}


@pytest.mark.integration
def test_every_step_of_the_container_is_run_as_written(root, tmp_path):
    """In a folder in the place of an image, then ENTRYPOINT and CMD on the data of a mount."""
    tools, home = tmp_path / "tools", tmp_path
    tools.mkdir()
    for name, does in IMAGE.items():
        does = does.replace("{python}", sys.executable).replace("{tools}", str(tools))
        (tools / name).write_text(f"#!/bin/sh\n{does}\n")
        (tools / name).chmod(0o755)
    bare = {"PATH": str(tools), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    command = []
    for line in (ROOT / "params/schedules/Containerfile").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            version = re.fullmatch(r"python:(3\.\d+)-slim", rest)[1]
        elif word == "WORKDIR":
            home = tmp_path / rest.lstrip("/")
            home.mkdir(parents=True)
        elif word == "COPY":
            *sources, target = rest.split()
            for name in sources:
                if (ROOT / name).is_dir():  # of which COPY takes what is in it
                    shutil.copytree(ROOT / name, home / target, dirs_exist_ok=True)
                else:
                    assert target.endswith("/"), "so COPY asks where there are several"
                    shutil.copy(ROOT / name, home / target)
        elif word == "RUN":
            made = subprocess.run(
                ["/bin/sh", "-c", rest], cwd=home, env=bare, capture_output=True, text=True
            )
            assert made.returncode == 0, made.stderr
        else:
            assert word in ("ENTRYPOINT", "CMD"), "no step that this does not run"
            command += json.loads(rest)
    asked = tomllib.loads((home / "pyproject.toml").read_text())["project"]["requires-python"]
    assert SpecifierSet(asked).contains(version)
    shutil.rmtree(home / "params")
    for held in root.iterdir():  # as mounts lie over what was copied
        if held.name == "params" or held.suffix == ".csv":
            (shutil.copytree if held.is_dir() else shutil.copy)(held, home / held.name)
    bare |= {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(home)}
    done = subprocess.run(command, cwd=home, env=bare, capture_output=True, text=True)
    assert done.returncode == 4, done.stderr
    assert "REPORT_MAIL is not set" in done.stderr, "it ran to its very end"
    assert (home / "outputs/weekly/2026-05-24/scorecard.html").is_file()


def test_a_daily_look_tells_a_fall_once_and_none_that_the_weekly_run_found(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPORT_BASE_URL", "https://reports.example.com/")
    log = product(weeks=21, fall=0.5)
    last = pd.Timestamp(LAST) + pd.Timedelta(days=13)
    role = "analyst"  # no rival moved, no plan names another
    asked = {"by": None, "page": "weekly/latest/scorecard.html", "base_url": "REPORT_BASE_URL"}
    asked |= {"targets": {role: "ALERT_URL_TEST"}, "as_of": f"{last:%Y-%m-%d}"}
    with http_server() as received:
        monkeypatch.setenv("ALERT_URL_TEST", received.address)
        said, first = sending.look_today(log, **asked)
        assert 45 <= int(re.search(r"fell (\d+)", said)[1]) <= 55  # half of them, by chance
        nothing, second = sending.look_today(log, **asked)
    assert (first.n_new, second.n_new, len(received)) == (1, 0, 1)
    assert received[0]["link"] == "https://reports.example.com/weekly/latest/scorecard.html"
    weekly = weekly_scorecard(log, as_of=asked["as_of"], by=None).alerts
    since = weekly["since"].iloc[0]
    for days, known in ((0, set()), (7, {("booked", "fall")})):
        assert sending._known(weekly, since + pd.Timedelta(days=days)) == known
    over = weekly.assign(closed_on=since + pd.Timedelta(days=14), state="recovered")
    assert sending._known(over, since + pd.Timedelta(weeks=10)) == {("booked", "fall")}
    assert sending._known(over, since + pd.Timedelta(weeks=11)) == set()


def test_pages_are_mailed_once_a_day_of_data(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    sent = []
    monkeypatch.setattr(sending, "mail_pages", lambda *given: sent.append(given))
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["index"]}
    for day in ("2026-05-24", "2026-05-24", "2026-05-31"):
        done = sending.send_pages(tmp_path, **asked, as_of=day, kind="html")
        assert done.n_undelivered == 0
    assert [title for _, title, _, _ in sent] == [
        "weekly: data up to 2026-05-24",
        "weekly: data up to 2026-05-31",
    ]
    (page,) = sent[0][3]
    assert page.name == "index.html"
    assert not list((tmp_path / "outputs/alerts/undelivered").iterdir())


@pytest.mark.parametrize(
    "kind",
    [
        "html",
        pytest.param("pdf", marks=pytest.mark.skipif(not CHROMIUM, reason="no browser here")),
    ],
)
def test_a_mail_server_gets_the_pages_whole(tmp_path, monkeypatch, kind):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    page = "<!DOCTYPE html><title>Weekly</title><p>“Booked” fell 30\u00a0%</p>" + "x" * 5_000
    (tmp_path / "scorecard.html").write_text(page, "utf-8")
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["scorecard"]}
    with mail_server() as received:
        monkeypatch.setenv("REPORT_MAIL", received.address)
        done = sending.send_pages(tmp_path, **asked, as_of="2026-05-24", kind=kind)
    assert (done.n_undelivered, done.notes) == (0, [])
    (mail,) = received
    assert mail["Subject"] == "weekly: data up to 2026-05-24"
    (sent,) = (part for part in mail.walk() if part.get_filename())
    assert sent.get_filename() == f"scorecard.{kind}"
    content = sent.get_payload(decode=True)
    assert content == page.encode() if kind == "html" else content.startswith(b"%PDF-")


def test_pages_that_a_mail_server_refuses_are_kept_and_sent_by_the_next_run(tmp_path, monkeypatch):
    """Though the run that made them was removed by then, and with those of the new day."""
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(delivery, "PAUSE", 0.0)
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["index"]}
    asked["kind"] = "html"

    def send(day, text):
        (tmp_path / "index.html").write_text(text)
        return sending.send_pages(tmp_path, **asked, as_of=day)

    with mail_server(refuse=True) as received:
        monkeypatch.setenv("REPORT_MAIL", received.address)
        assert send("2026-05-24", "<p>too soon</p>").n_undelivered == 1
        done = send("2026-05-24", "<p>the page</p>")
        said = (
            "The pages of 2026-05-24 were not delivered: apprise could not deliver to REPORT_MAIL"
        )
        assert done.notes == [f"{said}, 3 times"]
        monkeypatch.delenv("REPORT_MAIL")
        assert send("2026-05-31", "<p>another</p>").n_undelivered == 2
        assert received == []
    with mail_server() as received:
        monkeypatch.setenv("REPORT_MAIL", received.address)
        assert [send("2026-06-07", "<p>third</p>").n_undelivered for _ in range(2)] == [0, 0]
    assert [mail["Subject"][-10:] for mail in received] == [
        "2026-05-24",
        "2026-05-31",
        "2026-06-07",
    ]
    sent = [part for part in received[0].walk() if part.get_filename()]
    assert [part.get_payload(decode=True) for part in sent] == [b"<p>the page</p>"]
    assert not list((tmp_path / "outputs/alerts/undelivered").iterdir())


def test_pages_that_were_sent_before_a_kill_are_not_sent_again(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["index"]}
    sent = []
    monkeypatch.setattr(sending, "mail_pages", lambda *given: sent.append(given))
    with monkeypatch.context() as killed:
        killed.setattr(sending.shutil, "rmtree", lambda *_, **__: None)
        sending.send_pages(tmp_path, **asked, as_of="2026-05-24", kind="html")
    sending.send_pages(tmp_path, **asked, as_of="2026-05-31", kind="html")
    assert [title[-10:] for _, title, _, _ in sent] == ["2026-05-24", "2026-05-31"]


def test_the_same_pages_as_html_and_as_pdf_are_two_mails(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    sent = []
    monkeypatch.setattr(sending, "mail_pages", lambda *given: sent.append(given))
    monkeypatch.setattr(sending, "BROWSERS", ())
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL"}
    for kind in ("html", "pdf", "html", "pdf"):
        sending.send_pages(
            tmp_path, **asked, pages=["index"], as_of="2026-05-24T06:00:00.250Z", kind=kind
        )
    assert len(sent) == 2, "though the day has a fraction of a second"


def test_pages_that_wait_and_are_not_asked_for_any_more_are_counted(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(delivery, "PAUSE", 0.0)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    asked = {"dataset": "tiny", "to": "REPORT_MAIL", "pages": ["index"], "kind": "html"}
    for pack in ("weekly", "weekly-us"):
        assert sending.send_pages(tmp_path, **asked, pack=pack, as_of="2026-05-24").n_undelivered
    same = ("tiny", "REPORT_MAIL", ["index"], "html")
    for other in (
        ("tiny", "REPORT_MAIL", ["index", "scorecard"], "html"),
        ("tiny", "REPORT_MAIL", ["index"], "pdf"),
        ("tiny", "OTHER_MAIL", ["index"], "html"),
        ("big", "REPORT_MAIL", ["index"], "html"),
    ):
        done = sending.unasked_pages("weekly", [other])
        assert done.n_undelivered == 1
        assert "does not mail these pages of 2026-05-24 so" in done.notes[0]
        assert sending.unasked_pages("weekly", [other, same]).n_undelivered == 0
    assert sending.unasked_pages("weekly", []).n_undelivered == 1
    old = acts.held() / "tiny.2026-05-17.REPORT_MAIL.report-weekly-index"
    old.mkdir()
    done = sending.unasked_pages("weekly", [same])
    assert done.n_undelivered == 1
    assert [note.partition(" waits: ")[2] for note in done.notes] == [
        "no run sends pages by such a name; mail those of 2026-05-17 by hand, or remove them.",
        "pages of 2026-05-24 for a run of the pack “weekly-us”.",
    ]


@pytest.mark.parametrize("does", ["exit 1", 'echo half > "${3#*=}"; exit 1', "sleep 9", "exit 0"])
def test_a_browser_that_fails_is_told_from_none(tmp_path, monkeypatch, does):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    (tmp_path / "browser").write_text(f"#!/bin/sh\n{does}\n".replace("sleep", "exec sleep"))
    (tmp_path / "browser").chmod(0o755)
    monkeypatch.setattr(sending, "BROWSERS", (str(tmp_path / "browser"),))
    monkeypatch.setattr(sending, "PRINTS", 0.3)
    monkeypatch.setattr(sending.os, "geteuid", lambda: 1000)
    sent = []
    monkeypatch.setattr(sending, "mail_pages", lambda *given: sent.append(given))
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["index"]}
    done = sending.send_pages(tmp_path, **asked, as_of="2026-05-24", kind="pdf")
    assert done.notes == ["The browser made no PDF of index: it is HTML."]
    assert [page.name for page in sent[0][3]] == ["index.html"]


def test_without_a_browser_the_page_is_html(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index.html").write_text("<p>the page</p>")
    monkeypatch.setattr(sending, "BROWSERS", ())
    sent = []
    monkeypatch.setattr(sending, "mail_pages", lambda *given: sent.append(given))
    asked = {"dataset": "tiny", "pack": "weekly", "to": "REPORT_MAIL", "pages": ["index"]}
    done = sending.send_pages(tmp_path, **asked, as_of="2026-05-24", kind="pdf")
    assert "There is no browser here to make a PDF of index: it is HTML." in done.notes
    assert [page.name for page in sent[0][3]] == ["index.html"]
