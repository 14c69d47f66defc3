"""Amplitude's Export API."""

import gzip
import zipfile
from pathlib import Path

from mctlib import open_log
from tests.sources.reading import EXPORTS, at, pick, read

AMPLITUDE = [
    ("i0", None, "9001", at("2026-01-05T10:00:00.123456"), "creator", "web"),
    (
        "i1",
        "u-100",
        "9001",
        at("2026-01-05T10:11:12.123456"),
        None,
        "web",
    ),  # initial_utm_source is not the event's
    ("i2", "u-100", "9001", at("2026-01-05T10:12:00.123456"), None, "ios"),  # utm_source "EMPTY"
    ("i3", "u-200", "9002", at("2026-01-05T11:00:00.123456"), "search", "android"),
    ("i3", "u-200", "9002", at("2026-01-05T11:00:00.123456"), "search", "android"),
    ("i4", None, "dev-c", at("2026-01-05T12:00:00.123456"), None, "web"),
]


def test_amplitude_as_the_zip_of_gzipped_members_it_comes_in(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for part in sorted((EXPORTS / "amplitude").glob("*.json")):
            archive.writestr(f"412/{part.name}.gz", gzip.compress(part.read_bytes()))
    for root, path in ((EXPORTS, "amplitude/*.json"), (tmp_path, "export.zip")):
        rows = read("events", root, path=path, format="amplitude")["events"]
        assert (
            pick(rows, "event_id", "user_id", "anonymous_id", "timestamp", "utm_source", "platform")
            == AMPLITUDE
        )
        assert pick(rows, "partner_id", "app_version", "session_id")[:3] == [
            ("p7", None, None),
            (None, None, "1767607272000"),
            (None, "2.4.0", None),
        ]
        assert '"plan":"growth","pages":2' in rows[2]["properties"]
        assert '"initial_utm_source":"creator"' in rows[0]["properties"] and "EMPTY" not in str(
            rows
        )


def test_amplitude_merged_ids_stitch(project):
    """The nobody 9003 turned out to be 9001, who is u-100."""
    nobody = (EXPORTS / "amplitude/part_1.json").read_text().splitlines()[2]
    Path("more.json").write_text(nobody.replace('"amplitude_id": null', '"amplitude_id": 9003'))
    source = "events: {{path: [more.json, '{0}/amplitude/part_0.json'{1}], format: amplitude}}"
    apart = open_log(project(source.format(EXPORTS, "")))
    assert (apart.load["n_users"], apart.load["identity"]["n_matched_rows"]) == (2, 1)
    also = f", '{EXPORTS}/amplitude/merged.jsonl'"
    merged = open_log(project(source.format(EXPORTS, also)))
    assert (merged.load["n_users"], merged.load["identity"]["n_matched_rows"]) == (1, 2)
