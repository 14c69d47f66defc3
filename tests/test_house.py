"""The floors of the house: who may import whom, and that importing costs little."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mctlib

PACKAGE = Path(mctlib.__file__).parent
GROUND = {
    "words": set(),
    "stats": set(),
    "store": set(),
    "journeys": {"store"},
    "overlay": {"store"},
    "log": {"journeys", "store", "overlay"},
    "tracking": {"journeys", "log", "stats"},
    "hazards": {"journeys", "log", "stats", "store"},
    "counterfactual": {"journeys", "stats", "store"},
    "touches": {"journeys"},
    "credit": {"journeys", "stats", "touches"},
    "exposure": {"journeys", "stats", "touches"},
}
ANALYSES = (
    "funnel",
    "change",
    "rules",
    "drivers",
    "activation",
    "landmark",
    "attribution",
    "metric",
    "roi",
    "arms",
    "speed",
)  # one question each: they stand on the ground, never on each other
MAY_IMPORT = (
    GROUND
    | dict.fromkeys(ANALYSES, set(GROUND))
    | {
        "plots": set(),
        "spark": {"journeys", "log", "overlay", "store"},
        "demo": set(),
        "staging": {"store"},
        "warehouse": {"store", "staging"},
        "sources": {"store", "log", "demo", "staging", "warehouse"},
        "report": {"store", "log", "plots"},
        "pack": {"store", "log", "sources"},
        "run": {"store", "log", "pack", "sources"},
        "__main__": {"store", "pack", "run", "sources"},
        "__init__": {"store", "log", "journeys", "sources", *ANALYSES, "run", "spark"},
    }
)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mctlib"):
            yield from (
                [node.module.split(".")[1]]
                if "." in node.module
                else [alias.name for alias in node.names]
            )
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.split(".")[1] for alias in node.names if alias.name.startswith("mctlib.")
            )


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda p: p.stem)
def test_imports_run_down_the_floors(path):
    assert path.stem in MAY_IMPORT, (
        f"{path.name} has no floor yet: say in MAY_IMPORT what it stands on"
    )
    assert set(imports(path)) <= MAY_IMPORT[path.stem]


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
