"""What shortens the wait, other things equal: Cox's model with covariates, stratified."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.activation.hazards import RiskSets, drift_pvalues, fit, spread_by_account
from mctlib.activation.survival_groups import FEW_ACTIVATIONS, count_accounts
from mctlib.contract import ParameterError, interval_columns
from mctlib.groups import MIN_USERS

MOST_LEVELS = 30  # more is no question of other things equal
MOST_ROWS = 10_000  # of the weighted table that lifelines reads
COLUMNS = [
    *("covariate", "level", "reference", "n_users"),
    *interval_columns("hazard_ratio"),
    *("pvalue", "qvalue", "ph_pvalue"),
]


def adjusted_hazards(
    ended: pd.DataFrame, covariates: Mapping[str, str], reference: str
) -> tuple[pd.DataFrame, list[str]]:
    """Hazard ratios of all levels of the covariates, the others held equal; and who is left out.

    Cox's model, baselines apart by stratum, an exit leaving the risk set. ``covariates``: name ->
    column of the counts; the reference of the first is ``reference`` where that has enough
    activations, of all others the largest level. Errors are Lin & Wei's by account where there are
    accounts (`count_accounts`; below 10 there are none); ph_pvalue is `drift_pvalues`, past being
    one minus the Kaplan-Meier curve of all users. Raises ParameterError: too many levels, or two
    columns that say the same.
    """
    everyone, kept, caveats = _enough(ended, covariates)
    counts = everyone[kept].reset_index(drop=True)
    levels = {name: _levels(counts, column) for name, column in covariates.items()}
    for all_levels in list(levels.values())[:1]:
        all_levels.sort(key=lambda level: level != reference)
    terms = [(name, level) for name, all_ in levels.items() for level in all_[1:]]
    if len(terms) > MOST_LEVELS:
        raise ParameterError(
            f"adjust: {len(terms)} levels of {', '.join(covariates)} are to be compared; "
            f"{MOST_LEVELS} is the most. Name columns with fewer values."
        )
    if not terms:
        return pd.DataFrame(columns=COLUMNS), caveats
    is_level = {term: counts[covariates[term[0]]] == term[1] for term in terms}
    sets, places, past = _risk_sets(counts, np.column_stack(list(is_level.values())))
    beta, moments = fit(sets, _by_lifelines(sets, places))
    variance, df = np.linalg.inv(moments.variance.sum(axis=0)), np.inf
    if "account" in counts:
        spread, df = _by_account(places, sets.residuals(beta, moments, *places.ends), counts)
        variance = variance @ spread @ variance
    se = np.sqrt(variance.diagonal())
    ends = (np.exp(end) for end in (beta, *stats.t_interval(beta, se, df)))
    pvalue = stats.t_pvalue(beta, se, df)
    table = pd.DataFrame(terms, columns=COLUMNS[:2]).assign(
        reference=[levels[name][0] for name, _ in terms],
        n_users=[_users(everyone, covariates[name], [level]) for name, level in terms],
        **interval_columns("hazard_ratio", *ends),
        pvalue=pvalue,
        qvalue=stats.fdr(pvalue),
        ph_pvalue=drift_pvalues(moments, past),
    )
    return table, caveats


def _levels(counts: pd.DataFrame, column: str) -> list[str]:
    """Values of a column, the one of most users first."""
    n = counts.groupby(column)["n_users"].sum()
    return sorted(n.index, key=lambda level: (-n[level], level))


def _users(counts: pd.DataFrame, column: str, levels: Iterable[str]) -> int:
    return int(counts.loc[counts[column].isin(levels), "n_users"].sum())


def _enough(
    ended: pd.DataFrame, covariates: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.Series, list[str]]:
    """The counts with small levels taken together, which are not left out, and what to say of it.

    Numbers of users are those of whole levels: less who is left out for a level of another
    covariate they would tell, beside any other table, how few are in both.
    """
    counts, kept, caveats = ended, pd.Series(True, ended.index), []
    for name, column in covariates.items():
        hits = counts["n_users"].where(counts["outcome"] == "activated", 0)[kept]
        n = hits.groupby(counts[column]).sum()
        small = n[n < FEW_ACTIVATIONS]
        if small.empty:
            continue
        is_small = counts[column].isin(small.index)
        if len(small) > 1 and small.sum() >= FEW_ACTIVATIONS:
            together = f"small levels ({len(small)})"
            counts = counts.assign(**{column: counts[column].mask(is_small, together)})
            done = f'taken together as "{together}"'
        else:
            users = _users(counts, column, small.index)
            told = f"{users:,}" if users >= MIN_USERS else f"fewer than {MIN_USERS}"
            done = f"left out ({told} users)"
            kept &= ~is_small
        caveats.append(
            f"Other things equal: {len(small)} of {len(n)} values of {name} have fewer than "
            f"{FEW_ACTIVATIONS} activations and are {done}."
        )
    return counts, kept, caveats


@dataclass(frozen=True)
class Places:
    """Lines of the counts, users alike in each: of which kind, and in which rows of `RiskSets`."""

    n: np.ndarray
    begin: np.ndarray  # first row of the stratum
    kind: np.ndarray
    first: np.ndarray  # row in which they are at risk
    last: np.ndarray  # one past the last row
    hit: np.ndarray  # with an event in the last of them

    @property
    def ends(self) -> tuple[np.ndarray, ...]:
        """What `RiskSets.residuals` asks for."""
        return self.kind, self.first, self.last, self.hit


def _risk_sets(counts: pd.DataFrame, is_level: np.ndarray) -> tuple[RiskSets, Places, np.ndarray]:
    """Risk sets by stratum and time, the lines' places in them, and the curve before each time."""
    x, kind = np.unique(is_level.astype(float), axis=0, return_inverse=True)
    n, units = counts["n_users"].to_numpy(), counts["units"].to_numpy()
    entry = counts["entry"].to_numpy() if "entry" in counts else np.zeros(len(n), np.int64)
    hit = (counts["outcome"] == "activated").to_numpy()
    stratum = counts["stratum"] if "stratum" in counts else pd.Series("all", counts.index)
    begin, first, last = np.zeros((3, len(n)), np.int64)
    times: list[np.ndarray] = []
    n_rows = 0
    for lines in stratum.groupby(stratum).indices.values():
        time = np.unique(units[lines][hit[lines]])
        since = np.searchsorted(time, entry[lines], side="right")
        begin[lines] = n_rows
        first[lines] = n_rows + np.where(entry[lines] > 0, since, 0)
        last[lines] = n_rows + np.searchsorted(time, units[lines], side="right")
        times.append(time)
        n_rows += len(time)
    shape = n_rows + 1, len(x)
    came, went = (stats.dense(n, row, kind, shape=shape) for row in (first, last))
    events = stats.dense(n[hit], last[hit] - 1, kind[hit], shape=shape)
    sets = RiskSets((came - went).cumsum(axis=0)[:-1], events[:-1], x)
    late = entry > 0
    none = np.zeros(late.sum())
    curve = stats.incidence(
        np.r_[units, entry[late]],
        np.r_[n * hit, none],
        np.r_[n * ~hit, none],
        n_entering=np.r_[np.zeros(len(n)), n[late]],
    )
    past = np.r_[0.0, curve["rate"]][np.searchsorted(curve["time"], np.concatenate(times))]
    return sets, Places(n, begin, kind, first, last, hit), past


def _by_lifelines(sets: RiskSets, places: Places) -> np.ndarray:
    """Coefficients by lifelines, on a weighted table of at most MOST_ROWS rows of users alike.

    Only the order of times counts, so each is told by its row in the risk sets; where the table is
    longer, 2, 4, ... neighbouring events share a time. That, and that lifelines takes the users of
    a weighted row for one death, is amended by `fit` afterwards, on all counts.
    """
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    information = sets.moments(np.zeros(sets.x.shape[1])).variance.sum(axis=0)
    # columns are 0 or 1: a variance of less than a millionth of the events is rounding
    told = np.linalg.eigvalsh(information) > 1e-6 * max(sets.events.sum(), 1)
    if not told.all():
        raise ParameterError("adjust: two columns say the same of every user; leave one out.")
    seen = places.last > places.first  # others were in no risk set
    keys = {name: getattr(places, name)[seen] for name in ("begin", "kind", "hit")}
    first, last = (at[seen] - keys["begin"] for at in (places.first, places.last))
    width, n_rows = 1, np.inf
    while n_rows > MOST_ROWS:
        rows = pd.DataFrame(keys | {"entry": first // width, "time": -(-last // width)})
        table = rows.assign(n=places.n[seen]).groupby([*rows], as_index=False)["n"].sum()
        n_rows = len(table)
        if width > last.max() and n_rows > MOST_ROWS:
            raise ParameterError("adjust, strata: too many combinations; name fewer columns.")
        width *= 2
    frame = pd.DataFrame(sets.x[table["kind"]]).add_prefix("x").join(table.drop(columns="kind"))
    entry = "entry" if frame["entry"].any() else None  # lifelines is much slower with one
    if entry is None:
        frame = frame.drop(columns="entry")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = CoxPHFitter().fit(
                frame, "time", "hit", weights_col="n", strata=["begin"], entry_col=entry
            )
    except ConvergenceError as error:
        raise ParameterError(f"adjust: the model cannot be estimated. {error}") from error
    return np.asarray(model.params_)


def _by_account(
    places: Places, residuals: np.ndarray, counts: pd.DataFrame
) -> tuple[np.ndarray, float]:
    """Variance of the score by account, and its degrees of freedom; NaN with too few accounts."""
    account, p = counts["account"].to_numpy(), residuals.shape[1]
    g = count_accounts(account, places.n)
    if g < stats.MIN_CLUSTERS:
        return np.full((p, p), np.nan), np.nan
    return spread_by_account(residuals, account, places.n) * g / (g - 1), g - 1
