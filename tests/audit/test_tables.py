"""What stands beside the verdicts: doubles, plan, partners' names, answers, clocks, silences."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from mctlib import audit_events, diagnose_funnel
from mctlib.audit.partners import partners_table
from mctlib.tracking_plan.check import judge
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import log_of

AS_OF = "2026-03-01"


def plan_of(**micro_conversions):
    return as_plan({"micro_conversions": micro_conversions}, "plan")


# ---------------------------------------------------------------------------------- sent twice


def test_doubles_are_alike_events_of_a_user_within_two_seconds():
    """By hand, in seconds: the second at 1 s is one, at 4.5 s not; another property, user or event
    is none; a twin from another version is mixed."""
    rows = [
        *(("ann", "a", 0, "ios", "1", "{}"), ("ann", "a", 1, "ios", "1", "{}")),
        *(("bob", "a", 0, "ios", "1", "{}"), ("bob", "a", 4.5, "ios", "1", "{}")),
        *(("cid", "a", 0, "ios", "1", '{"x": 1}'), ("cid", "a", 1, "ios", "1", '{"x": 2}')),
        *(("dan", "a", 0, "ios", "1", "{}"), ("eve", "a", 1, "ios", "1", "{}")),
        *(("fay", "a", 0, "ios", "1", "{}"), ("fay", "b", 1, "ios", "1", "{}")),
        *(("gus", "a", 0, "ios", "1", "{}"), ("gus", "a", 2, "ios", "2", "{}")),
    ]
    log = log_of(rows, "platform", "app_version", "properties", unit="s")
    found = audit_events(log, as_of=AS_OF)
    (whole,) = found.duplicates.query("app_version == 'all'").to_dict("records")
    assert [whole[c] for c in ("n_events", "n_doubled", "n_mixed")] == [12, 2, 1]
    curve = found.curve.set_index("seconds")["n_doubled"]
    assert curve[[0, 1, 2, 4, 5, 10]].tolist() == [0, 1, 2, 2, 3, 3]


def test_what_is_sent_twice_moves_a_funnel_only_where_it_asks_for_it_twice():
    rows = [
        (f"u{i}", event, 60 * i + 5 * k, None) for i in range(40) for k, event in enumerate("ab")
    ]
    rows = [row for row in rows if row[1] == "a" or int(row[0][1:]) % 2]
    doubles = [(user, event, at + 1, None) for user, event, at, _ in rows]
    once, twice = (log_of(r, "platform", unit="s") for r in (rows, rows + doubles))
    for steps, alike in ((["a", "b"], True), (["a", "b", "b"], False)):
        found = [
            diagnose_funnel(log, steps, window="1d", as_of=AS_OF).steps["n_reached"].tolist()
            for log in (once, twice)
        ]
        assert (found[0] == found[1]) == alike


def test_a_version_that_sends_twice_is_named():
    rng = np.random.default_rng(1)
    rows = []
    for version, rate in (("1", 0.0), ("2", 0.05), ("3", 0.05)):
        for i in range(2000):
            at = 86_400 * 20 * int(version) + 600 * i
            rows.append((f"u{i % 300}", "a", at, "ios", version))
            if rng.random() < rate:
                rows.append((f"u{i % 300}", "a", at + 0.5, "ios", version))
    found = audit_events(log_of(rows, "platform", "app_version", unit="s"), as_of="2026-06-01")
    assert found.duplicates["since"].tolist() == ["2", "", "", ""]
    twice = [h for h in found.headlines if h.name == "twice"]
    assert twice[0].note == "from version 2 on" and 4 < twice[0].value < 6
    assert any("twice on iOS" in action.text for action in found.actions)


# ------------------------------------------------------------------------------------ the plan


def test_violations_are_those_of_a_captured_batch():
    """`judge` finds them one by one."""
    rng = np.random.default_rng(2)
    values = [1, 1.0, 2.5, "1", "x", True, None, [1], {"a": 1}]
    rules = {
        "n": {"type": "integer", "required": "yes"},
        "word": {"type": "string", "enum": ["x", "y"]},
        "any": {"type": ["number", "null"], "enum": [1, 2.5, None]},
        "flag": {"type": "boolean", "enum": [True]},
    }
    plan = plan_of(
        a={"properties": rules, "additional": "flag"},
        b={"events": [{"event": "b", "where": {"word": "x"}}], "properties": {"n": rules["n"]}},
    )
    rows, expected = [], {}
    for i in range(300):
        event = "abc"[rng.integers(3)]
        keys = [key for key in (*rules, "extra") if rng.random() < 0.6]
        properties = {key: values[rng.integers(len(values))] for key in keys}
        rows.append((f"u{i}", event, i, json.dumps(properties)))
        message = {"event": event, "properties": properties}
        kinds = judge(message, event, plan.rules().get(event), plan)
        for kind, what in {
            (v.kind, "" if v.kind == "Additional-Properties" else v.what) for v in kinds
        }:
            expected[event, kind, what] = expected.get((event, kind, what), 0) + 1
    found = audit_events(log_of(rows, "properties", unit="h"), plan, as_of=AS_OF).violations
    found["what"] = found["what"].where(found["kind"] != "Additional-Properties", "")
    told = found.set_index(["micro_conversion", "kind", "what"])["n_violating"].to_dict()
    expected = {
        key: n for key, n in expected.items() if key[1] != "Unknown-Violation" or key[2] != "any"
    }
    told = {key: n for key, n in told.items() if key[1] != "Unknown-Violation" or key[2] != "any"}
    assert told == expected and len(told) >= 9


def test_a_platform_that_is_expected_and_not_there_is_a_row():
    rows = [(f"u{i}", "a", i, "web") for i in range(20)]
    plan = plan_of(a={"platforms": ["web", "ios"]})
    found = audit_events(log_of(rows, "platform", unit="h"), plan, as_of=AS_OF)
    whole = found.presence.query("app_version == 'all'").set_index("platform")
    assert whole["n_events"].to_dict() == {"web": 20, "ios": 0}
    assert whole["expected"].tolist() == ["yes", "yes"]
    assert whole["first_week"].to_dict() == {"web": "2025-12-29", "ios": ""}


@pytest.mark.parametrize("rare", [False, True])
def test_what_events_say_otherwise_than_before_is_told(rare):
    """From day 40 of 56 on: `a` goes, `b` comes, `c` is a text, `d` is null; a third of the events
    have none of them. Of four events chance explains it."""
    rows = []
    for i in range(560):
        new = i >= 400
        says = {"c": str(i) if new else i, "n": i if i % 2 else i + 0.5, "b" if new else "a": True}
        says |= {"d": None} if new else {"d": 1}
        says = {} if i % 3 == 0 or (rare and i % 150) else says
        rows.append((f"u{i % 50}", "did", 2.4 * i, json.dumps(says)))
    rows += [(f"u{i}", "new", 24 * 50, '{"x": 1}') for i in range(40)]  # no period to compare with
    found = audit_events(log_of(rows, "properties", unit="h"), as_of="2026-02-26").drift
    assert set(found["since"]) <= {"2026-02-10"}
    told = found.set_index("property")[["drift", "type_before", "type_after"]].T.to_dict("list")
    expected = {
        "a": ["vanished", "boolean", ""],
        "b": ["appeared", "", "boolean"],
        "c": ["changed type", "number", "string"],
        "d": ["vanished", "number", ""],
    }
    assert told == ({} if rare else expected)
    if not rare:
        row = found.set_index("property").loc["c"]
        assert (row["n_before"] + row["n_after"], row["n_users"] >= 10) == (373, True)


# ------------------------------------------------------------------------------------ partners

SPELLINGS = {
    "Creator-Chloe": "signs between the words",
    "creatorchloe": "signs between the words",
    "CREATOR_CHLOE": "upper and lower case",
    "chloe creator": "order of the words",
    "creator\u200b_chloe": "hidden letters",
    "cre\u0430tor_chloe": "look-alike letters",  # a Cyrillic a
    " creator_chloe": "spaces around it",
}


def test_spellings_of_a_partner_are_put_together():
    rows = [(f"u{i}", "visit", i, "creator_chloe", "creator_chloe") for i in range(30)]
    for k, name in enumerate([*SPELLINGS, "{{partner}}", "(not set)", "newsletter"]):
        rows += [(f"v{k}-{i}", "visit", i, name, None) for i in range(12)]
    log = log_of(rows, "utm_source", "partner_id", unit="h")
    found = audit_events(log, as_of=AS_OF)
    told = found.partners.set_index("written")
    assert {name: told.loc[name, "why"] for name in SPELLINGS} == SPELLINGS
    assert (told.loc[[*SPELLINGS], "means"] == "creator_chloe").all()
    assert told.loc["{{partner}}", "why"] == told.loc["(not set)", "why"] == "placeholder"
    assert told.loc["newsletter", "why"] == "unknown partner"
    assert (told["n_without_credit"] == 12).all() and "creator_chloe" not in told.index
    assert dict(found.aliases) == dict.fromkeys(SPELLINGS, "creator_chloe")
    # what is proposed is what a data YAML takes, and then nothing is hidden any more
    mending = yaml.safe_load(found.mending)["aliases"]
    assert mending == found.aliases and "\\u200B" in found.mending
    mended = log_of(
        rows, "utm_source", "partner_id", unit="h", aliases=mending | {"Newsletter": ""}
    )
    again = audit_events(mended, as_of=AS_OF)
    assert again.partners.query("mended == 'no'")["why"].unique().tolist() == ["placeholder"]
    told = again.partners.query("mended == 'yes'").set_index("written")
    assert told["why"].to_dict() == SPELLINGS and (told["n_without_credit"] == 0).all()
    assert not again.aliases and not again.mending
    assert "7 spellings mended when loading" in again.tells["partners"]


@pytest.mark.parametrize("names", [["Jobs", "jobs"], ["Ann Lee", "ann-lee", "lee ann"]])
def test_without_partner_ids_the_most_frequent_spelling_stands(names):
    rows = [
        (f"u{k}-{i}", "visit", i, name) for k, name in enumerate(names) for i in range(20 - 3 * k)
    ]
    log = log_of(rows, "utm_source", unit="h")
    found = partners_table(log, log.as_of(AS_OF))
    assert set(found["means"]) == {names[0]} and set(found["written"]) == set(names[1:])


def test_codes_in_links_of_others_are_told():
    rows = [(f"u{i}", "visit", i, "ann", "ANN10") for i in range(30)]
    rows += [(f"v{i}", "visit", i, "coupons", "ANN10") for i in range(11)]
    found = audit_events(log_of(rows, "partner_id", "promo_code", unit="h"), as_of=AS_OF).conflicts
    assert found.values.tolist() == [["coupons", "promo_code", "ANN10", "ann", 11, 11]]


def test_partner_utm_and_code_are_held_against_each_other():
    """By hand: 30 of ann agree in all three, however they are spelt; the others do not."""
    rows = [(f"u{i}", "visit", i, "ann", "Ann", "ANN10") for i in range(30)]
    rows += [(f"v{i}", "visit", i, "ann", "newsletter", None) for i in range(14)]  # nobody's
    rows += [(f"w{i}", "visit", i, "bob", "bob", "BOB5") for i in range(20)]
    rows += [(f"x{i}", "visit", i, "bob", "ann", None) for i in range(12)]
    rows += [(f"y{i}", "visit", i, None, "BOB", "ANN10") for i in range(11)]
    log = log_of(rows, "partner_id", "utm_source", "promo_code", unit="h")
    found = audit_events(log, as_of=AS_OF).conflicts
    assert found.values.tolist() == [
        ["bob", "utm_source", "ann", "ann", 12, 12],
        ["bob", "promo_code", "ANN10", "ann", 11, 11],
    ]


def test_credits_kept_by_hand_are_held_against_links():
    """By hand: Ann's touch comes last; Bob was touched by ann before coupons; Cid's comes later."""
    rows = [("ann", "visit", 1, "ann"), ("bob", "visit", 1, "ann"), ("bob", "visit", 2, "Coupons")]
    rows += [("cid", "visit", 9, "ann"), ("dan", "visit", 1, "coupons"), ("eve", "visit", 1, None)]
    sheet = [("ann", "ann", 5), ("bob", "ANN", 5), ("cid", "ann", 5), ("dan", "ann", 5)]
    manual = pd.DataFrame(sheet + [("dan", "coupons", 4)], columns=["user_id", "partner_id", "day"])
    manual["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(manual["day"], unit="D")
    spend = pd.DataFrame({"day": ["2026-01-05"], "amount": [1.0], "partner_id": ["coupons"]})
    log = log_of(rows, "utm_source", unit="D", manual=manual, spend=spend)
    found = audit_events(log, as_of=AS_OF).by_hand.set_index("partner_id")
    assert found.loc["all"].tolist() == found.loc["ann"].tolist() == [4, 2, 1, 1, 1]
    assert audit_events(log_of(rows, "utm_source", unit="D"), as_of=AS_OF).by_hand.empty


# ------------------------------------------------------------------------- answers, clocks, days


def test_answers_are_held_against_events_by_hand():
    """Of 30 who say yes 20 have the event; of 20 who say no 5 do, as the event came in time."""
    rows = [(f"u{i}", "start", 24 * 20 + i / 10) for i in range(50)]
    rows += [(f"u{i}", "done", 24 * 21 + i / 10) for i in [*range(20), *range(30, 35)]]
    rows += [("u36", "done", 24 * 31)]  # after the answer
    rows += [("early", "start", 0), ("late", "start", 24 * 50)]
    asked = pd.Timestamp("2026-01-26", tz="UTC")
    surveys = pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(50)],
            "submitted_at": asked,
            "micro_conversion": "have you?",
            "answer": ["yes"] * 30 + ["no"] * 20,
        }
    )
    plan = as_plan(
        {"start": "start", "micro_conversions": {"start": {}, "done": {"survey": "have you?"}}},
        "plan",
    )
    found = audit_events(log_of(rows, unit="h", surveys=surveys), plan, as_of=AS_OF)
    (row,) = found.answers.query("platform == 'all'").to_dict("records")
    assert [row[c] for c in ("n_answers", "n_yes_without_event", "n_no_with_event")] == [50, 10, 5]
    assert row["disagree_rate"] == 0.3 and row["balance_rate"] == 0.1
    # Chapman's, by hand: 25 have the event, 30 say yes, 20 both
    assert row["n_estimated"] == pytest.approx(26 * 31 / 21 - 1)
    assert row["n_estimated_ci_lower"] < row["n_estimated"] < row["n_estimated_ci_upper"]
    assert row["completeness_rate"] == pytest.approx(2 / 3)
    assert row["completeness_rate_ci_lower"] == pytest.approx(0.488, abs=1e-3)  # Wilson's, by hand
    assert row["completeness_rate_ci_upper"] == pytest.approx(0.808, abs=1e-3)
    assert row["completeness_if_wrong_rate"] == pytest.approx(20 / (0.95 * 30))
    assert "15 of 50 answers disagree" in " ".join(found.details)


def test_where_answers_disagree_most_and_who_is_silent_are_told():
    """Of 400 users on each of two versions one in ten disagrees on the first, one in two on the
    other; of them three in four answer on iOS, one in four on the web."""
    rows, said, at = [], [], pd.Timestamp("2026-01-01")
    for i in range(1600):
        platform, version = ("ios", "12"[i % 2]) if i < 800 else ("web", "12"[i % 2])
        rows.append((f"u{i}", "start", i / 10, platform, version))
        if i // 2 % 4 < (3 if platform == "ios" else 1):
            wrong = (i // 8) % 10 < (5 if (platform, version) == ("ios", "2") else 1)
            rows += [] if wrong else [(f"u{i}", "done", i / 10 + 5, platform, version)]
            said.append((f"u{i}", at + pd.Timedelta(hours=i / 10 + 6), "done", "yes"))
    rows.append(("u0", "start", 24 * 50, "ios", "1"))  # the answers are not of the newest days
    columns = ["user_id", "submitted_at", "micro_conversion", "answer"]
    surveys = pd.DataFrame(said, columns=columns)
    plan = as_plan({"start": "start", "micro_conversions": {"start": {}, "done": {}}}, "plan")
    log = log_of(rows, "platform", "app_version", unit="h", surveys=surveys)
    found = audit_events(log, plan, as_of=AS_OF)
    answered = found.respondents.set_index("group")[["n_users", "n_answered"]].T.to_dict("list")
    assert answered == {"all": [1600, 800], "ios": [800, 600], "web": [800, 200]}
    odd = found.answers.set_index(["platform", "app_version"])
    assert odd["n_answers"]["ios", "2"] == 300 and odd["qvalue"]["ios", "2"] < 1e-6
    assert "Most disagree on iOS, version 2: 5" in " ".join(found.details)
    told = "25.0 % of platform web and 75.0 % of platform iOS answered, of all users 50.0 %."
    assert f"Who answers is not who uses: {told}" in found.caveats


def test_clocks_and_silences():
    """A day 40 to 44 without an event of which there are ten a day; events received before."""
    rows = [
        (f"u{i % 60}", "a", f"2026-01-{1 + d:02d}" if d < 31 else f"2026-02-{d - 30:02d}", "web")
        for d in range(55)
        for i in range(10)
        if not 40 <= d < 45
    ]
    frame = pd.DataFrame(rows, columns=["user_id", "event", "timestamp", "platform"])
    at = pd.to_datetime(frame["timestamp"], utc=True)
    received = at.where(frame.index % 40 != 0, at - pd.Timedelta("1h"))
    log = log_of(frame.assign(received_at=received).values.tolist(), "platform", "received_at")
    found = audit_events(log, as_of="2026-02-24")
    assert found.outages[["micro_conversion", "n_days"]].values.tolist() == [["a", 5]]
    assert found.outages["day"].tolist() == [pd.Timestamp("2026-02-10")]
    (row,) = found.clocks.to_dict("records")
    assert row["check"] == "received before it happened"
    assert row["n_events"] == (frame.index % 40 == 0).sum()
    assert row["median_days"] == pytest.approx(1 / 24)


# --------------------------------------------------------------------------------- the demo


@pytest.fixture(scope="module")
def demo(demo_log):
    return audit_events(demo_log, as_of="2026-11-29")


def test_the_demos_faults_are_found_and_nothing_else(demo):
    from mctlib.sources.demo import stories

    loss, twice = stories.TRACKING_LOSS, stories.DUPLICATES
    lost = demo.verdicts[demo.verdicts["moves_rate"] < 0].set_index("micro_conversion")
    assert set(lost.index) == set(loss["events"]) and set(lost["verdict"]) == {"correctable"}
    assert set(lost["platform"]) == {loss["platform"]}
    assert set(lost["app_version"]) == {loss["app_version"]}
    released = pd.Timestamp(loss["released"])
    assert (abs(pd.to_datetime(lost["since"]) - released) <= pd.Timedelta(days=7)).all()
    planted = loss["completeness_rate"]
    assert (lost["completeness_rate_ci_lower"] < planted).all()
    assert (planted < lost["completeness_rate_ci_upper"]).all()
    others = demo.verdicts[demo.verdicts["moves_rate"] == 0]
    assert set(others.loc[others["witness"] != "", "verdict"]) == {"trusted"}
    (told,) = [h for h in demo.headlines if h.name == "twice"]
    assert twice["logical_version"] in told.note and told.label == "Recorded twice on iOS"
    assert told.value == pytest.approx(100 * twice["logical_rate"] / 1.03, abs=0.1)
    wrong = stories.BROKEN_UTM
    assert set(demo.aliases) == set(wrong["spellings"]) - {wrong["partner_id"]}
    assert set(demo.aliases.values()) == {wrong["partner_id"]}
    given = {stories.PROMO_CONFLICT["promo_code"].lower(): "creator_ana"}
    assert yaml.safe_load(demo.mending) == {"aliases": given | demo.aliases}
    conflict = stories.PROMO_CONFLICT
    assert demo.conflicts["partner_id"].tolist() == [conflict["partner_id"]]
    said = demo.answers[demo.answers["platform"] == "all"]
    gap = said["n_yes_without_event"].sum() + said["n_no_with_event"].sum()
    assert gap / said["n_answers"].sum() == pytest.approx(
        stories.SURVEY["disagreement_rate"], abs=0.015
    )
    assert demo.violations.empty and demo.clocks.empty and demo.outages.empty
    assert demo.drift.empty and not any("Who answers" in caveat for caveat in demo.caveats)
    late = demo.delays.set_index("platform")["days_99"]
    assert late["web"] == 0 and late["ios"] < late["android"] < stories.LATE["most_days"]
    young = f"since {29 - int(late['android'])} November on Android"
    assert any(f"Those {young}" in said for said in demo.how_sure)


def test_the_demo_is_told_in_everyday_words(demo):
    assert len(demo.finding.split()) <= 25 and len(demo.headlines) == 4 and len(demo.actions) == 3
    assert demo.headlines[0].number == "3 of 5"
    assert [a.role for a in demo.actions] == ["Data collector", "Data collector", "Partner manager"]
    said = " ".join(
        [demo.finding, *(h.label for h in demo.headlines), *(a.text for a in demo.actions)]
    )
    assert "_" not in said
