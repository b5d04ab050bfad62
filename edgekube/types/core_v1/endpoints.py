"""core/v1: endpoints.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.core_v1.reference import ObjectReference
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class EndpointAddress(Object, frozen=True, kw_only=True):
    hostname: str = ""
    ip: str = always("")
    nodeName: str | None = None
    targetRef: ObjectReference | None = None


class EndpointPort(Object, frozen=True, kw_only=True):
    appProtocol: str | None = None
    name: str = ""
    port: Int32 = always(0)
    protocol: str = ""


class EndpointSubset(Object, frozen=True, kw_only=True):
    addresses: tuple[EndpointAddress, ...] = ()
    notReadyAddresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class Endpoints(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    subsets: tuple[EndpointSubset, ...] = ()


class EndpointsList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[Endpoints, ...] = always(())
