"""What separates those who go on: segments, and events on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.cells import View
from mctlib.contract import ParameterError, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import count_accounts
from mctlib.eventlog.steps import Step, check_exit, window_of
from mctlib.funnel import narrative_change as narrative
from mctlib.funnel.accounts import account_share, by_account
from mctlib.funnel.driver_counts import Rule, count_all_events, count_segments
from mctlib.phrases import day, told_together
from mctlib.results import MIN_USERS, Groups, Result, together

SHOWN: tuple[str, ...] = ("driver", "n_with", "with_rate ±", "n_without", "without_rate ±")
SHOWN += ("adjusted_difference_rate ±", "risk_ratio ±", "qvalue")


@dataclass(frozen=True, kw_only=True, repr=False)
class Drivers(Result):
    """Answer of `drop_off_drivers`.

    ``drivers``: one row a driver, the surest first.

    ========================== ======= =============================================================
    column                     unit    meaning
    ========================== ======= =============================================================
    kind, driver                       "segment": a column's value; "event": one done on the way
    n_with, n_without                  users at the step before, with the driver and without it
    with_rate ±, without_rate ± 0-1    share of them who go on
    difference_rate ±          0-1     with_rate less without_rate (Newcombe)
    adjusted_difference_rate ± 0-1     the same among like users (Mantel-Haenszel over strata)
    risk_ratio ±               x       with_rate over without_rate among like users
    pvalue                             Cochran-Mantel-Haenszel
    design_effect              x       of the adjusted difference; NaN where nobody sits in accounts
    qvalue                             Benjamini-Hochberg over all rows
    differs                    boolean may be named: qvalue is at most .05, and the intervals of
                                       adjusted difference and ratio leave out no effect
    sign_differs               boolean crude and adjusted difference lie on opposite sides of 0
    n_accounts                         of the users at the step before; NaN where nothing says so
    ========================== ======= =============================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %); NaN, as the p-value is, where one side makes
    fewer than 10 clusters (`stats.count_clusters`).
    """

    drivers: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {"drivers": View("drivers", SHOWN)}
    main: ClassVar[str] = "drivers"


def drop_off_drivers(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str = "",
    as_of: Any,
    step: int | None = None,
    segments: str | Sequence[str] = (),
    events: Sequence[Any] | None = None,
    adjust: str | Sequence[str] = (),
    competing: Any = None,
) -> Drivers:
    """Compare users who reach a step with those who stop before it, by segments and by events.

    Population: first entries whose window has closed by ``as_of``, at the step before. A segment's
    users are compared with all others of them. An event is compared by landmark, never by who ever
    did it (`count_events`).

    Parameters
    ----------
    log : EventLog
        Events, and perhaps accounts (``log.accounts``), which widen intervals and tests.
    steps, window, as_of, competing
        See `diagnose_funnel`; steps in order.
    step : int, optional
        Number of the step to be reached, from 2. Default: what the smallest share goes on to.
    segments, adjust : str or list of str
        Columns, read at entry: whose values are drivers, and within whose values like is compared
        with like.
    events : list, optional
        Names, lists of names or Steps. Default: every event of the log. Those that hold an event of
        the funnel are left out, for they say what they should explain.

    Returns
    -------
    Drivers
        ``drivers`` (columns: see `Drivers`). A driver with fewer than 30 users or 2 % of the
        population on either side is not tested and not listed; of a column with two values one is.

    Raises
    ------
    ParameterError
        A step that is none, an unknown column, no event that occurs.

    Examples
    --------
    >>> steps = ["signed_up", "profile_completed"]
    >>> found = drop_off_drivers(log, steps, window="5d", as_of="2026-01-31", segments="platform")
    >>> list(found.drivers)[:4]
    ['kind', 'driver', 'n_with', 'n_without']
    """
    leave = None if competing is None else log.step(competing, "competing")
    matchers = log.steps(steps)
    rule = Rule(matchers, window_of(matchers, window), log.columns(adjust), log.accounts, leave)
    check_exit(rule.steps, leave)
    columns = list(dict.fromkeys(log.columns(segments)))
    asked = [log.step(e) for e in (log.event_names if events is None else events)]
    _refuse(log, rule, step, columns, asked)
    kernel = partial(count_segments, rule=rule, columns=columns)
    dims = list(dict.fromkeys([*columns, *rule.adjust, *rule.accounts]))
    tables = log.reduce(kernel, events=rule.events, by=dims, as_of=as_of)
    of = _groups(tables["entered"], f"users with {rule.label(1)} up to {day(log.as_of(as_of))}")
    counts, in_accounts = (_told(tables[name], of) for name in ("counts", "accounts"))
    groups = tuple(map(_labelled, of))
    sizes = counts[counts["column"] == ""].groupby("step")[["n_users", "n_on"]].sum()
    missing = [f"The {s}" for s in log.missing_events([*rule.events, *asked])]
    said = (*log.caveats(as_of), *missing, *told_together(_drivers_told(groups), MIN_USERS))
    if sizes.empty or (step is not None and step not in sizes.index):
        wanted = 2 if sizes.empty or step is None else step
        finding = narrative.no_drivers_finding(rule, wanted, log.as_of(as_of))
        nothing = surest_first([], np.nan)
        return Drivers(drivers=nothing, finding=finding, caveats=said, groups=groups)
    step = step or int((sizes["n_on"] / sizes["n_users"]).idxmin())
    here = counts[counts["step"] == step]
    accounts = dict(list(in_accounts.query("step == @step").groupby("column")))
    everyone = accounts.get("", in_accounts)
    n_accounts = count_accounts(everyone)
    compared = [
        _compare_column(here[here["column"] == column], accounts.get(column), column, n_accounts)
        for column in columns
    ]
    labels, n_rare, on_the_way = count_all_events(log, asked, rule, step, as_of)
    n_at_risk, left_out = 0, []
    if labels:
        done, at_risk = on_the_way["done"], on_the_way["at_risk"]
        compared.append(compare("event", done, at_risk, labels, n_accounts))
        at_landmark = on_the_way["at_landmark"].iloc[0]
        n_at_risk = at_landmark["n_at_risk"]
        left_out = narrative.events_left_out(at_landmark, rule, step)
    table, n_small = surest_first([t for t, _ in compared], n_accounts), sum(n for _, n in compared)
    goes = _share(sizes["n_on"][step], sizes["n_users"][step], everyone)
    return Drivers(
        drivers=table,
        finding=narrative.drivers_finding(table, rule, step),
        details=(narrative.drivers_details(table, goes, rule, step),),
        rule=narrative.drivers_rule(goes, rule, step, n_at_risk),
        caveats=(*said, *narrative.drivers_caveats(table, goes, n_rare + n_small, left_out)),
        groups=groups,
    )


def _groups(entered: pd.DataFrame, population: str) -> list[Groups]:
    """All who entered, and by the values of each column."""
    groups = []
    for column, rows in entered.groupby("column"):
        sizes = rows.set_index("driver")["n_users"]
        groups.append(
            Groups(population, str(column), sizes, together(sizes, str(column)), "driver")
        )
    return groups


def _drivers_told(groups: Sequence[Groups]) -> dict[str, str]:
    """Driver -> the name under which it is told."""
    return {f"{g.key}: {value}": name for g in groups for value, name in g.names.items()}


def _labelled(groups: Groups) -> Groups:
    """Under the names of drivers."""
    told = {
        value: f"{groups.key}: {groups.names.get(value, value)}" for value in groups.sizes.index
    }
    return replace(groups, names=told)


def _told(counts: pd.DataFrame, groups: Sequence[Groups]) -> pd.DataFrame:
    """The counts under the names of values that are told together."""
    for each in groups:
        if each.names:
            told = counts["driver"].mask(
                counts["column"] == each.key, counts["driver"].replace(each.names)
            )
            counts = add_up([counts.assign(driver=told)])
    return counts


def _refuse(
    log: EventLog, rule: Rule, step: int | None, columns: Sequence[str], asked: Sequence[Step]
) -> None:
    """Raise ParameterError where something is asked for that is not there."""
    for column in dict.fromkeys([*columns, *rule.adjust]):
        log.segments(column)
    n_steps = len(rule.steps)
    if step is not None and not 2 <= step <= n_steps:
        raise ParameterError(
            f"step: {step} is not a step to be reached; with {n_steps} steps it is one of 2 to "
            f"{n_steps}."
        )
    names = {name for e in asked for name in e.names}
    if names and not columns and names.isdisjoint(log.event_names):
        raise ParameterError(f"events: {log.missing_events(asked)[0]}")


class Sides(NamedTuple):
    """Users with a driver and without it (0): who goes on (k) of all (n), bucket by bucket."""

    k: stats.FloatArray
    n: stats.FloatArray
    k_0: stats.FloatArray
    n_0: stats.FloatArray

    def sum(self, axis: int) -> Sides:
        """Added up over buckets (0) or strata (-1)."""
        return Sides(*(a.sum(axis=axis) for a in self))

    def design(self, n_accounts: float) -> stats.Design | None:
        """What accounts do to the difference over the strata (the last axis)."""
        if np.isnan(n_accounts):
            return None
        return stats.difference_design(*self, n_accounts=n_accounts)


def _dense(
    cells: pd.DataFrame, drivers: Sequence[str], strata: Sequence[str]
) -> tuple[stats.FloatArray, stats.FloatArray]:
    """n_on and n_users of the drivers (buckets, drivers, strata)."""
    cells = cells[cells["driver"].isin(drivers)]
    at = (
        cells["bucket"],
        pd.Index(drivers).get_indexer(cells["driver"]),
        pd.Index(strata).get_indexer(cells["stratum"]),
    )
    shape = (stats.N_BUCKETS, len(drivers), len(strata))
    k, n = (stats.dense(cells[name], *at, shape=shape) for name in ("n_on", "n_users"))
    return k, n


def _share(k: int, n: int, accounts: pd.DataFrame) -> dict[str, float]:
    """Who goes on of all users: n_users, on_rate with its interval, n_accounts, design_effect."""
    n_accounts = count_accounts(accounts)
    found = stats.ClusterRate(*stats.wilson(k, n), np.array(np.nan), np.array(np.nan))
    if len(accounts):
        found = account_share(by_account(accounts, "n_on"), by_account(accounts, "n_users"))
    share = interval_columns("on_rate", k / n, found.low, found.high)
    return {
        "n_users": n,
        **share,
        "n_accounts": n_accounts,
        "design_effect": found.design_effect,
    }


def _compare_column(
    cells: pd.DataFrame, accounts: pd.DataFrame | None, column: str, n_accounts: float
) -> tuple[pd.DataFrame, int]:
    """`compare` of a column's values; of two that of the smaller, for the other says the same.

    Where users sit in accounts, the rates' own intervals are by these, as in `diagnose_funnel`.
    """
    keys = ["stratum", "bucket"]
    everyone = cells.groupby(keys, as_index=False)[["n_users", "n_on"]].sum().assign(driver="all")
    size = cells.groupby("driver")["n_users"].sum()
    values = [size.idxmin()] if len(size) == 2 else list(size.index)
    tested, n_small = compare("segment", cells, everyone, values, n_accounts)
    if accounts is not None:
        tested = tested.assign(**_account_rates(accounts, tested))
    return tested.assign(driver=[f"{column}: {value}" for value in tested["driver"]]), n_small


def _account_rates(accounts: pd.DataFrame, tested: pd.DataFrame) -> dict[str, Any]:
    """The rates with and without, as tested, with their ends by account."""
    drivers = pd.Index(accounts["driver"].unique())
    place = (drivers.get_indexer(accounts["driver"]), len(drivers))
    k, n = (by_account(accounts, name, place) for name in ("n_on", "n_users"))
    k_all, n_all = k.sum(axis=1, keepdims=True), n.sum(axis=1, keepdims=True)
    ends: dict[str, Any] = {}
    for name, on, of in (("with_rate", k, n), ("without_rate", k_all - k, n_all - n)):
        shares = [account_share(on[:, i], of[:, i]) for i in drivers.get_indexer(tested["driver"])]
        low, high = (np.array([s.low for s in shares]), np.array([s.high for s in shares]))
        ends |= interval_columns(name, tested[name], low, high)
    return ends


def compare(
    kind: str,
    cells: pd.DataFrame,
    everyone: pd.DataFrame,
    drivers: Sequence[str],
    n_accounts: float,
) -> tuple[pd.DataFrame, int]:
    """Rows of `Drivers.drivers` but for what `surest_first` adds; how many drivers are too small.

    Where users sit in accounts, every interval and test is by hash bucket, where all users of an
    account are together: the rates by `stats.cluster_rate`, the differences and the test with the
    design effect of `stats.difference_design`.

    Parameters
    ----------
    cells : DataFrame
        driver, stratum, bucket, n_users, n_on: users with each driver.
    everyone : DataFrame
        The same of all users, whose driver is "all".
    """
    size = cells.groupby("driver")["n_users"].sum().reindex(drivers, fill_value=0)
    total = everyone["n_users"].sum()
    large = np.minimum(size, total - size) >= max(stats.MIN_USERS, stats.MIN_SHARE * total)
    tested, strata = list(size.index[large]), everyone["stratum"].unique()
    k, n = _dense(cells, tested, strata)
    k_all, n_all = _dense(everyone, ["all"], strata)
    sides = Sides(k, n, k_all - k, n_all - n)
    design = sides.design(n_accounts)
    *adjusted, pvalue = stats.mantel_haenszel(*sides.sum(0), design=design)
    ratio = stats.risk_ratio(*sides.sum(0), design=design)

    crude = sides.sum(-1)  # buckets, drivers
    with_low, with_high, _ = stats.share_interval(crude.k, crude.n, n_accounts=n_accounts)
    low, high, _ = stats.share_interval(crude.k_0, crude.n_0, n_accounts=n_accounts)
    one_stratum = Sides(*(a[..., None] for a in crude))
    k, n, k_0, n_0 = crude.sum(0)
    ends = stats.newcombe(k, n, k_0, n_0, design=one_stratum.design(n_accounts))
    if len(strata) == 1:  # one difference has one interval
        adjusted[1:] = ends
    table = pd.DataFrame(
        {
            "kind": kind,
            "driver": tested,
            "n_with": n.astype(int),
            "n_without": n_0.astype(int),
            **interval_columns("with_rate", k / n, with_low, with_high),
            **interval_columns("without_rate", k_0 / n_0, low, high),
            **interval_columns("difference_rate", k / n - k_0 / n_0, *ends),
            **interval_columns("adjusted_difference_rate", *adjusted),
            **interval_columns("risk_ratio", *ratio),
            "pvalue": pvalue,
            "design_effect": design.effect if design else np.nan,
        }
    )
    return table, int((~large).sum())


NOBODY = pd.DataFrame(columns=["driver", "stratum", "bucket", "n_users", "n_on"]).astype(
    {"bucket": int, "n_users": int, "n_on": int}
)


def surest_first(tested: Sequence[pd.DataFrame], n_accounts: float) -> pd.DataFrame:
    """`Drivers.drivers` of the rows of `compare`."""
    nothing = compare("segment", NOBODY, NOBODY, [], np.nan)[0]
    table = pd.concat(tested, ignore_index=True) if tested else nothing
    # a difference of 0 but for rounding has no side
    opposite = table["difference_rate"] * table["adjusted_difference_rate"] < -1e-12
    qvalue = stats.fdr(table["pvalue"])
    ends, ends_of_ratio = (
        (table[f"{name}_ci_lower"], table[f"{name}_ci_upper"])
        for name in ("adjusted_difference_rate", "risk_ratio")
    )
    # there is no ratio to a share of 0
    apart = table["risk_ratio_ci_lower"].isna() | stats.differs(*ends_of_ratio, qvalue, same=1)
    table = table.assign(
        qvalue=qvalue,
        differs=apart & stats.differs(*ends, qvalue),
        sign_differs=opposite,
        n_accounts=n_accounts,
    )
    return table.sort_values("pvalue", kind="stable", ignore_index=True)
