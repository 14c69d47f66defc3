"""How far long work is, on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

QUIET = 1.0  # seconds before anything is said
EVERY = 0.5  # seconds
CLEAR = "\r\x1b[K"


@contextmanager
def telling(con: duckdb.DuckDBPyConnection, what: str) -> Iterator[None]:
    """Say on a terminal what is done, how far the query of ``con`` is and how long it may take."""
    if not sys.stderr.isatty():
        yield
        return
    con.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(con, what, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        print(CLEAR, end="", file=sys.stderr, flush=True)


def _tell(con: duckdb.DuckDBPyConnection, what: str, over: threading.Event) -> None:
    began, wait = time.monotonic(), QUIET
    while not over.wait(wait):
        wait = EVERY
        line = progress(what, con.query_progress(), time.monotonic() - began)
        print(f"{CLEAR}{line}", end="", file=sys.stderr, flush=True)


def progress(what: str, per_cent: float, seconds: float) -> str:
    """Say how far work of so many seconds is: "sorting: 40 %, about 12 s left"."""
    if not 1 <= per_cent < 100:  # not known (-1), or hardly begun
        return f"{what}: {seconds:.0f} s"
    left = seconds * (100 / per_cent - 1)
    return f"{what}: {per_cent:.0f} %, about {left:.0f} s left"
