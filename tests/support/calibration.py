"""A line of the calibration table, and the limits that its kind has."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, on data from which truth, and its limits."""

    estimator: str
    truth: str
    measured: float
    low: float
    high: float
    beside: str = ""  # what else a reader of the table wants to know

    @property
    def holds(self) -> bool:
        """Whether it does."""
        return self.low <= self.measured <= self.high


def coverage(estimator: str, truth: str, hits: np.ndarray) -> Row:
    """Share of 95 % intervals that hold the truth."""
    low, high = (0.93, 0.97) if len(hits) >= 2000 else (0.915, 0.98)
    return Row(f"{estimator}, coverage", truth, float(np.mean(hits)), low, high)


def within(value: float, interval: Sequence[float]) -> bool:
    """Whether an interval holds the value."""
    low, high = interval
    return bool(low <= value <= high)


def at_least(
    estimator: str, truth: str, hits: np.ndarray, share: float = 0.93, beside: str = ""
) -> Row:
    """Share of what ought to be frequent, such as intervals that hold a realised count."""
    low = share - 2.5 * np.sqrt(share * (1 - share) / len(hits))
    return Row(estimator, truth, float(np.mean(hits)), low, 1.0, beside)


def at_most(estimator: str, truth: str, hits: np.ndarray, share: float = 0.05) -> Row:
    """Share of what ought to be rare, such as effects shown where there is none."""
    high = share + 2.5 * np.sqrt(share * (1 - share) / len(hits))
    return Row(estimator, truth, float(np.mean(hits)), 0.0, high)


def rejections(estimator: str, truth: str, pvalue: np.ndarray, level: float = 0.05) -> Row:
    """Share of tests at ``level`` that reject a truth."""
    return Row(
        f"{estimator}, false positives",
        truth,
        float((np.asarray(pvalue) < level).mean()),
        0.0,
        level + 2.5 * np.sqrt(level * (1 - level) / len(pvalue)),
    )
