"""From text columns to a canonical table: cleaning, privacy, numbers, answers."""

import json
import re

import duckdb
import pytest

from mctlib import daily_metric, diagnose_funnel, drop_off_drivers, open_log
from mctlib.attribution.windows import attribution_windows
from mctlib.contract import DataError, ParameterError
from mctlib.eventlog.daily_metric import Rate
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.sql import sql_name, sql_text
from mctlib.eventlog.steps import Step
from tests.sources.reading import EXPORTS, HEAD, ROW, at, pick, read
from tests.support.logs import frame_of, pseudonym
from tests.support.stores import store_of


def test_the_sql_names_are_safe():
    assert sql_name('a"b') == '"a""b"' and sql_text("a'b") == "'a''b'"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_parquet_that_is_read_where_it_lies_gives_what_its_text_gives(tmp_path, zone):
    """Columns that need no cleaning are taken bare, and times as they are.

    Each column here has one value that forbids it, or none.
    """
    events = """
        VALUES ('ada', 'join', 'tidy one', TIMESTAMP '2026-03-29 00:30:15.25', DATE '2026-01-05',
            TIMESTAMPTZ '2026-07-05 10:00:00+02'),
        (' bo ', 'null', 'tidy', '2026-07-05', NULL, NULL),
        (chr(160) || 'cy', 'join', 'ab', NULL, '2026-07-05', '2026-01-05 10:00:00.123456+00'),
        ('é', '', chr(9) || 'tab', '1999-12-31 23:59:59.999999', NULL, NULL),
        ('NaN', 'NaT', NULL, '2026-01-05 10:00:00', '2026-01-06', NULL)
    """
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            f"CREATE TABLE t AS FROM ({events}) AS t(user_id, event, channel, timestamp,"
            f" received_at, seen)"
        )
        con.execute(f"COPY t TO '{tmp_path}/t.parquet'")
        con.execute(f"COPY (SELECT COLUMNS(*)::VARCHAR FROM t) TO '{tmp_path}/t.csv'")
    typed, texts = (
        read("events", tmp_path, path=f"t.{kind}", timezone=zone)["events"]
        for kind in ("parquet", "csv")
    )
    assert typed == texts
    assert pick(typed, "user_id", "event", "channel")[:2] == [
        ("ada", "join", "tidy one"),
        ("bo", None, "tidy"),
    ]
    zoned = [
        read("events", tmp_path, path=f"t.{kind}", timezone=zone, columns={"timestamp": "seen"})[
            "events"
        ]
        for kind in ("parquet", "csv")
    ]
    assert (
        pick(zoned[0], "timestamp")[:3]
        == pick(zoned[1], "timestamp")[:3]
        == [(at("2026-07-05T08:00:00"),), (None,), (at("2026-01-05T10:00:00.123456"),)]
    )


def properties_of(name):
    """The properties of a dataset's events, as its store keeps them, in the order of their time."""
    open_log(name).close()
    with duckdb.connect(store_of("x"), read_only=True) as con:
        rows = con.sql("SELECT properties FROM events ORDER BY timestamp").fetchall()
    return [row[0] for row in rows]


def test_regulated_values_never_pass(project):
    line = (
        '{"user_id":"u","event":"e","timestamp":"2026-01-05T00:00:00Z","User Name":"Ada L",'
        '"phone":"+491701234",'
        '"context":{"ip":"203.0.113.1","traits":{"firstName":"Ada","email":"ada@example.org",'
        '"ok":1}},"plan_name":"growth","linkedin_url":"https://linkedin.com/in/ada",'
        '"$set":{"name":{"first":"Ada"},"$email":"ada@example.org"},"url":"https://example.org/'
        'x?m=ada%40example.org&y=bo%2540example.org","tel":"ring \\u002b49 170 5555555"}\n'
    )
    (row,) = properties_of(project("events: {path: t.jsonl}", t__jsonl=line))
    assert row == (
        '{"context":{"traits":{"ok":1}},"plan_name":"growth","$set":{},"url":"https://example.org/'
        'x?m=[e-mail removed]&y=[e-mail removed]","tel":"ring [phone removed]"}'
    )


IDS = {"candidate_id": "C7", "deviceId": "D7", "$anon_distinct_id": "A7", "session-id": 7}
PLAIN = {"job_id": "J7", "partner_user_id": "P7", "utm_id": "U7", "candidate_idea": "I7"}


@pytest.mark.parametrize("format", ["canonical", "mixpanel"])
def test_ids_of_people_devices_and_visits_are_hashed_and_deeper_ones_go(
    project, monkeypatch, format
):
    monkeypatch.setenv("MCT_SALT", "salt")
    properties = IDS | PLAIN | {"Ref": "R7", "deep": {"user_id": "X7", "n": 1}}
    if format == "mixpanel":
        properties |= {"time": 1767571200, "distinct_id": "u"}
        line = {"event": "e", "properties": properties}
    else:
        line = {"event": "e", "user_id": "u", "timestamp": "2026-01-05T00:00:00Z"} | properties
    yaml = f"events: {{path: t.jsonl, format: {format}, hash: [Ref]}}"
    (row,) = properties_of(project(yaml, t__jsonl=json.dumps(line)))
    hashes = {key: pseudonym(value, "salt") for key, value in (IDS | {"Ref": "R7"}).items()}
    assert json.loads(row) == PLAIN | hashes | {"deep": {"n": 1}}


def test_what_hash_names_is_hashed_wherever_it_goes(project, monkeypatch):
    monkeypatch.setenv("MCT_SALT", "salt")
    head, row = "user_id,event,timestamp,Kanal,note\n", "u,a,2026-01-05T00:00:00Z,web,seven\n"
    source = "path: e.csv, format: columns, columns: {channel: Kanal}"
    log = open_log(project(f"events: {{{source}, hash: [kanal, note]}}", e__csv=head + row))
    kept = log.sql("SELECT channel, properties->>'note' FROM events")
    assert kept.values.tolist() == [[pseudonym("web", "salt"), pseudonym("seven", "salt")]]


HASHED = ["channel", "event.channel", "properties.note", "properties.device_id", "Cost centre"]


@pytest.mark.parametrize("column", [*HASHED, "own_Platform", "client_id", "properties.session_id"])
def test_what_is_hashed_is_shown_by_no_question(project, column):
    events = "user_id,event,timestamp,Kanal,note,device_id\n" + "".join(
        f"u{i},{event},2026-01-0{1 + (event == 'b')}T00:00:00Z,web,n{i},d{i}\n"
        for i in range(2)
        for event in "ab"
    )
    people = "user_id,Cost centre,Platform,client_id,country\nu0,c0,p0,k0,DE\nu1,c1,p1,k1,FR\n"
    yaml = (
        "events: {path: e.csv, format: columns, columns: {channel: Kanal}, hash: [Kanal, note]}\n"
        "people: {path: p.csv, hash: [cost centre, Platform]}"
    )
    log = open_log(project(yaml, e__csv=events, p__csv=people))
    ask = {"window": "7d", "as_of": "2026-01-09"}
    for question in (
        lambda: log.counts(by=column),
        lambda: log.segments(column),
        lambda: diagnose_funnel(log, ["a", "b"], by=column, **ask),
        lambda: drop_off_drivers(log, ["a", "b"], segments=["country", column], **ask),
        lambda: daily_metric(log, Rate("b", of="a", window="1d"), by=column, as_of="2026-01-09"),
        lambda: attribution_windows(
            log, "b", windows=["1d"], by=column, as_of="2026-01-09", seed=1
        ),
    ):
        with pytest.raises(ParameterError, match="holds ids, which no table or sentence may show"):
            question()
    # a path may be held together by it, and a filter's word is not looked up among hashes
    held = diagnose_funnel(log, ["a", "b"], hold=["properties.note"], **ask)
    assert held.steps["n_reached"].tolist() == [2, 2]
    assert log.counts(by="country")["country"].tolist() == ["DE", "FR"] * 2
    (said,) = log.missing_events([Step("a", {column: "d0"})])
    assert not re.search("[0-9a-f]{16}", said)


def test_what_is_hashed_is_written_alike_before(project, monkeypatch):
    monkeypatch.setenv("MCT_SALT", "salt")
    head = "user_id,event,timestamp,session_id,candidate_id,Ref\n"
    row = "u,a,2026-01-05T00:00:00Z,{0},{0},{0}\n"
    rows = "".join(map(row.format, ("1001", "1001.0", " 1001\u00a0")))
    log = open_log(project("events: {path: e.csv, hash: [Ref]}", e__csv=head + rows))
    kept = log.sql("""
        SELECT DISTINCT session_id, properties->>'candidate_id', properties->>'Ref' FROM events
    """)
    assert kept.values.tolist() == [[pseudonym("1001", "salt")] * 3]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("Kanl", 'e.csv has no column "Kanl", named in hash. Did you mean "Kanal"?'),
        ("Kanal", 'e.csv: "Kanal" in hash fills partner_id, which is never hashed: '),
        ("timestamp", 'e.csv: "timestamp" in hash fills timestamp, which is never hashed: '),
    ],
)
def test_what_cannot_be_hashed(project, named, words):
    head, row = "user_id,event,timestamp,Kanal\n", "u,a,2026-01-05T00:00:00Z,web\n"
    source = "path: e.csv, format: columns, columns: {partner_id: Kanal}"
    with pytest.raises(DataError) as error:
        open_log(project(f"events: {{{source}, hash: [{named}]}}", e__csv=head + row))
    assert str(error.value).startswith(words)


def test_a_consent_nobody_understands_is_refused(project):
    files = {"e__csv": HEAD + ROW, "p__csv": "user_id,consent\nu,yes\nv,withdrawn\n"}
    with pytest.raises(
        DataError,
        match='1 of 2 values of "consent" are neither yes nor no, for example "withdrawn"',
    ):
        open_log(project("events: {path: e.csv}\npeople: {path: p.csv}", **files))


def test_answers_that_are_neither_yes_nor_no(tmp_path):
    write = (tmp_path / "s.csv").write_text
    write(
        "uid,at,q1\nu,2026-01-05T00:00:00Z,7\nv,2026-01-05T00:00:00Z,\nw,2026-01-05T00:00:00Z,yes\n"
    )
    mapped = {
        "path": "s.csv",
        "format": "columns",
        "columns": {"user_id": "uid", "submitted_at": "at", "job_saved": "q1"},
    }
    with pytest.raises(DataError) as error:
        read("surveys", tmp_path, **mapped)
    assert (
        str(error.value)
        == 's.csv: 1 of 2 values of "answer" are neither yes nor no, for example "7".'
    )
    write("uid,at,q1\n" + "w,2026-01-05T00:00:00Z,no\n" * 10 + "u,2026-01-05T00:00:00Z,maybe\n")
    rows = read("surveys", tmp_path, **mapped)["surveys"]
    assert pick(rows, "answer") == [("no",)] * 10 + [(None,)]  # kept, to be counted


LONG = {
    "user_id": "Customer ID",
    "submitted_at": "Date",
    "micro_conversion": "Question",
    "answer": "Response",
    "reason": "Comment",
}


WIDE = {
    "user_id": "user_id",
    "profile_completed": "Did you finish your profile?",
    "heard": "How did you hear about us?",
    "reason": "What stopped you?",
}


OPEN = {
    "long": {"path": "zigpoll/heard.csv", "format": "zigpoll", "columns": LONG},
    "one column a question": {"path": "typeform/heard.csv", "format": "typeform", "columns": WIDE},
    "zigpoll, one column a question": {
        "path": "typeform/heard.csv",
        "format": "zigpoll",
        "columns": WIDE | {"submitted_at": "Submit Date (UTC)"},
        "timezone": "UTC",
    },
    "any CSV": {"path": "zigpoll/heard.csv", "format": "columns", "columns": LONG},
}


@pytest.mark.parametrize("source", OPEN.values(), ids=OPEN)
def test_answers_to_an_open_question_name_partners(project, source):
    rows = read("surveys", **source)["surveys"]
    assert pick(
        [row for row in rows if row["micro_conversion"] == "heard" and row["user_id"] != "u-400"],
        "user_id",
        "answer",
        "reason",
    ) == [
        ("u-100", None, "Bee's podcast"),
        ("u-200", None, "Somebody else"),
        ("u-300", None, "from [e-mail removed]"),
    ]  # the answer, not u-200's comment on another question
    assert len(rows) == (
        6 if source["columns"] == LONG else 7
    )  # u-400's blank answer is a row of the long export only
    answered = [row for row in rows if row["micro_conversion"] != "heard"]
    assert pick(answered, "user_id", "answer")[0] == ("u-100", "yes") and all(
        row["answer"] for row in answered
    )
    users = ("u-100", "u-200", "u-300", "u-400")
    events = "".join(
        f"{user},signed_up,2026-01-25T00:00:00Z\n{user},paid,2026-01-31T00:00:00Z\n"
        for user in users
    )
    surveys = json.dumps(source | {"path": str(EXPORTS / source["path"])})
    log = open_log(
        project(
            f"events: {{path: e.csv}}\nsurveys: {surveys}\n"
            'aliases: {"bee\'s podcast": b, Somebody else: a}',
            e__csv=HEAD + "u-0,visit,2026-01-01T00:00:00Z\n" + events,
        )
    )
    assert log.load["tables"]["surveys"]["n_kept"] == len(rows)
    assert "from [e-mail removed]" in log.table("surveys")["reason"].tolist()
    credit = attribution_windows(
        log,
        "paid",
        windows=["7d"],
        as_of="2026-02-10",
        seed=1,
        start="signed_up",
        rules=["last"],
        sources=["survey:heard"],
    ).credit
    assert dict(zip(credit["partner_id"], credit["credit"])) == {
        "a": 1,
        "b": 1,
    }  # u-200 and u-100, six days before they paid


def test_open_questions_leave_the_others_to_be_judged_by_themselves(tmp_path):
    write = (tmp_path / "s.csv").write_text
    head, row = (
        "user_id,submitted_at,micro_conversion,answer\n",
        "u,2026-01-05T00:00:00Z,{},{}\n".format,
    )
    open_ones = row("heard", "a friend") * 20 + row(
        "wish", "dark mode"
    )  # neither helps nor hurts the other questions
    write(head + open_ones + row("saved", "yes") * 8 + row("saved", "maybe"))
    with pytest.raises(DataError) as error:
        read("surveys", tmp_path, path="s.csv")
    assert (
        str(error.value)
        == 's.csv: 1 of 9 values of "answer" are neither yes nor no, for example "maybe".'
    )
    write(head + open_ones + row("saved", "yes") * 9 + row("saved", "maybe"))
    rows = read("surveys", tmp_path, path="s.csv")["surveys"]
    assert pick(rows, "micro_conversion", "answer", "reason") == (
        [("heard", None, "a friend")] * 20
        + [("wish", None, "dark mode")]
        + [("saved", "yes", None)] * 9
        + [("saved", None, None)]
    )
    write(
        head + row("heard", "a friend") * 5 + row("heard", "No idea") * 4
    )  # most, so the four that look like a no are text too
    assert (
        pick(read("surveys", tmp_path, path="s.csv")["surveys"], "answer", "reason")
        == [(None, "a friend")] * 5 + [(None, "No idea")] * 4
    )
    write(head + row("heard", "a friend") * 5 + row("heard", "yes") * 5)
    with pytest.raises(
        DataError,
        match='5 of 10 values of "answer" are neither yes nor no, for example "a friend"',
    ):
        read("surveys", tmp_path, path="s.csv")


BAGS = ['{"n": 3}', "{'n': 3}", "[1]", "n=3", None, '{"n": 3', "{}"]


@pytest.mark.parametrize("kind", ["frame", "frame and a column", "csv", "parquet"])
def test_properties_that_are_no_json_object_are_counted_and_told(project, tmp_path, kind):
    rows = [(f"u{i}", "a", i) for i in range(len(BAGS))]
    frame = frame_of(rows, unit="h").assign(properties=BAGS)
    if kind == "frame":
        log = EventLog.from_frame(frame)
    elif kind == "frame and a column":
        log = EventLog.from_frame(frame.assign(extra=1))
        assert log.counts(events=[Step("a", {"extra": 1})])["n_events"].sum() == len(BAGS)
    elif kind == "csv":
        frame.to_csv(tmp_path / "e.csv", index=False)
        log = open_log(project("events: {path: e.csv}"))
    else:
        frame.to_parquet(tmp_path / "e.parquet")
        log = EventLog.from_parquet(tmp_path / "e.parquet")
    assert log.load["tables"]["events"]["n_unread"] == 4
    assert log.counts(events=[Step("a", {"n": 3})])["n_events"].sum() == 1
    assert log.caveats() == (
        f"The properties of 4 events of {len(BAGS)} are not JSON and were not read.",
    )
