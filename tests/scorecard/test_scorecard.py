"""What moved, why, and who acts: planted weeks of a small product, and the demo's stories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.headlines import MOST_WORDS, n_words
from mctlib.scorecard import Scorecard, weekly_scorecard
from mctlib.scorecard.board import too_few
from mctlib.scorecard.causes import losses
from mctlib.scorecard.counting import AT, DAYS, LIFE, count
from mctlib.scorecard.meters import MOST_ALERTED, meters_of
from mctlib.scorecard.narrative import board
from mctlib.scorecard.narrative_first import ended
from mctlib.scorecard.watching import _everything
from mctlib.sources import demo
from mctlib.stats.monitoring import tracking_gate
from mctlib.tracking_plan.reading import as_plan
from tests.scorecard.conftest import (
    LAST,
    MONDAY,
    PLAN,
    RIVAL,
    WEEK,
    product,
    scorecard_of,
    timeline,
)
from tests.support.logs import log_of
from tests.support.project import ROOT

BOOKED = f"booked-fall-{LAST}"


def state_of(found: Scorecard, label: str = "Booked") -> str:
    """What the board says of a number."""
    return found.board.set_index("number")["state"][label]


# -------------------------------------------------------------------------------------- the counts


def test_weeks_count_as_a_naive_count_does():
    """Rates of active users, days, who stayed, the lifecycle: by sets of users a week."""
    rng = np.random.default_rng(4)
    rows = [
        (f"u{user}", event, float(day) + 0.5)
        for user in range(60)
        for day in rng.choice(70, 12)
        for event in rng.choice(["visited", "saved"], rng.integers(1, 3), replace=False)
    ]
    log = log_of(rows, unit="D", since="2026-01-05")
    plan = as_plan({"active": ["visited"], "micro_conversions": {"saved": {}}}, "plan")
    weeks = count(log, meters_of(log, plan), as_of="2026-03-15", by=[])
    assert (weeks.n, weeks.day(0)) == (10, pd.Timestamp("2026-01-05"))
    there = [{r[0] for r in rows if r[2] // 7 == k and r[1] == "visited"} for k in range(10)]
    saved = [{r[0] for r in rows if r[2] // 7 == k and r[1] == "saved"} for k in range(10)]
    days = [{(r[0], r[2]) for r in rows if r[2] // 7 == k and r[1] == "visited"} for k in range(10)]
    table = weeks.of().set_index("metric")
    assert table.loc["saved", "n"].tolist() == [len(t) for t in there]
    assert table.loc["saved", "n_success"].tolist() == [len(t & s) for t, s in zip(there, saved)]
    assert table.loc["week.days_active", "value"].tolist() == pytest.approx(
        [len(d) / len(t) for d, t in zip(days, there)]
    )
    assert table.loc["week.stayed", "n_success"].tolist() == [
        len(before & now) for before, now in zip(there, there[1:])
    ]
    life = weeks.life.groupby("week")[LIFE].sum()
    for k in range(10):
        month, earlier = set().union(*there[max(0, k - 3) : k]), set().union(*there[:k])
        assert life.loc[k].tolist() == [
            len(there[k] - earlier),
            len(there[k] & month),
            len(there[k] & earlier - month),
            len(month - there[k]),
        ]


@pytest.mark.parametrize("callers", [9, 10])
@pytest.mark.parametrize("kind", ["mean", "ratio"])
def test_of_few_users_no_mean_and_no_ratio_is_told_however_many_their_events(kind, callers):
    """Each calls three times on four days a week, for 9 to 11 minutes; in the last for half."""
    calls = [
        (f"u{user}", name, 7 * week + day + 0.1 * k, {"minutes": str(minutes)})
        for week in range(20)
        for user in range(callers)
        for day in range(4)
        for k, minutes in enumerate([9, 10, 11] if week < 19 else [4, 5, 6])
        for name in ("call", *["answer"] * (k == 0 or week < 19 and (week + user + day) % 7 > 0))
    ]
    visits = [(f"u{user}", "visited", 7 * week, {}) for week in range(20) for user in range(40)]
    log = log_of([*visits, *calls], "properties", unit="D", since="2026-01-05")
    of = {"mean": {"of": {"event": "call"}, "property": "minutes"}}
    of["ratio"] = {"of": {"event": "answer"}, "per": {"event": "call"}}
    plan = {"active": ["visited"], "micro_conversions": {"call": {}}}
    plan["metrics"] = {"length": {"kind": kind, **of[kind]}}
    found = weekly_scorecard(log, as_plan(plan, "plan"), as_of="2026-05-24", by=None)
    told = found.weeks[found.weeks["metric"] == "length"]["value"].notna()
    board = found.board.set_index("number").filter(like="ength", axis=0)["last_week"]
    if callers == 9:
        assert found.alerts.empty and not told.any() and (board == "").all()
    else:
        assert found.alerts["metric"].tolist() == ["length"] and told.all() and (board != "").all()


def test_a_mean_and_a_ratio_have_their_own_units():
    rows = [
        (f"u{user}", event, week * 7 + 0.5, {"minutes": str(user)} if event == "call" else {})
        for week in range(10)
        for user in range(20)
        for event in ("visited", "call")
    ]
    log = log_of(rows, "properties", unit="D", since="2026-01-05")
    metrics = {
        "length": {"kind": "mean", "of": {"event": "call"}, "property": "minutes"},
        "calls": {"kind": "ratio", "of": "call", "per": "visited"},
    }
    micros = {"call": {}, "visited": {}}
    plan = as_plan({"active": ["visited"], "micro_conversions": micros, "metrics": metrics}, "p")
    table = count(log, meters_of(log, plan), as_of="2026-03-15", by=[]).of().set_index("metric")
    assert set(table.loc["length", "value"]) == {9.5}
    assert table.loc["length", "variance"].iloc[0] == pytest.approx(np.var(range(20)))
    assert set(table.loc["calls", "value"]) == {1.0}
    assert table.loc["calls", "variance"].isna().all()


def test_at_most_twelve_totals_alert_and_it_is_said():
    many = {f"e{k}": {} for k in range(15)}
    rows = [(f"u{k}", f"e{k}", float(day)) for k in range(15) for day in range(20)]
    log = log_of(rows, unit="D", since="2026-01-05")
    found = meters_of(log, as_plan({"micro_conversions": many}, "plan"))
    assert len(found.watched) == MOST_ALERTED
    assert "15 numbers ask for alerts; the first 12 of the plan do." in found.left_out
    some = many | {"e7": {"priority": 1}, "gone": {"priority": 1}}
    found = meters_of(log, as_plan({"micro_conversions": some}, "plan"))
    assert [meter.name for meter in found.watched] == ["e7"]


def test_what_a_metric_leaves_open_is_as_its_micro_conversion_has_it():
    days = pd.to_datetime(["2026-01-05", "2026-01-25"], utc=True)
    log = EventLog.from_frame(
        pd.DataFrame({"user_id": "u", "event": "a", "timestamp": days, "platform": "web"})
    )
    limits = {"warn": 0.3, "severe": 0.5}
    rate = {"kind": "rate", "of": "a", "per": "active"}
    plan = {
        "active": ["a"],
        "micro_conversions": {"a": {"owner": "ops", "bad": "both", "threshold": limits}},
        "metrics": {
            "share": rate,
            "of_web": rate | {"of": {"event": "a", "where": {"platform": "web"}}},
            "own": rate | {"bad": "up", "threshold": {"warn": 0.2, "severe": 0.3}},
        },
    }
    found = {m.name: m for m in meters_of(log, as_plan(plan, "plan")).all}
    told = {name: (m.micro, m.owner, m.bad, m.threshold.warn) for name, m in found.items()}
    of_a = ("a", "ops", "both", 0.3)
    assert told == {"share": of_a, "of_web": of_a, "own": ("a", "ops", "up", 0.2)}


# -------------------------------------------------------------------------------- cause and person


def test_a_fall_near_a_rival_goes_to_the_response_coordinator(fallen):
    found = scorecard_of(fallen)
    (alert,) = found.alerts.to_dict("records")
    assert alert["alert_id"] == BOOKED
    assert (alert["cause"], alert["who"], alert["state"]) == (
        "competitor",
        "Response coordinator",
        "open",
    )
    assert alert["news"]
    assert alert["n_controls"] == 4
    assert alert["n_cells"] == 2
    assert alert["study_change"] == pytest.approx(-0.3, abs=0.03)
    assert alert["study_change_ci_lower"] < alert["study_change"] < alert["study_change_ci_upper"]
    assert "coincides with instant booking" in found.finding
    assert n_words(found.finding) <= MOST_WORDS
    assert found.actions[0].role == "Response coordinator"
    assert any("Ask users now" in sentence for sentence in found.details)


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (("2026-05-03", "competitor", "instant booking", ""), "behaviour"),  # 15 days before
        (("2026-05-04", "competitor", "instant booking", ""), "competitor"),  # 14 days before
        (("2026-05-24", "competitor", "instant booking", "saved"), "behaviour"),  # another number
        (("2026-05-24", "competitor", "instant booking", "saved, booked"), "competitor"),
        (("2026-05-25", "competitor", "instant booking", ""), "behaviour"),  # a week later
        (("2026-05-19", "release", "5.1", "booked"), "behaviour"),
    ],
)
def test_which_entries_are_told_beside_a_fall(entry, cause):
    found = scorecard_of(product(fall=0.3, timeline=timeline(entry)))
    assert found.alerts["cause"].tolist() == [cause]
    assert ("5.1" in found.alerts["coincides"].iloc[0]) == (entry[1] == "release")


def test_a_number_that_is_not_exposed_has_no_rival(fallen):
    plan = PLAN | {"micro_conversions": PLAN["micro_conversions"] | {"booked": {"priority": 1}}}
    alert = scorecard_of(fallen, plan).alerts.iloc[0]
    assert (alert["cause"], alert["who"]) == ("behaviour", "Analyst")


def test_lost_tracking_is_told_to_the_data_collector_and_no_fall_is():
    found = scorecard_of(product(lost=0.7))
    (alert,) = found.alerts.to_dict("records")
    assert alert["alert_id"] == f"booked-loss-android-{LAST}"
    assert (alert["cause"], alert["who"]) == ("tracking", "Data collector")
    assert found.actions[0].text == "Mend the tracking of “Booked” on Android."
    assert any("by lost tracking alone: without Android it did not" in s for s in found.details)
    assert state_of(found) == "\u25b2 lost events", "no alert on it is open"


def test_a_loss_that_was_mended_is_over_in_its_history_and_in_the_response_log():
    """Lost in three weeks, back in two, lost in a sixth, back in two: over and open again."""
    weeks = [MONDAY + k * WEEK for k in range(24)]
    log = {"alert_id": f"booked-{weeks[14]:%Y-%m-%d}", "detected_on": f"{weeks[15]:%Y-%m-%d}"}
    log |= {"decided_on": f"{weeks[15]:%Y-%m-%d}", "shipped_on": f"{weeks[17]:%Y-%m-%d}"}
    responses = pd.DataFrame([log | {"action": "mend it", "outcome": "open"}])
    asked = {"lost": 0.7, "lost_in": (14, 15, 16, 19), "responses": responses}
    for n, state in ((15, "acknowledged"), (19, "recovered"), (20, "open"), (24, "recovered")):
        found = scorecard_of(product(weeks=n, **asked))
        (alert,) = found.alerts.to_dict("records")
        assert alert["alert_id"] == f"booked-loss-android-{weeks[14]:%Y-%m-%d}"
        assert alert["state"] == state
    assert alert["closed_on"] == weeks[22], "the week after the second that was back"
    told = found.history[["day", "what"]].values.tolist()
    assert told == [
        [weeks[14], "opened"],
        [weeks[15], "noticed"],
        [weeks[15], "decided"],
        [weeks[17], "answered"],
        [weeks[19], "recovered"],
        [weeks[19], "open again"],
        [weeks[22], "recovered"],
    ]
    (answer,) = found.responses.to_dict("records")
    assert (answer["open_stage"], answer["until_recovered_days"]) == ("", 35)
    assert answer["how_measured"] == "", "events that come back are no users that do"


def lost_in(*spells: tuple[int, int]) -> list[dict]:
    """The losses of so many weeks with so many of 1,000 tracked, one after the other."""
    n = np.repeat([each for _, each in spells], [weeks for weeks, _ in spells])
    week = MONDAY + np.arange(len(n)) * WEEK
    cells = pd.DataFrame({"metric": f"booked{AT}android", "week": week, "n": 1000, "n_success": n})
    return losses(tracking_gate(cells)).to_dict("records")


@pytest.mark.parametrize(
    ("spells", "state", "over_in"),
    [
        ([(20, 950), (12, 600)], "open", None),
        ([(20, 950), (13, 600)], "new level", 32),
        ([(20, 950), (40, 600)], "new level", 32),
        ([(20, 950), (13, 600), (9, 950)], "new level", 32),
        ([(20, 950), (12, 600), (1, 950)], "new level", 32),
        ([(20, 950), (11, 600), (2, 950)], "recovered", 32),
        ([(20, 950), (3, 600), (2, 905)], "recovered", 24),
        ([(20, 950), (3, 600), (2, 900)], "open", None),  # under 95 % of .95
    ],
)
def test_a_loss_ends_after_two_weeks_back_or_twelve_as_the_new_level(spells, state, over_in):
    (loss,) = lost_in(*spells)
    assert (loss["since"], loss["state"], loss["p0"]) == (MONDAY + 20 * WEEK, state, 0.95)
    week = pd.NaT if over_in is None else MONDAY + over_in * WEEK
    assert loss["over_on"] is week or loss["over_on"] == week


def test_what_is_lost_beyond_a_new_level_is_another_loss():
    first, second = lost_in((20, 950), (16, 600), (2, 300))
    assert (first["state"], second["state"], second["p0"]) == ("new level", "open", 0.6)
    assert second["since"] == MONDAY + 36 * WEEK
    assert len(second["moves"]) == 0, "it did not open again"


def test_a_loss_that_nobody_mended_is_told_as_the_new_level_and_its_answer_is_carried_over():
    weeks = [f"{MONDAY + k * WEEK:%Y-%m-%d}" for k in range(30)]
    log = {"alert_id": f"booked-loss-android-{weeks[14]}", "detected_on": weeks[15]}
    log |= {"decided_on": weeks[15], "shipped_on": "", "action": "mend it", "outcome": "open"}
    asked = {"lost": 0.7, "lost_in": range(14, 27), "responses": pd.DataFrame([log])}
    found = scorecard_of(product(weeks=27, **asked))
    (alert,) = found.alerts.to_dict("records")
    assert (alert["state"], alert["closed_on"]) == ("new level", pd.Timestamp(weeks[27]))
    assert ended(alert) == "Android still loses “Booked”, now as the new level"
    assert f"{ended(alert)}, after 91 days." in found.details, "in the week in which it ended"
    assert found.tells["alerts"] == "0 alerts ask for somebody; 1 ended this week"
    assert found.history["what"].tolist() == ["opened", "noticed", "decided", "new level"]
    (answer,) = found.responses.to_dict("records")
    assert answer["open_stage"] == "answered"
    assert answer["until_answered_days"] == 12 * 7
    assert np.isnan(answer["until_recovered_days"]), "a new level is no recovery"


def test_without_the_servers_records_tracking_is_not_checked():
    log = product(fall=0.3, served=False, timeline=RIVAL)
    assert scorecard_of(log).alerts["n_cells"].tolist() == [0]


def test_a_fall_beside_lost_tracking_is_told_too():
    found = scorecard_of(product(lost=0.7, fall=0.4))
    assert set(found.alerts["kind"]) == {"loss", "fall"}


def test_of_fewer_than_ten_users_nothing_is_alerted():
    for n, alerted in ((24, 1), (9, 0)):
        rows = [
            (f"u{user}", event, week * 7 + 0.5)
            for week in range(20)
            for user in range(60 if week < 19 else n)
            for event in (["visited"] if week == 19 else ["visited", "booked"])
        ]
        log = log_of(rows, unit="D", since="2026-01-05", observed_until="2026-05-25")
        found = scorecard_of(log, by=None)
        assert len(found.alerts) == alerted
        assert state_of(found) == ("\u25b2 alert open" if alerted else "\u25cb too few to say")
        assert ("gave 1 alert" if alerted else "gave none.") in found.how_sure[1]


def test_the_newest_completeness_of_a_loss_is_of_ten_users_at_least():
    week = [pd.Timestamp(LAST) + k * WEEK for k in range(2)]
    cells = pd.DataFrame({"metric": "booked @ web", "week": week, "n": [80.0, 4.0], "p0": 0.9})
    cells = cells.assign(value=[0.5, 0.25], lost=[True, False], since=week[0])
    assert losses(cells)[["n", "value"]].values.tolist() == [[80.0, 0.5]]


def test_where_everything_moved_there_is_one_notice():
    micros = {name: {"priority": 1} for name in ("booked", "saved", "searched", "shared", "rated")}
    plan = {"active": ["visited"], "micro_conversions": micros | {"visited": {}}}
    found = scorecard_of(product(everything=0.3), plan)
    assert found.alerts["alert_id"].tolist() == [f"everything-fall-{LAST}"]
    assert found.finding.startswith("Everything fell by 30")


@pytest.mark.parametrize(
    ("weeks", "moves", "state"),
    [
        ([10], [(11, "recovered")], "recovered"),
        ([10, 11, 14], [(12, "recovered"), (14, "open again"), (15, "recovered")], "recovered"),
        ([10, 16], [(11, "recovered"), (16, "open again")], "open"),
        ([15, 16], [], "open"),
    ],
)
def test_a_notice_of_everything_is_over_when_a_week_was_none(weeks, moves, state):
    """Of 17 weeks: each time it is over, and comes back within eight weeks, has its day."""
    week = [MONDAY + k * WEEK for k in range(17)]
    judged = pd.DataFrame({"week": week, "n": 600.0, "rel_change": -0.1})
    judged["common_cause"] = [k in weeks for k in range(17)]
    (notice,) = _everything(judged, week[-1])
    assert [((day - MONDAY) // WEEK, what) for day, what in notice["moves"]] == moves
    assert notice["state"] == state
    assert pd.isna(notice["again_on"]) == ((16, "open again") not in moves)


def test_a_holiday_is_not_judged():
    days = timeline(("2026-05-21", "holiday", "a holiday", ""))
    assert scorecard_of(product(fall=0.3, timeline=days)).alerts.empty


def planted(shares: list[float], **tables: pd.DataFrame) -> EventLog:
    """400 users visit each week; so large a share of them books in each."""
    rows = [
        (f"u{user}", event, week * 7 + 0.5)
        for week, share in enumerate(shares)
        for user in range(400)
        for event in (["visited", "booked"] if (user * 0.618) % 1 < share else ["visited"])
    ]
    until = MONDAY + len(shares) * WEEK
    return log_of(rows, unit="D", since=MONDAY, observed_until=f"{until:%Y-%m-%d}", **tables)


def test_a_week_that_is_left_out_is_no_baseline_on_the_board_either():
    days = timeline(("2026-05-14", "holiday", "a holiday", ""))
    found = scorecard_of(product(everything=0.5, weeks=20, timeline=days))
    skipped = timeline((LAST, "holiday", "a holiday", ""))
    left_out = scorecard_of(product(everything=0.5, timeline=skipped))
    assert "\u25cb not judged" in set(left_out.board["state"])
    weeks = found.weeks.query("metric == 'booked' and segment == 'all'").set_index("week")
    assert weeks.loc["2026-05-11", "state"] == "left out"
    assert np.isnan(weeks.loc["2026-05-11", "p0"])


def test_drift_is_told_without_weeks_that_are_left_out_or_of_an_alert_that_is_over():
    usual, low = [0.5] * 20, [0.3]
    for shares, days in (
        ([*usual, 0.5, 0.5, *low, *low], ("2026-06-08", "2026-06-15")),
        ([*usual, *low, *low, 0.5, 0.5], ()),
    ):
        rows = timeline(*((day, "holiday", "a holiday", "") for day in days))
        found = scorecard_of(planted(shares, timeline=rows), by=None)
        assert not any("drifts" in sentence for sentence in found.details)


def test_an_alert_that_came_again_is_told_as_such():
    """It keeps its first day; the level before it is that of the weeks before it came again."""
    shares = [*[0.5] * 20, 0.3, *[0.48] * 8, 0.3]  # back in the second of the eight
    found = scorecard_of(planted(shares), by=None)
    first = f"{MONDAY + 20 * WEEK:%Y-%m-%d}"
    (alert,) = found.alerts.to_dict("records")
    assert (alert["alert_id"], alert["news"]) == (f"booked-fall-{first}", False)
    assert alert["again_on"] == MONDAY + 29 * WEEK
    (tile,) = (h for h in found.headlines if h.name == "booked")
    assert tile.against.label == "before it came again"
    assert tile.against.value == pytest.approx(49, abs=0.3), "six weeks at 50, six at 48"
    assert found.actions[0].state.replace("\u00a0", " ") == "open again since 27 July"


@pytest.mark.parametrize(("day", "state"), [("2026-07-20", "open"), ("2026-07-30", "closed")])
def test_what_closed_an_alert_does_not_close_it_when_it_comes_again(day, state):
    """It came first on 25 May, was over on 15 June, and came again in the week of 27 July."""
    shares = [*[0.5] * 20, 0.3, *[0.48] * 8, 0.3]
    name = f"booked-fall-{MONDAY + 20 * WEEK:%Y-%m-%d}"
    acts = [act("ack", "2026-06-01", name=name), act("close", day, name=name)]
    found = scorecard_of(planted(shares), by=None, acts=pd.DataFrame(acts))
    assert found.alerts["state"].tolist() == [state]
    history = [(f"{row.day:%Y-%m-%d}", row.what) for row in found.history.itertuples()]
    assert [what for _, what in history].count("recovered") == 1
    assert set(history) == {
        ("2026-05-25", "opened"),
        ("2026-06-01", "acknowledged"),
        ("2026-06-15", "recovered"),
        ("2026-07-27", "open again"),
        (day, "closed"),
    }


def test_the_end_of_a_snooze_is_in_the_history(fallen):
    acts = pd.DataFrame([act("snooze", until="2026-05-20"), act("snooze", until="2026-06-30")])
    history = scorecard_of(fallen, acts=acts).history
    assert history[["day", "what"]].astype(str).values.tolist() == [
        [LAST, "opened"],
        [LAST, "snoozed"],
        ["2026-05-20", "snooze over"],
    ]


def test_words_of_the_timeline_that_nobody_knows_are_said():
    rows = timeline(
        ("2026-01-08", "competitors", "instant booking", "booked, bookt"),
        ("2026-01-09", "Release", "5.1", "visited"),
    )
    caveats = " ".join(scorecard_of(product(weeks=3, timeline=rows)).caveats)
    assert "kind “competitors” is not known and only drawn; known are competitor, " in caveats
    assert 'Did you mean "competitor"?' in caveats
    assert 'names “bookt”, which no number is called. Did you mean "booked"?' in caveats
    assert "Release" not in caveats and "visited" not in caveats


def test_the_detectable_fall_stands_on_the_board(fallen):
    """0.4 of 600 and 12 weeks of them, a one-sided p of .005 and of .8: by hand some 16 %."""
    board = scorecard_of(fallen).board.set_index("number")
    least = board.loc["Booked", "least_seen"].replace("\u00a0", " ")
    z = 2.9 + 0.84  # t of .995 and z of .8
    assert int(least.split()[0]) / 100 == pytest.approx(z * np.sqrt(0.6 / (600 * 0.4)), abs=0.02)


def test_users_reasons_stand_beside_the_fall():
    n = 40
    surveys = pd.DataFrame(
        {
            "user_id": [f"u{i}" for i in range(n)],
            "submitted_at": "2026-05-20",
            "micro_conversion": "booked",
            "answer": ["no"] * 30 + ["yes"] * 10,
            "reason": ["too slow"] * 18 + ["no time"] * 12 + [None] * 10,
        }
    )
    found = scorecard_of(product(fall=0.3, surveys=surveys))
    assert found.reasons[["reason", "n_answers", "n_no"]].values.tolist() == [
        ["too slow", 18, 30],
        ["no time", 12, 30],
    ]
    assert any("Users say “too slow”, 18 of 30" in sentence for sentence in found.details)


def test_who_says_a_reason_twice_counts_once_and_few_others_are_not_given_away():
    said = pd.DataFrame({"reason": ["too slow"] * 12 + ["no time"] * 9 + ["too slow"] * 18})
    said["user_id"] = ["u0"] * 12 + [f"u{i}" for i in range(1, 28)]
    said = said.assign(submitted_at="2026-05-20", micro_conversion="booked", answer="no")
    found = scorecard_of(product(fall=0.3, surveys=said))
    counts = found.reasons.set_index("reason")[["n_answers", "n_no"]]
    assert counts.loc["too slow"].tolist() == [19, 28]  # u0 among them
    assert not any("Users say" in sentence for sentence in found.details), "the 9 others"


# ------------------------------------------------------------------------------- acts and answers


def act(what: str, day: str = LAST, until: str = "", name: str = BOOKED) -> dict[str, str]:
    return {"alert_id": name, "day": day, "act": what, "until": until, "by": "ann"}


@pytest.mark.parametrize(
    ("acts", "state"),
    [
        ([act("ack")], "acknowledged"),
        ([act("snooze", until="2026-06-30")], "snoozed"),
        ([act("snooze", until="2026-05-20")], "open"),  # over
        ([act("snooze", until="2026-05-25")], "open"),  # messages come again from that day on
        ([act("snooze", until="2026-05-26")], "snoozed"),
        ([act("snooze")], "open"),  # until nothing
        ([act("close")], "closed"),
        ([act("close", "2026-05-19"), act("ack", "2026-05-20")], "acknowledged"),
        ([act("close", "2026-06-30")], "open"),  # not yet
        ([act("close", name="another-fall-2026-05-18")], "open"),
    ],
)
def test_what_people_did_shows_in_the_state(fallen, acts, state):
    found = scorecard_of(fallen, acts=pd.DataFrame(acts))
    assert found.alerts["state"].tolist() == [state]
    assert len(found.weeks[found.weeks["state"] == "open"]) == 1, "it is evaluated all the same"
    assert state_of(found).endswith(state), "the board says the same"
    (number,) = (h.value for h in found.headlines if h.name == "open alerts")
    assert number == (state != "closed")
    stood = [action.state.replace("\u00a0", " ") for action in found.actions]
    assert stood == {
        "open": ["open for 7 days"],
        "acknowledged": ["open for 7 days, acknowledged"],
    }.get(state, [])


@pytest.mark.parametrize(
    ("shipped", "outcome", "closed_on", "state"),
    [
        ("2026-05-22", "done", "", "closed"),
        ("2026-05-22", "recovered in part", "", "acknowledged"),
        ("2026-05-22", "done", "2026-05-20", "closed"),
        ("2026-05-20", "open", "2026-05-22", "closed"),
        ("2026-05-22", "open", "2026-05-20", "acknowledged"),
        ("2026-05-22", "open", "2026-05-22", "closed"),
    ],
)
def test_the_later_of_an_act_and_the_response_log_wins(shipped, outcome, closed_on, state):
    log = {"alert_id": "booked-2026-05-18", "detected_on": "2026-05-19", "shipped_on": shipped}
    responses = pd.DataFrame([log | {"outcome": outcome, "decided_on": "2026-05-19"}])
    acts = pd.DataFrame([act("close", closed_on)]) if closed_on else None
    found = scorecard_of(product(fall=0.3, responses=responses), acts=acts)
    assert found.alerts["state"].tolist() == [state]
    answer = found.responses.iloc[0]
    assert answer["alert_id"] == BOOKED
    assert answer["until_noticed_days"] == 1


def test_tables_for_reading_hold_words_and_the_id_where_a_command_needs_it():
    log = {"alert_id": "booked-2026-05-18", "detected_on": "2026-05-19", "outcome": "open"}
    other = {"alert_id": "late_night-2026-03-02", "detected_on": "2026-03-03", "outcome": "open"}
    none = {"decided_on": None, "shipped_on": None}
    responses = pd.DataFrame([log | none, other | none])
    surveys = pd.DataFrame({"user_id": ["u1"], "submitted_at": "2026-05-20"})
    surveys = surveys.assign(micro_conversion="booked", answer="no", reason="too slow")
    found = scorecard_of(product(fall=0.3, responses=responses, surveys=surveys))
    assert found.told("alerts_in_short")["alert_id"].tolist() == [BOOKED]
    assert found.told("alerts_in_short")["days_open"].tolist() == [7]
    assert {"alert_id", "baseline", "until"} <= set(found.told("alerts"))
    answers = found.told("responses")
    assert answers[["label", "since", "waits_for"]].values.tolist() == [
        ["Booked", pd.Timestamp("2026-05-18"), "a decision"],
        ["Late night", pd.Timestamp("2026-03-02"), "a decision"],
    ]
    assert {"days_until_noticed"} <= set(answers)
    assert not answers.filter(regex="median|_days$").size
    usual = found.told("medians")
    assert len(usual) == 1 and "label" not in usual, "they are the same of every answer"
    assert found.told("reasons")[["label", "reason"]].values.tolist() == [["Booked", "too slow"]]
    assert set(found.told("history")["label"]) == {"Booked"}
    for name in found.tables:
        assert not {"metric", "p0", "open_stage"} & set(found.told(name))
        assert ("alert_id" in found.told(name)) == (name in ("alerts", "reasons"))


def test_a_count_of_alerts_says_what_it_asks_for_and_the_open_ones_stand_first(fallen):
    first, new, *_ = scorecard_of(fallen).headlines
    assert (first.name, first.kind, first.note) == ("open alerts", "bad", "1 to act on")
    assert (new.name, new.kind) == ("new alerts", "bad")
    slept = scorecard_of(fallen, acts=pd.DataFrame([act("snooze", until="2026-06-30")]))
    (asleep,) = (h for h in slept.headlines if h.name == "open alerts")
    assert (asleep.value, asleep.verdict, asleep.note) == (1, "", "nothing to act on")
    calm = weekly_scorecard(fallen, as_plan(PLAN, "plan"), as_of="2026-05-17")
    new, first, *_ = calm.headlines
    assert (new.name, new.verdict, new.note) == ("new alerts", "", "nothing new")
    assert (first.name, first.verdict, first.note) == ("open alerts", "", "none open")


@pytest.mark.parametrize(
    ("state", "week", "year", "said"),
    [
        ("", None, None, ""),  # compared with nothing
        ("", (-0.02, 0.03), None, "\u25cf quiet"),
        ("", (0.02, 0.04), None, "\u25cf up"),
        ("", (-0.04, -0.02), (0.2, 0.4), "\u25cf down"),
        ("", (-0.02, 0.03), (0.2, 0.4), "\u25cf up on a year ago"),
        ("", None, (-0.1, 0.4), "\u25cf quiet"),
        ("open", (-0.04, -0.02), (0.2, 0.4), "\u25b2 alert open"),
    ],
)
def test_the_board_says_where_a_number_moved_for_sure(state, week, year, said):
    def row(ends):
        low, high = ends or (np.nan, np.nan)
        about = {"rel_change_ci_lower": low, "rel_change_ci_upper": high}
        return about | {"metric": "saved", "rel_change": (low + high) / 2}

    about = {"label": "Saved", "owner": "", "segment": "all", "kind": "count", "n_counted": 90}
    about |= {"detectable_fall": np.nan}
    about |= {"value": 90.0, "value_ci_lower": 80.0, "value_ci_upper": 99.0, "state": state}
    before = {name.replace("rel_", "rel_year_"): value for name, value in row(year).items()}
    weeks = pd.DataFrame({"segment": [], "n": [], "metric": [], "week": []})
    kpis = pd.DataFrame([before | row(week) | about]).assign(week=MONDAY)
    assert board(kpis, weeks)["state"].tolist() == [said]


def test_six_weeks_and_months_stand_in_the_row_of_each_number(fallen):
    found = scorecard_of(fallen)
    own = found.weeks.query("metric == 'booked' and segment == 'all'")
    course = found.board.set_index("number").loc["Booked", "six_weeks_and_months"]
    assert course.weeks == tuple(own["value"].tail(6))
    months = [rows["value"].mean() for _, rows in own.groupby(own["week"].dt.month)]
    assert course.months == pytest.approx(months), "January to May"
    first, last = (f"{100 * own['value'].iloc[at]:.1f}\u00a0%" for at in (-6, -1))
    assert str(course) == f"{first} to {last}", "what a CSV and a screen reader get"
    style = (ROOT / "mctlib/runner/templates/style.css.j2").read_text()
    owner = f".sight table:has(svg) .col{list(found.board).index('owner')} {{ grid-area: 1 / 3;"
    assert owner in style, "a phone's card has it beside the name"


def test_every_channel_has_its_picture_and_its_change_on_a_year_before():
    found = scorecard_of(product(weeks=58, users=90, since=MONDAY - 40 * WEEK))
    table = found.told("kpis").set_index(["number", "segment"])
    parts = table.index.get_level_values("segment").unique().tolist()
    assert parts == ["all", "creator", "organic"]
    for name, part in (("booked", "creator"), ("booked", "organic"), ("week.stayed", "creator")):
        own = found.weeks[(found.weeks["metric"] == name) & (found.weeks["segment"] == part)]
        row = table.loc[own["label"].iloc[0], part]
        assert row["six_weeks_and_months"].weeks == tuple(own["value"].tail(6))
        assert len(row["six_weeks_and_months"].months) == 12
        n, value = own["n"].to_numpy(), own["value"].to_numpy()
        now, then = (n[at] @ value[at] / n[at].sum() for at in (slice(-4, None), slice(-56, -52)))
        change = f"{100 * (now / then - 1):+.0f}".replace("-", "\u2212").replace("+0", "0")
        assert row["against_a_year"].startswith(f"{change}\u00a0% (")
        assert row["state"], "as on the board"


def test_of_a_channel_no_week_of_few_users_is_drawn_nor_given_back_by_the_others():
    """Of "new" four users come in three weeks; with all users told, one more is left out."""
    few = (8, 9, 17)
    size = {"large": 40, "middle": 30, "new": 12}
    rows = [
        (f"{channel}{user}", event, week * 7 + 0.5, channel)
        for week in range(20)
        for channel, n in size.items()
        for user in range(4 if channel == "new" and week in few else n)
        for event in ("visited", "booked")
    ]
    log = log_of(rows, "channel", unit="D", since="2026-01-05", observed_until="2026-05-25")
    found = scorecard_of(log)
    told = found.weeks[found.weeks["segment"] != "all"]
    assert told["n"].min() >= 10
    for (name, week), everyone in found.weeks[found.weeks["segment"] == "all"].groupby(
        ["metric", "week"]
    ):
        parts = told[(told["metric"] == name) & (told["week"] == week)]
        rest = everyone["n"].iloc[0] - parts["n"].sum()
        assert rest == 0 or rest >= 10, "of all less those that are told"
        if name == "booked":
            hidden = (week - MONDAY).days // 7 in few
            assert set(parts["segment"]) == ({"large"} if hidden else {"large", "middle", "new"})
    course = found.told("kpis").set_index(["number", "segment"])["six_weeks_and_months"]
    assert len(course["Booked", "new"].weeks) == 6
    months = [
        own["value"].mean()
        for _, own in told.query("metric == 'month.users' and segment == 'new'").groupby(
            told["week"].dt.month
        )
    ]
    own = course["Users active in four weeks", "new"]
    assert own.months == pytest.approx(months), "a mean gives no hidden week back either"


@pytest.mark.parametrize("seed", range(20))
def test_what_is_left_out_of_a_week_is_ten_users_together(seed):
    rng = np.random.default_rng(seed)
    n = rng.integers(0, 25, (rng.integers(2, 6), 8))
    parts, weeks = np.indices(n.shape)
    series = pd.DataFrame({"metric": "saved", "segment": parts.ravel(), "week": weeks.ravel()})
    series = series.assign(n=n.ravel().astype(float)).sample(frac=1, random_state=seed)
    kinds = pd.Series("rate", series.index)
    hidden = too_few(series, kinds)
    for _, rows in series.groupby("week"):
        left_out, told = (rows.loc[hidden[rows.index] == is_out, "n"] for is_out in (True, False))
        assert not told.between(1, 9).any()
        assert left_out.sum() >= 10 or not left_out.any() or not told.any()
        few = rows["n"].between(1, 9).any()
        assert few or left_out.empty, "nothing is left out without need"
    active = series.assign(metric=DAYS, n=9.0)
    both = pd.concat([series, active], ignore_index=True)
    kinds = pd.Series(["mean"] * len(series) + ["rate"] * len(active))
    assert too_few(both, kinds)[both["n"] > 0].all(), "events of nine users, however many"


def test_of_fewer_than_ten_users_the_board_tells_nothing():
    rows = [
        (f"u{user}", event, week * 7 + 0.5)
        for week in range(20)
        for user in range(60 if week < 19 else 9)
        for event in ("visited", "booked")
    ]
    log = log_of(rows, unit="D", since="2026-01-05", observed_until="2026-05-25")
    row = scorecard_of(log, by=None).board.set_index("number").loc["Booked"]
    assert (row["last_week"], row["against_before"]) == ("", "")
    assert len(row["six_weeks_and_months"].weeks) == 6, "of weeks with more"


def test_an_act_that_cannot_be_read_is_refused(fallen):
    with pytest.raises(DataError, match='"day" is missing'):
        scorecard_of(fallen, acts=pd.DataFrame([{"alert_id": BOOKED, "act": "ack"}]))
    with pytest.raises(DataError, match='acts: day: "soon" is no day'):
        scorecard_of(fallen, acts=pd.DataFrame([act("ack", "soon")]))


def test_a_log_of_less_than_a_week_is_refused():
    log = log_of([("a", "visited", 1.0), ("b", "visited", 2.0)], unit="D", since="2026-01-05")
    with pytest.raises(ParameterError, match="no whole week"):
        weekly_scorecard(log, as_of="2026-01-08", by=None)
    with pytest.raises(ParameterError, match="channel"):
        weekly_scorecard(log, as_of="2026-01-18", by="channel")


@pytest.mark.parametrize(
    ("shipped", "said"),
    [
        (
            "2026-05-20",
            "no whole week between the fall's first and its answer and 0 whole weeks since it",
        ),
        ("2026-05-25", "no whole week between the fall's first and its answer and 0 whole weeks"),
    ],
)
def test_what_came_back_is_not_told_where_the_weeks_do_not_carry_it(shipped, said):
    log = {"alert_id": BOOKED, "detected_on": "2026-05-19", "decided_on": "2026-05-19"}
    responses = pd.DataFrame([log | {"shipped_on": shipped, "outcome": "open"}])
    found = scorecard_of(product(fall=0.3, responses=responses))
    (answer,) = found.responses.to_dict("records")
    assert answer["how_measured"].startswith(f"not told: {said}")
    assert np.isnan(answer["recovered_change"])
    assert any("what came back since is not told: " in sentence for sentence in found.details)


def test_of_a_ratio_it_is_said_that_nothing_tells_what_came_back():
    metrics = {"bookings": {"kind": "ratio", "of": "booked", "per": "visited", "alert": True}}
    name = f"bookings-fall-{LAST}"
    log = {"alert_id": name, "detected_on": "2026-05-19", "decided_on": "2026-05-19"}
    responses = pd.DataFrame([log | {"shipped_on": "2026-05-20", "outcome": "open"}])
    found = scorecard_of(product(fall=0.3, responses=responses), PLAN | {"metrics": metrics})
    assert name in found.alerts["alert_id"].tolist()
    (answer,) = found.responses.to_dict("records")
    assert answer["how_measured"] == "not told: this is a ratio"
    assert any("what came back since is not told: this is a ratio" in s for s in found.details)


def test_a_slow_drift_is_a_note_on_the_page_for_whom_it_concerns():
    """Bookings lose 2 % a week for twelve weeks, none of which falls far from the line."""
    rows = [
        (f"u{user}", event, week * 7 + 0.5)
        for week in range(33)
        for user in range(2000)
        for event in ("visited", "booked")
        if event == "visited" or (user * 0.618 + week * 0.377) % 1 < 0.4 * 0.98 ** max(week - 20, 0)
    ]
    found = scorecard_of(log_of(rows, unit="D", since="2026-01-05"), by=None)
    (row,) = found.drift.to_dict("records")
    assert (row["label"], row["role"], row["owner"]) == (
        "Booked",
        PLAN["micro_conversions"]["booked"]["acts"],
        "product",
    )
    assert row["n_counted"] == 8000
    assert "“Booked” drifts" in found.tells["kpis"]


def test_a_run_again_and_a_run_of_the_past_say_what_was_known_then(fallen):
    twice = [scorecard_of(fallen) for _ in range(2)]
    for name, table in twice[0].tables.items():
        pd.testing.assert_frame_equal(table, twice[1].tables[name])
    before = weekly_scorecard(fallen, as_plan(PLAN, "plan"), as_of="2026-05-17")
    assert before.alerts.empty
    assert before.finding == "Nothing fell this week, and no alert is open."


# ---------------------------------------------------------------------------------------- the demo


def test_the_demos_stories_are_told_to_whom_they_concern(demo_card):
    truth = demo.truth()
    alerts = demo_card.alerts.set_index("alert_id")
    rival = alerts.loc[f"interviews-fall-{truth['competitor']['change_at'][:10]}"]
    assert rival["role"] == truth["competitor"]["told"]
    assert rival["study_change_ci_lower"] < -0.15 < rival["study_change_ci_upper"]
    assert rival["state"] == "recovered"
    chat = alerts.loc[f"session_minutes-fall-{truth['session_length']['change_at'][:10]}"]
    assert chat["role"] == truth["session_length"]["told"]
    assert chat["rel_change"] == pytest.approx(-0.25, abs=0.02)
    lost = alerts[alerts["kind"] == "loss"]
    assert set(lost["platform"]) == {"android"}
    assert set(lost["role"]) == {truth["tracking_loss"]["told"]}
    assert set(lost["since"]) == {pd.Timestamp(truth["tracking_loss"]["released"])}
    assert set(alerts.index) == {rival.name, chat.name, *lost.index}, "nothing else in 60 weeks"


@pytest.mark.integration
@pytest.mark.parametrize("story", ["competitor", "session_length", "tracking_loss"])
def test_the_demos_stories_are_news_in_their_very_week(demo_log, story):
    truth = demo.truth()[story]
    began = pd.Timestamp(truth.get("change_at") or truth["released"])
    found = weekly_scorecard(demo_log, as_of=f"{began + WEEK - pd.Timedelta('1D'):%Y-%m-%d}")
    news = found.alerts[found.alerts["news"]]
    assert set(news["since"]) == {began}
    assert set(news["role"]) == {truth["told"]}
    assert (news["n_controls"] > 0).all() == (story != "tracking_loss")
    assert (
        news["alert_id"].iloc[0].rpartition("-fall-" if story != "tracking_loss" else "-loss-")[1]
    )


def test_while_an_alert_is_open_a_number_is_held_against_the_level_before_the_alert(demo_card):
    since = pd.Timestamp(demo.truth()["session_length"]["change_at"])
    own = demo_card.weeks.query("metric == 'session_minutes' and segment == 'all'")
    before = own[own["week"] < since].tail(12)
    recent = own[own["week"] < own["week"].max()].tail(12)
    tiles = {headline.name: headline for headline in demo_card.headlines}
    against = tiles["session_minutes"].against
    assert against.label == f"before {since.day} {since:%B}"
    assert against.value == pytest.approx(before["value"].mean(), abs=0.02)
    assert against.value > recent["value"].mean() + 1, "it fell in these already"
    assert tiles["interviews"].against.label == "12 weeks before"
    assert "12 weeks" not in demo_card.tells["kpis"]
    assert "against_before" in demo_card.board
    assert tiles["session_minutes"].whole == "7.8\u00a0min", "its property says in what"
    assert "Users with an interview within 14 days of Sign-up" in demo_card.board["number"].tolist()


def test_the_demos_answers_are_in_the_log_with_what_they_brought(demo_card):
    answers = demo_card.responses.set_index("label")
    chat = answers.loc["Minutes a session"]
    assert chat["recovered_change_ci_lower"] < 0.15 < chat["recovered_change_ci_upper"]
    assert chat["open_stage"] == "recovered"
    truth = demo.truth()["session_length"]
    reply = pd.Timestamp(truth["reply_at"]) - pd.Timestamp(truth["change_at"])
    stages = ["until_noticed_days", "until_decided_days", "until_answered_days"]
    assert chat[stages].sum() == reply.days
    assert (chat["missed_per_day"], chat["missed_unit"]) == (
        pytest.approx(7300, rel=0.1),
        "minutes",
    )
    interviews = answers.loc["Users with an interview"]
    assert interviews["until_noticed_days"] == 7
    assert interviews["until_recovered_days"] == 14


def test_the_demos_lifecycle_adds_up_to_its_month(demo_card):
    life = demo_card.lifecycle
    month = demo_card.weeks.query("metric == 'month.users' and segment == 'all'")
    month = month.set_index("week")["value"]
    assert (life.set_index("week")["n_monthly"] == month[life["week"]]).all()
    assert len(life) == 56


def test_the_demos_year_is_told_with_intervals(demo_card):
    year = demo_card.year.set_index("metric")
    lift = year.loc["cohort.activation"]
    assert lift["change_ci_lower"] > 0
    assert not (demo_card.kpis["value"] > demo_card.kpis["value_ci_upper"]).any()


def test_a_channel_of_few_users_is_told_with_others():
    rows = [
        (f"u{user}", "visited", week * 7 + 0.5, "tiny" if user < 4 else "ab"[user % 2])
        for week in range(14)
        for user in range(60)
    ]
    log = log_of(rows, "channel", unit="D", since="2026-01-05")
    found = weekly_scorecard(log, as_of="2026-04-12")
    assert "tiny" not in set(found.kpis["segment"]) | set(found.weeks["segment"])
    assert found.kpis.loc[found.kpis["segment"] == "others", "n_counted"].min() >= 10


def test_without_a_plan_every_event_is_followed():
    assert set(product(timeline=RIVAL).event_names) == {"visited", *PLAN["micro_conversions"]}
    found = weekly_scorecard(product(fall=0.3), as_of="2026-05-24")
    assert BOOKED in found.alerts["alert_id"].tolist()
