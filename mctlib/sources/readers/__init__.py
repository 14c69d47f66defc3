"""The formats that can be read, one file each.

A reader says which column of its tool's export fills which canonical column. A new one is a file
here, a line in `READERS`, an export in tests/exports and a test.
"""

from mctlib.contract import REQUIRED
from mctlib.sources.files import File, plain
from mctlib.sources.readers import (
    amplitude,
    canonical,
    columns,
    ga4,
    mixpanel,
    posthog,
    segment,
    snowplow,
    typeform,
    zigpoll,
    zigpoll_segment,
)
from mctlib.sources.readers.reader import Reader

READERS: dict[str, Reader] = {
    "canonical": canonical.READER,
    "columns": columns.READER,
    "mixpanel": mixpanel.READER,
    "amplitude": amplitude.READER,
    "segment": segment.READER,
    "posthog": posthog.READER,
    "ga4": ga4.READER,
    "snowplow": snowplow.READER,
    "typeform": typeform.READER,
    "zigpoll": zigpoll.READER,
    "zigpoll_segment": zigpoll_segment.READER,
}
# The columns of the one format whose files may come without a header line.
HEADLESS = snowplow.COLUMNS


def headers_of(file: File) -> set[str]:
    """The columns of a file, in small letters."""
    return {plain(header).lower() for header in file.headers}


def recognised(file: File) -> str | None:
    """The format whose telling columns the file has; the longest list wins.

    What has the canonical columns is canonical, unless it says when a tool received it.
    """
    headers = headers_of(file)
    fits = [
        (len(columns), name, "received_at" in columns)
        for name, reader in READERS.items()
        for columns in reader.roles.values()
        if columns and headers >= {column.lower() for column in columns}
    ]
    if headers >= set(REQUIRED["events"]):
        fits = [fit for fit in fits if fit[2]] or [(0, "canonical", False)]
    return max(fits)[1] if fits else None
