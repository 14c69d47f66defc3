"""What takes the place of ids, and of addresses in texts: salted hashes and marks."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import duckdb

from mctlib.contract import IDS, NO, YES, DataError, column_type
from mctlib.eventlog.identity import one_row, some
from mctlib.eventlog.ids import JOINING, normal
from mctlib.eventlog.sql import sql_name, sql_text

# Of the demo, whose users are invented, and of frames, whose owner holds the ids: their answers
# repeat anywhere.
NO_SALT = ""

SHORTEST = len("a@b.de")  # of an address; a phone number is longer
MARKS = ("[e-mail removed]", "[phone removed]")
_EMAIL = r'[^\s"@:=&/?<>,;]+(?:@|%(?:25)*40)[^\s"@:=&/?<>,;]+\.[A-Za-z]{2,}'
_GAP = r"[\s()./\x{2010}-\x{2013}\x{a0}\x{202f}-]"
# A phone number is told by what no count, time, day, version or UUID has:
_PHONES = (
    rf"(?:\+|%2[Bb]){_GAP}?[1-9](?:{_GAP}{{0,3}}\d){{6,}}",  # +49 170 5555555
    rf"00[1-9](?:{_GAP}{{0,3}}\d){{8,}}",  # 0049 170 5555555
    rf"\(?0[1-9]\d{{1,3}}{_GAP}{{1,3}}\d(?:{_GAP}?\d){{4,}}",  # 0170 123456
    rf"0[1-9](?:{_GAP}\d\d){{4}}",  # 06 12 34 56 78
    r"0[1-9]\d{8,10}",  # 0612345678
    rf"(?:1{_GAP})?\(?[2-9]\d\d\)?{_GAP}{{1,2}}\d{{3}}{_GAP}\d{{4}}",  # (555) 123-4567
)
_PHONE = rf"(^|\\[nrt]|[^\w.+-])(?:{'|'.join(_PHONES)})\b"


def checkout() -> Path | None:
    """The nearest folder that holds `params/`, from the working directory upwards."""
    here = Path.cwd()
    return next((path for path in (here, *here.parents) if (path / "params").is_dir()), None)


def salt(folder: Path | None = None) -> str:
    """What is put before an id that is hashed: MCT_SALT, else one drawn once for the checkout.

    The latter is kept in ``folder``, where its stores are (outputs/store). Outside any checkout it
    is drawn anew. Raises DataError: it cannot be kept, or was damaged.
    """
    if given := os.environ.get("MCT_SALT"):
        return given
    root = checkout()
    if folder is None and root is None:
        return secrets.token_hex(16)
    path = (folder or Path(str(root), "outputs", "store")) / ".salt"
    try:
        if not path.exists():
            _draw(path)
        kept = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the salt of the pseudonyms cannot be kept ({error}).") from None
    if len(kept) < 16:
        raise DataError(
            f"{path} holds no salt. Restore it, or remove it: then all pseudonyms change, and who"
            " was forgotten must be forgotten again."
        )
    return kept


def _draw(path: Path) -> None:
    """Write a salt in one step, unless another process was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # a temporary file can be read by its owner only
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".salt-", suffix=".tmp") as fresh:
        fresh.write(secrets.token_hex(16) + "\n")
        fresh.flush()
        os.fsync(fresh.fileno())
        with suppress(FileExistsError):
            os.link(fresh.name, path)


def hashed(column: str, salted: str) -> str:
    """SQL of a personal id as it is kept; of no id, NULL."""
    return f"substr(sha256({sql_text(salted)} || nullif({column}, '')), 1, 16)"


def bucket(salted: str) -> str:
    """SQL of a user's bucket; users of one account share it."""
    who = "coalesce(nullif(account_id, ''), user_id)"
    # what md5_number_lower gives, which goes by way of a text of bits
    return f"((md5_number({sql_text(salted)} || {who}) >> 64)::UBIGINT % 100)::UTINYINT"


def masked(text: str) -> str:
    """SQL of a text whose e-mail addresses and phone numbers are replaced by marks."""
    e_mail, phone = MARKS
    at = " OR ".join(f"contains({text}, '{sign}')" for sign in ("@", "%40", "%2540"))
    no_address = (
        f"CASE WHEN {at}"
        f" THEN regexp_replace({text}, {sql_text(_EMAIL)}, '{e_mail}', 'g') ELSE {text} END"
    )
    no_phone = f"regexp_replace({no_address}, {sql_text(_PHONE)}, '\\1{phone}', 'g')"
    # a look is quick, and most values are short
    return f"CASE WHEN strlen({text}) < {SHORTEST} THEN {text} ELSE {no_phone} END"


def shown_names(con: duckdb.DuckDBPyConnection, names: Iterable[str]) -> dict[str, str]:
    """Names of events as they are, and as they are shown: masked."""
    asked = con.execute(f"SELECT name, {masked('name')} FROM unnest(?) t(name)", [list(names)])
    return dict(asked.fetchall())


def yes_or_no(text: str, label: str) -> str:
    """SQL of a consent in any spelling; a word that is neither, which may be a no, is an error."""
    said = f"lower(trim({text}))"
    fault = f"{sql_text(label + ': the consent ')} || '\"' || {text} || '\" is neither yes nor no.'"
    return f"""CASE WHEN regexp_matches({said}, '^{YES}') THEN true
        WHEN regexp_matches({said}, '^{NO}') THEN false WHEN {said} <> '' THEN error({fault}) END"""


def kept(column: str, salted: str) -> str:
    """SQL of a canonical column as it is kept: ids hashed, addresses in texts masked.

    An event_id, which tells rows apart and nothing of a person, gets a hash that costs little.
    """
    if column == "event_id":
        return f"CASE WHEN event_id <> '' THEN to_hex(hash({sql_text(salted)} || event_id)) END"
    if column in IDS:
        return hashed(column if column in JOINING else normal(column), salted)
    return masked(column) if column_type(column) == "VARCHAR" else column


def n_masked(con: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Table.column -> its values in which something was masked."""
    marked: dict[str, dict[str, str]] = {}  # table -> column -> SQL
    stored = con.execute("""
        SELECT table_name, column_name, data_type FROM duckdb_columns()
        WHERE database_name = 'store' AND regexp_matches(data_type, '^(VARCHAR|ENUM)')
    """).fetchall()
    for table, column, kind in stored:
        if column in IDS:
            continue
        is_marked = " OR ".join(f"contains({sql_name(column)}, '{mark}')" for mark in MARKS)
        if kind.startswith("ENUM"):
            words = one_row(con, f"SELECT enum_range(NULL::store.{column}_names)::VARCHAR[]")[0]
            odd = [sql_text(word) for word in words if any(mark in word for mark in MARKS)]
            is_marked = f"{column} IN ({', '.join(odd)})" if odd else ""
        if is_marked:
            marked.setdefault(table, {})[column] = is_marked
    found: dict[str, int] = {}
    for table, columns in marked.items():
        if not some(con, f"store.{table}"):
            continue
        counts = ", ".join(f"count(*) FILTER ({sql})" for sql in columns.values())
        row = one_row(con, f"SELECT {counts} FROM store.{table}")
        found |= {f"{table}.{column}": n for column, n in zip(columns, row) if n}
    return found
