"""Notebooks executed in parallel processes, and judged.

A working directory and an environment belong to a process, so each notebook has one of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import psutil
from pydantic import TypeAdapter

from mctlib.headlines import Action, Headline
from mctlib.runner.record import Report

# what a finding hands out beside its words
HANDED_OUT: tuple[TypeAdapter[Any], ...] = (TypeAdapter(list[Headline]), TypeAdapter(list[Action]))
FULL = (errno.ENOSPC, errno.EDQUOT)
read_notebook: Any = nbformat.read  # which has no types


@dataclass(frozen=True)
class Place:
    """Where notebooks run: the folder for what they make, the project, the longest time for one.

    store: what tells them of the data, see `snapshot.handing`, for their environment.
    """

    folder: Path
    root: Path
    timeout: str
    store: dict[str, str]


def execute_all(reports: list[Report], place: Place, jobs: int, log: Callable[[str], None]) -> None:
    """Run the notebooks at a place, ``jobs`` at a time, and fill in the reports.

    Raises OSError where the disk is full; whatever else happens to a notebook stands in its report.
    """
    spawn = multiprocessing.get_context("spawn")
    terminal = sys.stderr.isatty()
    own = (os.getpid(), spawn.RLock())
    with ProcessPoolExecutor(min(jobs, len(reports)), spawn, _begin_worker, own) as pool:
        pending = {
            pool.submit(_execute, report, place, bar if terminal else None): report
            for bar, report in enumerate(reports)
        }
        try:
            for n_done, future in enumerate(as_completed(pending), 1):
                report = pending[future]
                report.seconds, report.error = _outcome(future)
                judge(report, place.folder)
                line = f"{report.name}: {report.status}, {report.seconds:.1f} s"
                line += f" - {report.error}" if report.error else ""
                log(line)
                if not terminal:
                    print(f"[{n_done}/{len(reports)}] {line}", file=sys.stderr, flush=True)
        except BaseException:
            # stopped from outside: workers must not outlive the run; kernels end with their worker
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _outcome(future: Future[tuple[float, str | None]]) -> tuple[float, str | None]:
    """Seconds and error of a notebook, also where its process ended before it could tell."""
    crash = future.exception()
    if crash is None:
        return future.result()
    if isinstance(crash, OSError) and crash.errno in FULL:
        raise crash
    return 0.0, f"the process of the notebook ended: {crash}"


def _begin_worker(parent: int, lock: Any) -> None:
    """A worker ends with the run, even one that is killed, and its kernel with the worker.

    Ctrl-C is for the run to hear, which then stops its workers.
    """
    from tqdm import tqdm

    tqdm.set_lock(lock)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)


def _execute(report: Report, place: Place, bar: int | None) -> tuple[float, str | None]:
    """In a worker: one notebook through papermill; its seconds, and its error in one line."""
    import papermill
    from traitlets.config import Config

    from mctlib.runner import kernel

    started = time.perf_counter()
    folder = place.folder
    os.environ["MCT_TABLES"] = str(folder / "tables" / report.name)
    os.environ["MCT_FIGURES"] = str(folder / "figures" / report.name)
    os.environ.update(place.store)
    kernel_of = {
        "transport_encryption": "auto",  # else ipykernel warns in every run
        # else it stands in /tmp, where that of a killed run would stay
        "connection_file": str(folder / f".{report.name}.json"),
    }
    error, full = None, False
    try:
        papermill.execute_notebook(
            place.root / report.notebook,
            folder / f"{report.name}.ipynb",
            report.parameters,
            engine_name=kernel.ENGINE,
            timeout=place.timeout,
            cwd=place.root,
            progress_bar={"desc": report.name, "position": bar} if bar is not None else False,
            config=Config({"KernelManager": kernel_of}),
            # what a cell raises is in the notebook; that the kernel was asked to stop is no news
            extra_arguments=["--log-level=50"],
        )
    except kernel.Ended as ended:
        error = str(ended)
    except papermill.PapermillExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}"
        full = error.startswith(f"OSError: [Errno {errno.ENOSPC}]")  # in a cell that wrote a table
    except Exception as failed:
        # the kernel died, or never started: whatever it was, it belongs into the record
        died = type(failed).__name__ == "DeadKernelError"
        error = "the kernel died (out of memory?)" if died else f"{type(failed).__name__}: {failed}"
        full = isinstance(failed, OSError) and failed.errno in FULL
        full = full or shutil.disk_usage(folder).free == 0
    if error and full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return time.perf_counter() - started, error and _one_line(error)


def end_kernels(folder: Path) -> None:
    """End those that a stopped run leaves: one that just starts would write into its folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(part.startswith(f"{folder}{os.sep}") for part in process.cmdline()):
                process.kill()
                process.wait(5)


def _one_line(text: str) -> str:
    """A text without control characters, safe in a terminal and a log."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:500]


def judge(report: Report, folder: Path) -> None:
    """Read what a notebook left in the folder, and fill in its finding, tables and status.

    Good only when nothing was raised, every code cell completed and a finding was handed out.
    Papermill alone would pass a notebook that called sys.exit(0), whose later cells never ran, and
    one whose kernel died.
    """
    tables = (folder / "tables" / report.name).glob("*.csv")
    report.tables = sorted(str(path.relative_to(folder)) for path in tables)
    written = folder / f"{report.name}.ipynb"
    if not written.is_file():
        return
    try:
        notebook = read_notebook(written, as_version=4)
    except ValueError:  # half a notebook, as its worker left it
        written.unlink()
        report.error = report.error or "the notebook was not written to its end"
        return
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    ended = all(cell.metadata.papermill.status == "completed" for cell in cells)
    if notebook.metadata.papermill.exception or not ended:
        report.error = report.error or "the notebook ended before its last cell (sys.exit?)"
    outputs = [output.get("metadata", {}) for cell in cells for output in cell.outputs]
    found = [metadata["mctlib"] for metadata in outputs if "mctlib" in metadata]
    if found:
        report.finding = dict(found[-1])
        handed = (report.finding.pop(name, []) for name in ("headlines", "actions"))
        report.headlines, report.actions = (
            kind.validate_python(each) for kind, each in zip(HANDED_OUT, handed)
        )
    elif not report.error:
        report.error = "the notebook hands out no finding (mctlib.report.finding)"
    report.status = "failed" if report.error else "good"
