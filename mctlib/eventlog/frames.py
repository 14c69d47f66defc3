"""DataFrames in the types of the store, and counts of chunks added up."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import duckdb
import pandas as pd

from mctlib.contract import CANONICAL, NO, REQUIRED, YES, DataError, column_type, nearest
from mctlib.eventlog.ids import JOINING

Counts = TypeVar("Counts", pd.DataFrame, dict[str, pd.DataFrame])  # a table, or tables by name


def register(
    con: duckdb.DuckDBPyConnection, tables: Mapping[str, pd.DataFrame]
) -> dict[str, list[tuple[str, str]]]:
    """Give the frames to a connection, as sources of `fill`.

    Who refuses in a row of another table is one of people, of whom nothing is kept.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for table, frame in tables.items():
        con.register(f"frame_{table}", canonical_frame(frame, table))
        found.setdefault(table, []).append((f"{table} frame", f"SELECT * FROM frame_{table}"))
        ids = [column for column in ("user_id", "anonymous_id") if column in frame]
        if "consent" in frame and "consent" not in CANONICAL[table] and ids:
            said = frame[ids].bfill(axis=1).iloc[:, 0]
            refused = _yes_or_no(frame["consent"], table).eq(False).fillna(False)
            people = pd.DataFrame({"user_id": said[refused].unique(), "consent": False})
            con.register(f"refused_{table}", canonical_frame(people, "people"))
            select = f"SELECT * FROM refused_{table}"
            found.setdefault("people", []).append((f"{table} frame", select))
    return found


def canonical_frame(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The canonical columns of a frame, in the types of the store.

    The others of events and people become properties; ``unread`` tells rows of events whose
    properties are no JSON object. Raises DataError: a required column is missing, an amount is no
    number.
    """
    for column in REQUIRED[table]:
        stands_in = table == "events" and column == "user_id" and "anonymous_id" in frame
        if column not in frame and not stands_in:
            near = nearest(column, frame.columns)
            raise DataError(f'{table} frame: column "{column}" is missing.{near}')
    out = {}
    for column in CANONICAL[table]:
        if column in frame and column != "properties":
            out[column] = _read(frame[column], table, column)
        if column == "timestamp" and column in out:
            unread = frame[column].where(out[column].isna())
            out["timestamp_raw"] = unread.astype("string")
    extra = [column for column in frame if column not in CANONICAL[table]]
    if "properties" in CANONICAL[table] and (extra or "properties" in frame):
        out["properties"], unreadable = _properties(frame, extra)
        if table == "events":
            out["unread"] = unreadable
    return pd.DataFrame(out, index=frame.index)


def _read(values: pd.Series, table: str, column: str) -> pd.Series:
    kind = column_type(column)
    if column == "consent":
        values = _yes_or_no(values, table)
    if kind == "DOUBLE":
        _check_amounts(values, f'{table} frame: "{column}"')
    if column in JOINING and values.dtype.kind == "f":
        values = values.map(repr, na_action="ignore")  # 1e+17, not digits
    return _typed(values, kind)


def _check_amounts(values: pd.Series, where: str) -> None:
    """Raise DataError where one is no number; pandas would also read inf and 1_000."""
    numbers = pd.to_numeric(values, errors="coerce").astype("Float64")
    wrong = values[values.notna() & ~(numbers.abs() < float("inf")).fillna(False)]
    if len(wrong):
        raise DataError(f'{where} holds "{wrong.iloc[0]}", which is no number like 1234.50.')


def _yes_or_no(values: pd.Series, table: str) -> pd.Series:
    """Consent in any spelling. Raises DataError: a word is neither, so it may be a refusal."""
    texts = values.astype("string").str.strip().str.lower().replace("", pd.NA)
    meant = texts.str.match(YES).where(texts.str.match(f"{YES}|{NO}"))
    unclear = values[texts.notna() & meant.isna()]
    if len(unclear):
        raise DataError(
            f'{table} frame: {len(unclear)} of {texts.count()} values of "consent" are neither yes'
            f' nor no, for example "{min(map(str, unclear))}".'
        )
    return meant


def _typed(values: pd.Series, kind: str) -> pd.Series:
    if kind == "TIMESTAMP":
        text = values.dtype == object
        form = "ISO8601" if text else None
        stamps = pd.to_datetime(values, utc=True, errors="coerce", format=form, cache=text)
        return stamps.dt.tz_localize(None).astype("datetime64[us]")
    if kind == "DATE":
        return pd.to_datetime(values, errors="coerce").dt.strftime("%Y-%m-%d")
    kinds = {"VARCHAR": "string", "BOOLEAN": "boolean", "DOUBLE": "Float64"}
    return values.convert_dtypes().astype(kinds[kind])


def _properties(frame: pd.DataFrame, extra: list[str]) -> tuple[list[str | None], Any]:
    """JSON text of each row's properties (a mapping or JSON text) and its further columns.

    And "true" for the rows whose text is no JSON object.
    """
    rows: list[dict[str, Any]] = [{}] * len(frame)
    if extra:
        rows = frame[extra].astype(object).where(frame[extra].notna(), None).to_dict("records")
    given = frame["properties"] if "properties" in frame else [None] * len(frame)
    read = cache(_object)
    texts: list[str | None] = []
    unread: list[str | None] = []
    for bag, row in zip(given, rows):
        is_text = isinstance(bag, str)
        opened = read(bag) if is_text else bag if isinstance(bag, Mapping) else None
        unread.append("true" if is_text and bag and opened is None else None)
        more = {name: value for name, value in row.items() if value is not None}
        if is_text and not more:
            texts.append(bag if opened else None)
            continue
        whole = {**(opened or {}), **more}
        texts.append(json.dumps(whole, default=str) if whole else None)
    return texts, pd.array(unread, dtype="string")


def _object(text: str) -> Any:
    """The JSON object that a text is, None where it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


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
