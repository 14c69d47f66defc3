"""Events of which the server has no record, although it keeps some of the same deed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mctlib.eventlog.journeys import Journeys
from mctlib.phrases import DAY_US

if TYPE_CHECKING:
    from mctlib.audit.witnesses import Records

NEAR = DAY_US  # a server's record and the app's event are of one deed, however its clock goes
ONE_OFF = 1 << 27  # more minutes than there are since 1970


def gaps(j: Journeys, records: Records, n_steps: int) -> pd.DataFrame:
    """Events of which the server should have a record, and those without one.

    ``records``: the server's · ``n_steps``: of micro-conversions.
    """
    rows = []
    for bit in range(n_steps):
        mine = records.take(records.what == bit)
        if not len(mine.user):
            continue
        at = j.has(bit) & (j.time >= mine.time.min()) & (j.time <= mine.time.max())
        event = j.user[at] * ONE_OFF + j.time[at] // 60_000_000
        known = np.sort(mine.user * ONE_OFF + mine.time // 60_000_000)
        place = np.searchsorted(known, event)
        near = np.minimum(
            np.abs(known[np.minimum(place, len(known) - 1)] - event),
            np.abs(known[np.maximum(place - 1, 0)] - event),
        )
        alone = near > NEAR // 60_000_000
        n_users = len(np.unique(j.user[at][alone]))
        rows.append((bit, n_users, len(event), int(alone.sum())))
    return pd.DataFrame(rows, columns=["what", "n_users", "n_events", "n_alone"])
