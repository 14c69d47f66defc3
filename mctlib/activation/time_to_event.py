"""How long users take from a start to first value, when some leave and some are still waiting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.activation import narrative
from mctlib.activation.clocks import ENDINGS, clock_roles, count_clocks, resolution
from mctlib.activation.cox import adjusted_hazards
from mctlib.activation.differences import compare_days, compare_shares, risk_ratio
from mctlib.activation.hazards import LogRank, compare_hazards, logrank
from mctlib.activation.narrative_first import read_first
from mctlib.activation.pooling import Names, expected, pool
from mctlib.activation.survival_groups import (
    FEW_ACTIVATIONS,
    GRID,
    Clock,
    Group,
    at_risk,
    bounds,
    critical,
    number_accounts,
)
from mctlib.cells import View
from mctlib.contract import (
    ParameterError,
    as_columns,
    as_timestamp,
    as_window,
    interval_columns,
)
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.labels import named
from mctlib.eventlog.steps import Step
from mctlib.phrases import DAY_US
from mctlib.results import Groups, Result

CONTRAST_COLUMNS = [
    *("segment", "reference", "horizon_days"),
    *interval_columns("rmst_difference_days"),
    *("pvalue", "qvalue"),
    *interval_columns("difference_rate"),
    *interval_columns("risk_ratio"),
    *interval_columns("hazard_ratio"),
    *("logrank_pvalue", "ph_pvalue"),
]
POPULATION = ("start", "activation", "observed_from")  # roles that say whose clocks are counted
QUARTILES = {"p25_days": 0.25, "median_days": 0.5, "p75_days": 0.75}
EventLike = str | Sequence[str] | Step


WAITS = ("activated_rate ±", "p25_days ±", "median_days ±", "p75_days ±", "rmst_days ±")
ENDED = ("n_competing", "n_censored", "n_not_activated")
LATER = ("plateau", "further_rate ±", "never_rate ±")
APART = ("rmst_difference_days ±", "qvalue", "difference_rate ±", "risk_ratio ±")
HAZARDS = ("hazard_ratio ±", "logrank_pvalue", "ph_pvalue")


@dataclass(frozen=True, kw_only=True, repr=False)
class Activation(Result):
    """Answer of `time_to_activation`.

    ======================= ===== ==================================================================
    column                  unit  meaning
    ======================= ===== ==================================================================
    ``curve``                     one row a segment and day, every horizon / 180 and at every step
                                  where there are no more, up to horizon_days; values are exact
    activated_rate ±        0-1   activated by that day
    n_at_risk               users in view whose clock runs for at least that long
    ``summary``                   one row a segment; n_users is the sum of the next four
    n_activated             users
    n_competing             users left before
    n_censored              users still waiting at as_of, or when they went out of view, sooner than
                                  the horizon
    n_not_activated         users waited through the whole horizon
    horizon_days            days  where the following are read: the horizon, or the last to which 10
                                  users were followed and still waiting
    activated_rate ±        0-1   activated by then
    p25_days ±, ...         days  by which a quarter, half (median_days ±) and three quarters
                                  (p75_days ±) have activated; NaN: not reached
    rmst_days ±             days  mean time of the horizon spent not activated
    plateau                       flat, still rising, too few to say (see `Group.plateau`)
    further_rate ±          0-1   would activate in another third of the time seen, if the last
                                  third's pace went on
    never_rate ±            0-1   not activated, where flat
    ``contrasts``                 segment against reference, until the shorter horizon_days
    rmst_difference_days ±  days  more (+) or fewer days not activated, with pvalue, qvalue (false
                                  discovery rate, all segments); a segment is named by these
    difference_rate ±       0-1   activated by then: segment minus reference
    risk_ratio ±            x     segment over reference; NaN where nobody is
    hazard_ratio ±          x     of the users still there; above 1: sooner
    logrank_pvalue                of the same users, over the whole of the curves
    ph_pvalue                     whether the ratio changes with time
    ``overall``                   one row, the log-rank test of all segments (statistic, df, pvalue)
    ``adjusted``                  other things equal; empty without ``adjust`` and ``strata``
    covariate, level              compared with ``reference``, another level
    n_users                 users of the level
    hazard_ratio ±          x     as in contrasts, with pvalue, qvalue (over the table), ph_pvalue
    ======================= ===== ==================================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %); NaN below 10 accounts.
    """

    curve: pd.DataFrame
    summary: pd.DataFrame
    contrasts: pd.DataFrame
    overall: pd.DataFrame
    adjusted: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "waits": View("summary", ("segment", "n_users", "n_activated", "horizon_days", *WAITS)),
        "plateau": View("summary", ("segment", "n_users", *ENDED, *LATER)),
        "contrasts": View("contrasts", ("segment", "reference", "horizon_days", *APART)),
        "hazards": View("contrasts", ("segment", "reference", *HAZARDS)),
    }
    main: ClassVar[str] = "summary"
    first: ClassVar[tuple[str, ...]] = (
        *("segment", "n_users", "n_activated", "horizon_days"),
        *interval_columns("activated_rate"),
        *interval_columns("rmst_days"),
        "median_days",
    )


def time_to_activation(
    log: EventLog,
    *,
    start: EventLike,
    activation: EventLike,
    as_of: Any,
    competing: EventLike | None = None,
    censor: EventLike | None = None,
    observed_from: EventLike | None = None,
    by: str | Sequence[str] | None = None,
    horizon: str = "90d",
    reference: str | Sequence[str] | None = None,
    adjust: str | Sequence[str] | None = None,
    strata: str | Sequence[str] | None = None,
) -> Activation:
    """Share of users activated by each day since their start, and the mean time they wait.

    One user, one clock, from the first ``start`` to the first of: an ``activation``, a
    ``competing`` exit, the end of view by ``censor``, ``horizon`` or ``as_of``. Who activated
    before the start is left out.

    Parameters
    ----------
    log : EventLog
        Its accounts (``log.accounts``) widen the intervals.
    start, activation : str, list of str, or Step
        A list means any of its events. The same event as both: its second occurrence.
    as_of : str or Timestamp
        Last observed moment; a bare day means its end, UTC (see `EventLog.as_of`).
    competing, censor : optional
        Event by which users leave; after which they are out of view for a reason that has nothing
        to do with activating, such as a consent withdrawn. At one moment: the activation first.
    observed_from : optional
        Event that brings users into view where that is later than the start (delayed entry).
    by, adjust, strata : str or list of str, optional
        Columns of people or of the start event: cohorts to compare; what else to hold equal; what
        may have a course of its own, without being compared.
    horizon : str
        How far to look, e.g. ``"90d"``.
    reference : str or list of str, optional
        Segment that the others are compared with; several become one. Default: the largest.

    Raises
    ------
    ParameterError
        Events that do not occur or meet, nobody to follow, an unknown reference or column.

    Notes
    -----
    Kaplan-Meier with log-log Greenwood bands, with an exit Aalen-Johansen (`stats.incidence`), as
    far as `stats.supported_until`; quantiles by inverting the band. Exits lose the rest of the
    horizon in rates and means and leave the risk set in ratios and tests. By account: infinitesimal
    jackknife. Two or more segments that can expect fewer than 30 activations become one.

    Examples
    --------
    >>> ask = {"start": "signed_up", "activation": "profile_completed", "as_of": "2026-01-31"}
    >>> time_to_activation(log, **ask, horizon="5d").summary["segment"].tolist()
    ['all']
    """
    asked = {"start": start, "activation": activation, "competing": competing, "censor": censor}
    roles, sentences = clock_roles(log, asked | {"observed_from": observed_from})
    as_timestamp(as_of)  # a log would read None as its last event
    window = as_window(horizon, "horizon")
    by, unit = log.columns(by), resolution(window, log.small)
    labels = _labels(log, by, log.columns(adjust), log.columns(strata))
    counted, outside = count_clocks(log, roles, labels, window, as_of)
    names, reference, pooled = pool(counted, by, named(log.planned_segments, by, reference))
    segment = counted["segment"].replace(names.told)
    ended, n_accounts = number_accounts(counted.assign(segment=segment))
    groups = _groups(ended, clock := Clock(window, unit, n_accounts))
    adjusted, unequal = adjusted_hazards(ended, _covariates(labels), reference)
    waits = narrative.Waits(
        roles={role: step.label for role, step in roles.items()},
        acts=roles["activation"].acts,
        clock=clock,
        until=phrases.day(log.as_of(as_of)),
        groups=groups,
        reference=reference,
        pooled=pooled,
        joined=names.joined,
        left_out=outside,
        summary=pd.DataFrame([_summary(group) for group in groups.values()]),
        contrasts=_contrasts(groups, reference),
        overall=_overall(groups),
        adjusted=adjusted,
        strata=as_columns(strata),
    )
    return Activation(
        curve=pd.concat([_printed(g, window) for g in groups.values()], ignore_index=True),
        summary=waits.summary,
        contrasts=waits.contrasts,
        overall=waits.overall,
        adjusted=adjusted,
        **read_first(waits, " · ".join(by)),
        rule=narrative.activation_rule(waits),
        details=(narrative.activation_finding(waits), *narrative.activation_details(waits)),
        caveats=(*log.caveats(as_of), *sentences, *narrative.activation_caveats(waits), *unequal),
        groups=(_groups_told(waits, by, names),),
    )


def waits_of(
    log: EventLog,
    *,
    start: EventLike,
    activation: EventLike,
    as_of: Any,
    by: str | Sequence[str] | None = None,
) -> pd.DataFrame:
    """`Activation.summary` of 90 days, of all users ("all") and of each segment, by one pass.

    Parameters
    ----------
    log, start, activation, as_of, by
        As `time_to_activation` takes them.

    Returns
    -------
    DataFrame
        A row for all users, then one a segment.
    """
    asked = {"start": start, "activation": activation}
    roles, _ = clock_roles(log, asked | dict.fromkeys(("competing", "censor", "observed_from")))
    window, by = as_window("90d"), log.columns(by)
    counted, _ = count_clocks(log, roles, _labels(log, by, [], []), window, as_of)
    names, *_ = pool(counted, by, named(log.planned_segments, by, None))
    ended, n_accounts = number_accounts(counted)
    clock = Clock(window, resolution(window, log.small), n_accounts)
    groups = [Group.of("all", ended, clock).with_band()]
    if by:
        told = ended["segment"].replace(names.told)
        groups += _groups(ended.assign(segment=told), clock).values()
    return pd.DataFrame([_summary(group) for group in groups])


def _groups_told(waits: narrative.Waits, by: Sequence[str], names: Names) -> Groups:
    """Of whom the tables are: the users whose clocks are counted, by segment."""
    said = [f"{role} {waits.roles[role]}" for role in POPULATION if role in waits.roles]
    population = f"users by {', '.join(said)} up to {waits.until}"
    return Groups(population, " · ".join(by), names.sizes, names.told)


def _labels(
    log: EventLog, by: list[str], adjust: list[str], strata: list[str]
) -> dict[str, list[str]]:
    """Columns of the counts and the columns of people or events that make their words."""
    named = [*by, *adjust, *strata]
    for name in named:
        if named.count(name) > 1:
            raise ParameterError(
                f'adjust, strata: "{name}" is asked for twice; a column is compared (by), held '
                "equal (adjust), or has a course of its own (strata)."
            )
    held = {f"adjust {name}": [name] for name in adjust}
    others = {"stratum": strata, "account": log.accounts}
    return {"segment": by} | held | {name: of for name, of in others.items() if of}


def _covariates(labels: dict[str, list[str]]) -> dict[str, str]:
    """What is held equal, name -> column of the counts; nothing where it was not asked for."""
    held = [column for column in labels if column.startswith("adjust ")]
    if not held and "stratum" not in labels:
        return {}
    compared = ["segment", *held] if labels["segment"] else held
    return {" · ".join(labels[column]): column for column in compared}


def _groups(ended: pd.DataFrame, clock: Clock) -> dict[str, Group]:
    """The segments by label, the largest first."""
    groups = [Group.of(label, part, clock).with_band() for label, part in ended.groupby("segment")]
    return {g.label: g for g in sorted(groups, key=lambda g: (-g.n_users, g.label))}


def _summary(group: Group) -> dict[str, Any]:
    """Row of the summary."""
    mean, se = group.mean(group.last)
    z = critical([group])
    low, high = mean - z * se, mean + z * se
    if se == 0 and group.last > 0:
        low, high = bounds(mean, se, group.rare(group.last), z, group.last)
    past = group.steps["time"] <= group.last
    seen = {column: values[past] for column, values in group.steps.items()}
    bands = "rate", "rate_ci_upper", "rate_ci_lower"  # the upper one gets there first
    row = {
        "segment": group.label,
        "n_users": group.n_users,
        **{f"n_{end}": int(group.n[end]) for end in ENDINGS},
        "horizon_days": group.last,
        **interval_columns("activated_rate", *group.rate(group.last)),
    }
    for name, share in QUARTILES.items():
        row |= interval_columns(name, *(stats.quantile(seen, share, band) for band in bands))
    return row | interval_columns("rmst_days", mean, low, high) | group.plateau()


def _printed(group: Group, horizon: int) -> pd.DataFrame:
    """Rows of the curve, as far as it may be read."""
    time = group.steps["time"]
    exact = time[time <= group.last]
    grid = np.arange(GRID + 1) * (horizon / GRID) / DAY_US
    days = np.unique(np.r_[grid, group.last, exact if len(exact) <= GRID else []])
    days = days[days <= group.last]
    row = np.searchsorted(time, days, side="right")
    before = interval_columns("rate", 0.0)  # values before the first step
    rates = {f"activated_{c}": np.r_[v, group.steps[c]][row] for c, v in before.items()}
    n_at_risk = at_risk(group.steps, days)
    return pd.DataFrame({"segment": group.label, "days": days, **rates, "n_at_risk": n_at_risk})


def _contrasts(groups: dict[str, Group], reference: str) -> pd.DataFrame:
    """All segments against the reference."""
    everybody = sum(group.n["activated"] for group in groups.values())
    rate = everybody / sum(group.n_users for group in groups.values())
    others = [group for label, group in groups.items() if label != reference]
    rows = [_contrast(group, groups[reference], rate) for group in others]
    table = pd.DataFrame(rows, columns=CONTRAST_COLUMNS)
    table["qvalue"] = stats.fdr(table["pvalue"])
    return table


def _contrast(group: Group, reference: Group, rate: float) -> dict[str, Any]:
    """Row of the contrasts; nothing but its names for a segment too small to be compared."""
    row = {"segment": group.label, "reference": reference.label}
    pair, last = (group, reference), min(group.last, reference.last)
    if expected(group.n["activated"], group.n_users, rate) < FEW_ACTIVATIONS or not last > 0:
        return row
    *days, pvalue = compare_days([pair], last)
    *shares, _ = compare_shares([pair], last)
    return {
        **row,
        "horizon_days": last,
        **interval_columns("rmst_difference_days", *days),
        "pvalue": pvalue,
        **interval_columns("difference_rate", *shares),
        **interval_columns("risk_ratio", *risk_ratio([pair], last)),
        **compare_hazards([(group.steps, reference.steps)], [pair]),
    }


def _overall(groups: dict[str, Group]) -> pd.DataFrame:
    """The log-rank test of all segments that have an interval; no row where there are not two."""
    known = [group for group in groups.values() if not np.isnan(critical([group]))]
    several = len(known) > 1 and any(group.n["activated"] for group in known)
    return pd.DataFrame([logrank(known)] if several else [], columns=LogRank._fields)
