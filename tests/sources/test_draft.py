"""A first YAML from the files."""

import shutil
from pathlib import Path

import pytest

from mctlib.contract import ParameterError
from mctlib.sources.dataset import read_dataset
from mctlib.sources.draft import draft
from tests.sources.reading import EXPORTS, HEAD, read

FIXTURES = [
    [
        "canonical/events.csv",
        "canonical/people.csv",
        "canonical/surveys.csv",
        "canonical/spend.csv",
        "canonical/timeline.csv",
    ],
    ["columns/app_log.csv", "columns/crm.csv"],
    ["mixpanel/export.jsonl"],
    ["amplitude/part_0.json", "amplitude/part_1.json"],
    ["segment/tracks.csv", "segment/identifies.csv"],
    ["posthog/events.jsonl", "posthog/persons.jsonl"],
    ["ga4/events_20260105.jsonl"],
    ["snowplow/enriched.tsv"],
    ["canonical/events.csv", "canonical/responses.csv", "typeform/responses.csv"],
    [
        "canonical/events.csv",
        "canonical/backend.csv",
        "zigpoll/responses.csv",
        "zigpoll_segment/survey_completed.csv",
    ],
]


@pytest.mark.parametrize("files", FIXTURES, ids=lambda files: files[-1].split("/")[0])
def test_a_drafted_yaml_is_valid_and_its_sources_read(project, files):
    text = draft("mine", [str(EXPORTS / file) for file in files])
    Path("params/data.mine.yaml").write_text(text)
    dataset = read_dataset(Path("params/data.mine.yaml")) if "events:" in text else None
    formats = {file.split("/")[0] for file in files} - {"zigpoll"}
    drafted = list(dataset.sources())
    assert {source.format for _, source in drafted} >= formats - {"canonical"}
    for table, source in drafted:
        assert read(table, **source.model_dump())[table]


def test_a_drafted_yaml_in_full(project):
    for name in ("app_log", "crm"):
        shutil.copy(EXPORTS / f"columns/{name}.csv", f"{name}.csv")
    assert draft("talent", ["app_log.csv", "crm.csv"]) == (
        "# Drafted from the files; look at every line marked with a question mark.\n"
        "name: talent\n"
        "# currency: EUR  # printed with every amount of money: which?\n"
        "events:\n"
        '  - path: "app_log.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "event": "What happened"  # guessed?\n'
        '      "timestamp": "When"  # guessed?\n'
        '      "platform": "Device"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
        "people:\n"
        '  - path: "crm.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "signed_up_at": "Created"  # guessed?\n'
        '      "plan": "Plan"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
    )


@pytest.mark.parametrize("name", ["x/y", "a b", "../x", ""])
def test_a_drafted_name_must_name_a_store(project, name):
    with pytest.raises(ParameterError) as error:
        draft(name, ["e.csv"])
    assert (
        str(error.value)
        == f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'
    )


GUESSED = "    timezone: UTC  # guessed? the times carry no zone\n"
TIMES = {
    "day first": (
        ["03/04/2026 10:11", "13/04/2026 10:11"],
        '    date_format: "%d/%m/%Y %H:%M"  # guessed?\n' + GUESSED,
    ),
    "month first, told late": (
        ["3/4/26"] * 1500 + ["3/14/26"],
        '    date_format: "%m/%d/%y"  # guessed?\n' + GUESSED,
    ),
    "not told": (
        ["03/04/2026", "05/06/2026"],
        '    # date_format: "%d/%m/%Y"  # or "%m/%d/%Y"? The times do not tell which number is the'
        " day\n" + GUESSED,
    ),
    "words": (
        ["5 January 2026", "6 February 2026"],
        '    date_format: "%d %B %Y"  # guessed?\n' + GUESSED,
    ),
    "a spreadsheet's": (["46027.5"], '    date_format: "excel"  # guessed?\n' + GUESSED),
    "letters": (
        ["2026-01-05 10:11 IST"],
        '    date_format: "%Y-%m-%d %H:%M IST"  # guessed?\n'
        "    # timezone: Europe/London  # which zone is meant by IST?\n",
    ),
    "no need": (["2026/01/05 10:11"], GUESSED),
    "nothing": (["2026-01-05T10:11:12Z"], ""),
}


@pytest.mark.parametrize(("written", "lines"), TIMES.values(), ids=TIMES)
def test_a_drafted_yaml_says_how_times_are_written_or_asks(project, written, lines):
    Path("e.csv").write_text(HEAD + "".join(f"u,e,{w}\n" for w in written))
    drafted = draft("mine", ["e.csv"])
    assert drafted.partition("    format: canonical\n")[2] == lines


def test_a_drafted_yaml_joins_a_day_and_its_clock(project):
    Path("e.csv").write_text("Uid,Event,Time,Date\nu,e,10:11,13.01.2026\n")
    assert draft("mine", ["e.csv"]).partition("    columns:\n")[2] == (
        '      "user_id": "Uid"  # guessed?\n'
        '      "event": "Event"  # guessed?\n'
        '      "timestamp": ["Date", "Time"]  # guessed?\n'
        '    date_format: "%d.%m.%Y %H:%M"  # guessed?\n' + GUESSED
    )
