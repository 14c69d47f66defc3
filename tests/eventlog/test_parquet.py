"""Walking Parquet files where they lie gives, cell by cell, what the store gives.

The rules of what is left out are counted by hand.
"""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from mctlib.activation.landmark import landmark_activation
from mctlib.activation.time_to_event import time_to_activation
from mctlib.attribution.windows import attribution_windows
from mctlib.contract import DataError
from mctlib.eventlog import event_log as log_module
from mctlib.eventlog.build import build_store
from mctlib.eventlog.daily_metric import Count, Mean, Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.steps import ANY, Exclusion, Step
from mctlib.eventlog.store import connect
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.funnel.decomposition import explain_change
from mctlib.funnel.drivers import drop_off_drivers
from mctlib.funnel.vendor_rules import compare_rules
from mctlib.roi.before_after import compare_before_after
from mctlib.sources import demo

STEPS = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]
AS_OF = "2026-07-05"
SMALL = ("people", "surveys", "backend", "spend", "timeline")
# tables whose names begin so hold sums of fractions (over users, over accounts), which are added in
# another order
FRACTIONS = ("attribution", "mean", "activation", "landmark")


def write_clean_demo(folder: Path, users: int = 1500) -> Path:
    """The demo after stitching and de-duplication, as Parquet files with the canonical columns.

    The events lie in no order over several files.
    """
    con, tables = duckdb.connect(), {}
    for table, rows in demo.generate(users=users, seed=1).items():
        con.register(f"demo_{table}", canonical_frame(rows, table))
        tables[table] = [(table, f"FROM demo_{table}")]
    build_store(folder / "demo.duckdb", tables, con=con, name="demo")
    con.execute(f"ATTACH '{folder}/demo.duckdb' AS demo (READ_ONLY); USE demo")
    (folder / "events").mkdir()
    for part in range(3):
        con.execute(f"""COPY (
            SELECT user_id, e.* EXCLUDE (user) REPLACE (event::VARCHAR AS event)
            FROM events e JOIN users USING (user)
            WHERE hash(user_id, timestamp) % 3 = {part} ORDER BY hash(timestamp)
            ) TO '{folder}/events/{part}.parquet'""")
    for table in SMALL:
        select = f"FROM {table}"
        if table in SMALL[:3]:
            select = f"SELECT user_id, t.* EXCLUDE (user) FROM {table} t JOIN users USING (user)"
        con.execute(f"COPY ({select}) TO '{folder}/{table}.parquet'")
    return folder


def stored(folder: Path) -> EventLog:
    """The same files through the store."""
    return EventLog.from_frame(
        pd.read_parquet(folder / "events"),
        **{t: pd.read_parquet(folder / f"{t}.parquet") for t in SMALL},
    )


def answers(log: EventLog) -> dict[str, pd.DataFrame]:
    """Every table of every analysis, with options that use all there is to a walk.

    Dims of people and events, filters, values, buckets, users of tables.
    """
    steps = [
        "signed_up",
        Step("job_viewed", {"platform": ["ios", "android"]}),
        ["job_saved", "application_submitted"],
    ]
    rate = daily_metric(
        log, Rate("interview_scheduled", of="signed_up", window="14d"), as_of=AS_OF, by="plan"
    ).table
    treated = rate[rate["segment"] == "growth"].assign(segment="all")
    results = {
        "funnel": diagnose_funnel(log, STEPS, window="14d", as_of=AS_OF, by="plan"),
        "other funnel": diagnose_funnel(
            log,
            steps,
            window="3d",
            as_of="2026-05-01",
            by=["platform", "channel"],
            exclude=[Exclusion("email_clicked", 1, 3)],
            optional=[2],
        ),
        "change": explain_change(
            log,
            STEPS,
            window="14d",
            before=("2026-03-01", "2026-03-31"),
            after=("2026-05-01", "2026-05-31"),
            by="platform",
        ),
        "drivers": drop_off_drivers(
            log,
            STEPS,
            window="14d",
            as_of=AS_OF,
            segments=["channel", "week"],
            events=["job_viewed", "email_clicked"],
            adjust="platform",
        ),
        "rules": compare_rules(
            log, ["job_viewed", "job_viewed", "application_submitted"], window="7d", as_of=AS_OF
        ),
        "activation": time_to_activation(
            log,
            start="signed_up",
            activation="interview_scheduled",
            competing="account_deleted",
            as_of=AS_OF,
            by="channel",
        ),
        "landmark": landmark_activation(
            log,
            start="signed_up",
            activation="interview_scheduled",
            as_of=AS_OF,
            by="platform",
        ),
        "attribution": attribution_windows(
            log,
            "subscription_started",
            windows=["7d", "30d", "60d"],
            as_of=AS_OF,
            value=90.0,
            seed=1,
        ),
        "before/after": compare_before_after(treated, change_at="2026-04-06"),
    }
    return {
        "describe": log.describe(),
        "counts": log.counts(),
        "rate": rate,
        "count": daily_metric(log, Count("session_ended"), as_of=AS_OF).table,
        "counts by": log.counts(
            events=["signed_up", Step(ANY, {"platform": "ios"})], by=["plan", "properties.minutes"]
        ),
        "mean": daily_metric(
            log, Mean("session_ended", "minutes"), as_of=AS_OF, by="event.platform"
        ).table,
        **{
            f"{name}: {field}": table
            for name, result in results.items()
            for field, table in vars(result).items()
            if isinstance(table, pd.DataFrame)
        },
        "words": pd.DataFrame(
            {
                "finding": [r.finding for r in results.values()],
                "caveats": [" | ".join(r.caveats) for r in results.values()],
            }
        ),
    }


def assert_same(table: pd.DataFrame, expected: pd.DataFrame, name: str) -> None:
    """Counts and all that follows from them exactly."""
    pd.testing.assert_frame_equal(
        table,
        expected,
        obj=name,
        **({"rtol": 1e-12, "atol": 1e-12} if name.startswith(FRACTIONS) else {"check_exact": True}),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clean_demo(tmp_path_factory.mktemp("clean"))


def test_every_analysis_gives_the_tables_of_the_store(folder, monkeypatch):
    expected = answers(stored(folder))
    log = EventLog.from_parquet(
        folder / "events/*.parquet", **{t: folder / f"{t}.parquet" for t in SMALL}, name="frame"
    )
    for name, table in answers(log).items():
        assert_same(table, expected[name], name)
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


def test_columns_are_mapped_and_every_kind_of_time_and_property_is_read(tmp_path):
    at = pd.Timestamp("2026-01-01T12:00:00+02:00")
    (same,) = EventLog.from_frame(
        pd.DataFrame([("7", "open", at)], columns=["user_id", "event", "timestamp"])
    ).journeys(events=[ANY])
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
            same.bucket[0],
        ), kind


def test_times_without_zone_are_utc_wherever_the_machine_stands(tmp_path, monkeypatch):
    def there():
        con = connect()
        con.execute("SET GLOBAL TimeZone = 'America/New_York'")
        return con

    monkeypatch.setattr(log_module, "connect", there)
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
