"""What whoever has a report's tables can work out about fewer than ten users, by hand."""

import re
from itertools import combinations

import pandas as pd

BASES = ("n_users", "n_entered", "n_counted", "n_before")  # numbers of users, the first one there
TOTALS = ("all", "total", "everyone", "(all)")
# columns whose values part users: one is in one of them
PARTS = ("segment", "platform", "app_version", "channel", "partner_id", "week", "cohort", "group")
PARTS += ("level", "driver", "combination")
WORDS = ("step", "day", "week", "window_days", "landmark_days")  # name rows though numbers


def read(folder):
    """The tables of one report by name, as files hold them."""
    files = [path for path in folder.glob("*.csv") if path.read_text("utf-8").strip()]
    return {path.stem: pd.read_csv(path, keep_default_na=False) for path in files}


def rows_of(tables):
    """(table, what names the row by column, its number of users or None where it is hidden).

    Where another table tells that of a row by the same words, it is told.
    """
    rows = []
    for name, table in tables.items():
        base = next((column for column in BASES if column in table), None)
        if base is None:
            continue
        numbers = pd.to_numeric(table[base], errors="coerce")
        texts = [c for c in table if c in WORDS or _is_text(table[c])]
        for i, n in enumerate(numbers):
            named = {c: str(table[c].iloc[i]) for c in texts if str(table[c].iloc[i]) != ""}
            rows.append((name, named, None if pd.isna(n) else float(n), base))
    told = {(words_of(named), base): n for _, named, n, base in rows if n is not None}
    return [
        (name, named, told.get((words_of(named), base)) if n is None else n)
        for name, named, n, base in rows
    ]


def _is_text(column):
    filled = column[column.astype(str) != ""]
    return len(filled) > 0 and pd.to_numeric(filled, errors="coerce").isna().any()


def words_of(named):
    """The values that name a row, without totals, those of several columns one by one."""
    values = (v for value in named.values() for v in value.split(" · "))
    return frozenset(value for value in values if value.lower() not in TOTALS)


def lines_of(rows):
    """Rows of one table that differ in one column alone: (common words, rows by place)."""
    lines = {}
    for table in {row[0] for row in rows}:
        mine = [i for i, row in enumerate(rows) if row[0] == table]
        columns = sorted({column for i in mine for column in rows[i][1]})
        for column in (column for column in columns if column in PARTS):
            others = [other for other in columns if other != column]
            for k in range(min(len(others), 4) + 1):
                for same in combinations(others, k):
                    groups = {}
                    for i in mine:
                        named = rows[i][1]
                        if named.get(column, "all").lower() not in TOTALS:
                            groups.setdefault(tuple(named.get(c) for c in same), []).append(i)
                    for group in groups.values():
                        values = [rows[i][1][column] for i in group]
                        if len(group) > 1 and len(set(values)) == len(values):
                            lines[tuple(group)] = frozenset.intersection(
                                *(words_of(rows[i][1]) for i in group)
                            )
    return lines


def joined_weeks(rows):
    """Of weeks told together, "a to b", those that a table tells alone: (row, rows by place)."""
    for i, (_, named, n) in enumerate(rows):
        weeks = re.fullmatch(r"([\d-]{7,10}) to ([\d-]{7,10})", " ".join(words_of(named)))
        if n is not None and weeks:
            first, last = weeks.groups()
            alone = {}
            for k, (table, those, m) in enumerate(rows):
                if m is not None and all(first <= word <= last for word in words_of(those) or "-"):
                    alone.setdefault(table, []).append(k)
            yield from ((i, weeks) for weeks in alone.values() if i not in weeks)


def given_back(tables, n_users=None):
    """Numbers of 1 to 9 users that stand in tables, or are left when rows are taken off a total.

    A total is any number told by no other words than all the rows share. A row that one hidden
    number alone keeps from its total is known from then on.
    """
    rows = rows_of(tables)
    known = {i: n for i, (_, _, n) in enumerate(rows) if n is not None}
    found = [(*rows[i][:2], n) for i, n in known.items() if 0 < n < 10]
    for i, weeks in joined_weeks(rows):
        rest = known[i] - sum(known[k] for k in weeks)
        found += [(*rows[i][:2], rest)] if 0 < rest < 10 else []
    lines = lines_of(rows)
    again = True
    while again:
        again = False
        for group, common in lines.items():
            hidden = [i for i in group if i not in known]
            told = sum(known[i] for i in group if i in known)
            totals = {
                n for i, n in known.items() if i not in group and words_of(rows[i][1]) <= common
            }
            totals |= {n_users} if n_users else set()
            here = {
                known[i]
                for i in known
                if rows[i][0] == rows[group[0]][0] and words_of(rows[i][1]) == common
            }
            for total in totals if hidden else here:
                rest = total - told
                if 0 < rest < 10:
                    found.append((rows[group[0]][0], dict(rows[group[0]][1]), (total, told)))
                elif len(hidden) == 1 and rest >= 10 and total in here:
                    known[hidden[0]] = rest
                    again = True
    return found
