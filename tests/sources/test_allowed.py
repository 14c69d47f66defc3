"""What a file's owner did not allow stays out of the store."""

import io
from pathlib import Path

import pandas as pd
import pytest

from mctlib import open_log
from mctlib.contract import DataError
from tests.sources.reading import HEAD, ROW
from tests.support.logs import pseudonym

PARTNERS = (
    "Name,uid,When,Deal,Consent\nAnn Lee,u,2026-01-05T00:00:00Z,gold,yes\n"
    "Bob,v,2026-01-06T00:00:00Z,iron,no\n"
)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_columns_that_are_not_allowed_stay_out(project, kind):
    """Names stay out and are said to; a refusal is heard although nobody allowed its column."""
    table = pd.read_csv(io.StringIO(PARTNERS))
    write = {"csv": PARTNERS.encode(), "jsonl": table.to_json(orient="records", lines=True)}
    table.to_parquet("p.parquet")
    file = {} if kind == "parquet" else {f"p__{kind}": write[kind]}
    source = f"path: p.{kind}, columns: {{user_id: UID, signed_up_at: When}}, allowed: [deal]"
    events = HEAD + ROW + ROW.replace("u", "v", 1)
    described = f"events: {{path: e.csv}}\npeople: {{{source}}}"
    log = open_log(project(described, e__csv=events, **file))
    assert log.load["notes"][0] == f"p.{kind}: 1 column kept out, not allowed: Name."
    people = log.table("people")
    assert people["Deal"].tolist() == ["gold"] and "Name" not in people
    assert b"Ann Lee" not in log.path.read_bytes()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("allowed: [deel]", 'p.csv has no column "deel", named in allowed. Did you mean "Deal"?'),
        ("allowed: [Deal]", 'p.csv: people need "user_id"; add it to allowed.'),
    ],
)
def test_what_cannot_be_allowed(project, source, words):
    mapped = "columns: {user_id: uid}, " if "deel" in source else ""
    files = {"e__csv": HEAD + ROW, "p__csv": PARTNERS.replace("Name", "user_id")}
    with pytest.raises(DataError) as error:
        open_log(
            project(f"events: {{path: e.csv}}\npeople: {{path: p.csv, {mapped}{source}}}", **files)
        )
    assert words in str(error.value)


def test_a_tools_own_export_allows_nothing(project):
    with pytest.raises(DataError, match="allowed of events needs format canonical or columns, not"):
        open_log(project("events: {path: e.csv, format: mixpanel, allowed: [event]}"))


CDP = "uid,mail\nu,Ann@Example.org \nv,bob@example.org\nw,\n"


def test_people_meet_by_the_hash_of_their_address(project):
    """The CRM knows addresses alone: Ann's plan is u's, Bob's refusal lets v go, Cid met nobody."""
    crm = (
        "Address,Plan,consent\nann@example.org,gold,yes\nBOB@example.org,iron,no\ncid@x.org,tin,\n"
    )
    described = (
        "events: {path: e.csv}\npeople:\n"
        "  - {path: cdp.csv, columns: {user_id: uid, email: mail}}\n"
        "  - {path: crm.csv, columns: {email: Address, plan: Plan}, allowed: []}"
    )
    events = HEAD + ROW + ROW.replace("u", "v", 1) + ROW.replace("u", "w", 1)
    log = open_log(project(described, e__csv=events, cdp__csv=CDP, crm__csv=crm))
    people = log.sql("SELECT p.*, u.user_id FROM people p JOIN users u USING (user)")
    told = people.set_index("user_id")["plan"].fillna("").to_dict()
    salt = Path("outputs/store/.salt").read_text().strip()
    assert told.pop(pseudonym("u", salt)) == "gold" and told.pop(pseudonym("w", salt)) == ""
    assert list(told.values()) == ["tin"]  # Cid's
    assert log.load["met"]["events"] == {"n_users": 2, "n_met": 2}
    for file in Path("outputs/store").iterdir():
        assert b"ample.org" not in file.read_bytes().lower()


def test_an_address_joins_people_alone(project):
    files = {"e__csv": HEAD + ROW, "s__csv": "day,amount,mail\n2026-01-05,3,a@b.de\n"}
    with pytest.raises(DataError, match='s.csv: "email" in columns joins people, not spend.'):
        open_log(
            project("events: {path: e.csv}\nspend: {path: s.csv, columns: {email: mail}}", **files)
        )
