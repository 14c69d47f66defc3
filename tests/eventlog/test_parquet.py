"""Walking Parquet files where they lie gives, cell by cell, what the store gives.

The rules of what is left out are counted by hand.
"""

import hashlib

import duckdb
import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError
from mctlib.eventlog import event_log as log_module
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.pseudonyms import salt
from mctlib.eventlog.steps import ANY, Step
from tests.support.answers import SMALL, answers, stored, write_clean_demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clean_demo(tmp_path_factory.mktemp("clean"))


@pytest.mark.integration
def test_every_analysis_gives_the_tables_of_the_store(folder, monkeypatch):
    """As the store gives them at once, read in place some thousand rows at a time."""
    expected = answers(stored(folder))
    log = EventLog.from_parquet(
        folder / "events/*.parquet", **{t: folder / f"{t}.parquet" for t in SMALL}, name="frame"
    )
    monkeypatch.setattr(log_module, "CHUNK_ROWS", 10_000)
    assert len(list(log.journeys(events=[ANY]))) > 5
    for name, table in answers(log).items():
        pd.testing.assert_frame_equal(
            table, expected[name], rtol=1e-12, atol=1e-12, obj=name
        )  # fractions of chunks are added once more, bootstraps of them too


def write(path, rows, columns=("user_id", "event", "timestamp")):
    pd.DataFrame(rows, columns=list(columns)).to_parquet(path)
    return path


def test_rows_left_out_are_counted_and_nobody_without_consent_is_walked(tmp_path):
    rows = [("ann", "join", "2026-01-01")] * 20 + [
        ("", "join", "2026-01-01"),
        (None, "join", "2026-01-01"),
        ("ann", None, "2026-01-01"),
        ("ann", "join", None),
        ("ann", "join", "2199-01-01"),
        ("bob", "join", "2026-01-02"),
        ("bob", "leave", "2026-01-03"),
        ("cem", "leave", "2026-01-04"),
    ]
    events = write(tmp_path / "e.parquet", rows)
    people = pd.DataFrame(
        [
            ("bob", False, "pro"),
            (None, False, "pro"),
            ("ann", None, "pro"),
            ("ann", True, "free"),
            ("dee", True, "pro"),
        ],
        columns=["user_id", "consent", "plan"],
    )
    log = EventLog.from_parquet(events, people=people)
    assert log.load["tables"]["events"] == {
        "n_read": 28,
        "n_kept": 21,
        "n_rejected": {
            "no consent": 2,
            "no event": 1,
            "no user": 2,
            "timestamp in the future": 1,
            "unreadable timestamp": 1,
        },
        "n_identical": 19,
        "n_unread": 0,
    }
    assert log.load["n_users"] == 3  # ann, cem, dee
    assert log.counts(by="plan").to_dict("list") == {
        "event": ["join", "leave"],
        "plan": ["pro", "(none)"],
        "n_events": [20, 1],
        "n_users": [1, 1],
    }
    assert log.event_names == ["join", "leave"] and log.last_event == pd.Timestamp(
        "2026-01-04", tz="UTC"
    )
    assert log.table("people")["plan"].tolist() == ["pro", "pro"]  # of two lines of ann the first
    known, walked = (
        set(log.table("people")["user"]),
        {u for part in log.journeys(events=[ANY]) for u in part.user},
    )
    assert (len(known), len(walked), len(known & walked)) == (2, 2, 1)  # ann and dee; ann and cem
    assert "user_id" not in log.table("people")


def test_consent_in_any_spelling_and_order_and_addresses_are_masked(tmp_path):
    rows = [
        ("ann", "join", "2026-01-01", "ann@example.org"),
        ("ann", "mail ann@example.org", "2026-01-02", "web"),
        ("bob", "mail bob@example.org", "2026-01-02", "web"),
        ("cem", "join", "2026-01-02", "web"),
    ]
    events = write(tmp_path / "e.parquet", rows, ("user_id", "event", "timestamp", "channel"))
    said = [("cem", "Nein"), ("cem", "yes"), ("bob", ""), ("ann", "Ja")]
    people = write(tmp_path / "p.parquet", said, ("user_id", "consent"))
    log = EventLog.from_parquet(events, people=people)
    assert log.load["tables"]["events"]["n_rejected"] == {"no consent": 1}
    assert log.event_names == ["join", "mail [e-mail removed]"] and len(log.table("people")) == 2
    assert log.counts(events=["mail [e-mail removed]"])["n_users"].tolist() == [2]
    assert log.segments("channel") == ["[e-mail removed]", "web"]
    write(people, [("cem", "perhaps")], ("user_id", "consent"))
    with pytest.raises(DataError, match='the consent "perhaps" is neither yes nor no'):
        EventLog.from_parquet(events, people=people)


def test_columns_are_mapped_and_every_kind_of_time_and_property_is_read(tmp_path):
    at = pd.Timestamp("2026-01-01T12:00:00+02:00")
    low = int.from_bytes(hashlib.md5(f"{salt()}7".encode()).digest()[8:], "little")
    naive = pd.Timestamp("2026-01-01T10:00:00")
    for kind, times in {
        "zoned": [at],
        "naive": [naive],
        "text": ["2026-01-01T12:00:00+02:00"],
        "plain text": ["2026-01-01 10:00:00"],
    }.items():
        frame = pd.DataFrame(
            {
                "Kunde, Nr.": [7],
                "what": ["open"],
                "timestamp": times,
                "properties": [{"n": 3}] if kind == "naive" else ['{"n": 3}'],
            }
        )
        frame.to_parquet(tmp_path / "e.parquet")
        log = EventLog.from_parquet(
            tmp_path / "e.parquet", columns={"user_id": "Kunde, Nr.", "event": "what"}
        )
        (part,) = log.journeys(events=[Step("open", {"n": 3})], values="n")
        assert (part.time[0], part.value[0], part.bucket[0]) == (
            naive.value // 1000,
            3,
            low % 100,
        ), kind


def test_times_without_zone_are_utc_wherever_the_machine_stands(tmp_path, monkeypatch):
    opened = duckdb.connect

    def there(path):
        con = opened(path)
        con.execute("SET GLOBAL TimeZone = 'America/New_York'")
        return con

    monkeypatch.setattr(duckdb, "connect", there)
    log = EventLog.from_parquet(write(tmp_path / "e.parquet", [("a", "e", "2026-01-01 10:00:00")]))
    (part,) = log.journeys(events=["e"])
    assert log.last_event == pd.Timestamp("2026-01-01T10:00Z") and part.time.tolist() == [
        log.last_event.value // 1000
    ]


def test_a_user_with_more_rows_than_a_chunk_stays_whole_and_questions_may_interleave(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(log_module, "CHUNK_ROWS", 1000)
    users = np.repeat(["a", "b", "c"], [500, 30_000, 500])
    log = EventLog.from_parquet(
        write(
            tmp_path / "e.parquet",
            {
                "user_id": users,
                "event": "e",
                "timestamp": pd.date_range("2026-01-01", periods=len(users), freq="s"),
            },
        )
    )
    sizes = []
    for part in log.journeys(events=["e"]):
        sizes += np.unique(part.user, return_counts=True)[1].tolist()
        assert (np.diff(part.time)[np.diff(part.user) == 0] >= 0).all()
        assert log.counts()["n_events"].tolist() == [31_000]
    assert sorted(sizes) == [500, 500, 30_000]
    assert (
        len(log.reduce(lambda j: pd.DataFrame({"n_rows": [len(j)]}), events=["nothing like it"]))
        == 1
    )


def test_similar_ids_are_different_users(tmp_path):
    """Of these 409,600 ids DuckDB's own hash makes a tenth.

    They have the same digits in both halves, and letters that differ in high bits.
    """
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
    ids = [f"{n:07}{a}{n:07}{b}" for n in range(100) for a in letters for b in letters]
    log = EventLog.from_parquet(
        write(
            tmp_path / "e.parquet",
            {"user_id": ids, "event": "e", "timestamp": pd.Timestamp("2026-01-01")},
        )
    )
    assert log.load["n_users"] == log.counts()["n_users"].item() == len(ids)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (
            [("a", "e", "2026-01-01")],
            ("user_id", "event", "timestamps"),
            'column "timestamp" is missing. Did you mean "timestamps"',
        ),
        (
            [("a", "e", 1767225600)],
            ("user_id", "event", "timestamp"),
            '"timestamp" holds BIGINT, not times',
        ),
        (
            [("a", "e", "soon")],
            ("user_id", "event", "timestamp"),
            "1 of 1 rows of events have the fault: unreadable timestamp",
        ),
        (
            [("", "e", "2026-01-01")],
            ("user_id", "event", "timestamp"),
            "no event is left; rejected were {'no user': 1}",
        ),
    ],
)
def test_files_that_cannot_be_walked(tmp_path, rows, columns, words):
    with pytest.raises(DataError, match=words):
        EventLog.from_parquet(write(tmp_path / "e.parquet", rows, columns))


def test_a_glob_without_files_and_a_map_with_a_misspelt_word(tmp_path):
    with pytest.raises(DataError, match="No files found"):
        EventLog.from_parquet(tmp_path / "*.parquet")
    with pytest.raises(
        DataError, match='"user" in columns is not a column of events. Did you mean "user_id"'
    ):
        EventLog.from_parquet(
            write(tmp_path / "e.parquet", [("a", "e", "2026-01-01")]), columns={"user": "user_id"}
        )
