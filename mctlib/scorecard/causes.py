"""Cause before person: lost tracking, a competitor's move against numbers it cannot touch, mix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import ENTRIES, interval_columns, nearest
from mctlib.phrases import listed
from mctlib.results import MIN_USERS
from mctlib.scorecard.counting import AT, Weeks
from mctlib.scorecard.meters import Meter, Meters
from mctlib.stats.monitoring import BACK, NEW_LEVEL, REOPENS, weekly_alerts

COMPETITOR = "competitor"
EARLIER = pd.Timedelta("14D")  # so long before a fall a competitor's entry is told beside it
WEEK = pd.Timedelta("7D")
MIN_CONTROLS = 3


def losses(judged: pd.DataFrame) -> pd.DataFrame:
    """Spells in which tracking was lost, by `tracking_gate`: `LOSSES`, and the newest week.

    As a fall: one is over when completeness was back at 95 % of what it was for two weeks, or has
    been lost for 12 weeks, a new level; one that begins within 8 weeks of its recovery is the same.
    over_on: its last week · moves: (day, what) of each time it was over, and open again.
    """
    found: list[dict[str, Any]] = []
    for metric, rows in judged.groupby("metric", sort=True):
        micro, _, platform = str(metric).partition(AT)
        spell: dict[str, Any] = {"state": "", "over_on": rows["week"].min() - WEEK}
        for row in rows.to_dict("records"):
            if row["lost"] and spell["state"] != "open" and row["since"] > spell["over_on"]:
                near = row["week"] - spell["over_on"] <= REOPENS * WEEK
                again = spell["state"] == "recovered" and near
                if again:
                    spell["moves"].append((row["week"], "open again"))
                else:
                    spell = {"micro": micro, "platform": platform, "since": row["since"]}
                    spell |= {"p0": row["p0"], "moves": []}
                    found.append(spell)
                spell |= {"state": "open", "began": row["week"], "over_on": pd.NaT, "n_back": 0}
                spell["again_on"] = row["week"] if again else pd.NaT
            if spell["state"] == "open":
                _goes_on(spell, row)
    newest = judged["week"].max() if len(judged) else pd.NaT
    days = dict.fromkeys(("since", "over_on", "again_on"), "datetime64[ns]")
    return pd.DataFrame(found, columns=LOSSES).astype(days).assign(newest=newest)


LOSSES = ["micro", "platform", "since", "state", "over_on", "n", "value", "p0", "again_on", "moves"]


def _goes_on(spell: dict[str, Any], row: dict[str, Any]) -> None:
    """A week of an open loss, which may end it."""
    if row["n"] >= MIN_USERS:
        spell |= {name: row[name] for name in ("n", "value")}
    is_back = row["value"] >= BACK * spell["p0"] and not row["lost"]
    spell["n_back"] = spell["n_back"] + 1 if is_back else 0
    state = "recovered" if spell["n_back"] >= 2 else "open"
    if state == "open" and row["week"] - spell["began"] >= NEW_LEVEL * WEEK:
        state = "new level"
    if state != "open":
        spell |= {"state": state, "over_on": row["week"]}
        spell["moves"].append((row["week"] + WEEK, state))


def judge(table: pd.DataFrame, rule: Mapping[str, Any]) -> pd.DataFrame:
    """`weekly_alerts` by a rule of more metrics than a table may hold.

    Fewer than 10 users are the n of a mean and of a ratio too, however many events they did.
    """
    found = weekly_alerts(table, **narrowed(rule, table["metric"]))
    keys = ["metric", "week"]
    users = table.set_index(keys)["n_users"].reindex(pd.MultiIndex.from_frame(found[keys]))
    found["n"] = found["n"].where(users.to_numpy() >= MIN_USERS, users.to_numpy())
    return found


def narrowed(rule: Mapping[str, Any], metrics: Iterable[str]) -> dict[str, Any]:
    """What a rule says of some metrics."""
    known = set(metrics)
    return {
        name: {m: said[m] for m in said if m in known} if isinstance(said, Mapping) else said
        for name, said in rule.items()
    }


def n_judged(cells: pd.DataFrame, micro: str, week: pd.Timestamp) -> int:
    """On how many platforms the tracking of an event could be judged in a week."""
    own = [str(name).startswith(f"{micro}{AT}") for name in cells["metric"]]
    return int(cells.loc[np.array(own, bool) & (cells["week"] == week), "judged"].sum())


def explained_by_tracking(
    row: pd.Series, meter: Meter, lost: pd.DataFrame, weeks: Weeks, rule: dict[str, Any]
) -> list[str]:
    """Platforms on which the meter's event got lost then, without which it did not fall."""
    over = lost["over_on"].fillna(row["week"]) < row["week"]
    then = (lost["since"] <= row["week"] + WEEK) & ~over
    platforms = lost.loc[(lost["micro"] == meter.micro) & then, "platform"].tolist()
    if not platforms:
        return []
    without = weeks.of(without=platforms)
    judged = judge(without[without["metric"] == meter.name], rule)
    now = judged[judged["week"] == row["week"]]
    return [] if (now["state"] == "open").any() else platforms


def entries_near(timeline: pd.DataFrame, meter: Meter, week: pd.Timestamp) -> pd.DataFrame:
    """Entries from 14 days before a week to its end that concern a number, the nearest last.

    One that names no micro-conversion concerns all that are exposed to it, if it is a competitor's.
    """
    near = timeline[timeline["day"].between(week - EARLIER, week + WEEK, inclusive="left")]
    mine = [concerns(entry, meter) for entry in near.to_dict("records")]
    return near[np.array(mine, bool)]


def concerns(entry: dict[str, Any], meter: Meter) -> bool:
    """Whether an entry of the timeline may move a number."""
    named = {word.strip() for word in str(entry["micro_conversions"] or "").split(",")} - {""}
    if named:
        return bool(named & meter.names)
    if entry["kind"] != COMPETITOR:
        return False
    if isinstance(meter.exposed, list):
        return any(move.lower() in str(entry["label"]).lower() for move in meter.exposed)
    return bool(meter.exposed)


def not_understood(timeline: pd.DataFrame, meters: Meters, events: Iterable[str]) -> Iterator[str]:
    """What of a timeline moves nothing, since nobody knows its word."""
    for kind in timeline.loc[~timeline["kind"].isin(ENTRIES), "kind"].unique():
        yield (
            f"The timeline's kind “{kind}” is not known and only drawn; known are "
            f"{listed(ENTRIES)}.{nearest(kind, ENTRIES)}"
        )
    known = {*events, *meters.plan.micro_conversions}.union(*(m.names for m in meters.all))
    named = {word.strip() for words in timeline["micro_conversions"] for word in words.split(",")}
    for word in sorted(named - known - {""}):
        yield f"The timeline names “{word}”, which no number is called.{nearest(word, known)}"


def study(
    row: pd.Series, meter: Meter, entry: dict[str, Any], judged: pd.DataFrame, meters: Meters
) -> dict[str, Any]:
    """Change of a number in its week against numbers that the entry cannot touch.

    Difference of log ratios to the 12 weeks before; the error holds that of the number and the
    scatter of the controls.
    """
    with_it = meters.follows(meter)
    controls = [
        other.name
        for other in meters.all
        if other.kind == "rate"
        and other.micro not in with_it
        and not other.exposed
        and not concerns(entry, other)
    ]
    now = judged[(judged["week"] == row["week"]) & judged["metric"].isin(controls)]
    now = now[now["state"].isin(["", "may be chance"]) & (now["value"] > 0)]
    width = now["rel_change_ci_upper"] - now["rel_change_ci_lower"]
    logs = np.log1p(now.loc[width < 0.4, "rel_change"])
    if len(logs) < MIN_CONTROLS:
        return interval_columns("study_change") | {"n_controls": 0}
    own = (row["rel_change_ci_upper"] - row["rel_change_ci_lower"]) / 4 / (1 + row["rel_change"])
    error = np.sqrt(own**2 + logs.var(ddof=1) / len(logs))
    apart = np.log1p(row["rel_change"]) - logs.mean()
    ends = stats.t_interval(apart, error, len(logs) - 1 + 12)
    told = [float(np.expm1(x)) for x in (apart, *ends)]
    return interval_columns("study_change", *told) | {"n_controls": len(logs)}


def mix_change(weeks: Weeks, metric: str, week: pd.Timestamp, usable: Iterable[Any]) -> float:
    """What of a relative change the channels' mix makes, against the usable weeks before it."""
    rows = weeks.counts[weeks.counts["metric"] == metric]
    at = rows["week"].map(weeks.day)
    now, before = rows[at == week], rows[at.isin(list(usable))]
    column = "n_success" if (rows["kind"] == "rate").all() else "sum_value"
    parts = [part.groupby("segment")[["n_units", column]].sum() for part in (before, now)]
    segments = sorted(set(parts[0].index) | set(parts[1].index))
    then, today = (part.reindex(segments, fill_value=0.0) for part in parts)
    rates = [stats.rate(p[column], p["n_units"]) for p in (then, today)]
    found = stats.kitagawa(
        then["n_units"].to_numpy(float),
        np.asarray(rates[0])[:, None],
        today["n_units"].to_numpy(float),
        np.asarray(rates[1])[:, None],
    )
    level = then[column].sum() / then["n_units"].sum() if then["n_units"].sum() else np.nan
    return float(found[:, 0].sum() / level) if level else np.nan
