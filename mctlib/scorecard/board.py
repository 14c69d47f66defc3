"""The board: every channel's numbers, the last week, a year ago; answers, reasons, lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mctlib.activation import waits_of
from mctlib.contract import ENDS, ParameterError, as_window, interval_columns
from mctlib.eventlog.daily_metric import Rate, daily_metric
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import as_step
from mctlib.phrases import window
from mctlib.results import MIN_USERS, together
from mctlib.roi import Speed, value_of_speed
from mctlib.scorecard.causes import WEEK, judge
from mctlib.scorecard.counting import DAYS, LIFE, STAYED, Weeks
from mctlib.scorecard.meters import Meter, Meters
from mctlib.scorecard.watching import Watched, matched
from mctlib.stats.monitoring import change_between

ACTIVATION, MONTHLY = "cohort.activation", "month.users"
QUARTER = "p25_days"
ALL = "all"
YEAR = 52 * WEEK
KPIS = """
metric label owner segment kind week n_counted value value_ci_lower value_ci_upper p0 rel_change
rel_change_ci_lower rel_change_ci_upper detectable_fall rel_year_change
rel_year_change_ci_lower rel_year_change_ci_upper state since
""".split()

WEEKS = ["metric", "label", "segment", "week", "n", "value", "p0", "state", "since"]


def with_cohorts(
    log: EventLog, weeks: Weeks, meters: Meters, *, as_of: str, by: Sequence[str]
) -> tuple[Weeks, list[Meter]]:
    """The weeks with small segments told together, users of the month, and cohorts' activation.

    Gives also the numbers that are shown and never alert.
    """
    latest = weeks.counts[(weeks.counts["metric"] == DAYS) & (weeks.counts["week"] == weeks.n - 1)]
    sizes = latest.groupby("segment")["n_units"].sum()
    joined = together(sizes, "") if by else {}
    counts, life = (
        t.assign(segment=t["segment"].replace(joined)) for t in (weeks.counts, weeks.life)
    )
    monthly = life.assign(n_units=life[LIFE].sum(axis=1))[["week", "segment", "n_units"]]
    shown = [
        _shown(STAYED, "Active again the week after", "rate", meters),
        _shown(DAYS, "Active days a user and week", "mean", meters),
        _shown(MONTHLY, "Users active in four weeks", "count", meters),
    ]
    extra = [monthly[monthly["week"] >= 3].assign(metric=MONTHLY, kind="count")]
    extra[0]["sum_value"] = extra[0]["n_units"]
    if meter := _activation(meters):
        start = as_step(meters.plan.start, "start", meters.plan.meanings())
        try:
            rate = Rate(meter.of, start, str(meter.of.within))
            daily = daily_metric(log, rate, as_of=as_of, by=next(iter(by), None)).table
            extra.append(_cohorts(daily, weeks).replace({"segment": joined}))
            within = window(as_window(meter.of.within))
            label = f"{meter.label} within {within} of {start.label}"
            shown.insert(
                0, replace(meter, name=ACTIVATION, label=label, watched=False, kind="rate")
            )
        except ParameterError as error:
            meters.left_out.append(f"Activation is not shown: {error}")
    table = pd.concat([counts, *extra], ignore_index=True)
    table[["n_success", "sum_value", "sum_square"]] = table[
        ["n_success", "sum_value", "sum_square"]
    ].fillna(0.0)
    table["n_users"] = table["n_users"].fillna(table["n_units"])
    return replace(weeks, counts=table.fillna({"platform": ""}), life=life), shown


def _shown(name: str, label: str, kind: str, meters: Meters) -> Meter:
    return Meter(name=name, label=label, kind=kind, of=meters.active)


def _activation(meters: Meters) -> Meter | None:
    """The deepest key micro-conversion that a plan calls activation, and says how long it takes."""
    micros = meters.plan.micro_conversions
    may = [
        meter
        for meter in meters.all
        if meter.micro and micros[meter.micro].outcome == "activation" and meter.of.within
    ]
    key = [meter for meter in may if meter.key] or may
    deepest = max(key, key=lambda meter: list(micros).index(meter.micro), default=None)
    return deepest if meters.plan.start else None


def _cohorts(daily: pd.DataFrame, weeks: Weeks) -> pd.DataFrame:
    """Rows of `Weeks.counts`: users who began in a week whose windows have all closed."""
    week = (pd.to_datetime(daily["day"]) - weeks.first).dt.days // 7
    table = daily.assign(week=week)[week >= 0]
    sums = table.groupby(["week", "segment"]).agg(
        n_units=("n", "sum"), n_success=("n_success", "sum"), n_days=("day", "nunique")
    )
    whole = sums[sums["n_days"] == 7].drop(columns="n_days").reset_index()
    return whole.assign(metric=ACTIVATION, kind="rate", platform="")


def kpis(
    log: EventLog,
    weeks: Weeks,
    meters: Meters,
    shown: Sequence[Meter],
    watched: Watched,
    alerts: pd.DataFrame,
    **ask: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`Scorecard.kpis`, and its weeks: metric, label, segment, week, n, value, p0, state."""
    board = [meter for meter in meters.all if meter.key or meter.watched or meter.bad != "down"]
    board = [*board, *shown]
    names = {meter.name: meter for meter in board}
    rule: dict[str, Any] = {
        "threshold": {name: meter.threshold.warn for name, meter in names.items()},
        "severe": {name: meter.threshold.severe for name, meter in names.items()},
        "bad": {name: meter.bad for name, meter in names.items()},
        "skip": watched.skip,
    }
    segments = sorted(set(weeks.counts["segment"]) - {ALL})
    judged = []
    for segment in [None, *(segments if len(segments) > 1 else [])]:
        table = weeks.of(segment)
        found = judge(table[table["metric"].isin(list(names))], rule)
        judged.append(found.assign(segment=segment or ALL))
    series = pd.concat(judged, ignore_index=True)
    series["at"] = series["metric"].map({name: i for i, name in enumerate(names)})
    series["is_part"] = series["segment"] != ALL  # all users stand first
    series = series.sort_values(["at", "is_part", "segment", "week"], ignore_index=True)
    own = watched.judged.set_index(["metric", "week"])["state"]
    of_all = series["segment"] == ALL
    index = pd.MultiIndex.from_frame(series[["metric", "week"]])
    state = pd.Series(own.reindex(index).to_numpy(), series.index)
    series["state"] = state.where(of_all & state.notna(), "")
    series["label"] = series["metric"].map({name: meter.label for name, meter in names.items()})
    series = series[series["value"].notna()]
    kinds = series["metric"].map({name: meter.kind for name, meter in names.items()})
    series["n"] = series["n"].where(kinds != "count", series["value"])
    last = series.groupby(["metric", "segment"], sort=False).tail(1)
    half = (last["rel_change_ci_upper"] - last["rel_change_ci_lower"]) / 2 * last["p0"]
    kind = last["metric"].map({name: meter.kind for name, meter in names.items()})
    top = np.where(kind == "rate", 1.0, np.inf)
    moves = alerts[alerts["kind"] != "loss"]
    acted = dict(zip(zip(moves["metric"], moves["since"]), moves["state"]))
    names_of = zip(last["metric"], last["since"], last["state"])
    rows = last.assign(
        state=[acted.get(key[:2], key[2]) if key[2] == "open" else key[2] for key in names_of],
        n_counted=last["n"],
        owner=last["metric"].map({name: meter.owner for name, meter in names.items()}),
        kind=kind,
        value_ci_lower=(last["value"] - half).clip(lower=0),
        value_ci_upper=(last["value"] + half).clip(upper=top),
    )
    told = [*rows.to_dict("records"), *_waits(log, meters, **ask).to_dict("records")]
    table = pd.DataFrame(told, columns=KPIS)
    return table, series.loc[~too_few(series, kinds), WEEKS].reset_index(drop=True)


def too_few(series: pd.DataFrame, kinds: pd.Series) -> pd.Series:
    """Which weeks are not told: of fewer than 10 users, or they would give these back.

    All users are told of a week, so that what is left out of its segments must be 10 together.
    """
    keys = ["segment", "week"]
    active = series[series["metric"] == DAYS].set_index(keys)["n"]
    active = active.reindex(pd.MultiIndex.from_frame(series[keys])).to_numpy()
    events = kinds.isin(["mean", "ratio"])  # of users there are no more than are active
    users = series["n"].where(~events, np.fmin(series["n"], active))
    is_few = users.between(0, MIN_USERS, inclusive="neither")
    parts = series.assign(users=users)[series["segment"] != ALL].sort_values("users")
    few = is_few[parts.index]
    same = [parts["metric"], parts["week"]]
    n_fewer = parts["users"].groupby(same).cumsum() - parts["users"]
    hidden = few | (few.groupby(same).transform("any") & (n_fewer < MIN_USERS))
    return hidden.reindex(series.index, fill_value=False) | is_few


def _waits(log: EventLog, meters: Meters, *, as_of: str, by: Sequence[str]) -> pd.DataFrame:
    """Days until a quarter activated, by segment: of everybody, not of who got there."""
    meter = _activation(meters)
    if meter is None:
        return pd.DataFrame(columns=KPIS)
    start = as_step(meters.plan.start, "start", meters.plan.meanings())
    table = waits_of(log, start=start, activation=meter.of, as_of=as_of, by=by)
    half = interval_columns("value", *(table[f"{QUARTER}{e}"] for e in ENDS))
    return pd.DataFrame(
        {
            "metric": QUARTER,
            "label": f"Days until 1 in 4 has “{meter.of.label}”",
            "owner": meter.owner,
            "segment": table["segment"],
            "kind": "days",
            "n_counted": table["n_users"].astype(float),
            "state": "",
            **half,
        }
    ).reindex(columns=KPIS)


def _year(weeks: Weeks, kpis: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """The last four weeks of each number against the same four a year before, by segment.

    Where there are so many, and all may be told. Weeks of alerts say nothing of the usual scatter.
    """
    rows = []
    known = kpis[kpis["week"].notna()]
    for segment, own in known.groupby("segment", sort=False):
        counted = weeks.of(None if segment == ALL else str(segment))
        for kpi in own.to_dict("records"):
            told = series[(series["metric"] == kpi["metric"]) & (series["segment"] == segment)]
            now = [kpi["week"] - k * WEEK for k in range(4)]
            then = [week - YEAR for week in now]
            if told["week"].isin([*now, *then]).sum() < len(now + then):
                continue
            table = counted[counted["metric"] == kpi["metric"]]
            about = {name: kpi[name] for name in ("metric", "segment", "label", "kind")}
            n = told.loc[told["week"].isin(now), "n"].sum()
            apart = told.loc[told["since"].notna(), "week"]
            rows.append(about | {"n_counted": n} | change_between(table, then, now, apart))
    return pd.DataFrame(rows, columns=None if rows else ["metric", "segment"])


def with_year(
    weeks: Weeks, kpis: pd.DataFrame, series: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The numbers with their relative change on a year before; and all of that of the totals."""
    known = _year(weeks, kpis, series)
    changes = {f"rel_change{end}": f"rel_year_change{end}" for end in ENDS}
    told = known.reindex(columns=["metric", "segment", *changes]).rename(columns=changes)
    table = kpis.drop(columns=changes.values()).merge(told, how="left")[KPIS]
    return table, known[known["segment"] == ALL].drop(columns="segment")


def lifecycle(weeks: Weeks) -> pd.DataFrame:
    """Week and `LIFE` of all users, which add up to n_monthly; from the fifth week on."""
    table = weeks.life.groupby("week", as_index=False)[LIFE].sum()
    table = table[table["week"] >= 4].reset_index(drop=True)
    table["n_monthly"] = table[LIFE].sum(axis=1)
    return table.assign(week=weeks.first + pd.to_timedelta(7 * table["week"], unit="D"))


def reasons(
    surveys: pd.DataFrame, alerts: pd.DataFrame, meters: Meters, until: pd.Timestamp
) -> pd.DataFrame:
    """Why users say no, in the four weeks from an alert's first on: alert_id, reason, their counts.

    Who says one thing several times is counted once.
    """
    rows = []
    micros = meters.plan.micro_conversions
    owned = {meter.name: meter.micro for meter in meters.all}
    when = pd.to_datetime(surveys["submitted_at"]).dt.tz_localize(None)
    for alert in alerts[alerts["kind"] != "loss"].to_dict("records"):  # users lost nothing
        micro = owned.get(alert["metric"], alert["metric"])
        question = micros[micro].survey if micro in micros else ""
        end = min(alert["since"] + 4 * WEEK, until)
        mine = when.between(alert["since"], end, inclusive="left")
        said = surveys[mine & surveys["micro_conversion"].isin({question, micro} - {""})]
        no = said[said["answer"].astype(str).str.lower().isin(["no", "false", "0"])]
        told = no.dropna(subset=["reason"]).drop_duplicates(["user", "reason"])
        for reason, n in told["reason"].value_counts().items():
            row = {"alert_id": alert["alert_id"], "reason": str(reason)}
            rows.append(row | {"n_answers": int(n), "n_no": no["user"].nunique()})
    return pd.DataFrame(rows, columns=["alert_id", "reason", "n_answers", "n_no"])


def recovered(
    answers: pd.DataFrame,
    responses: pd.DataFrame,
    alerts: pd.DataFrame,
    weeks: Weeks,
    meters: Meters,
) -> pd.DataFrame:
    """Beside each answer: what came back since, and what its slowness cost (`value_of_speed`).

    recovered_change ±: relative; how_measured: by which comparison, or why it is not told; missed
    ±, missed_per_day: until it was answered.
    """
    totals = weeks.of()
    known = alerts.set_index("alert_id")
    table = answers.copy()
    names = ["recovered_change", "missed"]
    columns = [c for name in names for c in interval_columns(name, 0, 0, 0)] + ["missed_per_day"]
    table[columns] = np.nan
    table[["missed_unit", "how_measured"]] = ""
    for i, answer in enumerate(responses.to_dict("records")):
        name = matched(str(answer["alert_id"]), alerts, meters)
        meter = next((m for m in meters.all if name and m.name == known.loc[name, "metric"]), None)
        if meter is None or known.loc[name, "kind"] == "loss":
            continue
        if meter.kind not in ("rate", "mean"):
            table.loc[i, "how_measured"] = f"not told: this is a {meter.kind}"
            continue
        asked = answer | {"alert_id": f"{meter.name}-{known.loc[name, 'since']:%Y-%m-%d}"}
        speed = value_of_speed(_by_day(totals, meter), pd.DataFrame([asked]))
        for column, value in {**_missed(speed, meter), **_came_back(speed)}.items():
            table.loc[i, column] = value
    return table


def _by_day(totals: pd.DataFrame, meter: Meter) -> pd.DataFrame:
    """A weekly number as the daily series that the wing of returns reads: sevenths of its weeks."""
    own = totals[(totals["metric"] == meter.name) & (totals["n"] > 0)]
    days = own.loc[own.index.repeat(7), ["week", "n", "n_success", "value"]]
    days["day"] = days.pop("week") + pd.to_timedelta(np.tile(range(7), len(own)), unit="D")
    days[["n", "n_success"]] /= 7
    days = days if meter.kind == "rate" else days.drop(columns="n_success")
    return days.assign(events=meter.name, kind=meter.kind)


def _came_back(speed: Speed) -> dict[str, Any]:
    """What came back since an answer, relative, and how that was measured."""
    found = {}
    for row in speed.answers.to_dict("records"):
        found = {f"recovered_change{end}": row[f"rel_recovered{end}"] for end in ENDS}
        reason = "without the answer there might be none" if row["supported"] else row["reason"]
        is_told = pd.notna(found["recovered_change"])
        found["how_measured"] = row["rung"] if is_told else f"not told: {reason}"
    return found


def _missed(speed: Speed, meter: Meter) -> dict[str, Any]:
    """What was missed until the answer, and a day of it."""
    stages = speed.stages[speed.stages["missed"].notna()]
    if stages.empty:
        return {}
    # the stages of one fall share its trend: their errors add up, no less
    ends = {f"missed{end}": float(stages[f"missed{end}"].sum()) for end in ENDS}
    a_day = ends["missed"] / stages["lasted_days"].sum()
    return ends | {"missed_per_day": a_day, "missed_unit": meter.number or "users"}
