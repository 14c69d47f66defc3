"""What params/data.<name>.yaml may say: where the tables of a dataset are, and how to read them."""

import re
from collections.abc import Iterator
from encodings.aliases import aliases
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from mctlib.contract import (
    NAME,
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
from mctlib.eventlog.spellings import plain
from mctlib.sources.demo.stories import USERS
from mctlib.sources.project import content_of, name_in
from mctlib.sources.readers import READERS
from mctlib.sources.spellings import format_fault
from mctlib.sources.unpack import is_encoding
from mctlib.strict_yaml import sound
from mctlib.tracking_plan.reading import complaints

_zones = cache(available_timezones)  # it walks through a folder
PLAIN = ("canonical", "columns")  # formats whose files' columns are all told by the YAML
SIGNS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}
# Those that are proposed; any other three letters are a currency too.
CURRENCIES = """
    EUR USD GBP CHF SEK NOK DKK PLN CZK HUF RON BGN TRY UAH INR JPY CNY KRW SGD HKD IDR PHP AUD NZD
    CAD BRL MXN ARS CLP COP ZAR NGN KES EGP ILS AED SAR
""".split()


class Source(BaseModel):
    """Where the files of one table are, or the query that answers it, and how to read them.

    path: a path or glob or a list of them, absolute or relative to the project root. query: SQL,
    asked at `connection`, the NAME of an environment variable that holds the warehouse's URL (see
    `warehouse`). format: a name in `READERS`. columns: canonical column -> the file's own header or
    property; of a time also a list, the headers of its day and of its clock; beside them `email`,
    whose salted hash joins people of sources that share nothing else (canonical, columns).
    timezone: IANA zone of times that carry none. date_format: how strptime reads times that nothing
    else tells, one format or a list; `excel`: days counted by a spreadsheet. encoding: of texts
    that are not UTF-8 and have no byte-order mark. sheet: of workbooks, else the first that is
    filled. decimal: sign of amounts that do not tell it themselves. refunds: negative amounts of
    spend are meant. hash: what is kept as salted hashes. allowed: the columns that may be read,
    beside those that others of these fields name; all others stay out.
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
    allowed: list[str] | None = None

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
    def may_read(self) -> list[str] | None:
        """The headers that `allowed` lets in; None for all."""
        if self.allowed is None:
            return None
        mapped = [[h] if isinstance(h, str) else h for h in self.columns.values()]
        return [*self.allowed, *self.hash, *(header for headers in mapped for header in headers)]

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
    aliases: a partner's name as it is written in links, a promo code or an answer, in any case ->
    the partner meant; "" for ourselves.
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
    aliases: dict[str, str] = {}
    demo: Demo | None = None
    events: Sources = []
    people: Sources = []
    surveys: Sources = []
    backend: Sources = []
    manual: Sources = []
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

    Raises DataError, a sentence a mistake: the file, the field, the rule, the nearest valid word.
    """
    dataset, mistakes = looked_at(path)
    mistakes.tell(DataError)
    return dataset


def looked_at(path: Path) -> tuple[Dataset, Mistakes]:
    """What is sound in a data YAML, and what is wrong with it. Raises DataError: it is no YAML."""
    content, mistakes = content_of(path), Mistakes()
    try:
        dataset = Dataset.model_validate(content)
    except ValidationError as errors:
        mistakes += complaints(Dataset, content, errors)
        dataset = Dataset.model_validate({"name": name_in(path)} | sound(content, errors.errors()))
    mistakes += _dataset_faults(dataset, content, path)
    for table, source in dataset.sources():
        mistakes += _source_faults(table, source)
    return dataset, Mistakes(f"{path.name}: {fault}" for fault in mistakes)


def _dataset_faults(dataset: Dataset, content: dict[str, Any], path: Path) -> Iterator[str]:
    """What is wrong with the fields of a dataset, but for its sources."""
    if fault := name_fault(dataset.name):
        yield fault
    elif path.name != (called := f"data.{dataset.name}.yaml"):
        # two files of one name would share a store
        way = f"Write  name: {name_in(path)}  or call the file {called}."
        yield f'the name "{dataset.name}" is not that of the file. {way}'
    mistakes = Mistakes()
    with mistakes.noted():
        as_window(dataset.resent_within, "resent_within")
    for field in ("observed_until", "earliest"):
        if (said := getattr(dataset, field)) is not None:
            with mistakes.noted():
                as_timestamp(said, field)
    yield from mistakes
    yield from _alias_faults(dataset.aliases)
    if not dataset.demo and not content.get("events"):
        yield "it names no events. Add  events: {path: ...}."
    zone, currency = dataset.reporting_timezone, dataset.currency
    if fault := _zone_fault(zone, f'the reporting_timezone "{zone}"'):
        yield fault
    if currency and not re.fullmatch("[A-Z]{3}", currency):
        meant = SIGNS.get(currency, currency).upper()
        near = nearest(meant, [meant] if meant in CURRENCIES else CURRENCIES)
        yield f'the currency "{currency}" must be three capital letters such as EUR.{near}'


def _alias_faults(aliases: dict[str, str]) -> Iterator[str]:
    """What is wrong with the mending map."""
    means: dict[str, str] = {}
    for word, name in aliases.items():
        key = plain(word)
        if not key:
            yield "aliases hold an empty name; what names nobody needs no alias."
        elif means.setdefault(key, name) != name:
            yield f'"{word}" in aliases means "{means[key]}" and "{name}"; case does not matter.'
    for word, name in means.items():
        further = means.get(plain(name), name)
        if further != name:
            yield f'"{word}" in aliases means "{name}", which means "{further}": write that.'


def name_fault(name: str) -> str:
    """What is wrong with a dataset's name, "" for nothing."""
    if re.fullmatch(NAME, name):
        return ""
    return f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'


def _source_faults(table: str, source: Source) -> Iterator[str]:
    """What is wrong with the fields of a source of a table."""
    yield from _place_faults(table, source)
    if source.format not in READERS:
        near = nearest(source.format, READERS) or f" Known are: {', '.join(READERS)}."
        yield f'the format "{source.format}" of {table} is not known.{near}'
    elif table not in (tables := READERS[source.format].tables):
        yield f"format {source.format} fills {' or '.join(tables)}, not {table}."
    elif source.allowed is not None and source.format not in PLAIN:
        yield f"allowed of {table} needs format {' or '.join(PLAIN)}, not {source.format}."
    zone = source.timezone or "UTC"
    if fault := _zone_fault(zone, f'the timezone "{zone}" of {table}'):
        yield fault
    if source.encoding is not None and not is_encoding(source.encoding):
        near = nearest(source.encoding, aliases.values()) or " Write cp1252, for example."
        yield f'the encoding "{source.encoding}" of {table} is not known.{near}'
    for column, header in source.columns.items():
        two = isinstance(header, str) or (len(header) == 2 and column_type(column) == "TIMESTAMP")
        if not two:
            says = "needs one header; only a time may have two, of its day and of its clock."
            yield f'"{column}" in columns of {table} {says}'
    for format in source.date_format:
        if fault := format_fault(format):
            yield f'the date_format "{format}" of {table} {fault}'


def _place_faults(table: str, source: Source) -> Iterator[str]:
    if bool(source.path) == bool(source.query):
        yield f"{table} needs either a path or a query."
    elif bool(source.query) != bool(source.connection):
        yield f"{table} needs both a query and a connection, or neither."
    if source.connection and not re.fullmatch(r"[A-Za-z_]\w*", source.connection):
        # it may hold a password: not repeated
        yield (
            f"connection of {table} must be the name of an environment variable that holds the URL,"
            " never the URL itself: passwords do not belong in files."
        )


def _zone_fault(zone: str, what: str) -> str:
    if zone == "UTC" or zone in (zones := _zones()):
        return ""
    return f"{what} is no IANA name.{nearest(zone, zones)}"
