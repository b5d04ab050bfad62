"""Nodes."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import amount, network, one_of, texts
from edgekube.apiserver.validation.scheduling import EFFECTS
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden

SPEC = Path("spec")


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(new.spec.taints):
        at = SPEC / "taints" / index
        errors += texts(names.qualified_name(taint.key), taint.key, at / "key")
        errors += texts(names.label_value(taint.value), taint.value, at / "value")
        errors += one_of(taint.effect, EFFECTS, at / "effect")
        pair = (taint.key, taint.effect)
        if pair in seen:
            errors.append(duplicate(at, taint))
        seen.add(pair)
    for index, cidr in enumerate(new.spec.podCIDRs):
        errors += network(cidr, SPEC / "podCIDRs" / index)
    for part in ("capacity", "allocatable"):
        for name, text in getattr(new.status, part).items():
            errors += amount(text, (Path("status") / part).key(name))[1]
    if old is not None:
        if old.spec.podCIDRs and new.spec.podCIDRs != old.spec.podCIDRs:
            errors.append(forbidden(SPEC / "podCIDRs", 'node updates may not change podCIDR except from "" to valid'))
        if old.spec.providerID and new.spec.providerID != old.spec.providerID:
            errors.append(
                forbidden(SPEC / "providerID", 'node updates may not change providerID except from "" to valid')
            )
    return errors
