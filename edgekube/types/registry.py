"""Group, version and kind to class and back. Names of resources, scope and the like are in `resources`."""

from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

import msgspec

from edgekube.types._base import Object
from edgekube.types._kinds import KINDS

T = TypeVar("T", bound=Object)

_PREFIX = "edgekube.types."


class GVK(NamedTuple):
    """Group ("" is core), version and kind."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for core."""
        return f"{self.group}/{self.version}" if self.group else self.version


class UnknownKindError(LookupError):
    """No such kind is built in."""


def split_api_version(api_version: str) -> tuple[str, str]:
    """`apps/v1` -> ("apps", "v1"); `v1` -> ("", "v1")."""
    group, _, version = api_version.rpartition("/")
    return group, version


def group_versions() -> list[tuple[str, str]]:
    """Every built-in (group, version)."""
    return list(KINDS)


def kinds(group: str, version: str) -> list[str]:
    """The kinds of a group-version; empty when it is not built in."""
    return [entry.partition("=")[0] for entry in KINDS.get((group, version), ("", ""))[1].split()]


@cache
def class_of(group: str, version: str, kind: str) -> type[Object]:
    """The class of a kind. Raises UnknownKindError."""
    package, names = KINDS.get((group, version), ("", ""))
    for entry in names.split():
        name, _, where = entry.partition("=")
        if name == kind:
            home, _, cls = (where or package).partition(":")
            found: type[Object] = getattr(import_module(_PREFIX + home), cls or name)
            return found
    raise UnknownKindError(f"no kind {kind!r} in {GVK(group, version, kind).api_version!r}")


@cache
def gvk_of(cls: type) -> GVK:
    """The group, version and kind of a class. Raises UnknownKindError when it is no kind, only part of one."""
    home = cls.__module__.removeprefix(_PREFIX).partition(".")[0]
    for (group, version), (package, names) in KINDS.items():
        for entry in names.split():
            name, _, where = entry.partition("=")
            at, _, alias = (where or package).partition(":")
            if at == home and (alias or name) == cls.__name__:
                return GVK(group, version, name)
    raise UnknownKindError(f"{cls.__module__}.{cls.__name__} is no kind of its own")


def typed(obj: T) -> T:
    """`obj` with its apiVersion and kind filled in; itself when they already are. Raises UnknownKindError."""
    gvk = gvk_of(type(obj))
    held: Any = obj
    if held.apiVersion == gvk.api_version and held.kind == gvk.kind:
        return obj
    return msgspec.structs.replace(obj, apiVersion=gvk.api_version, kind=gvk.kind)
