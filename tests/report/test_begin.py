"""How a notebook begins: parameters as papermill, JupyterLab and a run leave them in its cells."""

import pytest
import yaml

from mctlib.contract import ParameterError
from mctlib.report import begin
from mctlib.report.parameters import OF_THE_DEMO
from tests.support.project import ASKED, ROOT

DEMOS = {name: yaml.safe_load((ROOT / f"params/{name}.yaml").read_text()) for name in ASKED}
CELL = "\n".join(f"{key}: object = {value!r}" for key, value in DEMOS["roi"].items())
CELL = f'dataset: str = "demo"\nas_of: str = "2026-07-05"\n{CELL}'


def names(*cells):
    """What stands in a notebook after its cells."""
    found = {"In": ["", *cells, 'log = report.begin("roi", globals())']}
    for cell in cells:
        exec(cell, found)
    return found


def injected(**given):
    """A cell as papermill writes it."""
    return "\n".join(["# Parameters", *(f"{key} = {value!r}" for key, value in given.items())])


GIVEN = ASKED["roi"] | {"dataset": "tiny", "as_of": "2026-03-31"}


def test_what_papermill_was_not_given_is_empty(project):
    found = names(CELL, injected(**GIVEN))
    assert begin("roi", found).name == "tiny"
    assert (found["value"], found["cost"], found["wish"]) == (None, None, 0)
    assert (found["treated"], found["window"]) == ("ios", "14d")


def test_what_papermill_must_be_given(project):
    given = {key: value for key, value in GIVEN.items() if key not in ("start", "change_at")}
    with pytest.raises(ParameterError, match='needs "start" and "change_at", which are not given'):
        begin("roi", names(CELL, injected(**given)))


def test_a_misspelt_event_is_an_error_in_plain_papermill(project):
    with pytest.raises(ParameterError, match='Did you mean "profile_completed"'):
        begin("roi", names(CELL, injected(**GIVEN | {"success": "profile_complete"})))


def test_money_of_the_demo_that_was_left_standing_is_refused(project):
    edited = "\n".join(f"{key} = {value!r}" for key, value in (DEMOS["roi"] | GIVEN).items())
    with pytest.raises(ParameterError, match='roi: "value" and "cost" of roi are the demo\'s; wri'):
        begin("roi", names(edited))
    with pytest.raises(ParameterError, match='"value" and "cost" of roi are the demo\'s'):
        begin("roi", names(CELL, f"# Parameters\n{edited}"))
    found = names(edited.replace("value = 45.0", "value = 30.0").replace("12000.0", "None"))
    begin("roi", found)
    assert (found["value"], found["cost"]) == (30.0, None)


def test_the_demos_days_and_money_are_those_of_its_parameters():
    for notebook, groups in OF_THE_DEMO.items():
        for key, value in (item for group in groups for item in group.items()):
            assert DEMOS[notebook][key] == value


def test_papermill_is_told_what_no_parameter_is(project):
    with pytest.raises(ParameterError, match='roi has no parameter "valeu". Did you mean "value"?'):
        begin("roi", names(CELL, injected(**GIVEN, valeu=9)))
    with pytest.raises(ParameterError, match=r'"xyz". It has dataset, .*start, success, .*wish'):
        begin("roi", names(CELL, injected(**GIVEN, xyz=9)))


def test_words_become_days(project):
    given = ASKED["funnel"] | {"dataset": "tiny", "as_of": "2026-03-31", "window": "1d"}
    found = names(injected(**given | {"after": "last 1w", "before": "previous 1w"}))
    begin("funnel", found)
    assert found["after"] == ["2026-03-23", "2026-03-29"]
    assert found["before"] == ["2026-03-16", "2026-03-22"]
