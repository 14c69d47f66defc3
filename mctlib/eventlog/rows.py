"""What a database gives, as the arrays that kernels walk: in order, of fixed types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mctlib.contract import MISSING
from mctlib.eventlog.steps import ANY, Step

Array = NDArray[Any]


@dataclass(frozen=True)
class Rows:
    """Rows by user, time and event: what every question asks as arrays, the rest in ``table``.

    user, time: int64 (microseconds since 1970, UTC) · mask: which steps the row matches.
    """

    user: Array
    time: Array
    mask: Array
    table: pa.Table


def in_order(table: pa.Table, steps: Sequence[Step], bits: Array) -> Rows:
    """The rows of a SELECT (see `select.select`) by user, time and event.

    ``bits``: the steps' `bits_of_names`; what a filter matches was said by SQL.

    They lie so in the store, and come so unless a plan of DuckDB's mixes them: looking is cheaper
    than sorting.
    """
    user, time = array(table["user"], np.int64), array(table["time"], np.int64)
    code = table["code"].to_numpy()
    if _lie_in_order(user, time, code):
        return Rows(user, time, _masks(code, table, steps, bits), table)
    order = np.lexsort((code, time, user))
    table = table.take(order)
    return Rows(user[order], time[order], _masks(code[order], table, steps, bits), table)


def _lie_in_order(user: Array, time: Array, code: Array) -> bool:
    same_user = user[1:] == user[:-1]
    later = (user[1:] > user[:-1]) | same_user & (time[1:] > time[:-1])
    rest = np.flatnonzero(~later)
    same_moment = same_user[rest] & (time[rest + 1] == time[rest])
    return bool((same_moment & (code[rest + 1] >= code[rest])).all())


def array(column: pa.ChunkedArray, kind: Any) -> Array:
    """The values of a column without gaps: contiguous, and not shared, so that it may be written.

    Compiled kernels are made for such arrays; Arrow's own may only be read. Missing is NaN.
    """
    out = np.empty(len(column), kind)
    if len(column):
        chunks = [chunk.to_numpy(zero_copy_only=False) for chunk in column.chunks]
        np.concatenate(chunks, out=out)
    return out


def bits_of_names(steps: Sequence[Step], names: Sequence[str]) -> Array:
    """For each event name, which of the steps without a filter it matches: bit i for step i.

    The smallest unsigned integers that have a bit for every step.
    """
    bits = np.zeros(len(names), np.min_scalar_type((1 << len(steps)) - 1))
    for i, step in enumerate(steps):
        if not step.filtered:
            means = np.array([step.event is ANY or name in step.names for name in names], bool)
            bits[means] |= bits.dtype.type(1 << i)
    return bits


def _masks(code: Array, table: pa.Table, steps: Sequence[Step], bits: Array) -> Array:
    mask = bits.take(code)
    for i, step in enumerate(steps):
        if step.filtered:
            matches = table[f"match_{i}"].to_numpy()
            mask |= matches.astype(mask.dtype) << mask.dtype.type(i)
    return mask


def codes_of(column: pa.ChunkedArray) -> tuple[Array, list[str]]:
    """A column's values as int64 codes, and their labels in alphabetical order.

    Empty values are MISSING.
    """
    if not pa.types.is_dictionary(column.type):
        # what is no text is encoded first, since there are fewer words than rows; of no rows, days
        # in a dictionary have no text
        column = (column if len(column) else column.cast(pa.string())).dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    words = encoded.dictionary.cast(pa.string()).dictionary_encode()  # values may read alike
    names = [*(text or MISSING for text in words.dictionary.to_pylist()), MISSING]
    none = len(names) - 1
    name = np.append(words.indices.fill_null(none), none)  # of each value, and of an empty one
    place = encoded.indices.fill_null(len(name) - 1).to_numpy(zero_copy_only=False)
    present = np.bincount(place, minlength=len(name)) > 0
    labels = sorted({names[i] for i in np.unique(name[present])})
    code_of_label = {label: code for code, label in enumerate(labels)}
    codes = np.array([code_of_label.get(text, 0) for text in names], np.int64)
    return codes[name][place], labels
