"""The floors of the house: who may import whom, and that importing costs little."""

import subprocess
import sys
from pathlib import Path

import mctlib

PACKAGE = Path(mctlib.__file__).parent


def test_every_public_name_is_there_and_documented():
    for name in set(mctlib.__all__) - {"ANY", "RULES"}:
        assert getattr(mctlib, name).__doc__, name


def test_importing_the_package_loads_no_heavy_library():
    code = "import mctlib, sys; print(*[m for m in ('scipy.stats', 'statsmodels', 'seaborn', 'lifelines', 'matplotlib', 'papermill', 'nbconvert') if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == ""
    )


def test_the_top_level_is_what_the_user_asked_for():
    shown = {
        p.name
        for p in PACKAGE.parent.iterdir()
        if not p.name.startswith(".") and not p.name.endswith(".egg-info")
    }
    assert shown == {
        "README.md",
        "requirements.txt",
        "pyproject.toml",
        "Makefile",
        "notebooks",
        "mctlib",
        "params",
        "tests",
        "outputs",
    }
