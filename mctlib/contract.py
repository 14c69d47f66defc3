"""The data contract: canonical tables and their columns, the errors a user sees, and how arguments are read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

CANONICAL: dict[str, tuple[str, ...]] = {  # the required columns stand first, see REQUIRED
    "events": (
        "user_id",
        "event",
        "timestamp",
        "event_id",
        "received_at",
        "anonymous_id",
        "session_id",
        "platform",
        "app_version",
        "channel",
        "utm_source",
        "utm_medium",
        "utm_campaign",
        "partner_id",
        "promo_code",
        "properties",
    ),
    "people": (
        "user_id",
        "signed_up_at",
        "channel",
        "partner_id",
        "account_id",
        "plan",
        "activated_at",
        "renewed_at",
        "upsold_at",
        "churned_at",
        "revenue",
        "consent",
    ),
    "surveys": ("user_id", "submitted_at", "micro_conversion", "answer", "reason", "tool"),
    "backend": ("user_id", "event", "timestamp"),
    "spend": ("day", "amount", "partner_id", "channel"),
    "timeline": ("day", "kind", "label", "micro_conversions", "note"),
    "responses": (
        "alert_id",
        "detected_on",
        "decided_on",
        "shipped_on",
        "action",
        "owner",
        "outcome",
    ),
    "identities": ("anonymous_id", "user_id"),  # internal: what a source knows of who is who
}
REQUIRED = {
    "events": ("user_id", "event", "timestamp"),
    "people": ("user_id",),
    "surveys": ("user_id", "submitted_at", "micro_conversion", "answer"),
    "backend": ("user_id", "event", "timestamp"),
    "spend": ("day", "amount"),
    "timeline": ("day", "kind", "label"),
    "responses": ("alert_id",),
    "identities": ("anonymous_id", "user_id"),
}
TABLES = tuple(table for table in CANONICAL if table != "identities")
ENUMS = (
    "event",
    "platform",
    "app_version",
    "channel",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "partner_id",
    "promo_code",
)
DAYS = ("day", "detected_on", "decided_on", "shipped_on")


def interval_columns(name: str, value: Any, low: Any, high: Any) -> dict[str, Any]:
    """An estimate and the ends of its 95 % interval under the names of the column grammar."""
    return {name: value, f"{name}_ci_lower": low, f"{name}_ci_upper": high}


class DataError(ValueError):
    """The data cannot be read as asked; the message names the file, the field and the rule."""


class ParameterError(ValueError):
    """A parameter is wrong; the message names it, the rule and the nearest valid word."""


def nearest(word: str, words: Iterable[str]) -> str:
    """' Did you mean "x" or "y"?', or nothing when no word is near."""
    lower = {str(w).lower(): str(w) for w in words}
    near = [
        lower[w] for w in difflib.get_close_matches(str(word).lower(), list(lower), n=3, cutoff=0.6)
    ]
    return f" Did you mean {' or '.join(f'{chr(34)}{w}{chr(34)}' for w in near)}?" if near else ""


def column_type(column: str) -> str:
    """The type of a canonical column in the store."""
    if column in ("timestamp", "amount", "revenue", "consent"):
        return {"timestamp": "TIMESTAMP", "consent": "BOOLEAN"}.get(column, "DOUBLE")
    return "TIMESTAMP" if column.endswith("_at") else "DATE" if column in DAYS else "VARCHAR"


IDS = ("user_id", "anonymous_id", "account_id", "session_id", "event_id")


def as_timestamp(as_of: Any, name: str = "as_of") -> pd.Timestamp:
    """An ISO day (meaning its end) or timestamp, as UTC.

    Raises ParameterError when it cannot be read.
    """
    try:
        stamp = pd.Timestamp(as_of)
        if pd.isna(stamp):
            raise ValueError
    except (ValueError, TypeError):
        raise ParameterError(
            f'{name}: "{as_of}" is neither a day (2026-06-30) nor a timestamp (2026-06-30T12:00:00Z).'
        ) from None
    bare = (
        isinstance(as_of, str)
        and re.fullmatch(r"\s*\d{4}-\d{2}-\d{2}\s*", as_of)
        or type(as_of).__name__ == "date"
    )
    stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
    return stamp + pd.Timedelta("1D") - pd.Timedelta("1us") if bare else stamp


def as_window(window: Any, name: str = "window") -> int:
    """A duration that pandas reads ("14d", "30min"), in microseconds.

    Raises ParameterError when it cannot be read or is not positive.
    """
    try:
        if isinstance(window, (int, float)) or re.fullmatch(r"[\s\d.+-]*", str(window)):
            raise ValueError
        us = int(pd.Timedelta(window) / pd.Timedelta("1us"))
    except (ValueError, TypeError):
        raise ParameterError(
            f'{name}: "{window}" is not a duration; write a number with its unit, such as "14d" or "30min".'
        ) from None
    if us <= 0:
        raise ParameterError(f'{name}: "{window}" must be longer than nothing.')
    return us


def as_columns(by: str | Sequence[str] | None, *, ids: bool = False) -> list[str]:
    """One column's name, several, or none (None, "" or empty), as a list. Raises ParameterError: one holds ids, unless these are not shown (``ids``)."""
    columns = [by] if by and isinstance(by, str) else list(by or ())
    for column in columns:
        if not ids and column.rpartition(".")[2] in IDS:
            raise ParameterError(
                f'"{column}" holds ids, which no table or sentence may show; name a column whose values are groups of users, such as channel or plan.'
            )
    return columns


MISSING = "(none)"  # label of a dim's empty value
