"""What people say they did, held against their events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from mctlib import stats
from mctlib.audit.devices import DEVICE
from mctlib.audit.witnesses import NO, WHOLE, YES
from mctlib.contract import MISSING, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.late_start import ALL

FEW = 30  # answers, or users, of which a share is held against another
WRONG_YES = 0.05  # of the yeses, to see how far the answer hangs on them


def answers_table(said: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`Audit.answers`: the confusion of answers and events, by question, platform and version.

    qvalue: of the question's answers, whether these disagree as often as its others.
    """
    rows = said[said["week"] == WHOLE]
    yes, no = (
        rows[rows["kind"] == kind].set_index(["what", *DEVICE])[["n_checked", "n_tracked"]]
        for kind in (YES, NO)
    )
    both = yes.join(no, how="outer", rsuffix="_no").fillna(0).astype(int).reset_index()
    n_yes, n_no = both["n_checked"], both["n_checked_no"]
    unseen, unsaid = n_yes - both["n_tracked"], both["n_tracked_no"]  # yes without, no with event
    n = n_yes + n_no
    low, high = stats.wilson(unseen + unsaid, n)
    table = pd.DataFrame(
        {
            "micro_conversion": np.asarray(names, object)[both["what"]],
            "platform": both["platform"],
            "app_version": both["app_version"],
            "n_answers": n,
            "n_yes_without_event": unseen,
            "n_no_with_event": unsaid,
            **interval_columns("disagree_rate", stats.rate(unseen + unsaid, n), low, high),
            "balance_rate": stats.rate(unseen - unsaid, n),
            "pvalue": stats.mcnemar(unseen, unsaid),
            "qvalue": _stand_out(both["what"], both["platform"] == ALL, unseen + unsaid, n),
            **_capture(both),
        }
    )
    keys = ["micro_conversion", *DEVICE]
    return table.sort_values(keys, key=lambda c: c.where(c != ALL, ""), ignore_index=True)


def _stand_out(of: pd.Series, whole: pd.Series, k: pd.Series, n: pd.Series) -> NDArray[np.float64]:
    """q-values: whether each group's share is that of the rest of its whole; missing of a whole.

    ``of``: what groups are parts of · ``whole``: rows that are all of it.
    """
    others = [
        total.where(whole).groupby(of).transform("sum") - total for total in (k.astype(float), n)
    ]
    k_others, n_others = others
    share = stats.rate(k + k_others, n + n_others)
    error = np.sqrt(share * (1 - share) * (1 / n + 1 / n_others.where(n_others > 0)))
    pvalue = 2 * ndtr(-np.abs(stats.rate(k, n) - stats.rate(k_others, n_others)) / error)
    told = pvalue.where(~whole & (n >= FEW) & (n_others >= FEW))
    return told.groupby(of).transform(stats.fdr).to_numpy()


def respondents_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.respondents`: which users answer, by platform and channel (both "all" first).

    by, group, n_users, n_answered, answered_rate ±, qvalue: whether it is that of the others.
    """
    if log.table("surveys").empty:
        return pd.DataFrame(columns=["by", "group", "n_users", "n_answered", "answered_rate"])
    first = ", ".join(
        f"arg_min({column}::VARCHAR, timestamp) AS {column}" for column in ("platform", "channel")
    )
    counts = log.sql(
        f"""SELECT u.platform, coalesce(p.channel::VARCHAR, u.channel) AS channel,
            count(*) AS n_users, count(a."user") AS n_answered
        FROM (SELECT "user", {first} FROM events
            WHERE timestamp <= make_timestamp({until}) GROUP BY 1) u
        LEFT JOIN people p USING ("user")
        LEFT JOIN (SELECT DISTINCT "user" FROM surveys
            WHERE submitted_at <= make_timestamp({until})) a USING ("user") GROUP BY ALL"""
    ).fillna({"platform": MISSING, "channel": MISSING})
    parts = [counts.assign(by=ALL, group=ALL)]
    parts += [
        counts.assign(by=by, group=counts[by])
        for by in ("platform", "channel")
        if counts[by].nunique() > 1
    ]
    table = pd.concat(
        [
            part.groupby(["by", "group"], as_index=False)[["n_users", "n_answered"]].sum()
            for part in parts
        ],
        ignore_index=True,
    )
    k, n = table["n_answered"], table["n_users"]
    rate = interval_columns("answered_rate", stats.rate(k, n), *stats.wilson(k, n))
    same = pd.Series("", table.index)  # one whole of all groups
    return table.assign(**rate, qvalue=_stand_out(same, table["by"] == ALL, k, n))


def _capture(both: pd.DataFrame) -> dict[str, pd.Series]:
    """How many did it, how complete the events are, and if one yes in twenty is wrong.

    Answers and events are two lists of those who did it (Chapman). Of those who say yes the share
    with the event is the share of events that are there, as long as every yes is true (Lincoln &
    Petersen).
    """
    yes = both["n_tracked"], both["n_checked"]
    with_event = both["n_tracked"] + both["n_tracked_no"]
    size = stats.chapman(with_event, both["n_checked"], both["n_tracked"])
    if_wrong = stats.rate(both["n_tracked"], (1 - WRONG_YES) * both["n_checked"])
    return {
        **interval_columns("n_estimated", size.n, size.low, size.high),
        **interval_columns("completeness_rate", stats.rate(*yes), *stats.wilson(*yes)),
        "completeness_if_wrong_rate": np.minimum(if_wrong, 1),
    }
