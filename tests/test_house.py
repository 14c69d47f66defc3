"""The floors of the house: that importing costs little, and that rooms and sentences keep a size.

Who may import whom is held by import-linter (pyproject.toml).
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mctlib

PACKAGE = Path(mctlib.__file__).parent
HEAVY = (
    "IPython",
    "duckdb",
    "lifelines",
    "matplotlib",
    "nbconvert",
    "numba",
    "numpy",
    "pandas",
    "papermill",
    "pyarrow",
    "scipy",
    "seaborn",
    "statsmodels",
)
LINES_OF_A_FILE, COLUMNS = 400, 100
LINES_OF_A_FUNCTION = 60  # without its docstring
LINES_OF_A_DOCSTRING = 45
COLUMNS_OF_A_DOCUMENT = 120
DOCUMENTS = [
    "README.md",
    ".github/CONTRIBUTING.md",
    "mctlib/CHANGELOG.md",
    "mctlib/README.md",
    "params/README.md",
    "tests/exports/README.md",
]


def lines_of_files():
    """The package's files by their name within it, and their lines."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(p.relative_to(PACKAGE)): p.read_text("utf-8").splitlines() for p in paths}


def sizes_of_functions():
    """Lines of code (of a class none) and of the docstring of all that is named, by its place."""
    found = {}
    for file, lines in FILES.items():
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                first = min(part.lineno for part in (node, *node.decorator_list))
                n_docs = 0
                if ast.get_docstring(node) is not None:
                    n_docs = node.body[0].end_lineno - node.body[0].lineno + 1
                n_lines = node.end_lineno - first + 1 - n_docs
                size = (0 if isinstance(node, ast.ClassDef) else n_lines, n_docs)
                place = f"{file}: {node.name}"  # of several of one name the largest
                found[place] = max(size, found.get(place, size))
    return found


FILES = lines_of_files()
FUNCTIONS = sizes_of_functions()


def test_every_public_name_is_there_and_documented():
    for name in set(mctlib.__all__) - {"ANY", "RULES"}:
        assert getattr(mctlib, name).__doc__, name


def loaded_by(code):
    """Which of the heavy libraries a fresh process has loaded after running ``code``."""
    code = f"{code}; import sys; print(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_the_package_loads_no_heavy_library():
    assert loaded_by("import mctlib") == []


def test_a_public_name_is_loaded_when_it_is_first_used():
    loaded = loaded_by("import mctlib; mctlib.Step")
    assert "pandas" in loaded  # of the contract
    assert not {"numba", "duckdb", "scipy", "matplotlib"} & set(loaded)


def test_the_pictures_are_there_without_an_import_of_their_own():
    assert "matplotlib" in loaded_by("import mctlib; mctlib.plots.plot_windows")


def test_a_typo_in_a_notebook_ends_in_one_sentence():
    code = "from mctlib import Step, open_log; open_log('deom')"
    asked = [sys.executable, "-m", "IPython", "--colors=NoColor", "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, cwd=PACKAGE.parent)
    (told,) = (done.stdout + done.stderr).strip().splitlines()
    assert told.startswith("ParameterError: ") and 'Did you mean "demo"?' in told


def test_the_top_level_is_what_the_user_asked_for():
    shown = {
        path.name
        for path in PACKAGE.parent.iterdir()
        if not path.name.startswith(".") and not path.name.endswith(".egg-info")
    }
    files = {"README.md", "requirements.txt", "pyproject.toml", "Makefile"}
    assert shown == files | {"notebooks", "mctlib", "params", "tests", "outputs"}


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_one_room(file):
    wide = [number for number, line in enumerate(FILES[file], 1) if len(line) > COLUMNS]
    assert not wide, f"{file} is wider than {COLUMNS} columns in lines {wide}"
    assert len(FILES[file]) <= LINES_OF_A_FILE, f"{file} has {len(FILES[file])} lines"


# Private names that tests use, and why the public way to them is too long.
EXCEPTIONS = {
    ("scorecard/test_scorecard.py", "_everything"),  # of judged weeks: each case a log of its own
    ("alerts/test_sending.py", "_known"),  # of alerts that were over for weeks: a long log each
}
THEIRS = {"_repr_html_", "_replace"}  # names that IPython and namedtuples give


def private_names(file):
    """Of a test, the private names that it imports, reads of something else or patches."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls"):
            yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setattr"):
            told = (arg.value for arg in node.args if isinstance(arg, ast.Constant))
            yield from (name.split(".")[-1] for name in told if isinstance(name, str))


def test_tests_use_public_names():
    folder = PACKAGE.parent / "tests"
    found = {
        (str(file.relative_to(folder)), name)
        for file in folder.rglob("*.py")
        for name in private_names(file)
        if name.startswith("_") and not name.startswith("__") and name not in THEIRS
    }
    assert found == EXCEPTIONS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_document_is_no_wider_than_a_screen(document):
    lines = (PACKAGE.parent / document).read_text("utf-8").splitlines()
    assert [n for n, line in enumerate(lines, 1) if len(line) > COLUMNS_OF_A_DOCUMENT] == []


@pytest.mark.parametrize("file", FILES)
def test_a_function_is_one_idea(file):
    mine = {place: size for place, size in FUNCTIONS.items() if place.startswith(f"{file}: ")}
    long = {place: n for place, (n, _) in mine.items() if n > LINES_OF_A_FUNCTION}
    assert not long, f"lines of these functions: {long}"
    told = {place: n for place, (_, n) in mine.items() if n > LINES_OF_A_DOCSTRING}
    assert not told, f"lines of these docstrings: {told}"


def kernels_of(tree):
    """Functions that numba compiles, and whether each has a signature: is compiled at import."""
    for node in ast.walk(tree):
        for mark in getattr(node, "decorator_list", ()):
            name = mark.func if isinstance(mark, ast.Call) else mark
            if getattr(name, "id", "") in ("njit", "inlined"):
                yield node, bool(getattr(mark, "args", ()))


def test_no_report_waits_for_a_kernel():
    trees = {file: ast.parse("\n".join(lines)) for file, lines in FILES.items()}
    lazy = {k.name for tree in trees.values() for k, signed in kernels_of(tree) if not signed}
    assert "_go_on" in lazy  # kernels alone call these, and compile them with themselves
    for file, tree in trees.items():
        within = {id(part) for kernel, _ in kernels_of(tree) for part in ast.walk(kernel)}
        known = {k.name for k, _ in kernels_of(tree)}
        known |= {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
        called = {
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if id(node) not in within
        }
        assert not called & lazy & known, f"{file}: these need a signature"
