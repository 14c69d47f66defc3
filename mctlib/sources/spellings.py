"""The many ways to write a time: rare ones as ISO 8601, and what `date_format` says of others."""

import re
from collections.abc import Iterator

import duckdb

from mctlib.contract import nearest
from mctlib.eventlog.sql import sql_text

# The date_format of days counted by a spreadsheet, which strptime has no word for.
EXCEL = "excel"
# Letters behind a time that are taken for their hours. Others, such as IST, EDT or CST, mean
# different hours in different places.
LETTERS = {
    **dict.fromkeys(("Z", "UTC", "GMT", "UT", "WET"), "+00:00"),
    **dict.fromkeys(("CET", "WEST"), "+01:00"),
    **dict.fromkeys(("CEST", "EET"), "+02:00"),
    "EEST": "+03:00",
    "EST": "-05:00",
    "MST": "-07:00",
    "PST": "-08:00",
}
# A text with year, month, day, time and zone in this order, and what its parts are called.
PARTS = (
    r"^(\d{4})(?:[-/.](\d{1,2}|[A-Z][a-z]{2})[-/.](\d{1,2})|(\d\d)(\d\d))"
    r"(?:[Tt ]+(?:(\d{1,2}):(\d\d)(?::(\d\d))?|(\d\d)(\d\d)(\d\d)?)(?:[.,](\d+))?"
    r"(?: ?([AaPp])\.?[Mm]\.?)?"
    r"(?: ?(?:([A-Za-z]{1,4})|(?:UTC|GMT)?([+-](?:\d|0\d|1[0-4]))(?::?(\d\d))?(?: [A-Z]{3,5})?)"
    r"(?: ?\(.*\)| ?\[.*\])?)?)?$"
)
NAMES = [
    *("y", "m", "d", "m2", "d2", "h", "i", "s", "h2", "i2", "s2", "f", "half"),
    *("letters", "hours", "minutes"),
]
# Other orders, whose months are words: RFC 2822, browsers, `date`.
ORDERS = (
    (r"^(?:[A-Z][a-z]{2}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) ", r"\3-\2-\1 "),
    (r"^[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) (\d{4}) ", r"\3-\1-\2 "),
    (r"^[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{1,2}) ([\d:.]+) (\S+) (\d{4})$", r"\5-\1-\2 \3 \4"),
)


def _macros() -> str:
    """SQL of `iso_of(x)`: such a text as ISO 8601, an offset with its minutes; of others NULL.

    Where the month is a word there must be a zone, as these notations have it.
    """
    ordered = r"trim(regexp_replace(x, '[\s\x{00A0}\x{2009}\x{202F}]+', ' ', 'g'))"
    for found, made in ORDERS:
        ordered = f"regexp_replace({ordered}, {sql_text(found)}, {sql_text(made)})"
    offsets = ", ".join(f"{sql_text(k)}: {sql_text(v)}" for k, v in LETTERS.items())
    return f"""
        CREATE TEMP MACRO month_of(p) AS CASE WHEN p.m < 'A' THEN p.m || p.m2 ELSE
            ((strpos('JanFebMarAprMayJunJulAugSepOctNovDec', p.m) + 2) // 3)::VARCHAR END;
        CREATE TEMP MACRO hour_of(p) AS CASE WHEN p.half = '' THEN p.h || p.h2
            WHEN try_cast(p.h || p.h2 AS INTEGER) BETWEEN 1 AND 12 THEN ((p.h || p.h2)::INTEGER % 12
                + CASE WHEN upper(p.half) = 'P' THEN 12 ELSE 0 END)::VARCHAR END;
        CREATE TEMP MACRO clock_of(p) AS ' ' || hour_of(p) || ':' || p.i || p.i2
            || ':' || rpad(p.s || p.s2, 2, '0') || CASE WHEN p.f = '' THEN '' ELSE '.' || p.f END;
        CREATE TEMP MACRO zone_of(p) AS CASE
            WHEN p.letters <> '' THEN MAP {{{offsets}}}[upper(p.letters)]
            WHEN p.hours <> '' THEN
                p.hours[1] || lpad(p.hours[2:], 2, '0') || ':' || rpad(p.minutes, 2, '0')
            ELSE '' END;
        CREATE TEMP MACRO iso_of(x) AS list_transform(
            [regexp_extract({ordered}, {sql_text(PARTS)}, {NAMES})],
            lambda p: CASE WHEN p.y <> '' AND (p.m < 'A' OR zone_of(p) <> '') THEN
                p.y || '-' || month_of(p) || '-' || p.d || p.d2
                || CASE WHEN p.h || p.h2 = '' THEN '' ELSE clock_of(p) || zone_of(p) END END
        )[1];
    """


MACROS = _macros()

# ------------------------------------------------------------------------ date_format

CLOCK = re.compile(
    r"(,? |T|_|:)(\d{1,2})([:.])\d\d(?:(\3)\d\d(?:([.,])\d{1,6})?)?"
    r"(?:( ?)[AaPp][Mm])?(?:( ?)[+-](?:0\d|1[0-4]):?\d\d)?( [A-Za-z]{2,5})?$"
)
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# What the numbers of a day may be, by how long they are.
ORDERS_OF_NUMBERS = {
    "4 n n": ("Y m d",),
    "n n 4": ("d m Y", "m d Y"),
    "n n n": ("d m y", "m d y", "y m d"),
    "word n 4": ("d Y",),
    "word 4 n": ("Y d",),
    "word n n": ("d y", "y d"),
}
WHOLE = {
    r"\d{5}([.,]\d+)?": (EXCEL,),
    r"\d{8}": ("%d%m%Y", "%m%d%Y"),
    r"\d{4}-W\d\d-\d": ("%G-W%V-%u",),
}


def likely_formats(value: str) -> list[str]:
    """What `date_format` may have to say of a text that cannot be read without it, if anything."""
    for pattern, formats in WHOLE.items():
        if re.fullmatch(pattern, value):
            return list(formats)
    clock = CLOCK.search(value)
    day = value[: clock.start()] if clock else value
    return [f"{written}{_clock_format(clock)}" for written in _day_formats(day)]


def _clock_format(clock: re.Match[str] | None) -> str:
    if clock is None:
        return ""
    gap, _, colon, seconds, point, half, zone, letters = clock.groups()
    written = f"{gap}{'%H' if half is None else '%I'}{colon}%M"
    written += f"{colon}%S" if seconds else ""
    written += f"{point}%f" if point else ""
    written += f"{half}%p" if half is not None else ""
    written += f"{zone}%z" if zone is not None else ""
    return written + (letters or "")


def _day_formats(day: str) -> list[str]:
    words = re.findall(r"[A-Za-z]+|\d+|[^A-Za-z\d]+", day)
    shape = ["word"] if any(word[:3].lower() in MONTHS for word in words) else []
    shape += ["4" if len(word) == 4 else "n" for word in words if word.isdigit()]
    formats = []
    for order in ORDERS_OF_NUMBERS.get(" ".join(shape), ()):
        numbers = iter(order.split())
        formats.append("".join(_part(word, numbers) for word in words))
    return formats


def _part(word: str, numbers: Iterator[str]) -> str:
    if word.isdigit():
        return f"%{next(numbers)}"
    for names, short, long in ((MONTHS, "%b", "%B"), (WEEKDAYS, "%a", "%A")):
        if word[:3].lower() in names:
            return short if len(word) == 3 else long
    return word


def format_fault(format: str) -> str:
    """What is wrong with a date_format, as the end of a sentence; nothing if it can be used."""
    if format == EXCEL:
        return ""
    if "%Z" in format:
        return (
            "holds %Z, but letters such as IST stand for several zones: write the letters"
            " themselves, and the zone they mean into timezone."
        )
    try:
        with duckdb.connect() as con:
            con.execute("SELECT try_strptime('', ?)", [format]).fetchall()
    except duckdb.Error:
        return "holds a sign that strptime does not know."
    signs = set(re.findall(r"%-?(\w)", format))
    if signs & set("YyGcx") and (signs & set("mbB") and "d" in signs or signs & set("jucx")):
        return ""
    meant = nearest(format, [EXCEL])
    signs_of = _as_strptime(format)
    if "%" not in format and signs_of != format and not format_fault(signs_of):
        meant = f' Did you mean "{signs_of}"?'
    return f'does not say year, month and day as strptime does ("%d.%m.%Y %H:%M").{meant}'


def _as_strptime(format: str) -> str:
    """A format such as DD/MM/YYYY HH:mm in the signs of strptime, as far as they can be told."""
    found: list[str] = []

    def sign(run: re.Match[str]) -> str:
        letter, length = run[1].lower(), len(run[0])
        signs = {"y": "%Y" if length == 4 else "%y", "d": "%d", "h": "%H", "s": "%S", "a": "%p"}
        # minutes only come after hours
        signs["m"] = "%M" if "h" in found else {3: "%b", 4: "%B"}.get(length, "%m")
        found.append(letter)
        return signs.get(letter, run[0])

    return re.sub(r"([A-Za-z])\1*", sign, format)
