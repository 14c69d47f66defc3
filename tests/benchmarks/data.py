"""What the benchmarks run on, generated anew on any machine: Parquet files and their data YAMLs, a project of its own in outputs/bench."""

from collections.abc import Callable
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "outputs" / "bench"
STEPS = ["signed_up", "profile_completed", "resume_uploaded", "job_saved", "interview_scheduled"]
CONVERSION, CLICK = "subscription_started", "partner_clicked"
NAMES = [*STEPS, CONVERSION, CLICK, *(f"viewed_{i:02d}" for i in range(13))]
SEGMENTS = ["creator", "job_board", "organic", "paid_search", "referral"]
FIRST, DAYS, AS_OF, DAY_US = (
    "TIMESTAMP '2025-01-06'",
    180,
    "2025-07-05",
    86_400_000_000,
)  # the data end with the day before AS_OF


def events(millions: str) -> Callable[[], None]:
    """A log in the order of time: 20 events a user, 20 names, clicks name one of 10 partners; no two events at one moment, where funnel rules differ."""
    n = int(millions) * 1_000_000
    step = DAYS * DAY_US // n
    return lambda: _write(
        f"events-{millions}",
        f"""SELECT 'user-' || pick(i, 0, {n // 20}) AS user_id, event,
        {FIRST} + to_microseconds(i * {step} + pick(i, 2, {step})) AS timestamp, ['web', 'ios', 'android'][1 + pick(i, 3, 3)] AS platform,
        CASE WHEN event = '{CLICK}' THEN 'partner-' || floor(10 * pow(uniform(i, 4), 1.5))::INTEGER END AS partner_id
        FROM (SELECT i, {NAMES}[1 + pick(i, 1, {len(NAMES)})] AS event FROM range({n}) t(i))""",
    )


def signups(millions: str) -> Callable[[], None]:
    """So many users of 5 segments who sign up; three in four complete their profile some day (Weibull, shape 0.8), if the data last so long."""
    return lambda: _write(
        f"signups-{millions}",
        f"""WITH users AS (SELECT 'user-' || i AS user_id, pick(i, 5, 5) AS segment,
        {FIRST} + to_microseconds((uniform(i, 1) * {DAYS * DAY_US})::BIGINT) AS began, CASE WHEN uniform(i, 2) < 0.75 THEN
        began + to_microseconds(((18 + 4 * segment) * {DAY_US} * pow(-ln(1 - uniform(i, 3)), 1.25))::BIGINT) END AS done FROM range({millions}000000) t(i))
        SELECT user_id, '{STEPS[0]}' AS event, began AS timestamp, {SEGMENTS}[1 + segment] AS channel FROM users
        UNION ALL SELECT user_id, '{STEPS[1]}', done, NULL FROM users WHERE done < {FIRST} + INTERVAL {DAYS} DAY""",
    )


def _write(name: str, select: str) -> None:
    """The Parquet file of a SELECT, unless it is there, and the YAML that names it."""
    path = BENCH / f"{name}.parquet"
    if not path.exists():
        (BENCH / "params").mkdir(parents=True, exist_ok=True)
        (BENCH / "params" / f"data.{name}.yaml").write_text(
            f"name: {name}\nevents: {{path: {path.name}, format: canonical, timezone: UTC}}\n"
        )
        with duckdb.connect() as con:
            con.execute(
                "CREATE MACRO pick(i, k, n) AS (hash(i * 16 + k) % n)::BIGINT; CREATE MACRO uniform(i, k) AS pick(i, k, 1000000000) / 1e9"
            )
            con.execute(f"COPY ({select}) TO '{path}.part' (FORMAT parquet)")
        Path(f"{path}.part").rename(path)
