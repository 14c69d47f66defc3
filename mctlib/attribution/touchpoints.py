"""Touches: which partner an event names, by which of its tags, where tags of different partners meet, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mctlib.contract import MISSING
from mctlib.eventlog.journeys import Journeys, first_rows

SOURCES = (
    "partner_id",
    "promo_code",
    "utm_source",
)  # the conflict order unless another is declared
SURVEY = "survey:"  # before the name of a question, as a source: what the user answered names the partner
UNRESOLVED = "(unresolved utm)"  # a utm_source that no alias resolves; not the same as no touch
FAR = np.int64(2**61)  # "never", with room to add a window


@dataclass(frozen=True)
class Users:
    """Per user: start, conversion and exit (FAR: never), in microseconds, and what follows from them; days count from origin to as_of."""

    start: np.ndarray
    conv: np.ndarray
    leave: np.ndarray
    origin: int
    as_of: int

    @cached_property
    def low(self) -> np.ndarray:
        """Begin of the counted time at risk."""
        return np.maximum(self.start, self.origin)

    @cached_property
    def end(self) -> np.ndarray:
        """End of the time at risk."""
        return np.minimum(np.minimum(self.conv, self.leave), self.as_of)

    @cached_property
    def inside(self) -> np.ndarray:
        """Converts while at risk."""
        return (self.start <= self.conv) & (self.conv <= self.leave) & (self.conv < FAR)

    @cached_property
    def counted(self) -> np.ndarray:
        """Converts while at risk, and late enough to be looked back on."""
        return self.inside & (self.conv >= self.origin)


@dataclass(frozen=True)
class Touches:
    """Rows that carry a tag, in the order of the journeys; all arrays have one entry a row but ``names`` and ``clashes``.

    row: index into the journeys · label: the partner's index in ``names`` (-1: none) · via: index of the source that names it · utm: the partner that
    utm_source alone names · own: names nobody but ourselves · clashes: (index into row, source that stands, source overruled, partner overruled).
    """

    names: list[str]
    row: np.ndarray
    label: np.ndarray
    via: np.ndarray
    utm: np.ndarray
    own: np.ndarray
    clashes: np.ndarray


@dataclass(frozen=True)
class Tags:
    """Where a touch's partner is read from.

    by: the column that names partners in their own words · sources: columns of events, or `SURVEY` + a question, the one that stands in a conflict first ·
    known: spelling in lower case -> partner, "" = ourselves · heard_user, heard: users (ascending) and the partner that their answer names, of heard_names.
    """

    by: str
    sources: tuple[str, ...]
    known: Mapping[str, str]
    heard_user: np.ndarray
    heard: np.ndarray
    heard_names: tuple[str, ...]

    def answers(self, user: np.ndarray) -> np.ndarray:
        """What each user answered, as an index into heard_names; -1 where nothing."""
        at = np.searchsorted(self.heard_user, user)
        return np.where(np.r_[self.heard_user, -1][at] == user, np.r_[self.heard, -1][at], -1)

    @staticmethod
    def dim(source: str) -> str:
        """The dim of the journeys that holds a source's words."""
        return source if "." in source else f"event.{source}"

    def read(
        self,
        j: Journeys,
        tagged: np.ndarray,
        conversion: np.ndarray,
        start: np.ndarray,
        also: Sequence[str | None] = (),
    ) -> Touches:
        """The touches among the ``tagged`` rows (mask). ``conversion``: mask of rows that are none, whatever they carry; ``start``: row of each user's start;
        ``also``: more partners to have a number.

        What a user says of how they heard of us is a tag of the last touch up to their start, or of the start itself where there is none.
        """
        said = self.answers(j.user[start])
        asked, said = start[said >= 0], said[said >= 0]
        row = np.union1d(np.flatnonzero(tagged), asked)
        sure: dict[str, list[str | None]] = {}
        spare: dict[str, list[str | None]] = {}  # stands where no source is sure
        ours = np.zeros(len(row), bool)
        for source in self.sources:
            if source.startswith(SURVEY):
                continue
            words = j.levels[self.dim(source)]
            plain = [None if w == MISSING else w.strip() or None for w in words]
            found = [w and self.known.get(w.lower()) for w in plain]
            real = [None if k == "" else w for w, k in zip(plain, found)]
            sure[source] = (
                [k or w for k, w in zip(found, real)]
                if source == self.by
                else [k or None for k in found]
            )
            spare[source] = [w and (w if source == "promo_code" else UNRESOLVED) for w in real]
            ours |= (
                tagged[row]
                & np.array([k == "" for k in found], bool)[j.dims[self.dim(source)][row]]
            )
        names = sorted(
            {
                w
                for words in (*sure.values(), *spare.values(), self.heard_names, also)
                for w in words
                if w
            }
        )
        code = {w: i for i, w in enumerate(names)} | {None: -1}
        codes = lambda source, words: np.where(
            tagged[row],
            np.array([code[w] for w in words], np.int64)[j.dims[self.dim(source)][row]],
            -1,
        )  # noqa: E731
        ranked = [codes(s, sure[s]) if s in sure else np.full(len(row), -1) for s in self.sources]
        spares = [codes(s, spare[s]) if s in spare else np.full(len(row), -1) for s in self.sources]
        if len(asked):
            tracked = row[(np.maximum.reduce([*ranked, *spares]) >= 0) & ~conversion[row]]
            before = np.searchsorted(tracked, asked, side="right") - 1
            entry = np.where(
                (before >= 0) & (np.r_[j.user[tracked], -1][before] == j.user[asked]),
                np.r_[tracked, -1][before],
                asked,
            )
            survey = next(i for i, s in enumerate(self.sources) if s.startswith(SURVEY))
            ranked[survey][np.searchsorted(row, entry)] = np.array(
                [code[w] for w in self.heard_names], np.int64
            )[said]
        label, via, clashes = (
            np.full(len(row), -1),
            np.full(len(row), -1),
            [np.empty((0, 4), np.int64)],
        )
        for n, (i, found) in enumerate([*enumerate(ranked), *enumerate(spares)]):
            if n < len(ranked):  # only sure sources can contradict each other
                clash = np.flatnonzero(
                    (label >= 0) & (found >= 0) & (found != label) & ~conversion[row]
                )
                clashes.append(np.c_[clash, via[clash], np.full(len(clash), i), found[clash]])
            new = (label < 0) & (found >= 0)
            label[new], via[new] = found[new], i
        utm = (
            ranked[self.sources.index("utm_source")]
            if "utm_source" in self.sources
            else np.full(len(row), -1)
        )
        return Touches(names, row, label, via, utm, ours & (label < 0), np.concatenate(clashes))


def first_times(j: Journeys, uid: np.ndarray, bit: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Row of each user's first event that matches ``bit``, and its time for all ``n`` users (FAR: none); ``uid``: the rows' users from 0."""
    rows = np.flatnonzero(j.has(bit))
    rows = rows[first_rows(uid[rows])]
    time = np.full(n, FAR)
    time[uid[rows]] = j.time[rows]
    return rows, time
