"""Small logs, row by row."""

import hashlib

import pandas as pd

from mctlib.eventlog.event_log import EventLog

FIRST = pd.Timestamp("2026-01-01", tz="UTC")
SILENCE = "2100-01-01"
RECENT = {}  # logs by what they were made of
MOST = 8


def us(moment):
    """A moment in microseconds."""
    return pd.Timestamp(moment).value // 1000


def frame_of(rows, *columns, unit=None, since=FIRST):
    """Rows of (user, event, time, columns ...); with a unit, times count from ``since``."""
    frame = pd.DataFrame(rows, columns=["user_id", "event", "timestamp", *columns])
    if unit is None:
        return frame
    passed = pd.to_timedelta(frame["timestamp"], unit=unit).dt.round("us")
    return frame.assign(timestamp=pd.to_datetime(since, utc=True) + passed)


def log_of(rows, *columns, unit=None, since=FIRST, observed_until=SILENCE, **tables):
    """The same rows as a log, read only; people, backend, timeline ... are frames.

    A few rows by hand say nothing of when collection ended: it went on, unless a test says so. A
    test of many cases gets one log for all of them.
    """
    written = repr((rows, columns, unit, since, observed_until)) if not tables else ""
    if not written or written not in RECENT:
        frame = frame_of(rows, *columns, unit=unit, since=since)
        log = EventLog.from_frame(frame, observed_until=observed_until, **tables)
        if not written:
            return log
        while len(RECENT) >= MOST:
            del RECENT[next(iter(RECENT))]
        RECENT[written] = log
    return RECENT[written]


def pseudonym(user_id, salt=""):
    """What a store keeps of an id, computed without it."""
    return hashlib.sha256(f"{salt}{user_id}".encode()).hexdigest()[:16]


def numbered(names):
    """Users as a frame's log numbers them: by their pseudonyms."""
    return sorted(names, key=pseudonym)


def people_of(n, **columns):
    """u0, u1, ... and what is known of these n users."""
    return pd.DataFrame({"user_id": [f"u{i}" for i in range(n)], **columns})
