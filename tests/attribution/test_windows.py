"""Credit, windows and excess: by hand, in words, and questions that cannot be answered."""

from functools import partial

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mctlib import plots
from mctlib.attribution import RULES, attribution_windows, narrative_flips
from mctlib.attribution.incrementality import ALIKE, TOO_FEW, UNTOLD
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.plots import style
from tests.support.logs import FIRST, frame_of
from tests.support.partners import ArrayLog, rows_to_frame, wide

matplotlib.use("Agg")


# ------------------------------------------------------------------------------------------ by hand

# u1 converts on day 30 after a (lag 18), b (lag 3), a (lag 1); u2 after c (lag 2). With a longest
# window of 20 days, counting starts on day 20.
HAND = rows_to_frame(
    [
        ("u0", 0, "page", None),
        ("u1", 11, "page", None),
        ("u1", 12, "visit", "a"),
        ("u1", 27, "visit", "b"),
        ("u1", 29, "visit", "a"),
        ("u1", 30, "paid", None),
        ("u2", 28, "visit", "c"),
        ("u2", 30, "paid", None),
    ]
)
HAND_CREDIT = {  # (rule, window): a, b, c
    ("first", 20): (1, 0, 1),
    ("first", 5): (0, 1, 1),
    ("last", 20): (1, 0, 1),
    ("last", 5): (1, 0, 1),
    ("linear", 20): (2 / 3, 1 / 3, 1),
    ("linear", 5): (1 / 2, 1 / 2, 1),
    ("shapley", 20): (1 / 2, 1 / 2, 1),
    ("shapley", 5): (1 / 2, 1 / 2, 1),
    ("position", 20): (0.8, 0.2, 1),
    ("position", 5): (0.5, 0.5, 1),
    # half-life 2 days: weights 2^-9, 2^-1.5, 2^-0.5; within 5 days 1 : 2
    ("time_decay", 20): (
        (2**-9 + 2**-0.5) / (2**-9 + 2**-1.5 + 2**-0.5),
        2**-1.5 / (2**-9 + 2**-1.5 + 2**-0.5),
        1,
    ),
    ("time_decay", 5): (2 / 3, 1 / 3, 1),
    # paths a>b>a>paid and c>paid: every path converts; removal effects are the chances of a visit,
    # a 1/2, b 1/2 x 1/2, c 1/2; 2 conversions / 1.25
    ("markov", 20): (0.8, 0.4, 0.8),
    # paths b>a>paid and c>paid, and a (day 12) lost on day 17, before counting starts on day 20:
    # effects 1/2 each
    ("markov", 5): (2 / 3, 2 / 3, 2 / 3),
}


@pytest.mark.parametrize(("rule", "days"), HAND_CREDIT)
def test_each_rule_by_hand(quick, rule, days):
    result = attribution_windows(
        ArrayLog(HAND), "paid", windows=["5d", "20d"], as_of="2026-02-10", half_life="2d", seed=1
    )
    assert wide(result, rule, days).to_dict() == pytest.approx(
        dict(zip("abc", HAND_CREDIT[rule, days])), abs=1e-12
    )


def test_windows_by_hand(quick):
    # u1's own time is days 11 to 30; of turned conversions within 5 days of a touch (12, 27, 29) 9
    # of 19 are, within 20 days all, so that there is nothing to compare. u2 begins with its touch.
    result = attribution_windows(
        ArrayLog(HAND), "paid", windows=["5d", "20d"], as_of="2026-02-09T00:00:00Z", seed=1
    )
    windows = result.windows.set_index("window_days")
    assert windows["n_attributed"].tolist() == [2, 2] and windows["n_late"].tolist() == [0, 0]
    assert windows["n_compared"].tolist() == [1, 0] and windows["n_brought"].tolist() == [1, 1]
    partners = result.partners.set_index("partner_id")
    assert partners["n_attributed"].to_dict() == {"a": 1, "b": 1, "c": 1}
    assert partners["n_brought"].to_dict() == {"a": 0, "b": 0, "c": 1}
    assert partners["verdict"].eq(TOO_FEW).all()
    assert (
        result.credit["rank"].isna().all()
        and result.stability.empty
        and result.flips.empty
        and result.late["late_rate"].isna().all()
    )


def test_the_end_of_a_window_is_outside_and_a_touch_of_the_same_moment_counts(quick):
    rows = [
        ("u0", 0, "page", None),
        ("u1", 40 + 1e-6 / 86_400, "visit", "a"),
        ("u1", 47, "paid", None),
        ("u2", 47, "visit", "b"),
        ("u2", 47, "paid", None),
        ("u3", 40, "visit", "c"),
        ("u3", 47, "paid", None),
        ("u4", 47, "paid", None),
        ("u4", 48, "visit", "a"),
    ]
    result = attribution_windows(
        ArrayLog(rows_to_frame(rows)),
        "paid",
        windows=["7d", "30d"],
        as_of="2026-03-31",
        rules=["last"],
        seed=1,
    )
    assert wide(result, "last", 7).to_dict() == {"a": 1, "b": 1, "c": 0}
    assert wide(result, "last", 30).to_dict() == {"a": 1, "b": 1, "c": 1}
    assert result.windows["n_late"].tolist() == [1, 0]
    assert "Touches after the user's first conversion earn nothing: 1." in result.caveats


def test_with_too_few_users_nothing_is_said_about_excess(quick):
    result = attribution_windows(
        ArrayLog(HAND),
        "paid",
        windows=["5d", "20d"],
        as_of="2026-02-09T00:00:00Z",
        seed=1,
        value=1.0,
    )
    blank = ["n_excess", "n_excess_ci_lower", "n_excess_ci_upper"]
    rates = ["dilution_rate", "dilution_rate_ci_lower", "dilution_rate_ci_upper"]
    assert result.windows[[*blank, *rates]].isna().all(axis=None)
    assert result.partners[[*blank, "n_beyond_chance", "roi"]].isna().all(axis=None)
    assert not result.windows["admissible"].any()
    few = "ewer than 10 groups of users are too few to say how far chance goes"
    assert f"No window can be recommended: f{few}." in result.details[0]
    assert any(c.startswith(f"F{few}") for c in result.caveats)
    assert not any(word in result.details[0] for word in ("anyway", "chance,", "excess"))


@pytest.mark.filterwarnings("error")
def test_pictures_of_next_to_nothing_say_so(quick):
    result = attribution_windows(
        ArrayLog(HAND),
        "paid",
        windows=["5d", "20d"],
        as_of="2026-02-09T00:00:00Z",
        seed=1,
        value=1.0,
    )
    bars = plots.plot_windows(result.windows)
    left, right = plots.plot_partners(result.partners, result.brought).axes
    for drawn, words in (
        (bars.figure.legends[0], "cannot be told"),
        (left, TOO_FEW),
        (right, "brings none"),
        (plots.plot_rank_bump(result.credit), "enough conversions for a rank"),
        (plots.plot_late_converters(result.late).axes[0], "enough conversions, surely,"),
    ):
        said = drawn.texts
        assert any(words in text.get_text() for text in said), words
    plt.close("all")


def test_the_share_above_a_bar_is_that_of_its_pale_part():
    columns = {"n_attributed": 1000.0, "n_brought": 400.0, "n_excess": 370.0, "usable": True}
    ends = {"n_excess_ci_lower": 300.0, "n_excess_ci_upper": 440.0, "dilution_rate": 0.38}
    ax = plots.plot_windows(pd.DataFrame([{"window_days": 30, **columns, **ends}]))
    (pale,) = (bar for bar in ax.patches if bar.get_y() == 770)
    assert pale.get_height() == 230 and "23 %" in [t.get_text() for t in ax.texts]
    plt.close("all")


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_names_of_partners_stand_at_their_points(width):
    names = [f"partner {k}" for k in range(7)]
    share = {"n_beyond_chance": 5.0, "n_beyond_chance_ci_lower": 3.0, "n_compared": 10}
    share |= {"n_beyond_chance_ci_upper": 8.0, "verdict": "earns credit", "brings": "brings none"}
    partners = pd.DataFrame([{"partner_id": name, **share} for name in names])
    points = dict.fromkeys(["", "_ci_lower", "_ci_upper"], np.nan)
    brought = partners[["partner_id"]].assign(
        **{f"difference_share{k}": v for k, v in points.items()}
    )
    with style.drawn_at(width):
        figure = plots.plot_partners(partners, brought)
    figure.canvas.draw()
    for ax in figure.axes:
        row = np.diff(ax.transData.transform([(0, 0), (0, 1)])[:, 1])[0] * style.PIXELS / figure.dpi
        assert row >= (40 if width == style.NARROW else 20)  # a name is 9 above its point, 13 high
    plt.close("all")


def test_a_conversion_is_no_touch_of_its_own(quick):
    # u1's conversion carries a: no touch; u2's visit at the moment of the conversion is one; u3 is
    # untouched, and its second conversion carries b
    rows = [
        ("u0", 0, "page", None),
        ("u1", 40, "page", None),
        ("u1", 47, "paid", "a"),
        ("u2", 47, "paid", "b"),
        ("u2", 47, "visit", "a"),
        ("u3", 47, "paid", None),
        ("u3", 48, "paid", "b"),
    ]
    ask = partial(
        attribution_windows,
        conversion="paid",
        windows=["7d", "30d"],
        as_of="2026-03-31",
        rules=["linear"],
        seed=1,
    )
    result = ask(ArrayLog(rows_to_frame(rows)))
    assert wide(result, "linear", 7).to_dict() == {"a": 1} and result.windows[
        "n_attributed"
    ].tolist() == [1, 1]
    assert (
        "Conversion events that carry partner_id, promo_code or utm_source themselves are not "
        "counted as touches: 3." in result.caveats
    )
    assert not any("first conversion earn nothing" in c for c in result.caveats)
    with pytest.raises(
        DataError, match="no event up to as_of but the conversion itself carries partner_id"
    ):
        ask(ArrayLog(rows_to_frame([r for r in rows if r[2] != "visit"])))


def test_conversions_at_the_start_are_credited_and_compared_with_nobody(quick):
    # 40 users, start on day 30: touched on day 32, every second one converts on day 40. Then users
    # whose first event is the conversion, at the moment of a touch.
    rows = [
        ("u0", 0, "page", None),
        *[(f"t{i}", 30, "page", None) for i in range(40)],
        *[(f"t{i}", 32, "visit", "a") for i in range(40)],
        *[(f"t{i}", 40, "paid", None) for i in range(0, 40, 2)],
    ]
    at_once = [
        (f"o{i}", 30 + i, event, who)
        for i in range(10)
        for event, who in (("visit", "a"), ("paid", None))
    ]

    def ask(rows):
        frame = rows_to_frame([(u, day + 0.25, *rest) for u, day, *rest in rows])
        call = {"windows": ["5d", "20d"], "as_of": "2026-03-31", "rules": ["linear"], "seed": 1}
        log = EventLog.from_frame(frame, observed_until="2026-03-31")
        return attribution_windows(log, "paid", **call)

    whole, more = ask(rows), ask([*rows, *at_once])
    counts = ["n_attributed", "n_compared", "n_brought"]
    assert whole.windows[counts].to_numpy().tolist() == [[0, 0, 0], [20, 0, 0]]
    assert more.windows[counts].to_numpy().tolist() == [[10, 0, 10], [30, 0, 10]]
    assert more.brought.empty, "nobody brought was at risk afterwards"


def test_touches_of_the_start_itself_bring_users_who_convert_as_others():
    # users start on a day, three in ten convert that very day, the others later at 1 % a day; half
    # are touched at their start, which changes nothing
    rng = np.random.default_rng(1)
    start, soon, touched = (
        rng.integers(0, 120, 2000),
        rng.random(2000) < 0.3,
        rng.random(2000) < 0.5,
    )
    conv = np.where(soon, start, start + 1 + rng.exponential(100, 2000).astype(int))
    rows = [
        (u, float(t), event, who)
        for event, days, some, who in (
            ("page", start, start >= 0, None),
            ("visit", start, touched, "a"),
            ("paid", conv, conv < 160, None),
        )
        for u, t in zip(np.flatnonzero(some), days[some])
    ]
    for log in (ArrayLog(rows_to_frame(rows)), EventLog.from_frame(rows_to_frame(rows))):
        call = {"windows": ["7d", "30d"], "as_of": "2026-06-09", "rules": ["linear"], "seed": 1}
        result = attribution_windows(log, "paid", **call)
        assert result.partners["brings"].tolist() == [ALIKE]
        assert result.partners["verdict"].tolist() == [UNTOLD], "no touch comes after the start"
        assert any("brought convert no differently" in told for told in result.details)


def test_without_an_exposed_day_nothing_can_be_told(quick):
    rows = [
        ("u0", 0, "page", None),
        *[
            (f"u{i}", 40 + i / 10, event, who)
            for i in range(60)
            for event, who in (("visit", "a"), ("paid", None))
        ],
    ]
    result = attribution_windows(
        EventLog.from_frame(rows_to_frame(rows)),
        "paid",
        windows=["7d", "30d"],
        as_of="2026-05-01",
        seed=1,
    )
    assert (
        result.windows["n_attributed"].tolist() == [60, 60]
        and result.windows["n_excess"].isna().all()
    )
    assert (
        result.partners["verdict"].tolist() == [UNTOLD] and result.partners["n_excess"].isna().all()
    )
    earlier = [
        (f"u{i}", 35, "page", None) for i in range(60)
    ]  # time at risk before the touch, none after it
    result = attribution_windows(
        EventLog.from_frame(rows_to_frame([*rows, *earlier])),
        "paid",
        windows=["7d", "30d"],
        as_of="2026-05-01",
        seed=1,
    )
    assert result.partners["verdict"].tolist() == [UNTOLD]


@pytest.mark.parametrize("rules", ["linear", ["linear", "markov"]])
@pytest.mark.parametrize("reference", ["5d", "20d"])
def test_who_touched_is_a_partner_whatever_is_asked(quick, rules, reference):
    # z touches 12 days before counting starts on day 20: within the longest window still, no longer
    # within 5 days
    rows = [
        *HAND.assign(day=(HAND["timestamp"] - FIRST) / pd.Timedelta("1D"))[
            ["user_id", "day", "event", "partner_id"]
        ].itertuples(index=False, name=None),
        ("u9", 8, "visit", "z"),
    ]
    result = attribution_windows(
        EventLog.from_frame(rows_to_frame(rows)),
        "paid",
        windows=["5d", "20d"],
        reference=reference,
        rules=rules,
        as_of="2026-02-10",
        seed=1,
    )
    assert set(result.partners["partner_id"]) == set("abcz")
    alone = rows_to_frame(
        [
            ("u0", 0, "page", None),
            ("u1", 0, "page", None),
            ("u1", 40, "paid", None),
            ("u2", 0, "page", None),
            ("u2", 8, "visit", "z"),
        ]
    )
    result = attribution_windows(
        EventLog.from_frame(alone),
        "paid",
        windows=["5d", "20d"],
        reference=reference,
        rules=rules,
        as_of="2026-03-01",
        seed=1,
    )
    assert result.partners[["partner_id", "n_attributed"]].to_numpy().tolist() == [["z", 0]]


@pytest.mark.parametrize("name", ["all", "(start)", "(conversion)"])
def test_a_partner_may_be_called_anything(quick, name):
    people = pd.DataFrame({"user_id": ["u1", "u2"], "partner_id": ["b", "c"]})
    frame = HAND.assign(partner_id=HAND["partner_id"].replace("a", name))
    result, plain = (
        attribution_windows(
            EventLog.from_frame(f, people=people),
            "paid",
            windows=["5d", "20d"],
            as_of="2026-02-10",
            half_life="2d",
            seed=1,
        )
        for f in (frame, HAND)
    )
    for rule in RULES:
        assert wide(result, rule, 20)[[name, "b", "c"]].tolist() == pytest.approx(
            wide(plain, rule, 20).tolist()
        )
    assert [c.replace(name, "a") for c in result.flips["conclusion"]] == plain.flips[
        "conclusion"
    ].tolist()


def test_one_word_stands_for_a_list_of_one(quick):
    ask = partial(
        attribution_windows,
        EventLog.from_frame(HAND),
        "paid",
        windows=["5d", "20d"],
        as_of="2026-02-10",
        seed=1,
    )
    one, many = (
        ask(rules="linear", sources="partner_id", by=["partner_id"]),
        ask(rules=["linear"], sources=["partner_id"], by="partner_id"),
    )
    for table in ("credit", "partners", "touches"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(many, table))


def test_windows_in_words():
    said = [
        narrative_flips.windows_in_words(*days)
        for days in ((7, 30), (1,), (0, 1), (1 / 24, 30), (1 / 24, 2 / 24), (7, 14, 21))
    ]
    assert said == [
        "7 and 30 days",
        "1 day",
        "0 and 1 day",
        "1 hour and 30 days",
        "1 hour and 2 hours",
        "7, 14 and 21 days",
    ]
    result = attribution_windows(
        ArrayLog(HAND), "paid", windows=["1h", "1d"], as_of="2026-02-10", seed=1
    )
    assert "the first 1 day of the log" in " ".join(result.caveats) and "1 days" not in " ".join(
        [result.details[0], *result.caveats]
    )


# ------------------------------------------------------------------------------------ bad questions


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (
            {"conversion": "payd"},
            ParameterError,
            'conversion: event "payd" does not occur in frame. Did you mean "paid"?',
        ),
        ({"start": "signd_up"}, ParameterError, 'start: event "signd_up" does not occur'),
        ({"windows": ["-7d"]}, ParameterError, 'windows: "-7d" must be longer than nothing'),
        ({"windows": ["a week"]}, ParameterError, 'windows: "a week" is not a duration'),
        ({"windows": "7d"}, ParameterError, "windows: give a list"),
        ({"windows": []}, ParameterError, "windows: give a list"),
        ({"rules": []}, ParameterError, "rules: give at least one of first"),
        ({"by": ""}, ParameterError, "by: name the column that holds the partner."),
        (
            {"rules": ["liner"]},
            ParameterError,
            'rules: "liner" is not one of .* Did you mean "linear"',
        ),
        ({"reference": "30d"}, ParameterError, 'reference: "30d" is not one of the windows'),
        ({"half_life": "0d"}, ParameterError, "half_life"),
        (
            {"by": "partnr_id"},
            ParameterError,
            'by: "partnr_id" is neither .* Did you mean "partner_id"',
        ),
        ({"by": "plan"}, ParameterError, 'by: "plan" is a column of people, of which a touch says'),
        ({"by": "properties.device_id"}, ParameterError, "holds ids, which no table or sentence"),
        (
            {"by": ["partner_id", "promo_code"]},
            ParameterError,
            "by: name the column that holds the partner.",
        ),
        (
            {"value": -5.0},
            ParameterError,
            "value: -5.0 must be 0 or more; what a conversion brings cannot be negative.",
        ),
        (
            {"by": "properties.source"},
            DataError,
            "no event up to as_of carries properties.source, so there is no touch to credit",
        ),
        (
            {"windows": ["7d", "300d"]},
            DataError,
            "none of 2 conversions lies after the first 300 days",
        ),
    ],
)
def test_bad_questions_get_a_sentence(change, error, words):
    frame = pd.concat([HAND, rows_to_frame([("u1", 11, "signed_up", None)])])
    call = {
        "conversion": "paid",
        "windows": ["5d", "20d"],
        "as_of": "2026-02-10",
        "seed": 1,
    } | change
    with pytest.raises(error, match=words):
        attribution_windows(EventLog.from_frame(frame), call.pop("conversion"), **call)


def test_no_touch_at_all_is_a_sentence():
    with pytest.raises(
        DataError,
        match="no event up to as_of carries partner_id or promo_code or utm_source, so there is no "
        "touch to credit",
    ):
        attribution_windows(
            EventLog.from_frame(HAND.assign(partner_id=None)),
            "paid",
            windows=["5d"],
            as_of="2026-02-10",
            seed=1,
        )


@pytest.mark.parametrize(
    ("by", "spent", "unnamed"), [("utm_source", {"ann": 50}, 30), ("utm_medium", {}, 80)]
)
def test_spend_is_joined_by_the_column_that_it_is_keyed_by(by, spent, unnamed):
    """Of 80 spent 50 are Ann's, who is a utm_source in another spelling, 30 are of nobody who is
    one; no medium is a partner. What stands in no row is said."""
    rows = [(f"u{i}", "visit", 20, "Ann", "mail") for i in range(12)]
    rows += [(f"u{i}", "paid", 21, None, None) for i in range(12)]
    rows += [("early", "visit", 0, None, None)]
    frame = frame_of(rows, "utm_source", "utm_medium", unit="D")
    days = pd.Timestamp("2026-01-21")
    spend = pd.DataFrame(
        [("ann", days, 50), ("zed", days, 30)], columns=["partner_id", "day", "amount"]
    )
    log = EventLog.from_frame(frame, spend=spend)
    ask = {"windows": ["7d"], "as_of": "2026-02-10", "seed": 1}
    result = attribution_windows(log, "paid", by=by, **ask)
    found = result.partners.set_index(by)["spend_amount"].dropna()
    assert found.to_dict() == spent
    assert any(
        f"{unnamed} units of money of the money spent names no {by}" in str(c)
        for c in result.caveats
    )
