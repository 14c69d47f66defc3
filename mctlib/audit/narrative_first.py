"""What a director reads first of an audit."""

from __future__ import annotations

from typing import Any

from mctlib.audit.narrative import Told


def read_first(told: Told) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {"finding": "x"}
