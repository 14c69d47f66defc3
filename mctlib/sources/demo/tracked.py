"""The demo product's canonical tables: what tracking makes of the world."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mctlib.sources.demo import stories
from mctlib.sources.demo.stories import DAYS, INTERVIEW, ONBOARDING, PARTNERS, START, day_of
from mctlib.sources.demo.world import Array, World, happened, picked, version_of

# the last moment of the data
LATEST = DAYS - 1e-9
SECONDS = 86_400


def generate(users: int = 20_000, seed: int = 1) -> dict[str, pd.DataFrame]:
    """Make the canonical tables of the demo product.

    Parameters
    ----------
    users : int
        How many sign up; each has about 58 events.
    seed : int
        The same seed gives the same tables, bit for bit.

    Returns
    -------
    dict
        events, people, surveys, backend, spend, timeline and responses with the columns of the data
        contract. Timestamps are UTC (timezone-aware, microseconds); `day` and `*_on` are ISO days.

    Notes
    -----
    Rows before sign-up carry only `anonymous_id` and the sign-up row carries both ids, so they can
    be stitched. Recruiters start with recruiter_signed_up.

    Examples
    --------
    >>> from mctlib.sources import demo
    >>> demo.generate(users=30, seed=5)["people"].shape
    (30, 12)
    """
    world = happened(users, seed)
    rng = np.random.default_rng([seed, 1])
    n_visitors = int(stories.VISITOR_RATE * users)
    rows = pd.concat(_what_people_do(world, n_visitors, rng), ignore_index=True)
    rows["tenths"] = _tenths_of_minutes(rows, rng)
    visitors = rng.choice(len(stories.PLATFORMS), n_visitors, p=list(stories.PLATFORMS.values()))
    platform = np.r_[world.users.platform, visitors]
    rows = _repeated(rows, platform, rng)
    events = _events(rows, world.users, platform, rng)
    return {"events": events, **_other_tables(world, rng)}


def _at(day: Any) -> pd.DatetimeIndex:
    """Days since START -> UTC; what lies after the end of the data (inf: never) -> NaT."""
    day = np.asarray(day, dtype=float)
    return (START + pd.to_timedelta(np.where(day < DAYS, day, np.nan), unit="D")).as_unit("us")


def _only(where: Array, values: Any) -> Array:
    """`values` where they hold, else None."""
    nothing: Any = None
    kept: Array = np.where(where, values, nothing)
    return kept


def _ids(prefix: str, codes: Any) -> Array:
    numbers = pa.array(np.asarray(codes)).cast(pa.string())
    text = pc.binary_join_element_wise(prefix, numbers, "")
    return np.asarray(text.to_pandas(deduplicate_objects=False), dtype=object)


def _rhythm(day: Array) -> Array:
    """Chance that an event planned for then happens: fewer at weekends and at night."""
    by_hour = 0.1 + 0.9 * np.sin(np.pi * (day % 1 - 0.1)) ** 2
    by_day: Array = stories.WEEKDAY[day.astype(np.int64) % 7]
    return by_day * by_hour


def _rows(event: str, user: Any, day: Any, **more: Any) -> pd.DataFrame:
    """Events within the weeks of the data."""
    user, day = np.asarray(user), np.asarray(day)
    rows = pd.DataFrame({"user": user, "day": day, "event": event, **more})
    return rows[(rows.day >= 0) & (rows.day < DAYS)]


def _what_people_do(world: World, n_visitors: int, rng: np.random.Generator) -> list[pd.DataFrame]:
    u, meet, touch = world.users, world.interviews, world.touches
    users, signup = len(u), u.signup.to_numpy()
    recruiter, activity = u.recruiter.to_numpy(), u.activity.to_numpy()
    stay = (u.until - u.signup).to_numpy()
    every_hour = _rhythm(np.arange(0, 7, 1 / 24)).mean()

    def often(event: str, per_day: float | Array) -> pd.DataFrame:
        user = np.repeat(np.arange(users), rng.poisson(per_day * stay / every_hour))
        day = signup[user] + stay[user] * rng.random(len(user))
        kept = rng.random(len(user)) < _rhythm(day)
        return _rows(event, user[kept], day[kept])

    parts = [
        _rows("signed_up", np.flatnonzero(~recruiter), signup[~recruiter]),
        _rows("recruiter_signed_up", np.flatnonzero(recruiter), signup[recruiter]),
    ]
    for name in ONBOARDING:
        tracked = u[name].where(~u[f"{name}_lost"], np.inf)
        parts.append(_rows(name, u.index, tracked))
    parts.append(_rows(INTERVIEW, meet.user, meet.day))
    reminded = meet[rng.random(len(meet)) < 0.6]
    parts.append(_rows("interview_reminder_set", reminded.user, reminded.day + 1 / 24))
    post = signup + rng.exponential(4, users)
    posts = recruiter & (rng.random(users) < 0.7) & (post < u.until)
    parts.append(_rows("first_job_posted", u.index, np.where(posts, post, np.inf)))
    # larger plans use more and renew more: job_saved goes with renewal without causing it
    for event, by_recruiters, per_day in stories.USE:
        does = 1 if by_recruiters is None else recruiter == by_recruiters
        parts.append(often(event, per_day * activity * does))
    parts.append(often("email_clicked", 0.05))
    # late feedback changes nothing
    late = signup + 7 + rng.exponential(60, users)
    late = np.where(late < u.until, late, np.inf)
    parts += [
        _rows("feedback_given", u.index, u.feedback_given),
        _rows("feedback_given", u.index, late),
        _rows("account_deleted", u.index, u.deleted),
        _rows("subscription_started", u.index, u.converted),
        _rows("partner_visit", touch.user, touch.day, partner=touch.partner.to_numpy()),
    ]
    views = np.r_[1.5 * ~recruiter, np.full(n_visitors, 2.0)]
    looked = np.repeat(np.arange(users + n_visitors), rng.poisson(views))
    until = np.r_[signup, rng.uniform(2, DAYS, n_visitors)]
    before = rng.uniform(0, 2, len(looked))
    parts.append(_rows("job_viewed", looked, until[looked] - before))
    return parts


def _tenths_of_minutes(rows: pd.DataFrame, rng: np.random.Generator) -> pd.Series:
    """How long each session lasted; 0 of other events."""
    story = stories.SESSION_LENGTH
    change = rows.day >= day_of(story["change_at"])
    recovered = rows.day >= day_of(story["recovered_at"])
    factor = (1 + story["rel_change"] * change) * (1 + story["rel_recovery"] * recovered)
    spread = rng.lognormal(-(0.6**2) / 2, 0.6, len(rows))
    tenths = np.rint(10 * (story["mean_minutes"] * factor * spread)).clip(1, 2_000)
    return tenths.astype(int).where(rows.event == stories.SESSION, 0)


def _repeated(rows: pd.DataFrame, platform: Array, rng: np.random.Generator) -> pd.DataFrame:
    """Rows in order of time with their ids, the double SDK's twins and the rows sent again."""
    story = stories.DUPLICATES
    doubling = platform[rows.user] == list(stories.PLATFORMS).index(story["logical_platform"])
    twin = rows[doubling & (rng.random(len(rows)) < story["logical_rate"])]
    seconds = rng.uniform(0.05, 1.95, len(twin))
    twin = twin.assign(day=np.minimum(twin.day + seconds / SECONDS, LATEST))
    rows = pd.concat([rows, twin]).sort_values("day", kind="stable", ignore_index=True)
    rows["id"] = np.arange(len(rows))
    again = rows[rng.random(len(rows)) < story["technical_rate"]]
    return pd.concat([rows, again]).sort_values("day", kind="stable", ignore_index=True)


def _events(
    rows: pd.DataFrame, u: pd.DataFrame, platform: Array, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows of (user, day, event, partner, tenths, id) -> canonical events.

    Users beyond `u` are visitors who never sign up.
    """
    user, day = rows.user.to_numpy(), rows.day.to_numpy()
    n_visitors = len(platform) - len(u)
    nobody = np.full(n_visitors, -1)
    signup = np.r_[u.signup, np.full(n_visitors, np.inf)][user]
    update_lag = np.r_[u.update_lag, np.zeros(n_visitors)][user]
    version = version_of(platform[user], day, signup, update_lag)
    before = day < signup
    entry = rows.event.isin(["signed_up", "recruiter_signed_up"]).to_numpy()
    # some mobile rows arrive up to days late
    offline = (platform[user] > 0) & (rng.random(len(rows)) < 0.01)
    delay = rng.exponential(np.where(offline, 43_200, 2.0)) / SECONDS
    name = picked(_ids("u", u.index), np.r_[u.index, nobody][user])
    anonymous = _ids("a", np.arange(len(platform)))[user]
    # one session per user and UTC day
    session, session_of = np.unique(user * 1_000 + day.astype(int), return_inverse=True)
    columns = {
        "user_id": _only(~before, name),
        "event": rows.event.to_numpy(),
        "timestamp": _at(day),
        "event_id": _ids("e", rows.id),
        "received_at": _at(np.minimum(day + delay, LATEST)),
        "anonymous_id": _only(before | entry, anonymous),
        "session_id": _ids("s", session)[session_of],
        "platform": picked(stories.PLATFORMS, platform[user]),
        "app_version": picked(stories.VERSIONS.app_version, version),
        "channel": picked(stories.CHANNELS.index, np.r_[u.channel, nobody][user]),
        **_campaign(rows.partner.fillna(-1).to_numpy(dtype=int), rng),
        "properties": _properties(rows, user, entry, u),
    }
    return pd.DataFrame(columns)


def _campaign(partner: Array, rng: np.random.Generator) -> dict[str, Array]:
    """What the links of touches say, with one partner's UTM in many spellings.

    Another partner's carry a creator's code at times.
    """
    names, misspelt, conflict = PARTNERS.partner_id, stories.BROKEN_UTM, stories.PROMO_CONFLICT
    source = picked(names, partner)
    broken = source == misspelt["partner_id"]
    source[broken] = rng.choice(np.array(misspelt["spellings"], dtype=object), broken.sum())
    others_code = (source == conflict["partner_id"]) & (rng.random(len(partner)) < conflict["rate"])
    code = picked([stories.PROMO_CODES.get(name) for name in names], partner)
    return {
        "utm_source": source,
        "utm_medium": picked(PARTNERS.channel, partner),
        "utm_campaign": _only(partner >= 0, "spring"),
        "partner_id": picked(names.mask(names == misspelt["partner_id"], None), partner),
        "promo_code": np.where(others_code, conflict["promo_code"], code),
    }


def _properties(rows: pd.DataFrame, user: Array, entry: Array, u: pd.DataFrame) -> Array:
    minutes = [f'{{"minutes": {tenths / 10}}}' for tenths in range(1, 2_001)]
    properties: Array = np.array([None, *minutes], dtype=object)[rows.tenths]
    roles = np.where(u.recruiter, '{"role": "recruiter"}', '{"role": "candidate"}')
    properties[entry] = roles.astype(object)[user[entry]]
    return properties


def _other_tables(world: World, rng: np.random.Generator) -> dict[str, pd.DataFrame]:
    names = _ids("u", world.users.index)
    return {
        "people": _people(world.users, names),
        "surveys": _surveys(world.surveys, names, rng),
        "backend": _backend(world, names),
        "spend": _spend(rng),
        "timeline": stories.TIMELINE.copy(),
        "responses": stories.RESPONSES.copy(),
    }


def _people(u: pd.DataFrame, names: Array) -> pd.DataFrame:
    subscribed = 29.0 * (u.converted < DAYS)
    renewed = 49.0 * (u.renewed < DAYS)
    upsold = 25.0 * (u.upsold < DAYS)
    columns = {
        "user_id": names,
        "signed_up_at": _at(u.signup),
        "channel": picked(stories.CHANNELS.index, u.channel),
        # the CRM's: who really brought the user in
        "partner_id": picked(PARTNERS.partner_id, u.partner),
        "account_id": _ids("acc", u.account),
        "plan": picked(stories.PLANS.index, u.plan),
        "activated_at": _at(u[INTERVIEW]),
        "renewed_at": _at(u.renewed),
        "upsold_at": _at(u.upsold),
        "churned_at": _at(u.deleted),
        "revenue": subscribed + renewed + upsold,
        "consent": u.consent,
    }
    return pd.DataFrame(columns)


def _surveys(asked: pd.DataFrame, names: Array, rng: np.random.Generator) -> pd.DataFrame:
    reasons = ["no time", "could not find it", "not needed yet"]
    reason = picked(reasons, rng.integers(3, size=len(asked)))
    columns = {
        "user_id": names[asked.user],
        "submitted_at": _at(asked.day),
        "micro_conversion": asked.micro_conversion,
        "answer": picked(["no", "yes"], asked.answer.astype(int)),
        "reason": _only(~asked.answer, reason),
        "tool": picked(["zigpoll", "typeform"], rng.integers(2, size=len(asked))),
    }
    return pd.DataFrame(columns)


def _backend(world: World, names: Array) -> pd.DataFrame:
    u = world.users
    steps = [pd.DataFrame({"user": u.index, "day": u[name], "event": name}) for name in ONBOARDING]
    server = pd.concat([*steps, world.interviews.assign(event=INTERVIEW)])
    server = server[server.day < DAYS].sort_values("day", kind="stable")
    columns = {
        "user_id": names[server.user],
        "event": server.event.to_numpy(),
        "timestamp": _at(server.day),
    }
    return pd.DataFrame(columns)


def _spend(rng: np.random.Generator) -> pd.DataFrame:
    days = pd.date_range(START, periods=DAYS).strftime("%Y-%m-%d")
    amount = np.repeat(PARTNERS.amount.to_numpy(), DAYS)
    columns = {
        "partner_id": np.repeat(PARTNERS.partner_id.to_numpy(), DAYS),
        "day": np.tile(days, len(PARTNERS)),
        "amount": (amount * rng.uniform(0.85, 1.15, len(amount))).round(2),
    }
    return pd.DataFrame(columns)
