"""Events sent again: those near in time are left out, others are kept and told."""

import numpy as np
import pandas as pd

from mctlib.eventlog.event_log import EventLog
from tests.support.logs import frame_of

# user, event, hours since the first, event_id
SENT = [
    ("u", "a", 0, "1"),
    ("u", "a", 0.5, "1"),  # again
    ("u", "a", 20, "1"),  # again
    ("u", "a", 30, "1"),  # a day and more after the first
    ("u", "a", 53, "1"),  # again, 23 hours after that one
    ("u", "a", 54.5, "1"),  # a day and more after it
    ("u", "b", 0, "1"),  # another event
    ("v", "a", 0, "1"),  # another user
    ("v", "a", 24, "1"),  # again: a day to the second
    ("v", "a", 25, None),  # no id
    ("v", "a", 25, None),  # as the one before in every column, and without an id
]


def test_rows_of_one_id_further_apart_than_a_resend_are_kept_and_told():
    log = EventLog.from_frame(frame_of(SENT, "event_id", unit="h"))
    events = log.load["tables"]["events"]
    assert events["n_rejected"] == {"same event_id again": 4}
    assert (events["n_kept"], events["n_apart"], events["n_identical"]) == (7, 2, 1)
    (part,) = log.journeys(events=["a"])
    hours = (part.time - part.time.min()) / 3_600_000_000
    assert list(zip(part.user, hours)) == [(0, 0), (0, 30), (0, 54.5), (1, 0), (1, 25), (1, 25)]
    assert log.caveats() == (
        "2 events of 7 have the event_id of an earlier one, but too long after it to be sent "
        "again: kept. How long that is, resent_within in the data YAML says.",
        "1 event of 7 is identical to another one and without event_id: kept, for it cannot be "
        "told whether they were sent twice or happened twice.",
    )


def test_of_one_event_sent_again_the_first_received_stays():
    rows = [("u", "a", 1, "1", "2026-01-03"), ("u", "a", 2, "1", "2026-01-02")]
    log = EventLog.from_frame(frame_of(rows, "event_id", "received_at", unit="h"))
    (part,) = log.journeys(events=["a"])
    assert part.time.tolist() == [pd.Timestamp("2026-01-01T02:00").value // 1000]


def test_resends_as_a_plain_loop_over_random_rows_finds_them():
    rng = np.random.default_rng(5)
    hours = rng.uniform(0, 200, 400).round(1)
    rows = [(f"u{rng.integers(3)}", "a", h, f"i{rng.integers(4)}") for h in hours]
    kept = {}
    for user, _, hour, name in sorted(rows, key=lambda row: row[2]):
        mine = kept.setdefault((user, name), [])
        if not mine or hour - mine[-1] > 24:
            mine.append(hour)
    found = EventLog.from_frame(frame_of(rows, "event_id", unit="h"))
    (part,) = found.journeys(events=["a"])
    since = np.sort((part.time - pd.Timestamp("2026-01-01").value // 1000) / 3.6e9)
    np.testing.assert_allclose(since, sorted(sum(kept.values(), [])))
