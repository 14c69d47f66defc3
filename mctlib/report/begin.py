"""How a notebook begins: its data are opened, and its parameters held against them."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Collection
from typing import Any

from mctlib.contract import ParameterError
from mctlib.eventlog.event_log import EventLog
from mctlib.report.declared import Declared, Given, no_parameter, settled
from mctlib.report.parameters import MODELS
from mctlib.sources.dataset import open_log

INJECTED = "# Parameters"  # how the cell begins that papermill adds


def begin(notebook: str, names: dict[str, Any]) -> EventLog:
    """Open the dataset that a notebook's parameters name, and check them against it.

    Periods and days that are told in words become days. Of a dataset other than the demo what
    nobody gave (to papermill) becomes empty, and what stands in the notebook must not be the
    demo's money or days.

    Parameters
    ----------
    notebook : str
        Its name, as in notebooks/<name>.ipynb.
    names : dict
        Its ``globals()``, in which the parameters stand.

    Raises
    ------
    ParameterError, DataError
        One line a mistake, each with the nearest valid word.
    """
    log = open_log(names["dataset"])
    source = _where_said(names.get("In", ()))
    said = _assigned(source) if source else names.keys()
    declared = {key: Declared(Any, None) for key in MODELS[notebook].model_fields}
    given = {key: Given(notebook, names[key]) for key in declared if key in said | {"as_of"}}
    if source.startswith(INJECTED):
        _refuse_unknown(notebook, said, declared)
    names |= settled(notebook, declared, given, notebook, log)
    return log


def _where_said(cells: Any) -> str:
    """The last cell that says which dataset: the notebook's own, or papermill's; "" for none."""
    return next((cell for cell in reversed(cells) if "dataset" in _assigned(cell)), "")


def _assigned(source: str) -> set[str]:
    """The names that a cell gives values to."""
    with contextlib.suppress(SyntaxError):  # of a magic
        lines = [x for x in ast.parse(source).body if isinstance(x, (ast.Assign, ast.AnnAssign))]
        nodes = [node for line in lines for node in ast.walk(line)]
        return {x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    return set()


def _refuse_unknown(notebook: str, said: Collection[str], declared: Collection[str]) -> None:
    """Papermill passes on whatever it is given."""
    known = ["dataset", *declared]
    if wrong := sorted(set(said) - set(known)):
        raise ParameterError("\n".join(no_parameter(notebook, name, known) for name in wrong))
