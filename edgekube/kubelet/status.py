"""A pod's status from what its containers are doing (kubelet_pods.go generateAPIPodStatus). Pure.

docs/pod-status.md lists the reasons and messages a user can meet.
"""

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.kubelet.plan import Seen, init_policy, is_sidecar, should_restart
from edgekube.kubelet.spec import AnyContainer, recursively_readonly
from edgekube.runtime.api import ContainerState as RuntimeState
from edgekube.runtime.api import ContainerStatus as RuntimeStatus
from edgekube.runtime.api import Image
from edgekube.types._base import EMPTY
from edgekube.types.core_v1 import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    ResourceRequirements,
    VolumeMountStatus,
)
from edgekube.types.pod_resources import qos_class

RUNTIME_PREFIX = "edgekube://"
RESIZE_CONDITIONS = ("PodResizePending", "PodResizeInProgress")
UNKNOWN_EXIT_CODE = 137
UNKNOWN = ContainerStateTerminated(
    exitCode=UNKNOWN_EXIT_CODE,
    reason="ContainerStatusUnknown",
    message="The container could not be located when the pod was terminated",
)


class ContainerView(msgspec.Struct, frozen=True):
    """Everything the report on one container is made of; `starts` are its known starts, newest first."""

    starts: Sequence[RuntimeStatus] = ()
    seen: Seen = Seen()
    waiting: tuple[str, str] | None = None  # reason and message of why it does not run
    image: Image | None = None
    messages: Mapping[str, str] = {}  # container id -> termination message
    before: ContainerStatus | None = None  # what was reported last (also by an earlier process or boot)
    resources: ResourceRequirements | None = None  # what the running container has
    allocated: Mapping[str, str] = EMPTY  # the requests it was given


def _seconds(stamp: str) -> str:
    """API times have whole seconds; the runtime's have nine digits more."""
    return stamp.partition(".")[0].removesuffix("Z") + "Z" if stamp else ""


def _terminated(start: RuntimeStatus, message: str) -> ContainerState:
    reason = start.reason or ("Completed" if start.exit_code == 0 else "Error")
    return ContainerState(
        terminated=ContainerStateTerminated(
            containerID=RUNTIME_PREFIX + start.spec.id,
            exitCode=start.exit_code,
            reason=reason,
            message=message or start.message,
            startedAt=_seconds(start.started_at or start.created_at),
            finishedAt=_seconds(start.finished_at),
        )
    )


def container_status(
    container: AnyContainer,
    view: ContainerView,
    default_reason: str,
    *,
    again: bool = True,
    killed: bool = False,
) -> ContainerStatus:
    """One entry of containerStatuses.

    `again`: a container that is not there any more will be started once more. `killed`: it was stopped to be started
    again, so that its end is no news (and the API lets nothing that has succeeded under OnFailure run again).
    """
    starts, before = view.starts, view.before
    newest = starts[0] if starts else None
    last = before.lastState if before is not None else ContainerState()
    state = ContainerState(waiting=ContainerStateWaiting(reason=default_reason))
    if newest is not None:
        if newest.state is RuntimeState.RUNNING:
            state = ContainerState(running=ContainerStateRunning(startedAt=_seconds(newest.started_at)))
        elif newest.state in (RuntimeState.EXITED, RuntimeState.UNKNOWN):
            state = _terminated(newest, view.messages.get(newest.spec.id, ""))
        if len(starts) > 1:
            last = _terminated(starts[1], view.messages.get(starts[1].spec.id, ""))
        elif before is not None and before.containerID not in ("", RUNTIME_PREFIX + newest.spec.id):
            last = ContainerState(terminated=_ended(before)) if _ended(before) is not None else last
    elif before is not None and (ended := _ended(before)) is not None:
        if again:
            last = ContainerState(terminated=ended)
        else:
            state = ContainerState(terminated=ended)
    if killed and state.terminated is not None and view.waiting is None:
        last, state = state, ContainerState(waiting=ContainerStateWaiting(reason=default_reason))
    if view.waiting is not None:
        if state.terminated is not None:
            last = state
        reason, message = view.waiting
        state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message))
    image_id = before.imageID if before is not None else ""
    if view.image is not None:
        image_id = view.image.repo_digests[0] if view.image.repo_digests else view.image.id
    running = state.running is not None
    attempt = view.seen.attempt if view.seen.attempt >= 0 else (before.restartCount if before is not None else 0)
    return ContainerStatus(
        name=container.name,
        image=container.image,
        imageID=image_id,
        containerID=RUNTIME_PREFIX + newest.spec.id if newest is not None else (before.containerID if before else ""),
        ready=running and view.seen.ready,
        started=running and view.seen.started,
        restartCount=attempt,
        state=state,
        lastState=last,
        resources=view.resources if running else None,
        allocatedResources=view.allocated if running else EMPTY,
        volumeMounts=tuple(
            VolumeMountStatus(
                name=m.name,
                mountPath=m.mountPath,
                readOnly=m.readOnly,
                recursiveReadOnly=("Enabled" if recursively_readonly(m) else "Disabled") if m.readOnly else "",
            )
            for m in container.volumeMounts
        ),
    )


def _ended(before: ContainerStatus) -> ContainerStateTerminated | None:
    """How a container ended that was reported once and is not there any more."""
    if before.state.terminated is not None:
        return before.state.terminated
    if before.state.running is not None:
        started = before.state.running.startedAt
        return msgspec.structs.replace(UNKNOWN, containerID=before.containerID, startedAt=started)
    return before.lastState.terminated


def phase_of(
    pod: Pod,
    inits: Sequence[ContainerStatus],
    mains: Sequence[ContainerStatus],
    *,
    terminal: bool = False,
) -> str:
    """Pending, Running, Succeeded or Failed (kubelet getPhase).

    `terminal`: the pod is being deleted, nothing restarts any more.
    """
    by_name = {c.name: c for c in pod.spec.initContainers}
    policy = pod.spec.restartPolicy or "Always"
    pending_init = sidecars = False
    for status in inits:
        container = by_name[status.name]
        if is_sidecar(container):
            pending_init = pending_init or not (status.started or status.lastState.terminated)
            sidecars = sidecars or status.state.running is not None
            continue
        ended = status.state.terminated
        if ended is None or ended.exitCode != 0:
            once = init_policy(pod)
            if ended is not None and (terminal or not should_restart(once, container, ended.exitCode)):
                return "Failed"
            pending_init = True
    if pending_init and not any(s.state.running or s.state.terminated for s in mains):
        return "Pending"
    if any(s.state.waiting is not None and s.lastState.terminated is None for s in mains):
        return "Pending"
    stopped = {s.name: s.state.terminated for s in mains if s.state.terminated is not None}
    if len(stopped) < len(mains) or sidecars:
        return "Running"
    if not terminal and any(should_restart(policy, c, stopped[c.name].exitCode) for c in pod.spec.containers):
        return "Running"
    return "Succeeded" if all(ended.exitCode == 0 for ended in stopped.values()) else "Failed"


class Surroundings(msgspec.Struct, frozen=True):
    """What is true of the pod as a whole."""

    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    sandbox_ready: bool = False
    start_time: str = ""
    phase: str = ""  # a verdict that overrides: Failed after eviction or a deadline, or the plan's end
    reason: str = ""
    message: str = ""
    terminal: bool = False  # the pod is being deleted and has been stopped
    resize: tuple[PodCondition, ...] = ()  # PodResizePending, PodResizeInProgress (resize.py)


def pod_status(pod: Pod, views: Mapping[str, ContainerView], around: Surroundings, now: str) -> PodStatus:
    """The whole status. `now` is RFC 3339; conditions keep their transition time while they do not change."""
    spec = pod.spec

    policy = spec.restartPolicy or "Always"
    ending = bool(around.phase) or around.terminal

    def report(container: AnyContainer, default: str, policy: str) -> ContainerStatus:
        view = views.get(container.name, ContainerView())
        again = not ending and should_restart(policy, container, view.seen.exit_code)
        killed = view.seen.killed_for_restart and not ending and (container.restartPolicy or policy) != "Never"
        status = container_status(container, view, default, again=again, killed=killed)
        before = view.before.state if view.before is not None else ContainerState()
        if container in spec.initContainers and _must_stay(pod, container, before) and status.state.terminated is None:
            # Run once more after a reboot, for what it left in memory: for the API it has succeeded once and for all.
            return msgspec.structs.replace(status, state=before)
        return status

    inits = [report(c, "PodInitializing", init_policy(pod)) for c in spec.initContainers]
    done = all(_init_done(c, s) for c, s in zip(spec.initContainers, inits, strict=True))
    default = "PodInitializing" if spec.initContainers else "ContainerCreating"  # as long as they wait, in Kubernetes
    mains = [report(c, default, policy) for c in spec.containers]
    ephemerals = [report(c, "ContainerCreating", "Never") for c in spec.ephemeralContainers]
    phase = around.phase or phase_of(pod, inits, mains, terminal=around.terminal)
    conditions = _conditions(pod, phase, inits, mains, done, around, now)
    return PodStatus(
        phase=phase,
        conditions=conditions,
        message=around.message,
        reason=around.reason,
        hostIP=next(iter(around.host_ips), ""),
        hostIPs=tuple(HostIP(ip=ip) for ip in around.host_ips),
        podIP=next(iter(around.pod_ips), ""),
        podIPs=tuple(PodIP(ip=ip) for ip in around.pod_ips),
        startTime=around.start_time,
        initContainerStatuses=tuple(inits),
        containerStatuses=tuple(mains),
        ephemeralContainerStatuses=tuple(ephemerals),
        qosClass=pod.status.qosClass or qos_class(pod.spec),
        nominatedNodeName=pod.status.nominatedNodeName,
        observedGeneration=pod.metadata.generation,
    )


def _must_stay(pod: Pod, container: AnyContainer, before: ContainerState) -> bool:
    """The API lets no init container that has succeeded leave that state, unless the pod restarts always."""
    if pod.spec.restartPolicy == "Always" or is_sidecar(container):
        return False
    return before.terminated is not None and before.terminated.exitCode == 0


def _init_done(container: AnyContainer, status: ContainerStatus) -> bool:
    if container.restartPolicy == "Always":
        return bool(status.started)
    return status.state.terminated is not None and status.state.terminated.exitCode == 0


def _conditions(
    pod: Pod,
    phase: str,
    inits: Sequence[ContainerStatus],
    mains: Sequence[ContainerStatus],
    done: bool,
    around: Surroundings,
    now: str,
) -> tuple[PodCondition, ...]:
    """The kubelet's own conditions over what others (scheduler, readiness gates' owners) have written."""
    ended = phase in ("Succeeded", "Failed")
    made: list[PodCondition] = []

    def add(type_: str, status: bool, reason: str = "", message: str = "") -> None:
        made.append(PodCondition(type=type_, status="True" if status else "False", reason=reason, message=message))

    add("PodReadyToStartContainers", around.sandbox_ready and not ended)
    if ended and phase == "Succeeded":
        add("Initialized", True, "PodCompleted")
    elif not done:
        unfinished = [c.name for c, s in zip(pod.spec.initContainers, inits, strict=True) if not _init_done(c, s)]
        words = f"containers with incomplete status: [{' '.join(unfinished)}]"
        add("Initialized", False, "ContainersNotInitialized", words)
    else:
        add("Initialized", True)
    unready = [s.name for s in (*(s for s in inits if _sidecar(pod, s)), *mains) if not s.ready]
    if phase == "Succeeded":
        add("ContainersReady", False, "PodCompleted")
        add("Ready", False, "PodCompleted")
    elif phase == "Failed":
        add("ContainersReady", False, "PodFailed")
        add("Ready", False, "PodFailed")
    elif unready:
        words = f"containers with unready status: [{' '.join(unready)}]"
        add("ContainersReady", False, "ContainersNotReady", words)
        add("Ready", False, "ContainersNotReady", words)
    else:
        add("ContainersReady", True)
        held = {c.type: c.status for c in pod.status.conditions}
        gates = [g.conditionType for g in pod.spec.readinessGates if held.get(g.conditionType) != "True"]
        words = "; ".join(f'corresponding condition of pod readiness gate "{g}" does not exist.' for g in gates)
        add("Ready", not gates, "ReadinessGatesNotReady" if gates else "", words)

    previous = {c.type: c for c in pod.status.conditions}
    result = []
    for condition in made:
        old = previous.get(condition.type)
        since = old.lastTransitionTime if old is not None and old.status == condition.status else now
        result.append(
            msgspec.structs.replace(condition, lastTransitionTime=since, observedGeneration=pod.metadata.generation)
        )
    own = {c.type for c in made} | set(RESIZE_CONDITIONS)
    return (*result, *around.resize, *(c for c in pod.status.conditions if c.type not in own))


def _sidecar(pod: Pod, status: ContainerStatus) -> bool:
    return any(is_sidecar(c) and c.name == status.name for c in pod.spec.initContainers)
