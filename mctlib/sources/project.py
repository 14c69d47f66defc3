"""Where a project is, the YAMLs of its datasets, and the files they name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from mctlib.contract import DataError, ParameterError, nearest
from mctlib.eventlog.pseudonyms import checkout
from mctlib.strict_yaml import fault_of, read


def project_root() -> Path:
    """The nearest folder that holds `params/`, from the working directory upwards.

    Raises ParameterError when there is none.
    """
    if found := checkout():
        return found
    here = Path.cwd()
    raise ParameterError(f"No project found: neither {here} nor a folder above it holds params/.")


def store_folder(root: Path) -> Path:
    """Where the stores of a project are."""
    return root / "outputs" / "store"


def yaml_of(dataset: str | Path, root: Path) -> Path:
    """The YAML of a dataset by its name, or itself.

    Raises ParameterError: there is none, or it is not in params/, where one name is one dataset.
    """
    params = root / "params"
    named = params / f"data.{dataset}.yaml"
    path = Path(dataset) if str(dataset).endswith((".yaml", ".yml")) else named
    if path.parent.resolve() != params.resolve():
        raise ParameterError(f'dataset: "{dataset}" is not in {params}, where datasets stand.')
    if not path.is_file():
        known = [name_in(other) for other in params.glob("data.*.yaml")]
        names = ", ".join(sorted(known))
        new = f"none yet; draft one: python -m mctlib new data {name_in(path)} FILES"
        near = nearest(name_in(path), known) or f" Its datasets are: {names or new}."
        raise ParameterError(f'dataset: there is no "{dataset}" in params/ of {root}.{near}')
    return path


def name_in(path: Path) -> str:
    """The name that a file gives to its dataset: x of data.x.yaml."""
    return path.stem.removeprefix("data.")


def plan_yaml(dataset: str, said: str | None, root: Path) -> Path | None:
    """The YAML of a dataset's tracking plan: what its own YAML says, or else the one of its name.

    None: it has none. Raises DataError: the one that it says is not there.
    """
    path = root / (said or f"params/plan.{dataset}.yaml")
    if said and not path.is_file():
        near = nearest(path.name, [other.name for other in path.parent.glob("*.yaml")])
        raise DataError(f'data.{dataset}.yaml: plan: there is no "{said}" in {root}.{near}')
    return path if path.is_file() else None


def content_of(path: Path) -> dict[str, Any]:
    """What a YAML holds. Raises DataError: it is none, is empty, or no mapping."""
    try:
        content = read(path)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line, problem = fault_of(error)
        raise DataError(f"{path.name} is not valid YAML{line}: {problem}.") from None
    if not isinstance(content, dict):
        fault = "is empty. Write into it" if content is None else "must be a mapping such as"
        raise DataError(f"{path.name} {fault}  name: ..., events: {{path: ...}}.")
    return content


def paths_of(named: Sequence[str], root: Path) -> list[Path]:
    """The files that paths and globs mean, in order of their names.

    Raises DataError: one of them means none.
    """
    found: dict[Path, None] = {}
    for written in named:
        exact = (root / written).is_file()
        # Path.glob takes no absolute pattern
        meant = [written] if exact else glob(written, root_dir=root, recursive=True)  # noqa: PTH207
        paths = sorted(root / path for path in meant if (root / path).is_file())
        if not paths and (root / written).is_dir():
            raise DataError(f'"{written}" is a folder. Name its files, as in "{written}/*.csv".')
        if not paths and any(sign in written for sign in "*?["):
            raise DataError(f'No file matches "{written}" in {root}.')
        if not paths:
            folder = (root / written).parent
            there = [path.name for path in folder.iterdir()] if folder.is_dir() else []
            near = nearest(Path(written).name, there)
            raise DataError(f'The file "{written}" does not exist in {root}.{near}')
        found |= dict.fromkeys(paths)
    return list(found)


def shown(path: str | Path) -> str:
    """A file as its reader would name it: relative to where they stand, if it lies below."""
    below = Path(path).resolve().is_relative_to(Path.cwd())
    return os.path.relpath(path) if below else str(path)
