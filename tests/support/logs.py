"""Small logs, row by row."""

import pandas as pd

from mctlib.eventlog.event_log import EventLog

END = pd.Timestamp("2026-07-01T00:00:00Z")
FIRST = pd.Timestamp("2026-01-01", tz="UTC")


def frame_of(rows, *columns, unit=None, since=FIRST):
    """Rows of (user, event, time, columns ...); with a unit, times count from ``since``."""
    frame = pd.DataFrame(rows, columns=["user_id", "event", "timestamp", *columns])
    if unit is None:
        return frame
    passed = pd.to_timedelta(frame["timestamp"], unit=unit).dt.round("us")
    return frame.assign(timestamp=pd.to_datetime(since, utc=True) + passed)


def log_of(rows, *columns, unit=None, since=FIRST, **tables):
    """The same rows as a log; people, backend, timeline ... are frames."""
    return EventLog.from_frame(frame_of(rows, *columns, unit=unit, since=since), **tables)


def people_of(n, **columns):
    """u0, u1, ... and what is known of these n users."""
    return pd.DataFrame({"user_id": [f"u{i}" for i in range(n)], **columns})


def clocks(days, status, *, entry=None, far=None):
    """Rows in which user i's clock runs for days[i].

    It ends in 0 = END, 1 = activation, 2 = exit; clocks that do not run to END start ``far`` days
    before it. Users are first seen ``entry`` days after their start, if that is given.
    """
    rows, far = [], max(days) + 1 if far is None else far
    for i, (t, s) in enumerate(zip(days, status)):
        ran = pd.Timedelta(round(t * 86_400e6), unit="us")
        begun = END - (ran if s == 0 else pd.Timedelta(days=far))
        rows.append((f"u{i}", "start", begun))
        if s:
            rows.append((f"u{i}", {1: "active", 2: "exit"}[int(s)], begun + ran))
        if entry is not None:
            rows.append((f"u{i}", "seen", begun + pd.Timedelta(days=float(entry[i]))))
    return rows
