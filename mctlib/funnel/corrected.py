"""A funnel's rates as they would be, had tracking lost nothing: by the audit's verdicts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from mctlib import phrases, stats
from mctlib.contract import DataError, ParameterError, interval_columns
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.frames import add_up
from mctlib.eventlog.steps import Meanings, Step
from mctlib.funnel.counts import Rule, count_funnel
from mctlib.funnel.rates import Counts, by_segment, step_rows

CORRECTABLE, UNUSABLE = "correctable", "not to be used"  # the audit's words
TEXTS = ("micro_conversion", "platform", "verdict", "app_version", "since", "until")
SHARES = ("completeness_rate", "completeness_rate_ci_lower", "completeness_rate_ci_upper")
ENTRY = ("event.platform", "event.app_version", "week")  # what is known of each first entry
COLUMNS = ["step", "event", "n_entered", "conversion_rate", "recorded_rate", "corrected_rate"]


def corrected_table(
    log: EventLog,
    steps: Sequence[Step],
    matchers: Sequence[Step],
    rule: Rule,
    verdicts: pd.DataFrame,
    as_of: Any,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """`Funnel.corrected`, and a caveat of what is not put back.

    Users are parted by the losses that meet them, by platform and version (or else week) of their
    entry. In each part the rate of a step is divided by the shares recorded of it and of all steps
    before it that nobody may skip; then the parts are put together again.
    """
    if rule.order == "unordered":
        raise ParameterError('correct_for_loss: steps need an order; order is "unordered".')
    losses, unused = _losses(steps, rule, read_verdicts(verdicts), log.meanings)
    left: tuple[str, ...] = ()
    if unused:
        left = (f"What tracking lost is not put back of {phrases.listed(unused)}.",)
    if not losses:
        return pd.DataFrame(columns=COLUMNS), left
    by = tuple(column for column in ENTRY if column == "week" or _holds(log, column))
    asked = replace(rule, by=by)
    dims = list(dict.fromkeys([*by, *rule.hold, *rule.accounts]))
    kernel = partial(count_funnel, rule=asked)
    tables = log.reduce(kernel, events=matchers, by=dims, as_of=as_of)
    met = {name: _met(name, by, losses) for name in tables["passed"]["segment"].unique()}
    parts = {
        name: add_up([table.assign(segment=table["segment"].map(met))])
        for name, table in tables.items()
        if "segment" in table
    }
    labels = [step.label for step in steps]
    counts = by_segment(parts | {"checks": tables["checks"]}, asked)
    found = {name: step_rows(part, name, labels, asked) for name, part in counts.items()}
    whole = step_rows(Counts.of(tables, asked), "all", labels, asked)
    rows = [_row(k, whole[k], found, losses) for k in range(1, len(steps))]
    return pd.DataFrame(rows), left


def read_verdicts(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows that lost something, also of a table that was saved and read again.

    Raises DataError: a column is missing, or not what `Audit.verdicts` holds.
    """
    if lack := [name for name in (*TEXTS, *SHARES) if name not in verdicts]:
        raise DataError(f'correct_for_loss: column "{lack[0]}" is missing; give Audit.verdicts.')
    table = verdicts[[*TEXTS, *SHARES]].copy()
    for name in TEXTS:
        if not table[name].dropna().map(lambda value: isinstance(value, str)).all():
            raise DataError(
                f'correct_for_loss: column "{name}" must be text (version 4.10 is not 4.1); '
                "read the table with dtype=str."
            )
        table[name] = table[name].astype(object).fillna("")
    table = table[table["verdict"].isin([CORRECTABLE, UNUSABLE])]
    for name in ("since", "until"):
        if not table[name].str.fullmatch(r"(\d{4}-\d\d-\d\d)?").all():
            raise DataError(f'correct_for_loss: column "{name}" must hold days like 2026-03-16.')
    for name in SHARES:
        table[name] = pd.to_numeric(table[name], errors="coerce")
        known = table.loc[table["verdict"] == CORRECTABLE, name]
        if not known.between(0, 1, inclusive="right").all():
            raise DataError(f'correct_for_loss: column "{name}" must hold shares up to 1.')
    return table


def _losses(
    steps: Sequence[Step], rule: Rule, bad: pd.DataFrame, meanings: Meanings
) -> tuple[list[tuple[int, Mapping[str, Any]]], list[str]]:
    """Number of a step (from 0), and a row of the verdicts that takes something from it.

    And what is lost beside these, with why it takes nothing.
    """
    found: list[tuple[int, Mapping[str, Any]]] = []
    unused: dict[str, None] = {}
    for row in bad.to_dict("records"):
        name = row["micro_conversion"]
        met = [k for k, step in enumerate(steps) if _is(step, name, meanings)]
        found += [(k, row) for k in met if k and k + 1 not in rule.optional]
        if not met:
            unused[f"{name} (no step of this funnel)"] = None
        elif met == [0]:
            unused[f"{name} (the first step)"] = None
        elif all(k + 1 in rule.optional for k in met):
            unused[f"{name} (a step that may be skipped)"] = None
    return sorted(found, key=lambda loss: loss[0]), list(unused)


def _is(step: Step, name: str, meanings: Meanings) -> bool:
    """Whether a step is the micro-conversion of this name, or one of its events."""
    meant = meanings.get(name)
    if name in step.all_names or meant is None:
        return name in step.all_names
    plain = not (step.filtered or meant.filtered) and bool(step.names)
    return step == meant or (plain and set(step.names) <= set(meant.names))


def _holds(log: EventLog, column: str) -> bool:
    try:
        log.segments(column)
    except ParameterError:
        return False
    return True


def _met(segment: str, by: Sequence[str], losses: Sequence[tuple[int, Mapping[str, Any]]]) -> str:
    """Which losses meet users of this platform, version and week: their numbers."""
    entry = dict(zip(by, segment.split(" \u00b7 ")))
    week, version = entry["week"], entry.get("event.app_version", "")
    found = []
    for number, (_, row) in enumerate(losses):
        here = row["platform"] in ("all", entry.get("event.platform", "all"))
        if row["app_version"]:
            begun = _parts(version) >= _parts(row["app_version"])
        else:
            begun = week >= (row["since"] or "")
        if here and begun and not (row["until"] and week >= row["until"]):
            found.append(str(number))
    return " ".join(found)


def _parts(version: str) -> list[tuple[int, int, str]]:
    """4.10 comes after 4.9, and no version before any."""
    found = re.findall(r"\d+|[a-z]+", version.lower())
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in found]


def _row(
    k: int,
    whole: Mapping[str, Any],
    parts: Mapping[str, Sequence[Mapping[str, Any]]],
    losses: Sequence[tuple[int, Mapping[str, Any]]],
) -> dict[str, Any]:
    """A step's rate with and without the losses; their errors are the same for all parts."""
    n = sum(part[0]["n_entered"] for part in parts.values())
    rate = variance = 0.0
    by_loss = np.zeros(len(losses))  # how far the whole moves with the log of each share
    for name, part in parts.items():
        met = [i for i in map(int, name.split()) if losses[i][0] <= k]
        share = float(np.prod([_share(losses[i][1])[0] for i in met]))
        low, high = (part[k][f"conversion_rate_ci_{end}"] for end in ("lower", "upper"))
        weight = part[0]["n_entered"] / n
        told = weight * part[k]["conversion_rate"] / share
        rate += told
        variance += (weight * (high - low) / (2 * stats.Z) / share) ** 2
        by_loss[met] += told
    errors = np.array([_share(row)[1] for _, row in losses])
    half = stats.Z * np.sqrt(variance + ((by_loss * errors) ** 2).sum())
    before = {c: whole[c] for c in whole if c.startswith("conversion_rate")}
    return {
        "step": k + 1,
        "event": whole["event"],
        "n_entered": whole["n_entered"],
        **before,
        "recorded_rate": float(stats.rate(whole["conversion_rate"], rate)),
        **interval_columns("corrected_rate", rate, max(rate - half, 0), min(rate + half, 1)),
    }


def _share(row: Mapping[str, Any]) -> tuple[float, float]:
    """The share recorded, and the error of its logarithm; nothing is known where it is unusable."""
    if row["verdict"] == UNUSABLE:
        return np.nan, np.nan
    share = row["completeness_rate"]
    low, high = (row[f"completeness_rate_ci_{end}"] for end in ("lower", "upper"))
    return share, float(np.log(high / low) / (2 * stats.Z))
