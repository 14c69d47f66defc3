"""What an audit found, in sentences for an analyst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mctlib import phrases
from mctlib.tracking_plan.plan import Plan


@dataclass(frozen=True)
class Told:
    """What the sentences are about. days_99: until when 99 % are in; None where nobody knows."""

    tables: Mapping[str, pd.DataFrame]
    plan: Plan
    days_99: float | None

    def label(self, name: str) -> str:
        """A micro-conversion as people read it."""
        return self.plan.micro_conversions[name].label


def details(told: Told) -> tuple[str, ...]:
    return ()


def rule(told: Told) -> str:
    return ""


def caveats(told: Told) -> tuple[str, ...]:
    return ()
