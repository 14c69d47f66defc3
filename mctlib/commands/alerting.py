"""`alerts` and `timeline`: what people do about alerts, daily looks, rows of the timeline."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

ID = r".+-(loss|fall|rise)(-.+)?-\d{4}-\d{2}-\d{2}"
BEAT = 10.0  # seconds for a heartbeat
FAILS = {"alerts": 3, "undelivered": 4}

fail_on = click.option(
    "--fail-on",
    type=click.Choice(list(FAILS)),
    multiple=True,
    help="End with 3 where alerts are new, with 4 where a message did not arrive.",
)


def code_of(fail_on: Sequence[str], n_alerts: int, n_undelivered: int) -> int:
    """The exit code of a good run: what did not arrive is worse than what is new."""
    if n_undelivered and "undelivered" in fail_on:
        return FAILS["undelivered"]
    return FAILS["alerts"] if n_alerts and "alerts" in fail_on else 0


def beat(variable: str) -> None:
    """Call the URL in an environment variable, so that somebody notices a run that did not come."""
    import os
    import urllib.request
    from http.client import HTTPException

    from mctlib.alerts.deadline import within

    url = os.environ.get(variable, "")
    try:
        if not url.startswith(("https://", "http://")):
            raise ValueError
        within(BEAT, lambda: urllib.request.urlopen(url, timeout=BEAT).close())
    except (OSError, ValueError, HTTPException):
        click.echo(f"Note: the heartbeat ({variable}) could not be called.", err=True)


@click.group()
def alerts() -> None:
    """Alerts of a scorecard: say what you do about one, look every day, try an address."""


def _act(act: str, dataset: str, alert: str, by: str, until: str = "") -> None:
    """Write an act down, of an alert that is known."""
    from mctlib.alerts import acts
    from mctlib.contract import ParameterError, nearest

    known, n_runs = _known(dataset)
    if alert not in known:
        none = "its runs showed none" if n_runs else "it has no run yet"
        newest = sorted(known, key=lambda name: name[-10:], reverse=True)
        listed = f" Known are: {', '.join(newest)}." if known else f" No alert is known: {none}."
        listed = nearest(alert, known) or listed
        raise ParameterError(f'alert: there is no "{alert}" of {dataset}.{listed}')
    day = time.strftime("%Y-%m-%d", time.gmtime())
    row = {"alert_id": alert, "day": day, "act": act, "until": until, "by": by}
    notes = list(_notes(row, known[alert], acts.acts_of(dataset)))
    acts.append(acts.file_of(dataset), [row])
    click.echo(f"{alert}: {act}{until and f' until {until}'}, written to {acts.file_of(dataset)}")
    for note in notes:
        click.echo(f"Note: {note}.", err=True)


def _notes(row: dict[str, str], shown: dict[str, Any], before: Any) -> Iterator[str]:
    """What is to be known of an act: how its alert stood, and why it may count for nothing.

    shown: the alert in the newest run, {} where none showed it · before: all acts so far.
    """
    import pandas as pd

    from mctlib.scorecard.states import ACTS, as_days

    act, day = row["act"], row["day"]
    # what came again drops what was said before, but for a snooze
    later = [shown.get(name) for name in ("acted_on", "again_on")[: 1 if act == "snooze" else 2]]
    opens = "; this opens it again" if act != "close" else ""
    if shown:
        ends = dict.fromkeys(("recovered", "new level"), ", which acts do not change")
        ends["closed"] = opens
        stood = shown["state"]
        yield f"in the run of {shown['as_of']} it was {stood}{ends.get(stood, '')}"
    yield from _of_the_clock(row, shown.get("as_of", ""))
    mine = before[(before["alert_id"] == row["alert_id"]) & before["act"].isin(list(ACTS))]
    mine = mine.assign(day=as_days(mine["day"], "acts: day")).dropna(subset=["day"])
    for last in mine.tail(1).to_dict("records"):
        by = f" by {last['by']}" if last["by"] else ""
        again = opens if last["act"] == "close" and shown.get("state") != "closed" else ""
        already = " already" if last["act"] == act else ""
        yield f"it was {ACTS[last['act']]}{already} on {last['day']:%Y-%m-%d}{by}{again}"
        later.append(mine["day"].max())
    newest = max(filter(pd.notna, later), default=pd.NaT)
    if newest > pd.Timestamp(day):
        yield (
            f"this act is of {day}, this machine's day, and counts for nothing: something later is "
            f"known of it, of {newest:%Y-%m-%d}"
        )


def _of_the_clock(row: dict[str, str], as_of: str) -> Iterator[str]:
    """Whether an act, or a snooze's end, lies in another time than the newest run's data.

    as_of: of the run that showed the alert, "" where none did: then of this day.
    """
    import pandas as pd

    if not as_of:
        if row["until"] == row["day"]:
            yield f"a snooze until {row['until']} is over on this day already"
        return
    until = pd.Timestamp(as_of[:10]) + pd.Timedelta("1D")  # a run reads the acts so far
    data = f"the data of the newest run end on {as_of}"
    if pd.Timestamp(row["day"]) > until:
        yield f"{data}; it counts once they reach {row['day']}, this machine's day"
    if row["until"] and pd.Timestamp(row["until"]) <= until:
        yield f"{data}; a snooze until {row['until']} is over there"


def _known(dataset: str) -> tuple[dict[str, dict[str, Any]], int]:
    """Alerts that runs on a dataset showed, or that were told; how many runs there are.

    With how each stood in the newest run (state, as_of), by its weeks, the acts and the response
    log until then, and the days on which something was done or it came again (acted_on, again_on).
    """
    import pandas as pd

    from mctlib.alerts.acts import acts_of
    from mctlib.runner.publish import runs_of
    from mctlib.sources.dataset import described_as
    from mctlib.sources.project import project_root

    described_as(dataset)  # a name that is none is said
    found: dict[str, dict[str, Any]] = {name: {} for name in acts_of(dataset)["alert_id"]}
    days = dict.fromkeys(("acted_on", "again_on"), "datetime64[ns]")
    outputs = project_root() / "outputs"
    homes = sorted(outputs.iterdir()) if outputs.is_dir() else []
    runs = [run for home in homes for run in runs_of(home)[0] if run.dataset == dataset]
    for run in sorted(runs, key=lambda run: run.as_of):
        for table in Path(run.folder).glob("tables/*/alerts.parquet"):
            rows = pd.read_parquet(table).reindex(columns=["alert_id", "state", *days])
            for alert in rows.astype(days).to_dict("records"):
                found[str(alert.pop("alert_id"))] = alert | {"as_of": run.as_of}
    return {name: said for name, said in found.items() if re.fullmatch(ID, name)}, len(runs)


BY = click.option("--by", default="", help="Who says so.")


@alerts.command()
@click.argument("dataset")
@click.argument("alert")
@BY
def ack(dataset: str, alert: str, by: str) -> None:
    """Say that somebody looks at an ALERT of a DATASET."""
    _act("ack", dataset, alert, by)


@alerts.command()
@click.argument("dataset")
@click.argument("alert")
@click.option("--until", required=True, help="Day from which messages come again: 2026-07-31.")
@BY
def snooze(dataset: str, alert: str, until: str, by: str) -> None:
    """Hear nothing of an ALERT of a DATASET until a day; it is evaluated all the same."""
    from mctlib.contract import ParameterError, as_timestamp

    day = f"{as_timestamp(until, 'until'):%Y-%m-%d}"
    if day < time.strftime("%Y-%m-%d", time.gmtime()):
        raise ParameterError(f"until: {day} is in the past; write a day that is to come.")
    _act("snooze", dataset, alert, by, day)


@alerts.command()
@click.argument("dataset")
@click.argument("alert")
@BY
def close(dataset: str, alert: str, by: str) -> None:
    """Close an ALERT of a DATASET: nothing more is to be done about it."""
    _act("close", dataset, alert, by)


@alerts.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.argument("role")
def test(pack: Path, role: str) -> None:
    """Send a sample to the ROLE of a PACK; exit code 4 where it does not arrive."""
    from mctlib.alerts.delivery import Undelivered, send
    from mctlib.alerts.messages import sample
    from mctlib.contract import ParameterError, nearest
    from mctlib.runner.pack import check_pack

    targets = check_pack(pack)[0].alerts
    if role not in targets:
        near = nearest(role, targets) or f" It names {', '.join(targets) or 'none'}."
        raise ParameterError(f'{pack}: alerts name no role "{role}".{near}')
    try:
        send(targets[role], sample(role))
    except Undelivered as error:
        click.echo(f"Not delivered: {error}.", err=True)
        sys.exit(FAILS["undelivered"])
    click.echo(f"A sample was sent to {role}, by {targets[role]}.")


@alerts.command("check")
@click.argument("pack", type=click.Path(path_type=Path))
@fail_on
def look(pack: Path, fail_on: tuple[str, ...]) -> None:
    """Look at the last seven days of a PACK's dataset: only large falls, every day."""
    from mctlib.alerts.sending import look_today
    from mctlib.contract import ParameterError
    from mctlib.runner.pack import check_pack, newer

    checked, log, reports = check_pack(pack)
    if newest := newer(checked, log):
        raise ParameterError(
            f"{pack}: as_of is {checked.as_of}, and the data go on to {newest}; a daily look is of "
            "the newest day: leave as_of out, or write latest."
        )
    card = next((report for report in reports if "scorecard" in report.notebook), None)
    by = card.parameters.get("by") if card else "channel"
    page = f"{pack.stem}/latest/{card.name if card else 'index'}.html"
    asked: dict[str, Any] = {"targets": checked.alerts, "base_url": checked.base_url}
    found, done = look_today(log, as_of=checked.as_of, by=by or None, page=page, **asked)
    click.echo(found)
    for note in done.notes:
        click.echo(f"Note: {note}", err=True)
    sys.exit(code_of(fail_on, done.n_new, done.n_undelivered))


@click.group()
def timeline() -> None:
    """The timeline of a dataset: what competitors and you did, and when."""


@timeline.command()
@click.argument("dataset")
@click.argument("day")
@click.argument("kind")
@click.argument("label")
@click.option("--micro-conversions", default="", help="Whom it concerns, by name: a, b")
@click.option("--note", default="", help="What else is to be said.")
def add(dataset: str, **row: str) -> None:
    """Write a row into the timeline's CSV of a DATASET: DAY KIND LABEL.

    KIND: competitor, release, campaign, intervention, outage, incident or holiday.
    """
    from mctlib.sources.timeline import add_entry

    click.echo(f"{add_entry(dataset, row)}: {row['day']} {row['kind']} {row['label']}")
