"""Worlds of events, some of which are not recorded, and what a server knows of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib.eventlog.event_log import EventLog
from mctlib.tracking_plan.reading import as_plan

DAYS, FIRST = 140, pd.Timestamp("2026-01-05", tz="UTC")  # a Monday
DAY_US = 86_400_000_000
VERSIONS = {"web": ("1", "2"), "ios": ("1.0", "1.1"), "android": ("4.9", "4.10")}
RELEASED = 70  # the day of each platform's second version
PLAN = {
    "start": "signed_up",
    "micro_conversions": {
        "signed_up": {"owner": "growth"},
        "profile": {
            **{"label": "Profile completed", "owner": "growth", "backend": True},
            **{"implies": ["signed_up"], "survey": "profile", "platforms": [*VERSIONS]},
        },
        "interview": {"owner": "product", "acts": "analyst", "implies": ["profile"]},
    },
}


@dataclass(frozen=True)
class World:
    """What is recorded of what users do, and of that what has arrived.

    kept: share of profiles that are, on ``platform`` and from ``since`` on, by version or week ·
    everywhere: that of all others · late: share of events that wait, for 2 days on average · each:
    profiles of a user · sticky: a device that loses one loses all.
    """

    users: int = 3000
    kept: float = 1.0
    platform: str = "android"
    by: str = "version"
    since: int = RELEASED
    everywhere: float = 1.0
    late: float = 0.0
    each: float = 1.0
    sticky: bool = False

    def tables(self, seed):
        """Canonical events, backend and people, with times in days."""
        rng = np.random.default_rng(seed)
        n = self.users
        platform = np.array([*VERSIONS])[rng.integers(0, 3, n)]
        start = rng.uniform(0, DAYS, n)
        update = RELEASED + rng.exponential(6, n)
        some = 1 + rng.poisson(self.each - 1, n)
        who = np.repeat(np.arange(n), some * (rng.random(n) < 0.8))
        profile = start[who] + rng.exponential(3 * np.maximum(self.each, 1), len(who))
        on = platform[who] == self.platform
        late_enough = profile >= (update[who] if self.by == "version" else self.since)
        share = np.where(on & late_enough, self.kept, self.everywhere)
        chance = rng.random(n)[who] if self.sticky else rng.random(len(who))
        recorded = chance < share
        interview = np.flatnonzero(
            (rng.random(len(who)) < 0.5) & (np.r_[True, who[1:] != who[:-1]])
        )
        rows = [
            ("signed_up", np.arange(n), start),
            ("profile", who[recorded], profile[recorded]),
            ("interview", who[interview], profile[interview] + 1),
        ]
        # people come again, which tells their device
        again = np.tile(np.arange(n), 6)
        rows.append(("visit", again, start[again] + rng.exponential(12, len(again))))
        frame = pd.concat(
            [pd.DataFrame({"user": u, "event": e, "day": d}) for e, u, d in rows],
            ignore_index=True,
        )
        frame["platform"] = platform[frame["user"]]
        new = frame["day"].to_numpy() >= update[frame["user"]]
        names = np.array([VERSIONS[p] for p in VERSIONS])
        place = pd.Categorical(frame["platform"], [*VERSIONS]).codes
        frame["app_version"] = names[place, new.astype(int)]
        waits = rng.exponential(2, len(frame)) * (rng.random(len(frame)) < self.late)
        frame["received"] = frame["day"] + waits + 1e-5
        frame = frame[frame["received"] < DAYS]
        server = pd.DataFrame({"user": who, "event": "profile", "day": profile})
        people = pd.DataFrame({"user": np.arange(n), "day": start})
        return frame, server[server["day"] < DAYS], people

    def log(self, seed):
        """The same as a log."""
        frame, server, people = self.tables(seed)
        events = canonical(frame)
        people = canonical(people).rename(columns={"timestamp": "signed_up_at"})
        return EventLog.from_frame(
            events, backend=canonical(server), people=people, observed_until="2026-05-24"
        )


def canonical(frame):
    """Rows with their user and time as a log takes them."""
    named = frame.assign(user_id="u" + frame["user"].astype(str), timestamp=_at(frame["day"]))
    if "received" in frame:
        named["received_at"] = _at(frame["received"])
    return named.drop(columns=["user", "day", "received"], errors="ignore")


def _at(day):
    return FIRST + pd.to_timedelta(np.round(np.asarray(day) * DAY_US), unit="us")


def plan_of(**micro_conversions):
    """The world's plan, with some micro-conversions added or changed."""
    return as_plan(
        {**PLAN, "micro_conversions": PLAN["micro_conversions"] | micro_conversions}, "plan"
    )
