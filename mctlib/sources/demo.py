"""A seeded HR-tech product with planted truth.

`generate()` returns the canonical tables of an invented recruiting app: candidates and recruiters on web, iOS and Android,
nested in 240 employer accounts, over 26 weeks from Monday 2026-01-05 to Sunday 2026-07-05 (UTC). `truth()` states what was
planted, in the words of the results' columns. Both read the tables at the top of this file: change a number and both move.

The stories, by key of `truth()`:

tracking_loss   From Android 4.2.0 on, only 68 % of the onboarding events fire. `backend` has them all.
duplicates      A double SDK on iOS sends 3 % of events twice (new event_id, within 2 s); 0.5 % of all rows repeat an event_id.
survey          Survey and tracked events disagree on 22 % of answers: lost events are one part, misreporting the other.
competitor      A competitor's instant scheduling costs 15 % of interview_scheduled in one week, 5 % in the next, in every plan.
session_length  A chatbot elsewhere costs 25 % of session minutes; three weeks after our reply they rise again by 15 %.
prompts         Prompts for accounts of plan growth lift interviews within 14 days from 18 % to 35 %, while all plans drift up.
renewal         Feedback within seven days triples renewal. email_clicked is worthless, but who renews stays and clicks more.
definitions     Product, marketing and support mean different things by "activated".
attribution     Creators cause conversions late, one spells its UTM five ways, and one partner touches many and causes nothing.
activation      Creator users are slower to their first interview; account deletion competes; recent cohorts are immature.
funnel          The share of candidates at each step within 14 days of sign-up, before and after tracking loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

START, DAYS = pd.Timestamp("2026-01-05", tz="UTC"), 182
RECRUITER_RATE, CONSENT_RATE, VISITOR_RATE = (
    0.15,
    0.99,
    0.05,
)  # visitors: anonymous ids that never sign up, as a share of users
PLATFORMS = {"web": 0.40, "ios": 0.30, "android": 0.30}
ONBOARDING = ("profile_completed", "resume_uploaded")

# factor on the 14-day interview rate (they average to 1); median days to the first interview of those who schedule one
CHANNELS = pd.DataFrame(
    [
        ("organic", 0.30, 1.15, 4.0),
        ("paid_search", 0.20, 0.95, 4.0),
        ("job_board", 0.20, 1.10, 4.0),
        ("referral", 0.10, 1.45, 4.0),
        ("creator", 0.20, 0.50, 20.0),
    ],
    columns=["channel", "share", "factor", "median_days"],
).set_index("channel")
# 14-day interview rate at the change without prompts; renewal rate without early feedback; activity
PLANS = pd.DataFrame(
    [
        ("starter", 78, 0.18, 0.06, 0.6),
        ("growth", 72, 0.18, 0.10, 1.0),
        ("scale", 36, 0.20, 0.13, 1.3),
        ("enterprise", 30, 0.21, 0.24, 2.4),
        ("campus", 24, 0.17, 0.09, 0.8),
    ],
    columns=["plan", "n_accounts", "base_rate", "renewal_rate", "activity"],
).set_index("plan")
ACCOUNT_HALF_RANGE = 0.10  # an account's own shift of the 14-day rate is uniform on +-0.10: intra-account correlation 2 to 3 %
DELETION = {
    "rate": 0.25,
    "median_days": 12.0,
    "rate_after_interview": 0.08,
    "median_days_after_interview": 40.0,
}

# share within the channel; chance that a touch causes a conversion; median days from touch to that conversion; later touches:
# share of users within reach, touches per day; money per day
PARTNERS = pd.DataFrame(
    [
        ("creator_ana", "creator", "creator", 0.45, 0.10, 20.0, 1.0, 0.0006, 60.0),
        ("creator_ben", "creator", "creator", 0.30, 0.09, 20.0, 1.0, 0.0005, 45.0),
        ("creator_chloe", "creator", "creator", 0.25, 0.09, 20.0, 1.0, 0.0005, 35.0),
        ("jobboard_one", "traditional", "job_board", 0.65, 0.05, 3.0, 1.0, 0.0010, 90.0),
        ("jobboard_two", "traditional", "job_board", 0.35, 0.04, 3.0, 1.0, 0.0008, 60.0),
        ("search_ads", "traditional", "paid_search", 1.00, 0.05, 3.0, 1.0, 0.0012, 140.0),
        ("coupon_corner", "retargeting", "retargeting", 1.00, 0.00, np.nan, 0.4, 0.0250, 80.0),
    ],
    columns=[
        "partner_id",
        "kind",
        "channel",
        "share",
        "cause_rate",
        "median_days",
        "reach",
        "touches_per_day",
        "daily_amount",
    ],
)
LAG_SIGMA = 0.5  # lags of caused conversions are log-normal around their median
BACKGROUND_PER_DAY = (
    0.0005  # conversions nobody causes, per user and day: flat, so tenure cannot pass for an effect
)
PROMO_CODES = {"coupon_corner": "SAVE10", "creator_ana": "ANA10"}
BROKEN_UTM = {
    "partner_id": "creator_chloe",
    "spellings": (
        "creator_chloe",
        "Creator-Chloe",
        "creatorchloe",
        "CREATOR_CHLOE",
        "chloe creator",
    ),
}
# the coupon site also lists a creator's code
PROMO_CONFLICT = {"partner_id": "coupon_corner", "promo_code": "ANA10", "rate": 0.05}
WINDOWS_DAYS = (1, 7, 14, 30, 60, 90)

VERSIONS = pd.DataFrame(  # each platform by release, Android last: the tracking loss is then "row >= the first bad row"
    [
        ("web", "2026.1", "2025-12-01"),
        ("web", "2026.2", "2026-03-02"),
        ("web", "2026.3", "2026-05-18"),
        ("ios", "4.0.1", "2025-11-10"),
        ("ios", "4.1.0", "2026-02-23"),
        ("ios", "4.2.0", "2026-05-04"),
        ("android", "4.0.0", "2025-11-17"),
        ("android", "4.1.0", "2026-02-23"),
        ("android", "4.2.0", "2026-04-27"),
        ("android", "4.2.1", "2026-06-01"),
    ],
    columns=["platform", "app_version", "released"],
)
UPDATE_MEDIAN_DAYS = {"web": 0.0, "ios": 4.0, "android": 6.0}

TRACKING_LOSS = {
    "platform": "android",
    "app_version": "4.2.0",
    "released": "2026-04-27",
    "events": ONBOARDING,
    "completeness_rate": 0.68,
}
DUPLICATES = {
    "logical_platform": "ios",
    "logical_rate": 0.03,
    "logical_within": "2s",
    "technical_rate": 0.005,
    "rule": "copies / original rows; logical copies have a new event_id, technical copies the same one",
}
SURVEY = {
    "disagreement_rate": 0.22,
    "response_rate": 0.30,
    "rule": "answers unlike 'the user has that event in `events` by submitted_at' / all answers",
}
COMPETITOR = {
    "change_at": "2026-06-08",
    "event": "interview_scheduled",
    "rel_change": -0.15,
    "rel_change_next_week": -0.05,
}
SESSION_LENGTH = {
    "event": "session_ended",
    "property": "minutes",
    "mean_minutes": 9.0,
    "change_at": "2026-02-16",
    "rel_change": -0.25,
    "reply_at": "2026-03-02",
    "recovered_at": "2026-03-23",
    "rel_recovery": 0.15,
}
PROMPTS = {
    "change_at": "2026-04-06",
    "plan": "growth",
    "before_rate": float(PLANS.base_rate["growth"]),
    "after_rate": 0.35,
    "trend_rate": 0.10,
    "window": "14d",
    "value_amount": 45.0,
    "cost_amount": 12_000.0,
    "rule": "candidates with interview_scheduled within 14 days / candidates signed up, by day of sign-up; trend_rate is "
    "the drift of every plan over the 26 weeks; the competitor's two weeks take up to half a point off the lift",
}
RENEWAL = {
    "signal": "feedback_given",
    "within": "7d",
    "risk_ratio": 3.0,
    "exposed_rate": 0.20,
    "vanity": ("email_clicked",),
    "confounded": ("job_saved",),
    "confounder": "plan",
    "horizon": "60d",
    "upsell_rate": 0.06,
    "upsell_risk_ratio": 1.0,
    "rule": "renewed_at within 60 days of sign-up, among users not deleted by day 7, with / without the signal by day 7",
}
DEFINITIONS = {
    "product": {"event": "interview_scheduled", "within": "30d"},
    "marketing": {"event": "profile_completed", "within": "7d"},
    "support": {"event": "feedback_given", "within": "7d"},
}
TIMELINE = pd.DataFrame(
    [
        (
            SESSION_LENGTH["change_at"],
            "competitor",
            "chatbot elsewhere answers candidates at once",
            "session_ended",
            None,
        ),
        ("2026-02-23", "release", "ios and android 4.1.0", None, None),
        (
            SESSION_LENGTH["reply_at"],
            "intervention",
            "reply to the chatbot: guided search",
            "session_ended",
            "may take three weeks",
        ),
        (
            PROMPTS["change_at"],
            "intervention",
            "prompts to schedule an interview",
            "interview_scheduled",
            "plan growth only",
        ),
        (TRACKING_LOSS["released"], "release", "android 4.2.0", ",".join(ONBOARDING), None),
        ("2026-05-11", "campaign", "spring job fair", None, "no effect planted"),
        (
            COMPETITOR["change_at"],
            "competitor",
            "instant interview scheduling elsewhere",
            "interview_scheduled",
            None,
        ),
    ],
    columns=["day", "kind", "label", "micro_conversions", "note"],
)
RESPONSES = pd.DataFrame(
    [
        (
            "session_ended-2026-02-16",
            "2026-02-18",
            "2026-02-24",
            SESSION_LENGTH["reply_at"],
            "ship guided search",
            "response coordinator",
            "recovered in part",
        ),
        (
            "profile_completed-2026-04-27",
            "2026-05-06",
            "2026-05-13",
            None,
            "check the android release",
            "data collector",
            "open",
        ),
        (
            "interview_scheduled-2026-06-08",
            "2026-06-15",
            "2026-06-17",
            None,
            "offer same-day slots",
            "response coordinator",
            "open",
        ),
    ],
    columns=["alert_id", "detected_on", "decided_on", "shipped_on", "action", "owner", "outcome"],
)

USE = (  # everyday events: who (recruiters or not, None: everyone) and how many per active day
    ("session_ended", None, 0.38),
    ("job_viewed", False, 0.44),
    ("job_saved", False, 0.10),
    ("application_submitted", False, 0.07),
    ("candidate_shortlisted", True, 0.40),
    ("team_invited", True, 0.02),
)
WEEKDAY = (
    np.array([1.1, 1.1, 1.05, 1.0, 0.95, 0.6, 0.6]) / 1.1
)  # chance that an event planned for that weekday happens


def _day(date: str) -> int:
    return (pd.Timestamp(date, tz="UTC") - START).days


def _at(day: Any) -> pd.DatetimeIndex:
    """Days since START -> UTC timestamps; what lies after the end of the data (inf: never) -> NaT."""
    day = np.asarray(day, dtype=float)
    return (START + pd.to_timedelta(np.where(day < DAYS, day, np.nan), unit="D")).as_unit("us")


def _pick(labels: Any, codes: Any) -> np.ndarray:
    """The label of each code; -1 is None."""
    return np.array([*labels, None], dtype=object)[codes]


def _ids(prefix: str, codes: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.binary_join_element_wise(prefix, pa.array(np.asarray(codes)).cast(pa.string()), "")
    return text.to_pandas(deduplicate_objects=False).to_numpy(dtype=object)


def _rhythm(day: np.ndarray) -> np.ndarray:
    """Chance that an event planned for that moment happens: fewer at weekends and at night."""
    return WEEKDAY[day.astype(np.int64) % 7] * (0.1 + 0.9 * np.sin(np.pi * (day % 1 - 0.1)) ** 2)


def _version(
    platform: np.ndarray, day: np.ndarray, signup: np.ndarray, update_lag: np.ndarray
) -> np.ndarray:
    """Row of VERSIONS in use: the newest at sign-up, later releases after the user's own update lag."""
    row = np.zeros(len(day), dtype=np.int8)
    for code, name in enumerate(PLATFORMS):
        released = VERSIONS[VERSIONS.platform == name].released.map(_day)
        mine = np.flatnonzero(platform == code)
        known = np.maximum(day[mine] - update_lag[mine], np.minimum(signup[mine], day[mine]))
        row[mine] = released.index[0] + np.searchsorted(released, known, side="right") - 1
    return row


@dataclass(frozen=True)
class _World:
    """What really happened, times in days since START (inf: never); generate() adds what tracking makes of it."""

    users: pd.DataFrame  # one row per user
    interviews: pd.DataFrame  # user, day
    n_lost: int  # interviews lost to the competitor
    touches: pd.DataFrame  # user, partner (row of PARTNERS), day
    surveys: pd.DataFrame  # user, day, micro_conversion, answer
    misreport_rate: float  # answers that contradict what the user really did


def _world(users: int, seed: int) -> _World:
    rng = np.random.default_rng([seed, 0])

    def after(median: float | np.ndarray, size: int = users) -> np.ndarray:
        return median * rng.exponential(1 / np.log(2), size)

    def happens(rate: float | np.ndarray, day: np.ndarray) -> np.ndarray:
        return np.where(rng.random(len(day)) < rate, day, np.inf)

    # who: accounts of uneven size, role, platform, channel, day of sign-up (growing, fewer at weekends)
    u = pd.DataFrame(index=pd.RangeIndex(users))
    size = rng.gamma(2.0, size=PLANS.n_accounts.sum())
    u["account"] = rng.choice(len(size), users, p=size / size.sum())
    u["plan"] = np.repeat(np.arange(len(PLANS)), PLANS.n_accounts)[u.account]
    plan = PLANS.iloc[u.plan].reset_index()
    u["recruiter"], u["consent"] = (
        rng.random(users) < RECRUITER_RATE,
        rng.random(users) < CONSENT_RATE,
    )
    u["platform"] = rng.choice(len(PLATFORMS), users, p=list(PLATFORMS.values()))
    u["update_lag"] = after(np.array(list(UPDATE_MEDIAN_DAYS.values()))[u.platform])
    u["channel"] = rng.choice(len(CHANNELS), users, p=CHANNELS.share)
    channel = CHANNELS.iloc[u.channel].reset_index()
    weight = WEEKDAY[np.arange(DAYS) % 7] * (1 + 0.5 * np.arange(DAYS) / DAYS)
    signup = (
        rng.choice(DAYS, users, p=weight / weight.sum()) + rng.triangular(5, 14, 24, users) / 24
    )
    u["signup"], u["activity"] = signup, rng.gamma(2.0, 0.5, users) * plan.activity

    # onboarding and first interview: the 14-day rate is planted, the chance to schedule one at all follows from the lag
    since = np.floor(signup) - _day(PROMPTS["change_at"])
    treated = (plan["plan"] == PROMPTS["plan"]) & (since >= 0)
    u["rate"] = (
        plan.base_rate
        + PROMPTS["trend_rate"] * since / DAYS
        + (PROMPTS["after_rate"] - PROMPTS["before_rate"]) * treated
    )
    shift = pd.Series(rng.uniform(-ACCOUNT_HALF_RANGE, ACCOUNT_HALF_RANGE, len(size))[u.account])
    shift -= shift.groupby(u.plan).transform("mean")  # so the plans keep their rates
    ever = (u.rate + shift) * channel.factor / (1 - 2 ** (-14 / channel.median_days))
    u["ever_rate"] = ever.clip(0.01, 0.95).where(~u.recruiter, 0.0)
    first = happens(u.ever_rate, signup + after(channel.median_days))
    converts = np.isfinite(first)
    # who schedules deletes the account only afterwards if at all, so both cumulative incidences are exact
    later = happens(
        DELETION["rate_after_interview"], first + after(DELETION["median_days_after_interview"])
    )
    u["deleted"] = np.where(
        converts, later, happens(DELETION["rate"], signup + after(DELETION["median_days"]))
    )
    cut = np.sort(rng.random((2, users)) ** 2, axis=0)
    profile = np.where(
        converts, signup + (first - signup) * cut[0], happens(0.5, signup + after(1.0))
    )
    resume = np.where(
        converts, signup + (first - signup) * cut[1], happens(0.45, profile + after(1.5))
    )
    bad = (
        (VERSIONS.platform == TRACKING_LOSS["platform"])
        & (VERSIONS.app_version == TRACKING_LOSS["app_version"])
    ).idxmax()
    for name, day in zip(ONBOARDING, (profile, resume)):
        u[name] = np.where(u.recruiter | (day >= u.deleted), np.inf, day)
        version = _version(
            u.platform.to_numpy(), u[name].to_numpy(), signup, u.update_lag.to_numpy()
        )
        u[f"{name}_lost"] = (version >= bad) & (
            rng.random(users) >= TRACKING_LOSS["completeness_rate"]
        )

    # all interviews; the competitor takes some away for good
    who = np.flatnonzero(converts)
    more = np.repeat(who, rng.poisson(6.0, len(who)))
    meet = pd.DataFrame(
        {"user": np.r_[who, more], "day": np.r_[first[who], first[more] + after(15, len(more))]}
    )
    meet = meet[meet.day.to_numpy() < u.deleted.to_numpy()[meet.user]]
    week = np.floor((meet.day - _day(COMPETITOR["change_at"])) / 7)
    taken = np.select(
        [week == 0, week == 1], [-COMPETITOR["rel_change"], -COMPETITOR["rel_change_next_week"]], 0
    )
    lost = rng.random(len(meet)) < taken
    meet, n_lost = meet[~lost], int(lost.sum())
    u["interview_scheduled"] = meet.groupby("user").day.min().reindex(u.index, fill_value=np.inf)

    # renewal of the user's seat, upsell, activity; nobody falls silent before day 21, so a landmark at day 7 or 14 is clean
    u["feedback_given"] = happens(RENEWAL["exposed_rate"], signup + 7 * rng.random(users))
    u["feedback_given"] = u.feedback_given.where(u.feedback_given < u.deleted, np.inf)
    renewal_rate = plan.renewal_rate * np.where(
        np.isfinite(u.feedback_given), RENEWAL["risk_ratio"], 1
    )
    for name, rate in (("renewed", renewal_rate), ("upsold", RENEWAL["upsell_rate"])):
        day = happens(rate, signup + rng.uniform(40, 60, users))
        u[name] = np.where(day < u.deleted, day, np.inf)
    u["until"] = np.minimum(
        np.where(np.isfinite(u.renewed), DAYS, signup + 21 + after(30)), u.deleted
    ).clip(upper=DAYS)

    # touches: one brings the user in, others come at random later; some cause a conversion, the other conversions just happen
    u["partner"] = -1
    for name, group in PARTNERS.groupby("channel"):
        mine = u.index[channel.channel == name]
        u.loc[mine, "partner"] = rng.choice(group.index, len(mine), p=group.share)
    came = np.flatnonzero(u.partner >= 0)
    touches = [
        pd.DataFrame(
            {"user": came, "partner": u.partner[came], "day": signup[came] - after(0.3, len(came))}
        )
    ]
    stay = (u.deleted.clip(upper=DAYS) - signup).to_numpy()
    for row in PARTNERS.itertuples():
        hit = np.repeat(
            np.arange(users),
            rng.poisson(row.touches_per_day * stay) * (rng.random(users) < row.reach),
        )
        touches.append(
            pd.DataFrame(
                {
                    "user": hit,
                    "partner": row.Index,
                    "day": signup[hit] + stay[hit] * rng.random(len(hit)),
                }
            )
        )
    touch = pd.concat(touches)
    touch = touch[touch.day >= 0].reset_index(drop=True)
    by = PARTNERS.loc[touch.partner].reset_index()
    causes = happens(
        by.cause_rate,
        touch.day + by.median_days.fillna(0) * np.exp(LAG_SIGMA * rng.standard_normal(len(touch))),
    )
    touch["causes"] = np.where(causes > signup[touch.user], causes, np.inf)
    cause = touch.loc[touch.groupby("user").causes.idxmin()].set_index("user").reindex(u.index)
    background = signup + rng.exponential(1 / BACKGROUND_PER_DAY, users)
    day = np.fmin(cause.causes, background)
    u["converted"] = day.where((day < u.deleted) & (day < DAYS), np.inf)
    caused = (cause.causes < background) & np.isfinite(u.converted)
    u["cause"], u["lag_days"] = (
        cause.partner.where(caused, -1).astype(int),
        (u.converted - cause.day).where(caused),
    )

    # surveys: people misreport at the rate that makes the disagreement with the tracked events come out as planted
    asked = pd.DataFrame(
        {"user": np.flatnonzero((rng.random(users) < SURVEY["response_rate"]) & ~u.recruiter)}
    )
    asked["day"] = signup[asked.user] + rng.uniform(3, 30, len(asked))
    asked = asked[asked.day.to_numpy() < u.until.to_numpy()[asked.user]].reset_index(drop=True)
    steps, step = [*ONBOARDING, "interview_scheduled"], rng.integers(3, size=len(asked))
    did = u[steps].to_numpy()[asked.user, step] <= asked.day
    untracked = (
        did
        & np.c_[u[[f"{name}_lost" for name in ONBOARDING]], np.zeros(users, bool)][asked.user, step]
    )
    misreport = float((SURVEY["disagreement_rate"] - untracked.mean()) / (1 - 2 * untracked.mean()))
    asked["micro_conversion"], asked["answer"] = (
        _pick(steps, step),
        did ^ (rng.random(len(asked)) < misreport),
    )
    return _World(u, meet, n_lost, touch[["user", "partner", "day"]], asked, misreport)


def generate(users: int = 20_000, seed: int = 1) -> dict[str, pd.DataFrame]:
    """The canonical tables of the demo product; the same seed gives the same tables, bit for bit.

    Returns events, people, surveys, backend, spend, timeline and responses with the columns of the data contract. Timestamps are
    UTC (timezone-aware, microseconds); `day` and `*_on` are ISO days. Rows before sign-up carry only `anonymous_id` and the
    sign-up row carries both ids, so they can be stitched. Recruiters start with recruiter_signed_up. About 58 events per user.
    """
    world, rng = _world(users, seed), np.random.default_rng([seed, 1])
    u = world.users
    n_visitors = int(VISITOR_RATE * users)
    signup, stay, candidate = (
        u.signup.to_numpy(),
        (u.until - u.signup).to_numpy(),
        ~u.recruiter.to_numpy(),
    )
    parts: list[pd.DataFrame] = []

    def add(event: str, user: Any, day: Any, **more: Any) -> None:
        rows = pd.DataFrame(
            {"user": np.asarray(user), "day": np.asarray(day), "event": event, **more}
        )
        parts.append(rows[(rows.day >= 0) & (rows.day < DAYS)])

    def often(event: str, per_day: float | np.ndarray) -> None:
        user = np.repeat(
            np.arange(users), rng.poisson(per_day * stay / _rhythm(np.arange(0, 7, 1 / 24)).mean())
        )
        day = signup[user] + stay[user] * rng.random(len(user))
        kept = rng.random(len(user)) < _rhythm(day)
        add(event, user[kept], day[kept])

    # what people do
    add("signed_up", np.flatnonzero(candidate), signup[candidate])
    add("recruiter_signed_up", np.flatnonzero(~candidate), signup[~candidate])
    for name in ONBOARDING:
        add(name, u.index, u[name].where(~u[f"{name}_lost"], np.inf))
    add("interview_scheduled", world.interviews.user, world.interviews.day)
    reminded = world.interviews[rng.random(len(world.interviews)) < 0.6]
    add("interview_reminder_set", reminded.user, reminded.day + 1 / 24)
    post = signup + rng.exponential(4, users)
    add(
        "first_job_posted",
        u.index,
        np.where(~candidate & (rng.random(users) < 0.7) & (post < u.until), post, np.inf),
    )
    for (
        event,
        recruiter,
        per_day,
    ) in (
        USE
    ):  # larger plans use more and renew more: job_saved goes with renewal without causing it
        often(
            event,
            per_day
            * u.activity.to_numpy()
            * (1 if recruiter is None else u.recruiter.to_numpy() == recruiter),
        )
    often("email_clicked", 0.05)
    add("feedback_given", u.index, u.feedback_given)
    late = signup + 7 + rng.exponential(60, users)  # late feedback changes nothing
    add("feedback_given", u.index, np.where(late < u.until, late, np.inf))
    add("account_deleted", u.index, u.deleted)
    add("subscription_started", u.index, u.converted)
    add(
        "partner_visit",
        world.touches.user,
        world.touches.day,
        partner=world.touches.partner.to_numpy(),
    )
    looked = np.repeat(
        np.arange(users + n_visitors), rng.poisson(np.r_[1.5 * candidate, np.full(n_visitors, 2.0)])
    )
    add(
        "job_viewed",
        looked,
        np.r_[signup, rng.uniform(2, DAYS, n_visitors)][looked] - rng.uniform(0, 2, len(looked)),
    )
    rows = pd.concat(parts, ignore_index=True)

    # what tracking makes of it: session minutes, the double SDK, repeated rows
    change, recovered = (
        rows.day >= _day(SESSION_LENGTH[key]) for key in ("change_at", "recovered_at")
    )
    factor = (1 + SESSION_LENGTH["rel_change"] * change) * (
        1 + SESSION_LENGTH["rel_recovery"] * recovered
    )
    minutes = SESSION_LENGTH["mean_minutes"] * factor * rng.lognormal(-(0.6**2) / 2, 0.6, len(rows))
    rows["tenths"] = (
        np.rint(10 * minutes).clip(1, 2_000).astype(int).where(rows.event == "session_ended", 0)
    )
    platform = np.r_[u.platform, rng.choice(len(PLATFORMS), n_visitors, p=list(PLATFORMS.values()))]
    ios = platform[rows.user] == list(PLATFORMS).index(DUPLICATES["logical_platform"])
    twin = rows[ios & (rng.random(len(rows)) < DUPLICATES["logical_rate"])]
    twin = twin.assign(
        day=np.minimum(twin.day + rng.uniform(0.05, 1.95, len(twin)) / 86_400, DAYS - 1e-9)
    )
    rows = pd.concat([rows, twin]).sort_values("day", kind="stable", ignore_index=True)
    rows["id"] = np.arange(len(rows))
    again = rows[rng.random(len(rows)) < DUPLICATES["technical_rate"]]
    rows = pd.concat([rows, again]).sort_values("day", kind="stable", ignore_index=True)
    return {"events": _events(rows, u, platform, rng), **_tables(world, rng)}


def _events(
    rows: pd.DataFrame, u: pd.DataFrame, platform: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows of (user, day, event, partner, tenths, id) -> canonical events; users beyond `u` are visitors who never sign up."""
    user, day, none = rows.user.to_numpy(), rows.day.to_numpy(), np.full(len(platform) - len(u), -1)
    signup = np.r_[u.signup, np.full(len(none), np.inf)][user]
    before, entry = day < signup, rows.event.isin(["signed_up", "recruiter_signed_up"]).to_numpy()
    version = _version(platform[user], day, signup, np.r_[u.update_lag, np.zeros(len(none))][user])
    offline = (platform[user] > 0) & (
        rng.random(len(rows)) < 0.01
    )  # such mobile rows arrive up to days late
    delay = rng.exponential(np.where(offline, 43_200, 2.0)) / 86_400
    partner = rows.partner.fillna(-1).to_numpy(dtype=int)
    is_broken = PARTNERS.partner_id == BROKEN_UTM["partner_id"]
    source = _pick(PARTNERS.partner_id, partner)
    broken = source == BROKEN_UTM["partner_id"]
    source[broken] = rng.choice(np.array(BROKEN_UTM["spellings"], dtype=object), broken.sum())
    promo = _pick(
        PARTNERS.partner_id.map(PROMO_CODES).astype(object).replace(np.nan, None), partner
    )
    conflict = (source == PROMO_CONFLICT["partner_id"]) & (
        rng.random(len(rows)) < PROMO_CONFLICT["rate"]
    )
    properties = np.array(
        [None, *(f'{{"minutes": {tenths / 10}}}' for tenths in range(1, 2_001))], dtype=object
    )[rows.tenths]
    properties[entry] = np.where(
        u.recruiter, '{"role": "recruiter"}', '{"role": "candidate"}'
    ).astype(object)[user[entry]]
    session, first_row = np.unique(
        user * 1_000 + day.astype(int), return_inverse=True
    )  # one session per user and UTC day
    return pd.DataFrame(
        {
            "user_id": np.where(
                before, None, _pick(_ids("u", u.index), np.r_[u.index, none][user])
            ),
            "event": rows.event.to_numpy(),
            "timestamp": _at(day),
            "event_id": _ids("e", rows.id),
            "received_at": _at(np.minimum(day + delay, DAYS - 1e-9)),
            "anonymous_id": np.where(
                before | entry, _ids("a", np.arange(len(platform)))[user], None
            ),
            "session_id": _ids("s", session)[first_row],
            "platform": _pick(PLATFORMS, platform[user]),
            "app_version": _pick(VERSIONS.app_version, version),
            "channel": _pick(CHANNELS.index, np.r_[u.channel, none][user]),
            "utm_source": source,
            "utm_medium": _pick(PARTNERS.channel, partner),
            "utm_campaign": np.where(partner >= 0, "spring", None),
            "partner_id": _pick(PARTNERS.partner_id.mask(is_broken, None), partner),
            "promo_code": np.where(conflict, PROMO_CONFLICT["promo_code"], promo),
            "properties": properties,
        }
    )


def _tables(world: _World, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    u, asked = world.users, world.surveys
    names = _ids("u", u.index)
    people = pd.DataFrame(
        {  # partner_id is the CRM's: who really brought the user in
            "user_id": names,
            "signed_up_at": _at(u.signup),
            "channel": _pick(CHANNELS.index, u.channel),
            "partner_id": _pick(PARTNERS.partner_id, u.partner),
            "account_id": _ids("acc", u.account),
            "plan": _pick(PLANS.index, u.plan),
            "activated_at": _at(u.interview_scheduled),
            "renewed_at": _at(u.renewed),
            "upsold_at": _at(u.upsold),
            "churned_at": _at(u.deleted),
            "revenue": 29.0 * (u.converted < DAYS)
            + 49.0 * (u.renewed < DAYS)
            + 25.0 * (u.upsold < DAYS),
            "consent": u.consent,
        }
    )
    reason = _pick(
        ["no time", "could not find it", "not needed yet"], rng.integers(3, size=len(asked))
    )
    surveys = pd.DataFrame(
        {
            "user_id": names[asked.user],
            "submitted_at": _at(asked.day),
            "micro_conversion": asked.micro_conversion,
            "answer": _pick(["no", "yes"], asked.answer.astype(int)),
            "reason": np.where(asked.answer, None, reason),
            "tool": _pick(["zigpoll", "typeform"], rng.integers(2, size=len(asked))),
        }
    )
    server = pd.concat(
        [
            *(
                pd.DataFrame({"user": u.index, "day": u[name], "event": name})
                for name in ONBOARDING
            ),
            world.interviews.assign(event="interview_scheduled"),
        ]
    )
    server = server[server.day < DAYS].sort_values("day", kind="stable")
    backend = pd.DataFrame(
        {
            "user_id": names[server.user],
            "event": server.event.to_numpy(),
            "timestamp": _at(server.day),
        }
    )
    spend = pd.DataFrame(
        {
            "partner_id": np.repeat(PARTNERS.partner_id.to_numpy(), DAYS),
            "day": np.tile(pd.date_range(START, periods=DAYS).strftime("%Y-%m-%d"), len(PARTNERS)),
            "amount": np.repeat(PARTNERS.daily_amount.to_numpy(), DAYS),
        }
    )
    spend["amount"] = (spend.amount * rng.uniform(0.85, 1.15, len(spend))).round(2)
    return {
        "people": people,
        "surveys": surveys,
        "backend": backend,
        "spend": spend,
        "timeline": TIMELINE.copy(),
        "responses": RESPONSES.copy(),
    }


def truth(users: int = 20_000, seed: int = 1) -> dict[str, Any]:
    """What was planted, by story (see the module's text).

    Plain numbers are planted parameters. Tables and `n_*` are counted in this very world, before tracking loss unless a column
    says otherwise, over the users who consent (the others never reach an analysis).
    prompts: also lift_rate, naive_lift_rate (expected before/after difference of the treated), n_treated, n_incremental, roi.
    attribution: n_conversions, n_caused, dilution_rate (share that nobody caused), p90_days (the window that holds 90 % of the
      caused ones); `partners` (partner_id, kind, median_days = planted lag, n_touches, n_caused, spend_amount); `windows`
      (window_days, n_attributed = conversions with any touch in it, n_caused = those caused by a touch in it, dilution_rate).
    activation: segment, cohort, n_users, activated_30d_rate, activated_90d_rate and competing_90d_rate (cumulative incidences of
      the generating distribution), median_days of those who schedule. The cohort before the change has its full 90 days.
    funnel: segment, step, event, n_users, conversion_rate (what happened), tracked_rate (what the events show), for candidates
      whose 14 days are over by the end of the data.
    """
    world = _world(users, seed)
    u = world.users[world.users.consent]
    change = _day(PROMPTS["change_at"])
    candidates = u[~u.recruiter].join(
        CHANNELS.reset_index()[["channel", "median_days"]], on="channel", rsuffix="_name"
    )
    treated = candidates[PLANS.index[candidates.plan] == PROMPTS["plan"]]
    after, lift = treated.signup >= change, round(PROMPTS["after_rate"] - PROMPTS["before_rate"], 9)
    prompts = PROMPTS | {
        "lift_rate": lift,
        "naive_lift_rate": float(treated.rate[after].mean() - treated.rate[~after].mean()),
        "n_treated": int(after.sum()),
        "n_incremental": float(lift * after.sum()),
    }
    prompts["roi"] = prompts["n_incremental"] * PROMPTS["value_amount"] / PROMPTS["cost_amount"] - 1

    touches = world.touches[world.touches.user.isin(u.index)]
    lag = touches.user.map(u.converted) - touches.day
    last = lag[(lag >= 0) & np.isfinite(lag)].groupby(touches.user).min()
    counted = {"n_touches": touches.partner.value_counts(), "n_caused": u.cause.value_counts()}
    partners = PARTNERS[["partner_id", "kind", "median_days"]].assign(
        **{name: n.reindex(PARTNERS.index, fill_value=0) for name, n in counted.items()},
        spend_amount=DAYS * PARTNERS.daily_amount,
    )
    windows = pd.DataFrame(
        {
            "window_days": WINDOWS_DAYS,
            "n_attributed": [int((last <= days).sum()) for days in WINDOWS_DAYS],
            "n_caused": [int((u.lag_days <= days).sum()) for days in WINDOWS_DAYS],
        }
    )
    windows["dilution_rate"] = 1 - windows.n_caused / windows.n_attributed
    attribution = {
        "conversion": "subscription_started",
        "n_conversions": int((u.converted < DAYS).sum()),
        "n_caused": int((u.cause >= 0).sum()),
        "dilution_rate": float(1 - (u.cause >= 0)[u.converted < DAYS].mean()),
        "p90_days": float(u.lag_days.quantile(0.9)),
        "partners": partners,
        "windows": windows,
        "broken_utm": dict(BROKEN_UTM),
        "promo_conflict": dict(PROMO_CONFLICT),
    }

    activation, funnel = [], []
    segments = {name: candidates.channel_name == name for name in CHANNELS.index}
    for segment, mine in (
        segments | {"not creator": ~segments["creator"], "all": candidates.channel >= 0}
    ).items():
        for cohort, part in (
            (f"before {PROMPTS['change_at']}", mine & (candidates.signup < change)),
            ("all", mine),
        ):
            rows = candidates[part]
            rates = {
                f"activated_{d}d_rate": (rows.ever_rate * (1 - 2 ** (-d / rows.median_days))).mean()
                for d in (30, 90)
            }
            leave = DELETION["rate"] * (1 - 2 ** (-90 / DELETION["median_days"]))
            rates |= {
                "competing_90d_rate": leave * (1 - rows.ever_rate.mean()),
                "median_days": rows.median_days.median(),
            }
            activation.append({"segment": segment, "cohort": cohort, "n_users": len(rows), **rates})
        over = candidates[mine & (candidates.signup + 14 <= DAYS)]
        reached = tracked = over.signup >= 0
        for step, event in enumerate(("signed_up", *ONBOARDING, "interview_scheduled"), start=1):
            reached = reached & (over[event] - over.signup <= 14) if step > 1 else reached
            tracked = (
                tracked & reached & ~over[f"{event}_lost"]
                if event in ONBOARDING
                else tracked & reached
            )
            funnel.append(
                {
                    "segment": segment,
                    "step": step,
                    "event": event,
                    "n_users": len(over),
                    "conversion_rate": float(reached.mean()),
                    "tracked_rate": float(tracked.mean()),
                }
            )
    return {
        "tracking_loss": dict(TRACKING_LOSS),
        "duplicates": dict(DUPLICATES),
        "survey": SURVEY | {"misreport_rate": world.misreport_rate},
        "competitor": COMPETITOR | {"n_lost": world.n_lost},
        "session_length": dict(SESSION_LENGTH),
        "prompts": prompts,
        "renewal": dict(RENEWAL),
        "definitions": dict(DEFINITIONS),
        "attribution": attribution,
        "activation": pd.DataFrame(activation),
        "funnel": pd.DataFrame(funnel),
    }
