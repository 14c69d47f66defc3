"""What shortens the way to first value: early acts of users still waiting at a landmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.activation.clocks import (
    ENDINGS,
    OUTCOMES,
    clock_roles,
    clocks,
    count_users,
    resolution,
    rows_of,
    seen_until,
)
from mctlib.activation.differences import compare_days, compare_shares, risk_ratio
from mctlib.activation.hazards import compare_hazards
from mctlib.activation.landmark_narrative import (
    Early,
    landmark_caveats,
    landmark_finding,
    landmark_rule,
)
from mctlib.activation.narrative_first import early_first
from mctlib.activation.survival_groups import Clock, Group, count_accounts, number_accounts
from mctlib.cells import View
from mctlib.contract import (
    ParameterError,
    as_timestamp,
    as_window,
    interval_columns,
)
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import FOREVER, Journeys
from mctlib.eventlog.steps import MATCHERS, Step
from mctlib.phrases import DAY_US
from mctlib.results import Result
from mctlib.stats import MIN_CLUSTERS

MOST_SIGNALS = MATCHERS - 4  # start, activation, exit and end of view are matchers too
STRATA_KEPT = 0.9  # of the weight of strata: they are compared as long as so much is supported
MEASURES = (
    *("exposed_rate", "unexposed_rate", "effect_rate", "risk_ratio", "naive_effect_rate"),
    *("rmst_difference_days", "crude_difference_days", "hazard_ratio"),
)
COLUMNS = [
    *("landmark_days", "signal", "n_exposed", "n_unexposed", "horizon_days"),
    *(column for name in MEASURES for column in interval_columns(name, 0, 0, 0)),
    *("logrank_pvalue", "pvalue", "qvalue"),
]


BETWEEN = ("risk_ratio ±", "rmst_difference_days ±", "qvalue")


@dataclass(frozen=True, kw_only=True, repr=False)
class Landmark(Result):
    """Answer of `landmark_activation`.

    ``signals``: one row a landmark and signal, the largest saving first.

    ========================== ===== ========================================================
    column                     unit  meaning
    ========================== ===== ========================================================
    landmark_days, signal
    n_exposed, n_unexposed     users still waiting at the landmark, with the signal by then or not
    horizon_days               days  after the landmark, at which the following are read: until
                                     the horizon, or the last day to which 10 users of either
                                     side were followed and still waiting
    exposed_rate ± ...         0-1   activated by then; unexposed_rate ± alike
    effect_rate ±              0-1   their difference, stratified; risk_ratio ± their ratio,
                                     alike (NaN where nobody of a side is)
    naive_effect_rate ±        0-1   for comparison only: activated of all who ever did it,
                                     before or after activating, minus that of who never did
    rmst_difference_days ±     days  not activated after the landmark, exposed minus unexposed,
                                     stratified; crude_difference_days ± alike, not stratified
    hazard_ratio ±             x     above 1: sooner
    logrank_pvalue                   of the same users, over the whole of the curves
    pvalue, qvalue                   of the interval of rmst_difference_days, by which a signal
                                     is named; q: false discovery rate over all rows
    ========================== ===== ========================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), by account where people sit in accounts; NaN
    below 10 accounts.
    """

    signals: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {
        "signals": View("signals", ("landmark_days", "signal", "n_exposed", *BETWEEN)),
    }
    main: ClassVar[str] = "signals"


def landmark_activation(
    log: EventLog,
    *,
    start: str | Sequence[str] | Step,
    activation: str | Sequence[str] | Step,
    as_of: Any,
    landmark: str | Sequence[str] = "3d",
    competing: str | Sequence[str] | Step | None = None,
    censor: str | Sequence[str] | Step | None = None,
    by: str | Sequence[str] | None = None,
    horizon: str = "90d",
) -> Landmark:
    """Early micro-conversions beside the wait for activation that follows, free of immortal time.

    Counted are the users still waiting at the landmark. Exposed is who had the signal from the
    start to the landmark, its end included; the outcome is what comes after it. Whoever did it
    later counts as unexposed: nobody is sorted by what he lived to do. Signals are all other events
    that 30 users and 2 % had by the first landmark and as many had not.

    Parameters
    ----------
    log, start, activation, as_of, competing, censor, horizon
        The clock, as in `time_to_activation`.
    landmark : str or list of str
        Durations after the start; the first is the headline.
    by : str or list of str, optional
        Strata, columns of people or of the start event: differences are means over strata with
        weights n_1 n_0 / (n_1 + n_0) as Mantel & Haenszel's, the hazard ratio and the log-rank test
        are stratified. Strata on a side of which fewer than 10 users wait so long are left out.

    Returns
    -------
    Landmark
        ``signals``; empty without a signal to look at, or nobody still waiting.

    Raises
    ------
    ParameterError
        Unknown events, an exit that is a start or activation, a landmark not before the horizon.

    Notes
    -----
    Landmark analysis (Anderson, Cain & Gelber 1983); estimators as in `time_to_activation`. An
    association: who does it early may differ in more. In a log of more than 200,000 events,
    durations are floored to at most a thousandth of the horizon.

    Examples
    --------
    >>> ask = {"start": "signed_up", "activation": "interview_scheduled", "as_of": "2026-01-31"}
    >>> landmark_activation(log, **ask, landmark="1d", horizon="9d").signals.shape[1]
    32
    """
    asked = {"start": start, "activation": activation, "competing": competing, "censor": censor}
    roles, sentences = clock_roles(log, asked)
    window, by = as_window(horizon, "horizon"), log.columns(by)
    as_timestamp(as_of)
    landmarks = read_landmarks(landmark, horizon)
    signals, n_more = _signals(log, roles)
    early = Early(
        roles={role: step.label for role, step in roles.items()},
        landmark=landmarks[0],
        horizon=window,
        by_account=bool(log.accounts),
        acts={signal.label: signal.acts for signal in signals},
        n_signals=len(signals),
        n_more=n_more,
        said=(*log.caveats(as_of), *sentences),
    )
    if not signals:
        return _answer([], early, "the data hold no event beside start, activation and exit")
    kernel = partial(
        count_landmarks,
        horizon=window,
        # a thousandth of the horizon in a large log: many signals, and no curve is printed
        unit=resolution(10 * window, log.small),
        landmarks=tuple(landmarks),
        roles=tuple(roles),
        labels={"segment": by} | ({"account": log.accounts} if log.accounts else {}),
    )
    events = [*roles.values(), *signals]
    counts = log.reduce(kernel, events=events, by=[*by, *log.accounts], as_of=as_of)
    unit = kernel.keywords["unit"]
    return _judge(counts, [s.label for s in signals], landmarks, early, unit)


def read_landmarks(landmark: Any, horizon: str) -> list[int]:
    """Microseconds of each. Raises ParameterError: there is none, or one not before the horizon."""
    days = landmark if isinstance(landmark, (list, tuple)) else [landmark]
    landmarks = [as_window(day, "landmark") for day in days]
    if not landmarks or max(landmarks) >= as_window(horizon, "horizon"):
        said = ", ".join(map(str, days))
        raise ParameterError(f"landmark: {said} must lie before the horizon ({horizon}).")
    return landmarks


def _judge(
    counts: dict[str, pd.DataFrame],
    signals: Sequence[str],
    landmarks: Sequence[int],
    early: Early,
    unit: int,
) -> Landmark:
    """The answer from the counts of all signals."""
    (ended, n_accounts), ever = number_accounts(counts["ended"]), counts["ever"]
    first = ended[ended["landmark"] == 0]
    n_waiting = int(first["n_users"].sum())
    if not n_waiting:
        when = f"{phrases.window(early.landmark)} after {early.roles['start']}"
        return _answer([], early, f"nobody is still waiting and in view {when}")
    n_exposed = np.array([first.loc[_had(first, k), "n_users"].sum() for k in range(len(signals))])
    least = max(stats.MIN_USERS, stats.MIN_SHARE * n_waiting)
    enough = np.flatnonzero(np.minimum(n_exposed, n_waiting - n_exposed) >= least)
    rows, strata = [], set()
    for at, us in enumerate(landmarks):
        mine = ended[ended["landmark"] == at]
        parts = [part for _, part in mine.groupby("segment")]
        for k in enough.tolist():
            row, used = _compare(mine, parts, k, Clock(early.horizon - us, unit, n_accounts))
            name = {"landmark_days": us / DAY_US, "signal": signals[k]}
            rows.append(name | row | _naive(ever, k))
            strata.add(used)
    early = replace(
        early,
        n_waiting=n_waiting,
        n_started=int(ever["n_users"].sum()),
        strata=min(strata, default=(0, 0)),
    )
    why, users = "", first["n_users"].to_numpy()
    if n_accounts and count_accounts(first["account"].to_numpy(), users) < MIN_CLUSTERS:
        why = f"fewer than {MIN_CLUSTERS} accounts are too few for an interval or a test"
        early = replace(early, too_few=f"{why[0].upper()}{why[1:]}.")
    return _answer(rows, early, why)


def _answer(rows: list[dict[str, Any]], early: Early, why: str) -> Landmark:
    """The rows in order and in words; ``why`` nothing can be compared, where that is known."""
    table = pd.DataFrame(rows, columns=COLUMNS)
    if not rows:
        table = table.astype({c: float for c in COLUMNS if c != "signal"})
    table["qvalue"] = stats.fdr(table["pvalue"])
    # the landmarks as they were asked for, the largest saving first
    order = {day: i for i, day in enumerate(table["landmark_days"].unique())}
    by = [table["rmst_difference_days"], table["landmark_days"].map(order)]
    table = table.iloc[np.lexsort(by)].reset_index(drop=True)
    return Landmark(
        signals=table,
        **early_first(table, early, why),
        details=(landmark_finding(table, early, why),),
        rule=landmark_rule(table, early),
        caveats=landmark_caveats(table, early),
    )


def count_landmarks(
    j: Journeys,
    *,
    horizon: int,
    unit: int,
    landmarks: Sequence[int],
    roles: Sequence[str],
    labels: Mapping[str, Sequence[str]],
) -> dict[str, pd.DataFrame]:
    """Kernel: how long clocks ran on after a landmark (ended), and all who started (ever).

    Ended by the ``labels``, landmark (place), had (a bit a signal), outcome and units after the
    landmark. Ever by had (ever since the start) and outcome. Bits: the roles, then the signals.
    """
    c = clocks(j, roles, horizon)
    runs = c.outcome < len(ENDINGS)
    start, outcome, ran = (a[runs] for a in (c.row, c.outcome, c.ran))
    walked, words = rows_of(j), np.asarray(OUTCOMES, object)
    ended = []
    for at, until in enumerate(landmarks):
        rest = ran > until
        found = count_users(
            j,
            start[rest],
            labels,
            had=seen_until(*walked, start[rest], until) >> np.uint64(len(roles)),
            units=(ran[rest] - until) // unit,
            outcome=outcome[rest],
        )
        ended.append(found.assign(landmark=at))
    had = seen_until(*walked, start, FOREVER) >> np.uint64(len(roles))
    tables = {
        "ended": pd.concat(ended, ignore_index=True),
        "ever": count_users(j, start, {}, had=had, outcome=outcome),
    }
    return {name: t.assign(outcome=words[t["outcome"]]) for name, t in tables.items()}


def _signals(log: EventLog, roles: Mapping[str, Step]) -> tuple[list[Step], int]:
    """All other events, as many as a walk knows, those of most users; how many more there are."""
    taken = {name for step in roles.values() for name in step.names}
    known = log.describe().sort_values("n_users", ascending=False, kind="stable")["event"]
    names = [name for name in known if name not in taken]
    return [log.step(name) for name in names[:MOST_SIGNALS]], max(len(names) - MOST_SIGNALS, 0)


def _compare(
    ended: pd.DataFrame, parts: Sequence[pd.DataFrame], signal: int, clock: Clock
) -> tuple[dict[str, float], tuple[int, int]]:
    """One signal at one landmark: its row, and how many of how many strata it stands on."""
    crude = _sides(ended, signal, clock)
    row: dict[str, float] = {"n_exposed": crude[0].n_users, "n_unexposed": crude[1].n_users}
    strata = [_sides(part, signal, clock) for part in parts] if len(parts) > 1 else [crude]
    last = min(_supported(strata), *(g.last for g in crude))
    if not last > 0 or not any(g.n["activated"] for g in crude):
        return row, (0, len(strata))
    pairs = [pair for pair in strata if min(g.last for g in pair) >= last]
    days, shares = compare_days(pairs, last), compare_shares(pairs, last)
    told = {
        "exposed_rate": crude[0].rate(last),
        "unexposed_rate": crude[1].rate(last),
        "effect_rate": shares[:3],
        "risk_ratio": risk_ratio(pairs, last),
        "rmst_difference_days": days[:3],
        "crude_difference_days": compare_days([crude], last)[:3],
    }
    row |= {"horizon_days": last, "pvalue": days.pvalue}
    for name, values in told.items():
        row |= interval_columns(name, *values)
    hazards = compare_hazards([(g.steps, h.steps) for g, h in pairs], pairs)
    hazards.pop("ph_pvalue", None)
    return row | hazards, (len(pairs), len(strata))


def _supported(strata: Sequence[tuple[Group, Group]]) -> float:
    """The longest time to which strata of STRATA_KEPT of the weight may be read; -1 for none.

    One small stratum would else end the comparison of all others.
    """
    weights, until = np.array(
        [
            (
                g.n_users * h.n_users / max(g.n_users + h.n_users, 1),
                np.nan_to_num(min(g.last, h.last), nan=-1),
            )
            for g, h in strata
        ]
    ).T
    order = np.argsort(-until)
    known = until[order] > 0
    kept = np.cumsum(weights[order]) >= STRATA_KEPT * weights[order][known].sum()
    return float(until[order][np.argmax(kept)]) if known.any() else -1.0


def _sides(ended: pd.DataFrame, signal: int, clock: Clock) -> tuple[Group, Group]:
    """Users with the signal and users without it."""
    had = _had(ended, signal)
    return Group.of("", ended[had], clock), Group.of("", ended[~had], clock)


def _had(counts: pd.DataFrame, signal: int) -> np.ndarray:
    """Which rows are of users who had the signal."""
    return (counts["had"].to_numpy() >> np.uint64(signal) & np.uint64(1)).astype(bool)


def _naive(ever: pd.DataFrame, signal: int) -> dict[str, float]:
    """Share activated of who ever did it minus that of who never did, among all who started."""
    had = _had(ever, signal)
    n, hit = (
        np.array([users[had].sum(), users[~had].sum()])
        for users in (ever["n_users"], ever["n_users"] * (ever["outcome"] == "activated"))
    )
    if not n.min():
        return {}
    ends = stats.newcombe(hit[0], n[0], hit[1], n[1])
    return interval_columns("naive_effect_rate", hit[0] / n[0] - hit[1] / n[1], *ends)
