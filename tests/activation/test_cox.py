"""Other things equal: R, lifelines on rows, a planted confounder, strata, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from mctlib import stats
from mctlib.activation import cox, time_to_activation
from mctlib.activation.cox import adjusted_hazards
from mctlib.contract import ParameterError
from tests.support.clocks import clocks, coarse
from tests.support.logs import log_of, people_of

ASK = {"start": "start", "activation": "active", "as_of": "2026-07-01T00:00:00Z"}


def width(table, column="hazard_ratio"):
    """Half of an interval of a ratio, on the log scale."""
    return np.log(table[f"{column}_ci_upper"] / table[column])


# ------------------------------------------------ against R (tests/reference/activation.R)


def lung_counts(days=1, *, accounts=False, late=False):
    """`lung` as counts, times floored to so many days; every other row in view late."""
    from lifelines.datasets import load_lung

    rows = load_lung().dropna(subset=["ph.ecog"]).query("`ph.ecog` <= 2").reset_index(drop=True)
    order = np.arange(1, len(rows) + 1)
    entry = np.where(order % 2 == 0, order * 7 % 120, 0)
    counts = pd.DataFrame(
        {
            "outcome": np.where(rows["status"] == 1, "activated", "censored"),
            "units": (rows["time"] // days * days).astype(int),
            "n_users": 1,
            "segment": np.where(rows["sex"] == 1, "man", "woman"),
            "adjust ecog": rows["ph.ecog"].astype(int).astype(str),
            "stratum": np.where(rows["age"] > 65, "old", "young"),
        }
    )
    if accounts:
        counts["account"] = rows["inst"].fillna(40).astype(int)
    if late:
        counts = counts.assign(entry=entry)[entry < rows["time"]]
    return counts


LUNG = {"sex": "segment", "ecog": "adjust ecog"}


@pytest.mark.parametrize(
    ("days", "coef", "se", "robust", "drift"),
    [
        (
            1,
            [0.5839182250, -0.4214275105, 0.4967363344],
            [0.1708104164, 0.2042160508, 0.1902584929],
            [0.1060066259, 0.1065421465, 0.1922367804],
            [0.1747989100, 0.5863579972, 0.0671613077],
        ),
        (
            28,
            [0.6000319995, -0.4238557574, 0.5049211154],
            [0.1709404372, 0.2041450797, 0.1901306312],
            [0.1096362616, 0.1026479150, 0.1883766552],
            [0.2104311529, 0.6080961302, 0.0561523750],
        ),
    ],
)
def test_lung_adjusted_and_stratified_with_few_and_many_ties(days, coef, se, robust, drift):
    table, caveats = adjusted_hazards(lung_counts(days), LUNG, "woman")
    names = table[["covariate", "level", "reference", "n_users"]].to_numpy().tolist()
    assert names == [
        ["sex", "man", "woman", 136],
        ["ecog", "0", "1", 63],
        ["ecog", "2", "1", 50],
    ]
    np.testing.assert_allclose(np.log(table["hazard_ratio"]), coef, atol=1e-8)
    np.testing.assert_allclose(width(table) / stats.Z, se, atol=1e-8)
    np.testing.assert_allclose(table["ph_pvalue"], drift, atol=1e-7)
    assert not caveats and (table["qvalue"] >= table["pvalue"]).all()
    by_account, _ = adjusted_hazards(lung_counts(days, accounts=True), LUNG, "woman")
    factor = stdtrit(18, 0.975) * (19 / 18) ** 0.5  # R gives the plain sum of squares and 1.96
    np.testing.assert_allclose(width(by_account) / factor, robust, atol=1e-8)


def test_lung_adjusted_with_late_entry():
    counts = lung_counts(accounts=True, late=True)
    assert len(counts) == 216
    table, _ = adjusted_hazards(counts, LUNG, "woman")
    coef, robust = [0.5252130119, -0.3742553637, 0.4429652606], [0.1086309675, 0.1129455930]
    np.testing.assert_allclose(np.log(table["hazard_ratio"]), coef, atol=1e-8)
    factor = stdtrit(18, 0.975) * (19 / 18) ** 0.5
    np.testing.assert_allclose(width(table)[:2] / factor, robust, atol=1e-8)


# ------------------------------------------------ against lifelines, a row a user


def draw(seed):
    """1,200 users: creators 0.7 times as soon, paid 2.8 times, most creators paid.

    So the crude ratio of creators says that they are sooner. Two courses of time.
    """
    rng, n = np.random.default_rng(seed), 1200
    creator = rng.random(n) < 0.4
    paid = rng.random(n) < np.where(creator, 0.9, 0.15)
    web = rng.random(n) < 0.5
    speed = np.where(creator, 0.7, 1) * np.where(paid, 2.8, 1)
    shape = np.where(web, 0.7, 2.5)
    life = np.where(web, 8, 25) * rng.weibull(shape, n) / speed ** (1 / shape)
    view = rng.uniform(5, 60, n)
    return pd.DataFrame(
        {
            "days": np.round(np.minimum(life, view), 6),
            "hit": life <= view,
            "channel": np.where(creator, "creator", "organic"),
            "plan": np.where(paid, "paid", "free"),
            "revenue": np.where(web, "1", "2"),
            "account_id": rng.integers(0, 150, n).astype(str),
        }
    )


@pytest.fixture(scope="module")
def world():
    return draw(31)


def ask(world, *, accounts=False, entry=None, **options):
    columns = ["channel", "plan", "revenue", *(["account_id"] if accounts else [])]
    people = people_of(len(world), **{c: list(world[c]) for c in columns})
    log = log_of(clocks(world["days"], world["hit"], entry=entry, far=400), people=people)
    ask = ASK | {"by": "channel", "reference": "organic", "horizon": "90d", "adjust": ["plan"]}
    return time_to_activation(log, **ask | options)


def on_rows(world, **options):
    from lifelines import CoxPHFitter

    rows = pd.DataFrame(
        {
            "days": world["days"],
            "hit": world["hit"],
            "creator": (world["channel"] == "creator").astype(float),
            "paid": (world["plan"] == "paid").astype(float),
            "platform": world["revenue"],
            "account": world["account_id"],
        }
    )
    used = ["days", "hit", "creator", "paid", *options.values()]
    return CoxPHFitter().fit(rows[used], "days", "hit", fit_options={"precision": 1e-10}, **options)


def test_a_planted_confounder_is_taken_out_and_lifelines_agrees(world):
    result = ask(world, strata="revenue")
    crude, table = result.contrasts.iloc[0], result.adjusted.set_index("covariate")
    assert crude["hazard_ratio_ci_lower"] > 1  # creators look sooner, being paid more often
    row = table.loc["channel"]
    assert row["hazard_ratio_ci_lower"] < 0.7 < row["hazard_ratio_ci_upper"] < 1
    rows = on_rows(world, strata="platform")
    assert np.log(row["hazard_ratio"]) == pytest.approx(rows.params_["creator"], abs=1e-5)
    assert width(table).loc["channel"] / stats.Z == pytest.approx(
        rows.standard_errors_["creator"], abs=1e-5
    )
    assert "creator later than organic (hazard ratio 0." in result.details[1]
    held = "channel and plan; within each revenue"
    assert result.details[1].startswith(f"Other things equal ({held}): ")


def test_without_strata_the_two_courses_are_flagged(world):
    """As a covariate, what has another course of time fails the test; as strata it cannot."""
    held = ask(world, adjust=["plan", "revenue"])
    drift = held.adjusted.set_index("covariate")["ph_pvalue"]
    assert drift["revenue"] < 1e-6
    text = [c for c in held.caveats if c.startswith("Other things equal, these ratios of hazards")]
    assert len(text) == 1 and "revenue" in text[0]
    apart = ask(world, strata="revenue").adjusted
    assert apart["covariate"].tolist() == ["channel", "plan"]


def test_errors_by_account_are_those_of_lifelines(world):
    table = ask(world, accounts=True).adjusted
    rows = on_rows(world, cluster_col="account")
    g = world["account_id"].nunique()
    factor = stdtrit(g - 1, 0.975) * (g / (g - 1)) ** 0.5
    np.testing.assert_allclose(
        width(table)[0] / factor, rows.standard_errors_["creator"], atol=1e-5
    )


def test_late_entry_is_that_of_lifelines(world):
    from lifelines import CoxPHFitter

    entry = np.where(np.arange(len(world)) % 3 == 0, 2.0, 0.0)
    result = ask(world, entry=entry, observed_from="seen", adjust=["plan"])
    rows = world[world["days"] > entry].assign(
        entry=entry[world["days"] > entry],
        creator=lambda d: (d["channel"] == "creator").astype(float),
        paid=lambda d: (d["plan"] == "paid").astype(float),
    )
    fitted = CoxPHFitter().fit(
        rows[["days", "hit", "entry", "creator", "paid"]], "days", "hit", entry_col="entry"
    )
    assert np.log(result.adjusted["hazard_ratio"][0]) == pytest.approx(
        fitted.params_["creator"], abs=1e-5
    )


def test_a_shorter_table_for_lifelines_gives_the_same_answer(world, monkeypatch):
    whole = ask(world, strata="revenue").adjusted
    monkeypatch.setattr(cox, "MOST_ROWS", 60)
    short = ask(world, strata="revenue").adjusted
    pd.testing.assert_frame_equal(whole, short, rtol=1e-9)
    monkeypatch.setattr(cox, "MOST_ROWS", 3)
    with pytest.raises(ParameterError, match="too many combinations"):
        ask(world, strata="revenue")


def test_daily_ties_and_a_large_log_give_what_lifelines_gives_on_rows(world, monkeypatch):
    """Users of one row of the table are so many deaths, not one."""
    coarse(monkeypatch)
    daily = world.assign(days=np.floor(world["days"]) + 0.01)
    rows = on_rows(daily.assign(days=np.floor(world["days"])))
    table = ask(daily).adjusted
    assert np.log(table["hazard_ratio"][0]) == pytest.approx(rows.params_["creator"], abs=1e-5)


@pytest.mark.simulation
def test_the_truth_lies_in_its_interval_and_proportional_hazards_raise_no_alarm():
    """400 data sets; bands as in tests/calibration.py."""
    inside, alarm = np.zeros(400, bool), np.zeros((400, 2), bool)
    for seed in range(400):
        world = draw(seed)
        counts = pd.DataFrame(
            {
                "outcome": np.where(world["hit"], "activated", "censored"),
                "units": (world["days"] * 1e6).astype(int),
                "n_users": 1,
                "segment": world["channel"],
                "plan": world["plan"],
                "stratum": world["revenue"],
            }
        )
        table, _ = adjusted_hazards(counts, {"by": "segment", "plan": "plan"}, "organic")
        low, high = table.loc[0, ["hazard_ratio_ci_lower", "hazard_ratio_ci_upper"]]
        inside[seed] = low < 0.7 < high
        alarm[seed] = table["ph_pvalue"] < 0.05
    assert 0.915 <= inside.mean() <= 0.98
    assert (alarm.mean(axis=0) <= 0.05 + 2.5 * (0.05 * 0.95 / 400) ** 0.5).all()


# ------------------------------------------------ what is left out, refused, or empty


def test_small_levels_are_taken_together_or_left_out(world):
    rng = np.random.default_rng(5)
    many = world.assign(plan=np.where(rng.random(len(world)) < 0.2, "x", world["plan"]))
    few = many["plan"] == "x"
    many.loc[few, "plan"] = [f"x{i % 9}" for i in range(few.sum())]
    result = ask(many)
    assert "small levels (9)" in set(result.adjusted["level"])
    assert (
        "Other things equal: 9 of 11 values of plan have fewer than 30 activations and are taken "
        'together as "small levels (9)".'
    ) in result.caveats
    one = world.assign(plan=["x" if i < 20 else p for i, p in enumerate(world["plan"])])
    said = [c for c in ask(one).caveats if c.startswith("Other things equal: 1 of 3 values")]
    assert said[0].endswith("are left out (20 users).")


def test_who_is_left_out_is_told_by_no_difference(world):
    """6 users of plan x, half of them creators: neither 6 nor 3 may follow from any number."""
    few = [*world.index[(c := world["channel"] == "creator")][:3], *world.index[~c][:3]]
    result = ask(world.assign(plan=world["plan"].mask(world.index.isin(few), "x")))
    said = [c for c in result.caveats if c.startswith("Other things equal: 1 of 3 values")]
    assert said[0].endswith("are left out (fewer than 10 users).")
    users = result.summary.set_index("segment")["n_users"]
    compared = result.adjusted.loc[0]
    assert compared["n_users"] == users[compared["level"]]


def test_nothing_to_hold_equal_gives_an_empty_table(world):
    result = ask(world, adjust=())
    assert result.adjusted.empty and list(result.adjusted) == cox.COLUMNS and not result.details[1:]
    assert "adjusted" in result.tables
    alone = ask(world, by=None, reference=None, adjust=["plan"]).adjusted
    assert alone["covariate"].tolist() == ["plan"]
    assert ask(world, by=None, reference=None, adjust=(), strata="plan").adjusted.empty


def test_with_few_accounts_there_are_no_intervals(world):
    few = world.assign(account_id=[str(i % 9) for i in range(len(world))])
    table = ask(few, accounts=True).adjusted
    assert table["hazard_ratio"].notna().all()
    assert table.filter(regex="_ci_|pvalue|qvalue").drop(columns="ph_pvalue").isna().all(axis=None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adjust": ["channel"]}, '"channel" is asked for twice'),
        ({"strata": "plan"}, '"plan" is asked for twice'),
        ({"adjust": ["account_id"]}, '"account_id" holds ids'),
        ({"adjust": ["plam"]}, 'Did you mean "plan"'),
    ],
)
def test_wrong_columns(world, options, words):
    with pytest.raises(ParameterError, match=words):
        ask(world, **options)


def test_columns_that_say_the_same_and_too_many_levels_are_refused(world, monkeypatch):
    same = world.assign(revenue=np.where(world["plan"] == "paid", "1", "2"))
    with pytest.raises(ParameterError, match="two columns say the same"):
        ask(same, adjust=["plan", "revenue"])
    with pytest.raises(ParameterError, match="two columns say the same"):
        ask(same, adjust=["plan"], strata="revenue")
    monkeypatch.setattr(cox, "MOST_LEVELS", 1)
    with pytest.raises(ParameterError, match="2 levels of channel, plan are to be compared; 1 is"):
        ask(world)
