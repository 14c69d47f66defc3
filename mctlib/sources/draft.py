"""A first draft of a dataset's YAML, from what stands in the files."""

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias
from zoneinfo import available_timezones

import duckdb

from mctlib.contract import CANONICAL, REQUIRED, TABLES, DataError, Mistakes, column_type, nearest
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.sources.data_yaml import name_fault
from mctlib.sources.files import File, find, listed, one_sentence, plain, rows_inside, scan
from mctlib.sources.headers import CODES, CURRENCY, LIKELY, word_of
from mctlib.sources.project import paths_of, project_root, store_folder
from mctlib.sources.readers import HEADLESS, READERS, recognised
from mctlib.sources.times import TimeColumn, letters_behind, local_example, unread
from mctlib.sources.unpack import Unpacking, likely_encoding, sheets_of
from mctlib.sources.workbench import workbench

HEAD = "# Drafted from the files; look at every line marked with a question mark."
YES_OR_NO = {"yes", "no", "0", "1", "true", "false"}
# Lines of a draft that are put to a person: what is commented out, and a zone that is a guess.
ASKED = r"( *)(?:# (?=currency|timezone|date_format)|(?=timezone))(\w+): (\S+|\".*?\")  # (.*)"
CLOCK = r"\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[AaPp]\.?[Mm]\.?)?"
# Header -> some of the values that stand below it.
Values: TypeAlias = dict[str, list[str]]
# Table, format, further lines of a source.
Drafted: TypeAlias = tuple[str, str, tuple[str, ...]]


class _Untold(DataError):
    """What a file's columns mean is not told by their names.

    ``asked``: the lines of a source of events that ask for it, where there may be one.
    """

    def __init__(self, file: File, inside: str, values: Values) -> None:
        said = f"its columns are {listed(file.headers)}."
        if len(file.headers) == 1 and file.kind == "csv":
            said = f'it has one column, "{listed(file.headers)}". Part them by commas or tabs.'
        why = inside or " They name neither a user nor a day." * (len(file.headers) > 1)
        super().__init__(f"{file.shown} fits no table: {said}{why}")
        self.asked: tuple[str, ...] = ()
        if len(file.headers) >= len(REQUIRED["events"]):
            chosen = _guesses("events", values)
            questions = [_question(c, chosen, values) for c in _lacking("events", chosen)]
            other = "    # or is it people (one row a user), surveys, spend ...? Its columns then:"
            self.asked = (f"{other} see README.md", *_map_lines("events", chosen, {}, questions))


def draft(name: str, files: Sequence[str]) -> str:
    """Write a first data YAML for some files.

    Formats are told by their columns, the maps of columns guessed, and every guess is marked: so is
    a required column that is not found, and a file that is left out.

    Parameters
    ----------
    name : str
        Of the dataset.
    files : sequence of str
        Paths of its exports.

    Returns
    -------
    str
        The YAML as text.

    Raises
    ------
    DataError
        The name cannot name a store, a file is missing, or none can be read and fits a table.
    """
    root, mistakes = project_root(), Mistakes()
    paths: list[Path] = []
    if fault := name_fault(name):
        mistakes.append(fault)
    for written in files:
        with mistakes.noted():
            paths += paths_of([str(Path(written).resolve())], root)
    alike: dict[Drafted, list[str]] = {}
    currencies: set[str] = set()
    left_out: list[str] = []
    untold: list[tuple[str, str, tuple[str, ...]]] = []
    with workbench(store_folder(root)) as (con, folder):
        for path in dict.fromkeys(paths):
            shown = str(path.relative_to(root) if path.is_relative_to(root) else path)
            for unpacking in _ways(path, shown, folder, left_out):
                try:
                    drafted = _drafted(con, path, root, unpacking, currencies)
                    alike.setdefault(drafted, []).append(shown)
                except _Untold as error:
                    untold.append((str(error), shown, error.asked))
                except DataError as error:
                    left_out.append(" ".join(str(error).split()))
    if mistakes:
        raise DataError("\n".join([*mistakes, *left_out]))
    if not alike:  # nothing else is told of events: what holds them is asked
        alike = {("events", "columns", asked): [shown] for _, shown, asked in untold if asked}
        untold = [said for said in untold if not said[2]]
    left_out += [said for said, *_ in untold]
    if not alike:
        raise DataError("\n".join(left_out))
    lines = [f"name: {name}", *_currency_lines(currencies)]
    lines += [f"# left out: {sentence}" for sentence in left_out]
    return "\n".join([HEAD, *lines, *_table_lines(alike)]) + "\n"


def _table_lines(alike: dict[Drafted, list[str]]) -> list[str]:
    """What a draft says of each table: the sources that fill it. alike: source -> its files."""
    lines = []
    for table in TABLES:
        sources = {key: names for key, names in alike.items() if key[0] == table}
        lines += [f"{table}:"] if sources else []
        for (_, format, more), names in sources.items():
            where = json.dumps(names if len(names) > 1 else names[0], ensure_ascii=False)
            lines.append(f"  - path: {where}")
            lines += [f"    format: {format}", *more]
    return lines


def answered(text: str, ask: Callable[..., str]) -> str:
    """A draft whose open questions are put to ``ask`` (question, default=what the draft says).

    Asked is what no file can tell; of several sources that lack the same, once.
    """
    lines, said = [], {}
    for line in text.splitlines():
        if lacking := re.fullmatch(r'( +"\w+": )"\?"  # not found: (.*)', line):
            line = lacking[1] + json.dumps(ask(f"{lacking[1].strip()} {lacking[2]}"))
        elif unsure := re.fullmatch(ASKED, line):
            indent, field, value, question = unsure.groups()
            question = f"{field}: {question.removeprefix('guessed? ')}"
            if question not in said:
                said[question] = ask(question, default=value)
            while field == "timezone" and said[question] not in (zones := available_timezones()):
                near = nearest(said[question], zones)
                said[question] = ask(f'"{said[question]}" is no IANA name.{near}', default=value)
            line = f"{indent}{field}: {said[question]}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _ways(path: Path, shown: str, folder: Path, left_out: list[str]) -> list[Unpacking]:
    """How to read a file: each sheet of a workbook, else the whole in its likely encoding."""
    try:
        with one_sentence({path: shown}):
            sheets = sheets_of(path, shown)
            encoding = likely_encoding(path)
    except DataError as error:
        left_out.append(str(error))
        return []
    if len(sheets) > 1:
        return [Unpacking(folder, sheet=sheet) for sheet in sheets]
    return [Unpacking(folder, encoding)]


def _drafted(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    root: Path,
    unpacking: Unpacking,
    currencies: set[str],
) -> Drafted:
    """As `_described`, of a file however packed."""
    files = find(con, [path], root=root, unpacking=unpacking, headless=HEADLESS)
    with one_sentence({file.path: file.shown for file in files}):
        shapes = {file.headers: file for file in files}.values()
        found = [_described(con, file, currencies) for file in shapes]
    table, format, more = found[0]
    if {other[:2] for other in found} != {(table, format)}:
        kinds = " and ".join(sorted({other[0] for other in found}))
        raise DataError(f"{files[0].shown} and its like hold {kinds}. Unpack them and name each.")
    if unpacking.encoding:
        more += (f"    encoding: {unpacking.encoding}  # guessed? the file is not UTF-8",)
    if unpacking.sheet:
        more += (f"    sheet: {json.dumps(unpacking.sheet, ensure_ascii=False)}",)
    return table, format, more


def _described(con: duckdb.DuckDBPyConnection, file: File, currencies: set[str]) -> Drafted:
    """Of one file: its table, its format, and the further lines of its source.

    What its money is in joins the ``currencies``.
    """
    rows = con.sql(f"{scan(con, [file])} LIMIT 1000").fetchall()
    values: Values = {
        plain(header): [row[i] for row in rows if row[i]] for i, header in enumerate(file.headers)
    }
    currencies |= _currencies(values | _properties(values))
    format = recognised(file)
    if format == "mixpanel" and not any('"distinct_id"' in p for p in values.get("properties", ())):
        format = None
    if format in (None, "canonical"):
        table = _likely_table(values)
        if table is None:
            # what no column says may stand in the properties
            values |= _properties(values)
            table = _likely_table(values)
        if table is None:
            raise _Untold(file, rows_inside(con, file), values)
        chosen = _guesses(table, values)
        bags = [h for h, seen in values.items() if seen and _all_match(r"(?s)\{.*\}", seen)]
        if len(bags) == 1 and "properties" in CANONICAL[table]:
            chosen.setdefault("properties", bags[0])
        clocks = _clocks(chosen, values)
        asked = [_question(column, chosen, values) for column in _lacking(table, chosen)]
        times = _time_lines(con, file, chosen, clocks)
        lines = [*_map_lines(table, chosen, clocks, asked), *times]
        if table == "events" and re.search("backend|server", file.shown, re.IGNORECASE):
            table = "backend"
        return table, "columns" if "    columns:" in lines else "canonical", tuple(lines)
    table = READERS[format].tables[0]
    if format not in ("typeform", "zigpoll_segment"):
        return table, format, ()
    # each column of yes and no is a question about some micro-conversion
    guesses = _guesses(table, values)
    chosen = {column: guesses[column] for column in guesses if column in ("user_id", "reason")}
    for header, seen in values.items():
        if seen and {value.lower() for value in seen} <= YES_OR_NO:
            chosen[re.sub(r"\W+", "_", header.lower()).strip("_")[:40]] = header
    return table, format, tuple(_map_lines(table, chosen, {}))


def _currencies(values: Values) -> set[str]:
    """In what the amounts below some headers are; "" for money that does not say it."""
    found: set[str] = set()
    for header, seen in values.items():
        word = word_of(header)
        if re.fullmatch(CURRENCY, word):
            found |= {value.strip().upper() for value in seen}
        elif seen and re.fullmatch(f"{LIKELY['amount']}|{LIKELY['revenue']}", word):
            found |= {code[:3].upper() for code in re.findall(CODES, word)} or {""}
    return {code for code in found if re.fullmatch("[A-Z]{3}", code)} or {""} & found


def _currency_lines(currencies: set[str]) -> list[str]:
    """The line that names the currency, or asks for it where there is money."""
    said = sorted(currencies - {""})
    if len(said) == 1:
        return [f"currency: {said[0]}  # guessed? printed with every amount, nothing is converted"]
    which = f" The files say {listed(said)}" if said else ""
    asked = f"# currency: EUR  # printed with every amount, nothing is converted: which?{which}"
    return [asked] if currencies else []


def _properties(values: Values) -> Values:
    """The keys of the column `properties` as columns."""
    found: Values = {}
    for text in values.get("properties", []) + values.get("event_properties", []):
        with suppress(ValueError, AttributeError):
            for key, value in json.loads(text).items():
                found.setdefault(key, []).append(str(value))
    return found


def _guesses(table: str, values: Values) -> dict[str, str]:
    """Canonical column of `table` -> the header that likely means it."""
    words = {header: word_of(header, seen) for header, seen in values.items()}
    chosen = {word: header for header, word in words.items() if word in CANONICAL[table]}
    for column in CANONICAL[table]:
        likely = LIKELY.get(column, ())
        for pattern in [likely] if isinstance(likely, str) else likely:
            free = [header for header in words if header not in chosen.values()]
            found = [header for header in free if re.fullmatch(pattern, words[header])]
            if found and column not in chosen:
                chosen[column] = found[0]
    return {column: chosen[column] for column in CANONICAL[table] if column in chosen}


def _lacking(table: str, chosen: dict[str, str]) -> list[str]:
    """The required columns that no header means."""
    stands_in = {"user_id"} if table == "events" and "anonymous_id" in chosen else set()
    return [column for column in REQUIRED[table] if column not in chosen.keys() | stands_in]


def _clocks(chosen: dict[str, str], values: Values) -> dict[str, str]:
    """Of a time whose day and clock stand apart, column -> header of the clock.

    Where the clock was taken for the time, the day takes its place in ``chosen``.
    """
    clocks = [h for h, seen in values.items() if seen and _all_match(CLOCK, seen)]
    column = next((c for c in ("timestamp", "submitted_at") if c in chosen), None)
    if not column or not clocks:
        return {}
    if chosen[column] in clocks:
        rest = {h: values[h] for h in values if h not in (*clocks, *chosen.values())}
        day = _guesses("spend", rest).get("day")
        if not day:
            return {}
        clocks = [chosen[column]]
        chosen[column] = day
    elif any(":" in value for value in values[chosen[column]]):
        return {}
    return {column: clocks[0]}


def _all_match(pattern: str, values: list[str]) -> bool:
    return all(re.fullmatch(pattern, value.strip()) for value in values)


def _likely_table(values: Values) -> str | None:
    """The table whose required columns are there, or all of three or more but one."""
    guesses = {table: _guesses(table, values) for table in TABLES}
    lacking = {table: _lacking(table, guesses[table]) for table in TABLES}
    for table in ("responses", "timeline", "spend", "surveys", "events"):
        if not lacking[table]:
            return table
    ids = values.get(guesses["people"].get("user_id", ""), [])
    # of people there is one row a user
    if len(lacking["events"]) == 1 and ("event" in guesses["events"] or len(set(ids)) < len(ids)):
        return "events"
    for table in ("surveys", "people", "timeline"):
        if len(lacking[table]) <= (len(REQUIRED[table]) > 2):
            return table
    return None


def _question(column: str, chosen: dict[str, str], headers: Values) -> str:
    free = [header for header in headers if header not in chosen.values()]
    which = f"which of {listed(free)}?" if free else "it must be added"
    return f'      "{column}": "?"  # not found: {which}'


def _map_lines(
    table: str, chosen: dict[str, str], clocks: dict[str, str], asked: Sequence[str] = ()
) -> list[str]:
    written = {c: [h, clocks[c]] if c in clocks else h for c, h in chosen.items()}
    renamed = [
        f"      {json.dumps(column)}: {json.dumps(header, ensure_ascii=False)}  # guessed?"
        for column, header in written.items()
        if column != header or column not in CANONICAL[table]
    ]
    return ["    columns:", *renamed, *asked] if renamed or asked else []


def _time_lines(
    con: duckdb.DuckDBPyConnection, file: File, chosen: dict[str, str], clocks: dict[str, str]
) -> list[str]:
    """What a source must say of its times: their format where nothing else tells it, their zone."""
    said: list[str] = []
    asked: list[list[str]] = []
    zone: list[str] = []
    for column, header in chosen.items():
        if column_type(column) not in ("TIMESTAMP", "DATE"):
            continue
        parts = [h for h in (header, clocks.get(column)) if h]
        cleaned = ", ".join(f"clean({_text_of(file, part)})" for part in parts)
        text = f"nullif(concat_ws(' ', {cleaned}), '')"
        whole = TimeColumn(con, file.shown, column, f"({scan(con, [file])})", None)
        sample = replace(whole, rows=f"({scan(con, [file])} LIMIT 1000)")
        n_unread, example = unread(sample.look(text))
        formats = whole.proposed(text, example) if n_unread else []
        if len(formats) == 1:
            said.append(formats[0])
        elif formats:
            asked.append(formats)
        local = local_example(replace(sample, formats=formats[:1]).look(text))
        if local and column_type(column) == "TIMESTAMP":
            zone = ["    timezone: UTC  # guessed? the times carry no zone"]
            if letters := letters_behind(local):
                zone = [f"    # timezone: Europe/London  # which zone is meant by {letters}?"]
    return [*_format_lines(list(dict.fromkeys(said)), asked), *zone]


def _text_of(file: File, header: str) -> str:
    """SQL of a column, or of what stands in the column `properties` under that key."""
    if header in map(plain, file.headers):
        return sql_name(header)
    path = sql_text("$." + json.dumps(header, ensure_ascii=False))
    return f"json_extract_string(properties, {path})"


def _format_lines(said: list[str], asked: list[list[str]]) -> list[str]:
    lines = []
    if said:
        written = json.dumps(said if len(said) > 1 else said[0], ensure_ascii=False)
        lines.append(f"    date_format: {written}  # guessed?")
    for formats in asked:
        # another column of the file has told
        if not set(formats) & set(said):
            first, *others = [json.dumps(format, ensure_ascii=False) for format in formats]
            lines.append(
                f"    # date_format: {first}  # or {' or '.join(others)}?"
                " The times do not tell which number is the day"
            )
    return list(dict.fromkeys(lines))
