"""What a name means where a tracking plan says it: filters, several events, labels, a window."""

import pandas as pd
import pytest

from mctlib import EventLog, Exclusion, Rate, daily_metric, diagnose_funnel, drop_off_drivers
from mctlib.contract import ParameterError
from mctlib.eventlog.steps import ANY, Step, as_exclusion, as_step, may_meet
from tests.support.logs import SILENCE, frame_of

MEANINGS = {
    "signed_up": Step("signed_up", name="signed_up", title="Sign-up"),
    # where an event has the same name, the plan's meaning wins
    "booked": Step("booked", {"role": "candidate"}, "booked", "Interview", "2d"),
    "any way": Step(
        [Step("booked", {"role": "recruiter"}), "called"], name="any way", title="Any way"
    ),
}
ROWS = [
    ("u1", "signed_up", 0, "candidate"),
    ("u1", "booked", 1, "candidate"),
    ("u2", "signed_up", 0, "recruiter"),
    ("u2", "booked", 1, "recruiter"),
    ("u3", "signed_up", 0, "candidate"),
    ("u3", "booked", 3, "candidate"),
    ("u3", "called", 4, "candidate"),
    ("u4", "signed_up", 0, "candidate"),
]


@pytest.fixture
def log():
    log = EventLog.from_frame(frame_of(ROWS, "role", unit="D"), observed_until=SILENCE)
    log.meanings.update(MEANINGS)
    return log


def users_of(log, event):
    return int(log.counts(events=[event])["n_users"].sum())


@pytest.mark.parametrize(
    ("event", "n_users"),
    [
        ("booked", 2),  # u1, u3
        ({"event": "booked"}, 3),  # the raw event: u2 too
        ({"event": "booked", "where": {"role": "recruiter"}}, 1),
        (Step("booked"), 3),
        ("called", 1),
    ],
)
def test_a_name_means_what_the_plan_says_and_a_mapping_the_raw_event(log, event, n_users):
    assert users_of(log, event) == n_users
    rows = lambda j: pd.DataFrame({"n_users": [j.user[j.has(0)].size]})  # noqa: E731 - one line says it
    assert log.reduce(rows, events=[event])["n_users"].item() == n_users  # each did it once


def test_several_events_with_filters_of_their_own(log):
    # u2 booked as a recruiter, u3 called; with "booked" u1 as well, u3 twice
    rows = lambda j: pd.DataFrame({"n_rows": [int(j.has(0).sum())]})  # noqa: E731 - one line says it
    assert log.reduce(rows, events=["any way"])["n_rows"].item() == 2
    assert log.reduce(rows, events=[["any way", "booked"]])["n_rows"].item() == 4
    assert log.step(["any way", "booked"]).label == "Any way or Interview"
    narrower = Step([MEANINGS["any way"]], {"role": "candidate"})
    assert log.reduce(rows, events=[narrower])["n_rows"].item() == 1


def test_without_a_plan_a_name_is_an_event(log):
    log.meanings.clear()
    assert log.step("booked") == Step("booked") and users_of(log, "booked") == 3
    assert log.step(["booked", "called"]).label == "booked or called"


@pytest.mark.parametrize(
    ("a", "b", "meet"),
    [
        (MEANINGS["booked"], MEANINGS["any way"], False),
        (MEANINGS["any way"], Step("called"), True),
        (MEANINGS["any way"], Step("booked", {"role": ANY}), True),
        (Step([MEANINGS["any way"]], {"n": 1}), Step("called", {"n": 2}), False),
    ],
)
def test_what_may_meet(a, b, meet):
    assert may_meet(a, b) is may_meet(b, a) is meet


def test_a_name_that_does_not_occur_is_told_with_the_plans_words(log):
    log.meanings["gone"] = Step("gone", title="Gone")  # a plan's word is no other word for itself
    assert log.missing_events([Step("gone")]) == ['event "gone" does not occur in frame.']
    log.meanings["interview"] = Step("no_such", title="Interviews")
    assert log.missing_events(["interview"]) == ['event "no_such" does not occur in frame.']
    assert log.missing_events(["intervew"]) == [
        'event "intervew" does not occur in frame. Did you mean "interview"?'
    ]
    log.meanings["odd"] = Step(["called", Step("booked", {"role": "cadidate"})], title="Odd")
    assert log.missing_events(["odd"]) == [
        'event "booked [role=cadidate]" does not occur in frame. Did you mean "candidate"?'
    ]


def test_a_funnel_says_labels_and_takes_the_last_steps_window(log):
    # within 2 days of sign-up: u1 alone; u3 books a day later
    funnel = diagnose_funnel(log, ["signed_up", "booked"], as_of="2026-02-01")
    assert funnel.steps["event"].tolist() == ["Sign-up", "Interview"]
    assert funnel.steps["n_reached"].tolist() == [4, 1]
    assert "Interview within 2 days" in funnel.details[0] and "booked" not in repr(funnel)
    longer = diagnose_funnel(log, ["signed_up", "booked"], window="3d", as_of="2026-02-01")
    assert longer.steps["n_reached"].tolist() == [4, 2]


def test_a_window_that_nobody_says_is_an_error(log):
    with pytest.raises(ParameterError, match='"14d"; no plan says it for "Sign-up"'):
        diagnose_funnel(log, ["booked", "signed_up"], as_of="2026-02-01")
    with pytest.raises(ParameterError, match='no plan says it for "called"'):
        drop_off_drivers(log, ["booked", "called"], as_of="2026-02-01")


def test_a_metric_takes_names_and_says_labels(log):
    metric = Rate("booked", of="signed_up", window="5d")
    series = daily_metric(log, metric, as_of="2026-02-01").table
    assert series["n_success"].sum() == 2  # u1, u3
    assert series["metric"].iloc[0] == "the share of Sign-up users with Interview within 5 days"


def test_an_exclusion_takes_a_name():
    excluded = as_exclusion({"event": "booked", "after": 1, "before": 2}, MEANINGS)
    assert excluded.step == MEANINGS["booked"] and excluded.step.label == "Interview"
    narrower = as_exclusion(Exclusion("any way", where={"n": 1}), MEANINGS)
    assert narrower.step.parts == (
        Step(["called"], {"n": 1}),
        Step("booked", {"n": 1, "role": "recruiter"}),
    )


@pytest.mark.parametrize("given", [{"event": "a", "title": "A"}, {"event": "a", "within": "2d"}])
def test_only_a_plan_gives_titles(given):
    with pytest.raises(ParameterError, match="is not one of event, where"):
        as_step(given)
