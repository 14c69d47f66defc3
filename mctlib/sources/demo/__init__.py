"""A seeded HR-tech product with planted truth.

`generate()` returns the canonical tables of an invented recruiting app: candidates and recruiters
on web, iOS and Android, nested in 240 employer accounts, over 26 weeks from Monday 2026-01-05 to
Sunday 2026-07-05 (UTC). `truth()` states what was planted, in the words of the results' columns.
Both read the tables of `stories`: change a number there and both move.

The stories, by key of `truth()`:

tracking_loss   From Android 4.2.0 on, only 68 % of the onboarding events fire. `backend` has all.
duplicates      A double SDK on iOS sends 3 % of events twice (new event_id, within 2 s); 0.5 % of
                all rows repeat an event_id.
survey          Survey and tracked events disagree on 22 % of answers: lost events are one part,
                misreporting the other.
competitor      A competitor's instant scheduling costs 15 % of interview_scheduled in one week, 5 %
                in the next, in every plan.
session_length  A chatbot elsewhere costs 25 % of session minutes; three weeks after our reply they
                rise again by 15 %.
prompts         Prompts for accounts of plan growth lift interviews within 14 days from 18 % to
                35 %, while all plans drift up.
renewal         Feedback within seven days triples renewal. email_clicked is worthless, but who
                renews stays and clicks more.
definitions     Product, marketing and support mean different things by "activated".
attribution     Creators cause conversions late, one spells its UTM five ways, and one partner
                touches many and causes nothing.
activation      Creator users are slower to their first interview; account deletion competes; recent
                cohorts are immature.
funnel          The share of candidates at each step within 14 days of sign-up, before and after
                tracking loss.
"""

from mctlib.sources.demo.planted import truth
from mctlib.sources.demo.stories import (
    BACKGROUND_PER_DAY,
    DAYS,
    LAG_SIGMA,
    PLANS,
    START,
    TRACKING_LOSS,
    VISITOR_RATE,
)
from mctlib.sources.demo.tracked import generate, write
from mctlib.sources.demo.world import World, happened

__all__ = [
    "BACKGROUND_PER_DAY",
    "DAYS",
    "LAG_SIGMA",
    "PLANS",
    "START",
    "TRACKING_LOSS",
    "VISITOR_RATE",
    "World",
    "generate",
    "happened",
    "truth",
    "write",
]
