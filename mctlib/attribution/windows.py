"""How much partner credit depends on the attribution window and the rule, and how much of it would have happened anyway."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.attribution import credit_rules as credits
from mctlib.attribution.credit_rules import RULES
from mctlib.attribution.incrementality import (
    DAY,
    MOST_POOLED,
    TENURE_DAYS,
    THIN,
    count_exposure,
    late_table,
    partner_excess,
    pooled_share,
    window_table,
)
from mctlib.attribution.touchpoints import (
    FAR,
    SOURCES,
    SURVEY,
    UNRESOLVED,
    Tags,
    Users,
    first_times,
)
from mctlib.contract import (
    CANONICAL,
    MISSING,
    DataError,
    ParameterError,
    as_columns,
    as_window,
    nearest,
)
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.journeys import Journeys, first_rows
from mctlib.eventlog.steps import ANY, Step, as_step

START, CONVERSION, LOST = (
    " start",
    " conversion",
    " lost",
)  # states of the Markov chain beside the partners, whose names begin with no blank
FEW = 30  # conversions below which a partner gets no verdict and no rank
BACKGROUND, UNTOLD = "indistinguishable from background", "cannot be told"
MOST_SAID = 12  # pairs of partners of which a sentence says that they change places
MOST_PERIODS = 6  # calendar strata, of 28 days or more
LEFT_OUT = (
    "after the user's first conversion",
    "carried by a conversion itself",
    "self-referral",
    "of users not at risk",
)  # touches, in this order of reasons


@dataclass(frozen=True)
class Attribution:
    """Result of `attribution_windows`, which says what the columns mean."""

    credit: pd.DataFrame
    windows: pd.DataFrame
    stability: pd.DataFrame
    partners: pd.DataFrame
    late: pd.DataFrame
    budget: pd.DataFrame
    flips: pd.DataFrame
    approaches: pd.DataFrame
    touches: pd.DataFrame
    conflicts: pd.DataFrame
    reference_days: float
    finding: str
    caveats: tuple[str, ...]


def attribution_windows(
    log: EventLog,
    conversion: str | Sequence[str] | Step,
    *,
    windows: Sequence[str],
    as_of: Any,
    rules: str | Sequence[str] = RULES,
    by: str = "partner_id",
    sources: str | Sequence[str] = SOURCES,
    half_life: str = "7d",
    seed: int,
    reference: str | None = None,
    touches: Any = ANY,
    aliases: Mapping[str, str] | None = None,
    start: Any = None,
    competing: Any = None,
    value: float | None = None,
) -> Attribution:
    """Credit of every partner under every rule and window, and the part of it that exceeds the background.

    Users are at risk from their first ``start`` event (None: their first event of any kind) until their first ``conversion``, a ``competing`` exit or
    ``as_of``; only that first conversion counts. A touch is an event matching ``touches`` that carries ``by``. With ``by="partner_id"`` the partner is read
    from ``sources``, and where they contradict each other the first one named stands: partner_id in its own words; promo_code or utm_source that ``aliases``
    (spelling -> partner, any case) or the spend table names; ``"survey:<question>"``, a user's first answer to that question of the surveys (its reason where
    there is one) that they name: a tag of the last touch up to the user's start, or of the start itself. Where none of them names a partner, any other promo_code
    stands under its own name and any other utm_source as "(unresolved utm)". An alias to "" is ourselves: touches that name nobody else are self-referrals and
    left out. Blank tags are no tags. A conversion event is never a touch, whatever it carries; other events of its very moment are.
    A touch at t is eligible for a conversion at T when 0 <= T - t <= window. Every conversion is looked back on for the longest window: those in the log's
    first max(``windows``) are left out, so every lag is seen over equally many days.

    Rules share each conversion among its eligible touches, repeats counted, touches of one moment in alphabetical order: first, last, linear,
    time_decay 2^(-lag / ``half_life``), position 40/20/40 (two touches 50/50). shapley: the game of Zhao, Mahboobi & Bagheri 2018, worth of a set of
    partners = conversions whose touches all belong to it, which is an equal split among a conversion's distinct partners. markov: removal effects of a
    first-order chain (Anderl et al. 2016), solved exactly and scaled to the attributed total; a run of touches with gaps up to the window that no
    conversion follows within the window is a lost path. None of the rules is causal.

    Excess = attributed conversions - background rate x exposed days. A conversion at the very start of its user's counted time at risk has no time to be compared
    with: it is in no background, and a caveat counts those attributed, which are no excess. Exposed: at risk and within the window of any touch; background: conversions per day
    at risk without a touch in the *longest* window (so late effects do not pass for background), by tenure and calendar. Where touches are dense, the
    excess of a short window also holds conversions that an older touch of the same user caused (+10 % at 7 days in a simulation). Placebo: the same touches
    moved later by one to two longest windows, counted where no true touch is within the longest window; touched users' own background, at the same tenure and
    calendar, free of how prone they are to convert. A partner's own excess uses additive hazards on all partners' exposures at the ``reference`` window
    (None: the longest), by the same strata (Lin & Ying 1994), so conversions caused by one partner are not counted for another whose touches lie near. All
    intervals: 95 %; bootstrap of 100 user buckets (users of one account in one), seeded; with fewer than 10 buckets at risk none is given, nor what rests on one
    (admissible, verdict, late shares, top_rate, flips that must be sure). Without untouched time at the same tenure and calendar (less than 1 day for 20 exposed ones) on
    more than 20 % of the exposed days there is nothing to compare with: excess, dilution, placebo, late shares, roi and their ci are NaN, no window is
    admissible and no partner is judged.

    ``credit``: partner_id (named as ``by``), rule, window_days, credit (conversions), credit_share + ci, rank + ci (NaN below 30 conversions at the reference).
    ``windows``: window_days, n_attributed, n_late (attributed at the longest window, last touch older than this one), late_rate + ci (Wilson), n_excess
    + ci, dilution_rate + ci (1 - excess / attributed), placebo_rate + ci (the share that placebo touches would be credited with as well), admissible: excess
    above 0, not distinguishably below 90 % of the largest excess, none distinguishable in the next bin (for the longest window: in its last bin); from the
    first window surely above 90 % on, wider ones only add background.
    ``stability``: rule, window_days, kendall_tau (tau-b of the partners' credit against the reference window), top_partner, top_rate (share of bootstrap
    draws in which it is the top); partners with fewer than 30 conversions at the reference window are left out.
    ``partners``, at the reference window: partner_id (whoever touched users at risk or cost money), spend_amount (in the days of the counted conversions; spellings
    go where ``aliases`` send them, what names nobody is in a caveat), n_attributed (conversions with any of its
    touches), n_credited (linear, or the first rule given), n_excess + ci, cost_amount + ci (spend per credited conversion), roi + ci = (n_excess x ``value`` -
    spend) / spend, NaN without ``value``; cost and roi are NaN below 30 conversions; verdict: too few conversions (< 30), cannot be told (no background, no exposed day, no interval, or an
    interval of n_excess wider than n_attributed), earns credit or below background (interval without 0), indistinguishable from background.
    ``late``: partner_id ("all": any touch), window_days, n_converted (last touch that near, none of another partner within the longest window), excess_rate + ci
    (share of users who convert so soon after such a touch beyond the background, were there no further one), late_rate + ci (of those within the longest window,
    the share that comes later than this one); recent touches count for the days they were seen. Missing below 30 conversions and where nothing is in excess.
    ``budget``: partner_id, window_days, spend_amount, budget_amount + ci (all that was spent, shared out by credit), change_amount; partners with spend.
    ``flips``: kind (windows, rules, cost, cause, budget, approach), conclusion: a sentence for what holds under one window or rule in 97.5 % of the draws and the
    contrary under another, under the rule of n_credited unless said; windows with fewer than 30 conversions a ranked partner are left out.
    ``approaches``, at the reference window: approach (CRM record: people's partner_id; survey answer; last UTM: the last touch that utm_source alone names;
    multi-touch: linear, all sources), partner_id ("all": together), n_credited, n_alike (credited alike by multi-touch), n_extra, n_missing (multi-touch credits
    it, this approach another or nobody), missing_value_amount (n_missing x ``value``). Only with ``by="partner_id"``; what the data lack is left out.
    ``touches``: touch (named by which source, or left out and why), n_touches. ``conflicts``: stands (source), partner_id, overruled (source),
    overruled_partner, n_touches. ``reference_days``: the reference window.
    Raises ParameterError: unknown event, rule, source, column or window, a negative value. DataError: no touch, or no conversion that can be looked back on.
    """
    if len(columns := as_columns(by)) != 1:
        raise ParameterError("by: name the column that holds the partner.")
    if value is not None and not 0 <= value < np.inf:
        raise ParameterError(
            f"value: {value} must be 0 or more; what a conversion brings cannot be negative."
        )
    (by,) = columns
    plan, steps, dims = _plan(
        log,
        conversion,
        windows,
        as_of,
        as_columns(rules),
        by,
        as_columns(sources),
        half_life,
        reference,
        touches,
        aliases,
        start,
        competing,
    )
    table, spent = log.reduce(plan, events=steps, by=dims, as_of=as_of), _spend(log, plan)
    counts = _Counts(table, plan, spent.index[(spent != 0) & (spent.index != "")])
    if not counts.risk_n.any() and not counts.once_n.any():
        raise DataError(
            f"{log.name}: none of {counts.notes['too_early']:,} conversions lies after the first {phrases.window(int(plan.windows[-1]))} of the log, "
            "which the longest window needs to look back on; take shorter windows."
        )
    if not table["what"].eq("touch").any():
        but = "but the conversion itself " if counts.left_out[1] else ""
        raise DataError(
            f"{log.name}: no event up to as_of {but}carries {' or '.join(plan.tags.sources)}, so there is no touch to credit."
        )
    days, rule = plan.windows / DAY, _headline(plan)
    at, names = plan.rules.index(rule), np.array(counts.names)
    attributed = (counts.risk_n + counts.once_n).sum(axis=1).cumsum(axis=1)[:, :-1]
    credit, draws = credits.draw_credit(
        counts.credit,
        counts.paths,
        attributed,
        plan.rules.index("markov") if "markov" in plan.rules else 0,
        seed,
    )
    ranked = np.flatnonzero(counts.partner_n.sum(axis=0) >= FEW)
    shape, reason = window_table(
        counts.risk_n,
        counts.risk_time,
        counts.once_n,
        counts.placebo_n,
        counts.placebo_time,
        days,
        seed,
    )
    pooled, few = pooled_share(counts.risk_time.sum(axis=0)), ""
    if np.count_nonzero(counts.risk_time.any(axis=(1, 2))) < stats.MIN_CLUSTERS:
        few = f"fewer than {stats.MIN_CLUSTERS} {'accounts' if log.accounts else 'groups of users'} are too few to say how far chance goes"
        draws, reason = np.full_like(draws, np.nan), reason if pooled > MOST_POOLED else few
        shape = shape.assign(admissible=False, **{c: np.nan for c in shape.filter(like="_ci_")})
    amount = spent.reindex(names)
    partners = _partners(
        counts,
        by,
        credit[at, plan.reference],
        draws[:, at, plan.reference],
        amount,
        value,
        pooled > MOST_POOLED,
        bool(few),
        seed,
    )
    budget = _budget(credit[at], draws[:, at], amount, days, by)
    idle = list(partners.loc[partners["verdict"] == BACKGROUND, by])
    full = np.flatnonzero(
        shape["n_attributed"] >= FEW * max(len(ranked), 1)
    )  # in shorter windows noise is ranked
    approaches = _approaches(table, value)
    flips = _flips(
        credit[..., ranked],
        draws[..., ranked],
        names[ranked],
        plan,
        full,
        amount.iloc[ranked],
        value,
        idle,
        budget,
        approaches,
    )
    named, conflicts = _touches(table, counts, plan, by)
    ruled = pd.DataFrame(credit[at].T, index=names, columns=days)
    return Attribution(
        _credit(credit, draws, ranked, plan, names, by),
        shape,
        credits.stability(
            credit[..., ranked], draws[..., ranked], names[ranked], plan.rules, days, plan.reference
        ),
        partners,
        _late(counts, days, by, pooled > MOST_POOLED or bool(few), seed),
        budget,
        flips,
        approaches,
        named,
        conflicts,
        float(days[plan.reference]),
        _finding(ruled.iloc[ranked], shape, full, rule, plan.reference, reason, idle),
        _caveats(counts, plan, pooled, competing is not None, conflicts, few, spent.get("", 0.0)),
    )


def _plan(
    log: EventLog,
    conversion: Any,
    windows: Sequence[str],
    as_of: Any,
    rules: Sequence[str],
    by: str,
    sources: Sequence[str],
    half_life: str,
    reference: str | None,
    touches: Any,
    aliases: Mapping[str, str] | None,
    start: Any,
    competing: Any,
) -> tuple[_Walk, list[Step], list[str]]:
    """The checked question: the kernel, its matchers (conversion, start, perhaps an exit, then touches) and the dims it reads."""
    columns = set(CANONICAL["events"]) - {"user_id", "properties"}
    if by not in columns and "." not in by:
        raise ParameterError(
            f'by: "{by}" is neither a column of the events nor written as properties.<key>.{nearest(by, columns)}'
        )
    if isinstance(windows, str) or not windows:
        raise ParameterError('windows: give a list of durations, such as ["7d", "30d"].')
    lengths = np.unique([as_window(w, "windows") for w in windows])
    if reference is not None and as_window(reference, "reference") not in lengths:
        raise ParameterError(
            f'reference: "{reference}" is not one of the windows ({", ".join(map(str, windows))}).'
        )
    for rule in rules:
        if rule not in RULES:
            raise ParameterError(
                f'rules: "{rule}" is not one of {", ".join(RULES)}.{nearest(rule, RULES)}'
            )
    if not rules:
        raise ParameterError(f"rules: give at least one of {', '.join(RULES)}.")
    for name, event in (
        ("conversion", conversion),
        ("start", start),
        ("competing", competing),
        ("touches", touches),
    ):
        if event is not None and (missing := log.missing_events([event])):
            raise ParameterError(f"{name}: {missing[0]}")
    steps = [as_step(conversion), as_step(ANY if start is None else start)] + (
        [] if competing is None else [as_step(competing)]
    )
    touch, end = as_step(touches), log.as_of(as_of)
    sources = tuple(dict.fromkeys(sources)) if by == "partner_id" else (by,)
    tags = [s for s in sources if not s.startswith(SURVEY)]
    if by == "partner_id" and (
        not sources or set(tags) - set(SOURCES) or len(sources) > len(tags) + 1
    ):
        wrong = next((s for s in tags if s not in SOURCES), "")
        raise ParameterError(
            f'sources: give some of {", ".join(SOURCES)} and at most one "{SURVEY}<question>", the one that stands in a conflict first'
            + (f', not "{wrong}".{nearest(wrong, SOURCES)}' if wrong else ".")
        )
    named = (
        sorted(log.table("spend")[by].dropna().astype(str).str.strip().unique())
        if by in ("partner_id", "channel")
        else []
    )
    known = {name.lower(): name for name in named}
    known |= {
        str(a).strip().lower(): known.get(str(p).strip().lower(), str(p).strip())
        for a, p in (aliases or {}).items()
    }
    origin = int(log.first_event.value // 1000) + int(lengths[-1])
    period = max(28 * DAY, -(-(end - origin) // MOST_PERIODS))
    at = np.searchsorted(lengths, lengths[-1] if reference is None else as_window(reference))
    crm = ["partner_id"] if by == "partner_id" and log.of_user("partner_id") else []
    plan = _Walk(
        tuple(dict.fromkeys(rules)),
        lengths,
        int(at),
        as_window(half_life, "half_life"),
        Tags(by, sources, known, *_heard(log, sources, known, end)),
        bool(crm),
        competing is not None,
        origin,
        end,
        np.arange(origin + period, end, period, dtype=np.int64),
    )
    return (
        plan,
        [*steps, *(Step(touch.event, {tag: ANY, **touch.where}) for tag in tags)],
        [*map(Tags.dim, tags), *crm],
    )


def _headline(plan: _Walk) -> str:
    """The rule that speaks where one must: linear, or the first one asked for."""
    return "linear" if "linear" in plan.rules else plan.rules[0]


def _heard(
    log: EventLog, sources: Sequence[str], known: Mapping[str, str], end: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Users, ascending, the partner that their first answer names, and the names; answers that name none we know (a friend, a search) are no touches."""
    question = next((s.removeprefix(SURVEY) for s in sources if s.startswith(SURVEY)), None)
    if question is None:
        return np.empty(0, np.int64), np.empty(0, np.int64), ()
    surveys = log.table("surveys")
    if question not in (asked := surveys["micro_conversion"].dropna().unique()):
        raise ParameterError(
            f'sources: the surveys hold no question "{question}".{nearest(question, asked)}'
        )
    mine = surveys[
        (surveys["micro_conversion"] == question)
        & (surveys["submitted_at"] <= pd.Timestamp(end, unit="us", tz="UTC"))
    ]
    reason, answer = (
        mine[c].astype("string").fillna("").str.strip().str.lower() for c in ("reason", "answer")
    )
    said = (
        mine.assign(partner=reason.where(reason != "", answer).map(known))
        .sort_values(["user", "submitted_at"], kind="stable")
        .drop_duplicates("user")
    )
    said = said[said["partner"].fillna("") != ""]
    partner, names = pd.factorize(said["partner"])
    return said["user"].to_numpy(np.int64), partner, tuple(names)


# ---------------------------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class _Walk:
    """The kernel: journeys to additive sums by user bucket. Columns of its table: what, bucket, window, item, partner, other, sum_value."""

    rules: tuple[str, ...]
    windows: np.ndarray  # microseconds, ascending
    reference: int  # index of the reference window
    half_life: int
    tags: Tags
    has_crm: bool  # the dim partner_id holds what is on record of each user
    has_exit: bool
    origin: int  # conversions and days at risk count from here
    end: int  # and up to here
    periods: np.ndarray  # calendar edges

    @property
    def n_strata(self) -> int:
        return (len(TENURE_DAYS) + 1) * (len(self.periods) + 1)

    def __call__(self, j: Journeys) -> pd.DataFrame:
        each = first_rows(j.user)
        uid = np.cumsum(np.diff(j.user, prepend=-1) != 0) - 1
        bucket, parts = j.bucket_of(j.user[each]).astype(np.int64), []
        start_row, start = first_times(j, uid, 1, len(each))
        conv, leave = (
            first_times(j, uid, 0, len(each))[1],
            first_times(j, uid, 2, len(each))[1] if self.has_exit else np.full(len(each), FAR),
        )
        u = Users(start, conv, leave, self.origin, self.end)
        crm = [
            None if w == MISSING else self.tags.known.get(w.strip().lower(), w.strip()) or None
            for w in (j.levels["partner_id"] if self.has_crm else ())
        ]
        t = self.tags.read(
            j, j.mask >> np.uint64(3 if self.has_exit else 2) > 0, j.has(0), start_row, crm
        )
        states = np.array([*t.names, START, CONVERSION, LOST], dtype=object)

        def tally(
            what: str,
            who: np.ndarray,
            value: Any = 1.0,
            *,
            window: Any = 0,
            item: Any = 0,
            partner: Any = 0,
            other: Any = 0,
        ) -> None:
            size = (
                100,
                len(self.windows) + 1,
                max(self.n_strata, len(RULES), (len(SOURCES) + 1) ** 2),
                len(states),
                len(states),
            )
            key = np.ravel_multi_index(
                np.broadcast_arrays(bucket[who], window, item, partner, other), size
            )
            cell, cells = pd.factorize(key)
            b, w, i, p, o = np.unravel_index(cells, size)
            parts.append(
                pd.DataFrame(
                    {
                        "what": what,
                        "bucket": b,
                        "window": w,
                        "item": i,
                        "partner": states[p],
                        "other": states[o],
                        "sum_value": np.bincount(
                            cell, np.broadcast_to(value, key.shape), len(cells)
                        ),
                    }
                )
            )

        user, time = uid[t.row], j.time[t.row]
        out = np.select(
            [
                t.own,
                t.label < 0,
                j.has(0)[t.row],
                time > conv[user],
                (start > conv)[user] | (start == FAR)[user] | (time > u.end[user]),
            ],
            [2, -2, 1, 0, 3],
            -1,
        )
        tally("left_out", user[out >= 0], item=out[out >= 0])
        at = np.flatnonzero(out == -1)
        tally("touch", user[at], item=t.via[at], partner=t.label[at])
        row, stands, overruled, loser = t.clashes.T
        tally(
            "clash",
            user[row],
            item=stands * len(self.tags.sources) + overruled,
            partner=t.label[row],
            other=loser,
        )
        for i, users in enumerate((u.inside & ~u.counted, (conv < FAR) & ~u.inside)):
            tally("note", np.flatnonzero(users), item=i)
        at = at[np.lexsort((t.label[at], time[at], user[at]))]
        user, time, partner = user[at], time[at], t.label[at]
        count_exposure(
            tally,
            u,
            user,
            time,
            partner,
            bucket=bucket,
            windows=self.windows,
            reference=self.reference,
            periods=self.periods,
        )
        credits.count_credit(
            tally,
            u,
            user,
            time,
            partner,
            rules=self.rules,
            windows=self.windows,
            half_life=self.half_life,
            start_state=len(t.names),
        )
        if self.tags.by == "partner_id":
            code = lambda words: np.array(
                [*(-1 if w is None else t.names.index(w) for w in words), -1]
            )  # noqa: E731
            named = {0: code(crm)[j.dims["partner_id"][each]]} if self.has_crm else {}
            if len(self.tags.heard):
                named[1] = code(self.tags.heard_names)[self.tags.answers(j.user[each])]
            utm = t.utm[at] if "utm_source" in self.tags.sources else None
            credits.count_approaches(
                tally, u, user, time, partner, utm, named, window=self.windows[self.reference]
            )
        return pd.concat(parts, ignore_index=True)


class _Counts:
    """The kernel's table as arrays; axis 0 is the user bucket."""

    def __init__(self, table: pd.DataFrame, plan: _Walk, paid: Sequence[str] = ()) -> None:
        self.names = sorted(
            {*table.loc[table["what"] == "touch", "partner"], *paid}
        )  # who touched, whatever is asked for, and who cost money
        code = {name: i for i, name in enumerate([*self.names, START, CONVERSION, LOST])}
        codes = {c: table[c].map(code).fillna(0).astype(int) for c in ("partner", "other")}
        p, k, s = len(self.names), len(plan.windows), plan.n_strata
        named, table = table["partner"], table.assign(**codes)

        def dense(what: str, *axes: tuple[str, int], window: int | None = None) -> np.ndarray:
            part, out = (
                table[table["what"].eq(what) & (window is None or table["window"].eq(window))],
                np.zeros((100, *(size for _, size in axes))),
            )
            out[(part["bucket"].to_numpy(), *(part[name].to_numpy() for name, _ in axes))] = part[
                "sum_value"
            ]
            return out

        self.credit = dense("credit", ("item", len(plan.rules)), ("window", k), ("partner", p))
        self.paths = (
            dense("path", ("partner", p + 1), ("other", p + 3), window=w)
            for w in range(k if "markov" in plan.rules else 0)
        )  # large: one at a time
        self.risk_n, self.risk_time, self.once_n = (
            dense(what, ("item", s), ("window", k + 1))
            for what in ("risk_n", "risk_time", "once_n")
        )
        self.placebo_n, self.placebo_time = (
            dense(what, ("item", s), ("window", k)) for what in ("placebo_n", "placebo_time")
        )
        self.alone_n, self.alone_time = (
            dense(what, ("item", s), ("window", k), ("partner", p))
            for what in ("alone_n", "alone_time")
        )
        self.partner_n, self.partner_once = (
            dense(what, ("partner", p)) for what in ("partner_n", "partner_once")
        )
        self.partner_time = dense("partner_time", ("item", s), ("partner", p))
        overlap = dense("overlap", ("partner", p), ("other", p))
        self.overlap = (
            overlap
            + overlap.transpose(0, 2, 1)
            + self.partner_time.sum(axis=1)[:, :, None] * np.eye(p)
        )
        self.left_out = dense("left_out", ("item", len(LEFT_OUT))).sum(axis=0).astype(int)
        self.unresolved = int(
            table.loc[table["what"].eq("touch") & (named == UNRESOLVED), "sum_value"].sum()
        )
        self.notes = dict(
            zip(("too_early", "outside"), dense("note", ("item", 2)).sum(axis=0).astype(int))
        )


# ------------------------------------------------------------------------------------------------------------------------------ tables


def _credit(
    credit: np.ndarray,
    draws: np.ndarray,
    ranked: np.ndarray,
    plan: _Walk,
    names: np.ndarray,
    by: str,
) -> pd.DataFrame:
    share = lambda c: stats.rate(c, c.sum(axis=-1, keepdims=True))  # noqa: E731
    low, high = stats.percentile_interval(share(draws))
    rank = np.full((3, *credit.shape), np.nan)
    if len(ranked):
        drawn = credits.ranks(draws[..., ranked])
        rank[..., ranked] = (
            credits.ranks(credit[..., ranked]),
            *np.quantile(drawn, [0.025, 0.975], axis=0, method="nearest"),
        )
    columns = {
        "credit": credit,
        "credit_share": share(credit),
        "credit_share_ci_lower": low,
        "credit_share_ci_upper": high,
        "rank": rank[0],
        "rank_ci_lower": rank[1],
        "rank_ci_upper": rank[2],
    }
    grid = pd.MultiIndex.from_product(
        [names, plan.rules, plan.windows / DAY], names=[by, "rule", "window_days"]
    )
    return pd.DataFrame(
        {c: np.moveaxis(v, -1, 0).ravel() for c, v in columns.items()}, index=grid
    ).reset_index()


def _spend(log: EventLog, plan: _Walk) -> pd.Series:
    """Money spent in the days of the counted conversions, by partner under whatever spelling; "": on nobody, or ourselves."""
    if (by := plan.tags.by) not in ("partner_id", "channel"):
        return pd.Series(dtype=float)
    spend, (first, last) = (
        log.table("spend"),
        (pd.Timestamp(us, unit="us").normalize() for us in (plan.origin, plan.end)),
    )
    spend = spend[pd.to_datetime(spend["day"]).between(first, last)]
    return (
        spend["amount"]
        .groupby(spend[by].astype("string").str.strip().str.lower().map(plan.tags.known).fillna(""))
        .sum()
    )


def _partners(
    counts: _Counts,
    by: str,
    credited: np.ndarray,
    drawn: np.ndarray,
    amount: pd.Series,
    value: float | None,
    blind: bool,
    few: bool,
    seed: int,
) -> pd.DataFrame:
    """The partners table; ``blind``: the data have no background, so nothing is said about excess; ``few``: too few accounts for an interval."""
    gain, low, high = partner_excess(
        counts.risk_n.sum(axis=2),
        counts.risk_time.sum(axis=2),
        counts.partner_n - counts.partner_once,
        counts.partner_time,
        counts.overlap,
        seed,
    )
    if blind or few:
        low = high = np.full(len(counts.names), np.nan)
        gain = low if blind else gain
    n = counts.partner_n.sum(axis=0)
    paid = amount.where((amount > 0) & (n >= FEW))
    money = np.nan if value is None else float(value)
    verdict = np.select(
        [n < FEW, ~(high - low <= n), low > 0, high < 0],
        [f"too few conversions (< {FEW})", UNTOLD, "earns credit", "below background"],
        BACKGROUND,
    )
    roi = {
        name: gain * money / paid - 1
        for name, gain in (("roi", gain), ("roi_ci_lower", low), ("roi_ci_upper", high))
    }
    cheap, dear = stats.percentile_interval(stats.rate(paid.to_numpy(), drawn))
    return pd.DataFrame(
        {
            by: counts.names,
            "spend_amount": amount,
            "n_attributed": n.astype(int),
            "n_credited": credited,
            "n_excess": gain,
            "n_excess_ci_lower": low,
            "n_excess_ci_upper": high,
            "cost_amount": stats.rate(paid.to_numpy(), credited),
            "cost_amount_ci_lower": cheap,
            "cost_amount_ci_upper": dear,
            **roi,
            "verdict": verdict,
        }
    ).sort_values(["n_excess", "n_attributed"], ascending=False, ignore_index=True)


def _late(counts: _Counts, days: np.ndarray, by: str, blind: bool, seed: int) -> pd.DataFrame:
    table = late_table(
        counts.risk_n, counts.risk_time, counts.alone_n, counts.alone_time, days, FEW, seed
    )
    if blind:
        table.loc[:, "excess_rate":] = np.nan
    return table.assign(
        group=np.array(["all", *counts.names], dtype=object)[table["group"]]
    ).rename(columns={"group": by})


def _budget(
    credit: np.ndarray, draws: np.ndarray, amount: pd.Series, days: np.ndarray, by: str
) -> pd.DataFrame:
    """What was spent, shared out by credit (windows, partners) among the partners that cost something."""
    paid = np.flatnonzero(amount > 0)
    total = amount.iloc[paid].sum()
    share = lambda c: total * stats.rate(c[..., paid], c[..., paid].sum(axis=-1, keepdims=True))  # noqa: E731
    low, high = stats.percentile_interval(share(draws))
    table = pd.DataFrame(
        {
            "spend_amount": np.repeat(amount.iloc[paid].to_numpy(), len(days)),
            "budget_amount": share(credit).T.ravel(),
            "budget_amount_ci_lower": low.T.ravel(),
            "budget_amount_ci_upper": high.T.ravel(),
        },
        index=pd.MultiIndex.from_product([amount.index[paid], days], names=[by, "window_days"]),
    ).reset_index()
    return table.assign(change_amount=table["budget_amount"] - table["spend_amount"])


def _flips(
    credit: np.ndarray,
    draws: np.ndarray,
    names: np.ndarray,
    plan: _Walk,
    full: np.ndarray,
    amount: pd.Series,
    value: float | None,
    idle: Sequence[str],
    budget: pd.DataFrame,
    approaches: pd.DataFrame,
) -> pd.DataFrame:
    """The flips table. Credit (rules, windows, partners) and its draws: of the partners that can be ranked; ``full``: windows with enough conversions."""
    at, days, said = plan.rules.index(_headline(plan)), plan.windows / DAY, []
    now, share = (
        _days(days[plan.reference]),
        stats.rate(credit[at, plan.reference], credit[at, plan.reference].sum()),
    )

    def pairs(ahead: np.ndarray, say: Callable[[np.ndarray], str], turn: str) -> list[str]:
        """Of every two partners that change places for sure, along axis 0: the largest pairs first, in each the one that leads first."""
        both = np.argwhere(np.triu(ahead.any(axis=0) & ahead.any(axis=0).T))
        both = both[np.argsort(-share[both].sum(axis=1), kind="stable")]
        found = []
        for p, q in both[:MOST_SAID]:
            p, q = (p, q) if ahead[:, p, q].argmax() < ahead[:, q, p].argmax() else (q, p)
            more, less = (say(np.flatnonzero(ahead[:, x, y])) for x, y in ((p, q), (q, p)))
            found.append(turn.format(p=names[p], q=names[q], more=more, less=less))
        return (
            found
            + [f"Further pairs of partners that change places so: {len(both) - MOST_SAID:,}."][
                : len(both) > MOST_SAID
            ]
        )

    said += [
        ("windows", s)
        for s in pairs(
            credits.sure_order(draws[:, at, full]),
            lambda some: _days(*days[full[some]]),
            "{p} earns more credit than {q} at {more}, and less at {less}.",
        )
    ]
    said += [
        ("rules", s)
        for s in pairs(
            credits.sure_order(draws[:, :, plan.reference]),
            lambda some: _listed([plan.rules[i].replace("_", " ") for i in some]),
            f"At {now} {{p}} earns more credit than {{q}} when counted by {{more}}, and less when counted by {{less}}.",
        )
    ]
    low, high = stats.percentile_interval(draws[:, at])
    for p, spent in enumerate(amount if value else ()):
        gains, loses = (
            [i for i in full if x[i]]
            for x in (spent < value * low[:, p], spent > value * high[:, p])
        )
        if gains and loses:
            worth = [
                f"{_days(days[i])} ({value * credit[at, i, p]:,.0f})" for i in (loses[0], gains[-1])
            ]
            said.append(
                (
                    "cost",
                    f"{names[p]} cost {spent:,.0f}: more than its credited conversions are worth at {worth[0]}, and less at {worth[1]}.",
                )
            )
    said += [
        (
            "cause",
            f"{name} holds {100 * held:.0f} % of the credit at {now}, yet users convert no more often after its touches.",
        )
        for name, held in zip(names, share)
        if name in idle
    ]
    plans = (
        budget.pivot(index=budget.columns[0], columns="window_days", values="budget_amount")
        if len(budget)
        else pd.DataFrame()
    )
    for i in dict.fromkeys((*full[:1], *full[-1:])) if len(plans) > 1 else ():
        move, total = plans[days[i]] - plans[days[plan.reference]], plans[days[i]].sum()
        if (moved := move.clip(lower=0).sum()) > 0:
            said.append(
                (
                    "budget",
                    f"Paid by {_days(days[i], days[plan.reference], join=' instead of ')}, {moved:,.0f} of {total:,.0f} spent ({100 * moved / total:.0f} %) would go to "
                    f"others: most to {move.idxmax()} ({move.max():+,.0f}), most from {move.idxmin()} ({move.min():+,.0f}).",
                )
            )
    for name, part in (
        approaches[approaches["approach"] != "multi-touch"]
        .set_index("partner_id")
        .groupby("approach", sort=False)
    ):
        (lost, *_), most = (
            part["n_missing"],
            part["n_missing"].iloc[1:],
        )  # the first row is all of them together
        said.append(
            (
                "approach",
                f"By the {name}, {lost:,.0f} of {lost + part['n_alike'].iloc[0]:,.0f} conversions go to another partner than by multi-touch, or to "
                f"nobody; {most.idxmax()} loses most ({most.max():,.0f}).",
            )
        )
    return pd.DataFrame(said, columns=["kind", "conclusion"])


def _approaches(table: pd.DataFrame, value: float | None) -> pd.DataFrame:
    part = table[table["what"].isin(["approach", "alike"])]
    sums = (
        part.groupby(["what", "item", "partner"])["sum_value"]
        .sum()
        .unstack(["what", "item"], fill_value=0.0)
    )
    rows = []
    for i, name in enumerate(credits.APPROACHES if ("approach", 3) in sums else ()):
        if ("approach", i) in sums:
            alike = sums["alike", i] if ("alike", i) in sums else 0.0
            rows.append(
                pd.DataFrame(
                    {
                        "approach": name,
                        "partner_id": sums.index,
                        "n_credited": sums["approach", i],
                        "n_alike": alike,
                        "n_extra": sums["approach", i] - alike,
                        "n_missing": sums["approach", 3] - alike,
                    }
                )
            )
    if not rows:
        return pd.DataFrame(
            columns=[
                "approach",
                "partner_id",
                "n_credited",
                "n_alike",
                "n_extra",
                "n_missing",
                "missing_value_amount",
            ]
        )
    rows = [
        pd.concat(
            [
                r.drop(columns=["approach", "partner_id"])
                .sum()
                .to_frame()
                .T.assign(approach=r["approach"].iloc[0], partner_id="all"),
                r,
            ]
        )
        for r in rows
    ]
    out = pd.concat(rows, ignore_index=True)[
        ["approach", "partner_id", "n_credited", "n_alike", "n_extra", "n_missing"]
    ]
    return out.assign(
        missing_value_amount=out["n_missing"] * (np.nan if value is None else float(value))
    )


def _touches(
    table: pd.DataFrame, counts: _Counts, plan: _Walk, by: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of what is counted and left out, and of conflicts."""
    named = table[table["what"] == "touch"].groupby("item")["sum_value"].sum()
    rows = [(f"named by {s}", named.get(i, 0)) for i, s in enumerate(plan.tags.sources)] + [
        (f"left out: {why}", n) for why, n in zip(LEFT_OUT, counts.left_out)
    ]
    touches = pd.DataFrame(rows, columns=["touch", "n_touches"]).astype({"n_touches": int})
    clash = (
        table[table["what"] == "clash"]
        .groupby(["item", "partner", "other"], as_index=False)["sum_value"]
        .sum()
    )
    stands, overruled = (
        np.array(plan.tags.sources, object)[i]
        for i in np.divmod(clash["item"].to_numpy(int), len(plan.tags.sources))
    )
    conflicts = pd.DataFrame(
        {
            "stands": stands,
            by: clash["partner"],
            "overruled": overruled,
            "overruled_partner": clash["other"],
            "n_touches": clash["sum_value"].astype(int),
        }
    )
    return touches, conflicts.sort_values(
        ["n_touches", by], ascending=[False, True], ignore_index=True
    )


# ------------------------------------------------------------------------------------------------------------------------------- words


def _listed(words: Sequence[str], join: str = " and ") -> str:
    return join.join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _days(*days: float, join: str = " and ") -> str:
    """Windows as a reader says them: 0, 1 and 30 days; 1 hour and 30 days."""
    *before, last = days
    return _listed(
        [f"{d:g}" if d == 0 or d >= 1 <= last else phrases.window(round(d * DAY)) for d in before]
        + [phrases.window(round(last * DAY))],
        join,
    )


def _finding(
    credit: pd.DataFrame,
    windows: pd.DataFrame,
    full: np.ndarray,
    rule: str,
    reference: int,
    reason: str,
    idle: Sequence[str],
) -> str:
    """``credit``: the partners that can be ranked x windows, under one rule; ``full``: windows with enough conversions; ``idle``: partners like the background."""
    full = windows["window_days"][full]
    rank = credit[full].rank(ascending=False, method="min")
    first = f"There are too few conversions to compare ranks between windows ({len(credit)} partner{'s'[: len(credit) != 1]} with {FEW} or more)."
    if len(full) > 1 and len(credit) > 1:
        moved = rank.iloc[:, 0] - rank.iloc[:, -1]
        who, span = moved.abs().idxmax(), f"from {_days(full.iloc[0], full.iloc[-1], join=' to ')}"
        first = (
            f"Credit depends on the window: {span}, {who} moves from rank {rank.loc[who].iloc[0]:.0f} to rank {rank.loc[who].iloc[-1]:.0f} ({rule} rule)."
            if moved.any()
            else f"The partners keep their ranks {span} ({rule} rule)."
        )
    days, fit = windows["window_days"], np.flatnonzero(windows["admissible"])
    span = f"No window is admissible: {reason}"
    if (
        len(fit) == 1
    ):  # never a bare number: the right one lies somewhere between the neighbours that were tried
        low, high = days.get(fit[0] - 1, 0.0), days.get(fit[0] + 1, days[fit[0]])
        span = f"Of the windows tried, {_days(days[fit[0]])} is admissible, so the one to use lies between {_days(low, high)}"
    elif len(fit):
        span = f"Windows between {_days(days[fit[0]], days[fit[-1]])} are admissible"
    at = windows.iloc[reference]
    last = f" {BACKGROUND[:1].upper()}{BACKGROUND[1:]}: {', '.join(idle)}." if idle else ""
    if np.isnan(at["dilution_rate"]):
        return f"{first} {span}.{last}"

    def share(column: str) -> str:
        value, low, high = (
            100 * min(at[c], 1) for c in (column, f"{column}_ci_lower", f"{column}_ci_upper")
        )
        return f"{value:.0f} %" + (f", {low:.0f} to {high:.0f}" if low == low else "")

    judged = (
        ""
        if np.isnan(at["placebo_rate"])
        else f"; judged by placebo touches {share('placebo_rate')}"
    )
    which = (
        f"{at['n_attributed'] - at['n_excess']:,.0f} of"
        if at["n_excess"] > 0
        else "as far as the data can tell, all of the"
    ) + f" {at['n_attributed']:,} attributed conversions"
    return f"{first} {span}; at {_days(at['window_days'])} {which} ({share('dilution_rate')}{judged}) would have happened anyway.{last}"


def _caveats(
    counts: _Counts,
    plan: _Walk,
    pooled: float,
    has_exit: bool,
    conflicts: pd.DataFrame,
    few: str,
    unnamed: float,
) -> tuple[str, ...]:
    """``few``: why there are no intervals ("" where there are); ``unnamed``: money spent on nobody."""
    notes, (after, own_tag, own, _) = counts.notes, counts.left_out
    out = [
        "No rule is causal: Markov and Shapley too only share out what happened together. A holdout is the test of a partner.",
        f"Only each user's first conversion counts, from {pd.Timestamp(plan.origin, unit='us'):%Y-%m-%d %H:%M} on: the first {phrases.window(int(plan.windows[-1]))} of the "
        f"log cannot be looked back on ({notes['too_early']:,} conversions left out). Lags are looked back from conversions, so recent touches do not bias them; a "
        "growing volume of touches does.",
        "The excess takes it that users without a touch convert like the others would have: touches aimed at people about to convert look better than they are. "
        "Placebo touches judge by the touched users' own later days instead.",
    ]
    if few:
        out.append(
            f"{few[:1].upper()}{few[1:]}, so no interval is given, no partner is judged and no curve of late converters drawn."
        )
    if after:
        out.append(f"Touches after the user's first conversion earn nothing: {after:,}.")
    if own_tag:
        out.append(
            f"Conversion events that carry {_listed(plan.tags.sources, ' or ')} themselves are not counted as touches: {own_tag:,}."
        )
    if own:
        out.append(
            f"Touches that name nobody but ourselves (self-referrals) are left out: {own:,}."
        )
    if len(conflicts):
        out.append(
            f"Touches whose tags name different partners: {conflicts['n_touches'].sum():,}; {' stands before '.join(plan.tags.sources)}."
        )
    if unresolved := counts.unresolved:
        out.append(
            f'Touches with a utm_source that names no known partner are shown as "{UNRESOLVED}" until aliases resolve them: {unresolved:,}.'
        )
    if notes["outside"]:
        out.append(
            f"Conversions of users without a start, before it, or after the user left are not counted: {notes['outside']:,}."
        )
    if once := int(counts.once_n.sum()):
        out.append(
            f"Conversions at the very start of the user's time at risk, before which there is nothing to compare: {once:,}. Those without a touch are left out of the "
            f"background; the {counts.once_n[..., :-1].sum():,.0f} attributed ones count as conversions that would have happened anyway, as no touch can be judged by them."
        )
    if unnamed:
        out.append(
            f"{unnamed:,.0f} of the money spent names no {plan.tags.by}, or ourselves; it stands in no row."
        )
    if pooled > 0:
        then = (
            "no untouched time at the same tenure to compare with, so no excess, dilution or verdict is given"
            if pooled > MOST_POOLED
            else "where there is none, the overall background rate is used"
        )
        out.append(
            f"{100 * pooled:.0f} % of the exposed days lie in strata of tenure and calendar with less than one untouched day for {1 / THIN:.0f} exposed ones: {then}."
        )
    if not has_exit:
        out.append(
            "Nobody leaves before as_of here: where accounts are closed, name that event as competing, or the background comes out too low."
        )
    return tuple(out)
