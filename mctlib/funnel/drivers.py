"""Which segments, and which events on the way, separate those who go on from those who stop?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import MISSING, ParameterError, as_columns, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import NOWHERE, Journeys, first_rows
from mctlib.eventlog.steps import MATCHERS, as_step
from mctlib.eventlog.walk import FunnelWalk, walk_funnel

FALSE_SHARE = 0.1  # of the drivers that are named, at most this share is expected to be chance
ACCOUNTS = "(accounts)"  # stands where a column's name does, in counts by account


@dataclass(frozen=True)
class Drivers:
    """What `drop_off_drivers` found; the columns of ``drivers`` are described there."""

    drivers: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def drop_off_drivers(
    log: EventLog,
    steps: Sequence[Any],
    *,
    window: str,
    as_of: Any,
    step: int | None = None,
    segments: str | Sequence[str] = (),
    events: Sequence[Any] | None = None,
    landmark: str | None = None,
    adjust: str | Sequence[str] = (),
) -> Drivers:
    """What separates those who reach a step from those who stop before it: values of ``segments`` (columns, read at entry) and ``events`` on the way.

    ``steps``, ``window``, ``as_of``: see `diagnose_funnel`; steps in order. ``step``: number of the step to be reached, from 2 (None: the one that the
    smallest share goes on to). ``events``: names, lists of names or Steps (None: every event of the log); those that hold an event of the funnel are left
    out, for they say what they should explain. ``adjust``: columns, read at entry, whose values are compared like with like.

    Population: first entries whose window has closed by ``as_of``, at the step before. A segment's users are compared with all others of them. An event is
    compared by landmark (Anderson, Cain & Gelber 1983), never by who ever did it: of those not gone on ``landmark`` after the step before (None: a tenth of
    the window) and with time left, who did it between entry and landmark, and who goes on later within the window? Strata are the values of ``adjust`` (for a
    segment without its own column) and, for events, the tenth of the window in which the step before was reached: who took longer has had more time to do anything,
    and has less left to go on.

    ``.drivers``, the surest first: kind (segment, event), driver, n_with, n_without, with_rate and without_rate (share who go on, Wilson intervals),
    difference_rate (Newcombe), adjusted_difference_rate (Mantel-Haenszel over the strata), pvalue (Cochran-Mantel-Haenszel), design_effect (of the
    adjusted difference), qvalue (Benjamini-Hochberg over all rows), sign_differs (crude and adjusted difference on opposite sides of 0), n_accounts (of the
    users at the step before). A driver with fewer than 30 users or 2 % of the population on either side is not tested and not listed; of a column with two values
    one is. Where no window has closed yet, or nothing can be compared, there is no row, and the finding says so. Raises ParameterError.

    Where users sit in accounts (`log.accounts`), every interval and test is by hash bucket, where all users of an account are together: the rates by
    `stats.cluster_rate`, the differences and the test with the design effect of `stats.difference_design`. `diagnose_funnel` goes by the accounts themselves, so
    one share may differ a little between the two in its interval. Where one side makes fewer than 10 clusters (`stats.count_clusters`), there is neither interval nor test.
    """
    matchers = log.steps(steps)
    columns, adjust = as_columns(segments), as_columns(adjust)
    for column in dict.fromkeys([*columns, *adjust]):
        log.check_column(column)
    window_us, end, n_steps = as_window(window), log.as_of(as_of), len(matchers)
    landmark_us = as_window(landmark, "landmark") if landmark is not None else window_us // 10
    if landmark_us >= window_us:
        raise ParameterError(
            f'landmark: "{landmark}" leaves no time in a window of {phrases.window(window_us)} to go on; it must be shorter.'
        )
    if step is not None and step not in range(2, n_steps + 1):
        raise ParameterError(
            f"step: {step} is not a step to be reached; with {n_steps} steps it is one of 2 to {n_steps}."
        )
    counts = log.reduce(
        partial(
            _by_segment,
            n_steps=n_steps,
            window=window_us,
            columns=columns,
            adjust=adjust,
            accounts=log.accounts,
        ),
        events=matchers,
        by=list(dict.fromkeys([*columns, *adjust, *log.accounts])),
        as_of=as_of,
    )
    at = counts[counts["column"] == ""].groupby("step")[["n_users", "n_on"]].sum()
    own = {name for m in matchers for name in m.names}
    asked = {e.label: e for e in map(as_step, log.event_names if events is None else events)}
    wanted = {name for e in asked.values() for name in e.names}
    if wanted and not columns and wanted.isdisjoint(log.event_names):
        raise ParameterError(f"events: {log.missing_events(asked.values())[0]}")
    caveats = [f"The {s}" for s in log.missing_events([*matchers, *asked.values()])]
    if at.empty or step is not None and step not in at.index:
        where = matchers[0].label if at.empty else matchers[step - 2].label
        return Drivers(
            _table([], np.nan),
            f"No user at {where} has had the whole window of {phrases.window(window_us)} by {phrases.day(end)}, so nothing can be compared yet.",
            tuple(caveats),
        )
    step = step or int((at["n_on"] / at["n_users"]).idxmin())

    others = {
        label: e
        for label, e in asked.items()
        if e.names and not own & set(e.names) and all(m.names for m in matchers)
    }
    known = log.describe().set_index("event")["n_users"]
    frequent = {
        label: e
        for label, e in others.items()
        if sum(known.get(name, 0) for name in e.names) >= stats.MIN_USERS
    }
    rule = {
        "n_steps": n_steps,
        "step": step,
        "window": window_us,
        "landmark": landmark_us,
        "adjust": adjust,
        "by_bucket": bool(log.accounts),
    }
    blocks = [
        list(frequent)[first : first + MATCHERS - n_steps]
        for first in range(0, len(frequent), MATCHERS - n_steps)
    ]
    exposed = [
        log.reduce(
            partial(_by_event, labels=block, **rule),
            events=[*matchers, *map(frequent.get, block)],
            by=adjust,
            as_of=as_of,
        )
        for block in blocks
    ]
    counts = counts[counts["step"] == step]
    n_accounts = (
        (counts.loc[counts["column"] == ACCOUNTS, "driver"] != MISSING).sum()
        if log.accounts
        else np.nan
    )
    effects = [
        _of_column(counts[counts["column"] == column], column, n_accounts) for column in columns
    ]
    if exposed:
        everyone, sooner, late = (
            exposed[0][exposed[0]["kind"] == kind] for kind in ("all", "sooner", "late")
        )  # the same in every block
        done = pd.concat([part[part["kind"] == "event"] for part in exposed])
        effects.append(_effects("event", done, everyone, list(frequent), n_accounts))
    table = _table([tested for tested, _ in effects], n_accounts)
    n_small = len(others) - len(frequent) + sum(n for _, n in effects)

    before, after = matchers[step - 2].label, matchers[step - 1].label
    caveats.append(
        f"Drivers tested at once: {table['pvalue'].notna().sum()}. Of those that stand out, at most {100 * FALSE_SHARE:g} % are expected to be chance."
    )
    if n_small:
        caveats.append(
            f"Not tested, because fewer than {stats.MIN_USERS} users or {100 * stats.MIN_SHARE:g} % of them stand on one side: {n_small} driver{'' if n_small == 1 else 's'}."
        )
    if exposed:
        caveats.append(
            f"The funnel's own events are no drivers and were left out: {', '.join(sorted(own))}."
        )
        caveats.append(
            f"Left out of the comparison of events: {phrases.users(sooner['n_users'].sum())} who had gone on within {phrases.window(landmark_us)} of {before}, and "
            f"{phrases.users(late['n_users'].sum())} whose window ended before that."
        )
    caveats += _warnings(table)
    goes = _share(counts[counts["column"] == ""], n_accounts)
    few = table.loc[
        table[["with_rate_ci_lower", "without_rate_ci_lower"]].isna().any(axis=1), "driver"
    ]
    if np.isnan(goes["on_ci_lower"]):
        caveats.append(phrases.too_few_accounts(f" ({n_accounts})"))
    elif len(few):
        caveats.append(
            f"Without an interval and a test, because one side sits in too few accounts: {', '.join(few)}."
        )
    caveats.append("That a driver goes together with going on does not show that it causes it.")
    at_risk = int(everyone["n_users"].sum()) if exposed else 0
    alike = [f"the same {' and '.join(adjust)}"] * bool(adjust) + [
        f"for events the same tenth of the window at {before}"
    ] * (at_risk > 0 and step > 2)
    rule = _rule(
        window_us,
        landmark_us,
        alike,
        before,
        at_risk,
        phrases.in_accounts(n_accounts, goes["design_effect"]),
    )
    return Drivers(table, _finding(table, goes, before, after) + rule, tuple(caveats))


# ------------------------------------------------------------------------------------------------------------------------- counting


def _first_attempts(j: Journeys, n_steps: int, window: int) -> tuple[FunnelWalk, np.ndarray]:
    """First attempts, and the lines of those whose window has closed."""
    walk = walk_funnel(j, n_steps, window=window, first_only=True)
    return walk, np.flatnonzero(walk.journeys.time[walk.entry] + window <= j.as_of)


def _buckets(walk: FunnelWalk) -> np.ndarray:
    """Bucket of each attempt's user."""
    return walk.journeys.bucket_of(walk.user).astype(np.int64)


def _cells(
    code: np.ndarray, on: np.ndarray, bucket: np.ndarray | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The codes that occur, and their n_users and n_on; where buckets are given, of each bucket."""
    code = code if bucket is None else code * stats.N_BUCKETS + bucket
    n = np.bincount(code)
    found = np.flatnonzero(n)
    counts = {"n_users": n[found], "n_on": np.bincount(code, weights=on)[found].astype(int)}
    if bucket is None:
        return found, counts
    code, bucket = np.divmod(found, stats.N_BUCKETS)
    return code, {"bucket": bucket} | counts


def _by_segment(
    j: Journeys,
    *,
    n_steps: int,
    window: int,
    columns: Sequence[str],
    adjust: Sequence[str],
    accounts: Sequence[str],
) -> pd.DataFrame:
    """step, column ("" for all users), driver (value), stratum -> n_users at the step before, n_on who reach it; of first entries with a closed window.

    Where users sit in ``accounts``: by bucket too, and rows of the column ACCOUNTS, whose drivers are the accounts.
    """
    walk, closed = _first_attempts(j, n_steps, window)
    bucket, parts = _buckets(walk) if accounts else None, []
    for k in range(1, n_steps):
        lines = closed[walk.rows[closed, k - 1] >= 0]
        entry, on = walk.entry[lines], walk.rows[lines, k] >= 0
        for column in ("", *columns):
            value, values = walk.journeys.segments(entry, [column] if column else [])
            stratum, strata = walk.journeys.segments(
                entry, [a for a in adjust if column not in ("", a)]
            )
            found, counts = _cells(
                value * max(len(strata), 1) + stratum,
                on,
                bucket if bucket is None else bucket[lines],
            )
            value, stratum = np.divmod(found, max(len(strata), 1))
            parts.append(
                pd.DataFrame(
                    {
                        "step": k + 1,
                        "column": column,
                        "driver": values[value],
                        "stratum": strata[stratum],
                        **counts,
                    }
                )
            )
        if accounts:
            account, names = walk.journeys.segments(entry, accounts)
            found, counts = _cells(account, on, None)
            parts.append(
                pd.DataFrame(
                    {
                        "step": k + 1,
                        "column": ACCOUNTS,
                        "driver": names[found],
                        "stratum": "",
                        "bucket": 0,
                        **counts,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def _by_event(
    j: Journeys,
    *,
    n_steps: int,
    step: int,
    labels: Sequence[str],
    window: int,
    landmark: int,
    adjust: Sequence[str],
    by_bucket: bool = False,
) -> pd.DataFrame:
    """kind, driver, stratum (``by_bucket``: and bucket) -> n_users, n_on; of first entries with a closed window at the step before.

    kind "all": at risk at the landmark · "event": those of them who did an event (driver) between entry and landmark · "sooner", "late": not at risk, for they
    had gone on, or had no time left. The matchers after the steps are the events, ``labels`` their names.
    """
    walk, closed = _first_attempts(j, n_steps, window)
    time, closed = walk.journeys.time, closed[walk.rows[closed, step - 2] >= 0]
    start, reached, row = (
        time[walk.entry[closed]],
        time[walk.rows[closed, step - 2]],
        walk.rows[closed, step - 1],
    )
    mark, on = reached + landmark, row >= 0
    sooner = on & (time[row] <= mark)
    late = ~sooner & (mark >= start + window)
    risk = ~sooner & ~late
    start, mark, reached, on = (a[risk] for a in (start, mark, reached, on))
    bucket = _buckets(walk)[closed[risk]] if by_bucket else None
    stratum, strata = walk.journeys.segments(walk.entry[closed[risk]], adjust)
    stratum, strata = (
        stratum * 10 + (reached - start) * 10 // window,
        [f"{name} · tenth {t + 1}" for name in strata for t in range(10)],
    )
    strata = np.array(strata, object)

    user = np.r_[walk.user[closed[risk]], NOWHERE]
    at = np.searchsorted(user[:-1], j.user)
    rows = np.flatnonzero((user[at] == j.user) & (j.mask >= j.mask.dtype.type(1 << n_steps)))
    rows = rows[(j.time[rows] >= start[at[rows]]) & (j.time[rows] <= mark[at[rows]])]
    did, each = np.zeros(len(on), j.mask.dtype), first_rows(j.user[rows])
    if len(rows):
        did[at[rows[each]]] = np.bitwise_or.reduceat(j.mask[rows], each)
    parts = [
        pd.DataFrame(
            {
                "kind": ["sooner", "late"],
                "driver": "",
                "stratum": "",
                **({"bucket": 0} if by_bucket else {}),
                "n_users": [sooner.sum(), late.sum()],
                "n_on": 0,
            }
        )
    ]
    for bit, label in enumerate(["", *labels], start=n_steps - 1):
        who = did & did.dtype.type(1 << bit) > 0 if label else np.ones(len(on), bool)
        found, counts = _cells(stratum[who], on[who], bucket[who] if by_bucket else None)
        parts.append(
            pd.DataFrame(
                {
                    "kind": "event" if label else "all",
                    "driver": label,
                    "stratum": strata[found],
                    **counts,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


# ------------------------------------------------------------------------------------------------------------------ effects and words


def _by_bucket(cells: pd.DataFrame, drivers: Sequence[str], strata: Sequence[str]) -> np.ndarray:
    """n_users and n_on of the drivers, (2, buckets, drivers, strata); one bucket where they are not counted by bucket."""
    cells, clustered = cells[cells["driver"].isin(drivers)], "bucket" in cells
    out = np.zeros((2, stats.N_BUCKETS if clustered else 1, len(drivers), len(strata)))
    out[
        :,
        cells["bucket"] if clustered else 0,
        pd.Index(drivers).get_indexer(cells["driver"]),
        pd.Index(strata).get_indexer(cells["stratum"]),
    ] = cells[["n_users", "n_on"]].to_numpy().T
    return out


def _share(cells: pd.DataFrame, n_accounts: float) -> dict[str, float]:
    """Who goes on of all: n_users, on (the share) and its interval, design_effect."""
    n, k = _by_bucket(cells, ["all"], ["all"])[..., 0, 0]
    low, high, effect = stats.share_interval(k, n, n_accounts=n_accounts)
    return {
        "n_users": n.sum(),
        "on": k.sum() / n.sum(),
        "on_ci_lower": low,
        "on_ci_upper": high,
        "design_effect": effect,
    }


def _of_column(cells: pd.DataFrame, column: str, n_accounts: float) -> tuple[pd.DataFrame, int]:
    """The effects of a column's values; of two values that of the smaller one, for the other says the same."""
    everyone = (
        cells.groupby([c for c in ("stratum", "bucket") if c in cells], as_index=False)[
            ["n_users", "n_on"]
        ]
        .sum()
        .assign(driver="")
    )
    size = cells.groupby("driver")["n_users"].sum()
    tested, n_small = _effects(
        "segment",
        cells,
        everyone,
        [size.idxmin()] if len(size) == 2 else list(size.index),
        n_accounts,
    )
    return tested.assign(driver=[f"{column}: {value}" for value in tested["driver"]]), n_small


def _effects(
    kind: str,
    cells: pd.DataFrame,
    everyone: pd.DataFrame,
    drivers: Sequence[str],
    n_accounts: float,
) -> tuple[pd.DataFrame, int]:
    """The rows of `Drivers.drivers` without what `_table` adds, and the number of drivers with too few users on one side."""
    size, total = (
        cells.groupby("driver")["n_users"].sum().reindex(drivers, fill_value=0),
        everyone["n_users"].sum(),
    )
    large = np.minimum(size, total - size) >= max(stats.MIN_USERS, stats.MIN_SHARE * total)
    tested, strata, clustered = (
        list(size.index[large]),
        everyone["stratum"].unique(),
        not np.isnan(n_accounts),
    )
    n, k = _by_bucket(cells, tested, strata)
    n_0, k_0 = _by_bucket(everyone, [""], strata) - (n, k)
    of_all = lambda a: a.sum(axis=0)  # noqa: E731
    design = stats.difference_design(k, n, k_0, n_0, n_accounts=n_accounts) if clustered else None
    *adjusted, pvalue = stats.mantel_haenszel(*map(of_all, (k, n, k_0, n_0)), design=design)
    n, k, n_0, k_0 = (a.sum(axis=-1) for a in (n, k, n_0, k_0))
    crude = (
        stats.difference_design(*(a[..., None] for a in (k, n, k_0, n_0)), n_accounts=n_accounts)
        if clustered
        else None
    )
    (*with_interval, _), (*without_interval, _) = (
        stats.share_interval(*sides, n_accounts=n_accounts) for sides in ((k, n), (k_0, n_0))
    )
    n, k, n_0, k_0 = map(of_all, (n, k, n_0, k_0))
    estimates = {
        "with_rate": (k / n, *with_interval),
        "without_rate": (k_0 / n_0, *without_interval),
        "difference_rate": (k / n - k_0 / n_0, *stats.newcombe(k, n, k_0, n_0, design=crude)),
        "adjusted_difference_rate": adjusted,
    }
    columns = {
        f"{name}{end}": values
        for name, three in estimates.items()
        for end, values in zip(("", "_ci_lower", "_ci_upper"), three)
    }
    return pd.DataFrame(
        {
            "kind": kind,
            "driver": tested,
            "n_with": n.astype(int),
            "n_without": n_0.astype(int),
            **columns,
            "pvalue": pvalue,
            "design_effect": design[0] if clustered else np.nan,
        }
    ), int((~large).sum())


def _table(tested: Sequence[pd.DataFrame], n_accounts: float) -> pd.DataFrame:
    """`Drivers.drivers` of the rows of `_effects`."""
    nobody = pd.DataFrame(columns=["driver", "stratum", "n_users", "n_on"]).astype(
        {"n_users": int, "n_on": int}
    )
    table = (
        pd.concat(tested, ignore_index=True)
        if tested
        else _effects("segment", nobody, nobody, [], np.nan)[0]
    )
    opposite = (
        table["difference_rate"] * table["adjusted_difference_rate"] < -1e-12
    )  # not for rounding
    table = table.assign(
        qvalue=stats.fdr(table["pvalue"]), sign_differs=opposite, n_accounts=n_accounts
    )
    return table.sort_values("pvalue", kind="stable", ignore_index=True)


def _warnings(table: pd.DataFrame) -> list[str]:
    """Simpson's paradox, and drivers that are exits."""
    out, crossed, exits = (
        [],
        table[table["sign_differs"]],
        table.loc[(table["with_rate"] == 0) & (table["without_rate"] > 0), "driver"],
    )
    if len(crossed):
        said = [
            f"{row.driver} ({100 * row.difference_rate:+.1f} points, {100 * row.adjusted_difference_rate:+.1f} among like users)"
            for row in crossed.head(5).itertuples()
        ]
        more = f" and {len(crossed) - 5} more" * (len(crossed) > 5)
        out.append(
            f"Over all users the difference lies on the other side of 0 than among like users: {', '.join(said)}{more}. "
            "Go by the second number; the first one mixes unlike users."
        )
    if len(exits):
        out.append(f"Nobody with {' or '.join(exits)} went on: rather a way out than a reason.")
    return out


def _finding(table: pd.DataFrame, goes: Mapping[str, float], before: str, after: str) -> str:
    clear, n_tests = table[table["qvalue"] <= FALSE_SHARE], int(table["pvalue"].notna().sum())
    text = f"Of {phrases.users(int(goes['n_users']))} at {before}, {phrases.share(goes, 'on')} go on to {after}; "
    if table.empty:
        return (
            text
            + "nothing can be compared: no column and no other event has enough users on both sides."
        )
    text += f"of {n_tests} drivers tested, {len(clear) or 'none'} stand{'' if len(clear) > 1 else 's'} out"
    for _, best in clear[clear["with_rate"] > 0].head(1).iterrows():
        text += (
            f', most surely "{best["driver"]}": {phrases.share(best, "with_rate")} with it go on against {phrases.share(best, "without_rate")} without, '
            f"{phrases.points(best, 'adjusted_difference_rate')}{' when like is compared with like' * (abs(best['adjusted_difference_rate'] - best['difference_rate']) > 1e-9)}"
        )
    return f"{text}."


def _rule(
    window: int, landmark: int, alike: Sequence[str], before: str, at_risk: int, together: str
) -> str:
    parts = [f"first entries whose window of {phrases.window(window)} has closed"]
    if at_risk:
        parts.append(
            f"events are compared among the {phrases.users(at_risk)} not gone on {phrases.window(landmark)} after {before}, by what they had done by then"
        )
    if alike:
        parts.append(f"like is {' and '.join(alike)}")
    return f" (Rule: {'; '.join(parts)}; named at a false-discovery rate of {100 * FALSE_SHARE:g} %; 95 % intervals{together}.)"
