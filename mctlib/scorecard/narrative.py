"""What a scorecard says beside its tables, in whole sentences."""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd

from mctlib.cells import Course
from mctlib.contract import ENDS
from mctlib.headlines import day, named
from mctlib.phrases import called, count, listed, nought
from mctlib.results import MIN_USERS
from mctlib.scorecard.narrative_first import (
    MINUS,
    YEAR_WEEKS,
    Told,
    a_day_sooner,
    changed,
    drifts,
    ended,
    lived,
    moved,
    question,
    top_reason,
)

RULE = (
    "A complete week is alerted when it lies 10 % (or what the plan says) below the pooled level "
    "of the last 12 usable weeks and 5 % below the line through them, with a one-sided p of at "
    "most 0.005 by the weeks' own scatter. Open alerts, holidays and outages are no usable weeks. "
    "An alert ends after two weeks at 95 % of the level before it, or after 12 weeks as the new "
    "level."
)


def details(facts: Told) -> tuple[str, ...]:
    """Further sentences, each whole in itself."""
    alerts = {alert["alert_id"]: alert for alert in (*facts.news, *facts.waiting)}
    return (
        *(_alert(alert, facts) for alert in alerts.values()),
        *(f"{ended(alert)}, after {alert['age_days']:.0f} days." for alert in facts.over),
        *_inhibited(facts),
        *(_answer(row) for row in facts.responses.to_dict("records")),
        f"{lived(facts.lifecycle)}.",
        *_drift(facts),
        _budget(facts),
    )


def _alert(alert: dict[str, Any], facts: Told) -> str:
    """An alert with its interval, its cause and who acts."""
    ends = _relative(alert).partition(" (")[2].rstrip(")")
    said = moved(alert) + (f" ({ends}\u00a0%)." if ends else ".")
    study = _relative(alert, "study_change")
    if study and alert["cause"] == "competitor":
        said += (
            f" It coincides with {alert['coincides']}; against {alert['n_controls']} numbers that "
            f"it cannot touch the change is {study}."
        )
    elif alert["coincides"]:
        said += f" It coincides with {alert['coincides']}."
    if alert["cause"] == "mix":
        size = f"{100 * alert['mix_change']:+.0f}\u00a0%".replace("-", MINUS)
        said += f" The mix of users alone would have made {size}."
    return f"{said} {reason(alert, facts)}".strip() + f" Who acts: {alert['who']}."


def reason(alert: dict[str, Any], facts: Told) -> str:
    """What users say about it, or what to ask them."""
    ask = question(alert)
    if ask and (said := top_reason(facts.reasons, alert["alert_id"])):
        return f"Users say {said} who said no."
    return f"Ask users now, in a short survey: {ask}" if ask else ""


def _inhibited(facts: Told) -> list[str]:
    return [
        f"{named(label)} fell in the week of {day(week)} by lost tracking alone: without "
        f"{listed(called(name) for name in platforms)} it did not."
        for label, platforms, week in facts.watched.inhibited
    ]


def _answer(row: dict[str, Any]) -> str:
    """One line of the response log."""
    if not row["label"]:
        return f"The response log names {row['alert_id']}, of which no alert is known."
    stages = ("noticed", "decided", "answered", "recovered")
    waits = row["open_stage"]
    known = [(stage, row[f"until_{stage}_days"]) for stage in stages if stage != waits]
    said = listed(f"{stage} after {days:.0f} days" for stage, days in known if days == days)
    text = f"{named(row['label'])}: {said or 'no day is known'}"
    if not (said or waits):
        text += f", so its outcome, “{row['outcome']}”, ends nothing"
    if waits:
        text += f"; not {waits} for {row[f'until_{waits}_days']:.0f} days"
    if change := _relative(row, "recovered_change"):
        text += f"; since the answer {change}, by an {row['how_measured']}"
    elif row["how_measured"]:
        text += f"; what came back since is {row['how_measured']}"
    if saved := a_day_sooner(row):
        text += f"; one day sooner would have saved {saved}"
    return f"{text}."


def _drift(facts: Told) -> list[str]:
    rows = facts.drift.to_dict("records")
    return [f"{drifts(row)}. That is a note, no alert." for row in rows]


def _budget(facts: Told) -> str:
    """The false alarms to be expected, and what the rule found in the weeks so far."""
    n_weeks, n_raised, n_bare = facts.history
    return (
        f"Of {count(len(facts.meters.watched), 'number')} at most {facts.false_a_year:.1f} false "
        f"alerts a year are to be expected. In the {count(n_weeks, 'week')} of these data that "
        f"could be judged the rule raised {count(n_raised, 'alert')}, {n_bare} of them with no "
        "entry of the timeline and no lost tracking beside it; of false ones at most "
        f"{facts.false_a_year * n_weeks / YEAR_WEEKS:.1f} were to be expected."
    )


def caveats(facts: Told) -> list[str]:
    """What an analyst has to know."""
    own = facts.kpis[(facts.kpis["segment"] == "all")].set_index("metric")
    unseen = [m.label for m in facts.meters.watched if own["detectable_fall"].isna().get(m.name)]
    said = list(facts.meters.left_out)
    if unseen:
        said.append(f"A fall of {listed(map(named, unseen))} cannot be seen: too few users a week.")
    said.append(
        "Segments and cohorts are shown and explain; they never alert. Rows that arrive late make "
        "the newest week look lower than it is. A look every day (`alerts check`) adds falls of "
        "25 % or more; nothing finds smaller ones sooner without more false alarms."
    )
    return said


STATES = {
    "open": "\u25b2 alert open",
    "acknowledged": "\u25b2 alert open, acknowledged",
    "snoozed": "\u25cb alert snoozed",
    "closed": "\u25cb alert closed",
    "lost events": "\u25b2 lost events",
    "too few": "\u25cb too few to say",
    "recovered": "\u25cf recovered",
    "new level": "\u25cb new level",
    "may be chance": "\u25cb may be chance",
    "everything moved": "\u25cb everything moved",
    "no baseline": "\u25cb too few weeks",
    "left out": "\u25cb not judged",
}


def board(kpis: pd.DataFrame, weeks: pd.DataFrame) -> pd.DataFrame:
    """The totals in words, nothing of fewer than 10 users: see `Scorecard.board`."""
    table = every_segment(kpis[kpis["segment"] == "all"], weeks).drop(columns="segment")
    table["against_a_year"] = table["against_a_year"].str.partition(" (")[0]
    return table


def every_segment(kpis: pd.DataFrame, weeks: pd.DataFrame) -> pd.DataFrame:
    """`Scorecard.board`, and the same of every segment: of its weeks those that may be told."""
    keys = ["metric", "segment", "week"]
    told = set(map(tuple, weeks[keys].to_numpy()))
    rows = []
    for kpi in kpis.to_dict("records"):
        is_told = kpi["segment"] == "all" or kpi["kind"] == "days"
        is_told |= tuple(kpi[key] for key in keys) in told
        if kpi["n_counted"] < MIN_USERS or not is_told:
            kpi |= dict.fromkeys(("value", "rel_change", "rel_year_change", "n_counted"), nan)
        rows.append(
            {
                "number": kpi["label"],
                "segment": kpi["segment"],
                "six_weeks_and_months": _course(kpi, weeks),
                "last_week": _ranged(kpi, "value", kpi["kind"]),
                "against_before": _relative(kpi),
                "state": _state(kpi),
                "against_a_year": _relative(kpi, "rel_year_change"),
                "least_seen": _least_seen(kpi),
                "n_counted": kpi["n_counted"],
                "owner": kpi["owner"],
            }
        )
    return pd.DataFrame(rows)


def _course(kpi: dict[str, Any], weeks: pd.DataFrame) -> Course | None:
    """A number's last six weeks of 10 users or more, and the means of up to twelve months."""
    own = (weeks["metric"] == kpi["metric"]) & (weeks["segment"] == kpi["segment"])
    rows, kind = weeks[own & (weeks["n"] >= MIN_USERS)], kpi["kind"]
    if rows.empty:
        return None
    weeks = rows["value"].tail(6)
    months = rows.groupby(rows["week"].dt.to_period("M"))["value"].mean().tail(12)
    first, last = (_ranged({"value": value}, "value", kind) for value in weeks.iloc[[0, -1]])
    return Course(f"{first} to {last}", tuple(weeks), tuple(months))


def _least_seen(kpi: dict[str, Any]) -> str:
    """The least fall (or rise) that the first week of it shows four times in five."""
    if kpi["rel_change"] != kpi["rel_change"]:
        return ""  # it is not judged
    least = 100 * kpi["detectable_fall"]
    return f"{least:.0f}\u00a0%" if least == least else "none"


def a_year_before(year: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a year before in words, a change in the number's own unit."""
    rows = []
    for row in year.to_dict("records"):
        ends = f" ({changed(row, '_ci_lower')} to {changed(row, '_ci_upper')})"
        rows.append(
            {
                "number": row["label"],
                "n_counted": row["n_counted"],
                "last_four_weeks": _ranged(row, "value", row["kind"]),
                "a_year_before": _ranged(row, "value_before", row["kind"]),
                "change": changed(row) + ends,
                "in_per_cent": _relative(row),
            }
        )
    return pd.DataFrame(rows)


def _state(kpi: dict[str, Any]) -> str:
    """What is known of a number; of one that never fell far where it moved for sure."""
    if kpi["state"]:
        return STATES.get(str(kpi["state"]), "")
    known = [("rel_change", ""), ("rel_year_change", " on a year ago")]
    compared = [(name, since) for name, since in known if kpi[name] == kpi[name]]
    for name, since in compared:
        if kpi[f"{name}_ci_lower"] * kpi[f"{name}_ci_upper"] > 0:
            return f"\u25cf {'up' if kpi[name] > 0 else 'down'}{since}"
    return "\u25cf quiet" if compared else ""


def _ranged(row: dict[str, Any], column: str, kind: str) -> str:
    """A value with its interval in its own unit."""
    value, low, high = (row.get(f"{column}{end}", nan) for end in ENDS)
    if value != value:
        return ""
    if kind == "count":
        return f"{value:,.0f}"
    times, unit = (100, "\u00a0%") if kind == "rate" else (1, " days" if kind == "days" else "")
    upper = f"to\u00a0{times * high:.1f}" if high == high and high < float("inf") else "or more"
    ends = f" ({times * low:.1f}\u00a0{upper})" if low == low else ""
    return f"{times * value:.1f}{unit}{ends}"


def _relative(row: dict[str, Any], name: str = "rel_change") -> str:
    """A relative change with its interval; "" where it is not known."""
    if row[name] != row[name]:
        return ""
    change, low, high = (nought(f"{100 * row[f'{name}{end}']:+.0f}") for end in ENDS)
    known = row[f"{name}_ci_lower"] == row[f"{name}_ci_lower"]
    ends = f" ({low}\u00a0to\u00a0{high})" if known else ""
    return f"{change}\u00a0%{ends}".replace("-", MINUS)
