"""/metrics: every subsystem's `statistics()` value as Prometheus text (exposition format 0.0.4)."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Statistics = Callable[[], Any]  # a Struct or mapping of numbers, nested; sequences and text are left out


def render(sources: Mapping[str, Statistics]) -> bytes:
    """One metric a number: `edgekube_SOURCE_FIELD`. Fields ending in `_total` are counters, all others gauges.

    A mapping with other keys than identifiers becomes one metric labelled `key`.
    """
    lines: list[str] = []
    for source, statistics in sorted(sources.items()):
        for name, labels, value in _flatten(f"edgekube_{source}", msgspec.to_builtins(statistics())):
            kind = "counter" if name.endswith("_total") else "gauge"
            header = f"# TYPE {name} {kind}"
            if not labels or not lines or not lines[-1].startswith(name + "{"):
                lines.append(header)
            lines.append(f"{name}{labels} {float(value):g}" if isinstance(value, float) else f"{name}{labels} {value}")
    return ("\n".join(lines) + "\n").encode()


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, str, int | float]]:
    if isinstance(value, bool):
        yield prefix, "", int(value)
    elif isinstance(value, (int, float)):
        yield prefix, "", value
    elif isinstance(value, dict):
        for key, item in value.items():
            if str(key).isidentifier():
                yield from _flatten(f"{prefix}_{key}", item)
            elif isinstance(item, (int, float)):
                escaped = str(key).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
                yield prefix, f'{{key="{escaped}"}}', int(item) if isinstance(item, bool) else item
