"""A tiny project, and the command line run in it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOTEBOOKS = ROOT / "tests/notebooks"
GOOD = "dataset: tiny\nnotebooks:\n  good:\n  variant: {notebook: good, set: {window: 7d}}\n"
BAD = "dataset: tiny\nnotebooks:\n  good:\n  failing:\n  exits:\n  dies:\n  silent:\n"
SCRIPT = "<script>alert(1)</script>"
STEPS = ["signed_up", "profile_completed"]
# The house's notebooks, asked what the tiny project can answer.
ASKED: dict[str, dict[str, Any]] = {
    "funnel": {
        "steps": STEPS,
        "window": "14d",
        "competing": "",
        "by": "platform",
        "before": [],
        "after": [],
        "change_by": "platform",
    },
    "activation": {
        "start": "signed_up",
        "activation": "profile_completed",
        "competing": "",
        "by": "platform",
        "reference": ["ios"],
    },
    "attribution": {
        "conversion": "profile_completed",
        "start": ["signed_up"],
        "competing": "",
        "windows": ["30d", "7d", "14d", "60d"],
        "steps": STEPS,
        "kinds": ["platform"],
    },
    "roi": {
        "start": "signed_up",
        "success": "profile_completed",
        "window": "14d",
        "by": "platform",
        "treated": "ios",
        "change_at": "2026-03-09",
    },
    "signals": {
        "start": "signed_up",
        "events": [SCRIPT],
        "outcomes": ["profile_completed"],
        "horizon": "7d",
        "landmark": ["1h"],
        "adjust": ["platform"],
        "competing": "",
        "term": "",
        "action": SCRIPT,
    },
}


def pack_of(notebook: str, **changes: Any) -> str:
    """A pack of one notebook, asked what the tiny project can answer, but for the changes."""
    entry = {"set": ASKED.get(notebook, {}) | changes}
    return f"dataset: tiny\nnotebooks:\n  {notebook}: {json.dumps(entry)}\n"


def make_project(root: Path) -> Path:
    """40 users sign up over March 2026, in turn on ios and android.

    Every second completes the profile, every fourth has an event whose name is a script.
    """
    (root / "params").mkdir(parents=True)
    (root / "exports").mkdir()
    shutil.copytree(NOTEBOOKS, root / "notebooks")
    for notebook in ASKED:
        shutil.copy(ROOT / f"notebooks/{notebook}.ipynb", root / "notebooks")
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


def mctlib(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m mctlib` in a project."""
    return subprocess.run(
        [sys.executable, "-m", "mctlib", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
    )
