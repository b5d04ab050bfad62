"""--sort-by: an order for whatever a field holds."""

import re
from collections.abc import Callable
from typing import Any

from edgekube.cli.jsonpath import relaxed

_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_SUFFIX = {None: 1.0, "n": 1e-9, "u": 1e-6, "m": 1e-3}
_SUFFIX |= {name: 1000.0**power for power, name in enumerate("kMGTPE", 1)}
_SUFFIX |= {f"{name}i": 1024.0**power for power, name in enumerate("KMGTPE", 1)}


def sort_key(path: str, obj: Callable[[Any], Any] = lambda each: each) -> Callable[[Any], tuple[int, Any]]:
    """A key function. What has no such field comes first, then numbers and quantities, then text."""
    template = relaxed(path)

    def key(item: Any) -> tuple[int, Any]:
        found = template.find(obj(item))
        return ordered(found[0] if found else None)

    return key


def ordered(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, 0
    if isinstance(value, bool | int | float):
        return 1, value
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        return (1, float(match[1]) * _SUFFIX[match[2]]) if match else (2, value)
    return 2, str(value)
