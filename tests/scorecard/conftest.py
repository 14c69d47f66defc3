"""A product of some hundred users whose weeks are planted, and the demo's scorecard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from mctlib.eventlog.event_log import EventLog
from mctlib.scorecard import weekly_scorecard
from mctlib.tracking_plan.reading import as_plan

MONDAY = pd.Timestamp("2026-01-05")
WEEK = pd.Timedelta("7D")
EVENTS = ("booked", "saved", "searched", "shared", "rated")
PLAN = {
    "active": ["visited"],
    "micro_conversions": {
        "booked": {
            "priority": 1,
            "owner": "product",
            "acts": "response_coordinator",
            "exposed": True,
            "survey": "booked",
            "backend": True,
        },
        "visited": {},
        **{name: {} for name in EVENTS[1:]},
    },
}


def product(
    *,
    weeks: int = 20,
    users: int = 600,
    fall: float = 0.0,
    lost: float = 0.0,
    lost_in: Sequence[int] = (),
    everything: float = 0.0,
    served: bool = True,
    since: pd.Timestamp = MONDAY,
    **tables: pd.DataFrame,
) -> EventLog:
    """Every user visits each week and does each of `EVENTS` with 40 %; in the last week ...

    fall: fewer book · lost: of Android's bookings so many are not tracked, though the server knows
    them (lost_in: in these weeks instead) · everything: fewer do anything · served: the server has
    records.
    """
    rng = np.random.default_rng(3)
    rows, server = [], []
    for week in range(weeks):
        last = week == weeks - 1
        for name in ("visited", *EVENTS):
            share = 1.0 if name == "visited" else 0.4
            share *= 1 - everything if last and name != "visited" else 1.0
            share *= 1 - fall if last and name == "booked" else 1.0
            # in turn, so that weeks differ by the plan and not by chance
            did = (np.arange(users) * 0.618 + week * 0.377) % 1 < share
            user = np.flatnonzero(did)
            at = since + week * WEEK + pd.to_timedelta(rng.uniform(0, 7, len(user)), unit="D")
            frame = pd.DataFrame({"user_id": user, "event": name, "timestamp": at})
            if name == "booked":
                server.append(frame.copy())
                if week in (lost_in or [weeks - 1]):
                    android = frame["user_id"] % 2 == 1
                    frame = frame[~(android & (rng.random(len(frame)) < lost))]
            rows.append(frame)
    events = pd.concat(rows, ignore_index=True)
    events["user_id"] = "u" + events["user_id"].astype(str)
    number = events["user_id"].str[1:].astype(int)
    events["platform"] = np.where(number % 2 == 1, "android", "web")
    events["channel"] = np.where(number % 3 == 0, "creator", "organic")
    backend = pd.concat(server, ignore_index=True)
    backend["user_id"] = "u" + backend["user_id"].astype(str)
    until = f"{since + weeks * WEEK:%Y-%m-%d}"
    backend = backend if served else None
    return EventLog.from_frame(events, backend=backend, observed_until=until, **tables)


def scorecard_of(log: EventLog, plan: dict = PLAN, **more):
    """The scorecard of the last day."""
    day = f"{log.observed_until - pd.Timedelta('1D'):%Y-%m-%d}"
    return weekly_scorecard(log, as_plan(plan, "plan"), as_of=day, **more)


def timeline(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["day", "kind", "label", "micro_conversions"])


LAST = "2026-05-18"  # first day of the last of 20 weeks
RIVAL = timeline((LAST, "competitor", "instant booking", ""))


@pytest.fixture(scope="session")
def fallen():
    """Bookings fell by 30 %, near a rival's move that names nothing."""
    return product(fall=0.3, timeline=RIVAL)


@pytest.fixture(scope="session")
def demo_card(demo_log):
    return weekly_scorecard(demo_log, as_of="2026-11-29")
