"""From a finished run to what people read: pages, the swap, `latest`, the index of all runs.

A run is written into a hidden folder and swapped in when complete, so that a reader of
outputs/<pack>/latest never sees half a report or a failed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from mctlib.contract import ParameterError, as_timestamp
from mctlib.runner.execute import read_notebook
from mctlib.runner.record import Report, RunRecord

TEMPLATES = Path(__file__).parent / "templates"
HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"')


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """One run of a pack at a time.

    The system drops the lock when its process ends, however it ends, so none is ever stale.
    """
    with (home / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = f"by process {file.read().strip()}; this run did not start"
            raise ParameterError(f'The pack "{home.name}" is being run already, {who}.') from None
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its number
            os.write(file.fileno(), b"%d\n" % os.getpid())
        yield


def write_pages(record: RunRecord, folder: Path) -> None:
    """Write run.json, one page a notebook and the index of the run.

    The pages are files whole in themselves, without code, that request nothing.
    """
    import nbconvert

    exporter: Any = nbconvert.HTMLExporter
    exporter = exporter(
        template_name="classic",
        template_file=str(TEMPLATES / "report.html.j2"),
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_filter("headings", HEADING.findall)
    exporter.register_filter("day", _day)
    for report in record.notebooks:
        report.title = report.name.replace("-", " ").replace("_", " ").capitalize()
        written = folder / f"{report.name}.ipynb"
        if written.is_file():
            notebook = _for_readers(read_notebook(written, as_version=4), report)
            page, _ = exporter.from_notebook_node(notebook, {"run": record, "report": report})
            (folder / f"{report.name}.html").write_text(page, "utf-8")
    facts = json.dumps(dataclasses.asdict(record), indent=1, default=str)
    (folder / "run.json").write_text(facts, "utf-8")
    _write_index(folder / "index.html", run=record)


def _for_readers(notebook: Any, report: Report) -> Any:
    """The notebook without what the page says above it: its title, and that it failed."""
    notebook.cells = [
        cell
        for cell in notebook.cells
        if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (title := re.match(r"\s*# (.+)\n?", cell.source)):
            report.title, cell.source = title[1].strip(), cell.source[title.end() :]
            break
    return notebook


def publish(record: RunRecord, folder: Path, home: Path, keep: int | None) -> RunRecord:
    """Swap the finished folder in; then `latest`, what `keep` lets go, and the index of all runs.

    ``home`` is the pack's folder of outputs, ``keep`` how many good runs stay (None: all of them).
    Returns the record, which now knows its folder.
    """
    good = record.status == "good"
    target = home / (record.as_of.replace(":", "") + ("" if good else ".failed"))
    _swap(folder, target)
    record.folder = str(target)
    if good:
        shutil.rmtree(f"{target}.failed", ignore_errors=True)
    runs = sorted(_runs(home), key=lambda run: as_timestamp(run["as_of"]))
    stay = [run for run in runs if run["status"] == "good"]
    if stay:
        # the newest day, not the newest run: repeating an old week must not move the link back
        link = home / ".latest"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(stay[-1]["folder"]).name)
        link.replace(home / "latest")
    if keep and len(stay) > keep:
        for run in runs[: runs.index(stay[-keep])]:
            shutil.rmtree(run["folder"])
    every = [run for pack in sorted(home.parent.iterdir()) for run in reversed(_runs(pack))]
    _write_index(home.parent / "index.html", runs=every)
    return record


def _swap(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`; the old folder is removed.

    In one step where the system can exchange two names.
    """
    old = fresh.with_suffix(".old.tmp")
    if _exchange(fresh, target):
        fresh.rename(old)
    else:
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names, and say whether that could be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None or not other.exists():
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def _runs(home: Path) -> list[dict[str, Any]]:
    """Every kept run of a pack, oldest day first, read from the run.json files that stand there."""
    if home.is_symlink() or not home.is_dir():
        return []
    files = [path for path in home.glob("[!.]*/run.json") if not path.parent.is_symlink()]
    runs = [json.loads(path.read_text("utf-8")) | {"folder": str(path.parent)} for path in files]
    return sorted(runs, key=lambda run: run["as_of"])


def _write_index(path: Path, **content: Any) -> None:
    """An index page: of one run (`run`), or of all (`runs`). Replaced in one step."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(TEMPLATES)
    jinja = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    jinja.filters["day"] = _day
    jinja.filters["relative"] = lambda folder: os.path.relpath(folder, path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(jinja.get_template("index.html.j2").render(**content), "utf-8")
    fresh.replace(path)


def _day(as_of: str) -> str:
    at = pd.Timestamp(as_of)
    return f"{at.day} {at:%B %Y}" + ("" if len(as_of) <= 10 else f", {at:%H:%M}")
