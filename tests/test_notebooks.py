"""Every notebook is held to the house rules, and runs under plain papermill."""

import ast
import re
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from nbconvert.preprocessors import ExecutePreprocessor
from nbformat.v4 import new_code_cell

from mctlib import run_pack
from mctlib.contract import ParameterError
from mctlib.report.parameters import MODELS
from tests.refresh_notebooks import asked
from tests.support.browser import CHROMIUM, table_widths
from tests.support.project import ROOT

COMPUTING = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.Lambda,
    ast.For,
    ast.While,
    ast.ListComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.Try,
    ast.With,
)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CELL = 1150  # pixels of JupyterLab's window of 1280 that its side bar and prompts leave
SHOW = """
from IPython.display import display
from mctlib.results import Result
for value in [*globals().values()]:
    for found in value if type(value) is list else [value]:
        if isinstance(found, Result):
            display(found, *map(found.view, found.views))
"""


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [c for c in read(path).cells if c.cell_type == "code"]


def tagged(path, tag):
    return [c for c in code(path) if tag in c.metadata.get("tags", [])]


@pytest.fixture(params=NOTEBOOKS, ids=lambda p: p.stem)
def path(request):
    return request.param


def parameters_of(path):
    """What params/<notebook>.yaml sets; the guide asks nothing."""
    file = ROOT / "params" / f"{path.stem}.yaml"
    return yaml.safe_load(file.read_text()) if path.stem in MODELS else {}


def test_there_is_a_notebook_for_each_question_and_a_guide():
    assert {p.stem for p in NOTEBOOKS} == {*MODELS, "guide"}


def test_only_those_are_refreshed_that_are_named():
    assert asked([]) == NOTEBOOKS
    assert [path.stem for path in asked(["roi", "audit"])] == ["roi", "audit"]
    with pytest.raises(ParameterError, match='"funel" is not one of .*Did you mean "funnel"'):
        asked(["funel"])


@pytest.mark.parametrize("name", MODELS)
def test_one_name_four_places(name):
    for place in (
        f"mctlib/{name}/__init__.py",
        f"params/{name}.yaml",
        f"tests/{name}/__init__.py",
    ):
        assert (ROOT / place).exists(), place


def test_opens_with_its_question_and_closes_with_its_finding(path):
    cells = read(path).cells
    assert cells[0].cell_type == "markdown" and re.match(r"# .+\?\n", cells[0].source)
    assert read(path).metadata.title == cells[0].source.splitlines()[0][2:]
    assert tagged(path, "finding") == [cells[-1]]
    assert "# NBVAL_CHECK_OUTPUT" in cells[-1].source and "report.finding(" in cells[-1].source


def test_parameters_are_one_cell_each_typed_and_explained(path):
    (cell,) = tagged(path, "parameters")
    assert code(path)[0] == cell
    for line in cell.source.splitlines():
        assert re.fullmatch(r"[a-z_]+: (str|int|float|bool|list|dict|object) = .+  # .+", line), (
            line
        )
    names = re.findall(r"^([a-z_]+):", cell.source, re.M)
    assert set(parameters_of(path)) <= set(names)


def test_composes_and_never_computes(path):
    cells = code(path)
    imports = [bool(re.search(r"^(from|import) ", c.source, re.M)) for c in cells]
    assert imports == [False, True] + [False] * (len(cells) - 2)
    for cell in cells:
        nodes = ast.walk(ast.parse(cell.source))
        assert not [node for node in nodes if isinstance(node, COMPUTING)], cell.source
        lines = cell.source.splitlines()
        # a parameter is one typed line, and the question of roi has 19
        most = 19 if "parameters" in cell.metadata.get("tags", []) else 10
        assert len(lines) <= most and max(map(len, lines)) <= 160, cell.source


def test_words_stand_before_each_picture_and_table(path):
    cells = read(path).cells
    for before, cell in zip(cells, cells[1:]):
        if cell.cell_type == "code" and re.search(
            r"report\.(figure|table|header|finding)\(", cell.source
        ):
            assert before.cell_type == "markdown", cell.source


def test_keeps_no_output_but_the_text_of_its_finding(path):
    for cell in code(path):
        if "finding" in cell.metadata.get("tags", []):
            (output,) = cell.outputs
            assert set(output.data) == {"text/markdown"} and len(str(output)) < 2500
            assert cell.execution_count, "a cell that was never executed is compared with nothing"
        else:
            assert not cell.outputs and cell.execution_count is None


@pytest.mark.integration
def test_nbconvert_gives_the_same_finding_where_editors_begin(path, monkeypatch, tmp_path):
    """As an editor runs it: in the notebook's own folder, with its own defaults.

    No table is wider than the cell that shows it, nor is any view of any result.
    """
    monkeypatch.chdir(path.parent)
    done = read(path)
    done.cells.append(new_code_cell(SHOW))
    ExecutePreprocessor(timeout=600).preprocess(done, {"metadata": {"path": str(path.parent)}})
    kept, run = (n.outputs[0].data["text/markdown"] for n in (read(path).cells[-1], done.cells[-2]))
    assert run == kept
    if CHROMIUM:
        shown = [output.data.get("text/html", "") for output in done.cells[-1].outputs]
        tables = table_widths(done, tmp_path)
        assert len(tables) >= sum("<table" in text for text in shown) >= 1
        assert not [(begins, width) for begins, width in tables if width > CELL]


@pytest.mark.integration
def test_a_run_gives_the_same_finding(tmp_path, monkeypatch):
    """The pack asks what the notebooks' own defaults ask."""
    monkeypatch.chdir(ROOT)
    asked = {name: {"params": f"params/{name}.yaml"} for name in MODELS} | {"guide": {}}
    pack = {"dataset": "demo", "as_of": "latest", "notebooks": asked}
    (tmp_path / "same.yaml").write_text(yaml.safe_dump(pack))
    record = run_pack(tmp_path / "same.yaml", outputs=tmp_path / "outputs")
    assert record.status == "good"
    for report in record.notebooks:
        run = read(Path(record.folder) / f"{report.name}.ipynb").cells[-1].outputs[0]
        (kept,) = read(ROOT / f"notebooks/{report.name}.ipynb").cells[-1].outputs
        assert run.data["text/markdown"] == kept.data["text/markdown"], report.name


@pytest.mark.integration
def test_runs_under_plain_papermill_from_the_root(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = papermill.execute_notebook(
        path, tmp_path / "out.ipynb", parameters=parameters_of(path), progress_bar=False
    )
    assert {c.metadata.papermill.status for c in done.cells if c.cell_type == "code"} == {
        "completed"
    }
    kept, run = (n.cells[-1].outputs[0].data["text/markdown"] for n in (read(path), done))
    assert run == kept, (
        "the parameters file holds the notebook's own defaults, so the finding is the committed one"
    )
