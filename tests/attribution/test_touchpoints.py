"""Which partner a touch names, counted by hand.

Conflict order, survey answers, self-referrals, and what other ways of tracking would say.
"""

import re

import numpy as np
import pandas as pd
import pytest

from mctlib.attribution.windows import attribution_windows
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.steps import Step

T0 = pd.Timestamp("2026-01-01", tz="UTC")
ALIASES = {"BEE": "b", "bee.com": "b", "Bee": "b", "ours.io": ""}
ORDER = ["partner_id", "promo_code", "utm_source", "survey:heard"]


def at(days):
    return T0 + pd.to_timedelta(days, unit="D")


# user, day, event, partner_id, promo_code, utm_source; counting starts on day 20
ROWS = [
    ("u0", 0, "page", None, None, None),
    ("u1", 24, "signed_up", None, None, None),
    ("u1", 25, "visit", "a", "bee", None),
    ("u1", 30, "paid", None, None, None),
    ("u2", 24, "signed_up", None, None, None),
    ("u2", 25, "visit", None, None, "Bee.com"),
    ("u2", 28, "visit", None, None, "OURS.io"),
    ("u2", 30, "paid", None, None, None),
    ("u3", 24, "signed_up", None, None, None),
    ("u3", 30, "paid", None, None, None),
    ("u4", 24, "signed_up", None, None, None),
    ("u4", 30, "paid", None, None, None),
    ("u5", 23, "visit", None, None, "a"),
    ("u5", 24, "signed_up", None, None, None),
    ("u5", 30, "paid", None, None, None),
    ("u6", 24, "signed_up", None, None, None),
    ("u6", 30, "paid", None, None, None),
]
# u3's friend is no partner, u4 says b without a tracked touch, u5 contradicts the link, u6 answers
# after as_of; u4's second answer is not asked for
ANSWERS = [
    ("u3", 31, "heard", "a friend", None),
    ("u4", 31, "heard", "yes", "bee"),
    ("u4", 32, "heard", "a", None),
    ("u5", 25, "heard", "BEE", None),
    ("u6", 60, "heard", "bee", None),
    ("u3", 31, "other", "bee", None),
]


def tables():
    events = pd.DataFrame(
        ROWS, columns=["user_id", "day", "event", "partner_id", "promo_code", "utm_source"]
    )
    surveys = pd.DataFrame(
        ANSWERS, columns=["user_id", "day", "micro_conversion", "answer", "reason"]
    )
    people = pd.DataFrame({"user_id": ["u1", "u2", "u3"], "partner_id": ["a", "a", "b"]})
    spend = pd.DataFrame({"day": ["2026-01-25"], "amount": [100.0], "partner_id": ["a"]})
    return {
        "events": events.assign(timestamp=at(events.pop("day"))),
        "surveys": surveys.assign(submitted_at=at(surveys.pop("day"))),
        "people": people,
        "spend": spend,
    }


@pytest.fixture(scope="module")
def log():
    return EventLog.from_frame(**tables(), aliases=ALIASES)


def ask(log, **more):
    call = {
        "windows": ["3d", "20d"],
        "as_of": "2026-02-10",
        "seed": 1,
        "start": "signed_up",
        "rules": ["linear"],
        "sources": ORDER,
        "value": 10.0,
    }
    return attribution_windows(log, "paid", **(call | more))


def credit(result):
    part = result.credit[result.credit["window_days"] == 20]
    return dict(zip(part["partner_id"], part["credit"]))


def test_the_first_source_stands_and_conflicts_are_counted(log):
    result = ask(log)
    assert credit(result) == {"a": 2, "b": 2}  # a: u1, u5; b: u2, u4
    assert result.conflicts.to_dict("split")["data"] == [
        ["partner_id", "a", "promo_code", "b", 1],
        ["utm_source", "a", "survey:heard", "b", 1],
    ]
    assert dict(zip(result.touches["touch"], result.touches["n_touches"])) == {
        "named by partner_id": 1,
        "named by promo_code": 0,
        "named by utm_source": 2,
        "named by survey:heard": 1,
        "left out: after the user's first conversion": 0,
        "left out: carried by a conversion itself": 0,
        "left out: self-referral": 1,
        "left out: of users not at risk": 0,
    }
    assert (
        "Touches that name nobody but ourselves (self-referrals) are left out: 1." in result.caveats
    )
    assert any(
        c.startswith(
            "Touches whose tags name different partners: 2; partner_id stands before promo_code "
            "stands before"
        )
        for c in result.caveats
    )


def test_another_order_moves_the_credit(log):
    assert credit(ask(log, sources=["survey:heard", "promo_code", "partner_id", "utm_source"])) == {
        "a": 0,
        "b": 4,
    }  # u1 by its code, u5 by its answer; a has cost money
    assert credit(ask(log, sources=["partner_id", "utm_source"])) == {
        "a": 2,
        "b": 1,
    }  # nobody asks u4


def test_an_answer_is_a_touch_of_the_start_where_nothing_was_tracked(log):
    short = ask(
        log, windows=["6d", "20d"]
    )  # u4's start lies 6 days before its conversion, u1's and u2's touches 5
    assert short.windows["n_attributed"].tolist() == [2, 4]


def test_a_touch_of_ourselves_is_one_of_the_partner_that_another_tag_names(log):
    result = ask(
        EventLog.from_frame(**tables(), aliases=ALIASES | {"a": ""})
    )  # partner a is us now: u1's touch is b's by its code, u5's start by its answer
    assert credit(result) == {"b": 4} and result.conflicts.empty
    assert (
        result.touches.set_index("touch").loc["left out: self-referral", "n_touches"] == 2
    )  # of u2 and u5


def test_a_sheet_kept_by_hand_is_an_approach():
    """It credits u1 to a as multi-touch does, u2 to a and not to b, u3 to zoe; u9 is nobody."""
    sheet = [("u1", "a", "2026-01-26"), ("u2", "b", "2026-01-25"), ("u2", "A", "2026-01-26")]
    sheet += [("u3", "zoe", "2026-01-26"), ("u4", "a", "2026-03-01"), ("u9", "a", "2026-01-26")]
    manual = pd.DataFrame(sheet, columns=["user_id", "partner_id", "day"])
    table = ask(EventLog.from_frame(**tables(), manual=manual, aliases=ALIASES)).approaches
    table = table[table["approach"] == "kept by hand"].set_index("partner_id")
    found = table[["n_credited", "n_alike", "n_extra", "n_missing"]].T.to_dict("list")
    assert found["a"] == [2, 1, 1, 1] and found["b"] == [0, 0, 0, 2]
    assert found["zoe"] == [1, 0, 1, 0] and found["all"] == [3, 1, 2, 3]


def test_approaches_by_hand(log):
    table = ask(log).approaches.drop(columns="currency").set_index(["approach", "partner_id"])
    # multi-touch: a = u1, u5; b = u2, u4. CRM: a = u1, u2, b = u3. Answers: b = u4, u5. UTM: a =
    # u5, b = u2
    expected = {
        ("CRM record", "all"): (3, 1, 2, 3, 30),
        ("CRM record", "a"): (2, 1, 1, 1, 10),
        ("CRM record", "b"): (1, 0, 1, 2, 20),
        ("survey answer", "all"): (2, 1, 1, 3, 30),
        ("survey answer", "a"): (0, 0, 0, 2, 20),
        ("survey answer", "b"): (2, 1, 1, 1, 10),
        ("last UTM", "all"): (2, 2, 0, 2, 20),
        ("last UTM", "a"): (1, 1, 0, 1, 10),
        ("last UTM", "b"): (1, 1, 0, 1, 10),
        ("multi-touch", "all"): (4, 4, 0, 0, 0),
        ("multi-touch", "a"): (2, 2, 0, 0, 0),
        ("multi-touch", "b"): (2, 2, 0, 0, 0),
    }
    assert {key: tuple(row) for key, row in zip(table.index, table.to_numpy())} == expected


def test_approaches_need_their_data(log):
    table = ask(log, sources=["partner_id"]).approaches
    assert list(dict.fromkeys(table["approach"])) == ["CRM record", "multi-touch"]
    assert ask(log, by="utm_source").approaches.empty


def test_answers_find_their_users_where_the_rows_stay_in_files(log, tmp_path):
    paths = {}
    for name, frame in tables().items():
        paths[name] = tmp_path / f"{name}.parquet"
        frame.to_parquet(paths[name])
    there, here = ask(EventLog.from_parquet(**paths, aliases=ALIASES)), ask(log)
    for table in ("credit", "touches", "conflicts", "approaches", "late"):
        pd.testing.assert_frame_equal(getattr(there, table), getattr(here, table))


def test_the_filter_of_touches_stands(log):
    assert credit(
        ask(
            log,
            touches=Step("visit", where={"partner_id": "a"}),
            sources=["partner_id", "utm_source"],
        )
    ) == {"a": 1}  # u1's alone
    result = ask(
        log,
        touches=Step("visit", where={"utm_source": "b"}),
        sources=["partner_id", "utm_source"],
    )
    assert (
        credit(result) == {"a": 0, "b": 1} and result.touches["n_touches"].sum() == 1
    )  # u2's; a cost money


def test_blank_tags_are_no_tags(log):
    blank = tables()
    blank["events"] = blank["events"].fillna(
        {"partner_id": "", "promo_code": " ", "utm_source": ""}
    )
    blank["surveys"]["reason"] = blank["surveys"]["reason"].fillna("")
    blank["people"] = pd.concat(
        [blank["people"], pd.DataFrame({"user_id": ["u4", "u5"], "partner_id": ["", " "]})]
    )
    there, here = ask(EventLog.from_frame(**blank, aliases=ALIASES)), ask(log)
    for table in ("credit", "touches", "conflicts", "approaches", "partners"):
        pd.testing.assert_frame_equal(getattr(there, table), getattr(here, table))


def test_what_was_spent_goes_to_its_partner_or_is_said():
    spend = pd.DataFrame(
        {
            "day": "2026-01-25",
            "amount": [100.0, 5.0, 50.0, 900.0, 7.0, 3.0],
            "partner_id": ["a", "A ", "Bee.com", "zoe", None, "ours.io"],
        }
    )
    log = EventLog.from_frame(**(tables() | {"spend": spend}), aliases=ALIASES)
    log.currency = "EUR"
    result = ask(log)
    for table in (result.partners, result.budget, result.brought, result.approaches):
        assert (table["currency"] == "EUR").all()
    (a,), spent = (
        {"a", "A"} & set(result.partners["partner_id"]),
        result.partners.set_index("partner_id")["spend_amount"],
    )
    assert spent.to_dict() == {a: 105, "b": 50, "zoe": 900}
    assert result.budget.groupby("window_days")[["spend_amount", "budget_amount"]].sum().loc[
        20
    ].tolist() == pytest.approx([1055, 1055])
    zoe = result.partners.set_index("partner_id").loc["zoe"]
    assert (
        zoe["n_attributed"] == zoe["n_credited"] == 0
        and zoe["verdict"] == "too few conversions (< 30)"
    )
    assert (
        "10 EUR of the money spent names no partner_id, or ourselves; it stands in no row."
        in result.caveats
    )


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["partner"], 'sources: give some of .*, not "partner". Did you mean "partner_id"'),
        ([], "sources: give some of partner_id, promo_code, utm_source"),
        (["survey:heard", "survey:other"], "at most one"),
        (["survey:herd"], 'sources: the surveys hold no question "herd". Did you mean "heard"'),
    ],
)
def test_bad_sources_get_a_sentence(log, sources, words):
    with pytest.raises(ParameterError, match=words):
        ask(log, sources=sources)


def test_no_user_stands_in_a_table(log):
    result = ask(log)
    for name in ("touches", "conflicts", "approaches", "flips", "late", "budget"):
        cells = set(getattr(result, name).astype(str).to_numpy().ravel())
        assert not {row[0] for row in ROWS} & cells, name
        assert not [cell for cell in cells if re.fullmatch("[0-9a-f]{16}", cell)], name
    assert np.isfinite(result.reference_days)
