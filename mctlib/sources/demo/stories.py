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


START = pd.Timestamp("2026-01-05", tz="UTC")
DAYS = 182
# The days on which something changes.
CHATBOT, REPLY, RECOVERED = "2026-02-16", "2026-03-02", "2026-03-23"
PROMPTED, BAD_RELEASE, COMPETED = "2026-04-06", "2026-04-27", "2026-06-08"

RECRUITER_RATE = 0.15
CONSENT_RATE = 0.99
# anonymous ids that never sign up, as a share of users
VISITOR_RATE = 0.05
PLATFORMS = {"web": 0.40, "ios": 0.30, "android": 0.30}
ONBOARDING = ("profile_completed", "resume_uploaded")
INTERVIEW, SESSION = "interview_scheduled", "session_ended"

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
# base_rate: 14-day interview rate at the change without prompts; renewal_rate: without early
# feedback
PLANS = _table("""
    plan       | n_accounts | base_rate | renewal_rate | activity
    starter    | 78         | 0.18      | 0.06         | 0.6
    growth     | 72         | 0.18      | 0.10         | 1.0
    scale      | 36         | 0.20      | 0.13         | 1.3
    enterprise | 30         | 0.21      | 0.24         | 2.4
    campus     | 24         | 0.17      | 0.09         | 0.8
""").set_index("plan")
# an account's own shift of the 14-day rate is uniform on +-0.10: intra-account correlation 2 to 3 %
ACCOUNT_HALF_RANGE = 0.10
DELETION: Story = {
    "rate": 0.25,
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
VERSIONS = _table("""
    platform | app_version | released
    web      | 2026.1      | 2025-12-01
    web      | 2026.2      | 2026-03-02
    web      | 2026.3      | 2026-05-18
    ios      | 4.0.1       | 2025-11-10
    ios      | 4.1.0       | 2026-02-23
    ios      | 4.2.0       | 2026-05-04
    android  | 4.0.0       | 2025-11-17
    android  | 4.1.0       | 2026-02-23
    android  | 4.2.0       | 2026-04-27
    android  | 4.2.1       | 2026-06-01
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
    "logical_rate": 0.03,
    "logical_within": "2s",
    "technical_rate": 0.005,
    "rule": "copies / original rows; logical copies have a new event_id, technical copies the same"
    " one",
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
    "rel_change_next_week": -0.05,
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
    "trend_rate": 0.10,
    "window": "14d",
    "value_amount": 45.0,
    "cost_amount": 12_000.0,
    "rule": "candidates with interview_scheduled within 14 days / candidates signed up, by day of"
    " sign-up; trend_rate is the drift of every plan over the 26 weeks; the competitor's two weeks"
    " take up to half a point off the lift",
}
RENEWAL: Story = {
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
    "rule": "renewed_at within 60 days of sign-up, among users not deleted by day 7, with / without"
    " the signal by day 7",
}
DEFINITIONS: Story = {
    "product": {"event": INTERVIEW, "within": "30d"},
    "marketing": {"event": "profile_completed", "within": "7d"},
    "support": {"event": "feedback_given", "within": "7d"},
}
TIMELINE = _table(f"""
    day | kind | label | micro_conversions | note
    {CHATBOT} | competitor | chatbot elsewhere answers candidates at once | {SESSION} | -
    2026-02-23 | release | ios and android 4.1.0 | - | -
    {REPLY} | intervention | reply to the chatbot: guided search | {SESSION} | may take three weeks
    {PROMPTED} | intervention | prompts to schedule an interview | {INTERVIEW} | plan growth only
    {BAD_RELEASE} | release | android 4.2.0 | {",".join(ONBOARDING)} | -
    2026-05-11 | campaign | spring job fair | - | no effect planted
    {COMPETED} | competitor | instant interview scheduling elsewhere | {INTERVIEW} | -
""")
RESPONSES = pd.DataFrame(
    {
        "alert_id": [
            f"{SESSION}-{CHATBOT}",
            f"profile_completed-{BAD_RELEASE}",
            f"{INTERVIEW}-{COMPETED}",
        ],
        "detected_on": ["2026-02-18", "2026-05-06", "2026-06-15"],
        "decided_on": ["2026-02-24", "2026-05-13", "2026-06-17"],
        "shipped_on": [REPLY, None, None],
        "action": ["ship guided search", "check the android release", "offer same-day slots"],
        "owner": ["response coordinator", "data collector", "response coordinator"],
        "outcome": ["recovered in part", "open", "open"],
    }
)

# everyday events: who (recruiters or not, None: everyone) and how many per active day
USE = (
    (SESSION, None, 0.38),
    ("job_viewed", False, 0.44),
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
