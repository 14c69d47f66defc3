"""How it was counted, in one sentence; and what days without a time of day do to it."""

import numpy as np
import pandas as pd
import pytest

from mctlib import attribution_windows
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step
from tests.support.partners import ArrayLog, rows_to_frame, wide

HAND = rows_to_frame(
    [
        ("u0", 0, "page", None),
        ("u1", 11, "page", None),
        ("u1", 27, "visit", "a"),
        ("u1", 30, "paid", None),
        ("u2", 28, "visit", "b"),
        ("u2", 30, "paid", None),
    ]
)
# a touch by day and hour, and conversions on day 40
ROWS = [
    ("u0", 0, "page", None),
    *[(f"u{lag}", 40 - lag, "visit", f"p{lag}") for lag in range(9)],
    *[(f"u{lag}", 40, "paid", None) for lag in range(9)],
]


def ask(log, **more):
    call = {"windows": ["7d", "1d", "30d"], "as_of": "2026-03-31", "seed": 1, "rules": ["last"]}
    return attribution_windows(log, "paid", **(call | more))


def test_the_rule_says_what_counts():
    log = ArrayLog(HAND)
    call = {"as_of": "2026-02-10", "windows": ["5d", "20d"], "half_life": "12h"}
    assert ask(log, **call).rule == (
        "The first paid of each user counts, from 21 January 2026 on; users are at risk from their "
        "first event; a touch is any event whose partner_id, promo_code or utm_source names a "
        "partner, in a conflict the first of these; windows are [0, W), W 5 and 20 days: a touch "
        "at the conversion's moment is in, one W before it is out."
    )
    more = {"touches": Step("visit", {"partner_id": "a"}), "sources": "partner_id"}
    more |= {"rules": ["linear", "time_decay"], "start": ["page", "visit"], "competing": "left"}
    frame = pd.concat([HAND, rows_to_frame([("u2", 35, "left", None)])])
    assert ask(EventLog.from_frame(frame), **(call | more)).rule == (
        "The first paid of each user counts, from 21 January 2026 on; users are at risk from page "
        "or visit until left; a touch is visit [partner_id=a] whose partner_id names a partner; "
        "windows are [0, W), W 5 and 20 days: a touch at the conversion's moment is in, one W "
        "before it is out; time decay halves in 12 hours; moments are days by the clock of UTC, "
        "and W days are W whole days."
    )


def test_the_rule_of_what_users_answered():
    heard = pd.DataFrame({"user_id": ["u1"], "micro_conversion": "heard", "answer": "a"})
    tables = {"surveys": heard.assign(submitted_at="2026-01-12T10:00:00Z", reason=None)}
    tables["spend"] = pd.DataFrame({"day": ["2026-01-25"], "amount": [1.0], "partner_id": ["a"]})
    log = EventLog.from_frame(HAND.drop(columns="partner_id"), **tables)
    result = ask(log, sources="survey:heard", start="page")
    assert "a touch is page whose survey:heard names a partner; windows" in result.rule
    assert wide(result, "last", 30).to_dict() == {"a": 1}


def test_a_window_of_days_is_so_many_days():
    result = ask(EventLog.from_frame(rows_to_frame(ROWS)))
    for days in (1, 7, 30):
        found = wide(result, "last", days)
        assert found[found > 0].index.tolist() == [f"p{lag}" for lag in range(min(days, 9))]
    assert any(
        c.startswith("Conversions or touches are known by their day only, so moments are days by")
        for c in result.caveats
    )
    exact = ask(EventLog.from_frame(rows_to_frame([*ROWS, ("u0", 1.5, "page", None)])))
    pd.testing.assert_frame_equal(exact.credit, result.credit)
    assert not any("known by their day" in c for c in exact.caveats)


@pytest.mark.parametrize("bare", ["visit", "paid"])
def test_days_on_one_side_make_days_of_both(bare):
    """Touches at any hour of their day, conversions at noon; the other way round at midnight."""
    rng = np.random.default_rng(2)
    rows = [
        (u, day + (0 if event == bare else rng.uniform(0, 1)), event, partner)
        for u, day, event, partner in ROWS
    ]
    log = ArrayLog(rows_to_frame(rows))
    log.day_resolution = {bare: ["UTC"]}
    result = ask(log)
    for days in (1, 7, 30):
        found = wide(result, "last", days)
        assert found[found > 0].index.tolist() == [f"p{lag}" for lag in range(min(days, 9))]


def test_days_of_other_events_change_nothing():
    rows = [(u, day + 0.5 * (event == "visit"), event, partner) for u, day, event, partner in ROWS]
    log = ArrayLog(rows_to_frame(rows))
    log.day_resolution = {"page": ["UTC"]}
    # no page carries a tag
    found = wide(ask(log), "last", 1)
    assert found[found > 0].index.tolist() == ["p1"], "at noon of the day before; p0 came after it"


def test_days_cannot_be_cut():
    log = EventLog.from_frame(rows_to_frame(ROWS))
    with pytest.raises(ParameterError, match="windows: conversions or touches are known by their"):
        ask(log, windows=["12h", "7d"])
