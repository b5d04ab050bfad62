"""Containers of every sort: regular, init, ephemeral."""

from collections.abc import Sequence
from typing import Any

from edgekube.apiserver.validation import resources
from edgekube.apiserver.validation.rules import (
    address,
    dns_label,
    not_negative,
    one_of,
    port_number,
    port_or_name,
    positive,
    texts,
)
from edgekube.apiserver.validation.security import container_context
from edgekube.apiserver.validation.volumes import field_ref, local_path, mounts, resource_ref
from edgekube.types import names
from edgekube.types.fieldpath import FieldError, Path, duplicate, forbidden, invalid, not_found, required

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
PROTOCOLS = ("SCTP", "TCP", "UDP")
ENV_FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP",
    "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip


def containers(spec: Any, volumes: dict[str, Any], path: Path) -> list[FieldError]:
    """spec.containers, initContainers and ephemeralContainers, which share one space of names."""
    errors: list[FieldError] = []
    claims = frozenset(c.name for c in spec.resourceClaims)
    grace = spec.terminationGracePeriodSeconds
    seen: set[str] = set()
    at = path / "containers"
    if not spec.containers:
        errors.append(required(at))
    for index, container in enumerate(spec.containers):
        errors += _container(container, volumes, claims, spec, at / index)
        if container.lifecycle is not None:
            errors += _lifecycle(container.lifecycle, grace, at / index / "lifecycle")
        errors += _probes(container, grace, at / index)
        if container.restartPolicy and not container.restartPolicyRules:
            errors += one_of(container.restartPolicy, ("Always", "Never", "OnFailure"), at / index / "restartPolicy")
        errors += _unique(container.name, seen, at / index)
    at = path / "initContainers"
    for index, container in enumerate(spec.initContainers):
        errors += _container(container, volumes, claims, spec, at / index)
        errors += _init(container, grace, at / index)
        errors += _unique(container.name, seen, at / index)
    at = path / "ephemeralContainers"
    for index, container in enumerate(spec.ephemeralContainers):
        errors += _container(container, volumes, claims, spec, at / index)
        errors += _ephemeral(container, {c.name for c in (*spec.containers, *spec.initContainers)}, at / index)
        errors += _unique(container.name, seen, at / index)
    errors += _host_ports(spec, path)
    return errors


def _unique(name: str, seen: set[str], path: Path) -> list[FieldError]:
    if not name:
        return []
    if name in seen:
        return [duplicate(path / "name", name)]
    seen.add(name)
    return []


def _container(c: Any, volumes: dict[str, Any], claims: frozenset[str], spec: Any, path: Path) -> list[FieldError]:
    errors = dns_label(c.name, path / "name") if c.name else [required(path / "name")]
    if not c.image:
        errors.append(required(path / "image"))
    elif c.image != c.image.strip():
        errors.append(invalid(path / "image", c.image, "must not have leading or trailing whitespace"))
    if c.imagePullPolicy not in PULL_POLICIES:  # paths cost; they are built where something is wrong
        errors += one_of(c.imagePullPolicy, PULL_POLICIES, path / "imagePullPolicy", needed=False)
    if c.terminationMessagePolicy not in MESSAGE_POLICIES:
        errors += one_of(c.terminationMessagePolicy, MESSAGE_POLICIES, path / "terminationMessagePolicy", needed=False)
    if c.ports:
        errors += _ports(c.ports, path / "ports", host_network=spec.hostNetwork)
    if c.env:
        errors += _env(c.env, path / "env")
    if c.envFrom:
        errors += _env_from(c.envFrom, path / "envFrom")
    devices = {d.devicePath for d in c.volumeDevices}
    context = c.securityContext
    errors += mounts(
        c.volumeMounts, volumes, devices, path / "volumeMounts", privileged=bool(context and context.privileged)
    )
    for index, device in enumerate(c.volumeDevices):
        at = path / "volumeDevices" / index
        if device.name not in volumes:
            errors.append(not_found(at / "name", device.name))
        if not device.devicePath:
            errors.append(required(at / "devicePath"))
        else:
            errors += local_path(device.devicePath.lstrip("/"), at / "devicePath")
    errors += resources.requirements(c.resources, path / "resources", claims)
    for index, policy in enumerate(c.resizePolicy):
        at = path / "resizePolicy" / index
        errors += one_of(policy.resourceName, ("cpu", "memory"), at / "resourceName")
        errors += one_of(policy.restartPolicy, ("NotRequired", "RestartContainer"), at / "restartPolicy")
    if context is not None:
        errors += container_context(context, path / "securityContext", spec)
    return errors


def _init(c: Any, grace: int | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    if c.restartPolicy == "Always":
        errors += _lifecycle(c.lifecycle, grace, path / "lifecycle")
        errors += _probes(c, grace, path)
        return errors
    if c.restartPolicy:
        errors += one_of(c.restartPolicy, ("Always", "Never", "OnFailure"), path / "restartPolicy")
    for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if getattr(c, name) is not None:
            errors.append(forbidden(path / name, "may not be set for init containers without restartPolicy=Always"))
    return errors


_EPHEMERAL_NEVER = ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resizePolicy")


def _ephemeral(c: Any, others: set[str], path: Path) -> list[FieldError]:
    errors = [
        forbidden(path / name, "cannot be set for an Ephemeral Container")
        for name in _EPHEMERAL_NEVER
        if getattr(c, name)
    ]
    if c.resources.limits or c.resources.requests:
        errors.append(forbidden(path / "resources", "cannot be set for an Ephemeral Container"))
    if c.targetContainerName and c.targetContainerName not in others:
        errors.append(not_found(path / "targetContainerName", c.targetContainerName))
    for index, mount in enumerate(c.volumeMounts):
        at = path / "volumeMounts" / index
        set_ = [name for name in ("subPath", "subPathExpr") if getattr(mount, name)]
        errors += [forbidden(at / name, "cannot be set for an Ephemeral Container") for name in set_]
    return errors


def _ports(ports: Sequence[Any], path: Path, *, host_network: bool) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at = path / index
        if port.name:
            problems = names.port_name(port.name)
            errors += texts(problems, port.name, at / "name")
            if not problems:
                if port.name in seen:
                    errors.append(duplicate(at / "name", port.name))
                seen.add(port.name)
        if not port.containerPort:
            errors.append(required(at / "containerPort"))
        else:
            errors += port_number(port.containerPort, at / "containerPort")
        if port.hostPort:
            errors += port_number(port.hostPort, at / "hostPort")
            if host_network and port.hostPort != port.containerPort:
                errors.append(
                    invalid(at / "hostPort", port.hostPort, "must match `containerPort` when `hostNetwork` is true")
                )
        if port.protocol not in PROTOCOLS:
            errors += one_of(port.protocol, PROTOCOLS, at / "protocol")
        if port.hostIP:
            errors += address(port.hostIP, at / "hostIP")[1]
    return errors


def _host_ports(spec: Any, path: Path) -> list[FieldError]:
    """Two containers of a pod cannot have one port of the node."""
    errors: list[FieldError] = []
    taken: set[str] = set()
    for part in ("containers", "initContainers"):
        for number, container in enumerate(getattr(spec, part)):
            if part == "initContainers" and container.restartPolicy != "Always":
                continue
            for index, port in enumerate(container.ports):
                if not port.hostPort:
                    continue
                key = f"{port.protocol}/{port.hostIP}/{port.hostPort}"
                if key in taken:
                    at = path / part / number / "ports" / index / "hostPort"
                    errors.append(duplicate(at, key))
                taken.add(key)
    return errors


def _env(items: Sequence[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, env in enumerate(items):
        at = path / index
        if not env.name:
            errors.append(required(at / "name"))
        else:
            errors += texts(names.env_name(env.name), env.name, at / "name")
        source = env.valueFrom
        if source is None:
            continue
        where = at / "valueFrom"
        kinds = [
            name
            for name in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
            if getattr(source, name) is not None
        ]
        if source.fieldRef is not None:
            errors += field_ref(source.fieldRef, where / "fieldRef", ENV_FIELDS)
        if source.resourceFieldRef is not None:
            errors += resource_ref(source.resourceFieldRef, where / "resourceFieldRef", in_volume=False)
        for name in ("configMapKeyRef", "secretKeyRef"):
            ref = getattr(source, name)
            if ref is not None:
                if not ref.key:
                    errors.append(required(where / name / "key"))
                else:
                    errors += texts(names.config_key(ref.key), ref.key, where / name / "key")
        if env.value:
            if kinds:
                errors.append(invalid(where, "", "may not be specified when `value` is not empty"))
        elif len(kinds) > 1:
            errors.append(invalid(where, "", "may not have more than one field specified at a time"))
        if not kinds:
            errors.append(
                invalid(
                    where,
                    "",
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or "
                    "`fileKeyRef`",
                )
            )
    return errors


def _env_from(items: Sequence[Any], path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, source in enumerate(items):
        at = path / index
        if source.prefix:
            errors += texts(names.env_name(source.prefix), source.prefix, at / "prefix")
        refs = [name for name in ("configMapRef", "secretRef") if getattr(source, name) is not None]
        if not refs:
            errors.append(invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(refs) > 1:
            errors.append(invalid(at, "", "may not have more than one field specified at a time"))
        for name in refs:
            if not getattr(source, name).name:
                errors.append(required(at / name / "name"))
    return errors


_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def handler(value: Any, path: Path, grace: int | None) -> list[FieldError]:
    """What a probe or a lifecycle hook does."""
    kinds = [name for name in _HANDLERS if getattr(value, name, None) is not None]
    errors = [forbidden(path / kind, "may not specify more than 1 handler type") for kind in kinds[1:]]
    if not kinds:
        return [required(path, "must specify a handler type")]
    action, at = getattr(value, kinds[0]), path / kinds[0]
    match kinds[0]:
        case "exec":
            if not action.command:
                errors.append(required(at / "command"))
        case "httpGet":
            if not action.path:
                errors.append(required(at / "path"))
            errors += port_or_name(action.port, at / "port")
            errors += one_of(action.scheme, ("HTTP", "HTTPS"), at / "scheme")
            for index, header in enumerate(action.httpHeaders):
                if not header.name or not all(
                    ch.isascii() and (ch.isalnum() or ch in "-_.~!#$%&'*+^`|") for ch in header.name
                ):
                    errors.append(
                        invalid(
                            at / "httpHeaders" / index / "name",
                            header.name,
                            "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', "
                            "regex used for validation is '[-A-Za-z0-9]+')",
                        )
                    )
        case "tcpSocket":
            errors += port_or_name(action.port, at / "port")
        case "grpc":
            errors += port_number(action.port, at / "port")
        case "sleep":
            limit = 30 if grace is None else grace
            if not 0 <= action.seconds <= limit:
                errors.append(
                    invalid(
                        at,
                        action.seconds,
                        "must be non-negative and less than terminationGracePeriodSeconds "
                        f"({limit}). Enable AllowPodLifecycleSleepActionZeroValue feature gate for zero sleep.",
                    )
                )
    return errors


def _lifecycle(value: Any, grace: int | None, path: Path) -> list[FieldError]:
    if value is None:
        return []
    errors: list[FieldError] = []
    for name in ("postStart", "preStop"):
        hook = getattr(value, name)
        if hook is not None:
            errors += handler(hook, path / name, grace)
    return errors


def _probes(c: Any, grace: int | None, path: Path) -> list[FieldError]:
    errors: list[FieldError] = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = getattr(c, name)
        if probe is None:
            continue
        at = path / name
        errors += handler(probe, at, grace)
        for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            if getattr(probe, field) < 0:
                errors += not_negative(getattr(probe, field), at / field)
        if name != "readinessProbe" and probe.successThreshold != 1:
            errors.append(invalid(at / "successThreshold", probe.successThreshold, "must be 1"))
        if probe.terminationGracePeriodSeconds is not None:
            where = at / "terminationGracePeriodSeconds"
            if name == "readinessProbe":
                errors.append(
                    invalid(where, probe.terminationGracePeriodSeconds, "must not be set for readinessProbes")
                )
            else:
                errors += positive(probe.terminationGracePeriodSeconds, where)
    return errors
