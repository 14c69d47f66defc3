"""The forms of a message: what Slack and Teams take, what an address is, what is held."""

from __future__ import annotations

import json

import pytest

from mctlib.alerts.delivery import kind_of
from mctlib.alerts.messages import (
    SLACK_BLOCKS,
    TEAMS_BYTES,
    Item,
    Message,
    as_slack,
    as_teams,
    message_of,
)

WEEK = "2026-05-18"


def many(n: int, length: int) -> Message:
    facts = (("Who", "x" * length),) * 12
    items = [Item(f"a-fall-{WEEK}", "open", "t" * length, "n" * length, facts)] * n
    acts_on = {item.alert_id for item in items}
    return message_of("Analyst", items, "https://x.example", "run", "tiny", acts_on=acts_on)


@pytest.mark.parametrize(("n", "length"), [(1, 10), (60, 10), (3, 5_000), (200, 3_000)])
def test_slack_and_teams_get_no_more_than_they_take(n, length):
    message = many(n, length)
    slack = as_slack(message)
    assert len(slack["blocks"]) <= SLACK_BLOCKS
    assert len(slack["blocks"][0]["text"]["text"]) <= 150
    for block in slack["blocks"]:
        assert len(block.get("text", {}).get("text", "")) <= 3_000
        assert len(block.get("fields", [])) <= 10
        assert all(len(field["text"]) <= 2_000 for field in block.get("fields", []))
    assert len(json.dumps(as_teams(message), ensure_ascii=False).encode()) <= TEAMS_BYTES + 1_000


def test_a_message_that_was_held_is_the_same_when_it_is_read():
    message = many(2, 5)
    assert Message.from_json(message.to_json()) == message


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://hooks.slack.com/services/T/B/x", "slack"),
        ("https://org.webhook.office.com/webhookb2/x", "teams"),
        ("https://prod-1.westeurope.logic.azure.com:443/workflows/x", "teams"),
        ("https://hooks.slack.com.evil.example/x", "webhook"),
        ("https://example.com/hooks.slack.com", "webhook"),
        ("slack+http://127.0.0.1/", "slack"),
        ("mailtos://user:pass@example.com", "apprise"),
    ],
)
def test_what_an_address_is_is_told_by_its_host(address, kind):
    assert kind_of(address)[0] == kind
