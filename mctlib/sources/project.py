"""Where a project is, and the YAMLs of its datasets."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from mctlib.contract import ParameterError, nearest
from mctlib.eventlog.pseudonyms import checkout


class OnceLoader(yaml.SafeLoader):
    """YAML in which a key may stand only once: of two, YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """As a SafeLoader does, once no key stands again."""
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f'the key "{key.value}" stands here again', problem_mark=key.start_mark
                )
            seen.append(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def project_root() -> Path:
    """The nearest folder that holds `params/`, from the working directory upwards.

    Raises ParameterError when there is none.
    """
    if found := checkout():
        return found
    here = Path.cwd()
    raise ParameterError(f"No project found: neither {here} nor a folder above it holds params/.")


def stores(root: Path) -> Path:
    """Where the stores of a project are."""
    return root / "outputs" / "store"


def yamls(root: Path) -> list[Path]:
    """The YAMLs of a project's datasets."""
    return list((root / "params").glob("data.*.yaml"))


def yaml_of(dataset: str | Path, root: Path) -> Path:
    """The YAML of a dataset by its name, or itself. Raises ParameterError: there is none."""
    named = root / "params" / f"data.{dataset}.yaml"
    path = Path(dataset) if str(dataset).endswith((".yaml", ".yml")) else named
    if not path.is_file():
        known = [_name_in(other) for other in yamls(root)]
        names = ", ".join(sorted(known)) or "none yet"
        near = nearest(_name_in(path), known) or f" Its datasets are: {names}."
        raise ParameterError(f'dataset: there is no "{dataset}" in params/ of {root}.{near}')
    return path


def _name_in(path: Path) -> str:
    return path.name.removeprefix("data.").removesuffix(".yaml")


def says_name(path: Path, name: str) -> bool:
    """Whether the dataset in a YAML has this name."""
    with suppress(yaml.YAMLError, UnicodeDecodeError, AttributeError):
        return bool(yaml.safe_load(path.read_text(encoding="utf-8")).get("name") == name)
    return False
