"""DataFrames in the types of the store, and counts of chunks added up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd

from mctlib.contract import CANONICAL, NO, REQUIRED, YES, DataError, column_type, nearest

Counts = TypeVar("Counts", pd.DataFrame, dict[str, pd.DataFrame])  # a table, or tables by name


def canonical_frame(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The canonical columns of a frame, in the types of the store; of events the others too.

    These become properties. Raises DataError: a required column is missing.
    """
    for column in REQUIRED[table]:
        stands_in = table == "events" and column == "user_id" and "anonymous_id" in frame
        if column not in frame and not stands_in:
            near = nearest(column, frame.columns)
            raise DataError(f'{table} frame: column "{column}" is missing.{near}')
    out = {}
    for column in CANONICAL[table]:
        if column in frame and column != "properties":
            values = _yes_or_no(frame[column]) if column == "consent" else frame[column]
            out[column] = _typed(values, column_type(column))
        if column == "timestamp" and column in out:
            unread = frame[column].where(out[column].isna())
            out["timestamp_raw"] = unread.astype("string")
    extra = [column for column in frame if column not in CANONICAL[table]]
    if table == "events" and (extra or "properties" in frame):
        out["properties"] = _properties(frame, extra)
    return pd.DataFrame(out, index=frame.index)


def _yes_or_no(values: pd.Series) -> pd.Series:
    """Consent in any spelling. Raises DataError: a word is neither, so it may be a refusal."""
    texts = values.astype("string").str.strip().str.lower().replace("", pd.NA)
    meant = texts.str.match(YES).where(texts.str.match(f"{YES}|{NO}"))
    unclear = values[texts.notna() & meant.isna()]
    if len(unclear):
        raise DataError(
            f'people frame: {len(unclear)} of {texts.count()} values of "consent" are neither yes'
            f' nor no, for example "{min(map(str, unclear))}".'
        )
    return meant


def _typed(values: pd.Series, kind: str) -> pd.Series:
    if kind == "TIMESTAMP":
        form = "ISO8601" if values.dtype == object else None
        stamps = pd.to_datetime(values, utc=True, errors="coerce", format=form)
        return stamps.dt.tz_localize(None).astype("datetime64[us]")
    if kind == "DATE":
        return pd.to_datetime(values, errors="coerce").dt.strftime("%Y-%m-%d")
    kinds = {"VARCHAR": "string", "BOOLEAN": "boolean", "DOUBLE": "Float64"}
    return values.convert_dtypes().astype(kinds[kind])


def _properties(frame: pd.DataFrame, extra: list[str]) -> list[str | None]:
    """JSON text of each row's properties (a mapping or JSON text) and its further columns."""
    rows: list[dict[str, Any]] = [{}] * len(frame)
    if extra:
        rows = frame[extra].astype(object).where(frame[extra].notna(), None).to_dict("records")
    given = frame["properties"] if "properties" in frame else [None] * len(frame)
    texts: list[str | None] = []
    for bag, row in zip(given, rows):
        more = {name: value for name, value in row.items() if value is not None}
        if isinstance(bag, str) and bag:
            texts.append(json.dumps(json.loads(bag) | more, default=str) if more else bag)
        else:
            whole = (dict(bag) if isinstance(bag, Mapping) else {}) | more
            texts.append(json.dumps(whole, default=str) if whole else None)
    return texts


def add_up(parts: Iterable[Counts]) -> Counts:
    """One table of the parts: ``n_*`` and ``sum_*`` columns added within equal keys.

    Parts that are several tables by name give one table a name.
    """
    parts = list(parts)
    if isinstance(parts[0], dict):
        return {name: add_up(part[name] for part in parts) for name in parts[0]}
    frame = pd.concat(parts, ignore_index=True)
    keys = [c for c in frame if not c.startswith(("n_", "sum_"))]
    if not keys:
        return frame.sum().to_frame().T
    return frame.groupby(keys, as_index=False, dropna=False, sort=True, observed=True).sum()


def in_utc(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with these columns marked as UTC."""
    return frame.assign(**{c: frame[c].dt.tz_localize("UTC") for c in columns})
