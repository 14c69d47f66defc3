"""Rows read from the columns beside a store are those that its database gives."""

import duckdb
import numpy as np
import pandas as pd
import pytest

from mctlib.eventlog import moments
from mctlib.eventlog.build import build_store
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import ANY, Step
from mctlib.eventlog.vocabulary import PAYLOAD

FIRST = pd.Timestamp("2026-01-01")


def stored(path, n=3000, seed=1):
    """A store of 60 users who do up to 40 events, many at one moment, and its path."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "user_id": rng.integers(0, 60, n).astype(str),
            "event": [f"e{k:02d}" for k in rng.integers(0, 40, n)],
            "timestamp": FIRST + pd.to_timedelta(rng.integers(0, 900, n), "h"),
            "platform": rng.choice(["ios", "web"], n),
            "app_version": rng.choice([None, "", "1.9", "2.10"], n),
            "partner_id": rng.choice([None, "ann", "Ben"], n, p=[0.8, 0.1, 0.1]),
            "properties": rng.choice([None, '{"role": "hr"}'], n),
        }
    )
    people = pd.DataFrame({"user_id": np.arange(60).astype(str), "plan": ["pro", "free"] * 30})
    con = duckdb.connect()
    con.register("rows", rows)
    con.register("crm", people)
    tables = {
        "events": [("rows", "SELECT * FROM rows")],
        "people": [("crm", "SELECT * FROM crm")],
    }
    build_store(path, tables, con=con, name="x")
    return path


def asked(log, **question):
    """What is walked, as one table; and in how many parts."""
    parts = list(log.journeys(**question))
    tables = []
    for j in parts:
        rows = np.arange(len(j))
        given = {"user": j.user, "time": j.time, "mask": j.mask.astype(int), "bucket": j.bucket}
        given |= {name: j.segment(rows, [name]) for name in j.dims}
        given |= {} if j.value is None else {"value": j.value}
        tables.append(pd.DataFrame(given))
    return pd.concat(tables, ignore_index=True), len(parts)


@pytest.mark.parametrize(
    "question",
    [
        {"events": ["e00", "e07", ["e07", "e39"]]},
        {"events": [ANY], "by": ["plan"]},
        {"events": ["e01", "e02"], "as_of": "2026-01-12"},
        {"events": ["no_such_event"]},
        {"events": ["e03", Step("e04", {"platform": "ios"})]},
        {"events": ["e05"], "by": ["platform"]},
        {"events": [ANY], "by": ["app_version", "event.event", "week", "plan"], "values": PAYLOAD},
        {"events": [Step(ANY, {"partner_id": ANY}), "e01"], "by": ["event.partner_id", "month"]},
        {
            "events": [
                Step(["e01", Step("e02", {"app_version": ANY})], {"platform": {"not": "web"}})
            ]
        },
        {"events": [Step(ANY, {"app_version": {"present": False}, "partner_id": ["ann", "x"]})]},
        {"events": [Step("e01", {"platform": "none"}), Step("none", {"platform": "ios"})]},
        {"events": ["e06"], "by": {"app_version": [2, 3]}, "as_of": "2026-01-20"},
        {"events": [Step("e01", {"role": "hr"})]},
        {"events": [Step("e01", {"plan": "pro", "platform": "web"})], "by": ["platform"]},
        {"events": ["e01"], "by": ["properties.role", "platform"]},
        {"events": ["e01"], "values": "properties.role"},
    ],
)
def test_the_same_rows_with_and_without_moments(tmp_path, monkeypatch, question):
    monkeypatch.setattr(moments, "ROWS", 500)
    path = stored(tmp_path / "x.duckdb")
    found, n_parts = asked(EventLog.open(path), **question)
    assert (n_parts > 4) is not any(word in str(question) for word in ("role", "'plan':"))
    moments.place(path).unlink()
    expected, n_parts = asked(EventLog.open(path), **question)
    assert n_parts == 1
    pd.testing.assert_frame_equal(found, expected)
    assert len(found) or "no" in str(question["events"])


def test_moments_of_another_load_are_not_read(tmp_path):
    new = stored(tmp_path / "x.duckdb", seed=2)
    expected, _ = asked(EventLog.open(new), events=["e00"])
    other = stored(tmp_path / "y.duckdb")
    moments.place(other).replace(moments.place(new))
    found, _ = asked(EventLog.open(new), events=["e00"])
    pd.testing.assert_frame_equal(found, expected)
    moments.place(new).write_bytes(b"damaged")
    found, _ = asked(EventLog.open(new), events=["e00"])
    pd.testing.assert_frame_equal(found, expected)
