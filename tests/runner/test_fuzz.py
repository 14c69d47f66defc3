"""Packs as nobody would write them: refused in sentences, never with a traceback."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mctlib import __main__ as commands
from mctlib.contract import DataError, ParameterError
from mctlib.runner.pack import check_pack
from tests.support.project import GOOD, pack_of

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["set", "params", "notebook", "steps", "x"]), inner)
    ),
    max_leaves=6,
)
KEYS = ["dataset", "as_of", "notebooks", "keep", "timeout", "alerts", "1"]
PIECES = st.sampled_from(
    [*"[]{}:,-&*!|>'\"#%@`?", "\n", "  ", "\t", "\0", "\ufeff", "&a ", "*a", "<<: ", "!!int ", "~"]
)


def refused(text):
    Path("params/weekly.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        check_pack("params/weekly.yaml")
    except (DataError, ParameterError) as error:
        assert str(error).strip()


fuzzed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzzed
@given(st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_a_pack_of_any_values(project, content):
    refused(repr(content).replace("None", "null"))


@fuzzed
@given(at=st.integers(0, len(GOOD)), piece=PIECES | st.text(max_size=4), many=st.integers(1, 3))
def test_a_pack_with_a_piece_put_in(project, at, piece, many):
    refused((GOOD[:at] + piece * many + GOOD[at:]).encode("utf-8", "surrogatepass"))


@fuzzed
@given(st.binary(max_size=60))
def test_a_pack_of_any_bytes(project, content):
    refused(content)


@fuzzed
@given(
    name=st.sampled_from(["steps", "window", "by", "before", "hold", "exclude", "drivers"]),
    value=VALUES,
)
def test_a_parameter_of_any_value(project, name, value):
    refused(re.sub(r"\bNaN\b|-?Infinity", "1e999", pack_of("funnel", **{name: value})))


@pytest.mark.parametrize(
    "name", ["...yaml", "store.yaml", "Store.yaml", "index.html.yaml", ".yaml"]
)
def test_a_pack_whose_name_leaves_its_folder_is_refused(project, name):
    (project / f"params/{name}").write_text(GOOD)
    try:
        with pytest.raises(ParameterError, match="cannot name a folder of reports"):
            check_pack(f"params/{name}")
    finally:
        (project / f"params/{name}").unlink()


def test_what_nobody_foresaw_is_a_sentence_and_its_traceback_a_file(project, monkeypatch):
    words_of_the_data = "@".join(["jane", "example.org"])

    def stumble(*_, **__):
        raise KeyError(words_of_the_data)

    monkeypatch.setattr("mctlib.sources.dataset.open_log", stumble)
    result = CliRunner().invoke(commands.main, ["load", "tiny"])
    kept = project / "outputs/error.log"
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        f"Error: This was not foreseen (KeyError). Its traceback is in {kept}.\n"
    )
    assert "in stumble" in kept.read_text() and "jane" not in kept.read_text()
