"""The commands: `python -m mctlib run params/weekly.yaml`.

Exit codes: 0 good, 1 a notebook failed or events violate their plan, 2 wrong parameters or data or
no room (one line a mistake on stderr, nothing was published), 3 new alerts and 4 messages that did
not arrive (where --fail-on asks for them), 130 stopped by Ctrl-C or a scheduler.
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
from typing import Any

import click

from mctlib.commands.alerting import alerts, beat, code_of, fail_on, timeline
from mctlib.commands.checking import check
from mctlib.commands.loading import forget, load, load_and_tell
from mctlib.commands.new import draft_data, draft_pack, draft_plan, new

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
        try:
            with _stops_heard():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            # it may have been stopped while it cleaned up, or before it had anything to stage
            if "mctlib.eventlog.build" in sys.modules:
                _remove_staged(own=True)
            click.echo("Stopped; nothing was published.", err=True)
            raise click.exceptions.Exit(130) from None
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            for line in _said(error).splitlines():  # one a mistake
                # a file without line ends is one long name
                click.echo(f"Error: {line[:1000]}", err=True)
        raise click.exceptions.Exit(2)


def _said(error: Exception) -> str:
    """What went wrong, in sentences."""
    from mctlib.contract import DataError, ParameterError

    if isinstance(error, (DataError, ParameterError)):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
    return _kept(error)


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
@click.option("--as-of", help="A day in place of the pack's own.")
@click.option("--back", help="Make the runs of so many weeks before first, such as 12w.")
@fail_on
@click.option("--heartbeat", help="Environment variable with a URL to call after a good run.")
def run(
    pack: Path,
    jobs: int | None,
    outputs: Path,
    as_of: str | None,
    back: str | None,
    fail_on: tuple[str, ...],
    heartbeat: str | None,
) -> None:
    """Run a PACK (params/weekly.yaml) and publish its reports as HTML."""
    from mctlib.contract import DataError, ParameterError
    from mctlib.runner.run import past_days, run_pack

    for day in past_days(pack, back, as_of) if back else ():
        try:
            click.echo(f"{day}: {run_pack(pack, outputs=outputs, jobs=jobs, as_of=day).status}")
        except (DataError, ParameterError) as error:  # too early for what is asked
            click.echo(f"{day}: not run. {error}", err=True)
    record = run_pack(pack, outputs=outputs, jobs=jobs, as_of=as_of)
    for note in record.notes:
        click.echo(f"Note: {note}", err=True)
    for report in record.notebooks:
        said = f"FAILED - {report.error}"
        if report.finding and not report.error:
            said = report.finding["finding"]
        line = f"{report.name}: {said}"
        click.echo(textwrap.fill(line, 100, subsequent_indent="    ", break_on_hyphens=False))
    click.echo(f"\n{record.folder}/index.html")
    if record.status != "good":
        sys.exit(1)
    if heartbeat:
        beat(heartbeat)
    sys.exit(code_of(fail_on, record.n_alerts, record.n_undelivered))


@main.command()
@click.argument("name")
@click.argument("files", nargs=-1)
@click.pass_context
def start(context: click.Context, name: str, files: tuple[str, ...]) -> None:
    """From FILES to a first page: draft the dataset NAME, its plan and a pack; load and run them.

    What is there already is used as it stands, so that a question can be answered in its file and
    the command given again.
    """
    from mctlib.sources.project import project_root
    from mctlib.sources.timeline import begin as begin_timeline

    params = project_root() / "params"
    for word, path, begin in (
        ("data", params / f"data.{name}.yaml", lambda: draft_data(name, files)),
        ("plan", params / f"plan.{name}.yaml", lambda: draft_plan(name)),
        ("pack", params / f"{name}.yaml", lambda: draft_pack(name)),
    ):
        new = not path.exists()
        if new:
            begin()
        elif word == "pack":
            _must_be_of(path, name)
        if word == "data":
            _ask(path)
        guesses = path.read_text("utf-8").count("guessed?")
        click.echo(f"{path}: " + (f"drafted, {guesses} guesses to look at" if new else "as it is"))
        if word == "data":
            if new and "\ntimeline:" not in path.read_text("utf-8"):
                click.echo(f"{begin_timeline(name)}: an empty timeline")
            load_and_tell(name)
    context.invoke(run, pack=params / f"{name}.yaml", outputs=Path("outputs"), fail_on=())


def _must_be_of(pack: Path, name: str) -> None:
    """Refuse a file that is there already and is no pack of this dataset."""
    from mctlib.contract import ParameterError
    from mctlib.runner.pack import read_yaml

    if (found := read_yaml(pack).get("dataset", "demo")) != name:
        raise ParameterError(f"{pack} is there already, of the dataset {found}; take another name.")


def _ask(path: Path) -> None:
    """Put the open questions of a drafted data YAML to whoever sits at the terminal."""
    from mctlib.sources.draft import answered

    if sys.stdin.isatty():
        text = path.read_text("utf-8")
        path.write_text(answered(text, click.prompt), "utf-8")


main.add_command(load)
main.add_command(forget)
main.add_command(check)
main.add_command(new)
main.add_command(alerts)
main.add_command(timeline)

if __name__ == "__main__":
    main(prog_name="python -m mctlib")
