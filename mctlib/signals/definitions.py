"""One word, several teams' definitions: who counts, on whom they disagree, which one foretells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from mctlib import stats
from mctlib.cells import View
from mctlib.contract import ParameterError, as_window, interval_columns, nearest
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step
from mctlib.headlines import upper
from mctlib.phrases import day, window
from mctlib.results import MIN_USERS, Result
from mctlib.signals.alike import Cells, measures, sides_of
from mctlib.signals.candidates import USUAL, plan_of
from mctlib.signals.clock import Clock, Reach, after_start, count, not_alike, read_clock, too_many
from mctlib.signals.counts import COUNTS, Group, count_combinations
from mctlib.signals.definitions_narrative import Meanings, told_definitions
from mctlib.signals.outcomes import Outcome, read_outcome
from mctlib.signals.overlap import Told
from mctlib.signals.parting import parted

MOST_TEAMS = 6
FIRST = ("team", "means", "n_users", "met_rate ±", "risk_ratio ±", "foretells")
MEASURES = ("exposed_rate", "unexposed_rate", "risk_ratio", "out_of_time_gain")


@dataclass(frozen=True, kw_only=True, repr=False)
class Definitions(Result):
    """Answer of `compare_definitions`. Users are those whose time to the horizon is over.

    ``definitions``: one row a team: team, means, n_users, n_met, met_rate ±; and, of those at risk
    of the outcome at the landmark, n_exposed, n_unexposed, exposed_rate ±, unexposed_rate ±,
    risk_ratio ±, pvalue, qvalue, out_of_time_gain ± (as in `Signals.signals`), foretells (best,
    yes, the other way, not sure).

    ``overlap``: one row a combination of teams by whose definitions users count: combination, a
    column of "yes" and "no" a team, n_users, user_share, n_at_risk, outcome_rate ±. Combinations of
    fewer than 10 users are told together, and so is what they would follow from.

    ``disagreement``: between (all, or two teams), n_users, n_only_first, n_only_second (of two),
    disagreement_rate ±, kappa (chance-corrected agreement, for the foot note).

    ``who``: column, segment, n_users, disagreement_rate ± (between all), the most first.

    ``months``: month of the start, team, n_users, met_rate ±.

    ``parted``: the two teams of which one surely counts more users from a month on, and the other
    fewer (none where that is not so): since, until (months of the start), team, n_before, n_users,
    before_rate, after_rate, change_rate ±.

    ± : with ``_ci_lower`` and ``_ci_upper`` (95 %), by account where people sit in accounts.
    """

    definitions: pd.DataFrame
    overlap: pd.DataFrame
    disagreement: pd.DataFrame
    who: pd.DataFrame
    months: pd.DataFrame
    parted: pd.DataFrame

    views: ClassVar[Mapping[str, View]] = {"definitions": View("definitions", FIRST)}
    main: ClassVar[str] = "definitions"


@dataclass(frozen=True)
class Meaning:
    """What one team means: an event within a time after the start."""

    team: str
    step: Step
    within: int

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{self.step.label} in {window(self.within)}"


def compare_definitions(
    log: EventLog,
    definitions: Any,
    outcome: Any,
    *,
    as_of: Any,
    landmark: str | None = None,
    horizon: str,
    start: Any = None,
    competing: Any = None,
    adjust: Any = (),
) -> Definitions:
    """Hold teams' definitions of one word against each other, and against what comes after.

    Parameters
    ----------
    log : EventLog
        Events, people, and perhaps a tracking plan.
    definitions : str or mapping
        A term of the plan, or team -> event, or team -> ``{"is": event, "within": "30d"}``.
    outcome, horizon, as_of, start, competing, adjust
        See `signal_value`. ``adjust`` also says by which columns it is told who is disagreed on.
    landmark : str, optional
        When users are sorted by whether they meet a definition, to see what comes after. By default
        the longest time of a definition that leaves time for the outcome; longer ones are cut
        there.

    Returns
    -------
    Definitions
        ``definitions``, ``overlap``, ``disagreement``, ``who``, ``months``, ``parted``.

    Raises
    ------
    ParameterError
        No such term, fewer than two definitions, an event that does not occur, no time between
        landmark and horizon.

    Examples
    --------
    >>> teams = {"product": "interview_scheduled", "marketing": "profile_completed"}
    >>> asked = {"horizon": "20d", "as_of": "2026-01-31", "start": "signed_up"}
    >>> found = compare_definitions(log, teams, "interview_scheduled", **asked)
    >>> found.definitions["team"].tolist()
    ['Product', 'Marketing']
    """
    plan = plan_of(log)
    clock = read_clock(log, start, competing, adjust, plan)
    asked = read_outcome(log, outcome, horizon, plan)
    after_start(clock, asked)
    term, meanings = read_meanings(log, definitions)
    mark = _landmark(landmark, [m.within for m in meanings], asked, term)
    cut = [m.words for m in meanings if m.within > mark]
    meanings = [replace(m, within=min(m.within, mark)) for m in meanings]
    group = Group(mark, tuple(range(len(meanings))), own=1 << len(meanings))
    steps = [m.step for m in meanings]
    within = [m.within for m in meanings]
    counts = count(
        log, clock, asked, steps, [group], within=within, as_of=as_of, kernel=count_combinations
    )
    reach, everyone = Reach.of(counts), counts["all"]
    told = Told(everyone, [m.team for m in meanings], reach.n_accounts)
    table = _definitions(told, counts, meanings, clock, reach, asked)
    best = next(iter(table.loc[table["foretells"] == "best", "team"]), "")
    apart = parted(everyone, told.teams if told.all_met else [], reach.n_accounts, best)
    overlap = told.overlap(counts["cells"], binary=not asked.amount)
    disagreement = told.disagreement()
    answer = Meanings(
        term=term,
        definitions=table,
        overlap=overlap,
        disagreement=disagreement,
        outcome=asked,
        landmark=mark,
        cut=cut,
        start=clock.start.label,
        lacking=told.lacking(best) if best else None,
        parted=apart,
        reach=reach,
        by_account=bool(clock.accounts),
        said=(*log.caveats(as_of), *too_many(log, clock), *not_alike(log, clock, asked, steps)),
        until=day(log.as_of(as_of)),
    )
    return Definitions(
        definitions=table,
        overlap=overlap,
        disagreement=disagreement,
        who=told.who(counts["strata"], clock.adjust),
        months=told.months(),
        parted=apart,
        **told_definitions(answer),
    )


def read_meanings(log: EventLog, given: Any) -> tuple[str, list[Meaning]]:
    """The term, and what each team means by it; raises ParameterError, see above."""
    plan, term, teams = plan_of(log), "the term", given
    if isinstance(given, str):
        terms = plan.terms if plan else {}
        if given not in terms:
            near = nearest(given, terms) or f" It has {', '.join(terms) or 'no terms'}."
            raise ParameterError(f'definitions: the plan has no term "{given}".{near}')
        term = given
        teams = {team: {"is": m.what, "within": m.within} for team, m in terms[given].items()}
    if not isinstance(teams, Mapping) or not 2 <= len(teams) <= MOST_TEAMS:
        raise ParameterError(
            f"definitions: write two to {MOST_TEAMS} of them, team: {{is: event, within: 30d}}."
        )
    meanings = [_meaning(log, str(team), what) for team, what in teams.items()]
    labels = [meaning.team for meaning in meanings]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise ParameterError(f"definitions: two teams are called “{twice[0]}”; rename one.")
    return term, meanings


def _landmark(given: str | None, spans: Sequence[int], outcome: Outcome, term: str) -> int:
    """The one asked for, else the longest time of a definition that leaves time for the outcome."""
    own = max(spans, key=lambda us: (us < outcome.before, us))
    mark = as_window(given, "landmark") if given else own
    if mark >= outcome.before:
        raise ParameterError(
            f"horizon: the outcome must have time after the landmark of {window(mark)}; it ends "
            f"after {window(outcome.until)}. Where {term} is not asked about it may be as short."
        )
    return mark


def _meaning(log: EventLog, team: str, given: Any) -> Meaning:
    what = given if isinstance(given, Mapping) and "is" in given else {"is": given}
    for key in what:
        if key not in ("is", "within"):
            near = nearest(str(key), ("is", "within"))
            raise ParameterError(f'definitions: "{key}" of {team} is not one of is, within.{near}')
    step = log.step(what["is"], f"definitions: {team}")
    if missing := log.missing_events([step]):
        raise ParameterError(f"definitions: {team}: {missing[0]}")
    span = what.get("within") or step.within or USUAL
    return Meaning(upper(team), step, as_window(span, f"definitions: {team}"))


def _definitions(
    told: Told,
    counts: dict[str, pd.DataFrame],
    meanings: Sequence[Meaning],
    clock: Clock,
    reach: Reach,
    outcome: Outcome,
) -> pd.DataFrame:
    """`Definitions.definitions`."""
    rows, cells = [], Cells(counts["cells"], counts["strata"], clock.adjust)
    for k, meaning in enumerate(meanings):
        had = cells.table["had"].to_numpy() >> k & 1
        sides = sides_of(cells, [cells.table[c] * had for c in COUNTS if c in cells.table])
        found = measures(sides, reach.n_accounts, not outcome.amount) if sides.enough else {}
        unexposed, exposed = sides.at_risk
        kept = {c: v for c, v in found.items() if c.startswith((*MEASURES, "pvalue"))}
        row = {"team": meaning.team, "means": meaning.words} | told.met(k)
        rows.append(row | {"n_exposed": exposed, "n_unexposed": unexposed} | kept)
    columns = [c for name in MEASURES for c in interval_columns(name, 0, 0, 0)]
    head = ["team", "means", "n_users", "n_met", *interval_columns("met_rate", 0, 0, 0)]
    head += ["n_exposed", "n_unexposed", *columns, "pvalue"]
    table = pd.DataFrame(rows, columns=head)
    small = table[["n_exposed", "n_unexposed"]].lt(MIN_USERS).any(axis=1) | table["n_met"].isna()
    table.loc[small, ["n_exposed", "n_unexposed", *columns, "pvalue"]] = np.nan
    table["qvalue"] = stats.fdr(table["pvalue"])
    low, high = table["risk_ratio_ci_lower"], table["risk_ratio_ci_upper"]
    sure = pd.Series(stats.differs(low, high, table["qvalue"], same=1), table.index)
    sure &= ~(table["out_of_time_gain_ci_upper"] <= 0)  # of no use for later users
    wanted = (table["risk_ratio"] > 1) == outcome.wanted
    table["foretells"] = np.select([sure & wanted, sure], ["yes", "the other way"], "not sure")
    # where no later users are known, by the size of the ratio
    known = table["out_of_time_gain"].notna().any()
    rank = table["out_of_time_gain"] if known else np.log(table["risk_ratio"]).abs()
    rank = rank.where(sure & wanted)
    if rank.notna().any():
        table.loc[rank.idxmax(), "foretells"] = "best"
    counts_of = [c for c in table if c.startswith("n_")]
    return table.astype(dict.fromkeys(counts_of, float))
