"""Where a project is, and the YAMLs of its datasets."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mctlib.contract import DataError, ParameterError, nearest
from mctlib.strict_yaml import fault_of, read


def project_root() -> Path:
    """The nearest folder that holds `params/`, from the working directory upwards.

    Raises ParameterError when there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir():
            return folder
    raise ParameterError(f"No project found: neither {here} nor a folder above it holds params/.")


def yamls(root: Path) -> list[Path]:
    """The YAMLs of a project's datasets."""
    return list((root / "params").glob("data.*.yaml"))


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
        known = [_name_in(other) for other in yamls(root)]
        names = ", ".join(sorted(known)) or "none yet"
        near = nearest(_name_in(path), known) or f" Its datasets are: {names}."
        raise ParameterError(f'dataset: there is no "{dataset}" in params/ of {root}.{near}')
    return path


def _name_in(path: Path) -> str:
    return path.name.removeprefix("data.").removesuffix(".yaml")


def plan_yaml(dataset: str, said: str | None, root: Path) -> Path | None:
    """The YAML of a dataset's tracking plan: what its own YAML says, or else the one of its name.

    None: it has none. Raises DataError: the one that it says is not there.
    """
    path = root / (said or f"params/plan.{dataset}.yaml")
    if said and not path.is_file():
        near = nearest(path.name, [other.name for other in path.parent.glob("*.yaml")])
        raise DataError(f'data.{dataset}.yaml: plan: there is no "{said}" in {root}.{near}')
    return path if path.is_file() else None


def says_name(path: Path, name: str) -> bool:
    """Whether the dataset in a YAML has this name."""
    with suppress(yaml.YAMLError, OSError, UnicodeDecodeError, AttributeError):
        return bool(read(path).get("name") == name)
    return False


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
