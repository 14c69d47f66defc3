"""Time to activation against R, lifelines on rows, loops and simulations."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mctlib import stats
from mctlib.activation import survival_groups, time_to_activation
from mctlib.activation import time_to_event as activation
from mctlib.activation.differences import compare_days
from mctlib.activation.hazards import compare_hazards, logrank
from mctlib.activation.survival_groups import Clock, Group
from tests.support.clocks import ASK, END, clocked, coarse

DAY = 86_400_000_000


def steps_of(days, status):
    days, status = np.asarray(days, float), np.asarray(status)
    return stats.incidence(
        days, status == 1, status == 0, (status == 2) if (status == 2).any() else None
    )


# ---------------------------------------- against R (tests/reference/activation.R)

AML = {
    "Maintained": ([9, 13, 13, 18, 23, 28, 31, 34, 45, 48, 161], [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0]),
    "Nonmaintained": (
        [5, 5, 8, 8, 12, 16, 23, 27, 30, 33, 43, 45],
        [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1],
    ),
}  # Miller 1997, survival::aml
AML_DAYS, AML_STATUS = (sum((AML[k][i] for k in AML), []) for i in (0, 1))
AML_GROUP = ["Maintained"] * 11 + ["Nonmaintained"] * 12


def test_aml_median_interval_and_logrank(monkeypatch):
    monkeypatch.setattr("mctlib.stats.survival.MIN_WAITING", 1)
    monkeypatch.setattr(activation, "FEW_ACTIVATIONS", 1)
    result = time_to_activation(
        clocked(AML_DAYS, AML_STATUS, AML_GROUP),
        start="start",
        activation="active",
        as_of=END,
        by="channel",
        horizon="200d",
    )
    quartiles = result.summary.set_index("segment").filter(regex="^(p25|median|p75)_days")
    expected = {
        "Nonmaintained": [8, 5, 23, 23, 5, 33, 33, 23, np.nan],
        "Maintained": [18, 9, 34, 31, 13, np.nan, 48, 31, np.nan],
    }  # R: quantile(survfit(..., conf.type = "log-log"))
    for name, days in expected.items():
        np.testing.assert_equal(quartiles.loc[name].tolist(), days)
    row = result.contrasts.iloc[0]
    assert (row["segment"], row["reference"]) == (
        "Maintained",
        "Nonmaintained",
    )  # the larger one is the reference
    assert row["logrank_pvalue"] == pytest.approx(0.0653393, abs=1e-6)  # R: chisq 3.39638869903
    assert row["qvalue"] == row["pvalue"]
    of_all = result.overall.iloc[0]  # of two segments it is the same test
    assert of_all["pvalue"] == row["logrank_pvalue"] and of_all["df"] == 1
    assert of_all["statistic"] == pytest.approx(3.39638869903, abs=1e-9)


def test_aml_with_every_third_relapse_read_as_an_exit():
    status = [2 if s == 1 and i % 3 == 0 else s for i, s in enumerate(AML_STATUS, start=1)]
    expected = {
        "Maintained": ([0.0909090909091, 0.284090909091, 0.631818181818], 11.10227272727),
        "Nonmaintained": ([0.166666666667, 0.25, 0.444444444444], 10.15277777778),
    }
    for name, (rates, lost) in expected.items():
        mine = [g == name for g in AML_GROUP]
        steps = steps_of(np.array(AML_DAYS)[mine], np.array(status)[mine])
        assert [stats.at_time(steps, day) for day in (10, 20, 40)] == pytest.approx(
            rates, abs=1e-11
        )
        assert 40 - stats.restricted_mean(steps, 40)[0] == pytest.approx(lost, abs=1e-10)


@pytest.fixture(scope="module")
def lung():
    from lifelines.datasets import load_lung

    frame = load_lung()[["time", "status", "sex", "inst"]]
    return frame.assign(man=frame["sex"].eq(1))


@pytest.mark.parametrize(
    ("width", "coef", "se", "ph", "chisq"),
    [
        (1, 0.5310235400, 0.1671785833, 0.0906250641, 10.3267419549),
        (7, 0.5311746216, 0.1671812006, 0.0963868416, 10.3773853687),
        (28, 0.5409562039, 0.1672046635, 0.1130248768, 11.0332680650),
    ],
)
def test_lung_hazards_with_few_and_many_ties(lung, width, coef, se, ph, chisq):
    from scipy.stats import chi2

    man, woman = (
        steps_of(part["time"] // width * width, part["status"])
        for _, part in lung.groupby(~lung["man"])
    )
    found = compare_hazards([(man, woman)])
    assert np.log(found["hazard_ratio"]) == pytest.approx(coef, abs=1e-8)
    assert np.log(
        found["hazard_ratio_ci_upper"] / found["hazard_ratio"]
    ) / stats.Z == pytest.approx(se, abs=1e-8)
    assert found["logrank_pvalue"] == pytest.approx(chi2.sf(chisq, 1), rel=1e-8)
    assert found["ph_pvalue"] == pytest.approx(ph, abs=1e-7)


@pytest.mark.parametrize(
    ("days", "man", "woman", "difference"),
    [  # of the means: value, standard error; of their difference: value, interval
        (
            180,
            (151.68008017268, 4.33843566427),
            (168.00797263127, 3.52043088350),
            (-16.32789245858615, -27.27836710632931, -5.37741781084299),
        ),
        (
            365,
            (241.4950851921, 10.3582264911),
            (297.4654095320, 10.7913239788),
            (-55.9703243400, -85.2877123026, -26.6529363773),
        ),
        (
            700,
            (308.6959190697, 18.8371234284),
            (428.0584543510, 26.0855140023),
            (-119.362535281, -182.426223264, -56.2988472981),
        ),
    ],
)
def test_lung_restricted_mean_of_survrm2(lung, days, man, woman, difference, monkeypatch):
    monkeypatch.setattr("mctlib.stats.survival.MIN_WAITING", 1)  # few wait for 700 days
    log = clocked(lung["time"], lung["status"], lung["man"].map({True: "man", False: "woman"}))
    result = time_to_activation(
        log,
        start="start",
        activation="active",
        as_of=END,
        by="channel",
        horizon=f"{days}d",
        reference="woman",
    )
    table, end = result.summary.set_index("segment"), ["", "_ci_lower", "_ci_upper"]
    for name, (mean, se) in (("man", man), ("woman", woman)):
        assert table.loc[name, "rmst_days"] == pytest.approx(mean, abs=1e-8)
        assert (
            table.loc[name, "rmst_days_ci_upper"] - table.loc[name, "rmst_days"]
        ) / stats.Z == pytest.approx(se, abs=1e-8)
    assert result.contrasts.loc[
        0, [f"rmst_difference_days{e}" for e in end]
    ].tolist() == pytest.approx(difference, abs=1e-6)
    if days > 310:
        assert table.loc["man", [f"median_days{e}" for e in end]].tolist() == [270, 210, 306]
    if days == 365:  # R: surv and std.err of men and women
        share, share_0 = 1 - 0.3360878346394, 1 - 0.5264630301859
        error, error_0 = 0.0434235888418, 0.0597368539904
        row = result.contrasts.iloc[0]
        assert row["difference_rate"] == pytest.approx(share - share_0, abs=1e-9)
        assert row["difference_rate_ci_upper"] == pytest.approx(
            share - share_0 + stats.Z * np.hypot(error, error_0), abs=1e-9
        )
        width = stats.Z * np.hypot(error / share, error_0 / share_0)
        assert row["risk_ratio_ci_lower"] == pytest.approx(
            share / share_0 * np.exp(-width), abs=1e-9
        )
    assert (
        f"fewer of the first {days} days" in result.details[0]
        and "man is faster than woman" in result.details[0]
    )


def lung_group(lung, mine, width=1, event="status", n_accounts=40):
    """Users of `lung` as a Group, their institution as the account."""
    rows = lung[mine]
    outcome = rows[event].map({0: "censored", 1: "activated", 2: "competing"})
    counts = pd.DataFrame(
        {
            "outcome": outcome,
            "units": rows["time"].astype(int) // width * width,
            "n_users": 1,
            "account": rows["inst"].fillna(-1).astype(int),
        }
    )
    clock = Clock(1500 * DAY, DAY, n_accounts)
    return Group.of("x", counts, clock).with_band()


@pytest.mark.parametrize(
    ("width", "coef", "se", "score"),
    [(1, 0.5310235400, 0.1397359611, 6.9059955070), (28, 0.5409562039, 0.1419425220, 6.9589720246)],
)
def test_lung_hazards_by_institution(lung, width, coef, se, score):
    from scipy.special import stdtrit

    pair = tuple(lung_group(lung, mine, width) for mine in (lung["man"], ~lung["man"]))
    found = compare_hazards([tuple(g.steps for g in pair)], [pair])
    assert (
        survival_groups.n_accounts(pair) == survival_groups.n_clusters(pair) == 18
    )  # the one user without an institution is not a 19th beside 18 of very different sizes
    assert np.log(found["hazard_ratio"]) == pytest.approx(coef, abs=1e-8)
    factor = stdtrit(17, 0.975) * (18 / 17) ** 0.5  # R gives the plain sum of squares and 1.96
    assert np.log(found["hazard_ratio_ci_upper"] / found["hazard_ratio"]) / factor == pytest.approx(
        se, abs=1e-8
    )
    assert stdtrit(17, found["logrank_pvalue"] / 2) ** 2 * 18 / 17 == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(("width", "chisq"), [(1, 21.9621316825), (7, 22.1057257912)])
def test_lung_in_four_groups(lung, width, chisq):
    """By ECOG score; one user alone has a score of 3."""
    from lifelines.datasets import load_lung
    from scipy.stats import chi2, f

    score = load_lung()["ph.ecog"]
    groups = [lung_group(lung, score == k, width) for k in range(4)]
    found = logrank([replace(group, cells=None) for group in groups])
    assert found.df == 3 and found.statistic == pytest.approx(chisq, abs=1e-8)
    assert found.pvalue == pytest.approx(chi2.sf(chisq, 3), rel=1e-8)
    if width == 1:  # R: rscore, by institution (18, and one user without), of the first three
        by_account = logrank(groups[:3])
        assert by_account.statistic * 18 / 17 == pytest.approx(5.7592551615, abs=1e-6)
        assert by_account.pvalue == pytest.approx(f.sf(by_account.statistic / 2, 2, 17), rel=1e-9)
        assert np.isnan(logrank(groups).pvalue)  # one user is not ten accounts


def test_one_side_without_an_activation_has_a_logrank_test():
    """x: one activates on each of 40 days, 20 wait on; y: 50 users, none activates. Accounts: 22 of
    five users in a row, in x and y.
    """
    from scipy.special import stdtrit

    days, status, channel = (
        [*range(1, 41), *[45] * 70],
        [1] * 40 + [0] * 70,
        ["x"] * 60 + ["y"] * 50,
    )
    ask = ASK | {"competing": None, "by": "channel", "horizon": "45d"}
    result = time_to_activation(clocked(days, status, channel), **ask, reference="y")
    row = result.contrasts.iloc[0]
    # R: chisq 52.408959125488
    assert row["logrank_pvalue"] == pytest.approx(4.50663297682e-13, rel=1e-9)
    assert row["rmst_difference_days"] == pytest.approx(-sum(45 - t for t in range(1, 41)) / 60)
    assert row[["hazard_ratio", "risk_ratio", "ph_pvalue"]].isna().all()
    assert row["rmst_difference_days_ci_upper"] < 0 and row["qvalue"] < 0.001
    assert result.details[0].startswith(
        "Segment x is faster than y: within 45 days of start 66.7 % ("
    )
    # Wilson's upper limit of 0 of 50: z^2 / (50 + z^2)
    assert (
        "reach active, against 0.0 % (0.0 to 7.1); on average its users spend 16.3 ("
        in (result.details[0])
    )
    turned = time_to_activation(
        clocked(days, status, channel), **ask, reference="x"
    )  # 18 would be expected at everybody's rate: compared with nobody, but told of
    assert (
        turned.contrasts["logrank_pvalue"].isna().all()
        and "In y none of 50 users reach active." in turned.details[0]
    )
    by_account = time_to_activation(
        clocked(days, status, channel, [f"c{i // 5}" for i in range(110)]), **ask, reference="y"
    ).contrasts.iloc[0]
    assert stdtrit(21, by_account["logrank_pvalue"] / 2) ** 2 * 22 / 21 == pytest.approx(
        8.9776229477, abs=1e-6
    )  # R: rscore
    assert (
        compare_hazards([(steps_of([3, 4], [0, 0]), steps_of([3, 4], [0, 0]))]) == {}
    )  # without any event there is no test


def test_lung_curve_and_mean_by_institution(lung):
    expected = {
        False: ([0.0147488242203, 0.0357098735465, 0.0605705737621], 8.9985948371),
        True: ([0.0246502883861, 0.0354709019855, 0.0458139309685], 9.8888497381),
    }
    groups = {}
    for man, (curve, mean) in expected.items():
        groups[man] = group = lung_group(lung, lung["man"] == man)
        assert [
            stats.at_time(group.steps, day, "rate_se") for day in (60, 180, 360)
        ] == pytest.approx(curve, abs=1e-10)
        assert group.mean(365)[1] == pytest.approx(mean, abs=1e-9)
        assert group.design_effect == pytest.approx(
            (
                group.share(group.last)[1]
                / stats.at_time(
                    steps_of(*lung.loc[lung["man"] == man, ["time", "status"]].T.to_numpy()),
                    group.last,
                    "rate_se",
                )
            )
            ** 2
        )
    difference, _, high, _ = compare_days([(groups[True], groups[False])], 365)
    assert (high - difference) / survival_groups.critical(list(groups.values())) == pytest.approx(
        12.9497387935, abs=1e-8
    )


def test_lung_with_every_third_death_read_as_an_exit(lung):
    """Standard errors by institution from R's multi-state influence; cmprsk's variance (Aalen's) is
    another formula and lies near.
    """
    cases = lung.assign(
        event=np.where(
            (lung["status"] == 1) & ((np.arange(len(lung)) + 1) % 3 == 0), 2, lung["status"]
        )
    )
    expected = {
        False: (
            [0.0105177650, 0.0210309193, 0.0464662174],
            6.5369860481,
            [0.0111111111111, 0.0901135405821, 0.255940337803],
            [0.000123472376134, 0.000935596052941, 0.00259269162271],
        ),
        True: (
            [0.0200292353, 0.0265508694, 0.0500906144],
            8.6076474285,
            [0.0797101449275, 0.2537773666358, 0.448409820905],
            [0.000535591347441, 0.00138526192812, 0.00201418463957],
        ),
    }
    for man, (errors, lost, share, variance) in expected.items():
        group = lung_group(cases, cases["man"] == man, event="event")
        assert [group.share(day)[1] for day in (60, 180, 360)] == pytest.approx(errors, abs=1e-9)
        assert group.mean(365)[1] == pytest.approx(lost, abs=1e-8)
        alone = steps_of(
            cases.loc[cases["man"] == man, "time"], cases.loc[cases["man"] == man, "event"]
        )
        assert [stats.at_time(alone, day) for day in (60, 180, 360)] == pytest.approx(
            share, abs=1e-11
        )
        assert [
            stats.at_time(alone, day, "rate_se") ** 2 for day in (60, 180, 360)
        ] == pytest.approx(variance, rel=0.03)


def test_lung_with_delayed_entry(lung):
    order = np.arange(1, len(lung) + 1)
    cases = lung.assign(entry=np.where(order % 2 == 0, order * 7 % 120, 0)).query("entry < time")
    groups = []
    for man in (True, False):
        mine = cases[cases["man"] == man]
        late = mine.loc[mine["entry"] > 0, "entry"]
        hit = np.r_[mine["status"] == 1, np.zeros(len(late))]
        seen = np.r_[mine["status"] == 0, np.zeros(len(late))]
        groups.append(
            stats.incidence(
                np.r_[mine["time"], late],
                hit,
                seen,
                None,
                np.r_[np.zeros(len(mine)), np.ones(len(late))],
            )
        )
    expected = [
        (
            [0.905586352126, 0.661252880002, 0.364547992881],
            [0.0300589581262, 0.0428894846699, 0.0451667502308],
            (246.854458708, 11.0751692376),
        ),
        (
            [0.975609756098, 0.836403143574, 0.556437696532],
            [0.0240909657719, 0.0440997394829, 0.0599084083194],
            (294.703736879, 12.8897914955),
        ),
    ]
    for steps, (left, errors, mean) in zip(groups, expected):
        assert [1 - stats.at_time(steps, day) for day in (60, 180, 360)] == pytest.approx(
            left, abs=1e-11
        )
        assert [stats.at_time(steps, day, "rate_se") for day in (60, 180, 360)] == pytest.approx(
            errors, abs=1e-11
        )
        assert stats.restricted_mean(steps, 365) == pytest.approx(mean, abs=1e-8)
    found = compare_hazards([tuple(groups)])
    assert np.log(found["hazard_ratio"]) == pytest.approx(0.4807695281, abs=1e-8)
    assert np.log(
        found["hazard_ratio_ci_upper"] / found["hazard_ratio"]
    ) / stats.Z == pytest.approx(0.1716444704, abs=1e-8)
    assert found["ph_pvalue"] == pytest.approx(0.1937536478, abs=1e-7)
    from scipy.stats import chi2

    assert chi2.isf(found["logrank_pvalue"], 1) == pytest.approx(7.9961780188, abs=1e-8)


def test_lung_in_two_strata(lung):
    from lifelines.datasets import load_lung
    from scipy.stats import chi2

    cases = (
        load_lung()
        .assign(man=lung["man"], slow=lambda d: d["ph.ecog"] > 0)
        .dropna(subset=["ph.ecog"])
    )
    pairs = [
        tuple(
            steps_of(part.loc[part["man"] == man, "time"], part.loc[part["man"] == man, "status"])
            for man in (True, False)
        )
        for _, part in cases.groupby("slow")
    ]
    found = compare_hazards(pairs)
    assert np.log(found["hazard_ratio"]) == pytest.approx(0.5439655196, abs=1e-8)
    assert np.log(
        found["hazard_ratio_ci_upper"] / found["hazard_ratio"]
    ) / stats.Z == pytest.approx(0.1689072699, abs=1e-8)
    assert "ph_pvalue" not in found
    assert chi2.isf(found["logrank_pvalue"], 1) == pytest.approx(10.6040816547, abs=1e-7)


# ---------------------------------------- against lifelines on rows, and loops


def test_counts_give_what_lifelines_gives_on_rows():
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test
    from lifelines.utils import restricted_mean_survival_time

    rng = np.random.default_rng(3)
    x = rng.random(600) < 0.4
    life, view = rng.exponential(np.where(x, 14, 9)), rng.uniform(0, 30, 600)
    days, event = np.minimum(life, view).astype(int), life <= view  # whole days: many ties
    groups = [steps_of(days[g], event[g].astype(int)) for g in (x, ~x)]
    km = KaplanMeierFitter().fit(days[x], event[x])
    band = km.confidence_interval_survival_function_.to_numpy()
    seen = groups[0][groups[0]["time"] > 0]
    at = km.survival_function_.index.get_indexer(seen["time"])
    np.testing.assert_allclose(1 - seen["rate"], km.survival_function_.to_numpy()[at, 0], rtol=1e-9)
    np.testing.assert_allclose(1 - seen[["rate_ci_upper", "rate_ci_lower"]], band[at], rtol=1e-9)
    found = compare_hazards([tuple(groups)])
    assert found["logrank_pvalue"] == pytest.approx(
        logrank_test(days[x], days[~x], event[x], event[~x]).p_value, rel=1e-9
    )
    cox = CoxPHFitter().fit(
        pd.DataFrame({"days": days, "event": event, "x": x.astype(float)}),
        "days",
        "event",
        fit_options={"precision": 1e-10},
    )
    assert np.log(found["hazard_ratio"]) == pytest.approx(cox.params_["x"], abs=1e-6)
    assert found["hazard_ratio_ci_lower"] == pytest.approx(
        np.exp(cox.confidence_intervals_.iloc[0, 0]), abs=1e-6
    )
    # the estimate agrees; lifelines' variance is that of one user's restricted time, not of
    # the mean
    mean, variance = restricted_mean_survival_time(km, t=15, return_variance=True)
    found_mean, se = stats.restricted_mean(groups[0], 15)
    assert found_mean == pytest.approx(mean, rel=1e-9)
    assert variance > 50 * se**2


def share_by_hand(rows, day):
    """Kaplan and Meier's share with an event by then, and Greenwood's error, time by time."""
    waiting, spread = 1.0, 0.0
    for now, part in rows[rows["days"] <= day + 1e-9].groupby("days"):
        n, d = (rows["days"] >= now).sum(), part["event"].sum()
        waiting *= 1 - d / n
        spread += d / (n * (n - d))
    return 1 - waiting, waiting * spread**0.5


LONG = pytest.mark.simulation


@pytest.mark.parametrize(
    ("per_day", "competing"),
    [
        (120, None),
        (DAY, "exit"),
        pytest.param(120, "exit", marks=LONG),
        pytest.param(DAY, None, marks=LONG),
    ],
)
def test_five_segments_of_a_log_give_what_lifelines_gives_on_rows(competing, per_day, monkeypatch):
    """From events to tables; lifelines gets one row a user, its duration exact (microseconds) or,
    as in a large log, floored to 12 minutes, 120 of a day.
    """
    from lifelines import CoxPHFitter, KaplanMeierFitter
    from lifelines.statistics import logrank_test, multivariate_logrank_test
    from lifelines.utils import qth_survival_times, restricted_mean_survival_time
    from scipy.stats import chi2

    if per_day == 120:
        coarse(monkeypatch)
    rng = np.random.default_rng(21)
    group = rng.choice(list("abcde"), 2500, p=[0.4, 0.2, 0.2, 0.1, 0.1])
    scale = pd.Series({"a": 40, "b": 30, "c": 55, "d": 25, "e": 45})[group].to_numpy()
    hit, leave, view = (
        scale * rng.weibull(0.8, 2500),
        rng.exponential(200, 2500),
        rng.uniform(1, 130, 2500),
    )
    days = np.minimum(hit, view) if competing is None else np.minimum(np.minimum(hit, leave), view)
    status = np.select([days == hit, days == leave], [1, 2], 0)
    units = np.floor(days * per_day).astype(int)
    half = (
        0.5 if per_day == 120 else 0.0
    )  # of 12 minutes, so that no rounding of times reaches the next one
    result = time_to_activation(
        clocked((units + half) / per_day, status, list(group)),
        **ASK | {"competing": competing},
        by="channel",
        horizon="90d",
    )
    assert ("times in steps of 12 minutes" in result.rule) == (per_day == 120)
    inside = units < 90 * per_day
    rows = pd.DataFrame(
        {
            "days": np.minimum(units, 90 * per_day) / per_day,
            "event": (status == 1) & inside,
            "exit": (status == 2) & inside,
            "segment": group,
        }
    )
    assert (rows.loc[rows["event"], "days"].duplicated().sum() > 50) == (
        per_day == 120
    )  # ties among the events
    for segment, part in rows.groupby("segment"):
        curve, summary = (
            result.curve.query("segment == @segment"),
            result.summary.set_index("segment").loc[segment],
        )
        grid = (
            np.arange(181) / 2
        )  # a row every half a day, while ten or more users wait for at least so long
        known = grid[[(part["days"] > day - 1e-9).sum() >= 10 for day in grid]]
        last = min(90, np.sort(part["days"])[-10])  # to which the tenth last was followed
        assert (
            summary["horizon_days"] == pytest.approx(last, abs=1e-9)
            and len(known) > 100
            and curve.loc[curve["days"].isin(grid), "days"].tolist() == known.tolist()
        )
        assert curve["n_at_risk"].min() >= 10
        assert (
            curve["n_at_risk"].to_numpy()
            == [(part["days"] > day - 1e-9).sum() for day in curve["days"]]
        ).all()
        waiting, rate, wait, shares = 1.0, 0.0, last, {}
        for day, now in part[part["days"] <= last].groupby("days"):
            n = (part["days"] >= day).sum()  # Aalen and Johansen's, user by user
            rate, wait, waiting = (
                rate + waiting * now["event"].sum() / n,
                wait - (last - day) * waiting * now["event"].sum() / n,
                waiting * (1 - (now["event"] | now["exit"]).sum() / n),
            )
            shares[day] = rate
        assert summary["activated_rate"] == pytest.approx(rate, abs=1e-12) and summary[
            "rmst_days"
        ] == pytest.approx(wait, rel=1e-12)
        at = np.searchsorted(list(shares), curve["days"] + 1e-9, side="right")
        np.testing.assert_allclose(
            curve["activated_rate"], np.r_[0.0, list(shares.values())][at], atol=1e-12
        )
        if competing is None:
            km = KaplanMeierFitter().fit(part["days"], part["event"])
            np.testing.assert_allclose(
                1 - curve["activated_rate"], km.predict(curve["days"] + 1e-9), atol=1e-9
            )  # the same floats, less or more a rounding
            band = km.confidence_interval_survival_function_
            begun = curve["activated_rate"] > 0
            at = band.index.searchsorted(curve.loc[begun, "days"] + 1e-9, side="right") - 1
            np.testing.assert_allclose(
                1 - curve.loc[begun, ["activated_rate_ci_upper", "activated_rate_ci_lower"]],
                band.to_numpy()[at],
                atol=1e-9,
            )
            assert summary["rmst_days"] == pytest.approx(
                restricted_mean_survival_time(km, t=last), rel=1e-9
            )
            for name, share in (("p25", 0.25), ("median", 0.5), ("p75", 0.75)):
                found = summary[[f"{name}_days{end}" for end in ("", "_ci_lower", "_ci_upper")]]
                ends = qth_survival_times(1 - share, band)
                expected = np.array([km.percentile(1 - share), *ends.to_numpy()[0]])
                expected[expected > last] = np.nan  # beyond what may be read
                np.testing.assert_allclose(found.astype(float), expected, atol=1e-9)
    assert (
        list(result.contrasts["segment"]) == list(rows["segment"].value_counts().index[1:])
        and (result.contrasts["reference"] == "a").all()
    )
    every = multivariate_logrank_test(rows["days"], rows["segment"], rows["event"])
    found = result.overall.iloc[0]
    assert found["df"] == every.degrees_of_freedom == 4
    assert found["statistic"] == pytest.approx(every.test_statistic, rel=1e-8)
    assert found["pvalue"] == pytest.approx(every.p_value, rel=1e-6)
    for row in result.contrasts.itertuples():
        pair = rows[rows["segment"].isin([row.segment, "a"])].assign(
            x=lambda r, segment=row.segment: (r["segment"] == segment).astype(float)
        )
        one, other = pair[pair["x"] == 1], pair[pair["x"] == 0]
        if competing is None:
            (share, error), (share_0, error_0) = (
                share_by_hand(side, row.horizon_days) for side in (one, other)
            )
            assert row.difference_rate == pytest.approx(share - share_0, abs=1e-9)
            width = stats.Z * np.hypot(error, error_0)
            assert row.difference_rate_ci_upper == pytest.approx(share - share_0 + width, abs=1e-9)
            width = stats.Z * np.hypot(error / share, error_0 / share_0)
            assert [row.risk_ratio_ci_lower, row.risk_ratio, row.risk_ratio_ci_upper] == (
                pytest.approx(share / share_0 * np.exp([-width, 0, width]), rel=1e-9)
            )
        test = logrank_test(one["days"], other["days"], one["event"], other["event"])
        assert chi2.isf(row.logrank_pvalue, 1) == pytest.approx(test.test_statistic, rel=1e-6)
        cox = CoxPHFitter().fit(
            pair[["days", "event", "x"]], "days", "event", fit_options={"precision": 1e-10}
        )
        assert np.log(row.hazard_ratio) == pytest.approx(cox.params_["x"], abs=1e-5)
        assert np.log(row.hazard_ratio_ci_upper / row.hazard_ratio) / stats.Z == pytest.approx(
            cox.standard_errors_["x"], abs=1e-4
        )


COUNTS = st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(COUNTS, st.sampled_from([1, 1000]))
def test_cox_on_counts_solves_efrons_equations_event_by_event(table, times):
    """Per time: events and censored of the one group, of the other. The score at the estimate is 0,
    summed over single events, and so is its slope.
    """
    counts = times * np.array(table)
    n_1, n_0 = (counts[:, k : k + 2].sum(axis=1)[::-1].cumsum()[::-1] for k in (0, 2))
    groups = [
        stats.incidence(np.arange(len(counts)), counts[:, k], counts[:, k + 1]) for k in (0, 2)
    ]
    found = compare_hazards([tuple(groups)])
    after, before = any((counts[:, 2] > 0) & (n_1 > 0)), any((counts[:, 0] > 0) & (n_0 > 0))
    assert ("hazard_ratio" in found) == (after and before)  # else the likelihood rises without end
    if "hazard_ratio" not in found:
        return
    score = slope = 0.0
    for at_risk_1, at_risk_0, d_1, d_0 in zip(n_1, n_0, counts[:, 0], counts[:, 2]):
        gone = np.arange(d_1 + d_0) / max(d_1 + d_0, 1)
        one, other = (at_risk_1 - gone * d_1) * found["hazard_ratio"], at_risk_0 - gone * d_0
        p = one / (one + other)
        score, slope = score + d_1 - p.sum(), slope + (p * (1 - p)).sum()
    assert score / slope == pytest.approx(0, abs=1e-8)
    assert np.log(
        found["hazard_ratio_ci_upper"] / found["hazard_ratio"]
    ) / stats.Z == pytest.approx(slope**-0.5, rel=1e-8)


def test_incidence_and_restricted_mean_equal_loops():
    rng = np.random.default_rng(5)
    days, status = rng.integers(0, 12, 300), rng.choice([0, 1, 2], 300, p=[0.3, 0.4, 0.3])
    waiting, rate, area, before = 1.0, 0.0, 0.0, 0
    steps = steps_of(days, status)
    for day in sorted(set(days)):
        n = (days >= day).sum()
        area, before = area + (day - before) * rate, day
        rate += waiting * ((days == day) & (status == 1)).sum() / n
        waiting *= 1 - ((days == day) & (status > 0)).sum() / n
        assert stats.at_time(steps, day) == pytest.approx(rate, abs=1e-12)
    assert stats.restricted_mean(steps, 11)[0] == pytest.approx(
        11 - area
    )  # the last step is on day 11

    single = steps_of(days, status % 2)
    variance = 0.0
    for row in single[
        single["time"] < 11
    ].itertuples():  # survRM2: squared area right of t_i, times Greenwood's term
        right = sum(1 - stats.at_time(single, t) for t in range(int(row.time), 11))
        variance += right**2 * row.n_event / (row.n_at_risk * (row.n_at_risk - row.n_event))
    assert stats.restricted_mean(single, 11)[1] == pytest.approx(variance**0.5)


def test_standard_error_of_the_restricted_mean_with_exits_equals_the_bootstrap():
    rng = np.random.default_rng(8)
    days, status = rng.integers(1, 13, 400), rng.choice([0, 1, 2], 400, p=[0.3, 0.4, 0.3])
    draws = []
    for _ in range(1500):
        pick = rng.integers(0, 400, 400)
        d, s = (np.bincount(days[pick][status[pick] == k], minlength=13) for k in (1, 2))
        n = np.bincount(days[pick], minlength=13)[::-1].cumsum()[::-1]
        waiting = np.r_[1, np.cumprod(1 - (d + s) / n)[:-1]]
        draws.append(((12 - np.arange(13)) * waiting * d / n).sum())
    assert stats.restricted_mean(steps_of(days, status), 12)[1] == pytest.approx(
        np.std(draws), rel=0.06
    )  # error of the bootstrap itself: 1.8 %
