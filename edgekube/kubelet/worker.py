"""One task a pod: brings what runs on the node to what the pod asks for, and reports (kubelet's pod worker, SyncPod).

The worker sleeps until something happens: the pod changes, a container ends, a probe's verdict turns, a back-off is
over, a ConfigMap it uses changes. Each wake-up runs one idempotent sync, so that any step may fail or be cut short.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import trio

from edgekube.client.names import key_of, pretty
from edgekube.client.patches import merge_patch
from edgekube.kubelet import resize
from edgekube.kubelet import spec as build
from edgekube.kubelet.admission import Refusal
from edgekube.kubelet.config import RETRY_MAX_SECONDS, RETRY_SECONDS
from edgekube.kubelet.containers import Containers
from edgekube.kubelet.env import ConfigError, environment
from edgekube.kubelet.failures import PASSING, all_of, one_failure
from edgekube.kubelet.plan import Kill, Start, decide, termination_order
from edgekube.kubelet.podfiles import PodFiles
from edgekube.kubelet.podsandbox import PodSandbox
from edgekube.kubelet.qos import pod_resources
from edgekube.kubelet.services import Services
from edgekube.kubelet.status import Surroundings, pod_status
from edgekube.runtime.api import ImageFailure
from edgekube.types.core_v1 import Pod, PodCondition, PodStatus
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_time

log = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS = 30.0
FORCED_GRACE_SECONDS = 2.0  # of a pod that was taken out of the API at once
CONFIG_RETRY_SECONDS = 10.0
PULL_FAILED_SECONDS = 5.0  # ErrImagePull is shown this long before it is called ImagePullBackOff
RESIZE_RETRY_SECONDS = 60.0
ENDED = ("Succeeded", "Failed")


class PodWorker:
    """Runs one pod from binding to deletion. `update` and `forget` are called by the role, `run` is its task.

    `refusal`: the node does not take the pod; it fails with that reason.
    """

    def __init__(self, services: Services, pod: Pod, refusal: Refusal | None = None) -> None:
        self.uid = pod.metadata.uid
        self._services = services
        self._pod = pod
        self._gone = False  # deleted from the API: nothing to report to
        self._wake = trio.Event()
        self._changed = trio.Event()
        self._writing = trio.Lock()
        self._sync_scope: trio.CancelScope | None = None
        self._stop_scope: trio.CancelScope | None = None
        self._stop_ends = 0.0
        self._hurried_grace: float | None = None
        self._sandbox = PodSandbox(services, pod, self._event)
        self._files = PodFiles(services, pod)
        self._containers = Containers(services, lambda: self._pod, self._files, wake=self.wake)
        self._verdict = Surroundings()  # phase, reason and message that override what containers say
        self._resize_state: tuple[PodCondition, ...] = ()
        self._failures = 0
        self._unwritten = 0  # status writes that failed in a row
        self._finished = False
        self._refusal = refusal

    @property
    def pod(self) -> Pod:
        return self._pod

    @property
    def containers(self) -> Containers:
        return self._containers

    @property
    def files(self) -> PodFiles:
        return self._files

    @property
    def sandbox_id(self) -> str:
        return self._sandbox.id

    @property
    def ended(self) -> bool:
        """The pod takes nothing from the node any more."""
        return self._finished or self._refusal is not None or self._pod.status.phase in ENDED

    def wake(self) -> None:
        """Something changed: sync soon."""
        self._wake.set()
        self._changed.set()

    def update(self, pod: Pod) -> None:
        """The API shows a newer pod."""
        old, self._pod = self._pod, pod
        if pod.metadata.deletionTimestamp and not old.metadata.deletionTimestamp and self._sync_scope is not None:
            self._sync_scope.cancel()  # a slow pull or mount must not delay the end
        if self._stop_scope is not None and trio.current_time() + self._grace() < self._stop_ends:
            self._stop_scope.cancel()  # deleted once more, with less patience
        if old.spec != pod.spec or _asked(old) != _asked(pod):
            self._wake.set()
        self._changed.set()

    def forget(self) -> None:
        """The pod is gone from the API: end everything without reporting."""
        self._gone = True
        self._hurried_grace = FORCED_GRACE_SECONDS
        for scope in (self._sync_scope, self._stop_scope):
            if scope is not None:
                scope.cancel()
        self.wake()

    def evict(self, reason: str, message: str, grace_seconds: float) -> None:
        """End the pod for the node's sake; it stays in the API as Failed."""
        if self._verdict.phase or self._ending():
            return
        self._event("Warning", reason, message)
        self._verdict = Surroundings(phase="Failed", reason=reason, message=message)
        self._hurried_grace = grace_seconds
        if self._sync_scope is not None:
            self._sync_scope.cancel()
        self.wake()

    def uses(self, kind: str, name: str) -> bool:
        """Whether a ConfigMap or Secret of the pod's namespace is in its volumes or environment."""
        return self._files.uses(kind, name)

    async def run(self) -> None:
        """Until the pod is deleted and cleaned away."""
        if self._refusal is not None:
            self._event("Warning", self._refusal.reason, self._refusal.message)
            self._verdict = Surroundings(phase="Failed", reason=self._refusal.reason, message=self._refusal.message)
        async with trio.open_nursery() as nursery:
            self._containers.adopt(nursery)
            nursery.start_soon(self._report_changes)
            if self._ending():
                self._hurry_adopted()
            while not self._ending():
                self._wake = trio.Event()
                wake_at = await self._attempt()
                if self._ending():
                    break
                await self._report()
                with trio.CancelScope(deadline=wake_at):
                    await self._wake.wait()
            await self._terminate()
            nursery.cancel_scope.cancel()

    def _hurry_adopted(self) -> None:
        """A pod that was being deleted when this process began has used some of its grace already."""
        at = self._pod.metadata.deletionTimestamp
        if at:
            left = parse_time(at) - self._services.config.now().timestamp()
            self._hurried_grace = min(self._grace(), max(FORCED_GRACE_SECONDS, left))

    def _ending(self) -> bool:
        return self._gone or bool(self._pod.metadata.deletionTimestamp)

    async def _attempt(self) -> float:
        """One sync; returns when to look again (trio time, inf: only when woken)."""
        with trio.CancelScope() as scope:
            self._sync_scope = scope
            try:
                with one_failure():
                    wake_at = await self._sync()
            except PASSING as error:
                self._failures += 1
                delay = min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(self._failures - 1, 16))
                log.info("pod=%s retry_seconds=%.0f error=%s", pretty(key_of(self._pod)), delay, error)
                return trio.current_time() + delay
            else:
                self._failures = 0
                return wake_at
            finally:
                self._sync_scope = None
        return trio.current_time()

    async def _sync(self) -> float:
        pod = self._pod
        if pod.status.phase in ENDED and not self._verdict.phase:
            self._verdict = Surroundings(phase=pod.status.phase, reason=pod.status.reason, message=pod.status.message)
        self._check_deadline()
        if self._verdict.phase:
            await self._finish()
            return float("inf")
        if self._sandbox.broken:
            await self._report()
            self._event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
            self._containers.forget_sandbox()
            await self._sandbox.remove()
        plan = decide(pod, self._containers.seen(), trio.current_time())
        if plan.finished:
            await self._kill_all(plan.kills)
            self._verdict = Surroundings(phase=plan.finished)
            await self._finish()
            return float("inf")
        if not pod.status.startTime:
            await self._report()  # accepted: before a slow mount or pull, so that a user sees what is waited for
        await self._sandbox.ensure(pod)
        await self._files.prepare(pod, self._sandbox.ips)
        await self._kill_all(plan.kills)
        wake_at = min(plan.wake_at, self._check_deadline(), self._files.refresh_at, await self._resize(pod))
        for name, reason in plan.waiting.items():
            self._containers.hold(pod, name, reason)
        if plan.starts and not pod.status.podIP:
            await self._report()
        for start in plan.starts:
            wake_at = min(wake_at, await self._start(pod, start))
        return wake_at

    async def _kill_all(self, kills: tuple[Kill, ...]) -> None:
        for kill in kills:
            where = self._containers.field_path(self._pod, kill.name)
            self._event("Normal", kill.reason, kill.message, where)
            await self._containers.stop(self._pod, kill.name, self._grace())

    def _check_deadline(self) -> float:
        """activeDeadlineSeconds: a verdict once it has passed, else when it will."""
        limit, started = self._pod.spec.activeDeadlineSeconds, self._pod.status.startTime
        if limit is None or not started or self._verdict.phase:
            return float("inf")
        left = limit - (self._services.config.now().timestamp() - parse_time(started))
        if left > 0:
            return trio.current_time() + left
        words = "Pod was active on the node longer than the specified deadline"
        self._event("Normal", "DeadlineExceeded", words)
        self._verdict = Surroundings(phase="Failed", reason="DeadlineExceeded", message=words)
        return trio.current_time()

    async def _start(self, pod: Pod, start: Start) -> float:
        """Start one container; returns when to try again if it could not be, inf otherwise."""
        services, containers = self._services, self._containers
        container = containers.find(pod, start.name)
        field_path = containers.field_path(pod, start.name)
        if containers.held_until(start.name) > trio.current_time():
            return containers.held_until(start.name)
        try:
            image = await services.images.ensure(pod, container, field_path)
        except ImageFailure as error:
            containers.wait_for(start.name, error.reason, str(error))
            again = services.images.retry_at(container.image)
            return min(again, trio.current_time() + PULL_FAILED_SECONDS) if error.reason == "ErrImagePull" else again
        containers.use_image(start.name, image)
        try:
            env = environment(pod, container, services.sources(pod, self._sandbox.ips))
            ready_spec = build.container_spec(
                pod=pod,
                container=container,
                kind=start.kind,
                attempt=start.attempt,
                sandbox_id=self._sandbox.id,
                image=image,
                env=env,
                mounts=self._files.mounts(pod, container, env, start.attempt),
                config=services.config,
                node_memory_bytes=services.node_memory_bytes,
                pid_of=containers.target_of(container),
            )
        except ConfigError as error:
            containers.wait_for(start.name, "CreateContainerConfigError", str(error))
            self._event("Warning", "Failed", f"Error: {error}", field_path)
            return trio.current_time() + CONFIG_RETRY_SECONDS
        async with services.starts:
            again = await containers.start(pod, container, ready_spec)
        await self._report()
        return again

    async def _resize(self, pod: Pod) -> float:
        """Give running containers the limits the spec asks for now; returns when to look again."""
        todo = resize.steps((*pod.spec.initContainers, *pod.spec.containers), self._containers.limits())
        if not todo:
            self._resize_state = ()
            return float("inf")
        allocatable = {name: int(amount * 10**9) for name, amount in self._services.node_allocatable.items()}
        refused = resize.refusal(pod, allocatable, self._services.neighbours(pod.metadata.uid))
        if refused is not None:
            self._resize_state = (refused,)
            return trio.current_time() + RESIZE_RETRY_SECONDS
        self._resize_state = (resize.in_progress(),)
        await self._report()
        total = resize.pod_limits(pod_resources(pod))
        try:
            with one_failure():
                if any(step.grows for step in todo):
                    await self._sandbox.limit(total)
                for step in todo:
                    if step.restart:
                        await self._containers.restart(pod, step.name, self._grace())
                    else:
                        await self._containers.limit(pod, step.name, step.resources)
                await self._sandbox.limit(total)
        except PASSING as error:
            self._resize_state = (resize.in_progress(str(error)),)
            return trio.current_time() + RESIZE_RETRY_SECONDS
        self._resize_state = ()
        return float("inf")

    async def _finish(self) -> None:
        """Nothing will run again: stop what does, keep the report, give back everything but the logs."""
        if self._finished:
            return
        await self._stop_everything()
        await self._report()
        await self._remove_node_parts()
        self._finished = True

    def _grace(self) -> float:
        grace = self._pod.metadata.deletionGracePeriodSeconds
        if grace is None:
            grace = self._pod.spec.terminationGracePeriodSeconds
        asked = DEFAULT_GRACE_SECONDS if grace is None else float(grace)
        return asked if self._hurried_grace is None else min(asked, self._hurried_grace)

    async def _stop_everything(self) -> None:
        """Main containers together, then sidecars in reverse, all within one grace period; again when it shortens.

        A second time nothing comes before the stop signal any more.
        """
        politely = True
        while True:
            with trio.CancelScope() as scope:
                self._stop_scope, self._stop_ends = scope, trio.current_time() + self._grace()
                try:
                    await self._stop_groups(politely)
                finally:
                    self._stop_scope = None
            if not scope.cancelled_caught:
                return
            politely = False

    async def _stop_groups(self, politely: bool) -> None:
        pod, containers = self._pod, self._containers
        deleted = bool(pod.metadata.deletionTimestamp) and not self._gone
        leave = self._leave_services if deleted and politely else None
        for group in termination_order(pod, containers.running()):
            left = max(0.0, self._stop_ends - trio.current_time())
            for name in group:
                self._event("Normal", "Killing", f"Stopping container {name}", containers.field_path(pod, name))
            await all_of(partial(containers.stop, pod, name, left, hook=politely, leave=leave) for name in group)
            leave = None

    async def _leave_services(self) -> None:
        await self._services.withdrawals.wait(self.uid, self._grace())

    async def _remove_node_parts(self) -> None:
        self._containers.stop_watching()
        await self._sandbox.remove()
        await self._files.remove()

    async def _terminate(self) -> None:
        """The pod was deleted: stop, report the ending, clean up, and take it out of the API."""
        meta = self._pod.metadata
        await self._retry("stop containers", self._stop_everything)
        self._verdict = msgspec.structs.replace(self._verdict, terminal=True)
        await self._report()
        await self._retry("clean up", self._remove_node_parts)
        self._files.remove_logs()
        if self._gone:
            return
        await self._report()

        async def delete() -> None:
            try:
                await self._services.client.delete(Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise

        await self._retry("delete", delete)

    async def _retry(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step of the ending until it succeeds."""
        delay = RETRY_SECONDS
        while True:
            try:
                with one_failure():
                    await step()
                return
            except PASSING as error:
                log.warning("pod=%s step=%r retry_seconds=%.0f error=%s", pretty(key_of(self._pod)), what, delay, error)
            await trio.sleep(delay)
            delay = min(RETRY_MAX_SECONDS, delay * 2)

    async def _report_changes(self) -> None:
        """A verdict of a probe or the end of a container is told at once, whatever a sync waits for."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            if self._unwritten:
                await trio.sleep(min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(self._unwritten - 1, 16)))
            await self._report()

    async def _report(self) -> None:
        """Write the status if it says anything new. A lost write is repeated by `_report_changes`."""
        async with self._writing:
            if not self._gone:
                await self._write(self._status())

    def _status(self) -> PodStatus:
        pod, services = self._pod, self._services
        now = format_time(services.config.now())
        around = msgspec.structs.replace(
            self._verdict,
            pod_ips=self._sandbox.ips,
            host_ips=(services.config.node_ip,),
            sandbox_ready=self._sandbox.ready,
            start_time=pod.status.startTime or now,
            resize=self._resize_state,
        )
        status = pod_status(pod, self._containers.views(pod), around, now)
        if self._refusal is not None:  # nothing of it ever was here
            return msgspec.structs.replace(status, containerStatuses=(), initContainerStatuses=())
        return status

    async def _write(self, status: PodStatus) -> None:
        pod, meta = self._pod, self._pod.metadata
        if status == pod.status:
            return
        body = {"metadata": {"uid": meta.uid}, "status": merge_patch(pod.status, status)}
        try:
            written = await self._services.client.patch(
                Pod, meta.name, meta.namespace, patch=body, subresource="status"
            )
        except ApiError as error:
            if error.code not in (404, 409):  # 409: another pod has the name by now
                log.warning("pod=%s status not written: %s", pretty(key_of(pod)), error)
                self._unwritten += 1
                self._changed.set()
            return
        self._unwritten = 0
        self._containers.remember(status)
        if self._pod is pod:  # else the cache has shown a newer one already
            self._pod = written

    def _event(self, type_: str, reason: str, message: str, field_path: str = "") -> None:
        self._services.events.event(self._pod, type_, reason, message, field_path=field_path)


def _asked(pod: Pod) -> tuple[object, ...]:
    """What of a pod's metadata a sync depends on: the downward API, and its end."""
    meta = pod.metadata
    return meta.deletionTimestamp, meta.deletionGracePeriodSeconds, meta.labels, meta.annotations
