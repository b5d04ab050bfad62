"""A kubelet without containers: it registers nodes, renews their leases and lives its pods' lives by a script.

For tests of controllers: pods become Running and Ready, end with an exit code, restart by their policy, and stop when
they are deleted, all through the API as the node's own identity.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
import trio

from edgekube.client.api import Change, Client, Key
from edgekube.types.coordination_v1 import Lease, LeaseSpec
from edgekube.types.core_v1 import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    Node,
    NodeAddress,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    Pod,
    PodCondition,
    PodIP,
    Taint,
)
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_micro_time, format_time

LEASES = "kube-node-lease"
RENEW_SECONDS = 10.0
RESTART_SECONDS = 1.0
TRIES_MAX = 5
KILLED = 137


class Script(msgspec.Struct, frozen=True):
    """How one pod lives; seconds all. `ready_after` None: it never gets ready. `run` None: it runs until deleted."""

    start: float = 1.0
    ready_after: float | None = 0.0
    run: float | None = None
    exit_code: int = 0
    stop: float = 1.0
    stop_code: int = KILLED


class _Life(msgspec.Struct, eq=False):
    """What the kubelet knows of one pod."""

    key: Key
    uid: str
    node: str
    deleted: trio.Event
    cancel: trio.CancelScope


class FakeKubelet:
    """The kubelets of all nodes of a fake cluster. `client_for` gives a node's identity by the node's name.

    `script` decides each pod's life; set it before the pods are made.
    """

    def __init__(
        self, client: Client, client_for: Callable[[str], Client], *, now: Callable[[], datetime], nursery: trio.Nursery
    ) -> None:
        self._client = client
        self._client_for = client_for
        self._now = now
        self._nursery = nursery
        self._lives: dict[str, _Life] = {}
        self._silent: set[str] = set()
        self._addresses = 0
        self.script: Callable[[Pod], Script] = lambda _pod: Script()

    def start(self) -> None:
        """Follow the pods; what runs belongs to the nursery given."""
        self._client.informer(Pod).subscribe(self._on_pod)

    # -- nodes

    async def add_node(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        taints: tuple[Taint, ...] = (),
        cpu: str = "4",
        memory: str = "8Gi",
        pods: str = "110",
    ) -> Node:
        """Register a node that is Ready and renews its lease."""
        room = {"cpu": cpu, "memory": memory, "pods": pods}
        node = Node(
            apiVersion="v1",
            kind="Node",
            metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name, **(labels or {})}),
            spec=NodeSpec(taints=taints),
            status=NodeStatus(
                capacity=room,
                allocatable=room,
                conditions=self._conditions(),
                addresses=(NodeAddress(type="InternalIP", address=f"192.0.2.{len(self._nodes()) + 1}"),),
            ),
        )
        created = await self._client.create(node)
        lease = Lease(
            apiVersion="coordination.k8s.io/v1",
            kind="Lease",
            metadata=ObjectMeta(name=name, namespace=LEASES),
            spec=LeaseSpec(holderIdentity=name, leaseDurationSeconds=40, renewTime=format_micro_time(self._now())),
        )
        await self._client_for(name).create(lease)
        self._nursery.start_soon(self._renew, name)
        return created

    def silence(self, name: str) -> None:
        """The node falls silent: no heartbeats, no pod news, as after a pulled plug."""
        self._silent.add(name)
        for life in list(self._lives.values()):
            if life.node == name:
                life.cancel.cancel()

    async def restore(self, name: str) -> None:
        """The node is back: Ready, renewing, and it takes its pods up again."""
        self._silent.discard(name)
        conditions = [msgspec.to_builtins(c) for c in self._conditions()]
        client = self._client_for(name)
        await client.patch(Node, name, patch={"status": {"conditions": conditions}}, subresource="status")
        self._nursery.start_soon(self._renew, name)
        for pod in self._client.informer(Pod).list():
            if pod.spec.nodeName == name:
                self._take(pod)

    def _nodes(self) -> list[Node]:
        return list(self._client.informer(Node).list())

    def _conditions(self) -> tuple[NodeCondition, ...]:
        now = format_time(self._now())
        return (
            NodeCondition(
                type="Ready",
                status="True",
                reason="KubeletReady",
                message="kubelet is posting ready status",
                lastTransitionTime=now,
                lastHeartbeatTime=now,
            ),
        )

    async def _renew(self, name: str) -> None:
        client = self._client_for(name)
        while name not in self._silent and self._client.informer(Node).get("", name) is not None:
            renewed = {"spec": {"renewTime": format_micro_time(self._now())}}
            await client.patch(Lease, name, LEASES, patch=renewed)
            await trio.sleep(RENEW_SECONDS)

    # -- pods

    def _on_pod(self, change: Change[Pod]) -> None:
        pod = change.obj
        life = self._lives.get(pod.metadata.uid)
        if change.new is None:
            if life is not None:
                life.cancel.cancel()
        elif life is not None:
            if pod.metadata.deletionTimestamp:
                life.deleted.set()
        else:
            self._take(pod)

    def _take(self, pod: Pod) -> None:
        meta, node = pod.metadata, pod.spec.nodeName
        known = node and node not in self._silent and self._client.informer(Node).get("", node) is not None
        ended = pod.status.phase in ("Succeeded", "Failed") and not meta.deletionTimestamp
        if not known or ended or meta.uid in self._lives:
            return
        life = _Life((meta.namespace, meta.name), meta.uid, node, trio.Event(), trio.CancelScope())
        if meta.deletionTimestamp:
            life.deleted.set()
        self._lives[meta.uid] = life
        self._nursery.start_soon(self._live, life)

    async def _live(self, life: _Life) -> None:
        try:
            with life.cancel:
                try:
                    await self._play(life)
                except ApiError as error:
                    if error.code not in (403, 404, 409):  # gone, or another of the same name
                        raise
        finally:
            del self._lives[life.uid]

    async def _play(self, life: _Life) -> None:
        pod = self._pod(life)
        if pod is None:
            return
        script = self.script(pod)
        if not life.deleted.is_set() and not await _either(life.deleted, script.start):
            await self._run(life, script)
        if not life.deleted.is_set():
            # It has ended by itself; its name stays until somebody deletes it.
            await life.deleted.wait()
        pod = self._pod(life)
        if pod is None:
            return
        if pod.status.phase not in ("Succeeded", "Failed"):
            await trio.sleep(script.stop)
            await self._ended(life, script.stop_code)
        client = self._client_for(life.node)
        await client.delete(Pod, life.key[1], life.key[0], grace_period_seconds=0, uid=life.uid)

    async def _run(self, life: _Life, script: Script) -> None:
        """Until the pod has ended or is deleted."""
        restarts = 0
        self._addresses += 1
        address = f"10.42.{self._addresses >> 8}.{self._addresses & 255}"
        while True:
            at_once = script.ready_after == 0
            await self._running(life, address, restarts, ready=at_once)
            left = script.run
            if script.ready_after and not at_once and (left is None or script.ready_after < left):
                if await _either(life.deleted, script.ready_after):
                    return
                await self._running(life, address, restarts, ready=True)
                left = None if left is None else left - script.ready_after
            if left is None:
                await life.deleted.wait()
                return
            if await _either(life.deleted, left):
                return
            pod = self._pod(life)
            policy = pod.spec.restartPolicy if pod is not None else "Never"
            if policy == "Never" or (policy == "OnFailure" and script.exit_code == 0):
                await self._ended(life, script.exit_code)
                return
            restarts += 1
            if await _either(life.deleted, RESTART_SECONDS):
                return

    def _pod(self, life: _Life) -> Pod | None:
        pod = self._client.informer(Pod).get(*life.key)
        return pod if pod is not None and pod.metadata.uid == life.uid else None

    async def _running(self, life: _Life, address: str, restarts: int, *, ready: bool) -> None:
        now = format_time(self._now())
        state = ContainerState(running=ContainerStateRunning(startedAt=now))
        await self._report(life, "Running", state, ready=ready, restarts=restarts, address=address)

    async def _ended(self, life: _Life, code: int) -> None:
        pod = self._pod(life)
        if pod is None:
            return
        now = format_time(self._now())
        state = ContainerState(
            terminated=ContainerStateTerminated(
                exitCode=code, reason="Completed" if code == 0 else "Error", startedAt=now, finishedAt=now
            )
        )
        restarts = max((s.restartCount for s in pod.status.containerStatuses), default=0)
        phase = "Succeeded" if code == 0 else "Failed"
        await self._report(life, phase, state, ready=False, restarts=restarts, address=pod.status.podIP)

    async def _report(
        self, life: _Life, phase: str, state: ContainerState, *, ready: bool, restarts: int, address: str
    ) -> None:
        pod = self._pod(life)
        if pod is None:
            return
        now = format_time(self._now())
        statuses = [
            ContainerStatus(
                name=c.name,
                ready=ready,
                started=phase == "Running",
                restartCount=restarts,
                state=state,
                image=c.image,
                imageID=c.image,
            )
            for c in pod.spec.containers
        ]
        ours = {"Ready": ready, "ContainersReady": ready, "Initialized": True}
        old = {c.type: c for c in pod.status.conditions}
        conditions = [c for c in pod.status.conditions if c.type not in ours]
        for type_, holds in ours.items():
            text = str(holds)
            held = old.get(type_)
            since = held.lastTransitionTime if held is not None and held.status == text else now
            conditions.append(PodCondition(type=type_, status=text, lastTransitionTime=since))
        status = {
            "phase": phase,
            "podIP": address,
            "podIPs": [msgspec.to_builtins(PodIP(ip=address))] if address else None,
            "startTime": pod.status.startTime or now,
            "containerStatuses": [msgspec.to_builtins(s) for s in statuses],
            "conditions": [msgspec.to_builtins(c) for c in conditions],
        }
        patch = {"metadata": {"uid": life.uid}, "status": status}
        client = self._client_for(life.node)
        for attempt in range(TRIES_MAX):
            try:
                await client.patch(Pod, life.key[1], life.key[0], patch=patch, subresource="status")
                return
            except ApiError as error:
                if error.code != 409 or attempt == TRIES_MAX - 1:
                    raise


async def _either(event: trio.Event, seconds: float) -> bool:
    """Wait for the event or for time to pass; True when it was the event."""
    with trio.move_on_after(seconds):
        await event.wait()
    return event.is_set()
