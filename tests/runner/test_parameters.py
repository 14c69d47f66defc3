"""The parameters of the house's notebooks, held against the data before a kernel starts."""

import re

import pytest

import mctlib
from mctlib.contract import ParameterError, number_meant
from mctlib.report.declared import declared_parameters
from mctlib.report.parameters import MODELS
from mctlib.runner.pack import check_pack
from tests.support.project import NOTEBOOKS, ROOT, SCRIPT, STEPS, pack_of

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
        "write a name, {event: name, where: {column: value}}, or a list of these",
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
    "too many steps": (
        pack_of("funnel", steps=["signed_up"] * 64),
        'parameter "steps" of funnel has 64 steps; 63 is the most.',
    ),
    "first step optional": (
        pack_of("funnel", optional=[1]),
        'parameter "optional" of funnel: step 1 cannot be optional',
    ),
    "last step required": (
        pack_of("funnel", required=[2], before=["2026-03-01"] * 2, after=["2026-03-08"] * 2),
        'parameter "required" of funnel: step 2 has no later step that could prove it',
    ),
    "exit among the steps": (
        pack_of("funnel", competing="signed_up"),
        'parameter "competing" of funnel: one event could be both the exit "signed_up" and the',
    ),
    "one event twice in any order": (
        pack_of("funnel", steps=["signed_up", ["signed_up", STEPS[1]]], order="unordered"),
        'parameter "steps" of funnel: one event could be both',
    ),
    "swapped periods": (
        pack_of("funnel", before=["2026-03-09", "2026-03-15"], after=["2026-03-01", "2026-03-08"]),
        'parameter "before" of funnel: it comes later than the period after; swap the two.',
    ),
    "overlapping periods": (
        pack_of("funnel", before=["2026-03-01", "2026-03-08"], after=["2026-03-08", "2026-03-15"]),
        'parameter "before" of funnel: it must end before the period after begins (2026-03-08).',
    ),
    "period that is not over": (
        pack_of("funnel", before=["2026-03-01", "2026-03-08"], after=["2026-03-20", "2026-03-30"]),
        'parameter "after" of funnel: users who entered on 2026-03-30 were still inside their',
    ),
    "compared with nothing": (
        pack_of("funnel", before=["2026-03-01", "2026-03-08"]),
        'parameter "before" of funnel: compared with what? "after" names no period.',
    ),
    "exit that is the activation": (
        pack_of("activation", competing="profile_completed"),
        'parameter "competing" of activation: one event could be both the exit',
    ),
    "landmark after the horizon": (
        pack_of("activation", landmark=["3d", "100d"]),
        'parameter "landmark" of activation: 3d, 100d must lie before the horizon (90d).',
    ),
    "horizon before the landmark that nobody gave": (
        pack_of("activation", horizon="2d"),
        'parameter "landmark" of activation: 3d must lie before the horizon (2d).',
    ),
    "per cent": (
        pack_of("roi", margin="12,5 %"),
        'parameter "margin" of roi must be float, not "12,5 %". Did you mean 0.125?',
    ),
    "per cent without its sign": (
        pack_of("roi", margin=12.5),
        "must be a share above 0 and at most 1, not 12.5. Did you mean 0.125?",
    ),
    "German number": (
        pack_of("roi", value="1.234,50 €"),
        "write a number of 0 or more, not",
    ),
}
ON_IOS = {"event": "profile_completed", "where": {"platform": ["ios"]}}


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
        ("funnel", {"before": ["2026-03-02", "2026-03-02"], "after": ["2026-03-03", "2026-03-03"]}),
        ("funnel", {"required": [1, 2]}),
        ("funnel", {"steps": [["signed_up", "profile_completed"], {"event": "signed_up"}]}),
        ("funnel", {"steps": ["signed_up", {"event": STEPS, "where": {"platform": "ios"}}]}),
        ("funnel", {"steps": ["signed_up", [{"event": STEPS[1]}, STEPS[1]]]}),
        ("attribution", {"start": [], "kinds": [], "sources": ["survey:who told you?"]}),
        ("funnel", {"competing": {"event": SCRIPT, "where": {"platform": "ios"}}}),
        ("activation", {"start": {"event": "signed_up"}, "activation": ON_IOS}),
        ("activation", {"competing": {"event": SCRIPT}, "observed_from": ["signed_up"]}),
        ("activation", {"censor": [{"event": SCRIPT, "where": {"platform": {"present": True}}}]}),
        ("attribution", {"conversion": ON_IOS, "start": [ON_IOS, "signed_up"]}),
        ("roi", {"start": ["signed_up"], "success": ON_IOS, "covariates": [ON_IOS]}),
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
        ("activation", {"competing": ON_IOS | {"wher": 1}}, ': an event has the keys "event" and'),
        ("activation", {"competing": {"event": "gone"}}, ': event "gone" does not occur in tiny.'),
        ("activation", {"start": ON_IOS, "activation": [ON_IOS]}, " is the start as well, [{"),
        ("roi", {"success": {"where": {"platform": "ios"}}}, ': {"where": {"platform": "ios"}} n'),
        ("roi", {"start": [["signed_up", {}]]}, ': [["signed_up", {}]] names no event;'),
        ("roi", {"window": ""}, ': "" is not a duration'),
        ("roi", {"metric": "interviews"}, ": 'interviews' is none; give Rate(event, of=..., "),
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
    window, first, second, column = str(error.value).splitlines()
    assert window == 'params/mine.yaml: parameter "window" of funnel must be str, not 7.'
    steps = 'params/mine.yaml: parameter "steps" of funnel: event'
    assert first.startswith(f'{steps} "profile_complete" does not occur in tiny. Did you mean')
    assert second.startswith(f'{steps} "signd_up" does not occur in tiny. Did you mean')
    assert column.startswith('params/weekly.yaml: parameter "by" of funnel: "platfrm" is neither')


@pytest.mark.parametrize(
    ("notebook", "needs"),
    [
        ("funnel", 'needs "steps" and "window", which are not given.'),
        ("activation", 'needs "start" and "activation", which are not given.'),
        ("attribution", 'needs "conversion", "windows" and "steps", which are not given.'),
        ("roi", 'needs "start", "success", "window" and "change_at", which are not given.'),
    ],
)
def test_no_default_of_the_demo_becomes_a_users(project, notebook, needs):
    (project / "params/weekly.yaml").write_text(f"dataset: tiny\nnotebooks: {{{notebook}: }}\n")
    with pytest.raises(ParameterError) as error:
        check_pack("params/weekly.yaml")
    assert str(error.value) == f"params/weekly.yaml, {notebook}: {notebook} {needs}"


def test_what_a_notebook_can_do_without_is_empty(project):
    (project / "params/weekly.yaml").write_text(
        "dataset: tiny\nnotebooks: {roi: {set: {start: signed_up, success: profile_completed,"
        ' window: 7d, change_at: "2026-03-09"}}}\n'
    )
    asked = check_pack("params/weekly.yaml")[2][0].parameters
    assert (asked["value"], asked["cost"], asked["wish"]) == (None, None, 0)
    assert (asked["by"], asked["treated"], asked["arms"]) == ("", "", "")


PERIODS = {  # tiny's days run from Sunday, 2026-03-01, to Tuesday, 2026-03-31
    ("last 2w", "previous 2w", "1d", "03-31"): "03-16 03-29 03-02 03-15",
    ("last 1w", "previous 2w", "1d", "03-29"): "03-16 03-22 03-02 03-15",
    ("last 1w", "previous 1w", "2d", "03-31"): "03-23 03-29 03-16 03-22",
    ("last 1w", "previous 1w", "3d", "03-31"): "03-16 03-22 03-09 03-15",
}


@pytest.mark.parametrize(("asked", "days"), PERIODS.items(), ids=map("; ".join, PERIODS))
def test_a_period_may_be_the_last_whole_weeks_whose_windows_have_closed(project, asked, days):
    after, before, window, as_of = asked
    pack = pack_of("funnel", after=after, before=before, window=window)
    (project / "params/weekly.yaml").write_text(f'as_of: "2026-{as_of}"\n{pack}')
    (report,) = check_pack("params/weekly.yaml")[2]
    found = report.parameters
    assert found["after"] + found["before"] == [f"2026-{day}" for day in days.split()]
    assert report.asked == {"after": after, "before": before}, "by which runs are compared"


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (
            {"after": "last month"},
            '"after" of funnel: "last month" is no period; write [',
        ),
        (
            {"after": "previous 4w"},
            '"after" of funnel: "previous 4w" is no period; write [',
        ),
        (
            {"before": "previous 1w"},
            '"before" of funnel: previous 1w of what? "after" names ',
        ),
        (
            {"after": "last 9w"},
            '"after" of funnel: last 9w would begin on 2026-01-12, befo',
        ),
    ],
)
def test_a_period_in_words_that_is_none(project, asked, complaint):
    (project / "params/weekly.yaml").write_text(pack_of("funnel", **asked))
    with pytest.raises(ParameterError, match=re.escape(complaint)):
        check_pack("params/weekly.yaml")


TIMELINE = """day,kind,label
2026-03-02,release,iOS 4.1.0
2026-03-09,release,iOS 4.2.0
2026-03-16,campaign,Spring 4.2
2026-03-20,release,Android 4.2.0
"""


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("release ios 4.2", "2026-03-09"),
        ("Campaign 4.2", "2026-03-16"),
        (
            "release 4.2.0",
            "names 2 entries of the timeline; it has 2026-03-09 release iOS 4.2.0; 2026-03-20",
        ),
        ("release 5", "names no entry of the timeline; it has 2026-03-02 release iOS 4.1.0; 2026"),
        ("launch 4.2", "names no entry of the timeline; it has 2026-03-02 release iOS 4.1.0; 2026"),
        ("release", "names 3 entries of the timeline; it has 2026-03-02 release iOS 4.1.0; 2026"),
        ("campaign", "2026-03-16"),
    ],
)
def test_the_day_of_a_change_may_be_told_by_the_timeline(project, asked, said):
    data, timeline = project / "params/data.tiny.yaml", project / "exports/timeline.csv"
    before = data.read_text()
    timeline.write_text(TIMELINE)
    data.write_text(f"{before}timeline: {{path: exports/timeline.csv}}\n")
    (project / "params/weekly.yaml").write_text(pack_of("roi", change_at=asked))
    try:
        if said.startswith("names"):
            with pytest.raises(ParameterError, match=re.escape(f'"{asked}" {said}')):
                check_pack("params/weekly.yaml")
        else:
            assert check_pack("params/weekly.yaml")[2][0].parameters["change_at"] == said
    finally:
        data.write_text(before)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_parameters_of_its_notebook(name):
    declared = declared_parameters(ROOT / f"notebooks/{name}.ipynb").keys()
    assert declared - {"dataset"} == MODELS[name].model_fields.keys()


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


def test_a_plans_segments_and_metrics_are_asked_for_by_name(project):
    plan = project / "params/plan.tiny.yaml"
    try:
        plan.write_text(
            "micro_conversions:\n  done: {events: [profile_completed], within: 7d}\n"
            "segments: {phones: {label: On a phone, where: {platform: [ios, android]}},\n"
            "  apple: {where: {platform: ios}}}\n"
            "metrics: {profiles: {kind: count, of: done}}\n"
        )
        asked = {"by": "apple", "treated": "Apple", "metric": "profiles", "success": "done"}
        pack = project / "params/weekly.yaml"
        pack.write_text(pack_of("roi", window="", **asked))
        check_pack("params/weekly.yaml")
        for changes, sentence in (
            ({"treated": "ios"}, '"ios" is no segment of "apple". It has Apple, all others.'),
            ({"by": "aple"}, '"aple" is neither a column .* Did you mean "apple"?'),
            ({"metric": "profile"}, 'Did you mean "profiles"?'),
            ({"arms": "platform"}, 'parameter "arms" of roi compares users by "success" and not'),
        ):
            pack.write_text(pack_of("roi", **asked | changes))
            with pytest.raises(ParameterError, match=sentence):
                check_pack("params/weekly.yaml")
    finally:
        plan.unlink()


# How people write numbers, and what is proposed.
NUMBERS = {
    "12,5 %": "0.125",
    "12.5%": "0.125",
    "1.234,50": "1234.5",
    "1,234.50": "1234.5",
    "1 234,50 €": "1234.5",
    "EUR 1'234.50": "1234.5",
    "-3,5": "-3.5",
    "45": "45",
    "12.000": "12 or 12000",
    "1.234.567": "1234567",
}


@pytest.mark.parametrize("written", NUMBERS)
def test_a_number_as_people_write_it_gets_its_spelling(written):
    assert number_meant(written) == f" Did you mean {NUMBERS[written]}?"


@pytest.mark.parametrize("written", ["ten", "14d", "2026-03-01", "1,2,3", "", 12.5, None])
def test_what_reads_like_no_number_gets_none(written):
    assert number_meant(written) == ""
