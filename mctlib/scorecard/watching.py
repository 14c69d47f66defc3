"""From judged weeks to alerts: what fell, why, whom to tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mctlib.contract import ENDS, interval_columns
from mctlib.results import MIN_USERS
from mctlib.scorecard.causes import (
    COMPETITOR,
    WEEK,
    entries_near,
    explained_by_tracking,
    judge,
    losses,
    mix_change,
    n_judged,
    study,
)
from mctlib.scorecard.counting import Weeks
from mctlib.scorecard.meters import ANALYST, COLLECTOR, COORDINATOR, Meter, Meters
from mctlib.stats.monitoring import LEVEL, REOPENS, tracking_gate

LEFT_OUT = ("outage", "incident", "holiday")  # of the timeline: their weeks are not judged
DAILY_FALL, DAILY_LEVEL = 0.25, 0.0005  # of a look every day, beside the weekly rule
MOSTLY = 0.5  # of a change that the mix makes: it is called the mix's
ALERTS = """
alert_id metric label unit kind platform since severity value p0 rel_change rel_change_ci_lower
rel_change_ci_upper n_counted cause coincides study_change study_change_ci_lower
study_change_ci_upper n_controls mix_change n_cells role who owner state closed_on news again_on
""".split()


@dataclass(frozen=True)
class Watched:
    """What was found in the weeks.

    judged: every number's weeks (`weekly_alerts`); the state of a fall that is no alert says why:
    too few, lost events · alerts: `ALERTS`, the newest first · inhibited: (label, platforms, week)
    of falls that lost tracking explains · last: newest week · skip: days whose weeks are not
    judged · changes: (alert_id, day, what) of every alert by its weeks alone.
    """

    judged: pd.DataFrame
    alerts: pd.DataFrame
    inhibited: list[tuple[str, list[str], pd.Timestamp]]
    last: pd.Timestamp
    skip: tuple[str, ...] = ()
    changes: tuple[tuple[str, pd.Timestamp, str], ...] = ()

    @property
    def passing(self) -> pd.DataFrame:
        """metric, week of alerts that are open or recovered: at no level that is usual."""
        spells = self.judged[self.judged["since"].notna()]
        last = spells.groupby(["metric", "since"])["state"].transform("last")
        return spells.loc[last != "new level", ["metric", "week"]]


def watch(weeks: Weeks, meters: Meters, timeline: pd.DataFrame, *, daily: bool = False) -> Watched:
    """Judge all weeks; make alerts of falls, rises and lost tracking.

    daily: by the rule for every day's look, which adds large and sure falls alone.
    """
    skip = timeline.loc[timeline["kind"].isin(LEFT_OUT), "day"].astype(str).tolist()
    named = {meter.name: meter for meter in meters.watched}
    rule: dict[str, Any] = {
        "threshold": {name: meter.threshold.warn for name, meter in named.items()},
        "severe": {name: meter.threshold.severe for name, meter in named.items()},
        "bad": {name: meter.bad for name, meter in named.items()},
        "skip": skip,
        "level": LEVEL,
    }
    if daily:
        rule |= {"threshold": DAILY_FALL, "severe": DAILY_FALL, "level": DAILY_LEVEL}
    table = weeks.of()
    own = table["metric"].isin(list(named))
    judged = pd.concat(
        [judge(part, rule) for part in (table[own], table[~own]) if len(part)],
        ignore_index=True,
    )
    cells = tracking_gate(weeks.cells)
    lost = losses(cells)
    last = weeks.day(weeks.n - 1)
    inhibited: list[tuple[str, list[str], pd.Timestamp]] = []
    found = [*_lost(lost, meters), *_everything(judged[judged["metric"].isin(list(named))], last)]
    changes: list[tuple[str, pd.Timestamp, str]] = []
    for name, meter in named.items():
        rows = judged[judged["metric"] == name]
        for _, spell in rows[rows["since"].notna()].groupby("since"):
            opened, is_open = spell.iloc[0], spell.index[spell["state"] == "open"]
            platforms = explained_by_tracking(opened, meter, lost, weeks, rule)
            if _of_few(opened, meter):
                judged.loc[is_open, ["state", "alert"]] = "too few", False
            elif platforms:
                judged.loc[is_open, "state"] = "lost events"
                inhibited.append((meter.label, platforms, opened["week"]))
            else:
                cause = _cause(opened, meter, rows, weeks, meters, timeline, judged)
                checked = {"n_cells": n_judged(cells, meter.micro, opened["week"])}
                found.append(_moved(meter, spell, last) | cause | checked)
    for alert in found:
        alert["who"] = meters.role(alert["role"])
        moves = [(alert["since"], "opened"), *alert["moves"]]
        changes += [(alert["alert_id"], day, what) for day, what in moves]
    alerts = pd.DataFrame(found, columns=ALERTS)
    newest_first = alerts.sort_values(["since", "alert_id"], ascending=[False, True])
    newest_first = newest_first.reset_index(drop=True)
    return Watched(judged, newest_first, inhibited, last, tuple(skip), tuple(changes))


def _moves(spell: pd.DataFrame) -> Iterator[tuple[pd.Timestamp, str]]:
    """When an alert was over, and when it was open again, each time."""
    before = ""
    for week, state in zip(spell["week"], spell["state"]):
        if state in ("recovered", "new level"):
            yield week + WEEK, state
        elif before == "recovered":
            yield week, "open again"
        before = state


def _of_few(opened: pd.Series, meter: Meter) -> bool:
    """Whether an alert would tell something of fewer than 10 users."""
    n = opened["value" if meter.kind == "count" else "n"]
    return bool(0 < n < MIN_USERS)


def _moved(meter: Meter, spell: pd.DataFrame, last: pd.Timestamp) -> dict[str, Any]:
    """An alert on a number, from the rows of the table that it names."""
    opened, now = spell.iloc[0], spell.iloc[-1]
    kind = "fall" if opened["side"] < 0 else "rise"
    is_open = now["state"] == "open"
    over = spell.loc[spell["state"] == "recovered", "week"].max()
    again = spell.loc[spell["week"] > over, "week"].min()
    change = [opened[f"rel_change{end}"] for end in ENDS]
    return {
        "alert_id": f"{meter.name}-{kind}-{opened['since']:%Y-%m-%d}",
        "metric": meter.name,
        "label": meter.label,
        "unit": "%" if meter.kind == "rate" else meter.number,
        "kind": kind,
        "platform": "",
        "since": opened["since"],
        "severity": now["severity"],
        "value": opened["value"],
        "p0": opened["p0"],
        **interval_columns("rel_change", *change),
        "n_counted": opened["n"],
        "owner": meter.owner,
        "state": now["state"],
        "closed_on": pd.NaT if is_open else now["week"] + WEEK,
        "news": bool(opened["alert"] and opened["week"] == last),
        "again_on": again if is_open else pd.NaT,
        "moves": [*_moves(spell)],
    }


def _cause(
    opened: pd.Series,
    meter: Meter,
    rows: pd.DataFrame,
    weeks: Weeks,
    meters: Meters,
    timeline: pd.DataFrame,
    judged: pd.DataFrame,
) -> dict[str, Any]:
    """Why it moved, as far as that can be told, and who acts."""
    near = entries_near(timeline, meter, opened["week"])
    rival = near[near["kind"] == COMPETITOR] if opened["side"] < 0 else near[:0]
    usable = rows[(rows["week"] < opened["week"]) & rows["state"].isin(["", "may be chance"])]
    mix = mix_change(weeks, meter.name, opened["week"], usable["week"].tail(12))
    found = {"cause": "behaviour", "role": meter.acts, "mix_change": mix, "coincides": ""}
    found |= interval_columns("study_change") | {"n_controls": 0}
    if len(rival):
        entry = rival.iloc[-1].to_dict()
        role = COORDINATOR if COORDINATOR in meters.plan.roles else meter.acts
        found |= {"cause": COMPETITOR, "role": role, "coincides": told(entry)}
        return found | study(opened, meter, entry, judged, meters)
    if mix * opened["side"] >= MOSTLY * abs(opened["rel_change"]):
        found["cause"] = "mix"
    if len(near):
        found["coincides"] = told(near.iloc[-1].to_dict())
    return found


def told(entry: dict[str, Any]) -> str:
    """An entry of the timeline in a few words: "instant interviews elsewhere, 13 April"."""
    return f"{entry['label']}, {entry['day'].day} {entry['day']:%B}"


def _lost(lost: pd.DataFrame, meters: Meters) -> Iterator[dict[str, Any]]:
    """Alerts on tracking, a platform each."""
    micros = meters.plan.micro_conversions
    for spell in lost.to_dict("records"):
        change = spell["value"] - spell["p0"]
        is_open = spell["state"] == "open"
        yield {
            "alert_id": f"{spell['micro']}-loss-{spell['platform']}-{spell['since']:%Y-%m-%d}",
            "metric": spell["micro"],
            "label": micros[spell["micro"]].label,
            "unit": "%",
            "kind": "loss",
            "platform": spell["platform"],
            "since": spell["since"],
            "severity": "severe",
            "value": spell["value"],
            "p0": spell["p0"],
            **interval_columns("rel_change", change / spell["p0"]),
            "n_counted": spell["n"],
            "cause": "tracking",
            "coincides": "",
            **interval_columns("study_change"),
            "n_controls": 0,
            "mix_change": np.nan,
            "n_cells": 1,
            "role": COLLECTOR if COLLECTOR in meters.plan.roles else ANALYST,
            "owner": micros[spell["micro"]].owner,
            "state": spell["state"],
            "closed_on": pd.NaT if is_open else spell["over_on"] + WEEK,
            "news": bool(spell["since"] == spell["newest"]),
            "again_on": spell["again_on"] if is_open else pd.NaT,
            "moves": spell["moves"],
        }


def _everything(judged: pd.DataFrame, last: pd.Timestamp) -> Iterator[dict[str, Any]]:
    """One notice a time in which everything moved."""
    moved = judged[judged["common_cause"]]
    spells: list[list[pd.Timestamp]] = []
    for week in sorted(moved["week"].unique()):
        if spells and week - spells[-1][-1] <= REOPENS * WEEK:
            spells[-1].append(week)
        else:
            spells.append([week])
    for spell in spells:
        rows = moved[moved["week"] == spell[0]]
        change = float(rows["rel_change"].median())
        is_open = spell[-1] == last
        gaps = [(a + WEEK, b) for a, b in zip(spell, [*spell[1:], last + WEEK]) if b - a > WEEK]
        moves = [each for a, b in gaps for each in ((a, "recovered"), (b, "open again"))]
        moves = [each for each in moves if each[0] <= last]
        again = moves[-1:] == [(last, "open again")]
        yield {
            "alert_id": f"everything-{'fall' if change < 0 else 'rise'}-{spell[0]:%Y-%m-%d}",
            "metric": "everything",
            "label": "Everything",
            "unit": "",
            "kind": "fall" if change < 0 else "rise",
            "platform": "",
            "since": spell[0],
            "severity": "warn",
            "value": np.nan,
            "p0": np.nan,
            **interval_columns("rel_change", change),
            "n_counted": rows["n"].max(),
            "cause": "everything",
            "coincides": "",
            **interval_columns("study_change"),
            "n_controls": len(rows),
            "mix_change": np.nan,
            "n_cells": 0,
            "role": ANALYST,
            "owner": "",
            "state": "open" if is_open else "recovered",
            "closed_on": pd.NaT if is_open else spell[-1] + WEEK,
            "news": spell[0] == last,
            "again_on": last if again else pd.NaT,
            "moves": moves,
        }


def matched(name: str, alerts: pd.DataFrame, meters: Meters) -> str:
    """The alert that a response log means: by its id, or <event>-<day> near the alert's week."""
    if name in set(alerts["alert_id"]):
        return name
    event, day = name[:-11], pd.to_datetime(name[-10:], errors="coerce", format="%Y-%m-%d")
    if pd.isna(day):
        return ""
    names = {meter.name: meter.names for meter in meters.all}
    for alert in alerts.to_dict("records"):
        known = names.get(alert["metric"], set()) | {alert["metric"]}
        far = alert["since"] - day
        if event in known and -WEEK < far <= 3 * WEEK:
            return str(alert["alert_id"])
    return ""
