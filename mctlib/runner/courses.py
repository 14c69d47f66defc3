"""Each headline over the runs of a pack: its course, and what is new since the run before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mctlib.contract import as_timestamp
from mctlib.headlines import TIGHT, Against, Headline, named
from mctlib.phrases import listed
from mctlib.runner.record import Report, RunRecord

RUNS = 6  # so many are drawn
OF_THE_RUN = ("as_of", "dataset")  # parameters that a run sets, whoever asks


class Point(NamedTuple):
    """A headline in one run."""

    as_of: str
    report: Report
    headline: Headline


@dataclass(frozen=True)
class Course:
    """A headline of this run and of those before it, oldest first; the last one is this run's."""

    points: Sequence[Point]

    @property
    def now(self) -> Headline:
        """The headline of this run; a level is compared with the run before."""
        now, before = self.points[-1].headline, self.before
        if now.verdict or before is None or now.value is None or before.value is None:
            return now
        if now.low is None:  # a count, of which no range says whether it moved
            return now
        apart = not now.low <= before.value <= (now.high or now.low)
        return replace(
            now,
            against=now.against or Against("run", before.value, "last run"),
            verdict="sure" if apart else "no clear change",
            note=now.note or f"last run {before.whole}",
        )

    @property
    def before(self) -> Headline | None:
        """The headline of the run before."""
        return self.points[-2].headline if len(self.points) > 1 else None

    @property
    def since(self) -> str:
        """What is new since the run before."""
        now, before = self.points[-1], self.before
        if before is None:
            return ""
        changed = sorted(_changed(self.points[-2].report, now.report))
        if changed:
            words = listed((name.replace("_", " ") for name in changed), most=3)
            return f"{before.whole} last run, asked otherwise: {words}"
        said = "as last run" if before.whole == now.headline.whole else f"{before.whole} last run"
        if now.headline.restated:
            said += "; old data told anew"
        elif now.headline.cumulative and said != "as last run":
            said += ": counts more days"
        return said


def _changed(before: Report, now: Report) -> set[str]:
    """Parameters that differ between two runs of a report."""
    old, new = (report.parameters | report.asked for report in (before, now))
    return {n for n in old | new if n not in OF_THE_RUN and old.get(n) != new.get(n)}


def _earlier(record: RunRecord, past: Sequence[RunRecord]) -> list[RunRecord]:
    """The good runs of earlier days."""
    at = as_timestamp(record.as_of)
    return [run for run in past if run.status == "good" and as_timestamp(run.as_of) < at]


def redefined(record: RunRecord, past: Sequence[RunRecord]) -> list[str]:
    """What to say where the plan means something else than in the run before."""
    before = [run.definitions for run in _earlier(record, past)[-1:] if run.definitions]
    now = record.definitions
    names = [name for old in before for name in now | old if old.get(name) != now.get(name)]
    told = listed(map(named, sorted(names)), most=3)
    return [f"Since the last run the plan defines anew: {told}."] if names else []


def courses(record: RunRecord, past: Sequence[RunRecord]) -> dict[str, list[Course]]:
    """Report -> the courses of its headlines, from the good runs of earlier days."""
    earlier = _earlier(record, past)
    found: dict[str, list[Course]] = {}
    for report in record.notebooks:
        found[report.name] = []
        for headline in report.headlines:
            points = [_point(run, report.name, headline.name) for run in earlier]
            known = [point for point in points if point][1 - RUNS :]
            now = Point(record.as_of, report, headline)
            found[report.name].append(Course([*known, now]))
    return found


def _point(run: RunRecord, report: str, name: str) -> Point | None:
    for each in run.notebooks:
        for headline in each.headlines:
            if (each.name, headline.name) == (report, name) and headline.value is not None:
                return Point(run.as_of, each, headline)
    return None


def mark_restated(record: RunRecord, past: Sequence[RunRecord]) -> None:
    """Mark headlines of which an earlier run of the same day, asked alike, told another number."""
    for run in past:
        if run.as_of != record.as_of or run.status != "good":
            continue
        for report in record.notebooks:
            points = [_point(run, report.name, h.name) for h in report.headlines]
            report.headlines = [
                replace(h, restated=_differs(point, h, report))
                for h, point in zip(report.headlines, points)
            ]


def _differs(point: Point | None, now: Headline, report: Report) -> bool:
    if point is None or _changed(point.report, report):
        return False
    return point.headline.whole.replace(TIGHT, " ") != now.whole.replace(TIGHT, " ")


def line(course: Course, width: float, height: float) -> dict[str, object]:
    """The course as points of a picture: its line, band, zero and last point."""
    told = [p.headline for p in course.points if p.headline.value is not None]
    values = [float(h.value) for h in told if h.value is not None]
    low = [v if h.low is None else h.low for h, v in zip(told, values)]
    high = [v if h.high is None else h.high for h, v in zip(told, values)]
    least, most = min(low, default=0.0), max(high, default=0.0)
    room = (most - least) or 1.0

    def y(value: float) -> float:
        return round(height - 4 - (value - least) / room * (height - 8), 1)

    step = (width - 10) / max(len(values) - 1, 1)
    x = [round(5 + step * k, 1) for k in range(len(values))]
    days = [p.as_of for p in course.points if p.headline.value is not None]
    return {
        "line": " ".join(f"{a},{y(v)}" for a, v in zip(x, values)),
        "band": " ".join(
            [f"{a},{y(v)}" for a, v in zip(x, high)]
            + [f"{a},{y(v)}" for a, v in zip(reversed(x), reversed(low))]
        ),
        "points": [(a, y(v), day, h) for a, v, day, h in zip(x, values, days, told)],
        "zero": y(0.0) if least < 0 < most else None,
    }
