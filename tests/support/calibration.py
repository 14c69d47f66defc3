"""A line of the calibration table, and the limits that its kind has."""

import html
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

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


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Do the intervals keep their promise?</title>
<style>:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 74rem; margin: 24px auto }}
.scroll {{ overflow-x: auto }} table {{ border-collapse: collapse; font-size: 14px }}
th, td {{ text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid #8886 }}
td.n {{ font-variant-numeric: tabular-nums }} .bad {{ font-weight: bold }}</style></head>
<body><main><h1>Do the intervals keep their promise?</h1>
<p><strong>{finding}</strong></p>
<p>Each line makes {n:,} data sets in which the truth is known, asks the method, and counts. An
interval for 95 times in 100 should hold the truth about that often (<em>coverage</em>); a test
should cry wolf no more often than it says (<em>false positives</em>). Measured must lie within the
band, which leaves room for the chance of so many data sets.</p>
<div class="scroll" tabindex="0" role="region" aria-label="The table"><table>
<caption>mctlib {version}, {day}</caption>
<thead><tr><th scope="col">What is promised</th><th scope="col">On which data</th>
<th scope="col">Measured</th><th scope="col">Band</th><th scope="col">Holds</th></tr></thead>
<tbody>{rows}</tbody></table></div></main></body></html>
"""
LINE = """<tr><th scope="row">{what}</th><td>{truth}</td><td class="n">{measured:.3f}</td>
<td class="n">{low:.3f} to {high:.3f}</td><td class="{mark}">{holds}</td></tr>"""


def page_of(rows: Sequence[Row], n: int) -> str:
    """The table as a page in plain words, whole in itself."""
    wrong = sum(not row.holds for row in rows)
    finding = f"All {len(rows)} promises hold."
    if wrong:
        finding = f"{wrong} of {len(rows)} promises do not hold; they stand first."
    lines = [
        LINE.format(
            what=html.escape(row.estimator),
            truth=html.escape(" ".join(filter(None, [row.truth, row.beside]))),
            measured=row.measured,
            low=row.low,
            high=row.high,
            mark="good" if row.holds else "bad",
            holds="yes" if row.holds else "no",
        )
        for row in sorted(rows, key=lambda row: row.holds)
    ]
    day = time.strftime("%Y-%m-%d", time.gmtime())
    told = {"finding": finding, "n": n, "version": version("mctlib"), "day": day}
    return PAGE.format(**told, rows="\n".join(lines))
