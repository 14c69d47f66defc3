"""What a load looks at in people, spend, the back end and names of events; counted by hand."""

import pandas as pd

from mctlib.eventlog.checks import look_alikes
from mctlib.sources.narrative import told
from tests.support.logs import log_of, people_of


def found(log, table):
    return {
        (check["check"], check.get("column")): (check["n"], check["n_rows"])
        for check in log.load["checks"]
        if check["table"] == table
    }


ROWS = [(f"u{i}", "join", f"2026-01-0{i + 1}") for i in range(4)]


def test_people_are_looked_over():
    day = "2026-01-0{}".format
    people = people_of(
        4,
        signed_up_at=[day(2), day(2), None, day(2)],
        churned_at=[day(1), day(3), day(1), None],
        country=["DE", "", "DE", "FR"],
        plan=["pro"] * 4,
    )
    assert found(log_of(ROWS, people=people), "people") == {
        ("empty", "signed_up_at"): (1, 4),
        ("empty", "churned_at"): (1, 4),
        ("empty", "country"): (1, 4),
        ("before", "churned_at"): (1, 2),  # of two with both days
    }


def test_spend_and_the_back_end_are_looked_over():
    spend = pd.DataFrame(
        [("2026-01-01", 5, "p")] * 2 + [("2026-01-02", None, "p"), ("2027-01-01", 5, None)],
        columns=["day", "amount", "partner_id"],
    )
    backend = pd.DataFrame(
        [("u0", "join", "2026-01-01")] * 2 + [("u1", "Join", "2025-01-01")],
        columns=["user_id", "event", "timestamp"],
    )
    log = log_of(ROWS, spend=spend, backend=backend)
    assert found(log, "spend") == {
        ("again", None): (1, 4),
        ("no amount", None): (1, 4),
        ("neither partner_id nor channel", None): (1, 4),
        ("outside", None): (1, 4),
    }
    assert found(log, "backend") == {
        ("again", None): (1, 3),
        ("outside", None): (1, 3),
        ("unknown word", "Join"): (1, 3),
    }


def test_a_kind_of_the_timeline_that_is_none_is_told():
    days = pd.DataFrame(
        {"day": ["2026-01-01"] * 3, "kind": ["Release", "realease", "deploy"], "label": [*"abc"]}
    )
    log = log_of(ROWS, timeline=days)
    assert found(log, "timeline") == {
        ("unknown word", "deploy"): (1, 3),
        ("unknown word", "realease"): (1, 3),
    }
    assert [sentence for sentence in told(log.load) if "timeline" in sentence] == [
        'timeline: the kind "deploy" (1 row) is not known. Known are competitor, release,'
        " campaign, intervention, outage, incident and holiday.",
        'timeline: the kind "realease" (1 row) is not known. Did you mean "release"?',
    ]


def test_a_sound_log_is_told_nothing():
    spend = pd.DataFrame({"day": ["2026-01-01"], "amount": [5], "channel": ["ads"]})
    log = log_of(ROWS, people=people_of(4, plan=["pro"] * 4), spend=spend)
    assert log.load["checks"] == [] == log.load["look_alikes"]


def test_names_that_look_alike_are_beside_the_most_frequent_one():
    names = {"signed up": 9, "Signed Up": 3, "signed\u00a0up ": 1, "signed_up": 1, "signed up 2": 5}
    assert [(pair["event"], pair["like"], pair["n_like"]) for pair in look_alikes(names)] == [
        ("Signed Up", "signed up", 9),
        ("signed_up", "signed up", 9),
        ("signed\u00a0up ", "signed up", 9),
    ]
    log = log_of([*ROWS, ("u0", "Join ", "2026-01-01")])
    pair = {"event": "Join ", "n_events": 1, "like": "join", "n_like": 4}
    assert log.load["look_alikes"] == [pair]


def test_who_signs_up_after_the_events_is_told():
    """The events end on 4 January; a day is let pass, for days are written in many zones."""
    people = people_of(4, signed_up_at=["2026-01-02", "2026-01-04", "2026-01-05", "2026-01-06"])
    assert found(log_of(ROWS, people=people), "people") == {
        ("after own events", "signed_up_at"): (2, 4),  # u1: the 2nd, u2: the 3rd
        ("after all events", "signed_up_at"): (1, 4),
    }
