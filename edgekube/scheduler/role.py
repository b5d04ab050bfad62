"""The scheduler as a role: a priority queue of unbound pods, one decision at a time, bindings in the background."""

import heapq
import logging
import random
from collections.abc import Callable
from datetime import datetime

import msgspec
import trio

from edgekube.client.api import Change, Client
from edgekube.client.events import EventRecorder
from edgekube.client.names import key_of, pretty
from edgekube.scheduler.decide import Decision, decide
from edgekube.scheduler.snapshot import Snapshot, take
from edgekube.types.core_v1 import Binding, Namespace, Node, ObjectReference, Pod, PodCondition
from edgekube.types.meta_v1 import ObjectMeta
from edgekube.types.status import ApiError
from edgekube.types.time import format_time

log = logging.getLogger(__name__)

SCHEDULER_NAME = "default-scheduler"
BACKOFF_INITIAL_SECONDS = 1.0
BACKOFF_MAX_SECONDS = 10.0
UNSCHEDULABLE_SECONDS_MAX = 300.0  # a pod is looked at again after this even when nothing seems to have changed
BINDINGS_AT_ONCE = 16
SLICE_PODS = 16  # decisions between two turns of the event loop (a pass stays under 50 ms)


class _Waiting(msgspec.Struct):
    attempts: int = 0
    backoff_until: float = 0.0
    unschedulable_since: float = 0.0


class Scheduler:
    """Pods wait in one of three places: ready (a heap by priority), backing off, or unschedulable until a change."""

    def __init__(self, client: Client, *, now: Callable[[], datetime], rng: random.Random | None = None) -> None:
        self._client = client
        self._now = now
        self._rng = rng or random.Random()
        self._pods = client.informer(Pod)
        self._nodes = client.informer(Node)
        self._namespaces = client.informer(Namespace)
        self._events = EventRecorder(client, SCHEDULER_NAME, now=now)
        self._heap: list[tuple[int, float, int, str]] = []
        self._queued: dict[str, tuple[str, str]] = {}  # uid -> key, pods in the heap
        self._waiting: dict[str, _Waiting] = {}
        self._unschedulable: dict[str, tuple[str, str]] = {}
        self._assumed: dict[str, tuple[Pod, str]] = {}
        self._sequence = 0
        self._wakeup = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Schedule until cancelled."""
        for informer in (self._pods, self._nodes, self._namespaces):
            await informer.wait_synced()
        unsubscribe = [
            self._nodes.subscribe(self._on_node),
            self._pods.subscribe(self._on_pod),
            self._namespaces.subscribe(self._on_namespace),
        ]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._events.run)
                limiter = trio.CapacityLimiter(BINDINGS_AT_ONCE)
                task_status.started()
                while True:
                    self._pass(nursery, limiter)
                    await self._wait()
        finally:
            for stop in unsubscribe:
                stop()

    async def _wait(self) -> None:
        """Until a pod is ready or the next one comes out of its back-off."""
        if self._heap:
            await trio.lowlevel.checkpoint()
            return
        self._wakeup = trio.Event()
        times = [self._waiting[uid].unschedulable_since + UNSCHEDULABLE_SECONDS_MAX for uid in self._unschedulable]
        with trio.CancelScope(deadline=min(times, default=float("inf"))):
            await self._wakeup.wait()
        now = trio.current_time()
        for uid in list(self._unschedulable):
            if self._waiting[uid].unschedulable_since + UNSCHEDULABLE_SECONDS_MAX <= now:
                self._requeue(uid)

    def _mine(self, pod: Pod) -> bool:
        return (
            not pod.spec.nodeName
            and (pod.spec.schedulerName or SCHEDULER_NAME) == SCHEDULER_NAME
            and not pod.metadata.deletionTimestamp
            and not pod.spec.schedulingGates
            and pod.status.phase not in ("Succeeded", "Failed")
        )

    def _on_pod(self, change: Change[Pod]) -> None:
        pod, uid = change.obj, change.obj.metadata.uid
        if change.new is not None and self._mine(change.new):
            if uid in self._assumed or uid in self._queued:
                return
            # Its own status update (unschedulable) is no reason to try again; a change of spec or labels is.
            old = change.old
            if (
                uid not in self._unschedulable
                or old is None
                or (old.spec, old.metadata.labels)
                != (
                    pod.spec,
                    pod.metadata.labels,
                )
            ):
                self._push(pod)
            return
        self._assumed.pop(uid, None)
        self._queued.pop(uid, None)
        self._waiting.pop(uid, None)
        self._unschedulable.pop(uid, None)
        finished = change.new is None or pod.status.phase in ("Succeeded", "Failed")
        appeared = change.new is not None and (change.old is None or not change.old.spec.nodeName)
        relabelled = (
            change.old is not None
            and change.new is not None
            and (change.old.metadata.labels != change.new.metadata.labels)
        )
        if pod.spec.nodeName and (finished or appeared or relabelled):
            self._retry_all()

    def _on_node(self, change: Change[Node]) -> None:
        old, new = change.old, change.new
        if new is None:
            return
        if old is None or (old.spec, old.metadata.labels, old.status.allocatable) != (
            new.spec,
            new.metadata.labels,
            new.status.allocatable,
        ):
            self._retry_all()

    def _on_namespace(self, change: Change[Namespace]) -> None:
        if change.old is None or change.new is None or change.old.metadata.labels != change.new.metadata.labels:
            self._retry_all()

    def _push(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        self._unschedulable.pop(uid, None)
        self._queued[uid] = key_of(pod)
        waiting = self._waiting.setdefault(uid, _Waiting())
        if not waiting.unschedulable_since:
            waiting.unschedulable_since = trio.current_time()
        self._sequence += 1
        heapq.heappush(self._heap, (-(pod.spec.priority or 0), waiting.unschedulable_since, self._sequence, uid))
        self._wakeup.set()

    def _retry_all(self) -> None:
        for uid in list(self._unschedulable):
            self._requeue(uid)

    def _requeue(self, uid: str) -> None:
        pod = self._pods.get(*self._unschedulable[uid])
        if pod is None or pod.metadata.uid != uid:
            del self._unschedulable[uid]
        elif self._waiting[uid].backoff_until <= trio.current_time():
            self._push(pod)
        else:
            # Comes back by itself when its back-off ends: `_wait` sets the alarm.
            self._waiting[uid].unschedulable_since = self._waiting[uid].backoff_until - UNSCHEDULABLE_SECONDS_MAX
            self._wakeup.set()

    def _pass(self, nursery: trio.Nursery, limiter: trio.CapacityLimiter) -> None:
        """Decide for a slice of what is ready, on one snapshot; nothing is awaited, so it cannot grow old meanwhile."""
        if not self._heap:
            return
        snapshot = self._snapshot()
        for _ in range(SLICE_PODS):
            pod = self._pop()
            if pod is None:
                break
            decision = decide(pod, snapshot, self._rng)
            if decision.node:
                snapshot.assume(pod, decision.node)
                self._assumed[pod.metadata.uid] = (pod, decision.node)
                nursery.start_soon(self._bind, pod, decision.node, limiter)
            else:
                self._park(pod)
                nursery.start_soon(self._explain, pod, decision, limiter)

    def _snapshot(self) -> Snapshot:
        snapshot = take(self._nodes.list(), self._pods.list(), self._namespaces.list())
        for pod, node in self._assumed.values():
            snapshot.assume(pod, node)
        return snapshot

    def _pop(self) -> Pod | None:
        while self._heap:
            *_, uid = heapq.heappop(self._heap)
            key = self._queued.pop(uid, None)
            pod = self._pods.get(*key) if key is not None else None
            if pod is not None and pod.metadata.uid == uid and self._mine(pod):
                return pod
        return None

    def _park(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        waiting = self._waiting.setdefault(uid, _Waiting())
        waiting.attempts += 1
        delay = min(BACKOFF_MAX_SECONDS, BACKOFF_INITIAL_SECONDS * 2.0 ** min(waiting.attempts - 1, 8))
        now = trio.current_time()
        waiting.backoff_until = now + delay
        waiting.unschedulable_since = now
        self._unschedulable[uid] = key_of(pod)

    async def _explain(self, pod: Pod, decision: Decision, limiter: trio.CapacityLimiter) -> None:
        """Event and condition; an unchanged condition is not written again."""
        self._events.event(pod, "Warning", "FailedScheduling", decision.message)
        async with limiter:
            await self._write_condition(pod, decision)

    async def _write_condition(self, asked: Pod, decision: Decision) -> None:
        pod = self._pods.get(asked.metadata.namespace, asked.metadata.name)
        if pod is None or pod.metadata.uid != asked.metadata.uid or pod.metadata.uid not in self._unschedulable:
            return  # gone, or being tried again: this is no news any more
        old = next((c for c in pod.status.conditions if c.type == "PodScheduled"), None)
        if old is not None and (old.status, old.reason, old.message) == ("False", "Unschedulable", decision.message):
            return
        now = format_time(self._now())
        condition = PodCondition(
            type="PodScheduled",
            status="False",
            reason="Unschedulable",
            message=decision.message,
            lastTransitionTime=old.lastTransitionTime if old is not None and old.status == "False" else now,
            observedGeneration=pod.metadata.generation,
        )
        conditions = [*(c for c in pod.status.conditions if c.type != "PodScheduled"), condition]
        meta = pod.metadata
        # The version keeps this from overwriting what a binding wrote meanwhile.
        precondition = {"uid": meta.uid, "resourceVersion": meta.resourceVersion}
        patch = {"metadata": precondition, "status": {"conditions": msgspec.to_builtins(conditions)}}
        try:
            await self._client.patch(Pod, meta.name, meta.namespace, patch=patch, subresource="status")
        except ApiError as error:
            log.debug("pod=%s condition not written: %s", pretty(key_of(pod)), error)

    async def _bind(self, pod: Pod, node: str, limiter: trio.CapacityLimiter) -> None:
        meta = pod.metadata
        binding = Binding(
            apiVersion="v1",
            kind="Binding",
            metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
            target=ObjectReference(kind="Node", name=node),
        )
        try:
            async with limiter:
                await self._client.create_sub(Pod, meta.name, meta.namespace, "binding", binding)
        except ApiError as error:
            self._assumed.pop(meta.uid, None)
            if error.code == 404:
                return
            log.warning("pod=%s node=%s binding failed: %s", pretty(key_of(pod)), node, error)
            self._events.event(pod, "Warning", "FailedScheduling", f"binding rejected: {error}")
            current = self._pods.get(meta.namespace, meta.name)
            if current is not None and self._mine(current):
                self._park(current)
                self._requeue(meta.uid)
            return
        words = f"Successfully assigned {pretty(key_of(pod))} to {node}"
        self._events.event(pod, "Normal", "Scheduled", words)


async def run(
    *,
    client: Client,
    now: Callable[[], datetime],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """The role's task: schedule until cancelled."""
    await Scheduler(client, now=now).run(task_status)
