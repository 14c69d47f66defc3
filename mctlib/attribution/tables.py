"""The tables of `attribution_windows`, from counts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.attribution.counting import Counts
from mctlib.attribution.credit_rules import APPROACHES, MULTI, Credit, ranks
from mctlib.attribution.incrementality import late_table, partner_excess
from mctlib.attribution.question import Question
from mctlib.attribution.touchpoints import LEFT_OUT
from mctlib.contract import interval_columns
from mctlib.eventlog.event_log import EventLog

FEW = 30  # conversions below which a partner gets no verdict and no rank
BACKGROUND, UNTOLD = "indistinguishable from background", "cannot be told"


def shared_out(credit: np.ndarray) -> np.ndarray:
    """Shares among partners (the last axis)."""
    return stats.rate(credit, credit.sum(axis=-1, keepdims=True))


def read_spend(log: EventLog, question: Question) -> pd.Series:
    """Money spent in the days of the counted conversions, by partner under whatever spelling.

    "": on nobody, or ourselves.
    """
    by, clock = question.by, question.clock
    if by not in ("partner_id", "channel"):
        return pd.Series(dtype=float)
    first, last = (pd.Timestamp(us, unit="us").normalize() for us in (clock.origin, clock.end))
    spend = log.table("spend")
    spend = spend[pd.to_datetime(spend["day"]).between(first, last)]
    word = spend[by].astype("string").str.strip().str.lower()
    return spend["amount"].groupby(word.map(question.tags.known).fillna("")).sum()


def credit_table(
    credit: Credit, money: Credit, ranked: np.ndarray, question: Question
) -> pd.DataFrame:
    """Credit, its share and its rank, by partner, rule and window; ``ranked``: who gets a rank."""
    some = credit.of(ranked)
    rank = np.full((3, *credit.found.shape), np.nan)
    if len(ranked):
        ends = np.quantile(ranks(some.drawn), [0.025, 0.975], axis=0, method="nearest")
        rank[..., ranked] = np.stack([ranks(some.found), *ends])
    ends = stats.percentile_interval(shared_out(credit.drawn))
    columns = {"credit": credit.found}
    columns |= interval_columns("credit_share", shared_out(credit.found), *ends)
    columns |= interval_columns("rank", *rank) | {"credit_amount": money.found}
    names = [question.by, "rule", "window_days"]
    grid = pd.MultiIndex.from_product([credit.names, question.rules, question.days], names=names)
    flat = {name: np.moveaxis(values, -1, 0).ravel() for name, values in columns.items()}
    return pd.DataFrame(flat, index=grid).reset_index()


def partner_table(
    counts: Counts,
    credit: Credit,
    money: Credit,
    amount: pd.Series,
    *,
    background: bool,
    seed: int,
) -> pd.DataFrame:
    """The partners at the reference window; ``credit``, ``money``: by the rule that speaks.

    ``background``: whether the data have one; otherwise nothing is said about excess.
    """
    n = counts.dense("partner_n", "partner")
    gain, low, high = partner_excess(
        counts.dense("risk_n", "stratum"),
        counts.dense("risk_days", "stratum"),
        n - counts.dense("partner_once", "partner"),
        counts.dense("partner_days", "stratum", "partner"),
        counts.overlap_days,
        seed,
    )
    if not background:
        gain = np.full(len(gain), np.nan)
    if not (background and credit.sure):
        low = high = np.full(len(gain), np.nan)
    n = n.sum(axis=0)
    verdict = np.select(
        [n < FEW, ~(high - low <= n), low > 0, high < 0],
        [f"too few conversions (< {FEW})", UNTOLD, "earns credit", "below background"],
        BACKGROUND,
    )
    paid = amount.where((amount > 0) & (n >= FEW)).to_numpy()
    at = counts.question.clock.reference
    worth = stats.rate(money.found[at], credit.found[at])  # of a credited conversion
    removal, parts = counts.removal_effect()
    drawn = removal + stats.bucket_draws(parts, seed=seed)
    removals = stats.percentile_interval(drawn.clip(0, 1) if credit.sure else drawn * np.nan)
    cost = stats.percentile_interval(stats.rate(paid, credit.drawn[:, at]))
    table = {
        counts.question.by: counts.names,
        "spend_amount": amount.to_numpy(),
        "n_attributed": n.astype(int),
        "n_credited": credit.found[at],
        **interval_columns("removal_effect", removal, *removals),
        **interval_columns("n_excess", gain, low, high),
        **interval_columns(
            "credit_amount", money.found[at], *stats.percentile_interval(money.drawn[:, at])
        ),
        **interval_columns("cost_amount", stats.rate(paid, credit.found[at]), *cost),
        **interval_columns("roi", *(end * worth / paid - 1 for end in (gain, low, high))),
        "verdict": verdict,
    }
    order = ["n_excess", "n_attributed"]
    return pd.DataFrame(table).sort_values(order, ascending=False, ignore_index=True)


def late_converters(counts: Counts, *, told: bool, seed: int) -> pd.DataFrame:
    """What comes of a touch by how many days later; ``told``: whether the rates can be."""
    question = counts.question
    table = late_table(
        counts.dense("risk_n", "stratum", "lag"),
        counts.dense("risk_days", "stratum", "lag"),
        counts.dense("alone_n", "stratum", "window", "partner"),
        counts.dense("alone_days", "stratum", "window", "partner"),
        question.days,
        FEW,
        seed,
    )
    if not told:
        table.loc[:, "excess_rate":] = np.nan
    groups = np.array(["all", *counts.names], dtype=object)
    return table.assign(group=groups[table["group"]]).rename(columns={"group": question.by})


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
