"""Touches of partners: frames, a log without a store, and worlds whose truth is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from mctlib.attribution.question import (
    Question,
    read_clock,
    read_events,
    read_rules,
    read_tags,
    read_windows,
    read_zones,
    touch_steps,
)
from mctlib.contract import as_columns, as_timestamp
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.journeys import Journeys
from mctlib.eventlog.steps import ANY, as_step
from tests.support.logs import FIRST, frame_of

DAY = 86_400_000_000


def rows_to_frame(rows):
    """(user, day, event, partner) -> events."""
    return frame_of([(u, e, day, p) for u, day, e, p in rows], "partner_id", unit="D")


class ArrayLog:
    """What `attribution_windows` asks of a log, straight from a frame and in two chunks.

    A store is too slow for many random logs.
    """

    name, currency = "arrays", ""
    accounts: list[str] = []
    day_resolution: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}

    step = staticmethod(as_step)
    columns = staticmethod(as_columns)
    words = SimpleNamespace(column=lambda name: SimpleNamespace(of_user=False))

    def caveats(self, as_of):
        """Nothing stands before an answer."""
        return ()

    def __init__(self, frame, stride=37):
        self.stride = stride  # between the users' buckets
        self.frame = frame.assign(user=pd.factorize(frame["user_id"])[0]).sort_values(
            ["user", "timestamp", "event"], kind="stable"
        )
        self.first_event = frame["timestamp"].min()

    def table(self, name):
        return pd.DataFrame(columns=["user", "day", "amount", "partner_id", "channel"])

    def missing_events(self, events):
        return []

    def counts(self, *, events):
        """The rows themselves."""
        return self.frame[self.matches(events[0], self.frame)]

    def matches(self, step, f):
        """Which rows a step means, whose filters ask for any value."""
        ok = np.ones(len(f), bool) if step.event is ANY else f["event"].isin(step.names).to_numpy()
        for column in (key.removeprefix("event.") for key in step.where):
            ok &= f[column].notna().to_numpy() if column in f else False
        return ok

    def as_of(self, as_of):
        return int(as_timestamp(as_of).value // 1000)

    def reduce(self, kernel, *, events, by, as_of, values=None):
        end = self.as_of(as_of)
        f = self.frame[self.frame["timestamp"] <= as_timestamp(as_of)]
        mask = np.zeros(len(f), np.uint64)
        for bit, step in enumerate(events):
            ok = self.matches(step, f)
            mask |= ok.astype(np.uint64) << np.uint64(bit)
        f, mask = f[mask > 0], mask[mask > 0]
        dims, levels = {}, {}
        for name in by:
            column = (
                f[name.removeprefix("event.")]
                if name.removeprefix("event.") in f
                else pd.Series(None, index=f.index, dtype=object)
            )
            dims[name], levels[name] = pd.factorize(column.fillna("(none)"), sort=True)
        time = f["timestamp"].astype("datetime64[us, UTC]").astype("int64").to_numpy()
        user = f["user"].to_numpy()
        value = None if values is None else f[values].to_numpy(float)
        bucket = lambda some: some * self.stride % 100  # noqa: E731 - one line says it
        j = Journeys(user, time, mask, end, dims, levels, bucket, value)
        return self.walk(kernel, j)

    def walk(self, kernel, j):
        half = j.user < np.median(j.user) if len(j) else np.empty(0, bool)
        return add_up(kernel(part) for part in (j.take(half), j.take(~half)))


def question_of(log, conversion, windows, as_of, start=None, competing=None):
    """The checked question about partner_id that `attribution_windows` asks, linear rule."""
    named = {"conversion": conversion, "start": start or ANY, "competing": competing}
    events = read_events(log, **named)
    tags = read_tags(log, "partner_id", "partner_id", log.as_of(as_of))
    touches = touch_steps(read_events(log, touches=ANY)["touches"], tags)
    zones = read_zones(log, events["conversion"], touches)
    lengths, rules = read_windows(windows, None), read_rules("linear")
    clock = read_clock(log, lengths, as_of=as_of, rules=rules, half_life="7d", zones=zones)
    return Question(clock, tags, (*events.values(), *touches), False, zones=zones)


def random_frame(seed):
    """Few users, four ticks a day, many ties.

    Touches of three partners, starts, exits, conversions (also none, also twice), touches after
    them.
    """
    rng = np.random.default_rng(seed)
    rows = [("u0", 0.0, "page", None)]
    for u in range(1, int(rng.integers(2, 9))):
        for event, most in (("signed_up", 2), ("paid", 3), ("left", 2), ("page", 2)):
            rows += [
                (f"u{u}", d / 4, event, None) for d in rng.integers(0, 160, rng.integers(0, most))
            ]
        rows += [
            (f"u{u}", d / 4, "visit", p)
            for d, p in zip(rng.integers(0, 160, rng.integers(0, 9)), rng.choice(list("abc"), 9))
        ]
        rows += [(f"u{u}", rows[-1][1], "paid", "a")] if rng.random() < 0.3 else []
    return rows_to_frame(rows)


def simulated(seed, users=2500, days=180, null_rate=0.01):
    """Touches of two partners that cause conversions and of one that causes none; and the truth.

    Lags are log-normal, the background is flat.
    """
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 150, users)
    background = start + rng.exponential(1 / 0.002, users)
    parts = []
    for name, per_day, chance, median in (
        ("slow", 0.004, 0.25, 14.0),
        ("fast", 0.004, 0.2, 3.0),
        ("idle", null_rate, 0.0, 1.0),
    ):
        who = np.repeat(np.arange(users), rng.poisson(per_day * (days - start)))
        at = rng.uniform(start[who], days)
        lag = np.where(
            rng.random(len(who)) < chance,
            median * np.exp(0.5 * rng.standard_normal(len(who))),
            np.inf,
        )
        parts.append(
            pd.DataFrame({"user": who, "t": at, "partner_id": name, "caused": at + lag, "lag": lag})
        )
    touches = pd.concat(parts, ignore_index=True)
    best = (
        touches.loc[touches.groupby("user")["caused"].idxmin()]
        .set_index("user")
        .reindex(range(users))
    )
    caused = best["caused"].fillna(np.inf).to_numpy()
    conv = np.minimum(caused, background)
    paid = conv < days
    lag = np.where(
        (caused < background) & paid & (conv >= 60 + start.min()), best["lag"].to_numpy(), np.inf
    )
    frame = pd.concat(
        [
            pd.DataFrame(
                {"user_id": np.arange(users), "t": start, "event": "signed_up", "partner_id": None}
            ),
            pd.DataFrame(
                {
                    "user_id": touches["user"],
                    "t": touches["t"],
                    "event": "visit",
                    "partner_id": touches["partner_id"],
                }
            ),
            pd.DataFrame(
                {
                    "user_id": np.flatnonzero(paid),
                    "t": conv[paid],
                    "event": "paid",
                    "partner_id": None,
                }
            ),
        ],
        ignore_index=True,
    )
    frame["timestamp"] = FIRST + pd.to_timedelta(np.round(frame.pop("t") * DAY), unit="us")
    return ArrayLog(frame), lag


def wide(result, rule, days, column="credit"):
    part = result.credit[
        result.credit["rule"].eq(rule) & np.isclose(result.credit["window_days"], days)
    ]
    return part.set_index("partner_id")[column]
