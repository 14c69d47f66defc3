"""Mixpanel's raw export."""

from tests.sources.reading import EXPORTS, at, pick, read


def test_mixpanel():
    rows = read("events", path="mixpanel/export.jsonl", format="mixpanel")["events"]
    assert pick(rows, "event_id", "user_id", "anonymous_id", "timestamp") == [
        ("m1", "u-100", "dev-1", at("2026-01-05T10:00:00")),
        ("m0", None, "dev-1", at("2026-01-05T09:50:00")),
        ("m2", "u-100", "dev-1", at("2026-01-05T10:01:00")),
        ("m2", "u-100", "dev-1", at("2026-01-05T10:01:00")),  # twice
        ("m3", "u-100", None, at("2026-01-05T10:02:00")),
        ("m4", "u-200", None, at("2026-01-05T10:05:00")),
        ("m5", "u-200", None, at("2026-01-05T10:06:00")),
        ("m6", "u-200", None, at("2026-01-05T10:15:00")),
        ("m7", None, None, at("2026-01-05T10:16:40")),  # an empty distinct_id is nobody
        ("m8", None, "dev-3", at("2026-01-05T10:18:20")),
        ("m9", "u-200", None, at("2026-01-05T10:20:00")),
    ]
    assert rows[0]["received_at"] == at("2026-01-05T10:00:03")
    assert pick(rows, "platform")[0:8] == [("web",)] * 4 + [("ios",)] + [("android",)] * 2 + [
        ("api",)
    ]
    assert pick(rows, "app_version", "utm_source", "partner_id", "promo_code")[:2] == [
        (None, "newsletter", None, None),
        (None, "creator", "p7", None),
    ]
    assert (rows[4]["app_version"], rows[5]["promo_code"]) == ("2.4.0", "HELLO")
    assert pick(rows, "properties") == [
        ('{"plan":"growth"}',),
        (None,),
        (None,),
        (None,),
        ('{"pages":2}',),
        (None,),
        ('{"note":"call [e-mail removed] back","tags":["a","b"]}',),
        ('{"minutes":9.5}',),
        (None,),
        (None,),
        (None,),
    ]


def test_mixpanel_times_of_an_older_project_follow_its_clock():
    rows = read(
        "events", path="mixpanel/export.jsonl", format="mixpanel", timezone="America/New_York"
    )["events"]
    assert rows[0]["timestamp"] == at("2026-01-05T15:00:00")  # 10:00 in New York
    assert rows[0]["received_at"] == at("2026-01-05T10:00:03")  # the server's own clock is UTC


def test_mixpanel_in_milliseconds(tmp_path):
    first = (EXPORTS / "mixpanel/export.jsonl").read_text().split("\n")[0]
    (tmp_path / "new.jsonl").write_text(
        first.replace('"time": 1767607200', '"time": 1767607200123')
    )
    row = read(
        "events", tmp_path, path="new.jsonl", format="mixpanel", columns={"channel": "plan"}
    )["events"][0]
    assert row["timestamp"] == at("2026-01-05T10:00:00.123")
    assert (
        row["channel"] == "growth" and "properties" not in row
    )  # a property can be mapped like a column
