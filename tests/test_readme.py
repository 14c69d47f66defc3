"""What the README says a newcomer may do, done as it is printed, on a small export of our own."""

import gzip
import json
import re
import shlex
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from mctlib.__main__ import main
from mctlib.report.parameters import MODELS
from tests.alerts.test_sending import by_cron
from tests.support.project import ROOT, make_project, mctlib

README = "".join((ROOT / f"{folder}README.md").read_text("utf-8") for folder in ("", "params/"))
PATH = ["signed_up", "profile_completed", "first_job_posted"]
PROGRAM = ".venv/bin/python -m mctlib "


def blocks(language, words):
    """Blocks of code of a language, without their indent, whose text has these words."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", README, re.M | re.S)
    return [
        re.sub(rf"^{indent}", "", text, flags=re.M)
        for indent, named, text in found
        if named == language and words in text
    ]


def commands(words):
    """The commands of a block as arguments of the program, comments left out."""
    (block,) = blocks("", words)
    return [
        shlex.split(line.removeprefix(PROGRAM), comments=True)
        for line in block.splitlines()
        if line.startswith(PROGRAM)
    ]


def call(arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def project(tmp_path, monkeypatch):
    """600 users over 20 weeks: seven in ten complete the profile, half of these post a job."""
    for folder in ("params", "exports", "notebooks"):
        (tmp_path / folder).mkdir()
    for notebook in ("funnel", "activation", "audit", "scorecard"):
        text = (ROOT / f"notebooks/{notebook}.ipynb").read_text("utf-8")
        (tmp_path / f"notebooks/{notebook}.ipynb").write_text(text, "utf-8")
    rng, events = np.random.default_rng(1), []
    people = ["User ID,Created"]
    for user in range(600):
        at = datetime(2026, 1, 1) + timedelta(days=rng.uniform(0, 140))
        people.append(f"u{user},{at:%Y-%m-%d %H:%M:%S}")
        for event in PATH[: 1 + (rng.random() < 0.7) * (1 + (rng.random() < 0.5))]:
            own = {"time": int((at - datetime(1970, 1, 1)).total_seconds())}
            own |= {"distinct_id": f"u{user}", "$insert_id": f"{user} {event}"}
            own |= {"mp_lib": ("web", "android")[user % 2]}
            events.append(json.dumps({"event": event, "properties": own}))
            at += timedelta(hours=rng.exponential(30))
    with gzip.open(tmp_path / "exports/events.jsonl.gz", "wt") as file:
        file.write("\n".join(events))
    (tmp_path / "exports/crm.csv").write_text("\n".join(people))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_as_printed():
    """The two files that a newcomer writes."""
    (data,), (pack,) = blocks("yaml", "name: talentflow"), blocks("yaml", "dataset: talentflow")
    assert pack.startswith("# params/talentflow.yaml\n")
    Path("params/data.talentflow.yaml").write_text(data)
    Path("params/talentflow.yaml").write_text(pack)


def test_an_own_export_is_loaded_checked_and_drafted_from(project):
    write_as_printed()
    assert "600 of 600 users with events are among people" in call(["load", "talentflow"])
    said = call(["check", "params/talentflow.yaml"])
    assert said.startswith("params/talentflow.yaml is good: funnel, activation on talentflow")
    Path("params/talentflow.yaml").unlink()
    for step in ("new plan talentflow", "new pack talentflow"):
        assert f"`{step}`" in README
        call(step.split())
    call(["check", "params/talentflow.yaml"])


def test_a_tracking_plan_is_drafted_imported_checked_and_written(project):
    write_as_printed()
    schema = {"type": "object", "properties": {"role": {"type": "string"}}}
    rules = [{"type": "TRACK", "key": event, "version": 1, "jsonSchema": schema} for event in PATH]
    Path("segment.json").write_text(json.dumps({"data": {"trackingPlan": {"rules": rules}}}))
    Path("batch.jsonl").write_text('{"event": "signed_up", "platform": "web"}\n')
    plan = Path("params/plan.talentflow.yaml")
    done = commands("check plan talentflow")
    assert [words[:2] for words in done] == [
        *([["new", "plan"]] * 2),
        ["check", "plan"],
        ["check", "events"],
        ["new", "schemas"],
    ]
    for arguments in done:
        if arguments[:2] == ["new", "plan"]:
            plan.unlink(missing_ok=True)  # the README names two ways, one beside the other
        call(arguments)
    assert sorted(path.stem for path in Path("schemas").iterdir()) == sorted(PATH)
    assert Path("batch.jsonl.report.json").is_file()


def test_a_day_of_the_timeline_is_added(project):
    write_as_printed()
    (source,) = re.findall(r"`(timeline: \{path: exports/timeline.csv\})`", README)
    with Path("params/data.talentflow.yaml").open("a") as data:
        print(source, file=data)
    Path("exports/timeline.csv").write_text("day,kind,label\n")
    (arguments,) = [words for words in commands("timeline add") if words[0] == "timeline"]
    call(arguments)
    assert "2026-04-13,competitor,instant interviews" in Path("exports/timeline.csv").read_text()


def test_every_command_is_one():
    """As click reads it, and as make does; what they do is held by the tests of each."""
    lines = [line for block in blocks("", "") for line in block.splitlines()]
    called = [line.split("-m mctlib ")[1] for line in lines if "-m mctlib " in line]
    assert len(called) > 10
    for line in called:
        words, group = shlex.split(line, comments=True), main
        while words and words[0] in getattr(group, "commands", {}):
            group = group.commands[words.pop(0)]
        group.make_context("mctlib", words)
    made = {line.split("#")[0].strip() for line in lines if line.startswith("make ")}
    made |= set(re.findall(r"`(make [a-z-]+)`", README))
    assert made >= {"make report", "make test", "make bench SIZE=100", "make lab"}
    for line in made:
        done = subprocess.run([*line.split(), "-n"], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    report = subprocess.run(
        ["make", "--no-print-directory", "-n", "report"], cwd=ROOT, capture_output=True, text=True
    )
    assert report.stdout.splitlines()[-1] == f"{PROGRAM}run params/weekly.yaml"


@pytest.mark.integration
def test_the_line_for_cron_runs_the_pack(tmp_path):
    done = by_cron(
        root := make_project(tmp_path / "project"), "run params/weekly.yaml", "README.md"
    )
    assert done.returncode == 0, done.stderr
    assert (root / "outputs/weekly/latest/good.html").is_file()


@pytest.mark.integration
def test_the_line_for_papermill_runs(tmp_path, monkeypatch):
    (line,) = re.findall(r"`(papermill notebooks/.*?)`", README)
    for folder in ("notebooks", "params", "outputs"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    kept, run = (
        json.loads(path.read_text("utf-8"))["cells"][-1]["outputs"][0]["data"]
        for path in (ROOT / "notebooks/funnel.ipynb", tmp_path / "out.ipynb")
    )
    assert run == kept


def test_people_are_forgotten(project):
    write_as_printed()
    Path("ids.txt").write_text("u1\nu2\n")
    (arguments,) = commands("forget talentflow")
    assert "rejected (forgotten)" in call(arguments)


@pytest.mark.integration
def test_one_command_leads_from_an_export_to_a_page(project):
    (arguments,) = commands("start talentflow")
    done = mctlib(project, *arguments)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.splitlines()[-1]).is_file()
    write_as_printed()
    again = mctlib(project, "run", "params/talentflow.yaml")
    assert again.returncode == 0, again.stderr


def test_the_python_block_runs_as_it_is_printed(monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python", "open_log")
    names = {}
    exec(code, names)
    assert len(names["funnel"].steps) == 2


def test_the_table_of_parameters_names_what_the_notebooks_ask():
    table = README.split("| parameter | notebook |")[1].split("\n\n")[0]
    told = {notebook: {"dataset"} for notebook in MODELS}
    for line in table.splitlines()[2:]:
        _, names, notebooks, _ = (cell.strip() for cell in line.split("|", 3))
        of = MODELS if notebooks == "all" else notebooks.split(", ")
        for notebook in of:
            told[notebook] |= set(re.findall(r"`([a-z_]+)`", names))
    assert told == {name: {"dataset", *model.model_fields} for name, model in MODELS.items()}


def test_the_readme_counts_the_notebooks_as_they_are():
    words = {5: "five", 6: "six", 7: "seven", 8: "eight", 9: "nine", 10: "ten"}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    pack = yaml.safe_load((ROOT / "params/weekly.yaml").read_text("utf-8"))["notebooks"]
    questions = words[len(notebooks - {"guide"})]
    assert f"is {words[len(notebooks)]} Jupyter notebooks" in README
    assert f"{questions} questions and a guide" in README
    assert f"runs the {words[len(pack)]} of the weekly pack" in README
    assert set(re.findall(r"^\| \[`(\w+)`\]\(notebooks/", README, re.M)) == notebooks
