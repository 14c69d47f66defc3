"""How numbers are said in findings and caveats."""

from __future__ import annotations

from typing import Any

import pandas as pd

UNITS = (
    (86_400_000_000, "day"),
    (3_600_000_000, "hour"),
    (60_000_000, "minute"),
    (1_000_000, "second"),
    (1000, "millisecond"),
    (1, "microsecond"),
)


def in_words(us: int) -> str:
    """A duration in microseconds as a reader says it: 14 days, 1 hour, 30 minutes."""
    size, word = next(
        (s, w) for s, w in UNITS if us >= s and us * 10 % s == 0 or s == 1
    )  # the largest in which it has one decimal at most
    return f"{us / size:,.1f}".removesuffix(".0") + f" {word}{'' if us == size else 's'}"


def time_unit(days: float) -> tuple[str, int]:
    """The unit in which something is left of a span of ``days``, and how many of it make a day."""
    return next(
        ((word, n) for word, n in (("day", 1), ("hour", 24), ("minute", 1440)) if days * n >= 2),
        ("second", 86_400),
    )


def day(us: int) -> str:
    """The UTC day of a moment in microseconds: 2026-07-05."""
    return f"{pd.Timestamp(us, unit='us'):%Y-%m-%d}"


def users(n: int) -> str:
    """1 user, 2,300 users."""
    return f"{n:,} user{'' if n == 1 else 's'}"


def share(row: Any, column: str) -> str:
    """A share with its interval: 12.3 % (11.0 to 13.7); the interval is left out where it is missing."""
    value, low, high = (100 * row[c] for c in (column, f"{column}_ci_lower", f"{column}_ci_upper"))
    return f"{value:.1f} %" + (f" ({low:.1f} to {high:.1f})" if low == low else "")


def points(row: Any, column: str) -> str:
    """A difference of shares in percentage points with its interval: +1.2 points (-0.3 to +2.7); the interval is left out where it is missing."""
    value, low, high = (100 * row[c] for c in (column, f"{column}_ci_lower", f"{column}_ci_upper"))
    return f"{value:+.1f} points" + (f" ({low:+.1f} to {high:+.1f})" if low == low else "")


def in_accounts(n_accounts: float, *design_effects: float) -> str:
    """Whose intervals are by account, to be put after "intervals": " of users in 240 accounts (design effect 3.3)"; what is missing is left out."""
    told = " and ".join(f"{effect:.1f}" for effect in design_effects if effect == effect)
    return (
        f" of users in {n_accounts:,.0f} account{'' if n_accounts == 1 else 's'}"
        if n_accounts == n_accounts
        else ""
    ) + (f" (design effect {told})" if told else "")


def too_few_accounts(where: str) -> str:
    """Why there is no interval."""
    return f"Too few accounts{where} to say how far accounts differ, so no interval is given."
