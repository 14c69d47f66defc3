"""The way of one event, as mctlib/README.md tells it: what it names is there, and is passed."""

import importlib
import json
import re
import sys
import threading
from operator import attrgetter
from pathlib import Path

import pytest

import mctlib
from mctlib import diagnose_funnel, open_log, report

PACKAGE = Path(mctlib.__file__).parent
WAY = (PACKAGE / "README.md").read_text("utf-8").split("## The way of one event")[1]
FILE, NAME = r"`([\w/]+\.py)`", r"`(\w+(?:\.\w+)?)`"
HOPS = re.findall(rf"^\d+\. \*\*{FILE}, {NAME}:", WAY, re.M)
STEPS = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]
RULE = {"window": "14d", "competing": "account_deleted"}


def named():
    """Every file and name that the way says together: a hop, a help, a line of the last table."""
    words = " ".join(WAY.split())
    of = re.findall(rf"{NAME} of {FILE}", words) + re.findall(rf"\| {NAME} \| {FILE} \|", words)
    return sorted({*re.findall(rf"{FILE}, {NAME}", words), *((file, name) for name, file in of)})


def test_there_are_ten_hops_at_most():
    assert 8 <= len(HOPS) <= 10 and set(HOPS) <= set(named())


@pytest.mark.parametrize(("file", "name"), named())
def test_what_the_way_names_is_there(file, name):
    module = importlib.import_module(f"mctlib.{file[:-3].replace('/', '.')}")
    assert attrgetter(name)(module).__module__ == module.__name__


def test_its_files_are_there():
    files = set(re.findall(r"`(\w[\w/]*\.(?:py|html\.j2))`", WAY))
    assert {file for file in files if not any(PACKAGE.rglob(file))} == set()


class Passed(list):
    """The functions of the package in the order in which they first came to their end."""

    def __call__(self, frame, event, _):
        file = Path(frame.f_code.co_filename)
        if event == "return" and file.is_relative_to(PACKAGE):
            place = str(file.relative_to(PACKAGE)), frame.f_code.co_qualname
            if place not in self:
                self.append(place)

    def __enter__(self):
        threading.setprofile(self)
        sys.setprofile(self)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        threading.setprofile(None)


def test_a_line_of_an_export_passes_the_hops_in_turn(tmp_path, monkeypatch):
    (line,) = re.findall(r'^\{"event".*$', WAY, re.M)
    own = {"time": 1772457300 - 3600, "distinct_id": "u-100"}
    before = [{"event": event, "properties": own} for event in STEPS[:3]]
    (tmp_path / "events.jsonl").write_text("\n".join([*map(json.dumps, before), line]))
    (tmp_path / "params").mkdir()
    data = "name: tiny\nevents: {path: events.jsonl, format: mixpanel}\n"
    (tmp_path / "params/data.tiny.yaml").write_text(data)
    monkeypatch.chdir(tmp_path)
    with Passed() as passed:
        log = open_log("tiny")
        found = diagnose_funnel(log, STEPS, window="14d", as_of="2026-03-30")
        report.finding(found)
    assert found.steps["n_reached"].tolist() == [1, 1, 1, 1]
    assert [place for place in passed if place in HOPS] == HOPS[:9]


def test_the_demos_number_passes_them_too(demo_log):
    with Passed() as passed:
        found = diagnose_funnel(demo_log, STEPS, by="channel", as_of="2026-11-29", **RULE)
    assert [place for place in passed if place in HOPS] == HOPS[3:8]
    helped = {place for place in named() if place[1] in ("_pick", "walk_attempts")}
    assert helped <= set(passed)
    first = found.headlines[0]
    told = f"{first.label}: {first.number} {first.unit}, {first.range}"
    assert f'"{told}"' in " ".join(WAY.split())
