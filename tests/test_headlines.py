"""The numbers a director reads: said in their unit, told sure or not, few and short."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from pydantic import TypeAdapter

from mctlib.headlines import (
    Against,
    Headline,
    brief,
    called,
    chosen,
    day,
    money,
    ranged,
    whose,
)
from mctlib.phrases import nought, points

ZERO = Against("zero")


def headline(value, low=None, high=None, **how):
    return Headline(name="x", label="X", value=value, low=low, high=high, **how)


@pytest.mark.parametrize(
    ("given", "whole", "ends"),
    [
        (headline(20.44, 19.2, 21.5, unit="%"), "20.4\u00a0%", "19.2 to 21.5"),
        (headline(31.9, 25.0, 38.1, unit="%"), "32\u00a0%", "25 to 38"),  # too wide for decimals
        (headline(-4.0, -4.5, -3.5, unit="points", against=ZERO), "\u22124.0\u00a0points", None),
        (headline(5.8, 4.6, 7.0, unit="days", against=ZERO), "+5.8\u00a0days", "+4.6 to +7.0"),
        (headline(57.0, 44.0, 73.0, unit="days"), "57\u00a0days", "44 to 73"),
        (headline(9732.4, unit="EUR"), "\u20ac9,732", ""),
        (headline(-95.0, unit="EUR", against=ZERO), "\u2212\u20ac95", ""),
        (headline(16861), "16,861", ""),
        (headline(-0.04, -1, 1, unit="points", against=ZERO), "0.0\u00a0points", None),
        (headline(30, unit="days", text="30\u201360"), "30\u201360\u00a0days", ""),
        (headline(None, unit="%"), "\u2013\u00a0%", ""),
    ],
)
def test_a_number_in_its_unit(given, whole, ends):
    assert given.whole == whole
    assert ends is None or given.range == ends


def test_what_a_number_is_compared_with_stands_beside_it():
    assert headline(20.0, n=16861).beside == "16,861 users"
    others = Against("group", 23.0, "others")
    assert headline(9.7, 8.7, 10.9, unit="%", against=others).beside == "others 23.0\u00a0%"
    assert headline(1.0, against=others).beside == "others 23"
    assert headline(1.0).beside == ""


def test_colour_speaks_only_when_the_number_is_sure():
    sure = headline(1.0, verdict="sure", act=True)
    assert (sure.kind, sure.mark) == ("bad", "\u25b2")
    assert headline(1.0, verdict="sure").kind == "good"
    past = headline(1.0, verdict="sure", tone="unwanted")
    assert (past.kind, past.mark) == ("past", "\u25cf"), "what is lost is not drawn as a gain"
    for verdict in ("", "not clear", "too few", "no clear change"):
        assert headline(1.0, verdict=verdict, act=True).kind == "unsure"


def test_a_count_that_asks_for_somebody_says_so_in_its_own_words():
    count = headline(3.0, verdict="sure", act=True, note="3 to act on")
    assert (count.state, count.kind) == ("3 to act on", "bad")
    assert headline(3.0, verdict="sure", act=True).state == "sure"
    ranged = headline(3.0, 2.0, 4.0, verdict="sure", act=True, note="alert open")
    assert ranged.state == "sure"
    assert headline(0.0, note="nothing new").state == ""


def test_nought_has_no_sign():
    said = ["-0.0", "+0", "-0.0 pp", "+0.04", "-0.5", "+10.0", "-1e-05"]
    assert [*map(nought, said)] == ["0.0", "0", "0.0 pp", "+0.04", "-0.5", "+10.0", "-1e-05"]
    row = {"x": -0.0001, "x_ci_lower": -0.0004, "x_ci_upper": 0.0004}
    assert points(row, "x") == "0.0 points (0.0 to 0.0)"


def test_a_bar_holds_its_range_and_what_it_is_compared_with():
    level = headline(20.4, 19.2, 21.5, unit="%").places
    assert level == pytest.approx({"value": 51, "low": 48, "high": 53.75})  # of 40 %
    change = headline(-4.0, -4.5, -3.5, unit="points", against=ZERO).places
    assert change["against"] == 50 and change["value"] == pytest.approx(50 - 50 * 4 / (1.25 * 4.5))
    for told in (level, change, headline(130, 90, 190, unit="%", against=ZERO).places):
        assert all(0 <= x <= 100 for x in told.values())
    assert headline(3.0).places == {} and headline(0.0, 0.0, 0.0, unit="x").places


def test_missing_and_endless_numbers_are_none():
    row = {"a": 0.5, "a_ci_lower": np.nan, "a_ci_upper": np.inf}
    assert ranged(row, "a", 100) == {"value": 50.0, "low": None, "high": None}


def test_a_headline_stands_in_json_and_comes_back():
    one = headline(1.5, 1.0, 2.0, unit="%", against=Against("group", 2.0, "others"), act=True)
    text = json.dumps([asdict(one)], allow_nan=False)
    assert TypeAdapter(list[Headline]).validate_json(text, strict=True) == [one]


def test_a_sentence_has_25_words_at_most():
    words = " ".join(["word"] * 20)
    assert (
        brief(words, " and five more words here", " and one")
        == f"{words} and five more words here."
    )
    assert brief(words, " and six more words are here", "; short") == f"{words}; short."
    assert brief("Which?") == "Which?"


def test_of_many_headlines_four_are_chosen_in_their_order():
    sure = {"verdict": "sure"}
    first, good, bad, plain = (
        Headline(name=name, label=name, value=1.0, **how)
        for name, how in (
            ("first", {}),
            ("good", sure),
            ("bad", sure | {"act": True}),
            ("plain", {}),
        )
    )
    other = Headline(name="other", label="other", value=1.0)
    again = Headline(name="good", label="of a name once", value=2.0)
    told = chosen([[first, plain, good, bad], [], [again], [other, again]])
    assert [h.name for h in told] == ["first", "good", "bad", "other"]


@pytest.mark.parametrize(
    ("key", "segment", "words"),
    [
        ("channel", "paid_search", "paid search users"),
        ("platform", "ios", "iOS users"),
        ("properties.seats", "10", "users with seats 10"),
        ("month", "2026-04-01", "users who began in April 2026"),
        ("week", "2026-04-06", "users who began in the week of 6 April"),
        ("channel", "Creator partners", "users of Creator partners"),
        ("platform \u00b7 plan", "ios \u00b7 free_plan", "iOS \u00b7 free plan users"),
    ],
)
def test_users_of_a_segment(key, segment, words):
    assert whose(key, segment) == words


def test_days_and_money_as_people_say_them():
    assert day("2026-04-06T12:00") == "6 April" and called("2026-04-06") == "6 April 2026"
    assert called("2026-04-06") == "6 April 2026"
    assert money(9732.4, "EUR") == "\u20ac9,732" and money(9732.4, "CHF") == "9,732\u00a0CHF"
    assert money(-3.0, "USD") == "\u2212$3" and money(5, "") == "5\u00a0units of money"
