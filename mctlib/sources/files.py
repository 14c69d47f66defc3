"""Any export file as a SELECT of text columns.

Files are told apart by content, not by name: CSV, JSON lines or Parquet; plain, .gz, or members of
a .zip. Everything streams through DuckDB, so files may be larger than memory.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.build import disk_full
from mctlib.eventlog.sql import sql_name, sql_text

ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))
GZIP = b"\x1f\x8b"
# what stands before the first tag is taken once (?>, *+): no other way to take it helps
HTML = re.compile(
    r"(?:\s++|<\?xml[^>]*+>|(?><!--.*?-->))*+<(!doctype\s+)?html\b",
    flags=re.IGNORECASE | re.DOTALL,
)
MOST_COLUMNS = 10_000
MOST_MEMBERS = 10_000  # of an archive
LONGEST_LINE = 1 << 24
# Types of columns that hold times, not words or counts for them.
TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")
# Ends the name of such a column as it is, beside its text; no plain header ends so.
AS_TIME = "\u200b"

# What an error of DuckDB or a codec says of a file; the sentence for people, the first that fits;
# what to look for the line with.
FAULTS: list[tuple[str, str, Callable[[bytes], Any] | None]] = [
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
    (r"(?i)unicode|utf-8", "is not UTF-8{line}. Save it as UTF-8.", bytes.decode),
    (r"in line (\d+): .*duplicate key (\".*?\")", "has in line {0} the key {1} twice.", None),
    (
        r"Maximum line size|maximum_object_size",
        "has a line, or one object of JSON, that is longer than 16 MB."
        " Check its line ends and quotes.",
        None,
    ),
    (
        r"field larger than field limit",
        "has a column whose name does not end. Check its quotes.",
        None,
    ),
    (r"maximum recursion depth", "nests JSON deeper than 128 levels. Export it flatter.", None),
    (
        r"state machine reached",
        "ends some lines otherwise than others. Save it again with one kind of line ends.",
        None,
    ),
    (
        r"JSON",
        "is not valid JSON{line}: the line is cut or damaged. Export it again or remove the line.",
        json.loads,
    ),
    (
        r"(?s)Line: (\d+).*Expected Number of Columns: (\d+) Found: (\d+)",
        "has in line {0} {2} columns instead of {1}. Check the separators and quotes there.",
        None,
    ),
    (
        r"(?s)Line: (\d+).*unterminated quote",
        "has from line {0} a quote that is never closed.",
        None,
    ),
    (r"arquet", "is not a complete Parquet file. Copy or export it again.", None),
]


def plain(header: str) -> str:
    """A header without the invisible characters that some exports hold."""
    return header.translate(ZERO_WIDTH).strip()


@dataclass(frozen=True)
class File:
    """One readable file, or the answer to a query (kind arrow).

    path: of an answer, the name it is registered under. shown: its name for people, a member of an
    archive with the archive. headers: its columns or top-level keys.
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
        csv.Error,
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
            return sentence.format(*found.groups(), line=line)
    return f"cannot be read: {str(error).splitlines()[0]}"


def _bad_line(path: Path, check: Callable[[bytes], Any]) -> str:
    """Look for the line again: DuckDB's numbers are off by one for JSON, missing for encodings."""
    with path.open("rb") as raw, gzip.open(raw) if raw.peek(2)[:2] == GZIP else raw as lines:
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
    folder: Path,
    headless: tuple[str, ...] = (),
) -> list[File]:
    """Look at every file, see `look`; members of archives are first unpacked into `folder`."""
    files: list[File] = []
    for path in paths:
        shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
        with path.open("rb") as raw:
            zipped = raw.read(4) == b"PK\x03\x04"
        found = _unpacked(path, shown, folder) if zipped else [(path, shown)]
        for each, name in found:
            files.append(look(con, each, name, headless=headless))
            _refuse_many(len(files[-1].headers), name)
    return files


def _unpacked(path: Path, shown: str, folder: Path) -> Iterator[tuple[Path, str]]:
    with one_sentence({path: shown}), zipfile.ZipFile(path) as archive:
        if "[Content_Types].xml" in archive.namelist():
            raise DataError(f"{shown} is an Excel workbook. Save the sheet as CSV.")
        size, free = sum(m.file_size for m in archive.infolist()), shutil.disk_usage(folder).free
        if size > free or len(archive.infolist()) > MOST_MEMBERS:
            held = f"{len(archive.infolist()):,} files of {size / 1e9:,.1f} GB"
            raise DataError(
                f"{shown} holds {held} when it is unpacked; there is room for {free / 1e9:,.1f} GB"
                f" and {MOST_MEMBERS:,} files. Unpack what is needed."
            )
        for member in archive.infolist():
            name = Path(member.filename).name
            # some archivers add their own notes, as in __MACOSX/._events.csv
            if member.is_dir() or name.startswith("."):
                continue
            copy = Path(tempfile.mkdtemp(dir=folder)) / name
            with archive.open(member) as packed, copy.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            yield copy, f"{shown}: {member.filename}"


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
            headers = _described(con, f"read_parquet({sql_text(path)})")
            return File(path, shown, "parquet", headers)
        gz = start[:2] == GZIP
        with (gzip.open if gz else open)(path, "rb") as stream:
            begun = stream.read(1 << 16)
            while len(begun) < LONGEST_LINE and not re.search(rb"[\r\n]", begun.lstrip()):
                if not (more := stream.read(1 << 20)):
                    break
                begun += more
            head = codecs.getincrementaldecoder("utf-8-sig")().decode(begun)
        if not head.strip():
            raise DataError(f"{shown} is empty.")
        if HTML.match(head):
            raise DataError(
                f"{shown} is a web page (HTML), not an export. Download it again, signed in."
            )
        if head.lstrip()[0] in "{[":
            _refuse_many_keys(con, path, shown, gz)
            headers = _described(con, _read_json(sql_text(path), gz))
            return File(path, shown, "json", headers, gz)
        if not gz and _endless(path):
            raise duckdb.Error("Maximum line size")
        delimiter = max(",;\t|", key=re.split("[\r\n]", head, maxsplit=1)[0].count)
        # old spreadsheets end lines by \r alone
        headers = tuple(next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)))
    if delimiter == "\t" and len(headers) > 100 and not set(headers) & set(headless):
        return File(path, shown, "csv", headless[: len(headers)], gz, delimiter, headless=True)
    return File(path, shown, "csv", headers, gz, delimiter)


def _endless(path: Path) -> bool:
    """Whether a line is so long that DuckDB, which gives up on it, would not even say so."""
    with path.open("rb") as raw:
        for at in range(0, path.stat().st_size, 4 * LONGEST_LINE):
            raw.seek(at)
            n = 0
            while n < LONGEST_LINE and (part := raw.read(1 << 16)):
                if b"\n" in part or b"\r" in part:
                    break
                n += len(part)
            if n >= LONGEST_LINE:
                return True
    return False


def _refuse_many_keys(con: duckdb.DuckDBPyConnection, path: Path, shown: str, gz: bool) -> None:
    """The time to look at all objects at once grows with the square of their keys: count first."""
    packed = "gzip" if gz else "none"
    read = f"read_json_objects({sql_text(path)}, compression='{packed}', ignore_errors=true)"
    keys = "unnest(list_concat(json_keys(json), json_keys(json, '$.properties')))"
    counted = f"SELECT count(DISTINCT k) FROM (SELECT {keys} AS k FROM (FROM {read} LIMIT 50000))"
    with suppress(duckdb.Error):  # whoever reads all of it will say what is wrong
        _refuse_many(con.sql(counted).fetchall()[0][0], shown)


def _refuse_many(n: int, shown: str) -> None:
    if n > MOST_COLUMNS:
        raise DataError(
            f"{shown} has {n:,} columns, more than {MOST_COLUMNS:,}. What changes from row to row"
            " stands in their names; put it into a column of values."
        )


def scan(con: duckdb.DuckDBPyConnection, files: Sequence[File]) -> str:
    """SELECT of files of one shape, each column as text; nested JSON and Parquet as JSON text.

    Times of Parquet stand a second time as they are, see `AS_TIME`.
    """
    first = files[0]
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
        f" maximum_object_size={LONGEST_LINE})"
    )


def _read_csv(paths: str, file: File) -> str:
    """DuckDB's sniffer may take leading rows for a preamble and skip them, so all is said here."""
    types = ", ".join(f"{sql_text(header)}: 'VARCHAR'" for header in file.headers)
    quote = "''" if file.headless else "'\"'"
    packed = "gzip" if file.gz else "none"
    return (
        f"read_csv([{paths}], auto_detect=false, header={not file.headless},"
        f" delim={sql_text(file.delimiter)}, quote={quote}, escape={quote},"
        f" columns={{{types}}}, compression='{packed}', max_line_size={LONGEST_LINE})"
    )
