"""Written by `python -m edgekube.apiserver.protobuf.generate`: change the generator, not this file."""

from typing import Final

MESSAGES: Final[dict[str, str]] = {
    "Eviction": "1=metadata:meta_v1.ObjectMeta 2=deleteOptions:meta_v1.DeleteOptions",
    "PodDisruptionBudget": (
        "1=metadata:meta_v1.ObjectMeta 2=spec:PodDisruptionBudgetSpec 3=status:PodDisruptionBudgetStatus"
    ),
    "PodDisruptionBudgetList": "1=metadata:meta_v1.ListMeta 2=items:[PodDisruptionBudget",
    "PodDisruptionBudgetSpec": (
        "1=minAvailable:o 2=selector:meta_v1.LabelSelector 3=maxUnavailable:o 4=unhealthyPodEvictionPolicy:s"
    ),
    "PodDisruptionBudgetStatus": (
        "1?observedGeneration:i 2?disruptedPods:{t 3=disruptionsAllowed:i 4=currentHealthy:i 5=desiredHealthy:i "
        "6=expectedPods:i 7?conditions:[meta_v1.Condition"
    ),
}
