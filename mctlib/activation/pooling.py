"""Segments that become one: those of a reference, small ones, and ones of too few users to tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mctlib.activation.survival_groups import FEW_ACTIVATIONS
from mctlib.contract import ParameterError, nearest
from mctlib.results import TIME, together

POOLED = "all others"  # a reference made of several segments: whatever is not shown on its own


class Names(NamedTuple):
    """Under which names segments are told that become one."""

    sizes: pd.Series  # users by segment, before
    joined: dict[str, str]  # those of too few users, and with whom; see `together`
    told: dict[str, str]  # all of them


def pool(
    ended: pd.DataFrame, by: Sequence[str], reference: str | Sequence[str] | None
) -> tuple[Names, str, list[str]]:
    """New names of segments that become one, the reference's name, and which were small.

    A list of reference segments becomes one, and so do two or more small ones (`expected`).
    """
    size = ended.groupby("segment")["n_users"].sum()
    hits = ended[ended["outcome"] == "activated"].groupby("segment")["n_users"].sum()
    hits = hits.reindex(size.index, fill_value=0)
    one = [reference] if isinstance(reference, str) else list(reference or [])
    for label in one:
        if label not in size.index:
            there = f"; there are {', '.join(size.index[:20])}." if by else ' without "by".'
            near = nearest(label, list(size.index))
            raise ParameterError(f'reference: no segment is called "{label}"{there}{near}')
    one_name = {} if isinstance(reference, str) else dict.fromkeys(one, POOLED)
    name = size.index[size.argmax()]
    if one:
        name = POOLED if one_name else one[0]
    told = {segment: one_name.get(segment, segment) for segment in size.index}
    key = " · ".join(by)
    joined = together(_sums(size, told), key) if key in TIME else {}
    told, name = _renamed(told, joined), joined.get(name, name)
    activations = expected(_sums(hits, told), _sums(size, told), hits.sum() / size.sum())
    small = [s for s in activations.index if activations[s] < FEW_ACTIVATIONS and s != name]
    small = small if len(small) > 1 else []
    told = _renamed(told, dict.fromkeys(small, f"small cohorts ({len(small)})"))
    if key not in TIME:
        joined = together(_sums(size, told), key, keep=[name])
        told, name = _renamed(told, joined), joined.get(name, name)
    return Names(size, joined, told), name, small


def _sums(users: pd.Series, told: dict[str, str]) -> pd.Series:
    """Users under the names told."""
    return users.groupby(list(told.values())).sum()


def _renamed(told: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """The names told, some of them by other names."""
    return {segment: names.get(name, name) for segment, name in told.items()}


def expected(n_activated: Any, n_users: Any, rate: float) -> Any:
    """Activations that a segment has, or would have at everybody's rate.

    By those alone a segment in which hardly anybody activates would be too small to be told of.
    """
    return np.maximum(n_activated, n_users * rate)
