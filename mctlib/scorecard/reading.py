"""The tables as people read them: alerts by label and day, stages and columns in words."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from mctlib.scorecard import narrative
from mctlib.scorecard.narrative_first import a_day_sooner, where
from mctlib.scorecard.states import day_in
from mctlib.tracking_plan.plan import in_words

SHORT = """
label kind platform since rel_change rel_change_ci_lower rel_change_ci_upper coincides who state
age_days alert_id
""".split()
WAITS = {
    "": "",
    "noticed": "somebody to see it",
    "decided": "a decision",
    "answered": "an answer",
    "recovered": "recovery",
}


def told(name: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A table by its name, or ``alerts_in_short``, or ``medians``: the usual days in each stage."""
    if name == "year":
        return narrative.a_year_before(tables[name])
    if name == "medians":
        return _plain(tables["responses"].filter(like="median_").head(1))
    if name == "kpis":
        return narrative.every_segment(tables[name], tables["weeks"])
    table = tables["alerts"][SHORT] if name == "alerts_in_short" else tables[name]
    if name == "responses":
        table = table.drop(columns=table.filter(like="median_"))
        table = table.assign(open_stage=table["open_stage"].map(WAITS))
        table = table.rename(columns={"open_stage": "waits_for"})
        table["one_day_sooner"] = [a_day_sooner(row) for row in table.to_dict("records")]
        last = [*table.filter(like="missed"), "owner", "outcome"]
        table = table[[*table.columns.difference(last, sort=False), *last]]
        table = table.drop(columns=["missed_per_day", "missed_unit"])
        table.columns = table.columns.str.replace("recovered_change", "rel_since_answer")
    if name in ("responses", "reasons", "history"):
        table = _by_label(table, tables["alerts"])
        if name != "reasons":  # of which messages are made too
            table = table.drop(columns="alert_id")
    return _plain(table)


def _by_label(table: pd.DataFrame, alerts: pd.DataFrame) -> pd.DataFrame:
    """Rows by their alert's label and first day; of an alert that is not known by its id's."""
    known = {
        alert["alert_id"]: (f"{alert['label']}{where(alert)}", alert["since"])
        for alert in alerts.to_dict("records")
    }
    ids = table["alert_id"].astype(str)
    named = [known.get(name) or (in_words(name[:-11]), day_in(name)) for name in ids]
    plain = table.drop(columns="label", errors="ignore")
    plain.insert(0, "label", [label for label, _ in named])
    plain.insert(1, "since", pd.to_datetime([since for _, since in named]))
    return plain[[*plain.columns.drop("alert_id"), "alert_id"]]


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Without names of code."""
    names = {"p0": "baseline", "age_days": "days_open"}
    for column in table:
        first, _, stage = str(column).removesuffix("_days").partition("_")
        if stage and first in ("until", "median"):
            names[column] = "median_" * (first == "median") + f"days_until_{stage}"
    return table.drop(columns="metric", errors="ignore").rename(columns=names)
