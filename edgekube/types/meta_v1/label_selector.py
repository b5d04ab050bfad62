"""meta/v1: label selector.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, always


class FieldSelectorRequirement(Object, frozen=True, kw_only=True):
    key: str = always("")
    operator: str = always("")
    values: tuple[str, ...] = ()


class LabelSelectorRequirement(Object, frozen=True, kw_only=True):
    key: str = always("")
    operator: str = always("")
    values: tuple[str, ...] = ()


class LabelSelector(Object, frozen=True, kw_only=True):
    matchExpressions: tuple[LabelSelectorRequirement, ...] = ()
    matchLabels: Mapping[str, str] = EMPTY
