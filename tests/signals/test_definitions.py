"""Definitions: a table by hand, textbook kappas, small groups, the demo's three teams."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from mctlib import compare_definitions
from mctlib.contract import ParameterError
from mctlib.signals.overlap import kappa
from mctlib.sources import demo
from tests.support.logs import log_of, people_of

ASK = {"horizon": "40d", "as_of": "2026-06-30", "start": "start"}
TEAMS = {
    "product": {"is": "meet", "within": "20d"},
    "marketing": {"is": "click", "within": "7d"},
}


def rows_of(n, **events):
    rows = [(f"u{i}", "start", 0.0) for i in range(n)]
    return rows + [(f"u{i}", e, day) for e, (users, day) in events.items() for i in users]


def hundred(**more):
    """Of 200 users 0-79 meet on day 20 (80-99 a day later), 40-139 click on day 3; won on day 30
    are 0-59 and 100-119."""
    rows = rows_of(200, meet=(range(80), 20.0), click=(range(40, 140), 3.0))
    rows += [(f"u{i}", "meet", 21.0) for i in range(80, 100)]
    rows += [(f"u{i}", "won", 30.0) for i in [*range(60), *range(100, 120)]]
    return log_of(rows, unit="D", **more)


def test_a_table_by_hand():
    result = compare_definitions(hundred(), TEAMS, "won", **ASK)
    table = result.definitions.set_index("team")
    assert table["n_met"].to_dict() == {"Product": 80, "Marketing": 100}
    assert (table["n_users"] == 200).all()
    # product: 60 of 80 against 20 of 120; marketing: 20 + 20 of 100 against 40 of 100
    assert table["risk_ratio"].to_list() == pytest.approx([0.75 / (20 / 120), 1.0], rel=1e-4)
    assert table["foretells"].to_list() == ["best", "not sure"]
    overlap = result.overlap.set_index("combination")
    assert overlap["n_users"].to_dict() == {
        "Product": 40,
        "Product + Marketing": 40,
        "Marketing": 60,
        "none of them": 60,
    }
    assert overlap["outcome_rate"].to_dict() == pytest.approx(
        {"Product": 1.0, "Product + Marketing": 0.5, "Marketing": 1 / 3, "none of them": 0.0}
    )
    everyone, pair = result.disagreement.iloc[0], result.disagreement.iloc[1]
    assert everyone["disagreement_rate"] == 0.5
    assert pair[["n_only_first", "n_only_second"]].to_list() == [40, 60]
    assert result.finding == (
        "Teams disagree about the term on 50 of 100 users; Product's meaning foretells users with "
        "“won” best."
    )
    labels = [headline.label for headline in result.headlines]
    assert labels == [
        "Users on whom teams disagree about the term",
        "Best at foretelling users with \u201cwon\u201d: Product's definition",
    ]
    assert result.actions[0].text.endswith(": begin from Product's definition.")
    assert result.details[0].startswith(
        "Of 100 users whom Marketing counts, 60 have no “meet in 20 days”, which is what Product"
    )


def test_who_had_the_outcome_or_left_by_the_landmark_counts_in_the_rates_alone():
    """0-19 won on day 10 already, before the landmark of day 20."""
    rows = rows_of(200, meet=(range(80), 5.0), click=(range(100), 3.0), won=(range(20), 10.0))
    rows += [(f"u{i}", "won", 30.0) for i in range(20, 60)]
    result = compare_definitions(log_of(rows, unit="D"), TEAMS, "won", **ASK)
    product = result.definitions.iloc[0]
    assert product[["n_users", "n_met", "n_exposed", "n_unexposed"]].to_list() == [200, 80, 60, 120]


def test_a_landmark_of_ones_own_cuts_longer_definitions_and_says_so():
    result = compare_definitions(hundred(), TEAMS, "won", **ASK, landmark="7d")
    assert result.definitions["n_met"].to_list() == [0, 100]
    assert "Cut at the landmark, which comes before their own time is over: meet in 20 days." in (
        result.caveats
    )


def test_where_the_outcome_ends_before_a_definition_another_is_the_landmark():
    """Won by day 12 are 0-29 of 0-79 who meet on day 5 (20 days are theirs); 40-139 click."""
    rows = rows_of(200, meet=(range(80), 5.0), click=(range(40, 140), 3.0), won=(range(30), 10.0))
    result = compare_definitions(log_of(rows, unit="D"), TEAMS, "won", **ASK | {"horizon": "12d"})
    product, marketing = result.definitions.to_dict("records")
    assert (product["means"], product["n_met"]) == ("meet in 7 days", 80)
    assert (marketing["means"], marketing["n_met"]) == ("click in 7 days", 100)
    assert product["n_exposed"] == 80 and product["exposed_rate"] == pytest.approx(
        30 / 80, rel=1e-4
    )
    assert "comes before their own time is over: meet in 20 days." in str(result.caveats)


def moving(meet, click, n=6000, seed=8):
    """Users who begin on any of 300 days; shares who meet and click, before day 181 and from it."""
    rng = np.random.default_rng(seed)
    began = rng.uniform(0, 300, n)
    late = (began >= 181).astype(int)  # 1 July
    rows = [(f"u{i}", "start", day) for i, day in enumerate(began)]
    for name, rates in (("meet", meet), ("click", click)):
        who = np.flatnonzero(rng.random(n) < np.array(rates)[late])
        rows += [(f"u{i}", name, began[i] + 1) for i in who]
    return log_of(rows, unit="D", since="2025-01-01"), pd.DataFrame(rows, columns=["u", "e", "day"])


YEAR = ASK | {"as_of": "2026-12-31"}


def test_where_one_team_counts_more_and_another_fewer_it_is_said_with_both_numbers():
    """July and August, or all from July on, against the six months before: recounted by hand."""
    log, rows = moving((0.4, 0.3), (0.2, 0.4))
    result = compare_definitions(log, TEAMS, {"returns": "start", "in_period": 4}, **YEAR)
    began = rows[rows["e"] == "start"].set_index("u")["day"]
    (since,), (until,) = (set(result.parted[column]) for column in ("since", "until"))
    assert since == "2025-07-01"
    last = (pd.Timestamp(until) + pd.offsets.MonthEnd() - pd.Timestamp("2024-12-31")).days
    table = result.parted.set_index("team")
    for team, event in (("Product", "meet"), ("Marketing", "click")):
        did = began.index.isin(rows.loc[rows["e"] == event, "u"])
        after, before = (began >= 181) & (began < last), began < 181
        told = table.loc[team]
        assert [told["n_users"], told["n_before"]] == [after.sum(), before.sum()]
        rates = [did[after].mean(), did[before].mean()]
        assert told[["after_rate", "before_rate"]].to_list() == pytest.approx(rates)
        assert told["change_rate"] == pytest.approx(rates[0] - rates[1])
    product, marketing = table.loc["Product"], table.loc["Marketing"]
    assert product["change_rate_ci_upper"] < 0 < marketing["change_rate_ci_lower"]
    more, fewer = (
        f"{team} ({100 * told['before_rate']:.1f} to {100 * told['after_rate']:.1f} %)"
        for team, told in (("Marketing", marketing), ("Product", product))
    )
    assert result.finding.startswith(f"More users count for {more}, fewer for {fewer}, in July")
    assert result.details[0].startswith("Teams disagree about the term on ")
    (tile,) = [headline for headline in result.headlines if headline.name == "definitions apart"]
    assert tile.act and tile.value == pytest.approx(100 * product["change_rate"])
    assert result.actions[0].about == tile.name and "Product's fell" in result.actions[0].text
    assert fewer in result.tells["months"]


@pytest.mark.parametrize(
    ("meet", "click"),
    [((0.4, 0.4), (0.2, 0.4)), ((0.3, 0.4), (0.2, 0.4)), ((0.4, 0.4), (0.3, 0.3))],
)
def test_where_teams_move_alike_or_one_alone_nothing_is_said_to_part(meet, click):
    log, _ = moving(meet, click)
    result = compare_definitions(log, TEAMS, {"returns": "start", "in_period": 4}, **YEAR)
    assert result.parted.empty and result.finding.startswith("Teams disagree about the term on")
    assert [headline.name for headline in result.headlines] == ["disagreement"]
    assert result.tells["months"] == result.tells["definitions"]


@pytest.mark.parametrize(
    ("cells", "value"), [((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)]
)
def test_textbook_kappas(cells, value):
    """Both agree on 60 of 100 (the pair of tables by which kappa's dependence on margins is shown,
    en.wikipedia.org/wiki/Cohen%27s_kappa, "Same percentages but different numbers")."""
    both, only_a, only_b, none = cells
    sizes = np.array([none, only_a, only_b, both], float)
    first, second = np.array([0, 1, 0, 1], bool), np.array([0, 0, 1, 1], bool)
    assert kappa(sizes, first, second) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize("few", [1, 4, 9])
def test_no_small_combination_is_told_or_follows(few):
    """Only ``few`` users click without meeting: neither a row, nor teams' counts and pairs, may
    give them back."""
    rows = rows_of(300, meet=(range(100), 5.0), click=([*range(60), *range(200, 200 + few)], 3.0))
    rows += [(f"u{i}", "won", 30.0) for i in range(50)]
    result = compare_definitions(log_of(rows, unit="D"), TEAMS, "won", **ASK)
    told = set()
    for table in (result.definitions, result.overlap, result.disagreement):
        for column in table.filter(regex="^n_"):
            told |= set(table[column].dropna().astype(int))
    # what is told, and every difference of two told numbers
    n = sorted(told | {300})
    assert not any(0 < abs(a - b) < 10 for a in n for b in n), n
    assert few not in set(result.overlap["n_users"])


def test_combinations_of_nobody_hide_nothing_that_others_give_back():
    """Of 320 users 40 meet A alone, 200 A and B, 1 B and C, 2 C alone, 77 none, nobody B alone."""
    who = {"a": range(240), "b": range(40, 241), "c": range(240, 243)}
    rows = rows_of(320, won=(range(150), 30.0), **{e: (users, 3.0) for e, users in who.items()})
    result = compare_definitions(log_of(rows, unit="D"), {t.upper(): t for t in who}, "won", **ASK)
    cells = np.array([40, 200, 1, 2, 77])
    holds = {"A": [1, 1, 0, 0, 0], "B": [0, 1, 1, 0, 0], "C": [0, 0, 1, 1, 0]}
    alone = {"A": [1, 0, 0, 0, 0], "A + B": [0, 1, 0, 0, 0], "none of them": [0, 0, 0, 0, 1]}
    told = [[1] * 5]
    for names, table in ((holds, "definitions"), (alone, "overlap")):
        frame = getattr(result, table)
        counts = frame.set_index(frame.columns[0])["n_met" if table == "definitions" else "n_users"]
        told += [row for name, row in names.items() if counts.get(name, np.nan) == row @ cells]
    assert len(told) >= 3, "all users and the two largest combinations"
    small = [row for row in product((0, 1), repeat=5) if 0 < row @ cells < 10]
    for row in small:
        found = np.linalg.lstsq(np.transpose(told), row, rcond=None)[0]
        assert np.abs(np.transpose(told) @ found - row).max() > 1e-6, f"{row} is given back"


def test_what_turns_round_for_later_users_foretells_nothing():
    """Who meets wins oftener if they began by day 80, later as much less often."""
    rng = np.random.default_rng(3)
    n = 3000
    began, met = rng.uniform(0, 120, n), rng.random(n) < 0.5
    won = rng.random(n) < 0.35 + 0.25 * met * np.where(began > 80, -1, 1)
    rows = [(f"u{i}", "start", began[i]) for i in range(n)]
    rows += [(f"u{i}", "meet", began[i] + 1) for i in np.flatnonzero(met)]
    rows += [(f"u{i}", "click", began[i] + 1) for i in np.flatnonzero(rng.random(n) < 0.5)]
    rows += [(f"u{i}", "won", began[i] + 30) for i in np.flatnonzero(won)]
    asked = ASK | {"as_of": "2026-12-31"}
    log = log_of(rows, unit="D", since="2025-01-01")
    table = compare_definitions(log, TEAMS, "won", **asked).definitions
    assert table["risk_ratio_ci_lower"].iloc[0] > 1
    assert table["out_of_time_gain_ci_upper"].iloc[0] < 0
    assert (table["foretells"] == "not sure").all()


def test_revenue_is_as_much_not_as_many():
    people = people_of(200, revenue=np.where(np.arange(200) < 80, 30.0, 10.0) + np.arange(200) % 7)
    told = compare_definitions(hundred(people=people), TEAMS, "revenue", **ASK).details
    assert "times as much" in str(told) and "as many" not in str(told)


def test_of_fewer_than_ten_users_nothing_is_told():
    rows = rows_of(7, meet=(range(3), 5.0), click=(range(2), 3.0), won=(range(4), 30.0))
    result = compare_definitions(log_of(rows, unit="D"), TEAMS, "won", **ASK)
    for table in (result.definitions, result.overlap, result.disagreement, result.months):
        assert table.select_dtypes("number").isna().all(axis=None)


def test_the_demo_s_three_teams(demo_log):
    """Rates as a query of its own counts them; what the demo planted orders the definitions."""
    asked = {"horizon": "60d", "as_of": "2026-11-29", "competing": "account_deleted"}
    result = compare_definitions(demo_log, "activated", "renewed", **asked, adjust=["plan"])
    table = result.definitions.set_index("team")
    for team, meant in demo.truth()["definitions"].items():
        if team == "told":
            continue
        days = int(meant["within"].removesuffix("d"))
        query = f"""
            WITH s AS (SELECT user, min(timestamp) t FROM events WHERE event = 'signed_up'
                GROUP BY 1 HAVING t + INTERVAL 60 DAY < TIMESTAMP '2026-11-30')
            SELECT count(*), count(*) FILTER (user IN (SELECT s.user FROM s, events e
                WHERE e.user = s.user AND event = '{meant["event"]}' AND e.timestamp >= t
                AND e.timestamp <= t + INTERVAL {days} DAY)) FROM s"""
        (counts,) = demo_log.sql(query).to_numpy()
        assert tuple(table.loc[team.title(), ["n_users", "n_met"]]) == tuple(counts), team
    assert table["foretells"].to_dict() == {
        "Product": "best",
        "Marketing": "not sure",
        "Support": "the other way",
    }
    assert (
        table.loc["Product", "risk_ratio_ci_lower"]
        < 1.5
        < table.loc["Product", "risk_ratio_ci_upper"]
    )
    assert len(result.overlap) == 8 and set(result.who["column"]) == {"plan"}
    assert result.overlap["n_users"].sum() == table["n_users"].iloc[0]
    months = result.months.set_index(["team", "month"])["met_rate"]
    assert months["Marketing", "2026-06-01"] > months["Marketing", "2026-03-01"] + 0.05
    # more e-mails from 4 May on, which for eight weeks led past the first interview
    story, apart = demo.truth()["adoption"], result.parted.set_index("team")
    assert set(apart["since"]) == {f"{story['change_at'][:7]}-01"} and len(apart) == 2
    product, marketing = apart.loc["Product"], apart.loc["Marketing"]
    assert product["change_rate_ci_upper"] < 0 and marketing["change_rate_ci_lower"] > 0
    fell = product["after_rate"] / product["before_rate"] - 1
    assert fell == pytest.approx(story["rel_change"], abs=0.03)
    assert result.finding.startswith("More users count as “activated” for Marketing (")
    assert ", fewer for Product (" in result.finding


@pytest.mark.parametrize(
    ("definitions", "more", "said"),
    [
        ("activatd", {}, 'definitions: the plan has no term "activatd". It has no terms.'),
        ({"product": "meet"}, {}, "definitions: write two to 6 of them"),
        (TEAMS | {"Product": "click"}, {}, "definitions: two teams are called “Product”; rename"),
        (TEAMS | {"ops": "mete"}, {}, "definitions: Ops"),
        (TEAMS | {"ops": {"is": "meet", "witin": "3d"}}, {}, '"witin" of ops is not one of is, wi'),
        (TEAMS, {"outcome": "start"}, "outcome: users' time begins with “start”; name what comes"),
        (TEAMS, {"horizon": "7d"}, "horizon: the outcome must have time after the landmark"),
    ],
)
def test_what_cannot_be_asked(definitions, more, said):
    with pytest.raises(ParameterError) as told:
        compare_definitions(hundred(), definitions, **{"outcome": "won"} | ASK | more)
    assert said.lower() in str(told.value).lower()


def test_small_segments_are_told_together():
    people = people_of(200, plan=["a"] * 120 + ["b"] * 70 + ["c"] * 4 + ["d"] * 6)
    result = compare_definitions(hundred(people=people), TEAMS, "won", **ASK, adjust="plan")
    assert set(result.who["segment"]) == {"a", "b", "others"}
    assert result.who["n_users"].min() == 10
    assert isinstance(result.months, pd.DataFrame) and len(result.months) == 2
