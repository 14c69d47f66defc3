"""A first YAML from the files."""

import shutil
from pathlib import Path

import pytest

from mctlib.contract import ParameterError
from mctlib.sources.dataset import read_dataset
from mctlib.sources.draft import draft
from tests.sources.reading import EXPORTS, read

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
