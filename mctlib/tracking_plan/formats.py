"""Other tools' plans: read into micro-conversions, and written as JSON Schema, one per event.

`read_file` knows spreadsheets (CSV), Segment (Public and Config API), Amplitude's CSV, Mixpanel's
Lexicon, and JSON Schema. What ours has no word for is kept under ``other``, and told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from mctlib.contract import CANONICAL, DataError
from mctlib.eventlog import filters
from mctlib.tracking_plan.imported import EMPTY, Content, Imported
from mctlib.tracking_plan.plan import MicroConversion, Plan, Type, of_property
from mctlib.tracking_plan.spreadsheets import fits, read_rows


def read_file(path: Path) -> Imported:
    """A plan of another tool. Raises DataError: it cannot be read, or is none that is known."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8; save it as CSV UTF-8.") from None
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()  # no half a character
    except RecursionError:
        raise DataError(f"{path} is nested too deeply for a plan.") from None
    except ValueError as error:
        if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("{", "["):
            raise DataError(f"{path} is not valid JSON: {error}.") from None
        found = read_rows(str(path), text)
    else:
        found = _of_json(path, content)
    if not found.micro_conversions:
        raise DataError(f"{path} holds no event, as {found.format}.")
    return found


def _of_json(path: Path, content: Any) -> Imported:
    """JSON of a tool, told by its keys."""
    inner = content
    beside: Content = {}
    for word in ("data", "trackingPlan"):
        if isinstance(inner, dict) and word in inner:
            beside |= {key: value for key, value in inner.items() if key != word}
            inner = inner[word]
    found = _of_tool(path, inner)
    for key, value in beside.items():
        found.keep(None, key, value)
    return found


def _of_tool(path: Path, inner: Any) -> Imported:
    rules = inner.get("rules") if isinstance(inner, dict) else inner
    if isinstance(rules, dict) and isinstance(rules.get("events"), list):
        return _segment(path, "Segment (Config API)", inner, rules["events"])
    if isinstance(rules, list) and _records(rules, "type", "jsonSchema"):
        return _segment(path, "Segment (Public API)", inner, rules)
    if _records(inner, "entityType", "name"):
        return _lexicon(inner)
    for word in ("results", "entries"):
        if isinstance(inner, dict) and _records(inner.get(word), "entityType", "name"):
            found = _lexicon(inner[word])
            _keep_beside(found, inner, word)
            return found
    if _records([inner], "entityType", "name"):
        return _lexicon([inner])
    if isinstance(inner, dict) and isinstance(
        inner.get("properties", inner.get("allOf")), dict | list
    ):
        found = Imported("JSON Schema")
        for name, said in _of_schema(found, inner, str(inner.get("title") or path.stem)):
            found.micro_conversions[name] = said
        return found
    raise DataError(
        f"{path} is no plan that is known: it holds neither Segment's rules, nor Mixpanel's "
        "entities, nor a JSON Schema with properties."
    )


def _records(value: Any, *keys: str) -> bool:
    """Whether it is a list of mappings that have these keys."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(each, dict) and set(keys) <= each.keys() for each in value)


# ---- Segment


def _segment(path: Path, format: str, whole: Any, rules: list[Any]) -> Imported:
    """Rules of tracked events; of several versions of one the last, the others are kept."""
    found = Imported(format)
    for rule in (each for each in rules if not isinstance(each, dict)):
        found.keep(None, "rule", rule)
    for rule in sorted((each for each in rules if isinstance(each, dict)), key=_version):
        named = next((key for key in ("key", "name") if rule.get(key)), "name")
        name, kind = rule.get(named), rule.get("type", "TRACK")
        if kind != "TRACK" or not isinstance(name, str) or not name:
            found.keep(None, f"{kind} {name or ''}".strip(), rule)
            continue
        place = "jsonSchema" if "jsonSchema" in rule else "rules"
        schema = rule.get(place, {})
        if not isinstance(schema, dict):
            raise DataError(f'{path}: the schema of "{name}" is no JSON object.')
        earlier = found.micro_conversions.pop(name, None)
        told = {"description": rule["description"]} if rule.get("description") else {}
        said = _fill(found, told, _unwrapped(schema), name)
        if rule.get("version") not in (None, ""):
            said["version"] = str(rule["version"])
        for key in rule.keys() - {named, "type", place, "description", "version"}:
            found.keep(said, key, rule[key])
        if earlier:
            found.keep(said, f"version {earlier.get('version', 'before')}", earlier)
        found.micro_conversions[name] = said
    _keep_beside(found, whole, "rules")
    return found


def _keep_beside(found: Imported, whole: Any, taken: str) -> None:
    """What stands beside the rules, which lie under "rules", or under "events" of that."""
    for key, value in whole.items() if isinstance(whole, dict) else ():
        if key != taken:
            found.keep(None, key, value)
        elif isinstance(value, dict):
            _keep_beside(found, value, "events")


def _version(rule: Content) -> list[int]:
    """By which rules of one event follow each other, however versions are written."""
    return [int(part) for part in re.findall(r"\d+", str(rule.get("version") or 0))]


def _unwrapped(schema: Content) -> Content:
    """The schema of the properties alone, where it lies in that of the whole message."""
    outer = schema.get("properties")
    message = {"properties", "context", "traits"}
    if not isinstance(outer, dict) or not isinstance(outer.get("properties"), dict):
        return schema
    if not outer.keys() <= message:
        return schema
    inner = dict(outer["properties"])
    beside = {key: value for key, value in schema.items() if key != "properties"}
    if isinstance(beside.get("required"), list) and {*map(str, beside["required"])} <= message:
        del beside["required"]
    for key in message - {"properties"}:
        part = outer.get(key)
        if not isinstance(part, dict) or any(
            value not in EMPTY and (word, value) != ("type", "object")
            for word, value in part.items()
        ):
            beside[key] = part
    for key in beside.keys() & inner.keys():
        if beside[key] != inner[key]:
            inner[f"{key} of the message"] = beside[key]
    return beside | inner


# ---- Mixpanel


def _lexicon(entries: list[Content]) -> Imported:
    """Entities that are events; what Mixpanel's own metadata say of them has fields of ours."""
    found = Imported("Mixpanel Lexicon")
    for entry in map(dict, entries):
        kind, name = entry.pop("entityType"), entry.pop("name")
        schema = _popped(entry, "schemaJson")
        if kind != "event" or not isinstance(name, str):
            whole = {"schemaJson": schema} | entry if entry else schema
            found.keep(None, f"{kind} {name}", whole or {"entityType": kind})
            continue
        metadata = _popped(schema, "metadata")
        own = _popped(metadata, "com.mixpanel")
        said = _fill(found, {}, schema, name)
        if own.get("displayName"):
            said["label"] = own.pop("displayName")
        contacts = own.get("teamContacts")
        if isinstance(contacts, list) and len(contacts) == 1 and fits("owner", contacts[0]):
            (said["owner"],) = own.pop("teamContacts")
        for part in (own, metadata, entry):
            for key, value in part.items():
                found.keep(said, key, value)
        found.keep(said, "another entry", found.micro_conversions.get(name))
        found.micro_conversions[name] = said
    return found


def _popped(of: Content, key: str) -> Content:
    """The mapping under a key, taken out; what is none stays."""
    return dict(of.pop(key)) if isinstance(of.get(key), dict) else {}


# ---- JSON Schema, both ways

OURS = "x-micro-conversion"
OF_SCHEMA = {"properties", "additional", "description"}  # for which JSON Schema has words


def _of_schema(found: Imported, schema: Content, event: str) -> Iterator[tuple[str, Content]]:
    """Micro-conversions of one event: as many as ours wrote into the schema, else one."""
    for part in _parts_of_ours(found, schema, event) or [schema]:
        beside = dict(part)
        said: Content = dict(beside.pop(OURS)) if _is_ours(part) else {}
        name = said.pop("name", event)
        if _is_ours(part) and isinstance(part.get("then"), dict):
            _fill(found, said, beside.pop("then"), event)
            if "events" in said:  # whose filter it was made of
                del beside["if"]
        _fill(found, said, beside, event)
        said |= {"events": [event]} if name != event and "events" not in said else {}
        if schema.get("additionalProperties") is False:
            said["additional"] = "flag"
        yield name, said


def _fill(found: Imported, said: Content, schema: Content, event: str) -> Content:
    """Fill in what the schema of an event says in fields of ours; what else it says is kept."""
    rules = dict(schema)
    asked = _popped(rules, "properties")
    required = rules.pop("required", None) if _texts(rules.get("required")) else None
    properties = {key: _property(found, each, key, required) for key, each in asked.items()}
    for key in required or ():
        properties.setdefault(key, {"required": "yes"})
    if properties:
        found.put(said, "properties", properties)
    if rules.get("description"):
        found.put(said, "description", rules.pop("description"))
    if schema.get("additionalProperties") is False:
        said["additional"] = "flag"
    for key, value in rules.items():
        if not _usual(key, value, event):
            found.keep(said, key, value)
    return said


def _parts_of_ours(found: Imported, schema: Content, event: str) -> list[Content]:
    """The parts that ours wrote; what stands beside them is kept in the plan."""
    several = schema["allOf"] if isinstance(schema.get("allOf"), list) else []
    parts = [part for part in several if _is_ours(part)]
    if not parts:
        return []
    beside = schema | {"allOf": [part for part in several if part not in parts]}
    named = schema.get("properties")
    if isinstance(named, dict) and not any(named.values()):  # ours lists their names alone
        del beside["properties"]
    for key, value in beside.items():
        if not _usual(key, value, event):
            found.keep(None, f"{event}: {key}", value)
    return parts


def _is_ours(part: Any) -> bool:
    """Whether it is a part of a schema that we wrote."""
    ours = part.get(OURS) if isinstance(part, dict) else None
    if not isinstance(ours, dict) or ("if" in part) != ("then" in part):
        return False
    return isinstance(ours.get("name"), str) and isinstance(ours.get("other", {}), dict)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _usual(key: str, value: Any, event: str) -> bool:
    """Whether it is what every schema of an event says, or what a field of ours holds."""
    said = {"type": "object", "title": event}
    dialect = key == "$schema" and "json-schema.org/" in str(value)
    flags = key == "additionalProperties" and isinstance(value, bool)
    return dialect or flags or said.get(key, ...) == value


def _property(found: Imported, schema: Any, name: str, required: Any) -> Content:
    """One property. Without a list of required ones nothing is known of that."""
    said: Content = {}
    if required is not None:
        said["required"] = "yes" if name in required else "no"
    if not isinstance(schema, dict):
        found.keep(said, "schema as written", schema)
        return said
    said |= {"required": schema["x-required"]} if "x-required" in schema else {}
    types = schema.get("type", [])
    types = types if isinstance(types, list) else [types]
    if all(each in get_args(Type) for each in types):
        said |= {"type": types} if types else {}
    else:
        found.keep(said, "type as written", schema["type"])
    if "const" in schema or schema.get("enum"):
        said["enum"] = schema.get("enum") or [schema["const"]]
        if "const" in schema and said["enum"] != [schema["const"]]:
            found.keep(said, "const", schema["const"])
    if schema.get("description"):
        said["description"] = schema["description"]
    for key in schema.keys() - {"type", "enum", "const", "description", "x-required"}:
        found.keep(said, key, schema[key])
    return said


def json_schemas(plan: Plan) -> dict[str, Content]:
    """Event -> the JSON Schema of its properties, which `read_file` reads again.

    Where an event stands in several micro-conversions, or a filter picks some of its rows, each is
    a part that holds only for these.
    """
    schemas = {}
    for event, rules in plan.rules().items():
        named = [(name, plan.micro_conversions[name], step.where) for name, step in rules.parts]
        parts = [_part(*each) for each in named]
        schema: Content = {"$schema": "http://json-schema.org/draft-07/schema#", "title": event}
        schema["type"] = "object"
        if len(parts) == 1 and "properties" in parts[0]:
            schema |= parts[0]
        else:
            schema |= {"properties": {key: {} for key in sorted(rules.named)}, "allOf": parts}
        if rules.flags:
            schema["additionalProperties"] = False
        schemas[event] = schema
    return schemas


def _part(name: str, each: MicroConversion, where: Mapping[str, Any]) -> Content:
    """What one micro-conversion asks of its rows."""
    told = each.model_dump(mode="json", exclude_defaults=True, exclude=OF_SCHEMA)
    properties = {}
    known = [p.required for p in each.properties.values() if p.required != "unknown"]
    for key, p in each.properties.items():
        schema: Content = dict(p.other)
        if p.type:
            schema["type"] = p.type[0] if len(p.type) == 1 else p.type
        schema |= {"enum": p.enum} if p.enum else {}
        schema |= {"description": p.description} if p.description else {}
        schema |= {"x-required": "unknown"} if known and p.required == "unknown" else {}
        properties[key] = schema
    rules: Content = {"description": each.description} if each.description else {}
    rules["properties"] = properties
    if known:
        rules["required"] = [key for key, p in each.properties.items() if p.required == "yes"]
    ours = {OURS: {"name": name, **told}}
    if not where:
        return rules | ours
    met = [_condition(of_property(key), wanted) for key, wanted in where.items()]
    columns = {f"{of}{column}" for of in ("", "event.") for column in CANONICAL["events"]}
    of_rows = any(key in columns or key.startswith("people.") for key in where)
    # what lies outside of the properties no schema of them can ask
    asked: Any = False if of_rows or None in met else {"allOf": met}
    return {"if": asked, "then": rules, **ours}


LIMITS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def _condition(key: str, wanted: Any) -> Content | None:
    """A filter as the schema of properties that meet it; None where it compares moments.

    Schemas know what texts contain; a log is text and finds a part in numbers and lists too.
    """
    if not isinstance(wanted, Mapping):
        return _has(key, {"enum": _spellings(wanted)})
    found: list[Any] = []
    for test, bound in wanted.items():
        if test == "not":
            inner = _condition(key, bound)
            found.append(inner and {"not": inner})
        elif test == "present":
            there = _has(key, {"not": {"enum": ["", None]}})
            found.append(there if bound else {"not": there})
        elif test == "contains":
            parts = bound if isinstance(bound, list) else [bound]
            found.append(
                _has(key, {"type": "string", "pattern": "|".join(map(re.escape, map(str, parts)))})
            )
        else:
            limit = filters.bound_of(bound)
            is_number = isinstance(limit, float)
            found.append(_has(key, {"type": "number", LIMITS[test]: limit}) if is_number else None)
    return None if None in found else {"allOf": found}


def _has(key: str, schema: Content) -> Content:
    return {"properties": {key: schema}, "required": [key]}


def _spellings(wanted: Any) -> list[Any]:
    """The JSON values that a filter accepts: 1 is also "1"."""
    found: list[Any] = []
    for value in wanted if isinstance(wanted, list) else [wanted]:
        found.append(value)
        if isinstance(value, bool):
            found.append(json.dumps(value))
        elif isinstance(value, (int, float)):
            found.append(str(value))
        elif value in ("true", "false") or re.fullmatch(r"-?\d+(\.\d+)?", value):
            found.append(json.loads(value))
    return found
