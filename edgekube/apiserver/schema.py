"""How the fields of a kind merge: one node per field, compiled on first use from the types and their patch metadata.

Strategic merge patch reads the merge strategy and key of a list (Kubernetes' x-kubernetes-patch-*), server-side apply
and managedFields the list and map types (x-kubernetes-list-type, -list-map-keys, -map-type; KEP-555). Both read the
same nodes.
"""

import types
import typing
from collections.abc import Mapping
from enum import IntEnum
from functools import cache
from typing import Any

import msgspec

from edgekube.types._patchmeta import ROWS


class Shape(IntEnum):
    SCALAR = 0
    STRUCT = 1  # known fields
    MAP = 2  # any keys, one element node
    LIST = 3
    ANY = 4  # no schema: shapes are deduced from the value, lists are atomic


class ListType(IntEnum):
    ATOMIC = 0
    SET = 1
    MAP = 2


class Node:
    """One field: its shape, its children and how it merges. Never changed after it is built."""

    __slots__ = (
        "_cls", "_fields", "atomic", "elem", "keys", "list_is_leaf", "list_type", "merge", "merge_key", "opaque",
        "retain_keys", "shape",
    )  # fmt: skip

    def __init__(
        self,
        shape: Shape,
        *,
        cls: type | None = None,
        elem: "Node | None" = None,
        atomic: bool = False,
        list_type: ListType = ListType.ATOMIC,
        keys: tuple[str, ...] = (),
        merge: bool = False,
        merge_key: str = "",
        retain_keys: bool = False,
    ) -> None:
        self.shape = shape
        self.elem = elem
        self.atomic = atomic  # owned and replaced as one value by server-side apply
        self.opaque = atomic or shape is Shape.SCALAR  # no path leads into its values
        self.list_is_leaf = shape is not Shape.LIST or list_type is ListType.ATOMIC
        self.list_type = list_type
        self.keys = keys  # list_type MAP: the fields which together identify an element
        self.merge = merge  # strategic merge patch merges the list instead of replacing it
        self.merge_key = merge_key  # ... by this field; "" for lists of scalars
        self.retain_keys = retain_keys
        self._cls = cls
        self._fields: Mapping[str, Node] | None = None

    @property
    def fields(self) -> Mapping[str, "Node"]:
        """Children of a STRUCT, by JSON name."""
        if self._fields is None:
            self._fields = {} if self._cls is None else _fields_of(self._cls)
        return self._fields

    def key_defaults(self) -> Mapping[str, Any]:
        """Defaults of list-map keys an element may leave out (x-kubernetes-list-map-keys with a default)."""
        return _KEY_DEFAULTS if "protocol" in self.keys else {}


SCALAR = Node(Shape.SCALAR)
ANY = Node(Shape.ANY)
ANY.elem = ANY
_KEY_DEFAULTS = {"protocol": "TCP"}


@cache
def schema_of(cls: type) -> Node:
    """The node of a kind (or of any other generated Struct)."""
    return Node(Shape.STRUCT, cls=cls)


def _rows(cls: type) -> dict[str, list[str]]:
    package = cls.__module__.removeprefix("edgekube.types.").split(".")[0]
    return {(parts := row.split())[0]: parts for row in ROWS.get(f"{package}.{cls.__name__}", ())}


def _fields_of(cls: type) -> Mapping[str, Node]:
    rows = _rows(cls)
    return {f.encode_name: _node(f.type, rows.get(f.encode_name)) for f in msgspec.structs.fields(cls)}


def _node(tp: Any, row: list[str] | None) -> Node:
    strategy, merge_key, list_type, keys, map_type = row[1:6] if row else ("-", "-", "-", "-", "-")
    tp = _bare(tp)
    origin = typing.get_origin(tp)
    retain = "retainKeys" in strategy
    if origin is tuple:
        return Node(
            Shape.LIST,
            elem=_node(typing.get_args(tp)[0], None),
            list_type={"set": ListType.SET, "map": ListType.MAP}.get(list_type, ListType.ATOMIC),
            keys=tuple(keys.split(",")) if keys != "-" else (),
            merge="merge" in strategy,
            merge_key="" if merge_key == "-" else merge_key,
            retain_keys=retain,
        )
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return Node(Shape.MAP, elem=_node(typing.get_args(tp)[1], None), atomic=map_type == "atomic")
    if isinstance(tp, type) and issubclass(tp, msgspec.Struct):
        own = _rows(tp).get(".")
        atomic = map_type == "atomic" or (own is not None and own[5] == "atomic" and map_type != "granular")
        return Node(Shape.STRUCT, cls=tp, atomic=atomic, retain_keys=retain)
    if tp is msgspec.Raw or tp is Any or origin is not None or isinstance(tp, types.UnionType):
        return ANY
    return SCALAR


def _bare(tp: Any) -> Any:
    """The type without Annotated and None; a union of several JSON shapes stays a union."""
    while typing.get_origin(tp) is typing.Annotated:
        tp = typing.get_args(tp)[0]
    if typing.get_origin(tp) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(tp) if a is not type(None)]
        if len(rest) == 1:
            return _bare(rest[0])
        if all(isinstance(_bare(a), type) and _bare(a) in (int, str, float, bool) for a in rest):
            return str
    return tp
