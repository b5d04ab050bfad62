"""StatefulSets."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.validation import apps
from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.rules import not_negative, one_of
from edgekube.types import names
from edgekube.types.core_v1.volume import PersistentVolumeClaimVolumeSource, Volume
from edgekube.types.fieldpath import FieldError, forbidden, invalid

SPEC = apps.SPEC
_MUTABLE = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
)  # fmt: skip


def _with_claims(spec: Any) -> Any:
    """The spec with its claims as the volumes that they become in its pods, for mounts that name them."""
    pod = spec.template.spec
    held = {volume.name for volume in pod.volumes}
    claims = [
        Volume(name=name, persistentVolumeClaim=PersistentVolumeClaimVolumeSource(claimName=name))
        for name in dict.fromkeys(claim.metadata.name for claim in spec.volumeClaimTemplates)
        if name not in held
    ]
    if not claims:
        return spec
    pod = msgspec.structs.replace(pod, volumes=(*pod.volumes, *claims))
    return msgspec.structs.replace(spec, template=msgspec.structs.replace(spec.template, spec=pod))


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    # A pod is named for its set and an ordinal, and that name must be a label.
    errors = metadata(new, old, names.dns1123_label if old is None else names.dns1123_subdomain)
    if subresource == "status":
        return errors
    spec = new.spec
    errors += apps.selector_and_template(_with_claims(spec), kind="statefulset")
    errors += apps.replicas(spec)
    errors += one_of(spec.podManagementPolicy, ("OrderedReady", "Parallel"), SPEC / "podManagementPolicy")
    strategy = spec.updateStrategy
    at = SPEC / "updateStrategy"
    errors += one_of(strategy.type, ("OnDelete", "RollingUpdate"), at / "type")
    rolling = strategy.rollingUpdate
    if strategy.type == "OnDelete" and rolling is not None:
        errors.append(invalid(at / "rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'"))
    elif rolling is not None:
        errors += not_negative(rolling.partition, at / "rollingUpdate" / "partition")
        if rolling.maxUnavailable is not None:
            where = at / "rollingUpdate" / "maxUnavailable"
            errors += apps.int_or_percent(rolling.maxUnavailable, where)
            errors += apps.at_most_all(rolling.maxUnavailable, where)
            if apps.is_zero(rolling.maxUnavailable):
                errors.append(invalid(where, rolling.maxUnavailable, "cannot be 0"))
    policy = spec.persistentVolumeClaimRetentionPolicy
    if policy is not None:
        for name in ("whenDeleted", "whenScaled"):
            errors += one_of(
                getattr(policy, name), ("Delete", "Retain"), SPEC / "persistentVolumeClaimRetentionPolicy" / name
            )
    if spec.ordinals is not None:
        errors += not_negative(spec.ordinals.start, SPEC / "ordinals" / "start")
    errors += not_negative(spec.revisionHistoryLimit, SPEC / "revisionHistoryLimit")
    if old is not None:
        kept = msgspec.structs.replace(spec, **{name: getattr(old.spec, name) for name in _MUTABLE})
        if kept != old.spec:
            errors.append(
                forbidden(
                    SPEC,
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                    "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                    "'minReadySeconds' are forbidden",
                )
            )
    return errors
