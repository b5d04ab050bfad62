"""YAML as JSON values: PyYAML's C parser, JSON's types only, limits on nodes and depth.

PyYAML composes nodes by recursion in C, without a limit: 100 kB of `[` end the process. So the events, which are read
without recursion, are looked at first. They also tell how large the document is once its aliases are written out.
"""

from typing import Any

import yaml

DEPTH_MAX = 100

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """SafeLoader with YAML 1.1's surprises left out as sigs.k8s.io/yaml does: dates stay text, keys become text."""

    nodes_left = 0

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            raise ValueError("the document has too many nodes")
        return super().construct_object(node, deep=deep)


def _text(loader: Any, node: Any) -> str:
    return str(loader.construct_scalar(node))


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    loader.flatten_mapping(node)
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, bool):
            key = "true" if key else "false"
        elif key is None or isinstance(key, dict | list):
            raise ValueError(f"line {key_node.start_mark.line + 1}: a key must be a scalar")
        result[str(key)] = loader.construct_object(value_node, deep=True)
    return result


for _tag in ("timestamp", "binary"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_tag}", _text)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def _measure(text: str, nodes_max: int) -> None:
    """Raises ValueError for a document that is too deep, or too large with its aliases written out."""
    loader = _Loader(text)
    try:
        sizes: dict[str, int] = {}  # nodes below an anchor
        open_: list[tuple[str | None, int]] = []  # anchor and the count where its collection began
        count = 0
        while (event := loader.get_event()) is not None:
            match event:
                case yaml.AliasEvent():
                    count += sizes.get(event.anchor or "", 1)
                case yaml.ScalarEvent():
                    count += 1
                    if event.anchor:
                        sizes[event.anchor] = 1
                case yaml.CollectionStartEvent():
                    open_.append((event.anchor, count))
                    count += 1
                    if len(open_) > DEPTH_MAX:
                        raise ValueError(f"the document is nested deeper than {DEPTH_MAX} levels")
                case yaml.CollectionEndEvent():
                    anchor, began = open_.pop()
                    if anchor:
                        sizes[anchor] = count - began
            if count > nodes_max:
                raise ValueError("the document has too many nodes")
    finally:
        loader.dispose()


def load(text: str, *, nodes_max: int) -> Any:
    """The single document of `text`. Raises yaml.YAMLError or ValueError."""
    _measure(text, nodes_max)
    loader = _Loader(text)
    loader.nodes_left = nodes_max
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
