"""One step, one number, wherever it is said; what is named; and how far a share is read."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest

from mctlib import phrases, plots
from mctlib.funnel.conversion import diagnose_funnel
from mctlib.funnel.drivers import drop_off_drivers
from mctlib.funnel.vendor_rules import compare_rules
from tests.support.logs import log_of
from tests.support.walks import row

matplotlib.use("Agg")
DAY = pd.Timedelta("1D")
START = pd.Timestamp("2026-01-01")


def ends(table, rate):
    return table[[rate, f"{rate}_ci_lower", f"{rate}_ci_upper"]].to_numpy(float)


@pytest.mark.parametrize("in_accounts", [False, True])
def test_a_steps_rate_has_one_interval_and_one_n_on_every_table_and_in_every_sentence(in_accounts):
    """600 users over 40 days, some of whom leave (and go on nevertheless, which counts for nobody),
    some of whom begin anew, seen while a third of the windows is open."""
    rng = np.random.default_rng(7)
    n = 600
    user, channel = np.array([f"u{i}" for i in range(n)]), rng.choice(["x", "y", "z"], n)
    entry = START + pd.to_timedelta(rng.uniform(0, 40, n), unit="D")
    frames = []
    for event, share, days in (("a", 1, 0), ("b", 0.7, 2), ("c", 0.4, 5), ("gone", 0.2, 6)):
        at = entry + pd.to_timedelta(rng.exponential(days, n) if days else np.zeros(n), unit="D")
        some = rng.random(n) < share
        frames.append(pd.DataFrame({"user": user, "event": event, "at": at})[some])
    anew = rng.random(n) < 0.2
    frames.append(pd.DataFrame({"user": user, "event": "a", "at": entry + 3 * DAY})[anew])
    rows = pd.concat(frames).itertuples(index=False, name=None)
    people = pd.DataFrame({"user_id": user, "channel": channel})
    if in_accounts:
        account = [f"acc{i % 50}" if i % 7 else None for i in range(n)]
        people = people.assign(account_id=account)
    log = log_of(list(rows), people=people)
    ask = {"steps": ["a", "b", "c"], "window": "14d", "as_of": "2026-02-10"}
    funnel = diagnose_funnel(log, **ask, by="channel", competing="gone")
    drivers = drop_off_drivers(log, **ask, step=3, segments="channel", competing="gone", events=[])
    last = row(funnel, 3)
    assert last["n_pending"] > 0 and last["n_competing"] > 0
    said = f"{phrases.users(last['n_closed'])} at {{}} with a closed window"
    share = phrases.share(last, "step_rate")
    assert f"of {said.format('the step before')} {share} go on" in funnel.details[0]
    assert f"Of {said.format('b')}, {share} go on to c" in drivers.details[0]
    segments = funnel.steps.query("step == 3 and segment != 'all'").set_index("segment")
    table = drivers.drivers.assign(segment=drivers.drivers["driver"].str.removeprefix("channel: "))
    segments = segments.loc[table["segment"]]
    assert table["n_with"].tolist() == segments["n_closed"].tolist()
    np.testing.assert_allclose(ends(table, "with_rate"), ends(segments, "step_rate"), rtol=1e-12)
    assert (table["n_with"] + table["n_without"]).tolist() == [last["n_closed"]] * 3

    plain = compare_rules(log, **ask).counts.query("tool == 'this workbook'")
    everyone = funnel.steps.query("segment == 'all'")
    assert plain["n_reached"].tolist() == everyone["n_reached"].tolist()
    np.testing.assert_allclose(
        ends(plain, "reached_rate"), ends(everyone, "naive_rate"), rtol=1e-12
    )


def test_who_left_before_the_landmark_is_not_compared():
    """40 of each: ann leaves before the landmark, of a day, bob after it, cem goes on later. All
    three did x at once; dee did nothing else. Whoever leaves does not go on any more."""
    rows = [
        *(("ann", e, d) for e, d in (("a", 0), ("x", 0.1), ("gone", 0.5), ("b", 3))),
        *(("bob", e, d) for e, d in (("a", 0), ("x", 0.1), ("gone", 2), ("b", 3))),
        *(("cem", e, d) for e, d in (("a", 0), ("x", 0.1), ("b", 3))),
        ("dee", "a", 0),
    ]
    log = log_of(
        [(f"{u} {i}", e, START + d * DAY) for u, e, d in rows for i in range(40)]
        + [("late", "x", START + 60 * DAY)]
    )
    ask = {"window": "10d", "as_of": "2026-02-01"}
    found = drop_off_drivers(log, ["a", "b"], **ask, competing="gone")
    (driver,) = found.drivers.itertuples()
    assert (driver.driver, driver.n_with, driver.n_without) == ("x", 80, 40)
    assert (driver.with_rate, driver.without_rate) == (0.5, 0)
    assert any("40 users who had left by then" in c for c in found.caveats)
    assert found.details[0].startswith("Of 160 users at a with a closed window, 25.0 % ")
    without = drop_off_drivers(log, ["a", "b"], **ask).drivers.set_index("driver")
    assert without.loc["x", ["n_with", "with_rate"]].tolist() == [120, 1]


def split(n, k):
    """Users by segment, of whom k go on; all windows closed."""
    rows = [(f"{s}{i}", "a", START, s) for s in n for i in range(n[s])]
    rows += [(f"{s}{i}", "b", START + DAY, s) for s in n for i in range(k[s])]
    return log_of(rows, "channel")


def test_a_segments_difference_by_hand():
    """x 64 of 200, y 90 of 200, z 66 of 200, and a few: against all others together."""
    n, k = {"x": 200, "y": 200, "z": 200, "few": 20}, {"x": 64, "y": 90, "z": 66, "few": 9}
    log = split(n, k)
    result = diagnose_funnel(log, ["a", "b"], window="3d", as_of="2026-02-01", by="channel")
    table = result.steps.query("step == 2").set_index("segment")
    z = []
    for segment in ("x", "y", "z"):
        ours, theirs = k[segment], sum(k.values()) - k[segment]
        rest = 620 - n[segment]
        want = confint_proportions_2indep(ours, n[segment], theirs, rest, method="newcomb")
        assert ends(table.loc[[segment]], "difference_rate")[0].tolist() == pytest.approx(
            [ours / n[segment] - theirs / rest, *want]
        )
        z.append(proportions_ztest([ours, theirs], [n[segment], rest])[0])
    # the test given its margins; Benjamini-Hochberg of three, of which y is the surest, then x
    p = 2 * norm.sf(np.abs(z) * np.sqrt(619 / 620))
    assert table.loc[["y", "x"], "qvalue"].tolist() == pytest.approx(
        [3 * p[1], min(1.5 * p[0], p[2])]
    )
    assert table["differs"].to_dict() == {
        "all": False,
        "x": False,
        "y": True,
        "z": False,
        "few": False,
    }
    assert table.loc[["all", "few"], "difference_rate"].isna().all()
    axes = plots.plot_funnel_segments(result.steps)
    assert axes.get_xlabel().endswith("hollow: may be chance")
    matplotlib.pyplot.close("all")
    y = phrases.points(table.loc["y"], "difference_rate")
    assert result.details[0].endswith(
        f"By segment, b is reached most in y, {phrases.share(table.loc['y'], 'conversion_rate')}, "
        f"{y} against the others."
    )


def test_harm_is_named_as_benefit_is():
    """Nobody of x goes on: that is no way out of the funnel but what they do."""
    log = split({"x": 100, "y": 300}, {"x": 0, "y": 90})
    ask = {"window": "3d", "as_of": "2026-02-01"}
    found = drop_off_drivers(log, ["a", "b"], **ask, segments="channel", events=[])
    assert 'most surely "channel: x": 0.0 % (0.0 to 3.7) with it go on' in found.details[0]
    assert "-30.0 points" in found.details[0] and "times as many" not in found.details[0]
    funnel = diagnose_funnel(log, ["a", "b"], **ask, by="channel")
    assert "reached least in x, 0.0 %" in funnel.details[0]


def test_segments_that_do_not_differ_are_not_named():
    log = split({"x": 200, "y": 200}, {"x": 60, "y": 66})
    ask = {"window": "3d", "as_of": "2026-02-01"}
    funnel = diagnose_funnel(log, ["a", "b"], **ask, by="channel")
    assert funnel.details[0].endswith("within 3 days. No segment clearly differs from the others.")
    found = drop_off_drivers(log, ["a", "b"], **ask, segments="channel", events=[])
    assert found.details[0].endswith("of 1 drivers tested, none stands out.")


# ------------------------------------------------------------------------------- as far as is known


def of_old_and_new(old, waits, n=500, seen=14):
    """Old users with their waits (None: never), and new ones, exponential waits of 40 days."""
    rng, end = np.random.default_rng(2), START + 120 * DAY
    rows = []
    for name, begun, wait in [
        *((f"o{i}", START, w) for i, w in zip(range(old), waits)),
        *((f"n{i}", end - seen * DAY, w) for i, w in enumerate(rng.exponential(40, n))),
    ]:
        rows.append((name, "a", begun))
        if wait is not None and begun + wait * DAY <= end:
            rows.append((name, "b", begun + wait * DAY))
    return log_of(rows), f"{end:%Y-%m-%d}T00:00:00Z"


@pytest.mark.parametrize(
    ("old", "waits"),
    [(15, np.linspace(1, 10, 15)), (1, [None]), (9, [60] * 9)],
    ids=["early ones", "one who waits", "nine who come late"],
)
def test_a_few_of_long_ago_do_not_speak_for_the_many_of_now(old, waits):
    """500 users seen for 14 days, window 90 days, truth within 14 days 30 %, within 90 89 %; what
    the old ones did is part of the truth."""
    log, as_of = of_old_and_new(old, waits)
    result = diagnose_funnel(log, ["a", "b"], window="90d", as_of=as_of)
    last = row(result, 2)
    assert np.isnan(last["conversion_rate"]) and last["horizon_days"] == 14
    early = sum(w is not None and w <= 14 for w in waits)
    truth = (500 * (1 - np.exp(-14 / 40)) + early) / (500 + old)
    assert last["horizon_rate_ci_lower"] < truth < last["horizon_rate_ci_upper"]
    share = phrases.share(last, "horizon_rate")
    assert f"{share} reached b so far, within 14 days; too few" in result.details[0]
    assert result.times["days"].max() <= 14
    words = [text.get_text() for text in plots.plot_funnel(result.steps).texts]
    assert words[1].endswith(f"{share} so far, within 14 days")
    assert plots.plot_funnel_times(result.times).get_xlim()[1] <= 14
    matplotlib.pyplot.close("all")
    quantiles = last[["p25_days", "median_days", "p75_days"]].to_numpy(float)
    assert (np.isnan(quantiles) | (quantiles <= 14)).all()


def test_a_segment_of_few_followed_users_is_not_ranked():
    """x and y have their windows behind them; z has come of late, and hardly anybody yet."""
    days = {"x": 0, "y": 0, "z": 115}
    rows = [(f"{s}{i}", "a", START + d * DAY, s) for s, d in days.items() for i in range(300)]
    for s, k in {"x": 90, "y": 150, "z": 3}.items():
        rows += [(f"{s}{i}", "b", START + (days[s] + 2) * DAY, s) for i in range(k)]
    log = log_of(rows, "channel")
    result = diagnose_funnel(
        log, ["a", "b"], window="30d", as_of="2026-05-01T00:00:00Z", by="channel"
    )
    assert np.isnan(row(result, 2, "z")["conversion_rate"])
    assert row(result, 2, "z")[["horizon_days", "horizon_rate"]].tolist() == [5, 0.01]
    assert " in z" not in result.details[0]
    assert "Too few were followed for the whole window, so not compared: z." in result.caveats
