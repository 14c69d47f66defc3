"""YAML that means what it looks like."""

from __future__ import annotations

import re
from typing import Any

import yaml


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
