"""core/v1: affinity.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Int32, Object, always
from edgekube.types.core_v1.node_selector import NodeSelector, NodeSelectorTerm
from edgekube.types.meta_v1.label_selector import LabelSelector


class PreferredSchedulingTerm(Object, frozen=True, kw_only=True):
    preference: NodeSelectorTerm = always(NodeSelectorTerm())
    weight: Int32 = always(0)


class PodAffinityTerm(Object, frozen=True, kw_only=True):
    labelSelector: LabelSelector | None = None
    matchLabelKeys: tuple[str, ...] = ()
    mismatchLabelKeys: tuple[str, ...] = ()
    namespaceSelector: LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    topologyKey: str = always("")


class NodeAffinity(Object, frozen=True, kw_only=True):
    preferredDuringSchedulingIgnoredDuringExecution: tuple[PreferredSchedulingTerm, ...] = ()
    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None


class WeightedPodAffinityTerm(Object, frozen=True, kw_only=True):
    podAffinityTerm: PodAffinityTerm = always(PodAffinityTerm())
    weight: Int32 = always(0)


class PodAffinity(Object, frozen=True, kw_only=True):
    preferredDuringSchedulingIgnoredDuringExecution: tuple[WeightedPodAffinityTerm, ...] = ()
    requiredDuringSchedulingIgnoredDuringExecution: tuple[PodAffinityTerm, ...] = ()


class PodAntiAffinity(Object, frozen=True, kw_only=True):
    preferredDuringSchedulingIgnoredDuringExecution: tuple[WeightedPodAffinityTerm, ...] = ()
    requiredDuringSchedulingIgnoredDuringExecution: tuple[PodAffinityTerm, ...] = ()


class Affinity(Object, frozen=True, kw_only=True):
    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAntiAffinity | None = None
