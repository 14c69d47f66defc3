"""What is lost is found, with where, since when and how much; what is whole is left alone.

How often, over many worlds: `tests/calibration_audit.py`.
"""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mctlib import EventLog, audit_events, plots
from mctlib.audit.verdicts import joined, judged
from mctlib.audit.witnesses import WHOLE, tally
from mctlib.contract import ParameterError
from mctlib.results import OTHERS
from mctlib.tracking_plan.reading import as_plan
from tests.support.logs import log_of
from tests.support.tracking import World, canonical, plan_of

matplotlib.use("Agg")
AS_OF = "2026-05-24"


def audited(world, seed=1, **plan):
    return audit_events(world.log(seed), plan_of(**plan), as_of=AS_OF)


def row_of(audit, name):
    (row,) = audit.verdicts[audit.verdicts["micro_conversion"] == name].to_dict("records")
    return row


@pytest.fixture(scope="module")
def lossy():
    return audited(World(kept=0.7))


def test_a_loss_by_version_is_found(lossy):
    row = row_of(lossy, "profile")
    assert row["verdict"] == "correctable" and row["platform"] == "android"
    assert row["app_version"] == "4.10" and row["witness"] == "back end"
    assert row["since"] == "2026-03-16"  # day 70
    assert row["completeness_rate_ci_lower"] < 0.7 < row["completeness_rate_ci_upper"]
    assert row["correction_ratio"] == pytest.approx(1 / row["completeness_rate"])
    assert -0.13 < row["moves_rate"] < -0.07  # a third of the users lose three in ten
    assert row["owner"] == "growth" and row["until"] == ""


def test_the_others_are_trusted(lossy):
    row = row_of(lossy, "signed_up")
    assert row["verdict"] == "trusted" and row["witness"] == "implied"
    assert row["completeness_rate"] == 1 and row["moves_rate"] == 0
    # nothing implies an interview, and no server knows it
    row = row_of(lossy, "interview")
    assert row["verdict"] == "too few to say" and row["witness"] == "" and row["n_checked"] == 0


def test_it_says_so_first(lossy):
    assert lossy.finding == (
        "1 of 2 numbers that can be checked can be used; Android loses "
        f"{100 - 100 * row_of(lossy, 'profile')['completeness_rate']:.0f} % of "
        "\u201cProfile completed\u201d since version 4.10."
    )
    usable, lost, *_ = lossy.headlines
    assert usable.number == "1 of 2" and usable.act
    assert lost.label == "Android: \u201cProfile completed\u201d recorded" and lost.kind == "bad"
    action = lossy.actions[0]
    assert action.text == "Mend \u201cProfile completed\u201d on Android from 4.10 on."
    assert action.role == "Data collector"
    assert lossy.labels["profile"] in lossy.shown("verdicts")["micro_conversion"].tolist()


def test_witnesses_stand_side_by_side(lossy):
    """By hand from the world's own tables: of all server records, those with an event; of users
    with an interview, those with a profile."""
    frame, server, _ = World(kept=0.7).tables(1)
    seen = set(frame.loc[frame["event"] == "profile", "user"])
    table = lossy.completeness.set_index(["witness", "platform", "week"]).query(
        "micro_conversion == 'profile' and app_version == 'all'"
    )
    told = table.loc[("back end", "all", "all")]
    assert told["n_checked"] == len(server)
    assert told["n_tracked"] == server["user"].isin(seen).sum()
    went_on = frame.loc[frame["event"] == "interview", "user"].unique()
    told = table.loc[("implied", "all", "all")]
    assert told["n_checked"] == pytest.approx(len(went_on), abs=3)
    assert told["n_tracked"] == pytest.approx(np.isin(went_on, [*seen]).sum(), abs=3)
    weeks = table.loc["back end"].drop(index="all", level="week")
    assert weeks["n_checked"].sum() == told_all(lossy, "n_checked")


def told_all(audit, column):
    table = audit.completeness.query(
        "micro_conversion == 'profile' and witness == 'back end' and app_version == 'all'"
        " and week == 'all' and platform != 'all'"
    )
    return table[column].sum()


def test_a_loss_by_week_has_no_version():
    row = row_of(audited(World(kept=0.6, platform="web", by="week", since=98)), "profile")
    assert (row["platform"], row["since"], row["app_version"]) == ("web", "2026-04-13", "")
    assert row["completeness_rate_ci_lower"] < 0.6 < row["completeness_rate_ci_upper"]


def test_a_loss_everywhere_is_no_platforms():
    """Of each platform's profiles two in five are missing from day 98 on."""
    frame, server, _ = World().tables(1)
    gone = np.random.default_rng(0).random(len(frame)) < 0.4
    gone &= (frame["event"] == "profile") & (frame["day"] >= 98)
    found = audited_tables(frame[~gone], server)
    rows = found.verdicts[found.verdicts["moves_rate"] < 0]
    assert set(rows["platform"]) == {"android", "ios", "web"}
    kept = (rows["completeness_rate"] * rows["n_checked"]).sum() / rows["n_checked"].sum()
    who, said = found.finding.split("; ")[1].split(" lose ")
    assert set(who.replace(" and ", ", ").split(", ")) == {"Android", "iOS", "web"}
    told = f"{100 - 100 * kept:.0f} % of \u201cProfile completed\u201d since 13 April."
    assert said == told
    (mend,) = [a.text for a in found.actions if a.about == "lost"]
    assert mend.startswith("Mend \u201cProfile completed\u201d on ") and mend.count(" on ") == 3


def test_a_loss_that_was_always_there_is_not_dated():
    row = row_of(audited(World(kept=0.8, since=0, by="week", users=1500)), "profile")
    assert row["verdict"] == "correctable" and (row["since"], row["app_version"]) == ("", "")


def test_a_loss_that_was_mended_has_both_ends():
    """Three of five iOS profiles are missing from day 49 to day 76, then all are there again."""
    world = World()
    frame, server, _ = world.tables(6)
    gone = np.random.default_rng(0).random(len(frame)) < 0.6
    gone &= frame["day"].between(49, 77) & (frame["platform"] == "ios")
    row = row_of(audited_tables(frame[~gone | (frame["event"] != "profile")], server), "profile")
    assert (row["platform"], row["since"], row["until"]) == ("ios", "2026-02-23", "2026-03-23")
    assert row["completeness_rate_ci_lower"] < 0.4 < row["completeness_rate_ci_upper"]


def test_a_loss_that_goes_on_stands_before_a_worse_one_that_is_over():
    """On Android six of ten are missing from day 28 to day 56, four of ten from day 98 on."""
    frame, server, _ = World().tables(3)
    android = (frame["event"] == "profile") & (frame["platform"] == "android")
    rate = 0.6 * frame["day"].between(28, 56) + 0.4 * (frame["day"] >= 98)
    gone = android & (np.random.default_rng(0).random(len(frame)) < rate)
    found = audited_tables(frame[~gone], server)
    lost = found.verdicts[found.verdicts["moves_rate"] < 0]
    assert set(zip(lost["since"], lost["until"])) == {
        ("2026-02-02", "2026-03-02"),
        ("2026-04-13", ""),
    }
    assert "Android loses" in found.finding and found.finding.endswith("since 13 April.")
    assert found.actions[0].text == "Mend \u201cProfile completed\u201d on Android."
    assert "too low in that time" in found.details[1]


@pytest.mark.parametrize("since", ["day 60", "version 4.10", "a version, with one try", "the app"])
def test_an_event_that_began_late_counts_from_then_on(since):
    """Nothing came from Android before; whether it was lost or not there yet, nothing tells."""
    frame, server, _ = World().tables(1)
    android = frame["platform"] == "android"
    before = {"day 60": frame["day"] < 60, "the app": frame["day"] < 60}
    early = before.get(since, frame["app_version"] == "4.9")
    gone = android & early & ((frame["event"] == "profile") | (since == "the app"))
    tried = frame.index[gone][:1] if "try" in since else []
    found = audited_tables(frame.drop(index=frame.index[gone].difference(tried)), server)
    row = row_of(found, "profile")
    assert (row["platform"], row["verdict"], row["completeness_rate"]) == ("all", "trusted", 1)
    day = "7 March 2026" if since in before else ""  # the day after the first whole one
    (said,) = [c for c in found.caveats if "cannot be told apart" in c]
    assert said.startswith(f"Profile completed on Android counts from {day}")
    assert " March 2026 on, when its event first came" in said
    assert said in found.how_sure


def test_a_loss_until_a_version_names_it():
    """Of the first version two in five are missing: that it is there from the first is no start."""
    frame, server, _ = World().tables(1)
    gone = (frame["platform"] == "android") & (frame["app_version"] == "4.9")
    gone &= (frame["event"] == "profile") & (np.random.default_rng(0).random(len(frame)) < 0.4)
    found = audited_tables(frame[~gone], server)
    row = row_of(found, "profile")
    assert (row["since"], row["until"], row["until_version"]) == ("", "2026-03-16", "4.10")
    assert row["completeness_rate_ci_lower"] < 0.6 < row["completeness_rate_ci_upper"]
    assert found.finding.endswith("of \u201cProfile completed\u201d until version 4.10.")
    assert "from the first on until version 4.10, the week of 16 March 2026" in found.details[0]


def test_a_version_without_the_event_is_a_loss_where_older_ones_had_it():
    frame, server, _ = World().tables(1)
    gone = (frame["platform"] == "android") & (frame["app_version"] == "4.10")
    row = row_of(audited_tables(frame[~gone | (frame["event"] != "profile")], server), "profile")
    assert (row["verdict"], row["app_version"]) == ("not to be used", "4.10")
    assert row["completeness_rate"] == 0


def test_a_platform_in_another_spelling_is_the_same():
    frame, server, _ = World(users=600).tables(1)
    spelt = np.array(["android", "ANDROID", "Android "], object)[np.arange(len(frame)) % 3]
    frame["platform"] = np.where(frame["platform"] == "android", spelt, frame["platform"])
    found = audited_tables(frame, server)
    assert set(found.presence["platform"]) == {"android", "ios", "web"}
    assert row_of(found, "profile")["verdict"] == "trusted"


def test_without_platforms_a_loss_is_dated_all_the_same():
    frame, server, _ = World(kept=0.6, by="week").tables(8)
    found = audited_tables(frame.drop(columns=["platform", "app_version"]), server)
    row = row_of(found, "profile")
    assert (row["platform"], row["since"]) == ("(none)", "2026-03-16")
    said = " ".join([*found.details, found.headlines[1].label, *(a.text for a in found.actions)])
    assert "platform" not in said and "  " not in said


def test_one_number_is_not_all_of_them():
    at = [pd.Timestamp("2026-01-05", tz="UTC") + pd.Timedelta(hours=i) for i in range(100)]
    frame = pd.DataFrame({"user_id": [f"u{i}" for i in range(100)], "event": "a", "timestamp": at})
    found = audit_events(EventLog.from_frame(frame, backend=frame), as_of="2026-01-20")
    assert found.finding == "The one number that can be checked can be used."


def audited_tables(frame, server):
    log = EventLog.from_frame(canonical(frame), backend=canonical(server))
    return audit_events(log, plan_of(), as_of=AS_OF)


def test_what_is_mostly_lost_is_not_to_be_used():
    found = audited(World(kept=0.3))
    row = row_of(found, "profile")
    assert row["verdict"] == "not to be used" and np.isnan(row["correction_ratio"])
    assert "Android loses" in found.finding


def test_late_events_are_not_lost_ones():
    """Three of ten wait two days on average: the last week looks emptier, and is not."""
    found = audited(World(late=0.3))
    assert row_of(found, "profile")["verdict"] == "trusted"
    last = found.completeness.query(
        "micro_conversion == 'profile' and witness == 'back end' and app_version == 'all'"
        " and week == '2026-05-18' and platform != 'all'"
    )
    assert last["n_tracked"].sum() / last["n_checked"].sum() < 0.93
    assert (last["completeness_rate_ci_upper"] > 0.97).all()
    # 99 % of what waits so is in after 2 ln(30) days
    assert found.delays["days_99"].max() == pytest.approx(2 * np.log(30), abs=1.2)


def test_a_week_that_is_still_under_way_is_not_drawn():
    drawn = {}
    for late in (0.0, 0.3):
        found = audited(World(late=late))
        fig = plots.plot_completeness(found.completeness, found.verdicts, found.labels)
        drawn[late] = {line.get_xdata()[-1] for ax in fig.axes for line in ax.lines}
        plt.close(fig)
    assert {str(day)[:10] for day in drawn[0.0]} == {"2026-05-18"}  # the last week
    assert max(drawn[0.3]) < min(drawn[0.0])


def test_a_week_that_is_still_under_way_is_not_judged():
    """Of the newest week four in ten are there; that six in ten should be is not sure."""
    n, weeks = 100, 20
    frame = pd.DataFrame(
        {
            **{"what": 0, "kind": 0, "platform": "ios", "app_version": "1", "ripe": 1.0},
            **{"week": np.repeat(20_000 + 7 * np.arange(weeks), n), "tracked": True},
            "user": np.arange(n * weeks),
        }
    )
    young = frame["week"] == frame["week"].max()
    frame.loc[young, "ripe"] = 0.6
    frame.loc[young, "tracked"] = np.arange(n) < 40
    (said,) = judged(tally(frame), {"ios": [("1", 20_000)]}, seed=1)[0]
    assert said.verdict == "trusted" and said.part.n == n * (weeks - 1)
    frame["ripe"] = 1.0  # all in: then it is lost
    (said,) = judged(tally(frame), {"ios": [("1", 20_000)]}, seed=1)[0]
    assert said.verdict == "not to be used" and said.part.n == n


def test_a_small_platform_has_no_row_at_any_level():
    users = {("ios", "1"): 40, ("web", "1"): 30, ("web", "2"): 4, ("tv", "9"): 8}
    frame = pd.DataFrame(
        [device for device, n in users.items() for _ in range(n)],
        columns=["platform", "app_version"],
    )
    frame = frame.assign(user=np.arange(len(frame)), what=0, kind=0, week=20_000, ripe=1.0)
    told = joined(tally(frame.assign(tracked=True)))
    assert (told["n_users"] >= 10).all()
    assert set(told["platform"]) == {"all", "ios", OTHERS}  # web went along, 42 in all
    of = told[(told["platform"] == OTHERS) & (told["week"] == WHOLE)]
    assert of.set_index("app_version")["n_users"].to_dict() == {"all": 42, "1": 30, OTHERS: 12}


def test_a_share_of_one_user_tells_as_much_as_one():
    """Devices that lose all or nothing: the interval is wider than that of as many users."""
    alone, sticky = (
        row_of(audited(World(kept=0.8, since=0, by="week", each=6, sticky=s)), "profile")
        for s in (False, True)
    )
    width = [
        r["completeness_rate_ci_upper"] - r["completeness_rate_ci_lower"] for r in (alone, sticky)
    ]
    assert width[1] > 1.6 * width[0]


def test_a_server_that_knows_more_users_shows_them():
    """People of whom no event ever came have no platform, and are missing."""
    world = World(users=600)
    frame, server, _ = world.tables(1)
    quiet = server.assign(user=server["user"] + 10_000).head(60)
    log = world.log(1)
    assert row_of(audit_events(log, plan_of(), as_of=AS_OF), "profile")["verdict"] == "trusted"
    row = row_of(audited_tables(frame, pd.concat([server, quiet])), "profile")
    assert row["platform"] == "(none)" and row["verdict"] == "not to be used"
    assert row["n_checked"] == 60 and row["completeness_rate"] == 0


def test_records_that_a_server_holds_twice_count_once():
    frame, server, _ = World(users=600).tables(1)
    found = audited_tables(frame, pd.concat([server, server]))
    row = row_of(found, "profile")
    assert row["verdict"] == "trusted" and row["n_checked"] <= len(server)
    assert f"holds {len(server):,} of its records again" in " ".join(found.caveats)


@pytest.mark.parametrize("which", ["events", "server", "both"])
def test_what_has_a_day_alone_is_compared_by_days(which):
    """A user does it three times a day with other words; nothing of it is lost or sent twice."""
    at = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.arange(100) * 30, unit="h")
    rows = [
        (f"u{i}", "a", at[i].normalize() + pd.Timedelta(hours=5 + 4 * k), f'{{"k": {k}}}')
        for i in range(100)
        for k in range(3)
    ]
    exact = pd.DataFrame(rows, columns=["user_id", "event", "timestamp", "properties"])
    days = exact.assign(timestamp=exact["timestamp"].dt.normalize(), properties="{}")
    events = exact if which == "server" else days.assign(event_id=[f"e{i}" for i in range(300)])
    server = (exact if which == "events" else days)[["user_id", "event", "timestamp"]]
    found = audit_events(EventLog.from_frame(events, backend=server), as_of="2026-06-01")
    row = row_of(found, "a")
    before = which == "server"  # its first midnight lies before the log begins
    assert row["verdict"] == "trusted" and row["n_checked"] == 100 - before
    assert found.duplicates["n_doubled"].sum() == 0
    assert found.duplicates["n_events"].max() == 300
    assert any("the day alone is known" in caveat for caveat in found.caveats)


def test_events_that_say_other_things_at_once_are_not_one():
    """Three deeds within a second, of which the server writes one down every three seconds."""
    at = pd.Timestamp("2026-01-05", tz="UTC") + pd.to_timedelta(np.arange(100) * 20, unit="h")
    rows = [
        (f"u{i}", "a", at[i] + pd.Timedelta(seconds=k * seconds), f'{{"k": {k}}}', who)
        for who, seconds in (("app", 0.3), ("server", 3))
        for i in range(100)
        for k in range(3)
    ]
    table = pd.DataFrame(rows, columns=["user_id", "event", "timestamp", "properties", "who"])
    app, server = (table[table["who"] == who].drop(columns="who") for who in ("app", "server"))
    log = EventLog.from_frame(app, backend=server.drop(columns="properties"))
    row = row_of(audit_events(log, as_of="2026-04-20"), "a")
    assert row["verdict"] == "trusted" and row["completeness_rate"] == 1
    doubled = EventLog.from_frame(app.assign(properties="{}"), backend=server)  # one, sent thrice
    assert row_of(audit_events(doubled, as_of="2026-04-20"), "a")["completeness_rate"] < 0.5


@pytest.mark.parametrize("why", ["ids", "clock", "nobody"])
def test_a_server_that_does_not_meet_the_events_is_not_heard(why):
    """Nearly all ids are others, or all; or a clock is a week late. Then the next decides."""
    frame, server, _ = World(users=600).tables(1)
    moved = {
        "ids": server.assign(user=server["user"] + 10_000 * (server["user"] % 50 > 0)),
        "clock": server.assign(day=server["day"] + 7),
        "nobody": server.assign(user=server["user"] + 10_000),
    }
    found = audited_tables(frame, moved[why])
    row = row_of(found, "profile")
    assert row["witness"] == "implied" and row["verdict"] == "trusted"
    told = "times differ" if why == "clock" else "ids of users differ"
    assert told in found.how_sure[0] and found.how_sure[0] in found.caveats
    assert not any("gaps of its own" in caveat for caveat in found.caveats)


def test_without_a_plan_nothing_is_shown_to_be_missing():
    found = audit_events(World(users=200).log(1), as_of=AS_OF)
    assert sorted(found.verdicts["witness"]) == ["", "", "", "back end"]
    rows = [("ann", "a", 1), ("ann", "b", 2)]
    found = audit_events(log_of(rows, unit="D"), as_of="2026-01-20")
    assert found.finding.startswith("Nothing shows what should have been recorded")
    assert set(found.verdicts["verdict"]) == {"too few to say"}


@pytest.mark.parametrize("n_alone", [2, 11])
def test_what_a_server_has_no_record_of_is_counted(n_alone):
    """Told in words where they are 10 users or more."""
    rows = [(f"u{i}", "signed_up", i) for i in range(30)]
    rows += [(f"u{i}", "done", i + 1) for i in range(30)]
    known = [i for i in range(30) if not 3 <= i < 3 + n_alone]
    at = [pd.Timestamp("2026-01-02", tz="UTC") + pd.Timedelta(days=i) for i in known]
    server = pd.DataFrame({"user_id": [f"u{i}" for i in known], "event": "done", "timestamp": at})
    plan = as_plan({"micro_conversions": {"done": {"backend": True}}}, "plan")
    found = audit_events(log_of(rows, unit="D", backend=server), plan, as_of="2026-03-01")
    assert found.unknown[["n_events", "n_alone"]].values.tolist() == [[30, n_alone]]
    told = f"no record of {n_alone} of 30 events of Done" in " ".join(found.caveats)
    assert told == (n_alone >= 10)


def test_an_as_of_is_needed():
    with pytest.raises(ParameterError, match="as_of"):
        audit_events(World(users=50).log(1), as_of=None)
