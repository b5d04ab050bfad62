"""Volumes of a pod, and where containers mount them."""

from collections.abc import Sequence
from itertools import compress, repeat
from operator import attrgetter, is_not
from typing import Any

import msgspec

from edgekube.apiserver.validation.rules import amount, descending_path, dns_label, no_backsteps, one_of, texts
from edgekube.types import names
from edgekube.types.core_v1 import Volume
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, not_found, not_supported, required

SOURCES = tuple(f.name for f in msgspec.structs.fields(Volume) if f.name != "name")
_sources = attrgetter(*SOURCES)
PATH_TYPES = ("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice")
MODE_MAX = 0o777
MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"
TOKEN_LIFETIME_MIN = 600
DOWNWARD_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")


def volumes(items: Sequence[Any], path: Path) -> tuple[dict[str, Any], list[FieldError]]:
    """(volumes by name, problems)."""
    errors: list[FieldError] = []
    found: dict[str, Any] = {}
    for index, volume in enumerate(items):
        at = path / index
        if not volume.name:
            errors.append(required(at / "name"))
        else:
            errors += dns_label(volume.name, at / "name")
            if volume.name in found:
                errors.append(duplicate(at / "name", volume.name))
        found[volume.name] = volume
        errors += _source(volume, at)
    return found, errors


def _source(volume: Any, path: Path) -> list[FieldError]:
    kinds = list(compress(SOURCES, map(is_not, _sources(volume), repeat(None))))
    if not kinds:
        return [required(path, "must specify a volume type")]
    errors = [forbidden(path / kind, "may not specify more than 1 volume type") for kind in kinds[1:]]
    check = _CHECKS.get(kinds[0])
    if check is not None:
        errors += check(getattr(volume, kinds[0]), path / kinds[0])
    return errors


def _empty_dir(source: Any, path: Path) -> list[FieldError]:
    if source.sizeLimit is None:
        return []
    value, errors = amount(source.sizeLimit, path / "sizeLimit")
    if value is not None and value < 0:
        return [forbidden(path / "sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return errors


def _host_path(source: Any, path: Path) -> list[FieldError]:
    if not source.path:
        return [required(path / "path")]
    errors = no_backsteps(source.path, path / "path")
    if (source.type or "") not in PATH_TYPES:
        errors.append(not_supported(path / "type", source.type, sorted(PATH_TYPES)))
    return errors


def _mode(mode: int | None, path: Path) -> list[FieldError]:
    return [invalid(path, mode, MODE_TEXT)] if mode is not None and not 0 <= mode <= MODE_MAX else []


def _items(items: Sequence[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, item in enumerate(items):
        at = path / index
        if not item.key:
            errors.append(required(at / "key"))
        if not item.path:
            errors.append(required(at / "path"))
        else:
            errors += local_path(item.path, at / "path")
        errors += _mode(item.mode, at / "mode")
    return errors


def _secret(source: Any, path: Path) -> list[FieldError]:
    errors = [] if source.secretName else [required(path / "secretName")]
    return errors + _mode(source.defaultMode, path / "defaultMode") + _items(source.items, path / "items")


def _config_map(source: Any, path: Path) -> list[FieldError]:
    errors = [] if source.name else [required(path / "name")]
    return errors + _mode(source.defaultMode, path / "defaultMode") + _items(source.items, path / "items")


def _downward(source: Any, path: Path) -> list[FieldError]:
    errors = _mode(source.defaultMode, path / "defaultMode")
    for index, file in enumerate(source.items):
        errors += _downward_file(file, path / "items" / index)
    return errors


def _downward_file(file: Any, path: Path) -> list[FieldError]:
    errors = local_path(file.path, path / "path") if file.path else [required(path / "path")]
    if file.fieldRef is not None:
        errors += field_ref(file.fieldRef, path / "fieldRef", DOWNWARD_FIELDS)
        if file.resourceFieldRef is not None:
            errors.append(
                invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            )
    elif file.resourceFieldRef is not None:
        errors += resource_ref(file.resourceFieldRef, path / "resourceFieldRef", in_volume=True)
    else:
        errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + _mode(file.mode, path / "mode")


def field_ref(ref: Any, path: Path, known: Sequence[str]) -> list[FieldError]:
    """An ObjectFieldSelector."""
    if not ref.fieldPath:
        return [required(path / "fieldPath")]
    errors = []
    if not ref.apiVersion:
        errors.append(required(path / "apiVersion"))
    elif ref.apiVersion != "v1":
        errors.append(
            invalid(
                path / "fieldPath", ref.fieldPath, f"error converting fieldPath: pod does not support {ref.apiVersion}"
            )
        )
    base, bracket, rest = ref.fieldPath.partition("['")
    if bracket:
        if base not in ("metadata.labels", "metadata.annotations") or not rest.endswith("']"):
            errors.append(
                invalid(path / "fieldPath", ref.fieldPath, "error converting fieldPath: does not support subscript")
            )
            return errors
        key = rest[:-2]
        errors += texts(names.qualified_name(key.lower() if base.endswith("annotations") else key), key, path)
    elif ref.fieldPath not in known:
        errors.append(not_supported(path / "fieldPath", ref.fieldPath, sorted(known)))
    return errors


RESOURCE_REFS = (
    "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
    "requests.memory",
)  # fmt: skip


def resource_ref(ref: Any, path: Path, *, in_volume: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    if in_volume and not ref.containerName:
        errors.append(required(path / "containerName"))
    elif not ref.resource:
        errors.append(required(path / "resource"))
    elif ref.resource not in RESOURCE_REFS and ".hugepages-" not in ref.resource:
        errors.append(not_supported(path / "resource", ref.resource, RESOURCE_REFS))
    return errors


def _projected(source: Any, path: Path) -> list[FieldError]:
    errors = _mode(source.defaultMode, path / "defaultMode")
    paths: set[str] = set()
    for index, one in enumerate(source.sources):
        at = path / "sources" / index
        kinds = [n for n in ("secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle",
                             "podCertificate") if getattr(one, n) is not None]  # fmt: skip
        if not kinds:
            errors.append(required(at, "must specify a volume type"))
        errors += [forbidden(at / kind, "may not specify more than 1 volume type") for kind in kinds[1:]]
        used: list[str] = []
        for kind in kinds[:1]:
            part, where = getattr(one, kind), at / kind
            match kind:
                case "secret" | "configMap":
                    if not part.name:
                        errors.append(required(where / "name"))
                    errors += _items(part.items, where / "items")
                    used = [item.path for item in part.items]
                case "downwardAPI":
                    for position, file in enumerate(part.items):
                        errors += _downward_file(file, where / "items" / position)
                    used = [item.path for item in part.items]
                case "serviceAccountToken":
                    lifetime = part.expirationSeconds
                    if lifetime is not None and lifetime < TOKEN_LIFETIME_MIN:
                        errors.append(
                            invalid(
                                where / "expirationSeconds", lifetime, "may not specify a duration less than 10 minutes"
                            )
                        )
                    if lifetime is not None and lifetime > 1 << 32:
                        errors.append(
                            invalid(
                                where / "expirationSeconds",
                                lifetime,
                                "may not specify a duration larger than 2^32 seconds",
                            )
                        )
                    errors += local_path(part.path, where / "path") if part.path else [required(where / "path")]
                    used = [part.path]
        for file in used:
            if file in paths:
                errors.append(invalid(at, file, "conflicting duplicate paths"))
            paths.add(file)
    return errors


def _claim(source: Any, path: Path) -> list[FieldError]:
    return [] if source.claimName else [required(path / "claimName")]


def _nfs(source: Any, path: Path) -> list[FieldError]:
    errors = [] if source.server else [required(path / "server")]
    if not source.path:
        errors.append(required(path / "path"))
    elif not source.path.startswith("/"):
        errors.append(invalid(path / "path", source.path, "must be an absolute path"))
    return errors


def _csi(source: Any, path: Path) -> list[FieldError]:
    return [] if source.driver else [required(path / "driver")]


def _image(source: Any, path: Path) -> list[FieldError]:
    errors = [] if source.reference else [required(path / "reference")]
    return errors + one_of(source.pullPolicy, ("Always", "IfNotPresent", "Never"), path / "pullPolicy", needed=False)


def _ephemeral(source: Any, path: Path) -> list[FieldError]:
    template = source.volumeClaimTemplate
    at = path / "volumeClaimTemplate"
    if template is None:
        return [required(at)]
    errors = (
        []
        if template.spec.accessModes
        else [required(at / "spec" / "accessModes", "at least 1 access mode is required")]
    )
    if "storage" not in template.spec.resources.requests:
        errors.append(required((at / "spec" / "resources").key("storage")))
    return errors


_CHECKS = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "configMap": _config_map,
    "downwardAPI": _downward,
    "projected": _projected,
    "persistentVolumeClaim": _claim,
    "nfs": _nfs,
    "csi": _csi,
    "image": _image,
    "ephemeral": _ephemeral,
}


def local_path(text: str, path: Path) -> list[FieldError]:
    """Relative, inside, and not hidden behind dots."""
    errors = descending_path(text, path)
    if text.startswith("..") and not text.startswith("../"):
        errors.append(invalid(path, text, "must not start with '..'"))
    return errors


def mounts(
    items: Sequence[Any], known: dict[str, Any], devices: set[str], path: Path, *, privileged: bool
) -> list[FieldError]:
    """volumeMounts of one container."""
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, mount in enumerate(items):
        at = path / index
        if not mount.name:
            errors.append(required(at / "name"))
        if mount.name not in known:
            errors.append(not_found(at / "name", mount.name))
        if not mount.mountPath:
            errors.append(required(at / "mountPath"))
        if mount.mountPath in seen:
            errors.append(invalid(at / "mountPath", mount.mountPath, "must be unique"))
        seen.add(mount.mountPath)
        if mount.mountPath in devices:
            errors.append(invalid(at / "mountPath", mount.mountPath, "must not already exist in volumeDevices"))
        if mount.subPath and mount.subPathExpr:
            errors.append(
                invalid(at / "subPathExpr", mount.subPathExpr, "subPathExpr and subPath are mutually exclusive")
            )
        for name in ("subPath", "subPathExpr"):
            value = getattr(mount, name)
            if value:
                errors += descending_path(value, at / name)
        if mount.mountPropagation:
            errors += one_of(
                mount.mountPropagation, ("Bidirectional", "HostToContainer", "None"), at / "mountPropagation"
            )
            if mount.mountPropagation == "Bidirectional" and not privileged:
                errors.append(
                    forbidden(
                        at / "mountPropagation",
                        "Bidirectional mount propagation is available only to privileged containers",
                    )
                )
        if mount.recursiveReadOnly:
            errors += one_of(mount.recursiveReadOnly, ("Disabled", "Enabled", "IfPossible"), at / "recursiveReadOnly")
            if mount.recursiveReadOnly != "Disabled" and not mount.readOnly:
                errors.append(forbidden(at / "recursiveReadOnly", "may only be specified when readOnly is true"))
    return errors
