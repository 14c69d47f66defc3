"""The demo product's canonical tables: what tracking makes of the world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mctlib.sources.demo import stories
from mctlib.sources.demo.stories import DAYS, INTERVIEW, ONBOARDING, PARTNERS, START, day_of
from mctlib.sources.demo.world import Array, World, happened, picked, row_of, version_of

# the last moment of the data
LATEST = DAYS - 1e-9
SECONDS = 86_400
# users whose events are made at once
PIECE = 4_000
ENTRIES = ("signed_up", "recruiter_signed_up")
EVENTS = (
    *ENTRIES,
    *ONBOARDING,
    INTERVIEW,
    *("interview_reminder_set", "first_job_posted", *(event for event, *_ in stories.USE)),
    *("email_clicked", "feedback_given", "help_desk_contacted", "account_deleted"),
    *("subscription_started", "partner_visit"),
)


def generate(users: int = stories.USERS, seed: int = 1) -> dict[str, pd.DataFrame]:
    """Make the canonical tables of the demo product.

    Parameters
    ----------
    users : int
        How many sign up; a stock of about a fifth as many was there before. Each has about 90
        events.
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
    >>> sorted(demo.generate(users=30, seed=5))[:3]
    ['backend', 'events', 'people']
    """
    world = happened(users, seed)
    events = pa.concat_tables(_events(world, seed))
    texts = [
        (f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in events.schema
    ]
    return {"events": events.cast(pa.schema(texts)).to_pandas(), **_other_tables(world, seed)}


def write(folder: Path, users: int = stories.USERS, seed: int = 1) -> dict[str, Path]:
    """The same tables as Parquet files, the events piece by piece: never all are in memory."""
    folder.mkdir()
    world = happened(users, seed)
    pieces = _events(world, seed)
    first = next(pieces)
    with pq.ParquetWriter(folder / "events.parquet", first.schema) as file:
        file.write_table(first)
        for piece in pieces:
            file.write_table(piece)
    for name, table in _other_tables(world, seed).items():
        pq.write_table(pa.Table.from_pandas(table), folder / f"{name}.parquet")
    return {path.stem: path for path in sorted(folder.iterdir())}


def _at(day: Any) -> pd.DatetimeIndex:
    """Days since START -> UTC; what lies after the end of the data (inf: never) -> NaT."""
    day = np.asarray(day, dtype=float)
    there = day < DAYS
    since = np.rint(np.where(there, day, 0) * SECONDS * 1e6).astype("timedelta64[us]")
    stamps = START.tz_localize(None).to_datetime64() + since
    return pd.DatetimeIndex(np.where(there, stamps, np.datetime64("NaT")), tz="UTC").as_unit("us")


def _only(where: Array, values: Any) -> Array:
    """`values` where they hold, else None."""
    nothing: Any = None
    kept: Array = np.where(where, values, nothing)
    return kept


def _numbered(prefix: str, codes: Any) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pa.array(np.asarray(codes)).cast(pa.string()), "")


def _ids(prefix: str, codes: Any) -> Array:
    return np.asarray(_numbered(prefix, codes).to_pandas(), dtype=object)


def _words(codes: Array, words: Sequence[str | None] | pa.Array) -> pa.Array:
    """The word of each code; -1 is nothing."""
    labels = words if isinstance(words, pa.Array) else pa.array(words, pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=codes < 0), labels)


def _rhythm(day: Array) -> Array:
    """Chance that an event planned for then happens: fewer at weekends and at night."""
    by_hour = 0.1 + 0.9 * np.sin(np.pi * (day % 1 - 0.1)) ** 2
    by_day: Array = stories.WEEKDAY[day.astype(np.int64) % 7]
    return by_day * by_hour


def _rows(event: str, user: Any, day: Any, partner: Any = -1) -> pd.DataFrame:
    """Events within the weeks of the data, by their row in EVENTS."""
    user, day = np.asarray(user, dtype=np.int32), np.asarray(day, dtype=float)
    columns = {"user": user, "day": day, "event": np.int8(EVENTS.index(event))}
    rows = pd.DataFrame(columns | {"partner": np.asarray(partner, dtype=np.int8)})
    return rows[(rows.day >= 0) & (rows.day < DAYS)]


def _what_people_do(
    u: pd.DataFrame,
    meet: pd.DataFrame,
    touch: pd.DataFrame,
    n_visitors: int,
    rng: np.random.Generator,
) -> Iterator[pd.DataFrame]:
    users, signup = len(u), u.signup.to_numpy()
    recruiter, activity = u.recruiter.to_numpy(), u.activity.to_numpy()
    begin = np.maximum(signup, 0)
    stay = u.until.to_numpy() - begin
    every_hour = _rhythm(np.arange(0, 7, 1 / 24)).mean()

    def often(event: str, per_day: float | Array) -> pd.DataFrame:
        user = np.repeat(np.arange(users), rng.poisson(per_day * stay / every_hour))
        day = begin[user] + stay[user] * rng.random(len(user))
        kept = rng.random(len(user)) < _rhythm(day)
        return _rows(event, user[kept], day[kept])

    for event, who in zip(ENTRIES, (~recruiter, recruiter)):
        yield _rows(event, np.flatnonzero(who), signup[who])
    for name in ONBOARDING:
        yield _rows(name, np.arange(users), u[name].where(~u[f"{name}_lost"], np.inf))
    yield _rows(INTERVIEW, meet.user, meet.day)
    reminded = meet[rng.random(len(meet)) < 0.6]
    yield _rows("interview_reminder_set", reminded.user, reminded.day + 1 / 24)
    post = signup + rng.exponential(4, users)
    posts = recruiter & (rng.random(users) < 0.7) & (post < u.until)
    yield _rows("first_job_posted", np.arange(users), np.where(posts, post, np.inf))
    # larger plans use more and renew more: job_saved goes with renewal without causing it
    for event, by_recruiters, per_day in stories.USE:
        does = 1 if by_recruiters is None else recruiter == by_recruiters
        yield often(event, per_day * activity * does)
    mails = stories.ADOPTION
    more = 1 + mails["raised_rel_change"]
    clicked = often(mails["raised"], mails["per_day"] * more)
    sent = (clicked.day >= day_of(mails["change_at"])) | (rng.random(len(clicked)) < 1 / more)
    yield clicked[sent]
    # late feedback changes nothing
    late = signup + 7 + rng.exponential(60, users)
    yield _rows("feedback_given", np.arange(users), np.where(late < u.until, late, np.inf))
    for event in ("feedback_given", "help_desk_contacted"):
        yield _rows(event, np.arange(users), u[event])
    yield _rows("account_deleted", np.arange(users), u.deleted)
    yield _rows("subscription_started", np.arange(users), u.converted)
    yield _rows("partner_visit", touch.user, touch.day, touch.partner)
    views = np.r_[1.5 * ~recruiter, np.full(n_visitors, 2.0)]
    looked = np.repeat(np.arange(users + n_visitors), rng.poisson(views))
    until = np.r_[signup, rng.uniform(2, DAYS, n_visitors)]
    yield _rows("job_viewed", looked, until[looked] - rng.uniform(0, 2, len(looked)))


def _tenths_of_minutes(rows: pd.DataFrame, rng: np.random.Generator) -> Array:
    """How long each session lasted; 0 of other events."""
    story, tenths = stories.SESSION_LENGTH, np.zeros(len(rows), dtype=np.int16)
    session = rows.event.to_numpy() == EVENTS.index(story["event"])
    day = rows.day.to_numpy()[session]
    factor = 1 + story["rel_change"] * (day >= day_of(story["change_at"]))
    factor *= 1 + story["rel_recovery"] * (day >= day_of(story["recovered_at"]))
    spread = rng.lognormal(-(0.6**2) / 2, 0.6, len(day))
    tenths[session] = np.rint(10 * story["mean_minutes"] * factor * spread).clip(1, 2_000)
    return tenths


def _repeated(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Rows in order of time with their ids, the double SDK's twins and the rows sent again."""
    story = stories.DUPLICATES
    first = row_of(story["logical_platform"], story["logical_version"])
    last = stories.VERSIONS.index[stories.VERSIONS.platform == story["logical_platform"]][-1]
    doubling = rows.version.between(first, last)
    twin = rows[doubling & (rng.random(len(rows)) < story["logical_rate"])]
    seconds = rng.uniform(0.05, 1.95, len(twin))
    twin = twin.assign(day=np.minimum(twin.day + seconds / SECONDS, LATEST))
    rows = pd.concat([rows, twin]).sort_values("day", kind="stable", ignore_index=True)
    rows["id"] = np.arange(len(rows))
    again = rows[rng.random(len(rows)) < story["technical_rate"]]
    return pd.concat([rows, again]).sort_values("day", kind="stable", ignore_index=True)


def _arrival(rows: pd.DataFrame, platform: Array, rng: np.random.Generator) -> Array:
    """The day on which each row is received: at once, or when the phone sends it."""
    story = stories.LATE
    rate = np.array([story["late_rate"][name] for name in stories.PLATFORMS])[platform]
    rate[rows.event.isin([EVENTS.index(event) for event in story["never"]])] = 0
    mean, most = story["mean_days"], story["most_days"]
    whole = 1 - np.exp(-most / mean)
    waits = -mean * np.log(1 - whole * rng.random(len(rows)))
    at_once = np.minimum(rows.day + rng.exponential(2.0, len(rows)) / SECONDS, LATEST)
    return np.where(rng.random(len(rows)) < rate, rows.day + waits, at_once)


def _events(world: World, seed: int) -> Iterator[pa.Table]:
    """Canonical events, piece by piece: of some users, and of visitors who never sign up."""
    n_rows = 0
    for first in range(0, len(world.users), PIECE):
        rng = np.random.default_rng([seed, 1, first])
        u = world.users.iloc[first : first + PIECE]
        # numbered after all users, so that no two pieces have the same
        n_visitors = int(stories.VISITOR_RATE * len(u))
        number = np.r_[u.index, len(world.users) + first + np.arange(n_visitors)]
        visitors = rng.choice(
            len(stories.PLATFORMS), n_visitors, p=list(stories.PLATFORMS.values())
        )
        platform = np.r_[u.platform, visitors]
        meet, touch = (
            table[table.user.between(first, first + PIECE - 1)].assign(user=table.user - first)
            for table in (world.interviews, world.touches)
        )
        rows = pd.concat(_what_people_do(u, meet, touch, n_visitors, rng), ignore_index=True)
        rows["tenths"] = _tenths_of_minutes(rows, rng)
        signup = np.r_[u.signup, np.full(n_visitors, np.inf)]
        lag = np.r_[u.update_lag, np.zeros(n_visitors)]
        who, day = rows.user.to_numpy(), rows.day.to_numpy()
        rows["version"] = version_of(platform[who], day, signup[who], lag[who])
        rows = _repeated(rows, rng)
        rows["arrival"] = _arrival(rows, platform[rows.user], rng)
        rows["id"] += n_rows
        n_rows = rows.id.iloc[-1] + 1
        yield _table(rows[rows.arrival < DAYS], u, number, platform, rng)


def _table(
    rows: pd.DataFrame, u: pd.DataFrame, number: Array, platform: Array, rng: np.random.Generator
) -> pa.Table:
    """Rows of (user, day, event, partner, tenths, version, id, arrival) as canonical events.

    Users beyond `u` are visitors.
    """
    user, day = rows.user.to_numpy(), rows.day.to_numpy()
    n_visitors = len(platform) - len(u)
    before = day < np.r_[u.signup, np.full(n_visitors, np.inf)][user]
    entry = rows.event.to_numpy() < len(ENTRIES)
    role = len(MINUTES) + np.r_[u.recruiter, np.zeros(n_visitors)][user]
    channel = np.r_[u.channel, np.full(n_visitors, -1)][user]
    columns = {
        "user_id": _words(np.where(before, -1, user), _numbered("u", number)),
        "event": _words(rows.event.to_numpy(), EVENTS),
        "timestamp": pa.array(_at(day)),
        "event_id": _numbered("e", rows.id),
        "received_at": pa.array(_at(rows.arrival)),
        "anonymous_id": _words(np.where(before | entry, user, -1), _numbered("a", number)),
        # one session per user and UTC day
        "session_id": _numbered("s", number[user] * 1_000 + day.astype(np.int64)),
        "platform": _words(platform[user], list(stories.PLATFORMS)),
        "app_version": _words(rows.version.to_numpy(), list(stories.VERSIONS.app_version)),
        "channel": _words(channel, list(stories.CHANNELS.index)),
        **_campaign(rows.partner.to_numpy(), rng),
        "properties": _words(np.where(entry, role, rows.tenths - 1), [*MINUTES, *ROLES]),
    }
    return pa.table(columns)


MINUTES = [f'{{"minutes": {tenths / 10}}}' for tenths in range(1, 2_001)]
ROLES = ['{"role": "candidate"}', '{"role": "recruiter"}']


def _campaign(partner: Array, rng: np.random.Generator) -> dict[str, pa.Array]:
    """What the links of touches say, with one partner's UTM in many spellings.

    Another partner's carry a creator's code at times.
    """
    names, misspelt, conflict = (
        list(PARTNERS.partner_id),
        stories.BROKEN_UTM,
        stories.PROMO_CONFLICT,
    )
    broken = partner == names.index(misspelt["partner_id"])
    source = partner.astype(np.int32)
    source[broken] = len(names) + rng.integers(len(misspelt["spellings"]), size=broken.sum())
    others_code = partner == names.index(conflict["partner_id"])
    others_code &= rng.random(len(partner)) < conflict["rate"]
    promo, codes = np.full(len(partner), -1), list(stories.PROMO_CODES.values())
    for nth, name in enumerate(stories.PROMO_CODES):
        promo[partner == names.index(name)] = nth
    promo[others_code] = codes.index(conflict["promo_code"])
    return {
        "utm_source": _words(source, [*names, *misspelt["spellings"]]),
        "utm_medium": _words(partner, list(PARTNERS.channel)),
        "utm_campaign": _words(np.where(partner >= 0, 0, -1), ["spring"]),
        "partner_id": _words(np.where(broken, -1, partner), names),
        "promo_code": _words(promo, codes),
    }


def _other_tables(world: World, seed: int) -> dict[str, pd.DataFrame]:
    names, rng = _ids("u", world.users.index), np.random.default_rng([seed, 2])
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
        "plan": picked([*stories.PLANS.index, stories.STAFF["plan"], None], u.plan),
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
    server = server[(server.day >= 0) & (server.day < DAYS)].sort_values("day", kind="stable")
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
