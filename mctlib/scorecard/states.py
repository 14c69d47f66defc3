"""What people did about alerts, and how long it took: acts and the response log."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mctlib.contract import DataError, nearest
from mctlib.scorecard.meters import Meters
from mctlib.scorecard.watching import Watched, matched

ACTS = {"ack": "acknowledged", "snooze": "snoozed", "close": "closed"}
STAGES = {"detected_on": "noticed", "decided_on": "decided", "shipped_on": "answered"}
# outcomes that close an alert, whatever its series does
OVER = ("recovered", "closed", "done", "solved", "accepted", "false alarm", "no answer needed")
ENDED = ("closed", "recovered")
CLOSED = (*ENDED, "new level")


def read_acts(acts: pd.DataFrame | None) -> pd.DataFrame:
    """alert_id, day, act, until, by; of a file of acts and deliveries the acts.

    Raises DataError: a column is missing, something is no day.
    """
    columns = ["alert_id", "day", "act", "until", "by"]
    if acts is None or acts.empty:
        return pd.DataFrame(columns=columns)
    for column in columns[:3]:
        if column not in acts:
            raise DataError(
                f'acts: column "{column}" is missing; it takes alert_id, day, act (ack, snooze or '
                f"close), until, by.{nearest(column, acts.columns)}"
            )
    mine = acts[acts["act"].isin(list(ACTS))].reindex(columns=columns)
    for column in ("day", "until"):
        mine[column] = as_days(mine[column], f"acts: {column}")
    return mine


def as_days(values: pd.Series, what: str) -> pd.Series:
    """Days, without a zone. Raises DataError: something is none."""
    empty = values.isna() | (values.astype(str).str.strip() == "")
    found = pd.to_datetime(values.where(~empty), errors="coerce", utc=True, format="mixed")
    if (wrong := values[found.isna() & ~empty]).size:
        raise DataError(f'{what}: "{wrong.iloc[0]}" is no day; write it like 2026-06-29.')
    return found.dt.tz_localize(None).dt.normalize()


def known_at(responses: pd.DataFrame, today: pd.Timestamp) -> pd.DataFrame:
    """The response log as it stood on a day: later days, and what they led to, are not known."""
    table = responses.copy()
    for stage in STAGES:
        table[stage] = as_days(table[stage], f"responses: {stage}")
    late = (table[[*STAGES]] > today).any(axis=1)
    table["outcome"] = table["outcome"].where(~late)
    none_yet = late & ~(table[[*STAGES]] <= today).any(axis=1)
    for stage in STAGES:
        table[stage] = table[stage].where(~(table[stage] > today))
    return table[~none_yet].reset_index(drop=True)


def with_acts(
    watched: Watched,
    acts: pd.DataFrame,
    responses: pd.DataFrame,
    meters: Meters,
    today: pd.Timestamp,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The alerts with until (of a snooze), acted_on, age_days; and the history of all of them.

    Between an act and the response log the later day wins, of one day the act. What lies after
    ``today`` is not known yet. A series that recovered, or has a new level, is over whatever
    anybody said; of one that is open again only a snooze from before holds.
    """
    alerts = watched.alerts
    history = list(watched.changes)
    said = [
        (str(act["alert_id"]), act["day"], ACTS[act["act"]], act["until"])
        for act in acts.to_dict("records")
    ]
    history += [(name, day, what) for name, day, what, _ in said]
    history += [(name, until, "snooze over") for name, _, _, until in said]
    answered = []
    for answer in responses.to_dict("records"):
        name = matched(str(answer["alert_id"]), alerts, meters)
        days = {stage: answer.get(stage) for stage in STAGES}
        for stage, day in days.items():
            history.append((name, day, STAGES[stage]))
        latest = max((day for day in days.values() if pd.notna(day)), default=pd.NaT)
        what = "closed" if _is_over(answer) else "acknowledged"
        answered.append((name, latest, what, pd.NaT))
        if what == "closed":
            history.append((name, latest, what))
    said = [each for each in [*answered, *said] if pd.notna(each[1]) and each[1] <= today]
    rows = []
    for alert in alerts.to_dict("records"):
        before = [each for each in said if each[2] != "snoozed" and each[1] < alert["again_on"]]
        mine = [each for each in said if each[0] == alert["alert_id"] and each not in before]
        mine.sort(key=lambda each: each[1])
        act: dict[str, Any] = {"until": pd.NaT, "acted_on": pd.NaT}
        if mine:
            _, day, what, until = mine[-1]
            act["acted_on"] = day
            if alert["state"] == "open" and (what != "snoozed" or until > today):
                act |= {"state": what, "until": until}
                if what == "closed":
                    act["closed_on"] = day
        alert |= act
        end = alert["closed_on"] if alert["state"] in CLOSED else today
        alert["age_days"] = float((end - alert["since"]).days)
        rows.append(alert)
    columns = [*alerts.columns, "until", "acted_on", "age_days"]
    told = pd.DataFrame(history, columns=["alert_id", "day", "what"])
    told = told[told["alert_id"].astype(bool) & (told["day"] <= today)].drop_duplicates()
    told = told.sort_values(["alert_id", "day"], kind="stable", ignore_index=True)
    return pd.DataFrame(rows, columns=columns), told


def answers(
    responses: pd.DataFrame, alerts: pd.DataFrame, meters: Meters, today: pd.Timestamp
) -> pd.DataFrame:
    """The response log by alert: days in each stage, the team's own median, what is still open.

    An open one is in its stage up to ``today``, also of an alert that came to a new level.
    recovered: from the answer to the alert's end.
    """
    names = [*STAGES.values(), "recovered"]
    known = alerts.set_index("alert_id")
    rows = []
    for answer in responses.to_dict("records"):
        name = matched(str(answer["alert_id"]), alerts, meters)
        alert = known.loc[name] if name else None
        row = {key: answer.get(key) for key in ("action", "owner", "outcome")}
        row |= {"alert_id": name or answer["alert_id"], "open_stage": ""}
        row["label"] = "" if alert is None else alert["label"]
        is_done = alert is not None and alert["state"] in ENDED
        is_open = not _is_over(answer) and not is_done
        at = day_in(str(answer["alert_id"])) if alert is None else alert["since"]
        ends = [*(answer.get(stage) for stage in STAGES)]
        ends.append(pd.NaT if alert is None or not is_done else alert["closed_on"])
        for i, (stage, end) in enumerate(zip(names, ends)):
            days = np.nan
            if pd.notna(end):
                days, at = max((end - at).days, 0), max(end, at)
            elif is_open and not row["open_stage"] and all(pd.isna(e) for e in ends[i:]):
                row["open_stage"], days = stage, (today - at).days
            row[f"until_{stage}_days"] = float(days)
        rows.append(row)
    columns = ["alert_id", "label", "action", "owner", "outcome", "open_stage"]
    stages = [f"until_{stage}_days" for stage in (*STAGES.values(), "recovered")]
    table = pd.DataFrame(rows, columns=[*columns, *stages])
    for stage in stages:
        done = table.loc[table["open_stage"] == "", stage].dropna()
        table[stage.replace("until_", "median_")] = done.median() if len(done) else np.nan
    return table


def _is_over(answer: dict[str, Any]) -> bool:
    return str(answer.get("outcome") or "").strip().lower() in OVER


def day_in(name: str) -> pd.Timestamp:
    """The day that an alert's id ends with; NaT where it is none."""
    return pd.to_datetime(name[-10:], errors="coerce", format="%Y-%m-%d")
