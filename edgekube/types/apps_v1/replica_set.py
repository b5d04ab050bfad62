"""apps/v1: ReplicaSet.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, Time, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ReplicaSetSpec(Object, frozen=True, kw_only=True):
    minReadySeconds: Int32 = 0
    replicas: Int32 | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = always(PodTemplateSpec())


class ReplicaSetCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class ReplicaSetStatus(Object, frozen=True, kw_only=True):
    availableReplicas: Int32 = 0
    conditions: tuple[ReplicaSetCondition, ...] = ()
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    replicas: Int32 = always(0)
    terminatingReplicas: Int32 | None = None


class ReplicaSet(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ReplicaSetSpec = always(ReplicaSetSpec())
    status: ReplicaSetStatus = always(ReplicaSetStatus())


class ReplicaSetList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ReplicaSet, ...] = always(())
