"""YAML that means what it looks like, as a person wrote it, read within bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1 << 20  # of a YAML: more is no setting but data
MOST_VALUES = 100_000  # once every *alias is written out
DEEPEST = 50
DEEP = f"is nested deeper than {DEEPEST} levels"


class OnceLoader(yaml.SafeLoader):
    """YAML in which a key may stand only once: of two, YAML would silently keep the last."""

    def get_single_node(self) -> yaml.Node | None:
        """As a SafeLoader does, once it is neither too deep nor, written out, too much."""
        try:
            node: yaml.Node | None = super().get_single_node()
        except RecursionError:
            raise yaml.MarkedYAMLError(problem=f"it {DEEP}") from None
        if node is not None:
            self._size(node, {}, 0)
        return node

    def _size(self, node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
        """How many values a node holds; ``sizes`` of those seen, so that each is looked at once."""
        if depth > DEEPEST:  # an alias of what it stands in leads here too
            raise yaml.MarkedYAMLError(problem=f"it {DEEP}", problem_mark=node.start_mark)
        if isinstance(node, yaml.ScalarNode) and re.search("[\ud800-\udfff]", node.value):
            no_text = "a text holds half a character (\\ud800 to \\udfff)"
            raise yaml.MarkedYAMLError(problem=no_text, problem_mark=node.start_mark)
        if id(node) not in sizes:
            parts: list[Any] = node.value if isinstance(node, yaml.CollectionNode) else []
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in parts for part in pair]
            sizes[id(node)] = 1 + sum(self._size(part, sizes, depth + 1) for part in parts)
            if sizes[id(node)] > MOST_VALUES:
                much = f"it holds more than {MOST_VALUES:,} values"
                raise yaml.MarkedYAMLError(problem=much, problem_mark=node.start_mark)
        return sizes[id(node)]

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


class Loader(OnceLoader):
    """YAML 1.2: only true and false are booleans, dates and times are texts.

    What would lose its spelling (010, 1.10) or a value (a key twice) is refused.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}

    def number(self, node: Any) -> int | float:
        """A number, once it can be nothing else."""
        text = node.value
        value = int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
        plain = re.fullmatch(r"[-+]?\d*\.?\d*", text)
        if plain and str(value).removesuffix(".0") != text.removeprefix("+").removesuffix(".0"):
            problem = f'{text} can be a number or a text: write {value} or "{text}"'
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return value


for _tag, _pattern, _first in (
    ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("float", r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?", "-+.0123456789"),
    ("merge", "<<", "<"),
):
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
Loader.add_constructor("tag:yaml.org,2002:float", Loader.number)


def read(path: Path, loader: type[OnceLoader] = OnceLoader) -> Any:
    """What a YAML holds.

    Raises OSError and UnicodeDecodeError, and MarkedYAMLError for whatever else is wrong with it.
    """
    return parse(text_of(path), loader)


def text_of(path: Path) -> str:
    """What stands in a YAML, see `read`."""
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise yaml.MarkedYAMLError(problem="it is larger than 1 MB, so it is no such file")
    return text.decode("utf-8-sig")


def parse(text: str, loader: type[OnceLoader]) -> Any:
    """What the text of a YAML means, see `read`."""
    try:
        return yaml.load(text, loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # what PyYAML stumbles over: 2026-13-01, !!int x
        raise yaml.MarkedYAMLError(problem=f"a value cannot be read ({error})") from None


def fault_of(error: Exception) -> tuple[str, str]:
    """Where in a YAML something is wrong (`" in line 3"`, or nothing), and what."""
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, UnicodeDecodeError):
        return "", "it is not UTF-8"
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f" in line {mark.line + 1}" if mark else "", problem


def sound(content: dict[str, Any], faults: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What is left without the fields, or entries of a field, that a model finds ``faults`` with.

    So the rest can be looked at too, and all that is wrong be told at once.
    """
    wrong: dict[Any, set[Any]] = {}
    for fault in faults:
        field, *entry = fault["loc"][:2]
        wrong.setdefault(field, set()).update(entry or [None])
    left: dict[str, Any] = {}
    for field, value in content.items():
        entries = value if isinstance(value, dict) else {}
        if isinstance(value, list):
            entries = dict(enumerate(value))
        if field not in wrong and isinstance(field, str):
            left[field] = value
        elif field in wrong and wrong[field] <= entries.keys():
            kept = {key: entry for key, entry in entries.items() if key not in wrong[field]}
            left[field] = list(kept.values()) if isinstance(value, list) else kept
    return left
