"""How much credit depends on the window and the rule, and how much would have come anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution import (
    incrementality,
    narrative,
    narrative_flips,
    narrative_rule,
    tables,
)
from mctlib.attribution.counting import count, users_touched, walk
from mctlib.attribution.credit_rules import RULES, stability
from mctlib.attribution.incrementality import FEW
from mctlib.attribution.narrative_first import read_first
from mctlib.attribution.own_time import walk_again
from mctlib.attribution.question import (
    Question,
    read_by,
    read_by_hand,
    read_clock,
    read_events,
    read_rules,
    read_tags,
    read_value,
    read_windows,
    read_zones,
    touch_steps,
)
from mctlib.cells import View
from mctlib.contract import SOURCES
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import ANY, Step
from mctlib.phrases import told_together
from mctlib.results import MIN_USERS, Groups, Result

MONEY = ("spend_amount", "credit_amount ±", "cost_amount ±", "roi ±")
BEYOND = ("n_compared", "n_brought", "n_beyond_chance ±")
EXCESS = ("n_excess ±", "removal_effect ±")


@dataclass(frozen=True, kw_only=True, repr=False)
class Attribution(Result):
    """Answer of `attribution_windows`; partners stand in a column named as its ``by``.

    ====================== =========================================================================
    ``credit``             one row a partner, rule and window
    credit, credit_share ± conversions, their share of all attributed; credit_amount: their money
    rank ±                 NaN below 30 conversions at the reference window
    ``windows``            one row a window
    n_attributed           conversions with a touch within the window; n_brought: after the touch
                           that brought the user (the last up to the start)
    n_compared             after a touch that came after the start, of users whose own time since
                           then has other moments to compare with
    n_late, late_rate ±    attributed at the longest window, last touch older than this one
    n_excess ±             of attributed - brought, beyond chance, as the compared show; NaN where
                           fewer than half are compared
    dilution_rate ±        1 - n_excess / (attributed - brought)
    placebo_rate ±         the same looking back, after conversions: what touches cannot cause
    admissible, usable     holds enough of the excess, and wider ones add none; usable are these,
                           one alone with its neighbours, where the one in use is near
    ``stability``          one row a rule and window, of partners with 30 conversions or more
    kendall_tau            tau-b of their credit against the reference window's; top_rate: in what
                           share of the bootstrap draws top_partner is the top
    ``partners``           at the reference window: who touched users at risk or cost money; spend,
                           and n_attributed ... n_excess ± as of windows, with any of its touches
    n_credited             linear, or the first rule given; n_beyond_chance ±: of the compared
    removal_effect ±       share of the conversions lost without it (Markov chain, if asked)
    cost_amount ±          money spent per credited conversion; NaN below 30 conversions
    roi ±                  (n_excess x what a credited one brings - spend) / spend; where half
                           of n_attributed are compared and the control ran
    verdict                of touches after the start: earns credit, below background (no 0 in
                           n_beyond_chance ±), shows no effect, conversions follow (no control could
                           run), too few conversions (< 30), cannot be told
    ``brought``            partners that brought users, at that window, and their verdict (brings)
    n_expected             of as many users whom nobody brought, at the same age and week
    difference_share ±     (converted - expected) / users; cost_amount: spent per user who converted
    ``late``               n_converted by window_days; late_rate ±: of all beyond chance or expected
    ``budget``             one row a window and partner: all that was spent, shared out by credit
    ``flips``              kind, conclusion: sure here (97.5 % of the draws), contrary there
    ``approaches``         n_credited by an approach; n_alike: multi-touch alike, n_extra: only
                           this, n_missing: only multi-touch (missing_value_amount)
    ``touches``            n_touches by what named them, or left them out; ``conflicts``: by what
                           stands (source), partner, overruled and overruled_partner
    ====================== =========================================================================

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), missing below 10 buckets of users at risk.
    """

    credit: pd.DataFrame
    windows: pd.DataFrame
    stability: pd.DataFrame
    partners: pd.DataFrame
    brought: pd.DataFrame
    late: pd.DataFrame
    budget: pd.DataFrame
    flips: pd.DataFrame
    approaches: pd.DataFrame
    touches: pd.DataFrame
    conflicts: pd.DataFrame
    reference_days: float

    views: ClassVar[Mapping[str, View]] = {
        "money": View("partners", ("", "n_credited", "n_excess", *MONEY, "currency")),
        "verdicts": View("partners", ("", "n_attributed", *BEYOND, "verdict", "brings")),
        "credit": View("partners", ("", "n_attributed", "n_credited", *EXCESS, "verdict")),
        "partners": View("partners", ("", "n_credited", *BEYOND[2:], "roi ±", "verdict", "brings")),
    }
    main: ClassVar[str] = "partners"


def attribution_windows(  # noqa: PLR0913 - one keyword a parameter of the notebook
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
    touches: Any = None,
    start: Any = None,
    competing: Any = None,
    value: float | str | None = None,
) -> Attribution:
    """Credit partners under every rule and window, and tell what exceeds chance.

    Users are at risk from their first ``start`` to their first ``conversion``, an exit or
    ``as_of``. A touch at t is eligible for a conversion at T when 0 <= T - t < window, all in days
    where either is known by day. Conversions in the log's first max(``windows``) are left out.
    Touches after the start are judged within users (`rotation`), others between (`incrementality`).

    Parameters
    ----------
    log : EventLog
        Events, and perhaps a spend table, people's partner_id, surveys and accounts.
    conversion : str, list of str, or Step
        Each user's first one counts; it is never a touch itself.
    windows, reference : list of str, str
        Durations; the one by which partners are judged (default: the longest).
    as_of, seed : str or Timestamp, int
        Last observed moment (a bare day means its end, UTC); of credit's bootstrap.
    rules, half_life : list of str, str
        Some of `RULES` (`credit_rules.weight`, `markov.removal`); the half-life of time_decay.
    by, sources : str, list of str
        The partners' column; for partner_id what names them, in a conflict the first (also
        "survey:<question>"). `EventLog.aliases` says whom other words mean (`touchpoints.Tags`).
    touches, start, competing : str, list of str, or Step, optional
        Events that can be a touch (default: any), that put users at risk (any), that end it.
    value : float or str, optional
        Money that a conversion brings; or a number of it that says so, or people's revenue.

    Returns
    -------
    Attribution
        Tables (columns: see `Attribution`), ``finding``, ``rule``, ``caveats``.

    Raises
    ------
    ParameterError
        Unknown event, rule, source, column or window, a negative value.
    DataError
        No touch, or no conversion that can be looked back on.

    Examples
    --------
    >>> ask = {"windows": ["7d"], "as_of": "2026-01-31", "by": "channel", "seed": 1}
    >>> attribution_windows(log, "interview_scheduled", **ask).windows["n_attributed"].tolist()
    [16]
    """
    partner, lengths, kinds = read_by(log, by), read_windows(windows, reference), read_rules(rules)
    events = read_events(
        log,
        conversion=conversion,
        start=ANY if start is None else start,
        competing=competing,
        touches=ANY if touches is None else touches,
    )
    end = log.as_of(as_of)
    tags = read_tags(log, partner, sources, end)
    touched = touch_steps(events.pop("touches"), tags)
    zones = read_zones(log, events["conversion"], touched)
    clock = read_clock(log, lengths, as_of=as_of, rules=kinds, half_life=half_life, zones=zones)
    crm = partner == "partner_id" and log.words.column("partner_id").of_user
    amount = read_value(log, value, events["conversion"])
    steps = (*events.values(), *touched)
    question = Question(
        clock, tags, steps, bool(crm), value, amount, zones, log.currency, read_by_hand(log, end)
    )
    return answer(log, question, as_of=as_of, seed=seed)


def answer(log: EventLog, question: Question, *, as_of: Any, seed: int) -> Attribution:
    """The answer to a checked question."""
    question, walked = walk(log, question, as_of=as_of)
    spend = tables.read_spend(log, question, set(walked["touches"]["partner"]))
    counts = count(log, question, walked, spend.index[(spend != 0) & (spend.index != "")])
    own = walk_again(log, counts, as_of=as_of)
    spent, at = spend.reindex(counts.names), question.clock.reference
    found = incrementality.compare(own, at)
    shape, reason = tables.window_table(found, question.days, question.clock.reference)
    few = "accounts" if log.accounts else "groups of users"
    few *= len(own.reach) < stats.MIN_CLUSTERS
    credit, money = counts.credit(seed, sure=not few)
    ranked = np.flatnonzero(found.n_attributed[:-1, at] >= FEW)
    spoken, paid = (some.by(question.rules.index(question.rule)) for some in (credit, money))
    partners = tables.partner_table(counts, spoken, paid, spent, found)
    told = narrative_flips.Told(
        question=question,
        credit=credit.of(ranked),
        windows=shape,
        full=np.flatnonzero(shape["n_attributed"] >= FEW * max(len(ranked), 1)),
        spent=spent.to_numpy()[ranked],
        money=paid.of(ranked),
        partners=partners,
        budget=tables.budget_table(spoken, spent, question),
        approaches=tables.approach_table(counts),
        found=found,
        reason=reason,
        few=few,
    )

    def priced(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(currency=question.currency)

    return Attribution(
        credit=priced(tables.credit_table(credit, money, ranked, question)),
        windows=shape,
        stability=stability(told.credit, question.rules, question.days, at),
        partners=priced(partners),
        brought=priced(tables.brought_table(counts, spent, found)),
        late=tables.late_converters(counts, found),
        budget=priced(told.budget),
        flips=narrative_flips.flips(told),
        approaches=priced(told.approaches),
        touches=tables.touch_table(counts),
        conflicts=tables.conflict_table(counts),
        reference_days=float(question.days[at]),
        **read_first(told, counts),
        details=narrative.details(told),
        rule=narrative_rule.rule(question),
        groups=(Groups("users touched", question.by, users_touched(walked), column=question.by),),
        caveats=(
            *log.caveats(as_of),
            *told_together(question.tags.joined, MIN_USERS),
            *narrative.caveats(told, counts, unnamed=float(spend.get("", 0.0))),
            *narrative_rule.caveats(counts),
        ),
    )
