"""core/v1: scheduling.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Int64, Object, Time, always
from edgekube.types.meta_v1.label_selector import LabelSelector


class PodSchedulingGate(Object, frozen=True, kw_only=True):
    name: str = always("")


class PodSchedulingGroup(Object, frozen=True, kw_only=True):
    podGroupName: str | None = None


class Taint(Object, frozen=True, kw_only=True):
    effect: str = always("")
    key: str = always("")
    timeAdded: Time = ""
    value: str = ""


class Toleration(Object, frozen=True, kw_only=True):
    effect: str = ""
    key: str = ""
    operator: str = ""
    tolerationSeconds: Int64 | None = None
    value: str = ""


class TopologySpreadConstraint(Object, frozen=True, kw_only=True):
    labelSelector: LabelSelector | None = None
    matchLabelKeys: tuple[str, ...] = ()
    maxSkew: Int32 = always(0)
    minDomains: Int32 | None = None
    nodeAffinityPolicy: str = ""
    nodeTaintsPolicy: str = ""
    topologyKey: str = always("")
    whenUnsatisfiable: str = always("")
