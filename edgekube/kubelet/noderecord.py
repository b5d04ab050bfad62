"""The Node object of this machine: registered at start, its conditions kept true (pkg/kubelet/nodestatus).

Heartbeats are not disk writes: the API server keeps the renewals of a node's Lease in memory, and the Node object is
patched only when something it says has changed.
"""

import os
from collections.abc import Callable, Mapping, Sequence

import msgspec
import trio

from edgekube.client.api import Client
from edgekube.client.patches import merge_patch
from edgekube.kubelet.config import (
    DISK_AVAILABLE_MIN,
    INODES_AVAILABLE_MIN,
    MEMORY_AVAILABLE_MIN_BYTES,
    PIDS_AVAILABLE_MIN,
    KubeletConfig,
)
from edgekube.kubelet.machine import Machine, allocatable, meminfo
from edgekube.network.api import NetworkFailure
from edgekube.runtime.api import ContainerRuntime, Image
from edgekube.types.coordination_v1 import Lease, LeaseSpec
from edgekube.types.core_v1 import (
    ContainerImage,
    DaemonEndpoint,
    Node,
    NodeAddress,
    NodeCondition,
    NodeDaemonEndpoints,
    NodeFeatures,
    NodeSpec,
    NodeStatus,
    NodeSystemInfo,
    Taint,
)
from edgekube.types.meta_v1 import ObjectMeta, OwnerReference
from edgekube.types.status import ApiError
from edgekube.types.time import format_micro_time, format_time

LEASE_SECONDS = 40
HEARTBEAT_SECONDS = 10.0
CHECK_SECONDS = 10.0
IMAGES_MAX = 50  # listed in status, as the kubelet limits it


DEGRADED = "NetworkDegraded"  # EdgeKube's own: what works less well than it could, and what to do about it


def pids_free() -> float:
    """Which part of the machine's process ids is left."""
    with open("/proc/loadavg") as file:
        running = int(file.read().split()[3].partition("/")[2])
    with open("/proc/sys/kernel/pid_max") as file:
        return 1 - running / int(file.read())


def conditions(
    config: KubeletConfig,
    problems: Sequence[str],
    notes: Sequence[str],
    old: Mapping[str, NodeCondition],
    now: str,
) -> tuple[NodeCondition, ...]:
    """MemoryPressure, DiskPressure, PIDPressure, Ready. Times are kept while nothing changes: no write, no wear."""
    available = meminfo().get("MemAvailable", 0)
    disk = os.statvfs(config.data_dir)
    free = disk.f_bavail / max(disk.f_blocks, 1)
    inodes = disk.f_favail / disk.f_files if disk.f_files else 1.0
    pids_left = pids_free()

    def make(type_: str, bad: bool, reason: tuple[str, str], words: tuple[str, str]) -> NodeCondition:
        return NodeCondition(
            type=type_, status="True" if bad else "False", reason=reason[not bad], message=words[not bad]
        )

    made = [
        make(
            "MemoryPressure",
            available < MEMORY_AVAILABLE_MIN_BYTES,
            ("KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            ("kubelet has insufficient memory available", "kubelet has sufficient memory available"),
        ),
        make(
            "DiskPressure",
            free < DISK_AVAILABLE_MIN or inodes < INODES_AVAILABLE_MIN,
            ("KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            ("kubelet has disk pressure", "kubelet has no disk pressure"),
        ),
        make(
            "PIDPressure",
            pids_left < PIDS_AVAILABLE_MIN,
            ("KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            ("kubelet has insufficient PID available", "kubelet has sufficient PID available"),
        ),
        NodeCondition(
            type="Ready",
            status="False" if problems else "True",
            reason="KubeletNotReady" if problems else "KubeletReady",
            message="; ".join(problems) or "kubelet is posting ready status",
        ),
    ]
    if notes or DEGRADED in old:
        made.append(
            NodeCondition(
                type=DEGRADED,
                status="True" if notes else "False",
                reason="HostSettings" if notes else "NoProblem",
                message="; ".join(notes),
            )
        )
    result = []
    for condition in made:
        before = old.get(condition.type)
        same = before is not None and (before.status, before.message) == (condition.status, condition.message)
        result.append(
            msgspec.structs.replace(
                condition,
                lastHeartbeatTime=before.lastHeartbeatTime if same and before is not None else now,
                lastTransitionTime=before.lastTransitionTime
                if before is not None and before.status == condition.status
                else now,
            )
        )
    own = {c.type for c in made}
    return (*result, *(c for name, c in old.items() if name not in own))


def images_of(images: tuple[Image, ...]) -> tuple[ContainerImage, ...]:
    """The largest images on the node, for the scheduler's image locality."""
    largest = sorted(images, key=lambda image: -image.size_bytes)[:IMAGES_MAX]
    return tuple(ContainerImage(names=(*i.repo_digests, *i.tags), sizeBytes=i.size_bytes) for i in largest)


class NodeRecord:
    """Keeps this machine's Node and Lease objects."""

    def __init__(
        self,
        client: Client,
        runtime: ContainerRuntime,
        machine: Machine,
        config: KubeletConfig,
        *,
        problems: Callable[[], Sequence[str]],
        notes: Callable[[], Sequence[str]],
    ) -> None:
        self._client = client
        self._runtime = runtime
        self._machine = machine
        self._config = config
        self._problems = problems
        self._notes = notes

    def _status(self, old: NodeStatus) -> NodeStatus:
        machine, config = self._machine, self._config
        resources = {
            "cpu": str(machine.cores),
            "memory": f"{machine.memory // 1024}Ki",
            "ephemeral-storage": f"{machine.ephemeral_storage // 1024}Ki",
            "pods": str(config.max_pods),
            "hugepages-2Mi": "0",
        }
        free = allocatable(machine, config.system_reserved_memory_bytes)
        now = format_time(config.now())
        return NodeStatus(
            addresses=(
                NodeAddress(type="InternalIP", address=config.node_ip),
                NodeAddress(type="Hostname", address=config.node_name),
            ),
            capacity=resources,
            allocatable={**resources, "memory": f"{int(free['memory']) // 1024}Ki"},
            conditions=conditions(config, self._problems(), self._told(), {c.type: c for c in old.conditions}, now),
            daemonEndpoints=NodeDaemonEndpoints(kubeletEndpoint=DaemonEndpoint(Port=10250)),
            features=NodeFeatures(supplementalGroupsPolicy=True),
            images=images_of(tuple(self._runtime.images.list())),
            nodeInfo=NodeSystemInfo(
                architecture=machine.architecture,
                bootID=machine.boot_id,
                containerRuntimeVersion=f"edgekube://{config.version}",
                kernelVersion=machine.kernel,
                kubeProxyVersion="",
                kubeletVersion=config.kubelet_version,
                machineID=machine.machine_id,
                operatingSystem="linux",
                osImage=machine.os_image,
                systemUUID=machine.system_uuid,
            ),
        )

    def _told(self) -> Sequence[str]:
        try:
            return self._notes()
        except (NetworkFailure, OSError) as error:
            return (f"the pod network cannot be looked at: {error}",)

    def labels(self) -> dict[str, str]:
        return {
            "kubernetes.io/arch": self._machine.architecture,
            "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": self._config.node_name,
            **dict(self._config.labels),
        }

    async def register(self) -> Node:
        """Create the Node, or bring an existing one up to date."""
        config = self._config
        try:
            node = await self._client.get(Node, config.node_name)
        except ApiError as error:
            if error.code != 404:
                raise
            taints = tuple(_taint(text) for text in config.taints)
            node = await self._client.create(
                Node(
                    metadata=ObjectMeta(name=config.node_name, labels=self.labels()),
                    spec=NodeSpec(
                        podCIDR=config.pod_cidr,
                        podCIDRs=(config.pod_cidr,),
                        taints=taints,
                        unschedulable=config.unschedulable,
                    ),
                )
            )
        missing = {k: v for k, v in self.labels().items() if node.metadata.labels.get(k) != v}
        if missing:
            node = await self._client.patch(Node, config.node_name, patch={"metadata": {"labels": missing}})
        return await self.refresh(node)

    async def refresh(self, node: Node) -> Node:
        """Patch the status where it differs."""
        status = self._status(node.status)
        changed = {name: value for name, value in merge_patch(node.status, status).items() if value is not None}
        if not changed:
            return node
        return await self._client.patch(Node, self._config.node_name, patch={"status": changed}, subresource="status")

    async def run(self) -> None:
        """Keep conditions true and the lease fresh until cancelled."""
        while True:
            try:
                node = await self._client.get(Node, self._config.node_name)
                await self.refresh(node)
                await self._renew(node)
            except ApiError as error:
                if error.code == 404:
                    await self.register()  # deleted by hand: the machine is still here
            await trio.sleep(min(CHECK_SECONDS, HEARTBEAT_SECONDS))

    async def _renew(self, node: Node) -> None:
        name = self._config.node_name
        now = format_micro_time(self._config.now())
        try:
            await self._client.patch(Lease, name, "kube-node-lease", patch={"spec": {"renewTime": now}})
        except ApiError as error:
            if error.code != 404:
                raise
            owner = OwnerReference(apiVersion="v1", kind="Node", name=name, uid=node.metadata.uid)
            await self._client.create(
                Lease(
                    metadata=ObjectMeta(name=name, namespace="kube-node-lease", ownerReferences=(owner,)),
                    spec=LeaseSpec(holderIdentity=name, leaseDurationSeconds=LEASE_SECONDS, renewTime=now),
                )
            )


def _taint(text: str) -> Taint:
    """key=value:Effect or key:Effect, as kubectl taint writes it."""
    left, _, effect = text.rpartition(":")
    key, _, value = left.partition("=")
    return Taint(key=key, value=value, effect=effect)
