"""Messages on their way: by mail, to Slack, Teams or a webhook; never twice, none lost."""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mctlib.alerts import acts, messages
from mctlib.alerts.deadline import within
from mctlib.alerts.messages import (
    BACK,
    LEVEL,
    NEWS,
    STILL,
    Item,
    Message,
    drift_of,
    item_of,
    message_of,
)
from mctlib.scorecard.narrative_first import WAITING
from mctlib.tracking_plan.plan import Role, in_words

TRIES, PAUSE, TIMEOUT = 3, 1.0, 10.0  # of one message: times, seconds between them, and of each
LONG = 60.0  # seconds for a mail, whose pages may be large
AGAIN = (408, 425, 429)  # answers below 500 that may be other the next time
FORMS = {"slack": messages.as_slack, "teams": messages.as_teams}
HOSTS = {
    "slack": r"^hooks\.slack(-gov)?\.com$",
    "teams": r"\.(webhook\.office\.com|logic\.azure\.com|powerplatform\.com)$",
}


class Undelivered(Exception):
    """A message that did not arrive, and why: without its address, which is a secret."""


@dataclass
class Delivered:
    """What a run did: sentences, how many alerts nobody was told of, how many messages wait."""

    notes: list[str] = field(default_factory=list)
    n_new: int = 0
    n_undelivered: int = 0


@dataclass(frozen=True)
class Post:
    """Where a run's messages go, and what is known of it.

    targets: role -> name of an environment variable · about: the run in words · week: first day of
    its newest week, as text · roles: of the plan, with their labels and teams.
    """

    dataset: str
    targets: Mapping[str, str]
    link: str
    about: str
    week: str
    roles: Mapping[str, Role] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Of acts and deliveries."""
        return acts.file_of(self.dataset)

    @property
    def held(self) -> Path:
        """Folder of messages that did not arrive."""
        return acts.held()


def deliver(
    post: Post,
    alerts: pd.DataFrame,
    reasons: pd.DataFrame,
    *,
    drift: pd.DataFrame | None = None,
    picture: bytes = b"",
) -> Delivered:
    """Send what is held from earlier runs, then what is due: one message a role.

    Of an alert hears the role that acts, and roles whose team owns the number. ``drift``
    (`Scorecard.drift`) is told below what is due, never alone. What was sent is written down at
    once, a message each, so that a kill in between repeats at most one.
    """
    unheard = alerts[alerts["news"] & ~alerts["role"].isin(list(post.targets))]
    done, new = Delivered(), set(unheard["alert_id"])
    with acts.alone():
        _send_held(post, done)
        taken = _taken(post)
        for role in post.targets:
            mine = alerts[_heard(post, role, alerts)]
            told = due(mine, role, taken, post.week)
            new |= {alert["alert_id"] for alert, what in told if what == NEWS}
            items = [item_of(alert, reasons, what) for alert, what in told]
            if items and drift is not None:
                notes = map(drift_of, drift[_heard(post, role, drift)].to_dict("records"))
                items += [note for note in notes if (role, *_key(post, note)) not in taken]
            if items:
                who = post.roles.get(role, Role()).label or in_words(role)
                has_to = any(alert["role"] == role for alert, _ in told)
                about = (post.link, post.about, post.dataset)
                message = message_of(who, items, *about, acts=has_to)
                _send(post, role, message, done, picture=picture)
    done.n_new = len(new)
    done.notes += [
        f"Nobody is told of new alerts for {role}: the pack names no target."
        for role in sorted(set(unheard["role"]))
    ]
    return done


def _heard(post: Post, role: str, table: pd.DataFrame) -> pd.Series:
    """Which rows concern a role: it acts, or its team owns the number."""
    team = post.roles.get(role, Role()).team.casefold()
    return (table["role"] == role) | (
        (table["owner"].astype(str).str.casefold() == team) & (team != "")
    )


def due(
    alerts: pd.DataFrame, role: str, taken: set[tuple[str, str, str, str]], week: str
) -> list[tuple[dict[str, Any], str]]:
    """What a role has not been told: new alerts, recovered ones once, weekly what is still open.

    New is what nobody was told of: this week's, and what nobody acted on, however long it is open.
    Of what was over and is open again nothing is said in its first week.
    """
    found = []
    for alert in alerts.to_dict("records"):
        name = alert["alert_id"]
        told = {each[2] for each in taken if each[:2] == (role, name)}
        if alert["state"] in (BACK, LEVEL):
            if told & {NEWS, STILL} and not told & {BACK, LEVEL}:
                found.append((alert, alert["state"]))
        elif alert["state"] in WAITING and alert["again_on"] != pd.Timestamp(week):
            unseen = (alert["state"] == NEWS or alert["news"]) and pd.isna(alert["again_on"])
            if unseen and not told:
                found.append((alert, NEWS))
            elif (role, name, STILL, week) not in taken and (role, name, NEWS, week) not in taken:
                found.append((alert, STILL))
    return found


def _taken(post: Post) -> set[tuple[str, str, str, str]]:
    """(role, alert, what, week) of messages that were sent or are on hold."""
    table = acts.read(post.file)
    sent = table[table["act"] == acts.SENT]
    found = set(zip(sent["role"], sent["alert_id"], sent["what"], sent["week"]))
    for path in _held(post):
        with_role = _read_held(path)
        if with_role:
            role, message = with_role
            found |= {(role, *_key(post, item)) for item in message.items}
    return found


def _key(post: Post, item: Item) -> tuple[str, str, str]:
    """What is never said twice: an alert, what is said of it, and its week."""
    return item.alert_id, item.what, post.week


def _held(post: Post) -> list[Path]:
    return sorted(post.held.glob(f"{post.dataset}.*.json"))


def _read_held(path: Path) -> tuple[str, Message] | None:
    role = path.name.split(".")[-3] if path.name.count(".") > 2 else ""
    try:
        return role, Message.from_json(path.read_text("utf-8"))
    except (ValueError, KeyError, TypeError, OSError):
        return None


def _send_held(post: Post, done: Delivered) -> None:
    for path in _held(post):
        held = _read_held(path)
        if held is None:
            done.notes.append(f"{path} is no message of ours; it is left there.")
        elif held[0] in post.targets:
            _send(post, *held, done, held=path)
        else:
            done.n_undelivered += 1
            done.notes.append(f"{path} waits: the pack names no target for {held[0]}.")


def _send(
    post: Post,
    role: str,
    message: Message,
    done: Delivered,
    *,
    held: Path | None = None,
    picture: bytes = b"",
) -> None:
    """Send a message; write down that it was sent, or hold it for the next run."""
    variable = post.targets[role]
    try:
        send(variable, message, picture)
    except Undelivered as error:
        done.n_undelivered += 1
        done.notes.append(f"The message to {message.role} was not delivered: {error}")
        if held is None:
            _hold(post, role, message)
        return
    day = time.strftime("%Y-%m-%d", time.gmtime())
    keys = [_key(post, item) for item in message.items]
    acts.append(
        post.file,
        [
            {
                "alert_id": name,
                "day": day,
                "act": acts.SENT,
                "role": role,
                "what": what,
                "week": week,
            }
            for name, what, week in keys
        ],
    )
    if held:
        held.unlink()
    done.notes.append(f"{message.role} was told of {len(message.items)} by {variable}.")


def _hold(post: Post, role: str, message: Message) -> None:
    post.held.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=post.held, delete=False, encoding="utf-8") as file:
        file.write(message.to_json())
        os.fsync(file.fileno())
    Path(file.name).replace(post.held / f"{post.dataset}.{post.week}.{role}.{time.time_ns()}.json")


def send(variable: str, message: Message, picture: bytes = b"") -> None:
    """Send a message to the address in an environment variable. Raises Undelivered."""
    address = os.environ.get(variable, "").strip()
    if not address:
        raise Undelivered(f"the environment variable {variable} is not set")
    kind, url = kind_of(address)
    if kind == "apprise":
        _tried(lambda: _notify(variable, url, message, picture))
    else:
        form = FORMS.get(kind, lambda m: json.loads(m.to_json()) | {"text": m.text})
        _tried(lambda: _post(variable, url, form(message)))


def _tried(call: Callable[[], None]) -> None:
    """Try it some times. Raises Undelivered."""
    for attempt in range(TRIES):
        try:
            call()
            return
        except _Later as error:
            if attempt == TRIES - 1:
                raise Undelivered(f"{error}, {TRIES} times") from None
            time.sleep(PAUSE * 2**attempt)


def kind_of(address: str) -> tuple[str, str]:
    """slack, teams, webhook or apprise, and its address; "slack+https://..." says it outright."""
    told = re.match(r"(slack|teams|webhook)\+(https?://.*)", address, re.S)
    if told:
        return told[1], told[2]
    host = re.match(r"https?://(?:[^/@]*@)?([^/:?#]+)", address)
    if not host:
        return "apprise", address
    found = (kind for kind, pattern in HOSTS.items() if re.search(pattern, host[1]))
    return next(found, "webhook"), address


class _Later(Exception):
    """A fault that may be gone the next time."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """A message goes where it was addressed to, nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _post(variable: str, url: str, content: dict[str, Any]) -> None:
    body = json.dumps(content, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "mctlib"}
    try:
        request = urllib.request.Request(url, body, headers, method="POST")
        opener = urllib.request.build_opener(_Stay)
        within(TIMEOUT, lambda: opener.open(request, timeout=TIMEOUT).close())
    except urllib.error.HTTPError as error:
        said = f"the server of {variable} answered {error.code}"
        if error.code >= 500 or error.code in AGAIN:
            raise _Later(said) from None
        raise Undelivered(said) from None
    except (
        OSError,
        ValueError,
        http.client.HTTPException,
    ) as error:  # refused, timed out, half an answer, no address
        kind = type(getattr(error, "reason", error)).__name__
        raise _Later(f"the server of {variable} could not be reached ({kind})") from None


def _notify(variable: str, url: str, message: Message, picture: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder, "weeks.png")
        if picture:
            shown.write_bytes(picture)
        body = messages.as_mail(message, shown.name if picture else "")
        notify(variable, url, message.subject, body, [shown] if picture else [])


def notify(variable: str, url: str, title: str, body: str, files: list[Path]) -> None:
    """By apprise, which says why in its log alone, where an address would stand.

    Raises Undelivered.
    """
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    sender = apprise.Apprise()
    if not sender.add(url):
        raise Undelivered(f"{variable} holds no address that apprise knows")
    if (n := sum(map(len, sender))) > 1:  # one would get it again while another is refused
        raise Undelivered(f"{variable} names {n} recipients; give each a variable of its own")
    attached = [str(path) for path in files] or None
    form = apprise.NotifyFormat.HTML
    sent: list[Any] = []
    asked: dict[str, Any] = {"title": title, "body": body, "body_format": form, "attach": attached}
    try:
        within(LONG, lambda: sent.append(sender.notify(**asked)))
    except TimeoutError:
        raise _Later(f"the server of {variable} came to no end in {LONG:.0f} s") from None
    if not any(sent):
        raise _Later(f"apprise could not deliver to {variable}")


def mail_pages(variable: str, title: str, body: str, files: list[Path]) -> None:
    """Send a run's pages. Raises Undelivered."""
    address = os.environ.get(variable, "").strip()
    if not address:
        raise Undelivered(f"the environment variable {variable} is not set")
    _tried(lambda: notify(variable, address, title, body, files))
