"""Segments and metrics that a tracking plan names, in questions; counted by hand."""

import numpy as np
import pandas as pd
import pytest

from mctlib import (
    Count,
    EventLog,
    Rate,
    Ratio,
    daily_metric,
    diagnose_funnel,
    time_to_activation,
)
from mctlib.contract import ParameterError
from mctlib.eventlog.labels import named
from mctlib.eventlog.steps import ANY, Step
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import SILENCE, frame_of

PLAN = as_plan(
    {
        "active": ["seen", {"event": "called", "where": {"long": True}}],
        "micro_conversions": {
            "signed": {"label": "Sign-up", "events": ["signed_up"]},
            "met": {
                "label": "Meeting",
                "events": [{"event": "booked", "where": {"n": {">=": 2}}}],
                "within": "2d",
            },
        },
        "segments": {
            "creators": {"label": "Creator partners", "where": {"channel": ["ana", "ben"]}},
            "rich": {"where": {"people.revenue": {">=": 10}}},
            "by ana on ios": {"where": {"channel": "ana", "event.platform": {"not": "web"}}},
        },
        "metrics": {
            "meetings": {"label": "Meeting rate", "kind": "rate", "of": "met", "per": "signed"},
            "regulars": {"kind": "rate", "of": "met", "per": "active", "within": "1d"},
            "calls": {"kind": "count", "of": "booked"},
            "depth": {"label": "Depth", "kind": "mean", "of": "booked", "property": "n"},
            "calls a meeting": {"kind": "ratio", "of": "booked", "per": "met"},
        },
    },
    "test",
)
ROWS = [  # user, event, day, platform, n, long
    ("u1", "signed_up", 0, "ios", None, None),
    ("u1", "booked", 1, "ios", 2, None),
    ("u2", "signed_up", 0, "web", None, None),
    ("u2", "booked", 1, "web", 1, None),  # too few
    ("u2", "booked", 3, "web", 5, None),  # too late
    ("u3", "signed_up", 0, "ios", None, None),
    ("u3", "called", 0.5, "ios", None, True),
    ("u3", "booked", 1, "ios", 3, None),
    ("u4", "signed_up", 0, None, None, None),  # not among the people
    ("u4", "called", 0, None, None, False),
    ("u5", "seen", 9, "web", None, None),
]
PEOPLE = pd.DataFrame(
    {
        "user_id": ["u1", "u2", "u3", "u5"],
        "channel": ["ana", "ana", "ads", "ben"],
        "revenue": [10.0, None, 40.0, 1.0],
    }
)


def planned(log):
    log.meanings.update(PLAN.meanings())
    log.planned_segments.update(PLAN.asked_segments())
    log.planned_metrics.update(PLAN.asked_metrics())
    return log


def in_memory(_):
    frame = frame_of(ROWS, "platform", "n", "long", unit="D")
    return EventLog.from_frame(frame, people=PEOPLE, observed_until=SILENCE)


def in_place(folder):
    frame = frame_of(ROWS, "platform", "n", "long", unit="D")
    told = frame[["n", "long"]].apply(lambda row: row.dropna().to_json(), axis=1)
    frame = frame.drop(columns=["n", "long"]).assign(properties=told)
    frame.to_parquet(folder / "events.parquet")
    return EventLog.from_parquet(folder / "events.parquet", people=PEOPLE, observed_until=SILENCE)


@pytest.fixture(params=[in_memory, in_place], ids=lambda way: way.__name__)
def log(request, tmp_path):
    return planned(request.param(tmp_path))


@pytest.mark.parametrize(
    ("segment", "inside", "name"),
    [
        ("creators", {"u1", "u2"}, "Creator partners"),
        ("rich", {"u1", "u3"}, "Rich"),
        ("by ana on ios", {"u1"}, "By ana on ios"),
    ],
)
def test_a_segment_is_held_against_all_others(log, segment, inside, name):
    found = log.counts(events=["signed"], by=segment).set_index(segment)["n_users"].to_dict()
    assert found == {name: len(inside), "all others": 4 - len(inside)}

    def rows(j):
        entered = pd.DataFrame({"segment": j.segment(j.has(0).nonzero()[0]), "n_users": 1})
        return entered.groupby("segment", as_index=False).sum()

    walked = log.reduce(rows, events=["signed"], by=segment)
    assert dict(walked.itertuples(index=False)) == found
    assert log.segments(segment) == sorted(found)


def test_a_segment_of_people_belongs_to_the_user_one_of_events_does_not(log):
    of_user = {name: log.words.column(name).of_user for name in ("creators", "by ana on ios")}
    assert of_user == {"creators": True, "by ana on ios": False}


def test_a_segment_called_as_a_column_is_the_segment_and_filters_read_the_column(log):
    log.planned_segments["channel"] = Step(ANY, {"channel": "ana"}, "channel", "Ana")
    assert log.segments("channel") == ["Ana", "all others"]
    assert log.segments("creators") == ["Creator partners", "all others"]
    assert log.counts(events=[Step("signed_up", {"channel": "ana"})])["n_users"].sum() == 2


def test_a_value_that_is_a_segment_by_itself_is_called_by_its_label(log):
    """In every question by its column; filters, and parameters that name it, take the value."""
    ana = Step(ANY, {"channel": "ana"}, "ana", "Ana Media")
    both = Step(ANY, {"channel": "ben", "platform": "ios"}, "both", "Ben on iOS")
    ios = Step(ANY, {"platform": "ios"}, "phones", "iPhones")
    log.planned_segments.update(ana=ana, both=both, phones=ios)
    assert log.segments("channel") == ["(none)", "Ana Media", "ads", "ben"]
    assert log.segments("platform") == ["(none)", "ios", "web"], "tracking speaks of platforms"
    assert log.counts(events=["signed"], by="channel")["channel"].tolist() == [
        "(none)",
        "Ana Media",
        "ads",
    ]
    funnel = diagnose_funnel(log, ["signed", "met"], as_of="2026-01-09", by="channel")
    assert {"Ana Media"} == set(funnel.steps["segment"]) & {"ana", "Ana Media"}
    assert log.counts(events=[Step("signed_up", {"channel": "ana"})])["n_users"].sum() == 2
    ask = {"start": "signed", "activation": "met", "as_of": "2026-01-09", "by": "channel"}
    for word in ("ana", "Ana Media"):
        waits = time_to_activation(log, **ask, horizon="2d", reference=word)
        assert set(waits.contrasts["reference"]) <= {"Ana Media"}
    assert named(log.planned_segments, ["channel", "platform"], {"ana \u00b7 ios": 1, "x": 2}) == {
        "Ana Media \u00b7 ios": 1,
        "x": 2,
    }


def test_a_segment_that_is_not_there_names_the_nearest(log):
    with pytest.raises(ParameterError, match='Did you mean "creators"'):
        log.segments("creator")


def test_analyses_take_segments(log):
    funnel = diagnose_funnel(log, ["signed", "met"], as_of="2026-01-09", by="creators")
    shown = funnel.steps.query("step == 1").set_index("segment")["n_reached"]
    assert shown["all"] == 4
    waits = time_to_activation(
        log, start="signed", activation="met", as_of="2026-01-09", by="creators"
    )
    assert "Meeting" in waits.finding


def test_without_a_window_the_plan_says_it(log):
    # within 2 days u1 and u3 meet; u2's second comes on day 3
    funnel = diagnose_funnel(log, ["signed", "met"], as_of="2026-01-09")
    assert funnel.steps.query("step == 2 and segment == 'all'")["n_reached"].item() == 2
    longer = diagnose_funnel(log, ["signed", "met"], window="3d", as_of="2026-01-09")
    assert longer.steps.query("step == 2 and segment == 'all'")["n_reached"].item() == 3
    # it is the last step's, whatever those before say
    with pytest.raises(ParameterError, match='window: say within .* no plan says it for "Sign-up'):
        diagnose_funnel(log, ["met", "signed"], as_of="2026-01-09")


def first_day(series):
    return series.table.loc[series.table["day"] == "2026-01-01"].iloc[0]


def test_a_rate_of_the_plan(log):
    asked = daily_metric(log, "meetings", as_of="2026-01-09")
    said = daily_metric(log, Rate("met", of="signed", window="2d"), as_of="2026-01-09")
    row = first_day(asked)
    assert (row["n"], row["n_success"]) == (4, 2)
    assert asked.table.drop(columns="metric").equals(said.table.drop(columns="metric"))
    words = "the share of Sign-up users with Meeting within 2 days"
    assert said.title == words and asked.title == f'"Meeting rate" ({words})'
    own, of_the_same_event = ["signed", "signed_up", "met", "booked"], ["meetings", "regulars"]
    assert asked.events == [*own, *of_the_same_event]


def test_of_the_active_users(log):
    # u3 called at length at noon of day 0, and met half a day later; u4's call was short
    row = first_day(daily_metric(log, "regulars", as_of="2026-01-09"))
    assert (row["n"], row["n_success"]) == (1, 1)


def test_a_count_and_a_mean_of_the_plan(log):
    table = daily_metric(log, "calls", as_of="2026-01-09").table.set_index("day")
    assert table.loc["2026-01-02", "n"] == 3 and table.loc["2026-01-04", "n"] == 1
    depth = daily_metric(log, "depth", as_of="2026-01-09")
    assert depth.table.set_index("day").loc["2026-01-02", "value"] == pytest.approx(2)  # 2, 1, 3
    assert depth.title == '"Depth" (the mean n of booked)' and depth.kind == "mean"


def test_a_ratio_of_the_plan_is_a_mean_of_what_it_is_counted_over(log):
    # on day 1 three are booked, two of these meetings; on day 3 one, which is a meeting
    ratio = daily_metric(log, "calls a meeting", as_of="2026-01-09")
    rows = ratio.table.set_index("day").loc[["2026-01-02", "2026-01-03", "2026-01-04"]]
    assert rows["n"].tolist() == [2, 0, 1]
    np.testing.assert_equal(rows["value"].to_numpy(), [1.5, np.nan, 1.0])
    assert ratio.kind == "mean"
    assert ratio.title == '"Calls a meeting" (the number of booked for each Meeting)'
    active = daily_metric(log, Ratio("booked", ["seen", "signed"]), as_of="2026-01-09")
    assert first_day(active)["n"] == 4 and first_day(active)["value"] == 0


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("meeting", 'Did you mean "meetings" or'),
        ("x", "or a metric of the tracking plan"),
        (Rate("booked", of="signed"), 'no plan says it for "booked"'),
        (5, "metric: 5 is none; give Rate"),
    ],
)
def test_a_metric_that_is_none(log, metric, sentence):
    with pytest.raises(ParameterError) as error:
        daily_metric(log, metric, as_of="2026-01-09")
    assert sentence in str(error.value)


def test_a_raw_event_is_called_as_people_read_it_where_it_is_wholly_a_micro_conversion(log):
    assert log.step("signed_up").label == "Sign-up"
    assert log.step({"event": "signed_up"}).label == "Sign-up"
    asked = {"event": ["signed_up", "called"], "where": {"platform": "ios"}}
    assert log.step(asked).label == "Sign-up or called [platform=ios]"
    # a meeting is only some of the bookings
    assert log.step({"event": "booked"}).label == "booked"
    assert daily_metric(log, Count("signed_up"), as_of="2026-01-09").title.endswith("of Sign-up")


def test_any_of_several_with_filters_of_their_own(log):
    step = log.step([{"event": "booked", "where": {"n": {"<": 2}}}, "met", "seen"])
    # u2's first, u1's and u3's meeting and u2's late one, u5's look
    assert log.counts(events=[step])["n_events"].sum() == 5
    assert step.label == "booked [n < 2] or Meeting or seen"
    assert step == log.step([Step("booked", {"n": {"<": 2}}), "met", ["seen"]])
