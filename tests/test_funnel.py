"""The funnel: hand counts, a recomputation user by user, published intervals, cuts of a constant truth, and the demo's planted truth."""

import matplotlib
import numpy as np
import pandas as pd
import pytest

from mctlib import demo, plots
from mctlib import log as log_module
from mctlib.funnel import diagnose_funnel
from mctlib.journeys import ANY, Exclusion, Step
from mctlib.log import EventLog
from mctlib.store import ParameterError
from tests.test_journeys import attempt, first_entry_only

matplotlib.use("Agg")
DAY = pd.Timedelta("1D")
STEPS = ["signed_up", "profile_completed", "interview_scheduled"]


def make_log(rows, columns=("user_id", "event", "timestamp"), **tables):
    return EventLog.from_frame(pd.DataFrame(rows, columns=list(columns)), **tables)


def row(result, step, segment="all"):
    return result.steps.set_index(["segment", "step"]).loc[(segment, step)]


# ------------------------------------------------------------------------------------------------------------------------- hand counts

SIX = [
    ("ann", "signed_up", "2026-01-01"), ("ann", "profile_completed", "2026-01-02"), ("ann", "interview_scheduled", "2026-01-04"),
    ("bob", "signed_up", "2026-01-01"), ("bob", "profile_completed", "2026-01-05"), ("cem", "signed_up", "2026-01-10"),
]


def test_six_rows_by_hand():
    """Five days, seen up to the end of 12 January: cem is in the third day of the window and pending."""
    result = diagnose_funnel(make_log(SIX), STEPS, window="5d", as_of="2026-01-12")
    assert list(result.steps.columns) == [
        "segment", "step", "event", "n_reached", "n_pending", "conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper", "naive_rate",
        "step_rate", "step_rate_ci_lower", "step_rate_ci_upper", "median_days", "p90_days"]
    assert result.steps["n_reached"].tolist() == [3, 2, 1] and result.steps["n_pending"].tolist() == [0, 1, 1]
    assert result.steps["naive_rate"].tolist() == pytest.approx([1, 2 / 3, 1 / 3])
    # step 2: ann after 1 day (3 at risk), cem leaves after 3, bob after 4 (1 at risk): 1 - 2/3 * 0
    assert row(result, 2)["conversion_rate"] == 1
    # step 3: ann after 3 days, of 3 at risk; Greenwood (2/3)^2 / (3 * 2), so the effective size is (2/9) / (2/27) = 3: Wilson of 1 in 3
    step = row(result, 3)
    assert step[["conversion_rate", "conversion_rate_ci_lower", "conversion_rate_ci_upper"]].tolist() == pytest.approx([1 / 3, 0.06149194, 0.79234040], abs=1e-7)
    assert result.steps["step_rate"].tolist()[1:] == [1, 0.5]  # ann and bob have their five days behind them
    assert result.steps["median_days"].tolist()[1:] == [4, 2]  # S: 2/3 after 1 day, 0 after 4 · bob's window leaves him 1 day, ann needs 2
    assert any("1 user (33.3 %)" in c for c in result.caveats)


def test_before_any_window_has_closed_the_rate_is_not_known():
    result = diagnose_funnel(make_log(SIX), STEPS, window="30d", as_of="2026-01-12")
    assert result.steps["conversion_rate"].isna().tolist() == [False, True, True] and result.steps["step_rate"].isna().all()
    assert "is not known yet" in result.finding and result.steps["n_reached"].tolist() == [3, 2, 1]


def test_the_windows_end_is_included_and_rows_after_as_of_are_not_read():
    rows = [("ann", "a", "2026-01-01 10:00"), ("ann", "b", "2026-01-02 10:00"), ("bob", "a", "2026-01-01 10:00"), ("bob", "b", "2026-01-02 10:00:00.000001")]
    assert diagnose_funnel(make_log(rows), ["a", "b"], window="1d", as_of="2026-01-09").steps["n_reached"].tolist() == [2, 1]
    early = diagnose_funnel(make_log(rows), ["a", "b"], window="1d", as_of="2026-01-02T09:00:00Z")
    assert early.steps["n_reached"].tolist() == [2, 0] and early.steps["n_pending"].tolist() == [0, 2]


def test_a_later_attempt_counts_as_reached_but_not_for_the_first_entry():
    rows = [("ann", "a", "2026-01-01"), ("ann", "a", "2026-01-09"), ("ann", "b", "2026-01-10"), ("bob", "a", "2026-01-01"), ("bob", "b", "2026-01-02")]
    result = diagnose_funnel(make_log(rows), ["a", "b"], window="3d", as_of="2026-02-01")
    assert row(result, 2)[["n_reached", "naive_rate", "conversion_rate"]].tolist() == [2, 1, 0.5]
    assert "Reached the last step only on a later attempt: 1 user. They are in n_reached and naive_rate, not in conversion_rate." in result.caveats


def test_one_entry_each_and_nobody_pending_make_both_rates_one():
    rng = np.random.default_rng(3)
    rows = [(f"u{u}", "a", "2026-01-01") for u in range(200)] + [(f"u{u}", "b", "2026-01-02") for u in np.flatnonzero(rng.random(200) < 0.3)]
    last = row(diagnose_funnel(make_log(rows), ["a", "b"], window="3d", as_of="2026-02-01"), 2)
    assert last["conversion_rate"] == pytest.approx(last["naive_rate"], abs=1e-12)
    assert last["conversion_rate"] == last["step_rate"] == pytest.approx(last["n_reached"] / 200)
    assert last["conversion_rate_ci_lower"] == pytest.approx(last["step_rate_ci_lower"], abs=1e-12)
    assert last["conversion_rate_ci_upper"] == pytest.approx(last["step_rate_ci_upper"], abs=1e-12)


@pytest.mark.parametrize(("k", "n", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)])
def test_intervals_are_those_of_newcombe_1998(k, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (Wilson)."""
    rows = [(f"u{u}", "a", "2026-01-01") for u in range(n)] + [(f"u{u}", "b", "2026-01-02") for u in range(k)] + [("x", "b", "2026-01-01")]
    last = row(diagnose_funnel(make_log(rows), ["a", "b"], window="3d", as_of="2026-02-01"), 2)
    for name in ("conversion_rate", "step_rate"):
        assert (round(last[f"{name}_ci_lower"], 4), round(last[f"{name}_ci_upper"], 4)) == (low, high)


# ------------------------------------------------------------------------------------------------------------------ the rule's options

OPTIONS = [
    ("ann", "a", "2026-01-01 08:00", "web"), ("ann", "x", "2026-01-01 09:00", "web"), ("ann", "b", "2026-01-01 10:00", "web"), ("ann", "c", "2026-01-01 11:00", "web"),
    ("bob", "a", "2026-01-01 08:00", "web"), ("bob", "b", "2026-01-01 09:00", "ios"), ("bob", "c", "2026-01-01 10:00", "web"),
    ("cem", "a", "2026-01-01 08:00", "ios"), ("cem", "c", "2026-01-01 09:00", "ios"),
    ("dee", "c", "2026-01-01 08:00", "web"), ("dee", "b", "2026-01-01 09:00", "web"), ("dee", "a", "2026-01-01 10:00", "web"),
]


@pytest.mark.parametrize(("options", "n_reached"), [
    ({}, [4, 2, 2]),                                          # ann, bob; cem misses b, dee goes backwards
    ({"order": "strict"}, [4, 1, 1]),                         # x stands between ann's a and b
    ({"order": "unordered"}, [4, 4, 3]),                      # cem has two of three
    ({"optional": [2]}, [4, 2, 3]),                           # cem may skip b
    ({"exclude": [Exclusion("x", 1, 2)]}, [3, 1, 1]),         # ann is out
    ({"exclude": [Exclusion("x", 2, 3)]}, [4, 2, 2]),         # x comes too early to matter
    ({"exclude": [{"event": "x"}]}, [3, 1, 1]),               # as YAML gives it
    ({"hold": "platform"}, [4, 1, 1]),                        # bob's b is on another platform
])
def test_options_by_hand(options, n_reached):
    log = make_log(OPTIONS, ("user_id", "event", "timestamp", "platform"))
    result = diagnose_funnel(log, ["a", "b", "c"], window="1d", as_of="2026-01-05", **options)
    assert result.steps["n_reached"].tolist() == n_reached
    assert result.steps["conversion_rate"].tolist() == pytest.approx(np.array(n_reached) / n_reached[0])  # everyone enters once, all windows closed
    assert ("Taken out by an exclusion: 1 user. They are in no count." in result.caveats) == (n_reached[0] == 3)


def test_after_an_optional_step_the_rate_is_of_those_before_it():
    result = diagnose_funnel(make_log(OPTIONS, ("user_id", "event", "timestamp", "platform")), ["a", "b", "c"], window="1d", as_of="2026-01-05", optional=[2])
    assert result.steps["step_rate"].tolist()[1:] == [2 / 4, 3 / 4]
    assert row(result, 3)["median_days"] == pytest.approx(2 / 24)  # from a: cem 1 h, bob 2 h (that is half of them), ann 3 h, dee never


def test_segments_are_read_at_entry_and_add_up():
    result = diagnose_funnel(make_log(OPTIONS, ("user_id", "event", "timestamp", "platform")), ["a", "b", "c"], window="1d", as_of="2026-01-05", by="platform")
    assert list(dict.fromkeys(result.steps["segment"])) == ["all", "web", "ios"]
    assert result.steps.query("segment == 'web'")["n_reached"].tolist() == [3, 2, 2]  # bob entered on the web
    assert result.steps.query("segment == 'ios'")["n_reached"].tolist() == [1, 0, 0]
    assert "Fewer than 30 users entered in web, ios: too few to compare." in result.caveats and "By segment" not in result.finding


def test_steps_may_be_any_of_several_events_with_properties():
    log = make_log(OPTIONS, ("user_id", "event", "timestamp", "platform"))
    result = diagnose_funnel(log, [Step("a", {"platform": "web"}), ["x", "c"]], window="1d", as_of="2026-01-05")
    assert result.steps["n_reached"].tolist() == [3, 2] and result.steps["event"].tolist() == ["a [platform=web]", "x or c"]


def test_caveats_name_ties_skipped_steps_and_names_that_do_not_occur():
    rows = [("ann", "a", "2026-01-01"), ("ann", "b", "2026-01-01"), ("ann", "c", "2026-01-02"), ("bob", "a", "2026-01-01"), ("bob", "c", "2026-01-02")]
    result = diagnose_funnel(make_log(rows), ["a", "b", ["c", "cc_misspelt"]], window="3d", as_of="2026-02-01")
    assert "Two steps at the very same time: 1 user. These were read in the order of the steps." in result.caveats
    assert "A later step but never b (step 2): 1 user. Either it is not always needed or its tracking loses events." in result.caveats
    assert any(c.startswith('The event "cc_misspelt" does not occur') and c.endswith("counts as never done.") for c in result.caveats)
    never = diagnose_funnel(make_log(rows), ["a", "interview"], window="3d", as_of="2026-02-01")
    assert row(never, 2)[["n_reached", "conversion_rate"]].tolist() == [0, 0]


# ------------------------------------------------------------------------------------------------------------------ user by user, naive


def kaplan_meier(spans, reached, end):
    """Share reached by ``end``, and the first time each share is reached; users one by one."""
    share, times = 1.0, []
    for t in sorted({s for s, r in zip(spans, reached) if r and s <= end}):
        share *= 1 - sum(r and s == t for s, r in zip(spans, reached)) / sum(s >= t for s in spans)
        times.append((t, 1 - share))
    return 1 - share, lambda q: next((t for t, f in times if f >= q - 1e-12), np.nan)


@pytest.mark.parametrize("seed", range(6))
def test_every_number_user_by_user(seed, monkeypatch):
    """Random logs on whole hours, seen up to the middle; in small chunks of users, which must not matter."""
    monkeypatch.setattr(log_module, "CHUNK_ROWS", 97)
    rng = np.random.default_rng(seed)
    n, window, hours = 900, 36, 24 * 10
    frame = pd.DataFrame({"user": rng.integers(0, 70, n), "event": rng.choice(["a", "b", "c"], n, p=[0.3, 0.4, 0.3]), "hour": rng.integers(0, hours, n),
                          "platform": rng.choice(["web", "ios"], n)})
    start, as_of = pd.Timestamp("2026-01-01"), 24 * 6
    log = EventLog.from_frame(frame.assign(user_id=frame["user"].map("u{}".format), timestamp=start + pd.to_timedelta(frame["hour"], unit="h"))
                              .drop(columns=["user", "hour"]))
    result = diagnose_funnel(log, ["a", "b", "c"], window=f"{window}h", as_of=str(start + pd.Timedelta(hours=as_of)), by="platform")

    def expected(users):
        deepest, first = [], []
        for u in users:
            mine = frame[(frame["user"] == u) & (frame["hour"] <= as_of)].sort_values(["hour", "event"])
            events = [(h, {"abc".index(e) + 1}, set()) for h, e in zip(mine["hour"], mine["event"])]
            found = attempt(events, 3, window)
            if found:
                deepest.append(found[0])
                first.append(attempt(first_entry_only(events, window, "ordered"), 3, window)[0])
        for k in range(3):
            spans = [(t[k] if t[k] is not None else min(as_of, t[0] + window)) - t[0] for t in first]
            reached = [t[k] is not None for t in first]
            conversion, _ = kaplan_meier(spans, reached, window)
            over = [t for t in first if t[0] + window <= as_of and k and t[k - 1] is not None]
            before = [t for t in first if k and t[k - 1] is not None]
            gaps = [(t[k] if t[k] is not None else min(as_of, t[0] + window)) - t[k - 1] for t in before]
            _, quantile = kaplan_meier(gaps, [t[k] is not None for t in before], window)
            yield [sum(t[k] is not None for t in deepest), sum(not r and t[0] + window > as_of for r, t in zip(reached, first)), conversion if k else 1,
                   sum(t[k] is not None for t in deepest) / len(deepest), np.mean([t[k] is not None for t in over]) if k else np.nan,
                   quantile(0.5) / 24 if k else np.nan, quantile(0.9) / 24 if k else np.nan]

    columns = ["n_reached", "n_pending", "conversion_rate", "naive_rate", "step_rate", "median_days", "p90_days"]
    got = result.steps.query("segment == 'all'")[columns].to_numpy(float)
    np.testing.assert_allclose(got, list(expected(range(70))), atol=1e-9)
    by_segment = result.steps.query("segment != 'all'").groupby("step")[["n_reached", "n_pending"]].sum()
    assert by_segment.to_numpy().tolist() == got[:, :2].tolist()


# ---------------------------------------------------------------------------------------------------------------------------- maturity


def test_cutting_the_data_does_not_move_the_rate_but_the_naive_one_falls():
    """3,000 users over 60 days, 40 % of whom convert, after an exponential time of mean 4 days. Truth within 14 days: 0.4 (1 - exp(-3.5))."""
    rng = np.random.default_rng(5)
    n, truth = 3000, 0.4 * (1 - np.exp(-14 / 4))
    start = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.uniform(0, 60, n), unit="D")
    done = start + pd.to_timedelta(rng.exponential(4, n), unit="D")
    user, converts = [f"u{i}" for i in range(n)], rng.random(n) < 0.4
    log = make_log([*zip(user, ["a"] * n, start), *((u, "b", t) for u, t, c in zip(user, done, converts) if c)])
    cuts = [row(diagnose_funnel(log, ["a", "b"], window="14d", as_of=f"2026-{day}"), 2) for day in ("01-20", "02-01", "02-15", "03-01", "04-15")]
    for cut in cuts:
        assert cut["conversion_rate_ci_lower"] < truth < cut["conversion_rate_ci_upper"]
        assert cut["conversion_rate_ci_lower"] < cuts[-1]["conversion_rate"] < cut["conversion_rate_ci_upper"]
    naive = [cut["naive_rate"] for cut in cuts]
    assert naive[:3] == sorted(naive[:3]) and naive[0] < cuts[0]["conversion_rate_ci_lower"] and naive[0] < cuts[-1]["conversion_rate_ci_lower"]
    assert cuts[-1]["n_pending"] == 0 and cuts[-1]["conversion_rate"] == pytest.approx(cuts[-1]["naive_rate"])
    widths = [cut["conversion_rate_ci_upper"] - cut["conversion_rate_ci_lower"] for cut in cuts]
    assert widths == sorted(widths, reverse=True)  # an early look knows less and says so


# ------------------------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(("steps", "options", "words"), [
    (["a"], {}, "steps: a funnel needs at least two steps; give a list of event names."),
    ("ab", {}, "steps: a funnel needs at least two steps; give a list of event names."),
    (["a", "b"], {"order": "orderd"}, 'order: "orderd" is not one of ordered, strict, unordered. Did you mean "ordered" or "unordered"?'),
    (["a", "b"], {"window": "-1d"}, 'window: "-1d" must be longer than nothing.'),
    (["a", "b"], {"window": "a fortnight"}, "is not a duration"),
    (["a", "b"], {"exclude": [Exclusion("x", 2, 2)]}, 'exclude: "x" lies after step 2 and before step 2; with 2 steps it must hold that 1 <= after < before <= 2.'),
    (["a", "b"], {"exclude": [Exclusion("x", 1, 3)]}, "it must hold that 1 <= after < before <= 2."),
    (["a", "b"], {"optional": [1]}, "optional: step 1 cannot be optional; step 1 never can, and there are 2 steps."),
    (["a", "b"], {"optional": [3]}, "optional: step 3 cannot be optional"),
    (["a", "b"], {"optional": [2], "order": "unordered"}, 'optional: steps cannot be optional when order is "unordered".'),
    (["a", ["a", "b"]], {"order": "unordered"}, 'steps: one event could be both "a" and "a or b"'),
    (["a", ANY], {"order": "unordered"}, 'steps: one event could be both "a" and "any event"'),
    (["a_misspelt", "b"], {}, 'steps: step 1 cannot be reached, event "a_misspelt" does not occur in frame.'),
    ([Step("a", {"platform": "fridge"}), "b"], {}, 
     'steps: step 1 (a [platform=fridge]) matches no event; "a" occurs, but never with platform = fridge.'),
    ([Step(["a", "b"], {"nocolumn": 3, "platform": ["web", "tv"]}), "b"], {},
     'steps: step 1 (a or b [nocolumn=3] [platform=[\'web\', \'tv\']]) matches no event; "a" and "b" occur, but never with nocolumn = 3 and platform = web or tv.'),
    ([Step(ANY, {"nocolumn": ANY}), "b"], {}, "matches no event; other events occur, but never with nocolumn = any value."),
    (["a", "b"], {"as_of": "2025-01-01"}, "as_of: 2025-01-01 lies before the first event"),
    (["a", "b"], {"by": "platfrom"}, 'Did you mean "platform"?'),
])
def test_errors_say_what_to_do(steps, options, words):
    log = make_log(OPTIONS, ("user_id", "event", "timestamp", "platform"))
    with pytest.raises(ParameterError) as error:
        diagnose_funnel(log, steps, **{"window": "1d", "as_of": "2026-01-05", **options})
    assert words in str(error.value)


def test_unordered_steps_may_be_equal_or_told_apart_by_a_property():
    log = make_log(OPTIONS, ("user_id", "event", "timestamp", "platform"))
    steps = [Step("b", {"platform": "web"}), Step("b", {"platform": ["ios", "android"]}), "c", "c"]
    assert diagnose_funnel(log, steps, window="1d", as_of="2026-01-05", order="unordered").steps["n_reached"].tolist() == [4, 3, 0, 0]


# ------------------------------------------------------------------------------------------------------------------- the planted truth

PATH = ["signed_up", "profile_completed", "resume_uploaded", "interview_scheduled"]


@pytest.fixture(scope="module")
def product():
    return EventLog.from_frame(**demo.generate(users=6000, seed=3)), demo.truth(users=6000, seed=3)


def test_the_demos_rates_are_recovered(product):
    """The truth is counted on users whose window has closed and before 1 % are left out for lack of consent; tracking loss is in `tracked_rate`."""
    log, truth = product
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-07-05", by="channel").steps
    both = result.merge(truth["funnel"].drop(columns="conversion_rate"), on=["segment", "step", "event"])
    assert len(both) == 24 and both["n_pending"].max() > 100
    steps = both[both["step"] > 1]
    assert ((steps["conversion_rate_ci_lower"] < steps["tracked_rate"]) & (steps["tracked_rate"] < steps["conversion_rate_ci_upper"])).all()
    assert result[result["step"] == 4].set_index("segment")["conversion_rate"].idxmin() == "creator"


# ------------------------------------------------------------------------------------------------------------------------------ plots


def test_plots_show_every_step_and_segment(product):
    log, _ = product
    result = diagnose_funnel(log, PATH, window="14d", as_of="2026-07-05", by="platform")
    axes = plots.plot_funnel(result.steps)
    words = " ".join(t.get_text() for t in axes.texts)
    assert f"{row(result, 4)['n_reached']:,} users" in words and "pending" in words and len(axes.get_yticks()) == 4
    axes = plots.plot_funnel_segments(result.steps)
    assert {t.get_text().split(" ")[0] for t in axes.get_yticklabels()} == {"web", "ios", "android"}
    plots.plot_funnel_segments(result.steps[result.steps["segment"] != "all"])
    matplotlib.pyplot.close("all")
