"""What really happened in the demo product, before tracking makes something of it.

The world is whole, for it is small: events, which are not, are made of it piece by piece.

Functions draw from one stream of random numbers, so their order is part of the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from mctlib.sources.demo import stories
from mctlib.sources.demo.stories import (
    CHANNELS,
    DAYS,
    INTERVIEW,
    ONBOARDING,
    PARTNERS,
    PLANS,
    day_of,
    ramp,
)

Array: TypeAlias = npt.NDArray[Any]
Days: TypeAlias = Array | pd.Series


@dataclass(frozen=True)
class World:
    """What really happened, times in days since START (inf: never)."""

    # one row per user
    users: pd.DataFrame
    # user, day
    interviews: pd.DataFrame
    # interviews lost to the competitor
    n_lost: int
    # user, partner (row of PARTNERS), day
    touches: pd.DataFrame
    # user, day, micro_conversion, answer
    surveys: pd.DataFrame
    # answers that contradict what the user really did
    misreport_rate: float


@dataclass(frozen=True)
class _Chance:
    rng: np.random.Generator

    def after(self, median: float | Days, size: int) -> Array:
        """Days until something, of a constant hazard with this median."""
        return np.asarray(median * self.rng.exponential(1 / np.log(2), size))

    def happens(self, rate: float | Days, day: Days) -> Array:
        """`day` at this rate, else never."""
        return np.where(self.rng.random(len(day)) < rate, day, np.inf)


def happened(users: int, seed: int) -> World:
    """The world of a seed; `generate` adds what tracking makes of it."""
    # of hundreds of streams the one whose first seed comes nearest to the planted numbers; of those
    # of the partners 96 % tell the same story, of the others attribution's control refuses to judge
    chance, of_partners = (_Chance(np.random.default_rng([seed, stream])) for stream in (44, 3))
    u = _sign_ups(users, chance)
    _first_interviews(u, chance)
    _onboarding(u, chance)
    _renewal(u, chance)
    # who left before the log begins is in nobody's files
    u = u[u.until > 0].reset_index(drop=True)
    interviews, n_lost = _interviews(u, chance)
    touches = _touches(u, of_partners)
    _conversions(u, touches, of_partners)
    surveys, misreport_rate = _surveys(u, chance)
    staff, tests = _staff(u, round(users * stories.STAFF["share"]), chance)
    u = pd.concat([u, staff], ignore_index=True).astype(u.dtypes)
    interviews = pd.concat([interviews, tests], ignore_index=True)
    touches = touches[["user", "partner", "day"]]
    return World(u, interviews, n_lost, touches, surveys, misreport_rate)


def picked(labels: Any, codes: Any) -> Array:
    """The label of each code; -1 is None."""
    named: Array = np.array([*labels, None], dtype=object)
    return np.asarray(named[codes])


def row_of(platform: str, app_version: str) -> int:
    """Row of VERSIONS."""
    versions = stories.VERSIONS
    same = (versions.platform == platform) & (versions.app_version == app_version)
    return int(np.flatnonzero(same)[0])


def version_of(platform: Array, day: Array, signup: Array, update_lag: Array) -> Array:
    """Row of VERSIONS in use: the newest at sign-up, later ones after the user's own update lag."""
    row = np.zeros(len(day), dtype=np.int8)
    for code, name in enumerate(stories.PLATFORMS):
        releases = stories.VERSIONS[stories.VERSIONS.platform == name]
        released = releases.released.map(day_of)
        mine = np.flatnonzero(platform == code)
        known = np.maximum(day[mine] - update_lag[mine], np.minimum(signup[mine], day[mine]))
        newest = np.searchsorted(released, known, side="right") - 1
        row[mine] = released.index[0] + np.maximum(newest, 0)
    return row


def _of(table: pd.DataFrame, codes: pd.Series) -> pd.DataFrame:
    """Each user's row of CHANNELS or PLANS, whose first column is their index."""
    return table.iloc[codes].reset_index()


def _sign_ups(users: int, chance: _Chance) -> pd.DataFrame:
    """Who: accounts of uneven size, role, platform, channel, day (fewer at weekends).

    Those of the days before the log begins come on top.
    """
    rng = chance.rng
    users += users * stories.STOCK_DAYS // DAYS
    u = pd.DataFrame(index=pd.RangeIndex(users))
    accounts = pd.DataFrame({"plan": np.repeat(np.arange(len(PLANS)), PLANS.n_accounts)})
    size = rng.gamma(2.0, size=len(accounts))
    # so the plans keep their shares, and their rates
    size *= PLANS.share.to_numpy()[accounts.plan] / np.bincount(accounts.plan, size)[accounts.plan]
    half = stories.ACCOUNT_HALF_RANGE
    shift = rng.uniform(-half, half, len(accounts))
    mean = np.bincount(accounts.plan, size * shift) / PLANS.share.to_numpy()
    u["account"] = rng.choice(len(accounts), users, p=size / size.sum())
    u["plan"] = accounts.plan.to_numpy()[u.account]
    u["shift"] = (shift - mean[accounts.plan])[u.account]
    u["recruiter"] = rng.random(users) < stories.RECRUITER_RATE
    u["consent"] = rng.random(users) < stories.CONSENT_RATE
    u["platform"] = rng.choice(len(stories.PLATFORMS), users, p=list(stories.PLATFORMS.values()))
    median_lag = np.array(list(stories.UPDATE_MEDIAN_DAYS.values()))
    u["update_lag"] = chance.after(median_lag[u.platform], users)
    u["channel"] = rng.choice(len(CHANNELS), users, p=CHANNELS.share)
    days = np.arange(-stories.STOCK_DAYS, DAYS)
    weight = stories.WEEKDAY[days % 7]
    day = rng.choice(days, users, p=weight / weight.sum())
    u["signup"] = day + rng.triangular(5, 14, 24, users) / 24
    u["activity"] = rng.gamma(2.0, 0.5, users) * _of(PLANS, u.plan).activity
    return u


def _first_interviews(u: pd.DataFrame, chance: _Chance) -> None:
    """The day of each user's first interview, before the competitor; and when accounts go.

    The 14-day rate is planted, the chance to schedule one at all follows from the lag.
    """
    plan, channel = _of(PLANS, u.plan), _of(CHANNELS, u.channel)
    prompts, adoption, deletion = stories.PROMPTS, stories.ADOPTION, stories.DELETION
    day = np.floor(u.signup)
    treated = (plan.plan == prompts["plan"]) & (day >= day_of(prompts["change_at"]))
    misled = (day >= day_of(adoption["change_at"])) & (day < day_of(adoption["until"]))
    u["rate"] = plan.base_rate * (1 + adoption["rel_change"] * misled)
    u["rate"] += prompts["trend_rate"] * ramp(day)
    u["rate"] += (prompts["after_rate"] - prompts["before_rate"]) * treated
    ever = (u.rate + u["shift"]) * channel.factor / (1 - 2 ** (-14 / channel.median_days))
    u["ever_rate"] = ever.clip(0.01, 0.95).where(~u.recruiter, 0.0)
    first = chance.happens(u.ever_rate, u.signup + chance.after(channel.median_days, len(u)))
    # who schedules deletes the account only afterwards if at all, so both cumulative incidences
    # are exact
    later = first + chance.after(deletion["median_days_after_interview"], len(u))
    later = chance.happens(deletion["rate_after_interview"], later)
    never_met = u.signup + chance.after(deletion["median_days"], len(u))
    u["leave_rate"] = deletion["rate"] + (deletion["last_rate"] - deletion["rate"]) * ramp(day)
    never_met = chance.happens(u.leave_rate, never_met)
    u["first"] = first
    u["deleted"] = np.where(np.isfinite(first), later, never_met)


def _onboarding(u: pd.DataFrame, chance: _Chance) -> None:
    """The steps between sign-up and first interview, and whether tracking loses them."""
    users, signup, first = len(u), u.signup.to_numpy(), u["first"].to_numpy()
    converts = np.isfinite(first)
    cut = np.sort(chance.rng.random((2, users)) ** 2, axis=0)
    profile = chance.happens(0.5, signup + chance.after(1.0, users))
    profile = np.where(converts, signup + (first - signup) * cut[0], profile)
    resume = chance.happens(0.45, profile + chance.after(1.5, users))
    resume = np.where(converts, signup + (first - signup) * cut[1], resume)
    platform, update_lag = u.platform.to_numpy(), u.update_lag.to_numpy()
    loss = stories.TRACKING_LOSS
    first_bad = row_of(loss["platform"], loss["app_version"])
    for name, day in zip(ONBOARDING, (profile, resume)):
        u[name] = np.where(u.recruiter | (day >= u.deleted), np.inf, day)
        version = version_of(platform, u[name].to_numpy(), signup, update_lag)
        missed = chance.rng.random(users) >= loss["completeness_rate"]
        u[f"{name}_lost"] = (version >= first_bad) & missed


def _interviews(u: pd.DataFrame, chance: _Chance) -> tuple[pd.DataFrame, int]:
    """All interviews; the competitor takes whole weeks of some users away for good."""
    story, plenty = stories.COMPETITOR, stories.MORE_INTERVIEWS
    first, until = u["first"].to_numpy(), u.until.to_numpy()
    who = np.flatnonzero(np.isfinite(first))
    more = np.repeat(who, chance.rng.poisson(plenty["mean"], len(who)))
    day = np.r_[first[who], first[more] + chance.after(plenty["median_days"], len(more))]
    meet = pd.DataFrame({"user": np.r_[who, more], "day": day})
    meet = meet[meet.day.to_numpy() < until[meet.user]]
    week = np.floor((meet.day - day_of(story["change_at"])) / 7).to_numpy()
    lost = np.zeros(len(meet), bool)
    for nth, name in enumerate(("rel_change", "rel_change_next_week")):
        gone = chance.rng.random(len(u)) < -story[name]
        lost |= (week == nth) & gone[meet.user]
    meet = meet[~lost]
    u[INTERVIEW] = meet.groupby("user").day.min().reindex(u.index, fill_value=np.inf)
    return meet, int(lost.sum())


def _renewal(u: pd.DataFrame, chance: _Chance) -> None:
    """Renewal of the user's seat, upsell, and until when the user is active.

    Nobody falls silent before day 21, so a landmark at day 7 or 14 is clean; who renews stays half
    a year.
    """
    users, story = len(u), stories.RENEWAL
    early = chance.happens(story["exposed_rate"], u.signup + 7 * chance.rng.random(users))
    u["feedback_given"] = np.where(early < u.deleted, early, np.inf)
    asked = chance.happens(story["help_rate"], u.signup + 28 * chance.rng.random(users))
    u["help_desk_contacted"] = np.where(asked < u.deleted, asked, np.inf)
    met = u["first"] - u.signup <= 30
    ratio = np.where(np.isfinite(u.feedback_given), story["risk_ratio"], 1)
    ratio = ratio * np.where(met, story["also"][INTERVIEW], 1)
    ratio = ratio * np.where(np.isfinite(asked), story["also"]["help_desk_contacted"], 1)
    renewal_rate = _of(PLANS, u.plan).renewal_rate * ratio
    for name, rate in (("renewed", renewal_rate), ("upsold", story["upsell_rate"])):
        day = chance.happens(rate, u.signup + chance.rng.uniform(40, 60, users))
        u[name] = np.where(day < u.deleted, day, np.inf)
    # who schedules interviews stays longer
    met = np.isfinite(u["first"])
    longer = np.where(met, 120 * chance.rng.random(users), chance.after(30, users))
    silent = u["first"].where(met, u.signup) + 21 + longer
    active = np.where(np.isfinite(u.renewed), np.maximum(silent, u.renewed + 182), silent)
    u["until"] = np.minimum(active, u.deleted).clip(upper=DAYS)


def _staff(u: pd.DataFrame, n: int, chance: _Chance) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The staff's own users: in the log from its first day to its last, and their interviews."""
    nothing = dict.fromkeys(("channel", "partner", "cause"), -1)
    always = {"signup": -400.0, "until": float(DAYS), "plan": len(PLANS), "consent": True}
    always |= {"account": PLANS.n_accounts.sum(), "activity": stories.STAFF["activity"]}
    flags = dict.fromkeys(u.select_dtypes(bool), False)
    never = dict.fromkeys(u, np.inf) | flags | nothing | always
    staff = pd.DataFrame(never, index=len(u) + np.arange(n))
    staff["platform"] = np.arange(n) % len(stories.PLATFORMS)
    staff["lag_days"], staff["update_lag"] = np.nan, 0.0
    each = chance.rng.poisson(stories.STAFF["interviews_per_week"] * DAYS / 7, n)
    who = np.repeat(staff.index.to_numpy(), each)
    day = chance.rng.integers(DAYS // 7, size=len(who)) * 7 + chance.rng.integers(5, size=len(who))
    return staff, pd.DataFrame({"user": who, "day": day + chance.rng.uniform(8, 18, len(who)) / 24})


def _touches(u: pd.DataFrame, chance: _Chance) -> pd.DataFrame:
    """One brings the user in, others come at random later."""
    rng, signup = chance.rng, u.signup.to_numpy()
    channel = _of(CHANNELS, u.channel).channel
    u["partner"] = -1
    for name, group in PARTNERS.groupby("channel"):
        mine = u.index[channel == name]
        u.loc[mine, "partner"] = rng.choice(group.index, len(mine), p=group.share)
    came = np.flatnonzero(u.partner >= 0)
    day = signup[came] - chance.after(0.3, len(came))
    touches = [pd.DataFrame({"user": came, "partner": u.partner[came], "day": day})]
    stay = u.deleted.clip(upper=DAYS).to_numpy() - signup
    for row in PARTNERS.itertuples():
        times = rng.poisson(row.per_day * stay)
        hit = np.repeat(np.arange(len(u)), times * (rng.random(len(u)) < row.reach))
        day = signup[hit] + stay[hit] * rng.random(len(hit))
        touches.append(pd.DataFrame({"user": hit, "partner": row.Index, "day": day}))
    touch = pd.concat(touches)
    return touch[touch.day >= 0].reset_index(drop=True)


def _conversions(u: pd.DataFrame, touches: pd.DataFrame, chance: _Chance) -> None:
    """Some touches cause a conversion, the other conversions just happen."""
    by = PARTNERS.loc[touches.partner].reset_index()
    spread = np.exp(stories.LAG_SIGMA * chance.rng.standard_normal(len(touches)))
    causes = chance.happens(by.cause_rate, touches.day + by.median_days.fillna(0) * spread)
    touches["causes"] = np.where(causes > u.signup[touches.user], causes, np.inf)
    soonest = touches.groupby("user").causes.idxmin()
    cause = touches.loc[soonest].set_index("user").reindex(u.index)
    background = u.signup + chance.rng.exponential(1 / stories.BACKGROUND_PER_DAY, len(u))
    day = np.fmin(cause.causes, background)
    u["converted"] = day.where((day < u.deleted) & (day < DAYS), np.inf)
    caused = (cause.causes < background) & np.isfinite(u.converted)
    u["cause"] = cause.partner.where(caused, -1).astype(int)
    u["lag_days"] = (u.converted - cause.day).where(caused)


def _surveys(u: pd.DataFrame, chance: _Chance) -> tuple[pd.DataFrame, float]:
    """Answers, and the share of wrong ones.

    People misreport at the rate that makes the disagreement with the tracked events come out as
    planted.
    """
    rng = chance.rng
    responds = rng.random(len(u)) < stories.SURVEY["response_rate"]
    # of who came earlier the log does not know what they did
    asked = pd.DataFrame({"user": np.flatnonzero(responds & ~u.recruiter & (u.signup >= 0))})
    asked["day"] = u.signup.to_numpy()[asked.user] + rng.uniform(3, 30, len(asked))
    asked = asked[asked.day.to_numpy() < u.until.to_numpy()[asked.user]].reset_index(drop=True)
    steps = [*ONBOARDING, INTERVIEW]
    step = rng.integers(3, size=len(asked))
    did = u[steps].to_numpy()[asked.user, step] <= asked.day
    # interviews are never lost
    lost = np.c_[u[[f"{name}_lost" for name in ONBOARDING]], np.zeros(len(u), bool)]
    untracked = float((did & lost[asked.user, step]).mean())
    misreport = float((stories.SURVEY["disagreement_rate"] - untracked) / (1 - 2 * untracked))
    asked["micro_conversion"] = picked(steps, step)
    asked["answer"] = did ^ (rng.random(len(asked)) < misreport)
    return asked, misreport
