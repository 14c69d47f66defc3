"""Who is credited: partners' names as they are written in links, and which of them are one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import pandas as pd

from mctlib.contract import SOURCES
from mctlib.eventlog.event_log import EventLog

PLACEHOLDERS = re.compile(
    r"[\[({<]*(not[\s_-]?set|not[\s_-]?provided|none|null|nan|undefined|empty|unknown|test|n/?a|"
    r"utm_\w+|source|campaign|partner(_id|_name)?)[\])}>]*|[{<%\[$].*[}>%\]]|\W*"
)
HIDDEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
# Letters of other scripts that look like these.
LOOKS = str.maketrans("аеорсухіјѕԁһӏοαεικνρτυ", "aeopcyxijsdhloaeikvptu")
COLUMNS = ["written", "means", "why", "column", "n_users", "n_visits", "n_without_credit"]


def partners_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.partners`: every written name that is not a partner's own, the dearest first.

    Partners are the names in the spend table, of people, and in the events' partner_id; where these
    have none, the most frequent spelling of each utm_source. n_without_credit: visits that no such
    name claims, which a mended name would give to its partner.
    """
    some = " OR ".join(f"{column} IS NOT NULL" for column in SOURCES)
    texts = ", ".join(f"{column}::VARCHAR AS {column}" for column in SOURCES)
    touches = log.sql(
        f"""SELECT {texts}, count(*) AS n_visits, count(DISTINCT "user") AS n_users
        FROM events WHERE ({some}) AND timestamp <= make_timestamp({until}) GROUP BY ALL"""
    )
    on_record = [log.table(table)["partner_id"].dropna().unique() for table in ("spend", "people")]
    named = [name for names in on_record for name in sorted(names)]
    own = "partner_id" if touches["partner_id"].notna().any() else "utm_source"
    counted = touches.groupby(own)["n_visits"].sum().sort_values(ascending=False, kind="stable")
    known = _partners([*named, *counted.index])
    rows = []
    for column in ("utm_source", "partner_id"):
        for written, part in touches[touches[column].notna()].groupby(column):
            means, why = _read(str(written), known)
            if why:
                idle = part["n_visits"].sum()
                if column != "partner_id":
                    idle = part.loc[part["partner_id"].isna(), "n_visits"].sum()
                users, visits = part["n_users"].sum(), part["n_visits"].sum()
                rows.append((written, means, why, column, int(users), int(visits), int(idle)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.sort_values("n_without_credit", ascending=False, ignore_index=True)


def _partners(names: Iterable[str]) -> dict[str, str]:
    """What a name comes to -> the name that stands for it, the first of those that are alike."""
    found: dict[str, str] = {}
    for name in names:
        if not PLACEHOLDERS.fullmatch(name.strip().lower()):
            forms = (_plain(name), _sorted(name))
            means = next((found[form] for form in forms if form in found), name)
            found |= dict.fromkeys(forms, means)
    return found


def _plain(text: str) -> str:
    """A name without what nobody sees or means: case, signs, hidden and look-alike letters."""
    text = HIDDEN.sub("", unicodedata.normalize("NFKC", text)).casefold().translate(LOOKS)
    return re.sub(r"[\W_]+", "", text)


def _sorted(text: str) -> str:
    """The words of a name, in any order."""
    text = HIDDEN.sub("", unicodedata.normalize("NFKC", text)).casefold().translate(LOOKS)
    return " ".join(sorted(re.findall(r"[^\W_]+", text)))


def _read(written: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Whom a written name means, and what is wrong with it; "" where nothing is."""
    if PLACEHOLDERS.fullmatch(written.strip().lower()):
        return "", "placeholder"
    means = known.get(_plain(written)) or known.get(_sorted(written), "")
    if not means:
        return "", "unknown partner"
    return means, _difference(written, means) if written != means else ""


def _difference(written: str, means: str) -> str:
    """What is wrong with a name that is not written as its own."""
    if HIDDEN.search(written):
        return "hidden letters"
    letters = unicodedata.normalize("NFKC", written).casefold()
    if re.sub(r"[\W_]+", "", letters) != _plain(written):
        return "look-alike letters"
    if written.strip().casefold() == means.casefold():
        return "upper and lower case" if written.strip() != means else "spaces around it"
    same = _plain(written) == _plain(means)
    return "signs between the words" if same else "order of the words"


def aliases_of(partners: pd.DataFrame) -> dict[str, str]:
    """The mending map: as written -> the partner meant."""
    told = partners[partners["means"] != ""]
    return dict(zip(told["written"], told["means"]))


def conflicts_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.conflicts`: touches whose partner and promo code, or UTM, name different partners.

    A code is its usual partner's, that of most of its touches.
    """
    found = log.sql(
        f"""SELECT partner_id::VARCHAR AS partner_id, promo_code::VARCHAR AS promo_code,
            count(*) AS n_visits, count(DISTINCT "user") AS n_users
        FROM events WHERE partner_id IS NOT NULL AND promo_code IS NOT NULL
            AND timestamp <= make_timestamp({until}) GROUP BY ALL"""
    )
    if found.empty:
        return pd.DataFrame(columns=["partner_id", "promo_code", "usual", "n_users", "n_visits"])
    first = found.sort_values("n_visits", ascending=False).drop_duplicates("promo_code")
    usual = found["promo_code"].map(first.set_index("promo_code")["partner_id"])
    table = found.assign(usual=usual)[["partner_id", "promo_code", "usual", "n_users", "n_visits"]]
    table = table[table["partner_id"] != table["usual"]]
    return table.sort_values("n_visits", ascending=False, ignore_index=True)
