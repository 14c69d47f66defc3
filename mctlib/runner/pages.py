"""What people open: a page for each report, the index of a run, the index of all runs.

The pages are files whole in themselves, without code, that request nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mctlib.headlines import Action, Headline, brief
from mctlib.phrases import PLATFORMS
from mctlib.runner.courses import Course, courses, line
from mctlib.runner.execute import read_notebook
from mctlib.runner.record import Report, RunRecord

TEMPLATES = Path(__file__).parent / "templates"
MONTHS = "|".join(f"{pd.Timestamp(2000, month, 1):%B}" for month in range(1, 13))
# "20 %", "6 April"; "day 11", "week 4", "version 4.2.0"
TIGHT = re.compile(rf"(?<=\d) (?=%|\u00d7|points|days|users|{MONTHS})|(?<=day|eek|ion) (?=\d)")
ANALYST = re.compile(r"\s*# For the analyst\b")
TITLE, HEADING = re.compile(r"\s*# (.+)\n?"), re.compile(r"\s*## (.+)\n?")
HEADER = "mct-header"  # class of what `report.header` shows
# a drawing's own, which a page does without
COLOUR = re.compile(r"var\(--([a-z-]+),#[0-9a-f]{6}\)")
NAMESPACES = ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SHOWN = "mctlib_shown"  # what `report` says of a drawing or a table
QUOTED = re.compile("\u201c(.+?)\u201d")
PLATFORM = re.compile(rf"(?<!\w)(?:{'|'.join(PLATFORMS.values())})(?!\w)")
REASON = re.compile(": (?![^\u201c]*\u201d)")  # not inside a name
FRESH = 2  # days that data may be old and still be called fresh
WORDS = {  # of the analyst's part, each explained once where it occurs
    "interval": "holds the true number 95 times in 100; above it is called the range",
    "pending": "still inside the window: not there yet, and not failed",
    "design effect": "how many users of one account tell as much as one user on their own",
    "naive": "a plain count: any attempt, open windows counted as failures",
    "q-value": "the share of false alarms among all that are at least as sure",
    "p-value": "how often chance alone looks as striking",
    "placebo": "the same comparison at a date or in a group where nothing changed",
    "hazard ratio": "how many times as often it happens at any moment",
}

Courses = Mapping[str, Sequence[Course]]


class Thing(NamedTuple):
    """What needs somebody: a number, what to do about it, and their report."""

    report: Report
    headline: Headline
    action: Action | None


class Kept(NamedTuple):
    """A run that is kept, where it lies, and how much needed somebody."""

    run: RunRecord
    path: str
    n_things: int


@dataclass
class Section:
    """A part of a notebook, from its heading to the next: what it tells, and the page of it."""

    title: str = ""
    cells: list[Any] = field(default_factory=list)
    analyst: bool = False
    unfolded: bool = False
    tells: str = ""
    html: str = ""

    @property
    def outputs(self) -> list[Any]:
        """What its cells show, but for warnings."""
        shown = [o for cell in self.cells for o in cell.get("outputs", [])]
        return [o for o in shown if o.get("name") != "stderr"]

    @property
    def tells_something(self) -> bool:
        """Whether it shows more than the names of tables without rows."""
        told = [o.get("metadata", {}).get(SHOWN, {}) for o in self.outputs]
        return any(not each.get("nothing") for each in told)


def write_reports(record: RunRecord, folder: Path, past: Courses) -> None:
    """Write one page a notebook that was executed into the folder, and fill in the titles."""
    read = {}
    for report in record.notebooks:
        report.title = report.name.replace("-", " ").replace("_", " ").capitalize()
        written = folder / f"{report.name}.ipynb"
        if written.is_file():
            read[report.name] = _sections(read_notebook(written, as_version=4), report)
    for report in record.notebooks:
        if report.name in read:
            page = _report(record, report, read[report.name], past.get(report.name, ()))
            page = COLOUR.sub(r"var(--\1)", page.replace(NAMESPACES, ""))
            (folder / f"{report.name}.html").write_text(page, "utf-8")


def _sections(notebook: Any, report: Report) -> list[Section]:
    """A notebook in sections, without its title and without what the page says above them."""
    found = [Section()]
    analyst = False
    for cell in notebook.cells:
        if "papermill-error-cell-tag" in cell.metadata.get("tags", []):
            continue
        text = cell.source if cell.cell_type == "markdown" else ""
        if ANALYST.match(text):
            analyst = True
            continue
        if (title := TITLE.match(text)) and len(found) == 1 and not found[0].title:
            report.title, cell.source = title[1].strip(), text[title.end() :]
        elif heading := HEADING.match(text):
            found.append(Section(heading[1].strip(), analyst=analyst))
            cell.source = text[heading.end() :]
        if cell.cell_type == "code":  # the finding stands above
            cell.outputs = [o for o in cell.outputs if "mctlib" not in o.get("metadata", {})]
        found[-1].cells.append(cell)
    return found


def _report(
    record: RunRecord, report: Report, sections: list[Section], past: Sequence[Course]
) -> str:
    hero = None
    for section in sections:
        for output in section.outputs:
            told = output.get("metadata", {}).get(SHOWN, {})
            if told.get("hero") and not report.error:
                hero = output
            section.tells = section.tells or told.get("tells", "").removesuffix(".")
            section.unfolded |= told.get("unfolded", False) or bool(report.error)
        section.analyst |= HEADER in str(section.outputs)
        for cell in section.cells:
            if cell.cell_type == "code":
                cell.outputs = [o for o in cell.outputs if o is not hero]
    shown = [s for s in sections if s.tells_something or (s.analyst and s.title)]
    for section in shown:
        section.html = _html(section.cells)
    analyst = [s for s in shown if s.analyst]
    text = " ".join([*(s.html for s in analyst), str(report.finding)]).lower()
    return _render(
        "report.html.j2",
        run=record,
        report=report,
        courses=past,
        act=any(course.now.kind == "bad" for course in past),
        hero=hero,
        parts=[s for s in shown if not s.analyst],
        analyst=analyst,
        words={word: said for word, said in WORDS.items() if word in text},
    )


def _html(cells: list[Any]) -> str:
    """Cells of a notebook as a piece of a page."""
    import nbformat.v4

    new: Any = nbformat.v4.new_notebook  # which has no types
    page, _ = _exporter().from_notebook_node(new(cells=cells))
    return str(page)


@cache
def _exporter() -> Any:
    import nbconvert

    exporter: Any = nbconvert.HTMLExporter
    return exporter(
        template_name="classic",
        template_file=str(TEMPLATES / "section.html.j2"),
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        exclude_anchor_links=True,
    )


def things(record: RunRecord, past: Courses) -> list[Thing]:
    """What needs somebody: of each report the first thing to do about a number that asks for it.

    What several reports ask of one role about one event on one platform is told once, and what may
    be chance comes last.
    """
    found: list[Thing] = []
    for report in record.notebooks:
        bad = {c.now.name: c.now for c in past.get(report.name, ()) if c.now.act}
        mine = [Thing(report, bad[a.about], a) for a in report.actions if a.about in bad]
        first = [*mine, *(Thing(report, headline, None) for headline in bad.values())][:1]
        found += [thing for thing in first if not any(_same(thing, other) for other in found)]
    return sorted(found, key=lambda thing: not _urgent(thing))


def _urgent(thing: Thing) -> bool:
    """Whether it surely needs somebody."""
    return thing.headline.kind == "bad"


def _same(thing: Thing, other: Thing) -> bool:
    """Whether both ask one role about one event on one platform."""
    one, two = thing.action, other.action
    if one is None or two is None or one.role != two.role:
        return False
    patterns = (QUOTED, PLATFORM)
    return all(set(each.findall(one.text)) & set(each.findall(two.text)) for each in patterns)


def _summary(found: Sequence[Thing], record: RunRecord) -> str:
    failed = [report.title for report in record.notebooks if report.status != "good"]
    if failed:
        return brief(f"{len(failed)} of {len(record.notebooks)} pages failed", f": {failed[0]}")
    urgent = [thing for thing in found if _urgent(thing)]
    if not urgent:
        why = "what asks for somebody may be chance" if found else "no number asks for somebody"
        return brief("Nothing surely needs you" if found else "Nothing needs you", f": {why}")
    first, *more = [_to_do(thing) for thing in urgent[:2]]
    n = "1 thing needs you: " if not more else f"{len(urgent)} things need you, first: "
    return brief(f"{n}{first}", *(f"; {text}" for text in more))


def _to_do(thing: Thing) -> str:
    """What to do as a clause, without its reason; where nothing is known to do, the number."""
    if thing.action is None:
        return f"{thing.headline.label} ({thing.headline.whole})"
    text = REASON.split(thing.action.text)[0].removesuffix(".")
    return f"{text[:1].lower()}{text[1:]}"


def of_run(record: RunRecord, past: Courses) -> str:
    """The index of a run."""
    needed = things(record, past)
    summary = _summary(needed, record)
    return _render("index.html.j2", run=record, courses=past, things=needed, summary=summary)


def of_all(runs: Sequence[RunRecord], notes: Sequence[str], folder: Path) -> str:
    """The index of all runs, newest first, in a folder."""
    packs: dict[str, list[Kept]] = {}
    for run in runs:
        n_things = sum(map(_urgent, things(run, courses(run, []))))
        kept = Kept(run, os.path.relpath(run.folder, folder), n_things)
        packs.setdefault(run.pack, []).append(kept)
    latest: dict[str, list[tuple[Report, Course]]] = {}
    for pack, rows in packs.items():
        good = [row.run for row in rows if row.run.status == "good"]
        found = courses(good[0], good[::-1]) if good else {}
        reports = {report.name: report for report in (good[0].notebooks if good else [])}
        latest[pack] = [(reports[name], course) for name in found for course in found[name][:1]]
    return _render("runs.html.j2", packs=packs, latest=latest, notes=notes)


def _render(template: str, **content: Any) -> str:
    from jinja2 import Environment, FileSystemLoader

    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters |= {"day": _day, "tight": _tight, "line": line, "age": _age}
    return jinja.get_template(template).render(**content)


def _day(as_of: str) -> str:
    at = pd.Timestamp(as_of)
    return f"{at.day} {at:%B %Y}" + ("" if len(as_of) <= 10 else f", {at:%H:%M}")


def _age(run: RunRecord) -> str:
    """How old the data were when the run was made."""
    made = pd.Timestamp(run.started_at).tz_localize(None)
    days = (made - pd.Timestamp(run.as_of).tz_localize(None)).days
    return "fresh" if days <= FRESH else f"{days} days old"


def _tight(text: str) -> str:
    """Numbers stay with their units."""
    return TIGHT.sub("\u00a0", str(text))
