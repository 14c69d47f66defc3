"""From journeys to counts: the kernel that walks users, and its tables as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.attribution.credit_rules import (
    ANSWER,
    APPROACHES,
    AXES,
    CRM,
    HAND,
    Credit,
    add_approaches,
    count_users,
)
from mctlib.attribution.markov import ENDS, Moves, Removal, chain_moves, removal
from mctlib.attribution.person_time import Background, count_background
from mctlib.attribution.question import Question
from mctlib.attribution.touchpoints import (
    AFTER,
    CONVERTS,
    KEPT,
    LEFT_OUT,
    NOT_AT_RISK,
    OURSELVES,
    UNRESOLVED,
    UNTAGGED,
    Tagged,
    Touches,
    Users,
    find_users,
    first_matches,
    looked_up,
    numbers,
)
from mctlib.contract import DataError
from mctlib.eventlog.days import by_day
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import NEVER, NOWHERE, Journeys, first_rows
from mctlib.results import together

NAMED = ("partner", "other", "state", "next")
MOVE = ("bucket", "window", "state", "next")


def sizes_of(question: Question, n_partners: int) -> tuple[int, ...]:
    """How long each of `AXES` is."""
    return 2, len(question.clock.rules), len(question.clock.windows), n_partners


def read_users(question: Question, j: Journeys) -> tuple[Journeys, np.ndarray, np.ndarray, Users]:
    """The journeys by the moments asked about, where each user's begin, and the users.

    Before these the rows by which they are known, see `first_matches`.
    """
    clock = question.clock
    j = by_day(j, question.zones)
    edges = np.r_[first_rows(j.user), len(j)]
    first = first_matches(edges, j.mask.astype(np.uint64), question.n_moments)
    users = find_users(j, first, origin=clock.origin, end=clock.end, resolution=clock.resolution)
    return j, edges, first, users


def tagged_rows(question: Question, j: Journeys) -> np.ndarray:
    """Which rows carry a tag."""
    tags = (1 << len(question.events)) - (1 << question.n_moments)
    carried: np.ndarray = j.mask & j.mask.dtype.type(tags) > 0
    return carried


def why_left_out(j: Journeys, edges: np.ndarray, users: Users, tagged: Tagged) -> np.ndarray:
    """Why each tagged row earns nothing (`LEFT_OUT`), KEPT where it does."""
    user = np.repeat(np.arange(len(edges) - 1), np.diff(np.searchsorted(tagged.row, edges)))
    time, conversion = j.time[tagged.row], users.conversion[user]
    return np.select(
        [
            tagged.own,
            tagged.label == NOWHERE,
            j.has(0)[tagged.row],
            (conversion != NEVER) & (time > conversion),
            time > users.end[user],
        ],
        [OURSELVES, UNTAGGED, CONVERTS, AFTER, NOT_AT_RISK],
        KEPT,
    )


def touches_of(
    j: Journeys, edges: np.ndarray, tagged: Tagged, keep: np.ndarray
) -> tuple[np.ndarray, Touches]:
    """The tagged rows to keep (a mask), in order, and these as touches."""
    kept = np.flatnonzero(keep)
    time, user = j.time[tagged.row[kept]], np.searchsorted(edges, tagged.row[kept], side="right")
    order = np.lexsort((tagged.label[kept], time, user))
    ends = np.searchsorted(user, np.arange(1, len(edges) + 1))
    return kept[order], Touches(ends, time[order], tagged.label[kept][order])


def _touched(touches: Touches) -> pd.DataFrame:
    """Partner -> n_users whom it touched."""
    user = np.repeat(np.arange(len(touches.edges) - 1), np.diff(touches.edges))
    once = pd.DataFrame({"partner": touches.partner, "user": user}).drop_duplicates()
    return once.groupby("partner").size().reset_index(name="n_users")


def spelt(table: pd.DataFrame, names: np.ndarray) -> pd.DataFrame:
    """The table added up, with names for numbers, which differ from chunk to chunk."""
    named = {c: names[table[c].to_numpy(int)] for c in table if c in NAMED}
    return add_up([table.assign(**named)])


@dataclass(frozen=True)
class Walk:
    """The kernel: journeys to tables of additive counts, most of them by user bucket."""

    question: Question

    def __call__(self, j: Journeys) -> dict[str, pd.DataFrame]:
        """The counts of a chunk of users: a table a name, credit and moves by bucket."""
        question = self.question
        j, edges, first, users = read_users(question, j)
        worth = self._worth(j, first[0])
        users = users._replace(worth=np.nan_to_num(worth))
        tagged = question.tags.read(j, edges, first[1], tagged_rows(question, j), self._named(j))
        why = why_left_out(j, edges, users, tagged)
        kept, touches = touches_of(j, edges, tagged, why == KEPT)
        bucket = j.take(edges[:-1]).bucket.astype(np.int64)
        states = np.array([*tagged.names, *ENDS], dtype=object)
        named = pd.DataFrame({"source": tagged.via[kept], "partner": touches.partner})
        outside = (users.conversion != NEVER) & ~users.inside
        notes = {
            "n_too_early": users.inside & ~users.counted,
            "n_outside": outside,
            "n_counted": users.counted,
            "n_without_value": users.counted & np.isnan(worth),
        }
        return {
            "touches": spelt(add_up([named.assign(n_touches=1)]), states),
            "touched": spelt(_touched(touches), states),
            "left_out": add_up([pd.DataFrame({"why": why[why >= 0], "n_touches": 1})]),
            "conflicts": spelt(tagged.clashes, states),
            "notes": pd.DataFrame({name: [some.sum()] for name, some in notes.items()}),
            "approaches": spelt(self._approaches(j, edges, users, touches, tagged, kept), states),
            **self._background(users, touches),
            **self._by_bucket(bucket, users, touches, states),
        }

    def _background(self, users: Users, touches: Touches) -> dict[str, pd.DataFrame]:
        """What `count_background` counts: cohort, band, period, n_rows, sum_days."""
        clock = self.question.clock
        n_bands, n_periods = len(clock.tenure) + 1, len(clock.periods)
        n_cohorts = np.repeat([n_periods, n_periods * n_bands, 1], 2)
        found = Background(*(np.zeros((n, n_bands, n_periods)) for n in n_cohorts))
        count_background(users, touches, clock, found)
        tables = {}
        for name in ("touch", "seen", "other"):
            n, days = (getattr(found, f"{name}_{what}") for what in ("n", "days"))
            at = np.nonzero(n + days)
            columns = dict(zip(("cohort", "band", "period"), at))
            tables[f"{name}_days"] = pd.DataFrame(columns | {"n_rows": n[at], "sum_days": days[at]})
        return tables

    def _worth(self, j: Journeys, row: np.ndarray) -> np.ndarray:
        """What each conversion (``row``) brings; NaN where nothing says so."""
        value = self.question.value
        if not isinstance(value, str):
            return np.full(len(row), np.nan if value is None else float(value))
        said = j.value
        if said is None:
            said = pd.to_numeric(pd.Series(j.levels[value]), errors="coerce").to_numpy(float)[
                j.dims[value]
            ]
        return np.where(row == NOWHERE, np.nan, said[row])

    def _named(self, j: Journeys) -> list[str | None]:
        """Partners that are named elsewhere than in touches and answers."""
        tags, words = self.question.tags, self.question.by_hand[2]
        return [*self._crm(j), *(tags.partner(word) for word in words)]

    def _crm(self, j: Journeys) -> list[str | None]:
        """The partner that each value on record of users names."""
        words = j.levels["partner_id"] if self.question.has_crm else ()
        return [self.question.tags.partner(word) for word in words]

    def _approaches(
        self,
        j: Journeys,
        edges: np.ndarray,
        users: Users,
        touches: Touches,
        tagged: Tagged,
        kept: np.ndarray,
    ) -> pd.DataFrame:
        """approach, partner, sum_credited, sum_alike, sum_worth_alike (see `add_approaches`)."""
        question, tags, first = self.question, self.question.tags, edges[:-1]
        columns = ["approach", "partner", "sum_credited", "sum_alike", "sum_worth_alike"]
        if question.by != "partner_id":
            return pd.DataFrame(columns=columns)
        named = np.full((len(APPROACHES), len(first)), NOWHERE)
        if question.has_crm:
            named[CRM] = numbers(self._crm(j), tagged.names)[j.dims["partner_id"][first]]
        owner, place, words = question.by_hand
        hand = numbers([tags.partner(word) for word in words], tagged.names)
        named[HAND] = hand[looked_up(owner, place, j.user[first])]
        named[ANSWER] = numbers(tags.heard_names, tagged.names)[tags.answers(j.user[first])]
        sums = np.zeros((3, len(APPROACHES), len(tagged.names)))
        window = int(question.clock.windows[question.clock.reference])
        add_approaches(users, touches, tagged.utm[kept], named, window, sums)
        at = np.nonzero(sums.any(axis=0))
        return pd.DataFrame(dict(zip(columns, (*at, *(kind[at] for kind in sums)))))

    def _by_bucket(
        self, bucket: np.ndarray, users: Users, touches: Touches, states: np.ndarray
    ) -> dict[str, pd.DataFrame]:
        """What `count_users` counts, and `chain_moves`: tables of filled cells."""
        question, clock, n = self.question, self.question.clock, len(states)
        credit = np.zeros((stats.N_BUCKETS, *sizes_of(question, n - len(ENDS))))
        count_users(bucket, users, touches, clock, credit)
        moves = np.empty(0, np.int64)
        if "markov" in question.rules:
            moves = chain_moves(bucket, users, touches, clock, n - len(ENDS))
        moves, n_moves = np.unique(moves, return_counts=True)
        shape = (stats.N_BUCKETS, len(clock.windows), n, n)
        at, made = np.nonzero(credit), np.unravel_index(moves, shape)
        columns = dict(zip(("bucket", *AXES), at)), dict(zip(MOVE, made))
        credited, moved = (
            pd.DataFrame({c: states[v] if c in NAMED else v for c, v in some.items()})
            for some in columns
        )
        credited, moved = credited.assign(sum_value=credit[at]), moved.assign(n_moves=n_moves)
        return {"credit": credited, "moves": moved}


@dataclass(frozen=True)
class Counts:
    """The counts of all users; ``tables``: see `Walk`."""

    question: Question
    tables: dict[str, pd.DataFrame]
    names: np.ndarray  # of who touched, whatever is asked for, and who cost money

    def _numbers(self, column: pd.Series) -> np.ndarray:
        """Numbers of names and of `ENDS`."""
        number = {name: n for n, name in enumerate([*self.names, *ENDS])}
        return column.map(number).to_numpy(np.int64)

    @cached_property
    def _shared(self) -> tuple[np.ndarray, list[Removal]]:
        """Credit (bucket, what, rule, window, partner), and the removals by window if asked for."""
        table, shape = self.tables["credit"], sizes_of(self.question, len(self.names))
        at = [self._numbers(table[axis]) if axis in NAMED else table[axis] for axis in AXES]
        shape = (stats.N_BUCKETS, *shape)
        credit = stats.dense(table["sum_value"], table["bucket"], *at, shape=shape)
        found = []
        if "markov" in self.question.rules:
            markov, table = self.question.rules.index("markov"), self.tables["moves"]
            moves = Moves(
                table["bucket"].to_numpy(np.int64),
                self._numbers(table["state"]),
                self._numbers(table["next"]),
                table["n_moves"].to_numpy(float),
            )
            for w in range(len(self.question.days)):
                mine = np.flatnonzero(table["window"] == w)
                some = Moves(*(column[mine] for column in moves))
                found.append(removal(some, credit[:, :, markov, w]))
                credit[:, :, markov, w] = found[-1].credit
        return credit, found

    def credit(self, seed: int, *, sure: bool) -> tuple[Credit, Credit]:
        """Conversions shared out, and the money that they bring; it is missing without a value."""
        conversions, money = np.moveaxis(self._shared[0], 1, 0)
        if self.question.value is None:
            money = np.full_like(money, np.nan)
        return Credit(self.names, conversions, seed, sure), Credit(self.names, money, seed, sure)

    def removal_effect(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each partner at the reference window, and by bucket (see `markov.Removal`)."""
        if not self._shared[1]:
            p = len(self.names)
            return np.full(p, np.nan), np.full((stats.N_BUCKETS, p), np.nan)
        found = self._shared[1][self.question.clock.reference]
        return found.effect, found.effect_parts

    @property
    def left_out(self) -> np.ndarray:
        """Touches that earn nothing, by reason (`LEFT_OUT`)."""
        table = self.tables["left_out"]
        return stats.dense(table["n_touches"], table["why"], shape=[len(LEFT_OUT)]).astype(int)

    @property
    def n_unresolved(self) -> int:
        """Touches whose utm_source names no known partner."""
        table = self.tables["touches"]
        return int(table.loc[table["partner"] == UNRESOLVED, "n_touches"].sum())

    def note(self, name: str) -> int:
        """Conversions that are counted, or are not, by reason (see `Walk`)."""
        return int(self.tables["notes"][name].sum())


def walk(
    log: EventLog, question: Question, *, as_of: Any
) -> tuple[Question, dict[str, pd.DataFrame]]:
    """Walk the log's users, again where partners touched too few of them to be told alone.

    The question, in which such partners share a name, and the tables of `Walk`.
    """
    while True:
        tables = log.reduce(
            Walk(question),
            events=question.events,
            by=question.dims,
            as_of=as_of,
            values=question.amount,
        )
        names = together(users_touched(tables), question.by)
        if not names:
            return question, tables
        question = replace(question, tags=question.tags.join(names))


def users_touched(tables: dict[str, pd.DataFrame]) -> pd.Series:
    """By partner, and by tags that name none; a user may be touched by several."""
    return tables["touched"].groupby("partner")["n_users"].sum()


def count(
    log: EventLog, question: Question, tables: dict[str, pd.DataFrame], paid: Sequence[str] = ()
) -> Counts:
    """The counts of `walk`; ``paid``: partners to be named even where they touched nobody.

    Raises DataError: no conversion that can be looked back on, no touch.
    """
    counts = Counts(question, tables, np.array(sorted({*tables["touches"]["partner"], *paid})))
    if not counts.note("n_counted"):
        longest = phrases.window(int(question.clock.windows[-1]))
        raise DataError(
            f"{log.name}: none of {counts.note('n_too_early'):,} conversions lies after the first "
            f"{longest} of the log, which the longest window needs to look back on; take shorter "
            "windows."
        )
    if tables["touches"].empty:
        but = "but the conversion itself " if counts.left_out[CONVERTS] else ""
        raise DataError(
            f"{log.name}: no event up to as_of {but}carries "
            f"{' or '.join(question.tags.sources)}, so there is no touch to credit."
        )
    return counts
