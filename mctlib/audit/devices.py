"""On which device a deed was done, by what its user's events around it say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numba import njit

from mctlib.contract import MISSING
from mctlib.eventlog.journeys import Bools, Ints, Journeys, lines_of
from mctlib.eventlog.late_start import BETWEEN
from mctlib.eventlog.walk_kernels import BOOLEANS, COLUMN, INTS
from mctlib.phrases import DAY_US, HOUR_US

DEVICE = ("platform", "app_version")
FAR = 3 * DAY_US  # from the only such event: there may have been another version since
BESIDE = HOUR_US  # such events do not tell the device: they may be the deed itself


def devices_of(
    j: Journeys, begin: Ints, end: Ints, at: Ints, what: Ints
) -> dict[str, pd.Categorical]:
    """Platform and version of deeds, each the bit ``what`` at a moment, of a user's rows."""
    before, after = _beside(j, begin, end, at, what)
    alone = (before == after) & (before >= 0)
    unsure = alone & (np.abs(j.time[before] - at) > FAR)
    platform = _device(j, "event.platform", before, after, np.zeros(len(at), bool))
    unsure |= platform == BETWEEN
    version = _device(j, "event.app_version", before, after, unsure)
    return dict(zip(DEVICE, (platform, version)))


def spans(j: Journeys, user: Ints) -> tuple[Ints, Ints]:
    """First row of each deed's user, and the row after the last."""
    begin, end = j.ranges
    line = lines_of(user, j.user[begin])
    return begin[line], end[line]


def _beside(j: Journeys, begin: Ints, end: Ints, at: Ints, what: Ints) -> tuple[Ints, Ints]:
    """The nearest rows before and after each deed that tell its user's device, -1 for none."""
    told = np.ones(len(j), bool)
    if "event.platform" in j.dims:
        names = np.asarray(j.levels["event.platform"], object)
        told = ~np.isin(names, [MISSING, "api"])[j.dims["event.platform"]]
    before, after = np.full((2, len(begin)), -1)
    _look(j.time, j.bits, told, begin, end, at, what, before, after)
    return before, after


@njit((*[COLUMN] * 2, BOOLEANS, *[COLUMN] * 4, INTS, INTS), cache=True, nogil=True)
def _look(
    time: Ints,
    bits: Ints,
    told: Bools,
    begin: Ints,
    end: Ints,
    at: Ints,
    what: Ints,
    before: Ints,
    after: Ints,
) -> None:
    for r in range(len(at)):
        bit = 1 << what[r]
        middle = begin[r] + np.searchsorted(time[begin[r] : end[r]], at[r])
        itself = -1
        for row in range(middle - 1, begin[r] - 1, -1):
            if told[row]:
                itself = row
                if bits[row] & bit == 0 or at[r] - time[row] > BESIDE:
                    before[r] = row
                    break
        for row in range(middle, end[r]):
            if told[row]:
                itself = row
                if bits[row] & bit == 0 or time[row] - at[r] > BESIDE:
                    after[r] = row
                    break
        # on one side alone, or on neither, for nothing else is known of this user
        known = max(before[r], after[r])
        known = itself if known < 0 else known
        before[r] = known if before[r] < 0 else before[r]
        after[r] = known if after[r] < 0 else after[r]


def _device(j: Journeys, column: str, before: Ints, after: Ints, unsure: Bools) -> pd.Categorical:
    """What both neighbours say of the device; BETWEEN where they differ, MISSING without any."""
    known = list(j.levels[column]) if column in j.dims else []
    labels = [*known, *(word for word in (BETWEEN, MISSING) if word not in known)]
    several, missing = labels.index(BETWEEN), labels.index(MISSING)
    code = j.dims[column] if known else np.full(len(j), missing)
    one, other = (np.where(row >= 0, code[row], missing) for row in (before, after))
    return pd.Categorical.from_codes(np.where(unsure | (one != other), several, one), labels)
