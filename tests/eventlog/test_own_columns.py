"""People's own columns are segments and adjustment on every engine, numbers in bins.

The worlds are small enough to count by hand.
"""

import re

import numpy as np
import pandas as pd
import pytest

from mctlib import diagnose_funnel, drop_off_drivers, time_to_activation
from mctlib.contract import ParameterError, as_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step
from tests.support.logs import frame_of, log_of, people_of

EVENTS = frame_of([(f"u{i}", "join", "2026-01-01", "web") for i in range(6)], "platform")
PEOPLE = people_of(
    6,
    country=["DE", "DE\u00a0", " FR", "", None, "FR"],
    seats=[0.0, 1.0, 9.5, 50.0, 500.0, None],
    platform=["crm"] * 6,
    user=["x"] * 6,
    **{'Company\'s "size"; DROP': ["10", "n/a", "9", "-1", "60", "1000.0"]},
)


@pytest.fixture(scope="module", params=["frame", "parquet", "parquet people"])
def log(request, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("columns")
    if request.param == "frame":
        return EventLog.from_frame(EVENTS, people=PEOPLE)
    EVENTS.to_parquet(tmp_path / "e.parquet")
    PEOPLE.to_parquet(tmp_path / "p.parquet")
    people = PEOPLE if request.param == "parquet" else tmp_path / "p.parquet"
    return EventLog.from_parquet(tmp_path / "e.parquet", people=people)


def users_by(log, by):
    counts = log.counts(by=by)
    return dict(zip(counts[counts.columns[1]], counts["n_users"]))


def test_own_columns_are_segments_by_their_own_names(log):
    assert users_by(log, "country") == {"(none)": 2, "DE": 2, "FR": 2}
    assert log.segments("country") == ["(none)", "DE", "FR"] and log.words.column("country").of_user
    # a name of ours is the event's, theirs stands beside it
    assert users_by(log, "platform") == {"web": 6}
    assert users_by(log, "own_platform") == {"crm": 6} and users_by(log, "own_user") == {"x": 6}
    assert users_by(log, 'Company\'s "size"; DROP')["1000"] == 1
    assert log.table("people")["country"].notna().sum() == 4


def test_numbers_are_binned_and_what_is_none_lies_in_no_bin(log):
    assert users_by(log, {"seats": [1, 10, 50]}) == {
        "below 1": 1,
        "1 to below 10": 2,
        "50 or more": 2,
        "(none)": 1,
    }
    assert users_by(log, {'Company\'s "size"; DROP': [10]}) == {
        "below 10": 2,
        "10 or more": 3,
        "(none)": 1,
    }
    (journeys,) = log.journeys(events=["join"], by=[{"seats": [0.5]}, "country"])
    assert sorted(journeys.segment(np.arange(6)))[:2] == ["(none) · FR", "0.5 or more · (none)"]


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ({"seats": [10, 1]}, "ascending numbers such as"),
        ({"seats": 10}, "ascending numbers such as"),
        ({"seats": ["1"]}, "ascending numbers such as"),
        ({"seats": [True]}, "ascending numbers such as"),
        ({"seats": [float("nan")]}, "ascending numbers such as"),
        ({"seats": []}, "ascending numbers such as"),
        ({"country": [1]}, '"country" cannot be put into bins, for it holds no numbers'),
        ({"seets": [1]}, 'Did you mean "seats"'),
        ("Country", 'Did you mean "country"'),
    ],
)
def test_bins_that_are_none_are_refused(log, by, said):
    with pytest.raises(ParameterError, match=said):
        log.counts(by=by)


def test_columns_are_read_once_each_and_know_their_bins():
    columns = as_columns(["plan", {"seats": [1, 2.5]}, ""])
    assert columns == ["plan", "seats"] and columns[1].edges == (1, 2.5)
    assert as_columns({"a": [1], "b": [2]}) == ["a", "b"] and as_columns(columns) == columns


def test_properties_of_events_are_binned_too():
    rows = [(f"u{i}", "join", "2026-01-01", minutes) for i, minutes in enumerate([1, 5, 30])]
    log = log_of(rows, "minutes")
    assert users_by(log, {"properties.minutes": [5]}) == {"5 or more": 2, "below 5": 1}


@pytest.fixture(scope="module")
def world():
    """Of 120 users with 5 seats 40 go on, of 120 with 20 seats 90; half of each in DE."""
    rows = [(f"u{i}", "join", "2026-01-01") for i in range(240)]
    rows += [(f"u{i}", "go", "2026-01-02") for i in range(240) if i % 120 < (40, 90)[i // 120]]
    people = people_of(240, seats=[5] * 120 + [20] * 120, country=["DE", "FR"] * 120)
    return log_of(rows, people=people)


def test_every_question_takes_bins(world):
    ask = {"as_of": "2026-02-01"}
    steps = diagnose_funnel(world, ["join", "go"], window="7d", by={"seats": [10]}, **ask).steps
    ends = steps[steps["step"] == 2].set_index("segment")["n_reached"]
    assert ends[["below 10", "10 or more"]].tolist() == [40, 90]
    clock = {"start": "join", "activation": "go", "horizon": "7d", **ask}
    waits = time_to_activation(
        world, by="country", adjust=[{"seats": [10]}], reference="DE", **clock
    ).adjusted
    assert set(waits["covariate"]) == {"country", "seats"}
    binned = time_to_activation(world, by={"seats": [10]}, strata=["country"], **clock).summary
    assert binned.set_index("segment")["n_users"].to_dict() == {"below 10": 120, "10 or more": 120}
    drivers = drop_off_drivers(
        world, ["join", "go"], window="7d", segments=[{"seats": [10]}, "country", ""], **ask
    ).drivers
    assert drivers["driver"].tolist() == ["seats: 10 or more", "country: DE"]


def test_what_only_a_later_row_of_a_user_says_is_not_lost(tmp_path):
    """As of two files: what the first row leaves empty is taken from the next that says it."""
    people = pd.DataFrame(
        [
            ("u0", "DE", None, "pro", None),
            ("u1", None, None, None, None),
            ("u0", "FR", 5, None, "2026-02-01"),
            ("u1", "IT", None, "free", None),
            ("u0", None, 7, "free", None),
        ],
        columns=["user_id", "country", "seats", "plan", "churned_at"],
    )
    people.to_parquet(tmp_path / "p.parquet")
    EVENTS.to_parquet(tmp_path / "e.parquet")
    logs = [
        EventLog.from_frame(EVENTS, people=people),
        EventLog.from_parquet(tmp_path / "e.parquet", people=people),
        EventLog.from_parquet(tmp_path / "e.parquet", people=tmp_path / "p.parquet"),
    ]
    for log in logs:
        table = log.table("people").sort_values("country")
        assert table[["country", "plan"]].values.tolist() == [["DE", "pro"], ["IT", "free"]]
        assert table["seats"].astype(float).tolist()[0] == 5 and table["seats"].isna().sum() == 1
        assert table["churned_at"].notna().tolist() == [True, False]
    assert logs[0].load["tables"]["people"]["n_rejected"] == {"same user_id again": 3}


@pytest.mark.parametrize(
    ("by", "said"),
    [
        (
            "people.country",
            'columns of people stand here without "people.". Did you mean "country"?',
        ),
        ("people.platform", 'Did you mean "own_platform"?'),
        ("people.contry", 'Did you mean "country"?'),
        ("people.xyz", " There are "),
    ],
)
def test_where_columns_of_people_stand_is_said(log, by, said):
    with pytest.raises(ParameterError, match=re.escape(said)):
        log.counts(by=by)


def test_a_filter_finds_a_column_of_people_by_its_own_name(log):
    assert log.counts(events=[Step("join", {"people.platform": "crm"})])["n_users"].tolist() == [6]
