"""What did a change do where chance decided who got it? The top rung of the ladder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import (
    MISSING,
    ParameterError,
    as_columns,
    as_timestamp,
    as_window,
    interval_columns,
    nearest,
)
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import as_step
from mctlib.results import Result
from mctlib.roi import narrative


@dataclass(frozen=True, kw_only=True, repr=False)
class Arms(Result):
    """Answer of `compare_arms`.

    ``arms``: one row for every arm but the reference.

    ====================== ===== ===================================================================
    column                 unit  meaning
    ====================== ===== ===================================================================
    segment, reference           the arm, and the one without the change
    n_users, n_reference   users known before the change, of either
    mean_before            x     events per user of the arm, before the change
    mean_after             x     the same after it
    effect ±               x     events per user more than the reference, adjusted; and its pvalue
    rel_effect                   effect / what would have been
    unadjusted_effect ±    x     difference of means (Welch's errors)
    variance_ratio               adjusted / unadjusted
    qvalue                       of pvalue, over the arms
    ====================== ===== ===================================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %).
    """

    arms: pd.DataFrame

    main: ClassVar[str] = "arms"


def compare_arms(
    log: EventLog,
    event: Any,
    *,
    of: Any,
    by: str,
    change_at: Any,
    window: str,
    as_of: Any,
    reference: str | None = None,
) -> Arms:
    """Compare events per user in randomly assigned arms, adjusted for what they did before.

    Users are those whose first ``of`` lies before the change. Counted are their rows of ``event``
    within ``window`` from that day on, and as a covariate those within the same time before it.

    Parameters
    ----------
    log : EventLog
        Events, and people where these hold the arm.
    event, of : str, list of str or Step
        What is counted; the event that makes somebody a user.
    by : str
        Column that holds the arm (of people, or of the event at the first ``of``), assigned by
        chance to about equally many users each; who has none is left out. "" where there are none.
    change_at : str or Timestamp
        First UTC day of the change.
    window : str
        Time from the change on that is looked at.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC.
    reference : str, optional
        The arm without the change; the largest by default.

    Returns
    -------
    Arms
        ``arms`` (columns: see `Arms`), ``finding``, ``rule``, ``caveats``.

    Raises
    ------
    ParameterError
        An unknown arm, fewer than two arms, a window that has not closed at ``as_of``.

    Notes
    -----
    Regression on the covariate, centred, with interactions, HC2 errors (Lin 2013), precise as CUPED
    is (Deng et al. 2013). A chi-square test of equal sizes refuses the finding below p = 0.001.

    Examples
    --------
    >>> ask = {"of": "signed_up", "window": "7d", "change_at": "2026-01-20", "as_of": "2026-01-31"}
    >>> compare_arms(log, "profile_completed", by="platform", **ask).arms[["reference"]].shape
    (1, 1)
    """
    from scipy.stats import chisquare

    if not by:
        nobody = pd.DataFrame(columns=["segment", "reference", "n_users", "n_reference"])
        return Arms(arms=nobody, finding="No randomised arms were named.")
    if missing := log.missing_events([of, event]):
        raise ParameterError(missing[0])
    change = int(as_timestamp(change_at, "change_at").normalize().value // 1000)
    length = as_window(window)
    if change + length - 1 > log.as_of(as_of):
        raise ParameterError(
            f"window: {phrases.window(length)} after {change_at} are not over at {as_of}."
        )
    kernel = partial(_count_both, change=change, window=length)
    counts = log.reduce(kernel, events=[of, event], by=as_columns(by), as_of=as_of)
    sizes = counts.groupby("segment")["n_users"].sum().sort_values(ascending=False, kind="stable")
    n_without = int(sizes.get(MISSING, 0))
    sizes = sizes[(sizes > 1) & (sizes.index != MISSING)]
    if reference is not None and reference not in sizes:
        raise ParameterError(
            f'reference: "{reference}" is not an arm ({", ".join(sizes.index)}).'
            f"{nearest(reference, sizes.index)}"
        )
    if len(sizes) < 2:
        raise ParameterError(
            f"by: {by} splits the users seen before {change_at} into fewer than two arms."
        )
    table = _against(counts, sizes, reference or sizes.index[0])
    # the surest; NaN comes last
    top = table.iloc[np.lexsort([-table["effect"].abs(), table["qvalue"]])[0]]
    balance = float(chisquare(sizes).pvalue)
    when = f"within {phrases.window(length)} of {change_at}"
    finding, rule = narrative.arms_finding(top, sizes, balance, as_step(event).label, when)
    caveats = narrative.arms_caveats(top, balance, n_without)
    return Arms(arms=table, finding=finding, rule=rule, caveats=caveats)


def _count_both(j: Journeys, *, change: int, window: int) -> pd.DataFrame:
    """Kernel: segment, before, after (a user's events on either side of the change) -> n_users.

    Matcher 0 is ``of``, 1 the event.
    """
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    entry = entry[j.time[entry] < change]
    row = np.flatnonzero(j.has(1) & (j.time >= change - window) & (j.time < change + window))
    at = np.searchsorted(j.user[entry], j.user[row])
    mine = np.r_[j.user[entry], -1][at] == j.user[row]
    at, is_after = at[mine], j.time[row[mine]] >= change
    frame = pd.DataFrame(
        {
            "segment": j.segment(entry),
            "before": np.bincount(at[~is_after], minlength=len(entry)),
            "after": np.bincount(at[is_after], minlength=len(entry)),
            "n_users": 1,
        }
    )
    return frame.groupby(["segment", "before", "after"], as_index=False).sum()


def _against(counts: pd.DataFrame, sizes: pd.Series, base: str) -> pd.DataFrame:
    """`Arms.arms`."""
    own = {name: counts[counts["segment"] == name] for name in sizes.index}
    rows = []
    for name in sizes.index.drop(base):
        row = {"segment": name, "reference": base}
        row |= {"n_users": int(sizes[name]), "n_reference": int(sizes[base])}
        rows.append(row | effect_of(own[name], own[base]))
    table = pd.DataFrame(rows)
    return table.assign(qvalue=stats.fdr(table["pvalue"]))


def effect_of(arm: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """The estimates of one row of `Arms.arms`; each frame counts users by (before, after)."""
    both = pd.concat([arm, base])
    centre, n = np.average(both["before"], weights=both["n_users"]), float(both["n_users"].sum())
    (mean, v), (mean_0, v_0) = (_adjusted_mean(side, centre) for side in (arm, base))
    effect, variance = mean - mean_0, v + v_0
    low, high = stats.t_interval(effect, np.sqrt(variance), n - 4)
    (plain, w), (plain_0, w_0) = (_plain_mean(side) for side in (arm, base))
    plain_low, plain_high = stats.t_interval(plain - plain_0, np.sqrt(w + w_0), n - 2)
    return {
        "mean_before": float(np.average(arm["before"], weights=arm["n_users"])),
        "mean_after": float(np.average(arm["after"], weights=arm["n_users"])),
        **interval_columns("effect", effect, float(low), float(high)),
        "rel_effect": effect / mean_0 if mean_0 > 0 else np.nan,
        "pvalue": float(stats.t_pvalue(effect, np.sqrt(variance), n - 4)),
        **interval_columns(
            "unadjusted_effect", plain - plain_0, float(plain_low), float(plain_high)
        ),
        "variance_ratio": variance / (w + w_0) if w + w_0 > 0 else np.nan,
    }


def _adjusted_mean(side: pd.DataFrame, centre: float) -> tuple[float, float]:
    """Mean of after at before = ``centre`` by least squares, and its HC2 variance."""
    x = side["before"].to_numpy(float)
    if len(np.unique(x)) == 1:
        return _plain_mean(side)
    return _fitted(side, np.c_[np.ones(len(x)), x - centre])


def _plain_mean(side: pd.DataFrame) -> tuple[float, float]:
    """Mean of after, and its variance."""
    return _fitted(side, np.ones((len(side), 1)))


def _fitted(side: pd.DataFrame, design: np.ndarray) -> tuple[float, float]:
    """First coefficient of a regression of after, and its HC2 variance."""
    n, y = side["n_users"].to_numpy(float), side["after"].to_numpy(float)
    inverse = np.linalg.inv(design.T @ (n[:, None] * design))
    coef = inverse @ design.T @ (n * y)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    square = n * (y - design @ coef) ** 2 / np.maximum(1 - leverage, 1e-12)
    return float(coef[0]), float((inverse @ (design.T * square) @ design @ inverse)[0, 0])
