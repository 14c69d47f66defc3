"""What people did about alerts, and what was sent: outputs/alerts/<dataset>.csv grows, no more."""

from __future__ import annotations

import contextlib
import csv
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from mctlib.contract import DataError, nearest
from mctlib.sources.project import project_root

COLUMNS = ["alert_id", "day", "act", "until", "by", "role", "what", "week"]
SENT = "sent"  # the act of a message: by role, what it said, and the newest week of its run


def folder() -> Path:
    """Where acts, and messages on hold, stand: in the project, wherever a run's pages go."""
    return project_root() / "outputs" / "alerts"


def held() -> Path:
    """Where messages and pages wait that did not arrive."""
    return folder() / "undelivered"


def file_of(dataset: str) -> Path:
    """Of the acts on a dataset's alerts."""
    return folder() / f"{dataset}.csv"


def acts_of(dataset: str) -> pd.DataFrame:
    """What people did about the alerts of a dataset, for `weekly_scorecard`."""
    return read(file_of(dataset))


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """One process at a time sends messages."""
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read(path: Path) -> pd.DataFrame:
    """The acts and deliveries as texts; none where there is no file yet. Raises DataError."""
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS, dtype=str)
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, on_bad_lines="error")
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} cannot be read: {reason}. Mend or move it.") from None
    for column in COLUMNS[:3]:
        if column not in table:
            raise DataError(
                f'{path}: column "{column}" is missing; it holds {", ".join(COLUMNS)}.'
                f"{nearest(column, table.columns)}"
            )
    return table.reindex(columns=COLUMNS).fillna("")


def append(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """Write rows at the end, whole and for good, whoever else writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", newline="", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        writer = csv.DictWriter(file, COLUMNS, restval="")
        if size == 0:
            writer.writeheader()
        elif not _ends_a_line(path):  # somebody's editor, or a process killed while it wrote
            file.write("\r\n")
        writer.writerows(rows)
        file.flush()
        os.fsync(file.fileno())


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
