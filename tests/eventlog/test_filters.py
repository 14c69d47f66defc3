"""What a step's `where` lets pass, on a store and over Parquet; over Spark see test_spark."""

import operator
import re

import duckdb
import hypothesis.strategies as st
import pandas as pd
import pytest
from hypothesis import given, settings

import mctlib
from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.filters import can_share, condition, fault
from mctlib.eventlog.steps import ANY, Step, as_step, check_exit, may_meet
from tests.support.filters import PASSES, PEOPLE, SAID, SENT, events


@pytest.fixture(scope="module", params=["store", "parquet"])
def log(request, tmp_path_factory):
    if request.param == "store":
        return EventLog.from_frame(events(), people=PEOPLE)
    folder = tmp_path_factory.mktemp("filters")
    events().to_parquet(folder / "e.parquet")
    PEOPLE.to_parquet(folder / "p.parquet")
    return EventLog.from_parquet(folder / "e.parquet", people=folder / "p.parquet", name="frame")


@pytest.mark.parametrize(("where", "users"), PASSES, ids=str)
def test_what_a_filter_lets_pass(log, where, users):
    n = len(users.split())
    step = Step("sent", where)
    assert log.counts(events=[step])["n_events"].sum() == n
    walked = [len(part) for part in log.journeys(events=[step])]
    assert sum(walked) == n
    funnel = mctlib.diagnose_funnel(log, [step, "seen"], window="1d", as_of="2026-03-12")
    assert funnel.steps["n_reached"].tolist() == [n, n]


@pytest.mark.parametrize(("where", "said"), SAID, ids=str)
def test_what_the_check_says_of_a_filter(log, where, said):
    try:
        sentence = " ".join(log.missing_events([Step("sent", where), "seen"]))
    except ParameterError as error:
        sentence = str(error)
    assert said in sentence
    assert "x" not in re.findall(r'"(.*?)"', sentence)  # of ids no values


def test_what_the_check_says_of_a_filter_that_is_good(log):
    good = [where for where, _ in PASSES if where != {"amount": {">": 9}}]
    assert log.missing_events([Step("sent", where) for where in good]) == []


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (
            {"amount": {"gte": 3}},
            'the filter of "amount" has the tests not, >=, >, <=, <, contains',
        ),
        ({"amount": {"contain": "3"}}, 'not "contain". Did you mean "contains"?'),
        ({"amount": {}}, "asks for nothing; write a value, or one of not, >=,"),
        ({"amount": {">=": "many"}}, "needs a number or a day after \">=\", not 'many'."),
        ({"amount": {">=": True}}, 'needs a number or a day after ">=", not True.'),
        ({"amount": {"<": "1_000"}}, 'needs a number or a day after "<", not'),
        ({"amount": {"<": float("inf")}}, 'needs a number or a day after "<", not inf.'),
        ({"role": {"contains": ""}}, 'needs a text after "contains", not'),
        ({"role": {"contains": []}}, 'needs a text after "contains", not'),
        ({"role": {"present": "yes"}}, 'needs true or false after "present", not'),
        ({"role": {"not": {"present": 1}}}, 'needs true or false after "present", not 1'),
        ({"role": None}, "asks for no value; write {present: false} for that."),
        ({"role": [None, "hr"]}, "asks for no value; write {present: false} for that."),
        ({"role": []}, "is an empty list, which accepts nothing."),
        ({"role": [{"not": "hr"}]}, "asks for {'not': 'hr'}, which is no single value."),
        ({"app_version": {">=": "2.10"}}, "compares versions, which are no numbers"),
        ({3: "x"}, "it must map columns or properties to the values"),
    ],
    ids=str,
)
def test_a_filter_that_is_none_gets_a_sentence(log, where, said):
    for ask in (
        lambda: mctlib.diagnose_funnel(log, ["seen", Step("sent", where)], window="1d", as_of=None),
        lambda: log.missing_events([{"event": "sent", "where": where}]),
        lambda: log.counts(events=[Step("sent", where)]),
    ):
        with pytest.raises(ParameterError) as error:
            ask()
        assert said in str(error.value)


def test_a_column_of_the_event_comes_before_one_of_people_unless_it_is_empty():
    people = PEOPLE.assign(channel=["ads", "ads", "mail", "mail"])
    of_both = EventLog.from_frame(events().assign(channel="push"), people=people)
    assert of_both.missing_events([Step("sent", {"channel": "ads"})])
    assert not of_both.missing_events([Step("sent", {"channel": "push"})])
    assert not of_both.missing_events([Step("sent", {"people.channel": "ads"})])
    of_people = EventLog.from_frame(events(), people=people)
    assert of_people.counts(events=[Step("sent", {"channel": "ads"})])["n_events"].sum() == 2


APART = [
    ("ios", {"not": "ios"}),
    (["ios", "web"], {"not": ["web", "ios"]}),
    (True, "false"),
    ({">=": 10}, {"<": 10}),
    ({">=": "2026-03-01"}, {"<": "2026-03-01"}),
    (5, {">=": 6}),
    ({"present": False}, ANY),
    ({"present": False}, {"contains": "a"}),
    ("hr", {"contains": "HR"}),
]
TOGETHER = [
    (1, "1.0"),
    (True, "true"),
    (True, "TRUE"),
    ({"contains": "a"}, {"contains": "b"}),
    ({"not": "ios"}, {"not": "web"}),
    ({"not": "ios"}, {"present": False}),
    ({">": 1}, {"<": 2}),
    ({">": "2026-03-01"}, {"<": "2026-03-02"}),
    ({">=": 10}, {"<=": 10}),
    ({">=": 10}, 20),
    ("hr lead", {"contains": "lead"}),
    ({"contains": "1"}, {">": 3}),
    ({"not": "1"}, {"contains": "1"}),
]


@pytest.mark.parametrize(("pairs", "may"), [(APART, False), (TOGETHER, True)])
def test_whether_one_event_may_meet_two_filters(pairs, may):
    for a, b in pairs:
        for one, other in ((a, b), (b, a)):
            assert may_meet(Step("e", {"k": one}), Step("e", {"k": other})) is may, (one, other)
    check_exit([Step("e", {"k": "ios"})], Step("e", {"k": {"not": "ios"}}))


WORDS = ["ios", "1", "1.0", "7", "true", "TRUE", "a b", "2026-03-01", "2026-03-01T12:00:00Z", "1_0"]
plain = st.sampled_from([*WORDS, 1, 7, 2.5, True, False, ANY])
bounds = st.sampled_from([1, 2.5, "7", "2026-03-01", "2026-03-01T10:00:00+02:00"])
tests = st.dictionaries(st.sampled_from([">=", ">", "<=", "<"]), bounds, min_size=1, max_size=2)
flat = plain | st.lists(plain, min_size=1, max_size=2) | tests
wanteds = flat | st.fixed_dictionaries(
    {}, optional={"not": flat, "present": st.booleans(), "contains": st.sampled_from(["i", "1"])}
).filter(bool)


@pytest.fixture(scope="module")
def con():
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


@settings(max_examples=300)
@given(st.sampled_from([None, *WORDS]), wanteds, wanteds)
def test_two_filters_that_a_value_meets_can_share_one(con, value, a, b):
    """And what SQL says of a value is what the rule says, read off here test by test."""
    assert not fault("k", a) and not fault("k", b)
    sql = f"SELECT {condition('x', a)}, {condition('x', b)} FROM (SELECT ?::VARCHAR AS x)"
    both = con.execute(sql, [value]).fetchone()
    assert both == (plainly(value, a), plainly(value, b))
    assert can_share(a, b) or not all(both)


def plainly(text, wanted):
    if isinstance(wanted, dict):
        return all(one_test(text, test, bound) for test, bound in wanted.items())
    return any(same(text, value) for value in (wanted if isinstance(wanted, list) else [wanted]))


def one_test(text, test, bound):
    if test in ("not", "present"):
        return plainly(text, bound) is False if test == "not" else (text is not None) == bound
    if text is None or test == "contains":
        return text is not None and bound in text
    compared = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}[test]
    for read in (float, moment):
        try:
            return compared(read(text), read(bound)) and "_" not in text
        except ValueError:
            continue
    return False


def moment(text):
    if not str(text).startswith("2026"):
        raise ValueError(text)
    stamp = pd.Timestamp(text)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp


def same(text, value):
    if text is None or value is ANY:
        return text is not None
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, str):
        return text == value
    return text in (str(value), f"{value}.0")


def test_a_label_says_what_is_asked():
    where = {
        "platform": ["ios", "web"],
        "role": {"not": "hr", "contains": ["a", "b"]},
        "n": {">=": 1, "<": 3},
        "x": {"present": False},
        "y": ANY,
        "z": {"not": {"contains": "q"}},
        "ok": True,
    }
    assert as_step(Step("a", where)).label == (
        "a [platform=ios or web] [role not hr and contains a or b] [n >= 1 and < 3] [x missing] "
        "[y=present] [z not (contains q)] [ok=true]"
    )
    assert len(SENT) == 5
