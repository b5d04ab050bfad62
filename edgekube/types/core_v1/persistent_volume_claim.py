"""core/v1: persistent volume claim.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, Quantity, Time, always
from edgekube.types.core_v1.reference import TypedLocalObjectReference, TypedObjectReference
from edgekube.types.core_v1.resources import VolumeResourceRequirements
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ModifyVolumeStatus(Object, frozen=True, kw_only=True):
    status: str = always("")
    targetVolumeAttributesClassName: str = ""


class PersistentVolumeClaimSpec(Object, frozen=True, kw_only=True):
    accessModes: tuple[str, ...] = ()
    dataSource: TypedLocalObjectReference | None = None
    dataSourceRef: TypedObjectReference | None = None
    resources: VolumeResourceRequirements = always(VolumeResourceRequirements())
    selector: LabelSelector | None = None
    storageClassName: str | None = None
    volumeAttributesClassName: str | None = None
    volumeMode: str = ""
    volumeName: str = ""


class PersistentVolumeClaimCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastProbeTime: Time = ""
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class PersistentVolumeClaimTemplate(Object, frozen=True, kw_only=True):
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PersistentVolumeClaimSpec = always(PersistentVolumeClaimSpec())


class PersistentVolumeClaimStatus(Object, frozen=True, kw_only=True):
    accessModes: tuple[str, ...] = ()
    allocatedResourceStatuses: Mapping[str, str] = EMPTY
    allocatedResources: Mapping[str, Quantity] = EMPTY
    capacity: Mapping[str, Quantity] = EMPTY
    conditions: tuple[PersistentVolumeClaimCondition, ...] = ()
    currentVolumeAttributesClassName: str | None = None
    modifyVolumeStatus: ModifyVolumeStatus | None = None
    phase: str = ""


class PersistentVolumeClaim(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PersistentVolumeClaimSpec = always(PersistentVolumeClaimSpec())
    status: PersistentVolumeClaimStatus = always(PersistentVolumeClaimStatus())


class PersistentVolumeClaimList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PersistentVolumeClaim, ...] = always(())
