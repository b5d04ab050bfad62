"""autoscaling/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, Time, always
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class CrossVersionObjectReference(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = always("")
    name: str = always("")


class HorizontalPodAutoscalerStatus(Object, frozen=True, kw_only=True):
    currentCPUUtilizationPercentage: Int32 | None = None
    currentReplicas: Int32 = always(0)
    desiredReplicas: Int32 = always(0)
    lastScaleTime: Time = ""
    observedGeneration: Int64 | None = None


class ScaleSpec(Object, frozen=True, kw_only=True):
    replicas: Int32 = 0


class ScaleStatus(Object, frozen=True, kw_only=True):
    replicas: Int32 = always(0)
    selector: str = ""


class HorizontalPodAutoscalerSpec(Object, frozen=True, kw_only=True):
    maxReplicas: Int32 = always(0)
    minReplicas: Int32 | None = None
    scaleTargetRef: CrossVersionObjectReference = always(CrossVersionObjectReference())
    targetCPUUtilizationPercentage: Int32 | None = None


class Scale(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: ScaleSpec = always(ScaleSpec())
    status: ScaleStatus = always(ScaleStatus())


class HorizontalPodAutoscaler(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: HorizontalPodAutoscalerSpec = always(HorizontalPodAutoscalerSpec())
    status: HorizontalPodAutoscalerStatus = always(HorizontalPodAutoscalerStatus())


class HorizontalPodAutoscalerList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[HorizontalPodAutoscaler, ...] = always(())
