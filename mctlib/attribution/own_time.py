"""The second walk: users against their own time, and whom partners brought against the others."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution.counting import (
    Counts,
    read_users,
    tagged_rows,
    touches_of,
    why_left_out,
)
from mctlib.attribution.person_time import Paces, fit_pace
from mctlib.attribution.question import Question
from mctlib.attribution.rotation import (
    CALENDAR,
    CLOCKS,
    COLUMNS,
    PLACES,
    VISITS,
    Found,
    Rows,
    compare_users,
)
from mctlib.attribution.touchpoints import AFTER, KEPT, numbers
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NOWHERE, Journeys
from mctlib.eventlog.steps import ANY, Step

MOST_TIED = 0.5  # share of touches that come with visits, above which the clock is the own visits
FEW_ROWS = 0.1  # rows beside the touches, of as many touches, below which there are none
EVERY = 0.99  # share of the rows from which on every row is said to carry a tag


@dataclass(frozen=True)
class Rotate:
    """The kernel: journeys of all rows to sums of users against their own time.

    ``names``: of all partners, by whose places the tables name them; the last place is of any.
    """

    question: Question
    names: tuple[str, ...]
    paces: Paces

    def __call__(self, j: Journeys) -> dict[str, pd.DataFrame]:
        """The filled cells of every array of `Found`, by user bucket."""
        question, clock = self.question, self.question.clock
        j, edges, first, users = read_users(question, j)
        tagged = question.tags.read(j, edges, first[1], tagged_rows(question, j))
        place = {name: n for n, name in enumerate(self.names)}
        # partners that touch nobody before a conversion have no place of their own
        of_all = numbers(list(tagged.names), place)
        of_all[of_all == NOWHERE] = len(self.names)
        tagged = replace(tagged, label=np.where(tagged.label < 0, NOWHERE, of_all[tagged.label]))
        why = why_left_out(j, edges, users, tagged)
        kept, touches = touches_of(j, edges, tagged, (why == KEPT) | (why == AFTER))
        other = np.ones(len(j), bool)
        for gone in (tagged.row[kept], *(rows[rows != NOWHERE] for rows in first[:2])):
            other[gone] = False
        rows = Rows(edges, j.time, other)
        shapes = shapes_of(len(clock.windows), len(self.names))
        found = Found(*(np.zeros((stats.N_BUCKETS, *shape)) for shape in shapes.values()))
        bucket = j.take(edges[:-1]).bucket.astype(np.int64)
        compare_users(bucket, users, touches, rows, clock, self.paces, found)
        tables = {}
        for name, array in found._asdict().items():
            *keys, columns = PLACES[name]
            at = np.nonzero(array.any(axis=-1))
            tables[name] = pd.DataFrame(array[at], columns=COLUMNS[columns]).assign(
                **dict(zip(["bucket", *keys], at))
            )
        starts = first[1][users.counted]
        counted = {"n_converters": len(starts), "n_tagged": np.isin(starts, tagged.row[kept]).sum()}
        return tables | {"starts": pd.DataFrame(counted, index=[0])}


def shapes_of(n_windows: int, n_partners: int) -> dict[str, tuple[int, ...]]:
    """The shapes of `Found`."""
    lengths = {"clock": len(CLOCKS), "partner": n_partners + 1, "window": n_windows}
    lengths |= {"control": n_windows + 1, "one": 1} | {
        name: len(some) for name, some in COLUMNS.items()
    }
    return {name: tuple(lengths[axis] for axis in axes) for name, axes in PLACES.items()}


@dataclass(frozen=True)
class OwnTime:
    """The sums of all users as arrays: buckets that hold somebody, then the axes of `Found`."""

    own: np.ndarray
    later: np.ndarray
    after: np.ndarray
    reach: np.ndarray
    others: np.ndarray
    tied: float  # share of touches that come with other rows of a visit
    bare: bool  # moments are days, and there are hardly any rows beside the touches

    @property
    def clock(self) -> int:
        """By which clock users are compared."""
        return VISITS if self.tied > MOST_TIED else CALENDAR


def walk_again(log: EventLog, counts: Counts, *, as_of: Any) -> OwnTime:
    """Walk the log's users a second time, at the paces that the first walk found."""
    question = counts.question
    clock, names = question.clock, tuple(counts.names)
    touched, seen, other = (counts.tables[f"{name}_days"] for name in ("touch", "seen", "other"))
    after = fit_pace(touched, clock)
    paces = Paces(fit_pace(seen, clock, after.by_period), after, fit_pace(other, clock))
    walk = Rotate(question, names, paces)
    tables = log.reduce(walk, events=[*question.events, Step(ANY)], by=question.dims, as_of=as_of)
    arrays = {}
    for name, shape in shapes_of(len(clock.windows), len(names)).items():
        *keys, last = PLACES[name]
        arrays[name] = np.zeros((stats.N_BUCKETS, *shape))
        at = tuple(tables[name][key].to_numpy() for key in ("bucket", *keys))
        arrays[name][at] = tables[name][list(COLUMNS[last])].to_numpy()
    n_touches, n_tied, n_other, n_visits, n_repeated = arrays.pop("kinds").sum(axis=(0, 1))
    n_converters, n_tagged = tables["starts"].iloc[0]
    n_untagged = n_other + n_converters - n_tagged
    bare = clock.resolution > 1 and n_other < FEW_ROWS * n_touches
    if n_untagged < (1 - EVERY) * (n_touches + n_untagged):  # a visit's first row is the touch
        n_touches, n_tied = n_visits, n_repeated
    filled = np.any([a.reshape(len(a), -1).any(axis=1) for a in arrays.values()], axis=0)
    arrays = {name: array[filled] for name, array in arrays.items()}
    return OwnTime(**arrays, tied=float(stats.rate(n_tied, n_touches)), bare=bool(bare))
