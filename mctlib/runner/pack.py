"""A pack (params/weekly.yaml): the dataset, the day and the notebooks of one run.

Everything is checked before a kernel starts, and all that is wrong is told at once.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pandas as pd
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from mctlib.audit.delays import read_delays
from mctlib.contract import NAME, Mistakes, ParameterError, as_timestamp, as_window, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.observed import last_day
from mctlib.report.declared import (
    Declared,
    Given,
    declared_parameters,
    no_parameter,
    settled,
)
from mctlib.report.parameter_days import read_day
from mctlib.runner.record import Report
from mctlib.sources import dataset as sources
from mctlib.sources.project import project_root, shown
from mctlib.strict_yaml import Loader, fault_of, read, sound
from mctlib.tracking_plan.plan import ROLES
from mctlib.tracking_plan.reading import complaints, read_plan

PACK_NAME = r"\w[\w .-]*"  # its reports are a folder of outputs/
NO_PACK = ("store", "index.html")  # stand there already
LONGEST = "7d"  # of a notebook
SCORECARD = "scorecard"  # the notebook that finds alerts
VARIABLE = r"[A-Z][A-Z0-9_]*"  # the name of an environment variable
OF_THE_PACK = ("dataset", "as_of")  # parameters that are the same for all of its notebooks


class Entry(BaseModel):
    """One report of a pack.

    The notebook (its key where not named), a parameters file, and single parameters on top of it.
    note: day -> what the analyst has to say of it, shown under the sentence.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    notebook: str | None = None
    params: str | None = None
    set: dict[str, Any] = {}
    note: dict[str, str] = {}


class Mailing(BaseModel):
    """Pages of a run for some readers. to: name of an environment variable, with their address."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)
    to: str
    pages: list[str] = Field(default=["index"], min_length=1)
    kind: Annotated[Literal["html", "pdf"], Field(alias="as")] = "html"


class Pack(BaseModel):
    """The content of a pack file.

    keep: how many good runs stay; all of them when not given. timeout: the longest time that a
    notebook may take. alerts: role -> name of the environment variable that holds the address;
    base_url: that of the one with the address of the pages. deliver: pages that are mailed.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    dataset: str
    as_of: Annotated[str, BeforeValidator(str)] = "latest"  # whatever it is, we say what to write
    notebooks: dict[str, Annotated[Entry, BeforeValidator(lambda entry: entry or {})]] = Field(
        min_length=1
    )
    keep: int | None = Field(default=None, ge=1)
    timeout: Annotated[str, BeforeValidator(str)] = "30min"
    alerts: dict[str, str] = {}
    base_url: str = ""
    deliver: list[Mailing] = []
    _wished: str = PrivateAttr("latest")  # `as_of` as it was asked for


class _Planned(NamedTuple):
    """One report as the files ask for it: given are the values of its parameters file and pack."""

    name: str
    notebook: Path
    declared: dict[str, Declared]
    given: dict[str, Given]


# ---- YAML


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping whose values mean what they look like."""
    try:
        content = read(path, Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        near = _there(path.stem, path.parent, project_root() / "params")
        raise ParameterError(f"{shown(path)} cannot be read ({reason}).{near}") from None
    except yaml.YAMLError as error:
        line, problem = fault_of(error)
        raise ParameterError(f"{shown(path)}{line.replace(' in', ',')}: {problem}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f'{shown(path)} must hold "name: value" lines.')
    return content


def _there(word: str, *folders: Path) -> str:
    """The YAML files of these folders with a name near a word, or else what the last one holds."""
    files = {p.stem: shown(p) for folder in folders for p in sorted(folder.glob("*.yaml"))}
    if near := difflib.get_close_matches(word.lower(), files):
        return f" Did you mean {' or '.join(files[stem] for stem in near)}?"
    held = ", ".join(path.name for path in sorted(folders[-1].glob("*.yaml")))
    return f" {folders[-1].name}/ holds {held or 'no such file'}."


# ---- the check


def check_pack(path: str | Path, as_of: str | None = None) -> tuple[Pack, EventLog, list[Report]]:
    """Read and check a pack, its dataset and every parameter; no kernel starts.

    ``as_of``: a day in place of the pack's own. Returns the pack with its day resolved, the data,
    and the planned reports. Raises ParameterError or DataError, one line a mistake: the file, the
    field, the rule, the nearest valid word.
    """
    path = Path(path)
    mistakes = Mistakes()
    pack = _read(path, mistakes)
    with mistakes.noted():
        _check_timeout(path, pack.timeout)
    plans = []
    for name, entry in pack.notebooks.items():
        for day in entry.note:
            with mistakes.noted():
                as_timestamp(day, f"{shown(path)}, {name}: note")
        with mistakes.noted():
            plans.append(_plan(path, name, entry, mistakes))
    log: EventLog | None = None
    unread = Mistakes()
    with unread.noted():
        log = sources.open_log(pack.dataset, verify=True)
        with mistakes.noted():
            pack._wished = as_of or pack.as_of
            pack.as_of = _resolve(path, pack._wished, log)
        mistakes += _wrong_targets(path, pack, log)
    own = {key: Given(shown(path), getattr(pack, key)) for key in OF_THE_PACK}
    reports = []
    for plan in plans:
        given = plan.given | own
        with mistakes.noted():
            unset = f"{shown(path)}, {plan.name}"
            values = settled(plan.notebook.stem, plan.declared, given, unset, log)
            note = pack.notebooks[plan.name].note
            told = {key: each.value for key, each in given.items() if isinstance(each.value, str)}
            asked = {key: word for key, word in told.items() if values.get(key) != word}
            reports.append(Report(plan.name, shown(plan.notebook), values, note, asked=asked))
    mistakes[:0] = unread
    mistakes.tell()
    assert log is not None  # else it was told
    return pack, log, reports


def scorecard_of(pack: Pack) -> str:
    """The report that finds a pack's alerts; "" for none."""
    return next((n for n, e in pack.notebooks.items() if (e.notebook or n) == SCORECARD), "")


def _wrong_targets(path: Path, pack: Pack, log: EventLog) -> list[str]:
    """Sentences about roles, variables and pages that a pack's messages cannot have."""
    wrong = []
    named = {f"alerts, {role}": variable for role, variable in pack.alerts.items()}
    named |= {f"deliver, {i + 1}, to": mailing.to for i, mailing in enumerate(pack.deliver)}
    named |= {"base_url": pack.base_url} if pack.base_url else {}
    for where, variable in named.items():
        if not re.fullmatch(VARIABLE, variable):
            wrong.append(
                f'{shown(path)}: "{where}" must be the name of an environment variable, such as '
                "ALERT_URL_ANALYST; the address stands in that variable, not in a file."
            )
    roles = read_plan(log.plan).roles if log.plan else ROLES
    for role in pack.alerts:
        if role not in roles:
            near = nearest(role, roles) or f" Known are {', '.join(roles)}."
            wrong.append(f'{shown(path)}: alerts: "{role}" is not among the plan\'s roles.{near}')
    if pack.alerts and not scorecard_of(pack):
        wrong.append(f'{shown(path)}: alerts are found by the notebook "{SCORECARD}"; add it.')
    pages = ["index", *pack.notebooks]
    asked = [page for mailing in pack.deliver for page in mailing.pages if page not in pages]
    lack = f"{shown(path)}: deliver: there is no page"
    return [*wrong, *(f'{lack} "{page}".{nearest(page, pages)}' for page in asked)]


def _check_timeout(path: Path, timeout: str) -> None:
    where = f"{shown(path)}: timeout"
    if as_window(timeout, where) > as_window(LONGEST):
        raise ParameterError(f'{where}: "{timeout}" must be at most {LONGEST}.')


def _read(path: Path, mistakes: Mistakes) -> Pack:
    """The pack without what is wrong with it, which is noted."""
    content = read_yaml(path)
    if not re.fullmatch(PACK_NAME, path.stem) or path.stem.lower() in NO_PACK:
        rule = 'letters, digits, spaces, "-", "_" and "." name it, and neither store nor index.html'
        raise ParameterError(
            f'{shown(path)}: "{path.stem}" cannot name a folder of reports; {rule}.'
        )
    try:
        return Pack.model_validate(content)
    except ValidationError as error:
        mistakes += [f"{shown(path)}: {said}" for said in complaints(Pack, content, error)]
        with suppress(ValidationError):  # of what it needs something is missing
            return Pack.model_validate(sound(content, error.errors()))
        mistakes.tell()
        raise


def _plan(path: Path, name: str, entry: Entry, mistakes: Mistakes) -> _Planned:
    """The notebook of one report and the values asked of it: pack over parameters file.

    Raises ParameterError where there is no such notebook; other mistakes are noted.
    """
    if not re.fullmatch(NAME, name) or name == "index":
        rule = 'use letters, digits, "-" and "_" (not "index")'
        raise ParameterError(f'{shown(path)}: "{name}" cannot name a report; {rule}.')
    where = f"{shown(path)}, {name}"
    notebook = _notebook(where, entry.notebook or name)
    declared = declared_parameters(notebook)
    given: dict[str, Given] = {}
    if entry.params:
        with mistakes.noted():
            read = read_yaml(project_root() / entry.params)
            given |= {key: Given(entry.params, value) for key, value in read.items()}
    for key, value in entry.set.items():
        if key in OF_THE_PACK:
            rule = "is one for the whole pack; it cannot be set for one notebook"
            mistakes.append(f'{where}: "{key}" {rule}.')
        given[key] = Given(where, value)
    given |= {key: Given(shown(path), None) for key in OF_THE_PACK}
    for key in [key for key in given if key not in declared]:
        no_such = no_parameter(shown(notebook), key, declared)
        mistakes.append(f"{given.pop(key).where}: {no_such}")
    return _Planned(name, notebook, declared, given)


def _notebook(where: str, name: str) -> Path:
    folder = project_root() / "notebooks"
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        rule = 'use letters, digits, "-" and "_"'
        raise ParameterError(f'{where}: "{name}" cannot name a notebook of notebooks/; {rule}.')
    notebook = folder / f"{name}.ipynb"
    if not notebook.is_file():
        near = nearest(name, [path.stem for path in folder.glob("*.ipynb")])
        raise ParameterError(f'{where}: there is no notebook "{name}" in notebooks/.{near}')
    return notebook


def _resolve(path: Path, as_of: str, log: EventLog) -> str:
    """The day up to which a pack reads, checked against the data."""
    first, last = log.first_event, last_day(log)
    if as_of in ("latest", "settled"):
        return resolved(as_of, log)
    at = read_day(f"{shown(path)}: as_of", as_of, last, "latest, ")
    if at < first or at.normalize() > last:
        run = f"{first:%Y-%m-%d} to {last:%Y-%m-%d}"
        raise ParameterError(
            f"{shown(path)}: as_of {as_of} lies outside the data, which run from {run}."
        )
    return as_of


def newer(pack: Pack, log: EventLog) -> str:
    """The newest day that a pack could be of, "" where it is of that: of others nothing is sent."""
    newest = resolved("settled" if pack._wished == "settled" else "latest", log)
    return newest if as_timestamp(pack.as_of) < as_timestamp(newest) else ""


def resolved(as_of: str, log: EventLog) -> str:
    """A day as it is, and of "latest" the last complete one of the data.

    Of "settled" the last one before it of which 99 % of the events have arrived, on every platform.
    """
    if as_of not in ("latest", "settled"):
        return as_of
    last = last_day(log)
    day = f"{last:%Y-%m-%d}" if last > log.last_event else last_complete_day(log.last_event)
    if as_of == "settled":
        day = min(day, read_delays(log, {}).last_settled_day or day)
    return day


def last_complete_day(last_event: pd.Timestamp) -> str:
    """The last day whose final hour holds events: one cut off at noon is not complete.

    A last event at midnight sharp says that the data know only days; then the last is complete.
    """
    if last_event == last_event.normalize():
        return f"{last_event:%Y-%m-%d}"
    after = (last_event + pd.Timedelta("1h")).normalize()
    return f"{after - pd.Timedelta('1d'):%Y-%m-%d}"
