"""A pack of notebooks, run: execute in parallel, publish only what is good.

A run is written into a hidden folder and swapped in when complete, so that a reader of outputs/<pack>/latest never sees half a report or a failed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mctlib.contract import ParameterError, as_timestamp
from mctlib.runner.pack import Pack, Report, check_pack, shown
from mctlib.sources import dataset as sources

if TYPE_CHECKING:
    from nbformat import NotebookNode

# jsonschema imports this grammar (2.4 s, at every papermill start) only to check a string format that notebooks do not use; None makes it do without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

TEMPLATES = Path(__file__).parent / "templates"
FULL = (errno.ENOSPC, errno.EDQUOT)
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


@dataclasses.dataclass
class RunRecord:
    """A run, as it stands in run.json; `folder` holds its index.html. `fingerprint` identifies the loaded data."""

    pack: str
    dataset: str
    as_of: str
    status: str
    started_at: str
    seconds: float
    command: str
    fingerprint: str | None
    versions: dict[str, str]
    notebooks: list[Report]
    folder: str = ""


def run_pack(
    path: str | Path, *, outputs: str | Path = "outputs", jobs: int | None = None
) -> RunRecord:
    """Check a pack, execute its notebooks in `jobs` parallel processes (default: one a core), publish, and return the record of the run.

    Writes outputs/<pack>/<as_of>/ with index.html, one .html and .ipynb a report, tables/<report>/*.csv, run.json and log.txt. A good run replaces the one of the
    same day in one step and `latest` follows the newest day; a failed one goes to <as_of>.failed and touches neither. A notebook is good when every
    cell completed and it handed out a finding. Raises ParameterError or DataError, before any kernel, when something cannot work.
    """
    path, started = Path(path), time.time()
    pack, data, reports = check_pack(path)
    home = Path(outputs).resolve() / path.stem
    home.mkdir(parents=True, exist_ok=True)
    with _lock(home):
        for leftover in home.glob(".*.tmp"):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        folder = (
            home / f".{pack.as_of.replace(':', '')}.{os.getpid()}.tmp"
        )  # no other run, not even a worker of a killed one, writes here
        try:
            with _full_disk_said(home):
                folder.mkdir()
                record = _run(
                    pack,
                    reports,
                    folder,
                    jobs or os.cpu_count() or 1,
                    path,
                    started,
                    data.load.get("fingerprint"),
                )
                _export(record, folder)
            return _publish(record, folder, home, pack.keep)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _run(
    pack: Pack,
    reports: list[Report],
    folder: Path,
    jobs: int,
    path: Path,
    started: float,
    fingerprint: str | None,
) -> RunRecord:
    """Execute the reports into a folder, with a log, and describe the run."""
    with (folder / "log.txt").open("w", encoding="utf-8", buffering=1) as lines:
        print(
            f"{_now()} {shown(path)}: dataset {pack.dataset}, as of {pack.as_of}, {len(reports)} notebooks",
            file=lines,
        )
        _execute_all(reports, folder, sources.project_root(), jobs, lines)
        record = RunRecord(
            pack=path.stem, dataset=pack.dataset, as_of=pack.as_of, status="good" if all(r.status == "good" for r in reports) else "failed",
            started_at=f"{pd.Timestamp(started, unit='s', tz='UTC'):%Y-%m-%dT%H:%M:%SZ}", seconds=round(time.time() - started, 1),
            command=f"python -m mctlib run {shown(path)}", fingerprint=fingerprint,
            versions={"python": ".".join(map(str, sys.version_info[:3]))} | {name: version(name) for name in VERSIONS}, notebooks=reports,
        )  # fmt: skip
        print(f"{_now()} run {record.status}, {record.seconds} s", file=lines)
    return record


@contextlib.contextmanager
def _full_disk_said(home: Path) -> Iterator[None]:
    """A disk without room, said with the folder that needed it."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OSError(error.errno, "the disk is full; nothing was published", str(home)) from None


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """One run of a pack at a time. The kernel drops the lock when its process ends, however it ends, so none is ever stale."""
    with (home / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ParameterError(
                f'The pack "{home.name}" is being run already, by process {file.read().strip()}; this run did not start.'
            ) from None
        file.truncate(0)
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its number
            os.write(file.fileno(), b"%d\n" % os.getpid())
        yield


def _execute_all(reports: list[Report], folder: Path, root: Path, jobs: int, lines: Any) -> None:
    """Run the notebooks in processes of their own (a working directory and an environment belong to a process) and fill in the reports."""
    import nbformat

    spawn, terminal = multiprocessing.get_context("spawn"), sys.stderr.isatty()
    with ProcessPoolExecutor(
        min(jobs, len(reports)),
        spawn,
        initializer=_begin_worker,
        initargs=(os.getpid(), spawn.RLock()),
    ) as pool:
        pending = {
            pool.submit(_execute, report, folder, root, at if terminal else None): report
            for at, report in enumerate(reports)
        }
        try:
            for n_done, future in enumerate(as_completed(pending), 1):
                report, crash = pending[future], future.exception()
                if isinstance(crash, OSError) and crash.errno in FULL:
                    raise crash
                report.seconds, report.error = (
                    (0.0, f"the process of the notebook ended: {crash}")
                    if crash
                    else future.result()
                )
                written = folder / f"{report.name}.ipynb"
                if written.is_file():
                    try:
                        notebook = nbformat.read(written, as_version=4)
                    except ValueError:  # half a notebook, as its worker left it
                        written.unlink()
                        report.error = report.error or "the notebook was not written to its end"
                    else:
                        _judge(report, notebook)
                report.tables = sorted(
                    str(p.relative_to(folder))
                    for p in (folder / "tables" / report.name).glob("*.csv")
                )
                line = f"{report.name}: {report.status}, {report.seconds:.1f} s" + (
                    f" - {report.error}" if report.error else ""
                )
                print(f"{_now()} {line}", file=lines)
                if not terminal:
                    print(f"[{n_done}/{len(reports)}] {line}", file=sys.stderr, flush=True)
        except BaseException:  # stopped from outside: the workers must not outlive the run; kernels end with their worker
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()
            raise


def _begin_worker(parent: int, lock: Any) -> None:
    """A worker ends with the run, even one that is killed, and its kernel with the worker. Ctrl-C is for the run to hear, which then stops its workers."""
    from tqdm import tqdm

    tqdm.set_lock(lock)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it ended before we asked
            os._exit(1)


def _execute(report: Report, folder: Path, root: Path, bar: int | None) -> tuple[float, str | None]:
    """In a worker process: one notebook through papermill. Returns its seconds and, where it raised, the error in one line."""
    import papermill
    from traitlets.config import Config

    started = time.perf_counter()
    os.environ["MCT_TABLES"] = str(folder / "tables" / report.name)
    error = None
    try:
        papermill.execute_notebook(
            root / report.notebook, folder / f"{report.name}.ipynb", report.parameters, cwd=root,
            progress_bar={"desc": report.name, "position": bar} if bar is not None else False,
            config=Config({"KernelManager": {"transport_encryption": "auto"}}),  # else ipykernel warns in every run
            extra_arguments=["--log-level=50"],  # nor does it tell that it was asked to stop; what a cell raises is in the notebook
        )  # fmt: skip
    except papermill.PapermillExecutionError as failed:
        if failed.ename == "OSError" and f"[Errno {errno.ENOSPC}]" in str(
            failed.evalue
        ):  # in a cell that wrote a table
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        error = f"{failed.ename}: {failed.evalue}"
    except (
        Exception
    ) as failed:  # the kernel died, or never started: whatever it was, it belongs into the record
        if (
            isinstance(failed, OSError)
            and failed.errno in FULL
            or shutil.disk_usage(folder).free == 0
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
        died = type(failed).__name__ == "DeadKernelError"
        error = "the kernel died (out of memory?)" if died else f"{type(failed).__name__}: {failed}"
    return time.perf_counter() - started, error and _plain(error)


def _judge(report: Report, notebook: NotebookNode) -> None:
    """Good only when nothing was raised, every code cell completed and a finding was handed out.

    Papermill alone would pass a notebook that called sys.exit(0), whose later cells never ran, and one whose kernel died.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not report.error and (
        notebook.metadata.papermill.exception
        or any(c.metadata.papermill.status != "completed" for c in cells)
    ):
        report.error = "the notebook ended before its last cell (sys.exit?)"
    found = [
        output.metadata["mctlib"]
        for cell in cells
        for output in cell.outputs
        if "mctlib" in output.get("metadata", {})
    ]
    if found:
        report.finding = dict(found[-1])
    elif not report.error:
        report.error = "the notebook hands out no finding (mctlib.report.finding)"
    report.status = "failed" if report.error else "good"


def _export(record: RunRecord, folder: Path) -> None:
    """run.json, one page a notebook and the index of the run: self-contained files, without code, that request nothing."""
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="classic", template_file=str(TEMPLATES / "report.html.j2"), exclude_input=True,
                            exclude_input_prompt=True, exclude_output_prompt=True)  # fmt: skip
    exporter.register_filter(
        "headings", lambda body: re.findall(r'<h2 id="([^"]+)">(.*?)<a class="anchor-link"', body)
    )
    exporter.register_filter("day", _day)
    for report in record.notebooks:
        written = folder / f"{report.name}.ipynb"
        report.title = report.name.replace("-", " ").replace("_", " ").capitalize()
        if not written.is_file():
            continue
        notebook = nbformat.read(written, as_version=4)
        notebook.cells = [
            c
            for c in notebook.cells
            if "papermill-error-cell-tag" not in c.metadata.get("tags", [])
        ]  # the banner says it
        for cell in notebook.cells:  # the page shows the notebook's title once, above the finding
            if cell.cell_type == "markdown" and (title := re.match(r"\s*# (.+)\n?", cell.source)):
                report.title, cell.source = title[1].strip(), cell.source[title.end() :]
                break
        html, _ = exporter.from_notebook_node(notebook, {"run": record, "report": report})
        (folder / f"{report.name}.html").write_text(html, "utf-8")
    (folder / "run.json").write_text(
        json.dumps(dataclasses.asdict(record), indent=1, default=str), "utf-8"
    )
    _write_index(folder / "index.html", run=record)


def _publish(record: RunRecord, folder: Path, home: Path, keep: int | None) -> RunRecord:
    """Swap the finished folder in; then `latest`, what `keep` lets go, and the index of all runs."""
    target = home / (record.as_of.replace(":", "") + ("" if record.status == "good" else ".failed"))
    _swap(folder, target)
    record.folder = str(target)
    if record.status == "good":
        shutil.rmtree(f"{target}.failed", ignore_errors=True)
    runs = sorted(_runs(home), key=lambda run: as_timestamp(run["as_of"]))
    good = [run for run in runs if run["status"] == "good"]
    if (
        good
    ):  # the newest day, not the newest run: repeating an old week must not move the link back
        link = home / ".latest"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(good[-1]["folder"]).name)
        os.replace(link, home / "latest")
    if keep and len(good) > keep:
        for run in runs[: runs.index(good[-keep])]:
            shutil.rmtree(run["folder"])
    _write_index(
        home.parent / "index.html",
        runs=[run for pack in sorted(home.parent.iterdir()) for run in reversed(_runs(pack))],
    )
    return record


def _swap(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`, in one step where the system can exchange two names; the old folder is removed."""
    old = fresh.with_suffix(".old.tmp")
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if (
        target.exists()
        and renameat2
        and renameat2(-100, os.fsencode(fresh), -100, os.fsencode(target), 2) == 0
    ):  # AT_FDCWD, RENAME_EXCHANGE
        fresh.rename(old)
    else:
        with contextlib.suppress(FileNotFoundError):
            target.rename(old)
        fresh.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _runs(home: Path) -> list[dict[str, Any]]:
    """Every kept run of a pack, oldest day first, read from the run.json files that stand there."""
    if home.is_symlink() or not home.is_dir():
        return []
    files = [p for p in home.glob("[!.]*/run.json") if not p.parent.is_symlink()]
    return sorted(
        (json.loads(p.read_text("utf-8")) | {"folder": str(p.parent)} for p in files),
        key=lambda run: run["as_of"],
    )


def _write_index(path: Path, **content: Any) -> None:
    """An index page: of one run (`run`), or of all (`runs`). Replaced in one step."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["day"] = _day
    environment.filters["relative"] = lambda folder: os.path.relpath(folder, path.parent)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(environment.get_template("index.html.j2").render(**content), "utf-8")
    os.replace(fresh, path)


def _day(as_of: str) -> str:
    at = pd.Timestamp(as_of)
    return f"{at.day} {at:%B %Y}" + ("" if len(as_of) <= 10 else f", {at:%H:%M}")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _plain(text: str) -> str:
    """One line without control characters, safe in a terminal and a log."""
    return "".join(c if c.isprintable() else " " for c in text).strip()[:500]
