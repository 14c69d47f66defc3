"""A seeded HR-tech product with planted truth.

`generate()` returns the canonical tables of an invented recruiting app: candidates and recruiters on web, iOS and Android, nested in
240 employer accounts, over 26 weeks from Monday 2026-01-05 to Sunday 2026-07-05 (UTC). `truth()` states what was planted, in the words
of the results' columns. Both read the tables at the top of this file. Change a number here and the data and the truth move together.

The stories, by key of `truth()`:

tracking_loss   From Android 4.2.0 on, only 68 % of the onboarding events fire. `backend` has them all.
duplicates      A double SDK on iOS sends 3 % of events twice (new event_id, within 2 s); 0.5 % of all rows repeat an event_id.
survey          Survey and tracked events disagree on 22 % of answers. Lost events are one part, misreporting the other.
competitor      A competitor's instant scheduling costs 15 % of interview_scheduled in one week and 5 % in the next, for everyone alike.
session_length  A chatbot elsewhere costs 25 % of session minutes. Three weeks after our reply they rise again by 15 %.
prompts         Prompts for accounts of plan growth lift interviews within 14 days of sign-up from 18 % to 35 %, while all plans drift up.
renewal         Feedback within seven days triples renewal. email_clicked is worthless, but renewed users live longer and click more.
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
import pyarrow as pa

START, DAYS = pd.Timestamp("2026-01-05", tz="UTC"), 182
RECRUITER_RATE, CONSENT_RATE, VISITOR_RATE = 0.15, 0.99, 0.05  # visitors: anonymous ids that never sign up, as a share of users
PLATFORMS = {"web": 0.40, "ios": 0.30, "android": 0.30}
ONBOARDING = ("profile_completed", "resume_uploaded")

# share of users; factor on the 14-day interview rate (the shares average it to 1); median days to first interview of those who schedule one
CHANNELS = pd.DataFrame(
    [("organic", 0.30, 1.15, 4.0), ("paid_search", 0.20, 0.95, 4.0), ("job_board", 0.20, 1.10, 4.0), ("referral", 0.10, 1.45, 4.0),
     ("creator", 0.20, 0.50, 20.0)], columns=["channel", "share", "factor", "median_days"]).set_index("channel")
# accounts; 14-day interview rate on PROMPTS["change_at"] without prompts; renewal rate without early feedback; activity against the average
PLANS = pd.DataFrame(
    [("starter", 84, 0.18, 0.08, 0.8), ("growth", 72, 0.18, 0.10, 1.0), ("scale", 36, 0.20, 0.12, 1.1), ("enterprise", 24, 0.21, 0.18, 1.6),
     ("campus", 24, 0.17, 0.10, 0.9)], columns=["plan", "n_accounts", "base_rate", "renewal_rate", "activity"]).set_index("plan")
ACCOUNT_HALF_RANGE = 0.10  # an account's own shift of the 14-day rate is uniform on +-0.10: an intra-account correlation of 2 to 3 %
# share within its channel; chance that one touch causes a conversion; median days from touch to caused conversion; share of users its later
# touches can reach; such touches per day; money per day
PARTNERS = pd.DataFrame(
    [("creator_ana", "creator", "creator", 0.45, 0.10, 20.0, 1.0, 0.0006, 60.0),
     ("creator_ben", "creator", "creator", 0.30, 0.09, 20.0, 1.0, 0.0005, 45.0),
     ("creator_chloe", "creator", "creator", 0.25, 0.09, 20.0, 1.0, 0.0005, 35.0),
     ("jobboard_one", "traditional", "job_board", 0.65, 0.05, 3.0, 1.0, 0.0010, 90.0),
     ("jobboard_two", "traditional", "job_board", 0.35, 0.04, 3.0, 1.0, 0.0008, 60.0),
     ("search_ads", "traditional", "paid_search", 1.00, 0.05, 3.0, 1.0, 0.0012, 140.0),
     ("coupon_corner", "retargeting", "retargeting", 1.00, 0.00, np.nan, 0.4, 0.0250, 80.0)],
    columns=["partner_id", "kind", "channel", "share", "cause_rate", "median_days", "reach", "touches_per_day", "daily_amount"])
LAG_SIGMA = 0.5               # caused lags are log-normal around their median
BACKGROUND_PER_DAY = 0.0005   # conversions nobody causes, per user and day since sign-up: flat, so touches cannot be confused with tenure
PROMO_CODES = {"coupon_corner": "SAVE10", "creator_ana": "ANA10"}
BROKEN_PARTNER = "creator_chloe"
BROKEN_SPELLINGS = ("creator_chloe", "Creator-Chloe", "creatorchloe", "CREATOR_CHLOE", "chloe creator")
WINDOWS_DAYS = (1, 7, 14, 30, 60, 90)

# Android comes last and each platform is in order of release: the loss then is "row number >= the first bad row"
VERSIONS = pd.DataFrame(
    [("web", "2026.1", "2025-12-01"), ("web", "2026.2", "2026-03-02"), ("web", "2026.3", "2026-05-18"),
     ("ios", "4.0.1", "2025-11-10"), ("ios", "4.1.0", "2026-02-23"), ("ios", "4.2.0", "2026-05-04"),
     ("android", "4.0.0", "2025-11-17"), ("android", "4.1.0", "2026-02-23"), ("android", "4.2.0", "2026-04-27"), ("android", "4.2.1", "2026-06-01")],
    columns=["platform", "app_version", "released"])
UPDATE_MEDIAN_DAYS = {"web": 0.0, "ios": 4.0, "android": 6.0}

TRACKING_LOSS = {"platform": "android", "app_version": "4.2.0", "released": "2026-04-27", "events": ONBOARDING, "completeness_rate": 0.68}
DUPLICATES = {"logical_platform": "ios", "logical_rate": 0.03, "logical_within": "2s", "technical_rate": 0.005,
              "rule": "copies / original rows; logical copies have a new event_id, technical copies the same one"}
SURVEY = {"disagreement_rate": 0.22, "response_rate": 0.30,
          "rule": "answers unlike 'the user has that event in `events` by submitted_at' / all answers"}
COMPETITOR = {"change_at": "2026-06-08", "event": "interview_scheduled", "rel_change": -0.15, "rel_change_next_week": -0.05}
SESSION_LENGTH = {"event": "session_ended", "property": "minutes", "mean_minutes": 9.0, "change_at": "2026-02-16", "rel_change": -0.25,
                  "reply_at": "2026-03-02", "recovered_at": "2026-03-23", "rel_recovery": 0.15}
PROMPTS = {"change_at": "2026-04-06", "plan": "growth", "before_rate": float(PLANS.base_rate["growth"]), "after_rate": 0.35,
           "trend_rate": 0.10, "window": "14d", "value_amount": 45.0, "cost_amount": 12_000.0,
           "rule": "candidates with interview_scheduled within 14 days / candidates signed up, by day of sign-up; "
                   "trend_rate is the drift of every plan over the 26 weeks"}
RENEWAL = {"signal": "feedback_given", "within": "7d", "risk_ratio": 3.0, "exposed_rate": 0.20, "vanity": ("email_clicked",),
           "confounded": ("job_saved",), "horizon": "60d", "upsell_risk_ratio": 1.0,
           "rule": "renewed_at within 60 days of sign-up, among users not deleted by day 7, with / without the signal by day 7"}
DEFINITIONS = {"product": {"event": "interview_scheduled", "within": "30d"}, "marketing": {"event": "profile_completed", "within": "7d"},
               "support": {"event": "feedback_given", "within": "7d"}}
TIMELINE = pd.DataFrame(
    [(SESSION_LENGTH["change_at"], "competitor", "chatbot elsewhere answers candidates at once", "session_ended", ""),
     ("2026-02-23", "release", "ios and android 4.1.0", "", ""),
     (SESSION_LENGTH["reply_at"], "intervention", "reply to the chatbot: guided search", "session_ended", "expected to work within three weeks"),
     (PROMPTS["change_at"], "intervention", "prompts to schedule an interview", "interview_scheduled", "accounts of plan growth only"),
     (TRACKING_LOSS["released"], "release", "android 4.2.0", "profile_completed,resume_uploaded", ""),
     ("2026-05-11", "campaign", "spring job fair", "", "no effect planted"),
     (COMPETITOR["change_at"], "competitor", "instant interview scheduling elsewhere", "interview_scheduled", "")],
    columns=["day", "kind", "label", "micro_conversions", "note"])
RESPONSES = pd.DataFrame(
    [("session_ended-2026-02-16", "2026-02-18", "2026-02-24", "2026-03-02", "ship guided search", "response coordinator", "recovered by 2026-03-23"),
     ("profile_completed-2026-04-27", "2026-05-06", "2026-05-13", None, "check the android release", "data collector", "open"),
     ("interview_scheduled-2026-06-08", "2026-06-15", "2026-06-17", None, "offer same-day slots", "response coordinator", "open")],
    columns=["alert_id", "detected_on", "decided_on", "shipped_on", "action", "owner", "outcome"])

# events of everyday use: (event, who, per active day)
USE = (("session_ended", "all", 0.45), ("job_viewed", "candidate", 0.50), ("job_saved", "candidate", 0.10), ("application_submitted", "candidate", 0.07),
       ("candidate_shortlisted", "recruiter", 0.40), ("team_invited", "recruiter", 0.02))
WEEKDAY = np.array([1.1, 1.1, 1.05, 1.0, 0.95, 0.6, 0.6]) / 1.1  # chance that an event planned for that weekday happens


def _day(date: str) -> int:
    return (pd.Timestamp(date, tz="UTC") - START).days


def _rhythm(day: np.ndarray) -> np.ndarray:
    """Chance that an event planned for that moment happens: fewer at weekends and at night."""
    return WEEKDAY[day.astype(np.int64) % 7] * (0.1 + 0.9 * np.sin(np.pi * (day % 1 - 0.1)) ** 2)


def _version(platform: np.ndarray, day: np.ndarray, signup: np.ndarray, update_lag: np.ndarray) -> np.ndarray:
    """Row of VERSIONS in use: the newest at sign-up, later releases after the user's own update lag."""
    row = np.zeros(len(day), dtype=np.int8)
    for code, name in enumerate(PLATFORMS):
        released = VERSIONS.index[VERSIONS.platform == name]
        days = VERSIONS.released[released].map(_day).to_numpy()
        mine = np.flatnonzero(platform == code)
        known = np.maximum(day[mine] - update_lag[mine], np.minimum(signup[mine], day[mine]))
        row[mine] = released[0] + np.searchsorted(days, known, side="right") - 1
    return row


@dataclass(frozen=True)
class _World:
    """The latent world, times in days since START (inf: never); what tracking and surveys then make of it is in generate()."""

    users: pd.DataFrame        # one row per user
    interviews: pd.DataFrame   # user, day
    n_lost: int                # interviews lost to the competitor
    touches: pd.DataFrame      # user, partner (row of PARTNERS), day
    surveys: pd.DataFrame      # user, day, micro_conversion, answer
    misreport_rate: float      # survey answers that contradict what the user really did


def _world(users: int, seed: int) -> _World:
    rng = np.random.default_rng([seed, 0])

    def after(median: float | np.ndarray, size: int = users) -> np.ndarray:
        return median * rng.exponential(1 / np.log(2), size)

    def happens(rate: float | np.ndarray, day: np.ndarray) -> np.ndarray:
        return np.where(rng.random(len(day)) < rate, day, np.inf)

    # who: accounts of uneven size, role, platform, channel, day of sign-up (growing, fewer at weekends)
    u = pd.DataFrame(index=pd.RangeIndex(users, name="user"))
    size = rng.gamma(2.0, size=PLANS.n_accounts.sum())
    u["account"] = rng.choice(len(size), users, p=size / size.sum())
    u["plan"] = np.repeat(np.arange(len(PLANS)), PLANS.n_accounts)[u.account]
    u["recruiter"] = rng.random(users) < RECRUITER_RATE
    u["platform"] = rng.choice(len(PLATFORMS), users, p=list(PLATFORMS.values()))
    u["channel"] = rng.choice(len(CHANNELS), users, p=CHANNELS.share)
    weight = WEEKDAY[np.arange(DAYS) % 7] * (1 + 0.5 * np.arange(DAYS) / DAYS)
    signup = rng.choice(DAYS, users, p=weight / weight.sum()) + rng.triangular(5, 14, 24, users) / 24
    u["signup"], u["activity"] = signup, rng.gamma(2.0, 0.5, users) * PLANS.activity.to_numpy()[u.plan]
    u["update_lag"] = after(np.array(list(UPDATE_MEDIAN_DAYS.values()))[u.platform])

    # onboarding and first interview: the 14-day rate is planted, the chance to schedule one at all follows from the lag's distribution
    treated = (PLANS.index[u.plan] == PROMPTS["plan"]) & (signup >= _day(PROMPTS["change_at"]))
    u["rate"] = (PLANS.base_rate.to_numpy()[u.plan] + PROMPTS["trend_rate"] * (np.floor(signup) - _day(PROMPTS["change_at"])) / DAYS
                 + (PROMPTS["after_rate"] - PROMPTS["before_rate"]) * treated)
    shift = pd.Series(rng.uniform(-ACCOUNT_HALF_RANGE, ACCOUNT_HALF_RANGE, len(size))[u.account])
    shift -= shift.groupby(u.plan).transform("mean")  # the plans keep their rates
    median = CHANNELS.median_days.to_numpy()[u.channel]
    u["ever_rate"] = np.where(u.recruiter, 0, ((u.rate + shift) * CHANNELS.factor.to_numpy()[u.channel] / (1 - 2 ** (-14 / median))).clip(0.01, 0.95))
    first = happens(u.ever_rate, signup + after(median))
    converts = np.isfinite(first)
    # users who schedule may delete their account only afterwards, so both cumulative incidences are exact
    u["deleted"] = np.where(converts, happens(0.08, first + after(40)), happens(0.25, signup + after(12)))
    cut = np.sort(rng.random((2, users)) ** 2, axis=0)
    profile = np.where(converts, signup + (first - signup) * cut[0], happens(0.5, signup + after(1.0)))
    resume = np.where(converts, signup + (first - signup) * cut[1], happens(0.45, profile + after(1.5)))
    for name, day in (("profile_completed", profile), ("resume_uploaded", resume)):
        u[name] = np.where(u.recruiter | (day >= u.deleted), np.inf, day)
        bad = (VERSIONS.platform == TRACKING_LOSS["platform"]) & (VERSIONS.app_version == TRACKING_LOSS["app_version"])
        version = _version(u.platform.to_numpy(), u[name].to_numpy(), signup, u.update_lag.to_numpy())
        u[f"{name}_lost"] = (version >= bad.idxmax()) & (rng.random(users) >= TRACKING_LOSS["completeness_rate"])

    # all interviews; the competitor takes some away for good
    who = np.flatnonzero(converts)
    more = np.repeat(who, rng.poisson(4.0, len(who)))
    meet = pd.DataFrame({"user": np.r_[who, more], "day": np.r_[first[who], first[more] + after(15, len(more))]})
    meet = meet[meet.day.to_numpy() < u.deleted.to_numpy()[meet.user]]
    week = np.floor((meet.day - _day(COMPETITOR["change_at"])) / 7)
    lost = rng.random(len(meet)) < -np.select([week == 0, week == 1], [COMPETITOR["rel_change"], COMPETITOR["rel_change_next_week"]], 0)
    meet, n_lost = meet[~lost], int(lost.sum())
    u["interview_scheduled"] = meet.groupby("user").day.min().reindex(u.index, fill_value=np.inf)

    # renewal of the user's seat, upsell, and how long people stay active (nobody falls silent before day 21, so early signals are not immortal)
    u["feedback_given"] = happens(RENEWAL["exposed_rate"], signup + 7 * rng.random(users))
    u.loc[u.feedback_given >= u.deleted, "feedback_given"] = np.inf
    renewal_rate = PLANS.renewal_rate.to_numpy()[u.plan] * np.where(np.isfinite(u.feedback_given), RENEWAL["risk_ratio"], 1)
    for name, rate in (("renewed", renewal_rate), ("upsold", 0.06)):
        day = happens(rate, signup + rng.uniform(40, 60, users))
        u[name] = np.where(day < u.deleted, day, np.inf)
    u["until"] = np.minimum(np.where(np.isfinite(u.renewed), DAYS, signup + 21 + after(30)), u.deleted).clip(upper=DAYS)

    # touches: one brings the user in, others come at random later; some of them cause a conversion, the rest of the conversions just happen
    u["partner"] = -1
    for channel, group in PARTNERS[PARTNERS.channel != "retargeting"].groupby("channel"):
        mine = u.index[CHANNELS.index[u.channel] == channel]
        u.loc[mine, "partner"] = rng.choice(group.index, len(mine), p=group.share)
    came = np.flatnonzero(u.partner >= 0)
    touches = [pd.DataFrame({"user": came, "partner": u.partner[came], "day": signup[came] - after(0.3, len(came))})]
    stay = (u.deleted.clip(upper=DAYS) - signup).to_numpy()
    for row in PARTNERS.itertuples():
        reached = np.repeat(np.arange(users), rng.poisson(row.touches_per_day * stay) * (rng.random(users) < row.reach))
        touches.append(pd.DataFrame({"user": reached, "partner": row.Index, "day": signup[reached] + stay[reached] * rng.random(len(reached))}))
    touch = pd.concat(touches, ignore_index=True).query("day >= 0", engine="python").reset_index(drop=True)
    partner = PARTNERS.loc[touch.partner]
    touch["causes"] = happens(partner.cause_rate.to_numpy(), touch.day + partner.median_days.fillna(1).to_numpy() * np.exp(LAG_SIGMA * rng.standard_normal(len(touch))))
    touch.loc[touch.causes <= signup[touch.user], "causes"] = np.inf
    cause = touch.loc[touch.groupby("user").causes.idxmin()].set_index("user").reindex(u.index)
    background = signup + rng.exponential(1 / BACKGROUND_PER_DAY, users)
    caused = cause.causes.fillna(np.inf).to_numpy()
    day = np.minimum(caused, background)
    u["converted"] = np.where((day < u.deleted) & (day < DAYS), day, np.inf)
    u["cause"] = np.where((caused < background) & np.isfinite(u.converted), cause.partner.fillna(-1), -1).astype(int)
    u["lag_days"] = np.where(u.cause >= 0, u.converted - cause.day, np.nan)

    # surveys: people report with an error rate chosen so that the disagreement with the tracked events comes out as planted
    asked = pd.DataFrame({"user": np.flatnonzero((rng.random(users) < SURVEY["response_rate"]) & ~u.recruiter)})
    asked["day"] = signup[asked.user] + rng.uniform(3, 30, len(asked))
    asked = asked[asked.day.to_numpy() < u.until.to_numpy()[asked.user]].reset_index(drop=True)
    step = rng.integers(3, size=len(asked))
    names = np.array([*ONBOARDING, "interview_scheduled"], dtype=object)
    did = u[names].to_numpy()[asked.user, step] <= asked.day
    lost = did & np.column_stack([u[[f"{name}_lost" for name in ONBOARDING]], np.zeros(users, bool)])[asked.user, step]
    misreport = (SURVEY["disagreement_rate"] - lost.mean()) / (1 - 2 * lost.mean())
    asked["micro_conversion"], asked["answer"] = names[step], did ^ (rng.random(len(asked)) < misreport)
    return _World(u, meet, n_lost, touch[["user", "partner", "day"]], asked, float(misreport))


def generate(users: int = 20_000, seed: int = 1) -> dict[str, pd.DataFrame]:
    """The canonical tables of the demo product; the same seed gives the same tables, bit for bit.

    Returns events, people, surveys, backend, spend, timeline and responses with the columns of the data contract. Timestamps are UTC
    (timezone-aware, microseconds); `day` and `*_on` are ISO days. Rows before sign-up carry only `anonymous_id`; the sign-up row
    carries both ids, so they can be stitched. Users are u0, u1, ...; accounts acc0, acc1, ... About 50 events per user.
    """
    world, rng = _world(users, seed), np.random.default_rng([seed, 1])
    u = world.users
    n_all = users + int(VISITOR_RATE * users)
    signup, until, candidate = u.signup.to_numpy(), u.until.to_numpy(), ~u.recruiter.to_numpy()
    parts: list[pd.DataFrame] = []

    def add(event: str, user: Any, day: Any, **more: Any) -> None:
        rows = pd.DataFrame({"user": np.asarray(user), "day": np.asarray(day), **more})
        parts.append(rows[(rows.day >= 0) & (rows.day < DAYS)].assign(event=event))

    def often(event: str, who: np.ndarray, per_day: float | np.ndarray) -> None:
        planned = per_day * (until - signup) * who / _rhythm(np.arange(0, 7, 1 / 24)).mean()
        user = np.repeat(np.arange(users), rng.poisson(planned))
        day = signup[user] + (until - signup)[user] * rng.random(len(user))
        kept = rng.random(len(user)) < _rhythm(day)
        add(event, user[kept], day[kept])

    # what people do
    add("signed_up", np.flatnonzero(candidate), signup[candidate])
    add("recruiter_signed_up", np.flatnonzero(~candidate), signup[~candidate])
    for name in ONBOARDING:
        fires = ~u[f"{name}_lost"]
        add(name, u.index[fires], u[name][fires])
    add("interview_scheduled", world.interviews.user, world.interviews.day)
    reminded = world.interviews[rng.random(len(world.interviews)) < 0.6]
    add("interview_reminder_set", reminded.user, reminded.day + 1 / 24)
    posts = np.flatnonzero(~candidate & (rng.random(users) < 0.7))
    add("first_job_posted", posts, np.where((day := signup[posts] + rng.exponential(4, len(posts))) < until[posts], day, np.inf))
    for event, who, per_day in USE:
        kind = {"all": np.ones(users, bool), "candidate": candidate, "recruiter": ~candidate}[who]
        # people at larger plans save more jobs and renew more: job_saved goes with renewal without causing it
        often(event, kind, per_day * u.activity.to_numpy())
    often("email_clicked", np.ones(users, bool), 0.05)
    add("feedback_given", u.index, u.feedback_given)
    late = signup + 7 + rng.exponential(60, users)  # late feedback changes nothing
    add("feedback_given", u.index[late < until], late[late < until])
    add("account_deleted", u.index, u.deleted)
    add("subscription_started", u.index, u.converted)
    add("partner_visit", world.touches.user, world.touches.day, partner=world.touches.partner.to_numpy())
    looked = np.repeat(np.arange(n_all), rng.poisson(np.r_[1.5 * candidate, np.full(n_all - users, 2.0)]))
    seen = np.r_[signup, rng.uniform(2, DAYS, n_all - users)][looked] - rng.uniform(0, 2, len(looked))
    add("job_viewed", looked, seen)
    rows = pd.concat(parts, ignore_index=True)

    # what tracking makes of it: session minutes, the double SDK, repeated rows
    platform = np.r_[u.platform, rng.choice(len(PLATFORMS), n_all - users, p=list(PLATFORMS.values()))]
    ios = platform[rows.user] == list(PLATFORMS).index(DUPLICATES["logical_platform"])
    twin = rows[ios & (rng.random(len(rows)) < DUPLICATES["logical_rate"])]
    twin = twin.assign(day=np.minimum(twin.day + rng.uniform(0.05, 1.95, len(twin)) / 86_400, DAYS - 1e-9))
    tenths = np.rint(10 * _minutes(rows.day.to_numpy(), rng)).clip(1, 2_000).astype(int)
    rows["minutes"] = np.where(rows.event == "session_ended", tenths, 0)
    rows = pd.concat([rows, twin.assign(minutes=rows.minutes[twin.index])]).sort_values("day", kind="stable", ignore_index=True)
    rows["id"] = np.arange(len(rows))
    rows = pd.concat([rows, rows[rng.random(len(rows)) < DUPLICATES["technical_rate"]]]).sort_values("day", kind="stable")
    return {"events": _events(rows, u, platform, rng), **_tables(world, rng)}


def _minutes(day: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    factor = np.where(day >= _day(SESSION_LENGTH["change_at"]), 1 + SESSION_LENGTH["rel_change"], 1.0)
    factor *= np.where(day >= _day(SESSION_LENGTH["recovered_at"]), 1 + SESSION_LENGTH["rel_recovery"], 1.0)
    return SESSION_LENGTH["mean_minutes"] * factor * np.exp(0.6 * rng.standard_normal(len(day)) - 0.18)


def _at(day: Any) -> pd.DatetimeIndex:
    """Days since START -> UTC timestamps in microseconds; inf -> NaT."""
    day = np.asarray(day, dtype=float)
    micros = np.where(np.isfinite(day) & (day < DAYS), np.round(day * 86_400e6), np.iinfo(np.int64).min / 2)
    stamps = (micros.astype(np.int64) + START.value // 1_000).view("M8[us]")
    return pd.DatetimeIndex(np.where(micros < -1e15, np.datetime64("NaT", "us"), stamps)).tz_localize("UTC")


def _labels(prefix: str, codes: Any) -> np.ndarray:
    return (prefix + pd.Series(pa.array(np.asarray(codes)).cast(pa.string()).to_pandas())).to_numpy(dtype=object)


def _events(rows: pd.DataFrame, u: pd.DataFrame, platform: np.ndarray, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of (event, user, day, partner, minutes, id) -> the canonical events table."""
    user, day, n_visitors = rows.user.to_numpy(), rows.day.to_numpy(), len(platform) - len(u)
    signup = np.r_[u.signup, np.full(n_visitors, np.inf)]
    entry = rows.event.isin(["signed_up", "recruiter_signed_up"]).to_numpy()
    before = day < signup[user]
    version = _version(platform[user], day, signup[user], np.r_[u.update_lag, np.zeros(n_visitors)][user])
    # mobile clients that were offline deliver up to days later
    delay = rng.exponential(2.0, len(rows)) + np.where((platform[user] > 0) & (rng.random(len(rows)) < 0.01), rng.exponential(43_200, len(rows)), 0)
    partner = rows.partner.fillna(-1).to_numpy(dtype=int)
    known = np.array([None if name == BROKEN_PARTNER else name for name in PARTNERS.partner_id] + [None], dtype=object)
    source = np.array([*PARTNERS.partner_id, None], dtype=object)[partner]
    broken = partner == PARTNERS.index[PARTNERS.partner_id == BROKEN_PARTNER][0]
    source[broken] = rng.choice(np.array(BROKEN_SPELLINGS, dtype=object), broken.sum())
    minutes = np.array([None] + [f'{{"minutes": {m / 10}}}' for m in range(1, 2_001)], dtype=object)
    role = np.where(u.recruiter, '{"role": "recruiter"}', '{"role": "candidate"}').astype(object)
    names, anonymous = _labels("u", np.arange(len(u))), _labels("a", np.arange(len(platform)))
    properties = minutes[rows.minutes]
    properties[entry] = role[user[entry]]
    session, first_of = np.unique(user * 1_000 + day.astype(int), return_inverse=True)
    return pd.DataFrame({
        "user_id": np.where(before, None, np.r_[names, np.full(n_visitors, None)][user]), "event": rows.event.to_numpy(), "timestamp": _at(day),
        "event_id": _labels("e", rows.id), "received_at": _at(np.minimum(day + delay / 86_400, DAYS - 1e-9)),
        "anonymous_id": np.where(before | entry, anonymous[user], None), "session_id": _labels("s", session)[first_of],
        "platform": np.array([*PLATFORMS], dtype=object)[platform[user]], "app_version": VERSIONS.app_version.to_numpy()[version],
        "channel": np.r_[CHANNELS.index.to_numpy(dtype=object)[u.channel], np.full(n_visitors, None)][user],
        "utm_source": source, "utm_medium": np.array([*PARTNERS.channel, None], dtype=object)[partner],
        "utm_campaign": np.where(partner >= 0, "spring", None), "partner_id": known[partner],
        "promo_code": np.array([PROMO_CODES.get(name) for name in PARTNERS.partner_id] + [None], dtype=object)[partner], "properties": properties})


def _tables(world: _World, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    u = world.users
    names = _labels("u", u.index)
    partner = np.array([*PARTNERS.partner_id, None], dtype=object)[u.partner]  # the CRM knows the partner who brought the user in
    activated = u.interview_scheduled.where(~u.recruiter, np.inf)
    people = pd.DataFrame({
        "user_id": names, "signed_up_at": _at(u.signup), "channel": CHANNELS.index.to_numpy(dtype=object)[u.channel], "partner_id": partner,
        "account_id": _labels("acc", u.account), "plan": PLANS.index.to_numpy(dtype=object)[u.plan], "activated_at": _at(activated),
        "renewed_at": _at(u.renewed), "upsold_at": _at(u.upsold), "churned_at": _at(u.deleted),
        "revenue": 29.0 * np.isfinite(u.converted) + 49.0 * (u.renewed < DAYS) + 25.0 * (u.upsold < DAYS), "consent": rng.random(len(u)) < CONSENT_RATE})
    asked = world.surveys
    surveys = pd.DataFrame({
        "user_id": names[asked.user], "submitted_at": _at(asked.day), "micro_conversion": asked.micro_conversion,
        "answer": np.where(asked.answer, "yes", "no").astype(object),
        "reason": np.where(asked.answer, None, rng.choice(np.array(["no time", "could not find it", "not needed yet"], dtype=object), len(asked))),
        "tool": rng.choice(np.array(["zigpoll", "typeform"], dtype=object), len(asked))})
    server = [pd.DataFrame({"user": u.index, "event": name, "day": u[name]}) for name in ONBOARDING]
    server = pd.concat([*server, world.interviews.assign(event="interview_scheduled")]).query("day < @DAYS", engine="python").sort_values("day", kind="stable")
    backend = pd.DataFrame({"user_id": names[server.user], "event": server.event.to_numpy(dtype=object), "timestamp": _at(server.day)})
    days = pd.date_range(START, periods=DAYS).strftime("%Y-%m-%d")
    spend = pd.DataFrame({"partner_id": np.repeat(PARTNERS.partner_id.to_numpy(), DAYS), "day": np.tile(days, len(PARTNERS)),
                          "amount": np.round(np.repeat(PARTNERS.daily_amount.to_numpy(), DAYS) * rng.uniform(0.85, 1.15, DAYS * len(PARTNERS)), 2)})
    return {"people": people, "surveys": surveys, "backend": backend, "spend": spend, "timeline": TIMELINE.copy(), "responses": RESPONSES.copy()}


def truth(users: int = 20_000, seed: int = 1) -> dict[str, Any]:
    """What was planted, by story (see the module's text). Plain numbers are the planted parameters; tables and `n_*` are the realised
    counts of this very world, before tracking loss unless a column says otherwise.

    attribution: `partners` (partner_id, kind, n_touches, n_caused, median_days = planted lag, spend_amount), `windows` (window_days,
    n_attributed = conversions with any touch in the window, n_caused = those caused by a touch in it, dilution_rate), and the counts.
    activation: segment, cohort, n_users, rates of first interview within 30 and 90 days as generated, median_days of those who schedule one.
    funnel: segment, step, event, n_users, conversion_rate (truth), tracked_rate (what the events show), candidates whose 14 days are over.
    """
    world = _world(users, seed)
    u = world.users
    candidates, channel = u[~u.recruiter], CHANNELS.index[u.channel[~u.recruiter]]
    change = _day(PROMPTS["change_at"])
    treated = candidates[PLANS.index[candidates.plan] == PROMPTS["plan"]]
    after, lift = treated.signup >= change, PROMPTS["after_rate"] - PROMPTS["before_rate"]
    prompts = PROMPTS | {"lift_rate": lift, "naive_lift_rate": float(treated.rate[after].mean() - treated.rate[~after].mean()),
                         "n_treated": int(after.sum()), "n_incremental": float(lift * after.sum())}
    prompts["roi"] = prompts["n_incremental"] * PROMPTS["value_amount"] / PROMPTS["cost_amount"] - 1

    partners = PARTNERS[["partner_id", "kind", "median_days"]].assign(
        n_touches=world.touches.partner.value_counts().reindex(PARTNERS.index, fill_value=0),
        n_caused=u.cause[u.cause >= 0].value_counts().reindex(PARTNERS.index, fill_value=0), spend_amount=DAYS * PARTNERS.daily_amount)
    lag = world.touches.assign(lag_days=u.converted.to_numpy()[world.touches.user] - world.touches.day)
    last = lag[np.isfinite(lag.lag_days) & (lag.lag_days >= 0)].groupby("user").lag_days.min()
    windows = pd.DataFrame({"window_days": WINDOWS_DAYS, "n_attributed": [int((last <= w).sum()) for w in WINDOWS_DAYS],
                            "n_caused": [int((u.lag_days <= w).sum()) for w in WINDOWS_DAYS]})
    windows["dilution_rate"] = 1 - windows.n_caused / windows.n_attributed
    n_conversions, n_caused = int(np.isfinite(u.converted).sum()), int((u.cause >= 0).sum())

    activation, funnel = [], []
    for segment in (*CHANNELS.index, "not creator", "all"):
        mine = candidates[{"not creator": channel != "creator", "all": channel != ""}.get(segment, channel == segment)]
        for cohort, part in (("before 2026-04-06", mine[mine.signup < change]), ("all", mine)):
            speed = CHANNELS.median_days.to_numpy()[part.channel]
            within = {f"activated_{d}d_rate": float((part.ever_rate * (1 - 2 ** (-d / speed))).mean()) for d in (30, 90)}
            activation.append({"segment": segment, "cohort": cohort, "n_users": len(part), **within, "median_days": float(np.median(speed))})
        over = mine[mine.signup + 14 <= DAYS]
        reached = tracked = pd.Series(True, index=over.index)
        for step, event in enumerate(("signed_up", *ONBOARDING, "interview_scheduled"), start=1):
            if step > 1:
                reached = reached & (over[event] - over.signup <= 14)
                tracked = tracked & reached & ~over.get(f"{event}_lost", pd.Series(False, index=over.index))
            funnel.append({"segment": segment, "step": step, "event": event, "n_users": len(over),
                           "conversion_rate": float(reached.mean()), "tracked_rate": float(tracked.mean())})
    return {
        "tracking_loss": dict(TRACKING_LOSS), "duplicates": dict(DUPLICATES), "survey": SURVEY | {"misreport_rate": world.misreport_rate},
        "competitor": COMPETITOR | {"n_lost": world.n_lost}, "session_length": dict(SESSION_LENGTH), "prompts": prompts, "renewal": dict(RENEWAL),
        "definitions": dict(DEFINITIONS), "activation": pd.DataFrame(activation), "funnel": pd.DataFrame(funnel),
        "attribution": {"conversion": "subscription_started", "n_conversions": n_conversions, "n_caused": n_caused,
                        "dilution_rate": 1 - n_caused / n_conversions, "late_days_p90": float(u.lag_days.quantile(0.9)),
                        "broken_partner_id": BROKEN_PARTNER, "broken_spellings": BROKEN_SPELLINGS, "partners": partners, "windows": windows}}
