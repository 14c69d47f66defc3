"""Which micro-conversions go with an outcome, like compared with like, and which only look good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib.contract import interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step, may_meet
from mctlib.phrases import DAY_US
from mctlib.results import MIN_USERS, Result
from mctlib.signals.alike import Cells, measures, naive, of_signal, sides_of, standardised
from mctlib.signals.candidates import Candidate, apart, plan_of, read_candidates
from mctlib.signals.clock import Clock, Reach, active_step, after_start, count, read_clock, too_many
from mctlib.signals.counts import FIRST_SIGNAL, Group
from mctlib.signals.narrative import Answer
from mctlib.signals.narrative_first import told_signals
from mctlib.signals.outcomes import Outcome, read_outcomes
from mctlib.signals.verdicts import judge, same_sign, to_watch

MEASURES = (
    *("exposed_rate", "unexposed_rate", "naive_risk_ratio", "landmark_risk_ratio"),
    *("risk_ratio", "risk_difference", "out_of_time_gain"),
)
COLUMNS = [
    *("outcome", "signal", "landmark_days", "n_exposed", "n_unexposed"),
    *(column for name in MEASURES for column in interval_columns(name, 0, 0, 0)),
    *("pvalue", "e_value", "e_value_limit", "calibration_ratio", "calibration_slope"),
    *("comparable_rate", "without_use_rate"),
]
OTHERS = [*COLUMNS[:5], *interval_columns("risk_ratio", 0, 0, 0)]


@dataclass(frozen=True, kw_only=True, repr=False)
class Signals(Result):
    """Answer of `signal_value`.

    ``signals``: one row an outcome and micro-conversion at its own landmark, the surest first.

    ========================= ===== ================================================================
    column                    unit  meaning
    ========================= ===== ================================================================
    outcome, signal
    landmark_days             days  after the start, by which users had the signal or not
    n_exposed, n_unexposed          users still at risk then; both, and the last two shares, are
                                    missing where one side has 1 to 9
    exposed_rate ± ...        0-1   with the outcome later, if all had it; unexposed_rate ±: if none
                                    had (standardised). Of revenue: money a user
    naive_risk_ratio ±        x     ever against never, as dashboards count
    landmark_risk_ratio ±     x     at the landmark, nothing else made alike
    risk_ratio ±              x     standardised; of revenue the ratio of means
    risk_difference ±               exposed_rate less unexposed_rate
    out_of_time_gain ±        0-1   share of the squared error of later users' outcomes that goes
                                    away by knowing the signal, fitted on the earlier users
    pvalue, qvalue                  of risk_ratio; Benjamini-Hochberg over all rows
    e_value, e_value_limit          how strong a hidden cause must be (VanderWeele & Ding): of the
                                    ratio, of the end nearer 1; 1 where the interval holds 1
    calibration_ratio, _slope       of later users: outcomes over predicted ones, and slope
    comparable_rate           0-1   users at risk of whose kind some had the signal and some had not
    without_use_rate          0-1   of the exposed: who had not been active by the landmark; missing
                                    where the log does not tell who is active: then no signal
    same_sign                 bool  risk_ratio on the same side of 1 at all landmarks
    naive_only, time_only,    bool  looks good plainly, fairly not; good plainly, not at one time
    no_gain, without_use      bool  for all; no gain for later users; mostly had by users who were
                                    not active
    verdict                         signal, vanity, harmful, not enough data
    ========================= ===== ================================================================

    ``sensitivity``: the same at other landmarks: outcome, signal, landmark_days, n_exposed,
    n_unexposed, risk_ratio ±. ``watch``: at most ten to keep watching and those to stop: act,
    outcome, signal, owner, priority, verdict, risk_ratio ±, risk_difference ±.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), by account where people sit in accounts; NaN
    below 10 accounts on either side.
    """

    signals: pd.DataFrame
    sensitivity: pd.DataFrame
    watch: pd.DataFrame

    main: ClassVar[str] = "signals"
    first: ClassVar[tuple[str, ...]] = (
        *("signal", "n_exposed", "n_unexposed"),
        *interval_columns("risk_ratio", 0, 0, 0),
        *("naive_risk_ratio", "qvalue", "verdict"),
    )


def signal_value(
    log: EventLog,
    plan_or_events: Any,
    outcome: Any,
    *,
    landmark: str | Sequence[str] | None = None,
    horizon: str,
    as_of: Any,
    adjust: Any = (),
    start: Any = None,
    competing: Any = None,
) -> Signals:
    """Compare users with and without each micro-conversion, by what comes after a landmark.

    Counted are users whose time to the horizon is over, who at the landmark have neither left nor
    had the outcome; exposed is who had the micro-conversion by then. Both sides are made alike by
    standardisation over ``adjust``, month of the start and hours of activity by then (the plan's
    ``active``, else all that is not asked about; where nothing is left, none is called a signal).
    An association: only a test proves a cause.
    Landmark analysis is that of Anderson, Cain & Gelber 1983.

    Parameters
    ----------
    log : EventLog
        Events, people (outcomes, accounts), and perhaps a tracking plan.
    plan_or_events : Plan, list of str or Step, or None
        The micro-conversions; None: those of the log's own plan.
    outcome : str, mapping, Step, or list of these
        renewed, upsold, churned, revenue of people; a later event; ``{"returns": event, "period":
        "1w", "in_period": 4}``; ``{"outcome": "upsold", "horizon": "90d"}``. The first is told.
    landmark : str or list of str, optional
        The first is the headline's. By default each has its own, the plan's ``within`` (else 7
        days), and 7, 14 and 30 days show whether the answer hangs on it.
    horizon : str
        To when outcomes count, from the start. ``as_of``: last observed moment.
    adjust : str or list
        Columns in which users are made alike, such as channel and plan.
    start, competing : str, Step, optional
        The event where a user's time begins (default: the plan's), and one that means leaving.

    Returns
    -------
    Signals
        ``signals``, ``sensitivity``, ``watch`` (columns: see `Signals`).

    Raises
    ------
    ParameterError
        An event, outcome or column that is not there, a landmark not before the horizon.

    Examples
    --------
    >>> asked = {"horizon": "20d", "as_of": "2026-01-31", "start": "signed_up"}
    >>> found = signal_value(log, ["profile_completed"], "interview_scheduled", **asked)
    >>> found.signals["signal"].tolist()
    ['profile_completed']
    """
    plan = plan_of(log, plan_or_events)
    clock = read_clock(log, start, competing, adjust, plan)
    asked, left_out = [], []
    for wished in read_outcomes(log, outcome, horizon, plan):
        after_start(clock, wished)
        candidates, said = read_candidates(log, plan_or_events, landmark, plan, wished)
        candidates, same = apart(candidates, [*clock.steps, *filter(None, [wished.step])])
        asked.append((wished, candidates))
        left_out += [*said, *same]
    found = [_compared(log, clock, *each, as_of=as_of) for each in asked]
    table, sensitivity = (pd.concat(parts, ignore_index=True) for parts in list(zip(*found))[:2])
    wanted = table["outcome"].map({o.name: o.wanted for o, _ in asked})
    alike = [active_step(log, clock, o, [c.step for c in some]) is not None for o, some in asked]
    told = table["outcome"].map({o.name: is_so for (o, _), is_so in zip(asked, alike)})
    table = judge(
        table.assign(without_use_rate=table["without_use_rate"].where(told)), wanted, told
    )
    table = table.assign(same_sign=same_sign(table, sensitivity))
    order = pd.factorize(table["outcome"])[0]
    table = table.iloc[np.lexsort((table["pvalue"], order))].reset_index(drop=True)
    known = {c.label: c for _, candidates in asked for c in candidates}
    watch = to_watch(table, known)
    answer = Answer(
        signals=table,
        watch=watch,
        outcomes={o.name: o for o, _ in asked},
        candidates=known,
        clock=clock,
        reaches={o.name: reach for (o, _), (*_, reach) in zip(asked, found)},
        alike=alike[0],
        currency=log.currency,
        said=tuple(dict.fromkeys([*log.caveats(as_of), *too_many(log, clock), *left_out])),
    )
    return Signals(signals=table, sensitivity=sensitivity, watch=watch, **told_signals(answer))


def _compared(
    log: EventLog, clock: Clock, outcome: Outcome, candidates: Sequence[Candidate], *, as_of: Any
) -> tuple[pd.DataFrame, pd.DataFrame, Reach]:
    """Rows of `Signals.signals` (not yet judged) and `.sensitivity` of one outcome, and of whom."""
    steps = [c.step for c in candidates]
    groups = _groups(candidates, active_step(log, clock, outcome, steps))
    counts = count(log, clock, outcome, steps, groups, as_of=as_of)
    reach = Reach.of(counts)
    at_risk: dict[tuple[int, int], Cells] = {}
    known = (reach.n_accounts, not outcome.amount)
    for at, group in enumerate(groups):
        cells = Cells(counts[f"{at}"], counts["strata"], clock.adjust)
        at_risk |= {(k, group.landmark): cells for k in group.signals}
    rows: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for k, us in ((k, us) for k, c in enumerate(candidates) for us in c.landmarks):
        cells = at_risk[k, us]
        name = {
            "outcome": outcome.name,
            "signal": candidates[k].label,
            "landmark_days": us / DAY_US,
        }
        if cells.table.empty:
            continue
        sides = sides_of(cells, of_signal(cells.table, k))
        unexposed, exposed = sides.at_risk
        small = any(0 < side < MIN_USERS for side in sides.at_risk)
        told = {} if small else {"n_exposed": exposed, "n_unexposed": unexposed}
        if us != candidates[k].landmarks[0]:
            if sides.enough:
                ratio = standardised(sides, *known).ratio
                others.append(name | told | interval_columns("risk_ratio", *ratio))
            continue
        row = naive(counts["ever"], k, *known) | (measures(sides, *known) if sides.enough else {})
        use = {"without_use_rate": _without_use(cells.table, k, steps[k], clock)}
        use |= {"comparable_rate": sides.comparable}
        rows.append(name | told | row | ({} if small else use))
    return _table(rows, COLUMNS), _table(others, OTHERS), reach


def _groups(candidates: Sequence[Candidate], active: Step | None) -> list[Group]:
    """Candidates by their landmarks; apart those whose own events would make users active."""
    found: dict[tuple[int, int], list[int]] = {}
    for k, candidate in enumerate(candidates):
        own = 1 << FIRST_SIGNAL + k if active and may_meet(candidate.step, active) else 0
        for us in candidate.landmarks:
            found.setdefault((us, own), []).append(k)
    return [Group(us, tuple(signals), own) for (us, own), signals in found.items()]


def _without_use(cells: pd.DataFrame, k: int, step: Step, clock: Clock) -> float:
    """Share of the exposed who had not been active; none where the signal is being active."""
    if clock.active and may_meet(step, clock.active):
        return 0.0
    exposed = cells[f"n_users_{k}"]
    return float(exposed[cells["activity"] == 0].sum() / max(exposed.sum(), 1))


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    words = ("outcome", "signal")
    return pd.DataFrame(rows, columns=list(columns)).astype(
        {column: float for column in columns if column not in words}
    )
