"""People who are to be forgotten: a list of hashes beside a dataset's YAML, read by every load."""

import hashlib
import re
from pathlib import Path

from mctlib.contract import DataError
from mctlib.eventlog.build import owner
from mctlib.eventlog.ids import normal
from mctlib.eventlog.pseudonyms import hashed
from mctlib.eventlog.store_file import settle
from mctlib.sources.project import store_folder
from mctlib.sources.workbench import workbench

HEAD = """\
# Who is left out of every load of this dataset: hashes of their ids, see README.md. They fit one
# salt only: keep it (MCT_SALT, or outputs/store/.salt).
salt {}
"""


def place(name: str, root: Path) -> Path:
    """Where the list of a dataset is."""
    return root / "params" / f"forget.{name}.txt"


def listed(name: str, root: Path, salted: str, ignore_case: bool) -> list[str]:
    """The hashes of those who are forgotten. Raises DataError: they fit another salt, no hash."""
    path = place(name, root)
    if not path.is_file():
        return []
    lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    first, *hashes = [line for line in lines if line and not line.startswith("#")] or [""]
    if first == f"salt {_mark(salted, not ignore_case)}":
        raise DataError(
            f"params/{path.name} was made while ids_ignore_case was {str(not ignore_case).lower()},"
            " so nobody on it would be left out. Set it back, or remove the list and forget them"
            " again."
        )
    if first != f"salt {_mark(salted, ignore_case)}":
        raise DataError(
            f"params/{path.name} names {len(hashes)} ids to be forgotten, hashed with another salt"
            " than today's, so nobody on it would be left out. Restore the salt (MCT_SALT, or"
            " outputs/store/.salt), or remove the list and forget them again."
        )
    for one in hashes:
        if not re.fullmatch("[0-9a-f]{16}", one):
            raise DataError(f'params/{path.name}: "{one}" is no hash of an id; remove the line.')
    return hashes


def add(name: str, root: Path, salted: str, file: Path, *, ignore_case: bool = False) -> list[str]:
    """Put the ids in a file, one a line, on the list; returns their hashes.

    Raises DataError: the file cannot be read, or holds none.
    """
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file} is no text in UTF-8. Write into it one user_id a line.") from None
    if lines and lines[0].strip().strip('"').lower() == "user_id":
        lines = lines[1:]
    with workbench(store_folder(root)) as (con, _):
        written = normal("id", ignore_case=ignore_case)
        ids = "SELECT DISTINCT clean(trim(line, '\"')) AS id FROM unnest(?) AS t(line)"
        found = con.execute(f"SELECT {hashed(written, salted)} FROM ({ids})", [lines]).fetchall()
    new = sorted(one for (one,) in found if one)
    if not new:
        raise DataError(f"{file} names nobody. Write into it one user_id a line.")
    known = listed(name, root, salted, ignore_case)
    path = place(name, root)
    fresh = path.with_name(f".{path.name}.{owner()}.tmp")
    with fresh.open("w", encoding="utf-8") as out:
        out.write(HEAD.format(_mark(salted, ignore_case)))
        out.writelines(f"{one}\n" for one in dict.fromkeys([*known, *new]))
    settle(fresh)
    fresh.replace(path)
    return new


def _mark(salted: str, ignore_case: bool) -> str:
    """What tells one salt, and one way to write ids, from another, and not what the salt is."""
    way = " in small letters" * ignore_case
    return hashlib.sha256(f"forget {salted}{way}".encode()).hexdigest()[:16]
