"""What is read first: a number with its range and state, and what to do. Plain values, no tables.

A page's tiles, the index of a run, its courses over the runs and `run.json` all read these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mctlib.phrases import ISO_DAY, called, nought

MOST_TILES, MOST_ACTIONS, MOST_WORDS = 4, 3, 25
ANALYST = "Analyst"  # who acts where no plan names anybody
SIGNS = {"EUR": "\u20ac", "USD": "$", "GBP": "\u00a3"}
MOST_PER_CENT = 100
ENDS = (1, 2, 5, 10, 20, 40, 60, 80, MOST_PER_CENT)  # of the bar of a share
FINE = 5  # a range narrower than this is worth a decimal, in these units
FINELY = ("", "%", "days", "h", "min", "s")
TIGHT = "\u00a0"  # between a number and its unit

Verdict = Literal["", "sure", "not clear", "too few", "no clear change"]
Tone = Literal["wanted", "unwanted", "neutral"]


@dataclass(frozen=True)
class Against:
    """What a number is compared with: zero, a group, the plan's target, or the run before."""

    kind: Literal["zero", "group", "target", "run"]
    value: float = 0.0
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One number that a director reads.

    Attributes
    ----------
    name : str
        Short and lasting: courses over the runs follow it.
    label : str
        What it is, of whom, since when.
    value, low, high : float or None
        In ``unit``, and the ends of its range; None where they are not known or not told.
    unit : str
        "%", "points", "days", "\u00d7", a currency ("EUR"), or what is counted.
    n, n_noun : int or None, str
        Of how many, and what they are.
    against : Against, optional
        What it is compared with; of a level without one, the run before.
    verdict, tone, act : str, str, bool
        How sure the comparison is ("" for a level), whether it is wanted, whether somebody must
        act.
    note : str
        At most five words.
    text : str
        The number in words where it is more than one, such as "30-60".
    cumulative, restated : bool
        It grows with the time counted, so that its course is no trend; the run before told another
        number of the same day.
    """

    name: str
    label: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    n: int | None = None
    n_noun: str = "users"
    against: Against | None = None
    verdict: Verdict = ""
    tone: Tone = "neutral"
    act: bool = False
    note: str = ""
    text: str = ""
    cumulative: bool = False
    restated: bool = False

    @property
    def number(self) -> str:
        """The number without its unit: "20.4", "+5.8"."""
        return self.text or self._say(self.value)

    @property
    def whole(self) -> str:
        """The number with its unit: "20.4 %", "1,684 EUR"."""
        after = "" if self.unit in SIGNS else self.unit
        return f"{self.number}{TIGHT}{after}" if after else self.number

    @property
    def range(self) -> str:
        """Its range in words: "19.2 to 21.5"; "" without one."""
        if self.low is None or self.high is None:
            return ""
        return f"{self._say(self.low)} to {self._say(self.high)}"

    @property
    def beside(self) -> str:
        """Of how many, or what the others have: "16,861 users", "others 58 %"."""
        if self.against and self.against.kind == "group":
            value = self._say(self.against.value)
            return f"{self.against.label} {value}{TIGHT}{self.unit}".rstrip()
        return f"{self.n:,} {self.n_noun}" if self.n is not None else ""

    @property
    def kind(self) -> str:
        """How it looks: "bad" (somebody must act), "good" (sure), "past" (unwanted), "unsure"."""
        if self.verdict != "sure":
            return "unsure"
        if self.act:
            return "bad"
        return "past" if self.tone == "unwanted" else "good"

    @property
    def mark(self) -> str:
        """The sign of its state, which colour only repeats."""
        return {"bad": "\u25b2", "unsure": "\u25cb"}.get(self.kind, "\u25cf")

    @property
    def state(self) -> str:
        """How sure it is, in words; of a count that asks for somebody its note."""
        counted = self.act and self.verdict == "sure" and self.low is None
        return self.note if counted and self.note else self.verdict

    @property
    def places(self) -> dict[str, float]:
        """Where its range, value and comparison lie on a bar, in per cent of the bar's width."""
        if self.value is None or self.low is None or self.high is None:
            return {}
        told = [self.low, self.high, self.value]
        told += [self.against.value] if self.against else []
        last = 1.25 * max(map(abs, told)) or 1.0
        if self.unit == "%" and max(told) <= MOST_PER_CENT:
            last = next(end for end in ENDS if end >= min(1.5 * max(told), MOST_PER_CENT))
        first = -last if min(told) < 0 or (self.against and self.against.kind == "zero") else 0.0
        found = {"low": self.low, "high": self.high, "value": self.value}
        if self.against:
            found["against"] = self.against.value
        return {name: 100 * (x - first) / (last - first) for name, x in found.items()}

    def _say(self, value: float | None) -> str:
        if value is None:
            return "\u2013"
        wide = (self.high - self.low) if self.low is not None and self.high is not None else FINE
        fine = self.unit in ("points", "\u00d7") or (wide < FINE and self.unit in FINELY)
        plus = "+" if self.against and self.against.kind == "zero" else ""
        text = nought(f"{value:{plus},.{int(fine)}f}")
        return _signed_money(text, self.unit).replace("-", "\u2212")


def _signed_money(text: str, unit: str) -> str:
    sign = SIGNS.get(unit, "")
    return f"{text[0]}{sign}{text[1:]}" if sign and text[0] in "+-" else f"{sign}{text}"


@dataclass(frozen=True, kw_only=True)
class Action:
    """What to do: a sentence that begins with a verb, and who does it.

    ``about`` is the name of the headline that asks for it; ``state`` and ``size`` are short words
    beside the role.
    """

    text: str
    role: str
    about: str = ""
    state: str = ""
    size: str = ""

    @property
    def beside(self) -> str:
        """Who, and what is known of it."""
        return " \u00b7 ".join(filter(None, [self.role, self.state, self.size]))


def ranged(row: Mapping[str, Any] | pd.Series, column: str, times: float = 1) -> dict[str, Any]:
    """Value and range of a headline, from a column and its interval, ``times`` so much.

    What is missing or has no limit is None.
    """
    ends = {"value": "", "low": "_ci_lower", "high": "_ci_upper"}
    return {name: told(times * row[column + end]) for name, end in ends.items()}


def told(value: Any) -> float | None:
    """A number as a headline holds it: None where it is missing or has no limit."""
    number = float(value)
    return number if math.isfinite(number) else None


def day(moment: Any) -> str:
    """A day as people say it: "6 April"."""
    at = pd.Timestamp(moment)
    return f"{at.day} {at:%B}"


def named(text: str) -> str:
    """A name in a sentence, in quotes that no name holds: \u201cProfile completed\u201d."""
    return f"\u201c{text}\u201d"


def whose(key: str, segment: str) -> str:
    """Users of a segment in a sentence: "iOS users", "users of Creator partners"."""
    if key in ("week", "month") and ISO_DAY.match(segment):  # named by its first day
        at = pd.Timestamp(segment[:10])
        when = f"{at:%B %Y}" if key == "month" else f"the week of {day(at)}"
        return f"users who began in {when}"
    if key and not any(c.isalpha() for c in segment):
        return f"users with {key.removeprefix('properties.').replace('_', ' ')} {segment}"
    # a name, such as the plan's label, stands as it is
    return f"users of {segment}" if segment[:1].isupper() else f"{called(segment)} users"


def upper(text: str) -> str:
    """A text that begins a line; iOS stays as it is."""
    return text if text.startswith("iOS") else text[:1].upper() + text[1:]


def money(amount: float, currency: str) -> str:
    """Money in a sentence, without cents: "\u20ac9,732", "9,732 CHF", "9,732 units of money"."""
    text = _signed_money(f"{amount:,.0f}", currency).replace("-", "\u2212")
    return text if currency in SIGNS else f"{text}{TIGHT}{currency or 'units of money'}"


def n_words(text: str) -> int:
    """How many words a reader meets."""
    return len(text.split())


def brief(first: str, *more: str) -> str:
    """A sentence of at most 25 words: the first clause, and those after it as far as they fit."""
    for clause in more:
        if clause and n_words(f"{first}{clause}") <= MOST_WORDS:
            first += clause
    return first if first.endswith("?") else f"{first}."


def chosen(groups: Iterable[Sequence[Headline]]) -> list[Headline]:
    """The tiles of a page from the headlines of its results, in their order: at most four.

    Of one name the first is told. The first of each result stays; of the others those somebody must
    act on go before those that are sure, and these before the rest.
    """
    names: set[str] = set()
    told: list[list[Headline]] = []
    for group in groups:
        mine = [h for h in group if h.name not in names]
        names |= {h.name for h in mine}
        told += [mine] if mine else []
    firsts = [group[0] for group in told]
    rank = {"bad": 0, "good": 1, "past": 1, "unsure": 2}
    others = sorted((h for group in told for h in group[1:]), key=lambda h: rank[h.kind])
    kept = {id(h) for h in [*firsts, *others][:MOST_TILES]}
    return [h for group in told for h in group if id(h) in kept]
