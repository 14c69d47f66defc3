"""How much partner credit depends on the attribution window and the rule, and how much of it would have happened anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.journeys import ANY, MISSING, Journeys, Step, as_step, first_rows
from mctlib.log import EventLog, as_window
from mctlib.store import DataError, ParameterError, nearest

RULES = ("first", "last", "linear", "time_decay", "position", "markov", "shapley")
UNRESOLVED = "(unresolved utm)"  # a utm_source that no alias resolves; not the same as no touch
START, CONVERSION, LOST = "(start)", "(conversion)", "(lost)"  # states of the Markov chain beside the partners
FEW = 30  # conversions below which a partner gets no verdict and no rank
ENOUGH = 0.9  # share of the largest excess that a window must reach
MOST_POOLED = 0.2  # share of exposed days without a background of their own: beyond it a borrowed rate, not the data, would decide the excess
THIN = 0.05  # untouched days per exposed day below which a stratum has no background: one untouched conversion would weigh more than 20 exposed ones
BACKGROUND, UNTOLD = "indistinguishable from background", "cannot be told"
TENURE_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365)
MOST_PERIODS = 6  # calendar strata, of 28 days or more
DAY = 86_400_000_000
FAR = np.int64(2**61)  # "never", with room to add a window
NOTES = ("late_touch", "conflict", "unresolved", "own_tag", "too_early", "outside")


@dataclass(frozen=True)
class Attribution:
    """Result of `attribution_windows`, which says what the columns mean."""

    credit: pd.DataFrame
    windows: pd.DataFrame
    stability: pd.DataFrame
    partners: pd.DataFrame
    finding: str
    caveats: tuple[str, ...]


def attribution_windows(
    log: EventLog, conversion: str | Sequence[str] | Step, *, windows: Sequence[str], as_of: Any, rules: Sequence[str] = RULES,
    by: str = "partner_id", half_life: str = "7d", seed: int, reference: str | None = None, touches: Any = ANY,
    aliases: Mapping[str, str] | None = None, start: Any = None, competing: Any = None, value: float | None = None,
) -> Attribution:
    """Credit of every partner under every rule and window, and the part of it that exceeds the background.

    Users are at risk from their first ``start`` event (None: their first event of any kind) until their first ``conversion``, a ``competing`` exit or
    ``as_of``; only that first conversion counts. A touch is an event matching ``touches`` that carries ``by``; with ``by="partner_id"``, in this order:
    partner_id, a promo_code or utm_source that ``aliases`` (spelling -> partner, any case) or the spend table names, any other promo_code under its own
    name, any other utm_source as "(unresolved utm)". A conversion event is never a touch, whatever it carries; other events of its very moment are.
    A touch at t is eligible for a conversion at T when 0 <= T - t <= window. Every conversion is looked back on for the longest window: those in the log's
    first max(``windows``) are left out, so every lag is seen over equally many days.

    Rules share each conversion among its eligible touches, repeats counted, touches of one moment in alphabetical order: first, last, linear,
    time_decay 2^(-lag / ``half_life``), position 40/20/40 (two touches 50/50). shapley: the game of Zhao, Mahboobi & Bagheri 2018, worth of a set of
    partners = conversions whose touches all belong to it, which is an equal split among a conversion's distinct partners. markov: removal effects of a
    first-order chain (Anderl et al. 2016), solved exactly and scaled to the attributed total; a run of touches with gaps up to the window that no
    conversion follows within the window is a lost path. None of the rules is causal.

    Excess = attributed conversions - background rate x exposed days. Exposed: at risk and within the window of any touch; background: conversions per day
    at risk without a touch in the *longest* window (so late effects do not pass for background), by tenure and calendar. Where touches are dense, the
    excess of a short window also holds conversions that an older touch of the same user caused (+10 % at 7 days in a simulation). A partner's own excess
    uses additive hazards on all partners' exposures at the ``reference`` window (None: the longest), by the same strata (Lin & Ying 1994), so
    conversions caused by one partner are not counted for another whose touches lie near. All intervals: 95 %; bootstrap of 100 user buckets, seeded.
    Without untouched time at the same tenure and calendar (less than 1 day for 20 exposed ones) on more than 20 % of the exposed days there is nothing to
    compare with: n_excess, dilution_rate, roi and their ci are NaN, no window is admissible and no partner is judged.

    ``credit``: partner_id (named as ``by``), rule, window_days, credit (conversions), credit_share + ci.
    ``windows``: window_days, n_attributed, n_late (attributed at the longest window, last touch older than this one), late_rate + ci (Wilson), n_excess
    + ci, dilution_rate + ci (1 - excess / attributed), admissible: excess above 0, not distinguishably below 90 % of the largest excess, none
    distinguishable in the next bin (for the longest window: in its last bin); from the first window surely above 90 % on, wider ones only add background.
    ``stability``: rule, window_days, kendall_tau (tau-b of the partners' credit against the reference window), top_partner, top_rate (share of bootstrap
    draws in which it is the top); partners with fewer than 30 conversions at the reference window are left out.
    ``partners``, at the reference window: partner_id, spend_amount (in the days of the counted conversions), n_attributed (conversions with any of its
    touches), n_credited (linear, or the first rule given), n_excess + ci, cost_amount (spend per credited conversion), roi + ci = (n_excess x ``value`` -
    spend) / spend, NaN without ``value``, verdict: too few conversions (< 30), cannot be told (no background, or an interval of n_excess wider than
    n_attributed), earns credit or below background (interval without 0), indistinguishable from background.
    Raises ParameterError: unknown event, rule, column or window. DataError: no touch, or no conversion that can be looked back on.
    """
    plan, steps = _plan(log, conversion, windows, as_of, rules, by, half_life, reference, touches, aliases, start, competing)
    dims = ["event.partner_id", "event.promo_code", "event.utm_source"] if by == "partner_id" else [by if "." in by else f"event.{by}"]
    counts = _Counts(log.reduce(plan, events=steps, by=dims, as_of=as_of), plan)
    if not counts.risk_n.any():
        raise DataError(f"{log.name}: none of {counts.notes['too_early']:,} conversions lies after the first {plan.windows[-1] / DAY:g} days of the log, "
                        "which the longest window needs to look back on; take shorter windows.")
    if not counts.names:
        but = "but the conversion itself " if counts.notes["own_tag"] else ""
        raise DataError(f"{log.name}: no event up to as_of {but}carries {by}, so there is no touch to credit.")
    table, credit, draws = _credit(counts, plan, by, seed)
    ranked = np.flatnonzero(counts.partner_n.sum(axis=0) >= FEW)
    shape, pooled, reason = _windows(counts, plan.windows / DAY, seed)
    rule = "linear" if "linear" in plan.rules else plan.rules[0]
    ruled = pd.DataFrame(credit[plan.rules.index(rule)].T, index=counts.names, columns=plan.windows / DAY)
    partners = _partners(log, counts, plan, by, ruled, value, pooled > MOST_POOLED, seed)
    idle = list(partners.loc[partners["verdict"] == BACKGROUND, by])
    return Attribution(
        table, shape, _stability(credit[..., ranked], draws[..., ranked], plan, np.array(counts.names)[ranked]), partners,
        _finding(ruled.iloc[ranked], shape, rule, plan.reference, reason, idle), _caveats(counts.notes, plan, by, pooled, competing is not None))


def _plan(
    log: EventLog, conversion: Any, windows: Sequence[str], as_of: Any, rules: Sequence[str], by: str, half_life: str, reference: str | None,
    touches: Any, aliases: Mapping[str, str] | None, start: Any, competing: Any,
) -> tuple[_Walk, list[Step]]:
    """The checked question: the kernel, its matchers (conversion, start, perhaps an exit, then touches)."""
    if not by:
        raise ParameterError("by: name the column that holds the partner.")
    if isinstance(windows, str) or not windows:
        raise ParameterError('windows: give a list of durations, such as ["7d", "30d"].')
    lengths = np.unique([as_window(w, "windows") for w in windows])
    if reference is not None and as_window(reference, "reference") not in lengths:
        raise ParameterError(f'reference: "{reference}" is not one of the windows ({", ".join(map(str, windows))}).')
    for rule in rules:
        if rule not in RULES:
            raise ParameterError(f'rules: "{rule}" is not one of {", ".join(RULES)}.{nearest(rule, RULES)}')
    if not rules:
        raise ParameterError(f"rules: give at least one of {', '.join(RULES)}.")
    for name, event in (("conversion", conversion), ("start", start), ("competing", competing), ("touches", touches)):
        if event is not None and (missing := log.missing_events([event])):
            raise ParameterError(f"{name}: {missing[0]}")
    steps = [as_step(conversion), as_step(ANY if start is None else start)] + ([] if competing is None else [as_step(competing)])
    touch = as_step(touches)
    tags = ("partner_id", "promo_code", "utm_source") if by == "partner_id" else (by,)
    spend = log.table("spend")
    named = spend[by].dropna().unique() if by in ("partner_id", "channel") else []
    known = {str(name).strip().lower(): str(name) for name in named} | {str(a).strip().lower(): str(p) for a, p in (aliases or {}).items()}
    origin, end = int(log.first_event.value // 1000) + int(lengths[-1]), log.as_of(as_of)
    period = max(28 * DAY, -(-(end - origin) // MOST_PERIODS))
    at = np.searchsorted(lengths, lengths[-1] if reference is None else as_window(reference))
    plan = _Walk(tuple(dict.fromkeys(rules)), lengths, int(at), as_window(half_life, "half_life"), known, competing is not None, origin, end,
                 np.arange(origin + period, end, period, dtype=np.int64))
    return plan, [*steps, *(Step(touch.event, {**touch.where, tag: ANY}) for tag in tags)]


# ---------------------------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class _Walk:
    """The kernel: journeys to additive sums by user bucket. Columns of its table: what, bucket, window, item, partner, other, sum_value."""

    rules: tuple[str, ...]
    windows: np.ndarray  # microseconds, ascending
    reference: int  # index of the reference window
    half_life: int
    known: Mapping[str, str]
    has_exit: bool
    origin: int  # conversions and days at risk count from here
    end: int  # and up to here
    periods: np.ndarray  # calendar edges

    @property
    def n_strata(self) -> int:
        return (len(TENURE_DAYS) + 1) * (len(self.periods) + 1)

    def __call__(self, j: Journeys) -> pd.DataFrame:
        names, label, conflict, own_tag = self._labels(j)
        rows_1 = first_rows(j.user)
        uid = np.cumsum(np.diff(j.user, prepend=-1) != 0) - 1
        bucket, parts = j.bucket[rows_1].astype(np.int64), []
        states = np.array([*names, START, CONVERSION, LOST], dtype=object)

        def first_time(bit: int) -> np.ndarray:
            rows = np.flatnonzero(j.has(bit))
            rows = rows[first_rows(uid[rows])]
            time = np.full(len(rows_1), FAR)
            time[uid[rows]] = j.time[rows]
            return time

        def tally(what: str, who: np.ndarray, value: Any = 1.0, *, window: Any = 0, item: Any = 0, partner: Any = 0, other: Any = 0) -> None:
            size = (100, len(self.windows) + 1, max(self.n_strata, len(RULES)), len(states), len(states))
            key = np.ravel_multi_index(np.broadcast_arrays(bucket[who], window, item, partner, other), size)
            sums = pd.Series(np.broadcast_to(value, key.shape), dtype=float).groupby(key).sum()
            b, w, i, p, o = np.unravel_index(sums.index.to_numpy(np.int64), size)
            parts.append(pd.DataFrame({"what": what, "bucket": b, "window": w, "item": i, "partner": states[p], "other": states[o],
                                       "sum_value": sums.to_numpy()}))

        u = _Users(first_time(1), first_time(0), first_time(2) if self.has_exit else np.full(len(rows_1), FAR), self.origin, self.end)
        at = np.flatnonzero((label >= 0) & ((u.start < FAR) & (u.start <= u.conv))[uid])
        at = at[j.time[at] <= u.end[uid[at]]]
        at = at[np.lexsort((label[at], j.time[at], uid[at]))]
        self._risk(tally, u, uid[at], j.time[at], label[at])
        self._paths(tally, u, uid[at], j.time[at], label[at], start_state=len(names))
        for i, rows in enumerate(((label >= 0) & (j.time > u.conv[uid]), conflict, label == (names.index(UNRESOLVED) if UNRESOLVED in names else -2),
                                  own_tag)):
            tally("note", uid[rows], item=i)
        for i, users in enumerate((u.inside & ~u.counted, (u.conv < FAR) & ~u.inside), start=4):
            tally("note", np.flatnonzero(users), item=i)
        return pd.concat(parts, ignore_index=True)

    def _labels(self, j: Journeys) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
        """Partner names in order, each row's code (-1: no touch), whether its tags name different partners, and whether it is a conversion with a tag."""
        resolve = lambda words: [self.known.get(w.strip().lower()) if w != MISSING else None for w in words]  # noqa: E731
        own = {name: [None if w == MISSING else k or w for w, k in zip(words, resolve(words))] for name, words in j.levels.items()}
        if len(j.levels) == 1:
            sure = ranked = [(name, own[name]) for name in j.levels]
        else:
            partner, promo, utm = j.levels
            sure = [(partner, own[partner]), (promo, resolve(j.levels[promo])), (utm, resolve(j.levels[utm]))]
            ranked = [*sure, (promo, own[promo]), (utm, [w and UNRESOLVED for w in own[utm]])]
        names = sorted({w for _, words in ranked for w in words if w})
        code = {w: i for i, w in enumerate(names)} | {None: -1}
        is_touch = j.mask >> np.uint64(3 if self.has_exit else 2) > 0
        label, conflict = np.full(len(j), -1), np.zeros(len(j), bool)
        for n, (dim, words) in enumerate(ranked):
            codes = np.where(is_touch, np.array([code[w] for w in words])[j.dims[dim]], -1)
            if n < len(sure):
                conflict |= (label >= 0) & (codes >= 0) & (codes != label)
            label = np.where(label >= 0, label, codes)
        own_tag = (label >= 0) & j.has(0)  # super-properties stamp the last partner on the conversion: that is no touch
        return names, np.where(own_tag, -1, label), conflict & ~own_tag, own_tag

    def _risk(self, tally: Callable[..., None], u: _Users, user: np.ndarray, time: np.ndarray, partner: np.ndarray) -> None:
        """Days at risk and conversions by stratum and lag of the last touch; per partner the exposed days and those shared with another partner."""
        tenure, n_periods = np.array(TENURE_DAYS) * DAY, len(self.periods) + 1

        def strata(who: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            row, band, a, b = _cut(a, b, u.start[who], tenure)
            again, period, a, b = _cut(a, b, np.zeros(len(a), np.int64), self.periods)
            return row[again], band[again] * n_periods + period, (b - a) / DAY

        # from a touch to the next one the lag runs; before the first touch it is beyond every window
        begin = first_rows(user)
        final = np.r_[begin[1:], len(user)] - 1 if len(user) else begin
        first_touch, last_touch, following = np.full(len(u.start), FAR), np.full(len(u.start), -FAR), np.roll(time, -1)
        first_touch[user[begin]], last_touch[user[final]], following[final] = time[begin], time[final], FAR
        everyone = np.flatnonzero(u.start < FAR)
        who, since = np.r_[user, everyone], np.r_[time, u.start[everyone] - self.windows[-1] - 1]
        a, b = np.maximum(np.r_[time, u.low[everyone]], u.low[who]), np.minimum(np.r_[following, first_touch[everyone]], u.end[who])
        some = a < b
        row, lag, a, b = _cut(a[some], b[some], since[some], self.windows)
        part, stratum, length = strata(who[some][row], a, b)
        tally("risk_time", who[some][row][part], length, window=lag[part], item=stratum)
        won = np.flatnonzero(u.counted)
        conv = u.conv[won]
        stratum = np.searchsorted(tenure, conv - u.start[won]) * n_periods + np.searchsorted(self.periods, conv)
        tally("risk_n", won, window=np.searchsorted(self.windows, conv - last_touch[won]), item=stratum)

        # a partner's exposure: the union of the windows of its touches; then what two partners' exposures have in common
        reach = self.windows[self.reference]
        order = np.lexsort((time, partner, user))
        who, p, t = user[order], partner[order], time[order]
        fresh = np.r_[True, (np.diff(who) != 0) | (np.diff(p) != 0) | (np.diff(t) > reach)][:len(t)]
        a, b, who, p = t[fresh], t[np.r_[fresh[1:], True][:len(t)]] + reach, who[fresh], p[fresh]
        held = u.counted[who] & (b >= u.conv[who])  # no touch is later than the conversion, so only a partner's last union can hold it
        tally("partner_n", who[held], partner=p[held])
        a, b = np.maximum(a, u.low[who]), np.minimum(b, u.end[who])
        some = a < b
        who, p, a, b = who[some], p[some], a[some], b[some]
        row, stratum, length = strata(who, a, b)
        tally("partner_time", who[row], length, item=stratum, partner=p[row])
        i, step = np.arange(len(who) - 1), 1
        while len(i := i[(i + step < len(who))]) and len(i := i[who[i + step] == who[i]]):
            common = np.minimum(b[i], b[i + step]) - np.maximum(a[i], a[i + step])
            meet = i[common > 0]
            tally("overlap", who[meet], common[common > 0] / DAY, partner=p[meet], other=p[meet + step])
            step += 1

    def _paths(self, tally: Callable[..., None], u: _Users, user: np.ndarray, time: np.ndarray, partner: np.ndarray, start_state: int) -> None:
        """Credit by rule and window, and the transitions of the Markov chain by window."""
        lag, n = u.conv[user] - time, len(user)
        apart = np.r_[np.diff(user) != 0, True][:n]  # the next touch is another user's
        following = np.r_[partner[1:], -1][:n]
        latest = np.zeros(n, bool)  # the partner's latest touch in the path
        order = np.lexsort((np.arange(n), partner, user))
        latest[order] = np.r_[(np.diff(user[order]) != 0) | (np.diff(partner[order]) != 0), True][:n]
        for w, window in enumerate(self.windows):
            hit = u.counted[user] & (lag <= window)
            rows = np.flatnonzero(hit)
            for i, rule in enumerate(self.rules):
                if rule != "markov":
                    tally("credit", user[rows], _shares(rule, user[rows], lag[rows] / self.half_life, latest[rows]), window=w, item=i, partner=partner[rows])
            if "markov" not in self.rules:
                continue
            ends = apart | (np.r_[np.diff(time), 0][:n] > window) | (hit != np.r_[hit[1:], False][:n])
            closed = np.minimum(time + window, u.leave[user])  # a path is lost when its window closes or the user leaves
            lost = ~hit & ~(u.inside[user] & (lag <= window)) & (closed >= self.origin) & (closed <= self.end)
            begins = np.r_[True, ends[:-1]][:n]
            valid = (hit | lost)[ends][np.cumsum(begins) - 1]
            begins, moves, ends = begins & valid, ~ends & valid & (partner != following), ends & valid  # staying changes no removal effect
            tally("path", user[begins], window=w, partner=start_state, other=partner[begins])
            tally("path", user[moves], window=w, partner=partner[moves], other=following[moves])
            tally("path", user[ends], window=w, partner=partner[ends], other=start_state + np.where(hit[ends], 1, 2))


@dataclass(frozen=True)
class _Users:
    """Per user: start, conversion and exit (FAR: never), in microseconds, and what follows from them."""

    start: np.ndarray
    conv: np.ndarray
    leave: np.ndarray
    origin: int
    as_of: int

    @cached_property
    def low(self) -> np.ndarray:
        """Begin of the counted time at risk."""
        return np.maximum(self.start, self.origin)

    @cached_property
    def end(self) -> np.ndarray:
        """End of the time at risk."""
        return np.minimum(np.minimum(self.conv, self.leave), self.as_of)

    @cached_property
    def inside(self) -> np.ndarray:
        """Converts while at risk."""
        return (self.start <= self.conv) & (self.conv <= self.leave) & (self.conv < FAR)

    @cached_property
    def counted(self) -> np.ndarray:
        """Converts while at risk, and late enough to be looked back on."""
        return self.inside & (self.conv >= self.origin)


def _cut(a: np.ndarray, b: np.ndarray, anchor: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Intervals (a, b] cut at ``anchor`` + ``edges``: row, band (edges are upper ends, inclusive), begin and end of each piece."""
    first, last = np.searchsorted(edges, a - anchor, side="right"), np.searchsorted(edges, b - anchor, side="left")
    n = last - first + 1
    row = np.repeat(np.arange(len(a)), n)
    band = np.arange(len(row)) - np.repeat(np.cumsum(n) - n, n) + first[row]
    bounds = np.r_[-FAR, edges, FAR]
    return row, band, np.maximum(a[row], anchor[row] + bounds[band]), np.minimum(b[row], anchor[row] + bounds[band + 1])


def _shares(rule: str, user: np.ndarray, half_lives: np.ndarray, latest: np.ndarray) -> np.ndarray:
    """Each touch's share of its conversion; the rows are whole paths, in order."""
    first = first_rows(user)
    n = np.repeat(np.diff(np.r_[first, len(user)]), np.diff(np.r_[first, len(user)]))
    before = np.arange(len(user)) - np.repeat(first, np.diff(np.r_[first, len(user)]))
    after = n - 1 - before
    if rule == "position":
        return np.select([n == 1, n == 2, (before == 0) | (after == 0)], [1.0, 0.5, 0.4], 0.2 / np.maximum(n - 2, 1))
    recent = half_lives - half_lives[np.arange(len(user)) + after]  # against the path's last touch, so that nothing vanishes
    weight = {"first": before == 0, "last": after == 0, "linear": np.ones(len(user)), "time_decay": 2.0**-recent, "shapley": latest}[rule].astype(float)
    return weight / np.repeat(np.add.reduceat(weight, first), n[first]) if len(user) else weight


class _Counts:
    """The kernel's table as arrays; axis 0 is the user bucket."""

    def __init__(self, table: pd.DataFrame, plan: _Walk) -> None:
        self.names = sorted(set(table.loc[table["what"].isin(["credit", "path", "partner_time"]), "partner"]) - {START})
        code = {name: i for i, name in enumerate([*self.names, START, CONVERSION, LOST])}
        table = table.assign(**{c: table[c].map(code).fillna(0).astype(int) for c in ("partner", "other")})
        p, k = len(self.names), len(plan.windows)

        def dense(what: str, *axes: tuple[str, int]) -> np.ndarray:
            part, out = table[table["what"].eq(what)], np.zeros((100, *(size for _, size in axes)))
            out[(part["bucket"].to_numpy(), *(part[name].to_numpy() for name, _ in axes))] = part["sum_value"]
            return out

        self.credit = dense("credit", ("item", len(plan.rules)), ("window", k), ("partner", p))
        self.path = dense("path", ("window", k), ("partner", p + 1), ("other", p + 3)) if "markov" in plan.rules else None
        self.risk_n, self.risk_time = (dense(what, ("item", plan.n_strata), ("window", k + 1)) for what in ("risk_n", "risk_time"))
        self.partner_n, self.partner_time = dense("partner_n", ("partner", p)), dense("partner_time", ("item", plan.n_strata), ("partner", p))
        overlap = dense("overlap", ("partner", p), ("other", p))
        self.overlap = overlap + overlap.transpose(0, 2, 1) + self.partner_time.sum(axis=1)[:, :, None] * np.eye(p)
        self.notes = dict(zip(NOTES, dense("note", ("item", len(NOTES))).sum(axis=0).astype(int)))


# -------------------------------------------------------------------------------------------------------------------------- statistics


def _removal_credit(path: np.ndarray, total: np.ndarray) -> np.ndarray:
    """(n, partners) credit from n chains' transition counts (n, partners + start, partners + start + conversion + lost), scaled to ``total`` (n,).

    Removal effect = P(the partner is ever visited) x P(conversion from there) / P(conversion): paths through a removed partner are lost.
    """
    p = path.shape[1] - 1
    move = np.nan_to_num(stats.rate(path, path.sum(axis=2, keepdims=True)))
    visits = np.linalg.inv(np.eye(p) - move[:, :p, :p])  # expected visits, row to column
    arrive = np.einsum("ni,nij->nj", move[:, p, :p], visits) / np.einsum("nii->ni", visits)
    effect = arrive * np.einsum("nij,nj->ni", visits, move[:, :p, p + 1])
    return np.nan_to_num(total[:, None] * stats.rate(effect, effect.sum(axis=1, keepdims=True)))


def _credit(counts: _Counts, plan: _Walk, by: str, seed: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The credit table, the same credit as an array (rules, windows, partners), and bootstrap draws of it (draws first)."""
    n_rules, k, p = counts.credit.shape[1:]
    attributed = counts.risk_n.sum(axis=1).cumsum(axis=1)[:, :k]
    flat = [counts.credit.reshape(100, -1), attributed] + ([] if counts.path is None else [counts.path.reshape(100, -1)])
    edges = np.cumsum([a.shape[1] for a in flat])

    def from_sums(sums: np.ndarray) -> np.ndarray:
        credit = sums[:, :edges[0]].reshape(-1, n_rules, k, p).copy()
        if counts.path is not None:
            path = sums[:, edges[1]:].reshape(-1, k, p + 1, p + 3)
            for w in range(k):
                credit[:, plan.rules.index("markov"), w] = _removal_credit(path[:, w], sums[:, edges[0] + w])
        return credit

    whole = np.concatenate(flat, axis=1)
    credit, draws = from_sums(whole.sum(axis=0, keepdims=True))[0], from_sums(stats.bucket_draws(whole, np.asarray, seed=seed))
    share = lambda c: stats.rate(c, c.sum(axis=-1, keepdims=True))  # noqa: E731
    low, high = stats.percentile_interval(share(draws))
    grid = pd.MultiIndex.from_product([counts.names, plan.rules, plan.windows / DAY], names=[by, "rule", "window_days"])
    spread = lambda a: np.moveaxis(a, -1, 0).ravel()  # noqa: E731
    table = pd.DataFrame({"credit": spread(credit), "credit_share": spread(share(credit)), "credit_share_ci_lower": spread(low),
                          "credit_share_ci_upper": spread(high)}, index=grid)
    return table.reset_index(), credit, draws


def _stability(credit: np.ndarray, draws: np.ndarray, plan: _Walk, names: np.ndarray) -> pd.DataFrame:
    """``credit``, ``draws``: of the partners that can be ranked, the last axis."""
    order = np.sign(credit[..., :, None] - credit[..., None, :])  # of every pair of partners; Kendall's tau-b is their correlation
    kept, against = (order**2).sum(axis=(-2, -1)), order[:, plan.reference, None]
    tau = stats.rate((order * against).sum(axis=(-2, -1)), np.sqrt(kept * kept[:, plan.reference, None]))
    rows = []
    for i, rule in enumerate(plan.rules if len(names) else ()):
        for w, days in enumerate(plan.windows / DAY):
            top = credit[i, w].argmax()
            rows.append((rule, days, tau[i, w], names[top], (draws[:, i, w].argmax(axis=1) == top).mean()))
    return pd.DataFrame(rows, columns=["rule", "window_days", "kendall_tau", "top_partner", "top_rate"])


def _windows(counts: _Counts, days: np.ndarray, seed: int) -> tuple[pd.DataFrame, float, str]:
    """The windows table, the share of exposed days whose stratum has hardly any background of its own, and why no window is admissible."""
    k = len(days)
    n, time = counts.risk_n.sum(axis=0), counts.risk_time.sum(axis=0)
    exposed = time[:, :k].sum(axis=1)
    pooled = float(np.nan_to_num(stats.rate(exposed[time[:, k] < THIN * exposed].sum(), exposed.sum()))) if time[:, k].any() else 1.0

    def excess(sums: np.ndarray) -> np.ndarray:
        """Attributed conversions beyond the background, by lag bin (not cumulative)."""
        n, time = sums
        overall = n[:, k].sum() / time[:, k].sum() if time[:, k].sum() > 0 else np.nan
        background = np.divide(n[:, k], time[:, k], out=np.full(len(n), overall), where=time[:, k] > 0)
        return n[:, :k].sum(axis=0) - background @ time[:, :k]

    draws = stats.bucket_draws(np.stack([counts.risk_n, counts.risk_time], axis=1), excess, seed=seed)
    attributed, gain = n[:, :k].sum(axis=0).cumsum(), excess(np.stack([n, time])).cumsum()
    drawn = draws.cumsum(axis=1)
    drawn_n = stats.bucket_draws(counts.risk_n.sum(axis=1)[:, :k], np.cumsum, seed=seed)
    late = attributed[-1] - attributed
    (e_low, e_high), (d_low, d_high) = stats.percentile_interval(drawn), stats.percentile_interval(1 - stats.rate(drawn, drawn_n))
    late_low, late_high = stats.wilson(late, np.full(k, attributed[-1]))
    most = drawn.max(axis=1, keepdims=True)
    r_low, r_high = stats.percentile_interval(np.where(most > 0, drawn / np.where(most > 0, most, 1), np.nan))
    bin_low = stats.percentile_interval(draws)[0]
    rises = np.r_[bin_low[1:], bin_low[-1]] > 0  # the excess still grows beyond the window; for the longest: within its last bin
    admissible = (e_low > 0) & (r_high >= ENOUGH) & ~rises
    enough = np.flatnonzero(admissible & (r_low >= ENOUGH))
    admissible[enough[0] + 1 if len(enough) else k:] = False
    table = pd.DataFrame({
        "window_days": days, "n_attributed": attributed.astype(int), "n_late": late.astype(int), "late_rate": stats.rate(late, attributed[-1]),
        "late_rate_ci_lower": late_low, "late_rate_ci_upper": late_high, "n_excess": gain, "n_excess_ci_lower": e_low, "n_excess_ci_upper": e_high,
        "dilution_rate": 1 - stats.rate(gain, attributed), "dilution_rate_ci_lower": d_low, "dilution_rate_ci_upper": d_high, "admissible": admissible})
    reason = "no window reaches 90 % of the excess and stops growing"
    if pooled > MOST_POOLED:
        table.loc[:, "n_excess":"dilution_rate_ci_upper"], table["admissible"] = np.nan, False
        reason = f"{100 * pooled:.0f} % of the exposed days have no untouched time at the same tenure to compare with"
    elif not (e_low > 0).any():
        reason = "no window holds more conversions than the background would bring"
    elif rises[-1]:
        reason = f"the excess still grows in the last bin, so take windows longer than {days[-1]:g} days"
    return table, pooled, reason


def _partners(
    log: EventLog, counts: _Counts, plan: _Walk, by: str, credit: pd.DataFrame, value: float | None, blind: bool, seed: int,
) -> pd.DataFrame:
    """The partners table; ``blind``: the data have no background, so nothing is said about excess."""
    p, s = len(counts.names), plan.n_strata
    flat = [counts.partner_n, counts.risk_n.sum(axis=2), counts.risk_time.sum(axis=2), counts.partner_time.reshape(100, -1), counts.overlap.reshape(100, -1)]
    edges = np.cumsum([a.shape[1] for a in flat])[:-1]

    def excess(sums: np.ndarray) -> np.ndarray:
        """Least squares of the additive hazard: background by stratum + one addition a partner while exposed to it, times its exposed days."""
        reached, n, time, exposed, common = np.split(sums, edges, axis=1)
        exposed, common = exposed.reshape(-1, s, p), common.reshape(-1, p, p)
        share = np.nan_to_num(stats.rate(exposed, time[:, :, None])).swapaxes(1, 2)
        effect = np.linalg.pinv(common - share @ exposed, hermitian=True) @ (reached[..., None] - share @ n[..., None])
        return effect[..., 0] * exposed.sum(axis=1)

    whole = np.concatenate(flat, axis=1)
    gain = excess(whole.sum(axis=0, keepdims=True))[0]
    low, high = stats.percentile_interval(excess(stats.bucket_draws(whole, np.asarray, seed=seed)))
    if blind:
        gain = low = high = np.full(p, np.nan)
    credited, amount = credit.iloc[:, plan.reference], pd.Series(np.nan, index=counts.names)
    if by in ("partner_id", "channel"):
        spend, (first, last) = log.table("spend"), (pd.Timestamp(us, unit="us").normalize() for us in (plan.origin, plan.end))
        amount = spend[pd.to_datetime(spend["day"]).between(first, last)].groupby(by)["amount"].sum().reindex(counts.names)
    n = counts.partner_n.sum(axis=0)
    money = np.nan if value is None else float(value)
    verdict = np.select([n < FEW, ~(high - low <= n), low > 0, high < 0],
                        [f"too few conversions (< {FEW})", UNTOLD, "earns credit", "below background"], BACKGROUND)
    roi = {name: (gain * money / amount.where(amount > 0) - 1) for name, gain in (("roi", gain), ("roi_ci_lower", low), ("roi_ci_upper", high))}
    return pd.DataFrame({
        by: counts.names, "spend_amount": amount, "n_attributed": n.astype(int), "n_credited": credited, "n_excess": gain, "n_excess_ci_lower": low,
        "n_excess_ci_upper": high, "cost_amount": amount / credited.where(credited > 0), **roi, "verdict": verdict,
    }).sort_values(["n_excess", "n_attributed"], ascending=False, ignore_index=True)


def _finding(credit: pd.DataFrame, windows: pd.DataFrame, rule: str, reference: int, reason: str, idle: Sequence[str]) -> str:
    """``credit``: the partners that can be ranked x windows, under one rule; ``idle``: those indistinguishable from background."""
    full = windows.loc[windows["n_attributed"] >= FEW * max(len(credit), 1), "window_days"]  # in shorter ones noise is ranked
    rank = credit[full].rank(ascending=False, method="min")
    first = f"There are too few conversions to compare ranks between windows ({len(credit)} partner{'s'[:len(credit) != 1]} with {FEW} or more)."
    if len(full) > 1 and len(credit) > 1:
        moved = rank.iloc[:, 0] - rank.iloc[:, -1]
        who, span = moved.abs().idxmax(), f"from {full.iloc[0]:g} to {full.iloc[-1]:g} days"
        first = (f"Credit depends on the window: {span}, {who} moves from rank {rank.loc[who].iloc[0]:.0f} to rank {rank.loc[who].iloc[-1]:.0f} ({rule} rule)."
                 if moved.any() else f"The partners keep their ranks {span} ({rule} rule).")
    fit = windows.loc[windows["admissible"], "window_days"]
    span = (f"No window is admissible: {reason}" if fit.empty else f"Of the windows tried, {fit.iloc[0]:g} days is admissible" if len(fit) == 1 else
            f"Windows between {fit.iloc[0]:g} and {fit.iloc[-1]:g} days are admissible")
    at = windows.iloc[reference]
    last = f" {BACKGROUND[:1].upper()}{BACKGROUND[1:]}: {', '.join(idle)}." if idle else ""
    if np.isnan(at["dilution_rate"]):
        return f"{first} {span}.{last}"
    share, low, high = (100 * min(at[c], 1) for c in ("dilution_rate", "dilution_rate_ci_lower", "dilution_rate_ci_upper"))
    which = (f"{at['n_attributed'] - at['n_excess']:,.0f} of {at['n_attributed']:,} attributed conversions ({share:.0f} %," if at["n_excess"] > 0 else
             f"as far as the data can tell, all of the {at['n_attributed']:,} attributed conversions (100 %,")
    return f"{first} {span}; at {at['window_days']:g} days {which} {low:.0f} to {high:.0f}) would have happened anyway.{last}"


def _caveats(notes: Mapping[str, int], plan: _Walk, by: str, pooled: float, has_exit: bool) -> tuple[str, ...]:
    origin = pd.Timestamp(plan.origin, unit="us")
    out = ["No rule is causal: Markov and Shapley too only share out what happened together. A holdout is the test of a partner.",
           f"Only each user's first conversion counts, from {origin:%Y-%m-%d %H:%M} on: the first {plan.windows[-1] / DAY:g} days of the log cannot be looked back "
           f"on ({notes['too_early']:,} conversions left out). Lags are looked back from conversions, so recent touches do not bias them; a growing volume of touches does.",
           "The excess takes it that users without a touch convert like the others would have: touches aimed at people about to convert look better than they are."]
    if notes["late_touch"]:
        out.append(f"{notes['late_touch']:,} touches after the user's first conversion earn nothing.")
    if notes["own_tag"]:
        tags = "partner_id, promo_code or utm_source" if by == "partner_id" else by
        out.append(f"{notes['own_tag']:,} conversion events carry {tags} themselves: not counted as touches.")
    if notes["conflict"]:
        out.append(f"{notes['conflict']:,} events carry tags of different partners; partner_id stands before promo_code, promo_code before utm_source.")
    if notes["unresolved"]:
        out.append(f'{notes["unresolved"]:,} touches have a utm_source that names no known partner; they are shown as "{UNRESOLVED}" until aliases resolve them.')
    if notes["outside"]:
        out.append(f"{notes['outside']:,} conversions of users without a start, before it, or after the user left are not counted.")
    if pooled > 0:
        then = ("no untouched time at the same tenure to compare with, so no excess, dilution or verdict is given" if pooled > MOST_POOLED else
                "where there is none, the overall background rate is used")
        out.append(f"{pooled:.0%} of the exposed days lie in strata of tenure and calendar with less than one untouched day for {1 / THIN:.0f} exposed ones: {then}.")
    if not has_exit:
        out.append("Nobody leaves before as_of here: where accounts are closed, name that event as competing, or the background comes out too low.")
    return tuple(out)
