"""storage/v1: CSIDriver.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int64, Object, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class TokenRequest(Object, frozen=True, kw_only=True):
    audience: str = always("")
    expirationSeconds: Int64 | None = None


class CSIDriverSpec(Object, frozen=True, kw_only=True):
    attachRequired: bool | None = None
    fsGroupPolicy: str = ""
    nodeAllocatableUpdatePeriodSeconds: Int64 | None = None
    podInfoOnMount: bool | None = None
    preventPodSchedulingIfMissing: bool | None = None
    requiresRepublish: bool | None = None
    seLinuxMount: bool | None = None
    serviceAccountTokenInSecrets: bool | None = None
    storageCapacity: bool | None = None
    tokenRequests: tuple[TokenRequest, ...] = ()
    volumeLifecycleModes: tuple[str, ...] = ()


class CSIDriver(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: CSIDriverSpec = always(CSIDriverSpec())


class CSIDriverList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[CSIDriver, ...] = always(())
