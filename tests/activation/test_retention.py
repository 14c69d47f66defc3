"""Who comes back: counts by hand, a naive recount, the demo by SQL, a public log of purchases."""

import numpy as np
import pandas as pd
import pytest

from mctlib import retention
from mctlib.contract import ParameterError
from tests.support.logs import log_of, people_of
from tests.support.project import ROOT

ASK = {"start": "start", "returns": "visit", "period": "1w", "as_of": "2026-03-31"}


def crowd(users=20, **visits):
    """Users who all start on 1 January; kind -> days of visits of u0, u1, ..."""
    rows = [(f"u{i}", "start", 0.0) for i in range(users)]
    rows += [(user, "visit", day) for user, days in visits.items() for day in days]
    return rows


def row(result, period, segment="all"):
    curve = result.curve
    return curve[(curve["segment"] == segment) & (curve["period"] == period)].iloc[0]


def test_back_is_in_that_very_period_and_not_later():
    """Of 20 users u0 comes on day 7.0 (week 1), u1 on day 13.99 (week 1), u2 on day 14.0 (week 2),
    u3 on day 6.99 (the first week, of which nothing is said) and on day 30 (week 4)."""
    log = log_of(crowd(u0=[7.0], u1=[13.99], u2=[14.0], u3=[6.99, 30.0]), unit="D")
    result = retention(log, **ASK)
    returned = result.curve.set_index("period")["n_returned"]
    assert returned[[1, 2, 3, 4, 5]].tolist() == [2, 1, 0, 1, 0]
    assert (result.curve["n_users"] == 20).all() and (result.curve["n_pending"] == 0).all()
    # 1 January + 13 weeks is 2 April: the twelfth week after the first is not over on 31 March
    assert returned.index.max() == 11


def test_cohorts_of_months_are_called_by_their_month():
    rows = [(f"{at}{i}", "start", 1.0 * at) for at in (0, 31) for i in range(12)]
    rows += [("00", "visit", 9.0), ("310", "visit", 40.0)]
    result = retention(log_of(rows, unit="D"), **ASK, by="month")
    told = result.tells["cohorts"]
    assert "(January 2026) to" in told and told.endswith("(February 2026)"), told


@pytest.mark.parametrize(("as_of", "known"), [("2026-01-14", 1), ("2026-01-13", 0)])
def test_a_period_counts_from_the_day_it_is_over(as_of, known):
    result = retention(log_of(crowd(u0=[8.0]), unit="D"), **ASK | {"as_of": as_of})
    assert len(result.curve) == known
    if not known:
        assert result.finding == "Nobody can have come back for “visit” yet: too few users."


def test_who_is_not_through_the_period_is_pending_and_counts_on_neither_side():
    rows = [(f"old{i}", "start", 0.0) for i in range(12)]
    rows += [(f"new{i}", "start", 80.0) for i in range(15)] + [("new0", "visit", 89.5)]
    rows += [("old0", "visit", 9.0), ("old1", "visit", 10.0), ("old2", "visit", 12.0)]
    first = row(retention(log_of(rows, unit="D"), **ASK), 1)
    assert first[["n_users", "n_returned", "n_pending"]].tolist() == [12, 3, 15]
    assert first["retained_rate"] == 0.25


def test_at_least_so_often_in_one_period():
    log = log_of(crowd(u0=[7.0, 8.0], u1=[7.0, 14.0], u2=[7.0, 7.0, 9.0]), unit="D")
    assert row(retention(log, **ASK, at_least=2), 1)["n_returned"] == 2
    assert row(retention(log, **ASK, at_least=3), 1)["n_returned"] == 1


def test_the_usual_days_between_returns():
    """Own medians of 12 users: 2 days for three of them, 5 for three, 9 for six; twice a day is
    once."""
    gaps = [2] * 3 + [5] * 3 + [9] * 6
    days = {f"u{i}": [1.0, 1.2, 1.0 + gap, 1.0 + 2 * gap] for i, gap in enumerate(gaps)}
    intervals = retention(log_of(crowd(**days), unit="D"), **ASK).intervals
    assert intervals.iloc[0].tolist() == ["all", 12, 2.0, 5.0, 9.0]


def naive(rows, n_periods, period, as_of):
    """Period -> n_users, n_returned, user by user."""
    found = {}
    start = {u: min(t for w, e, t in rows if w == u and e == "start") for u, *_ in rows}
    for k in range(1, n_periods + 1):
        over = [u for u, t in start.items() if t + (k + 1) * period <= as_of]
        back = [
            u
            for u in over
            if any(
                e == "visit" and w == u and start[u] + k * period <= t < start[u] + (k + 1) * period
                for w, e, t in rows
            )
        ]
        if len(over) >= 10:
            found[k] = (len(over), len(back))
    return found


def test_any_log_as_a_recount_has_it():
    rng = np.random.default_rng(4)
    rows = [(f"u{i}", "start", rng.uniform(0, 60)) for i in range(40)]
    rows += [(f"u{rng.integers(40)}", "visit", rng.uniform(0, 90)) for _ in range(300)]
    rows = [(u, e, round(t, 4)) for u, e, t in rows]
    result = retention(log_of(rows, unit="D"), **ASK | {"period": "5d", "as_of": "2026-03-31"})
    ours = result.curve.set_index("period")[["n_users", "n_returned"]]
    assert {k: tuple(counts) for k, counts in ours.iterrows()} == naive(rows, 60, 5, 90)


def test_segments_small_ones_together_and_the_one_that_comes_back_least():
    channel = np.array(["ads"] * 300 + ["web"] * 700 + ["fax"] * 4 + ["telex"] * 7)
    days = {f"u{i}": [8.0] for i in range(1011) if i % (6 if channel[i] == "ads" else 2) == 0}
    log = log_of(crowd(1011, **days), unit="D", people=people_of(1011, channel=channel))
    result = retention(log, **ASK | {"as_of": "2026-01-20"}, by="channel")
    assert set(result.curve["segment"]) == {"all", "ads", "web", "others"}
    assert row(result, 1, "ads")["n_returned"] == 50
    assert result.finding.endswith("; of ads users 17.")
    assert result.headlines[1].against.value == pytest.approx(100 * 355 / 711, abs=0.2)
    assert result.actions[0].text == "Find out why fewer ads users come back in week 1."


def test_the_demo_as_sql_counts_it(demo_log):
    """Week 4, of users whose fifth week is over: a query of its own."""
    result = retention(
        demo_log, start="signed_up", returns="session_ended", as_of="2026-11-29", by="month"
    )
    query = """
        WITH s AS (SELECT user, min(timestamp) t FROM events WHERE event = 'signed_up' GROUP BY 1)
        SELECT count(*), count(*) FILTER (EXISTS (SELECT 1 FROM events e WHERE e.user = s.user
            AND event = 'session_ended' AND e.timestamp >= t + INTERVAL 28 DAY
            AND e.timestamp < t + INTERVAL 35 DAY))
        FROM s WHERE t + INTERVAL 35 DAY <= TIMESTAMP '2026-11-30'"""
    ((n_users, n_returned),) = demo_log.sql(query).to_numpy()
    fourth = row(result, 4)
    assert fourth[["n_users", "n_returned"]].tolist() == [n_users, n_returned]
    months = result.curve[(result.curve["segment"] != "all") & (result.curve["period"] == 4)]
    assert months["n_users"].sum() == n_users and months["n_returned"].sum() == n_returned
    assert "2026-10-01" in set(months["segment"]), "a part of October's users is through"
    assert "2026-11-01" not in set(months["segment"]), "nobody of November is"


def test_a_public_log_of_purchases():
    """CDNOW: the first 300 customers of the public file, who all began in January 1997, by days.

    The file is that of Fader & Hardie (2001), as lifetimes 0.11 ships it (CDNOW_master.txt); the
    recount below is pandas' own. A log takes no day before 2000: all lie 28 years later.
    """
    frame = pd.read_csv(ROOT / "tests/reference/cdnow.csv", parse_dates=["day"])
    frame["day"] += pd.DateOffset(years=28)
    first = frame.groupby("customer")["day"].transform("min")
    rows = [(str(u), "bought", day) for u, day in zip(frame["customer"], frame["day"])]
    log = log_of(rows, observed_until="2026-07-01")
    result = retention(log, start="bought", returns="bought", period="30d", as_of="2026-06-30")
    period = (frame["day"] - first).dt.days // 30
    n_users = frame["customer"].nunique()
    ours = result.curve.set_index("period")
    for k in range(1, 15):
        assert ours.loc[k, "n_users"] == n_users
        assert ours.loc[k, "n_returned"] == frame.loc[period == k, "customer"].nunique(), k
    days = frame.drop_duplicates().sort_values(["customer", "day"])
    gaps = days.groupby("customer")["day"].diff().dt.days
    own = gaps.groupby(days["customer"]).median().dropna()
    usual = result.intervals.iloc[0]
    assert usual["n_users"] == len(own)
    assert usual["median_days"] == own.quantile(0.5, interpolation="higher")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"period": "12h"}, 'period: "12h" must last from a day to a year'),
        ({"period": "400d"}, 'period: "400d" must last from a day to a year'),
        ({"at_least": 0}, "at_least: 0 must be a whole number from 1"),
        ({"returns": "vist"}, 'returns: event "vist" does not occur'),
    ],
)
def test_what_cannot_be_asked(asked, said):
    with pytest.raises(ParameterError) as told:
        retention(log_of(crowd(), unit="D"), **ASK | asked)
    assert str(told.value).startswith(said)


def test_by_account_where_people_sit_in_accounts():
    """Accounts whose users all come back or all do not tell as much as their number."""
    account = [f"a{i // 20}" for i in range(400)]
    days = {f"u{i}": [8.0] for i in range(400) if (i // 20) % 2}
    log = log_of(crowd(400, **days), unit="D", people=people_of(400, account_id=account))
    clustered = row(retention(log, **ASK | {"as_of": "2026-01-20"}), 1)
    assert clustered["retained_rate"] == 0.5
    assert clustered["retained_rate_ci_upper"] - clustered["retained_rate_ci_lower"] > 0.35
