"""Exports and data YAMLs as nobody would write them: read, or refused in a sentence."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mctlib import open_log
from mctlib.contract import DataError, ParameterError
from tests.sources.reading import EXPORTS, HEAD, ROW

SAMPLES = {
    path.parent.name: path.read_bytes()
    for format in ("canonical", "mixpanel", "amplitude", "segment", "posthog", "ga4", "snowplow")
    for path in sorted((EXPORTS / format).iterdir())
    if path.is_file() and path.suffix in (".csv", ".json", ".jsonl", ".tsv")
}
PIECES = st.sampled_from(
    [
        *b"\"',;|\t{}[]:\\",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xff",
        b"\xef\xbb\xbf",
        b"<html>",
        b"#",
        b"1e99",
    ]
).map(lambda piece: bytes([piece]) if isinstance(piece, int) else piece)
fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read_or_refused(yaml, content):
    Path("e.x").write_bytes(content)
    Path("params/data.x.yaml").write_bytes(b"name: x\n" + yaml)
    try:
        open_log("x").close()
    except (DataError, ParameterError) as error:
        assert str(error).strip()


@pytest.mark.parametrize("format", SAMPLES)
def test_an_export_with_a_piece_put_in_or_taken_out(project, format):
    sample = SAMPLES[format][:3000]

    @fuzzed
    @given(at=st.integers(0, len(sample)), taken=st.integers(0, 30), piece=PIECES)
    def one(at, taken, piece):
        source = f"events: {{path: e.x, format: {format}, timezone: UTC}}".encode()
        read_or_refused(source, sample[:at] + piece + sample[at + taken :])

    one()


@fuzzed
@given(
    st.binary(max_size=200)
    | st.lists(PIECES, max_size=12).map(b"".join)
    | st.lists(PIECES, max_size=6).map(lambda pieces: (HEAD + ROW).encode() + b"".join(pieces))
)
def test_a_file_of_any_bytes(project, content):
    read_or_refused(b"events: {path: e.x}", content)


@fuzzed
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=6),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["path", "format", "columns", "timezone"]), inner)
        ),
        max_leaves=5,
    ),
    st.sampled_from(["events", "people", "demo", "currency", "observed_until", "timeline"]),
)
def test_a_yaml_of_any_values(project, value, key):
    written = f"{key}: {json.dumps(value)}\n"
    events = "" if key == "events" else "events: {path: e.x}\n"
    read_or_refused((events + written).encode(), (HEAD + ROW).encode())
