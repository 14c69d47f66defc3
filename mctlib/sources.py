"""Export files to canonical tables: `open_log("name")` reads params/data.<name>.yaml and gives an `EventLog`.

Every file, whatever its tool, becomes a staged table of text columns (CSV, JSON lines or Parquet; plain, .gz or .zip). A reader then only says which
column or property of that table fills which canonical column; `select` does the rest: times to UTC, yes/no answers, what is left over to `properties`
without regulated data. A new tool is one reader function, one line in `READERS`, one fixture in tests/exports and one test.
"""

import codecs
import csv
import gzip
import hashlib
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
from typing import Annotated, Any, NamedTuple
from zoneinfo import available_timezones

import duckdb
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib import log
from mctlib.log import CANONICAL, DataError, EventLog, ParameterError, nearest

REQUIRED = {
    "events": ("event", "timestamp"),
    "people": ("user_id",),
    "surveys": ("submitted_at", "micro_conversion", "answer"),
    "backend": ("user_id", "event", "timestamp"),
    "spend": ("day", "amount"),
    "timeline": ("day", "kind", "label"),
    "responses": ("alert_id",),
}
DAYS = {"day", "detected_on", "decided_on", "shipped_on"}

UNITS = (("seconds", 9, 11, 1_000_000), ("milliseconds", 12, 14, 1_000), ("microseconds", 15, 17, 1))  # digits of a count since 1970, microseconds in one

# Keys whose values are personal data wherever they stand in `properties`; the whole value goes.
REGULATED = (
    r"[^\"]*e[-_ ]?mail(?:[-_ ]?address)?|[^\"]*phone(?:[-_ ]?number)?|[^\"]*mobile[-_ ]?number|(?:[^\"]*[-_ .$])?ip(?:[-_ ]?addr(?:ess)?)?"
    r"|user_ipaddress|(?:[^\"]*traits[_.])?\$?(?:user|first|last|full|middle|sur|family|given|display|nick|contact)?[-_ ]?name"
)
ZERO_WIDTH = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff"))


class Source(BaseModel):
    """One line of a data YAML: where the files are and how to read them.

    path: a path or glob, or a list of them, absolute or relative to the project root. format: a name in `READERS`. columns: canonical column -> the file's
    own header (or property). timezone: IANA name, used for times that carry no zone of their own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str | list[str]
    format: str = "canonical"
    columns: dict[str, str] = {}
    timezone: str | None = None


class Demo(BaseModel):
    """The seeded demo product instead of files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    seed: int = 1
    users: int = 20000


Sources = Annotated[list[Source], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)]


class Dataset(BaseModel):
    """A data YAML: a name, and for each canonical table one source or a list of them (or `demo`)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    demo: Demo | None = None
    events: Sources = []
    people: Sources = []
    surveys: Sources = []
    backend: Sources = []
    spend: Sources = []
    timeline: Sources = []
    responses: Sources = []


# ---- files ----------------------------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """One readable file. `shown` is what the user wrote or the member of an archive; `headers` are its columns or top-level keys, as spelt there."""

    path: Path
    shown: str
    kind: str
    headers: tuple[str, ...]
    gz: bool = False
    delimiter: str = ""
    headless: bool = False


@contextmanager
def _one_sentence(paths: dict[Path, str]) -> Iterator[None]:
    """Turn what DuckDB, gzip and the codecs raise about these files (path -> name to show) into one sentence."""
    try:
        yield
    except (duckdb.Error, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, UnicodeDecodeError) as error:
        text = str(error)
        path = next((path for path in paths if str(path) in text), next(iter(paths)))
        if isinstance(error, (EOFError, zlib.error)) or "GZIP" in text:
            message = "is cut short: the gzip stream ends too early. Copy or export it again."
        elif isinstance(error, UnicodeDecodeError) or re.search("unicode|utf-8", text, re.IGNORECASE):
            message = f"is not UTF-8{_bad_line(path, bytes.decode)}. Save it as UTF-8."
        elif "JSON" in text:
            message = f"is not valid JSON{_bad_line(path, json.loads)}: the line is cut or damaged. Export it again or remove the line."
        elif found := re.search(r"Line: (\d+).*Expected Number of Columns: (\d+) Found: (\d+)", text, re.DOTALL):
            message = "has in line {} {} columns instead of {}. Check the separators and quotes there.".format(*found.group(1, 3, 2))
        elif found := re.search(r"Line: (\d+).*unterminated quote", text, re.DOTALL):
            message = f"has in line {found[1]} a quote that is never closed."
        elif "arquet" in text:
            message = "is not a complete Parquet file. Copy or export it again."
        else:
            message = f"cannot be read: {text.splitlines()[0]}"
        raise DataError(f"{paths[path]} {message}") from None


def _bad_line(path: Path, check: Callable[[bytes], Any]) -> str:
    """Look for the line again in Python: DuckDB's line numbers are off by one for JSON, and missing for encodings."""
    with path.open("rb") as raw, (gzip.open(raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw) as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.strip() and check(line)
            except ValueError:
                return f" in line {number}"
    return ""


def _look(con: duckdb.DuckDBPyConnection, path: Path, shown: str) -> File:
    """Find out by content what a file is, and its columns."""
    with _one_sentence({path: shown}):
        with path.open("rb") as raw:
            start = raw.read(4)
        if start == b"PAR1":
            return File(path, shown, "parquet", tuple(row[0] for row in con.sql(f"DESCRIBE FROM read_parquet({_text(path)})").fetchall()))
        gz = start[:2] == b"\x1f\x8b"
        with (gzip.open if gz else open)(path, "rb") as stream:
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(stream.read(1 << 16))
        if not text.strip():
            raise DataError(f"{shown} is empty.")
        if text.lstrip()[0] in "{[":
            return File(path, shown, "json", tuple(row[0] for row in con.sql(f"DESCRIBE FROM {_read_json(_text(path), gz)}").fetchall()), gz)
    delimiter = max(",;\t|", key=text.split("\n", 1)[0].count)
    headers = tuple(next(csv.reader(io.StringIO(text), delimiter=delimiter)))
    if delimiter == "\t" and len(headers) > 100 and "event_id" not in headers:
        return File(path, shown, "csv", SNOWPLOW[: len(headers)], gz, delimiter, headless=True)
    return File(path, shown, "csv", headers, gz, delimiter)


def _find(con: duckdb.DuckDBPyConnection, source: Source, root: Path, folder: Path) -> list[File]:
    """Resolve paths and globs; members of zip archives are extracted, streaming, into `folder`."""
    files: list[File] = []
    for written in [source.path] if isinstance(source.path, str) else source.path:
        paths = sorted(path for path in map(Path, glob(str(root / written), recursive=True)) if path.is_file())
        if not paths and any(sign in written for sign in "*?["):
            raise DataError(f'No file matches "{written}" in {root}.')
        if not paths:
            parent = (root / written).parent
            near = nearest(Path(written).name, [path.name for path in parent.iterdir()] if parent.is_dir() else [])
            raise DataError(f'The file "{written}" does not exist in {root}.{near}')
        for path in paths:
            shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
            with path.open("rb") as raw:
                zipped = raw.read(4) == b"PK\x03\x04"
            if not zipped:
                files.append(_look(con, path, shown))
                continue
            with _one_sentence({path: shown}), zipfile.ZipFile(path) as archive:
                if "[Content_Types].xml" in archive.namelist():
                    raise DataError(f"{shown} is an Excel workbook. Save the sheet as CSV.")
                for member in archive.infolist():
                    if member.is_dir() or member.filename.startswith("__MACOSX"):
                        continue
                    copy = Path(tempfile.mkdtemp(dir=folder)) / Path(member.filename).name
                    with archive.open(member) as packed, copy.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)
                    files.append(_look(con, copy, f"{shown}: {member.filename}"))
    return files


def _text(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _clean(header: str) -> str:
    return header.translate(ZERO_WIDTH).strip()


def _read_json(paths: str, gz: bool, headers: Sequence[str] = ()) -> str:
    types = ", ".join(f"{_text(header)}: 'JSON'" for header in headers)
    shape = f"columns={{{types}}}" if headers else "sample_size=-1, maximum_depth=1, map_inference_threshold=-1"
    return f"read_json([{paths}], {shape}, records='true', compression='{'gzip' if gz else 'none'}', maximum_object_size=67108864)"


def _scan(con: duckdb.DuckDBPyConnection, files: Sequence[File]) -> str:
    """SELECT of files of one shape, each column as text; nested JSON and Parquet values as JSON text."""
    first, paths = files[0], ", ".join(_text(file.path) for file in files)
    columns = [_name(header) for header in first.headers]
    if first.kind == "parquet":
        table = f"read_parquet([{paths}])"
        kinds = [row[1] for row in con.sql(f"DESCRIBE FROM {table}").fetchall()]
        columns = [f"to_json({c})::VARCHAR" if re.search(r"STRUCT|MAP|\[|JSON|VARIANT", kind) else f"{c}::VARCHAR" for c, kind in zip(columns, kinds)]
    elif first.kind == "json":
        table = _read_json(paths, first.gz, first.headers)
        columns = [f"({c}->>'$')" for c in columns]
    else:
        quote = "''" if first.headless else "'\"'"
        types = ", ".join(f"{_text(header)}: 'VARCHAR'" for header in first.headers)
        # DuckDB's sniffer may take leading rows for a preamble and skip them without a word, so everything is said explicitly.
        table = (
            f"read_csv([{paths}], auto_detect=false, header={not first.headless}, delim={_text(first.delimiter)}, quote={quote}, escape={quote},"
            f" columns={{{types}}}, compression='{'gzip' if first.gz else 'none'}', max_line_size=16777216)"
        )
    return "SELECT " + ", ".join(f"{c} AS {_name(_clean(h))}" for c, h in zip(columns, first.headers)) + f" FROM {table}"


# ---- staged tables and the one SELECT -------------------------------------------------------------------------------------------------------------------


@dataclass
class Stage:
    """The files of one role as one table of text columns. `get` is how a reader names what it uses; what nobody used goes to `properties`."""

    con: duckdb.DuckDBPyConnection
    source: Source
    files: list[File]
    table: str
    timezone: str | None
    headers: dict[str, str] = field(default_factory=dict)
    props: str = ""
    keys: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        shapes: dict[tuple, list[File]] = {}
        for file in self.files:
            names = [_clean(header).lower() for header in file.headers]
            if doubled := [header for header, name in zip(file.headers, names) if names.count(name) > 1]:
                raise DataError(f'{file.shown} has the column "{doubled[0]}" twice. Rename or remove one of them.')
            self.headers = {name: _clean(header) for header, name in zip(file.headers, names)} | self.headers
            shapes.setdefault((file.kind, file.gz, file.delimiter, file.headers), []).append(file)
        with _one_sentence({file.path: file.shown for file in self.files}):
            self.con.execute(f"CREATE TABLE {self.table} AS " + " UNION ALL BY NAME ".join(_scan(self.con, same) for same in shapes.values()))
        if not self.con.sql(f"SELECT 1 FROM {self.table} LIMIT 1").fetchall():
            raise DataError(f"{self.shown} has a header and no rows.")

    @property
    def shown(self) -> str:
        return self.files[0].shown + (f" and {len(self.files) - 1} more" if len(self.files) > 1 else "")

    def open(self, props: str, *headers: str) -> "Stage":
        """Declare a JSON object (SQL over the staged columns `headers`) whose keys count as columns too."""
        self.props = f"({props})"
        self.used.update(headers)
        self.keys = [row[0] for row in self.con.sql(f"SELECT DISTINCT unnest(json_keys({props})) FROM {self.table} ORDER BY ALL").fetchall()]
        return self

    def find(self, name: str) -> str | None:
        """SQL for a column, or else a property, of this name; None when the files have neither."""
        if name.lower() in self.headers:
            self.used.add(name.lower())
            return _name(self.headers[name.lower()])
        if name in self.keys:
            self.used.add(name)
            return f"({self.props}->>{_text('$.' + json.dumps(name, ensure_ascii=False))})"
        return None

    def get(self, *names: str) -> str:
        """SQL for the first of these that has a value in a row; NULL when no file has any of them (a column never sent)."""
        found = [f"clean({sql})" for name in names if (sql := self.find(name))]
        return f"coalesce({', '.join(found)})" if found else "NULL"

    def select(self, table: str, **mapping: str) -> str:
        """SELECT of one canonical table: the YAML's `columns` first, then the reader's `mapping` (SQL), then a column or property of the same name."""
        names = [*self.headers.values(), *self.keys]
        chosen = {}
        for column, header in self.source.columns.items():
            if column not in CANONICAL[table]:
                raise DataError(f'{self.shown}: "{column}" in columns is not a column of {table}.{nearest(column, CANONICAL[table])}')
            if not (sql := self.find(header)):
                raise DataError(f'{self.shown} has no column "{header}", mapped to {column}.{nearest(header, names)}')
            chosen[column] = f"clean({sql})"
        for column in CANONICAL[table]:
            if column != "properties" and column not in chosen and (sql := mapping.get(column) or self.get(column)) != "NULL":
                chosen[column] = sql
        for column in REQUIRED[table]:
            if column not in chosen:
                hint = nearest(column, names) or f" Its columns are: {', '.join(names[:12])}."
                raise DataError(f'{self.shown} has no column "{column}" for {table}.{hint} Map it with columns: {{{column}: "its header"}}.')
        if table == "events" and not {"user_id", "anonymous_id"} & chosen.keys():
            raise DataError(f'{self.shown} has no column "user_id" for events.{nearest("user_id", names)} Map it with columns: {{user_id: "its header"}}.')
        for column, sql in list(chosen.items()):
            if column == "anonymous_id":  # some tools put an e-mail address there
                chosen[column] = f"CASE WHEN NOT contains({sql}, '@') THEN {sql} END"
            elif column == "answer":
                chosen[column] = f"yes_no({sql})"
            elif column in DAYS:
                chosen[column] = f"CAST({self.time(column, sql, 'UTC')} AS DATE)"
            elif column in ("timestamp", "received_at") or column.endswith("_at"):
                chosen[column] = self.time(column, sql, self.timezone)
                if column == "timestamp":
                    chosen["timestamp_raw"] = sql
        if "properties" in CANONICAL[table]:
            chosen["properties"] = self.rest()
        return "SELECT " + ", ".join(f"{sql} AS {column}" for column, sql in chosen.items()) + f" FROM {self.table}"

    def rest(self) -> str:
        """JSON text of everything not used so far, without regulated keys, e-mail addresses and nulls."""
        left = [header for name, header in self.headers.items() if name not in self.used and not re.fullmatch(REGULATED, header, re.IGNORECASE)]
        parts = [f"json_object({', '.join(f'{_text(header)}, as_json({_name(header)})' for header in left)})"] if left else []
        if self.props:
            gone = json.dumps({key: None for key in self.keys if key in self.used}, ensure_ascii=False)
            parts.append(f"json_merge_patch({self.props}, {_text(gone)}::JSON)")
        both = f"json_merge_patch({', '.join(parts)})" if len(parts) == 2 else parts[0] if parts else "NULL"
        return f"nullif(json_merge_patch('{{}}'::JSON, try_cast(scrub({both}::VARCHAR) AS JSON))::VARCHAR, '{{}}')"

    def time(self, column: str, sql: str, timezone: str | None) -> str:
        """SQL of a UTC timestamp (NULL where unreadable), after one look over the column at how times are written there."""
        x = f"regexp_replace({sql}, '^(\\d{{4}})(\\d\\d)(\\d\\d)$', '\\1-\\2-\\3')"
        tests = {unit: f"regexp_full_match(x, '\\d{{{low},{high}}}(\\.\\d+)?')" for unit, low, high, _ in UNITS}
        tests |= {"unreadable": "try_cast(x AS TIMESTAMPTZ) IS NULL"}
        tests |= {"naive": "regexp_full_match(x, '\\d+-\\d+-\\d+([T ]+\\d+:\\d+(:\\d+([.,]\\d+)?)?)?')", "zoned": "TRUE"}
        cases = " ".join(f"WHEN {test} THEN '{kind}'" for kind, test in tests.items())
        rows = self.con.sql(
            f"SELECT CASE {cases} END AS kind, count(*), min(x) FROM (SELECT {x} AS x FROM {self.table}) WHERE x IS NOT NULL GROUP BY kind"
        ).fetchall()
        counts, example = {kind: n for kind, n, _ in rows}, {kind: value for kind, _, value in rows}
        units = [unit for unit, *_ in UNITS if unit in counts]
        if len(units) > 1:
            mixed = " and ".join(f"{unit} ({counts[unit]} rows)" for unit in units)
            raise DataError(f'{self.shown}: the times in "{column}" mix {mixed}. Split the file by unit.')
        if counts.get("unreadable", 0) * 10 > sum(counts.values()):
            raise DataError(
                f'{self.shown}: {counts["unreadable"]} of {sum(counts.values())} values of "{column}" cannot be read as times, for example'
                f' "{example["unreadable"]}". Write them like 2026-01-05T10:11:12Z.'
            )
        if "naive" in counts and timezone is None:
            raise DataError(
                f'{self.shown}: the times in "{column}" carry no time zone, for example "{example["naive"]}". Add to this source the line  timezone: UTC'
                "  (or the IANA name of the zone they were written in)."
            )
        made = {unit: f"make_timestamp(CAST(round(CAST(x AS DOUBLE) * {factor}) AS BIGINT))" for unit, *_, factor in UNITS}
        made["naive"] = "try_cast(x AS TIMESTAMP)" if timezone == "UTC" else f"timezone('UTC', timezone({_text(timezone)}, try_cast(x AS TIMESTAMP)))"
        made["zoned"] = "timezone('UTC', try_cast(x AS TIMESTAMPTZ))"
        present = [kind for kind in made if kind in counts]
        if len(present) < 2 and "unreadable" not in counts:
            result = made[present[0]] if present else "CAST(NULL AS TIMESTAMP)"
        else:
            result = "CASE " + " ".join(f"WHEN {tests[kind]} THEN {made[kind]}" for kind in tests if kind in present) + " END"
        return result.replace("x AS", f"{x} AS").replace("(x,", f"({x},")


MACROS = f"""
SET TimeZone = 'UTC';
CREATE TEMP MACRO clean(x) AS CASE WHEN trim(x) NOT IN ('', 'null', 'NULL', 'None', '\\N', 'NaN', 'NaT') THEN trim(x) END;
CREATE TEMP MACRO as_json(x) AS CASE WHEN left(x, 1) IN ('{{', '[') AND json_valid(x) THEN x::JSON ELSE to_json(x) END;
CREATE TEMP MACRO scrub(x) AS regexp_replace(CASE WHEN contains(x, '@') OR contains(x, '%40')
    THEN regexp_replace(x, '[^\\s"@:=&/?<>,;]+(@|%40)[^\\s"@:=&/?<>,;]+\\.[A-Za-z]{{2,}}', '[e-mail removed]', 'g') ELSE x END,
    '"({REGULATED})"\\s*:\\s*("(?:[^"\\\\]|\\\\.)*"|\\{{[^{{}}]*\\}}|\\[[^\\[\\]]*\\]|[^",{{}}\\[\\]\\s]+)', '"\\1":null', 'gi');
CREATE TEMP MACRO yes_no(x) AS CASE WHEN regexp_matches(lower(x), '^(yes|y|yep|true|1|ja|oui|si|sim)\\b') THEN 'yes'
    WHEN regexp_matches(lower(x), '^(no|n|nope|false|0|nein|non|nao)\\b') THEN 'no' END;
CREATE TEMP MACRO platform_of(x) AS CASE WHEN regexp_matches(lower(x), 'web|javascript|browser|analytics\\.js|^js$') THEN 'web'
    WHEN regexp_matches(lower(x), 'ios|iphone|ipad|swift|objective') THEN 'ios' WHEN regexp_matches(lower(x), 'android') THEN 'android'
    WHEN regexp_matches(lower(x), 'srv|server|api|python|node|java|^go|php|ruby') THEN 'api' ELSE lower(x) END;
"""
