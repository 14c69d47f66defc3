"""The event log over Spark frames: the cluster selects and groups users, the same kernels walk them there, small tables come back.

pyspark is optional: pip install "mctlib[spark]". Executors need this package and the driver's Python version.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from mctlib.contract import DataError, as_columns
from mctlib.eventlog.event_log import Counts, EventLog, OverlayLog, add_up
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.parquet import canonical_select, headers, lay_over, load_report, verdict
from mctlib.eventlog.steps import ANY, Step, as_step
from mctlib.eventlog.store import connect, salt

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GROUP_ROWS = 500_000  # events of the users that one call of a kernel walks
PART = pa.schema([("users", pa.int32()), ("part", pa.binary())])
NO_EVENTS = pa.schema(
    [("user_id", pa.string()), ("event", pa.string()), ("timestamp", pa.timestamp("us"))]
).empty_table()


class SparkLog(EventLog):
    """A log over a Spark frame of events, with the methods of `EventLog`; everything but small tables stays in the cluster.

    ``events`` has the canonical columns (`CANONICAL`), or ``columns`` maps them to its own; ``timestamp`` is of a timestamp type (without zone: UTC).
    ``people``: a Spark frame, one row a user. The other tables: Spark frames or pandas frames, brought to the driver when they are asked for.
    Rows without user, event or time, of users without consent, or from the future are left out and counted in `load`. Nothing is stitched or
    de-duplicated: ``user_id`` must be final and ``event_id`` is not looked at; where that is done already, every table is the one that the store gives
    (counts exactly; sums of fractions are added in another order and may differ in the last digits).

    Users are hashed to integers on the executors; ids do not reach the driver but with the tables of users. Users are split in ``groups`` by a hash;
    an executor holds one group in memory (None: about GROUP_ROWS events each). Each question reads the frames anew: cache or store them where they are
    costly to make. Raises DataError: a column is missing or of the wrong type, more than one row in ten wrong in one way.
    """

    def __init__(
        self,
        events: DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        people: DataFrame | None = None,
        surveys: Any = None,
        backend: Any = None,
        spend: Any = None,
        timeline: Any = None,
        responses: Any = None,
        groups: int | None = None,
        name: str = "spark",
    ) -> None:
        from pyspark.sql import functions as f

        self._people = None if people is None else _canonical(people, "people")
        self._tables = {
            "people": self._people,
            "surveys": surveys,
            "backend": backend,
            "spend": spend,
            "timeline": timeline,
            "responses": responses,
        }
        rows = _canonical(events, "events", columns).withColumn("refused", f.lit(False))
        known: set[str] = set()
        if self._people is not None:
            if "consent" in self._people.columns:
                refused = self._people.where("consent = false").select("user_id").distinct()
                rows = rows.drop("refused").join(
                    refused.withColumn("refused", f.lit(True)), "user_id", "left"
                )
                self._people = self._people.where("coalesce(consent, true)")
            filled = self._people.agg(
                *(
                    f.expr(f"count(nullif(cast({c} as string), ''))").alias(c)
                    for c in self._people.columns
                )
            ).first()
            known = {c for c in self._people.columns if filled[c]}
        rows = rows.withColumn("verdict", f.expr(verdict("refused")))
        zoned = _type(rows, "timestamp") == "timestamp"
        us = f.expr(
            "unix_micros(timestamp)"
            if zoned
            else "timestampdiff(MICROSECOND, TIMESTAMP_NTZ '1970-01-01', timestamp)"
        )
        tally = (
            rows.groupBy("event", "verdict")
            .agg(
                f.count("*").alias("n_events"),
                f.countDistinct("user_id").alias("n_users"),
                f.min(us).alias("first_at"),
                f.max(us).alias("last_at"),
            )
            .toArrow()
            .to_pandas()
        )
        self._events = rows.where("verdict IS NULL").drop("verdict", "refused")
        users = self._events.select("user_id")
        n_users = (
            (
                users
                if self._people is None
                else users.union(self._people.where("user_id <> ''").select("user_id"))
            )
            .distinct()
            .count()
        )
        kept = tally[tally["verdict"].isna()].sort_values(
            ["n_events", "event"], ascending=[False, True], ignore_index=True
        )
        self._described = kept.drop(columns="verdict").assign(
            **{
                c: pd.to_datetime(kept[c].astype("int64"), unit="us", utc=True).dt.as_unit("us")
                for c in ("first_at", "last_at")
            }
        )
        self._report = load_report(name, tally) | {"n_users": n_users}
        self.name = name
        self.first_event, self.last_event = (
            pd.Timestamp(self._report[k]).tz_localize("UTC") for k in ("first_event", "last_event")
        )
        self.event_names = sorted(kept["event"])
        self._groups = groups or max(4, -(-self.load["tables"]["events"]["n_kept"] // GROUP_ROWS))
        self._about = _About(self.load, self.event_names, known, salt())

    def table(self, name: str) -> pd.DataFrame:
        frame = self._tables.get(name)
        if frame is not None:
            frame = (
                canonical_frame(frame, name)
                if isinstance(frame, pd.DataFrame)
                else _canonical(frame, name).toArrow()
            )
        self._con = _laid({name: frame} if frame is not None else {}, self._about)
        return super().table(name)

    def describe(self) -> pd.DataFrame:
        return self._described.copy()

    def counts(
        self, *, events: Sequence[Any] | None = None, by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        by = as_columns(by)
        steps = [as_step(e) for e in events or [ANY]]
        return add_up(self._each(lambda log: log.counts(events=events, by=by), steps, by))

    def reduce(
        self,
        kernel: Callable[[Journeys], Counts],
        *,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Counts:
        question = {
            "events": [as_step(e) for e in events],
            "by": as_columns(by, ids=True),
            "as_of": as_of,
            "values": values,
        }
        self.as_of(as_of)  # refused here rather than on the executors
        return add_up(
            self._each(
                lambda log: log.reduce(kernel, **question),
                question["events"],
                question["by"],
                values,
            )
        )

    def journeys(self, **question: Any) -> Iterator[Journeys]:
        """Not on the driver: `reduce` hands them to a kernel on the executors."""
        raise NotImplementedError(
            "The rows of a SparkLog stay in the cluster; give a kernel to reduce."
        )

    def _each(
        self,
        task: Callable[[EventLog], Counts],
        steps: Sequence[Any],
        by: Sequence[str],
        values: str | None = None,
    ) -> list[Counts]:
        """What ``task`` finds in the log of each group of users, in the order of the groups."""
        from pyspark.sql import functions as f

        sql = self._select(steps, by, values) + " " + " ".join(self._column(b)[0] for b in by)
        group = f.expr(f"cast(pmod(xxhash64(user_id), {self._groups}) as int)").alias("users")
        rows = self._events.select(
            *(
                c
                for c in self._events.columns
                if c in ("user_id", "event", "timestamp") or f"e.{c}" in sql
            ),
            group,
        )
        if all(s.names for s in steps):
            rows = rows.where(f.col("event").isin(sorted({n for s in steps for n in s.names})))
        # the number of partitions is said, or few bytes would all go to one executor, however long their walk
        apart = lambda frame: frame.repartition(self._groups, "users").groupBy("users")  # noqa: E731
        work, kinds = partial(_work, task, self._about), "users int, part binary"
        if of_user := list(
            dict.fromkeys([*(b for b in by if self._column(b)[1]), *self.accounts])
        ):  # users of one account share a bucket
            both = apart(rows).cogroup(apart(self._people.select("user_id", *of_user, group)))
            found = both.applyInArrow(lambda key, events, people: work(key, events, people), kinds)
        else:
            found = apart(rows).applyInArrow(lambda key, events: work(key, events), kinds)
        parts = [pickle.loads(row.part) for row in sorted(found.collect())]
        return parts or [task(_Group(NO_EVENTS, None, self._about))]

    def _values(self, column: str) -> set[str]:
        return set(self.counts(by=column).iloc[:, 1])

    def _occurs(self, step: Step) -> bool:
        return not self.counts(events=[step]).empty

    def _near(self, step: Step) -> str:
        return ""  # a word of help is not worth a job on the cluster

    def _property_keys(self) -> list[str]:
        return []

    def _filled(self, table: str, column: str) -> bool:
        return column in (self._about.filled if table == "people" else self._events.columns)


@dataclass(frozen=True)
class _About:
    """What every group must know of the whole: the load report, the events, the columns of people that hold anything, the salt."""

    load: dict
    names: list[str]
    filled: set[str]
    salted: str


class _Group(OverlayLog):
    """The log of some users, on an executor."""

    def __init__(self, events: pa.Table, people: pa.Table | None, about: _About) -> None:
        super().__init__(
            _laid({"events": events} | ({} if people is None else {"people": people}), about),
            about.load,
        )
        self._about = about

    def _filled(self, table: str, column: str) -> bool:
        return column in self._about.filled


def _work(
    task: Callable[[EventLog], Counts],
    about: _About,
    key: tuple,
    events: pa.Table,
    people: pa.Table | None = None,
) -> pa.Table:
    """One group's part of the answer; a group without events has none."""
    parts = [pickle.dumps(task(_Group(events, people, about)))] if events.num_rows else []
    return pa.table(
        [pa.array([key[0].as_py()] * len(parts), pa.int32()), pa.array(parts, pa.binary())],
        schema=PART,
    )


def _laid(tables: Mapping[str, Any], about: _About) -> duckdb.DuckDBPyConnection:
    """The tables of a store over Arrow or pandas ones; a user has one number in every group and table."""
    con = connect()
    con.execute("SET threads = 1")  # the cluster runs as many groups at once as it has cores
    selects = {}
    for table, rows in tables.items():
        con.register("given", rows)
        con.execute(f"CREATE TABLE arrow_{table} AS FROM given")
        selects[table] = canonical_select(con, f"arrow_{table}", table, label=f"{table} frame")
    lay_over(con, selects, salted=about.salted, names=about.names)
    return con


def _canonical(frame: DataFrame, table: str, columns: Mapping[str, str] | None = None) -> DataFrame:
    """The canonical columns that a frame has. Raises DataError: a required one is missing, a time is none."""
    from pyspark.sql import functions as f

    found = headers(table, frame.columns, columns, f"{table} frame")
    for column in found:
        if (column == "timestamp" or column.endswith("_at")) and _type(
            frame, found[column]
        ) not in ("timestamp", "timestamp_ntz"):
            raise DataError(
                f'{table} frame: "{found[column]}" holds {_type(frame, found[column])}, not timestamps; convert it with to_timestamp.'
            )
    quote = lambda c: f.col("`" + c.replace("`", "``") + "`")  # noqa: E731
    kinds = {"user_id": "string", "event": "string", "consent": "boolean"}
    return frame.select(
        *(
            (quote(header).cast(kinds[c]) if c in kinds else quote(header)).alias(c)
            for c, header in found.items()
        )
    )


def _type(frame: DataFrame, column: str) -> str:
    return frame.schema[column].dataType.simpleString()
