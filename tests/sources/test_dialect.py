"""How a text table is written, told by parsing it; expected values are read off by hand."""

import time

import pytest

from mctlib.sources.dialect import Dialect, dialect_of

HEADERS = ("user", "event", "when")
TABLES = {
    "commas": ("user,event,when\na,x,1\n", ",", 0),
    "a header only": ("user;event;when\n", ";", 0),
    "more commas than semicolons, in quotes": ('"user";"event";"when"\n"a, b, c, d";x;1\n', ";", 0),
    "decimal commas": ("user;event;when\na;1,5;2,5\nb;1,5;2,5\n", ";", 0),
    "semicolons in texts": ('user,event,when\na,"x; y; z; q",1\n', ",", 0),
    "tabs": ("user\tevent\twhen\na\tx, y, z, q\t1\n", "\t", 0),
    "tildes": ("user~event~when\na~x, y, z, q~1\n", "~", 0),
    "as Hive writes": ("user\1event\1when\na\1x\0011\n", "\1", 0),
    "bars": ("user|event|when\na|x|1\n", "|", 0),
    "as Excel says": ("sep=^\nuser^event^when\na^x^1\n", "^", 1),
    "said and known": ("sep=;\nuser;event;when\na;x;1\n", ";", 1),
    "comments": ("# a, b\n# c\n\nuser,event,when\na,x,1\n", ",", 3),
    "a title": ("My report\n\nuser,event,when\na,x,1\n", ",", 2),
    "a title as Excel saves it": ("My report,,\n,,\nuser,event,when\na,x,1\n", ",", 2),
    "names and values": ("Account;ACME\nMonth;May\n\nuser;event;when\na;x;1\n", ";", 3),
    "old Mac": ('user,event,when\ra,"x\ny",1\r', ",", 0),
    "rows that end with a comma": ("user,event,when\na,x,1,\nb,y,2,\n", ",", 0),
    "short rows": ("user,event,when\na,x\nb,y\n", ",", 0),
    "an open quote": ('user,event,when\na,"x,1\nb,y,2\n', ",", 0),
}


@pytest.mark.parametrize(("text", "delimiter", "skip"), TABLES.values(), ids=TABLES)
def test_what_parts_the_columns_and_where_the_header_stands(text, delimiter, skip):
    assert dialect_of(text) == Dialect(delimiter, '"', skip, HEADERS)


def test_a_hash_may_begin_a_header():
    dialect = dialect_of("#,Did you finish?,Submit Date (UTC)\nr1,1,2026-01-10\n")
    assert dialect.headers[0] == "#" and dialect.skip == 0


def test_a_blank_line_between_rows_begins_no_table():
    assert dialect_of("a,b,c\n1,2,3\n\n1,2,3,4\n").skip == 0
    assert dialect_of("day,amount\n2026-01-01,5\n2026-01-02,5\n").skip == 0


@pytest.mark.parametrize(
    ("cell", "escape"),
    [
        (r'"{\"role\": \"hr, lead\"}"', "\\"),
        ('"{""role"": ""hr, lead""}"', '"'),
        # a backslash that stands for itself, before the quote that ends the cell
        (r'"c:\dir\"', '"'),
        (r'"{""said"": ""\""hi\"", b""}"', '"'),
    ],
)
def test_what_stands_before_a_quote_inside_quotes(cell, escape):
    assert dialect_of(f"user,event,when,p\na,x,1,{cell}\nb,y,2,\n").escape == escape


@pytest.mark.parametrize("text", ["", "\n\n", ",,\n,,\n"])
def test_nothing_has_no_dialect(text):
    dialect = dialect_of(text)
    assert dialect is None or dialect.headers == (",,",)


@pytest.mark.parametrize("text", ["# c\n" * 60_000, ",\n" * 100_000, '"' * 200_000, " " * 250_000])
def test_it_takes_no_time(text):
    began = time.process_time()
    dialect_of(text)
    assert time.process_time() - began < 5
