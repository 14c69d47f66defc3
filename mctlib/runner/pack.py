"""A pack (params/weekly.yaml): the dataset, the day and the notebooks of one run, with every parameter checked before a kernel starts."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from mctlib.contract import ParameterError, as_timestamp, as_window, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.sources import dataset as sources

WINDOW = re.compile(
    r"(^|_)(windows?|horizon|landmarks?)$"
)  # parameters that pandas.Timedelta must be able to read
KIND = re.compile(
    r"(event|column|day|segment)s?\b|(one of|money)\b", re.I
)  # what a parameter holds, told by the first words of its comment
DAY = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2}))?")
TYPES = {t.__name__: t for t in (str, int, float, bool, list, dict, tuple)}
SECRET_NAME = re.compile(
    r"(password|passwd|secret|token|api_?key|credential|private_?key)s?$", re.I
)
SECRET_VALUE = re.compile(
    r"://[^/\s:@]+:[^/\s@]+@|AKIA[0-9A-Z]{16}|-----BEGIN|\bgh[pousr]_\w{20}|\bgithub_pat_|\bxox[a-z]-|\bsk-\w{16}|\beyJ[\w-]{10,}\.|hooks\.slack\.com/"
)


class Entry(BaseModel):
    """One report of a pack: the notebook (its key where not named), a parameters file, and single parameters on top of it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    notebook: str | None = None
    params: str | None = None
    set: dict[str, Any] = {}


class Pack(BaseModel):
    """The content of a pack file. `keep`: how many good runs stay; all of them when not given."""

    model_config = ConfigDict(extra="forbid", strict=True)
    dataset: str
    as_of: Annotated[str, BeforeValidator(str)] = (
        "latest"  # whatever it is, `_resolve` says what to write
    )
    notebooks: dict[
        str, Annotated[Entry, BeforeValidator(lambda entry: {} if entry is None else entry)]
    ] = Field(min_length=1)
    keep: int | None = Field(default=None, ge=1)


@dataclasses.dataclass
class Report:
    """One notebook of a run. `status` is good or failed; `error` one line; `finding` what the notebook handed out (finding, caveats, next_step, owner)."""

    name: str
    notebook: str
    parameters: dict[str, Any]
    title: str = ""
    status: str = "failed"
    seconds: float = 0.0
    finding: dict[str, Any] | None = None
    error: str | None = None
    tables: list[str] = dataclasses.field(default_factory=list)


class _Loader(sources.OnceLoader):
    """YAML 1.2: only true and false are booleans, dates and times are texts. What would lose its spelling (010, 1.10) or a value (a key twice) is refused."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def number(self, node: Any) -> int | float:
        text = node.value
        value = int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
        if re.fullmatch(r"[-+]?\d*\.?\d*", text) and str(value).removesuffix(
            ".0"
        ) != text.removeprefix("+").removesuffix(".0"):
            problem = f'{text} can be a number or a text: write {value} or "{text}"'
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value


for _tag, _pattern, _first in (("bool", "true|True|TRUE|false|False|FALSE", "tTfF"), ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
                               ("float", r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", "-+.0123456789"), ("merge", "<<", "<")):  # fmt: skip
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping whose values mean what they look like."""
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        near = _there(path.stem, path.parent, sources.project_root() / "params")
        raise ParameterError(
            f"{shown(path)} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}).{near}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ParameterError(
            f"{shown(path)}{line}: {getattr(error, 'problem', None) or 'not valid YAML'}."
        ) from None
    if not isinstance(content, dict):
        raise ParameterError(f'{shown(path)} must hold "name: value" lines.')
    return content


def _there(word: str, *folders: Path) -> str:
    """The YAML files of these folders whose names are near a word, or else what the last folder holds."""
    files = {p.stem: shown(p) for folder in folders for p in sorted(folder.glob("*.yaml"))}
    if near := difflib.get_close_matches(word.lower(), files):
        return f" Did you mean {' or '.join(files[stem] for stem in near)}?"
    return f" {folders[-1].name}/ holds {', '.join(p.name for p in sorted(folders[-1].glob('*.yaml'))) or 'no such file'}."


def check_pack(path: str | Path) -> tuple[Pack, EventLog, list[Report]]:
    """Read and check a pack, its dataset and every parameter; no kernel starts. Returns the pack with its day resolved, the data, and the planned reports.

    Raises ParameterError or DataError with one sentence: the file, the field, the rule, the nearest valid word.
    """
    path, root = Path(path), sources.project_root()
    content = read_yaml(path)
    try:
        pack = Pack.model_validate(content)
    except ValidationError as error:
        raise ParameterError(_invalid(path, error.errors()[0])) from None
    if path.stem == "store":
        raise ParameterError(
            'A pack cannot be named "store": that folder of outputs holds the loaded data.'
        )
    data = sources.open_log(pack.dataset)
    pack.as_of = _resolve(path, pack.as_of, data)
    return (
        pack,
        data,
        [_plan(path, root, name, entry, pack, data) for name, entry in pack.notebooks.items()],
    )


def _plan(path: Path, root: Path, name: str, entry: Entry, pack: Pack, data: EventLog) -> Report:
    """Merge the parameters of one report (notebook < params file < pack < set) and check them against the notebook and the data."""
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name) or name == "index":
        raise ParameterError(
            f'{shown(path)}: "{name}" cannot name a report; use letters, digits, "-" and "_" (not "index").'
        )
    notebook = root / "notebooks" / f"{entry.notebook or name}.ipynb"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", entry.notebook or name):
        raise ParameterError(
            f'{shown(path)}, {name}: "{entry.notebook or name}" cannot name a notebook of notebooks/; use letters, digits, "-" and "_".'
        )
    if not notebook.is_file():
        near = nearest(notebook.stem, [p.stem for p in notebook.parent.glob("*.ipynb")])
        raise ParameterError(
            f'{shown(path)}, {name}: there is no notebook "{notebook.stem}" in notebooks/.{near}'
        )
    declared = declared_parameters(notebook)
    given: dict[str, tuple[str, Any]] = {}
    if entry.params:
        given |= {
            key: (entry.params, value) for key, value in read_yaml(root / entry.params).items()
        }
    given |= {"dataset": (shown(path), pack.dataset), "as_of": (shown(path), pack.as_of)}
    for key, value in entry.set.items():
        if key in ("dataset", "as_of"):
            raise ParameterError(
                f'{shown(path)}, {name}: "{key}" is one for the whole pack; it cannot be set for one notebook.'
            )
        given[key] = (f"{shown(path)}, {name}", value)
    for key, (where, _) in given.items():
        if key not in declared:
            raise ParameterError(
                f'{where}: {shown(notebook)} has no parameter "{key}".{nearest(key, list(declared))}'
            )
    values = {
        key: given.get(key, (shown(notebook), parameter["default"]))
        for key, parameter in declared.items()
    }
    what = {
        key: f'{where}: parameter "{key}" of {notebook.stem}' for key, (where, _) in values.items()
    }
    plain = {key: value for key, (_, value) in values.items()}
    for key, value in plain.items():
        _check(what[key], key, value, declared[key], data)
    _check_together(what, plain, declared, data)
    return Report(name, shown(notebook), {key: value for key, (_, value) in given.items()})


def declared_parameters(notebook: Path) -> dict[str, dict[str, Any]]:
    """What the cell tagged `parameters` declares: name -> type, default, help (the comment on its last line).

    Python's own parser reads it: papermill.inspect_notebook loses `str | None`, `=` inside a comment, and types below the first bracket.
    """
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        source = next(
            "".join(c["source"])
            for c in cells
            if "parameters" in c.get("metadata", {}).get("tags", [])
        )
        lines, body = source.splitlines(), ast.parse(source).body
    except StopIteration:
        raise ParameterError(f'{shown(notebook)} has no cell tagged "parameters".') from None
    except (ValueError, KeyError, SyntaxError) as error:
        raise ParameterError(
            f"{shown(notebook)} is not a notebook with a readable parameters cell: {error}."
        ) from None
    found = {}
    for line in body:
        target = (
            line.target
            if isinstance(line, ast.AnnAssign)
            else line.targets[0]
            if isinstance(line, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and line.value is not None:
            default = ast.literal_eval(line.value)
            note = getattr(line, "annotation", None)
            kind = eval(ast.unparse(note), {"__builtins__": {}}, TYPES) if note else type(default)  # noqa: S307 - type names only
            comment = (
                lines[line.end_lineno - 1]
                .encode()[line.end_col_offset :]
                .decode()
                .partition("#")[2]
                .strip()
            )
            found[target.id] = {
                "type": Any if kind is type(None) else kind,
                "default": default,
                "help": comment,
            }
    return found


def _check(what: str, name: str, value: Any, parameter: dict[str, Any], data: EventLog) -> None:
    """One value: no secret, the declared type, readable windows, and the kind that its comment tells."""
    for key, leaf in _leaves(name, value):
        if leaf and (
            SECRET_NAME.search(key) or isinstance(leaf, str) and SECRET_VALUE.search(leaf)
        ):
            raise ParameterError(
                f"{what} looks like a credential. Parameters are stored in the reports: keep secrets in environment variables."
            )
    kind = parameter["type"]
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        shown = kind.__name__ if isinstance(kind, type) and kind in TYPES.values() else str(kind)
        raise ParameterError(
            f"{what} must be {shown}, not {json.dumps(value, default=str)}."
        ) from None
    if WINDOW.search(name):
        for _, leaf in _leaves(name, value):
            if leaf is not None:
                as_window(leaf, what)
        if value == []:
            raise ParameterError(f"{what} names no duration; write at least one.")
    kind = _kind(parameter)
    if name == "steps" and kind == "event" and len(value) < 2:
        raise ParameterError(f"{what} needs at least two steps, not {json.dumps(value)}.")
    if value is None or value == "" and ('""' in parameter["help"] or kind == "column"):
        return
    if kind == "event":
        for step in value if isinstance(value, list) else [value]:
            _check_event(what, step, data)
    elif kind == "day":
        _check_days(what, value, data)
    elif kind == "column":
        for column in value if isinstance(value, list) else [value]:
            if not isinstance(column, str):
                raise ParameterError(f"{what} must be a column's name, not {json.dumps(column)}.")
            try:
                data.check_column(column)
            except ParameterError as error:
                raise ParameterError(f"{what}: {error}") from None
    elif kind == "one of":
        words = [
            word.strip(" \"'")
            for word in re.split(r",| or ", re.split("[:;]", parameter["help"][6:])[0])
        ]
        if unknown := [leaf for _, leaf in _leaves(name, value) if leaf not in words]:
            raise ParameterError(
                f"{what} must be one of {', '.join(words)}, not {json.dumps(unknown[0])}.{nearest(unknown[0], words)}"
            )
    elif kind == "money" and not (isinstance(value, (int, float)) and 0 <= value < float("inf")):
        raise ParameterError(
            f"{what} is an amount of money; write a number of 0 or more, not {json.dumps(value)}."
        )


def _kind(parameter: dict[str, Any]) -> str:
    found = KIND.match(parameter["help"])
    return (found[1] or found[2]).lower() if found else ""


def _check_event(what: str, step: Any, data: EventLog) -> None:
    """A name, a list of names, or a mapping of `event` and `where`."""
    event = step
    if isinstance(step, dict):
        if unknown := [key for key in step if key not in ("event", "where")]:
            raise ParameterError(
                f'{what}: an event has the keys "event" and "where", not "{unknown[0]}".{nearest(unknown[0], ["event", "where"])}'
            )
        if not isinstance(step.get("where", {}), dict):
            raise ParameterError(
                f'{what}: "where" holds "column: value" lines, not {json.dumps(step["where"])}.'
            )
        event = step.get("event")
    names = event if isinstance(event, list) else [event]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ParameterError(
            f"{what}: {json.dumps(step)} names no event; write a name, a list of names, or {{event: name, where: {{column: value}}}}."
        )
    if unknown := data.missing_events([names]):
        raise ParameterError(f"{what}: {unknown[0]}")


def _check_days(what: str, value: Any, data: EventLog) -> None:
    """ISO days or timestamps within the data; two of them are a period."""
    first, last = data.first_event.normalize(), data.last_event.normalize()
    days = value if isinstance(value, list) else [value]
    for day in days:
        if not first <= _iso(what, day, last).normalize() <= last:
            raise ParameterError(
                f"{what}: {day} lies outside the data, which run from {first:%Y-%m-%d} to {last:%Y-%m-%d}."
            )
    if len(days) == 2 and as_timestamp(days[0]) > as_timestamp(days[1]):
        raise ParameterError(
            f"{what}: {days[0]} comes after {days[1]}; write the earlier day first."
        )


def _iso(what: str, text: Any, example: pd.Timestamp, otherwise: str = "") -> pd.Timestamp:
    """One spelling only: pandas would also read "now" as the clock of the machine, and 11/01/2026 as the American does."""
    with contextlib.suppress(ValueError):
        if isinstance(text, str) and DAY.fullmatch(text):
            return as_timestamp(text)
    said = f'a day like "{example:%Y-%m-%d}" or a timestamp like "{example:%Y-%m-%d}T12:00:00Z"'
    raise ParameterError(f"{what} is {json.dumps(text)}; write {otherwise}{said}.")


def _check_together(
    what: dict[str, str],
    values: dict[str, Any],
    declared: dict[str, dict[str, Any]],
    data: EventLog,
) -> None:
    """What holds between the parameters of one notebook, each of them checked before."""
    by = values.get("by")
    for name, value in values.items():
        if _kind(declared[name]) == "segment" and value:
            if not by:
                raise ParameterError(
                    f'{what[name]} is {json.dumps(value)}, but "by" names no column whose segments these could be.'
                )
            levels = data.segments(by)
            if unknown := [leaf for _, leaf in _leaves(name, value) if leaf not in levels]:
                near = (
                    nearest(unknown[0], levels)
                    or f" It has {', '.join(levels[:8])}{', ...' if len(levels) > 8 else ''}."
                )
                raise ParameterError(
                    f'{what[name]}: {json.dumps(unknown[0])} is no segment of "{by}".{near}'
                )
    start, activation = (
        value if isinstance(value, list) else [value]
        for value in (values.get("start"), values.get("activation"))
    )
    if start == activation != [None]:
        raise ParameterError(
            f"{what['activation']} is the start as well, {json.dumps(values['activation'])}; they must be different events."
        )


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


def _resolve(path: Path, as_of: str, data: EventLog) -> str:
    """`latest` is the last day whose final hour holds events: an export that stops at noon does not make a day. A last event at midnight sharp says that
    the data know only days, and then the last of them is complete.
    """
    first, last = data.first_event, data.last_event
    if as_of == "latest":
        if last == last.normalize():
            return f"{last:%Y-%m-%d}"
        return f"{(last + pd.Timedelta('1h')).normalize() - pd.Timedelta('1d'):%Y-%m-%d}"
    at = _iso(f"{shown(path)}: as_of", as_of, last, "latest, ")
    if at < first or at.normalize() > last:
        raise ParameterError(
            f"{shown(path)}: as_of {as_of} lies outside the data, which run from {first:%Y-%m-%d} to {last:%Y-%m-%d}."
        )
    return as_of


def _invalid(path: Path, error: Any) -> str:
    """pydantic's first complaint as a sentence."""
    where = ", ".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        fields = Pack.model_fields if len(error["loc"]) == 1 else Entry.model_fields
        return (
            f'{shown(path)}: unknown key "{where}".{nearest(str(error["loc"][-1]), list(fields))}'
        )
    if error["type"] == "missing":
        return f'{shown(path)}: the key "{where}" is missing.'
    if error["type"] == "too_short":
        return f'{shown(path)}: "{where}" names no notebook.'
    return f'{shown(path)}: "{where}" is not right: {error["msg"][:1].lower() + error["msg"][1:]}.'


def shown(path: Path) -> str:
    return os.path.relpath(path) if Path(path).resolve().is_relative_to(Path.cwd()) else str(path)
