"""What the benchmarks run on, generated anew on any machine.

Parquet files and their data YAMLs, a project of its own in outputs/bench.
"""

from collections.abc import Callable
from pathlib import Path

import duckdb

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "outputs" / "bench"
STEPS = ["signed_up", "profile_completed", "resume_uploaded", "job_saved", "interview_scheduled"]
CONVERSION, CLICK = "subscription_started", "partner_clicked"
NAMES = [*STEPS, CONVERSION, CLICK, *(f"viewed_{i:02d}" for i in range(13))]
DEEDS = [f"did_{i:02d}" for i in range(20)]
BESIDES = [*STEPS[:3], *NAMES[-11:]]  # what users of a log with recurring steps do besides the path
SEGMENTS = ["creator", "job_board", "organic", "paid_search", "referral"]
FIRST, DAYS, DAY_US = "TIMESTAMP '2025-01-06'", 180, 86_400_000_000
AS_OF = "2025-07-05"  # the data end with the day before


def events(millions: str) -> Callable[[], None]:
    """Make a log in the order of time: 20 events a user, 20 names, each as frequent.

    Clicks name one of 10 partners. No two events at one moment, where funnel rules differ.
    """
    n = int(millions) * 1_000_000
    step = DAYS * DAY_US // n
    select = f"""
        SELECT 'user-' || pick(i, 0, {n // 20}) AS user_id, event,
            {FIRST} + to_microseconds(i * {step} + pick(i, 2, {step})) AS timestamp,
            ['web', 'ios', 'android'][1 + pick(i, 3, 3)] AS platform,
            CASE WHEN event = '{CLICK}'
                THEN 'partner-' || floor(10 * pow(uniform(i, 4), 1.5))::INTEGER END AS partner_id
        FROM (SELECT i, {NAMES}[1 + pick(i, 1, {len(NAMES)})] AS event FROM range({n}) t(i))"""
    return lambda: _write(f"events-{millions}", select)


def recurring(millions: str) -> Callable[[], None]:
    """Make a log of 80,000 users a million events, in which steps recur among other events.

    Users enter at any second of the period; of those at a step 70, 60, 50 and 40 % go on, after
    exponential waits of 1, 2, 3 and 4 days. Besides, each does 10 events on average within 30
    days, three in fourteen of them the first three steps.
    """
    waits = [f"-ln(1 - uniform(i, {k})) * {k}" for k in range(1, 5)]
    went = [f"uniform(i, {k + 4}) < {0.8 - k / 10:.1f}" for k in range(1, 5)]
    path = [
        f"SELECT i, '{STEPS[k]}' AS event, ({' + '.join(['0', *waits[:k]])})::DOUBLE AS days "
        f"FROM users WHERE {' AND '.join(['true', *went[:k]])}"
        for k in range(5)
    ]
    besides = f"""SELECT i, {BESIDES}[1 + pick(i * 512 + k, 10, 14)], 30 * uniform(i * 512 + k, 11)
        FROM users, unnest(range(least(round(1 - 10 * ln(1 - uniform(i, 9)))::BIGINT, 512))) t(k)"""
    select = f"""
        WITH users AS (SELECT i FROM range({int(millions) * 80_000}) t(i)),
        rows AS ({" UNION ALL ".join([*path, besides])})
        SELECT 'user-' || i AS user_id, event,
            {FIRST} + to_seconds(pick(i, 0, {DAYS * 86_400}) + (days * 86400)::BIGINT) AS timestamp
        FROM rows WHERE timestamp < {FIRST} + INTERVAL {DAYS} DAY ORDER BY timestamp"""
    return lambda: _write(f"recurring-{millions}", select)


def signups(millions: str) -> Callable[[], None]:
    """Make a log of so many million users of 5 segments who sign up.

    Three in four complete their profile some day (Weibull, shape 0.8), if the data last so long.
    """
    later = f"(18 + 4 * segment) * {DAY_US} * pow(-ln(1 - uniform(i, 3)), 1.25)"
    select = f"""
        WITH users AS (SELECT 'user-' || i AS user_id, pick(i, 5, 5) AS segment,
            {FIRST} + to_microseconds((uniform(i, 1) * {DAYS * DAY_US})::BIGINT) AS began,
            CASE WHEN uniform(i, 2) < 0.75
                THEN began + to_microseconds(({later})::BIGINT) END AS done
            FROM range({millions}000000) t(i))
        SELECT user_id, '{STEPS[0]}' AS event, began AS timestamp,
            {SEGMENTS}[1 + segment] AS channel FROM users
        UNION ALL SELECT user_id, '{STEPS[1]}', done, NULL FROM users
            WHERE done < {FIRST} + INTERVAL {DAYS} DAY"""
    return lambda: _write(f"signups-{millions}", select)


def signals(millions: str) -> Callable[[], None]:
    """Make a log of so many million users who sign up and come back twice.

    Each of DEEDS is done by one in four, a fifth converts, all after exponential waits.
    """
    later = f"began + to_microseconds((-ln(1 - uniform({{}}, 3)) * {{}} * {DAY_US})::BIGINT)"
    each = "i * 32 + k"
    parts = [
        "SELECT i, channel, '" + STEPS[0] + "' AS event, began AS moment FROM users",
        f"SELECT i, channel, {DEEDS}[1 + k], {later.format(each, 10)} FROM users, "
        f"range({len(DEEDS)}) d(k) WHERE uniform({each}, 4) < 0.25",
        f"SELECT i, channel, 'came_back', {later.format(each, 20)} FROM users, range(20, 22) d(k)",
        f"SELECT i, channel, '{CONVERSION}', {later.format('i * 32 + 22', 30)} FROM users "
        "WHERE uniform(i * 32 + 22, 4) < 0.2",
    ]
    select = f"""
        WITH users AS (SELECT i, {SEGMENTS}[1 + pick(i, 5, 5)] AS channel,
            {FIRST} + to_microseconds((uniform(i, 1) * {DAYS * DAY_US})::BIGINT) AS began
            FROM range({millions}000000) t(i)),
        rows AS ({" UNION ALL ".join(parts)})
        SELECT 'user-' || i AS user_id, event, moment AS timestamp, channel FROM rows
        WHERE moment < {FIRST} + INTERVAL {DAYS} DAY"""
    return lambda: _write(f"signals-{millions}", select)


def touches(partners: str) -> Callable[[], None]:
    """Make a log of 3 million events, 20 a user: three in ten clicks, one in fifty the conversion.

    Clicks name one of so many partners, the first ones most often.
    """
    select = f"""
        SELECT 'user-' || pick(i, 0, 150_000) AS user_id,
            CASE WHEN uniform(i, 1) < 0.3 THEN '{CLICK}' WHEN uniform(i, 1) < 0.32
                THEN '{CONVERSION}' ELSE '{STEPS[0]}' END AS event,
            {FIRST} + to_microseconds((uniform(i, 2) * {DAYS * DAY_US})::BIGINT) AS timestamp,
            CASE WHEN event = '{CLICK}' THEN
                'partner-' || floor({partners} * pow(uniform(i, 3), 1.5))::INTEGER END AS partner_id
        FROM range(3_000_000) t(i)"""
    return lambda: _write(f"touches-{partners}", select)


def _write(name: str, select: str) -> None:
    """Write the Parquet file of a SELECT, unless it is there, and the YAML that names it."""
    path = BENCH / f"{name}.parquet"
    if path.exists():
        return
    (BENCH / "params").mkdir(parents=True, exist_ok=True)
    (BENCH / "params" / f"data.{name}.yaml").write_text(
        f"name: {name}\nevents: {{path: {path.name}, format: canonical, timezone: UTC}}\n"
    )
    with duckdb.connect() as con:
        con.execute("CREATE MACRO pick(i, k, n) AS (hash(i * 16 + k) % n)::BIGINT")
        con.execute("CREATE MACRO uniform(i, k) AS pick(i, k, 1000000000) / 1e9")
        con.execute(f"COPY ({select}) TO '{path}.part' (FORMAT parquet)")
    Path(f"{path}.part").rename(path)
