"""Small groups: told with others, hidden, and given back by no subtraction."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from mctlib.cells import View
from mctlib.contract import DataError, ParameterError
from mctlib.headlines import Headline
from mctlib.phrases import told_together
from mctlib.results import Groups, Page, Result, suppress, together

POPULATION = "users with signed_up"


def told_as(sizes, key="channel", **options):
    return together(pd.Series(sizes), key, **options)


@pytest.mark.parametrize(
    ("sizes", "small"),
    [
        ({"a": 400, "b": 300, "c": 10}, []),
        ({"a": 400, "b": 300, "c": 6}, ["c", "b"]),  # 6 alone would be told by 706 - 400 - 300
        ({"a": 400, "b": 300, "c": 6, "d": 4}, ["c", "d"]),
        ({"a": 400, "b": 300, "c": 6, "d": 3}, ["c", "d", "b"]),
        ({"a": 20, "b": 9}, ["b", "a"]),
        ({"a": 5, "b": 4}, []),  # nine in all: there is nobody to be joined with
        ({"a": 6}, []),
    ],
)
def test_small_groups_become_one_of_ten_or_more(sizes, small):
    assert told_as(sizes) == dict.fromkeys(small, "others")


def test_who_is_kept_is_joined_last():
    sizes = {"a": 400, "b": 30, "c": 6}
    assert set(told_as(sizes, keep=["b"])) == {"a", "c"}
    assert set(told_as({"b": 30, "c": 6}, keep=["b"])) == {"b", "c"}


def test_a_group_that_is_called_others_keeps_its_name():
    assert told_as({"others": 50, "a": 20, "b": 6}) == dict.fromkeys(["b", "a"], "others, joined")
    assert told_as({"others": 15, "a": 20, "b": 6}) == dict.fromkeys(["b", "others"], "others")


@pytest.mark.parametrize(
    ("weeks", "names"),
    [
        ([1, 2118, 500], ["1 to 2", "1 to 2", None]),  # the next one
        ([500, 2118, 1], [None, "2 to 3", "2 to 3"]),  # the last: the one before
        ([3, 4, 5, 50], ["1 to 3"] * 3 + [None]),
        ([50, 3, 50, 9], [None, "2 to 4", "2 to 4", "2 to 4"]),
        ([3, 4, 2], [None] * 3),
    ],
)
def test_a_small_cohort_goes_to_the_next_one(weeks, names):
    sizes = {str(k): n for k, n in enumerate(weeks, 1)}
    found = told_as(sizes, "week")
    assert [found.get(week) for week in sizes] == names


def test_who_is_small_in_one_period_is_joined_in_both():
    sizes = pd.DataFrame({"before": [400, 300, 90], "after": [400, 300, 5]}, index=list("abc"))
    assert together(sizes, "platform") == dict.fromkeys("cb", "others")


# ---------------------------------------------------------------- tables that stand by themselves


def follows(known, wanted):
    """Whether a number is known: adding its row leaves the rank of the known rows as it is."""
    rank = np.linalg.matrix_rank(known) if len(known) else 0
    return np.linalg.matrix_rank(np.vstack([*known, wanted])) == rank


def random_sizes(rng, shape):
    return np.where(
        rng.random(shape) < 0.5, rng.integers(1, 10, shape), rng.integers(10, 500, shape)
    )


def leaks_of_one_key(rng):
    """Whether a table by segment gives back a small group, by taking shown rows off the total."""
    sizes = random_sizes(rng, rng.integers(3, 10))
    reached = rng.integers(0, sizes + 1)
    frame = pd.DataFrame(
        {
            "segment": ["all", *map(str, range(len(sizes)))],
            "n_users": [sizes.sum(), *sizes],
            "n_reached": [reached.sum(), *reached],
        }
    )
    table, masked = suppress(frame)
    assert table.loc[masked, ["n_users", "n_reached"]].isna().all(axis=None)
    assert not table["n_users"].between(1, 9).any()
    hidden = sizes[masked[1:]]
    # only a total that is itself small may leave with its parts
    return not masked[0] and 0 < hidden.sum() < 10


def leaks_of_two_keys(rng):
    """The same of platforms by plans with the totals of both, by the rank of what is shown."""
    sizes = random_sizes(rng, rng.integers(2, 5, 2))
    rows = []
    for web, plan in itertools.product(
        [*range(sizes.shape[0]), "all"], [*range(sizes.shape[1]), "all"]
    ):
        cell = np.zeros(sizes.shape)
        cell[slice(None) if web == "all" else web, slice(None) if plan == "all" else plan] = 1
        rows.append((str(web), str(plan), int((cell * sizes).sum()), cell))
    frame = pd.DataFrame(rows, columns=["platform", "plan", "n_users", "cell"])
    shown = ~suppress(frame.drop(columns="cell"))[1].to_numpy()
    known = [cell.ravel() for cell in frame["cell"][shown]]
    wanted = [np.eye(sizes.size)[k] for k in range(sizes.size)]
    inner = (frame["platform"] != "all") & (frame["plan"] != "all")
    hidden = np.sum([*frame["cell"][inner & ~shown], np.zeros(sizes.shape)], axis=0)
    wanted += [
        row.ravel()
        for row in (hidden * (np.arange(len(hidden)) == k)[:, None] for k in range(len(hidden)))
    ]
    return any(0 < row @ sizes.ravel() < 10 and follows(known, row) for row in wanted if row.any())


@pytest.mark.parametrize("leaks", [leaks_of_one_key, leaks_of_two_keys])
def test_no_random_table_gives_back_a_small_group(leaks):
    rng = np.random.default_rng(1)
    assert not any(leaks(rng) for _ in range(150))


@pytest.mark.simulation
@pytest.mark.parametrize("leaks", [leaks_of_one_key, leaks_of_two_keys])
def test_none_of_3000_random_tables_gives_back_a_small_group(leaks):
    rng = np.random.default_rng(2)
    assert not any(leaks(rng) for _ in range(3000))


def test_of_two_small_rows_that_are_five_together_a_third_one_goes():
    frame = pd.DataFrame(
        {"segment": ["all", *"abcd"], "n_users": [1005, 600, 400, 3, 2], "rate": 0.5}
    )
    assert suppress(frame)[1].tolist() == [False, False, True, True, True]


def test_an_outcome_of_a_large_group_is_no_secret():
    frame = pd.DataFrame({"segment": ["a", "b"], "n_reached": [3, 40], "n_entered": [50, 60]})
    assert not suppress(frame)[1].any()


# --------------------------------------------------------------------------------- whole reports


def groups_of(sizes, names=None, key="channel", population=POPULATION, column="segment"):
    return (Groups(population, key, pd.Series(sizes), names or {}, column),)


def rows_of(*segments):
    return pd.DataFrame({"segment": segments, "n_reached": 50, "rate": 0.5})


CHANNELS = {"organic": 400, "paid": 300, "tiny": 6}
JOINED = {"paid": "others", "tiny": "others"}


def test_the_table_before_takes_part():
    """306 others less 300 of paid are the 6, in whichever order the tables come."""
    joined = groups_of(CHANNELS, JOINED)
    apart = groups_of(CHANNELS, {"organic": "others", "tiny": "others"})
    page = Page()
    assert not page.publish("segments", rows_of("all", "organic", "others"), joined)[1].any()
    table, masked = page.publish("drivers", rows_of("paid", "others"), apart)
    assert masked.tolist() == [True, True] and table["n_reached"].isna().all()
    other_users = groups_of(CHANNELS, {"organic": "others", "tiny": "others"}, population="buyers")
    assert not page.publish("buyers", rows_of("paid", "others"), other_users)[1].any()


def test_few_where_two_keys_meet_are_hidden():
    """5 of b in the second week; each channel and each week has hundreds."""
    cells = {("a", "1"): 345, ("a", "2"): 55, ("b", "1"): 295, ("b", "2"): 5}
    frame = pd.DataFrame([(*cell, n) for cell, n in cells.items()])
    frame.columns = ["segment", "cohort", "n_entered"]
    keys = groups_of({"a": 400, "b": 300})
    keys += groups_of({"1": 640, "2": 60}, key="week", column="cohort")
    masked = Page().publish("cells", frame, keys)[1]
    assert masked.iloc[3] and masked.sum() > 1, "its neighbour's number would tell it"


def test_a_table_that_is_shown_again_is_not_held_against_itself():
    page = Page()
    page.publish("segments", rows_of("organic", "others"), groups_of(CHANNELS, JOINED))
    apart = groups_of(CHANNELS, {"organic": "others", "tiny": "others"})
    assert not page.publish("segments", rows_of("paid", "others"), apart)[1].any()
    page.begin()  # a new report
    assert not page.publish("x", rows_of("organic", "others"), groups_of(CHANNELS, JOINED))[1].any()


def test_a_group_that_no_row_shows_is_what_the_total_leaves():
    """706 users in all, who stand in a sentence, less 400 and 300."""
    masked = Page().publish("segments", rows_of("organic", "paid"), groups_of(CHANNELS))[1]
    assert masked.tolist() == [False, True]
    masked = Page().publish("segments", rows_of("organic", "paid", "tiny"), groups_of(CHANNELS))[1]
    assert masked.tolist() == [False, True, True]


def test_of_nine_users_in_all_nothing_is_told():
    groups = groups_of({"a": 5, "b": 4})
    for frame in (rows_of("all", "a", "b"), rows_of("all").drop(columns="segment")):
        assert Page().publish("x", frame, groups)[1].all()


def test_a_report_is_refused_where_hiding_no_longer_helps():
    """Two results divide the same users otherwise: 706 less 400 of the first are 6 of the second,
    whose table need not show them."""
    page = Page()
    page.publish("first", rows_of("organic", "others"), groups_of(CHANNELS, JOINED))
    with pytest.raises(DataError, match='table "second": whatever of it is hidden'):
        page.publish("second", rows_of("organic"), groups_of({"organic": 400, "others": 6}))


def test_of_fewer_than_ten_users_in_all_a_page_tells_nothing():
    few, enough = (Groups.whole("users with join", n) for n in (9, 10))
    words = {"rule": "a rule", "details": ("more",), "caveats": ("a caveat",)}
    words["headlines"] = (Headline(name="share", label="Share", value=50.0, unit="%"),)
    said = Result(finding="50 % of 9 users", **words, groups=(few,)).published
    assert said.finding == "These are fewer than 10 users, of whom nothing is told."
    assert (said.rule, said.details, said.caveats, said.headlines) == ("", (), (), ())
    shown = Result(finding="50 % of 9 users", **words, groups=(few,))
    for text in (repr(shown), shown._repr_html_()):
        assert said.finding in text and "9 users" not in text and "caveat" not in text
    told, plain = Result(finding="50 % of 10 users", groups=(enough,)), Result(finding="no groups")
    assert told.published is told and plain.published is plain


def test_many_groups_told_together_are_counted_for_each_may_be_a_person():
    (few,) = told_together({"a": "others", "b": "others"}, 10)
    assert few.endswith("has fewer than 10 users: a and b as others.")
    (many,) = told_together({f"0170 {n}": "others" for n in range(9)}, 10)
    assert many.endswith("has fewer than 10 users: 9 groups as others.")


@dataclass(frozen=True, kw_only=True, repr=False)
class Shares(Result):
    shares: pd.DataFrame
    main = "shares"
    first = ("segment", "n_users", "share_rate", "share_rate_ci_lower", "share_rate_ci_upper")


def test_a_result_shows_itself_in_one_box_with_readable_headings():
    table = pd.DataFrame({"segment": ["<web>", *"abcdefgh", "small"], "n_users": [50] * 9 + [6]})
    table = table.assign(share_rate=0.25, share_rate_ci_lower=0.2, share_rate_ci_upper=0.3, x=1)
    headline = Headline(name="s", label="Share <all>", value=25.0, unit="%", low=20.0, high=30.0)
    shown = Shares(
        finding="A < B.",
        headlines=(headline,),
        how_sure=("Counted per account.",),
        caveats=("c",),
        rule="r",
        shares=table,
    )._repr_html_()
    for words in ("A &lt; B.", "Share &lt;all&gt;", "25\u00a0%", "20 to 30", "&lt;web&gt;"):
        assert words in shown, words
    assert "25.0\u00a0% (20.0\u201330.0)" in shown and "shares (8 of 10 rows)" in shown
    assert (
        "Counted per account." in shown and ".shares 10\u00d76" in shown and ".caveats 1" in shown
    )
    assert ">X<" not in shown and "<script" not in shown and " id=" not in shown


def test_sentences_say_days_as_people_do_and_ids_stay():
    said = "Since 2026-04-06: 2025-12-05, 2026-02-31; interviews-fall-2026-04-13, v2026-04-06."
    told = (
        "Since 6 April 2026: 5 December 2025, 2026-02-31; interviews-fall-2026-04-13, v2026-04-06."
    )
    result = Result(finding=said, rule=said, details=(said,), how_sure=(said,), caveats=(said,))
    assert {result.finding, result.rule, *result.details, *result.how_sure} == {told}
    assert result.caveats == (told,)


@dataclass(frozen=True, kw_only=True, repr=False)
class Viewed(Result):
    steps: pd.DataFrame

    views = {
        "rates": View("steps", ("", "x_rate \u00b1", "known", "not_there"), "step > 1"),
        "whole": View("steps", ("step",)),
        "steps": View("steps", ("step", "open ±", "known ±")),
    }
    main = "steps"


def test_a_view_has_its_rows_and_the_columns_that_are_known():
    rates = {"x_rate": 0.5, "x_rate_ci_lower": 0.4, "x_rate_ci_upper": 0.6}
    steps = pd.DataFrame({"step": [1, 2], "known": np.nan, **rates, "more": 1})
    steps = steps.assign(open=3.0, open_ci_lower=2.0, open_ci_upper=np.nan, known_ci_lower=0.1)
    result = Viewed(finding="", steps=steps)
    assert result.view("rates").to_dict("list") == {"step": [2]} | {
        k: [v] for k, v in rates.items()
    }
    assert result.view("whole")["step"].tolist() == [1, 2]
    ends = ["open", "open_ci_lower", "open_ci_upper"]
    assert list(result.view("steps")) == ["step", *ends], "ends stay with what they are ends of"
    shown = result.view("rates")
    assert "<td class='r'>50.0\u00a0% (40.0\u201360.0)</td>" in shown._repr_html_()
    assert "60 of 70 rows" in shown.sample(70, replace=True)._repr_html_()
    assert ">More<" not in result._repr_html_() and ">Open<" in result._repr_html_()
    with pytest.raises(ParameterError, match='"rate" is no view of Viewed.*"rates"'):
        result.view("rate")
