"""A first plan: it is valid, marks what it guesses, and a person can go on with it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mctlib.__main__ import main
from mctlib.contract import DataError
from mctlib.tracking_plan.check import check_plan
from mctlib.tracking_plan.draft import COMMENTS, draft_of_files, draft_of_log
from mctlib.tracking_plan.reading import read_plan
from tests.support.logs import log_of
from tests.tracking_plan.test_formats import FILES, PLANS


def call(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def plan_of(tmp_path, text):
    path = tmp_path / "plan.x.yaml"
    path.write_text(text)
    return read_plan(path)


def test_a_draft_of_a_log_in_full(tmp_path):
    # 60 users sign up; 57 of them (95 %) view a job before they save one, all 60 save
    rows = [(f"u{i}", "signed_up", 0, "web", "{}") for i in range(60)]
    rows += [
        (f"u{i}", "viewed", 1 if i < 57 else 9, "ios", '{"score": 1, "at": "x"}') for i in range(60)
    ]
    rows += [(f"u{i}", "job: saved", 2, "web", '{"score": 1.5, "yes": true}') for i in range(60)]
    rows += [("u1", "rare", 3, None, "{}")]
    log = log_of(rows, "platform", "properties", unit="h")
    text = draft_of_log("x", log)
    body = text.partition("version: 1\n")[2].partition("# What else")[0]
    assert body.splitlines() == [
        "start: signed_up  # guessed? most others come after it; `within` counts from it",
        "micro_conversions:",
        '  "job: saved":',
        '    label: "Job: saved"  # what people read',
        "    owner:  # the team whose number it is",
        "    outcome:  # activation, engagement, retention or revenue",
        "    within: 1d  # time from `start` in which it should happen, such as 7d; guessed? 80% "
        "of its users had it by then",
        "    platforms: [web]  # where it is tracked",
        '    properties: {score: {type: number}, "yes": {type: boolean}}  # '
        + COMMENTS["properties"],
        "    implies: [viewed]  # what must have happened before; guessed? done before by 95% of "
        "its users",
        "  signed_up:",
        "    label: Signed up",
        "    owner:",
        "    outcome:",
        "    within:",
        "    platforms: [web]",
        "  viewed:",
        "    label: Viewed",
        "    owner:",
        "    outcome:",
        "    within: 1d  # guessed? 80% of its users had it by then",
        "    platforms: [ios]",
        "    properties: {at: {type: string}, score: {type: integer}}",
        "    implies: [signed_up]  # guessed? done before by 100% of its users",
        "  rare:",
        "    label: Rare",
        "    owner:",
        "    outcome:",
        "    within:",
    ]
    assert not [r for r in check_plan(plan_of(tmp_path, text), log) if r.kind != "orphan"]


def test_a_draft_guesses_by_when_most_had_it_and_who_is_active(tmp_path):
    """100 users begin; 79 join a team on day 2 and the rest on day 20; all look in each week."""
    rows = [(f"u{i}", "began", 0) for i in range(100)]
    rows += [(f"u{i}", "joined", 2 if i < 79 else 20) for i in range(100)]
    rows += [(f"u{i}", "looked in", 7 * week - 6) for i in range(100) for week in range(1, 5)]
    rows += [(f"u{i}", "left", 25) for i in range(100)]
    plan = plan_of(tmp_path, draft_of_log("x", log_of(rows, unit="D")))
    within = {name: each.within for name, each in plan.micro_conversions.items()}
    assert within == {"began": "", "joined": "30d", "looked in": "1d", "left": "30d"}
    assert plan.active == ["looked in"]
    # whoever looks in often has done so before anything, which proves nothing
    assert plan.micro_conversions["left"].implies == ["joined"]


def test_the_demos_draft_finds_the_onboarding_in_order(demo_log, tmp_path):
    plan = plan_of(tmp_path, draft_of_log("x", demo_log))
    implied = {name: each.implies for name, each in plan.micro_conversions.items()}
    assert plan.start == "signed_up"
    assert implied["profile_completed"] == ["signed_up"]
    assert implied["resume_uploaded"] == ["profile_completed"]
    assert "resume_uploaded" in implied["interview_scheduled"]
    assert not [remark for remark in check_plan(plan, demo_log) if remark.wrong]


def test_who_came_before_the_log_began_tells_no_order(tmp_path):
    # 100 users sign up, one a day, and save a job two hours later; 40 more only save, from day 0
    rows = [(f"u{i}", "signed_up", 24 * i + 20) for i in range(100)]
    rows += [(f"u{i}", "saved", 24 * i + 22) for i in range(100)]
    rows += [(f"old{i}", "saved", i) for i in range(40)]
    plan = plan_of(tmp_path, draft_of_log("x", log_of(rows, unit="h")))
    assert plan.micro_conversions["saved"].implies == ["signed_up"]
    assert plan.start == "signed_up"


def test_events_that_are_left_out_of_a_draft_are_named(tmp_path):
    rows = [(f"u{i}", f"event {i % 40}", i) for i in range(400)]
    text = draft_of_log("x", log_of(rows, unit="h"))
    plan = plan_of(tmp_path, text)
    (line,) = [line for line in text.splitlines() if line.startswith("# Seen too")]
    rest = line.partition(": ")[2].split(", ")
    assert len(plan.micro_conversions) == 30 and len(rest) == 10
    assert {*plan.micro_conversions, *rest} == {f"event {i}" for i in range(40)}


def test_names_as_tools_write_them(tmp_path):
    # three spellings of one event; what a tool tracks by itself; numbers that a CSV holds as text
    names = ["job_saved", "Job Saved", "jobSaved", "interview.booked", "$screen"]
    told = '{"$os": "x", "paid": "12.5", "post": "0812", "city": "Ulm", "n": 1}'
    rows = [(f"u{i}", name, at, told) for i in range(9) for at, name in enumerate(names)]
    rows += [("u1", "jobSaved", 9, '{"post": "B-12", "n": "2"}'), ("u9", "job_saved", 0, "{}")]
    log = log_of(rows, "properties", unit="h")
    text = draft_of_log("x", log)
    plan = plan_of(tmp_path, text)
    labels = {name: each.label for name, each in plan.micro_conversions.items()}
    assert labels == {
        "job_saved": "Job saved",
        "Job Saved": "Job Saved 2",  # "Job saved" is taken, in whatever capitals
        "interview.booked": "Interview booked",
        "jobSaved": "jobSaved",
    }
    assert "  Job Saved:  # guessed? the same as job_saved; then list both under events" in text
    assert "# Seen too, by fewer users or a tool's own: $screen\n" in text
    saved = plan.micro_conversions["jobSaved"].properties
    assert {name: each.type for name, each in saved.items()} == {
        "city": ["string"],
        "n": ["integer", "string"],
        "paid": [],  # said by nobody: a number or a text
        "post": ["string"],
    }
    assert "paid: {type: }" in text
    assert not [remark for remark in check_plan(plan, log) if remark.wrong]


def test_a_log_of_a_tools_own_events_alone_is_drafted_too(tmp_path):
    log = log_of([("u1", "$pageview", 0), ("u1", "$screen", 1)], unit="h")
    assert [*plan_of(tmp_path, draft_of_log("x", log)).micro_conversions] == [
        "$pageview",
        "$screen",
    ]


def test_ten_micro_conversions_fit_two_screens(tmp_path):
    rows = [(f"u{i % 60}", f"event {i % 10}", i, "web", '{"n": 1}') for i in range(600)]
    text = draft_of_log("x", log_of(rows, "platform", "properties", unit="h"))
    assert len(plan_of(tmp_path, text).micro_conversions) == 10
    assert len(text.splitlines()) <= 100  # of 50 lines each


@pytest.mark.parametrize("file", FILES)
def test_a_draft_of_a_tools_plan_is_that_plan(file, tmp_path):
    text, (read,) = draft_of_files("x", [PLANS / file])
    plan = plan_of(tmp_path, text)
    assert list(plan.micro_conversions) == list(read.micro_conversions)
    for name, each in plan.micro_conversions.items():
        assert each.other == read.micro_conversions[name].get("other", {})
    assert plan.other == read.other


@pytest.mark.parametrize(
    "text", ["yes", "1e3", "4.10", "a: b", "#x", "é ü", "a\nb", "", "- x", "{", "Null"]
)
def test_any_text_is_written_so_that_it_is_read_again(text, tmp_path):
    (tmp_path / "sheet.csv").write_text(f'event,description\na,"{text}"\n')
    written, _ = draft_of_files("x", [tmp_path / "sheet.csv"])
    assert plan_of(tmp_path, written).micro_conversions["a"].description == text


def test_several_files_are_one_plan_unless_they_contradict(tmp_path):
    (tmp_path / "a.csv").write_text("event,owner\nx,growth\ny,growth\n")
    (tmp_path / "b.csv").write_text("event,owner\nx,growth\nz,product\n")
    text, read = draft_of_files("x", [tmp_path / "a.csv", tmp_path / "b.csv"])
    assert list(plan_of(tmp_path, text).micro_conversions) == ["x", "y", "z"] and len(read) == 2
    (tmp_path / "b.csv").write_text("event,owner\nx,product\n")
    with pytest.raises(DataError, match='"x" is one thing in .*a.csv and another in .*b.csv'):
        draft_of_files("x", [tmp_path / "a.csv", tmp_path / "b.csv"])


# ---- the commands, in the tiny project


@pytest.fixture
def planned(project):
    """The tiny project with a drafted plan; gone afterwards."""
    path = project / "params/plan.tiny.yaml"
    assert call("new", "plan", "tiny").exit_code == 0
    yield path
    path.unlink(missing_ok=True)


def test_a_drafted_plan_is_good_and_never_overwritten(planned):
    for asked in (["plan", "tiny"], ["params/plan.tiny.yaml"]):
        result = call("check", *asked)
        assert result.exit_code == 0, result.output
        assert "plan.tiny.yaml is good: 3 micro-conversions.\n" in result.stdout
    assert "all of them have no owner." in result.stdout
    again = call("new", "plan", "tiny")
    assert again.exit_code == 2 and "exists already; it is not overwritten." in again.stderr


def test_a_wrong_plan_is_a_line_a_mistake_and_exit_code_2(planned):
    text = planned.read_text().replace("start: signed_up", "start: signd_up")
    planned.write_text(text)
    result = call("check", "plan", "tiny")
    assert result.exit_code == 2
    assert result.stderr == (
        'Error: plan.tiny.yaml: unknown: start: "signd_up" is neither a micro-conversion nor an '
        'event. Did you mean "signed_up"?\n'
    )
    planned.write_text(text.replace("outcome:\n", "outcome: fame\n", 1).replace("owner:", "ownr:"))
    said = call("check", "plan", "tiny").stderr.splitlines()
    assert len(said) == 4 and all(line.startswith("Error: plan.tiny.yaml: ") for line in said)
    assert call("load", "tiny").exit_code == 2  # nothing is read through a wrong plan


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("check plan tinny", 'plan: there is no plan "tinny" in params/'),
        ("check params/plan.none.yaml", "there is no plan"),
        ("check events none.jsonl --plan tiny", "none.jsonl cannot be read (No such file"),
        ("new plan other", 'dataset: there is no "other" in params/'),
        ("new plan other none.csv", "none.csv cannot be read (No such file"),
        ("new schemas tiny exports", "exports: File exists."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(planned, arguments, sentence):
    result = call(*arguments.split())
    assert result.exit_code == 2 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ") and sentence in line


def test_a_batch_that_violates_the_plan_ends_with_1(planned, tmp_path):
    batch, report = tmp_path / "batch.jsonl", tmp_path / "batch.jsonl.report.json"
    batch.write_text('{"event": "signed_up", "platform": "ios"}\n')
    good = call("check", "events", batch, "--plan", "tiny")
    assert good.exit_code == 0 and json.loads(report.read_text())["n_violations"] == 0
    batch.write_text('{"event": "signd_up"}\n')
    elsewhere = tmp_path / "said.json"
    bad = call("check", "events", batch, "--plan", planned, "--report", elsewhere)
    assert bad.exit_code == 1 and "Unplanned-Event" in bad.stdout and not bad.stderr
    assert json.loads(elsewhere.read_text())["n_violations"] == 1


def test_schemas_are_written_one_an_event_and_drafted_from_again(planned, project, tmp_path):
    folder = tmp_path / "schemas"
    assert call("new", "schemas", "tiny", folder).exit_code == 0
    copy = project / "params/plan.copy.yaml"
    try:
        drafted = call("new", "plan", "copy", *sorted(folder.iterdir()))
        assert drafted.exit_code == 0, drafted.stderr
        assert "1 event, read as JSON Schema" in drafted.stdout
        assert read_plan(copy).micro_conversions == read_plan(planned).micro_conversions
        assert "there is no dataset to hold it against" in call("check", "plan", "copy").stdout
    finally:
        copy.unlink(missing_ok=True)


def test_columns_and_what_is_kept_are_shown(project):
    path = project / "params/plan.mine.yaml"
    try:
        result = call("new", "plan", "mine", PLANS / "sheet.csv")
        assert '"Event Name" as event' in result.stdout and "Jira (1)" in result.stdout
        assert Path(path).is_file()
    finally:
        path.unlink(missing_ok=True)
