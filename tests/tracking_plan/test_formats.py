"""Plans of other tools, in and out. The files hold the fields that the tools document."""

import json
from pathlib import Path

import jsonschema
import pytest

from mctlib.contract import DataError
from mctlib.tracking_plan.formats import json_schemas, read_file
from mctlib.tracking_plan.reading import as_plan

PLANS = Path(__file__).parent / "plans"
# Written by hand from the files, which all describe the same two events.
WHOLE = {
    "Interview Scheduled": {
        "description": "A candidate books an interview",
        "properties": {
            "source": {
                "type": "string",
                "required": "yes",
                "enum": ["form", "import"],
                "description": "How it was booked",
            },
            "minutes": {"type": "integer", "required": "no"},
            "first": {"type": "boolean", "required": "no"},
        },
    },
    "Job Saved": {},
}
FILES = [
    "segment_public.json",
    "segment_plain.json",
    "segment_config.json",
    "amplitude.csv",
    "mixpanel.json",
    "sheet.csv",
]
OWN = ("other", "version", "owner", "label", "platforms")  # what only some of the tools know


def plan_of(micro_conversions):
    return as_plan({"micro_conversions": micro_conversions}, "test")


def shared(plan):
    """What all of the tools know."""
    told = plan.model_dump(include={"micro_conversions"})["micro_conversions"]
    for each in told.values():
        for name in OWN:
            each.pop(name)
        for said in each["properties"].values():
            said.pop("other")
    return told


@pytest.mark.parametrize("file", FILES)
def test_a_tools_plan_becomes_the_same_plan(file):
    wanted = json.loads(json.dumps(WHOLE))
    if file == "mixpanel.json":  # which does not say what is required
        for each in wanted["Interview Scheduled"]["properties"].values():
            del each["required"]
    assert shared(plan_of(read_file(PLANS / file).micro_conversions)) == shared(plan_of(wanted))


@pytest.mark.parametrize("file", FILES)
def test_a_plan_written_as_json_schema_is_read_again_as_the_same_plan(file, tmp_path):
    plan = plan_of(read_file(PLANS / file).micro_conversions)
    again = {}
    for number, schema in enumerate(json_schemas(plan).values()):
        jsonschema.Draft7Validator.check_schema(schema)
        (tmp_path / f"{number}.json").write_text(json.dumps(schema))
        again |= read_file(tmp_path / f"{number}.json").micro_conversions
    assert plan_of(again) == plan


def test_filters_several_events_and_all_fields_survive_json_schema(tmp_path):
    plan = plan_of(
        {
            "booked": {
                "label": "Booked",
                "events": [{"event": "interview", "where": {"role": "candidate", "n": 1}}, "call"],
                "properties": {
                    "source": {"type": ["string", "null"], "required": "yes"},
                    "room": {"required": "unknown", "other": {"pattern": "^[A-Z]"}},
                },
                "additional": "flag",
                "within": "14d",
                "target": {"rate": 0.5},
                "exposed": ["chatbot"],
                "since": {"day": "2026-01-05", "ios": "4.10"},
                "other": {"Jira": "HR-7"},
            },
            "held": {
                "events": [{"event": "interview", "where": {"platform": "web"}}],
                "additional": "flag",
                "properties": {"minutes": {"type": "number", "required": "yes"}},
            },
        }
    )
    again = {}
    for event, schema in json_schemas(plan).items():
        (tmp_path / f"{event}.json").write_text(json.dumps(schema))
        again |= read_file(tmp_path / f"{event}.json").micro_conversions
    assert plan_of(again) == plan


@pytest.mark.parametrize(
    ("file", "event", "kept"),
    [
        ("segment_public.json", "Interview Scheduled", {"createdAt": "2026-01-05T00:00:00Z"}),
        ("amplitude.csv", "Interview Scheduled", {"Event Category": "Onboarding", "Tags": "kpi"}),
        ("mixpanel.json", "Interview Scheduled", {"tags": ["kpi"]}),
    ],
)
def test_what_no_field_holds_is_kept_and_told(file, event, kept):
    found = read_file(PLANS / file)
    assert found.micro_conversions[event]["other"] == kept
    assert set(kept) <= set(found.kept)
    assert any(key in line for key in kept for line in found.told(Path(file)))


def test_what_is_no_event_is_kept_in_the_plan():
    assert "IDENTIFY" in read_file(PLANS / "segment_public.json").other
    assert "property group Device" in read_file(PLANS / "amplitude.csv").other
    assert read_file(PLANS / "mixpanel.json").other == {
        "profile $user": {"properties": {"city": {"type": "string"}}},
        "status": "ok",
    }


def test_of_several_versions_the_last_stands_and_the_others_are_kept():
    said = read_file(PLANS / "segment_plain.json").micro_conversions["Interview Scheduled"]
    assert said["version"] == "2"
    assert said["other"]["version 1"]["description"] == "An older text"


def test_words_of_json_schema_that_are_not_judged_are_kept_in_the_property(tmp_path):
    found = read_file(PLANS / "segment_public.json")
    minutes = found.micro_conversions["Interview Scheduled"]["properties"]["minutes"]
    assert minutes["other"] == {"minimum": 5}
    schema = json_schemas(plan_of(found.micro_conversions))["Interview Scheduled"]
    assert schema["properties"]["minutes"] == {"minimum": 5, "type": "integer"}


def test_the_columns_of_a_spreadsheet_are_guessed_and_shown():
    found = read_file(PLANS / "sheet.csv")
    assert found.columns == {
        "event": "Event Name",
        "description": "What it means",
        "owner": "Team",
        "platforms": "Platforms",
        "property": "Property Name",
        "type": "Data Type",
        "required": "Required?",
        "enum": "Allowed values",
        "property_description": "Property Description",
    }
    said = found.micro_conversions["Interview Scheduled"]
    assert said["owner"] == "product" and said["platforms"] == ["ios", "android"]
    assert said["properties"]["source"]["other"] == {
        "Where tracked": "booking page",
        "Jira": "HR-7",
    }
    _, columns, kept = found.told(Path("sheet.csv"))
    assert '"Team" as owner' in columns and "Jira (1)" in kept


@pytest.mark.parametrize(
    ("header", "row", "said"),
    [
        ("event,properties", "saved,source", {"properties": {"source": {}}}),
        (
            "event,properties",
            'saved,"source (string); n: int"',
            {"properties": {"source": {"type": "string"}, "n": {"type": "integer"}}},
        ),
        (
            "Name,Display name,Owner",
            "saved,Job saved,growth",
            {"label": "Job saved", "owner": "growth"},
        ),
        # an address is no team; a word that is no outcome is kept as it was written
        (
            "event,owner,outcome",
            "saved,ann@x.org,delight",
            {"other": {"owner": "ann@x.org", "outcome": "delight"}},
        ),
        ("event,priority,within", "saved,P2,7d", {"priority": 2, "within": "7d"}),
        (
            "event,priority,within",
            "saved,high,soon",
            {"other": {"priority": "high", "within": "soon"}},
        ),
        (
            "event,property,type,values",
            'saved,n,integer,"1,2"',
            {"properties": {"n": {"type": "integer", "enum": [1, 2]}}},
        ),
        (
            "event\tproperty\ttype",
            "saved\tat\tdate",
            {"properties": {"at": {"type": "string", "other": {"type as written": "date"}}}},
        ),
        (
            "event,property,type",
            "saved,geo,point",
            {"properties": {"geo": {"other": {"type as written": "point"}}}},
        ),
    ],
)
def test_a_row_of_a_spreadsheet(tmp_path, header, row, said):
    (tmp_path / "plan.csv").write_text(f"\ufeff{header}\n{row}\n")
    found = read_file(tmp_path / "plan.csv").micro_conversions
    assert found == {"saved": said}
    plan_of(found)


def test_a_property_that_two_rows_describe_differently_keeps_both(tmp_path):
    (tmp_path / "plan.csv").write_text("event,property,type\na,n,int\na,n,text\n")
    said = read_file(tmp_path / "plan.csv").micro_conversions["a"]["properties"]["n"]
    assert said == {"type": "integer", "other": {"another type": "string"}}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("p.json", "{", "is not valid JSON: Expecting property name"),
        ("p.json", "{}", "is no plan that is known"),
        ("p.json", "3", "is no plan that is known"),
        ("p.json", '{"rules": []}', "is no plan that is known"),
        ("p.json", '{"results": [{"entityType": "profile", "name": "x"}]}', "holds no event"),
        ("p.csv", "colour,size\nred,5\n", "no column holds the events' names"),
        ("p.csv", "event\n", "holds no rows below a header"),
        ("p.csv", "", "holds no rows below a header"),
        ("p.csv", "event,event\na,b\n", 'has two columns "event"'),
        ("p.csv", "event,property\n,x\n", "its first row names no event"),
        ("p.csv", b"event\n\xff\xfe", "is not UTF-8"),
        ("none.csv", None, "cannot be read (No such file or directory)"),
    ],
)
def test_a_file_that_is_no_plan_gets_one_sentence(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        read_file(tmp_path / name)
    assert sentence in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value)


def read(folder, content, name="plan.json"):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_file(path)


def test_nothing_of_segments_plan_is_dropped(tmp_path):
    schema = {"type": "object", "properties": {"n": {"type": {"x": 1}, "enum": [1], "const": 2}}}
    rule = {"type": "TRACK", "key": "a", "jsonSchema": schema | {"description": "its schema's"}}
    rules = [rule | {"version": v, "description": v} for v in ("1.10.0", "1.9.0")]
    found = read(tmp_path, {"data": {"rules": rules}})
    said = found.micro_conversions["a"]
    assert (
        said["description"] == "1.10.0" and said["other"]["another description"] == "its schema's"
    )
    assert said["other"]["version 1.9.0"]["description"] == "1.9.0"
    kept = said["properties"]["n"]["other"]
    assert kept["type as written"] == {"x": 1} and kept["const"] == 2
    config = {"rules": {"events": [{"name": "a", "rules": {}}], "global": {"g": 1}}, "name": "p"}
    assert read(tmp_path, config).other == {"global": {"g": 1}, "name": "p"}


def test_nothing_of_mixpanels_or_of_a_spreadsheet_is_dropped(tmp_path):
    entry = {"entityType": "event", "name": "a"}
    twice = [entry | {"schemaJson": {"description": text}} for text in ("first", "second")]
    said = read(tmp_path, twice).micro_conversions["a"]
    assert (said["description"], said["other"]["another entry"]["description"]) == (
        "second",
        "first",
    )
    sheet = "event,type,platforms,priority\na,track,Web / iOS,P0,more\n"
    found = read(tmp_path, sheet, "plan.csv").micro_conversions["a"]
    assert (found["platforms"], found["priority"]) == (["web", "ios"], 1)
    assert found["other"] == {"type": "track", "priority": "P0", "column 5": "more"}
