"""Signal, vanity, harmful or not enough data; what to keep watching, and what to stop."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.contract import ENDS
from mctlib.signals.candidates import Candidate

SIGNAL, VANITY, HARMFUL, UNKNOWN = "signal", "vanity", "harmful", "not enough data"
NO_EFFECT = (0.8, 1.25)  # a ratio whose whole interval lies within is no effect worth watching
MOSTLY = 0.5  # of those with a signal, from this share on it is had without using the product
MOST_WATCHED = 10
KEEP, STOP, LOOK = "keep watching", "stop watching", "look into"


def judge(table: pd.DataFrame, wanted: pd.Series, alike: pd.Series) -> pd.DataFrame:
    """The table with qvalue, the four reasons and the verdict.

    ``wanted``: whether more of a row's outcome is better; ``alike``: whether its users' activity
    was made alike, without which what the active do is no signal.
    """
    q = stats.fdr(table["pvalue"])
    ratio = {end: table[f"risk_ratio{end}"] for end in ENDS}
    clear = stats.differs(
        table["risk_difference_ci_lower"], table["risk_difference_ci_upper"], q
    ) & (
        ratio["_ci_lower"].isna() | stats.differs(ratio["_ci_lower"], ratio["_ci_upper"], q, same=1)
    )
    good = clear & ((table["risk_difference"] > 0) == wanted)
    looks, at_one_time = (_good(table, name, wanted) for name in ("naive", "landmark"))
    gain, most_gain = table["out_of_time_gain"], table["out_of_time_gain_ci_upper"]
    open_ended = (ratio["_ci_lower"] <= 1) & (ratio["_ci_upper"] >= 1)
    naive = table["naive_risk_ratio"]
    beyond = np.where(wanted, naive > ratio["_ci_upper"], naive < ratio["_ci_lower"])
    least, most = NO_EFFECT
    narrow = (ratio["_ci_lower"] > least) & (ratio["_ci_upper"] < most)
    holds = ~(gain <= 0)
    verdict = np.select(
        [good & holds & alike, clear & ~good & holds, open_ended & (looks & beyond | narrow)],
        [SIGNAL, HARMFUL, VANITY],
        UNKNOWN,
    )
    verdict = np.where(good & (most_gain < 0), VANITY, verdict)  # turns round for later users
    return table.assign(
        qvalue=q,
        naive_only=looks & ~good,
        time_only=looks & ~at_one_time,
        no_gain=gain <= 0,
        without_use=table["without_use_rate"] > MOSTLY,
        verdict=verdict,
    )


def _good(table: pd.DataFrame, which: str, wanted: pd.Series) -> pd.Series:
    """Whether an interval lies on the wanted side of 1."""
    low, high = (table[f"{which}_risk_ratio_ci_{end}"] for end in ("lower", "upper"))
    return pd.Series(np.where(wanted, low > 1, high < 1), table.index)


def same_sign(table: pd.DataFrame, sensitivity: pd.DataFrame) -> pd.Series:
    """Of each row whether the ratios at its other landmarks lie on the same side of 1."""
    key = ["outcome", "signal"]
    up = table.set_index(key)["risk_ratio"] > 1
    known = sensitivity[sensitivity["risk_ratio"].notna()]
    own = up.reindex(pd.MultiIndex.from_frame(known[key])).to_numpy()
    other = known.loc[(known["risk_ratio"] > 1) != own, key]
    places = pd.MultiIndex.from_frame(table[key])
    return pd.Series(~places.isin(pd.MultiIndex.from_frame(other)), table.index)


def to_watch(table: pd.DataFrame, of: Mapping[str, Candidate]) -> pd.DataFrame:
    """What to keep watching, look into and stop watching; ``of``: the candidates by their label.

    To keep: signals, the surest first, by outcome, evidence and priority. To stop: what is vanity
    for an outcome and nothing else for another one.
    """
    acts = {SIGNAL: KEEP, HARMFUL: LOOK, VANITY: STOP}
    rows = table[table["verdict"].isin(acts)].copy()
    busy = set(rows.loc[rows["verdict"] != VANITY, "signal"])
    rows = rows[(rows["verdict"] != VANITY) | ~rows["signal"].isin(busy)]
    rows["act"] = rows["verdict"].map(acts)
    rows["owner"] = [of[signal].owner for signal in rows["signal"]]
    rows["priority"] = pd.array([of[signal].priority for signal in rows["signal"]], "Int64")
    rows["_outcome"] = pd.factorize(table["outcome"])[0][rows.index]
    rows["_act"] = rows["act"].map({KEEP: 0, LOOK: 1, STOP: 2})
    by = ["_act", "_outcome", "e_value_limit", "priority"]
    rows = rows.sort_values(by, ascending=[True, True, False, True], kind="stable")
    rows = rows.drop_duplicates(["act", "signal"])
    rows = pd.concat([part.head(MOST_WATCHED) for _, part in rows.groupby("_act")] or [rows])
    names = [f"{name}{end}" for name in ("risk_ratio", "risk_difference") for end in ENDS]
    columns = ["act", "outcome", "signal", "owner", "priority", "verdict", *names]
    return rows[columns].reset_index(drop=True)
