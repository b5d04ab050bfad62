"""Everything on the node's file systems that belongs to one pod: volumes, /etc files, termination messages, logs."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from edgekube.kubelet import spec as build
from edgekube.kubelet.config import TERMINATION_MESSAGE_BYTES_MAX
from edgekube.kubelet.env import ConfigError
from edgekube.kubelet.files import host_network_hosts, node_resolver, pod_hosts, pod_resolver
from edgekube.kubelet.logs import log_files, tail_text
from edgekube.kubelet.payload import payload_of, token_projections
from edgekube.kubelet.services import Services
from edgekube.kubelet.spec import AnyContainer
from edgekube.kubelet.volumes import PodVolumes
from edgekube.runtime.api import ContainerStatus, Mount
from edgekube.types.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from edgekube.types.core_v1 import (
    HostPathVolumeSource,
    PersistentVolume,
    PersistentVolumeClaim,
    Pod,
    ServiceAccount,
    ServiceAccountTokenProjection,
    Volume,
)
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import parse_time

TOKEN_SECONDS_DEFAULT = 3600
TOKEN_RENEW_AT = 0.8  # of its life, as the kubelet's token manager does
TERMINATION_PATH_DEFAULT = "/dev/termination-log"
LOG_TAIL_LINES = 80
LOG_TAIL_BYTES = 2048


class _Token(msgspec.Struct, frozen=True):
    token: str
    renew_at: float  # trio time


class PodFiles:
    """Owned by the pod's worker. `prepare` is idempotent and runs in every sync."""

    def __init__(self, services: Services, pod: Pod) -> None:
        self._services = services
        self._pod = pod
        config = services.config
        self._volumes = PodVolumes(pod, data_dir=config.data_dir, run_dir=config.run_dir)
        self._tokens: dict[tuple[str, int], _Token] = {}
        self._used = _references(pod)

    @property
    def refresh_at(self) -> float:
        """When the first token wants renewing (trio time)."""
        return min((t.renew_at for t in self._tokens.values()), default=float("inf"))

    def volume_path(self, volume: Volume) -> Path:
        return self._volumes.path(volume)

    def uses(self, kind: str, name: str) -> bool:
        return (kind, name) in self._used

    async def prepare(self, pod: Pod, ips: tuple[str, ...]) -> None:
        """Volumes mounted and filled, /etc files written. Raises ConfigError naming the volume."""
        self._pod = pod
        sources = self._services.sources(pod, ips)
        for declared in pod.spec.volumes:
            volume = declared
            try:
                if volume.persistentVolumeClaim is not None:
                    volume = await self._claimed(pod, volume)
                self._volumes.prepare(volume)
                for projection in token_projections(volume):
                    await self._token(pod, projection)
                payload = payload_of(pod, volume, sources, self._token_text)
                if payload is not None:
                    self._volumes.write(volume, payload)
            except (ConfigError, OSError, ApiError) as error:
                words = f'MountVolume.SetUp failed for volume "{volume.name}" : {error}'
                self._services.events.event(pod, "Warning", "FailedMount", words)
                raise ConfigError(words) from error
        self._write_etc(pod, ips)

    async def _claimed(self, pod: Pod, volume: Volume) -> Volume:
        """The volume behind a claim, as a hostPath: those of kind hostPath and local are on this node."""
        assert volume.persistentVolumeClaim is not None
        name = volume.persistentVolumeClaim.claimName
        try:
            claim = await self._services.client.get(PersistentVolumeClaim, name, pod.metadata.namespace)
            if claim.status.phase != "Bound":
                raise ConfigError(f'PersistentVolumeClaim "{name}" is not bound to a volume yet')
            found = await self._services.client.get(PersistentVolume, claim.spec.volumeName)
        except ApiError as error:
            raise ConfigError(str(error)) from error
        source = found.spec.hostPath
        if source is None and found.spec.local is not None:
            source = HostPathVolumeSource(path=found.spec.local.path, type="Directory")
        if source is None:
            raise ConfigError(
                f'PersistentVolume "{found.metadata.name}" is of a kind that is not supported by this node; '
                "it has hostPath and local"
            )
        resolved = Volume(name=volume.name, hostPath=source)
        self._volumes.resolve(resolved)
        return resolved

    async def _token(self, pod: Pod, projection: ServiceAccountTokenProjection) -> None:
        """Issue or renew one token, bound to the pod."""
        seconds = projection.expirationSeconds or TOKEN_SECONDS_DEFAULT
        key = (projection.audience, seconds)
        known = self._tokens.get(key)
        if known is not None and known.renew_at > trio.current_time():
            return
        meta = pod.metadata
        request = TokenRequest(
            apiVersion="authentication.k8s.io/v1",
            kind="TokenRequest",
            metadata=ObjectMeta(),
            spec=TokenRequestSpec(
                audiences=(projection.audience,) if projection.audience else (),
                expirationSeconds=seconds,
                boundObjectRef=BoundObjectReference(apiVersion="v1", kind="Pod", name=meta.name, uid=meta.uid),
            ),
        )
        account = pod.spec.serviceAccountName or "default"
        answer = await self._services.client.create_sub(ServiceAccount, account, meta.namespace, "token", request)
        lasts = parse_time(answer.status.expirationTimestamp) - self._services.config.now().timestamp()
        self._tokens[key] = _Token(answer.status.token, trio.current_time() + max(60.0, lasts * TOKEN_RENEW_AT))

    def _token_text(self, projection: ServiceAccountTokenProjection) -> str:
        seconds = projection.expirationSeconds or TOKEN_SECONDS_DEFAULT
        return self._tokens[projection.audience, seconds].token

    def _write_etc(self, pod: Pod, ips: tuple[str, ...]) -> None:
        config = self._services.config
        etc = self._volumes.disk_dir / "etc"
        etc.mkdir(exist_ok=True)
        if pod.spec.hostNetwork:
            hosts = host_network_hosts(pod, Path("/etc/hosts").read_text(errors="replace"))
        else:
            hosts = pod_hosts(pod, ips, config)
        resolver = pod_resolver(pod, config, node_resolver(config.resolv_conf))
        for name, text in (
            ("hosts", hosts),
            ("resolv.conf", resolver.text()),
            ("hostname", build.sandbox_spec(pod, config).hostname + "\n"),
        ):
            path = etc / name
            if not _says(path, text.encode()):
                path.write_text(text)  # in place: running containers have these very inodes mounted
                path.chmod(0o644)

    def mounts(self, pod: Pod, container: AnyContainer, env: Mapping[str, str], attempt: int) -> list[Mount]:
        """All bind mounts of a container: its volumes, then what it does not cover of /etc and its message file."""
        mounts = self._volumes.mounts(pod, container, env)
        taken = {mount.target for mount in mounts}
        etc = self._volumes.disk_dir / "etc"
        security = container.securityContext
        readonly = bool(security is not None and security.readOnlyRootFilesystem)
        for name in ("hosts", "resolv.conf", "hostname"):
            if f"/etc/{name}" not in taken:
                mounts.append(Mount(target=f"/etc/{name}", source=str(etc / name), readonly=readonly))
        target = container.terminationMessagePath or TERMINATION_PATH_DEFAULT
        if target not in taken:
            path = self._message_path(container.name, attempt)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
            path.chmod(0o666)
            mounts.append(Mount(target=target, source=str(path)))
        return mounts

    def _message_path(self, container: str, attempt: int) -> Path:
        return self._volumes.disk_dir / "containers" / container / str(attempt)

    def termination_message(self, pod: Pod, status: ContainerStatus) -> str:
        """What an ended container left: its message file, or the end of its log (terminationMessagePolicy)."""
        path = self._message_path(status.spec.name, status.spec.attempt)
        text = ""
        try:
            with path.open("rb") as file:
                text = file.read(TERMINATION_MESSAGE_BYTES_MAX).decode(errors="replace")
        except OSError:
            pass
        if text or status.exit_code == 0:
            return text
        policy = next((c.terminationMessagePolicy for c in build.all_containers(pod) if c.name == status.spec.name), "")
        if policy == "FallbackToLogsOnError":
            return tail_text(Path(status.spec.log_path), LOG_TAIL_LINES, LOG_TAIL_BYTES)
        return ""

    async def remove(self) -> None:
        """Everything but the logs."""
        await self._volumes.remove()
        self._tokens.clear()

    def forget(self, pod: Pod, container: str, attempt: int) -> None:
        """The message and the logs of a start that nobody can ask for any more."""
        self._message_path(container, attempt).unlink(missing_ok=True)
        current = build.log_path(pod, container, attempt, self._services.config)
        for path in log_files(current):
            path.unlink(missing_ok=True)

    def remove_logs(self) -> None:
        shutil.rmtree(build.log_dir(self._pod, self._services.config), ignore_errors=True)


def _says(path: Path, wanted: bytes) -> bool:
    """Whether a file holds `wanted`, without reading more than that: containers can write to it."""
    try:
        with path.open("rb") as file:
            return file.read(len(wanted) + 1) == wanted
    except FileNotFoundError:
        return False


def _references(pod: Pod) -> frozenset[tuple[str, str]]:
    """(ConfigMap | Secret, name) for everything the pod's volumes name: a change of one is a reason to sync."""
    found: set[tuple[str, str]] = set()
    for volume in pod.spec.volumes:
        if volume.configMap is not None:
            found.add(("ConfigMap", volume.configMap.name))
        if volume.secret is not None:
            found.add(("Secret", volume.secret.secretName))
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.configMap is not None:
                found.add(("ConfigMap", source.configMap.name))
            if source.secret is not None:
                found.add(("Secret", source.secret.name))
    for container in (*pod.spec.initContainers, *pod.spec.containers):
        for env_from in container.envFrom:
            if env_from.configMapRef is not None:
                found.add(("ConfigMap", env_from.configMapRef.name))
            if env_from.secretRef is not None:
                found.add(("Secret", env_from.secretRef.name))
        for variable in container.env:
            origin = variable.valueFrom
            if origin is not None and origin.configMapKeyRef is not None:
                found.add(("ConfigMap", origin.configMapKeyRef.name))
            if origin is not None and origin.secretKeyRef is not None:
                found.add(("Secret", origin.secretKeyRef.name))
    return frozenset(found)
