"""What `compare_arms` found, in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.headlines import Against, Headline, named, ranged, whose
from mctlib.phrases import called, count, users
from mctlib.results import MIN_USERS
from mctlib.roi.assignment import Group
from mctlib.roi.rung import INCONCLUSIVE, NOT_SHOWN, SHOWN, Verdict

UNEVEN = 0.001  # p-value of the arms' sizes below which the assignment, or its tracking, is broken
NO_ARMS = "No randomised arms were named."


@dataclass(frozen=True)
class Told:
    """What the sentences are made of.

    window, change: in words · planned: share of every arm · top: the row of the surest arm,
    effect: what it shows · wish: in its unit.
    """

    event: str
    of: str
    window: str
    change: str
    kind: str
    group: Group
    planned: pd.Series
    top: pd.Series
    effect: Verdict
    wish: float

    @property
    def what(self) -> str:
        """What is compared: "the share of users with posted within 7 days of signed_up"."""
        of = f"within {self.window} of {self.change if self.group.known else self.of}"
        if self.kind == "rate":
            return f"the share of users with {self.event} {of}"
        return f"the {self.event} events per user {of}"

    def in_words(self, x: float, *, signed: bool = True) -> str:
        """An effect in its unit: "+1.2 percentage points", "+0.3 events per user"."""
        unit = "percentage points" if self.kind == "rate" else "events per user"
        return f"{self.number(x, signed=signed)} {unit}"

    def number(self, x: float, *, signed: bool = True) -> str:
        """The same without the unit."""
        sign = "+" if signed else ""
        return phrases.nought(f"{100 * x:{sign}.1f}" if self.kind == "rate" else f"{x:{sign}.3g}")


def refusal(told: Told) -> str:
    """Why the arms cannot be compared; "" where they can."""
    group, top, sizes = told.group, told.top, told.group.sizes
    arms = phrases.listed([top["segment"], top["reference"]])
    held = phrases.listed(f"{name} {users(n)}" for name, n in sizes.items())
    held = held if _may_tell(group) else "numbers of users other than planned"
    unknown = np.isnan(top["pvalue"])
    reasons = phrases.that_hold(
        [
            (
                top["sample_ratio_pvalue"] < UNEVEN,
                f"the arms hold {held}; chance alone does not make arms this uneven, so the "
                "assignment or its tracking is broken",
            ),
            (
                top["balance_pvalue"] < UNEVEN,
                f"unlike shares of {arms} had {told.event} before {told.change} already, so the "
                f"arms were not drawn on that day; where users are put into arms at {told.of}, the "
                "change begins with the first of them",
            ),
            (
                np.isnan(top["effect"]),
                f"too few users of {arms} were followed for {told.window} by now",
            ),
            (
                unknown and not np.isnan(group.n_accounts) and top["effect"] != 0,
                f"fewer than {stats.MIN_CLUSTERS} accounts in an arm are too few to say how far "
                "accounts differ",
            ),
            (
                unknown,
                "users within the arms do not differ at all, so nothing says how sure a "
                "difference between them is",
            ),
        ]
    )
    return reasons[0] if reasons else ""


def supported(told: Told) -> str:
    """Why the arms can be compared."""
    p = told.top["sample_ratio_pvalue"]
    text = f"{_sizes(told)} drawn by chance, in the planned shares (p = {p:.2f})"
    if told.effect == INCONCLUSIVE:
        text += f"; {_one_of_many(told)}"
    return text


def _may_tell(group: Group) -> bool:
    """Whether all users less those in the arms are nobody, or so many that they may be told."""
    return not 0 < group.n_left_out < MIN_USERS


def _sizes(told: Told) -> str:
    """How many users of either arm are compared, where that may be told."""
    if not _may_tell(told.group):
        return "users"
    return f"{told.top['n_users']:,} and {told.top['n_reference']:,} users"


def _one_of_many(told: Told) -> str:
    n, q = len(told.group.sizes), told.top["qvalue"]
    return f"of {n} arms one may differ so by chance (q = {q:.2f})"


def finding(told: Told) -> str:
    """What the surest arm did."""
    if reason := refusal(told):
        return f"Not supported: {reason}."
    top = told.top
    low, high = (told.number(top[f"effect_ci_{end}"]) for end in ("lower", "upper"))
    effect = f"{told.in_words(top['effect'])} (95 % interval {low} to {high})"
    share = top["mean_after"] - top["effect"]
    without = f"{100 * share:.1f} %" if told.kind == "rate" else f"{share:.3g}"
    against = f"against {without} in {top['reference']}"
    if told.effect == SHOWN:
        return f"The arm {top['segment']} moved {told.what} by {effect}, {against}."
    if told.effect == NOT_SHOWN:
        return (
            f"No effect of the arm {top['segment']} on {told.what} is shown: {effect}, {against}."
        )
    return (
        f"Inconclusive: the arm {top['segment']} moved {told.what} by {effect}, {against}, but "
        f"{_one_of_many(told)}."
    )


def headline(told: Told) -> Headline:
    """The surest arm against the reference."""
    top, refused = told.top, refusal(told)
    is_share, sure = told.kind == "rate", not refused and told.effect == SHOWN
    up, unit = bool(top["effect"] > 0), "points" if is_share else "events per user"
    known: dict[str, Any] = {"value": None} if refused else {}
    return Headline(
        name="effect",
        label=f"{named(told.event)}, {whose('', str(top['segment']))}",
        **(known or ranged(top, "effect", 100 if is_share else 1)),
        unit=unit,
        against=Against("zero"),
        verdict="too few" if refused else "sure" if sure else "not clear",
        tone=("wanted" if up else "unwanted") if sure else "neutral",
        act=sure and not up,
        note=f"against {called(str(top['reference']))}",
    )


def rule(told: Told) -> str:
    """Who is compared, and how; "" where nothing is."""
    if refusal(told):
        return ""
    sizes, day = _sizes(told), told.change
    if told.group.known:
        return (
            f"arms assigned by chance, {sizes} known before {day}, adjusted for the same time "
            "before it."
        )
    whose = f"whose first {told.of} came on {day} or later"
    return f"arms assigned by chance, {sizes} {whose}; each has {told.window} from there."


def caveats(told: Told) -> tuple[str, ...]:
    """What a reader has to know of the arms."""
    return (*_of_the_draw(told), *_of_the_users(told), *_of_the_power(told))


def _of_the_draw(told: Told) -> Iterator[str]:
    """Whether the arms have the planned sizes."""
    group, p = told.group, told.top["sample_ratio_pvalue"]
    total = group.sizes.sum()
    sizes = phrases.listed(
        f"{name} {100 * told.planned[name]:.3g} % ({100 * n / total:.1f} % came)"
        for name, n in group.sizes.items()
    )
    drawn = "accounts as wholes" if group.by_account else "users"
    odds = f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"
    yield f"Planned were {sizes}; arms of these sizes, drawn of {drawn}: {odds}."


def _of_the_users(told: Told) -> Iterator[str]:
    """Who is left out or pending, and who counts together."""
    group, top, known = told.group, told.top, told.group.known
    if n := top["n_pending"]:
        counted = "count for as long as they were seen" if told.kind == "rate" else "are left out"
        yield f"Pending, since their {told.window} are not over: {users(n)}; they {counted}."
    if group.small:
        yield (
            f"Left out, since fewer than {MIN_USERS} users of each were followed for {told.window} "
            f"by now: {phrases.listed(group.small, most=4)}."
        )
    if n := group.n_without:
        yield f"{_left_out(n, group)} without an arm are left out."
    if n := group.n_others:
        came = f"came on {told.change} or later" if known else f"were there before {told.change}"
        yield (
            f"{_left_out(n, group)} of these arms {came} and are left out: they meet the change at "
            "another point of their time, and are a question of their own."
        )
    if np.isfinite(top["variance_ratio"]):
        left = 100 * top["variance_ratio"]
        yield f"Adjusting for what users did before leaves {left:.0f} % of the variance."
    if np.isfinite(group.n_accounts):
        in_them = phrases.in_accounts(group.n_accounts, top["design_effect"])
        yield f"Users of one account count together; intervals are those{in_them}."


def _left_out(n: int, group: Group) -> str:
    if n < MIN_USERS:
        return f"Fewer than {MIN_USERS} users"
    told = sum(n for n in (group.n_without, group.n_others) if n >= MIN_USERS)
    return "Users" if 0 < group.n_left_out - told < MIN_USERS else users(n)


def _of_the_power(told: Told) -> Iterator[str]:
    """Which effect could be shown, and how long a smaller one takes."""
    top = told.top
    if not np.isfinite(top["detectable_effect"]):
        return
    least = told.in_words(top["detectable_effect"], signed=False)
    text = f"With a power of about 80 % so many users show an effect of {least}"
    if told.wish > 0 and np.isfinite(more := top["more_weeks"]):
        wished = told.in_words(told.wish, signed=False)
        longer = f"takes {count(more, 'more week')} of new users" if more else "is more than that"
        text += f"; {wished}, as wished, {longer}"
    yield f"{text}."
