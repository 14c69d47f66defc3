"""What params/data.<name>.yaml may say: where the tables of a dataset are, and how to read them."""

import re
from collections.abc import Iterator
from encodings.aliases import aliases
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib.contract import (
    TABLES,
    DataError,
    Mistakes,
    as_timestamp,
    as_window,
    column_type,
    nearest,
)
from mctlib.eventlog.calendar import Weekday
from mctlib.eventlog.repeats import RESENT_WITHIN
from mctlib.sources.demo.stories import USERS
from mctlib.sources.project import content_of
from mctlib.sources.readers import READERS
from mctlib.sources.spellings import format_fault
from mctlib.sources.unpack import is_encoding
from mctlib.tracking_plan.reading import complaints

NAME = r"[A-Za-z0-9][\w-]*"  # of a dataset, for it names its store


class Source(BaseModel):
    """Where the files of one table are, or the query that answers it, and how to read them.

    path: a path or glob or a list of them, absolute or relative to the project root. query: SQL,
    asked at `connection`, the NAME of an environment variable that holds the warehouse's URL (see
    `warehouse`). format: a name in `READERS`. columns: canonical column -> the file's own header or
    property; of a time also a list, the headers of its day and of its clock. timezone: IANA zone of
    times that carry none. date_format: how strptime reads times that nothing else tells, one format
    or a list; `excel`: days counted by a spreadsheet. encoding: of texts that are not UTF-8 and
    have no byte-order mark. sheet: of workbooks, else the first that is filled. decimal: sign of
    amounts that do not tell it themselves. refunds: negative amounts of spend are meant. hash: what
    is kept as salted hashes.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    path: str | list[str] | None = None
    query: str | None = None
    connection: str | None = None
    format: str = "canonical"
    columns: dict[str, str | list[str]] = {}
    timezone: str | None = None
    date_format: Annotated[
        list[str], BeforeValidator(lambda said: [said] if isinstance(said, str) else said)
    ] = []
    encoding: str | None = None
    sheet: str | None = None
    decimal: Literal[".", ","] | None = None
    refunds: bool = False
    hash: list[str] = []

    @property
    def paths(self) -> list[str]:
        """What `path` says, as a list."""
        return [self.path] if isinstance(self.path, str) else self.path or []

    @property
    def headers(self) -> dict[str, str]:
        """What `columns` says, of times whose day and clock stand apart the day's header."""
        return {c: h if isinstance(h, str) else h[0] for c, h in self.columns.items()}

    @property
    def said_of_times(self) -> tuple[list[str], dict[str, str]]:
        """Their formats, and the headers of clocks that stand apart."""
        clocks = {c: h[1] for c, h in self.columns.items() if not isinstance(h, str)}
        return self.date_format, clocks

    @property
    def label(self) -> str:
        """Its name in the load report and in messages."""
        return f"query at {self.connection}" if self.query else ", ".join(self.paths)


class Demo(BaseModel):
    """The seeded demo product instead of files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    seed: int = 1
    users: int = USERS


Sources = Annotated[
    list[Source], BeforeValidator(lambda value: [value] if isinstance(value, dict) else value)
]


class Dataset(BaseModel):
    """A data YAML: a name, and for each canonical table one source or several, or `demo`.

    currency: of every amount, as it is printed (EUR); nothing is converted.
    observed_until: day or moment (UTC) until which events were collected, although none came.
    reporting_timezone, week_starts: by which weeks, months and days of entry are told.
    plan: the YAML of the tracking plan, where it is not params/plan.<name>.yaml.
    earliest: the first day (UTC) whose events are believed, in place of `plausible`'s own rules.
    resent_within: what lies further apart was not sent again, although the event_id is the same.
    ids_ignore_case: ids of users and accounts that differ by case only are one.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    name: str
    currency: str = ""
    observed_until: Annotated[str, BeforeValidator(str)] | None = None
    reporting_timezone: str = "UTC"
    week_starts: Weekday = "monday"
    plan: str | None = None
    earliest: Annotated[str, BeforeValidator(str)] | None = None
    resent_within: Annotated[str, BeforeValidator(str)] = RESENT_WITHIN
    ids_ignore_case: bool = False
    demo: Demo | None = None
    events: Sources = []
    people: Sources = []
    surveys: Sources = []
    backend: Sources = []
    spend: Sources = []
    timeline: Sources = []
    responses: Sources = []

    def sources(self) -> Iterator[tuple[str, Source]]:
        """(canonical table, source), one after another."""
        for table in TABLES:
            for source in getattr(self, table):
                yield table, source


# ------------------------------------------------------------------------------ the YAML


def read_dataset(path: Path) -> Dataset:
    """A data YAML, checked.

    Raises DataError of one sentence: the file, the field, the rule, the nearest valid word.
    """
    content = content_of(path)
    try:
        dataset = Dataset.model_validate(content)
    except ValidationError as errors:
        wrong = complaints(Dataset, content, errors)
        raise DataError("\n".join(f"{path.name}: {fault}" for fault in wrong)) from None
    mistakes = Mistakes()
    if not re.fullmatch(NAME, dataset.name):
        mistakes.append(f"{path.name}: {name_fault(dataset.name)}")
    with mistakes.noted():
        as_window(dataset.resent_within, f"{path.name}: resent_within")
    for field in ("observed_until", "earliest"):
        if (said := getattr(dataset, field)) is not None:
            with mistakes.noted():
                as_timestamp(said, f"{path.name}: {field}")
    if not dataset.events and not dataset.demo:
        mistakes.append(f"{path.name} names no events. Add  events: {{path: ...}}.")
    zone = dataset.reporting_timezone
    if fault := _zone_fault(zone, f'the reporting_timezone "{zone}"'):
        mistakes.append(f"{path.name}: {fault}")
    for table, source in dataset.sources():
        if fault := _place_fault(table, source) or _format_fault(table, source):
            mistakes.append(f"{path.name}: {fault}")
    mistakes.tell(DataError)
    return dataset


def name_fault(name: str) -> str:
    """What is wrong with a name that is none."""
    return f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'


def _place_fault(table: str, source: Source) -> str:
    if bool(source.path) == bool(source.query):
        return f"{table} needs either a path or a query."
    if bool(source.query) != bool(source.connection):
        return f"{table} needs both a query and a connection, or neither."
    if source.connection and not re.fullmatch(r"[A-Za-z_]\w*", source.connection):
        # it may hold a password: not repeated
        return (
            f"connection of {table} must be the name of an environment variable that holds the URL,"
            " never the URL itself: passwords do not belong in files."
        )
    return ""


def _format_fault(table: str, source: Source) -> str:
    if source.format not in READERS:
        near = nearest(source.format, READERS) or f" Known are: {', '.join(READERS)}."
        return f'the format "{source.format}" of {table} is not known.{near}'
    tables = READERS[source.format].tables
    if table not in tables:
        return f"format {source.format} fills {' or '.join(tables)}, not {table}."
    zone = source.timezone or "UTC"
    if fault := _zone_fault(zone, f'the timezone "{zone}" of {table}'):
        return fault
    if source.encoding is not None and not is_encoding(source.encoding):
        near = nearest(source.encoding, aliases.values()) or " Write cp1252, for example."
        return f'the encoding "{source.encoding}" of {table} is not known.{near}'
    return _times_fault(table, source)


def _zone_fault(zone: str, what: str) -> str:
    zones = available_timezones()
    return "" if zone in zones else f"{what} is no IANA name.{nearest(zone, zones)}"


def _times_fault(table: str, source: Source) -> str:
    for column, header in source.columns.items():
        two = isinstance(header, str) or (len(header) == 2 and column_type(column) == "TIMESTAMP")
        if not two:
            says = "needs one header; only a time may have two, of its day and of its clock."
            return f'"{column}" in columns of {table} {says}'
    for format in source.date_format:
        if fault := format_fault(format):
            return f'the date_format "{format}" of {table} {fault}'
    return ""
