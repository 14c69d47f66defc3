"""A first draft of a dataset's YAML, from what stands in the files."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import duckdb

from mctlib.contract import CANONICAL, REQUIRED, TABLES, DataError, ParameterError
from mctlib.sources.dataset import NAME, Source, name_fault, paths_of
from mctlib.sources.files import File, find, plain, scan
from mctlib.sources.project import project_root, stores
from mctlib.sources.readers import HEADLESS, READERS, recognised
from mctlib.sources.staging import workbench

# Headers, in lower case with _ for everything else, that likely mean a canonical column.
LIKELY = {
    "user_id": r"((user|customer|member|candidate|client|person|distinct|visitor|profile)_?)?"
    r"(id|uid|uuid)|user|uid",
    "event": r"event_?(name|type)?|action|activity|what_happened",
    "timestamp": r"time|timestamp|ts|date|datetime|when|"
    r"(event|created|occurred|logged|client)_?(at|time|on|date)",
    "event_id": r"event_?(uu)?id|insert_id|message_id",
    "anonymous_id": r"anonymous_?(id)?|device_id|cookie_id|visitor_id",
    "platform": r"platform|device|os",
    "app_version": r"(app_)?version",
    "channel": r"(acquisition_)?(channel|source)",
    "partner_id": r"(partner|creator|affiliate|influencer)(_?(id|name))?",
    "promo_code": r"(promo|coupon|discount)(_?code)?",
    "signed_up_at": r"(created|joined|registered|registration|sign(ed)?_?up)"
    r"(_?(at|on|date|time))?|create_date",
    "account_id": r"(account|company|employer|organi[sz]ation|org)(_?id)?",
    "plan": r"(pricing_?)?(plan|tier)|subscription(_plan)?",
    "churned_at": r"(churned|cancell?ed|deleted)(_?(at|on|date))?",
    "renewed_at": r"(renewed|renewal)(_?(at|on|date))?",
    "revenue": r"revenue|mrr|arr",
    "consent": r"(tracking_)?consent|opt_?in",
    "submitted_at": r"(submitted|submit|completed|response|answered)_?(at|on|date|time).*|"
    r"date|timestamp|created(_at)?",
    "micro_conversion": r"question|micro_?conversion|goal|topic",
    "answer": r"answer|response|reply",
    "reason": r"reason|comment|why",
    "day": r"day|date|week",
    "amount": r"amount|spend|cost|fee|price",
    "kind": r"kind|type|category",
    "label": r"label|title|what|headline",
}
YES_OR_NO = {"yes", "no", "0", "1", "true", "false"}
NO_ZONE = r"\d+-\d+-\d+([T ]+[\d:.]+)?|\d{8}"
# Header -> some of the values that stand below it.
Values: TypeAlias = dict[str, list[str]]


def draft(name: str, files: Sequence[str]) -> str:
    """Write a first data YAML for some files.

    Formats are told by their columns, the maps of columns guessed, and every guess is marked.

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
        A file is missing, cannot be read, or fits no table.
    ParameterError
        The name cannot name a store.
    """
    if not re.fullmatch(NAME, name):
        raise ParameterError(name_fault(name))
    root = project_root()
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    with workbench(stores(root)) as (con, folder):
        for written in files:
            whole = Path(written).resolve()
            paths = paths_of(Source(path=str(whole)), root)
            shown = str(whole.relative_to(root) if whole.is_relative_to(root) else whole)
            # the members of an archive are taken to be of one kind
            for file in find(con, paths, root=root, folder=folder, headless=HEADLESS)[:1]:
                alike.setdefault(_described(con, file), []).append(shown)
    lines = ["# Drafted from the files; look at every line marked with a question mark."]
    lines.append(f"name: {name}")
    lines.append("# currency: EUR  # printed with every amount of money: which?")
    for table in TABLES:
        sources = {key: names for key, names in alike.items() if key[0] == table}
        lines += [f"{table}:"] if sources else []
        for (_, format, more), names in sources.items():
            path = json.dumps(names if len(names) > 1 else names[0], ensure_ascii=False)
            lines.append(f"  - path: {path}")
            lines += [f"    format: {format}", *more]
    return "\n".join(lines) + "\n"


def _described(con: duckdb.DuckDBPyConnection, file: File) -> tuple[str, str, tuple[str, ...]]:
    """Of one file: its table, its format, and the further lines of its source."""
    rows = con.sql(f"{scan(con, [file])} LIMIT 1000").fetchall()
    values: Values = {
        plain(header): [row[i] for row in rows if row[i]] for i, header in enumerate(file.headers)
    }
    format = recognised(file)
    if format is None:
        table = _likely_table(file)
        chosen = _guesses(table, values)
        lines = [*_map_lines(table, chosen), *_zone_lines(chosen, values)]
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
    return table, format, tuple(_map_lines(table, chosen))


def _guesses(table: str, headers: Sequence[str] | Values) -> dict[str, str]:
    """Canonical column of `table` -> the header that likely means it."""
    chosen: dict[str, str] = {}
    for header in headers:
        word = re.sub(r"[^a-z0-9]+", "_", plain(header).lower()).strip("_")
        free = [column for column in CANONICAL[table] if column not in chosen]
        likely = [column for column in free if re.fullmatch(LIKELY.get(column, "(?!)"), word)]
        column = word if word in free else next(iter(likely), None)
        if column:
            chosen[column] = header
    return chosen


def _likely_table(file: File) -> str:
    for table in ("responses", "timeline", "spend", "surveys", "events", "people"):
        if set(REQUIRED[table]) <= _guesses(table, file.headers).keys():
            server = re.search("backend|server", file.shown, re.IGNORECASE)
            return "backend" if table == "events" and server else table
    raise DataError(
        f"{file.shown} fits no table: its columns {', '.join(file.headers[:12])}"
        " name neither a user nor a day."
    )


def _map_lines(table: str, chosen: dict[str, str]) -> list[str]:
    renamed = [
        f"      {json.dumps(column)}: {json.dumps(header, ensure_ascii=False)}  # guessed?"
        for column, header in chosen.items()
        if column != header or column not in CANONICAL[table]
    ]
    return ["    columns:", *renamed] if renamed else []


def _zone_lines(chosen: dict[str, str], values: Values) -> list[str]:
    for column, header in chosen.items():
        is_time = column == "timestamp" or column.endswith("_at")
        if is_time and values[header] and re.fullmatch(NO_ZONE, values[header][0]):
            return ["    timezone: UTC  # guessed? the times carry no zone"]
    return []
