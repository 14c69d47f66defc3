"""What a scorecard says beside its alerts, by simulation: lines of `tests.calibration`."""

import numpy as np
import pandas as pd

from mctlib.eventlog.steps import as_step
from mctlib.roi.response_time import _came_back
from mctlib.scorecard.causes import COMPETITOR, entries_near, study
from mctlib.scorecard.meters import Meter, Meters
from mctlib.stats.monitoring import change_between, slow_drift, tracking_gate, weekly_alerts
from mctlib.tracking_plan.plan import Plan
from tests.support.calibration import Row, at_least, within
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
    """The last four weeks against the same four a year before: a share up by 9 points, a mean."""
    rows, now = [], np.arange(52, 56)
    weeks = [MONDAY + k * WEEK for k in (*now - 52, *now)]
    later = np.repeat([0.0, 1.0], 4)
    for phi in (1, 4):
        rng, hits = np.random.default_rng([36, phi]), np.zeros(n, bool)
        level = np.broadcast_to(0.25 + 0.09 * later, (n, 8))
        table = table_of(rng, level, 2_000, phi)
        table["week"] = np.tile(weeks, n)
        for k, (_, own) in enumerate(table.groupby("metric")):
            hits[k] = _holds(0.09, own, weeks)
        truth = f"25 % and 9 points more, 2,000 users a week, variance {phi} x"
        rows.append(at_least("Against a year before, coverage", truth, hits))
    rng, hits = np.random.default_rng(37), np.zeros(n, bool)
    for k in range(n):
        size = rng.poisson(800, 8)
        wide = rng.normal(0, 0.3, 8)  # how far a week lies from its level, whoever comes
        value = 9 - 3.5 * later + wide + rng.normal(0, 5, 8) / np.sqrt(size)
        own = pd.DataFrame({"metric": "m", "week": weeks, "n": size, "value": value})
        hits[k] = _holds(-3.5, own.assign(variance=25.0), weeks)
    truth = "a mean of 9, 3.5 less, weeks that scatter more than their users"
    return [*rows, at_least("Against a year before, coverage", truth, hits)]


def _holds(change, table, weeks):
    found = change_between(table, weeks[:4], weeks[4:])
    return within(change, (found["change_ci_lower"], found["change_ci_upper"]))


def recoveries(n):
    """A fall of 20 and, two or four weeks after it, an answer that brings 12 back; AR(1) weeks."""
    rows = []
    began = MONDAY + 30 * WEEK
    for seed, (rho, fallen) in enumerate(((0.0, 2), (0.3, 2), (0.6, 4))):
        week = np.arange(30 + fallen + 8) - 30
        level = 100 + 0.2 * week - 20 * (week >= 0) + 12 * (week >= fallen)
        noise = 3 * ar1(np.random.default_rng([38, seed]), (n, len(week)), rho)
        alert = {"began": began, "shipped_on": began + fallen * WEEK}
        hits = np.zeros(n, bool)
        for k, y in enumerate(level + noise):
            found = _came_back(alert, pd.DataFrame({"value": y, "n": 7.0}, index=week))
            hits[k] = within(12, (found["recovered_ci_lower"], found["recovered_ci_upper"]))
        truth = f"12 of 20 back after {fallen} weeks, rho {rho}"
        rows.append(at_least("What came back after an answer, coverage", truth, hits))
    return rows


ALL = (lost_events, drifts, event_study, year_before, recoveries)
