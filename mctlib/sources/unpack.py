"""Files as DuckDB can read them; what is no table is called what it is.

Members of archives, sheets of workbooks and texts in other encodings are copied, as UTF-8.
"""

import codecs
import csv
import datetime
import gzip
import io
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mctlib.contract import DataError, nearest

GZIP = b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MOST_MEMBERS = 10_000  # of an archive
NEVER_TOO_LARGE = 1 << 30  # bytes, however densely they are packed
DENSEST = 250  # times the size of the packed file
TOO_DENSE = (
    f"unpacks to more than {NEVER_TOO_LARGE >> 30} GB and more than {DENSEST} times its size, as no"
    " export does. Unpack it and look what it is."
)
START = 1 << 16  # bytes that tell what a file is
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What archivers and file browsers add of their own; and what people add for people.
CLUTTER = re.compile(r"\..*|thumbs\.db|desktop\.ini", re.IGNORECASE)
NOTICE = re.compile(r"(read[ _-]?me|licen[cs]e|changelog)\b.*", re.IGNORECASE)
# How a file begins that holds no table for us, and what it is.
COMPRESSED = {
    rb"\x28\xb5\x2f\xfd": "zstd",
    rb"BZh[1-9](1AY&SY|\x17rE8P\x90)": "bzip2",
    rb"\xfd7zXZ\0": "xz",
    rb"7z\xbc\xaf\x27\x1c": "7-Zip",
    rb"Rar!\x1a\x07": "RAR",
    rb"\x04\x22\x4d\x18": "LZ4",
    rb"\xff\x06\0\0sNaPpY": "snappy",
    rb"\x1f[\x9d\xa0]": "compress (.Z)",
    rb"LZIP": "lzip",
    rb"\x89LZO\0": "lzop",
    rb"x[\x01\x9c\xda]": "zlib",
    rb"\x5d\0\0": "LZMA",
}
FOREIGN = {
    rb"(?is)(\s|<\?.*?>|<!--.*?-->)*+<(!doctype\s+)?html\b": (
        "a web page (HTML), not an export. Download it again, signed in"
    ),
    rb"%PDF-": "a PDF document",
    rb"(?s).{257}ustar": "a tar archive; gzip and zip are read. Unpack it first",
    rb"Obj\x01": "an Avro file",
    rb"ORC[^\t -~]": "an ORC file",
    rb"ARROW1\0|FEA1": "an Arrow (Feather) file",
    rb"SQLite format 3\0": "an SQLite database",
    rb"(?s).{8}DUCK": "a DuckDB database",
    rb"\{\\rtf": "an RTF document",
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a": "a picture",
    rb"-----BEGIN PGP|age-encryption\.org": "encrypted. Decrypt it first",
    rb"\s*<\?xml": "an XML document",
}
# Compressions that nothing but the name tells.
BY_NAME = {".br": "brotli", ".lzma": "LZMA", ".lz4": "LZ4", ".sz": "snappy", ".zst": "zstd"}
NO_TEXT = re.compile(rb"[\x01-\x08\x0e-\x19\x1c-\x1f\x7f]")


def most_unpacked(packed: int) -> int:
    """To how many bytes a file of some bytes may unpack, whatever packs it: no export is denser."""
    return max(NEVER_TOO_LARGE, DENSEST * packed)


class _Gunzipped(gzip.GzipFile):
    """The content of a gzip file. Raises BadGzipFile: it unpacks to too much."""

    def read(self, size: int | None = -1) -> bytes:
        part = super().read(size)
        if self.tell() > most_unpacked(Path(self.name).stat().st_size):
            raise gzip.BadGzipFile(TOO_DENSE)
        return part


def opened(path: Path) -> IO[bytes]:
    """The content of a file, gunzipped if need be."""
    with path.open("rb") as raw:
        gz = raw.read(2) == GZIP
    return _Gunzipped(path) if gz else path.open("rb")  # type: ignore[return-value]  # it reads


@dataclass
class Unpacking:
    """Copies of files in `folder`, as a source of the data YAML asks for them.

    encoding: of texts without a byte-order mark. sheet: of workbooks. notes: what was left out.
    """

    folder: Path
    encoding: str | None = None
    sheet: str | None = None
    notes: list[str] = field(default_factory=list)

    def plain(self, path: Path, shown: str, *, inside: bool = False) -> Iterator[tuple[Path, str]]:
        """The paths and names of what a file holds: itself, its members or one of its sheets."""
        sheets = sheets_of(path, shown)
        with path.open("rb") as raw:
            start = raw.read(4)
        if sheets:
            yield self._sheet(shown, sheets)
        elif start in ZIP and inside:
            raise DataError(f"{shown} is a zip archive inside an archive. Unpack it first.")
        elif start in ZIP:
            yield from self._members(path, shown)
        elif self.sheet:
            raise DataError(f'{shown} is no workbook, so it has no sheet "{self.sheet}".')
        else:
            yield (path if start == b"PAR1" else self._recoded(path, shown)), shown

    def _copy(self, name: str) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder)) / name

    def _members(self, path: Path, shown: str) -> Iterator[tuple[Path, str]]:
        with zipfile.ZipFile(path) as archive:
            _refuse_huge(archive, path, shown, self.folder)
            for member in archive.infolist():
                name, member_shown = Path(member.filename).name, f"{shown}: {member.filename}"
                if member.is_dir() or CLUTTER.fullmatch(name):
                    continue
                if NOTICE.fullmatch(name):
                    self.notes.append(f"{member_shown} is left out: by its name it is a notice.")
                    continue
                if member.flag_bits & 1:
                    raise DataError(f"{member_shown} is protected by a password. Unpack it first.")
                copy = self._copy(name)
                try:
                    with archive.open(member) as packed, copy.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)
                except NotImplementedError:
                    raise DataError(
                        f"{member_shown} is compressed in a way that is not read. Unpack it first."
                    ) from None
                yield from self.plain(copy, member_shown, inside=True)

    def _recoded(self, path: Path, shown: str) -> Path:
        """The file itself, or a copy in UTF-8 if it is in another encoding."""
        with opened(path) as stream:
            start = stream.read(START)
            marked = next((MARKS[mark] for mark in MARKS if start.startswith(mark)), None)
            encoding = marked or self.encoding
            if not marked:
                _refuse_foreign(start, shown, encoding)
            if start.startswith(codecs.BOM_UTF8):
                # DuckDB reads no list behind the mark
                encoding = "utf-8-sig" if start[3:].lstrip().startswith(b"[") else None
            if encoding is None:
                return path
            stream.seek(0)
            copy = self._copy(path.name)
            try:
                with copy.open("w", encoding="utf-8", newline="") as written:
                    text = io.TextIOWrapper(stream, encoding, newline="")
                    shutil.copyfileobj(text, written, 1 << 20)
            except UnicodeError as error:
                said = "by its byte-order mark" if marked else "as the data YAML says"
                why = getattr(error, "reason", error)
                raise DataError(f"{shown} is not {encoding} {said}: {why}.") from None
        return copy

    def _sheet(self, shown: str, sheets: dict[str, Any]) -> tuple[Path, str]:
        """The sheet that is asked for as CSV, else the first."""
        if self.sheet and self.sheet not in sheets:
            near = nearest(self.sheet, sheets) or f" Its sheets are: {', '.join(sheets)}."
            raise DataError(f'{shown} has no filled sheet "{self.sheet}".{near}')
        first, *others = sheets
        if others and not self.sheet:
            said = ", ".join(f'"{name}"' for name in others)
            self.notes.append(
                f'{shown}: only its sheet "{first}" is read, not {said}; sheet: names another.'
            )
        chosen = self.sheet or first
        copy = self._copy("sheet.csv")
        with copy.open("w", encoding="utf-8", newline="") as written:
            csv.writer(written).writerows(map(_cells, sheets[chosen].iter_rows()))
        return copy, f"{shown}: {chosen}"


def _refuse_huge(archive: zipfile.ZipFile, path: Path, shown: str, folder: Path) -> None:
    members = archive.infolist()
    size, free = sum(m.file_size for m in members), shutil.disk_usage(folder).free
    if size > most_unpacked(path.stat().st_size):
        raise DataError(f"{shown} {TOO_DENSE}")
    if size > free or len(members) > MOST_MEMBERS:
        raise DataError(
            f"{shown} holds {len(members):,} files of {size / 1e9:,.1f} GB when it is unpacked;"
            f" there is room for {free / 1e9:,.1f} GB and {MOST_MEMBERS:,} files."
            " Unpack what is needed."
        )


def sheets_of(path: Path, shown: str) -> dict[str, Any]:
    """The filled sheets of a workbook by their names; of any other file none.

    Raises DataError: it is a workbook that cannot be read.
    """
    with path.open("rb") as raw:
        start = raw.read(8)
    if start != OLD_OFFICE:
        if not start.startswith(ZIP):
            return {}
        with zipfile.ZipFile(path) as archive:
            # of Excel, and of OpenDocument
            if not {"[Content_Types].xml", "content.xml"} & set(archive.namelist()):
                return {}
            _refuse_huge(archive, path, shown, path.parent)
    import python_calamine

    try:
        book = python_calamine.load_workbook(path)
        sheets = {
            sheet.name: book.get_sheet_by_name(sheet.name)
            for sheet in book.sheets_metadata
            if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet
        }
    except python_calamine.PasswordError:
        raise DataError(
            f"{shown} is an Excel workbook protected by a password. Save the sheet as CSV."
        ) from None
    except python_calamine.CalamineError:
        raise DataError(
            f"{shown} is an Excel workbook or another Office file, and cannot be read."
            " Save the sheet as CSV."
        ) from None
    filled = {name: sheet for name, sheet in sheets.items() if sheet.height}
    if not filled:
        raise DataError(f"{shown} is an Excel workbook in which every sheet is empty.")
    return filled


def _cells(row: list[Any]) -> list[str]:
    return [_text(cell) for cell in row]


def _text(cell: Any) -> str:
    """A cell as text: whole numbers without a point, unless Excel has lost their last digits."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(" ")
    return str(cell)


def _refuse_foreign(start: bytes, shown: str, encoding: str | None) -> None:
    """Raise DataError if a content that begins so, gunzipped, is no text; say what it is."""
    if start.startswith((GZIP, *ZIP, b"PAR1")):
        raise DataError(f"{shown} is packed twice. Unpack it once.")
    for pattern, packer in COMPRESSED.items():
        if re.match(pattern, start):
            raise DataError(_compressed(shown, packer))
    for pattern, what in FOREIGN.items():
        if re.match(pattern, start):
            way = "" if "." in what else ", not an export. Export CSV, JSON lines or Parquet"
            raise DataError(f"{shown} is {what}{way}.")
    if encoding is None:
        _refuse_bytes(start, shown)


def _refuse_bytes(start: bytes, shown: str) -> None:
    """As `_refuse_foreign`, of what no known beginning tells."""
    if start.count(0) > len(start) / 4:
        # every second byte of a Latin text in UTF-16 is 0
        little, big = (start[side::2].count(0) > len(start) / 3 for side in (1, 0))
        if little != big:
            name = "utf-16-le" if little else "utf-16-be"
            raise DataError(
                f"{shown} is in UTF-16 without a byte-order mark."
                f" Add to this source the line  encoding: {name}"
            )
    elif _is_utf8(start) or not NO_TEXT.search(start):
        return
    for suffix, packer in BY_NAME.items():
        if shown.lower().endswith(suffix):
            raise DataError(_compressed(shown, packer))
    raise DataError(f"{shown} is no text and no file we know. Export CSV, JSON lines or Parquet.")


def _compressed(shown: str, packer: str) -> str:
    return f"{shown} is compressed with {packer}; gzip and zip are read. Unpack it first."


def _is_utf8(start: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return True


def is_encoding(name: str) -> bool:
    """Whether a text encoding has this name."""
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True


def likely_encoding(path: Path) -> str | None:
    """The encoding to propose for a text file that is not UTF-8; None where there is no need."""
    with opened(path) as stream:
        start = stream.read(START)
    needless = start.startswith(tuple(MARKS)) or _is_utf8(start) or NO_TEXT.search(start)
    return None if needless else "cp1252"
