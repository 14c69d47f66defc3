"""Times that are days: which events came without their time of day, and moments as days."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import zip_longest

import duckdb
import numpy as np
import pandas as pd

from mctlib.eventlog.identity import some
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.sql import sql_text


def known_by_day(
    con: duckdb.DuckDBPyConnection, selects: Iterable[str], zones: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Event -> zones, of events that a source gives by their day: all its rows lie at midnight.

    ``selects``: a source of events each, with ``timestamp`` in UTC, whose times were written by the
    clock of the zone beside it (none: UTC).
    """
    found: dict[str, list[str]] = {}
    for select, zone in zip_longest(selects, zones, fillvalue="UTC"):
        for place in dict.fromkeys((zone, "UTC")):
            if some(con, f"({select}) WHERE timestamp <> {_day_begins(place)}"):
                continue
            names = (
                f"SELECT DISTINCT {masked('event')} FROM ({select})"
                " WHERE timestamp IS NOT NULL AND event <> ''"
            )
            for (event,) in sorted(con.sql(names).fetchall()):
                found.setdefault(event, []).append(place)
            break
    return found


def _day_begins(zone: str) -> str:
    """SQL of the moment at which a timestamp's day begins in a zone, as such a day is loaded."""
    if zone == "UTC":
        return "date_trunc('day', timestamp)"
    # there and back, so that a day whose midnight a clock skips begins where loading puts it
    there = f"date_trunc('day', timezone({sql_text(zone)}, timezone('UTC', timestamp)))"
    return f"timezone('UTC', timezone({sql_text(zone)}, {there}::TIMESTAMP))"


def midnights(time: np.ndarray, zones: Sequence[str]) -> np.ndarray:
    """The days of moments (microseconds, UTC), each as if it began at midnight in UTC.

    A moment that is a midnight in one of the zones is the day that begins there; any other is of
    the day that it is in the first.
    """
    stamps = pd.DatetimeIndex(time.view("datetime64[us]"), tz="UTC")
    first, *others = (stamps.tz_convert(zone).tz_localize(None) for zone in zones)
    days = first.normalize()
    for there in others:
        days = days.where(there != there.normalize(), there)
    return days.as_unit("us").asi8


def by_day(j: Journeys, zones: Sequence[str]) -> Journeys:
    """The journeys with their `midnights` for moments; as they are where there are no ``zones``."""
    if not zones:
        return j
    time = midnights(j.time, zones)
    return replace(j, time=time).take(np.lexsort((time, j.user)))
