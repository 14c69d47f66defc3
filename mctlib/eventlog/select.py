"""How a question becomes the SQL of the rows that it walks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mctlib.contract import ParameterError
from mctlib.eventlog.sql import sql_text
from mctlib.eventlog.steps import MATCHERS, Step
from mctlib.eventlog.vocabulary import Vocabulary, number

WORD = 64  # event names whose bits one number holds


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which rows are walked, and what a kernel wants to know of them.

    ``steps``: a row matches one or more · ``until``: last microsecond · ``by``: columns and
    ``value``: a numeric one, as `EventLog.reduce` takes them.
    """

    steps: Sequence[Step]
    until: int
    by: Sequence[str] = ()
    value: str | None = None

    def __post_init__(self) -> None:
        if len(self.steps) > MATCHERS:
            raise ParameterError(
                f"{len(self.steps)} steps, exclusions and other matchers are asked for at once; "
                f"{MATCHERS} is the most."
            )


def select(words: Vocabulary, question: Question, *, named: bool = False) -> str:
    """SELECT of a question's rows: user, time, code (the event's), match_0..., dim_0..., value.

    The code tells which of the steps without a filter a row matches; the others have a ``match_``
    column each. Dims that belong to the user are none of the row's. ``named``: the events have
    their names as text too (``e.name``), by which Parquet is filtered before anything is computed.
    """
    columns = ["e.user", "epoch_us(e.timestamp) AS time", "enum_code(e.event) AS code"]
    names: set[str] = set()
    chosen = []
    for i, step in enumerate(question.steps):
        if step.filtered:
            chosen.append(f"({words.condition(step)})")
            columns.append(f"{chosen[-1]} AS match_{i}")
        else:
            names.update(step.names or words.events)
    for i, name in enumerate(question.by):
        column = words.column(name)
        if not column.of_user:
            columns.append(f"{column.sql} AS dim_{i}")
    if question.value:
        columns.append(f"{number(question.value)} AS value")
    names &= set(words.events)
    if named and names:
        chosen.append(f"e.name IN ({', '.join(map(sql_text, sorted(names)))})")
    elif names:
        chosen += _by_code(words.events, names)
    return (
        f"SELECT {', '.join(columns)} FROM {words.rows(question.steps, question.by)} "
        f"WHERE ({' OR '.join(chosen) or 'false'}) "
        f"AND e.timestamp <= make_timestamp({question.until})"
    )


def _by_code(events: Sequence[str], names: Collection[str]) -> list[str]:
    """SQL conditions of which one is true for the events of these names, a bit a name.

    Not IN: with five values or more DuckDB joins them, slowly, and the rows lose their order.
    """
    conditions = []
    for block, first in enumerate(range(0, len(events), WORD)):
        bits = sum(1 << i for i, name in enumerate(events[first : first + WORD]) if name in names)
        chosen = f"({bits}::UBIGINT >> (enum_code(e.event) & {WORD - 1})::UBIGINT) & 1 = 1"
        if len(events) > WORD:
            chosen = f"enum_code(e.event) // {WORD} = {block} AND {chosen}"
        if bits:
            conditions.append(f"({chosen})")
    return conditions
