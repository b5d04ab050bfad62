"""networking/v1: IPAddress.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ParentReference(Object, frozen=True, kw_only=True):
    group: str = ""
    name: str = always("")
    namespace: str = ""
    resource: str = always("")


class IPAddressSpec(Object, frozen=True, kw_only=True):
    parentRef: ParentReference | None = None


class IPAddress(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: IPAddressSpec = always(IPAddressSpec())


class IPAddressList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[IPAddress, ...] = always(())
