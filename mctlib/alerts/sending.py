"""From a run to its messages: what its scorecard found, where its pages are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mctlib.alerts import acts
from mctlib.alerts.delivery import Delivered, Post, Undelivered, deliver, mail_pages
from mctlib.alerts.messages import NEWS
from mctlib.eventlog.event_log import EventLog
from mctlib.plots.scorecard import picture_of
from mctlib.scorecard import weekly_scorecard
from mctlib.scorecard.causes import WEEK
from mctlib.scorecard.narrative_first import moved
from mctlib.stats.monitoring import REOPENS
from mctlib.tracking_plan.plan import ROLES, Role
from mctlib.tracking_plan.reading import read_plan

REPORT = "report"
BESIDE = {  # tables that a notebook may leave out, and what is read of them
    "reasons": ["alert_id", "reason", "n_answers", "n_no"],
    "drift": ["metric", "label", "week", "rel_change", "role", "owner"],
}
PRINTS = 120.0  # seconds for a page
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def send_alerts(
    tables: Path,
    *,
    dataset: str,
    pack: str,
    as_of: str,
    targets: Mapping[str, str],
    base: str,
    roles: Mapping[str, Role],
) -> Delivered:
    """Tell the roles of a pack what the scorecard of a run found, by the tables that it shows."""
    alerts = pd.read_parquet(tables / "alerts.parquet")
    if not targets and not any(acts.held().glob(f"{dataset}.*.json")):
        return Delivered(n_new=int(alerts["news"].sum()))
    reasons, drift = (_shown(tables, name) for name in BESIDE)
    weeks = pd.read_parquet(tables / "weeks.parquet")
    post = Post(
        dataset=dataset,
        targets=targets,
        link=f"{base.rstrip('/')}/{pack}/{as_of}/{tables.name}.html" if base else "",
        about=f"{pack}, data up to {as_of}",
        week=f"{weeks['week'].max():%Y-%m-%d}",
        roles=roles,
    )
    return deliver(post, alerts, reasons, drift=drift, picture=picture_of(weeks, alerts))


def _shown(tables: Path, name: str) -> pd.DataFrame:
    path = tables / f"{name}.parquet"
    found = pd.read_parquet(path) if path.is_file() else pd.DataFrame()
    return found.reindex(columns=BESIDE[name])


def look_today(
    log: EventLog,
    *,
    as_of: str,
    by: str | None,
    page: str,
    targets: Mapping[str, str],
    base_url: str,
) -> tuple[str, Delivered]:
    """Judge the seven days up to ``as_of`` by the daily rule, and tell whom it concerns.

    An alert is named by the log's own week in which the seven days end: the weekly run, which sees
    it later, says nothing of it again. What the weekly run found already is left to it. ``page``:
    the pack's newest scorecard, under its base.
    """
    asked: dict[str, Any] = {"as_of": as_of, "by": by, "acts": acts.acts_of(log.name)}
    found = weekly_scorecard(log, **asked, daily=True)
    last = log.as_of(as_of)
    week = pd.Timestamp(log.calendar.last_weeks(last, 1)[1]) + pd.Timedelta("1D")
    if week > pd.Timestamp(last, unit="us").normalize():  # the log's week ends on this very day
        week -= pd.Timedelta("7D")
    new = found.alerts[found.alerts["news"] & found.alerts["kind"].isin(["fall", "rise"])]
    is_asked = len(new) or any(acts.held().glob(f"{log.name}.*.json"))
    weekly = weekly_scorecard(log, **asked).alerts if is_asked else found.alerts
    known = _known(weekly, week)
    new = new[[key not in known for key in zip(new["metric"], new["kind"])]]
    names = [f"{name[:-10]}{week:%Y-%m-%d}" for name in new["alert_id"]]
    reasons = found.reasons.replace({"alert_id": dict(zip(new["alert_id"], names))})
    post = Post(
        dataset=log.name,
        targets=targets,
        link=f"{os.environ[base_url].rstrip('/')}/{page}" if os.environ.get(base_url) else "",
        about=f"{page.partition('/')[0]}, a look at the seven days to {as_of}",
        week=f"{week:%Y-%m-%d}",
        roles=roles_of(log),
    )
    told = new.assign(alert_id=names)
    shown = picture_of(found.weeks, told)
    done = deliver(post, told, reasons, picture=shown, known=weekly)
    if new.empty:
        return f"Nothing new fell by 25 % in the seven days to {as_of}.", done
    return f"{'; '.join(moved(alert) for alert in new.to_dict('records'))}.", done


def roles_of(log: EventLog) -> Mapping[str, Role]:
    """The roles of a log's plan, with their labels and teams."""
    return read_plan(log.plan).roles if log.plan else ROLES


def _known(weekly: pd.DataFrame, week: pd.Timestamp) -> set[tuple[str, str]]:
    """Metric and kind of what the weekly run found before a week: open, or over for 8 weeks."""
    late = weekly["closed_on"].isna() | (weekly["closed_on"] >= week - REOPENS * WEEK)
    told = weekly[late & ((weekly["since"] < week) | (weekly["state"] != NEWS))]
    return set(zip(told["metric"], told["kind"]))


def send_pages(
    folder: Path, *, dataset: str, pack: str, as_of: str, to: str, pages: Sequence[str], kind: str
) -> Delivered:
    """Mail pages of a run, once a day of data, as they are or as PDF.

    They are put among what is undelivered first and leave it when they were sent, so that a later
    run sends those that were not.
    """
    done, name = Delivered(), _name(pack, pages, kind)
    with acts.alone():
        table = acts.read(acts.file_of(dataset))
        mine = (table["alert_id"] == name) & (table["role"] == to) & (table["act"] == acts.SENT)
        sent = set(table.loc[mine, "week"])
        if as_of not in sent:
            place = acts.held() / f"{dataset}.{as_of}.{to}.{name}"
            done.notes += _put(folder, place, pages, kind)
        for day, place in _waiting(_places(dataset, to, name)):
            try:
                if day not in sent:  # else a kill left it there
                    title = f"{pack}: data up to {day}"
                    mail_pages(to, title, "The pages are attached.", sorted(place.iterdir()))
            except Undelivered as error:
                done.n_undelivered += 1
                done.notes.append(f"The pages of {day} were not delivered: {error}")
                continue
            row = {"alert_id": name, "day": time.strftime("%Y-%m-%d", time.gmtime())}
            row |= {"act": acts.SENT, "role": to, "what": REPORT, "week": day}
            acts.append(acts.file_of(dataset), [row])
            shutil.rmtree(place)
    return done


def unasked_pages(pack: str, asked: Iterable[tuple[str, str, Sequence[str], str]]) -> Delivered:
    """Pages that wait, and that this run of a pack does not ask for: told, whosever they are.

    Those of another pack are left to its runs; others nobody sends. asked: dataset, to, pages, kind
    of what it asks for.
    """
    done = Delivered()
    known = [_places(data, to, _name(pack, pages, kind)) for data, to, pages, kind in asked]
    for day, place in _waiting(re.compile(rf".+?\.(\d.+)\.\w+\.{REPORT}-.+")):
        if any(named.fullmatch(place.name) for named in known):
            continue
        owner, is_whole, _ = place.name.partition(f".{REPORT}-")[2].partition("+")
        why = f"the pack does not mail these pages of {day} so."
        if not is_whole:
            why = f"no run sends pages by such a name; mail those of {day} by hand, or remove them."
        elif owner != pack:
            why = f"pages of {day} for a run of the pack “{owner}”."
        done.n_undelivered += not is_whole or owner == pack
        done.notes.append(f"{place} waits: {why}")
    return done


def _name(pack: str, pages: Sequence[str], kind: str) -> str:
    """Of pages as one thing that is sent."""
    return f"{REPORT}-{pack}+{'+'.join(pages)}.{kind}"


def _places(dataset: str, to: str, name: str) -> re.Pattern[str]:
    """Of the folders in which such pages wait, a day of data each."""
    return re.compile(rf"{re.escape(dataset)}\.(.+)\.{to}\.{re.escape(name)}")


def _waiting(named: re.Pattern[str]) -> list[tuple[str, Path]]:
    """Pages that were not sent yet, the oldest day first."""
    places = sorted(acts.held().iterdir()) if acts.held().is_dir() else []
    found = ((named.fullmatch(place.name), place) for place in places)
    return [(told[1], place) for told, place in found if told]


def _put(folder: Path, place: Path, pages: Sequence[str], kind: str) -> list[str]:
    """Copies of pages into a folder that is there when all are; what is to be said about them."""
    notes = []
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as at_work:
        whole = Path(at_work, "pages")
        whole.mkdir()
        for page in pages:
            html = folder / f"{page}.html"
            lack = _as_pdf(html, whole) if kind == "pdf" else ""
            if lack:
                notes.append(f"{lack} of {page}: it is HTML.")
            if lack or kind == "html":
                shutil.copy(html, whole)
        shutil.rmtree(place, ignore_errors=True)  # of a run before, on other data
        whole.rename(place)
    return notes


def _as_pdf(html: Path, place: Path) -> str:
    """Print a page by a browser; why there is no PDF of it, where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return "There is no browser here to make a PDF"
    pdf = place / f"{html.stem}.pdf"
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    command = [browser, "--headless", *root, "--no-pdf-header-footer", f"--print-to-pdf={pdf}"]
    command.append(html.resolve().as_uri())
    try:
        done = subprocess.run(command, capture_output=True, timeout=PRINTS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        done = False
    if done and pdf.is_file():
        return ""
    pdf.unlink(missing_ok=True)  # half of one
    return "The browser made no PDF"
