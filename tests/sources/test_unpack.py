"""What must be unpacked or put into UTF-8 first, and what is no table at all."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from mctlib import open_log
from mctlib.contract import DataError
from tests.sources.reading import HEAD, ROW, at, pick, read

CAFE = HEAD + "u,café €,2026-01-05T00:00:00Z\n"


def zipped(**members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


def tarred():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("e.csv")
        member.size = len(HEAD)
        archive.addfile(member, io.BytesIO(HEAD.encode()))
    return file.getvalue()


# ------------------------------------------------------------------------------- encodings


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", None), ("utf-32", None), ("utf-16-le", "utf-16-le"), ("cp1252", "cp1252")],
)
@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_other_encodings_are_read_as_they_are_marked_or_named(tmp_path, encoding, named, packed):
    (tmp_path / "e.csv").write_bytes(packed(CAFE.encode(encoding)))
    rows = read("events", tmp_path, path="e.csv", encoding=named)["events"]
    assert pick(rows, "user_id", "event") == [("u", "café €")]


def test_a_byte_order_mark_goes_before_the_encoding_that_is_named(tmp_path):
    (tmp_path / "1.csv").write_bytes(CAFE.encode("utf-8-sig"))
    (tmp_path / "2.json").write_bytes(
        '[{"user_id": "u", "event": "café €", "timestamp": 1767571200}]'.encode("utf-8-sig")
    )
    for path in ("1.csv", "2.json"):
        rows = read("events", tmp_path, path=path, encoding="cp1252")["events"]
        assert pick(rows, "user_id", "event") == [("u", "café €")]


ENCODINGS = {
    "no such": (
        b"",
        "cp1522",
        'data.x.yaml: the encoding "cp1522" of events is not known.'
        ' Did you mean "cp1252" or "cp852" or "cp1258"?',
    ),
    "no text": (
        b"",
        "rot13",
        'data.x.yaml: the encoding "rot13" of events is not known. Did you mean "rot_13"?',
    ),
    "another": (
        CAFE.encode(),
        "ascii",
        "e.csv is not ascii as the data YAML says: ordinal not in range(128).",
    ),
    "cut": (
        CAFE.encode("utf-16")[:-1],
        "utf-8",
        "e.csv is not utf-16 by its byte-order mark: truncated data.",
    ),
}


@pytest.mark.parametrize(("content", "encoding", "sentence"), ENCODINGS.values(), ids=ENCODINGS)
def test_a_wrong_encoding_gives_one_sentence(project, content, encoding, sentence):
    with pytest.raises(DataError) as error:
        open_log(project(f"events: {{path: e.csv, encoding: {encoding}}}", e__csv=content))
    assert str(error.value) == sentence


# -------------------------------------------------------------------------- what is no table

GZIP_ZIP = "gzip and zip are read. Unpack it first."
OTHER = "not an export. Export CSV, JSON lines or Parquet."
FOREIGN = {
    "e.csv.bz2": (bz2.compress(b"a"), f"is compressed with bzip2; {GZIP_ZIP}"),
    "e.csv.xz": (lzma.compress(b"a"), f"is compressed with xz; {GZIP_ZIP}"),
    "e.zst": (b"\x28\xb5\x2f\xfd\x04" + b"\x99" * 40, f"is compressed with zstd; {GZIP_ZIP}"),
    "e.7z": (b"7z\xbc\xaf\x27\x1c\0\4" + b"\x99" * 40, f"is compressed with 7-Zip; {GZIP_ZIP}"),
    "e.zlib": (zlib.compress(b"a" * 99), f"is compressed with zlib; {GZIP_ZIP}"),
    # nothing but the name tells
    "e.br": (b"\x0b\x1f\x80{\x03\xff\xfe", f"is compressed with brotli; {GZIP_ZIP}"),
    "e.tar": (tarred(), f"is a tar archive; {GZIP_ZIP}"),
    "e.tgz": (gzip.compress(tarred()), f"is a tar archive; {GZIP_ZIP}"),
    "e.gz": (gzip.compress(gzip.compress(b"a")), "is packed twice. Unpack it once."),
    "e.zip.gz": (gzip.compress(zipped(a="a")), "is packed twice. Unpack it once."),
    "e.pdf": (b"%PDF-1.7\n\xe2\xe3", f"is a PDF document, {OTHER}"),
    "e.png": (b"\x89PNG\r\n\x1a\n\0", f"is a picture, {OTHER}"),
    "e.db": (b"SQLite format 3\0" + b"\0" * 99, f"is an SQLite database, {OTHER}"),
    "e.xml": (b'<?xml version="1.0"?>\n<Workbook/>', f"is an XML document, {OTHER}"),
    "e.xhtml": (
        b'<?xml version="1.0"?>\n<html>',
        "is a web page (HTML), not an export. Download it again, signed in.",
    ),
    "e.gpg": (b"-----BEGIN PGP MESSAGE-----\n", "is encrypted. Decrypt it first."),
    "e.bin": (
        bytes(range(1, 256)),
        "is no text and no file we know. Export CSV, JSON lines or Parquet.",
    ),
    "e.utf16": (
        HEAD.encode("utf-16-be"),
        "is in UTF-16 without a byte-order mark. Add to this source the line  encoding: utf-16-be",
    ),
    "e.xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
        "is an Excel workbook or another Office file, and cannot be read. Save the sheet as CSV.",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_table_is_called_what_it_is(tmp_path, name):
    content, sentence = FOREIGN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        read("events", tmp_path, path=name)
    assert str(error.value) == f"{name} {sentence}"
    # and so it is as a member of an archive
    (tmp_path / "a.zip").write_bytes(zipped(**{name: content}))
    with pytest.raises(DataError) as error:
        read("events", tmp_path, path="a.zip")
    assert str(error.value) == f"a.zip: {name} {sentence}"


# ---------------------------------------------------------------------------------- archives


def test_what_archivers_and_people_add_is_left_out(project):
    members = {"in/1.csv": HEAD + ROW, "__MACOSX/._1.csv": b"\0", "Thumbs.db": b"\xd0\xcf\x11"}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (members | {"READ ME.txt": "by a tool", "in/2.csv": ""}).items():
            archive.writestr(name, content)
    log = open_log(project("events: {path: e.zip}", e__zip=file.getvalue()))
    assert log.load["tables"]["events"]["n_read"] == 1
    assert log.load["notes"] == [
        "e.zip: READ ME.txt is left out: by its name it is a notice.",
        "e.zip: in/2.csv is empty.",
    ]


def locked():
    """An archive whose member is marked as encrypted, in its own and in the central header."""
    content = bytearray(zipped(e__csv=HEAD + ROW))
    content[6] |= 1
    content[content.find(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


ARCHIVES = {
    "nothing": (zipped(), "e.zip holds no export."),
    "clutter": (zipped(__DS_Store="x"), "e.zip holds no export."),
    "an archive": (
        zipped(in__zip=zipped(e__csv=HEAD + ROW)),
        "e.zip: in.zip is a zip archive inside an archive. Unpack it first.",
    ),
    "a password": (locked(), "e.zip: e.csv is protected by a password. Unpack it first."),
}


@pytest.mark.parametrize(("content", "sentence"), ARCHIVES.values(), ids=ARCHIVES)
def test_archives_that_hold_nothing_to_read(tmp_path, content, sentence):
    (tmp_path / "e.zip").write_bytes(content)
    with pytest.raises(DataError) as error:
        read("events", tmp_path, path="e.zip")
    assert str(error.value) == sentence


# --------------------------------------------------------------------------------- workbooks

SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
# Excel counts days from 1899-12-30: 46027 is 2026-01-05 (46027 = 25569 days to 1970 + 20458, and
# date -u -d @$((20458 * 86400)) says so); .375 of a day is 9 hours.
EVENTS = [["user_id", "event", "timestamp", "ok"], [1000, "x", "46027.375", True], []]


def cell_xml(value):
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, int):
        return f"<c><v>{value}</v></c>"
    if value.replace(".", "").isdigit():  # by the second style a moment
        return f'<c s="1"><v>{value}</v></c>'
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


def workbook(**sheets):
    """A workbook as Excel writes it, as small as it may be."""
    names = enumerate(sheets, 1)
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in names)
    links = "".join(
        f'<Relationship Id="r{n}" Type="{OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(sheets) + 1)
    )
    links += f'<Relationship Id="s" Type="{OFFICE}/styles" Target="styles.xml"/>'
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="w"'
        f' Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{SPREADSHEET}" xmlns:r="{OFFICE}"><sheets>{listed}'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{links}'
        "</Relationships>",
        "xl/styles.xml": f'<styleSheet xmlns="{SPREADSHEET}"><cellXfs><xf numFmtId="0"/>'
        '<xf numFmtId="22"/></cellXfs></styleSheet>',
    }
    for n, rows in enumerate(sheets.values(), 1):
        filled = "".join(f"<row>{''.join(map(cell_xml, row))}</row>" for row in rows)
        parts[f"xl/worksheets/sheet{n}.xml"] = (
            f'<worksheet xmlns="{SPREADSHEET}"><sheetData>{filled}</sheetData></worksheet>'
        )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, f'<?xml version="1.0"?>{content}')
    return file.getvalue()


def test_a_sheet_is_read_like_a_table(project):
    sheets = {"Empty": [], "Log": [["My report"], [], *EVENTS], "Notes": [["hello"]]}
    yaml = "events: {path: e.xlsx, timezone: Europe/Berlin}"
    log = open_log(project(yaml, e__xlsx=workbook(**sheets)))
    assert log.load["notes"] == [
        'e.xlsx: only its sheet "Log" is read, not "Notes"; sheet: names another.',
        "e.xlsx: Log: the first 2 lines are above the header and left out.",
    ]
    rows = read("events", Path(), path="e.xlsx", timezone="Europe/Berlin")["events"]
    # in winter 9:00 in Berlin is 8:00 UTC
    assert pick(rows, "user_id", "event", "timestamp", "properties") == [
        ("1000", "x", at("2026-01-05T08:00:00"), '{"ok":"true"}')
    ]


def test_a_sheet_is_read_by_its_name(tmp_path):
    (tmp_path / "e.xlsx").write_bytes(workbook(Notes=[["hello"]], Log=EVENTS))
    (tmp_path / "e.zip").write_bytes(zipped(e__xlsx=(tmp_path / "e.xlsx").read_bytes()))
    for path in ("e.xlsx", "e.zip"):
        rows = read("events", tmp_path, path=path, sheet="Log", timezone="UTC")["events"]
        assert pick(rows, "user_id") == [("1000",)]


SHEETS = {
    "another name": (
        workbook(Notes=[["hello"]], Log=EVENTS),
        'e.xlsx has no filled sheet "Logs". Did you mean "Log"?',
    ),
    "empty": (workbook(Logs=[]), "e.xlsx is an Excel workbook in which every sheet is empty."),
    "no workbook": (HEAD.encode(), 'e.xlsx is no workbook, so it has no sheet "Logs".'),
}


@pytest.mark.parametrize(("content", "sentence"), SHEETS.values(), ids=SHEETS)
def test_a_sheet_that_is_not_there(tmp_path, content, sentence):
    (tmp_path / "e.xlsx").write_bytes(content)
    with pytest.raises(DataError) as error:
        read("events", tmp_path, path="e.xlsx", sheet="Logs", timezone="UTC")
    assert str(error.value) == sentence
