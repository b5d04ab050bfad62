"""What to do next for a pod: a pure function of its spec and of what its containers are doing.

Follows the kubelet's computePodActions: init containers one after another, sidecars (init containers that restart
always) as soon as they have started, then the main containers; restarts by policy with back-off.
"""

from collections.abc import Mapping, Sequence

import msgspec

from edgekube.kubelet.config import (
    CRASH_BACKOFF_BASE_SECONDS,
    CRASH_BACKOFF_MAX_SECONDS,
)
from edgekube.kubelet.spec import AnyContainer, spec_hash
from edgekube.types.core_v1 import Container, Pod

LIVING = ("running", "created")


class Seen(msgspec.Struct, frozen=True, gc=False):
    """What is known of one container: its newest start, and what probes say of it.

    `lost`: it was started in an earlier sandbox (before a reboot, say) and is not there any more. `exit_code` is then
    how it had ended, or 137 when nobody saw it end.
    """

    state: str = ""  # "" (never started), created, running, exited, lost
    attempt: int = -1
    exit_code: int = 0
    started: bool = False  # startup probe passed, or there is none and it runs
    ready: bool = False
    hash: str = ""
    restart_at: float = 0.0  # monotonic; a start before it is held back
    killed_for_restart: bool = False  # a failed liveness probe: restarted although its exit code may be 0


class Start(msgspec.Struct, frozen=True):
    """Start `name` with this attempt number."""

    name: str
    attempt: int
    kind: str


class Kill(msgspec.Struct, frozen=True):
    name: str
    reason: str
    message: str


class Plan(msgspec.Struct, frozen=True):
    """`starts` in order; `wake_at` is when a back-off ends; `finished`: nothing will ever run again (phase set)."""

    starts: tuple[Start, ...] = ()
    kills: tuple[Kill, ...] = ()
    wake_at: float = float("inf")
    finished: str = ""  # "", Succeeded or Failed
    waiting: Mapping[str, str] = {}  # container -> reason it waits


def is_sidecar(container: AnyContainer) -> bool:
    """Of an init container: whether it runs beside the main ones (KEP-753)."""
    return container.restartPolicy == "Always"


def backoff_seconds(crashes: int) -> float:
    """Delay before a restart after `crashes` quick deaths in a row: none, then 10 s doubling to 5 min."""
    if crashes <= 1:
        return 0.0
    return min(CRASH_BACKOFF_MAX_SECONDS, CRASH_BACKOFF_BASE_SECONDS * 2.0 ** min(crashes - 2, 16))


def should_restart(policy: str, container: AnyContainer, exit_code: int) -> bool:
    """By the container's exit code rules, its own restartPolicy (KEP-5307), and the pod's."""
    for rule in container.restartPolicyRules:
        if rule.exitCodes is not None and rule.action == "Restart":
            listed = exit_code in rule.exitCodes.values
            if listed == (rule.exitCodes.operator == "In"):
                return True
    policy = container.restartPolicy or policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def init_policy(pod: Pod) -> str:
    """The restart policy of init containers: they are done once they succeed, whatever the pod's says."""
    return "Never" if pod.spec.restartPolicy == "Never" else "OnFailure"


def decide(pod: Pod, seen: Mapping[str, Seen], now: float) -> Plan:
    """The next actions; `seen` holds every container that was ever started here, `now` is monotonic."""
    policy = pod.spec.restartPolicy or "Always"
    starts: list[Start] = []
    kills: list[Kill] = []
    waiting: dict[str, str] = {}
    wake_at = float("inf")

    def consider(container: AnyContainer, kind: str, restart: bool) -> None:
        """Start it, hold it back, or leave it."""
        nonlocal wake_at
        state = seen.get(container.name, Seen())
        if state.state in LIVING:
            if state.hash and state.hash != spec_hash(container):
                words = f"Container {container.name} definition changed, will be restarted"
                kills.append(Kill(container.name, "Killing", words))
            return
        if state.state in ("exited", "lost") and not restart:
            return
        if state.state == "exited" and state.restart_at > now:
            waiting[container.name] = "CrashLoopBackOff"
            wake_at = min(wake_at, state.restart_at)
            return
        starts.append(Start(container.name, state.attempt + 1, kind))

    def look(container: AnyContainer) -> Seen:
        return seen.get(container.name, Seen())

    main_started = any(look(c).state in (*LIVING, "exited") for c in pod.spec.containers)
    main_lost = any(look(c).state == "lost" for c in pod.spec.containers)
    if main_lost and not main_started and not _runs_again(pod, seen):
        return _finished(pod, seen)  # as after a reboot: what was to run once has run
    initialized = True
    for container in pod.spec.initContainers:
        state = look(container)
        if is_sidecar(container):
            consider(container, "init", True)
            if not state.started and not main_started:
                initialized = False
                break
            continue
        if main_started or (state.state == "exited" and state.exit_code == 0):
            continue
        initialized = False
        once = init_policy(pod)
        failed = state.exit_code != 0 and state.state in ("exited", "lost")
        if failed and not state.killed_for_restart and not should_restart(once, container, state.exit_code):
            return Plan(finished="Failed", kills=_stop_sidecars(pod, seen, "init container failed"))
        consider(container, "init", True)
        break
    if not initialized:
        return Plan(tuple(starts), tuple(kills), wake_at, "", waiting)

    for main in pod.spec.containers:
        consider(main, "container", _again(main, look(main), policy))
    for ephemeral in pod.spec.ephemeralContainers:
        consider(ephemeral, "ephemeral", False)
    if not _runs_again(pod, seen):
        return _finished(pod, seen)
    return Plan(tuple(starts), tuple(kills), wake_at, "", waiting)


def _again(container: Container, state: Seen, policy: str) -> bool:
    """Whether a container that has ended is started once more."""
    killed = state.killed_for_restart and (container.restartPolicy or policy) != "Never"
    return killed or should_restart(policy, container, state.exit_code)


def _runs_again(pod: Pod, seen: Mapping[str, Seen]) -> bool:
    """Whether any main container runs, or will."""
    policy = pod.spec.restartPolicy or "Always"
    for container in pod.spec.containers:
        state = seen.get(container.name, Seen())
        if state.state not in ("exited", "lost") or _again(container, state, policy):
            return True
    return False


def _finished(pod: Pod, seen: Mapping[str, Seen]) -> Plan:
    """Sidecars end when the main containers have: the pod is done although they would restart for ever."""
    failed = any(seen[c.name].exit_code != 0 for c in pod.spec.containers)
    return Plan(
        kills=_stop_sidecars(pod, seen, "main containers finished"), finished="Failed" if failed else "Succeeded"
    )


def _stop_sidecars(pod: Pod, seen: Mapping[str, Seen], why: str) -> tuple[Kill, ...]:
    """Running sidecars, last started first stopped (KEP-753)."""
    running = [c.name for c in pod.spec.initContainers if seen.get(c.name, Seen()).state in LIVING]
    return tuple(Kill(name, "Killing", f"Stopping container {name}: {why}") for name in reversed(running))


def termination_order(pod: Pod, running: Sequence[str]) -> list[list[str]]:
    """Groups of containers to stop, in order: all main ones together, then sidecars one by one in reverse."""
    sidecars = [c.name for c in pod.spec.initContainers if is_sidecar(c) and c.name in running]
    main = [name for name in running if name not in sidecars]
    return ([main] if main else []) + [[name] for name in reversed(sidecars)]
