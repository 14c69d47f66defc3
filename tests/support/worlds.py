"""Worlds of touches and conversions whose truth is known: what partners cause, and what they meet.

Users sign up within 90 days and are seen up to day 150. Each world is a way in which touches and
conversions keep company although nothing is caused; beside it, touches of partner "a" may cause
conversions. The others cause nothing.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib.attribution import incrementality
from mctlib.attribution.counting import count, walk
from mctlib.attribution.own_time import walk_again
from tests.support.logs import FIRST
from tests.support.partners import DAY, ArrayLog, question_of

DAYS, SIGN_UPS, HAZARD = 150.0, 90.0, 1 / 250
PARTNERS = np.array(list("abcd"))


class OneChunk(ArrayLog):
    """A log whose users are walked at once: counts need not be added up."""

    def walk(self, kernel, journeys):
        return kernel(journeys)


@dataclass(frozen=True)
class World:
    """How touches come, how unlike users are, and what touches do."""

    touches: str = "even"  # early, pulse (of some weeks), bursts (of days), visits
    spread: float = 0.0  # variance of users' activity, which touches and conversions share
    bare: bool = False  # moments are days
    rows: bool = False  # visits leave rows of their own
    stop: bool = False  # touches are recorded up to the conversion
    leave: float = 0.0  # days in the mean after which users are gone, and no row says so
    cause: float = 0.0  # chance that a touch of "a" brings a conversion, at a median of 4 days
    beside: bool = False  # half of a's touches have one of "b" within 3 days
    bring: float = 0.0  # share of users whom a partner brings, whatever their activity
    users: int = 3000

    def draw(self, seed):
        """A log, and of each conversion how many days after its cause it came (inf: uncaused)."""
        rng, n = np.random.default_rng(seed), self.users
        start = rng.uniform(0, SIGN_UPS, n)
        active = rng.gamma(1 / self.spread, self.spread, n) if self.spread else np.ones(n)
        pages = who_came, came = self._visits(rng, start, active)
        if self.touches == "visits":
            touched, won = rng.random(len(came)) < 0.15, rng.random(len(came)) < 0.03
            who, at = who_came[touched], came[touched] + 1e-3
            anyway = first_of(who_came[won], came[won] + 2e-3, n)[0]
        else:
            who, at = self._apart(rng, start, active)
            anyway = self._anyway(rng, start, active)
        if self.leave:
            gone = start + rng.exponential(self.leave, n)
            there = at < gone[who]
            who, at, anyway = who[there], at[there], np.where(anyway < gone, anyway, np.inf)
        partner = PARTNERS[rng.integers(0, 4, len(who))]
        if self.beside:
            near = (partner == "a") & (rng.random(len(who)) < 0.5)
            who, at = np.r_[who, who[near]], np.r_[at, at[near] + rng.uniform(0, 3, near.sum())]
            partner = np.r_[partner, np.full(near.sum(), "b")]
        bringing = np.flatnonzero(rng.random(n) < self.bring)
        who, at = np.r_[who, bringing], np.r_[at, start[bringing] - 1 / 24]
        partner = np.r_[partner, PARTNERS[rng.integers(0, 4, len(bringing))]]
        causes = (partner == "a") & (rng.random(len(who)) < self.cause)
        lag = np.where(causes, 4 * np.exp(0.5 * rng.standard_normal(len(who))), np.inf)
        lag[at + lag < start[who]] = np.inf
        caused, cause = first_of(who, at + lag, n)
        conversion = np.minimum(anyway, caused)
        whole = np.floor if self.bare else np.asarray
        days = np.where(
            (caused < anyway) & (conversion < DAYS), whole(conversion) - whole(at[cause]), np.inf
        )
        keep = at <= conversion[who] if self.stop else np.ones(len(who), bool)
        won = np.flatnonzero(conversion < DAYS)
        parts = [
            ("signed_up", np.arange(n), start, np.full(n, None)),
            ("visit", who[keep], at[keep], partner[keep]),
            ("paid", won, conversion[won], np.full(len(won), None)),
        ]
        if self.rows:
            parts.append(("page", *pages, np.full(len(pages[0]), None)))
        log = OneChunk(table_of(parts, whole))
        if self.bare:
            log.day_resolution = {event: ["UTC"] for event, *_ in parts}
        return log, np.where(conversion >= 14 + start.min(), days, np.inf)

    def _visits(self, rng, start, active):
        """Some days of visits after the start, and more of them now and then."""
        n_bouts = 1 + rng.poisson(1.5 * active)
        who = np.repeat(np.arange(len(start)), n_bouts)
        begin = start[who] + rng.uniform(0, 1, len(who)) * (DAYS - start[who])
        begin[np.cumsum(n_bouts) - n_bouts] = start
        n = rng.poisson(5, len(who))
        at = np.repeat(begin, n) + rng.exponential(3, n.sum())
        return np.repeat(who, n)[at < DAYS], at[at < DAYS]

    def _apart(self, rng, start, active):
        """Touches that come by themselves."""
        n = rng.poisson((1.0 if self.touches == "bursts" else 2.5) * active)
        who = np.repeat(np.arange(len(start)), n)
        at = start[who] + rng.uniform(0, 1, len(who)) * (DAYS - start[who])
        if self.touches == "early":
            soon = rng.random(len(who)) < 0.7
            at = np.where(soon, start[who] + rng.exponential(12, len(who)), at)
        if self.touches == "pulse":
            pulse = 15 + 30 * rng.integers(0, 5, len(who)) + rng.uniform(0, 6, len(who))
            at = np.where(rng.random(len(who)) < 0.5, pulse, at)
        if self.touches == "bursts":
            more = 1 + rng.poisson(1.5, len(who))
            who, at = np.repeat(who, more), np.repeat(at, more) + rng.uniform(0, 3, more.sum())
        ok = (at > start[who]) & (at < DAYS)
        return who[ok], at[ok]

    def _anyway(self, rng, start, active):
        """Conversions that nobody causes."""
        wait = rng.exponential(1, len(start)) / (active * HAZARD)
        if self.touches == "early":  # soon after sign-up four times as many
            return start + np.where(wait < 40, wait / 4, wait - 30)
        if self.touches == "pulse":  # in six of thirty days three times as many
            ends = np.arange(0, 40) * 30
            clock = np.sort(np.r_[ends + 15, ends + 21])
            spent = np.cumsum(np.diff(clock, prepend=0) * np.where(np.arange(80) % 2, 3, 1))
            into = np.interp(start, np.r_[0, clock], np.r_[0, spent])
            return np.interp(into + wait, np.r_[0, spent], np.r_[0, clock])
        return start + wait


def table_of(parts, whole):
    """Events of (event, users, days, partners), each day made ``whole``, up to the last day."""
    names = sorted(event for event, *_ in parts)
    user, day, partner = (np.concatenate(column) for column in list(zip(*parts))[1:])
    event = np.repeat([names.index(event) for event, *_ in parts], [len(u) for _, u, *_ in parts])
    seen = day < DAYS
    since = np.round(whole(day[seen]) * DAY).astype("timedelta64[us]")
    return pd.DataFrame(
        {
            "user_id": user[seen],
            "event": pd.Categorical.from_codes(event[seen], names),
            "timestamp": pd.DatetimeIndex(np.datetime64(FIRST.value, "ns") + since, tz="UTC"),
            "partner_id": partner[seen],
        }
    )


def first_of(who, at, n):
    """Each user's first moment, inf where there is none, and which one it is."""
    order = np.lexsort((at, who))
    users, first = np.unique(who[order], return_index=True)
    moment, which = np.full(n, np.inf), np.zeros(n, int)
    moment[users], which[users] = at[order][first], order[first]
    return moment, which


def compared(log, windows=("14d",), as_of="2026-05-30", reference=None):
    """Both comparisons of a log of signed_up, visits and paid (see `incrementality.Comparison`)."""
    question = question_of(log, "paid", windows, as_of, start="signed_up")
    found = walk_again(log, count(log, *walk(log, question, as_of=as_of)), as_of=as_of)
    return incrementality.compare(
        found, question.clock.reference if reference is None else reference
    )
