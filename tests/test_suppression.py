"""Tables of one page taken off one another: nested keys, totals by any name, rows told again."""

import itertools

import numpy as np
import pandas as pd
import pytest

from mctlib.contract import DataError
from mctlib.groups import Groups, together
from mctlib.suppression import Page, suppress
from tests.support.subtraction import given_back

KEYS = ("channel", "platform", "channel · platform", "platform · channel")


def small_sums(sizes):
    """Every sum of cells that is of 1 to 9 users, a row of 0 and 1 each; none has a larger cell."""
    small = np.flatnonzero(sizes < 10)
    for k in range(1, len(small) + 1):
        for some in itertools.combinations(small, k):
            if 0 < sizes[list(some)].sum() < 10:
                yield np.isin(np.arange(len(sizes)), some).astype(float)


def gives_back(told, sizes):
    """Whether any of them is a sum of multiples of what is told (rows over cells)."""
    told, wanted = np.array(told), np.array([*small_sums(sizes)]).reshape(-1, len(sizes))
    if not len(wanted):
        return False
    found = np.linalg.lstsq(told.T, wanted.T, rcond=None)[0]
    return bool((np.abs(told.T @ found - wanted.T).max(axis=0) < 1e-6).any())


def random_cells(rng, most=4):
    """Users by channel and platform, half of them few; nobody in some."""
    shape = rng.integers(2, most, 2)
    sizes = np.where(
        rng.random(shape) < 0.5, rng.integers(0, 10, shape), rng.integers(10, 200, shape)
    )
    cells = list(itertools.product("abcd"[: shape[0]], "wxyz"[: shape[1]]))
    return cells, sizes.ravel()


def label(cell, key):
    """Of a cell (channel, platform), by a key."""
    return " · ".join(cell[("channel", "platform").index(column)] for column in key.split(" · "))


def published(rng, page, cells, sizes, key):
    """A table by that key, small groups told together or not: what it tells, as rows over cells."""
    of = np.array([label(cell, key) for cell in cells])
    by = pd.Series(sizes).groupby(of).sum()
    names = together(by, key) if rng.random() < 0.7 else {}
    groups = (Groups("users", key, by, names),)
    told = list(dict.fromkeys(names.get(group, group) for group in by.index))
    frame = pd.DataFrame({"segment": told, "n_reached": 50})
    masked = page.publish(key, frame, groups)[1]
    named = np.array([names.get(group, group) for group in of])
    return [(named == name).astype(float) for name in pd.Series(told)[~masked]]


def leaks_of_nested_keys(rng):
    """Whether channels, platforms and both at once give back a small group, in any order."""
    cells, sizes = random_cells(rng)
    if sizes.sum() < 10:
        return False
    page, told = Page(), [np.ones(len(cells))]
    for key in rng.permutation(KEYS)[: rng.integers(2, 5)]:
        try:
            told += published(rng, page, cells, sizes, key)
        except DataError:  # such a report is not published
            return False
    return gives_back(told, sizes)


def leaks_of_undeclared(rng):
    """The same of tables that declare nothing; totals are rows, by any name, or stand elsewhere."""
    cells, sizes = random_cells(rng)
    rows = pd.DataFrame(cells, columns=["platform", "app_version"]).assign(n_users=sizes)
    coarse = rows.groupby("platform", as_index=False)["n_users"].sum()
    everyone = pd.DataFrame({"platform": [rng.choice(["all", "Alle"])], "n_users": sizes.sum()})
    tables = {
        "fine": rows[rows["n_users"] > 0],
        "coarse": pd.concat([everyone, coarse] if rng.random() < 0.5 else [coarse]),
        "more": pd.concat([rows, coarse.assign(app_version="all")]),
    }
    page, told = Page(), []
    if rng.random() < 0.5:
        page.begin(sizes.sum())
        told.append(np.ones(len(cells)))
    for name in rng.permutation([*tables])[: rng.integers(1, 4)]:
        table, masked = page.publish(name, tables[name].reset_index(drop=True), ())
        for row in table[~masked].to_dict("records"):
            whole = row["platform"] in ("all", "Alle")
            version = row.get("app_version", "all")
            told.append(
                np.array(
                    [
                        float(whole or (web == row["platform"] and version in (v, "all")))
                        for web, v in cells
                    ]
                )
            )
    return bool(told) and gives_back(told, sizes)


def leaks_of_mixed(rng):
    """Of tables that declare their groups and others that do not, under a header, in any order."""
    cells, sizes = random_cells(rng, most=3)
    if sizes.sum() < 10:
        return False
    page, told = Page(), [np.ones(len(cells))]
    page.begin(sizes.sum())
    for key in rng.permutation(KEYS)[: rng.integers(2, 4)]:
        if rng.random() < 0.5:
            try:
                told += published(rng, page, cells, sizes, key)
            except DataError:
                return False
            continue
        of = np.array([label(cell, key) for cell in cells])
        rows = pd.Series(sizes).groupby(of).sum().rename_axis("segment").reset_index(name="n_users")
        rows = rows[rows["n_users"] > 0]
        whole = pd.DataFrame({"segment": ["Gesamt"], "n_users": sizes.sum()})
        rows = pd.concat([whole, rows] if rng.random() < 0.3 else [rows], ignore_index=True)
        if (
            rng.random() < 0.5
            and " · " in key
            and len(rows)
            and "Gesamt" not in set(rows["segment"])
        ):
            rows[key.split(" · ")] = rows["segment"].str.split(" · ", expand=True).to_numpy()
        masked = page.publish(key, rows.copy(), ())[1]
        shown = rows.loc[~masked, "segment"]
        told += [((of == name) | (name == "Gesamt")).astype(float) for name in shown]
    return gives_back(told, sizes)


WAYS = [leaks_of_nested_keys, leaks_of_undeclared, leaks_of_mixed]


@pytest.mark.parametrize("leaks", WAYS)
def test_no_random_page_gives_back_a_small_group(leaks):
    rng = np.random.default_rng(1)
    assert not any(leaks(rng) for _ in range(60))


@pytest.mark.simulation
@pytest.mark.parametrize("leaks", WAYS)
def test_none_of_3000_random_pages_gives_back_a_small_group(leaks):
    rng = np.random.default_rng(2)
    assert not any(leaks(rng) for _ in range(3000))


def test_who_subtracts_by_hand_finds_what_the_tables_leave():
    """The reader of whole reports, on some that leak and some that do not."""
    head = pd.DataFrame({"segment": ["all"], "n_users": [706]})
    rows = [("web", 400), ("ios", 300), ("tv", "")]
    parts = pd.DataFrame(rows, columns=["segment", "n_users"])
    assert given_back({"a": parts.assign(n_users=[400, 300, 6])}) == [("a", {"segment": "tv"}, 6)]
    (found,) = given_back({"a": pd.concat([head, parts])})
    assert found[2] == (706, 700)
    assert given_back({"a": head, "b": parts})[0][2] == given_back({"b": parts}, 706)[0][2]
    first = pd.concat([head, parts.assign(n_users=["", 300, ""])])
    assert not given_back({"a": first}), "web and tv are 406 together"
    assert given_back({"a": first, "b": parts.head(2)})[0][2] == (706, 700)
    weeks = pd.DataFrame({"segment": ["2026-01-05 to 2026-01-12"], "n_entered": [55]})
    week = pd.DataFrame({"cohort": ["2026-01-05"], "n_entered": [50]})
    assert given_back({"a": weeks, "b": week})[0][2] == 5
    assert not given_back({"a": weeks, "b": week.assign(cohort="2026-01-19")})
    fine = pd.DataFrame({"segment": ["web · new", "web · old"], "n_users": [395, ""]})
    assert given_back({"a": parts.head(2), "b": fine})[0][2] == (400, 395)
    assert not given_back({"a": parts.head(2), "b": fine.assign(n_users=[300, ""])})


# ------------------------------------------------------------------------------ one case a kind

FINE = {"a · w": 95, "a · x": 5, "b · w": 200, "b · x": 40}
COARSE = {"a": 100, "b": 240}


def groups_of(sizes, key, names=None, population="users"):
    return (Groups(population, key, pd.Series(sizes), names or {}),)


def rows_of(*segments):
    return pd.DataFrame({"segment": segments, "n_reached": 50})


JOINED = {"a · x": "others", "b · x": "others"}


def test_a_channel_less_its_platforms_is_the_group_that_was_joined():
    """100 of a less 95 of a · w are 5, told in 45 others; in either order one row must go."""
    fine = groups_of(FINE, "channel · platform", JOINED)
    page = Page()
    assert not page.publish("fine", rows_of("a · w", "b · w", "others"), fine)[1].any()
    coarse = page.publish("coarse", rows_of("a", "b"), groups_of(COARSE, "channel"))[1]
    assert coarse.tolist() == [True, True], "340 less 240 of b are the 100 of a again"
    page = Page()
    assert not page.publish("coarse", rows_of("a", "b"), groups_of(COARSE, "channel"))[1].any()
    masked = page.publish("fine", rows_of("a · w", "b · w", "others"), fine)[1]
    assert masked.tolist() == [True, False, True], "then 45 others less 40 of b on x are 5 too"


def test_keys_in_another_order_are_the_same_groups():
    page = Page()
    turned = {" · ".join(reversed(group.split(" · "))): n for group, n in FINE.items()}
    first = groups_of(FINE, "channel · platform", JOINED)
    assert not page.publish("first", rows_of("a · w", "others"), first)[1].any()
    second = groups_of(turned, "platform · channel", {"w · a": "others", "x · a": "others"})
    masked = page.publish("second", rows_of("x · b", "others"), second)[1]
    assert masked.tolist() == [True, True], "45 others less 40 of b on x are 5"


def test_two_small_groups_that_only_a_third_sum_parts_from_two_others():
    """{a, c} and {e, f} are hidden together; 13 of {e, f} are told, so the rest must not be."""
    sizes = {"b": 300, "a": 5, "c": 3, "e": 4, "f": 9}
    page = Page()
    names = {"e": "ef", "f": "ef", "a": "abc", "b": "abc", "c": "abc"}
    assert not page.publish("one", rows_of("ef", "abc"), groups_of(sizes, "k", names))[1].any()
    assert page.publish("two", rows_of("b"), groups_of(sizes, "k"))[1].all(), "308 less 300 are 8"


@pytest.mark.parametrize("first", ["year", "month"])
def test_who_is_in_a_population_and_not_in_one_that_it_holds_is_a_group(first):
    """300 of web in the year less 294 in the month are 6 who came at another time."""
    year = groups_of({"web": 300, "ios": 500}, "platform", population="year")
    month = Groups("month", "platform", pd.Series({"web": 294, "ios": 100}), within="year")
    tables = {"year": year, "month": (month,)}
    second = "month" if first == "year" else "year"
    page = Page()
    assert not page.publish(first, rows_of("web", "ios"), tables[first])[1].any()
    masked = page.publish(second, rows_of("web", "ios"), tables[second])[1]
    assert masked.tolist() == [True, True], "each total would give web back"
    page = Page()
    page.publish("year", rows_of("web", "ios"), year)
    other = groups_of({"web": 294, "ios": 100}, "platform", population="buyers")
    assert not page.publish("buyers", rows_of("web", "ios"), other)[1].any()


def test_a_total_by_a_name_of_its_own_is_a_total():
    frame = {"platform": ["Gesamt", "web", "ios", "tv"], "n_users": [706, 400, 300, 6]}
    assert suppress(pd.DataFrame(frame))[1].tolist() == [False, False, True, True]


def test_a_total_that_stands_in_another_table_is_one_whichever_comes_first():
    parts = pd.DataFrame(
        {"by": "platform", "group": ["web", "ios", "tv"], "n_users": [400, 300, 6]}
    )
    whole = pd.DataFrame({"by": ["platform"], "n_users": [706]})
    page = Page()
    assert not page.publish("whole", whole, ())[1].any()
    assert page.publish("parts", parts, ())[1].tolist() == [False, True, True]
    page = Page()
    assert page.publish("parts", parts, ())[1].tolist() == [False, False, True]
    assert page.publish("whole", whole, ())[1].all()
    page.begin(706)
    assert page.publish("parts", parts, ())[1].tolist() == [False, True, True]


FIRST = {"fine": pd.DataFrame({"segment": [*FINE], "n_users": [*FINE.values()]})}
FIRST["apart"] = pd.DataFrame(
    {"channel": [*"aabb"], "platform": [*"wxwx"], "n_users": [*FINE.values()]}
)


@pytest.mark.parametrize("n_users", [0, 340])
@pytest.mark.parametrize("first", FIRST)
def test_declared_and_undeclared_tables_are_held_against_each_other(first, n_users):
    """100 of a less 95 of a · w are 5, in whatever columns, and whether or not it is declared."""
    coarse = pd.DataFrame({"segment": [*COARSE], "n_users": [*COARSE.values()]})
    for groups in ((), groups_of(COARSE, "channel")):
        page = Page()
        page.begin(n_users)
        fine = page.publish("fine", FIRST[first], ())[1]
        assert fine[:3].tolist() == [False, True, False]
        masked = page.publish("coarse", coarse, groups)[1]
        assert masked[0], "95 of a are told, so a must not be"


@pytest.mark.parametrize("n_users", [0, 1000])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_total_by_any_name_is_that_of_another_key(turn, n_users):
    """706 by a name of its own less 700 of free are the 6 of paid."""
    whole = pd.DataFrame({"platform": ["Gesamt", "web", "ios"], "n_users": [706, 400, 306]})
    plans = pd.DataFrame({"plan": ["free", "paid"], "n_users": [700, 6]})
    page = Page()
    page.begin(n_users)
    shown = [
        n
        for table in (whole, plans)[::turn]
        for n in page.publish(table.columns[0], table, ())[0]["n_users"].dropna()
    ]
    assert not {706, 700} <= set(shown) and not {400, 306, 700} <= set(shown)


def test_a_row_by_a_small_group_s_own_name_is_checked_and_an_unknown_one_by_its_base():
    """Told are 306 others, b and c: 300 of b leave the 6 of c."""
    names = {"b": "others", "c": "others"}
    groups = groups_of({"a": 400, "b": 300, "c": 6}, "channel", names)
    page = Page()
    assert not page.publish("one", rows_of("a", "others"), groups)[1].any()
    rows = rows_of("all", "a", "b", "elsewhere", "nowhere")
    rows.loc[4, "n_reached"] = 9
    assert page.publish("two", rows, groups)[1].tolist() == [False, False, True, False, True]


@pytest.mark.parametrize(
    "keys",
    [
        [True, False, None],
        [1, 10, 50],
        [1.0, 10.0, 50.0],
        pd.to_datetime(["2026-01-01", "2026-02-01", "2026-03-01"]),
    ],
    ids=["bool", "int", "float", "time"],
)
def test_keys_that_are_no_text_name_rows_as_well(keys):
    page = Page()
    page.begin(706)
    rows = pd.DataFrame({"key": keys, "n_users": [400, 300, 6]})
    assert page.publish("rows", rows, ())[1].tolist() == [False, True, True]
    page.begin(706)
    two = pd.DataFrame({"plan": [True, False], "n_users": [700, 6]})
    assert page.publish("two", two, ())[1].all()


def test_what_only_describes_a_row_does_not_part_it_from_its_total():
    frame = {"platform": ["all", "web", "ios", "tv"], "n_users": [706, 400, 300, 6]}
    frame["since"] = ["", "2026-01-05", "", "2026-02-02"]
    assert suppress(pd.DataFrame(frame))[1].tolist() == [False, False, True, True]


def test_users_of_whom_a_table_has_no_row_are_what_its_total_leaves():
    frame = pd.DataFrame({"platform": ["all", "web", "ios"], "n_users": [706, 400, 300]})
    assert suppress(frame)[1].tolist() == [False, False, True]
    several = pd.DataFrame({"platform": ["all", "web", "ios"], "n_users": [706, 500, 300]})
    assert not suppress(several)[1].any(), "who uses two of them is counted twice: nothing is left"


def test_a_row_that_one_table_hides_is_hidden_in_the_next_one():
    whole = pd.DataFrame({"platform": ["all", "web", "ios", "tv"], "n_users": [706, 400, 300, 6]})
    page = Page()
    assert page.publish("whole", whole, ())[1].tolist() == [False, False, True, True]
    again = pd.DataFrame({"platform": ["web", "ios"], "state": "good", "n_users": [400, 300]})
    assert page.publish("again", again, ())[1].tolist() == [False, True]
    declared = groups_of({"web": 400, "ios": 300, "tv": 6}, "platform", {"web": "o", "tv": "o"})
    assert page.publish("declared", rows_of("ios", "o"), declared)[1].tolist() == [True, True]


def test_a_table_that_can_show_no_row_safely_is_hidden_whole():
    """174 are all of b, so 176 of w less 174 of b on w are the 2 of a on w."""
    declared = groups_of({"w": 176, "x": 73}, "platform")
    page = Page()
    page.begin(249)
    page.publish("w", rows_of("w", "x"), declared)
    page.publish("c", rows_of("a", "b"), groups_of({"a": 75, "b": 174}, "channel"))
    fine = pd.DataFrame({"segment": ["w · a", "w · b", "x · a"], "n_users": [2, 174, 73]})
    assert page.publish("fine", fine, ())[1].all()
    again = page.publish("again", rows_of("w", "x"), declared)[1]
    assert not again.any(), "what is not told of it is held against nobody"


def test_a_row_of_nobody_is_hidden_where_it_gives_a_group_back():
    """89 of w and 138 of a less 221 in all are the 6 of both, once nobody is b on x."""
    page = Page()
    page.begin(221)
    for key, sizes in {"platform": {"w": 89, "x": 132}, "channel": {"a": 138, "b": 83}}.items():
        table = pd.DataFrame({"segment": [*sizes], "n_users": [*sizes.values()]})
        assert not page.publish(key, table, ())[1].any()
    cells = {"w · a": 6, "w · b": 83, "x · a": 132, "x · b": 0}
    fine = groups_of(cells, "platform · channel")
    assert page.publish("fine", rows_of(*cells), fine)[1].all()


def test_numbers_that_happen_to_be_equal_refuse_no_report():
    """45 of other users, who stand in a sentence, and 40 and a hidden 5 of a table before."""
    page = Page()
    page.publish("x", pd.DataFrame({"platform": ["web", "tv"], "n_users": [40, 5]}), ())
    table = page.publish("y", rows_of("all"), (Groups.whole("teams", 45),))[0]
    assert table["n_reached"].tolist() == [50]
