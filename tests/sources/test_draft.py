"""A first YAML from the files."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from mctlib.sources.dataset import read_dataset
from mctlib.sources.draft import draft
from tests.sources.reading import EXPORTS, HEAD, ROW, read
from tests.sources.test_unpack import EVENTS, workbook, zipped

FIXTURES = [
    [
        "canonical/events.csv",
        "canonical/people.csv",
        "canonical/surveys.csv",
        "canonical/spend.csv",
        "canonical/timeline.csv",
    ],
    ["columns/app_log.csv", "columns/crm.csv"],
    ["mixpanel/export.jsonl"],
    ["amplitude/part_0.json", "amplitude/part_1.json"],
    ["segment/tracks.csv", "segment/identifies.csv"],
    ["posthog/events.jsonl", "posthog/persons.jsonl"],
    ["ga4/events_20260105.jsonl"],
    ["snowplow/enriched.tsv"],
    ["canonical/events.csv", "canonical/responses.csv", "typeform/responses.csv"],
    [
        "canonical/events.csv",
        "canonical/backend.csv",
        "zigpoll/responses.csv",
        "zigpoll_segment/survey_completed.csv",
    ],
]


@pytest.mark.parametrize("files", FIXTURES, ids=lambda files: files[-1].split("/")[0])
def test_a_drafted_yaml_is_valid_and_its_sources_read(project, files):
    text = draft("mine", [str(EXPORTS / file) for file in files])
    Path("params/data.mine.yaml").write_text(text)
    dataset = read_dataset(Path("params/data.mine.yaml")) if "events:" in text else None
    formats = {file.split("/")[0] for file in files} - {"zigpoll"}
    drafted = list(dataset.sources())
    assert {source.format for _, source in drafted} >= formats - {"canonical"}
    for table, source in drafted:
        assert read(table, **source.model_dump())[table]


def test_a_drafted_yaml_in_full(project):
    for name in ("app_log", "crm"):
        shutil.copy(EXPORTS / f"columns/{name}.csv", f"{name}.csv")
    assert draft("talent", ["app_log.csv", "crm.csv"]) == (
        "# Drafted from the files; look at every line marked with a question mark.\n"
        "name: talent\n"
        "events:\n"
        '  - path: "app_log.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "event": "What happened"  # guessed?\n'
        '      "timestamp": "When"  # guessed?\n'
        '      "platform": "Device"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
        "people:\n"
        '  - path: "crm.csv"\n'
        "    format: columns\n"
        "    columns:\n"
        '      "user_id": "User ID"  # guessed?\n'
        '      "signed_up_at": "Created"  # guessed?\n'
        '      "plan": "Plan"  # guessed?\n'
        "    timezone: UTC  # guessed? the times carry no zone\n"
    )


# Headers, and what they are taken for: user_id, event, timestamp.
NAMED = {
    "CaseID,Activity,Timestamp": ("CaseID", "Activity", "Timestamp"),
    "case:concept:name,concept:name,time:timestamp,org:resource": (
        "case:concept:name",
        "concept:name",
        "time:timestamp",
    ),
    "Case ID,Activity,Complete Timestamp": ("Case ID", "Activity", "Complete Timestamp"),
    "person,action,when": ("person", "action", "when"),
    "uuid,distinct_id,event,timestamp": ("distinct_id", None, None),
    "id,candidate,event_type,created_at": ("candidate", "event_type", "created_at"),
    "timestamp,Event Time,event,user": ("user", None, None),
    "user,event,ts,properties": ("user", None, "ts"),
    "Nutzer-ID,Ereignis,Zeitpunkt,Firma": ("Nutzer-ID", "Ereignis", "Zeitpunkt"),
    "Kundennummer,Aktion,Datum": ("Kundennummer", "Aktion", "Datum"),
    "ID utilisateur,Événement,Date et heure": ("ID utilisateur", "Événement", "Date et heure"),
    "Usuario,Acción,Fecha y hora": ("Usuario", "Acción", "Fecha y hora"),
}


def drafted(text):
    """The sources of a drafted YAML."""
    Path("params/data.mine.yaml").write_text(text)
    return dict(read_dataset(Path("params/data.mine.yaml")).sources())


@pytest.mark.parametrize("headers", NAMED)
def test_usual_names_are_known(project, headers):
    Path("e.csv").write_text(f"{headers}\n{','.join('q' for _ in headers.split(','))}\n")
    columns = drafted(draft("mine", ["e.csv"]))["events"].columns
    assert tuple(map(columns.get, ("user_id", "event", "timestamp"))) == NAMED[headers]


@pytest.mark.parametrize(
    "header, per_second",
    [
        ("ts_ms", 1000),
        ("event_time_us", 10**6),
        ("created_at_s", 1),
        ("epoch", 1),
        ("unix_ts", 1),
        ("epoch_millis", 1000),
        ("timestamp_ns", 10**9),
    ],
)
def test_a_count_since_1970_is_a_time_whatever_its_unit(project, header, per_second):
    rows = [(f"u{i}", "signed_up", (1_772_457_300 + i) * per_second, 900 + i) for i in range(3)]
    pd.DataFrame(rows, columns=["uid", "event", header, "duration_ms"]).to_parquet("e.parquet")
    found = drafted(draft("mine", ["e.parquet"]))["events"]
    assert found.columns == {"user_id": "uid", "timestamp": header}
    events = read("events", Path.cwd(), **found.model_dump())["events"]
    assert str(min(row["timestamp"] for row in events)) == "2026-03-02 13:15:00"


def test_what_is_no_count_since_1970_is_no_time(project):
    rows = [(f"u{i}", "signed_up", 900 + i) for i in range(3)]
    pd.DataFrame(rows, columns=["uid", "event", "time_ms"]).to_parquet("e.parquet")
    assert '"timestamp": "?"' in draft("mine", ["e.parquet"])


@pytest.mark.parametrize(
    "column, header",
    [
        *(("platform", h) for h in ("device_os", "os", "client_platform", "OS Name", "os_type")),
        *(("channel", h) for h in ("acq", "acq_source", "marketing_channel", "Lead Source")),
    ],
)
def test_a_word_before_or_behind_a_known_name_changes_nothing(project, column, header):
    Path("e.csv").write_text(f"uid,event,timestamp,{header}\nu1,signed_up,2026-01-05,x\n")
    assert drafted(draft("mine", ["e.csv"]))["events"].columns[column] == header


CANONICAL = ["", ",properties", ",id,anonymous_id,properties", ",event_id,received_at,properties"]


@pytest.mark.parametrize("more", CANONICAL)
def test_canonical_files_are_canonical(project, more):
    filled = ',"{""role"": ""hr, lead""}"' if "properties" in more else ""
    filled = ",x" * (more.count(",") - bool(filled)) + filled
    Path("e.csv").write_text(f"{HEAD[:-1]}{more}\n{ROW[:-1]}{filled}\n")
    assert drafted(draft("mine", ["e.csv"]))["events"].format == "canonical"


def test_event_and_properties_alone_are_no_mixpanel(project):
    line = '{"event":"x","properties":{"user_id":"u","timestamp":"2026-01-05T00:00:00Z"}}\n'
    Path("e.jsonl").write_text(line)
    assert drafted(draft("mine", ["e.jsonl"]))["events"].format == "canonical"
    Path("e.jsonl").write_text(line.replace("user_id", "distinct_id").replace("timestamp", "time"))
    assert drafted(draft("mine", ["e.jsonl"]))["events"].format == "mixpanel"


# Headers and two rows, the column that is asked for, and what is said beside it.
ASKED = {
    "event": ("user_id,timestamp,page\nu,1,p\nu,2,p\n", "which of page?"),
    "timestamp": ("user_id,event,moment\nu,x,1\nv,x,2\n", "which of moment?"),
    "user_id": ("event,timestamp\nx,1\ny,2\n", "it must be added"),
}


@pytest.mark.parametrize("column", ASKED)
def test_of_three_required_columns_the_third_is_asked_for(project, column):
    content, said = ASKED[column]
    Path("e.csv").write_text(content)
    text = draft("mine", ["e.csv"])
    assert f'      "{column}": "?"  # not found: {said}\n' in text
    Path("params/data.mine.yaml").write_text(text)
    with pytest.raises(DataError, match=rf"^e.csv: which column is the {column}\? its columns"):
        open_log("mine")


def test_one_row_a_user_is_people(project):
    Path("e.csv").write_text(HEAD + ROW)
    Path("crm.csv").write_text("user_id,created_at,plan\nu,1,free\nv,2,free\n")
    people = drafted(draft("mine", ["e.csv", "crm.csv"]))["people"]
    assert people.columns == {"signed_up_at": "created_at"}


def test_people_and_spend_are_known_in_other_languages(project):
    Path("p.csv").write_text("Bewerber-Nr.;Registriert am;Tarif;Firma\na;2026-01-05;x;y\n")
    Path("s.csv").write_text("Tag;Kanal;Kosten in EUR\n2026-01-05;mail;5\n")
    Path("e.csv").write_text(HEAD + ROW)
    found = drafted(draft("mine", ["e.csv", "p.csv", "s.csv"]))
    assert found["people"].columns == {
        "user_id": "Bewerber-Nr.",
        "signed_up_at": "Registriert am",
        "account_id": "Firma",
        "plan": "Tarif",
    }
    assert found["spend"].columns == {"day": "Tag", "channel": "Kanal", "amount": "Kosten in EUR"}


def test_where_no_header_is_known_each_is_asked_for(project):
    Path("e.csv").write_text("Uzytkownik,Zdarzenie,Czas\nu,a,2026-01-05\n")
    text = draft("mine", ["e.csv"])
    assert drafted(text)["events"].columns == dict.fromkeys(("user_id", "event", "timestamp"), "?")
    assert "left out" not in text and "which of Uzytkownik, Zdarzenie, Czas?" in text
    Path("h.csv").write_text("Uzytkownik,Zdarzenie,occurred,Znak\nu,a,2026-01-05,1\n")
    text = draft("mine", ["h.csv"])  # what a name tells is not asked
    assert '"timestamp": "occurred"  # guessed?' in text and text.count("which of Uzytkownik") == 2
    Path("f.csv").write_text(HEAD + ROW)  # tells what the events are
    assert "# left out: e.csv fits no table" in draft("mine", ["e.csv", "f.csv"])


def test_what_cannot_be_drafted_is_left_out_and_said(project):
    for name, content in {"a.pdf": "%PDF-1.7", "b.csv": "colour,shape\nred,round\n"}.items():
        Path(name).write_text(content)
    Path("e.csv").write_text(HEAD + ROW)
    sentences = [
        "a.pdf is a PDF document, not an export. Export CSV, JSON lines or Parquet.",
        "b.csv fits no table: its columns are colour, shape. They name neither a user nor a day.",
    ]
    text = draft("mine", ["a.pdf", "e.csv", "b.csv"])
    assert [line for line in text.splitlines() if "left out" in line] == [
        f"# left out: {sentence}" for sentence in sentences
    ]
    assert drafted(text)["events"].path == "e.csv"
    with pytest.raises(DataError) as error:
        draft("mine", ["a.pdf", "b.csv"])
    assert str(error.value).splitlines() == sentences


UNDRAFTABLE = {
    "ragged": (HEAD + "u,a\n", "has in line 2 2 columns instead of 3. Check the separators"),
    "doubled": ("user_id,event,timestamp,Event\nu,a,1,b\n", 'has the column "Event" twice.'),
    "wrapped": ('{"data": [{"a": 1}]}', 'columns are data. Its rows stand inside "data"'),
    "packed": (b"\x28\xb5\x2f\xfd\x99", "is compressed with zstd;"),
    "empty": ("", "is empty."),
}


@pytest.mark.parametrize(("content", "said"), UNDRAFTABLE.values(), ids=UNDRAFTABLE)
def test_a_file_that_cannot_be_drafted_gives_one_sentence(project, content, said):
    Path("e").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as error:
        draft("mine", ["e"])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_an_encoding_is_proposed(project):
    Path("e.csv").write_bytes((HEAD + "José,a,2026-01-05T00:00:00Z\n").encode("cp1252"))
    Path("f.csv").write_bytes((HEAD + "José,a,2026-01-05T00:00:00Z\n").encode("utf-16"))
    text = draft("mine", ["e.csv", "f.csv"])
    assert text.count("encoding: cp1252  # guessed? the file is not UTF-8\n") == 1
    Path("params/data.mine.yaml").write_text(text)
    assert open_log("mine").load["n_users"] == 1


def test_each_sheet_is_a_source(project):
    people = [["user_id", "plan"], [1000, "free"], [1001, "free"]]
    Path("e.xlsx").write_bytes(workbook(Log=EVENTS, Who=people))
    sources = drafted(draft("mine", ["e.xlsx"]))
    assert {table: source.sheet for table, source in sources.items()} == {
        "events": "Log",
        "people": "Who",
    }
    assert open_log("mine").load["tables"]["people"]["n_kept"] == 2


def test_an_archive_of_several_kinds_is_to_be_unpacked(project):
    Path("e.zip").write_bytes(zipped(e__csv=HEAD + ROW, p__csv="user_id,plan\nu,free\n"))
    with pytest.raises(DataError, match=r"hold events and people. Unpack them and name each.$"):
        draft("mine", ["e.zip"])


@pytest.mark.parametrize("name", ["x/y", "a b", "../x", ""])
def test_a_drafted_name_must_name_a_store(project, name):
    Path("e.csv").write_bytes(b"%PDF-1.7")
    with pytest.raises(DataError) as error:
        draft(name, ["none.csv", "e.csv", "nor*.csv"])
    named, none, nor, pdf = str(error.value).splitlines()
    assert (
        named
        == f'the name "{name}" may hold only letters, digits, - and _, for it names the store.'
    )
    assert none.startswith('The file "') and "none.csv" in none
    assert nor.startswith("No file matches") and pdf.startswith("e.csv is a PDF document")


GUESSED = "    timezone: UTC  # guessed? the times carry no zone\n"
TIMES = {
    "day first": (
        ["03/04/2026 10:11", "13/04/2026 10:11"],
        '    date_format: "%d/%m/%Y %H:%M"  # guessed?\n' + GUESSED,
    ),
    "month first, told late": (
        ["3/4/26"] * 1500 + ["3/14/26"],
        '    date_format: "%m/%d/%y"  # guessed?\n' + GUESSED,
    ),
    "not told": (
        ["03/04/2026", "05/06/2026"],
        '    # date_format: "%d/%m/%Y"  # or "%m/%d/%Y"? The times do not tell which number is the'
        " day\n" + GUESSED,
    ),
    "words": (
        ["5 January 2026", "6 February 2026"],
        '    date_format: "%d %B %Y"  # guessed?\n' + GUESSED,
    ),
    "a spreadsheet's": (["46027.5"], '    date_format: "excel"  # guessed?\n' + GUESSED),
    "letters": (
        ["2026-01-05 10:11 IST"],
        '    date_format: "%Y-%m-%d %H:%M IST"  # guessed?\n'
        "    # timezone: Europe/London  # which zone is meant by IST?\n",
    ),
    "no need": (["2026/01/05 10:11"], GUESSED),
    "nothing": (["2026-01-05T10:11:12Z"], ""),
}


@pytest.mark.parametrize(("written", "lines"), TIMES.values(), ids=TIMES)
def test_a_drafted_yaml_says_how_times_are_written_or_asks(project, written, lines):
    Path("e.csv").write_text(HEAD + "".join(f"u,e,{w}\n" for w in written))
    drafted = draft("mine", ["e.csv"])
    assert drafted.partition("    format: canonical\n")[2] == lines


def test_a_drafted_yaml_joins_a_day_and_its_clock(project):
    Path("e.csv").write_text("Uid,Event,Time,Date\nu,e,10:11,13.01.2026\n")
    assert draft("mine", ["e.csv"]).partition("    columns:\n")[2] == (
        '      "user_id": "Uid"  # guessed?\n'
        '      "event": "Event"  # guessed?\n'
        '      "timestamp": ["Date", "Time"]  # guessed?\n'
        '    date_format: "%d.%m.%Y %H:%M"  # guessed?\n' + GUESSED
    )


# A file of spend or people beside the events, and the line of the currency, "" where none is asked.
ASKS = "# currency: EUR  # printed with every amount, nothing is converted: which?"
MONEY = {
    "no money": ("user_id,Tarif\nu,x\n", ""),
    "a header that says it": ("Tag;Kosten in EUR\n2026-01-05;5\n", "currency: EUR  # guessed?"),
    "another": ("user_id,created_at,MRR (USD)\nu,2026-01-05,5\n", "currency: USD  # guessed?"),
    "a column that says it": (
        "day,amount,currency\n2026-01-05,5,CHF\n",
        "currency: CHF  # guessed?",
    ),
    "money of no currency": ("day,amount\n2026-01-05,5\n", ASKS),
    "several": (
        "day,amount,currency\n2026-01-05,5,CHF\n2026-01-06,5,EUR\n",
        f"{ASKS} The files say",
    ),
    "an empty column": ("user_id,created_at,revenue\nu,2026-01-05,\n", ""),
}


@pytest.mark.parametrize(("content", "line"), MONEY.values(), ids=MONEY)
def test_a_currency_is_guessed_or_asked_where_there_is_money(project, content, line):
    Path("e.csv").write_text(HEAD + ROW)
    Path("m.csv").write_text(content)
    text = draft("mine", ["e.csv", "m.csv"])
    found = [said for said in text.splitlines() if "currency" in said]
    assert len(found) == bool(line) and "".join(found).startswith(line)


def test_money_in_properties_says_its_currency(project):
    own = '"distinct_id": "u", "time": 1772457300, "amount": 9.5, "currency": "eur"'
    Path("e.jsonl").write_text('{"event": "paid", "properties": {' + own + "}}\n")
    assert "\ncurrency: EUR  # guessed?" in draft("mine", ["e.jsonl"])


ACCOUNTS = ["Company", "company_name", "Account Name", "Employer", "Associated Company", "org_id"]
ACCOUNTS += ["Arbeitgeber", "Firmenname", "Mandant Nr.", "Nom de l'entreprise", "Empresa"]


@pytest.mark.parametrize("header", ACCOUNTS)
def test_where_people_work_is_their_account(project, header):
    Path("e.csv").write_text(HEAD + ROW)
    Path("p.csv").write_text(f"user_id,created_at,{header}\nu,2026-01-05,x\nv,2026-01-05,x\n")
    assert drafted(draft("mine", ["e.csv", "p.csv"]))["people"].columns["account_id"] == header


def test_the_number_of_an_account_stands_before_its_name(project):
    Path("e.csv").write_text(HEAD + ROW)
    Path("p.csv").write_text("user_id,created_at,Company,Company ID\nu,2026-01-05,x,1\n")
    assert (
        drafted(draft("mine", ["e.csv", "p.csv"]))["people"].columns["account_id"] == "Company ID"
    )
