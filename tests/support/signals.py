"""A world of micro-conversions whose truth is known: one is a cause, the others only look good."""

import numpy as np
import pandas as pd

from mctlib.eventlog.event_log import EventLog

FIRST = pd.Timestamp("2024-01-01", tz="UTC")  # so early that nothing lies in the future
RATIO = 2.0  # of the outcome with the cause


def world(seed, users=4000, accounts=0, cause=RATIO, harm=1.0):
    """Users who begin over 180 days, leave at a constant hazard, and renew between day 40 and 60.

    cause     had by a quarter within 7 days; multiplies renewal by ``cause``
    harm      had by a quarter within 7 days; multiplies renewal by ``harm``
    visit     comes as long as a user stays, so that who stays has it: immortal time
    page      the oftener the more active a user is, who renews oftener: confounded by activity,
              which the plan tells
    asked     is asked of who has renewed, afterwards: reverse causation
    dummy     had by a third within 7 days; nothing to do with anything
    use       by all alike as long as they stay: what nobody asks about, and tells who is active

    Where there are ``accounts``, colleagues share a tendency to renew and one to do each of these.
    """
    rng = np.random.default_rng(seed)
    n = users
    account = rng.integers(accounts, size=n) if accounts else np.arange(n)
    lean = rng.normal(0, 0.6, (5, max(accounts, 1))) if accounts else np.zeros((5, n))
    own = lean[:, account] if accounts else lean

    def share(p, k):
        odds = p / (1 - p) * np.exp(own[k])
        return odds / (1 + odds)

    start = rng.uniform(0, 180, n)
    level = rng.integers(3, size=n)  # of activity, a plan each
    stay = rng.exponential(80, n)
    early = rng.uniform(0, 7, (3, n))
    had = [rng.random(n) < share(p, k) for k, p in ((1, 0.25), (2, 0.25), (3, 1 / 3))]
    rate = share(0.15, 0) * np.array([0.6, 1.0, 1.6])[level]
    rate *= np.where(had[0], cause, 1.0) * np.where(had[1], harm, 1.0)
    renews = rng.random(n) < np.minimum(rate, 0.95)
    renewed = np.where(renews, rng.uniform(40, 60, n), np.inf)
    renewed[renewed > stay] = np.inf
    stay = np.where(np.isfinite(renewed), np.maximum(stay, 200), stay)
    rows = [(np.arange(n), "start", np.zeros(n))]
    for name, who, at in zip(("cause", "harm", "dummy"), had, early):
        rows.append((np.flatnonzero(who), name, at[who]))
    for name, per_day in (("visit", np.full(n, 0.05)), ("page", np.array([0.05, 0.2, 0.6])[level])):
        n_events = rng.poisson(per_day * np.minimum(stay, 200))
        who = np.repeat(np.arange(n), n_events)
        rows.append((who, name, rng.random(len(who)) * np.minimum(stay, 200)[who]))
    asked = np.flatnonzero(np.isfinite(renewed) & (rng.random(n) < 0.7))
    rows.append((asked, "asked", renewed[asked] + 1))
    n_used = rng.poisson(0.1 * np.minimum(stay, 200))
    who = np.repeat(np.arange(n), n_used)
    rows.append((who, "use", rng.random(len(who)) * np.minimum(stay, 200)[who]))
    parts = []
    for who, event, at in rows:
        before = at <= stay[who]
        parts.append(
            pd.DataFrame({"user_id": who[before], "event": event, "t": (start[who] + at)[before]})
        )
    frame = pd.concat(parts, ignore_index=True)
    frame["timestamp"] = FIRST + pd.to_timedelta(frame.pop("t"), unit="D").dt.round("us")
    frame["user_id"] = frame["user_id"].astype(str)
    people = pd.DataFrame(
        {"user_id": np.arange(n).astype(str), "plan": np.array(list("abc"))[level]}
    )
    for column, at in (("renewed_at", renewed), ("churned_at", stay)):
        moment = FIRST + pd.to_timedelta(np.where(at < 400, start + at, np.nan), unit="D")
        people[column] = moment.round("us")
    if accounts:
        people["account_id"] = [f"a{k}" for k in account]
    return EventLog.from_frame(frame, people=people, observed_until="2025-12-31")
