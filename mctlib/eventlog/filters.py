"""What a step's filter asks of one value: checked, in words, in SQL, and beside another filter.

A filter is a value, a list of accepted values, ANY (a value, whatever it is), or a mapping of
`TESTS` that must all hold, as in ``{">=": 10, "<": 20}`` or ``{"not": ["ios", "web"]}``.
"""

from __future__ import annotations

import datetime
import itertools
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any, TypeAlias

import pandas as pd

from mctlib.contract import ParameterError, nearest
from mctlib.eventlog.sql import sql_number, sql_text

ANY = ...  # as an event: every event; as a property's value: any value, as long as there is one
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
TESTS = ("not", *COMPARED, "contains", "present")
MOMENT = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?"
# A bound of a comparison: a number, or a moment in UTC.
Bound: TypeAlias = float | pd.Timestamp


def fault(key: Any, wanted: Any) -> str:
    """What is wrong with the filter of a column, as the end of a sentence; "" where nothing is."""
    if not isinstance(wanted, Mapping):
        return _fault_of_values(wanted)
    if str(key).endswith("app_version") and wanted.keys() & COMPARED.keys():
        return "compares versions, which are no numbers (2.10 comes after 2.9); list them instead."
    if not wanted:
        return f"asks for nothing; write a value, or one of {', '.join(TESTS)}."
    for test, bound in wanted.items():
        if test not in TESTS:
            near = nearest(str(test), TESTS)
            return f'has the tests {", ".join(TESTS)}, not "{test}".{near}'
        if wrong := _fault_of_test(key, test, bound):
            return wrong
    return ""


def _fault_of_test(key: Any, test: str, bound: Any) -> str:
    if test == "not":
        return fault(key, bound)
    if test == "present":
        right, needed = isinstance(bound, bool), "true or false"
    elif test == "contains":
        parts = accepted(bound)
        right = bool(parts) and all(isinstance(part, str | Real) and part != "" for part in parts)
        needed = "a text"
    else:
        right, needed = bound_of(bound) is not None, "a number or a day"
    return "" if right else f'needs {needed} after "{test}", not {bound!r}.'


def _fault_of_values(wanted: Any) -> str:
    values = accepted(wanted)
    if not values:
        return "is an empty list, which accepts nothing."
    for value in values:
        if value is None or value == "":
            return "asks for no value; write {present: false} for that."
        single = value is ANY or isinstance(value, str | Real | datetime.date)
        if not single or value != value:
            return f"asks for {value!r}, which is no single value."
    return ""


def accepted(wanted: Any) -> Collection[Any]:
    """The values that a filter accepts, of one that is a value or a list of them."""
    return wanted if isinstance(wanted, (list, tuple, set, frozenset)) else [wanted]


def bound_of(value: Any) -> Bound | None:
    """What a comparison compares with; None where that is neither a number nor a moment."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
        return number if abs(number) < float("inf") and "_" not in str(value) else None
    except (TypeError, ValueError):
        return _moment(value)


def _moment(value: Any) -> pd.Timestamp | None:
    # pandas reads much more, also "now" by the machine's clock
    if not isinstance(value, datetime.date) and not re.fullmatch(MOMENT, str(value)):
        return None
    try:
        stamp = pd.Timestamp(value)
    except (TypeError, ValueError):
        return None
    if pd.isna(stamp):
        return None
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")


def both(key: str, a: Any, b: Any) -> Any:
    """A filter of a column that asks for what two ask for.

    Raises ParameterError: both set a bound to the same test.
    """
    if ANY in (a, b):
        return b if a is ANY else a
    if not isinstance(b, Mapping):
        return [value for value in accepted(b) if holds(value, a)]
    if not isinstance(a, Mapping):
        return both(key, b, a)
    if twice := a.keys() & b.keys():
        raise ParameterError(f'where: "{key}" is asked for {min(twice)} twice; write it once.')
    return {**a, **b}


def words(key: str, wanted: Any) -> str:
    """A filter in a reader's words."""
    if not isinstance(wanted, Mapping):
        said = " or ".join("present" if v is ANY else spelt(v) for v in accepted(wanted))
        return f"{key}={said}"
    tests = []
    for test, bound in wanted.items():
        if test == "present":
            tests.append("present" if bound else "missing")
        elif isinstance(bound, Mapping):
            tests.append(f"{test} ({words('', bound).strip()})")
        else:
            values = ("any value" if v is ANY else spelt(v) for v in accepted(bound))
            tests.append(f"{test} {' or '.join(values)}")
    return f"{key} {' and '.join(tests)}"


def spelt(value: Any) -> str:
    """A value as it is written: true, not True."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def condition(text: str, wanted: Any) -> str:
    """SQL that is true where a value, SQL of its text, is what a filter asks for, else false.

    What has no value is none of the values asked for, so ``not`` lets it pass.
    """
    if isinstance(wanted, Mapping):
        return " AND ".join(_tested(text, test, bound) for test, bound in wanted.items())
    same = " OR ".join(_equal(text, value) for value in accepted(wanted))
    return f"coalesce({same or 'false'}, false)"


def _tested(text: str, test: str, bound: Any) -> str:
    if test == "not":
        return f"NOT ({condition(text, bound)})"
    if test == "present":
        return f"coalesce({text} <> '', false) = {bound}"
    if test == "contains":
        parts = [f"contains({text}, {sql_text(part)})" for part in accepted(bound)]
        return f"coalesce({' OR '.join(parts)}, false)"
    limit = bound_of(bound)
    if isinstance(limit, pd.Timestamp):
        return f"coalesce(try_cast({text} AS TIMESTAMPTZ) {test} TIMESTAMPTZ '{limit}', false)"
    return f"coalesce({sql_number(text)} {test} {limit!r}::DOUBLE, false)"


def _equal(text: str, value: Any) -> str:
    """SQL that is true where a text is a value."""
    if value is ANY:
        return f"{text} <> ''"
    if isinstance(value, bool):  # true is also what an export writes as TRUE
        return f"lower({text}) = {sql_text(spelt(value))}"
    same = f"{text} = {sql_text(value)}"
    if isinstance(value, Real):  # 1 is also what an export writes as 1.0
        same += f" OR {sql_number(text)} = {sql_text(str(value))}::DOUBLE"
    return same


def parts(wanted: Any) -> Iterator[Any]:
    """What a filter names, one by one, each as a filter: it must occur, or the filter is misspelt.

    What is not wanted must occur too: else it was not left out but never there.
    """
    if not isinstance(wanted, Mapping):
        yield from accepted(wanted)
        return
    for test, bound in wanted.items():
        if test == "not":
            yield from parts(bound)
        elif test == "contains":
            yield from ({test: part} for part in accepted(bound))
        else:
            yield ANY if test == "present" else {test: bound}


def can_share(a: Any, b: Any) -> bool:
    """Whether one value could be what two filters ask for.

    It is enough to try what they name, what lies beside and between their numbers and days, some
    other text, one that contains all they want contained beside it, and no value. Which numbers
    hold a text is not worked out: they may.
    """
    named = [*parts(a), *parts(b)]
    tests = [
        (test, bound) for part in named if isinstance(part, Mapping) for test, bound in part.items()
    ]
    contained = [str(bound) for test, bound in tests if test == "contains"]
    if contained and len(contained) < len(tests):
        return True
    other = "some other text"
    tried = [None, other, " ".join([other, *contained]), *(bound for _, bound in tests)]
    tried += [part for part in named if not isinstance(part, Mapping)]
    tried += _between([bound for value in tried if (bound := bound_of(value)) is not None])
    return any(holds(value, a) and holds(value, b) for value in tried)


def _between(bounds: Iterable[Bound]) -> Iterator[Bound]:
    """Numbers or moments below, between and above some."""
    for kind, step in ((float, 1.0), (pd.Timestamp, pd.Timedelta("1D"))):
        alike = sorted({bound for bound in bounds if isinstance(bound, kind)})
        if alike:
            yield from (alike[0] - step, alike[-1] + step)
            yield from (low + (high - low) / 2 for low, high in itertools.pairwise(alike))


def holds(value: Any, wanted: Any) -> bool:
    """Whether a value (None: there is none) is what a filter asks for, as `condition` says it."""
    if not isinstance(wanted, Mapping):
        return any(_same(value, one) for one in accepted(wanted))
    return all(_passes(value, test, bound) for test, bound in wanted.items())


def _passes(value: Any, test: str, bound: Any) -> bool:
    if test == "not":
        return not holds(value, bound)
    if test == "present":
        return (value is not None) == bound
    if test == "contains":
        return any(str(part) in spelt(value or "") for part in accepted(bound))
    left, right = bound_of(value), bound_of(bound)
    if left is None or right is None or type(left) is not type(right):
        return False
    return COMPARED[test](left, right)


def _same(value: Any, one: Any) -> bool:
    if value is None or one is ANY:
        return value is not None
    if isinstance(one, bool):
        return spelt(value).lower() == spelt(one)
    return spelt(value) == spelt(one) or isinstance(one, Real) and bound_of(value) == float(one)
