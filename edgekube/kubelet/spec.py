"""What a container is made of: a Pod's words turned into the runtime's SandboxSpec and ContainerSpec. Pure."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgekube.kubelet.config import KubeletConfig
from edgekube.kubelet.env import ConfigError, expand
from edgekube.kubelet.qos import container_resources, oom_score_adj, pod_resources
from edgekube.runtime.api import (
    ContainerSpec,
    Image,
    Mount,
    NamespaceMode,
    SandboxSpec,
    Security,
)
from edgekube.runtime.users import ID_MAX
from edgekube.types.core_v1 import (
    AppArmorProfile,
    Container,
    EphemeralContainer,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    VolumeMount,
)
from edgekube.types.integers import natural
from edgekube.types.pod_resources import qos_class

AnyContainer = Container | EphemeralContainer

LABEL_POD_UID = "pod-uid"
LABEL_POD_NAME = "pod-name"
LABEL_POD_NAMESPACE = "pod-namespace"
LABEL_CONTAINER = "container"
LABEL_KIND = "kind"  # init, container or ephemeral
LABEL_SPEC_HASH = "spec-hash"  # of what only a restart can change: image, mostly
LABEL_GRACE = "grace-seconds"

HOSTNAME_SIZE_MAX = 63


def all_containers(pod: Pod) -> tuple[AnyContainer, ...]:
    """Init, main and ephemeral containers, in this order; names are unique among them."""
    return (*pod.spec.initContainers, *pod.spec.containers, *pod.spec.ephemeralContainers)


def hostname(pod: Pod) -> str:
    """The pod's host name: spec.hostname, or its name cut to what Linux and DNS allow."""
    if pod.spec.hostnameOverride:
        return pod.spec.hostnameOverride
    return (pod.spec.hostname or pod.metadata.name)[:HOSTNAME_SIZE_MAX].rstrip("-.")


def kernel_hostname(pod: Pod) -> str:
    """What a container's processes are told by uname(2): the node's own name in its network."""
    return os.uname().nodename if pod.spec.hostNetwork else hostname(pod)


def cgroup_path(pod: Pod, root: str) -> str:
    """Where the pod's cgroup lies below each hierarchy's root."""
    quality = qos_class(pod.spec).lower()
    middle = "" if quality == "guaranteed" else f"/{quality}"
    return f"{root}{middle}/pod{pod.metadata.uid}"


def sandbox_spec(pod: Pod, config: KubeletConfig, attempt: int = 0) -> SandboxSpec:
    """The surroundings all containers of a pod share."""
    spec = pod.spec
    security = spec.securityContext or PodSecurityContext()
    pid = NamespaceMode.NODE if spec.hostPID else NamespaceMode.POD if spec.shareProcessNamespace else None
    return SandboxSpec(
        id=f"{pod.metadata.uid}-{attempt}" if attempt else pod.metadata.uid,
        name=f"{pod.metadata.namespace}/{pod.metadata.name}",
        uid=pod.metadata.uid,
        hostname=kernel_hostname(pod),
        network=NamespaceMode.NODE if spec.hostNetwork else NamespaceMode.POD,
        pid=pid or NamespaceMode.CONTAINER,
        ipc=NamespaceMode.NODE if spec.hostIPC else NamespaceMode.POD,
        sysctls={s.name: s.value for s in security.sysctls},
        cgroup_parent=cgroup_path(pod, config.cgroup_root),
        resources=pod_resources(pod),
        labels={
            LABEL_POD_UID: pod.metadata.uid,
            LABEL_POD_NAME: pod.metadata.name,
            LABEL_POD_NAMESPACE: pod.metadata.namespace,
            LABEL_GRACE: str(
                spec.terminationGracePeriodSeconds if spec.terminationGracePeriodSeconds is not None else 30
            ),
        },
    )


def container_id(pod: Pod, name: str, attempt: int, sandbox_id: str) -> str:
    """An id for one start of a container: the same inputs give the same id, so a repeated start is recognised."""
    return hashlib.sha256(f"{pod.metadata.uid}/{sandbox_id}/{name}/{attempt}".encode()).hexdigest()


def log_dir(pod: Pod, config: KubeletConfig) -> Path:
    """Log folder of a pod, in the layout log collectors look for (KEP-589)."""
    meta = pod.metadata
    return config.log_dir / "pods" / f"{meta.namespace}_{meta.name}_{meta.uid}"


def log_path(pod: Pod, container: str, attempt: int, config: KubeletConfig) -> Path:
    return log_dir(pod, config) / container / f"{attempt}.log"


def spec_hash(container: AnyContainer) -> str:
    """Changes when a running container must be replaced: only its image may change in place."""
    return hashlib.sha256(container.image.encode()).hexdigest()[:16]


def arguments(container: AnyContainer, image: Image, env: Mapping[str, str]) -> tuple[str, ...]:
    """Command line: `command` replaces the image's entrypoint and its cmd; `args` alone replaces only the cmd."""
    command = tuple(expand(word, env) for word in container.command)
    args = tuple(expand(word, env) for word in container.args)
    if command:
        return command + args
    line = image.config.entrypoint + (args or image.config.cmd)
    if not line:
        raise ConfigError(
            "no command specified: the image has no entrypoint or cmd, and the container gives no command"
        )
    return line


def security(pod: Pod, container: AnyContainer, image: Image, seccomp_dir: Path) -> Security:
    """Who the container runs as and what it may do: the container's context over the pod's over the image."""
    own = container.securityContext or SecurityContext()
    shared = pod.spec.securityContext or PodSecurityContext()
    uid = own.runAsUser if own.runAsUser is not None else shared.runAsUser
    gid = own.runAsGroup if own.runAsGroup is not None else shared.runAsGroup
    non_root = own.runAsNonRoot if own.runAsNonRoot is not None else bool(shared.runAsNonRoot)
    username = ""
    if uid is None:
        user, _, group = image.config.user.partition(":")
        uid = natural(user, ID_MAX)
        if uid is not None:
            gid = natural(group, ID_MAX) if gid is None else gid
        elif user:
            username = image.config.user
    if non_root and (uid == 0 or (uid is None and not username)):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {_whose(pod, container)}")
    if non_root and uid is None:
        user = username.partition(":")[0]
        raise ConfigError(
            f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root "
            f"{_whose(pod, container)}"
        )
    groups = [*shared.supplementalGroups]
    if shared.fsGroup is not None:
        groups.append(shared.fsGroup)
    capabilities = own.capabilities
    privileged = bool(own.privileged)
    return Security(
        uid=uid,
        gid=gid,
        username=username,
        supplementary_gids=tuple(groups),
        strict_groups=shared.supplementalGroupsPolicy == "Strict",
        run_as_non_root=non_root,
        privileged=privileged,
        readonly_rootfs=bool(own.readOnlyRootFilesystem),
        no_new_privileges=own.allowPrivilegeEscalation is False,
        add_capabilities=tuple(capabilities.add) if capabilities is not None else (),
        drop_capabilities=tuple(capabilities.drop) if capabilities is not None else (),
        seccomp="unconfined" if privileged else _seccomp(own.seccompProfile or shared.seccompProfile, seccomp_dir),
        apparmor="" if privileged else _apparmor(own.appArmorProfile or shared.appArmorProfile),
        proc_mount_unmasked=own.procMount == "Unmasked",
    )


def _whose(pod: Pod, container: AnyContainer) -> str:
    meta = pod.metadata
    return f'(pod: "{meta.name}_{meta.namespace}({meta.uid})", container: {container.name})'


def _apparmor(profile: AppArmorProfile | None) -> str:
    """The name of a profile that is loaded on the node; "" leaves the choice to the runtime."""
    if profile is None or profile.type == "RuntimeDefault":
        return ""
    return (profile.localhostProfile or "") if profile.type == "Localhost" else "unconfined"


def _seccomp(profile: SeccompProfile | None, seccomp_dir: Path) -> str:
    """Unset means RuntimeDefault here, as with the kubelet's --seccomp-default; Kubernetes leaves it open."""
    if profile is None or profile.type == "RuntimeDefault":
        return "default"
    if profile.type == "Localhost":
        return str(seccomp_dir / (profile.localhostProfile or ""))
    return "unconfined"


def container_spec(
    *,
    pod: Pod,
    container: AnyContainer,
    kind: str,
    attempt: int,
    sandbox_id: str,
    image: Image,
    env: Mapping[str, str],
    mounts: Sequence[Mount],
    config: KubeletConfig,
    node_memory_bytes: int,
    pid_of: str = "",
) -> ContainerSpec:
    """One start of one container. `pid_of` is the id of a container whose process namespace it joins.

    Raises ConfigError.
    """
    merged = {"HOSTNAME": kernel_hostname(pod)}  # as containerd gives it
    merged.update(item.partition("=")[::2] for item in image.config.env)
    merged.update(env)
    grace = pod.spec.terminationGracePeriodSeconds
    return ContainerSpec(
        id=container_id(pod, container.name, attempt, sandbox_id),
        name=container.name,
        sandbox_id=sandbox_id,
        attempt=attempt,
        image_id=image.id,
        args=arguments(container, image, env),
        env=tuple(f"{name}={value}" for name, value in merged.items()),
        cwd=container.workingDir or image.config.working_dir or "/",
        mounts=tuple(mounts),
        resources=container_resources(container),
        oom_score_adj=oom_score_adj(pod, container, node_memory_bytes),
        security=security(pod, container, image, config.data_dir / "seccomp"),
        tty=container.tty,
        stdin=container.stdin,
        stdin_once=container.stdinOnce,
        log_path=str(log_path(pod, container.name, attempt, config)),
        log_size_bytes_max=config.log_size_bytes_max,
        log_files_max=config.log_files_max,
        stop_signal=stop_signal(container, image),
        pid_of=pid_of,
        labels={
            LABEL_POD_UID: pod.metadata.uid,
            LABEL_POD_NAME: pod.metadata.name,
            LABEL_POD_NAMESPACE: pod.metadata.namespace,
            LABEL_CONTAINER: container.name,
            LABEL_KIND: kind,
            LABEL_SPEC_HASH: spec_hash(container),
            LABEL_GRACE: str(grace if grace is not None else 30),
        },
    )


def recursively_readonly(wanted: VolumeMount) -> bool:
    """Whether mounts below the mounted folder are to be read-only too (KEP-3857)."""
    return wanted.readOnly and wanted.recursiveReadOnly in ("Enabled", "IfPossible")


def stop_signal(container: AnyContainer, image: Image) -> str:
    if container.lifecycle is not None and container.lifecycle.stopSignal:
        return container.lifecycle.stopSignal
    return image.config.stop_signal or "SIGTERM"
