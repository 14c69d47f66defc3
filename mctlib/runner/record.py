"""What a run knows of itself, as it stands in run.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mctlib.headlines import Action, Headline


@dataclass
class Report:
    """One notebook of a run.

    `note`: day -> what the analyst says; `status`: good or failed; `error`: one line; `finding`:
    the words that the notebook handed out (finding, how_sure, details, rules, caveats); `asked`:
    parameters that were told in words, such as "last 4w", as they were told.
    """

    name: str
    notebook: str
    parameters: dict[str, Any]
    note: dict[str, str] = field(default_factory=dict)
    title: str = ""
    status: str = "failed"
    seconds: float = 0.0
    finding: dict[str, Any] | None = None
    headlines: list[Headline] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    error: str | None = None
    tables: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)


@dataclass
class RunRecord:
    """A run; `folder` holds its index.html. `fingerprint` identifies the loaded data.

    notes: what was mended, skipped or sent on the way. n_alerts, n_undelivered: new alerts, and
    messages that did not arrive. definitions: what the tracking plan's labels meant.
    """

    pack: str
    dataset: str
    as_of: str
    status: str
    started_at: str
    seconds: float
    command: str
    fingerprint: str | None
    versions: dict[str, str]
    notebooks: list[Report]
    folder: str = ""
    notes: list[str] = field(default_factory=list)
    n_alerts: int = 0
    n_undelivered: int = 0
    definitions: dict[str, str] = field(default_factory=dict)
