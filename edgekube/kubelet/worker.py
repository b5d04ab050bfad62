"""One task a pod: brings what runs on the node to what the pod asks for, and reports (kubelet's pod worker, SyncPod).

The worker sleeps until something happens: the pod changes, a container ends, a probe's verdict turns, a back-off is
over, a ConfigMap it uses changes. Each wake-up runs one idempotent sync, so that any step may fail or be cut short.
"""

import logging
from collections.abc import Callable
from typing import Any

import msgspec
import trio

from edgekube.client.names import key_of, pretty
from edgekube.client.patches import merge_patch
from edgekube.kubelet import spec as build
from edgekube.kubelet.config import RETRY_MAX_SECONDS, RETRY_SECONDS
from edgekube.kubelet.containers import Containers
from edgekube.kubelet.env import ConfigError, environment
from edgekube.kubelet.plan import Kill, Start, decide, termination_order
from edgekube.kubelet.podfiles import PodFiles
from edgekube.kubelet.services import Services
from edgekube.kubelet.status import ContainerView, Surroundings, pod_status
from edgekube.network.api import NetworkFailure, PortMapping
from edgekube.runtime.api import ImageFailure, RuntimeFailure, Sandbox
from edgekube.types.core_v1 import Pod, PodStatus
from edgekube.types.status import ApiError
from edgekube.types.time import format_time, parse_time

log = logging.getLogger(__name__)

DEFAULT_GRACE_SECONDS = 30


class PodWorker:
    """Runs one pod from binding to deletion. `update` and `forget` are called by the role, `run` is its task."""

    def __init__(self, services: Services, pod: Pod) -> None:
        self.uid = pod.metadata.uid
        self._services = services
        self._pod = pod
        self._gone = False  # deleted from the API: nothing to report to
        self._wake = trio.Event()
        self._sync_scope: trio.CancelScope | None = None
        self._files = PodFiles(services, pod)
        self._containers = Containers(services, pod, self._files, wake=self.wake)
        self._ips: tuple[str, ...] = tuple(ip.ip for ip in pod.status.podIPs)
        self._sandbox_ready = False
        self._verdict = Surroundings()  # phase, reason and message that override what containers say
        self._reported: PodStatus | None = None
        self._failures = 0

    @property
    def pod(self) -> Pod:
        return self._pod

    @property
    def containers(self) -> Containers:
        return self._containers

    def wake(self) -> None:
        """Something changed: sync soon."""
        self._wake.set()

    def update(self, pod: Pod) -> None:
        """The API shows a newer pod."""
        started_deleting = pod.metadata.deletionTimestamp and not self._pod.metadata.deletionTimestamp
        self._pod = pod
        if started_deleting and self._sync_scope is not None:
            self._sync_scope.cancel()  # a slow pull or mount must not delay the end
        self._wake.set()

    def forget(self) -> None:
        """The pod is gone from the API: end everything without reporting."""
        self._gone = True
        if self._sync_scope is not None:
            self._sync_scope.cancel()
        self._wake.set()

    def uses(self, kind: str, name: str) -> bool:
        """Whether a ConfigMap or Secret of the pod's namespace is in its volumes or environment."""
        return self._files.uses(kind, name)

    async def run(self) -> None:
        """Until the pod is deleted and cleaned away."""
        async with trio.open_nursery() as nursery:
            self._containers.adopt(nursery)
            if self._containers.any_running():
                self._sandbox_ready = True
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

    def _ending(self) -> bool:
        return self._gone or bool(self._pod.metadata.deletionTimestamp)

    async def _attempt(self) -> float:
        """One sync; returns when to look again (trio time, inf: only when woken)."""
        with trio.CancelScope() as scope:
            self._sync_scope = scope
            try:
                wake_at = await self._sync()
            except (RuntimeFailure, NetworkFailure, ConfigError, OSError, ApiError) as error:
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
        if pod.status.phase in ("Succeeded", "Failed"):
            self._verdict = Surroundings(phase=pod.status.phase, reason=pod.status.reason, message=pod.status.message)
        deadline_at = self._check_deadline()
        if self._verdict.phase:
            await self._finish()
            return float("inf")
        plan = decide(pod, self._containers.seen(), trio.current_time())
        if plan.finished:
            await self._kill_all(plan.kills)
            self._verdict = Surroundings(phase=plan.finished)
            await self._report()
            await self._finish()
            return float("inf")
        if not pod.status.startTime:
            await self._report()  # accepted: before a slow mount or pull, so that a user sees what is waited for
        await self._ensure_sandbox()
        await self._files.prepare(pod, self._ips)
        for kill in plan.kills:
            self._event("Normal", kill.reason, kill.message)
            await self._containers.stop(pod, kill.name, self._grace())
        wake_at = min(plan.wake_at, deadline_at, self._files.refresh_at)
        for name, reason in plan.waiting.items():
            self._containers.hold(pod, name, reason)
        if plan.starts and not pod.status.podIP:
            await self._report()
        for start in plan.starts:
            wake_at = min(wake_at, await self._start(pod, start))
        return wake_at

    async def _kill_all(self, kills: tuple[Kill, ...]) -> None:
        for kill in kills:
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
        return float("inf")

    async def _ensure_sandbox(self) -> Sandbox:
        """Namespaces, cgroup and address; both calls recognise what is there."""
        pod, services = self._pod, self._services
        wanted = build.sandbox_spec(pod, services.config)
        try:
            sandbox = next((s for s in services.runtime.sandboxes() if s.spec.id == wanted.id), None)
            if sandbox is not None and not sandbox.ready:
                self._event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
                await services.network.detach(wanted.id)
                await services.runtime.remove_sandbox(wanted.id)
                sandbox = None
            if sandbox is None:
                sandbox = await services.runtime.create_sandbox(wanted)
            if pod.spec.hostNetwork:
                self._ips = (services.config.node_ip,)
            else:
                ports = tuple(
                    PortMapping(p.containerPort, p.hostPort, p.protocol or "TCP", p.hostIP)
                    for c in (*pod.spec.initContainers, *pod.spec.containers)
                    for p in c.ports
                    if p.hostPort
                )
                attachment = await services.network.attach(wanted.id, sandbox.netns_path, ports=ports)
                self._ips = attachment.ips
        except (RuntimeFailure, NetworkFailure, OSError) as error:
            self._sandbox_ready = False
            self._event("Warning", "FailedCreatePodSandBox", f"Failed to create pod sandbox: {error}")
            raise
        self._sandbox_ready = True
        return sandbox

    async def _start(self, pod: Pod, start: Start) -> float:
        """Start one container; returns when to try again if it could not be, inf otherwise."""
        services, containers = self._services, self._containers
        container = containers.find(pod, start.name)
        field_path = containers.field_path(pod, start.name)
        try:
            image = await services.images.ensure(pod, container, field_path)
        except ImageFailure as error:
            containers.wait_for(start.name, error.reason, str(error))
            return services.images.retry_at(container.image)
        containers.use_image(start.name, image)
        try:
            env = environment(pod, container, services.sources(pod, self._ips))
            sandbox_id = build.sandbox_spec(pod, services.config).id
            mounts = self._files.mounts(pod, container, env, start.attempt)
            ready_spec = build.container_spec(
                pod=pod,
                container=container,
                kind=start.kind,
                attempt=start.attempt,
                sandbox_id=sandbox_id,
                image=image,
                env=env,
                mounts=mounts,
                config=services.config,
                node_memory_bytes=services.node_memory_bytes,
            )
        except ConfigError as error:
            containers.wait_for(start.name, "CreateContainerConfigError", str(error))
            self._event("Warning", "Failed", f"Error: {error}", field_path)
            return trio.current_time() + RETRY_SECONDS * 5
        async with services.starts:
            await containers.start(pod, container, ready_spec, field_path)
        await self._report()
        return float("inf")

    async def _finish(self) -> None:
        """Nothing will run again: stop what does, keep the report, give back everything but the logs."""
        await self._stop_everything()
        await self._report()
        self._sandbox_ready = False
        await self._remove_node_parts()

    def _grace(self) -> float:
        meta = self._pod.metadata
        if meta.deletionGracePeriodSeconds is not None:
            return float(meta.deletionGracePeriodSeconds)
        grace = self._pod.spec.terminationGracePeriodSeconds
        return float(DEFAULT_GRACE_SECONDS if grace is None else grace)

    async def _stop_everything(self) -> None:
        """Main containers together, then sidecars in reverse, all within one grace period."""
        pod = self._pod
        ends = trio.current_time() + self._grace()
        for group in termination_order(pod, self._containers.running()):
            async with trio.open_nursery() as nursery:
                for name in group:
                    left = max(0.0, ends - trio.current_time())
                    self._event(
                        "Normal", "Killing", f"Stopping container {name}", self._containers.field_path(pod, name)
                    )
                    nursery.start_soon(self._containers.stop, pod, name, left)

    async def _remove_node_parts(self) -> None:
        services = self._services
        sandbox_id = build.sandbox_spec(self._pod, services.config).id
        self._containers.stop_watching()
        await services.network.detach(sandbox_id)
        await services.runtime.remove_sandbox(sandbox_id)
        self._files.remove()

    async def _terminate(self) -> None:
        """The pod was deleted: stop, report the ending, clean up, and take it out of the API."""
        pod = self._pod
        await self._retry("stop containers", self._stop_everything)
        if not self._verdict.phase:
            # A pod ends in a terminal phase before it leaves the API, so that whoever counts endings sees one.
            seen = self._containers.seen()
            well = all(
                c.name in seen and seen[c.name].state == "exited" and seen[c.name].exit_code == 0
                for c in pod.spec.containers
            )
            self._verdict = Surroundings(phase="Succeeded" if well else "Failed")
        if not self._gone:
            await self._report()
        self._sandbox_ready = False
        await self._retry("clean up", self._remove_node_parts)
        self._files.remove_logs()
        if self._gone:
            return
        await self._report()

        async def delete() -> None:
            meta = pod.metadata
            try:
                await self._services.client.delete(Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)
            except ApiError as error:
                if error.code not in (404, 409):
                    raise

        await self._retry("delete", delete)

    async def _retry(self, what: str, step: Callable[[], Any]) -> None:
        """Repeat a step of the ending until it succeeds or the pod is gone from the API and it failed for long."""
        delay = RETRY_SECONDS
        while True:
            try:
                await step()
                return
            except (RuntimeFailure, NetworkFailure, OSError, ApiError) as error:
                log.warning("pod=%s step=%r retry_seconds=%.0f error=%s", pretty(key_of(self._pod)), what, delay, error)
            await trio.sleep(delay)
            delay = min(RETRY_MAX_SECONDS, delay * 2)

    async def _report(self) -> None:
        """Write the status if it says anything new. A lost write is repeated by the next sync."""
        if self._gone:
            return
        pod, services = self._pod, self._services
        now = format_time(services.config.now())
        around = msgspec.structs.replace(
            self._verdict,
            pod_ips=self._ips,
            host_ips=(services.config.node_ip,),
            sandbox_ready=self._sandbox_ready,
            start_time=pod.status.startTime or now,
        )
        views: dict[str, ContainerView] = self._containers.views(pod)
        status = pod_status(pod, views, around, now)
        if status == pod.status or status == self._reported:
            return
        meta = pod.metadata
        patch = merge_patch(pod.status, status)
        try:
            self._pod = await services.client.patch(
                Pod,
                meta.name,
                meta.namespace,
                patch={"metadata": {"uid": meta.uid}, "status": patch},
                subresource="status",
            )
            self._reported = status
            self._containers.remember(status)
        except ApiError as error:
            if error.code == 404:
                return
            log.info("pod=%s status not written: %s", pretty(key_of(pod)), error)
            self._failures += 1

    def _event(self, type_: str, reason: str, message: str, field_path: str = "") -> None:
        self._services.events.event(self._pod, type_, reason, message, field_path=field_path)
