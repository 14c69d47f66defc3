"""The other side of the benchmarks, each peer in its best honest form; jobs as in `ours`.

Nothing here imports mctlib.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from timeit import repeat
from typing import Any

import duckdb
import pandas as pd

from tests.benchmarks.data import AS_OF, BENCH, CONVERSION, DAY_US, NAMES, SEGMENTS, STEPS
from tests.support.stores import store_of

CHOSEN = f"event IN ({', '.join(map(repr, STEPS))})"
END = f"epoch_us(TIMESTAMP '{AS_OF}') + {DAY_US - 1}"


def _reached(levels: Sequence[Sequence[Any]]) -> list[int]:
    """Users who reached each step, from (deepest step, users)."""
    return [sum(int(n) for level, n in levels if int(level) > k) for k in range(len(STEPS))]


def _chdb(name: str, loaded: bool) -> tuple[Any, str]:
    """A session, where ``loaded`` with the tables in outputs/bench, and the Parquet as a table.

    Declared without NULLs it takes a third less.
    """
    from chdb import session

    columns = "user_id String, event String, timestamp DateTime64(6, \\'UTC\\')"
    return session.Session(
        str(BENCH / f"chdb-{name}") if loaded else None
    ), f"file('{BENCH / name}.parquet', Parquet, '{columns}')"


def mergetree(name: str) -> Callable[[], None]:
    """Parquet into a chDB table sorted by user and time, in the smallest types that hold it."""
    (con, file), codes = (
        _chdb(name, loaded=True),
        ", ".join(f"'{n}' = {i}" for i, n in enumerate(NAMES)),
    )
    steps = (
        "CREATE DATABASE IF NOT EXISTS bench ENGINE = Atomic",
        "DROP TABLE IF EXISTS bench.events SYNC",
        f"CREATE TABLE bench.events (user UInt32, time UInt64, event Enum8({codes})) "
        "ENGINE = MergeTree ORDER BY (user, time)",
        "INSERT INTO bench.events SELECT toUInt32(substring(user_id, 6)), "
        f"toUnixTimestamp64Micro(timestamp), event FROM {file} SETTINGS max_threads = 2",
        "OPTIMIZE TABLE bench.events FINAL",
    )
    return lambda: [con.query(sql) for sql in steps] and None


def window_funnel(name: str, loaded: str = "") -> Callable[[], list[int]]:
    """chDB on Parquet, or on the table, in the fastest form.

    Found by trying: with and without a filter of the steps, by hash or in the order of users.
    """
    con, file = _chdb(name, loaded=bool(loaded))
    table, user, at = (
        ("bench.events", "user", "time")
        if loaded
        else (file, "user_id", "toUInt64(toUnixTimestamp64Micro(timestamp))")
    )
    steps = ", ".join(f"event = '{s}'" for s in STEPS)

    def ask(where: str, in_order: int) -> list[int]:
        levels = con.query(
            f"""SELECT level, count() FROM (
                SELECT windowFunnel({14 * DAY_US})({at}, {steps}) AS level
                FROM {table} WHERE {where} GROUP BY {user})
            GROUP BY level SETTINGS max_threads = 2, optimize_aggregation_in_order = {in_order}""",
            "JSONCompact",
        )
        return _reached(json.loads(levels.bytes())["data"])

    ask("1", 0)  # the first query also warms up
    best = min(
        [(CHOSEN, 0), ("1", 0), (CHOSEN, 1), ("1", 1)],
        key=lambda form: min(repeat(lambda: ask(*form), number=1, repeat=3)),
    )
    return lambda: ask(*best)


def _store(name: str) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str(store_of(name, BENCH)), read_only=True, config={"threads": 2})


def scan(name: str) -> Callable[[], int]:
    """DuckDB reads what a funnel needs from our store, and nothing is done with it."""
    con = _store(name)
    return lambda: len(
        con.sql(
            f"SELECT sum(user), max(timestamp), max(event) FROM events WHERE {CHOSEN}"
        ).fetchall()
    )


def columns(name: str) -> Callable[[], int]:
    """DuckDB hands over what an audit needs of our store's rows, and nothing is done with it."""
    con = _store(name)
    asked = """SELECT user, epoch_us(timestamp) AS time, enum_code(event) AS code, platform,
        hash(enum_code(event), NULL)::DOUBLE AS payload, partner_id FROM events"""
    return lambda: len(con.sql(asked).to_arrow_table())


def asof(name: str) -> Callable[[], list[int]]:
    """DuckDB on our store: from every first step the next second one, from there the next third.

    Window functions take three times as long.
    """
    con, n = _store(name), len(STEPS)
    at = [
        f"SELECT user, timestamp AS t{k} FROM events WHERE event = '{step}'"
        for k, step in enumerate(STEPS)
    ]
    joins = "".join(
        f", w{k} AS (SELECT w.*, t{k} FROM w{k - 1} w ASOF LEFT JOIN ({at[k]}) e "
        f"ON w.user = e.user AND w.t{k - 1} <= e.t{k})"
        for k in range(1, n)
    )
    level = "1" + "".join(
        f" + coalesce(t{k} <= t0 + INTERVAL 14 DAY, false)::INTEGER" for k in range(1, n)
    )
    sql = (
        f"WITH w0 AS ({at[0]}){joins} SELECT level, count(*) "
        f"FROM (SELECT max({level}) AS level FROM w{n - 1} GROUP BY user) GROUP BY 1"
    )
    return lambda: _reached(con.sql(sql).fetchall())


def markov(name: str) -> Callable[[], dict[str, float]]:
    """Credit shares: paths by our rule from our store by SQL, then ChannelAttribution.

    The rule (30 days) is what `attribution_windows` says.
    """
    from ChannelAttribution import markov_model

    con, window = _store(name), 30 * DAY_US
    sql = f"""WITH converted AS (SELECT user, min(epoch_us(timestamp)) AS conv FROM events
            WHERE event = '{CONVERSION}' GROUP BY user),
        begun AS (SELECT min(epoch_us(timestamp)) + {window} AS origin FROM events),
        touch AS (SELECT user, partner_id, epoch_us(timestamp) AS t,
            coalesce(conv - t <= {window}, false) AS near, near AND conv >= origin AS hit,
            NOT near AND t + {window} BETWEEN origin AND {END} AS lost
            FROM events LEFT JOIN converted USING (user), begun
            WHERE partner_id IS NOT NULL AND t <= coalesce(conv, t)),
        cut AS (SELECT *,
            coalesce(t - lag(t) OVER w > {window} OR hit <> lag(hit) OVER w, true) AS new
            FROM touch WINDOW w AS (PARTITION BY user ORDER BY t)),
        run AS (SELECT *, count(*) FILTER (new) OVER (PARTITION BY user ORDER BY t) AS run
            FROM cut),
        path AS (SELECT string_agg(partner_id, '>' ORDER BY t) AS path,
            arg_max(hit, t)::INTEGER AS hit, arg_max(lost, t)::INTEGER AS lost
            FROM run GROUP BY user, run)
        SELECT path, sum(hit)::BIGINT AS n_hit, sum(lost)::BIGINT AS n_lost
        FROM path WHERE hit + lost > 0 GROUP BY path"""

    def shares(found):
        total = found["total_conversions"]
        return dict(zip(found["channel_name"], total / total.sum()))

    return lambda: shares(
        markov_model(
            con.sql(sql).df(),
            "path",
            "n_hit",
            var_null="n_lost",
            ncore=2,
            verbose=False,
            flg_pro=False,
        )
    )


def lifelines(name: str, cox_rows: str) -> Callable[[], list[float]]:
    """On rows: Kaplan-Meier of the segments, log-rank of each against the first, and a Cox model.

    Cox of the second on so many rows: its hazard ratio and its seconds.
    """
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test

    # in units of 12 minutes, as ours at 90 days
    rows = duckdb.sql(f"""
        SELECT segment, least(later, seen) // 720000000 AS units,
            coalesce(later <= seen, false) AS done
        FROM (SELECT max(channel) AS segment,
                max(t) FILTER (event = '{STEPS[1]}') - min(t) AS later,
                least({END} - min(t), {90 * DAY_US}) AS seen
            FROM (SELECT *, epoch_us(timestamp) AS t FROM '{BENCH / name}.parquet')
            GROUP BY user_id)""").df()
    parts = [rows.loc[rows["segment"] == s, ["units", "done"]] for s in SEGMENTS]
    pair = pd.concat([parts[0].assign(second=0.0), parts[1].assign(second=1.0)]).sample(
        int(cox_rows), random_state=1
    )

    def work() -> list[float]:
        for part in parts:
            KaplanMeierFitter().fit(part["units"], part["done"])
        for part in parts[1:]:
            logrank_test(parts[0]["units"], part["units"], parts[0]["done"], part["done"])
        begin = time.perf_counter()
        return [
            float(CoxPHFitter().fit(pair, "units", "done").hazard_ratios_["second"]),
            time.perf_counter() - begin,
        ]

    return work


def python(*commands: str) -> Callable[[], list[int]]:
    """Fresh interpreters one after another."""
    return lambda: [
        subprocess.run(
            [sys.executable, *shlex.split(c)], check=True, capture_output=True
        ).returncode
        for c in commands
    ]
