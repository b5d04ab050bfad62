"""Packages whose classes are made only when somebody asks for them (PEP 562)."""

from collections.abc import Callable, Mapping
from importlib import import_module
from sys import modules
from typing import Any


def lazy(package: str, members: Mapping[str, str]) -> Callable[[str], Any]:
    """A module `__getattr__` for `package`; `members` maps each submodule to the names it holds, space-separated."""

    def load(name: str) -> Any:
        for module, names in members.items():
            if name in names.split():
                value = getattr(import_module(f"{package}.{module}"), name)
                setattr(modules[package], name, value)
                return value
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load
