"""The demo as clean Parquet files, and every table that the analyses make of a log."""

from pathlib import Path

import duckdb
import pandas as pd

from mctlib.activation.landmark import landmark_activation
from mctlib.activation.time_to_event import time_to_activation
from mctlib.attribution.windows import attribution_windows
from mctlib.eventlog.build import build_store
from mctlib.eventlog.daily_metric import Count, Mean, Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import canonical_frame
from mctlib.eventlog.pseudonyms import salt
from mctlib.eventlog.steps import ANY, Exclusion, Step
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.funnel.decomposition import explain_change
from mctlib.funnel.drivers import drop_off_drivers
from mctlib.funnel.vendor_rules import compare_rules
from mctlib.roi.before_after import compare_before_after
from mctlib.sources import demo

STEPS = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]
AS_OF = "2026-11-29"
SMALL = ("people", "surveys", "backend", "spend", "timeline")
# tables whose names begin so hold sums of fractions (over users, over accounts), which are added in
# another order
FRACTIONS = ("attribution", "mean", "activation", "landmark")


def write_clean_demo(folder: Path, users: int = 1500) -> Path:
    """The demo after stitching and de-duplication, as Parquet files with the canonical columns.

    The events lie in no order over several files.
    """
    con, tables = duckdb.connect(), {}
    for table, rows in demo.generate(users=users, seed=1).items():
        con.register(f"demo_{table}", canonical_frame(rows, table))
        tables[table] = [(table, f"FROM demo_{table}")]
    build_store(folder / "demo.duckdb", tables, con=con, name="demo")
    con.execute(f"ATTACH '{folder}/demo.duckdb' AS demo (READ_ONLY); USE demo")
    (folder / "events").mkdir()
    for part in range(3):
        con.execute(f"""COPY (
            SELECT user_id, e.* EXCLUDE (user) REPLACE (event::VARCHAR AS event)
            FROM events e JOIN users USING (user)
            WHERE hash(user_id, timestamp) % 3 = {part} ORDER BY hash(timestamp)
            ) TO '{folder}/events/{part}.parquet'""")
    for table in SMALL:
        select = f"FROM {table}"
        if table in SMALL[:3]:
            select = f"SELECT user_id, t.* EXCLUDE (user) FROM {table} t JOIN users USING (user)"
        con.execute(f"COPY ({select}) TO '{folder}/{table}.parquet'")
    return folder


def stored(folder: Path) -> EventLog:
    """The same files through a store of the same salt, so that users have the same buckets."""
    con, tables = duckdb.connect(), {}
    for table in ("events", *SMALL):
        files = folder / "events" if table == "events" else folder / f"{table}.parquet"
        con.register(table, canonical_frame(pd.read_parquet(files), table))
        tables[table] = [(table, f"FROM {table}")]
    build_store(folder / "again.duckdb", tables, con=con, name="frame", salted=salt())
    return EventLog.open(folder / "again.duckdb")


def answers(log: EventLog) -> dict[str, pd.DataFrame]:
    """Every table of every analysis, with options that use all there is to a walk.

    Dims of people and events, filters, values, buckets, users of tables.
    """
    steps = [
        "signed_up",
        Step("job_viewed", {"platform": ["ios", "android"]}),
        ["job_saved", "application_submitted"],
    ]
    rate = daily_metric(
        log, Rate("interview_scheduled", of="signed_up", window="14d"), as_of=AS_OF, by="plan"
    ).table
    treated = rate[rate["segment"] == "growth"].assign(segment="all")
    results = {
        "funnel": diagnose_funnel(log, STEPS, window="14d", as_of=AS_OF, by="plan"),
        "other funnel": diagnose_funnel(
            log,
            steps,
            window="3d",
            as_of="2026-05-01",
            by=["platform", "channel"],
            exclude=[Exclusion("email_clicked", 1, 3)],
            optional=[2],
        ),
        "change": explain_change(
            log,
            STEPS,
            window="14d",
            before=("2026-03-01", "2026-03-31"),
            after=("2026-05-01", "2026-05-31"),
            by="platform",
        ),
        "drivers": drop_off_drivers(
            log,
            STEPS,
            window="14d",
            as_of=AS_OF,
            segments=["channel", "week"],
            events=["job_viewed", "email_clicked"],
            adjust="platform",
        ),
        "rules": compare_rules(
            log, ["job_viewed", "job_viewed", "application_submitted"], window="7d", as_of=AS_OF
        ),
        "activation": time_to_activation(
            log,
            start="signed_up",
            activation="interview_scheduled",
            competing="account_deleted",
            as_of=AS_OF,
            by="channel",
        ),
        "landmark": landmark_activation(
            log,
            start="signed_up",
            activation="interview_scheduled",
            as_of=AS_OF,
            by="platform",
        ),
        "attribution": attribution_windows(
            log,
            "subscription_started",
            windows=["7d", "30d", "60d"],
            as_of=AS_OF,
            value=90.0,
            seed=1,
        ),
        "before/after": compare_before_after(treated, change_at="2026-04-06"),
    }
    return {
        "describe": log.describe(),
        "counts": log.counts(),
        "rate": rate,
        "count": daily_metric(log, Count("session_ended"), as_of=AS_OF).table,
        "counts by": log.counts(
            events=["signed_up", Step(ANY, {"platform": "ios"})], by=["plan", "properties.minutes"]
        ),
        "mean": daily_metric(
            log, Mean("session_ended", "minutes"), as_of=AS_OF, by="event.platform"
        ).table,
        **{
            f"{name}: {field}": table
            for name, result in results.items()
            for field, table in vars(result).items()
            if isinstance(table, pd.DataFrame)
        },
        "words": pd.DataFrame(
            {
                "finding": [r.finding for r in results.values()],
                "caveats": [" | ".join(r.caveats) for r in results.values()],
            }
        ),
    }


def assert_same(table: pd.DataFrame, expected: pd.DataFrame, name: str) -> None:
    """Counts and all that follows from them exactly."""
    pd.testing.assert_frame_equal(
        table,
        expected,
        obj=name,
        **({"rtol": 1e-12, "atol": 1e-12} if name.startswith(FRACTIONS) else {"check_exact": True}),
    )
