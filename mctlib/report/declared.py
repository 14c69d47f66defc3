"""The parameters cell of a notebook, and the values it will run with.

A notebook without a model (a user's own) is held to the types that its cell declares.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from mctlib.contract import Mistakes, ParameterError, nearest, number_meant
from mctlib.eventlog.event_log import EventLog
from mctlib.phrases import listed
from mctlib.report.parameters import MODELS, OF_THE_DEMO, Parameters
from mctlib.sources.project import shown

TYPES = {kind.__name__: kind for kind in (str, int, float, bool, list, dict, tuple, object)}
SECRET_NAME = re.compile(
    r"(password|passwd|secret|token|api_?key|credential|private_?key)s?$", re.I
)
SECRET_VALUE = re.compile(
    r"://[^/\s:@]+:[^/\s@]+@|AKIA[0-9A-Z]{16}|-----BEGIN|\bgh[pousr]_\w{20}|\bgithub_pat_"
    r"|\bxox[a-z]-|\bsk-\w{16}|\beyJ[\w-]{10,}\.|hooks\.slack\.com/"
)


class Declared(NamedTuple):
    """A parameter as its notebook declares it."""

    type: Any
    default: Any


class Given(NamedTuple):
    """A parameter's value, and the file where it stands."""

    where: str
    value: Any


def declared_parameters(notebook: Path) -> dict[str, Declared]:
    """What the cell tagged `parameters` declares, by name.

    Python's own parser reads it: papermill.inspect_notebook loses `str | None`, `=` inside a
    comment, and types below the first bracket.
    """
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        tagged = [c for c in cells if "parameters" in c.get("metadata", {}).get("tags", [])]
        return _declared_in(ast.parse("".join(tagged[0]["source"])).body)
    except IndexError:
        raise ParameterError(f'{shown(notebook)} has no cell tagged "parameters".') from None
    except Exception as error:  # whatever stands there: eval and the parsers raise many kinds
        lack = "is not a notebook with a readable parameters cell"
        raise ParameterError(f"{shown(notebook)} {lack}: {error}.") from None


def _declared_in(body: list[ast.stmt]) -> dict[str, Declared]:
    found = {}
    for line in body:
        if isinstance(line, ast.AnnAssign) and line.value is not None:
            target: ast.expr = line.target
            # type names only
            kind = eval(ast.unparse(line.annotation), {"__builtins__": {}}, TYPES)
            default = ast.literal_eval(line.value)
        elif isinstance(line, ast.Assign):
            target, default = line.targets[0], ast.literal_eval(line.value)
            kind = Any if default is None else type(default)
        else:
            continue
        if isinstance(target, ast.Name):
            found[target.id] = Declared(kind, default)
    return found


def no_parameter(notebook: str, name: str, known: Collection[str]) -> str:
    """What to say of a name that is none of a notebook's parameters."""
    near = nearest(name, known) or f" It has {', '.join(known)}."
    return f'{notebook} has no parameter "{name}".{near}'


class _Unread(ValueError):
    """Something was asked of data that could not be read."""


class _NoData:
    def __getattr__(self, name: str) -> Any:
        raise _Unread


def settled(
    notebook: str,
    declared: Mapping[str, Declared],
    given: Mapping[str, Given],
    unset: str,
    log: EventLog | None,
) -> dict[str, Any]:
    """The values that a notebook runs with, checked against its types and the data.

    Periods and days that were told in words are days. What is not given is for the demo the
    notebook's own, for any other dataset what its model says: empty, or to be given; ``unset``
    names the file that could hold it. Without a ``log``, for the data cannot be read, only what
    needs none is checked. Raises ParameterError with one line a mistake.
    """
    model = MODELS.get(notebook)
    own = model is None or (log is not None and log.name == "demo")
    values = {key: Given(unset, d.default) for key, d in declared.items()} if own else {}
    values |= given
    wrong: list[tuple[str, str]] = []
    good = {}
    for key, (_, value) in values.items():
        if mistake := _plain_mistake(key, value, declared[key].type):
            wrong.append((key, mistake))
        else:
            good[key] = value
    told, lacking = {key for key, _ in wrong}, []
    for each in _of_the_model(model, good, log) if model else []:
        key, what = _whose(each)
        if each["loc"] and key not in values:
            lacking.append(f'"{key}"')
        elif key not in told:
            wrong.append((key, what))
    mistakes = Mistakes()
    for key, what in wrong:
        given_in = values[key].where if key in values else unset
        where = given_in.removesuffix(f", {notebook}")  # it is named once
        mistakes.append(f'{where}: parameter "{key}" of {notebook}{what}')
    if log is None:
        mistakes.tell()
        return good
    if lacking:
        them = "which is" if len(lacking) == 1 else "which are"
        mistakes.append(f"{unset}: {notebook} needs {listed(lacking)}, {them} not given.")
    mistakes += [] if own else _of_the_demo(notebook, given, unset)
    mistakes.tell()
    return {key: good[key] for key in (declared if model else given)}


def _of_the_model(model: type[Parameters], good: dict[str, Any], log: EventLog | None) -> list[Any]:
    """What pydantic finds wrong with values; else these become as the model reads them."""
    try:
        good |= model.model_validate(good, strict=True, context=log or _NoData()).model_dump()
    except ValidationError as error:
        found = error.errors()
        return [e for e in found if not isinstance(e.get("ctx", {}).get("error"), _Unread)]
    return []


def _of_the_demo(notebook: str, given: Mapping[str, Given], unset: str) -> list[str]:
    """A sentence about days or money, all of it, that were left at the demo's."""
    found: list[str] = []
    for group in OF_THE_DEMO.get(notebook, ()):
        if all(key in given and given[key].value == value for key, value in group.items()):
            found += [f'"{key}"' for key in group]
    whose = "is the demo's" if len(found) == 1 else "are the demo's"
    return [f"{unset}: {listed(found)} of {notebook} {whose}; write your own."] if found else []


def _plain_mistake(name: str, value: Any, kind: Any) -> str:
    """What follows the parameter's name where it holds a secret or is not of the declared type."""
    for key, leaf in _leaves(name, value):
        in_value = isinstance(leaf, str) and SECRET_VALUE.search(leaf)
        if leaf and (SECRET_NAME.search(key) or in_value):
            return (
                " looks like a credential. Parameters are stored in the reports: "
                "keep secrets in environment variables."
            )
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        named = kind.__name__ if kind in TYPES.values() else str(kind)
        meant = number_meant(value) if kind in (int, float) else ""
        return f" must be {named}, not {json.dumps(value, default=str)}.{meant}"
    return ""


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every single value inside lists and mappings, with the nearest key above it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(str(key), item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(name, item)
    else:
        yield name, value


def _whose(error: Any) -> tuple[str, str]:
    """The parameter of a complaint, and what it says; one about several begins with its name."""
    if error["loc"]:
        return str(error["loc"][0]), _said(error)
    name, _, what = str(error["ctx"]["error"]).partition(":")
    return name, f":{what}"


def _said(error: Any) -> str:
    """One complaint of pydantic: ours as it is, its own with the value."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    rule = error["msg"][:1].lower() + error["msg"][1:]
    meant = number_meant(error["input"]) if "number" in rule else ""
    return f": {json.dumps(error['input'], default=str)} is not right, {rule}.{meant}"
