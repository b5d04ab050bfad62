"""policy/v1: every kind of the group.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Int32, Int64, IntOrString, Object, Time, always
from edgekube.types.meta_v1.condition import Condition
from edgekube.types.meta_v1.delete_options import DeleteOptions
from edgekube.types.meta_v1.label_selector import LabelSelector
from edgekube.types.meta_v1.list_meta import ListMeta
from edgekube.types.meta_v1.object_meta import ObjectMeta


class Eviction(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    deleteOptions: DeleteOptions | None = None


class PodDisruptionBudgetSpec(Object, frozen=True, kw_only=True):
    maxUnavailable: IntOrString | None = None
    minAvailable: IntOrString | None = None
    selector: LabelSelector | None = None
    unhealthyPodEvictionPolicy: str = ""


class PodDisruptionBudgetStatus(Object, frozen=True, kw_only=True):
    conditions: tuple[Condition, ...] = ()
    currentHealthy: Int32 = always(0)
    desiredHealthy: Int32 = always(0)
    disruptedPods: Mapping[str, Time] = EMPTY
    disruptionsAllowed: Int32 = always(0)
    expectedPods: Int32 = always(0)
    observedGeneration: Int64 = 0


class PodDisruptionBudget(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = always(ObjectMeta())
    spec: PodDisruptionBudgetSpec = always(PodDisruptionBudgetSpec())
    status: PodDisruptionBudgetStatus = always(PodDisruptionBudgetStatus())


class PodDisruptionBudgetList(Object, frozen=True, kw_only=True):
    apiVersion: str = ""
    kind: str = ""
    metadata: ListMeta = always(ListMeta())
    items: tuple[PodDisruptionBudget, ...] = always(())
