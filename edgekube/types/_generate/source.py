"""The published schema, read from the pinned package, as the definitions of the groups we serve."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from edgekube.types._generate.shape import PACKAGES, SCHEMA_VERSION

Definition = dict[str, Any]


def definitions() -> dict[str, Definition]:
    """Every definition of the published schema by its full name. Raises LookupError when the package is missing."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("the package kubernetes-validate is not installed: run `build.py setup`")
    root = Path(spec.submodule_search_locations[0])
    path = root / "kubernetes-json-schema" / f"v{SCHEMA_VERSION}.0-local" / "_definitions.json"
    found: dict[str, Definition] = json.loads(path.read_bytes())["$defs"]
    return found


def package_of(name: str) -> str | None:
    """The package that a definition belongs to, or None when its group is not served."""
    prefix, _, _ = name.rpartition(".")
    return next((package for package, start in PACKAGES.items() if start == prefix + "."), None)


def short(name: str) -> str:
    """`Pod` of `io.k8s.api.core.v1.Pod`."""
    return name.rpartition(".")[2]


def target(schema: Definition) -> str | None:
    """The definition a `$ref` points to."""
    ref = schema.get("$ref")
    return None if ref is None else str(ref).rpartition("/")[2]


def kind_of(schema: Definition) -> str | None:
    """JSON's type without the null that the source adds to everything optional."""
    found = schema.get("type")
    if isinstance(found, list):
        found = next(item for item in found if item != "null")
    return found
