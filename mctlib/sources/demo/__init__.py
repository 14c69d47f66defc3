"""A seeded HR-tech product with planted truth.

`generate()` returns the canonical tables of an invented recruiting app: candidates and recruiters
on web, iOS and Android, nested in 480 employer accounts, over 60 weeks from Monday 2025-10-06 to
Sunday 2026-11-29 (UTC). `write()` makes Parquet files of them, piece by piece. `truth()` states
what was planted, in the words of the results' columns. All read the tables of `stories`: change a
number there and all move.

The stories, by key of `truth()`:

tracking_loss   From Android 4.2.0 (2026-08-31) on, only 68 % of the onboarding events fire.
                `backend` has all.
duplicates      From iOS 4.2.0 (2026-03-16) on a double SDK sends 3 % of events twice (new event_id,
                within 2 s); everywhere 0.5 % of all rows repeat an event_id.
late            30 % of Android's rows arrive up to a week late, a day and a half in the mean: at
                the end of the data the newest days are not whole.
survey          Survey and tracked events disagree on 22 % of answers: lost events are one part,
                misreporting the other.
competitor      A competitor's instant scheduling (2026-04-13) costs 15 % of the users with an
                interview in the week, 8 % in the next, in every plan; our answer ends it. For 26
                weeks before, nothing else moves interviews.
session_length  A chatbot elsewhere (2026-09-21) costs 25 % of session minutes; three weeks after
                our reply they rise again by 15 %.
adoption        More e-mails (2026-05-04): clicks rise by 40 % and stay, but for eight weeks they
                lead past the first interview, which 7 % fewer of the new users reach.
prompts         Prompts for accounts of plan growth (2026-08-10) lift interviews within 14 days from
                18 % to 35 %, while all plans rise.
year            From October to October activation gains 9 points and churn loses 3.5.
renewal         Feedback within seven days triples renewal. email_clicked is worthless, but who
                renews stays and clicks more. Who had to contact the help desk renews less.
definitions     Product, marketing and support mean different things by "activated": an interview, a
                clicked e-mail, a contact to the help desk.
attribution     Creators cause conversions late, one spells its UTM five ways, and one partner
                touches many and causes nothing.
accounts        Users of one employer act alike: an account's rate of interviews within 14 days lies
                up to 10 points above or below its plan's.
staff           Test accounts of the staff: one account of plan internal, never idle.
stock           Users who signed up before the log begins, so that the active ones are steady.
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
