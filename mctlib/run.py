"""A pack of notebooks, run: check everything, execute in parallel, publish only what is good.

A pack (params/weekly.yaml) names a dataset, a day and notebooks with their parameters. Nothing starts before all of it has been checked. A run is
written into a hidden folder and swapped in when complete, so that a reader of outputs/<pack>/latest never sees half a report or a failed one.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import dataclasses
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mctlib import log, sources
from mctlib.log import ParameterError, nearest

if TYPE_CHECKING:
    from nbformat import NotebookNode

# jsonschema imports this grammar (2.4 s, at every papermill start) only to check a string format that notebooks do not use; None makes it do without.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

TEMPLATES = Path(__file__).parent
VERSIONS = ("mctlib", "duckdb", "lifelines", "numpy", "pandas", "papermill", "scipy", "seaborn", "statsmodels")
WINDOW = re.compile(r"(^|_)(windows?|horizon|half_life|landmarks?)$")  # parameters that pandas.Timedelta must be able to read
EVENT = re.compile(r"events?\b", re.I)  # a parameter whose comment begins so holds event names
TYPES = {t.__name__: t for t in (str, int, float, bool, list, dict, tuple)}
SECRET_NAME = re.compile(r"(password|passwd|secret|token|api_?key|credential|private_?key)s?$", re.I)
SECRET_VALUE = re.compile(
    r"://[^/\s:@]+:[^/\s@]+@|AKIA[0-9A-Z]{16}|-----BEGIN|\bgh[pousr]_\w{20}|\bgithub_pat_|\bxox[a-z]-|\bsk-\w{16}|\beyJ[\w-]{10,}\.|hooks\.slack\.com/"
)


class Entry(BaseModel):
    """One report of a pack: the notebook (its key where not named), a parameters file, and single parameters on top of it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    notebook: str | None = None
    params: str | None = None
    set: dict[str, Any] = {}


class Pack(BaseModel):
    """The content of a pack file. `keep`: how many good runs stay; all of them when not given."""

    model_config = ConfigDict(extra="forbid", strict=True)
    dataset: str
    as_of: str = "latest"
    notebooks: dict[str, Entry] = Field(min_length=1)
    keep: int | None = Field(default=None, ge=1)


@dataclasses.dataclass
class Report:
    """One notebook of a run. `status` is good or failed; `error` one line; `finding` what the notebook handed out (finding, caveats, next_step, owner)."""

    name: str
    notebook: str
    parameters: dict[str, Any]
    title: str = ""
    status: str = "failed"
    seconds: float = 0.0
    finding: dict[str, Any] | None = None
    error: str | None = None
    tables: list[str] = dataclasses.field(default_factory=list)


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


# ---- checks, before any kernel --------------------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.2: only true and false are booleans, dates and times are texts. What would lose its spelling (010, 1.10) or a value (a key twice) is refused."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.MarkedYAMLError(problem=f'"{twice}" stands here twice', problem_mark=node.start_mark)
        return super().construct_mapping(node, deep=deep)

    def number(self, node: Any) -> int | float:
        text = node.value
        value = int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
        if re.fullmatch(r"[-+]?\d*\.?\d*", text) and str(value).removesuffix(".0") != text.removeprefix("+").removesuffix(".0"):
            problem = f'{text} can be a number or a text: write {value} or "{text}"'
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value


for _tag, _pattern, _first in (("bool", "true|True|TRUE|false|False|FALSE", "tTfF"), ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
                               ("float", r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", "-+.0123456789"), ("merge", "<<", "<")):  # fmt: skip
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping whose values mean what they look like."""
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        near = nearest(path.name, [p.name for p in path.parent.glob("*.yaml")])
        raise ParameterError(f"{_shown(path)} cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'}).{near}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ParameterError(f"{_shown(path)}{line}: {getattr(error, 'problem', None) or 'not valid YAML'}.") from None
    if not isinstance(content, dict):
        raise ParameterError(f'{_shown(path)} must hold "name: value" lines.')
    return content


def check_pack(path: str | Path) -> tuple[Pack, log.EventLog, list[Report]]:
    """Read and check a pack, its dataset and every parameter; no kernel starts. Returns the pack with its day resolved, the data, and the planned reports.

    Raises ParameterError or DataError with one sentence: the file, the field, the rule, the nearest valid word.
    """
    path, root = Path(path), sources.project_root()
    content = read_yaml(path)
    try:
        pack = Pack.model_validate(content)
    except ValidationError as error:
        raise ParameterError(_invalid(path, error.errors()[0])) from None
    if path.stem == "store":
        raise ParameterError('A pack cannot be named "store": that folder of outputs holds the loaded data.')
    data = sources.open_log(pack.dataset)
    pack.as_of = _resolve(path, pack.as_of, data)
    return pack, data, [_plan(path, root, name, entry, pack, data) for name, entry in pack.notebooks.items()]


def _plan(path: Path, root: Path, name: str, entry: Entry, pack: Pack, data: log.EventLog) -> Report:
    """Merge the parameters of one report (notebook < params file < pack < set) and check them against the notebook and the data."""
    if not re.fullmatch(r"[A-Za-z0-9][\w-]*", name) or name == "index":
        raise ParameterError(f'{_shown(path)}: "{name}" cannot name a report; use letters, digits, "-" and "_" (not "index").')
    notebook = root / "notebooks" / f"{entry.notebook or name}.ipynb"
    if not notebook.is_file():
        near = nearest(notebook.stem, [p.stem for p in notebook.parent.glob("*.ipynb")])
        raise ParameterError(f'{_shown(path)}, {name}: there is no notebook "{notebook.stem}" in notebooks/.{near}')
    declared = declared_parameters(notebook)
    given: dict[str, tuple[str, Any]] = {}
    if entry.params:
        given |= {key: (entry.params, value) for key, value in read_yaml(root / entry.params).items()}
    given |= {"dataset": (_shown(path), pack.dataset), "as_of": (_shown(path), pack.as_of)}
    for key, value in entry.set.items():
        if key in ("dataset", "as_of"):
            raise ParameterError(f'{_shown(path)}, {name}: "{key}" is one for the whole pack; it cannot be set for one notebook.')
        given[key] = (f"{_shown(path)}, {name}", value)
    for key, (where, _) in given.items():
        if key not in declared:
            raise ParameterError(f'{where}: {_shown(notebook)} has no parameter "{key}".{nearest(key, list(declared))}')
    for key, parameter in declared.items():
        where, value = given.get(key, (_shown(notebook), parameter["default"]))
        _check(f'{where}: parameter "{key}" of {notebook.stem}', key, value, parameter, data)
    return Report(name, _shown(notebook), {key: value for key, (_, value) in given.items()})


def declared_parameters(notebook: Path) -> dict[str, dict[str, Any]]:
    """What the cell tagged `parameters` declares: name -> type, default, help (the comment on its last line).

    Python's own parser reads it: papermill.inspect_notebook loses `str | None`, `=` inside a comment, and types below the first bracket.
    """
    try:
        cells = json.loads(notebook.read_text("utf-8"))["cells"]
        source = next("".join(c["source"]) for c in cells if "parameters" in c.get("metadata", {}).get("tags", []))
        lines, body = source.splitlines(), ast.parse(source).body
    except StopIteration:
        raise ParameterError(f'{_shown(notebook)} has no cell tagged "parameters".') from None
    except (ValueError, KeyError, SyntaxError) as error:
        raise ParameterError(f"{_shown(notebook)} is not a notebook with a readable parameters cell: {error}.") from None
    found = {}
    for line in body:
        target = line.target if isinstance(line, ast.AnnAssign) else line.targets[0] if isinstance(line, ast.Assign) else None
        if isinstance(target, ast.Name) and line.value is not None:
            default = ast.literal_eval(line.value)
            note = getattr(line, "annotation", None)
            kind = eval(ast.unparse(note), {"__builtins__": {}}, TYPES) if note else type(default)  # noqa: S307 - type names only
            comment = lines[line.end_lineno - 1].encode()[line.end_col_offset :].decode().partition("#")[2].strip()
            found[target.id] = {"type": Any if kind is type(None) else kind, "default": default, "help": comment}
    return found


def _check(what: str, name: str, value: Any, parameter: dict[str, Any], data: log.EventLog) -> None:
    """One value: no secret, the declared type, readable windows, known events."""
    for key, leaf in _leaves(name, value):
        if leaf and (SECRET_NAME.search(key) or isinstance(leaf, str) and SECRET_VALUE.search(leaf)):
            raise ParameterError(f"{what} looks like a credential. Parameters are stored in the reports: keep secrets in environment variables.")
    kind = parameter["type"]
    try:
        TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError:
        shown = kind.__name__ if isinstance(kind, type) and kind in TYPES.values() else str(kind)
        raise ParameterError(f"{what} must be {shown}, not {json.dumps(value, default=str)}.") from None
    if WINDOW.search(name):
        for _, leaf in _leaves(name, value):
            if leaf is not None:
                log.as_window(leaf, what)
    if EVENT.match(parameter["help"]):
        if name == "steps" and len(value) < 2:
            raise ParameterError(f"{what} needs at least two steps, not {json.dumps(value)}.")
        for key, leaf in _leaves(name, value):
            if isinstance(leaf, str) and key in (name, "event") and (unknown := data.missing_events([leaf])):
                raise ParameterError(f"{what}: {unknown[0]}")


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Every single value inside lists and mappings, with the nearest key above it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(str(key), item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(name, item)
    else:
        yield name, value


def _resolve(path: Path, as_of: str, data: log.EventLog) -> str:
    """`latest` is the last day whose final hour holds events: an export that stops at noon does not make a day."""
    first, last = data.first_event, data.last_event
    if as_of == "latest":
        return f"{(last + pd.Timedelta('1h')).normalize() - pd.Timedelta('1d'):%Y-%m-%d}"
    try:
        at = log.as_timestamp(as_of)
    except ValueError:
        raise ParameterError(f'{_shown(path)}: as_of is "{as_of}"; write a day like {last:%Y-%m-%d}, or latest.') from None
    if at < first or at.normalize() > last:
        raise ParameterError(f"{_shown(path)}: as_of {as_of} lies outside the data, which run from {first:%Y-%m-%d} to {last:%Y-%m-%d}.")
    return as_of


def _invalid(path: Path, error: Any) -> str:
    """pydantic's first complaint as a sentence."""
    where = ", ".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        fields = Pack.model_fields if len(error["loc"]) == 1 else Entry.model_fields
        return f'{_shown(path)}: unknown key "{where}".{nearest(str(error["loc"][-1]), list(fields))}'
    if error["type"] == "missing":
        return f'{_shown(path)}: the key "{where}" is missing.'
    return f'{_shown(path)}: "{where}" is not right: {error["msg"][:1].lower() + error["msg"][1:]}.'


def _shown(path: Path) -> str:
    return os.path.relpath(path) if Path(path).resolve().is_relative_to(Path.cwd()) else str(path)


# ---- the run --------------------------------------------------------------------------------------------------------------------------------------


def run_pack(path: str | Path, *, outputs: str | Path = "outputs", jobs: int | None = None) -> RunRecord:
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
            shutil.rmtree(leftover)
        folder = home / f".{pack.as_of.replace(':', '')}.tmp"
        folder.mkdir()
        try:
            with (folder / "log.txt").open("w", encoding="utf-8", buffering=1) as lines:
                print(f"{_now()} {_shown(path)}: dataset {pack.dataset}, as of {pack.as_of}, {len(reports)} notebooks", file=lines)
                _execute_all(reports, folder, sources.project_root(), jobs or os.cpu_count() or 1, lines)
                record = RunRecord(
                    pack=path.stem, dataset=pack.dataset, as_of=pack.as_of, status="good" if all(r.status == "good" for r in reports) else "failed",
                    started_at=f"{pd.Timestamp(started, unit='s', tz='UTC'):%Y-%m-%dT%H:%M:%SZ}", seconds=round(time.time() - started, 1),
                    command=f"python -m mctlib run {_shown(path)}", fingerprint=data.load.get("fingerprint"),
                    versions={"python": ".".join(map(str, sys.version_info[:3]))} | {name: version(name) for name in VERSIONS}, notebooks=reports,
                )  # fmt: skip
                print(f"{_now()} run {record.status}, {record.seconds} s", file=lines)
            _export(record, folder)
            return _publish(record, folder, home, pack.keep)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _lock(home: Path) -> Iterator[None]:
    """One run of a pack at a time. The kernel drops the lock when its process ends, however it ends, so none is ever stale."""
    with (home / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ParameterError(f'The pack "{home.name}" is being run already, by process {file.read().strip()}; this run did not start.') from None
        file.truncate(0)
        print(os.getpid(), file=file, flush=True)
        yield


def _execute_all(reports: list[Report], folder: Path, root: Path, jobs: int, lines: Any) -> None:
    """Run the notebooks in processes of their own (a working directory and an environment belong to a process) and fill in the reports."""
    import nbformat
    from tqdm import tqdm

    spawn, terminal = multiprocessing.get_context("spawn"), sys.stderr.isatty()
    with ProcessPoolExecutor(min(jobs, len(reports)), spawn, initializer=tqdm.set_lock, initargs=(spawn.RLock(),)) as pool:
        pending = {pool.submit(_execute, report, folder, root, at if terminal else None): report for at, report in enumerate(reports)}
        for n_done, future in enumerate(as_completed(pending), 1):
            report, crash = pending[future], future.exception()
            report.seconds, report.error = (0.0, f"the process of the notebook ended: {crash}") if crash else future.result()
            written = folder / f"{report.name}.ipynb"
            if written.is_file():
                _judge(report, nbformat.read(written, as_version=4))
            report.tables = sorted(str(p.relative_to(folder)) for p in (folder / "tables" / report.name).glob("*.csv"))
            line = f"{report.name}: {report.status}, {report.seconds:.1f} s" + (f" - {report.error}" if report.error else "")
            print(f"{_now()} {line}", file=lines)
            if not terminal:
                print(f"[{n_done}/{len(reports)}] {line}", file=sys.stderr, flush=True)


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
        )  # fmt: skip
    except papermill.PapermillExecutionError as failed:
        error = f"{failed.ename}: {failed.evalue}"
    except Exception as failed:  # the kernel died, or never started: whatever it was, it belongs into the record
        error = f"{type(failed).__name__}: {failed}"
    return time.perf_counter() - started, error and _plain(error)


def _judge(report: Report, notebook: NotebookNode) -> None:
    """Good only when nothing was raised, every code cell completed and a finding was handed out.

    Papermill alone would pass a notebook that called sys.exit(0), whose later cells never ran, and one whose kernel died.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if not report.error and (notebook.metadata.papermill.exception or any(c.metadata.papermill.status != "completed" for c in cells)):
        report.error = "the notebook ended before its last cell (sys.exit?)"
    found = [output.metadata["mctlib"] for cell in cells for output in cell.outputs if "mctlib" in output.get("metadata", {})]
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
                            exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True)  # fmt: skip
    exporter.register_filter("headings", lambda body: re.findall(r'<h2 id="([^"]+)">(.*?)</h2>', body, re.S))
    exporter.register_filter("day", _day)
    for report in record.notebooks:
        written = folder / f"{report.name}.ipynb"
        report.title = report.name.replace("-", " ").replace("_", " ").capitalize()
        if not written.is_file():
            continue
        notebook = nbformat.read(written, as_version=4)
        for cell in notebook.cells:  # the page shows the notebook's title once, above the finding
            if cell.cell_type == "markdown" and (title := re.match(r"\s*# (.+)\n?", cell.source)):
                report.title, cell.source = title[1].strip(), cell.source[title.end() :]
                break
        html, _ = exporter.from_notebook_node(notebook, {"run": record, "report": report})
        (folder / f"{report.name}.html").write_text(html, "utf-8")
    (folder / "run.json").write_text(json.dumps(dataclasses.asdict(record), indent=1, default=str), "utf-8")
    _write_index(folder / "index.html", run=record)


def _publish(record: RunRecord, folder: Path, home: Path, keep: int | None) -> RunRecord:
    """Swap the finished folder in; then `latest`, what `keep` lets go, and the index of all runs."""
    target = home / (folder.name[1:].removesuffix(".tmp") + ("" if record.status == "good" else ".failed"))
    _swap(folder, target)
    record.folder = str(target)
    if record.status == "good":
        shutil.rmtree(f"{target}.failed", ignore_errors=True)
    runs = sorted(_runs(home), key=lambda run: log.as_timestamp(run["as_of"]))
    good = [run["folder"] for run in runs if run["status"] == "good"]
    if good:  # the newest day, not the newest run: repeating an old week must not move the link back
        link = home / ".latest"
        link.unlink(missing_ok=True)
        link.symlink_to(Path(good[-1]).name)
        os.replace(link, home / "latest")
    for run in runs[: runs.index(next(r for r in runs if r["folder"] == good[-keep]))] if keep and len(good) >= keep else []:
        shutil.rmtree(run["folder"])
    _write_index(home.parent / "index.html", runs=[run for pack in sorted(home.parent.iterdir()) for run in reversed(_runs(pack))])
    return record


def _swap(fresh: Path, target: Path) -> None:
    """Put `fresh` in the place of `target`, in one step where the system can exchange two names; the old folder is removed."""
    old = fresh.with_suffix(".old.tmp")
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if target.exists() and renameat2 and renameat2(-100, os.fsencode(fresh), -100, os.fsencode(target), 2) == 0:  # AT_FDCWD, RENAME_EXCHANGE
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
    return sorted((json.loads(p.read_text("utf-8")) | {"folder": str(p.parent)} for p in files), key=lambda run: run["as_of"])


def _write_index(path: Path, **content: Any) -> None:
    """An index page: of one run (`run`), or of all (`runs`). Replaced in one step."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
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
