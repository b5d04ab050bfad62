"""A container's environment: envFrom, env, the downward API and service links, with $(VAR) expansion.

Pure: ConfigMaps, Secrets and Services come in as lookups. Order and precedence are the kubelet's (pkg/kubelet
makeEnvironmentVariables): service links, then envFrom, then env; later ones win.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import msgspec

from edgekube.types.core_v1 import (
    ConfigMap,
    Container,
    EnvVar,
    EphemeralContainer,
    ObjectFieldSelector,
    Pod,
    ResourceFieldSelector,
    Secret,
    Service,
)
from edgekube.types.quantity import parse

# An env name may be any printable ASCII without "=" (KEP-4369); envFrom skips keys that are not.
ENV_NAME = re.compile(r"[ -<>-~]+")
REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


class ConfigError(Exception):
    """The container cannot be configured as asked: reported as CreateContainerConfigError and tried again."""


class Sources(msgspec.Struct, frozen=True):
    """Where values come from. The lookups return None for what does not exist."""

    config_map: Callable[[str], ConfigMap | None]
    secret: Callable[[str], Secret | None]
    services: Callable[[], Iterable[Service]]
    node_allocatable: Mapping[str, Fraction]  # cpu in cores, memory and ephemeral-storage in bytes
    pod_ips: tuple[str, ...]
    host_ips: tuple[str, ...]


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; $$ is a dollar; a reference to an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name is None:
            return "$"
        return values.get(name, match.group(0))

    return REFERENCE.sub(replace, text)


def environment(pod: Pod, container: Container | EphemeralContainer, sources: Sources) -> dict[str, str]:
    """All variables of a container but those of its image. Raises ConfigError."""
    values: dict[str, str] = {}
    if pod.spec.enableServiceLinks is not False:
        values.update(service_links(pod.metadata.namespace, sources.services()))
    else:
        values.update(service_links("", (s for s in sources.services() if _is_master(s))))
    for source in container.envFrom:
        data: Mapping[str, str] = {}
        if source.configMapRef is not None:
            config_map = sources.config_map(source.configMapRef.name)
            if config_map is None and not source.configMapRef.optional:
                raise ConfigError(f'configmap "{source.configMapRef.name}" not found')
            data = config_map.data if config_map is not None else {}
        elif source.secretRef is not None:
            secret = sources.secret(source.secretRef.name)
            if secret is None and not source.secretRef.optional:
                raise ConfigError(f'secret "{source.secretRef.name}" not found')
            data = {key: _decoded(secret, key) for key in secret.data} if secret is not None else {}
        for key in sorted(data):
            name = source.prefix + key
            if ENV_NAME.fullmatch(name):
                values[name] = data[key]
    for variable in container.env:
        value = _value(pod, container, variable, values, sources)
        if value is not None:
            values[variable.name] = value
    return values


def _value(
    pod: Pod,
    container: Container | EphemeralContainer,
    variable: EnvVar,
    values: Mapping[str, str],
    sources: Sources,
) -> str | None:
    """A variable's value, or None when an optional source lacks it."""
    source = variable.valueFrom
    if source is None:
        return expand(variable.value, values)
    if source.configMapKeyRef is not None:
        ref = source.configMapKeyRef
        config_map = sources.config_map(ref.name)
        if config_map is not None and ref.key in config_map.data:
            return config_map.data[ref.key]
        if ref.optional:
            return None
        if config_map is None:
            raise ConfigError(f'configmap "{ref.name}" not found')
        raise ConfigError(f"couldn't find key {ref.key} in ConfigMap {pod.metadata.namespace}/{ref.name}")
    if source.secretKeyRef is not None:
        key_ref = source.secretKeyRef
        secret = sources.secret(key_ref.name)
        if secret is not None and key_ref.key in secret.data:
            return _decoded(secret, key_ref.key)
        if key_ref.optional:
            return None
        if secret is None:
            raise ConfigError(f'secret "{key_ref.name}" not found')
        raise ConfigError(f"couldn't find key {key_ref.key} in Secret {pod.metadata.namespace}/{key_ref.name}")
    if source.fieldRef is not None:
        return field_value(pod, source.fieldRef, sources)
    if source.resourceFieldRef is not None:
        return resource_value(pod, container, source.resourceFieldRef, sources)
    raise ConfigError(f"variable {variable.name} names a source this kubelet does not have")


def _decoded(secret: Secret, key: str) -> str:
    return secret.data[key].decode("utf-8", "surrogateescape")


SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


def field_value(pod: Pod, selector: ObjectFieldSelector, sources: Sources) -> str:
    """The downward API's field references (those validation lets through)."""
    path, meta = selector.fieldPath, pod.metadata
    match path:
        case "metadata.name":
            return meta.name
        case "metadata.namespace":
            return meta.namespace
        case "metadata.uid":
            return meta.uid
        case "metadata.labels":
            return format_map(meta.labels)
        case "metadata.annotations":
            return format_map(meta.annotations)
        case "spec.nodeName":
            return pod.spec.nodeName
        case "spec.serviceAccountName":
            return pod.spec.serviceAccountName
        case "status.hostIP":
            return next(iter(sources.host_ips), "")
        case "status.hostIPs":
            return ",".join(sources.host_ips)
        case "status.podIP":
            return next(iter(sources.pod_ips), "")
        case "status.podIPs":
            return ",".join(sources.pod_ips)
    subscript = SUBSCRIPT.fullmatch(path)
    if subscript is None:
        raise ConfigError(f"unsupported fieldPath: {path}")
    chosen = meta.labels if subscript.group(1) == "labels" else meta.annotations
    return chosen.get(subscript.group(2), "")


def format_map(values: Mapping[str, str]) -> str:
    """Labels or annotations as a downward API file has them: sorted key="value" lines with Go quoting."""
    return "\n".join(f"{key}={msgspec.json.encode(values[key]).decode()}" for key in sorted(values))


def resource_value(
    pod: Pod, container: Container | EphemeralContainer, selector: ResourceFieldSelector, sources: Sources
) -> str:
    """requests.X or limits.X divided by the divisor, rounded up; an unset limit is the node's allocatable."""
    target = container
    if selector.containerName:
        named = [c for c in (*pod.spec.initContainers, *pod.spec.containers) if c.name == selector.containerName]
        if not named:
            raise ConfigError(f"container {selector.containerName} not found")
        target = named[0]
    kind, _, resource = selector.resource.partition(".")
    given = target.resources.limits if kind == "limits" else target.resources.requests
    if resource in given:
        amount = Fraction(parse(given[resource]))
    elif kind == "limits":
        amount = sources.node_allocatable.get(resource, Fraction(0))
    else:
        amount = Fraction(0)
    divisor = Fraction(parse(selector.divisor or "0")) or Fraction(1)
    return str(-(-amount // divisor))


def _is_master(service: Service) -> bool:
    return service.metadata.namespace == "default" and service.metadata.name == "kubernetes"


def service_links(namespace: str, services: Iterable[Service]) -> dict[str, str]:
    """Docker-links style variables for the services of a namespace and the API server's (pkg/kubelet/envvars)."""
    values: dict[str, str] = {}
    chosen = (s for s in services if s.metadata.namespace == namespace or _is_master(s))
    # The pod's own namespace wins over the API server's Service when both are called kubernetes.
    for service in sorted(chosen, key=lambda s: (not _is_master(s), s.metadata.name)):
        address = service.spec.clusterIP
        if address in ("", "None") or not service.spec.ports:
            continue
        name = service.metadata.name.upper().replace("-", "_")
        first = service.spec.ports[0]
        values[f"{name}_SERVICE_HOST"] = address
        values[f"{name}_SERVICE_PORT"] = str(first.port)
        for port in service.spec.ports:
            if port.name:
                values[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
        values[f"{name}_PORT"] = f"{(first.protocol or 'TCP').lower()}://{address}:{first.port}"
        for port in service.spec.ports:
            protocol = port.protocol or "TCP"
            prefix = f"{name}_PORT_{port.port}_{protocol}"
            values[prefix] = f"{protocol.lower()}://{address}:{port.port}"
            values[f"{prefix}_PROTO"] = protocol.lower()
            values[f"{prefix}_PORT"] = str(port.port)
            values[f"{prefix}_ADDR"] = address
    return values
