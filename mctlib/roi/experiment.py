"""What did a change do where chance decided who got it? The top rung of the ladder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import (
    BETWEEN,
    ParameterError,
    as_timestamp,
    as_window,
    interval_columns,
    nearest,
    one_of,
)
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.labels import named
from mctlib.groups import MIN_USERS, Groups
from mctlib.results import Result
from mctlib.roi import narrative_arms
from mctlib.roi.arms import Side, of_means, of_shares
from mctlib.roi.assignment import Group, Tables, count_users
from mctlib.roi.power import detectable, more_weeks
from mctlib.roi.rung import ALPHA, ARMS, INCONCLUSIVE, NOT_SHOWN, SHOWN, SUPPORTED, Rung, Verdict

TICKS = 10_000  # of a window, in logs too large to keep every duration
Kind = Literal["mean", "rate"]
Users = Literal["new", "known"]
LARGE = f"arms of {MIN_USERS} users or more"  # whose windows are over; of others nothing is told


@dataclass(frozen=True, kw_only=True, repr=False)
class Arms(Result):
    """Answer of `compare_arms`.

    ``comparison`` (supported, not supported), ``reason`` and ``effect`` (shown, not shown,
    inconclusive): of the surest arm, as `BeforeAfter` has them; ``kind``: rate or mean. ``days``:
    day, segment, n_users: users by the day of their start (known ones: on which their window ends).
    ``arms``: one row for every arm but the reference.

    ====================== ===== ===================================================================
    column                 unit  meaning
    ====================== ===== ===================================================================
    segment, reference           the arm, and the one without the change
    n_users, n_reference   users compared, of either
    n_pending              users of both whose window is not over: they count in a share for as long
                           as they were seen, in a mean not at all
    mean_before            x     of the arm, before the change; NaN where nobody was there before
    mean_after             x     of the arm, within the window
    effect ±               x     of a user more than in the reference, adjusted for the time before
                                 where there is one; and its pvalue
    rel_effect                   effect / what would have been
    unadjusted_effect ±    x     difference of shares (Newcombe), of means (Welch)
    variance_ratio               adjusted / unadjusted
    detectable_effect      x     what so many users show with a power of 80 %
    more_weeks           weeks until the wished effect would be shown so; NaN where more weeks
                                 bring no more users
    design_effect                of accounts on the variance, NaN without them
    balance_pvalue               that as many had the event ever before the change; NaN for the new
    sample_ratio_pvalue          of arms of these sizes, by the planned shares
    qvalue                       of pvalue, over the arms
    ====================== ===== ===================================================================

    x: share of users with the event, or events per user. ± : with ``_ci_lower`` and ``_ci_upper``
    (95 %).
    """

    arms: pd.DataFrame
    days: pd.DataFrame = field(default_factory=pd.DataFrame)
    kind: str = ""
    comparison: str = "not supported"
    reason: str = ""
    effect: Verdict = INCONCLUSIVE

    main: ClassVar[str] = "arms"

    @property
    def surest(self) -> pd.Series:
        """The row of the arm that is spoken of: the least q-value, then the largest effect."""
        # NaN comes last
        order = np.lexsort([-self.arms["effect"].abs(), self.arms["qvalue"]])
        return self.arms.iloc[order[0]]

    @property
    def rung(self) -> Rung | None:
        """It as the top rung of a ladder; None without arms."""
        if self.arms.empty:
            return None
        row = self.surest
        ends = [row[f"effect_ci_{end}"] for end in ("lower", "upper")]
        return Rung(
            ARMS,
            self.reason,
            self.comparison == SUPPORTED,
            self.effect if self.comparison == SUPPORTED else "",
            effect=row["effect"],
            low=ends[0],
            high=ends[1],
            se=(ends[1] - ends[0]) / 2 / stats.Z,
            df=np.inf,
            base=row["mean_after"] - row["effect"],
            pvalue=row["pvalue"],
        )


def compare_arms(
    log: EventLog,
    event: Any,
    *,
    of: Any,
    by: str,
    change_at: Any,
    window: str,
    as_of: Any,
    reference: str | None = None,
    shares: Mapping[str, float] | None = None,
    kind: Kind = "mean",
    users: Users | None = None,
    wish: float = 0.0,
) -> Arms:
    """Compare users in arms that were drawn by chance.

    New users, whose first ``of`` falls on the change or later, have their window from there. Those
    known before have it from the change on, and are adjusted for as long a time before it.

    Parameters
    ----------
    log : EventLog
        Events, and people where these hold the arm.
    event, of : str, list of str or Step
        What is counted; the event that makes somebody a user.
    by : str
        Column that holds the arm (of people, or of the event at the first ``of``); "" for no arms.
    change_at, window, as_of : str
        First UTC day of the change; time within which an event counts; last observed moment.
    reference, shares : str, mapping, optional
        The arm without the change (default: the largest); arm -> planned share (default: equal).
    kind : {"mean", "rate"}
        Events per user, or share of users with any. A mean of which nobody has two is a share.
    users : {"new", "known"}, optional
        Whom to compare: by default the new ones where two arms have 30, else those known before.
    wish : float
        Effect that one would like to see: in percentage points of a share, else events per user.

    Returns
    -------
    Arms
        ``arms`` (columns: see `Arms`), ``finding``, ``rule``, ``caveats``.

    Raises
    ------
    ParameterError
        An unknown arm, fewer than two arms of 10 users, a window that has not closed at ``as_of``.

    Notes
    -----
    `roi.arms`; a chi-square test of the arms' sizes refuses a finding below p = 0.001.

    Examples
    --------
    >>> ask = {"of": "signed_up", "window": "7d", "change_at": "2026-01-20", "as_of": "2026-01-31"}
    >>> compare_arms(log, "profile_completed", by="platform", **ask).arms[["reference"]].shape
    (1, 1)
    """
    if not by:
        return Arms(arms=pd.DataFrame(columns=["segment"]), finding=narrative_arms.NO_ARMS)
    one_of("kind", kind, get_args(Kind))
    one_of("users", users or "new", get_args(Users))
    of, event = log.step(of), log.step(event)
    if missing := log.missing_events([of, event]):
        raise ParameterError(missing[0])
    change = int(as_timestamp(change_at, "change_at").normalize().value // 1000)
    length = _window(log, window, change, as_of)
    tick = 1 if log.small else max(length // TICKS, 1)
    kernel = partial(count_users, change=change, window=length, tick=tick)
    dims = [*log.columns(by), *log.accounts]
    tables = log.reduce(kernel, events=[of, event], by=dims, as_of=as_of)
    group = _chosen(tables, users, by, str(change_at))
    reference, shares = (named(log.planned_segments, by, asked) for asked in (reference, shares))
    base, planned = _reference(reference, group.sizes), _planned(shares, group.sizes)
    is_share = kind == "rate" or group.is_share
    wanted = wish / 100 if is_share else wish
    table = _against(group, base, end=length // tick, is_share=is_share, wish=wanted)
    table["sample_ratio_pvalue"] = group.sample_ratio(planned)
    found = Arms(arms=table, days=group.days, kind="rate" if is_share else "mean", finding="")
    told = narrative_arms.Told(
        event=event.label,
        of=of.label,
        window=phrases.window(length),
        change=f"{as_timestamp(change_at):%Y-%m-%d}",
        kind=found.kind,
        group=group,
        planned=planned,
        top=found.surest,
        effect=_verdict(found.surest),
        wish=wanted,
    )
    refused = narrative_arms.refusal(told)
    return replace(
        found,
        comparison="not supported" if refused else SUPPORTED,
        reason=refused or narrative_arms.supported(told),
        effect=INCONCLUSIVE if refused else told.effect,
        finding=narrative_arms.finding(told),
        headlines=(narrative_arms.headline(told),),
        rule=narrative_arms.rule(told),
        caveats=(*log.caveats(as_of), *narrative_arms.caveats(told)),
        groups=_groups(group, by, f"users with {of.label} up to {phrases.day(log.as_of(as_of))}"),
    )


def _groups(group: Group, by: str, population: str) -> tuple[Groups, ...]:
    """All users, by arm and by when they came; a row tells of its arm, and of the reference."""
    names = {group.cell(arm, group.known): arm for arm in group.sizes.index}
    key = f"{by}{BETWEEN}known"
    return tuple(
        Groups(population, key, group.everyone, names, column)
        for column in ("segment", "reference")
    )


def _verdict(row: pd.Series) -> Verdict:
    """Whether an arm shows an effect; among many, one that differs may do so by chance."""
    if row["effect_ci_lower"] <= 0 <= row["effect_ci_upper"]:
        return NOT_SHOWN
    return SHOWN if row["qvalue"] < ALPHA else INCONCLUSIVE


def _window(log: EventLog, window: str, change: int, as_of: Any) -> int:
    """Microseconds. Raises ParameterError: from the change on it is not over at ``as_of``."""
    length, end = as_window(window), log.as_of(as_of)
    if change + length - 1 > end:
        raise ParameterError(
            f"window: {phrases.window(length)} after {phrases.day(change)} are not over on "
            f"{phrases.day(end)}, the last day that is known. Where users are put into arms when "
            "they come, change_at is the first day of the test."
        )
    return length


def _chosen(tables: Tables, users: Users | None, by: str, change_at: str) -> Group:
    """The users to compare, see `compare_arms`. Raises ParameterError: they fill no two arms."""
    groups = [Group.of(tables, name == "known") for name in get_args(Users)]
    asked = [group for group in groups if users is None or group.known == (users == "known")]
    for least in (stats.MIN_USERS, MIN_USERS):
        for group in asked:
            if (group.arms["n_closed"] >= least).sum() > 1:
                return group
    whose = {None: "", "new": f" who came from {change_at} on", "known": f" before {change_at}"}
    raise ParameterError(f"by: {by} splits the users{whose[users]} into fewer than two {LARGE}.")


def _reference(reference: str | None, sizes: pd.Series) -> str:
    """The arm without the change. Raises ParameterError: there is none of that name."""
    if reference is None or reference in sizes:
        return str(reference or sizes.index[0])
    raise ParameterError(
        f'reference: "{reference}" is none of the {LARGE} ({", ".join(sizes.index)}).'
        f"{nearest(reference, sizes.index)}"
    )


def _planned(shares: Mapping[str, float] | None, sizes: pd.Series) -> pd.Series:
    """Planned share of every arm. Raises ParameterError: one is none, or of no arm, or lacking."""
    planned = pd.Series(dict(shares) if shares else 1.0, shares or sizes.index, dtype=float)
    if not (planned > 0).all():
        raise ParameterError(f"shares: {shares} must be numbers above 0.")
    for name in planned.index.difference(sizes.index):
        raise ParameterError(
            f'shares: "{name}" is none of the {LARGE} ({", ".join(sizes.index)}).'
            f"{nearest(name, sizes.index)}"
        )
    for name in sizes.index.difference(planned.index):
        raise ParameterError(f'shares: the arm "{name}" has none; every arm needs one.')
    return planned[sizes.index] / planned.sum()


def _against(group: Group, base: str, *, end: int, is_share: bool, wish: float) -> pd.DataFrame:
    """`Arms.arms` but for the sample ratio."""
    reference, rows = group.side(base, is_share), []
    for name in group.sizes.index.drop(base):
        arm = group.side(name, is_share)
        row = effect_row(arm, reference, end=end, is_share=is_share, n_accounts=group.n_accounts)
        if not group.known and np.isnan(group.n_accounts):
            row["more_weeks"] = more_weeks(row["detectable_effect"], wish, group.weeks)
        already = of_means(arm, reference, column="ever", n_accounts=group.n_accounts)
        row["balance_pvalue"] = already.pvalue
        n_pending = (group.arms["n_users"] - group.arms["n_closed"])[[name, base]].sum()
        rows.append({"segment": name, "reference": base} | row | {"n_pending": int(n_pending)})
    table = pd.DataFrame(rows)
    return table.assign(qvalue=stats.fdr(table["pvalue"]))


def effect_row(
    arm: Side, base: Side, *, end: int = 0, is_share: bool = False, n_accounts: float = np.nan
) -> dict[str, float]:
    """The estimates of one row of `Arms.arms`."""
    known = arm.waits is None
    if is_share:
        plain = of_shares(arm, base, end, n_accounts=n_accounts)
    else:
        plain = of_means(arm, base, n_accounts=n_accounts)
    found = of_means(arm, base, adjust=True, n_accounts=n_accounts) if known else plain
    return {
        "n_users": arm.n_users(is_share),
        "n_reference": base.n_users(is_share),
        "mean_before": arm.mean("before") if known else np.nan,
        "mean_after": arm.share(end)[0] if is_share else arm.mean("after"),
        **interval_columns("effect", found.value, found.low, found.high),
        "rel_effect": found.value / found.base if found.base > 0 else np.nan,
        "pvalue": found.pvalue,
        **interval_columns("unadjusted_effect", plain.value, plain.low, plain.high),
        "variance_ratio": (found.se / plain.se) ** 2 if known and plain.se > 0 else np.nan,
        "detectable_effect": detectable(found.se, found.df),
        "more_weeks": np.nan,
        "design_effect": found.design_effect,
    }
