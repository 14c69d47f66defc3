"""How far long work is: told on a terminal, nowhere else."""

import os
import pty
import re
import subprocess
import sys

import pytest

from mctlib.eventlog.progress import progress

WORK = """
from mctlib.eventlog import progress
from mctlib.eventlog.store import connect
progress.QUIET = progress.EVERY = 0.05
con = connect()
with progress.telling(con, "sorting"):
    con.execute("CREATE TABLE t AS SELECT hash(i) AS h FROM range(5_000_000) r(i) ORDER BY h")
"""


@pytest.mark.parametrize(
    ("per_cent", "seconds", "said"),
    [
        (-1, 7.4, "sorting: 7 s"),
        (0.2, 3, "sorting: 3 s"),
        (25, 10, "sorting: 25 %, about 30 s left"),
        (100, 10, "sorting: 10 s"),
    ],
)
def test_what_is_said(per_cent, seconds, said):
    assert progress("sorting", per_cent, seconds) == said


def test_a_terminal_hears_of_it_and_is_left_clean():
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", WORK], stderr=theirs, timeout=120)
    os.close(theirs)
    heard = os.read(ours, 1_000_000).decode()
    assert done.returncode == 0
    assert re.search(r"sorting: \d+( %, about \d+)? s", heard)
    assert heard.endswith("\r\x1b[K")


def test_a_log_hears_nothing():
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
