"""discovery/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Object, always
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class EndpointConditions(Object, frozen=True, kw_only=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ForNode(Object, frozen=True, kw_only=True):
    name: str = always("")


class ForZone(Object, frozen=True, kw_only=True):
    name: str = always("")


class EndpointPort(Object, frozen=True, kw_only=True):
    appProtocol: str | None = None
    name: str | None = None
    port: Int32 | None = None
    protocol: str = ""


class EndpointHints(Object, frozen=True, kw_only=True):
    forNodes: tuple[ForNode, ...] = ()
    forZones: tuple[ForZone, ...] = ()


class Endpoint(Object, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = always(())
    conditions: EndpointConditions | None = None
    deprecatedTopology: Mapping[str, str] = EMPTY
    hints: EndpointHints | None = None
    hostname: str | None = None
    nodeName: str | None = None
    targetRef: ObjectReference | None = None
    zone: str | None = None


class EndpointSlice(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    addressType: str = always("")
    endpoints: tuple[Endpoint, ...] = always(())
    ports: tuple[EndpointPort, ...] = ()


class EndpointSliceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[EndpointSlice, ...] = always(())
