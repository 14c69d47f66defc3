"""Did a change move a rate, a count or a mean, against what would have happened anyway, and did it pay?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.journeys import Journeys, as_step, first_rows
from mctlib.log import EventLog, as_timestamp, as_window
from mctlib.store import DataError, ParameterError, nearest
from mctlib.words import in_words

DAY = 86_400_000_000
MIN_PRE, MIN_POST = 12, 6  # weeks; below them a comparison is described, not supported
N_PLACEBO = 20  # placebo dates wanted: fewer cannot reach p = 0.05
ALPHA = 0.05
NAIVE, ITS, DID = "before/after", "interrupted time series", "difference-in-differences"
HAC = f"{ITS}, Newey-West"
UNCHECKED = "its false-alarm rate could not be checked on this series"


@dataclass(frozen=True)
class Rate:
    """Share of the users whose first ``of`` falls on a day who then do ``event`` within ``window``, its end and its very start included."""

    event: Any
    of: Any
    window: str


@dataclass(frozen=True)
class Count:
    """Distinct users who do ``event`` on a day."""

    event: Any


@dataclass(frozen=True)
class Mean:
    """Mean of the numeric ``property`` over a day's ``event`` rows that have it."""

    event: Any
    property: str


def daily_metric(log: EventLog, metric: Rate | Count | Mean, *, as_of: Any, by: str | None = None) -> pd.DataFrame:
    """A metric by UTC day and segment.

    Returns day (datetime64), segment ("all" without ``by``), n, value and, for rates, n_success. n: a rate's users, a count's users (= value),
    a mean's events. Every segment has every day from the first one with data; a day without data has value NaN, a count 0. Only days that are
    over at ``as_of`` are returned, and for a rate only those whose window has closed for everyone. ``attrs``: ``n_pending`` (what is left out
    for that reason: users, for means events), ``events``, ``metric`` (in words).
    Raises ParameterError: an event that does not occur, no day known yet.
    """
    events = [metric.of, metric.event] if isinstance(metric, Rate) else [metric.event]
    if missing := log.missing_events(events):
        raise ParameterError(f"metric: {missing[0]}")
    window = as_window(metric.window) if isinstance(metric, Rate) else 0
    kernel, total, size = {
        Rate: (lambda j: _count_rates(j, window), "n_success", "n_users"), Count: (_count_users, "n_users", "n_users"),
        Mean: (_sum_values, "sum_value", "n_events"),
    }[type(metric)]
    found = log.reduce(kernel, events=events, by=by or (), as_of=as_of, values=getattr(metric, "property", None))
    end = log.as_of(as_of)
    known = (found["day"].astype("int64") + 1) * DAY - 1 + window <= end
    if not known.any():
        raise ParameterError(f"as_of: no day of this metric is known at {as_of}; a rate's days are known once their window has closed.")
    seen = found[known]
    days = np.arange(seen["day"].min(), (end + 1 - window) // DAY)
    grid = pd.MultiIndex.from_product([days, sorted(seen["segment"].unique())], names=["day", "segment"])
    table = seen.set_index(["day", "segment"]).reindex(grid, fill_value=0).reset_index()
    n, amount = table[size], table[total].astype(float)
    value = amount if isinstance(metric, Count) else stats.rate(amount, n)
    day = pd.to_datetime(table["day"].astype("int64"), unit="D")
    out = pd.DataFrame({"day": day, "segment": table["segment"], "n": n.astype("int64"), "value": value})
    if isinstance(metric, Rate):
        out["n_success"] = table["n_success"].astype("int64")
    names = [name for e in events for name in as_step(e).names]
    out.attrs = {"n_pending": int(found.loc[~known, size].sum()), "events": names, "metric": _title(metric)}
    return out


def _title(metric: Rate | Count | Mean) -> str:
    event = as_step(metric.event).label
    if isinstance(metric, Rate):
        return f"the share of {as_step(metric.of).label} users with {event} within {in_words(as_window(metric.window))}"
    return f"the daily users of {event}" if isinstance(metric, Count) else f"the mean {metric.property} of {event}"


def _count_rates(j: Journeys, window: int) -> pd.DataFrame:
    """Kernel: matcher 0 is the start, 1 the success."""
    entry = np.flatnonzero(j.has(0))
    entry = entry[first_rows(j.user[entry])]
    row = np.flatnonzero(j.has(1))
    at = np.minimum(np.searchsorted(j.user[entry], j.user[row]), max(len(entry) - 1, 0))
    begun = entry[at] if len(entry) else row
    since = j.time[row] - j.time[begun]
    good = (j.user[begun] == j.user[row]) & (since >= 0) & (since <= window) & (row != begun)
    success = np.isin(j.user[entry], j.user[row[good]])
    keys = {"day": j.time[entry] // DAY, "segment": j.segment(entry)}
    frame = pd.DataFrame(keys | {"n_users": 1, "n_success": success.astype(np.int64)})
    return frame.groupby(["day", "segment"], as_index=False).sum()


def _count_users(j: Journeys) -> pd.DataFrame:
    rows = np.arange(len(j))
    frame = pd.DataFrame({"day": j.time // DAY, "segment": j.segment(rows), "user": j.user}).drop_duplicates()
    return frame.groupby(["day", "segment"]).size().reset_index(name="n_users")


def _sum_values(j: Journeys) -> pd.DataFrame:
    rows = np.flatnonzero(~np.isnan(j.value))
    frame = pd.DataFrame({"day": j.time[rows] // DAY, "segment": j.segment(rows), "n_events": 1, "sum_value": j.value[rows]})
    return frame.groupby(["day", "segment"], as_index=False).sum()


def _trend(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of the interrupted series, and the same without the change. Time is 0 at the change, so `post` is the jump
    there.
    """
    one, post = np.ones(len(week)), week >= 0
    with_change = np.c_[one, week, post, week * post]
    return with_change, with_change * [1, 1, 0, 0]


def _level(week: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design of a change of level only, and the same without it."""
    with_change = np.c_[np.ones(len(week)), week >= 0]
    return with_change, with_change * [1, 0]


@dataclass(frozen=True)
class _Rung:
    """One comparison: its estimate and whether the data carry it ("yes", "no", "inconclusive")."""

    rung: str
    effect: float = np.nan
    low: float = np.nan
    high: float = np.nan
    base: float = np.nan
    se: float = np.nan
    df: float = np.nan
    pvalue: float = np.nan
    placebo_pvalue: float = np.nan
    carries: Literal["yes", "no", "inconclusive"] = "no"
    reason: str = ""
    path: pd.DataFrame = field(default_factory=pd.DataFrame)
    phi: float = np.nan
    n_placebo: int = 0

    def row(self) -> dict[str, Any]:
        """Its line in `BeforeAfter.rungs`."""
        return {"rung": self.rung, "effect": self.effect, "effect_ci_lower": self.low, "effect_ci_upper": self.high,
                "rel_effect": self.effect / self.base if self.base > 0 else np.nan, "pvalue": self.pvalue,
                "placebo_pvalue": self.placebo_pvalue, "supported": self.carries == "yes", "reason": self.reason}


def _model(weeks: pd.DataFrame, design: Callable, *, rho: float | None = None) -> tuple[stats.Fit, np.ndarray, np.ndarray]:
    """Fit of weeks (index week; y, weight, n), the contrast that averages the effect over the weeks after, the design without the change."""
    week = weeks.index.to_numpy(float)
    x, x0 = design(week)
    after = week >= 0
    c = np.average((x - x0)[after], axis=0, weights=weeks["n"].to_numpy(float)[after])
    return stats.fit_ar1(weeks["y"].to_numpy(float), x, weeks["weight"].to_numpy(float), week, rho=rho), c, x0


def _placebo(weeks: pd.DataFrame, design: Callable, pvalue: float, min_pre: int, min_post: int) -> tuple[float, int]:
    """Placebo p-value (1 + #{placebo at least as extreme}) / (1 + M) and the number M of dates, whose windows all end before the change.

    Extremity is the model's own p-value, so windows of different length compare. A placebo date has all weeks before it (at least ``min_pre``)
    and as many after it as the change has, fewer (at least ``min_post``) where only that makes room for 20 dates.
    """
    before = weeks[weeks.index < 0]
    n_post = min(len(weeks) - len(before), max(min_post, len(before) - min_pre - N_PLACEBO + 1))
    found = []
    for start in range(min_pre, len(before) - n_post + 1):
        window = before.iloc[: start + n_post]
        fit, c, _ = _model(window.set_axis(window.index - window.index[start]), design)
        found.append(fit.contrast(c)[2])
    return ((1 + sum(p <= pvalue for p in found)) / (1 + len(found)) if found else np.nan), len(found)


def _path(weeks: pd.DataFrame, counterfactual: Any = np.nan, band: Any = np.nan) -> pd.DataFrame:
    """`BeforeAfter.path`."""
    return weeks[["start", "n", "observed"]].rename(columns={"start": "day"}).reset_index(drop=True).assign(
        counterfactual=counterfactual, counterfactual_ci_lower=counterfactual - band, counterfactual_ci_upper=counterfactual + band)


def _estimate(rung: str, weeks: pd.DataFrame, design: Callable, *, refused: str, placebo_floor: tuple[int, int]) -> _Rung:
    """A rung from its weekly series; weeks: index week; y, weight, n, observed, start."""
    from scipy.special import stdtrit

    n_pre, n_post = int((weeks.index < 0).sum()), int((weeks.index >= 0).sum())
    n_coef = design(np.zeros(1))[0].shape[1]  # half of them describe the weeks before, half what the change added
    if n_pre < max(2, n_coef // 2 + 1) or n_post < n_coef // 2 or len(weeks) < n_coef + 2:
        return _Rung(rung, reason=f"{n_pre} whole weeks before and {n_post} after the change are too few to fit anything")
    fit, c, x0 = _model(weeks, design)
    effect, se, pvalue = fit.contrast(c)
    q = float(stdtrit(fit.df, 1 - ALPHA / 2))
    counterfactual = weeks["observed"].to_numpy(float) - weeks["y"].to_numpy(float) + x0 @ fit.coef
    band = q * np.sqrt(np.einsum("ij,jk,ik->i", x0, fit.cov, x0) + fit.sigma2 / weeks["weight"].to_numpy(float))
    path = _path(weeks, counterfactual, band)
    after = weeks.index >= 0
    base = float(np.average(weeks["observed"][after], weights=weeks["n"][after])) - effect
    placebo, n_placebo = _placebo(weeks, design, pvalue, *placebo_floor)
    told = f"{n_pre} weeks before, {n_post} after; rho {fit.rho:.2f}; " + (
        _dates(n_placebo) if n_placebo else f"no placebo date fits before the change, so {UNCHECKED}")
    carries, reason = "yes", told
    if refused:
        carries, reason = "no", refused
    elif n_pre < MIN_PRE or n_post < MIN_POST:
        carries, reason = "no", (f"descriptive only: {n_pre} whole weeks before and {n_post} after the change, "
                                 f"at least {MIN_PRE} and {MIN_POST} are needed")
    elif not se > 0:
        carries, reason = "no", "the weeks do not differ at all, so nothing says how sure this is"
    elif pvalue < ALPHA and n_placebo and placebo > max(ALPHA, 1 / (1 + n_placebo)):
        alike = round(placebo * (1 + n_placebo)) - 1
        carries, reason = "inconclusive", (f"the model says p = {pvalue:.3f}, but of {_dates(n_placebo)}, when nothing changed, "
                                           f"{alike} look as extreme (placebo p = {placebo:.2f})")
    low, high = effect - q * se, effect + q * se
    return _Rung(rung, effect, low, high, base, se, fit.df, pvalue, placebo, carries, reason, path, fit.sigma2, n_placebo)


def _dates(n: int) -> str:
    return f"{n} placebo date{'' if n == 1 else 's'}"


# --------------------------------------------------------------------------------------------------------------- the comparison


@dataclass(frozen=True)
class BeforeAfter:
    """Result of `compare_before_after`, which says what the columns mean."""

    rungs: pd.DataFrame
    path: pd.DataFrame
    money: pd.DataFrame
    verdict: Literal["supported", "inconclusive", "not supported"]
    finding: str
    caveats: tuple[str, ...]


def compare_before_after(
    series: pd.DataFrame, *, change_at: Any, treated: str | Sequence[str] | None = None,
    control: str | Sequence[str] | None = None, value: float | None = None, cost: float | tuple[float, float] | None = None,
    margin: float = 1.0, timeline: pd.DataFrame | None = None,
) -> BeforeAfter:
    """Effect of a change on a daily metric, up a ladder of comparisons, and the money it made.

    ``series``: what `daily_metric` returns, or any frame with day, n, value (rates: n_success; several segments: segment). With n_success it is
    a rate, with value = n everywhere a daily count, else a mean. ``change_at``: first UTC day of the change. ``treated``: segments that got it,
    taken together (None: all that are not controls). ``control``: segments that did not (None: all others of a named ``treated``; () for none).
    ``value``: money per extra success (counts: per extra user-day; means: per extra unit); ``margin``: share of it that is kept. ``cost``: money
    spent on the change (0: it was free), or (mean, sd) where it is an estimate. ``timeline``: what else happened (day, kind, label;
    micro_conversions, note); a release or outage whose label or note says "tracking" and that touches the metric refuses every verdict, the
    rest are listed as coincidences.

    Days are added up to whole weeks counted from ``change_at``; days outside a whole week at either end are left out. Effects are in the units
    of the metric (a rate's 0.17 is 17 percentage points; a count's are per day): observed minus counterfactual, averaged over the weeks after
    the change with the weights n, not the jump at the change alone. All intervals 95 %.

    ``rungs``, weakest first: rung, effect + ci, rel_effect (effect / what would have been), pvalue, placebo_pvalue, supported, reason.
      before/after: all before against all after; Newcombe's interval for rates, else weighted weekly values. Never supported.
      interrupted time series, Newey-West: the next one by least squares with HAC errors. A sensitivity row, never supported.
      interrupted time series: change of level and slope, weighted by n, AR(1) errors by REML (`fit_ar1`).
      difference-in-differences: the same errors on treated minus control, a change of level. Controls keep the shares of n they had before the
        change, so that their mix cannot move the result; counts are scaled to the treated level. Refused when the difference drifted before
        the change (joint F test of a linear and a quadratic trend); inconclusive when control segments, taken as treated, look as extreme.
    A rung is supported with at least 12 weeks before and 6 after the change, unless the model finds an effect that placebo dates contradict:
    placebo_pvalue, (1 + #{placebos whose own p-value is as small}) / (1 + number of placebos), above 0.05 and above its minimum. Where no placebo
    date fits, it stays supported, and reason and caveats say that its false alarms could not be checked. A rung that cannot be computed is a
    row of NaN with its reason. Control segments without users in 12 weeks before and 6 after are not taken as treated. rel_effect is NaN where
    what would have been is not above 0.
    ``path``: day (first of the week), n, observed, counterfactual + ci (a band for 95 % of the weeks had nothing changed; a rate's are cut off
    at 0 and 1), of the highest supported rung, or the highest computed (before/after has no counterfactual: NaN). rungs and path carry ``attrs`` kind (rate, count, mean) and metric (in words) for the pictures.
    ``money``, one row for the highest supported rung (NaN without): rung, n (exposed in the weeks after the change; counts: days), incremental
    (effect x n) + ci, value_amount + ci, cost_amount, roi + ci ((value - cost) / cost, Fieller's interval; NaN = not estimable, or a cost of 0),
    payback_days (1 = the day of the change; NaN = not within these weeks, or nothing to pay back), p_positive (that value exceeds cost; normal
    approximation). Without a value or without a cost all but n and incremental are NaN, and the finding says nothing on money.
    Raises DataError: a column is missing or impossible; ParameterError: an unknown segment, a change outside the data, a negative cost or value.
    """
    daily, kind = _checked(series)
    metric = series.attrs.get("metric", "the metric")
    day = as_timestamp(change_at, "change_at").tz_localize(None).normalize()
    treated, control = _sides(daily, treated, control)
    cost_mean, cost_sd = (cost, 0.0) if cost is None or np.isscalar(cost) else cost
    if cost is not None and not (0 <= cost_mean < np.inf and 0 <= cost_sd < np.inf):
        raise ParameterError(f"cost: {cost} must be 0 or more (and so must its standard deviation).")
    if value is not None and not 0 <= value < np.inf:
        raise ParameterError(f"value: {value} must be 0 or more; what a success brings cannot be negative.")
    if not 0 < margin <= 1:
        raise ParameterError(f"margin: {margin} must be a share above 0 and at most 1.")
    units, left_out = _weekly(daily, day, kind)
    own = _pooled(units[units["segment"].isin(treated)], kind)
    weeks = own.rename(columns={"value": "observed"}).assign(
        y=own["value"], weight=own["n"], start=day + pd.to_timedelta(own.index * 7, unit="D"))[own["n"] > 0]
    if not (weeks.index < 0).any() or not (weeks.index >= 0).any():
        raise ParameterError(f"change_at: {day:%Y-%m-%d} leaves no whole week before or after it; the data run from "
                             f"{daily['day'].min():%Y-%m-%d} to {daily['day'].max():%Y-%m-%d}.")
    last = weeks["start"].max() + pd.Timedelta("6D")
    coincidences, refused = _coincidences(timeline, weeks["start"].min(), last, day, series.attrs.get("events", ()))
    rungs = [_before_after(weeks, kind)]
    its = _estimate(ITS, weeks, _trend, refused=refused, placebo_floor=(MIN_PRE, MIN_POST))
    rungs += [_newey_west(weeks, its), its] if np.isfinite(its.effect) else [its]
    caveats = []
    if control:
        did, caveats = _difference(units, own, weeks, treated, control, kind, refused)
        rungs.append(did)
    best = next((r for r in reversed(rungs) if r.carries == "yes"), None)
    shown = best or next(r for r in reversed(rungs) if len(r.path))
    verdict = "supported" if best else "inconclusive" if any(r.carries == "inconclusive" for r in rungs) else "not supported"
    exposed = daily[daily["segment"].isin(treated) & daily["day"].between(day, last)].groupby("day")["n"].sum()
    money = _money(best, exposed.clip(1, 1) if kind == "count" else exposed, value, cost_mean, cost_sd, margin)
    if left_out:
        caveats.append(f"{left_out} days at the ends that do not fill a week counted from the change are left out.")
    if n := series.attrs.get("n_pending"):
        caveats.append(f"{n:,} of the newest users or events are left out: their outcome is not known yet.")
    p = weeks["observed"].mean()
    if kind == "rate" and np.isfinite(its.phi) and 0 < p < 1:
        caveats.append(f"Weekly rates vary {its.phi / (p * (1 - p)):.1f} times as much as binomial chance (variance, around the trend); "
                       "only the before/after interval ignores it.")
    judged = best or next((r for r in reversed(rungs) if r.carries == "inconclusive"), None)
    if judged and judged.n_placebo < N_PLACEBO:
        n, wanted = judged.n_placebo, f"before the change ({N_PLACEBO} are wanted)"
        caveats.append(f"Only {_dates(n)} fit{'s' if n == 1 else ''} {wanted}: the false-alarm check is weak." if n else
                       f"No placebo date fits {wanted} for {judged.rung}: {UNCHECKED}.")
    if kind == "rate":
        band = list(shown.path.filter(like="counterfactual"))
        if ((shown.path["counterfactual"] < 0) | (shown.path["counterfactual"] > 1)).any():
            caveats.append("What would have been runs below 0 or above 1 in some weeks: there a straight line does not describe this share, "
                           "and .path is cut off at 0 and 1.")
        shown.path[band] = shown.path[band].clip(0, 1)
    if not control:
        caveats.append("No control group: anything else that happened at the change is part of the effect.")
    if np.isfinite(money["p_positive"].iloc[0]):
        caveats.append("p_positive is a normal approximation.")
    if cost_mean == 0 and np.isfinite(money["value_amount"].iloc[0]):
        caveats.append("The cost is 0: a return on investment is not defined, and there is nothing to pay back.")
    table = pd.DataFrame([r.row() for r in rungs])
    table.attrs = shown.path.attrs = {"kind": kind, "metric": metric}
    kept = f", {100 * margin:g} % of it kept," if margin < 1 else ""
    each = {"rate": "success", "count": "user-day", "mean": "unit"}[kind]
    spent = f"{cost_mean:,.10g}" + (f" (standard deviation {cost_sd:,.10g})" if cost_sd else "") if cost is not None else ""
    assumed = "" if value is None or cost is None else f"at {value:,.10g} a {each}{kept} and a cost of {spent}"
    finding = _finding(rungs, best, verdict, money.iloc[0], assumed, kind, metric, day, treated, control)
    return BeforeAfter(table, shown.path, money, verdict, finding, tuple(caveats + coincidences))


def _checked(series: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The series as day, segment, n, total (whose sum over n is the metric), and what kind of metric it is."""
    for column in ("day", "n", "value"):
        if column not in series:
            raise DataError(f'series: column "{column}" is missing; it takes day, n, value, and segment and n_success where they apply.'
                            f"{nearest(column, series.columns)}")
    day = pd.to_datetime(series["day"], utc=True).dt.tz_localize(None).dt.normalize()
    n, value = series["n"].astype(float), series["value"].astype(float)
    kind = "rate" if "n_success" in series else "count" if np.array_equal(n, value) else "mean"
    total = {"rate": lambda: series["n_success"].astype(float), "count": lambda: n, "mean": lambda: (value * n).fillna(0.0)}[kind]()
    daily = pd.DataFrame({"day": day, "segment": series["segment"].astype(str) if "segment" in series else "all", "n": n, "total": total})
    if not (daily["n"] >= 0).all() or (kind == "rate" and not daily["total"].between(0, daily["n"]).all()):
        raise DataError("series: n must be 0 or more, and n_success between 0 and n.")
    if daily.duplicated(["day", "segment"]).any():
        raise DataError("series: a day occurs twice within a segment.")
    return daily, kind


def _sides(
    daily: pd.DataFrame, treated: str | Sequence[str] | None, control: str | Sequence[str] | None,
) -> tuple[list[str], list[str]]:
    """Treated and control segments, checked."""
    known = sorted(daily["segment"].unique())
    sides = [None if s is None else [s] if isinstance(s, str) else list(s) for s in (treated, control)]
    for name, side in zip(("treated", "control"), sides):
        for word in side or ():
            if word not in known:
                raise ParameterError(f'{name}: "{word}" is not a segment of the series ({", ".join(known)}).{nearest(word, known)}')
    if sides[0] is None:
        sides = [[s for s in known if s not in (sides[1] or ())], sides[1] or []]
    elif sides[1] is None:
        sides[1] = [s for s in known if s not in sides[0]]
    if not sides[0] or set(sides[0]) & set(sides[1]):
        raise ParameterError("treated, control: at least one segment must be treated, and none both.")
    return sides[0], sides[1]


def _weekly(daily: pd.DataFrame, change: pd.Timestamp, kind: str) -> tuple[pd.DataFrame, int]:
    """segment, week (0 = the first since the change), n, total, for whole weeks; and the number of days left out. A count's n
    is its days.
    """
    since = (daily["day"] - change).dt.days
    week = since // 7
    whole = (week * 7 >= since.min()) & (week * 7 + 6 <= since.max())
    frame = daily[whole].assign(week=week[whole]).groupby(["segment", "week"], as_index=False)[["n", "total"]].sum()
    return frame.assign(n=7.0) if kind == "count" else frame, int(daily.loc[~whole, "day"].nunique())


def _pooled(units: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Segments taken together: index week; n, total, value."""
    out = units.groupby("week").agg(n=("n", "max" if kind == "count" else "sum"), total=("total", "sum"))
    return out.assign(value=stats.rate(out["total"], out["n"]))


def _before_after(weeks: pd.DataFrame, kind: str) -> _Rung:
    """Rung 1."""
    from scipy.special import stdtrit
    from statsmodels.stats.proportion import proportions_ztest

    after, before = weeks[weeks.index >= 0], weeks[weeks.index < 0]
    n, n_0, k, k_0 = after["n"].sum(), before["n"].sum(), after["total"].sum(), before["total"].sum()
    effect, base = k / n - k_0 / n_0, k_0 / n_0
    low = high = pvalue = np.nan
    if kind == "rate":
        low, high = stats.newcombe(k, n, k_0, n_0)
        pvalue = float(proportions_ztest([k, k_0], [n, n_0])[1]) if 0 < k + k_0 < n + n_0 else np.nan
    elif len(weeks) > 2:
        fit, c, _ = _model(weeks, _level, rho=0.0)
        effect, se, pvalue = fit.contrast(c)
        q = float(stdtrit(fit.df, 1 - ALPHA / 2))
        low, high = effect - q * se, effect + q * se
    return _Rung(NAIVE, effect, low, high, base, pvalue=pvalue, path=_path(weeks),
                 reason="credits the change with every trend, season and coincidence; its interval takes weeks for independent")


def _newey_west(weeks: pd.DataFrame, its: _Rung) -> _Rung:
    """Sensitivity row: least squares with HAC errors, lag floor(4 (n / 100)^(2/9))."""
    from statsmodels.regression.linear_model import WLS

    week = weeks.index.to_numpy(float)
    _, c, _ = _model(weeks, _trend, rho=0.0)
    lag = int(4 * (len(weeks) / 100) ** (2 / 9))
    fit = WLS(weeks["y"].to_numpy(float), _trend(week)[0], weights=weeks["weight"].to_numpy(float)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": True}, use_t=True)
    test = fit.t_test(c)
    effect, (low, high) = float(np.squeeze(test.effect)), np.ravel(test.conf_int())
    return _Rung(HAC, effect, float(low), float(high), its.base + its.effect - effect, pvalue=float(np.squeeze(test.pvalue)),
                 reason=f"sensitivity only (lag {lag}): these errors are too small on short series")


def _against(units: pd.DataFrame, own: pd.DataFrame, weeks: pd.DataFrame, control: Sequence[str], kind: str) -> pd.DataFrame:
    """Weekly treated minus control, in the form `_estimate` reads."""
    others = units[units["segment"].isin(control)]
    if kind == "count":
        pooled = _pooled(others, kind)["value"]
        before = own.index[own.index < 0]
        other, weight = pooled * own["value"][before].mean() / pooled.reindex(before).mean(), own["n"]
    else:
        share = others[others["week"] < 0].groupby("segment")["n"].sum()
        others = others[others["n"] > 0]
        w = others["segment"].map(share).fillna(0.0)
        sums = others.assign(w=w, wy=w * others["total"] / others["n"]).groupby("week")[["w", "wy", "n"]].sum()
        other, weight = sums["wy"] / sums["w"], 1 / (1 / own["n"] + 1 / sums["n"])
    out = weeks.assign(y=weeks["observed"] - other.reindex(weeks.index), weight=weight.reindex(weeks.index))
    return out[np.isfinite(out["y"]) & (out["weight"] > 0)]


def _difference(
    units: pd.DataFrame, own: pd.DataFrame, weeks: pd.DataFrame, treated: Sequence[str], control: Sequence[str], kind: str,
    refused: str,
) -> tuple[_Rung, list[str]]:
    """Rung 3 and what must be said beside it."""
    from scipy.special import fdtrc

    gap = _against(units, own, weeks, control, kind)
    did = _estimate(DID, gap, _level, refused=refused, placebo_floor=(MIN_PRE // 2, MIN_POST // 2))
    before = gap[gap.index < 0]
    if not np.isfinite(did.effect) or len(before) < MIN_PRE:
        return did, []
    week = before.index.to_numpy(float)
    y, weight = before["y"].to_numpy(float), before["weight"].to_numpy(float)
    curve = stats.fit_ar1(y, np.c_[np.ones(len(week)), week, week**2], weight, week)
    wald = float(curve.coef[1:] @ np.linalg.pinv(curve.cov[1:, 1:]) @ curve.coef[1:]) / 2
    pretrend = float(fdtrc(2, curve.df, wald))
    line = stats.fit_ar1(y, np.c_[np.ones(len(week)), week], weight, week)
    distance = np.average(gap.index[gap.index >= 0], weights=gap["n"][gap.index >= 0]) - week.mean()
    blind = 2.8 * np.sqrt(line.cov[1, 1]) * distance  # 80 % power at 5 %: (1.96 + 0.84) standard errors
    notes = [f"Parallel trends before the change: p = {pretrend:.2f} (joint test of a linear and a quadratic drift); a drift that adds "
             f"up to less than {_words(blind, kind, signed=False)} would probably have gone unnoticed."]
    if pretrend < ALPHA and not refused:
        told = f"treated and control drifted apart before the change (p = {pretrend:.3f}, joint test)"
        did = replace(did, carries="no", reason=told)
    pvalues = {} if np.isnan(did.pvalue) or len(control) < 2 else {
        s: _as_treated(units, weeks, s, [t for t in control if t != s], kind) for s in control}
    left_out = [s for s, p in pvalues.items() if np.isnan(p)]
    if left_out:
        notes.append(f"Not taken as if treated: {', '.join(left_out[:5])}{f' and {len(left_out) - 5} more' if len(left_out) > 5 else ''}; with users in "
                     f"fewer than {MIN_PRE} weeks before or {MIN_POST} after, or without any variation, they say nothing.")
    if (n := len(pvalues) - len(left_out) + 1) > 2:
        rank = 1 + sum(p <= did.pvalue for p in pvalues.values())
        notes.append(f"Taken as if each had been treated, {', '.join(treated)} ranks {rank} of {n} (permutation p = {rank / n:.2f}; "
                     f"the smallest possible with {n} is {1 / n:.2f}).")
        if did.pvalue < ALPHA and did.carries == "yes" and rank / n > max(ALPHA, 1 / n):
            told = f"{rank - 1} of {n - 1} control segments moved as clearly without any change (permutation p = {rank / n:.2f})"
            did = replace(did, carries="inconclusive", reason=told)
    return did, notes


def _as_treated(units: pd.DataFrame, weeks: pd.DataFrame, unit: str, control: Sequence[str], kind: str) -> float:
    """P-value of the change in a segment that had none; NaN where its weeks cannot tell."""
    own = _pooled(units[units["segment"] == unit], kind)
    own = own[own["n"] > 0]
    rows = _against(units, own, weeks.reindex(own.index).assign(observed=own["value"], n=own["n"]), control, kind)
    if (rows.index < 0).sum() < MIN_PRE or (rows.index >= 0).sum() < MIN_POST:
        return np.nan
    fit, c, _ = _model(rows, _level)
    return fit.contrast(c)[2]


def _coincidences(
    timeline: pd.DataFrame | None, first: pd.Timestamp, last: pd.Timestamp, change: pd.Timestamp, events: Sequence[str],
) -> tuple[list[str], str]:
    """Sentences on what else happened within the weeks compared, and the reason to refuse a verdict ("" = none)."""
    said, refused = [], ""
    for entry in ([] if timeline is None else timeline.sort_values("day").to_dict("records")):
        day, touched = pd.Timestamp(entry["day"]).tz_localize(None), entry.get("micro_conversions")
        touched = {w.strip() for w in touched.split(",")} if isinstance(touched, str) and touched else set()
        elsewhere = touched and events and not touched & set(events)
        if not first <= day <= last or elsewhere or (entry["kind"] == "intervention" and day == change):
            continue
        note = entry.get("note") if isinstance(entry.get("note"), str) else ""
        if entry["kind"] in ("release", "outage") and "tracking" in f"{entry['label']} {note}".lower():
            refused = f"the tracking itself changed on {day:%Y-%m-%d} ({entry['label']}), so the two sides are not measured alike"
        said.append(f"Coincidence, not cause: {entry['kind']} on {day:%Y-%m-%d}, {entry['label']}.")
    return said, refused


def _money(
    rung: _Rung | None, per_day: pd.Series, value: float | None, cost: float | None, cost_sd: float, margin: float,
) -> pd.DataFrame:
    """The one row of `BeforeAfter.money`."""
    from scipy.special import ndtr, stdtrit

    rung = rung or _Rung("none supported")
    n = float(per_day.sum())
    each, cost = (np.nan, np.nan) if value is None or cost is None else (value * margin, float(cost))
    gain, gain_sd = rung.effect * n * each, rung.se * n * abs(each)
    low, high = stats.fieller(gain, gain_sd**2, cost, cost_sd**2, float(stdtrit(rung.df, 1 - ALPHA / 2)))
    spread = float(np.hypot(gain_sd, cost_sd))
    paid = np.flatnonzero(per_day.cumsum().to_numpy() * rung.effect * each >= cost) if cost > 0 else ()
    ends = sorted([rung.low * n * each, rung.high * n * each])
    return pd.DataFrame([{
        "rung": rung.rung, "n": n, "incremental": rung.effect * n,
        "incremental_ci_lower": rung.low * n, "incremental_ci_upper": rung.high * n,
        "value_amount": gain, "value_amount_ci_lower": ends[0], "value_amount_ci_upper": ends[1], "cost_amount": cost,
        "roi": (gain - cost) / cost if cost > 0 else np.nan, "roi_ci_lower": low - 1, "roi_ci_upper": high - 1,
        "payback_days": float(paid[0] + 1) if len(paid) else np.nan,
        "p_positive": float(ndtr((gain - cost) / spread)) if spread > 0 else np.nan,
    }])


def _words(x: float, kind: str, *, signed: bool = True) -> str:
    """An effect in its unit."""
    number = f"{100 * x:{'+' if signed else ''}.1f}" if kind == "rate" else f"{x:{'+' if signed else ''},.3g}"
    return number + {"rate": " percentage points", "count": " a day", "mean": ""}[kind]


def _finding(
    rungs: Sequence[_Rung], best: _Rung | None, verdict: str, money: pd.Series, assumed: str, kind: str, metric: str,
    change: pd.Timestamp, treated: Sequence[str], control: Sequence[str],
) -> str:
    """The sentences a decision maker reads."""
    naive, who = rungs[0], "" if treated == ["all"] else f" for {', '.join(treated)}"
    if best is None:
        weak = next((r for r in reversed(rungs) if r.carries == "inconclusive"), rungs[-1])
        return (f"{verdict.capitalize()}: whether the change of {change:%Y-%m-%d} moved {metric}{who} cannot be said from these data. "
                f"{weak.rung.capitalize()}: {weak.reason}. The plain before/after difference of {_words(naive.effect, kind)} is no evidence.")
    low, high = (_words(x, kind).split(" ")[0] for x in (best.low, best.high))
    against = f"{best.rung} against {', '.join(control)}" if best.rung == DID else f"{best.rung} against its own trend before"
    difference = f"{_words(best.effect, kind)} (95 % interval {low} to {high})"
    if best.low > 0 or best.high < 0:
        share = f"{100 * best.effect / best.base:+.0f} % of what it would have been, " if best.base > 0 else ""
        text = f"The change of {change:%Y-%m-%d} moved {metric}{who} by {difference}, {share}by {against}; "
    else:
        text = f"No effect of the change of {change:%Y-%m-%d} on {metric}{who} is shown: {difference}, by {against}; "
    text += f"plain before/after says {_words(naive.effect, kind)}."
    text += "".join(f" Not used was {r.rung}: {r.reason}." for r in rungs[rungs.index(best) + 1 :])
    if not np.isfinite(money["value_amount"]):
        return text
    extra = {"rate": " successes", "count": " user-days", "mean": ""}[kind]
    text += f" In the weeks seen that is {money['incremental']:+,.0f}{extra} and, {assumed}, "
    if not money["cost_amount"] > 0:
        low, high = money["value_amount_ci_lower"], money["value_amount_ci_upper"]
        return f"{text}a value of {money['value_amount']:,.0f} (95 % interval {low:,.0f} to {high:,.0f}); without a cost no return on it is defined."
    low, high, paid = money["roi_ci_lower"], money["roi_ci_upper"], money["payback_days"]
    span = f"95 % interval {100 * low:.0f} to {100 * high:.0f}" if np.isfinite(low) else "interval not estimable"
    paid = f"paid back on day {paid:.0f}" if np.isfinite(paid) else "not paid back within the data"
    return f"{text}a return on investment of {100 * money['roi']:.0f} % ({span}), {paid}."
