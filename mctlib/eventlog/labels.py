"""What a tracking plan calls the values of a column: the labels of its segments of one value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mctlib.contract import BETWEEN, as_columns
from mctlib.eventlog.filters import condition, spelt
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.steps import Step

# by these the plan and the timeline speak of tracking; they have words of their own
AS_WRITTEN = ("platform", "app_version")

Segments = Mapping[str, Step]


def of_values(segments: Segments, column: str) -> dict[str, str]:
    """Value -> label, of the segments that are one value of the column and nothing else.

    A key that says where the column is ("event.channel") asks for what stands there.
    """
    found = {}
    for segment in segments.values():
        (key, value), *more = segment.where.items()
        alone = not more and isinstance(value, (str, bool, int, float))
        if alone and key.removeprefix("people.") == column and column not in AS_WRITTEN:
            found[spelt(value)] = segment.label
    return found


def sql_of(column: str, labels: Mapping[str, str]) -> str:
    """SQL of a column in which values are called by their labels."""
    if not labels:
        return column
    text = f"{column}::VARCHAR"
    cases = [f"WHEN {condition(text, v)} THEN {sql_text(label)}" for v, label in labels.items()]
    return f"CASE {' '.join(cases)} ELSE {text} END"


def named(segments: Segments, by: Any, asked: Any) -> Any:
    """Segments of ``by`` as tables name them, one or several, where their values are given."""
    labels = [of_values(segments, column) for column in as_columns(by)]

    def one(word: Any) -> Any:
        parts = str(word).split(BETWEEN)
        if len(parts) != len(labels):
            return word
        return BETWEEN.join(known.get(part, part) for known, part in zip(labels, parts))

    if isinstance(asked, Mapping):
        return {one(word): value for word, value in asked.items()}
    if isinstance(asked, (list, tuple)):
        return [one(word) for word in asked]
    return one(asked) if asked else asked
