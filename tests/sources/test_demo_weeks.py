"""The demo's weeks, in full: what a weekly rule sees of the planted falls, and what else.

The rule is written out as its definition reads, on plain weekly numbers. It knows nothing of the
generator; when which number falls is read in demo.truth().
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from mctlib.sources import demo

WEEKS = 60
USABLE, LINE, NEW_LEVEL = 12, 26, 12
# stated false alarms of the rule, per metric and week
BUDGET = 0.0065
# everything that users do in most weeks, as the share of the active ones who do it
OTHERS = (
    "interview_reminder_set",
    "email_clicked",
    "job_viewed",
    "job_saved",
    "application_submitted",
    "candidate_shortlisted",
    "feedback_given",
    "signed_up",
    "partner_visit",
)


def week_of(text: str) -> int:
    return (pd.Timestamp(text, tz="UTC") - demo.START).days // 7


@pytest.fixture(scope="module")
def active(demo_log) -> pd.DataFrame:
    """Week, users active in it, their sessions, and the minutes' mean and variance."""
    return demo_log.sql("""
        SELECT date_diff('day', TIMESTAMP '2025-10-06', timestamp) // 7 AS week,
            count(DISTINCT user) AS n, count(minutes) AS sessions,
            avg(minutes) AS mean, var_pop(minutes) AS variance
        FROM (SELECT *, (properties->>'minutes')::DOUBLE AS minutes FROM events)
        WHERE event = 'session_ended' GROUP BY 1 ORDER BY 1
    """)


@pytest.fixture(scope="module")
def rates(demo_log, active) -> pd.DataFrame:
    """Of the users active in a week the share who did each event in it."""
    counts = demo_log.sql("""
        WITH did AS (
            SELECT DISTINCT date_diff('day', TIMESTAMP '2025-10-06', timestamp) // 7 AS week,
                user, event::VARCHAR AS event FROM events
        )
        SELECT week, did.event, count(*) AS n FROM did
        JOIN did AS there USING (week, user) WHERE there.event = 'session_ended' GROUP BY ALL
    """)
    return counts.pivot(index="week", columns="event", values="n").div(active.n.to_numpy(), axis=0)


def passes(value: np.ndarray, n: np.ndarray, variance: np.ndarray | None, usable: list, now: int):
    """Whether this week's number is under its baseline by the rule: p, and by how much."""
    last, line = usable[-USABLE:], usable[-LINE:]
    p0 = np.average(value[last], weights=n[last])

    def through(weeks: list) -> np.ndarray:
        """The n-weighted line through these weeks, at every week."""
        return np.polyval(np.polyfit(weeks, value[weeks], 1, w=np.sqrt(n[weeks])), range(WEEKS))

    fit = through(line)[line]
    # of one user or session: binomial of a rate, as it was of a mean
    of_one = p0 * (1 - p0) if variance is None else np.average(variance[last], weights=n[last])
    around = fit * (1 - fit) if variance is None else of_one
    phi = max(1.0, np.sum(n[line] * (value[line] - fit) ** 2 / around) / (len(line) - 2))
    z = (value[now] - p0) / np.sqrt(phi * of_one * (1 / n[now] + 1 / n[last].sum()))
    p = student.cdf(z, len(line) - 2)
    low = value[now] <= 0.90 * p0 and value[now] <= 0.95 * through(last)[now]
    return p <= 0.005 and low, p0


def alerts(value, n, variance=None) -> list[int]:
    """The weeks in which an alert opens.

    While one is open its weeks are no baseline; two weeks at 95 % of it close it, and after twelve
    the fall is the new level.
    """
    value, n = np.asarray(value, dtype=float), np.asarray(n, dtype=float)
    usable: list[int] = []
    opened: list[int] = []
    baseline = None
    for week in range(WEEKS):
        if baseline is None and len(usable) >= USABLE:
            fell, p0 = passes(value, n, variance, usable, week)
            if fell:
                opened.append(week)
                baseline = p0
                continue
        if baseline is None:
            usable.append(week)
        elif (value[week - 1 : week + 1] >= 0.95 * baseline).all() and week > opened[-1] + 1:
            baseline = None
        elif week - opened[-1] >= NEW_LEVEL:
            usable, baseline = list(range(opened[-1], week + 1)), None
    return opened


def test_the_rule_fires_on_every_planted_fall_and_on_nothing_else(active, rates) -> None:
    truth = demo.truth()
    interviews = alerts(rates["interview_scheduled"], active.n)
    assert interviews == [week_of(truth["competitor"]["change_at"])]
    minutes = alerts(active["mean"], active.sessions, active.variance.to_numpy())
    assert minutes == [week_of(truth["session_length"]["change_at"])]


def test_what_is_not_planted_stays_within_the_budget(active, rates) -> None:
    false = {event: alerts(rates[event], active.n) for event in OTHERS}
    # reminders fall with the interviews they remind of
    rival = week_of(demo.truth()["competitor"]["change_at"])
    false["interview_reminder_set"] = [w for w in false["interview_reminder_set"] if w != rival]
    assert sum(map(len, false.values())) <= BUDGET * len(OTHERS) * (WEEKS - USABLE), false


def test_the_rule_can_see_what_it_should_and_is_quiet_where_nothing_falls() -> None:
    """Planted here: 20 % of 5,000 users, two weeks 15 and 20 % lower, or nothing."""
    rng = np.random.default_rng(1)
    n = np.full(WEEKS, 5_000)
    rate = np.full(WEEKS, 0.2)
    assert alerts(rng.binomial(n, rate) / n, n) == []
    rate[40:42] *= [0.85, 0.8]
    assert alerts(rng.binomial(n, rate) / n, n) in ([40], [41])
    rate[42:] *= 0.8
    found = alerts(rng.binomial(n, rate) / n, n)
    assert len(found) == 1, "a new level is learnt after twelve weeks, not told again"


def test_nothing_else_moves_interviews_for_26_weeks_before_the_rival(rates) -> None:
    rival = week_of(demo.truth()["competitor"]["change_at"])
    weeks = np.arange(rival - 26, rival)
    before = np.log(rates["interview_scheduled"][weeks])
    assert abs(np.polyfit(weeks, before, 1)[0]) <= 0.001
    # half against half: no step either
    assert abs(before[:13].mean() - before[13:].mean()) < 0.03


def test_the_active_users_are_steady(active) -> None:
    assert len(active) == WEEKS
    assert abs(active.n / active.n.mean() - 1).max() < 0.06
    assert abs(active.n[:40] / active.n[:40].mean() - 1).max() < 0.03


@pytest.fixture(scope="module")
def sign_ups(demo_log) -> pd.DataFrame:
    """Of each candidate the moment of sign-up, and until the first of some events, in days."""
    events = {
        "interview": "interview_scheduled",
        "click": "email_clicked",
        "help": "help_desk_contacted",
    }
    first = ", ".join(
        f"min(e.timestamp) FILTER (e.event = '{event}' AND e.timestamp >= began) AS {name}"
        for name, event in events.items()
    )
    table = demo_log.sql(f"""
        WITH s AS (SELECT "user", min(timestamp) AS began FROM events
            WHERE event = 'signed_up' GROUP BY 1)
        SELECT "user", began, {first} FROM s JOIN events e USING ("user") GROUP BY ALL
    """).set_index("user")
    waits = {name: (table[name] - table["began"]) / pd.Timedelta("1d") for name in events}
    return table[["began"]].assign(**waits)


def moment(text: str, like: pd.Series) -> pd.Timestamp:
    return pd.Timestamp(text, tz=like.dt.tz)


def test_the_three_teams_count_as_many_as_planted(sign_ups) -> None:
    """Interviews and help to the last user; clicks, which are expected, to 3.5 standard errors."""
    truth = demo.truth()
    at = sign_ups["began"]
    change, mended = (moment(truth["adoption"][key], at) for key in ("change_at", "until"))
    over = at + pd.Timedelta(truth["renewal"]["horizon"]) <= moment("2026-11-30", at)
    spells = {"met": over, "before": over & (at < change)}
    spells["mailed"] = over & (at >= change) & (at < mended)
    for team, wait in (("product", "interview"), ("marketing", "click"), ("support", "help")):
        planted = truth["definitions"][team]
        assert planted["n_users"] == over.sum()
        met = sign_ups[wait] <= float(planted["within"].removesuffix("d"))
        for name, spell in spells.items():
            rate = planted[f"{name}_rate"]
            error = np.sqrt(rate * (1 - rate) / spell.sum()) if team == "marketing" else 0
            assert abs(met[spell].mean() - rate) <= 3.5 * error + 1e-12, (team, name)


def test_fewer_interviews_while_e_mails_rise(sign_ups) -> None:
    """Of who signed up in the eight weeks against all before: -7 % is nearer than 0 or -14 %."""
    story, at = demo.truth()["adoption"], sign_ups["began"]
    change, mended = (moment(story[key], at) for key in ("change_at", "until"))
    before, misled = at < change, (at >= change) & (at < mended)
    change_of = {}
    for name, days in (("interview", 14), ("click", 7)):
        met = sign_ups[name] <= days
        rates, n = [met[spell].mean() for spell in (misled, before)], [misled.sum(), before.sum()]
        errors = [rate * (1 - rate) / of for rate, of in zip(rates, n)]
        change_of[name] = rates[0] / rates[1] - 1, (rates[0] - rates[1]) / np.sqrt(sum(errors))
    fall, z = change_of["interview"]
    assert abs(fall - story["rel_change"]) < abs(story["rel_change"]) / 2 and z < -1.96
    planted = demo.truth()["definitions"]["marketing"]
    rise, z = change_of["click"]
    assert rise == pytest.approx(planted["mailed_rate"] / planted["before_rate"] - 1, abs=0.08)
    assert z > 5


def test_lost_tracking_is_dated_on_android_and_nowhere_else(demo_log) -> None:
    """Completeness by the server's rows: below the 12 weeks before at p <= .005, by 5 points."""
    story = demo.truth()["tracking_loss"]
    cells = demo_log.sql("""
        WITH platform AS (SELECT user, min(platform::VARCHAR) AS platform FROM events GROUP BY 1),
        tracked AS (SELECT DISTINCT user, event::VARCHAR AS event FROM events)
        SELECT platform, date_diff('day', TIMESTAMP '2025-10-06', timestamp) // 7 AS week,
            count(*) AS n, count(tracked.user) / count(*) AS rate
        FROM backend JOIN platform USING (user)
        LEFT JOIN tracked ON tracked.user = backend.user AND tracked.event = backend.event
        WHERE backend.event IN ('profile_completed', 'resume_uploaded')
        GROUP BY ALL ORDER BY 1, 2
    """)
    fell = {}
    for platform, rows in cells.groupby("platform"):
        rate, n = rows.rate.to_numpy(), rows.n.to_numpy()
        fell[platform] = []
        for week in range(USABLE, WEEKS - 1):  # of the last week some rows are still to come
            before = slice(week - USABLE, week)
            p0 = np.average(rate[before], weights=n[before])
            noise = max(p0 * (1 - p0), 1e-4) * (1 / n[week] + 1 / n[before].sum())
            p = student.cdf((rate[week] - p0) / np.sqrt(noise), USABLE - 1)
            if n[week] >= 50 and p <= 0.005 and rate[week] <= p0 - 0.05:
                fell[platform].append(week)
    released = week_of(story["released"])
    assert fell["web"] == fell["ios"] == []
    assert released <= fell["android"][0] <= released + 1
    assert all(later - earlier == 1 for earlier, later in pairwise(fell["android"][:3]))
    settled = cells[(cells.platform == "android") & cells.week.between(released + 6, WEEKS - 2)]
    level = np.average(settled.rate, weights=settled.n)
    assert story["completeness_rate"] - 0.02 < level < story["completeness_rate"] + 0.08
