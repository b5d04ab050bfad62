"""core/v1: resources.

Written by `python -m edgekube.types._generate`: change the generator, not this file.
"""

from collections.abc import Mapping

from edgekube.types._base import EMPTY, Object, Quantity, always


class ResourceClaim(Object, frozen=True, kw_only=True):
    name: str = always("")
    request: str = ""


class VolumeResourceRequirements(Object, frozen=True, kw_only=True):
    limits: Mapping[str, Quantity] = EMPTY
    requests: Mapping[str, Quantity] = EMPTY


class ResourceRequirements(Object, frozen=True, kw_only=True):
    claims: tuple[ResourceClaim, ...] = ()
    limits: Mapping[str, Quantity] = EMPTY
    requests: Mapping[str, Quantity] = EMPTY
