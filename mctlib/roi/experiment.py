"""What did a change do where chance decided who got it? The top rung of the ladder of `compare_before_after`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import MISSING, ParameterError, as_columns, as_timestamp, as_window, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import as_step

ALARM = 0.001  # p-value of the arms' sizes below which the assignment, or its tracking, is broken


@dataclass(frozen=True)
class Arms:
    """Result of `compare_arms`, which says what the columns mean."""

    arms: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


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
    """Events per user in randomly assigned arms, adjusted for what the same users did before.

    Users: those whose first ``of`` lies before ``change_at`` (first UTC day of the change). Counted are their rows of ``event`` within ``window`` from that day on,
    and as a covariate those within the same time before it. ``by``: the column that holds the arm (of people, or of the event at the first ``of``); it must
    have been assigned by chance to about equally many users each; users without one are left out. ``reference``: the arm without the change (None: the largest).

    ``arms``, one row for every other arm: segment, reference, n_users, n_reference, mean_before, mean_after (events per user of the arm), effect + ci (events per
    user more than the reference, by regression on the covariate, centred, with interactions, HC2 errors: Lin 2013; its gain in precision is that of CUPED, Deng
    et al. 2013), rel_effect, unadjusted_effect + ci (difference of means, Welch's errors), variance_ratio (adjusted / unadjusted), pvalue, qvalue (over the arms).
    A chi-square test of the arms' sizes against equal ones refuses the finding below p = 0.001. Raises ParameterError: an unknown arm, fewer than two arms, a
    window that has not closed at ``as_of``.
    """
    if missing := log.missing_events([of, event]):
        raise ParameterError(missing[0])
    change, length = (
        int(as_timestamp(change_at, "change_at").normalize().value // 1000),
        as_window(window),
    )
    if change + length - 1 > log.as_of(as_of):
        raise ParameterError(
            f"window: {phrases.window(length)} after {change_at} are not over at {as_of}."
        )
    counts = log.reduce(
        partial(_count_both, change=change, window=length),
        events=[of, event],
        by=as_columns(by),
        as_of=as_of,
    )
    sizes = counts.groupby("segment")["n_users"].sum().sort_values(ascending=False, kind="stable")
    n_without, sizes = int(sizes.get(MISSING, 0)), sizes.drop(MISSING, errors="ignore")
    sizes = sizes[sizes > 1]
    if reference is not None and reference not in sizes:
        raise ParameterError(
            f'reference: "{reference}" is not an arm ({", ".join(sizes.index)}).{nearest(reference, sizes.index)}'
        )
    if len(sizes) < 2:
        raise ParameterError(
            f"by: {by} splits the users seen before {change_at} into fewer than two arms."
        )
    base = reference or sizes.index[0]
    own = {name: counts[counts["segment"] == name] for name in sizes.index}
    rows = [
        {
            "segment": name,
            "reference": base,
            "n_users": int(sizes[name]),
            "n_reference": int(sizes[base]),
        }
        | _effect(own[name], own[base])
        for name in sizes.index
        if name != base
    ]
    table = pd.DataFrame(rows)
    table["qvalue"] = stats.fdr(table["pvalue"])
    return Arms(
        table,
        *_said(table, sizes, as_step(event).label, phrases.window(length), change_at, n_without),
    )


def _count_both(j: Journeys, *, change: int, window: int) -> pd.DataFrame:
    """Kernel: segment, before, after (a user's events on either side of the change) -> n_users. Matcher 0 is ``of``, 1 the event."""
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    entry = entry[j.time[entry] < change]
    row = np.flatnonzero(j.has(1) & (j.time >= change - window) & (j.time < change + window))
    at = np.searchsorted(j.user[entry], j.user[row])
    mine = np.r_[j.user[entry], -1][at] == j.user[row]
    sides = [
        np.bincount(at[mine & side], minlength=len(entry))
        for side in (j.time[row] < change, j.time[row] >= change)
    ]
    frame = pd.DataFrame(
        {"segment": j.segment(entry), "before": sides[0], "after": sides[1], "n_users": 1}
    )
    return frame.groupby(["segment", "before", "after"], as_index=False).sum()


def _effect(arm: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """The estimates of one row of `Arms.arms`; each frame counts users by (before, after)."""
    from scipy.special import stdtr, stdtrit

    both = pd.concat([arm, base])
    centre = np.average(both["before"], weights=both["n_users"])
    out: dict[str, float] = {
        "mean_before": float(np.average(arm["before"], weights=arm["n_users"])),
        "mean_after": float(np.average(arm["after"], weights=arm["n_users"])),
    }
    variance = {}
    for name, adjusted in (("effect", True), ("unadjusted_effect", False)):
        (mean, v), (mean_0, v_0) = (_mean(part, centre, adjusted) for part in (arm, base))
        effect, variance[name] = mean - mean_0, v + v_0
        df = float(both["n_users"].sum() - (4 if adjusted else 2))
        half = float(stdtrit(df, 0.975)) * np.sqrt(variance[name])
        out |= {name: effect, f"{name}_ci_lower": effect - half, f"{name}_ci_upper": effect + half}
        if adjusted:
            out["rel_effect"] = effect / mean_0 if mean_0 > 0 else np.nan
            out["pvalue"] = (
                float(2 * stdtr(df, -abs(effect) / np.sqrt(variance[name])))
                if variance[name] > 0
                else np.nan
            )
    return out | {
        "variance_ratio": variance["effect"] / variance["unadjusted_effect"]
        if variance["unadjusted_effect"] > 0
        else np.nan
    }


def _mean(part: pd.DataFrame, centre: float, adjusted: bool) -> tuple[float, float]:
    """Mean of after at before = ``centre`` by least squares (without ``adjusted``: the plain mean), and its HC2 variance."""
    n, x, y = (part[c].to_numpy(float) for c in ("n_users", "before", "after"))
    design = (
        np.c_[np.ones(len(x)), x - centre]
        if adjusted and len(np.unique(x)) > 1
        else np.ones((len(x), 1))
    )
    inverse = np.linalg.inv(design.T @ (n[:, None] * design))
    coef = inverse @ design.T @ (n * y)
    leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
    square = n * (y - design @ coef) ** 2 / np.maximum(1 - leverage, 1e-12)
    return float(coef[0]), float((inverse @ (design.T * square) @ design @ inverse)[0, 0])


def _said(
    table: pd.DataFrame, sizes: pd.Series, label: str, window: str, change_at: Any, n_without: int
) -> tuple[str, tuple[str, ...]]:
    """Finding and caveats."""
    from scipy.stats import chisquare

    balance = float(chisquare(sizes).pvalue)
    top = table.iloc[
        np.lexsort([-table["effect"].abs(), table["qvalue"]])[0]
    ]  # the surest; NaN comes last
    adjusted, without = (
        top["variance_ratio"],
        f"{phrases.users(n_without)} without an arm {'is' if n_without == 1 else 'are'} left out.",
    )
    caveats = (
        f"Arms of equal size are expected: p = {balance:.3f}.",
        "Only users known before the change are compared; whoever came later has no time before it.",
        *(
            [f"Adjusting for what users did before leaves {100 * adjusted:.0f} % of the variance."]
            if adjusted == adjusted
            else []
        ),
        *([without] if n_without else []),
    )
    if balance < ALARM:
        return (
            f"Not supported: the arms hold {', '.join(f'{s} {phrases.users(n)}' for s, n in sizes.items())}; chance alone does not make arms this uneven, so the assignment "
            "or its tracking is broken."
        ), caveats
    if np.isnan(top["qvalue"]):
        return (
            "Not supported: users within the arms do not differ at all, so nothing says how sure a difference between them is.",
            caveats,
        )
    told = f"{top['effect']:+.3g} {label} events per user (95 % interval {top['effect_ci_lower']:+.3g} to {top['effect_ci_upper']:+.3g}) within {window} of {change_at}"
    shown = top["qvalue"] < 0.05
    return (
        f"{'The' if shown else 'No effect of the'} arm {top['segment']} {'made' if shown else 'is shown:'} {told}, against {top['reference']}. "
        f"(Rule: arms assigned by chance, {top['n_users']:,} and {top['n_reference']:,} users known before, adjusted for the same time before the change.)"
    ), caveats
