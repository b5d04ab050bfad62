"""Pods: the whole spec on create; on update only what may change (ValidatePodUpdate)."""

from collections.abc import Sequence
from typing import Any

import msgspec

from edgekube.apiserver.validation.meta import metadata
from edgekube.apiserver.validation.podspec import pod_spec
from edgekube.apiserver.validation.resources import requirements
from edgekube.types.fieldpath import FieldError, Path, forbidden, invalid
from edgekube.types.pod_resources import qos_class

SPEC = Path("spec")
_replace = msgspec.structs.replace

_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate(new: Any, old: Any | None, subresource: str) -> Sequence[FieldError]:
    errors = metadata(new, old)
    if old is None:
        errors += pod_spec(new.spec, SPEC)
        if new.spec.ephemeralContainers:
            errors.append(forbidden(SPEC / "ephemeralContainers", "cannot be set on create"))
        if new.spec.nodeName and new.spec.schedulingGates:
            errors.append(forbidden(SPEC / "nodeName", "cannot be set until all schedulingGates have been cleared"))
        return errors
    match subresource:
        case "":
            errors += _update(new, old)
        case "status":
            errors += _status(new, old)
        case "ephemeralcontainers":
            errors += _ephemeral(new, old)
        case "resize":
            errors += _resize(new, old)
    return errors


def _update(new: Any, old: Any) -> list[FieldError]:
    spec, before = new.spec, old.spec
    errors = [
        forbidden(SPEC / part, "pod updates may not add or remove containers")
        for part in ("containers", "initContainers")
        if len(getattr(spec, part)) != len(getattr(before, part))
    ]
    if errors:
        return errors
    for part in ("containers", "initContainers"):
        for index, container in enumerate(getattr(spec, part)):
            at = SPEC / part / index / "image"
            if not container.image:
                from edgekube.types.fieldpath import required

                errors.append(required(at))
            elif container.image != container.image.strip():
                errors.append(invalid(at, container.image, "must not have leading or trailing whitespace"))
    if spec.activeDeadlineSeconds is not None:
        at = SPEC / "activeDeadlineSeconds"
        if not 1 <= spec.activeDeadlineSeconds <= 2**31 - 1:
            errors.append(invalid(at, spec.activeDeadlineSeconds, "must be between 1 and 2147483647, inclusive"))
        elif before.activeDeadlineSeconds is not None and spec.activeDeadlineSeconds > before.activeDeadlineSeconds:
            errors.append(invalid(at, spec.activeDeadlineSeconds, "must be less than or equal to previous value"))
    elif before.activeDeadlineSeconds is not None:
        errors.append(
            invalid(SPEC / "activeDeadlineSeconds", None, "must not update from a positive integer to nil value")
        )
    if not _only_added(spec.tolerations, before.tolerations):
        errors.append(
            forbidden(SPEC / "tolerations", "existing toleration can not be modified except its tolerationSeconds")
        )
    gates = {g.name for g in before.schedulingGates}
    added = [g.name for g in spec.schedulingGates if g.name not in gates]
    if added:
        errors.append(
            forbidden(SPEC / "schedulingGates", f"only deletion is allowed, but found new scheduling gate '{added[0]}'")
        )
    munged = _replace(
        spec,
        containers=_with_images(spec.containers, before.containers),
        initContainers=_with_images(spec.initContainers, before.initContainers),
        activeDeadlineSeconds=before.activeDeadlineSeconds,
        tolerations=before.tolerations,
        schedulingGates=before.schedulingGates,
    )
    grace = before.terminationGracePeriodSeconds
    if grace is not None and grace < 0 and spec.terminationGracePeriodSeconds == 1:
        munged = _replace(munged, terminationGracePeriodSeconds=grace)
    if before.schedulingGates:
        # A gated pod is not scheduled yet: its node constraints may still be tightened (KEP-3838).
        munged = _replace(munged, nodeSelector=before.nodeSelector, affinity=before.affinity)
        if any(spec.nodeSelector.get(key) != value for key, value in before.nodeSelector.items()):
            errors.append(
                invalid(
                    SPEC / "nodeSelector", spec.nodeSelector, "only additions are allowed (no mutations or deletions)"
                )
            )
    if munged != before:
        errors.append(forbidden(SPEC, _MAY_CHANGE + _difference(munged, before)))
    return errors


def _with_images(new: Sequence[Any], old: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_replace(n, image=o.image) for n, o in zip(new, old, strict=True))


def _only_added(new: Sequence[Any], old: Sequence[Any]) -> bool:
    """Every old toleration is still there, apart from its seconds."""
    bare = [_replace(t, tolerationSeconds=None) for t in new]
    return all(_replace(t, tolerationSeconds=None) in bare for t in old)


def _difference(new: Any, old: Any) -> str:
    changed = [f.name for f in msgspec.structs.fields(new) if getattr(new, f.name) != getattr(old, f.name)]
    return "\n  (changed: " + ", ".join(changed) + ")"


def _status(new: Any, old: Any) -> list[FieldError]:
    path = Path("status")
    errors: list[FieldError] = []
    if new.status.phase not in ("", "Pending", "Running", "Succeeded", "Failed", "Unknown"):
        from edgekube.types.fieldpath import not_supported

        errors.append(
            not_supported(path / "phase", new.status.phase, ["Failed", "Pending", "Running", "Succeeded", "Unknown"])
        )
    nominated = new.status.nominatedNodeName
    if nominated:
        from edgekube.apiserver.validation.rules import subdomain

        errors += subdomain(nominated, path / "nominatedNodeName")
    if old.spec.restartPolicy != "Always" and not old.metadata.deletionTimestamp:
        for part in ("containerStatuses", "initContainerStatuses"):
            errors += _not_restarted(getattr(new.status, part), getattr(old.status, part), old, path / part)
    return errors


def _not_restarted(new: Sequence[Any], old: Sequence[Any], pod: Any, path: Path) -> list[FieldError]:
    """A container that may not restart does not leave the terminated state."""
    every = {c.name: c for c in (*pod.spec.containers, *pod.spec.initContainers)}
    states = {s.name: s for s in new}
    errors = []
    for index, before in enumerate(old):
        end = before.state.terminated
        if end is None or (end.exitCode != 0 and pod.spec.restartPolicy == "OnFailure"):
            continue
        container = every.get(before.name)
        if container is None or container.restartPolicy or container.restartPolicyRules:
            continue
        after = states.get(before.name)
        if after is not None and after.state.terminated is None:
            errors.append(forbidden(path / index / "state", "may not be transitioned to non-terminated state"))
    return errors


def _ephemeral(new: Any, old: Any) -> list[FieldError]:
    path = SPEC / "ephemeralContainers"
    errors = pod_spec(new.spec, SPEC)
    held = {c.name: c for c in new.spec.ephemeralContainers}
    for container in old.spec.ephemeralContainers:
        now = held.get(container.name)
        if now is None:
            errors.append(forbidden(path, f'existing ephemeral containers "{container.name}" may not be removed\n'))
        elif now != container:
            errors.append(forbidden(path, f'existing ephemeral containers "{container.name}" may not be changed\n'))
    return errors


def _resize(new: Any, old: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    before = {c.name: c for c in (*old.spec.containers, *old.spec.initContainers)}
    for part in ("containers", "initContainers"):
        for index, container in enumerate(getattr(new.spec, part)):
            at = SPEC / part / index / "resources"
            errors += requirements(container.resources, at)
            was = before[container.name].resources
            for name in ("requests", "limits"):
                now_map, old_map = getattr(container.resources, name), getattr(was, name)
                if {k: v for k, v in now_map.items() if k not in ("cpu", "memory")} != {
                    k: v for k, v in old_map.items() if k not in ("cpu", "memory")
                }:
                    errors.append(forbidden(at / name, "only cpu and memory resources are mutable"))
                gone = [k for k in old_map if k in ("cpu", "memory") and k not in now_map]
                if gone:
                    errors.append(forbidden(at / name, f"resource {name} cannot be removed"))
    if old.status.qosClass:
        now = qos_class(new.spec)
        if now != old.status.qosClass:
            errors.append(invalid(SPEC, now, "Pod QOS Class may not change as a result of resizing"))
    return errors
