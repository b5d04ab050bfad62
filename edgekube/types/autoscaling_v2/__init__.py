"""autoscaling/v2, a module for each family of kinds; a class is made when first asked for.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .horizontal_pod_autoscaler import ContainerResourceMetricSource as ContainerResourceMetricSource
    from .horizontal_pod_autoscaler import ContainerResourceMetricStatus as ContainerResourceMetricStatus
    from .horizontal_pod_autoscaler import CrossVersionObjectReference as CrossVersionObjectReference
    from .horizontal_pod_autoscaler import ExternalMetricSource as ExternalMetricSource
    from .horizontal_pod_autoscaler import ExternalMetricStatus as ExternalMetricStatus
    from .horizontal_pod_autoscaler import HorizontalPodAutoscaler as HorizontalPodAutoscaler
    from .horizontal_pod_autoscaler import HorizontalPodAutoscalerBehavior as HorizontalPodAutoscalerBehavior
    from .horizontal_pod_autoscaler import HorizontalPodAutoscalerCondition as HorizontalPodAutoscalerCondition
    from .horizontal_pod_autoscaler import HorizontalPodAutoscalerList as HorizontalPodAutoscalerList
    from .horizontal_pod_autoscaler import HorizontalPodAutoscalerSpec as HorizontalPodAutoscalerSpec
    from .horizontal_pod_autoscaler import HorizontalPodAutoscalerStatus as HorizontalPodAutoscalerStatus
    from .horizontal_pod_autoscaler import HPAScalingPolicy as HPAScalingPolicy
    from .horizontal_pod_autoscaler import HPAScalingRules as HPAScalingRules
    from .horizontal_pod_autoscaler import MetricIdentifier as MetricIdentifier
    from .horizontal_pod_autoscaler import MetricSpec as MetricSpec
    from .horizontal_pod_autoscaler import MetricStatus as MetricStatus
    from .horizontal_pod_autoscaler import MetricTarget as MetricTarget
    from .horizontal_pod_autoscaler import MetricValueStatus as MetricValueStatus
    from .horizontal_pod_autoscaler import ObjectMetricSource as ObjectMetricSource
    from .horizontal_pod_autoscaler import ObjectMetricStatus as ObjectMetricStatus
    from .horizontal_pod_autoscaler import PodsMetricSource as PodsMetricSource
    from .horizontal_pod_autoscaler import PodsMetricStatus as PodsMetricStatus
    from .horizontal_pod_autoscaler import ResourceMetricSource as ResourceMetricSource
    from .horizontal_pod_autoscaler import ResourceMetricStatus as ResourceMetricStatus
else:
    from edgekube.types._lazy import lazy

    __getattr__ = lazy(
        __name__,
        {
            "horizontal_pod_autoscaler": (
                "ContainerResourceMetricSource ContainerResourceMetricStatus CrossVersionObjectReference"
                " ExternalMetricSource ExternalMetricStatus HPAScalingPolicy HPAScalingRules HorizontalPodAutoscaler"
                " HorizontalPodAutoscalerBehavior HorizontalPodAutoscalerCondition HorizontalPodAutoscalerList"
                " HorizontalPodAutoscalerSpec HorizontalPodAutoscalerStatus MetricIdentifier MetricSpec MetricStatus"
                " MetricTarget MetricValueStatus ObjectMetricSource ObjectMetricStatus PodsMetricSource"
                " PodsMetricStatus ResourceMetricSource ResourceMetricStatus"
            ),
        },
    )
