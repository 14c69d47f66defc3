"""Plans as nobody would write them: read, or refused in sentences, never with a traceback.

Of other tools' plans nothing is lost: every mark of the file stands in the drafted plan.
"""

import csv
import io
import json
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mctlib.contract import DataError
from mctlib.tracking_plan.draft import draft_of_files
from mctlib.tracking_plan.formats import read_file
from mctlib.tracking_plan.plan import MicroConversion, Plan
from mctlib.tracking_plan.reading import read_plan

PLAN = """micro_conversions:
  a: {label: "A done", events: [{event: x, where: {role: [hr, lead]}}, y], within: 7d, owner: web}
  b: {implies: [a], exposed: [chatbot], properties: {n: {type: number, required: yes}}}
teams: [web, marketing]
terms: {activated: {marketing: {is: a}, web: {is: b, within: 7d}}}
segments: {paid: {where: {channel: [ads, seo]}}}
metrics: {rate_of_b: {kind: rate, of: b, per: a}}
"""
WORDS = sorted({*Plan.model_fields, *MicroConversion.model_fields, "a", "event", "where", "kind"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)
PIECES = st.sampled_from([*"[]{}:,-&*!|>'\"#%@`?", "\n", "  ", "\t", "\0", "<<: ", "!!int ", "~"])
fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refused(tmp_path, text):
    path = tmp_path / "plan.x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        plan = read_plan(path)
        plan.meanings(), plan.asked_segments(), plan.asked_metrics()
    except DataError as error:
        assert str(error).strip()


def test_the_plan_that_is_changed_is_one(tmp_path):
    read_or_refused(tmp_path, PLAN)
    assert read_plan(tmp_path / "plan.x.yaml").micro_conversions.keys() == {"a", "b"}


@fuzzed
@given(
    st.dictionaries(st.sampled_from(list(Plan.model_fields)), VALUES)
    | st.fixed_dictionaries({"micro_conversions": st.fixed_dictionaries({"a": VALUES})})
)
def test_a_plan_of_any_values(tmp_path, content):
    read_or_refused(tmp_path, json.dumps(content))


@fuzzed
@given(at=st.integers(0, len(PLAN)), taken=st.integers(0, 20), piece=PIECES | st.text(max_size=4))
def test_a_plan_with_a_piece_put_in_or_taken_out(tmp_path, at, taken, piece):
    read_or_refused(tmp_path, PLAN[:at] + piece + PLAN[at + taken :])


@fuzzed
@given(st.binary(max_size=60))
def test_a_plan_of_any_bytes(tmp_path, content):
    read_or_refused(tmp_path, content)


# ---- plans of other tools

MARKS = st.integers(1, 999).map("w{}w".format)
CELLS = st.sampled_from(["", "", "yes", "7d", "P2", "iOS", "int", "retention", "true", "1,2"])
CELLS |= MARKS | st.builds("{} ({}); {}: string".format, MARKS, MARKS, MARKS)
CELLS |= st.builds("iOS {}, web/{}".format, MARKS, MARKS)
SHEET = ["event", "Display Name", "description", "owner", "role", "outcome", "priority", "within"]
SHEET += ["platforms", "implies", "since", "version", "question", "property", "type", "required"]
SHEET += ["allowed values", "Property Description", "Jira", "Event", "Team"]
AMPLITUDE = ["Object Owner", "Object Description", "Event Display Name", "Display Name", "Tags"]
AMPLITUDE += ["Property Type", "Property Value Type", "Property Required", "Property Is Array"]
AMPLITUDE += ["Enum Values", "Const Value", "tags"]
KINDS = st.sampled_from(["Event", "Event", "Event Property", "Event Property", "User Property", ""])


def said(content):
    """A JSON's text, without keys whose value says nothing."""
    if isinstance(content, dict):
        there = {key: value for key, value in content.items() if value not in (None, "", [], {})}
        return " ".join([*there, *map(said, there.values())])
    return " ".join(map(said, content)) if isinstance(content, list) else str(content)


def nothing_lost(path, text):
    """The file is read, or refused in one sentence; as a draft it is a plan that says the same."""
    path.write_bytes(text.encode())
    try:
        found = read_file(path)
    except DataError as error:
        assert str(error) and "\n" not in str(error)
        return
    marks = set(re.findall(r"w\d+w", text if path.suffix == ".csv" else said(json.loads(text))))
    told = json.dumps([found.micro_conversions, found.other], ensure_ascii=False)
    assert marks <= set(re.findall(r"w\d+w", told))
    try:
        draft, _ = draft_of_files("x", [path])
    except DataError as error:
        assert str(error)
        return
    assert marks <= set(re.findall(r"w\d+w", draft))
    (path.parent / "plan.x.yaml").write_text(draft, "utf-8")
    plan = read_plan(path.parent / "plan.x.yaml")
    assert plan.micro_conversions.keys() == found.micro_conversions.keys()


def written(rows, delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


@fuzzed
@given(
    st.lists(st.sampled_from(SHEET), min_size=1, max_size=9, unique=True),
    st.lists(st.lists(CELLS, max_size=10), max_size=5),
    st.sampled_from(",;\t|"),
)
def test_of_a_spreadsheet_nothing_is_lost(tmp_path, header, rows, delimiter):
    nothing_lost(tmp_path / "plan.csv", written([["key", *header], *rows], delimiter))


@fuzzed
@given(
    st.lists(st.sampled_from(AMPLITUDE), max_size=9, unique=True),
    st.lists(st.tuples(KINDS, CELLS, st.lists(CELLS, max_size=9)), max_size=6),
)
def test_of_amplitudes_plan_nothing_is_lost(tmp_path, header, rows):
    lines = [[kind, name, *cells] for kind, name, cells in rows]
    text = written([["Object Type", "Object Name", *header], *lines], ",")
    nothing_lost(tmp_path / "plan.csv", text)


LEAVES = MARKS | st.sampled_from([None, True, False, 0, 1, 2.5, "", "object", "string", "event"])
WORDS_OF_SCHEMA = ["type", "title", "$schema", "properties", "required", "enum", "const"]
WORDS_OF_SCHEMA += ["description", "additionalProperties", "allOf", "if", "then", "x-required"]
WORDS_OF_SCHEMA += ["x-micro-conversion", "metadata", "com.mixpanel", "displayName", "name"]
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS_OF_SCHEMA) | MARKS, inner, max_size=4)
    ),
    max_leaves=8,
)
PROPERTY = st.dictionaries(st.sampled_from(WORDS_OF_SCHEMA) | MARKS, ANYTHING, max_size=4)
OURS = st.fixed_dictionaries({"name": MARKS}, optional=dict.fromkeys(("label", "other"), ANYTHING))
PART = st.dictionaries(st.sampled_from(WORDS_OF_SCHEMA), ANYTHING, max_size=4)
PART = st.builds(dict, PART, **{"x-micro-conversion": OURS | ANYTHING})
SCHEMA = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(WORDS_OF_SCHEMA, ANYTHING),
        "x-micro-conversion": OURS | ANYTHING,
        "allOf": st.lists(PART | ANYTHING, max_size=3) | ANYTHING,
        "properties": st.dictionaries(MARKS, PROPERTY | ANYTHING, max_size=3),
        "required": st.lists(MARKS, max_size=2) | ANYTHING,
        "type": st.just("object") | ANYTHING,
    },
)
WRAPPED = st.fixed_dictionaries(
    {"properties": st.fixed_dictionaries({"properties": SCHEMA}, optional={"context": ANYTHING})},
    optional={"required": st.just(["properties"]) | ANYTHING, "title": MARKS, "w0w": ANYTHING},
)
RULE = st.fixed_dictionaries(
    {"type": st.just("TRACK") | LEAVES, "jsonSchema": SCHEMA | WRAPPED | LEAVES},
    optional={"key": MARKS | ANYTHING}
    | dict.fromkeys(("name", "version", "description", "rules", "createdAt"), LEAVES),
)
ENTRY = st.fixed_dictionaries(
    {"entityType": st.just("event") | LEAVES, "name": MARKS | LEAVES},
    optional={
        "schemaJson": SCHEMA | ANYTHING,
        "tags": ANYTHING,
        "metadata": st.dictionaries(
            st.just("com.mixpanel"),
            st.fixed_dictionaries({}, optional={"teamContacts": ANYTHING, "displayName": LEAVES}),
        ),
    },
)
FILES = {
    "segment": st.builds(
        lambda rules, w: {"data": {"rules": rules, "w": w}}, st.lists(RULE), LEAVES
    ),
    "segment, config": st.builds(
        lambda events, w: {"rules": {"events": events, "global": w}, "name": w},
        st.lists(RULE | LEAVES),
        ANYTHING,
    ),
    "mixpanel": st.builds(lambda each, w: {"results": each, "w": w}, st.lists(ENTRY), LEAVES),
    "json schema": SCHEMA | WRAPPED,
    "anything": ANYTHING,
}


@pytest.mark.parametrize("tool", FILES)
@fuzzed
@given(data=st.data())
def test_of_a_tools_json_nothing_is_lost(tmp_path, tool, data):
    nothing_lost(tmp_path / "plan.json", json.dumps(data.draw(FILES[tool])))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.csv", "event,owner\rsaved,w1w\r"),
        ("plan.csv", f"event,owner\nsaved,{'x' * 200_000}\n"),
        ("plan.csv", f"event,property,type,values\na,n,number,{'[' * 100_000}\n"),
        ("plan.json", '{"a": ' * 100_000),
        ("plan.json", '[{"entityType": "event", "name": "\\ud800"}]'),
        ("plan.json", '[{"entityType": "event", "name": "a", "w": NaN}]'),
    ],
)
def test_files_that_a_reader_stumbles_over(tmp_path, name, text):
    nothing_lost(tmp_path / name, text)
