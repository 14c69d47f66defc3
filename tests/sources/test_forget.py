"""People forgotten: out of the store at once, out of every later load, by any id of theirs."""

import json
from pathlib import Path

import duckdb
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from mctlib.eventlog.pseudonyms import salt
from mctlib.sources.forget import forget
from tests.support.logs import pseudonym
from tests.support.stores import store_of

EVENTS = (
    """user_id,anonymous_id,event,timestamp
ann,phone,join,2026-01-05T00:00:00Z
,phone,SECRET,2026-01-04T00:00:00Z
,tablet,SECRET,2026-01-04T00:00:00Z
ann,tablet,join,SECRET
bob,pc,join,2026-01-05T00:00:00Z
"""
    + "bob,pc,open,2026-01-06T00:00:00Z\n" * 20
)
PEOPLE = "user_id,plan\nann,SECRET\nbob,pro\ncem,pro\n"


@pytest.fixture
def shop(project, monkeypatch):
    monkeypatch.delenv("MCT_SALT", raising=False)
    yaml = "events: {path: e.csv}\npeople: {path: p.csv}"
    return project(yaml, "shop", e__csv=EVENTS, p__csv=PEOPLE)


def everything_kept():
    return b"".join(path.read_bytes() for path in Path("outputs").rglob("*") if path.is_file())


@pytest.mark.parametrize("named", ["ann", " phone ", "user_id\nann\n\n", '\ufeff"ann"\r\nnobody'])
def test_nothing_of_them_stays_and_later_loads_leave_them_out(shop, named):
    assert open_log(shop).load["n_users"] == 4  # and the tablet that no sound row knows
    assert b"SECRET" in everything_kept()
    Path("ids.txt").write_text(named, encoding="utf-8")
    load = forget(shop, Path("ids.txt")).load
    assert load["n_users"] == 2
    assert load["tables"]["events"]["n_rejected"] == {"forgotten": 4}
    assert load["tables"]["people"]["n_rejected"] == {"forgotten": 1}
    n_listed = 2 if "nobody" in named else 1
    assert load["forgotten"] == {"n_listed": n_listed, "n_met": 1}
    assert b"SECRET" not in everything_kept()
    Path("e.csv").write_text(EVENTS + "ann,phone,SECRET,2026-01-07T00:00:00Z\n")
    assert open_log(shop, fresh=True).load["n_users"] == 2
    assert b"SECRET" not in everything_kept()


def test_the_list_holds_hashes_of_this_salt_and_grows(shop):
    Path("ids.txt").write_text("ann")
    forget(shop, Path("ids.txt"))
    Path("ids.txt").write_text("bob\nann")
    listed = Path("params/forget.shop.txt")
    assert pseudonym("ann", salt()) in listed.read_text() and "ann" not in listed.read_text()
    with pytest.raises(DataError) as error:
        forget(shop, Path("ids.txt"))
    nothing = "shop: no event is left after loading; rejected were 25 rows: forgotten."
    said = " The store was removed, and the next load leaves out who is named in ids.txt (2)."
    assert str(error.value) == nothing + said
    assert [path.name for path in Path("outputs/store").iterdir()] == [".salt"]
    assert len([line for line in listed.read_text().splitlines() if len(line) == 16]) == 2


def test_a_store_that_cannot_be_loaded_again_is_gone_all_the_same(shop):
    open_log(shop)
    Path("ids.txt").write_text("ann")
    Path("p.csv").unlink()
    with pytest.raises(DataError, match=r'"p.csv" does not exist .* The store was removed'):
        forget(shop, Path("ids.txt"))
    assert not list(Path("outputs/store").glob("shop*"))


def test_another_salt_is_no_way_back(shop, monkeypatch):
    Path("ids.txt").write_text("ann")
    forget(shop, Path("ids.txt"))
    monkeypatch.setenv("MCT_SALT", "another")
    for call in (lambda: open_log(shop), lambda: forget(shop, Path("ids.txt"))):
        with pytest.raises(DataError) as error:
            call()
        assert str(error.value).startswith(
            "params/forget.shop.txt names 1 ids to be forgotten, hashed with another salt"
        )


@pytest.mark.parametrize("content", [b"", b"\n \n", b"user_id\n\n"])
def test_a_file_that_names_nobody(shop, content):
    Path("ids.txt").write_bytes(content)
    with pytest.raises(DataError, match="ids.txt names nobody. Write into it one user_id a line."):
        forget(shop, Path("ids.txt"))


def test_a_file_that_is_no_text(shop):
    Path("ids.txt").write_bytes(b"\xff\xfea\x00n\x00")
    with pytest.raises(DataError, match="ids.txt is no text in UTF-8"):
        forget(shop, Path("ids.txt"))


def test_one_salt_a_checkout_and_none_of_the_demo(shop, project, monkeypatch):
    open_log(shop)
    kept = Path("outputs/store/.salt")
    assert salt() == kept.read_text().strip() and len(salt()) == 32
    assert kept.stat().st_mode & 0o077 == 0
    with duckdb.connect(store_of("shop"), read_only=True) as con:
        ids = {row[0] for row in con.sql("SELECT user_id FROM users").fetchall()}
    assert ids == {pseudonym(who, salt()) for who in ("ann", "bob", "cem", "tablet")}
    buckets = []
    for given in ("", "something"):
        monkeypatch.setenv("MCT_SALT", given)
        open_log(project("demo: {users: 200}", "demo"), fresh=True).close()
        with duckdb.connect(store_of("demo"), read_only=True) as con:
            buckets.append(con.sql("SELECT user_id, bucket FROM users ORDER BY user").fetchall())
    assert buckets[0] == buckets[1]
    kept.write_text("short")
    monkeypatch.delenv("MCT_SALT")
    with pytest.raises(DataError, match="/.salt holds no salt. Restore it, or remove it"):
        open_log(shop)


def test_names_of_events_known_by_day_are_of_those_who_are_kept(project):
    rows = "ann,mail a@b.org,2026-01-05\nbob,SECRET,2026-01-05\n"
    yaml = "events: {path: e.csv, timezone: UTC}\npeople: {path: p.csv}"
    name = project(
        yaml, e__csv="user_id,event,timestamp\n" + rows, p__csv="user_id,consent\nbob,no\n"
    )
    assert open_log(name).day_resolution == {"mail [e-mail removed]": ["UTC"]}
    assert json.loads(Path("outputs/store/x.load.json").read_text())["n_masked"] == {
        "events.event": 1
    }


@pytest.mark.parametrize("at_first", ["true", "false"])
def test_ids_written_another_way_are_no_way_back(shop, at_first):
    yaml, then = Path("params/data.shop.yaml"), {"true": "false", "false": "true"}[at_first]
    plain = yaml.read_text()
    yaml.write_text(f"{plain}\nids_ignore_case: {at_first}\n")
    Path("ids.txt").write_text("ann")
    forget(shop, Path("ids.txt"))
    yaml.write_text(f"{plain}\nids_ignore_case: {then}\n")
    with pytest.raises(DataError) as error:
        open_log(shop)
    said = f"params/forget.shop.txt was made while ids_ignore_case was {at_first}, so nobody on it"
    assert str(error.value).startswith(said)
