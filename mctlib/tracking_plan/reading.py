"""A plan from its YAML. Every mistake is one line, and all are told at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from mctlib.contract import DataError, nearest, number_meant
from mctlib.strict_yaml import Loader, fault_of, parse, text_of
from mctlib.tracking_plan.plan import Plan, shown


class _Written(float):
    """A number that knows its spelling: 4.10 is a version as well."""

    text: str


class _Loader(Loader):
    def number(self, node: Any) -> int | float:
        if "." not in node.value:
            return super().number(node)
        number = _Written(node.value)
        number.text = node.value
        return number


_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def read_plan(path: Path) -> Plan:
    """A plan's YAML, checked. Raises DataError with a line a mistake."""
    try:
        return _meant(text_of(path), path.name)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line, problem = fault_of(error)
        raise DataError(f"{path.name}{line.replace(' in', ',')}: {problem}.") from None


@lru_cache(maxsize=4)  # a notebook asks for its plan at every question
def _meant(text: str, name: str) -> Plan:
    content = parse(text, _Loader)
    if not isinstance(content, dict):
        raise DataError(f"{name} must hold  micro_conversions: {{name: {{...}}}}.")
    return as_plan(content, name)


def as_plan(content: Mapping[str, Any], where: str) -> Plan:
    """A plan from what its YAML says. Raises DataError with a line a mistake, after ``where``."""
    try:
        return Plan.model_validate(content)
    except ValidationError as errors:
        wrong = complaints(Plan, content, errors)
        raise DataError("\n".join(f"{where}: {said}" for said in wrong)) from None


KINDS = {
    "model_type": 'must hold "name: value" lines',
    "dict_type": 'must hold "name: value" lines',
    "list_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}
FAULTS = {
    "missing": "is missing",
    "too_short": "is empty",
    "string_too_short": "is empty",
    "invalid_key": "is no name, which must be a text",
}


def complaints(
    model: type[BaseModel], content: Mapping[str, Any], errors: ValidationError
) -> list[str]:
    """What pydantic says of a YAML in the words of who wrote it, of each place once."""
    said: dict[str, str] = {}
    for error in errors.errors():
        place = ".".join(_written_parts(error, content))
        if error["type"] == "invalid_key":
            place = str(error["loc"][-1])
        if error["type"] == "value_error" and not place:  # of the whole: a line a mistake
            said |= {line: line for line in str(error["ctx"]["error"]).splitlines()}
        else:
            said.setdefault(place, f'"{place}"{_fault(model, error)}')
    return list(said.values())


def _written_parts(error: Any, content: Any) -> Iterator[str]:
    """A place as it was written: pydantic also names how it tried to read it."""
    *_, last = error["loc"] or ("",)
    for part in error["loc"]:
        known = isinstance(content, Mapping) and part in content
        if known or (isinstance(content, list) and isinstance(part, int)):
            content = content[part]
            yield str(part)
        elif error["type"] == "missing" and part == last:
            yield str(part)


def _fault(model: type[BaseModel], error: Any) -> str:
    """What follows the place of a complaint."""
    kind, given = error["type"], error["input"]
    if kind == "value_error":
        said = str(error["ctx"]["error"]).removeprefix(":").strip()
        return f": {said}" if said[-1:] in ".?" else f": {said}."
    if kind == "extra_forbidden":
        return f" is not a field.{nearest(str(error['loc'][-1]), _fields_at(model, error['loc']))}"
    if kind == "literal_error":
        words = re.findall(r"'([^']+)'|(\d+)", error["ctx"]["expected"])
        known = [text or number for text, number in words]
        near = "" if str(given) in known else nearest(given, known)
        those = ", ".join(word if re.search(r"\w", word) else shown(word) for word in known)
        return f" must be one of {those}, not {shown(given)}.{near}"
    if kind in FAULTS:
        return f" {FAULTS[kind]}."
    rule = KINDS.get(kind) or error["msg"].removeprefix("Input ").replace("should", "must")
    if "://" in str(given):  # it may hold a password: not repeated
        return f" {rule}."
    return f" {rule}, not {shown(given)}.{number_meant(given) if 'number' in rule else ''}"


def _fields_at(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    """The fields of the mapping in which something stands."""
    kind: Any = model
    for part in place[:-1]:
        fields = getattr(kind, "model_fields", None)
        kind = fields[part].annotation if fields else get_args(kind)[-1]
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    return [field.alias or name for name, field in kind.model_fields.items()]
