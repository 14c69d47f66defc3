"""The data contract: canonical tables and columns, a user's errors, how arguments are read."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

REQUIRED = {
    "events": ("user_id", "event", "timestamp"),
    "people": ("user_id",),
    "surveys": ("user_id", "submitted_at", "micro_conversion", "answer"),
    "backend": ("user_id", "event", "timestamp"),
    "manual": ("user_id", "partner_id", "day"),  # credits kept by hand
    "spend": ("day", "amount"),
    "timeline": ("day", "kind", "label"),
    "responses": ("alert_id",),
    "identities": ("anonymous_id", "user_id"),  # internal: what a source knows of who is who
}
_OPTIONAL = {
    "events": """
        event_id received_at anonymous_id session_id platform app_version channel
        utm_source utm_medium utm_campaign partner_id promo_code properties
        """,
    "people": """
        signed_up_at channel partner_id account_id plan
        activated_at renewed_at upsold_at churned_at revenue consent properties
        """,
    "surveys": "reason tool",
    "spend": "partner_id channel",
    "timeline": "micro_conversions note",
    "responses": "detected_on decided_on shipped_on action owner outcome",
}
CANONICAL: dict[str, tuple[str, ...]] = {
    table: (*required, *_OPTIONAL.get(table, "").split()) for table, required in REQUIRED.items()
}
ABOUT_USERS = ("people", "surveys", "backend", "manual")  # rows about a user, beside the events
TABLES = tuple(table for table in CANONICAL if table != "identities")
IDS = ("user_id", "anonymous_id", "account_id", "session_id", "event_id")
DAYS = ("day", "detected_on", "decided_on", "shipped_on")
ENTRIES = (  # kinds of a timeline's
    "competitor",
    "release",
    "campaign",
    "intervention",
    "outage",
    "incident",
    "holiday",
)
BETWEEN = " \u00b7 "  # the values of several columns, told as one
UTM = ("utm_source", "utm_medium", "utm_campaign")
SOURCES = ("partner_id", "promo_code", "utm_source")  # what names a partner, the first stands
# Columns of few different values, which a store keeps as codes.
ENUMS = ("event", "platform", "app_version", "channel", *UTM, "partner_id", "promo_code")
# Platform -> what stands in its names in other tools, lower case.
PLATFORMS = {
    "web": r"web|javascript|browser|analytics\.js|^js$",
    "ios": "ios|iphone|ipad|swift|objective",
    "android": "android",
    "api": "srv|server|api|python|node|java|^go|php|ruby",
}
# How a lower-case text begins that gives consent, or gives none.
YES = r"(yes|y|yep|true|t|on|1|ja|oui|si|sí|sim)(\W|$)"
NO = r"(no|n|nope|false|f|off|0|nein|non|nao|não)(\W|$)"
NAME = r"[A-Za-z0-9][\w-]*"  # of a dataset or a report: it names files
# A day or a moment as a person may write it.
DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?( ?Z|[+-]\d{2}:?\d{2})?)?")
ENDS = ("", "_ci_lower", "_ci_upper")  # of the names of an estimate and its 95 % interval
MISSING = "(none)"  # label of a dim's empty value
_TYPES = {
    "timestamp": "TIMESTAMP",
    "consent": "BOOLEAN",
    "amount": "DOUBLE",
    "revenue": "DOUBLE",
    **dict.fromkeys(DAYS, "DATE"),
}


class _Told(ValueError):
    """An error whose message is all that a user needs."""

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in the place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class DataError(_Told):
    """The data cannot be read as asked; the message names the file, the field and the rule."""


class ParameterError(_Told):
    """A parameter is wrong; the message names it, the rule and the nearest valid word."""


class Mistakes(list[str]):
    """Sentences about what is wrong, gathered so that all of them are told at once."""

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what an error of the user's says, and go on."""
        try:
            yield
        except (DataError, ParameterError) as error:
            self.append(str(error))

    def tell(self, kind: type[ValueError] = ParameterError) -> None:
        """Raise the error with one line a mistake, if there is any."""
        if self:
            raise kind("\n".join(dict.fromkeys(self)))


def column_type(column: str) -> str:
    """The type of a canonical column in the store."""
    return _TYPES.get(column, "TIMESTAMP" if column.endswith("_at") else "VARCHAR")


def interval_columns(
    name: str, value: Any = np.nan, low: Any = np.nan, high: Any = np.nan
) -> dict[str, Any]:
    """An estimate and the ends of its 95 % interval under the names of the column grammar."""
    return {f"{name}{end}": given for end, given in zip(ENDS, (value, low, high))}


def nearest(word: str, words: Iterable[str]) -> str:
    """Words that may have been meant, as the end of a sentence; "" where none is near.

    Examples
    --------
    >>> nearest("plattform", ["channel", "platform"])
    ' Did you mean "platform"?'
    """
    as_written = {str(w).lower(): str(w) for w in words}
    near = difflib.get_close_matches(str(word).lower(), list(as_written), n=3, cutoff=0.6)
    meant = " or ".join(f'"{as_written[w]}"' for w in near)
    return f" Did you mean {meant}?" if near else ""


def one_of(name: str, word: str, words: Collection[str]) -> None:
    """Raise ParameterError, about the argument ``name``, unless the word is one of some."""
    if word not in words:
        near = nearest(word, words)
        raise ParameterError(f'{name}: "{word}" is not one of {", ".join(words)}.{near}')


def as_timestamp(as_of: Any, name: str = "as_of") -> pd.Timestamp:
    """Read a moment, in UTC: an ISO day, which means its end, a date, or a timestamp.

    Without a zone it is UTC. No other text: pandas reads "now" by the clock of the machine, and
    05/04/2026 as an American does. Raises ParameterError, about ``name``: it cannot be read.

    Examples
    --------
    >>> as_timestamp("2026-06-30T12:00:00+02:00")
    Timestamp('2026-06-30 10:00:00+0000', tz='UTC')
    """
    is_text = isinstance(as_of, str)
    stamp = pd.NaT
    # beyond what nanoseconds can count there is no moment either
    with suppress(ValueError, TypeError):
        if DAY.fullmatch(as_of) if is_text else isinstance(as_of, (datetime.date, np.datetime64)):
            stamp = pd.to_datetime(as_of, utc=True).as_unit("ns")
            is_day = len(as_of) == len("2026-06-30") if is_text else type(as_of) is datetime.date
            stamp += pd.Timedelta("1D") - pd.Timedelta("1us") if is_day else pd.Timedelta(0)
    if pd.isna(stamp):
        raise ParameterError(
            f'{name}: "{as_of}" is neither a day (2026-06-30) nor a timestamp '
            "(2026-06-30T12:00:00Z)."
        )
    return stamp


def as_window(window: Any, name: str = "window") -> int:
    """Read a duration that pandas reads ("14d", "30min"), in microseconds.

    Raises ParameterError, about ``name``: it cannot be read, has no unit, or is not positive.

    Examples
    --------
    >>> as_window("30min")
    1800000000
    """
    bare_number = isinstance(window, (int, float)) or re.fullmatch(r"[\s\d.+-]*", str(window))
    try:
        duration = pd.NaT if bare_number else pd.Timedelta(window)
    except (ValueError, TypeError):
        duration = pd.NaT
    if pd.isna(duration):
        raise ParameterError(
            f'{name}: "{window}" is not a duration; write a number with its unit, such as "14d" '
            'or "30min".'
        )
    us = int(duration / pd.Timedelta("1us"))
    if us <= 0:
        raise ParameterError(f'{name}: "{window}" must be longer than nothing.')
    return us


class Binned(str):
    """The name of a column whose numbers are put into bins, which begin at its ``edges``."""

    edges: tuple[float, ...]

    def __new__(cls, name: str, edges: Sequence[float] = ()) -> Binned:
        """A name that remembers the edges."""
        column = super().__new__(cls, name)
        column.edges = tuple(edges)
        return column


def as_columns(by: Any) -> list[str]:
    """Read the names of columns: one, several in a list, or none (None, "" and []).

    A mapping is of columns whose numbers are binned: name -> where each bin but the lowest begins.
    Raises ParameterError: bins that are none.

    Examples
    --------
    >>> as_columns(["plan", {"seats": [1, 10, 50]}])
    ['plan', 'seats']
    """
    columns: list[str] = []
    for given in [by] if isinstance(by, (str, Mapping)) else by or ():
        if isinstance(given, Mapping):
            columns += [_binned(name, edges) for name, edges in given.items()]
        elif given:
            columns.append(given)
    return columns


def _binned(name: str, edges: Any) -> Binned:
    """A column in bins; ParameterError: its edges are no ascending numbers."""
    several = isinstance(edges, Sequence) and not isinstance(edges, str) and len(edges) > 0
    if (
        not several
        or not all(_is_number(edge) for edge in edges)
        or list(edges) != sorted(set(edges))
    ):
        raise ParameterError(
            f'"{name}" is put into bins by {edges!r}; write where they begin, ascending numbers '
            "such as [1, 10, 50]."
        )
    return Binned(name, edges)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def number_meant(written: Any) -> str:
    """The number as which a text may have been meant, as the end of a sentence; "" for none.

    Examples
    --------
    >>> number_meant("12,5 %"), number_meant("1.234,50")
    (' Did you mean 0.125?', ' Did you mean 1234.5?')
    """
    text = re.sub(r"^([A-Z]{3}|[€$£])|([A-Z]{3}|[€$£])$", "", str(written).strip()).strip()
    digits = text.removesuffix("%").strip()
    found: dict[str, None] = {}
    for point, comma in ((".", ","), (",", ".")):
        whole = rf"\d+|\d{{1,3}}([{comma} '\u2019\u00a0\u202f]\d{{3}})+"
        if isinstance(written, str) and re.fullmatch(rf"[+-]?({whole})([{point}]\d+)?", digits):
            number = float(re.sub(rf"[^\d{point}+-]", "", digits).replace(point, "."))
            number = round(number / 100 if text.endswith("%") else number, 12)
            found[f"{number:.12g}"] = None
    return f" Did you mean {' or '.join(found)}?" if found else ""
