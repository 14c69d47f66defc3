"""The tables of `attribution_windows`, from counts."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution.counting import Counts
from mctlib.attribution.credit_rules import APPROACHES, MULTI, Credit, ranks
from mctlib.attribution.incrementality import (
    FEW,
    HALF,
    Comparison,
    admissible,
    brings,
    verdicts,
)
from mctlib.attribution.question import Question, spend_key
from mctlib.attribution.touchpoints import LEFT_OUT
from mctlib.contract import interval_columns
from mctlib.eventlog.event_log import EventLog


def shared_out(credit: np.ndarray) -> np.ndarray:
    """Shares among partners (the last axis)."""
    return stats.rate(credit, credit.sum(axis=-1, keepdims=True))


def read_spend(log: EventLog, question: Question, touched: Collection[str]) -> pd.Series:
    """Money spent in the days of the counted conversions, by partner under whatever spelling.

    "": on nobody, or ourselves, or on names of another column that are none of ``touched``.
    """
    clock, key = question.clock, spend_key(log, question.by)
    first, last = (pd.Timestamp(us, unit="us").normalize() for us in (clock.origin, clock.end))
    spend = log.table("spend")
    spend = spend[pd.to_datetime(spend["day"]).between(first, last)]
    word = spend[key].astype("string").str.strip().str.lower()
    partner = word.map(question.tags.known).fillna("").replace(dict(question.tags.joined))
    if key != question.by:
        partner = partner.where(partner.isin(touched), "")
    return spend["amount"].groupby(partner).sum()


def credit_table(
    credit: Credit, money: Credit, ranked: np.ndarray, question: Question
) -> pd.DataFrame:
    """Credit, its share and its rank, by partner, rule and window; ``ranked``: who gets a rank."""
    share, rank = np.full((2, 3, *credit.found.shape), np.nan)
    for r in range(len(question.rules)):  # draws by all rules at once would need much room
        some = credit.by(r)
        ends = stats.percentile_interval(shared_out(some.drawn))
        share[:, r] = shared_out(some.found), *ends
        if len(ranked):
            drawn = ranks(some.drawn[..., ranked])
            ends = np.quantile(drawn, [0.025, 0.975], axis=0, method="nearest")
            rank[:, r][..., ranked] = ranks(some.found[..., ranked]), *ends
    columns = {"credit": credit.found, **interval_columns("credit_share", *share)}
    columns |= interval_columns("rank", *rank) | {"credit_amount": money.found}
    names = [question.by, "rule", "window_days"]
    grid = pd.MultiIndex.from_product([credit.names, question.rules, question.days], names=names)
    flat = {name: np.moveaxis(values, -1, 0).ravel() for name, values in columns.items()}
    return pd.DataFrame(flat, index=grid).reset_index()


def window_table(found: Comparison, days: np.ndarray, reference: int) -> tuple[pd.DataFrame, str]:
    """The windows table, and why none of them is to be used ("" where some are)."""
    n, told = found.n_attributed[-1], found.enough[-1]
    late = n[-1] - n
    late_ends = stats.wilson(late, np.full(len(days), n[-1])) + 0 * found.own.ends[0][-1]
    whole, control = found.projected.of(-1), found.control.of(slice(len(days)))
    anyway = 1 - stats.rate(np.stack([whole.value, *whole.ends[::-1]]), found.n_later[-1])
    fit, why = admissible(found)
    table = {
        "window_days": days,
        "n_attributed": n,
        "n_compared": found.n_compared[-1],
        "n_brought": found.n_brought[-1],
        "n_late": late,
        **interval_columns("late_rate", stats.rate(late, n[-1]), *late_ends),
        **whole.columns("n_excess", told),
        **interval_columns("dilution_rate", *np.where(told, anyway.clip(0, 1), np.nan)),
        **control.columns("placebo_rate", found.upper is None),
        "admissible": fit,
        "usable": _with_neighbours(fit, reference),
    }
    rates = [column for column in table if column.startswith("placebo_rate")]
    table |= {column: table[column].clip(0, 1) for column in rates}
    return pd.DataFrame(table), "" if fit.any() else why


def _with_neighbours(fit: np.ndarray, reference: int) -> np.ndarray:
    """The windows that fit; one alone has its neighbours beside it where it is near the reference.

    The right window then lies somewhere between those that were tried.
    """
    near = fit | np.r_[fit[1:], False] | np.r_[False, fit[:-1]]
    return near if fit.sum() == 1 and near[reference] else fit


def partner_table(
    counts: Counts, credit: Credit, money: Credit, amount: pd.Series, found: Comparison
) -> pd.DataFrame:
    """The partners at the reference window; ``credit``, ``money``: by the rule that speaks."""
    at = counts.question.clock.reference
    n, compared = found.n_attributed[:-1, at], found.n_compared[:-1, at]
    verdict = verdicts(found, at)
    own, gain = (part.of((slice(-1), at)) for part in (found.own, found.projected))
    paid = amount.where((amount > 0) & (n >= FEW)).to_numpy()
    worth = stats.rate(money.found[at], credit.found[at])  # of a credited conversion
    removal, parts = counts.removal_effect()
    drawn = removal + stats.bucket_draws(parts, seed=credit.seed)
    removals = stats.percentile_interval(drawn.clip(0, 1) if credit.sure else drawn * np.nan)
    judged = found.able & found.enough[:-1, at] & (compared >= HALF * n)
    returned = (end * worth / paid - 1 for end in (gain.value, *gain.ends))
    cost = stats.percentile_interval(stats.rate(paid, credit.drawn[:, at]))
    table = {
        counts.question.by: counts.names,
        "spend_amount": amount.to_numpy(),
        "n_attributed": n,
        "n_compared": compared,
        "n_brought": found.n_brought[:-1, at],
        "n_credited": credit.found[at],
        **interval_columns("removal_effect", removal, *removals),
        **own.columns("n_beyond_chance", found.told[:-1, at]),
        **gain.columns("n_excess", found.enough[:-1, at]),
        **interval_columns(
            "credit_amount", money.found[at], *stats.percentile_interval(money.drawn[:, at])
        ),
        **interval_columns("cost_amount", stats.rate(paid, credit.found[at]), *cost),
        **interval_columns("roi", *(np.where(judged, end, np.nan) for end in returned)),
        "verdict": verdict,
        "brings": brings(found, at),
    }
    order = ["n_attributed", counts.question.by]
    return pd.DataFrame(table).sort_values(order, ascending=[False, True], ignore_index=True)


def brought_table(counts: Counts, amount: pd.Series, found: Comparison) -> pd.DataFrame:
    """Users whom each partner brought, beside those whom nobody brought."""
    at = counts.question.clock.reference
    users, converted = found.n_users[:-1, at], found.n_converted[:-1, at]
    beyond = found.brought.of((slice(-1), at))
    paid = amount.where((amount > 0) & (converted >= FEW)).to_numpy()
    table = {
        counts.question.by: counts.names,
        "n_users": users,
        "n_converted": converted,
        "n_expected": np.where(found.brought_told[:-1, at], found.expected[:-1, at], np.nan),
        **beyond.columns("difference_share", found.brought_told[:-1, at]),
        "cost_amount": stats.rate(paid, converted),
        "verdict": brings(found, at),
    }
    out = pd.DataFrame(table)[users > 0]
    return out.sort_values("n_users", ascending=False, ignore_index=True)


def late_converters(counts: Counts, found: Comparison) -> pd.DataFrame:
    """What is credited by window, and of what is beyond chance the share that comes later."""
    groups = np.array(["all", *counts.names], dtype=object)
    order = np.r_[len(groups) - 1, np.arange(len(groups) - 1)]  # any partner comes first
    told = found.both_told[:, -1] & (found.both.ends[0][:, -1] > 0)
    told &= found.n_attributed[:, -1] >= FEW
    rates = found.late.columns("late_rate", told[:, None])
    columns = {"n_converted": found.n_attributed} | {
        name: np.clip(values, 0, 1) for name, values in rates.items()
    }
    names = [counts.question.by, "window_days"]
    grid = pd.MultiIndex.from_product([groups, counts.question.days], names=names)
    flat = {name: values[order].ravel() for name, values in columns.items()}
    return pd.DataFrame(flat, index=grid).reset_index()


def budget_table(credit: Credit, amount: pd.Series, question: Question) -> pd.DataFrame:
    """What was spent, shared out by credit (windows, partners) among who cost something."""
    paid = np.flatnonzero(amount > 0)
    some, spent = credit.of(paid), amount.iloc[paid]
    low, high = stats.percentile_interval(spent.sum() * shared_out(some.drawn))
    budget = spent.sum() * shared_out(some.found)
    names = [question.by, "window_days"]
    grid = pd.MultiIndex.from_product([spent.index, question.days], names=names)
    columns = {"spend_amount": np.broadcast_to(spent.to_numpy(), budget.shape)}
    columns |= interval_columns("budget_amount", budget, low, high)
    flat = {name: values.T.ravel() for name, values in columns.items()}
    table = pd.DataFrame(flat, index=grid).reset_index()
    return table.assign(change_amount=table["budget_amount"] - table["spend_amount"])


def approach_table(counts: Counts) -> pd.DataFrame:
    """Whom each approach credits, against multi-touch; the first row of each is all together."""
    columns = ["approach", "partner_id", "n_credited", "n_alike", "n_extra", "n_missing"]
    columns.append("missing_value_amount")
    table = counts.tables["approaches"]
    credited, alike, worth = (
        table.pivot(index="partner", columns="approach", values=kind).fillna(0.0)
        for kind in ("sum_credited", "sum_alike", "sum_worth_alike")
    )
    parts = []
    for n, approach in enumerate(APPROACHES if MULTI in credited else ()):
        if n in credited:
            part = pd.DataFrame({"n_credited": credited[n], "n_alike": alike[n]})
            part["n_extra"] = credited[n] - alike[n]
            part["n_missing"] = credited[MULTI] - alike[n]
            part["missing_value_amount"] = worth[MULTI] - worth[n]
            part = pd.concat([part.sum().to_frame("all").T, part])
            parts.append(part.rename_axis("partner_id").reset_index().assign(approach=approach))
    out = pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
    return out if counts.question.value is not None else out.assign(missing_value_amount=np.nan)


def touch_table(counts: Counts) -> pd.DataFrame:
    """Touches by the source that names them, and those left out."""
    named = counts.tables["touches"].groupby("source")["n_touches"].sum()
    rows = [
        (f"named by {source}", named.get(n, 0))
        for n, source in enumerate(counts.question.tags.sources)
    ]
    rows += [(f"left out: {why}", n) for why, n in zip(LEFT_OUT, counts.left_out)]
    return pd.DataFrame(rows, columns=["touch", "n_touches"]).astype({"n_touches": int})


def conflict_table(counts: Counts) -> pd.DataFrame:
    """Tags of one touch that name different partners, by source."""
    found, by = counts.tables["conflicts"], counts.question.by
    sources = np.array(counts.question.tags.sources, object)
    table = {
        "stands": sources[found["stands"].to_numpy(int)],
        by: found["partner"],
        "overruled": sources[found["overruled"].to_numpy(int)],
        "overruled_partner": found["other"],
        "n_touches": found["n_touches"].astype(int),
    }
    order = {"by": ["n_touches", by], "ascending": [False, True]}
    return pd.DataFrame(table).sort_values(**order, ignore_index=True)
