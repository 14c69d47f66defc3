"""Spark frames as the tables of a log: canonical columns, ids written alike, rows judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from mctlib.contract import NO, YES, DataError
from mctlib.eventlog.ids import JOINING, are_integers, rewritten, suspects
from mctlib.eventlog.meeting import check_meeting, meeting
from mctlib.eventlog.own_columns import own_name
from mctlib.eventlog.parquet import headers, verdict

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def canonical(
    frame: DataFrame,
    table: str,
    columns: Mapping[str, str] | None = None,
    ignore_case: bool = False,
) -> DataFrame:
    """The canonical columns that a frame has, and people's own ones.

    Raises DataError: a required one is missing, a time is none.
    """
    from pyspark.sql import functions as f

    found = headers(table, frame.columns, columns, f"{table} frame")
    kinds = {"event": "string", "consent": "boolean", **dict.fromkeys(JOINING, "string")}
    chosen = []
    for column, header in found.items():
        kind = type_of(frame, header)
        is_time = column == "timestamp" or column.endswith("_at")
        if is_time and kind not in ("timestamp", "timestamp_ntz"):
            raise DataError(
                f'{table} frame: "{header}" holds {kind}, not timestamps; '
                "convert it with to_timestamp."
            )
        values = f.col(quoted(header))
        if column == "consent" and kind != "boolean":
            values = f.expr(_yes_or_no(quoted(header)))
        elif column in kinds:
            values = values.cast(kinds[column])
        if column in JOINING and kind in ("double", "float"):
            # cast at once, 10 million would be 1.0E7
            x = quoted(header)
            digits = f"string(cast({x} AS decimal(38, 0)))"
            whole = f"abs({x}) < 1e15 AND {x} % 1 = 0"
            values = f.expr(f"CASE WHEN {whole} THEN {digits} ELSE string({x}) END")
        chosen.append(values.alias(column))
    if table == "people":
        others = [header for header in frame.columns if header not in found.values()]
        chosen += [
            f.col(quoted(header)).cast("string").alias(own_name(header)) for header in others
        ]
    # not by `normal`: Spark compiles an expression anew wherever it stands
    alike = {column: f.expr(rewritten(column)) for column in found if column in JOINING}
    if ignore_case:
        alike |= {column: f.lower(alike[column]) for column in alike if column != "partner_id"}
    return frame.select(*chosen).withColumns(alike)


def _yes_or_no(column: str) -> str:
    """See `pseudonyms.yes_or_no`; in Spark's SQL."""
    said = f"lower(trim(cast({column} as string)))"
    fault = f"concat('people frame: the consent \"', {said}, '\" is neither yes nor no.')"
    return f"""CASE WHEN {said} rlike r'^{YES}' THEN true WHEN {said} rlike r'^{NO}' THEN false
        WHEN {said} <> '' THEN raise_error({fault}) END"""


def quoted(column: str) -> str:
    """SQL of a column's name."""
    return "`" + column.replace("`", "``") + "`"


def type_of(frame: DataFrame, column: str) -> str:
    """The type of a column."""
    return frame.schema[column].dataType.simpleString()


class Judged(NamedTuple):
    """Rows of events with the reason why one is left out (``verdict``), people who may stay.

    nobody: SQL that is true for impossible ids. refused: who said no at least once.
    """

    rows: DataFrame
    people: DataFrame | None
    met: dict[str, dict[str, int]]
    nobody: str
    refused: DataFrame | None


def judged(rows: DataFrame, people: DataFrame | None, name: str) -> Judged:
    """What becomes of the rows, and who meets whom (see `meeting`).

    Raises DataError: nobody of people has an event.
    """
    from pyspark.sql import functions as f

    def ask(sql: str) -> list[Any]:
        return list(rows.sparkSession.sql(sql).collect())

    rows.createOrReplaceTempView("mctlib_events")
    zero = not are_integers(ask, "user_id", ["mctlib_events"])
    nobody = f"({' OR '.join(suspects('user_id', zero=zero))})"
    verdicts = f.expr(verdict("refused", nobody))
    if people is None:
        rows = rows.withColumn("refused", f.lit(False))
        return Judged(rows.withColumn("verdict", verdicts), None, {}, nobody, None)
    people = people.where(f"NOT {nobody}")
    rows.where(f"NOT {nobody}").createOrReplaceTempView("mctlib_events")
    people.createOrReplaceTempView("mctlib_people")
    check_meeting(ask, name, "mctlib_people", "mctlib_events")
    refused = None
    if "consent" in people.columns:
        refused = people.where("consent = false").select("user_id").distinct()
        rows = rows.join(refused.withColumn("refused", f.lit(True)), "user_id", "left")
        people = people.join(refused, "user_id", "left_anti")
        people.createOrReplaceTempView("mctlib_people")
        rows.where(f"refused IS NULL AND NOT {nobody}").createOrReplaceTempView("mctlib_events")
    else:
        rows = rows.withColumn("refused", f.lit(False))
    met = meeting(ask, {"people": "mctlib_people"}, "mctlib_events", "user_id")
    return Judged(rows.withColumn("verdict", verdicts), people, met, nobody, refused)


def filled_columns(people: DataFrame) -> set[str]:
    """The columns that hold anything."""
    from pyspark.sql import functions as f

    counts = [
        f.expr(f"count(nullif(cast({quoted(c)} as string), ''))").alias(c) for c in people.columns
    ]
    found = people.agg(*counts).collect()[0]
    return {c for c in people.columns if found[c]}
