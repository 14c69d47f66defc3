"""A small log whose filters can be counted by hand, for every engine."""

import json

import pandas as pd

from mctlib.eventlog.steps import ANY

# user, platform of the event, properties
SENT = [
    ("ada", "ios", {"role": "hr lead", "amount": 5, "ok": True, "day": "2026-03-01"}),
    ("bo", "web", {"role": "HR", "amount": "20.5", "ok": "TRUE", "day": "2026-03-09T22:00:00Z"}),
    ("cy", "android", {"role": "recruiter", "amount": "n/a", "ok": "false", "plan": "x"}),
    ("dee", None, {"amount": 9, "plan": ""}),
    ("eve", "ios", {"role": "recruiter", "amount": "1_000"}),  # not among the people
]
PEOPLE = pd.DataFrame(
    {
        "user_id": ["ada", "bo", "cy", "dee"],
        "signed_up_at": pd.to_datetime(["2026-01-01", "2026-02-01", None, "2026-03-01"], utc=True),
        "revenue": [10.0, 250.0, None, 0.0],
        "plan": ["growth", "starter", "growth", None],
        "account_id": ["x", "x", "y", "y"],
    }
)
# a filter -> the users whose "sent" it lets pass, counted by hand
PASSES = [
    ({"platform": "ios"}, "ada eve"),
    ({"platform": {"not": "ios"}}, "bo cy dee"),  # dee's has none, which is not ios
    ({"platform": {"not": ["ios", "web"]}}, "cy dee"),
    ({"platform": {"not": "ios", "present": True}}, "bo cy"),
    ({"platform": {"present": False}}, "dee"),
    ({"platform": {"not": ANY}}, "dee"),
    ({"platform": ANY}, "ada bo cy eve"),
    ({"role": {"contains": "hr"}}, "ada"),
    ({"role": {"contains": ["hr", "HR"]}}, "ada bo"),
    ({"role": {"not": {"contains": "recr"}}}, "ada bo dee"),
    ({"amount": {">=": 9}}, "bo dee"),  # "n/a" and "1_000" are no numbers
    ({"amount": {">": 9}}, "bo"),
    ({"amount": {"<": 9}}, "ada"),
    ({"amount": {"<=": "9"}}, "ada dee"),
    ({"amount": {">=": 5, "<": 10}}, "ada dee"),
    ({"amount": {"not": {">=": 9}}}, "ada cy eve"),
    ({"amount": 5.0}, "ada"),
    ({"ok": True}, "ada bo"),
    ({"ok": [False]}, "cy"),
    ({"ok": "TRUE"}, "bo"),
    ({"day": {">=": "2026-03-09"}}, "bo"),
    ({"day": {"<": "2026-03-09T23:30:00+02:00"}}, "ada"),  # 21:30 UTC
    ({"people.plan": "growth"}, "ada cy"),
    ({"people.plan": {"not": "growth"}}, "bo dee eve"),
    ({"properties.plan": "x"}, "cy"),
    ({"signed_up_at": {">=": "2026-02-01"}}, "bo dee"),
    ({"signed_up_at": {"present": False}}, "cy eve"),
    ({"revenue": {">=": 10}}, "ada bo"),
    ({"revenue": {"<": 10}, "platform": {"present": False}}, "dee"),
    ({"event.platform": "web", "event.role": "HR"}, "bo"),
]
# a filter -> what the check before a run says of it
SAID = [
    (
        {"platform": "IOS"},
        'event "sent [platform=IOS]" does not occur in frame. Did you mean "ios"?',
    ),
    (
        {"platform": {"not": "iso"}},
        'event "sent" never has platform=iso in frame. Did you mean "ios"?',
    ),
    (
        {"platform": ["ios", "webb"]},
        'event "sent" never has platform=webb in frame. Did you mean "web"?',
    ),
    (
        {"platfrom": {"present": False}},
        'event "sent" never has platfrom=present in frame. No such event has "platfrom". '
        'Did you mean "platform"?',
    ),
    ({"ok": "true "}, 'event "sent [ok=true ]" does not occur in frame. Did you mean "true"'),
    ({"ok": "True"}, 'event "sent [ok=True]" does not occur in frame. Did you mean "'),
    (
        {"role": {">=": 3}},
        'event "sent [role >= 3]" does not occur in frame. "role" holds no numbers or days, for '
        'example "recruiter".',
    ),
    ({"role": {"contains": "Recruiter"}}, 'Did you mean "recruiter"?'),
    ({"amount": {">=": 9, "<": 3}}, 'event "sent [amount >= 9 and < 3]" does not occur in frame.'),
    ({"people.plan": "grwth"}, 'Did you mean "growth"?'),
    ({"people.plann": "growth"}, 'Did you mean "plan"?'),
    ({"revenue": {">": 250}}, 'event "sent [revenue > 250]" does not occur in frame.'),
    ({"account_id": "acme"}, 'event "sent [account_id=acme]" does not occur in frame.'),
    (
        {"plan": "growth"},
        '"plan" is both a column of people and a property of events in frame; write people.plan or '
        "properties.plan.",
    ),
]


def events():
    """A row of "sent" and one of "seen" a user, an hour later."""
    rows = []
    for user, platform, properties in SENT:
        at = pd.Timestamp("2026-03-10T10:00:00Z")
        rows.append((user, "sent", at, platform, json.dumps(properties)))
        rows.append((user, "seen", at + pd.Timedelta("1h"), "web", None))
    return pd.DataFrame(rows, columns=["user_id", "event", "timestamp", "platform", "properties"])
