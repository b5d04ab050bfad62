"""HorizontalPodAutoscalers."""

from edgekube.types import autoscaling_v1, autoscaling_v2
from edgekube.types.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    HPAScalingPolicy,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
    ResourceMetricSource,
)
from edgekube.types.defaults.fill import fill, within

CPU_PERCENT = 80
PERIOD_SECONDS = 15
METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"  # metrics of a v2 object seen as v1

_METRICS = (
    MetricSpec(
        type="Resource",
        resource=ResourceMetricSource(
            name="cpu", target=MetricTarget(type="Utilization", averageUtilization=CPU_PERCENT)
        ),
    ),
)
_DOUBLE = HPAScalingPolicy(type="Percent", value=100, periodSeconds=PERIOD_SECONDS)
_UP = (HPAScalingPolicy(type="Pods", value=4, periodSeconds=PERIOD_SECONDS), _DOUBLE)


def v1(obj: autoscaling_v1.HorizontalPodAutoscaler) -> autoscaling_v1.HorizontalPodAutoscaler:
    obj = within(obj, spec=lambda spec: fill(spec, minReplicas=1))
    if METRICS_ANNOTATION in obj.metadata.annotations:
        return obj
    return within(obj, spec=lambda spec: fill(spec, targetCPUUtilizationPercentage=CPU_PERCENT))


def v2(obj: autoscaling_v2.HorizontalPodAutoscaler) -> autoscaling_v2.HorizontalPodAutoscaler:
    return within(obj, spec=_spec)


def _spec(spec: HorizontalPodAutoscalerSpec) -> HorizontalPodAutoscalerSpec:
    return within(fill(spec, minReplicas=1, metrics=_METRICS), behavior=_behavior)


def _behavior(behavior: HorizontalPodAutoscalerBehavior) -> HorizontalPodAutoscalerBehavior:
    behavior = fill(behavior, scaleUp=HPAScalingRules(), scaleDown=HPAScalingRules())
    return within(
        behavior,
        scaleUp=lambda rules: fill(rules, selectPolicy="Max", stabilizationWindowSeconds=0, policies=_UP),
        scaleDown=lambda rules: fill(rules, selectPolicy="Max", policies=(_DOUBLE,)),
    )
