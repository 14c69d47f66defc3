"""What mix, behaviour and tracking add to a change: the split, and the tables that show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mctlib import stats
from mctlib.contract import interval_columns
from mctlib.eventlog.completeness import Proof, completeness
from mctlib.eventlog.journeys import count_accounts
from mctlib.eventlog.steps import Step
from mctlib.results import MIN_USERS
from mctlib.stats import FloatArray

PERIODS = ("before", "after")
PARTS = ("mix", "behaviour", "tracking")
COUNTS = ("n_entered", "n_reached", "n_checked", "n_tracked")
ENTERED, REACHED, CHECKED, TRACKED = range(4)  # the places of `COUNTS`
MIN_CELL = 30  # users in each period from which on a segment's parts are tested


class Split(NamedTuple):
    """What parts add to the overall rate, and to each step's own (mix, behaviour, tracking)."""

    mix: FloatArray  # (..., segments)
    behaviour: FloatArray  # (..., segments, steps after the first)
    tracking: FloatArray  # (..., segments, steps)
    own: FloatArray  # (..., steps, 3)


def is_known(cells: FloatArray) -> NDArray[np.bool_]:
    """(..., segments, steps) of counts as in `split_change`: `is_proved` in both periods."""
    known: NDArray[np.bool_] = np.all(is_proved(cells), axis=-3)
    return known


def split_change(cells: FloatArray) -> Split:
    """Split the change of a rate exactly into mix, behaviour and tracking.

    ``cells``: users (..., 2 periods, segments, steps after the first, `COUNTS`). A segment's rate
    is the product of its step rates, and a step's rate is its completeness times its true rate.
    Completeness: of the users at the step before who did this one for certain within the window (a
    record in ``backend``, else a later step that requires it), the share whose event is there. Mix
    = users moved between segments (Kitagawa 1955, symmetric); the change of the segments' own rates
    is shared out over true rates (behaviour) and completenesses (tracking) of all steps by
    Shapley's rule for a product (Das Gupta 1993), whatever the order. Unknown tracking stays inside
    behaviour. What is known in one period only is taken as unchanged: where no event at all is
    tracked any more, the fall is tracking. Step 1 cannot be checked: who is not seen there is in no
    count.
    """
    entered, reached, checked, tracked = np.moveaxis(cells, -1, 0)
    known = is_known(cells)[..., None, :, :]
    complete = np.where(known, stats.rate(tracked, checked), 1.0)
    # missing, and so taken as unchanged, where nothing is tracked any more
    true = stats.rate(stats.rate(reached, entered), complete)
    both_periods = [[a[..., p, :, :] for a in (entered, true, complete)] for p in (0, 1)]
    whole, each_step = [], []
    for n, true_rate, completeness_rate in both_periods:
        whole += [n[..., 0], np.concatenate([true_rate, completeness_rate], axis=-1)]
        # steps before segments: each step is a rate of its own
        factors = np.stack([true_rate, completeness_rate], axis=-1).swapaxes(-2, -3)
        each_step += [n.swapaxes(-1, -2), factors]
    overall = stats.kitagawa(*whole)
    own = stats.kitagawa(*each_step).sum(axis=-2)
    m = cells.shape[-2]
    return Split(overall[..., 0], overall[..., 1 : m + 1], overall[..., m + 1 :], own)


def is_proved(cells: FloatArray) -> NDArray[np.bool_]:
    """(...) of counts (..., 4): completeness known.

    Where no event of the users checked is there but some of others are, it is not.
    """
    _, reached, checked, tracked = np.moveaxis(cells, -1, 0)
    proved: NDArray[np.bool_] = (checked > 0) & ((tracked > 0) | (reached == 0))
    return proved


def put_back(cells: FloatArray) -> FloatArray:
    """The rate of counts (..., segments, steps, 4) as it were with all events there.

    Each segment's step rates are divided by the step's completeness where that is known; NaN where
    a segment has lost all events of a step.
    """
    entered, reached, checked, tracked = np.moveaxis(cells, -1, 0)
    complete = np.where(is_proved(cells), stats.rate(tracked, checked), 1.0)
    true = stats.rate(stats.rate(reached, entered), complete).clip(0, 1)
    there = np.where(entered > 0, true, 0).prod(axis=-1) * entered[..., 0]
    return stats.rate(there.sum(axis=-1), entered[..., 0].sum(axis=-1))


@dataclass(frozen=True)
class Cohorts:
    """The counts of both periods: users as (buckets, periods, segments, steps, `COUNTS`)."""

    cells: FloatArray
    segments: pd.Index
    matchers: Sequence[Step]
    proof: Sequence[Proof]
    n_accounts: float

    @classmethod
    def of(
        cls, tables: dict[str, pd.DataFrame], matchers: Sequence[Step], proof: Sequence[Proof]
    ) -> Cohorts:
        """From the tables of `count_cohorts`; the largest segments first."""
        counts = tables["counts"].query("period in @PERIODS")
        entrants = counts[counts["step"] == 2].groupby("segment")["n_entered"].sum()
        segments = entrants.sort_values(ascending=False, kind="stable").index
        cells = _cells(counts, len(matchers), period=pd.Index(PERIODS), segment=segments)
        return cls(cells, segments, matchers, proof, count_accounts(tables["accounts"]))

    @cached_property
    def whole(self) -> FloatArray:
        """The counts of all buckets."""
        whole: FloatArray = self.cells.sum(axis=0)
        return whole

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Whether completeness is known in both periods (segments, steps)."""
        return is_known(self.whole)

    @cached_property
    def drawn(self) -> FloatArray:
        """The counts of all buckets, and 1000 bootstrap draws of them (axis 0).

        The draws are of the users' hash buckets, seeded, the same for every number; users of one
        account share a bucket, so that they count as alike as they are. With users in fewer than 10
        buckets, or in accounts that make fewer than 10 clusters in a period
        (`stats.count_clusters`), the draws are missing.
        """
        drawn = stats.bucket_draws(self.cells, seed=1)
        entrants = self.cells[..., 0, ENTERED].sum(axis=2)  # buckets, periods
        if np.isnan(self.n_accounts):
            n_clusters = entrants.any(axis=1).sum()
        else:
            n_clusters = stats.count_clusters(entrants, n_accounts=self.n_accounts).min()
        if n_clusters < stats.MIN_CLUSTERS:
            drawn = np.full_like(drawn, np.nan)
        return np.concatenate([self.whole[None], drawn])

    @cached_property
    def split(self) -> Split:
        """What was found, and the draws of it (axis 0)."""
        return split_change(self.drawn)

    def rates(
        self, name: str, reached: FloatArray, entered: FloatArray
    ) -> tuple[dict[str, FloatArray], FloatArray]:
        """Columns of a rate with its interval, and its design effect, from counts by bucket."""
        low, high, effect = stats.share_interval(reached, entered, n_accounts=self.n_accounts)
        share = stats.rate(reached.sum(axis=0), entered.sum(axis=0))
        return interval_columns(name, share, low, high), effect


def _cells(counts: pd.DataFrame, n_steps: int, **axes: pd.Index) -> FloatArray:
    """Counts as (buckets, axes ..., steps after the first, `COUNTS`)."""
    places = [index.get_indexer(counts[name]) for name, index in axes.items()]
    shape = (stats.N_BUCKETS, *map(len, axes.values()), n_steps - 1)
    at = (counts["bucket"], *places, counts["step"] - 2)
    return np.stack([stats.dense(counts[n], *at, shape=shape) for n in COUNTS], axis=-1)


def _with_interval(
    name: str, values: FloatArray, blank: NDArray[np.bool_] | bool = False
) -> dict[str, FloatArray]:
    """Columns of what was found (values[0]) with the interval of the draws; NaN where ``blank``."""
    three = values[0], *stats.percentile_interval(values[1:])
    return interval_columns(name, *(np.where(blank, np.nan, v).ravel() for v in three))


def total_table(found: Cohorts) -> pd.DataFrame:
    """`Change.total`."""
    users = found.cells.sum(axis=2)  # buckets, periods, steps, COUNTS
    columns: dict[str, Any] = {}
    for p, name in enumerate(PERIODS):
        reached, entered = users[:, p, -1:, REACHED], users[:, p, :1, ENTERED]
        rates, effect = found.rates(f"{name}_rate", reached, entered)
        n = entered.sum(axis=0).astype(int)
        columns |= {f"n_{name}": n, **rates, f"{name}_design_effect": effect}
    split = found.split
    change = split.mix.sum(axis=-1) + (split.behaviour + split.tracking).sum(axis=(-2, -1))
    columns |= _with_interval("change_rate", change[:, None])
    drawn = found.drawn.sum(axis=2)  # draws, periods, steps, COUNTS
    before, after = stats.rate(drawn[..., -1, REACHED], drawn[..., 0, ENTERED]).T
    columns |= _with_interval("risk_ratio", stats.rate(after, before)[:, None])
    hidden = (put_back(found.drawn[:, 1]) - after)[:, None]
    columns |= _with_interval("hidden_rate", hidden, not is_proved(found.whole[1]).any())
    return pd.DataFrame(columns | {"n_accounts": found.n_accounts})


def part_pvalues(values: FloatArray) -> FloatArray:
    """Two-sided p-values that what was found (values[0]) is 0; the others are its draws.

    Normal, with the draws' standard deviation; 1 where these never differ.
    """
    se = values[1:].std(axis=0)
    return np.where(se == 0, 1.0, stats.t_pvalue(values[0], se))


def parts_table(found: Cohorts) -> pd.DataFrame:
    """`Change.parts`."""
    split, unknown = found.split, ~found.known
    three = split.mix, split.behaviour.sum(axis=-1), split.tracking.sum(axis=-1)
    by_segment = np.stack(three, axis=-1)  # draws, segments, parts
    effect = np.concatenate([by_segment.sum(axis=1, keepdims=True), by_segment], axis=1)
    n = found.whole[:, :, 0, ENTERED].astype(int)
    n = np.c_[n.sum(axis=1), n]
    is_tracking = np.array(PARTS) == "tracking"
    blank = np.r_[unknown.all(), unknown.all(axis=1)][:, None] & is_tracking
    pvalue = np.where(blank, np.nan, part_pvalues(effect))
    pvalue[1:][n[:, 1:].min(axis=0) < MIN_CELL] = np.nan
    # the sums are a family of their own
    qvalue = [stats.fdr(family) for family in (pvalue[0], pvalue[1:].ravel())]
    return pd.DataFrame(
        {
            "segment": np.repeat(["all", *found.segments], 3),
            "part": PARTS * (len(found.segments) + 1),
            "n_before": np.repeat(n[0], 3),
            "n_after": np.repeat(n[1], 3),
            **_with_interval("effect_rate", effect, blank),
            "qvalue": np.concatenate(qvalue),
        }
    )


def steps_table(found: Cohorts) -> pd.DataFrame:
    """`Change.steps`."""
    mix, behaviour, tracking = (part.sum(axis=1) for part in found.split[:3])
    own, users = found.split.own, found.cells.sum(axis=2)
    nothing = np.full_like(mix, np.nan)
    # step 1 has the mix of the entrants, and no rate of its own
    step, part, blank = [1], ["mix"], [False]
    change, effect, total_effect = [nothing], [nothing], [mix]
    for k in range(own.shape[1]):
        step += 3 * [k + 2]
        part += PARTS
        change += 3 * [own[:, k].sum(axis=-1)]
        effect += [*own[:, k].T]
        total_effect += [nothing, behaviour[:, k], tracking[:, k]]
        blank += [False, False, not found.known[:, k].any()]
    at = np.array(step) - 1
    n = users[..., ENTERED].sum(axis=0).astype(int)
    rates: dict[str, FloatArray] = {}
    for p, name in enumerate(PERIODS):
        reached, entered = users[:, p, :, REACHED], users[:, p, :, ENTERED]
        own_rates, _ = found.rates(f"{name}_rate", reached, entered)
        rates |= {column: np.r_[np.nan, values][at] for column, values in own_rates.items()}
    return pd.DataFrame(
        {
            "step": step,
            "event": [found.matchers[k].label for k in at],
            "part": part,
            **{f"n_{name}": np.r_[n[p, 0], n[p]][at] for p, name in enumerate(PERIODS)},
            **rates,
            **_with_interval("change_rate", np.stack(change, axis=1)),
            **_with_interval("effect_rate", np.stack(effect, axis=1), np.array(blank)),
            **_with_interval("total_effect_rate", np.stack(total_effect, axis=1), np.array(blank)),
        }
    )


def completeness_table(found: Cohorts, *, split: bool) -> pd.DataFrame:
    """`Change.completeness`, with the segments where there is a ``split``."""
    rows, checked, tracked = [], [], []
    segments: list[tuple[str, Any]] = [("all", slice(None))]
    if split:
        segments += [(name, [i]) for i, name in enumerate(found.segments)]
    for k, matcher in enumerate(found.matchers[1:]):
        for segment, some in segments:
            for p, period in enumerate(PERIODS):
                rows.append((k + 2, matcher.label, segment, period, found.proof[k + 1].source))
                users = found.cells[:, p, some, k].sum(axis=1).astype(int)  # buckets, COUNTS
                checked.append(users[:, CHECKED])
                tracked.append(users[:, TRACKED])
    table = pd.DataFrame(rows, columns=["step", "event", "segment", "period", "source"])
    n_checked, n_tracked = np.stack(checked, axis=1), np.stack(tracked, axis=1)
    return completeness(table, n_checked, n_tracked, n_accounts=found.n_accounts)


def course_table(counts: pd.DataFrame, found: Cohorts) -> pd.DataFrame:
    """`Change.course`."""
    of_steps = counts[counts["step"] == 2].groupby("cohort")["n_entered"].sum()
    cohorts, segments = of_steps.index[of_steps >= MIN_USERS], pd.Index(counts["segment"].unique())
    counts = counts[counts["cohort"].isin(cohorts)]
    cells = _cells(counts, len(found.matchers), cohort=cohorts, segment=segments)
    whole = cells.sum(axis=0)
    mended = np.concatenate([put_back(whole)[None], stats.bucket_draws(cells, put_back, seed=1)])
    unknown = np.logical_not(is_proved(whole).any(axis=(-2, -1)))
    entered = whole[..., 0, ENTERED].sum(axis=-1).astype(int)
    reached = whole[..., -1, REACHED].sum(axis=-1).astype(int)
    return pd.DataFrame(
        {
            "cohort": cohorts,
            "n_entered": entered,
            "n_reached": reached,
            "reached_rate": stats.rate(reached, entered),
            **_with_interval("mended_rate", mended, unknown),
        }
    )


def tracking_table(found: Cohorts, required: Sequence[int]) -> pd.DataFrame:
    """What is known of the tracking of each step and segment, for the caveats.

    step, segment, event, source, required, known (in both periods), gone (not an event is there in
    one of them).
    """
    numbers = range(2, len(found.matchers) + 1)
    keys = pd.MultiIndex.from_product([numbers, found.segments], names=["step", "segment"])
    table = keys.to_frame(index=False)
    gone = found.known & (found.whole[..., TRACKED] == 0).any(axis=0)
    return table.assign(
        event=[found.matchers[step - 1].label for step in table["step"]],
        source=[found.proof[step - 1].source for step in table["step"]],
        required=table["step"].isin(required),
        known=found.known.T.ravel(),
        gone=gone.T.ravel(),
    )
