"""The parameters of the house's notebooks, held against the data before a kernel starts."""

import re

import pytest

import mctlib
from mctlib.contract import ParameterError
from mctlib.runner.declared import declared_parameters
from mctlib.runner.pack import check_pack
from mctlib.runner.parameters import MODELS
from tests.support.project import NOTEBOOKS, ROOT, STEPS, pack_of

WRONG = {
    "window": (
        pack_of("funnel", window="fortnight"),
        '"fortnight" is not a duration; write a number with its unit',
    ),
    "negative window": (
        pack_of("funnel", window="-3d"),
        'parameter "window" of funnel: "-3d" must be longer than nothing',
    ),
    "window without unit": (
        pack_of("funnel", window=14),
        'parameter "window" of funnel must be str, not 14',
    ),
    "one of several windows": (
        pack_of("attribution", windows=["30d", 14]),
        'parameter "windows" of attribution: "14" is not a duration',
    ),
    "event": (
        pack_of("funnel", steps=["signed_up", ["profile_complete"]]),
        'event "profile_complete" does not occur in tiny. Did you mean "profile_completed"?',
    ),
    "one step": (
        pack_of("funnel", steps=["signed_up"]),
        'parameter "steps" of funnel needs at least two steps, not ["signed_up"].',
    ),
    "empty event": (
        pack_of("funnel", steps=["signed_up", ""]),
        '"" names no event; '
        "write a name, a list of names, or {event: name, where: {column: value}}",
    ),
    "empty list of events": (
        pack_of("funnel", steps=["signed_up", []]),
        "[] names no event",
    ),
    "key of an event": (
        pack_of("funnel", steps=[{"event": "signed_up", "were": {"platform": "ios"}}, STEPS[1]]),
        'an event has the keys "event" and "where", not "were". Did you mean "where"?',
    ),
    "where without event": (
        pack_of("funnel", steps=["signed_up", {"where": {"platform": "ios"}}]),
        '{"where": {"platform": "ios"}} names no event',
    ),
    "where is a text": (
        pack_of("funnel", steps=["signed_up", {"event": STEPS[1], "where": "ios"}]),
        '"where" holds "column: value" lines, not "ios"',
    ),
    "value of a property": (
        pack_of("funnel", steps=["signed_up", {"event": STEPS[1], "where": {"platform": "io"}}]),
        'event "profile_completed [platform=io]" does not occur in tiny. Did you mean "ios"?',
    ),
    "event below a mapping": (
        pack_of("funnel", steps=[{"event": "signd_up"}, STEPS[1]]),
        'Did you mean "signed_up"?',
    ),
    "event of another notebook": (
        pack_of("roi", success="signedup"),
        'parameter "success" of roi: event "signedup" does not occur',
    ),
    "covariate": (
        pack_of("roi", covariates=["signedup"]),
        'parameter "covariates" of roi: event "signedup" does not occur',
    ),
    "column": (
        pack_of("funnel", by="platfrm"),
        'parameter "by" of funnel: "platfrm" is neither a column of people or events',
    ),
    "one of several columns": (
        pack_of("attribution", kinds=["platform", "platfrm"]),
        'parameter "kinds" of attribution: "platfrm" is neither a column of people or events',
    ),
    "column of hashes": (
        pack_of("funnel", by="properties.device_id"),
        'parameter "by" of funnel: "properties.device_id" holds ids, which no table or sentence',
    ),
    "kinds that are hashes": (
        pack_of("attribution", kinds=["properties.session_id"]),
        'parameter "kinds" of attribution: "properties.session_id" holds ids, which no table',
    ),
    "a source that no touch has": (
        pack_of("attribution", sources=["platfrm"]),
        'parameter "sources" of attribution: "platfrm" is neither a column of the events nor '
        'written as properties.<key>. Did you mean "platform"?',
    ),
    "columns below a list": (
        pack_of("attribution", kinds=[["platform"]]),
        'parameter "kinds" of attribution must be a column\'s name, not ["platform"].',
    ),
    "day": (
        pack_of("roi", change_at="yesterday"),
        'parameter "change_at" of roi is "yesterday"; write a day like "2026-03-31"',
    ),
    "day outside": (
        pack_of("roi", change_at="2026-04-01"),
        "2026-04-01 lies outside the data, which run from 2026-03-01 to 2026-03-31.",
    ),
    "day as a number": (
        pack_of("funnel", before=[20260301, "2026-03-02"]),
        'parameter "before" of funnel is 20260301; write a day',
    ),
    "days backwards": (
        pack_of("funnel", before=["2026-03-09", "2026-03-02"]),
        "2026-03-09 comes after 2026-03-02; write the earlier day first.",
    ),
    "half a period": (
        pack_of("funnel", after=["2026-03-09"]),
        'parameter "after" of funnel must be a first and a last day, not ["2026-03-09"].',
    ),
    "what conversions bring": (
        pack_of("attribution", value_of="amount"),
        'parameter "value_of" of attribution: event "profile_completed [event.amount=present]"',
    ),
    "choice": (
        pack_of("attribution", rule="linea"),
        'parameter "rule" of attribution must be one of first, last, linear, time_decay, position, '
        'markov, shapley, not "linea". Did you mean "linear"?',
    ),
    "segment": (
        pack_of("roi", treated="andriod"),
        '"andriod" is no segment of "platform". Did you mean "android"?',
    ),
    "segments": (
        pack_of("activation", reference=["ios", "web"]),
        '"web" is no segment of "platform". It has android, ios.',
    ),
    "segment of nothing": (
        pack_of("roi", by=""),
        'parameter "treated" of roi is "ios", but "by" names no column',
    ),
    "money": (
        pack_of("roi", cost=-1.0),
        'parameter "cost" of roi is an amount of money; write a number of 0 or more, not -1',
    ),
    "endless money": (
        pack_of("roi", cost=7.5).replace("7.5", "1e999"),
        "write a number of 0 or more",
    ),
    "more than all of the money": (
        pack_of("roi", margin=1.5),
        'parameter "margin" of roi must be a share above 0 and at most 1, not 1.5.',
    ),
    "no windows": (
        pack_of("activation", landmark=[]),
        'parameter "landmark" of activation names no duration; write at least one.',
    ),
    "start is activation": (
        pack_of("activation", activation="signed_up"),
        "they must be different events",
    ),
    "step that is none": (
        pack_of("funnel", required=[3]),
        'parameter "required" of funnel: 3 is no number of a step; the steps are 1 to 2.',
    ),
    "alias of a number": (
        pack_of("attribution", aliases={"ana10": 5}),
        'parameter "aliases" of attribution: 5 is not right, input should be a valid string.',
    ),
}


@pytest.mark.parametrize(("text", "fragment"), WRONG.values(), ids=WRONG)
def test_a_mistake_is_named_before_any_kernel_starts(project, text, fragment):
    (project / "params/weekly.yaml").write_text(text)
    with pytest.raises(ParameterError) as error:
        check_pack("params/weekly.yaml")
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("notebook", "settings"),
    [
        ("roi", {"by": "", "treated": ""}),
        ("roi", {"treated": ""}),
        ("roi", {"change_at": "2026-03-01"}),
        ("roi", {"change_at": "2026-03-31T23:00:00Z"}),
        ("roi", {"cost": 0.0}),
        ("activation", {"reference": ["ios", "android"]}),
        ("activation", {"reference": []}),
        ("activation", {"competing": "<script>alert(1)</script>"}),
        ("funnel", {"before": ["2026-03-02", "2026-03-02"]}),
        ("funnel", {"required": [1, 2]}),
        ("funnel", {"steps": [["signed_up", "profile_completed"], {"event": "signed_up"}]}),
        ("funnel", {"steps": ["signed_up", {"event": STEPS, "where": {"platform": "ios"}}]}),
        ("attribution", {"start": [], "kinds": [], "sources": ["survey:who told you?"]}),
    ],
)
def test_what_is_right_passes(project, notebook, settings):
    (project / "params/weekly.yaml").write_text(pack_of(notebook, **settings))
    check_pack("params/weekly.yaml")


@pytest.mark.parametrize(
    ("notebook", "settings", "complaint"),
    [
        ("funnel", {"exclude": [{"event": "signed_up"}], "optional": [2]}, ""),
        ("funnel", {"hold": ["platform"]}, ""),
        ("activation", {"adjust": ["week"], "strata": ["month"]}, ""),
        ("roi", {"arms": "platform", "arms_reference": "ios"}, ""),
        ("roi", {"arms": "platform", "shares": {"ios": 1, "android": 0.5}}, ""),
        ("roi", {"cost_error": [800.0, 0.5], "wish": 0.0, "arms_users": "known"}, ""),
        (
            "funnel",
            {
                "steps": [
                    {"event": "signed_up", "where": {"platform": {"not": "ios"}}},
                    "profile_completed",
                ]
            },
            "",
        ),
        (
            "funnel",
            {
                "steps": [
                    "signed_up",
                    {"event": "profile_completed", "where": {"platform": {"not": "iso"}}},
                ]
            },
            ': event "profile_completed" never has platform=iso in tiny. Did you mean "ios"?',
        ),
        (
            "funnel",
            {
                "steps": [
                    "signed_up",
                    {"event": "profile_completed", "where": {"platform": {"is": "ios"}}},
                ]
            },
            ': the filter of "platform" has the tests not, >=, >, <=, <, contains, present, not "i',
        ),
        (
            "funnel",
            {
                "steps": [
                    "signed_up",
                    {"event": "profile_completed", "where": {"platform": ["ios", "andriod"]}},
                ]
            },
            ': event "profile_completed" never has platform=andriod in tiny. ',
        ),
        ("funnel", {"exclude": ["signed_up"]}, ': "signed_up" is no exclusion; write {event: '),
        (
            "funnel",
            {"exclude": [{"event": "signed_up", "befor": 2}]},
            ': an exclusion has the keys "event", "after", "before" and "where", not "befor". '
            'Did you mean "before"?',
        ),
        ("funnel", {"exclude": [{"after": 1}]}, ": {} names no event;"),
        (
            "funnel",
            {"exclude": [{"event": "sign_up"}]},
            ': event "sign_up" does not occur in tiny. Did you mean "signed_up"?',
        ),
        ("funnel", {"exclude": [{"event": "signed_up", "before": 3}]}, ": 3 is no number of a"),
        ("funnel", {"exclude": [{"event": "signed_up", "after": 2}]}, ': "after" must be an ear'),
        ("funnel", {"optional": ["2"]}, ': "2" is no number of a step; the steps are 1 to 2.'),
        ("funnel", {"hold": ["plan"]}, ': The column "plan" is empty'),
        ("activation", {"strata": ["plan"]}, ': The column "plan" is empty'),
        ("activation", {"adjust": ["platform"]}, ': "platform" stands under "by" already; name it'),
        ("activation", {"strata": ["week", "week"]}, ': "week" stands there twice.'),
        ("roi", {"arms": "platform", "arms_reference": "web"}, ': "web" is no segment of "plat'),
        ("roi", {"arms_reference": "ios"}, ' is "ios", but "arms" names no column'),
        ("roi", {"arms": "platform", "shares": {"web": 1}}, ': "web" is no segment of "plat'),
        ("roi", {"arms": "platform", "shares": {"ios": 0}}, ": 0 is not right, input should be gr"),
        ("roi", {"arms_users": "old"}, ' must be one of new, known, not "old".'),
        ("roi", {"cost_error": [-1.0]}, ": write a standard deviation of 0 or more and, behind"),
        ("roi", {"cost_error": [1.0, 2.0]}, ": write a standard deviation of 0 or more and, beh"),
        ("funnel", {"by": {"platform": [2, 1]}}, ': "platform" is put into bins by [2, 1]; write'),
        ("funnel", {"by": {"platform": [1]}}, ': "platform" cannot be put into bins, for it hol'),
        ("funnel", {"by": ["platform"]}, " must be a column's name or {name: [bins]}, not ["),
        ("funnel", {"hold": [{"platform": [1]}]}, " must be a column's name, not {"),
        ("activation", {"adjust": [5]}, " must be a column's name or {name: [bins]}, not 5."),
        ("roi", {"wish": -1.0}, ": -1.0 is not right, input should be greater than or equal"),
    ],
)
def test_the_newer_parameters(project, notebook, settings, complaint):
    (project / "params/weekly.yaml").write_text(pack_of(notebook, **settings))
    if not complaint:
        check_pack("params/weekly.yaml")
        return
    with pytest.raises(ParameterError) as error:
        check_pack("params/weekly.yaml")
    assert re.search(rf'parameter "\w+" of {notebook}{re.escape(complaint)}', str(error.value))


def test_every_mistake_names_the_file_where_the_value_stands(project):
    (project / "params/mine.yaml").write_text(
        "steps: [signed_up, profile_complete, signd_up]\ncompeting: gone\nwindow: 7\n"
    )
    (project / "params/weekly.yaml").write_text(
        "dataset: tiny\nnotebooks:\n"
        '  funnel: {params: params/mine.yaml, set: {competing: "", by: platfrm, before: [],'
        " change_by: platform}}\n"
    )
    with pytest.raises(ParameterError) as error:
        check_pack("params/weekly.yaml")
    outside = "lies outside the data, which run from 2026-03-01 to 2026-03-31."
    default = "It is not set there; this is the notebook's default, which is the demo's."
    window, first, second, column, *days = str(error.value).splitlines()
    assert window == 'params/mine.yaml: parameter "window" of funnel must be str, not 7.'
    steps = 'params/mine.yaml: parameter "steps" of funnel: event'
    assert first.startswith(f'{steps} "profile_complete" does not occur in tiny. Did you mean')
    assert second.startswith(f'{steps} "signd_up" does not occur in tiny. Did you mean')
    assert column.startswith('params/weekly.yaml: parameter "by" of funnel: "platfrm" is neither')
    after = 'params/weekly.yaml: parameter "after" of funnel:'
    assert days == [
        f"{after} 2026-05-11 {outside} {default}",
        f"{after} 2026-06-21 {outside} {default}",
    ]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_parameters_of_its_notebook(name):
    declared = declared_parameters(ROOT / f"notebooks/{name}.ipynb").keys()
    assert declared - {"dataset", "as_of"} == MODELS[name].model_fields.keys()


def test_the_rules_of_credit_are_the_package_s_own(project):
    (project / "params/weekly.yaml").write_text(pack_of("attribution", rule="none"))
    with pytest.raises(ParameterError, match=f"must be one of {', '.join(mctlib.RULES)}, not"):
        check_pack("params/weekly.yaml")


def test_a_notebook_of_one_s_own_is_held_to_its_declared_types():
    declared = declared_parameters(NOTEBOOKS / "good.ipynb")
    assert declared["steps"].type == list[str | list[str]]
    assert declared["by"] == (str | None, None)
    assert declared["min_users"] == (int, 10)


def test_a_plans_names_are_events_and_its_window_is_the_funnels(project):
    plan = project / "params/plan.tiny.yaml"
    profile = "profile_completed: {events: [{event: profile_completed, where: {platform: ios}}]"
    try:
        plan.write_text(
            f"micro_conversions:\n  done: {{events: [signed_up]}}\n  {profile}, within: 7d}}\n"
        )
        asked = {
            "steps": ["done", "profile_completed"],
            "window": "",
            "exclude": [{"event": "done"}],
        }
        (project / "params/weekly.yaml").write_text(pack_of("funnel", **asked))
        check_pack("params/weekly.yaml")
        (project / "params/weekly.yaml").write_text(
            pack_of("funnel", **asked | {"steps": ["done", "dune"]})
        )
        with pytest.raises(
            ParameterError, match='"dune" does not occur in tiny. Did you mean "done"'
        ):
            check_pack("params/weekly.yaml")
        (project / "params/weekly.yaml").write_text(
            pack_of("funnel", steps=["done", "signed_up"], window="")
        )
        with pytest.raises(ParameterError, match='"" is not a duration'):
            check_pack("params/weekly.yaml")
    finally:
        plan.unlink()
