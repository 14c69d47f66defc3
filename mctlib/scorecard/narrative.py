"""What a scorecard says beside its tables, in whole sentences."""

from __future__ import annotations

from typing import Any

import pandas as pd

from mctlib.headlines import day, named
from mctlib.phrases import called, count, listed
from mctlib.scorecard.counting import LIFE
from mctlib.scorecard.narrative_first import Told, moved

FALSE_ALARMS = 0.0065  # per number and week, as simulated with season, trend, holidays and growth
YEAR_WEEKS = 52
FIRST = 12  # weeks before anything is judged in full
RULE = (
    "A complete week is alerted when it lies 10 % (or what the plan says) below the pooled level "
    "of the last 12 usable weeks and 5 % below the line through them, with a one-sided p of at "
    "most 0.005 by the weeks' own scatter. Open alerts, holidays and outages are no usable weeks. "
    "An alert ends after two weeks at 95 % of the level before it, or after 12 weeks as the new "
    "level."
)
PARTS = dict(zip(LIFE, ("new", "returning", "resurrected", "dormant")))


def details(facts: Told) -> tuple[str, ...]:
    """Further sentences, each whole in itself."""
    alerts = {alert["alert_id"]: alert for alert in (*facts.news, *facts.waiting)}
    return (
        *(_alert(alert, facts) for alert in alerts.values()),
        *_inhibited(facts),
        *(_answer(row) for row in facts.responses.to_dict("records")),
        *_life(facts.lifecycle),
        *_drift(facts),
        _budget(facts),
    )


def _alert(alert: dict[str, Any], facts: Told) -> str:
    """An alert with its interval, its cause and who acts."""
    ends = ""
    if alert["rel_change_ci_lower"] == alert["rel_change_ci_lower"]:
        low, high = 100 * alert["rel_change_ci_lower"], 100 * alert["rel_change_ci_upper"]
        ends = f" ({low:+.0f} to {high:+.0f} %)"
    said = f"{moved(alert)}{ends}."
    if alert["n_controls"] and alert["cause"] == "competitor":
        study = (100 * alert[f"study_change{end}"] for end in ("", "_ci_lower", "_ci_upper"))
        value, low, high = study
        said += (
            f" It coincides with {alert['coincides']}; against {alert['n_controls']} numbers that "
            f"it cannot touch the change is {value:+.0f} % ({low:+.0f} to {high:+.0f})."
        )
    elif alert["coincides"]:
        said += f" It coincides with {alert['coincides']}."
    if alert["cause"] == "mix":
        said += f" {100 * alert['mix_change']:+.0f} % of it comes from who the users are."
    return f"{said} {reason(alert, facts)}".strip() + f" Who acts: {alert['who']}."


def reason(alert: dict[str, Any], facts: Told) -> str:
    """What users say about it, or what to ask them."""
    mine = facts.reasons[facts.reasons["alert_id"] == alert["alert_id"]]
    if alert["kind"] == "loss" or alert["metric"] == "everything":
        return ""
    if mine.empty or mine["n_answers"].max() < 10:
        return (
            f"Ask users now, in a short survey: what changed for you with {named(alert['label'])}?"
        )
    top = mine.iloc[0]
    return f"Users say “{top['reason']}”, {top['n_answers']} of {top['n_no']} who said no."


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
    text = f"{named(row['label'])}: {said}" if said else f"{named(row['label'])}: no day is known"
    if waits:
        text += f"; not {waits} for {row[f'until_{waits}_days']:.0f} days"
    if row["recovered_change"] == row["recovered_change"]:
        low, high = (100 * row[f"recovered_change_ci_{end}"] for end in ("lower", "upper"))
        text += (
            f"; since the answer {100 * row['recovered_change']:+.0f} % ({low:+.0f} to {high:+.0f})"
        )
    if row["missed_per_day"] > 0 and row["missed_ci_lower"] > 0:
        saved = f"{row['missed_per_day']:,.0f} {row['missed_unit']}"
        text += f"; one day sooner would have saved {saved}"
    return f"{text}."


def _life(life: pd.DataFrame) -> list[str]:
    """How the users of a month changed against 12 weeks before, by their parts."""
    if len(life) < FIRST + 1:
        return []
    now, then = life.iloc[-1], life.iloc[-1 - FIRST]
    change = 100 * (now["n_monthly"] / then["n_monthly"] - 1)
    parts = listed(f"{PARTS[name]} {now[name] - then[name]:+,.0f}" for name in LIFE)
    return [
        f"{now['n_monthly']:,.0f} users were active in the last four weeks, {change:+.1f} % "
        f"against 12 weeks before: {parts}."
    ]


def _drift(facts: Told) -> list[str]:
    label = {meter.name: meter.label for meter in facts.meters.all}
    return [
        f"{named(label[row['metric']])} drifts: the last four weeks lie "
        f"{100 * row['rel_change']:+.0f} % against the 12 before them. That is a note, no alert."
        for row in facts.drift.to_dict("records")
    ]


def _budget(facts: Told) -> str:
    """The false alarms to be expected, and what the rule found in the weeks so far."""
    n = len(facts.meters.watched)
    judged = facts.watched.judged
    own = judged[judged["metric"].isin([meter.name for meter in facts.meters.watched])]
    n_weeks = int(own.loc[own["pvalue"].notna(), "week"].nunique())
    a_year = FALSE_ALARMS * n * YEAR_WEEKS
    raised = int(own["alert"].sum())
    return (
        f"Of {count(n, 'number')} at most {a_year:.1f} false alerts a year are to be expected. In "
        f"the {count(n_weeks, 'week')} of these data that could be judged the rule raised "
        f"{count(raised, 'alert')}, where at most {FALSE_ALARMS * n * n_weeks:.1f} false ones were "
        "to be expected."
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
        "the newest week look lower than it is."
    )
    return said


STATES = {
    "open": "\u25b2 alert open",
    "recovered": "\u25cf recovered",
    "new level": "\u25cb new level",
    "may be chance": "\u25cb may be chance",
    "everything moved": "\u25cb everything moved",
    "no baseline": "\u25cb too few weeks",
    "left out": "\u25cb not judged",
}


def board(kpis: pd.DataFrame, year: pd.DataFrame) -> pd.DataFrame:
    """The totals in words: label, owner, n_counted, last_week, against_before, against_a_year."""
    rows = []
    before = {row["metric"]: row for row in year.to_dict("records")}
    for kpi in kpis[kpis["segment"] == "all"].to_dict("records"):
        last_year = before.get(kpi["metric"])
        rows.append(
            {
                "number": kpi["label"],
                "owner": kpi["owner"],
                "n_counted": kpi["n_counted"],
                "last_week": _ranged(kpi, "value", kpi["kind"]),
                "against_before": _relative(kpi),
                "against_a_year": _relative(last_year) if last_year else "",
                "state": _state(kpi, last_year),
            }
        )
    return pd.DataFrame(rows)


def _state(kpi: dict[str, Any], last_year: dict[str, Any] | None) -> str:
    """What is known of a number; of one that never fell far where it moved for sure."""
    if kpi["state"]:
        return STATES.get(str(kpi["state"]), "")
    known = [(row, since) for row, since in ((kpi, ""), (last_year, " on a year ago")) if row]
    compared = [(row, since) for row, since in known if row["rel_change"] == row["rel_change"]]
    for row, since in compared:
        if row["rel_change_ci_lower"] * row["rel_change_ci_upper"] > 0:
            return f"\u25cf {'up' if row['rel_change'] > 0 else 'down'}{since}"
    return "\u25cf quiet" if compared else ""


def _ranged(row: dict[str, Any], column: str, kind: str) -> str:
    """A value with its interval in its own unit."""
    value, low, high = (row[f"{column}{end}"] for end in ("", "_ci_lower", "_ci_upper"))
    if value != value:
        return ""
    if kind == "count":
        return f"{value:,.0f}"
    times, unit = (100, "\u00a0%") if kind == "rate" else (1, " days" if kind == "days" else "")
    upper = f"to {times * high:.1f}" if high == high and high < float("inf") else "or more"
    ends = f" ({times * low:.1f} {upper})" if low == low else ""
    return f"{times * value:.1f}{unit}{ends}"


def _relative(row: dict[str, Any]) -> str:
    change, low, high = (100 * row[f"rel_change{end}"] for end in ("", "_ci_lower", "_ci_upper"))
    if change != change:
        return ""
    ends = f" ({low:+.0f} to {high:+.0f})" if low == low else ""
    return f"{change:+.0f}\u00a0%{ends}".replace("-", "\u2212")
