"""Who is credited: partners' names as they are written in links, and which of them are one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

import pandas as pd
import yaml

from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.spellings import MENDED, plain, written
from mctlib.results import MIN_USERS

PLACEHOLDERS = re.compile(
    r"[\[({<]*(not[\s_-]?set|not[\s_-]?provided|none|null|nan|undefined|empty|unknown|test|n/?a|"
    r"utm_\w+|source|campaign|partner(_id|_name)?)[\])}>]*|[{<%\[$].*[}>%\]]|\W*"
)
HIDDEN = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
# Letters of other scripts that look like these.
LOOKS = str.maketrans("аеорсухіјѕԁһӏοαεικνρτυ", "aeopcyxijsdhloaeikvptu")
COLUMNS = ["written", "means", "why", "column", "mended", "n_users", "n_visits", "n_without_credit"]


def partners_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.partners`: every written name that is not a partner's own, the dearest first.

    Partners are the names in the spend table, of people, and in the events' partner_id; where these
    have none, the most frequent spelling of each utm_source. mended: whether `aliases` of the data
    YAML do so. n_without_credit: visits that no such name claims, which a mended name would give to
    its partner.
    """
    names = {column: _names(log, column, until) for column in MENDED["events"]}
    known = _known(log, names)
    ours = {plain(word) for word, name in log.aliases.items() if not name}
    rows = []
    for column, found in names.items():
        for name, now, n_users, n_visits, n_idle in found.itertuples(index=False):
            mended = name != now
            means, why = (now, _difference(name, now)) if mended else _read(name, known)
            if why and plain(name) not in ours:
                idle = 0 if mended else n_idle if column == "utm_source" else n_visits
                told = (name, means, why, column, "yes" if mended else "no")
                rows.append((*told, n_users, n_visits, idle))
    table = pd.DataFrame(rows, columns=COLUMNS)
    order = ["n_without_credit", "n_visits"]
    return table.sort_values(order, ascending=False, kind="stable", ignore_index=True)


def _known(log: EventLog, names: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """`_partners` of a log; ``names``: of its events, by column."""
    tables = ("spend", "people")
    on_record = [log.table(table)["partner_id"].dropna().unique() for table in tables]
    named = [name for known in on_record for name in sorted(known)]
    own = names["partner_id"] if len(names["partner_id"]) else names["utm_source"]
    counted = own.groupby("now")["n_visits"].sum().sort_values(ascending=False, kind="stable")
    by_hand = log.table("manual")["partner_id"].value_counts().index
    return _partners([*named, *log.aliases.values(), *counted.index, *by_hand])


def by_hand_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.by_hand`: users of the sheet kept by hand, and whom their touches up to its day name.

    partner_id ("all" first), n_users; of these n_touched_by_it (by any touch), n_last_utm (by their
    last UTM), n_others_alone (by others only), n_untouched.
    """
    sheet = log.table("manual").dropna(subset=["partner_id"])
    sheet = sheet[pd.to_datetime(sheet["day"]) <= pd.Timestamp(until, unit="us")]
    sheet = sheet.sort_values(["user", "day"], kind="stable").drop_duplicates("user", keep="last")
    if sheet.empty:
        return pd.DataFrame(columns=BY_HAND)
    names = {column: _names(log, column, until) for column in MENDED["events"]}
    known = _known(log, names)
    touches = log.sql(
        f"""SELECT "user", m.day, e.timestamp, partner_id::VARCHAR AS partner_id,
            utm_source::VARCHAR AS utm_source
        FROM events e JOIN (SELECT "user", max(day) AS day FROM manual GROUP BY 1) m USING ("user")
        WHERE (e.partner_id IS NOT NULL OR e.utm_source IS NOT NULL)
            AND e.timestamp < m.day + INTERVAL 1 DAY AND e.timestamp <= make_timestamp({until})
        ORDER BY 1, 3"""
    )
    for column in names:
        means = {word: _read(word, known)[0] for word in touches[column].dropna().unique()}
        touches[column] = touches[column].map(means).fillna("")
    touches["any"] = touches["partner_id"].where(touches["partner_id"] != "", touches["utm_source"])
    named = touches[touches["any"] != ""]
    theirs = sheet["partner_id"].map(lambda word: _read(word, known)[0] or word)
    last = touches[touches["utm_source"] != ""].groupby("user")["utm_source"].last()
    pairs = pd.MultiIndex.from_frame(named[["user", "any"]])
    table = pd.DataFrame({"partner_id": theirs, "n_users": 1})
    table["n_touched_by_it"] = pd.MultiIndex.from_arrays([sheet["user"], theirs]).isin(pairs)
    table["n_last_utm"] = sheet["user"].map(last) == theirs
    touched = sheet["user"].isin(named["user"])
    table["n_others_alone"] = touched & ~table["n_touched_by_it"]
    table["n_untouched"] = ~touched
    table = table.astype(dict.fromkeys(BY_HAND[1:], int))
    whole = table.assign(partner_id="all")
    sums = [rows.groupby("partner_id", as_index=False).sum() for rows in (whole, table)]
    return pd.concat(sums, ignore_index=True)


BY_HAND = ["partner_id", "n_users", "n_touched_by_it", "n_last_utm", "n_others_alone"]
BY_HAND.append("n_untouched")


def _names(log: EventLog, column: str, until: int) -> pd.DataFrame:
    """What stood in a column of the events, what stands there now, and how often."""
    kept = f"events.{column}" in log.load.get("mended", {})
    stood = f"coalesce({written(column)}, {column}::VARCHAR)" if kept else column
    return log.sql(
        f"""SELECT written::VARCHAR AS written, now::VARCHAR AS now, n_users, n_visits, n_idle
        FROM (
            SELECT {stood} AS written, {column} AS now, count(DISTINCT "user") AS n_users,
                count(*) AS n_visits, count(*) FILTER (partner_id IS NULL) AS n_idle
            FROM events WHERE {column} IS NOT NULL AND timestamp <= make_timestamp({until})
            GROUP BY 1, 2
        ) ORDER BY 1, 2"""
    )


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
    if _plain(written) == _plain(means):
        return "signs between the words"
    return "order of the words" if _sorted(written) == _sorted(means) else "another name"


def aliases_of(partners: pd.DataFrame) -> dict[str, str]:
    """The mending map: as written -> the partner meant, of 10 users or more."""
    told = partners[(partners["means"] != "") & (partners["mended"] == "no")]
    told = told[told["n_users"] >= MIN_USERS]
    return dict(zip(told["written"], told["means"]))


def mending(proposed: Mapping[str, str], given: Mapping[str, str]) -> str:
    """Lines of the data YAML: the aliases that are given, and those that are proposed.

    Letters that are hidden or look like others are escaped.
    """
    both = {word: proposed.get(name, name) for word, name in given.items()} | dict(proposed)
    return yaml.safe_dump({"aliases": both}, width=1000) if proposed else ""


def conflicts_table(log: EventLog, until: int) -> pd.DataFrame:
    """`Audit.conflicts`: touches whose partner_id, UTM and promo code name different partners.

    partner_id (of the link; without one the partner that its utm_source means), column (what names
    another: promo_code, utm_source), written, usual (whom it means; a code is the partner's of most
    of its touches), n_users, n_visits.
    """
    coded = _touches(log, "partner_id", "promo_code", until)
    linked = _touches(log, "partner_id", "utm_source", until)
    bare = _touches(log, "utm_source", "promo_code", until, "AND partner_id IS NULL")
    if not sum(map(len, (coded, linked, bare))):
        return pd.DataFrame(columns=CONFLICTS)
    known = _known(log, {column: _names(log, column, until) for column in MENDED["events"]})

    def partner(names: pd.Series) -> pd.Series:
        return names.map({name: _read(name, known)[0] for name in names.unique()})

    first = coded.sort_values("n_visits", ascending=False).drop_duplicates("written")
    of_code = first.set_index("written")["named"]
    bare["named"] = partner(bare["named"])
    table = pd.concat(
        [
            part.assign(column=column, usual=part["written"].map(of_code) if column == CODE else "")
            for column, part in ((CODE, coded), ("utm_source", linked), (CODE, bare))
        ],
        ignore_index=True,
    )
    link = table["column"] == "utm_source"
    table.loc[link, "usual"] = partner(table.loc[link, "written"])
    table = table.rename(columns={"named": "partner_id"}).fillna({"usual": ""})
    apart = partner(table["partner_id"]) != partner(table["usual"])
    table = table[apart & (table["partner_id"] != "") & (table["usual"] != "")]
    return table.sort_values("n_visits", ascending=False, ignore_index=True)[CONFLICTS]


CODE = "promo_code"
CONFLICTS = ["partner_id", "column", "written", "usual", "n_users", "n_visits"]


def _touches(log: EventLog, named: str, written: str, until: int, only: str = "") -> pd.DataFrame:
    """Touches by two of their tags, where both are there."""
    if not all(log.words.filled("events", column) for column in (named, written)):
        return pd.DataFrame(columns=["named", "written", "n_users", "n_visits"])
    return log.sql(
        f"""SELECT {named}::VARCHAR AS named, {written}::VARCHAR AS written,
            count(DISTINCT "user") AS n_users, count(*) AS n_visits
        FROM events WHERE {named} IS NOT NULL AND {written} IS NOT NULL {only}
            AND timestamp <= make_timestamp({until}) GROUP BY ALL ORDER BY 1, 2"""
    )
