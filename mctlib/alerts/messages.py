"""One message a role and run: its words, and the forms of mail, Slack, Teams and webhooks."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import pandas as pd

from mctlib.headlines import TIGHT
from mctlib.phrases import called
from mctlib.scorecard.narrative_first import (
    MINUS,
    drifts,
    ended,
    moved,
    question,
    standing,
    top_reason,
)
from mctlib.tracking_plan.plan import in_words

SLACK_BLOCKS, SLACK_TEXT, SLACK_HEADER = 50, 2900, 150
TEAMS_BYTES = 27_000  # of 28 KB that are taken
ACT, DONE, NOTE = "\u25b2", "\u25cf", "\u25cb"
SENT_ONCE = ", sent once."  # in a foot, after what it is about
NEWS, STILL, BACK, LEVEL = "open", "still open", "recovered", "new level"  # what an item says
DRIFTS = "drifts"  # of one that stands last in a digest, and is no message of its own
# of a message by what its first item says: words before it in a mail, a mail's edge, a card's style
LOOKS = {
    NEWS: ("New alert", "#d55e00", "warning"),
    STILL: ("Still open", "#626e7a", "emphasis"),
    BACK: ("Back", "#0b5c96", "good"),
    LEVEL: ("A new level", "#0b5c96", "emphasis"),
}
QUIET = 'style="color:#525e6b;font-size:14px"'
CHAT_MARKS = re.compile(r"([\\`*_\[\]~|])")


@dataclass(frozen=True)
class Item:
    """An alert in a message: its finding, its number, what else is known."""

    alert_id: str
    what: str
    title: str
    number: str = ""
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Message:
    """What one role is told by one run."""

    role: str
    subject: str
    items: tuple[Item, ...]
    link: str
    foot: str

    @property
    def head(self) -> str:
        """Its first line where it is a card."""
        first, n = self.items[0], n_alerts(self.items)
        if first.what == STILL and n > 1:
            return f"Still open: {n}"
        return f"{mark(first)} {first.title}{f' and {n - 1} more' if n > 1 else ''}"

    def titled(self) -> Iterator[tuple[Item, str]]:
        """Items, and the title of each that the head does not say."""
        for i, item in enumerate(self.items):
            said = i == 0 and item.title in self.head
            yield item, "" if said else f"{mark(item)} {item.title}"

    @property
    def text(self) -> str:
        """Plain words, the whole of it."""
        lines = [self.subject]
        for item in self.items:
            lines += ["", f"{mark(item)} {item.title}", *([item.number] if item.number else [])]
            lines += [f"{name}: {value}" for name, value in item.facts]
        return "\n".join([*lines, "", *([self.link] if self.link else []), self.foot])

    def to_json(self) -> str:
        """As it is kept while it could not be delivered."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Message:
        """As `to_json` wrote it. Raises ValueError, KeyError or TypeError: it did not."""
        told = json.loads(text)
        items = [
            Item(**{**item, "facts": tuple(map(tuple, item["facts"]))}) for item in told["items"]
        ]
        return cls(**{**told, "items": tuple(items)})


def n_alerts(items: Sequence[Item]) -> int:
    """How many of them are alerts: what drifts is none."""
    return sum(item.what != DRIFTS for item in items)


def mark(item: Item) -> str:
    """The sign of what is told."""
    return {BACK: DONE, LEVEL: DONE, DRIFTS: NOTE}.get(item.what, ACT)


def item_of(alert: dict[str, Any], reasons: pd.DataFrame, what: str) -> Item:
    """An alert in words."""
    if what in (BACK, LEVEL):
        return Item(alert["alert_id"], what, f"{ended(alert)}, after {alert['age_days']:.0f} days")
    if what == STILL:
        title = f"{moved(alert)}, {standing(alert)}"
        return Item(alert["alert_id"], what, title)
    facts = [("Tracking", _tracking(alert))] if alert["metric"] != "everything" else []
    if alert["coincides"]:
        facts.append(("Coincides with", f"{alert['coincides']}{_study(alert)}"))
    if alert["cause"] == "mix":
        size = f"{_signed(alert['mix_change'])}{TIGHT}%"
        facts.append(("Mix", f"who the users are would alone have made {size}"))
    if ask := question(alert):
        said = top_reason(reasons, alert["alert_id"])
        facts.append(("Users say", said) if said else ("Ask users", ask))
    facts.append(("Who", str(alert["who"])))
    if alert["owner"]:
        facts.append(("Owner", in_words(alert["owner"])))
    return Item(alert["alert_id"], what, moved(alert), _number(alert), tuple(facts))


def drift_of(row: dict[str, Any]) -> Item:
    """A number that drifts, in words."""
    return Item(f"{row['metric']}-drift-{row['week']:%Y-%m-%d}", DRIFTS, f"{drifts(row)}, no alert")


def _tracking(alert: Mapping[str, Any]) -> str:
    if alert["kind"] == "loss":
        platform = alert["platform"]
        return f"events get lost on {called(platform)}"
    if not alert["n_cells"]:
        return "not checked: no server records to judge it by"
    return "complete, as far as the server knows: this is behaviour"


def _study(alert: Mapping[str, Any]) -> str:
    if not alert["n_controls"] or pd.isna(alert["study_change"]):
        return ""
    low, high = (_signed(alert[f"study_change_ci_{end}"]) for end in ("lower", "upper"))
    return (
        f"; against {alert['n_controls']:.0f} numbers that it cannot touch "
        f"{_signed(alert['study_change'])}{TIGHT}% ({low} to {high})"
    )


def _signed(share: float) -> str:
    """A relative change in per cent: "+12", with a true minus where it is less."""
    return f"{100 * share:+.0f}".replace("-", MINUS)


def _number(alert: Mapping[str, Any]) -> str:
    if pd.isna(alert["value"]):
        return ""
    per_cent = alert["unit"] == "%"
    now, before = (100 * alert[c] if per_cent else alert[c] for c in ("value", "p0"))
    unit = f"{TIGHT}{alert['unit']}" if alert["unit"] else ""
    if alert["kind"] == "loss":
        recorded = "of what the server knows was recorded in the newest week"
        return f"{now:.1f}{unit} {recorded}, instead of {before:.1f}{unit}."
    low, high = (alert[f"rel_change_ci_{end}"] for end in ("lower", "upper"))
    ends = "" if pd.isna(low) else f" (change of {_signed(low)} to {_signed(high)}{TIGHT}%)"
    return f"{now:.1f}{unit} instead of {before:.1f}{unit}{ends}."


def message_of(
    role: str,
    items: Sequence[Item],
    link: str,
    about: str,
    dataset: str,
    *,
    acts_on: Container[str],
) -> Message:
    """All that a role is told by a run: the new first, of this that on which it acts.

    acts_on: ids of alerts on which the role acts; of others it only owns the numbers.
    """
    order = {NEWS: 0, BACK: 1, LEVEL: 1, STILL: 2, DRIFTS: 3}
    items = sorted(items, key=lambda item: (order[item.what], item.alert_id not in acts_on))
    first, n = items[0], n_alerts(items) - 1
    acts = first.alert_id in acts_on
    more = f" and {n} more" if n else ""
    new = "[act] " if acts else "[yours] "
    prefix = {NEWS: new, STILL: "[open] ", BACK: "[back] ", LEVEL: "[new level] "}[first.what]
    foot = f"{about}{SENT_ONCE} {', '.join(item.alert_id for item in items[:5])}."
    if first.what == NEWS and acts:
        foot += f" Seen it? python -m mctlib alerts ack {dataset} {first.alert_id}"
    return Message(role, f"{prefix}{first.title}{more} \u00b7 {role}", tuple(items), link, foot)


def without(
    message: Message, quiet: Container[str], dataset: str, *, acts_on: Container[str]
) -> Message | None:
    """A message that was held, without the alerts of which nobody wants to hear any more."""
    items = [item for item in message.items if item.alert_id not in quiet]
    if len(items) == len(message.items):
        return message
    if not n_alerts(items):
        return None
    about = message.foot.partition(SENT_ONCE)[0]
    return message_of(message.role, items, message.link, about, dataset, acts_on=acts_on)


def sample(role: str) -> Message:
    """What `alerts test` sends."""
    facts = (("Tracking", "complete"), ("Who", role))
    item = Item(
        "sample", NEWS, "This is a sample: nothing fell", "12.6 % instead of 12.6 %.", facts
    )
    return Message(role, f"[test] A sample for {role}", (item,), "", "Sent by alerts test.")


# ----------------------------------------------------------------------------------------- forms


def cut(text: str, most: int) -> str:
    """A text of at most so many signs."""
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def as_slack(message: Message) -> dict[str, Any]:
    """Blocks, at most 50, each as long as Slack takes it."""

    def plain(text: str) -> str:
        return cut(html.escape(text, quote=False), SLACK_TEXT)

    head = {"type": "plain_text", "text": cut(message.head, SLACK_HEADER)}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": head}]
    end: list[dict[str, Any]] = []
    if message.link:
        button = {"type": "plain_text", "text": "Open the scorecard"}
        element = {"type": "button", "style": "primary", "text": button, "url": message.link}
        end.append({"type": "actions", "elements": [element]})
    foot = {"type": "mrkdwn", "text": plain(message.foot)}
    end.append({"type": "context", "elements": [foot]})
    for i, (item, title) in enumerate(message.titled()):
        text = f"{f'*{plain(title)}*' if title else ''}\n{plain(item.number)}".strip()
        block: dict[str, Any] = {"type": "section"}
        if text:
            block["text"] = {"type": "mrkdwn", "text": cut(text, SLACK_TEXT)}
        if item.facts:
            block["fields"] = [
                {"type": "mrkdwn", "text": cut(f"*{name}*\n{plain(value)}", 1900)}
                for name, value in item.facts[:10]
            ]
        if len(blocks) + len(end) + 2 > SLACK_BLOCKS:
            more = f"and {len(message.items) - i} more"
            blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": more}})
            break
        if len(block) > 1:
            blocks.append(block)
    short = f"{message.head}. {message.items[0].number} For: {message.role}."
    return {"text": plain(short), "blocks": [*blocks, *end]}


def as_teams(message: Message) -> dict[str, Any]:
    """An Adaptive Card 1.4 of less than 28 KB."""
    n = len(message.items)
    card = _card(message, n)
    while n and len(json.dumps(card, ensure_ascii=False).encode()) > TEAMS_BYTES:
        n = n * 3 // 4
        card = _card(message, n)
    return card


def _card(message: Message, n: int) -> dict[str, Any]:
    def block(text: str, **more: Any) -> dict[str, Any]:
        # what a label holds is no markup
        words = CHAT_MARKS.sub(r"\\\1", cut(text, 2000))
        return {"type": "TextBlock", "text": words, "wrap": True, **more}

    title = block(message.head, size="Large", weight="Bolder")
    style = LOOKS[message.items[0].what][2]
    body: list[dict[str, Any]] = [
        {"type": "Container", "style": style, "bleed": True, "items": [title]}
    ]
    for item, words in islice(message.titled(), n):
        if words:
            body.append(block(words, weight="Bolder"))
        if item.number:
            body.append(block(item.number))
        facts = [{"title": name, "value": cut(value, 1000)} for name, value in item.facts]
        if facts:
            body.append({"type": "FactSet", "facts": facts})
    if n < len(message.items):
        body.append(block(f"and {len(message.items) - n} more"))
    body.append(block(message.foot, isSubtle=True, size="Small"))
    content: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "fallbackText": cut(message.subject, 1000),
        "body": body,
    }
    if message.link:
        open_it = {"type": "Action.OpenUrl", "title": "Open the scorecard", "url": message.link}
        content["actions"] = [open_it]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


def as_mail(message: Message, picture: str = "") -> str:
    """HTML for mail programs: plain tables, inline styles, 600 px; a picture by its file's name."""
    first = message.items[0]
    word, edge, _ = LOOKS[first.what]
    cells = [f"<p {QUIET}>{word} \u00b7 for you as <b>{html.escape(message.role)}</b></p>"]
    shown = f'<img src="cid:{picture}" alt="The numbers by week" width="552">' if picture else ""
    for item in message.items:
        size = 24 if item.what == NEWS else 17
        cells.append(
            f'<h1 style="font-size:{size}px;margin:0 0 6px">{html.escape(item.title)}</h1>'
            f'<p style="font-size:17px;margin:0 0 12px">{html.escape(item.number)}</p>'
        )
        if item is first:
            cells.append(shown)
        rows = "".join(
            f'<tr><td {QUIET} valign="top" nowrap>{html.escape(name)}&ensp;</td>'
            f"<td>{html.escape(value)}</td></tr>"
            for name, value in item.facts
        )
        cells.append(f'<table style="font-size:15px">{rows}</table>' if rows else "")
    if message.link:
        button = "background:#0b5c96;color:#ffffff;padding:11px 18px;text-decoration:none"
        link = f'href="{html.escape(message.link, quote=True)}" style="{button}"'
        cells.append(f"<p><a {link}>Open the scorecard</a></p>")
    before = cut(f"{first.number} {'. '.join(value for _, value in first.facts)}", 200)
    return (
        f'<div style="display:none;max-height:0;overflow:hidden">{html.escape(before)}</div>'
        '<table width="600" align="center" style="width:100%;max-width:600px;background:#ffffff;'
        f'color:#1b2430;font-family:sans-serif;font-size:15px;border-top:5px solid {edge}">'
        f'<tr><td style="padding:20px 24px">{"".join(cells)}'
        f"<p {QUIET}>{html.escape(message.foot)}</p></td></tr></table>"
    )
