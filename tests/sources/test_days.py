"""Times written as days: found a source, kept in load.json, counted by the source's clock."""

import json
from pathlib import Path

import pandas as pd

from mctlib import attribution_windows
from mctlib.sources.dataset import open_log

# partner b's last touch lies on the same calendar day of UTC as a's, but not of Berlin
VISITS = """user_id,event,timestamp,partner_id
u0,page,2026-01-01T10:00:00Z,
u1,visit,2026-03-03T23:30:00Z,a
u2,visit,2026-03-03T22:30:00Z,b
u3,visit,2026-03-10T15:00:00Z,c
u4,visit,2026-03-10T23:30:00Z,d
"""
PAID = "user_id,event,timestamp\n" + "".join(f"u{i},paid,2026-03-10\n" for i in range(1, 5))
LOADED = """
events:
  - {path: visits.csv}
  - {path: paid.csv, timezone: Europe/Berlin}
"""


def test_days_of_one_source_make_days_of_all_that_is_asked(project):
    log = open_log(project(LOADED, visits__csv=VISITS, paid__csv=PAID))
    assert log.day_resolution == {"paid": ["Europe/Berlin"]}
    kept = json.loads(Path("outputs/store/x.load.json").read_text())
    assert kept["day_resolution"] == log.day_resolution
    ask = {"windows": ["7d", "30d"], "as_of": "2026-03-31", "rules": ["last"], "seed": 1}
    credit = attribution_windows(log, "paid", **ask).credit
    found = credit.pivot(index="partner_id", columns="window_days", values="credit")
    # by the clock of Berlin a touched on March 4, six days before, b on March 3; c touched on the
    # day of the conversion, d on the day after it
    assert found.loc[["a", "b", "c"]].to_numpy().tolist() == [[1, 1], [0, 1], [1, 1]]
    assert "d" not in found.index


def test_exact_times_stay_exact(project):
    exact = PAID.replace("03-10", "03-10T12:00:00Z")
    log = open_log(
        project(
            "events: [{path: visits.csv}, {path: paid.csv}]", visits__csv=VISITS, paid__csv=exact
        )
    )
    assert log.day_resolution == {}
    ask = {"windows": ["7d", "30d"], "as_of": "2026-03-31", "rules": ["last"], "seed": 1}
    assert attribution_windows(log, "paid", **ask).windows["n_attributed"].tolist() == [2, 2]


def test_days_written_in_eight_digits_and_in_parquet(project):
    days = pd.DataFrame({"user_id": ["u"], "event": "b", "timestamp": [pd.Timestamp("2026-03-08")]})
    days.to_parquet("days.parquet")
    yaml = """
events:
  - {path: digits.csv, timezone: America/Havana}
  - {path: days.parquet, timezone: America/Havana}
"""
    text = "user_id,event,timestamp\nu,a,20260308\nu,a,20260309\n"
    log = open_log(project(yaml, digits__csv=text))
    # on March 8 the clocks of Havana skip from midnight to one o'clock
    assert log.day_resolution == {"a": ["America/Havana"], "b": ["America/Havana"]}
