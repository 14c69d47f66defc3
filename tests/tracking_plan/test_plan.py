"""The plan's model: what it reads, and one sentence for every mistake."""

from pathlib import Path

import pytest

from mctlib.contract import DataError
from mctlib.eventlog.steps import Step
from mctlib.tracking_plan.plan import ROLES
from mctlib.tracking_plan.reading import read_plan
from tests.support.project import ROOT


def read(tmp_path, text):
    path = tmp_path / "plan.x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_plan(path)


def mistakes(tmp_path, text):
    with pytest.raises(DataError) as error:
        read(tmp_path, text)
    return str(error.value).splitlines()


def test_the_demos_plan_names_only_what_its_log_holds(demo_log):
    plan = read_plan(ROOT / "params/plan.demo.yaml")
    assert not demo_log.missing_events(plan.meanings().values())
    assert set(demo_log.event_names) == set(plan.rules())


def test_a_micro_conversion_that_says_nothing_is_its_event(tmp_path):
    plan = read(tmp_path, "micro_conversions:\n  job_saved:\n  'Job Viewed': {owner: }\n")
    saved, viewed = plan.micro_conversions.values()
    assert (saved.label, saved.events, saved.within) == ("Job saved", ["job_saved"], "")
    assert (viewed.label, viewed.events, viewed.owner) == ("Job Viewed", ["Job Viewed"], "")
    assert plan.roles == ROLES and not plan.teams


def test_names_that_are_one_in_words_keep_apart(tmp_path):
    plan = read(tmp_path, "micro_conversions: {job_saved: , job saved: , Job_saved: {label: x}}")
    assert [each.label for each in plan.micro_conversions.values()] == [
        "Job saved",
        "job saved",
        "x",
    ]


def test_what_a_name_means(tmp_path):
    plan = read(
        tmp_path,
        """
micro_conversions:
  a: {label: A done, within: 7d}
  b: {events: [x, [y, z]]}
  c: {events: [{event: x, where: {role: candidate, n: [1, 2]}}, {event: y}]}
""",
    )
    a, b, c = plan.meanings().values()
    assert (a, a.name, a.label, a.within) == (Step("a"), "a", "A done", "7d")
    assert b == Step(["x", "y", "z"]) and not b.filtered
    filtered = Step("x", {"role": "candidate", "n": [1, 2]})
    assert c.event == [filtered, "y"] and c.names == ("x", "y") and c.filtered and c.label == "C"


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("required: yes", "yes"),
        ("required: true", "yes"),
        ("required: no", "no"),
        ("required: false", "no"),
        ("", "unknown"),
    ],
)
def test_yes_and_no(tmp_path, written, read_as):
    plan = read(tmp_path, f"micro_conversions: {{a: {{properties: {{n: {{{written}}}}}}}}}")
    assert plan.micro_conversions["a"].properties["n"].required == read_as


@pytest.mark.parametrize(
    ("written", "moves"),
    [
        ("yes", True),
        ("no", False),
        ("true", True),
        ("[]", False),
        ("chatbot", ["chatbot"]),
        ("[a, b]", ["a", "b"]),
    ],
)
def test_which_competitor_moves_could_move_it(tmp_path, written, moves):
    plan = read(tmp_path, f"micro_conversions: {{a: {{exposed: {written}}}}}")
    assert plan.micro_conversions["a"].exposed == moves


@pytest.mark.parametrize(
    ("written", "since"),
    [
        ("2026-01-05", {"day": "2026-01-05"}),
        ('{day: "2026-01-05", android: 4.10, ios: 4.1.0, web: 4}', None),
    ],
)
def test_versions_are_spelled_as_they_were_written(tmp_path, written, since):
    plan = read(tmp_path, f"micro_conversions: {{a: {{since: {written}, version: 1.10}}}}")
    since = since or {"day": "2026-01-05", "android": "4.10", "ios": "4.1.0", "web": "4"}
    assert plan.micro_conversions["a"].since == since
    assert plan.micro_conversions["a"].version == "1.10"


def test_types_are_a_set(tmp_path):
    text = "micro_conversions: {a: {properties: {n: {type: %s}}}}"
    one, two = (
        read(tmp_path, text % types).micro_conversions["a"].properties["n"].type
        for types in ("[string, null]", '["null", string, string]')
    )
    assert one == two == ["null", "string"]


MC = "micro_conversions."
ONE_A_FIELD = [
    ("version: 2", '"version" must be one of 1, not 2.'),
    ('version: "1"', '"version" must be one of 1, not "1".'),
    ("teams: growth", '"teams" must be a list, not "growth".'),
    ("teams: [{name: growth}]", '"teams.0" must be a text, not {"name": "growth"}.'),
    ("roles: {analyst: data}", '"roles.analyst" must hold "name: value" lines, not "data".'),
    ("segments: {s: {where: {n: }}}", '"segments.s.where": the filter of "n" asks for no value;'),
    ("segments: {s: {where: {n: {in: [1]}}}}", 'the filter of "n" has the tests not, >=, >, <=,'),
    ("segments: {s: {where: n=1}}", '"segments.s.where" must hold "name: value" lines'),
    ("terms: {t: {growth: a}}", '"terms.t.growth" must hold "name: value" lines, not "a".'),
    ("metrics: [m]", '"metrics" must hold "name: value" lines, not ["m"].'),
    ("activ:", '"activ" is not a field. Did you mean "active"?'),
    ("activ: [x]", '"activ" is not a field. Did you mean "active"?'),
    ("start: {evnt: x}", '"start": "evnt" is not one of event, where. Did you mean "event"?'),
    ("roles: {a: {mail: x}}", '"roles.a.mail" is not a field.'),
    ("roles: {a: {label: ann@x.org}}", "looks like an address; addresses stand in the pack alone"),
    ("segments: {s: {where: {}}}", '"segments.s.where" is empty.'),
    ("segments: {s: {label: x}}", '"segments.s.where" is missing.'),
    ("segments: {s: {where: {channel: [a, [b]]}}}", "asks for ['b'], which is no single value."),
    ("terms: {t: {growth: {within: 3d}}}", '"terms.t.growth.is" is missing.'),
    ("terms: {t: {growth: {is: 5}}}", '"terms.t.growth.is": 5 is not an event'),
    ("terms: {t: growth}", '"terms.t" must hold "name: value" lines, not "growth".'),
    ("metrics: {m: {of: a}}", '"metrics.m.kind" is missing.'),
    (
        "metrics: {m: {of: a, kind: rat}}",
        'rate, ratio, count, mean, not "rat". Did you mean "rate"',
    ),
    ("metrics: {m: {of: a, kind: rate}}", '"metrics.m": a rate needs its denominator; add  per:'),
    ("metrics: {m: {of: a, kind: mean}}", '"metrics.m": a mean needs the number it is of'),
    ("metrics: {m: {of: a, kind: count, property: n}}", "and only a mean."),
    ("metrics: {m: {of: a, kind: rate, per: active}}", "say what active is; add  active: [event]."),
]
ONE_A_MICRO_CONVERSION = [
    ("5", '"micro_conversions.a" must hold "name: value" lines, not 5.'),
    ("[x]", '"micro_conversions.a" must hold "name: value" lines, not ["x"].'),
    ("{label: 5}", f'"{MC}a.label" must be a text, not 5.'),
    ('{label: "  "}', f'"{MC}a.label" is empty.'),
    ("{owner: [growth, ops]}", f'"{MC}a.owner" must be a text, not ["growth", "ops"].'),
    ('{platforms: "web, ios"}', '"web, ios" is one text; write a list: [web, ios].'),
    ("{properties: {n: number}}", f'"{MC}a.properties.n" must hold "name: value" lines, not "n'),
    ("{properties: {n: {type: int}}}", 'null, not "int". Did you mean "integer"?'),
    ("{properties: {n: {type: [string, 5]}}}", "array, null, not 5."),
    ("{properties: {n: {type: [{a: 1}]}}}", 'array, null, not {"a": 1}.'),
    ("{threshold: 0.1}", f'"{MC}a.threshold" must hold "name: value" lines, not 0.1.'),
    ("{target: {by: 2026-12-31}}", f'"{MC}a.target.rate" is missing.'),
    ("{target: {rate: 65%}}", f'"{MC}a.target.rate" must be a number, not "65%".'),
    ("{within: 2 weeks}", f'"{MC}a.within": "2 weeks" is not a duration; write a number with'),
    ("{since: 4.1.0}", f'"{MC}a.since": "4.1.0" is no day; write it like "2026-01-05".'),
    ("{acts: ann@x.org}", f'"{MC}a.acts": "ann@x.org" is not among roles. Known are data_coll'),
    ("{events: {event: y, where: {n: {'>=': many}}}}", 'the filter of "n" needs a number or a'),
    ("{events: {y: {role: b}}}", f'"{MC}a.events": "y" is not one of event, where.'),
    ("{labl: A}", f'"{MC}a.labl" is not a field. Did you mean "label"?'),
    ('{label: ""}', f'"{MC}a.label" is empty.'),
    ("{events: []}", f'"{MC}a.events" is empty.'),
    ("{events: [{where: {n: 1}}]}", "says no event."),
    ("{events: [{event: x, where: 5}]}", f'"{MC}a.events.0": where is 5; it must map'),
    ("{events: [{event: x, where: {n: {m: 1}}}]}", 'the filter of "n" has the tests not, >='),
    ("{events: [{event: x, where: {n: }}]}", 'the filter of "n" asks for no value'),
    ("{owner: growth@x.org}", f'"{MC}a.owner": looks like an address'),
    ("{outcome: activaton}", 'retention, revenue, not "activaton". Did you mean "activation"?'),
    ("{priority: 0}", f'"{MC}a.priority" must be greater than or equal to 1, not 0.'),
    ("{priority: high}", f'"{MC}a.priority" must be a whole number, not "high".'),
    ("{within: 7}", f'"{MC}a.within": "7" is not a duration; write a number with its unit'),
    ("{within: -7d}", f'"{MC}a.within": "-7d" must be longer than nothing.'),
    ("{platforms: [5]}", f'"{MC}a.platforms.0" must be a text, not 5.'),
    ("{properties: [n]}", f'"{MC}a.properties" must hold "name: value" lines, not ["n"].'),
    ("{properties: {n: {type: strin}}}", 'array, null, not "strin". Did you mean "string"?'),
    ("{properties: {n: {required: maybe}}}", 'must be one of yes, no, unknown, not "maybe".'),
    ("{properties: {n: {enum: x}}}", f'"{MC}a.properties.n.enum" must be a list, not "x".'),
    ("{properties: {n: {typ: string}}}", f'"{MC}a.properties.n.typ" is not a field. Did you mean'),
    ("{additional: no}", f'"{MC}a.additional" must be one of allow, flag, not "no".'),
    ("{implies: {a: b}}", f'"{MC}a.implies": "a" is not one of event, where.'),
    ("{backend: yes}", f'"{MC}a.backend" must be true or false, not "yes".'),
    ("{survey: [x]}", f'"{MC}a.survey" must be a text, not ["x"].'),
    ("{exposed: [chat, 5]}", "must be true, false, or a list of competitor moves"),
    ("{target: 0.5}", f'"{MC}a.target" must hold "name: value" lines, not 0.5.'),
    ("{target: {rate: 65}}", f'"{MC}a.target.rate" must be less than or equal to 1, not 65.'),
    ("{target: {rate: 0.6, by: June}}", '"June" is no day; write it like "2026-01-05".'),
    ("{threshold: {warn: 0.2}}", f'"{MC}a.threshold": warn 0.2 is more than severe 0.15.'),
    ("{bad: sideways}", 'must be one of down, up, both, not "sideways".'),
    ("{since: tomorrow}", f'"{MC}a.since": "tomorrow" is no day; write it like "2026-01-05".'),
    ('{since: {day: "2026-13-45"}}', f'"{MC}a.since": "2026-13-45" is neither a day'),
    ("{since: {ios: [4]}}", "must be a text, not [4]."),
    ("{acts: analist}", f'"{MC}a.acts": "analist" is not among roles. Did you mean "analyst"?'),
    ("{implies: a}", '"implies" goes in a circle: a > a; one must come first.'),
]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(f"{field}\nmicro_conversions: {{a: }}", said) for field, said in ONE_A_FIELD]
    + [(f"micro_conversions: {{a: {given}}}", said) for given, said in ONE_A_MICRO_CONVERSION],
)
def test_a_mistake_gets_one_sentence(tmp_path, text, sentence):
    (said,) = mistakes(tmp_path, text)
    assert said.startswith("plan.x.yaml: ") and sentence in said
    assert said.endswith((".", "?", "under alerts.")) and ".." not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "plan.x.yaml must hold  micro_conversions: {name: {...}}."),
        ("- a", "plan.x.yaml must hold  micro_conversions: {name: {...}}."),
        ("micro_conversions: {}", 'plan.x.yaml: "micro_conversions" is empty.'),
        ("micro_conversions:", 'plan.x.yaml: "micro_conversions" is missing.'),
        ("micro_conversions: {a: {}\n", "plan.x.yaml, line 2: expected ',' or '}', but got"),
        ("micro_conversions:\n  a:\n  a:\n", 'plan.x.yaml, line 3: the key "a" stands here again.'),
        (b"a: \xff", "plan.x.yaml: it is not UTF-8."),
    ],
)
def test_a_file_that_is_no_plan(tmp_path, text, sentence):
    (said,) = mistakes(tmp_path, text)
    assert said.startswith(sentence)


def test_all_mistakes_are_told_at_once(tmp_path):
    said = mistakes(tmp_path, "micro_conversions: {a: {bad: x, within: 3}, b: {labl: B}}\nend: x\n")
    assert len(said) == 4


def test_only_the_whole_plan_shows_circles_labels_and_teams(tmp_path):
    said = mistakes(
        tmp_path,
        """
teams: [growth]
roles: {analyst: {team: dta}}
micro_conversions:
  a: {owner: grwth, implies: [b, x]}
  b: {implies: [c]}
  c: {implies: [a], label: A}
  d: {implies: [a, b, c]}
terms: {ready: {growth: {is: a}, sales: {is: b}}}
""",
    )
    assert said == [
        'plan.x.yaml: "micro_conversions.a.owner": the team "grwth" is not among teams. Did you '
        'mean "growth"?',
        'plan.x.yaml: "roles.analyst.team": the team "dta" is not among teams.',
        'plan.x.yaml: "terms.ready": the team "sales" is not among teams.',
        'plan.x.yaml: "a" and "c" have the same label, "A"; people read labels.',
        'plan.x.yaml: "implies" goes in a circle: a > b > c > a; one must come first.',
    ]


def test_a_file_that_is_not_there():
    with pytest.raises(DataError, match="cannot be read \\(No such file or directory\\)"):
        read_plan(Path("plan.none.yaml"))
