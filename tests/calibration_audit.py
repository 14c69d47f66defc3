"""The audit's verdicts, by simulation: lines of the table of `tests.calibration`.

Worlds are whole logs, so that there are half as many of them as data sets asked for.
"""

import numpy as np

from mctlib import audit_events
from mctlib.audit.verdicts import CORRECTABLE, UNUSABLE
from tests.support.calibration import Row, at_least, at_most, coverage
from tests.support.tracking import World, plan_of

AS_OF = "2026-05-24"
BAD = (CORRECTABLE, UNUSABLE)


def verdicts(world, seed):
    """The table of one world, and that of its shares."""
    found = audit_events(world.log(seed), plan_of(), as_of=AS_OF)
    return found.verdicts, found.completeness


def lost_share(n: int) -> list[Row]:
    """One platform keeps 70 % from a version on: its size, where and when it is told."""
    rows = []
    for name, late in (("all come at once", 0.0), ("30 % come late", 0.3)):
        world, n_worlds = World(users=1500, kept=0.7, late=late), max(n // 2, 1)
        hits, told, elsewhere = (np.zeros(n_worlds, bool) for _ in range(3))
        for k in range(n_worlds):
            table, _ = verdicts(world, k)
            bad = table[table["verdict"].isin(BAD)]
            mine = bad[(bad["micro_conversion"] == "profile") & (bad["platform"] == "android")]
            elsewhere[k] = len(bad) > len(mine)
            for row in mine.to_dict("records"):
                low, high = (row[f"completeness_rate_ci_{end}"] for end in ("lower", "upper"))
                hits[k] = low <= 0.7 <= high
                near = row["since"] in ("2026-03-09", "2026-03-16", "2026-03-23")
                told[k] = row["app_version"] == "4.10" and near
        rows += [
            coverage("Completeness of a loss", f"70 % from a version on, {name}", hits),
            at_least("Loss dated by its version and week, +- 1", name, told),
            at_most("Loss told of what is whole", name, elsewhere),
        ]
    return rows


def whole_share(n: int) -> list[Row]:
    """Nothing is lost, or one in a hundred everywhere: what is told to be lost, and of which cells.

    A micro-conversion with a witness and any verdict but trusted or too few is a false alarm.
    """
    rows = []
    for name, world in (
        ("nothing lost, 30 % late", World(users=1000, late=0.3)),
        ("1 % lost everywhere", World(users=1000, everywhere=0.99, kept=0.99)),
        ("1 % lost, six a user", World(users=600, everywhere=0.99, kept=0.99, each=6)),
    ):
        flagged, cells = [], []
        for k in range(max(n // 4, 1)):
            table, shares = verdicts(world, k)
            table = table[table["witness"] != ""]
            flagged += list(table["verdict"].isin(BAD))
            weeks = shares[(shares["week"] != "all") & (shares["witness"] == "back end")]
            weeks = weeks[weeks["n_users"] >= 10]
            cells += list(weeks["completeness_rate_ci_upper"] < 0.97)
        rows += [
            at_most("Told to be lost, of micro-conversions", name, np.array(flagged)),
            at_most("Surely below 97 %, of cells", name, np.array(cells)),
        ]
    return rows


ALL = (lost_share, whole_share)
