"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "CrossVersionObjectReference": "1=kind:s 2=name:s 3?apiVersion:s",
    "HorizontalPodAutoscaler": (
        "1=metadata:meta_v1.ObjectMeta 2=spec:HorizontalPodAutoscalerSpec 3=status:HorizontalPodAutoscalerStatus"
    ),
    "HorizontalPodAutoscalerList": "1=metadata:meta_v1.ListMeta 2=items:[HorizontalPodAutoscaler",
    "HorizontalPodAutoscalerSpec": (
        "1=scaleTargetRef:CrossVersionObjectReference 2=minReplicas:i 3=maxReplicas:i "
        "4=targetCPUUtilizationPercentage:i"
    ),
    "HorizontalPodAutoscalerStatus": (
        "1=observedGeneration:i 2=lastScaleTime:t 3=currentReplicas:i 4=desiredReplicas:i "
        "5=currentCPUUtilizationPercentage:i"
    ),
    "Scale": "1=metadata:meta_v1.ObjectMeta 2=spec:ScaleSpec 3=status:ScaleStatus",
    "ScaleSpec": "1?replicas:i",
    "ScaleStatus": "1=replicas:i 2?selector:s",
}
