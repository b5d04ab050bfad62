"""autoscaling/v2: HorizontalPodAutoscaler.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, Quantity, Time, always
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class MetricTarget(Object, frozen=True, kw_only=True):
    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    type: str = always("")
    value: Quantity | None = None


class MetricValueStatus(Object, frozen=True, kw_only=True):
    averageUtilization: Int32 | None = None
    averageValue: Quantity | None = None
    value: Quantity | None = None


class CrossVersionObjectReference(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = always("")
    name: str = always("")


class MetricIdentifier(Object, frozen=True, kw_only=True):
    name: str = always("")
    selector: LabelSelector | None = None


class HPAScalingPolicy(Object, frozen=True, kw_only=True):
    periodSeconds: Int32 = always(0)
    type: str = always("")
    value: Int32 = always(0)


class HorizontalPodAutoscalerCondition(Object, frozen=True, kw_only=True):
    status: str = always("")
    lastTransitionTime: Time = ""
    message: str = ""
    reason: str = ""
    type: str = always("")


class ContainerResourceMetricSource(Object, frozen=True, kw_only=True):
    container: str = always("")
    name: str = always("")
    target: MetricTarget = always(MetricTarget())


class ResourceMetricSource(Object, frozen=True, kw_only=True):
    name: str = always("")
    target: MetricTarget = always(MetricTarget())


class ContainerResourceMetricStatus(Object, frozen=True, kw_only=True):
    container: str = always("")
    current: MetricValueStatus = always(MetricValueStatus())
    name: str = always("")


class ResourceMetricStatus(Object, frozen=True, kw_only=True):
    current: MetricValueStatus = always(MetricValueStatus())
    name: str = always("")


class ExternalMetricSource(Object, frozen=True, kw_only=True):
    metric: MetricIdentifier = always(MetricIdentifier())
    target: MetricTarget = always(MetricTarget())


class ExternalMetricStatus(Object, frozen=True, kw_only=True):
    current: MetricValueStatus = always(MetricValueStatus())
    metric: MetricIdentifier = always(MetricIdentifier())


class ObjectMetricSource(Object, frozen=True, kw_only=True):
    describedObject: CrossVersionObjectReference = always(CrossVersionObjectReference())
    metric: MetricIdentifier = always(MetricIdentifier())
    target: MetricTarget = always(MetricTarget())


class ObjectMetricStatus(Object, frozen=True, kw_only=True):
    current: MetricValueStatus = always(MetricValueStatus())
    describedObject: CrossVersionObjectReference = always(CrossVersionObjectReference())
    metric: MetricIdentifier = always(MetricIdentifier())


class PodsMetricSource(Object, frozen=True, kw_only=True):
    metric: MetricIdentifier = always(MetricIdentifier())
    target: MetricTarget = always(MetricTarget())


class PodsMetricStatus(Object, frozen=True, kw_only=True):
    current: MetricValueStatus = always(MetricValueStatus())
    metric: MetricIdentifier = always(MetricIdentifier())


class HPAScalingRules(Object, frozen=True, kw_only=True):
    policies: tuple[HPAScalingPolicy, ...] = ()
    selectPolicy: str = ""
    stabilizationWindowSeconds: Int32 | None = None
    tolerance: Quantity | None = None


class MetricSpec(Object, frozen=True, kw_only=True):
    containerResource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None
    type: str = always("")


class MetricStatus(Object, frozen=True, kw_only=True):
    containerResource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None
    type: str = always("")


class HorizontalPodAutoscalerBehavior(Object, frozen=True, kw_only=True):
    scaleDown: HPAScalingRules | None = None
    scaleUp: HPAScalingRules | None = None


class HorizontalPodAutoscalerStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[HorizontalPodAutoscalerCondition, ...] = ()
    currentMetrics: tuple[MetricStatus, ...] = ()
    currentReplicas: Int32 = 0
    desiredReplicas: Int32 = always(0)
    lastScaleTime: Time = ""
    observedGeneration: Int64 | None = None


class HorizontalPodAutoscalerSpec(Object, frozen=True, kw_only=True):
    behavior: HorizontalPodAutoscalerBehavior | None = None
    maxReplicas: Int32 = always(0)
    metrics: tuple[MetricSpec, ...] = ()
    minReplicas: Int32 | None = None
    scaleTargetRef: CrossVersionObjectReference = always(CrossVersionObjectReference())


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
