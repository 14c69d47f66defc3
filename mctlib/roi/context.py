"""What else happened around a change: entries of the timeline, and tracking that moved with it."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mctlib import stats
from mctlib.contract import DataError, nearest
from mctlib.roi.weeks import Panel, days

# Change of the tracked share of the server's records that is more than carelessness.
TRACKING_MOVED = 0.02


def coincidences(
    timeline: pd.DataFrame | None, panel: Panel, events: Sequence[str]
) -> pd.DataFrame:
    """Timeline entries within the weeks compared that may touch the metric, by day.

    Gives day, kind, label, note and refuses: whether it is a release or outage whose label or note
    says "tracking". The change itself and entries for other events alone are left out.
    """
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
    entries = words.assign(day=days(timeline["day"], "timeline: day")).sort_values("day")
    last = panel.weeks["start"].max() + pd.Timedelta("6D")
    found = []
    for entry in entries.to_dict("records"):
        day, kind = entry["day"], entry["kind"].strip().lower() or "entry"
        touched = {word.strip() for word in entry["micro_conversions"].split(",")} - {""}
        elsewhere = touched and events and touched.isdisjoint(events)
        is_the_change = kind == "intervention" and day == panel.change
        if panel.weeks["start"].min() <= day <= last and not elsewhere and not is_the_change:
            tracking = "tracking" in f"{entry['label']} {entry['note']}".lower()
            refuses = tracking and kind in ("release", "outage")
            found.append({**entry, "kind": kind, "refuses": refuses})
    return pd.DataFrame(found, columns=["day", "kind", "label", "note", "refuses"])


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
