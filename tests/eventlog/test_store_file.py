"""A store's file: damaged in any block it is known, and it stays while somebody has it open."""

import os
import random
import subprocess
import sys

import pandas as pd
import pytest

from mctlib.eventlog import moments, store_file
from mctlib.eventlog.build import build_store
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.store import connect

BLOCK, HEADERS = 262_144, 3 * 4096  # of a DuckDB file


def built(path):
    rows = pd.DataFrame(
        {
            "user_id": [f"u{n % 500}" for n in range(20_000)],
            "event": [f"e{n % 7}" for n in range(20_000)],
            "timestamp": pd.date_range("2026-01-01", periods=20_000, freq="min", tz="UTC"),
            "note": [f"word {n * 7919 % 20_011}" for n in range(20_000)],
        }
    )
    con = connect()
    con.register("rows", canonical_frame(rows, "events"))
    build_store(path, {"events": [("rows", "FROM rows")]}, con=con, name="x", fingerprint="f")
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return built(tmp_path_factory.mktemp("store") / "x.0123456789abcdef.duckdb")


def flipped(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_a_flipped_bit_in_any_block_is_found(whole, tmp_path):
    draw = random.Random(1)
    size = whole.stat().st_size
    places = [100, 4096 + 50, 8192 + 50]  # one in each header
    places += [at + draw.randrange(BLOCK) for at in range(HEADERS, size - BLOCK + 1, BLOCK)]
    copy = tmp_path / whole.name
    moments.place(copy).write_bytes(moments.place(whole).read_bytes())
    copy.write_bytes(whole.read_bytes())
    assert store_file.is_whole(copy) and len(places) > 5
    for at in places:
        copy.write_bytes(whole.read_bytes())
        flipped(copy, at)
        assert not store_file.is_whole(copy), at


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_damaged_moments_are_found(whole, tmp_path, share):
    copy = tmp_path / whole.name
    copy.write_bytes(whole.read_bytes())
    walked = moments.place(copy)
    walked.write_bytes(moments.place(whole).read_bytes())
    flipped(walked, int(walked.stat().st_size * share))
    assert not store_file.is_whole(copy)
    walked.unlink()
    assert not store_file.is_whole(copy)


def test_a_store_cut_short_or_foreign(whole, tmp_path):
    copy = tmp_path / whole.name
    for content in (b"", b"words", whole.read_bytes()[:-BLOCK]):
        copy.write_bytes(content)
        assert not store_file.is_whole(copy)


def test_a_store_in_use_stays_and_its_successor_lies_beside_it(tmp_path):
    path = built(tmp_path / "x.0123456789abcdef.duckdb")
    log = EventLog.open(path)
    before = path.read_bytes()
    built(path)
    beside = tmp_path / "x.0123456789abcdef-2.duckdb"
    assert path.read_bytes() == before and beside.exists()
    assert store_file.stores(path) == [beside, path]
    store_file.remove_unused(beside, "x")
    assert path.exists()
    log.close()
    store_file.remove_unused(beside, "x")
    assert not path.exists() and not moments.place(path).exists()
    assert beside.exists() and moments.place(beside).exists()


def test_a_store_that_another_process_has_open_stays_until_that_ends(tmp_path):
    path = built(tmp_path / "x.0123456789abcdef.duckdb")
    keep = tmp_path / "x.fedcba9876543210.duckdb"
    hold = (
        "import sys, pathlib; from mctlib.eventlog.event_log import EventLog\n"
        "log = EventLog.open(pathlib.Path(sys.argv[1])); print('open', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert other.stdout.readline() == b"open\n"
        store_file.remove_unused(keep, "x")
        assert path.exists()
    finally:
        other.kill()
        other.wait()
    store_file.remove_unused(keep, "x")
    assert not path.exists()


def test_only_stores_of_the_dataset_are_removed(tmp_path):
    names = ["xy.0123456789abcdef.duckdb", "x.notes.duckdb", "x.load.json", "x-2.duckdb"]
    old = ["x.duckdb", "x.moments.arrow", "x.0123456789abcdef.duckdb"]
    for name in names + old:
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    store_file.remove_unused(tmp_path / "x.fedcba9876543210.duckdb", "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
