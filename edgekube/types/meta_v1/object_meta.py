"""meta/v1: object meta.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from msgspec import Raw

from edgekube.types._base import EMPTY, NO_RAW, Int64, Object, Time, always


class ManagedFieldsEntry(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    fieldsType: str = ""
    fieldsV1: Raw = NO_RAW
    manager: str = ""
    operation: str = ""
    subresource: str = ""
    time: Time = ""


class OwnerReference(Object, frozen=True, kw_only=True):
    apiVersion: str = always("")
    kind: str = always("")
    blockOwnerDeletion: bool | None = None
    controller: bool | None = None
    name: str = always("")
    uid: str = always("")


class ObjectMeta(Object, frozen=True, kw_only=True):
    annotations: Mapping[str, str] = EMPTY
    creationTimestamp: Time = ""
    deletionGracePeriodSeconds: Int64 | None = None
    deletionTimestamp: Time = ""
    finalizers: tuple[str, ...] = ()
    generateName: str = ""
    generation: Int64 = 0
    labels: Mapping[str, str] = EMPTY
    managedFields: tuple[ManagedFieldsEntry, ...] = ()
    name: str = ""
    namespace: str = ""
    ownerReferences: tuple[OwnerReference, ...] = ()
    resourceVersion: str = ""
    selfLink: str = ""
    uid: str = ""
