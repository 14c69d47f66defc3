"""The event log: what is kept, stitched, rejected and handed to kernels.

Expected numbers are counted by hand on the frames above them.
"""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import time
from functools import partial

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import mctlib
from mctlib.contract import DataError, ParameterError, as_timestamp, as_window
from mctlib.eventlog import build
from mctlib.eventlog import event_log as log_module
from mctlib.eventlog.build import build_store
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.pseudonyms import NO_SALT, salt
from mctlib.eventlog.rows import in_order
from mctlib.eventlog.steps import ANY, Step
from tests.support.logs import frame_of, log_of, numbered, pseudonym, us


def days(log):
    return [
        pd.Timestamp(t, unit="us").day for part in log.journeys(events=[ANY]) for t in part.time
    ]


def test_as_of_bare_day_is_its_end_and_a_timestamp_is_itself():
    assert as_timestamp("2026-03-01") == pd.Timestamp("2026-03-01T23:59:59.999999Z")
    assert as_timestamp("2026-03-01T12:00:00+02:00") == pd.Timestamp("2026-03-01T10:00:00Z")
    with pytest.raises(ParameterError, match='as_of: "soon" is neither a day'):
        as_timestamp("soon")


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ("-3d", "longer than nothing"),
        ("two weeks", "not a duration"),
        (14, "not a duration"),
        (None, "not a duration"),
    ],
)
def test_windows_that_cannot_be_read(window, words):
    with pytest.raises(ParameterError, match=words):
        as_window(window)


def test_window_in_microseconds():
    assert as_window("1min") == 60_000_000


IDENTITY = pd.DataFrame(
    [
        (None, "phone", "visit", "2026-01-01"),  # phone -> ann (first of the two users seen on it)
        ("ann", "phone", "sign_up", "2026-01-02"),
        ("bob", "phone", "sign_up", "2026-01-03"),  # a shared phone: ambiguous
        (None, "laptop", "visit", "2026-01-01"),  # laptop -> bob
        ("bob", "laptop", "pay", "2026-01-04"),
        (None, "kiosk", "visit", "2026-01-05"),  # never identified: a user of its own
        ("old_ann", None, "visit", "2026-01-01"),
        ("ann", "old_ann", "merge", "2026-01-06"),  # an id known to be another's: old_ann -> ann
    ],
    columns=["user_id", "anonymous_id", "event", "timestamp"],
)


def test_identities_are_stitched_and_counted():
    log = EventLog.from_frame(IDENTITY)
    assert log.load["n_users"] == 3  # ann, bob, kiosk
    identity = log.load["identity"]
    assert (identity["n_anonymous_rows"], identity["n_matched_rows"]) == (3, 2)
    assert identity["match_rate"] == pytest.approx(2 / 3)
    assert identity["n_ids_with_several_users"] == 1  # phone
    assert identity["n_users_with_several_ids"] == 2  # ann: phone, old_ann; bob: phone, laptop
    assert sorted(log.counts().set_index("event").loc["visit", ["n_events", "n_users"]]) == [3, 4]


def test_a_chain_of_identities_is_followed_and_a_ring_ends():
    rows = [
        ("b", "a", "e", "2026-01-01"),
        ("c", "b", "e", "2026-01-01"),
        (None, "a", "e", "2026-01-01"),
        ("x", "y", "e", "2026-01-01"),
        ("y", "x", "e", "2026-01-01"),
    ]
    log = EventLog.from_frame(
        pd.DataFrame(rows, columns=["user_id", "anonymous_id", "event", "timestamp"])
    )
    assert log.load["identity"]["n_chains"] >= 1
    part = next(iter(log.journeys(events=["e"])))
    assert (
        sorted(np.unique(part.user, return_counts=True)[1])[-1] == 3
    )  # a, b and c are one user with three events


def test_technical_duplicates_go_and_are_counted_and_repeats_stay():
    rows = [
        ("u", "e", "2026-01-01", "1"),
        ("u", "e", "2026-01-01", "1"),
        ("u", "e", "2026-01-01", "2"),
        ("u", "e", "2026-01-01", None),
        ("u", "e", "2026-01-01", None),
    ]
    log = log_of(rows, "event_id")
    events = log.load["tables"]["events"]
    assert (events["n_read"], events["n_kept"], events["n_rejected"]) == (
        5,
        4,
        {"same event_id again": 1},
    )


def test_rows_read_are_rows_kept_plus_rows_rejected(tmp_path):
    good = [(f"u{i}", "e", "2026-01-01") for i in range(40)]
    bad = [
        ("", "e", "2026-01-01"),
        ("u", None, "2026-01-01"),
        ("u", "e", "yesterday"),
        ("u", "e", "2199-01-01"),
    ]
    con = duckdb.connect()
    con.register("rows", canonical_frame(frame_of(good + bad), "events"))
    report = build_store(
        tmp_path / "x.duckdb", {"events": [("rows.csv", "SELECT * FROM rows")]}, con=con, name="x"
    )
    events = report["tables"]["events"]
    assert events["n_read"] == 44 and events["n_kept"] == 40
    assert events["n_rejected"] == {
        "no user": 1,
        "no event": 1,
        "timestamp in the future": 1,
        "unreadable timestamp": 1,
    }
    rejected = pd.read_parquet(tmp_path / "x.rejected.parquet").sort_values("reason")
    kept = list(rejected[["reason", "timestamp_raw", "user_id"]].itertuples(index=False))
    assert [r[0] for r in kept] == [
        "no event",
        "no user",
        "timestamp in the future",
        "unreadable timestamp",
    ]
    assert kept[3][1] == "yesterday"
    assert kept[3][2] != "u", "ids of rejected rows are hashed too"
    assert json.loads((tmp_path / "x.load.json").read_text()) == report


def test_a_file_wrong_in_more_than_one_row_in_ten_is_refused_and_the_old_store_stays(tmp_path):
    path = tmp_path / "x.duckdb"
    wrong = "2 of 10 rows of events have an unreadable timestamp"
    for rows, fails in (
        ([("u", "e", "2026-01-01")] * 10, False),
        ([("u", "e", "2026-01-01")] * 8 + [("u", "e", "32.13.2026")] * 2, True),
    ):
        con = duckdb.connect()
        con.register("rows", canonical_frame(frame_of(rows), "events"))
        if fails:
            with pytest.raises(
                DataError,
                match=rf'rows.csv: {wrong} \(for example "32.13.2026"\)',
            ):
                build_store(
                    path, {"events": [("rows.csv", "SELECT * FROM rows")]}, con=con, name="x"
                )
        else:
            build_store(path, {"events": [("rows.csv", "SELECT * FROM rows")]}, con=con, name="x")
    assert EventLog.open(path).load["tables"]["events"]["n_kept"] == 10
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        ".salt",
        "x.duckdb",
        "x.load.json",
        "x.moments.arrow",
        "x.rejected.parquet",
    ]


def test_no_id_is_kept_in_clear(tmp_path):
    con = duckdb.connect()
    people = canonical_frame(
        pd.DataFrame([("ann@example.org", "acme")], columns=["user_id", "account_id"]), "people"
    )
    con.register("people", people)
    con.register(
        "events", canonical_frame(frame_of([("ann@example.org", "e", "2026-01-01")] * 2), "events")
    )
    build_store(
        tmp_path / "x.duckdb",
        {"events": [("e", "SELECT * FROM events")], "people": [("p", "SELECT * FROM people")]},
        con=con,
        name="x",
    )
    for file in tmp_path.iterdir():
        assert b"example.org" not in file.read_bytes() and b"acme" not in file.read_bytes(), (
            file.name
        )


def test_the_salt_decides_hashes_numbers_and_buckets_and_no_count(tmp_path, monkeypatch):
    """120 users of 40 accounts, each with one event more than the one before."""
    con = duckdb.connect()
    users = [f"u{i:03d}" for i in range(120)]
    rows = [(user, "e", "2026-01-01") for i, user in enumerate(users) for _ in range(i + 1)]
    people = pd.DataFrame({"user_id": users, "account_id": [f"k{i // 3}" for i in range(120)]})
    con.register("rows", canonical_frame(frame_of(rows), "events"))
    con.register("people", canonical_frame(people, "people"))
    tables = {"events": [("rows", "FROM rows")], "people": [("people", "FROM people")]}
    ids, order, buckets, counts = [], [], [], []
    for n, salted in enumerate(("one", "one", "two")):
        monkeypatch.setenv("MCT_SALT", salted)
        path = tmp_path / f"{n}.duckdb"
        build_store(path, tables, con=con, name="x")
        with duckdb.connect(path, read_only=True) as stored:
            found = stored.sql(
                "SELECT user_id, count(*), any_value(bucket) FROM users JOIN events USING (user)"
                " GROUP BY user, user_id ORDER BY user"
            ).fetchall()
        ids.append([row[0] for row in found])
        order.append([users[row[1] - 1] for row in found])
        buckets.append({users[n - 1]: bucket for _, n, bucket in found})
        counts.append(EventLog.open(path).describe())
        assert ids[-1] == [pseudonym(user, salted) for user in order[-1]] == sorted(ids[-1])
        for i in range(0, 120, 3):
            account = f"{salted}k{i // 3}".encode()
            low = int.from_bytes(hashlib.md5(account).digest()[8:], "little")
            assert {buckets[-1][users[i + j]] for j in range(3)} == {low % 100}
    assert ids[0] == ids[1] and not set(ids[0]) & set(ids[2])
    assert order[0] != order[2] and buckets[0] != buckets[2]
    # the ranks of 120 drawn users correlate less than this in all but one of 100,000 draws
    assert abs(np.corrcoef(range(120), [users.index(u) for u in order[0]])[0, 1]) < 0.4
    pd.testing.assert_frame_equal(counts[0], counts[2])


NO = ("false", "no", "No ", "N", "f", "0", "0.0", "off", "nein", "non", "não", "FALSE")
YES = ("true", "yes", "Y", "t", "1", "1.0", "on", "ja", "oui", "sí", "TRUE", True)


def test_one_row_without_consent_wins_in_any_order_spelling_and_place():
    rng = np.random.default_rng(0)
    events = [(f"u{i}", "e", "2026-01-01") for i in range(len(NO))] + [("v", "e", "2026-01-01")]
    for _ in range(5):
        said = [(f"u{i}", word) for i, word in enumerate(NO)] + [("v", None)]
        said += [(user, rng.choice(YES)) for user, _ in said for _ in range(2)]
        people = pd.DataFrame(said, columns=["user_id", "consent"])
        people = people.sample(frac=1, random_state=int(rng.integers(99)))
        log = log_of(events, people=people)
        assert log.load["tables"]["events"]["n_rejected"] == {"no consent": len(NO)}
        assert log.load["tables"]["people"]["n_rejected"] == {
            "no consent": 3 * len(NO),
            "same user_id again": 2,
        }
        assert log.load["n_users"] == 1 and len(log.table("people")) == 1


def test_a_refusal_in_a_row_of_events_wins_over_people_by_whatever_id():
    """v says no under another id; of w people say yes, and one event no."""
    ids = [("u", "u1"), ("v", "v1"), (None, "v1"), ("w", None), ("w", None)]
    events = pd.DataFrame(ids, columns=["user_id", "anonymous_id"])
    said = ["yes", "", "No", "yes", 0]
    events = events.assign(event="e", timestamp="2026-01-01", consent=said)
    people = pd.DataFrame({"user_id": ["u", "w"], "seats": [1, 2], "consent": ["", "yes"]})
    log = EventLog.from_frame(events, people=people)
    assert log.load["n_users"] == 1 and len(log.table("people")) == 1
    assert log.load["tables"]["events"]["n_rejected"] == {"no consent": 4}
    with pytest.raises(DataError, match='events frame: 1 of 4 values of "consent" are neither'):
        EventLog.from_frame(events.assign(consent=["perhaps", *said[1:]]))


def test_a_consent_that_is_neither_yes_nor_no_is_refused():
    people = pd.DataFrame([("u", "yes"), ("v", "withdrawn")], columns=["user_id", "consent"])
    with pytest.raises(DataError) as error:
        log_of([("u", "e", "2026-01-01")], people=people)
    assert str(error.value) == (
        'people frame: 1 of 2 values of "consent" are neither yes nor no, for example "withdrawn".'
    )


def test_nothing_is_kept_of_refusers_not_even_their_faulty_rows(tmp_path):
    """Ann said no as old_ann, on her phone; her tablet is known by a faulty row only."""
    events = pd.DataFrame(
        [
            ("ann", "phone", "SECRET a", "2026-01-01", "1"),
            ("ann", "phone", "SECRET a", "2026-01-01", "1"),
            ("ann", None, "SECRET b", "SECRET time", "2"),
            (None, "phone", "SECRET c", "SECRET time", "3"),
            ("ann", "tablet", "SECRET d", "SECRET time", "4"),
            (None, "tablet", "SECRET e", "SECRET time", "5"),
            (None, "tablet", "SECRET f", "2026-01-03", "6"),
            ("ann", "old_ann", "SECRET g", "2026-01-02", "7"),
            ("bob", "pc", "join", "soon", "8"),
            ("bob", "pc", "join", "2026-01-02", "9"),
            *[("bob", "pc", "open", "2026-01-02", f"b{i}") for i in range(60)],
        ],
        columns=["user_id", "anonymous_id", "event", "timestamp", "event_id"],
    )
    people = pd.DataFrame(
        [("ann", True), ("old_ann", False), ("bob", True)], columns=["user_id", "consent"]
    )
    surveys = pd.DataFrame(
        [("old_ann", "2026-01-01", "saved", "yes", "SECRET"), ("", "2026-01-01", "s", "no", "")],
        columns=["user_id", "submitted_at", "micro_conversion", "answer", "reason"],
    )
    backend = pd.DataFrame(
        [("phone", "SECRET", "2199-01-01")] + [("bob", "join", "2026-01-02")] * 20,
        columns=["user_id", "event", "timestamp"],
    )
    con, tables = duckdb.connect(), {}
    frames = {"events": events, "people": people, "surveys": surveys, "backend": backend}
    for table, frame in frames.items():
        con.register(table, canonical_frame(frame, table))
        tables[table] = [(table, f"FROM {table}")]
    report = build_store(tmp_path / "x.duckdb", tables, con=con, name="x")
    rejected = {table: rows["n_rejected"] for table, rows in report["tables"].items()}
    assert {table: found for table, found in rejected.items() if found} == {
        "events": {"unreadable timestamp": 1, "no consent": 8},
        "people": {"no consent": 2},
        "surveys": {"no user": 1, "no consent": 1},
        "backend": {"no consent": 1},
    }
    assert report["n_users"] == 1 and report["tables"]["events"]["n_kept"] == 61
    for file in tmp_path.iterdir():
        assert b"SECRET" not in file.read_bytes(), file.name
    left = pd.read_parquet(tmp_path / "x.rejected.parquet")
    assert sorted(left["reason"]) == ["no user", "unreadable timestamp"]
    told = pd.concat([left["user_id"], left["anonymous_id"]]).dropna()
    assert set(told) == {pseudonym(name, salt(tmp_path)) for name in ("bob", "pc")}


def test_ids_are_hashed_and_addresses_masked_and_counted_wherever_they_stand(tmp_path):
    mail, phone = "Ann <ann@example.org>", "call +49 170 5555555 now"
    gone = ["Ann <[e-mail removed]>", "call [phone removed] now"]
    texts = ["platform", "app_version", "channel", "utm_source", "utm_medium", "utm_campaign"]
    texts += ["partner_id", "promo_code"]
    ids = ["user_id", "anonymous_id", "session_id", "event_id"]
    rows = [
        {"event": text, "timestamp": "2026-01-01", "note": text}
        | dict.fromkeys(texts, text)
        | {column: f"RAW {column} {i}" for column in ids}
        for i, text in enumerate([mail, phone, "plain", "2026-01-05 10:11:12"])
    ]
    rows.append(rows[0] | {"timestamp": mail, "event_id": "RAW again"})
    frames = {
        "events": pd.DataFrame(rows * 12).assign(
            event_id=lambda f: [f"{x}{i // 5}" for i, x in enumerate(f["event_id"])]
        )[:-5],
        "people": pd.DataFrame(
            [("RAW user_id 0", mail, phone, "RAW account", mail)],
            columns=["user_id", "channel", "partner_id", "account_id", "plan"],
        ),
        "surveys": pd.DataFrame(
            [("RAW user_id 0", "2026-01-01", phone, "yes", mail)],
            columns=["user_id", "submitted_at", "micro_conversion", "answer", "reason"],
        ),
        "spend": pd.DataFrame({"day": ["2026-01-01"], "amount": [1.5], "partner_id": [mail]}),
        "timeline": pd.DataFrame(
            {"day": ["2026-01-01"], "kind": ["release"], "label": [phone], "note": [mail]}
        ),
        "responses": pd.DataFrame({"alert_id": ["7"], "owner": [mail], "action": ["wait"]}),
    }
    con, tables = duckdb.connect(), {}
    for table, frame in frames.items():
        con.register(table, canonical_frame(frame, table))
        tables[table] = [(table, f"FROM {table}")]
    frames["events"].loc[frames["events"]["timestamp"] == mail]
    with pytest.raises(DataError, match=r'for example "Ann <\[e-mail removed\]>"'):
        build_store(tmp_path / "x.duckdb", tables, con=con, name="x")
    few = frames["events"].drop(index=[4, 9, 14, 19, 24, 29, 34, 39, 44])
    con.register("events", canonical_frame(few, "events"))
    report = build_store(tmp_path / "x.duckdb", tables, con=con, name="x")
    assert report["n_masked"] == {
        **{f"events.{column}": 22 for column in ["event", *texts, "properties"]},
        **dict.fromkeys(["people.channel", "people.partner_id", "people.plan"], 1),
        **dict.fromkeys(["surveys.micro_conversion", "surveys.reason"], 1),
        **dict.fromkeys(["spend.partner_id", "timeline.label", "timeline.note"], 1),
        "responses.owner": 1,
    }
    for file in tmp_path.iterdir():
        for word in (b"ann@", b"5555555", b"RAW"):
            assert word not in file.read_bytes(), (file.name, word)
    log = EventLog.open(tmp_path / "x.duckdb")
    assert log.event_names == sorted([*gone, "plain", "2026-01-05 10:11:12"])
    for column in texts:
        assert log.segments(f"event.{column}") == log.event_names
    assert set(log.counts(by="properties.note")["note"]) == set(log.event_names)
    assert log.table("responses")["alert_id"].tolist() == ["7"]


def test_journeys_are_sorted_cut_at_as_of_and_masked():
    rows = [
        ("b", "pay", "2026-01-03"),
        ("a", "pay", "2026-01-02"),
        ("a", "join", "2026-01-01"),
        ("b", "join", "2026-01-01"),
        ("a", "other", "2026-01-01"),
        ("b", "pay", "2026-01-09"),
    ]
    log = log_of(rows)
    (part,) = log.journeys(events=["join", ["pay", "join"]], as_of="2026-01-03")
    assert part.user.tolist() == [0, 0, 1, 1]
    assert part.mask.tolist() == [3, 2, 3, 2]
    days = {"a": [1, 2], "b": [1, 3]}
    expected = [day for user in numbered("ab") for day in days[user]]
    assert [pd.Timestamp(t, unit="us").day for t in part.time] == expected


@pytest.mark.parametrize("key", ["größe", 'a"b', "a.b", "a\\b", "名"])
def test_a_property_is_found_by_its_name_whatever_its_letters(key):
    events = pd.DataFrame(
        {
            "user_id": ["a", "b"],
            "event": "x",
            "timestamp": "2026-03-01",
            "properties": [json.dumps({key: "1"}), None],
        }
    )
    log = EventLog.from_frame(events)
    assert log.counts(events=[{"event": "x", "where": {key: "1"}}])["n_users"].tolist() == [1]


def test_property_filters_dims_and_values():
    rows = frame_of(
        [
            ("a", "open", "2026-01-01", "web", {"n": 3, "beta": True}),
            ("a", "open", "2026-01-02", None, {"n": "x"}),
            ("b", "open", "2026-01-01", "ios", None),
        ],
        "platform",
        "properties",
    )
    people = pd.DataFrame([("a", "pro")], columns=["user_id", "plan"])
    log = EventLog.from_frame(rows, people=people)
    steps = [
        Step("open", {"beta": True}),
        Step("open", {"n": [3, 4]}),
        Step(ANY, {"platform": ANY}),
    ]
    (part,) = log.journeys(events=[*steps, "open"], by=["platform", "plan"], values="n")
    of_a = np.flatnonzero(part.user == numbered("ab").index("a"))
    (of_b,) = np.flatnonzero(part.user == numbered("ab").index("b"))
    assert part.mask[of_a].tolist() == [15, 8] and part.mask[of_b] == 12
    assert part.segment(of_a).tolist() == ["web · pro", "(none) · pro"]
    assert part.segment([of_b]).tolist() == ["ios · (none)"]
    assert part.value[of_a[0]] == 3 and np.isnan(part.value).sum() == 2


def test_week_and_month_of_an_event_and_whether_there_are_accounts():
    rows = [
        ("u", "a", "2026-03-01T23:59:59Z"),
        ("u", "a", "2026-03-02T00:00:00Z"),
        ("v", "a", "2026-03-08"),
    ]  # Sunday, Monday, Sunday
    log = log_of(
        rows,
        people=pd.DataFrame({"user_id": ["u", "v"], "account_id": ["x", None]}),
    )

    def counted(by):
        return log.counts(by=by).set_index(by)["n_events"].to_dict()

    assert counted("week") == {"2026-02-23": 1, "2026-03-02": 2} and counted("month") == {
        "2026-03-01": 3
    }
    (j,) = log.journeys(events=["a"], by=["week"])
    assert sorted(j.segment(np.arange(3))) == [
        "2026-02-23",
        "2026-03-02",
        "2026-03-02",
    ] and log.segments("week") == ["2026-02-23", "2026-03-02"]
    assert log.accounts == ["account_id"] and log_of(rows).accounts == []


def test_chunks_keep_users_whole_and_add_up(monkeypatch):
    rng = np.random.default_rng(0)
    rows = frame_of(
        [
            (
                f"u{rng.integers(30):02d}",
                "e",
                pd.Timestamp("2026-01-01") + pd.Timedelta(int(rng.integers(1e6)), "s"),
            )
            for _ in range(500)
        ]
    )
    log = EventLog.from_frame(rows)

    def kernel(part):
        segment = part.segment(np.arange(len(part)))
        return pd.DataFrame({"segment": segment, "n_rows": 1, "sum_x": 0.5})

    whole = log.reduce(kernel, events=["e"])
    monkeypatch.setattr(log_module, "CHUNK_ROWS", 40)
    parts = list(log.journeys(events=["e"]))
    assert len(parts) > 5 and sum(len(p) for p in parts) == 500
    assert len(set().union(*(set(p.user) for p in parts))) == sum(len(set(p.user)) for p in parts)
    pd.testing.assert_frame_equal(log.reduce(kernel, events=["e"]), whole)
    assert whole.loc[0, "n_rows"] == 500 and whole.loc[0, "sum_x"] == 250


def test_any_number_of_event_names_and_of_chosen_ones_comes_in_order():
    """150 names: more than one word of bits, and more than DuckDB looks up without a join."""
    rng = np.random.default_rng(3)
    names, n = [f"e{i:03d}" for i in range(150)], 5000
    events = pd.DataFrame(
        {
            "user_id": rng.integers(0, 50, n).astype(str),
            "event": rng.choice(names, n),
            "timestamp": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "s"),
            "platform": rng.choice(["ios", "web"], n),
        }
    )
    log = EventLog.from_frame(events)
    some = ["e000", "e063", "e064", "e127", "e128", "e149"]
    for step, mine in (
        (some, events["event"].isin(some)),
        (
            Step(some, {"platform": "ios"}),
            events["event"].isin(some) & (events["platform"] == "ios"),
        ),
        (ANY, events["event"] != ""),
    ):
        expected = events[mine].assign(user_id=events["user_id"].map(pseudonym))
        expected = expected.sort_values(["user_id", "timestamp"])
        (part,) = log.journeys(events=[step], by="event.platform")
        assert (
            np.unique(part.user, return_counts=True)[1].tolist()
            == expected.groupby("user_id").size().tolist()
        )
        assert (
            part.time.tolist()
            == expected["timestamp"].astype("datetime64[us]").astype("int64").tolist()
            and part.has(0).all()
        )
        assert (
            pd.Series(part.segment(np.arange(len(part)))).value_counts().to_dict()
            == expected["platform"].value_counts().to_dict()
        )


def test_rows_that_come_mixed_are_sorted():
    """By user, time, event; `mixed` is the same rows in any order."""
    rng = np.random.default_rng(4)
    rows = pd.DataFrame(rng.integers(0, 5, (400, 3)), columns=["user", "time", "code"])
    expected = rows.sort_values(["user", "time", "code"], ignore_index=True)
    bits = np.arange(5)  # of an event, its code
    for mixed in (rows, expected, expected.iloc[np.r_[1, 0, 2:400]], expected.iloc[::-1]):
        found = in_order(pa.Table.from_pandas(mixed, preserve_index=False), [], bits)
        pd.testing.assert_frame_equal(found.table.to_pandas(), expected)
        arrays = {"user": found.user, "time": found.time, "code": found.mask}
        pd.testing.assert_frame_equal(pd.DataFrame(arrays), expected)


@pytest.mark.parametrize(("n_steps", "mask"), [(8, "uint8"), (9, "uint16"), (64, "uint64")])
def test_arrays_have_the_types_that_kernels_are_compiled_for(tmp_path, n_steps, mask):
    events = frame_of(
        [("a", "join", "2026-01-01", "web", 1.5), ("b", "join", "2026-01-01", None, None)],
        "platform",
        "size",
    )
    people = pd.DataFrame({"user_id": ["a"], "plan": ["pro"]})
    in_place = events.drop(columns="size").assign(properties=['{"size": 1.5}', None])
    in_place.to_parquet(tmp_path / "e.parquet")
    for log in (
        EventLog.from_frame(events, people=people),
        EventLog.from_parquet(tmp_path / "e.parquet", people=people),
    ):
        steps = ["join"] * (n_steps - 1) + [Step("join", {"platform": "web"})]
        by = ["plan", "platform", "week"]
        (part,) = log.journeys(events=steps, by=by, values="size")
        arrays = [part.user, part.time, *part.dims.values(), part.mask, part.value, part.bucket]
        kinds = ["int64"] * 5 + [mask, "float64", "uint8"]
        assert [str(array.dtype) for array in arrays] == kinds
        assert all(array.flags.c_contiguous and array.flags.writeable for array in arrays)


def test_a_log_shows_its_dataset_period_users_and_events(tmp_path):
    rows = frame_of([(f"u{i % 1100}", "e", "2026-01-10") for i in range(2000)])
    log = EventLog.from_frame(rows, name="a<b")
    lines = ["EventLog a<b", "2026-01-10 00:00 to 2026-01-10 00:00 UTC"]
    assert repr(log).split("\n  ") == [*lines, "1,100 users, 2,000 events"]
    assert "<b>EventLog a&lt;b</b>" in log._repr_html_()
    rows.to_parquet(tmp_path / "e.parquet")
    log = EventLog.from_parquet(tmp_path / "e.parquet")
    assert repr(log).endswith("\n  2,000 events")  # not counted for this
    assert log.load["n_users"] == 1100
    assert repr(log).endswith("\n  1,100 users, 2,000 events")


def test_a_table_that_is_none_names_the_nearest():
    rows = frame_of([("a", "e", "2026-01-10")])
    log = EventLog.from_frame(rows, people=None)
    said = '"peple" is not a table beside the events. Did you mean "people"'
    with pytest.raises(ParameterError, match=said):
        log.table("peple")
    with pytest.raises(ParameterError, match=said):
        EventLog.from_frame(rows, peple=pd.DataFrame({"user_id": ["a"]}))
    with pytest.raises(
        ParameterError, match="^plan: only a dataset has a tracking plan, as open_log"
    ):
        EventLog.from_frame(rows, plan="params/plan.demo.yaml")


def test_as_of_before_the_first_event_is_refused_and_after_the_data_read_as_their_end(tmp_path):
    """By hand: the data end with the 10th, unless somebody knows that collection went on."""
    rows = frame_of([("a", "e", "2026-01-10T08:00:00Z")])
    rows.to_parquet(tmp_path / "e.parquet")
    for make in (
        partial(EventLog.from_frame, rows),
        partial(EventLog.from_parquet, tmp_path / "e.parquet"),
    ):
        log = make(name="x")
        with pytest.raises(ParameterError, match="as_of: 2026-01-09 lies before the first event"):
            log.as_of("2026-01-09")
        assert log.as_of() == us("2026-01-10T08:00:00Z")
        assert log.as_of("2026-01-10") == us("2026-01-11T00:00:00Z") - 1
        assert log.as_of("2026-01-11T00:00:00Z") == log.as_of("2026-02-01")
        assert log.as_of("2026-02-01") == us("2026-01-11T00:00:00Z")
        assert not log.caveats("2026-01-10") and not log.caveats("2026-01-11T00:00:00Z")
        (caveat,) = log.caveats("2026-02-01")
        assert caveat.startswith(
            "as_of 2026-02-01 lies after the end of the data and is read as 2026-01-10"
        )
        went_on = make(observed_until="2026-01-31")
        assert went_on.load["observed_until"] == "2026-01-31 23:59:59.999999"
        assert went_on.as_of("2026-02-01") == us("2026-02-01T00:00:00Z") - 1
        assert went_on.as_of("2026-01-31") == us("2026-02-01T00:00:00Z") - 1
        assert not went_on.caveats("2026-01-31")
        assert "is read as 2026-01-31" in went_on.caveats("2026-02-01")[0]
        with pytest.raises(ParameterError, match='observed_until: "soon" is neither a day'):
            make(observed_until="soon")


def test_identical_events_without_an_event_id_are_told(tmp_path):
    """By hand: 2 of 6. Another id, another property or another moment is another event."""
    moment = "2026-01-10T08:00:00Z"
    rows = [("a", "buy", moment, None, 1)] * 3 + [
        ("a", "buy", moment, None, 2),
        ("a", "buy", moment, "n1", 1),
        ("b", "buy", moment, None, 1),
    ]
    frame = frame_of(rows, "event_id", "price")
    bag = [json.dumps({"price": price}) for price in frame["price"]]
    frame.drop(columns="price").assign(properties=bag).to_parquet(tmp_path / "e.parquet")
    for log in (EventLog.from_frame(frame), EventLog.from_parquet(tmp_path / "e.parquet")):
        assert log.caveats() == (
            "2 events of 6 are identical to another one and without event_id: kept, for it cannot "
            "be told whether they were sent twice or happened twice.",
        )
        assert log.load["tables"]["events"]["n_identical"] == 2
    once = EventLog.from_frame(frame.drop_duplicates())
    assert once.load["tables"]["events"]["n_identical"] == 0 and once.caveats() == ()


def test_a_filter_that_meets_nothing_is_said_with_the_nearest_word_and_numbers_are_numbers(
    tmp_path,
):
    """Role is 1 or missing, so pandas makes it 1.0."""
    rows = [
        ("u", "a", "2026-01-01", "ios", 1, "s1"),
        ("u", "b", "2026-01-02", "ios", 1, "s1"),
        ("v", "a", "2026-01-01", "web", None, "s2"),
        ("v", "b", "2026-01-02", "web", 2, "s2"),
    ]
    events = frame_of(rows, "platform", "role", "session_id")
    events.drop(columns="role").assign(
        properties=[json.dumps({"role": r} if r == r else {}) for r in events["role"]]
    ).to_parquet(tmp_path / "e.parquet")
    for log in (
        EventLog.from_frame(events),
        EventLog.from_parquet(tmp_path / "e.parquet", name="frame"),
    ):
        for where, n in (
            ({"role": 1}, 1),
            ({"role": 1.0}, 1),
            ({"role": "1.0"}, 1),
            ({"role": [1, 2]}, 2),
            ({"role": [3, ANY]}, 2),
            ({"role": True}, 0),
        ):
            assert log.counts(events=[Step("b", where)])["n_events"].sum() == n, where
        for where, words in (
            ({"platfrm": "ios"}, ' No such event has "platfrm". Did you mean "platform"?'),
            ({"platform": "iOS"}, ' Did you mean "ios"?'),
            (
                {"properties.rolle": 1},
                ' No such event has "properties.rolle". Did you mean "role"?',
            ),
            ({"platform": ["android", "webb"]}, ' It has ios, web. Did you mean "web"?'),
            ({"platform": "ios", "role": 2}, ""),
            ({"session_id": "s"}, ""),
        ):
            assert log.missing_events(["a", Step("b", where)]) == [
                f'event "{Step("b", where).label}" does not occur in frame.{words}'
            ]
        assert (
            log.missing_events(["a", Step("b", {"platform": "ios"}), Step(ANY, {"role": 2})]) == []
        )
        assert log.missing_events([Step("bb", {"platform": "ios"})]) == [
            'event "bb" does not occur in frame. Did you mean "b"?'
        ]
        said = log.missing_events([Step("b", {"platform": "iOS"})])[0]
        with pytest.raises(ParameterError, match=re.escape(f"steps: {said}")):
            mctlib.diagnose_funnel(
                log, ["a", Step("b", {"platform": "iOS"})], window="5d", as_of="2026-01-02"
            )


def test_empty_text_is_no_value(tmp_path):
    events = frame_of(
        [
            ("u", "a", "2026-01-01", "", "s"),
            ("u", "b", "2026-01-02", "", "s"),
            ("v", "a", "2026-01-01", None, ""),
            ("v", "b", "2026-01-02", "web", ""),
        ],
        "platform",
        "session_id",
    )
    people = pd.DataFrame(
        {"user_id": ["u", "v"], "account_id": ["", ""], "plan": ["", "pro"], "channel": ["", ""]}
    )
    events.to_parquet(tmp_path / "e.parquet")
    for log in (
        EventLog.from_frame(events, people=people),
        EventLog.from_parquet(tmp_path / "e.parquet", people=people),
    ):
        assert (
            log.accounts == []
            and log.segments("platform") == ["(none)", "web"]
            and log.segments("plan") == ["(none)", "pro"]
        )
        assert log.counts(by="platform")["platform"].tolist() == ["(none)", "(none)", "web"]
        found = (
            mctlib.diagnose_funnel(
                log, ["a", "b"], window="5d", as_of="2026-02-01", by=["platform", "plan"]
            )
            .steps["segment"]
            .unique()
            .tolist()
        )
        assert found == ["all", "(none) · (none)", "(none) · pro"]
        assert mctlib.diagnose_funnel(
            log, ["a", "b"], window="5d", as_of="2026-02-01", hold="session_id"
        ).steps["n_reached"].tolist() == [1, 1]
        with pytest.raises(ParameterError, match='The column "channel" is empty'):
            log.segments("channel")


@pytest.mark.parametrize(
    "column",
    [
        "user_id",
        "anonymous_id",
        "account_id",
        "session_id",
        "event_id",
        "event.session_id",
        "properties.user_id",
    ],
)
def test_ids_are_no_groups_to_be_shown(column):
    rows = [
        (f"u{i}", event, f"2026-01-0{day}", f"s{i}", f"{i}{event}")
        for i in range(3)
        for event, day in (("a", 1), ("b", 2))
    ]
    log = log_of(
        rows,
        "session_id",
        "event_id",
        people=pd.DataFrame({"user_id": ["u0"], "account_id": ["k"]}),
    )
    ask, periods = (
        {"window": "5d", "as_of": "2026-02-01"},
        {"before": ("2026-01-01", "2026-01-01"), "after": ("2026-01-02", "2026-01-02")},
    )
    for question in (
        lambda: mctlib.diagnose_funnel(log, ["a", "b"], by=column, **ask),
        lambda: mctlib.diagnose_funnel(log, ["a", "b"], by=["week", column], **ask),
        lambda: mctlib.explain_change(log, ["a", "b"], by=column, **periods, **ask),
        lambda: mctlib.drop_off_drivers(log, ["a", "b"], segments=column, **ask),
        lambda: mctlib.drop_off_drivers(log, ["a", "b"], adjust=column, **ask),
        lambda: mctlib.daily_metric(log, mctlib.Count("a"), by=column, as_of="2026-02-01"),
        lambda: mctlib.time_to_activation(
            log, start="a", activation="b", as_of="2026-02-01", by=column
        ),
        lambda: log.counts(by=column),
        lambda: mctlib.landmark_activation(
            log, start="a", activation="b", as_of="2026-02-01", by=column
        ),
        lambda: mctlib.attribution_windows(
            log, "b", windows=["7d"], as_of="2026-02-01", by=column, seed=1
        ),
        lambda: mctlib.compare_arms(log, "b", of="a", by=column, change_at="2026-01-02", **ask),
    ):
        with pytest.raises(
            ParameterError,
            match=f'"{re.escape(column)}" holds ids, which no table or sentence may show',
        ):
            question()
    held = mctlib.diagnose_funnel(log, ["a", "b"], hold="session_id", **ask)
    assert held.steps["n_reached"].tolist() == [3, 3] and log.accounts == ["account_id"]


def test_words_that_are_not_in_the_data_name_the_nearest():
    log = log_of([("a", "profile_completed", "2026-01-10", "web")], "platform")
    assert log.missing_events(["profil_completed"]) == [
        'event "profil_completed" does not occur in frame. Did you mean "profile_completed"?'
    ]
    with pytest.raises(ParameterError, match='"plattform" is neither .* Did you mean "platform"'):
        list(log.journeys(events=["profile_completed"], by="plattform"))
    with pytest.raises(
        DataError, match='events frame: column "timestamp" is missing. Did you mean "timestamps"'
    ):
        EventLog.from_frame(
            pd.DataFrame([("a", "e", "2026-01-10")], columns=["user_id", "event", "timestamps"])
        )


def test_disk_full_leaves_the_previous_store(tmp_path, monkeypatch):
    path = tmp_path / "x.duckdb"
    con = duckdb.connect()
    con.register("rows", canonical_frame(frame_of([("u", "e", "2026-01-01")]), "events"))
    tables = {"events": [("rows.csv", "SELECT * FROM rows")]}
    build_store(path, tables, con=con, name="x")
    before = path.read_bytes()

    def fails(said):
        def fill(*_, **__):
            raise duckdb.IOException(said)

        monkeypatch.setattr(build, "fill", fill)
        with pytest.raises(DataError) as error:
            build_store(path, tables, con=con, name="x")
        assert not list(tmp_path.glob("*.tmp*"))
        return str(error.value)

    # as DuckDB 2.0 words it
    full = (
        "IO Error: CHECKPOINT during DETACH failed.\n"
        "Original error: Could not write file: No space left on device"
    )
    left = "; the previous store is untouched."
    broken = fails("IO Error: broken\nmore")
    assert fails(full) == f"{path}: the disk is full, so the store could not be written{left}"
    assert broken == f"{path}: the store could not be written (IO Error: broken){left}"
    assert path.read_bytes() == before
    path.unlink()
    assert fails(full) == f"{path}: the disk is full, so the store could not be written."


def test_leftovers_of_killed_loads_go_and_those_of_running_loads_stay(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here, day_ago = platform.node(), time.time() - 90_000
    kept = [
        f".staging-a.{os.getpid()}@{here}.tmp",
        f"x.{os.getpid()}@{here}.tmp",
        "x.1@elsewhere.tmp",
        "x.duckdb",
        "x.load.json",
        "x.moments.arrow",
    ]
    removed = [
        f".staging-b.{gone.pid}@{here}.tmp",
        f"x.{gone.pid}@{here}.tmp",
        f"x.{gone.pid}@{here}.tmp.wal",
        "y.1@elsewhere.tmp",
        ".staging-old",
        "y.7.tmp",
    ]
    for name in kept + removed:
        (tmp_path / name).mkdir() if name.startswith(".") else (tmp_path / name).touch()
        if name in removed[-3:] or name == "x.duckdb" or str(os.getpid()) in name:
            os.utime(tmp_path / name, (day_ago, day_ago))
    (tmp_path / removed[0] / "staging.duckdb").touch()
    build.remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_nothing_left_says_in_words_what_was_rejected():
    rows = [("", "e", "2026-01-01")] * 30
    with pytest.raises(DataError) as error:
        log_of(rows)
    assert (
        str(error.value) == "frame: no event is left after loading; rejected were 30 rows: no user."
    )


def messy(rng, n=240):
    """Rows with every fault that a load knows, each well under one in ten, and people.

    Ids merge upwards (u0 into u7, never back), so that chains end.
    """

    def pick(values, odds):
        return [values[i] for i in rng.choice(len(values), n, p=odds)]

    ids, share = [f"u{i}" for i in range(8)], [0.9 / 8] * 8
    late = pd.Timestamp.now("UTC").tz_localize(None).normalize() + pd.Timedelta("30D")
    minutes = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 40, n), "min")
    rows = pd.DataFrame(
        {
            "user_id": pick([*ids, None, ""], [*share, 0.06, 0.04]),
            "event": pick(["join", "pay", "open", None, ""], [0.4, 0.3, 0.26, 0.02, 0.02]),
            "timestamp": [
                {0: "soon", 1: f"{late}"}.get(fault, f"{at}")
                for at, fault in zip(minutes, rng.integers(0, 40, n))
            ],
            "platform": pick(["web", "ios", None], [0.5, 0.3, 0.2]),
            "event_id": pick([None, *map(str, range(60))], [0.4, *[0.01] * 60]),
            "anonymous_id": pick([None, "a1", "a2", "a3"], [0.7, 0.1, 0.1, 0.1]),
        }
    )
    for line in rng.choice(n, 4, replace=False):  # an id that later turns out to be another's
        low, high = sorted(rng.choice(8, 2, replace=False))
        rows.loc[line, ["anonymous_id", "user_id"]] = ids[low], ids[high]
    people = pd.DataFrame(
        {
            "user_id": [*ids, "u3", "nobody else", None],
            "consent": [True, None, False, *[True] * 4, None, False, True, True],
        }
    )
    return rows, people


def loaded_by_hand(rows, people):
    """What a load keeps and why it leaves rows out, one row after another in plain Python.

    Of all the rows of those who said no at least once nothing but their number is known.
    """
    why, kept, faulty = {}, [], []

    def count(reason):
        why[reason] = why.get(reason, 0) + 1

    for row in rows.astype(object).where(rows.notna(), None).to_dict("records"):
        row["at"] = pd.to_datetime(row["timestamp"], errors="coerce")
        names = (row[c] for c in ("user_id", "anonymous_id") if row.get(c) is not None)
        row["who"] = next(names, "")
        reasons = {
            "no event": not row["event"],
            "unreadable timestamp": pd.isna(row["at"]),
            "timestamp in the future": row["at"] > pd.Timestamp.now() + pd.Timedelta("2D"),
            "no user": not row["who"],
        }
        row["fault"] = next((reason for reason, holds in reasons.items() if holds), None)
        (faulty if row["fault"] else kept).append(row)
    seen = {}
    for row in kept:
        user, other = row["user_id"], row.get("anonymous_id")
        if user and other and user != other:
            seen.setdefault(other, []).append((row["at"], user))
    first = {
        other: next(user for at, user in sorted(pairs) if at == min(pairs)[0])
        for other, pairs in seen.items()
    }

    def known(name):
        while name in first:
            name = first[name]
        return name

    everybody, refused, copies, events, n_apart = set(), set(), {}, [], 0
    for person in people.astype(object).where(people.notna(), None).to_dict("records"):
        if person["user_id"]:
            everybody.add(known(person["user_id"]))
            refused |= {known(person["user_id"])} if person["consent"] is False else set()
    for row in faulty:  # a row that a faulty one tells of
        user, other = row["user_id"], row.get("anonymous_id")
        if user and other and other not in first and known(user) in refused:
            refused.add(other)
    for row in faulty:
        who = row["user_id"] or row.get("anonymous_id")
        count("no consent" if known(who) in refused else row["fault"])
    for row in sorted(kept, key=lambda row: row["at"]):  # of copies the first in time stays
        row["who"] = known(row["who"])
        copy = (row["who"], row["event"], row.get("event_id"))
        named = row.get("event_id") is not None
        if row["who"] in refused:
            count("no consent")
            continue
        if named and copy in copies and row["at"] - copies[copy] <= pd.Timedelta("1D"):
            count("same event_id again")
            continue
        events.append(row)
        n_apart += named and copy in copies
        copies[copy] = row["at"]
    users = numbered({row["who"] for row in events} | everybody - refused)
    return (
        why,
        n_apart,
        users,
        sorted(
            (users.index(row["who"]), row["at"], row["event"], row["platform"] or "")
            for row in events
        ),
    )


LATER = [pytest.param(seed, marks=pytest.mark.simulation) for seed in range(2, 8)]


@pytest.mark.parametrize("seed", [0, 1, *LATER])
@pytest.mark.parametrize(
    "lacking", [(), ("event_id",), ("anonymous_id",), ("event_id", "anonymous_id")]
)
def test_a_load_keeps_and_rejects_what_plain_python_does(tmp_path, seed, lacking):
    rows, people = messy(np.random.default_rng(seed))
    rows = rows.drop(columns=list(lacking))
    con = duckdb.connect()
    con.register("one", canonical_frame(rows[:150], "events"))
    con.register(
        "other", canonical_frame(rows[150:].drop(columns="platform"), "events")
    )  # sources may differ in columns
    con.register("crm", canonical_frame(people, "people"))
    rows.loc[rows.index >= 150, "platform"] = None
    why, n_apart, users, expected = loaded_by_hand(rows, people)
    tables = {
        "events": [("one", "FROM one"), ("other", "SELECT * FROM other")],
        "people": [("crm", "FROM crm")],
    }
    report = build_store(tmp_path / "x.duckdb", tables, con=con, name="x", salted=NO_SALT)
    events = report["tables"]["events"]
    n_identical = events.pop("n_identical")
    assert events == {
        "n_read": 240,
        "n_rejected": why,
        "n_kept": len(expected),
        "n_apart": n_apart,
        "n_unread": 0,
    }
    assert why and report["n_users"] == len(users)
    with duckdb.connect(tmp_path / "x.duckdb", read_only=True) as stored:
        columns = "user, timestamp, event::VARCHAR, coalesce(platform::VARCHAR, '')"
        kept = stored.sql(f"SELECT {columns} FROM events").fetchall()
        whole = stored.sql("FROM events").df()
    unnamed = whole[whole["event_id"].isna()] if "event_id" in whole else whole
    assert n_identical == unnamed.duplicated().sum()
    assert [row[:3] for row in kept] == [row[:3] for row in expected], (
        "stored in order of user, time and event"
    )
    assert sorted(kept) == expected
    rejected = pd.read_parquet(tmp_path / "x.rejected.parquet")
    of_events = rejected.loc[rejected["canonical_table"] == "events", "reason"]
    expected = {reason: n for reason, n in why.items() if reason != "no consent"}
    assert of_events.value_counts().to_dict() == expected
