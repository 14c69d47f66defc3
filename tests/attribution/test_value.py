"""What a conversion brings: one number for all, a number of each, or of its user; by hand."""

import numpy as np
import pandas as pd
import pytest

from mctlib import attribution_windows
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step
from tests.support.partners import rows_to_frame, wide

# u1: a and b share 90; u2: b alone brings 10 (its later 500 is no first conversion); u3: a, worth
# unknown; u4: untouched 70
ROWS = [
    ("u0", 0.5, "page", None, None),
    ("u1", 40.5, "visit", "a", 1),
    ("u1", 41.5, "visit", "b", None),
    ("u1", 42.5, "paid", None, "90"),
    ("u2", 40.5, "visit", "b", None),
    ("u2", 41.5, "paid", None, 10.0),
    ("u2", 43.5, "paid", None, 500),
    ("u3", 40.5, "visit", "a", None),
    ("u3", 41.5, "paid", None, "unknown"),
    ("u4", 41.5, "paid", None, 70),
]
PEOPLE = pd.DataFrame(
    {
        "user_id": ["u1", "u2", "u3", "u4"],
        "partner_id": ["a", "a", "a", None],
        "revenue": [9.0, 1.0, np.nan, 7.0],
    }
)
SPEND = pd.DataFrame({"day": ["2026-02-05"], "amount": [30.0], "partner_id": ["a"]})


def log_of(**tables):
    frame = rows_to_frame([row[:4] for row in ROWS]).assign(amount=[row[4] for row in ROWS])
    return EventLog.from_frame(frame, **tables)


def ask(log, value, conversion="paid", **more):
    call = {"windows": ["1d", "30d"], "as_of": "2026-03-31", "seed": 1, "rules": ["linear", "last"]}
    return attribution_windows(log, conversion, value=value, **(call | more))


def test_credit_in_money_by_each_conversions_own_value():
    result = ask(log_of(people=PEOPLE, spend=SPEND), "amount")
    for rule, credit, money in (
        ("linear", {"a": 1.5, "b": 1.5}, {"a": 45, "b": 55}),
        ("last", {"a": 1, "b": 2}, {"a": 0, "b": 100}),
    ):
        assert wide(result, rule, 30).to_dict() == credit
        assert wide(result, rule, 30, "credit_amount").to_dict() == money
    partners = result.partners.set_index("partner_id")
    assert partners["credit_amount"].to_dict() == {"a": 45, "b": 55}
    # the CRM gives u1, u2 and u3 to a: of u1's 90 half and all of u2's 10 go to the wrong one
    lost = result.approaches.set_index(["approach", "partner_id"])["missing_value_amount"]
    assert lost["CRM record"].to_dict() == {"all": 55, "a": 0, "b": 55}
    assert (
        "1 of 4 conversions carry no number as amount: they are credited, but bring no money."
        in result.caveats
    )


def test_one_value_for_all_and_none():
    log = log_of(people=PEOPLE)
    result = ask(log, 20.0)
    assert wide(result, "linear", 30, "credit_amount").to_dict() == {"a": 30, "b": 30}
    assert not any("carry no number" in c for c in result.caveats)
    nothing = ask(log, None)
    assert nothing.credit["credit_amount"].isna().all()
    assert nothing.approaches["missing_value_amount"].isna().all()
    assert wide(ask(log, 0), "linear", 30, "credit_amount").to_dict() == {"a": 0, "b": 0}


def test_peoples_revenue_where_the_conversion_says_none(tmp_path):
    paths = {}
    frame = rows_to_frame([row[:4] for row in ROWS])
    for name, table in {"events": frame, "people": PEOPLE}.items():
        paths[name] = tmp_path / f"{name}.parquet"
        table.to_parquet(paths[name])
    for log in (log_of(people=PEOPLE), EventLog.from_parquet(**paths)):
        found = wide(ask(log, "revenue"), "linear", 30, "credit_amount")
        assert found.to_dict() == {"a": 4.5, "b": 5.5}
    own = rows_to_frame([row[:4] for row in ROWS]).assign(revenue=[row[4] for row in ROWS])
    result = ask(EventLog.from_frame(own, people=PEOPLE), "revenue")
    assert wide(result, "linear", 30, "credit_amount").to_dict() == {"a": 45, "b": 55}


def test_the_return_counts_what_the_partners_own_conversions_bring():
    rows = [("u0", 0.5, "page", None)]
    for i in range(200):
        rows += [(f"u{i}", 1.5, "page", None)] if i else []
        rows += [(f"u{i}", 40.5, "visit", "ab"[i % 2])] if i < 120 else []
        rows += [(f"u{i}", 41, "paid", None)] if not 80 <= i < 120 else []
        # who converts untouched is touched at any time afterwards: touches keep no company
        rows += [(f"u{i}", 41.2 + i * 37 % 80 * 0.6, "visit", "ab"[i % 2])] if i >= 120 else []
    frame = rows_to_frame(rows)
    worth = frame["user_id"].str[1:].astype(int) % 2 * 90.0 + 10  # of a 10, of b 100
    spend = pd.DataFrame({"day": "2026-02-15", "amount": [50.0, 50.0], "partner_id": ["a", "b"]})
    log = EventLog.from_frame(frame.assign(amount=worth), spend=spend)
    each = ask(log, "amount", reference="1d").partners.set_index("partner_id")
    for partner, brings in (("a", 10), ("b", 100)):
        row = each.loc[partner]
        assert row["credit_amount"] == pytest.approx(40 * brings) and row["n_excess"] > 20
        assert row["roi"] == pytest.approx(row["n_excess"] * brings / 50 - 1)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-5.0, "value: -5.0 must be 0 or more; what a conversion brings cannot be negative."),
        ("amuont", 'value: event "paid .*amuont.*" does not occur .* Did you mean "amount"?'),
        ("revenue", 'value: event "paid .*revenue.*" does not occur'),
    ],
)
def test_a_value_that_nothing_carries_gets_a_sentence(value, words):
    with pytest.raises(ParameterError, match=words):
        ask(log_of(), value)


def test_only_conversions_that_count_must_carry_it():
    with pytest.raises(ParameterError, match="value: event"):
        ask(log_of(), "amount", conversion=Step("visit", where={"partner_id": "b"}))
