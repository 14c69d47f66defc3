"""Which store a dataset is read from: the newest sound one, or the one that a run checked."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb

from mctlib.contract import DataError
from mctlib.eventlog.event_log import EventLog
from mctlib.eventlog.store_file import is_whole
from mctlib.tracking_plan.reading import read_plan

HANDED = "MCT_STORE"  # the environment variable that a run sets for its notebooks


def sound(known: Sequence[Path], currency: str, fingerprint: str, verify: bool) -> EventLog | None:
    """The first of some stores that can be read and is of this fingerprint, or None."""
    for path in known:
        # damaged, or a foreign file
        with suppress(duckdb.Error, OSError, ValueError, KeyError):
            if verify and not is_whole(path):
                continue
            log = EventLog.open(path, currency)
            if log.load["fingerprint"] == fingerprint:
                return log
            log.close()
    return None


def handing(dataset: str, log: EventLog) -> str:
    """What HANDED must hold for `handed` to open this log's store under the name ``dataset``."""
    facts = {"dataset": dataset, "store": str(log.path), "currency": log.currency}
    return json.dumps(facts | {"load_id": log.load["load_id"], "plan": str(log.plan or "")})


def handed(dataset: str | Path) -> EventLog | None:
    """The store that a run handed to this process for a dataset, whatever its sources are now."""
    facts = json.loads(os.environ.get(HANDED, "{}"))
    if facts.get("dataset") != str(dataset):
        return None
    log = EventLog.open(Path(facts["store"]), facts["currency"])
    if log.load["load_id"] != facts["load_id"]:
        raise DataError(f"The store of {dataset} was replaced during this run. Run it again.")
    return planned(log, Path(facts["plan"]) if facts["plan"] else None)


def planned(log: EventLog, plan: Path | None) -> EventLog:
    """The log, in which words mean what a tracking plan says. Raises DataError: it is none."""
    if plan:
        said = read_plan(plan)
        log.meanings.update(said.meanings())
        log.planned_segments.update(said.asked_segments())
        log.planned_metrics.update(said.asked_metrics())
    log.plan = plan
    return log
