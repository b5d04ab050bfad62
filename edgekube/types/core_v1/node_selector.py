"""core/v1: node selector.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from edgekube.types._base import Object, always


class NodeSelectorRequirement(Object, frozen=True, kw_only=True):
    key: str = always("")
    operator: str = always("")
    values: tuple[str, ...] = ()


class TopologySelectorLabelRequirement(Object, frozen=True, kw_only=True):
    key: str = always("")
    values: tuple[str, ...] = always(())


class NodeSelectorTerm(Object, frozen=True, kw_only=True):
    matchExpressions: tuple[NodeSelectorRequirement, ...] = ()
    matchFields: tuple[NodeSelectorRequirement, ...] = ()


class TopologySelectorTerm(Object, frozen=True, kw_only=True):
    matchLabelExpressions: tuple[TopologySelectorLabelRequirement, ...] = ()


class NodeSelector(Object, frozen=True, kw_only=True):
    nodeSelectorTerms: tuple[NodeSelectorTerm, ...] = always(())
