"""What shortens the way to first value: users who did something early against those who did not, both still waiting at a landmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.survival_groups import (
    DAY,
    ENDINGS,
    OUTCOMES,
    Group,
    cell_table,
    clock_roles,
    clocks,
    compare_days,
    compare_hazards,
    compare_shares,
    distinct,
    n_clusters,
    number_accounts,
    resolution,
)
from mctlib.contract import ParameterError, as_columns, as_timestamp, as_window
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import MATCHERS, Step, as_step

MOST_SIGNALS = MATCHERS - 4  # start, activation and exit are matchers too
COLUMNS = [
    "landmark_days",
    "signal",
    "n_exposed",
    "n_unexposed",
    "horizon_days",
    *(
        f"{name}{side}"
        for name in (
            "exposed_rate",
            "unexposed_rate",
            "effect_rate",
            "naive_effect_rate",
            "rmst_difference_days",
            "crude_difference_days",
            "hazard_ratio",
        )
        for side in ("", "_ci_lower", "_ci_upper")
    ),
    "logrank_pvalue",
    "qvalue",
]


@dataclass(frozen=True)
class Landmark:
    """Result of `landmark_activation`, which says what the columns mean."""

    signals: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def landmark_activation(
    log: EventLog,
    *,
    start: str | Sequence[str] | Step,
    activation: str | Sequence[str] | Step,
    as_of: Any,
    signals: Sequence[Any] | None = None,
    landmark: str | Sequence[str] = "3d",
    competing: str | Sequence[str] | Step | None = None,
    by: str | Sequence[str] | None = None,
    horizon: str = "90d",
) -> Landmark:
    """Early micro-conversions beside the wait for activation that follows, free of immortal time.

    The clock is that of `time_to_activation`. Counted are the users still waiting at the landmark (not activated, not gone, and seen for longer). Exposed
    is who had the signal from the start to the landmark, its end included; the outcome is what comes after the landmark, until ``horizon`` after the start.
    Whoever did it later counts as unexposed: nobody is sorted by what he lived to do. ``landmark``: one duration or several; the first is the headline.
    ``signals``: events (names, lists of names, Steps); by default every other event that 30 users and 2 % had by the first landmark and as many had not.
    ``by``: strata, columns of people or of the start event; the differences are then means over strata with weights n_1 n_0 / (n_1 + n_0) as Mantel &
    Haenszel's, the hazard ratio and the log-rank test are stratified, over the strata with 10 users on both sides.

    ``signals``: landmark_days, signal, n_exposed, n_unexposed; horizon_days (how long after the landmark the following are read: until the horizon, or the last
    day to which 10 users of either side were followed); exposed_rate, unexposed_rate + ci (share activated by then), effect_rate + ci (their difference, stratified), naive_effect_rate + ci (for comparison only: share
    activated of all who ever did it, before or after activating, minus that of those who never did), rmst_difference_days + ci (days not activated after the
    landmark, exposed minus unexposed, stratified), crude_difference_days + ci (not stratified), hazard_ratio + ci (above 1: sooner), logrank_pvalue,
    qvalue (Benjamini-Hochberg over all rows). By landmark, the largest saving first. Errors are by account where people sit in accounts; with fewer than 10
    there are no intervals. Days have no interval either where a side (of a stratum) has no activation; the log-rank test then says whether the sides differ.
    Durations are exact, in a log of more than 200,000 events floored to at most a thousandth of the horizon. Without a signal to look at, or nobody still
    waiting, the table is empty and the finding says so.

    Method: landmark analysis (Anderson, Cain & Gelber 1983); estimators as in `time_to_activation`. An association: who does it early may differ in more.
    Raises ParameterError: unknown events, a signal that is a start, activation or exit, an exit that is one of these, a landmark not before the horizon.
    """
    roles, sentences = clock_roles(
        log, {"start": start, "activation": activation, "competing": competing}
    )
    window, by = as_window(horizon, "horizon"), as_columns(by)
    as_timestamp(as_of)
    landmarks = [
        as_window(day, "landmark")
        for day in (landmark if isinstance(landmark, (list, tuple)) else [landmark])
    ]
    if not landmarks or max(landmarks) >= window:
        raise ParameterError(f"landmark: {landmark} must lie before the horizon ({horizon}).")
    chosen, caveats = _signals(log, roles, signals)
    caveats = sentences + caveats
    accounts = [a for a in log.accounts if a not in by]
    tell = partial(_finding, roles=roles, landmark=landmarks[0], horizon=window, accounts=accounts)
    if not chosen:
        return Landmark(
            _table([], landmarks),
            tell(_table([], landmarks), "the data hold no event beside start, activation and exit"),
            tuple(caveats),
        )
    unit = resolution(
        10 * window, log.small
    )  # a thousandth of the horizon in a large log: many signals, and no curve is printed
    kernel = partial(
        count_landmarks,
        horizon=window,
        unit=unit,
        landmarks=tuple(landmarks),
        roles=tuple(roles),
        n_signals=len(chosen),
        accounts=accounts,
    )
    counts, n_accounts = number_accounts(
        log.reduce(kernel, events=[*roles.values(), *chosen], by=[*by, *accounts], as_of=as_of)
    )
    naive, after = (
        counts[counts["landmark"] == len(landmarks)],
        counts[counts["landmark"] < len(landmarks)],
    )
    waiting = (
        after[(after["landmark"] == 0) & after["outcome"].isin(ENDINGS)]
        .groupby(["signal", "exposed"])["n_users"]
        .sum()
        .unstack(fill_value=0)
        .reindex(index=range(len(chosen)), columns=[0, 1], fill_value=0)
    )
    n_waiting = int(waiting.iloc[0].sum())
    if not n_waiting:
        nobody = f"nobody is still waiting and in view {phrases.window(landmarks[0])} after {roles['start'].label}"
        return Landmark(_table([], landmarks), tell(_table([], landmarks), nobody), tuple(caveats))
    asked_for = (
        range(len(chosen))
        if signals
        else np.flatnonzero(
            waiting.min(axis=1) >= max(stats.MIN_USERS, stats.MIN_SHARE * n_waiting)
        )
    )
    rows, strata = [], set()
    for at, us in enumerate(landmarks):
        clock = {
            "horizon": window - us,
            "unit": unit,
            "competing": competing is not None,
            "n_accounts": n_accounts,
        }
        for k in asked_for:
            mine = after[(after["landmark"] == at) & (after["signal"] == k)]
            row, used = _compare(mine, clock, bool(by))
            rows.append(
                {
                    "landmark_days": us / DAY,
                    "signal": chosen[k].label,
                    **row,
                    **_naive(naive[naive["signal"] == k]),
                }
            )
            strata |= {used}
    table = _table(rows, landmarks)
    n_started = int(naive.loc[naive["signal"] == 0, "n_users"].sum())
    caveats += _caveats(table, roles, n_waiting, n_started, landmarks[0], strata, by)
    why = ""
    if (
        n_accounts
        and n_clusters(
            [Group.of("all", after[(after["landmark"] == 0) & (after["signal"] == 0)], **clock)]
        )
        < stats.MIN_CLUSTERS
    ):
        why = f"fewer than {stats.MIN_CLUSTERS} accounts are too few for an interval or a test"
        caveats.append(f"{why[0].upper()}{why[1:]}.")
    return Landmark(table, tell(table, why), tuple(caveats))


def _table(rows: list[dict[str, Any]], landmarks: Sequence[int]) -> pd.DataFrame:
    """The rows with their q-values, in the order of the landmarks, the largest saving first."""
    table = pd.DataFrame(rows, columns=COLUMNS).astype(
        {c: float for c in COLUMNS if c != "signal"} if not rows else {}
    )
    table["qvalue"] = stats.fdr(table["logrank_pvalue"])
    return table.iloc[
        np.lexsort(
            (
                table["rmst_difference_days"],
                table["landmark_days"].map({us / DAY: i for i, us in enumerate(landmarks)}),
            )
        )
    ].reset_index(drop=True)


def count_landmarks(
    j: Journeys,
    *,
    horizon: int,
    unit: int,
    landmarks: Sequence[int],
    roles: Sequence[str],
    n_signals: int,
    accounts: Sequence[str] = (),
) -> pd.DataFrame:
    """Kernel: segment, account (where ``accounts`` names dims), landmark (index), signal (index), exposed (0, 1), outcome, units, n_users.

    Bits: the roles, then the signals; times in microseconds. Users still waiting at a landmark count twice for every signal: under the outcome with the units
    from the landmark to the clock's end, and under "followed" with those it could have run. The index after the last landmark holds all started users once:
    exposed is who ever had the signal since the start, units 0.
    """
    c = clocks(j, horizon, roles)
    first = first_rows(j.user)
    begin = np.searchsorted(first, c.rows, side="right") - 1  # the clock's user
    begun = np.full(len(first), np.iinfo(np.int64).max // 2)
    begun[begin] = j.time[c.rows]
    since = j.time - np.repeat(begun, np.diff(np.r_[first, len(j)]))
    since[c.rows] = -1  # one row fills one role
    parts = []
    for at, until in enumerate((*landmarks, np.iinfo(np.int64).max)):
        did = (
            np.bitwise_or.reduceat(np.where((since >= 0) & (since <= until), j.mask, 0), first)[
                begin
            ]
            if len(j)
            else np.empty(0, np.int64)
        )
        ever = at == len(landmarks)
        kept = np.arange(len(c.rows)) if ever else np.flatnonzero(c.ran > until)
        parts += (
            [(at, did[kept], kept, c.outcome[kept], np.zeros(len(kept), np.int64))]
            if ever
            else [
                (at, did[kept], kept, c.outcome[kept], (c.ran[kept] - until) // unit),
                (
                    at,
                    did[kept],
                    kept,
                    np.full(len(kept), OUTCOMES.index("followed")),
                    (c.followed[kept] - until) // unit,
                ),
            ]
        )
    values, codes = distinct(np.concatenate([units for *_, units in parts]), horizon // unit + 1)
    sizes = {
        "landmark": len(landmarks) + 1,
        "signal": n_signals,
        "exposed": 2,
        "outcome": len(OUTCOMES),
        "units": len(values),
    }
    shape, cells = (*(len(j.levels[name]) for name in j.dims), *sizes.values()), []
    for (at, did, kept, outcome, _), units in zip(
        parts, np.split(codes, np.cumsum([len(units) for *_, units in parts]))
    ):
        dims, full = [dim[c.rows[kept]] for dim in j.dims.values()], partial(np.full, len(kept))
        for k in range(n_signals):
            exposed = (did >> did.dtype.type(len(roles) + k) & did.dtype.type(1)).astype(np.int64)
            cells.append(
                np.ravel_multi_index((*dims, full(at), full(k), exposed, outcome, units), shape)
            )
    table = cell_table(j, np.concatenate(cells), sizes, accounts)
    return table.assign(
        outcome=np.asarray(OUTCOMES, object)[table["outcome"]], units=values[table["units"]]
    )


def _signals(
    log: EventLog, roles: dict[str, Step], signals: Sequence[Any] | None
) -> tuple[list[Step], list[str]]:
    """The signals as Steps and what must be said of the choice."""
    taken = {name for step in roles.values() for name in step.names}
    if signals:
        chosen = [
            as_step(s, "signals")
            for s in (signals if isinstance(signals, (list, tuple)) else [signals])
        ]
        if both := [s.label for s in chosen if set(s.names) & taken]:
            raise ParameterError(
                f"signals: {both[0]} is the start, the activation or the exit itself."
            )
        if unknown := log.missing_events(chosen):
            raise ParameterError(f"signals: {unknown[0]}")
        if len(chosen) > MOST_SIGNALS:
            raise ParameterError(
                f"signals: {len(chosen)} are asked for at once; {MOST_SIGNALS} is the most."
            )
        return chosen, []
    names = [
        n
        for n in log.describe().sort_values("n_users", ascending=False, kind="stable")["event"]
        if n not in taken
    ]
    left = len(names) - MOST_SIGNALS
    return [as_step(n) for n in names[:MOST_SIGNALS]], [
        f"Only the {MOST_SIGNALS} events that most users have are looked at; {left} are not."
    ] if left > 0 else []


def _compare(
    counts: pd.DataFrame, clock: dict[str, Any], stratified: bool
) -> tuple[dict[str, float], tuple[int, int]]:
    """One signal at one landmark: its row of the table, and how many of how many strata it stands on."""
    groups = lambda part: tuple(
        Group.of(str(side), part[part["exposed"] == side], **clock) for side in (1, 0)
    )  # noqa: E731
    crude = groups(counts)
    row = {"n_exposed": crude[0].n_users, "n_unexposed": crude[1].n_users}
    strata = [groups(part) for _, part in counts.groupby("segment")] if stratified else [crude]
    pairs = [pair for pair in strata if min(g.last for g in pair) > 0]
    if not pairs or not min(g.last for g in crude) > 0:
        return row, (0, len(strata))
    last = min(g.last for pair in (*pairs, crude) for g in pair)
    told = {
        "exposed_rate": crude[0].rate(last),
        "unexposed_rate": crude[1].rate(last),
        "effect_rate": compare_shares(pairs, last),
        "rmst_difference_days": compare_days(pairs, last),
        "crude_difference_days": compare_days([crude], last),
    }
    row["horizon_days"] = last
    for name, values in told.items():
        row |= dict(zip((name, f"{name}_ci_lower", f"{name}_ci_upper"), values))
    hazards = compare_hazards([(g.steps, h.steps) for g, h in pairs], pairs)
    return row | {k: v for k, v in hazards.items() if k != "ph_pvalue"}, (len(pairs), len(strata))


def _naive(counts: pd.DataFrame) -> dict[str, float]:
    """Share activated of who ever did it minus that of who never did, among all who started."""
    n = [counts.loc[counts["exposed"] == side, "n_users"].sum() for side in (1, 0)]
    hit = [
        counts.loc[
            (counts["exposed"] == side) & (counts["outcome"] == "activated"), "n_users"
        ].sum()
        for side in (1, 0)
    ]
    if not min(n):
        return {}
    low, high = stats.newcombe(hit[0], n[0], hit[1], n[1])
    return {
        "naive_effect_rate": hit[0] / n[0] - hit[1] / n[1],
        "naive_effect_rate_ci_lower": low,
        "naive_effect_rate_ci_upper": high,
    }


def _clear(table: pd.DataFrame) -> pd.Series:
    """Rows whose difference in days stands: the log-rank test after false-discovery control, and no interval that holds zero (a side without an activation has none)."""
    return (table["qvalue"] < 0.05) & ~(
        table["rmst_difference_days_ci_lower"] * table["rmst_difference_days_ci_upper"] <= 0
    )


def _caveats(
    table: pd.DataFrame,
    roles: dict[str, Step],
    n_waiting: int,
    n_started: int,
    landmark: int,
    strata: set[tuple[int, int]],
    by: list[str],
) -> list[str]:
    """What a reader must know about these numbers, in sentences."""
    out = [
        f"Compared are the {n_waiting:,} of {phrases.users(n_started)} still waiting and in view {phrases.window(landmark)} after {roles['start'].label}. "
        "Who acts early may differ in other ways: an experiment would tell."
    ]
    head = table[table["landmark_days"] == landmark / DAY]
    vanity = head[
        (head["naive_effect_rate_ci_lower"] > 0)
        & ~(_clear(head) & (head["rmst_difference_days"] < 0))
        & (head["effect_rate_ci_lower"] <= 0)
    ]
    if len(vanity):
        told = "; ".join(
            f"{r['signal']} {100 * r['naive_effect_rate']:+.1f}, after the landmark {phrases.points(r, 'effect_rate')}"
            for _, r in vanity.sort_values("naive_effect_rate", ascending=False).head(2).iterrows()
        )
        out.append(
            f"Good only while who ever did it is set against who never did, where staying long enough to do it counts in its favour: {told}."
        )
    for signal, part in table.groupby("signal", sort=False):
        signs = np.sign(part["rmst_difference_days"].dropna())
        if signs.nunique() > 1 and _clear(part).any():
            told = "; ".join(
                f"{r['rmst_difference_days']:+.1f} days at day {r['landmark_days']:g}"
                for _, r in part.iterrows()
            )
            out.append(
                f"{signal} points in different directions at different landmarks ({told}): no conclusion."
            )
    if by and (lacking := [pair for pair in strata if pair[0] < pair[1]]):
        least = min(lacking)
        out.append(
            f"Strata with fewer than 10 users on one side are left out of the stratified figures (at worst {least[0]} of {least[1]} are used)."
        )
    return out


def _finding(
    table: pd.DataFrame,
    why: str,
    *,
    roles: dict[str, Step],
    landmark: int,
    horizon: int,
    accounts: list[str],
) -> str:
    """The clearest saving, or that there is none; ``why``: why nothing can be compared, where that is known."""
    head = table[(table["landmark_days"] == landmark / DAY) & table["logrank_pvalue"].notna()]
    n_tests = int(table["logrank_pvalue"].notna().sum())
    early, goal = phrases.window(landmark), roles["activation"].label
    rule = (
        f"(Landmark {early} after the first {roles['start'].label}: users still waiting then, sorted by what they had done by then, and followed to "
        f"{phrases.window(horizon)} after the start; log-rank, 5 % false discovery rate over {n_tests} test{'s' * (n_tests != 1)}{', errors by account' if accounts else ''}.)"
    )
    if head.empty:
        if not why and table.empty:
            why = f"{stats.MIN_USERS} users and {stats.MIN_SHARE:.0%} must have had it, and as many not; a later landmark may find some"
        return f"No early micro-conversion in the first {early} can be compared: {why or f'too few users are followed, or none of them reaches {goal} later'}. {rule}"
    sooner = head[_clear(head) & (head["rmst_difference_days"] < 0)]
    if sooner.empty:
        return f"None of the {len(head)} early micro-conversions in the first {early} goes with a clearly shorter way to {goal}. {rule}"
    row = sooner.iloc[0]
    word, per_day = phrases.unit_of(row["horizon_days"])
    few, many = (-row[f"rmst_difference_days_ci_{side}"] * per_day for side in ("upper", "lower"))
    interval = f" ({few:.1f} to {many:.1f})" if few == few else ""
    without = (
        f"{100 * row['unexposed_rate']:.1f} % without"
        if row["unexposed_rate"] > 0
        else f"nobody without (of {phrases.users(row['n_unexposed'])}; so the days have no interval)"
    )
    return (
        f"{len(sooner)} of {len(head)} early micro-conversions in the first {early} go{'es' * (len(sooner) == 1)} with a shorter way to {goal}. The largest: users with "
        f"{row['signal']} spend {-row['rmst_difference_days'] * per_day:.1f}{interval} fewer of the next {row['horizon_days'] * per_day:.3g} {word}s not activated, and "
        f"{100 * row['exposed_rate']:.1f} % of them reach it, against {without}. {rule}"
    )
