"""core/v1: replication controller.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, Object, Time, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class ReplicationControllerSpec(Object, frozen=True, kw_only=True):
    minReadySeconds: Int32 = 0
    replicas: Int32 | None = None
    selector: Mapping[str, str] = EMPTY
    template: PodTemplateSpec | None = None


class ReplicationControllerCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class ReplicationControllerStatus(Object, frozen=True, kw_only=True):
    availableReplicas: Int32 = 0
    conditions: tuple[ReplicationControllerCondition, ...] = ()
    fullyLabeledReplicas: Int32 = 0
    observedGeneration: Int64 = 0
    readyReplicas: Int32 = 0
    replicas: Int32 = always(0)


class ReplicationController(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ReplicationControllerSpec = always(ReplicationControllerSpec())
    status: ReplicationControllerStatus = always(ReplicationControllerStatus())


class ReplicationControllerList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[ReplicationController, ...] = always(())
