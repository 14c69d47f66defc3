"""Fixtures that several files share: the demo's log, a tiny project, two runs of its pack."""

import contextlib
from types import SimpleNamespace

import pytest
from hypothesis import settings

from tests.support.project import BAD, GOOD, ROOT, make_project, mctlib

collect_ignore_glob = [
    "notebooks/*.ipynb",  # some of them fail on purpose; the runner's tests execute them
    "benchmarks/*",
    "calibration.py",
    "refresh_notebooks.py",
]


settings.register_profile("all", max_examples=60, deadline=None, derandomize=True)
settings.register_profile("quick", max_examples=12, deadline=None, derandomize=True)
settings.register_profile("search", max_examples=1_000, deadline=None)


def pytest_configure(config):
    """Hypothesis tries 60 examples, 12 where `make test` leaves out what takes long.

    They are the same in each run, so that a change alone can break a test; new ones are looked
    for by `pytest --hypothesis-profile=search`.
    """
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("quick" if config.option.markexpr else "all")


@pytest.fixture(scope="session")
def demo_log():
    """The demo, as the repository's own params/data.demo.yaml describes it. Read only."""
    from mctlib import open_log

    with contextlib.chdir(ROOT):
        return open_log("demo")


@pytest.fixture(scope="session")
def loaded_project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("checks") / "project")


@pytest.fixture
def project(loaded_project, monkeypatch):
    """The tiny project as the working directory, its pack as it was; loaded once."""
    (loaded_project / "params/weekly.yaml").write_text(GOOD)
    monkeypatch.chdir(loaded_project)
    return loaded_project


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A good run of the pack, then a failing one of the same day. Read only."""
    root = make_project(tmp_path_factory.mktemp("runs") / "project")
    good = mctlib(root, "run", "params/weekly.yaml")
    (root / "params/weekly.yaml").write_text(BAD)
    failed = mctlib(root, "run", "params/weekly.yaml")
    home = root / "outputs/weekly"
    return SimpleNamespace(
        root=root,
        good=good,
        failed=failed,
        home=home,
        good_folder=home / "2026-03-31",
        failed_folder=home / "2026-03-31.failed",
    )
