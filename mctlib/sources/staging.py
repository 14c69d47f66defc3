"""Any export file as a table of text columns, and the one SELECT that turns such a table into a canonical one.

Files are told apart by content, not by name: CSV, JSON lines or Parquet; plain, .gz, or members of a .zip. Everything streams
through DuckDB, so files may be larger than memory. `sources.py` says which column of which tool fills which canonical column.
"""

import codecs
import csv
import gzip
import io
import json
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from mctlib.contract import CANONICAL, DAYS, REQUIRED, DataError, nearest
from mctlib.eventlog.store import FAULTY_SHARE, disk_full, sql_name, sql_text

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
# How a count since 1970 is told: its digits, and its unit in microseconds.
UNITS = {
    "seconds": ("9,11", 1_000_000),
    "milliseconds": ("12,14", 1_000),
    "microseconds": ("15,17", 1),
}
# Types of columns that hold times, not words or counts for them.
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
AS_TIME = (
    "\u200b"  # ends the name of such a column as it is, beside its text; no plain header ends so
)
# Keys whose values are personal data wherever they stand in `properties`.
REGULATED = (
    r'[^"]*e[-_ ]?mail(?:[-_ ]?address)?|[^"]*phone(?:[-_ ]?number)?|(?:[^"]*[-_ .$])?ip(?:[-_ ]?addr(?:ess)?)?|[^"]*ipaddress'
    r'|(?:[^"]*traits[_.])?\$?(?:user|first|last|full|middle|sur|family|given|display|nick|contact)?[-_ ]?name'
)
MACROS = f"""
SET TimeZone = 'UTC';
CREATE TEMP MACRO clean(x) AS CASE WHEN list_position(['', 'null', 'NULL', 'None', '\\N', 'NaN', 'NaT'], trim(x)) IS NULL THEN trim(x) END;
CREATE TEMP MACRO tidy(x) AS CASE WHEN strlen(x) > 4 THEN strlen(x) = length(x) AND x >= '!' AND NOT ends_with(x, ' ') ELSE clean(x) IS NOT DISTINCT FROM x END;
CREATE TEMP MACRO as_json(x) AS CASE WHEN left(x, 1) IN ('{{', '[') AND json_valid(x) THEN x::JSON ELSE to_json(x) END;
CREATE TEMP MACRO as_object(x) AS coalesce(try_cast(x AS JSON), '{{}}'::JSON);
CREATE TEMP MACRO mask(x) AS CASE WHEN contains(x, '@') OR contains(x, '%40')
    THEN regexp_replace(x, '[^\\s"@:=&/?<>,;]+(@|%40)[^\\s"@:=&/?<>,;]+\\.[A-Za-z]{{2,}}', '[e-mail removed]', 'g') ELSE x END;
CREATE TEMP MACRO scrub(x) AS regexp_replace(mask(x),
    '"({REGULATED})"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*"|\\{{[^{{}}]*\\}}|\\[[^\\[\\]]*\\]|[^",{{}}\\[\\]\\s]+)', '"\\1":null', 'gi');
CREATE TEMP MACRO yes_no(x) AS CASE WHEN regexp_matches(lower(x), '^(yes|y|yep|true|1|ja|oui|si|sim)\\b') THEN 'yes'
    WHEN regexp_matches(lower(x), '^(no|n|nope|false|0|nein|non|nao)\\b') THEN 'no' END;
CREATE TEMP MACRO platform_of(x) AS CASE WHEN regexp_matches(lower(x), 'web|javascript|browser|analytics\\.js|^js$') THEN 'web'
    WHEN regexp_matches(lower(x), 'ios|iphone|ipad|swift|objective') THEN 'ios'
    WHEN regexp_matches(lower(x), 'android') THEN 'android'
    WHEN regexp_matches(lower(x), 'srv|server|api|python|node|java|^go|php|ruby') THEN 'api' ELSE lower(x) END;
"""


def plain(header: str) -> str:
    """A header without the invisible characters that some exports hold."""
    return header.translate(ZERO_WIDTH).strip()


@dataclass(frozen=True)
class File:
    """One readable file, or the answer to a query (kind arrow), which has for a path the name it is registered under.

    shown: its name for people, a member of an archive with the archive. headers: its columns or top-level keys.
    """

    path: Path
    shown: str
    kind: str
    headers: tuple[str, ...]
    gz: bool = False
    delimiter: str = ""
    headless: bool = False


@contextmanager
def one_sentence(paths: dict[Path, str]) -> Iterator[None]:
    """Turn what DuckDB, gzip and the codecs raise about these files (path -> name to show) into a one-sentence DataError."""
    try:
        yield
    except (
        duckdb.Error,
        EOFError,
        zlib.error,
        gzip.BadGzipFile,
        zipfile.BadZipFile,
        UnicodeDecodeError,
    ) as error:
        if disk_full(error):  # of the store: no fault of these files
            raise
        said = str(error)
        path = next((path for path in paths if str(path) in said), next(iter(paths)))
        if not path.is_file():
            message = f"cannot be read: {said.splitlines()[0]}"
        elif isinstance(error, (EOFError, zlib.error)) or "GZIP" in said:
            message = "is cut short: the gzip stream ends too early. Copy or export it again."
        elif isinstance(error, zipfile.BadZipFile):
            message = (
                "is cut short or damaged: it is no complete zip archive. Copy or export it again."
            )
        elif isinstance(error, UnicodeDecodeError) or re.search(
            "unicode|utf-8", said, re.IGNORECASE
        ):
            message = f"is not UTF-8{_bad_line(path, bytes.decode)}. Save it as UTF-8."
        elif found := re.search(r"in line (\d+): .*duplicate key (\".*?\")", said):
            message = f"has in line {found[1]} the key {found[2]} twice."
        elif "JSON" in said:
            line = _bad_line(path, json.loads)
            message = f"is not valid JSON{line}: the line is cut or damaged. Export it again or remove the line."
        elif found := re.search(
            r"Line: (\d+).*Expected Number of Columns: (\d+) Found: (\d+)", said, re.DOTALL
        ):
            line, wanted, got = found.groups()
            message = f"has in line {line} {got} columns instead of {wanted}. Check the separators and quotes there."
        elif found := re.search(r"Line: (\d+).*unterminated quote", said, re.DOTALL):
            message = f"has from line {found[1]} a quote that is never closed."
        elif "arquet" in said:
            message = "is not a complete Parquet file. Copy or export it again."
        else:
            message = f"cannot be read: {said.splitlines()[0]}"
        raise DataError(f"{paths[path]} {message}") from None


def _bad_line(path: Path, check: Callable[[bytes], Any]) -> str:
    """Look for the line again in Python: DuckDB's line numbers are off by one for JSON, and missing for encodings."""
    with path.open("rb") as raw, gzip.open(raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.strip() and check(line)
            except ValueError:  # a first line that is no JSON may be one of many lines of a value
                return f" in line {number}" if number > 1 or check is bytes.decode else ""
    return ""


def look(
    con: duckdb.DuckDBPyConnection, path: Path, shown: str, *, headless: tuple[str, ...] = ()
) -> File:
    """Find out what a file is, and its columns. headless: the columns of a wide tab-separated export without a header line."""
    with one_sentence({path: shown}):
        with path.open("rb") as raw:
            start = raw.read(4)
        if start == b"PAR1":
            return File(path, shown, "parquet", _described(con, f"read_parquet({sql_text(path)})"))
        gz = start[:2] == b"\x1f\x8b"
        with (gzip.open if gz else open)(path, "rb") as stream:
            head = codecs.getincrementaldecoder("utf-8-sig")().decode(stream.read(1 << 16))
        if not head.strip():
            raise DataError(f"{shown} is empty.")
        if re.match(
            r"(\s|<\?xml[^>]*>|<!--.*?-->)*<(!doctype\s+)?html\b", head, re.IGNORECASE | re.DOTALL
        ):
            raise DataError(
                f"{shown} is a web page (HTML), not an export. Download it again, signed in."
            )
        if head.lstrip()[0] in "{[":
            return File(path, shown, "json", _described(con, _read_json(sql_text(path), gz)), gz)
    delimiter = max(",;\t|", key=head.split("\n", 1)[0].count)
    headers = tuple(next(csv.reader(io.StringIO(head), delimiter=delimiter)))
    if delimiter == "\t" and len(headers) > 100 and not set(headers) & set(headless):
        return File(path, shown, "csv", headless[: len(headers)], gz, delimiter, headless=True)
    return File(path, shown, "csv", headers, gz, delimiter)


def find(
    con: duckdb.DuckDBPyConnection,
    paths: Sequence[Path],
    root: Path,
    folder: Path,
    *,
    headless: tuple[str, ...] = (),
) -> list[File]:
    """Look at every file; members of zip archives are first extracted, streaming, into `folder`."""
    files: list[File] = []
    for path in paths:
        shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
        with path.open("rb") as raw:
            zipped = raw.read(4) == b"PK\x03\x04"
        if not zipped:
            files.append(look(con, path, shown, headless=headless))
            continue
        with one_sentence({path: shown}), zipfile.ZipFile(path) as archive:
            if "[Content_Types].xml" in archive.namelist():
                raise DataError(f"{shown} is an Excel workbook. Save the sheet as CSV.")
            for member in archive.infolist():
                if not member.is_dir() and not Path(member.filename).name.startswith(
                    "."
                ):  # as in __MACOSX/._events.csv
                    copy = Path(tempfile.mkdtemp(dir=folder)) / Path(member.filename).name
                    with archive.open(member) as packed, copy.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)
                    files.append(look(con, copy, f"{shown}: {member.filename}", headless=headless))
    return files


def _described(con: duckdb.DuckDBPyConnection, table: str, column: int = 0) -> tuple[str, ...]:
    return tuple(row[column] for row in con.sql(f"DESCRIBE FROM {table}").fetchall())


def _read_json(paths: str, gz: bool, headers: Sequence[str] = ()) -> str:
    types = ", ".join(f"{sql_text(header)}: 'JSON'" for header in headers)
    shape = (
        f"columns={{{types}}}"
        if headers
        else "sample_size=-1, maximum_depth=1, map_inference_threshold=-1"
    )
    packed = "gzip" if gz else "none"
    return f"read_json([{paths}], {shape}, records='true', compression='{packed}', maximum_object_size=67108864)"


def scan(con: duckdb.DuckDBPyConnection, files: Sequence[File]) -> str:
    """SELECT of files of one shape, each column as text; nested JSON and Parquet values as JSON text.

    Times of Parquet stand a second time as they are, see `AS_TIME`.
    """
    first, paths, times = files[0], ", ".join(sql_text(file.path) for file in files), []
    columns = [sql_name(header) for header in first.headers]
    if first.kind in ("parquet", "arrow"):
        table = f"read_parquet([{paths}])" if first.kind == "parquet" else sql_name(str(first.path))
        kinds = _described(con, table, 1)
        nested = [re.search(r"STRUCT|MAP|\[|JSON", kind) for kind in kinds]
        # A database's infinite date or time arrives as one far before our era, and means none.
        dated = [kind in TIMES for kind in kinds]
        times = [
            f", {c} AS {sql_name(plain(h) + AS_TIME)}"
            for c, h, d in zip(columns, first.headers, dated)
            if d and first.kind == "parquet"
        ]
        columns = [
            f"CASE WHEN year({c}) BETWEEN 1 AND 9999 THEN {c} END" if d else c
            for c, d in zip(columns, dated)
        ]
        columns = [
            f"to_json({c})::VARCHAR" if n else f"({c})::VARCHAR" for c, n in zip(columns, nested)
        ]
    elif first.kind == "json":
        table = _read_json(paths, first.gz, first.headers)
        columns = [f"({c}->>'$')" for c in columns]
    else:
        quote = "''" if first.headless else "'\"'"
        types = ", ".join(f"{sql_text(header)}: 'VARCHAR'" for header in first.headers)
        # DuckDB's sniffer may take leading rows for a preamble and skip them without a word, so everything is said explicitly.
        table = (
            f"read_csv([{paths}], auto_detect=false, header={not first.headless}, delim={sql_text(first.delimiter)}, quote={quote},"
            f" escape={quote}, columns={{{types}}}, compression='{'gzip' if first.gz else 'none'}', max_line_size=16777216)"
        )
    return (
        "SELECT "
        + ", ".join(f"{c} AS {sql_name(plain(h))}" for c, h in zip(columns, first.headers))
        + f"{''.join(times)} FROM {table}"
    )


@dataclass
class Stage:
    """Files of one kind as one table of text columns, of Parquet a view. `get` is how a reader names what it uses; the rest goes to `properties`.

    columns: the YAML's map, canonical column -> header. timezone: zone of times that carry none. wall_clock: the time column
    whose counts since 1970 follow that zone's clock instead of UTC.
    """

    con: duckdb.DuckDBPyConnection
    files: list[File]
    table: str
    columns: dict[str, str]
    timezone: str | None = None
    wall_clock: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    keys: list[str] = field(default_factory=list)
    used_keys: list[str] = field(default_factory=list)
    cleaned: dict[str, str] = field(default_factory=dict)
    times: dict[str, str] = field(default_factory=dict)
    lies: bool = False

    def __post_init__(self) -> None:
        shapes: dict[tuple, list[File]] = {}
        for file in self.files:
            names = [plain(header).lower() for header in file.headers]
            if doubled := [
                header for header, name in zip(file.headers, names) if names.count(name) > 1
            ]:
                raise DataError(
                    f'{file.shown} has the column "{doubled[0]}" twice. Rename or remove one of them.'
                )
            self.headers = {
                name: plain(header) for header, name in zip(file.headers, names)
            } | self.headers
            shapes.setdefault((file.kind, file.gz, file.delimiter, file.headers), []).append(file)
        with one_sentence({file.path: file.shown for file in self.files}):
            scans = " UNION ALL BY NAME ".join(scan(self.con, same) for same in shapes.values())
            self.lies = all(
                file.kind == "parquet" for file in self.files
            )  # only the columns that are asked for are read, and not copied
            self.con.execute(f"CREATE {'VIEW' if self.lies else 'TABLE'} {self.table} AS {scans}")
        if self.lies and len(shapes) == 1:
            kinds = {
                name: kind for name, kind, *_ in self.con.sql(f"DESCRIBE {self.table}").fetchall()
            }
            self.times = {
                sql_name(h): kinds[plain(h) + AS_TIME]
                for h in self.headers.values()
                if plain(h) + AS_TIME in kinds
            }
        if not self.con.sql(f"SELECT 1 FROM {self.table} LIMIT 1").fetchall():
            raise DataError(
                f"{self.shown} {'gives' if self.files[0].kind == 'arrow' else 'has a header and'} no rows."
            )

    @property
    def shown(self) -> str:
        """The files' name in messages."""
        return self.files[0].shown + (
            f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        )

    def open(self, props: str, *headers: str) -> "Stage":
        """Declare a JSON object, SQL over the staged columns `headers`, whose keys count as columns too."""
        self.con.execute(
            f"CREATE VIEW {self.table}_open AS SELECT *, {props} AS props_ FROM {self.table}"
        )
        self.table += "_open"
        self.used.update(headers)
        keys = self.con.sql(
            f"SELECT DISTINCT unnest(json_keys(props_)) FROM {self.table} ORDER BY ALL"
        ).fetchall()
        self.keys = [row[0] for row in keys]
        return self

    def find(self, name: str) -> str | None:
        """SQL, over `rows`, of a column or else a property of this name; None when the files have neither."""
        if name.lower() in self.headers:
            self.used.add(name.lower())
            return sql_name(self.headers[name.lower()])
        if name in self.keys:
            self.used_keys += [] if name in self.used_keys else [name]
            return f"keys_[{self.used_keys.index(name) + 1}]"
        return None

    def rows(self, more: str = "") -> str:
        """The staged rows, with all used properties taken out in one go (every function over a JSON text parses it anew)."""
        paths = ", ".join(
            sql_text("$." + json.dumps(key, ensure_ascii=False)) for key in self.used_keys
        )
        keys = f", json_extract_string(props_, [{paths}]) AS keys_" if paths else ""
        return f"(SELECT *{keys}{more} FROM {self.table}) AS rows_"

    def get(self, *names: str) -> str:
        """SQL for the first of these that has a value in a row; NULL where no file has any of them."""
        found = [self.clean(sql) for name in names if (sql := self.find(name))]
        return f"coalesce({', '.join(found)})" if len(found) > 1 else found[0] if found else "NULL"

    def clean(self, sql: str) -> str:
        """SQL of the value of a column or property that `find` found; the bare column where one look shows that it needs no cleaning."""
        if sql not in self.cleaned:
            bare = (
                self.lies
                and sql[0] == '"'
                and sql not in self.times
                and not self.con.sql(
                    f"SELECT 1 FROM {self.table} WHERE NOT tidy({sql}) LIMIT 1"
                ).fetchall()
            )
            self.cleaned[sql] = sql if bare else f"clean({sql})"
        return self.cleaned[sql]

    def select(self, table: str, **mapping: str) -> str:
        """SELECT of one canonical table: a column comes from the YAML's map, else the reader's `mapping`, else its namesake.

        Of surveys, what was answered to an open question (most of its answers are neither yes nor no) becomes the reason, and its answer stays empty.
        Raises DataError: a mapped or required column is missing, a time or number cannot be read.
        """
        names, chosen = [*self.headers.values(), *self.keys], {}
        for column, header in self.columns.items():
            if column not in CANONICAL[table]:
                near = nearest(column, CANONICAL[table])
                raise DataError(
                    f'{self.shown}: "{column}" in columns is not a column of {table}.{near}'
                )
            if not (sql := self.find(header)):
                raise DataError(
                    f'{self.shown} has no column "{header}", mapped to {column}.{nearest(header, names)}'
                )
            chosen[column] = self.clean(sql)
        for column in CANONICAL[table]:
            if (
                column not in chosen
                and column != "properties"
                and (sql := mapping.get(column) or self.get(column)) != "NULL"
            ):
                chosen[column] = sql
        for column in REQUIRED[table]:
            if column not in chosen and not (
                column == "user_id" and table == "events" and "anonymous_id" in chosen
            ):
                near = nearest(column, names) or f" Its columns are: {', '.join(names[:12])}."
                way = f'Map it with columns: {{{column}: "its header"}}.'
                raise DataError(f'{self.shown} has no column "{column}" for {table}.{near} {way}')
        if "timestamp" in chosen:
            chosen["timestamp_raw"] = chosen["timestamp"]
        if table == "surveys" and (
            asked := self._open_questions(chosen["micro_conversion"], chosen["answer"])
        ):
            said, is_open = (
                chosen["answer"],
                f"{chosen['micro_conversion']} IN ({', '.join(map(sql_text, asked))})",
            )
            chosen["reason"] = (
                f"coalesce(CASE WHEN {is_open} THEN {said} END, {chosen.get('reason', 'NULL')})"
            )
            chosen["answer"] = f"CASE WHEN {is_open} THEN NULL ELSE {said} END"
        for column, sql in chosen.items():
            if column == "anonymous_id":  # some tools put an e-mail address there
                chosen[column] = f"CASE WHEN NOT contains({sql}, '@') THEN {sql} END"
            elif column == "answer":
                chosen[column] = self._checked(
                    column, sql, "yes_no(x)", "neither yes nor no", allowed=FAULTY_SHARE
                )
            elif column == "consent":  # an unclear word may be a refusal, so none is let through
                chosen[column] = self._checked(
                    column, sql, "yes_no(x) = 'yes'", "neither yes nor no"
                )
            elif column in ("amount", "revenue"):
                chosen[column] = self._checked(
                    column, sql, "try_cast(x AS DOUBLE)", "no numbers like 1234.50"
                )
            elif column in ("reason", "note"):
                chosen[column] = f"mask({sql})"
            elif column in DAYS:
                chosen[column] = f"CAST({self._time(column, sql, 'UTC')} AS DATE)"
            elif column == "timestamp" or column.endswith("_at"):
                chosen[column] = self._time(column, sql, self.timezone)
        more = ""
        if "properties" in CANONICAL[table]:
            chosen["properties"], more = self._rest()
        return (
            "SELECT "
            + ", ".join(f"{sql} AS {column}" for column, sql in chosen.items())
            + f" FROM {self.rows(more)}"
        )

    def _rest(self) -> tuple[str, str]:
        """JSON text of what is left, without regulated keys, e-mail addresses and nulls; and the columns `rows` must add."""
        left = [
            h
            for name, h in self.headers.items()
            if name not in self.used and not re.fullmatch(REGULATED, h, re.IGNORECASE)
        ]
        parts, more = ["'{}'::JSON"], ""
        if left:
            more += f", json_object({', '.join(f'{sql_text(h)}, as_json({sql_name(h)})' for h in left)})::VARCHAR AS left_"
            nested = "contains(left_, ':{') OR contains(left_, '[{')"  # its own keys are clean, those inside may not be
            parts.append(
                f"try_cast(CASE WHEN {nested} THEN scrub(left_) ELSE mask(left_) END AS JSON)"
            )
        if self.keys:
            more += ", props_::VARCHAR AS right_"
            gone = json.dumps(dict.fromkeys(self.used_keys), ensure_ascii=False)
            parts += ["try_cast(scrub(right_) AS JSON)", f"{sql_text(gone)}::JSON"]
        return f"nullif(json_merge_patch({', '.join(parts)})::VARCHAR, '{{}}')" if len(
            parts
        ) > 1 else "NULL", more

    def _open_questions(self, question: str, answer: str) -> list[str]:
        """The questions that most answer by neither yes nor no ("No idea" and "Y Combinator" read like one). question, answer: SQL of their columns."""
        asked = f"SELECT {question} AS question, {answer} AS answer FROM {self.rows()}"
        mostly = "WHERE question IS NOT NULL GROUP BY question HAVING count(answer) > 2 * count(yes_no(answer))"
        return [
            row[0] for row in self.con.sql(f"SELECT question FROM ({asked}) {mostly}").fetchall()
        ]

    def _checked(self, column: str, sql: str, made: str, rule: str, *, allowed: float = 0.0) -> str:
        """`made`, SQL over a text x, put to the column `sql`, once it is NULL for no more than a share of the values."""
        looked = f"count(*), count(*) FILTER (({made}) IS NULL), min(x) FILTER (({made}) IS NULL)"
        values = f"(SELECT {sql} AS x FROM {self.rows()}) WHERE x IS NOT NULL"
        n, bad, example = self.con.sql(f"SELECT {looked} FROM {values}").fetchall()[0]
        if bad > allowed * n:
            raise DataError(
                f'{self.shown}: {bad} of {n} values of "{column}" are {rule}, for example "{example}".'
            )
        return re.sub(r"\bx\b", lambda _: sql, made)

    def _time(self, column: str, sql: str, timezone: str | None) -> str:
        """SQL of a UTC timestamp (NULL where unreadable), after one look over the column at how times are written there."""
        header = sql.removeprefix("clean(").removesuffix(")")
        if header in self.times:
            return self._staged_time(column, header, timezone)
        tests = {
            unit: f"regexp_full_match(x, '\\d{{{digits}}}(\\.\\d+)?')"
            for unit, (digits, _) in UNITS.items()
        }
        tests |= {
            "day": "regexp_full_match(x, '\\d{8}')",
            "unreadable": "try_cast(x AS TIMESTAMPTZ) IS NULL",
        }
        tests |= {
            "naive": "regexp_full_match(x, '\\d+-\\d+-\\d+([T ]+[\\d:.]+)?')",
            "zoned": "true",
        }
        cases = " ".join(f"WHEN {test} THEN '{kind}'" for kind, test in tests.items())
        column_alone = f"(SELECT {sql} AS x FROM {self.rows()}) WHERE x IS NOT NULL"
        rows = self.con.sql(
            f"SELECT CASE {cases} END, count(*), min(x) FROM {column_alone} GROUP BY 1"
        ).fetchall()
        counts, example = {kind: n for kind, n, _ in rows}, {kind: value for kind, _, value in rows}
        units = [unit for unit in UNITS if unit in counts]
        if len(units) > 1:
            mixed = " and ".join(f"{unit} ({counts[unit]} rows)" for unit in units)
            raise DataError(
                f'{self.shown}: the times in "{column}" mix {mixed}. Split the file by unit.'
            )
        if counts.get("unreadable", 0) > FAULTY_SHARE * sum(counts.values()):
            raise DataError(
                f'{self.shown}: {counts["unreadable"]} of {sum(counts.values())} values of "{column}" cannot be read as times,'
                f' for example "{example["unreadable"]}". Write them like 2026-01-05T10:11:12Z.'
            )
        if timezone is None and (local := example.get("naive") or example.get("day")):
            raise self._no_zone(column, local)
        count = "make_timestamp(CAST(round(CAST(x AS DOUBLE) * {}) AS BIGINT))"
        made = {unit: count.format(factor) for unit, (_, factor) in UNITS.items()}
        made |= {"naive": "try_cast(x AS TIMESTAMP)", "day": "try_strptime(x, '%Y%m%d')"}
        if timezone not in (None, "UTC"):
            local_kinds = (
                ("naive", "day", *UNITS) if column == self.wall_clock else ("naive", "day")
            )
            made |= {
                kind: f"timezone('UTC', timezone({sql_text(timezone)}, {made[kind]}))"
                for kind in local_kinds
            }
        made |= {"zoned": "timezone('UTC', try_cast(x AS TIMESTAMPTZ))", "unreadable": "NULL"}
        present = [kind for kind in tests if kind in counts]
        if len(present) < 2:
            result = made[present[0]] if present else "CAST(NULL AS TIMESTAMP)"
        else:
            result = (
                f"CASE {' '.join(f'WHEN {tests[kind]} THEN {made[kind]}' for kind in present)} END"
            )
        return re.sub(r"\bx\b", lambda _: sql, result)

    def _staged_time(self, column: str, header: str, timezone: str | None) -> str:
        """As `_time`, of a column that holds times and no texts: only their type and range have to be looked at."""
        time, kind = sql_name(header[1:-1] + AS_TIME), self.times[header]
        within = self.con.sql(
            f"SELECT min({time}) >= DATE '0001-01-01' AND max({time}) < DATE '10000-01-01' FROM {self.table}"
        ).fetchall()[0][0]
        made = time if within else f"CASE WHEN year({time}) BETWEEN 1 AND 9999 THEN {time} END"
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"timezone('UTC', {made})"
        if timezone is None and (
            local := self.con.sql(f"SELECT min({made})::VARCHAR FROM {self.table}").fetchall()[0][0]
        ):
            raise self._no_zone(column, local)
        made = f"CAST({made} AS TIMESTAMP)"
        return (
            made
            if timezone in (None, "UTC")
            else f"timezone('UTC', timezone({sql_text(timezone)}, {made}))"
        )

    def _no_zone(self, column: str, example: str) -> DataError:
        return DataError(
            f'{self.shown}: the times in "{column}" carry no time zone, for example "{example}".'
            " Add to this source the line  timezone: UTC  (or the IANA name of the zone they were written in)."
        )
