"""Export files as one staged table, and the one SELECT that turns it into a canonical table.

`readers` says which column of which tool fills which canonical column.
"""

import dataclasses
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from mctlib.contract import (
    CANONICAL,
    DAYS,
    IDS,
    REQUIRED,
    DataError,
    Mistakes,
    column_type,
    nearest,
)
from mctlib.eventlog.personal import NEVER_HASHED, refuses_by_yes
from mctlib.eventlog.pseudonyms import masked
from mctlib.eventlog.rejecting import FAULTY_SHARE
from mctlib.eventlog.sql import sql_name, sql_path, sql_text
from mctlib.sources.amounts import AmountColumn
from mctlib.sources.files import (
    AS_TIME,
    File,
    blank,
    let_in,
    listed,
    one_sentence,
    plain,
    rows_inside,
    scan,
)
from mctlib.sources.properties import rest, spaced
from mctlib.sources.times import TimeColumn, joined, put

KEPT = " Every other column is kept by its own name: leave it out."
# Columns of a tool's export that hold JSON, and of which kind; others are read as they are.
KINDS = {
    "properties": "OBJECT",
    "event_properties": "OBJECT",
    "user_properties": "OBJECT",
    "unstruct_event": "OBJECT",
    "event_params": "ARRAY",
}


@dataclass
class Stage:
    """Files of one kind as one table of text columns, of Parquet a view.

    `get` is how a reader names what it uses; the rest goes to `properties`. columns: the YAML's
    map, canonical column -> header. clocks: of times whose day and clock stand apart, canonical
    column -> header of the clock. timezone: of times that carry none. formats: of `date_format`.
    decimal, refunds: of amounts, see `Source`. wall_clock: the time column whose counts since 1970
    follow that zone's clock instead of UTC. hash: columns to be hashed. allowed: columns that are
    read; None: all. may_be_empty: as a timeline that was begun and holds nothing yet.
    """

    con: duckdb.DuckDBPyConnection
    files: list[File]
    table: str
    columns: dict[str, str]
    timezone: str | None = None
    formats: list[str] = field(default_factory=list)
    clocks: dict[str, str] = field(default_factory=dict)
    decimal: str | None = None
    refunds: bool = False
    wall_clock: str = ""
    hash: Sequence[str] = ()
    allowed: Sequence[str] | None = None
    may_be_empty: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    kept_out: list[str] = field(default_factory=list)
    email: str = ""  # the header of addresses by which people are joined
    pair: str = ""  # SQL of whose address is whose
    used: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)
    used_keys: list[str] = field(default_factory=list)
    cleaned: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)  # of Parquet in place: SQL -> type
    lies: bool = False
    n_blank: int = 0  # rows in which nothing stands, which are left out
    unsure: list[str] = field(default_factory=list)  # sentences about it
    hashed: set[str] = field(default_factory=set)  # because `hash` names them
    unread: str = "NULL"  # SQL, not NULL where what `open` opens is not the JSON it should be

    def __post_init__(self) -> None:
        self.email = self.columns.get("email", "")
        self.columns = {c: header for c, header in self.columns.items() if c != "email"}
        shapes: dict[File, list[File]] = {}
        for file in self.files:
            names = [plain(header).lower() for header in file.headers]
            self.headers = dict(zip(names, map(plain, file.headers))) | self.headers
            shape = dataclasses.replace(file, path=Path(), shown="")
            shapes.setdefault(shape, []).append(file)
        with one_sentence({file.path: file.shown for file in self.files}):
            scans = " UNION ALL BY NAME ".join(scan(self.con, same) for same in shapes.values())
            # of Parquet only the columns that are asked for are read, and not copied
            self.lies = all(file.kind == "parquet" for file in self.files)
            made = "VIEW" if self.lies else "TABLE"
            scans, self.kept_out = let_in(self.con, scans, self.headers, self.allowed)
            self.con.execute(f"CREATE {made} {self.table} AS {scans}")
        if any(file.kind == "csv" for file in self.files):
            nothing = blank([sql_name(header) for header in self._described()])
            gone = self.con.execute(f"DELETE FROM {self.table} WHERE {nothing}").fetchall()
            self.n_blank = gone[0][0]
        if self.lies and len(shapes) == 1:
            self.times = self._columns_of_times()
        some = self.con.sql(f"SELECT 1 FROM {self.table} LIMIT 1").fetchall()
        if not some and not self.may_be_empty:
            what = "gives" if self.files[0].kind == "arrow" else "has a header and"
            raise DataError(f"{self.shown} {what} no rows.")

    def _described(self) -> dict[str, str]:
        described = self.con.sql(f"DESCRIBE {self.table}").fetchall()
        return {name: kind for name, kind, *_ in described}

    def _columns_of_times(self) -> dict[str, str]:
        kinds = self._described()
        return {
            sql_name(header): kinds[header + AS_TIME]
            for header in self.headers.values()
            if header + AS_TIME in kinds
        }

    @property
    def shown(self) -> str:
        """The files' name in messages."""
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return self.files[0].shown + more

    @property
    def bag(self) -> str:
        """The column whose JSON holds the properties of a row, in small letters."""
        return self.columns.get("properties", "properties").lower()

    @property
    def typed(self) -> bool:
        """Whether what are numbers in the files stood there as numbers."""
        return all(file.kind != "csv" for file in self.files)

    def open(self, props: str, *headers: str) -> "Stage":
        """Let the keys of a JSON object, SQL over the columns `headers`, count as columns too."""
        opened = f"{self.table}_open"
        self.con.execute(f"CREATE VIEW {opened} AS SELECT *, {props} AS props_ FROM {self.table}")
        self.table = opened
        self.used.update(headers)
        told = [
            f"clean({sql_name(header)}) IS NOT NULL AND NOT holds({sql_name(header)}, '{kind}')"
            for header, kind in (KINDS | {self.bag: "OBJECT"}).items()
            if header in headers and header in self.headers
        ]
        self.unread = f"CASE WHEN {' OR '.join(told)} THEN true END" if told else "NULL"
        keys = f"SELECT DISTINCT unnest(json_keys(props_)) FROM {opened} ORDER BY ALL"
        self.keys = [row[0] for row in self.con.sql(keys).fetchall()]
        return self

    def find(self, name: str) -> str | None:
        """SQL over `rows` of a column or else a property of this name; None when there is none."""
        if name.lower() in self.headers:
            self.used.add(name.lower())
            return sql_name(self.headers[name.lower()])
        if name in self.keys:
            if name not in self.used_keys:
                self.used_keys.append(name)
            return f"keys_[{self.used_keys.index(name) + 1}]"
        return None

    def rows(self, more: str = "") -> str:
        """The staged rows, all used properties taken out in one go: each function parses anew."""
        paths = ", ".join(map(sql_path, self.used_keys))
        keys = f", json_extract_string(props_, [{paths}]) AS keys_" if paths else ""
        return f"(SELECT *{keys}{more} FROM {self.table}) AS rows_"

    def get(self, *names: str) -> str:
        """SQL for the first of these with a value in a row; NULL where no file has any of them."""
        found = [self.clean(sql) for name in names if (sql := self.find(name))]
        if len(found) > 1:
            return f"coalesce({', '.join(found)})"
        return found[0] if found else "NULL"

    def clean(self, sql: str) -> str:
        """SQL of the value of what `find` found; bare where a look shows it needs no cleaning."""
        if sql not in self.cleaned:
            bare = self.lies and sql.startswith('"') and sql not in self.times and self._tidy(sql)
            self.cleaned[sql] = sql if bare else f"clean({sql})"
        return self.cleaned[sql]

    def _tidy(self, sql: str) -> bool:
        untidy = f"SELECT 1 FROM {self.table} WHERE NOT tidy({sql}) LIMIT 1"
        return not self.con.sql(untidy).fetchall()

    def select(self, table: str, **mapping: str) -> str:
        """SELECT of a canonical table.

        A column comes from the YAML's map, else the reader's `mapping`, else its namesake. Of
        surveys, what was answered to an open question (most of its answers are neither yes nor no)
        becomes the reason, and its answer stays empty.
        Raises DataError: a mapped or required column is missing, a time or number is unreadable.
        """
        chosen = self._chosen(table, mapping)
        if "timestamp" in chosen:
            chosen["timestamp_raw"] = chosen["timestamp"]
        if table == "surveys":
            self._give_open_questions_a_reason(chosen)
        typed, mistakes = {}, Mistakes()
        for column, sql in chosen.items():
            with mistakes.noted():
                typed[column] = self._typed(column, sql)
        mistakes.tell(DataError)
        if typed.get("user_id", "").startswith("clean("):
            # "null" is rejected by its name
            typed["user_id"] = typed["user_id"].replace("clean(", "blank(", 1)
        more = ""
        if "properties" in CANONICAL[table]:
            typed["properties"], more = rest(self, "clean" if table == "people" else "")
            if table == "events":
                typed["unread"] = self.unread
        self.unsure += spaced(self, chosen)
        columns = ", ".join(f"{sql} AS {column}" for column, sql in typed.items())
        return f"SELECT {columns} FROM {self.rows(more)}"

    def _chosen(self, table: str, mapping: dict[str, str]) -> dict[str, str]:
        """Canonical column -> SQL of the text that fills it."""
        names = self.words
        chosen: dict[str, str] = {}
        mistakes = Mistakes()
        for column, header in self.columns.items():
            if column == "properties" and self.bag in self.headers:
                continue  # they are opened
            if column not in CANONICAL[table]:
                near = nearest(column, CANONICAL[table]) + KEPT * ("properties" in CANONICAL[table])
                said = f'"{column}" in columns is not a column of {table}.{near}'
                mistakes.append(f"{self.shown}: {said}")
                continue
            with mistakes.noted():
                chosen[column] = self._mapped(column, header, names)
                if column in self.clocks:
                    clock = self._mapped(column, self.clocks[column], names)
                    chosen[column] = joined(chosen[column], clock)
        for column in CANONICAL[table]:
            if column in chosen or column == "properties":
                continue
            sql = mapping.get(column) or self.get(column)
            if sql == "NULL" and column in REQUIRED[table] and column_type(column) == "TIMESTAMP":
                sql = self._day_and_clock()
            if sql != "NULL":
                chosen[column] = sql
        with mistakes.noted():
            self._join(table, chosen, names)
            self._need(table, chosen.keys() | self.columns.keys(), names)
            self._hash(chosen)
        mistakes.tell(DataError)
        return chosen

    def _join(self, table: str, chosen: dict[str, str], names: list[str]) -> None:
        """Let a salted hash of the e-mail address stand for the user where there is no user_id."""
        if self.email:
            if "user_id" not in CANONICAL[table]:
                raise DataError(f'{self.shown}: "email" in columns joins people, not {table}.')
            address = f"pseudonym(lower({self._mapped('email', self.email, names)}))"
            if user := chosen.get("user_id", ""):
                self.pair = f"{address} AS anonymous_id, {user} AS user_id"
            chosen["user_id"] = f"coalesce({user}, {address})" if user else address

    def _mapped(self, column: str, header: str, names: list[str]) -> str:
        """SQL of the text below a header that the YAML maps to a column."""
        found = self.find(header)
        if not found and header == "?":
            asked = f"its columns are {listed(names)}. Write it in place of the question mark"
            raise DataError(
                f"{self.shown}: which column is the {column}? {asked} in the data YAML."
            )
        if not found:
            near = nearest(header, names) or f" Its columns are: {listed(names)}."
            raise DataError(f'{self.shown} has no column "{header}", mapped to {column}.{near}')
        return self.clean(found)

    def _day_and_clock(self) -> str:
        """SQL of the time in columns `date` and `time`, NULL where they do not both stand."""
        if not {"date", "time"} <= self.headers.keys():
            return "NULL"
        return joined(self.get("date"), self.get("time"))

    @property
    def words(self) -> list[str]:
        """All its columns and properties."""
        return [*self.headers.values(), *self.keys]

    def names(self, name: str) -> bool:
        """Whether there is such a column or property."""
        return name.lower() in self.headers or name in self.keys

    def _hash(self, chosen: dict[str, str]) -> None:
        """Hash what the YAML says in canonical columns too; ids are hashed in any case."""
        for name in filter(self.names, self.hash):
            sql = sql_name(self.headers.get(name.lower(), ""))
            if name in self.used_keys:
                sql = f"keys_[{self.used_keys.index(name) + 1}]"
            for column in [c for c in chosen if sql in chosen[c] and c not in IDS]:
                if column in NEVER_HASHED or column_type(column) != "VARCHAR":
                    raise DataError(
                        f'{self.shown}: "{name}" in hash fills {column}, which is never hashed:'
                        " without it there is nothing to count by. Take it out of hash."
                    )
                chosen[column] = f"pseudonym({chosen[column]})"
                self.hashed.add(column)

    def _need(self, table: str, chosen: Set[str], names: list[str]) -> None:
        mistakes = Mistakes()
        for column in REQUIRED[table]:
            stands_in = table == "events" and column == "user_id" and "anonymous_id" in chosen
            if column in chosen or stands_in:
                continue
            if column in map(str.lower, self.kept_out):
                mistakes.append(f'{self.shown}: {table} need "{column}"; add it to allowed.')
                continue
            way = nearest(column, names) or f" Its columns are: {listed(names)}."
            way += f' Map it with columns: {{{column}: "its header"}}.'
            if inside := rows_inside(self.con, self.files[0]):
                raise DataError(f'{self.shown} has no column "{column}" for {table}.{inside}')
            mistakes.append(f'{self.shown} has no column "{column}" for {table}.{way}')
        mistakes.tell(DataError)

    def _give_open_questions_a_reason(self, chosen: dict[str, str]) -> None:
        """An open question is one that most answer by neither yes nor no.

        All its answers are taken for text: "No idea" and "Y Combinator" read like a yes or no.
        """
        question, answer = chosen["micro_conversion"], chosen["answer"]
        asked = self.con.sql(f"""
            SELECT question
            FROM (SELECT {question} AS question, {answer} AS answer FROM {self.rows()})
            WHERE question IS NOT NULL
            GROUP BY question HAVING count(answer) > 2 * count(yes_no(answer))
        """).fetchall()
        if asked:
            is_open = f"{question} IN ({', '.join(sql_text(row[0]) for row in asked)})"
            said = f"CASE WHEN {is_open} THEN {answer} END"
            chosen["reason"] = f"coalesce({said}, {chosen.get('reason', 'NULL')})"
            chosen["answer"] = f"CASE WHEN {is_open} THEN NULL ELSE {answer} END"

    def _typed(self, column: str, sql: str) -> str:
        """SQL of a canonical column in its type, from SQL of its text."""
        unclear = "neither yes nor no"
        if column == "anonymous_id":
            # some tools put an e-mail address there
            return f"CASE WHEN NOT contains({sql}, '@') THEN {sql} END"
        if column == "answer":
            return self._checked(column, sql, "yes_no(x)", unclear, allowed=FAULTY_SHARE)
        if column == "consent":
            # an unclear word may be a refusal, so none is let through
            said = self._checked(column, sql, "consents(x)", unclear)
            return f"NOT ({said})" if refuses_by_yes(self.columns.get(column, "")) else said
        if column in ("amount", "revenue"):
            amounts = AmountColumn(
                self.con, self.shown, column, self.rows(), sql, self.decimal, self.typed
            )
            return amounts.read(refunds=self.refunds or column != "amount")
        return self._in_time(column, sql)

    def _in_time(self, column: str, sql: str) -> str:
        """As `_typed`, of days and moments; what is neither stays a text."""
        if column in DAYS:
            return f"CAST({self._time(column, sql, 'UTC')} AS DATE)"
        if column_type(column) == "TIMESTAMP":
            return self._time(column, sql, self.timezone)
        return sql

    def _time(self, column: str, sql: str, timezone: str | None) -> str:
        name = sql.removeprefix("clean(").removesuffix(")")
        if name in self.times:
            rows, time = self.table, sql_name(name[1:-1] + AS_TIME)
            column_of = TimeColumn(self.con, self.shown, column, rows, timezone)
            return column_of.from_times(time, self.times[name])
        by_clock = column == self.wall_clock
        texts = TimeColumn(
            self.con, self.shown, column, self.rows(), timezone, self.formats, by_clock
        )
        return texts.from_texts(sql)

    def _checked(self, column: str, sql: str, made: str, rule: str, *, allowed: float = 0.0) -> str:
        """`made`, SQL over x, once it is NULL for no more than a share of the column's values."""
        ((n, n_bad, example),) = self.con.sql(f"""
            SELECT count(*), count(*) FILTER (({made}) IS NULL),
                min({masked("x")}) FILTER (({made}) IS NULL)
            FROM (SELECT {sql} AS x FROM {self.rows()}) WHERE x IS NOT NULL
        """).fetchall()
        if n_bad > allowed * n:
            raise DataError(
                f'{self.shown}: {n_bad} of {n} values of "{column}" are {rule},'
                f' for example "{example}".'
            )
        return put(made, sql)
