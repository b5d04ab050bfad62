"""meta/v1: the server-side table and metadata-only objects, which the published schema leaves out."""

from typing import Any

from msgspec import Raw

from edgekube.types._base import NO_RAW, Int32, Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class TableColumnDefinition(Object, frozen=True, kw_only=True):
    """One column. `priority` 0 is always shown, more only in wide output."""

    name: str = always("")
    type: str = always("")
    format: str = always("")
    description: str = always("")
    priority: Int32 = always(0)


class TableRowCondition(Object, frozen=True, kw_only=True):
    """A mark on a row: `Completed` for pods that have run to their end."""

    type: str = always("")
    status: str = always("")
    reason: str = ""
    message: str = ""


class TableRow(Object, frozen=True, kw_only=True):
    """One object: a cell a column, and the object as the request's `includeObject` asked (full, metadata or none)."""

    cells: tuple[Any, ...] = always(())
    conditions: tuple[TableRowCondition, ...] = ()
    object: Raw = NO_RAW


class Table(Object, frozen=True, kw_only=True):
    """What `kubectl get` asks for (`Accept: application/json;as=Table;v=v1;g=meta.k8s.io`)."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    columnDefinitions: tuple[TableColumnDefinition, ...] = always(())
    rows: tuple[TableRow, ...] = always(())


class TableOptions(Object, frozen=True, kw_only=True):
    """Query options of a table request; `includeObject` is `None`, `Metadata` or `Object`."""

    apiVersion: str = ""
    kind: str = ""
    includeObject: str = ""


class PartialObjectMetadata(Object, frozen=True, kw_only=True):
    """Any object, its metadata alone."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())


class PartialObjectMetadataList(Object, frozen=True, kw_only=True):
    """A list of objects, their metadata alone."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PartialObjectMetadata, ...] = always(())
