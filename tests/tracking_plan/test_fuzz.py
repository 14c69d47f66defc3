"""Plans as nobody would write them: read, or refused in sentences, never with a traceback."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mctlib.contract import DataError
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
