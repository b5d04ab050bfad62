"""Loaded at the start of a node that a test wants counted: at SIGUSR2 it writes down what the process holds.

Two counts, as JSON to the file that EDGEKUBE_CENSUS names: live objects by class, and the lengths of all containers
that belong to EdgeKube, be it as an attribute, as a module's variable, or as a variable of a function that waits.
"""

import functools
import gc
import json
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, ModuleType
from typing import Any

SIZED = (dict, list, set, frozenset, tuple, deque, bytearray)


def census() -> dict[str, dict[str, int]]:
    gc.collect()
    gc.unfreeze()
    objects, lengths = Counter[str](), Counter[str]()
    for found in gc.get_objects():
        kind = type(found)
        if isinstance(found, (CoroutineType, AsyncGeneratorType)):
            frame = found.cr_frame if isinstance(found, CoroutineType) else found.ag_frame
            if frame is not None and "/edgekube/" in frame.f_code.co_filename:
                objects[f"running {found.__qualname__}"] += 1
                measure(lengths, found.__qualname__, iter(frame.f_locals.items()))
        elif isinstance(found, functools._lru_cache_wrapper):
            if found.__module__.startswith("edgekube."):
                lengths[f"cache of {found.__qualname__}"] += found.cache_info().currsize
        elif not isinstance(found, (type, FrameType)):
            name = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind.__module__, str) else kind.__qualname__
            objects[name] += 1
            if name.startswith("edgekube."):
                measure(lengths, name, attributes(found))
            elif isinstance(found, ModuleType) and found.__name__.startswith("edgekube."):
                measure(lengths, found.__name__, iter(list(vars(found).items())))
    return {"objects": objects, "lengths": lengths}


def attributes(found: Any) -> Iterator[tuple[str, Any]]:
    yield from list(getattr(found, "__dict__", {}).items())
    for kind in type(found).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            try:
                yield name, getattr(found, name)
            except AttributeError:
                continue


def measure(lengths: Counter[str], owner: str, named: Iterator[tuple[str, Any]]) -> None:
    for name, value in named:
        if isinstance(value, SIZED):
            lengths[f"{owner}.{name}"] += len(value)
            for inner in list(value.values() if isinstance(value, dict) else value)[:100_000]:
                if isinstance(inner, SIZED):
                    lengths[f"{owner}.{name}[]"] += len(inner)


def write(*_: object) -> None:
    path = os.environ["EDGEKUBE_CENSUS"]
    with open(f"{path}.new", "w") as file:
        json.dump(census(), file)
    os.replace(f"{path}.new", path)


if "EDGEKUBE_CENSUS" in os.environ and "run" in sys.orig_argv:
    signal.signal(signal.SIGUSR2, write)
