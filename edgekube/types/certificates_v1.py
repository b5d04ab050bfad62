"""certificates/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class CertificateSigningRequestSpec(Object, frozen=True, kw_only=True):
    expirationSeconds: Int32 | None = None
    extra: Mapping[str, tuple[str, ...]] = EMPTY
    groups: tuple[str, ...] = ()
    request: bytes = always(b"")
    signerName: str = always("")
    uid: str = ""
    usages: tuple[str, ...] = ()
    username: str = ""


class CertificateSigningRequestCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    lastUpdateTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class CertificateSigningRequestStatus(Object, frozen=True, kw_only=True):
    certificate: bytes = b""
    conditions: tuple[CertificateSigningRequestCondition, ...] = ()


class CertificateSigningRequest(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: CertificateSigningRequestSpec = always(CertificateSigningRequestSpec())
    status: CertificateSigningRequestStatus = always(CertificateSigningRequestStatus())


class CertificateSigningRequestList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[CertificateSigningRequest, ...] = always(())
