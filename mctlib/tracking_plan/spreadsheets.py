"""Plans in spreadsheets (CSV): a person's own, whose columns are guessed, and Amplitude's."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, get_args

from mctlib.contract import PLATFORMS, DataError
from mctlib.tracking_plan.imported import Content, Imported
from mctlib.tracking_plan.plan import MicroConversion, Type

# Headers, in lower case with _ for everything else, that likely mean a field of an event, or of
# its property in the same row. The first that fits is taken.
LIKELY = {
    "event": r"(tracking_|micro_?)?(event|conversion)(_?(name|key|id|type))?|name|key|action",
    "label": r"(event_)?(label|display_?name|title|readable_name)",
    "property_description": r"(property|parameter|attribute|field)_(description|definition|notes?)",
    "description": r"(event_)?(description|definition|meaning|notes?|trigger)|(when|what)(_.*)?",
    "owner": r"(event_|object_)?(owner|team|squad|responsible)(_(team|name))?",
    "acts": r"role|acts|who_acts",
    "outcome": r"(business_)?(outcome|goal)|(funnel_|lifecycle_)?stage",
    "priority": r"priority|prio",
    "within": r"(conversion_)?(within|window)",
    "platforms": r"platforms?|devices?|sources?",
    "implies": r"implies|prerequisites?|requires|depends_on|after|preceded_by",
    "since": r"since|(live|tracked)_since|(release|launch|start)_date",
    "version": r"(event_)?version",
    "survey": r"(survey_)?question|survey",
    "property": r"(event_)?(propert(y|ies)|parameters?|attributes?|fields?)(_?(name|key)s?)?",
    "type": r"((property|parameter|attribute|field|data|value)_?)*(type|format)",
    "required": r"((is|property)_?)?(required|mandatory)(_.*)?",
    "enum": r"((property|allowed|possible|accepted|enum|valid)_)*(values?|options|enum)",
}
OF_PROPERTY = ("type", "required", "enum", "property_description")
TYPES = {
    "string": "text str varchar char enum",
    "integer": "int long bigint whole_number",
    "number": "float double decimal numeric currency money",
    "boolean": "bool yes_no true_false flag",
    "array": "list",
    "object": "json dict map struct",
}
FORMATS = ["date", "datetime", "timestamp", "time", "uuid", "id", "url", "email"]
YES, NO = (
    {"yes", "y", "true", "1", "x", "✓", "required", "mandatory", "always"},
    {"no", "n", "false", "0", "-", "optional", "not required", "sometimes"},
)


def read_rows(shown: str, text: str) -> Imported:
    """A spreadsheet's events. Raises DataError: it has no rows, or no column of events."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    delimiter = max(",;\t|", key=text.partition("\n")[0].count)
    try:
        table = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(row)]
    except csv.Error as error:
        raise DataError(f"{shown} is no CSV: {error}.") from None
    if len(table) < 2:
        raise DataError(f"{shown} holds no rows below a header.")
    longest = max(map(len, table))
    written = [*table[0], *[""] * (longest - len(table[0]))]  # rows may go on beyond the header
    headers = [header.strip() or f"column {i}" for i, header in enumerate(written, 1)]
    twice = [header for header in headers if headers.count(header) > 1]
    if twice:
        raise DataError(f'{shown} has two columns "{twice[0]}"; rename one.')
    rows = [dict(zip(headers, (cell.strip() for cell in row))) for row in table[1:]]
    words = {_word(header): header for header in headers}
    if {"object_type", "object_name"} <= words.keys():
        return _amplitude(rows, words)
    return _own(shown, rows, headers)


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


# ---- a person's own


def _own(shown: str, rows: list[dict[str, str]], headers: list[str]) -> Imported:
    """A row an event, or a row a property of the event named in it or above it."""
    found = Imported("a spreadsheet")
    found.columns = _columns(shown, headers)
    name = ""
    taken = set(found.columns.values())
    for row in rows:
        cell = {f: row[header] for f, header in found.columns.items() if row.get(header)}
        name = cell.pop("event", name)
        if not name:
            raise DataError(f"{shown}: its first row names no event.")
        said = found.micro_conversions.setdefault(name, {})
        properties = list(_properties(found, cell))
        place = said
        for key, given in properties:
            place = said.setdefault("properties", {}).setdefault(key, {})
            for f, value in given.items():
                found.put(place, f, value)
        for f in cell.keys() - {"property"}:
            if f not in OF_PROPERTY:
                _take(found, said, f, cell[f])
            elif not properties:
                found.keep(said, found.columns[f], cell[f])
        for header in headers:
            if header not in taken:
                found.keep(place, header, row.get(header))
    return found


def _columns(shown: str, headers: list[str]) -> dict[str, str]:
    """Field -> the header that likely means it. Raises DataError: none names events."""
    words = {_word(header): header for header in headers}
    chosen: dict[str, str] = {}
    for f, likely in LIKELY.items():
        # the field's own name before all that may mean it
        for word in (f, *words):
            free = word in words and words[word] not in chosen.values()
            if free and f not in chosen and re.fullmatch(f"{f}|{likely}", word):
                chosen[f] = words[word]
    if "event" not in chosen:
        raise DataError(
            f"{shown}: no column holds the events' names; its columns are {', '.join(headers)}. "
            'Name one "event".'
        )
    return chosen


def _properties(found: Imported, cell: dict[str, str]) -> Iterator[tuple[str, Content]]:
    """Properties that one row names: one with its type, or several in one cell."""
    written = cell.get("property", "")
    for name in re.split(r"[,;\n]", written) if written else ():
        match = re.fullmatch(r"(.+?)\s*[:(]\s*(\w+)\s*\)?", name.strip())
        kind = match[2] if match else cell.get("type", "")
        key = match[1] if match else name.strip()
        if key:
            said = _property(found, kind, cell)
            found.keep(said, "type as written", cell.get("type") if match else None)
            yield key, said


def _property(found: Imported, kind: str, cell: dict[str, str]) -> Content:
    said: Content = {}
    _type(found, said, kind)
    if required := cell.get("required", "").lower():
        said["required"] = "yes" if required in YES else "no" if required in NO else "unknown"
        if said["required"] == "unknown":
            found.keep(said, "required as written", cell["required"])
    if values := split(cell.get("enum", "")):
        said["enum"] = _typed(values, said)
    if text := cell.get("property_description"):
        said["description"] = text
    return said


def _type(found: Imported, said: Content, kind: str) -> None:
    """A type in JSON Schema's words; another one is kept as it was written."""
    word = _word(kind)
    known = [ours for ours in get_args(Type) if word == ours or word in TYPES.get(ours, "").split()]
    if known:
        said["type"] = known[0]
    elif word in FORMATS:
        said["type"] = "string"
        found.keep(said, "type as written", kind)
    elif word not in ("", "any", "mixed", "const"):
        found.keep(said, "type as written", kind)


def _typed(values: list[str], said: Content) -> list[Any]:
    """The values of an enum in the property's type."""
    if said.get("type") not in ("number", "integer", "boolean"):
        return list(values)
    with suppress(ValueError, RecursionError):
        typed = [json.loads(value.lower()) for value in values]
        json.dumps(typed, allow_nan=False)
        return typed
    return list(values)


def split(cell: str) -> list[str]:
    """The values of one cell."""
    return [part.strip() for part in re.split(r"[,;|\n]", cell) if part.strip()]


def _take(found: Imported, said: Content, f: str, written: str) -> None:
    """A cell into its field; what the field does not know is kept as it was written."""
    value: Any = written
    if f == "platforms":
        named = split(written.lower().replace("/", ","))
        value = [platform_of(part) for part in named]
        found.keep(said, found.columns.get(f, f), written if value != named else None)
    elif f == "implies":
        value = split(written)
    elif f == "priority":
        number = re.fullmatch(r"[Pp]?(\d+)", written)
        value = max(int(number[1]), 1) if number else None
        if number and value != int(number[1]):
            found.keep(said, found.columns.get(f, f), written)
    elif f == "outcome":
        value = written.lower()
    if fits(f, value):
        found.put(said, f, value)
    else:
        found.keep(said, found.columns.get(f, f), written)


def fits(f: str, value: Any) -> bool:
    """Whether a field takes a value: an address is no owner, a word of its own no outcome."""
    try:
        MicroConversion.model_validate({"label": "x", "events": ["x"], f: value})
    except ValueError:
        return False
    return value is not None


def platform_of(name: str) -> str:
    """A platform in the contract's word, where it is one of these."""
    for platform, words in PLATFORMS.items():
        if re.search(words, name.lower()):
            return platform
    return name.lower()


# ---- Amplitude

# Fields of an event, and of a property, by the headers that Amplitude writes.
_EVENT = {"object_description": "description", "object_owner": "owner"}
_EVENT |= {"event_display_name": "label", "display_name": "label"}
_PROPERTY = {"object_description": "property_description", "property_value_type": "type"}
_PROPERTY |= {"property_required": "required", "enum_values": "enum"}
_PROPERTY |= {"const_value": "const", "property_is_array": "several"}


def _amplitude(rows: list[dict[str, str]], words: dict[str, str]) -> Imported:
    """Rows of events, each followed by those of its properties."""
    found = Imported("Amplitude")
    said: Content | None = None
    for row in rows:
        cell = {word: row[header] for word, header in words.items() if row.get(header)}
        kind, name = (cell.pop(f"object_{word}", "") for word in ("type", "name"))
        if kind.lower() == "event" and name:
            place = said = found.micro_conversions.setdefault(name, {})
            fields = _EVENT
            for word in (w for w in fields if w in cell):
                _take(found, place, fields[word], cell[word])
        elif kind.lower() == "event property" and name and said is not None:
            place = said.setdefault("properties", {}).setdefault(name, {})
            fields = _PROPERTY
            told = {fields[w]: text for w, text in cell.items() if w in fields}
            for f, value in _amplitude_property(found, told).items():
                found.put(place, f, value)
        else:
            whole = {header: text for header, text in row.items() if text}
            found.keep(None, f"{kind.lower()} {name}".strip() or "row", whole)
            continue
        for header, text in row.items():
            word = _word(header)
            taken = words[word] == header and word in (*fields, "object_type", "object_name")
            if not taken and text != kind:  # the property's type says again that it is one
                found.keep(place, header, text)
    return found


def _amplitude_property(found: Imported, cell: dict[str, str]) -> Content:
    kind, written = cell.get("type", ""), cell.get("several", "")
    several = written.lower() == "true" and _word(kind) != "array"
    said = _property(found, "array" if several else kind, cell)
    if several and kind in get_args(Type):
        found.keep(said, "items", {"type": kind})
    elif several:
        found.keep(said, "type as written", kind)
    if written.lower() not in ("true", "false"):
        found.keep(said, "is array", written)
    if "const" in cell:
        const = _typed([cell["const"]], said)
        found.put(said, "enum", const)
    return said
