"""What the file of another tool says, on its way to be a plan."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mctlib.phrases import count

Content: TypeAlias = dict[str, Any]  # of a plan's YAML, or of a part of it
EMPTY: tuple[Any, ...] = (None, "", [], {})  # what says nothing


@dataclass
class Imported:
    """Micro-conversions as a plan's YAML holds them.

    columns: field -> the header that was taken for it, of a spreadsheet. other, kept: what ours
    has no word for and concerns no event; each key so kept anywhere, and how often.
    """

    format: str
    micro_conversions: dict[str, Content] = field(default_factory=dict)
    other: Content = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    kept: Counter[str] = field(default_factory=Counter)

    def told(self, file: Path) -> list[str]:
        """What was read, which columns were taken for what, and what is kept without a field."""
        said = [f"{file}: {count(len(self.micro_conversions), 'event')}, read as {self.format}"]
        if self.columns:
            taken = ", ".join(f'"{header}" as {name}' for name, header in self.columns.items())
            said.append(f"  columns taken (guessed): {taken}")
        if self.kept:
            kept = ", ".join(f"{key} ({n})" for key, n in self.kept.most_common())
            said.append(f"  kept under other, for want of a field: {kept}")
        return said

    def keep(self, place: Content | None, key: str, value: Any) -> None:
        """Keep what has no field, in an event or a property; None: in the plan.

        Of several different values all are kept.
        """
        if value in EMPTY:
            return
        home = self.other if place is None else place.setdefault("other", {})
        known = home.get(key, value)
        same = json.dumps(known) == json.dumps(value)  # 1 is not true
        home[key] = value if same else [*(known if type(known) is list else [known]), value]
        self.kept[key] += 1

    def put(self, place: Content, name: str, value: Any) -> None:
        """Fill a field; of two different values the first stands and the other is kept."""
        if place.setdefault(name, value) != value:
            self.keep(place, f"another {name}", value)
