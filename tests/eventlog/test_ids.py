"""Ids are written alike on every table, and what is no id is rejected by its name.

Expected spellings and counts are read off the rows by hand.
"""

import re

import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.ids import (
    NOBODY,
    asking,
    find_impossible,
    fine_at_a_glance,
    look_at,
    normal,
    rewritten,
)
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.store import connect
from tests.support.logs import frame_of, log_of, numbered

WRITTEN = {
    "1000": "1000",
    "1000.0": "1000",
    "1000.": "1000",
    "-7.00": "-7",
    "1000.5": "1000.5",
    "0042": "0042",
    "a.b": "a.b",
    " ann ": "ann",
    "\u00a0ann\u202f": "ann",
    "ann\u00a0lee": "ann lee",
    "\ufeffann\u200b": "ann",
    "ann\t": "ann",
    "Zoë ": "Zoë",
    "": "",
}
NONE = """
    undefined null Null NULL None nan N/A [object|Object] unknown anonymous -1
    00000000-0000-0000-0000-000000000000 1.23457E+17 1,23E+17 1E+17 1.2e17 {{user_id}} ${user.id}
""".split()
SOME = ["u1", "10", "1e17", "12e5", "nullius", "a+b@example.org", "1.5", "0012", "true-1"]


@pytest.fixture(scope="module")
def con():
    return connect()


@pytest.mark.parametrize(("given", "expected"), WRITTEN.items())
def test_one_id_has_one_spelling(con, given, expected):
    for way in (normal, rewritten):  # at a glance, or taken apart
        assert con.execute(f"SELECT {way('x')} FROM (SELECT ? AS x)", [given]).fetchall() == [
            (expected,)
        ]
    assert con.execute(f"SELECT {normal('x', ignore_case=True)} FROM (SELECT 'A' AS x)").fetchall()[
        0
    ] == ("a",)


def impossible(con, ids):
    con.register("given", pd.DataFrame({"x": [text.replace("|", " ") for text in ids]}))
    return set(find_impossible(asking(con), "x", ["given"]))


def test_what_names_nobody_is_found_and_nothing_else(con):
    assert impossible(con, NONE + SOME) == {text.replace("|", " ") for text in NONE}


FINE = ["u1", "user-0", "12", "A_7", "1e17", "12e5", "4f1c9f2e-8d0a-4b7e-9f63-0a1b2c3d4e5f"]


@pytest.mark.parametrize("ignore_case", [False, True])
def test_what_is_fine_at_a_glance_is_fine_when_looked_at(con, ignore_case):
    texts = [*WRITTEN, *NONE, *NOBODY, *SOME, *FINE, "-7", "0", "00", "u 1", "u1 ", "\u0661"]
    fine = set()
    for text in [*texts, *map(str.upper, texts)]:
        rows = f"(SELECT {sql_text(text)} AS user_id)"
        if fine_at_a_glance(con, rows, ignore_case=ignore_case):
            look = look_at(asking(con), rows, ["user_id"], ignore_case=ignore_case)
            assert look == ({}, False), text
            fine.add(text)
    assert fine >= {text for text in FINE if not ignore_case or text == text.lower()}


@pytest.mark.parametrize("odd", ["''", "'ann'", "'-1'", "'u1 '"])
def test_one_glance_sees_every_row(con, odd):
    """One odd id among more than are looked at in one go, wherever it stands; none is no id."""
    ids = (
        "(SELECT CASE WHEN i = {} THEN {} ELSE 'user-' || i END AS user_id FROM range(400000) t(i))"
    )
    assert fine_at_a_glance(con, ids.format(7, "NULL"))
    for place in (0, 260_000, 399_999):
        assert not fine_at_a_glance(con, ids.format(place, odd))


def test_0_is_somebody_where_ids_are_integers(con):
    assert impossible(con, ["0", *map(str, range(1, 20))]) == set()
    assert impossible(con, ["0", *map(str, range(1, 9)), "a", "b"]) == {"0"}


@pytest.mark.parametrize("in_place", [False, True])
def test_every_table_and_face_meets_in_spite_of_spellings(tmp_path, in_place):
    rows = [("1000", "join"), ("1001.0", "join"), ("\u00a01002 ", "join"), ("1003", "join")]
    events = frame_of([(user, event, "2026-01-01") for user, event in rows])
    tables = {
        "people": pd.DataFrame({"user_id": [1000.0, 1001.0, 1002.0, None], "plan": list("abcd")}),
        "backend": events.assign(user_id=["1000.0", " 1001", "1002", "1003"]),
    }
    if in_place:
        events.to_parquet(tmp_path / "e.parquet")
        log = EventLog.from_parquet(tmp_path / "e.parquet", **tables)
    else:
        log = EventLog.from_frame(events, **tables)
    assert log.load["n_users"] == 4
    assert log.load["met"]["people"] == {"n_users": 3, "n_met": 3}
    assert log.load["met"]["events"] == {"n_users": 4, "n_met": 3}
    assert log.load["met"]["backend"] == {"n_users": 4, "n_met": 4}
    assert log.counts(by="plan")["plan"].tolist() == ["(none)", "a", "b", "c"]


@pytest.mark.parametrize("in_place", [False, True])
def test_rows_of_nobody_are_rejected_by_name(tmp_path, in_place):
    ids = ["ann"] * 30 + ["undefined"] * 2 + ["1.23457E+17", "9.87654E+16", "0"]
    events = frame_of([(user, "join", "2026-01-01") for user in ids])
    people = pd.DataFrame({"user_id": ["ann", "undefined"], "plan": ["pro", "free"]})
    if in_place:
        events.to_parquet(tmp_path / "e.parquet")
        log = EventLog.from_parquet(tmp_path / "e.parquet", people=people)
    else:
        log = EventLog.from_frame(events, people=people)
    assert log.load["tables"]["events"]["n_rejected"] == {
        'impossible user_id "undefined"': 2,
        'impossible user_id "0"': 1,
        "impossible user_id such as 1.23457E+17": 2,
    }
    assert log.load["n_users"] == len(log.table("people")) == 1


def test_a_row_with_another_id_stays_and_nobody_is_stitched_by_an_impossible_one():
    rows = [
        ("undefined", "a1", "join"),  # stays as a1, who is ann
        ("ann", "a1", "join"),
        ("ann", "null", "join"),  # stays as ann
        ("bob", "null", "join"),  # and as bob: they share no device
        ("null", "undefined", "join"),  # is nobody
        (None, "unknown", "join"),
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "anonymous_id", "event"])
    log = EventLog.from_frame(
        frame.assign(timestamp="2026-01-01"),
        people=pd.DataFrame({"user_id": ["ann", "bob"], "account_id": ["null", "k"]}),
    )
    assert log.load["tables"]["events"]["n_rejected"] == {
        'impossible user_id "null"': 1,
        'impossible anonymous_id "unknown"': 1,
    }
    assert log.load["identity"]["n_impossible"] == {
        'impossible account_id "null"': 1,
        'impossible user_id "undefined"': 1,
        'impossible anonymous_id "null"': 2,
    }
    assert log.describe()[["n_events", "n_users"]].values.tolist() == [[4, 2]]
    assert log.table("people")["account_id"].notna().tolist() == [False, True]


def test_case_is_one_only_where_that_is_declared():
    people = pd.DataFrame({"user_id": ["ANN", "bob"], "plan": ["pro", "free"]})
    rows = [(user, "join", "2026-01-01") for user in ("ann", "Ann", "bob")]
    apart = log_of(rows, people=people)
    assert apart.load["n_users"] == 4 and apart.load["met"]["people"]["n_met"] == 1
    one = log_of(rows, people=people, ignore_case=True)
    assert one.load["n_users"] == 2 and one.load["met"]["people"]["n_met"] == 2


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize(
    ("ids", "hint"),
    {
        ("ANN", "BOB"): "But for case 2 of these would be",
        ("00ann", "x"): "But for leading zeros 1 of these would be",
        ("12-34", "x"): 'look like "99-99", those of events like "aaa"',
    }.items(),
)
def test_people_of_whom_nobody_has_an_event_are_refused(tmp_path, ids, hint, in_place):
    events = frame_of([(user, "join", "2026-01-01") for user in ("ann", "bob")])
    people = pd.DataFrame({"user_id": list(ids)})
    events.to_parquet(tmp_path / "e.parquet")
    with pytest.raises(DataError) as told:
        if in_place:
            EventLog.from_parquet(tmp_path / "e.parquet", people=people)
        else:
            EventLog.from_frame(events, people=people)
    assert "none of 2 user_ids of people is among the 2 of events" in str(told.value)
    assert hint in str(told.value)
    assert not any(user in str(told.value) for user in ids)  # no id is shown


@pytest.mark.parametrize("word", ["Total", "TOTAL", "Gesamt", "Summe:", "Grand Total", "somme"])
def test_a_row_of_sums_is_nobody(word):
    people = pd.DataFrame({"user_id": ["ann", "bob", word, ""], "seats": [1, 2, 3, 3]})
    log = log_of([("ann", "join", "2026-01-01")], people=people)
    assert log.load["tables"]["people"]["n_rejected"] == {
        f'impossible user_id "{word}"': 1,
        "no user": 1,
    }
    assert sorted(log.table("people")["seats"]) == ["1", "2"]


def test_who_meets_whom_is_counted_once_refusers_have_left():
    """Of four people two say no; one of these and one of the others have an event."""
    people = pd.DataFrame({"user_id": list("abcd"), "consent": [True, True, False, False]})
    rows = [(user, "join", "2026-01-01") for user in "acx"]
    backend = frame_of(rows)
    met = log_of(rows, people=people, backend=backend).load["met"]
    assert met == {
        "people": {"n_users": 2, "n_met": 1},
        "backend": {"n_users": 2, "n_met": 2},
        "events": {"n_users": 2, "n_met": 1},
        "refused": {"n_users": 2, "n_met": 1},
    }


def test_who_refused_shows_that_ids_fit():
    people = pd.DataFrame({"user_id": ["ann", "bob"], "consent": [False, True]})
    log = log_of([(user, "join", "2026-01-01") for user in ("ann", "c")], people=people)
    assert log.load["met"]["people"] == {"n_users": 1, "n_met": 0}


def test_numbers_keep_no_order_of_ids():
    ids = [f"{i:03d}" for i in range(120)]
    log = log_of([(user, "join", "2026-01-01", user) for user in ids], "properties.at")
    said = log.sql("SELECT properties FROM events ORDER BY user")["properties"]
    order = [int(re.search(r"\d+", text)[0]) for text in said]
    assert sorted(order) == list(range(120)) and order == [int(i) for i in numbered(ids)]
    # as far from order as few of 100,000 draws are
    assert abs(np.corrcoef(range(120), order)[0, 1]) < 0.4


def test_refusers_who_meet_nobody_are_counted():
    people = pd.DataFrame({"user_id": ["ann", "bob", "c-1"], "consent": [True, False, False]})
    log = log_of([(user, "join", "2026-01-01") for user in ("ann", "bob", "c1")], people=people)
    assert log.load["met"]["refused"] == {"n_users": 2, "n_met": 1}
