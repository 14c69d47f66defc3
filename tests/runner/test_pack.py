"""What a pack may say: everything is checked before a kernel starts."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from mctlib import open_log
from mctlib.contract import DataError, ParameterError
from mctlib.runner import pack
from tests.support.project import GOOD, NOTEBOOKS


def good(**changes):
    """The pack's text with the settings of its report `good` replaced."""
    return f"dataset: tiny\nnotebooks:\n  good: {json.dumps(changes)}\n"


WRONG = {
    "unknown key": (
        "dataset: tiny\nnotebook: {}\nnotebooks: {good: {}}\n",
        'params/weekly.yaml: "notebook" is not a field. Did you mean "notebooks"?',
    ),
    "unknown key of a report": (
        good(parms="x.yaml"),
        '"notebooks.good.parms" is not a field. Did you mean "params"?',
    ),
    "no notebooks": ("dataset: tiny\n", '"notebooks" is missing'),
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
        "params/wekly.yaml cannot be read (No such file or directory). "
        "Did you mean params/weekly.yaml?",
    ),
    "parameter": (
        good(set={"windw": "7d"}),
        'params/weekly.yaml, good: notebooks/good.ipynb has no parameter "windw". '
        'Did you mean "window" or "windows"?',
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
    "window without unit": (
        good(set={"window": 14}),
        'parameter "window" of good must be str, not 14',
    ),
    "pack's own": (good(set={"as_of": "2026-03-02"}), '"as_of" is one for the whole pack'),
    "as_of before": (
        "as_of: 2026-02-28\n" + GOOD,
        "as_of 2026-02-28 lies outside the data, which run from 2026-03-01 to 2026-03-31",
    ),
    "as_of after": ("as_of: 2026-04-01\n" + GOOD, "as_of 2026-04-01 lies outside the data"),
    "as_of is a word": (
        "as_of: now\n" + GOOD,
        'params/weekly.yaml: as_of is "now"; write latest, a day like "2026-03-31" '
        'or a timestamp like "2026-03-31T12:00:00Z".',
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
        'params/weekly.yaml: "notebooks" is empty.',
    ),
    "notebook elsewhere": (
        good(notebook="../good"),
        'params/weekly.yaml, good: "../good" cannot name a notebook of notebooks/; use letters',
    ),
    "credential in a value": (
        good(set={"by": "postgres://me:hunter2@host/db"}),
        'parameter "by" of good looks like a credential',
    ),
    "number or text": (
        "dataset: tiny\nnotebooks:\n  good: {set: {by: 1.10}}\n",
        '1.10 can be a number or a text: write 1.1 or "1.10"',
    ),
    "keep": (GOOD + "keep: 0\n", '"keep" must be greater than or equal to 1, not 0.'),
}


@pytest.mark.parametrize(("text", "fragment"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_before_any_kernel_starts(project, text, fragment):
    (project / "params/weekly.yaml").write_text(text)
    with pytest.raises((ParameterError, DataError)) as error:
        pack.check_pack("params/weekly.yaml")
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)
    assert "hunter2" not in str(error.value)


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
    shown = re.escape(text)
    complaint = rf'line 2: {shown} can be a number or a text: write .* or "{shown}"'
    with pytest.raises(ParameterError, match=complaint):
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
    assert pack.last_complete_day(pd.Timestamp(last, tz="UTC")) == day


@pytest.mark.parametrize(
    ("wait", "day"), [("0h", "2026-03-01"), ("30h", "2026-02-27"), (None, "2026-03-01")]
)
def test_settled_is_the_last_day_that_has_arrived(tmp_path, monkeypatch, wait, day):
    """Three in ten events wait 30 hours: those of 27 February are in, those of 28 are not."""
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(1440), unit="h")
    waits = pd.to_timedelta(np.where(np.arange(1440) % 10 < 3, wait or "0h", "0h"))
    events = pd.DataFrame(
        {"user_id": "u", "event": "a", "timestamp": at, "received_at": at + waits}
    )
    events = events[events["received_at"] <= at.max()]
    for folder in ("params", "notebooks"):
        (tmp_path / folder).mkdir()
    shutil.copy(NOTEBOOKS / "silent.ipynb", tmp_path / "notebooks")
    events.drop(columns=["received_at"] * (wait is None)).to_csv(tmp_path / "e.csv", index=False)
    (tmp_path / "params/data.late.yaml").write_text("name: late\nevents: {path: e.csv}\n")
    (tmp_path / "params/late.yaml").write_text("dataset: late\nnotebooks: {silent: }\n")
    monkeypatch.chdir(tmp_path)
    log = open_log("late")
    assert pack.resolved("latest", log) == "2026-03-01" and pack.resolved("settled", log) == day
    for wished, newest in (("settled", ""), (day, "2026-03-01" if day < "2026-03-01" else "")):
        asked, log, _ = pack.check_pack("params/late.yaml", wished)
        assert asked.as_of == day
        assert pack.newer(asked, log) == newest, "a pack of settled days is of the newest of them"
    assert pack.resolved("2026-01-05", log) == "2026-01-05"


def test_all_mistakes_of_a_pack_are_told_at_once(project):
    (project / "params/weekly.yaml").write_text(
        "dataset: tiny\nas_of: soon\nnotebooks:\n"
        "  good: {set: {windw: 7d, min_users: ten, by: 3}}\n"
        "  god:\n"
        "  variant: {notebook: good, params: params/none.yaml, set: {as_of: latest}}\n"
    )
    with pytest.raises(ParameterError) as error:
        pack.check_pack("params/weekly.yaml")
    lines = str(error.value).splitlines()
    for fragment in (
        'good: notebooks/good.ipynb has no parameter "windw"',
        'there is no notebook "god"',
        "params/none.yaml cannot be read",
        'variant: "as_of" is one for the whole pack',
        'as_of is "soon"',
        'parameter "min_users" of good must be int, not "ten".',
        'parameter "by" of good must be str | None, not 3.',
    ):
        (line,) = [line for line in lines if fragment in line]
        assert "params/" in line.split(":")[0], "each names the file where it stands"
    assert len(lines) == 7


def test_a_packs_own_mistakes_are_told_with_those_of_its_data_and_of_its_parameters(project):
    roi = {"start": "signed_up", "succes": "x", "margin": 7, "change_at": "soon"}
    (project / "params/weekly.yaml").write_text(
        "dataset: broken\nkeep: 0\ntimeout: long\nnotebooks:\n"
        f"  roi: {{set: {json.dumps(roi)}}}\n  god: {{note: 5}}\n"
    )
    (project / "params/data.broken.yaml").write_text(
        "name: broken\nreporting_timezone: Mars\nevents: {path: exports/events.csv, zone: UTC}\n"
    )
    try:
        with pytest.raises(ParameterError) as error:
            pack.check_pack("params/weekly.yaml")
    finally:
        (project / "params/data.broken.yaml").unlink()
    lines = str(error.value).splitlines()
    for fragment in (
        'data.broken.yaml: "events.zone" is not a field.',
        'data.broken.yaml: the reporting_timezone "Mars" is no IANA name.',
        '"keep" must be greater than or equal to 1, not 0.',
        '"notebooks.god.note" must hold "name: value" lines, not 5.',
        'timeout: "long" is not a duration',
        'notebooks/roi.ipynb has no parameter "succes". Did you mean "success"?',
        'parameter "margin" of roi must be a share above 0 and at most 1, not 7.',
    ):
        assert len([line for line in lines if fragment in line]) == 1, fragment
    assert len(lines) == 7


def test_all_unknown_keys_of_a_pack_are_told_at_once(project):
    (project / "params/weekly.yaml").write_text("dataset: tiny\nkep: 3\nnotebook: {}\n")
    with pytest.raises(ParameterError) as error:
        pack.check_pack("params/weekly.yaml")
    assert str(error.value).splitlines() == [
        'params/weekly.yaml: "notebooks" is missing.',
        'params/weekly.yaml: "kep" is not a field. Did you mean "keep"?',
        'params/weekly.yaml: "notebook" is not a field. Did you mean "notebooks"?',
    ]
