"""What people say they did, held against their events."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.audit.witnesses import ALL, NO, WHOLE, YES
from mctlib.contract import interval_columns

WRONG_YES = 0.05  # of the yeses, to see how far the answer hangs on them


def answers_table(said: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """`Audit.answers`: the confusion of answers and events, by micro-conversion and platform."""
    rows = said[(said["app_version"] == ALL) & (said["week"] == WHOLE)]
    yes, no = (
        rows[rows["kind"] == kind].set_index(["what", "platform"])[["n_checked", "n_tracked"]]
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
            "n_answers": n,
            "n_yes_without_event": unseen,
            "n_no_with_event": unsaid,
            **interval_columns("disagree_rate", stats.rate(unseen + unsaid, n), low, high),
            "balance_rate": stats.rate(unseen - unsaid, n),
            "pvalue": stats.mcnemar(unseen, unsaid),
            **_capture(both),
        }
    )
    return table.sort_values(
        ["micro_conversion", "platform"], key=lambda c: c.where(c != ALL, ""), ignore_index=True
    )


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
