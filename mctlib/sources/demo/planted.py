"""What was planted in the demo product, in the words of the results' columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from mctlib.sources.demo import stories
from mctlib.sources.demo.stories import (
    CHANNELS,
    DAYS,
    INTERVIEW,
    ONBOARDING,
    PARTNERS,
    PROMPTS,
    day_of,
)
from mctlib.sources.demo.world import World, happened

CHANGE = day_of(PROMPTS["change_at"])


def truth(users: int = 20_000, seed: int = 1) -> dict[str, Any]:
    """What was planted, by story (see the package's text).

    Plain numbers are planted parameters. Tables and `n_*` are counted in this very world, before
    tracking loss unless a column says otherwise, over the users who consent (the others never reach
    an analysis).

    Parameters
    ----------
    users, seed : int
        As of `generate`.

    Returns
    -------
    dict
        By story; of some a dict:

        prompts : also lift_rate, naive_lift_rate (expected before/after difference of the treated),
            n_treated, n_incremental, roi.
        attribution : n_conversions, n_caused, dilution_rate (share that nobody caused), p90_days
            (the window that holds 90 % of the caused ones); `partners` (partner_id, kind,
            median_days = planted lag, n_touches, n_caused, spend_amount); `windows` (window_days,
            n_attributed = conversions with any touch in it, n_caused = those caused by a touch in
            it, dilution_rate).
        activation : segment, cohort, n_users, activated_30d_rate, activated_90d_rate and
            competing_90d_rate (cumulative incidences of the generating distribution), median_days
            of those who schedule. The cohort before the change has its full 90 days.
        funnel : segment, step, event, n_users, conversion_rate (what happened), tracked_rate (what
            the events show), for candidates whose 14 days are over by the end of the data.

    Examples
    --------
    >>> from mctlib.sources import demo
    >>> demo.truth(users=30, seed=5)["renewal"]["risk_ratio"]
    3.0
    """
    world = happened(users, seed)
    u = world.users[world.users.consent]
    medians = CHANNELS.reset_index()[["channel", "median_days"]]
    candidates = u[~u.recruiter].join(medians, on="channel", rsuffix="_name")
    return {
        "tracking_loss": dict(stories.TRACKING_LOSS),
        "duplicates": dict(stories.DUPLICATES),
        "survey": stories.SURVEY | {"misreport_rate": world.misreport_rate},
        "competitor": stories.COMPETITOR | {"n_lost": world.n_lost},
        "session_length": dict(stories.SESSION_LENGTH),
        "prompts": _prompts(candidates),
        "renewal": dict(stories.RENEWAL),
        "definitions": dict(stories.DEFINITIONS),
        "attribution": _attribution(world, u),
        "activation": pd.DataFrame(list(_activation(candidates))),
        "funnel": pd.DataFrame(list(_funnel(candidates))),
    }


def _prompts(candidates: pd.DataFrame) -> dict[str, Any]:
    treated = candidates[stories.PLANS.index[candidates.plan] == PROMPTS["plan"]]
    after = treated.signup >= CHANGE
    lift = round(PROMPTS["after_rate"] - PROMPTS["before_rate"], 9)
    n_incremental = float(lift * after.sum())
    return PROMPTS | {
        "lift_rate": lift,
        "naive_lift_rate": float(treated.rate[after].mean() - treated.rate[~after].mean()),
        "n_treated": int(after.sum()),
        "n_incremental": n_incremental,
        "roi": n_incremental * PROMPTS["value_amount"] / PROMPTS["cost_amount"] - 1,
    }


def _attribution(world: World, u: pd.DataFrame) -> dict[str, Any]:
    touches = world.touches[world.touches.user.isin(u.index)]
    lag = touches.user.map(u.converted) - touches.day
    last = lag[(lag >= 0) & np.isfinite(lag)].groupby(touches.user).min()
    partners = PARTNERS[["partner_id", "kind", "median_days"]].assign(
        n_touches=touches.partner.value_counts().reindex(PARTNERS.index, fill_value=0),
        n_caused=u.cause.value_counts().reindex(PARTNERS.index, fill_value=0),
        spend_amount=DAYS * PARTNERS.amount,
    )
    counts = {
        "window_days": stories.WINDOWS_DAYS,
        "n_attributed": [int((last <= days).sum()) for days in stories.WINDOWS_DAYS],
        "n_caused": [int((u.lag_days <= days).sum()) for days in stories.WINDOWS_DAYS],
    }
    windows = pd.DataFrame(counts)
    windows["dilution_rate"] = 1 - windows.n_caused / windows.n_attributed
    converted, caused = u.converted < DAYS, u.cause >= 0
    return {
        "conversion": "subscription_started",
        "n_conversions": int(converted.sum()),
        "n_caused": int(caused.sum()),
        "dilution_rate": float(1 - caused[converted].mean()),
        "p90_days": float(u.lag_days.quantile(0.9)),
        "partners": partners,
        "windows": windows,
        "broken_utm": dict(stories.BROKEN_UTM),
        "promo_conflict": dict(stories.PROMO_CONFLICT),
    }


def _segments(candidates: pd.DataFrame) -> dict[str, pd.Series]:
    """Name -> who is in it."""
    segments = {name: candidates.channel_name == name for name in CHANNELS.index}
    segments["not creator"] = ~segments["creator"]
    segments["all"] = candidates.channel >= 0
    return segments


def _activation(candidates: pd.DataFrame) -> Iterator[dict[str, Any]]:
    early = candidates.signup < CHANGE
    leave = stories.DELETION["rate"] * (1 - 2 ** (-90 / stories.DELETION["median_days"]))
    for segment, mine in _segments(candidates).items():
        for cohort, part in (
            (f"before {PROMPTS['change_at']}", mine & early),
            ("all", mine),
        ):
            rows = candidates[part]
            yield {
                "segment": segment,
                "cohort": cohort,
                "n_users": len(rows),
                "activated_30d_rate": _activated(rows, 30),
                "activated_90d_rate": _activated(rows, 90),
                "competing_90d_rate": leave * (1 - rows.ever_rate.mean()),
                "median_days": rows.median_days.median(),
            }


def _activated(rows: pd.DataFrame, days: int) -> float:
    return float((rows.ever_rate * (1 - 2 ** (-days / rows.median_days))).mean())


def _funnel(candidates: pd.DataFrame) -> Iterator[dict[str, Any]]:
    over = candidates.signup + 14 <= DAYS
    for segment, mine in _segments(candidates).items():
        rows = candidates[mine & over]
        reached = tracked = rows.signup >= 0
        for step, event in enumerate(("signed_up", *ONBOARDING, INTERVIEW), start=1):
            if step > 1:
                reached = reached & (rows[event] - rows.signup <= 14)
            tracked = tracked & reached
            if event in ONBOARDING:
                tracked = tracked & ~rows[f"{event}_lost"]
            yield {
                "segment": segment,
                "step": step,
                "event": event,
                "n_users": len(rows),
                "conversion_rate": float(reached.mean()),
                "tracked_rate": float(tracked.mean()),
            }
