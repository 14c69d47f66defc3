"""Snowplow's atomic events."""

from mctlib.sources.readers import snowplow
from tests.sources.reading import EXPORTS, at, pick, read


def test_snowplow_with_and_without_a_header(tmp_path):
    body = (EXPORTS / "snowplow/enriched.tsv").read_text()
    body = body.replace('"', '""').replace("\t{", '\t"{').replace("}\t", '}"\t')
    (tmp_path / "headed.tsv").write_text("\t".join(snowplow.COLUMNS) + "\n" + body)
    assert len(snowplow.COLUMNS) == 131
    rows = read("events", path="snowplow/enriched.tsv", format="snowplow")["events"]
    assert pick(
        rows, "event_id", "user_id", "anonymous_id", "event", "timestamp", "platform", "utm_source"
    ) == [
        ("sp-0", None, "dom-1", "page_view", at("2026-01-05T10:00:04"), "web", "creator"),
        ("sp-1", "u-100", "dom-1", "resume_uploaded", at("2026-01-05T10:01:04"), "web", None),
        (
            "sp-2",
            "u-200",
            "dom-2",
            "job_saved",
            at("2026-01-05T10:02:05"),
            "android",
            None,
        ),  # no derived time: the collector's
        ("sp-3", "u-200", "net-2", "signed_up", at("2026-01-05T10:03:05"), "api", None),
    ]
    assert (
        '"pages":2' in rows[1]["properties"]
        and '"se_label":"a \\"good\\" one"' in rows[2]["properties"]
    )
    headed = read("events", tmp_path, path="headed.tsv", format="snowplow")["events"]
    assert (
        pick(headed, "event_id", "event", "timestamp")[:2]
        == pick(rows, "event_id", "event", "timestamp")[:2]
    )
