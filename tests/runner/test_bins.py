"""Numbers in bins, and people's own columns, in a pack: checked, run, and in the tables."""

import pandas as pd
import pytest

from mctlib.contract import ParameterError
from mctlib.runner.pack import check_pack
from tests.support.project import make_project, mctlib, pack_of


@pytest.fixture(scope="module")
def seats(tmp_path_factory):
    """The tiny project, whose 40 users have 0 to 39 seats and come from DE and FR in halves."""
    root = make_project(tmp_path_factory.mktemp("bins") / "project")
    rows = [f"u{user},{user}.0,{'DE' if user < 20 else 'FR'}" for user in range(40)]
    (root / "exports/people.csv").write_text("\n".join(["user_id,seats,country", *rows]))
    with (root / "params/data.tiny.yaml").open("a") as described:
        described.write("people: {path: exports/people.csv}\n")
    return root


def check(root, monkeypatch, notebook, **settings):
    monkeypatch.chdir(root)
    (root / "params/weekly.yaml").write_text(pack_of(notebook, **settings))
    return check_pack("params/weekly.yaml")


@pytest.mark.parametrize(
    ("notebook", "settings"),
    [
        ("funnel", {"by": {"seats": [10, 20]}, "change_by": "country"}),
        ("activation", {"by": {"seats": [10]}, "reference": ["10 or more"], "adjust": ["country"]}),
        ("activation", {"adjust": [{"seats": [10]}], "strata": ["country"]}),
        ("roi", {"by": {"seats": [20]}, "treated": "below 20"}),
        ("roi", {"arms": "country", "arms_reference": "DE"}),
    ],
)
def test_bins_and_own_columns_pass_the_check(seats, monkeypatch, notebook, settings):
    check(seats, monkeypatch, notebook, **settings)


@pytest.mark.parametrize(
    ("notebook", "settings", "said"),
    [
        ("funnel", {"by": {"seat": [10]}}, 'Did you mean "seats"'),
        ("funnel", {"by": {"country": [10]}}, '"country" cannot be put into bins'),
        (
            "activation",
            {"by": {"seats": [10]}, "reference": ["10 and more"]},
            'is no segment of "seats". Did you mean "10 or more"',
        ),
        (
            "activation",
            {"by": "seats", "reference": [], "adjust": [{"seats": [10]}]},
            '"seats" stands under "by" already',
        ),
    ],
)
def test_a_wrong_bin_or_column_is_named(seats, monkeypatch, notebook, settings, said):
    with pytest.raises(ParameterError) as told:
        check(seats, monkeypatch, notebook, **settings)
    assert said in str(told.value)


@pytest.mark.integration
def test_a_run_counts_by_bins(seats):
    pack = pack_of("funnel", by={"seats": [20]}, change_by={"seats": [20]})
    (seats / "params/weekly.yaml").write_text(pack)
    done = mctlib(seats, "run", "params/weekly.yaml")
    assert done.returncode == 0, done.stderr
    assert "unknown parameter" not in done.stderr  # papermill reads the cell's types as well
    (table,) = seats.glob("outputs/weekly/2*/tables/funnel/segments.csv")
    segments = pd.read_csv(table).set_index("segment")["n_entered"]
    assert segments.to_dict() == {"20 or more": 20, "below 20": 20}
