"""A first draft of a dataset's YAML, from what stands in the files."""

import json
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mctlib.contract import CANONICAL, REQUIRED, TABLES, DataError, ParameterError
from mctlib.sources.dataset import (
    NAME,
    READERS,
    SNOWPLOW,
    Source,
    _recognise,
    _workbench,
    paths_of,
    project_root,
)
from mctlib.sources.staging import File, find, plain, scan

# --------------------------------------------------------------------------------------------------- a first YAML from the files

# Headers, in lower case with _ for everything else, that likely mean a canonical column.
LIKELY = {
    "user_id": r"((user|customer|member|candidate|client|person|distinct|visitor|profile)_?)?(id|uid|uuid)|user|uid",
    "event": r"event_?(name|type)?|action|activity|what_happened",
    "timestamp": r"time|timestamp|ts|date|datetime|when|(event|created|occurred|logged|client)_?(at|time|on|date)",
    "event_id": r"event_?(uu)?id|insert_id|message_id",
    "anonymous_id": r"anonymous_?(id)?|device_id|cookie_id|visitor_id",
    "platform": r"platform|device|os",
    "app_version": r"(app_)?version",
    "channel": r"(acquisition_)?(channel|source)",
    "partner_id": r"(partner|creator|affiliate|influencer)(_?(id|name))?",
    "promo_code": r"(promo|coupon|discount)(_?code)?",
    "signed_up_at": r"(created|joined|registered|registration|sign(ed)?_?up)(_?(at|on|date|time))?|create_date",
    "account_id": r"(account|company|employer|organi[sz]ation|org)(_?id)?",
    "plan": r"(pricing_?)?(plan|tier)|subscription(_plan)?",
    "churned_at": r"(churned|cancell?ed|deleted)(_?(at|on|date))?",
    "renewed_at": r"(renewed|renewal)(_?(at|on|date))?",
    "revenue": r"revenue|mrr|arr",
    "consent": r"(tracking_)?consent|opt_?in",
    "submitted_at": r"(submitted|submit|completed|response|answered)_?(at|on|date|time).*|date|timestamp|created(_at)?",
    "micro_conversion": r"question|micro_?conversion|goal|topic",
    "answer": r"answer|response|reply",
    "reason": r"reason|comment|why",
    "day": r"day|date|week",
    "amount": r"amount|spend|cost|fee|price",
    "kind": r"kind|type|category",
    "label": r"label|title|what|headline",
}


def draft(name: str, files: Sequence[str]) -> str:
    """A data YAML for these files, as text: formats told by their columns, the column maps guessed, every guess marked.

    Raises DataError: a file is missing, cannot be read, or fits no table. ParameterError: the name cannot name a store.
    """
    if not re.fullmatch(NAME, name):
        raise ParameterError(
            f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'
        )
    root, sources = project_root(), {}
    with tempfile.TemporaryDirectory() as beside, _workbench(Path(beside)) as (con, folder):
        for written in files:
            absolute = Path(written).resolve()
            shown = str(absolute.relative_to(root) if absolute.is_relative_to(root) else absolute)
            for file in find(
                con, paths_of(Source(path=str(absolute)), root), root, folder, headless=SNOWPLOW
            )[:1]:
                format = _recognise(file)
                rows = con.sql(f"{scan(con, [file])} LIMIT 1000").fetchall()
                values = {
                    header: [row[i] for row in rows if row[i]]
                    for i, header in enumerate(map(plain, file.headers))
                }
                table = READERS[format].tables[0] if format else _likely_table(file)
                lines = _columns(table, format, values)
                sources.setdefault((table, format, tuple(lines)), []).append(shown)
    drafted = [
        f"# Drafted from the files; look at every line marked with a question mark.\nname: {name}"
    ]
    for table in TABLES:
        for (_, format, lines), paths in [item for item in sources.items() if item[0][0] == table]:
            drafted += [f"{table}:"] if f"{table}:" not in drafted else []
            path = json.dumps(paths if len(paths) > 1 else paths[0], ensure_ascii=False)
            named = format or ("columns" if "    columns:" in lines else "canonical")
            drafted += [f"  - path: {path}", f"    format: {named}", *lines]
    return "\n".join(drafted) + "\n"


def _guess(table: str, header: str, taken: Sequence[str] = ()) -> str | None:
    """The canonical column of `table` that a header likely means."""
    word = re.sub(r"[^a-z0-9]+", "_", plain(header).lower()).strip("_")
    open_columns = [column for column in CANONICAL[table] if column not in taken]
    return (
        word
        if word in open_columns
        else next((c for c in open_columns if re.fullmatch(LIKELY.get(c, "(?!)"), word)), None)
    )


def _likely_table(file: File) -> str:
    for table in ("responses", "timeline", "spend", "surveys", "events", "people"):
        guesses: list[str] = []
        for header in file.headers:
            guesses += [column] if (column := _guess(table, header, guesses)) else []
        if set(REQUIRED[table]) <= set(guesses):
            return (
                "backend"
                if table == "events" and re.search("backend|server", file.shown, re.IGNORECASE)
                else table
            )
    raise DataError(
        f"{file.shown} fits no table: its columns {', '.join(file.headers[:12])} name neither a user nor a day."
    )


def _columns(table: str, format: str | None, values: dict[str, list[str]]) -> list[str]:
    """The lines `columns:` and `timezone:` of one drafted source."""
    if format not in (None, "typeform", "zigpoll_segment"):
        return []
    chosen: dict[str, str] = {}
    for header in values:
        if column := _guess(table, header, list(chosen)):
            chosen[column] = header
    if format:  # each column of yes and no is a question about some micro-conversion
        chosen = {
            column: header for column, header in chosen.items() if column in ("user_id", "reason")
        }
        words = {"yes", "no", "0", "1", "true", "false"}
        yes_no = {
            header
            for header, seen in values.items()
            if seen and {value.lower() for value in seen} <= words
        }
        chosen |= {
            re.sub(r"\W+", "_", header.lower()).strip("_")[:40]: header
            for header in values
            if header in yes_no
        }
    renamed = {
        column: header
        for column, header in chosen.items()
        if column != header or column not in CANONICAL[table]
    }
    lines = ["    columns:"] if renamed else []
    lines += [
        f"      {json.dumps(c)}: {json.dumps(h, ensure_ascii=False)}  # guessed?"
        for c, h in renamed.items()
    ]
    times = [
        v for c, h in chosen.items() if c == "timestamp" or c.endswith("_at") for v in values[h][:1]
    ]
    if not format and any(
        re.fullmatch(r"\d+-\d+-\d+([T ]+[\d:.]+)?|\d{8}", value) for value in times
    ):
        lines.append("    timezone: UTC  # guessed? the times carry no zone")
    return lines
