"""What the tests of attribution share."""

from functools import partial

import pytest

from mctlib import stats


@pytest.fixture
def quick(monkeypatch):
    """Few draws: where no interval is looked at."""
    monkeypatch.setattr(stats, "bucket_draws", partial(stats.bucket_draws, draws=20))
