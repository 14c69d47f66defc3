"""Events that were sent again: the same event_id, near in time."""

from __future__ import annotations

import duckdb
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mctlib.eventlog.walk_kernels import COLUMN, NUMBER

RESENT_WITHIN = "1d"  # as far apart as the times of one event may lie; Segment looks as far back


def find_resent(con: duckdb.DuckDBPyConnection, within_us: int) -> None:
    """Make `again`, the ids of the rows of `in_events` that repeat another one, to be left out.

    These have its user, event and event_id, at a time no more than ``within_us`` after the first of
    them; that which was received first stays. And `apart`, the ids of those that have all of these
    and yet stay, for more time lies between.
    """
    con.execute("""
        CREATE OR REPLACE TEMP TABLE same_id AS
        SELECT id, received_at, epoch_us(timestamp) AS time,
            dense_rank() OVER (ORDER BY user_id, event, event_id) AS name
        FROM in_events
        SEMI JOIN (
            SELECT event_id FROM in_events WHERE event_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1
        ) USING (event_id)
    """)
    rows = con.sql("SELECT id, name, time FROM same_id ORDER BY name, time, id").fetchnumpy()
    send = _sends(rows["name"], rows["time"], within_us)
    sends = {"id": rows["id"], "send": send}  # noqa: F841 - DuckDB reads it
    con.execute("""
        CREATE OR REPLACE TEMP TABLE told AS
        SELECT id, row_number() OVER (PARTITION BY send ORDER BY received_at, time, id) AS place,
            send > min(send) OVER (PARTITION BY name) AS later
        FROM same_id JOIN sends USING (id);
        CREATE OR REPLACE TEMP TABLE again AS SELECT id FROM told WHERE place > 1;
        CREATE OR REPLACE TEMP TABLE apart AS SELECT id FROM told WHERE place = 1 AND later;
        DROP TABLE same_id; DROP TABLE told
    """)


@njit((COLUMN, COLUMN, NUMBER), cache=True)
def _sends(name: NDArray[np.int64], time: NDArray[np.int64], within_us: int) -> NDArray[np.int64]:
    """Which rows are one event sent again and again, numbered; they come by name and time."""
    send = np.zeros(len(time), np.int64)
    first = 0
    for row in range(1, len(time)):
        send[row] = send[row - 1]
        if name[row] != name[first] or time[row] - time[first] > within_us:
            send[row] += 1
            first = row
    return send
