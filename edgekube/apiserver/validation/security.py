"""Security contexts."""

from typing import Any

from edgekube.apiserver.validation.rules import descending_path, one_of
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, required

ID_MAX = 2**31 - 1
ID_TEXT = "must be between 0 and 2147483647, inclusive"
PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def _id(value: int | None, path: Path) -> list[FieldError]:
    return [invalid(path, value, ID_TEXT)] if value is not None and not 0 <= value <= ID_MAX else []


def _profile(profile: Any, path: Path, system: str) -> list[FieldError]:
    """What seccompProfile and appArmorProfile have in common; `system` is how messages name it."""
    if profile is None:
        return []
    errors = one_of(profile.type, PROFILES, path / "type")
    at = path / "localhostProfile"
    if profile.type == "Localhost":
        if not profile.localhostProfile:
            errors.append(required(at, f"must be set when {system} type is Localhost"))
    elif profile.localhostProfile is not None:
        errors.append(invalid(at, profile.localhostProfile, f"can only be set when {system} type is Localhost"))
    return errors


def _profiles(context: Any, path: Path) -> list[FieldError]:
    errors = _profile(context.seccompProfile, path / "seccompProfile", "seccomp")
    errors += _profile(context.appArmorProfile, path / "appArmorProfile", "AppArmor")
    seccomp = context.seccompProfile.localhostProfile if context.seccompProfile is not None else None
    if seccomp:  # a file below the kubelet's folder of profiles, which it reads as root
        errors += descending_path(seccomp, path / "seccompProfile" / "localhostProfile")
    return errors


def container_context(context: Any, path: Path, spec: Any) -> list[FieldError]:
    errors = _id(context.runAsUser, path / "runAsUser") + _id(context.runAsGroup, path / "runAsGroup")
    errors += _profiles(context, path)
    if context.procMount:
        errors += one_of(context.procMount, ("Default", "Unmasked"), path / "procMount")
        if context.procMount == "Unmasked" and spec.hostUsers is not False:
            errors.append(invalid(path / "procMount", context.procMount, "`hostUsers` must be false to use `Unmasked`"))
    if context.allowPrivilegeEscalation is False:
        if context.privileged:
            errors.append(
                invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
            )
        added = context.capabilities.add if context.capabilities is not None else ()
        if any(cap in ("CAP_SYS_ADMIN", "SYS_ADMIN") for cap in added):
            errors.append(
                invalid(
                    path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                )
            )
    return errors


def pod_context(context: Any, path: Path, spec: Any) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        errors += _id(getattr(context, name), path / name)
    for index, group in enumerate(context.supplementalGroups):
        errors += _id(group, path / "supplementalGroups" / index)
    errors += one_of(
        context.fsGroupChangePolicy, ("Always", "OnRootMismatch"), path / "fsGroupChangePolicy", needed=False
    )
    errors += one_of(
        context.supplementalGroupsPolicy, ("Merge", "Strict"), path / "supplementalGroupsPolicy", needed=False
    )
    errors += _profiles(context, path)
    seen: set[str] = set()
    for index, sysctl in enumerate(context.sysctls):
        at = path / "sysctls" / index / "name"
        name = sysctl.name.replace("/", ".")
        if not sysctl.name:
            errors.append(required(at))
        elif len(name) > 253 or not all(ch.isascii() and (ch.isalnum() or ch in "-_.") for ch in name):
            errors.append(
                invalid(
                    at,
                    sysctl.name,
                    "must have at most 253 characters and match regex "
                    "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
                )
            )
        elif name in seen:
            errors.append(duplicate(at, name))
        seen.add(name)
        if spec.hostNetwork and name.startswith("net."):
            errors.append(invalid(at, sysctl.name, "may not be specified when 'hostNetwork' is true"))
        if spec.hostIPC and name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")):
            errors.append(invalid(at, sysctl.name, "may not be specified when 'hostIPC' is true"))
    if spec.hostUsers is False:
        for name in ("hostNetwork", "hostPID", "hostIPC"):
            if getattr(spec, name):
                errors.append(forbidden(path / name, f"when `hostUsers` is false, {name} must be false"))
    return errors
