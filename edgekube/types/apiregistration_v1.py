"""apiregistration/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class APIServiceCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class ServiceReference(Object, frozen=True, kw_only=True):
    name: str = ""
    namespace: str = ""
    port: Int32 | None = None


class APIServiceStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[APIServiceCondition, ...] = ()


class APIServiceSpec(Object, frozen=True, kw_only=True):
    caBundle: bytes = b""
    group: str = ""
    groupPriorityMinimum: Int32 = always(0)
    insecureSkipTLSVerify: bool = False
    service: ServiceReference | None = None
    version: str = ""
    versionPriority: Int32 = always(0)


class APIService(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: APIServiceSpec = always(APIServiceSpec())
    status: APIServiceStatus = always(APIServiceStatus())


class APIServiceList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[APIService, ...] = always(())
