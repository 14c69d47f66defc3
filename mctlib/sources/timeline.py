"""The timeline that a dataset keeps as a CSV: begun, and a row for it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from mctlib import phrases
from mctlib.contract import CANONICAL, ENTRIES, ParameterError, as_timestamp, nearest
from mctlib.sources.dataset import described_as
from mctlib.sources.project import shown, yaml_of

LINES = """\
timeline:  # what rivals and you did; empty as yet, a row is added by:
#   python -m mctlib timeline add {name} 2026-03-02 competitor "Rival books interviews at once"
  - path: "{path}"
    format: canonical
"""


def begin(dataset: str) -> str:
    """An empty timeline beside a dataset's YAML, which names it from now on."""
    root, described = described_as(dataset)
    path = root / f"params/timeline.{described.name}.csv"
    if not path.exists():
        path.write_text(",".join(CANONICAL["timeline"]) + "\n", "utf-8")
    with yaml_of(dataset, root).open("a", encoding="utf-8") as yaml:
        yaml.write(LINES.format(name=described.name, path=path.relative_to(root)))
    return shown(path)


def add_entry(dataset: str, row: Mapping[str, str]) -> str:
    """Append a row (day, kind, label, micro_conversions, note) to the timeline's file.

    Raises ParameterError: ``day`` or ``kind`` is none, the dataset has no timeline in one CSV with
    the canonical columns.
    """
    at = as_timestamp(row["day"], "day")
    if row["kind"] not in ENTRIES:
        raise ParameterError(
            f'kind: "{row["kind"]}" is none; it is {phrases.listed(ENTRIES, last="or")}.'
            f"{nearest(row['kind'], ENTRIES)}"
        )
    path = _file_of(dataset)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ParameterError(f"{shown(path)} is not UTF-8; save it as UTF-8 first.") from None
    row = {name: " ".join(value.split()) for name, value in row.items()}  # one line each
    head = next(csv.reader([text.split("\n", 1)[0]])) if text.strip() else []
    columns = [name.strip() for name in head] or list(CANONICAL["timeline"])
    if unknown := [c for c in ("day", "kind", "label") if c not in columns]:
        raise ParameterError(f'{shown(path)} has no column "{unknown[0]}"; write the row there.')
    lost = [name for name, value in row.items() if value and name not in columns]
    if lost:
        raise ParameterError(f'{shown(path)} has no column "{lost[0]}"; add it to its first line.')
    line = io.StringIO()
    writer = csv.DictWriter(line, columns, extrasaction="ignore", restval="", lineterminator="\n")
    if not head:
        writer.writeheader()
    writer.writerow({**row, "day": f"{at:%Y-%m-%d}"})
    with path.open("a", encoding="utf-8") as file:
        file.write(("" if not text or text.endswith("\n") else "\n") + line.getvalue())
        file.flush()
        os.fsync(file.fileno())
    return shown(path)


def _file_of(dataset: str) -> Path:
    """The one CSV that a data YAML names under timeline."""
    root, described = described_as(dataset)
    paths = [path for source in described.timeline for path in source.paths]
    path = root / paths[0] if len(paths) == 1 else root
    if path.suffix.lower() != ".csv" or "*" in path.name:
        raise ParameterError(
            f'The dataset "{dataset}" names no single CSV as its timeline; write  '
            "timeline: {path: exports/timeline.csv}  in its YAML, and a file with day,kind,label."
        )
    if not path.is_file():
        raise ParameterError(f"timeline: there is no {shown(path)}; begin one with day,kind,label.")
    return path
