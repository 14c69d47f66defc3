"""What a director reads first of a week: a sentence, numbers, who acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mctlib.headlines import (
    TIGHT,
    Action,
    Against,
    Headline,
    brief,
    day,
    named,
    told,
    upper,
)
from mctlib.phrases import called, count, listed, nought
from mctlib.results import MIN_USERS
from mctlib.scorecard.causes import WEEK
from mctlib.scorecard.counting import LIFE
from mctlib.scorecard.meters import Meters
from mctlib.scorecard.watching import Watched

FALSE_ALARMS = 0.0065  # per number and week, as simulated with season, trend, holidays and growth
YEAR_WEEKS = 52
FIRST = 12  # weeks before anything is judged in full
PARTS = dict(zip(LIFE, ("new", "back again", "back after a month", "not this week")))
MINUS = "\u2212"
WAITING = ("open", "acknowledged")  # states that ask for somebody
RUNNING = (*WAITING, "snoozed")
SIGN = {"fall": "fell", "rise": "rose"}
SPANS = {"seconds": "s", "minutes": "min", "hours": "h", "days": "days"}  # how a property ends


@dataclass(frozen=True, kw_only=True)
class Told:
    """What was found, for whoever words it."""

    meters: Meters
    watched: Watched
    alerts: pd.DataFrame
    kpis: pd.DataFrame
    reasons: pd.DataFrame
    responses: pd.DataFrame
    lifecycle: pd.DataFrame
    year: pd.DataFrame
    drift: pd.DataFrame
    today: pd.Timestamp

    @property
    def history(self) -> tuple[int, int, int]:
        """Weeks that could be judged, alerts raised in them, and those with nothing beside them."""
        names = [meter.name for meter in self.meters.watched]
        judged = self.watched.judged
        own = judged[judged["metric"].isin(names) & judged["pvalue"].notna()]
        moves = self.alerts[self.alerts["metric"].isin(names) & (self.alerts["kind"] != "loss")]
        raised = len(moves) + len(self.watched.inhibited)
        return int(own["week"].nunique()), raised, int((moves["coincides"] == "").sum())

    @property
    def false_a_year(self) -> float:
        """So many alerts that are none are to be expected at most."""
        return FALSE_ALARMS * len(self.meters.watched) * YEAR_WEEKS

    @property
    def news(self) -> list[dict[str, Any]]:
        """Alerts of the last complete week, the largest first."""
        rows = self.alerts[self.alerts["news"]]
        return _largest_first(rows)

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Alerts that ask for somebody, the new ones first, then the largest."""
        rows = self.alerts[self.alerts["state"].isin(WAITING)]
        return sorted(_largest_first(rows), key=lambda alert: not alert["news"])

    @property
    def over(self) -> list[dict[str, Any]]:
        """Alerts that the last complete week ended, by its numbers."""
        ended_now = self.alerts["closed_on"] == self.watched.last + WEEK
        return _largest_first(self.alerts[ended_now & (self.alerts["state"] != "closed")])


def _largest_first(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return sorted(rows.to_dict("records"), key=lambda alert: -abs(alert["rel_change"]))


def read_first(facts: Told) -> dict[str, Any]:
    """The fields of a `Result` that stand above the tables."""
    return {
        "finding": _finding(facts),
        "news": bool(facts.news),
        "headlines": (*_counts(facts), *_numbers(facts)),
        "actions": tuple(action(alert, facts) for alert in facts.waiting[:3]),
        "tells": _tells(facts),
        "how_sure": (
            "A fall of 10\u00a0% or more that chance makes less than once in 200 weeks is alerted.",
            *_tried(facts),
        ),
    }


def _tried(facts: Told) -> tuple[str, ...]:
    """What the rule gave in these very data."""
    n_weeks, n_raised, n_bare = facts.history
    if not n_weeks:
        return ()
    beside = f"{n_bare} beside nothing known" if n_bare else "each beside something known"
    gave = f"{count(n_raised, 'alert')}, {beside}" if n_raised else "none"
    return (f"These {count(n_weeks, 'week')} gave {gave}.",)


def question(alert: dict[str, Any]) -> str:
    """What to ask users about an alert; "" where they cannot know."""
    if alert["kind"] == "loss" or alert["metric"] == "everything":
        return ""
    return f"what changed for you with {named(alert['label'])}?"


def top_reason(reasons: pd.DataFrame, alert_id: str) -> str:
    """What most users say about an alert: "“too slow”, 18 of 30"; "" where it may not be told.

    Ten users say so at least, and as many, or none, who said no do not.
    """
    for row in reasons[reasons["alert_id"] == alert_id].head(1).to_dict("records"):
        others = row["n_no"] - row["n_answers"]
        if row["n_answers"] >= MIN_USERS and (others == 0 or others >= MIN_USERS):
            return f"“{row['reason']}”, {row['n_answers']:.0f} of {row['n_no']:.0f}"
    return ""


def where(alert: dict[str, Any]) -> str:
    """Of lost tracking, on which platform."""
    platform = alert["platform"]
    return f" on {called(platform)}" if platform else ""


def moved(alert: dict[str, Any]) -> str:
    """An alert in a clause: "“Users with an interview” fell 16 % in the week of 13 April"."""
    size = f"{100 * abs(alert['rel_change']):.0f}{TIGHT}%"
    week = f"in the week of {day(alert['since'])}"
    if alert["kind"] == "loss":
        platform = called(alert["platform"]) or "Tracking"
        return f"{upper(platform)} loses {named(alert['label'])} since {day(alert['since'])}"
    if alert["metric"] == "everything":
        return f"Everything {SIGN[alert['kind']]} by {size} {week}"
    return f"{named(alert['label'])} {SIGN[alert['kind']]} {size} {week}"


def ended(alert: dict[str, Any]) -> str:
    """An alert that is over in a clause: "“Users with an interview” is back where it was"."""
    label = named(alert["label"])
    back = alert["state"] == "recovered"
    if alert["kind"] == "loss":
        platform = upper(called(alert["platform"]) or "Tracking")
        lost = f"still loses {label}, now as the new level"
        return f"{platform} {f'records {label} again' if back else lost}"
    return f"{label} is back where it was" if back else f"{label} has a new level"


def drifts(row: Mapping[str, Any]) -> str:
    """A slow drift in a clause."""
    change = f"{100 * row['rel_change']:+.0f}{TIGHT}%".replace("-", MINUS)
    return f"{named(row['label'])} drifts: {change} in its last four weeks against the 12 before"


def _finding(facts: Told) -> str:
    if facts.news:
        first, *more = facts.news
        beside = f"; it coincides with {first['coincides']}" if first["coincides"] else ""
        others = f", and {count(len(more), 'more number')} moved" if more else ""
        return brief(moved(first), others, beside)
    running = facts.waiting
    if not running:
        return brief("Nothing fell this week", ", and no alert is open")
    others = f"; {count(len(running) - 1, 'more alert')} open" if len(running) > 1 else ""
    return brief("Nothing new fell this week", f"; still open: {moved(running[0])}", others)


def _counts(facts: Told) -> list[Headline]:
    """New and open alerts: first the open ones while they ask for somebody."""
    counts = [_new(facts), _open(facts)]
    return counts[::-1] if facts.waiting else counts


def _new(facts: Told) -> Headline:
    n, false = len(facts.news), max(round(facts.false_a_year), 1)
    return Headline(
        name="new alerts",
        label="New alerts this week",
        value=float(n),
        n=len(facts.meters.watched),
        n_noun=f"numbers, at most {count(false, 'false alert')} a year",
        verdict="sure" if n else "",
        tone="unwanted" if n else "neutral",
        act=bool(n),
        note="to act on" if n else "nothing new",
    )


def _open(facts: Told) -> Headline:
    running = facts.alerts[facts.alerts["state"].isin(RUNNING)]
    n = len(facts.waiting)
    return Headline(
        name="open alerts",
        label="Open alerts",
        value=float(len(running)),
        verdict="sure" if n else "",
        tone="unwanted" if n else "neutral",
        act=bool(n),
        note=f"{n} to act on" if n else "nothing to act on" if len(running) else "none open",
    )


def _numbers(facts: Told) -> list[Headline]:
    """The two watched numbers that moved last, else the first two of the plan."""
    totals = facts.kpis[facts.kpis["segment"] == "all"].set_index("metric")
    latest = facts.alerts.loc[facts.alerts["kind"] != "loss", "metric"].tolist()
    watched = [meter for meter in facts.meters.watched if meter.name in totals.index]
    watched.sort(key=lambda m: latest.index(m.name) if m.name in latest else len(latest))
    return [_number(totals.loc[meter.name], facts) for meter in watched[:2]]


def _number(row: pd.Series, facts: Told) -> Headline:
    meter = next(meter for meter in facts.meters.watched if meter.name == row.name)
    times = 100.0 if row["kind"] == "rate" else 1.0
    unit = "%" if row["kind"] == "rate" else SPANS.get(meter.number.rpartition("_")[2], "")
    sure = row["rel_change_ci_lower"] * row["rel_change_ci_upper"] > 0
    running = facts.alerts[facts.alerts["state"].isin(WAITING)]
    alerted = row.name in set(running.loc[running["kind"] != "loss", "metric"])
    before = None
    if row["p0"] == row["p0"]:
        frozen = row["since"] == row["since"]  # the level before an alert is kept while it is open
        label = f"before {day(row['since'])}" if frozen else "12 weeks before"
        if running.loc[running["metric"] == row.name, "again_on"].notna().any():
            label = "before it came again"  # since is the day on which it first came
        before = Against("group", times * row["p0"], label)
    wanted = (row["rel_change"] > 0) == (meter.bad != "up")
    return Headline(
        name=str(row.name),
        label=str(row["label"]),
        value=told(times * row["value"]),
        low=told(times * row["value_ci_lower"]),
        high=told(times * row["value_ci_upper"]),
        unit=unit,
        against=before,
        verdict="" if before is None else "sure" if sure else "no clear change",
        tone="neutral" if not sure else "wanted" if wanted else "unwanted",
        act=bool(alerted and sure),
        note="alert open" if alerted else "",
    )


def action(alert: dict[str, Any], facts: Told) -> Action:
    """What to do about an alert, by its cause, and who."""
    label, size = named(alert["label"]), f"{100 * abs(alert['rel_change']):.0f}{TIGHT}%"
    answered = facts.responses[facts.responses["alert_id"] == alert["alert_id"]]
    shipped = (
        bool(answered["until_answered_days"].notna().any())
        and not answered["open_stage"].isin(["noticed", "decided", "answered"]).any()
    )
    if alert["kind"] == "loss":
        text = f"Mend the tracking of {label}{where(alert)}."
    elif shipped:
        text = f"Decide on {label}: answered, but not back where it was."
    elif alert["cause"] == "competitor":
        text = f"Decide on an answer for {label}: it fell {size}."
    elif alert["cause"] == "mix":
        text = f"Look at who comes: {label} moved with the mix of channels."
    else:
        text = f"Find out why {label} {SIGN[alert['kind']]} {size}."
    return Action(text=text, role=alert["who"], about="open alerts", state=standing(alert))


def standing(alert: dict[str, Any]) -> str:
    """How long an alert is open, and what people do: "open for 91 days, acknowledged"."""
    done = f", {alert['state']}" if alert["state"] != "open" else ""
    days = count(alert["age_days"], "day").replace(" ", TIGHT)
    again = alert["again_on"]
    return f"open {f'for {days}' if pd.isna(again) else f'again since {day(again)}'}{done}"


def _tells(facts: Told) -> dict[str, str]:
    n = len(facts.waiting)
    totals = facts.kpis[facts.kpis["segment"] == "all"]
    fell = totals["rel_change_ci_upper"] < 0
    asked = {each for each in facts.reasons["alert_id"] if top_reason(facts.reasons, each)}
    ask = [question(alert) for alert in facts.waiting if alert["alert_id"] not in asked]
    ask = [f"; ask now: {text}" for text in ask if text][:1]
    saved = [
        f"; one day sooner would have saved {text}"
        for row in facts.responses.to_dict("records")
        if (text := a_day_sooner(row))
    ]
    return {
        "kpis": f"{count(int(fell.sum()), 'number')} of {len(totals)} below their level before"
        + "".join(f"; {named(label)} drifts" for label in facts.drift["label"]),
        "alerts": f"{count(n, 'alert')} {'asks' if n == 1 else 'ask'} for somebody"
        + (f"; {len(facts.over)} ended this week" if facts.over else ""),
        "responses": "".join([f"{count(len(facts.responses), 'answer')} in the log", *saved[-1:]]),
        "reasons": "".join([f"{count(len(asked), 'alert')} with users' reasons", *ask]),
        "lifecycle": lived(facts.lifecycle),
        "year": _year(facts.year),
    }


def a_day_sooner(row: Mapping[str, Any]) -> str:
    """What one day less until the answer would have saved; "" where that is not sure."""
    sure = row["missed_per_day"] > 0 and row["missed_ci_lower"] > 0
    return f"{row['missed_per_day']:,.0f} {row['missed_unit']}" if sure else ""


def lived(life: pd.DataFrame) -> str:
    """The users of four weeks, and how they changed against 12 weeks before, by their parts."""
    if life.empty:
        return "less than five weeks of data"
    now = life.iloc[-1]
    said = f"{now['n_monthly']:,.0f} users active in four weeks"
    if len(life) <= FIRST:
        return said
    then = life.iloc[-1 - FIRST]
    change = 100 * (now["n_monthly"] / then["n_monthly"] - 1)
    parts = ", ".join(f"{PARTS[name]} {now[name] - then[name]:+,.0f}" for name in LIFE)
    against = f"{change:+.1f}{TIGHT}% in {FIRST} weeks: {parts}"
    return f"{said}, {against.replace('-', MINUS)}"


def _year(year: pd.DataFrame) -> str:
    """What moved for sure against a year before, the plan's first by name."""
    if year.empty:
        return "less than a year of data"
    rows = year[year["change_ci_lower"] * year["change_ci_upper"] > 0].to_dict("records")
    moves = listed((f"{named(row['label'])} {changed(row)}" for row in rows), most=1)
    return f"{count(len(rows), 'number')} moved for sure" + (f": {moves}" if rows else "")


def changed(row: Mapping[str, Any], end: str = "") -> str:
    """A change in the number's own unit: "+4.3 points", "\u22121.2"; of an end without the unit."""
    times = 100 if row["kind"] == "rate" else 1
    text = nought(f"{times * row[f'change{end}']:+,.{0 if row['kind'] == 'count' else 1}f}")
    unit = f"{TIGHT}points" if row["kind"] == "rate" and not end else ""
    return text.replace("-", MINUS) + unit
