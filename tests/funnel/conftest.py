"""The demo, smaller, as a log."""

import pytest

from mctlib.eventlog.event_log import EventLog
from mctlib.sources import demo


@pytest.fixture(scope="session")
def product():
    """The log, and its truth. Read only."""
    return EventLog.from_frame(**demo.generate(users=6000, seed=3)), demo.truth(users=6000, seed=3)
