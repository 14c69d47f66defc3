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

import pandas as pd
from pydantic import TypeAdapter

from mctlib.contract import DAY, NAME, ParameterError, as_timestamp
from mctlib.eventlog.store_file import settle
from mctlib.runner import pages
from mctlib.runner.courses import courses, mark_restated, redefined
from mctlib.runner.record import RunRecord

RECORD = "run.json"
# what notebooks keep beside their pages: folder -> files
KEPT = {"tables": ("*.csv", "*.parquet"), "figures": ("*.svg",)}
# of headlines.parquet: one row a headline of a run
HEADLINES = ["pack", "dataset", "as_of", "report", "made_at"]
HEADLINES += ["name", "label", "value", "low", "high", "unit", "n", "verdict"]
# in a pack's folder, with the number of the process that made it
LEFTOVER = r"\.(\d{4}-\d\d-\d\d[\w+. -]*|latest|index)\.\d+(\.old)?\.tmp"
MARK = b"<title>All runs</title>"  # of our index, not somebody's own


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


def write_pages(record: RunRecord, folder: Path, home: Path | None = None) -> None:
    """Write run.json, one page a notebook and the index of the run.

    ``home`` holds the pack's runs before, whose numbers the pages compare with.
    """
    past = runs_of(home)[0] if home else []
    mark_restated(record, past)
    record.notes += redefined(record, past)
    pages.write_reports(record, folder, courses(record, past))
    (folder / RECORD).write_text(_facts(record), "utf-8")
    (folder / "index.html").write_text(pages.of_run(record, courses(record, past)), "utf-8")
    for path in [*folder.rglob("*"), folder]:
        settle(path)


def rewrite(record: RunRecord) -> None:
    """Put what happened after a run was published into its run.json."""
    place = Path(record.folder) / RECORD
    fresh = place.with_name(f".{RECORD}.{os.getpid()}.tmp")
    fresh.write_text(_facts(record), "utf-8")
    fresh.replace(place)


def _facts(record: RunRecord) -> str:
    return json.dumps(dataclasses.asdict(record), indent=1, default=str)


def publish(record: RunRecord, folder: Path, home: Path, keep: int | None) -> RunRecord:
    """Swap the finished folder in; then `latest`, what `keep` lets go, and the index of all runs.

    ``home`` is the pack's folder of outputs, ``keep`` how many good runs stay (None: all of them).
    Returns the record, which now knows its folder.
    """
    target = home / name_of(record)
    link = home / f".latest.{os.getpid()}.tmp"
    good = [run for run in (*runs_of(home)[0], record) if run.status == "good"]
    if good:  # made before anything is shown, while a full disk still stops all of it
        # the newest day, not the newest run: repeating an old week must not move the link back
        link.symlink_to(name_of(max(good, key=lambda run: as_timestamp(run.as_of))))
    _swap(folder, target, record)
    record.folder = str(target)
    try:
        if good:
            if os.path.lexists(home / "latest") and not (home / "latest").is_symlink():
                _set_aside(home / "latest", home / "latest", record)
            link.replace(home / "latest")
        _tidy(record, home, keep)
        _index_all(home, record)
    except OSError as error:  # the run is there; the next one does what is left
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        record.notes.append(f"The run is published, but latest and the index may be old: {what}.")
    return record


def _tidy(record: RunRecord, home: Path, keep: int | None) -> None:
    """Remove the failed run that a good one replaces, and what ``keep`` lets go."""
    if record.status == "good":
        _remove(home / f"{name_of(record)}.failed")
    runs = runs_of(home)[0]
    stay = [run for run in runs if run.status == "good"]
    if keep and len(stay) > keep:
        for run in runs[: runs.index(stay[-keep])]:
            _remove(Path(run.folder))


def _index_all(home: Path, record: RunRecord) -> None:
    """Write the index of all runs, and their headlines as one table, beside the pack's folder."""
    outputs = home.parent
    index = outputs / "index.html"
    if index.exists() and MARK not in index.read_bytes()[:4096]:
        _set_aside(index, index, record)
    runs: list[RunRecord] = []
    notes: list[str] = []
    for pack in sorted(outputs.iterdir()):
        found, said = runs_of(pack)
        runs += reversed(found)
        notes += said
    fresh = home / f".index.{os.getpid()}.tmp"
    fresh.write_text(pages.of_all(runs, notes, outputs), "utf-8")
    settle(fresh)
    fresh.replace(index)
    headlines = pd.DataFrame([row for run in runs for row in _headlines(run)], columns=HEADLINES)
    headlines.to_parquet(fresh, index=False)
    settle(fresh)
    fresh.replace(outputs / "headlines.parquet")


def _headlines(run: RunRecord) -> Iterator[dict[str, object]]:
    """Rows of headlines.parquet: every number that the pages of a good run tell first."""
    for report in run.notebooks if run.status == "good" else ():
        about = {"pack": run.pack, "dataset": run.dataset, "as_of": run.as_of}
        about |= {"report": report.name, "made_at": run.started_at}
        for headline in report.headlines:
            yield about | {name: getattr(headline, name) for name in HEADLINES[len(about) :]}


def name_of(record: RunRecord) -> str:
    """The name of a run's folder."""
    return record.as_of.replace(":", "") + ("" if record.status == "good" else ".failed")


def _set_aside(found: Path, place: Path, record: RunRecord) -> None:
    """Keep what stood in a run's place and is no run's, beside it; the record notes it."""
    kept = place
    while os.path.lexists(kept):
        kept = kept.with_name(f"{kept.name}.kept")
    found.rename(kept)
    record.notes.append(f"{place} was made by no run; it is kept as {kept.name}.")


def remove_leftovers(home: Path) -> None:
    """Remove what killed runs of a pack left; its lock is held."""
    for path in home.glob(".*.tmp"):
        if not re.fullmatch(LEFTOVER, path.name):
            continue
        record = None if path.is_symlink() else read_record(path, named=False)
        place = home / name_of(record) if record else path
        if record and ".old." in path.name and not place.exists():
            path.rename(place)  # killed between the two renames of a swap
        elif record:
            _retire(path, place)
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _swap(fresh: Path, target: Path, record: RunRecord) -> None:
    """Put `fresh` in the place of `target`; the old folder is removed if it is a run's.

    In one step where the system can exchange two names.
    """
    old = fresh.with_suffix(".old.tmp")
    if _exchange(fresh, target):
        fresh.rename(old)
    else:
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        fresh.rename(target)
    settle(target.parent)
    if old.is_dir() and not old.is_symlink() and read_record(old, named=False):
        _retire(old, target)
    elif os.path.lexists(old):
        _set_aside(old, target, record)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names, and say whether that could be done."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None or not other.exists():
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def runs_of(home: Path) -> tuple[list[RunRecord], list[str]]:
    """Every kept run of a pack, oldest day first, and a sentence for each folder that is skipped.

    Read from the run.json files that stand there, by whoever wrote them.
    """
    if home.is_symlink() or not home.is_dir():
        return [], []
    runs, notes = [], []
    for path in sorted(home.glob(f"[!.]*/{RECORD}")):
        if path.parent.is_symlink():
            continue
        if run := read_record(path.parent):
            runs.append(run)
        else:
            here = path.relative_to(home.parent)
            notes.append(f"{here} was skipped: it is damaged, or no run of this pack.")
    return sorted(runs, key=lambda run: as_timestamp(run.as_of)), notes


def read_record(folder: Path, *, named: bool = True) -> RunRecord | None:
    """The run in a folder of its pack, which must have its name unless not ``named``; or None."""
    try:
        content = (folder / RECORD).read_bytes()
        run: RunRecord = TypeAdapter(RunRecord).validate_json(content, strict=True)
    except (OSError, ValueError):
        return None
    plain = DAY.fullmatch(run.as_of) and all(re.fullmatch(NAME, r.name) for r in run.notebooks)
    if not plain or run.pack != folder.parent.name or (named and folder.name != name_of(run)):
        return None
    run.folder = str(folder)
    return run


def _retire(old: Path, place: Path) -> None:
    """Remove a run that another has replaced; what somebody laid beside its files moves along."""
    _remove(old)
    for path in sorted(old.rglob("*")):
        if path.is_file() or path.is_symlink():
            kept = place / path.relative_to(old)
            kept.parent.mkdir(parents=True, exist_ok=True)
            while os.path.lexists(kept):
                kept = kept.with_name(f"{kept.name}.kept")
            path.rename(kept)
    shutil.rmtree(old, ignore_errors=True)


def _remove(folder: Path) -> None:
    """Remove a run: the files that it made, and its folders where nothing else lies in them."""
    run = read_record(folder, named=False)
    if folder.is_symlink() or not run:
        return
    made = [folder / name for name in ("index.html", "log.txt", RECORD)]
    for report in run.notebooks:
        made += [folder / f"{report.name}.html", folder / f"{report.name}.ipynb"]
        for kind, ends in KEPT.items():
            made += [path for end in ends for path in (folder / kind / report.name).glob(end)]
    for path in made:
        path.unlink(missing_ok=True)
    inner = [folder / name / report.name for name in KEPT for report in run.notebooks]
    for each in (*inner, *(folder / name for name in KEPT), folder):
        with contextlib.suppress(OSError):  # somebody put a file of their own beside ours
            each.rmdir()
