"""Every number that is planted in the demo product."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

Story: TypeAlias = dict[str, Any]


def _table(text: str) -> pd.DataFrame:
    """A table as it stands; - is nothing, and a column of numbers is one of nothing else."""
    header, *rows = (line.split("|") for line in text.strip().splitlines())
    columns: dict[str, list[str | float | None]] = {}
    for name, cells in zip(header, zip(*rows)):
        words = [None if cell.strip() == "-" else cell.strip() for cell in cells]
        try:
            columns[name.strip()] = [_number(word) if word else None for word in words]
        except ValueError:
            columns[name.strip()] = list(words)
    return pd.DataFrame(columns)


def _number(word: str) -> float:
    return int(word) if word.isdigit() else float(word)


START = pd.Timestamp("2025-10-06", tz="UTC")
DAYS = 420
# The days on which something changes, all Mondays; what moves interviews lies apart.
DOUBLED, COMPETED, SLOTS = "2026-03-16", "2026-04-13", "2026-04-27"
MAILED, MAILS_MENDED, TREND_ENDS = "2026-05-04", "2026-06-29", "2026-08-24"
PROMPTED, BAD_RELEASE = "2026-08-10", "2026-08-31"
CHATBOT, REPLY, RECOVERED = "2026-09-21", "2026-10-05", "2026-10-26"

# Before the log begins people signed up at the same rate. Nobody who came earlier is active still,
# so those of them who are make the number of active users steady.
STOCK_DAYS = 245
USERS = 37_500
RECRUITER_RATE = 0.15
CONSENT_RATE = 0.99
# anonymous ids that never sign up, as a share of users
VISITOR_RATE = 0.05
PLATFORMS = {"web": 0.40, "ios": 0.30, "android": 0.30}
ONBOARDING = ("profile_completed", "resume_uploaded")
INTERVIEW, SESSION = "interview_scheduled", "session_ended"
# those of one who schedules one at all: how many follow the first, and within which time
MORE_INTERVIEWS: Story = {"mean": 14.0, "median_days": 30.0}

# factor: on the 14-day interview rate (they average to 1); median_days: to the first interview of
# those who schedule one
CHANNELS = _table("""
    channel     | share | factor | median_days
    organic     |  0.30 |   1.15 |  4.0
    paid_search |  0.20 |   0.95 |  4.0
    job_board   |  0.20 |   1.10 |  4.0
    referral    |  0.10 |   1.45 |  4.0
    creator     |  0.20 |   0.50 | 20.0
""").set_index("channel")
# share: of the users, in accounts of uneven size; base_rate: 14-day interview rate before anything
# moves it; renewal_rate: of who neither gave early feedback, nor had an interview, nor needed help
PLANS = _table("""
    plan       | n_accounts | share | base_rate | renewal_rate | activity
    starter    | 168        | 0.35  | 0.18      | 0.05         | 0.6
    growth     | 120        | 0.25  | 0.18      | 0.09         | 1.0
    scale      |  84        | 0.175 | 0.20      | 0.12         | 1.3
    enterprise |  60        | 0.125 | 0.21      | 0.20         | 2.4
    campus     |  48        | 0.10  | 0.17      | 0.08         | 0.8
""").set_index("plan")
# an account's own shift of the 14-day rate is uniform on +-0.10: intra-account correlation 2 to 3 %
ACCOUNT_HALF_RANGE = 0.10
# of who schedule no interview; last_rate: from the end of the trend on
DELETION: Story = {
    "rate": 0.25,
    "last_rate": 0.219,
    "median_days": 12.0,
    "rate_after_interview": 0.08,
    "median_days_after_interview": 40.0,
}

# share: within the channel; cause_rate: chance that a touch causes a conversion; median_days: from
# touch to that conversion; reach: share of users whom later touches can meet; per_day: such
# touches; amount: of money a day
PARTNERS = _table("""
    partner_id   |kind       |channel    |share|cause_rate|median_days|reach|per_day|amount
    creator_ana  |creator    |creator    |0.45 |0.10      |20.0       |1.0  |0.0006 | 60.0
    creator_ben  |creator    |creator    |0.30 |0.09      |20.0       |1.0  |0.0005 | 45.0
    creator_chloe|creator    |creator    |0.25 |0.09      |20.0       |1.0  |0.0005 | 35.0
    jobboard_one |traditional|job_board  |0.65 |0.05      | 3.0       |1.0  |0.0010 | 90.0
    jobboard_two |traditional|job_board  |0.35 |0.04      | 3.0       |1.0  |0.0008 | 60.0
    search_ads   |traditional|paid_search|1.00 |0.05      | 3.0       |1.0  |0.0012 |140.0
    coupon_corner|retargeting|retargeting|1.00 |0.00      | -         |0.4  |0.0250 | 80.0
""")
# lags of caused conversions are log-normal around their median
LAG_SIGMA = 0.5
# conversions nobody causes, per user and day: flat, so tenure cannot pass for an effect
BACKGROUND_PER_DAY = 0.0005
PROMO_CODES = {"coupon_corner": "SAVE10", "creator_ana": "ANA10"}
BROKEN_UTM: Story = {
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
PROMO_CONFLICT: Story = {"partner_id": "coupon_corner", "promo_code": "ANA10", "rate": 0.05}
WINDOWS_DAYS = (1, 7, 14, 30, 60, 90)

# each platform by release, Android last: the tracking loss is then "row >= the first bad row"
VERSIONS = _table(f"""
    platform | app_version | released
    web      | 2025.4      | 2025-09-01
    web      | 2026.1      | 2026-01-19
    web      | 2026.2      | 2026-05-11
    web      | 2026.3      | 2026-09-07
    ios      | 4.0.1       | 2025-08-11
    ios      | 4.1.0       | 2025-12-08
    ios      | 4.2.0       | {DOUBLED}
    ios      | 4.3.0       | 2026-07-13
    android  | 4.0.0       | 2025-08-18
    android  | 4.1.0       | 2025-12-08
    android  | 4.1.2       | 2026-05-18
    android  | 4.2.0       | {BAD_RELEASE}
    android  | 4.2.1       | 2026-10-19
""")
UPDATE_MEDIAN_DAYS = {"web": 0.0, "ios": 4.0, "android": 6.0}

TRACKING_LOSS: Story = {
    "platform": "android",
    "app_version": "4.2.0",
    "released": BAD_RELEASE,
    "events": ONBOARDING,
    "completeness_rate": 0.68,
}
DUPLICATES: Story = {
    "logical_platform": "ios",
    "logical_version": "4.2.0",
    "released": DOUBLED,
    "logical_rate": 0.03,
    "logical_within": "2s",
    "technical_rate": 0.005,
    "rule": "copies / original rows; logical copies have a new event_id, from that version on,"
    " technical copies the same one, on every platform",
}
# Mobile rows wait on the phone: so many of them, an exponential time of this mean, cut at `most`.
# What has not arrived when the data end is not in them. What servers send is never late.
LATE: Story = {
    "late_rate": {"web": 0.0, "ios": 0.02, "android": 0.30},
    "mean_days": 1.5,
    "most_days": 7.0,
    "never": (
        *("signed_up", "recruiter_signed_up", "account_deleted"),
        *("subscription_started", "partner_visit"),
    ),
}
SURVEY: Story = {
    "disagreement_rate": 0.22,
    "response_rate": 0.30,
    "rule": "answers unlike 'the user has that event in `events` by submitted_at' / all answers",
}
COMPETITOR: Story = {
    "change_at": COMPETED,
    "event": INTERVIEW,
    "rel_change": -0.15,
    "rel_change_next_week": -0.08,
    "answered_at": SLOTS,
    "rule": "users with an interview in the week, of every plan; none is lost once it is answered",
}
SESSION_LENGTH: Story = {
    "event": SESSION,
    "property": "minutes",
    "mean_minutes": 9.0,
    "change_at": CHATBOT,
    "rel_change": -0.25,
    "reply_at": REPLY,
    "recovered_at": RECOVERED,
    "rel_recovery": 0.15,
}
PROMPTS: Story = {
    "change_at": PROMPTED,
    "plan": "growth",
    "before_rate": float(PLANS.base_rate["growth"]),
    "after_rate": 0.35,
    "trend_rate": 0.0475,
    "trend_from": MAILS_MENDED,
    "trend_until": TREND_ENDS,
    "window": "14d",
    "value_amount": 45.0,
    "cost_amount": 12_000.0,
    "rule": "candidates with interview_scheduled within 14 days / candidates signed up, by day of"
    " sign-up; every plan rises by trend_rate, in a line between the two days, whatever the prompts"
    " do; before_rate and after_rate are without it",
}
# Marketing wrote to more people, and its mails led past the first interview until they were mended.
ADOPTION: Story = {
    "change_at": MAILED,
    "until": MAILS_MENDED,
    "event": INTERVIEW,
    "rel_change": -0.07,
    "raised": "email_clicked",
    "per_day": 0.05,
    "raised_rel_change": 0.40,
    "rule": "rel_change: of the 14-day interview rate of who signs up before `until`;"
    " raised_rel_change: of the e-mails clicked a day from change_at on, and it stays",
}
YEAR: Story = {
    "first": ("2025-10-06", "2025-11-02"),
    "last": ("2026-10-05", "2026-11-01"),
    "activation_change_rate": 0.09,
    "churn_change_rate": -0.035,
    "rule": "candidates by day of sign-up: interview_scheduled within 14 days, account_deleted"
    " within 28 days",
}
RENEWAL: Story = {
    "signal": "feedback_given",
    "within": "7d",
    "risk_ratio": 3.0,
    "exposed_rate": 0.20,
    "vanity": ("email_clicked",),
    "confounded": ("job_saved",),
    "confounder": "plan",
    "by_time": ("job_viewed",),
    "also": {"interview_scheduled": 1.5, "help_desk_contacted": 0.6},
    "also_within": "30d",
    "help_rate": 0.15,
    "horizon": "60d",
    "upsell_rate": 0.06,
    "upsell_risk_ratio": 1.0,
    "rule": "renewed_at within 60 days of sign-up, among users not deleted by day 7, with / without"
    " the signal by day 7; also: further causes, by the risk ratio of who did it within 30 days",
}
DEFINITIONS: Story = {
    "product": {"event": INTERVIEW, "within": "30d"},
    "marketing": {"event": "email_clicked", "within": "7d"},
    "support": {"event": "help_desk_contacted", "within": "30d"},
}
# The staff's test accounts: one account of a plan of its own, from before the log begins.
STAFF: Story = {"plan": "internal", "share": 0.00064, "interviews_per_week": 5.0, "activity": 3.0}
# Who should be told, a role of the tracking plan.
TOLD = {
    "tracking_loss": "data_collector",
    "duplicates": "data_collector",
    "late": "data_collector",
    "survey": "data_collector",
    "staff": "data_collector",
    "competitor": "response_coordinator",
    "session_length": "response_coordinator",
    "prompts": "response_coordinator",
    "adoption": "analyst",
    "year": "analyst",
    "renewal": "analyst",
    "definitions": "analyst",
    "accounts": "analyst",
    "attribution": "analyst",
}
TIMELINE = _table(f"""
    day | kind | label | micro_conversions | note
    2025-12-08 | release | ios and android 4.1.0 | - | -
    {DOUBLED} | release | ios 4.2.0 | - | -
    {COMPETED} | competitor | instant interview scheduling elsewhere | {INTERVIEW} | -
    {SLOTS} | intervention | same-day interview slots | {INTERVIEW} | answer to the competitor
    {MAILED} | campaign | more e-mails to new users | email_clicked | -
    {MAILS_MENDED} | intervention | e-mails lead to the first interview again | - | -
    {PROMPTED} | intervention | prompts to schedule an interview | {INTERVIEW} | plan growth only
    2026-08-17 | campaign | late-summer job fair | - | no effect planted
    {BAD_RELEASE} | release | android 4.2.0 | {",".join(ONBOARDING)} | -
    {CHATBOT} | competitor | chatbot elsewhere answers candidates at once | {SESSION} | -
    {REPLY} | intervention | reply to the chatbot: guided search | {SESSION} | may take three weeks
""")
RESPONSES = _table(f"""
    alert_id | detected_on | decided_on | shipped_on | action | owner | outcome
    {INTERVIEW}-{COMPETED} | 2026-04-20 | 2026-04-22 | {SLOTS} | offer same-day slots | \
response coordinator | recovered
    profile_completed-{BAD_RELEASE} | 2026-09-09 | 2026-09-16 | - | check the android release | \
data collector | open
    {SESSION}-{CHATBOT} | 2026-09-23 | 2026-09-29 | {REPLY} | ship guided search | \
response coordinator | recovered in part
""")

# everyday events: who (recruiters or not, None: everyone) and how many per active day
USE = (
    (SESSION, None, 0.42),
    ("job_viewed", False, 0.42),
    ("job_saved", False, 0.10),
    ("application_submitted", False, 0.07),
    ("candidate_shortlisted", True, 0.40),
    ("team_invited", True, 0.02),
)
# chance that an event planned for that weekday happens
WEEKDAY = np.array([1.1, 1.1, 1.05, 1.0, 0.95, 0.6, 0.6]) / 1.1


def day_of(date: str) -> int:
    """Days since START."""
    return int((pd.Timestamp(date, tz="UTC") - START).days)


def ramp(day: Any) -> Any:
    """How much of the year's trend is there: 0 before it begins, 1 when it is over."""
    begins, ends = day_of(PROMPTS["trend_from"]), day_of(PROMPTS["trend_until"])
    return np.clip((day - begins) / (ends - begins), 0, 1)
