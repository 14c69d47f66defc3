"""How a text table is written: where its header stands, what parts its columns, and its names."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

DELIMITERS = ",;\t|~^\x01\x1f"  # the last two as Hive writes them
SAMPLE = 100  # records that are looked at, beside comments
BROKEN = ["a quote that is never closed"]  # stands for a record that breaks the rules of quotes


@dataclass(frozen=True)
class Dialect:
    """delimiter and escape: of a quote inside quotes, `"` or a backslash.

    skip: the number of records above the header. headers: what stands in it.
    """

    delimiter: str
    escape: str
    skip: int
    headers: tuple[str, ...]


def dialect_of(head: str) -> Dialect | None:
    """The dialect of a text that begins so; None where there is no header.

    Every one is tried. Best is the one by which most of the records below the header are as wide as
    it, the fewest lines stand above it, and it is widest; of equals the first.
    """
    escapes = '"\\' if '\\"' in head else '"'
    given = re.match(r"sep=([^\w\s\"\\#])", head)  # as Excel writes it
    best: tuple[tuple[float, ...], Dialect] | None = None
    for delimiter in given[1] if given else DELIMITERS:
        for escape in escapes:
            records = _records(head, delimiter, escape)
            if not any(map(_width, records)):
                continue
            start = _header_at(records)
            headers = records[start]
            if headers is BROKEN:
                continue
            below = [len(row) == len(headers) for row in records[start + 1 :] if _width(row)]
            fit = sum(below) / len(below) if below else 1.0
            wide = _width(headers)
            rank = (wide > 1 and fit > 0.5, wide > 1, -start, fit, wide)
            if not best or rank > best[0]:
                best = rank, Dialect(delimiter, escape, start, tuple(headers))
    return best[1] if best else None


def _records(head: str, delimiter: str, escape: str) -> list[list[str]]:
    """The first records, up to one that is broken."""
    reader = csv.reader(
        io.StringIO(head, newline=""),
        delimiter=delimiter,
        doublequote=escape == '"',
        escapechar=None if escape == '"' else escape,
        strict=True,
    )
    records: list[list[str]] = []
    n = 0
    try:
        for record in reader:
            records.append(record)
            n += bool(record) and not record[0].startswith("#")
            if n == SAMPLE:
                break
    except csv.Error:
        records.append(BROKEN)
    return records


def _width(record: Sequence[str]) -> int:
    """The number of its columns up to the last that holds something."""
    return max((n for n, cell in enumerate(record, 1) if cell.strip()), default=0)


def _header_at(records: Sequence[Sequence[str]]) -> int:
    """The number of records above the header, which no row of the table can be.

    They are empty, have one cell while the table has several, begin with # and are narrower than
    the table, or name something ("Account", "ACME") above an empty line and a wider table.
    """
    widths = [_width(record) for record in records]
    widest = max(widths)
    start = next(
        n
        for n, (record, width) in enumerate(zip(records, widths))
        if width == widest or (width > 1 and not record[0].startswith("#"))
    )
    if widths[start] == 2:
        for n, (above, width) in enumerate(pairwise(widths[start:]), start + 1):
            if above < 2 < width:
                return n
            if width > 2:
                break
    return start
