"""From files to a first page: the drafted pack, and the one command for all of it."""

import csv
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml

from mctlib import open_log
from mctlib.runner.draft import draft_of_pack
from mctlib.sources.draft import answered
from tests.support.logs import log_of
from tests.support.project import ROOT, mctlib

PATH = ["Signed up", "Profile done", "Interview booked"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Users go PATH, fewer at each step; all look at pages often, some close their account."""
    root = tmp_path_factory.mktemp("first") / "project"
    (root / "params").mkdir(parents=True)
    (root / "notebooks").mkdir()
    for notebook in ("audit", "funnel", "activation", "scorecard"):
        text = (ROOT / f"notebooks/{notebook}.ipynb").read_text("utf-8")
        (root / f"notebooks/{notebook}.ipynb").write_text(text, "utf-8")
    rng, rows = np.random.default_rng(1), []
    for user in range(400):
        at = datetime(2026, 1, 1) + timedelta(days=rng.uniform(0, 110))
        rows += [(user, "Page viewed", at + timedelta(days=rng.uniform(0, 9))) for _ in range(8)]
        for event, share in zip(PATH, (1, 0.7, 0.5)):
            if rng.random() > share:
                break
            at += timedelta(hours=rng.exponential(20))
            rows.append((user, event, at))
        rows += [(user, "Account closed", at + timedelta(days=2))] if rng.random() < 0.2 else []
    with (root / "export.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["Customer ID", "Action", "When", "Country"])
        for user, event, at in rows:
            country = "DE" if user % 3 else "FR"
            write.writerow([f"c{user}", event, f"{at:%Y-%m-%d %H:%M:%S}Z", country])
    return root


@pytest.mark.integration
def test_one_command_from_an_export_to_a_page(root):
    done = mctlib(root, "start", "mine", "export.csv")
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.splitlines()[-1])
    assert page.is_file()
    assert page.is_relative_to(root / "outputs/mine")
    pack = yaml.safe_load((root / "params/mine.yaml").read_text())
    asked = pack["notebooks"]
    # nothing names a partner, nothing pays, nobody knows a change
    assert list(asked) == ["audit", "funnel", "activation", "scorecard"]
    assert asked["funnel"]["set"]["steps"] == PATH
    assert asked["activation"]["set"]["competing"] == "Account closed"
    for name in ("data.mine", "plan.mine", "mine"):  # a question is answered in its file
        file = root / f"params/{name}.yaml"
        file.write_text(file.read_text() + "# mine\n")
    added = mctlib(root, "timeline", "add", "mine", "2026-03-02", "competitor", "Rival, at once")
    assert added.returncode == 0, added.stderr
    again = mctlib(root, "start", "mine", "export.csv")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count(": as it is") == 3
    assert "timeline              1 rows read = 1 kept" in again.stdout


def test_a_pack_asks_what_the_log_can_answer(root, monkeypatch):
    monkeypatch.chdir(root)
    (root / "params/data.two.yaml").write_text(
        "name: two\nevents: {path: export.csv, format: columns, columns: {user_id: Customer ID,"
        " event: Action, timestamp: When, channel: Country}}\n"
    )
    log = open_log("two")
    text, unused = draft_of_pack(log, "run it")
    funnel = yaml.safe_load(text)["notebooks"]["funnel"]["set"]
    n = log.describe().set_index("event").loc["Page viewed"]
    assert f"Page viewed {n.n_events:,} ({n.n_users:,})" in text
    assert funnel["steps"] == PATH
    assert (funnel["window"], funnel["by"], funnel["after"]) == ("14d", "channel", "last 4w")
    assert '#      value: "?"' in text
    assert not unused


@pytest.fixture
def tagged(root, monkeypatch):
    """The same users, each with a source, a company of two and money spent on nobody they name."""
    monkeypatch.chdir(root)
    rows = list(csv.reader((root / "export.csv").open()))[1:]
    sources = ["organic", "Direct", "(none)", "creator_ana", ""]
    with (root / "tagged.csv").open("w", newline="") as file:
        write = csv.writer(file)
        write.writerow(["user_id", "event", "timestamp", "utm_source"])
        write.writerows([u, e, at, sources[int(u[1:]) % 5]] for u, e, at, _ in rows)
    people = [f"c{user},firm{user // 2}" for user in range(400)]
    (root / "people.csv").write_text("\n".join(["user_id,Company", *people]))
    (root / "spend.csv").write_text("day,channel,amount\n2026-02-01,job_board,9.5\n")
    (root / "params/data.tagged.yaml").write_text(
        "name: tagged\nevents: {path: tagged.csv}\npeople: {path: people.csv}\n"
        "spend: {path: spend.csv}\n"
    )
    return root


def test_what_names_ourselves_is_no_partner_and_what_is_not_used_is_told(tagged):
    text, unused = draft_of_pack(open_log("tagged"), "run it")
    attribution = yaml.safe_load(text)["notebooks"]["attribution"]["set"]
    assert attribution["sources"] == ["utm_source"]
    spend, company = unused
    assert "No notebook uses the spend" in spend and "no event has job_board as its" in spend
    assert 'columns: {account_id: "Company"}' in company
    assert f"# {spend}\n# {company}\n" in text


def test_a_drafted_funnel_ends_where_the_plan_says_what_it_is_for(tagged):
    plan = tagged / "params/plan.tagged.yaml"
    plan.write_text(
        "start: Signed up\nmicro_conversions:\n  Signed up:\n"
        "  Profile done: {outcome: activation}\n  Interview booked:\n"
        "  Page viewed: {outcome: engagement}\n  Account closed:\n"
    )
    asked = yaml.safe_load(draft_of_pack(open_log("tagged"), "")[0])["notebooks"]
    assert asked["funnel"]["set"]["steps"] == PATH[:2]
    assert asked["activation"]["set"]["activation"] == "Profile done"
    plan.write_text(plan.read_text().replace("booked:", "booked: {outcome: revenue, within: 30d}"))
    asked = yaml.safe_load(draft_of_pack(open_log("tagged"), "")[0])["notebooks"]
    assert (asked["funnel"]["set"]["steps"], asked["funnel"]["set"]["window"]) == (PATH, "30d")
    assert asked["activation"]["set"]["activation"] == "Profile done"
    assert asked["attribution"]["set"]["conversion"] == "Interview booked"
    plan.unlink()


def test_a_drafted_pack_asks_for_signals_where_an_outcome_is_known(tagged):
    assert "signals" not in yaml.safe_load(draft_of_pack(open_log("tagged"), "")[0])["notebooks"]
    people = [
        f"c{user},firm{user // 2},{'2026-04-20T00:00:00Z' if user % 2 else ''}"
        for user in range(400)
    ]
    (tagged / "people.csv").write_text("\n".join(["user_id,Company,renewed_at", *people]))
    asked = yaml.safe_load(draft_of_pack(open_log("tagged"), "")[0])["notebooks"]
    assert "audit" not in asked  # without a plan nobody knows what should be there
    signals = asked["signals"]["set"]
    assert (signals["start"], signals["outcomes"]) == (PATH[0], ["renewed"])
    # the log goes on for 115 days or so; five of its weeks end before it for most users
    assert (signals["horizon"], signals["competing"]) == ("35d", "Account closed")
    assert signals["events"] == ["Page viewed", *PATH[1:]]
    assert signals["action"] == "Page viewed"
    assert "value" not in asked["attribution"]["set"]


def test_periods_are_compared_only_where_users_enter_in_both():
    """Sixty users a day of whom nobody begins any more since the middle of the log."""
    rows = [(f"u{i}", "begun", i % 50) for i in range(600)]
    rows += [(f"u{i}", "done", 60 + i % 41) for i in range(600)]
    funnel = yaml.safe_load(draft_of_pack(log_of(rows, unit="D"), "")[0])["notebooks"]["funnel"]
    assert "before" not in funnel["set"]
    rows += [(f"v{i}", "begun", i % 100) for i in range(600)]
    funnel = yaml.safe_load(draft_of_pack(log_of(rows, unit="D"), "")[0])["notebooks"]["funnel"]
    assert funnel["set"]["before"] == "previous 4w"


def test_a_path_of_many_steps_keeps_its_end():
    """Sixty users do a, b, ... g in turn, an hour apart."""
    rows = [(f"u{i}", event, hour) for i in range(60) for hour, event in enumerate("abcdefg")]
    text, _ = draft_of_pack(log_of(rows, unit="h"), "")
    assert yaml.safe_load(text)["notebooks"]["funnel"]["set"]["steps"] == [*"abcdg"]


def test_a_file_that_is_there_is_not_written_over(root):
    (root / "params/kept.yaml").write_text("mine\n")
    done = mctlib(root, "new", "pack", "kept")
    assert done.returncode == 2
    assert "kept.yaml exists already; it is not overwritten." in done.stderr
    assert (root / "params/kept.yaml").read_text() == "mine\n"


def test_open_questions_of_a_draft_are_put_to_a_person():
    asked = []

    def ask(question, default=None):
        asked.append(question)
        return "When" if default is None else {"UTC": "Europe/Berlin"}.get(default, default)

    no_zone = "    timezone: UTC  # guessed? the times carry no zone\n"
    text = (
        "# currency: EUR  # printed with every amount: which?\n"
        "events:\n  - path: x.csv\n    columns:\n"
        '      "timestamp": "?"  # not found: which of When or Then?\n'
        '    # date_format: "%d.%m.%Y"  # or "%m.%d.%Y"? The times do not tell\n'
        f"{no_zone}    encoding: cp1252  # guessed? the file is not UTF-8\n"
        f"  - path: y.csv\n{no_zone}"
        "  - path: z.csv\n    # timezone: Europe/London  # which zone is meant by BST?\n"
    )
    said = yaml.safe_load(answered(text, ask))
    first, second, third = said["events"]
    assert (said["currency"], first["columns"]) == ("EUR", {"timestamp": "When"})
    assert (first["timezone"], first["date_format"]) == ("Europe/Berlin", "%d.%m.%Y")
    assert (second["timezone"], third["timezone"]) == ("Europe/Berlin", "Europe/London")
    assert first["encoding"] == "cp1252"
    assert [question.split(":")[0].strip('"') for question in asked] == [
        "currency",
        "timestamp",
        "date_format",
        "timezone",  # of two sources that lack it, once
        "timezone",
    ]


def test_a_zone_that_is_none_is_asked_for_again():
    answers = iter(["Berlin", "Europe/Berlin"])
    asked = []

    def ask(question, default=None):
        asked.append(question)
        return next(answers)

    text = "    timezone: UTC  # guessed? the times carry no zone\n"
    assert answered(text, ask) == "    timezone: Europe/Berlin\n"
    assert "Berlin" in asked[1] and "is no IANA name" in asked[1]


def test_what_is_no_pack_of_the_dataset_is_not_run(root):
    (root / "params/weekly.yaml").write_text("dataset: demo\nnotebooks: {funnel: }\n")
    done = mctlib(root, "start", "weekly", "export.csv")
    assert done.returncode == 2
    assert "weekly.yaml is there already, of the dataset demo; take another name." in done.stderr
