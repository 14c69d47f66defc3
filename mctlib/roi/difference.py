"""Difference-in-differences: how far the treated segments moved, less how far the others did."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mctlib.phrases import count
from mctlib.roi import segments
from mctlib.roi.estimators import Estimate, against_level, against_trend, drift
from mctlib.roi.rung import ALPHA, DID, NO_CONTROL, Rung, gaps_of, judged, rung_of, too_few
from mctlib.roi.weeks import MIN_PRE, Panel

# Controls that one treated segment needs; it has to move so many times as far as any of them,
# until there are so many that its rank among them is a test.
FEWEST, FAR, RANKED = 4, 2, 19


@dataclass(frozen=True)
class Moves:
    """Segments and weeks that a difference-in-differences rests on.

    n_treated, n_control: segments that can be compared · left_out: those that cannot · df: of the
    error by segment, NaN where one is treated · farthest, by: the control that moved most against
    the others · weeks_pvalue: of the gap between the sides · drift_pvalue, unnoticed: see
    `estimators.drift` · controls: their change against their own trend.
    """

    n_treated: int
    n_control: int
    left_out: list[str]
    df: float
    farthest: str
    by: float
    weeks_pvalue: float
    drift_pvalue: float
    unnoticed: float
    controls: Estimate | None

    @property
    def one(self) -> bool:
        """Whether a single segment got the change."""
        return self.n_treated == 1

    def refusals(self, rung: Rung) -> list[tuple[bool, str]]:
        """Why it may not be supported."""
        return [
            (
                self.one and self.n_control < FEWEST,
                f"how far one segment moves without a change takes {FEWEST} controls to say, and "
                f"{self.n_control} can be compared",
            ),
            (
                not self.one and self.n_control == 1,
                "the one control may have moved by itself; it takes two to see that",
            ),
            (not rung.se > 0, "no segment moved otherwise than the rest of its side"),
            (
                self.drift_pvalue < ALPHA,
                "treated and control drifted apart before the change "
                f"(p = {self.drift_pvalue:.3f}, joint test)",
            ),
        ]

    def doubts(self, rung: Rung) -> list[tuple[bool, str]]:
        """Why an effect may not be shown although the interval leaves out 0."""
        by_rank = np.isfinite(rung.placebo_pvalue)
        far = abs(rung.effect) / self.by if self.by > 0 else np.inf
        return [
            (
                not self.one and self.weeks_pvalue > ALPHA,
                "segment by segment it is clear, but over the weeks the gap between the two sides "
                f"moves as far by itself (p = {self.weeks_pvalue:.2f})",
            ),
            (
                by_rank and rung.placebo_pvalue > ALPHA,
                f"other segments moved as far without a change (p = {rung.placebo_pvalue:.2f} by "
                f"rank among all {1 + self.n_control})",
            ),
            (
                self.one and not by_rank and far < FAR,
                f"it is only {far:.1f} times as far as {self.farthest} moved against the other "
                f"controls without a change; it takes {FAR}",
            ),
        ]


def difference(panel: Panel) -> tuple[Rung, Moves | None]:
    """Change of each segment's mean, treated less control.

    The error is that of the segments' own changes (`segments.apart`), and an effect is shown only
    where the weeks of the gap between the sides say so too: a shock to one side as a whole has no
    other witness. Where a single segment got the change, the interval is that of the weeks, and
    the effect has to be twice as far as any control moved against the others, or with 19 controls
    as far as 95 % of all do not. Refused when the gap drifted before the change.
    """
    if not panel.control:
        return Rung(DID, NO_CONTROL), None
    each, gap = panel.changes, panel.gap
    for name, side in (("treated", panel.treated), ("control", panel.control)):
        if not panel.shares.index.isin(side).any():
            reason = f"no {name} segment has users in the weeks that are compared"
            return Rung(DID, reason), None
    found = against_level(gap)
    if found is None:
        return too_few(DID, gap), None
    rung, moves = rung_of(DID, gap, found), _moves(panel, found)
    told = "the interval is that of the weeks, since one segment got the change"
    if not moves.one:
        told = f"{count(moves.n_treated, 'treated segment')}, {moves.n_control} not"
    if not moves.one and moves.n_control > 1:
        change, share = each["change"].to_numpy(float), each["share"].to_numpy(float)
        se, df = segments.apart(change, share, each["treated"].to_numpy(bool))
        rung, moves = rung.with_errors(se, df), replace(moves, df=df)
    elif moves.one and moves.n_control >= RANKED:
        rank = 1 + int((panel.moved.abs() >= abs(rung.effect)).sum())
        rung = replace(rung, placebo_pvalue=rank / (1 + moves.n_control))
    refusals, doubts = moves.refusals(rung), moves.doubts(rung)
    rung = judged(rung, panel, told=told, refusals=refusals, doubts=doubts)
    if moves.n_control > 1:
        lines = [gaps_of(s, gap, panel.apart[s]) for s in panel.apart]
        rung = replace(rung, placebos=pd.concat(lines, ignore_index=True))
    return rung, moves


def _moves(panel: Panel, found: Estimate) -> Moves:
    """Without the error by segment."""
    each, gap = panel.changes, panel.gap
    n_treated, by = int(each["treated"].sum()), panel.moved.abs().dropna()
    long_enough = (gap.index < 0).sum() >= MIN_PRE
    drift_pvalue, unnoticed = drift(gap) if long_enough else (np.nan, np.nan)
    return Moves(
        n_treated,
        n_control=len(each) - n_treated,
        left_out=[s for s in (*panel.treated, *panel.control) if s not in each.index],
        df=np.nan,
        farthest=str(by.idxmax()) if len(by) else "",
        by=float(by.max()) if len(by) else np.nan,
        weeks_pvalue=found.pvalue,
        drift_pvalue=drift_pvalue,
        unnoticed=unnoticed,
        controls=against_trend(gap.assign(y=gap["control"])),
    )
