"""Times that nobody can believe: rejected or left empty, and counted."""

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from mctlib import EventLog
from mctlib.contract import DataError
from mctlib.eventlog.plausible import near_the_middle
from mctlib.sources.dataset import open_log
from tests.sources.reading import HEAD, stored
from tests.support.stores import store_of

DAY = dt.date(2025, 1, 1)


def rows(*moments, n=2000):
    """So many events of 2025, an hour apart, and one at each of the moments."""
    hours = pd.date_range("2025-01-01", periods=n, freq="1h").strftime("%Y-%m-%dT%H:%M:%SZ")
    return HEAD + "".join(f"u{i},a,{at}\n" for i, at in enumerate((*hours, *moments)))


@pytest.fixture
def loaded(project):
    """The load report's counts of events, of rows in a CSV."""

    def load(text, more=""):
        return open_log(project(f"events: {{path: e.csv}}\n{more}", e__csv=text)).load["tables"]

    return load


def test_before_2000_and_years_from_all_others(loaded):
    text = rows("1970-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2000-01-01T00:00:00Z")
    events = loaded(text)["events"]
    # the last is one of 2,001 that are left, fewer than one in a thousand
    assert events["n_rejected"] == {
        "timestamp before 2000-01-01": 2,
        "timestamp more than 5 years from nearly all others": 1,
    }
    assert events["n_read"] == 2003 == events["n_kept"] + 3


def test_as_many_as_one_in_a_thousand_are_no_error(loaded):
    early = ["2015-05-05T00:00:00Z"] * 2
    assert loaded(rows(*early, n=1998))["events"]["n_rejected"] == {}
    assert sum(loaded(rows(*early, n=1999))["events"]["n_rejected"].values()) == 2


def test_earliest_takes_the_place_of_both_rules(loaded):
    text = rows("1998-01-01T00:00:00Z", "1990-01-01T00:00:00Z")
    assert loaded(text, "earliest: 1995-01-01")["events"]["n_rejected"] == {
        "timestamp before 1995-01-01": 1
    }
    later = loaded(rows("2012-05-05T00:00:00Z"), "earliest: 2012-05-05")["events"]
    assert later["n_rejected"] == {}


def test_earliest_may_leave_out_any_share_but_all(loaded):
    """Of an hour each from 1 January 48 lie before the 3rd; 1998 is no fault where that is said."""
    text = rows("1998-01-01T00:00:00Z", n=50)
    people = "people: {path: p.csv}\nearliest: 2025-01-03"
    Path("p.csv").write_text("user_id,signed_up_at\nu49,2024-12-31T00:00:00Z\n")
    found = loaded(text, people)
    assert found["events"]["n_rejected"] == {"timestamp before 2025-01-03": 49}
    assert found["events"]["n_kept"] == 2 and "n_emptied" not in found["people"]
    with pytest.raises(DataError, match="no event is left after loading; rejected were 51 rows: "):
        loaded(text, "earliest: 2025-02-01")


def test_a_file_of_1970_is_misread(loaded):
    with pytest.raises(DataError) as error:
        loaded(HEAD + "u,a,1970-01-01T00:00:01Z\n")
    assert str(error.value) == (
        "e.csv: 1 of 1 rows of events have a timestamp before 2000-01-01 (for example"
        ' "1970-01-01T00:00:01Z"); more than one row in ten wrong in one way means the file is'
        " misread, so nothing was loaded."
    )


@pytest.mark.parametrize("engine", ["store", "parquet"])
def test_engines_leave_out_the_same(tmp_path, engine):
    hours = pd.date_range("2025-01-01", periods=2000, freq="1h")
    odd = pd.to_datetime(["1970-01-01", "2010-01-01"])
    events = pd.DataFrame({"timestamp": hours.append(odd), "event": "a", "user_id": "u"})
    if engine == "parquet":
        events.to_parquet(tmp_path / "e.parquet")
        log = EventLog.from_parquet(tmp_path / "e.parquet")
    else:
        log = EventLog.from_frame(events)
    assert log.load["tables"]["events"]["n_rejected"] == {
        "timestamp before 2000-01-01": 1,
        "timestamp more than 5 years from nearly all others": 1,
    }
    assert log.first_event == pd.Timestamp("2025-01-01", tz="UTC")


def test_times_beside_a_rows_own_are_left_empty_and_the_row_stays(project):
    events = "user_id,event,timestamp,received_at,event_id\n" + "".join(
        f"u{i},a,2025-01-05T00:00:00Z,{at},{i}\n"
        for i, at in enumerate(["2025-01-05T00:00:01Z", "2099-01-01T00:00:00Z", "1970-01-01"])
    )
    people = (
        "user_id,signed_up_at,churned_at,consent\n"
        "u0,2005-01-01,9999-12-31,yes\nu1,1970-01-01,2026-01-01,yes\nu2,2090-01-01,,no\n"
    )
    yaml = """
events: {path: e.csv, timezone: UTC}
people: {path: p.csv, timezone: UTC}
earliest: 2024-06-01
"""
    log = open_log(project(yaml, e__csv=events, p__csv=people))
    tables = log.load["tables"]
    assert tables["events"]["n_emptied"] == {"received_at": 2}
    assert tables["people"]["n_emptied"] == {"signed_up_at": 2, "churned_at": 1}
    # the refusal stands in a row with an impossible time
    assert tables["events"]["n_rejected"] == {"no consent": 1}
    kept = log.table("people").sort_values("churned_at", na_position="first")
    # who signed up before the first day that is wanted keeps the day
    assert kept["signed_up_at"].dt.year.tolist()[0] == 2005
    assert kept["signed_up_at"].isna().tolist() == [False, True]
    assert kept["churned_at"].isna().tolist() == [True, False]
    received = stored(store_of("x"))["events"]["received_at"]
    assert received.dropna().tolist() == [pd.Timestamp("2025-01-05T00:00:01")]


def test_days_and_answers_obey_the_floor(project):
    days = "day,amount,channel\n" + "2026-01-05,1,a\n" * 20
    answers = "user_id,submitted_at,micro_conversion,answer\n"
    answers += "u,2026-01-05T00:00:00Z,m,yes\n" * 20
    log = open_log(
        project(
            "events: {path: e.csv}\nspend: {path: s.csv}\nsurveys: {path: q.csv}",
            e__csv=HEAD + "u,a,2026-01-05T00:00:00Z\n",
            s__csv=days + "1900-01-01,1,a\n9999-12-31,1,a\n",
            q__csv=answers + "u,1970-01-01T00:00:00Z,m,yes\nu,2099-01-01T00:00:00Z,m,yes\n",
        )
    )
    assert log.load["tables"]["spend"]["n_rejected"] == {
        "day before 2000-01-01": 1,
        "day more than 5 years ahead": 1,
    }
    assert log.load["tables"]["surveys"]["n_rejected"] == {
        "submitted_at before 2000-01-01": 1,
        "submitted_at in the future": 1,
    }


def test_the_middle_99_percent_counted_by_hand():
    days = {DAY + dt.timedelta(days=i): 100 for i in range(100)}
    assert near_the_middle(days.items()) is None
    # 5 years before the first day and after the last
    ends = (dt.date(2020, 1, 1), dt.date(2030, 4, 11))
    assert near_the_middle((days | {dt.date(2019, 12, 31): 9}).items()) == ends
    assert near_the_middle((days | {dt.date(2020, 1, 1): 9}).items()) is None
    # 11 of 10,011 are more than one in a thousand
    assert near_the_middle((days | {dt.date(2019, 12, 31): 11}).items()) is None
