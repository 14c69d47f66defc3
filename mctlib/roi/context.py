"""What else moves a metric around a change: entries of the timeline, seasons, other metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import DataError, nearest
from mctlib.eventlog.daily_metric import DailyMetric
from mctlib.roi.estimators import against_trend
from mctlib.roi.weeks import HOLIDAYS, MIN_SEASON, SEASON, Panel, checked, days, pooled, weekly

# Change of the tracked share of the server's records that is more than carelessness.
TRACKING_MOVED = 0.02


DAYS_OF_YEAR = 365.25


def entries_of(timeline: pd.DataFrame | None) -> pd.DataFrame:
    """The timeline as day, kind (in small letters), label, note, micro_conversions, by day."""
    if timeline is None:
        timeline = pd.DataFrame(columns=["day", "kind", "label"])
    for column in ("day", "kind", "label"):
        if column not in timeline:
            raise DataError(
                f'timeline: column "{column}" is missing; it takes day, kind, label.'
                f"{nearest(column, timeline.columns)}"
            )
    words = timeline.reindex(columns=["kind", "label", "note", "micro_conversions"])
    words = words.where(words.map(lambda word: isinstance(word, str)), "")
    kind = words["kind"].str.strip().str.lower().replace("", "entry")
    entries = words.assign(kind=kind, day=days(timeline["day"], "timeline: day"))
    return entries.sort_values("day")


def coincidences(entries: pd.DataFrame, panel: Panel, events: Sequence[str]) -> pd.DataFrame:
    """Timeline entries within the weeks compared that may touch the metric, by day.

    Gives day, kind, label, note and refuses: whether it is a release or outage whose label or note
    says "tracking". The change itself, holidays and entries for other events alone are left out.
    """
    last = panel.weeks["start"].max() + pd.Timedelta("6D")
    found = []
    for entry in entries.to_dict("records"):
        day, kind = entry["day"], entry["kind"]
        touched = {word.strip() for word in entry["micro_conversions"].split(",")} - {""}
        elsewhere = touched and events and touched.isdisjoint(events)
        tracking = "tracking" in f"{entry['label']} {entry['note']}".lower()
        refuses = tracking and kind in ("release", "outage")
        itself = day == panel.change and kind in ("intervention", "release", "campaign")
        of_course = kind == "holiday" or (itself and not refuses)
        if panel.weeks["start"].min() <= day <= last and not elsewhere and not of_course:
            found.append({**entry, "refuses": refuses})
    return pd.DataFrame(found, columns=["day", "kind", "label", "note", "refuses"])


def name_of_change(entries: pd.DataFrame, change: pd.Timestamp) -> str:
    """What the timeline calls the change: the one intervention of that day; "" without one.

    Whatever else lies on that day is a coincidence, see `coincidences`.
    """
    ours = entries[(entries["day"] == change) & (entries["kind"] == "intervention")]
    return str(ours["label"].iloc[0]).strip() if len(ours) == 1 else ""


def beside(
    entries: pd.DataFrame, panel: Panel, covariates: Iterable[DailyMetric | pd.DataFrame]
) -> tuple[pd.DataFrame, list[str]]:
    """What else moves the metric by week, a column each; covariates that the change itself moved.

    Days of holidays; two yearly harmonics, from two years before the change on; covariates, but
    for those whose own interrupted series shows an effect: with them it would be taken away.
    """
    start = panel.weeks["start"]
    found = pd.DataFrame(index=panel.weeks.index)
    holiday = entries.loc[entries["kind"] == "holiday", "day"].drop_duplicates()
    week = (holiday - panel.change).dt.days // 7
    found[HOLIDAYS] = week.value_counts().reindex(found.index, fill_value=0)
    if (found.index < 0).sum() >= MIN_SEASON:
        year = 2 * np.pi * (start - start.min()).dt.days / DAYS_OF_YEAR
        for k in (1, 2):
            found[f"{SEASON}, sin {k}"] = np.sin(k * year)
            found[f"{SEASON}, cos {k}"] = np.cos(k * year)
    moved = []
    for each in map(DailyMetric.of, covariates):
        weeks = pooled(weekly(checked(each), panel.change, each.kind)[0], each.kind)
        value = weeks["value"].reindex(found.index)
        if value.isna().any():
            day = start[value.isna()].min()
            raise DataError(f"covariates: {each.title} has no value in the week of {day:%Y-%m-%d}.")
        own = against_trend(weeks.assign(y=value, weight=weeks["n"]).loc[found.index])
        n_pre = int((found.index < 0).sum())
        if own is not None and own.widened(n_pre).pvalue < 0.05:
            moved.append(each.title)
        else:
            found[each.title] = value
    return found.loc[:, found.any()], moved


def tracked(daily: pd.DataFrame, panel: Panel) -> pd.DataFrame:
    """Share of the server's successes that the events hold, before and after, by side.

    ``moved``: by 2 points or more, and Newcombe's interval of the change leaves out 0.
    """
    found = []
    for side, segments in (("treated", panel.treated), ("control", panel.control)):
        if "n_checked" not in daily:
            break
        rows = daily[daily["segment"].isin(segments)]
        after = rows["day"] >= panel.change
        sums = rows.groupby(after)[["n_tracked", "n_checked"]].sum()
        if len(sums) < 2 or not (sums["n_checked"] > 0).all():
            continue
        (k_0, n_0), (k, n) = sums.to_numpy(float)
        low, high = stats.newcombe(k, n, k_0, n_0)
        far = abs(k / n - k_0 / n_0) >= TRACKING_MOVED
        moved = far and not low <= 0 <= high
        found.append({"side": side, "before": k_0 / n_0, "after": k / n, "moved": moved})
    return pd.DataFrame(found, columns=["side", "before", "after", "moved"])
