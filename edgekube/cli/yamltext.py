"""YAML in and out by the rules of Kubernetes' own YAML library (sigs.k8s.io/yaml): JSON's types and no others."""

import json
import re
from typing import Any

import yaml

from edgekube.cli.errors import CliError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class Loader(_Loader):  # type: ignore[misc]
    """Dates and base-60 numbers (`22:22`) stay text; `1e3` is a number, `y` a truth; keys are text."""


class Dumper(_Dumper):  # type: ignore[misc]
    """Text of several lines in literal style; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_STRING = "tag:yaml.org,2002:str"
_KEPT = ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_TRUE = frozenset({"y", "yes", "true", "on"})
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag in _KEPT]
    for first, rows in _Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"(y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE|n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$"),
    list("yYnNtTfFoO"),
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _mapping(loader: Any, node: Any) -> dict[str, Any]:
    loader.flatten_mapping(node)
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, bool):
            key = "true" if key else "false"
        out["null" if key is None else str(key)] = loader.construct_object(value_node, deep=True)
    return out


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node).replace("_", "").lower()
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    for prefix, base in (("0x", 16), ("0b", 2), ("0o", 8)):
        if digits.startswith(prefix):
            return sign * int(digits[2:], base)
    return sign * int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)


def _bool(loader: Any, node: Any) -> bool:
    return loader.construct_scalar(node).lower() in _TRUE


def _float(loader: Any, node: Any) -> float:
    return float(loader.construct_scalar(node))


def _text(dumper: Any, value: str) -> Any:
    style = None
    if "\n" in value:
        style = "|"
    elif value in ("y", "Y", "n", "N") or dumper.resolve(yaml.ScalarNode, value, (True, False)) != _STRING:
        style = '"'  # as Go's library quotes what would be read as something else
    return dumper.represent_scalar(_STRING, value, style=style)


Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
Loader.add_constructor("tag:yaml.org,2002:bool", _bool)
Loader.add_constructor("tag:yaml.org,2002:int", _integer)
Loader.add_constructor("tag:yaml.org,2002:float", _float)
Dumper.add_representer(str, _text)


def load_all(text: str, source: str) -> list[Any]:
    """The documents of a manifest, empty ones left out. Raises CliError that names `source` and the line."""
    if text.lstrip()[:1] == "{":
        try:
            return [json.loads(text)]
        except ValueError:
            pass  # a YAML flow mapping, or several documents
    try:
        return [value for value in yaml.load_all(text, Loader=Loader) if value is not None]
    except (yaml.YAMLError, ValueError) as error:
        raise CliError(f"error parsing {source}: {error}") from None


def dump(value: Any) -> str:
    return str(yaml.dump(value, Dumper=Dumper, sort_keys=True, allow_unicode=True, width=1 << 20))
