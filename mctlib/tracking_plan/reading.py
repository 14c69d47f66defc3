"""A plan from its YAML. Every mistake is one line, and all are told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, get_args

import yaml
from pydantic import ValidationError

from mctlib.contract import DataError, nearest, number_meant
from mctlib.strict_yaml import Loader, fault_of, read
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
        content = read(path, _Loader)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line, problem = fault_of(error)
        raise DataError(f"{path.name}{line.replace(' in', ',')}: {problem}.") from None
    if not isinstance(content, dict):
        raise DataError(f"{path.name} must hold  micro_conversions: {{name: {{...}}}}.")
    return as_plan(content, path.name)


def as_plan(content: Mapping[str, Any], where: str) -> Plan:
    """A plan from what its YAML says. Raises DataError with a line a mistake, after ``where``."""
    try:
        return Plan.model_validate(content)
    except ValidationError as errors:
        said = [line for error in errors.errors() for line in _sentences(error)]
        raise DataError("\n".join(f"{where}: {line}" for line in dict.fromkeys(said))) from None


KINDS = {
    "model_type": 'must hold "name: value" lines',
    "dict_type": 'must hold "name: value" lines',
    "list_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
}
FAULTS = {"missing": "is missing", "too_short": "is empty", "string_too_short": "is empty"}
UNSAID = ("[key]", "bool", "list[constrained-str]")  # of a place: how pydantic tried to read it


def _sentences(error: Any) -> list[str]:
    """One complaint of pydantic in the words of who wrote the YAML."""
    place = ".".join(str(part) for part in error["loc"] if part not in UNSAID)
    if error["type"] == "value_error" and not place:
        return str(error["ctx"]["error"]).splitlines()
    return [f'"{place}"{_fault(error, error["input"])}' if place else _fault(error, None)]


def _fault(error: Any, given: Any) -> str:
    """What follows the place of a complaint."""
    kind = error["type"]
    if kind == "value_error":
        said = str(error["ctx"]["error"]).removeprefix(":").strip()
        return f": {said}" if said[-1:] in ".?" else f": {said}."
    if kind == "extra_forbidden":
        return f" is not a field.{nearest(str(error['loc'][-1]), _fields_at(error['loc']))}"
    if kind == "literal_error":
        words = re.findall(r"'([^']+)'|(\d+)", error["ctx"]["expected"])
        known = [text or number for text, number in words]
        near = "" if str(given) in known else nearest(given, known)
        return f" must be one of {', '.join(known)}, not {shown(given)}.{near}"
    if kind in FAULTS:
        return f" {FAULTS[kind]}."
    rule = KINDS.get(kind) or error["msg"].removeprefix("Input ").replace("should", "must")
    meant = number_meant(given) if "number" in rule else ""
    return f" {rule}, not {shown(given)}.{meant}"


def _fields_at(place: tuple[Any, ...]) -> list[str]:
    """The fields of the mapping in which something stands."""
    kind: Any = Plan
    for part in place[:-1]:
        fields = getattr(kind, "model_fields", None)
        kind = fields[part].annotation if fields else get_args(kind)[-1]
        if NoneType in get_args(kind):
            kind = get_args(kind)[0]
    return [field.alias or name for name, field in kind.model_fields.items()]
