"""What a scorecard says beside its alerts, by simulation: lines of `tests.calibration`."""

import numpy as np
import pandas as pd

from mctlib.eventlog.steps import as_step
from mctlib.roi.response_time import came_back
from mctlib.scorecard.causes import COMPETITOR, entries_near, study
from mctlib.scorecard.meters import Meter, Meters
from mctlib.scorecard.watching import DAILY_FALL, DAILY_LEVEL
from mctlib.stats.monitoring import change_between, slow_drift, tracking_gate, weekly_alerts
from mctlib.tracking_plan.plan import Plan
from tests.support.calibration import Row, at_least, at_most, coverage, within
from tests.support.series import ar1
from tests.support.weeks import MONDAY

WEEK = pd.Timedelta("7D")


def table_of(rng, level, size, phi):
    """metric, week, n, n_success of rates (metrics, weeks), their variance phi times binomial."""
    users = np.maximum(rng.poisson(size, level.shape), 2)
    drawn = level
    if phi > 1:
        spread = np.maximum((users - 1) / (phi - 1) - 1, 1.0)  # of the beta
        drawn = rng.beta(level * spread, (1 - level) * spread)
    n_metrics, n_weeks = level.shape
    return pd.DataFrame(
        {
            "metric": np.repeat([f"m{k:04d}" for k in range(n_metrics)], n_weeks),
            "week": np.tile(MONDAY + np.arange(n_weeks) * WEEK, n_metrics),
            "n": users.ravel(),
            "n_success": rng.binomial(users, drawn).ravel(),
        }
    )


def spread_evenly(rng, low, high, n):
    """Sizes between two, as many small as large ones by their logarithm."""
    return np.exp(rng.uniform(np.log(low), np.log(high), n))[:, None]


def seasonal(rng, n, weeks, season, *, alike=True):
    """Levels of 5 to 40 % that follow a year's course, each a part of it, or one of its own."""
    phase = rng.random() if alike else rng.random((n, 1))
    year = season * np.sin(2 * np.pi * (np.arange(weeks) / 52 + phase))
    return spread_evenly(rng, 0.05, 0.4, n) * (1 + rng.uniform(0.5, 1, (n, 1)) * year)


def lost_events(n):
    """Of what a server knows, 90 to 99 % are tracked; nothing happens, or some are lost.

    A platform's event has 100 to 3,000 records a week, at a variance of 1 or 2 times chance's.
    """
    rows, weeks, at = [], 30, 22
    since = np.arange(weeks) - at
    worlds = (
        ("nothing is lost", np.zeros(weeks), 0, 0.0),
        ("10 points are lost, in their first week", 0.1 * (since >= 0), 1, 0.80),
        ("20 points are lost, in their first week", 0.2 * (since >= 0), 1, 0.96),
        ("20 points are lost over six weeks, in these", 0.2 * (since + 1).clip(0, 6) / 6, 6, 0.98),
    )
    for seed, (truth, lost, within_weeks, found_share) in enumerate(worlds):
        rng = np.random.default_rng([31, seed])
        level = rng.uniform(0.90, 0.99, (n, 1)) - lost
        size = spread_evenly(rng, 100, 3000, n)
        halves = [slice(None, n // 2), slice(n // 2, None)]
        cells = [table_of(rng, level[h], size[h], phi) for h, phi in zip(halves, (1, 2))]
        cells[1]["metric"] += " of 2"
        found = tracking_gate(pd.concat(cells, ignore_index=True))
        if not within_weeks:
            what = "Lost tracking, false ones an event, platform and week"
            unruly = found["metric"].str.endswith("of 2")
            # as measured for chance alone; of unruly weeks no more than both looks' p-values
            for mine, told, most in ((~unruly, "1", 0.0025), (unruly, "2", 0.006)):
                share = float(found.loc[found["judged"] & mine, "lost"].mean())
                rows.append(Row(what, f"{truth}, variance {told} x", share, 0.0, most))
            continue
        week = (found["week"] - MONDAY) // WEEK - at
        hits = found[week.between(0, within_weeks - 1)].groupby("metric")["lost"].any()
        rows.append(at_least("Lost tracking, found", truth, hits.to_numpy(), found_share))
    return rows


def drifts(n):
    """12 quiet numbers over 60 weeks with seasons of 6 and 12 %: notes that begin all the same.

    And numbers that lose 2 % a week for eight weeks: noted by four weeks after that.
    """
    few, weeks, kinds = max(n // 80, 4), 60, ((1, 0.06), (2, 0.12), (4, 0.06), (1, 0.12))
    tables = []
    for k, (phi, season) in enumerate(kinds):
        for world in range(few):
            rng = np.random.default_rng([32, k, world])
            level = seasonal(rng, 12, weeks, season)
            found = table_of(rng, level, spread_evenly(rng, 1_500, 20_000, 12), phi)
            tables.append(found.assign(metric=found["metric"] + f" of {k}.{world}"))
    begun = _noted(pd.concat(tables, ignore_index=True), range(16, weeks))
    years = len(kinds) * few * (weeks - 16) / 52
    most = 1.9 + 2.5 * np.sqrt(1.9 / years)
    truth = "12 quiet numbers, variance 1, 2 and 4 x, seasons of 6 and 12 %"
    rows = [Row("Slow drift, false notes a year", truth, len(begun) / years, 0.0, most)]
    rng = np.random.default_rng(33)
    since = np.arange(weeks) - 40
    level = seasonal(rng, n, weeks, 0.06, alike=False) * 0.98 ** (since + 1).clip(0, 8)
    table = table_of(rng, level, spread_evenly(rng, 1_500, 20_000, n), 1)
    noted = {metric for metric, _ in _noted(table, range(42, 54, 3))}
    hits = np.isin(table["metric"].unique(), list(noted))
    rows.append(at_least("Slow drift, noted", "2 % a week lost for eight weeks", hits, 0.38))
    return rows


def _noted(table, weeks):
    """(metric, week) in which a note begins: there was none in the week before."""
    begun, before = [], set()
    for week in weeks:
        noted = set(slow_drift(table[table["week"] <= MONDAY + week * WEEK])["metric"])
        begun += [(metric, week) for metric in noted - before]
        before = noted
    return begun


def meter_of(name, **more):
    return Meter(name=name, label=name, kind="rate", of=as_step(name), micro=name, **more)


def event_study(n):
    """A fall of 20 % beside a rival's move, six numbers that share their good and bad weeks.

    What the number of the fall says against the five others, where it is alerted. And quiet
    numbers beside a rival's move that did nothing: how often one is told to coincide with it.
    """
    rows, weeks = [], 16
    entry = {"day": MONDAY + 15 * WEEK, "kind": COMPETITOR, "label": "x", "micro_conversions": ""}
    names = [f"m{k:04d}" for k in range(12)]
    all_of = [meter_of(name, exposed=name == names[0]) for name in names[:6]]
    plan = Plan.model_validate({"micro_conversions": dict.fromkeys(names)})
    meters = Meters(all_of, as_step("x"), plan, [])
    for phi, season in ((1, 0.06), (2, 0.12)):
        rng, hits = np.random.default_rng([34, phi]), []
        for _ in range(n // 2):
            level = seasonal(rng, 6, weeks, season) * np.exp(rng.normal(0, 0.02, weeks))
            level[0] *= np.where(np.arange(weeks) == 15, 0.8, 1.0)
            judged = weekly_alerts(table_of(rng, level, spread_evenly(rng, 15_000, 60_000, 6), phi))
            row = judged[judged["metric"] == names[0]].iloc[-1]
            if row["alert"]:
                told = study(row, all_of[0], entry, judged, meters)
                ends = told["study_change_ci_lower"], told["study_change_ci_upper"]
                hits.append(within(-0.2, ends))
        assert len(hits) > n / 3
        truth = f"a fall of 20 % that is alerted, variance {phi} x, season of {100 * season:.0f} %"
        rows.append(at_least("Fall against untouched numbers, coverage", truth, np.array(hits)))
    return [*rows, false_coincidences(max(n // 20, 10), [meter_of(m, exposed=True) for m in names])]


def false_coincidences(n, exposed):
    """Of quiet worlds with a rival's move each fourth week: numbers told to coincide with one."""
    told = []
    days = MONDAY + np.arange(20, 56, 4) * WEEK + pd.Timedelta("3D")
    moves = pd.DataFrame({"day": days, "kind": COMPETITOR, "label": "x", "micro_conversions": ""})
    for world in range(n):
        rng = np.random.default_rng([35, world])
        phi, season = ((1, 0.06), (2, 0.12), (4, 0.06))[world % 3]
        level = seasonal(rng, 12, 60, season)
        judged = weekly_alerts(table_of(rng, level, spread_evenly(rng, 1_500, 20_000, 12), phi))
        news = judged[judged["alert"]]
        near = [
            len(entries_near(moves.iloc[[k]], meter, week))
            for k in range(len(moves))
            for meter in exposed
            for week in news.loc[news["metric"] == meter.name, "week"]
        ]
        told.append(sum(near) / (len(moves) * len(exposed)))
    truth = "a rival's move that does nothing, 12 numbers that it could move"
    # it lies beside the falls of three weeks, of which at most .0065 are false
    what = "Falsely told to coincide, a move and number"
    return Row(what, truth, float(np.mean(told)), 0.0, 3 * 0.0065)


def year_before(n):
    """The last four of 56 weeks against the same four a year before.

    A share that grows by 9 points under a season; a mean, of which weeks scatter more than their
    users; weeks of which good and bad ones come in runs.
    """
    rows, weeks = [], 56
    week = np.arange(weeks)
    what = "Against a year before"
    for phi in (1, 4):
        level = 0.25 * (1 + 0.06 * np.sin(2 * np.pi * week / 52)) + 0.09 * week / 52
        level = np.broadcast_to(level, (n, weeks))
        hits = _year(0.09, table_of(np.random.default_rng([36, phi]), level, 2_000, phi))
        truth = f"25 % and 9 points more, 2,000 users a week, variance {phi} x"
        rows.append(coverage(what, truth, hits))
    rng = np.random.default_rng(37)
    size = rng.poisson(800, (n, weeks))
    wide = rng.normal(0, 0.3, (n, weeks))  # how far a week lies from its level, whoever comes
    value = 9 - 3.5 * week / 52 + wide + rng.normal(0, 5, (n, weeks)) / np.sqrt(size)
    truth = "a mean of 9, 3.5 less, weeks that scatter more than their users"
    rows.append(coverage(what, truth, _year(-3.5, _means(value, size, 25.0))))
    for rho in (0.0, 0.3, 0.6):
        hits = _year(0.09, _means(0.25 + 0.09 * week / 52 + _in_runs(n, weeks, rho)))
        truth = f"9 points more, good and bad weeks come in runs, rho {rho}"
        # quarters tell long runs from a moving level only in part: at .6 it is a little less
        is_long = at_least(f"{what}, coverage", truth, hits, 0.92)
        rows.append(is_long if rho > 0.5 else coverage(what, truth, hits))
    return rows


def _in_runs(n, weeks, rho):
    return 0.02 * ar1(np.random.default_rng([40, int(10 * rho)]), (n, weeks), rho)


def _means(value, size=2_000.0, variance=np.nan):
    n, weeks = value.shape
    table = table_of(np.random.default_rng(41), np.zeros((n, weeks)), 10, 1)
    table["n"] = np.broadcast_to(size, (n, weeks)).ravel()
    return table.drop(columns="n_success").assign(value=value.ravel(), variance=variance)


def _year(change, table):
    """Which of its metrics' intervals hold the change."""
    days, hits = table["week"].drop_duplicates(), []
    for _, own in table.groupby("metric"):
        found = change_between(own, days[:4], days[-4:])
        hits.append(within(change, (found["change_ci_lower"], found["change_ci_upper"])))
    return np.array(hits)


def weekly_changes(n):
    """A week that is 10 % lower than the twelve before it, and the interval of its change."""
    tables, weeks = {}, 28
    lower = np.where(np.arange(weeks) == weeks - 1, 0.9, 1.0)
    for phi in (1, 2, 4):
        rng = np.random.default_rng([42, phi])
        level = spread_evenly(rng, 0.05, 0.4, n) * lower
        drawn = table_of(rng, level, spread_evenly(rng, 1_500, 20_000, n), phi)
        tables[f"variance {phi} x"] = drawn
    for rho in (0.3, 0.6):
        table = _means(0.25 * lower + _in_runs(n, weeks, rho))
        tables[f"good and bad weeks come in runs, rho {rho}"] = table
    rows = []
    for told, table in tables.items():
        found = weekly_alerts(table)
        last = found[found["week"] == found["week"].max()]
        last = last[last["since"].isna() | (last["since"] == last["week"])]  # no alert before
        low, high = (last[f"rel_change_ci_{end}"] for end in ("lower", "upper"))
        hits = ((low <= -0.1) & (high >= -0.1)).to_numpy()
        rows.append(coverage("Change of a week", f"10 % less than in the 12 before, {told}", hits))
    return rows


def quiet_numbers(n):
    """Alerts where nothing happens: of means and ratios a week, of rates by the daily rule.

    And weeks in which all of twelve numbers are 15 % lower: one notice, and no alert beside it.
    """
    few, weeks = max(n // 40, 10), 60
    tables, by_day = [], []
    for world in range(few):
        rng = np.random.default_rng([43, world])
        phi, season = ((1, 0.06), (2, 0.12), (4, 0.06))[world % 3]
        level, size = seasonal(rng, 12, weeks, season), spread_evenly(rng, 1_500, 20_000, 12)
        table = table_of(rng, level, size, phi)
        asked = {"threshold": DAILY_FALL, "level": DAILY_LEVEL}
        by_day.append(weekly_alerts(table, **asked)["alert"].mean())
        # of one unit twice the level; a week lies 2 % off it, whoever comes; six of them are ratios
        wide = level * rng.normal(1, 0.02, level.shape)
        value = wide.ravel() + rng.normal(0, 2 * level.ravel() / np.sqrt(table["n"]))
        variance = np.where(np.arange(12)[:, None] < 6, 4 * level**2, np.nan).ravel()
        means = table.drop(columns="n_success").assign(value=value, variance=variance)
        found = weekly_alerts(means)
        tables.append(found[found["week"] >= MONDAY + 12 * WEEK])
    truth = "6 means and 6 ratios, seasons of 6 and 12 %"
    each = float(np.mean([found["alert"].mean() for found in tables]))
    weekly = float(np.mean([found.groupby("week")["alert"].any().mean() for found in tables]))
    lower, beside = np.zeros(5 * few, bool), []
    for world in range(5 * few):
        rng = np.random.default_rng([44, world])
        level = seasonal(rng, 12, 16, 0.06) * np.where(np.arange(16) == 15, 0.85, 1.0)
        found = weekly_alerts(table_of(rng, level, spread_evenly(rng, 5_000, 20_000, 12), 1))
        last = found[found["week"] == found["week"].max()]
        lower[world] = last["common_cause"].all()
        beside.append(last["alert"])
    all_lower = "all of 12 numbers are 15 % lower"
    return [
        Row("Weekly alert, false ones a metric and week", truth, each, 0.0, 0.0065),
        Row("Weekly alert, weeks with any of 12", truth, weekly, 0.0, 0.08),
        Row("Daily rule, false ones a rate and look", "nothing", float(np.mean(by_day)), 0, 0.0005),
        at_least("Everything moved, noticed", all_lower, lower, 0.95),
        at_most("Everything moved, alerts beside it", all_lower, np.concatenate(beside), 0.0065),
    ]


def recoveries(n):
    """A fall of 20 and, two or four weeks after it, an answer that brings 12 back; AR(1) weeks.

    And weeks of nothing, of which the lowest of forty was alerted, and somebody answered.
    """
    rows = []
    began = MONDAY + 30 * WEEK
    for seed, (rho, fallen) in enumerate(((0.0, 2), (0.3, 2), (0.6, 4))):
        week = np.arange(30 + fallen + 8) - 30
        level = 100 + 0.2 * week - 20 * (week >= 0) + 12 * (week >= fallen)
        noise = 3 * ar1(np.random.default_rng([38, seed]), (n, len(week)), rho)
        alert = {"began": began, "shipped_on": began + fallen * WEEK}
        hits = {"What came back after an answer": [], "The same, relative": []}
        truths = 12, 12 / np.mean((level - 12)[-4:])  # the last four weeks are read
        for y in level + noise:
            found = came_back(alert, pd.DataFrame({"value": y, "n": 7.0}, index=week))
            for name, stem, value in zip(hits, ("recovered", "rel_recovered"), truths):
                ends = found[f"{stem}_ci_lower"], found[f"{stem}_ci_upper"]
                hits[name].append(within(value, ends))
        truth = f"12 of 20 back after {fallen} weeks, rho {rho}"
        rows += [at_least(f"{name}, coverage", truth, np.array(own)) for name, own in hits.items()]
    for fallen in (2, 3, 4):
        rng, surely = np.random.default_rng([39, fallen]), np.zeros(n, bool)
        weeks = rng.normal(100, 3, (n, 30 + fallen + 8))
        weeks[:, 30] = rng.normal(100, 3, (n, 40)).min(axis=1)
        alert = {"began": began, "shipped_on": began + fallen * WEEK}
        for k, y in enumerate(weeks):
            index = np.arange(len(y)) - 30
            found = came_back(alert, pd.DataFrame({"value": y, "n": 7.0}, index=index))
            surely[k] = found["recovered_ci_lower"] > 0
        truth = f"a false alert, answered after {fallen} weeks"
        rows.append(at_most("What came back after an answer, for sure", truth, surely, 0.025))
    return rows


ALL = (
    lost_events,
    drifts,
    event_study,
    year_before,
    weekly_changes,
    quiet_numbers,
    recoveries,
)
