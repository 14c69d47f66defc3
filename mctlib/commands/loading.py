"""`load` and `forget`: what becomes of every row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mctlib.eventlog.event_log import EventLog

MOST_EVENTS = 40  # that a load names, those that happened most


@click.command()
@click.argument("dataset")
@click.option(
    "--fresh", is_flag=True, help="Load again even if nothing changed; ask every query again."
)
def load(dataset: str, fresh: bool) -> None:
    """Load a DATASET (its name or params/data.<name>.yaml) and say what became of every row."""
    load_and_tell(dataset, fresh)


@click.command()
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


def load_and_tell(dataset: str, fresh: bool = False) -> None:
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
    events = report["n_events"]
    names = ", ".join(f"{name} {n:,}" for name, n in [*events.items()][:MOST_EVENTS])
    more = f" and {len(events) - MOST_EVENTS:,} more" if len(events) > MOST_EVENTS else ""
    click.echo(f"Events: {names}{more}")
    click.echo(f"{report['first_event'][:16]} to {report['last_event'][:16]} UTC")
