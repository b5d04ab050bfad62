"""apps/v1: StatefulSet.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, IntOrString, Object, Time, always
from edgekube.types.core_v1.persistent_volume_claim import PersistentVolumeClaim
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class RollingUpdateStatefulSetStrategy(Object, frozen=True, kw_only=True):
    maxUnavailable: IntOrString | None = None
    partition: Int32 | None = None


class StatefulSetCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class StatefulSetOrdinals(Object, frozen=True, kw_only=True):
    start: Int32 = 0


class StatefulSetPersistentVolumeClaimRetentionPolicy(Object, frozen=True, kw_only=True):
    whenDeleted: str = ""
    whenScaled: str = ""


class StatefulSetUpdateStrategy(Object, frozen=True, kw_only=True):
    rollingUpdate: RollingUpdateStatefulSetStrategy | None = None
    type: str = ""


class StatefulSetStatus(Object, frozen=True, kw_only=True):
    availableReplicas: Int32 = 0
    collisionCount: Int32 | None = None
    conditions: tuple[StatefulSetCondition, ...] = ()
    currentReplicas: Int32 = 0
    currentRevision: str = ""
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    replicas: Int32 = always(0)
    updateRevision: str = ""
    updatedReplicas: Int32 = 0


class StatefulSetSpec(Object, frozen=True, kw_only=True):
    minReadySeconds: Int32 = 0
    ordinals: StatefulSetOrdinals | None = None
    persistentVolumeClaimRetentionPolicy: StatefulSetPersistentVolumeClaimRetentionPolicy | None = None
    podManagementPolicy: str = ""
    replicas: Int32 | None = None
    revisionHistoryLimit: Int32 | None = None
    selector: LabelSelector | None = None
    serviceName: str = ""
    template: PodTemplateSpec = always(PodTemplateSpec())
    updateStrategy: StatefulSetUpdateStrategy = always(StatefulSetUpdateStrategy())
    volumeClaimTemplates: tuple[PersistentVolumeClaim, ...] = ()


class StatefulSet(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: StatefulSetSpec = always(StatefulSetSpec())
    status: StatefulSetStatus = always(StatefulSetStatus())


class StatefulSetList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[StatefulSet, ...] = always(())
