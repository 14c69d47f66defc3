"""Whether a plan holds together, and whether events keep it."""

import gzip
import json
import random

import jsonschema
import pytest

from mctlib.contract import DataError
from mctlib.tracking_plan.check import KINDS, check_events, check_plan, judge
from mctlib.tracking_plan.formats import json_schemas
from mctlib.tracking_plan.reading import as_plan
from tests.support.filters import PASSES, SENT
from tests.support.logs import log_of

# ---- the plan


def remarks(plan, log=None):
    content = plan if "micro_conversions" in plan else {"micro_conversions": plan}
    return check_plan(as_plan(content, "test"), log)


def wrong(plan, log=None):
    return [f"{remark.kind}: {remark.sentence}" for remark in remarks(plan, log) if remark.wrong]


LOG = log_of(
    [
        ("u1", "signed_up", "2026-01-05", "web"),
        ("u1", "profile_completed", "2026-01-06", "web"),
        ("u1", "Profile Completed", "2026-01-06", "web"),
        ("u1", "tea_poured", "2026-01-06", "web"),
    ],
    "platform",
)
MEET = "may both be the event signed_up; tell them apart by a filter."


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        (
            {"a": {"events": ["signed_up"]}, "b": {"events": ["signed_up"]}},
            f'clash: "a" and "b" {MEET}',
        ),
        (
            {
                "a": {"events": [{"event": "signed_up", "where": {"role": ["x", "y"]}}]},
                "b": {
                    "events": ["profile_completed", {"event": "signed_up", "where": {"role": "y"}}]
                },
            },
            f'clash: "a" and "b" {MEET}',
        ),
        # the name of one event for another
        (
            {"signed_up": {"events": ["profile_completed"]}, "b": {"events": ["signed_up"]}},
            'clash: "signed_up" is an event, but means profile_completed; name one otherwise.',
        ),
        (
            {"micro_conversions": {"a": None}, "terms": {"a": {"growth": {"is": "a"}}}},
            'clash: "a" is both a term of several teams and a micro-conversion; name one '
            "otherwise.",
        ),
        (
            {"a": {"implies": ["signd_up"]}, "signed_up": None},
            'unknown: implies of a: "signd_up" is neither a micro-conversion nor an event. Did you '
            'mean "signed_up"?',
        ),
        (
            {"micro_conversions": {"signed_up": None}, "start": "sign_up"},
            'unknown: start: "sign_up" is neither a micro-conversion nor an event. Did you mean '
            '"signed_up"?',
        ),
        (
            {"a": {"platforms": ["web", "andriod"]}},
            'unknown: a: "andriod" is no platform. Did you mean "android"?',
        ),
        (
            {"micro_conversions": {"a": None}, "segments": {"channel": {"where": {"plan": "x"}}}},
            'clash: "channel" is both a segment and a column; name one otherwise.',
        ),
        ({"a": {"since": {"iso": "4.1"}}}, 'unknown: a: "iso" is no platform. Did you mean "ios"?'),
        # people take two names for one, whatever their capitals and spaces
        (
            {"a": {"label": "Sign-up"}, "b": {"label": "sign-UP "}},
            'clash: the labels of "a" and "b" read alike, "Sign-up" and "sign-UP"; name one '
            "otherwise.",
        ),
        (
            {
                "micro_conversions": {"a": None},
                "terms": {"t": {"growth": {"is": "a"}, "Growth": {"is": "a", "within": "7d"}}},
            },
            'clash: "growth" and "Growth" of the term t read as one team; name one otherwise.',
        ),
        (
            {
                "active": ["a"],
                "micro_conversions": {"a": None},
                "metrics": {"m": {"kind": "rate", "of": "a", "per": "activ"}},
            },
            'unknown: metric m: "activ" is neither a micro-conversion nor an event. Did you mean '
            '"active"?',
        ),
    ],
)
def test_what_must_be_put_right(plan, sentence):
    assert wrong(plan) == [sentence]


def test_one_event_whose_property_has_two_types():
    typed = {
        "events": [{"event": "x", "where": {"role": "a"}}],
        "properties": {"n": {"type": "string"}},
    }
    other = {"events": ["x"], "properties": {"n": {"type": "number"}}}
    assert wrong({"a": typed, "b": other}) == [
        'clash: "n" of the event x has one type in "a", another in "b".'
    ]
    # with filters that never meet they are two things
    other["events"] = [{"event": "x", "where": {"role": "b"}}]
    assert not remarks({"a": typed, "b": other})[:-2]


def test_an_event_with_a_filter_beside_the_whole_event_may_be_meant():
    plan = {"a": None, "b": {"events": [{"event": "a", "where": {"role": "x"}}]}}
    (clash,) = [remark for remark in remarks(plan) if remark.kind == "clash"]
    assert clash.sentence.endswith("one is the other with a filter.") and not clash.wrong


def test_a_name_that_is_near_to_none_may_be_an_event_unless_the_data_are_known():
    plan = {"signed_up": None, "b": {"events": ["tea_poured"], "implies": ["account_opened"]}}
    assert not wrong(plan)
    assert wrong(plan, LOG) == [
        'unknown: implies of b: "account_opened" is neither a micro-conversion nor an event.'
    ]


def test_segments_and_numbers_of_metrics_are_looked_for_in_the_data():
    plan = {
        "micro_conversions": {"signed_up": {"events": ["signed_up", "profile_completed"]}},
        "segments": {
            "on web": {"where": {"platform": "web"}},
            "on ios": {"where": {"platform": ["web", "wob"]}},
            "rich": {"where": {"revenu": {">": 5}}},
        },
        "metrics": {"depth": {"kind": "mean", "of": "signed_up", "property": "minuts"}},
    }
    on_ios, rich, depth = wrong(plan, LOG)
    assert on_ios.startswith('unknown: segment on ios: event "any event" never has platform=wob')
    assert 'Did you mean "web"?' in on_ios
    assert rich.startswith('unknown: segment rich: event "any event [revenu > 5]" does not occur')
    assert depth.startswith("unknown: metric depth: event ") and "minuts" in depth
    assert not wrong(plan)  # without data nobody knows


def test_orphans_are_told_but_not_wrong():
    plan = {
        "a": {"owner": "growth", "acts": "analyst"},
        "b": {"outcome": "revenue", "owner": "growth"},
    }
    assert [remark.sentence for remark in remarks(plan)] == [
        "a are tied to no outcome.",
        "nobody acts as data_collector, response_coordinator.",
    ]


def test_a_role_that_must_act_without_a_team_is_told():
    each = {"owner": "growth", "outcome": "revenue"}
    plan = {
        "roles": {"analyst": {"team": "data"}, "boss": {"label": "Boss"}},
        "micro_conversions": {"a": each | {"acts": "boss"}, "b": each | {"acts": "analyst"}},
    }
    assert [(remark.sentence, remark.wrong) for remark in remarks(plan)] == [
        ("boss must act, but no team is named for it.", False)
    ]
    plan["roles"]["boss"]["team"] = "ops"
    assert not remarks(plan)


def test_events_never_seen_and_events_not_planned():
    plan = {
        "signed_up": {"owner": "x", "outcome": "activation"},
        "profile_completed": {"owner": "x", "outcome": "activation"},
        "booked": {"owner": "x", "outcome": "activation", "events": ["interview_booked"]},
        "on ios": {
            "owner": "x",
            "outcome": "activation",
            "events": [{"event": "tea_drunk", "where": {"platform": "ios"}}],
        },
    }
    assert [(remark.kind, remark.sentence) for remark in remarks(plan, LOG)] == [
        ("never seen", 'booked: event "interview_booked" does not occur in frame.'),
        ("never seen", 'on ios: event "tea_drunk" does not occur in frame.'),
        (
            "not planned",
            'the event "Profile Completed" is seen. Did you mean "profile_completed"?',
        ),
        ("not planned", "tea_poured: seen."),
    ]


# ---- a batch


def filtered(where, asked):
    """A micro-conversion of some rows of one event, which must have a property."""
    return {
        "events": [{"event": "talk", "where": where}],
        "properties": {asked: {"type": "string", "required": "yes"}},
    }


PLAN = as_plan(
    {
        "micro_conversions": {
            "signed_up": {
                "properties": {
                    "source": {"type": "string", "required": "yes", "enum": ["form", "import"]},
                    "n": {"type": "integer", "required": "no"},
                    "note": {"type": ["string", "null"], "required": "yes"},
                },
                "additional": "flag",
            },
            "rated": {
                "properties": {
                    "stars": {"type": "number", "enum": [1, 2.5, [1], {"a": True}, None]},
                    "why": {"required": "yes"},
                }
            },
            "booked": {
                "events": [
                    {"event": "interview", "where": {"role": ["candidate", 1], "paid": True}}
                ],
                "properties": {"room": {"type": "object", "required": "yes"}},
                "additional": "flag",
            },
            "held": {
                "events": ["interview", "call"],
                "properties": {"minutes": {"type": ["number", "array"]}, "source": {}},
            },
            "not here": filtered({"role": {"not": ["form", 1]}}, "p"),
            "in part": filtered({"role": {"contains": ["or", "ca"]}}, "q"),
            "told": filtered({"source": {"present": True}, "role": {"present": False}}, "r"),
            "many": filtered({"n": {">=": 1, "<": "2.5"}, "paid": {"not": True}}, "s"),
            "few": filtered({"properties.n": {"not": {">": 1}, "present": True}}, "t"),
        }
    },
    "test",
)
VALUES = ["form", "import", "x", "", 1, 1.0, 2.5, 0, "1", True, False, "true", None]
VALUES += [[1], [1.0], [True], {"a": True}, {"a": 1}, "candidate"]
KEYS = ["source", "n", "note", "stars", "why", "role", "paid", "room", "minutes"]
OF_VALIDATOR = {
    "required": "Required-Missing",
    "type": "Datatype-Mismatch",
    "additionalProperties": "Additional-Properties",
    "enum": "Unknown-Violation",
}


def test_events_are_judged_as_jsonschema_judges_them():
    rng, rules = random.Random(1), PLAN.rules()
    schemas = {
        event: jsonschema.Draft7Validator(schema) for event, schema in json_schemas(PLAN).items()
    }
    seen, judged = set(), 0
    while judged < 3000:
        event = rng.choice(list(schemas))
        named = list(rules[event].named)
        keys = rng.sample(named, rng.randint(0, len(named))) + rng.sample(KEYS, rng.randint(0, 1))
        message = {"properties": {key: rng.choice(VALUES) for key in keys}}
        if event == "talk" and message["properties"].get("n") == "1":
            continue  # a number as a text: no schema compares it
        judged += 1
        ours = {violation.kind for violation in judge(message, event, rules[event], PLAN)}
        theirs = {
            OF_VALIDATOR[error.validator]
            for error in schemas[event].iter_errors(message["properties"])
        }
        assert ours == theirs, (event, message)
        seen |= {(event, kind) for kind in ours} | {(event, "good")} - {(event, k) for k in ours}
    wanted = {*OF_VALIDATOR.values(), "good"}
    assert {kind for _, kind in seen} == wanted and {event for event, _ in seen} == set(schemas)


def batch(tmp_path, *lines):
    path = tmp_path / "batch.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


GOOD = {"source": "form", "note": None}


def test_a_batch_is_counted_by_event_and_platform(tmp_path):
    # counted by hand: 7 events; sign_up is not planned, one has two violations, one a further key
    path = batch(
        tmp_path,
        {"event": "signed_up", "platform": "iOS", "properties": GOOD},
        {"event": "signed_up", "platform": "ios", "properties": {"source": 5}},
        "",
        {
            "event": "signed_up",
            "context": {"library": {"name": "analytics.js"}},
            "properties": GOOD,
        },
        {"event_type": "sign_up", "platform": "Android", "event_properties": {}},
        {
            "batch": [
                {"type": "identify", "userId": "u1"},
                {"type": "track", "event": "signed_up", "properties": {**GOOD, "extra": 1}},
                {"event": "call", "properties": {"anything": 1}},
            ]
        },
        {"event": "signed_up", "properties": [1], "platform": "ios"},
    )
    report = check_events(path, PLAN).report()
    assert {key: n for key, n in report.items() if key.startswith("n_")} == {
        "n_events": 7,
        "n_violating": 4,
        "n_violations": 6,
        "n_not_tracked": 1,
    }
    rows = {(row.pop("event"), row.pop("platform")): row for row in report["events"]}
    counted = {place: {key: n for key, n in row.items() if n} for place, row in rows.items()}
    assert counted == {
        ("call", "(none)"): {"n_events": 1},
        ("sign_up", "android"): {"n_events": 1, "n_violating": 1, "Unplanned-Event": 1},
        ("signed_up", "(none)"): {"n_events": 1, "n_violating": 1, "Additional-Properties": 1},
        ("signed_up", "ios"): {
            "n_events": 3,
            "n_violating": 2,
            "Required-Missing": 1,
            "Datatype-Mismatch": 2,
            "Unknown-Violation": 1,
        },
        ("signed_up", "web"): {"n_events": 1},
    }
    lines = {(v["kind"], v["what"]): v["first_line"] for v in report["violations"]}
    assert lines["Required-Missing", "note"] == 2 and lines["Additional-Properties", "extra"] == 6


def test_a_batch_and_a_log_pass_the_same_filters():
    # the table of filters whose users were counted by hand, but for columns that only people have
    messages = {
        user: {"event": "sent", "platform": platform, "properties": properties}
        for user, platform, properties in SENT
    }
    judged = 0
    for where, passes in PASSES:
        asked = {key.removeprefix("event.") for key in where}
        if asked & {"people.plan", "signed_up_at", "revenue"}:
            continue
        plan = as_plan({"micro_conversions": {"x": filtered_sent(where)}}, "test")
        rules = plan.rules()["sent"]
        found = [user for user, m in messages.items() if judge(m, "sent", rules, plan)]
        assert found == passes.split(), where
        judged += 1
    assert judged > 20


def filtered_sent(where):
    return {
        "events": [{"event": "sent", "where": where}],
        "properties": {"never there": {"required": "yes"}},
    }


def test_what_only_people_say_is_not_judged_in_a_batch():
    plan = as_plan({"micro_conversions": {"x": filtered_sent({"people.plan": {"not": "a"}})}}, "t")
    assert not judge({"properties": {}}, "sent", plan.rules()["sent"], plan)
    assert json_schemas(plan)["sent"]["allOf"][0]["if"] is False


@pytest.mark.parametrize(
    ("message", "meets"),
    [
        ({"properties": {"role": "candidate", "paid": True}}, True),
        ({"properties": {"role": "1", "paid": "true"}}, True),
        ({"properties": {"role": 1.0, "paid": True}}, True),
        ({"properties": {"role": "recruiter", "paid": True}}, False),
        ({"properties": {"role": "candidate", "paid": 1}}, False),
        ({"properties": {"role": "candidate"}}, False),
    ],
)
def test_only_events_that_meet_the_filter_are_held_to_it(message, meets):
    found = judge(message, "interview", PLAN.rules()["interview"], PLAN)
    assert bool(found) is meets  # the room is missing


def test_a_filter_may_name_a_column_of_the_event():
    plan = as_plan(
        {
            "micro_conversions": {
                "a": {
                    "events": [{"event": "x", "where": {"platform": "ios"}}],
                    "properties": {"n": {"required": "yes"}},
                }
            }
        },
        "test",
    )
    rules = plan.rules()["x"]
    assert judge({"platform": "ios"}, "x", rules, plan)
    assert not judge({"platform": "web"}, "x", rules, plan)


def test_no_value_of_a_property_is_repeated(tmp_path):
    path = batch(
        tmp_path, {"event": "signed_up", "properties": {"source": "zoe@x.org", "n": "zoe"}}
    )
    found = check_events(path, PLAN)
    assert "zoe" not in json.dumps(found.report()) + "".join(found.lines_of_table())


def test_the_table_says_what_the_report_says(tmp_path):
    path = batch(tmp_path, {"event": "x"}, {"event": "signed_up", "properties": GOOD})
    head, good, bad, _, said, total = check_events(path, PLAN).lines_of_table()
    assert head.split() == ["event", "platform", "events", "violating", *KINDS]
    assert good.split() == ["signed_up", "(none)", "1", "0", "0", "0", "0", "0", "0"]
    assert bad.split() == ["x", "(none)", "1", "1", "1", "0", "0", "0", "0"]
    assert (
        said == "x on (none): Unplanned-Event, x (no event of the plan), 1 event, first in line 1"
    )
    assert total == "2 events, 1 of them violating; 1 violation."


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["{"], "line 1: it is no JSON object, one event a line."),
        (["", "5"], "line 2: it is no JSON object"),
        (['{"properties": {}}'], 'line 1: it has no "event"'),
        (['{"event": 5}'], 'line 1: it has no "event"'),
        ([], "holds no event."),
        (["[" * 100_000], "line 1: it is no JSON object"),
        (['{"event": "\\ud800"}'], "line 1: it is no JSON object"),
    ],
)
def test_a_file_that_is_no_batch_gets_one_sentence(tmp_path, lines, sentence):
    with pytest.raises(DataError) as error:
        check_events(batch(tmp_path, *lines), PLAN)
    assert sentence in str(error.value) and "batch.jsonl" in str(error.value)


def test_a_batch_may_be_in_gzip_and_hold_any_character(tmp_path):
    line = '{"event": "x", "properties": {"note": "one\u2028line"}}\r\n'
    path = tmp_path / "batch.jsonl.gz"
    packed = gzip.compress(2 * line.encode())
    path.write_bytes(packed)
    assert check_events(path, PLAN).events.total() == 2
    path.write_bytes(packed[:-4])
    with pytest.raises(DataError, match=r"cannot be read \(its gzip is cut short or damaged\)"):
        check_events(path, PLAN)
