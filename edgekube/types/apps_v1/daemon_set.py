"""apps/v1: DaemonSet.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, IntOrString, Object, Time, always
from edgekube.types.core_v1.pod_spec import PodTemplateSpec
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class DaemonSetCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class RollingUpdateDaemonSet(Object, frozen=True, kw_only=True):
    maxSurge: IntOrString | None = None
    maxUnavailable: IntOrString | None = None


class DaemonSetStatus(Object, frozen=True, kw_only=True):
    collisionCount: Int32 | None = None
    conditions: tuple[DaemonSetCondition, ...] = ()
    currentNumberScheduled: Int32 = always(0)
    desiredNumberScheduled: Int32 = always(0)
    numberAvailable: Int32 = 0
    numberMisscheduled: Int32 = always(0)
    numberReady: Int32 = always(0)
    numberUnavailable: Int32 = 0
    observedGeneration: Int64 = 0
    updatedNumberScheduled: Int32 = 0


class DaemonSetUpdateStrategy(Object, frozen=True, kw_only=True):
    rollingUpdate: RollingUpdateDaemonSet | None = None
    type: str = ""


class DaemonSetSpec(Object, frozen=True, kw_only=True):
    minReadySeconds: Int32 = 0
    revisionHistoryLimit: Int32 | None = None
    selector: LabelSelector | None = None
    template: PodTemplateSpec = always(PodTemplateSpec())
    updateStrategy: DaemonSetUpdateStrategy = always(DaemonSetUpdateStrategy())


class DaemonSet(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: DaemonSetSpec = always(DaemonSetSpec())
    status: DaemonSetStatus = always(DaemonSetStatus())


class DaemonSetList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[DaemonSet, ...] = always(())
