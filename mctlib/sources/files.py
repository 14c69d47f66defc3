"""Any export file as a SELECT of text columns.

Files are told apart by content, not by name: CSV, JSON lines or Parquet; plain or .gz, or what
`unpack` makes so. Everything streams through DuckDB, so files may be larger than memory.
"""

import codecs
import gzip
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.build import disk_full
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.sources import bounds
from mctlib.sources.dialect import dialect_of
from mctlib.sources.unpack import GZIP, TOO_DENSE, Unpacking, opened

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
HEAD = 1 << 18  # bytes in which a header must end
VALUE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*|\d{10}(\d{3}){0,2}")  # that names no column
# Types of columns that hold times, not words or counts for them.
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
# Ends the name of such a column as it is, beside its text; no plain header ends so.
AS_TIME = "\u200b"

# What an error of DuckDB or a codec says of a file; the sentence for people, the first that fits;
# what to look for the line with.
FAULTS: list[tuple[str, str, Callable[[bytes], Any] | None]] = [
    (f"^BadGzipFile: {TOO_DENSE}", TOO_DENSE, None),
    (
        r"Not a gzipped file|Input is not a GZIP",
        "goes on after the end of its gzip stream with bytes that are no gzip."
        " Copy or export it again.",
        None,
    ),
    (
        r"^(EOFError|error): |GZIP",
        "is cut short: the gzip stream ends too early. Copy or export it again.",
        None,
    ),
    (
        r"^BadZipFile: ",
        "is cut short or damaged: it is no complete zip archive. Copy or export it again.",
        None,
    ),
    (
        r"(?i)unicode|utf-8",
        "is not UTF-8{line}. Save it as UTF-8, or say what it is by the source's line"
        "  encoding: cp1252  (or another).",
        bytes.decode,
    ),
    (r"in line (\d+): .*duplicate key (\".*?\")", "has in line {0} the key {1} twice.", None),
    (
        r"Maximum line size|maximum_object_size",
        f"has a line, or one object of JSON, that is longer than {bounds.LONGEST_LINE >> 20} MB."
        " Check its line ends and quotes.",
        None,
    ),
    (r"maximum recursion depth", "nests JSON deeper than 128 levels. Export it flatter.", None),
    (
        r"JSON",
        "is not valid JSON{line}: {why}.",
        json.loads,
    ),
    (
        r"(?s)Line: (\d+).*Expected Number of Columns: (\d+) Found: (\d+)",
        "has in line {0} {2} columns instead of {1}. Check the separators and quotes there.",
        None,
    ),
    (
        r"state machine reached|reached an invalid state",
        "mixes kinds of line ends (\\r\\n, \\n, \\r). Save it with one kind.",
        None,
    ),
    (
        r"(?s)Line: (\d+).*unterminated quote",
        "has from line {0} a quote that is never closed.",
        None,
    ),
    (r"arquet", "is not a complete Parquet file. Copy or export it again.", None),
]
# How a file begins (or is, where it is short) that holds JSON, but not as one list or a row a line.
NO_JSON = {
    r"\s*+\[(?s:.*),\s*\]\s*\Z": "a comma stands after its last row. Remove it",
    r"\s*+\{.*\},[ \t\r]*\n": "its rows end with commas. Remove these, or put [ ] around all rows",
    r"\s*+\[.*\]\s*+\[": "it has several lists. Write one list, or one row a line",
    r"\s*+\[?\s*+\{\s*'": 'its texts stand in single quotes. Write "double" ones',
    r"\s*+\[\s*+[^{\s]": "the rows in its list do not name their values, as {} does",
}


def plain(header: str) -> str:
    """A header without the invisible characters that some exports hold."""
    return header.translate(ZERO_WIDTH).strip()


def listed(headers: Iterable[str]) -> str:
    """The first headers, for a sentence."""
    first = [" ".join(plain(header).split()) for header in islice(headers, 12)]
    return ", ".join(name if len(name) <= 40 else f"{name[:40]}..." for name in first)


@dataclass(frozen=True)
class File:
    """One readable file, or the answer to a query (kind arrow).

    path: of an answer, the name it is registered under. shown: its name for people, a member of an
    archive with the archive. headers: its columns or top-level keys. delimiter, escape, skip: see
    `Dialect`. Of kind empty it holds nothing.
    """

    path: Path
    shown: str
    kind: str
    headers: tuple[str, ...]
    gz: bool = False
    delimiter: str = ""
    escape: str = '"'
    skip: int = 0
    headless: bool = False


@contextmanager
def one_sentence(paths: dict[Path, str]) -> Iterator[None]:
    """Turn what DuckDB, gzip and the codecs raise about these files into a one-sentence DataError.

    paths: path -> the name to show.
    """
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
        # a disk that is full is the store's: no fault of these files
        if disk_full(error):
            raise
        path = next((path for path in paths if str(path) in str(error)), next(iter(paths)))
        raise DataError(f"{paths[path]} {_fault(path, error)}") from None


def _fault(path: Path, error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"
    for pattern, sentence, check in FAULTS if path.is_file() else []:
        if found := re.search(pattern, said):
            line = _bad_line(path, check) if check else ""
            why = _why_no_json(path, said) if "{why}" in sentence else ""
            return sentence.format(*found.groups(), line=line, why=why)
    return f"cannot be read: {str(error).splitlines()[0]}"


def _why_no_json(path: Path, said: str) -> str:
    with opened(path) as stream:
        head = stream.read(HEAD).decode("utf-8-sig", "replace")
    why = "the line is cut or damaged. Export it again or remove the line"
    if "non-record JSON" in said:
        why = "some row or some value has no name"
    return next((other for pattern, other in NO_JSON.items() if re.match(pattern, head)), why)


def _bad_line(path: Path, check: Callable[[bytes], Any]) -> str:
    """Look for the line again: DuckDB's numbers are off by one for JSON, missing for encodings."""
    with opened(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.strip() and check(line)
            except (ValueError, RecursionError):
                # a first line that is no JSON may be one of many lines of a value
                return f" in line {number}" if number > 1 or check is bytes.decode else ""
    return ""


def find(
    con: duckdb.DuckDBPyConnection,
    paths: Sequence[Path],
    *,
    root: Path,
    unpacking: Unpacking,
    headless: tuple[str, ...] = (),
) -> list[File]:
    """Look at every file, see `look`, and note what is left out.

    Raises DataError: one cannot be read, or all are empty.
    """
    found: list[File] = []
    for path in paths:
        shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
        with one_sentence({path: shown}):
            for each, name in unpacking.plain(path, shown):
                found.append(look(con, each, name, headless=headless))
                bounds.refuse_many(len(found[-1].headers), name)
    files = [file for file in found if file.kind != "empty"]
    empty = [file.shown for file in found if file.kind == "empty"]
    if not files:
        raise DataError(f"{empty[0]} is empty." if empty else f"{shown} holds no export.")
    if empty:
        more = f" and {len(empty) - 1} more are" if len(empty) > 1 else " is"
        unpacking.notes.append(f"{empty[0]}{more} empty.")
    for file in files:
        if file.skip:
            lines = "line is" if file.skip == 1 else f"{file.skip} lines are"
            unpacking.notes.append(
                f"{file.shown}: the first {lines} above the header and left out."
            )
    return files


def look(
    con: duckdb.DuckDBPyConnection, path: Path, shown: str, *, headless: tuple[str, ...] = ()
) -> File:
    """Find out what a file is, and its columns.

    headless: the columns of a wide tab-separated export that comes without a header line.
    """
    with one_sentence({path: shown}):
        with path.open("rb") as raw:
            start = raw.read(4)
        if start == b"PAR1":
            bounds.refuse_dense(con, path, shown)
            headers = _described(con, f"read_parquet({sql_text(path)})")
            return File(path, shown, "parquet", headers)
        gz = start[:2] == GZIP
        with opened(path) as stream:
            content = stream.read(HEAD)
        whole = len(content) < HEAD
        head = codecs.getincrementaldecoder("utf-8-sig")().decode(content)
        # a page of an interface without rows is an empty list
        if whole and re.fullmatch(r"(\[\s*\]|\{\s*\})?", head.strip()):
            return File(path, shown, "empty", (), gz)
        endless = bounds.endless(path, gz)
        if head.lstrip()[:1] in ("{", "["):
            bounds.refuse_many_keys(con, path, shown, gz)
            headers = _keys(con, path, shown, gz)
            return File(path, shown, "json", headers, gz)
        if endless:
            raise duckdb.Error("Maximum line size")
    first, *more = re.split("[\r\n]", head, maxsplit=1)
    if not whole and not more:
        raise DataError(f"{shown} has no line end in its first {HEAD >> 10} KB: it is no table.")
    names = first.split("\t")
    if len(names) > 100 and not set(names) & set(headless):
        return File(path, shown, "csv", headless[: len(names)], gz, "\t", headless=True)
    dialect = dialect_of(head)
    if dialect is None:
        raise DataError(f"{shown} has no header line, or a quote in it is never closed.")
    if value := next((h for h in dialect.headers if VALUE.fullmatch(h.strip())), ""):
        said = f'its first line holds values ("{value.strip()}")'
        raise DataError(f"{shown} has no header line: {said}. Put one with column names above it.")
    # Excel leaves columns without a name
    headers = tuple(plain(h) and h or f"unnamed {n}" for n, h in enumerate(dialect.headers, 1))
    return File(path, shown, "csv", headers, gz, dialect.delimiter, dialect.escape, dialect.skip)


def _keys(con: duckdb.DuckDBPyConnection, path: Path, shown: str, gz: bool) -> tuple[str, ...]:
    """The top-level keys of a JSON file. Raises DataError: two differ by small letters only."""
    keys = _described(con, _read_json(sql_text(path), gz))
    small = {key.lower() for key in keys}
    for key in keys:
        # of "event" and "Event" DuckDB calls one "Event_1", and would find nothing there
        other = re.sub(r"_\d+$", "", key)
        if other not in keys and other.lower() in small:
            table = _read_json(sql_text(path), gz, [other])
            given = f"SELECT 1 FROM {table} WHERE {sql_name(other)} IS NOT NULL LIMIT 1"
            if con.sql(given).fetchall():
                raise DataError(
                    f'{shown} has the key "{other}" twice, with large and small letters.'
                )
    return keys


def scan(con: duckdb.DuckDBPyConnection, files: Sequence[File]) -> str:
    """SELECT of files of one shape, each column as text; nested JSON and Parquet as JSON text.

    Times of Parquet stand a second time as they are, see `AS_TIME`. Raises DataError: a column
    stands there twice.
    """
    first = files[0]
    seen: set[str] = set()
    for header in first.headers:
        if plain(header).lower() in seen:
            raise DataError(
                f'{first.shown} has the column "{header}" twice. Rename or remove one of them.'
            )
        seen.add(plain(header).lower())
    names = [sql_name(header) for header in first.headers]
    paths = ", ".join(sql_text(file.path) for file in files)
    times: list[str] = []
    if first.kind == "csv":
        table = _read_csv(paths, first)
        columns = names
    elif first.kind == "json":
        table = _read_json(paths, first.gz, first.headers)
        columns = [f"({name}->>'$')" for name in names]
    else:
        read = f"read_parquet([{paths}])"
        table = read if first.kind == "parquet" else sql_name(str(first.path))
        kinds = _described(con, table, 1)
        columns = [_as_text(name, kind) for name, kind in zip(names, kinds)]
        if first.kind == "parquet":
            times = [
                f"{name} AS {sql_name(plain(header) + AS_TIME)}"
                for name, header, kind in zip(names, first.headers, kinds)
                if kind in TIMES
            ]
    texts = [f"{sql} AS {sql_name(plain(h))}" for sql, h in zip(columns, first.headers)]
    return f"SELECT {', '.join(texts + times)} FROM {table}"


def blank(names: Sequence[str]) -> str:
    """SQL that is true for rows in whose columns nothing stands; most tell by one character."""
    cells = ", ".join(f"nullif(trim({name}, ' \t'), '')" for name in names)
    return f"coalesce({names[0]} < '!', true) AND coalesce({cells}) IS NULL"


def rows_inside(con: duckdb.DuckDBPyConnection, file: File) -> str:
    """Words on where the rows stand in a JSON file that is one object around them, else none."""
    rows = con.sql(f"{scan(con, [file])} LIMIT 2").fetchall() if file.kind == "json" else []
    for header, text in zip(file.headers, rows[0] if len(rows) == 1 else ()):
        if text and re.match(r"\[\s*\{", text):
            return f' Its rows stand inside "{header}": save that list alone.'
    return ""


def _as_text(name: str, kind: str) -> str:
    """SQL of a typed column as text."""
    if re.search(r"STRUCT|MAP|\[|JSON", kind):
        return f"to_json({name})::VARCHAR"
    if kind in TIMES:
        # a database's infinite date or time arrives as one far before our era, and means none
        return f"(CASE WHEN year({name}) BETWEEN 1 AND 9999 THEN {name} END)::VARCHAR"
    return f"({name})::VARCHAR"


def _described(con: duckdb.DuckDBPyConnection, table: str, column: int = 0) -> tuple[str, ...]:
    return tuple(row[column] for row in con.sql(f"DESCRIBE FROM {table}").fetchall())


def _read_json(paths: str, gz: bool, headers: Sequence[str] = ()) -> str:
    types = ", ".join(f"{sql_text(header)}: 'JSON'" for header in headers)
    guessed = "sample_size=-1, maximum_depth=1, map_inference_threshold=-1"
    shape = f"columns={{{types}}}" if headers else guessed
    packed = "gzip" if gz else "none"
    return (
        f"read_json([{paths}], {shape}, records='true', compression='{packed}',"
        f" maximum_object_size={bounds.LONGEST_LINE})"
    )


def _read_csv(paths: str, file: File) -> str:
    """DuckDB's sniffer may take leading rows for a preamble and skip them, so all is said here."""
    types = ", ".join(f"{sql_text(header)}: 'VARCHAR'" for header in file.headers)
    quote, escape = ("''", "''") if file.headless else ("'\"'", sql_text(file.escape))
    packed = "gzip" if file.gz else "none"
    return (
        f"read_csv([{paths}], auto_detect=false, header={not file.headless}, skip={file.skip},"
        f" delim={sql_text(file.delimiter)}, quote={quote}, escape={escape},"
        f" columns={{{types}}}, compression='{packed}', max_line_size={bounds.LONGEST_LINE})"
    )


def let_in(
    con: duckdb.DuckDBPyConnection,
    scans: str,
    headers: dict[str, str],
    allowed: Collection[str] | None,
) -> tuple[str, list[str]]:
    """SQL of rows without the columns that are not allowed, which go out of ``headers``.

    And these; None allows all. A refusal is heard in any case.
    """
    if allowed is None:
        return scans, []
    known = {"consent", *(name.lower() for name in allowed)}
    out = [headers.pop(name) for name in headers.keys() - known]
    gone = {*out, *(header + AS_TIME for header in out)}
    names = [name for name in con.sql(scans).columns if plain(name) not in gone]
    kept = f"SELECT {', '.join(map(sql_name, names))} FROM ({scans})" if names else scans
    return kept, sorted(out)
