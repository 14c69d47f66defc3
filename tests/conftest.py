"""A tiny project for the tests of the runner, and two runs of its pack that several files look at."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

collect_ignore_glob = [
    "notebooks/*.ipynb"
]  # some of them fail on purpose; the runner's tests execute them
NOTEBOOKS = Path(__file__).parent / "notebooks"
GOOD = "dataset: tiny\nnotebooks:\n  good:\n  variant: {notebook: good, set: {window: 7d}}\n"
BAD = "dataset: tiny\nnotebooks:\n  good:\n  failing:\n  exits:\n  dies:\n  silent:\n"
SCRIPT = "<script>alert(1)</script>"


def make_project(root: Path) -> Path:
    """40 users sign up over March 2026, in turn on ios and android; every second completes the profile, every fourth has an event whose name is a script."""
    (root / "params").mkdir(parents=True)
    (root / "exports").mkdir()
    shutil.copytree(NOTEBOOKS, root / "notebooks")
    rows = ["user_id,event,timestamp,platform"]
    for user in range(40):
        day = f"2026-03-{1 + user * 3 // 4:02d}"
        rows.append(f"u{user},signed_up,{day}T08:00:00Z,{'android' if user % 2 else 'ios'}")
        rows += [f"u{user},profile_completed,{day}T10:00:00Z,ios"] if user % 2 == 0 else []
        rows += [f"u{user},{SCRIPT},{day}T11:00:00Z,ios"] if user % 4 == 0 else []
    rows += ["u1,signed_up,2026-03-31T23:30:00Z,android", "u2,signed_up,not a time,ios"]
    (root / "exports/events.csv").write_text("\n".join(rows))
    (root / "params/data.tiny.yaml").write_text("name: tiny\nevents: {path: exports/events.csv}\n")
    (root / "params/weekly.yaml").write_text(GOOD)
    return root


def mctlib(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "mctlib", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )


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
