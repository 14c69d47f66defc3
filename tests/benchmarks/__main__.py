"""`make bench`: ours and the peers in turn in one run.

Ratios, because seconds mean nothing on a machine that others share.
"""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from subprocess import PIPE
from typing import Any

import click
import yaml

from tests.benchmarks.data import BENCH, ROOT, SEGMENTS

COX_ROWS = 100_000  # what lifelines' Cox can bear; its time is linear in rows
FUNNEL, GRID = "funnel, 5 steps, 14 days", "attribution, 7 rules x 8 windows"
TABLE = [
    "| million | job | against | ours, s | peer, s | ratio | CPU ratio | budget | ours, GB |"
    " peer, GB |",
    f"|{' --- |' * 10}",
]
NOTES: list[str] = []  # below the table


def take(*jobs: tuple[str, ...], rounds: int = 1) -> list[dict]:
    """Jobs (module.function, arguments), each in a process of its own, in turn for some rounds.

    Returns their least seconds, their highest memory.
    """
    running, best = [], [{} for _ in jobs]
    for turn in range(rounds):
        for i, job in enumerate(jobs):
            if not turn:
                running.append(
                    subprocess.Popen(
                        [sys.executable, "-m", "tests.benchmarks.job", *job],
                        cwd=ROOT,
                        stdin=PIPE,
                        stdout=PIPE,
                        text=True,
                    )
                )
            print("now", file=running[i].stdin, flush=True)
            if not (line := running[i].stdout.readline()):
                raise click.ClickException(f"{' '.join(job)} failed.")
            found = json.loads(line)
            best[i] = found | {
                k: min(found[k], best[i].get(k, found[k])) for k in ("seconds", "cpu_seconds")
            }
            if turn == rounds - 1:
                running[i].communicate()
    return best


def row(
    size: Any,
    job: str,
    against: str,
    ours: dict,
    peer: dict,
    budget: float | None = None,
    *,
    per: float = 1,
    limit: float | None = None,
) -> None:
    """Add a line to the table: the ratio, divided by ``per``, our peak memory, and their limits."""
    ratio, cpu = (ours[k] / peer[k] / per for k in ("seconds", "cpu_seconds"))
    most = ", ".join(
        f"{b:g}{unit}{' (missed)' if x > b else ''}"
        for x, b, unit in ((ratio, budget, ""), (ours["peak_gb"], limit, " GB"))
        if b is not None
    )
    numbers = (ours["seconds"], peer["seconds"], ratio, cpu, ours["peak_gb"], peer["peak_gb"])
    shown = [f"{x:.3f}" if x < 0.1 else f"{x:.2f}" if x < 10 else f"{x:,.0f}" for x in numbers]
    TABLE.append(f"| {' | '.join(map(str, (size, job, against, *shown[:4], most, *shown[4:])))} |")
    print(TABLE[-1], flush=True)


def on_events(size: int) -> dict[str, dict]:
    """Ask what is asked of a log of so many million events (budgets are for 10 and more).

    Returns what should take as long per event at every size.
    """
    name, rounds, budget = (
        f"events-{size}",
        5 if size < 100 else 1,
        lambda b: b if size >= 10 else None,
    )
    take(("data.events", str(size)))
    ask, raw = ("ours.ask", "funnel", name), ("peers.window_funnel", name)
    load, tree = take(("ours.ask", "load", name, "fresh"), ("peers.mergetree", name))
    row(size, "load Parquet", "chDB, the same into MergeTree", load, tree)
    row(
        size,
        "load Parquet and first funnel",
        "chDB windowFunnel on Parquet",
        *take((*ask, "fresh"), raw),
        budget(2),
    )
    row(
        size,
        "open Parquet in place and first funnel",
        "chDB windowFunnel on Parquet",
        *take(("ours.in_place", "funnel", name), raw, rounds=rounds),
        budget(2),
    )
    funnel, raw, tree, scan, asof = take(
        ask, raw, (*raw, "loaded"), ("peers.scan", name), ("peers.asof", name), rounds=rounds
    )
    row(size, "every further funnel", "chDB windowFunnel on Parquet", funnel, raw, budget(0.33))
    row(size, FUNNEL, "chDB windowFunnel on MergeTree by user, time", funnel, tree, budget(0.75))
    row(size, FUNNEL, "DuckDB scan of the same columns", funnel, scan, budget(3.5))
    row(size, FUNNEL, "DuckDB as-of joins", funnel, asof)
    told = [
        f"{who} {peer['answer']}"
        for who, peer in (
            ("ours", funnel),
            ("chDB on Parquet", raw),
            ("on MergeTree", tree),
            ("as-of joins", asof),
        )
    ]
    NOTES.append(f"Users per step, {size} M events: {', '.join(told)}.")
    grid, one = take(("ours.ask", "grid", name), ("ours.ask", "one", name), rounds=rounds)
    row(size, GRID, "one rule, one window", grid, one, budget(3))
    ours, peer = take(("ours.ask", "markov", name), ("peers.markov", name), rounds=rounds)
    row(size, "attribution, Markov, 30 days", "paths by SQL, then ChannelAttribution", ours, peer)
    apart = max(abs(share - peer["answer"].get(p, 0)) for p, share in ours["answer"].items())
    NOTES.append(
        f"Markov credit shares, {size} M events: largest difference {apart:.4f}. "
        "Ours is solved and has intervals, ChannelAttribution simulates."
    )
    audit, columns = take(("ours.ask", "audit", name), ("peers.columns", name), rounds=rounds)
    row(size, "audit, 5 micro-conversions", "DuckDB scan of its columns", audit, columns, budget(3))
    activation, metric = take(
        ("ours.ask", "activation", name), ("ours.ask", "metric", name), rounds=rounds
    )
    return {
        "load Parquet": load,
        FUNNEL: funnel,
        "time to activation, 3 segments": activation,
        GRID: grid,
        "daily rate": metric,
    }


def on_recurring(size: int) -> None:
    """Ask the funnel of a log of so many million events in which the steps recur."""
    name, against = f"recurring-{size}", "chDB windowFunnel on MergeTree by user, time"
    take(("data.recurring", str(size)))
    take(("ours.ask", "load", name, "fresh"), ("peers.mergetree", name))
    asked = (("ours.ask", "funnel", name), ("peers.window_funnel", name, "loaded"))
    funnel, tree = take(*asked, rounds=5)
    row(size, f"{FUNNEL}, steps recur", against, funnel, tree, 0.75 if size >= 10 else None)
    answers = f"ours {funnel['answer']}, chDB {tree['answer']}"
    NOTES.append(
        f"Users per step where steps recur, {size} M events: {answers}; in whole seconds, so that "
        "some events share a moment, where the rules differ."
    )


def on_signups(size: int) -> None:
    """Curves, log-rank tests and Cox models of 5 segments of so many million users."""
    name, times = f"signups-{size}", 4 * 2 / 5 * size * 1_000_000 / COX_ROWS
    take(("data.signups", str(size)))
    *_, ours, peer = take(
        ("ours.ask", "load", name, "fresh"),
        ("ours.ask", "contrasts", name),
        ("peers.lifelines", name, str(COX_ROWS)),
    )
    ratio, cox = peer["answer"]
    whole = peer | {k: peer[k] + cox * (times - 1) for k in ("seconds", "cpu_seconds")}
    row(
        f"{size} (users)",
        "Kaplan-Meier, log-rank, Cox, 5 segments",
        "lifelines on rows",
        ours,
        whole,
        0.02 if size == 5 else None,
    )
    NOTES.append(
        f"lifelines: curves and log-rank tests took {peer['seconds'] - cox:.1f} s; Cox took "
        f"{cox:.1f} s on {COX_ROWS:,} rows, counted {times:g} times for the 4 pairs of segments. "
        f"Hazard ratio of {SEGMENTS[1]}: {ratio:.3f} there, "
        f"{ours['answer'][SEGMENTS[1]]:.3f} from all {size} M users by ours."
    )


def on_partners(few: int = 50, many: int = 500) -> None:
    """Ask every rule and window of 3 million events that name few partners, and many."""
    names = [f"touches-{partners}" for partners in (few, many)]
    take(*(("data.touches", str(partners)) for partners in (few, many)))
    take(*(("ours.ask", "load", name, "fresh") for name in names))
    one, ours = take(*(("ours.ask", "grid", name) for name in names), rounds=3)
    row(3, f"{GRID}, {many} partners", f"{few} partners", ours, one, many / few, limit=4)
    NOTES.append(f"{GRID}, {many} partners, 3 M events: {ours['seconds']:.1f} s.")


def on_users(few: int, many: int) -> None:
    """Ask which of 20 deeds go with a conversion, of so many million users."""
    names = [f"signals-{size}" for size in (few, many)]
    take(*(("data.signals", str(size)) for size in (few, many)))
    take(*(("ours.ask", "load", name, "fresh") for name in names))
    one, ours = take(*(("ours.ask", "signals", name) for name in names))
    job = "signals, 20 micro-conversions, 3 landmarks"
    row(
        f"{many} (users)",
        job,
        f"time per user at {few} M",
        ours,
        one,
        1.15,
        per=many / few,
        limit=4,
    )
    NOTES.append(f"{job}, {many} M users: {ours['seconds']:.1f} s.")


@click.command()
@click.option(
    "--size",
    type=click.Choice(["1", "10", "100"]),
    default="10",
    help="The largest log, in million events.",
)
def main(size: str) -> None:
    """Measure ours against the peers. The data stay in outputs/bench for the next time."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    print(*TABLE, sep="\n")
    found = {s: on_events(s) for s in (1, 10, 100) if s <= int(size)}
    for s in list(found)[1:]:
        for job, ours in found[s].items():
            row(
                f"1 to {s}",
                job,
                "time per event at 1 M",
                ours,
                found[1][job],
                1.15,
                per=s,
                limit=6 if s == 100 else None,
            )
    on_recurring(min(int(size), 10))
    on_signups(min(int(size), 5))
    on_partners()
    if int(size) >= 10:
        on_users(1, 5)
    starts = (
        ("peers.python", "-c 'import mctlib; mctlib.open_log(\"demo\")'"),
        ("peers.python", "-c 'import pandas, seaborn, duckdb'"),
    )
    row(
        "",
        "import, open the demo's store",
        "import pandas, seaborn, duckdb",
        *take(*starts, rounds=5),
        1.3,
    )
    names = yaml.safe_load((ROOT / "params" / "weekly.yaml").read_text())["notebooks"]
    one_by_one = [
        f"-m papermill notebooks/{n}.ipynb outputs/bench/{n}.ipynb -f params/{n}.yaml "
        "--no-progress-bar"
        for n in names
    ]
    packs = (
        (
            "peers.python",
            "-c 'import mctlib; "
            'mctlib.run_pack("params/weekly.yaml", outputs="outputs/bench/pack")\'',
        ),
        ("peers.python", *one_by_one),
    )
    row("", "weekly pack on the demo", "papermill, one notebook after another", *take(*packs), 0.6)
    peers = ", ".join(
        f"{p} {version(p)}"
        for p in ("duckdb", "chdb", "lifelines", "ChannelAttribution", "papermill")
    )
    NOTES.append(
        f"`make bench SIZE={size}`; two threads; Python {platform.python_version()}, {peers}."
    )
    print("", *NOTES, sep="\n\n")
    (BENCH / "table.md").write_text("\n".join([*TABLE, "", "\n\n".join(NOTES), ""]))


if __name__ == "__main__":
    main()
