"""The files of configuration volumes (configMap, secret, downwardAPI, projected) as values. Pure.

A payload maps a relative path to (content, mode). ServiceAccount tokens come in already issued.
"""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from edgekube.kubelet.env import ConfigError, Sources, field_value, resource_value
from edgekube.types.core_v1 import (
    ConfigMap,
    Container,
    DownwardAPIVolumeFile,
    KeyToPath,
    Pod,
    Secret,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)

DEFAULT_MODE = 0o644


class File(msgspec.Struct, frozen=True):
    content: bytes
    mode: int


Payload = Mapping[str, File]
TokenOf = Callable[[ServiceAccountTokenProjection], str]


def token_projections(volume: Volume) -> Sequence[ServiceAccountTokenProjection]:
    """The tokens a volume needs issued before its payload can be built."""
    if volume.projected is None:
        return ()
    return [s.serviceAccountToken for s in volume.projected.sources if s.serviceAccountToken is not None]


def payload_of(pod: Pod, volume: Volume, sources: Sources, token_of: TokenOf) -> Payload | None:
    """A volume's files, or None when it is not a configuration volume. Raises ConfigError for what is missing."""
    if volume.configMap is not None:
        cm = volume.configMap
        found = sources.config_map(cm.name)
        return _config_map(cm.name, found, cm.items, bool(cm.optional), _mode(cm.defaultMode), pod)
    if volume.secret is not None:
        sec = volume.secret
        held = sources.secret(sec.secretName)
        return _secret(sec.secretName, held, sec.items, bool(sec.optional), _mode(sec.defaultMode), pod)
    if volume.downwardAPI is not None:
        return _downward(pod, volume.downwardAPI.items, _mode(volume.downwardAPI.defaultMode), sources)
    if volume.projected is not None:
        result: dict[str, File] = {}
        for projection in volume.projected.sources:
            result.update(_projection(pod, projection, _mode(volume.projected.defaultMode), sources, token_of))
        return result
    return None


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _projection(pod: Pod, projection: VolumeProjection, mode: int, sources: Sources, token_of: TokenOf) -> Payload:
    if projection.configMap is not None:
        cm = projection.configMap
        return _config_map(cm.name, sources.config_map(cm.name), cm.items, bool(cm.optional), mode, pod)
    if projection.secret is not None:
        sec = projection.secret
        return _secret(sec.name, sources.secret(sec.name), sec.items, bool(sec.optional), mode, pod)
    if projection.downwardAPI is not None:
        return _downward(pod, projection.downwardAPI.items, mode, sources)
    if projection.serviceAccountToken is not None:
        token = projection.serviceAccountToken
        # A token is for its process alone: owner-only, readable by the fsGroup when there is one (volumes.py).
        return {token.path: File(token_of(token).encode(), 0o600 if _one_user(pod) else mode)}
    kind = next((n for n in projection.__struct_fields__ if getattr(projection, n) is not None), "nothing")
    raise ConfigError(f"a projected volume of {kind} is not supported by this node")


def _one_user(pod: Pod) -> bool:
    """All containers run as one known user: then the token file can be that user's alone (projected volume rules)."""
    shared = pod.spec.securityContext.runAsUser if pod.spec.securityContext is not None else None
    users = {
        c.securityContext.runAsUser
        if c.securityContext is not None and c.securityContext.runAsUser is not None
        else shared
        for c in (*pod.spec.initContainers, *pod.spec.containers)
    }
    return len(users) == 1 and None not in users


def _select(data: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, optional: bool, what: str) -> Payload:
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    result = {}
    for item in items:
        if item.key in data:
            result[item.path] = File(data[item.key], _mode(item.mode) if item.mode is not None else mode)
        elif not optional:
            raise ConfigError(f"references non-existent {what} key: {item.key}")
    return result


def _config_map(
    name: str, found: ConfigMap | None, items: Sequence[KeyToPath], optional: bool, mode: int, pod: Pod
) -> Payload:
    if found is None:
        if optional:
            return {}
        raise ConfigError(f'configmap "{name}" not found')
    data = {key: text.encode() for key, text in found.data.items()}
    data.update(found.binaryData)
    return _select(data, items, mode, optional, "config")


def _secret(
    name: str, found: Secret | None, items: Sequence[KeyToPath], optional: bool, mode: int, pod: Pod
) -> Payload:
    if found is None:
        if optional:
            return {}
        raise ConfigError(f'secret "{name}" not found')
    return _select(found.data, items, mode, optional, "secret")


def _downward(pod: Pod, items: Sequence[DownwardAPIVolumeFile], mode: int, sources: Sources) -> Payload:
    result = {}
    for item in items:
        if item.fieldRef is not None:
            text = field_value(pod, item.fieldRef, sources)
        elif item.resourceFieldRef is not None:
            text = resource_value(
                pod, _container(pod, item.resourceFieldRef.containerName), item.resourceFieldRef, sources
            )
        else:
            continue
        result[item.path] = File(text.encode(), mode if item.mode is None else item.mode)
    return result


def _container(pod: Pod, name: str) -> Container:
    for container in (*pod.spec.initContainers, *pod.spec.containers):
        if container.name == name:
            return container
    raise ConfigError(f"container {name} not found")
