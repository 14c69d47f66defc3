"""The event log over Spark frames: the cluster groups users, the same kernels walk them there.

pyspark is optional: pip install "mctlib[spark]". Executors need this package and the driver's
Python version.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa

from mctlib.contract import CANONICAL, ParameterError
from mctlib.eventlog import observed, plausible
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import Counts, add_up, canonical_frame
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.parquet import canonical_select, lay_over, load_report, verdict
from mctlib.eventlog.pseudonyms import salt, shown_names
from mctlib.eventlog.reader import InPlaceReader
from mctlib.eventlog.select import Question, select
from mctlib.eventlog.spark_frames import canonical, filled_columns, judged, quoted, type_of
from mctlib.eventlog.steps import ANY, Step
from mctlib.eventlog.store import connect
from mctlib.eventlog.vocabulary import MOST_VALUES, Vocabulary, given
from mctlib.phrases import DAY_US

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GROUP_ROWS = 500_000  # events of the users that one call of a kernel walks
PART = pa.schema([("users", pa.int32()), ("part", pa.binary())])
NO_EVENTS = pa.schema(
    [("user_id", pa.string()), ("event", pa.string()), ("timestamp", pa.timestamp("us"))]
).empty_table()


class SparkLog(EventLog):
    """A log over a Spark frame of events; everything but small tables stays in the cluster.

    Parameters
    ----------
    events : Spark DataFrame
        The canonical columns (`mctlib.contract.CANONICAL`); ``timestamp`` is of a timestamp type,
        without zone UTC.
    columns : mapping, optional
        Canonical column -> the column of ``events``.
    groups : int, optional
        Into how many groups the users are split by a hash; an executor holds one in memory. By
        default about GROUP_ROWS events each.
    name, observed_until, aliases
        As `EventLog.from_parquet` takes them.
    **tables : Spark DataFrame or DataFrame
        people (a Spark frame, one row a user), surveys, backend, spend, timeline, responses: these
        are brought to the driver when they are asked for.

    Raises
    ------
    DataError
        A column is missing or of the wrong type, more than one row in ten wrong in one way.

    Notes
    -----
    It has the methods of `EventLog`, but no journeys. What is left out is what
    `EventLog.from_parquet` leaves out, and every table is, as there, the one that a store gives
    (sums of fractions are added in another order and may differ in the last digits). Users are
    hashed to integers on the executors; ids do not reach the driver but with the tables of users.
    Each question reads the frames anew: cache or store them where they are costly to make.
    """

    def __init__(
        self,
        events: DataFrame,
        *,
        columns: Mapping[str, str] | None = None,
        groups: int | None = None,
        name: str = "spark",
        observed_until: Any = None,
        ignore_case: bool = False,
        aliases: Mapping[str, str] | None = None,
        **tables: Any,
    ) -> None:
        self._beside = given(events, tables)
        people = self._beside.get("people")
        if people is not None:
            people = self._beside["people"] = canonical(people, "people", None, ignore_case)
        events = canonical(events, "events", columns, ignore_case)
        rows, people, met, nobody, self._refused = judged(events, people, name)
        filled = set() if people is None else filled_columns(people)
        tally = _tally(rows)
        if near := _near(rows, tally):
            why = f"{verdict('refused', nobody, near)} AS verdict"
            rows = rows.drop("verdict").selectExpr("*", why)
            tally = _tally(rows)
        shown = shown_names(connect(), tally["event"].dropna())
        renamed: dict[Any, Any] = {name: word for name, word in shown.items() if name != word}
        if renamed:
            rows = rows.replace(renamed, subset=["event"])
            tally = _tally(rows)
        self._events = rows.where("verdict IS NULL").drop("verdict", "refused")
        self._people = people
        self._described = _described(tally)
        load = load_report(name, tally, _known_by_day(tally)) | {
            "n_users": _count_users(self._events, people),
            "observed_until": observed.told(observed_until),
            "aliases": dict(aliases or {}),
            "met": met,
        }
        n_events = load["tables"]["events"]["n_kept"]
        self._groups = groups or max(4, -(-n_events // GROUP_ROWS))
        known = {"people": filled, "events": self._events.columns}
        names = sorted(self._described["event"])
        self._about = _About(load, names, known, salt(), ignore_case)
        con = _laid({}, self._about)
        super().__init__(load, InPlaceReader(con, _ClusterWords(self._about, con, self.counts)))

    def table(self, name: str, columns: Sequence[str] = ()) -> pd.DataFrame:
        """One of the smaller tables, see `EventLog.table`."""
        frame = self._beside.get(name)
        if frame is None:
            return super().table(name, columns)
        if isinstance(frame, pd.DataFrame):
            rows = canonical_frame(frame, name)
        else:
            rows = canonical(frame, name, None, self._about.ignore_case).toArrow()
        told = {}
        if self._refused is not None:
            told["people"] = self._refused.selectExpr("user_id", "false AS consent").toArrow()
        return _group(told | {name: rows}, self._about).table(name, columns)

    @property
    def load(self) -> dict[str, Any]:
        """What was read, kept, rejected for which reason, see `EventLog.load`."""
        events = self._load["tables"]["events"]
        if "n_identical" not in events:
            events["n_identical"], events["n_unread"] = self._n_identical(), self._n_unread()
        return self._load

    def _n_identical(self) -> int:
        from pyspark.sql import functions as f

        rows = self._events
        if "event_id" in rows.columns:
            rows = rows.where("event_id IS NULL")
        kinds = {column: type_of(rows, column) for column in rows.columns}
        # a map has no hash
        told = [f"to_json({c})" if "<" in kind else c for c, kind in kinds.items()]
        alike = f.expr(f"count(*) - count(DISTINCT xxhash64({', '.join(told)}))")
        return int(rows.agg(alike).collect()[0][0])

    def _n_unread(self) -> int:
        # by DuckDB, for Spark reads as JSON what is none
        asked = Question(steps=[Step(ANY, {"properties.any": ANY})], until=self.as_of())
        found = self._each(
            lambda log: pd.DataFrame({"n_unread": [observed.n_unread(log._reader.con)]}), asked
        )
        return int(add_up(found)["n_unread"].iloc[0])

    def describe(self) -> pd.DataFrame:
        """Event, n_events, n_users, first_at, last_at: one row an event, most frequent first."""
        return self._described.copy()

    def sql(self, query: str) -> pd.DataFrame:
        """Raise a ParameterError: the rows stay with Spark."""
        lack = "load them into a store, or read them from Parquet"
        raise ParameterError(f"A question in SQL cannot be asked of a log in Spark; {lack}.")

    def counts(
        self, *, events: Sequence[Any] | None = None, by: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """Count rows and users: event, the ``by`` columns, n_events, n_users."""
        steps = [self.step(e) for e in events or [ANY]]
        question = Question(steps=steps, by=self.columns(by), until=self.as_of())
        return add_up(self._each(lambda log: log.counts(events=steps, by=by), question))

    def reduce(
        self,
        kernel: Callable[[Journeys], Counts],
        *,
        events: Sequence[Any],
        by: str | Sequence[str] = (),
        as_of: Any = None,
        values: str | None = None,
    ) -> Counts:
        """Walk all users in order and add up what a kernel counts, see `EventLog.reduce`."""
        # a group of users knows no plan
        asked = {
            "events": [self.step(e) for e in events],
            "by": by,
            "as_of": as_of,
            "values": values,
        }
        question = self._question(**asked)
        return add_up(self._each(lambda log: log.reduce(kernel, **asked), question))

    def journeys(self, **question: Any) -> Iterator[Journeys]:
        """Not on the driver: `reduce` hands them to a kernel on the executors."""
        raise NotImplementedError(
            "The rows of a SparkLog stay in the cluster; give a kernel to reduce."
        )

    def _each(self, task: Callable[[EventLog], Counts], question: Question) -> list[Counts]:
        """What ``task`` finds in the log of each group of users, in the order of the groups."""
        work = partial(_work, task, self._about)
        rows = self._in_groups(self._rows_for(question))
        kinds = "users int, part binary"
        # users of one account share a bucket
        of_user = {name: None for name in question.by if self.words.column(name).of_user}
        of_user |= dict.fromkeys(self.accounts)
        of_user |= dict.fromkeys(self.words.of_people(question.steps))
        if self._people is not None and of_user:
            people = self._people.select("user_id", *map(quoted, of_user))
            both = rows.cogroup(self._in_groups(people))
            found = both.applyInArrow(lambda key, events, people: work(key, events, people), kinds)
        else:
            found = rows.applyInArrow(lambda key, events: work(key, events), kinds)
        parts = [pickle.loads(row.part) for row in sorted(found.collect())]
        return parts or [task(_group({"events": NO_EVENTS}, self._about))]

    def _rows_for(self, question: Question) -> DataFrame:
        """The rows and columns of events that a question reads."""
        from pyspark.sql import functions as f

        sql = select(self.words, question)
        always = ("user_id", "event", "timestamp")
        columns = [c for c in self._events.columns if c in always or f"e.{c}" in sql]
        rows = self._events.select(*columns)
        if all(step.names for step in question.steps):
            names = {name for step in question.steps for name in step.names}
            rows = rows.where(f.col("event").isin(sorted(names)))
        return rows

    def _in_groups(self, frame: DataFrame) -> Any:
        """A frame's users in their groups."""
        from pyspark.sql import functions as f

        group = f.expr(f"cast(pmod(xxhash64(user_id), {self._groups}) as int)")
        # the number of partitions is said, or few bytes would all go to one executor, however
        # long their walk
        apart = frame.withColumn("users", group).repartition(self._groups, "users")
        return apart.groupBy("users")


@dataclass(frozen=True)
class _About:
    """What every group must know of the whole: the load report, the events, the salt.

    filled: table -> its columns that hold anything.
    """

    load: dict[str, Any]
    names: list[str]
    filled: Mapping[str, Collection[str]]
    salted: str
    ignore_case: bool


class _GroupWords(Vocabulary):
    """The words of the whole log, for one group of its users."""

    def __init__(self, about: _About, con: duckdb.DuckDBPyConnection) -> None:
        super().__init__(about.load["name"], con)
        self._of_whole = about.filled

    def filled(self, table: str, column: str) -> bool:
        return column in self._of_whole[table]

    def has_property(self, key: str) -> bool:
        return False  # the cluster was asked before

    def numbers(self, sql: str, of_user: bool) -> bool:
        return True  # looking is not worth a job on the cluster


class _ClusterWords(_GroupWords):
    """The words of the whole log, looked up in the cluster."""

    def __init__(
        self,
        about: _About,
        con: duckdb.DuckDBPyConnection,
        counts: Callable[..., pd.DataFrame],
    ) -> None:
        super().__init__(about, con)
        self._counts = counts

    def has_property(self, key: str) -> bool:
        return self.occur([Step(ANY, {f"properties.{key}": ANY})])[0]

    def occur(self, steps: Sequence[Step]) -> list[bool]:
        return [not self._counts(events=[step]).empty for step in steps]

    def values_of(self, step: Step, key: str) -> list[str]:
        found = self._counts(events=[Step(step.event, {key: ANY})], by=self.meant(key))
        often = found.groupby(found.columns[1])["n_events"].sum().sort_values(ascending=False)
        return list(often.index[:MOST_VALUES])

    def values(self, name: str) -> set[str]:
        return set(self._counts(by=name).iloc[:, 1])


def _group(tables: Mapping[str, Any], about: _About) -> EventLog:
    """The log of some users, on an executor."""
    con = _laid(tables, about)
    return EventLog(about.load, InPlaceReader(con, _GroupWords(about, con)))


def _work(
    task: Callable[[EventLog], Counts],
    about: _About,
    key: tuple[Any, ...],
    events: pa.Table,
    people: pa.Table | None = None,
) -> pa.Table:
    """One group's part of the answer; a group without events has none."""
    tables = {"events": events} | ({} if people is None else {"people": people})
    parts = [pickle.dumps(task(_group(tables, about)))] if events.num_rows else []
    users = pa.array([key[0].as_py()] * len(parts), pa.int32())
    return pa.table([users, pa.array(parts, pa.binary())], schema=PART)


def _laid(tables: Mapping[str, Any], about: _About) -> duckdb.DuckDBPyConnection:
    """The tables of a store over Arrow or pandas ones; a user has one number in all of them."""
    con = connect()
    con.execute("SET threads = 1")  # the cluster runs as many groups at once as it has cores
    selects = {}
    for table, rows in tables.items():
        con.register("given", rows)
        con.execute(f"CREATE TABLE arrow_{table} AS FROM given")
        selects[table] = canonical_select(con, f"arrow_{table}", table, label=f"{table} frame")
    lay_over(
        con,
        selects,
        salted=about.salted,
        names=about.names,
        own=set(about.filled["people"]) - set(CANONICAL["people"]),
        ignore_case=about.ignore_case,
    )
    return con


def _near(rows: DataFrame, tally: pd.DataFrame) -> tuple[date, date] | None:
    """See `plausible.near`."""
    kept = tally[tally["verdict"].isna()]
    if kept.empty:
        return None
    first, last = pd.to_datetime([kept["first_at"].min(), kept["last_at"].max()], unit="us")
    if first + plausible.FAR >= last:
        return None
    days = rows.where("verdict IS NULL").selectExpr("cast(timestamp AS date) AS day")
    return plausible.near_the_middle(map(tuple, days.groupBy("day").count().collect()))


def _tally(rows: DataFrame) -> pd.DataFrame:
    """What `load_report` counts, the users of each event, and how far past midnight it happens."""
    from pyspark.sql import functions as f

    us = "timestampdiff(MICROSECOND, TIMESTAMP_NTZ '1970-01-01', timestamp)"
    if type_of(rows, "timestamp") == "timestamp":
        us = "unix_micros(timestamp)"
    counted = rows.groupBy("event", "verdict").agg(
        f.count("*").alias("n_events"),
        f.countDistinct("user_id").alias("n_users"),
        f.min(f.expr(us)).alias("first_at"),
        f.max(f.expr(us)).alias("last_at"),
        f.max(f.expr(f"pmod({us}, {DAY_US})")).alias("past_midnight"),
    )
    return counted.toArrow().to_pandas()


def _known_by_day(tally: pd.DataFrame) -> dict[str, list[str]]:
    """See `days.known_by_day`."""
    kept = tally[tally["verdict"].isna()]
    return (
        {} if kept["past_midnight"].any() else {event: ["UTC"] for event in sorted(kept["event"])}
    )


def _described(tally: pd.DataFrame) -> pd.DataFrame:
    kept = tally[tally["verdict"].isna()].drop(columns=["verdict", "past_midnight"])
    kept = kept.sort_values(["n_events", "event"], ascending=[False, True], ignore_index=True)
    for column in ("first_at", "last_at"):
        times = pd.to_datetime(kept[column].astype("int64"), unit="us", utc=True)
        kept[column] = times.dt.as_unit("us")
    return kept


def _count_users(events: DataFrame, people: DataFrame | None) -> int:
    users = events.select("user_id")
    if people is not None:
        users = users.union(people.where("user_id <> ''").select("user_id"))
    return users.distinct().count()
