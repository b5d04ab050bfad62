"""The containers of one pod: started, watched to their end, probed, stopped; and what is known of each.

Keeps, per container name, the newest start and the one before it (for `logs --previous` and lastState); older ones are
removed from the runtime.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

import msgspec
import trio

from edgekube.kubelet import spec as build
from edgekube.kubelet.config import CRASH_BACKOFF_RESET_SECONDS, RETRY_MAX_SECONDS, RETRY_SECONDS
from edgekube.kubelet.env import ConfigError
from edgekube.kubelet.failures import one_failure
from edgekube.kubelet.hooks import run_hook
from edgekube.kubelet.plan import Seen, backoff_seconds
from edgekube.kubelet.podfiles import PodFiles
from edgekube.kubelet.probes import Prober
from edgekube.kubelet.services import Services
from edgekube.kubelet.spec import AnyContainer
from edgekube.kubelet.status import RUNTIME_PREFIX, UNKNOWN_EXIT_CODE, ContainerView
from edgekube.runtime.api import ContainerSpec, ContainerState, ContainerStatus, Image, Resources, RuntimeFailure
from edgekube.types._base import EMPTY
from edgekube.types.core_v1 import Container, EphemeralContainer, LifecycleHandler, Pod, PodStatus, ResourceRequirements
from edgekube.types.core_v1 import ContainerStatus as ReportedStatus
from edgekube.types.time import format_time, parse_time

log = logging.getLogger(__name__)

STARTS_KEPT = 2
# A process that could not be started: what containerd and the kubelet report, and the reason our runtime gives.
START_ERROR_EXIT_CODE = 128
START_ERROR = "StartError"
NOT_STARTED = "RunContainerError"
NEVER_STARTED_AT = "1970-01-01T00:00:00Z"
HOOK_MIN_SECONDS = 2.0  # what a container has left after a preStop hook that used up the grace period


class _Record(msgspec.Struct):
    """What the worker remembers of one container name."""

    crashes: int = 0
    restart_at: float = 0.0
    refusals: int = 0  # starts in a row that came to nothing
    try_at: float = 0.0
    waiting: tuple[str, str] | None = None
    image: Image | None = None
    killed_for_restart: bool = False
    prober: Prober | None = None
    given: ResourceRequirements | None = None  # what it was started or resized with
    failed: tuple[ContainerStatus, ...] = ()  # starts that failed, which the runtime does not keep; newest first


class Containers:
    """All containers of one pod; owned by its worker, whose nursery the watching tasks live in."""

    def __init__(
        self, services: Services, pod_of: Callable[[], Pod], files: PodFiles, wake: Callable[[], None]
    ) -> None:
        pod = pod_of()
        self._services = services
        self._uid = pod.metadata.uid
        self._files = files
        self._wake = wake
        self._pod_of = pod_of
        self._records: dict[str, _Record] = {}
        self._messages: dict[str, str] = {}
        self._before: dict[str, ReportedStatus] = {}
        self.remember(pod.status)
        self._nursery: trio.Nursery | None = None
        self._watching: dict[str, trio.CancelScope] = {}

    def remember(self, status: PodStatus) -> None:
        """What was reported last: all there is to say of a container once the runtime has let go of it."""
        self._before = {
            s.name: s
            for s in (
                *status.initContainerStatuses,
                *status.containerStatuses,
                *status.ephemeralContainerStatuses,
            )
        }

    def find(self, pod: Pod, name: str) -> AnyContainer:
        for container in build.all_containers(pod):
            if container.name == name:
                return container
        raise KeyError(name)

    def field_path(self, pod: Pod, name: str) -> str:
        """Where the container stands in the pod, for Events: spec.containers{name}."""
        for field in ("initContainers", "ephemeralContainers"):
            if any(c.name == name for c in getattr(pod.spec, field)):
                return f"spec.{field}{{{name}}}"
        return f"spec.containers{{{name}}}"

    def adopt(self, nursery: trio.Nursery) -> None:
        """Take over what an earlier process left running, and watch it."""
        self._nursery = nursery
        for name, starts in self._starts().items():
            newest = starts[0]
            record, before = self._record(name), self._before.get(name)
            record.image = self._services.runtime.images.get(newest.spec.image_id)
            if before is not None and before.containerID == RUNTIME_PREFIX + newest.spec.id:
                record.given = before.resources
            self._read_message(newest)
            if newest.state in (ContainerState.RUNNING, ContainerState.CREATED):
                self._watch(newest).set()

    def _record(self, name: str) -> _Record:
        return self._records.setdefault(name, _Record())

    def _starts(self) -> dict[str, list[ContainerStatus]]:
        """Known starts by container name, newest first."""
        result: dict[str, list[ContainerStatus]] = {}
        for status in self._services.runtime.containers():
            if status.spec.labels.get(build.LABEL_POD_UID) == self._uid:
                result.setdefault(status.spec.name, []).append(status)
        for name, record in self._records.items():
            if record.failed:
                result.setdefault(name, []).extend(record.failed)
        for starts in result.values():
            starts.sort(key=lambda s: s.spec.attempt, reverse=True)
        return result

    def newest(self, name: str) -> ContainerStatus | None:
        starts = self._starts().get(name)
        return starts[0] if starts else None

    def previous(self, name: str) -> ContainerStatus | None:
        starts = self._starts().get(name, [])
        return starts[1] if len(starts) > 1 else None

    def running(self) -> list[str]:
        """Names of containers with a living process, in order of their start."""
        living = [
            starts[0]
            for starts in self._starts().values()
            if starts[0].state in (ContainerState.RUNNING, ContainerState.CREATED)
        ]
        return [s.spec.name for s in sorted(living, key=lambda s: s.created_at)]

    def seen(self) -> dict[str, Seen]:
        """What `decide` needs to know. What was reported once and is not there now is lost."""
        result: dict[str, Seen] = {}
        starts = self._starts()
        for name, before in self._before.items():
            if before.containerID and name not in starts:
                ended = before.state.terminated or (before.lastState.terminated if before.state.waiting else None)
                code = ended.exitCode if ended is not None else UNKNOWN_EXIT_CODE
                result[name] = Seen(state="lost", attempt=before.restartCount, exit_code=code)
        for name, known in starts.items():
            newest, record = known[0], self._record(name)
            prober, reported = record.prober, self._before.get(name)
            living = newest.state in (ContainerState.RUNNING, ContainerState.CREATED)
            result[name] = Seen(
                state="running" if living else "exited",
                attempt=newest.spec.attempt,
                exit_code=newest.exit_code,
                started=living and (prober.started if prober is not None else _was(reported, newest, "started")),
                ready=living and (prober.ready if prober is not None else _was(reported, newest, "ready")),
                hash=newest.spec.labels.get(build.LABEL_SPEC_HASH, ""),
                restart_at=record.restart_at,
                killed_for_restart=record.killed_for_restart,
            )
        return result

    def views(self, pod: Pod) -> dict[str, ContainerView]:
        """What the status report is made of."""
        seen, starts = self.seen(), self._starts()
        names = [c.name for c in build.all_containers(pod)]
        return {
            name: ContainerView(
                starts=starts.get(name, ()),
                seen=seen.get(name, Seen()),
                waiting=self._record(name).waiting,
                image=self._record(name).image,
                resources=self._record(name).given,
                allocated=self._allocated(name),
                messages=self._messages,
                before=self._before.get(name),
            )
            for name in names
        }

    def _allocated(self, name: str) -> Mapping[str, str]:
        given = self._record(name).given
        return given.requests if given is not None else EMPTY

    def target_of(self, container: AnyContainer) -> str:
        """The id of the container whose processes an ephemeral container is to see. Raises ConfigError."""
        target = container.targetContainerName if isinstance(container, EphemeralContainer) else ""
        if not target:
            return ""
        newest = self.newest(target)
        if newest is None or newest.state is not ContainerState.RUNNING:
            raise ConfigError(f'target container "{target}" of ephemeral container "{container.name}" does not run')
        return newest.spec.id

    def limits(self) -> dict[str, Resources]:
        """The cgroup limits of running containers by name."""
        starts = self._starts()
        return {
            name: known[0].spec.resources for name, known in starts.items() if known[0].state is ContainerState.RUNNING
        }

    async def limit(self, pod: Pod, name: str, resources: Resources) -> None:
        """Give a running container other cgroup limits."""
        newest, container = self.newest(name), self.find(pod, name)
        if newest is not None and newest.state is ContainerState.RUNNING:
            await self._services.runtime.update_resources(newest.spec.id, resources)
            self._record(name).given = container.resources if isinstance(container, Container) else None

    async def restart(self, pod: Pod, name: str, grace_seconds: float) -> None:
        """Stop a container that is to be started again whatever its exit code says."""
        self._record(name).killed_for_restart = True
        await self.stop(pod, name, grace_seconds)

    def wait_for(self, name: str, reason: str, message: str) -> None:
        """The container cannot run now; this is why."""
        self._record(name).waiting = (reason, message)

    def hold(self, pod: Pod, name: str, reason: str) -> None:
        """The container is held back after a crash."""
        record = self._record(name)
        meta = pod.metadata
        delay = duration_words(backoff_seconds(record.crashes))
        where = f"pod={meta.name}_{meta.namespace}({meta.uid})"
        message = f"back-off {delay} restarting failed container={name} {where}"
        if record.waiting is None or record.waiting[0] != reason:
            self._services.events.event(
                pod,
                "Warning",
                "BackOff",
                f"Back-off restarting failed container {name} in pod {meta.name}_{meta.namespace}({meta.uid})",
                field_path=self.field_path(pod, name),
            )
        record.waiting = (reason, message)

    def use_image(self, name: str, image: Image) -> None:
        self._record(name).image = image

    def held_until(self, name: str) -> float:
        """When a container whose start was refused may be tried again (trio time)."""
        return self._record(name).try_at

    async def start(self, pod: Pod, container: AnyContainer, ready_spec: ContainerSpec) -> float:
        """Start, watch, probe; returns when to look again (trio time), inf when it runs.

        What cannot be made is a waiting reason (CreateContainerError) and is tried again. What was made and whose
        process could not be started has ended, with StartError, and follows the restart policy like any other end.
        """
        services, record = self._services, self._record(container.name)
        field_path = self.field_path(pod, container.name)
        record.killed_for_restart = False
        await self._forget_old(container.name)
        try:
            with one_failure():
                status = await services.runtime.start_container(ready_spec)
        except RuntimeFailure as error:
            services.events.event(pod, "Warning", "Failed", f"Error: {error}", field_path=field_path)
            if error.reason == NOT_STARTED:
                return self._start_failed(ready_spec, str(error))
            delay = min(RETRY_MAX_SECONDS, RETRY_SECONDS * 2.0 ** min(record.refusals, 16))
            record.refusals += 1
            record.try_at = trio.current_time() + delay
            record.waiting = (error.reason, str(error))
            return record.try_at
        record.waiting = None
        record.refusals = 0
        record.given = container.resources if isinstance(container, Container) else None
        services.events.event(pod, "Normal", "Created", "Container created", field_path=field_path)
        services.events.event(pod, "Normal", "Started", "Container started", field_path=field_path)
        hook = container.lifecycle.postStart if container.lifecycle is not None else None
        probe = self._watch(status)
        if hook is not None:
            problem = await run_hook(services, pod, container, status, hook)
            if problem:
                self._hook_failed(pod, container.name, "PostStart", problem)
                services.events.event(pod, "Normal", "Killing", "FailedPostStartHook", field_path=field_path)
                record.killed_for_restart = True
                await self.stop(pod, container.name, float(pod.spec.terminationGracePeriodSeconds or 0))
                return float("inf")
        probe.set()
        return float("inf")

    def _start_failed(self, spec: ContainerSpec, message: str) -> float:
        """Record a start whose process never came to be."""
        now = format_time(self._services.config.now())
        record = self._record(spec.name)
        ended = ContainerStatus(
            spec=spec,
            state=ContainerState.EXITED,
            created_at=now,
            started_at=NEVER_STARTED_AT,
            finished_at=now,
            exit_code=START_ERROR_EXIT_CODE,
            reason=START_ERROR,
            message=message,
        )
        record.failed = (ended, *record.failed)[:STARTS_KEPT]
        record.waiting = None
        record.crashes += 1
        record.restart_at = trio.current_time() + max(RETRY_SECONDS, backoff_seconds(record.crashes))
        self._wake()
        return record.restart_at

    async def _forget_old(self, name: str) -> None:
        """Keep the newest ended start; the one about to begin makes it the previous one."""
        record = self._record(name)
        for old in self._starts().get(name, [])[STARTS_KEPT - 1 :]:
            self._messages.pop(old.spec.id, None)
            self._files.forget(self._pod_of(), name, old.spec.attempt)
            if old in record.failed:
                record.failed = tuple(failed for failed in record.failed if failed != old)
            else:
                await self._services.runtime.remove_container(old.spec.id)

    def _watch(self, status: ContainerStatus) -> trio.Event:
        """Follow a running container to its end; its probes begin when the returned event is set."""
        assert self._nursery is not None
        probe = trio.Event()
        if status.spec.id not in self._watching:
            scope = trio.CancelScope()
            self._watching[status.spec.id] = scope
            self._nursery.start_soon(self._follow, status, scope, probe)
        return probe

    async def _follow(self, status: ContainerStatus, scope: trio.CancelScope, probe: trio.Event) -> None:
        ended: ContainerStatus | None = None
        with scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._probe, status, probe)
                ended = await self._services.runtime.wait_exit(status.spec.id)
                nursery.cancel_scope.cancel()
        self._watching.pop(status.spec.id, None)
        if ended is None:
            return
        record = self._record(status.spec.name)
        record.prober = None
        self._read_message(ended)
        if _lived_seconds(ended) >= CRASH_BACKOFF_RESET_SECONDS:
            record.crashes = 0
        record.crashes += 1
        record.restart_at = trio.current_time() + backoff_seconds(record.crashes)
        self._wake()

    async def _probe(self, status: ContainerStatus, begin: trio.Event) -> None:
        await begin.wait()
        pod = self._pod_of()
        try:
            container = self.find(pod, status.spec.name)
        except KeyError:
            return
        before = self._before.get(status.spec.name)
        same = before is not None and before.containerID == RUNTIME_PREFIX + status.spec.id
        prober = Prober(
            self._services,
            pod,
            container,
            status,
            field_path=self.field_path(pod, container.name),
            changed=self._wake,
            unhealthy=self._on_unhealthy,
            # After a restart of this process a container that was ready stays so until a probe says otherwise.
            was_started=same and before is not None and bool(before.started),
            was_ready=same and before is not None and before.ready,
        )
        self._record(status.spec.name).prober = prober
        await prober.run()

    def _read_message(self, status: ContainerStatus) -> None:
        """The termination message of an ended container: its file, or the log's tail when policy says so."""
        if status.state is ContainerState.EXITED:
            pod = self._pod_of()
            self._messages[status.spec.id] = self._files.termination_message(pod, status)

    def _on_unhealthy(self, name: str, message: str) -> None:
        """A liveness or startup probe failed for good: the container is killed and started again."""
        record = self._record(name)
        pod = self._pod_of()
        if record.killed_for_restart or self._nursery is None or pod.metadata.deletionTimestamp:
            return
        record.killed_for_restart = True
        self._services.events.event(pod, "Normal", "Killing", message, field_path=self.field_path(pod, name))
        container = self.find(pod, name)
        grace = pod.spec.terminationGracePeriodSeconds
        probe = container.startupProbe if "startup" in message else container.livenessProbe
        if probe is not None and probe.terminationGracePeriodSeconds is not None:
            grace = probe.terminationGracePeriodSeconds
        self._nursery.start_soon(self._stop_unhealthy, pod, name, float(30 if grace is None else grace))

    async def _stop_unhealthy(self, pod: Pod, name: str, grace_seconds: float) -> None:
        try:
            await self.stop(pod, name, grace_seconds)
        except (RuntimeFailure, OSError) as error:
            log.warning("pod=%s container=%s could not be stopped: %s", pod.metadata.name, name, error)
            self._record(name).killed_for_restart = False  # the next failed probe tries again

    async def stop(
        self,
        pod: Pod,
        name: str,
        grace_seconds: float,
        *,
        hook: bool = True,
        leave: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """preStop hook, stop signal, SIGKILL after the grace period (at least two seconds follow the hook).

        `leave` runs beside the hook, and the signal waits for both. Raises RuntimeFailure when the container does not
        end although killed.
        """
        newest = self.newest(name)
        if newest is None or newest.state not in (ContainerState.RUNNING, ContainerState.CREATED):
            return
        began = trio.current_time()
        container = self.find(pod, name)
        handler = container.lifecycle.preStop if container.lifecycle is not None and hook else None
        if grace_seconds > 0 and (handler is not None or leave is not None):
            problem = ""
            with trio.move_on_after(grace_seconds) as scope:
                problem = await self._until_end(newest, pod, container, handler, leave)
            if scope.cancelled_caught and handler is not None:
                problem = f"the preStop hook did not end within the grace period of {grace_seconds:g} s"
            if problem:
                self._hook_failed(pod, name, "PreStop", problem)
            least = HOOK_MIN_SECONDS if handler is not None else 0.0
            grace_seconds = max(least, grace_seconds - (trio.current_time() - began))
        with one_failure():
            await self._services.runtime.stop_container(newest.spec.id, grace_seconds)

    async def _until_end(
        self,
        newest: ContainerStatus,
        pod: Pod,
        container: AnyContainer,
        handler: LifecycleHandler | None,
        leave: Callable[[], Awaitable[None]] | None,
    ) -> str:
        """Run what comes before the stop signal, but no longer than the container itself; returns what went wrong."""
        problem = ""
        async with trio.open_nursery() as nursery:

            async def ended() -> None:
                await self._services.runtime.wait_exit(newest.spec.id)
                nursery.cancel_scope.cancel()

            nursery.start_soon(ended)
            async with trio.open_nursery() as before:
                if leave is not None:
                    before.start_soon(leave)
                if handler is not None:
                    problem = await run_hook(self._services, pod, container, newest, handler)
            nursery.cancel_scope.cancel()
        return problem

    def _hook_failed(self, pod: Pod, name: str, which: str, problem: str) -> None:
        """What the hook said stays out of the event, as in the kubelet: it may hold secrets."""
        log.warning("%sHook failed pod=%s container=%s: %s", which, pod.metadata.name, name, problem)
        words, where = f"{which}Hook failed", self.field_path(pod, name)
        self._services.events.event(pod, "Warning", f"Failed{which}Hook", words, field_path=where)

    def forget_sandbox(self) -> None:
        """The sandbox is about to be removed, with all that ran in it."""
        self.stop_watching()
        for record in self._records.values():
            record.prober = None
            record.failed = ()
            record.waiting = None

    def stop_watching(self) -> None:
        """Before the sandbox is removed: endings are no news any more."""
        for scope in self._watching.values():
            scope.cancel()
        self._watching.clear()


def _was(before: ReportedStatus | None, newest: ContainerStatus, verdict: str) -> bool:
    """What was reported of this very start, until its probes are at work (again, after a restart of this process)."""
    same = before is not None and before.containerID == RUNTIME_PREFIX + newest.spec.id
    return same and bool(getattr(before, verdict))


def _lived_seconds(status: ContainerStatus) -> float:
    try:
        return parse_time(status.finished_at) - parse_time(status.started_at)
    except ValueError:
        return 0.0


def duration_words(seconds: float) -> str:
    """A duration as Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
