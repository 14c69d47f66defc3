"""The commands: `python -m mctlib run params/weekly.yaml`.

Exit codes: 0 good, 1 a notebook failed or events violate their plan, 2 wrong parameters or data or
no room (one line a mistake on stderr, nothing was published), 130 stopped by Ctrl-C or a scheduler.
"""

from __future__ import annotations

import io
import re
import signal
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mctlib.eventlog.event_log import EventLog

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Output(io.FileIO):
    """What somebody reads who may leave before its end (`| head -1`), which changes no command."""

    def write(self, part: Any) -> int:
        try:
            return super().write(part) or 0
        except BrokenPipeError:
            return memoryview(part).nbytes


def _let_readers_leave() -> None:
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and stream is getattr(sys, f"__{name}__"):  # else it is a test's
            buffer = io.BufferedWriter(_Output(stream.fileno(), "wb", closefd=False))
            text = io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=True)
            setattr(sys, name, text)


@contextmanager
def _stops_heard() -> Iterator[None]:
    """Let a scheduler's stop and a closed terminal end a command as Ctrl-C does: cleaned up.

    Whatever DuckDB makes of the interrupt. One that is ignored (nohup) stays so.
    """
    heard = []

    def stop(number: int, _: Any) -> None:
        heard.append(number)
        raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in STOPS}
    for number, before in handlers.items():
        if before != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    except Exception:
        if heard:
            raise KeyboardInterrupt from None
        raise
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


class _Sentences(click.Group):
    """A user's mistake ends with one sentence and exit code 2, not with a traceback."""

    def main(self, *arguments: Any, **named: Any) -> Any:
        """As click does, whether anybody reads on or not."""
        _let_readers_leave()
        return super().main(*arguments, **named)

    def invoke(self, ctx: click.Context) -> object:
        from mctlib.contract import DataError, ParameterError

        try:
            with _stops_heard():
                return super().invoke(ctx)
        except (DataError, ParameterError) as error:
            sentence = str(error)
        except OSError as error:
            sentence = f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
        except KeyboardInterrupt:
            _remove_staged(own=True)  # it may have been stopped while it cleaned up
            click.echo("Stopped; nothing was published.", err=True)
            raise click.exceptions.Exit(130) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            sentence = _kept(error)
        for line in sentence.splitlines():  # one a mistake
            # a file without line ends is one long name
            click.echo(f"Error: {line[:1000]}", err=True)
        raise click.exceptions.Exit(2)


def _remove_staged(*, own: bool = False) -> None:
    """Remove what killed commands staged, which is personal data; see `remove_leftovers`."""
    from mctlib.eventlog.build import remove_leftovers
    from mctlib.eventlog.pseudonyms import checkout

    if root := checkout():
        remove_leftovers(root / "outputs" / "store", own=own)


def _kept(error: Exception) -> str:
    """Keep a traceback that nobody foresaw in a file, without words of the data; a sentence."""
    from mctlib.contract import ParameterError
    from mctlib.sources.project import project_root

    try:
        folder = project_root() / "outputs"
        folder.mkdir(exist_ok=True)
    except (ParameterError, OSError):
        folder = Path(tempfile.gettempdir())
    told = [f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} mctlib {sys.argv[1:2]}\n"]
    at: BaseException | None = error
    while at is not None:
        said = re.sub(r"""(["'])(.*?)\1""", r"\1...\1", (str(at).splitlines() or [""])[0])
        told += traceback.format_tb(at.__traceback__, limit=-20)
        told.append(f"{type(at).__name__}: {said}\n")
        at = at.__cause__ or at.__context__
    path = folder / "error.log"
    path.write_text("".join(told), "utf-8")
    return f"This was not foreseen ({type(error).__name__}). Its traceback is in {path}."


@click.group(
    cls=_Sentences,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Micro-conversion analyses as notebooks: check, run and publish them."""
    _remove_staged()


@main.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.option(
    "--jobs", type=click.IntRange(min=1), help="Notebooks at the same time (default: one a core)."
)
@click.option(
    "--outputs",
    type=click.Path(path_type=Path),
    default="outputs",
    show_default=True,
    help="Where the reports go.",
)
def run(pack: Path, jobs: int | None, outputs: Path) -> None:
    """Run a PACK (params/weekly.yaml) and publish its reports as HTML."""
    from mctlib.runner.run import run_pack

    record = run_pack(pack, outputs=outputs, jobs=jobs)
    for note in record.notes:
        click.echo(f"Note: {note}", err=True)
    for report in record.notebooks:
        said = f"FAILED - {report.error}"
        if report.finding and not report.error:
            said = report.finding["finding"]
        line = f"{report.name}: {said}"
        click.echo(textwrap.fill(line, 100, subsequent_indent="    ", break_on_hyphens=False))
    click.echo(f"\n{record.folder}/index.html")
    sys.exit(0 if record.status == "good" else 1)


class _Checks(click.Group):
    """What is no command of its own is a pack or a dataset to be checked."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            name = Path(args[0]).name
            args = ["plan" if name.startswith("plan.") else "what", *args]
        return super().resolve_command(ctx, args)


@main.group(cls=_Checks, subcommand_metavar="PACK | DATASET | plan NAME | events FILE --plan NAME")
def check() -> None:
    """Check a PACK (a file), a DATASET (a name or file), a plan, or events; no notebook starts."""


@check.command(hidden=True)
@click.argument("what")
def what(what: str) -> None:
    """Check a PACK or a DATASET."""
    if not what.endswith((".yaml", ".yml")) or Path(what).name.startswith("data."):
        _load(what)
        return
    from mctlib.runner.pack import check_pack

    pack, _, reports = check_pack(what)
    names = ", ".join(report.name for report in reports)
    click.echo(f"{what} is good: {names} on {pack.dataset} as of {pack.as_of}.")


@check.command("plan")
@click.argument("name")
def check_the_plan(name: str) -> None:
    """Check the tracking plan of the dataset NAME: in itself, and against its data."""
    from mctlib.contract import DataError
    from mctlib.sources.dataset import open_log
    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.check import check_plan
    from mctlib.tracking_plan.reading import read_plan

    path, dataset = plan_of(name)
    plan = read_plan(path)
    remarks = check_plan(plan, open_log(dataset) if dataset else None)
    for remark in remarks:
        if not remark.wrong:
            click.echo(f"{remark.kind}: {remark.sentence}")
    if wrong := [f"{path.name}: {r.kind}: {r.sentence}" for r in remarks if r.wrong]:
        raise DataError("\n".join(wrong))
    beside = "" if dataset else "; there is no dataset to hold it against"
    click.echo(f"{path} is good: {len(plan.micro_conversions)} micro-conversions{beside}.")


@check.command("events")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--plan", "name", required=True, help="Dataset whose plan it is, or the plan's file.")
@click.option(
    "--report", type=click.Path(path_type=Path), help="JSON report (default: FILE.report.json)."
)
def check_the_events(file: Path, name: str, report: Path | None) -> None:
    """Hold a batch of events (FILE, a JSON object a line) against a plan; exit code 1: violated."""
    import json

    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.check import check_events
    from mctlib.tracking_plan.reading import read_plan

    found = check_events(file, read_plan(plan_of(name)[0]))
    report = report or file.with_name(f"{file.name}.report.json")
    report.write_text(json.dumps(found.report(), indent=1, ensure_ascii=False), "utf-8")
    click.echo("\n".join(found.lines_of_table()))
    click.echo(f"\n{report}")
    sys.exit(1 if found.violations else 0)


@main.command()
@click.argument("dataset")
@click.option(
    "--fresh", is_flag=True, help="Load again even if nothing changed; ask every query again."
)
def load(dataset: str, fresh: bool) -> None:
    """Load a DATASET (its name or params/data.<name>.yaml) and say what became of every row."""
    _load(dataset, fresh)


@main.command()
@click.argument("dataset")
@click.option(
    "--user",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="A file of user ids, one a line.",
)
def forget(dataset: str, file: Path) -> None:
    """Remove people from the store of a DATASET and from all its next loads."""
    from mctlib.sources.forget import forget

    _say(forget(dataset, file))


def _load(dataset: str, fresh: bool = False) -> None:
    """Load a dataset and say what became of every row."""
    from mctlib.sources.dataset import open_log

    log = open_log(dataset, fresh=fresh, verify=True)
    if log.note:
        click.echo(f"Note: {log.note}", err=True)
    _say(log)


def _say(log: EventLog) -> None:
    from mctlib.sources.narrative import told

    report = log.load
    for table, rows in report["tables"].items():
        if rows["n_read"]:
            line = f"{table:<10} {rows['n_read']:>12,} rows read = {rows['n_kept']:,} kept"
            for reason, n in rows["n_rejected"].items():
                line += f" + {n:,} rejected ({reason})"
            for column, n in rows.get("n_emptied", {}).items():
                line += f"; {n:,} times of {column} are not plausible and were left empty"
            click.echo(line)
    for note in report["notes"]:
        click.echo(f"Note: {note}")
    if n_listed := report["forgotten"]["n_listed"]:
        n_met = report["forgotten"]["n_met"]
        said = f"{n_met:,} of {n_listed:,} ids to be forgotten were met and left out"
        click.echo(said + "; is one of the others misspelt?" * (n_met < n_listed))
    if n_masked := report["n_masked"]:
        counts = ", ".join(f"{n:,} in {column}" for column, n in n_masked.items())
        click.echo(f"e-mail addresses or phone numbers were masked: {counts}")
    click.echo(f"{report['n_users']:,} users")
    who = report["identity"]
    if who["n_anonymous_rows"] or who["n_users_with_several_ids"]:
        click.echo(
            f"{who['n_matched_rows']:,} of {who['n_anonymous_rows']:,} rows without a user id were "
            f"matched to a user by their anonymous id; {who['n_ids_with_several_users']:,} "
            "anonymous ids were seen with several users and went to the first of them"
        )
    for sentence in (*log.caveats(), *told(report)):
        click.echo(sentence)
    click.echo(f"{report['first_event'][:16]} to {report['last_event'][:16]} UTC")


@main.group()
def new() -> None:
    """Begin something new."""


@new.command()
@click.argument("name")
@click.argument("files", nargs=-1, required=True)
def data(name: str, files: tuple[str, ...]) -> None:
    """Draft params/data.NAME.yaml from what stands in FILES."""
    from mctlib.contract import ParameterError
    from mctlib.sources.draft import draft
    from mctlib.sources.project import project_root

    path = project_root() / "params" / f"data.{name}.yaml"
    if path.exists():
        raise ParameterError(f"{path} exists already; it is not overwritten.")
    drafted = draft(name, list(files))
    path.write_text(drafted, "utf-8")
    for line in drafted.splitlines():
        if "# left out: " in line or "# not found: " in line:
            click.echo(line.strip("# "))
    click.echo(f"{path} is drafted. Read it, correct it, then: python -m mctlib load {name}")


@new.command("plan")
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def new_plan(name: str, files: tuple[Path, ...]) -> None:
    """Draft params/plan.NAME.yaml from plans of other tools (FILES), or from the dataset's events.

    FILES: a spreadsheet (CSV), Segment, Amplitude (CSV), Mixpanel's Lexicon, JSON Schema.
    """
    from mctlib.contract import ParameterError
    from mctlib.sources.dataset import open_log
    from mctlib.sources.project import project_root
    from mctlib.tracking_plan.draft import draft_of_files, draft_of_log

    path = project_root() / "params" / f"plan.{name}.yaml"
    if path.exists():
        raise ParameterError(f"{path} exists already; it is not overwritten.")
    if files:
        text, read = draft_of_files(name, files)
        click.echo("\n".join(line for file, said in zip(files, read) for line in said.told(file)))
    else:
        text = draft_of_log(name, open_log(name))
    path.write_text(text, "utf-8")
    click.echo(f"{path} is drafted. Read it, fill it in, then: python -m mctlib check plan {name}")


@new.command()
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
def schemas(name: str, folder: Path) -> None:
    """Write the plan of the dataset NAME as JSON Schema, one file an event, into a new FOLDER."""
    import json
    from urllib.parse import quote

    from mctlib.sources.plans import plan_of
    from mctlib.tracking_plan.formats import json_schemas
    from mctlib.tracking_plan.reading import read_plan

    found = json_schemas(read_plan(plan_of(name)[0]))
    folder.mkdir(parents=True)
    for event, schema in found.items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        (folder / f"{quote(event, safe=' ')}.json").write_text(text, "utf-8")
    click.echo(f"{len(found)} events are written to {folder}.")


if __name__ == "__main__":
    main(prog_name="python -m mctlib")
