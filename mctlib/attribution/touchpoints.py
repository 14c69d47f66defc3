"""Touches: which partner an event names, by which of its tags, and which touches are left out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit, types

from mctlib.contract import MISSING, SOURCES
from mctlib.eventlog.journeys import NEVER, NOWHERE, Journeys

# Before the name of a question, as a source: what the user answered names the partner.
SURVEY = "survey:"
# A utm_source that no alias resolves; not the same as no touch.
UNRESOLVED = "(unresolved utm)"
# Words of tags that name nobody but ourselves, unless an alias says otherwise.
NOBODY = re.compile(
    r"\W*(organic|direct|none|not[\s_-]?set|n\W?a|null|unknown|internal|direkt|organisch)\W*"
)
# Why a touch earns nothing; where several reasons hold, the later one of the first three is said.
LEFT_OUT = (
    "after the user's first conversion",
    "carried by a conversion itself",
    "self-referral",
    "of users not at risk",
)
AFTER, CONVERTS, OURSELVES, NOT_AT_RISK = range(len(LEFT_OUT))
KEPT, UNTAGGED = -1, -2

Array = np.ndarray
INTS, FLAGS, FLOATS = types.int64[::1], types.boolean[::1], types.float64[::1]


def record(fields: Sequence[Any], kind: Any) -> Any:
    """The numba type of a NamedTuple, which depends on whether its fields are all alike."""
    numba: Any = types
    if len(set(fields)) == 1:
        return numba.NamedUniTuple(fields[0], len(fields), kind)
    return numba.NamedTuple(fields, kind)


class Users(NamedTuple):
    """Users of a chunk, one entry each; moments in microseconds, NEVER where there is none."""

    start: Array
    conversion: Array
    leave: Array
    end: Array  # end of the time at risk, NEVER for whom there is none
    inside: Array  # converts while at risk
    counted: Array  # and late enough to be looked back on
    worth: Array  # what the conversion brings, 0 where nothing says so


class Touches(NamedTuple):
    """Touches that may earn credit, by user, time and partner."""

    edges: Array  # where each user's touches begin, and the end of all
    time: Array
    partner: Array  # index of a name


USERS = record([INTS] * 4 + [FLAGS] * 2 + [FLOATS], Users)
TOUCHES = record([INTS] * 3, Touches)


@njit(types.int64[:, ::1](INTS, types.uint64[::1], types.int64), cache=True, nogil=True)
def first_matches(edges: Array, mask: Array, n_matchers: int) -> Array:
    """Row of each user's first event that matches each of the first matchers; NOWHERE: none."""
    found = np.full((n_matchers, len(edges) - 1), NOWHERE)
    for user in range(len(edges) - 1):
        for row in range(edges[user], edges[user + 1]):
            for bit in range(n_matchers):
                matches = mask[row] >> np.uint64(bit) & np.uint64(1)
                if matches and found[bit, user] == NOWHERE:
                    found[bit, user] = row
    return found


@njit(INTS(INTS, INTS, FLAGS), cache=True, nogil=True)
def carriers(edges: Array, start_row: Array, tracked: Array) -> Array:
    """Row that carries what a user said: the last tracked one up to the start, or the start."""
    found = start_row.copy()
    for user in range(len(edges) - 1):
        for row in range(edges[user], start_row[user] + 1):
            if tracked[row]:
                found[user] = row
    return found


def find_users(j: Journeys, first: Array, *, origin: int, end: int, resolution: int) -> Users:
    """Users by their first conversion, start and exit (``first``: rows, see `first_matches`).

    The time at risk holds the whole of the moment that ends it, which lasts a ``resolution``.
    """
    moment = np.where(first == NOWHERE, NEVER, j.time[first])
    conversion, start = moment[:2]
    leave = moment[2] if len(moment) > 2 else np.full(len(start), NEVER)
    converts, leaves = conversion != NEVER, leave != NEVER
    at_risk = (start != NEVER) & ~(converts & (conversion < start))
    inside = at_risk & converts & ~(leaves & (leave < conversion))
    last = np.full(len(start), end)
    for moment, known in ((conversion, converts), (leave, leaves)):
        last = np.where(known, np.minimum(last, moment + resolution - 1), last)
    return Users(
        start,
        conversion,
        leave,
        end=np.where(at_risk, last, NEVER),
        inside=inside,
        counted=inside & (conversion >= origin),
        worth=np.zeros(len(start)),
    )


@dataclass(frozen=True)
class Tagged:
    """Rows that carry a tag or an answer, one entry each; and the conflicts among their tags."""

    names: dict[str, int]  # the partners' numbers
    row: Array  # index into the journeys
    label: Array  # the partner's number, NOWHERE: none
    via: Array  # index of the source that names it
    utm: Array  # the partner that utm_source alone names
    own: Array  # names nobody but ourselves
    clashes: pd.DataFrame  # stands, partner, overruled, other, n_touches


class Meaning(NamedTuple):
    """What a tag's word stands for: a partner for sure, one where no source is sure, ourselves."""

    sure: str | None = None
    spare: str | None = None
    ours: bool = False


@dataclass(frozen=True)
class Tags:
    """Where a touch's partner is read from."""

    by: str  # the column that names partners in their own words
    sources: tuple[str, ...]  # columns, or `SURVEY` + a question; the first stands in a conflict
    known: Mapping[str, str]  # spelling in lower case -> partner, "" = ourselves
    heard_user: Array  # users whose answer names a partner, ascending
    heard: Array  # index of that partner
    heard_names: tuple[str, ...]
    joined: Mapping[str, str] = field(default_factory=dict)  # partner -> a name that several share

    @property
    def columns(self) -> list[str]:
        """Sources that are columns of the events."""
        return [source for source in self.sources if not source.startswith(SURVEY)]

    @staticmethod
    def dim(source: str) -> str:
        """The dim of the journeys that holds a source's words."""
        return source if "." in source else f"event.{source}"

    def answers(self, user: Array) -> Array:
        """What each user answered, as an index into heard_names; NOWHERE where nothing."""
        return looked_up(self.heard_user, self.heard, user)

    def partner(self, word: str) -> str | None:
        """The partner whom a word names, in whatever spelling; None: nobody, or ourselves."""
        word = "" if word == MISSING else word.strip()
        return self._told(self.known.get(word.lower(), word)) or None

    def _told(self, partner: str) -> str:
        return self.joined.get(partner, partner)

    def join(self, names: Mapping[str, str]) -> Tags:
        """With some partners under names that they share."""
        joined = {old: names.get(name, name) for old, name in self.joined.items()}
        heard = tuple(names.get(name, name) for name in self.heard_names)
        return replace(self, joined={**names, **joined}, heard_names=heard)

    def meaning(self, source: str, word: str) -> Meaning:
        """What the word of a column stands for."""
        word = "" if word == MISSING else word.strip()
        if not word:
            return Meaning()
        known = self.known.get(word.lower())
        if known is None and self.by in SOURCES and NOBODY.fullmatch(word.lower()):
            known = ""
        if known == "":
            return Meaning(ours=True)
        spare = self._told(word if source == "promo_code" else UNRESOLVED)
        sure = known or (word if source == self.by else "")
        return Meaning(self._told(sure) or None, spare)

    def read(
        self,
        j: Journeys,
        edges: Array,
        start_row: Array,
        tagged: Array,
        also: Sequence[str | None] = (),
    ) -> Tagged:
        """Read the partner of every ``tagged`` row (a mask) and of what users answered.

        What a user says of how they heard of us is a tag of the last touch up to their start, or of
        the start itself where there is none. ``also``: more partners to have a number.
        """
        answer = np.where(start_row == NOWHERE, NOWHERE, self.answers(j.user[edges[:-1]]))
        asked = answer != NOWHERE
        row = np.flatnonzero(tagged)
        if asked.any():
            row = np.union1d(row, start_row[asked])
        converts, mine = j.has(0)[row], tagged[row]
        meanings = {s: [self.meaning(s, w) for w in j.levels[self.dim(s)]] for s in self.columns}
        words = {w for means in meanings.values() for m in means for w in (m.sure, m.spare)}
        named = sorted(word for word in words.union(self.heard_names, also) if word)
        names = {name: n for n, name in enumerate(named)}
        found = np.full((2, len(self.sources), len(row)), NOWHERE)  # sure ones, and spare ones
        ours = np.zeros(len(row), bool)
        for i, source in enumerate(self.sources):
            if source in meanings:
                level = j.dims[self.dim(source)][row]
                means = meanings[source]
                for kind, told in enumerate(([m.sure for m in means], [m.spare for m in means])):
                    found[kind, i] = np.where(mine, numbers(told, names)[level], NOWHERE)
                ours |= mine & np.array([m.ours for m in means], bool)[level]
        if asked.any():
            tracked = np.zeros(len(j), bool)
            tracked[row] = (found != NOWHERE).any(axis=(0, 1)) & ~converts
            carrier = carriers(edges, np.where(asked, start_row, NOWHERE), tracked)[asked]
            survey = next(i for i, source in enumerate(self.sources) if source not in meanings)
            at = np.searchsorted(row, carrier)
            found[0, survey, at] = numbers(self.heard_names, names)[answer[asked]]
        utm = np.full(len(row), NOWHERE)
        if "utm_source" in self.sources:
            utm = found[0, self.sources.index("utm_source")]
        label, via, clashes = resolve(found, converts)
        return Tagged(names, row, label, via, utm, ours & (label == NOWHERE), clashes)


def looked_up(owner: Array, value: Array, user: Array) -> Array:
    """Each user's value, of owners in ascending order; NOWHERE for others."""
    at = np.searchsorted(owner, user)
    owns = np.r_[owner, NOWHERE][at] == user
    return np.where(owns, np.r_[value, NOWHERE][at], NOWHERE)


def numbers(words: Sequence[str | None], names: Mapping[str, int]) -> Array:
    """Numbers of some names, NOWHERE for None, and at the end, where NOWHERE itself points to."""
    return np.array([*(names.get(word or "", NOWHERE) for word in words), NOWHERE], np.int64)


def resolve(found: Array, converts: Array) -> tuple[Array, Array, pd.DataFrame]:
    """Partner of each row and the source that names it: the first one that is sure, then others.

    Only sure sources can contradict each other (``found``: sure and spare, sources, rows), and only
    on rows that are no conversions.
    """
    label = np.full(found.shape[-1], NOWHERE)
    via, clashes = label.copy(), []
    for kind in range(2):
        for source, partner in enumerate(found[kind]):
            named = partner != NOWHERE
            if kind == 0:
                clash = named & (label != NOWHERE) & (label != partner) & ~converts
                stands = {"stands": via[clash], "partner": label[clash]}
                other = {"overruled": source, "other": partner[clash], "n_touches": 1}
                clashes.append(pd.DataFrame(stands | other))
            new = named & (label == NOWHERE)
            label[new], via[new] = partner[new], source
    return label, via, pd.concat(clashes, ignore_index=True)


@njit(cache=True, nogil=True)
def own_touches(user: int, users: Users, touches: Touches) -> tuple[int, int]:
    """The first touch after the user's start, and the first after the conversion."""
    a, b = touches.edges[user], touches.edges[user + 1]
    while a < b and touches.time[a] <= users.start[user]:
        a += 1
    while b > a and touches.time[b - 1] > users.conversion[user]:
        b -= 1
    return a, b
