"""A pack of notebooks, run: checked, executed in parallel, published when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from mctlib.contract import ParameterError, as_timestamp
from mctlib.eventlog.event_log import EventLog
from mctlib.runner import execute, publish
from mctlib.runner.pack import Pack, check_pack, newer, scorecard_of
from mctlib.runner.record import Report, RunRecord
from mctlib.sources.project import project_root, shown
from mctlib.sources.snapshot import HANDED, handing

__all__ = ["RunRecord", "run_pack"]

ROOM = 100_000_000  # bytes that a run needs to begin
VERSIONS = (
    "mctlib",
    "duckdb",
    "lifelines",
    "numpy",
    "pandas",
    "papermill",
    "scipy",
    "seaborn",
    "statsmodels",
)


def run_pack(
    path: str | Path,
    *,
    outputs: str | Path = "outputs",
    jobs: int | None = None,
    as_of: str | None = None,
) -> RunRecord:
    """Check a pack, execute its notebooks, publish, and return the record of the run.

    Writes outputs/<pack>/<as_of>/ with index.html, one .html and .ipynb a report,
    tables/<report>/*.csv, run.json and log.txt. A good run replaces the one of the same day in one
    step and `latest` follows the newest day; a failed one goes to <as_of>.failed and touches
    neither. A notebook is good when every cell completed and it handed out a finding.

    Parameters
    ----------
    path : str or Path
        The pack's file.
    outputs : str or Path
        Where the reports go.
    jobs : int, optional
        Notebooks at the same time; one a core where None.
    as_of : str, optional
        A day in place of the pack's own.

    Returns
    -------
    RunRecord
        What stands in run.json.

    Raises
    ------
    ParameterError, DataError
        Before any kernel, when something cannot work.
    """
    path, started = Path(path), time.time()
    home = Path(outputs).resolve() / path.stem
    _need_room(home)
    pack, data, reports = check_pack(path, as_of)
    if as_of and newer(pack, data):
        _drop_later_notes(reports, pack.as_of)
    home.mkdir(parents=True, exist_ok=True)
    with publish.locked(home):
        publish.remove_leftovers(home)
        # no other run, not even a worker of a killed one, writes here
        folder = home / f".{pack.as_of.replace(':', '')}.{os.getpid()}.tmp"
        try:
            with _full_disk_said(home):
                folder.mkdir()
                notes = [data.note] if data.note else []
                for other in sorted(home.parent.iterdir()):
                    notes += publish.runs_of(other)[1]
                store = {HANDED: handing(pack.dataset, data)}
                place = execute.Place(folder, project_root(), pack.timeout, store)
                _execute(path, pack, reports, place, jobs or os.cpu_count() or 1, notes)
                record = _record(path, pack, reports, started, data.load["fingerprint"])
                record.notes, record.definitions = notes, _definitions(data)
                with (folder / "log.txt").open("a", encoding="utf-8") as lines:
                    print(f"{_now()} run {record.status}, {record.seconds} s", file=lines)
                publish.write_pages(record, folder, home)
                record = publish.publish(record, folder, home, pack.keep)
        finally:
            execute.end_kernels(folder)
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                publish.remove_leftovers(home)
    _tell(record, pack, data)
    return record


def _tell(record: RunRecord, pack: Pack, log: EventLog) -> None:
    """Send what a run found to those whom its pack names; only of the newest day of the data."""
    from mctlib.alerts import acts

    name, folder = scorecard_of(pack), Path(record.folder)
    found = next((r for r in record.notebooks if r.name == name and r.status == "good"), None)
    if not (found or pack.deliver or acts.held().is_dir()):
        return
    if newest := newer(pack, log):
        if pack.alerts or pack.deliver:
            record.notes.append(f"Nothing is sent of {record.as_of}: the data go on to {newest}.")
        return
    from mctlib.alerts import sending  # with what draws a picture for a mail

    about = {"dataset": pack.dataset, "pack": record.pack, "as_of": record.as_of}
    done = []
    if found:
        base = os.environ.get(pack.base_url, "") if pack.base_url else ""
        roles = sending.roles_of(log)
        tables = folder / "tables" / name
        told = sending.send_alerts(tables, targets=pack.alerts, roles=roles, base=base, **about)
        done.append(told)
    for mailing in pack.deliver if record.status == "good" else ():
        to, kind = mailing.to, mailing.kind
        done.append(sending.send_pages(folder, to=to, pages=mailing.pages, kind=kind, **about))
    asked = [(pack.dataset, each.to, each.pages, each.kind) for each in pack.deliver]
    done.append(sending.unasked_pages(record.pack, asked))
    for each in done:
        record.notes += each.notes
        record.n_alerts += each.n_new
        record.n_undelivered += each.n_undelivered
    publish.rewrite(record)


def _drop_later_notes(reports: list[Report], as_of: str) -> None:
    """Of a past day leave what was said of it: a note is written in the week after its run's day.

    A pack's own day keeps all of them, the last ones being its own.
    """
    until = as_timestamp(as_of) + pd.Timedelta(weeks=1)
    for report in reports:
        report.note = {day: t for day, t in report.note.items() if as_timestamp(day) <= until}


def past_days(path: str | Path, back: str, as_of: str | None = None) -> list[str]:
    """The same day of each of the weeks before (``back``, such as 12w), the earliest first.

    Raises ParameterError: ``back`` is no number of weeks, the pack cannot be run.
    """
    if not (told := re.fullmatch(r"([1-9]\d*)w", back)):
        raise ParameterError(f'back: "{back}" must be a number of weeks, such as 12w.')
    last = as_timestamp(check_pack(path, as_of)[0].as_of)
    weeks = [pd.Timedelta(weeks=ago) for ago in range(int(told[1]), 0, -1)]
    return [f"{last - ago:%Y-%m-%d}" for ago in weeks]


def _execute(
    path: Path, pack: Pack, reports: list[Report], place: execute.Place, jobs: int, notes: list[str]
) -> None:
    """Execute the reports into a folder, with a log."""
    about = f"dataset {pack.dataset}, as of {pack.as_of}, {len(reports)} notebooks"
    with (place.folder / "log.txt").open("w", encoding="utf-8", buffering=1) as lines:

        def log(line: str) -> None:
            print(f"{_now()} {line}", file=lines)

        log(f"{shown(path)}: {about}")
        for note in notes:
            log(note)
        execute.execute_all(reports, place, jobs, log)


def _record(
    path: Path, pack: Pack, reports: list[Report], started: float, fingerprint: str | None
) -> RunRecord:
    """Describe the run, which is as good as its reports."""
    python = ".".join(map(str, sys.version_info[:3]))
    good = all(report.status == "good" for report in reports)
    return RunRecord(
        pack=path.stem,
        dataset=pack.dataset,
        as_of=pack.as_of,
        status="good" if good else "failed",
        started_at=f"{pd.Timestamp(started, unit='s', tz='UTC'):%Y-%m-%dT%H:%M:%SZ}",
        seconds=round(time.time() - started, 1),
        command=f"python -m mctlib run {shown(path)}",
        fingerprint=fingerprint,
        versions={"python": python} | {name: version(name) for name in VERSIONS},
        notebooks=reports,
    )


def _definitions(log: EventLog) -> dict[str, str]:
    """What the words of the log's plan mean, by their labels."""
    steps = [*log.meanings.values(), *log.planned_segments.values()]
    said = {s.label: s.said({}) + (f" within {s.within}" if s.within else "") for s in steps}
    return said | {metric.label: repr(metric) for metric in log.planned_metrics.values()}


def _need_room(home: Path) -> None:
    """A run that begins on a full disk would only end later. Raises OSError."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    if shutil.disk_usage(there).free < ROOM:
        rule = f"less than {ROOM // 1_000_000} MB are free; nothing was run"
        raise OSError(errno.ENOSPC, rule, str(home))


@contextlib.contextmanager
def _full_disk_said(home: Path) -> Iterator[None]:
    """A disk without room, said with the folder that needed it."""
    try:
        yield
    except OSError as error:
        if error.errno not in execute.FULL:
            raise
        raise OSError(error.errno, "the disk is full; nothing was published", str(home)) from None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
