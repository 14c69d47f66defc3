"""`make bench`: ours and the peer in turn in one run; ratios, because seconds mean nothing on a machine that others share."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import papermill
import yaml

from mctlib import attribution_windows, diagnose_funnel, open_log, run_pack

ROOT = Path(__file__).parents[2]
STEPS = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]
WINDOWS = ["1d", "3d", "7d", "14d", "21d", "28d", "45d", "60d"]


def seconds(job: Callable[[], object], repeats: int = 3) -> float:
    """Best wall-clock time of some repeats."""
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        job()
        best = min(best, time.perf_counter() - begin)
    return best


def funnel_against_scan() -> tuple[float, float]:
    """The demo funnel, and DuckDB reading the same columns of the same rows."""
    log = open_log("demo")
    scan = f"SELECT sum(user), max(timestamp), max(event) FROM events WHERE event IN ({', '.join(repr(s) for s in STEPS)})"
    return seconds(lambda: diagnose_funnel(log, STEPS, window="14d", as_of="2026-07-05")), seconds(lambda: log._con.sql(scan).fetchall())


def grid_against_one() -> tuple[float, float]:
    """Attribution by all rules and 8 windows, and by one rule and one window."""
    log = open_log("demo")
    ask = lambda windows, **more: attribution_windows(log, "subscription_started", windows=windows, as_of="2026-07-05", seed=1, **more)  # noqa: E731
    return seconds(lambda: ask(WINDOWS)), seconds(lambda: ask(WINDOWS[-1:], rules=("last",)))


def pack_against_papermill() -> tuple[float, float]:
    """The weekly pack, and plain papermill on the same notebooks one after another."""
    names = list(yaml.safe_load((ROOT / "params" / "weekly.yaml").read_text())["notebooks"])

    def one_by_one() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for name in names:
                command = [sys.executable, "-m", papermill.__name__, f"notebooks/{name}.ipynb", f"{folder}/{name}.ipynb", "-f", f"params/{name}.yaml", "--no-progress-bar"]
                subprocess.run(command, cwd=ROOT, check=True, capture_output=True)

    def pack() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_pack(ROOT / "params" / "weekly.yaml", outputs=folder)

    return seconds(pack, 1), seconds(one_by_one, 1)


if __name__ == "__main__":
    print("| job | peer | ours, s | peer, s | ratio |\n|---|---|---|---|---|")
    for title, peer, job in (
        ("funnel of 4 steps on the demo store", "DuckDB scan of the same columns", funnel_against_scan),
        ("attribution, 7 rules x 8 windows", "one rule, one window", grid_against_one),
        ("weekly pack", "papermill, one notebook after another", pack_against_papermill),
    ):
        ours, theirs = job()
        print(f"| {title} | {peer} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |", flush=True)
