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
    Story,
    day_of,
)
from mctlib.sources.demo.world import World, happened

CHANGE = day_of(PROMPTS["change_at"])


def truth(users: int = stories.USERS, seed: int = 1) -> dict[str, Any]:
    """What was planted, by story (see the package's text).

    Plain numbers are planted parameters. Tables and `n_*` are counted in this very world, before
    tracking loss unless a column says otherwise, over the users who consent (the others never reach
    an analysis) and signed up in the weeks of the log.

    Parameters
    ----------
    users, seed : int
        As of `generate`.

    Returns
    -------
    dict
        By story; of most a dict with `told`, the role of the tracking plan who should be told, and:

        prompts : lift_rate, naive_lift_rate (expected before/after difference of the treated),
            n_treated, n_incremental, roi.
        year : n_first, n_last, candidates signed up in the two spells.
        definitions : by team n_users, candidates whose 60 days are over, and of them the share who
            meet its definition: met_rate, of all; before_rate and mailed_rate, of who signed up
            before the e-mails of `adoption` became more, and before they were mended. Clicks are as
            expected, all else is counted.
        accounts : n_accounts and n_users, accounts of several users and these; half_range, of an
            account's own shift of the 14-day interview rate.
        staff : n_users, n_interviews.
        stock : n_users there before the log begins; active_days, of sign-up before it, at most.
        attribution : n_conversions, n_caused, dilution_rate (share that nobody caused), p90_days
            (the window that holds 90 % of the caused ones); `partners` (partner_id, kind,
            median_days = planted lag, n_touches, n_caused, spend_amount); `windows` (window_days,
            n_attributed = conversions with any touch in it, n_caused = those caused by a touch in
            it, dilution_rate).
        activation : segment, cohort, n_users, activated_30d_rate, activated_90d_rate and
            competing_90d_rate (cumulative incidences of the generating distribution), median_days
            of those who schedule. The cohort before the change has its full 90 days.
        funnel : segment, step, event, n_users, conversion_rate (what happened), tracked_rate (what
            the events show), for candidates whose 14 days are over so long that nothing is late.

    Examples
    --------
    >>> from mctlib.sources import demo
    >>> demo.truth(users=30, seed=5)["renewal"]["risk_ratio"]
    3.0
    """
    world = happened(users, seed)
    known = world.users[world.users.consent]
    u = known[known.signup >= 0]
    medians = CHANNELS.reset_index()[["channel", "median_days"]]
    candidates = u[~u.recruiter].join(medians, on="channel", rsuffix="_name")
    staff = world.users.index[world.users.plan == len(stories.PLANS)]
    n_tests = int(world.interviews.user.isin(staff).sum())
    planted: dict[str, dict[str, Any]] = {
        "tracking_loss": dict(stories.TRACKING_LOSS),
        "duplicates": dict(stories.DUPLICATES),
        "late": dict(stories.LATE),
        "survey": stories.SURVEY | {"misreport_rate": world.misreport_rate},
        "competitor": stories.COMPETITOR | {"n_lost": world.n_lost},
        "session_length": dict(stories.SESSION_LENGTH),
        "prompts": _prompts(candidates),
        "adoption": dict(stories.ADOPTION),
        "year": stories.YEAR | _year(candidates),
        "renewal": dict(stories.RENEWAL),
        "definitions": _definitions(candidates),
        "accounts": _accounts(u),
        "staff": stories.STAFF | {"n_users": len(staff), "n_interviews": n_tests},
        "attribution": _attribution(world, u),
    }
    return {name: story | {"told": stories.TOLD[name]} for name, story in planted.items()} | {
        "stock": {"n_users": len(known) - len(u) - len(staff), "active_days": stories.STOCK_DAYS},
        "activation": pd.DataFrame(list(_activation(candidates))),
        "funnel": pd.DataFrame(list(_funnel(candidates))),
    }


def _accounts(u: pd.DataFrame) -> dict[str, Any]:
    sizes = u.account.value_counts()
    several = sizes[sizes > 1]
    counts = {"n_accounts": len(several), "n_users": int(several.sum())}
    return counts | {"half_range": stories.ACCOUNT_HALF_RANGE}


def _year(candidates: pd.DataFrame) -> dict[str, int]:
    day = np.floor(candidates.signup)
    spells = {name: [day_of(at) for at in stories.YEAR[name]] for name in ("first", "last")}
    return {f"n_{name}": int(day.between(*spell).sum()) for name, spell in spells.items()}


def _definitions(candidates: pd.DataFrame) -> dict[str, Story]:
    """Each team's definition, and the share of candidates who meet it."""
    mails = stories.ADOPTION
    changed, mended = day_of(mails["change_at"]), day_of(mails["until"])
    over = candidates[candidates.signup + _days(stories.RENEWAL["horizon"]) <= DAYS]
    spells = {
        "met_rate": over.signup >= 0,
        "before_rate": over.signup < changed,
        "mailed_rate": over.signup.between(changed, mended, inclusive="left"),
    }
    found = {}
    for team, meant in stories.DEFINITIONS.items():
        until = over.signup + _days(meant["within"])
        if meant["event"] == mails["raised"]:
            until = np.minimum(until, over.until)
            more = mails["raised_rel_change"] * (until - over.signup.clip(lower=changed)).clip(0)
            met = 1 - np.exp(-mails["per_day"] * (until - over.signup + more))
        else:
            met = over[meant["event"]] <= until
        rates = {name: float(met[spell].mean()) for name, spell in spells.items()}
        found[team] = meant | {"n_users": len(over), **rates}
    return found


def _days(window: str) -> int:
    return int(window.removesuffix("d"))


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
    gone = 1 - 2 ** (-90 / stories.DELETION["median_days"])
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
                "competing_90d_rate": gone * (rows.leave_rate * (1 - rows.ever_rate)).mean(),
                "median_days": rows.median_days.median(),
            }


def _activated(rows: pd.DataFrame, days: int) -> float:
    return float((rows.ever_rate * (1 - 2 ** (-days / rows.median_days))).mean())


def _funnel(candidates: pd.DataFrame) -> Iterator[dict[str, Any]]:
    over = candidates.signup + 14 + stories.LATE["most_days"] <= DAYS
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
