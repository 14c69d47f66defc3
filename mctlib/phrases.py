"""Numbers, durations, shares and lists in words: one way to say each of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

import pandas as pd

from mctlib.contract import ENDS

SECOND_US, HOUR_US, DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000  # in microseconds
QUARTER_US = HOUR_US // 4  # in no time zone a day begins within one
PLATFORMS = {"android": "Android", "ios": "iOS", "web": "web", "api": "API"}
PLATFORM = re.compile(rf"\b({'|'.join(PLATFORMS)})\b")
ISO_DAY = re.compile(r"(?<![\w-])(?<!as_of )\d{4}-\d\d-\d\d(?![\w-])")
SIGN_OF_NOUGHT = re.compile(r"^[+-](?=0(\.0+)?(?![\d.]))")


class Unit(NamedTuple):
    """A unit of time: its name, and how many of it make a day."""

    name: str
    per_day: int


UNITS = (Unit("day", 1), Unit("hour", 24), Unit("minute", 1440), Unit("second", 86_400))


def unit_of(days: float) -> Unit:
    """The unit in which a span of ``days`` is said: the largest of which there are two or more."""
    return next((unit for unit in UNITS if days * unit.per_day >= 2), UNITS[-1])


def duration(days: float) -> str:
    """A measured duration, to tenths: "4.3 days", "36 hours", "90 seconds"."""
    unit = unit_of(abs(days))
    number = f"{days * unit.per_day:,.1f}".removesuffix(".0")
    return f"{number} {unit.name}{'' if number == '1' else 's'}"


def window(us: int) -> str:
    """A duration that somebody chose, in microseconds, exactly: "14 days", "36 hours"."""
    small = ((DAY_US // unit.per_day, unit.name) for unit in UNITS)
    units = (*small, (1000, "millisecond"), (1, "microsecond"))
    # the largest in which it has one decimal at most
    size, name = next(unit for unit in units if us >= unit[0] and us * 10 % unit[0] == 0)
    return f"{us / size:,.1f}".removesuffix(".0") + f" {name}{'' if us == size else 's'}"


def period_name(us: int, k: int) -> str:
    """The k-th period of a length: "week 4", "day 1", "period 2 of 30 days"."""
    word = {DAY_US: "day", 7 * DAY_US: "week"}.get(us)
    return f"{word} {k}" if word else f"period {k} of {window(us)}"


def day(us: int) -> str:
    """The UTC day of a moment in microseconds: "2026-07-05"."""
    return f"{pd.Timestamp(us, unit='us'):%Y-%m-%d}"


def called(segment: str) -> str:
    """A segment as people write it: "paid search", "iOS · creator", "6 April 2026"."""
    if ISO_DAY.fullmatch(segment):
        at = pd.to_datetime(segment, errors="coerce")
        return segment if pd.isna(at) else f"{at.day} {at:%B %Y}"
    return PLATFORM.sub(lambda found: PLATFORMS[found[0]], segment.replace("_", " "))


def with_days(sentence: str) -> str:
    """A sentence that says days as people do: "on 6 April 2026"; an alert's id stays as it is."""
    return ISO_DAY.sub(lambda found: called(found[0]), sentence)


def alike(label: str) -> str:
    """What tells a name from others for people: neither its capitals nor its spaces."""
    return " ".join(label.casefold().split())


def titled(partner: str) -> str:
    """A partner by its name, "Coupon Corner": of an id that has no capitals of its own."""
    return called(partner) if partner != partner.lower() else called(partner).title()


def count(n: float, what: str) -> str:
    """Say how many: "1 week", "2,300 weeks"."""
    return f"{n:,.0f} {what}{'' if n == 1 else 's'}"


def users(n: float) -> str:
    """Say how many users: "1 user", "2,300 users"."""
    return count(n, "user")


def listed(words: Iterable[str], *, most: int | None = None, last: str = "and") -> str:
    """Words in a row, "a, b and c"; of more than ``most`` words the first: "a, b and 3 more"."""
    words = list(words)
    if most is not None and len(words) > most:
        return f"{', '.join(words[:most])} {last} {len(words) - most} more"
    return f" {last} ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def share(row: Mapping[str, Any] | pd.Series, column: str) -> str:
    """A share with its interval, where there is one: "12.3 % (11.0 to 13.7)"."""
    value, low, high = _with_ends(row, column)
    return f"{value:.1f} %" + (f" ({low:.1f} to {high:.1f})" if low == low else "")


def points(row: Mapping[str, Any] | pd.Series, column: str) -> str:
    """A difference of shares with its interval: "+1.2 points (-0.3 to +2.7)"."""
    value, low, high = _with_ends(row, column)
    said, first, last = (nought(f"{x:+.1f}") for x in (value, low, high))
    return f"{said} points" + (f" ({first} to {last})" if low == low else "")


def nought(text: str) -> str:
    """A number in words, nought without a sign: "-0.0 points" is "0.0 points"."""
    return SIGN_OF_NOUGHT.sub("", text)


def times(row: Mapping[str, Any] | pd.Series, column: str) -> str:
    """A ratio of shares with its interval: "1.25 times as many (1.10 to 1.42)"; "" without one."""
    value, low, high = (row[column + end] for end in ENDS)
    return f"{value:.2f} times as many ({low:.2f} to {high:.2f})" if low == low else ""


def _with_ends(row: Mapping[str, Any] | pd.Series, column: str) -> tuple[float, float, float]:
    """Estimate and ends of an interval, in per cent."""
    value, low, high = (100 * row[column + end] for end in ENDS)
    return value, low, high


def amount(
    x: float,
    currency: str,
    low: float = nan,
    high: float = nan,
    *,
    per: str = "",
    signed: bool = False,
) -> str:
    """Money, with its interval where there is one: "1,684 EUR a day (459 to 2,908)".

    Below 100 with cents, where there are any. ``currency``: as the data YAML has it, "" where it
    has none.
    """
    text = f"{_amount(x, signed)} {currency or 'units of money'}{f' a {per}' if per else ''}"
    return text + (f" ({_amount(low, signed)} to {_amount(high, signed)})" if low == low else "")


def _amount(x: float, signed: bool) -> str:
    cents = 2 if abs(x) < 100 and round(x, 2) % 1 else 0
    return f"{x:{'+' if signed else ''},.{cents}f}"


def in_accounts(n_accounts: float, *design_effects: float) -> str:
    """Words after "intervals": " of users in 240 accounts (design effect 3.3)", as far as known."""
    known = [f"{effect:.1f}" for effect in design_effects if effect == effect]
    text = f" of users in {count(n_accounts, 'account')}" if n_accounts == n_accounts else ""
    return text + (f" (design effect {' and '.join(known)})" if known else "")


def too_few_accounts(where: str) -> str:
    """Why there is no interval."""
    return f"Too few accounts{where} to say how far accounts differ, so no interval is given."


def told_together(names: Mapping[str, str], fewest: int) -> tuple[str, ...]:
    """The sentence about groups of fewer users that are told together (group -> their name)."""
    said = []
    for name in dict.fromkeys(names.values()):
        groups = [group for group in names if names[group] == name]
        if len(groups) > 1:  # so many are no grouping, and each may be a person's own
            many = f"{len(groups)} groups" if len(groups) > 8 else listed(groups)
            said.append(f"{many} as {name}")
    together = f"Told together, so that no group has fewer than {fewest} users:"
    return (f"{together} {'; '.join(said)}.",) if said else ()


def that_hold(pairs: Sequence[tuple[Any, str]]) -> tuple[str, ...]:
    """The sentences of those (condition, sentence) pairs whose condition holds."""
    return tuple(sentence for holds, sentence in pairs if holds)


def windows(lengths: Sequence[int], *, last: str = "and") -> str:
    """Windows in microseconds; days stand without their unit but once: "0, 7 and 30 days"."""
    *before, final = lengths
    whole = final >= DAY_US
    said = [
        f"{us / DAY_US:g}" if us == 0 or (whole and us >= DAY_US) else window(us) for us in before
    ]
    return listed([*said, window(final)], last=last)
