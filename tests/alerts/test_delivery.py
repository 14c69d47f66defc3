"""Messages to real servers on loopback: what arrives, what is held, nothing twice, nothing lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from mctlib.alerts import acts, delivery
from mctlib.alerts.delivery import Post, Undelivered, deliver, send
from mctlib.alerts.messages import sample
from mctlib.commands import alerting
from mctlib.contract import DataError
from mctlib.tracking_plan.plan import Role
from tests.support.project import ROOT
from tests.support.servers import dripping_server, http_server, mail_server, silent_server

WEEK = "2026-05-18"
ROLE, VARIABLE = "response_coordinator", "ALERT_URL_TEST"
REASONS = pd.DataFrame({"alert_id": [], "reason": [], "n_answers": [], "n_no": []})


def alert(name: str = f"booked-fall-{WEEK}", **changes: object) -> dict[str, object]:
    """A row of `Scorecard.alerts`."""
    since = pd.Timestamp(name[-10:])
    row: dict[str, object] = {
        "alert_id": name,
        "metric": "booked",
        "label": "Booked <b>",
        "unit": "%",
        "kind": "fall",
        "platform": "",
        "since": since,
        "severity": "severe",
        "value": 0.28,
        "p0": 0.4,
        "rel_change": -0.3,
        "rel_change_ci_lower": -0.35,
        "rel_change_ci_upper": -0.25,
        "n_counted": 600.0,
        "cause": "competitor",
        "coincides": "instant booking, 18 May",
        "study_change": -0.29,
        "study_change_ci_lower": -0.34,
        "study_change_ci_upper": -0.24,
        "n_controls": 4,
        "n_cells": 2,
        "role": ROLE,
        "who": "Response coordinator",
        "owner": "product",
        "state": "open",
        "age_days": 7.0,
        "news": name.endswith(WEEK),
        "again_on": pd.NaT,
    }
    return row | changes


def table(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(rows or [alert()])


@pytest.fixture
def post(tmp_path, monkeypatch):
    (tmp_path / "params").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(delivery, "PAUSE", 0.0)
    targets = {ROLE: VARIABLE}
    return Post("tiny", targets, "https://reports.example.com/x", "weekly, data up to 24 May", WEEK)


def said(received) -> list[str]:
    return [message["text"] for message in received]


# --------------------------------------------------------------------------------- what arrives


def test_a_webhook_gets_finding_number_cause_and_link_as_json(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS)
    (message,) = received
    assert (done.n_new, done.n_undelivered) == (1, 0)
    assert message["subject"].startswith("[act] “Booked <b>” fell 30")
    (item,) = message["items"]
    assert (
        item["number"]
        == "28.0\u00a0% instead of 40.0\u00a0% (change of \u221235 to \u221225\u00a0%)."
    )
    facts = dict(item["facts"])
    assert "instant booking, 18 May; against 4 numbers" in facts["Coincides with"]
    assert facts["Who"] == "Response coordinator"
    assert message["link"] == "https://reports.example.com/x"
    assert "booked-fall-2026-05-18" in message["foot"]
    assert received.address not in " ".join(done.notes)


def test_slack_gets_blocks_in_which_no_label_is_markup(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, f"slack+{received.address}")
        deliver(post, table(), REASONS)
    (message,) = received
    kinds = [block["type"] for block in message["blocks"]]
    assert kinds == ["header", "section", "actions", "context"]
    assert message["blocks"][0]["text"]["text"].startswith("▲ “Booked <b>” fell 30")
    assert message["blocks"][1]["text"]["text"].startswith("28.0"), "what fell is said once"
    assert "Booked &lt;b&gt;" in message["text"]
    assert message["blocks"][2]["elements"][0]["url"] == "https://reports.example.com/x"


def test_teams_gets_an_adaptive_card(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, f"teams+{received.address}")
        deliver(post, table(alert(label="[click](http://evil)")), REASONS)
    (message,) = received
    card = message["attachments"][0]["content"]
    assert (message["type"], card["type"], card["version"]) == ("message", "AdaptiveCard", "1.4")
    assert r"\[click\](http://evil)" in card["body"][0]["items"][0]["text"]
    assert card["actions"][0]["url"] == "https://reports.example.com/x"


def test_mail_carries_the_picture_inline(post, monkeypatch):
    png = b"\x89PNG\r\n\x1a\n" + b"0" * 50
    with mail_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS, picture=png)
    assert done.n_undelivered == 0
    (mail,) = received
    assert mail["Subject"].startswith("[act] “Booked <b>” fell 30")
    parts = {part.get_content_type(): part for part in mail.walk()}
    assert 'src="cid:' in parts["text/html"].get_content()
    words = parts["text/html"].get_content()
    assert "Booked &lt;b&gt;" in words
    assert words.index("28.0") < words.index("<table"), "an inbox shows the number first"
    assert f"alerts ack tiny booked-fall-{WEEK}" in words
    assert parts["image/png"].get_payload(decode=True) == png
    assert "multipart/related" in parts


def test_one_message_a_role_holds_all_and_a_role_without_target_is_said(post, monkeypatch):
    other = alert(f"saved-fall-{WEEK}", role="analyst", who="Analyst")
    rows = table(alert(), alert(f"shared-fall-{WEEK}", label="Shared"), other)
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, rows, REASONS)
    (message,) = received
    assert len(message["items"]) == 2
    assert "and 1 more" in message["subject"]
    assert any("Nobody is told of new alerts for analyst" in note for note in done.notes)


def test_tracking_is_called_complete_only_where_the_server_told_it(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(), REASONS)
        deliver(replace(post, dataset="other"), table(alert(n_cells=0)), REASONS)
    known, unknown = said(received)
    assert "Tracking: complete, as far as the server knows" in known
    assert "Tracking: not checked: no server records" in unknown
    assert "complete" not in unknown


def test_users_reasons_of_few_are_not_told(post, monkeypatch):
    reasons = pd.DataFrame({"alert_id": [alert()["alert_id"]], "reason": ["too slow"]})
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(), reasons.assign(n_answers=9, n_no=12))
        deliver(replace(post, dataset="other"), table(), reasons.assign(n_answers=18, n_no=30))
        deliver(replace(post, dataset="third"), table(), reasons.assign(n_answers=18, n_no=27))
    few, many, few_others = said(received)
    assert "Ask users: what changed for you with “Booked <b>”?" in few
    assert "Ask users" not in many
    assert "too slow" not in few
    assert "too slow" not in few_others, "nine said something else"
    assert "Users say: “too slow”, 18 of 30" in many


# -------------------------------------------------------------------------------- nothing twice


def test_a_second_run_sends_nothing_and_the_next_week_what_is_open(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        assert deliver(post, table(), REASONS).n_new == 1
        assert deliver(post, table(), REASONS).n_new == 0
        assert len(received) == 1
        later = replace(post, week="2026-05-25")
        old = table(alert(news=False, state="acknowledged", age_days=14.0))
        deliver(later, old, REASONS)
        deliver(later, old, REASONS)
        assert len(received) == 2
        subject = received[1]["subject"].replace("\u00a0", " ")
        assert subject.startswith("[open] ")
        assert "open for 14 days, acknowledged" in subject
        back = table(alert(news=False, state="recovered", age_days=21.0))
        deliver(replace(post, week="2026-06-01"), back, REASONS)
        deliver(replace(post, week="2026-06-08"), back, REASONS)
    assert len(received) == 3
    assert "is back where it was, after 21 days" in received[2]["subject"]


def test_what_a_daily_look_told_the_weekly_run_does_not_tell_again(post, monkeypatch):
    """Its seven days began on another day; the alert is named by the log's own week."""
    seen = alert() | {"since": pd.Timestamp("2026-05-15"), "news": True}
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(seen), REASONS)
        deliver(post, table(seen | {"since": pd.Timestamp("2026-05-16")}), REASONS)
        deliver(post, table(), REASONS)
    assert len(received) == 1


def test_the_owner_stands_in_the_message_and_a_role_of_its_team_hears_it(post, monkeypatch):
    """The one that acts is asked to; the other is told of its number; another team is not."""
    roles = {ROLE: Role(team="ops"), "lead": Role(label="Lead", team="Product")}
    targets = dict.fromkeys((ROLE, "lead", "marketing"), VARIABLE)
    post = replace(post, targets=targets, roles=roles | {"marketing": Role(team="marketing")})
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        assert deliver(post, table(), REASONS).n_new == 1, "one alert, whoever hears it"
        deliver(post, table(), REASONS)
    acts_on, owns = received
    assert acts_on["subject"].startswith("[act] ") and "alerts ack" in acts_on["foot"]
    assert (owns["role"], owns["subject"][:8]) == ("Lead", "[yours] ")
    assert "alerts ack" not in owns["foot"]
    for message in received:
        facts = dict(message["items"][0]["facts"])
        assert (facts["Who"], facts["Owner"]) == ("Response coordinator", "Product")


def test_a_number_without_owner_reaches_no_other_role(post, monkeypatch):
    post = replace(post, targets={"analyst": VARIABLE}, roles={"analyst": Role()})
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(alert(owner="")), REASONS)
    assert received == []


def test_what_drifts_stands_last_in_a_digest_once_a_week_and_is_no_message(post, monkeypatch):
    noted = {"metric": "saved", "label": "Saved", "rel_change": -0.14, "owner": "", "role": ROLE}
    drift = pd.DataFrame([noted | {"week": pd.Timestamp(WEEK)}])
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table()[:0], REASONS, drift=drift)
        assert (received, done.n_new) == ([], 0)
        deliver(post, table(), REASONS, drift=drift)
        deliver(post, table(), REASONS, drift=drift)
        deliver(
            replace(post, dataset="other"), table(), REASONS, drift=drift.assign(role="analyst")
        )
    first, other = received
    last = first["items"][-1]
    assert last["alert_id"] == f"saved-drift-{WEEK}"
    assert last["title"].startswith("“Saved” drifts: \u221214\u00a0% in its last four weeks")
    assert "\u25cb “Saved” drifts" in first["text"]
    assert len(other["items"]) == 1, "another role's"
    assert "more" not in first["subject"], "what drifts is no alert"


def test_a_digest_counts_alerts_and_not_what_drifts(post, monkeypatch):
    noted = {"metric": "saved", "label": "Saved", "rel_change": -0.14, "owner": "", "role": ROLE}
    drift = pd.DataFrame([noted | {"week": pd.Timestamp("2026-05-25")}])
    old = table(alert(news=False, state="acknowledged"))
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, f"slack+{received.address}")
        deliver(replace(post, week="2026-05-25"), old, REASONS, drift=drift)
    header, *_ = received[0]["blocks"]
    assert "Booked" in header["text"]["text"] and "more" not in header["text"]["text"]
    assert "drifts" in str(received[0]["blocks"])


@pytest.mark.parametrize("acts_news", [True, False])
def test_what_a_role_is_asked_to_do_is_what_it_acts_on(post, monkeypatch, acts_news):
    """Its team owns another alert, which the table has first."""
    owned = alert(f"aaa-fall-{WEEK}", label="Aaa", role="analyst", owner="ops")
    mine = alert(f"zzz-fall-{WEEK}", label="Zzz", news=acts_news)
    mine |= {} if acts_news else {"state": "acknowledged"}
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        post = replace(post, roles={ROLE: Role(team="ops")})
        deliver(post, table(owned, mine), REASONS)
    (message,) = received
    subject, foot = message["subject"], message["foot"]
    if acts_news:
        assert subject.startswith("[act] “Zzz”") and "and 1 more" in subject
        assert foot.endswith(f"alerts ack tiny zzz-fall-{WEEK}")
    else:
        assert subject.startswith("[yours] “Aaa”") and "alerts ack" not in foot


LOST = "Android still loses “Booked <b>”, now as the new level"


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("recovered", "[back] Android records “Booked <b>” again, after 21 days"),
        ("new level", f"[new level] {LOST}, after 21 days"),
    ],
)
def test_that_lost_tracking_ended_is_told_once(post, monkeypatch, state, told):
    lost = {"kind": "loss", "platform": "android", "cause": "tracking", "rel_change": -0.3}
    mended = table(alert(**lost, state=state, news=False, age_days=21.0))
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        said = {"alert_id": f"booked-fall-{WEEK}", "reason": "slow", "n_answers": 20, "n_no": 40}
        deliver(post, table(alert(**lost)), pd.DataFrame([said]))
        for week in ("2026-06-08", "2026-06-15"):
            deliver(replace(post, week=week), mended, REASONS)
    assert len(received) == 2
    (item,) = received[0]["items"]  # a share of one week, where the audit's is of all since then
    number = "28.0\u00a0% of what the server knows was recorded in the newest week, "
    assert item["number"] == number + "instead of 40.0\u00a0%."
    assert [name for name, _ in item["facts"]][:1] == ["Tracking"]
    assert not {"Users say", "Ask users"} & {name for name, _ in item["facts"]}
    assert received[1]["subject"].startswith(told)


def test_a_digest_lists_all_that_is_open_under_their_number(post, monkeypatch):
    old = {"news": False, "state": "acknowledged"}
    rows = table(alert(**old), alert(f"saved-fall-{WEEK}", label="Saved", **old))
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, f"slack+{received.address}")
        deliver(replace(post, week="2026-05-25"), rows, REASONS)
        monkeypatch.setenv(VARIABLE, f"teams+{received.address}")
        deliver(replace(post, week="2026-06-01"), rows, REASONS)
    slack, teams = received
    header, *sections = (block["text"]["text"] for block in slack["blocks"] if "text" in block)
    assert header == "Still open: 2"
    assert [name in text for name, text in zip(("Booked", "Saved"), sections)] == [True, True]
    head, *more = teams["attachments"][0]["content"]["body"]
    assert head["items"][0]["text"] == "Still open: 2" and head["style"] == "emphasis"
    assert [name in block["text"] for name, block in zip(("Booked", "Saved"), more)] == [True, True]


def test_a_fall_by_mix_is_told_as_such(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(alert(cause="mix", mix_change=-0.24)), REASONS)
    assert "Mix: who the users are would alone have made \u221224\u00a0%" in said(received)[0]


@pytest.mark.parametrize("state", ["snoozed", "closed", "recovered", "new level"])
def test_of_what_is_over_or_snoozed_nobody_hears_who_has_not_been_told(post, monkeypatch, state):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(alert(state=state)), REASONS)
    assert received == []


def test_a_snoozed_alert_is_told_when_the_snooze_is_over(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        deliver(post, table(alert(state="snoozed")), REASONS)
        later, now = replace(post, week="2026-06-01"), table(alert(news=False))
        assert deliver(later, now, REASONS).n_new == 1
        assert deliver(later, now, REASONS).n_new == 0
    assert len(received) == 1


def test_this_weeks_alert_is_told_in_full_though_somebody_noticed_it(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        assert deliver(post, table(alert(state="acknowledged")), REASONS).n_new == 1
    assert "against 4 numbers" in said(received)[0]


def test_the_first_message_about_an_alert_is_the_full_one(post, monkeypatch):
    """Whichever run sends it; what was over, and came back, is no news."""
    later = replace(post, week="2026-06-01")
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        assert deliver(later, table(alert(news=False)), REASONS).n_new == 1
        again = alert(f"saved-fall-{WEEK}", news=False, again_on=pd.Timestamp("2026-06-01"))
        deliver(later, table(again), REASONS)
        assert len(received) == 1, "that it came again is not told"
        assert deliver(replace(post, week="2026-06-08"), table(again), REASONS).n_new == 0
    first, second = (message["items"][0] for message in received)
    assert first["number"]
    assert dict(first["facts"])["Who"] == "Response coordinator"
    assert (second["what"], second["facts"]) == ("still open", [])
    assert second["title"].endswith("open again since 1 June")


# --------------------------------------------------------------------------------- nothing lost


@pytest.mark.parametrize("answers", [[503], [429, 503], [0], [0, 500]])
def test_what_fails_once_or_twice_is_tried_again(post, monkeypatch, answers):
    with http_server(answers) as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS)
    assert (len(received), done.n_undelivered) == (1, 0)


@pytest.mark.parametrize("answers", [[503] * 3, [404], [410], [302], [0] * 3])
def test_what_does_not_arrive_is_held_and_sent_by_the_next_run(post, monkeypatch, answers):
    with http_server(answers) as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS)
        assert (len(received), done.n_undelivered) == (0, 1)
        assert len(list(post.held.iterdir())) == 1
        assert acts.read(post.file).empty
        # the alert is no news any more: its message is the one that was held
        done = deliver(replace(post, week="2026-05-25"), table(alert(state="recovered")), REASONS)
    assert done.n_undelivered == 0
    assert "[act]" in received[0]["subject"]
    assert not list(post.held.iterdir())


@pytest.mark.parametrize("state", ["snoozed", "closed"])
def test_of_what_was_snoozed_or_closed_since_a_held_message_says_nothing(post, monkeypatch, state):
    rows = [alert(), alert(f"saved-fall-{WEEK}", label="Saved")]
    deliver(post, table(*rows), REASONS)
    later = replace(post, week="2026-05-25")
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        now = table(rows[0] | {"state": state}, rows[1] | {"news": False})
        deliver(later, now, REASONS)
        (message,) = received
        assert [item["alert_id"] for item in message["items"]] == [f"saved-fall-{WEEK}"]
        assert "Booked" not in message["text"] and message["subject"].startswith("[act] “Saved”")
        assert message["foot"].endswith(f"alerts ack tiny saved-fall-{WEEK}")
        assert message["foot"].startswith("weekly, data up to 24 May, sent once. saved")
        assert not list(post.held.iterdir())
        again = table(rows[0] | {"news": False})
        assert deliver(replace(post, week="2026-06-01"), again, REASONS).n_new == 1


def test_a_held_message_whose_alerts_are_all_closed_since_is_dropped_and_it_is_said(
    post, monkeypatch
):
    deliver(post, table(), REASONS)
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        found = table(alert(state="closed", news=False))
        done = deliver(post, table()[:0], REASONS, known=found)
    assert (received, done.n_undelivered, list(post.held.iterdir())) == ([], 0, [])
    (note,) = done.notes
    assert "“Booked <b>”" in note and "snoozed or closed since" in note


def test_a_server_that_never_answers_is_given_up(post, monkeypatch):
    monkeypatch.setattr(delivery, "TIMEOUT", 0.2)
    with silent_server() as address:
        monkeypatch.setenv(VARIABLE, address)
        done = deliver(post, table(), REASONS)
    assert done.n_undelivered == 1
    assert "3 times" in done.notes[0]


def test_a_server_that_drips_its_answer_is_given_up(post, monkeypatch):
    """Each drop comes in time; the whole does not."""
    monkeypatch.setattr(delivery, "TIMEOUT", 0.3)
    with dripping_server(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n") as address:
        monkeypatch.setenv(VARIABLE, address)
        done = deliver(post, table(), REASONS)
    assert done.n_undelivered == 1
    assert "could not be reached (TimeoutError), 3 times" in done.notes[0]


@pytest.mark.parametrize(
    ("first", "drop"), [(b"hello, no http\r\n\r\n", b""), (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")]
)
def test_a_heartbeat_that_is_not_heard_is_a_note(monkeypatch, capsys, first, drop):
    monkeypatch.setattr(alerting, "BEAT", 0.3)
    with dripping_server(first, drop) as address:
        monkeypatch.setenv(VARIABLE, address)
        alerting.beat(VARIABLE)
    assert "could not be called" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "ALERT_URL_TEST is not set"),
        ("nosuch://somewhere", "holds no address that apprise knows"),
        ("http://127.0.0.1:9/", "could not be reached"),
        ("https://", "holds no address"),
    ],
)
def test_an_address_that_cannot_be_is_said_without_it(post, monkeypatch, address, why):
    monkeypatch.setenv(VARIABLE, address)
    done = deliver(post, table(), REASONS)
    assert done.n_undelivered == 1
    assert why in done.notes[0]
    assert not address or address not in done.notes[0]


def test_a_mail_server_that_drips_its_greeting_is_given_up(post, monkeypatch):
    """Each of its lines says that more is to come."""
    monkeypatch.setattr(delivery, "LONG", 0.4)
    with dripping_server(b"220-mail.b.co\r\n", b"220-wait\r\n") as address:
        monkeypatch.setenv(VARIABLE, f"mailto://{address[7:]}?from=m@b.co&to=a@b.co&mode=insecure")
        done = deliver(post, table(), REASONS)
    assert done.n_undelivered == 1
    assert "came to no end in" in done.notes[0]
    assert len(list(post.held.iterdir())) == 1


def test_a_mail_server_that_refuses_is_no_delivery(post, monkeypatch):
    with mail_server(refuse=True) as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS)
    assert (len(received), done.n_undelivered) == (0, 1)


def test_an_address_of_two_is_refused_since_one_may_hear_it_again(post, monkeypatch):
    with mail_server() as received:
        monkeypatch.setenv(VARIABLE, received.address.replace("to=ann@b.co", "to=ann@b.co,bo@b.co"))
        done = deliver(post, table(), REASONS)
    assert (len(received), done.n_undelivered) == (0, 1)
    assert "names 2 recipients" in done.notes[0]


def test_a_file_among_the_held_that_is_none_is_left(post, monkeypatch):
    post.held.mkdir(parents=True)
    (post.held / f"tiny.{WEEK}.{ROLE}.1.json").write_text("{")
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        done = deliver(post, table(), REASONS)
    assert len(received) == 1
    assert "is no message of ours" in done.notes[0]


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
import pandas as pd
from mctlib.alerts import acts, delivery
from tests.alerts.test_delivery import REASONS, ROLE, VARIABLE, WEEK, table
append = acts.append
acts.append = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
delivery.deliver(delivery.Post("tiny", {{ROLE: VARIABLE}}, "", "run", WEEK), table(), REASONS)
"""


def test_a_kill_between_delivery_and_state_repeats_one_message_and_loses_none(post, monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        code = KILLED.format(root=str(ROOT))
        killed = subprocess.run([sys.executable, "-c", code], env={**os.environ}, timeout=120)
        assert killed.returncode == -signal.SIGKILL
        assert len(received) == 1
        deliver(post, table(), REASONS)
        deliver(post, table(), REASONS)
    assert len(received) == 2


# ---------------------------------------------------------------------------------- the file


def test_acts_are_appended_whole_after_a_line_that_was_cut(tmp_path):
    path = tmp_path / "alerts" / "tiny.csv"
    acts.append(path, [{"alert_id": "a", "day": WEEK, "act": "ack", "by": "ann, bob"}])
    with path.open("a") as file:
        file.write("b,2026-05-")
    acts.append(path, [{"alert_id": "c", "day": WEEK, "act": "close"}])
    found = acts.read(path)
    assert found["alert_id"].tolist() == ["a", "b", "c"]
    assert found["by"].tolist() == ["ann, bob", "", ""]


def test_a_file_of_somebody_elses_is_refused(tmp_path):
    path = tmp_path / "tiny.csv"
    path.write_text("alertid,day,act\n")
    with pytest.raises(DataError, match='"alert_id" is missing.*Did you mean "alertid"'):
        acts.read(path)


def test_a_sample_arrives(monkeypatch):
    with http_server() as received:
        monkeypatch.setenv(VARIABLE, received.address)
        send(VARIABLE, sample("Analyst"))
    assert said(received)[0].startswith("[test] A sample for Analyst")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(Undelivered, match="is not set"):
        send(VARIABLE, sample("Analyst"))
