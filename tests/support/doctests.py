"""Gives the examples in docstrings their `log` (a pytest plugin, see pyproject.toml)."""

import pandas as pd
import pytest


def tiny_log():
    """The log of the examples.

    40 users sign up over January 2026, in turn on ios and android, from two channels; three of four
    complete their profile after a day, every second schedules an interview after five, of 30 and
    60 minutes in turn. Two users each belong to one account, every third account is on the plan
    "growth".
    """
    from mctlib import EventLog

    events, people = [], []
    for user in range(40):
        start = pd.Timestamp("2026-01-01 08:00") + pd.Timedelta(hours=18 * user)
        about = {
            "user_id": f"u{user}",
            "platform": ("ios", "android")[user % 2],
            "channel": ("organic", "creator")[user % 5 == 0],
        }
        events.append({**about, "event": "signed_up", "timestamp": start})
        if user % 4:
            after = start + pd.Timedelta("1D")
            events.append({**about, "event": "profile_completed", "timestamp": after})
        if user % 2:
            after = start + pd.Timedelta("5D")
            interview = {"event": "interview_scheduled", "minutes": (30, 60)[user % 4 == 3]}
            events.append({**about, **interview, "timestamp": after})
        account = user // 2
        plan = "growth" if account % 3 == 0 else "starter"
        people.append({"user_id": f"u{user}", "account_id": f"a{account}", "plan": plan})
    return EventLog.from_frame(pd.DataFrame(events), people=pd.DataFrame(people))


@pytest.fixture(scope="session")
def example_log():
    return tiny_log()


@pytest.fixture(autouse=True)
def _log_of_examples(request):
    if isinstance(request.node, pytest.DoctestItem):
        namespace = request.getfixturevalue("doctest_namespace")
        namespace["log"] = request.getfixturevalue("example_log")
