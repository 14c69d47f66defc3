"""Amounts: how they may be written, and what is asked about."""

import duckdb
import pandas as pd
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from mctlib.eventlog.event_log import EventLog
from tests.sources.reading import HEAD, ROW, pick, read
from tests.support.logs import frame_of

# values of one column -> the numbers they are
READ = [
    (["1234.50", "7"], [1234.5, 7]),
    (["1,234.50", "1,234"], [1234.5, 1234]),  # the first says that the comma parts thousands
    (["1.234,50", "1.234"], [1234.5, 1234]),
    (["12,5", "1.234"], [12.5, 1234]),
    (["12,50", "7"], [12.5, 7]),
    (["0,125"], [0.125]),  # thousands do not begin with 0
    (["0.125", "1.234"], [0.125, 1.234]),
    (["1,234,567"], [1234567]),
    (["1234,567"], [1234.567]),
    (["1 234,50", "7"], [1234.5, 7]),
    (["1\u202f234", "7"], [1234, 7]),
    (["1'234.50"], [1234.5]),
    (["1.5e3", ".5", "5.", "+2"], [1500, 0.5, 5, 2]),
    (["7", "NULL", ""], [7]),
]
REFUSED = [
    (["5", "inf"], '1 of 2 values of "amount" are no numbers like 1234.50, for example "inf".'),
    (["-Infinity"], 'no numbers like 1234.50, for example "-Infinity".'),
    (["nan"], 'no numbers like 1234.50, for example "nan".'),
    (["1e999"], 'no numbers like 1234.50, for example "1e999".'),
    (["1_000"], 'no numbers like 1234.50, for example "1_000".'),
    (["12 EUR"], 'no numbers like 1234.50, for example "12 EUR".'),
    (["0x10"], 'no numbers like 1234.50, for example "0x10".'),
    (["1,23,456"], 'no numbers like 1234.50, for example "1,23,456".'),
    (["1-2"], 'no numbers like 1234.50, for example "1-2".'),
    (
        ["1,234.50", "1.234,50"],
        '1 of 2 values of "amount" are written with a decimal comma, others with a point, for '
        'example "1.234,50".',
    ),
    (
        ["1.234", "7"],
        '1 of 2 values of "amount" are one number with a decimal point and another with a decimal '
        'comma, for example "1.234". Add to this source the line  decimal: "."  or  decimal: ",".',
    ),
    (["1,234"], 'and another with a decimal comma, for example "1,234".'),
    (
        ["5", "-12.50"],
        '1 of 2 values of "amount" are negative, for example "-12.50". If they are refunds, add to '
        "this source the line  refunds: true; if not, correct the sign.",
    ),
]


def write(folder, values):
    lines = "".join(f'"{value}";2026-01-05\n' for value in values)
    (folder / "s.csv").write_text(f"amount;day\n{lines}", encoding="utf-8")


@pytest.mark.parametrize(("values", "numbers"), READ, ids=str)
def test_the_column_itself_says_its_decimal_sign(tmp_path, values, numbers):
    write(tmp_path, values)
    rows = read("spend", tmp_path, path="s.csv")["spend"]
    assert [row["amount"] for row in rows if "amount" in row] == numbers


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=str)
def test_amounts_that_are_none_or_that_must_be_asked_about(tmp_path, values, said):
    write(tmp_path, values)
    with pytest.raises(DataError) as error:
        read("spend", tmp_path, path="s.csv")
    assert str(error.value).startswith("s.csv: ") and said in str(error.value)


def test_the_yaml_answers_what_was_asked(project):
    spend = "events: {path: e.csv}\nspend: {path: s.csv, decimal: ',', refunds: true}"
    write(project.root, ["1.234", "-7"])
    log = open_log(project(spend, e__csv=HEAD + ROW))
    assert log.table("spend")["amount"].tolist() == [1234, -7]
    write(project.root, ["1.23"])
    with pytest.raises(DataError, match='are no numbers by  decimal: ",", for example "1.23"'):
        open_log(project(spend))
    with pytest.raises(
        DataError, match=r"data.x.yaml: \"spend.decimal\" must be one of \"\.\", \",\""
    ):
        open_log(project("events: {path: e.csv}\nspend: {path: s.csv, decimal: ';'}"))


def test_numbers_that_were_numbers_in_their_file_have_a_point(tmp_path):
    day = "'2026-01-05'::DATE AS day"
    duckdb.sql(f"COPY (SELECT 1.234 AS amount, {day}) TO '{tmp_path}/s.parquet'")
    assert pick(read("spend", tmp_path, path="s.parquet")["spend"], "amount") == [(1.234,)]
    duckdb.sql(f"COPY (SELECT 'inf'::DOUBLE AS amount, {day}) TO '{tmp_path}/s.parquet'")
    with pytest.raises(DataError, match='for example "inf"'):
        read("spend", tmp_path, path="s.parquet")


def test_revenue_may_fall_below_nothing(tmp_path):
    (tmp_path / "p.csv").write_text('user_id,revenue\nu,"-1,50"\n')
    assert read("people", tmp_path, path="p.csv")["people"][0]["revenue"] == -1.5


@pytest.mark.parametrize("amount", [float("inf"), "1_000", "abc", "1,5"])
def test_amounts_in_a_frame_are_numbers(amount):
    spend = pd.DataFrame({"day": ["2026-01-05"], "amount": [amount], "partner_id": "p"})
    with pytest.raises(DataError, match=r'spend frame: "amount" holds ".*", which is no number'):
        EventLog.from_frame(frame_of([("u", "a", "2026-01-01")]), spend=spend)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (["1,234", "0.5"], ["1234", "0.5"]),  # the second says that the comma parts thousands
        (["1.234", "0,5"], ["1234", "0.5"]),
        (["1.234", "5"], ["1.234", "5"]),  # told, for it may be 1234
        (["1.2345", "5"], ["1.2345", "5"]),
    ],
)
def test_the_sign_of_an_own_column_is_told_by_any_of_its_values(project, written, read):
    events = HEAD + "".join(f"u{i},a,2026-01-05T00:00:00Z\n" for i in range(2))
    people = "user_id;n\n" + "".join(f"u{i};{n}\n" for i, n in enumerate(written))
    log = open_log(
        project("events: {path: e.csv}\npeople: {path: p.csv}", e__csv=events, p__csv=people)
    )
    assert sorted(log.table("people")["n"]) == sorted(read)
    assert bool(log.load["notes"]) == (written == ["1.234", "5"])


PEOPLE = """\
user_id;score;thousands;either;zip;words
u0;1,5;1 234;1,234;01234;a,1 b
u1;2,25;2 500;2,345;00123;x
u2;1.000,5;;;01111;
"""  # "1,234" is one number with a point and another with a comma, and so is "2,345"


@pytest.mark.parametrize(
    ("decimal", "either"), [("", ["1,234", "2,345"]), (", decimal: ','", ["1.234", "2.345"])]
)
def test_own_columns_of_people_hold_numbers_as_amounts_do(project, decimal, either):
    """Where their sign is neither told by the column nor said, they stay as they are."""
    events = HEAD + "".join(f"u{i},a,2026-01-05T00:00:00Z\n" for i in range(3))
    yaml = f"events: {{path: e.csv}}\npeople: {{path: p.csv{decimal}}}"
    log = open_log(project(yaml, e__csv=events, p__csv=PEOPLE))
    people = log.table("people").sort_values("zip")
    assert people["score"].tolist() == ["2.25", "1000.5", "1.5"]
    assert people["thousands"].dropna().tolist() == ["2500", "1234"]
    assert sorted(people["either"].dropna()) == either
    assert people["zip"].tolist() == ["00123", "01111", "01234"]
    said = 'p.csv: "1,234" in the column "either" is one number with a decimal point and another'
    assert [note.startswith(said) for note in log.load["notes"]] == [True] * (not decimal)
    assert "a,1 b" in people["words"].tolist()
    assert log.counts(by={"score": [2, 100]})["score"].tolist() == [
        "100 or more",
        "2 to below 100",
        "below 2",
    ]
