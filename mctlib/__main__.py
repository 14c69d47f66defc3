"""The commands: `python -m mctlib run params/weekly.yaml`.

Exit codes: 0 good, 1 a notebook failed, 2 wrong parameters or data or no room (one line a
mistake on stderr, nothing was published), 130 stopped by Ctrl-C or a scheduler.
"""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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
            click.echo("Stopped; nothing was published.", err=True)
            raise click.exceptions.Exit(130) from None
        for line in sentence.splitlines():  # one a mistake
            click.echo(f"Error: {line}", err=True)
        raise click.exceptions.Exit(2)


@click.group(
    cls=_Sentences,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Micro-conversion analyses as notebooks: check, run and publish them."""
    from mctlib.eventlog.build import remove_leftovers
    from mctlib.eventlog.pseudonyms import checkout

    # what a killed command staged is personal data
    if root := checkout():
        remove_leftovers(root / "outputs" / "store")


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
    for report in record.notebooks:
        said = f"FAILED - {report.error}"
        if report.finding and not report.error:
            said = report.finding["finding"]
        line = f"{report.name}: {said}"
        click.echo(textwrap.fill(line, 100, subsequent_indent="    ", break_on_hyphens=False))
    click.echo(f"\n{record.folder}/index.html")
    sys.exit(0 if record.status == "good" else 1)


@main.command()
@click.argument("what")
def check(what: str) -> None:
    """Check a PACK (a file) or a DATASET (a name or file) without starting a notebook."""
    if not what.endswith((".yaml", ".yml")) or Path(what).name.startswith("data."):
        _load(what)
        return
    from mctlib.runner.pack import check_pack

    pack, _, reports = check_pack(what)
    names = ", ".join(report.name for report in reports)
    click.echo(f"{what} is good: {names} on {pack.dataset} as of {pack.as_of}.")


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

    _say(forget(dataset, file).load)


def _load(dataset: str, fresh: bool = False) -> None:
    """Load a dataset and say what became of every row."""
    from mctlib.sources.dataset import open_log

    _say(open_log(dataset, fresh=fresh).load)


def _say(report: dict[str, Any]) -> None:
    for table, rows in report["tables"].items():
        if rows["n_read"]:
            line = f"{table:<10} {rows['n_read']:>12,} rows read = {rows['n_kept']:,} kept"
            for reason, n in rows["n_rejected"].items():
                line += f" + {n:,} rejected ({reason})"
            click.echo(line)
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
    path.write_text(draft(name, list(files)), "utf-8")
    click.echo(f"{path} is drafted. Read it, correct it, then: python -m mctlib load {name}")


if __name__ == "__main__":
    main(prog_name="python -m mctlib")
